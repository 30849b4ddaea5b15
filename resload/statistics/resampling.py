"""The bootstrap over patients: which films are in each resample, and how often.

Films of one patient are alike, so that it is patients who are drawn with replacement, each with all its films (Rutter,
Acad Radiol 2000;7:413-419). Everything that is compared sees the same resamples: differences are paired.

All patients are drawn together, not those with the finding and those without apart. How many have it was left to chance
when the films were gathered, and so it is here. Drawing m of m patients of one kind gives (m - 1) / m of the variance;
with m itself varying this is made up for in part. A resample without one of the classes has no area and is left out;
with m patients who have the finding that is a share of about exp(-m).
"""

from collections.abc import Hashable, Iterable, Iterator

import numpy as np
from numpy.typing import NDArray

from resload.errors import ArgumentError
from resload.seeds import generator
from resload.statistics.ranks import Weights

_BLOCK_CELLS = 1 << 18
"""Weights held at a time, films x resamples: 1 MB of int32, which stays near a core; 8 MB take three times as long."""


class Resampling:
    """Resamples of whole patients.

    patients: whose film each is, (N,) of anything hashable. The draws are a function of how many patients there are and
    of the seed; patients are numbered as they first appear.
    """

    def __init__(self, patients: Iterable[Hashable], *, repeats: int = 2000, seed: int = 0) -> None:
        if isinstance(repeats, bool) or repeats < 1:
            raise ArgumentError(f"repeats must be >= 1; found {repeats!r}")
        self.repeats = repeats
        self.seed = seed
        self.codes = patient_codes(patients)
        """(N,) int64: the number of each film's patient, by first appearance."""
        self.count = len(np.unique(self.codes))
        """How many patients."""

    def blocks(self) -> Iterator[Weights]:
        """How often each film is in each resample, int32 (N, b), block after block until there were `repeats`."""
        rng = generator(self.seed, 0, "bootstrap")
        most = max(1, _BLOCK_CELLS // max(len(self.codes), 1))
        for start in range(0, self.repeats, most):
            yield _drawn(rng, self.count, min(most, self.repeats - start))[self.codes]


def _drawn(rng: np.random.Generator, count: int, width: int) -> Weights:
    """How often each of `count` is among `count` draws, for each of `width` resamples, (count, width)."""
    chosen = rng.integers(0, count, (width, count))
    chosen += np.arange(width)[:, None] * count
    return np.bincount(chosen.ravel(), minlength=width * count).reshape(width, count).T.astype(np.int32)


def patient_codes(patients: Iterable[Hashable]) -> NDArray[np.int64]:
    """Patients as numbers from 0 on by first appearance, (N,). Raises ArgumentError for unknown ones (None, NaN)."""
    listed = patients.tolist() if isinstance(patients, np.ndarray) else list(patients)
    unknown = sum(patient is None or patient != patient for patient in listed)  # noqa: PLR0124  # NaN is not itself
    if unknown:
        raise ArgumentError(
            f"every film needs a patient; found {unknown} of {len(listed)} without: "
            "give such a film one of its own, or leave it out"
        )
    numbers: dict[Hashable, int] = {}
    return np.array([numbers.setdefault(patient, len(numbers)) for patient in listed], np.int64)
