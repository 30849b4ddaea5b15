"""Real executors of two workers each, and ways to kill one in the middle of its work.

A film that is a named pipe holds the worker that reads it until somebody writes or the pipe is closed: so a worker is
killed at a known moment, and nothing waits for luck.
"""

import contextlib
import os
import secrets
import shutil
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


class HeldFilm:
    """A film whose reader is held: the file is put aside, and a pipe of its name stands in its place."""

    def __init__(self, path: Path) -> None:
        self._path, self._aside = path, path.with_suffix(".aside")
        shutil.move(path, self._aside)
        os.mkfifo(path)
        self._pipe = -1

    def reader(self) -> int:
        """The process that reads it, once there is one."""
        ends = time.monotonic() + PATIENCE
        while self._pipe < 0:
            assert time.monotonic() < ends, "no worker has come to the film"
            with contextlib.suppress(OSError):  # ENXIO: nobody reads
                self._pipe = os.open(self._path, os.O_WRONLY | os.O_NONBLOCK)
            time.sleep(0.01)
        while True:
            assert time.monotonic() < ends, "the reader is gone"
            for process in psutil.process_iter():
                if process.pid != os.getpid() and self._is_open_in(process.pid):
                    return process.pid

    def _is_open_in(self, pid: int) -> bool:
        try:
            return any(os.path.realpath(link) == str(self._path) for link in Path(f"/proc/{pid}/fd").iterdir())
        except OSError:
            return False

    def put_back(self) -> None:
        """The file again; whoever reads the pipe still finds its end."""
        if self._aside.exists():
            self._aside.replace(self._path)
        if self._pipe >= 0:
            os.close(self._pipe)
            self._pipe = -1


@contextlib.contextmanager
def killing_reader(film: Path) -> Iterator[list[int]]:
    """While the block runs, the first process that reads this film is killed; then the film is as it was."""
    held, killed = HeldFilm(film), []

    def kill() -> None:
        pid = held.reader()
        held_back = psutil.Process(pid)
        os.kill(pid, signal.SIGKILL)
        with contextlib.suppress(psutil.TimeoutExpired):  # a zombie until its parent looks
            held_back.wait(0.5)
        killed.append(pid)
        held.put_back()

    thread = threading.Thread(target=kill)
    thread.start()
    try:
        yield killed
    finally:
        thread.join()
        held.put_back()


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
