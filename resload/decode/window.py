"""Bytes one may slice, in memory or in a file: header parsers read through this and nothing else."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Protocol

_BLOCK = 1 << 14
"""Bytes fetched at a time: the headers of most films fit into one."""


class Bytes(Protocol):
    """What a header parser needs; `bytes` is one."""

    def __len__(self) -> int: ...

    def __getitem__(self, part: slice, /) -> bytes: ...


class FileWindow:
    """A file as sliceable bytes. A slice that a block holds costs no read; reads are `pread`.

    One thread at a time; the file stays open as long as `open_window` says.
    """

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor
        self._size = os.fstat(descriptor).st_size
        self._start = 0
        self._block = b""

    def __len__(self) -> int:
        return self._size

    def __getitem__(self, part: slice, /) -> bytes:
        start, stop, _ = part.indices(self._size)
        if not self._start <= start <= stop <= self._start + len(self._block):
            self._start = start
            self._block = os.pread(self._descriptor, max(_BLOCK, stop - start), start)
        return self._block[start - self._start : max(start, stop) - self._start]


@contextmanager
def open_window(path: str | os.PathLike[str]) -> Iterator[FileWindow]:
    """The file as a window, closed at the end of the block."""
    descriptor = os.open(path, os.O_RDONLY | getattr(os, "O_BINARY", 0) | getattr(os, "O_CLOEXEC", 0))
    try:
        yield FileWindow(descriptor)
    finally:
        os.close(descriptor)
