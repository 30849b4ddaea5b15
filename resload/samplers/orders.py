"""Orders: which rows an epoch visits, one after another. Stateless; randomness is a function of (seed, epoch).

An order gives positions: 0 is the first of the rows that the sampler visits, whatever their row numbers. What it needs
to know of them it takes from the data when the sampler is made (`bind`), so that a plan is arithmetic on arrays.
"""

from dataclasses import dataclass
from typing import Any, Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from resload import seeds
from resload.errors import ArgumentError
from resload.samplers.columns import Columns


class Order(Protocol):
    """What a sampler asks of an order. A user's own class needs this one method.

    It may have more: `bind(columns) -> Order`, called once with the data's `Columns`, gives the order that is used;
    `whole = True` promises every position once an epoch; `fingerprint()` says what the order depends on, where its
    attributes do not; `count` is how many rows, or units, every epoch has, where that is known without drawing one;
    `state_dict()` and `load_state_dict(state)` hold what no seed tells.
    """

    def positions(self, n: int, *, seed: int, epoch: int) -> NDArray[np.int64]:
        """Positions 0 .. n-1 in the order of this epoch, int64 (m,), as many in every epoch.

        Or (m, k): k rows that belong together, which no batch and no process divides; -1 where one is missing.
        """
        ...


@runtime_checkable
class Bindable(Protocol):
    """An order, or a size rule, that asks something of the data."""

    def bind(self, columns: Columns) -> Any:
        """The order or rule for these rows."""
        ...


def bound(part: Any, columns: Columns) -> Any:
    """An order or size rule, once it knows its data."""
    return part.bind(columns) if isinstance(part, Bindable) else part


@dataclass(frozen=True)
class Sequential:
    """Every row once, in the order given; the same in every epoch."""

    whole = True
    stride = 1

    def positions(self, n: int, *, seed: int, epoch: int) -> NDArray[np.int64]:
        """0, 1, ... n-1."""
        return np.arange(n, dtype=np.int64)


@dataclass(frozen=True)
class Shuffle:
    """Every row once, in an order drawn anew for each epoch."""

    whole = True
    stride = 1

    def positions(self, n: int, *, seed: int, epoch: int) -> NDArray[np.int64]:
        """A full permutation keyed by (seed, epoch)."""
        return seeds.permutation(n, seed, epoch, "order")


@dataclass(frozen=True)
class BlockShuffle:
    """Every row once, shuffled so that reads stay near each other: blocks are drawn, and rows shuffled among a few.

    Blocks are runs of neighbouring rows. They are shuffled, taken `mix` at a time, and the rows of those shuffled
    among themselves: a step reads from `mix` places instead of everywhere. On a cache, whose records are stored in a
    shuffled order, batches are as mixed as under `Shuffle`; on data that is sorted by patient they are not.
    """

    block: int = 256
    """Rows in a block."""
    mix: int = 16
    """Blocks whose rows are shuffled together."""

    whole = True
    stride = 1

    def __post_init__(self) -> None:
        for name, value in (("block", self.block), ("mix", self.mix)):
            if isinstance(value, bool) or not isinstance(value, int) or value < 1:
                raise ArgumentError(f"BlockShuffle needs {name} as an int >= 1; found {value!r}")

    def positions(self, n: int, *, seed: int, epoch: int) -> NDArray[np.int64]:
        """Blocks in a new order, their rows shuffled within every `mix` of them."""
        rng = seeds.generator(seed, epoch, "order")
        starts = rng.permutation(-(-n // self.block)) * self.block
        visited = (starts[:, None] + np.arange(self.block)).ravel()
        visited = visited[visited < n]  # the last block may be short, and stands anywhere
        together = self.block * self.mix
        for start in range(0, n, together):
            rng.shuffle(visited[start : start + together])
        return visited
