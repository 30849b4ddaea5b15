"""Orders: which rows an epoch visits, one after another. Stateless; randomness is a function of (seed, epoch)."""

from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from resload import seeds


class Order(Protocol):
    """What a sampler asks of an order. A user's own class needs this one method and a repr that states it."""

    def positions(self, n: int, *, seed: int, epoch: int) -> NDArray[np.int64]:
        """Positions 0 .. n-1 in the order of this epoch, int64."""
        ...


@dataclass(frozen=True)
class Sequential:
    """Every row once, in the order given; the same in every epoch."""

    def positions(self, n: int, *, seed: int, epoch: int) -> NDArray[np.int64]:
        """0, 1, ... n-1."""
        return np.arange(n, dtype=np.int64)


@dataclass(frozen=True)
class Shuffle:
    """Every row once, in an order drawn anew for each epoch."""

    def positions(self, n: int, *, seed: int, epoch: int) -> NDArray[np.int64]:
        """A full permutation keyed by (seed, epoch)."""
        return seeds.permutation(n, seed, epoch, "order")
