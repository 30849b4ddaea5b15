"""A lock between the threads and processes of one machine, by a file; it goes with whoever holds it."""

import contextlib
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from resload.regular import descriptor_of

_held: set[int] = set()
"""Descriptors of this process that hold a lock."""


@contextmanager
def held(path: Path, *, keep: bool = False) -> Iterator[None]:
    """Hold the lock of this name, waiting for it. keep: the file stays, else it is removed with the lock.

    Interruptible. A child that is forked meanwhile holds nothing.
    """
    descriptor = _taken(path)
    _held.add(descriptor)
    try:
        yield
    finally:
        _held.discard(descriptor)
        if not keep:
            path.unlink(missing_ok=True)
        _let_go(descriptor)


@contextmanager
def held_if_free(path: Path) -> Iterator[bool]:
    """Hold the lock of this name unless somebody does: whether it is held. Its file goes with it."""
    import fcntl

    descriptor = descriptor_of(path, os.O_RDWR | os.O_CREAT, 0o666)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        mine = os.fstat(descriptor).st_ino == path.stat().st_ino
    except (BlockingIOError, FileNotFoundError):  # somebody's; or removed meanwhile by whoever held it
        mine = False
    if not mine:
        os.close(descriptor)
        yield False
        return
    _held.add(descriptor)
    try:
        yield True
    finally:
        _held.discard(descriptor)
        path.unlink(missing_ok=True)
        _let_go(descriptor)


def is_held(path: Path) -> bool:
    """Whether somebody holds this lock now."""
    import fcntl

    try:
        descriptor = descriptor_of(path, os.O_RDWR)
    except FileNotFoundError:
        return False
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(descriptor)
        return True
    _let_go(descriptor)
    return False


def _taken(path: Path) -> int:
    import fcntl

    while True:
        descriptor = descriptor_of(path, os.O_RDWR | os.O_CREAT, 0o666)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX)
            with contextlib.suppress(FileNotFoundError):
                if os.fstat(descriptor).st_ino == path.stat().st_ino:
                    return descriptor
        except BaseException:
            os.close(descriptor)
            raise
        os.close(descriptor)  # it was removed by whoever held it before: the next one counts


def _let_go(descriptor: int) -> None:
    import fcntl

    fcntl.flock(descriptor, fcntl.LOCK_UN)  # a child that was just forked may still have the descriptor
    os.close(descriptor)


def _forked() -> None:
    for descriptor in _held:
        with contextlib.suppress(OSError):
            os.close(descriptor)
    _held.clear()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forked)
