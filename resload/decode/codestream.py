"""What compressed streams say about themselves: JPEG, lossless JPEG, JPEG-LS, JPEG 2000, HTJ2K.

Codecs are handed a stream only after its claim was compared with the limit (or, inside DICOM, with Rows
and Columns) and after its end marker was found, because some of them do not notice a missing end
(`codecs.py`). Damage in the middle of a lossy stream cannot be seen this way: JPEG has no checksums.

    JPEG, JPEG-LS    FFD8 | segments: FF marker, length, body | FFDA header, entropy-coded data ... | FFD9
    JPEG 2000        FF4F | FF51 (SIZ) | more segments        | tiles                               | FFD9

Inside entropy-coded data FFD9 cannot occur (ITU-T T.81 B.1.1.5: FF is followed by 00; T.87: by less than
80; T.800: by at most 8F), so the last FFD9 of a stream is its end or it has none.
"""

import struct
from dataclasses import dataclass

from resload.decode.window import Bytes
from resload.errors import DecodeError, TooLargeError, TruncatedFileError
from resload.limits import limits, raised_by

_START_OF_FRAME = frozenset({*range(0xC0, 0xD0), 0xF7}) - {0xC4, 0xC8, 0xCC}
"""SOF0 to SOF15 but DHT, JPG and DAC; and JPEG-LS's SOF55 (T.87 C.1.1)."""
LOSSLESS = 0xC3
"""SOF3, the frame header of lossless JPEG (T.81 annex H)."""
_NO_BODY = frozenset({0x01, *range(0xD0, 0xD9)})
"""TEM, RST0 to RST7 and SOI stand alone."""
_MOST_RUBBISH = 4096
"""Bytes between two segments."""
_END = b"\xff\xd9"
_CODING_STYLE, _REVERSIBLE = b"\xff\x52", 1
"""COD, and the wavelet of it that loses nothing."""
_PART_15 = 0x40
"""Bit 14 of SIZ's capabilities, in the first of their bytes: the stream uses T.814 (T.814 A.2)."""
_TILE_PART, _TILE_PART_HEAD = b"\xff\x90", 14
"""SOT, and the least bytes of a tile-part: its SOT segment and SOD. A length of 0 means: up to the end."""


@dataclass(frozen=True, slots=True)
class Codestream:
    """The claim of one compressed image."""

    height: int
    width: int
    components: int
    precision: int
    """Bits of a sample."""
    signed: bool = False
    """Samples are signed (JPEG 2000 only)."""
    tagged: bool = False
    """A JFIF or Adobe segment says what the colours are (JPEG only)."""
    data_at: int = 0
    """Where entropy-coded data may begin."""
    tiles: int = 1
    """Pieces that are coded by themselves (JPEG 2000 only)."""
    process: int = 0
    """The marker of its frame header: 0xC0 baseline, 0xC2 progressive, 0xC3 lossless, ... (JPEG and JPEG-LS only)."""
    predictor: int = 0
    """The prediction of its first scan, 1 to 7 (lossless JPEG, T.81 table H.1)."""
    high_throughput: bool = False
    """HTJ2K (T.814): its block coder is another one than T.800's."""
    reversible: bool = False
    """What was compressed comes back exactly: by its wavelet (T.800 A.6.1; layers may still have been cut off)."""


def parse_jpeg(data: Bytes, label: str = "JPEG") -> Codestream:
    """Walk the segments of a JPEG or JPEG-LS up to its first scan.

    Raises TruncatedFileError when it ends before that, DecodeError when it is no such stream.
    """
    if data[0:2] != b"\xff\xd8":
        raise DecodeError(f"the {label} data is damaged", detail="it does not start with SOI")
    at = 2
    claim: tuple[int, int, int, int] | None = None
    tagged, process, predictor = False, 0, 0
    for _ in range(limits().header_parts):
        marker, at = _next_marker(data, at, label)
        if marker in _NO_BODY:
            continue
        body = data[at : at + 16]
        if len(body) < 2:
            raise TruncatedFileError(f"the {label} data ends early")
        (length,) = struct.unpack(">H", body[:2])
        if marker in _START_OF_FRAME:
            claim, process = _frame_header(body, label), marker
        elif marker == 0xDA:
            predictor = _selection_start(body)
            break
        elif marker == 0xD9:
            raise TruncatedFileError(f"the {label} data ends early", detail="no scan before EOI")
        tagged = tagged or _tells_colours(marker, length, body)
        at += max(2, length)
    else:
        raise TooLargeError(_too_many_segments(label))
    if claim is None:
        raise DecodeError(f"the {label} data is damaged", detail="no frame header before the first scan")
    lossless = process == LOSSLESS
    return Codestream(
        *claim,
        tagged=tagged,
        data_at=at,
        process=process,
        predictor=predictor if lossless else 0,
        reversible=lossless,
    )


def _too_many_segments(label: str) -> str:
    return f"the {label} data has more segments before its first scan than the limit ({raised_by('header_parts')})"


def _selection_start(body: bytes) -> int:
    """Ss of a scan header (T.81 B.2.3): in lossless JPEG the predictor."""
    at = 3 + 2 * body[2] if len(body) > 2 else len(body)
    return body[at] if at < len(body) else 0


def _tells_colours(marker: int, length: int, body: bytes) -> bool:
    """Whether libjpeg takes this for a JFIF or Adobe segment (shorter ones it steps over)."""
    if marker == 0xE0:
        return length >= 16 and body[2:7] == b"JFIF\0"
    return marker == 0xEE and length >= 14 and body[2:7] == b"Adobe"


def _next_marker(data: Bytes, at: int, label: str) -> tuple[int, int]:
    """The next marker, and where its segment starts.

    Fill bytes and a little rubbish between segments are stepped over, as libjpeg does.
    """
    piece = data[at : at + _MOST_RUBBISH]
    found = piece.find(b"\xff")
    while 0 <= found < len(piece) - 1:
        if piece[found + 1] not in (0x00, 0xFF):
            return piece[found + 1], at + found + 2
        found = piece.find(b"\xff", found + 1)
    if len(piece) < _MOST_RUBBISH:
        raise TruncatedFileError(f"the {label} data ends early")
    raise DecodeError(f"the {label} data is damaged", detail="no marker where one was expected")


def _frame_header(body: bytes, label: str) -> tuple[int, int, int, int]:
    if len(body) < 8:
        raise TruncatedFileError(f"the {label} data ends early")
    precision, height, width, components = struct.unpack(">BHHB", body[2:8])
    return height, width, components, precision


def parse_jpeg2000(data: bytes, label: str = "JPEG 2000") -> Codestream:
    """The SIZ segment (T.800 A.5.1) of a codestream, or of the one inside a JP2 box."""
    at = data.find(b"\xff\x4f\xff\x51", 0, 4096)
    if at < 0:
        raise DecodeError(f"the {label} data is damaged", detail="no SOC and SIZ marker")
    size = data[at + 4 : at + 45]
    if len(size) < 41:
        raise TruncatedFileError(f"the {label} data ends early")
    right, bottom, left, top, tile_width, tile_height, tile_left, tile_top = struct.unpack(">8I", size[4:36])
    components, depth = struct.unpack(">HB", size[36:39])
    across = -(-(right - tile_left) // max(1, tile_width))
    down = -(-(bottom - tile_top) // max(1, tile_height))
    return Codestream(
        bottom - top,
        right - left,
        components,
        (depth & 0x7F) + 1,
        signed=depth > 0x7F,
        data_at=at + 4,
        tiles=across * down,
        high_throughput=bool(size[2] & _PART_15),
        reversible=_wavelet(data, at + 2) == _REVERSIBLE,
    )


def _wavelet(data: bytes, at: int) -> int | None:
    """The transformation that the COD segment of a main header names (T.800 A.6.1, table A.20); None without one."""
    while data[at : at + 1] == b"\xff" and data[at : at + 2] not in (_TILE_PART, _END):
        length = int.from_bytes(data[at + 2 : at + 4], "big")
        if data[at : at + 2] == _CODING_STYLE:
            return data[at + 13] if length >= 12 and len(data) > at + 13 else None
        at += 2 + max(2, length)
    return None


def check_tiles(data: bytes, stream: Codestream, label: str = "JPEG 2000") -> None:
    """Refuse a JPEG 2000 stream that ends properly but lacks tiles: OpenJPEG would leave them black without a word.

    Goes from tile-part to tile-part by their lengths (T.800 A.4.2); where those lead astray, the codec is to judge.
    """
    at = stream.data_at - 2
    while data[at : at + 2] not in (_TILE_PART, _END) and data[at + 2 : at + 4] > b"\0\1":
        at += 2 + int.from_bytes(data[at + 2 : at + 4], "big")  # a segment of the main header
    found: set[int] = set()
    for _ in range(limits().fragments):
        if data[at : at + 2] != _TILE_PART or len(data) < at + 10:
            break
        index, length = struct.unpack(">HI", data[at + 4 : at + 10])
        found.add(index)
        at = at + length if length >= _TILE_PART_HEAD else len(data) - 2
    if data[at : at + 2] == _END and len(found) < stream.tiles:
        raise TruncatedFileError(f"the {label} data ends early", detail=f"{len(found)} of {stream.tiles} tiles")


def ended(data: bytes, stream: Codestream, label: str) -> bytes:
    """The stream up to and with its end marker (a copy only when something follows it).

    Raises TruncatedFileError when there is no end marker.
    """
    end = data.rfind(_END, stream.data_at)
    if end < 0:
        raise TruncatedFileError(f"the {label} data ends early")
    return data if end + 2 == len(data) else data[: end + 2]
