"""DeLong's test of areas under correlated ROC curves, where every patient has one film.

DeLong, DeLong and Clarke-Pearson (Biometrics 1988;44:837-845): each area is a mean of placements, so that their
covariances give those of the areas. Films of one patient are not independent, which the formula takes them to be.
"""

import math
from collections.abc import Hashable, Iterable
from dataclasses import dataclass
from statistics import NormalDist

import numpy as np
from numpy.typing import ArrayLike

from resload.errors import ArgumentError
from resload.statistics.ranks import Floats, placements
from resload.statistics.resampling import patient_codes

_TWO_SIDED = NormalDist().inv_cdf(0.975)


@dataclass(frozen=True)
class DeLong:
    """A difference of two areas under normal theory."""

    value: float
    """The area of the first less that of the second."""
    low: float
    """The lower end of the 95 % interval."""
    high: float
    """The upper end."""
    z: float
    """The difference in standard errors; 0 where both are the same."""
    p: float
    """Two-sided."""


def delong(scores: ArrayLike, labels: ArrayLike, patients: Iterable[Hashable] | None = None) -> tuple[Floats, Floats]:
    """Areas (k,) and their covariances (k, k): scores (k, N), labels (N,) of 0 and 1, at least two films of each.

    patients: whose films they are; raises ArgumentError where one has several.
    """
    if patients is not None:
        _refuse_clusters(patients)
    pairs = [placements(row, labels) for row in np.atleast_2d(np.asarray(scores, np.float64))]
    above, below = np.stack([pair[0] for pair in pairs]), np.stack([pair[1] for pair in pairs])
    if min(above.shape[1], below.shape[1]) < 2:
        raise ArgumentError(f"two films of each class are needed; found {above.shape[1]} and {below.shape[1]}")
    covariance = np.atleast_2d(np.cov(above)) / above.shape[1] + np.atleast_2d(np.cov(below)) / below.shape[1]
    return above.mean(axis=1), covariance


def delong_test(
    one: ArrayLike, other: ArrayLike, labels: ArrayLike, patients: Iterable[Hashable] | None = None
) -> DeLong:
    """Whether two areas differ: scores (N,), or (S, N) of S seeds each, whose mean areas are then compared.

    An area averaged over seeds is a linear function of the 2 S areas, whose covariances are known: nothing is lost, and
    it is the same number as that of `compared`. (The area of the averaged scores would be that of an ensemble.)
    """
    first, second = (np.atleast_2d(np.asarray(scores, np.float64)) for scores in (one, other))
    areas, covariance = delong(np.concatenate([first, second]), labels, patients)
    contrast = np.repeat([1 / len(first), -1 / len(second)], [len(first), len(second)])
    value = float(contrast @ areas)
    error = math.sqrt(max(0.0, float(contrast @ covariance @ contrast)))
    z = value / error if error else math.copysign(math.inf, value) if value else 0.0
    half = _TWO_SIDED * error
    return DeLong(value, value - half, value + half, z, math.erfc(abs(z) / math.sqrt(2)))


def _refuse_clusters(patients: Iterable[Hashable]) -> None:
    codes = patient_codes(patients)
    several = int((np.bincount(codes) > 1).sum())
    if several:
        raise ArgumentError(
            f"DeLong's variance takes films to be independent; found {several} patients with more than one: "
            "use the bootstrap over patients, resload.statistics.compared"
        )
