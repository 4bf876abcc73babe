"""What study.toml may say, and how its errors read."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.errors import PipelineError
from pipeline.seeds import parse_seeds
from pipeline.study import load_study
from pipeline.workspace import Workspace, shared_file
from tests.pipeline.conftest import TOY_STUDY, edit


def error_of(workspace: Workspace) -> str:
    """The message that loading the workspace's study ends with."""
    with pytest.raises(PipelineError) as caught:
        load_study(workspace.study_file)
    return str(caught.value)


@pytest.mark.parametrize(
    ("old", "new", "parts"),
    [
        ("min_pairs = 3", "min_pair = 3", ["analysis.min_pair", 'did you mean "min_pairs"']),
        ("[config]\nsteps = 3", "[config]\nstep = 3", ["config.step", 'did you mean "steps"']),
        ("config.handicap", "config.handycap", ["conditions.worse.config.handycap", "handicap"]),
        ('label = "Baseline"', 'lable = "Baseline"', ["conditions.baseline.lable", "label"]),
        ("[phases.pilot]", "[phase.pilot]", ["phase: unknown key", "phases"]),
        ('candidate = "worse"', 'candidate = "wrose"', ['"wrose"', 'did you mean "worse"']),
        ('name = "loss"', 'name = "los"', ["study.metric.name", 'did you mean "loss"']),
        ("steps = 3", 'steps = "three"', ["config.steps", '"three"']),
        ("min_pairs = 3", "alpha = 5", ["analysis.alpha", "5", "less than 0.5"]),
        ("min_pairs = 3", "alpha = nan", ["analysis.alpha"]),
        ('seeds = "0-5"', 'seeds = "3-0"', ["phases.multiseed.seeds", "runs backwards"]),
        ('seeds = "0-5"', "seeds = []", ["phases.multiseed.seeds", "no seeds"]),
        ('seeds = "0-5"', "seeds = [0, 1, 1]", ["seed 1 stands twice"]),
        ('seeds = "0-5"', 'seeds = "0-5,1000"', ["pilot and multiseed share seed 1000"]),
        ('seeds = "0-5"', 'seeds = "0-1"', ["multiseed has 2 seeds", "INCONCLUSIVE"]),
        ("[phases.pilot]\n", "[phases.pilot]\nconditions = []\n", ["conditions is empty"]),
        ("[phases.pilot]\n", '[phases.pilot]\nconditions = ["worst"]\n', ['"worst"', '"worse"']),
        ("[phases.pilot]", "[phases.pilott]", ["phases.pilott", 'did you mean "pilot"']),
        (
            'seeds = "0-5"',
            'seeds = "0-3"',
            ["4 seeds", "0.125", "no difference could ever be told"],
        ),
        ("seeds = [1000]", "seeds = [99999999999]", ["phases.pilot.seeds", "whole numbers"]),
        ("[phases.pilot]\n", '[phases.pilot]\nconditions = ["worse", "worse"]\n', ["twice"]),
        ('direction = "minimize"', 'direction = "minimise"', ['did you mean "minimize"']),
        ("[conditions.worse]", "[conditions.worse]\nconfig.step_s = nan", ["worse.config.step_s"]),
        ('question = "Does', 'question = "\\u001b[31mDoes', ["study.question", "control"]),
        ("config.handicap = 0.5", "config.handicap = 0.0", ["baseline and worse resolve to"]),
        ('trainer = "toy:ToyTrainer"', 'trainer = "toy:Toy"', ["toy has no class Toy"]),
        ('trainer = "toy:ToyTrainer"', 'trainer = "tory:T"', ["cannot import tory"]),
        ('trainer = "toy:ToyTrainer"', 'trainer = "toy"', ["package.module:Class"]),
        ('reference = "baseline"', 'reference = "worse"', ["handicap-helps", "itself"]),
        ('name = "toy"', 'name = "../toy"', ["study.name", "letters"]),
        ("[conditions.worse]", '[conditions."a b"]', ["a b", "letters"]),
        ("seeds = [1000]", "seeds = [1000", ["not valid TOML", "line"]),
    ],
)
def test_a_mistake_is_named_with_its_place_its_value_and_the_nearest_valid_name(
    workspace: Workspace, old: str, new: str, parts: list[str]
) -> None:
    """Every kind of mistake gives one line that says where it is and what would be right."""
    edit(workspace, old, new)

    message = error_of(workspace)

    assert message.startswith("study.toml: ")
    for part in parts:
        assert part in message


def test_several_mistakes_are_told_at_once(workspace: Workspace) -> None:
    """Two typos give two lines, so that one run of the command shows both."""
    edit(workspace, "min_pairs = 3", "min_pair = 3")
    edit(workspace, 'label = "Baseline"', 'lable = "Baseline"')

    assert {"min_pair", "lable"} <= set(error_of(workspace).replace(":", ".").split("."))


def test_a_byte_order_mark_and_crlf_are_read(workspace: Workspace) -> None:
    """Files saved by a Windows editor are the same study."""
    text = workspace.study_file.read_text(encoding="utf-8")
    before = load_study(workspace.study_file).plan_digest()
    workspace.study_file.write_bytes(b"\xef\xbb\xbf" + text.replace("\n", "\r\n").encode())

    assert load_study(workspace.study_file).plan_digest() == before


def test_bytes_that_are_no_text_are_refused(workspace: Workspace) -> None:
    """A file in another encoding is named, with the line that shows it."""
    workspace.study_file.write_bytes(TOY_STUDY.encode("utf-16"))
    assert error_of(workspace) == "study.toml:1: UTF-16; save it as UTF-8"
    workspace.study_file.write_bytes(TOY_STUDY.replace("Handicapped", "Gêné").encode("latin-1"))
    assert error_of(workspace) == "study.toml:14: not UTF-8; save it as UTF-8"


@pytest.mark.parametrize(
    ("old", "new", "changes"),
    [
        ("min_pairs = 3", "min_pairs = 3\nmargin_percent = 1.0", True),
        ('seeds = "0-5"', 'seeds = "0-6"', True),
        ("config.handicap = 0.5", "config.handicap = 0.6", True),
        ('direction = "minimize"', 'direction = "maximize"', True),
        ('label = "Baseline"', 'label = "No handicap"', False),
        ("seeds = [1000]", "seeds = [1001]", False),
        ('seeds = "0-5"', "seeds = [0, 1, 2, 3, 4, 5]", False),
    ],
)
def test_the_plan_digest_covers_all_that_decides_a_verdict_and_nothing_else(
    workspace: Workspace, old: str, new: str, changes: bool
) -> None:
    """The digest moves with margins, seeds, configs, metric; not with labels or the pilot."""
    before = load_study(workspace.study_file).plan_digest()
    edit(workspace, old, new)

    assert (load_study(workspace.study_file).plan_digest() != before) is changes


@given(st.lists(st.integers(0, 500), min_size=1, max_size=30, unique=True))
def test_seeds_survive_being_written_as_a_list_or_as_text(seeds: list[int]) -> None:
    """A list of seeds and the same seeds as comma-separated text mean the same."""
    assert parse_seeds(seeds) == parse_seeds(",".join(map(str, seeds))) == tuple(seeds)


@given(st.one_of(st.text(max_size=20), st.floats(), st.none(), st.lists(st.text(max_size=3))))
def test_whatever_stands_for_seeds_is_read_or_refused(value: object) -> None:
    """No input makes the seed parser fail in any way but with a named reason."""
    try:
        seeds = parse_seeds(value)
    except ValueError:
        return

    assert seeds
    assert all(isinstance(seed, int) for seed in seeds)


@pytest.mark.parametrize("name", ["study.toml", "templates/studies/miniature.toml"])
def test_the_shipped_studies_are_valid(name: str) -> None:
    """What we ship loads, and asks the same three hypotheses."""
    study = load_study(Path(shared_file(name)))

    assert list(study.configs)[:3] == ["baseline", "random", "adversarial"]
    assert list(study.configs)[3:] == ["curriculum", "hardest", "ohem"]
    assert [c.condition for c in study.arms["multiseed"]] == list(study.configs)[:3]
    assert len(study.file.hypotheses) == 3
