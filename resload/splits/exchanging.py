"""Groups moved and exchanged between splits, as long as that brings films and strata closer to what is wanted.

What is made small is the sum, over splits and strata, of ((have - wanted) / wanted) squared. Groups of equal counts are
alike, so kinds of groups are compared, a few thousand instead of tens of thousands; and a move is an exchange with
nothing, the last kind.

An exchange of sizes u (out of split a) and v (out of split b) changes the sum by

    u^2 (w_a + w_b) - u (g_a - g_b)   +   v^2 (w_a + w_b) + v (g_a - g_b)   -   2 u v (w_a + w_b)

with weights w = 1 / wanted^2 and gradients g = 2 w (have - wanted). Products with all kinds are kept and corrected
after each exchange; only pairs of splits that it touched are looked at again. The small products are NumPy's own: a
BLAS that starts threads for each of them takes twenty times as long on a machine that has other work.
"""

import itertools
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

Counts = NDArray[np.int64]
Floats = NDArray[np.float64]

FILMS_WEIGH = 100.0
"""How much an error in the number of films weighs against the same relative error in one stratum: as a hundred
strata, so that the fractions are met to a film where groups allow, whatever the targets are."""

OFFERS = 64
"""Of so many kinds of groups that a split may give, exchanges are tried: all of them, but in large data sets with many
strata, where there is choice enough among those that help most to give."""

LEAST_GAIN = 1e-8
"""Exchanges that gain less are not made: it is the square of a tenth of a thousandth of one stratum."""


class _Exchange(NamedTuple):
    """One exchange of two groups by their kinds, and by how much it changes the sum."""

    change: float
    one: int
    other: int
    out: int
    back: int


def improve(dealt: Counts, counts: Counts, wanted: Floats) -> None:
    """Make the exchange that helps most, until none helps; in place.

    dealt: (groups,) the split of each. counts: (groups, 1 + L) its films, and those of each stratum. wanted:
    (splits, 1 + L). A split that has a group keeps one.
    """
    kinds, kind = np.unique(counts, axis=0, return_inverse=True)
    kind = kind.reshape(-1)
    there = np.stack([np.bincount(kind[dealt == split], minlength=len(kinds) + 1) for split in range(len(wanted))])
    table = _Table(kinds, there, wanted)
    pairs = {pair: table.best(*pair) for pair in itertools.combinations(range(len(wanted)), 2)}
    while pairs and (found := min(pairs.values())).change < -LEAST_GAIN:
        leaving = np.flatnonzero((kind == found.out) & (dealt == found.one))[:1]
        coming = np.flatnonzero((kind == found.back) & (dealt == found.other))[:1]
        dealt[leaving], dealt[coming] = found.other, found.one
        table.exchange(found)
        pairs |= {pair: table.best(*pair) for pair in pairs if {found.one, found.other} & set(pair)}


class _Table:
    """Which kinds of groups are where, and what giving each of them would change."""

    def __init__(self, kinds: Counts, there: Counts, wanted: Floats) -> None:
        self._there = there
        self._sizes = np.zeros((kinds.shape[1], len(kinds) + 1))  # (1 + L, kinds and nothing): strata are rows
        self._sizes[:, :-1] = kinds.T
        self._weight = 1.0 / np.maximum(wanted, 1.0) ** 2
        self._weight[:, 0] *= FILMS_WEIGH
        self._square = self._weight @ self._sizes**2
        self._slope = 2.0 * (self._weight * (there @ self._sizes.T - wanted)) @ self._sizes

    def best(self, one: int, other: int) -> _Exchange:
        """The exchange between two splits that helps most."""
        square, slope = self._square[one] + self._square[other], self._slope[one] - self._slope[other]
        out, back = self._offers(one, other, square - slope), self._offers(other, one, square + slope)
        scaled = (self._weight[one] + self._weight[other])[:, None] * self._sizes[:, out]
        both = np.einsum("lu,lv->uv", scaled, self._sizes[:, back])
        change = (square - slope)[out][:, None] + (square + slope)[back][None, :] - 2.0 * both
        i, j = np.unravel_index(int(change.argmin()), change.shape)
        return _Exchange(float(change[i, j]), one, other, int(out[i]), int(back[j]))

    def _offers(self, split: int, other: int, change: Floats) -> Counts:
        """The kinds a split may give, those that help most; nothing too, unless the other then had nothing."""
        mine = np.flatnonzero(self._there[split])
        if len(mine) > OFFERS:
            mine = mine[np.argpartition(change[mine], OFFERS)[:OFFERS]]
        return mine if self._there[other].sum() == 1 else np.append(mine, len(change) - 1)

    def exchange(self, made: _Exchange) -> None:
        """Take note of an exchange."""
        for split, gone, come in ((made.one, made.out, made.back), (made.other, made.back, made.out)):
            self._there[split, gone] -= 1
            self._there[split, come] += 1
            more = self._sizes[:, come] - self._sizes[:, gone]
            rows = np.flatnonzero(more)
            steps = 2.0 * self._weight[split, rows] * more[rows]
            self._slope[split] += (steps[:, None] * self._sizes[rows]).sum(axis=0)
        self._there[:, -1] = 0  # nothing is no group, and is never counted
