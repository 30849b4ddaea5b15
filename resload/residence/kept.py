"""Pixels of rows on a device.

    missing    which of these rows are not there yet: they are read and sent as ever
    put        what arrived of them -> their places, on the caller's current stream
    take       rows, as they were put -> a new tensor, on the caller's current stream

One race more than those of `devices`: what one stream puts, another may take before it is there. A row is called
present once its putting is *queued*, and whoever takes on another stream waits for the mark (an event) of the last one
to put; each who puts waits for the one before, so that the last mark stands for all of them.
"""

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from resload import forks
from resload.residence.keepers import Keeper
from resload.size import Size

_WORDS: dict[int, torch.dtype] = {8: torch.int64, 4: torch.int32, 2: torch.int16, 1: torch.uint8}
"""What records are moved as, by bytes: the widest that divides them. (torch gathers no uint16.)"""
_PIXELS: dict[np.dtype[Any], torch.dtype] = {np.dtype(np.uint8): torch.uint8, np.dtype(np.uint16): torch.uint16}


class Residence:
    """Pixels of `count` rows on a device. Thread-safe. Raises torch's OutOfMemoryError where there is no room."""

    def __init__(self, keeper: Keeper, count: int, size: Size, dtype: np.dtype[Any]) -> None:
        self.holders = 0
        """How many hold it; for `Residences` alone."""
        self._keeper, self._size, self._dtype = keeper, size, _PIXELS[dtype]
        record = size.pixels * dtype.itemsize
        width = next(width for width in _WORDS if record % width == 0)
        self._word = _WORDS[width]
        with torch.inference_mode(False):  # memory of inference mode could not be put into outside of it
            self._kept: torch.Tensor | None = keeper.room((count, record // width), self._word)
        self._there = np.zeros(count, bool)
        self._mark: Any = None
        self._lock = forks.lock()

    def missing(self, rows: NDArray[np.int64]) -> NDArray[np.bool_]:
        """(n,) bool: which of these rows nobody has put here."""
        return ~self._there[rows]

    def put(self, rows: NDArray[np.int64], arrived: torch.Tensor) -> None:
        """Pixels (n, 1, H, W) of these rows, as they are stored and C-contiguous; copied.

        A row may be put again: with the same pixels, which take their own place.
        """
        words = arrived.reshape(len(rows), -1).view(self._word)
        with self._lock:
            self._wait()
            self._keeper.put(self._memory(), rows, words)
            self._mark = self._keeper.mark()
            self._there[rows] = True

    def take(self, rows: NDArray[np.int64]) -> torch.Tensor:
        """(n, 1, H, W) of these rows as they are stored, a new tensor; of rows that nobody put here, anything."""
        with self._lock:
            self._wait()
            words = self._keeper.take(self._memory(), rows)
        return words.view(self._dtype).view(len(rows), 1, *self._size)

    def _wait(self) -> None:
        """For all that was put here, where that was on another stream."""
        if self._mark is not None:
            self._keeper.after(self._mark)

    def _memory(self) -> torch.Tensor:
        assert self._kept is not None, "nobody holds it any more"
        return self._kept

    def close(self) -> None:
        """Give the memory back."""
        with self._lock:
            self._kept = self._mark = None
        self._keeper.give_back()
