"""A place for records: one buffer of images, and the views that reading into it needs."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from resload.store import bulk


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
        self.flat = flat
        self.bytes = out.view(np.uint8).reshape(count, body)
        self.sums = np.zeros(count, "<u4")
        self._pairs: list[tuple[memoryview, memoryview]] | None = None
        self.buffers = bulk.Buffers(self.bytes, self.sums)

    @property
    def pairs(self) -> list[tuple[memoryview, memoryview]]:
        """Where the pixels and the sum of each record go, for reading one after another; made once."""
        if self._pairs is None:
            places, body, sums = range(len(self.out)), self.body, self.sums.data.cast("B")
            self._pairs = [(self.flat[i * body : (i + 1) * body], sums[i * 4 : i * 4 + 4]) for i in places]
        return self._pairs
