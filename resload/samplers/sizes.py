"""Sizes: at which resolution a step is served.

Fixed      one size                         Mix      several in every epoch, by shares, in a drawn order
Cycle      several in turn                  Scales   several at once, of every image

Rules that change from epoch to epoch are in `schedules`, the table of sizes by target is in `per_target`.
"""

import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np

from resload.errors import ArgumentError, SizeError
from resload.size import Size, SizeLike, as_size


class Sizes(Protocol):
    """What a sampler asks of a size rule. A user's own class needs this one method, and gives any size.

    It may have more: `sizes`, all that it gives, so that one that cannot be served is refused before training begins;
    `of_epoch(epoch) -> (rule, epoch)`, the rule that holds in an epoch and the epoch as that one counts; `epochs`, how
    many epochs pass until it stays what it is, so that their lengths are checked beforehand; `period`, the sizes of
    steps that repeat; `scales`, the sizes of every image at once; `lanes`, sizes at each of which an epoch passes over
    all rows.
    """

    def at(self, step: int, *, epoch: int) -> SizeLike:
        """The size of this step of this epoch."""
        ...


@dataclass(frozen=True, init=False)
class Fixed:
    """One size throughout: an int, or (height, width)."""

    size: Size

    def __init__(self, size: SizeLike) -> None:
        object.__setattr__(self, "size", as_size(size))

    def at(self, step: int, *, epoch: int) -> Size:
        """Always the same."""
        return self.size

    @property
    def sizes(self) -> tuple[Size, ...]:
        """The one."""
        return (self.size,)

    period = sizes


@dataclass(frozen=True, init=False)
class Cycle:
    """Sizes in turn, each for `every` steps, from the first again in every epoch.

        Cycle(112, 158, 224)           multigrid's short cycle: three shapes, one after another
        Cycle(256, 512, every=10)      ten steps of each

    A size may come several times. Step k has size (k // every) modulo how many there are. The short cycle is that of
    Wu et al., A Multigrid Method for Efficiently Training Video Models, arXiv 1912.00998; its long cycle is `Stages` of
    cycles, and its constant number of voxels a budget of `Pixels`.

    Raises SizeError for no size, ArgumentError for an `every` that is no number of steps.
    """

    period: tuple[Size, ...]
    """The size of each step, until it begins again."""

    def __init__(self, *sizes: SizeLike, every: int = 1) -> None:
        if not sizes:
            raise SizeError("Cycle needs at least one size, for example Cycle(256, 512)")
        times = at_least(every, "every of a Cycle")
        object.__setattr__(self, "period", tuple(as_size(size) for size in sizes for _ in range(times)))

    def __repr__(self) -> str:
        return f"Cycle({', '.join(repr(str(size)) for size in self.period)})"

    def at(self, step: int, *, epoch: int) -> Size:
        """The size whose turn it is."""
        return self.period[step % len(self.period)]

    @property
    def sizes(self) -> tuple[Size, ...]:
        """Each once."""
        return tuple(dict.fromkeys(self.period))


SHARES_OF = ("images", "steps", "pixels")


class Mix:
    """Several sizes in every epoch, each step at one of them, in an order drawn anew for each epoch.

        Mix((256, 384, 512))                          as many images at each
        Mix({256: 3, 512: 1}, share_of="steps")       three steps in four at 256

        Mix(range(320, 641, 32), every=10)            ten steps of a size before another is drawn

    An epoch has each size exactly as often as its share says, to a step. Under constant pixels a step of a small size
    holds many images: shares of "steps" then show the model far more images at small sizes than at large ones. With
    `every`, steps of a size come in runs of so many; one run of each size in an epoch may be shorter.

    MobileViT's multi-scale sampler (Mehta and Rastegari, arXiv 2110.02178, `VariableBatchSampler` of ml-cvnets) is
    `Mix((160, 192, 256, 288, 320), share_of="steps")` with `Pixels(n, at=256)`; the new size every ten iterations of
    YOLOX and of mmdet's `BatchSyncRandomResize` is `every=10`. Theirs are drawn step by step, so that an epoch has as
    many of a size, and as many steps, as chance gives.

    Raises SizeError for fewer than one size or one twice, ArgumentError for shares that are not positive and an `every`
    that is no number of steps.
    """

    def __init__(self, sizes: Mapping[Any, float] | Sequence[Any], *, share_of: str = "images", every: int = 1) -> None:
        shares = dict(sizes) if isinstance(sizes, Mapping) else dict.fromkeys(_once(sizes), 1.0)
        self.sizes = _once([*shares])
        self.shares = tuple(float(share) for share in shares.values())
        self.share_of, self.every = share_of, at_least(every, "every of a Mix")
        if share_of not in SHARES_OF:
            raise ArgumentError(f"share_of must be one of {', '.join(SHARES_OF)}; found {share_of!r}")
        if not all(0 < share < float("inf") for share in self.shares):
            raise ArgumentError(f"Mix needs positive shares; found {shares!r}")

    def __repr__(self) -> str:
        shares = ", ".join(f"{str(size)!r}: {share:g}" for size, share in zip(self.sizes, self.shares, strict=True))
        return f"Mix({{{shares}}}, share_of={self.share_of!r}, every={self.every})"

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


def at_least(value: Any, name: str, least: int = 1) -> int:
    """An int, or one of numpy's, of at least so much. Raises ArgumentError, naming the argument."""
    if isinstance(value, bool) or not isinstance(value, int | np.integer) or value < least:
        raise ArgumentError(f"{name} must be an int >= {least}; found {value!r}")
    return int(value)


def of_epoch(sizes: Sizes, epoch: int) -> tuple[Sizes, int]:
    """The rule that holds in an epoch, and the epoch as it counts: rules that change with epochs have `of_epoch`."""
    while hasattr(sizes, "of_epoch"):
        sizes, epoch = sizes.of_epoch(epoch)
    return sizes, epoch


def scales_of(sizes: Sizes) -> tuple[Size, ...]:
    """The sizes that every batch carries at once; none where a batch has one."""
    return getattr(sizes, "scales", ())


def declared(sizes: Sizes) -> tuple[Size, ...]:
    """Every size that a rule says it gives, each once; of a rule that does not say, that of the first step."""
    said: Sequence[Any] = getattr(sizes, "sizes", ()) or (sizes.at(0, epoch=0), *scales_of(sizes))
    return tuple(dict.fromkeys(as_size(size) for size in said))


MANY = 8
"""So many shapes a compiled function is specialised to: torch._dynamo.config.recompile_limit as torch ships it."""


def warn_of_many(sizes: Sizes) -> None:
    """Say it when a plan has more sizes than torch.compile specialises a model to."""
    found = declared(sizes)
    if len(found) > MANY:
        warnings.warn(
            f"this plan has {len(found)} different sizes ({', '.join(map(str, found))}): torch.compile specialises a "
            f"model to at most {MANY} shapes (torch._dynamo.config.recompile_limit), and cuDNN and CUDA graphs prepare "
            "anew for each. Fewer sizes, or a larger multiple=, avoid it",
            UserWarning,
            stacklevel=4,
        )


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

    @property
    def sizes(self) -> tuple[Size, ...]:
        """All of them."""
        return self.scales

    @property
    def period(self) -> tuple[Size, ...]:
        """The first, of every step."""
        return self.scales[:1]
