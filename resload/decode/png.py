"""PNG: the chunks before the pixels (W3C PNG, third edition), and the pixels through libpng."""

import struct
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from resload.decode.codecs import decoder_name, run
from resload.decode.gray import to_gray
from resload.decode.inflated import inflated
from resload.decode.radiograph import Header, Pixels, Radiograph, check_claim, check_frame
from resload.decode.window import Bytes
from resload.errors import DecodeError, TooLargeError, TruncatedFileError
from resload.limits import limits, raised_by

SIGNATURE = b"\x89PNG\r\n\x1a\n"
_END = b"\x00\x00\x00\x00IEND\xaeB`\x82"
_TRUNCATED = "the PNG data ends early"
_DAMAGED = "the PNG header is damaged"
_TOO_MANY_CHUNKS = f"the PNG has more chunks before its pixels than the limit ({raised_by('header_parts')})"

_CHANNELS = {0: 1, 2: 3, 3: 3, 4: 2, 6: 4}
_DEPTHS = {0: (1, 2, 4, 8, 16), 2: (8, 16), 3: (1, 2, 4, 8), 4: (8, 16), 6: (8, 16)}
_PHOTOMETRIC = {0: "MONOCHROME2", 2: "RGB", 3: "PALETTE COLOR", 4: "MONOCHROME2", 6: "RGB"}


@dataclass(frozen=True, slots=True)
class Png:
    """What the chunks before the first IDAT say."""

    height: int
    width: int
    depth: int
    colour: int
    interlaced: bool
    transparent: bool
    """A tRNS chunk: libpng then adds an alpha channel."""
    significant: int | None
    """The sBIT chunk's first number: how many bits of a sample count."""
    pixels_at: int
    """Where the first IDAT chunk starts."""

    @property
    def shape(self) -> tuple[int, ...]:
        """The shape libpng decodes to."""
        channels = _CHANNELS[self.colour] + (self.transparent and self.colour in (0, 2, 3))
        return (self.height, self.width) if channels == 1 else (self.height, self.width, channels)

    @property
    def filtered_bytes(self) -> int:
        """Of all rows as they are filtered and compressed, each behind its filter's byte (not when interlaced)."""
        samples = 1 if self.colour == 3 else _CHANNELS[self.colour]
        return self.height * (1 - (-self.width * samples * self.depth // 8))

    @property
    def bits(self) -> int:
        """Bits a code uses: 8, or 16, or for 16-bit gray what sBIT says."""
        if self.depth < 16:
            return 8
        if self.colour in (0, 4) and self.significant is not None and 1 <= self.significant <= 16:
            return self.significant
        return 16


def parse(data: Bytes) -> Png:
    """Walk the chunks up to the first IDAT. Raises TruncatedFileError or DecodeError."""
    fields = None
    transparent = False
    significant = None
    at = len(SIGNATURE)
    for _ in range(limits().header_parts):
        head = data[at : at + 8]
        if len(head) < 8:
            raise TruncatedFileError(_TRUNCATED)
        length, kind = struct.unpack(">I4s", head)
        if fields is None:
            fields = _image_header(kind, length, data[at + 8 : at + 21])
        elif kind == b"IDAT":
            return Png(*fields, transparent, significant, at)
        elif kind == b"IEND":
            raise DecodeError(_DAMAGED, detail="no IDAT chunk")
        elif kind == b"tRNS":
            transparent = True
        elif kind == b"sBIT":
            significant = next(iter(data[at + 8 : at + 9]), None)
        at += 12 + length
    raise TooLargeError(_TOO_MANY_CHUNKS)


def _image_header(kind: bytes, length: int, body: bytes) -> tuple[int, int, int, int, bool]:
    if kind != b"IHDR" or length != 13:
        raise DecodeError(_DAMAGED, detail="the first chunk is not IHDR")
    if len(body) < 13:
        raise TruncatedFileError(_TRUNCATED)
    width, height, depth, colour = struct.unpack(">IIBB", body[:10])
    if depth not in _DEPTHS.get(colour, ()):
        raise DecodeError(_DAMAGED, detail=f"bit depth {depth} with colour type {colour}")
    return height, width, depth, colour, body[12] != 0


def header(data: Bytes) -> Header:
    """The header of a PNG; reads up to the first IDAT chunk."""
    png = parse(data)
    return Header("png", png.height, png.width, png.bits, _PHOTOMETRIC[png.colour], None)


def decode(data: bytes, frame: int, max_pixels: int) -> Radiograph:
    """Gray of 1 to 16 bits (1, 2, 4 expanded to 8), gray with alpha, RGB, RGBA, palette; interlaced too.

    Checksums of the image data are verified by libpng and zlib; a file without its IEND is refused.
    """
    png = parse(data)
    check_claim(png.height, png.width, max_pixels)
    check_frame(frame, 1)
    if not data.endswith(_END) and data.rfind(_END, png.pixels_at) < 0:
        raise TruncatedFileError(_TRUNCATED)
    out: NDArray[Any] = np.empty(png.shape, np.uint8 if png.depth <= 8 else np.uint16)
    if not png.interlaced:
        data = inflated(data, png.pixels_at, png.filtered_bytes) or data
    pixels = to_gray(run("png", data, out=out))
    if png.depth == 16 and png.bits < 16:
        pixels = _unscaled(pixels, png.bits)
    return Radiograph(pixels, png.bits, None, decoder_name("png"))


def _unscaled(pixels: Pixels, bits: int) -> Pixels:
    """Samples of which sBIT says that only `bits` count, as 0 to `2**bits - 1`.

    The standard wants such samples scaled up to the full 16 bits (section 11.3.2.6); some writers store
    them as they are. Which of the two it is shows in whether any sample needs more than `bits`.
    """
    if int(pixels.max()) < 1 << bits:
        return pixels
    return np.right_shift(pixels, 16 - bits)
