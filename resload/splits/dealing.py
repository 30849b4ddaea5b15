"""Whole groups dealt out to splits, so that the number of films in each meets its fraction."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from resload.errors import ArgumentError
from resload.seeds import generator

Counts = NDArray[np.int64]
Shares = NDArray[np.float64]


def split_groups(groups: object, fractions: Mapping[str, float], *, seed: int = 0) -> NDArray[Any]:
    """Deal whole groups to named splits so that the films in each come close to its fraction.

        split_groups([1, 1, 2, 3], {"train": .75, "test": .25})   # two whole groups in train, one in test

    Args:
        groups: (n,) any hashables, one per film; equal values stay together. None may be missing.
        fractions: name -> share, each > 0, summing to 1.
        seed: another seed deals other groups. The answer depends on neither the order of the films nor on
            how often it is asked.

    Returns:
        (n,) array of objects: the name of each film's split. No split is empty, and neither moving one
        group nor exchanging two would bring the counts of films closer to the fractions.

    Raises:
        ArgumentError: wrong fractions, missing groups, or fewer groups than splits.
    """
    names, shares = checked_shares(fractions)
    codes, sizes = numbered(groups)
    if len(sizes) < len(names):
        raise ArgumentError(f"{len(names)} splits need at least as many groups; found {len(sizes)}")
    wanted = shares * sizes.sum()
    dealt = _deal(sizes, wanted, generator(seed, 0, "split").permutation(len(sizes)))
    while _improve(dealt, sizes, wanted):
        pass
    labels: NDArray[Any] = np.array(names, dtype=object)[dealt[codes]]
    return labels


def checked_shares(fractions: Mapping[str, float]) -> tuple[list[str], Shares]:
    """Names and shares; the shares sum to exactly what floating point makes of 1."""
    names, shares = list(fractions), np.array(list(fractions.values()), dtype=np.float64)
    # Written so that NaN fails too.
    if not names or not (shares > 0).all() or not abs(shares.sum() - 1) <= 1e-6:
        raise ArgumentError(
            "fractions are > 0 and sum to 1, for example {'train': .7, 'val': .1, 'test': .2}; "
            f"found {dict(fractions)} with sum {shares.sum():g}"
        )
    return names, shares / shares.sum()


def numbered(groups: object) -> tuple[Counts, Counts]:
    """(n,) the group of each film as a number, and (groups,) the films in each.

    Groups are numbered by their spelling, not by first appearance: sorting the films changes no split.
    """
    codes, values = pd.factorize(pd.Series(groups))
    if (codes < 0).any():
        raise ArgumentError(f"every film needs a group; found {int((codes < 0).sum())} without")
    by_name = np.array(sorted(range(len(values)), key=lambda code: str(values[code])), dtype=np.int64)
    number = np.empty(len(values), dtype=np.int64)
    number[by_name] = np.arange(len(values))
    codes = number[codes]
    return codes, np.bincount(codes, minlength=len(values))


def _deal(sizes: Counts, wanted: Shares, order: Counts) -> Counts:
    """(groups,) a split for each: in random order, each to the split that is then the least full.

    The choice must not look at the group's size, or splits would differ in more than their numbers: largest
    first sends the same patients to the same split whatever the seed, and "where it fits best" sends the
    patients with many films to the largest split. Each split gets one of the first groups, so that none is
    empty.
    """
    dealt = np.empty(len(sizes), dtype=np.int64)
    first = order[: len(wanted)]
    dealt[first] = np.arange(len(wanted))
    have = sizes[first].astype(np.float64).tolist()
    goal = wanted.tolist()
    splits = range(len(goal))
    for group in order[len(goal) :]:
        best = min(splits, key=lambda split: have[split] / goal[split])
        have[best] += int(sizes[group])
        dealt[group] = best
    return dealt


def _improve(dealt: Counts, sizes: Counts, wanted: Shares) -> bool:
    """Make the one move or exchange that brings the counts closest; False when none brings them closer.

    An exchange is two groups of two splits; a move is an exchange with an empty group. Groups of one size
    in one split are alike, so only distinct sizes are compared.
    """
    have = np.bincount(dealt, weights=sizes, minlength=len(wanted))
    apart = have - wanted
    best_gain, best = 1e-9, None
    for a in range(len(wanted)):
        for b in range(len(wanted)):
            if apart[a] <= apart[b]:
                continue
            alone = np.count_nonzero(dealt == a) == 1  # then it may be exchanged, not given away
            out, back = _offers(dealt, sizes, a, nothing=False), _offers(dealt, sizes, b, nothing=not alone)
            moved = out[:, None] - back[None, :]
            gain = abs(apart[a]) + abs(apart[b]) - abs(apart[a] - moved) - abs(apart[b] + moved)
            i, j = np.unravel_index(int(gain.argmax()), gain.shape)
            if gain[i, j] > best_gain:
                best_gain, best = gain[i, j], (a, b, out[i], back[j])
    if best is None:
        return False
    a, b, out_size, back_size = best
    leaving = np.flatnonzero((dealt == a) & (sizes == out_size))[0]
    if back_size:
        dealt[np.flatnonzero((dealt == b) & (sizes == back_size))[0]] = a
    dealt[leaving] = b
    return True


def _offers(dealt: Counts, sizes: Counts, split: int, *, nothing: bool) -> Counts:
    """Distinct sizes of the groups in a split, and 0 if nothing may be given as well."""
    mine = np.unique(sizes[dealt == split])
    return np.concatenate([[0], mine]) if nothing else mine
