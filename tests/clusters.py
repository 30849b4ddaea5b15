"""Real executors of two workers each, and ways to kill one in the middle of its work.

A worker is stopped, found to have temporaries of the cache open while it cannot go on, and then killed: so it dies at a
known moment, and nothing waits for luck.
"""

import contextlib
import os
import secrets
import signal
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import psutil

PATIENCE = 60

os.environ.setdefault("RAY_AUTH_TOKEN", secrets.token_hex(32))  # else Ray writes one to the home folder


@contextlib.contextmanager
def dask_client():
    """A cluster of two worker processes on this machine."""
    import distributed

    cluster = distributed.LocalCluster(n_workers=2, threads_per_worker=1, dashboard_address="127.0.0.1:0")
    with contextlib.closing(cluster), distributed.Client(cluster, set_as_default=False) as client:
        yield client


@contextlib.contextmanager
def local_ray(folder: Path):
    """A Ray of two cores on this machine, its files in a folder."""
    import ray

    ray.init(
        address="local",
        num_cpus=2,
        include_dashboard=False,
        logging_level="error",
        log_to_driver=False,
        object_store_memory=100 << 20,
        _temp_dir=str(folder),
    )
    try:
        yield ray
    finally:
        ray.shutdown()


class Stopped:
    """A process stopped (SIGSTOP) while it makes a row group: it has the group's temporaries open.

    within: the folder of the cache. group: any of them when None. of: whose children are looked at; this process's
    when None.
    """

    def __init__(self, within: Path, group: int | None = None, of: int | None = None) -> None:
        self.mark = "-" if group is None else f"-{group}-"
        self.build, self.of, self.pid, self.given_up = within / ".build", of, 0, threading.Event()

    def wait(self) -> int:
        """Its number. Looks again and again, and at what it has stopped once more."""
        ends = time.monotonic() + PATIENCE
        while not self.given_up.is_set():
            assert time.monotonic() < ends, "nobody makes a row group"
            for pid in children(self.of):
                if self._works(pid):
                    psutil.Process(pid).suspend()
                    if self._works(pid):
                        self.pid = pid
                        return pid
                    psutil.Process(pid).resume()
            time.sleep(0.002)
        return 0

    def _works(self, pid: int) -> bool:
        try:
            opened = [link.readlink() for link in Path(f"/proc/{pid}/fd").iterdir()]
        except OSError:
            return False
        return any(path.parent == self.build and path.suffix == ".part" and self.mark in path.name for path in opened)


@contextlib.contextmanager
def killing(cache: Path, group: int | None = None) -> Iterator[list[int]]:
    """While the block runs, the first process that is seen at work on this cache (on this row group) is killed."""
    found, killed = Stopped(cache, group), []

    def kill() -> None:
        if pid := found.wait():
            os.kill(pid, signal.SIGKILL)
            killed.append(pid)

    thread = threading.Thread(target=kill)
    thread.start()
    try:
        yield killed
    finally:
        found.given_up.set()
        thread.join()


def children(pid: int | None = None) -> set[int]:
    """Processes that one has begun (this one when None), and theirs, which still run."""
    found = set()
    for process in psutil.Process(pid).children(recursive=True):
        with contextlib.suppress(psutil.NoSuchProcess):
            if process.status() != psutil.STATUS_ZOMBIE and "resource_tracker" not in " ".join(process.cmdline()):
                found.add(process.pid)
    return found


def gone(pids: set[int], seconds: float = 20) -> bool:
    """Whether these processes end within so many seconds."""
    ends = time.monotonic() + seconds
    while any(psutil.pid_exists(pid) and psutil.Process(pid).status() != psutil.STATUS_ZOMBIE for pid in pids):
        if time.monotonic() > ends:
            return False
        time.sleep(0.05)
    return True
