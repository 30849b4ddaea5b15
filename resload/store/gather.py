"""Reading records: (rows, size) -> verified pixels in a caller's buffer, with as little Python per image as possible.

Three ways to the same bytes:

* `pread` (the default): one call per record, straight into the batch. A truncated or failing file is an error.
* `mmap` (by choice, for local disks): a copy from mapped memory. Faster where system calls are slow, but a file
  that is truncated under it kills the process (SIGBUS), which no Python code can catch.
* held: levels of small records (at most `HELD_RECORD_BYTES`) that fit `HELD_LEVEL_BYTES` are read shard by shard
  with large reads when first touched and kept in memory, since a system call costs more than such a record.
  Then a batch is one numpy.take.

Whichever it was, every record is summed after it arrived in the caller's buffer and compared with the sum
stored behind it and with the sum in the table of samples: neither a flipped bit nor another film's record is
ever served.
"""

import os
import sys
import threading
from collections import OrderedDict
from itertools import repeat
from pathlib import Path
from typing import Any

import numpy as np
from crc32c import crc32c
from numpy.typing import NDArray

from resload.errors import ArgumentError, CorruptCacheError
from resload.size import Size
from resload.store import layout
from resload.store.shard import REMEDY, Shard

ACCESS = ("pread", "mmap")
HELD_RECORD_BYTES = 16 << 10
HELD_LEVEL_BYTES = 512 << 20
OPEN_SHARDS = 128
"""Descriptors kept open per cache; far below the usual limit of 1,024 per process."""
_SUM_RELEASES_GIL = 32 << 10
"""Below this many bytes giving up the GIL for a checksum costs more than the checksum (about 2 us)."""


class Slot:
    """Views of one batch buffer, made once and used for every batch read into it.

    out: (B, H, W) uint8 or uint16, C-contiguous.
    """

    def __init__(self, out: NDArray[Any]) -> None:
        count = len(out)
        flat = out.data.cast("B") if out.size else memoryview(b"")
        body = len(flat) // max(count, 1)
        self.out = out
        self.body = body
        self.pixels = [flat[i * body : (i + 1) * body] for i in range(count)]
        self.sums = np.zeros(count, "<u4")
        sums = self.sums.data.cast("B")
        self.bytes = out.view(np.uint8).reshape(count, body)
        self.pairs = [(self.pixels[i], sums[i * 4 : i * 4 + 4]) for i in range(count)]


class Level:
    """One level's records, read and verified. Thread-safe; holds files only through its `Shards`."""

    def __init__(self, shards: "Shards", size: Size) -> None:
        self._shards = shards
        self._manifest = shards.manifest
        self._size = size
        self._step = layout.record_bytes(size, self._manifest.dtype)
        self._held: NDArray[np.uint8] | None = None
        small = self._step <= HELD_RECORD_BYTES and self._step * self._manifest.count <= HELD_LEVEL_BYTES
        if small and shards.access == "pread":
            self._held = np.empty((self._manifest.count, self._step), np.uint8)  # untouched pages cost nothing
            self._filled = np.zeros(self._manifest.groups, bool)
            self._filling = threading.Lock()

    def read(self, rows: NDArray[np.int64], expected: NDArray[np.uint32], slot: Slot, start: int = 0) -> None:
        """Fill images start .. start + len(rows) of the slot with the records `rows`, and verify them.

        expected: the checksums the table remembers for these rows, uint32. Raises CorruptCacheError, after which
        these images are unspecified.
        """
        if len(rows) == 0:
            return
        if self._held is not None:
            self._copy_held(self._held, rows, slot, start)
        elif self._shards.access == "mmap":
            self._copy_mapped(rows, slot, start)
        else:
            self._pread(rows, slot, start)
        self._verify(rows, expected, slot, start)
        if sys.byteorder == "big" and slot.out.dtype.itemsize > 1:
            slot.out[start : start + len(rows)].byteswap(inplace=True)

    def _pread(self, rows: NDArray[np.int64], slot: Slot, start: int) -> None:
        groups, ks = np.divmod(rows, self._manifest.per_shard)
        held = self._shards.of(self._size, groups.tolist())  # a reference each: eviction cannot close them meanwhile
        files = [shard.descriptor for shard in held]
        pairs = slot.pairs[start : start + len(rows)]
        lengths = list(map(os.preadv, files, pairs, (ks * self._step).tolist()))
        for i, length in enumerate(lengths):
            if length != self._step:
                raise CorruptCacheError(f"{held[i].path}: it ended while it was read; {REMEDY}")

    def _copy_mapped(self, rows: NDArray[np.int64], slot: Slot, start: int) -> None:
        groups, ks = np.divmod(rows, self._manifest.per_shard)
        sums = slot.sums.view(np.uint8).reshape(-1, 4)
        for i, (shard, k) in enumerate(zip(self._shards.of(self._size, groups.tolist()), ks.tolist(), strict=True)):
            assert shard.records is not None
            record = shard.records[k]
            np.copyto(slot.bytes[start + i], record[: slot.body])
            sums[start + i] = record[slot.body :]

    def _copy_held(self, held: NDArray[np.uint8], rows: NDArray[np.int64], slot: Slot, start: int) -> None:
        groups = np.unique(rows // self._manifest.per_shard)
        for group in groups[~self._filled[groups]].tolist():
            self._fill(held, group)
        records = np.take(held, rows, axis=0, mode="clip")  # rows are in range; "clip" skips a second copy
        stop = start + len(rows)
        slot.bytes[start:stop] = records[:, : slot.body]
        slot.sums[start:stop] = np.ascontiguousarray(records[:, slot.body :]).view("<u4")[:, 0]

    def _fill(self, held: NDArray[np.uint8], group: int) -> None:
        with self._filling:
            if not self._filled[group]:
                rows = self._manifest.rows_of(group)
                (shard,) = self._shards.of(self._size, [group])
                shard.read_into(held[rows.start : rows.stop].data.cast("B"), 0)
                self._filled[group] = True

    def _verify(self, rows: NDArray[np.int64], expected: NDArray[np.uint32], slot: Slot, start: int) -> None:
        stop = start + len(rows)
        release = repeat(int(slot.body >= _SUM_RELEASES_GIL))
        found = np.array(list(map(crc32c, slot.pixels[start:stop], repeat(0), release)), np.uint32)
        stored = slot.sums[start:stop]
        wrong = np.flatnonzero((found != stored) | (found != expected))
        if wrong.size:
            i = int(wrong[0])
            group, k = divmod(int(rows[i]), self._manifest.per_shard)
            path = self._shards.cache / layout.shard_path(self._size, group)
            raise CorruptCacheError(
                f"{path}: record {k} (row {rows[i]}) is damaged: its pixels sum to {found[i]:08x}, the shard says "
                f"{stored[i]:08x}, the table says {expected[i]:08x} (crc32c); {REMEDY}"
            )


class Shards:
    """The shards of a cache: opened when first read, a bounded number kept open. Thread-safe."""

    def __init__(
        self, cache: Path, manifest: layout.Manifest, *, access: str = "pread", limit: int = OPEN_SHARDS
    ) -> None:
        if access not in ACCESS:
            raise ArgumentError(f"access must be one of {', '.join(ACCESS)}; found {access!r}")
        self.cache, self.manifest, self.access = cache, manifest, access
        self._limit = limit
        self._open: OrderedDict[tuple[Size, int], Shard] = OrderedDict()
        self._levels: dict[Size, Level] = {}
        self._lock = threading.Lock()

    def level(self, size: Size) -> Level:
        """The reader of one level; the same object every time."""
        with self._lock:
            if size not in self._levels:
                self._levels[size] = Level(self, size)
            return self._levels[size]

    def of(self, size: Size, groups: list[int]) -> list[Shard]:
        """The open shard of each group. Whoever holds one may read it even after it was evicted here."""
        found = [self._open.get((size, group)) for group in groups]
        return [shard or self._opened(size, group) for shard, group in zip(found, groups, strict=True)]

    def _opened(self, size: Size, group: int) -> Shard:
        with self._lock:
            shard = self._open.get((size, group))
            if shard is None:
                shard = Shard(
                    self.cache / layout.shard_path(size, group),
                    size=size,
                    dtype=self.manifest.dtype,
                    per_shard=self.manifest.per_shard,
                    count=len(self.manifest.rows_of(group)),
                    access=self.access,
                )
                self._open[size, group] = shard
            while len(self._open) > self._limit:
                self._open.popitem(last=False)
            return shard

    def close(self) -> None:
        """Let go of every open file and of levels held in memory."""
        with self._lock:
            self._open.clear()
            self._levels.clear()
