"""benchmarks/remote.py, small: it ends, and leaves what it says it leaves."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

SCRIPT = Path(__file__).parent.parent / "benchmarks" / "remote.py"


@pytest.mark.slow
def test_it_runs(tmp_path):
    """Every way is measured, without and with a delay, and written beside the table."""
    command = [sys.executable, SCRIPT, "--quick", "--results", tmp_path / "out"]
    done = subprocess.run([*map(str, command)], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    found = json.loads((tmp_path / "out" / "remote.json").read_text())
    assert set(found["ms"]) == {"0", "2"}
    for case in found["ms"].values():
        assert set(case) == {"ratios", "build, s", "epoch, images/s", "random reads, images/s", "fetching, MB/s"}
        assert all(way["median"] > 0 for what in case if what != "ratios" for way in case[what].values())
    assert "| epoch, images/s | mirror, there |" in (tmp_path / "out" / "remote.md").read_text()
