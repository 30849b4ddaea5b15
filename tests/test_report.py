"""`resolution_report`: numbers that are known beforehand, of films made for it."""

import json
import math
import shutil
import sys
from itertools import pairwise

import imagecodecs
import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

import resload
from resload import Catalog, reference
from resload.cli import main
from resload.errors import ArgumentError, CatalogError, MissingPackageError
from resload.geometry import Crop, Pad
from resload.masks.runs import encode_runs
from resload.report.detail import Compared, grown
from resload.report.lesions import BoxSides, lesion_sizes
from resload.report.numbers import plain, psnr, psnr_spread, spread
from resload.testing import synthetic_film, write_synthetic


def waves(shape, period, *, depth=0.2):
    """A film of waves in y and x, `period` pixels long, on [0, 1]."""
    y, x = (np.cos(2 * np.pi * (np.arange(side) + 0.5) / period) for side in shape)
    return 0.5 + depth * (y[:, None] + x)


def noise(shape, *, depth=0.1):
    return np.clip(0.5 + depth * np.random.default_rng(1).standard_normal(shape), 0, 1)


def catalog_of(folder, pictures, *, spacing=(0.2, 0.2), boxes=None, bits=8):
    """Films with these pixels, given on [0, 1]; boxes: (film, label, x, y, width, height)."""
    folder.mkdir(parents=True, exist_ok=True)
    names = [f"film{i}" for i in range(len(pictures))]
    for name, picture in zip(names, pictures, strict=True):
        full = 2**bits - 1
        pixels = np.rint(picture * full).astype(np.uint8 if bits == 8 else np.uint16)
        (folder / f"{name}.png").write_bytes(imagecodecs.png_encode(pixels))
    table = pd.DataFrame({"id": names, "path": [f"{name}.png" for name in names], "bits": bits})
    if spacing is not None:
        table["spacing_y"], table["spacing_x"] = spacing
    if boxes is not None:
        columns = ["id", "label", "x", "y", "width", "height"]
        boxes = pd.DataFrame([(names[film], *rest) for film, *rest in boxes], columns=columns)
    return resload.Catalog(table, boxes=boxes, root=folder)


def report_of(tmp_path, pictures, sizes, *, source=True, recipe=None, **about):
    catalog = catalog_of(tmp_path / "films", pictures, **about)
    cache = resload.build(catalog, tmp_path / "cache", sizes, progress=False, **(recipe or {}))
    return resload.resolution_report(cache, catalog if source else None, progress=False)


@pytest.fixture(scope="module")
def nodules(tmp_path_factory):
    """14 synthetic films with their catalog and a cache; sides and spacing differ in y and x."""
    folder = tmp_path_factory.mktemp("nodules")
    catalog = write_synthetic(folder / "films", 14, size=(260, 220), seed=4, broken=0)
    cache = resload.build(catalog, folder / "films.zarr", (32, (96, 80), 128), progress=False)
    return catalog, cache


@pytest.fixture(scope="module")
def found(nodules):
    catalog, cache = nodules
    return resload.resolution_report(cache, catalog, progress=False)


# -- findings --


def truth(size):
    """The shorter sides in pixels of every nodule of the 14 films, from their diameters in mm."""
    sides = []
    for index in range(14):
        film = synthetic_film(index, size=(260, 220), seed=4)
        for nodule in film.nodules:
            high = nodule.diameter_mm / film.spacing[0] * size.height / 260
            wide = nodule.diameter_mm / film.spacing[1] * size.width / 220
            sides.append(min(high, wide))
    return np.array(sides)


def test_findings_have_the_pixels_that_their_diameters_say(found):
    """To 1 %: percentiles, shares under 2, 4 and 8 pixels, and how many there are."""
    for one in found.sizes:
        known = truth(one.size)
        every, own = one.lesions
        assert (every.label, own.label) == (None, "nodule")
        assert every.count == len(known) > 10
        expected = np.percentile(known, (5, 25, 50, 75, 95))
        pixels = every.pixels
        np.testing.assert_allclose([pixels.p5, pixels.p25, pixels.median, pixels.p75, pixels.p95], expected, rtol=0.01)
        assert every.under == {few: pytest.approx((known < few).mean()) for few in (2, 4, 8)}
        assert own == resload.report.LesionSize("nodule", every.count, every.pixels, every.under)


def test_findings_are_told_by_label_and_clipped(tmp_path):
    """Each label for itself; a box that leaves the film counts as far as it is in it, one outside not at all."""
    boxes = [(0, "mass", 10, 20, 40, 30), (0, "nodule", 90, 10, 40, 40), (0, "gone", 200, 200, 5, 5)]
    (one,) = report_of(tmp_path, [noise((100, 100))], [50], boxes=boxes).sizes
    assert [(lesion.label, lesion.count) for lesion in one.lesions] == [(None, 2), ("mass", 1), ("nodule", 1)]
    assert one.lesions[1].pixels.median == pytest.approx(15)
    assert one.lesions[2].pixels.median == pytest.approx(5)
    assert one.lesions[0].under == {2: 0.0, 4: 0.0, 8: 0.5}


def test_findings_follow_the_fit(tmp_path):
    """On a padded film both sides shrink alike, on a cropped one the film's shorter side fills the size."""
    boxes = [(0, "mass", 40, 90, 20, 30)]
    for fit, expected in ((Pad(), 10), (Crop(), 20), ("stretch", 15)):
        recipe = {"fit": fit}
        (one,) = report_of(tmp_path / str(fit), [noise((200, 100))], [100], boxes=boxes, recipe=recipe).sizes
        assert one.lesions[0].pixels.median == pytest.approx(expected), fit


def test_another_source_of_sizes_has_its_place(nodules):
    """What boxes answer, anything may: areas' diameters, for example, scaled by the map of each film."""
    _, cache = nodules

    class Diameters:
        names = ("mask",)

        def __call__(self, rows, places):
            scale = np.sqrt(places[:, 6] / places[:, 2] * places[:, 7] / places[:, 3])
            return 10.0 * scale, np.zeros(len(rows), np.int64)

    rows = cache.rows()
    every, own = lesion_sizes(Diameters(), rows, cache.facts(rows, resload.Size(128, 128))[:, 6:14])
    assert (own.label, own.count) == ("mask", 14)
    assert every.pixels.median == pytest.approx(10 * math.sqrt(128 / 260 * 128 / 220))
    assert BoxSides(cache).names == ("nodule",)


# -- bytes and millimetres --


def test_bytes_and_millimetres_of_each_size(nodules, found):
    """What lies on disk for each film; spacing at the size, y and x for themselves."""
    _, cache = nodules
    table = cache.table
    for one in found.sizes:
        folder = cache.path / f"images/{one.size}"
        taken = sum(file.stat().st_size for file in folder.rglob("*") if file.is_file())
        assert one.bytes_per_film == taken / 14 > one.size.pixels * 2  # 16 bits
        assert one.spacing_y.median == pytest.approx(table["spacing_y"].median() * 260 / one.size.height)
        assert one.spacing_x.p95 == pytest.approx(np.percentile(table["spacing_x"], 95) * 220 / one.size.width)


# -- error --


def test_the_error_is_that_of_the_stored_size_brought_back(tmp_path):
    """Computed by hand with the reference: the level, enlarged by the cubic kernel, against the file."""
    picture = noise((90, 120))
    catalog = catalog_of(tmp_path / "films", [picture], boxes=[(0, "mass", 30, 20, 40, 10)])
    cache = resload.build(catalog, tmp_path / "cache", [40], progress=False)
    (one,) = resload.resolution_report(cache, catalog, progress=False).sizes
    back = reference.resample(cache.read([0], 40)[0] / 255, (90, 120), kernel="cubic")
    squares = (back - np.rint(picture * 255) / 255) ** 2
    assert one.whole.rmse.median == pytest.approx(math.sqrt(squares.mean()), rel=1e-4)
    assert one.whole.psnr.median == pytest.approx(-10 * math.log10(squares.mean()), rel=1e-4)
    inside = squares[20:30, 30:70]
    assert one.boxes.rmse.median == pytest.approx(math.sqrt(inside.mean()), rel=1e-4)


@pytest.mark.parametrize("bits", [8, 12])
def test_the_films_own_size_loses_nothing(tmp_path, bits):
    """No error at all, all of the energy in each octave; a ratio without end is None in JSON."""
    pictures = [noise((64, 64)), waves((64, 64), 8)]
    report = report_of(tmp_path, pictures, [16, 64], boxes=[(0, "mass", 10, 10, 20, 20)], bits=bits)
    small, own = report.sizes
    for part in (own.whole, own.boxes):
        assert part.rmse.p95 == 0
        assert part.psnr.median == math.inf
        assert {share for share in part.kept if share is not None} == {1.0}
    assert small.whole.rmse.p5 > 0.01
    assert report.to_dict()["sizes"][1]["whole"]["psnr"]["median"] is None


def test_larger_sizes_lose_less(found):
    """Of synthetic chests: less error in the whole and in the boxes, and more energy in each octave."""
    for smaller, larger in pairwise(found.sizes):
        assert larger.whole.rmse.median < smaller.whole.rmse.median
        assert larger.boxes.rmse.median < smaller.boxes.rmse.median
        pairs = zip(larger.whole.kept, smaller.whole.kept, strict=True)
        assert all(more > less - 0.01 for more, less in pairs)
        assert larger.whole.kept[-2] > smaller.whole.kept[-2]


def test_a_smooth_film_loses_nothing_above_its_band(tmp_path):
    """Waves of 64 pixels survive at an eighth of the film, waves of 8 pixels do not."""
    slow = report_of(tmp_path / "slow", [waves((512, 512), 64)], [64, 256]).sizes
    fast = report_of(tmp_path / "fast", [waves((512, 512), 8)], [64, 256]).sizes
    assert slow[1].whole.psnr.median > 50
    assert slow[1].whole.kept[-1] > 0.99
    assert slow[0].whole.psnr.median > 30
    assert fast[0].whole.psnr.median < 20
    assert fast[1].whole.psnr.median > fast[0].whole.psnr.median + 10


def test_boxes_and_whole_are_told_apart(tmp_path):
    """Detail only in the box: the box loses more than the whole; detail only outside: less."""
    loud, quiet = noise((128, 128)), waves((128, 128), 128)
    box = [(0, "mass", 40, 40, 32, 32)]
    inside = quiet.copy()
    inside[40:72, 40:72] = loud[40:72, 40:72]
    outside = loud.copy()
    outside[24:88, 24:88] = quiet[24:88, 24:88]
    (one,) = report_of(tmp_path / "in", [inside], [32], boxes=box).sizes
    assert one.boxes.rmse.median > 3 * one.whole.rmse.median
    (other,) = report_of(tmp_path / "out", [outside], [32], boxes=box).sizes
    assert other.boxes.rmse.median < other.whole.rmse.median / 3


# -- energy --


def test_energy_kept_is_what_the_film_has_in_common():
    """Half of a wave is half; an alias, another phase and noise that is added are nothing; each in its octave."""
    edges = 0.5 / 2.0 ** np.arange(4, -1, -1)
    slow, fast = (waves((128, 128), period).astype(np.float32) for period in (12, 3))
    film = Compared(slow + fast - 0.5, (1.0, 1.0), edges, np.zeros((0, 4)))
    weakened = film.lost(slow + (fast - 0.5) / 2)
    np.testing.assert_allclose(weakened.kept[[1, 3]], (1, 0.5), atol=0.01)
    np.testing.assert_allclose(film.lost(slow).kept[[1, 3]], (1, 0), atol=0.01)
    other = slow + 0.3 * np.random.default_rng(0).standard_normal((128, 128)).astype(np.float32)
    assert abs(film.lost(other).kept[3]) < 0.05
    assert math.isnan(weakened.box_rmse)
    assert np.isnan(weakened.box_kept).all()
    shares = film.energy()
    assert shares[1] == pytest.approx(0.5, abs=0.02)
    assert shares[3] == pytest.approx(0.5, abs=0.02)


@pytest.mark.parametrize("shape", [(64, 64), (65, 48), (51, 77)])
def test_octaves_hold_all_energy_once(shape):
    """Even and odd sides: the energy of the octaves and of what is outside them is that of the windowed film."""
    pixels = noise(shape).astype(np.float32)
    edges = np.array([2 / min(shape), 0.1, 0.25, 0.5])
    film = Compared(pixels, (1.0, 1.0), edges, np.zeros((0, 4)))
    window = np.multiply.outer(*(0.5 - 0.5 * np.cos(2 * np.pi * (np.arange(n) + 0.5) / n) for n in shape))
    energy = np.abs(np.fft.fft2((pixels - pixels.mean()) * window)) ** 2
    down, across = (np.fft.fftfreq(n) for n in shape)
    radius = np.hypot(down[:, None], across)
    expected = [energy[(radius > low) & (radius <= high)].sum() / energy.sum() for low, high in pairwise(edges)]
    np.testing.assert_allclose(film.energy(), expected, rtol=1e-3)


def test_octaves_are_millimetres_where_spacing_is_known(tmp_path):
    """The finest octave ends at the film's own limit; of two unequal spacings, at the coarser one's."""
    report = report_of(tmp_path, [noise((128, 128))] * 2, [16, 64], spacing=(0.2, 0.25))
    assert report.unit == "cycles/mm"
    assert report.octaves[0].high == pytest.approx(0.5 / 0.25)
    assert [one.low for one in report.octaves[:-1]] == [one.high for one in report.octaves[1:]]
    assert len(report.octaves) == 4  # 128 to 16 is three, and one below
    assert sum(one.share for one in report.octaves) <= 1


def test_without_spacing_octaves_are_of_pixels(tmp_path):
    """Millimetres are not known, and everything else is there."""
    report = report_of(tmp_path, [noise((128, 128))], [32], spacing=None)
    assert report.unit == "cycles/pixel"
    assert report.octaves[0].high == 0.5
    assert (report.sizes[0].spacing_y, report.sizes[0].spacing_x) == (None, None)
    assert report.sizes[0].whole.kept[0] == pytest.approx(0, abs=0.02)
    assert as_json(report)["sizes"][0]["spacing_y"] is None


def test_films_without_spacing_among_others(tmp_path):
    """Millimetres stay the unit: such a film has no part in the octaves, and its part in everything else."""
    spacing = ([0.2, np.nan, 0.2], [0.2, np.nan, 0.2])
    report = report_of(tmp_path, [noise((64, 64)), waves((64, 64), 64), noise((64, 64))], [16], spacing=spacing)
    (one,) = report.sizes
    assert report.unit == "cycles/mm"
    assert one.whole.films == 3
    assert one.spacing_y.p5 == pytest.approx(0.8)
    alone = report_of(tmp_path / "alone", [noise((64, 64))] * 2, [16])
    assert one.whole.kept == alone.sizes[0].whole.kept
    assert one.whole.rmse.p5 < alone.sizes[0].whole.rmse.p5


@given(
    st.tuples(st.floats(0, 60), st.floats(0, 60), st.floats(0.1, 40), st.floats(0.1, 40)),
    st.integers(1, 40),
    st.tuples(st.integers(1, 64), st.integers(1, 64)),
)
def test_grown_boxes_hold_the_box_and_lie_in_the_image(corner_and_sides, least, shape):
    """At least so many pixels a side, or all there are; never outside."""
    x, y, width, height = corner_and_sides
    x, y = min(x, shape[1] - 0.05), min(y, shape[0] - 0.05)
    box = np.array([x, y, min(x + width, shape[1]), min(y + height, shape[0])])
    for part, low, high, side in zip(grown(box, least, shape), box[[1, 0]], box[[3, 2]], shape, strict=True):
        assert 0 <= part.start <= low
        assert high <= part.stop <= side
        assert part.stop - part.start >= min(least, side)


# -- what is compared --


def test_only_the_part_that_a_size_shows_is_compared(tmp_path):
    """A crop shows the smooth middle of a film whose ends are noise; a padded film's canvas does not count."""
    film = np.concatenate([noise((64, 128)), waves((128, 128), 64), noise((64, 128))])
    (cropped,) = report_of(tmp_path / "crop", [film], [64], recipe={"fit": "crop"}).sizes
    assert cropped.whole.psnr.median > 45
    (padded,) = report_of(tmp_path / "pad", [film], [64], recipe={"fit": Pad(value=1.0)}).sizes
    (same,) = report_of(tmp_path / "same", [film], [(64, 32)]).sizes
    assert padded.whole.rmse.median == pytest.approx(same.whole.rmse.median, rel=1e-3)
    assert padded.whole.psnr.median < 30


def test_without_a_source_the_largest_size_is_what_others_are_compared_with(tmp_path):
    """It says so; the largest has lost nothing of itself."""
    report = report_of(tmp_path, [noise((128, 128))], [16, 64], source=False, boxes=[(0, "mass", 8, 8, 50, 50)])
    small, large = report.sizes
    assert (small.against, large.against) == ("64x64", "64x64")
    assert large.whole.rmse.median == 0 < small.whole.rmse.median
    assert large.boxes.rmse.median == 0 < small.boxes.rmse.median
    assert report.octaves[0].high == pytest.approx(0.5 / 0.4)  # 0.2 mm a pixel of the film, half as many pixels


@pytest.mark.parametrize("fit", ["stretch", "crop"])
def test_a_native_size_is_as_good_as_the_files(tmp_path, fit):
    """Films stored at their own size: the same report with SOURCE and without, whatever part a size shows."""
    boxes = [(0, "mass", 8, 8, 50, 50)]
    catalog = catalog_of(tmp_path / "films", [noise((128, 96)), noise((100, 100))], boxes=boxes)
    cache = resload.build(catalog, tmp_path / "cache", [16, 64, "native"], fit=fit, progress=False)
    report = resload.resolution_report(cache, progress=False)
    assert report == resload.resolution_report(cache, catalog, progress=False)
    assert [one.against for one in report.sizes] == ["film"] * 3
    assert report.sizes[-1].whole.rmse.p95 == 0 < report.sizes[-2].whole.rmse.median
    assert report.sizes[-1].lesions[0].pixels.median == pytest.approx(50)
    assert as_json(report)["sizes"][-1]["size"] == "native"
    report.draw(tmp_path / "native.png", dpi=40)


def test_crops_are_compared_with_sizes_that_show_the_same(tmp_path):
    """A high crop and a square one show other parts of a film; each is held to the largest of its own shape."""
    sizes = [32, 64, (32, 16), (128, 64)]
    report = report_of(tmp_path, [noise((256, 200))], sizes, source=False, recipe={"fit": "crop"})
    against = {str(one.size): one.against for one in report.sizes}
    assert against == {"32x16": "128x64", "32x32": "64x64", "64x64": "64x64", "128x64": "128x64"}


def test_quarantined_films_are_no_films(films, cache):
    """Broken ones are neither counted nor compared, nor are their boxes."""
    report = resload.resolution_report(cache, films, progress=False)
    assert report.films == report.measured == len(cache.rows()) == len(films) - 1
    assert report.skipped == {}
    readable = set(cache.table["id"].iloc[cache.rows()])
    assert report.sizes[0].lesions[0].count == cache.boxes["id"].isin(readable).sum()


def test_a_view_is_reported_as_it_is(nodules):
    """Films of a view only; boxes in first, then others."""
    catalog, cache = nodules
    boxed = cache.table["id"].isin(cache.boxes["id"])
    view = cache.select(np.flatnonzero(~boxed)[:3])
    report = resload.resolution_report(view, catalog, progress=False)
    assert (report.films, report.measured) == (3, 3)
    assert all(one.boxes is None and one.lesions == () for one in report.sizes)
    some = resload.resolution_report(cache, catalog, films=int(boxed.sum()), progress=False)
    assert some.sizes[0].boxes.films == some.measured == boxed.sum()


def test_the_same_seed_gives_the_same_report(nodules, found):
    """Whatever the threads; another seed compares other films, and changes nothing that is of all films."""
    catalog, cache = nodules
    arguments = {"films": 3, "progress": False}
    one = resload.resolution_report(cache.path, catalog, seed=1, threads=1, **arguments)
    assert one == resload.resolution_report(cache, catalog, seed=1, threads=3, **arguments)
    other = resload.resolution_report(cache, catalog, seed=2, **arguments)
    assert other.sizes[0].whole != one.sizes[0].whole
    assert [size.lesions for size in other.sizes] == [size.lesions for size in found.sizes]


def test_films_that_cannot_be_compared_are_listed(tmp_path):
    """A file that is gone and one that is another now; when none is left, that is an error."""
    catalog = catalog_of(tmp_path / "films", [noise((40, 40)), waves((40, 40), 9), waves((40, 40), 7)])
    cache = resload.build(catalog, tmp_path / "cache", [16], progress=False)
    (tmp_path / "films/film0.png").unlink()
    shutil.copy(tmp_path / "films/film2.png", tmp_path / "films/film1.png")
    report = resload.resolution_report(cache, catalog, progress=False)
    assert (report.films, report.measured) == (3, 1)
    assert sorted(report.skipped) == ["film0", "film1"]
    assert "could not be read" in report.skipped["film0"]
    assert "no longer the file the cache was built from" in report.skipped["film1"]
    (tmp_path / "films/film2.png").unlink()
    with pytest.raises(CatalogError, match="none of 3 films could be compared"):
        resload.resolution_report(cache, catalog, progress=False)


def test_wrong_arguments_are_refused(tmp_path, nodules):
    """No films to compare, a catalog of other films, a view without any."""
    catalog, cache = nodules
    for wrong in (0, 2.5, True):
        with pytest.raises(ArgumentError, match="films must be an int >= 1"):
            resload.resolution_report(cache, catalog, films=wrong)
    with pytest.raises(ArgumentError, match="no film that can be read"):
        resload.resolution_report(cache.select([]))
    other = catalog_of(tmp_path / "other", [noise((30, 30))])
    with pytest.raises(CatalogError, match="none of the films of"):
        resload.resolution_report(cache, other)


# -- numbers and JSON --


def as_json(report):
    """The report through JSON, which refuses what is no number."""
    return json.loads(json.dumps(report.to_dict(), allow_nan=False))


def test_the_document_is_plain(found):
    """JSON gives back what was given; sizes are text, shares have their pixels as names."""
    document = found.to_dict()
    assert as_json(found) == document
    assert [one["size"] for one in document["sizes"]] == ["32x32", "96x80", "128x128"]
    assert set(document["sizes"][0]["lesions"][0]["under"]) == {"2", "4", "8"}
    assert document["sizes"][0]["against"] == "film"
    assert document["unit"] == "cycles/mm"


def test_spreads():
    """Percentiles of what is finite; the largest error is the smallest ratio; nothing is None."""
    middle = spread([*range(101), math.nan, math.inf])
    assert (middle.p5, middle.p25, middle.median, middle.p75, middle.p95) == (5, 25, 50, 75, 95)
    assert spread([math.nan]) is None
    ratio = psnr_spread(spread([0.1, 0.01, 0.001]))
    assert ratio.median == pytest.approx(40)
    assert ratio.p5 < ratio.p95
    assert (psnr(1.0), psnr(0.0)) == (0, math.inf)
    assert plain({4: (math.nan, 1.5)}) == {"4": [None, 1.5]}


# -- the figure --


def test_the_figure_is_a_picture_and_the_same_each_time(found, tmp_path):
    """Of the declared density, without date and software name, and without pyplot."""
    before = "matplotlib.pyplot" in sys.modules
    for name in ("a.png", "b.png"):
        found.draw(tmp_path / name, dpi=60)
    data = (tmp_path / "a.png").read_bytes()
    assert data == (tmp_path / "b.png").read_bytes()
    assert b"Software" not in data
    assert ("matplotlib.pyplot" in sys.modules) == before
    picture = imagecodecs.png_decode(data)[..., :3]
    edge = np.concatenate([picture[0], picture[-1], picture[:, 0], picture[:, -1]])
    assert (edge == 255).all()  # nothing is cut off
    assert (picture < 128).any()


def test_the_figure_of_what_little_there_is(tmp_path):
    """One size, no boxes, no spacing, nothing lost: drawn without a warning."""
    report = report_of(tmp_path, [noise((64, 64))], [64], spacing=None)
    report.draw(tmp_path / "little.png", dpi=40)
    assert imagecodecs.png_decode((tmp_path / "little.png").read_bytes()).shape[2] == 4


def test_a_figure_needs_a_png_and_matplotlib(found, tmp_path, monkeypatch):
    """Each is said in a sentence; the numbers need neither."""
    with pytest.raises(ArgumentError, match=r"must end in \.png"):
        found.draw(tmp_path / "a.pdf")
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    with pytest.raises(MissingPackageError, match=r"pip install 'resload\[figures\]'"):
        found.draw(tmp_path / "a.png")


# -- the command --


@pytest.fixture
def here(tmp_path, monkeypatch):
    """Three films, the second with two findings, and their cache."""
    monkeypatch.chdir(tmp_path)
    boxes = [(1, "mass", 20, 20, 24, 16), (1, "nodule", 60, 60, 6, 6)]
    catalog = catalog_of(tmp_path / "films", [noise((96, 96)), waves((96, 96), 6), noise((96, 96))], boxes=boxes)
    catalog.save("saved")
    resload.build(catalog, "films.zarr", (24, 48), progress=False)
    return tmp_path


def test_the_command_prints_tables(here, capsys):
    """Sizes, energy and findings by label; with SOURCE and without."""
    assert main(["report", "films.zarr", "saved"]) == 0
    shown = capsys.readouterr()
    assert shown.out.startswith("films.zarr: 3 films; 3 compared (1 with boxes), with their own pixels\n")
    lines = {line.split()[0]: line for line in shown.out.splitlines() if line.startswith("  ")}
    assert "0.400 x 0.400" in shown.out
    assert "line pairs per mm" in shown.out
    assert lines["mass"].split()[:3] == ["mass", "1", "4.0"]
    assert lines["nodule"].split()[:3] == ["nodule", "1", "1.5"]
    assert shown.err == ""
    assert main(["report", "films.zarr"]) == 0
    assert "with 48x48 (SOURCE: with the films)" in capsys.readouterr().out


def test_the_command_answers_json_and_draws(here, capsys):
    """One document, that of `to_dict`, and a picture."""
    assert main(["report", "films.zarr", "saved", "--films", "2", "--seed", "3", "--out", "a.png", "--json"]) == 0
    document = json.loads(capsys.readouterr().out)
    catalog = resload.Catalog.load("saved")
    report = resload.resolution_report("films.zarr", catalog, films=2, seed=3, progress=False)
    about = {"cache": "films.zarr", "source": "saved", "out": "a.png"}
    assert document == {**about, **report.to_dict()}
    assert (here / "a.png").stat().st_size > 10_000


def test_films_that_are_gone_make_the_command_fail(here, capsys):
    """Exit code 1 and the reason; the others are reported all the same."""
    (here / "films/film0.png").unlink()
    assert main(["report", "films.zarr", "saved"]) == 1
    shown = capsys.readouterr().out
    assert "could not be compared: 1" in shown
    assert "film0.png: the file could not be read" in shown
    assert "2 compared" in shown


@pytest.mark.parametrize(
    ("words", "code", "sentence"),
    [
        (["films.zarr", "--out", "a.jpg"], 2, "must end in .png"),
        (["films.zarr", "--films", "0"], 2, "films must be an int >= 1"),
        (["nowhere.zarr"], 1, "no resload cache is here"),
        (["films.zarr", "nowhere"], 2, "there is no such file or folder"),
        (["films.zarr", "--out", "no/where/a.png"], 1, "No such file or directory"),
    ],
)
def test_the_command_says_what_is_wrong(here, capsys, words, code, sentence):
    """One line, and no table."""
    assert main(["report", *words]) == code
    shown = capsys.readouterr()
    assert sentence in shown.err
    assert shown.err.count("\n") == 1
    assert shown.out == ""


# -- real films --


@pytest.mark.real
def test_real_films(real_data, tmp_path):
    """ChestX-ray14 at 64 and 256: larger keeps more; the finest octaves of the film are gone at 64."""
    catalog = resload.datasets.chestxray14(real_data / "nih", missing="skip")
    cache = resload.build(catalog, tmp_path / "nih.zarr", (64, 256), progress=False)
    small, large = (report := resload.resolution_report(cache, catalog, films=8, progress=False)).sizes
    assert report.unit == "cycles/mm"
    assert small.whole.psnr.median < large.whole.psnr.median
    assert small.boxes.films == large.boxes.films > 0
    assert max(small.whole.kept[:2]) < 0.01
    assert large.whole.kept[-1] > 0.95
    assert large.lesions[0].pixels.median == pytest.approx(4 * small.lesions[0].pixels.median, rel=0.01)
    as_json(report)


def test_masks_are_findings_where_there_are_no_boxes(tmp_path):
    """The diameter of a disc of the mask's area, scaled as the film is; neither empty nor unknown masks count."""
    table = pd.DataFrame({"id": ["a", "b", "c"], "path": ["a.png", "b.png", "c.png"]})
    y, x = np.mgrid[:200, :100]
    radius = 20.25
    disc = (y + 0.5 - 90) ** 2 + (x + 0.5 - 50) ** 2 <= radius**2
    for name in table["path"]:
        Image.fromarray(np.full((200, 100), 90, np.uint8)).save(tmp_path / name)
    masks = pd.DataFrame({"id": ["a", "b"], "label": "mass", "rle": [encode_runs(disc), "-1"]})
    catalog = Catalog(table, masks=masks, root=tmp_path)
    cache = resload.build(catalog, tmp_path / "c.zarr", [(100, 50), (100, 100)], progress=False)
    small, wide = resload.resolution_report(cache, progress=False).sizes
    for one, diameter in ((small, radius), (wide, radius * 2**0.5)):
        assert [found.count for found in one.lesions] == [1, 1]
        assert one.lesions[0].pixels.median == pytest.approx(diameter, rel=0.01)
