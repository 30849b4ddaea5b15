"""TIFF: its directories (TIFF 6.0, and BigTIFF), and the pixels through libtiff.

Read: gray of 8 or 16 bits (either polarity), RGB, alpha ignored, strips or tiles, any compression that
imagecodecs' libtiff has; several pages by `frame`. Everything else (bilevel, palette, CMYK, floats, signed)
is refused by name.
"""

import struct
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from resload.decode.codecs import decoder_name, run
from resload.decode.gray import to_gray
from resload.decode.radiograph import Header, Radiograph, check_claim, check_frame
from resload.decode.window import Bytes
from resload.errors import DecodeError, NotARadiographError, TooLargeError, TruncatedFileError
from resload.limits import limits, raised_by

SIGNATURES = (b"II*\x00", b"MM\x00*", b"II+\x00", b"MM\x00+")
_TRUNCATED = "the TIFF data ends early"
_DAMAGED = "the TIFF directory is damaged"
_TOO_MANY_PAGES = f"the TIFF has more pages than the limit ({raised_by('frames')})"
_TOO_MANY_PARTS = f"the TIFF has more strips or tiles than the limit ({raised_by('fragments')})"
_KINDS = {1: "B", 3: "H", 4: "I", 16: "Q"}
"""BYTE, SHORT, LONG, LONG8: the whole-number types."""
_WIDTH, _HEIGHT, _BITS, _COMPRESSION, _PHOTOMETRIC, _OFFSETS, _SAMPLES = 256, 257, 258, 259, 262, 273, 277
_ROWS, _SIZES, _PLANAR, _TILE_WIDTH, _TILE_HEIGHT = 278, 279, 284, 322, 323
_TILE_OFFSETS, _TILE_SIZES, _SAMPLE_FORMAT = 324, 325, 339
_DEPTHS = (32997, 32998)
"""ImageDepth and TileDepth, of volumes (libtiff's tiff.h): libtiff multiplies by them whatever else is said."""
_WANTED = frozenset(
    {_WIDTH, _HEIGHT, _BITS, _COMPRESSION, _PHOTOMETRIC, _OFFSETS, _SAMPLES, _ROWS, _SIZES, _PLANAR}
    | {_TILE_WIDTH, _TILE_HEIGHT, _TILE_OFFSETS, _TILE_SIZES, _SAMPLE_FORMAT}
)
_NAMES = {0: "MONOCHROME1", 1: "MONOCHROME2", 2: "RGB", 6: "YBR_FULL_422"}
_JPEG = 7


@dataclass(frozen=True, slots=True)
class Page:
    """One directory: its whole-number tags."""

    tags: dict[int, tuple[int, ...]]

    def one(self, tag: int, default: int = 0) -> int:
        """The tag's first value."""
        return self.tags.get(tag, (default,))[0]

    @property
    def size(self) -> tuple[int, int]:
        """(height, width)."""
        return self.one(_HEIGHT), self.one(_WIDTH)

    @property
    def bits(self) -> int:
        """Bits per sample."""
        return self.one(_BITS, 1)

    @property
    def photometric(self) -> str:
        """DICOM's word for TIFF's PhotometricInterpretation; MINISWHITE is MONOCHROME1."""
        return _NAMES.get(self.one(_PHOTOMETRIC, -1), "PALETTE COLOR")

    @property
    def parts(self) -> int:
        """How many strips or tiles a whole page needs."""
        height, width = self.size
        planes = self.one(_SAMPLES, 1) if self.one(_PLANAR, 1) == 2 else 1
        if _TILE_OFFSETS in self.tags:
            tall, wide = max(1, self.one(_TILE_HEIGHT, 1)), max(1, self.one(_TILE_WIDTH, 1))
            return planes * -(-height // tall) * -(-width // wide)
        return planes * -(-height // max(1, self.one(_ROWS, height)))


class _Layout:
    """Byte order and word sizes: classic TIFF counts in 32 bits, BigTIFF in 64."""

    def __init__(self, data: Bytes) -> None:
        self.data = data
        self.order = "<" if data[0:2] == b"II" else ">"
        self.big = 43 in data[2:4]
        self.word = "Q" if self.big else "I"
        self.word_bytes = 8 if self.big else 4

    def read(self, kind: str, at: int, count: int = 1) -> tuple[int, ...]:
        form = f"{self.order}{count}{kind}"
        piece = self.data[at : at + struct.calcsize(form)]
        if len(piece) < struct.calcsize(form):
            raise TruncatedFileError(_TRUNCATED)
        return struct.unpack(form, piece)

    def first(self) -> int:
        return self.read(self.word, 8 if self.big else 4)[0]

    def entries(self, at: int) -> tuple[int, int]:
        """How many entries the directory at `at` has, and where they start."""
        kind, width = ("Q", 8) if self.big else ("H", 2)
        return self.read(kind, at)[0], at + width

    @property
    def entry_bytes(self) -> int:
        return 20 if self.big else 12


def _directories(layout: _Layout) -> list[int]:
    """Where each page's directory is."""
    found: list[int] = []
    seen: set[int] = set()
    at, most = layout.first(), limits().frames
    while at:
        if at in seen:
            raise DecodeError(_DAMAGED, detail="its pages form a loop")
        if len(found) >= most:
            raise TooLargeError(_TOO_MANY_PAGES, detail=f"{most}")
        seen.add(at)
        found.append(at)
        count, start = layout.entries(at)
        (at,) = layout.read(layout.word, start + count * layout.entry_bytes)
    if not found:
        raise NotARadiographError("the TIFF holds no image")
    return found


def _page(layout: _Layout, at: int) -> Page:
    count, start = layout.entries(at)
    tags: dict[int, tuple[int, ...]] = {}
    seen: set[int] = set()
    for entry in range(start, start + count * layout.entry_bytes, layout.entry_bytes):
        tag, kind = layout.read("H", entry, 2)
        (number,) = layout.read(layout.word, entry + 4)
        if tag in seen or tag in _DEPTHS:  # of two, libtiff takes the first, and others the last
            raise DecodeError(_DAMAGED, detail=f"tag {tag} twice, or of a volume")
        seen |= {tag} & _WANTED
        if tag in _WANTED and kind in _KINDS:
            if number > limits().fragments:
                raise TooLargeError(_TOO_MANY_PARTS, detail=f"tag {tag} has {number} values")
            place = entry + 4 + layout.word_bytes
            if number * struct.calcsize(_KINDS[kind]) > layout.word_bytes:
                (place,) = layout.read(layout.word, place)
            values = layout.read(_KINDS[kind], place, number)
            if values:
                tags[tag] = values
    return Page(tags)


def _refuse(page: Page) -> None:
    """Raise for every kind of TIFF that is not read."""
    samples, bits = page.one(_SAMPLES, 1), set(page.tags.get(_BITS, (1,)))
    kind = page.one(_PHOTOMETRIC, -1)
    if kind not in _NAMES or (kind == 6 and page.one(_COMPRESSION, 1) != _JPEG):
        raise NotARadiographError(
            "the TIFF is neither gray nor RGB: convert it first", detail=f"PhotometricInterpretation {kind}"
        )
    if len(bits) != 1 or not bits <= {8, 16}:
        raise NotARadiographError(
            "the TIFF's samples are not of 8 or 16 bits: convert it first", detail=f"BitsPerSample {sorted(bits)}"
        )
    if set(page.tags.get(_SAMPLE_FORMAT, (1,))) != {1}:
        raise NotARadiographError("the TIFF's samples are not unsigned whole numbers: convert it first")
    if not (1 <= samples <= 2 if kind < 2 else 3 <= samples <= 4):
        raise NotARadiographError("the TIFF has more channels than its kind of picture", detail=f"{samples}")


def _complete(page: Page, size_bytes: int) -> None:
    """Refuse a page whose strips or tiles are fewer than it needs, or lie beyond the end of the file."""
    tiled = _TILE_OFFSETS in page.tags
    starts = page.tags.get(_TILE_OFFSETS if tiled else _OFFSETS, ())
    counts = page.tags.get(_TILE_SIZES if tiled else _SIZES, ())
    if len(starts) < page.parts or len(counts) < page.parts:
        raise DecodeError(_DAMAGED, detail=f"{len(starts)} strips or tiles, {page.parts} needed")
    if any(start + count > size_bytes for start, count in zip(starts, counts, strict=False)):
        raise TruncatedFileError(_TRUNCATED)


def header(data: Bytes) -> Header:
    """The header of a TIFF's first page; reads its directories."""
    layout = _Layout(data)
    places = _directories(layout)
    page = _page(layout, places[0])
    _refuse(page)
    return Header("tiff", *page.size, page.bits, page.photometric, None, len(places))


def decode(data: bytes, frame: int, max_pixels: int) -> Radiograph:
    """One page. MINISWHITE is turned round, so that codes grow with brightness; orientation is not applied."""
    layout = _Layout(data)
    places = _directories(layout)
    check_frame(frame, len(places))
    page = _page(layout, places[frame])
    check_claim(*page.size, max_pixels)
    _refuse(page)
    _complete(page, len(data))
    pixels = to_gray(_channels_last(page, run("tiff", data, frame)))
    if page.photometric == "MONOCHROME1":
        pixels = np.invert(pixels)  # all bits of the dtype are used, so this is full scale minus value
    return Radiograph(pixels, page.bits, None, decoder_name("tiff"))


def _channels_last(page: Page, pixels: NDArray[Any]) -> NDArray[Any]:
    height, width = page.size
    if pixels.ndim == 3 and page.one(_PLANAR, 1) == 2:
        pixels = np.moveaxis(pixels, 0, -1)
    if pixels.shape[:2] != (height, width) or pixels.dtype.kind != "u" or pixels.dtype.itemsize * 8 != page.bits:
        raise DecodeError("the TIFF data is damaged", detail=f"decoded to {pixels.shape} {pixels.dtype}")
    return pixels
