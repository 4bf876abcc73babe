"""The files of a submission: what each of its tasks and runs needs to know, written beforehand."""

import json
from collections.abc import Sequence
from pathlib import Path

from pipeline import claim
from pipeline.files import write_atomic
from pipeline.plan import RunSpec, TaskSpec
from pipeline.private import own_folder, owner_writes
from pipeline.results import CodePlace, RunEntry, TaskFile
from pipeline.scheduler import Submission
from pipeline.site import Site
from pipeline.snapshot import Snapshot


def written_submission(
    site: Site, phase: str, token: str, tasks: Sequence[TaskSpec], snapshot: Snapshot
) -> Submission:
    """Write the files of a submission: one per task, and for every run its config and grant.

    A power cut may take them back: then the tasks fail and are submitted anew, with new files.
    """
    workspace, study = site.workspace, site.study.file.study.name
    folder = workspace.job_dir(phase, token)
    own_folder(folder, workspace.root)
    files = []
    for index, task in enumerate(tasks):
        content = task_file(site, phase, token, index, task, snapshot)
        files.append(folder / f"task-{index:04d}.json")
        with owner_writes():  # it says which code is run
            write_atomic(files[-1], content.model_dump_json(indent=1).encode(), durable=False)
        for run in task.runs:
            _write_config(workspace.run_dir(run.key) / "config.json", run)
            claim.grant(workspace.run_dir(run.key), token)
    return Submission(
        token=token,
        name=f"{study}-{phase}-{token}",
        comment=f"study-pipeline study={study} phase={phase} token={token}",
        folder=folder,
        task_files=tuple(files),
        workspace=workspace.root,
        profile_name=site.profile_name,
        python_path=snapshot.python_path,
    )


def task_file(
    site: Site, phase: str, token: str, index: int, task: TaskSpec, snapshot: Snapshot
) -> TaskFile:
    """All that one task of a submission needs to know."""
    header = site.study.file.study
    return TaskFile(
        study=header.name,
        phase=phase,
        trainer=header.trainer,
        metric=header.metric.name,
        backend=site.profile.backend,
        token=token,
        task=index,
        cpus=site.profile.cpus_per_task,
        gpus=site.profile.gpus,
        code=snapshot.code,
        sources=CodePlace(root=snapshot.sources.root, names=snapshot.sources.names),
        runs=[_entry(run) for run in task.runs],
    )


def _entry(run: RunSpec) -> RunEntry:
    return RunEntry(
        run_id=run.run_id,
        condition=run.condition,
        seed=run.seed,
        config=run.config,
        config_digest=run.digest,
    )


def _write_config(path: Path, run: RunSpec) -> None:
    content = {"condition": run.condition, "seed": run.seed, "trainer": run.trainer}
    text = json.dumps({**content, "config": run.config, "digest": run.digest}, indent=1)
    write_atomic(path, text.encode(), durable=False)
