"""Pixels from a cache: verified records of a stored level."""

import hashlib
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from resload.readers.base import Facts, facts_of
from resload.size import Size, SizeLike
from resload.store.cache import Cache
from resload.store.gather import HELD_RECORD_BYTES, Slot

_TASK_BYTES = 512 << 10
"""About one core's second-level cache: a task's records are summed and converted while they are in it."""


class CacheReader:
    """Serves a cache's stored sizes. Thread-safe."""

    def __init__(self, cache: Cache) -> None:
        self.cache = cache
        self.targets = cache.targets
        self.dtype: np.dtype[Any] = cache.dtype
        self._facts = facts_of(cache.table, np.arange(len(cache)))

    @property
    def table(self) -> pd.DataFrame:
        """The cache's table."""
        return self.cache.table

    def __len__(self) -> int:
        return len(self.cache)

    def rows(self, *, split: str | None = None, where: object = None) -> NDArray[np.int64]:
        """Readable rows of a split or condition."""
        return self.cache.rows(split=split, where=where)

    def checked_size(self, size: SizeLike) -> Size:
        """A stored size; else SizeError."""
        return self.cache.stored_size(size)

    def grain(self, size: Size) -> int:
        """Small records by the batch (threads would only wait for each other), larger ones half a megabyte a task."""
        record = size.pixels * self.dtype.itemsize
        return 1 << 30 if record <= HELD_RECORD_BYTES else max(1, _TASK_BYTES // record)

    def fill(self, slot: Slot, rows: NDArray[np.int64], size: Size, start: int) -> None:
        """Read and verify."""
        self.cache.fill(slot, rows, size, start)

    def facts(self, rows: NDArray[np.int64]) -> Facts:
        """From the cache's table."""
        return Facts(*(part[rows] for part in self._facts))

    def stats(self, size: Size, rows: NDArray[np.int64]) -> tuple[float, float]:
        """From the cache's integer sums."""
        return self.cache.stats(size, rows)

    def digest(self) -> str:
        """Of the ids in row order."""
        return ids_digest(self.table)


def ids_digest(table: pd.DataFrame) -> str:
    """16 hex digits of a table's ids in their order."""
    return hashlib.sha256("\n".join(table["id"].tolist()).encode()).hexdigest()[:16]
