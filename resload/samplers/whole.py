"""Plans where an order gives whole batches: each is a step, and only its size is decided here."""

from typing import Any

import numpy as np

from resload.errors import ArgumentError
from resload.samplers.foreign import Batch, Batches
from resload.samplers.plan import Epoch, Planner
from resload.samplers.sizes import Sizes
from resload.size import Size


class WholeCounting:
    """What `Counting` says, where batches come with their own lengths."""

    def __init__(self, longest: int) -> None:
        self.reference = longest
        """The longest batch of the first epoch: batches that are not full are the exception."""

    def units(self, size: Size) -> int:
        """A step is one batch, whatever its size."""
        return 1

    def fingerprint(self) -> str:
        """Lengths are part of the order's own."""
        return "whole batches"


class BatchPlanner(Planner):
    """Plans epochs of given batches. Sizes are shares of steps: a batch has its images whatever its size."""

    def __init__(self, order: Batches, sizes: Sizes, n: int, *, seed: int, tail: str, epoch_steps: int | None) -> None:
        super().__init__(order, sizes, _one, n, seed=seed, tail=tail, epoch_steps=epoch_steps, buckets=None)
        self._batches, self._read = order, dict[int, list[Batch]]()
        self._count = len(self._given(0))

    @property
    def counting(self) -> WholeCounting:
        """What a step holds."""
        return WholeCounting(max(map(len, self._given(0)), default=0))

    def steps(self, epoch: int = 0) -> int:
        """As many as there are batches, or as asked."""
        return self._count if self._epoch_steps is None else self._epoch_steps

    def epoch(self, epoch: int) -> Epoch:
        """An epoch's batches, or the next `epoch_steps` of endless passes. Raises ArgumentError as `Planner.epoch`."""
        steps = self.steps()
        numbers = range(epoch * steps, (epoch + 1) * steps)
        batches = [self._given(number // self._count)[number % self._count] for number in numbers]
        bounds = np.cumsum([0, *map(len, batches)])
        return Epoch(self._of_steps(epoch, steps), bounds, np.concatenate(batches)[:, None])

    def _given(self, number: int) -> list[Batch]:
        """The batches of one pass; those of the last one asked for are kept."""
        if number not in self._read:
            found = self._batches.batches(self._n, seed=self._seed, epoch=number)
            if number and len(found) != self._count:
                raise ArgumentError(
                    f"epoch {number} would have {len(found)} batches, epoch 0 has {self._count}: frameworks need one "
                    "length, so order= must give as many batches in every epoch (drop_last=True, for example)"
                )
            self._read = {number: found}
        return self._read[number]


def _one(_: Any) -> int:
    return 1


def refuse_beside_batches(sizes: Sizes, tail: str, **arguments: Any) -> None:
    """Raise ArgumentError for what a sampler cannot decide where batches are given whole."""
    given = [name for name, value in arguments.items() if value is not None]
    if given:
        raise ArgumentError(f"order= gives whole batches, which decide {', '.join(given)}: leave them out")
    if tail == "pad":
        raise ArgumentError(
            "order= gives whole batches, which tail='pad' cannot complete: take tail='exact', or 'drop' (each batch is "
            "served as it is)"
        )
    if getattr(sizes, "lanes", ()):
        raise ArgumentError(
            f"{type(sizes).__name__} makes batches of its own for each size, and order= gives whole batches: give "
            "order= positions instead"
        )
