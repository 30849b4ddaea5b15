"""A number with what it could have been: an interval over patients, and how much seeds differ.

The two are kept apart because they answer different questions. The interval says what the same networks would reach on
other patients; the spread over seeds says what networks trained again would reach on the same patients.
"""

from dataclasses import dataclass

import numpy as np

from resload.statistics.metrics import Measured
from resload.statistics.ranks import Floats

TAIL = 0.025
"""The share of resamples beyond each end of an interval of 95 %."""


@dataclass(frozen=True)
class Estimate:
    """A number and its spread."""

    value: float
    """The mean over seeds."""
    low: float
    """The lower end of the 95 % interval over patients, of the mean over seeds."""
    high: float
    """The upper end."""
    sd_patients: float
    """The standard deviation over resamples of patients, of the mean over seeds."""
    sd_seeds: float
    """The standard deviation over seeds, with the patients as they are; NaN with one seed."""
    seeds: tuple[float, ...]
    """The number for each seed."""


@dataclass(frozen=True)
class Difference(Estimate):
    """One arm less the reference, seed by seed and on the same resamples."""

    p: float
    """Two-sided, from the same resamples; never below 2 / (repeats + 1)."""
    p_holm: float
    """The same after Holm's correction for all comparisons of the family; p itself until one was named."""


def estimate(measured: Measured) -> Estimate:
    """The mean over seeds, with its interval."""
    return Estimate(*_spread(measured.value, measured.means(), measured.seeds))


def difference(one: Measured, other: Measured) -> Difference:
    """What `one` has more than `other`, paired by patients and by seeds.

    Seeds are paired in their order; with different numbers of them, `seeds` is empty and `sd_seeds` NaN.
    """
    drawn = one.means() - other.means()
    paired = one.seeds - other.seeds if len(one.seeds) == len(other.seeds) else np.empty(0)
    p = p_value(drawn)
    return Difference(*_spread(one.value - other.value, drawn, paired), p, p)


def ratio(low: Measured, high: Measured) -> Estimate:
    """The share of `high` that `low` reaches: mean over mean of the seeds, paired as differences are.

    Sabottke and Spieler (Radiol Artif Intell 2020;2:e190015) give "80.7 % +- 1.5 (SD)" for nodules, whose areas are
    0.689 at 64 pixels and 0.854 at 320: the quotient of the two. What their deviation is taken over, their abstract
    does not say. Here are both: `sd_patients` over resamples of patients, `sd_seeds` over quotients of single seeds.
    """
    paired = low.seeds / high.seeds if len(low.seeds) == len(high.seeds) else np.empty(0)
    return Estimate(*_spread(low.value / high.value, low.means() / high.means(), paired))


def p_value(drawn: Floats) -> float:
    """Two-sided p for "zero": the smallest level at which the percentile interval leaves zero out.

    Both tails count the resamples at zero, and the data themselves as one more (Davison and Hinkley, Bootstrap methods
    and their application, 1997, 4.2), so that p is never 0, and 1 where nothing differs.
    """
    known = drawn[~np.isnan(drawn)]
    if not len(known):
        return float("nan")
    tail = 1 + min(int((known <= 0).sum()), int((known >= 0).sum()))
    return min(1.0, 2 * tail / (len(known) + 1))


def _spread(value: float, drawn: Floats, seeds: Floats) -> tuple[float, float, float, float, float, tuple[float, ...]]:
    known = drawn[~np.isnan(drawn)]
    low, high = np.quantile(known, (TAIL, 1 - TAIL)).tolist() if len(known) else (np.nan, np.nan)
    over_patients = float(known.std(ddof=1)) if len(known) > 1 else np.nan
    over_seeds = float(seeds.std(ddof=1)) if len(seeds) > 1 else np.nan
    return value, low, high, over_patients, over_seeds, tuple(seeds.tolist())
