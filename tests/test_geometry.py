"""Where a film lies in an image: every fit, every size, there and back."""

import numpy as np
import pandas as pd
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from resload import Pipeline, Size
from resload.errors import ArgumentError
from resload.geometry import Affine, Crop, Geometry, Pad, Rect, Stretch, as_fit, facts_at, film_facts, places
from resload.geometry.fits import ALIGNMENTS, canvas_value, plain
from resload.geometry.placing import CONTENT, SPACING, affine_of, affines, distorted, placed
from resload.pipeline import Known, make

sides = st.integers(1, 5000)
sizes = st.builds(Size, sides, sides)
factors = st.floats(0.01, 100)
offsets = st.floats(-1000, 1000)
coordinates = st.lists(st.tuples(*[st.floats(-1e4, 1e4)] * 4), min_size=1, max_size=5)


@given(st.builds(Affine, factors, factors, offsets, offsets), coordinates)
def test_the_inverse_is_the_way_back(affine, boxes):
    """Points and boxes there and back are what they were; so is the inverse of the inverse."""
    boxes = np.array(boxes)
    np.testing.assert_allclose(affine.inverse().boxes(affine.boxes(boxes)), boxes, rtol=1e-6, atol=1e-6)
    points = boxes[:, :2]
    np.testing.assert_allclose(affine.inverse().points(affine.points(points)), points, rtol=1e-6, atol=1e-6)
    np.testing.assert_allclose(affine.inverse().inverse(), affine, rtol=1e-9, atol=1e-9)


@given(st.builds(Affine, factors, factors, offsets, offsets), coordinates)
def test_a_box_is_its_two_corners(affine, boxes):
    """Boxes are (x1, y1, x2, y2) and points (y, x): a box's corners are mapped as points."""
    for box, mapped in zip(boxes, affine.boxes(boxes), strict=True):
        x1, y1, x2, y2 = box
        (top, left), (bottom, right) = affine.points([(y1, x1), (y2, x2)])
        np.testing.assert_allclose(mapped, (left, top, right, bottom), rtol=1e-9, atol=1e-9)


def test_answers_are_new_arrays():
    """Neither points nor boxes are changed in place, and empty lists are allowed."""
    affine = Affine(2.0, 3.0, 1.0, 1.0)
    points, boxes = np.ones((2, 2)), np.ones((2, 4))
    affine.points(points)
    affine.boxes(boxes)
    assert (points == 1).all()
    assert (boxes == 1).all()
    assert affine.boxes(np.empty((0, 4))).shape == (0, 4)


# -- fits ------------------------------------------------------------------------------------------------

aligned = st.sampled_from([*ALIGNMENTS, "chest-wall"])
fields = st.tuples(st.floats(20, 500), st.floats(20, 500))
fits = st.one_of(
    st.just(Stretch()),
    st.builds(Pad, st.floats(0, 1), aligned),
    st.builds(Pad, st.floats(0, 1), aligned, fields),
    st.builds(Crop, st.sampled_from(["centre", "content"])),
)


@st.composite
def films(draw):
    """FACTS of one film whose spacing is known, some of it content, the chest wall at either side."""
    height, width = draw(sides), draw(sides)
    y, x = draw(st.integers(0, height - 1)), draw(st.integers(0, width - 1))
    box = (y, x, draw(st.integers(1, height - y)), draw(st.integers(1, width - x)))
    spacing = draw(st.tuples(st.floats(0.05, 1), st.floats(0.05, 1)))
    return np.array([height, width, *spacing, *box, draw(st.sampled_from([0.0, 1.0, np.nan]))])


@given(fits, st.sampled_from(["pixel", "physical"]), films(), sizes)
def test_both_rectangles_are_whole_pixels_inside_film_and_canvas(fit, aspect, film, size):
    """Whatever the fit: at least a pixel, nothing outside, and where there is canvas the film is seen whole."""
    source, target = placed(fit, aspect, film, size)
    height, width = film[:2]
    assert source.y >= 0
    assert source.x >= 0
    assert source.height >= 1
    assert source.width >= 1
    assert source.y + source.height <= height
    assert source.x + source.width <= width
    assert target.y >= 0
    assert target.x >= 0
    assert target.height >= 1
    assert target.width >= 1
    assert target.y + target.height <= size.height
    assert target.x + target.width <= size.width
    if target.height < size.height:
        assert source.height == height
    if target.width < size.width:
        assert source.width == width


@given(films(), sizes)
def test_stretch_fills_the_target_with_the_film(film, size):
    """The whole of one onto the whole of the other."""
    assert placed(Stretch(), "pixel", film, size) == (Rect(0, 0, *film[:2]), Rect(0, 0, *size))


@given(films(), sizes, st.sampled_from(["pixel", "physical"]), aligned)
def test_pad_shows_all_of_the_film_in_its_shape(film, size, aspect, align):
    """One axis fills the target, the other is as long as the shape says, to half a pixel, and lies where it should."""
    source, target = placed(Pad(align=align), aspect, film, size)
    assert source == Rect(0, 0, *film[:2])
    shape = film[2] / film[3] if aspect == "physical" else 1.0
    scale = min(size.height / (film[0] * shape), size.width / film[1])
    assert target.height == size.height or target.width == size.width
    assert abs(target.height - max(1, film[0] * shape * scale)) <= 0.5 + 1e-6
    assert abs(target.width - max(1, film[1] * scale)) <= 0.5 + 1e-6
    left = {"chest-wall": 0.5 if np.isnan(film[8]) else film[8]}.get(align) if align == "chest-wall" else None
    share = (0.5, left) if left is not None else ALIGNMENTS[align]
    assert abs(target.y - (size.height - target.height) * share[0]) <= 0.5 + 1e-6
    assert abs(target.x - (size.width - target.width) * share[1]) <= 0.5 + 1e-6


@given(films(), sizes, st.sampled_from(["pixel", "physical"]))
def test_crop_takes_the_largest_middle_of_the_targets_shape(film, size, aspect):
    """The target is full, one axis is seen whole, the other is centred and as long as the shape says."""
    source, target = placed(Crop(), aspect, film, size)
    assert target == Rect(0, 0, *size)
    assert source.height == film[0] or source.width == film[1]
    shape = film[2] / film[3] if aspect == "physical" else 1.0
    scale = max(size.height / (film[0] * shape), size.width / film[1])
    assert abs(source.height - max(1, size.height / scale / shape)) <= 0.5 + 1e-6
    assert abs(source.width - max(1, size.width / scale)) <= 0.5 + 1e-6
    assert abs(source.y - (film[0] - source.height) / 2) <= 0.5 + 1e-6
    assert abs(source.x - (film[1] - source.width) / 2) <= 0.5 + 1e-6


@given(films(), sizes)
def test_crop_to_content_loses_none_of_it(film, size):
    """All of the content is seen, and no more than its shape in the target's asks for."""
    source, _ = placed(Crop("content"), "pixel", film, size)
    y, x, height, width = film[4:8]
    assert source.y <= y + 0.5
    assert source.y + source.height >= y + height - 0.5
    assert source.x <= x + 0.5
    assert source.x + source.width >= x + width - 0.5
    scale = min(size.height / height, size.width / width)
    assert source.height <= size.height / scale + 0.5 + 1e-6
    assert source.width <= size.width / scale + 0.5 + 1e-6


@given(films(), st.floats(0.1, 2), st.integers(16, 2000), st.integers(16, 2000))
def test_a_field_has_the_millimetres_it_says(film, mm, height, width):
    """Every film at mm per pixel, to what half a pixel of rounding at either end allows."""
    size = Size(height, width)
    source, target = placed(Pad(field=(mm * height, mm * width)), "pixel", film, size)
    for axis, (length, across) in enumerate(((source.height, target.height), (source.width, target.width))):
        found = film[2 + axis] * length / across
        least = min(length, across)  # half a pixel of what it was before it was rounded, up by as much
        assert abs(found - mm) <= mm * (0.5 / (least - 0.5) + 1e-6) or least == 1


def test_films_that_cannot_be_placed_are_told():
    """Without a spacing no film has a place in a field of millimetres; without a size it has none at all."""
    known = (200.0, 100.0, 0.2, 0.2, 0.0, 0.0, 200.0, 100.0, np.nan)
    unknown = (200.0, 100.0, np.nan, 0.2, 0.0, 0.0, 200.0, 100.0, np.nan)
    failed = (0.0, 0.0, np.nan, np.nan, 0.0, 0.0, 0.0, 0.0, np.nan)
    table = np.array([known, unknown, failed])
    field = places(Pad(field=(50.0, 50.0)), "pixel", table, Size(64, 64))
    assert np.isnan(field).all(axis=1).tolist() == [False, True, True]
    assert np.isnan(places(Pad(), "physical", table, Size(64, 64))).all(axis=1).tolist() == [False, False, True]
    assert placed(Pad(field=(50.0, 50.0)), "pixel", table[1], Size(64, 64)) is None


def test_fits_by_name_value_and_json():
    """A name, a value, and what a manifest remembers of a value are the same fit."""
    for fit in (Stretch(), Pad(), Pad(0.5, "chest-wall", (400, 300.5)), Crop(), Crop("content")):
        assert as_fit(plain(fit)) == fit == as_fit(fit)
    assert [plain(as_fit(name)) for name in ("stretch", "pad", "crop")] == ["stretch", "pad", "crop"]
    assert canvas_value(Pad(0.5), np.dtype(np.uint8)) == 128
    assert canvas_value(Crop(), np.dtype(np.uint16)) == 0


@pytest.mark.parametrize(
    ("make_it", "words"),
    [
        (lambda: as_fit("squash"), "fit must be one of stretch, pad, crop"),
        (lambda: as_fit({"name": "pad", "colour": 3}), "is not a Pad"),
        (lambda: as_fit(None), "found None"),
        (lambda: Pad(2.0), "value is a share of the stored range, 0 to 1; found 2.0"),
        (lambda: Pad(align="north"), "align must be one of centre, top"),
        (lambda: Pad(field=(1.0,)), "field is"),
        (lambda: Pad(field=(1.0, -3.0)), "both positive"),
        (lambda: Crop("edges"), "to must be centre or content; found 'edges'"),
    ],
)
def test_what_is_no_fit_is_refused(make_it, words):
    """Naming the argument, what may be there and what was."""
    with pytest.raises(ArgumentError, match=words):
        make_it()


# -- the image agrees: discs whose centre and area are known ------------------------------------------------


def disc(shape, centre, radii, sub=8):
    """Coverage of an ellipse by each pixel, float64: `sub` x `sub` points in every one."""
    y = (np.arange(shape[0] * sub) + 0.5) / sub
    x = (np.arange(shape[1] * sub) + 0.5) / sub
    inside = ((y[:, None] - centre[0]) / radii[0]) ** 2 + ((x[None] - centre[1]) / radii[1]) ** 2 <= 1
    return inside.reshape(shape[0], sub, shape[1], sub).mean(axis=(1, 3))


def centroid(image):
    """Of brightness: (y, x), continuous."""
    y, x = (np.arange(side) + 0.5 for side in image.shape)
    return np.array([image.sum(axis=1) @ y, image.sum(axis=0) @ x]) / image.sum()


EVERY_FIT = [
    (Stretch(), "pixel"),
    (Pad(), "pixel"),
    (Pad(align="top-left"), "physical"),
    (Pad(align="chest-wall"), "pixel"),
    (Pad(field=(70.0, 60.0)), "pixel"),
    (Pad(field=(30.0, 34.0)), "pixel"),
    (Crop(), "pixel"),
    (Crop(), "physical"),
    (Crop("content"), "pixel"),
]
SHAPES = [((300, 260), (0.2, 0.2)), ((241, 333), (0.15, 0.21))]
TARGETS = [Size(64, 64), Size(96, 71), Size(47, 90)]


@pytest.mark.parametrize(("fit", "aspect"), EVERY_FIT, ids=str)
@pytest.mark.parametrize(("shape", "spacing"), SHAPES, ids=["tall", "squashed"])
@pytest.mark.parametrize("size", TARGETS, ids=str)
def test_a_disc_lies_where_its_map_says(fit, aspect, shape, spacing, size):
    """Centre to 0.05 target pixel, area in mm2 to 1 %, box to its edges, there and back: half a pixel would fail."""
    centre, radii = (shape[0] * 0.52 + 0.3, shape[1] * 0.47 + 0.2), (shape[0] * 0.07, shape[1] * 0.08)
    film = (disc(shape, centre, radii) * 60000).round().astype(np.uint16)
    recipe = Pipeline(size, fit=fit, aspect=aspect, dtype="uint16")
    made = make(recipe, film, Known(spacing=spacing, laterality="R"))
    image = made.levels[0].astype(np.float64)
    image[image == canvas_value(fit, np.dtype(np.uint16))] = 0
    found = places(recipe.fit, aspect, made.facts[None], size)
    assert tuple(Rect(*part) for part in (found[0, :4], found[0, 4:])) == made.places[0]
    affine = affine_of(*made.places[0])
    np.testing.assert_allclose(affines(found)[0], affine, rtol=1e-12, atol=1e-9)

    where = affine.points([centre])[0]
    np.testing.assert_allclose(centroid(image), where, atol=0.05)
    shifted = Affine(*affine[:2], affine.offset_y + 0.5, affine.offset_x).points([centre])[0]
    assert np.abs(centroid(image) - shifted).max() > 0.4  # what half a pixel does

    facts = facts_at(made.facts[None], found)[0]
    area_mm2 = image.sum() / 60000 * np.prod(facts[SPACING])
    np.testing.assert_allclose(area_mm2, np.pi * np.prod(radii) * np.prod(spacing), rtol=0.01)

    (y, x), (ry, rx) = centre, radii
    box = affine.boxes([(x - rx, y - ry, x + rx, y + ry)])[0]
    half = centroid(image)[::-1] * 2
    np.testing.assert_allclose((box[:2] + box[2:]), half, atol=0.1)

    geometry = Geometry(size, np.concatenate([found, [shape]], axis=1).astype(np.float32))
    np.testing.assert_allclose(geometry.to_source(points=[[where]])[0], [centre], atol=1e-4)
    np.testing.assert_allclose(geometry.to_target(points=[[centre]])[0], [where], atol=1e-4)
    (native,) = geometry.to_source(maps=torch.from_numpy(image / 60000)[None, None])
    assert native.shape == (1, *shape)
    scale = np.array(affine[:2])
    np.testing.assert_allclose(centroid(native[0].double().numpy()) * scale, np.array(centre) * scale, atol=0.05)
    back = geometry.to_target(maps=[torch.from_numpy(film / 60000.0)[None]])
    np.testing.assert_allclose(back[0, 0], image / 60000, atol=0.02)


@given(films(), fits, sizes)
def test_the_field_of_view_does_not_change(film, fit, size):
    """Spacing times pixels is the same before and after, per axis; the content stays within what is shown."""
    found = places(fit, "pixel", film[None], size)
    facts = facts_at(film[None], found)[0].astype(np.float64)
    np.testing.assert_allclose(facts[SPACING] * found[0, 6:8], film[2:4] * found[0, 2:4], rtol=1e-5)
    y, x, height, width = facts[CONTENT]
    top, left, high, wide = found[0, 4:8]
    assert height >= 0
    assert width >= 0
    if height > 0 and width > 0:
        assert y >= top - 1e-3
        assert x >= left - 1e-3
        assert y + height <= top + high + 1e-2
        assert x + width <= left + wide + 1e-2


def test_batch_geometry_takes_boxes_and_maps_there_and_back():
    """Lists of tensors or arrays; maps of a stride; what is outside; wrong numbers are refused."""
    film = np.array([[100.0, 80.0, np.nan, np.nan, 0.0, 0.0, 100.0, 80.0, np.nan]] * 2)
    size = Size(50, 50)
    geometry = Geometry(size, np.concatenate([places(Crop(), "pixel", film, size), film[:, :2]], 1).astype(np.float32))
    assert len(geometry) == 2
    assert geometry.places.tolist() == [[10, 0, 80, 80, 0, 0, 50, 50]] * 2
    assert geometry.shapes.tolist() == [[100, 80]] * 2
    boxes = geometry.to_target(boxes=[np.array([[8, 18, 16, 26]]), torch.zeros(0, 4)])
    assert boxes[0].tolist() == [[5.0, 5.0, 10.0, 10.0]]
    assert boxes[1].shape == (0, 4)
    assert geometry.to_source(boxes=boxes)[0].tolist() == [[8.0, 18.0, 16.0, 26.0]]
    native = geometry.to_source(maps=torch.ones(2, 3, 25, 25, dtype=torch.float16), outside=-1)
    assert [tuple(one.shape) for one in native] == [(3, 100, 80)] * 2
    assert (native[0][:, 10:90] == 1).all()
    assert (native[0][:, :10] == -1).all()
    assert (native[0][:, 90:] == -1).all()
    for wrong in ({}, {"points": [[]], "boxes": [[]]}):
        with pytest.raises(ArgumentError, match="exactly one"):
            geometry.to_source(**wrong)
    with pytest.raises(ArgumentError, match="one for each of the 2 films of the batch; found 1"):
        geometry.to_target(points=[[(1, 2)]])
    with pytest.raises(ArgumentError, match=r"maps must be \(B, K, h, w\)"):
        geometry.to_source(maps=torch.ones(2, 25, 25))
    with pytest.raises(ArgumentError, match=r"\(K, 100, 80\); found \(1, 80, 100\)"):
        geometry.to_target(maps=[torch.ones(1, 80, 100)] * 2)


# -- tables ------------------------------------------------------------------------------------------------


def test_facts_of_a_table():
    """Missing columns and values are NaN; the chest wall is the share of room to its left."""
    table = pd.DataFrame({"height": [10, None], "width": [20, 30], "chest_wall": ["right", ""], "spacing_y": [0.5, 1]})
    nan = np.nan
    expected = [[10, 20, 0.5, nan, nan, nan, nan, nan, 1], [nan, 30, 1, nan, nan, nan, nan, nan, nan]]
    np.testing.assert_array_equal(film_facts(table), expected)
    assert np.isnan(film_facts(table[["height"]])[:, 8]).all()


def test_distortion_is_that_of_the_body():
    """A film squashed before release is mended by a stretch to its old shape, and distorted by one to a square."""
    square = [1024.0, 1024.0, 0.2, 0.14, 0, 0, 1024, 1024, np.nan]
    plain_square = [1024.0, 1024.0, np.nan, np.nan, 0, 0, 1024, 1024, np.nan]
    table = np.array([square, plain_square])
    for size, expected in ((Size(512, 512), [True, False]), (Size(512, 358), [False, True])):
        assert distorted(table, places(Stretch(), "pixel", table, size)).tolist() == expected
    kept = places(Pad(), "physical", table, Size(512, 512))
    assert not distorted(table, kept).any()
