"""Where each source point lands, and back."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from resload import reference
from resload.geometry import Affine, spacing_at, stretch
from resload.size import Size

sides = st.integers(1, 5000)
sizes = st.builds(Size, sides, sides)
factors = st.floats(0.01, 100)
offsets = st.floats(-1000, 1000)
coordinates = st.lists(st.tuples(*[st.floats(-1e4, 1e4)] * 4), min_size=1, max_size=5)


@given(sizes, sizes)
def test_stretch_maps_edges_to_edges(source, target):
    """The whole of one image onto the whole of the other: corners to corners, centre to centre."""
    affine = stretch(source, target)
    points = np.array([(0, 0), (0.5, 0.5), (1, 1), (0, 1)])
    np.testing.assert_allclose(affine.points(points * source), points * target, rtol=1e-12)


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


@pytest.mark.parametrize(("source", "target"), [((90, 120), (30, 24)), ((64, 50), (16, 100)), ((77, 91), (40, 40))])
def test_it_is_what_resampling_does(source, target):
    """A spot's centre of mass after an exact resize is where the map says: half-pixel centres, no offset."""
    y, x = np.mgrid[: source[0], : source[1]]
    centre = (source[0] * 0.4, source[1] * 0.6)
    spot = np.exp(-((y + 0.5 - centre[0]) ** 2 + (x + 0.5 - centre[1]) ** 2) / (2 * 6.0**2))
    small = reference.resample(spot, target)
    y, x = np.mgrid[: target[0], : target[1]]
    found = ((y + 0.5) * small).sum() / small.sum(), ((x + 0.5) * small).sum() / small.sum()
    np.testing.assert_allclose(found, stretch(Size(*source), Size(*target)).points([centre])[0], atol=0.02)


@given(sizes, sizes, st.floats(0.01, 2), st.floats(0.01, 2))
def test_the_field_of_view_does_not_change(source, target, mm_y, mm_x):
    """Spacing x side in mm is the same before and after, per axis; unknown stays unknown."""
    spacing = np.array([(mm_y, mm_x), (np.nan, mm_x)])
    films = np.array([source, source], np.float64)
    found = spacing_at(spacing, films, target)
    np.testing.assert_allclose(found * target, spacing * films, rtol=1e-12)
    assert np.isnan(found).tolist() == [[False, False], [True, False]]
