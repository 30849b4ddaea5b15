"""Sizes: at which resolution a step is served."""

from dataclasses import dataclass
from typing import Protocol

from resload.size import Size, as_size


class Sizes(Protocol):
    """What a sampler asks of a size rule."""

    def at(self, step: int, *, epoch: int) -> Size:
        """The size of this step of this epoch."""
        ...


@dataclass(frozen=True)
class Fixed:
    """One size throughout: an int, or (height, width)."""

    size: Size

    def __post_init__(self) -> None:
        object.__setattr__(self, "size", as_size(self.size))

    def at(self, step: int, *, epoch: int) -> Size:
        """Always the same."""
        return self.size
