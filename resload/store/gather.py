"""Reading records: (rows, size) -> verified pixels in a caller's buffer, with as little Python per image as possible.

Three ways to the same bytes:

* `pread` (the default): one call per record, straight into the batch. A truncated or failing file is an error.
* `mmap` (by choice, for local disks): a copy from mapped memory, without a system call for each. A file that is
  truncated under it kills the process (SIGBUS), which no Python code can catch.
* held: levels of small records (at most `HELD_RECORD_BYTES`) that fit `HELD_LEVEL_BYTES` are read shard by shard
  with large reads when first touched and kept in memory, since a system call costs more than such a record.
  Then a batch is one numpy.take.

Whichever it was, every record that comes from a file is summed once it is in memory and compared with the sum
stored behind it and with the sum in the table of samples: neither a flipped bit nor another film's record is
ever served. (A held level is summed when it is read from its file, not again at every copy within memory.)
"""

import os
import sys
import threading
from collections import deque
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
"""Below this many bytes (some 2 us of summing) giving up the GIL for a checksum costs more than it gains."""


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
        self.bytes = out.view(np.uint8).reshape(count, body)
        self.pixels = [flat[i * body : (i + 1) * body] for i in range(count)]
        self.sums = np.zeros(count, "<u4")
        sums = self.sums.data.cast("B")
        self.pairs = [(self.pixels[i], sums[i * 4 : i * 4 + 4]) for i in range(count)]


class Level:
    """One level's records, read and verified. Thread-safe; holds files only through its `Shards`.

    crcs: the checksums that the table of samples remembers, uint32 (N,).
    """

    def __init__(self, shards: "Shards", size: Size, crcs: NDArray[np.uint32]) -> None:
        self._shards = shards
        self._manifest = shards.manifest
        self._size = size
        self._crcs = crcs
        self._step = layout.record_bytes(size, self._manifest.dtype)
        self._release = self._step >= _SUM_RELEASES_GIL
        count = self._manifest.count
        small = self._step <= HELD_RECORD_BYTES and self._step * count <= HELD_LEVEL_BYTES
        self._held: NDArray[np.uint8] | None = None
        if small and shards.access == "pread":
            self._held = np.empty((count, self._step - layout.CRC_BYTES), np.uint8)  # untouched pages cost nothing
            self._sound = np.zeros(count, bool)
            self._filling = threading.Lock()

    @property
    def held(self) -> bool:
        """Whether records stay in memory once they were read."""
        return self._held is not None

    def read(self, rows: NDArray[np.int64], slot: Slot, start: int = 0) -> None:
        """Fill images start .. start + len(rows) of the slot with the records `rows`, and verify them.

        Raises CorruptCacheError, after which these images are unspecified.
        """
        if len(rows) == 0:
            return
        if self._held is None or not (self._sound[rows].all() or self._all_filled(self._held, rows)):
            copy = self._copy_mapped if self._shards.access == "mmap" else self._pread
            found = np.array(copy(rows, slot, start), np.uint32)
            self._compare(rows, found, slot.sums[start : start + len(rows)])
        else:
            self._held.take(rows, axis=0, out=slot.bytes[start : start + len(rows)], mode="clip")
        if sys.byteorder == "big" and slot.out.dtype.itemsize > 1:
            slot.out[start : start + len(rows)].byteswap(inplace=True)

    # Both return the sums of what arrived.

    def _pread(self, rows: NDArray[np.int64], slot: Slot, start: int) -> list[int]:
        """Each record is summed straight after it was read, while the core's own cache still has it."""
        groups, ks = np.divmod(rows, self._manifest.per_shard)
        shards = self._shards.of(self._size, groups.tolist())  # a reference each: eviction cannot close them now
        step, release, found = self._step, self._release, []
        places = zip(shards, (ks * step).tolist(), slot.pairs[start : start + len(rows)], strict=True)
        for shard, offset, pair in places:
            if os.preadv(shard.descriptor, pair, offset) != step:
                raise CorruptCacheError(f"{shard.path}: it ended while it was read; {REMEDY}")
            found.append(crc32c(pair[0], 0, release))
        return found

    def _copy_mapped(self, rows: NDArray[np.int64], slot: Slot, start: int) -> list[int]:
        groups, ks = np.divmod(rows, self._manifest.per_shard)
        sums = slot.sums.view(np.uint8).reshape(-1, 4)
        body, release, found = slot.body, self._release, []
        shards = self._shards.of(self._size, groups.tolist())
        for i, (shard, k) in enumerate(zip(shards, ks.tolist(), strict=True), start):
            assert shard.records is not None
            record = shard.records[k]
            np.copyto(slot.bytes[i], record[:body])
            sums[i] = record[body:]
            found.append(crc32c(slot.pixels[i], 0, release))
        return found

    def _all_filled(self, held: NDArray[np.uint8], rows: NDArray[np.int64]) -> bool:
        """Read the shards of these rows into memory; False when one of the rows is damaged."""
        per_shard = self._manifest.per_shard
        for group in np.unique(rows[~self._sound[rows]] // per_shard).tolist():
            whole = self._manifest.rows_of(group)
            with self._filling:
                if not self._sound[whole.start : whole.stop].any():
                    self._fill(held, group, whole)
        return bool(self._sound[rows].all())

    def _fill(self, held: NDArray[np.uint8], group: int, rows: range) -> None:
        (shard,) = self._shards.of(self._size, [group])
        records = np.empty((len(rows), self._step), np.uint8)
        shard.read_into(records.data.cast("B"), 0)
        pixels = np.ascontiguousarray(records[:, : -layout.CRC_BYTES])
        stored = np.ascontiguousarray(records[:, -layout.CRC_BYTES :]).view("<u4")[:, 0]
        found = np.array([crc32c(record) for record in pixels], np.uint32)
        held[rows.start : rows.stop] = pixels
        self._sound[rows.start : rows.stop] = (found == stored) & (found == self._crcs[rows.start : rows.stop])

    def _compare(self, rows: NDArray[np.int64], found: NDArray[np.uint32], stored: NDArray[np.uint32]) -> None:
        expected = self._crcs[rows]
        if (found == stored).all() and (found == expected).all():
            return
        i = int(np.flatnonzero((found != stored) | (found != expected))[0])
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
        self._by_size: dict[Size, dict[int, Shard]] = {}
        self._order: deque[tuple[Size, int]] = deque()
        self._lock = threading.Lock()

    def of(self, size: Size, groups: list[int]) -> list[Shard]:
        """The open shard of each group. Whoever holds one may read it even after it was evicted here."""
        opened = self._by_size.get(size, {})
        return [opened.get(group) or self._opened(size, group) for group in groups]

    def _opened(self, size: Size, group: int) -> Shard:
        with self._lock:
            of_size = self._by_size.setdefault(size, {})
            shard = of_size.get(group)
            if shard is None:
                shard = Shard(
                    self.cache / layout.shard_path(size, group),
                    size=size,
                    dtype=self.manifest.dtype,
                    per_shard=self.manifest.per_shard,
                    count=len(self.manifest.rows_of(group)),
                    access=self.access,
                )
                of_size[group] = shard
                self._order.append((size, group))
            while len(self._order) > self._limit:
                oldest, number = self._order.popleft()
                del self._by_size[oldest][number]
            return shard

    def close(self) -> None:
        """Let go of every open file."""
        with self._lock:
            self._by_size.clear()
            self._order.clear()
