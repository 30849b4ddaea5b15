"""DICOM: a data set to one radiograph, its codes and what they mean.

    elements.py   which elements there are      fragments.py  which of them make up a frame
    image.py      what the header says          frames.py     one frame's samples, by transfer syntax
    here          samples -> codes (unused bits off, sign made an offset, colour to luma)
    meaning.py    lookup tables (luts.py), windows, polarity and padding as `Values`
    spacing.py    millimetres                   groups.py     what multi-frame images say of single frames

Every refusal names the element it is about (`dictionary.py`).
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from resload.decode import dictionary
from resload.decode.codecs import decoder_name
from resload.decode.dictionary import named, within
from resload.decode.elements import DataSet, read
from resload.decode.frames import Stored, codec_of, stored
from resload.decode.gray import to_gray
from resload.decode.groups import of_frame
from resload.decode.image import Image, image_of
from resload.decode.luts import palette, palette_bits
from resload.decode.meaning import values_of, voi_kinds
from resload.decode.others import Other
from resload.decode.radiograph import Header, Pixels, Radiograph, check_frame, contiguous
from resload.decode.spacing import aspect_of, spacing_of
from resload.decode.window import Bytes
from resload.errors import NotARadiographError
from resload.limits import limits

_SMALLEST_LIMIT = 1 << 26
"""Bytes that a deflated data set may have, whatever `max_pixels` is."""
_NO_LIMIT = 1 << 32
"""More pixels than Rows and Columns can claim: `read_header` tells what a file says, and allocates nothing for it."""


def header(data: Bytes, max_pixels: int) -> Header:
    """The header of a DICOM file; reads element headers up to Pixel Data, and the values it needs."""
    return header_of(data_set(data, max_pixels))


def data_set(data: Bytes, max_pixels: int) -> DataSet:
    """The elements of a DICOM file, up to and with Pixel Data."""
    return read(data, _inflated_limit(max_pixels))


def header_of(dataset: DataSet) -> Header:
    """The header that a data set tells, of its first frame where frames differ.

    Raises as `resload.decode.read_header` does.
    """
    image = image_of(dataset, _NO_LIMIT)
    dataset = of_frame(dataset, 0)
    spacing = spacing_of(dataset)
    return Header(
        format="dicom",
        height=image.rows,
        width=image.columns,
        bits=palette_bits(dataset) if image.palette else image.bits_stored,
        photometric=image.photometric,
        spacing=spacing,
        frames=image.frames,
        voi=voi_kinds(dataset),
        intent=dataset.text(dictionary.INTENT).upper(),
        aspect=aspect_of(dataset, spacing),
    )


def decode(data: bytes, frame: int, max_pixels: int, other: Other | None = None) -> Radiograph:
    """One frame of a DICOM file."""
    dataset = data_set(data, max_pixels)
    image = image_of(dataset, max_pixels)
    with within(dictionary.FRAMES):
        check_frame(frame, image.frames)
    samples = stored(dataset, image, frame, other)
    dataset = of_frame(dataset, frame)
    spacing, decoder = spacing_of(dataset), samples.decoder or _decoder(dataset)
    if image.samples > 1:
        return Radiograph(_luma(samples, image), image.bits_stored, spacing, decoder)
    codes = _codes(samples, image)
    if image.palette:
        return Radiograph(*_painted(codes, dataset, image), spacing, decoder, held=samples.held)
    return Radiograph(codes, image.bits_stored, spacing, decoder, values_of(dataset, image), samples.held)


def _inflated_limit(max_pixels: int) -> int:
    return min(limits().inflated_bytes, max(_SMALLEST_LIMIT, 8 * max_pixels))


def _decoder(dataset: DataSet) -> str:
    codec = codec_of(dataset)
    return f"numpy.frombuffer {np.__version__}" if codec == "native" else decoder_name(codec)


def _codes(found: Stored, image: Image) -> Pixels:
    """Samples -> codes: only the bits that count, then the sign made an offset.

    In a signed n-bit number, turning the sign bit round adds `2**(n-1)`: -2048 to 2047 become the codes
    0 to 4095 without widening them first. A stream of fewer bits than the header's is extended likewise, and one
    whose sign is not the header's holds the same bits: the header says how they are read.
    """
    if found.lossy and found.precision > image.bits_stored:
        return _clipped(found, image)
    bits, used = image.bits_stored, min(found.precision, image.bits_stored)
    samples = _masked(found.samples, used)
    dtype = np.uint8 if bits <= 8 else np.uint16
    codes: NDArray[Any] = samples.astype(dtype, copy=not samples.flags.writeable)  # never a view of the file's bytes
    if image.signed:
        np.bitwise_xor(codes, dtype(1 << (used - 1)), out=codes)
        np.add(codes, dtype((1 << (bits - 1)) - (1 << (used - 1))), out=codes)
    return contiguous(codes)


def _masked(samples: NDArray[Any], bits: int) -> NDArray[Any]:
    """The lowest `bits` bits as unsigned numbers in native byte order; in place where a codec made the array."""
    if samples.dtype.kind == "i":
        samples = samples.view(f"{samples.dtype.byteorder}u{samples.dtype.itemsize}")
    samples = samples.astype(samples.dtype.newbyteorder("="), copy=False)
    if bits == 8 * samples.dtype.itemsize:
        return samples
    mask = samples.dtype.type((1 << bits) - 1)
    return np.bitwise_and(samples, mask, out=samples if samples.flags.writeable else None)


def _clipped(found: Stored, image: Image) -> Pixels:
    """Codes from a lossy stream that has more bits than the header: what overshoots saturates.

    Masking would turn the brightest pixels black. Lossless streams are masked instead, as native ones are: there,
    bits above BitsStored are bits that do not count.
    """
    wide = _masked(found.samples, found.precision).astype(np.int32)
    if image.signed or found.signed:
        sign = 1 << (found.precision - 1)
        wide = (wide ^ sign) - sign
    wide += image.offset
    dtype = np.uint8 if image.bits_stored <= 8 else np.uint16
    return contiguous(np.clip(wide, 0, (1 << image.bits_stored) - 1).astype(dtype))


def _luma(found: Stored, image: Image) -> Pixels:
    """Colour samples -> luma. The Y of YBR_FULL is the luma already (PS3.3 C.7.6.3.1.2: BT.601, full range)."""
    samples = _masked(found.samples, image.bits_stored)
    samples = samples.astype(np.uint8 if image.bits_stored <= 8 else np.uint16, copy=False)
    if found.rgb:
        return to_gray(samples)
    if image.photometric in ("YBR_FULL", "YBR_FULL_422"):
        return contiguous(samples[..., 0])
    raise NotARadiographError(
        f"{named(dictionary.PHOTOMETRIC)} is a colour space that is not read", detail=image.photometric
    )


def _painted(indices: Pixels, dataset: DataSet, image: Image) -> tuple[Pixels, int]:
    """Indices of a palette -> luma, and its bits; indices outside take the first or last colour."""
    lut = palette(dataset, image.signed)
    every = np.arange(1 << image.bits_stored) - image.offset - lut.first_mapped
    entries = lut.entries[np.clip(every, 0, lut.entries.size - 1)]
    painted: NDArray[Any] = entries.astype(np.uint8 if lut.bits <= 8 else np.uint16)[indices]
    return painted, lut.bits
