"""Contours as masks: the pixels whose centre is inside, against the plain definition in exact fractions."""

from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from resload.errors import ArgumentError, SizeError
from resload.masks.polygons import polygon_mask, polygon_runs
from resload.masks.runs import decode_runs, encode_runs

SIZES = st.tuples(st.integers(1, 9), st.integers(1, 9))
PLACES = st.integers(-24, 80).map(lambda eighths: eighths / 8)
CONTOURS = st.lists(st.tuples(PLACES, PLACES), min_size=1, max_size=8)


def inside(contour, x: Fraction, y: Fraction) -> bool:
    """Even-odd: how many sides does a ray upwards from (x, y) cross?"""
    crossed = 0
    for (ax, ay), (bx, by) in zip(contour, contour[1:] + contour[:1], strict=True):
        (ax, ay), (bx, by) = sorted([(Fraction(ax), Fraction(ay)), (Fraction(bx), Fraction(by))])
        if ax <= x < bx:
            crossed += ay + (x - ax) * (by - ay) / (bx - ax) <= y
    return crossed % 2 == 1


def defined(contours, size) -> np.ndarray:
    """The mask by asking for every pixel of every contour; a contour without a centre marks its points' pixels."""
    out = np.zeros(size, np.bool_)
    for contour in contours:
        half = Fraction(1, 2)
        one = np.array([[inside(contour, c + half, r + half) for c in range(size[1])] for r in range(size[0])])
        if not one.any():
            for x, y in contour:
                if 0 <= x < size[1] and 0 <= y < size[0]:
                    one[int(y), int(x)] = True
        out |= one
    return out


@given(contours=st.lists(CONTOURS, max_size=4), size=SIZES)
@settings(max_examples=400, deadline=None)
def test_a_pixel_is_inside_where_its_centre_is(contours, size):
    """Any contours - crossing themselves, with points on centres, beyond the film, of one point - at any size."""
    np.testing.assert_array_equal(polygon_mask(contours, size), defined(contours, size))


@given(contours=st.lists(CONTOURS, max_size=4), size=SIZES)
@settings(max_examples=200, deadline=None)
def test_run_lengths_are_spelled_as_encode_runs_spells_them(contours, size):
    """Runs that touch or overlap are one, those of nothing are -1: one text for one mask."""
    runs = polygon_runs(contours, size)
    assert runs == encode_runs(decode_runs(runs, size))


@given(contour=CONTOURS, size=SIZES, turn=st.integers(0, 7))
@settings(max_examples=200, deadline=None)
def test_neither_start_nor_direction_matters(contour, size, turn):
    """A contour is a ring: from another point on, or the other way round, it is the same."""
    turned = contour[turn:] + contour[:turn]
    np.testing.assert_array_equal(polygon_mask([contour], size), polygon_mask([turned], size))
    np.testing.assert_array_equal(polygon_mask([contour], size), polygon_mask([contour[::-1]], size))


def test_areas_side_by_side_share_no_pixel():
    """Two contours that share a side cut a film in two: each pixel is in exactly one."""
    left, right = [(0, 0), (3.5, 0), (5.5, 8), (0, 8)], [(3.5, 0), (9, 0), (9, 8), (5.5, 8)]
    first, second = polygon_mask([left], (8, 9)), polygon_mask([right], (8, 9))
    assert not (first & second).any()
    assert (first | second).all()


def test_what_is_smaller_than_a_pixel_does_not_vanish():
    """A point, a line and a speck between centres each mark their pixels; a point beyond the film marks none."""
    assert polygon_runs([[(2.7, 1.2)]], (4, 4)) == "9 1"
    assert polygon_mask([[(0.1, 0.1), (2.9, 0.1)]], (2, 3)).tolist() == [[True, False, True], [False] * 3]
    assert polygon_runs([[(1.6, 1.6), (1.9, 1.6), (1.7, 1.9)]], (4, 4)) == "5 1"
    assert polygon_runs([[(4, 1)], [(-0.1, 0)]], (4, 4)) == "-1"


def test_nothing_is_a_mask_known_to_be_empty():
    """No contour gives -1, and a mask of the film's size."""
    assert polygon_runs([], (3, 2)) == "-1"
    assert polygon_mask([], (3, 2)).shape == (3, 2)


def test_contours_beyond_the_film_are_cut():
    """A contour round the whole film fills it, however far away its points are."""
    assert polygon_mask([[(-1e6, -1e6), (1e6, -1e6), (1e6, 1e6), (-1e6, 1e6)]], (5, 7)).all()


def test_many_contours_at_once_are_their_union():
    """Thousands of small ones, as a film with calcifications has them: the union of each alone."""
    rng = np.random.default_rng(0)
    contours = [rng.uniform(0, 60, 2) + rng.uniform(-3, 3, (5, 2)) for _ in range(300)]
    expected = np.zeros((60, 50), np.bool_)
    for contour in contours:
        expected |= polygon_mask([contour], (60, 50))
    np.testing.assert_array_equal(polygon_mask(contours, (60, 50)), expected)


@pytest.mark.parametrize("wrong", [[], [(1, 2, 3)], [(1, float("nan"))], [(1e300, 0), (0, 1e300)], "x", [("a", "b")]])
def test_what_is_no_contour_is_refused(wrong):
    """No points, points of three numbers, numbers that are none or of no film."""
    with pytest.raises(ArgumentError, match=r"a contour is a list of points \(x, y\)"):
        polygon_runs([wrong], (4, 4))


def test_a_size_is_needed():
    """A film has pixels."""
    with pytest.raises(SizeError):
        polygon_runs([], (0, 4))
