"""Worker threads that are bounded, ordered, and gone when the work or the caller ends.

Decoding, resampling, reading and checksums release the GIL, so threads are all the parallelism resload needs;
no worker processes, no pickling, no shared memory to leak.
"""

import os
import threading
import time
from collections import deque
from collections.abc import Callable, Generator, Iterable
from concurrent.futures import Future, ThreadPoolExecutor
from itertools import count
from types import TracebackType
from typing import Any, Self, TypeVar

from resload import forks
from resload.errors import ArgumentError

T = TypeVar("T")
R = TypeVar("R")

_PATIENCE = 2
"""Interrupts that do not keep `ThreadPool.end` from waiting."""
_STARTS = 1.0
"""Seconds in which a thread starts, at most."""
_numbers = count()


def thread_count(threads: int | None) -> int:
    """`threads`, or as many as this process may use (its CPU affinity, which containers and SLURM set)."""
    if threads is None:
        return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else (os.cpu_count() or 1)
    if isinstance(threads, bool) or not isinstance(threads, int) or threads < 1:
        raise ArgumentError(
            f"threads must be an int >= 1 (or None for all that this process may use); found {threads!r}"
        )
    return threads


class ThreadPool:
    """A pool of at most so many threads, and an end after which none of them does anything.

    Ctrl-C raises KeyboardInterrupt wherever the main thread is, so also where it starts a thread or waits for one:
    concurrent.futures then does not know the one, and threading takes the other for ended (`Thread.join` of CPython
    3.11). Here threads are known by their name and say themselves that they are at work, and `end` outlasts interrupts:
    what tasks write to is closed after it, and a file that is opened next may get the same number.

    A context manager that ends it. In a forked child there is nothing to end.
    """

    def __init__(self, threads: int, name: str = "resload") -> None:
        self._process = os.getpid()
        self._name = f"{name}-{next(_numbers)}"
        self._busy: deque[None] = deque()
        self._pool = ThreadPoolExecutor(threads, thread_name_prefix=self._name)

    def submit(self, function: Callable[..., R], *args: Any) -> Future[R]:
        """Have a thread do this."""
        return self._pool.submit(_busy, self._busy, function, *args)

    def end(self, *, finish: bool = False) -> None:
        """Drop what was not begun, or with `finish` do it too; returns when no thread is left.

        An interrupt meanwhile is raised once that is so; the third one at once.
        """
        if forks.elsewhere(self._process):
            return
        try:
            self._pool.shutdown(wait=True, cancel_futures=not finish)
            self._wait()
        except KeyboardInterrupt:
            self._outlast()
            raise

    def _wait(self) -> None:
        """For threads whose start, or the wait for whom, was interrupted: they end what they do, and find no more."""
        ends = time.monotonic() + _STARTS
        while self._busy or any(one.name.startswith(f"{self._name}_") for one in threading.enumerate()):
            if not self._busy and time.monotonic() > ends:  # interrupted before the system had made it: it never runs
                return
            time.sleep(0.001)

    def _outlast(self) -> None:
        for _ in range(_PATIENCE):
            try:
                self._pool.shutdown(wait=False, cancel_futures=True)
                self._wait()
            except KeyboardInterrupt:
                continue
            return

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.end()


def _busy(now: deque[None], function: Callable[..., R], *args: Any) -> R:
    now.append(None)  # single steps, and no main thread
    try:
        return function(*args)
    finally:
        now.pop()


def ordered_map(
    function: Callable[[T], R], items: Iterable[T], *, threads: int, window: int
) -> Generator[R, None, None]:
    """`map(function, items)` on threads: results in order, at most `window` items begun and not yet taken.

    A result's exception is raised where the result would have been. However the iteration ends (exhaustion,
    an exception, Ctrl-C, an abandoned generator), unstarted items are dropped and every thread is joined.
    """
    pending: deque[Future[R]] = deque()
    with ThreadPool(threads) as pool:
        for item in items:
            pending.append(pool.submit(function, item))
            if len(pending) >= window:
                yield pending.popleft().result()
        while pending:
            yield pending.popleft().result()
