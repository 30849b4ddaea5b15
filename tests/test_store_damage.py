"""Documents that hold their own sum, what an interrupted build left, and what repair and build do about damage."""

import json
import shutil
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from trees import reworded, tree

import resload
from resload import regular
from resload.errors import (
    CacheMismatchError,
    CorruptCacheError,
    DecodeError,
    IncompleteCacheError,
    NewerFormatError,
    NotACacheError,
)
from resload.store import documents, layout, plan, run, sealed, tables
from resload.store.layout import read_manifest
from resload.store.publish import write, write_manifest
from resload.testing import write_synthetic

SIZES = (16, 24)


def built(catalog, path, **settings):
    """A build with nothing said."""
    return resload.build(catalog, path, SIZES, progress=False, threads=1, **settings)


@pytest.fixture(scope="module")
def films(tmp_path_factory):
    """40 films of 8 bit with boxes, the last of them broken."""
    root = tmp_path_factory.mktemp("films")
    catalog = write_synthetic(root, 54, size=48, dicom_share=0).scan(progress=False)
    return catalog.select((catalog.table["bits"] == 8).to_numpy())


@pytest.fixture(scope="module")
def whole(films, tmp_path_factory):
    """Their cache, as an uninterrupted build leaves it."""
    path = tmp_path_factory.mktemp("whole") / "c.zarr"
    built(films, path, shuffle_seed=seed_of(films))
    return path


@pytest.fixture
def copy(whole, tmp_path):
    """A copy to damage."""
    return shutil.copytree(whole, tmp_path / "c.zarr")


def seed_of(catalog):
    """One that puts the broken film into the last row group."""
    last = len(catalog) - 1
    return next(seed for seed in range(999) if last in plan.row_order(len(catalog), seed, 0)[last - last % 16 :])


@pytest.fixture
def begun(films, tmp_path):
    """A build that was interrupted before its last row group."""
    path = tmp_path / "begun.zarr"
    with pytest.raises(DecodeError):
        built(films, path, on_error="raise", shuffle_seed=seed_of(films))
    assert sorted(file.name for file in (path / ".build").glob("rows-*")) == ["rows-0.json", "rows-1.json"]
    return path


def made_rows(monkeypatch):
    """The rows whose films are made from now on."""
    made, real = [], run.make_record
    monkeypatch.setattr(run, "make_record", lambda sources, item: (made.append(item.row), real(sources, item))[1])
    return made


# -- sums --


values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
    max_leaves=8,
)


@settings(max_examples=100, deadline=None)
@given(st.dictionaries(st.text(max_size=3), values, max_size=4), st.data())
def test_a_document_with_its_sum(document, data):
    """It holds after any way of writing the same JSON, and for no other value of any key."""
    whole = sealed.sealed(document, document)
    text = json.dumps(whole, indent=data.draw(st.sampled_from([None, 1, 4])))
    again = dict(reversed(regular.parsed(text.encode()).items()))
    assert sealed.holds(again, again)
    assert again == whole
    key = data.draw(st.sampled_from(sorted(whole)))
    other = {**whole, key: data.draw(values)}
    if json.dumps(other, sort_keys=True) != json.dumps(whole, sort_keys=True):
        assert not sealed.holds(other, other)


@pytest.mark.parametrize(
    ("old", "new", "match"),
    [
        (b'"sum": "', b'"sul": "', "format 1 has no sul"),
        (b'"shuffle_seed": ', b'"shuffle_seed": 1', "differs from the sum in it"),
        (b'"state": "complete"', b'"state": "conplete"', "differs from the sum in it"),
        (b'"format": 1', b'"format": 9', "differs from the sum in it"),
        (b"{\n", b"\xff{\n", "not JSON"),
        (b"{\n", b"\x00{\n", "not JSON"),
        (b"}\n", b"]\n", "not JSON"),
    ],
)
def test_a_damaged_manifest_is_refused(copy, old, new, match):
    """Whatever it says then, with the file's name and what to do."""
    path = copy / "zarr.json"
    data = path.read_bytes()
    assert old in data
    path.write_bytes(data.replace(old, new, 1))
    for look in (resload.open_cache, lambda cache: resload.verify(cache, progress=False)):
        with pytest.raises(CorruptCacheError, match=match) as caught:
            look(copy)
        assert str(caught.value).startswith(f"{path}: the manifest is damaged")
        assert "a copy of the cache" in str(caught.value)


@pytest.mark.parametrize("data", [b"[" * 100_000, b"", b'{"attributes": 1' + b"0" * 5000 + b"}"])
def test_json_that_breaks_readers_is_refused(copy, data):
    """Brackets without end, nothing, and numbers too long to read are errors of ours."""
    (copy / "zarr.json").write_bytes(data)
    with pytest.raises(CorruptCacheError, match="not JSON"):
        resload.open_cache(copy)


@pytest.mark.parametrize(
    "attributes",
    [{"count": float("inf")}, {"per_shard": 0}, {"sizes": 7}, {"recipe": None}, {"tables": []}, {"dtype": "int8"}],
)
def test_impossible_attributes_are_refused(copy, attributes):
    """Also with the sum that belongs to them."""
    reworded(copy, **attributes)
    with pytest.raises(CorruptCacheError, match=r"zarr\.json: the manifest is damaged"):
        resload.open_cache(copy)


def test_other_groups_and_later_formats_are_not_damage(copy):
    """A Zarr group of others, and a manifest whose sum is right and whose format is larger, have their own errors."""
    reworded(copy, format=2)
    with pytest.raises(NewerFormatError, match="written in format 2"):
        resload.open_cache(copy)
    reworded(copy, format=1, zoom=3)
    with pytest.raises(CorruptCacheError, match="or of a later resload: format 1 has no zoom; pip install -U resload"):
        resload.open_cache(copy)
    (copy / "zarr.json").write_text('{"attributes": {"sum": 1}}')
    with pytest.raises(NotACacheError, match="not one that resload wrote"):
        resload.open_cache(copy)


def test_a_cache_from_before_there_was_a_sum(copy, films, whole):
    """It opens, is verified and repaired without one; the next change of its manifest gives it one."""
    older = replace(read_manifest(copy), summed=False)
    write(copy, "zarr.json", documents.as_json(documents.root_document(older)))
    shutil.rmtree(copy / ".build")
    assert "sum" not in json.loads((copy / "zarr.json").read_text())["attributes"]["resload"]
    before = tree(copy)
    assert np.array_equal(resload.open_cache(copy).read([0], 16), resload.open_cache(whole).read([0], 16))
    assert resload.verify(copy, progress=False).ok
    assert resload.repair(copy, films, progress=False).ok
    built(films, copy)
    assert tree(copy) == before
    write_manifest(copy, read_manifest(copy))
    shutil.rmtree(copy / ".build")
    assert tree(copy) == tree(whole)


def test_whitespace_is_accepted_listed_and_mended(copy, films, whole):
    """What a manifest says is the same; the bytes are not those that are written."""
    for name in ("zarr.json", "images/zarr.json", "images/16x16/zarr.json"):
        path = copy / name
        path.write_text(json.dumps(json.loads(path.read_text())))
        assert len(resload.open_cache(copy)) == len(films)
        (problem,) = resload.verify(copy, progress=False).problems
        assert (problem.file, problem.row) == (name, None)
        assert resload.repair(copy, films, progress=False).ok
        assert tree(copy) == tree(whole)


def test_a_fingerprint_that_is_wrong_is_left(copy, films):
    """Repair makes nothing of it: who wrote a manifest with a sum and another fingerprint meant something."""
    reworded(copy, fingerprint="0" * 64)
    (problem,) = resload.repair(copy, films, progress=False).problems
    assert problem.file == "zarr.json"
    assert "fingerprint" in problem.what


# -- tables in the middle of an update --


def test_either_table_is_whole_while_one_replaces_the_other(copy, films, tmp_path):
    """The manifest then knows two sums: the cache opens with the old table and the new one, and with no third."""
    before = (copy / layout.SAMPLES).read_bytes()
    target = films.targets[0]

    def corrected(value):
        table = films.table.assign(**{target: value})
        catalog = resload.Catalog(table, targets=films.targets, boxes=films.boxes, root=films.root)
        other = shutil.copytree(copy, tmp_path / f"{value}.zarr")
        built(catalog, other)
        return (other / layout.SAMPLES).read_bytes()

    after, third, manifest = corrected(1.0), corrected(0.5), read_manifest(copy)
    both = (tables.sum_of(before), tables.sum_of(after))
    write_manifest(copy, replace(manifest, tables={**manifest.tables, layout.SAMPLES: both}))
    for data, value in ((before, None), (after, 1.0)):
        (copy / layout.SAMPLES).write_bytes(data)
        found = resload.open_cache(copy).table[target]
        assert value is None or (found == value).all()
        assert resload.verify(copy, progress=False).ok
    (copy / layout.SAMPLES).write_bytes(third)
    with pytest.raises(CorruptCacheError, match=rf"{layout.SAMPLES}: .* differ from their sum in .*zarr\.json"):
        resload.open_cache(copy)


def test_an_older_state_that_is_whole_is_a_cache(films, tmp_path):
    """Manifest and tables of before an append, with the shards of after it: the films of before, all of them."""
    path = tmp_path / "c.zarr"
    built(films.select(np.arange(20)), path)
    older = {name: (path / name).read_bytes() for name in ("zarr.json", layout.SAMPLES, layout.BOXES)}
    cache = resload.open_cache(path)
    pixels = cache.read(cache.rows(), 24)
    built(films, path)
    for name, data in older.items():
        (path / name).write_bytes(data)
    restored = resload.open_cache(path)
    assert len(restored) == 20
    assert np.array_equal(restored.read(restored.rows(), 24), pixels)


# -- boxes --


@pytest.mark.parametrize("mend", ["repair", "build"])
def test_damaged_boxes_are_written_again_from_the_catalog(copy, films, whole, mend):
    """They are the catalog's, so both verbs have them; the cache is as it was."""
    (copy / layout.BOXES).write_bytes(b"PAR1")
    with pytest.raises(CorruptCacheError, match=r"boxes\.parquet: .*resload\.repair writes it again"):
        resload.open_cache(copy)
    if mend == "repair":
        assert resload.repair(copy, films, progress=False).ok
    else:
        built(films, copy)
    assert tree(copy) == tree(whole)


def test_other_boxes_are_not_put_in_their_place(copy, films):
    """A catalog whose boxes are not those that the manifest knows mends nothing, and nothing is changed."""
    (copy / layout.BOXES).unlink()
    before = tree(copy)
    for boxes in (None, films.boxes.iloc[1:]):
        other = resload.Catalog(films.table, targets=films.targets, boxes=boxes, root=films.root)
        with pytest.raises(CorruptCacheError, match=r"boxes\.parquet"):
            resload.repair(copy, other, progress=False)
        assert tree(copy) == before


# -- what an interrupted build left --


def damaged_rows(path):
    """A digit of what is known of a film."""
    data = path.read_bytes()
    path.write_bytes(data.replace(b'"height": 48', b'"height": 49', 1))


def shortened(path):
    path.write_bytes(path.read_bytes()[:-1])


@pytest.mark.parametrize(
    ("file", "harm"),
    [
        (".build/rows-1.json", damaged_rows),
        (".build/rows-1.json", lambda path: path.write_bytes(b"\xff")),
        (".build/rows-1.json", lambda path: path.write_bytes(b"[]")),
        (".build/rows-1.json", lambda path: shutil.copy(path.with_name("rows-0.json"), path)),
        ("images/16x16/c/1/0/0", shortened),
        ("images/24x24/c/1/0/0", lambda path: path.unlink()),
        ("images/24x24/c/1/0/0", lambda path: shutil.copy(path.parents[2] / "0/0/0", path)),
    ],
)
def test_a_row_group_that_is_not_as_it_was_left_is_made_again(begun, films, whole, monkeypatch, file, harm):
    """Its film's facts, its file or its shards damaged: its rows are pending, and the next build makes them again."""
    intact = resload.open_cache(begun, partial=True).table
    harm(begun / file)
    shown = resload.open_cache(begun, partial=True).table
    assert (shown["status"].iloc[16:] == "pending").all()
    assert shown.iloc[:16].equals(intact.iloc[:16])
    made = made_rows(monkeypatch)
    built(films, begun)
    assert sorted(made) == list(range(16, len(films)))
    assert tree(begun) == tree(whole)


@pytest.mark.parametrize("harm", ["cut", "gone", "an id", "the key"])
def test_a_damaged_plan_is_made_again(begun, films, whole, monkeypatch, harm):
    """Nothing is shown of it; the next build plans as the first did, and keeps what the plan's key still names."""
    path = begun / ".build/plan.json"
    if harm == "cut":
        shortened(path)
    elif harm == "gone":
        path.unlink()
    else:
        document = json.loads(path.read_text())
        document.update({"ids": document["ids"][::-1]} if harm == "an id" else {"key": "0" * 64})
        path.write_text(json.dumps(document))
    with pytest.raises(
        CorruptCacheError, match=r"plan\.json: the plan .* missing or damaged .*run the same build again"
    ):
        resload.open_cache(begun, partial=True)
    with pytest.raises(IncompleteCacheError):
        resload.open_cache(begun)
    made = made_rows(monkeypatch)
    built(films, begun)
    assert min(made) == (32 if harm == "an id" else 0)
    assert tree(begun) == tree(whole)


def test_a_plan_is_not_made_again_from_other_films(begun, films):
    """A catalog of another number of films cannot say what was planned: refused, with both numbers."""
    (begun / ".build/plan.json").unlink()
    fewer = films.select(np.arange(30))
    with pytest.raises(CacheMismatchError, match=rf"plan\.json: .* with the {len(films)} radiographs .*\(found 30\)"):
        built(fewer, begun)


def test_a_cache_that_is_repaired_while_films_wait_to_be_appended(films, tmp_path):
    """Repair writes a shard without the rows that an interrupted append had put there; the append makes them again."""
    path, seed = tmp_path / "c.zarr", seed_of_append(films)
    built(films.select(np.arange(20)), path, shuffle_seed=seed)
    with pytest.raises(DecodeError):
        built(films, path, on_error="raise")
    assert (path / ".build/rows-1.json").exists()
    shard = path / "images/24x24/c/1/0/0"
    shortened(shard)
    assert [problem.row for problem in resload.verify(path, progress=False).problems] == [None]
    with pytest.raises(CorruptCacheError, match=str(shard)):
        built(films, path)
    assert resload.repair(path, films, progress=False).ok
    built(films, path)
    plain = tmp_path / "plain.zarr"
    built(films.select(np.arange(20)), plain, shuffle_seed=seed)
    built(films, plain)
    assert tree(path) == tree(plain)


def seed_of_append(catalog):
    """One that puts the broken film, among those after the first 20, behind the second row group."""
    added = len(catalog) - 20
    return next(seed for seed in range(999) if added - 1 in plan.row_order(added, seed, 1)[12:])
