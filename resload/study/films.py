"""The films of a study: one cache for each recipe, the splits, and what must hold before the first network is trained.

Every network of a study is given the same training, validation and test films, in rows that mean the same film in every
recipe's cache, normalised by the same two numbers.
"""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from resload.errors import ArgumentError, SizeError
from resload.geometry import Fit
from resload.geometry.fits import plain
from resload.pipeline import Pipeline
from resload.size import Native, Size, as_size
from resload.splits import memberships, stratified_groups
from resload.store import layout
from resload.store.cache import Cache
from resload.study.settings import Settings

if TYPE_CHECKING:
    from resload.catalog import Catalog

SPLITS = ("train", "val", "test")
SHARES = {"train": 0.7, "val": 0.1, "test": 0.2}
"""Of films, where the data says nothing."""
WITHIN = {"train": 0.9, "val": 0.1}
"""Of the training films, where only those and test films are named."""

Recipe = tuple[str, str]
"""(kernel, fit)."""


@dataclass(frozen=True)
class Films:
    """What all networks of a study are given."""

    caches: Mapping[Recipe, Cache]
    """Views with the same rows."""
    rows: Mapping[str, NDArray[np.int64]]
    """Of each split: readable, and with something known of the targets."""
    targets: tuple[str, ...]
    values: NDArray[np.float32]
    """(N, T), NaN where unknown. Of masks: how much of the film is covered, 0 where nothing is."""
    patients: NDArray[np.int64]
    """(N,): whose each film is, as numbers; films whose patient is not known are patients of their own."""
    normalization: tuple[float, float]
    normalized_at: Size
    digest: str
    """Of films, splits, targets and patients."""
    notes: tuple[str, ...]

    @property
    def any(self) -> Cache:
        """One of the caches, for what they have in common."""
        return next(iter(self.caches.values()))

    def known(self, split: str, targets: tuple[str, ...]) -> NDArray[np.int64]:
        """Rows of a split of which at least one of these targets is known."""
        rows = self.rows[split]
        columns = [self.targets.index(target) for target in targets]
        found: NDArray[np.int64] = rows[~np.isnan(self.values[rows][:, columns]).all(axis=1)]
        return found

    def counts(self) -> dict[str, NDArray[Any]]:
        """Of each split: films and patients (3,), and of each target films that are known and that have it (3, T)."""
        every = [self.rows[split] for split in SPLITS]
        return {
            "splits": np.array(SPLITS, str),
            "split_films": np.array([len(rows) for rows in every]),
            "split_patients": np.array([len(np.unique(self.patients[rows])) for rows in every]),
            "split_known": np.array([(~np.isnan(self.values[rows])).sum(axis=0) for rows in every]),
            "split_positive": np.array([(self.values[rows] > 0).sum(axis=0) for rows in every]),
        }


def prepared(caches: Mapping[Recipe, Cache], settings: Settings, catalog: "Catalog | None") -> Films:
    """Splits, patients, targets and the numbers that normalise, of caches that hold the same films.

    Raises ArgumentError and SizeError for what a study cannot be made of.
    """
    first = next(iter(caches.values()))
    notes: list[str] = []
    for cache in caches.values():
        _check_same(first, cache)
        _check_sizes(cache, settings)
    targets, values = _wanted(first, settings)
    readable = np.ones(len(first), bool)
    for cache in caches.values():
        readable &= (cache.table["status"] == "ok").to_numpy()
    patients = _patients(first.table, notes)
    split = _split(first.table, patients, values, readable, notes)
    rows = {name: np.flatnonzero((split == name) & readable) for name in SPLITS}
    _check_patients(rows, patients)
    at = settings.largest if settings.normalize is None else as_size(settings.normalize)
    found = Films(
        caches=caches,
        rows=rows,
        targets=targets,
        values=values,
        patients=patients,
        normalization=first.stats(at, rows["train"]),
        normalized_at=at,
        digest=_digest(caches, split, targets, values, patients),
        notes=tuple(notes),
    )
    _check_known(found, settings)
    return found


def recipe_of(cache: Cache) -> Recipe:
    """The kernel and fit that a cache was built with."""
    pipeline: Pipeline = cache.pipeline
    return pipeline.kernel, fit_words(pipeline.fit)


def fit_words(fit: Fit) -> str:
    """A fit as people write it: its name, or `Pad(align='top', ...)` where it has settings of its own."""
    words = plain(fit)
    return words if isinstance(words, str) else str(fit)


# -- what is to be learnt --


def _wanted(cache: Cache, settings: Settings) -> tuple[tuple[str, ...], NDArray[np.float32]]:
    """Names and values (N, T) of the targets."""
    there = cache.masks if settings.task == "segmentation" else tuple(cache.targets)
    kind = "masks" if settings.task == "segmentation" else "targets"
    if not there:
        raise ArgumentError(f"{cache.path} has no {kind}: nothing to learn; name their columns, or build with {kind}")
    targets = tuple(settings.targets) or there
    if missing := [name for name in targets if name not in there]:
        raise ArgumentError(f"targets={missing}: {cache.path} has the {kind} {list(there)}")
    if settings.task == "segmentation":
        if targets != there:
            raise ArgumentError(f"a network of segmentation learns all masks {list(there)}; found targets={targets}")
        areas = cache.table[[layout_mask(label) for label in there]].to_numpy(np.float32)
        return targets, areas
    values = cache.table[list(targets)].to_numpy(np.float32, na_value=np.nan)
    if settings.task != "regression":
        for name, column in zip(targets, values.T, strict=True):
            odd = np.unique(column[~np.isnan(column) & ~np.isin(column, (0, 1))])
            if len(odd):
                raise ArgumentError(
                    f"target {name!r} has the value {odd[0]:g}; task={settings.task!r} learns 0 and 1 (NaN: unknown), "
                    'task="regression" numbers'
                )
    return targets, values


def layout_mask(label: str) -> str:
    """The table's column with the areas of a mask."""
    from resload.store.tables import mask_column

    return mask_column(label)


def _check_known(films: Films, settings: Settings) -> None:
    """Every split must tell something of every target."""
    for split in SPLITS:
        if not len(films.rows[split]):
            raise ArgumentError(f"there are no films in the split {split!r}; a study needs train, val and test")
        known = films.values[films.rows[split]]
        for name, column in zip(films.targets, known.T, strict=True):
            told = column[~np.isnan(column)]
            if not len(told):
                raise ArgumentError(f"target {name!r} is known of no film in the split {split!r}; leave it out")
            if settings.task in ("binary", "multilabel") and len(np.unique(told)) < 2:
                having = f"{int((told == 1).sum())} films with it and {int((told == 0).sum())} without"
                raise ArgumentError(
                    f"target {name!r} has {having} in the split {split!r}, of which no area under a curve can be "
                    "measured: leave it out with targets= (--learn), or split so that every part has both"
                )


# -- whose films, and in which part --


def _patients(table: pd.DataFrame, notes: list[str]) -> NDArray[np.int64]:
    """(N,) a number for each patient."""
    if "patient" not in table:
        notes.append("the table has no column `patient`: every film counts as a patient of its own")
        return np.arange(len(table))
    named = table["patient"].notna().to_numpy()
    codes = pd.factorize(table["patient"])[0].astype(np.int64)
    alone = int((~named).sum())
    if alone:
        notes.append(f"{alone} films have no patient: each counts as one of its own")
        codes[~named] = codes.max(initial=-1) + 1 + np.arange(alone)
    return codes


def _split(
    table: pd.DataFrame,
    patients: NDArray[np.int64],
    values: NDArray[np.float32],
    readable: NDArray[np.bool_],
    notes: list[str],
) -> NDArray[Any]:
    """(N,) names: those of the table, and what it lacks dealt out by whole patients."""
    split = np.full(len(table), "", object)
    if "split" in table:
        split[:] = table["split"].astype(object).where(table["split"].notna(), "").tolist()
    there = {name for name in SPLITS if (split == name).any()}
    if there == set(SPLITS):
        return split
    if there == {"train", "test"}:
        part, shares = split == "train", WITHIN
        notes.append("there are no validation films: a tenth of the training films, by whole patients, became them")
    elif not there:
        if named := sorted({name for name in split.tolist() if name}):
            raise ArgumentError(
                f"the split has {', '.join(map(str, named))}, and none of train, val and test: call its parts so"
            )
        part, shares = readable, SHARES
        notes.append("there is no split: films were dealt out by whole patients, " + _shares_text())
    else:
        lacking = ", ".join(sorted(set(SPLITS) - there))
        raise ArgumentError(
            f"the split has {', '.join(sorted(there))} and lacks {lacking}: the epoch is chosen on other films than "
            'the ones that are reported; split anew, as catalog.split({"train": .7, "val": .1, "test": .2})'
        )
    columns = pd.DataFrame(values[part]).add_prefix("t")
    split[part] = stratified_groups(patients[part], memberships(columns), shares, seed=0)
    return split


def _shares_text() -> str:
    return ", ".join(f"{share:.0%} {name}" for name, share in SHARES.items())


def _check_patients(rows: Mapping[str, NDArray[np.int64]], patients: NDArray[np.int64]) -> None:
    """No patient may be in two splits."""
    seen = {name: set(patients[own].tolist()) for name, own in rows.items()}
    for one, other in (("train", "val"), ("train", "test"), ("val", "test")):
        if shared := len(seen[one] & seen[other]):
            raise ArgumentError(
                f"{shared} patients have films in both {one} and {other}: networks would be tested on patients that "
                'they have seen; split by="patient"'
            )


# -- caches --


def _check_same(first: Cache, cache: Cache) -> None:
    if first.table["id"].tolist() != cache.table["id"].tolist():
        raise ArgumentError(f"{first.path} and {cache.path} hold different films, or in another order")


def _check_sizes(cache: Cache, settings: Settings) -> None:
    """Every size must be one that the cache stores, unless others were asked for."""
    asked = [*settings.ladder, *map(as_size, settings.test_sizes)]
    for size in asked:
        if isinstance(size, Native):
            raise SizeError('a study compares sizes in pixels; found "native"')
        if size not in cache.sizes and not settings.any_size:
            raise SizeError(
                f"{cache.path} stores {', '.join(map(str, cache.sizes))}, not {size}: build that size too, or say "
                "any_size=True to have it made from a stored one"
            )
        cache.serving(size)


def _digest(
    caches: Mapping[Recipe, Cache],
    split: NDArray[Any],
    targets: tuple[str, ...],
    values: NDArray[np.float32],
    patients: NDArray[np.int64],
) -> str:
    first = next(iter(caches.values()))
    pixels = {"/".join(recipe): layout.read_manifest(cache.path).fingerprint for recipe, cache in caches.items()}
    ids = first.table["id"].tolist()
    words = json.dumps([ids, split.tolist(), list(targets), patients.tolist(), sorted(set(pixels.values()))])
    found = hashlib.sha256(words.encode())
    found.update(np.nan_to_num(values, nan=-1e30).tobytes())
    return found.hexdigest()[:16]


def with_targets(cache: Cache, targets: tuple[str, ...]) -> Cache:
    """A view whose targets are these, in this order."""
    return cache.with_table(cache.table[["id", *targets]], targets=targets)


def resolved(settings: Settings, recipes: Mapping[Recipe, Any], targets: tuple[str, ...]) -> Settings:
    """The settings with what was left to the data."""
    kernels, fits = (tuple(dict.fromkeys(part)) for part in zip(*recipes, strict=True))
    return replace(settings, kernels=kernels, fits=fits, targets=targets)
