"""Runs and stacks."""

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from pipeline.plan import pack, plan_phase, plan_study
from pipeline.site import Site, open_site
from pipeline.workspace import Workspace
from tests.pipeline.conftest import edit


def test_runs_come_seed_by_seed_with_ids_that_hold_their_config(site: Site) -> None:
    """A phase cut short holds complete pairs, and every id ends in the digest of its run."""
    runs = plan_phase(site.study, "multiseed")

    assert [(run.seed, run.condition) for run in runs[:3]] == [
        (0, "baseline"), (0, "worse"), (1, "baseline")
    ]  # fmt: skip
    assert all(run.run_id.endswith(run.digest[:8]) for run in runs)
    assert len({run.key for run in runs}) == 12


def test_a_changed_config_makes_new_runs_of_that_condition_only(
    site: Site, workspace: Workspace
) -> None:
    """The id follows the resolved config, so an edited study never reuses another's result."""
    before = set(plan_study(site.study))
    edit(workspace, "config.handicap = 0.5", "config.handicap = 0.6")
    after = set(plan_study(open_site(workspace, None).study))

    assert before & after == {key for key in before if "baseline" in key}


def test_a_default_written_out_is_the_same_run(site: Site, workspace: Workspace) -> None:
    """Saying what is true anyway changes no id."""
    before = set(plan_study(site.study))
    edit(workspace, "steps = 3", "steps = 3\nstep_s = 0.0")

    assert set(plan_study(open_site(workspace, None).study)) == before


@given(count=st.integers(0, 12), size=st.integers(1, 10))
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_packing_loses_and_repeats_nothing(site: Site, count: int, size: int) -> None:
    """Stacks hold every run once, none is too large, and sizes differ by at most one."""
    runs = plan_phase(site.study, "multiseed")[:count]
    tasks = pack(site.study, runs, size)

    assert [run for task in tasks for run in task.runs] == runs
    sizes = [len(task.runs) for task in tasks]
    assert all(1 <= n <= size for n in sizes)
    assert not sizes or max(sizes) - min(sizes) <= 1


def test_runs_that_may_not_train_together_are_kept_apart(workspace: Workspace) -> None:
    """The trainer's stack key decides: runs of different length share no task."""
    edit(workspace, "config.handicap = 0.5", "config.steps = 7")
    site = open_site(workspace, None)
    tasks = pack(site.study, plan_phase(site.study, "multiseed"), 10)

    assert [{run.condition for run in task.runs} for task in tasks] == [{"baseline"}, {"worse"}]
