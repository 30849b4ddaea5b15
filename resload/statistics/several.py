"""Many comparisons at once: Holm's correction, and how many resamples it needs."""

import math

import numpy as np
from numpy.typing import ArrayLike

from resload.statistics.ranks import Floats


def holm(p_values: ArrayLike) -> Floats:
    """p-values (k,) after Holm's step-down correction (Scand J Stat 1979;6:65-70), float64 (k,).

    Rejecting what is at most 0.05 then rejects a true hypothesis of the family with a chance of at most 5 %, however
    they depend on each other. Unknown ones (NaN) stay so and are not of the family.

    >>> holm([0.01, 0.04, 0.03]).tolist()
    [0.03, 0.06, 0.06]
    """
    found = np.asarray(p_values, np.float64)
    adjusted = np.full(found.shape, np.nan)
    order = np.argsort(found)[: int((~np.isnan(found)).sum())]  # NaN sorts last
    factors = len(order) - np.arange(len(order))
    adjusted[order] = np.minimum(1.0, np.maximum.accumulate(factors * found[order]))
    return adjusted


def repeats_for(comparisons: int, alpha: float = 0.05) -> int:
    """The fewest resamples with which one of so many comparisons can be significant after Holm's correction.

    A p-value from R resamples is never below 2 / (R + 1), so that with fewer than these no difference, however large,
    gets down to alpha. Few patients need more.

    >>> repeats_for(14 * 8)
    4479
    """
    return math.ceil(2 * comparisons / alpha) - 1
