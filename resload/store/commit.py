"""Making files appear whole: written beside, synced, renamed; the directory synced too.

A kill or a power cut at any moment leaves either the old file or the new one. Temporaries live in `.build/`,
which the next build sweeps.
"""

import errno
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from uuid import uuid4

from resload.errors import BuildInProgressError, DiskSpaceError
from resload.store.files import disk, write_at


def make_folders(folder: Path, *, below: Path) -> None:
    """Create a folder and its parents below a folder that exists, and sync each parent that gained one."""
    missing = []
    while folder != below and not folder.is_dir():
        missing.append(folder)
        folder = folder.parent
    for path in reversed(missing):
        disk().mkdir(path)
        disk().sync_folder(path.parent)


def put(temporary: Path, target: Path) -> None:
    """Rename a synced temporary into place, whole or not at all."""
    disk().replace(temporary, target)
    disk().sync_folder(target.parent)


def write_whole(data: bytes, target: Path, *, scratch: Path) -> None:
    """Write one small file so that it appears complete; an equal file is left alone."""
    temporary = scratch / f"{target.name}-{uuid4().hex}.part"  # unlike a process's number, of all machines
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
