"""Alarms: signs that a setting does not reach the training. Pure: the state in, alarms out.

An alarm is a gate that nobody has to declare: it stops the phase as soon as it is raised, and a
person overrides it by its name. `pipeline status` asks too, so nothing heavy is imported here.
"""

from collections.abc import Iterator, Mapping
from itertools import combinations

from pipeline.state import GateRecord, RunRecord, RunStatus, State
from pipeline.words import and_more, count

UNREAD = "unread-config"
IDENTICAL = "identical-results"


def alarms_of(state: State, phase: str) -> tuple[GateRecord, ...]:
    """Every alarm that the results of a phase raise, by name."""
    runs = state.runs_of(phase)
    done = {key: run for key, run in runs.items() if run.status is RunStatus.DONE}
    return (*_unread_keys(done), *_identical_results(done))


def _unread_keys(runs: Mapping[str, RunRecord]) -> Iterator[GateRecord]:
    """Keys that training never looked at: whatever they are set to, nothing changes."""
    by_key: dict[str, list[str]] = {}
    for name, run in runs.items():
        for key in run.unread:
            by_key.setdefault(key, []).append(name)
    for key, names in sorted(by_key.items()):
        yield GateRecord(
            name=f"{UNREAD}:{key}",
            passed=False,
            words=f"the trainer never read the config key {key} in "
            f"{and_more(names[0], len(names) - 1, 'run')}",
        )


def _identical_results(runs: Mapping[str, RunRecord]) -> Iterator[GateRecord]:
    """Different configs at one seed whose every measured number agrees to the last bit."""
    groups: dict[tuple[int, str], list[str]] = {}
    for name, run in runs.items():
        if run.fingerprint is not None:
            groups.setdefault((run.seed, run.fingerprint), []).append(name)
    found: dict[tuple[str, str], list[tuple[str, str]]] = {}
    for names in groups.values():
        for first, second in combinations(names, 2):
            if runs[first].config_digest != runs[second].config_digest:
                pair = (runs[first].arm, runs[second].arm)
                found.setdefault(pair, []).append((first, second))
    for (one, other), pairs in found.items():
        first, second = pairs[0]
        more = f" (and at {count(len(pairs) - 1, 'more seed')})" if len(pairs) > 1 else ""
        yield GateRecord(
            name=f"{IDENTICAL}:{one}={other}",
            passed=False,
            words=f"{first} and {second} have different configs and bit-identical results{more}",
        )
