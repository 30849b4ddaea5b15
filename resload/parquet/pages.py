"""Headers of Parquet pages: how large each is, and how its values are coded; no page is decoded.

Apache Parquet format, `parquet.thrift`: struct PageHeader, in Thrift's compact protocol (thrift-compact-protocol.md):

    field header   one byte: (difference to the last field's number) << 4 | type; 0 ends a struct
    numbers        zigzag, in groups of 7 bits, the lowest first
"""

from collections.abc import Iterator
from typing import NamedTuple

_STOP, _TRUE, _FALSE, _BYTE, _I16, _I32, _I64, _DOUBLE, _BINARY, _LIST, _SET, _MAP, _STRUCT = range(13)
_DEEPEST = 8
"""Structs in a header: statistics in a data page's in the page's make three."""
_DATA, _DICTIONARY, _DATA_2 = 5, 7, 8
"""Fields of PageHeader that tell its kind."""
_ENCODINGS = {_DATA: 2, _DICTIONARY: 2, _DATA_2: 4}
"""Which field of each names the coding of its values; the first is how many there are."""


class Page(NamedTuple):
    """What a header claims."""

    bytes: int
    """Decompressed, its levels included."""
    values: int
    encoding: int
    dictionary: bool


def pages_of(data: bytes, start: int, end: int, values: int, most: int) -> Iterator[Page]:
    """The pages between two places, until they hold so many values; no more than `most` + 1 of them.

    Raises ValueError for headers that are none, and pages that reach beyond the end.
    """
    seen = 0
    for _ in range(most + 1):
        if seen >= values or start >= end:
            return
        header = _Header(data, start, end)
        page, length = header.page()
        start = header.at + length
        if start > end:
            raise ValueError("a page reaches beyond its column")
        seen += 0 if page.dictionary else page.values
        yield page


class _Header:
    """One header, read from `at` on."""

    def __init__(self, data: bytes, at: int, end: int) -> None:
        self._data, self.at, self._end = data, at, end

    def page(self) -> tuple[Page, int]:
        """What it claims, and how long the page behind it is as stored."""
        numbers, structs = self._struct(0)
        kind = next((one for one in (_DATA, _DICTIONARY, _DATA_2) if one in structs), None)
        size, stored = numbers.get(2, -1), numbers.get(3, -1)
        inner = structs.get(kind, {}) if kind is not None else {}
        values, encoding = inner.get(1, 0), inner.get(_ENCODINGS.get(kind or 0, 0), 0)
        if size < 0 or stored < 0 or values < 0 or len(structs) > 1:
            raise ValueError("a page's header is damaged")
        return Page(size, values, encoding, kind == _DICTIONARY), stored

    def _struct(self, depth: int) -> tuple[dict[int, int], dict[int, dict[int, int]]]:
        """Its whole numbers by field, and those of the structs in it."""
        numbers: dict[int, int] = {}
        structs: dict[int, dict[int, int]] = {}
        number = 0
        while head := self._byte():
            number = number + (head >> 4) if head >> 4 else self._whole()
            kind = head & 15
            if kind in (_I16, _I32, _I64):
                numbers[number] = self._whole()
            elif kind == _STRUCT:
                structs[number] = self._inner(depth)
            else:
                self._skip(kind, depth)
        return numbers, structs

    def _inner(self, depth: int) -> dict[int, int]:
        if depth >= _DEEPEST:
            raise ValueError("a page's header is nested too deeply")
        return self._struct(depth + 1)[0]

    def _skip(self, kind: int, depth: int) -> None:
        if kind in (_TRUE, _FALSE):
            return
        if kind == _BYTE:
            self._pass(1)
        elif kind == _DOUBLE:
            self._pass(8)
        elif kind == _BINARY:
            self._pass(self._varint())
        else:  # lists, sets and maps, which no header has
            raise ValueError(f"a page's header holds what none has (type {kind})")

    def _pass(self, count: int) -> None:
        self.at += count
        if self.at > self._end:
            raise ValueError("a page's header ends early")

    def _byte(self) -> int:
        self._pass(1)
        return self._data[self.at - 1]

    def _varint(self) -> int:
        value = 0
        for shift in range(0, 70, 7):
            byte = self._byte()
            value |= (byte & 127) << shift
            if byte < 128:
                return value
        raise ValueError("a page's header holds a number that is too long")

    def _whole(self) -> int:
        value = self._varint()
        return value >> 1 ^ -(value & 1)
