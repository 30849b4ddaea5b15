"""One shard of compressed records: as many bytes for each as it needs, back to back, then the index and its crc32c.

    record k     at offset[k]:  the codec's bytes, crc32c of these bytes (uint32, little-endian)
    index        at the end: S x (offset, length) uint64, absent records all ones, crc32c of these bytes

For levels of the films' own sizes, on a canvas of the largest height and width with zeros beyond each film, and for
masks. To Zarr this is `sharding_indexed` with the inner codecs `bytes`, one that compresses (`codecs.py`), `crc32c`.

Records stand in the order of their numbers, whatever the order in which they are put: two builds write the same bytes.
"""

import sys
import tempfile
import threading
from itertools import accumulate
from pathlib import Path
from typing import IO, Any

import numpy as np
from crc32c import crc32c
from numpy.typing import NDArray

from resload.errors import ArgumentError, CorruptCacheError
from resload.store import layout
from resload.store.codecs import Codec, body_bytes
from resload.store.files import disk, write_at
from resload.store.handle import open_shard, read_at
from resload.store.remote import Location
from resload.store.unreadable import REMEDY

WAITING_BYTES = 64 << 20
"""Of records put before their turn, per writer; further ones wait in a file."""


class PackedWriter:
    """A shard of compressed records under construction, in a temporary file.

    Records may be put from several threads, in any order, and are compressed side by side. One that comes before its
    turn waits: in memory up to `WAITING_BYTES`, beyond that in an unnamed file in the same folder.

    shape, dtype: of one record, (H, W) or (K, H, W), "uint8" or "uint16".
    """

    def __init__(self, path: Path, *, shape: tuple[int, ...], dtype: str, per_shard: int, codec: Codec) -> None:
        body_bytes(shape, dtype)
        self.path = path
        self._shape, self._dtype, self._codec = shape, dtype, codec
        self._index = np.full((per_shard, 2), layout.MISSING, "<u8")
        self._next, self._end = 0, 0
        self._lock = threading.Lock()
        self._waiting: dict[int, bytes | tuple[int, int]] = {}
        self._waiting_bytes, self._aside_end = 0, 0
        self._aside: IO[bytes] | None = None
        self._descriptor = disk().create(path)

    def put(self, k: int, pixels: NDArray[Any]) -> int:
        """Compress and write record k, of the shard's shape and dtype; returns the crc32c of its compressed bytes."""
        if pixels.shape != self._shape or pixels.dtype.name != self._dtype:
            raise AssertionError(f"record {pixels.shape} {pixels.dtype} in a shard of {self._shape} {self._dtype}")
        return self.put_compressed(k, self._codec.encode(pixels))

    def put_compressed(self, k: int, record: bytes) -> int:
        """Write record k as `PackedShard.compressed` answered it, so that it keeps its crc32c, which is returned.

        Compressed anew, with other versions of the libraries, the same pixels may have other bytes.
        """
        total = int(crc32c(record))
        stored = record + total.to_bytes(layout.CRC_BYTES, "little")
        with self._lock:
            if not self._next <= k < len(self._index) or k in self._waiting:
                raise AssertionError(f"record {k} was put before, or is none of {len(self._index)}")
            if k != self._next:
                self._wait(k, stored)
            else:
                self._append(stored)
                while self._next in self._waiting:
                    self._append(self._called(self._next))
        return total

    def _append(self, stored: bytes) -> None:
        write_at(self._descriptor, stored, self._end)
        self._index[self._next] = self._end, len(stored)
        self._next += 1
        self._end += len(stored)

    def _wait(self, k: int, stored: bytes) -> None:
        if self._waiting_bytes + len(stored) <= WAITING_BYTES:
            self._waiting[k] = stored
            self._waiting_bytes += len(stored)
            return
        if self._aside is None:
            self._aside = tempfile.TemporaryFile(dir=self.path.parent, buffering=0)  # noqa: SIM115 -- closed in close()
        write_at(self._aside.fileno(), stored, self._aside_end)
        self._waiting[k] = self._aside_end, len(stored)
        self._aside_end += len(stored)

    def _called(self, k: int) -> bytes:
        found = self._waiting.pop(k)
        if isinstance(found, bytes):
            self._waiting_bytes -= len(found)
            return found
        assert self._aside is not None
        offset, length = found
        stored = bytearray(length)
        read_at(self._aside.fileno(), memoryview(stored), offset)
        return bytes(stored)

    def finish(self, count: int) -> None:
        """Add the index of `count` records, sync, close. Every record 0 .. count-1 must have been put."""
        if self._next != count or self._waiting:
            raise AssertionError(f"{self._next} of {count} records were put, {len(self._waiting)} wait for one before")
        index = self._index.tobytes()
        write_at(self._descriptor, index + crc32c(index).to_bytes(layout.CRC_BYTES, "little"), self._end)
        disk().sync(self._descriptor)
        self.close()

    def close(self) -> None:
        """Close the file, finished or not."""
        if self._aside is not None:
            self._aside.close()
        if self._descriptor >= 0:
            descriptor, self._descriptor = self._descriptor, -1
            disk().close(descriptor)


class PackedShard:
    """An open shard of compressed records: length and index checked once. Thread-safe; closed when nobody holds it.

    Arguments as for `PackedWriter`; `count`: how many records there must be. `present`: how many there are, which may
    be more when rows are being appended.
    """

    def __init__(
        self,
        path: Location,
        *,
        shape: tuple[int, ...],
        dtype: str,
        per_shard: int,
        count: int,
        codec: Codec,
        whole: bool = False,
    ) -> None:
        self.path = path
        self._shape, self._dtype, self._codec = shape, np.dtype(dtype), codec
        self._body = body_bytes(shape, dtype)
        self.file = open_shard(path, REMEDY, whole=whole)
        self._index = self._checked_index(per_shard, count)
        self.present = len(self._index)

    def _checked_index(self, per_shard: int, count: int) -> list[tuple[int, int]]:
        """(offset, length) of every present record: they must lie back to back, from the beginning to the index."""
        records = self.file.size - layout.index_bytes(per_shard)
        index = bytearray(layout.index_bytes(per_shard))
        if records < 0 or not self.file.read_into(memoryview(index), records):
            raise CorruptCacheError(f"{self.path}: too short for an index of {per_shard} records; {REMEDY}")
        body, total = bytes(index[: -layout.CRC_BYTES]), bytes(index[-layout.CRC_BYTES :])
        if crc32c(body).to_bytes(layout.CRC_BYTES, "little") != total:
            raise CorruptCacheError(f"{self.path}: its index is damaged, or the file was cut; {REMEDY}")
        entries = np.frombuffer(body, "<u8").reshape(per_shard, 2).tolist()
        while entries and entries[-1] == [layout.MISSING, layout.MISSING]:
            entries.pop()
        ends = [0, *accumulate(length for _, length in entries)]
        together = [offset for offset, _ in entries] == ends[:-1] and ends[-1] == records
        if not together or len(entries) < count or any(length <= layout.CRC_BYTES for _, length in entries):
            raise CorruptCacheError(
                f"{self.path}: its index does not say where {count} records lie in {records} bytes; {REMEDY}"
            )
        return [(offset, length) for offset, length in entries]

    def read(self, k: int, expected: int, *, out: NDArray[Any] | None = None, rows: int | None = None) -> NDArray[Any]:
        """Record k, verified against the sum behind it and `expected`, the table's, before it is decoded.

        Args:
            k: from 0 to `present` - 1.
            expected: what `PackedWriter.put` returned for it.
            out: C-contiguous, of the shard's dtype, filled and returned; else a new array.
            rows: only so many of the first axis, from the top: padding below a film need not be decoded.

        Returns:
            The shard's shape, or (rows, ...), of its dtype.

        Raises CorruptCacheError when bytes differ from a sum or do not decode to this shape; `out` is then
        unspecified.
        """
        shape = (self._shape[0] if rows is None else rows, *self._shape[1:])
        if not (0 <= k < self.present and 0 <= shape[0] <= self._shape[0]):
            raise AssertionError(f"rows {shape} of record {k} in a shard of {self.present} x {self._shape}")
        if out is None:
            out = np.empty(shape, self._dtype)
        elif out.shape != shape or out.dtype != self._dtype or not out.flags.c_contiguous:
            raise ArgumentError(f"out must be C-contiguous {shape} {self._dtype}; found {out.shape} {out.dtype}")
        if out.size:
            self._decode(k, self._verified(k, expected), out.reshape(-1).view(np.uint8))
            if sys.byteorder == "big" and self._dtype.itemsize > 1:
                out.byteswap(inplace=True)
        return out

    def span(self, k: int) -> tuple[int, int]:
        """Where record k lies in the file: (offset, length) in bytes, its checksum included."""
        return self._index[k]

    def compressed(self, k: int, expected: int) -> bytes:
        """The compressed bytes of record k, verified as by `read`."""
        return self._verified(k, expected).tobytes()

    def _verified(self, k: int, expected: int) -> NDArray[np.uint8]:
        offset, length = self._index[k]
        stored = np.empty(length, np.uint8)
        if not self.file.read_into(stored.data, offset):
            raise CorruptCacheError(f"{self.path}: it ended while it was read; {REMEDY}")
        record = stored[: -layout.CRC_BYTES]
        behind, found = int.from_bytes(stored[-layout.CRC_BYTES :].tobytes(), "little"), int(crc32c(record.data))
        if not found == behind == expected:
            raise CorruptCacheError(
                f"{self.path}: record {k} is damaged: its bytes sum to {found:08x}, the shard says {behind:08x}, "
                f"the table says {expected:08x} (crc32c); {REMEDY}"
            )
        return record

    def _decode(self, k: int, record: NDArray[np.uint8], out: NDArray[np.uint8]) -> None:
        """Fill `out` with the record's first bytes. Nothing larger than the record should be is ever allocated."""
        try:
            span = self._codec.span(record, self._body, len(out))
            decoded = out if span == len(out) else np.empty(span, np.uint8)
            self._codec.decode(record, decoded)
        except ValueError as exc:
            raise CorruptCacheError(f"{self.path}: record {k} cannot be decoded ({exc}); {REMEDY}") from exc
        if decoded is not out:
            out[:] = decoded[: len(out)]
