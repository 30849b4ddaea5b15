"""Pixels from a cache: verified records of a stored level."""

import hashlib
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from resload.readers.base import facts_at, source_facts
from resload.size import Size, SizeLike
from resload.store.cache import Cache
from resload.store.gather import Slot

_TASK_BYTES = 8 << 20
"""Some milliseconds of work: much more than it costs to hand a task to a thread and to hear that it is done."""


class CacheReader:
    """Serves a cache's stored sizes. Thread-safe."""

    def __init__(self, cache: Cache) -> None:
        self.cache = cache
        self.targets = cache.targets
        self.dtype: np.dtype[Any] = cache.dtype
        self._facts: dict[Size, NDArray[np.float32]] = {}

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
        """Levels held in memory need no thread; larger records a task of a few megabytes."""
        return 0 if self.cache.holds(size) else max(1, _TASK_BYTES // (size.pixels * self.dtype.itemsize))

    def fill(self, slot: Slot, rows: NDArray[np.int64], size: Size, start: int) -> None:
        """Read and verify."""
        self.cache.fill(slot, rows, size, start)

    def facts(self, rows: NDArray[np.int64], size: Size) -> NDArray[np.float32]:
        """From the cache's table."""
        if size not in self._facts:
            with np.errstate(divide="ignore", invalid="ignore"):  # quarantined films have no height and width
                self._facts[size] = facts_at(source_facts(self.cache.table), size)
        return self._facts[size].take(rows, axis=0)

    def stats(self, size: Size, rows: NDArray[np.int64]) -> tuple[float, float]:
        """From the cache's integer sums."""
        return self.cache.stats(size, rows)

    def digest(self) -> str:
        """Of the ids in row order."""
        return ids_digest(self.table)


def ids_digest(table: pd.DataFrame) -> str:
    """16 hex digits of a table's ids in their order."""
    return hashlib.sha256("\n".join(table["id"].tolist()).encode()).hexdigest()[:16]
