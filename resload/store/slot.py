"""A place for records: one buffer of images, and the views that reading into it needs."""

from functools import cached_property
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
        self.buffers = bulk.Buffers(self.bytes, self.sums)

    @cached_property
    def pairs(self) -> list[tuple[memoryview, memoryview]]:
        """Where the pixels and the sum of each record go, for reading one after another."""
        sums = self.sums.data.cast("B")
        return [(self.flat[i * self.body : (i + 1) * self.body], sums[i * 4 : i * 4 + 4]) for i in range(len(self.out))]
