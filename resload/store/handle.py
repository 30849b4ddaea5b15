"""The bytes of one shard, open for reading: a file of this machine, or an object of object storage.

LocalFile     by its descriptor; stays readable when the file is replaced or removed
RemoteFile    by requests for ranges
"""

import errno
import os
import tempfile
from pathlib import Path

from resload import regular
from resload.errors import CacheError, CorruptCacheError
from resload.store.guarded import NO_FILE
from resload.store.remote import Location, Url
from resload.store.unreadable import unreadable


def read_at(descriptor: int, buffer: memoryview, offset: int) -> bool:
    """Fill the whole buffer from `offset` on; False when the file ends before."""
    while buffer:
        got = os.preadv(descriptor, [buffer], offset)
        if got == 0:
            return False
        buffer, offset = buffer[got:], offset + got
    return True


class LocalFile:
    """A file, open; closed when nobody holds this object. Thread-safe."""

    def __init__(self, path: Path, named: Location | None = None) -> None:
        self._named = named or path
        self.descriptor = regular.opened(path)
        found = os.fstat(self.descriptor)
        self.size = found.st_size
        self.identity: tuple[object, ...] = found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns
        """Tells this file as it is now from any other."""

    def read_into(self, buffer: memoryview, offset: int) -> bool:
        """Fill the whole buffer from `offset` on; False when the file ends before.

        Raises CorruptCacheError for what the disk cannot give back, CacheError for other errors of the system.
        """
        try:
            return read_at(self.descriptor, buffer, offset)
        except OSError as exc:
            raise unreadable(self._named, exc) from exc

    def __del__(self) -> None:
        if hasattr(self, "descriptor"):
            os.close(self.descriptor)


class RemoteFile:
    """An object. Thread-safe, and safe after a fork. Raises FileNotFoundError, StorageError."""

    descriptor = -1

    def __init__(self, url: Url) -> None:
        self.url = url
        self.size, mark = url.version()
        self.identity: tuple[object, ...] = (url, self.size, mark)

    def read_into(self, buffer: memoryview, offset: int) -> bool:
        """As `LocalFile`."""
        try:
            (found,) = self.url.read_ranges([(offset, offset + len(buffer))])
        except FileNotFoundError:  # it was removed since it was opened
            return False
        if len(found) != len(buffer):
            return False
        buffer[:] = found
        return True


def open_file(place: Location, *, whole: bool = False) -> LocalFile | RemoteFile:
    """Open a shard. whole: all of it is to be read, so that an object is fetched at once, into a temporary file.

    Raises FileNotFoundError, and what the system or storage raises.
    """
    if isinstance(place, Path):
        return LocalFile(place)
    if not whole:
        return RemoteFile(place)
    number, name = tempfile.mkstemp(prefix="resload-")
    os.close(number)
    path = Path(name)
    try:
        place.download(path)
        return LocalFile(path, place)
    finally:
        path.unlink()  # its bytes stay as long as the file is open


def open_shard(place: Location, remedy: str, *, whole: bool = False) -> LocalFile | RemoteFile:
    """`open_file`. Raises CorruptCacheError for one that is missing, no regular file, or lost to the disk.

    CacheError for other errors of the system; OSError where no more files may be opened; StorageError.
    """
    try:
        return open_file(place, whole=whole)
    except FileNotFoundError as exc:
        raise CorruptCacheError(f"{place}: this shard is missing; {remedy}") from exc
    except OSError as exc:
        if isinstance(exc, CacheError) or exc.errno in (errno.EMFILE, errno.ENFILE):
            raise
        if exc.errno in NO_FILE:
            raise CorruptCacheError(f"{place}: this shard cannot be read ({exc.strerror}); {remedy}") from exc
        raise unreadable(place, exc) from exc
