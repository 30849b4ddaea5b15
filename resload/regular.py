"""Reading files that others may have made: regular ones, no larger than a limit, and JSON that cannot hurt.

A named pipe in a folder of films would block a build for ever, and a device may never end: a file is opened without
waiting, and refused when it is not a regular one. Errors here are the system's (OSError) or ValueError; whoever knows
what the file is for turns them into one of `resload.errors`.
"""

import errno
import json
import os
import stat
from io import BufferedReader
from pathlib import Path
from typing import Any

_FLAGS = getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0) | getattr(os, "O_CLOEXEC", 0)
_NOT_REGULAR = "not a regular file but a folder, pipe, socket or device"
_SPARE = 1 << 16
"""Bytes asked for at the end of a file, where there should be none."""

PathLike = str | os.PathLike[str]


def descriptor_of(path: PathLike, flags: int, mode: int = 0o777) -> int:
    """`os.open`, which leaves nothing open where Ctrl-C comes while the system opens the file.

    KeyboardInterrupt is raised in the main thread between two steps of Python, and the descriptor that `os.open` has
    just returned is then in no name yet. Here it is in a list before there is a step.
    """
    found: list[int] = []
    try:
        found.extend(map(os.open, [path], [flags], [mode]))
    except BaseException:
        for descriptor in found:
            os.close(descriptor)
        raise
    return found[0]


def opened(path: PathLike) -> int:
    """A descriptor of a regular file, for reading; the caller closes it. Never waits.

    Raises OSError, also for what is no regular file.
    """
    descriptor = descriptor_of(path, os.O_RDONLY | _FLAGS)
    try:
        _refuse_others(os.fstat(descriptor), path)
    except BaseException:
        os.close(descriptor)
        raise
    return descriptor


def _refuse_others(status: os.stat_result, path: PathLike) -> None:
    if not stat.S_ISREG(status.st_mode):
        raise OSError(errno.EINVAL, _NOT_REGULAR, os.fspath(path))


def stream(path: PathLike) -> BufferedReader:
    """The same as a file object. Raises OSError."""
    return os.fdopen(opened(path), "rb")


class TooLong(OSError):
    """A file is larger than its reader takes."""


class Changed(OSError):
    """A file was written to while it was read, so that its bytes may be those of no file that ever was."""


def contents(path: PathLike, most: int) -> tuple[bytes, os.stat_result]:
    """All bytes of a regular file, and what the system says of it.

    Raises OSError, TooLong for more than `most` bytes, Changed when it was written to meanwhile.
    """
    descriptor = opened(path)
    try:
        status = os.fstat(descriptor)
        data, after = _read(descriptor, status.st_size, most), os.fstat(descriptor)
        if (after.st_size, after.st_mtime_ns) != (status.st_size, status.st_mtime_ns):
            raise Changed(errno.EBUSY, "it changed while it was read", os.fspath(path))
        return data, status
    finally:
        os.close(descriptor)


def _read(descriptor: int, size: int, most: int) -> bytes:
    """Up to the end, wherever it turns out to be: a file may grow while it is read."""
    parts: list[bytes] = []
    found = 0
    while size <= most and (part := os.read(descriptor, max(size - found, _SPARE))):
        parts.append(part)
        found += len(part)
        size = max(size, found)
    if size > most:
        raise TooLong(errno.EFBIG, f"larger than {most} bytes")
    return parts[0] if len(parts) == 1 else b"".join(parts)


def document(path: PathLike, most: int) -> Any:
    """The value of a JSON file. Raises OSError (TooLong for more than `most` bytes), ValueError for no JSON."""
    return parsed(contents(path, most)[0])


def parsed(text: bytes) -> Any:
    """JSON as a value. Raises ValueError, also for what is nested too deeply, for numbers that are none, and for texts
    that cannot be written again: half a surrogate pair, which JSON can spell and UTF-8 cannot.
    """
    try:
        value = json.loads(text.decode(), parse_constant=_refused)
        if b"\\ud" in text.lower():
            json.dumps(value, ensure_ascii=False).encode()
    except RecursionError:
        raise ValueError("it is nested too deeply") from None
    return value


def _refused(name: str) -> Any:
    raise ValueError(f"{name} is no JSON")


def inside(path: Path, folder: Path) -> Path:
    """The path itself, once every link on the way to it was found to stay below the folder.

    The folder itself may be reached by links. Raises OSError for a way that leads out.
    """
    home, real = os.path.realpath(folder), os.path.realpath(path)
    if real != home and not real.startswith(home.rstrip(os.sep) + os.sep):
        raise OSError(errno.EPERM, "a link leads out of the folder", os.fspath(path))
    return path
