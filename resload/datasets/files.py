"""What the adapters share: files found in the layouts that circulate, tables read, and what is missing said.

    find, need        one of several spellings of a table's name, plain or .gz
    read_csv          a table, with the file named when it cannot be read
    listed            file name -> path below the root, from folders that are listed once
    with_paths        the rows of a table whose file is there; the others left out and counted, or refused
    years, choice     ages as they are spelled; a policy's name, checked

Nothing here opens an image. Sentences for the user go to `notes` (`rules.say` also logs them).
"""

import os
import re
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from resload.catalog import rules
from resload.errors import ArgumentError, CatalogError

MISSING = ("skip", "raise")
"""What is done with films of the table whose file is not there."""


def choice(name: str, value: object, allowed: Sequence[str]) -> None:
    """Refuse a policy that is none of the allowed ones."""
    if value not in allowed:
        raise ArgumentError(f"{name} is {' or '.join(repr(one) for one in allowed)}; found {value!r}")


def find(root: Path, names: Sequence[str]) -> Path | None:
    """The first of these files (paths below the root) that is there, plain or with .gz behind its name."""
    return next((root / n for name in names for n in (name, f"{name}.gz") if (root / n).is_file()), None)


def need(root: Path, names: Sequence[str]) -> Path:
    """The same, or a refusal that lists what is there."""
    found = find(root, names)
    if found is None:
        here = sorted(path.name for path in root.iterdir()) if root.is_dir() else []
        raise CatalogError(
            f"{root} has no {' or '.join(names)} (or .gz); found: {rules.some(here) if here else 'nothing'}. "
            "Give the folder that the data set was unpacked to"
        )
    return found


def read_csv(csv: str | Path, **options: Any) -> pd.DataFrame:
    """`pandas.read_csv`; a file that cannot be read is a CatalogError that names it."""
    try:
        table: pd.DataFrame = pd.read_csv(csv, **options)
    except (OSError, ValueError) as exc:  # pandas' parser errors are ValueErrors
        raise CatalogError(f"{csv} cannot be read as a CSV: {exc}") from exc
    return table


def listed(root: Path, folders: Iterable[str], suffixes: Sequence[str]) -> dict[str, str]:
    """File name -> path below the root ("/" on every system), of all files in these folders with these suffixes.

    Folders are listed once; asking for each of a hundred thousand files would take minutes. Raises CatalogError for
    a name that is in two of them.
    """
    where: dict[str, str] = {}
    for folder in folders:
        with os.scandir(root / folder) as entries:
            for name in sorted(entry.name for entry in entries):
                path = f"{folder}/{name}" if folder != "." else name
                if name.endswith(tuple(suffixes)) and where.setdefault(name, path) != path:
                    raise CatalogError(
                        f"{name} is both in {Path(where[name]).parent} and {folder} of {root}: "
                        f"say which is meant, for example images={folder!r}"
                    )
    return where


def with_paths(
    table: pd.DataFrame,
    names: pd.Series,
    where: Mapping[str, str],
    root: Path,
    *,
    missing: str,
    notes: list[str],
    looked: str,
) -> pd.DataFrame:
    """The films whose file is there, with their `path`.

    names: the file name of each row, a key of `where`. missing: "skip" leaves the others out and counts them in
    `notes`, "raise" refuses; none at all is always refused. looked: where one looked, for that sentence.
    """
    table = table.assign(path=names.map(where))
    absent = table["path"].isna()
    if absent.any():
        count = f"{int(absent.sum())} of {len(table)} images are not in {root}"
        first = f"the first: {rules.some(names[absent], 3)}"
        if absent.all() or missing == "raise":
            raise CatalogError(
                f"{count}; {first}. Looked in {looked}; "
                + ("is the data set unpacked there?" if absent.all() else "missing='skip' leaves them out")
            )
        rules.say(notes, f"{count} and were left out; {first}")
    return table[~absent]


def years(ages: pd.Series, notes: list[str], *, oldest: float) -> pd.Series:
    """Ages such as 58, `058Y`, `011M`, `002D` as float64 years; NaN, and a note, above `oldest` or where it is none."""
    code, texts = pd.factorize(ages.astype(str))
    found = pd.Series(np.array([_age(text, oldest) for text in texts])[code], index=ages.index)
    lost = int((found.isna() & ages.notna()).sum())
    if lost:
        notes.append(f"ages that are above {oldest:g} years or no ages at all, now unknown: {lost}")
    return found


def _age(text: str, oldest: float) -> float:
    found = re.fullmatch(r"\s*(\d+(?:\.\d+)?)([YMWD]?)\s*", text)
    if found is None:
        return np.nan
    age = float(found[1]) / {"": 1, "Y": 1, "M": 12, "W": 365.25 / 7, "D": 365.25}[found[2]]
    return age if age <= oldest else np.nan
