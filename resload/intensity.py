"""Codes -> the values a model or a reader sees, as one table per image.

    codes --- `none` --------------------------------------------------------------------> full scale of dtype
    codes --- `display`: stored value -> Modality LUT, else slope and intercept
                                      -> VOI LUT, else window, else the full stored range
                                      -> turned round once if MONOCHROME1 -----------------> full scale of dtype

A radiograph has at most 16 bits, so all of it collapses into a table of 256 or 65,536 entries: made in
float64, rounded once (halves up), exact whatever the size of the film.
"""

import math
from typing import Any

import numpy as np
from numpy.typing import DTypeLike, NDArray

from resload.decode.radiograph import Lut, Pixels, Radiograph, Values
from resload.errors import ArgumentError

RECIPES = ("auto", "display", "none")
"""`auto` is resolved for each radiograph: `display` where it carries `Values` (DICOM), else `none`."""

_DTYPES = (np.dtype(np.uint8), np.dtype(np.uint16))


def resolve(recipe: str, radiograph: Radiograph) -> str:
    """`auto` -> `display` or `none`; the other recipes as they are. Raises ArgumentError for unknown ones."""
    if recipe not in RECIPES:
        raise ArgumentError(f"intensity is one of {', '.join(RECIPES)}; found {recipe!r}")
    if recipe != "auto":
        return recipe
    return "none" if radiograph.values is None else "display"


def table(radiograph: Radiograph, *, dtype: DTypeLike, recipe: str = "auto", bits: int | None = None) -> Pixels | None:
    """The table from codes to values of `dtype`, or None when it would change nothing.

    Args:
        radiograph: what `resload.decode.decode` answered.
        dtype: uint8 or uint16; values fill its range.
        recipe: one of `RECIPES`.
        bits: how many bits the codes really use, where the file does not say (PadChest keeps 10 or 12 bits
            in 16-bit PNG). Codes above `2**bits - 1` take the last value.

    Returns:
        (256,) for uint8 codes or (65536,) for uint16 codes, of `dtype`, indexed by code.
    """
    values, _ = _floats(radiograph, _checked(dtype), recipe, _bits(radiograph, bits))
    return _rounded(values, radiograph, _checked(dtype))


def apply(
    radiograph: Radiograph, *, dtype: DTypeLike, recipe: str = "auto", bits: int | None = None
) -> tuple[Pixels, float]:
    """(pixels, scale): the radiograph through its table.

    `pixels` is (height, width) of `dtype`: `radiograph.pixels` itself, not a copy, where the table would
    change nothing. `scale` undoes it: stored value = pixel * scale; nan where the map is no plain scaling
    (a window, a lookup table, an offset, an inversion).

    Arguments and errors as for `table`. May be called from many threads; releases the GIL.
    """
    target = _checked(dtype)
    values, scale = _floats(radiograph, target, recipe, _bits(radiograph, bits))
    found = _rounded(values, radiograph, target)
    return (radiograph.pixels if found is None else _mapped(found, radiograph.pixels)), scale


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


def _floats(radiograph: Radiograph, dtype: np.dtype[Any], recipe: str, bits: int) -> tuple[NDArray[np.float64], float]:
    """The table before rounding, 0 to the dtype's full scale, and the scale that undoes it."""
    full = (1 << bits) - 1
    codes: NDArray[np.float64] = np.arange(np.iinfo(radiograph.pixels.dtype).max + 1, dtype=np.float64)
    codes = np.minimum(codes, float(full))
    top = float(np.iinfo(dtype).max)
    if resolve(recipe, radiograph) == "none" or radiograph.values is None:
        return codes * (top / full), full / top
    values = radiograph.values
    return display(codes - float(values.offset), values, bits) * top, _display_scale(values, full / top)


def _display_scale(values: Values, scale: float) -> float:
    """`scale` where display is a plain scaling of stored values, else nan."""
    shaped = values.modality_lut or values.voi_luts or values.windows or values.invert or values.offset
    return math.nan if shaped or values.slope < 0 else scale


def _rounded(values: NDArray[np.float64], radiograph: Radiograph, dtype: np.dtype[Any]) -> Pixels | None:
    found: NDArray[Any] = np.floor(values + 0.5).astype(dtype)
    if dtype == radiograph.pixels.dtype and np.array_equal(found, np.arange(found.size)):
        return None
    return found


_BLOCK = 1 << 16


def _mapped(found: Pixels, codes: Pixels) -> Pixels:
    """`found[codes]`, a block at a time: numpy widens indices to 64 bits, and a block of those stays in cache."""
    out: NDArray[Any] = np.empty(codes.shape, found.dtype)
    flat_in, flat_out = codes.reshape(-1), out.reshape(-1)
    for start in range(0, flat_in.size, _BLOCK):
        part = flat_in[start : start + _BLOCK]
        np.take(found, part, out=flat_out[start : start + _BLOCK], mode="clip")
    return out


def display(stored: NDArray[np.float64], values: Values, bits: int) -> NDArray[np.float64]:
    """Stored values -> [0, 1], small is dark (DICOM PS3.4 N.2): modality, VOI, polarity.

    Without VOI LUT and window, the whole range that `bits` bits of stored values can reach is shown.
    """
    with np.errstate(all="ignore"):  # absurd slopes and windows overflow; what is no number becomes 0 below
        shown = _shown(stored, values, bits)
    shown = np.clip(np.nan_to_num(shown, nan=0.0), 0.0, 1.0)
    return 1.0 - shown if values.invert else shown


def _shown(stored: NDArray[np.float64], values: Values, bits: int) -> NDArray[np.float64]:
    """Modality and VOI, not yet inverted."""
    ends: NDArray[np.float64] = np.array([0.0, (1 << bits) - 1.0]) - float(values.offset)
    modality, reach = _modality(stored, values), _reach(ends, values)
    if values.voi_luts:
        return _looked_up(modality, values.voi_luts[0]) / _nominal(values.voi_luts[0])
    if values.windows:
        return window(modality, *values.windows[0], values.window_function)
    return (modality - reach[0]) / np.float64(reach[1] - reach[0])


def _modality(stored: NDArray[np.float64], values: Values) -> NDArray[np.float64]:
    if values.modality_lut is not None:
        return _looked_up(stored, values.modality_lut)
    return stored * values.slope + values.intercept


def _reach(ends: NDArray[np.float64], values: Values) -> tuple[float, float]:
    """The smallest and largest modality value there can be."""
    if values.modality_lut is not None:
        return 0.0, _nominal(values.modality_lut)
    low, high = sorted(ends * values.slope + values.intercept)
    return float(low), float(high)


def _nominal(lut: Lut) -> float:
    """The largest output that a lookup table's bits allow: not the largest it happens to hold."""
    return float((1 << lut.bits) - 1)


def _looked_up(inputs: NDArray[np.float64], lut: Lut) -> NDArray[np.float64]:
    """Entries for inputs rounded to whole numbers; inputs outside take the first or last entry."""
    index = np.clip(np.nan_to_num(np.floor(inputs + 0.5)) - lut.first_mapped, 0, lut.entries.size - 1).astype(np.intp)
    found: NDArray[np.float64] = lut.entries[index].astype(np.float64)
    return found


def window(inputs: NDArray[np.float64], center: float, width: float, function: str) -> NDArray[np.float64]:
    """A window as [0, 1] (DICOM PS3.3 C.11.2.1.2 and C.11.2.1.3).

    `LINEAR` shows `width` whole values, the middle one half a value below `center`; `LINEAR_EXACT` shows
    the interval `center` +- `width / 2`; `SIGMOID` never quite reaches black and white.
    """
    if function == "LINEAR":
        center, width = center - 0.5, width - 1.0
    shown: NDArray[np.float64]
    if function == "SIGMOID":
        shown = 1.0 / (1.0 + np.exp(np.clip(-4.0 * (inputs - center) / width, -700.0, 700.0)))
    elif width == 0.0:
        shown = np.where(inputs > center, 1.0, 0.0)
    else:
        shown = np.clip((inputs - center) / width + 0.5, 0.0, 1.0)
    return shown
