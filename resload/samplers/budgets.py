"""Budgets: how many images a step holds, counted over all processes together."""

from dataclasses import dataclass

from resload.errors import ArgumentError
from resload.size import Size


@dataclass(frozen=True)
class Images:
    """A fixed number of images, whatever their size."""

    count: int

    def __post_init__(self) -> None:
        if isinstance(self.count, bool) or not isinstance(self.count, int) or self.count < 1:
            raise ArgumentError(f"a batch needs an int >= 1 of images; found {self.count!r}")

    def __call__(self, size: Size) -> int:
        """How many images of this size make a step."""
        return self.count
