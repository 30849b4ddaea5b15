"""Row filters undone by kornia-rs, where it is installed (`pip install 'resload[png]'`); else libpng undoes them.

Most of what libpng needs for a film goes into one filter, Paeth, which it undoes byte by byte. The PNG decoder of
kornia-rs (the Rust crate `png`) needs less than half the time. Row filters are defined by the standard to the bit (W3C
PNG, third edition, section 9), so the pixels are the same, and tests hold them to it.

It is handed only what is known to be sound: a file of `inflated.py`, all of whose checksums were verified, with no
chunks but those of which libpng refuses none. Alone it would be another decoder: it ignores the Adler-32 and rows too
many, and accepts what libpng does not. Whatever is unusual is left to libpng, which also says what is wrong.
"""

import struct
from typing import Any

from numpy.typing import NDArray

from resload.decode.codecs import crc32, row_filters

_MODES = {(): "mono", (3,): "rgb", (4,): "rgba"}
"""By the axes beyond height and width. Gray with alpha, and what a palette or tRNS makes, are left to libpng."""
_HARMLESS = frozenset({b"tIME", b"pHYs", b"gAMA", b"sRGB", b"cHRM", b"sBIT", b"tEXt"})
"""Chunks that real films carry and for which libpng refuses no file, whatever they hold. Of the third edition's
section 11; palettes, transparency, profiles and unknown chunks are not among them."""
_MOST_CHUNKS = 64
_LONGEST_SIDE = 1_000_000
"""libpng's own limit for width and height (PNG_USER_WIDTH_MAX); longer ones are its to refuse."""
_HEAD = 33
"""The signature and the IHDR chunk."""
_END = b"\x00\x00\x00\x00IEND\xaeB`\x82"


def unfiltered(data: bytes, pixels_at: int, shape: tuple[int, ...], depth: int) -> NDArray[Any] | None:
    """The pixels of a file that `inflated` made; None when libpng is to decode it. Thread-safe; releases the GIL.

    Args:
        data: the file, not interlaced, its IDAT chunk known to be sound.
        pixels_at: where the IDAT chunk starts.
        shape: (height, width) or (height, width, channels), as libpng decodes it.
        depth: bits of a sample.

    Returns:
        new memory of `shape`, uint8 or uint16.
    """
    undo, mode = row_filters().get(depth), _MODES.get(shape[2:])
    if undo is None or mode is None or not _is_plain(data, pixels_at, shape):
        return None
    try:
        return undo(data, (shape[0], shape[1]), mode).reshape(shape)
    except Exception:  # a filter that is none, or too large for it: libpng will say what is wrong, if anything is
        return None


def _is_plain(data: bytes, pixels_at: int, shape: tuple[int, ...]) -> bool:
    """Whether the file is, beside its pixels, sound and of harmless chunks only."""
    (length,) = struct.unpack_from(">I", data, pixels_at)
    return (
        max(shape[:2]) <= _LONGEST_SIDE
        and data[26:29] == b"\0\0\0"  # compression, filter and interlace method
        and _is_sound(data, 8, _HEAD - 8)
        and _walk(data, _HEAD) == pixels_at
        and data.startswith(_END, _walk(data, pixels_at + 12 + length))
    )


def _walk(data: bytes, at: int) -> int:
    """Where the harmless chunks end that begin here."""
    for _ in range(_MOST_CHUNKS):
        if data[at + 4 : at + 8] not in _HARMLESS:
            break
        length = 12 + int.from_bytes(data[at : at + 4], "big")
        if not _is_sound(data, at, length):
            break
        at += length
    return at


def _is_sound(data: bytes, at: int, length: int) -> bool:
    """Whether a chunk is whole, and its CRC right."""
    end = at + length
    return end <= len(data) and crc32(data[at + 4 : end - 4]) == int.from_bytes(data[end - 4 : end], "big")
