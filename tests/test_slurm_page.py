"""The job and the script of docs/how-to/slurm.md: signalled in the middle, requeued, gone on with by fewer."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from links import ROOT

import resload
from resload.samplers import Images, Mix, Sampler
from resload.testing import write_synthetic

pytestmark = pytest.mark.slow

JOB = str(os.getpid())
"""The page's port follows from it: another one for each process that tests."""
PAGE = ROOT / "docs" / "how-to" / "slurm.md"
TOLD = """
            with open(f"rows-{distributed.get_rank()}.txt", "a") as told:
                print(*batch.rows.tolist(), file=told)
            if os.environ["SIGNAL"] == f"{distributed.get_rank()} {loader.state_dict()['step']}":
                os.kill(os.getpid(), signal.SIGUSR1)
"""
"""Put into the loop: each process says its rows, and one has a signal after one step, which the others have not."""
SRUN = """#!/bin/bash
while [[ $1 == --* ]]; do shift; done
export SLURM_STEP_NUM_TASKS=$TASKS
for ((task = 0; task < TASKS; task++)); do
    SLURM_PROCID=$task SLURM_LOCALID=$task "$@" &
    started+=($!)
done
for one in "${started[@]}"; do wait "$one" || code=$?; done
exit ${code:-0}
"""
SCONTROL = """#!/bin/bash
if [[ $1 == show ]]; then echo 127.0.0.1; else echo "$@" >> requeued.txt; fi
"""


def test_the_job_of_the_page_goes_on(tmp_path):
    """Two processes stop after the same step when one is told; one process goes on: each film once, as in one run."""
    job = written(tmp_path)
    catalog = write_synthetic(tmp_path / "films", 40, size=32, broken=0).split({"train": 0.8, "val": 0.2}, seed=0)
    cache = resload.build(catalog, tmp_path / "films.zarr", sizes=(16, 32), progress=False)
    sampler = Sampler(cache, rows=cache.rows(split="train"), sizes=Mix((16, 32)), budget=Images(8))
    steps = [sorted(step.index.tolist()) for epoch in range(2) for step in sampler.steps(epoch)]
    assert len(sampler) > 2

    assert run(job, tmp_path, tasks=2, told="1 2") == 75
    assert (tmp_path / "requeued.txt").read_text() == f"requeue {JOB}\n"
    first = [served(tmp_path, rank) for rank in range(2)]
    assert [sorted(one + other) for one, other in zip(*first, strict=True)] == steps[:2]
    saved = torch.load(tmp_path / "checkpoint.pt", weights_only=True)
    assert (saved["loader"]["epoch"], saved["loader"]["step"]) == (0, 2)

    for path in tmp_path.glob("rows-*.txt"):
        path.unlink()
    assert run(job, tmp_path, tasks=1, told="") == 0
    assert [sorted(rows) for rows in served(tmp_path, 0)] == steps[2:]
    assert (tmp_path / "requeued.txt").read_text() == f"requeue {JOB}\n"
    assert torch.load(tmp_path / "checkpoint.pt", weights_only=True)["loader"]["epoch"] == 2


def written(folder):
    """The page's job, its script beside it, and an `srun` and a `scontrol` that work here."""
    text = PAGE.read_text(encoding="utf-8")
    script, job = (
        next(one for one in re.findall(r"```text\n(.*?)```", text, re.DOTALL) if one.startswith(head))
        for head in ("# train.py\n", "#!/bin/bash\n")
    )
    stepped = "            optimiser.step()\n"
    assert script.count(stepped) == 1
    assert job.count("source ~/venv/bin/activate\n") == 1
    (folder / "train.py").write_text(script.replace(stepped, stepped + TOLD.removeprefix("\n")))
    (folder / "job.sh").write_text(job.replace("source ~/venv/bin/activate\n", ""))
    (folder / "bin").mkdir()
    for name, body in (("srun", SRUN), ("scontrol", SCONTROL)):
        (folder / "bin" / name).write_text(body)
        (folder / "bin" / name).chmod(0o755)
    return folder / "job.sh"


def run(job, folder, *, tasks, told):
    """The job's exit code, with so many processes."""
    path = os.pathsep.join([str(folder / "bin"), str(Path(sys.executable).parent), os.environ["PATH"]])
    environment = {
        **os.environ, "PATH": path, "TASKS": str(tasks), "SIGNAL": told, "OMP_NUM_THREADS": "1", "SLURM_JOB_ID": JOB,
        "SLURM_JOB_NODELIST": "here", "SLURM_CPUS_PER_TASK": "1",
    }  # fmt: skip
    done = subprocess.run(
        ["bash", job], cwd=folder, env=environment, text=True, capture_output=True, check=False, timeout=120
    )
    assert done.returncode in (0, 75), done.stderr
    return done.returncode


def served(folder, rank):
    """The rows of each of a process's steps."""
    lines = (folder / f"rows-{rank}.txt").read_text().splitlines()
    return [[int(row) for row in line.split()] for line in lines]
