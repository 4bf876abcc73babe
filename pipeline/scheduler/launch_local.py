"""Starts one local task through submitit and writes its pid down; runs in its own session."""

import json
import shlex
import sys
from pathlib import Path

import submitit

from pipeline.files import write_atomic
from pipeline.private import owner_writes
from pipeline.provenance import node_name
from pipeline.scheduler.local import PROCESS_FILE
from pipeline.worker import run_task


def main() -> None:
    """Read the order from the command line, submit it, write {"pid", "host"}."""
    order = json.loads(sys.argv[1])
    # -P: what lies in the working directory must not come before the snapshot on PYTHONPATH.
    python = f"{shlex.quote(sys.executable)} -P"
    executor = submitit.LocalExecutor(folder=order["folder"], python=python)
    executor.update_parameters(
        timeout_min=order["timeout_min"],
        signal_delay_s=order["signal_lead_s"],
        gpus_per_node=order["gpus"],
        stderr_to_stdout=True,
    )
    with owner_writes():  # what lies in a pickle is executed
        job = executor.submit(run_task, order["workspace"], order["task_file"])
    answer = json.dumps({"pid": int(job.job_id), "host": node_name()})
    write_atomic(Path(order["folder"]) / PROCESS_FILE, answer.encode())


if __name__ == "__main__":
    main()
