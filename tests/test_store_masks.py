"""Masks in a cache and in batches: the same as straight from the catalog, whatever the way they came there."""

import json
import os
import shutil
import warnings
from itertools import pairwise

import imagecodecs
import numpy as np
import pandas as pd
import pytest
import tensorstore
import torch
import zarr
from hypothesis import given, settings
from hypothesis import strategies as st
from trees import stamps, tree

import resload
from resload.cli import main
from resload.errors import ArgumentError, CacheMismatchError, CorruptCacheError, DecodeError, SizeError
from resload.geometry import Crop, Pad, Rect, Stretch
from resload.masks.areas import coverage
from resload.masks.inside import vanished
from resload.masks.read import film_masks
from resload.masks.runs import encode_runs
from resload.samplers import Fixed, Images, Sampler, Sequential
from resload.size import Native, Size
from resload.store import layout, run
from resload.store.layout import Masks
from resload.testing import write_synthetic

SIZES = (32, 64, (48, 40))
LABELS = ("effusion", "lung", "nodule")
FITS = {
    "stretch": Stretch(),
    "pad": Pad(align="top-left"),
    "pad field": Pad(field=(30.0, 30.0)),
    "crop centre": Crop(),
    "crop content": Crop(to="content"),
}


def blob(shape, seed):
    """A rectangle and an ellipse, no pixel of which is known beforehand."""
    rng = np.random.default_rng(seed)
    y, x = np.ogrid[: shape[0], : shape[1]]
    centre, radii = rng.uniform(0.3, 0.7, 2) * shape, rng.uniform(3, 30, 2)
    mask = ((y - centre[0]) / radii[0]) ** 2 + ((x - centre[1]) / radii[1]) ** 2 < 1
    top, left = rng.integers(0, shape[0] - 9), rng.integers(0, shape[1] - 9)
    mask[top : top + 9, left : left + 7] = True
    return mask


def write_mask(path, mask):
    path.parent.mkdir(exist_ok=True)
    path.write_bytes(imagecodecs.png_encode(mask.astype(np.uint8) * 255))


def with_masks(catalog, shapes):
    """Lungs in files, nodules as one to three run-lengths or known to be none, effusions of the first film alone."""
    rows = []
    for number, (name, shape) in enumerate(zip(catalog.table["id"], shapes, strict=True)):
        if number % 3 != 2:
            path = f"masks/{name}.png"
            write_mask(catalog.root / path, blob(shape, number))
            rows.append({"id": name, "label": "lung", "path": path})
        if number % 4 == 0:
            rows.append({"id": name, "label": "nodule", "rle": "-1"})
        elif number % 4 != 3:
            for one in range(1 + number % 3):
                text = encode_runs(blob(shape, 100 * number + one))
                rows.append({"id": name, "label": "nodule", "rle": text})
    rows.append({"id": catalog.table["id"].iloc[0], "label": "effusion", "rle": "-1"})
    masks = pd.DataFrame(rows).sample(frac=1, random_state=0)
    table = catalog.table.assign(spacing_y=0.2, spacing_x=0.3)
    return resload.Catalog(table, targets=catalog.targets, boxes=catalog.boxes, masks=masks, root=catalog.root)


@pytest.fixture(scope="module")
def films(tmp_path_factory):
    """20 films of two shapes, one of them broken, with masks of three labels."""
    root = tmp_path_factory.mktemp("masked")
    tall = write_synthetic(root, 12, size=(150, 120), seed=1).scan(progress=False)
    wide = write_synthetic(root / "wide", 8, size=(120, 138), seed=2, broken=0).scan(progress=False)
    moved = wide.table.assign(id="w" + wide.table["id"], path="wide/" + wide.table["path"])
    both = resload.Catalog(pd.concat([tall.table, moved], ignore_index=True), targets=tall.targets, root=root)
    return with_masks(both, [(150, 120)] * 12 + [(120, 138)] * 8)


def sound(films):
    """The films that are whole, for those who read files."""
    return films.select("id != 'film_00011'")


def build(catalog, path, sizes=SIZES, **options):
    return resload.build(catalog, path, sizes, progress=False, **options)


def copied(catalog, root):
    """The same catalog with its films and masks in another folder, which may be changed."""
    shutil.copytree(catalog.root, root)
    return changed(catalog, root=root)


def changed(catalog, **parts):
    kept = {"targets": catalog.targets, "boxes": catalog.boxes, "masks": catalog.masks, "root": catalog.root}
    return resload.Catalog(parts.pop("table", catalog.table), **kept | parts)


@pytest.fixture(scope="module")
def cache(films, tmp_path_factory):
    return build(films, tmp_path_factory.mktemp("masks") / "c.zarr")


@pytest.fixture(scope="module", params=FITS)
def fitted(request, films, tmp_path_factory):
    """A cache of each fit."""
    return build(films, tmp_path_factory.mktemp("fit") / "c.zarr", fit=FITS[request.param])


def truth(catalog, name, shape):
    """(masks or None, known) of one film, straight from the catalog's table."""
    own = catalog.masks[catalog.masks["id"] == name]
    return film_masks(own, LABELS, shape, catalog.root)


def expected(cache, catalog, row, size):
    """The coverage that a row must have at a size: from the film's masks and from where the film lies."""
    one = cache.table.iloc[row]
    shape = int(one["height"]), int(one["width"])
    masks, known = truth(catalog, one["id"], shape)
    place = cache.facts(np.array([row]), Size(*size))[0, 6:14].astype(int).tolist()
    out = np.zeros((len(LABELS), *size), np.uint8)
    for mask, into in zip(masks, out, strict=True):
        if mask is not None:
            into[:] = coverage(mask, Rect(*place[:4]), Rect(*place[4:]), size)
    return out, known


# -- what is stored --


def test_stored_sizes_are_the_coverage_of_the_films_masks(fitted, films):
    """Under every fit, at every level: exactly what the masks cover; several rows of one label united."""
    rows = fitted.rows()
    assert fitted.masks == LABELS
    for size in fitted.sizes:
        found = fitted.read_masks(rows, size)
        assert (found.dtype, found.shape) == (np.uint8, (len(rows), 3, *size))
        for row, one in zip(rows, found, strict=True):
            np.testing.assert_array_equal(one, expected(fitted, films, row, size)[0])
    assert found.any(axis=(2, 3)).sum() > 12


def test_unknown_is_told_from_empty(cache, films):
    """Columns: the film's pixels inside, 0 where somebody found nothing, NaN where nobody looked."""
    rows = cache.rows()
    table = cache.table.iloc[rows]
    known = cache.masks_known(rows)
    for row, told in zip(rows, known, strict=True):
        one = cache.table.iloc[row]
        masks, expected_known = truth(films, one["id"], (one["height"], one["width"]))
        np.testing.assert_array_equal(told, expected_known)
        areas = [np.nan if mask is None else mask.sum() for mask in masks]
        np.testing.assert_array_equal([one[f"mask_area_{label}"] for label in LABELS], areas)
    assert (table["mask_area_nodule"] == 0).any()
    assert table["mask_area_nodule"].isna().any()
    assert (cache.table["masks_stamp"] != "").tolist() == (cache.table["status"] == "ok").tolist()
    assert cache.table["mask_area_lung"].dtype == np.float32


def test_quarantined_films_have_no_masks(cache):
    """Unknown, and refused like their pixels."""
    (bad,) = np.flatnonzero(cache.table["status"] == "failed")
    assert not cache.masks_known(np.array([bad])).any()
    with pytest.raises(ArgumentError, match="has no pixels"):
        cache.read_masks([bad], 32)


def test_other_readers_see_the_same(cache):
    """zarr and tensorstore open masks/* without a warning and see what `read_masks` gives."""
    rows = cache.rows()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        group = zarr.open_group(str(cache.path), mode="r")
        assert sorted(group["masks"].array_keys()) == sorted(str(size) for size in cache.sizes)
        for size in cache.sizes:
            name = f"masks/{size}"
            array = group[name]
            assert array.metadata.dimension_names == ("radiograph", "label", f"y_{size.height}", f"x_{size.width}")
            spec = {"driver": "zarr3", "kvstore": {"driver": "file", "path": str(cache.path / name)}}
            other = tensorstore.open(spec, read=True).result().read().result()
            np.testing.assert_array_equal(array[:], other)
            np.testing.assert_array_equal(array[:][rows], cache.read_masks(rows, size))


def test_a_cache_without_masks(films, tmp_path):
    """No arrays, no columns, no group; asking is refused with what to do."""
    cache = build(changed(films, masks=None), tmp_path / "c.zarr", (32,))
    assert cache.masks == ()
    assert not (cache.path / "masks").exists()
    assert not [name for name in cache.table if name.startswith("mask")]
    with pytest.raises(ArgumentError, match="this cache has no masks; build it from a Catalog with masks="):
        cache.read_masks(cache.rows(), 32)
    with pytest.raises(ArgumentError, match=r"this data has none; give them to the Catalog \(masks=\)"):
        resload.Loader(cache, size=32, batch_size=4, masks=True)


def test_the_mask_digest_is_in_the_digest(films, tmp_path):
    """Other masks, another digest, the same fingerprint: that is of the images."""
    first = build(films, tmp_path / "a.zarr", (32,))
    table = films.masks.assign(rle=films.masks["rle"].mask(films.masks["rle"] == "-1", "5 9"))
    second = build(changed(films, masks=table), tmp_path / "b.zarr", (32,))
    assert first.digest != second.digest
    attributes = [json.loads((one.path / "zarr.json").read_text())["attributes"]["resload"] for one in (first, second)]
    assert attributes[0]["masks"] == list(LABELS)
    assert attributes[0]["fingerprint"] == attributes[1]["fingerprint"]


def test_many_masks_do_not_overflow_the_sums():
    """Masks that cover everything, higher in all than one image may be."""
    pixels = np.full((3, 30000, 2), 255, np.uint8)
    assert run.record_sums(pixels) == (3 * 30000 * 2 * 255, 3 * 30000 * 2 * 255**2)


# -- other sizes --


@settings(max_examples=25, deadline=None)
@given(st.data())
def test_other_sizes_are_areas_of_areas(fitted, films, data):
    """Whole parts of a stored size to its roundings; any other to what a pixel of the level can hide."""
    side = data.draw(st.integers(3, 64))
    rows = fitted.rows()[data.draw(st.integers(0, 15)) :][:2]
    found = fitted.read_masks(rows, side)
    for row, one in zip(rows, found, strict=True):
        exact, _ = expected(fitted, films, row, (side, side))
        assert one.any(axis=(1, 2)).tolist() == exact.any(axis=(1, 2)).tolist()
        assert ((one > 0) >= (exact > 0)).all(), "any overlap errs to the side of inside"
        for mine, true in zip(one.astype(float), exact.astype(float), strict=True):
            assert abs(mine.sum() - true.sum()) <= 0.03 * true.sum() + 255


@pytest.mark.parametrize("side", [16, 8, 4])
def test_halves_of_a_level_are_exact(cache, films, side):
    """Where pixels nest: within 1.5 of 255 of the direct coverage."""
    for row in cache.rows():
        found = cache.read_masks([row], side)[0].astype(int)
        assert np.abs(found - expected(cache, films, row, (side, side))[0]).max() <= 1.5


def test_a_crop_is_served_by_a_level_that_shows_it(films, tmp_path):
    """(48, 40) is the smallest level that is no smaller than 36 x 36, and shows another part of a film."""
    cache = build(films, tmp_path / "c.zarr", fit="crop")
    row = cache.rows()[0]
    np.testing.assert_allclose(
        cache.read_masks([row], 16)[0].astype(int), expected(cache, films, row, (16, 16))[0], atol=2
    )
    assert cache.read_masks([row], 36).shape == (1, 3, 36, 36)
    with pytest.raises(SizeError, match="shows another part of a film"):
        cache.read_masks([row], (20, 40))


def test_larger_sizes_are_refused_as_those_of_images_are(cache):
    """Unless asked for; then areas of areas."""
    row = cache.rows()[:1]
    with pytest.raises(SizeError, match="larger than what is stored"):
        cache.read_masks(row, 100)
    with pytest.raises(SizeError, match="no native level"):
        cache.read_masks(row, "native")
    large = cache.read_masks(row, 128, allow_upsample=True)
    np.testing.assert_array_equal(large, cache.read_masks(row, 64).repeat(2, 2).repeat(2, 3))


def test_damaged_masks_are_never_served(films, tmp_path):
    """A flipped bit in a record of masks is an error that names the shard."""
    cache = build(films, tmp_path / "c.zarr", (32,))
    shard = cache.path / layout.shard_path(Masks(32, 32), 0)
    data = bytearray(shard.read_bytes())
    data[6] ^= 4
    shard.write_bytes(data)
    with pytest.raises(CorruptCacheError, match=r"masks/32x32.*record 0 is damaged"):
        resload.open_cache(cache.path).read_masks([0], 32)


# -- building further --


@pytest.mark.parametrize("threads", [1, 4])
def test_threads_change_no_byte(films, cache, tmp_path, threads):
    """One thread or four: byte for byte the same cache."""
    build(films, tmp_path / "c.zarr", threads=threads)
    assert tree(tmp_path / "c.zarr") == tree(cache.path)


def same(cache, whole, films):
    """Whether every mask and what is known of it is that of another cache of the same films."""
    rows, others = cache.rows(), {name: row for row, name in enumerate(whole.table["id"])}
    there = np.array([others[name] for name in cache.table["id"].iloc[rows]])
    for size in cache.sizes:
        np.testing.assert_array_equal(cache.read_masks(rows, size), whole.read_masks(there, size))
    np.testing.assert_array_equal(cache.masks_known(rows), whole.masks_known(there))
    assert resload.verify(cache.path, progress=False).ok


def test_masks_that_come_later(films, cache, tmp_path):
    """Added to a cache without them: no image's shard is touched, and the masks are those of a cache built at once."""
    bare = build(changed(films, masks=None), tmp_path / "c.zarr")
    before = stamps(bare.path / "images")
    later = build(films, tmp_path / "c.zarr")
    after = stamps(later.path / "images")
    assert {name: one for name, one in before.items() if "/c/" in name} == {
        name: one for name, one in after.items() if "/c/" in name
    }
    assert later.masks == LABELS
    same(later, cache, films)


def test_sizes_rows_and_both(films, cache, tmp_path):
    """Appended films and added sizes bring their masks; a partial row group is made again with its old records."""
    first = films.select(np.arange(9))
    begun = build(first, tmp_path / "c.zarr", (32,))
    assert begun.masks == ("effusion", "lung", "nodule")
    build(films, tmp_path / "c.zarr", (32,))
    grown = build(films, tmp_path / "c.zarr", SIZES)
    same(grown, cache, films)
    before = stamps(grown.path)
    build(films, tmp_path / "c.zarr", SIZES)
    assert stamps(grown.path) == before, "the same build again touches nothing"


def test_masks_and_rows_that_come_together(films, cache, tmp_path):
    """A cache without masks gets new films and masks of all of them in one build."""
    build(changed(films, masks=None).select(np.arange(9)), tmp_path / "c.zarr", (32,))
    same(build(films, tmp_path / "c.zarr", SIZES), cache, films)


@pytest.mark.parametrize("begin", ["nothing", "images", "half"])
def test_an_interrupted_build_goes_on_to_the_same_bytes(films, tmp_path, monkeypatch, begin):
    """Stopped in the middle of a begin, of a widen and of an append: finished, it is the uninterrupted one."""
    starts = {"nothing": None, "images": changed(films, masks=None), "half": films.select(np.arange(9))}
    for name in ("a.zarr", "b.zarr"):
        if starts[begin] is not None:
            build(starts[begin], tmp_path / name)
    real, made = run.make_record, []

    def failing(sources, item):
        made.append(item.row)
        if len(made) == 18 if begin != "half" else len(made) == 9:
            raise OSError("the power failed")
        return real(sources, item)

    monkeypatch.setattr(run, "make_record", failing)
    with pytest.raises(OSError, match="the power failed"):
        build(films, tmp_path / "a.zarr", threads=1)
    monkeypatch.undo()
    build(films, tmp_path / "a.zarr")
    build(films, tmp_path / "b.zarr")
    assert tree(tmp_path / "a.zarr") == tree(tmp_path / "b.zarr")


def test_an_unfinished_cache_opens_with_partial(films, tmp_path, monkeypatch):
    """Masks of what is there; what is pending is unknown."""
    real = run.make_record

    def failing(sources, item):
        if item.row == 17:
            raise OSError("the power failed")
        return real(sources, item)

    monkeypatch.setattr(run, "make_record", failing)
    with pytest.raises(OSError, match="the power failed"):
        build(films, tmp_path / "c.zarr", (32,), threads=1)
    cache = resload.open_cache(tmp_path / "c.zarr", partial=True)
    assert (cache.table["status"] == "pending").sum() == 4
    assert not cache.masks_known(np.arange(16, 20)).any()
    assert cache.read_masks(cache.rows(), 32).any()


# -- what must not change --


def test_changed_masks_are_refused(films, tmp_path):
    """Other run-lengths, another file, a mask more or less: refused, naming the film."""
    mine = copied(films, tmp_path / "films")
    build(mine, tmp_path / "c.zarr", (32,))
    before = tree(tmp_path / "c.zarr")
    name = films.table["id"].iloc[1]
    masks = mine.masks
    edited = masks.assign(rle=masks["rle"].mask((masks["id"] == name) & masks["rle"].notna(), "1 2"))
    fewer = masks[masks["id"] != name]
    unseen = films.table["id"].iloc[3]
    more = pd.concat([masks, pd.DataFrame([{"id": unseen, "label": "nodule", "rle": "-1"}])])
    for table, film in ((edited, name), (fewer, name), (more, unseen)):
        with pytest.raises(CacheMismatchError, match=rf"1 sources differ .*\(first: the masks of {film}\)"):
            build(changed(mine, masks=table), tmp_path / "c.zarr", (32,))
    write_mask(mine.root / f"masks/{name}.png", blob((150, 120), 999))
    for check in ("stamp", "hash"):
        with pytest.raises(CacheMismatchError, match=f"the masks of {name}"):
            build(mine, tmp_path / "c.zarr", (32,), check=check)
    assert tree(tmp_path / "c.zarr") == before
    build(mine, tmp_path / "c.zarr", (32,), check="none")
    with pytest.raises(CacheMismatchError, match=f"the masks of {name} have changed since they were cached"):
        build(mine, tmp_path / "c.zarr", (32, 48), check="none")


def test_masks_with_a_new_time_or_gone_are_no_change(films, tmp_path):
    """As with films: a new time alone is no change, and files that are gone are not missed until they are needed."""
    mine = copied(films, tmp_path / "films")
    build(mine, tmp_path / "c.zarr", (32,))
    before = tree(tmp_path / "c.zarr")
    for path in (mine.root / "masks").iterdir():
        os.utime(path, (1, 1))
    build(mine, tmp_path / "c.zarr", (32,))
    shutil.rmtree(mine.root / "masks")
    build(mine, tmp_path / "c.zarr", (32,))
    assert tree(tmp_path / "c.zarr") == before
    with pytest.raises(DecodeError, match="mask 'lung' of film"):
        build(mine, tmp_path / "c.zarr", (32, 48))
    assert tree(tmp_path / "c.zarr" / "images") == {
        name.removeprefix("images/"): one for name, one in before.items() if name.startswith("images/")
    }


def test_the_same_masks_in_another_order_or_form_are_no_change(films, tmp_path):
    """Rows shuffled, numbers instead of texts, a catalog saved and loaded."""
    build(films, tmp_path / "c.zarr", (32,))
    before = stamps(tmp_path / "c.zarr")
    build(changed(films, masks=films.masks.iloc[::-1]), tmp_path / "c.zarr", (32,))
    films.save(tmp_path / "saved")
    build(resload.Catalog.load(tmp_path / "saved"), tmp_path / "c.zarr", (32,))
    spelled = films.masks.assign(rle=films.masks["rle"].replace("-1", " -1"))
    build(changed(films, masks=spelled), tmp_path / "c.zarr", (32,))
    assert stamps(tmp_path / "c.zarr") == before


@pytest.mark.parametrize("check", ["stamp", "none"])
def test_other_labels_are_refused(films, tmp_path, check):
    """A cache keeps its kinds of masks: a new one would need every record anew."""
    build(films, tmp_path / "c.zarr", (32,))
    extra = pd.concat([films.masks, pd.DataFrame([{"id": films.table["id"].iloc[0], "label": "mass", "rle": "-1"}])])
    with pytest.raises(CacheMismatchError, match="holds masks of effusion, lung, nodule; found masks of mass too"):
        build(changed(films, masks=extra), tmp_path / "c.zarr", (32,), check=check)


def test_a_catalog_without_masks_keeps_those_that_are_there(films, tmp_path):
    """New targets may come from a catalog that knows no masks; new films and sizes may not."""
    build(films.select(np.arange(9)), tmp_path / "c.zarr", (32,))
    bare = changed(films, masks=None)
    cache = build(bare.select(np.arange(9)), tmp_path / "c.zarr", (32,), columns=("view",))
    assert cache.masks == LABELS
    assert cache.read_masks(cache.rows(), 32).any()
    assert "view" in cache.table
    for catalog, sizes in ((bare, (32,)), (bare.select(np.arange(9)), (32, 48))):
        with pytest.raises(CacheMismatchError, match=r"holds masks of .*found a catalog without masks"):
            build(catalog, tmp_path / "c.zarr", sizes)


# -- what cannot be read, and what is damaged --


def test_a_film_whose_mask_cannot_be_read_is_quarantined(films, tmp_path):
    """With the reason, which names the label; on_error="raise" stops. Repair makes it when the mask is there again."""
    mine = copied(films, tmp_path / "films")
    name = films.table["id"].iloc[1]
    path = mine.root / f"masks/{name}.png"
    whole = path.read_bytes()
    status = path.stat()
    path.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(DecodeError, match=f"mask 'lung' of film {name}"):
        build(mine, tmp_path / "raised.zarr", (32,), on_error="raise")
    cache = build(mine, tmp_path / "c.zarr", (32,))
    reasons = cache.quarantine.set_index("id")["reason"]
    assert f"mask 'lung' of film {name}" in reasons[name]
    assert str(tmp_path) not in reasons[name]
    assert len(reasons) == 2
    path.write_bytes(whole)
    os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))
    resload.repair(cache.path, mine, progress=False)
    mended = resload.open_cache(cache.path)
    assert len(mended.quarantine) == 1
    same(mended, build(mine, tmp_path / "whole.zarr", (32,)), mine)


def test_a_mask_of_another_shape_is_quarantined(films, tmp_path):
    """Run-lengths that leave the film: the film goes to quarantine, and the build goes on."""
    name = films.table["id"].iloc[1]
    masks = films.masks
    table = masks.assign(rle=masks["rle"].mask((masks["id"] == name) & masks["rle"].notna(), f"{150 * 120} 9"))
    cache = build(changed(films, masks=table), tmp_path / "c.zarr", (32,))
    assert "run-lengths do not fit the film" in cache.quarantine.set_index("id")["reason"][name]


def test_verify_finds_and_repair_mends_masks(films, cache, tmp_path):
    """A flipped bit, a shard that is gone, a document that is gone: found, and mended to the same bytes."""
    shutil.copytree(cache.path, tmp_path / "c.zarr")
    whole = tree(tmp_path / "c.zarr")
    shard = layout.shard_path(Masks(64, 64), 0)
    data = bytearray((tmp_path / "c.zarr" / shard).read_bytes())
    data[9] ^= 1
    (tmp_path / "c.zarr" / shard).write_bytes(data)
    gone = layout.shard_path(Masks(32, 32), 1)
    (tmp_path / "c.zarr" / gone).unlink()
    (tmp_path / "c.zarr" / "masks/zarr.json").unlink()
    report = resload.verify(tmp_path / "c.zarr", progress=False)
    assert {problem.file for problem in report.problems} == {shard, gone, "masks/zarr.json"}
    assert report.records == len(cache) * 6
    mended = resload.repair(tmp_path / "c.zarr", films, progress=False)
    assert mended.ok
    assert tree(tmp_path / "c.zarr") == whole


def test_repair_without_the_masks_says_so(films, cache, tmp_path):
    """Other masks than the stored ones are not put in their place."""
    shutil.copytree(cache.path, tmp_path / "c.zarr")
    shard = tmp_path / "c.zarr" / layout.shard_path(Masks(64, 64), 0)
    shard.unlink()
    left = resload.repair(tmp_path / "c.zarr", changed(films, masks=None), progress=False)
    assert not left.ok
    assert left.problems[0].what == "its masks are no longer those the cache was built from"
    assert not shard.exists()


# -- loading --


def batches(data, **options):
    with resload.Loader(data, **{"batch_size": 7, "size": 32} | options) as loader:
        return list(loader), loader


@pytest.mark.parametrize("rule", [True, "any", 0.5, 0.25, 1.0])
@pytest.mark.parametrize("size", [32, 64, (48, 40), 20])
def test_batches_hold_the_caches_masks(cache, rule, size):
    """Coverage, or bool by the rule, in the order of `mask_names`; row by row those of `read_masks`."""
    found, loader = batches(cache, size=size, masks=rule, shuffle=True)
    assert loader.mask_names == LABELS
    least = {"any": 1, 0.5: 128, 0.25: 64, 1.0: 255}.get(rule)
    for batch in found:
        stored = cache.read_masks(batch.rows.numpy(), size)
        assert batch.masks.dtype == (torch.uint8 if rule is True else torch.bool)
        np.testing.assert_array_equal(batch.masks.numpy(), stored if rule is True else stored >= least)
        np.testing.assert_array_equal(batch.masks_known.numpy(), cache.masks_known(batch.rows.numpy()))
    assert len(found) == 3


def test_batches_without_masks(cache):
    """None, unless they are asked for."""
    (batch, *_), loader = batches(cache)
    assert (batch.masks, batch.masks_known, loader.mask_names) == (None, None, ())


@pytest.mark.parametrize("rule", ["half", 0, -1.0, 1.5, float("nan")])
def test_wrong_rules_are_refused_at_once(cache, rule):
    """When the loader is made, not when it runs."""
    with pytest.raises(ArgumentError, match="rule must be 'any' or a share"):
        resload.Loader(cache, size=32, batch_size=4, masks=rule)


def by_id(found):
    return {name: (batch.masks[k].numpy(), batch.masks_known[k].tolist()) for batch in found
            for k, name in enumerate(batch.ids)}  # fmt: skip


@pytest.mark.parametrize("size", [32, (48, 40)])
def test_files_and_cache_give_the_same(fitted, films, size):
    """A loader on the catalog: the same masks as the cache that was built with its pipeline, under every fit."""
    readable = sound(films)
    for rule in (True, 0.5):
        first = by_id(batches(fitted, size=size, masks=rule)[0])
        second = by_id(batches(readable, size=size, masks=rule, pipeline=fitted.pipeline)[0])
        assert first.keys() == second.keys()
        for name, (masks, known) in first.items():
            np.testing.assert_array_equal(masks, second[name][0])
            assert known == second[name][1]


def test_nearest_is_the_pixels_centre(films, tmp_path):
    """From files: the film's own mask at the centres of pixels. From a cache: of the largest level, near it."""
    readable = sound(films)
    cache = build(readable, tmp_path / "c.zarr", (25, 75))
    direct = by_id(batches(readable, size=25, masks="nearest", pipeline=cache.pipeline)[0])
    stored = by_id(batches(cache, size=25, masks="nearest")[0])
    shapes = {name: (h, w) for name, h, w in readable.table[["id", "height", "width"]].itertuples(index=False)}
    apart = total = 0
    for name, (masks, _) in direct.items():
        shape = tuple(map(int, shapes[name]))
        y, x = (((np.arange(25) + 0.5) * side / 25).astype(int) for side in shape)
        for mask, found in zip(truth(films, name, shape)[0], masks, strict=True):
            np.testing.assert_array_equal(found, np.zeros((25, 25)) if mask is None else mask[y[:, None], x])
        apart += (stored[name][0] != masks).sum()
        total += masks.sum()
    assert total > 0
    assert apart < 0.1 * total


def test_native_masks(films, tmp_path):
    """From files the film's own masks, at the top left; from a cache those of its largest level, enlarged."""
    readable = sound(films)
    cache = build(readable, tmp_path / "c.zarr", (50, "native"))
    direct, _ = batches(readable, size="native", masks=True, pipeline=cache.pipeline)
    for batch in direct:
        for k, name in enumerate(batch.ids):
            height, width = batch.geometry.shapes[k].tolist()
            for mask, found in zip(truth(films, name, (height, width))[0], batch.masks[k].numpy(), strict=True):
                whole = np.zeros(batch.size, bool)
                whole[:height, :width] = False if mask is None else mask
                np.testing.assert_array_equal(found, whole * 255)
    wanted = by_id(direct)
    shared = total = 0
    for batch in batches(cache, size="native", masks=0.5)[0]:
        assert batch.masks.shape[2:] == batch.images.shape[2:]
        for k, name in enumerate(batch.ids):
            height, width = batch.geometry.shapes[k].tolist()
            mine, true = batch.masks[k, :, :height, :width].numpy(), wanted[name][0][:, :height, :width] > 0
            shared, total = shared + 2 * (mine & true).sum(), total + mine.sum() + true.sum()
    assert shared / total > 0.9


@pytest.mark.parametrize("fit", [Crop(), Pad(field=(30.0, 30.0))])
def test_native_masks_of_what_a_level_does_not_show_are_refused(films, tmp_path, fit):
    """A crop's levels do not hold all of a film: refused when the loader is made."""
    cache = build(films, tmp_path / "c.zarr", (32, "native"), fit=fit)
    with pytest.raises(SizeError, match="no stored masks hold all of a film that native shows"):
        resload.Loader(cache, size="native", batch_size=4, masks=True)
    with pytest.raises(SizeError, match="no stored masks"):
        cache.read_masks(cache.rows(), "native")


def test_a_cache_of_nothing_but_native(films, tmp_path):
    """There is no size in pixels to keep masks at: said at once, and adding one brings them."""
    cache = build(films, tmp_path / "c.zarr", ("native",))
    assert cache.masks == LABELS
    assert cache.masks_known(cache.rows()).any()
    with pytest.raises(SizeError, match="masks are kept at sizes in pixels: add one"):
        resload.Loader(cache, size="native", batch_size=4, masks=True)
    grown = build(films, tmp_path / "c.zarr", (40, "native"))
    row = grown.rows()[0]
    np.testing.assert_array_equal(grown.read_masks([row], 40)[0], expected(grown, films, row, (40, 40))[0])
    assert Native(0, 0) in grown.sizes


def test_views_and_other_tables(cache):
    """A selection, and a table of other targets and splits, keep each row's masks."""
    rows = cache.rows()[::-2]
    view = cache.select(rows)
    np.testing.assert_array_equal(view.read_masks(np.arange(len(view)), 64), cache.read_masks(rows, 64))
    np.testing.assert_array_equal(view.masks_known(np.arange(len(view))), cache.masks_known(rows))
    table = pd.DataFrame({"id": cache.table["id"], "age": np.arange(len(cache)) * 1.0, "split": "train"})
    other = view.with_table(table, targets=["age"])
    found, _ = batches(other, masks=True, split="train")
    for batch in found:
        np.testing.assert_array_equal(batch.masks.numpy(), view.read_masks(batch.rows.numpy(), 32))
    detail, _ = batches(view, masks=True, detail=16)
    assert sum(int(batch.masks.any()) for batch in detail) > 0
    for batch in detail:
        np.testing.assert_array_equal(batch.masks.numpy(), view.read_masks(batch.rows.numpy(), 32))


def test_several_sizes_samplers_threads_and_devices(cache):
    """Masks follow the batch's own size; `to` and `detach`ed copies take them along."""
    found, _ = batches(cache, size=[64, 32], masks=True, threads=4)
    for batch in found:
        assert batch.masks.shape[2:] == (64, 64)
        np.testing.assert_array_equal(batch.masks.numpy(), cache.read_masks(batch.rows.numpy(), 64))
        assert batch.to("cpu", non_blocking=True).masks is not None
        assert batch.to("meta").masks.device.type == batch.to("meta").masks_known.device.type == "meta"
    sampler = Sampler(
        cache, rows=cache.rows(), order=Sequential(), sizes=Fixed(32), budget=Images(5), seed=0, tail="exact"
    )
    with resload.Loader(cache, sampler=sampler, masks="any", threads=1) as loader:
        every = torch.cat([batch.masks for batch in loader])
    np.testing.assert_array_equal(every.numpy(), cache.read_masks(cache.rows(), 32) > 0)


def test_batches_own_their_masks(cache):
    """Kept batches do not change while others are made."""
    found, _ = batches(cache, masks=True)
    copies = [batch.masks.clone() for batch in found]
    again, _ = batches(cache, masks=True)
    assert all(torch.equal(one, two.masks) for one, two in zip(copies, found, strict=True))
    assert all(a.masks.data_ptr() != b.masks.data_ptr() for a, b in pairwise([*found, *again]))


def test_a_bad_mask_stops_a_loader_on_files(films, tmp_path):
    """Naming film, label and file; films without masks asked for are not disturbed."""
    mine = copied(sound(films), tmp_path / "films")
    name = mine.table["id"].iloc[1]
    (mine.root / f"masks/{name}.png").write_bytes(b"no film")
    assert len(batches(mine, pipeline=resload.Pipeline(32))[0]) == 3
    with pytest.raises(DecodeError, match=f"{name}.png: mask 'lung' of film {name}"):
        batches(mine, pipeline=resload.Pipeline(32), masks=True)


# -- what `resload info` says of them --


def areas(mask, source, target):
    """The share of each pixel of `target` that a mask covers, float64: its integral read off at fractions of pixels."""
    integral = np.zeros((mask.shape[0] + 1, mask.shape[1] + 1))
    integral[1:, 1:] = mask.cumsum(0).cumsum(1)
    for start, length, count in zip(source, source[2:], target[2:], strict=False):
        at = start + np.arange(count + 1) * length / count
        first = np.minimum(at.astype(int), len(integral) - 2)
        part = (at - first)[:, None]
        integral = (integral[first] * (1 - part) + integral[first + 1] * part).T
    return np.diff(np.diff(integral, axis=0), axis=1) * target[2] * target[3] / (source[2] * source[3])


def told(capsys, path):
    """The document and the text of `resload info`."""
    assert main(["info", str(path), "--json"]) == 0
    document = json.loads(capsys.readouterr().out)
    assert main(["info", str(path)]) == 0
    return document, capsys.readouterr().out


def test_info_counts_the_masks_that_vanish(fitted, films, capsys):
    """By size, label and rule, as float64 sums without resload's coverage say; with those that a crop cuts off."""
    document, text = told(capsys, fitted.path)
    rows, counted = fitted.rows(), {}
    for size in fitted.sizes:
        for label in LABELS:
            counted[str(size), label] = {"masks": 0, "any": 0, "half": 0}
        for row in rows:
            one = fitted.table.iloc[row]
            place = fitted.facts(np.array([row]), size)[0, 6:14].astype(int).tolist()
            for label, mask in zip(LABELS, truth(films, one["id"], (one["height"], one["width"]))[0], strict=True):
                if mask is not None and mask.any():
                    share = areas(mask, place[:4], place[4:])
                    counts = counted[str(size), label]
                    counts["masks"] += 1
                    counts["any"] += not (share > 1e-9).any()
                    counts["half"] += not (share >= 0.5 - 1e-9).any()
    found = {(one["size"], one["label"]): {"masks": one["masks"], **one["vanish"]} for one in document["vanishing"]}
    assert found == counted
    labels = {one["label"]: one for one in document["masks"]}
    known = fitted.masks_known(rows).sum(axis=0)
    assert [labels[label]["known"] for label in LABELS] == known.tolist()
    assert labels["effusion"] == {"label": "effusion", "known": 1, "empty": 1}
    lines = [" ".join(line.split()) for line in text.splitlines()]
    assert "size masks any overlap area >= 0.5 on disk, all labels" in lines
    nodules = counted["32x32", "nodule"]
    start = f"32x32 nodule {nodules['masks']} {nodules['any']} {nodules['half']} "
    assert sum(line.startswith(start) for line in lines) == 1
    assert "(read from their records)" in text


def test_info_of_a_cache_without_masks(films, tmp_path, capsys):
    """Nothing is said of masks."""
    build(changed(films, masks=None), tmp_path / "c.zarr", (32,))
    document, text = told(capsys, tmp_path / "c.zarr")
    assert (document["masks"], document["vanishing"]) == ([], [])
    assert "masks of" not in text


def test_info_finds_damaged_masks(films, tmp_path, capsys):
    """Exit code 1 and the shard's name."""
    cache = build(films, tmp_path / "c.zarr", (32,))
    shard = cache.path / layout.shard_path(Masks(32, 32), 0)
    shard.write_bytes(shard.read_bytes()[:-3])
    assert main(["info", str(cache.path)]) == 1
    assert "masks/32x32/c/0/0/0/0: its index is damaged" in capsys.readouterr().err


@pytest.mark.real
@pytest.mark.slow
def test_info_of_siims_masks(real_data, tmp_path, capsys):
    """SIIM-ACR's outlines on blank films of 1024 x 1024: as many vanish as resload.masks and float64 sums say."""
    table = pd.read_csv(real_data / "siim" / "train-rle-sample.csv", skipinitialspace=True)
    table.columns = ["id", "rle"]
    blank = imagecodecs.png_encode(np.zeros((1024, 1024), np.uint8))
    ids = table["id"].unique()
    for name in ids:
        (tmp_path / f"{name}.png").write_bytes(blank)
    masks = table.assign(label="pneumothorax", rle=table["rle"].str.strip())
    catalog = resload.Catalog(pd.DataFrame({"id": ids, "path": ids + ".png"}), masks=masks, root=tmp_path)
    sides = (16, 24, 32, 64)
    cache = build(catalog, tmp_path / "c.zarr", sides)
    document, _ = told(capsys, cache.path)
    (label,) = document["masks"]
    assert (label["known"], len(cache.quarantine)) == (len(ids), 0)
    whole = (0, 0, 1024, 1024)
    by_area = dict.fromkeys(sides, 0)
    by_masks = dict.fromkeys(sides, 0)
    for _, rows in masks.groupby("id"):
        (mask,), _ = film_masks(rows, ["pneumothorax"], 1024)
        for side in sides if mask.any() else ():
            by_area[side] += not (areas(mask, whole, (0, 0, side, side)) >= 0.5 - 1e-9).any()
            by_masks[side] += bool(vanished(coverage(mask, whole, (0, 0, side, side), side), 0.5))
    found = {int(one["size"].split("x")[0]): one["vanish"] for one in document["vanishing"]}
    assert {side: one["half"] for side, one in found.items()} == by_area == by_masks
    assert all(one["any"] == 0 for one in found.values())
    assert by_area[16] > by_area[24] > by_area[32] > by_area[64] == 0
