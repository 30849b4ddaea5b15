"""Parquet tables of others: what they claim is compared with limits before they are read."""

import contextlib
import io
import json

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from resload import parquet
from resload.parquet.footer import footer_of
from resload.parquet.pages import pages_of
from resload.store import tables


def written(table, **options):
    sink = pa.BufferOutputStream()
    pq.write_table(table, sink, **{"compression": "zstd", **options})
    return bytes(sink.getvalue())


def frame(rows=5000):
    rng = np.random.default_rng(0)
    found = pd.DataFrame({"id": [f"film{i:06d}" for i in range(rows)], "value": rng.random(rows)})
    found["few"] = rng.choice(["ok", "failed"], rows)
    found["none"] = pd.Series([None] * rows, dtype="str")
    found["kind"] = pd.Categorical(rng.choice(["a", "b"], rows), ordered=True)
    found["whole"] = pd.array(rng.integers(0, 9, rows), dtype="Int64")
    found.loc[::7, "whole"] = pd.NA
    found["flag"], found["when"] = rng.random(rows) > 0.5, pd.Timestamp("2020-01-01")
    found["list"] = [[1, 2]] * rows
    found["small"] = rng.integers(0, 9, rows, dtype=np.uint32)
    return found


@pytest.mark.parametrize("version", ["1.0", "2.0"])
@pytest.mark.parametrize("codec", ["none", "snappy", "gzip", "zstd"])
@pytest.mark.parametrize("rows", [0, 1, 5000])
def test_tables_come_back_as_pyarrow_reads_them(version, codec, rows):
    """Every value, type and order of columns."""
    table = pa.Table.from_pandas(frame(rows), preserve_index=False)
    data = written(table, compression=codec, data_page_version=version, row_group_size=2000)
    pd.testing.assert_frame_equal(parquet.read(data)[0], pq.read_table(pa.BufferReader(data)).to_pandas())
    some = parquet.read(data, ["value", "id"])[0]
    pd.testing.assert_frame_equal(some, pq.read_table(pa.BufferReader(data), columns=["value", "id"]).to_pandas())
    assert list(parquet.read(data, wanted=lambda name: name.startswith("f"))[0]) == ["few", "flag"]


def test_our_own_tables_pass():
    """As a cache writes them, metadata included."""
    kept = tables.Kept(("value",), (), "number")
    found, about = parquet.read(tables.as_parquet(frame(), kept))
    pd.testing.assert_frame_equal(found, frame())
    assert b"targets" in about[b"resload"]


@given(rows=st.integers(0, 300), part=st.integers(1, 300), page=st.integers(64, 4096), dictionary=st.booleans())
@settings(max_examples=40, deadline=None)
def test_the_footer_and_pages_are_those_that_pyarrow_tells(rows, part, page, dictionary):
    """Places, values and sizes of every column, however the file is cut."""
    table = pa.table({"text": [f"t{i}" for i in range(rows)], "number": np.arange(rows)})
    data = written(table, row_group_size=part, data_page_size=page, use_dictionary=dictionary)
    about, found = pq.ParquetFile(io.BytesIO(data)).metadata, footer_of(data)
    assert found.rows == about.num_rows
    told = [about.row_group(g).column(c) for g in range(about.num_row_groups) for c in range(2)]
    assert [one.values for one in found.columns] == [one.num_values for one in told]
    for column, one in zip(found.columns, told, strict=True):
        pages = list(pages_of(data, column.start, column.start + column.length, column.values, 10_000))
        headers = one.total_uncompressed_size - sum(page.bytes for page in pages)
        assert 0 <= headers <= 100 * (1 + len(pages))
        assert sum(page.values for page in pages if not page.dictionary) == column.values


def refused(data, match):
    with pytest.raises(ValueError, match=match):
        parquet.read(data)


def test_one_text_a_million_times(monkeypatch):
    """A dictionary of one text and a run of indices: some hundred bytes that would be a terabyte."""
    texts = pa.DictionaryArray.from_arrays(pa.array(np.zeros(1_000_000, np.int32)), pa.array(["x" * 1_000_000]))
    data = written(pa.table({"a": texts}), store_schema=False)
    assert len(data) < 4000
    refused(data, "RESLOAD_MAX_TABLE_BYTES")


def test_texts_in_lists():
    """Where pyarrow has no other way than to repeat them."""
    texts = pa.DictionaryArray.from_arrays(pa.array(np.zeros(100_000, np.int32)), pa.array(["x" * 1_000_000]))
    lists = pa.ListArray.from_arrays(pa.array(np.arange(0, 100_001, 10, dtype=np.int32)), texts)
    refused(written(pa.table({"a": lists}), store_schema=False), "RESLOAD_MAX_TABLE_BYTES")


def test_pages_that_inflate(monkeypatch):
    """Zeros, by what they say they decompress to."""
    data = written(pa.table({"a": np.zeros(4_000_000)}), use_dictionary=False)
    assert len(data) < 100_000
    assert len(parquet.read(data)[0]) == 4_000_000
    monkeypatch.setenv("RESLOAD_MAX_TABLE_BYTES", str(1 << 24))
    refused(data, "RESLOAD_MAX_TABLE_BYTES")


def test_rows_and_pages(monkeypatch):
    """Each has its limit."""
    data = written(pa.table({"a": np.arange(1000)}), data_page_size=64, use_dictionary=False, write_batch_size=8)
    monkeypatch.setenv("RESLOAD_MAX_TABLE_PAGES", "3")
    refused(data, "RESLOAD_MAX_TABLE_PAGES")
    monkeypatch.setenv("RESLOAD_MAX_TABLE_ROWS", "999")
    refused(data, "RESLOAD_MAX_TABLE_ROWS")


@pytest.mark.parametrize("coding", ["DELTA_BYTE_ARRAY", "DELTA_LENGTH_BYTE_ARRAY"])
def test_codings_by_differences(coding):
    """Each text as the one before and a little more: of a few bytes, any length."""
    data = written(pa.table({"a": ["x"] * 10}), use_dictionary=False, column_encoding={"a": coding})
    refused(data, "coded in a way that is not read")


def test_an_index_and_columns_of_one_name():
    """What pandas would make an index of, and what no frame of ours has."""
    data = io.BytesIO()
    frame(3).set_index("id").to_parquet(data)
    refused(data.getvalue(), "has an index")
    refused(written(pa.table([pa.array([1]), pa.array([2])], names=["a", "a"])), "one name")


def test_a_footer_that_ends_pyarrows_process(tmp_path):
    """Statistics of sizes that disagree with the levels: `metadata.row_group(0).column(0)` of pyarrow 26 aborts."""
    data = written(pa.table({"a": pa.array([1, None, 2])}))
    schema = pa.table({"a": pa.array([1, 2, 3])}).schema.with_metadata(None)
    plain = written(
        pa.Table.from_arrays([pa.array([1, 2, 3])], schema=schema.set(0, schema.field(0).with_nullable(False)))
    )
    optional, required = data.rfind(b"\x25\x02\x18\x01a"), plain.rfind(b"\x25\x00\x18\x01a")
    assert optional > 0
    assert required > 0
    spoiled = data[:optional] + plain[required : required + 5] + data[optional + 5 :]
    with pytest.raises(ValueError, match=r"histogram|values|expected|size|OSError|ArrowInvalid"):
        parquet.read(spoiled)


@given(data=st.data())
@settings(max_examples=150, deadline=None)
def test_damage_raises_nothing_but_valueerror(data):
    """Bytes changed anywhere, most in the footer."""
    file = bytearray(written(pa.Table.from_pandas(frame(50), preserve_index=False)))
    low = data.draw(st.sampled_from([0, len(file) - 2000]))
    for at in data.draw(st.lists(st.integers(low, len(file) - 1), min_size=1, max_size=4)):
        file[at] = data.draw(st.integers(0, 255))
    with contextlib.suppress(ValueError):
        parquet.read(bytes(file))


def test_every_type_of_pandas_is_read_again():
    """Names of types are held to their form; those of pyarrow's own columns have parameters."""
    days = pd.to_datetime(["2024-02-29", None])
    table = pd.DataFrame(
        {
            "numbers": pd.array([1, None], "Int64"),
            "days": days,
            "there": days.tz_localize("Europe/Berlin"),
            "kinds": pd.Categorical(["a", None]),
            "arrow": pd.Series(["x", None], dtype="string[pyarrow]"),
            "stamps": pd.Series(days.tz_localize("UTC"), dtype=pd.ArrowDtype(pa.timestamp("ns", "UTC"))),
            "words": pd.Series(["x", None], dtype=pd.ArrowDtype(pa.large_string())),
        }
    )
    out = io.BytesIO()
    table.to_parquet(out, index=False)
    pd.testing.assert_frame_equal(parquet.read(out.getvalue())[0], table)


@pytest.mark.parametrize("name", ["512", "2i4,i4", "(2,)f4", "i4,i4"])
def test_types_that_numpy_would_take_apart_are_refused(name):
    """numpy evaluates what stands before a type in such a text."""
    out = io.BytesIO()
    told = {"columns": [{"name": "a", "field_name": "a", "pandas_type": "int64", "numpy_type": name, "metadata": None}]}
    told |= {"index_columns": [], "column_indexes": []}
    pq.write_table(pa.table({"a": [1]}).replace_schema_metadata({"pandas": json.dumps(told)}), out)
    with pytest.raises(ValueError, match="a column is of no type"):
        parquet.read(out.getvalue())
