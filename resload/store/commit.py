"""Making files appear whole: written beside, synced, renamed; the directory synced too.

A kill or a power cut at any moment leaves either the old file or the new one. Temporaries live in `.build/`,
which the next build sweeps.
"""

import errno
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from resload.errors import BuildInProgressError, CacheError, DiskSpaceError, ResloadError
from resload.store.files import disk, write_at


def make_folders(folder: Path, *, below: Path) -> None:
    """Create a folder and its parents below a folder that exists, and sync each parent that gained one.

    One that is there and empty may have been made by a program that was ended before it synced the parent.
    """
    missing = []
    while folder != below and is_empty(folder):
        missing.append(folder)
        folder = folder.parent
    for path in reversed(missing):
        disk().mkdir(path)
        disk().sync_folder(path.parent)


def is_empty(folder: Path) -> bool:
    """Whether nothing is in a folder that one may look into, or it is not there."""
    try:
        return not folder.is_dir() or next(folder.iterdir(), None) is None
    except PermissionError:
        return False


def put(temporary: Path, target: Path) -> None:
    """Rename a synced temporary into place, whole or not at all."""
    disk().replace(temporary, target)
    disk().sync_folder(target.parent)


def write_whole(data: bytes, target: Path, *, scratch: Path) -> None:
    """Write one small file so that it appears complete; an equal file is left alone."""
    temporary = scratch / f"{target.name}-{os.getpid()}.part"
    with explained(target):
        descriptor = disk().create(temporary)
        try:
            write_at(descriptor, data, 0)
            disk().sync(descriptor)
        finally:
            disk().close(descriptor)
        put(temporary, target)


@contextmanager
def explained(path: Path) -> Iterator[None]:
    """An error of the system is a CacheError that names the file, a full disk a DiskSpaceError; resload's own pass."""
    try:
        yield
    except OSError as exc:
        if isinstance(exc, ResloadError) or exc.errno is None:
            raise
        if exc.errno in (errno.ENOSPC, errno.EDQUOT):
            raise DiskSpaceError(
                f"{path}: the disk is full; what is built is kept. Free some space and run the same build again"
            ) from exc
        place = "" if exc.filename in (None, str(path)) else f" at {exc.filename}"
        raise CacheError(
            f"{path}: {exc.strerror}{place}; what is built is kept. {_REMEDIES.get(exc.errno, _OTHERWISE)} and run the "
            "same again"
        ) from exc


_REMEDIES = {
    errno.EROFS: "This file system is read-only: mount it for writing",
    errno.EACCES: "Give this user the right to write there",
    errno.EPERM: "Give this user the right to write there",
    errno.EMFILE: "Let this process open more files (ulimit -n)",
    errno.EIO: "The device or its connection failed: see that it works",
}
_OTHERWISE = "Put this right"


@contextmanager
def alone(cache: Path) -> Iterator[None]:
    """Hold the cache's folder against a second build; the lock goes with the process, and leaves no file."""
    try:
        import fcntl
    except ImportError:  # Windows: no such lock, and folders cannot be opened
        yield
        return
    descriptor = os.open(cache, os.O_RDONLY)
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as exc:
            raise BuildInProgressError(
                f"{cache}: another process, or thread of this one, is building or repairing this cache; wait for it"
            ) from exc
        yield
    finally:
        os.close(descriptor)
