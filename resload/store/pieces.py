"""Writing a file in large aligned pieces, whatever comes in whatever order.

    put     part of a record -> its piece, in memory                    the last few pieces
    later   once `KEPT` pieces were begun after it, a piece is written  in one call
    late    what belongs to a piece that was written goes straight to the file

Records of some kilobytes, each written by its own call, leave the page cache in small parts, and a file that was just
written is then read a fifth slower (Linux 6.18, ext4; `benchmarks/build_cost.py` measures it).
"""

import threading
from typing import Any

from resload.store.files import disk, write_at

PIECE = 1 << 20
"""From here on larger ones made no difference that could be measured."""
KEPT = 4
"""Pieces in memory: threads that make films of one row group are never further apart."""


class Pieces:
    """A file under construction. Thread-safe. Nothing is certain to be in the file before `flush`."""

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor
        self._pending: dict[int, bytearray] = {}
        self._written: set[int] = set()
        self._lock = threading.Lock()

    def put(self, data: Any, offset: int) -> None:
        """Bytes (a C-contiguous buffer of them) for this place of the file."""
        rest = memoryview(data)
        with self._lock:
            while rest:
                number, start = divmod(offset, PIECE)
                part, rest = rest[: PIECE - start], rest[PIECE - start :]
                if number in self._written:
                    write_at(self._descriptor, part, offset)
                else:
                    self._piece(number)[start : start + len(part)] = part
                offset += len(part)

    def _piece(self, number: int) -> bytearray:
        if number not in self._pending:
            if len(self._pending) >= KEPT:
                self._write(next(iter(self._pending)))
            self._pending[number] = bytearray(PIECE)
        return self._pending[number]

    def _write(self, number: int) -> None:
        write_at(self._descriptor, self._pending.pop(number), number * PIECE)
        self._written.add(number)

    def flush(self, length: int) -> None:
        """Everything to the file, which is then so long."""
        with self._lock:
            for number in list(self._pending):
                self._write(number)
            disk().truncate(self._descriptor, length)
