"""Budgets: how many images a step holds, counted over all processes together.

Images    a number of images, at any size
Pixels    as many as have a number of pixels together
Tokens    as many as have a number of patches together

A budget is a callable of the size. Those here also say `reference`, the number that a learning rate is set for
(`Batch.n_ref`), and what several sizes of one image cost together (`at_once`).
"""

import math
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Protocol

from resload.errors import ArgumentError
from resload.size import Native, Size, SizeLike, as_size


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


@dataclass(frozen=True, init=False)
class Pixels:
    """Constant pixels: `count` images at size `at`, over all processes, and as many of another size as cost as much.

        Pixels(256, at=512)                256 at 512 x 512, 1,024 at 256 x 256, 113 at 768 x 768
        Pixels(256, at=512, power=1.5)     2,048 at 256 x 256, 75 at 768 x 768

    An image costs its pixels to the power of `power`. 1 keeps a convolutional network's work and memory constant: the
    rule of multigrid training (arXiv 1912.00998) and of MobileViT's sampler (arXiv 2110.02178), there rounded to the
    nearest number and here down, so that no step exceeds the budget. The attention of a vision transformer grows faster
    than its pixels, up to their square: measure the power, or give a table of your own, `{...}.__getitem__`.

    Where an image comes at several sizes at once (`Scales`), it costs the sum of theirs. Whole powers are computed in
    whole numbers.

    Raises ArgumentError for a count or a power that is none, and for "native", at which films differ in pixels.
    """

    count: int
    at: Size
    power: float

    def __init__(self, count: int, at: SizeLike, power: float = 1.0) -> None:
        if isinstance(power, bool) or not isinstance(power, int | float) or not 0 < power < math.inf:
            raise ArgumentError(f"the power of Pixels must be a number > 0; found {power!r}")
        for name, value in (("count", _count(count)), ("at", _counted(at, "Pixels")), ("power", float(power))):
            object.__setattr__(self, name, value)

    def __call__(self, size: Size) -> int:
        """How many images of this size make a step: 0 when one costs more than the budget."""
        return self.at_once((size,))

    def at_once(self, scales: Iterable[Size]) -> int:
        """How many images make a step when each comes at all of these sizes."""
        pixels = [_counted(size, "Pixels").pixels for size in scales]
        if self.power.is_integer():
            whole = int(self.power)
            return int(self.count * self.at.pixels**whole // sum(one**whole for one in pixels))
        share = self.count / sum(math.pow(one / self.at.pixels, self.power) for one in pixels)
        return math.floor(share * (1 + 1e-12))  # what is whole but for rounding counts as whole

    @property
    def reference(self) -> int:
        """The count."""
        return self.count


@dataclass(frozen=True, init=False)
class Tokens:
    """Constant tokens of a vision transformer: as many as `count` images have at size `at`, over all processes.

        Tokens(256, at=224)                256 of 14 x 14 patches: 50,176 tokens, 87 images at 384 x 384
        Tokens(64, at=518, patch=14)

    An image has a token for each patch, a started patch counting as one; class and register tokens are few, and not
    counted. As NaViT and FlexiViT count sequences (arXiv 2307.06304, 2212.08013). Several sizes at once (`Scales`) have
    the tokens of all together.

    Raises ArgumentError for a count or a patch that is none, and for "native", at which films differ in patches.
    """

    count: int
    at: Size
    patch: Size

    def __init__(self, count: int, at: SizeLike, patch: SizeLike = 16) -> None:
        for name, value in (("count", _count(count)), ("at", _counted(at, "Tokens")), ("patch", as_size(patch))):
            object.__setattr__(self, name, value)

    def of(self, size: SizeLike) -> int:
        """How many patches an image of this size has."""
        sides = zip(_counted(size, "Tokens"), self.patch, strict=True)
        return math.prod(-(-side // patch) for side, patch in sides)

    def __call__(self, size: Size) -> int:
        """How many images of this size make a step: 0 when one has more tokens than the budget."""
        return self.at_once((size,))

    def at_once(self, scales: Iterable[Size]) -> int:
        """How many images make a step when each comes at all of these sizes."""
        return self.count * self.of(self.at) // sum(self.of(size) for size in scales)

    @property
    def reference(self) -> int:
        """The count."""
        return self.count


def _counted(size: SizeLike, by: str) -> Size:
    found = as_size(size)
    if isinstance(found, Native):
        raise ArgumentError(
            f"{by} needs a size in pixels, and at native size films differ: count them, budget=Images(...), or give a "
            "size"
        )
    return found
