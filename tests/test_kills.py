"""benchmarks/kills.py, short: drivers and workers of every kind are killed, nothing is lost and nobody is left; and it
sees what is lost.
"""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest

from resload.testing import Place, s3_server
from resload.testing.bucket import Bucket
from resload.testing.children import has_ended, in_child

BENCHMARKS = Path(__file__).parent.parent / "benchmarks"
pytestmark = pytest.mark.slow


def began(tmp_path, *words, before=""):
    """The script in a process of its own, as people run it (its children are forked), and all are marked."""
    code = (
        f"import runpy, sys\nsys.path.insert(0, {str(BENCHMARKS)!r})\n"
        f"if __name__ == '__main__':\n    {before or 'pass'}\n"
        f"    sys.argv[0] = {str(BENCHMARKS / 'kills.py')!r}\n    runpy.run_path(sys.argv[0], run_name='__main__')"
    )
    command = [sys.executable, "-c", code, "--results", str(tmp_path), *words]
    environment = {**os.environ, "RESLOAD_KILLS_TEST": str(tmp_path)}
    return subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment, start_new_session=True
    )


def left_of(tmp_path):
    """Processes that came of such a run and are still there: all have its variable in their environment."""
    found = []
    for process in psutil.process_iter():
        try:
            if process.environ().get("RESLOAD_KILLS_TEST") == str(tmp_path) and process.status() != "zombie":
                found.append(" ".join(process.cmdline()))
        except psutil.Error:
            continue
    return found


def nobody_left(tmp_path, seconds=20):
    """Whether they all end within so many seconds."""
    ends = time.monotonic() + seconds
    while left_of(tmp_path) and time.monotonic() < ends:
        time.sleep(0.1)
    return left_of(tmp_path) == []


def test_nothing_is_lost(tmp_path):
    """Each driver and worker is killed, on a disk and in object storage, in each operation; and no process is left."""
    run = began(tmp_path, "--kills", "10", "--within", "0.5")
    said, complained = run.communicate()
    assert run.returncode == 0, said + complained
    found = json.loads((tmp_path / "kills.json").read_text())
    assert found["losses"] == 0
    assert found["problems"] == []
    assert found["kills"] >= 10
    assert found["in_time"] > 0
    counts = found["counts"]
    assert {(one["where"], one["by"], one["victim"]) for one in counts} == {
        (where, by, victim)
        for where in ("folder", "s3")
        for by in ("threads", "processes", "dask", "ray")
        for victim in (("driver",) if by == "threads" else ("driver", "worker"))
    }
    assert {one["operation"] for one in counts} == {"build", "append", "add level"}
    assert all(one["refused"] == 0 for one in counts if one["operation"] != "build"), "what is there stays"
    assert "lost: 0." in (tmp_path / "kills.md").read_text()
    assert nobody_left(tmp_path)


CARELESS = """
import os, time
from pathlib import Path
import kills_trials
from resload.store import publish

half = Path(os.environ["RESLOAD_KILLS_TEST"]) / "half"

class AtItsWorst(kills_trials._Strike):
    struck = False

    def __init__(self, *arguments):
        super().__init__(*arguments)
        self._begins, self._after = self.until_half, 0.0
        half.unlink(missing_ok=True)
        AtItsWorst.struck = True  # in the child that is forked next

    def until_half(self, child):
        AtItsWorst.struck = False  # but in none after it
        while not (half.exists() or kills_trials.has_ended(child)):
            time.sleep(0.001)

def write_whole(data, target, *, scratch):
    target.write_bytes(data[:50])
    if AtItsWorst.struck and target.name == "samples.parquet":
        half.touch()
        time.sleep(60)
    target.write_bytes(data)

kills_trials._Strike, publish.write_whole = AtItsWorst, write_whole
"""
"""A store that writes tables where they belong, in two steps; and kills that come between them."""


def test_a_careless_store_is_found_out(tmp_path):
    """The run ends with status 1 and names what was lost: the checks are not blind."""
    run = began(tmp_path, "--kills", "3", "--only", "folder", "--only", "threads", before=f"exec({CARELESS!r})")
    said, complained = run.communicate()
    found = json.loads((tmp_path / "kills.json").read_text())
    assert run.returncode == 1, said + complained
    assert found["losses"] == len(found["problems"]) > 0
    assert "folder / threads / driver / " in said


def test_ctrl_c_leaves_nobody(tmp_path):
    """Interrupted while its servers and clusters run, it ends by KeyboardInterrupt, and so do they all."""
    run = began(tmp_path, "--kills", "1000", "--only", "s3", "--only", "dask", "--within", "0.5")
    ends = time.monotonic() + 60
    while sum("spawn_main" in words for words in left_of(tmp_path)) < 2 and time.monotonic() < ends:
        time.sleep(0.1)  # until Dask's workers are there
    run.send_signal(signal.SIGINT)
    assert "KeyboardInterrupt" in run.communicate()[1]
    assert nobody_left(tmp_path)


def test_a_bucket_is_a_place(tmp_path):
    """What lies in object storage, as a folder's tree; put there, changed and removed by plain requests."""
    (tmp_path / "a" / "deep").mkdir(parents=True)
    (tmp_path / "a" / "one").write_bytes(b"1")
    (tmp_path / "a" / "deep" / "two & more").write_bytes(b"22")
    here = Place(tmp_path / "a")
    with s3_server() as server:
        there, beside = Bucket(server, "x/a"), Bucket(server, "x/ab")
        beside.change("one", b"other")
        there.fill(here)
        assert there.names() == ["deep/two & more", "one"]
        assert there.tree() == {name: total for name, total in here.tree().items() if name != "deep"}
        there.change("one", None)
        assert there.names() == ["deep/two & more"]
        there.clear()
        assert there.tree() == {}
        assert beside.names() == ["one"]


def test_a_child_is_watched_while_it_works():
    """`meanwhile` may kill, sees when it is too late, and what it raises ends the child too."""
    seen = []
    assert in_child(lambda: time.sleep(60), meanwhile=lambda child: os.kill(child, signal.SIGKILL)).killed
    assert in_child(lambda: 3, meanwhile=lambda child: seen.append(_ended_soon(child))).value == 3
    assert seen == [True]
    with pytest.raises(ZeroDivisionError):
        in_child(lambda: time.sleep(60), meanwhile=lambda child: seen.append(child) or 1 // 0)
    assert not psutil.pid_exists(seen[-1])


def _ended_soon(child):
    ends = time.monotonic() + 20
    while not has_ended(child) and time.monotonic() < ends:
        time.sleep(0.01)
    return has_ended(child)
