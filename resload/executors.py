"""Where tasks run beside this process: any executor of `concurrent.futures`, and Dask and Ray by name.

    an Executor                    threads, processes, mpi4py.futures, loky, Dask's `client.get_executor()`
    a distributed.Client           Dask
    "processes"  "processes:4"     new processes of this machine, one for each core, or four
    "dask"                         new Dask workers of this machine
    "dask:tcp://host:8786"         the Dask scheduler at an address
    "dask:scheduler.json"          the one that wrote this file
    "ray"                          the Ray that this process is connected to; else that of RAY_ADDRESS; else a new one
    "ray:auto"  "ray:ray://host:10001"     the Ray at an address

What was given open stays open; what was opened here is closed here, however the work ends. Tasks are functions that a
worker can import, with arguments and answers that can be pickled.
"""

import multiprocessing
import os
import threading
import traceback
from collections.abc import Callable, Generator, Iterable, Iterator
from concurrent.futures import (
    FIRST_COMPLETED,
    BrokenExecutor,
    CancelledError,
    Executor,
    Future,
    ProcessPoolExecutor,
    wait,
)
from contextlib import closing, contextmanager
from dataclasses import dataclass
from functools import partial
from typing import Any, TypeVar

from resload.errors import ArgumentError, WorkerError, require
from resload.threads import thread_count

T = TypeVar("T")
R = TypeVar("R")

MOST = 128
"""Tasks handed over and not yet answered: enough for a cluster that grows with what waits, and few enough that their
arguments take no memory to speak of."""
TRIES = 3
"""How often Ray gives a task to another worker when one dies. (Dask has a setting of its own,
`distributed.scheduler.allowed-failures`, 3 unless changed.)"""
_ANY_PORT = "127.0.0.1:0"
"""Of Dask's pages about itself: their usual one may be taken, and they are nobody else's business."""
NAMES = ("processes", "dask", "ray")


@dataclass(frozen=True)
class Workers:
    """An executor that is open. Thread-safe as far as the executor is."""

    words: str
    """What it is, for people."""
    submit: Callable[..., "Future[Any]"]
    """`submit(function, *args)`."""

    def each(self, function: Callable[[T], R], items: Iterable[T]) -> Generator[tuple[T, R], None, None]:
        """(item, `function(item)`) in the order in which they are ready, `MOST` of them under way at a time.

        Items are taken as they are needed. An exception of a task is raised here. However the iteration ends, tasks
        that have not begun are dropped, and those that run and cannot be stopped are waited for.

        Raises WorkerError when a worker died and the executor has given up its task.
        """
        running: dict[Future[R], T] = {}
        try:
            for item in items:
                running[self._begun(function, item)] = item
                if len(running) >= MOST:
                    yield from self._done(running)
            while running:
                yield from self._done(running)
        finally:
            wait([future for future in running if not future.cancel()])

    def _begun(self, function: Callable[[T], R], item: T) -> "Future[R]":
        try:
            return self.submit(function, item)
        except BrokenExecutor as error:
            raise self._lost() from error

    def _done(self, running: "dict[Future[R], T]") -> Iterator[tuple[T, R]]:
        for future in wait(running, return_when=FIRST_COMPLETED).done:
            item = running.pop(future)
            try:
                answer = future.result()
            except (Exception, CancelledError) as error:
                if _is_loss(error):
                    raise self._lost() from error
                raise
            yield item, answer

    def _lost(self) -> WorkerError:
        return WorkerError(
            f"a worker died, or its scheduler ({self.words}): it was killed, ran out of memory, or its machine is "
            "gone. What is finished is kept: run the same again"
        )


def _is_loss(error: BaseException) -> bool:
    """Whether it tells of an executor that lost a task, rather than of the task."""
    if isinstance(error, BrokenExecutor | CancelledError):
        return True
    package = type(error).__module__.partition(".")[0]
    return package in ("distributed", "ray") and not hasattr(error, "as_instanceof_cause")  # an error in a Ray task


@contextmanager
def open_executor(spec: object, *, threads: int = 1, gpu: bool = False) -> Iterator[Workers | None]:
    """What stands for an executor, open; None for None.

    threads: how many threads each task uses, of which new workers and Ray take account. gpu: whether it uses a GPU.

    Raises ArgumentError for what is no executor or does not answer, MissingPackageError without Dask or Ray.
    """
    if spec is None or isinstance(spec, Workers):
        yield spec
    elif isinstance(spec, str):
        with _named(spec, threads=threads, gpu=gpu) as workers:
            yield workers
    elif isinstance(spec, Executor):
        yield _given(spec)
    elif _is_of("distributed", spec) and hasattr(spec, "get_executor"):
        yield _dask(spec)
    else:
        raise ArgumentError(
            f"executor must be a concurrent.futures.Executor, a distributed.Client, or a text ({_texts()}); "
            f"found {type(spec).__name__}"
        )


def _texts() -> str:
    return ", ".join(f"{name!r}" for name in (*NAMES, "processes:4", "dask:ADDRESS", "ray:ADDRESS"))


def _is_of(package: str, value: object) -> bool:
    return any(one.__module__.partition(".")[0] == package for one in type(value).__mro__)


def _given(executor: Executor) -> Workers:
    count = getattr(executor, "_max_workers", None)
    name = type(executor).__name__
    words = f"{name} of {count}" if isinstance(count, int) else name
    # Dask takes equal tasks for one, and answers with what it remembers, unless told that they do something.
    submit = partial(executor.submit, pure=False) if _is_of("distributed", executor) else executor.submit
    return Workers(words, submit)


@contextmanager
def _named(spec: str, *, threads: int, gpu: bool) -> Iterator[Workers]:
    name, _, where = spec.partition(":")
    if name == "processes":
        with _processes(where, spec, threads) as workers:
            yield workers
    elif name == "dask":
        with _dask_at(where, spec, threads) as workers:
            yield workers
    elif name == "ray":
        with _ray_at(where, spec, threads, gpu=gpu) as workers:
            yield workers
    else:
        raise ArgumentError(f"executor must be one of {_texts()}; found {spec!r}")


# -- processes of this machine --


@contextmanager
def _processes(count: str, spec: str, threads: int) -> Iterator[Workers]:
    if count and not (count.isdecimal() and int(count)):
        raise ArgumentError(f"executor={spec!r}: expected processes:N with N >= 1, as in 'processes:4'")
    number = int(count) if count else _shared(threads)
    context = multiprocessing.get_context("spawn")  # a fork of a process with threads may hang
    pool = ProcessPoolExecutor(number, mp_context=context, initializer=_leave_with_parent)
    try:
        yield Workers(f"{number} processes", pool.submit)
    finally:
        pool.shutdown(wait=True, cancel_futures=True)


def _shared(threads: int) -> int:
    """How many workers of so many threads fill this machine."""
    return max(1, thread_count(None) // threads)


def _leave_with_parent() -> None:
    """End with the process that began this one: a pool's processes wait for ever for one that was killed."""
    parent = multiprocessing.parent_process()
    assert parent is not None

    def watch() -> None:
        parent.join()
        os._exit(1)

    threading.Thread(target=watch, name="resload-parent", daemon=True).start()


# -- Dask --


def _dask(client: Any) -> Workers:
    threads = sum(client.nthreads().values())
    words = f"Dask at {client.scheduler.address}, {threads} tasks at a time now"
    return Workers(words, partial(client.get_executor().submit, pure=False))


@contextmanager
def _dask_at(where: str, spec: str, threads: int) -> Iterator[Workers]:
    distributed = require("distributed", "dask", f"for executor={spec!r}")
    if not where:
        local = distributed.LocalCluster(
            n_workers=_shared(threads), threads_per_worker=1, processes=True, dashboard_address=_ANY_PORT
        )
        with closing(local), distributed.Client(local) as client:
            yield _dask(client)
        return
    if "://" not in where and not os.path.isfile(where):  # noqa: PTH113  Dask would wait for it without end
        raise ArgumentError(
            f"executor={spec!r}: no file {where} of a Dask scheduler is here; start the scheduler first"
        )
    place = {"address": where} if "://" in where else {"scheduler_file": where}
    try:
        client = distributed.Client(**place, set_as_default=False)
    except (OSError, ValueError) as error:
        raise ArgumentError(f"executor={spec!r}: no Dask scheduler answers there ({error})") from error
    with client:
        yield _dask(client)


# -- Ray --


@contextmanager
def _ray_at(where: str, spec: str, threads: int, *, gpu: bool) -> Iterator[Workers]:
    ray = require("ray", "ray", f"for executor={spec!r}")
    if ray.is_initialized():
        if where:
            raise ArgumentError(f"executor={spec!r}: this process is connected to Ray already; give executor='ray'")
        yield _ray(ray, threads, gpu=gpu)
        return
    address = where or os.environ.get("RAY_ADDRESS") or "local"
    new = {"num_cpus": thread_count(None), "include_dashboard": False} if address == "local" else {}
    try:
        ray.init(address=address, **new)
    except ConnectionError as error:
        raise ArgumentError(f"executor={spec!r}: no Ray answers there ({error})") from error
    try:
        yield _ray(ray, threads, gpu=gpu)
    finally:
        ray.shutdown()


def _ray(ray: Any, threads: int, *, gpu: bool) -> Workers:
    cores = int(ray.cluster_resources().get("CPU", 0))
    task = ray.remote(_outcome).options(num_cpus=threads, num_gpus=int(gpu), max_retries=TRIES)
    return Workers(f"Ray, {cores} cores now", partial(_submit_to_ray, ray, task))


class _RayFuture(Future[Any]):
    """The answer of a Ray task, which stops when it is cancelled."""

    stop: Callable[[], object]

    def cancel(self) -> bool:
        stopped = super().cancel()
        if stopped:
            self.stop()
        return stopped


def _submit_to_ray(ray: Any, task: Any, function: Callable[..., Any], /, *args: Any) -> "Future[Any]":
    reference = task.remote(function, *args)
    future = _RayFuture()
    future.stop = partial(ray.cancel, reference)
    reference.future().add_done_callback(partial(_hand_over, future))
    return future


def _hand_over(future: _RayFuture, made: "Future[Any]") -> None:
    if not future.set_running_or_notify_cancel():
        return
    try:
        answer, error = made.result()
    except BaseException as lost:
        answer, error = None, lost
    if error is None:
        future.set_result(answer)
    else:
        future.set_exception(error)


def _outcome(function: Callable[..., Any], *args: Any) -> tuple[Any, Exception | None]:
    """What a function answers, and what it raised: Ray would wrap the error in a class of its own."""
    try:
        return function(*args), None
    except Exception as error:
        error.add_note(f"On a Ray worker:\n{traceback.format_exc()}")
        return None, error
