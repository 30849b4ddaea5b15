"""A PNG whose pixels were inflated by libdeflate, for libpng to finish.

Half of the time libpng takes for a film goes into zlib; libdeflate needs half of that half. So the compressed stream
is inflated here, and libpng is given the same file with the same bytes in stored blocks (RFC 1951, section 3.2.4),
from which it undoes the row filters and expands small depths as ever. Both checksums of the original are verified on
the way: each chunk's CRC here, the stream's Adler-32 by libdeflate. The pixels are the same by the standard.

Whatever is unusual (damaged, more or less data than the header says) is left to libpng as it stands, so that what is
refused, and with which words, does not depend on this detour.
"""

import struct

from resload.decode.codecs import adler32, crc32, run
from resload.errors import DecodeError

_BLOCK = 65_535
"""Bytes of a stored block: its length is a 16-bit number."""
_MOST_BYTES = 1 << 30
"""The new chunk's length must stay below 2**31; films are far below either."""
_STREAM_HEAD = b"\x78\x01"
"""A zlib stream with a window of 32 KB (RFC 1950)."""


def inflated(data: bytes, pixels_at: int, size: int) -> bytes | None:
    """The file with its pixels in stored blocks; None when it is to be decoded as it is.

    pixels_at: where the first IDAT chunk starts. size: bytes of the filtered rows (not for interlaced files).
    """
    if size > _MOST_BYTES:
        return None
    view = memoryview(data)
    stream, after = _stream(view, pixels_at)
    if stream is None:
        return None
    try:
        rows = memoryview(run("deflate", stream, out=size))
    except DecodeError:  # libpng will say what is wrong
        return None
    if len(rows) != size:
        return None
    parts: list[bytes | memoryview] = [b"IDAT", _STREAM_HEAD]
    for start in range(0, size, _BLOCK):
        length = min(_BLOCK, size - start)
        parts += [struct.pack("<BHH", start + length == size, length, length ^ 0xFFFF), rows[start : start + length]]
    parts.append(struct.pack(">I", adler32(rows)))  # not the stream's end: bytes may follow it
    total = 0
    for part in parts:
        total = crc32(part, total)
    length = sum(map(len, parts)) - 4
    return b"".join([view[:pixels_at], struct.pack(">I", length), *parts, struct.pack(">I", total), view[after:]])


def _stream(view: memoryview, at: int) -> tuple[bytes | None, int]:
    """The data of consecutive IDAT chunks from `at` on, and where they end; None when a chunk is damaged."""
    parts: list[memoryview] = []
    while bytes(view[at + 4 : at + 8]) == b"IDAT":
        (length,) = struct.unpack(">I", view[at : at + 4])
        end = at + 12 + length
        if end > len(view) or crc32(view[at + 4 : end - 4]) != int.from_bytes(view[end - 4 : end], "big"):
            return None, at
        parts.append(view[at + 8 : end - 4])
        at = end
    return b"".join(parts), at
