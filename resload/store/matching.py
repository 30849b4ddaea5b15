"""Another table's columns, matched with a cache's rows by the values of one column."""

import logging

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from resload.errors import ArgumentError
from resload.store.pseudonyms import Plain

_log = logging.getLogger("resload")


def with_columns(own: pd.DataFrame, given: pd.DataFrame, on: str, names: Plain, *, hashed: bool) -> pd.DataFrame:
    """A copy of a cache's table, with the given table's columns in place of, or beside, those that are there.

    Rows without a match get NaN, and their number is logged. names: how the given table's identifiers are stored.
    hashed: whether those of the cache are pseudonyms.

    Raises ArgumentError when the column `on` is missing or repeats, or nothing matches.
    """
    for name, frame in (("the given table", given), ("this cache's table", own)):
        if on not in frame:
            raise ArgumentError(f"on={on!r}: not a column of {name}, which has {list(frame.columns)}")
    if given[on].duplicated().any():
        twice = given[on][given[on].duplicated()].iloc[0]
        raise ArgumentError(f"on={on!r}: values repeat in the given table (first: {twice!r}); keep one row of each")
    places = pd.Index(names.named(on, given[on])).get_indexer(pd.Index(own[on]))
    _say_unmatched(on, places, hashed=hashed)
    joined = own.copy()
    for column in given.columns:
        if column != on:
            taken = given[column].take(np.maximum(places, 0)).reset_index(drop=True)
            joined[column] = taken if (places >= 0).all() else taken.where(places >= 0)
    return joined


def _say_unmatched(on: str, places: NDArray[np.intp], *, hashed: bool) -> None:
    missing = int((places < 0).sum())
    if missing == len(places):
        key = " (its identifiers are pseudonyms: give the key)" if hashed else ""
        raise ArgumentError(f"on={on!r}: no row of the given table matches this cache{key}; compare the two columns")
    if missing:
        _log.warning("with_table: %d of %d rows have no match on %r and get NaN", missing, len(places), on)
