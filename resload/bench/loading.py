"""The loader as it would be used, the model on one batch, and both in one loop."""

from collections.abc import Callable
from functools import cached_property
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from resload.batch import Batch
from resload.bench.clock import Rate, alone, of_stream
from resload.bench.settings import Settings
from resload.bench.stages import settle
from resload.catalog import Catalog
from resload.loader import Loader
from resload.pipeline import Pipeline
from resload.size import Size
from resload.store.cache import Cache

PREFETCH = 2
"""As the loader has it by default."""
_PASS = 1 << 17
"""Images of a pass, the sample over and over: a pass should outlast the clock."""


class Loading:
    """One loader over a sample, made anew for each number of threads."""

    def __init__(
        self,
        data: Cache | Catalog,
        rows: NDArray[np.int64],
        size: Size,
        batch: int,
        settings: Settings,
        pipeline: Pipeline | None = None,
    ) -> None:
        self._data, self._size, self._settings, self._pipeline = data, size, settings, pipeline
        self.batch = batch
        count = max(batch * 64, _PASS if isinstance(data, Cache) else 1)
        self._rows = np.resize(rows, count)
        self._device = torch.device(settings.device)

    def _loader(self, threads: int) -> Loader:
        return Loader(
            self._data,
            rows=self._rows,
            size=self._size,
            batch_size=self.batch,
            threads=threads,
            prefetch=PREFETCH,
            pipeline=self._pipeline,
            **self._settings.loader(),
        )

    def rate(self, threads: int, step: Callable[[Batch], Any] | None = None) -> Rate:
        """Images/s of iterating, with the model's step on each batch where there is one."""

        def done(batch: Batch) -> int:
            if step is not None:
                step(batch)
            settle(self._device)
            return len(batch)

        with self._loader(threads) as loader:
            return of_stream(lambda: loader, done, self._settings.seconds, skip=PREFETCH + 2)

    @cached_property
    def held(self) -> Batch:
        """One batch."""
        with self._loader(self._settings.workers) as loader:
            return next(iter(loader))

    def model(self, step: Callable[[Batch], Any]) -> Rate:
        """Images/s of the model's step on one batch, again and again, on this thread."""
        batch = self.held

        def once() -> int:
            step(batch)
            settle(self._device)
            return len(batch)

        return alone(once, self._settings.seconds)
