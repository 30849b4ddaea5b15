"""Sizes: at which resolution a step is served."""

from dataclasses import dataclass
from typing import Protocol

from resload.errors import SizeError
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


def scales_of(sizes: Sizes) -> tuple[Size, ...]:
    """The sizes that every batch carries at once; none where a batch has one."""
    return getattr(sizes, "scales", ())


class Scales:
    """Several sizes at once: every batch carries its radiographs at each of them (`Batch.scales`).

    The first is the size of the keys, of `Batch.images` and of what is said of them. Raises SizeError for no size, or
    one twice.
    """

    def __init__(self, *sizes: object) -> None:
        self.scales = tuple(as_size(size) for size in sizes)
        if not self.scales or len(set(self.scales)) < len(self.scales):
            raise SizeError(f"Scales needs different sizes, for example Scales(224, 512); found {sizes!r}")

    def __repr__(self) -> str:
        return f"Scales({', '.join(str(size) for size in self.scales)})"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Scales) and self.scales == other.scales

    def __hash__(self) -> int:
        return hash(self.scales)

    def at(self, step: int, *, epoch: int) -> Size:
        """Always the first."""
        return self.scales[0]
