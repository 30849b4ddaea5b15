"""Any size, from the files, from its level, or from another level: the same radiograph, as near as the table says."""

import logging

import numpy as np
import pandas as pd
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image

import resload
from resload import Catalog, Loader, Pipeline, Size, reference
from resload.cli import main
from resload.composite import Error
from resload.errors import ArgumentError, SizeError
from resload.geometry import Crop, Pad, Stretch
from resload.readers import CacheReader, DetailReader, SourceReader
from resload.resampling import resample
from resload.samplers import Images, Sampler, Scales
from resload.size import Spacing, as_ladder, ladder_for
from resload.testing import synthetic_film

ROUNDING = 1 / 12
"""Variance of what rounding to whole units adds."""
SLACK = Error(rmse=1.5, worst=2.0)
"""The table is a figure to go by: as in test_composite.py, between its cells a film may do so much worse (seen: 150 px
whose crop of 128 served 64, a worst pixel of 4.0 where 2.41 was expected)."""


def films_of(folder, shapes, *, bits=8, spacing=None, boxes=None, **columns):
    """Synthetic radiographs of these shapes as PNGs, and their catalog."""
    folder.mkdir(parents=True, exist_ok=True)
    names = []
    for index, shape in enumerate(shapes):  # reduced, so that their spectrum is a radiograph's down to the pixel
        pixels = resample(synthetic_film(index, size=1024, bits=bits).pixels, shape)
        Image.fromarray(pixels).save(folder / f"{index:03}.png")
        names.append(f"{index:03}.png")
    table = pd.DataFrame({"id": [name[:-4] for name in names], "path": names, **columns})
    if spacing is not None:
        table[["spacing_y", "spacing_x"]] = spacing
    return Catalog(table, root=folder, boxes=boxes)


def rmse_of(found, expected, dtype):
    """In 1/255 of the range."""
    difference = (found.astype(np.float64) - expected.astype(np.float64)) * (255 / np.iinfo(dtype).max)
    return float(np.sqrt(np.mean(difference**2))), float(np.abs(difference).max())


def by_row(loader):
    """{id: image (C, H, W) as numpy}."""
    return {name: image.numpy().copy() for batch in loader for name, image in zip(batch.ids, batch.images, strict=True)}


# -- path independence ------------------------------------------------------------------------------

FITS = [
    (Stretch(), "pixel"),
    (Pad(), "pixel"),
    (Pad(0.5, "top-left"), "physical"),
    (Pad(field=(80.0, 70.0)), "pixel"),
    (Crop(), "physical"),
    (Crop("content"), "pixel"),
]


@pytest.mark.parametrize("bits", [8, 12])
@pytest.mark.parametrize(("fit", "aspect"), FITS, ids=str)
@settings(max_examples=3, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_one_radiograph_by_three_paths(tmp_path_factory, fit, aspect, bits, data):
    """From files and from a cache with the size: the same pixels. From a cache without it: what the table says."""
    folder = tmp_path_factory.mktemp("paths")
    side = st.integers(150, 420)
    shapes = data.draw(st.lists(st.tuples(side, side), min_size=2, max_size=3))
    catalog = films_of(folder / "films", shapes, bits=bits, spacing=(0.25, 0.2))
    level = Size(128, 128) if isinstance(fit, Crop) else Size(128, data.draw(st.integers(96, 128)))
    share = data.draw(st.floats(0.15, 1.0))
    wanted = Size(*(max(8, round(share * side)) for side in level))
    recipe = Pipeline((level, wanted), fit=fit, aspect=aspect, dtype="uint8" if bits == 8 else "uint16")
    from_files = SourceReader(catalog, recipe)
    with_it = resload.build(catalog, folder / "with.zarr", pipeline=recipe, progress=False)
    without = resload.build(catalog, folder / "without.zarr", pipeline=recipe.with_sizes([level]), progress=False)
    served = without.serving(wanted)
    assert served.level == level
    places = [CacheReader(cache).facts(cache.rows(), wanted) for cache in (with_it, without)]
    np.testing.assert_array_equal(*[one[np.argsort(cache.table["id"])] for one, cache in
                                    zip(places, (with_it, without), strict=True)])  # fmt: skip
    for name in catalog.table["id"]:
        row = int(np.flatnonzero(catalog.table["id"] == name)[0])
        files = by_row(Loader(from_files, size=wanted, batch_size=1, rows=[row], dtype=_torch(bits)))[name][0]
        stored, made = (
            cache.read(np.flatnonzero(cache.table["id"] == name), wanted)[0] for cache in (with_it, without)
        )
        assert np.array_equal(files, stored)
        rmse, worst = rmse_of(made, stored, stored.dtype)
        unit = 255 / np.iinfo(stored.dtype).max
        assert rmse <= np.hypot(SLACK.rmse * served.rmse, np.sqrt(2 * ROUNDING) * unit) + 0.02
        assert worst <= SLACK.worst * served.worst + 1.51 * unit + 0.01


def _torch(bits):
    import torch

    return torch.uint8 if bits == 8 else torch.uint16


# -- which level ------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def ladder(tmp_path_factory):
    """Six films of 300 x 240 at (64, 128, 256) and the catalog."""
    folder = tmp_path_factory.mktemp("ladder")
    catalog = films_of(folder / "films", [(300, 240)] * 6, spacing=(0.2, 0.25))
    return catalog, resload.build(catalog, folder / "films.zarr", (64, 128, 256), progress=False)


@pytest.mark.parametrize(
    ("size", "level"),
    [(64, 64), (256, 256), (40, 64), (41, 128), (80, 128), (81, 256), (160, 256), (161, 256), (200, 256),
     ((160, 100), 256), ((80, 20), 128), ((200, 10), 256)],
)  # fmt: skip
def test_the_smallest_level_of_which_it_is_five_eighths(ladder, size, level):
    """Else the largest there is; a stored size is itself and exact."""
    _, cache = ladder
    served = cache.serving(size)
    assert served.level == Size(level, level)
    assert served.exact == (size == level)
    assert (served.rmse == 0) == (served.worst == 0) == served.exact
    batch = next(iter(Loader(cache, size=size, batch_size=2)))
    assert (batch.size, batch.level, batch.expected_rmse) == (served.size, served.level, served.rmse)
    assert batch.images.shape == (2, 1, *served.size)


def test_a_size_near_its_level_is_warned_of_once(ladder, caplog):
    """With the level, the share and the expected error; a well served size says nothing."""
    _, cache = ladder
    cache = resload.open_cache(cache.path)
    with caplog.at_level(logging.WARNING, logger="resload"):
        for _ in range(3):
            cache.read([0], 200)
            cache.read([0], 100)
            cache.read([0], 256)
    (message,) = [record.getMessage() for record in caplog.records]
    assert "200x200 is made from the stored 256x256, more than 5/8 of it: expect an rmse of" in message


def test_enlarging_is_refused_unless_asked(ladder):
    """By read and Loader alike; asked for, it is the level enlarged."""
    _, cache = ladder
    for refused in (lambda: cache.read([0], 300), lambda: Loader(cache, size=(300, 20), batch_size=1)):
        with pytest.raises(SizeError, match=r"is larger than what is stored in .*allow_upsample=True"):
            refused()
    found = cache.read([0], 300, allow_upsample=True)
    assert found.shape == (1, 300, 300)
    (batch, *_) = Loader(cache, size=300, batch_size=1, dtype=_torch(8), allow_upsample=True, rows=[0])
    assert np.array_equal(batch.images[0].numpy(), found)
    assert batch.level == Size(256, 256)


def test_a_crop_of_another_shape_is_on_no_level(tmp_path):
    """What a crop shows follows the target's shape, so only levels of that shape serve it."""
    catalog = films_of(tmp_path / "films", [(300, 240)])
    cache = resload.build(catalog, tmp_path / "c.zarr", (64, (128, 64)), fit="crop", progress=False)
    assert cache.serving((32, 32)).level == Size(64, 64)
    assert cache.serving((32, 16)).level == Size(128, 64)
    with pytest.raises(SizeError, match="48x20 shows another part of a film than the crops stored"):
        cache.serving((48, 20))


def test_statistics_of_a_size_that_is_not_stored_are_its_levels(ladder):
    """normalize="dataset" works at every size."""
    _, cache = ladder
    assert cache.stats(100) == cache.stats(256)
    loader = Loader(cache, size=100, batch_size=6, normalize="dataset")
    (batch,) = loader
    assert loader.normalization == cache.stats(256)
    assert abs(float(batch.images.mean())) < 0.02
    assert abs(float(batch.images.std()) - 1) < 0.05


def test_out_and_threads_and_views(ladder):
    """The caller's memory, several threads and a view of other rows give the same pixels."""
    _, cache = ladder
    rows = np.array([5, 0, 3])
    expected = cache.read(rows, (90, 70))
    out = np.empty((3, 90, 70), np.uint8)
    assert cache.read(rows, (90, 70), out=out) is out
    assert np.array_equal(out, expected)
    assert np.array_equal(cache.select(rows).read([0, 1, 2], (90, 70)), expected)
    loader = Loader(cache, size=(90, 70), batch_size=6, threads=3, dtype=_torch(8))
    found = by_row(loader)
    for image, row in zip(expected, rows, strict=True):
        assert np.array_equal(found[cache.table["id"].iloc[row]][0], image)


# -- auto -----------------------------------------------------------------------------------------------------------


def test_auto_is_one_level_of_eight_fifths(tmp_path, ladder):
    """Every size up to the largest is at most 5/8 of it, one less would not do; never larger than the largest film."""
    assert as_ladder("auto") == ladder_for(Size(512, 512)) == (Size(820, 820),)
    assert 512 <= 820 * 5 / 8 < 512 + 1
    assert as_ladder(["auto:160x100", 64]) == (Size(64, 64), Size(256, 160))
    catalog, _ = ladder
    cache = resload.build(catalog, tmp_path / "auto.zarr", "auto:120", progress=False)
    assert cache.sizes == (Size(192, 192),)
    same = resload.build(catalog, tmp_path / "auto.zarr", "auto:100", progress=False)
    assert same.sizes == cache.sizes
    whole = resload.build(catalog, tmp_path / "whole.zarr", "auto", progress=False)
    assert whole.sizes == (Size(300, 240),)
    again = resload.build(catalog, tmp_path / "whole.zarr", "auto:600", progress=False)
    assert again.sizes == whole.sizes
    assert whole.serving((299, 200)).rmse == 0  # the level is the film: everything is made from all there is
    row = whole.rows()[0]
    film = np.asarray(Image.open(catalog.root / whole.table["path"].iloc[row]))
    exact = reference.resample(film, (211, 177))
    assert np.abs(whole.read([row], (211, 177))[0] - exact).max() <= 0.51


# -- regions ----------------------------------------------------------------------------------------


def test_regions_are_crops_of_the_film_then_resized(tmp_path):
    """From the smallest level with enough pixels of them; a region of the film's own pixels is those pixels."""
    catalog = films_of(tmp_path / "films", [(300, 240)] * 3)
    cache = resload.build(catalog, tmp_path / "c.zarr", [64, 128, (300, 240)], progress=False)
    rows = cache.rows()
    films = [np.asarray(Image.open(catalog.root / path)) for path in cache.table["path"].iloc[rows]]
    native = cache.read(rows, (50, 60), region=(100, 90, 50, 60))
    for found, film in zip(native, films, strict=True):
        assert np.array_equal(found, film[100:150, 90:150])
    regions = [(0, 0, 300, 240), (13, 7, 201, 190), (40, 50, 220, 180)]
    found = cache.read(rows, 70, region=regions)
    for image, film, (y, x, height, width) in zip(found, films, regions, strict=True):
        exact = reference.resample(film[y : y + height, x : x + width], 70)
        assert rmse_of(image, exact, np.uint8)[0] < 1.0
    for few in ((0, 0, 60, 240), (0, 0, 300, 69)):
        with pytest.raises(SizeError, match=r"has \d+x\d+ pixels of what is stored, less than 70x70: .*allow_upsample"):
            cache.read(rows, 70, region=few)
        assert cache.read(rows, 70, region=few, allow_upsample=True).shape == (3, 70, 70)
    for wrong, words in (
        ((0, 0, 301, 10), "must lie in"),
        ((0, 0, 0, 10), "must lie in"),
        ((1, 2, 3), "whole numbers"),
    ):
        with pytest.raises(ArgumentError, match=words):
            cache.read(rows, 70, region=wrong)


# -- several sizes at once, detail, boxes -----------------------------------------------------------


@pytest.mark.parametrize("where", ["cache", "files"])
def test_several_sizes_at_once(ladder, where, monkeypatch):
    """The same radiographs at each size, as a loader of that size gives them; from one decode."""
    catalog, cache = ladder
    data = cache if where == "cache" else SourceReader(catalog, Pipeline(64, dtype="uint8"))
    sizes = [(100, 90), 64, 256]
    alone = [by_row(Loader(data, size=size, batch_size=4)) for size in sizes]
    decoded = []
    from resload.pipeline import cpu

    real = cpu.as_radiograph
    monkeypatch.setattr(cpu, "as_radiograph", lambda *a, **k: (decoded.append(1), real(*a, **k))[1])
    with Loader(data, size=sizes, batch_size=4) as loader:
        batches = list(loader)
    assert len(decoded) == (0 if where == "cache" else len(catalog))
    for batch in batches:
        assert list(batch.scales) == [Size(100, 90), Size(64, 64), Size(256, 256)]
        assert batch.images is batch.scales[batch.size]
        assert batch.size == Size(100, 90)
        for size, single in zip(batch.scales, alone, strict=True):
            for name, image in zip(batch.ids, batch.scales[size], strict=True):
                assert np.array_equal(image.numpy(), single[name])
    sampler = Sampler(data, sizes=Scales((100, 90), 64, 256), budget=Images(4), tail="exact", seed=1)
    for batch in Loader(data, sampler=sampler):
        for name, image in zip(batch.ids, batch.scales[Size(64, 64)], strict=True):
            assert np.array_equal(image.numpy(), alone[1][name])


def test_scales_need_sizes():
    """At least one, no two alike; a value that says what it is."""
    for wrong in ((), (64, (64, 64))):
        with pytest.raises(SizeError, match="Scales needs different sizes"):
            Scales(*wrong)
    assert Scales(64, (3, 4)) == Scales(64, (3, 4)) != Scales(64)
    assert repr(Scales(64, (3, 4))) == "Scales(64x64, 3x4)"
    assert len({Scales(64), Scales(64)}) == 1


@pytest.mark.parametrize("fit", [Stretch(), Pad(0.5), Crop()], ids=str)
@pytest.mark.parametrize("where", ["cache", "files"])
def test_detail_is_shrunk_and_enlarged(tmp_path, fit, where):
    """What the control arm sees: the film at `detail`, enlarged by the recipe's kernel, canvas where canvas is."""
    catalog = films_of(tmp_path / "films", [(300, 240), (200, 320)])
    recipe = Pipeline((32, 96), fit=fit, dtype="uint8", kernel="cubic")
    data = resload.build(catalog, tmp_path / "c.zarr", pipeline=recipe, progress=False)
    small, large = (by_row(Loader(data, size=size, batch_size=2, dtype=_torch(8))) for size in (32, 96))
    source = data if where == "cache" else SourceReader(catalog, recipe)
    (batch,) = Loader(source, size=96, detail=32, batch_size=2, dtype=_torch(8))
    for name, image, place in zip(batch.ids, batch.images, batch.geometry.places.tolist(), strict=True):
        y, x, height, width = place[4:]
        inner = small[name][0]
        row = CacheReader(data).facts(np.flatnonzero(data.table["id"] == name), Size(32, 32))[0, 10:14].astype(int)
        shown = inner[row[0] : row[0] + row[2], row[1] : row[1] + row[3]]
        expected = np.full((96, 96), 128 if isinstance(fit, Pad) else 0)
        exact = reference.resample(shown, (height, width), kernel="cubic")
        expected[y : y + height, x : x + width] = np.clip(np.floor(exact + 0.5), 0, 255)
        assert np.abs(image[0].numpy().astype(int) - expected).max() <= 1
        assert rmse_of(image[0].numpy(), large[name][0], np.uint8)[0] > 1
    assert batch.level == (Size(32, 32) if where == "cache" else None)


def test_detail_is_refused_where_it_means_nothing(ladder):
    """Larger than the size; a reader without a recipe."""
    from loading import NumberReader

    catalog, cache = ladder
    with pytest.raises(ArgumentError, match="detail=64x64 is enlarged to the size that is served; found size=32x64"):
        Loader(cache, size=(32, 64), detail=64, batch_size=2)
    with pytest.raises(ArgumentError, match="detail= needs data with a pipeline"):
        Loader(NumberReader(4), size=64, detail=32, batch_size=2)
    reader = DetailReader(CacheReader(cache), 64, cache.pipeline)
    assert reader.digest() != CacheReader(cache).digest()
    assert len(reader) == len(reader.table) == len(catalog)


BOXES = pd.DataFrame(
    {
        "id": ["000", "000", "001", "001"],
        "label": ["nodule", "mass", "nodule", "nodule"],
        "x": [60.0, 0.0, 0.0, 100.0],
        "y": [75.0, 0.0, 10.0, 290.0],
        "width": [30.0, 240.0, 20.0, 50.0],
        "height": [60.0, 300.0, 20.0, 20.0],
    }
)


@pytest.mark.parametrize("where", ["cache", "files"])
def test_boxes_follow_the_image(tmp_path, where):
    """Mapped, clipped to the film, dropped when too little is seen; labels by name; films without boxes have none."""
    catalog = films_of(tmp_path / "films", [(300, 240)] * 3, boxes=BOXES)
    cache = resload.build(catalog, tmp_path / "c.zarr", (150,), fit="pad", progress=False)
    data = cache if where == "cache" else SourceReader(catalog, cache.pipeline)
    loader = Loader(data, size=150, batch_size=3, boxes=True)
    assert loader.box_names == ("mass", "nodule")
    (batch,) = loader
    found = dict(zip(batch.ids, zip(batch.boxes, batch.box_labels, strict=True), strict=True))
    # pad: 300 x 240 fills 150 x 120, 15 pixels of canvas at either side
    boxes, labels = found["000"]
    assert boxes.tolist() == [[45.0, 37.5, 60.0, 67.5], [15.0, 0.0, 135.0, 150.0]]
    assert labels.tolist() == [1, 0]
    assert found["001"][0].tolist() == [[15.0, 5.0, 25.0, 15.0], [65.0, 145.0, 90.0, 150.0]]
    assert found["002"][0].shape == (0, 4)
    targets = dict(zip(batch.ids, batch.detection_targets(), strict=True))
    assert targets["000"]["labels"].tolist() == [2, 1]
    assert targets["002"]["boxes"].shape == (0, 4)
    (strict,) = Loader(data, size=150, batch_size=3, boxes=0.6)
    assert dict(zip(strict.ids, map(len, strict.boxes), strict=True)) == {"000": 2, "001": 1, "002": 0}
    back = batch.geometry.to_source(boxes=batch.boxes)[batch.ids.index("000")]
    assert back[0].tolist() == [60.0, 75.0, 90.0, 135.0]


def test_boxes_are_refused_where_there_are_none(ladder):
    """With what to do; shares are shares; a batch without them says so."""
    _, cache = ladder
    with pytest.raises(ArgumentError, match="this data has none; give them to the Catalog"):
        Loader(cache, size=64, batch_size=2, boxes=True)
    cache = cache.select(cache.rows())
    cache.boxes = BOXES
    with pytest.raises(ArgumentError, match="the least share of a box that must be seen; found 2"):
        Loader(cache, size=64, batch_size=2, boxes=2)
    batch = next(iter(Loader(cache, size=64, batch_size=2)))
    with pytest.raises(ArgumentError, match=r"ask for them: Loader\(..., boxes=True\)"):
        batch.detection_targets()


# -- from the command line to the batch -------------------------------------------------------------


def test_a_rectangle_a_physical_aspect_and_millimetres_from_the_command_line(tmp_path, capsys, monkeypatch):
    """Built by words, described by info, loaded as asked: spacing says what the words said."""
    monkeypatch.chdir(tmp_path)
    catalog = films_of(tmp_path / "films", [(256, 256), (256, 200)], spacing=(0.4, 0.2))
    catalog.save("catalog")
    lines = {
        "rect.zarr": "--sizes 105x85",
        "body.zarr": "--sizes 64 128 --fit pad --aspect physical --align top-left --pad-value 1",
        "mm.zarr": "--sizes 0.8mm@100x80 50x40",
        "crop.zarr": "--sizes 64 --fit crop --crop-to content",
    }
    for path, words in lines.items():
        assert main(f"build catalog {path} {words}".split()) == 0
    capsys.readouterr()
    assert main(["info", "body.zarr", "--size", "80", "128"]) == 0
    said = capsys.readouterr().out
    assert "fit pad (value 1.0, align top-left), aspect physical" in said
    assert "80x80    128x128" in said.replace("  128", "    128") or "80x80" in said

    (batch,) = Loader(resload.open_cache("rect.zarr"), size=(105, 85), batch_size=2)
    assert batch.images.shape == (2, 1, 105, 85)
    np.testing.assert_allclose(batch.spacing[:, 0], 0.4 * 256 / 105, rtol=1e-6)

    (batch,) = Loader(resload.open_cache("body.zarr"), size=80, batch_size=2)
    sides = dict(zip(batch.ids, batch.geometry.places[:, 4:].tolist(), strict=True))
    assert sides == {"000": [0, 0, 80, 40], "001": [0, 0, 80, 31]}
    np.testing.assert_allclose(batch.spacing[:, 0], batch.spacing[:, 1], rtol=0.02)
    assert (batch.images[:, :, :, 41:] == 1).all()

    millimetres = resload.open_cache("mm.zarr")
    assert millimetres.sizes == (Size(50, 40), Size(100, 80))
    for size, mm in ((Spacing(0.8, (100, 80)), 0.8), (Spacing(1.6, (50, 40)), 1.6), ((25, 20), 3.2)):
        (batch,) = Loader(millimetres, size=size, batch_size=2)
        np.testing.assert_allclose(batch.spacing, mm, rtol=0.05)  # 12.5 pixels of film are 12 or 13
    with pytest.raises(SizeError, match=r"0.5mm@100x80 shows 50 x 40 mm of a film; .* shows 80 x 64 mm"):
        millimetres.read([0], Spacing(0.5, (100, 80)))
    assert main(["build", "catalog", "x.zarr", "--sizes", "64", "--align", "top"]) == 2
    assert "--align and --pad-value go with --fit pad; found --fit stretch" in capsys.readouterr().err
    assert main(["build", "catalog", "x.zarr", "--sizes", "0.8mm@100x80", "0.5mm@100x80"]) == 2
    assert "all sizes of a recipe show the same field of view" in capsys.readouterr().err


def test_films_without_a_spacing_are_quarantined_in_millimetres(tmp_path):
    """Named, with what to do; the others are whole."""
    catalog = films_of(tmp_path / "films", [(100, 100)] * 3, spacing=[(0.4, 0.4), (np.nan, 0.4), (0.2, 0.2)])
    cache = resload.build(catalog, tmp_path / "mm.zarr", Spacing(0.5, (64, 64)), progress=False)
    assert cache.quarantine["id"].tolist() == ["001"]
    assert "its spacing is not known" in cache.quarantine["reason"].iloc[0]
    (batch,) = Loader(cache, size=64, batch_size=2)
    np.testing.assert_allclose(batch.spacing, 0.5, rtol=0.02)


def test_stretch_that_distorts_many_films_is_said(tmp_path, caplog):
    """At build, from the files and by info; not where shapes are kept."""
    catalog = films_of(tmp_path / "films", [(128, 128)] * 3, spacing=(0.4, 0.3))
    with caplog.at_level(logging.WARNING, logger="resload"):
        cache = resload.build(catalog, tmp_path / "a.zarr", (64,), progress=False)
        assert "fit='stretch' changes the shape of 100 % of these films" in caplog.text
        caplog.clear()
        resload.build(catalog, tmp_path / "b.zarr", (64,), fit="pad", aspect="physical", progress=False)
        resload.build(catalog, tmp_path / "c.zarr", [(64, 48)], progress=False)  # the bodies' shape
        assert not caplog.text
        SourceReader(catalog.scan(progress=False), Pipeline([(48, 64)], dtype="uint8"))
        assert "changes the shape of 100 %" in caplog.text
    assert cache.pipeline.distorted(np.array([[128, 128, 0.4, 0.3, 0, 0, 128, 128, np.nan]])) == 1.0
    with pytest.raises(ArgumentError, match="aspect='physical' keeps the body's shape, fit='stretch' does not"):
        Pipeline(64, aspect="physical")


# -- where pixel arithmetic runs on a device --


@pytest.mark.parametrize("fit", ["stretch", "pad"])
@pytest.mark.parametrize("bits", [8, 12])
def test_levels_travel_and_are_resized_where_they_arrive(tmp_path, monkeypatch, fit, bits):
    """The device's way, run on the CPU: what the CPU's own way gives, but for a unit where a rounding is undecided."""
    catalog = films_of(tmp_path / "films", [(300, 240), (300, 240), (210, 320)], bits=bits)
    cache = resload.build(catalog, tmp_path / "c.zarr", (128,), fit=fit, progress=False)
    plain = by_row(Loader(cache, size=(70, 60), batch_size=2, channels=2, normalize=(0.5, 0.25)))
    monkeypatch.setattr("resload.making.works_late", lambda device: True)
    loader = Loader(cache, size=[(70, 60), 128], batch_size=2, channels=2, normalize=(0.5, 0.25))
    level, resized = (loader.reader.grain(size) for size in (Size(128, 128), Size(70, 60)))
    assert loader._maker.grain([Size(70, 60)]) == level > resized
    unit = 4 / np.iinfo(cache.dtype).max
    for batch in loader:
        assert batch.scales[Size(128, 128)].shape == (len(batch), 2, 128, 128)
        for name, image in zip(batch.ids, batch.images, strict=True):
            off = np.abs(image.numpy() - plain[name])
            assert off.max() <= (unit if bits == 8 else 10 * unit) * 1.001
            assert (off > unit * 1e-3).mean() < (0.01 if bits == 8 else 0.5)
