"""Which films are compared, and with what.

    with a catalog           each size  <->  the film's own pixels, decoded again by the cache's recipe
    a cache of native size   each size  <->  the film's own pixels, as they are stored
    neither                  each size  <->  the largest size of the cache that shows the same part of the films

What a size keeps is taken from the cache as it is stored, cut to the part that is film, and brought back to the
film's shape by one declared kernel; only the part of the film that the size shows is compared.
"""

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from resload.boxes import Boxes
from resload.errors import ArgumentError, CatalogError, DecodeError, UnreadableFileError
from resload.geometry import Rect, Stretch
from resload.geometry.placing import PLACES, SPACING
from resload.pipeline.recipe import CatalogFilms
from resload.report.detail import Compared, Floats, Image, Loss
from resload.resampling import resample
from resload.seeds import permutation
from resload.size import Native, Size
from resload.store.cache import Cache
from resload.store.made import film_of

if TYPE_CHECKING:
    from resload.catalog import Catalog

RETURN = "cubic"
"""The kernel that brings a size back to its film: Keys' cubic keeps more of what a size holds than the triangle and,
unlike Lanczos, rings little at the edges of bones and markers."""
FILM = "film"
"""What a size is compared with, where it is no other size."""
_FEWEST_OCTAVES, _MOST_OCTAVES = 3, 8


@dataclass(frozen=True)
class Octaves:
    """Between which spatial frequencies energy is looked at."""

    edges: Floats
    """(k + 1,), ascending."""
    unit: str
    """"cycles/mm" (line pairs per mm), or "cycles/pixel" of what sizes are compared with."""


@dataclass(frozen=True)
class Measured:
    """One film: its energy in each octave (k,), and what each size lost of it."""

    energy: Floats
    lost: dict[Size, Loss]


def chosen(cache: Cache, count: int, seed: int, catalog: "Catalog | None") -> NDArray[np.int64]:
    """At most `count` readable rows, in an order that follows from the seed: those of films with boxes first.

    Raises ArgumentError for a count under 1 and for a cache without readable films, CatalogError for a catalog that has
    none of them.
    """
    if isinstance(count, bool) or not isinstance(count, int) or count < 1:
        raise ArgumentError(f"films must be an int >= 1; found {count!r}")
    rows = cache.rows()
    if not len(rows):
        raise ArgumentError(f"{cache.path}: nothing to report: this view has no film that can be read")
    if catalog is not None:
        rows = rows[cache.table["id"].iloc[rows].isin(catalog.table["id"]).to_numpy()]
        if not len(rows):
            raise CatalogError(f"the catalog has none of the films of {cache.path}; give the one it was built from")
    drawn = rows[permutation(len(rows), seed, 0, "report")]
    boxed = () if cache.boxes is None else cache.boxes["id"]
    without = ~cache.table["id"].iloc[drawn].isin(boxed).to_numpy()
    return drawn[np.argsort(without, kind="stable")][:count]


def compared_with(cache: Cache, rows: NDArray[np.int64], *, native: bool) -> dict[Size, Size | None]:
    """For each size, the size that it is compared with; None for the film itself."""
    if native:
        return dict.fromkeys(cache.sizes)
    shown = {size: cache.facts(rows, size)[:, PLACES][:, :4] for size in cache.sizes}
    return {
        size: max(
            (other for other in cache.sizes if np.array_equal(shown[other], shown[size])),
            key=lambda other: other.pixels,
        )
        for size in cache.sizes
    }


def octaves(cache: Cache, rows: NDArray[np.int64], *, native: bool) -> Octaves:
    """Octaves from the finest that these films (or the largest size) have down to one below what the smallest has."""
    smallest, largest = (cache.facts(rows, size) for size in (cache.sizes[0], cache.sizes[-1]))
    own = np.ones(2) if native else _scale(largest)  # pixels of what sizes are compared with, for one of the film
    ratio = float(np.median((own / _scale(smallest)).max(axis=1)))
    count = int(np.clip(np.ceil(np.log2(max(ratio, 1))) + 1, _FEWEST_OCTAVES, _MOST_OCTAVES))
    step = spacing_of(smallest) / own
    known = np.isfinite(step).all(axis=1)
    enough = known.mean() >= 0.5
    finest = float(np.median(0.5 / step[known].max(axis=1))) if enough else 0.5
    return Octaves(finest / 2.0 ** np.arange(count, -1, -1), "cycles/mm" if enough else "cycles/pixel")


def _scale(facts: NDArray[np.float32]) -> Floats:
    """Pixels of a size for one of the film, (n, 2) as (y, x)."""
    found = facts[:, PLACES].astype(np.float64)
    return np.asarray(found[:, 6:8] / found[:, 2:4])


def spacing_of(facts: NDArray[np.float32]) -> Floats:
    """The films' own mm per pixel, (n, 2) as (y, x)."""
    return np.asarray(facts[:, SPACING] * _scale(facts))


class Comparison:
    """Compares films with what sizes keep of them. Thread-safe."""

    def __init__(
        self, cache: Cache, films: CatalogFilms | None, against: dict[Size, Size | None], bands: Octaves
    ) -> None:
        self._cache, self._against, self._bands = cache, against, bands
        self._films = films
        self._places = {} if self._films is None else {name: row for row, name in enumerate(self._films.ids)}
        self._recipe = cache.pipeline
        self._boxes = None if cache.boxes is None else Boxes(cache.boxes, cache.table["id"])
        self._top = np.float32(np.iinfo(cache.dtype).max)

    def of(self, row: int) -> Measured | DecodeError:
        """What each size lost of one film; the reason, where its file cannot be compared with."""
        try:
            return self._measured(row)
        except DecodeError as error:
            return error

    def _measured(self, row: int) -> Measured:
        native = self._native(row) if None in self._against.values() else None
        seen: dict[tuple[Size | None, Rect], Compared] = {}
        lost = {}
        for size, other in self._against.items():
            source, image = self._level(row, size)
            if (other, source) not in seen:
                whole = native[source.slices] if native is not None else self._level(row, other or size)[1]
                seen[other, source] = self._compared(row, source, np.ascontiguousarray(whole))
            lost[size] = seen[other, source].lost(resample(image, seen[other, source].shape, kernel=RETURN))
        return Measured(next(reversed(seen.values())).energy(), lost)

    def _compared(self, row: int, source: Rect, whole: Image) -> Compared:
        """A film's pixels with what is known of it: `whole` shows its rectangle `source`."""
        place = np.array([[*source, 0, 0, *whole.shape]], np.float64)
        step = (1.0, 1.0)
        if self._bands.unit == "cycles/mm":
            film = spacing_of(self._cache.facts(np.array([row]), self._cache.sizes[0]))[0]
            y, x = (film * place[0, 2:4] / place[0, 6:8]).tolist()
            step = (y, x)
        boxes = np.zeros((0, 4)) if self._boxes is None else self._boxes.of(np.array([row]), place)[0][0].numpy()
        return Compared(whole, step, self._bands.edges, boxes.astype(np.float64))

    def _level(self, row: int, size: Size) -> tuple[Rect, Image]:
        """Which part of a film a size shows, and its pixels there."""
        rows = np.array([row])
        values = self._cache.facts(rows, size)[0, PLACES].astype(int).tolist()
        stored = self._cache.read(rows, size)[0][Rect(*values[4:]).slices]
        return Rect(*values[:4]), np.ascontiguousarray(stored.astype(np.float32) / self._top)

    def _native(self, row: int) -> Image:
        """The whole film in the cache's depth: decoded as its recipe does, or its own native level."""
        if self._films is None:
            return self._level(row, Native(0, 0))[1]
        film_row: pd.Series[Any] = self._cache.table.iloc[row]
        size = Size(int(film_row["height"]), int(film_row["width"]))
        recipe = replace(self._recipe, sizes=(size,), fit=Stretch(), aspect="pixel")
        place = self._places[film_row["id"]]
        film, source_hash, _ = film_of(self._films, place, recipe)
        if source_hash != film_row["source_hash"]:
            path = self._films.paths[place]
            raise UnreadableFileError("this is no longer the file the cache was built from", path=path)
        return np.asarray(film.levels[0].astype(np.float32) / self._top)
