"""The steps of loading straight from the films, each alone, on a sample of them.

    read --> decode --> intensity, resize --> convert

The sample is what could be read within the time, in a random order: a slow disk or large films make it small.
"""

import time
from dataclasses import replace
from functools import partial
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from resload import seeds
from resload.bench import pages
from resload.bench.clock import Work, on_threads
from resload.bench.found import COLD, DECODE, RESIZE, THREADS, WARM, Stage
from resload.bench.pages import Piece
from resload.bench.settings import Settings, in_pixels
from resload.catalog import Catalog
from resload.decode import Radiograph
from resload.decode.source import source_bytes
from resload.errors import CatalogError, DecodeError, UnreadableFileError
from resload.intensity import Recipe
from resload.pipeline import Film, Known, Pipeline, make
from resload.pipeline.cpu import as_radiograph
from resload.pipeline.recipe import CatalogFilms
from resload.size import Size, Spacing, as_spacing
from resload.threads import ordered_map

MOST_FILMS = 256
MOST_BYTES = 256 << 20
"""Of files, and of decoded films that are kept to be resized."""
_FEW = 8
"""Images that are converted again and again."""
SIZE = 256
"""Where nobody says which: what most models are trained at."""


class One(NamedTuple):
    """A film of the sample that could be decoded."""

    row: int
    data: bytes
    radiograph: Radiograph
    known: Known


class FilmSteps:
    """Some films of a catalog, and what can be done with them."""

    def __init__(self, catalog: Catalog, settings: Settings) -> None:
        self.settings = settings
        wanted = SIZE if settings.size is None else settings.size
        self._asked: Any = as_spacing(wanted) or in_pixels(wanted)
        self.size: Size = self._asked.canvas if isinstance(self._asked, Spacing) else self._asked
        order = seeds.permutation(len(catalog), settings.seed, 0, "bench")
        self._catalog = catalog.select(order[:MOST_FILMS])
        self._films = CatalogFilms(self._catalog)
        self.unreadable: dict[str, str] = {}
        self.left_out: dict[str, str] = {}
        self._rows, self._pieces = self._sample()
        self._ones: list[One] = []

    def _sample(self) -> tuple[list[int], list[Piece]]:
        """The rows and files of some films; those that are not there count as unreadable."""
        rows: list[int] = []
        pieces: list[Piece] = []
        for row, path in enumerate(self._films.paths):
            try:
                pieces.append(Piece(path, 0, path.stat().st_size))
                rows.append(row)
            except OSError as exc:
                self._lost(row, UnreadableFileError("the file could not be read", detail=exc.strerror or ""))
            if sum(piece.length for piece in pieces) > MOST_BYTES:
                break
        return rows, pieces

    def _lost(self, row: int, error: DecodeError) -> None:
        self.unreadable[self._films.ids[row]] = f"{error.reason} ({error.detail})" if error.detail else error.reason

    # -- the steps --

    def storage(self) -> list[Stage]:
        """Reading whole files with their pages dropped before, and with them in memory.

        Afterwards the sample is what was read. Raises CatalogError when there is no file at all.
        """
        if not self._pieces:
            raise CatalogError(f"none of {len(self.unreadable)} films is there; the first: {self._first_reason()}")
        threads, seconds, files = self.settings.workers, self.settings.seconds, pages.Whole()
        sweep = pages.swept(self._pieces, files, threads, seconds)
        self._pieces, self._rows = self._pieces[: sweep.read], self._rows[: sweep.read]
        found = []
        if sweep.reason:
            self.left_out[COLD] = sweep.reason
        else:
            found = [Stage(COLD, sweep.rate, threads, self.file_bytes, "", f"{sweep.read} files, each once")]
        rate = pages.warm(self._pieces, files, threads, seconds)
        return [*found, Stage(WARM, rate, threads, self.file_bytes, THREADS)]

    @property
    def file_bytes(self) -> float:
        """Of a file, on average."""
        return sum(piece.length for piece in self._pieces) / len(self._pieces)

    def look(self) -> None:
        """Decode the films of the sample once, within the time: what cannot be decoded is left out from here on.

        Raises CatalogError when none can.
        """
        kept, ends = 0, time.perf_counter() + self.settings.seconds
        threads = self.settings.workers
        for row, found in zip(
            self._rows,
            ordered_map(self._tried, self._rows, threads=threads, window=2 * threads),
            strict=False,
        ):
            if isinstance(found, DecodeError):
                self._lost(row, found)
            else:
                self._ones.append(found)
                kept += found.radiograph.pixels.nbytes
            if self._ones and (kept > MOST_BYTES or time.perf_counter() > ends):
                break
        if not self._ones:
            raise CatalogError(f"none of {len(self.unreadable)} films could be read: {self._first_reason()}")

    def _tried(self, row: int) -> One | DecodeError:
        path, known = self._films.source(row)
        try:
            data, _ = source_bytes(path)
            radiograph = self._decoded(data, known)
            make(replace(self.pipeline_asked, dtype="uint16"), radiograph, known)  # may refuse it, too
            return One(row, data, radiograph, known)
        except DecodeError as error:
            return error

    def _decoded(self, data: bytes, known: Known) -> Radiograph:
        return as_radiograph(data, frame=known.frame, colour=Recipe.parse(self.pipeline_asked.intensity).colour)

    def _first_reason(self) -> str:
        name, reason = next(iter(self.unreadable.items()))
        return f"{name}: {reason}"

    def decoded(self) -> Stage:
        """The bytes of files, already in memory, to pixels."""

        def one(film: One) -> object:
            return self._decoded(film.data, film.known)

        rate = on_threads(partial(self._over, one), self.settings.workers, self.settings.seconds)
        pixels = float(np.mean([film.radiograph.pixels.nbytes for film in self._ones]))
        return Stage(DECODE, rate, self.settings.workers, pixels, THREADS)

    def resized(self) -> Stage:
        """Decoded films to images of the size: intensity, place and resize."""
        rate = on_threads(partial(self._over, self._made), self.settings.workers, self.settings.seconds)
        bytes_out = float(self.size.pixels * self.images.dtype.itemsize)
        note = "with the intensities" if self.pipeline.intensity != "none" else ""
        return Stage(RESIZE, rate, self.settings.workers, bytes_out, THREADS, note)

    def _made(self, film: One) -> Film:
        return make(self.pipeline, film.radiograph, film.known)

    def _over(self, one: Any, k: int) -> Work:
        """One film after the other, each thread from its own place on."""
        at, films = k * len(self._ones) // self.settings.workers, self._ones

        def once() -> int:
            nonlocal at
            at = (at + 1) % len(films)
            one(films[at])
            return 1

        return once

    # -- what they work on --

    @property
    def pipeline_asked(self) -> Pipeline:
        """The recipe, its depth still open."""
        return Pipeline(self._asked)

    def settle(self) -> None:
        """Fix the readable sample: its catalog, the recipe with the depth that these films need, and some images."""
        self.catalog = self._catalog.select([film.row for film in self._ones])
        self.pipeline = self.pipeline_asked.resolve(self.catalog, threads=self.settings.workers)
        self.images: NDArray[Any] = np.stack([self._made(film).levels[0] for film in self._ones[:_FEW]])

    @property
    def readable(self) -> int:
        """Films that are used."""
        return len(self._ones)
