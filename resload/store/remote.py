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
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from resload import seeds
from resload.errors import ArgumentError, StorageError, require

T = TypeVar("T")

TRIES = 7
"""Of one request, each of which the library behind fsspec may have tried some times itself."""
FIRST_WAIT, LONGEST_WAIT = 0.3, 8.0
"""Seconds between them: doubled each time, and shortened by chance so that many processes do not come back at once."""
AT_ONCE = 16
"""Ranges of one request that are under way together."""
RANGE, WINDOW = 8 << 20, 4
"""Bytes of one range of a download, and how many are under way together: some tens of MB fill most networks."""
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
_REFUSED = (
    FileNotFoundError, PermissionError, FileExistsError, IsADirectoryError, NotADirectoryError, ImportError, ValueError,
    TypeError, AttributeError, NotImplementedError, MemoryError,
)  # fmt: skip
"""Answers that will be the same next time."""
_REFUSED_NUMBERS = {
    errno.EINVAL, errno.EPERM, errno.EACCES, errno.ENOSYS, errno.ENOTEMPTY, errno.ENAMETOOLONG, errno.EMSGSIZE,
    getattr(errno, "EREMCHG", errno.EINVAL),
}  # fmt: skip
"""The same, as numbers of OSError (s3fs translates the codes of S3 into these)."""
_REFUSED_NAMES = {"NoCredentialsError", "PartialCredentialsError", "ParamValidationError", "ProfileNotFound"}
"""The same, of libraries that need not be there."""
_SECRET = re.compile(r"(?i)((?:signature|sig|secret|token|password|credential|accesskeyid|apikey)[\w-]*=)[^&\s'\"]+")
_LOGIN = re.compile(r"//[^/@\s]*:[^/@\s]*@")


@dataclass(frozen=True, order=True)
class Url:
    """A folder or object of object storage. Immutable, thread-safe, safe to use after a fork; pickles as its text.

    Raises StorageError when storage does not answer after `TRIES`, or refuses; FileNotFoundError for what is not
    there.
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
        return bytes(self._asked("read", lambda fs, path: fs.cat_file(path)))

    def read_text(self, encoding: str = "utf-8") -> str:
        """The whole object as text."""
        return self.read_bytes().decode(encoding)

    def read_ranges(self, ranges: Sequence[tuple[int, int]]) -> list[bytes]:
        """(first byte, byte after the last) -> its bytes, fewer where the object ends before; `AT_ONCE` together."""
        return read_ranges([(self, first, last) for first, last in ranges])

    def size(self) -> int:
        """Bytes of the object."""
        return int(self._asked("look at", lambda fs, path: fs.size(path)))

    def stamp(self) -> str:
        """What tells this version of the object from another one, as far as storage says: size, and tag or time."""
        found = self._asked("look at", lambda fs, path: fs.info(path))
        marks = ("ETag", "etag", "md5Hash", "content_md5", "LastModified", "last_modified", "created")
        return " ".join(str(found[name]) for name in ("size", *marks) if found.get(name) is not None)

    def exists(self) -> bool:
        """Whether an object, or anything below this folder, is there."""
        return bool(self._asked("look at", lambda fs, path: fs.exists(path)))

    def is_file(self) -> bool:
        """Whether it is an object."""
        return bool(self._asked("look at", lambda fs, path: fs.isfile(path)))

    def names(self) -> list[str]:
        """What is in this folder, sorted; nothing where there is none."""

        def listed(fs: Any, path: str) -> list[str]:
            try:
                found = [str(one).rstrip("/").rpartition("/")[2] for one in fs.ls(path, detail=False)]
            except FileNotFoundError:
                return []
            return sorted(set(found) - {""})

        return list(self._asked("list", listed))

    def sizes_below(self) -> dict[str, int]:
        """Every object below this folder, by its path from here, and its bytes."""

        def found(fs: Any, path: str) -> dict[str, int]:
            try:
                below = fs.find(path, detail=True)
            except FileNotFoundError:
                return {}
            start = len(path.rstrip("/")) + 1
            return {str(name)[start:]: int(facts["size"]) for name, facts in below.items()}

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
            except FileExistsError:
                return False
            except OSError as exc:  # s3fs: EINVAL for 412 (it is there), EBUSY for 409 (somebody is creating it)
                if exc.errno in (errno.EINVAL, errno.EBUSY) and fs.exists(path):
                    return bool(fs.cat_file(path) == data)  # a request that was tried again may have met its own object
                raise
            return True

        return bool(self._asked("write", created))

    def upload(self, file: Path) -> None:
        """Put a file of this machine, whole or not at all; large ones in parts, side by side."""
        self._asked("write", lambda fs, path: fs.put_file(str(file), path))

    def unlink(self, missing_ok: bool = False) -> None:
        """Remove the object."""

        def removed(fs: Any, path: str) -> None:
            try:
                fs.rm_file(path)
            except FileNotFoundError:
                if not missing_ok:
                    raise

        self._asked("remove", removed)

    def remove_below(self) -> None:
        """Remove every object below this folder."""

        def removed(fs: Any, path: str) -> None:
            try:
                fs.rm(path, recursive=True)
            except FileNotFoundError:
                return

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
    if protocol == "file":
        return Path(rest)
    if _LOGIN.search(text) or _SECRET.search(text):
        raise ArgumentError(
            f"a {protocol}:// URL with credentials in it: they would be stored and printed; leave them out, and give "
            "them by environment variables, a profile, or fsspec's configuration"
        )
    if "::" in text or "?" in text or "#" in text:
        raise ArgumentError(f"{text}: expected protocol://bucket/folder; found a chain of protocols or a query")
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
        fs, path = fsspec.core.url_to_fs(url.text, use_listings_cache=False)
    except ImportError as exc:
        raise ArgumentError(f"{url}: {scrubbed(exc)}") from exc
    except ValueError as exc:
        if protocol in fsspec.available_protocols():
            raise
        raise ArgumentError(f"{url}: fsspec knows no protocol {protocol!r}; s3, gs and az are tested") from exc
    return fs, path


def read_ranges(parts: Sequence[tuple[Url, int, int]]) -> list[bytes]:
    """(object, first byte, byte after the last) -> its bytes, `AT_ONCE` of them together.

    Fewer bytes where an object ends before. Raises as the methods of `Url` do.
    """
    found: list[bytes] = []
    for start in range(0, len(parts), AT_ONCE):
        some = parts[start : start + AT_ONCE]
        found += tried(some[0][0], "read", lambda some=some: _cat(some))  # type: ignore[misc]  # mypy 1.x: default of a lambda
    return found


def _cat(parts: Sequence[tuple[Url, int, int]]) -> list[bytes]:
    fs, _ = file_system(parts[0][0])
    paths = [fs._strip_protocol(url.text) for url, _, _ in parts]
    starts, ends = [first for _, first, _ in parts], [last for _, _, last in parts]
    return [bytes(one) for one in fs.cat_ranges(paths, starts, ends, on_error="raise")]


def tried(url: Url, verb: str, request: Callable[[], T]) -> T:
    """What the request answers, tried again as long as that may help. verb: what was asked, for the message."""
    for attempt in range(TRIES):
        try:
            return request()
        except FileNotFoundError:
            raise
        except Exception as exc:  # each library has errors of its own
            if _is_refused(exc):
                if isinstance(exc, (TypeError, AttributeError, MemoryError, NotImplementedError)):
                    raise
                raise StorageError(f"{url}: storage refuses to {verb} it: {scrubbed(exc)}") from None
            if attempt == TRIES - 1:
                raise StorageError(
                    f"{url}: could not {verb} it in {TRIES} tries, the last answer: {scrubbed(exc)}; what is there "
                    "is kept: run the same again when storage answers"
                ) from None
        _wait(attempt)
    raise AssertionError("the last attempt returns or raises")


def _is_refused(exc: Exception) -> bool:
    if isinstance(exc, OSError) and not isinstance(exc, (ConnectionError, TimeoutError)):
        return isinstance(exc, _REFUSED) or exc.errno in _REFUSED_NUMBERS
    return isinstance(exc, _REFUSED) or type(exc).__name__ in _REFUSED_NAMES


def _wait(attempt: int) -> None:
    most = min(LONGEST_WAIT, FIRST_WAIT * 2**attempt)
    rng = seeds.generator(os.getpid(), time.monotonic_ns(), "retry", attempt)
    time.sleep(most * rng.uniform(0.5, 1.0))


def scrubbed(exc: BaseException) -> str:
    """An error of another library in words, without what looks like a secret."""
    text = _SECRET.sub(r"\1...", _LOGIN.sub("//...@", str(exc)))
    return f"{type(exc).__name__}: {text.splitlines()[0][:300]}" if text else type(exc).__name__
