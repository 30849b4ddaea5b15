"""All measurements of one cache or of one catalog's films, in order, within a bounded time."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import torch
from tqdm import tqdm

from resload.bench.cached import CacheSteps
from resload.bench.films import FilmSteps
from resload.bench.found import Found, Stage
from resload.bench.loading import Loading
from resload.bench.machine import machine
from resload.bench.model import Step, step_of
from resload.bench.settings import Settings
from resload.bench.stages import conversion, scaling_of, to_device
from resload.catalog import Catalog
from resload.errors import ArgumentError
from resload.size import as_spacing
from resload.store import layout
from resload.store.cache import Cache
from resload.store.commit import bytes_below

T = TypeVar("T")
BATCH = 64
_BATCHES = 10
"""Of films, within one measurement."""


class Progress:
    """A bar on a terminal, which names what is being measured."""

    def __init__(self, name: str, total: int, shown: bool) -> None:
        self._bar = tqdm(total=total, unit="step", desc=f"bench {name}", disable=None if shown else True, leave=False)

    def of(self, what: str, measure: Callable[[], T]) -> T:
        """Measure, and go one step on."""
        self._bar.set_postfix_str(what)
        found = measure()
        self._bar.update()
        return found

    def close(self) -> None:
        """Take the bar away."""
        self._bar.close()


def measured(
    data: Cache | Catalog,
    settings: Settings,
    *,
    source: str = "",
    model: str | None = None,
    needs: float | None = None,
    progress: bool = True,
) -> Found:
    """Measure what loading from a cache, or straight from films, costs here, step by step, and as a whole.

    Args:
        data: an open cache (not a view of one), or a catalog.
        settings: the loader that is meant, and the seconds for each measurement.
        source: what people call the data.
        model: `PATH.py:NAME` or `package.module:NAME`, see `resload.bench.model`.
        needs: images/s that the model takes, instead of a model.
        progress: show a bar on a terminal.

    Raises ArgumentError for arguments that contradict each other or the data, and for what a model raises; CatalogError
    when no film can be read; CorruptCacheError for damaged records.
    """
    if model is not None and needs is not None:
        raise ArgumentError("a model is measured, or said to need so many images/s: pass one of model and needs")
    if needs is not None and not 0 < needs < float("inf"):
        raise ArgumentError(f"needs must be images per second, above 0; found {needs!r}")
    step = None if model is None else step_of(model, torch.device(settings.device))
    steps = (8 if isinstance(data, Cache) else 6) + (2 if settings.workers > 1 else 1) + (0 if step is None else 2)
    bar = Progress(Path(source).name, steps, progress)
    try:
        if isinstance(data, Cache):
            found, loading = _cache(data, settings, source, bar, step)
        else:
            found, loading = _films(data, settings, source, bar, step)
        if step is None:
            return replace(found, needs=needs)
        rate = bar.of("the model", lambda: loading.model(step))
        together = bar.of("loader and model", lambda: loading.rate(settings.workers, step))
        return replace(found, model_name=model or "", model=rate, together=together)
    finally:
        bar.close()


def _cache(cache: Cache, settings: Settings, source: str, bar: Progress, step: Step | None) -> tuple[Found, Loading]:
    scaling_of(settings, cache.dtype)  # which refuses what cannot be, before anything is measured
    steps = CacheSteps(cache, settings)
    batch = settings.batch_size or BATCH
    stages = bar.of("storage", steps.storage)
    loading = Loading(cache, steps.rows, steps.size, batch, settings)
    _tried(loading, step)
    stages.append(bar.of("checksum", steps.checksum))
    stages += _there(bar.of("memory", steps.memory))
    stages += _there(bar.of("decompress", steps.decompressed))
    stages += _there(bar.of("resize", steps.resized))
    stages += _there(bar.of("convert", lambda: conversion(steps.converted(), settings)))
    stages += bar.of("device", lambda: to_device(steps.converted(), settings, batch))
    stages += _there(bar.of("resize on device", lambda: steps.resized_on_device(batch)))
    found = Found(
        kind="cache",
        level=str(steps.level),
        films=len(cache.rows()),
        sampled=len(steps.rows),
        level_bytes=float(bytes_below(cache.path / layout.level_folder(steps.level))),
        expected_rmse=steps.rmse,
        sizes=tuple(map(str, cache.sizes)),
        stored=str(cache.dtype),
        left_out=steps.left_out,
        **_common(loading, settings, source, stages, steps.size, bar),
    )
    return found, loading


def _films(
    catalog: Catalog, settings: Settings, source: str, bar: Progress, step: Step | None
) -> tuple[Found, Loading]:
    steps = FilmSteps(catalog, settings)
    stages = bar.of("storage", steps.storage)
    bar.of("films", steps.look)
    stages.append(bar.of("decode", steps.decoded))
    steps.settle()
    scaling_of(settings, steps.images.dtype)
    stages.append(bar.of("resize", steps.resized))
    batch = settings.batch_size or _batch(stages, settings)
    loading = Loading(steps.catalog, np.arange(steps.readable), steps.size, batch, settings, steps.pipeline)
    _tried(loading, step)
    stages += _there(bar.of("convert", lambda: conversion(steps.images, settings)))
    stages += bar.of("device", lambda: to_device(steps.images, settings, batch))
    found = Found(
        kind="films",
        level=None,
        films=len(catalog),
        sampled=steps.readable,
        level_bytes=steps.file_bytes * len(catalog),
        stored=str(steps.images.dtype),
        unreadable=steps.unreadable,
        left_out=steps.left_out,
        **_common(loading, settings, source, stages, steps.size, bar),
    )
    return found, loading


def _common(
    loading: Loading, settings: Settings, source: str, stages: list[Stage], size: Any, bar: Progress
) -> dict[str, Any]:
    """What is told of both kinds alike, the loader's own rates among it."""
    threads = settings.workers
    one = bar.of("loader, 1 thread", lambda: loading.rate(1)) if threads > 1 else None
    return {
        "source": source,
        "size": str(as_spacing(settings.size) or size),
        "dtype": settings.dtype,
        "channels": settings.channels,
        "batch_size": loading.batch,
        "threads": threads,
        "device": settings.device,
        "image_bytes": float(settings.image_bytes(size)),
        "stages": tuple(stages),
        "one_thread": one,
        "loader": bar.of(f"loader, {threads} threads", lambda: loading.rate(threads)),
        "machine": machine(settings.device),
    }


def _tried(loading: Loading, step: Step | None) -> None:
    """The model's step once, so that what is wrong with it is said before long work."""
    if step is not None:
        step(loading.held)


def _batch(stages: list[Stage], settings: Settings) -> int:
    """How many films a batch may have, so that several of them are made within the time: at most 64."""
    cost = sum(1 / stage.rate.median for stage in stages if stage.lane)
    return max(1, min(BATCH, int(settings.seconds / _BATCHES / cost)))


def _there(found: Stage | None) -> list[Stage]:
    return [] if found is None else [found]
