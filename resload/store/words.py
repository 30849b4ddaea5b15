"""Sizes, bytes and time as a build tells them."""

import time
from functools import partial

import numpy as np

from resload.errors import DecodeError
from resload.pipeline import Pipeline
from resload.pipeline.engine import Engine
from resload.pipeline.recipe import CatalogFilms
from resload.pipeline.together import made_together
from resload.size import Size


def how_long(recipe: Pipeline, films: CatalogFilms, count: int, threads: int, engine: Engine) -> str:
    """How long `count` films will take, from the time that three of them, or three pieces, take now. A decoder that
    takes several films at a time has its own threads, so that more of ours are no help.
    """
    size, times = engine.together, []
    for start in np.linspace(0, max(0, len(films.paths) - size), 3).astype(int).tolist():
        rows = range(start, min(start + size, len(films.paths)))
        begun = time.perf_counter()
        made = list(made_together(recipe, [partial(films.source, row) for row in rows], engine))
        if not all(isinstance(film, DecodeError) for _, film in made):
            times.append((time.perf_counter() - begun) / len(rows))
    if not times:
        return "an unknown time"
    seconds = float(np.median(times)) * count / (threads if size == 1 else 1)
    return f"{seconds / 60:.0f} min" if seconds >= 90 else f"{max(seconds, 1):.0f} s"


def listed(sizes: tuple[Size, ...]) -> str:
    """Sizes as people write them: `64, 128, 160x120`."""
    return ", ".join(str(size.height) if size == Size(size.height, size.height) else str(size) for size in sizes)


def megabytes(count: int) -> str:
    """A number of bytes with its unit."""
    if count < 10e6:
        return f"{count / 1e3:,.0f} kB"
    return f"{count / 1e6:,.0f} MB" if count < 10e9 else f"{count / 1e9:,.1f} GB"
