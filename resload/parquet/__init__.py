"""Parquet tables that others may have made: what they claim is compared with limits before they are read.

A few kilobytes of Parquet can become a terabyte: a page says how large it is decompressed, a dictionary holds one long
text that a run of indices repeats a billion times, values are coded as differences to the value before. So before
anything is decoded, the header of every page is read here (Apache Parquet format, `parquet.thrift`: PageHeader, in
Thrift's compact protocol), and texts are read as indices and a dictionary, whose product is compared with the limit
before it is made.

    footer         rows, columns                    against table_rows
    pages          their decompressed sizes         against table_bytes, table_pages; only plain and dictionary coding
    texts          lengths behind every index       against table_bytes
    pandas' words  an index, columns' names         only what pandas.DataFrame.to_parquet(index=False) writes

Nothing is unpickled, and no other file is opened.
"""

import re
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from resload.limits import Limits, limits, raised_by
from resload.parquet.footer import Column, footer_of
from resload.parquet.pages import pages_of
from resload.regular import parsed

if TYPE_CHECKING:
    import pandas as pd

_PLAIN = frozenset((0, 2, 3, 4, 8))
"""PLAIN, PLAIN_DICTIONARY, RLE, BIT_PACKED, RLE_DICTIONARY (parquet.thrift, enum Encoding): what pyarrow writes unless
it is asked for another. The others code values as differences, whose sum may be of any size."""
_DTYPE = re.compile(r"[A-Za-z]+[0-9]*(\[[A-Za-z0-9, _/+:-]*\])?|[a-z].*\[pyarrow\]")
"""Names of types, as pandas writes them: int64, str, datetime64[ns, Europe/Berlin], timestamp[ns, tz=UTC][pyarrow]."""
_TEXT, _FIXED = 6, 7
_WIDTH = 16
"""Bytes of a value in memory, at most; of texts, those of an index."""


def read(
    data: bytes, columns: Sequence[str] | None = None, wanted: Callable[[str], bool] = lambda name: True
) -> "tuple[pd.DataFrame, dict[bytes, bytes]]":
    """A table, and the metadata of its schema. Columns keep the types that pandas gave them.

    columns: those to read; else all whose name is `wanted`.

    Raises ValueError for anything that is no such table or exceeds `limits()`.
    """
    try:
        check(data)
        schema = pq.read_schema(pa.BufferReader(data))
        _check_pandas(schema)
        asked = [name for name in schema.names if wanted(name)] if columns is None else list(columns)
        return _loaded(data, schema, asked).to_pandas(), dict(schema.metadata or {})
    except ValueError:
        raise
    except Exception as exc:  # what pyarrow and pandas make of a hostile schema has no common base
        raise ValueError(f"{type(exc).__name__}: {exc}") from exc


def check(data: bytes) -> None:
    """Compare all that a table claims with the limits. Raises ValueError."""
    about, now = footer_of(data), limits()
    if about.rows > now.table_rows:
        raise ValueError(f"{about.rows} rows, more than {now.table_rows} ({raised_by('table_rows')})")
    if sum(about.parts) != about.rows:
        raise ValueError("its parts do not have as many rows as it says")
    total = pages = 0
    for column in about.columns:
        taken, count = _column(column, data, now)
        total, pages = total + taken, pages + count
        _within(total, now)
        if pages > now.table_pages:
            raise ValueError(f"more than {now.table_pages} pages ({raised_by('table_pages')})")


def _within(total: int, now: Limits) -> None:
    if total > now.table_bytes:
        raise ValueError(f"it takes more than {now.table_bytes} bytes in memory ({raised_by('table_bytes')})")


def _column(column: Column, data: bytes, now: Limits) -> tuple[int, int]:
    """Bytes that one column of one part takes in memory, texts as indices; and its pages."""
    if column.values > now.table_rows:
        raise ValueError(f"column {column.name!r} has {column.values} values ({raised_by('table_rows')})")
    end = column.start + column.length
    if end > len(data):
        raise ValueError(f"column {column.name!r} lies outside the file")
    total = words = seen = count = 0
    for page in pages_of(data, column.start, end, column.values, now.table_pages):
        if page.encoding not in _PLAIN:
            raise ValueError(f"column {column.name!r} is coded in a way that is not read ({page.encoding})")
        total, count = total + page.bytes, count + 1
        if count > now.table_pages:
            raise ValueError(f"more than {now.table_pages} pages ({raised_by('table_pages')})")
        words, seen = (page.bytes, seen) if page.dictionary else (words, seen + page.values)
    if seen != column.values:
        raise ValueError(f"column {column.name!r} has {seen} values, {column.values} expected")
    # Where texts are in lists, pyarrow has no other way than to repeat them.
    repeats = column.kind == _TEXT and column.nested
    width = words if repeats else column.width if column.kind == _FIXED else _WIDTH
    return total + column.values * width, count


def _check_pandas(schema: pa.Schema) -> None:
    """Refuse columns of one name, and what would make an index of columns or evaluate their names."""
    if len(set(schema.names)) < len(schema.names):
        raise ValueError("several columns have one name")
    found = parsed((schema.metadata or {}).get(b"pandas", b"{}"))
    if not isinstance(found, dict) or any(found.get(name) for name in ("index_columns", "column_indexes")):
        raise ValueError("it has an index, which tables that resload writes have not")
    for column in found.get("columns") or ():
        if not _DTYPE.fullmatch(str(column.get("numpy_type"))):  # numpy evaluates some of what follows a number
            raise ValueError(f"a column is of no type: {str(column.get('numpy_type'))[:40]!r}")


def _loaded(data: bytes, schema: pa.Schema, columns: list[str]) -> pa.Table:
    """Texts as indices first, then as themselves, once it is known how long they are together."""
    texts = [field.name for field in schema if _is_text(field.type)]
    table = pq.read_table(pa.BufferReader(data), columns=columns, read_dictionary=texts)
    total = sum(_length(table[name]) for name in set(texts) & set(table.column_names))
    _within(total, limits())
    return table.cast(pa.schema([schema.field(name) for name in table.column_names], schema.metadata))


def _is_text(kind: pa.DataType) -> bool:
    return any(is_(kind) for is_ in (pa.types.is_string, pa.types.is_large_string, pa.types.is_binary))


def _length(column: pa.ChunkedArray) -> int:
    """Bytes of all texts of a column that holds indices."""
    return sum(
        pc.sum(pc.binary_length(part.dictionary).cast("int64").take(part.indices)).as_py() or 0
        for part in column.chunks
    )
