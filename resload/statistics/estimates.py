"""A number with what it could have been: an interval over patients, and how much seeds differ.

The two are kept apart because they answer different questions. The interval says what the same networks would reach on
other patients; the spread over seeds says what networks trained again would reach on the same patients.

Intervals are percentiles of the resamples, further out than 2.5 and 97.5 where patients are few, as Student's t is
wider than the normal distribution (Hesterberg, Am Stat 2015;69:371-386, "expanded percentile"): with m patients of the
rarer class, at the shares that the normal distribution has beyond the quantiles of t with m - 1 degrees of freedom. How
often they hold, and how often plain percentiles, `benchmarks/interval_coverage.py` simulates: those of differences as
often as they say, those of large areas from few patients less often.
"""

from dataclasses import dataclass
from statistics import NormalDist

import numpy as np

from resload.statistics.metrics import Measured
from resload.statistics.ranks import Floats
from resload.statistics.student import student_cdf, student_quantile

_NORMAL = NormalDist()
_TAIL = 0.025
"""The share beyond each end of an interval of 95 %."""


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
    """Two-sided, from the same resamples: below 0.05 where the interval leaves zero out. At least 2 / (repeats + 1),
    and more where patients are few."""
    p_holm: float
    """The same after Holm's correction for all comparisons of the family; p itself until one was named."""


def estimate(measured: Measured) -> Estimate:
    """The mean over seeds, with its interval."""
    return Estimate(*_spread(measured.value, measured.means(), measured.seeds, measured.carriers))


def difference(one: Measured, other: Measured) -> Difference:
    """What `one` has more than `other`, paired by patients and by seeds.

    Seeds are paired in their order; with different numbers of them, `seeds` is empty and `sd_seeds` NaN.
    """
    drawn = one.means() - other.means()
    paired = one.seeds - other.seeds if len(one.seeds) == len(other.seeds) else np.empty(0)
    carriers = min(one.carriers, other.carriers)
    p = p_value(drawn, carriers)
    return Difference(*_spread(one.value - other.value, drawn, paired, carriers), p, p)


def ratio(low: Measured, high: Measured) -> Estimate:
    """The share of `high` that `low` reaches: mean over mean of the seeds, paired as differences are.

    Sabottke and Spieler (Radiol Artif Intell 2020;2:e190015) give "80.7 % +- 1.5 (SD)" for nodules, whose areas are
    0.689 at 64 pixels and 0.854 at 320: the quotient of the two. What their deviation is taken over, their abstract
    does not say. Here are both: `sd_patients` over resamples of patients, `sd_seeds` over quotients of single seeds.
    """
    paired = _quotient(low.seeds, high.seeds) if len(low.seeds) == len(high.seeds) else np.empty(0)
    value = float(_quotient(np.array(low.value), np.array(high.value)))
    return Estimate(*_spread(value, _quotient(low.means(), high.means()), paired, min(low.carriers, high.carriers)))


def _quotient(part: Floats, whole: Floats) -> Floats:
    """NaN where the whole is 0."""
    return np.divide(part, whole, out=np.full(whole.shape, np.nan), where=whole != 0)


def p_value(drawn: Floats, carriers: int) -> float:
    """Two-sided p for "zero": the smallest level at which the interval of the resamples (repeats,) leaves zero out.

    Both tails count the resamples at zero, and the data themselves as one more (Davison and Hinkley, Bootstrap methods
    and their application, 1997, 4.2), so that p is never 0, and 1 where nothing differs.
    """
    known = drawn[~np.isnan(drawn)]
    if not len(known) or carriers < 2:
        return float("nan")
    tail = (1 + min(int((known <= 0).sum()), int((known >= 0).sum()))) / (len(known) + 1)
    return 1.0 if tail >= 0.5 else 2 * student_cdf(_NORMAL.inv_cdf(tail), carriers - 1)


def _spread(
    value: float, drawn: Floats, seeds: Floats, carriers: int
) -> tuple[float, float, float, float, float, tuple[float, ...]]:
    """The fields of an estimate; nothing is said over patients where one alone carries a class."""
    known = drawn[~np.isnan(drawn)] if carriers > 1 else np.empty(0)
    low = high = over_patients = over_seeds = np.nan
    if len(known) > 1:
        share = _NORMAL.cdf(student_quantile(_TAIL, carriers - 1))
        low, high = np.quantile(known, (share, 1 - share)).tolist()
        over_patients = float(known.std(ddof=1))
    if len(seeds) > 1:
        over_seeds = float(seeds.std(ddof=1))
    return value, low, high, over_patients, over_seeds, tuple(seeds.tolist())
