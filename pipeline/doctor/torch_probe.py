"""What torch finds on this machine, asked in another process: the pipeline imports no torch."""

import json
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass

_TIMEOUT_S = 240  # a first import from a busy network file system takes minutes
_CODE = """
import json, torch
found = {"version": torch.__version__, "cuda": torch.version.cuda, "devices": [], "error": None}
try:
    for index in range(torch.cuda.device_count()):
        torch.ones(1, device=f"cuda:{index}").add(1).item()
        found["devices"].append(torch.cuda.get_device_name(index))
except Exception as error:
    found["error"] = f"{type(error).__name__}: {error}"
print(json.dumps(found))
"""


@dataclass(frozen=True)
class TorchFacts:
    """torch as its import found it; `error` says what did not work, of torch or of a GPU."""

    version: str | None = None
    cuda: str | None = None
    """The CUDA version it was built for."""
    devices: tuple[str, ...] = ()
    """Names of the GPUs that computed a sum."""
    error: str | None = None


def ask_torch(
    timeout_s: float = _TIMEOUT_S, command: Sequence[str] = (sys.executable, "-c", _CODE)
) -> TorchFacts:
    """Import torch and try every GPU, in a process of its own; never raises."""
    try:
        done = subprocess.run(
            command,
            capture_output=True,
            text=True,
            errors="replace",
            timeout=timeout_s,
            check=False,
        )
    except subprocess.TimeoutExpired:
        return TorchFacts(error=f"importing torch took longer than {timeout_s:g} s")
    except OSError as error:
        return TorchFacts(error=f"{command[0]}: {error.strerror}")
    if done.returncode != 0:
        lines = done.stderr.strip().splitlines()
        return TorchFacts(error=lines[-1] if lines else f"exit code {done.returncode}")
    try:
        return torch_facts(json.loads(done.stdout.strip().splitlines()[-1]))
    except (ValueError, IndexError, RecursionError):
        return TorchFacts(error="importing torch printed nothing that can be read")


def torch_facts(data: object) -> TorchFacts:
    """Facts from JSON of any kind; what has the wrong type is left out."""
    table = data if isinstance(data, dict) else {}
    devices = table.get("devices")

    def text(key: str) -> str | None:
        value = table.get(key)
        return value if isinstance(value, str) else None

    return TorchFacts(
        version=text("version"),
        cuda=text("cuda"),
        devices=tuple(map(str, devices)) if isinstance(devices, list) else (),
        error=text("error"),
    )
