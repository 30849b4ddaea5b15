"""How a catalog's table is divided: which rows, what stays together, what is shared out, what must not be parted."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from resload.catalog import rules
from resload.errors import ArgumentError
from resload.leakage import clusters_of, crossing_clusters
from resload.splits import balanced_draw, joined_groups, memberships, split_groups, stratified_groups

LEAKS = ("refuse", "join", "allow")


@dataclass(frozen=True)
class Part:
    """The rows of a table that are divided."""

    table: pd.DataFrame
    """All rows."""
    rows: NDArray[np.bool_]
    """Which of them are divided."""

    @classmethod
    def of(cls, table: pd.DataFrame, within: str | None, *, names: Iterable[str]) -> "Part":
        """All rows, or those of a split; the names of new splits must be free outside of it."""
        if within is None:
            return cls(table, np.ones(len(table), dtype=bool))
        rows = in_split(table, within)
        refuse_taken(old_labels(table)[~rows], names)
        return cls(table, rows)


@dataclass(frozen=True)
class Rule:
    """How they are divided."""

    by: str
    """The column whose equal values stay together."""
    seed: int
    """Another one deals other groups."""
    stratify: tuple[str, ...]
    """The columns that are shared out."""
    leaks: str
    """What becomes of near-duplicates that would be parted: one of `LEAKS`."""
    duplicates: pd.DataFrame | None
    """Pairs of them; None where the table's own column tells."""


def in_split(table: pd.DataFrame, name: str) -> NDArray[np.bool_]:
    """(n,) bool: the rows of this split. Raises ArgumentError when there are none."""
    there = list(table["split"].dropna().unique()) if "split" in table else []
    if name not in there:
        raise ArgumentError(f"within={name!r}: there is no such split; found: {rules.some(there) or 'none'}")
    return (table["split"] == name).to_numpy(dtype=bool)


def old_labels(table: pd.DataFrame) -> NDArray[Any]:
    """(n,) objects, a new array: the split of each row; missing where there is none."""
    if "split" not in table:
        return np.full(len(table), None, dtype=object)
    return table["split"].to_numpy(dtype=object, copy=True)


def refuse_taken(outside: NDArray[Any], names: Iterable[str]) -> None:
    """Refuse new names that films have which are not divided: nobody could tell the two apart afterwards."""
    taken = sorted(set(names) & {name for name in outside if isinstance(name, str)})
    if taken:
        raise ArgumentError(
            f"films that are not divided are in a split {rules.some(taken)} already; give the new splits other names"
        )


def columns(table: pd.DataFrame, targets: tuple[str, ...], stratify: bool | Sequence[str]) -> tuple[str, ...]:
    """The columns to share out: all targets, none, or those that are named."""
    if isinstance(stratify, bool):
        return targets if stratify else ()
    names = (stratify,) if isinstance(stratify, str) else tuple(stratify)
    missing = [name for name in names if name not in table]
    if missing:
        raise ArgumentError(f"stratify={list(names)}: no such column {rules.some(missing)}; found: {list(table)}")
    return names


def dealt(part: Part, rule: Rule, fractions: Mapping[str, float]) -> NDArray[Any]:
    """(n,) objects: the new label of each row that is divided, the old split of the others."""
    if rule.leaks not in LEAKS:
        raise ArgumentError(f"leaks is one of {', '.join(LEAKS)}; found {rule.leaks!r}")
    chosen = part.table[part.rows]
    clusters = clusters_of(part.table, rule.duplicates)
    groups: object = known_groups(chosen, rule.by)
    if rule.leaks == "join":
        groups = joined_groups(groups, clusters[part.rows])
    labels = old_labels(part.table)
    if rule.stratify:
        strata = memberships(chosen[list(rule.stratify)])
        labels[part.rows] = stratified_groups(groups, strata, fractions, seed=rule.seed)
    else:
        labels[part.rows] = split_groups(groups, fractions, seed=rule.seed)
    if rule.leaks != "allow":
        _refuse_parted(part, clusters, labels)
    return labels


def known_groups(table: pd.DataFrame, by: str) -> "pd.Series[Any]":
    """The column whose equal values stay together. Raises ArgumentError where it is missing, or has gaps."""
    if by not in table.columns:
        raise ArgumentError(
            f"there is no column {by!r} to keep together; found: {list(table.columns)}. "
            "Films of one patient in two splits leak; if each film is of another patient, use by='id'"
        )
    unknown = int(table[by].isna().sum())
    if unknown:
        raise ArgumentError(
            f"{unknown} of {len(table)} films have no {by!r}, so nobody knows what belongs together. "
            f"Fill the column in, select the others, or use by='id'"
        )
    return table[by]


def _refuse_parted(part: Part, clusters: "pd.Series[Any]", labels: NDArray[Any]) -> None:
    """Refuse to part near-duplicates; among the films that are not divided they are nobody's fault here."""
    parted = [rows for rows in crossing_clusters(clusters, labels) if part.rows[rows].any()]
    if not parted:
        return
    ids = part.table["id"].to_numpy(dtype=object)
    shown = [" and ".join(f"{ids[row]} ({labels[row]})" for row in rows[:3]) for rows in parted[:3]]
    outside = sum(not part.rows[rows].all() for rows in parted)
    message = f"clusters of near-duplicate films that would lie in several splits: {len(parted)}; {'; '.join(shown)}. "
    if outside < len(parted):
        message += "leaks='join' keeps each cluster together, as if one patient. "
    if outside:
        message += f"{outside} of them reach into films that within= does not divide: leave those out with select. "
    raise ArgumentError(message + "leaks='allow' parts them all the same")


def balanced_rows(table: pd.DataFrame, target: str, ratio: float, seed: int, within: str | None) -> NDArray[np.int64]:
    """Rows, ascending: each split (or the one that is named) with all positives and as many negatives drawn."""
    values = _yes_or_no(table, target)
    if not 0 < ratio < float("inf"):
        raise ArgumentError(f"ratio is negatives for each positive, > 0; found {ratio!r}")
    if within is not None:
        in_split(table, within)
    names = pd.Series(old_labels(table)).fillna("").to_numpy(dtype=object)
    by_id = np.argsort(table["id"].to_numpy(dtype=str), kind="stable")  # so that the order of rows does not matter
    kept: list[NDArray[np.int64]] = []
    for index, name in enumerate(sorted(set(names))):
        rows = by_id[names[by_id] == name]
        if within in (None, name):
            _need_both(values[rows], target, name)
            rows = rows[balanced_draw(values[rows], ratio=ratio, seed=seed, index=index)]
        kept.append(rows)
    return np.sort(np.concatenate(kept))


def _yes_or_no(table: pd.DataFrame, target: str) -> NDArray[np.float32]:
    if target not in table:
        raise ArgumentError(f"there is no column {target!r} to balance; found: {list(table.columns)}")
    others = [value for value in table[target].dropna().unique() if value not in (0, 1)]
    if others:
        raise ArgumentError(f"{target!r} is balanced by 1 (yes) and 0 (no); found also {rules.some(others)}")
    return table[target].astype("Float32").to_numpy(dtype=np.float32, na_value=np.nan)


def _need_both(values: NDArray[np.float32], target: str, split: str) -> None:
    positives, negatives = int((values == 1).sum()), int((values == 0).sum())
    if not positives or not negatives:
        where = f" in split {split!r}" if split else ""
        raise ArgumentError(
            f"{target!r} has {positives} positives and {negatives} negatives{where}, so nothing can be balanced there"
        )
