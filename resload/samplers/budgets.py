"""Budgets: how many images a step holds, counted over all processes together.

A budget is a callable of the size. Those here also say `reference`, the number that a learning rate is set for
(`Batch.n_ref`), and what several sizes of one image cost together (`at_once`).
"""

from dataclasses import dataclass
from typing import Any, Protocol

from resload.errors import ArgumentError
from resload.size import Size


class Budget(Protocol):
    """What a sampler asks of a budget: any function of the size will do."""

    def __call__(self, size: Size, /) -> int:
        """How many images of this size make a step, over all processes."""
        ...


def _count(value: Any, of: str = "a batch") -> int:
    if isinstance(value, bool) or not isinstance(value, int) or value < 1:
        raise ArgumentError(f"{of} needs an int >= 1 of images; found {value!r}")
    return value


@dataclass(frozen=True)
class Images:
    """A fixed number of images, whatever their size: over all processes, or with `per_process` on each of them.

    `Loader(batch_size=)` is per process, as in torch; a budget is global unless it says otherwise, so that a plan does
    not change with the number of processes.
    """

    count: int
    per_process: bool = False

    def __post_init__(self) -> None:
        _count(self.count)

    def __call__(self, size: Size) -> int:
        """How many images of this size make a step."""
        return self.count

    @property
    def reference(self) -> int:
        """The count."""
        return self.count
