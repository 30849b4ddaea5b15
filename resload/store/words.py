"""Sizes, bytes and time as a build tells them."""

import time

import numpy as np

from resload.errors import DecodeError
from resload.pipeline import Pipeline, make
from resload.pipeline.engine import Engine
from resload.pipeline.recipe import CatalogFilms
from resload.size import Size


def how_long(recipe: Pipeline, films: CatalogFilms, count: int, threads: int, engine: Engine) -> str:
    """How long `count` films will take, from the time that three of them take now."""
    times = []
    for row in np.linspace(0, len(films.paths) - 1, 3).astype(int).tolist():
        path, known = films.source(row)
        begun = time.perf_counter()
        try:
            make(recipe, path, known, engine)
        except DecodeError:
            continue
        times.append(time.perf_counter() - begun)
    if not times:
        return "an unknown time"
    seconds = float(np.median(times)) * count / threads
    return f"{seconds / 60:.0f} min" if seconds >= 90 else f"{max(seconds, 1):.0f} s"


def listed(sizes: tuple[Size, ...]) -> str:
    """Sizes as people write them: `64, 128, 160x120`."""
    return ", ".join(str(size.height) if size == Size(size.height, size.height) else str(size) for size in sizes)


def megabytes(count: int) -> str:
    """A number of bytes with its unit."""
    if count < 10e6:
        return f"{count / 1e3:,.0f} kB"
    return f"{count / 1e6:,.0f} MB" if count < 10e9 else f"{count / 1e9:,.1f} GB"
