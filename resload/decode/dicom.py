"""DICOM: a data set to one radiograph, its codes and what they mean.

    elements.py   which elements there are      fragments.py  which of them make up a frame
    frames.py     one frame's samples, by transfer syntax
    here          samples -> codes (unused bits off, sign made an offset, colour to luma), the lookup tables
                  and windows as `Values`, and the spacing; `resload.intensity` applies them

Everything steps 4 to 6 of the display pipeline (PS3.4 N.2) need is in `Values`; overlays and pixel padding
would join there.
"""

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from resload.decode.codecs import decoder_name
from resload.decode.elements import DataSet, read
from resload.decode.frames import Image, Stored, check_image, codec_of, stored
from resload.decode.gray import to_gray
from resload.decode.radiograph import (
    Header,
    Lut,
    Pixels,
    Radiograph,
    Spacing,
    Values,
    check_claim,
    check_frame,
    contiguous,
)
from resload.decode.window import Bytes
from resload.errors import DecodeError, NotARadiographError

_ROWS, _COLUMNS, _SAMPLES, _PHOTOMETRIC = 0x00280010, 0x00280011, 0x00280002, 0x00280004
_ALLOCATED, _STORED, _HIGH_BIT, _SIGNED = 0x00280100, 0x00280101, 0x00280102, 0x00280103
_PLANAR, _FRAMES = 0x00280006, 0x00280008
_PIXEL_SPACING, _IMAGER_SPACING, _SCANNED_SPACING = 0x00280030, 0x00181164, 0x00182010
_MAGNIFICATION = 0x00181114
_INTENT = 0x00080068
_INTERCEPT, _SLOPE, _MODALITY_LUT = 0x00281052, 0x00281053, 0x00283000
_CENTER, _WIDTH, _FUNCTION, _VOI_LUT = 0x00281050, 0x00281051, 0x00281056, 0x00283010
_DESCRIPTOR, _LUT_DATA = 0x00283002, 0x00283006

_SMALLEST_LIMIT = 1 << 26
"""Bytes that a deflated data set may always have, whatever `max_pixels` is."""


def header(data: Bytes, max_pixels: int) -> Header:
    """The header of a DICOM file; reads element headers up to Pixel Data, and the values it needs."""
    return header_of(data_set(data, max_pixels))


def data_set(data: Bytes, max_pixels: int) -> DataSet:
    """The elements of a DICOM file, up to and with Pixel Data."""
    return read(data, _inflated_limit(max_pixels))


def header_of(dataset: DataSet) -> Header:
    """The header that a data set tells. Raises as `resload.decode.read_header` does."""
    image = _image(dataset)
    check_image(image)
    bits = 8 if image.samples > 1 else image.bits_stored
    return Header(
        format="dicom",
        height=image.rows,
        width=image.columns,
        bits=bits,
        photometric=image.photometric,
        spacing=spacing_of(dataset),
        frames=image.frames,
        voi=_voi_kinds(dataset),
        intent=dataset.text(_INTENT).upper(),
    )


def decode(data: bytes, frame: int, max_pixels: int) -> Radiograph:
    """One frame of a DICOM file."""
    dataset = data_set(data, max_pixels)
    image = _image(dataset)
    check_claim(image.rows, image.columns, max_pixels)
    check_image(image)
    check_frame(frame, image.frames)
    samples = stored(dataset, image, frame)
    spacing, decoder = spacing_of(dataset), _decoder(dataset)
    if image.samples > 1:
        return Radiograph(_luma(samples, image), image.bits_stored, spacing, decoder)
    return Radiograph(_codes(samples, image), image.bits_stored, spacing, decoder, _values(dataset, image))


def _inflated_limit(max_pixels: int) -> int:
    return max(_SMALLEST_LIMIT, 8 * max_pixels)


def _decoder(dataset: DataSet) -> str:
    codec = codec_of(dataset)
    return f"numpy.frombuffer {np.__version__}" if codec == "native" else decoder_name(codec)


def _image(dataset: DataSet) -> Image:
    rows, columns = dataset.short(_ROWS, 0), dataset.short(_COLUMNS, 0)
    if not rows or not columns:
        raise NotARadiographError("the DICOM file holds no image (no Rows and Columns)")
    allocated = dataset.short(_ALLOCATED, 16)
    bits = dataset.short(_STORED, allocated)
    samples = dataset.short(_SAMPLES, 1)
    return Image(
        rows=rows,
        columns=columns,
        samples=samples,
        photometric=dataset.text(_PHOTOMETRIC).upper() or ("MONOCHROME2" if samples == 1 else "RGB"),
        bits_allocated=allocated,
        bits_stored=bits,
        high_bit=dataset.short(_HIGH_BIT, bits - 1),
        signed=dataset.short(_SIGNED, 0) == 1,
        planar=dataset.short(_PLANAR, 0) == 1,
        frames=int(next(iter(dataset.numbers(_FRAMES)), 1)),
    )


def _codes(found: Stored, image: Image) -> Pixels:
    """Samples -> codes: only the bits that count, then the sign made an offset.

    In a signed n-bit number, turning the sign bit round adds `2**(n-1)`: -2048 to 2047 become the codes
    0 to 4095 without widening them first. A stream of fewer bits than the header's is extended likewise.
    """
    bits, used = image.bits_stored, min(found.precision, image.bits_stored)
    samples = found.samples.view(f"{found.samples.dtype.byteorder}u{found.samples.dtype.itemsize}")
    samples = samples.astype(samples.dtype.newbyteorder("="), copy=False)
    if used < 8 * samples.dtype.itemsize:
        samples = samples & samples.dtype.type((1 << used) - 1)
    dtype = np.uint8 if bits <= 8 else np.uint16
    codes: NDArray[Any] = samples.astype(dtype, copy=not samples.flags.owndata)  # never a view of the file's bytes
    if image.signed:
        np.bitwise_xor(codes, dtype(1 << (used - 1)), out=codes)
        np.add(codes, dtype((1 << (bits - 1)) - (1 << (used - 1))), out=codes)
    return contiguous(codes)


def _luma(found: Stored, image: Image) -> Pixels:
    """Colour samples -> luma. The Y of YBR_FULL is the luma already (PS3.3 C.7.6.3.1.2: BT.601, full range)."""
    samples = found.samples.astype(np.uint8 if image.bits_stored <= 8 else np.uint16)
    if found.rgb:
        return to_gray(samples)
    if image.photometric in ("YBR_FULL", "YBR_FULL_422"):
        return contiguous(samples[..., 0])
    raise NotARadiographError("the DICOM image's colours are not supported", detail=image.photometric)


def _values(dataset: DataSet, image: Image) -> Values:
    """What the codes mean. A window that the standard forbids (PS3.3 C.11.2.1.2) counts as absent."""
    slope = next(iter(dataset.numbers(_SLOPE)), 1.0)
    center, width = dataset.numbers(_CENTER), dataset.numbers(_WIDTH)
    function = dataset.text(_FUNCTION).upper() or "LINEAR"
    if function not in ("LINEAR", "LINEAR_EXACT", "SIGMOID"):
        raise DecodeError("the DICOM VOI LUT Function is unknown", detail=function)
    narrowest = 1.0 if function == "LINEAR" else math.ulp(0.0)
    voi_lut = _lut(dataset, _VOI_LUT, image.signed)
    return Values(
        offset=1 << (image.bits_stored - 1) if image.signed else 0,
        slope=slope if slope else 1.0,  # 0 would make every film one gray; PS3.3 C.7.6.16.2.9 has no such use
        intercept=next(iter(dataset.numbers(_INTERCEPT)), 0.0),
        modality_lut=_lut(dataset, _MODALITY_LUT, image.signed),
        voi_luts=() if voi_lut is None else (voi_lut,),
        windows=tuple(one for one in zip(center, width, strict=False) if one[1] >= narrowest),
        window_function=function,
        invert=image.photometric == "MONOCHROME1",
    )


def _voi_kinds(dataset: DataSet) -> str:
    """Which VOI transformations there are, without reading them: `Header.voi`."""
    lut = dataset.first_item(_VOI_LUT) is not None
    window = bool(dataset.numbers(_CENTER) and dataset.numbers(_WIDTH))
    return "+".join([*["lut"] * lut, *["window"] * window]) or "none"


def _lut(dataset: DataSet, tag: int, signed: bool) -> Lut | None:
    """The first item of a LUT sequence (PS3.3 C.11.1.1): 0 entries means 65,536; data of 8 or 16 bits."""
    item = dataset.first_item(tag)
    if item is None:
        return None
    descriptor, raw = item.shorts(_DESCRIPTOR), item.raw(_LUT_DATA)
    if len(descriptor) != 3 or not 1 <= descriptor[2] <= 16:
        raise DecodeError("a DICOM lookup table is damaged", detail=f"descriptor {descriptor}")
    number, first, bits = descriptor[0] or 1 << 16, descriptor[1], descriptor[2]
    if len(raw) >= 2 * number:
        entries = np.frombuffer(raw, "<u2" if item.little else ">u2", number).astype(np.uint16)
    elif len(raw) >= number and bits <= 8:
        entries = np.frombuffer(raw, np.uint8, number).astype(np.uint16)
    else:
        raise DecodeError("a DICOM lookup table is damaged", detail=f"{len(raw)} bytes for {number} entries")
    negative = first > 0x7FFF and (signed or item.elements[_DESCRIPTOR].vr == "SS")
    return Lut(first - (1 << 16) if negative else first, np.minimum(entries, (1 << bits) - 1), bits)


def spacing_of(dataset: DataSet) -> Spacing | None:
    """(y, x) millimetres per pixel, or None.

    PixelSpacing (calibrated, in the patient), else ImagerPixelSpacing (at the detector) divided by
    EstimatedRadiographicMagnificationFactor where there is one, else NominalScannedPixelSpacing
    (PS3.3 C.8.11.3, 10.7.1.3, C.8.13.2). Values that are no positive number count as absent.
    """
    for tag in (_PIXEL_SPACING, _IMAGER_SPACING, _SCANNED_SPACING):
        found = dataset.numbers(tag)
        if len(found) == 2 and all(number > 0 for number in found):
            factor = _magnification(dataset) if tag == _IMAGER_SPACING else 1.0
            return found[0] / factor, found[1] / factor
    return None


def _magnification(dataset: DataSet) -> float:
    factor = next(iter(dataset.numbers(_MAGNIFICATION)), 1.0)
    return factor if factor > 0 else 1.0
