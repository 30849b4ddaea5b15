"""Whole groups dealt out so that every stratum, and the number of films, is shared out by the fractions.

After the iterative stratification of Sechidis, Tsoumakas and Vlahavas ("On the Stratification of Multi-Label
Data", ECML PKDD 2011), with whole groups in the place of single examples: a group is a vector of counts, its
films first and then its films of each stratum.

    the rarest stratum's groups, in random order --> each to the split that has the smallest share of it
    the next stratum's groups, ... and at last those of no stratum
    groups moved or exchanged, as long as that brings the counts closer to what is wanted

The rarest goes first because its groups leave the least choice; what it upsets, commoner strata make good.
"""

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from resload.errors import ArgumentError
from resload.seeds import generator
from resload.splits.dealing import checked_shares, numbered
from resload.splits.exchanging import improve

Counts = NDArray[np.int64]
Floats = NDArray[np.float64]


def stratified_groups(
    groups: object, members: ArrayLike, fractions: Mapping[str, float], *, seed: int = 0
) -> NDArray[Any]:
    """Deal whole groups to named splits so that films, and the films of every stratum, come close to the fractions.

        stratified_groups(table.patient, memberships(table[["nodule", "mass"]]), {"train": .8, "test": .2})

    On the table of ChestX-ray14 (112,120 films, 30,805 patients, 14 findings; .7, .1, .2) films are met exactly and
    every finding's prevalence to 0.24 % of itself, but for Hernia, whose 227 films do not divide so finely
    (benchmarks/results/splits.md).

    Args:
        groups: (n,) any hashables, one per film; equal values stay together. None may be missing.
        members: (n, L) bool: which film belongs to which stratum; a film may belong to many, or none.
        fractions: name -> share, each > 0, summing to 1.
        seed: another seed deals other groups. The answer does not depend on the order of the films.

    Returns:
        (n,) array of objects: the name of each film's split. No split is empty, and a stratum that has as many
        groups as there are splits is meant to reach each of them, however small its share. Neither moving one group nor
        (among up to 64 kinds of groups) exchanging two would bring the counts closer.

    Raises:
        ArgumentError: wrong fractions, missing groups, fewer groups than splits, or members of another length.
    """
    names, shares = checked_shares(fractions)
    codes, sizes = numbered(groups)
    if len(sizes) < len(names):
        raise ArgumentError(f"{len(names)} splits need at least as many groups; found {len(sizes)}")
    counts = _counts(codes, sizes, members)
    wanted = _wanted(counts, shares)
    dealt = _deal(counts, wanted, generator(seed, 0, "split"))
    improve(dealt, counts, wanted)
    labels: NDArray[Any] = np.array(names, dtype=object)[dealt[codes]]
    return labels


def _counts(codes: Counts, sizes: Counts, members: ArrayLike) -> Counts:
    """(groups, 1 + L) films of each group, and how many of them are in each stratum that has any."""
    flags = np.asarray(members, dtype=bool)
    if flags.ndim != 2 or len(flags) != len(codes):
        raise ArgumentError(f"members is (films, strata) for {len(codes)} films; found {flags.shape}")
    strata = [np.bincount(codes, weights=flag, minlength=len(sizes)) for flag in flags.T if flag.any()]
    return np.column_stack([sizes, *strata]).astype(np.int64)


def _wanted(counts: Counts, shares: Floats) -> Floats:
    """(splits, 1 + L) films that each split should have: its share, but one whole group where all can have one.

    The share of a rare stratum in a small split may be less than a film; "none" would then be the closest, and
    nothing could be measured there. What the small splits get beyond their share, the larger ones give.
    """
    totals, raw = counts.sum(axis=0), shares[:, None] * counts.sum(axis=0)
    enough = np.count_nonzero(counts, axis=0) >= len(shares)
    least = np.where(counts > 0, counts, counts.max() + 1).min(axis=0)
    floor = np.where(enough, least, 0).astype(np.float64)
    above = np.maximum(raw - floor, 0.0)
    left = totals - len(shares) * floor
    scale = np.divide(left, above.sum(axis=0), out=np.zeros_like(left), where=above.sum(axis=0) > 0)
    wanted: Floats = floor + above * scale
    return wanted


def _deal(counts: Counts, wanted: Floats, rng: np.random.Generator) -> Counts:
    """(groups,) a split for each, stratum by stratum, from the one with the fewest films left.

    Each goes to the split with the smallest share of the stratum so far, then of films, then by chance; an empty split
    comes first, so none stays empty. The size of the group is not looked at, for the reason that `dealing` gives.
    """
    groups, order = len(counts), rng.permutation(len(counts))
    splits = range(len(wanted))
    dealt = np.full(groups, -1, dtype=np.int64)
    filled = np.zeros_like(wanted)
    chance = rng.permutation(len(wanted)).tolist()
    left = counts.sum(axis=0)
    waiting = {stratum: order[counts[order, stratum] > 0] for stratum in range(counts.shape[1])}
    while waiting:
        # Films are counted in column 0: every group has some, so it comes last.
        stratum = min(waiting, key=lambda one: (one == 0, left[one], one))
        for group in waiting.pop(stratum).tolist():
            if dealt[group] >= 0:
                continue
            shares = list(zip(filled[:, stratum].tolist(), filled[:, 0].tolist(), chance, strict=True))
            best = min(splits, key=shares.__getitem__)
            dealt[group] = best
            filled[best] += counts[group] / wanted[best]
            left -= counts[group]
    return dealt
