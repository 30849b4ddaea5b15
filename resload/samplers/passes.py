"""Passes over the rows, as an order gives them, dealt out into lanes: who may share a step.

    pass 0    3 1 4 0 5 2        lanes of buckets a, b    3 4 5 | 1 0 2
    pass 1    5 0 1 2 4 3                                 5 1 3 | 0 2 4

One lane, where there are no buckets; with `together`, so many passes of the order at once, a lane each.
"""

import numpy as np
from numpy.typing import NDArray

from resload.errors import ArgumentError
from resload.samplers.orders import Order

Units = NDArray[np.int64]
"""(u, stride) positions; -1 where a unit lacks one."""
_KEPT = 3


class Passes:
    """The passes of an order over n rows.

    buckets: (n,) codes from 0 of the rows that may share a step. together: how many of the order's passes are one here,
    each a lane; 0 for one that is dealt out by buckets.
    """

    def __init__(
        self, order: Order, n: int, *, seed: int, buckets: NDArray[np.int64] | None, together: int = 0
    ) -> None:
        self._order, self._n, self._seed, self._buckets, self._together = order, n, seed, buckets, together
        self._steady = buckets is None or bool(getattr(order, "whole", False))
        self._kept: dict[int, list[Units]] = {}
        self._counts: list[NDArray[np.int64]] = []

    def lanes(self, number: int) -> list[Units]:
        """The units of each lane in one pass, in their order; the last few passes are kept, for streams that look at
        one several times. Raises ArgumentError for an order that gives no positions.
        """
        if hasattr(self._order, "state_dict"):
            return self._dealt(number)  # what it gives may change
        if number not in self._kept:
            while len(self._kept) >= _KEPT:
                self._kept.pop(next(iter(self._kept)))
            self._kept[number] = self._dealt(number)
        return self._kept[number]

    def counts(self, number: int) -> NDArray[np.int64]:
        """How many units each lane has in a pass: always the same where each row comes once, or there is one lane."""
        count = getattr(self._order, "count", None)
        if self._buckets is None and isinstance(count, int):
            return np.full(max(1, self._together), count, np.int64)
        if self._steady:
            number = 0
        while len(self._counts) <= number:
            self._counts.append(np.array([len(units) for units in self.lanes(len(self._counts))], np.int64))
        return self._counts[number]

    def found(self, lane: int, unit: int) -> tuple[int, int]:
        """Where in an endless lane a unit is: (pass, place in it)."""
        if self._steady:
            return divmod(unit, int(self.counts(0)[lane]))
        number = 0
        while unit >= (count := int(self.counts(number)[lane])):
            number, unit = number + 1, unit - count
        return number, unit

    def places(self, number: int) -> list[NDArray[np.int64]]:
        """For each bucket: where its units stand in a pass."""
        return self._by_bucket(self._positions(number))

    def _dealt(self, number: int) -> list[Units]:
        if self._together:
            return [self._positions(number * self._together + lane) for lane in range(self._together)]
        units = self._positions(number)
        return [units] if self._buckets is None else [units[places] for places in self._by_bucket(units)]

    def _by_bucket(self, units: Units) -> list[NDArray[np.int64]]:
        """A unit is of the bucket of its first row."""
        assert self._buckets is not None
        first = np.take_along_axis(units, np.argmax(units >= 0, axis=1)[:, None], axis=1)[:, 0]
        codes = self._buckets[first]
        bounds = np.cumsum(np.bincount(codes, minlength=int(self._buckets.max()) + 1))[:-1]
        return np.split(np.argsort(codes, kind="stable"), bounds)

    def _positions(self, epoch: int) -> Units:
        """The order's units of an epoch, checked."""
        found = np.asarray(self._order.positions(self._n, seed=self._seed, epoch=epoch))
        name, least = type(self._order).__name__, 0 if found.ndim == 1 else -1
        if found.ndim not in (1, 2) or (found.size and found.dtype.kind not in "iu"):
            raise ArgumentError(f"{name}.positions must give int64 (m,) or (m, k); found {found.dtype} {found.shape}")
        if found.size and not (found.min() >= least and found.max() < self._n):
            raise ArgumentError(
                f"{name}.positions must give positions 0 .. {self._n - 1}, not row numbers; "
                f"found {found.min()} .. {found.max()}"
            )
        return found.astype(np.int64, copy=False).reshape(len(found), 1 if found.ndim == 1 else found.shape[1])
