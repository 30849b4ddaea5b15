"""What belongs together and lies apart: patients in several splits, and clusters of near-duplicates."""

from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from resload.errors import ArgumentError, CatalogError
from resload.splits import components

COLUMN = "near_duplicates"
"""The column of a catalog that names the cluster of a film by the first film of it; missing for a film of none."""


def shared_groups(table: pd.DataFrame, *, by: str = "patient") -> pd.DataFrame:
    """The groups that are in several splits: one row each, with `by`, `splits` ("test, train") and `films`.

    Official splits have them too (in CBIS-DDSM a patient may be in the cases of masses for training and in those of
    calcifications for testing), so they are counted and refused by nobody. Films without a group or a split are left
    out.

    Raises ArgumentError where `by` or `split` is no column.
    """
    for name in (by, "split"):
        if name not in table:
            raise ArgumentError(
                f"there is no column {name!r} to look for shared groups in; found {list(table.columns)}"
            )
    known = table[table[by].notna() & table["split"].notna()]
    several = known.groupby(by, sort=False)["split"].transform("nunique") > 1
    grouped = known[several].groupby(by, sort=False)["split"]
    splits = grouped.agg(lambda names: ", ".join(sorted(set(names))))
    return pd.DataFrame({by: splits.index, "splits": splits.to_numpy(), "films": grouped.size().to_numpy()})


def cluster_names(ids: "pd.Series[Any]", pairs: pd.DataFrame) -> "pd.Series[Any]":
    """(n,) objects: for each film the id of the first film of its cluster; missing for a film of no pair.

    pairs: columns `id_a` and `id_b`, and `confirmed` where a pair may be none; ids that are not among `ids` are left
    out. Clusters are what pairs link, in several steps too.

    Raises CatalogError for a table without these columns.
    """
    missing = [name for name in ("id_a", "id_b") if name not in pairs]
    if missing:
        raise CatalogError(f"pairs of near-duplicates need the columns id_a and id_b; missing: {', '.join(missing)}")
    kept = pairs[pairs["confirmed"].astype(bool)] if "confirmed" in pairs else pairs
    places = pd.Index(ids)
    a, b = (places.get_indexer(pd.Index(kept[name])) for name in ("id_a", "id_b"))
    there = (a >= 0) & (b >= 0) & (a != b)
    a, b = a[there], b[there]
    first = components(len(ids), zip(a.tolist(), b.tolist(), strict=True))
    inside = np.zeros(len(ids), dtype=bool)
    inside[a] = inside[b] = True
    return pd.Series(ids.to_numpy(dtype=object)[first], index=ids.index, dtype=object).where(inside, None)


def clusters_of(table: pd.DataFrame, duplicates: pd.DataFrame | None) -> "pd.Series[Any]":
    """(n,) objects: the cluster of each film, from pairs, or else from the column that a scan made."""
    if duplicates is not None:
        return cluster_names(table["id"], duplicates)
    if COLUMN in table:
        return table[COLUMN].astype(object)
    return pd.Series(None, index=table.index, dtype=object)


def crossing_clusters(clusters: "pd.Series[Any]", labels: NDArray[Any]) -> list[NDArray[np.int64]]:
    """The rows of each cluster that is in several splits; films that are in none (a missing label) do not count."""
    there = np.flatnonzero((clusters.notna() & pd.notna(pd.Series(labels, index=clusters.index))).to_numpy())
    if not len(there):
        return []
    found = pd.DataFrame({"row": there, "cluster": clusters.to_numpy()[there], "label": labels[there]})
    several = found.groupby("cluster", sort=False)["label"].transform("nunique") > 1
    return [part.to_numpy() for _, part in found[several].groupby("cluster", sort=False)["row"]]
