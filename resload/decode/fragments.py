"""Which fragments of encapsulated DICOM pixel data make up a frame (PS3.5 annex A.4).

    item: basic offset table, may be empty | item: fragment | item: fragment | ... | sequence delimiter

Told by the extended offset table, else the basic one, else one fragment a frame, else by the end-of-image
marker that closes the last fragment of each frame.
"""

import struct

from resload.decode.dictionary import OFFSET_LENGTHS, OFFSETS, PIXEL_DATA, named
from resload.decode.elements import UNDEFINED, DataSet
from resload.errors import DecodeError, TooLargeError, TruncatedFileError
from resload.limits import limits, raised_by

TRUNCATED = f"{named(PIXEL_DATA)} ends early"
_DAMAGED = f"{named(PIXEL_DATA)} is damaged"
_ITEM, _SEQUENCE_END = 0xFFFEE000, 0xFFFEE0DD
_TOO_MANY = f"{named(PIXEL_DATA)} has more fragments than the limit ({raised_by('fragments')})"


def frame_bytes(dataset: DataSet, frame: int, frames: int) -> bytes:
    """The compressed bytes of frame `frame` of `frames`, its fragments joined.

    Raises TruncatedFileError when they are not all there, DecodeError when the items make no sense.
    """
    fragments, offsets = _fragments(dataset)
    first = fragments[0][0] - 8 if fragments else 0
    extended = _extended_offsets(dataset)
    if frame < len(extended):
        begin, length = extended[frame]
        return _piece(dataset, first + begin + 8, length)
    if len(offsets) >= frames and len(fragments) != frames:
        begin, end = offsets[frame], offsets[frame + 1] if frame + 1 < len(offsets) else 1 << 62
        chosen = [piece for piece in fragments if begin <= piece[0] - 8 - first < end]
    elif frames == 1:
        chosen = fragments
    elif len(fragments) == frames:
        chosen = [fragments[frame]]
    else:
        return _by_end_marker(dataset, fragments, frame)
    if not chosen:
        raise TruncatedFileError(TRUNCATED)
    return b"".join(_piece(dataset, *part) for part in chosen)


def _by_end_marker(dataset: DataSet, fragments: list[tuple[int, int]], frame: int) -> bytes:
    parts: list[bytes] = []
    at = 0
    for start, length in fragments:
        piece = _piece(dataset, start, length)
        if at == frame:
            parts.append(piece)
        if b"\xff\xd9" in piece[-10:]:
            if at == frame:
                return b"".join(parts)
            at += 1
    raise TruncatedFileError(TRUNCATED)


def _piece(dataset: DataSet, start: int, length: int) -> bytes:
    piece = dataset.data[start : start + length]
    if len(piece) < length:
        raise TruncatedFileError(TRUNCATED)
    return piece


def _fragments(dataset: DataSet) -> tuple[list[tuple[int, int]], tuple[int, ...]]:
    """(start, length) of each fragment, and the basic offset table."""
    found: list[tuple[int, int]] = []
    at, most = dataset.elements[PIXEL_DATA].start, limits().fragments
    while True:
        group, number, length = struct.unpack("<HHI", _piece(dataset, at, 8))
        tag = group << 16 | number
        if tag == _SEQUENCE_END:
            break
        if tag != _ITEM or length == UNDEFINED:
            raise DecodeError(_DAMAGED, detail=f"a fragment was expected, {named(tag)} found")
        if len(found) > most:
            raise TooLargeError(_TOO_MANY, detail=f"{most}")
        found.append((at + 8, length))
        at += 8 + length
        if at > len(dataset.data):
            raise TruncatedFileError(TRUNCATED)
    if not found:
        raise DecodeError(_DAMAGED, detail="no offset table")
    table = _piece(dataset, *found[0])
    return found[1:], struct.unpack(f"<{len(table) // 4}I", table[: len(table) // 4 * 4])


def _extended_offsets(dataset: DataSet) -> list[tuple[int, int]]:
    """(offset, length) of each frame, from the Extended Offset Table (PS3.3 C.7.6.3.1.8), or nothing."""
    starts, lengths = dataset.raw(OFFSETS), dataset.raw(OFFSET_LENGTHS)
    if not starts or len(starts) != len(lengths) or len(starts) % 8:
        return []
    count = len(starts) // 8
    pairs = zip(struct.unpack(f"<{count}Q", starts), struct.unpack(f"<{count}Q", lengths), strict=True)
    return list(pairs)
