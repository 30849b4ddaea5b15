"""The caches of a study that was given films: one for each kernel and fit, from one decode of each film."""

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from resload.geometry import as_fit
from resload.pipeline import Pipeline
from resload.size import Size, as_size
from resload.store.builder import build_each
from resload.store.cache import Cache
from resload.store.remote import Given
from resload.study.films import Recipe, fit_words
from resload.study.settings import Settings

if TYPE_CHECKING:
    from resload.catalog import Catalog

KERNEL, FIT = "triangle", "stretch"


def caches_of(catalog: "Catalog", folder: Path, settings: Settings, progress: bool) -> dict[Recipe, Cache]:
    """Built, finished or only opened, by (kernel, fit)."""
    folder.mkdir(parents=True, exist_ok=True)
    sizes = _sizes(settings)
    recipes: dict[Recipe, Pipeline] = {
        (kernel, fit_words(as_fit(fit))): Pipeline(sizes, kernel=kernel, fit=as_fit(fit))
        for kernel in settings.kernels or (KERNEL,)
        for fit in settings.fits or (FIT,)
    }
    depth = next(iter(recipes.values())).resolve(catalog, threads=settings.threads).dtype  # one look for all
    recipes = {recipe: replace(pipeline, dtype=depth) for recipe, pipeline in recipes.items()}
    paths: dict[Given, Pipeline] = {folder / name_of(recipe): pipeline for recipe, pipeline in recipes.items()}
    columns = tuple(name for name in settings.columns if name in catalog.table)
    built = build_each(catalog, paths, columns=columns, threads=settings.threads, progress=progress)
    return dict(zip(recipes, built, strict=True))


def name_of(recipe: Recipe) -> str:
    """Of its cache's folder: `films-triangle-stretch.zarr`."""
    words = "-".join(recipe)
    return f"films-{''.join(sign if sign.isalnum() else '-' for sign in words)}.zarr"


def _sizes(settings: Settings) -> tuple[Size, ...]:
    """Every size that is trained or tested at."""
    return tuple(dict.fromkeys([*settings.ladder, *map(as_size, settings.test_sizes)]))
