"""`near_duplicates`: pairs of films that show the same, and what makes each of them matter."""

from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from resload.errors import ArgumentError
from resload.leakage.images import CacheLike, CatalogLike, Films, films_of
from resload.leakage.overlaps import overlap_between
from resload.leakage.search import Pairs, correlations, similar_pairs

THRESHOLD = 0.98
"""At 32 x 32 pixels, copies that were re-encoded, resized or made brighter correlate by 0.9999 with their film, and
different films by 0.913 at most: seen on 90 films of ChestX-ray14 (benchmarks/results/near_duplicates.md). In between
lies room for copies that were worse treated."""

AT_ONCE = 4096
"""Pairs that are confirmed at once: their films at 128 x 128 take up to 270 MB."""


def near_duplicates(
    data: CacheLike | CatalogLike,
    *,
    size: int = 32,
    threshold: float = THRESHOLD,
    confirm: int = 128,
    threads: int | None = None,
    progress: bool = True,
) -> pd.DataFrame:
    """The pairs of films that show the same: copies re-encoded, resized, brighter, or with black and white exchanged.

        pairs = resload.near_duplicates(cache)
        pairs[pairs.confirmed & (pairs.split_a != pairs.split_b)]     # the leaks

    All pairs are compared, exactly, by the correlation of their pixels at a small size, and those found once more at
    a larger one. A cache answers from its levels; a catalog's files are decoded, and those of the pairs found a second
    time. Films that were flipped, turned or cropped are not found; constant ones are nobody's duplicate.

    Args:
        data: an open cache (or a view of one), or a catalog.
        size: the side, in pixels, at which all films are compared, each stretched to a square.
        threshold: the smallest |correlation| of a near-duplicate, at both sizes.
        confirm: the side of the larger size. A cache that holds nothing as large confirms at its largest level.
        threads: of reading, decoding and comparing; by default one per core.
        progress: a bar on stderr when that is a terminal.

    Returns:
        One row for each pair, in the order of the films: `id_a`, `id_b`, `correlation` (float64, |r| at `size`),
        `fine_correlation` (|r| at `confirm`), `confirmed` (bool, `fine_correlation` reaches the threshold),
        `inverted` (bool), `same_patient` (boolean, missing where a patient is), `split_a`, `split_b`, `data_set_a`,
        `data_set_b` (the column `data_set`, which `Catalog.concat` makes, else what an id has before its first slash),
        and `overlap`, the known overlap of two public data sets that explains the pair.

    Memory is `size` squared values of the stored type for each film (115 MB for 112,120 of 8 bits). Films that cannot
    be read are left out. Raises ArgumentError for wrong arguments, and for a threshold so low that twenty million
    pairs reach it; SizeError for a cache with no level of `size`.
    """
    if not 2 <= size <= confirm:
        raise ArgumentError(f"size is at least 2 pixels and confirm at least size; found {size!r} and {confirm!r}")
    films = films_of(data, threads=threads, progress=progress)
    rows, images = films.small(size)
    found = similar_pairs(images, threshold, threads=threads)
    found = found._replace(first=rows[found.first], second=rows[found.second])
    return _described(films.table, found, _fine(films, found, confirm), threshold)


def _fine(films: Films, found: Pairs, side: int) -> NDArray[np.float64]:
    """(pairs,) float64: |correlation| of the pairs at the larger size."""
    fine = np.empty(len(found.first))
    for start in range(0, len(fine), AT_ONCE):
        part = slice(start, start + AT_ONCE)
        rows, places = np.unique(np.stack([found.first[part], found.second[part]]), return_inverse=True)
        a, b = places.reshape(2, -1)
        fine[part] = np.abs(correlations(films.large(rows, side), a, b))
    return fine


def _described(table: pd.DataFrame, found: Pairs, fine: NDArray[np.float64], threshold: float) -> pd.DataFrame:
    """The pairs as a table, with what the films' own table says of both."""
    a, b = (table.iloc[rows].reset_index(drop=True) for rows in (found.first, found.second))
    sets_a, sets_b = data_sets(a), data_sets(b)
    return pd.DataFrame(
        {
            "id_a": a["id"],
            "id_b": b["id"],
            "correlation": np.abs(found.correlation),
            "fine_correlation": fine,
            "confirmed": fine >= threshold,
            "inverted": found.correlation < 0,
            "same_patient": _same(_column(a, "patient"), _column(b, "patient")),
            "split_a": _column(a, "split"),
            "split_b": _column(b, "split"),
            "data_set_a": sets_a,
            "data_set_b": sets_b,
            "overlap": _explained(sets_a, sets_b),
        }
    )


def _column(table: pd.DataFrame, name: str) -> "pd.Series[Any]":
    return table[name] if name in table else pd.Series(None, index=table.index, dtype=object)


def _same(a: "pd.Series[Any]", b: "pd.Series[Any]") -> "pd.Series[Any]":
    """Truth values, missing where one of the two is."""
    return (a == b).astype("boolean").mask(a.isna() | b.isna())


def data_sets(table: pd.DataFrame) -> "pd.Series[Any]":
    """The data set of each film: the column of this name, else what its id has before the first slash; else missing."""
    if "data_set" in table:
        return table["data_set"]
    parts = table["id"].astype(object).str.partition("/") if len(table) else pd.DataFrame({0: [], 1: []})
    return parts[0].where(parts[1] == "/").astype(object)


def _explained(a: "pd.Series[Any]", b: "pd.Series[Any]") -> "pd.Series[Any]":
    """The reason for which two data sets share films, where they are known to."""
    known: dict[tuple[object, object], str | None] = {}
    for pair in set(zip(a, b, strict=True)):
        overlap = overlap_between(*pair) if all(isinstance(name, str) for name in pair) else None
        known[pair] = None if overlap is None else overlap.reason
    return pd.Series([known[pair] for pair in zip(a, b, strict=True)], index=a.index, dtype=object)
