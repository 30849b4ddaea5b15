r"""How well one attribute alone separates a target: a shortcut that a network may learn instead of the finding.

Portable machines stand where the sick lie, and a network that can tell machines then "finds" pneumothorax (Zech et
al., PLoS Medicine 15, e1002683, 2018). Here each film is scored by the share of positive films among those that
have the same value (the same manufacturer, the same bits), and the area under the ROC curve of that score is taken:

    films of 5 parts, whole patients in each      the score of a film is made of the other four parts,
    |  0  |  1  |  2  |  3  |  4  |               so it knows neither the film nor its patient;
       \____ score ____/                          AUC within each part, then averaged over pairs of films

Counting replaces sorting: films of one value in one part have one score, so a table of parts x values holds all.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from resload.overview.mix import is_share
from resload.seeds import permutation

LIMIT = 0.9
"""Warned of from this AUC on. The networks of the ChestX-ray14 paper stayed below it for every finding (Wang et al.,
CVPR 2017): an attribute that does better without looking at the film is the easier thing to learn."""
LEAST = 20
"""Films of either class that are needed: with 20 and 20 an attribute that says nothing has an AUC of 0.5 with a
standard deviation of 0.09, so that 0.9 is more than four of them away."""
PARTS = 5
PRIOR = 2.0
"""Films of average share that each value's share is mixed with: one positive film alone is no proof."""
VALUES = 12
"""Values whose films are counted in a report; archives have thousands of sizes."""
UNKNOWN = "not known"
"""Not knowing is a value as well: that a header lacks it says who wrote it."""


@dataclass(frozen=True, slots=True)
class Share:
    """The films of one value."""

    value: str
    films: int
    positive: int


@dataclass(frozen=True, slots=True)
class Shortcut:
    """What one attribute says of one target."""

    target: str
    attribute: str
    auc: float
    """0.5 says nothing, 1 separates it without a film. Cross-fitted, so values of few films do not flatter it."""
    shares: tuple[Share, ...]
    """Of the VALUES most frequent values, in this order, over films whose target is known."""

    @property
    def nearly_separates(self) -> bool:
        """Whether it reaches LIMIT."""
        return self.auc >= LIMIT


def parts_of(table: pd.DataFrame) -> NDArray[np.int64]:
    """(n,) which of PARTS each film is in: whole patients where they are known, else film by film."""
    column = table["patient"] if "patient" in table.columns else pd.Series(np.nan, index=table.index)
    whose = pd.factorize(column)[0]
    alone = whose < 0
    whose[alone] = len(table) + np.flatnonzero(alone)
    codes, people = pd.factorize(whose)
    return permutation(len(people), 0, 0, "report")[codes] % PARTS


def positives(values: NDArray[np.float32]) -> NDArray[np.bool_]:
    """(n,) bool: above one half for values from 0 to 1, else (an age) above the median. NaN is not positive."""
    known = values[~np.isnan(values)]
    return np.asarray(values > (0.5 if is_share(known) else np.median(known)))


def found(
    targets: Mapping[str, NDArray[np.float32]], attributes: Mapping[str, "pd.Series[Any]"], parts: NDArray[np.int64]
) -> tuple[Shortcut, ...]:
    """Every attribute with two or more values against every target with LEAST films of both classes."""
    coded = {name: pd.factorize(column.astype("string").fillna(UNKNOWN)) for name, column in attributes.items()}
    return tuple(
        one
        for target, values in targets.items()
        for attribute, (codes, names) in coded.items()
        if (one := _shortcut(target, values, attribute, codes, list(names), parts)) is not None
    )


def _shortcut(
    target: str,
    values: NDArray[np.float32],
    attribute: str,
    codes: NDArray[np.int64],
    names: list[str],
    parts: NDArray[np.int64],
) -> Shortcut | None:
    known = ~np.isnan(values)
    positive = positives(values)[known]
    if min(positive.sum(), (~positive).sum()) < LEAST or len(np.unique(codes[known])) < 2:
        return None
    cell, size = parts[known] * len(names) + codes[known], PARTS * len(names)
    yes, no = (np.bincount(cell[which], minlength=size).reshape(PARTS, -1) for which in (positive, ~positive))
    films, sick = (yes + no).sum(axis=0), yes.sum(axis=0)
    order = [code for code in np.argsort(-films, kind="stable")[:VALUES] if films[code]]
    shares = tuple(Share(names[code], int(films[code]), int(sick[code])) for code in order)
    return Shortcut(target, attribute, auc_of(yes, no), shares)


def auc_of(yes: NDArray[np.int64], no: NDArray[np.int64]) -> float:
    """The cross-fitted AUC of (parts, values) counts of positive and of negative films."""
    right, pairs = 0.0, 0
    for part in range(len(yes)):
        sick, films = yes.sum(axis=0) - yes[part], (yes + no).sum(axis=0) - (yes + no)[part]
        average = sick.sum() / max(films.sum(), 1)
        score = (sick + PRIOR * average) / (films + PRIOR)
        right += _pairs_in_order(score, yes[part], no[part])
        pairs += int(yes[part].sum() * no[part].sum())
    return right / pairs if pairs else 0.5


def _pairs_in_order(score: NDArray[np.float64], yes: NDArray[np.int64], no: NDArray[np.int64]) -> float:
    """How many pairs of a positive and a negative film the score has in order; equal scores are half in order."""
    level, at = np.unique(score, return_inverse=True)
    yes, no = (np.bincount(at, weights=one, minlength=len(level)) for one in (yes, no))
    below = np.cumsum(no) - no
    return float((yes * (below + no / 2)).sum())
