"""Thrift's compact protocol (thrift-compact-protocol.md) as plain values: Parquet's footers and pages are in it.

    struct   {field number: value}; a field's header is one byte: (difference to the last number) << 4 | type
    number   zigzag, in groups of 7 bits, the lowest first
    list     a byte: length << 4 | type of the elements; lengths from 15 on follow as a number

pyarrow reads footers too, and some that are damaged end its process (`column()` of pyarrow 26 aborts where statistics
of sizes disagree with a column's levels), so they are looked at here first.
"""

from typing import Any

_TRUE, _FALSE, _BYTE, _I16, _I32, _I64, _DOUBLE, _BINARY, _LIST, _SET, _MAP, _STRUCT = range(1, 13)
_DEEPEST = 16
"""Structs and lists in each other: a footer has eight."""


class Reader:
    """Values from `at` on, up to `end`. Raises ValueError for what is none."""

    def __init__(self, data: bytes, at: int, end: int) -> None:
        self._data, self.at, self._end = data, at, end

    def struct(self, depth: int = 0) -> dict[int, Any]:
        """A struct, its fields by number."""
        if depth > _DEEPEST:
            raise ValueError("it is nested too deeply")
        found: dict[int, Any] = {}
        number = 0
        while head := self._byte():
            number = number + (head >> 4) if head >> 4 else self._whole()
            found[number] = self._value(head & 15, depth)
        return found

    def _value(self, kind: int, depth: int) -> Any:
        if kind in (_TRUE, _FALSE):
            return kind == _TRUE
        if kind in (_I16, _I32, _I64):
            return self._whole()
        if kind == _BINARY:
            return self._bytes(self._varint())
        if kind == _STRUCT:
            return self.struct(depth + 1)
        if kind in (_LIST, _SET):
            return self._list(depth + 1)
        if kind in (_BYTE, _DOUBLE):
            return self._bytes(1 if kind == _BYTE else 8)
        raise ValueError(f"it holds a value of type {kind}, which Parquet has not")

    def _list(self, depth: int) -> list[Any]:
        head = self._byte()
        length = head >> 4 if head >> 4 < 15 else self._varint()
        if length > self._end - self.at:  # every element takes a byte at least
            raise ValueError("it ends early")
        if head & 15 in (_TRUE, _FALSE):
            return list(self._bytes(length))
        return [self._value(head & 15, depth) for _ in range(length)]

    def _bytes(self, count: int) -> bytes:
        if count > self._end - self.at:
            raise ValueError("it ends early")
        self.at += count
        return self._data[self.at - count : self.at]

    def _byte(self) -> int:
        if self.at >= self._end:
            raise ValueError("it ends early")
        self.at += 1
        return self._data[self.at - 1]

    def _varint(self) -> int:
        value = 0
        for shift in range(0, 70, 7):
            byte = self._byte()
            value |= (byte & 127) << shift
            if byte < 128:
                return value
        raise ValueError("it holds a number that is too long")

    def _whole(self) -> int:
        value = self._varint()
        return value >> 1 ^ -(value & 1)
