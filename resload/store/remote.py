"""Object storage (`s3://`, `gs://`, `az://` ...) as folders of files, by fsspec.

    Location    a `Path` of this machine, or a `Url`, which has those of a path's methods that a cache needs
    location    from what a user gave

An object appears whole or not at all when it is put, which takes a rename's place. A request that is throttled, or
whose connection drops, is made again, later each time; one that is refused (no such bucket, no right to it) is not.

Credentials are those of the library behind fsspec (environment, profile, instance role, fsspec's own configuration):
none is taken from a URL, kept, or printed.
"""

import errno
import os
import re
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from resload.errors import ArgumentError, StorageError, require
from resload.store.tries import LOGIN, SECRET, check_wanted, is_refused, scrubbed, tried

T = TypeVar("T")

AT_ONCE = 16
"""Ranges of one request that are under way together."""
RANGE, WINDOW = 8 << 20, 4
"""Bytes of one range of a download, and how many are under way together: some tens of MB fill most networks."""
_S3_RETRIES = {"AWS_MAX_ATTEMPTS", "AWS_RETRY_MODE"}
PACKAGES = {
    "s3": ("s3fs", "s3"),
    "s3a": ("s3fs", "s3"),
    "gs": ("gcsfs", "gs"),
    "gcs": ("gcsfs", "gs"),
    "az": ("adlfs", "az"),
    "abfs": ("adlfs", "az"),
    "abfss": ("adlfs", "az"),
}
"""Protocol -> the package behind fsspec, and the extra that brings it."""


@dataclass(frozen=True, order=True)
class Url:
    """A folder or object of object storage. Immutable, thread-safe, safe to use after a fork; pickles as its text.

    Raises StorageError when storage does not answer for `GIVE_UP`, or refuses; FileNotFoundError for what is not there.
    """

    text: str

    def __str__(self) -> str:
        return self.text

    def __truediv__(self, name: str) -> "Url":
        return Url(f"{self.text}/{name}")

    @property
    def name(self) -> str:
        """The last part."""
        return self.text.rpartition("/")[2]

    @property
    def parent(self) -> "Url":
        """All but the last part."""
        return Url(self.text.rpartition("/")[0])

    # -- reading --

    def read_bytes(self) -> bytes:
        """The whole object."""

        def whole(fs: Any, path: str) -> bytes:
            data = bytes(fs.cat_file(path))
            if len(data) != (length := fs.size(path)):
                raise ConnectionError(f"{len(data)} bytes came of {length}")
            return data

        return self._asked("read", whole)

    def read_text(self, encoding: str = "utf-8") -> str:
        """The whole object as text."""
        return self.read_bytes().decode(encoding)

    def read_ranges(self, ranges: Sequence[tuple[int, int]]) -> list[bytes]:
        """(first byte, byte after the last) -> its bytes, fewer where the object ends before; `AT_ONCE` together."""
        return read_ranges([(self, first, last) for first, last in ranges])

    def size(self) -> int:
        """Bytes of the object."""
        return int(self._facts()["size"])

    def version(self) -> tuple[int, str]:
        """Bytes of the object, and what else tells it from another one, as far as storage says: its tag or time."""
        facts = self._facts()
        marks = ("ETag", "etag", "md5Hash", "content_md5", "LastModified", "last_modified", "created")
        return int(facts["size"]), " ".join(str(facts[name]) for name in marks if facts.get(name) is not None)

    def exists(self) -> bool:
        """Whether an object, or anything below this folder, is there."""
        try:
            return bool(self._facts())
        except FileNotFoundError:
            return False

    def is_file(self) -> bool:
        """Whether it is an object."""
        try:
            return bool(self._facts()["type"] == "file")
        except FileNotFoundError:
            return False

    def _facts(self) -> dict[str, Any]:
        return dict(self._asked("look at", lambda fs, path: fs.info(path)))

    def names(self) -> list[str]:
        """What is in this folder, sorted; nothing where there is none."""

        def listed(fs: Any, path: str) -> list[str]:
            try:
                found = [str(one).rstrip("/") for one in fs.ls(path, detail=False)]
            except FileNotFoundError:
                return []
            own = path.rstrip("/")  # consoles make an empty object of a folder's name
            return sorted({one.rpartition("/")[2] for one in found if one.lstrip("/") != own.lstrip("/")})

        return list(self._asked("list", listed))

    def sizes_below(self) -> dict[str, int]:
        """Every object below this folder, by its path from here, and its bytes."""

        def found(fs: Any, path: str) -> dict[str, int]:
            try:
                below = fs.find(path, detail=True)
            except FileNotFoundError:
                return {}
            start = len(path.strip("/")) + 1
            names = {str(name).lstrip("/")[start:]: int(facts["size"]) for name, facts in below.items()}
            return {name: size for name, size in names.items() if name}  # "" is the folder's own object, see `names`

        return dict(self._asked("list", found))

    def download(self, file: Path, *, length: int | None = None) -> None:
        """Append to a file of this machine what it lacks of the object's bytes, so that it resumes what was begun.

        length: of the object, where it is known. A window of ranges is under way together, and is all that is kept
        in memory.
        """
        length = self.size() if length is None else length
        with file.open("ab") as out:
            at = out.tell()
            while at < length:
                check_wanted(self)
                ends = [min(length, at + (k + 1) * RANGE) for k in range(WINDOW)]
                ranges = [(first, last) for first, last in zip([at, *ends], ends, strict=False) if first < last]
                parts = self.read_ranges(ranges)
                if [len(part) for part in parts] != [last - first for first, last in ranges]:
                    raise StorageError(f"{self}: it changed while it was fetched; run the same again")
                out.writelines(parts)
                at = ends[-1]

    # -- writing --

    def write_bytes(self, data: bytes) -> None:
        """Put the object whole."""
        self._asked("write", lambda fs, path: fs.pipe_file(path, data))

    def create(self, data: bytes) -> bool:
        """Put the object unless it is there, which storage decides; whether it was put."""

        def created(fs: Any, path: str) -> bool:
            try:
                fs.pipe_file(path, data, mode="create")
            except OSError as exc:  # s3fs: EINVAL for 412 (it is there), EBUSY for 409 (somebody is creating it)
                if isinstance(exc, FileExistsError) or exc.errno in (errno.EINVAL, errno.EBUSY):
                    with suppress(FileNotFoundError):
                        return bool(fs.cat_file(path) == data)  # a request that was made again meets its own object
                raise
            return True

        return bool(self._asked("write", created))

    def upload(self, file: Path) -> None:
        """Put a file of this machine, whole or not at all; large ones in parts, side by side."""

        def put(fs: Any, path: str) -> None:
            fs.put_file(str(file), path)
            if (found := fs.size(path)) != (length := file.stat().st_size):
                raise ConnectionError(f"{found} bytes arrived of {length}")

        self._asked("write", put)

    def unlink(self, missing_ok: bool = False) -> None:
        """Remove the object."""

        def removed(fs: Any, path: str) -> None:
            try:
                fs.rm_file(path)
            except FileNotFoundError:
                if not missing_ok:
                    raise

        self._asked("remove", removed)

    # -- requests --

    def _asked(self, verb: str, request: Callable[[Any, str], T]) -> T:
        return tried(self, verb, lambda: request(*file_system(self)))


Location = Path | Url
"""Where a cache is."""
Given = str | os.PathLike[str] | Url
"""As users say it."""


def location(path: Given) -> Location:
    """A folder of this machine, or of object storage when the text has a protocol.

    Raises ArgumentError for a URL with credentials in it (they would be stored and printed: give them to the library
    behind fsspec, by environment or profile) and for one that fsspec does not know; MissingPackageError where the
    package behind it is missing.
    """
    if isinstance(path, Url):
        return path
    text = os.fspath(path)
    protocol, found, rest = text.partition("://")
    if not found:
        return Path(text)
    if protocol in ("file", "local"):
        return Path(rest)
    if LOGIN.search(text) or SECRET.search(text):
        raise ArgumentError(
            f"a {protocol}:// URL with credentials in it: they would be stored and printed; leave them out, and give "
            "them by environment variables, a profile, or fsspec's configuration"
        )
    if not rest.strip("/") or "::" in text or "?" in text or "#" in text:
        shown = re.split("::|[?#]", text)[0]
        raise ArgumentError(f"{shown}: expected protocol://bucket/folder, without a query or a chain of protocols")
    url = Url(text.rstrip("/"))
    file_system(url)
    return url


def file_system(url: Url) -> tuple[Any, str]:
    """The library behind a URL, and the path there. Asked for each request: after a fork it is another one."""
    import fsspec.core

    protocol = url.text.partition("://")[0]
    if protocol in PACKAGES:
        package, extra = PACKAGES[protocol]
        require(package, extra, f"for {protocol}:// paths")
    try:
        fs, path = fsspec.core.url_to_fs(url.text, use_listings_cache=False, **_options(protocol))
    except ImportError as exc:
        raise ArgumentError(f"{url}: {scrubbed(exc)}") from exc
    except ValueError as exc:
        if protocol in fsspec.available_protocols():
            raise
        raise ArgumentError(f"{url}: fsspec knows no protocol {protocol!r}; s3, gs and az are tested") from exc
    return fs, path


def _options(protocol: str) -> dict[str, Any]:
    """How s3fs is to speak with S3, where its user says nothing of it: tries are counted here, connections are many."""
    from fsspec.config import conf

    said = any("config_kwargs" in conf.get(name, {}) for name in ("s3", "s3a"))
    if said or PACKAGES.get(protocol, ("",))[0] != "s3fs":
        return {}
    retries = {} if _S3_RETRIES & set(os.environ) else {"retries": {"total_max_attempts": 1}}
    return {"config_kwargs": {"max_pool_connections": 4 * AT_ONCE, **retries}}


def read_ranges(parts: Sequence[tuple[Url, int, int]]) -> list[bytes]:
    """(object, first byte, byte after the last) -> its bytes, `AT_ONCE` of them together.

    Fewer bytes where an object ends before. Raises as the methods of `Url` do.
    """
    found: list[bytes] = []
    for start in range(0, len(parts), AT_ONCE):
        request = _Ranges(parts[start : start + AT_ONCE])
        found += tried(request.parts[0][0], "read", request)
    return found


class _Ranges:
    """Ranges under way together; called again, it asks for those that are still missing."""

    def __init__(self, parts: Sequence[tuple[Url, int, int]]) -> None:
        self.parts = parts
        self._found: dict[int, bytes] = {}

    def __call__(self) -> list[bytes]:
        left = [k for k in range(len(self.parts)) if k not in self._found]
        fs, _ = file_system(self.parts[0][0])
        paths = [fs._strip_protocol(self.parts[k][0].text) for k in left]
        starts, ends = [self.parts[k][1] for k in left], [self.parts[k][2] for k in left]
        failed = []
        for k, found in zip(left, fs.cat_ranges(paths, starts, ends, on_error="return"), strict=True):
            if isinstance(found, BaseException):
                failed.append(found)
            elif len(found) == self.parts[k][2] - self.parts[k][1] or self._ends_before(fs, k, len(found)):
                self._found[k] = bytes(found)
            else:
                failed.append(ConnectionError(f"{len(found)} bytes came of {self.parts[k][2] - self.parts[k][1]}"))
        if failed:
            raise min(failed, key=lambda exc: not (isinstance(exc, FileNotFoundError) or is_refused(exc)))
        return [self._found[k] for k in range(len(self.parts))]

    def _ends_before(self, fs: Any, k: int, length: int) -> bool:
        """Whether the object has no more of a range, so that fewer bytes are all of them."""
        url, first, last = self.parts[k]
        return length == max(0, min(last, int(fs.size(fs._strip_protocol(url.text)))) - first)
