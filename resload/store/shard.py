"""One shard: S records back to back, each its pixels and their crc32c, then the index and its crc32c.

    record k     at k * record_bytes:  pixels (little-endian), crc32c of the pixels (uint32, little-endian)
    index        at the end: S x (offset, length) uint64, absent records all ones, crc32c of these bytes

The addresses follow from k, so records can be written in any order and found without reading the index; the
index is for other Zarr readers, and is checked against this arithmetic when a shard is opened.
"""

import mmap
import os
import sys
from io import FileIO
from pathlib import Path
from typing import Any

import numpy as np
from crc32c import crc32c
from numpy.typing import NDArray

from resload.errors import CorruptCacheError
from resload.size import Size
from resload.store import layout
from resload.store.pieces import Pieces

REMEDY = "resload.verify lists what is damaged, resload.repair makes it again from the sources"


def index_block(count: int, per_shard: int, step: int) -> bytes:
    """The index of a shard with `count` records of `step` bytes (checksum included), ready to append."""
    index = np.full((per_shard, 2), layout.MISSING, "<u8")
    index[:count, 0] = np.arange(count, dtype=np.uint64) * np.uint64(step)
    index[:count, 1] = step
    body = index.tobytes()
    return body + crc32c(body).to_bytes(layout.CRC_BYTES, "little")


class ShardWriter:
    """A shard under construction, in a temporary file.

    Records may be put from several threads, in any order; `finish` writes the index and syncs. A few megabytes are
    kept in memory until then (`pieces.py`).
    """

    def __init__(self, path: Path, *, size: Size, dtype: str, per_shard: int) -> None:
        self.path = path
        self._size, self._dtype, self._per_shard = size, dtype, per_shard
        self._step = layout.record_bytes(size, dtype)
        self._file = FileIO(path, "w")  # not os.open: a file that Ctrl-C keeps from its name here closes itself
        self._descriptor = self._file.fileno()
        self._pieces = Pieces(self._descriptor)

    def put(self, k: int, pixels: NDArray[Any]) -> int:
        """Write record k, (H, W) of the level's dtype; returns its crc32c."""
        if pixels.shape != tuple(self._size) or pixels.dtype.name != self._dtype:
            raise AssertionError(f"record {pixels.shape} {pixels.dtype} in a shard of {self._size} {self._dtype}")
        body = little_endian(pixels)
        total = crc32c(body)
        self._pieces.put(body, k * self._step)
        self._pieces.put(total.to_bytes(layout.CRC_BYTES, "little"), (k + 1) * self._step - layout.CRC_BYTES)
        return total

    def finish(self, count: int) -> None:
        """Add the index of `count` records, sync, close. Every record 0 .. count-1 must have been put."""
        index = index_block(count, self._per_shard, self._step)
        self._pieces.put(index, count * self._step)
        self._pieces.flush(count * self._step + len(index))
        os.fsync(self._descriptor)
        self.close()

    def close(self) -> None:
        """Close the file, finished or not."""
        self._file.close()
        self._descriptor = -1


def little_endian(pixels: NDArray[Any]) -> memoryview:
    """The bytes of a record: a view on little-endian machines."""
    pixels = np.ascontiguousarray(pixels)
    if sys.byteorder == "big" and pixels.dtype.itemsize > 1:
        pixels = pixels.byteswap()
    return pixels.data.cast("B")


class Shard:
    """An open shard: length and index checked, the file closed when nobody holds this object.

    `identity` tells this file as it is now from any other; a file whose identity is `checked` is not checked again.
    `records` is a read-only (count, record_bytes) uint8 view of the mapped file with access="mmap", else None;
    `address` is where it begins in memory, else 0.
    """

    def __init__(
        self,
        path: Path,
        *,
        size: Size,
        dtype: str,
        per_shard: int,
        count: int,
        access: str = "pread",
        checked: tuple[int, ...] | None = None,
    ) -> None:
        self.path = path
        self.step = layout.record_bytes(size, dtype)
        self.records: NDArray[np.uint8] | None = None
        self.address = 0
        try:
            self.descriptor = os.open(path, os.O_RDONLY | getattr(os, "O_BINARY", 0))
        except FileNotFoundError as exc:
            raise CorruptCacheError(f"{path}: this shard is missing; {REMEDY}") from exc
        found = os.fstat(self.descriptor)
        self.identity = found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns, count
        if self.identity != checked:
            self._check(layout.index_bytes(per_shard), per_shard, count, found.st_size)
        if access == "mmap":
            mapped = mmap.mmap(self.descriptor, 0, access=mmap.ACCESS_READ)
            self.records = np.frombuffer(mapped, np.uint8, count * self.step).reshape(count, self.step)
            self.address = self.records.ctypes.data

    def _check(self, index_length: int, per_shard: int, count: int, found: int) -> None:
        """The last shard may already hold more records than `count`, when rows are being appended."""
        records, rest = divmod(found - index_length, self.step)
        if rest or not count <= records <= per_shard:
            expected = count * self.step + index_length
            raise CorruptCacheError(f"{self.path}: {expected} bytes expected, {found} found; {REMEDY}")
        index = os.pread(self.descriptor, index_length, records * self.step)
        if index != index_block(records, per_shard, self.step):
            raise CorruptCacheError(f"{self.path}: its index is damaged; {REMEDY}")

    def read_into(self, buffer: memoryview, offset: int) -> None:
        """Fill the whole buffer from `offset` on."""
        while buffer:
            got = os.preadv(self.descriptor, [buffer], offset)
            if got == 0:
                raise CorruptCacheError(f"{self.path}: it ended while it was read; {REMEDY}")
            buffer, offset = buffer[got:], offset + got

    def __del__(self) -> None:
        if hasattr(self, "descriptor"):
            os.close(self.descriptor)
