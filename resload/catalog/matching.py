"""Films and the rows of a spreadsheet, matched by a key; what does not match is listed, and nothing is guessed.

films        rows                       films_unmatched   no row has their key, or they have none
A1  ------->  A1  (the same row twice   rows_unmatched    no film has their key
A1  ---/      A1   is merged)           repeated          keys that several films share: all get the row
A2            A3
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from resload.catalog import rules, spreadsheets
from resload.errors import ArgumentError, CatalogError

HOW = ("left", "inner")
_BETWEEN = "\x1f"
"""Between the parts of a key of several columns: a control character that none of them has."""


@dataclass(frozen=True)
class JoinReport:
    """How the films of a catalog and the rows of a spreadsheet fit together.

    Keys of several columns have ` / ` between them.
    """

    matched: tuple[str, ...]
    """Ids of films with a row."""
    films_unmatched: tuple[str, ...]
    """Ids of films whose key no row has."""
    films_without_key: tuple[str, ...]
    """Ids of films that have no key."""
    rows_unmatched: tuple[str, ...]
    """Keys of rows that no film has, each once."""
    rows_without_key: int
    """Rows that have no key."""
    merged: Mapping[str, int]
    """Key -> how many equal rows it has, where there are several; they count as one."""
    repeated: Mapping[str, int]
    """Key -> how many films share it, where there are several; each of them gets the row."""

    def notes(self, name: str, *, dropped: bool) -> list[str]:
        """The same as sentences, the first of each list by name."""
        left = "and were left out" if dropped else "and have no values"
        found = [f"{len(self.matched)} films were joined with {name}"]
        if self.films_unmatched:
            films = rules.some(self.films_unmatched)
            found.append(f"{len(self.films_unmatched)} films have no row in {name} {left}: {films}")
        if self.films_without_key:
            films = rules.some(self.films_without_key)
            found.append(f"{len(self.films_without_key)} films have no key to join {name} by {left}: {films}")
        if self.rows_unmatched:
            found.append(f"{len(self.rows_unmatched)} keys of {name} have no film: {rules.some(self.rows_unmatched)}")
        if self.rows_without_key:
            found.append(f"{self.rows_without_key} rows of {name} have no key and were left out")
        if self.merged:
            found.append(f"{len(self.merged)} keys of {name} have several equal rows: {_counted(self.merged)}")
        if self.repeated:
            found.append(
                f"{len(self.repeated)} keys are those of several films, {sum(self.repeated.values())} in all, which "
                f"share a row: {_counted(self.repeated)}"
            )
        return found


def _counted(found: Mapping[str, int]) -> str:
    return rules.some([f"{key} ({count})" for key, count in found.items()])


@dataclass(frozen=True)
class Match:
    """Which row of a spreadsheet each film has."""

    place: NDArray[np.int64]
    """(films,) the row of `columns`, or -1."""
    columns: pd.DataFrame
    """The spreadsheet's columns, without its keys."""
    report: JoinReport
    name: str
    """What the spreadsheet is called."""


def matched(films: pd.DataFrame, source: object, on: str | Mapping[str, str], targets: Sequence[str] = ()) -> Match:
    """Match the films of a catalog's table with the rows of a spreadsheet.

    Raises ArgumentError for a wrong `on`, CatalogError for everything that is wrong with the spreadsheet.
    """
    pairs = _pairs(on)
    missing = [ours for ours in pairs if ours not in films.columns]
    if missing:
        raise ArgumentError(f"on: the catalog has no column {rules.some(missing)}; found: {list(films.columns)}")
    table, name = spreadsheets.table_of(source, list(pairs.values()))
    spreadsheets.refuse_words(table, targets, name)
    _refuse_clashes(films, [str(one) for one in table.columns.drop(list(pairs.values()))], name)
    film_keys = _joined(films.assign(**{ours: spreadsheets.keys_of(films[ours]) for ours in pairs}), list(pairs))
    row_keys = _joined(table, list(pairs.values()))
    rows, merged = _one_row_each(table, row_keys, name)
    keys = row_keys.iloc[rows]
    place = pd.Index(keys).get_indexer(pd.Index(film_keys))
    place[film_keys.isna().to_numpy()] = -1
    lonely = list(film_keys[(place < 0) & film_keys.notna().to_numpy()].unique())
    alone = list(keys.iloc[np.setdiff1d(np.arange(len(keys)), place)])
    _refuse_damage(lonely, alone, name)
    if (place < 0).all():
        raise CatalogError(
            f"no key of {name} is one of a film. Its keys are such as {_few(alone)}; those of films are such as "
            f"{_few(lonely)}. Is on= the right column?"
        )
    report = _report(films["id"], film_keys, place, alone, int(row_keys.isna().sum()), merged)
    columns = table.drop(columns=list(pairs.values())).iloc[rows].reset_index(drop=True)
    return Match(place.astype(np.int64), columns, report, name)


def joined(films: pd.DataFrame, match: Match, how: str) -> pd.DataFrame:
    """The films' table with the columns of their rows; `how` is one of HOW."""
    gaps = bool((match.place < 0).any())
    truths = [name for name, kind in match.columns.dtypes.items() if gaps and kind.kind == "b"]
    beside = match.columns.astype(dict.fromkeys(truths, "boolean")).reindex(match.place).reset_index(drop=True)
    table = pd.concat([films.reset_index(drop=True), beside], axis=1)
    return table[match.place >= 0] if how == "inner" else table


def check_how(how: str) -> None:
    """Refuse a `how` that is none of HOW."""
    if how not in HOW:
        raise ArgumentError(f"how is 'left' (keep all films) or 'inner' (keep those with a row); found {how!r}")


def _pairs(on: str | Mapping[str, str]) -> dict[str, str]:
    pairs = {on: on} if isinstance(on, str) else dict(on) if isinstance(on, Mapping) else {}
    if not pairs or not all(isinstance(name, str) for pair in pairs.items() for name in pair):
        raise ArgumentError(f"on is a column, or {{catalog's column: spreadsheet's column}}; found {on!r}")
    return pairs


def _refuse_clashes(films: pd.DataFrame, theirs: Sequence[str], name: str) -> None:
    both = [column for column in theirs if column in films.columns]
    if both:
        raise CatalogError(
            f"{name} and the catalog both have {rules.some(both)}: rename them, or leave them out, before joining: "
            f"table.drop(columns={both})"
        )


def _joined(table: pd.DataFrame, names: Sequence[str]) -> pd.Series:
    """(n,) one text for the keys of each row; missing where one of them is."""
    first, *others = (table[name] for name in names)
    for other in others:
        first = first + _BETWEEN + other
    return first


def _one_row_each(table: pd.DataFrame, keys: pd.Series, name: str) -> tuple[NDArray[np.int64], dict[str, int]]:
    """The first row of each key, and the keys with several equal ones. Rows that contradict each other are refused."""
    there = keys.notna().to_numpy()
    again = keys.duplicated().to_numpy() & there
    counts = keys[there & keys.duplicated(keep=False).to_numpy()].value_counts(sort=False)
    different = again & ~table.duplicated().to_numpy()
    if different.any():
        which = keys[different].unique()
        one, two = (table[rows & keys.eq(which[0])].iloc[0] for rows in (~different, different))
        apart = [column for column in table.columns if not one[[column]].equals(two[[column]])]
        raise CatalogError(
            f"{len(which)} keys of {name} have rows that contradict each other: {rules.some(map(_shown, which))}; "
            f"those of {_shown(which[0])} differ in {rules.some(apart)}. Keep one row for each key: for findings, "
            "table.groupby(key, as_index=False).max()"
        )
    return np.flatnonzero(there & ~again), _counts(counts)


def _counts(found: pd.Series) -> dict[str, int]:
    return {_shown(str(key)): int(count) for key, count in found.items()}


def _shown(key: str) -> str:
    return key.replace(_BETWEEN, " / ")


def _few(keys: Sequence[str]) -> str:
    return rules.some(map(_shown, keys), 3) or "none"


def _report(
    ids: pd.Series,
    films: pd.Series,
    place: NDArray[np.int64],
    alone: Sequence[str],
    rows_without_key: int,
    merged: Mapping[str, int],
) -> JoinReport:
    there, nameless = place >= 0, films.isna().to_numpy()
    shared = films[there].value_counts(sort=False)
    return JoinReport(
        matched=tuple(ids[there]),
        films_unmatched=tuple(ids[~there & ~nameless]),
        films_without_key=tuple(ids[nameless]),
        rows_unmatched=tuple(map(_shown, alone)),
        rows_without_key=rows_without_key,
        merged=merged,
        repeated=_counts(shared[shared > 1]),
    )


def _refuse_damage(films: Sequence[str], rows: Sequence[str], name: str) -> None:
    """Refuse keys without a partner that a spreadsheet program has changed."""
    whole = {_as_numbers(key): key for key in films}
    damaged = {key: whole[_as_numbers(key)] for key in rows if _as_numbers(key) in whole}
    if damaged:
        pairs = rules.some([f"{_shown(theirs)} for {_shown(ours)}" for theirs, ours in damaged.items()])
        ours_lost = all(len(ours) < len(theirs) and not theirs.endswith(".0") for theirs, ours in damaged.items())
        raise CatalogError(
            f"{len(damaged)} keys of {name} are keys of films but for their zeros: {pairs}. A program took them for "
            f"numbers, and nothing is matched by guessing. {_READ_AS_TEXT if ours_lost else _KEEP_AS_TEXT}"
        )
    rounded = [_shown(key) for key in rows if any(_ROUNDED.fullmatch(part) for part in key.split(_BETWEEN))]
    if rounded:
        raise CatalogError(
            f"{len(rounded)} keys of {name} were rounded as numbers: {rules.some(rounded)}. {_KEEP_AS_TEXT}"
        )


def _as_numbers(key: str) -> str:
    """The key with what a number loses of it, zeros at its front, and gains, `.0` behind it, taken away."""
    found = [_NUMBER.fullmatch(part) or part for part in key.split(_BETWEEN)]
    return _BETWEEN.join(part if isinstance(part, str) else part[1] for part in found)


_KEEP_AS_TEXT = (
    "Format the column as text in the spreadsheet before its keys are entered, and export it again; or mend them: "
    "table[key] = table[key].astype(str).str.zfill(8), and join the table"
)
_READ_AS_TEXT = (
    "It is the catalog that lost them: read its column as text, pandas.read_csv(..., dtype={key: str}), and make the "
    "catalog again"
)
_NUMBER = re.compile(r"0*(\d+?)(?:\.0+)?")
_ROUNDED = re.compile(r"\d(?:[.,]\d+)?[eE]\+\d+")
"""2.02311E+15: what Excel makes of a long number."""
