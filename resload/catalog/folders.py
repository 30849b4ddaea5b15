"""A tree of files as a table: splits and classes from folders, ids from paths."""

import os
import re
from collections.abc import Iterator, Sequence
from pathlib import Path, PurePosixPath

import numpy as np
import pandas as pd

from resload.catalog import reading, rules
from resload.errors import CatalogError, DecodeError

SPLITS = {"train": "train", "val": "val", "valid": "val", "validation": "val", "test": "test"}
"""Folder names that are splits, in any case, and what the split is called."""

EXTENSION = re.compile(r"\.[A-Za-z][A-Za-z0-9]{0,7}$")
"""What an id leaves out. DICOM files are often named by a UID alone (`1.2.840.10008`): digits stay."""


def found_in(root: Path, *, threads: int | None, progress: bool) -> tuple[list[str], list[str]]:
    """Paths below the root (with `/`) of all files whose content is an image, sorted; and notes."""
    if not root.is_dir():
        raise CatalogError(f"{root} is not a folder: a catalog is made of the files in one")
    notes: list[str] = []
    paths = files_below(root, notes)
    kinds = reading.spread(
        lambda path: reading.kind(root / path), paths, threads=threads, progress=progress, what="look"
    )
    others = [path for path, kind in zip(paths, kinds, strict=True) if isinstance(kind, DecodeError)]
    if len(others) == len(paths):
        raise CatalogError(
            f"{root} has no PNG, JPEG, TIFF or DICOM file among its {len(paths)} files "
            f"(told by content, not by name){': ' + rules.some(others) if others else ''}"
        )
    if others:
        rules.say(
            notes, f"{len(others)} files are no images that resload reads and were left out: {rules.some(others)}"
        )
    skipped = set(others)
    return [path for path in paths if path not in skipped], notes


def files_below(root: Path, notes: list[str]) -> list[str]:
    """Files below the root, sorted; hidden files and folders are not looked at, linked folders are, once.

    Folders that the system does not let one list are said in `notes`.
    """
    failed: list[OSError] = []
    paths = sorted(_files(root, failed))
    if failed:
        first = f"{failed[0].filename}: {failed[0].strerror}"
        rules.say(
            notes, f"{len(failed)} FOLDERS could not be listed, so what is in them is missing; the first: {first}"
        )
    return paths


def _files(root: Path, failed: list[OSError]) -> Iterator[str]:
    seen: set[str] = set()
    for folder, below, names in os.walk(root, followlinks=True, onerror=failed.append):
        real = os.path.realpath(folder)
        if real in seen:
            below.clear()
            continue
        seen.add(real)
        below[:] = sorted(name for name in below if not name.startswith("."))
        here = Path(folder).relative_to(root)
        yield from ((here / name).as_posix() for name in names if not name.startswith("."))


def ids(paths: Sequence[str]) -> list[str]:
    """Ids of files: their paths without extension, or all of them with it if two would be the same."""
    short = [EXTENSION.sub("", path) for path in paths]
    return short if len(set(short)) == len(short) else list(paths)


def described(paths: Sequence[str], *, classes: bool) -> tuple[pd.DataFrame, tuple[str, ...]]:
    """The table of these paths, and its targets: one for each class folder, if there are two or more."""
    table = pd.DataFrame({"id": ids(paths), "path": list(paths)})
    folders = [PurePosixPath(path).parts[:-1] for path in paths]
    splits = [next((SPLITS[p.lower()] for p in parts if p.lower() in SPLITS), None) for parts in folders]
    if any(splits):
        table["split"] = rules.as_text(splits)
    labels = [next((p for p in parts if p.lower() not in SPLITS), None) for parts in folders]
    names = sorted({label for label in labels if label is not None})
    if not classes or len(names) < 2:
        return table, ()
    unknown = np.array([label is None for label in labels])
    for name in names:
        column = np.array([label == name for label in labels], dtype=np.float32)
        column[unknown] = np.nan
        table[_free(name)] = column
    return table, tuple(_free(name) for name in names)


def _free(name: str) -> str:
    """A class folder named like a column of the catalog becomes `class_path` and so on."""
    taken = (*rules.REQUIRED, *rules.NUMBERS, "split", "frame_index", "patient", "group", "slot")
    return f"class_{name}" if name in taken else name
