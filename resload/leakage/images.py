"""Films at a small size: what near-duplicates are told by.

    Cache     `Cache.read`: the level that serves the size; a stored one is read as it is, nothing is decoded
    Catalog   each file decoded, through its intensity table (`auto`: as displayed, where it is DICOM), resized

Correlation does not change under brightness and contrast, so no other recipe is needed; and it compares like with
like only if every film is stretched to one shape.
"""

import logging
import sys
from collections.abc import Callable, Iterable
from functools import partial
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from tqdm import tqdm

from resload import decode, intensity
from resload.errors import ArgumentError, DecodeError, SizeError
from resload.size import Size
from resload.threads import ordered_map, thread_count

_log = logging.getLogger("resload")

Rows = NDArray[np.int64]
Images = NDArray[Any]

CHUNK = 256
"""Records of a cache in one read."""


@runtime_checkable
class CacheLike(Protocol):
    """What is asked of a cache, which stands below this room."""

    @property
    def table(self) -> pd.DataFrame:
        """Its films, in row order."""
        ...

    @property
    def sizes(self) -> tuple[Size, ...]:
        """Its ladder, ascending."""
        ...

    @property
    def dtype(self) -> np.dtype[Any]:
        """Of its pixels."""
        ...

    def rows(self) -> Rows:
        """Those that can be read."""
        ...

    def read(self, rows: Rows, size: Size, *, out: Images) -> Images:
        """Fill `out` with rows at a size."""
        ...

    def serving(self, size: Size) -> object:
        """Raise SizeError for a size that it cannot serve."""
        ...


@runtime_checkable
class CatalogLike(Protocol):
    """What is asked of a catalog, which stands below this room too."""

    @property
    def table(self) -> pd.DataFrame:
        """Its films."""
        ...

    def path(self, row: int) -> Path:
        """Where the pixels of a row are."""
        ...


class Films(Protocol):
    """Whatever has films, seen at small sizes."""

    table: pd.DataFrame

    def small(self, side: int) -> tuple[Rows, Images]:
        """(rows, images) of all films that can be read: (n,) int64 and (n, pixels)."""
        ...

    def large(self, rows: Rows, side: int) -> Images:
        """(len(rows), pixels) of films that could be read before, at a larger size."""
        ...


def films_of(data: object, *, threads: int | None, progress: bool) -> Films:
    """A Catalog or Cache as `Films`. Raises ArgumentError for anything else."""
    count = thread_count(threads)
    if isinstance(data, CacheLike):
        return _Stored(data, count, progress)
    if isinstance(data, CatalogLike):
        return _Files(data, count, progress)
    raise ArgumentError(f"near-duplicates are looked for in a Catalog or a Cache; found {type(data).__name__}")


class _Stored:
    """The films of a cache."""

    def __init__(self, cache: CacheLike, threads: int, progress: bool) -> None:
        self._cache, self._threads, self._progress = cache, threads, progress
        self.table = cache.table

    def small(self, side: int) -> tuple[Rows, Images]:
        rows = self._cache.rows()
        return rows, self._read(rows, Size(side, side), "compare")

    def large(self, rows: Rows, side: int) -> Images:
        return self._read(rows, self._at_most(Size(side, side)), "confirm")

    def _at_most(self, size: Size) -> Size:
        """The size, or the largest level of a cache that holds nothing as large."""
        try:
            self._cache.serving(size)
        except SizeError:
            return self._cache.sizes[-1]
        return size

    def _read(self, rows: Rows, size: Size, what: str) -> Images:
        """(len(rows), height * width) of the stored dtype, a chunk of records after another on threads."""
        out = np.empty((len(rows), *size), self._cache.dtype)

        def one(start: int) -> int:
            part = rows[start : start + CHUNK]
            self._cache.read(part, size, out=out[start : start + CHUNK])
            return len(part)

        starts = range(0, len(rows), CHUNK)
        with _bar(len(rows), what, self._progress) as bar:
            for done in ordered_map(one, starts, threads=self._threads, window=2 * self._threads):
                bar.update(done)
        return out.reshape(len(rows), -1)


class _Files:
    """The films of a catalog."""

    def __init__(self, catalog: CatalogLike, threads: int, progress: bool) -> None:
        self._catalog, self._threads, self._progress = catalog, threads, progress
        self.table = table = catalog.table
        self._frames = table["frame_index"].tolist() if "frame_index" in table else [0] * len(table)
        self._bits = table["bits"].tolist() if "bits" in table else [np.nan] * len(table)

    def small(self, side: int) -> tuple[Rows, Images]:
        """Those that cannot be decoded are left out, and counted in the log."""
        readable = self.table["error"].isna() if "error" in self.table else np.ones(len(self.table), dtype=bool)
        rows = np.flatnonzero(readable)
        out = np.zeros((len(rows), side * side), np.uint16)
        made = np.ones(len(rows), dtype=bool)
        for place, image in enumerate(self._made(rows, side, "compare")):
            if isinstance(image, DecodeError):
                made[place] = False
            else:
                out[place] = image
        if not made.all():
            _log.warning("%d of %d films cannot be decoded and are compared with none", (~made).sum(), len(rows))
        return rows[made], out[made]

    def large(self, rows: Rows, side: int) -> Images:
        """Decoded again: to keep every film at this size until it is known to be needed would take 32 kB of each."""
        found = []
        for image in self._made(rows, side, "confirm"):
            if isinstance(image, DecodeError):
                raise image
            found.append(image)
        return np.stack(found) if found else np.zeros((0, side * side), np.uint16)

    def _made(self, rows: Rows, side: int, what: str) -> Iterable[NDArray[np.uint16] | DecodeError]:
        work: Callable[[int], NDArray[np.uint16] | DecodeError] = partial(self._one, side)
        with _bar(len(rows), what, self._progress) as bar:
            for image in ordered_map(work, rows.tolist(), threads=self._threads, window=4 * self._threads):
                bar.update(1)
                yield image

    def _one(self, side: int, row: int) -> NDArray[np.uint16] | DecodeError:
        bits = self._bits[row]
        try:
            return _small(
                self._catalog.path(row), int(self._frames[row]), None if np.isnan(bits) else int(bits), Size(side, side)
            )
        except DecodeError as error:
            return error.at(self._catalog.path(row))


def _small(path: Path, frame: int, bits: int | None, size: Size) -> NDArray[np.uint16]:
    """(height * width,) one file as displayed, stretched to a size."""
    from resload import resampling  # torch comes with it, and a catalog does without

    film = decode.decode(path, frame=frame)
    pixels = intensity.apply(film, dtype=np.uint16 if film.bits > 8 else np.uint8, bits=bits).pixels
    (small,) = resampling.pyramid(pixels, [size])
    return small.astype(np.uint16).reshape(-1)


def _bar(total: int, what: str, progress: bool) -> "tqdm[Any]":
    """A bar on stderr when that is a terminal."""
    return tqdm(total=total, desc=what, unit="film", file=sys.stderr, disable=None if progress else True)
