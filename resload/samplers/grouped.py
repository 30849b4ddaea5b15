"""Films by what they belong to: exams, or patients.

Runs            the films of each exam, as arrays
ExamColumns     the data as one value for each exam, for an order of exams
"""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from resload.samplers.columns import Columns, is_missing


@dataclass(frozen=True)
class Runs:
    """Films sorted by exam: those of exam e are `films[starts[e] : starts[e] + sizes[e]]`."""

    films: NDArray[np.int64]
    starts: NDArray[np.int64]
    sizes: NDArray[np.int64]

    @classmethod
    def of(cls, codes: NDArray[np.int64], count: int, *by: NDArray[np.int64]) -> "Runs":
        """The films of exams 0 .. count-1. codes: (m,) the exam of each film, -1 for none. by: what their order within
        an exam goes by, first things first; then their own.
        """
        films = np.lexsort((*reversed(by), codes))
        films = films[int((codes < 0).sum()) :]
        sizes = np.bincount(codes[codes >= 0], minlength=count).astype(np.int64)
        return cls(films.astype(np.int64), np.cumsum(sizes) - sizes, sizes)

    def first(self, exams: NDArray[np.int64], most: int) -> NDArray[np.int64]:
        """(k, most) the first films of each of these exams; -1 where it has no more."""
        places = np.arange(most)
        there = places < self.sizes[exams, None]
        return np.where(there, self.films[np.where(there, self.starts[exams, None] + places, 0)], -1)

    def one(self, exams: NDArray[np.int64], rng: np.random.Generator) -> NDArray[np.int64]:
        """A film of each of these exams, drawn; -1 where an exam has none. Of the shape of `exams`."""
        sizes = self.sizes[exams]
        places = self.starts[exams] + (rng.random(exams.shape) * sizes).astype(np.int64)
        return np.where(sizes > 0, self.films[np.where(sizes > 0, places, 0)], -1)

    def some(self, exams: NDArray[np.int64], most: int, rng: np.random.Generator) -> NDArray[np.int64]:
        """(k, most) films of each of these exams, drawn, in their own order. Each must have as many or more."""
        sizes = self.sizes[exams]
        begins = np.cumsum(sizes) - sizes
        of = np.repeat(np.arange(len(exams)), sizes)
        places = np.arange(len(of)) + (self.starts[exams] - begins)[of]
        lots = rng.integers(1 << 32, size=len(of), dtype=np.uint32)
        by_lot = np.argsort((of << 32) | lots, kind="stable")  # within each exam; stable, so alike on every machine
        chosen = np.sort(by_lot[begins[:, None] + np.arange(most)], axis=1)
        films: NDArray[np.int64] = self.films[places[chosen]]
        return films


class ExamColumns(Columns):
    """Columns of films, as one value for each exam. codes: (m,) the exam of each visited film, -1 for none."""

    def __init__(self, films: Columns, codes: NDArray[np.int64], count: int) -> None:
        self._films, self._runs = films, Runs.of(codes, count)
        self._table, self.targets = films._table, films.targets
        self.n, self.rows = count, np.arange(count)

    def values(self, column: "str | Iterable[Any]", asked_by: str) -> NDArray[Any]:
        """(exams,) the largest known number among an exam's films, or of other values the first that is not missing."""
        found = self._films.values(column, asked_by)
        if found.dtype.kind in "biuf":
            return self._largest(found)
        values = found[self._runs.films]
        there = ~np.array([is_missing(value) for value in values.tolist()], bool)
        places = np.where(there, np.arange(len(values)), len(values))
        first = np.minimum.reduceat(places, self._runs.starts)
        firsts: NDArray[Any] = values[np.where(first < len(values), first, self._runs.starts)]
        return firsts

    def numbers(self, column: "str | Iterable[Any]", asked_by: str) -> NDArray[np.float64]:
        """(exams,) the largest known number among an exam's films; NaN where none is known."""
        return self._largest(self._films.numbers(column, asked_by))

    def yes_no(self, column: "str | Iterable[Any]", asked_by: str) -> NDArray[np.float64]:
        """(exams,) 1 where any film is positive, 0 where any is known and none positive, else NaN."""
        return self._largest(self._films.yes_no(column, asked_by))

    def _largest(self, values: NDArray[Any]) -> NDArray[Any]:
        largest: NDArray[Any] = np.fmax.reduceat(values[self._runs.films], self._runs.starts)
        return largest
