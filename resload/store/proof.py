"""Proof on demand: films decoded again, and what a cache stores of them against the float64 reference.

    source file --hash as recorded? decode, recorded intensity--> values --recorded place, reference weights--> exact
    stored record - exact = error, in units of the stored dtype

Where a film lies follows from what the table records of it, which is what boxes and masks are moved by too. No engine
of `resampling` takes part: the weights are those of `reference`, in float64, and only their order of summation differs
from `reference.resample`, whose whole matrices are mostly zeros.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from resload import intensity, reference
from resload.errors import DecodeError
from resload.geometry import Rect
from resload.geometry.fits import canvas_value
from resload.geometry.placing import film_facts, placed
from resload.pipeline import Pipeline
from resload.pipeline.cpu import as_radiograph
from resload.pipeline.recipe import CatalogFilms
from resload.size import Size
from resload.store.made import content_hash, read_file
from resload.threads import ordered_map

Floats = NDArray[np.float64]

OTHERS = "dali."
"""Decoders that are not the one here: of lossy streams they give other pixels, by a rounding or two each."""
_ROUNDINGS = 2.0
"""So far apart, in 1/255 of the range, may two right decoders of a lossy stream be (`pipeline.dali`)."""


@dataclass(frozen=True)
class LevelError:
    """How far the records of one level are from the exact resize of their films; canvas beside a film not counted."""

    size: Size
    films: int
    """How many were compared."""
    worst: float
    """Largest absolute error of any pixel, in units of the stored dtype."""
    mean: float
    """Mean of stored minus exact over all pixels, in the same units."""
    rmse: float
    """Root of the mean square of the same."""
    limit: float
    """What `worst` may be: 1.01 for uint8 with the triangle kernel, 0.52 for all else (half a unit is rounding)."""
    unit: float
    """Grey levels of 255 that one unit is: 1 for uint8, 1/257 for uint16."""


class Finding(NamedTuple):
    """Something wrong with one film: at a size, or (None) with its source."""

    row: int
    size: Size | None
    what: str
    source: Path | None = None


class _Error(NamedTuple):
    """Of one film at one size: largest absolute difference, sum, sum of squares, and count of pixels."""

    worst: float
    total: float
    squares: float
    pixels: int


def limit(dtype: str, kernel: str) -> float:
    """The largest error that `resampling` promises, in units of the dtype."""
    return 1.01 if dtype == "uint8" and kernel == "triangle" else 0.52


class Proof:
    """Films of a cache, decoded again. Its methods may be called from many threads.

    recipe: the cache's own, its dtype resolved. table: the cache's. films: where they are, by the cache's ids.
    read: (row, size) -> the stored pixels, or None for a damaged record, which is then left out.
    """

    def __init__(
        self,
        recipe: Pipeline,
        table: pd.DataFrame,
        films: CatalogFilms,
        read: Callable[[int, Size], NDArray[Any] | None],
    ) -> None:
        self.recipe, self.read = recipe, read
        self.films = films
        self.places = {name: place for place, name in enumerate(self.films.ids)}
        self.facts = film_facts(table)
        self.records = table[["id", "source_hash", "intensity", "bits"]]
        self.limit = limit(recipe.dtype, recipe.kernel)
        decoders = table["decoder"].fillna("").str
        self.apart = decoders.startswith(OTHERS).to_numpy(bool) * (_ROUNDINGS * np.iinfo(recipe.dtype).max / 255)

    def of(self, rows: Sequence[int], *, threads: int) -> Iterator[tuple[dict[Size, _Error], list[Finding]]]:
        """For each of these rows its error at each size, and what is wrong with it; no errors for a film not read."""
        yield from ordered_map(self._compared, rows, threads=threads, window=2 * threads)

    def _compared(self, row: int) -> tuple[dict[Size, _Error], list[Finding]]:
        pixels = self._decoded(row)
        if isinstance(pixels, Finding):
            return {}, [pixels]
        errors, found = {}, []
        for size in self.recipe.sizes:
            stored = self.read(row, size)
            if stored is None:
                continue
            place = placed(self.recipe.fit, self.recipe.aspect, self.facts[row], size)
            if place is None:
                found.append(Finding(row, size, "what the table records of its film does not say where it lies"))
                continue
            errors[size] = self._error(pixels, stored, *place)
            limit = self.limit + float(self.apart[row])
            found += [Finding(row, size, what) for what in self._judged(errors[size], stored, place[1], limit)]
        return errors, found

    def _decoded(self, row: int) -> NDArray[Any] | Finding:
        """The film's values as they were before its resizes, or why there are none."""
        name, source_hash, recipe, bits = self.records.iloc[row]
        place = self.places.get(name)
        if place is None:
            return Finding(row, None, "the catalog given to verify does not hold this radiograph")
        path, known = self.films.source(place)
        try:
            data, _ = read_file(path)
            if self.films.seal(content_hash(data)) != source_hash:
                return Finding(row, None, "this source is no longer the file the cache was built from", path)
            film = as_radiograph(data, frame=known.frame)
        except DecodeError as error:
            return Finding(row, None, f"this source cannot be read: {type(error).__name__}: {error.reason}", path)
        height, width = self.facts[row][:2].astype(int)
        if film.pixels.shape != (height, width):
            found = Size(*film.pixels.shape)
            return Finding(row, None, f"this source is {found}, the table says {height}x{width}", path)
        return intensity.apply(film, dtype=self.recipe.dtype, recipe=recipe, bits=int(bits))[0]

    def _error(self, pixels: NDArray[Any], stored: NDArray[Any], source: Rect, target: Rect) -> _Error:
        found = exact(pixels[source.slices], Size(target.height, target.width), kernel=self.recipe.kernel)
        np.clip(found, 0, np.iinfo(stored.dtype).max, out=found)  # kernels with lobes leave the range that is stored
        off = np.subtract(stored[target.slices], found, out=found)
        return _Error(float(max(off.max(), -off.min())), float(off.sum()), float(np.vdot(off, off)), off.size)

    def _judged(self, error: _Error, stored: NDArray[Any], target: Rect, limit: float) -> Iterator[str]:
        if error.worst > limit:
            worst = f"{error.worst:.2f} units from the exact resize of its film (limit {limit:g})"
            yield f"{worst}: made from other pixels, or in another way"
        canvas = np.ones(stored.shape, bool)
        canvas[target.slices] = False
        value = canvas_value(self.recipe.fit, stored.dtype)
        if (stored[canvas] != value).any():
            yield f"the canvas beside its film is not {value} everywhere"

    def summed(self, errors: Sequence[dict[Size, _Error]]) -> tuple[LevelError, ...]:
        """The errors of many films, level by level; levels of which no record was compared are left out."""
        unit = 255 / float(np.iinfo(self.recipe.dtype).max)
        levels = []
        for size in self.recipe.sizes:
            of_size = [one[size] for one in errors if size in one]
            if of_size:
                worst, totals, squares, counts = zip(*of_size, strict=True)
                mean, square = (sum(values) / sum(counts) for values in (totals, squares))
                levels.append(LevelError(size, len(of_size), max(worst), mean, square**0.5, self.limit, unit))
        return tuple(levels)


# -- the reference, quick enough for many films ------------------------------------------------------------


_BLOCK = 8
"""Output rows made by one product. An output row has few source rows under it, and neighbours share them: a product of
all of them would multiply by zeros mostly, one for each row would not fill the processor."""

_PRODUCT = 1 << 18
"""Multiplications in one product: so few stay on one core, where a BLAS's threads would contend with this module's."""


def exact(image: NDArray[Any], size: Size, *, kernel: str) -> Floats:
    """`reference.resample` of (H, W) of any real dtype, to float64 rounding; a new C-contiguous array."""
    across = _product(image.T, size.width, kernel)
    return _product(across.T, size.height, kernel)


def _product(rows: NDArray[Any], target: int, kernel: str) -> Floats:
    out = np.empty((target, rows.shape[1]))
    for first, start, weights in _blocks(len(rows), target, kernel):
        under = rows[start : start + weights.shape[1]].astype(np.float64, copy=False)
        block, step = out[first : first + len(weights)], max(1, _PRODUCT // weights.size)
        for column in range(0, rows.shape[1], step):
            chunk = slice(column, column + step)
            np.matmul(weights, under[:, chunk], out=block[:, chunk])
    return out


@lru_cache(maxsize=64)
def _blocks(source: int, target: int, kernel: str) -> list[tuple[int, int, Floats]]:
    """`reference.matrix` without most of its zeros: (first output row, first source row, weights) of each block."""
    _, radius = reference.KERNELS[kernel]
    scale = source / target
    centre, reach = (np.arange(target) + 0.5) * scale, radius * max(scale, 1.0) + 1.0
    begins = np.arange(0, target, _BLOCK)
    ends = np.minimum(begins + _BLOCK, target)
    starts = np.clip(np.floor(centre[begins] - reach), 0, source - 1).astype(np.int64)
    span = int(np.ceil((centre[ends - 1] + reach - starts).max()))
    index = np.repeat(starts, ends - begins)[:, None] + np.arange(span)
    weights = reference.weights_at(index, source, target, kernel)
    return [
        (int(begin), int(start), np.ascontiguousarray(weights[begin:end, : source - start]))
        for begin, end, start in zip(begins, ends, starts, strict=True)
    ]
