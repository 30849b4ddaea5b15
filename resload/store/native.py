"""Reading arrays of compressed records: films at their own size, and masks."""

import threading
from collections import OrderedDict
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from resload.errors import CorruptCacheError
from resload.size import Size
from resload.store.arrays import packed_shard
from resload.store.opened import AGAIN, Shards
from resload.store.packed import PackedShard

_OPEN_SHARDS = 64
"""Descriptors kept open per array."""


class Packed:
    """One array's records, read, verified and decoded. Thread-safe.

    crcs: the checksums that the table of samples remembers, uint32 (N,).
    """

    def __init__(self, shards: Shards, size: Size, crcs: NDArray[np.uint32]) -> None:
        self._shards, self._manifest, self._size, self._crcs = shards, shards.manifest, size, crcs
        self._opened: OrderedDict[int, PackedShard] = OrderedDict()
        self._lock = threading.Lock()

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
                with self._lock:
                    self._opened.pop(group, None)
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
        with self._lock:
            for group in [one for one, shard in self._opened.items() if not Path(str(shard.path)).exists()]:
                del self._opened[group]

    def close(self) -> None:
        """Let go of open files; the next read opens them again."""
        with self._lock:
            self._opened.clear()

    def _at(self, row: int) -> tuple[PackedShard, int]:
        group, k = divmod(row, self._manifest.per_shard)
        shard = self._opened.get(group)
        if shard is None:
            place = self._shards.place(self._size, group)
            at = place if isinstance(place, Path) else None
            with self._lock:
                shard = self._opened.get(group) or packed_shard(
                    self._shards.cache, self._manifest, self._size, group, at=at
                )
                self._opened[group] = shard
                while len(self._opened) > _OPEN_SHARDS:
                    self._opened.popitem(last=False)
        return shard, k
