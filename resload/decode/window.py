"""Bytes one may slice, in memory or in a file: header parsers read through this and nothing else."""

import os
from typing import BinaryIO, Protocol

_BLOCK = 1 << 14
"""Bytes fetched at a time: the headers of most films fit into one."""


class Bytes(Protocol):
    """What a header parser needs; `bytes` is one."""

    def __len__(self) -> int: ...

    def __getitem__(self, part: slice, /) -> bytes: ...


class FileWindow:
    """An open file as sliceable bytes. A slice that lies in the block read last costs no read.

    One thread at a time; whoever opened the file closes it.
    """

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self._size = file.seek(0, os.SEEK_END)
        self._start = self._end = 0
        self._block = b""

    def __len__(self) -> int:
        return self._size

    def __getitem__(self, part: slice, /) -> bytes:
        start, stop = part.start, part.stop
        if start is None or stop is None or not self._start <= start <= stop <= self._end:
            start, stop, _ = part.indices(self._size)
            self._load(start, stop)
        return self._block[start - self._start : max(start, stop) - self._start]

    def _load(self, start: int, stop: int) -> None:
        if not self._start <= start <= stop <= self._end:
            self._file.seek(start)
            self._block = self._file.read(max(_BLOCK, stop - start))
            self._start, self._end = start, start + len(self._block)
