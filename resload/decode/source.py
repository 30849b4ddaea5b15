"""The file of a film: opened without waiting, refused when it is not a regular one or too large to be a film."""

import os
from io import BufferedReader

from resload import regular
from resload.errors import TooLargeError, UnreadableFileError
from resload.limits import limits, raised_by

Path = str | os.PathLike[str]


def source_bytes(path: Path) -> tuple[bytes, os.stat_result]:
    """All bytes of a film's or a mask's file, and what the system says of it.

    Raises UnreadableFileError for a file that cannot be read, is a folder, pipe, socket or device (without waiting for
    it), TooLargeError for one above `limits().file_bytes`; both name it.
    """
    most = limits().file_bytes
    try:
        return regular.contents(path, most)
    except regular.TooLong:
        reason = f"the file is larger than the limit ({raised_by('file_bytes')})"
        raise TooLargeError(reason, path=path, detail=f"{most} bytes") from None
    except regular.Changed:
        raise UnreadableFileError("the file changed while it was read", path=path) from None
    except (OSError, ValueError) as exc:  # ValueError: no path, since it holds a zero byte
        raise unreadable(path, exc) from exc


def source_stream(path: Path) -> BufferedReader:
    """The same file, opened: whoever asks closes it. Raises UnreadableFileError, naming it."""
    try:
        return regular.stream(path)
    except (OSError, ValueError) as exc:
        raise unreadable(path, exc) from exc


def unreadable(path: Path, error: OSError | ValueError) -> UnreadableFileError:
    """A system's error as ours; its sentence names no path, so that it can be kept as a reason."""
    detail = (error.strerror if isinstance(error, OSError) else None) or str(error)
    return UnreadableFileError("the file could not be read", path=path, detail=detail)
