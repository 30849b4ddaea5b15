"""What the adapters share: files found in the layouts that circulate, tables read, and what is missing said.

    find, need        one of several spellings of a table's name, plain or .gz
    home              the folder below the root that a data set begins in
    read_csv          a table, with the file named when it cannot be read
    renamed           its columns under our names, however its releases and copies spell them
    listed, walked    file name -> path below the root, from folders (or whole trees) that are listed once
    by_stem           the same by names without an extension
    there             which of many paths are there, by listing their folders
    with_paths        the rows of a table whose file is there; the others left out and counted, or refused
    kept              the same for rows whose paths are known already
    with_test_films   labelled films, and those for testing that have no labels
    unlisted          files that no row of the table names, counted
    against_release, parts_against_release   what is here compared with the published counts
    years, sexes      ages and sexes as they are spelled
    numbered          a column of numbers that has to be one
    once, known       rows that must not be repeated; words that must be among the known ones
    choice            a policy's name, checked

Nothing here opens an image. Sentences for the user go to `notes` (`rules.say` also logs them).
"""

import os
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

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
        here = names_in(root)
        raise CatalogError(
            f"{root} has no {' or '.join(names)} (or .gz); found: {rules.some(here) if here else 'nothing'}. "
            "Give the folder that the data set was unpacked to"
        )
    return found


def home(root: Path, inside: str, holders: Sequence[str]) -> str:
    """The folder that holds a folder `inside`, as a path below the root: the first of these patterns that one fits.

    holders: patterns below the root, `.` for itself. Raises CatalogError for none, and for several of one pattern.
    """
    for pattern in holders if root.is_dir() else ():
        found = sorted(root.glob(f"{pattern}/{inside}"))
        if len(found) > 1:
            raise CatalogError(f"{root} has several folders {inside}: {rules.some(found)}. Give the one that is meant")
        if found:
            return found[0].parent.relative_to(root).as_posix()
    raise CatalogError(
        f"{root} has no folder {inside}, nor one that holds it; found: {rules.some(names_in(root)) or 'nothing'}. "
        "Give the folder that the data set was unpacked to"
    )


def read_csv(csv: str | Path, **options: Any) -> pd.DataFrame:
    """`pandas.read_csv`; a file that cannot be read is a CatalogError that names it."""
    try:
        table: pd.DataFrame = pd.read_csv(csv, **options)
    except (OSError, ValueError) as exc:  # pandas' parser errors are ValueErrors
        raise CatalogError(f"{csv} cannot be read as a CSV: {exc}") from exc
    return table


def renamed(
    raw: pd.DataFrame, columns: Mapping[str, Sequence[str]], csv: str | Path, what: str, *, optional: Sequence[str] = ()
) -> pd.DataFrame:
    """The table's columns under our names, in our order, and no others; blanks around its own names do not count.

    columns: our name -> how the table's releases and copies spell it. what: what the table should be, for the refusal.
    optional: our names of columns that may be lacking. Raises CatalogError, listing the columns that are there.
    """
    raw = raw.rename(columns=lambda name: str(name).strip())
    there = {ours: next((s for s in names if s in raw.columns), None) for ours, names in columns.items()}
    lacking = [columns[ours][0] for ours, theirs in there.items() if theirs is None and ours not in optional]
    if lacking:
        raise CatalogError(f"{csv} is no {what}: it has no column {', '.join(lacking)}; found: {list(raw.columns)}")
    return pd.DataFrame({ours: raw[theirs] for ours, theirs in there.items() if theirs is not None})


def listed(root: Path, folders: Iterable[str], suffixes: Sequence[str]) -> dict[str, str]:
    """File name -> path below the root ("/" on every system), of all files in these folders with these suffixes.

    Folders are listed once; asking for each of a hundred thousand files would take minutes. Raises CatalogError for
    a name that is in two of them.
    """
    return _indexed(root, ((folder, names_in(root / folder)) for folder in folders), suffixes)


def walked(root: Path, starts: Iterable[str], suffixes: Sequence[str]) -> dict[str, str]:
    """The same for all folders below these, hidden ones left out, where a tree has a folder for each film or two."""
    return _indexed(root, (found for start in starts for found in _tree(root, start)), suffixes)


def _tree(root: Path, start: str) -> Iterator[tuple[str, list[str]]]:
    for folder, folders, names in os.walk(root / start):
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        yield Path(folder).relative_to(root).as_posix(), sorted(names)


def _indexed(root: Path, found: Iterable[tuple[str, list[str]]], suffixes: Sequence[str]) -> dict[str, str]:
    where: dict[str, str] = {}
    for folder, names in found:
        for name in (name for name in names if name.endswith(tuple(suffixes))):
            path = f"{folder}/{name}" if folder != "." else name
            if where.setdefault(name, path) != path:
                raise CatalogError(
                    f"{name} is both in {Path(where[name]).parent} and {folder} of {root}: "
                    f"say which is meant, for example images={folder!r}"
                )
    return where


def by_stem(where: Mapping[str, str]) -> dict[str, str]:
    """Files by their name without its last extension, for tables that do not spell it.

    Raises CatalogError for two that differ in it only.
    """
    found: dict[str, str] = {}
    for name, path in where.items():
        if found.setdefault(name.rpartition(".")[0], path) != path:
            raise CatalogError(f"{path} and {found[name.rpartition('.')[0]]} are one image in two formats: keep one")
    return found


def there(root: Path, paths: Sequence[str]) -> NDArray[np.bool_]:
    """(n,) bool: which of these files or folders below the root are there. The folder of each is listed once."""
    split = [path.rpartition("/") for path in paths]
    names = {folder: frozenset(names_in(root / folder)) for folder in dict.fromkeys(folder for folder, *_ in split)}
    return np.array([name in names[folder] for folder, _, name in split], np.bool_)


def names_in(folder: Path) -> list[str]:
    """What a folder holds, sorted; nothing where there is no such folder."""
    if not folder.is_dir():
        return []
    with os.scandir(folder) as entries:
        return sorted(entry.name for entry in entries)


def image_folder(root: Path, images: str | None) -> None:
    """Refuse a folder of images, named by the user, that is not there."""
    if images is not None and not (root / images).is_dir():
        raise CatalogError(f"{root} has no folder {images!r} with images")


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
    return kept(table.assign(path=names.map(where)), names, root, missing=missing, notes=notes, looked=looked)


def kept(
    table: pd.DataFrame, names: pd.Series, root: Path, *, missing: str, notes: list[str], looked: str
) -> pd.DataFrame:
    """The films that have a `path`; `with_paths` says what becomes of the others, which `names` names."""
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


def with_test_films(
    table: pd.DataFrame,
    where: Mapping[str, str],
    suffix: str,
    folders: Sequence[str],
    unlabelled: str,
    notes: list[str],
) -> pd.DataFrame:
    """The labelled films, and those that no row labels, with split "test" and targets that are unknown.

    folders: what the names of folders for testing have in them, one of these. unlabelled: "keep", or "skip" leaves
    test films out and counts them. Files without a label in other folders are counted in `notes`.
    """
    labelled = set(table["id"] + suffix)
    extra = {name: path for name, path in where.items() if name not in labelled}
    test = [name for name, path in extra.items() if any(part in path.rpartition("/")[0] for part in folders)]
    if test and unlabelled == "skip":
        notes.append(f"films for testing without labels, left out: {len(test)}")
    elif test:
        ids = pd.DataFrame({"id": [name.removesuffix(suffix) for name in test], "split": "test"})
        table = pd.concat([table, ids], ignore_index=True)
    unlisted(extra, pd.Series(test, dtype=object), notes)
    return table


def unlisted(where: Mapping[str, str], names: pd.Series, notes: list[str]) -> None:
    """Say which of the files that are there no row names."""
    strangers = sorted(set(where) - set(names))
    if strangers:
        rules.say(notes, f"images that no row of the table names, left out: {rules.some(strangers, 3)}")


def against_release(notes: list[str], **found: tuple[int, int]) -> None:
    """Say where a count (what="images" or "patients": here, in the full release) is not the published one."""
    differing = [f"{here} of {full} {what.replace('_', ' ')}" for what, (here, full) in found.items() if here != full]
    if differing:
        notes.append(f"here, compared with the full release: {', '.join(differing)}")


def parts_against_release(notes: list[str], table: pd.DataFrame, release: Mapping[str, int]) -> None:
    """The same for the number of films in each official part: `release` is split -> films."""
    count = table["split"].value_counts()
    against_release(notes, **{f"{name}_images": (int(count.get(name, 0)), full) for name, full in release.items()})


def years(ages: pd.Series, notes: list[str], *, oldest: float) -> pd.Series:
    """Ages such as 58, `058Y`, `011M`, `002D` as float64 years; NaN, and a note, above `oldest` or where it is none."""
    # Without the sentinel a missing text is a value of its own; with it, -1 would mean the last of the others.
    code, texts = pd.factorize(ages.astype(str), use_na_sentinel=False)
    found = pd.Series(np.array([_age(str(text), oldest) for text in texts])[code], index=ages.index)
    lost = int((found.isna() & ages.notna()).sum())
    if lost:
        notes.append(f"ages that are above {oldest:g} years or no ages at all, now unknown: {lost}")
    return found


def sexes(column: pd.Series, notes: list[str]) -> pd.Series:
    """`F` and `M`, however they are spelled; missing, and counted in a note, for all else."""
    letters = column.astype("string").str.strip().str.upper().map({"F": "F", "M": "M", "FEMALE": "F", "MALE": "M"})
    found = rules.as_text(letters)
    lost = column.notna() & found.isna()
    if lost.any():
        notes.append(f"sexes that are neither F nor M, now unknown: {rules.some(column[lost].tolist(), 3)}")
    return found


def numbered(column: pd.Series, csv: str | Path, name: str) -> NDArray[np.float64]:
    """(n,) float64 of a column of numbers; anything else but a missing value is refused."""
    values = pd.to_numeric(column, errors="coerce")
    wrong = values.isna() & column.notna()
    if wrong.any():
        raise CatalogError(f"{csv}: {name} holds numbers; found {rules.some(column[wrong].unique())}")
    return values.to_numpy(dtype=np.float64)


def once(column: pd.Series, csv: str | Path, what: str) -> None:
    """Refuse a table that has two rows where there must be one."""
    repeated = column[column.duplicated()].unique()
    if len(repeated):
        raise CatalogError(f"{csv} has {what} twice: {rules.some(repeated)}")


def known(column: pd.Series, names: Iterable[str], csv: str | Path, what: str) -> None:
    """Refuse words that are none of these: a label that nobody knows would silently be a negative."""
    strange = sorted(set(column.dropna().unique()) - set(names))
    if strange:
        raise CatalogError(f"{csv} has unknown {what} {rules.some(strange)}; known: {', '.join(names)}")


def _age(text: str, oldest: float) -> float:
    found = re.fullmatch(r"\s*(\d+(?:\.\d+)?)([YMWD]?)\s*", text)
    if found is None:
        return np.nan
    age = float(found[1]) / {"": 1, "Y": 1, "M": 12, "W": 365.25 / 7, "D": 365.25}[found[2]]
    return age if age <= oldest else np.nan
