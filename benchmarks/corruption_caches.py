"""The small caches that `corruption.py` damages, each with the strangers whose files are put in place of its own.

    eight       8 bit, boxes, one broken film; begun with 24 films, the others appended, its targets corrected later
    before      the same before films were appended; its stranger is what it became
    sixteen     16 bit, a canvas, masks, films at their own size; a size was added later
    unfinished  16 bit and masks, interrupted before its last row group
    appending   8 bit, complete, and interrupted while films were appended to it

Strangers: the same films' cache at an earlier state, the cache of other films of the same names, shapes and number, and
that of the same films under another recipe.
"""

import contextlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

import resload
from resload.errors import DecodeError
from resload.masks.runs import encode_runs
from resload.store import plan
from resload.testing import write_synthetic
from resload.testing.damage import Intact

SHAPE = (96, 80)
OTHER_FILMS, OTHER_RECIPE, OLDER, OLDER_TABLE, LATER = (
    "another's films", "another recipe's", "older", "older table's", "later",
)  # fmt: skip


@dataclass(frozen=True)
class Subject:
    """One cache to damage."""

    name: str
    intact: Intact
    folder: Path
    """Where the intact cache is, never damaged."""
    catalog: resload.Catalog
    settings: dict[str, Any]
    """With which `build` made it."""
    whole: Path | None
    """The cache that an interrupted build becomes; None where none was interrupted."""


def made(folder: Path) -> None:
    """Build all caches below a folder."""
    for seed, films in enumerate(("films", "others")):
        _write_eight(folder / films / "eight", seed)
        _write_sixteen(folder / films / "sixteen", seed)
    for films, kernel in (("films", "triangle"), ("others", "triangle"), ("films", "area")):
        place = folder / f"{films}-{kernel}"
        _build_eight(place, _catalog(folder, films, "eight"), kernel)
        _build_sixteen(place, _catalog(folder, films, "sixteen"), kernel)
        _build_unfinished(place, _catalog(folder, films, "sixteen"), kernel)
        _build_appending(place, _catalog(folder, films, "eight"), kernel)


def loaded(folder: Path) -> list[Subject]:
    """What `made` built there."""
    eight, sixteen = (_catalog(folder, "films", name) for name in ("eight", "sixteen"))
    first, seeds = eight.select(np.arange(24)), (_seed(sixteen), _seed_of_append(eight))
    return [
        _subject(folder, "eight", eight, EIGHT, OLDER, OLDER_TABLE),
        _subject(folder, "before", first, EIGHT, LATER),
        _subject(folder, "sixteen", sixteen, SIXTEEN, OLDER),
        _subject(folder, "unfinished", sixteen, SIXTEEN | {"shuffle_seed": seeds[0]}, whole="finished"),
        _subject(folder, "appending", eight, EIGHT | {"shuffle_seed": seeds[1]}, whole="appended"),
    ]


def _subject(
    folder: Path, name: str, catalog: resload.Catalog, settings: dict[str, Any], *states: str, whole: str = ""
) -> Subject:
    place = folder / "films-triangle"
    others = {OTHER_FILMS: folder / "others-triangle" / name, OTHER_RECIPE: folder / "films-area" / name}
    names = {OLDER: f"{name} older", OLDER_TABLE: f"{name} older table", LATER: "eight"}
    intact = Intact(place / name, {**others, **{state: place / names[state] for state in states}})
    return Subject(name, intact, place / name, catalog, settings, place / whole if whole else None)


# -- 8 bit --

EIGHT: dict[str, Any] = {"sizes": (24, 136), "columns": ("view",), "progress": False, "threads": 2}
"""24 x 24 is a level that stays in memory once it was read, 136 x 136 one that does not."""


def _write_eight(folder: Path, seed: int) -> None:
    catalog = write_synthetic(folder, 48, seed=seed, size=SHAPE, dicom_share=0).scan(progress=False)
    catalog.select((catalog.table["bits"] == 8).to_numpy()).save(folder / "catalog")


def _build_eight(folder: Path, catalog: resload.Catalog, kernel: str) -> None:
    target = catalog.targets[0]
    wrong = catalog.table.assign(**{target: 1 - catalog.table[target]})
    before = resload.Catalog(wrong, targets=catalog.targets, boxes=catalog.boxes, root=catalog.root)
    steps = [catalog.select(np.arange(24)), before, catalog]
    for films, state in zip(steps, ("eight older", "eight older table", "eight"), strict=True):
        resload.build(films, folder / "eight", kernel=kernel, **EIGHT)
        _kept(folder / "eight", folder / state)
    _kept(folder / "eight older", folder / "before")


def _build_appending(folder: Path, catalog: resload.Catalog, kernel: str) -> None:
    settings = EIGHT | {"shuffle_seed": _seed_of_append(catalog), "kernel": kernel}
    resload.build(catalog.select(np.arange(24)), folder / "appending", **settings)
    with contextlib.suppress(DecodeError):
        resload.build(catalog, folder / "appending", on_error="raise", **settings)
    _kept(folder / "appending", folder / "appended")
    resload.build(catalog, folder / "appended", **settings)


def _seed_of_append(catalog: resload.Catalog) -> int:
    """One that puts the broken film, the last, into the last row group, which holds rows from 32 on."""
    added = len(catalog) - 24
    return next(seed for seed in range(1000) if added - 1 in plan.row_order(added, seed, 1)[8:])


# -- 16 bit --

SIXTEEN: dict[str, Any] = {
    "sizes": (24, (40, 32), "native"), "fit": "pad", "dtype": "uint16", "progress": False, "threads": 2,
}  # fmt: skip


def _write_sixteen(folder: Path, seed: int) -> None:
    catalog = write_synthetic(folder, 40, seed=seed, size=SHAPE).scan(progress=False)
    rng = np.random.default_rng(seed)
    rows = []
    for number, name in enumerate(catalog.table["id"]):
        rows.append({"id": name, "label": "lung", "rle": encode_runs(_blob(rng))})
        if number % 3:
            rows.append({"id": name, "label": "nodule", "rle": "-1" if number % 3 == 1 else encode_runs(_blob(rng))})
    masks = pd.DataFrame(rows)
    resload.Catalog(catalog.table, targets=catalog.targets, boxes=catalog.boxes, masks=masks, root=catalog.root).save(
        folder / "catalog"
    )


def _blob(rng: np.random.Generator) -> Any:
    y, x = np.ogrid[: SHAPE[0], : SHAPE[1]]
    centre, radii = rng.uniform(0.3, 0.7, 2) * SHAPE, rng.uniform(4, 20, 2)
    return ((y - centre[0]) / radii[0]) ** 2 + ((x - centre[1]) / radii[1]) ** 2 < 1


def _build_sixteen(folder: Path, catalog: resload.Catalog, kernel: str) -> None:
    path = folder / "sixteen"
    resload.build(catalog, path, kernel=kernel, **SIXTEEN | {"sizes": (24, "native")})
    _kept(path, folder / "sixteen older")
    resload.build(catalog, path, kernel=kernel, **SIXTEEN)


def _build_unfinished(folder: Path, catalog: resload.Catalog, kernel: str) -> None:
    settings = SIXTEEN | {"shuffle_seed": _seed(catalog), "kernel": kernel}
    with contextlib.suppress(DecodeError):
        resload.build(catalog, folder / "unfinished", on_error="raise", **settings)
    resload.build(catalog, folder / "finished", **settings)


def _seed(catalog: resload.Catalog) -> int:
    """One that puts the broken film, the last, into the last row group of 16: the build then stops there."""
    count = len(catalog)
    last = count - count % 16
    return next(seed for seed in range(1000) if count - 1 in plan.row_order(count, seed, 0)[last:])


# -- files --


def _kept(cache: Path, copy: Path) -> None:
    """A copy of a cache as it is now."""
    for path in cache.rglob("*"):
        if path.is_file():
            (copy / path.relative_to(cache)).parent.mkdir(parents=True, exist_ok=True)
            (copy / path.relative_to(cache)).write_bytes(path.read_bytes())


def _catalog(folder: Path, films: str, name: str) -> resload.Catalog:
    return resload.Catalog.load(folder / films / name / "catalog")
