"""Pixels from a cache that stay on a device: each record is read, verified and sent once, and gathered there.

What is kept of a size is what travels of it otherwise: the stored level where the device resizes or the size is stored,
else the size itself as tasks make it. The films' own sizes are not kept: they are compressed, and each of its own size.
"""

import logging
from collections.abc import Callable, Iterable, Sequence
from contextlib import AbstractContextManager

import numpy as np
import torch
from numpy.typing import NDArray

from resload.readers.cache import CacheReader
from resload.residence import Holds, Residence
from resload.scaling import FLOATS
from resload.size import Native, Size
from resload.store.cache import Cache
from resload.store.whole import Sweep

_log = logging.getLogger("resload")


class ResidentReader(CacheReader):
    """A CacheReader that knows which rows are on a device, and hears only of those that are not. Thread-safe.

    dtype: of the images that the loader makes. Of floats, sizes that are not stored are resized on the device.
    """

    def __init__(self, cache: Cache, device: torch.device, *, dtype: torch.dtype, allow_upsample: bool = False) -> None:
        super().__init__(cache, allow_upsample=allow_upsample)
        self.holds = Holds(cache.residences, device)
        """What `holds.release()` gives back; it is taken again at the next use of a size."""
        self._resized = dtype in FLOATS
        self._said = False
        self._whole: set[Size] = set()

    def residence(self, made: Size) -> Residence | None:
        """Where rows are kept of what tasks make; None for the films' own sizes, and where there is no room, of which
        one warning is logged.
        """
        if not isinstance(made, Native):
            return self.holds.take(made, self.served(made)[0])
        if not self._said:
            self._said = True
            _log.info("resident=True: films at their own size are not kept on the device; they travel with each batch")
        return None

    def missing(self, residence: Residence, rows: NDArray[np.int64]) -> NDArray[np.int64]:
        """Those of these rows that are not there, ascending, each once."""
        found: NDArray[np.int64] = np.unique(rows[residence.missing(self.cache.stored_rows(rows))])
        return found

    def ahead(self, rows: NDArray[np.int64], size: Size) -> int:
        """`CacheReader.ahead` of the rows that are not on the device; 0 where none of the epoch's is missing there."""
        residence = self._peek(size)
        if residence is None:
            return super().ahead(rows, size)
        missing = self.missing(residence, rows)
        if len(missing):
            return super().ahead(missing, size)
        return 0 if size in self._whole else len(rows) * size.pixels * self.dtype.itemsize

    def sweep(self, rows: NDArray[np.int64], sizes: Sequence[Size]) -> Sweep | None:
        """`CacheReader.sweep` of the rows that are not on the device."""
        found = {size: self._peek(size) for size in sizes}
        left = {size: rows if there is None else self.missing(there, rows) for size, there in found.items()}
        self._whole = {size for size, missing in left.items() if not len(missing)}
        wanted = [size for size in sizes if size not in self._whole]
        if not wanted:
            return None
        return super().sweep(np.unique(np.concatenate([left[size] for size in wanted])), wanted)

    def expecting(
        self, steps: Iterable[tuple[NDArray[np.int64], Sequence[Size]]]
    ) -> AbstractContextManager[Callable[[int], None]] | None:
        """`CacheReader.expecting` of the rows that are not on the device."""
        return super().expecting((self._left(rows, sizes), sizes) for rows, sizes in steps)

    def _left(self, rows: NDArray[np.int64], sizes: Sequence[Size]) -> NDArray[np.int64]:
        there = [self._peek(size) for size in sizes]
        left = [rows if one is None else self.missing(one, rows) for one in there]
        return np.unique(np.concatenate(left)) if left else rows

    def _peek(self, size: Size) -> Residence | None:
        """What is there of a size already, without asking for room."""
        if isinstance(size, Native):
            return None
        made = self.before_resize(size) if self._resized else size
        return self.holds.peek(made, self.served(made)[0])
