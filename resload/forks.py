"""What a forked process finds: locks that nobody there holds.

A fork copies memory and one thread. A lock that another thread of the parent held at that moment stays locked in the
child for ever, since the thread that would release it does not exist there. torch's DataLoader forks its workers, and
so does `multiprocessing` on Linux: a cache that other threads were reading must be readable in the child.

    lock()     made new in every forked child, before anything else runs there
    born       the process that something was made in: what needs its threads asks `elsewhere(born)`

What such a lock guards must hold at each of its steps, not only at the end: the other thread may have been in between.
"""

import os
import threading
import weakref

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


def _open_all() -> None:
    for one in list(_locks):
        one._at_fork_reinit()  # type: ignore[attr-defined]  # what logging and threading do with theirs


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_open_all)
