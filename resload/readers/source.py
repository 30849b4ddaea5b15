"""Pixels straight from the files: the pipeline, run on each film when it is asked for."""

from collections.abc import Sequence
from functools import lru_cache, partial
from typing import Any

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray

from resload.catalog import Catalog
from resload.errors import ArgumentError, DecodeError
from resload.geometry import Rect, facts_at, film_facts
from resload.geometry.placing import native_canvas, places
from resload.masks.inside import nearest as nearest_of
from resload.masks.rects import whole
from resload.masks.table import MaskTable, coverages
from resload.pipeline import Pipeline
from resload.pipeline.engine import engine_of
from resload.pipeline.recipe import CatalogFilms
from resload.pipeline.together import made_together
from resload.samplers.columns import ids_digest
from resload.size import Native, Size, SizeLike, Spacing, as_size
from resload.store.rows import rows_in
from resload.store.slot import Slot
from resload.threads import thread_count


class SourceReader:
    """Serves any size by decoding and resizing; the same pixels that a cache of the same pipeline stores.

    decode, device: as a call of the pipeline takes them; images are filled in on the CPU all the same.

    Thread-safe. A file that cannot be read raises DecodeError, naming it.
    """

    def __init__(
        self,
        catalog: Catalog,
        pipeline: Pipeline,
        *,
        threads: int | None = None,
        decode: str = "cpu",
        device: str | torch.device = "cpu",
    ) -> None:
        self._engine = engine_of(decode, device, thread_count(threads))
        self.waiting = self._engine.waiting
        self.decoders = self._engine.decoders
        """Beside those that are always here."""
        self.catalog = catalog
        self.pipeline = pipeline.resolve(catalog, threads=threads)
        self.targets = catalog.targets
        self.dtype: np.dtype[Any] = np.dtype(self.pipeline.dtype)
        self._facts = film_facts(catalog.table)
        self._films = CatalogFilms(catalog)
        self._masks = None if catalog.masks is None else MaskTable(catalog.masks, self._films.ids, catalog.root)
        self.pipeline.warn_of_distortion(self._facts)
        self._known_recipe = lru_cache(maxsize=64)(self.pipeline.with_sizes)

    @property
    def table(self) -> pd.DataFrame:
        """The catalog's table."""
        return self.catalog.table

    def __len__(self) -> int:
        return len(self.catalog)

    def rows(self, *, split: str | None = None, where: object = None) -> NDArray[np.int64]:
        """All rows of a split or condition; those that a scan found unreadable are left out."""
        table = self.table
        readable = np.ones(len(table), bool)
        if "error" in table:
            readable = (table["error"].isna() | (table["error"] == "")).to_numpy(bool)
        return rows_in(table, readable, split=split, where=where)

    def checked_size(self, size: SizeLike | Spacing) -> Size:
        """Any size; a `Spacing` must show what the pipeline shows."""
        if not isinstance(size, Spacing):
            wanted = as_size(size)
            if isinstance(wanted, Native) and not (self._facts[self.rows(), :2] >= 1).all():
                raise ArgumentError(
                    "size='native' from files needs their heights and widths beforehand: scan the catalog first "
                    "(catalog = catalog.scan())"
                )
            return wanted
        if self.pipeline.with_sizes([size]) != self.pipeline.with_sizes([size.canvas]):
            raise ArgumentError(
                f"size={size} shows {size.field[0]:g} x {size.field[1]:g} mm of a film, and the pipeline another part "
                f"({self.pipeline.fit}); pass pipeline=Pipeline({size!r})"
            )
        return size.canvas

    def served(self, size: Size) -> tuple[Size | None, float]:
        """From the files, without a second resize."""
        return None, 0.0

    @property
    def boxes(self) -> pd.DataFrame | None:
        """The catalog's boxes."""
        return self.catalog.boxes

    def native_size(self, rows: NDArray[np.int64]) -> Native:
        """From the catalog."""
        return native_canvas(self._facts[rows])

    @property
    def mask_names(self) -> tuple[str, ...]:
        """The catalog's, sorted."""
        return () if self._masks is None else self._masks.labels

    def masks(
        self, rows: NDArray[np.int64], size: Size, *, nearest: bool = False
    ) -> tuple[NDArray[np.uint8], NDArray[np.bool_]]:
        """From the catalog's run-lengths and files, under the fit of the images; the films were decoded before."""
        assert self._masks is not None
        found = np.zeros((len(rows), len(self.mask_names), *size), np.uint8)
        known = np.zeros(found.shape[:2], bool)
        places = self._places(rows, size).astype(int).tolist()
        for i, (row, place) in enumerate(zip(rows.tolist(), places, strict=True)):
            film = Size(*self._facts[row, :2].astype(int).tolist())
            masks, known[i] = self._masks.of(row, film)
            source, target = Rect(*place[:4]), Rect(*place[4:])
            if nearest:
                for mask, out in zip(masks, found[i], strict=True):
                    if mask is not None:
                        coverage = mask.view(np.uint8) * np.uint8(255)
                        out[...] = nearest_of(coverage, whole(film), (source, target), size) * np.uint8(255)
            else:
                found[i] = coverages(masks, (source, target), size)
        return found, known

    def _places(self, rows: NDArray[np.int64], size: Size) -> NDArray[np.float64]:
        return places(self.pipeline.fit, self.pipeline.aspect, self._facts[rows], size)

    def grain(self, size: Size) -> int:
        """One film a task: decoding takes milliseconds. As many as a GPU decodes together, where one does."""
        return self._engine.together

    def fill(self, slot: Slot, rows: NDArray[np.int64], size: Size, start: int) -> None:
        """Decode and resize."""
        self.fill_sizes([slot], rows, [size], start)

    def fill_sizes(self, slots: Sequence[Slot], rows: NDArray[np.int64], sizes: Sequence[Size], start: int) -> None:
        """`fill` for several sizes at once, each film decoded once."""
        recipe = self._recipe(sizes)
        films = [partial(self._films.source, row) for row in rows.tolist()]
        for i, film in made_together(recipe, films, self._engine):
            if isinstance(film, DecodeError):
                raise film.at(films[i]()[0]) from film
            for slot, size in zip(slots, sizes, strict=True):
                level, out = film.levels[recipe.sizes.index(size)], slot.out[start + i]
                if level.shape != out.shape:  # at its own size
                    out[...] = 0
                out[: level.shape[0], : level.shape[1]] = level
            self._facts[rows[i]] = film.facts

    def _recipe(self, sizes: Sequence[Size]) -> Pipeline:
        if any(isinstance(size, Native) for size in sizes):  # equal whatever their canvas
            return self.pipeline.with_sizes(sizes)
        return self._known_recipe(tuple(sizes))

    def facts(self, rows: NDArray[np.int64], size: Size) -> NDArray[np.float32]:
        """From the catalog, and from the films themselves once they were decoded."""
        films = self._facts[rows]
        return facts_at(films, self._places(rows, size))

    def stats(self, size: Size, rows: NDArray[np.int64]) -> tuple[float, float]:
        """Refused: it would decode every film first."""
        raise ArgumentError(
            "normalize='dataset' needs statistics that only a cache has; build one, or pass normalize=(mean, std)"
        )

    def digest(self) -> str:
        """Of the ids in row order."""
        return ids_digest(self.table["id"])
