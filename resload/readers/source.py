"""Pixels straight from the files: the pipeline, run on each film when it is asked for."""

from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from resload.catalog import Catalog
from resload.errors import ArgumentError, DecodeError
from resload.pipeline import Pipeline, make
from resload.pipeline.recipe import CatalogFilms
from resload.readers.base import facts_at, source_facts
from resload.readers.cache import ids_digest
from resload.size import Size, SizeLike, as_size
from resload.store.cache import rows_in
from resload.store.gather import Slot


class SourceReader:
    """Serves any size by decoding and resizing; the same pixels that a cache of the same pipeline stores.

    Thread-safe. A file that cannot be read raises DecodeError, naming it.
    """

    def __init__(self, catalog: Catalog, pipeline: Pipeline, *, threads: int | None = None) -> None:
        self.catalog = catalog
        self.pipeline = pipeline.resolve(catalog, threads=threads)
        self.targets = catalog.targets
        self.dtype: np.dtype[Any] = np.dtype(self.pipeline.dtype)
        self._facts = source_facts(catalog.table)
        self._films = CatalogFilms(catalog)

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

    def checked_size(self, size: SizeLike) -> Size:
        """Any size."""
        return as_size(size)

    def grain(self, size: Size) -> int:
        """One film a task: decoding takes milliseconds."""
        return 1

    def fill(self, slot: Slot, rows: NDArray[np.int64], size: Size, start: int) -> None:
        """Decode and resize."""
        recipe = self.pipeline.with_sizes([size])
        for i, row in enumerate(rows.tolist()):
            path, frame, bits = self._films.source(row)
            try:
                film = make(recipe, path, frame=frame, bits=bits)
            except DecodeError as error:
                raise error.at(path) from error
            slot.out[start + i] = film.levels[0]
            self._facts[row] = (*film.size, *self._films.spacing(row, film.spacing), *film.content)

    def facts(self, rows: NDArray[np.int64], size: Size) -> NDArray[np.float32]:
        """From the catalog, and from the films themselves once they were decoded."""
        return facts_at(self._facts[rows], size)

    def stats(self, size: Size, rows: NDArray[np.int64]) -> tuple[float, float]:
        """Refused: it would decode every film first."""
        raise ArgumentError(
            "normalize='dataset' needs statistics that only a cache has; build one, or pass normalize=(mean, std)"
        )

    def digest(self) -> str:
        """Of the ids in row order."""
        return ids_digest(self.table)
