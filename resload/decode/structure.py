"""What a compressed stream makes its codec do beyond its pixels: passes over them, and pieces to keep account of.

A progressive JPEG of a megabyte can hold a hundred thousand scans of ten bytes, each a pass over the whole image. A
JPEG 2000 stream of 144 bytes that cuts 4,096 x 4,096 pixels into precincts of 2 x 2 has OpenJPEG take 8 GB and 45 s
before it looks for the data. Neither is wrong by its standard, so both are counted here first.
"""

from collections.abc import Iterator

from resload.decode.codestream import Codestream
from resload.errors import TooLargeError, TruncatedFileError
from resload.limits import limits, raised_by

_SCAN = b"\xff\xda"
_PROGRESSIVE = frozenset((0xC2, 0xC6, 0xCA, 0xCE))
_STYLES = ((b"\xff\x52", 4, 9, 14), (b"\xff\x53", 5, 6, 11))
"""COD and COC (T.800 A.6.1 and A.6.2, of at most 256 components): where the style, the levels, the precincts stand."""
_OWN_PRECINCTS = 1
_MOST_LEVELS = 32
_SMALLEST_TILE_PART = 14


def check_scans(data: bytes, stream: Codestream) -> None:
    """Refuse a JPEG whose scans go over its pixels too often. Raises TooLargeError.

    Only progressive ones: of others, libjpeg reads a scan for each component and no more.
    """
    if stream.process not in _PROGRESSIVE:
        return
    scans, now = data.count(_SCAN, stream.data_at), limits()
    if (scans + 1) * stream.height * stream.width > now.passes * now.pixels:
        raise TooLargeError(
            f"the JPEG data goes over its pixels more often than the limit ({raised_by('passes')})",
            detail=f"{scans + 1} scans of {stream.height} x {stream.width}",
        )


def check_pieces(data: bytes, stream: Codestream, label: str) -> None:
    """Refuse a JPEG 2000 stream of more tiles or precincts than its bytes can hold. Raises TruncatedFileError.

    A tile has a tile-part of at least 14 bytes (T.800 A.4.2), a precinct a packet of at least one (B.9).
    """
    pieces = max((_precincts(stream, sizes) for sizes in _precinct_sizes(data, stream)), default=0)
    if stream.tiles * _SMALLEST_TILE_PART > len(data) or pieces > len(data):
        raise TruncatedFileError(
            f"the {label} data ends early",
            detail=f"{stream.tiles} tiles and {pieces} precincts in {len(data)} bytes",
        )


def _precinct_sizes(data: bytes, stream: Codestream) -> Iterator[bytes]:
    """The exponents of precincts, a byte for each resolution, wherever the stream may set them: in the main header or
    a tile's. What looks like such a segment within compressed data is taken for one, which is all but impossible.
    """
    for marker, style, levels_at, sizes_at in _STYLES:
        at = data.find(marker, stream.data_at)
        while at >= 0:
            head = data[at : at + sizes_at]
            if len(head) == sizes_at and head[style] & _OWN_PRECINCTS and head[levels_at] <= _MOST_LEVELS:
                count = head[levels_at] + 1
                if int.from_bytes(head[2:4], "big") == sizes_at - 2 + count:
                    yield data[at + sizes_at : at + sizes_at + count]
            at = data.find(marker, at + 2)


def _precincts(stream: Codestream, sizes: bytes) -> int:
    """How many precincts an image has at least, of these exponents: low half across, high half down (table A.21)."""
    total = 0
    for resolution, size in enumerate(sizes):
        reduced = len(sizes) - 1 - resolution
        across = -(-stream.width // (1 << reduced + (size & 15)))
        down = -(-stream.height // (1 << reduced + (size >> 4)))
        total += max(across, 1) * max(down, 1)
    return total * max(stream.components, 1)
