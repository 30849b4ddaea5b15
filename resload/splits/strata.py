"""Columns of a table as strata: which film belongs to which.

A column of up to ten different values has a stratum for each of them but the most frequent one, which the others
leave over; one of more numbers (ages in months) has ten bins of equally many films. Unknown values (NaN) are one
stratum more: prevalence is positives of *known* films, so both have to be shared out.
"""

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from resload.errors import ArgumentError

FEW = 10
"""Up to so many different values are strata of their own (BI-RADS categories, views, sexes)."""

BINS = 10
"""Bins of equally many films for a column with more values than `FEW`."""

MANY = 50
"""So many different texts are names rather than kinds, and nothing to stratify by."""


def memberships(columns: pd.DataFrame) -> NDArray[np.bool_]:
    """(n, L) bool, a new array: which film belongs to which stratum of these columns; (n, 0) for no columns.

    Numbers, truth values, texts and categories are taken. The answer for a film depends on its own values and on how
    often values occur, not on the order of the films.

    Raises ArgumentError for a column of more than `MANY` different texts.
    """
    found = [flags for name in columns for flags in _of_column(columns[name])]
    return np.stack(found, axis=1) if found else np.zeros((len(columns), 0), dtype=bool)


def _of_column(column: pd.Series) -> list[NDArray[np.bool_]]:
    unknown = column.isna().to_numpy(dtype=bool)
    codes = _codes(column)
    counts = np.bincount(codes[~unknown])
    rarer = [code for code in range(len(counts)) if code != counts.argmax()]
    return [(codes == code) & ~unknown for code in rarer] + ([unknown] if unknown.any() else [])


def _codes(column: pd.Series) -> NDArray[np.int64]:
    """(n,) a number for each kind of value, in the order of the values; unknown ones get any."""
    values = column.dropna()
    different = values.nunique()
    number = pd.api.types.is_numeric_dtype(column) and not pd.api.types.is_bool_dtype(column)
    if different > FEW and number:
        ranks = pd.qcut(values.astype(np.float64), BINS, labels=False, duplicates="drop")
    elif different > MANY:
        raise ArgumentError(
            f"column {column.name!r} has {different} different values, so films cannot be shared out by it; stratify "
            f"by numbers, or by a column with at most {MANY} kinds"
        )
    else:
        ranks = pd.Series(pd.factorize(values.astype(str), sort=True)[0], index=values.index)
    return ranks.reindex(column.index).fillna(0).to_numpy(dtype=np.int64)
