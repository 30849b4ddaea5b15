"""What the codes of a DICOM film mean: stored value -> modality value -> display value, as `Values`.

Everything that steps 3 to 6 of the display pipeline (PS3.4 N.2) need is read here; `resload.intensity` applies it.
"""

import math

from resload.decode import dictionary
from resload.decode.dictionary import named
from resload.decode.elements import DataSet
from resload.decode.image import Image
from resload.decode.luts import modality_lut, voi_luts
from resload.decode.radiograph import Lut, Values
from resload.errors import DecodeError

_FUNCTIONS = ("LINEAR", "LINEAR_EXACT", "SIGMOID")


def values_of(dataset: DataSet, image: Image) -> Values:
    """The `Values` of a gray image. Raises DecodeError, naming the element, for what cannot be understood."""
    slope = dataset.real(dictionary.SLOPE)
    intercept = dataset.real(dictionary.INTERCEPT) or 0.0
    slope = slope if slope else 1.0  # 0 would make every film one gray, which is no use of it (PS3.3 C.11.1)
    modality = modality_lut(dataset, image.signed)
    windows, function = windows_of(dataset)
    return Values(
        offset=image.offset,
        slope=slope,
        intercept=intercept,
        modality_lut=modality,
        voi_luts=voi_luts(dataset, _below_zero(image, slope, intercept, modality)),
        windows=windows,
        window_function=function,
        invert=image.photometric == "MONOCHROME1",
        presentation_inverse=_inverse(dataset),
        padding=_padding(dataset, image),
    )


def voi_kinds(dataset: DataSet) -> str:
    """Which VOI transformations there are, without reading them: `Header.voi`."""
    lut = next(dataset.items(dictionary.VOI_LUT), None) is not None
    return "+".join([*["lut"] * lut, *["window"] * bool(windows_of(dataset)[0])]) or "none"


def windows_of(dataset: DataSet) -> tuple[tuple[tuple[float, float], ...], str]:
    """((center, width), ...) and their function.

    A window that is no two numbers, or that the standard forbids (PS3.3 C.11.2.1.2 and C.11.2.1.3: a width below 1 for
    LINEAR, not above 0 for the others), counts as absent.
    """
    pairs = list(zip(dataset.reals(dictionary.CENTER), dataset.reals(dictionary.WIDTH), strict=False))
    if not pairs:
        return (), "LINEAR"
    function = dataset.text(dictionary.FUNCTION).upper() or "LINEAR"
    if function not in _FUNCTIONS:
        raise DecodeError(f"{named(dictionary.FUNCTION)} is none of {', '.join(_FUNCTIONS)}", detail=function[:64])
    narrowest = 1.0 if function == "LINEAR" else math.ulp(0.0)
    return tuple((c, w) for c, w in pairs if c is not None and w is not None and w >= narrowest), function


def _below_zero(image: Image, slope: float, intercept: float, modality: Lut | None) -> bool:
    """Whether a modality value can be negative; what a Modality LUT puts out cannot."""
    low, high = -image.offset, (1 << image.bits_stored) - 1 - image.offset
    return modality is None and min(low * slope, high * slope) + intercept < 0


def _inverse(dataset: DataSet) -> bool | None:
    return {"INVERSE": True, "IDENTITY": False}.get(dataset.text(dictionary.SHAPE).upper())


def _padding(dataset: DataSet, image: Image) -> tuple[int, int] | None:
    """Pixel Padding Value to Pixel Padding Range Limit, whichever is the smaller (PS3.3 C.7.5.1.1.2).

    A limit alone means nothing.
    """
    value, limit = dataset.whole(dictionary.PADDING), dataset.whole(dictionary.PADDING_LIMIT)
    if value is None:
        return None
    low, high = sorted(_as_stored(end, image) for end in (value, value if limit is None else limit))
    return low, high


def _as_stored(number: int, image: Image) -> int:
    """A number as the stored value that its lowest BitsStored bits are: those of samples count no further either.

    Its sign is that of Pixel Representation, whichever of US and SS the writer took.
    """
    return ((number + image.offset) & ((1 << image.bits_stored) - 1)) - image.offset
