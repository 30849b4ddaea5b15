"""The footer of a Parquet file: its parts, and where each column of them lies; claims, none of them checked yet.

... pages ... | FileMetaData | its length, 4 bytes | PAR1        (Apache Parquet format, `parquet.thrift`)
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from resload.parquet.thrift import Reader

_MAGIC = b"PAR1"
_REPEATED = 2


@dataclass(frozen=True, slots=True)
class Column:
    """A column of a part."""

    name: str
    kind: int
    """Of its values as stored: parquet.thrift, enum Type."""
    width: int
    """Bytes of a value, where all have as many (FIXED_LEN_BYTE_ARRAY)."""
    nested: bool
    """Whether a row may have several values."""
    values: int
    start: int
    """Where its first page is."""
    length: int
    """Of all its pages, as stored."""


@dataclass(frozen=True, slots=True)
class Footer:
    """What a file says of itself."""

    rows: int
    parts: tuple[int, ...]
    """Rows of each part."""
    columns: tuple[Column, ...]
    """Of all parts."""


def footer_of(data: bytes) -> Footer:
    """Raises ValueError for a file without one, whose values are in other files or encrypted, or that is damaged."""
    length = int.from_bytes(data[-8:-4], "little")
    if data[:4] != _MAGIC or data[-4:] != _MAGIC or length > len(data) - 12:
        raise ValueError("it is no Parquet file, or its footer is damaged")
    found = Reader(data, len(data) - 8 - length, len(data) - 8).struct()
    try:
        leaves = list(_leaves(iter(found[2])))
        columns = [_column(chunk, leaf) for part in found[4] for chunk, leaf in zip(part[1], leaves, strict=True)]
        return Footer(_whole(found[3]), tuple(_whole(part[3]) for part in found[4]), tuple(columns))
    except (KeyError, TypeError, AttributeError, StopIteration, RecursionError) as exc:
        raise ValueError("its footer is damaged") from exc


@dataclass(frozen=True, slots=True)
class _Leaf:
    """A column by the schema: its name, type, width, and whether it is nested."""

    name: str
    kind: int
    width: int
    repeated: int
    """How many of the levels above it may be there several times."""


def _leaves(schema: Iterator[dict[int, Any]]) -> Iterator[_Leaf]:
    """The columns of a schema, which is a tree written down depth first."""
    for _ in range(_whole(next(schema)[5])):
        yield from _below(schema, 0, 0)


def _below(schema: Iterator[dict[int, Any]], repeated: int, depth: int) -> Iterator[_Leaf]:
    if depth > 16:
        raise ValueError("its schema is nested too deeply")
    one = next(schema)
    repeated += one.get(3, 0) == _REPEATED
    children = one.get(5, 0)
    if not children:
        yield _Leaf(one[4].decode("utf-8", "replace"), _whole(one[1]), _whole(one.get(2, 0)), repeated)
    for _ in range(children):
        yield from _below(schema, repeated, depth + 1)


def _column(chunk: dict[int, Any], leaf: _Leaf) -> Column:
    if chunk.get(1) or 8 in chunk or 9 in chunk:
        raise ValueError(f"column {leaf.name!r} is encrypted, or in another file")
    about = chunk[3]
    start, dictionary = _whole(about[9]), about.get(11, 0)
    start = dictionary if 0 < _whole(dictionary) < start else start
    if _whole(about[1]) != leaf.kind:
        raise ValueError(f"column {leaf.name!r} is of two types")
    return Column(leaf.name, leaf.kind, leaf.width, leaf.repeated > 0, _whole(about[5]), start, _whole(about[7]))


def _whole(value: Any) -> int:
    if type(value) is not int or value < 0:
        raise TypeError(f"{value!r} is no whole number")
    return value
