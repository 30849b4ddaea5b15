"""Who makes films in `kills.py`: threads of the driver, processes, and the workers of Dask and Ray.

Dask and Ray stand in a process of their own with two workers, which a killed driver leaves alone and which come back
when one of them is killed. It ends when its standard input does, so that none outlives this program, however that ends.
"""

import contextlib
import os
import secrets
import select
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import psutil

NAMES = ("threads", "processes", "dask", "ray")
STARTS_IN, COMES_BACK, ENDS_IN = 120.0, 90.0, 30.0
"""Seconds."""
DASK = """
import select
import sys
import time
import distributed
if __name__ == "__main__":
    with distributed.LocalCluster(n_workers=2, threads_per_worker=1, dashboard_address="127.0.0.1:0") as cluster:
        print(cluster.scheduler_address, flush=True)
        there = time.monotonic()
        while not select.select([sys.stdin], [], [], 1.0)[0]:
            if len(cluster.scheduler_info["workers"]) >= 2:
                there = time.monotonic()
            elif time.monotonic() - there > 30.0:
                cluster.scale(len(cluster.worker_spec) + 1)
                there = time.monotonic()
"""
"""Another worker where one did not come back: Dask's nanny may wait for ever for one that is killed while it begins."""
RAY = """
import sys
import ray
ray.init(address="local", num_cpus=2, include_dashboard=False, object_store_memory=100 << 20, _temp_dir=sys.argv[1])
print(ray.get_runtime_context().gcs_address, flush=True)
sys.stdin.read()
ray.shutdown()
"""
AGENTS = ("ray::DashboardAgent", "ray::RuntimeEnvAgent")
"""Processes of Ray that are no workers."""


@dataclass(frozen=True)
class Crew:
    """One kind of executor, of two workers."""

    name: str
    executor: str | None = None
    """As `build` takes it."""
    of: int | None = None
    """The process whose children its workers are; None: the driver, with which they end."""
    is_worker: Callable[[Sequence[str]], bool] = lambda words: False
    """Whether a process is one of them, by its command line."""

    ready: Callable[[], list[int]] | None = None
    """Waits until both workers are there, where that can be asked: their processes. Starts threads."""

    @property
    def victims(self) -> tuple[str, ...]:
        """Who can be killed."""
        return ("driver",) if self.executor is None else ("driver", "worker")

    def workers(self, driver: int) -> list[int]:
        """The processes of its workers, in order of their numbers."""
        found = []
        with contextlib.suppress(psutil.NoSuchProcess):
            for process in psutil.Process(self.of or driver).children(recursive=True):
                with contextlib.suppress(psutil.NoSuchProcess, psutil.ZombieProcess):
                    if self.is_worker(process.cmdline()):
                        found.append(process.pid)
        return sorted(found)


def _is_spawned(words: Sequence[str]) -> bool:
    return any("spawn_main" in word for word in words)


def _is_of_ray(words: Sequence[str]) -> bool:
    return bool(words) and words[0].startswith("ray::") and words[0] not in AGENTS


def _dask_ready(address: str) -> list[int]:
    """Both workers, ready to work; none where they are not there in time. Dask does not soon replace one that is
    killed while it begins.
    """
    import distributed

    with distributed.Client(address, set_as_default=False) as client:
        try:
            client.wait_for_workers(2, timeout=COMES_BACK)
        except TimeoutError:
            return []
        client.run(exec, "import resload.store.parts")
        return sorted(client.run(os.getpid).values())


@contextlib.contextmanager
def crews(names: Sequence[str], folder: Path) -> Iterator[list[Crew]]:
    """Those of these names, open, Ray's files and what is said on stderr in a folder; closed at the end."""
    os.environ.setdefault("RAY_AUTH_TOKEN", secrets.token_hex(32))  # else Ray writes one to the home folder
    os.environ.setdefault("RAY_AUTH_MODE", "token")
    found = []
    with contextlib.ExitStack() as stack:
        for name in names:
            if name == "threads":
                found.append(Crew(name))
            elif name == "processes":
                found.append(Crew(name, "processes:2", None, _is_spawned))
            else:
                number, address = stack.enter_context(_cluster(name, DASK if name == "dask" else RAY, folder))
                is_worker = _is_spawned if name == "dask" else _is_of_ray
                ready = partial(_dask_ready, address) if name == "dask" else None
                found.append(Crew(name, f"{name}:{address}", number, is_worker, ready))
        yield found


@contextlib.contextmanager
def _cluster(name: str, code: str, folder: Path) -> Iterator[tuple[int, str]]:
    """A program that says an address and then waits for the end of its input: its number, the address."""
    program = folder / f"start_{name}.py"  # not dask.py: its folder is searched first
    program.write_text(code)
    with (folder / f"{name}.log").open("ab") as log:
        process = subprocess.Popen(
            [sys.executable, str(program), str(folder / "ray")],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=log, text=True,
            start_new_session=True,  # Ctrl-C is for this program, which then ends that one
        )  # fmt: skip
    assert process.stdin is not None
    assert process.stdout is not None
    try:
        said = select.select([process.stdout], [], [], STARTS_IN)[0] and process.stdout.readline().strip()
        if not said:
            raise RuntimeError(f"{name} did not start: {(folder / f'{name}.log').read_text()[-2000:]}")
        yield process.pid, said
    finally:
        _end(process)


def _end(process: "subprocess.Popen[str]") -> None:
    """Let it end by itself; then end all that is left of it."""
    with contextlib.suppress(psutil.NoSuchProcess):
        left = psutil.Process(process.pid).children(recursive=True)
        assert process.stdin is not None
        process.stdin.close()
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(ENDS_IN)
        _, late = psutil.wait_procs(left, timeout=5)
        for one in (process, *late):
            with contextlib.suppress(psutil.NoSuchProcess, ProcessLookupError):
                one.kill()
    process.wait()
