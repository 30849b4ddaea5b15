"""Tables from elsewhere and from each other: a CSV's columns renamed, rows chosen, catalogs joined."""

import os
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from resload import leakage
from resload.catalog import folders, rules
from resload.errors import ArgumentError, CatalogError

NAMED = ("id", "path", "patient", "group", "slot", "split", "frame_index", *rules.NUMBERS)
"""Columns that `from_csv` finds under other names."""


def from_csv(csv: Path, columns: dict[str, str | None], targets: Sequence[str]) -> tuple[pd.DataFrame, list[str]]:
    """The CSV's table with our names for the named columns, ids where it has none, and notes."""
    unknown = [name for name in columns if name not in NAMED]
    if unknown:
        raise ArgumentError(f"from_csv names the columns {', '.join(NAMED)}; found {', '.join(unknown)}=")
    there = list(_read(csv, nrows=0).columns)
    if columns["id"] is None and "id" in there:
        columns["id"] = "id"
    named = {ours: theirs for ours, theirs in columns.items() if theirs is not None}
    for theirs in (*named.values(), *rules.checked_targets(targets)):
        if theirs not in there:
            raise CatalogError(f"{csv} has no column {theirs!r}; found: {there}")
    table = _read(csv, dtype={named[name]: str for name in rules.REQUIRED if name in named})
    # A column the CSV calls `path` while the paths are in another one would be two of one name.
    shadowed = [ours for ours in named if ours in there and ours not in named.values()]
    notes: list[str] = []
    if shadowed:
        rules.say(notes, f"columns of {csv.name} left out, as others were named for them: {shadowed}")
    source = {ours: table[theirs] for ours, theirs in named.items()}
    table = table.drop(columns=[*shadowed, *(c for c in set(named.values()) if c not in targets)], errors="ignore")
    table = pd.concat([pd.DataFrame(source), table], axis=1)
    if "id" not in named:
        table.insert(0, "id", _ids(table["path"]))
    return table, notes


def _ids(paths: pd.Series) -> pd.Series:
    """Ids made of paths; a missing path stays missing, and the rules say so."""
    texts = paths.fillna("").astype(str)
    return pd.Series(folders.ids(list(texts)), index=paths.index).where(paths.notna(), "missing path")


def _read(csv: Path, **options: Any) -> pd.DataFrame:
    try:
        table: pd.DataFrame = pd.read_csv(csv, low_memory=False, **options)
    except (OSError, ValueError, UnicodeError) as exc:  # pandas' parser errors are ValueErrors
        raise CatalogError(f"{csv} cannot be read as a CSV: {exc}") from exc
    return table


def chosen(table: pd.DataFrame, rows: object) -> NDArray[np.int64]:
    """(k,) int64 rows meant by numbers, a mask, a query in pandas' words, or None for all."""
    if rows is None:
        return np.arange(len(table))
    if isinstance(rows, str):
        return _queried(table, rows)
    numbers = np.atleast_1d(np.asarray(rows))
    if numbers.dtype == bool:
        if numbers.shape != (len(table),):
            raise ArgumentError(f"a mask has one value per row, {len(table)}; found {numbers.shape}")
        return np.flatnonzero(numbers)
    if not len(numbers):
        return np.empty(0, dtype=np.int64)
    if numbers.dtype.kind not in "iu" or numbers.min() < 0 or numbers.max() >= len(table):
        raise ArgumentError(f"rows are numbers from 0 to {len(table) - 1}, a mask or a query; found {rows!r}")
    return np.asarray(numbers, dtype=np.int64)


def _queried(table: pd.DataFrame, query: str) -> NDArray[np.int64]:
    try:
        found = table.query(query, engine="python")
    except Exception as exc:  # pandas evaluates the words, and anything at all may come of them
        raise ArgumentError(
            f"the query {query!r} does not fit this table ({exc}); columns: {list(table.columns)}"
        ) from exc
    return np.asarray(found.index, dtype=np.int64)


def in_splits(table: pd.DataFrame, split: str | Iterable[str]) -> NDArray[np.bool_]:
    """(n,) bool: the rows in one of these splits; a split that does not exist is refused."""
    if "split" not in table.columns:
        raise ArgumentError("this catalog has no split; make one: catalog.split({'train': .8, 'test': .2})")
    wanted = [split] if isinstance(split, str) else list(split)
    there = list(table["split"].dropna().unique())
    unknown = [name for name in wanted if name not in there]
    if unknown:
        raise ArgumentError(f"there is no split {rules.some(unknown)}; found: {rules.some(there)}")
    return table["split"].isin(wanted).to_numpy(dtype=bool)


@dataclass(frozen=True)
class Part:
    """One catalog on its way into another; a name sets its ids, patients and groups apart."""

    name: str
    root: Path
    table: pd.DataFrame


def common_root(roots: Sequence[Path]) -> Path:
    """The root they share: the same one as it was written, else the deepest folder that holds all."""
    if len(set(roots)) == 1:
        return roots[0]
    return Path(os.path.commonpath([root.absolute() for root in roots]))


def tables(parts: Sequence[Part], root: Path) -> pd.DataFrame:
    """All rows under one root. Repeated ids are refused."""
    frames = [_moved(_of_data_set(_apart(part.table, part.name), part.name), part.root, root) for part in parts]
    ids = pd.concat([frame["id"] for frame in frames])
    repeated = ids[ids.duplicated()].unique()
    if len(repeated):
        raise CatalogError(
            f"these catalogs share ids: {rules.some(repeated)}. Set them apart by names: "
            "Catalog.concat({'first': a, 'second': b}), or select what one of them lacks"
        )
    return _stacked(frames)


def beside(parts: Sequence[Part], tables: Sequence[pd.DataFrame | None], root: Path) -> pd.DataFrame | None:
    """The boxes (or masks) of all parts, or None if no part has any."""
    pairs = [(part, table) for part, table in zip(parts, tables, strict=True) if table is not None]
    frames = [_moved(_apart(table, part.name), part.root, root) for part, table in pairs]
    return _stacked(frames) if frames else None


def _apart(table: pd.DataFrame, name: str) -> pd.DataFrame:
    if not name:
        return table
    columns = [c for c in ("id", "patient", "group", leakage.COLUMN) if c in table.columns]
    named = {c: rules.as_text((name + "/" + table[c].astype(str)).where(table[c].notna())) for c in columns}
    return table.assign(**named)


def _of_data_set(table: pd.DataFrame, name: str) -> pd.DataFrame:
    """The table with a column that says which catalog its films came from; one that is there stays."""
    return table.assign(data_set=name) if name and "data_set" not in table.columns else table


def shared_films(table: pd.DataFrame) -> list[str]:
    """A note, also logged, for each two of its data sets that are known to share films."""
    notes: list[str] = []
    for sentence in leakage.overlap_notes(table["data_set"].dropna().unique()) if "data_set" in table.columns else ():
        rules.say(notes, sentence)
    return notes


def _moved(table: pd.DataFrame, old: Path, new: Path) -> pd.DataFrame:
    """Relative paths below the old root as paths below the new one."""
    if old == new or "path" not in table.columns:
        return table
    prefix = Path(os.path.relpath(old.absolute(), new)).as_posix()
    if prefix == ".":
        return table
    absolute = table["path"].map(lambda path: isinstance(path, str) and Path(path).is_absolute())
    return table.assign(path=table["path"].where(absolute, prefix + "/" + table["path"]))


def _stacked(frames: Sequence[pd.DataFrame]) -> pd.DataFrame:
    """Rows below each other; where a part lacks a column of truth values it becomes nullable, not objects."""
    columns = list(dict.fromkeys(name for frame in frames for name in frame.columns))
    ready = []
    for frame in frames:
        gaps = {name: "boolean" for name in frame.columns if frame[name].dtype == bool}
        partial = {name: kind for name, kind in gaps.items() if any(name not in f.columns for f in frames)}
        ready.append(frame.astype(partial))
    return pd.concat(ready, ignore_index=True)[columns]
