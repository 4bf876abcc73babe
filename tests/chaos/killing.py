"""Every moment of every scene: kill, start again, walk to the end, compare with the undisturbed.

A world after the restart that is the undisturbed one (but for times and tokens) goes on like it:
state, files and cluster are all that a command begins with. Worlds that differ are walked to the
end of the story, each kind once.
"""

import json
import re
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from pipeline.digest import digest_of
from pipeline.errors import PipelineError
from pipeline.state import RunStatus
from pipeline.store import StateStore
from pipeline.workspace import Workspace
from tests.chaos.nursery import Ended
from tests.chaos.stories import Scene
from tests.chaos.world import Saved, World
from tests.pipeline.conftest import state_of

_MOST_SCENES = 12
_TOKEN = re.compile(r"(?<![0-9a-f])[0-9a-f]{10}(?![0-9a-f])")
_TIME = re.compile(r"\d{4}-\d\d-\d\d[T ]\d\d:\d\d(:\d\d)?(\.\d+)?(\+00:00|Z)?")
_MEASURED = re.compile(
    r'"(elapsed_s|gpu_seconds|device_seconds)": [\d.e-]+|[\d.e-]+ GPU-h'
    # What the next look adds, and a row that a report before the next submission lacks.
    r'|, "scheduler_state": "PENDING", "reason": "\w+"|\n\| .*not recorded.*'
)
_EVENT = '{"at"'
_SPARE = re.compile(r"\..+\.[0-9a-f]{8}|\.new-.+|.*\.bak\.new")


@dataclass(frozen=True)
class Outcome:
    """What a study came to."""

    runs: dict[str, str]
    metrics: dict[str, object]
    starts: Counter[str]
    submissions: int
    live: int
    frozen: str | None
    report_is_right: bool


@dataclass(frozen=True)
class Telling:
    """A story told without a death."""

    begins: tuple[Saved, ...]
    """The world in front of each scene's command."""
    marks: tuple[str, ...]
    """The world after it."""
    moments: tuple[tuple[str, ...], ...]
    """The lasting calls that each command made."""
    end: Outcome


@dataclass(frozen=True)
class Death:
    """One kill -9 and what came of it."""

    scene: str
    moment: str
    duplicates: int = 0
    losses: int = 0
    wrongs: tuple[str, ...] = ()


@dataclass
class Teller:
    """Tells one story in one world, as often as it takes."""

    world: World
    story: Sequence[Scene]
    _walked: dict[tuple[int, str], Death] = field(default_factory=dict)

    def undisturbed(self) -> Telling:
        """Tell the story to its end."""
        begins, marks, moments = [], [], []
        for scene in self.story:
            scene.before(self.world)
            begins.append(self.world.save())
            done = scene.act(self.world, None)
            assert done.code in scene.codes, f"{scene.title}: {done.output}"
            marks.append(mark(self.world))
            moments.append(done.moments)
        return Telling(tuple(begins), tuple(marks), tuple(moments), outcome(self.world))

    def deaths(
        self, telling: Telling, chosen: Callable[[int, str], bool] = lambda *_: True
    ) -> Iterator[Death]:
        """Kill at each chosen call (by its number in the command, and its name) of each scene."""
        for number, scene in enumerate(self.story):
            calls = () if scene.told_before else telling.moments[number]
            for call, name in enumerate(calls):
                if not chosen(call, name):
                    continue
                self.world.put_back(telling.begins[number])
                died = scene.act(self.world, call)
                if died.killed:
                    yield self._aftermath(telling, number, died)
                else:
                    yield Death(scene.title, name, wrongs=(f"nobody died: {_failed(died)}",))

    def _aftermath(self, telling: Telling, number: int, died: Ended) -> Death:
        scene, moment = self.story[number], died.moments[-1]
        wrongs = list(unreadable(self.world))
        again = scene.restart(self.world)
        wrongs += self.world.doubled()
        if self.world.pass_time():  # the fate of a submission was not known yet
            again = scene.restart(self.world)
            wrongs += self.world.doubled()
        if again.code not in scene.codes:
            wrongs.append(f"the restart {_failed(again)}")
        wrongs += unreadable(self.world)
        here = mark(self.world)
        if here == telling.marks[number]:
            return Death(scene.title, moment, wrongs=tuple(wrongs))
        if (number, here) not in self._walked:
            self._walked[number, here] = self._walk(telling, number, moment)
        walked = self._walked[number, here]
        return Death(
            scene.title, moment, walked.duplicates, walked.losses, (*wrongs, *walked.wrongs)
        )

    def _walk(self, telling: Telling, number: int, moment: str) -> Death:
        """Tell the rest of the story, with more of its last scenes where a death cost some."""
        wrongs = []
        for scene in self._rest(number):
            scene.before(self.world)
            done = scene.act(self.world, None)
            if done.code not in scene.codes:
                wrongs.append(f"{scene.title}: {_failed(done)}")
                break
        end, wanted = outcome(self.world), telling.end
        extra, short = end.starts - wanted.starts, wanted.starts - end.starts
        undone = [key for key, status in wanted.runs.items() if end.runs.get(key) != status]
        wrongs += [
            f"{name}: {str(getattr(end, name))[:200]} is not {str(getattr(wanted, name))[:200]}"
            for name in Outcome.__dataclass_fields__
            if getattr(end, name) != getattr(wanted, name)
        ]
        losses = max(short.total(), len(undone))
        return Death(self.story[number].title, moment, extra.total(), losses, tuple(wrongs))

    def _rest(self, number: int) -> Iterator[Scene]:
        """The scenes after one, then the last again and again until all has come to its end."""
        yield from self.story[number + 1 :]
        for _ in range(_MOST_SCENES):
            if _is_over(self.world):
                return
            yield self.story[-1]


def outcome(world: World) -> Outcome:
    """What the study of a world has come to."""
    state = state_of(world.place)
    results = {
        f"{path.parent.parent.name}/{path.parent.name}": json.loads(path.read_text())
        for path in sorted(world.place.runs_dir.glob("*/*/result.json"))
    }
    return Outcome(
        runs={key: run.status.value for key, run in state.runs.items()},
        metrics={key: (result["metrics"], result["references"]) for key, result in results.items()},
        starts=world.starts(),
        submissions=world.submissions(),
        live=sum(job.live for job in world.slurm.jobs()),
        frozen=state.frozen_plan,
        report_is_right=world.command("report", "--check").code == 0,
    )


def mark(world: World) -> str:
    """A world without its times and tokens, in a few characters; two equal ones go on alike."""
    state = state_of(world.place)
    tokens = [*state.jobs, *([state.follow_up.token] if state.follow_up else [])]
    names = {token: f"token-{number}" for number, token in enumerate(tokens)}

    def plain(text: str) -> str:
        text = _TOKEN.sub(lambda match: names.get(match[0], match[0]), text)
        return _MEASURED.sub("", _TIME.sub("", text))

    jobs = [
        (plain(job.spec.name), job.index, job.state, job.restart, job.spec.dependency)
        for job in world.slurm.jobs(everything=True)
    ]
    root = world.place.root
    folders = (world.place.runs_dir, world.place.figures_dir)
    files = [
        plain(str(path.relative_to(root)))
        for folder in folders
        for path in sorted(folder.rglob("*"))
        if not _SPARE.fullmatch(path.name)
    ]
    texts = [plain(path.read_text()) for path in _kept(world) if path.exists()]
    return digest_of({"jobs": jobs, "files": files, "texts": texts})


def unreadable(world: World) -> Iterator[str]:
    """What is wrong with a world's state or journal after one death."""
    yield from unreadable_files(world.place, deaths=1)


def unreadable_files(place: Workspace, deaths: int) -> Iterator[str]:
    """What is wrong with state or journal.

    A line of the journal that a death cut short is no wrong while it stays a line of its own.
    """
    store = StateStore(place.state_dir)
    try:
        store.load()
    except PipelineError as error:
        yield f"the state cannot be read: {error}"
    if store.journal.exists():
        lines = store.journal.read_text(encoding="utf-8").split("\n")
        torn = [line for line in lines if line and not _is_event(line)]
        if len(torn) > deaths or any(_EVENT in line[1:] for line in torn):
            yield f"the journal holds {torn[-1][:80]!r}"


def _is_event(line: str) -> bool:
    try:
        return isinstance(json.loads(line), dict)
    except ValueError:
        return False


def _kept(world: World) -> list[Path]:
    return [world.place.state_dir / "pipeline.json", world.place.report_file]


def _is_over(world: World) -> bool:
    runs = state_of(world.place).runs.values()
    return all(run.status is RunStatus.DONE for run in runs) and _chain_ended(world)


def _chain_ended(world: World) -> bool:
    record = state_of(world.place).follow_up
    return record is None or record.ended is not None


def _failed(done: Ended) -> str:
    said = done.output.strip().splitlines() or [""]
    return f"ended with {done.code}: {said[-1][:200]}"
