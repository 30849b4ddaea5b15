"""The films of a study: one cache for each recipe, the splits, and what must hold before the first network is trained.

Every network of a study is given the same training, validation and test films, in rows that mean the same film in every
recipe's cache, normalised by the same two numbers.
"""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from resload.errors import ArgumentError, SizeError
from resload.geometry import Fit
from resload.geometry.fits import plain
from resload.pipeline import Pipeline
from resload.size import Native, Size, as_size
from resload.store import layout
from resload.store.cache import Cache
from resload.study.settings import Settings
from resload.study.told import SPLITS, Told, told

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


def prepared(caches: Mapping[Recipe, Cache], settings: Settings) -> Films:
    """Splits, patients, targets and the numbers that normalise, of caches that hold the same films.

    Raises ArgumentError and SizeError for what a study cannot be made of.
    """
    first = next(iter(caches.values()))
    for cache in caches.values():
        _check_same(first, cache)
        _check_sizes(cache, settings)
    readable = np.ones(len(first), bool)
    for cache in caches.values():
        readable &= (cache.table["status"] == "ok").to_numpy()
    there = first.masks if settings.task == "segmentation" else first.targets
    said = told(first.table, there, settings, readable=readable, where=str(first.path))
    at = settings.largest if settings.normalize is None else as_size(settings.normalize)
    return Films(
        caches=caches,
        rows=said.rows,
        targets=said.targets,
        values=said.values,
        patients=said.patients,
        normalization=first.stats(at, said.rows["train"]),
        normalized_at=at,
        digest=_digest(caches, said),
        notes=said.notes,
    )


def recipe_of(cache: Cache) -> Recipe:
    """The kernel and fit that a cache was built with."""
    pipeline: Pipeline = cache.pipeline
    return pipeline.kernel, fit_words(pipeline.fit)


def fit_words(fit: Fit) -> str:
    """A fit as people write it: its name, or `Pad(align='top', ...)` where it has settings of its own."""
    words = plain(fit)
    return words if isinstance(words, str) else str(fit)


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
        if size not in cache.sizes and not any(
            level.height >= size.height and level.width >= size.width for level in cache.sizes
        ):
            raise SizeError(
                f"{cache.path} stores {', '.join(map(str, cache.sizes))}, all smaller than {size}: build it"
            )


def _digest(caches: Mapping[Recipe, Cache], said: Told) -> str:
    ids = next(iter(caches.values())).table["id"].tolist()
    pixels = {layout.read_manifest(cache.path).fingerprint for cache in caches.values()}
    words = json.dumps([ids, said.split.tolist(), list(said.targets), said.patients.tolist(), sorted(pixels)])
    found = hashlib.sha256(words.encode())
    found.update(np.nan_to_num(said.values, nan=-1e30).tobytes())
    return found.hexdigest()[:16]


def with_targets(cache: Cache, targets: tuple[str, ...]) -> Cache:
    """A view whose targets are these, in this order."""
    return cache.with_table(cache.table[["id", *targets]], targets=targets)


def resolved(settings: Settings, recipes: Mapping[Recipe, Any], targets: tuple[str, ...]) -> Settings:
    """The settings with what was left to the data."""
    kernels, fits = (tuple(dict.fromkeys(part)) for part in zip(*recipes, strict=True))
    return replace(settings, kernels=kernels, fits=fits, targets=targets)
