"""What is compared: the area under the ROC curve of scores, or the mean of what each film was given.

A metric makes a `Measured` of one arm's values (S, N), S seeds of N films: its value for each seed, and for each seed
in each resample of the films.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from resload.errors import ArgumentError
from resload.statistics.ranks import Flags, Floats, Ranked, Weights
from resload.statistics.resampling import Resampling


@dataclass(frozen=True)
class Metric:
    """A name among `METRICS`, and which way is better."""

    name: str
    higher_is_better: bool
    of_scores: bool
    """Whether values are scores of films that have labels; else they are already what is averaged."""


METRICS = {
    "auc": Metric("auc", higher_is_better=True, of_scores=True),
    "mean": Metric("mean", higher_is_better=True, of_scores=False),
    "error": Metric("error", higher_is_better=False, of_scores=False),
}
"""`auc`: scores against labels. `mean`: of values of which more is better, as Dice. `error`: of values of which less is
better, as absolute error."""


def as_metric(metric: str) -> Metric:
    """A metric by its name. Raises ArgumentError for an unknown one."""
    if metric not in METRICS:
        raise ArgumentError(f"metric must be one of {', '.join(METRICS)}; found {metric!r}")
    return METRICS[metric]


class Measurable(Protocol):
    """One arm, ready to be measured under weights of its films."""

    def measured(self, weights: Weights) -> Floats:
        """The metric for each resample and seed: weights (N, b) -> float64 (b, S)."""
        ...


class Areas:
    """Areas under the ROC curves of scores (S, N) for one set of labels (N,)."""

    def __init__(self, scores: Floats, positive: Flags) -> None:
        self._seeds = [Ranked(row, positive) for row in scores]

    def measured(self, weights: Weights) -> Floats:
        """See `Measurable`; NaN where a resample leaves one of the classes out."""
        return np.stack([ranked.areas(weights) for ranked in self._seeds], axis=1)


class Means:
    """Means of values (S, N)."""

    def __init__(self, values: Floats) -> None:
        self._values = values

    def measured(self, weights: Weights) -> Floats:
        """See `Measurable`."""
        return np.asarray((self._values @ weights / weights.sum(axis=0)).T)


@dataclass(frozen=True)
class Measured:
    """What an arm reaches, and what it would have reached with other patients."""

    seeds: Floats
    """(S,): with the films as they are."""
    resamples: Floats
    """(repeats, S)."""
    carriers: int
    """How many patients the number rests on: for areas those of the rarer class, else all."""

    @property
    def value(self) -> float:
        """The mean over seeds."""
        return float(self.seeds.mean())

    def means(self) -> Floats:
        """The mean over seeds of each resample, (repeats,)."""
        return np.asarray(self.resamples.mean(axis=1))


def measure(arms: Sequence[Measurable], resampling: Resampling, carriers: int) -> list[Measured]:
    """Every arm under the same resamples, which are made once; for `carriers` see `Measured`."""
    whole = np.ones((len(resampling.codes), 1), np.int32)
    blocks = [[arm.measured(weights) for arm in arms] for weights in resampling.blocks()]
    return [
        Measured(arm.measured(whole)[0], np.concatenate(parts), carriers)
        for arm, parts in zip(arms, zip(*blocks, strict=True), strict=True)
    ]
