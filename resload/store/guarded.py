"""Opening the files of a cache that others may have made: regular ones, below the cache's folder, within limits.

A cache's folder may itself be a link, or lie behind one; below it no link leads out. So a cache that was unpacked from
an archive cannot have a build write or sweep somewhere else, nor show another file's bytes. To have a level on another
disk, mount it in its place.
"""

import errno
from typing import Any

from resload import regular
from resload.errors import CacheError, CorruptCacheError, NotACacheError, StorageError
from resload.limits import limits, raised_by
from resload.store.remote import Location, Url

NO_FILE = frozenset((errno.EINVAL, errno.ENXIO, errno.ENOTDIR, errno.EISDIR, errno.ELOOP))
"""What the system says, and `regular` for it, of folders, sockets and pipes where a file should be."""
_ROW_BYTES = 16 << 10
"""Of a document that grows with rows: a row's id and results, its sums at many levels."""


def _contents(cache: Location, name: str, most: int) -> bytes:
    """Raises OSError, TooLong."""
    if isinstance(cache, Url):
        if (cache / name).size() > most:
            raise regular.TooLong(errno.EFBIG, f"larger than {most} bytes")
        return (cache / name).read_bytes()
    return regular.contents(regular.inside(cache / name, cache), most)[0]


def document(cache: Location, name: str, *, rows: int = 0) -> bytes:
    """The bytes of a JSON file of a cache, `name` below it; larger ones are allowed for documents about many rows.

    Raises OSError.
    """
    return _contents(cache, name, limits().document_bytes + rows * _ROW_BYTES)


def manifest(cache: Location, name: str, *, beside: str) -> bytes:
    """The bytes of the root document, `name`.

    Raises NotACacheError where there is none, CacheError for one that cannot be read, is too large, or lies outside,
    and where the folder of builds, `beside`, does.
    """
    try:
        folder(cache / beside, cache)
        return document(cache, name)
    except (FileNotFoundError, NotADirectoryError) as exc:
        raise NotACacheError(f"{cache}: no resload cache is here (no {name}); build one with resload.build") from exc
    except regular.TooLong as exc:
        raise CacheError(
            f"{cache / name}: {exc.strerror}, which no manifest is; {raised_by('document_bytes')} allows more"
        ) from exc
    except (CorruptCacheError, StorageError):
        raise
    except (OSError, ValueError) as exc:
        raise CacheError(f"{cache / name} cannot be read: {exc}") from exc


def parsed(data: bytes) -> Any:
    """A document's value. Raises ValueError for what is no JSON, or nested too deeply."""
    return regular.parsed(data)


def table(cache: Location, name: str) -> bytes:
    """The bytes of a table. Raises OSError, TooLong above `limits().table_bytes`."""
    return _contents(cache, name, limits().table_bytes)


def shard(cache: Location, name: str) -> Location:
    """Where a shard is, `name` below the cache. Raises CorruptCacheError when a link on the way to it leads out."""
    return folder(cache / name, cache)


def folder(path: Location, cache: Location) -> Location:
    """A path of a cache. Raises CorruptCacheError when a link on the way to it leads out."""
    if isinstance(path, Url) or isinstance(cache, Url):
        return path  # object storage has no links
    try:
        return regular.inside(path, cache)
    except OSError as exc:
        raise CorruptCacheError(
            f"{path}: {exc.strerror}, and a cache is read from its own folder alone; put the file there, or mount the "
            "other disk in its place"
        ) from exc
