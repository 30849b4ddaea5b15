"""Making files appear whole: on this machine written beside, synced, renamed, the directory synced too; on object
storage put whole.

A kill or a power cut at any moment leaves either the old file or the new one. Temporaries of a folder live in its
`.build/`, which the next build sweeps; those of object storage in a folder of this machine for temporary files.
"""

import errno
import hashlib
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from uuid import uuid4

from resload.errors import CacheError, DiskSpaceError, ResloadError
from resload.store import guarded, layout
from resload.store.files import disk, write_at
from resload.store.remote import Location, Url


def make_folders(folder: Location, *, below: Location) -> None:
    """Create a folder and its parents below a folder that exists, and sync each parent that gained one.

    One that is there and empty may have been made by a program that was ended before it synced the parent. Raises
    CorruptCacheError when a link leads out of it.
    """
    if isinstance(folder, Url):
        return  # object storage has none
    guarded.folder(folder, below)
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


def put(temporary: Path, target: Location) -> None:
    """Put a synced temporary into place, whole or not at all; it is gone then."""
    if isinstance(target, Url):
        target.upload(temporary)
        disk().unlink(temporary)
        return
    disk().replace(temporary, target)
    disk().sync_folder(target.parent)


def write_whole(data: bytes, target: Location, *, scratch: Location | None = None) -> None:
    """Write one small file so that it appears complete.

    scratch: the folder of its temporary, the target's own when None; object storage needs none.
    """
    if isinstance(target, Url):
        target.write_bytes(data)
        return
    folder = scratch if isinstance(scratch, Path) else target.parent
    temporary = folder / f"{target.name}-{uuid4().hex}.part"  # unlike a process's number, of all machines
    with explained(target):
        descriptor = disk().create(temporary)
        try:
            write_at(descriptor, data, 0)
            disk().sync(descriptor)
        finally:
            disk().close(descriptor)
        put(temporary, target)


def remove(path: Location) -> None:
    """Remove a file unless it is gone."""
    if isinstance(path, Url):
        path.unlink(missing_ok=True)
    else:
        disk().unlink(path)


def names_in(folder: Location) -> list[str]:
    """What is in a folder, sorted; nothing where there is none."""
    if isinstance(folder, Url):
        return folder.names()
    try:
        return sorted(path.name for path in folder.iterdir())
    except FileNotFoundError:
        return []


def sweep(cache: Location) -> None:
    """Remove `.build/` but for a lease in it, and what workers of this machine that died have left of a build on object
    storage, as far as that can be done.
    """
    if isinstance(cache, Url):
        _sweep_scratch(cache)
    folder = cache / layout.BUILD
    for name in names_in(folder):
        if name != layout.LEASE:
            with suppress(OSError):
                remove(folder / name)
    remove_empty(folder)


def emptied(cache: Location) -> None:
    """Remove what is in `.build/` but for a lease. Raises CacheError for what cannot be removed."""
    folder = cache / layout.BUILD
    for name in names_in(folder):
        if name != layout.LEASE:
            remove(folder / name)


def remove_empty(folder: Location) -> None:
    """Remove a folder if nothing is in it."""
    if isinstance(folder, Path):
        with suppress(OSError):
            disk().rmdir(folder)


def bytes_below(folder: Location) -> int:
    """Of all files below a folder; 0 where there is none."""
    if isinstance(folder, Url):
        return sum(folder.sizes_below().values())
    return sum(file.stat().st_size for file in folder.rglob("*") if file.is_file())


# -- where temporaries go --


@contextmanager
def scratch_of(cache: Location) -> Iterator[Path]:
    """A folder of this machine for temporaries of a build: `.build/`, or for object storage one of this process.

    The latter stands where temporary files do (TMPDIR) and is removed at the end; what killed processes left there of
    the same cache is removed too.
    """
    if not isinstance(cache, Url):
        make_folders(cache / layout.BUILD, below=cache)
        yield cache / layout.BUILD
        return
    _sweep_scratch(cache)
    folder = Path(tempfile.mkdtemp(prefix=f"{_scratch_mark(cache)}{os.getpid()}-"))
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _sweep_scratch(cache: Url) -> None:
    """Remove temporaries of this cache that processes of this machine have left which are gone."""
    mark = _scratch_mark(cache)
    for left in Path(tempfile.gettempdir()).glob(f"{mark}*"):
        number = left.name.removeprefix(mark).partition("-")[0]
        if number.isdecimal() and not is_alive(int(number)):
            shutil.rmtree(left, ignore_errors=True)


def _scratch_mark(cache: Url) -> str:
    """How the names of its temporaries begin; those of a container that may share the folder, not its processes, do
    otherwise.
    """
    spaces = Path("/proc/self/ns/pid")
    space = spaces.stat().st_ino if spaces.exists() else 0
    return f"resload-{hashlib.sha256(cache.text.encode()).hexdigest()[:16]}-{space}-"


def is_alive(process: int) -> bool:
    """Whether a process of this machine is there, and not one that has ended and waits for its parent to hear of it."""
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except OSError:  # somebody else's
        return True
    with suppress(OSError):
        return not Path(f"/proc/{process}/stat").read_text("ascii", "replace").rpartition(")")[2].startswith(" Z")
    return True


def free_bytes(cache: Location) -> int:
    """Free bytes where temporaries of this cache are written."""
    return shutil.disk_usage(tempfile.gettempdir() if isinstance(cache, Url) else cache).free


@contextmanager
def explained(path: Location) -> Iterator[None]:
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
