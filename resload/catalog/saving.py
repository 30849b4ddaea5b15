"""A catalog on disk: a folder with `catalog.json`, `table.parquet` and, where they exist, boxes and masks.

It is written beside its place and renamed, so that a folder of this name is always a whole catalog; and
read once before that, so that what cannot be kept exactly is refused while the original is still there.
"""

import json
import os
import shutil
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pandas as pd

from resload import parquet, regular
from resload.errors import CatalogError
from resload.limits import limits

VERSION = 1
ABOUT = "catalog.json"
TABLES = ("table", "boxes", "masks")


def save(folder: Path, tables: Mapping[str, pd.DataFrame | None], about: Mapping[str, Any]) -> None:
    """Write the tables and what is to know about them; an older catalog of this name is replaced."""
    if folder.exists() and not (folder / ABOUT).is_file() and (not folder.is_dir() or any(folder.iterdir())):
        raise CatalogError(f"{folder} exists and is not a saved catalog: choose another folder")
    folder.parent.mkdir(parents=True, exist_ok=True)
    beside = Path(tempfile.mkdtemp(prefix=f".{folder.name}-", dir=folder.parent))
    try:
        there = {name: table for name in TABLES if (table := tables[name]) is not None}
        for name, table in there.items():
            _write(table, beside / f"{name}.parquet")
        kept = {"resload_catalog": VERSION, "tables": list(there), **about}
        (beside / ABOUT).write_text(json.dumps(kept, indent=1, ensure_ascii=False) + "\n", "utf-8")
        _replace(folder, beside)
    finally:
        shutil.rmtree(beside, ignore_errors=True)


def _replace(folder: Path, new: Path) -> None:
    """Put a finished folder in its place (folders, unlike files, are not replaced in one step)."""
    new.chmod(0o777 & ~_umask())  # mkdtemp makes it private
    if folder.exists():
        old = Path(tempfile.mkdtemp(prefix=f".{folder.name}-", dir=folder.parent))
        folder.replace(old)  # onto an empty folder
        new.replace(folder)
        shutil.rmtree(old)
    else:
        new.replace(folder)


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask


def _write(table: pd.DataFrame, path: Path) -> None:
    """One table, read again and compared: Parquet has no place for columns of mixed types."""
    if _survives(table, path):
        return
    lost = next(name for name in table.columns if not _survives(table[[name]], path))
    raise CatalogError(
        f"column {lost!r} ({table[lost].dtype}) cannot be kept exactly in a file. Make it of one plain "
        f"type: table[{lost!r}] = table[{lost!r}].astype(str)"
    )


def _survives(table: pd.DataFrame, path: Path) -> bool:
    try:
        table.to_parquet(path, engine="pyarrow", index=False)
        return bool(pd.read_parquet(path, engine="pyarrow").equals(table))
    except (ValueError, TypeError):  # pyarrow's errors are these
        return False


def load(folder: Path) -> tuple[pd.DataFrame, dict[str, pd.DataFrame | None], dict[str, Any]]:
    """The table, what is beside it (None for what it has not), and what was kept about them."""
    about = _about(folder)
    found = {name: _read(folder / f"{name}.parquet") for name in about["tables"]}
    beside = {name: found.get(name) for name in TABLES[1:]}
    return found["table"], beside, about


def _read(path: Path) -> pd.DataFrame:
    try:
        return parquet.read(regular.contents(path, limits().table_bytes)[0])[0]
    except (OSError, ValueError) as exc:
        raise CatalogError(f"{path} is missing or damaged, so this catalog has to be saved again: {exc}") from exc


def _about(folder: Path) -> dict[str, Any]:
    try:
        about: dict[str, Any] = regular.document(folder / ABOUT, limits().document_bytes)
        version = int(about["resload_catalog"])
    except (OSError, ValueError, KeyError, TypeError, OverflowError) as exc:
        raise CatalogError(f"{folder} holds no saved catalog (no readable {ABOUT})") from exc
    if version > VERSION:
        raise CatalogError(
            f"{folder} was saved by a later resload (format {version}; this one reads {VERSION}): upgrade"
        )
    if not _is_sound(about):
        raise CatalogError(f"{folder / ABOUT} is damaged, so this catalog has to be saved again")
    return about


def _is_sound(about: dict[str, Any]) -> bool:
    """Whether it says what `save` wrote: names of tables, which become names of files, are ours alone."""
    there = about.get("tables")
    lists = (there, about.get("targets"), about.get("notes"))
    if not all(isinstance(some, list) and all(isinstance(one, str) for one in some) for some in lists):
        return False
    return isinstance(about.get("root"), str) and isinstance(there, list) and {"table"} <= set(there) <= set(TABLES)
