"""A film's table: from codes to pixels, and how to undo it.

All of a recipe collapses into a table of 256 or 65,536 entries: made in float64, rounded once (halves up), exact
whatever the size of the film.
"""

import math
from dataclasses import fields, replace
from functools import lru_cache
from operator import attrgetter
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import DTypeLike, NDArray

from resload.decode.radiograph import Pixels, Radiograph, Values
from resload.errors import ArgumentError, DecodeError
from resload.intensity import published, standard, statistics
from resload.intensity.gather import looked_up
from resload.intensity.grammar import Recipe
from resload.intensity.standard import Ends, Floats

_DTYPES = (np.dtype(np.uint8), np.dtype(np.uint16))
_PLAIN = Values()
"""Of a file that is no DICOM: its codes are its values."""


class Applied(NamedTuple):
    """A radiograph through its table, and what undoes it: stored value = pixel * scale + offset.

    Exactly, after rounding to whole numbers, where `pixels` have no fewer bits than the film.
    """

    pixels: Pixels
    """(height, width) of the dtype asked for: `Radiograph.pixels` itself, not a copy, where the table would change
    nothing."""
    scale: float
    """Negative where the film was turned round; NaN where no plain scaling undoes it (a window, a lookup table, values
    that were clipped, padding)."""
    offset: float
    """The stored value that became black; NaN with `scale`."""


class Tabled(NamedTuple):
    """A radiograph's table, and what undoes it, as in `Applied`."""

    table: Pixels | None
    """From codes to pixels; None where it would change nothing."""
    scale: float
    offset: float


def resolve(recipe: str, radiograph: Radiograph) -> str:
    """The canonical spelling of a recipe, with `auto` decided for a film. Raises ArgumentError for unknown ones."""
    return _decided(recipe, radiograph.values is not None)[1]


def _resolved(recipe: str, radiograph: Radiograph) -> Recipe:
    return _decided(recipe, radiograph.values is not None)[0]


@lru_cache(maxsize=256)
def _decided(recipe: str, is_dicom: bool) -> tuple[Recipe, str]:
    """`auto` -> `display` with its options where the film carries `Values`, else `none`; and how it is spelt."""
    found = Recipe.parse(recipe)
    if found.name == "auto":
        found = replace(found, name="display") if is_dicom else Recipe("none", colour=found.colour)
    return found, str(found)


def table(radiograph: Radiograph, *, dtype: DTypeLike, recipe: str = "auto", bits: int | None = None) -> Pixels | None:
    """The table from codes to values of `dtype`, or None when it would change nothing.

    Args:
        radiograph: what `resload.decode.decode` answered.
        dtype: uint8 or uint16; values fill its range.
        recipe: see `resload.intensity`.
        bits: how many bits the codes really use, where the file does not say (PadChest keeps 10 or 12 bits
            in 16-bit PNG). Codes above `2**bits - 1` take the last value.

    Returns:
        (256,) for uint8 codes or (65536,) for uint16 codes, of `dtype`, indexed by code.

    Raises ArgumentError for arguments that are none of these; DecodeError for a film that lacks the VOI LUT or window
    which the recipe names, or of more bits than `dtype` with `raw`, which promises to keep them.
    """
    target = _checked(dtype)
    values, _ = _floats(radiograph, target, _resolved(recipe, radiograph), _bits(radiograph, bits))
    return _rounded(values, radiograph, target)


def apply(radiograph: Radiograph, *, dtype: DTypeLike, recipe: str = "auto", bits: int | None = None) -> Applied:
    """The radiograph through its table. Arguments and errors as for `table`.

    May be called from many threads; releases the GIL.
    """
    found, scale, offset = tabled(radiograph, dtype=dtype, recipe=recipe, bits=bits)
    return Applied(shown(radiograph, found), scale, offset)


def tabled(radiograph: Radiograph, *, dtype: DTypeLike, recipe: str = "auto", bits: int | None = None) -> Tabled:
    """The table of `table`, and what undoes it; nothing is looked up in it yet. Arguments and errors as there.

    The table is read-only: films that say the same of their values share it.
    """
    target, asked, counted = _checked(dtype), _resolved(recipe, radiograph), _bits(radiograph, bits)
    values = radiograph.values
    if asked.measures or (values is not None and (values.modality_lut is not None or values.voi_luts)):
        return _tabled(radiograph, target, asked, counted)
    return _shared(radiograph.pixels.dtype, None if values is None else _told(values), target, asked, counted)


_told = attrgetter(*(one.name for one in fields(Values)))


@lru_cache(maxsize=64)
def _shared(
    codes: np.dtype[Any], told: tuple[Any, ...] | None, dtype: np.dtype[Any], recipe: Recipe, bits: int
) -> Tabled:
    """`_tabled` of all films whose values, without lookup tables of their own, are told alike."""
    values = None if told is None else Values(*told)
    return _tabled(Radiograph(np.empty((0, 0), codes), bits, None, "", values), dtype, recipe, bits)


def _tabled(radiograph: Radiograph, target: np.dtype[Any], recipe: Recipe, bits: int) -> Tabled:
    values, ends = _floats(radiograph, target, recipe, bits)
    found = _rounded(values, radiograph, target)
    if found is not None:
        found.setflags(write=False)
    if ends is None:
        return Tabled(found, math.nan, math.nan)
    black, white = ends
    return Tabled(found, (white - black) / int(np.iinfo(target).max), black)


def shown(radiograph: Radiograph, found: Pixels | None) -> Pixels:
    """The radiograph's pixels through a table of its own: the radiograph's array itself where there is none."""
    return radiograph.pixels if found is None else looked_up(found, radiograph.pixels)


def pixel_table(
    recipe: str,
    *,
    scale: float,
    offset: float,
    pixels: DTypeLike = np.uint16,
    dtype: DTypeLike = np.uint8,
    values: Values | None = None,
) -> Pixels:
    """The table from pixels of a cache that was built with `raw` to those of `display` or `window`: intensities last.

    >>> pixel_table("window(2048, 4096)", scale=4095 / 65535, offset=0.0)[[0, 32768, 65535]].tolist()
    [0, 128, 255]

    Args:
        recipe: `display` or `window(c, w)`, with their options. Recipes that look at a whole film cannot be applied to
            what a resize left of it.
        scale, offset: of the film, from the cache's table.
        pixels: dtype of the cache.
        dtype: uint8 or uint16, of the result.
        values: what stored values mean (`resload.decode.decode(...).values`); when None, they are modality values,
            small is dark.

    Returns:
        (256,) or (65536,) of `dtype`, for `mapped`.

    Raises ArgumentError for another recipe, or a scale that is not known.
    """
    asked = Recipe.parse(recipe)
    if asked.name not in ("display", "window"):
        raise ArgumentError(f"recipe must be display or window(c, w), which need no whole film; found {recipe!r}")
    if not (math.isfinite(scale) and math.isfinite(offset)):
        raise ArgumentError(
            f"scale and offset must be numbers, as a cache built with intensity='raw' has them; found {scale}, {offset}"
        )
    target, source = _checked(dtype), _checked(pixels)
    stored = np.arange(np.iinfo(source).max + 1, dtype=np.float64) * scale + offset
    meaning = values or _PLAIN
    shown = standard.display(stored, meaning, (float(stored[0]), float(stored[-1])), asked)
    shown = standard.unpadded(shown, stored, meaning)
    made: Pixels = np.floor(shown * np.iinfo(target).max + 0.5).astype(target)
    return made


def _checked(dtype: DTypeLike) -> np.dtype[Any]:
    found = np.dtype(dtype)
    if found not in _DTYPES:
        raise ArgumentError(f"dtype is uint8 or uint16; found {found}")
    return found


def _bits(radiograph: Radiograph, bits: int | None) -> int:
    found = radiograph.bits if bits is None else bits
    if not 1 <= found <= 16:
        raise ArgumentError(f"bits is from 1 to 16; found {found!r}")
    return found


def _floats(radiograph: Radiograph, dtype: np.dtype[Any], recipe: Recipe, bits: int) -> tuple[Floats, Ends | None]:
    """The table before rounding, 0 to the dtype's full scale; and the stored values that become black and white, where
    all between them lie on a line.
    """
    top, full = float(np.iinfo(dtype).max), float((1 << bits) - 1)
    codes: Floats = np.arange(np.iinfo(radiograph.pixels.dtype).max + 1, dtype=np.float64)
    values = _PLAIN if radiograph.values is None else radiograph.values
    ends = (0.0 - values.offset, full - values.offset)
    if recipe.name == "raw" and bits > 8 * dtype.itemsize:
        raise DecodeError("raw keeps every bit, and the film has more than 8: ask for dtype uint16")
    if recipe.name in ("none", "raw") or (recipe.name == "display" and radiograph.values is None):
        return np.minimum(codes, full) * (top / full), ends
    all_stored: Floats = codes - float(values.offset)
    shown, line = _interpreted(radiograph.pixels, np.minimum(all_stored, ends[1]), all_stored, values, ends, recipe)
    return shown * top, line


def _interpreted(
    pixels: Pixels, stored: Floats, all_stored: Floats, values: Values, ends: Ends, recipe: Recipe
) -> tuple[Floats, Ends | None]:
    """`_floats` of [0, 1], for recipes that interpret what is stored.

    stored: of each code, within the bits that count; all_stored: without that limit, as padding is meant.
    """
    if recipe.eight_bits:
        make = published.mimic if recipe.name == "mimic-jpg" else published.chexpert
        return make(stored, statistics.histogram(pixels), values.invert) / 255.0, None
    if recipe.name in ("minmax", "percentile"):
        counts = np.where(standard.padded(all_stored, values), 0, statistics.histogram(pixels))
        shown, line = _measured(counts, stored, values, recipe)
    else:
        shown, line = standard.display(stored, values, ends, recipe), _line(values, ends, recipe)
    return standard.unpadded(shown, all_stored, values), line


def _line(values: Values, ends: Ends, recipe: Recipe) -> Ends | None:
    """The stored values that `display` makes black and white, where it is a plain scaling."""
    voi = recipe.name == "window" or values.voi_luts or values.windows
    if voi or values.modality_lut is not None or values.padding is not None:
        return None
    turned = (values.slope < 0) != standard.inverts(values, recipe)
    return ends[::-1] if turned else ends


def _measured(counts: NDArray[np.int64], stored: Floats, values: Values, recipe: Recipe) -> tuple[Floats, Ends | None]:
    """A film between ends that its own pixels tell; black where there is nothing between them.

    counts: how often each of the stored values occurs.
    """
    there = counts > 0
    with np.errstate(all="ignore"):  # as in `standard.display`
        found = standard.modality(stored, values)
        seen = found[there]
        if not seen.size or seen.min() == seen.max():
            return np.zeros(stored.shape), None
        if recipe.name == "percentile":
            ends, line = statistics.percentiles(found, counts, recipe.numbers), None
        else:
            ends = (float(seen.min()), float(seen.max()))
            line = _line_of(stored[there], seen, values, recipe)
        shown = statistics.stretched(found, ends)
        return standard.finished(shown, values, recipe), line


def _line_of(stored: Floats, seen: Floats, values: Values, recipe: Recipe) -> Ends | None:
    """The stored values that `minmax` makes black and white."""
    if values.modality_lut is not None or values.padding is not None:
        return None
    black, white = float(stored[seen.argmin()]), float(stored[seen.argmax()])
    return (white, black) if standard.inverts(values, recipe) else (black, white)


def _rounded(values: Floats, radiograph: Radiograph, dtype: np.dtype[Any]) -> Pixels | None:
    found: NDArray[Any] = np.floor(values + 0.5).astype(dtype)
    if dtype == radiograph.pixels.dtype and np.array_equal(found, np.arange(found.size)):
        return None
    return found
