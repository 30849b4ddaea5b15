"""The bootstrap over patients: which films are in each resample, and how often.

Films of one patient are alike, so that it is patients who are drawn with replacement, each with all its films (Rutter,
Acad Radiol 2000;7:413-419). Everything that is compared sees the same resamples: differences are paired.
"""

from collections.abc import Hashable, Iterable, Iterator

import numpy as np
from numpy.typing import ArrayLike, NDArray

from resload.errors import ArgumentError
from resload.seeds import generator
from resload.statistics.ranks import Weights

_BLOCK_CELLS = 1 << 18
"""Weights held at a time, films x resamples: 1 MB of int32, which stays near a core; 8 MB take three times as long."""


class Resampling:
    """Resamples of whole patients.

    patients: whose film each is, (N,) of anything hashable; strata: the kind of each film's patient, (N,) whole
    numbers; each kind of patient is drawn among itself, as many as there are. The draws are a function of the patients'
    order, the strata and the seed, and of nothing else.
    """

    def __init__(
        self, patients: Iterable[Hashable], *, repeats: int = 2000, seed: int = 0, strata: ArrayLike | None = None
    ) -> None:
        if isinstance(repeats, bool) or repeats < 1:
            raise ArgumentError(f"repeats must be >= 1; found {repeats!r}")
        self.repeats = repeats
        self.seed = seed
        self.codes = patient_codes(patients)
        """(N,) int64: the number of each film's patient, by first appearance."""
        kinds = np.zeros(len(self.codes), np.int64) if strata is None else np.asarray(strata, np.int64)
        self._members = _members(self.codes, kinds)

    @property
    def count(self) -> int:
        """How many patients."""
        return sum(map(len, self._members))

    def blocks(self) -> Iterator[Weights]:
        """How often each film is in each resample, int32 (N, b), block after block until there were `repeats`."""
        rngs = [generator(self.seed, 0, "bootstrap", stratum) for stratum in range(len(self._members))]
        most = max(1, _BLOCK_CELLS // max(len(self.codes), 1))
        for start in range(0, self.repeats, most):
            width = min(most, self.repeats - start)
            drawn = np.empty((self.count, width), np.int32)
            for rng, members in zip(rngs, self._members, strict=True):
                drawn[members] = _drawn(rng, len(members), width)
            yield drawn[self.codes]


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


def _members(codes: NDArray[np.int64], kinds: NDArray[np.int64]) -> list[NDArray[np.int64]]:
    """The patients of each stratum. Raises ArgumentError where a patient's films are of several."""
    if kinds.shape != codes.shape:
        raise ArgumentError(f"strata must be one for each of {len(codes)} films; found {kinds.shape}")
    pairs = np.unique(np.stack([codes, kinds]), axis=1)
    if len(np.unique(pairs[0])) != pairs.shape[1]:
        raise ArgumentError("all films of a patient must be of one stratum")
    return [pairs[0][pairs[1] == kind] for kind in np.unique(pairs[1])]
