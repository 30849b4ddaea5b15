"""The plateau: the smallest size that is not worse than the reference by more than a margin.

The question is one of non-inferiority. That a difference is not significant would not do: with few patients nothing is.
A size passes when the 95 % interval of its difference to the reference stays on the good side of the margin, which is a
test at 2.5 % of "worse by the margin or more". The margin and the reference are named before the results are seen.

                 reference        difference to it, and its interval
      512        .                         [--|--]                       passes
      256        .                 [--|--]                               passes
      128        .        [----|----]                                    fails: it reaches below the margin
       64        .                                                       not tested
                            -margin            0

Sizes are tested from the largest down, and the first that fails ends it. Hypotheses in an order that was fixed
beforehand may each be tested at the full level: an error is only made if the first true one is rejected, which happens
in 2.5 % of cases at most, whatever stands after it (Maurer, Hothorn and Lehmacher 1995; Westfall and Krishen, J Stat
Plan Inference 2001;99:25-40). So no correction is needed; but below the first that fails nothing may be claimed, even
where an interval would pass.

The reference is named beforehand, as a rule the largest size. The best size seen would be one that was lucky on these
patients, and the others would be measured against its luck.
"""

import math
from collections.abc import Hashable, Mapping
from dataclasses import dataclass
from typing import Protocol

from resload.errors import ArgumentError


class Interval(Protocol):
    """Anything with the ends of a 95 % interval."""

    @property
    def low(self) -> float:
        """The lower end."""
        ...

    @property
    def high(self) -> float:
        """The upper end."""
        ...


@dataclass(frozen=True)
class Tested:
    """One size against the margin."""

    size: Hashable
    worst: float
    """The end of the interval that is compared with the margin: the lower one where higher is better."""
    passed: bool


@dataclass(frozen=True)
class Plateau:
    """Where a smaller size begins to cost."""

    size: Hashable | None
    """The smallest size that is not worse, with all between it and the reference; None: only the reference itself."""
    margin: float
    tested: tuple[Tested, ...]
    """From the largest down to the first that fails."""


def refuse_margin(margin: float) -> None:
    """Raise ArgumentError for what cannot be a margin."""
    if isinstance(margin, bool) or not 0 < margin < math.inf:
        raise ArgumentError(f"margin must be above 0, in the metric's own units; found {margin!r}")


def plateau(differences: Mapping[Hashable, Interval], margin: float, *, higher_is_better: bool = True) -> Plateau:
    """Sizes below the reference, ascending, with their differences to it (size less reference), against a margin.

    margin: in the metric's own units, above 0. An interval that touches the margin fails, and so does an unknown one.
    """
    refuse_margin(margin)
    tested: list[Tested] = []
    size = None
    for key, found in reversed(list(differences.items())):
        worst = found.low if higher_is_better else found.high
        passed = worst > -margin if higher_is_better else worst < margin
        tested.append(Tested(key, worst, passed))
        if not passed:
            break
        size = key
    return Plateau(size, margin, tuple(tested))
