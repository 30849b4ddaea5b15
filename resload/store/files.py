"""The calls by which a cache is written to a file system: every one goes through `disk()`.

So that faults can be put in their place: `with instead(layer)` makes another `Files` the one in use, in all threads of
this process. `resload.testing.faults` has layers that fail, write less than they were given, or lose what was not
synced, as a power cut does.
"""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from resload.regular import descriptor_of


class Files:
    """The system's own calls. Each raises OSError as the system does. Thread-safe."""

    def create(self, path: Path) -> int:
        """A new file, or an old one emptied, open for writing: its descriptor."""
        return descriptor_of(path, os.O_CREAT | os.O_TRUNC | os.O_RDWR | getattr(os, "O_BINARY", 0), 0o666)

    def write(self, descriptor: int, data: memoryview, offset: int) -> int:
        """Write a part of the data at this place of the file; how many bytes, at least one."""
        return os.pwrite(descriptor, data, offset)

    def truncate(self, descriptor: int, length: int) -> None:
        """Make the file so long."""
        os.truncate(descriptor, length)

    def sync(self, descriptor: int) -> None:
        """What was written survives a power cut once this returns."""
        os.fsync(descriptor)

    def close(self, descriptor: int) -> None:
        """Let go of the file."""
        os.close(descriptor)

    def replace(self, path: Path, target: Path) -> None:
        """Rename over what is there; certain to survive once the folder is synced."""
        path.replace(target)

    def mkdir(self, path: Path) -> None:
        """Make a folder unless it is there."""
        path.mkdir(exist_ok=True)

    def unlink(self, path: Path) -> None:
        """Remove a file unless it is gone."""
        path.unlink(missing_ok=True)

    def rmdir(self, path: Path) -> None:
        """Remove an empty folder."""
        path.rmdir()

    def sync_folder(self, path: Path) -> None:
        """Renames, new and removed names in a folder survive a power cut; nothing where folders cannot be opened."""
        if not hasattr(os, "O_DIRECTORY"):
            return
        try:
            descriptor = descriptor_of(path, os.O_RDONLY | os.O_DIRECTORY)
        except PermissionError:  # a folder that one may write in and not list: it cannot be synced
            return
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


_in_use = [Files()]


def disk() -> Files:
    """The layer in use."""
    return _in_use[-1]


@contextmanager
def instead(layer: Files) -> Iterator[None]:
    """Use this layer, everywhere in this process, until the end of the block."""
    _in_use.append(layer)
    try:
        yield
    finally:
        _in_use.remove(layer)


def write_at(descriptor: int, data: Any, offset: int) -> None:
    """Write all of a buffer of bytes from `offset` on, however many calls it takes."""
    view = memoryview(data)
    while view:
        written = disk().write(descriptor, view, offset)
        if written <= 0:  # no system does; a loop that ends is still better
            raise OSError(f"{written} bytes were written of {len(view)}")
        view, offset = view[written:], offset + written
