"""Which long options of sbatch a profile may add in its `sbatch` table, and with which values.

The names are those of `sbatch --help` from Slurm 20.11 to 24.05. Values reach the `#SBATCH` lines
of a script, quoted; what could end such a line, a quotation or a word is refused all the same.
"""

import re
from typing import Any

from pipeline.validation import suggest


def _names(text: str) -> frozenset[str]:
    return frozenset(text.split())


_FLAGS = _names(
    "contiguous ignore-pbs no-requeue overcommit oversubscribe reboot requeue spread-job stepmgr"
    " use-min-nodes verbose"
)
"""Options that take no value."""

_EITHER = _names("exclusive get-user-env nice no-kill propagate resv-ports")
"""Options that may stand alone or with a value."""

_VALUED = _names(
    "acctg-freq batch bb bbf begin cluster-constraint consolidate-segments container container-id"
    " core-spec cores-per-socket cpu-freq deadline delay-boot distribution exclude export"
    " export-file extra extra-node-info gpu-bind gpu-freq gres-flags hint kill-on-invalid-dep"
    " licenses mail-type mail-user mcs-label mem-bind mincpus network nodefile nodelist"
    " ntasks-per-core ntasks-per-socket oom-kill-step power prefer priority profile reservation"
    " segment sockets-per-node switches thread-spec threads-per-core time-min tmp tres-bind"
    " tres-per-task wckey"
)

_OWN = {
    "account": "account",
    "array": "array_parallelism",
    "constraint": "constraint",
    "cpus-per-gpu": "cpus_per_task",
    "cpus-per-task": "cpus_per_task",
    "gpus": "gres",
    "gpus-per-node": "gres",
    "gpus-per-socket": "gres",
    "gpus-per-task": "gres",
    "gres": "gres",
    "mem": "mem_gb",
    "mem-per-cpu": "mem_gb",
    "mem-per-gpu": "mem_gb",
    "partition": "partition",
    "qos": "qos",
    "signal": "signal_lead_s",
    "time": "walltime_min",
}
"""Options that a key of the profile stands for."""

_NEVER = _names(
    "chdir clusters comment dependency error gid help hold input job-name nodes ntasks"
    " ntasks-per-gpu ntasks-per-node open-mode output parsable quiet test-only uid usage version"
    " wait wrap"
)
"""Options that the pipeline sets for each job, or that would change what a job is."""

_OPTIONAL_NAMES = sorted(_FLAGS | _EITHER | _VALUED)
_SAFE_VALUE = re.compile(r"[A-Za-z0-9_.,:=@%+/~&|!*()\[\]^-]{1,1000}")


def check_options(options: dict[str, Any]) -> dict[str, Any]:
    """Return the options as they are when every one may be handed to sbatch.

    Raises:
        ValueError: the first that may not, and what to write instead.
    """
    for name, value in options.items():
        _check_name(name)
        _check_value(name, value)
    return options


def _check_name(name: str) -> None:
    if name in _OWN:
        raise ValueError(f'"{name}" has a key of its own in the profile: {_OWN[name]}')
    if name in _NEVER:
        raise ValueError(f'"{name}" is set by the pipeline for each job; leave it out')
    if name not in _OPTIONAL_NAMES:
        raise ValueError(f'sbatch has no option "--{name}"{suggest(name, _OPTIONAL_NAMES)}')


def _check_value(name: str, value: object) -> None:
    if not isinstance(value, str | int):
        raise ValueError(f'"{name}" takes text, a whole number or true')
    if value is False:
        raise ValueError(f'"{name}" = false: leave the option out instead')
    if name in _FLAGS and value is not True:
        raise ValueError(f'"{name}" takes no value; write {name} = true')
    if name in _VALUED and value is True:
        raise ValueError(f'"{name}" needs a value')
    if value is not True and not _SAFE_VALUE.fullmatch(str(value)):
        raise ValueError(
            f'the value of "{name}" may hold letters, digits and _.,:=@%+/~&|!*()[]^- only; '
            "spaces, quotes and other characters that a shell reads are refused"
        )
