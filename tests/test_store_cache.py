"""Reading a cache: the bytes that were stored, verified, or an error; views that touch no pixel."""

import json
import pickle
import shutil
import subprocess
import sys
import threading
import time
from contextlib import closing
from dataclasses import replace
from unittest import mock

import numpy as np
import pandas as pd
import pytest
from crc32c import crc32c
from hypothesis import given, settings
from hypothesis import strategies as st
from trees import tree

import resload
from resload.errors import ArgumentError, CacheError, CorruptCacheError, SizeError
from resload.size import Size
from resload.store import descriptors, documents, gather, layout, opened, shard, tables
from resload.store.joined import MOST, joined
from resload.store.layout import Manifest
from resload.store.slot import Slot


def test_records_come_back_whatever_the_access(cache, monkeypatch):
    """pread, mmap and levels held in memory give the same bytes, for rows in any order, repeated too."""
    rng = np.random.default_rng(0)
    rows = rng.choice(cache.rows(), 100)
    small = resload.open_cache(cache.path)
    assert all(small.holds(size) for size in cache.sizes)
    mapped = resload.open_cache(cache.path, access="mmap")
    kept = resload.open_cache(cache.path, access="memory")
    monkeypatch.setattr(gather, "HELD_RECORD_BYTES", 0)
    plain = resload.open_cache(cache.path)
    for size in cache.sizes:
        held = small.read(rows, size)
        assert held.shape == (100, *size)
        assert held.dtype == cache.dtype
        for other in (plain, mapped, kept):
            assert np.array_equal(held, other.read(rows, size))
        assert kept.holds(size)
        assert not plain.holds(size)
        one_by_one = np.stack([plain.read([row], size)[0] for row in rows])
        assert np.array_equal(held, one_by_one)


def test_read_into_a_given_array(cache):
    """`out` is filled and returned; a wrong shape, dtype or layout is refused."""
    rows = cache.rows()[:5]
    out = np.empty((5, 64, 64), cache.dtype)
    assert cache.read(rows, 64, out=out) is out
    assert np.array_equal(out, cache.read(rows, 64))
    for wrong in (np.empty((5, 64, 63), cache.dtype), np.empty((5, 64, 64), np.float32), out.transpose(0, 2, 1)):
        with pytest.raises(ArgumentError, match="C-contiguous"):
            cache.read(rows, 64, out=wrong)
    assert cache.read([], 64).shape == (0, 64, 64)


@pytest.mark.parametrize(
    ("rows", "size", "error", "match"),
    [
        ([0], 65, SizeError, r"65x65 is larger than what is stored .*\(32x32.*add it"),
        ([-1], 64, ArgumentError, r"0 \.\. \d+; found -1"),
        ([10_000], 64, ArgumentError, "found 10000"),
        ([0.5], 64, ArgumentError, "row numbers; found float64"),
        ([[0]], 64, ArgumentError, r"shape \(1, 1\)"),
    ],
)
def test_bad_requests_are_refused_in_words(cache, rows, size, error, match):
    """Sizes that are not stored and rows that are not there."""
    with pytest.raises(error, match=match):
        cache.read(rows, size)


@settings(max_examples=40, deadline=None)
@given(st.data())
def test_shards_hold_any_records(tmp_path_factory, data):
    """Records put in any order, of any size and depth, come back; other readers find them through the index."""
    per_shard = data.draw(st.sampled_from([16, 32]))
    count = data.draw(st.integers(1, 3 * per_shard))
    size = Size(data.draw(st.integers(1, 20)), data.draw(st.integers(1, 20)))
    dtype = data.draw(st.sampled_from(["uint8", "uint16"]))
    folder = tmp_path_factory.mktemp("shards")
    manifest = Manifest((size,), dtype, count, per_shard, {}, 0, (count,), "", "complete")
    pixels = np.random.default_rng(count).integers(0, np.iinfo(dtype).max, (count, *size), dtype=dtype)
    sums = np.zeros(count, np.uint32)
    for group in range(manifest.groups):
        path = folder / layout.shard_path(size, group)
        path.parent.mkdir(parents=True)
        rows = list(manifest.rows_of(group))
        with closing(shard.ShardWriter(path, size=size, dtype=dtype, per_shard=per_shard)) as writer:
            for row in data.draw(st.permutations(rows)):  # where hypothesis may give up an example
                sums[row] = writer.put(row - rows[0], pixels[row])
            writer.finish(len(rows))
    wanted = np.array(data.draw(st.lists(st.integers(0, count - 1), max_size=150)), np.int64)
    for access in opened.ACCESS:
        slot = Slot(np.empty((len(wanted), *size), dtype))
        with mock.patch.object(descriptors, "open_limit", return_value=2):
            gather.Level(opened.Shards(folder, manifest, access=access), size, sums).read(wanted, slot)
        assert np.array_equal(slot.out, pixels[wanted])
    body = (folder / layout.shard_path(size, 0)).read_bytes()[-layout.index_bytes(per_shard) : -4]
    index = np.frombuffer(body, "<u8").reshape(per_shard, 2)
    here = min(count, per_shard)
    assert index[:here, 0].tolist() == [k * layout.record_bytes(size, dtype) for k in range(here)]
    assert (index[here:] == 2**64 - 1).all()


# -- open in other people's software --


def values(cache, size):
    """Every stored record, quarantined ones as zeros."""
    out = np.zeros((len(cache), *size), cache.dtype)
    out[cache.rows()] = cache.read(cache.rows(), size)
    return out


@pytest.mark.parametrize("which", ["cache", "cache8"])
def test_zarr_opens_it(which, request):
    """zarr-python: every level value for value, with warnings as errors."""
    import zarr

    cache = request.getfixturevalue(which)
    group = zarr.open_group(cache.path, mode="r")
    assert sorted(group["images"].array_keys()) == sorted(str(size) for size in cache.sizes)
    for size in cache.sizes:
        array = group[f"images/{size}"]
        assert array.metadata.dimension_names == ("radiograph", f"y_{size.height}", f"x_{size.width}")
        assert np.array_equal(array[:], values(cache, size))


@pytest.mark.parametrize("which", ["cache", "cache8"])
def test_tensorstore_opens_it(which, request):
    """tensorstore: the same."""
    import tensorstore

    cache = request.getfixturevalue(which)
    for size in cache.sizes:
        spec = {"driver": "zarr3", "kvstore": {"driver": "file", "path": f"{cache.path}/images/{size}/"}}
        array = tensorstore.open(spec).result()
        assert np.array_equal(array.read().result(), values(cache, size))


def test_xarray_opens_it(cache):
    """xarray: the levels as variables of one data set, with named dimensions."""
    import xarray

    with xarray.open_zarr(cache.path, group="images", chunks=None) as found:
        assert set(found.data_vars) == {str(size) for size in cache.sizes}
        for size in cache.sizes:
            assert found[str(size)].dims == ("radiograph", f"y_{size.height}", f"x_{size.width}")
            assert np.array_equal(found[str(size)].values, values(cache, size))


def test_a_shard_of_ours_is_one_that_zarr_writes(tmp_path, cache8):
    """zarr-python, given our metadata and pixels, writes shards with the same records and checksums."""
    import zarr

    size = cache8.sizes[0]
    target = tmp_path / "theirs"
    shutil.copytree(cache8.path / f"images/{size}", target, ignore=shutil.ignore_patterns("c"))
    theirs = zarr.open_array(target, mode="r+")
    theirs[:] = values(cache8, size)
    for group in range(-(-len(cache8) // theirs.shards[0])):
        ours = (cache8.path / layout.shard_path(size, group)).read_bytes()
        written = (target / f"c/{group}/0/0").read_bytes()
        if len(cache8.table) >= (group + 1) * theirs.shards[0] and b"\x00" * 64 not in ours:
            assert written == ours


# -- damage --


def flipped(path, place, bit):
    data = bytearray(path.read_bytes())
    data[place] ^= 1 << bit
    path.write_bytes(bytes(data))


@pytest.fixture
def copy(cache, tmp_path):
    shutil.copytree(cache.path, tmp_path / "copy.zarr")
    return tmp_path / "copy.zarr"


@pytest.mark.parametrize(("access", "held"), [("pread", True), ("pread", False), ("mmap", False), ("memory", True)])
def test_any_flipped_bit_of_a_shard_is_refused(copy, monkeypatch, access, held):
    """One bit, anywhere in a shard: reading all of it fails, naming the file; a record's error has both sums."""
    if not held:
        monkeypatch.setattr(gather, "HELD_RECORD_BYTES", 0)
    size = resload.open_cache(copy).sizes[0]
    path = copy / layout.shard_path(size, 0)
    sound = path.read_bytes()
    rng = np.random.default_rng(5)
    step = layout.record_bytes(size, resload.open_cache(copy).dtype.name)
    for place in [*rng.integers(0, len(sound), 40).tolist(), step - 1, len(sound) - 1]:
        flipped(path, place, int(rng.integers(8)))
        cache = resload.open_cache(copy, access=access)
        rows = cache.rows()
        row = place // step
        if row < 16 and row not in rows:  # a quarantined record: never served, but verify sees it
            assert not resload.verify(copy, progress=False).ok
        else:
            with pytest.raises(CorruptCacheError, match=str(path)) as caught:
                cache.read(rows, size)
            if place < 16 * step:
                assert f"record {row} (row {row})" in str(caught.value)
                assert len([word for word in str(caught.value).split() if len(word.strip(",")) == 8]) >= 3
        path.write_bytes(sound)
        cache.close()


@pytest.mark.parametrize(
    ("side", "dtype", "count", "held"),
    [
        (128, "uint8", 32_768, True),
        (128, "uint8", 32_769, False),
        (129, "uint8", 10, False),
        (90, "uint16", 10, True),
        (91, "uint16", 10, False),
        (32, "uint8", 400_000, True),
    ],
)
def test_levels_are_held_up_to_what_the_docs_say(tmp_path, side, dtype, count, held):
    """Records of at most 16 KB of pixels, levels of at most 512 MB of them; never with mapped files."""
    size = Size(side, side)
    manifest = Manifest((size,), dtype, count, 512, {}, 0, (count,), "", "complete")
    for access, expected in (("pread", held), ("mmap", False), ("memory", True)):
        level = gather.Level(opened.Shards(tmp_path, manifest, access=access), size, np.zeros(count, np.uint32))
        assert level.held == expected


def test_a_damaged_record_of_a_level_in_memory_is_refused_when_it_is_asked_for(copy):
    """The others of its shard are served; the damaged one is named, each time."""
    cache = resload.open_cache(copy, access="memory")
    size = cache.sizes[-1]
    good = resload.open_cache(copy).read(cache.rows(), size)
    flipped(copy / layout.shard_path(size, 0), 5 * layout.record_bytes(size, cache.dtype.name) + 9, 2)
    rows = cache.rows()
    for _ in range(2):
        assert np.array_equal(cache.read(rows[rows != 5], size), good[rows != 5])
        with pytest.raises(CorruptCacheError, match=r"record 5 \(row 5\) is damaged"):
            cache.read(rows, size)


def test_a_level_that_does_not_fit_in_memory(cache, monkeypatch):
    """Refused with how much it would take, and the way out."""

    def refuse(shape, dtype):
        raise MemoryError

    kept = resload.open_cache(cache.path, access="memory")
    monkeypatch.setattr(gather.np, "empty", refuse)
    with pytest.raises(CacheError, match=r"40 images of 64x64 take 0\.33 MB of memory.*access=\"pread\""):
        kept._stored.level(kept.sizes[-1])


@pytest.mark.parametrize("access", ["pread", "mmap"])
@pytest.mark.parametrize("together", [1, 3, 4, 64])
def test_damage_is_found_however_many_records_are_summed_at_once(tmp_path, monkeypatch, access, together):
    """The first damaged record that was asked for is named, wherever in a joint sum it stands, and others beside it."""
    size, count = Size(5, 7), 48
    monkeypatch.setattr(gather, "_TOGETHER_BYTES", together * 35)
    monkeypatch.setattr(gather, "HELD_RECORD_BYTES", 0)
    manifest = Manifest((size,), "uint8", count, 16, {}, 0, (count,), "", "complete")
    rng = np.random.default_rng(together)
    pixels = rng.integers(0, 256, (count, *size), dtype=np.uint8)
    sums = np.zeros(count, np.uint32)
    for group in range(manifest.groups):
        path = tmp_path / layout.shard_path(size, group)
        path.parent.mkdir(parents=True)
        writer = shard.ShardWriter(path, size=size, dtype="uint8", per_shard=16)
        sums[group * 16 : group * 16 + 16] = [writer.put(k, pixels[group * 16 + k]) for k in range(16)]
        writer.finish(16)
    for _ in range(60):
        wanted = rng.permutation(count)[: rng.integers(1, count + 1)]
        damaged = set(rng.choice(wanted, rng.integers(1, min(4, len(wanted)) + 1), replace=False).tolist())
        for row in damaged:
            flipped(tmp_path / layout.shard_path(size, row // 16), row % 16 * 39 + int(rng.integers(39)), 3)
        slot = Slot(np.empty((count, *size), np.uint8))
        level = gather.Level(opened.Shards(tmp_path, manifest, access=access), size, sums)
        first = next(row for row in wanted.tolist() if row in damaged)
        with pytest.raises(CorruptCacheError, match=rf"record {first % 16} \(row {first}\) is damaged"):
            level.read(wanted, slot, int(rng.integers(count - len(wanted) + 1)))
        for group in range(manifest.groups):
            body = tmp_path / layout.shard_path(size, group)
            whole = bytearray(body.read_bytes())
            for k in range(16):
                record = pixels[group * 16 + k].tobytes()
                whole[k * 39 : k * 39 + 39] = record + int(sums[group * 16 + k]).to_bytes(4, "little")
            body.write_bytes(whole)
        level.read(wanted, slot)
        assert np.array_equal(slot.out[: len(wanted)], pixels[wanted])


@given(st.integers(1, 300), st.integers(1, MOST), st.integers(0, 2**32))
@settings(max_examples=60, deadline=None)
def test_a_joint_sum_is_the_sum_of_the_records_one_after_another(length, count, seed):
    """For any records; and it changes whenever the sum of one of them does."""
    rng = np.random.default_rng(seed)
    records = rng.integers(0, 256, (3, count, length), np.uint8)
    sums = np.array([[crc32c(record.tobytes()) for record in row] for row in records], np.uint32)
    whole = joined(sums, length)
    assert whole.tolist() == [crc32c(row.tobytes()) for row in records]
    place = int(rng.integers(count))
    one_bit = np.repeat(sums[:1], 32, axis=0)
    one_bit[:, place] ^= np.uint32(1) << np.arange(32, dtype=np.uint32)
    assert len({int(whole[0]), *joined(one_bit, length).tolist()}) == 33


def test_another_films_record_is_refused(copy):
    """A record that is whole but belongs to another film: its sum is not the one that the table remembers."""
    cache = resload.open_cache(copy)
    size = cache.sizes[0]
    path = copy / layout.shard_path(size, 0)
    step = layout.record_bytes(size, cache.dtype.name)
    data = bytearray(path.read_bytes())
    first, second = cache.rows()[:2].tolist()
    data[first * step : (first + 1) * step] = data[second * step : (second + 1) * step]
    path.write_bytes(bytes(data))
    with pytest.raises(CorruptCacheError, match=f"record {first}"):
        resload.open_cache(copy).read([first], size)


@pytest.mark.parametrize("keep", [0, 10, -1, -200])
def test_truncated_and_missing_shards_are_refused(copy, keep):
    """A short shard is refused at its first touch, with the bytes expected and found; a missing one is named."""
    size = resload.open_cache(copy).sizes[1]
    path = copy / layout.shard_path(size, 1)
    path.write_bytes(path.read_bytes()[:keep])
    cache = resload.open_cache(copy)
    with pytest.raises(CorruptCacheError, match=r"bytes expected, \d+ found"):
        cache.read(cache.rows(), size)
    path.unlink()
    with pytest.raises(CorruptCacheError, match="this shard is missing"):
        resload.open_cache(copy).read(cache.rows(), size)


def test_a_shard_truncated_while_open_is_refused(copy, monkeypatch):
    """A file that shrinks under an open reader gives an error, not old or empty pixels."""
    monkeypatch.setattr(gather, "HELD_RECORD_BYTES", 0)
    cache = resload.open_cache(copy)
    size = cache.sizes[0]
    cache.read([cache.rows()[0]], size)
    path = copy / layout.shard_path(size, 0)
    with path.open("r+b") as file:
        file.truncate(100)
    with pytest.raises(CorruptCacheError, match="ended while it was read"):
        cache.read([15 if 15 in cache.rows() else 14], size)


def test_damaged_tables_are_refused(copy):
    """A flipped bit anywhere in samples.parquet or boxes.parquet is noticed when the cache is opened."""
    rng = np.random.default_rng(1)
    for name in (layout.SAMPLES, layout.BOXES):
        path = copy / name
        sound = path.read_bytes()
        for place in rng.integers(0, len(sound), 25).tolist():
            flipped(path, place, int(rng.integers(8)))
            with pytest.raises(CorruptCacheError, match=f"{name}: this table is missing or damaged"):
                resload.open_cache(copy)
            path.write_bytes(sound)
        path.unlink()
        with pytest.raises(CorruptCacheError, match=name):
            resload.open_cache(copy)
        path.write_bytes(sound)


# -- verify and repair --


def test_verify_finds_and_repair_mends(copy, films):
    """Flipped bits, a truncated and a missing shard, a damaged document: all listed by verify, mended by repair."""
    before = tree(copy)
    cache = resload.open_cache(copy)
    small, large = cache.sizes[0], cache.sizes[-1]
    step = layout.record_bytes(small, cache.dtype.name)
    flipped(copy / layout.shard_path(small, 0), 3 * step + 7, 0)
    flipped(copy / layout.shard_path(small, 0), 5 * step - 1, 0)
    (copy / layout.shard_path(large, 1)).write_bytes(b"short")
    (copy / layout.shard_path(large, 0)).unlink()
    (copy / f"images/{small}/zarr.json").write_text("{}")
    report = resload.verify(copy, progress=False)
    found = {(problem.file, problem.row) for problem in report.problems}
    assert found == {
        (layout.shard_path(small, 0), 3), (layout.shard_path(small, 0), 4), (layout.shard_path(large, 1), None),
        (layout.shard_path(large, 0), None), (f"images/{small}/zarr.json", None),
    }  # fmt: skip
    assert report.records == len(cache) * len(cache.sizes)
    told = next(problem for problem in report.problems if problem.row == 3)
    assert told.id == cache.table["id"].iloc[3]
    assert "the shard says" in told.what
    mended = resload.repair(copy, films, progress=False)
    assert mended.ok
    assert mended.repaired >= 2
    assert tree(copy) == before
    assert resload.verify(copy, progress=False).ok


def test_repair_says_what_it_cannot_mend(copy, films, tmp_path):
    """Without the source, or with another file in its place, the record stays refused and the reason is given."""
    cache = resload.open_cache(copy)
    size = cache.sizes[0]
    row = int(cache.rows()[0])
    flipped(copy / layout.shard_path(size, 0), row * layout.record_bytes(size, cache.dtype.name), 0)
    elsewhere = resload.Catalog(films.table, targets=films.targets, root=tmp_path)
    report = resload.repair(copy, elsewhere, progress=False)
    assert [problem.row for problem in report.problems] == [row]
    assert "source cannot be read" in report.problems[0].what
    shutil.copytree(films.root, tmp_path / "films")
    name = cache.table["path"].iloc[row]
    other = cache.table["path"].iloc[int(cache.rows()[1])]
    shutil.copy(films.root / other, tmp_path / "films" / name)
    changed = resload.Catalog(films.table, targets=films.targets, root=tmp_path / "films")
    assert "no longer the file" in resload.repair(copy, changed, progress=False).problems[0].what
    with pytest.raises(CorruptCacheError):
        resload.open_cache(copy).read([row], size)


def test_repair_tries_quarantined_films_again(copy, films, tmp_path):
    """A film that became readable is made at every size, served, and no longer quarantined."""
    cache = resload.open_cache(copy)
    bad = cache.quarantine["path"].iloc[0]
    good = cache.table["path"].iloc[int(cache.rows()[0])]
    shutil.copytree(films.root, tmp_path / "films")
    shutil.copy(films.root / good, tmp_path / "films" / bad)
    catalog = resload.Catalog(films.table, targets=films.targets, boxes=films.boxes, root=tmp_path / "films")
    report = resload.repair(copy, catalog, progress=False)
    mended = resload.open_cache(copy)
    assert report.repaired == len(mended.sizes)
    assert mended.quarantine.empty
    assert resload.verify(copy, progress=False).ok
    row = mended.table.index[mended.table["path"] == bad][0]
    for size in mended.sizes:
        assert np.array_equal(mended.read([row], size), cache.read([cache.rows()[0]], size))
    assert mended.stats(32)[0] != cache.stats(32)[0]
    assert mended.digest != cache.digest
    resload.build(catalog, copy, mended.sizes, progress=False)


# -- the table, and views --


def test_statistics_are_those_of_the_pixels(cache, cache8):
    """stats: mean and standard deviation on [0, 1] of chosen rows, without reading a pixel."""
    for built in (cache, cache8):
        rows = built.rows()[3:20]
        for size in built.sizes:
            pixels = built.read(rows, size) / np.iinfo(built.dtype).max
            assert np.allclose(built.stats(size, rows), (pixels.mean(), pixels.std()), rtol=1e-12)
    with pytest.raises(ArgumentError, match="at least one"):
        cache.stats(32, [])


def test_rows_by_split_and_condition(cache):
    """rows: by split, query or mask; never quarantined ones; what does not exist is refused with what does."""
    table = cache.table.copy()
    table["split"] = np.where(np.arange(len(table)) % 4 == 0, "val", "train")
    view = cache.with_table(table[["id", "split"]])
    readable = set(cache.rows().tolist())
    assert set(view.rows(split="val").tolist()) == {row for row in readable if row % 4 == 0}
    assert set(view.rows(split="train", where="height > 0").tolist()) == {row for row in readable if row % 4}
    assert view.rows(where=np.arange(len(view)) < 5).max() < 5
    bad = np.flatnonzero(cache.table["status"] == "failed")
    assert bad.size == 1
    assert bad[0] not in view.rows()
    with pytest.raises(ArgumentError, match=r"split='test': there are \['train', 'val'\]"):
        view.rows(split="test")
    with pytest.raises(ArgumentError, match="columns are"):
        view.rows(where="nonsense > 1")
    with pytest.raises(ArgumentError, match="one bool per row"):
        view.rows(where=np.ones(3, bool))
    if "split" not in cache.table:
        with pytest.raises(ArgumentError, match="no splits"):
            cache.rows(split="train")


def test_folds_targets_and_columns_cost_no_pixel_work(cache, monkeypatch):
    """with_table: k folds, a corrected target, a new column; same rows and pixels, no shard opened."""
    monkeypatch.setattr(opened, "Shard", None)
    ids = cache.table["id"]
    fold = pd.DataFrame({"id": ids[::-1], "fold": np.arange(len(ids)) % 5, "quality": 0.5})
    view = cache.with_table(fold)
    assert view.table["fold"].tolist() == (np.arange(len(ids)) % 5)[::-1].tolist()
    assert view.table["id"].tolist() == ids.tolist()
    target = cache.targets[0]
    corrected = cache.with_table(pd.DataFrame({"id": ids.iloc[:3], target: [1.0, 0.0, np.nan]}))
    assert corrected.table[target].iloc[:2].tolist() == [1.0, 0.0]
    assert corrected.table[target].iloc[2:].isna().all()
    assert corrected.targets == cache.targets
    other = view.with_table(pd.DataFrame({"id": ids, "age": np.arange(len(ids))}), targets=("age",))
    assert other.targets == ("age",)
    assert other.table["age"].dtype == np.float32
    assert "fold" not in cache.table


def test_with_table_says_what_did_not_match(cache, caplog):
    """Rows without a match are counted aloud; no match at all, repeats and missing columns are refused."""
    ids = cache.table["id"]
    with caplog.at_level("WARNING", logger="resload"):
        cache.with_table(pd.DataFrame({"id": ids.iloc[:30], "x": 1}))
    assert f"{len(ids) - 30} of {len(ids)} rows have no match" in caplog.text
    with pytest.raises(ArgumentError, match="no row of the given table matches"):
        cache.with_table(pd.DataFrame({"id": ["strange"], "x": [1]}))
    with pytest.raises(ArgumentError, match="values repeat"):
        cache.with_table(pd.DataFrame({"id": [ids[0], ids[0]], "x": [1, 2]}))
    with pytest.raises(ArgumentError, match="not a column of the given table"):
        cache.with_table(pd.DataFrame({"x": [1]}))
    with pytest.raises(ArgumentError, match="'x' is not numeric"):
        cache.with_table(pd.DataFrame({"id": ids, "x": "yes"}), targets=("x",))


def test_select_is_a_view(cache):
    """select: rows in the order given, the same pixels under new row numbers, boxes of these films only."""
    chosen = cache.rows()[[7, 2, 19]]
    view = cache.select(chosen)
    assert view.table["id"].tolist() == cache.table["id"].iloc[chosen].tolist()
    assert np.array_equal(view.read([0, 1, 2], 64), cache.read(chosen, 64))
    assert np.array_equal(view.select([2, 0]).read([0, 1], 64), cache.read(chosen[[2, 0]], 64))
    if cache.boxes is not None:
        assert set(view.boxes["id"]) <= set(view.table["id"])
    assert view.stats(64) == cache.stats(64, chosen)


def test_a_view_pickles_as_its_path(cache):
    """A view travels to a spawned worker: small, and reading the same pixels there."""
    view = cache.select(cache.rows()[5:9])
    again = pickle.loads(pickle.dumps(view))
    assert np.array_equal(again.read([3, 0], 64), view.read([3, 0], 64))
    assert again.targets == view.targets


def test_the_pipeline_makes_the_stored_pixels(cache, films):
    """cache.pipeline, run on a film's file, gives the very pixels that are stored."""
    rows = cache.rows()[:6]
    result = cache.pipeline([films.root / path for path in cache.table["path"].iloc[rows]])
    for size in cache.sizes:
        assert np.array_equal(result.images[size][:, 0].numpy(), cache.read(rows, size))


def test_an_open_cache_outlives_changes_to_its_files(copy, films):
    """Sizes added and targets corrected by another process: a cache that is open serves and counts as before."""
    cache = resload.open_cache(copy)
    flipped_targets = films.table.copy()
    flipped_targets[films.targets[0]] = 1 - flipped_targets[films.targets[0]]
    catalog = resload.Catalog(flipped_targets, targets=films.targets, root=films.root)
    resload.build(catalog, copy, (*cache.sizes, 20), progress=False)
    assert cache.stats(64) == resload.open_cache(copy).stats(64)
    assert np.array_equal(cache.read(cache.rows(), 32), resload.open_cache(copy).read(cache.rows(), 32))
    assert len(resload.open_cache(copy).sizes) == len(cache.sizes) + 1


def test_digest_names_the_content(cache, cache8, films, tmp_path):
    """Two builds of one catalog have one digest; other films another."""
    again = resload.build(films, tmp_path / "again.zarr", cache.sizes, progress=False)
    assert again.digest == cache.digest
    assert cache8.digest != cache.digest


def test_many_threads_read_at_once(cache, monkeypatch):
    """Threads that share a cache, with fewer files kept open than there are shards, never mix records up."""
    monkeypatch.setattr(gather, "HELD_RECORD_BYTES", 0)
    shared = resload.open_cache(cache.path)
    shared._stored.shards._limit = 1
    expected = {size: cache.read(cache.rows(), size) for size in cache.sizes}
    errors = []

    def reading(seed):
        rng = np.random.default_rng(seed)
        for _ in range(60):
            size = cache.sizes[rng.integers(len(cache.sizes))]
            places = rng.integers(0, len(cache.rows()), 9)
            if not np.array_equal(shared.read(cache.rows()[places], size), expected[size][places]):
                errors.append((seed, size))

    threads = [threading.Thread(target=reading, args=(seed,)) for seed in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not errors


# -- size --


def big_cache(folder, count):
    """A cache of many rows whose shards are never touched: manifest and table only, as a build writes them."""
    from resload.size import as_ladder

    sizes = as_ladder((64, 256))
    recipe = {name: value for name, value in resload.Pipeline(1).settings().items() if name != "dtype"}
    manifest = Manifest(sizes, "uint8", count, 1024, recipe, 0, (count,), "f" * 64, "complete")
    rng = np.random.default_rng(0)
    frame = pd.DataFrame({"id": [f"{i // 4:08d}_{i % 4:03d}" for i in range(count)]})
    frame["path"] = "images/" + frame["id"] + ".png"
    frame["patient"] = pd.Series(np.arange(count) // 4, dtype="Int64")
    targets = tuple(f"finding_{i}" for i in range(14))
    for name in targets:
        frame[name] = (rng.random(count) < 0.1).astype("float32")
    record = {
        **{name: 1.0 if kind == "float64" else "x" if kind == "str" else 1 for name, kind in tables.RESULTS.items()},
        "status": "ok", "levels": {str(size): [1, 2, 3] for size in sizes},
    }  # fmt: skip
    results = tables.results_frame([record], sizes)
    results = results.loc[results.index.repeat(count)].reset_index(drop=True)
    results["source_hash"] = [f"{value:032x}" for value in rng.integers(0, 2**62, count)]
    folder.mkdir()
    kept = tables.Kept(targets, (), "number")
    data = tables.as_parquet(pd.concat([frame, results], axis=1), kept)
    (folder / layout.SAMPLES).write_bytes(data)
    manifest = replace(manifest, tables={layout.SAMPLES: (tables.sum_of(data),)})
    (folder / layout.MANIFEST).write_bytes(documents.as_json(documents.root_document(manifest)))


def test_opening_112120_radiographs(tmp_path):
    """A cache of ChestX-ray14's size opens; `benchmarks/cached_loading.py` reports how fast."""
    big_cache(tmp_path / "big.zarr", 112_120)
    begun = time.perf_counter()
    cache = resload.open_cache(tmp_path / "big.zarr")
    assert len(cache) == 112_120
    assert len(cache.rows()) == 112_120
    assert time.perf_counter() - begun < 60, "a hang, not a slow machine"


def test_manifest_documents_are_json(cache):
    """Documents end in a newline, have no absolute path, and say what they are."""
    document = json.loads((cache.path / "zarr.json").read_text())
    assert document["zarr_format"] == 3
    assert document["attributes"]["resload"]["state"] == "complete"
    assert str(cache.path.parent) not in (cache.path / "zarr.json").read_text()


def test_reading_needs_no_catalog_or_sources(cache, tmp_path):
    """A cache that was copied elsewhere is served by a process that never saw the films."""
    shutil.copytree(cache.path, tmp_path / "moved.zarr")
    code = (
        f"import resload; c = resload.open_cache({str(tmp_path / 'moved.zarr')!r}); print(c.read(c.rows(), 64).sum())"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert int(done.stdout) == cache.read(cache.rows(), 64).sum()
