"""Sizes that change from epoch to epoch: progressive resizing in its published forms.

Ramp      low until an epoch, then in steps up to high       FFCV
Stages    one rule after another, each for some epochs       fastai, FixRes, EfficientNetV2, multigrid's long cycle

Sizes change with the epoch and nothing else, so that any process and any resumed run finds the same one. Under constant
pixels the number of steps changes with the size, and the sampler asks for `epoch_steps=`.
"""

from bisect import bisect_right
from dataclasses import dataclass
from fractions import Fraction
from itertools import pairwise
from typing import Any

from resload.errors import ArgumentError, SizeError
from resload.samplers.sizes import Fixed, Scales, Sizes, at_least, declared, of_epoch
from resload.size import Native, Size, SizeLike, as_size


@dataclass(frozen=True, init=False)
class Ramp:
    """`low` up to epoch `start`, `high` from epoch `end` on, and in a straight line between them.

        Ramp(160, 192, start=65, end=76)        FFCV's ResNet-50 in 88 epochs
        Ramp((512, 416), (1024, 832), start=5, end=20, multiple=64)

    Between them sides are the nearest multiples of `multiple` (halfway: the even multiple of the two), never beyond low
    and high; these are served as they are given. Each side of a rectangle is rounded for itself.

    The rule is `get_resolution` of ffcv-imagenet's train_imagenet.py; min_res, max_res, start_ramp and end_ramp of its
    rn50_configs are the arguments.

    Raises SizeError for a low that is larger than high, ArgumentError for epochs or a multiple that are none.
    """

    low: Size
    high: Size
    start: int
    end: int
    multiple: int

    def __init__(self, low: SizeLike, high: SizeLike, *, start: int, end: int, multiple: int = 32) -> None:
        values = {
            "low": as_size(low),
            "high": as_size(high),
            "start": at_least(start, "start of a Ramp", 0),
            "end": at_least(end, "end of a Ramp"),
            "multiple": at_least(multiple, "multiple of a Ramp"),
        }
        for name, value in values.items():
            object.__setattr__(self, name, value)
        _refuse_descent(self.low, self.high, "Ramp")
        if self.start >= self.end:
            raise ArgumentError(f"a Ramp starts before it ends; found start={self.start} and end={self.end}")

    def at(self, step: int, *, epoch: int) -> Size:
        """The size of this epoch, at every step."""
        part = Fraction(epoch - self.start, self.end - self.start)
        return _between(self.low, self.high, min(max(part, Fraction(0)), Fraction(1)), self.multiple)

    def of_epoch(self, epoch: int) -> tuple[Sizes, int]:
        """The size of this epoch as a rule."""
        return Fixed(self.at(0, epoch=epoch)), epoch

    @property
    def epochs(self) -> int:
        """Epochs until it stays at `high`."""
        return self.end + 1

    @property
    def sizes(self) -> tuple[Size, ...]:
        """All sizes on the way, each once."""
        return tuple(dict.fromkeys(self.at(0, epoch=epoch) for epoch in range(self.start, self.end + 1)))


class Stages:
    """One size or rule after another, each for so many epochs; the last goes on for ever.

        Stages((128, 5), (256, 5))                                 progressive resizing, as in fastai
        Stages((128, 90), 224)                                     FixRes: train low, fine-tune at the size of the test
        Stages.linear(128, 300, stages=4, epochs=350)              EfficientNetV2-S
        Stages((Cycle(112, 160), 30), (Cycle(112, 160, 224), 30))  multigrid: the long cycle around the short one
        Stages(((512, 416), 5), ((1024, 832), 5))                  rectangles

    Each stage is (size or rule, epochs); the last may be a size or rule alone, since its epochs do not count. A pair of
    numbers is a size and its epochs, never a rectangle. A rule counts epochs from the beginning of its stage.

    Sources: fastbook, chapter 7; Touvron et al., Fixing the train-test resolution discrepancy, arXiv 1906.06423; Wu et
    al., A Multigrid Method for Efficiently Training Video Models, arXiv 1912.00998.

    Raises ArgumentError for stages that are none, and SizeError for sizes that are none.
    """

    def __init__(self, *stages: Any) -> None:
        if not stages:
            raise ArgumentError("Stages needs at least one stage, for example Stages((128, 5), (256, 5))")
        pairs = [_stage(stage, last=k == len(stages)) for k, stage in enumerate(stages, start=1)]
        self.rules = tuple(rule for rule, _ in pairs)
        self.starts = tuple(sum(epochs for _, epochs in pairs[:k]) for k in range(len(pairs)))
        """The epoch in which each stage begins."""

    @classmethod
    def linear(cls, low: SizeLike, high: SizeLike, *, stages: int, epochs: int, multiple: int = 32) -> "Stages":
        """So many stages of equal length, from `low` in the first to `high` in the last: EfficientNetV2's rule.

        epochs: of all stages together; stage i begins in epoch `epochs * i // stages`. Sides between low and high are
        the nearest multiples of `multiple` (1: the nearest pixel), as in `Ramp`.

        The sizes are those of the paper's algorithm 1, S_i = S_0 + (S_e - S_0) i / (M - 1) (Tan and Le,
        EfficientNetV2, arXiv 2104.00298), so that both that are named are trained at. The released code (google/automl,
        efficientnetv2/main.py) begins one notch higher, at ibase + (isize - ibase) / stages, and never trains at ibase:
        its 128 to 384 of EfficientNetV2-M in four stages is `Stages.linear(192, 384, stages=4, epochs=350)`.

        Raises ArgumentError for fewer than two stages or fewer epochs than stages, SizeError as `Ramp`.
        """
        least, most = as_size(low), as_size(high)
        _refuse_descent(least, most, "Stages.linear")
        at_least(stages, "stages", 2)
        at_least(epochs, "epochs", stages)
        at_least(multiple, "multiple")
        sizes = [_between(least, most, Fraction(i, stages - 1), multiple) for i in range(stages)]
        lengths = [stop - start for start, stop in pairwise(epochs * i // stages for i in range(stages + 1))]
        return cls(*zip(sizes, lengths, strict=True))

    def __repr__(self) -> str:
        rules = [repr(str(rule.size)) if isinstance(rule, Fixed) else repr(rule) for rule in self.rules]
        lengths = [stop - start for start, stop in pairwise(self.starts)]
        shown = [f"({rule}, {epochs})" for rule, epochs in zip(rules, lengths, strict=False)]
        return f"Stages({', '.join([*shown, rules[-1]])})"

    def of_epoch(self, epoch: int) -> tuple[Sizes, int]:
        """The rule of this epoch's stage, and the epoch as counted from the stage's beginning."""
        stage = bisect_right(self.starts, epoch) - 1
        return self.rules[stage], epoch - self.starts[stage]

    def at(self, step: int, *, epoch: int) -> SizeLike:
        """The size of this step, as the stage's rule has it."""
        rule, own = of_epoch(self, epoch)
        return rule.at(step, epoch=own)

    @property
    def epochs(self) -> int:
        """Epochs until nothing changes any more."""
        return self.starts[-1] + int(getattr(self.rules[-1], "epochs", 1))

    @property
    def sizes(self) -> tuple[Size, ...]:
        """The sizes of all stages, each once."""
        return tuple(dict.fromkeys(size for rule in self.rules for size in declared(rule)))


def _stage(stage: Any, *, last: bool) -> tuple[Sizes, int]:
    """The rule of a stage, and its epochs."""
    pair = isinstance(stage, tuple | list) and not isinstance(stage, Size)
    if not (last or pair) or (pair and len(stage) != 2):
        raise ArgumentError(f"a stage is (size or rule, epochs), for example (256, 5); found {stage!r}")
    rule, epochs = stage if pair else (stage, 1)
    if isinstance(rule, Scales) or hasattr(rule, "lanes"):
        raise ArgumentError(f"{type(rule).__name__} holds for all of training, and is no stage of it; found {rule!r}")
    return rule if hasattr(rule, "at") else Fixed(rule), at_least(epochs, "the epochs of a stage")


def _between(low: Size, high: Size, part: Fraction, multiple: int) -> Size:
    """The size at a part of the way, 0 to 1, in multiples; the ends as they are."""
    if part in (0, 1):
        return high if part else low
    sides = [round((a + (b - a) * part) / multiple) * multiple for a, b in zip(low, high, strict=True)]
    return Size(*(min(max(side, a), b) for side, a, b in zip(sides, low, high, strict=True)))


def _refuse_descent(low: Size, high: Size, by: str) -> None:
    if isinstance(low, Native) or isinstance(high, Native) or low.height > high.height or low.width > high.width:
        raise SizeError(f"{by} goes from a low to a high size in pixels; found {low} and {high}")
