"""DICOM's outermost data elements, found without decoding any of them (PS3.5 section 7, PS3.10 section 7.1).

Why not pydicom's reader here: it reports odd but harmless files through the `warnings` module, whose
filters cannot be changed for one thread alone, and films are decoded in many; it inflates deflated data
sets without a bound; and decoding needs two dozen elements of hundreds. Tests hold this walk to pydicom's.

    [128 bytes "DICM"] [group 0002, explicit little endian] data set in the transfer syntax
    data set: (group, element) [VR] length value ... up to and with Pixel Data
"""

import struct
import zlib
from dataclasses import dataclass, field

from resload.decode.window import Bytes
from resload.errors import DecodeError, TooLargeError, TruncatedFileError

IMPLICIT, EXPLICIT = "1.2.840.10008.1.2", "1.2.840.10008.1.2.1"
DEFLATED, BIG_ENDIAN = "1.2.840.10008.1.2.1.99", "1.2.840.10008.1.2.2"

UNDEFINED = 0xFFFFFFFF
PIXEL_DATA = 0x7FE00010
_ITEM, _ITEM_END, _SEQUENCE_END = 0xFFFEE000, 0xFFFEE00D, 0xFFFEE0DD
_LONG = frozenset((b"OB", b"OD", b"OF", b"OL", b"OV", b"OW", b"SQ", b"SV", b"UC", b"UN", b"UR", b"UT", b"UV"))
"""Explicit VRs with a 32-bit length (PS3.5 table 7.1-1)."""
_DEEPEST = 32
"""Levels of open-ended sequences; radiographs have two or three."""
_MOST_ELEMENTS = 1 << 18
"""Stepped over in one file, nested ones included: a hostile file must not keep us walking."""
_TRUNCATED = "the DICOM file ends early"
_DAMAGED = "the DICOM file is damaged"


@dataclass(frozen=True, slots=True)
class Element:
    """Where one value is."""

    vr: str
    """Two letters, or an empty string when the encoding leaves it out."""
    start: int
    length: int
    """In bytes, or UNDEFINED for encapsulated pixel data and open-ended sequences."""


@dataclass(slots=True)
class DataSet:
    """Elements of one data set or item by tag; values are read when asked for."""

    data: Bytes
    little: bool = True
    implicit: bool = False
    elements: dict[int, Element] = field(default_factory=dict)
    syntax: str = IMPLICIT
    """Transfer Syntax UID."""

    def raw(self, tag: int) -> bytes:
        """The value's bytes; empty when the element is absent or open-ended."""
        found = self.elements.get(tag)
        if found is None or found.length == UNDEFINED:
            return b""
        value = self.data[found.start : found.start + found.length]
        if len(value) < found.length:
            raise TruncatedFileError(_TRUNCATED)
        return value

    def text(self, tag: int) -> str:
        """A string value without its padding."""
        return self.raw(tag).decode("latin-1").strip(" \0\t\r\n")

    def numbers(self, tag: int) -> tuple[float, ...]:
        """A decimal-string value as finite numbers; empty when one of them is none."""
        try:
            found = tuple(float(part) for part in self.text(tag).split("\\"))
        except ValueError:
            return ()
        return found if all(abs(number) < float("inf") for number in found) else ()

    def shorts(self, tag: int) -> tuple[int, ...]:
        """A US or SS value as unsigned 16-bit numbers."""
        raw = self.raw(tag)
        return struct.unpack(f"{'<' if self.little else '>'}{len(raw) // 2}H", raw[: len(raw) // 2 * 2])

    def short(self, tag: int, default: int) -> int:
        """The first number of a US value."""
        return next(iter(self.shorts(tag)), default)

    def first_item(self, tag: int) -> "DataSet | None":
        """The first item of a sequence, or None when it has none."""
        found = self.elements.get(tag)
        if found is None:
            return None
        walk = _Walk(self.data, self.little, self.implicit or found.vr == "UN")
        end = len(self.data) if found.length == UNDEFINED else found.start + found.length
        head = walk.tag_length(found.start) if end - found.start >= 8 else None
        if head is None or head[0] != _ITEM:
            return None
        start = found.start + 8
        limit = end if head[1] == UNDEFINED else min(end, start + head[1])
        item = DataSet(self.data, self.little, walk.implicit)
        walk.collect(start, limit, item.elements, 1)
        return item


def read(data: Bytes, inflated_limit: int) -> DataSet:
    """The outermost data set, up to and with Pixel Data.

    Raises TruncatedFileError when the file ends inside an element, DecodeError when it is no data set,
    TooLargeError when a deflated data set grows beyond `inflated_limit` bytes.
    """
    start = 132 if data[128:132] == b"DICM" else 0
    meta: dict[int, Element] = {}
    start = _Walk(data, True, _looks_implicit(data, start)).collect(start, len(data), meta, 0, group=2)
    syntax = DataSet(data, elements=meta).text(0x00020010)
    if syntax == DEFLATED:
        data, start = _inflate(data[start : len(data)], inflated_limit), 0
    little = syntax != BIG_ENDIAN
    implicit = _looks_implicit(data, start) if little else False
    found = DataSet(data, little, implicit, syntax=syntax or (IMPLICIT if implicit else EXPLICIT))
    _Walk(data, little, implicit).collect(start, len(data), found.elements, 0)
    return found


def _looks_implicit(data: Bytes, at: int) -> bool:
    """Whether the element at `at` has no VR: what the bytes show counts more than what the file claims."""
    vr = data[at + 4 : at + 6]
    return len(vr) == 2 and not (vr.isalpha() and vr.isupper())


def _inflate(data: bytes, limit: int) -> bytes:
    try:
        stream = zlib.decompressobj(-zlib.MAX_WBITS)
        found = stream.decompress(data, limit)
    except zlib.error as exc:
        raise DecodeError(_DAMAGED, detail=str(exc)) from None
    if stream.unconsumed_tail:
        raise TooLargeError("the deflated DICOM data set is larger than the limit", detail=f"{limit} bytes")
    if not stream.eof:
        raise TruncatedFileError(_TRUNCATED)
    return found


class _Walk:
    """Steps from element to element in one byte order."""

    def __init__(self, data: Bytes, little: bool, implicit: bool) -> None:
        self.data = data
        self.implicit = implicit
        self._steps = 0
        self._tag = struct.Struct("<HHI" if little else ">HHI")
        self._short = struct.Struct("<H" if little else ">H")
        self._long = struct.Struct("<I" if little else ">I")

    def tag_length(self, at: int) -> tuple[int, int]:
        """Tag and 32-bit length of an item, a delimiter or an implicit element."""
        head = self.data[at : at + 8]
        if len(head) < 8:
            raise TruncatedFileError(_TRUNCATED)
        group, number, length = self._tag.unpack(head)
        return group << 16 | number, length

    def element(self, at: int) -> tuple[int, Element]:
        """The element whose tag is at `at`."""
        self._steps += 1
        if self._steps > _MOST_ELEMENTS:
            raise DecodeError(_DAMAGED, detail=f"it has more than {_MOST_ELEMENTS} elements")
        tag, length = self.tag_length(at)
        head = self.data[at + 4 : at + 12]
        vr = head[:2]
        if self.implicit or tag >> 16 == 0xFFFE or not (vr.isalpha() and vr.isupper()):
            return tag, Element("", at + 8, length)  # some writers fall back to implicit within explicit
        if vr not in _LONG:
            return tag, Element(vr.decode(), at + 8, self._short.unpack(head[2:4])[0])
        if len(head) < 8:
            raise TruncatedFileError(_TRUNCATED)
        return tag, Element(vr.decode(), at + 12, self._long.unpack(head[4:8])[0])

    def collect(self, at: int, end: int, found: dict[int, Element], depth: int, *, group: int | None = None) -> int:
        """Note the elements from `at` to `end`, an item delimiter, Pixel Data, or the end of `group`.

        Answers where it stopped: behind the delimiter, or at the element that is not of `group`.
        """
        while at < end:
            tag, element = self.element(at)
            if tag == _ITEM_END:
                return element.start
            if group is not None and tag >> 16 != group:
                return at
            found.setdefault(tag, element)
            if tag == PIXEL_DATA and depth == 0:
                return at
            at = self._after(element, end, depth)
        return at

    def _after(self, element: Element, end: int, depth: int) -> int:
        if element.length != UNDEFINED:
            after = element.start + element.length
            if after > end:
                raise TruncatedFileError(_TRUNCATED)
            return after
        if depth >= _DEEPEST:
            raise DecodeError(_DAMAGED, detail="its sequences are nested too deeply")
        # Open-ended UN is a sequence in implicit VR whatever the rest is (PS3.5 section 6.2.2).
        inner = self if element.vr != "UN" or self.implicit else _Walk(self.data, True, True)
        return inner.skip_items(element.start, end, depth + 1)

    def skip_items(self, at: int, end: int, depth: int) -> int:
        """Behind the delimiter of an open-ended sequence."""
        while at < end:
            tag, length = self.tag_length(at)
            at += 8
            if tag == _SEQUENCE_END:
                return at
            if tag != _ITEM:
                raise DecodeError(_DAMAGED, detail=f"an item was expected, tag {tag:08X} found")
            at = self.collect(at, end, {}, depth) if length == UNDEFINED else at + length
        raise TruncatedFileError(_TRUNCATED)
