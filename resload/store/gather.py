"""Reading records: (rows, size) -> verified pixels in a caller's buffer, with as little Python per image as possible.

Three ways to the same bytes:

* `pread` (the default): straight into the batch, many records by one call where the system has such a call (`bulk.py`).
  A truncated or failing file is an error.
* `mmap` (by choice, for local disks): a copy from mapped memory, without a system call for each. A file that is
  truncated under it kills the process (SIGBUS), which no Python code can catch.
* held: with access="memory" all levels, and otherwise those of small records (at most `HELD_RECORD_BYTES`) that fit
  `HELD_LEVEL_BYTES`, are read shard by shard with large reads when first touched and kept in memory, since a system
  call costs more than such a record. Then a batch is one numpy.take.

Whichever it was, every record that comes from a file is summed once it is in memory and compared with the sum
stored behind it and with the sum in the table of samples: neither a flipped bit nor another film's record is
ever served. Small records are summed several at once (`joined.py`), which finds the same damage with fewer calls.
(A held level is summed when it is read from its file, not again at every copy within memory.)
"""

import contextlib
import errno
import os
import sys
from collections import deque
from ctypes import memmove
from itertools import repeat, starmap
from pathlib import Path

import numpy as np
from crc32c import crc32c
from numpy.typing import NDArray

from resload import forks
from resload.errors import CacheError, CorruptCacheError
from resload.size import Size
from resload.store import bulk, layout
from resload.store.descriptors import open_limit
from resload.store.joined import MOST, joined
from resload.store.opened import Shards
from resload.store.remote import RANGE, Url, read_ranges
from resload.store.shard import Shard
from resload.store.slot import Slot
from resload.store.unreadable import REMEDY
from resload.wording import megabytes

HELD_RECORD_BYTES = 16 << 10
"""Of pixels: 128 x 128 of 8 bit are just held."""
HELD_LEVEL_BYTES = 512 << 20
_TOGETHER_BYTES = 8 << 20
"""Records are read by one call, and summed as one, so many bytes at a time: each call costs some microseconds, and a
wait for Python's lock."""
_PROBES = 4
"""Records of a batch that are looked for in memory before any of it is asked for from storage: some 5 us, where asking
for all of it would be a tenth of the time that reading it from memory takes."""
_SAMPLED = 32
"""Records of a level that are looked for in memory, to say whether it is there."""
_TELLS = hasattr(os, "posix_fadvise") and hasattr(os, "RWF_NOWAIT")
"""Whether the system can be told of reads to come, and asked what it has in memory: Linux."""
_SUM_RELEASES_GIL = 32 << 10
"""Below this many bytes (some 2 us of summing) giving up the GIL for a checksum costs more than it gains."""


class Level:
    """One level's records, read and verified. Thread-safe; holds files only through its `Shards`.

    crcs: the checksums that the table of samples remembers, uint32 (N,).
    """

    def __init__(self, shards: Shards, size: Size, crcs: NDArray[np.uint32]) -> None:
        self._shards = shards
        self._manifest = shards.manifest
        self._far = shards.far
        self._size = size
        self._crcs = crcs
        self._step = layout.record_bytes(size, self._manifest.dtype)
        self._body = self._step - layout.CRC_BYTES
        self._together = min(MOST, bulk.MOST, max(1, _TOGETHER_BYTES // self._body))
        if self._manifest.groups > open_limit() // 4:  # each may be in another shard, and other threads read too
            self._together = min(self._together, max(1, open_limit() // 4))
        count = self._manifest.count
        small = self._body <= HELD_RECORD_BYTES and self._body * count <= HELD_LEVEL_BYTES
        self._held: NDArray[np.uint8] | None = None
        if (small and shards.access == "pread") or shards.access == "memory":
            self._held = _room(count, self._body, size)
            self._sound = np.zeros(count, bool)
            self._tried = np.zeros(self._manifest.groups, bool)
            self._filling = forks.lock()

    @property
    def _tells(self) -> bool:
        """Whether the system can be told of reads to come: not of objects, and what a mirror fetched is in memory."""
        return _TELLS and self._held is None and not self._far and self._shards.mirror is None

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
            self._copied(rows, slot, start)
        else:
            self._held.take(rows, axis=0, out=slot.bytes[start : start + len(rows)], mode="clip")
        if sys.byteorder == "big" and slot.out.dtype.itemsize > 1:
            slot.out[start : start + len(rows)].byteswap(inplace=True)

    def ahead(self, rows: NDArray[np.int64]) -> int:
        """Have the system fetch these records from storage, unless they seem to be in memory; returns at once.

        Returns how many bytes they are; 0 where nothing is ever to be fetched, as in a level that is held. A shard
        that cannot be opened is left to `read`.
        """
        if not self._tells:
            return 0
        with contextlib.suppress(CorruptCacheError, OSError):
            held, some = self._where(rows[:: max(1, len(rows) // _PROBES)])
            if not all(starmap(_in_memory, some)):
                for first in range(0, len(rows), self._together):
                    held, wanted = self._where(rows[first : first + self._together])
                    for file, offset in wanted:
                        os.posix_fadvise(file, offset, self._step, os.POSIX_FADV_WILLNEED)
            del held
        return len(rows) * self._step

    def cold(self, rows: NDArray[np.int64]) -> list[Path]:
        """The shards of these rows, where most of the level is wanted and is not in memory; none otherwise."""
        if not self._tells or 2 * len(rows) < self._manifest.count:
            return []
        with contextlib.suppress(CorruptCacheError, OSError):
            held, some = self._where(rows[:: max(1, len(rows) // _SAMPLED)])
            if 2 * sum(starmap(_in_memory, some)) < len(some):
                groups = np.unique(rows // self._manifest.per_shard).tolist()
                folder = self._shards.cache
                assert isinstance(folder, Path)
                return [folder / layout.shard_path(self._size, group) for group in groups]
            del held
        return []

    def _where(self, rows: NDArray[np.int64]) -> tuple[list[Shard], list[tuple[int, int]]]:
        """The open shard, and (file, offset), of each record; whoever holds the shards keeps the files open."""
        groups, records = np.divmod(rows, self._manifest.per_shard)
        shards = self._shards.of(self._size, groups.tolist())
        return shards, [(shard.descriptor, k * self._step) for shard, k in zip(shards, records.tolist(), strict=True)]

    def _copied(self, rows: NDArray[np.int64], slot: Slot, start: int) -> None:
        """`_copy`, once more where it met a damaged copy in the mirror."""
        try:
            self._copy(rows, slot, start)
        except CorruptCacheError:
            if not self._shards.renewed(self._size, (rows // self._manifest.per_shard).tolist()):
                raise
            self._copy(rows, slot, start)

    def _copy(self, rows: NDArray[np.int64], slot: Slot, start: int) -> None:
        """From the files into the slot, verified."""
        for first in range(0, len(rows), self._together):
            self._copy_some(rows[first : first + self._together], slot, start + first)

    def _copy_some(self, rows: NDArray[np.int64], slot: Slot, start: int) -> None:
        """At most `_together` of them; in halves where the process may not open as many shards as they are in."""
        groups, records = np.divmod(rows, self._manifest.per_shard)
        shards = self._at_once(groups.tolist())  # a reference each: nobody can close them now
        if shards is None:
            half = len(rows) // 2
            self._copy_some(rows[:half], slot, start)
            self._copy_some(rows[half:], slot, start + half)
            return
        copy = _copy_mapped if self._shards.access == "mmap" else _fetch if self._far else _pread
        copy(shards, records, slot, start)
        self._verify(rows, slot, start)

    def _at_once(self, groups: list[int]) -> list[Shard] | None:
        """The open shard of each of these; None where several cannot all be open.

        Not where that is caught: the error would keep those open that were opened before it.
        """
        try:
            return self._shards.of(self._size, groups)
        except OSError as exc:
            if len(groups) == 1 or exc.errno not in (errno.EMFILE, errno.ENFILE):
                raise
        return None

    def _verify(self, rows: NDArray[np.int64], slot: Slot, start: int) -> None:
        """Compare images start .. of the slot with both of their sums: at most `_together` of them, by one sum."""
        pixels = slot.flat[start * self._body : (start + len(rows)) * self._body]
        found = crc32c(pixels, 0, len(pixels) >= _SUM_RELEASES_GIL)
        expected = self._crcs[rows]
        total = joined(expected[None], self._body)[0] if len(rows) > 1 else expected[0]
        if found != total or not np.array_equal(slot.sums[start : start + len(rows)], expected):
            self._refuse(rows, slot, start)

    def _all_filled(self, held: NDArray[np.uint8], rows: NDArray[np.int64]) -> bool:
        """Read the shards of these rows into memory; False when one of the rows is damaged."""
        per_shard = self._manifest.per_shard
        for group in np.unique(rows[~self._sound[rows]] // per_shard).tolist():
            whole = self._manifest.rows_of(group)
            with self._filling:
                if not self._tried[group]:  # also what an interrupt, or a fork, left half filled
                    self._fill(held, group, whole)
                    self._tried[group] = True
        return bool(self._sound[rows].all())

    def _fill(self, held: NDArray[np.uint8], group: int, rows: range) -> None:
        self._shards.of(self._size, [group])  # which raises for a shard that cannot be read at all
        whole = np.arange(rows.start, rows.stop)
        slot = Slot(held[rows.start : rows.stop, None])
        for first in range(0, len(rows), self._together):
            some = whole[first : first + self._together]
            self._sound[some] = self._sound_ones(some, slot, first)

    def _sound_ones(self, rows: NDArray[np.int64], slot: Slot, start: int) -> bool | list[bool]:
        """Copy these rows; which of them are as they should be."""
        try:
            self._copied(rows, slot, start)
        except CorruptCacheError:
            return len(rows) > 1 and [
                bool(self._sound_ones(rows[k : k + 1], slot, start + k)) for k in range(len(rows))
            ]
        return True

    def _refuse(self, rows: NDArray[np.int64], slot: Slot, start: int) -> None:
        """Name the first record whose three sums are not the same."""
        for row, pixels, stored in zip(rows.tolist(), slot.bytes[start:], slot.sums[start:].tolist(), strict=False):
            found, expected = crc32c(pixels), int(self._crcs[row])
            if not found == stored == expected:
                group, k = divmod(row, self._manifest.per_shard)
                path = self._shards.cache / layout.shard_path(self._size, group)
                raise CorruptCacheError(
                    f"{path}: record {k} (row {row}) is damaged: its pixels sum to {found:08x}, the shard says "
                    f"{stored:08x}, the table says {expected:08x} (crc32c); {REMEDY}"
                )
        raise AssertionError("a joint sum differs where no sum does")  # impossible: it follows from theirs


def _in_memory(file: int, offset: int) -> bool:
    """Whether a byte of a file can be read without waiting; False where the file system cannot tell."""
    try:
        os.preadv(file, [bytearray(1)], offset, os.RWF_NOWAIT)
    except OSError:  # EAGAIN: it would wait; EOPNOTSUPP: nobody knows
        return False
    return True


def _pread(shards: list[Shard], records: NDArray[np.int64], slot: Slot, start: int) -> None:
    """By one call for all; where the system has none, by a sweep of C code with next to no Python between its calls."""
    step = shards[0].step
    offsets = records * step
    files = [shard.descriptor for shard in shards]
    if bulk.run(slot.buffers, start, files, offsets, step):
        return
    pairs = slot.pairs[start : start + len(records)]
    try:
        lengths = list(map(os.preadv, files, pairs, offsets.tolist()))
    except OSError:
        _one_by_one(shards, pairs, offsets.tolist())
        raise
    if lengths.count(step) != len(records):
        short = next(shard for shard, length in zip(shards, lengths, strict=True) if length != step)
        raise CorruptCacheError(f"{short.path}: it ended while it was read; {REMEDY}")


def _fetch(shards: list[Shard], records: NDArray[np.int64], slot: Slot, start: int) -> None:
    """From object storage, by ranges that are under way together; records that follow each other are one range."""
    step, numbers = shards[0].step, records.tolist()
    runs: list[list[int]] = []
    for i, k in enumerate(numbers):
        if runs and shards[i] is shards[i - 1] and k == numbers[i - 1] + 1 and (len(runs[-1]) + 1) * step <= RANGE:
            runs[-1].append(i)
        else:
            runs.append([i])
    parts = [(_url(shards[run[0]]), numbers[run[0]] * step, (numbers[run[-1]] + 1) * step) for run in runs]
    for run, found in zip(runs, read_ranges(parts), strict=True):
        if len(found) != len(run) * step:
            raise CorruptCacheError(f"{shards[run[0]].path}: it ended while it was read; {REMEDY}")
        got = np.frombuffer(found, np.uint8).reshape(len(run), step)
        places = slice(start + run[0], start + run[-1] + 1)
        slot.bytes[places] = got[:, : slot.body]
        slot.sums[places] = np.ascontiguousarray(got[:, slot.body :]).view(slot.sums.dtype)[:, 0]


def _url(shard: Shard) -> Url:
    assert isinstance(shard.path, Url)
    return shard.path


def _one_by_one(shards: list[Shard], pairs: list[tuple[memoryview, memoryview]], offsets: list[int]) -> None:
    """The same, one record after another, so that the file is named that cannot be read."""
    for shard, (pixels, total), offset in zip(shards, pairs, offsets, strict=True):
        shard.read_into(pixels, offset)
        shard.read_into(total, offset + len(pixels))


def _copy_mapped(shards: list[Shard], records: NDArray[np.int64], slot: Slot, start: int) -> None:
    """By a sweep of C code. Whoever holds the shards keeps the files mapped."""
    count, body = len(records), slot.body
    sources = np.array([shard.address for shard in shards]) + records * shards[0].step
    pixels = slot.bytes.ctypes.data + np.arange(start, start + count) * body
    sums = slot.sums.ctypes.data + np.arange(start, start + count) * layout.CRC_BYTES
    deque(map(memmove, pixels.tolist(), sources.tolist(), repeat(body)), maxlen=0)
    deque(map(memmove, sums.tolist(), (sources + body).tolist(), repeat(layout.CRC_BYTES)), maxlen=0)


def _room(count: int, body: int, size: Size) -> NDArray[np.uint8]:
    """Memory for all of a level: pages that are not touched cost nothing."""
    try:
        return np.empty((count, body), np.uint8)
    except MemoryError as exc:
        raise CacheError(
            f"{count:,} images of {size} take {megabytes(count * body)} of memory, which this process cannot have; "
            'open the cache with access="pread"'
        ) from exc
