"""A spreadsheet as a table whose keys are texts: CSV, Excel's two formats, or a table in memory.

Excel turns the accession number 0001234 into 1234, and 2023112012345678 into 2.02311E+15; pandas does the first to a
CSV unless told otherwise. Keys are read as texts here, so what the file says is what is compared.
"""

import io
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from resload.catalog import rules
from resload.errors import ArgumentError, CatalogError, require

NEW, OLD = (".xlsx", ".xlsm"), ".xls"
"""Suffixes of Excel's two formats, of which pandas reads the first by openpyxl."""
WORDS = {
    "yes": 1, "y": 1, "true": 1, "t": 1, "positive": 1, "pos": 1, "present": 1, "abnormal": 1, "+": 1, "ja": 1,
    "no": 0, "n": 0, "false": 0, "f": 0, "negative": 0, "neg": 0, "absent": 0, "normal": 0, "-": 0, "nein": 0,
}  # fmt: skip
"""What words for known and for absent findings would be as numbers; only used to say how to convert them."""


def table_of(source: object, keys: Sequence[str]) -> tuple[pd.DataFrame, str]:
    """The table and what to call it; the key columns are texts, and empty cells are missing.

    Raises CatalogError for a file that cannot be read or lacks a key, ArgumentError for what is no table.
    """
    if isinstance(source, pd.DataFrame):
        table, name = source, "the table"
    elif isinstance(source, str | Path):
        table, name = _read(Path(source), keys), str(source)
    else:
        raise ArgumentError(f"table is a DataFrame or the path of a CSV, xlsx or xls file; found {source!r}")
    if not all(isinstance(column, str) for column in table.columns) or table.columns.has_duplicates:
        raise CatalogError(f"{name}: columns have different names, all of them texts; found {list(table.columns)}")
    missing = [key for key in keys if key not in table.columns]
    if missing:
        joined = list(table.columns)
        hint = "; its columns are parted by ';': pandas.read_csv(..., sep=';')" if _one_of(joined, ";") else ""
        raise CatalogError(f"{name} has no column {rules.some(missing)}; found: {joined}{hint}")
    return table.reset_index(drop=True).assign(**{key: keys_of(table[key]) for key in keys}), name


def _one_of(columns: Sequence[str], sign: str) -> bool:
    return len(columns) == 1 and sign in columns[0]


def _read(path: Path, keys: Sequence[str]) -> pd.DataFrame:
    texts = dict.fromkeys(keys, str)
    try:
        if path.suffix.lower() == OLD:
            return old_sheet(path).infer_objects()
        if path.suffix.lower() in NEW:
            require("openpyxl", "excel", f"to read {path.name}")
            table: pd.DataFrame = pd.read_excel(path, dtype=texts)
        else:
            table = pd.read_csv(path, dtype=texts, low_memory=False, encoding="utf-8-sig")
    except UnicodeDecodeError as exc:
        raise CatalogError(
            f"{path} is not UTF-8, as a CSV saved by Excel may be: save it as 'CSV UTF-8', or give "
            f"pandas.read_csv({str(path)!r}, encoding='cp1252')"
        ) from exc
    except (ImportError, CatalogError):
        raise
    except Exception as exc:  # the readers' errors have no common base (zipfile's, pandas')
        raise CatalogError(f"{path} cannot be read as a spreadsheet: {exc}") from exc
    return table


def old_sheet(path: Path) -> pd.DataFrame:
    """The first sheet of an xls file, a new table of objects: texts, whole and other numbers, dates; None where empty.

    By xlrd itself: pandas has deprecated its way to it.

    Raises MissingPackageError without xlrd, CatalogError for a file that it cannot read.
    """
    xlrd = require("xlrd", "excel", f"to read {path.name}")
    try:
        book = xlrd.open_workbook(str(path), logfile=io.StringIO())
        sheet = book.sheet_by_index(0)
        header, *rows = (
            [_value(xlrd, cell, book.datemode) for cell in sheet.row(number)] for number in range(sheet.nrows)
        )
        return pd.DataFrame(rows, columns=header, dtype=object)
    except Exception as exc:  # xlrd raises what it comes across: its own errors, struct.error, IndexError, ...
        raise CatalogError(f"{path} cannot be read as a spreadsheet: {exc!r}") from exc


def _value(xlrd: Any, cell: Any, datemode: int) -> object:
    if cell.ctype in (xlrd.XL_CELL_EMPTY, xlrd.XL_CELL_BLANK):
        return None
    if cell.ctype == xlrd.XL_CELL_DATE:
        return xlrd.xldate_as_datetime(cell.value, datemode)
    if cell.ctype == xlrd.XL_CELL_BOOLEAN:
        return bool(cell.value)
    return int(cell.value) if isinstance(cell.value, float) and cell.value.is_integer() else cell.value


def keys_of(column: pd.Series) -> pd.Series:
    """Keys as trimmed texts; whole numbers are written as such, empty cells are missing."""
    if pd.api.types.is_float_dtype(column) and (column.dropna() % 1 == 0).all():
        column = column.astype("Int64")
    texts = rules.as_text(column.astype("string").astype(object)).str.strip()
    return texts.where(texts != "")


def refuse_words(table: pd.DataFrame, targets: Sequence[str], name: str) -> None:
    """Refuse targets that are words, with the conversion to write; of numbers as texts the catalog's rules speak."""
    for target in targets:
        if target not in table.columns:
            raise CatalogError(f"{name} has no column {target!r} to learn; found: {list(table.columns)}")
        column = table[target]
        words = sorted({value for value in column.dropna() if isinstance(value, str)})
        if words and pd.to_numeric(pd.Series(words), errors="coerce").isna().any():
            known = all(word.strip().lower() in WORDS for word in words)
            pairs = ", ".join(f"{word!r}: {WORDS[word.strip().lower()] if known else '...'}" for word in words[:6])
            raise CatalogError(
                f"{target!r} in {name} must hold numbers, and nothing where it is unknown; found such words as "
                f"{rules.some(words)}. Convert before joining: table[{target!r}] = table[{target!r}].map({{{pairs}}})"
            )
