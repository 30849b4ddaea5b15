"""One frame of DICOM pixel data: its bytes, and the codec that its transfer syntax names (PS3.5 section 8, annex A).

Native frames lie back to back; compressed ones are in fragments (`fragments.py`).
"""

import struct
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

from resload.decode.codecs import run
from resload.decode.codestream import Codestream, check_tiles, ended, parse_jpeg, parse_jpeg2000
from resload.decode.dictionary import COLUMNS, PIXEL_DATA, ROWS, SAMPLES, TRANSFER_SYNTAX, named, within
from resload.decode.elements import BIG_ENDIAN, DEFLATED, EXPLICIT, IMPLICIT, UNDEFINED, DataSet
from resload.decode.fragments import TRUNCATED, frame_bytes
from resload.decode.image import Image
from resload.decode.others import Other, decoded
from resload.decode.structure import check_pieces, check_scans
from resload.errors import DecodeError, NotARadiographError, TruncatedFileError, UnknownFormatError

_PREFIX = "1.2.840.10008.1.2"
CODECS: dict[str, str] = {
    IMPLICIT: "native",
    EXPLICIT: "native",
    DEFLATED: "native",
    BIG_ENDIAN: "native",
    f"{_PREFIX}.5": "dicomrle",
    f"{_PREFIX}.4.50": "jpeg",  # baseline
    f"{_PREFIX}.4.51": "jpeg",  # extended, 12 bits
    f"{_PREFIX}.4.57": "jpeg",  # lossless, any predictor
    f"{_PREFIX}.4.70": "jpeg",  # lossless, first-order
    f"{_PREFIX}.4.80": "jpegls",
    f"{_PREFIX}.4.81": "jpegls",  # near-lossless
    f"{_PREFIX}.4.90": "jpeg2k",  # lossless
    f"{_PREFIX}.4.91": "jpeg2k",
    f"{_PREFIX}.4.201": "jpeg2k",  # lossless
    f"{_PREFIX}.4.202": "jpeg2k",  # lossless, by resolution
    f"{_PREFIX}.4.203": "jpeg2k",
}
"""Transfer Syntax UID -> codec: the only thing that chooses one. libjpeg-turbo's `jpeg` reads lossless JPEG
of 2 to 16 bits too, and is the fastest and most tested reader of it in imagecodecs. HTJ2K goes to OpenJPEG,
not to OpenJPH, although that is three times as fast: see `codecs.py`."""

_LOSSY = frozenset(f"{_PREFIX}.4.{number}" for number in (50, 51, 81, 91, 203))
"""Syntaxes whose samples may differ from those that were compressed."""
_LABELS = {"jpeg": "JPEG", "jpegls": "JPEG-LS", "jpeg2k": "JPEG 2000"}


@dataclass(frozen=True, slots=True)
class Stored:
    """Decoded samples and what the stream said about them."""

    samples: NDArray[Any]
    """(rows, columns) or (rows, columns, samples), whole numbers."""
    precision: int
    """Bits of a sample that count, from the lowest on."""
    rgb: bool
    """Three samples are red, green, blue (the codec undid any other colour space)."""
    lossy: bool = False
    """Samples may lie outside the range of those that were compressed."""
    signed: bool = False
    """The stream says that they are, whatever the header says (JPEG 2000 only)."""
    decoder: str = ""
    """Who decoded a compressed stream."""
    held: Any = None
    """As in `others.Samples`."""


def codec_of(dataset: DataSet) -> str:
    """The codec for the data set's transfer syntax. Raises UnknownFormatError for syntaxes not read."""
    codec = CODECS.get(dataset.syntax)
    if codec is None:
        raise UnknownFormatError(f"{named(TRANSFER_SYNTAX)} is one that is not read", detail=dataset.syntax[:64])
    return codec


def stored(dataset: DataSet, image: Image, frame: int, other: Other | None = None) -> Stored:
    """The samples of one frame, as stored: no unused bits removed, no sign, no lookup table."""
    codec = codec_of(dataset)
    encapsulated = dataset.elements[PIXEL_DATA].length == UNDEFINED
    if encapsulated == (codec == "native"):
        raise DecodeError(
            f"{named(PIXEL_DATA)} and {named(TRANSFER_SYNTAX)} contradict each other",
            detail=f"{'encapsulated' if encapsulated else 'not encapsulated'}, {dataset.syntax}",
        )
    if codec == "native":
        return _native(dataset, image, frame)
    data = frame_bytes(dataset, frame, image.frames)
    with within(PIXEL_DATA):
        if codec == "dicomrle":
            return _rle(data, image)
        return _compressed(codec, data, image, dataset.syntax in _LOSSY, other)


def _native(dataset: DataSet, image: Image, frame: int) -> Stored:
    element = dataset.elements[PIXEL_DATA]
    start = element.start + frame * image.frame_bytes
    stop = start + image.frame_bytes
    if stop > element.start + element.length or stop > len(dataset.data):
        raise TruncatedFileError(TRUNCATED)
    dtype = np.dtype(f"{'<' if dataset.little else '>'}u{image.bits_allocated // 8}")
    if dtype.itemsize == 1 and not dataset.little and element.vr == "OW":
        samples = _swapped_bytes(dataset, start, stop)  # two samples to a big-endian word (PS3.5 annex D)
    else:
        assert isinstance(dataset.data, bytes)
        samples = np.frombuffer(dataset.data, dtype, image.frame_bytes // dtype.itemsize, start)
    if image.halved:
        luma = samples.reshape(image.rows, image.columns // 2, 4)[..., :2]
        return Stored(luma.reshape(image.rows, image.columns, 1), image.bits_stored, False)
    return _at_the_bottom(_shaped(samples, image, image.planar), image)


def _at_the_bottom(samples: NDArray[Any], image: Image) -> Stored:
    """Samples of which only BitsStored bits up to HighBit count, moved to the lowest bits."""
    shift = image.high_bit + 1 - image.bits_stored
    return Stored(samples >> shift if shift else samples, image.bits_stored, image.photometric == "RGB")


def _swapped_bytes(dataset: DataSet, start: int, stop: int) -> NDArray[Any]:
    first = dataset.elements[PIXEL_DATA].start
    even = start - (start - first) % 2
    words = dataset.data[even : stop + (stop - even) % 2]
    if len(words) % 2:
        raise TruncatedFileError(TRUNCATED)
    return np.frombuffer(words, ">u2").astype("<u2").view(np.uint8)[start - even : stop - even]


def _shaped(samples: NDArray[Any], image: Image, planar: bool) -> NDArray[Any]:
    if image.samples == 1:
        return samples.reshape(image.rows, image.columns)
    if planar:
        return np.moveaxis(samples.reshape(image.samples, image.rows, image.columns), 0, -1)
    return samples.reshape(image.rows, image.columns, image.samples)


def _rle(data: bytes, image: Image) -> Stored:
    """RLE Lossless (PS3.5 annex G): byte planes; colour comes one plane after another."""
    _check_segments(data, image.samples * image.bits_allocated // 8)
    decoded = run("dicomrle", data, f"<u{image.bits_allocated // 8}")
    if len(decoded) < image.frame_bytes:
        raise TruncatedFileError("the RLE data ends early")
    samples = np.frombuffer(decoded, f"<u{image.bits_allocated // 8}", image.rows * image.columns * image.samples)
    return _at_the_bottom(_shaped(samples, image, True), image)


def _check_segments(data: bytes, planes: int) -> None:
    """Refuse an RLE header whose segments are not one per byte plane, in order and inside the data."""
    if len(data) < 64:
        raise TruncatedFileError("the RLE data ends early")
    number, *starts = struct.unpack("<16I", data[:64])
    used = starts[:planes]
    if number != planes or used[0] != 64 or any(b <= a for a, b in pairwise(used)):
        raise DecodeError("the RLE data is damaged", detail=f"{number} segments at {used}, {planes} byte planes")
    if used[-1] >= len(data):
        raise TruncatedFileError("the RLE data ends early")


def _compressed(codec: str, data: bytes, image: Image, lossy: bool, other: Other | None) -> Stored:
    label = _LABELS[codec]
    parse = parse_jpeg if codec != "jpeg2k" else parse_jpeg2000
    stream = parse(data, label)
    _agree(stream, image, label)
    options: dict[str, Any] = {}
    if codec == "jpeg2k":
        options["numthreads"] = 1  # films are decoded side by side already
    elif codec == "jpeg" and stream.components == 3:
        options = _jpeg_colours(stream, image)
    data = ended(data, stream, label)
    if codec == "jpeg":
        check_scans(data, stream)
    elif codec == "jpeg2k":
        check_pieces(data, stream, label)
        check_tiles(data, stream, label)
    found = decoded(codec, data, stream, other, **options)
    if len(found.shape) == 3 and found.shape[2] == 1:
        found = found._replace(values=found.values[..., 0])
    expected = (image.rows, image.columns) if image.samples == 1 else (image.rows, image.columns, image.samples)
    if found.shape != expected or found.values.dtype.itemsize > 2:
        raise DecodeError(f"the {label} data is damaged", detail=f"decoded to {found.shape} {found.values.dtype}")
    # The colour transforms of JPEG and JPEG 2000 are part of the stream and undone by its codec.
    rgb = codec == "jpeg" or image.photometric in ("RGB", "YBR_RCT", "YBR_ICT")
    return Stored(found.values, stream.precision, rgb, lossy, stream.signed, found.decoder, found.held)


def _jpeg_colours(stream: Codestream, image: Image) -> dict[str, str]:
    """RGB out; a stream that does not say what it holds is what Photometric Interpretation says."""
    if stream.tagged:
        return {"outcolorspace": "RGB"}
    return {"colorspace": "RGB" if image.photometric == "RGB" else "YCBCR", "outcolorspace": "RGB"}


def _agree(stream: Codestream, image: Image, label: str) -> None:
    """Refuse a stream whose claim is not the data set's: it would be decoded before anyone noticed."""
    if (stream.height, stream.width) == (image.rows, image.columns) and stream.components == image.samples:
        if 1 <= stream.precision <= 16:
            return
        raise NotARadiographError(f"the {label} data does not have 1 to 16 bits", detail=f"{stream.precision}")
    raise DecodeError(
        f"the {label} data disagrees with {named(ROWS)}, {named(COLUMNS)} or {named(SAMPLES)}",
        detail=f"{stream.height} x {stream.width} x {stream.components} in one, "
        f"{image.rows} x {image.columns} x {image.samples} in the other",
    )
