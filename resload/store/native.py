"""Reading arrays of compressed records: films at their own size, and masks."""

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from resload import forks
from resload.errors import CorruptCacheError
from resload.size import Size
from resload.store.arrays import packed_shard
from resload.store.descriptors import OpenFiles, opened
from resload.store.opened import AGAIN, Shards
from resload.store.packed import PackedShard
from resload.store.remote import Location


class Packed:
    """One array's records, read, verified and decoded. Thread-safe.

    crcs: the checksums that the table of samples remembers, uint32 (N,).
    """

    def __init__(self, shards: Shards, size: Size, crcs: NDArray[np.uint32]) -> None:
        self._shards, self._manifest, self._size, self._crcs = shards, shards.manifest, size, crcs
        self._kept: OpenFiles[int, PackedShard] = OpenFiles()
        self._lock = forks.lock()

    def read(self, row: int, *, height: int | None = None, out: NDArray[Any] | None = None) -> NDArray[Any]:
        """One record, (H, W) or (K, H, W), or its first `height` rows; into `out`, or a new array.

        Raises CorruptCacheError.
        """
        for _ in range(AGAIN):
            try:
                return self._read(row, height, out)
            except CorruptCacheError:
                group = row // self._manifest.per_shard
                if not self._shards.renewed(self._size, [group]):
                    raise
                self._kept.files.pop(group, None)
        return self._read(row, height, out)

    def _read(self, row: int, height: int | None, out: NDArray[Any] | None) -> NDArray[Any]:
        shard, k = self._at(row)
        return shard.read(k, int(self._crcs[row]), rows=height, out=out)

    def compressed(self, row: int) -> bytes:
        """One record's compressed bytes, verified."""
        shard, k = self._at(row)
        return shard.compressed(k, int(self._crcs[row]))

    def let_go(self) -> None:
        """As `Shards.let_go`."""
        for group, shard in list(self._kept.files.items()):
            if isinstance(shard.path, Path) and not shard.path.exists():
                self._kept.files.pop(group, None)

    def close(self) -> None:
        """Let go of open files; the next read opens them again."""
        self._kept.clear()

    def _at(self, row: int) -> tuple[PackedShard, int]:
        group, k = divmod(row, self._manifest.per_shard)
        shard = self._kept.files.get(group)
        if shard is None:
            place = self._shards.place(self._size, group)
            shard = opened(lambda: self._shard(place, group), patient=True)
        return shard, k

    def _shard(self, place: Location, group: int) -> PackedShard:
        at = place if isinstance(place, Path) else None
        with self._lock:
            shard = self._kept.files.get(group)
            if shard is None:
                shard = packed_shard(self._shards.cache, self._manifest, self._size, group, at=at)
                self._kept.add(group, shard)
            return shard
