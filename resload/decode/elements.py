"""DICOM's outermost data elements, found without decoding any of them (PS3.5 section 7, PS3.10 section 7.1).

Why not pydicom's reader here: it reports odd but harmless files through the `warnings` module, whose
filters cannot be changed for one thread alone, and films are decoded in many; it inflates deflated data
sets without a bound; and decoding needs two dozen elements of hundreds. Tests hold this walk to pydicom's.

    [128 bytes "DICM"] [group 0002, explicit little endian] data set in the transfer syntax
    data set: (group, element) [VR] length value ... up to and with Pixel Data
"""

import struct
import zlib
from collections.abc import Iterator
from dataclasses import dataclass, field

from resload.decode.dictionary import PIXEL_DATA, TRANSFER_SYNTAX, named
from resload.decode.window import Bytes
from resload.errors import DecodeError, TooLargeError, TruncatedFileError
from resload.limits import limits, raised_by

IMPLICIT, EXPLICIT = "1.2.840.10008.1.2", "1.2.840.10008.1.2.1"
DEFLATED, BIG_ENDIAN = "1.2.840.10008.1.2.1.99", "1.2.840.10008.1.2.2"

UNDEFINED = 0xFFFFFFFF
_ITEM_HEAD = {True: b"\xfe\xff\x00\xe0", False: b"\xff\xfe\xe0\x00"}
"""The tag of an item, in little endian or not."""
_ITEM, _ITEM_END, _SEQUENCE_END = 0xFFFEE000, 0xFFFEE00D, 0xFFFEE0DD
_LONG = frozenset((b"OB", b"OD", b"OF", b"OL", b"OV", b"OW", b"SQ", b"SV", b"UC", b"UN", b"UR", b"UT", b"UV"))
"""Explicit VRs with a 32-bit length (PS3.5 table 7.1-1)."""
_TEXT = frozenset(("AS", "CS", "DS", "IS", "LO", "LT", "SH", "ST", "UC", "UT"))
"""Explicit VRs that spell a number, where one is found at all, in characters."""
_TRUNCATED = "the DICOM file ends early"
_DAMAGED = "the DICOM file is damaged"
_TOO_MANY = f"the DICOM file has more elements than the limit ({raised_by('dicom_elements')})"
_TOO_DEEP = f"the DICOM file nests sequences more deeply than the limit ({raised_by('dicom_depth')})"
_DEFLATED = f"the data set that {named(TRANSFER_SYNTAX)} calls deflated"
_TOO_LONG = f"{_DEFLATED} is larger than the limit ({raised_by('inflated_bytes')})"


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
            raise TruncatedFileError(_TRUNCATED, detail=f"inside {named(tag)}")
        return value

    def text(self, tag: int) -> str:
        """A string value without its padding."""
        return self.raw(tag).decode("latin-1").strip(" \0\t\r\n")

    def numbers(self, tag: int) -> tuple[float, ...]:
        """A decimal-string value as finite numbers; empty when one of them is none."""
        found = self.reals(tag)
        numbers = tuple(number for number in found if number is not None)
        return numbers if len(numbers) == len(found) else ()

    def shorts(self, tag: int) -> tuple[int, ...]:
        """A US or SS value as unsigned 16-bit numbers."""
        raw = self.raw(tag)
        return struct.unpack(f"{'<' if self.little else '>'}{len(raw) // 2}H", raw[: len(raw) // 2 * 2])

    def short(self, tag: int, default: int) -> int:
        """The first number of a US value."""
        return next(iter(self.shorts(tag)), default)

    def whole(self, tag: int) -> int | None:
        """The first number of a US or SS value, also where the writer took another VR for it.

        None when the element is absent or empty. Raises DecodeError when it holds no whole number.
        """
        raw = self.raw(tag)
        if not raw:
            return None
        vr = self.elements[tag].vr
        try:
            if vr in _TEXT:
                return int(self.text(tag).split("\\")[0])
            kind = {"SS": "h", "UL": "I", "SL": "i"}.get(vr, "H")
            return int(struct.unpack_from(f"{'<' if self.little else '>'}{kind}", raw)[0])
        except (ValueError, struct.error):
            raise DecodeError(
                f"{named(tag)} is no whole number", detail=f"VR {vr or 'implicit'}, {raw[:16]!r}"
            ) from None

    def reals(self, tag: int) -> tuple[float | None, ...]:
        """A decimal-string value, number by number; None for one that is no finite number. Empty when it is absent."""
        text = self.text(tag)
        return tuple(_real(part) for part in text.split("\\")) if text else ()

    def real(self, tag: int) -> float | None:
        """The first number of a decimal-string value, or None when the element is absent or empty.

        Raises DecodeError when it is no finite number: what it scales would be wrong without a word.
        """
        found = self.reals(tag)
        if found and found[0] is None:
            raise DecodeError(f"{named(tag)} is no finite number", detail=self.text(tag)[:64])
        return found[0] if found else None

    def items(self, tag: int) -> "Iterator[DataSet]":
        """The items of a sequence one by one; none when it is absent or empty.

        Raises DecodeError when the value is no sequence.
        """
        found = self.elements.get(tag)
        if found is None:
            return
        walk = _Walk(self.data, self.little, self.implicit or found.vr == "UN")
        end = len(self.data) if found.length == UNDEFINED else found.start + found.length
        at = found.start
        while end - at >= 8:
            head, length = walk.tag_length(at)
            if head == _SEQUENCE_END and found.length == UNDEFINED:
                return
            if head != _ITEM:
                raise DecodeError(f"{named(tag)} is no sequence", detail=f"{named(head)} in place of an item")
            item = DataSet(self.data, self.little, walk.implicit)
            at = walk.collect(at + 8, end if length == UNDEFINED else min(end, at + 8 + length), item.elements, 1)
            yield item

    def first_item(self, tag: int) -> "DataSet | None":
        """The first item of a sequence; None when it has none, and when the value is no sequence at all."""
        found = self.elements.get(tag)
        if found is None or found.length < 8:
            return None
        head = self.data[found.start : found.start + 4]
        return next(self.items(tag), None) if head == _ITEM_HEAD[self.little] else None


def _real(text: str) -> float | None:
    try:
        number = float(text)
    except ValueError:
        return None
    return number if abs(number) < float("inf") else None


def read(data: Bytes, inflated_limit: int) -> DataSet:
    """The outermost data set, up to and with Pixel Data.

    Raises TruncatedFileError when the file ends inside an element, DecodeError when it is no data set,
    TooLargeError when a deflated data set grows beyond `inflated_limit` bytes.
    """
    start = 132 if data[128:132] == b"DICM" else 0
    meta: dict[int, Element] = {}
    start = _Walk(data, True, _looks_implicit(data, start)).collect(start, len(data), meta, 0, group=2)
    syntax = DataSet(data, elements=meta).text(TRANSFER_SYNTAX)
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
        raise DecodeError(f"{_DAMAGED}: {_DEFLATED} is damaged", detail=str(exc)) from None
    if stream.unconsumed_tail:
        raise TooLargeError(_TOO_LONG, detail=f"{limit} bytes")
    if not stream.eof:
        raise TruncatedFileError(f"{_TRUNCATED}: {_DEFLATED} is not complete")
    return found


class _Walk:
    """Steps from element to element in one byte order."""

    def __init__(self, data: Bytes, little: bool, implicit: bool) -> None:
        self.data = data
        self.implicit = implicit
        self._steps = 0
        self._last = 0
        self._limits = limits()
        self._tag = struct.Struct("<HHI" if little else ">HHI")
        self._short = struct.Struct("<H" if little else ">H")
        self._long = struct.Struct("<I" if little else ">I")

    def tag_length(self, at: int) -> tuple[int, int]:
        """Tag and 32-bit length of an item, a delimiter or an implicit element."""
        return self._claim(self.data[at : at + 8])

    def _claim(self, head: bytes) -> tuple[int, int]:
        self._steps += 1
        if self._steps > self._limits.dicom_elements:
            raise TooLargeError(_TOO_MANY, detail=f"{self._limits.dicom_elements} up to {named(self._last)}")
        if len(head) < 8:
            raise TruncatedFileError(_TRUNCATED, detail=f"behind {named(self._last)}")
        group, number, length = self._tag.unpack_from(head)
        self._last = group << 16 | number
        return self._last, length

    def element(self, at: int) -> tuple[int, Element]:
        """The element whose tag is at `at`."""
        head = self.data[at : at + 12]
        tag, length = self._claim(head)
        vr = head[4:6]
        if self.implicit or tag >> 16 == 0xFFFE or not (vr.isalpha() and vr.isupper()):
            return tag, Element("", at + 8, length)  # some writers fall back to implicit within explicit
        if vr not in _LONG:
            return tag, Element(vr.decode(), at + 8, self._short.unpack_from(head, 6)[0])
        if len(head) < 12:
            raise TruncatedFileError(_TRUNCATED, detail=f"inside {named(tag)}")
        return tag, Element(vr.decode(), at + 12, self._long.unpack_from(head, 8)[0])

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
            at = self._after(tag, element, end, depth)
        return at

    def _after(self, tag: int, element: Element, end: int, depth: int) -> int:
        if element.length != UNDEFINED:
            after = element.start + element.length
            if after > end:
                raise TruncatedFileError(_TRUNCATED, detail=f"inside {named(tag)}")
            return after
        if depth >= self._limits.dicom_depth:
            raise TooLargeError(_TOO_DEEP, detail=f"{self._limits.dicom_depth}, in {named(tag)}")
        if element.vr != "UN" or self.implicit:
            return self.skip_items(element.start, end, depth + 1)
        # Open-ended UN is a sequence in implicit VR whatever the rest is (PS3.5 section 6.2.2).
        inner = _Walk(self.data, True, True)
        inner._steps = self._steps
        after = inner.skip_items(element.start, end, depth + 1)
        self._steps = inner._steps
        return after

    def skip_items(self, at: int, end: int, depth: int) -> int:
        """Behind the delimiter of an open-ended sequence."""
        while at < end:
            tag, length = self.tag_length(at)
            at += 8
            if tag == _SEQUENCE_END:
                return at
            if tag != _ITEM:
                raise DecodeError(_DAMAGED, detail=f"an item was expected, {named(tag)} found")
            at = self.collect(at, end, {}, depth) if length == UNDEFINED else at + length
        raise TruncatedFileError(_TRUNCATED, detail=f"behind {named(self._last)}")
