"""Pixels from a cache: verified records of a stored level, or another size made from them."""

from collections.abc import Callable, Iterable, Sequence
from contextlib import AbstractContextManager
from typing import Any

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray

from resload.samplers.columns import ids_digest
from resload.size import Native, Size, SizeLike, Spacing
from resload.store.cache import Cache
from resload.store.slot import Slot
from resload.store.whole import Sweep

_TASK_BYTES = 8 << 20
"""Some milliseconds of work: much more than it costs to hand a task to a thread and to hear that it is done."""
_RESIZED_TASK_BYTES = 2 << 20
"""Of a level that is resized: a millisecond or two."""
_KEPT = 16
"""Sizes whose facts are kept for all rows."""


class CacheReader:
    """Serves any size from a cache; larger ones than it holds only with `allow_upsample`. Thread-safe."""

    def __init__(self, cache: Cache, *, allow_upsample: bool = False) -> None:
        self.cache = cache
        self.targets = cache.targets
        self.pipeline = cache.pipeline
        self.dtype: np.dtype[Any] = cache.dtype
        self._allow_upsample = allow_upsample
        self._facts: dict[Size, NDArray[np.float32]] = {}
        self._masks_known: NDArray[np.bool_] | None = None

    def __getstate__(self) -> dict[str, Any]:
        return self.__dict__ | {"_facts": {}, "_masks_known": None}  # made again where they are needed

    @property
    def table(self) -> pd.DataFrame:
        """The cache's table."""
        return self.cache.table

    def __len__(self) -> int:
        return len(self.cache)

    def rows(self, *, split: str | None = None, where: object = None) -> NDArray[np.int64]:
        """Readable rows of a split or condition."""
        return self.cache.rows(split=split, where=where)

    def checked_size(self, size: SizeLike | Spacing) -> Size:
        """The size, when the cache can serve it; else SizeError."""
        return self.cache.serving(size, allow_upsample=self._allow_upsample).size

    def served(self, size: Size) -> tuple[Size | None, float]:
        """The level that serves a size, and the expected rmse."""
        found = self.cache.serving(size, allow_upsample=self._allow_upsample)
        return found.level, found.rmse

    @property
    def boxes(self) -> pd.DataFrame | None:
        """The cache's boxes."""
        return self.cache.boxes

    def native_size(self, rows: NDArray[np.int64]) -> Native:
        """From the cache's table."""
        return self.cache.native_size(rows)

    @property
    def mask_names(self) -> tuple[str, ...]:
        """The cache's."""
        return self.cache.masks

    def masks(
        self, rows: NDArray[np.int64], size: Size, *, nearest: bool = False
    ) -> tuple[NDArray[np.uint8], NDArray[np.bool_]]:
        """From the stored coverage."""
        return self.cache.fill_masks(rows, size, nearest=nearest), self._looked_for()[rows]

    def _looked_for(self) -> NDArray[np.bool_]:
        if self._masks_known is None:  # no cached_property, whose lock of Python 3.11 a forked process may find locked
            self._masks_known = self.cache.masks_known(np.arange(len(self)))
        return self._masks_known

    def grain(self, size: Size) -> int:
        """A few megabytes of a stored level."""
        level = self.cache.serving(size, allow_upsample=self._allow_upsample).level
        if isinstance(level, Native):
            return 1  # each is decompressed
        task = _TASK_BYTES if level == size else _RESIZED_TASK_BYTES
        return max(1, task // (level.pixels * self.dtype.itemsize))

    def ahead(self, rows: NDArray[np.int64], size: Size) -> int:
        """See `Cache.ahead`."""
        return self.cache.ahead(rows, size, allow_upsample=self._allow_upsample)

    def sweep(self, rows: NDArray[np.int64], sizes: Sequence[Size]) -> Sweep | None:
        """See `Cache.sweep`."""
        return self.cache.sweep(rows, sizes, allow_upsample=self._allow_upsample)

    def expecting(
        self, steps: Iterable[tuple[NDArray[np.int64], Sequence[Size]]]
    ) -> AbstractContextManager[Callable[[int], None]] | None:
        """See `Cache.expecting`."""
        return self.cache.expecting(steps, allow_upsample=self._allow_upsample)

    def fill(self, slot: Slot, rows: NDArray[np.int64], size: Size, start: int) -> None:
        """Read and verify; resize where the size is not stored."""
        self.cache.fill(slot, rows, size, start, allow_upsample=self._allow_upsample)

    def before_resize(self, size: Size) -> Size:
        """The level that a device should be sent to make this size there; the size itself where none is needed."""
        level = self.cache.serving(size, allow_upsample=self._allow_upsample).level
        return size if isinstance(level, Native) else level

    def resize_on_device(self, images: torch.Tensor, rows: NDArray[np.int64], level: Size, size: Size) -> torch.Tensor:
        """Levels on a device -> another size there; see `Cache.resize_on_device`."""
        return self.cache.resize_on_device(images, rows, level, size)

    def facts(self, rows: NDArray[np.int64], size: Size) -> NDArray[np.float32]:
        """From the cache's table."""
        if size not in self._facts:
            if len(self._facts) >= _KEPT:
                return self.cache.facts(rows, size)
            self._facts[size] = self.cache.facts(np.arange(len(self)), size)
        return self._facts[size].take(rows, axis=0)

    def stats(self, size: Size, rows: NDArray[np.int64]) -> tuple[float, float]:
        """From the cache's integer sums."""
        return self.cache.stats(size, rows)

    def digest(self) -> str:
        """Of the ids in row order."""
        return ids_digest(self.table["id"])
