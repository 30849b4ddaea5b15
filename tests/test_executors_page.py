"""The SLURM job of docs/how-to/clusters.md, and benchmarks/executors.py, small."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from clusters import children, gone
from trees import tree

import resload

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parent.parent
SIZES = (32, (48, 40))
SRUN = """#!/bin/bash
while [[ $1 == --* ]]; do shift; done
"$@" & "$@" & wait
"""


def test_the_job_of_the_page_builds(films, tmp_path):
    """The SLURM job of docs/how-to/clusters.md, with an `srun` that starts two workers here."""
    page = (ROOT / "docs/how-to/clusters.md").read_text(encoding="utf-8")
    job, script = (next(one for one in re.findall(r"```text\n(.*?)```", page, re.DOTALL) if mark in one)
                   for mark in ("dask scheduler", "sys.argv"))  # fmt: skip
    script = script.replace("/shared/nih-catalog", "catalog").replace("/shared/nih.zarr", "c.zarr")
    films.save(tmp_path / "catalog")
    (tmp_path / "build.py").write_text(script.replace("(128, 256, 512)", repr(SIZES)))
    (tmp_path / "job.sh").write_text(job.replace("source ~/venv/bin/activate", ""))
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin/srun").write_text(SRUN)
    (tmp_path / "bin/srun").chmod(0o755)
    path = os.pathsep.join([str(tmp_path / "bin"), str(Path(sys.executable).parent), os.environ["PATH"]])
    before = children()
    environment = {**os.environ, "PATH": path, "SLURM_JOB_ID": "7", "TMPDIR": str(tmp_path)}
    done = subprocess.run(
        ["bash", "job.sh"], cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=120, check=False
    )
    assert done.returncode == 0, done.stderr
    resload.build(films, tmp_path / "one.zarr", SIZES, threads=1, progress=False)
    assert tree(tmp_path / "c.zarr") == tree(tmp_path / "one.zarr")
    assert gone(children() - before)


def test_the_benchmark_measures(tmp_path):
    """benchmarks/executors.py, short: it compares the caches, and leaves its numbers."""
    words = ["--short", "--only", "threads", "--results", str(tmp_path / "out"), "--folder", str(tmp_path)]
    script = ROOT / "benchmarks/executors.py"
    done = subprocess.run([sys.executable, str(script), *words], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    found = json.loads((tmp_path / "out/executors.json").read_text())
    assert found["speed"]["threads"]["there_s"]["median"] > 0
    assert 50 < found["task"]["without masks"]["bytes_per_film"] < 300
    assert "| threads |" in (tmp_path / "out/executors.md").read_text()
