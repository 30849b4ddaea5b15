"""Headers of Parquet pages: how large each is, and how its values are coded; no page is decoded.

Apache Parquet format, `parquet.thrift`: struct PageHeader.
"""

from collections.abc import Iterator
from typing import Any, NamedTuple

from resload.parquet.thrift import Reader

_SIZE, _STORED = 2, 3
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
        reader = Reader(data, start, end)
        page, stored = _page(reader.struct())
        start = reader.at + stored
        if start > end:
            raise ValueError("a page reaches beyond its column")
        seen += 0 if page.dictionary else page.values
        yield page


def _page(header: dict[int, Any]) -> tuple[Page, int]:
    """What it claims, and how long the page behind it is as stored."""
    kinds = [one for one in _ENCODINGS if one in header]
    if len(kinds) != 1 or not isinstance(header[kinds[0]], dict):
        raise ValueError("a page's header is damaged")
    inner = header[kinds[0]]
    numbers = header.get(_SIZE), header.get(_STORED), inner.get(1), inner.get(_ENCODINGS[kinds[0]])
    if not all(type(one) is int and one >= 0 for one in numbers):
        raise ValueError("a page's header is damaged")
    size, stored, values, encoding = numbers
    return Page(size, values, encoding, kinds[0] == _DICTIONARY), stored  # type: ignore[arg-type, return-value]  # seen
