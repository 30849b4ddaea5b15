"""Making files appear whole: written beside, synced, renamed; the directory synced too.

A kill or a power cut at any moment leaves either the old file or the new one. Temporaries live in `.build/`,
which the next build sweeps.
"""

import errno
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from resload.errors import BuildInProgressError, DiskSpaceError
from resload.store import guarded


def sync_folder(folder: Path) -> None:
    """Make renames in a folder survive a power cut (a no-op where folders cannot be opened, as on Windows)."""
    if not hasattr(os, "O_DIRECTORY"):
        return
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def make_folders(folder: Path, *, below: Path) -> None:
    """Create a folder and its parents below a folder that exists, and sync each parent that gained one.

    Raises CorruptCacheError when a link leads out of it.
    """
    guarded.folder(folder, below)
    missing = []
    while folder != below and not folder.is_dir():
        missing.append(folder)
        folder = folder.parent
    for path in reversed(missing):
        path.mkdir(exist_ok=True)
        sync_folder(path.parent)


def put(temporary: Path, target: Path) -> None:
    """Rename a synced temporary into place, whole or not at all."""
    temporary.replace(target)
    sync_folder(target.parent)


def write_whole(data: bytes, target: Path, *, scratch: Path) -> None:
    """Write one small file so that it appears complete; an equal file is left alone."""
    temporary = scratch / f"{target.name}-{os.getpid()}.part"
    with explained(target), temporary.open("wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())
    put(temporary, target)


@contextmanager
def explained(path: Path) -> Iterator[None]:
    """A full disk is a DiskSpaceError that names the file; other errors pass unchanged."""
    try:
        yield
    except OSError as exc:
        if exc.errno in (errno.ENOSPC, errno.EDQUOT):
            raise DiskSpaceError(
                f"{path}: the disk is full; what is built is kept. Free some space and run the same build again"
            ) from exc
        raise


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
            raise BuildInProgressError(f"{cache}: another process is building this cache; wait for it") from exc
        yield
    finally:
        os.close(descriptor)
