"""What makes a table a catalog. Every refusal says which column and rows, and what to do.

Column types after these rules: `id`, `path` and texts are strings (pandas' `str` from version 3 on, objects
before), targets are float32 with NaN for unknown, sizes and spacings are float64 with NaN for unknown
(NumPy's integers have no NaN), `frame_index` is int64. Everything else keeps the type it came with: a
patient may be a number, a text, any hashable.
"""

import logging
import os
from collections.abc import Sequence

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from resload.errors import CatalogError
from resload.masks.runs import FORMATS

logger = logging.getLogger("resload")

REQUIRED = ("id", "path")
NUMBERS = ("height", "width", "bits", "spacing_y", "spacing_x")
BOX_COLUMNS = ("id", "label", "x", "y", "width", "height")


def say(notes: list[str], sentence: str) -> None:
    """Keep a sentence about what was left out or changed, and log it in one line."""
    notes.append(sentence)
    logger.warning(sentence)


def some(values: object, most: int = 5) -> str:
    """The first few of many, for a message: `a, b, c ... (120 in all)`."""
    items = [str(value) for value in values]  # type: ignore[attr-defined]
    text = ", ".join(items[:most])
    return text if len(items) <= most else f"{text} ... ({len(items)} in all)"


def need_columns(table: pd.DataFrame, names: Sequence[str], what: str, remedy: str) -> None:
    """Refuse a table that lacks one of these columns, listing those it has."""
    missing = [name for name in names if name not in table.columns]
    if missing:
        raise CatalogError(
            f"{what} needs the columns {', '.join(names)}; missing: {', '.join(missing)}; "
            f"found: {list(table.columns)}. {remedy}"
        )


def checked_table(table: pd.DataFrame, targets: Sequence[str]) -> pd.DataFrame:
    """A copy of the table that keeps every rule of a catalog, with rows numbered from 0."""
    table = _plain(table, "the table")
    need_columns(table, REQUIRED, "a catalog", "Rename columns, or use Catalog.from_csv(..., path='...')")
    if not len(table):
        raise CatalogError("a catalog needs at least one radiograph; this table has no rows")
    for name in REQUIRED:
        table[name] = _names(table[name])
    _refuse_repeats(table["id"])
    for name in targets:
        table[name] = _target(table, name)
    for name in NUMBERS:
        if name in table.columns:
            table[name] = _number(table[name])
    if "frame_index" in table.columns:
        table["frame_index"] = _frame_index(table["frame_index"])
    if "split" in table.columns:
        _refuse_unnamed_splits(table["split"])
    for name in ("patient", "group", "slot"):
        if name in table.columns and table[name].dtype == object:
            _refuse_unhashable(table[name])
    return table


def checked_targets(targets: Sequence[str]) -> tuple[str, ...]:
    """Names of targets as a tuple; one name alone is a name, not its letters."""
    names = (targets,) if isinstance(targets, str) else tuple(targets)
    if len(set(names)) < len(names):
        raise CatalogError(f"each target is named once; found {list(names)}")
    reserved = [name for name in names if name in (*REQUIRED, *NUMBERS, "split", "frame_index")]
    if reserved:
        raise CatalogError(f"{', '.join(reserved)} cannot be a target: the name has a meaning of its own")
    return names


def checked_boxes(boxes: pd.DataFrame | None, ids: pd.Series) -> pd.DataFrame | None:
    """Boxes in source pixels with float64 sides, each of a film in the catalog."""
    if boxes is None:
        return None
    boxes = _plain(boxes, "the table of boxes")
    need_columns(boxes, BOX_COLUMNS, "a table of boxes", "x and y are the upper left corner, in pixels")
    boxes["id"] = _names(boxes["id"])
    for name in BOX_COLUMNS[2:]:
        boxes[name] = _numeric(boxes[name])
    sides = boxes[["x", "y", "width", "height"]].to_numpy()
    bad = ~np.isfinite(sides).all(axis=1) | (sides[:, 2:] <= 0).any(axis=1)
    if bad.any():
        raise CatalogError(
            f"boxes need finite x, y and a width and height > 0; {bad.sum()} have not, "
            f"of films {some(boxes['id'][bad])}. Leave them out"
        )
    _refuse_strangers(boxes["id"], ids, "boxes")
    return boxes


def checked_masks(masks: pd.DataFrame | None, ids: pd.Series) -> pd.DataFrame | None:
    """Masks by path or run-length (columns `rle`, `rle_format`), one in each row, each of a film in the catalog."""
    if masks is None:
        return None
    masks = _plain(masks, "the table of masks")
    need_columns(masks, ("id", "label"), "a table of masks", "Each row is one mask of one label")
    if not {"path", "rle"} & set(masks.columns):
        raise CatalogError(f"a table of masks needs a column path or rle; found: {list(masks.columns)}")
    masks["id"] = _names(masks["id"])
    _refuse_strangers(masks["id"], ids, "masks")
    unclear = masks.reindex(columns=["path", "rle"]).notna().sum(axis=1) != 1
    if unclear.any():
        raise CatalogError(
            f"each mask has either a path or an rle; neither or both have {some(masks['id'][unclear])}. Write '-1' as "
            "rle for a mask known to be empty, and leave out the rows of masks that are unknown"
        )
    if "rle_format" in masks.columns and not masks["rle_format"].dropna().isin(FORMATS).all():
        raise CatalogError(
            f"'rle_format' is one of {', '.join(FORMATS)}, or nothing for {FORMATS[0]}; "
            f"found {some(masks['rle_format'].dropna().unique())}"
        )
    return masks


def _plain(table: pd.DataFrame, what: str) -> pd.DataFrame:
    """A copy with rows numbered from 0, text columns as text and NaN wherever a text is missing."""
    if not isinstance(table, pd.DataFrame):
        raise CatalogError(f"{what} is a pandas DataFrame; found {type(table).__name__}")
    names = list(table.columns)
    if len(set(names)) < len(names) or not all(isinstance(name, str) for name in names):
        raise CatalogError(f"columns have different names, all of them texts; found {names}")
    table = table.reset_index(drop=True).copy()
    for name in names:
        column = table[name]
        if column.dtype == object and pd.api.types.infer_dtype(column, skipna=True) in ("string", "empty"):
            table[name] = as_text(column)
    return table


def as_text(values: object) -> pd.Series:
    """Texts and missing values as one column: pandas' own `str` from version 3 on, objects before."""
    column = pd.Series(values, dtype=object)
    column = column.where(column.notna(), np.nan)
    return column.astype("str") if int(pd.__version__.partition(".")[0]) >= 3 else column


def _names(column: pd.Series) -> pd.Series:
    """Ids or paths as texts; a whole float (a CSV's int column) is written as the int it was."""
    missing = column.isna() | (column.astype(str) == "")
    if missing.any():
        raise CatalogError(
            f"every row needs {column.name!r}; {int(missing.sum())} of {len(column)} have none, the first "
            f"in row {int(missing.to_numpy().argmax())}. Drop them: table[table[{column.name!r}].notna()]"
        )
    if pd.api.types.is_float_dtype(column) and (column % 1 == 0).all():
        column = column.astype(np.int64)
    return as_text(column.map(os.fspath) if _holds_paths(column) else column.astype(str))


def _holds_paths(column: pd.Series) -> bool:
    return column.dtype == object and all(isinstance(value, os.PathLike) for value in column)


def _refuse_repeats(ids: pd.Series) -> None:
    repeated = ids[ids.duplicated()].unique()
    if len(repeated):
        raise CatalogError(
            f"each radiograph has an id of its own; repeated: {some(repeated)}. "
            "Keep one row for each film (targets of several rows: table.groupby('id').max()), "
            "or make ids of two columns"
        )


def _refuse_strangers(named: pd.Series, ids: pd.Series, what: str) -> None:
    strangers = named[~among(named, ids)].unique()
    if len(strangers):
        raise CatalogError(
            f"{what} name films that are not in the catalog: {some(strangers)}. "
            f"Keep the others: {what}[{what}['id'].isin(table['id'])]"
        )


def among(values: pd.Series, others: pd.Series) -> NDArray[np.bool_]:
    """(n,) bool: which values are among the others (pandas' `isin` takes a second for 100,000 texts)."""
    known = set(others.to_numpy(dtype=object))
    return np.array([value in known for value in values.to_numpy(dtype=object)], dtype=np.bool_)


def _numeric(column: pd.Series) -> pd.Series:
    """float64 with NaN for missing; texts are refused even where they look like numbers."""
    if column.isna().all():
        return pd.Series(np.nan, index=column.index, name=column.name, dtype=np.float64)
    kind = pd.api.types.infer_dtype(column, skipna=True)
    if kind not in ("integer", "floating", "mixed-integer-float", "boolean", "decimal"):
        wrong = [value for value in column.dropna() if isinstance(value, str)][:3] or list(column[:3])
        raise CatalogError(
            f"{column.name!r} must hold numbers, and nothing where it is unknown; found {kind} values such "
            f"as {wrong}. Convert: table[{column.name!r}] = pandas.to_numeric(table[{column.name!r}])"
        )
    return column.astype("Float64").astype("float64") if kind == "boolean" else column.astype("float64")


def _target(table: pd.DataFrame, name: str) -> pd.Series:
    if name not in table.columns:
        raise CatalogError(f"there is no column for target {name!r}; found: {list(table.columns)}")
    return _numeric(table[name]).astype(np.float32)


def _number(column: pd.Series) -> pd.Series:
    numbers = _numeric(column)
    wrong = ~(numbers.isna() | ((numbers > 0) & np.isfinite(numbers)))
    if wrong.any():
        raise CatalogError(
            f"{column.name!r} must be > 0, and empty where it is unknown; {int(wrong.sum())} rows have such "
            f"values as {some(numbers[wrong].unique())}"
        )
    return numbers


def _frame_index(column: pd.Series) -> pd.Series:
    numbers = _numeric(column)
    if numbers.isna().any() or (numbers < 0).any() or (numbers % 1 != 0).any():
        raise CatalogError("'frame_index' must be a whole number >= 0 in every row (0 for single images)")
    return numbers.astype(np.int64)


def _refuse_unhashable(column: pd.Series) -> None:
    try:
        column.nunique()
    except TypeError as exc:  # lists, dicts, arrays
        raise CatalogError(
            f"{column.name!r} holds values that cannot be told apart ({exc}), such as {str(column.iloc[0])[:40]}. "
            f"Convert: table[{column.name!r}] = table[{column.name!r}].astype(str)"
        ) from exc


def _refuse_unnamed_splits(column: pd.Series) -> None:
    others = [value for value in column.dropna().unique() if not isinstance(value, str)]
    if others:
        raise CatalogError(
            f"'split' holds names such as 'train', and nothing where there is none; found {some(others)}. "
            "Convert: table['split'] = table['split'].astype(str)"
        )
