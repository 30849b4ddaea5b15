"""What decoding answers with: a header, a radiograph, and how its codes turn into display values.

A *code* is what a pixel of `Radiograph.pixels` holds: an unsigned whole number that indexes the tables
of `resload.intensity`. For files other than DICOM a code is the display value itself, full scale
`2**bits - 1`. For DICOM it is the stored value plus an offset (0, or `2**(bits-1)` for signed data, so
that it is never negative), and `Values` says what it means.
"""

from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from resload.errors import NotARadiographError, TooLargeError
from resload.limits import raised_by

Pixels: TypeAlias = NDArray[np.uint8] | NDArray[np.uint16]
"""Codes of one image: (height, width), C-contiguous."""

Spacing: TypeAlias = tuple[float, float]
"""(y, x) in millimetres per pixel."""


@dataclass(frozen=True, slots=True)
class Header:
    """What a file says about itself before any pixel is decoded."""

    format: str
    """`png`, `jpeg`, `tiff` or `dicom`: by content, never by name."""
    height: int
    """Rows, as stored."""
    width: int
    """Columns, as stored."""
    bits: int
    """How many bits a code uses, 1 to 16; gray of 1, 2 or 4 bits counts as the 8 it is expanded to."""
    photometric: str
    """DICOM's word for it (PS3.3 C.7.6.3.1.2): `MONOCHROME1`, `MONOCHROME2`, `RGB`, `PALETTE COLOR`, ..."""
    spacing: Spacing | None
    """Millimetres per pixel where the file tells them, else None. Print densities of PNG, JPEG and TIFF
    (dots per inch) say nothing about the patient and are not used."""
    frames: int = 1
    """How many images the file holds."""
    voi: str = ""
    """DICOM: which VOI transformations there are, `lut`, `window`, `lut+window` or `none`; else empty."""
    intent: str = ""
    """DICOM's Presentation Intent Type (PS3.3 C.8.11.1.1.1), `FOR PRESENTATION` or `FOR PROCESSING`; else empty."""
    aspect: float | None = None
    """DICOM: height over width of a pixel where only Pixel Aspect Ratio tells it; None when pixels are square, when
    `spacing` tells it, or when nothing does."""


@dataclass(frozen=True, slots=True, eq=False)
class Lut:
    """A DICOM lookup table (PS3.3 C.11.1.1): inputs outside it take its first or last entry."""

    first_mapped: int
    """The input value of the first entry; may be negative."""
    entries: NDArray[np.uint16]
    """(n,) outputs, n from 1 to 65,536."""
    bits: int
    """Outputs nominally span 0 to `2**bits - 1`, whether or not they use all of it."""


@dataclass(frozen=True, slots=True, eq=False)
class Values:
    """What a DICOM code means: stored value -> modality value -> display value (PS3.3 C.11.1 and C.11.2)."""

    offset: int = 0
    """Stored value = code - offset."""
    slope: float = 1.0
    """Rescale Slope; applies when there is no `modality_lut`. May be negative."""
    intercept: float = 0.0
    """Rescale Intercept."""
    modality_lut: Lut | None = None
    """Modality LUT Sequence; takes the place of slope and intercept."""
    voi_luts: tuple[Lut, ...] = ()
    """VOI LUT Sequence, item by item; they go before the windows."""
    windows: tuple[tuple[float, float], ...] = ()
    """(center, width) of each window, in modality values."""
    window_function: str = "LINEAR"
    """`LINEAR`, `LINEAR_EXACT` or `SIGMOID` (VOI LUT Function), of all windows."""
    invert: bool = False
    """MONOCHROME1: the smallest display value is white. Undone once, after the VOI step."""
    presentation_inverse: bool | None = None
    """Presentation LUT Shape: True for INVERSE, False for IDENTITY, None where the file has none."""
    padding: tuple[int, int] | None = None
    """Smallest and largest stored value that is no image (Pixel Padding Value to Pixel Padding Range Limit, PS3.3
    C.7.5.1.1.2), both included."""


@dataclass(frozen=True, slots=True, eq=False)
class Radiograph:
    """One decoded image."""

    pixels: Pixels
    """(height, width) uint8 or uint16, C-contiguous: codes."""
    bits: int
    """Codes are 0 to `2**bits - 1`."""
    spacing: Spacing | None
    """(y, x) millimetres per pixel, or None."""
    decoder: str
    """Library, codec and version, for example `imagecodecs.png 2026.3.6`."""
    values: Values | None = None
    """What codes mean (DICOM); None: they are display values already, full scale `2**bits - 1`."""
    held: Any = None
    """Only where a decoder of `decode(other=)` left the image on another device: a tensor (height, width) there, uint8
    or uint16, of numbers 0 .. n - 1; `pixels` are then (1, n), the code of each."""

    @property
    def shape(self) -> tuple[int, int]:
        """Height and width of the image."""
        height, width = self.pixels.shape if self.held is None else self.held.shape
        return height, width

    @property
    def content(self) -> tuple[int, int, int, int]:
        """The box (y, x, height, width), in pixels, that holds the image: here, all of it."""
        return (0, 0, *self.shape)


_TOO_MANY = f"the header claims more pixels than the limit ({raised_by('pixels')})"


def check_claim(height: int, width: int, max_pixels: int) -> None:
    """Refuse a header's claim before anything is allocated for it.

    Raises NotARadiographError for an empty image and TooLargeError above `max_pixels`.
    """
    if height < 1 or width < 1:
        raise NotARadiographError("the image has no pixels", detail=f"{height} x {width}")
    if height * width > max_pixels:
        raise TooLargeError(
            _TOO_MANY,
            detail=f"{height} x {width}, limit {max_pixels}; raise max_pixels if this is right",
        )


def check_frame(frame: int, frames: int) -> None:
    """Refuse a frame that the file does not hold."""
    if not 0 <= frame < frames:
        raise NotARadiographError("the frame asked for is not in the file", detail=f"frame {frame}, it holds {frames}")


def contiguous(pixels: NDArray[Any]) -> Pixels:
    """The same pixels, C-contiguous (a copy only where they are not)."""
    return np.ascontiguousarray(pixels)
