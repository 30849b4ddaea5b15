"""What a forked process finds: locks that nobody there holds.

A fork copies memory and one thread. A lock that another thread of the parent held at that moment stays locked in the
child for ever, since the thread that would release it does not exist there. torch's DataLoader forks its workers, and
so does `multiprocessing` on Linux: a cache that other threads were reading must be readable in the child.

    lock()     made new in every forked child, before anything else runs there
    born       the process that something was made in: what needs its threads asks `elsewhere(born)`
    apart      for torch on the CPU: in a child, done by a thread of its own

What such a lock guards must hold at each of its steps, not only at the end: the other thread may have been in between.
"""

import os
import sys
import threading
import weakref
from collections.abc import Callable
from concurrent.futures import Future
from functools import partial, wraps
from typing import ParamSpec, TypeVar

P = ParamSpec("P")
R = TypeVar("R")

_locks: "weakref.WeakSet[threading.Lock]" = weakref.WeakSet()


def lock() -> threading.Lock:
    """A `threading.Lock` that is open in a forked child, whoever held it in the parent.

    A plain lock and no class around one: `with` on a plain lock is one step, which Ctrl-C comes before or after; in a
    method written in Python it could come between taking the lock and saying so, and nobody would release it.
    """
    made = threading.Lock()
    _locks.add(made)
    return made


def elsewhere(born: int) -> bool:
    """Whether this is another process than the one with this id."""
    return os.getpid() != born


def apart(function: Callable[P, R]) -> Callable[P, R]:
    """A function that calls torch on the CPU, for a forked child too.

    torch shares large operations among threads (OpenMP), and the thread that called fork takes its parent's helpers
    with it as a memory: in the child it would wait for them for ever. Another thread there has none, and makes its own;
    so it does the work. Where torch has one thread, as in the workers of its DataLoader, nothing is shared.
    """

    @wraps(function)
    def done(*args: P.args, **options: P.kwargs) -> R:
        if threading.get_ident() not in _orphan or sys.modules["torch"].get_num_threads() == 1:
            return function(*args, **options)
        box, working = Future[R](), threading.Lock()
        working.acquire()
        work = partial(function, *args, **options)
        threading.Thread(target=_into, args=(box, working, work), name="resload-apart").start()
        with working:  # see `lock`: Ctrl-C in `box.result()` could leave the thread waiting for the box for ever
            return box.result()

    return done


def _into(box: Future[R], working: threading.Lock, work: Callable[[], R]) -> None:
    try:
        box.set_result(work())
    except BaseException as exc:
        box.set_exception(exc)
    finally:
        working.release()


_orphan: list[int] = []
"""In a process that was forked, the thread that did it."""


def _in_child() -> None:
    _orphan[:] = [threading.get_ident()]
    for one in list(_locks):
        one._at_fork_reinit()  # type: ignore[attr-defined]  # what logging and threading do with theirs


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_in_child)
