"""Sizes: at which resolution a step is served."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from resload.errors import ArgumentError, SizeError
from resload.size import Size, SizeLike, as_size


class Sizes(Protocol):
    """What a sampler asks of a size rule. A user's own class needs this one method, and gives any size."""

    def at(self, step: int, *, epoch: int) -> SizeLike:
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


SHARES_OF = ("images", "steps", "pixels")


class Mix:
    """Several sizes in every epoch, each step at one of them, in an order drawn anew for each epoch.

        Mix((256, 384, 512))                          as many images at each
        Mix({256: 3, 512: 1}, share_of="steps")       three steps in four at 256

    An epoch has each size exactly as often as its share says, to a step. Under constant pixels a step of a small size
    holds many images: shares of "steps" then show the model far more images at small sizes than at large ones.

    Raises SizeError for fewer than one size or one twice, ArgumentError for shares that are not positive.
    """

    def __init__(self, sizes: Mapping[Any, float] | Sequence[Any], *, share_of: str = "images") -> None:
        shares = dict(sizes) if isinstance(sizes, Mapping) else dict.fromkeys(_once(sizes), 1.0)
        self.sizes = _once([*shares])
        self.shares = tuple(float(share) for share in shares.values())
        self.share_of = share_of
        if share_of not in SHARES_OF:
            raise ArgumentError(f"share_of must be one of {', '.join(SHARES_OF)}; found {share_of!r}")
        if not all(0 < share < float("inf") for share in self.shares):
            raise ArgumentError(f"Mix needs positive shares; found {shares!r}")

    def __repr__(self) -> str:
        shares = ", ".join(f"{str(size)!r}: {share:g}" for size, share in zip(self.sizes, self.shares, strict=True))
        return f"Mix({{{shares}}}, share_of={self.share_of!r})"

    def at(self, step: int, *, epoch: int) -> Size:
        """The first size, which stands for the mix where one is needed; the plan draws the others."""
        return self.sizes[0]

    def ratios(self, counts: Sequence[int]) -> list[float]:
        """How often a step has each size, relative to each other, where a step of each holds so many images."""
        images = [1.0] * len(counts) if self.share_of == "steps" else [float(count) for count in counts]
        pixels = [size.pixels if self.share_of == "pixels" else 1 for size in self.sizes]
        return [share / (n * px) for share, n, px in zip(self.shares, images, pixels, strict=True)]


def _once(sizes: Sequence[Any]) -> tuple[Size, ...]:
    found = tuple(as_size(size) for size in sizes)
    if not found or len(set(found)) < len(found):
        raise SizeError(f"different sizes are needed, for example (256, 512); found {sizes!r}")
    return found


def of_epoch(sizes: Sizes, epoch: int) -> tuple[Sizes, int]:
    """The rule that holds in an epoch, and the epoch as it counts: rules that change with epochs have `of_epoch`."""
    while hasattr(sizes, "of_epoch"):
        sizes, epoch = sizes.of_epoch(epoch)
    return sizes, epoch


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
