"""Test films at each size, drawn when a study begins: what networks are given, for people to look at."""

import tempfile
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from resload.errors import MissingPackageError
from resload.figures import contact_sheet
from resload.geometry.placing import SPACING
from resload.size import as_size
from resload.store.cache import Cache
from resload.study.films import Films
from resload.study.folder import Folder

FILMS = 3
CELL = 300
"""Pixels of a film's side in the picture, at most."""


def draw(folder: Folder, films: Films, *, again: bool) -> None:
    """Write `examples.png`: some test films at the stored sizes of the study, those with findings first.

    again: also where it is there. Without the packages that draw, nothing is written.
    """
    cache, rows = films.any, chosen(films)
    asked = [as_size(size) for size in dict.fromkeys(folder.films()["shown_sizes"].tolist())]
    sizes = tuple(size for size in asked if size in cache.sizes)
    if not sizes or (folder.examples.exists() and not again):
        return
    with tempfile.TemporaryDirectory(dir=folder.path / "under-way") as scratch:
        target = Path(scratch) / "examples.png"
        try:
            contact_sheet(
                {size: cache.read(rows, size) for size in sizes},
                titles=[_title(films, row) for row in rows.tolist()],
                spacings={size: cache.facts(rows, size)[:, SPACING] for size in sizes},
                path=target,
                dpi=200,
                most=CELL,
            )
        except MissingPackageError:
            return
        target.replace(folder.examples)


def chosen(films: Films) -> NDArray[np.int64]:
    """Rows of the test films that are shown: those with boxes first, then those with most findings, ties by row."""
    rows = films.rows["test"]
    boxed = _boxed(films.any)[rows]
    findings = np.nan_to_num(films.values[rows] > 0).sum(axis=1)
    return np.asarray(rows[np.lexsort((rows, -findings, ~boxed))[:FILMS]])


def _boxed(cache: Cache) -> NDArray[np.bool_]:
    """(N,) which films have boxes."""
    if cache.boxes is None:
        return np.zeros(len(cache), bool)
    return cache.table["id"].isin(cache.boxes["id"]).to_numpy()


def _title(films: Films, row: int) -> str:
    """The findings, and no identifier: a report is passed on."""
    found = [name for name, value in zip(films.targets, films.values[row].tolist(), strict=True) if value > 0]
    return "\n".join(found) or "none of the targets"
