"""benchmarks/torture.py, short: every operation meets every fault, nothing is lost; and it sees what is lost.

Every call of a small build is interrupted in tests/test_interrupted.py.
"""

import json
import subprocess
import sys
from pathlib import Path

import pytest

BENCHMARKS = Path(__file__).parent.parent / "benchmarks"


def ran(tmp_path, *words, before=""):
    """The script in a process of its own, as people run it (its children are forked): how it ended, what it left."""
    code = (
        f"import runpy, sys\nsys.path.insert(0, {str(BENCHMARKS)!r})\n{before}\n"
        f"sys.argv[0] = {str(BENCHMARKS / 'torture.py')!r}\nrunpy.run_path(sys.argv[0], run_name='__main__')"
    )
    command = [sys.executable, "-c", code, "--results", str(tmp_path), *words]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (tmp_path / "torture.json").exists(), done.stderr
    return done, json.loads((tmp_path / "torture.json").read_text())


@pytest.mark.slow
def test_nothing_is_lost(tmp_path):
    """Each operation is killed at random, and meets each kind of fault at a call or two, chosen by a seed."""
    done, found = ran(tmp_path, "--kills", "10", "--every", "150", "--workers", "2")
    assert found["problems"] == [], done.stdout
    assert done.returncode == 0, done.stderr
    assert found["losses"] == 0
    assert found["kills"] > 20
    counts = found["counts"]
    faults = {count["fault"] for count in counts}
    assert len(faults) == 10
    assert len(counts) == len(faults) * len({count["operation"] for count in counts}), "each in each"
    for fault in faults:
        assert sum(count["struck"] for count in counts if count["fault"] == fault) > 0
    assert sum(count["refused"] for count in counts) > 0
    assert all(count["refused"] == 0 for count in counts if count["operation"] != "build"), "what is there stays"
    assert "Lost: 0." in (tmp_path / "torture.md").read_text()


CARELESS = """
from resload.store import publish
def write_whole(data, target, *, scratch):
    from resload.store.files import disk, write_at
    descriptor = disk().create(target)
    write_at(descriptor, data, 0)
    disk().close(descriptor)
publish.write_whole = write_whole
"""
"""A store that writes tables where they belong, as most programs do: neither beside them nor synced."""


@pytest.mark.slow
def test_a_careless_store_is_found_out(tmp_path):
    """The run ends with status 1 and names what was lost: the same checks are not blind."""
    done, found = ran(tmp_path, "--only", "retarget", "--kills", "0", "--every", "4", before=CARELESS)
    assert done.returncode == 1
    assert found["losses"] == len(found["problems"]) > 5
    lost = {problem[1] for problem in found["problems"]}
    assert {"killed at a call", "power cut", "disk full"} <= lost
    assert "retarget / power cut" in done.stdout
