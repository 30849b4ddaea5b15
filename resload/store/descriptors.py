"""The files that caches keep open: a bounded number in this process, whoever keeps them, the oldest closed first.

    OpenFiles    one owner's open files by key; adding one may close another's oldest
    opened       a file opened; where the process may open no more, all that is kept is closed first

Two open caches, or the levels, masks and films of one, share the bound: macOS lets a process open 256 files, and a
cluster's shell sometimes 1,024, of which a program needs some itself. A file is closed when nobody holds it, so whoever
took one out of `OpenFiles` may read it to the end.
"""

import errno
import sys
import time
import weakref
from collections import deque
from collections.abc import Callable
from typing import Any, Generic, TypeVar

from resload import forks
from resload.errors import CacheError

K = TypeVar("K")
F = TypeVar("F")

_FEWEST, _MOST = 32, 1024
_WAITS = (0.001, 0.01, 0.1, 1.0, 1.0)
"""Seconds between tries to open one file, while other threads hold as many as there may be."""


def open_limit() -> int:
    """How many files caches keep open: a quarter of what the process may, from 32 to 1,024."""
    if sys.platform == "win32":
        return 128  # of 512 (Microsoft's C runtime, _setmaxstdio)
    import resource

    allowed, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return _MOST if allowed < 0 else min(max(allowed // 4, _FEWEST), _MOST)


class OpenFiles(Generic[K, F]):
    """Files that one owner keeps open, by key. Thread-safe. Dropped with it."""

    def __init__(self) -> None:
        self.files: dict[K, F] = {}
        """To look into, by single steps (`get`)."""
        self._me = weakref.ref(self, _gone.append)

    def add(self, key: K, file: F, *, descriptors: int = 1) -> None:
        """Keep one more, which has so many descriptors; the oldest of the process are let go of where there are too
        many.
        """
        with _lock:
            self.files[key] = file
            _order.extend([(self._me, key)] * descriptors)
            if _gone:
                _gone.clear()
                _without_the_dead()
            while len(_order) > open_limit():
                _drop(*_order.popleft())

    def clear(self) -> None:
        """Let go of all."""
        self.files.clear()  # what stands in the order of it is passed over


_order: "deque[tuple[weakref.ref[OpenFiles[Any, Any]], Any]]" = deque()
_gone: "deque[weakref.ref[OpenFiles[Any, Any]]]" = deque()
"""Owners that are no more: garbage collection only says so, and may interrupt anything."""
_lock = forks.lock()


def _drop(owner: "weakref.ref[OpenFiles[Any, Any]]", key: Any) -> None:
    keeper = owner()
    if keeper is not None:
        keeper.files.pop(key, None)


def _without_the_dead() -> None:
    alive = [entry for entry in _order if entry[0]() is not None]
    _order.clear()
    _order.extend(alive)


def close_all() -> None:
    """Let go of every file that caches keep open; they are opened again when they are read again."""
    with _lock:
        while _order:
            _drop(*_order.popleft())


def opened(make: Callable[[], F], *, patient: bool) -> F:
    """`make()`; where the process may open no more files, all that caches keep is closed, and it is tried again.

    patient: try for two seconds, since other threads of this process may hold what they read; `make` must not hold a
    lock meanwhile that they need for reading.

    Raises CacheError where there is no room then either; OSError (EMFILE) at once without patience, for a caller that
    can do with fewer.
    """
    for wait in _WAITS if patient else _WAITS[:1]:
        try:
            return make()
        except OSError as exc:
            if exc.errno not in (errno.EMFILE, errno.ENFILE):
                raise
        close_all()
        time.sleep(wait)
    try:
        return make()
    except OSError as exc:
        if exc.errno not in (errno.EMFILE, errno.ENFILE) or not patient:
            raise
        raise CacheError(
            f"{exc.filename}: this process has as many files open as it may ({_allowed()}), and caches keep none of "
            "them: close some, or allow more (ulimit -n)"
        ) from exc


def _allowed() -> int:
    import resource

    return resource.getrlimit(resource.RLIMIT_NOFILE)[0]
