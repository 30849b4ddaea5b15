"""Worker threads that are bounded, ordered, and gone when the work or the caller ends.

Decoding, resampling, reading and checksums release the GIL, so threads are all the parallelism resload needs;
no worker processes, no pickling, no shared memory to leak.
"""

import os
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

from resload.errors import ArgumentError

T = TypeVar("T")
R = TypeVar("R")


def thread_count(threads: int | None) -> int:
    """`threads`, or as many as this process may use (its CPU affinity, which containers and SLURM set)."""
    if threads is None:
        return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else (os.cpu_count() or 1)
    if isinstance(threads, bool) or not isinstance(threads, int) or threads < 1:
        raise ArgumentError(
            f"threads must be an int >= 1 (or None for all that this process may use); found {threads!r}"
        )
    return threads


def ordered_map(function: Callable[[T], R], items: Iterable[T], *, threads: int, window: int) -> Iterator[R]:
    """`map(function, items)` on threads: results in order, at most `window` items begun and not yet taken.

    A result's exception is raised where the result would have been. However the iteration ends (exhaustion,
    an exception, an abandoned generator), unstarted items are dropped and every thread is joined.
    """
    pool = ThreadPoolExecutor(threads, thread_name_prefix="resload")
    pending: deque[Future[R]] = deque()
    try:
        for item in items:
            pending.append(pool.submit(function, item))
            if len(pending) >= window:
                yield pending.popleft().result()
        while pending:
            yield pending.popleft().result()
    finally:
        pool.shutdown(wait=True, cancel_futures=True)
