"""The README is true: its commands run, its links lead somewhere, its study is valid."""

import os
import re
import subprocess
import sys
import tomllib
from collections.abc import Mapping
from pathlib import Path

import pytest

from pipeline.study_file import StudyFile
from tests.fakeslurm.control import FakeSlurm
from tests.recompute.whole import recompute

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text(encoding="utf-8")
BIN = Path(sys.executable).parent
SELF = {"make test", "make lint", "make bench", "make chaos"}
"""Not run from here: `make test` is this very suite; CI runs lint; bench measures and chaos kills,
slowly."""


def section(title: str) -> str:
    """The part of the README under a heading."""
    return README.partition(f"\n## {title}\n")[2].partition("\n## ")[0]


REAL_SLURM = section("A real Slurm to try things on")
"""Its commands are run by tests/slurm, where there is one."""


def blocks(language: str, text: str = README.replace(REAL_SLURM, "")) -> list[str]:
    """The fenced blocks of a language."""
    return re.findall(rf"```{language}\n(.*?)```", text, flags=re.DOTALL)


def commands(text: str = README.replace(REAL_SLURM, "")) -> list[str]:
    """Every line of every shell block."""
    return [line for block in blocks("sh", text) for line in block.splitlines() if line.strip()]


def shell(script: str, folder: Path, environment: Mapping[str, str]) -> str:
    """Run lines in one bash, stop at the first that fails, return what they printed."""
    done = subprocess.run(
        ["bash", "-euo", "pipefail", "-c", script],
        cwd=folder,
        env={**os.environ, **environment},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=900,
        check=False,
    )
    assert done.returncode == 0, done.stdout
    return done.stdout


@pytest.mark.slow
def test_make_demo_runs_the_miniature_to_its_report(tmp_path: Path) -> None:
    """The first command of the README ends with a complete report, figures and verdicts."""
    assert commands()[0] == "make demo"
    demo = tmp_path / "demo"

    printed = shell(f"make demo DEMO={demo} VENV={BIN.parent} -o {BIN.parent}/.ready", ROOT, {})

    assert f"report:  {demo}/RESULTS.md" in printed
    report = (demo / "RESULTS.md").read_text(encoding="utf-8")
    assert "| 1 Multi-seed validation | complete | 30 of 30 |" in report
    assert "| 2 Diagnostics | complete | 9 of 9 |" in report
    assert "| 3b Confirmation of the selected setting | complete | 16 of 16 |" in report
    assert "| 4 Alternatives | complete | 32 of 32 |" in report
    assert "counts for no diagnostic" not in report
    assert len(re.findall(r"^Verdict: \*\*[A-Z]+\*\*", report, flags=re.MULTILINE)) == 7
    numbers, wrong = recompute(demo)
    assert numbers > 1_000
    assert wrong == []
    for figure in re.findall(r"!\[[^\]]*\]\(([^)]*)\)", report):
        assert (demo / figure).read_text(encoding="utf-8").startswith("<?xml")
    assert all(
        (demo / link).exists() for link in re.findall(r"\]\(((?:runs|figures)/[^)]*)\)", report)
    )


def test_the_commands_for_a_cluster_run_in_their_order(
    tmp_path: Path, fake_slurm: FakeSlurm
) -> None:
    """From init to retry, as a reader would type them beside a checkout; jobs stay queued."""
    fake_slurm.configure(slots=0, partitions={"gpu": 600}, memory_mb=64_000)
    beside = tmp_path / "checkout"
    (beside / "slurm").mkdir(parents=True)
    (beside / "slurm" / "profiles.toml").write_bytes((ROOT / "slurm/profiles.toml").read_bytes())
    lines = [line for line in commands() if line not in SELF | {"make demo"}]
    assert lines[0] == ". .venv/bin/activate"

    printed = shell(
        "\n".join(lines[1:]),
        beside,
        {"PATH": f"{fake_slurm.environment()['PATH']}{os.pathsep}{BIN}"},
    )

    assert re.search(r"^ok +nodes +4 nodes of gpu can take a task$", printed, flags=re.MULTILINE)
    assert re.search(r"\b0 problems$", printed, flags=re.MULTILINE)
    assert "would submit 1 run of pilot in 1 task to profile a100" in printed
    assert "canary: 1 task of pilot first; 2 wait until it reaches step 1,000" in printed
    assert "pilot: submitted 1 run in 1 task" in printed
    assert "cancelled 1 job with 1 unfinished run" in printed
    assert "1 failed run planned again" in printed
    assert "nothing to repair" in printed


def test_the_study_shown_is_valid() -> None:
    """The example under "Your own study" is what the models accept."""
    (example,) = blocks("toml")

    StudyFile.model_validate(tomllib.loads(example))


def test_every_link_and_picture_is_there() -> None:
    """No link of the README leads nowhere."""
    targets = re.findall(r"\]\(([^)#:]+)\)", README)

    assert targets
    assert [target for target in targets if not (ROOT / target).exists()] == []


def test_every_command_of_the_text_exists() -> None:
    """Commands named in the text are commands of the program."""
    from pipeline.cli import app

    named = set(re.findall(r"`pipeline ([a-z]+)", README))

    assert named <= set(app.commands)
