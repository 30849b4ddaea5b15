"""Orders against imbalance: findings that few films have, shown more often. Every epoch has as many images.

Balanced        one finding: all of the rarer side, and a fresh draw of the other
RepeatFactor    many findings: films of rare ones come several times
systematic      what rounds "2.4 times an epoch" to 2 or 3, so that the sum is always the same
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from resload import seeds
from resload.errors import ArgumentError
from resload.samplers.columns import Columns

_SAME = 1e-9
"""An expected number this close to a whole one is that: what is between comes from dividing and multiplying."""


def systematic(expected: NDArray[np.floating[Any]], rng: np.random.Generator) -> NDArray[np.int64]:
    """Whole numbers drawn for expected ones: each rounded up or down by lot, their sum always the same.

    expected: (n,) numbers >= 0. Returns (n,) int64: each is floor or ceil of what is expected, and on average what is
    expected, once the expected numbers' fractions are scaled so that the sum is whole. Systematic sampling (Madow and
    Madow, Annals of Mathematical Statistics 1944;15:1-24) in an order drawn anew, so that neighbours are not tied to
    each other.
    """
    near = np.rint(expected)
    expected = np.where(np.abs(expected - near) < _SAME, near, expected)
    whole = np.floor(expected)
    counts: NDArray[np.int64] = whole.astype(np.int64)
    undecided = rng.permutation(np.flatnonzero(expected > whole))
    chances = (expected - whole)[undecided]
    ups = math.floor(float(expected.sum()) + 0.5) - int(counts.sum())
    if ups and undecided.size:
        edges = np.minimum(np.cumsum(_summing_to(ups, chances)), ups)
        edges[-1] = ups
        counts[undecided] += np.diff(np.ceil(edges - rng.random()).astype(np.int64), prepend=0)
    return counts


def _summing_to(total: int, chances: NDArray[np.floating[Any]]) -> NDArray[np.floating[Any]]:
    """Chances moved a little so that they have this sum, each still between 0 and 1."""
    found = float(chances.sum())
    if total <= found:
        return chances * (total / found)
    return 1 - (1 - chances) * ((len(chances) - total) / (len(chances) - found))


def repeated(counts: NDArray[np.int64], rng: np.random.Generator) -> NDArray[np.int64]:
    """Positions, each as often as its count says, shuffled."""
    return rng.permutation(np.repeat(np.arange(len(counts)), counts))


@dataclass(frozen=True)
class Balanced:
    """One finding, as many films with it as without: all of the rarer side, and a fresh draw of the other each epoch.

        Balanced("Nodule")                  one negative for each positive
        Balanced("Nodule", ratio=3)         three

    What `Catalog.balanced` does once, done for every epoch anew, so that in time all negatives are seen. All positives
    come once an epoch, and `ratio` times as many negatives; where there are too few negatives, all of them come and
    positives are drawn. Rows whose target is not known are left out. Every epoch has as many images, shuffled.

    Raises ArgumentError for a ratio that is not > 0; when a sampler is made, for a target that is not there or not yes
    and no, and where there are no positives, no negatives, or too few of a side for the ratio.
    """

    target: "str | Sequence[Any] | NDArray[Any]"
    """A column, or an array with one value for each row of the data: 1 yes, 0 no, NaN not known."""
    ratio: float = 1.0
    """Negatives for each positive."""

    def __post_init__(self) -> None:
        if not 0 < self.ratio < float("inf"):
            raise ArgumentError(f"ratio is negatives for each positive, > 0; found {self.ratio!r}")

    def bind(self, columns: Columns) -> "BoundBalanced":
        """The order for these rows."""
        values = columns.yes_no(self.target, "Balanced")
        yes, no = np.flatnonzero(values == 1), np.flatnonzero(values == 0)
        name = repr(self.target) if isinstance(self.target, str) else "the target"
        if not yes.size or not no.size:
            raise ArgumentError(
                f"{name} has {yes.size} positives and {no.size} negatives in {len(values)} rows, so nothing can be "
                "balanced: choose other rows or another target"
            )
        scarce = self.ratio * yes.size > no.size  # the rule of `Catalog.balanced`, which draws once
        count = math.floor((no.size / self.ratio if scarce else self.ratio * yes.size) + 0.5)
        if not count:
            raise ArgumentError(
                f"ratio={self.ratio:g} leaves none of one side: {name} has {yes.size} positives and {no.size} negatives"
            )
        return BoundBalanced(*((no, yes) if scarce else (yes, no)), count)


@dataclass(frozen=True)
class BoundBalanced:
    """A `Balanced` that knows its rows."""

    whole_side: NDArray[np.int64]
    """Positions that come every epoch."""
    drawn_side: NDArray[np.int64]
    """Positions of which `drawn` come."""
    drawn: int

    stride = 1

    @property
    def count(self) -> int:
        """Images in an epoch."""
        return len(self.whole_side) + self.drawn

    def positions(self, n: int, *, seed: int, epoch: int) -> NDArray[np.int64]:
        """One side whole, a draw of the other, shuffled."""
        rng = seeds.generator(seed, epoch, "order")
        some = rng.choice(self.drawn_side, self.drawn, replace=False, shuffle=False)
        return rng.permutation(np.concatenate([self.whole_side, some]))


@dataclass(frozen=True)
class RepeatFactor:
    """Many findings, some of them rare: films of a rare finding come several times an epoch, all others once.

        RepeatFactor()                                 by all targets of the data
        RepeatFactor(["Hernia", "Nodule"], 0.1)

    A finding on a share f of the films where it is known, f < t, asks for its films sqrt(t / f) times; a film comes as
    often as its rarest finding asks (Gupta et al., LVIS, CVPR 2019; as in detectron2). Fractions are rounded up or down
    by lot each epoch, and every epoch has as many images. Unlike drawing until classes are even, no film is shown
    more than sqrt(t / f) times, so that a finding of few films is not learned by heart.

    `threshold` is t: findings on fewer films than this share are repeated; one at a quarter of it comes twice as often,
    one at a hundredth ten times. With 0.05, nine of ChestX-ray14's fourteen findings are repeated, from Pneumothorax
    (4.7 % of films, 1.03 times) to Hernia (0.2 %, 5 times), and an epoch is 7 % longer. LVIS's own 0.001 is for a
    thousand classes, and would repeat nothing there.

    Raises ArgumentError for a threshold outside 0 .. 1; when a sampler is made, for targets that are not there or not
    yes and no, and where no target has a positive.
    """

    targets: "str | Sequence[str] | NDArray[Any] | None" = None
    """Names of columns; or an array (n,) or (n, T) with one row for each row of the data: 1 yes, 0 no, NaN not known.
    None: the data's targets."""
    threshold: float = 0.05

    def __post_init__(self) -> None:
        if not 0 < self.threshold <= 1:
            raise ArgumentError(f"threshold is a share of the films, > 0 and at most 1; found {self.threshold!r}")

    def bind(self, columns: Columns) -> "BoundRepeat":
        """The order for these rows."""
        factors = np.ones(len(columns.rows))
        found = 0
        for target in self._each(columns):
            values = columns.yes_no(target, "RepeatFactor")
            yes, known = values == 1, int((~np.isnan(values)).sum())
            if positives := int(yes.sum()):
                found += positives
                factors[yes] = np.maximum(factors[yes], math.sqrt(self.threshold * known / positives))
        if not found:
            raise ArgumentError("RepeatFactor: none of its targets has a positive in these rows, so nothing is rare")
        return BoundRepeat(factors)

    def _each(self, columns: Columns) -> Sequence[Any]:
        """The targets one by one: names, or arrays of one value for each row."""
        if self.targets is None:
            if not columns.targets:
                raise ArgumentError(
                    "RepeatFactor() goes by the data's targets, and this data has none: name columns, or pass an array "
                    "with one row for each row of the data"
                )
            return columns.targets
        if isinstance(self.targets, str):
            return (self.targets,)
        if all(isinstance(name, str) for name in self.targets):
            return [str(name) for name in self.targets]
        array = np.asarray(self.targets)
        if array.ndim not in (1, 2):
            raise ArgumentError(f"targets must be names, or an array (n,) or (n, T); found shape {array.shape}")
        return [array] if array.ndim == 1 else list(array.T)


@dataclass(frozen=True)
class BoundRepeat:
    """A `RepeatFactor` that knows its rows."""

    factors: NDArray[np.float64]
    """(m,) how often each row comes in an epoch, on average."""
    count: int = field(init=False)
    """Images in an epoch."""

    stride = 1

    def __post_init__(self) -> None:
        object.__setattr__(self, "count", math.floor(float(self.factors.sum()) + 0.5))

    def positions(self, n: int, *, seed: int, epoch: int) -> NDArray[np.int64]:
        """Every row its factor, rounded up or down, shuffled."""
        rng = seeds.generator(seed, epoch, "order")
        return repeated(systematic(self.factors, rng), rng)
