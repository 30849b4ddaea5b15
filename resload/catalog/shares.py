"""How even splits are: films, groups and targets of each, as a table."""

from collections.abc import Iterator
from typing import Any

import pandas as pd

COLUMNS = {
    "split": "object",
    "films": "int64",
    "groups": "Int64",
    "target": "object",
    "known": "Int64",
    "unknown": "Int64",
    "positives": "Int64",
    "prevalence": "float64",
    "mean": "float64",
    "sd": "float64",
}
"""The columns of `share_table` and their types."""


def share_table(table: pd.DataFrame, targets: tuple[str, ...], by: str) -> pd.DataFrame:
    """One row for each split and target (or each split, where there are no targets), in the order of the table."""
    rows = [row for name, part in _parts(table) for row in _of_split(name, part, table, targets, by)]
    return pd.DataFrame(rows, columns=list(COLUMNS)).astype(COLUMNS)


def _parts(table: pd.DataFrame) -> list[tuple[str, pd.DataFrame]]:
    if "split" not in table:
        return [("all", table)]
    names = table["split"].astype(object).fillna("none")
    return [(str(name), part) for name, part in table.groupby(names, sort=False)]


def _of_split(
    name: str, part: pd.DataFrame, table: pd.DataFrame, targets: tuple[str, ...], by: str
) -> Iterator[dict[str, Any]]:
    facts = {"split": name, "films": len(part), "groups": part[by].nunique() if by in part else None}
    if not targets:
        yield facts
    for target in targets:
        binary = bool(table[target].dropna().isin([0, 1]).all())
        yield {**facts, "target": target, **_of_target(part[target], yes_or_no=binary)}


def _of_target(values: "pd.Series[Any]", *, yes_or_no: bool) -> dict[str, Any]:
    there = values.dropna()
    facts: dict[str, Any] = {"known": len(there), "unknown": len(values) - len(there)}
    if yes_or_no:
        return facts | {"positives": int(there.sum()), "prevalence": float(there.mean())}
    return facts | {"mean": float(there.mean()), "sd": float(there.std())}
