"""From stored values to what a reader sees, as the DICOM standard says (PS3.4 N.2): modality, VOI, polarity.

    stored value -> Modality LUT, else slope and intercept
                 -> VOI LUT, else window, else the full range that can be stored
                 -> turned round once where small values are white ---------------- `display`
                 -> padding black ------------------------------------------------- `unpadded`

Every function takes and gives float64 arrays of any shape, changes none, and may be called from many threads.
"""

from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from resload.decode.radiograph import Lut, Values
from resload.errors import DecodeError
from resload.intensity.grammar import Recipe

Floats: TypeAlias = NDArray[np.float64]
Ends: TypeAlias = tuple[float, float]
"""Two stored values: the smallest and the largest that there can be, or those that become black and white."""


def display(stored: Floats, values: Values, ends: Ends, recipe: Recipe) -> Floats:
    """Stored values -> [0, 1], small is dark. ends: the smallest and largest stored value that there can be.

    Raises DecodeError for a film that lacks the VOI transformation which the recipe names.
    """
    with np.errstate(all="ignore"):  # absurd slopes and windows overflow; what is no number becomes 0 in `finished`
        return finished(_shown(stored, values, ends, recipe), values, recipe)


def finished(shown: Floats, values: Values, recipe: Recipe) -> Floats:
    """Clipped to [0, 1], and turned round where the recipe says so.

    Polarity comes after VOI, against the nominal range (PS3.3 C.7.6.3.1.2).
    """
    shown = np.clip(np.nan_to_num(shown, nan=0.0), 0.0, 1.0)
    return 1.0 - shown if inverts(values, recipe) else shown


def unpadded(shown: Floats, stored: Floats, values: Values) -> Floats:
    """Black where the stored values are padding.

    Padding is no image and is left out of grayscale rendering (PS3.3 C.7.5.1.1.2, which does not say how to show it):
    black is what a background is, and what it would be if polarity did not turn it round.
    """
    return shown if values.padding is None else np.where(padded(stored, values), 0.0, shown)


def inverts(values: Values, recipe: Recipe) -> bool:
    """Whether small values are white.

    MONOCHROME1 and a Presentation LUT Shape of INVERSE say the same thing, so only one of them is asked: the first by
    default, since files with a wrong second are known (dcm4che/dcm4chee-arc-light#3155).
    """
    if recipe.polarity == "keep":
        return False
    if recipe.polarity == "presentation" and values.presentation_inverse is not None:
        return values.presentation_inverse
    return values.invert


def padded(stored: Floats, values: Values) -> NDArray[np.bool_]:
    """Which stored values are no image. Padding is meant in stored values (PS3.3 C.7.5.1.1.2)."""
    if values.padding is None:
        return np.zeros(stored.shape, bool)
    low, high = values.padding
    nearest = np.rint(stored)
    return (low <= nearest) & (nearest <= high)


def _shown(stored: Floats, values: Values, ends: Ends, recipe: Recipe) -> Floats:
    """Modality and VOI, not yet clipped or inverted."""
    found = modality(stored, values)
    if recipe.name == "window":
        center, width = recipe.numbers
        return window(found, center, width, recipe.function.upper())
    luts = values.voi_luts if recipe.prefer == "lut" or not values.windows else ()
    if luts:
        lut = luts[_place(recipe.voi, len(luts), "VOI LUTs")]
        return looked_up(found, lut) / nominal(lut)
    if values.windows:
        chosen = values.windows[_place(recipe.voi, len(values.windows), "windows")]
        return window(found, *chosen, values.window_function)
    if recipe.voi:
        raise DecodeError("the film has no VOI LUT and no window of the index that the recipe names", detail="it has 0")
    black, white = _reach(ends, values)
    return (found - black) / np.float64(white - black)


def _place(asked: int, count: int, what: str) -> int:
    if asked < count:
        return asked
    raise DecodeError(
        "the film has no VOI LUT and no window of the index that the recipe names",
        detail=f"voi={asked}, counted from 0; it has {count} {what}",
    )


def modality(stored: Floats, values: Values) -> Floats:
    """Stored values -> modality values (PS3.3 C.11.1): the LUT takes the place of slope and intercept."""
    if values.modality_lut is not None:
        return looked_up(stored, values.modality_lut)
    return stored * values.slope + values.intercept


def _reach(ends: Ends, values: Values) -> Ends:
    """The smallest and largest modality value there can be."""
    if values.modality_lut is not None:
        return 0.0, nominal(values.modality_lut)
    low, high = sorted(np.float64(end) * values.slope + values.intercept for end in ends)
    return float(low), float(high)


def nominal(lut: Lut) -> float:
    """The largest output that a lookup table's bits allow: not the largest it happens to hold."""
    return float((1 << lut.bits) - 1)


def looked_up(inputs: Floats, lut: Lut) -> Floats:
    """Entries for inputs rounded to whole numbers; inputs outside take the first or last entry (PS3.3 C.11.1.1.1)."""
    index = np.clip(np.nan_to_num(np.floor(inputs + 0.5)) - lut.first_mapped, 0, lut.entries.size - 1).astype(np.intp)
    found: Floats = lut.entries[index].astype(np.float64)
    return found


def window(inputs: Floats, center: float, width: float, function: str) -> Floats:
    """A window as [0, 1] (DICOM PS3.3 C.11.2.1.2 and C.11.2.1.3).

    `LINEAR` shows `width` whole values, the middle one half a value below `center`; `LINEAR_EXACT` shows
    the interval `center` +- `width / 2`; `SIGMOID` never quite reaches black and white.
    """
    if function == "LINEAR":
        center, width = center - 0.5, width - 1.0
    shown: Floats
    if function == "SIGMOID":
        shown = 1.0 / (1.0 + np.exp(np.clip(-4.0 * (inputs - center) / width, -700.0, 700.0)))
    elif width == 0.0:
        shown = np.where(inputs > center, 1.0, 0.0)
    else:
        shown = np.clip((inputs - center) / width + 0.5, 0.0, 1.0)
    return shown
