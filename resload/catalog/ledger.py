"""Headers of an archive's files, kept in a file while they are read, so that nothing is read twice.

    {"resload_ledger": 1, "tags": ["SOPClassUID", ...]}                 a section begins: what its lines hold
    ["2024/a/1.2.3", 18123, 1700000000000000000, "image", null, [], []] a file: path, size, mtime in ns, what it is
    {"content": "2024/a/1.2.3", "size": 18123, "mtime": ..., "sha256":} what a file's bytes are, where that was asked

One line is one write at the end of the file, so a process that is killed leaves at most its last line torn; torn lines
count as not there. A line is believed while the file has the same size and time. The ledger is readable by its owner
only: it holds patients' identifiers.
"""

import json
import os
import sys
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from threading import Lock
from types import TracebackType
from typing import Any, Self

from resload.errors import CatalogError

VERSION = 1
"""Changes when what lines hold does; lines of another version are read again from the files."""
_MARK = "resload_ledger"
_LONGEST_MARK = 1 << 18
"""Bytes: all keywords that DICOM has fill half of it."""
_DECODER = json.JSONDecoder()
Stamp = tuple[int, int]
"""Size in bytes and time of change in nanoseconds: while both stay, the content is taken to be the same."""


@dataclass(frozen=True, slots=True)
class Entry:
    """What was found in one file."""

    path: str
    """Below the archive's folder, with `/`."""
    stamp: Stamp
    state: str
    """One of `objects.STATES`."""
    reason: str | None
    """Why it has no header: the fixed sentence of the error."""
    header: tuple[Any, ...] | None
    """The values of its header in the order of `objects.HEADER`, or None."""
    tags: tuple[str | None, ...]
    """One for each of the tags that are asked for; none at all for a file that is no DICOM object."""


def stamp_of(path: Path) -> Stamp:
    """Size and time of a file. Raises OSError."""
    found = path.stat()
    return found.st_size, found.st_mtime_ns


class Ledger:
    """Entries by path, and a file that keeps them; a context manager that lets go of the file.

    path: the file, made if it is not there; None keeps nothing, and remembers nothing.
    wanted: keywords of the tags to know of each file. `tags` are those to read: the wanted ones first, then those that
    the file has had before, so that two sets of tags asked for in turn do not read the archive each time.

    `known`, `add` and the two for contents may be called by many threads.

    Raises CatalogError for a file that is no ledger, or that another process is filling.
    """

    def __init__(self, path: Path | None, wanted: Sequence[str]) -> None:
        self._wanted = tuple(wanted)
        self._places: list[list[int] | None] = []  # of the wanted tags in each section's lines
        self._lines: dict[str, tuple[int, bytes]] = {}  # path -> section, line: read when it is asked for
        self._contents: dict[str, tuple[Stamp, str]] = {}
        self._lock = Lock()
        self._file = None if path is None else _opened(path)
        before = [] if path is None else self._remember(path)
        self.tags = tuple(dict.fromkeys([*wanted, *before]))
        self._begun = False

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        if self._file is not None:
            os.close(self._file)
            self._file = None

    def known(self, path: str, stamp: Stamp) -> Entry | None:
        """What was found in this file, if the wanted tags are known and the file has not changed since.

        Answers once for each path, and forgets it: of a large archive there is no need to hold everything twice.
        """
        section, line = self._lines.pop(path, (-1, b""))
        try:
            _, size, mtime, state, reason, header, values = json.loads(line)
        except ValueError:  # there is none, or it is torn
            return None
        places = self._places[section]
        if (size, mtime) != stamp or (values and places is None):
            return None
        tags = tuple(_shared(values[place]) for place in places) if values and places is not None else ()
        return Entry(path, (size, mtime), state, reason, None if header is None else tuple(map(_shared, header)), tags)

    def add(self, entry: Entry) -> Entry:
        """Keep what was found, with a value for each of `tags`; the same entry with those of the wanted ones."""
        self._append([entry.path, *entry.stamp, entry.state, entry.reason, entry.header, entry.tags])
        return replace(entry, tags=entry.tags[: len(self._wanted)])

    def content(self, path: str, stamp: Stamp) -> str | None:
        """The digest of this file's bytes, if it is known and the file has not changed since."""
        found = self._contents.get(path)
        return found[1] if found is not None and found[0] == stamp else None

    def add_content(self, path: str, stamp: Stamp, digest: str) -> None:
        """Keep a digest."""
        self._append({"content": path, "size": stamp[0], "mtime": stamp[1], "sha256": digest})

    def _append(self, value: object) -> None:
        if self._file is None:
            return
        line = json.dumps(value, separators=(",", ":")).encode() + b"\n"
        with self._lock:
            if not self._begun:
                # The line before may be torn: a new one begins whatever it ends in.
                mark = json.dumps({_MARK: VERSION, "tags": self.tags}).encode()
                line = b"\n" * (os.fstat(self._file).st_size > 0) + mark + b"\n" + line
                self._begun = True
            _write(self._file, line)

    def _remember(self, path: Path) -> list[str]:
        """Note every line that is there; answers with all tags they have."""
        before: list[str] = []
        current = False
        with path.open("rb") as file:
            for line in file:
                if line.startswith(b"["):
                    name = _path_of(line)
                    if current and name is not None:
                        self._lines[name] = (len(self._places) - 1, line)
                    continue
                about = _document(line)
                if _MARK in about:
                    current = about[_MARK] == VERSION
                    before += about["tags"] if current else []
                    self._places.append(_places(self._wanted, about["tags"]) if current else None)
                elif current and about:
                    self._contents[about["content"]] = ((about["size"], about["mtime"]), about["sha256"])
        return before


def _opened(path: Path) -> int:
    """The file, to be added to by this process alone; the lock goes with the process."""
    path.parent.mkdir(parents=True, exist_ok=True)
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_APPEND, 0o600)
    try:
        _lock(descriptor)
        start = os.pread(descriptor, _LONGEST_MARK, 0)
    except BlockingIOError as exc:
        os.close(descriptor)
        raise CatalogError(f"{path}: another process is filling this index; wait for it") from exc
    head = b'{"' + _MARK.encode() + b'"'
    if start[: len(head)] != head[: len(start)]:
        os.close(descriptor)
        raise CatalogError(f"{path} is there and is no index of an archive: choose another file for index=")
    if b"\n" not in start:  # its very first line is torn
        os.ftruncate(descriptor, 0)
    return descriptor


def _lock(descriptor: int) -> None:
    try:
        import fcntl
    except ImportError:  # Windows has no such lock
        return
    fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)


def _path_of(line: bytes) -> str | None:
    """The path that a file's line begins with; None where the line is torn before its end."""
    try:
        return str(_DECODER.raw_decode(line.decode(), 1)[0])
    except ValueError:
        return None


def _document(line: bytes) -> dict[str, Any]:
    """A section's mark, or a content; an empty one for a torn line, and for the empty one that follows it."""
    try:
        found: dict[str, Any] = json.loads(line)
    except ValueError:
        return {}
    return found


def _places(wanted: Sequence[str], tags: Sequence[str]) -> list[int] | None:
    """Where the wanted tags are among these, or None if one of them is missing."""
    place = {name: at for at, name in enumerate(tags)}
    return [place[name] for name in wanted] if all(name in place for name in wanted) else None


def _shared(value: Any) -> Any:
    """The same text for the same text: of a hundred thousand files, one manufacturer."""
    return sys.intern(value) if type(value) is str else value


def _write(descriptor: int, data: bytes) -> None:
    """All of it; a full disk or a signal may make a write shorter."""
    while data:
        data = data[os.write(descriptor, data) :]
