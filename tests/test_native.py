"""The films at their own sizes: stored compressed on one canvas, and served themselves or at any other size."""

import json
import logging
import pickle
import shutil

import numpy as np
import pandas as pd
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image
from test_store_build import kill
from test_store_cache import flipped
from trees import reworded, stamps, tree

import resload
from resload import Catalog, Loader, Pipeline, Size
from resload.cli import main
from resload.errors import (
    ArgumentError,
    CacheMismatchError,
    CatalogError,
    CorruptCacheError,
    DecodeError,
    SizeError,
)
from resload.geometry import Crop, Pad, Stretch
from resload.masks.runs import encode_runs
from resload.pipeline import make
from resload.readers import SourceReader
from resload.samplers import Images, Sampler, Scales
from resload.size import Native, Spacing, as_ladder, as_size
from resload.store import layout, plan
from resload.testing import synthetic_film

NATIVE = as_size("native")
SHAPES = [(90, 70), (64, 100), (120, 60), (33, 41), (100, 100), (57, 99), (80, 80)]
FITS = [
    (Stretch(), "pixel"),
    (Pad(), "pixel"),
    (Pad(0.5, "top-left"), "physical"),
    (Pad(field=(14.0, 12.0)), "pixel"),
    (Crop(), "physical"),
    (Crop("content"), "pixel"),
]


def build(catalog, path, sizes=(64, "native"), **options):
    return resload.build(catalog, path, sizes, progress=False, **options)


def written(folder, shapes=SHAPES, *, bits=8, **columns):
    """(catalog, {id: pixels}): films of random shapes as PNGs, whose pixels are known without resload."""
    folder.mkdir(parents=True, exist_ok=True)
    truth = {}
    for index, shape in enumerate(shapes):
        truth[f"{index:03}"] = synthetic_film(index, size=shape, bits=bits).pixels
        Image.fromarray(truth[f"{index:03}"]).save(folder / f"{index:03}.png")
    names = [f"{name}.png" for name in truth]
    spacing = np.linspace(0.1, 0.2, len(shapes))
    table = pd.DataFrame(
        {"id": list(truth), "path": names, "spacing_y": spacing, "spacing_x": spacing[::-1], **columns}
    )
    return Catalog(table, root=folder), truth


def on_canvas(film, height, width):
    """The film at the top left of zeros."""
    out = np.zeros((height, width), film.dtype)
    out[: film.shape[0], : film.shape[1]] = film
    return out


@pytest.fixture(scope="module", params=[8, 16])
def known(request, tmp_path_factory):
    """(cache at 32 and native, its catalog, {id: pixels}), uint8 and uint16."""
    folder = tmp_path_factory.mktemp("known")
    catalog, truth = written(folder / "films", bits=request.param)
    return build(catalog, folder / "c.zarr", (32, "native")), catalog, truth


@pytest.fixture(scope="module")
def mixed(films, tmp_path_factory):
    """`films` (one of them broken) at 64 and native."""
    return build(films, tmp_path_factory.mktemp("mixed") / "c.zarr")


@pytest.fixture
def copy(mixed, tmp_path):
    shutil.copytree(mixed.path, tmp_path / "copy.zarr")
    return tmp_path / "copy.zarr"


# -- as a size --


def test_native_is_a_size_among_others():
    """One of its kind whatever its canvas, last of a ladder, and found by its name; other text is refused."""
    assert as_size("Native") == as_size(Native(3, 4)) == "native"
    assert as_size("native") != Size(0, 0)
    assert Size(3, 4) != Native(3, 4)
    assert Native(3, 4) != Size(3, 4)
    assert {Native(3, 4): 1}["native"] == 1
    assert str(Native(3, 4)) == "native"
    assert as_ladder(["native", 64, Native(9, 9), 32]) == (Size(32, 32), Size(64, 64), NATIVE)
    assert as_ladder("native") == (NATIVE,)
    assert tuple(pickle.loads(pickle.dumps(Native(3, 4)))) == (3, 4)
    assert as_size(np.array([3, 4])) == Size(3, 4)
    with pytest.raises(SizeError):
        as_size("natives")


# -- the films themselves --


def test_films_come_back_as_they_are(known):
    """Every film, exactly, at the top left of zeros as large as the largest of those that were asked for."""
    cache, _, truth = known
    assert tuple(cache.sizes[-1]) == (120, 100)
    assert cache.dtype == next(iter(truth.values())).dtype
    for rows in (cache.rows(), cache.rows()[[4, 1]], cache.rows()[:1], cache.rows()[:0]):
        films = [truth[name] for name in cache.table["id"].iloc[rows]]
        height = max([1, *(film.shape[0] for film in films)])
        width = max([1, *(film.shape[1] for film in films)])
        found = cache.read(rows, "native")
        assert found.shape == (len(rows), height, width)
        for film, image in zip(films, found, strict=True):
            assert np.array_equal(image, on_canvas(film, height, width))
        assert np.array_equal(cache.read(rows, "native", out=np.full_like(found, 77)), found)
    with pytest.raises(ArgumentError, match="out must be"):
        cache.read([0], "native", out=np.zeros((1, 999, 9), cache.dtype))
    assert cache.serving("native").rmse == 0


def test_statistics_are_over_pixels_of_films(known):
    """As numpy says of the films' pixels; the canvas beside them does not count."""
    cache, _, truth = known
    for rows in (None, cache.rows()[[0, 3]]):
        names = cache.table["id"].iloc[cache.rows() if rows is None else rows]
        values = np.concatenate([truth[name].ravel() for name in names]) / np.iinfo(cache.dtype).max
        np.testing.assert_allclose(cache.stats("native", rows), (values.mean(), values.std()), rtol=1e-9)


def test_other_sizes_and_regions_come_from_the_film(known):
    """A size between levels, a larger one, and regions: what the pipeline makes of the film, and no warning."""
    cache, catalog, truth = known
    rows = cache.rows()
    paths = [catalog.root / f"{name}.png" for name in cache.table["id"].iloc[rows]]
    with pytest.raises(SizeError, match=r"200x150 is larger than what is stored .*allow_upsample"):
        cache.read(rows, (200, 150))
    for size in (Size(40, 30), Size(33, 33), Size(200, 150)):
        served = cache.serving(size, allow_upsample=True)
        assert (served.level, served.rmse, served.worst) == (NATIVE, 0.0, 0.0)
        made = [make(cache.pipeline.with_sizes([size]), path).levels[0] for path in paths]
        assert np.array_equal(cache.read(rows, size, allow_upsample=True), np.stack(made))
    assert cache.serving(20).level == Size(32, 32)
    found = cache.read(rows, (33, 20), region=(0, 5, 33, 30))
    for name, image in zip(cache.table["id"].iloc[rows], found, strict=True):
        part = np.ascontiguousarray(truth[name][:33, 5:35])
        assert np.array_equal(image, resload.resample(part, (33, 20)))
    with pytest.raises(ArgumentError, match="must lie in"):
        cache.read(rows, 40, region=(0, 0, 999, 30))
    with pytest.raises(ArgumentError, match="size in pixels"):
        cache.read(rows, "native", region=(0, 0, 9, 9))


@pytest.mark.parametrize("bits", [8, 16])
@pytest.mark.parametrize(("fit", "aspect"), FITS, ids=str)
@settings(max_examples=4, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_any_size_is_the_build_of_that_size(tmp_path_factory, fit, aspect, bits, data):
    """Whatever the fit: a size served from the films is, bit for bit, what a build at that size stores."""
    folder, side = tmp_path_factory.mktemp("any"), st.integers(20, 130)
    shapes = data.draw(st.lists(st.tuples(side, side), min_size=1, max_size=4))
    size = (data.draw(st.integers(1, 150)), data.draw(st.integers(1, 150)))
    catalog, _ = written(folder / "films", shapes, bits=bits)
    recipe = {"fit": fit, "aspect": aspect, "kernel": data.draw(st.sampled_from(["triangle", "lanczos3"]))}
    native = build(catalog, folder / "n.zarr", "native", **recipe)
    stored = build(catalog, folder / "s.zarr", [size], **recipe)
    assert np.array_equal(
        native.read(native.rows(), size, allow_upsample=True), stored.read(stored.rows(), size, allow_upsample=True)
    )
    assert np.array_equal(native.facts(native.rows(), Size(*size)), stored.facts(stored.rows(), Size(*size)), True)


def test_real_films(real_data, tmp_path):
    """Films of several kinds, 16-bit DICOM among them: native as decoded, any size as built, error 0."""
    paths = [*sorted((real_data / "dicom").glob("*.dcm")), *sorted((real_data / "nih").rglob("*.png"))[:2]]
    table = pd.DataFrame({"id": [f"{k}" for k in range(len(paths))], "path": [str(path) for path in paths]})
    catalog = Catalog(table, root=real_data)
    cache = build(catalog, tmp_path / "c.zarr", (64, "native"))
    stored = build(catalog, tmp_path / "s.zarr", 300)
    assert cache.dtype == np.uint16
    report = resload.verify(cache, sources=len(paths), catalog=catalog, progress=False)
    assert report.ok
    assert report.sources == len(cache.rows()) >= 3
    assert [(level.worst, level.rmse) for level in report.levels if level.size == NATIVE] == [(0, 0)]
    assert np.array_equal(cache.read(cache.rows(), 300), stored.read(stored.rows(), 300))


# -- batches --


@pytest.mark.parametrize("threads", [1, 3])
@pytest.mark.parametrize("dtype", [torch.float32, torch.uint16])
def test_batches_are_as_large_as_their_largest_film(known, threads, dtype):
    """Padded at the right and below with zeros; content and geometry say what is film."""
    cache, _, truth = known
    seen = []
    for batch in Loader(cache, size="native", batch_size=3, shuffle=True, threads=threads, dtype=dtype):
        films = [truth[name] for name in batch.ids]
        height, width = (max(film.shape[axis] for film in films) for axis in (0, 1))
        assert (batch.size, batch.level, batch.expected_rmse) == (Size(height, width), NATIVE, 0.0)
        assert batch.images.shape == (len(films), 1, height, width)
        assert batch.scales == {}
        for film, image, content, spacing in zip(films, batch.images, batch.content, batch.spacing, strict=True):
            top = np.iinfo(film.dtype).max
            stored = image.numpy()[0] if dtype is torch.float32 else image[0].to(torch.int32).numpy()
            scaled = film / np.float32(top) if dtype is torch.float32 else film.astype(np.int32) * (65535 // top)
            np.testing.assert_allclose(stored, on_canvas(scaled, height, width), rtol=1e-6)
            assert content.tolist() == [0, 0, *film.shape]
            assert bool(torch.isfinite(spacing).all())
        maps = batch.geometry.to_source(maps=batch.images.float())
        assert [tuple(one.shape[-2:]) for one in maps] == [film.shape for film in films]
        seen += batch.ids
    assert sorted(seen) == sorted(truth)


def test_native_beside_other_sizes(known):
    """A list of sizes, and Scales in a sampler: every batch has the films too, under "native"."""
    cache, _, truth = known
    sampler = Sampler(cache, sizes=Scales("native", 32), budget=Images(3), tail="exact")
    for loader in (Loader(cache, size=[32, "native"], batch_size=2), Loader(cache, sampler=sampler)):
        for batch in loader:
            largest = tuple(np.max([truth[name].shape for name in batch.ids], axis=0))
            assert batch.scales["native"].shape[-2:] == largest
            assert batch.scales[Size(32, 32)].shape[-2:] == (32, 32)
            assert any(images is batch.images for images in batch.scales.values())


def test_native_of_the_size_of_another(tmp_path):
    """Films that are as large as another size of the batch: both are there."""
    catalog, _ = written(tmp_path / "films", [(64, 64)] * 2)
    cache = build(catalog, tmp_path / "c.zarr", (64, "native"), kernel="area")
    (batch,) = Loader(cache, size=[64, "native"], batch_size=2)
    assert len(batch.scales) == 2
    assert torch.equal(batch.scales["native"], batch.images)


def test_normalization_and_pipelines(known, tmp_path):
    """ "dataset" is `stats`; the saved pipeline makes the loader's tensors, of films of any size."""
    cache, catalog, truth = known
    loader = Loader(cache, size="native", batch_size=3, normalize="dataset", channels=3)
    assert loader.normalization == cache.stats("native")
    loader.pipeline.save(tmp_path / "recipe.json")
    recipe = Pipeline.load(tmp_path / "recipe.json")
    assert recipe == loader.pipeline
    assert recipe.sizes == (NATIVE,)
    for batch in loader:
        paths = [catalog.root / f"{name}.png" for name in batch.ids]
        assert torch.equal(recipe.tensor(paths), batch.images)
    one = recipe.tensor(np.zeros((300, 7), np.uint8))
    assert one.shape == (1, 3, 300, 7)
    result = cache.pipeline([np.full((300, 7), 9, np.uint8), *(catalog.root / f"{name}.png" for name in truth)])
    assert not any(result.errors)
    assert result.images["native"].shape[-2:] == (300, 100)
    assert not result.images["native"][0, 0, :, 7:].to(torch.int32).any()


def test_a_data_set_of_films(known):
    """`torch_dataset`: one film as it is; a batch of them padded to the largest, also in worker processes."""
    cache, _, truth = known
    data = resload.torch_dataset(cache, size="native")
    names = cache.table["id"].iloc[cache.rows()].tolist()
    for index, name in enumerate(names):
        image, _ = data[index]
        np.testing.assert_allclose(image[0], truth[name] / np.iinfo(cache.dtype).max, rtol=1e-6)
    images = [image for image, _ in data.__getitems__([0, 1, 2])]
    largest = np.max([truth[name].shape for name in names[:3]], axis=0)
    assert {tuple(image.shape[1:]) for image in images} == {tuple(largest)}
    again = pickle.loads(pickle.dumps(data))
    assert all(torch.equal(one, other) for one, (other, _) in zip(images, again.__getitems__([0, 1, 2]), strict=True))
    sampler = Sampler(cache, sizes=Scales("native"), budget=Images(3), tail="exact")
    batches = list(torch.utils.data.DataLoader(data, batch_sampler=sampler))
    assert sum(len(images) for images, _ in batches) == len(names)


def test_detail_is_refused(known):
    """Shrinking and enlarging again needs two sizes in pixels."""
    cache, *_ = known
    for sizes in ({"size": "native", "detail": 32}, {"size": 32, "detail": "native"}):
        with pytest.raises(ArgumentError, match="size in pixels"):
            Loader(cache, batch_size=2, **sizes)


def test_from_files_after_a_scan(known):
    """The same batches without a cache once heights and widths are known; before, a refusal that says so."""
    cache, catalog, _ = known
    recipe = Pipeline(32, dtype=str(cache.dtype))
    with pytest.raises(ArgumentError, match="scan the catalog"):
        Loader(catalog, pipeline=recipe, size="native", batch_size=2)
    scanned = catalog.scan(progress=False)
    reader = SourceReader(scanned, recipe)
    rows = {name: row for row, name in enumerate(scanned.table["id"])}
    for batch in Loader(cache, size=["native", 32], batch_size=3):
        chosen = [rows[name] for name in batch.ids]
        (found,) = Loader(reader, size=["native", 32], batch_size=3, rows=chosen)
        assert torch.equal(found.images, batch.images)
        assert torch.equal(found.scales[Size(32, 32)], batch.scales[Size(32, 32)])
        assert torch.equal(found.content, batch.content)
        assert found.level is None


def test_a_film_larger_than_its_catalog_says(tmp_path):
    """From files, an error that names it; in a build, quarantine with what to do."""
    catalog, _ = written(tmp_path / "films", [(40, 40), (50, 50)], height=[40, 44], width=[40, 50])
    catalog = Catalog(catalog.table.assign(bits=8), root=catalog.root)
    reader = SourceReader(catalog, Pipeline(32))
    with pytest.raises(DecodeError, match="larger than the native canvas of 44 x 50"):
        list(Loader(reader, size="native", batch_size=2))
    cache = build(catalog, tmp_path / "c.zarr")
    assert "correct the catalog's height" in cache.quarantine["reason"].iloc[0]
    assert cache.read(cache.rows(), "native").shape == (1, 40, 40)


# -- on disk --


def test_other_readers_open_it(mixed):
    """zarr-python (consolidated, too) and tensorstore: the films on their canvas, without a warning."""
    import tensorstore
    import zarr

    canvas = mixed.sizes[-1]
    opened = zarr.open_group(mixed.path, mode="r", use_consolidated=True)["images/native"]
    assert opened.shape == (len(mixed), *canvas)
    assert zarr.open_group(mixed.path, mode="r")["images/native"].metadata == opened.metadata
    spec = {"driver": "zarr3", "kvstore": {"driver": "file", "path": f"{mixed.path}/images/native/"}}
    theirs = tensorstore.open(spec).result()[...].read().result()
    found = opened[...]
    assert np.array_equal(found, theirs)
    ours = mixed.read(mixed.rows(), "native")
    assert np.array_equal(found[mixed.rows()][:, : ours.shape[1], : ours.shape[2]], ours)
    (bad,) = np.flatnonzero(mixed.table["status"] == "failed")
    assert not found[bad].any()
    assert mixed.table[["height", "width"]].iloc[bad].tolist() == [0, 0]
    for row in mixed.rows().tolist():
        height, width = mixed.table[["height", "width"]].iloc[row]
        assert not found[row, height:].any()
        assert not found[row, :, width:].any()


def test_quarantined_films_are_not_served(mixed):
    """Their records are zeros; asking for one says why there is none."""
    (bad,) = np.flatnonzero(mixed.table["status"] == "failed")
    for size in ("native", 100):
        with pytest.raises(ArgumentError, match="has no pixels"):
            mixed.read([bad], size)
    assert resload.verify(mixed, progress=False).ok


def test_the_bytes_do_not_depend_on_threads_or_steps(films, mixed, tmp_path):
    """One thread or four, at once, or native added later, or before the other size: the same bytes."""
    for threads in (1, 4):
        build(films, tmp_path / f"{threads}.zarr", threads=threads)
        assert tree(tmp_path / f"{threads}.zarr") == tree(mixed.path)
    for first in (64, "native"):
        build(films, tmp_path / f"{first}.zarr", first)
        before = stamps(tmp_path / f"{first}.zarr")
        cache = build(films, tmp_path / f"{first}.zarr")
        after = stamps(tmp_path / f"{first}.zarr")
        assert all(after[name] == stamp for name, stamp in before.items() if "/c/" in name)
        for level in (64, "native"):
            assert np.array_equal(cache.read(cache.rows(), level), mixed.read(mixed.rows(), level))
    now = stamps(mixed.path)
    build(films, mixed.path)
    build(films, mixed.path, ("auto", "native"))
    assert stamps(mixed.path) == now


def test_the_digest_has_it(films, mixed, tmp_path):
    """Another digest with native records than without; the fingerprint, of films and recipe, is the same."""
    plain = build(films, tmp_path / "c.zarr", 64)
    one, other = (layout.read_manifest(cache.path) for cache in (plain, mixed))
    assert one.fingerprint == other.fingerprint
    assert plain.digest != mixed.digest
    assert build(films, tmp_path / "again.zarr").digest == mixed.digest


def test_rows_are_appended(films, mixed, tmp_path):
    """New films fit the canvas: old records are copied, the new ones are theirs, and a new size can come with them."""
    shape = films.scan(progress=False).table[["height", "width"]]
    first = films.select(np.arange(len(films)) % 3 != 1)
    assert tuple(shape.max()) == tuple(first.scan(progress=False).table[["height", "width"]].max())
    build(first, tmp_path / "c.zarr", 64)
    both = build(films, tmp_path / "c.zarr")  # appended, then widened
    build(first, tmp_path / "n.zarr", "native")
    grown = build(films, tmp_path / "n.zarr", "native")
    for cache in (both, grown):
        assert resload.verify(cache, sources=99, catalog=films, progress=False).ok
        by_id = pd.Series(np.arange(len(cache)), cache.table["id"])[mixed.table["id"].iloc[mixed.rows()]]
        assert np.array_equal(cache.read(by_id, "native"), mixed.read(mixed.rows(), "native"))


def test_larger_films_are_not_appended(tmp_path):
    """Refused before any work, with what to do; the cache stays as it is."""
    catalog, _ = written(tmp_path / "films")
    small = catalog.select(np.array([shape[0] < 110 for shape in SHAPES]))
    cache = build(small, tmp_path / "c.zarr")
    before = tree(cache.path)
    for sizes in ((64, "native"), 64):
        with pytest.raises(CacheMismatchError, match=r"canvas is 100 x 100, .* up to 120 x 60; leave"):
            build(catalog, cache.path, sizes)
    assert tree(cache.path) == before


def test_a_recipe_of_another_cache_brings_no_canvas(known, tmp_path):
    """`build(pipeline=cache.pipeline)`: the canvas is that of the films that are built."""
    catalog, _ = written(tmp_path / "films", [(150, 140)])
    cache = resload.build(catalog, tmp_path / "c.zarr", pipeline=known[0].pipeline, progress=False)
    assert tuple(cache.sizes[-1]) == (150, 140)


def test_no_film_at_all(tmp_path):
    """Files of which none can be read: told, with the first."""
    catalog, _ = written(tmp_path / "films", [(40, 40)] * 2)
    for name in catalog.table["path"]:
        (catalog.root / name).write_bytes(b"not a film")
    with pytest.raises(CatalogError, match="none of the 2 files can be read"):
        build(catalog, tmp_path / "c.zarr")


def test_impossible_canvases_are_refused_at_once(tmp_path):
    """Heights that make records no codec takes: before a file is written."""
    catalog, _ = written(tmp_path / "films", [(40, 40)], height=[60000], width=[60000])
    catalog = Catalog(catalog.table.assign(bits=8), root=catalog.root)
    with pytest.raises(ArgumentError, match="can be compressed"):
        build(catalog, tmp_path / "c.zarr")
    assert not (tmp_path / "c.zarr/zarr.json").exists()


@pytest.mark.parametrize("what", ["begin", "widen", "append"])
@pytest.mark.slow
def test_killed_builds_end_in_the_same_bytes(films, tmp_path, what):
    """SIGKILL at random moments, then run again: the bytes of an uninterrupted build."""
    start = None
    if what != "begin":
        start = tmp_path / "start.zarr"
        build(
            films.select(np.arange(len(films)) % 3 != 1) if what == "append" else films,
            start,
            *[64] * (what != "append"),
        )
        shutil.copytree(start, tmp_path / "plain.zarr")
    build(films, tmp_path / "plain.zarr")
    killed = kill(tmp_path, films, kills=5, seconds=0.4, sizes=(64, "native"), start=start)
    assert killed == tree(tmp_path / "plain.zarr")


def test_an_unfinished_cache_shows_what_is_there(films, mixed, tmp_path, monkeypatch):
    """partial=True: films of finished row groups are served."""
    from resload.store import run

    real = run.make_record

    def failing(sources, item):
        if item.row >= 20:
            raise OSError("the power failed")
        return real(sources, item)

    monkeypatch.setattr(run, "make_record", failing)
    with pytest.raises(OSError, match="the power failed"):
        build(films, tmp_path / "c.zarr", threads=1)
    cache = resload.open_cache(tmp_path / "c.zarr", partial=True)
    rows = cache.rows()
    assert 0 < len(rows) <= 16
    for size in ("native", 100):
        assert np.array_equal(cache.read(rows, size), mixed.read(rows, size))
    monkeypatch.setattr(run, "make_record", real)
    build(films, tmp_path / "c.zarr")
    assert tree(tmp_path / "c.zarr") == tree(mixed.path)


def test_damage_is_found_and_mended(copy, films):
    """Flipped bits anywhere in a shard, and a missing one: refused, listed with the film's id, repaired."""
    before = tree(copy)
    path = copy / layout.shard_path(NATIVE, 0)
    sound, rng = path.read_bytes(), np.random.default_rng(0)
    for place in [*rng.integers(0, len(sound), 12).tolist(), 0, len(sound) - 1]:
        flipped(path, place, int(rng.integers(8)))
        report = resload.verify(copy, progress=False)
        (problem,) = report.problems
        assert problem.file == layout.shard_path(NATIVE, 0)
        cache = resload.open_cache(copy)
        if problem.row is not None:
            assert problem.id == cache.table["id"].iloc[problem.row]
        if problem.row is None or problem.row in cache.rows():
            with pytest.raises(CorruptCacheError, match=str(path)):
                cache.read(cache.rows(), "native")
            with pytest.raises(CorruptCacheError, match=str(path)):
                cache.read(cache.rows(), 100)
        path.write_bytes(sound)
    flipped(path, 100, 3)
    (copy / layout.shard_path(NATIVE, 1)).unlink()
    (copy / "images/native/zarr.json").unlink()
    assert len(resload.verify(copy, progress=False).problems) == 3
    assert resload.repair(copy, films, progress=False).ok
    assert tree(copy) == before


def test_films_that_became_readable(copy, films, tmp_path):
    """repair tries quarantined films again: served at their own size, unless they are larger than the canvas."""
    cache = resload.open_cache(copy)
    bad = cache.quarantine["path"].iloc[0]
    shutil.copytree(films.root, tmp_path / "films")
    catalog = Catalog(films.table, targets=films.targets, boxes=films.boxes, root=tmp_path / "films")
    large = np.zeros((300, 300), np.uint8)
    Image.fromarray(large).save(tmp_path / "films" / bad)
    resload.repair(copy, catalog, progress=False)
    assert len(resload.open_cache(copy).quarantine) == 1
    Image.fromarray(large[:90, :77] + np.uint8(5)).save(tmp_path / "films" / bad)
    assert resload.repair(copy, catalog, progress=False).repaired == 2
    mended = resload.open_cache(copy)
    row = int(np.flatnonzero(mended.table["path"] == bad)[0])
    assert np.array_equal(mended.read([row], "native")[0], np.full((90, 77), 5 * 257))
    assert resload.verify(copy, sources=99, catalog=catalog, progress=False).ok


def test_sources_that_are_other_films(copy, films):
    """verify --sources: error 0 of a good cache; a forged record with right checksums is seen, with a limit of 0.52."""
    report = resload.verify(copy, sources=99, catalog=films, progress=False)
    assert report.ok
    (level,) = [level for level in report.levels if level.size == NATIVE]
    assert (level.films, level.worst, level.rmse) == (39, 0.0, 0.0)
    assert level.limit < 1


def test_views_and_pickles(mixed):
    """`select` and pickling: their own rows, their own largest film."""
    table = mixed.table.iloc[mixed.rows()]
    wide = table.index[table["width"] == 184].to_numpy()
    view = mixed.select(wide)
    assert view.read(view.rows(), "native").shape == (len(wide), 160, 184)
    assert view.native_size(np.arange(2)) == NATIVE
    again = pickle.loads(pickle.dumps(view))
    for size in ("native", 100):
        expected = mixed.read(wide, size)
        for cache in (view, again):
            assert np.array_equal(cache.read(cache.rows(), size), expected)
    assert view.stats("native") == mixed.stats("native", wide)
    view.close()
    assert np.array_equal(view.read([0], "native"), mixed.read(wide[:1], "native"))


def test_spacings_need_no_other_canvas(tmp_path):
    """Sizes in millimetres beside native: the films are whole, whatever their size shows."""
    catalog, truth = written(tmp_path / "films")
    cache = build(catalog, tmp_path / "c.zarr", [Spacing(0.4, (30, 40)), "native"])
    found = cache.read(cache.rows(), "native")
    for name, image in zip(cache.table["id"].iloc[cache.rows()], found, strict=True):
        assert np.array_equal(image, on_canvas(truth[name], 120, 100))
    assert cache.serving(Spacing(0.2, (60, 80))).level == NATIVE


def test_boxes_stay_where_they_are(mixed, films):
    """Boxes at native are those of the film."""
    for batch in Loader(mixed, size="native", batch_size=8, boxes=True):
        for name, boxes in zip(batch.ids, batch.boxes, strict=True):
            own = films.boxes[films.boxes["id"] == name]
            expected = np.stack([own["x"], own["y"], own["x"] + own["width"], own["y"] + own["height"]], axis=1)
            np.testing.assert_allclose(boxes.numpy(), expected.reshape(-1, 4), rtol=1e-5)


def test_masks_lie_on_their_films(tmp_path):
    """Masks are kept at sizes in pixels, and served on the canvas of a batch of films: nothing beyond a film."""
    catalog, truth = written(tmp_path / "films", [(64, 64), (96, 80)])
    half = {
        name: np.arange(film.shape[1])[None] * np.ones((len(film), 1)) < film.shape[1] / 2
        for name, film in truth.items()
    }
    rle = [encode_runs(mask, "coco-string") for mask in half.values()]
    masks = pd.DataFrame({"id": list(half), "label": "left", "rle": rle, "rle_format": "coco-string"})
    catalog = Catalog(catalog.table, root=catalog.root, masks=masks)
    cache = build(catalog, tmp_path / "c.zarr")
    for loader in (
        Loader(cache, size="native", batch_size=2, masks=0.5),
        Loader(catalog.scan(progress=False), pipeline=cache.pipeline, size="native", batch_size=2, masks=0.5),
    ):
        (batch,) = loader
        assert batch.masks.shape == (2, 1, 96, 80)
        for name, mask in zip(batch.ids, batch.masks[:, 0].numpy(), strict=True):
            assert np.array_equal(mask, on_canvas(half[name], 96, 80))
    assert resload.verify(cache, sources=2, catalog=catalog, progress=False).ok


def test_a_cache_without_native_says_how_to_add_it(cache):
    """Also when only some argument names it."""
    for ask in (lambda: cache.read([0], "native"), lambda: Loader(cache, size="native", batch_size=2)):
        with pytest.raises(SizeError, match=r"no native level; add it by running resload\.build"):
            ask()


def test_a_manifest_with_an_impossible_canvas(copy):
    """Damaged by hand: refused in words."""
    reworded(copy, native=[3])
    with pytest.raises(CorruptCacheError, match="damaged"):
        resload.open_cache(copy)


def test_the_estimate_counts_compressed_films(mixed):
    """What a build says it takes: less than the canvas, of the order of what it took."""
    step = plan.begin(layout.read_manifest(mixed.path))
    taken = sum(path.stat().st_size for path in mixed.path.rglob("c/**/0") if path.is_file())
    whole = len(mixed) * sum(size.pixels for size in mixed.sizes) * mixed.dtype.itemsize
    assert taken / 2 < step.bytes() < min(2 * taken, whole)


def test_without_a_warning(known, caplog):
    """No size is far from a level where the films themselves are there."""
    cache, *_ = known
    with caplog.at_level(logging.WARNING, "resload"):
        cache.read(cache.rows(), 31)
        cache.read(cache.rows(), 99)
    assert not caplog.records


# -- the command line --


def test_the_command_line(films, tmp_path, capsys):
    """build, info, show and verify with native."""
    path = str(tmp_path / "c.zarr")
    assert main(["build", str(films.root), path, "--sizes", "64", "native", "--json"]) == 0
    document = json.loads(capsys.readouterr().out)
    native = document["sizes"][-1]
    folder = tmp_path / "c.zarr/images/native"
    assert native["size"] == "native"
    assert native["bytes"] == sum(file.stat().st_size for file in folder.rglob("*") if file.is_file())
    cache = resload.open_cache(path)
    spacing = cache.table[["spacing_y", "spacing_x"]].iloc[cache.rows()].median()
    np.testing.assert_allclose(native["mm_per_pixel"], spacing, rtol=1e-6)
    assert main(["info", path, "--size", "native", "100"]) == 0
    assert "native" in capsys.readouterr().out
    small = cache.table.index[cache.table["height"] == 160][:2]
    for sizes in ([], ["--sizes", "native"]):
        picture = tmp_path / "show.png"
        assert main(["show", path, "--out", str(picture), "--rows", *map(str, small), *sizes]) == 0
        assert picture.stat().st_size
        picture.unlink()
    capsys.readouterr()
    assert main(["verify", path, str(films.root), "--sources", "99"]) == 0
    assert "native" in capsys.readouterr().out
