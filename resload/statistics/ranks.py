"""The area under a ROC curve as ranks: midranks, DeLong's placements, and one area for many weights of the films.

The area is the chance that a positive film scores above a negative one, a tie counting one half (Mann and Whitney):

    area = sum over positives i, negatives j of w_i w_j ([s_i > s_j] + [s_i = s_j] / 2)  /  (sum w_i  sum w_j)

A bootstrap asks for it thousands of times with the same scores and other whole weights w. `Ranked` sorts once; after
that an area costs one sum over the films, and no rounding but that of its one division.
"""

from typing import TypeAlias

import numpy as np
from numpy.typing import ArrayLike, NDArray

from resload.errors import ArgumentError

Floats: TypeAlias = NDArray[np.float64]
Flags: TypeAlias = NDArray[np.bool_]
Weights: TypeAlias = NDArray[np.int32]
"""(N, b): how often each of N films is in each of b resamples."""


def auc(scores: ArrayLike, labels: ArrayLike) -> float:
    """The area under the ROC curve: scores (N,), labels (N,) of 0 and 1; NaN where one of the classes is missing.

    >>> auc([0.1, 0.4, 0.35, 0.8], [0, 0, 1, 1])
    0.75
    """
    found, positive = np.asarray(scores, np.float64), flags(labels)
    m = int(positive.sum())
    n = len(positive) - m
    if not m or not n:
        return float("nan")
    return float((midranks(found)[positive].sum() - m * (m + 1) / 2) / (m * n))


def midranks(values: Floats) -> Floats:
    """Ranks from 1 on, float64 (N,); equal values share the mean of the ranks that they take together.

    >>> midranks(np.array([7.0, 5.0, 7.0])).tolist()
    [2.5, 1.0, 2.5]
    """
    _, inverse, counts = np.unique(values, return_inverse=True, return_counts=True)
    ends = np.cumsum(counts)
    return np.asarray((ends - (counts - 1) / 2)[inverse], np.float64)


def placements(scores: ArrayLike, labels: ArrayLike) -> tuple[Floats, Floats]:
    """What share of the other class each film is above or below, as DeLong's variance needs it.

    Of the positives the share of negatives below, (m,), and of the negatives the share of positives above, (n,), each
    in the films' order; ties count one half. The mean of either is the area. By midranks, as Sun and Xu do
    (doi:10.1109/LSP.2014.2337313): a film's rank among all less its rank in its own class.
    """
    found, positive = np.asarray(scores, np.float64), flags(labels)
    m = int(positive.sum())
    n = len(positive) - m
    if not m or not n:
        raise ArgumentError(f"films of both classes are needed; found {m} positive and {n} negative ones")
    ranks = midranks(found)
    above = (ranks[positive] - midranks(found[positive])) / n
    below = 1 - (ranks[~positive] - midranks(found[~positive])) / m
    return above, below


class Ranked:
    """Scores (N,) and classes (N,), sorted once, so that the area under many weights of the films is quick.

    Positives of equal scores are one, by the sum of their weights. The weights of the negatives are summed up to each
    positive, and up to the end of its ties:

        positives       a      b            c
        negatives     x   x  x   x(=b)  x      x
    """

    def __init__(self, scores: Floats, positive: Flags) -> None:
        self._positives = _ascending(scores, np.flatnonzero(positive))
        self._negatives = _ascending(scores, np.flatnonzero(~positive))
        levels, self._first = np.unique(scores[self._positives], return_index=True)
        beside = scores[self._negatives]
        self._below = np.searchsorted(beside, levels, "left")
        self._upto = np.searchsorted(beside, levels, "right")
        self._tied = not np.array_equal(self._below, self._upto)

    def areas(self, weights: Weights) -> Floats:
        """The area under each of b weightings: weights (N, b), whole and at least 0; float64 (b,).

        NaN where a weighting leaves one of the classes out.
        """
        if not len(self._positives) or not len(self._negatives):
            return np.full(weights.shape[1], np.nan)
        own = _rows(weights, self._positives)
        if len(self._first) < own.shape[1]:
            own = np.add.reduceat(own, self._first, axis=1)
        passed = np.zeros((weights.shape[1], len(self._negatives) + 1), np.int32)
        np.add.accumulate(_rows(weights, self._negatives), axis=1, out=passed[:, 1:])
        below = passed.take(self._below, axis=1)
        twice = below + (passed.take(self._upto, axis=1) if self._tied else below)
        pairs = own.sum(axis=1, dtype=np.int64) * passed[:, -1]
        won = np.einsum("bg,bg->b", own, twice, dtype=np.int64)
        return np.divide(won, 2 * pairs, out=np.full(pairs.shape, np.nan), where=pairs > 0)


def _ascending(scores: Floats, films: NDArray[np.int64]) -> NDArray[np.int64]:
    return films[np.argsort(scores[films], kind="stable")]


def _rows(weights: Weights, films: NDArray[np.int64]) -> Weights:
    """Weights of some films, a row for each resample: sums along rows are several times quicker than down columns."""
    return np.ascontiguousarray(weights.take(films, axis=0).T)


def flags(labels: ArrayLike) -> Flags:
    """Labels (N,) of 0 and 1 as bool. Raises ArgumentError for other values, unknown ones among them."""
    found = np.asarray(labels)
    if found.ndim != 1 or not np.isin(found, (0, 1)).all():
        raise ArgumentError(f"labels must be a row of 0 and 1; found {found.shape} with {_odd(found)}")
    return found.astype(bool)


def _odd(found: NDArray[np.generic]) -> str:
    others = np.unique(found[~np.isin(found, (0, 1))])[:3]
    return ", ".join(map(str, others.tolist())) or "nothing else"
