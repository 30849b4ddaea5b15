"""The films that are compared: those of which what is needed is known, the same ones in every arm."""

from collections.abc import Hashable, Iterable, Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from resload.errors import ArgumentError
from resload.statistics.correlated import DeLong, delong_test
from resload.statistics.ensembles import ensemble
from resload.statistics.metrics import Areas, Means, Measurable, Measured, Metric, measure
from resload.statistics.ranks import Flags, Floats
from resload.statistics.resampling import Resampling, patient_codes


@dataclass(frozen=True)
class Films:
    """The films that are compared, in every arm the same ones."""

    metric: Metric
    arms: Mapping[Hashable, Floats]
    """Each (S, N)."""
    positive: Flags | None
    """(N,); None without labels."""
    codes: NDArray[np.int64]
    """Whose they are, (N,)."""

    @classmethod
    def of(
        cls, arms: Mapping[Hashable, ArrayLike], labels: ArrayLike | None, patients: Iterable[Hashable], metric: Metric
    ) -> "Films":
        """Those of which what is needed is known."""
        found = {key: np.atleast_2d(np.asarray(values, np.float64)) for key, values in arms.items()}
        codes = patient_codes(patients)
        _refuse_shapes(found, len(codes))
        marks = None if labels is None else _marks(labels, len(codes))
        known = np.ones(len(codes), bool) if marks is None else ~np.isnan(marks)
        if metric.of_scores:
            _refuse_scores(found, marks, known)
        else:
            known &= ~np.any([np.isnan(values).any(axis=0) for values in found.values()], axis=0)
        if not known.any():
            raise ArgumentError("no film has a known label, or value in every arm; at least one is needed")
        positive = None if marks is None else marks[known] == 1
        return cls(metric, {key: values[:, known] for key, values in found.items()}, positive, codes[known])

    def measured(self, resampling: Resampling) -> tuple[dict[Hashable, Measured], Measured | None]:
        """Each arm, and the ensemble of all where they make one."""
        seeds = {len(values) for values in self.arms.values()}
        joined = self.metric.of_scores and len(self.arms) > 1 and len(seeds) == 1
        every = [*self.arms.values(), *([ensemble(self.arms)] if joined else [])]
        found = measure([self._measurable(values) for values in every], resampling, self._carriers())
        return dict(zip(self.arms, found, strict=False)), found[-1] if joined else None

    def _measurable(self, values: Floats) -> Measurable:
        if self.metric.of_scores and self.positive is not None:
            return Areas(values, self.positive)
        return Means(values)

    def _carriers(self) -> int:
        """See `Measured`."""
        if not self.metric.of_scores or self.positive is None:
            return len(np.unique(self.codes))
        return min(len(np.unique(self.codes[chosen])) for chosen in (self.positive, ~self.positive))

    def why_no_delong(self) -> str:
        """A sentence; empty where DeLong's test holds."""
        if not self.metric.of_scores or self.positive is None:
            return f"DeLong's test is of areas under ROC curves, not of the metric {self.metric.name!r}"
        several = int((np.bincount(self.codes) > 1).sum())
        if several:
            return f"DeLong's test needs one film of each patient; {several} patients have more"
        if self._carriers() < 2:
            return "DeLong's test needs two films of each class"
        return ""

    def delong(self, one: Hashable, other: Hashable) -> DeLong:
        """The difference of two arms under normal theory."""
        assert self.positive is not None
        return delong_test(self.arms[one], self.arms[other], self.positive)


def _marks(labels: ArrayLike, films: int) -> Floats:
    """Labels as numbers, NaN where unknown."""
    marks = np.asarray(labels, np.float64)
    if marks.shape != (films,):
        raise ArgumentError(f"labels must be one for each of {films} films; found {marks.shape}")
    return marks


def _refuse_shapes(arms: Mapping[Hashable, Floats], films: int) -> None:
    if not arms:
        raise ArgumentError("at least one arm is needed, {size: scores (S, N)}; found none")
    numbers = [key for key in arms if isinstance(key, int | float)]
    if numbers != sorted(numbers):
        raise ArgumentError(f"arms must be given in ascending order of size; found {numbers}")
    for key, values in arms.items():
        if values.ndim != 2 or values.shape[1] != films or not len(values):
            raise ArgumentError(f"arm {key!r} must be (S, {films}), seeds x films with a patient; found {values.shape}")


def _refuse_scores(arms: Mapping[Hashable, Floats], marks: Floats | None, known: Flags) -> None:
    """Scores must be there wherever a label is, and labels be 0, 1 or unknown."""
    if marks is None:
        raise ArgumentError('the metric "auc" needs labels, 0, 1 or NaN for each film; found None')
    odd = np.unique(marks[known & ~np.isin(marks, (0, 1))])
    if len(odd):
        raise ArgumentError(f"labels must be 0, 1, or NaN for unknown; found {odd[0]:g}")
    for key, values in arms.items():
        lost = int(np.isnan(values[:, known]).any(axis=0).sum())
        if lost:
            raise ArgumentError(f"arm {key!r} has no score (NaN) for {lost} films whose label is known")
