"""Which rows of a table are meant, and which of its columns are targets."""

from collections.abc import Sequence

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from resload.errors import ArgumentError


def rows_in(
    table: pd.DataFrame, readable: NDArray[np.bool_], *, split: str | None = None, where: object = None
) -> NDArray[np.int64]:
    """Rows of a table, ascending, that are readable and of a split and fit a condition. Raises ArgumentError."""
    chosen = readable.copy()
    if split is not None:
        chosen &= _in_split(table, split)
    if where is not None:
        chosen &= _fitting(table, where)
    return np.flatnonzero(chosen)


def _in_split(table: pd.DataFrame, split: str) -> NDArray[np.bool_]:
    if "split" not in table:
        raise ArgumentError(
            f"split={split!r}: there are no splits; make them with Catalog.split or, on a cache, with_table"
        )
    found: NDArray[np.bool_] = (table["split"] == split).fillna(False).to_numpy(bool)
    if not found.any():
        names = sorted(table["split"].dropna().unique())
        raise ArgumentError(f"split={split!r}: there are {names}")
    return found


def _fitting(table: pd.DataFrame, where: object) -> NDArray[np.bool_]:
    if isinstance(where, str):
        try:
            mask = np.asarray(table.eval(where))
        except Exception as exc:  # pandas raises many kinds for a bad query
            raise ArgumentError(f"where={where!r}: {exc}; columns are {list(table.columns)}") from exc
    else:
        mask = np.asarray(where)
    if mask.dtype != bool or mask.shape != (len(table),):
        raise ArgumentError(f"where must give one bool per row ({len(table)}); found {mask.dtype} {mask.shape}")
    return mask


def numeric_targets(table: pd.DataFrame, targets: Sequence[str]) -> tuple[str, ...]:
    """The targets, their columns made float32 in place. Raises ArgumentError for one that is no column of numbers."""
    for name in targets:
        if name not in table:
            raise ArgumentError(f"targets: {name!r} is not a column; there are {list(table.columns)}")
        try:
            table[name] = table[name].astype("float32")
        except (TypeError, ValueError) as exc:
            raise ArgumentError(f"targets: column {name!r} is not numeric ({exc})") from exc
    return tuple(targets)
