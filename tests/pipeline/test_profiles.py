"""profiles.toml: what it may say, what it refuses, and that nothing in it becomes script."""

import re
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
import submitit
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from pipeline.errors import PipelineError
from pipeline.profiles import Profile, ProfilesFile, SlurmProfile, load_profile
from pipeline.scheduler import Submission
from pipeline.scheduler.sbatch import sbatch_parameters
from pipeline.workspace import shared_file

Load = Callable[[str], Profile]


@pytest.fixture
def load(tmp_path: Path) -> Load:
    """Read a Slurm profile that says these lines."""

    def read(lines: str) -> Profile:
        path = tmp_path / "profiles.toml"
        path.write_text(f'[profiles.here]\nbackend = "slurm"\n{lines}\n', encoding="utf-8")
        return load_profile(path, "here")

    return read


def script(profile: SlurmProfile, folder: Path) -> str:
    """The sbatch script that submitit makes of a profile."""
    submission = Submission("0123456789", "toy-pilot", "a comment", folder, (), folder, "here", ())
    executor = submitit.SlurmExecutor(folder=folder)
    executor.update_parameters(**sbatch_parameters(submission, profile))
    return str(executor._make_submission_file_text("true", "uid"))


def test_every_shipped_profile_is_valid() -> None:
    """The profiles that come with the package load, and a100 asks for what its name says."""
    path = shared_file("slurm/profiles.toml")

    assert load_profile(path, "local").backend == "local"
    a100 = load_profile(path, "a100")
    assert (a100.cpus_per_task, a100.gpus) == (2, 1)


def test_the_lines_that_are_shown_as_comments_are_valid_too(tmp_path: Path) -> None:
    """Whoever removes a '#' in the shipped file gets a profile that loads."""
    text = shared_file("slurm/profiles.toml").read_text(encoding="utf-8")
    path = tmp_path / "profiles.toml"
    path.write_text(re.sub(r"^# (?=\w+ = )", "", text, flags=re.MULTILINE), encoding="utf-8")

    profile = load_profile(path, "a100")

    assert profile.backend == "slurm"
    assert profile.account == "lab"
    assert profile.sbatch["exclude"] == "node[13-14]"


def test_a_bare_profile_asks_for_two_cpus_and_16_gb(load: Load) -> None:
    """What a profile leaves out has the documented default."""
    profile = load("")

    assert profile.backend == "slurm"
    assert (profile.cpus_per_task, profile.mem_gb, profile.partitions) == (2, 16, ())


@pytest.mark.parametrize("written", ['["gpu", "gpu-long"]', '"gpu,gpu-long"'])
def test_several_partitions_reach_slurm_as_one_list(
    load: Load, written: str, tmp_path: Path
) -> None:
    """A list and Slurm's own form mean the same."""
    profile = load(f"partition = {written}")

    assert profile.backend == "slurm"
    assert profile.partitions == ("gpu", "gpu-long")
    assert "#SBATCH --partition=gpu,gpu-long\n" in script(profile, tmp_path)


@pytest.mark.parametrize(
    ("gres", "gpus"),
    [("gpu:a100:2", 2), ("gpu", 1), ("gpu:3", 3), ("gpu:a100", 1), ("nvme:4", 0),
     ("nvme:1,gpu:a100:2", 2), ("gpu:a100:1,gpu:v100:1", 2)],
)  # fmt: skip
def test_the_gpus_of_a_task_are_counted_from_its_gres(load: Load, gres: str, gpus: int) -> None:
    """Every form in which Slurm reads a gres."""
    assert load(f'gres = "{gres}"').gpus == gpus


def test_extra_options_stand_in_the_script(load: Load, tmp_path: Path) -> None:
    """A value is given as --name=value, a flag as --name."""
    profile = load('sbatch = { mail-type = "FAIL", exclude = "n[1-3]", nice = 5, requeue = true }')

    assert profile.backend == "slurm"
    lines = script(profile, tmp_path).splitlines()
    assert {
        "#SBATCH --mail-type=FAIL",
        "#SBATCH --exclude='n[1-3]'",
        "#SBATCH --nice=5",
        "#SBATCH --requeue",
    } <= set(lines)


@pytest.mark.parametrize(
    ("lines", "words"),
    [
        ('partiton = "gpu"', 'partiton: unknown key; did you mean "partition"?'),
        ("partition = []", "partition = []"),
        ('partition = ""', 'partition = ""'),
        ('partition = "gpu\\n#SBATCH --uid=0"', "a name in Slurm"),
        ('account = "--x"', "a name in Slurm"),
        ('qos = "a b"', "a name in Slurm"),
        ('gres = "gpu:$(reboot)"', "gpu:a100:1"),
        ('constraint = "a100; reboot"', "without spaces"),
        ("walltime_min = 2\nsignal_lead_s = 120", "not shorter than walltime_min = 2"),
        ('setup = ["#SBATCH --time=9"]', "sbatch table"),
        ('sbatch = { exclud = "n1" }', 'no option "--exclud"; did you mean "exclude"?'),
        ('sbatch = { mail_type = "END" }', 'did you mean "mail-type"?'),
        ("sbatch = { time = 60 }", "has a key of its own in the profile: walltime_min"),
        ('sbatch = { mem-per-cpu = "1G" }', "mem_gb"),
        ('sbatch = { gpus = "1" }', "gres"),
        ('sbatch = { signal = "USR1@9" }', "signal_lead_s"),
        ('sbatch = { job-name = "x" }', "is set by the pipeline"),
        ('sbatch = { array = "0-9" }', "array_parallelism"),
        ('sbatch = { dependency = "afterok:1" }', "is set by the pipeline"),
        ('sbatch = { wrap = "reboot" }', "is set by the pipeline"),
        ("sbatch = { requeue = false }", "leave the option out"),
        ('sbatch = { requeue = "yes" }', "takes no value"),
        ("sbatch = { exclude = true }", "needs a value"),
        ("sbatch = { nice = 2.5 }", "takes text, a whole number or true"),
        ('sbatch = { exclude = "n1\\nreboot" }', "may hold letters"),
        ('sbatch = { mail-user = "a`reboot`" }', "may hold letters"),
        ('sbatch = { export = "" }', "may hold letters"),
    ],
)
def test_what_a_profile_must_not_say_is_named(load: Load, lines: str, words: str) -> None:
    """Key path, value, what is wrong and what to write instead, in one line."""
    with pytest.raises(PipelineError) as caught:
        load(lines)

    assert words in str(caught.value)
    assert "profiles.here" in str(caught.value)
    assert "\n" not in str(caught.value)


HOSTILE = st.text(
    st.sampled_from(list("ab1-_.,:=@%+/ \n\r\t\"'`$;&|<>(){}[]*!#\\\0\x1b\u2028")), max_size=20
)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=300)
@given(
    key=st.sampled_from(["partition", "account", "qos", "gres", "constraint", "sbatch"]),
    text=HOSTILE,
)
@example("constraint", "a|b&c")
@example("sbatch", "x&&y")
def test_no_value_of_a_profile_becomes_another_line_of_the_script(
    tmp_path: Path, key: str, text: str
) -> None:
    """A value is refused, or its script differs from a harmless one in that value alone."""

    def profile(value: str) -> Profile:
        entry = {"prefer": value} if key == "sbatch" else value
        table = {"backend": "slurm", key: entry}
        return ProfilesFile.model_validate({"profiles": {"a": table}}).profiles["a"]

    try:
        hostile = profile(text)
    except ValueError:
        return
    harmless = profile("harmless")
    assert hostile.backend == harmless.backend == "slurm"
    ours, theirs = (script(p, tmp_path).split("\n") for p in (hostile, harmless))
    changed = [line for line, plain in zip(ours, theirs, strict=True) if line != plain]
    name = "prefer" if key == "sbatch" else key
    assert all(line.startswith(f"#SBATCH --{name}=") for line in changed)


def test_a_value_that_looks_like_shell_is_never_run(load: Load, tmp_path: Path) -> None:
    """The characters that constraints need are inert in the script that a shell runs."""
    profile = load('sbatch = { exclude = "node1&&touch|hacked" }')
    assert profile.backend == "slurm"
    path = tmp_path / "job.sh"
    path.write_text(script(profile, tmp_path).replace("srun", "echo srun"), encoding="utf-8")

    subprocess.run(["bash", str(path)], cwd=tmp_path, check=True, capture_output=True)

    assert not (tmp_path / "hacked").exists()


def test_a_profile_that_does_not_say_where_it_runs_is_told_so(tmp_path: Path) -> None:
    """The key that is missing, and what may stand there."""
    path = tmp_path / "profiles.toml"
    path.write_text('[profiles.here]\npartition = "main"\n', encoding="utf-8")
    wanted = "profiles.here.backend: required key is missing; valid: local, slurm"
    with pytest.raises(PipelineError, match=wanted):
        load_profile(path, "here")
