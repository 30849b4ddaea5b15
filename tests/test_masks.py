"""Masks: run-lengths against fixed vectors, coverage against the float64 meaning and against discs, and back."""

import contextlib
import csv
import math
from concurrent.futures import ThreadPoolExecutor
from fractions import Fraction

import numpy as np
import pandas as pd
import pytest
import torch
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from PIL import Image

from resload import Catalog, reference
from resload.errors import ArgumentError, CatalogError, DecodeError, SizeError, UnreadableFileError
from resload.geometry import Geometry
from resload.masks.areas import coverage, recovered
from resload.masks.inside import nearest, thresholded, vanished
from resload.masks.read import as_mask, film_masks
from resload.masks.rects import edges
from resload.masks.runs import FORMATS, decode_runs, encode_runs
from resload.size import Size

seeds = st.integers(0, 2**32 - 1)
sides = st.one_of(st.integers(1, 12), st.integers(1, 90), st.sampled_from([63, 64, 127, 128]))


def whole(height, width=None):
    """The rectangle of all of a film or canvas."""
    return (0, 0, height, height if width is None else width)


def blobs(height, width, seed):
    """A mask that is neither all one thing nor noise: a few rectangles, sometimes none, sometimes everything."""
    rng = np.random.default_rng(seed)
    mask = np.zeros((height, width), bool)
    for _ in range(rng.integers(0, 4)):
        y, x = rng.integers(0, height), rng.integers(0, width)
        mask[y : y + rng.integers(1, height + 1), x : x + rng.integers(1, width + 1)] ^= True
    return mask


@st.composite
def rects(draw, height, width):
    y, x = draw(st.integers(0, height - 1)), draw(st.integers(0, width - 1))
    return y, x, draw(st.integers(1, height - y)), draw(st.integers(1, width - x))


@st.composite
def placed(draw, *, whole_film=False):
    """(film's size, source, target, size)."""
    film, size = (draw(sides), draw(sides)), (draw(sides), draw(sides))
    source = whole(*film) if whole_film else draw(rects(*film))
    return film, source, draw(rects(*size)), size


def to_source(maps, source, target, film, fill=0.0):
    """`Geometry.to_source` of one film placed by these rectangles."""
    geometry = Geometry(Size(*maps.shape[-2:]), np.array([[*source, *target, *film]], np.float32))
    stacked = torch.from_numpy(maps.reshape(1, -1, *maps.shape[-2:]))
    return geometry.to_source(maps=stacked, outside=fill)[0].numpy().reshape(*maps.shape[:-2], *film)


def part(array, rect):
    y, x, height, width = rect
    return array[..., y : y + height, x : x + width]


def exact_area(mask, source, target, size):
    """The meaning, in float64: kernel `area` of the reference on the part that is seen, pasted."""
    out = np.zeros(size)
    part(out, target)[:] = reference.resample(part(mask, source), target[2:], kernel="area")
    return out


# -- run-lengths --------------------------------------------------------------------------------------------


DISC = np.hypot(*np.ogrid[-17:23, -12:18]) < 9
RING = DISC & (np.hypot(*np.ogrid[-15:25, -12:18]) > 4)
COMBS = np.arange(70000).reshape(350, 200) % 997 < 3


@pytest.mark.parametrize(
    ("mask", "counts"),
    [
        (DISC, "]59n02N2N2N2O0000000000000001N2N2N2Nl:"),
        (RING, "]59n02N2N2NGYO4f0J^O4b0K@4`0L@4`0KB4>M@4`0L@4`0M^O4b0NZO4g052N2N2Nl:"),
        (np.zeros((40, 30), bool), "`U1"),
        (np.ones((40, 30), bool), "0`U1"),
    ],
)
def test_coco_strings_are_those_of_pycocotools(mask, counts):
    """Texts made by pycocotools 2.0 for the same masks, letter for letter, in both directions."""
    assert encode_runs(mask, "coco-string") == counts
    for runs in (counts, counts.encode()):
        np.testing.assert_array_equal(decode_runs(runs, mask.shape, "coco-string"), mask)


def test_formats_by_hand():
    """One small mask as each format writes it; starts of `siim` are relative, those of `kaggle` count from 1."""
    mask = np.array([[0, 0, 1], [1, 0, 1], [1, 1, 0], [0, 1, 0]], bool)  # columns 0110 0011 1100
    written = {"siim": "1 2 3 4", "kaggle": "2 2 7 4", "coco": "1 2 3 4 2", "coco-string": "1232O"}
    assert {name: encode_runs(mask, name) for name in FORMATS} == written
    for name, text in written.items():
        np.testing.assert_array_equal(decode_runs(text, (4, 3), name), mask)
    for counts in ([1, 2, 3, 4, 2], np.array([1, 2, 3, 4, 2], np.uint32), "[1, 2, 3, 4, 2]"):
        np.testing.assert_array_equal(decode_runs(counts, (4, 3), "coco"), mask)
    np.testing.assert_array_equal(decode_runs((1, 2, 3, 4), (4, 3)), mask)


@settings(max_examples=200, deadline=None)
@given(sides, sides, seeds, st.sampled_from(FORMATS), st.booleans())
def test_runs_there_and_back(height, width, seed, name, noise):
    """decode(encode(mask)) is the mask: rectangles and noise, empty and full, in every format."""
    mask = np.random.default_rng(seed).random((height, width)) < 0.4 if noise else blobs(height, width, seed)
    back = decode_runs(encode_runs(mask, name), (height, width), name)
    assert (back.dtype, back.shape, back.flags.c_contiguous) == (bool, mask.shape, True)
    np.testing.assert_array_equal(back, mask)


def test_long_combs_there_and_back():
    """Many runs, and differences between counts that are negative and longer than one digit."""
    for name in FORMATS:
        np.testing.assert_array_equal(decode_runs(encode_runs(COMBS, name), COMBS.shape, name), COMBS)


@pytest.mark.parametrize("empty", ["", "-1", " -1", "  ", -1, np.int64(-1), -1.0])
@pytest.mark.parametrize("name", FORMATS)
def test_empty_is_a_mask_of_nothing(empty, name):
    """Competitions write -1 (SIIM with a space before it), or nothing; alone in a column -1 becomes a number."""
    assert not decode_runs(empty, (5, 4), name).any()


@pytest.mark.parametrize(
    ("runs", "name", "message"),
    [
        ("1 2 3", "siim", "come in pairs of start and length.*found 3 numbers"),
        ("1 2 3", "kaggle", "come in pairs of start and length.*found 3 numbers"),
        ("1 two", "siim", "must be whole numbers.*'1 two'"),
        ("1 2.5", "kaggle", "must be whole numbers"),
        ([1.5, 2.0], "coco", "must be whole numbers"),
        (7, "siim", "must be whole numbers.*'7'"),
        ("1 99999999999999999999", "siim", "must be whole numbers"),
        ("3 -2", "siim", "go backwards.*in run 1"),
        ("1 3 2 1", "kaggle", "go backwards.*in run 2"),
        ("9 2 1 3", "kaggle", "go backwards.*in run 2"),
        ("0 3", "kaggle", "go backwards.*in run 1"),
        ("18 3", "siim", r"do not fit the film.*reach pixel 21 of 20 \(5x4\)"),
        ("19 3", "kaggle", r"do not fit the film.*reach pixel 21 of 20 \(5x4\)"),
        ("9000000000000000000 9000000000000000000", "siim", "do not fit the film"),
        ([3, 4], "coco", r"do not fit the film.*reach pixel 7 of 20"),
        ([], "coco", r"do not fit the film.*reach pixel 0 of 20"),
        ("a b", "coco-string", "letters 0 to o.*'a b'"),
        (["12"], "coco-string", "letters 0 to o"),
        ("1P", "coco-string", "ends inside a number.*after 1 numbers"),
    ],
)
def test_bad_runs_are_refused(runs, name, message):
    """Odd counts, no numbers, overlaps, runs out of the film: one sentence each that says what was found."""
    with pytest.raises(DecodeError, match=message):
        decode_runs(runs, (5, 4), name)


@settings(max_examples=200, deadline=None)
@given(st.one_of(st.text(max_size=20), st.text("0123456789 -`Poa", max_size=30)), st.sampled_from(FORMATS))
def test_any_text_is_a_mask_or_our_error(text, name):
    """No other exception, whatever a table holds."""
    with contextlib.suppress(DecodeError):
        assert decode_runs(text, (6, 7), name).shape == (6, 7)


def test_wrong_arguments_of_runs():
    """Formats and arrays that there are not."""
    with pytest.raises(ArgumentError, match="must be one of siim, kaggle, coco, coco-string; found 'rle'"):
        decode_runs("1 2", 4, "rle")
    with pytest.raises(ArgumentError, match="found 'png'"):
        encode_runs(DISC, "png")
    with pytest.raises(ArgumentError, match=r"\(height, width\) of bool; found uint8 \(40, 30\)"):
        encode_runs(DISC.astype(np.uint8))
    with pytest.raises(SizeError):
        decode_runs("1 2", (0, 4))


# -- coverage against its meaning -----------------------------------------------------------------------------


@settings(max_examples=300, deadline=None)
@given(placed(), seeds)
def test_coverage_is_the_exact_area(case, seed):
    """Every placement, shrinking and enlarging: rounded halves up; 0 and 255 for exactly nothing and all."""
    film, source, target, size = case
    mask = blobs(*film, seed)
    found, exact = coverage(mask, source, target, size), exact_area(mask, source, target, size)
    assert (found.dtype, found.shape, found.flags.c_contiguous) == (np.uint8, size, True)
    nothing, everything = exact < 1e-9, exact > 1 - 1e-9
    assert (found[nothing] == 0).all()
    assert (found[everything] == 255).all()
    between = found[~nothing & ~everything].astype(float)
    assert ((between >= 1) & (between <= 254)).all()
    assert (np.abs(between - np.clip(255 * exact[~nothing & ~everything], 1, 254)) <= 0.5 + 1e-9).all()


def test_halves_round_up_and_slivers_count():
    """Exactly half is 128 and reaches a threshold of 0.5; one of 65,536 pixels is 1, all but one is 254."""
    half = np.zeros((4, 4), bool)
    half[:, :2] = True
    assert coverage(half, whole(4), whole(1), 1) == 128
    speck = np.zeros((256, 256), bool)
    speck[255, 0] = True
    assert coverage(speck, whole(256), whole(1), 1) == 1
    assert coverage(~speck, whole(256), whole(1), 1) == 254
    assert coverage(~speck | speck, whole(256), whole(1), 1) == 255


def test_the_largest_film_does_not_overflow():
    """65,536 rows of a full mask: nothing but 255."""
    mask = np.ones((65536, 3), bool)
    assert (coverage(mask, whole(65536, 3), whole(65535, 2), (65535, 2)) == 255).all()
    mask[0, 0] = False
    assert coverage(mask, whole(65536, 3), whole(7, 1), (7, 1)).ravel().tolist() == [254, *[255] * 6]


@pytest.mark.parametrize(
    ("mask", "source", "target", "size", "message"),
    [
        (DISC, (0, 0, 41, 30), whole(8), 8, r"source must lie within 40x30.*\(0, 0, 41, 30\)"),
        (DISC, (-1, 0, 4, 3), whole(8), 8, "source must lie within"),
        (DISC, whole(40, 30), (1, 0, 8, 8), 8, r"target must lie within 8x8.*\(1, 0, 8, 8\)"),
        (DISC, whole(40, 30), (0, 0, 0, 8), 8, "have an area"),
        (DISC, whole(40, 30), (0, 0, 8), 8, "target must be .* in whole pixels"),
        (DISC, (0, 0, 4.5, 3), whole(8), 8, "source must be .* in whole pixels"),
        (DISC * 1.0, whole(40, 30), whole(8), 8, r"of bool; found float64 \(40, 30\)"),
        (DISC[None], whole(40, 30), whole(8), 8, r"of bool; found bool \(1, 40, 30\)"),
    ],
)
def test_wrong_arguments_of_coverage(mask, source, target, size, message):
    """Rectangles that are not inside, arrays that are no mask."""
    with pytest.raises(ArgumentError, match=message):
        coverage(mask, source, target, size)


def test_threads_get_what_one_thread_gets():
    """Nothing is shared between calls."""
    masks = [blobs(90, 70, seed) for seed in range(40)]

    def one(mask):
        return coverage(mask, whole(90, 70), (3, 2, 20, 31), 36)

    with ThreadPoolExecutor(8) as pool:
        np.testing.assert_array_equal(list(pool.map(one, masks)), [one(mask) for mask in masks])


# -- discs: no offset ---------------------------------------------------------------------------------------


@st.composite
def seen_discs(draw):
    """A film, a disc (centre and radius in float) inside its source rectangle, a target of at most half the sides.

    A disc drawn on pixels has its own centroid up to 0.1 film pixel off, so larger targets could not be held to 0.05;
    nor could pixels wider than its radius: exact areas of a disc have a centroid up to 0.09 pixel off where the radius
    is 0.45 pixel, 0.045 at 0.8 and 0.022 at 1.
    """
    height, width = draw(st.integers(140, 400)), draw(st.integers(140, 400))
    y, x = draw(st.integers(0, height - 130)), draw(st.integers(0, width - 130))
    source = y, x, draw(st.integers(130, height - y)), draw(st.integers(130, width - x))
    radius = draw(st.floats(25, 60))
    ends = ((source[axis], source[axis] + source[axis + 2]) for axis in (0, 1))
    centre = [draw(st.floats(start + radius + 1, end - radius - 1)) for start, end in ends]
    sides = (draw(st.integers(math.ceil(side / radius), side // 2)) for side in source[2:])
    target = draw(st.integers(0, 9)), draw(st.integers(0, 9)), *sides
    size = target[0] + target[2] + draw(st.integers(0, 9)), target[1] + target[3] + draw(st.integers(0, 9))
    return (height, width), centre, radius, source, target, size


def disc(film, centre, radius):
    y, x = np.ogrid[: film[0], : film[1]]
    return np.hypot(y + 0.5 - centre[0], x + 0.5 - centre[1]) < radius


def centroid(weights):
    """(y, x) in pixels from the upper left corner."""
    y, x = (np.arange(side) + 0.5 for side in weights.shape)
    return np.array([weights.sum(1) @ y, weights.sum(0) @ x]) / weights.sum()


def affine(point, source, target):
    return [t + (p - s) * n / m for p, s, t, m, n in zip(point, source, target, source[2:], target[2:], strict=False)]


def off(weights, case):
    """How far the centroid is from the image of the disc's own, in target pixels, and the area's relative error.

    Against the disc as it is drawn on the film's pixels: one of radius 25 may have 1 % more of them than its area.
    """
    film, centre, radius, source, target, _ = case
    drawn = disc(film, centre, radius)
    scale = target[2] / source[2] * target[3] / source[3]
    apart = centroid(weights.astype(float)) - affine(centroid(drawn), source, target)
    return np.abs(apart).max(), weights.sum() / 255 / scale / drawn.sum() - 1


@settings(max_examples=300, deadline=None)
@given(seen_discs())
def test_a_disc_lands_where_it_should(case):
    """Centre to 0.05 target pixel and area to 1 %, whatever the rectangles and sizes."""
    film, centre, radius, source, target, size = case
    distance, growth = off(coverage(disc(film, centre, radius), source, target, size), case)
    assert distance <= 0.05
    assert abs(growth) <= 0.01


@settings(max_examples=100, deadline=None)
@given(seen_discs(), st.sampled_from([0, 1]))
def test_a_half_pixel_error_would_be_caught(case, axis):
    """The usual mistake breaks the tolerance of the test above: coordinates scaled without half-pixel centres.

    Pixel i is then taken from around i * m / n instead of (i + 0.5) * m / n - 0.5: from (m / n - 1) / 2 pixels before.
    """
    film, centre, radius, source, target, size = case
    early = [0, 0]
    early[axis] = int(np.ceil((source[axis + 2] / target[axis + 2] - 1) / 2))
    wide = np.pad(disc(film, centre, radius), 40)
    moved = source[0] + 40 - early[0], source[1] + 40 - early[1], *source[2:]
    assert off(coverage(wide, moved, target, size), case)[0] > 0.2


def test_a_shift_by_one_source_pixel_would_be_caught():
    """A source rectangle that begins one pixel late, at half size: half a target pixel, ten times the tolerance."""
    case = ((300, 300), (151.3, 148.9), 40.0, (20, 30, 240, 240), (4, 0, 120, 120), (128, 120))
    mask = disc(*case[:3])
    assert off(coverage(mask, *case[3:]), case)[0] <= 0.05
    assert off(coverage(mask, (21, 31, 240, 240), *case[4:]), case)[0] > 0.45


# -- from one size to another -----------------------------------------------------------------------------------


@settings(max_examples=200, deadline=None)
@given(st.integers(1, 6), st.integers(1, 6), st.integers(1, 12), st.integers(1, 12), placed(whole_film=True), seeds)
def test_recovered_is_exact_where_pixels_nest(times_y, times_x, height, width, case, seed):
    """A level of whole multiples: what comes from the mask, to 1.5 of 255, with 0 and 255 for nothing and all."""
    film, source, (y, x, _, _), _ = case
    mask = blobs(*film, seed)
    at = (y, x, height * times_y, width * times_x)
    stored = coverage(mask, source, at, (y + at[2] + 3, x + at[3] + 1))
    wanted = (source, (2, 1, height, width))
    size = (height + 2, width + 5)
    found, direct = recovered(stored, (source, at), wanted, size), coverage(mask, *wanted, size)
    assert np.abs(found.astype(int) - direct).max() <= 1
    np.testing.assert_array_equal(found == 0, direct == 0)
    np.testing.assert_array_equal(found == 255, direct == 255)


@settings(max_examples=200, deadline=None)
@given(placed(), sides, sides, seeds)
def test_recovered_anywhere_is_the_area_of_areas(case, height, width, seed):
    """The reference's area of the stored bytes; any overlap is never lost, and all of it never invented."""
    film, source, target, size = case
    mask = blobs(*film, seed)
    stored = coverage(mask, source, target, size)
    wanted, canvas = (source, (1, 0, height, width)), (height + 1, width + 1)
    found = recovered(stored, (source, target), wanted, canvas)
    exact = np.zeros(canvas)
    exact[1:, :width] = reference.resample(part(stored, target), (height, width), kernel="area")
    assert np.abs(found - np.clip(exact, exact > 1e-9, 255 - (exact < 255 - 1e-9))).max() <= 0.5 + 1e-6
    direct = coverage(mask, *wanted, canvas)
    assert (found[direct > 0] > 0).all()
    assert (found[direct < 255] < 255).all()
    assert (direct[found == 0] == 0).all()
    assert (direct[found == 255] == 255).all()


def test_recovering_the_same_size_changes_nothing():
    """Stacks too."""
    stored = np.stack([coverage(blobs(50, 60, seed), whole(50, 60), (2, 0, 19, 30), 30) for seed in range(6)])
    level = whole(50, 60), (2, 0, 19, 30)
    np.testing.assert_array_equal(recovered(stored.reshape(2, 3, 30, 30), level, level, 30).reshape(6, 30, 30), stored)


@settings(max_examples=200, deadline=None)
@given(seen_discs())
def test_a_recovered_disc_lands_where_it_should(case):
    """From a level to a size that sees another part of the film: the centre's image by the wanted placement."""
    film, centre, radius, source, target, size = case
    level = whole(*film), (3, 5, 210, 190)
    stored = coverage(disc(film, centre, radius), *level, (220, 200))
    found = recovered(stored, level, (source, target), size)
    distance, growth = off(found, case)
    assert distance <= 0.06  # bytes of two sizes are rounded at the rim
    assert abs(growth) <= 0.01


def test_edges_are_exact_fractions():
    """Against Python's fractions, for two placements that see different parts; and on the rim beyond them."""
    level, wanted = ((5, 0, 40, 9), (2, 0, 33, 9)), ((7, 0, 31, 9), (4, 0, 13, 9))
    marks, unit = edges(level, wanted, 0)
    exact = [2 + (7 + Fraction(31 * i, 13) - 5) * Fraction(33, 40) for i in range(14)]
    assert [Fraction(int(mark), unit) for mark in marks] == exact
    marks, unit = edges(level, ((0, 0, 60, 9), (0, 0, 6, 9)), 0)
    assert [Fraction(int(mark), unit) for mark in marks[[0, -1]]] == [2, 35]


def test_edges_on_a_film_are_never_rounded():
    """The largest film at nearly its own size: thirds of pixels are thirds, so that a coverage is exact at any size."""
    film = (0, 0, 65_536, 1)
    marks, unit = edges((film, film), ((1, 0, 65_535, 1), (0, 0, 65_533, 1)), 0)
    assert [Fraction(int(mark), unit) for mark in marks[:3]] == [1 + Fraction(65_535 * i, 65_533) for i in range(3)]


def test_edges_of_huge_films_stay_within_64_bits():
    """Two crops of a film of 60,000 rows: borders to a millionth of a pixel, and a full mask stays full."""
    level = (17, 0, 59_961, 1), (0, 0, 8_191, 1)
    wanted = (19, 0, 59_957, 1), (0, 0, 8_009, 1)
    marks, unit = edges(level, wanted, 0)
    exact = [Fraction(2 + Fraction(59_957 * i, 8_009)) * Fraction(8_191, 59_961) for i in (0, 1, 4000, 8009)]
    assert max(abs(m / unit - float(e)) for m, e in zip(marks[[0, 1, 4000, 8009]], exact, strict=True)) < 1e-6
    assert np.diff(marks).max() + 2 * unit <= 1 << 27
    full = np.full((8_191, 1), 255, np.uint8)
    assert (recovered(full, level, wanted, (8_009, 1)) == 255).all()


def test_recovered_refuses_what_the_level_does_not_see():
    """A crop cannot answer for the whole film; nor can arrays that are no coverage."""
    stored = np.zeros((8, 8), np.uint8)
    with pytest.raises(ArgumentError, match=r"sees the film's rectangle \(30, 0, 40, 100\).*\(0, 0, 100, 100\)"):
        recovered(stored, ((30, 0, 40, 100), whole(8)), (whole(100), whole(8)), 8)
    with pytest.raises(ArgumentError, match=r"coverage is .* of uint8; found bool \(8, 8\)"):
        recovered(stored > 0, (whole(100), whole(8)), (whole(100), whole(8)), 8)
    with pytest.raises(ArgumentError, match="level's target must lie within 8x8"):
        recovered(stored, (whole(100), whole(9)), (whole(100), whole(8)), 8)
    with pytest.raises(ArgumentError, match="wanted target must lie within 8x8"):
        recovered(stored, (whole(100), whole(8)), (whole(100), whole(9)), 8)


# -- rules ------------------------------------------------------------------------------------------------------


@settings(max_examples=200, deadline=None)
@given(placed(), seeds, st.sampled_from(["any", 0.25, 1 / 3, 0.5, 0.9, 1]))
def test_thresholds_are_those_of_the_exact_area(case, seed, rule):
    """Exact for "any", 0.5 and 1; elsewhere only areas within 1/510 of the threshold may fall on the other side."""
    film, source, target, size = case
    mask = blobs(*film, seed)
    stored, exact = coverage(mask, source, target, size), exact_area(mask, source, target, size)
    share = 1e-9 if rule == "any" else rule
    found = thresholded(stored, rule)
    band = 1e-9 if rule in ("any", 0.5, 1) else 1 / 510 + 1e-9
    clear = np.abs(exact - share) > band
    assert found.dtype == bool
    np.testing.assert_array_equal(found[clear], exact[clear] > share)
    np.testing.assert_array_equal(thresholded(torch.from_numpy(stored), rule).numpy(), found)


def test_thresholds_on_a_byte_let_that_byte_in():
    """k / 255 as a share means k, for all k."""
    scale = np.arange(256, dtype=np.uint8)
    for k in range(1, 256):
        assert thresholded(scale, k / 255).sum() == 256 - k
    assert thresholded(scale, 1e-12).sum() == 255


def test_vanished_is_something_with_nothing_left():
    """An empty mask does not vanish; (..., H, W) -> (...), arrays and tensors."""
    stored = np.zeros((2, 2, 4, 4), np.uint8)
    stored[0, 1, 2, 2], stored[1, 0, 0, 3], stored[1, 1, 1, 1] = 127, 128, 255
    assert vanished(stored, 0.5).tolist() == [[False, True], [False, False]]
    assert vanished(stored, 1).tolist() == [[False, True], [True, False]]
    assert vanished(torch.from_numpy(stored), 1).tolist() == [[False, True], [True, False]]
    assert not vanished(stored, "any").any()
    assert bool(vanished(stored[0, 1], 0.5)) is True


@pytest.mark.parametrize("rule", [0, -0.5, 1.01, float("nan"), "half"])
def test_wrong_rules_are_refused(rule):
    """In the words of the rule, and with what there is."""
    with pytest.raises(ArgumentError, match=r"rule must be 'any' or a share in \(0, 1\] such as 0.5"):
        thresholded(np.zeros((2, 2), np.uint8), rule)
    with pytest.raises(ArgumentError, match="rule must be"):
        vanished(np.zeros((2, 2), np.uint8), rule)


def test_nearest_is_sent_where_it_can_be_had():
    """A rule by that name is what people look for first."""
    with pytest.raises(ArgumentError, match=r"found 'nearest'; .*resload.masks.inside.nearest"):
        thresholded(np.zeros((2, 2), np.uint8), "nearest")


@settings(max_examples=200, deadline=None)
@given(sides, sides, sides, sides, seeds)
def test_nearest_of_the_films_own_size_is_pillows(height, width, to_height, to_width, seed):
    """The largest size being the film's own, the mask's membership at each centre.

    Where a centre falls on a border between pixels, Pillow's floats decide either way, and the pixel after it is meant.
    """
    mask = np.random.default_rng(seed).random((height, width)) < 0.5
    film = whole(height, width)
    found = nearest(mask * np.uint8(255), (film, film), (film, whole(to_height, to_width)), (to_height, to_width))
    pillow = Image.fromarray(mask * np.uint8(255)).resize((to_width, to_height), Image.Resampling.NEAREST)
    ends = [((2 * np.arange(t) + 1) * n, 2 * t) for n, t in ((height, to_height), (width, to_width))]
    between = np.logical_and.outer(*(twice % unit != 0 for twice, unit in ends))
    np.testing.assert_array_equal(found[between], (np.asarray(pillow) > 0)[between])
    np.testing.assert_array_equal(found, mask[np.ix_(*(twice // unit for twice, unit in ends))])


def test_nearest_of_placed_films():
    """A disc through padding on both sides: centre kept, nothing outside the target, stacks as they are."""
    case = ((300, 260), (151.3, 128.9), 55.0, whole(300, 260), (9, 20, 150, 130), (168, 170))
    level = whole(300, 260), (0, 34, 512, 444)
    stored = coverage(disc(*case[:3]), *level, 512)
    found = nearest(np.stack([stored, stored * 0]), level, case[3:5], case[5])
    assert (found.shape, found.dtype) == ((2, 168, 170), bool)
    assert np.abs(centroid(found[0].astype(float)) - affine(case[1], *case[3:5])).max() <= 0.1
    assert not found[1].any()
    assert not nearest(stored | 255, level, case[3:5], case[5])[:, :20].any()
    with pytest.raises(ArgumentError, match="of uint8; found bool"):
        nearest(found, level, case[3:5], case[5])


# -- back to the film ---------------------------------------------------------------------------------------------


@settings(max_examples=150, deadline=None)
@given(placed(), seeds)
def test_maps_go_back_to_the_rectangle_they_came_from(case, seed):
    """The reference's triangle of what the target holds, in the source rectangle; `fill` elsewhere."""
    film, source, target, size = case
    maps = np.random.default_rng(seed).random((2, *size), np.float32)
    found = to_source(maps, source, target, film, fill=-7)
    expected = np.full((2, *film), -7.0)
    for k in range(2):
        part(expected[k], source)[:] = reference.resample(part(maps[k], target), source[2:])
    assert (found.dtype, found.shape) == (np.float32, (2, *film))
    np.testing.assert_allclose(found, expected, atol=1e-5)


@settings(max_examples=30, deadline=None)
@given(seen_discs())
def test_a_disc_comes_back_to_where_it_was(case):
    """There by coverage and back by triangle: centre to 0.05 target pixel or 0.05 film pixel, whichever is more."""
    film, centre, radius, source, target, size = case
    stored = coverage(disc(film, centre, radius), source, target, size)
    back = to_source(stored / np.float32(255), source, target, film)
    pixel = max(1, source[2] / target[2], source[3] / target[3])
    rim = [min(c - radius - s, s + n - c - radius) for c, s, n in zip(centre, source, source[2:], strict=False)]
    assume(min(rim) > 2 * pixel)  # nearer to the border the triangle leans on fewer pixels
    assert np.abs(centroid(back.astype(float)) - centre).max() <= 0.05 * pixel
    assert abs(back.sum() / (np.pi * radius**2) - 1) <= 0.02


def test_dice_at_the_films_own_size():
    """A target at half size, thresholded at half, back and compared: nearly the mask; one pixel off is far worse."""
    mask = disc((256, 200), (130.0, 101.0), 50.0)
    placed_at = whole(256, 200), (0, 14, 128, 100)
    stored = coverage(mask, *placed_at, 128)

    def dice(source):
        back = to_source(stored / np.float32(255), source, placed_at[1], (256, 200)) >= 0.5
        return 2 * (back & mask).sum() / (back.sum() + mask.sum())

    assert dice(placed_at[0]) > 0.995
    assert dice((2, 2, 254, 198)) < 0.99


# -- the masks of one film ------------------------------------------------------------------------------------------


def save(path, array):
    Image.fromarray(array).save(path)
    return path.name


def table(*rows):
    return pd.DataFrame([{"id": "film7", **row} for row in rows])


def test_union_unknown_and_empty(tmp_path):
    """Rows of one label are united, whatever they are; -1 is known and empty; no row is unknown."""
    lung = np.zeros((6, 4), np.uint8)
    lung[1:3, 1:3] = 255
    other = lung[::-1]
    rows = table(
        {"label": "pneumothorax", "rle": "1 2"},
        {"label": "pneumothorax", "rle": "2 1 20 1"},
        {"label": "pneumothorax", "rle": " -1"},
        {"label": "effusion", "rle": " -1"},
        {"label": "lung", "path": save(tmp_path / "left.png", lung)},
        {"label": "lung", "path": str(tmp_path / save(tmp_path / "right.png", other))},
        {"label": "lung", "rle": "1 1 7 1", "rle_format": "kaggle"},
        {"label": "not asked for", "rle": "nonsense"},
    )
    labels = ["lung", "effusion", "rib", "pneumothorax"]
    masks, known = film_masks(rows, labels, (6, 4), tmp_path)
    assert known.dtype == bool
    assert known.tolist() == [True, True, False, True]
    assert masks[2] is None
    assert [mask.dtype for mask in masks if mask is not None] == [bool] * 3
    corner = np.zeros((6, 4), bool)
    corner[0, :2] = True
    np.testing.assert_array_equal(masks[0], (lung > 0) | (other > 0) | corner)
    assert not masks[1].any()
    assert np.flatnonzero(masks[3].T).tolist() == [1, 2, 23]
    nothing, known = film_masks(rows.iloc[:0], labels, (6, 4))
    assert nothing == [None] * 4
    assert not known.any()


@pytest.mark.parametrize("value", [1, 255, 65535])
def test_not_zero_is_inside(tmp_path, value):
    """Masks of 0/1, 0/255 and 0/65535 mean the same; and so do bool, bytes and larger numbers in arrays."""
    array = (DISC * value).astype(np.uint16 if value > 255 else np.uint8)
    rows = table({"label": "disc", "path": save(tmp_path / "m.png", array)})
    (mask,), _ = film_masks(rows, ["disc"], DISC.shape, tmp_path)
    np.testing.assert_array_equal(mask, DISC)
    np.testing.assert_array_equal(as_mask(array, DISC.shape), DISC)
    np.testing.assert_array_equal(as_mask(DISC, DISC.shape), DISC)


def test_of_a_jpeg_the_upper_half_is_inside(tmp_path):
    """Lossy edges leave values near zero around the disc, which are no part of it."""
    Image.fromarray(DISC * np.uint8(255)).save(tmp_path / "m.jpg", quality=60)
    smeared = np.asarray(Image.open(tmp_path / "m.jpg"))
    assert ((smeared > 0) & ~DISC).any()
    (mask,), _ = film_masks(table({"label": "disc", "path": "m.jpg"}), ["disc"], DISC.shape, tmp_path)
    np.testing.assert_array_equal(mask, smeared >= 128)
    assert (mask ^ DISC).sum() < 0.05 * DISC.sum()


def test_a_mask_of_the_same_shape_is_brought_to_the_film(tmp_path):
    """CBIS-DDSM's 4386 x 1789 on a film of 5041 x 2056, scaled down: by the nearest pixel, nothing else moves."""
    small, film = (438, 179), (504, 206)
    mask = disc(small, (200.0, 90.0), 60.0)
    rows = table({"label": "mass", "path": save(tmp_path / "m.png", mask * np.uint8(255))})
    (found,), _ = film_masks(rows, ["mass"], film, tmp_path)
    pillow = Image.fromarray(mask * np.uint8(255)).resize(film[::-1], Image.Resampling.NEAREST)
    np.testing.assert_array_equal(found, np.asarray(pillow) > 0)
    np.testing.assert_array_equal(as_mask(mask, film), found)


@pytest.mark.parametrize(
    ("own", "fits"), [((102, 100), True), ((98, 100), False), ((103, 100), False), ((99, 100), True)]
)
def test_how_far_shapes_may_differ(own, fits):
    """Two per cent of aspect, either way: 98 to 100 is already 2.04."""
    mask = np.ones(own, bool)
    if fits:
        assert as_mask(mask, 50).shape == (50, 50)
    else:
        with pytest.raises(
            DecodeError, match=rf"another shape than its film \(the mask is {Size(*own)}, the film 50x50"
        ):
            as_mask(mask, 50)


def test_what_is_wrong_with_a_mask_names_film_label_and_file(tmp_path):
    """Errors on the way up say whose mask it is, and keep their class."""
    save(tmp_path / "m.png", np.zeros((4, 9), np.uint8))

    def read(**row):
        return film_masks(table({"label": "lung", **row}), ["lung"], (6, 4), tmp_path)

    with pytest.raises(DecodeError, match=r"m\.png: mask 'lung' of film film7: .*another shape.*is 4x9, the film 6x4"):
        read(path="m.png")
    with pytest.raises(UnreadableFileError, match=r"gone\.png: mask 'lung' of film film7: the file could not be read"):
        read(path="gone.png")
    with pytest.raises(DecodeError, match=r"^mask 'lung' of film film7: run-lengths come in pairs"):
        read(rle="1 2 3")
    with pytest.raises(CatalogError, match=r"mask 'lung' of film film7 has neither path and rle"):
        read(rle=float("nan"), path=None)
    with pytest.raises(CatalogError, match=r"has both path and rle"):
        read(rle="1 2", path="m.png")
    for wrong in (np.zeros((6, 4)), np.zeros((1, 6, 4), bool), np.zeros((0, 4), bool)):
        with pytest.raises(DecodeError, match=r"must be \(height, width\) of bool or whole numbers \(found"):
            as_mask(wrong, (6, 4))


def test_reasons_hold_no_path(tmp_path):
    """A reason is what a cache keeps, so that two builds write the same bytes."""
    for row in ({"path": "gone.png"}, {"rle": "1 2 3"}):
        with pytest.raises(DecodeError) as caught:
            film_masks(table({"label": "lung", **row}), ["lung"], (6, 4), tmp_path)
        assert str(tmp_path) not in caught.value.reason


def test_a_catalog_checks_its_masks():
    """Formats by name, and one way for each mask: at the catalog, not hours later in a build."""
    films = pd.DataFrame({"id": ["a", "b"], "path": ["a.png", "b.png"]})

    def masks(**columns):
        return Catalog(films, masks=pd.DataFrame({"id": ["a", "b"], "label": "x", **columns})).masks

    assert masks(rle=["1 2", ""], rle_format=["kaggle", None])["rle"].tolist() == ["1 2", ""]
    assert masks(rle=[[1, 2, 3], [6]], rle_format="coco")["rle"].tolist() == [[1, 2, 3], [6]]
    assert len(masks(rle=["1 2", None], path=[None, "m.png"])) == 2
    with pytest.raises(CatalogError, match=r"'rle_format' is one of siim, .* found kaggle, RLE"):
        masks(rle=["1 2", "1 2"], rle_format=["kaggle", "RLE"])
    with pytest.raises(CatalogError, match=r"either a path or an rle; neither or both have b\. Write '-1'"):
        masks(rle=["1 2", None])
    with pytest.raises(CatalogError, match="neither or both have a"):
        masks(rle=["1 2", None], path=["a.png", "b.png"])


# -- SIIM-ACR -----------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def siim(real_data):
    """(rows of the CSV, film -> its united mask by the loop of the challenge's own kernels)."""
    with (real_data / "siim" / "train-rle-sample.csv").open() as file:
        rows = list(csv.reader(file))[1:]
    masks = {}
    for film, text in rows:
        flat, at = masks.setdefault(film, np.zeros(1024 * 1024, bool)), 0
        numbers = [int(word) for word in text.split() if word != "-1"]
        for gap, length in zip(numbers[::2], numbers[1::2], strict=True):
            flat[at + gap : at + gap + length] = True
            at += gap + length
    return rows, {film: flat.reshape(1024, 1024).T for film, flat in masks.items()}


@pytest.mark.real
def test_every_siim_row_there_and_back(siim):
    """Read, written, the same text; and every tenth in the other formats, the same mask."""
    rows, _ = siim
    assert len(rows) > 100
    for number, (_, text) in enumerate(rows):
        mask = decode_runs(text, 1024)
        assert encode_runs(mask) == text.strip()
        for name in FORMATS[1:] if number % 10 == 0 else ():
            np.testing.assert_array_equal(decode_runs(encode_runs(mask, name), 1024, name), mask)


@pytest.mark.real
def test_siim_annotations_are_united(siim):
    """Films of several rows: all of them, not the last."""
    rows, expected = siim
    masks = pd.DataFrame(rows, columns=["id", "rle"]).assign(label="pneumothorax")
    several = 0
    for film, group in masks.groupby("id"):
        (mask,), known = film_masks(group, ["pneumothorax"], 1024)
        np.testing.assert_array_equal(mask, expected[film])
        assert known.all()
        several += not np.array_equal(mask, decode_runs(group["rle"].iloc[-1], 1024))
    assert several > 10


@pytest.mark.real
@pytest.mark.parametrize(
    ("side", "rule"), [(16, 0.5), (24, 0.5), (32, 0.5), (64, 0.5), (100, 0.5), (128, 0.5), (24, "any")]
)
def test_which_siim_masks_vanish(siim, side, rule):
    """The same as by sums in float64 without resload: integrals of the mask, read off at fractions of pixels."""
    _, masks = siim
    at = np.arange(side + 1) * 1024 / side
    row, part_of_row = np.minimum(at.astype(int), 1023), (at - np.minimum(at.astype(int), 1023))[:, None]
    found, expected = set(), set()
    for film, mask in masks.items():
        integral = np.zeros((1025, 1025))
        integral[1:, 1:] = mask.cumsum(0).cumsum(1)
        for _ in range(2):  # down, and of the transpose down again
            integral = (integral[row] * (1 - part_of_row) + integral[row + 1] * part_of_row).T
        area = np.diff(np.diff(integral, axis=0), axis=1) / (1024 / side) ** 2
        if mask.any() and (area < (0.5 - 1e-9 if rule == 0.5 else 1e-9)).all():
            expected.add(film)
        if vanished(coverage(mask, whole(1024), whole(side), side), rule):
            found.add(film)
    assert found == expected
    assert bool(found) == (rule == 0.5 and side <= 32)


def test_masks_from_arrays(tmp_path):
    """An array that numpy.save wrote is a mask like a picture; what is none is refused, and nothing is unpickled."""
    disc = np.zeros((30, 20), np.uint8)
    disc[5:12, 3:9] = 7
    np.save(tmp_path / "disc.npy", disc)
    np.save(tmp_path / "objects.npy", np.array([{}]), allow_pickle=True)
    (tmp_path / "cut.npy").write_bytes((tmp_path / "disc.npy").read_bytes()[:90])

    def of(name):
        rows = pd.DataFrame({"id": ["a"], "label": ["mass"], "path": [name]})
        return film_masks(rows, ["mass"], (30, 20), tmp_path)

    (found,), known = of("disc.npy")
    assert known.all()
    assert np.array_equal(found, disc > 0)
    for name in ("objects.npy", "cut.npy"):
        with pytest.raises(
            DecodeError, match=r"mask 'mass' of film a: the (file holds no array of numbers|array ends early)"
        ):
            of(name)
    with pytest.raises(UnreadableFileError, match="mask 'mass' of film a"):
        of("nowhere.npy")
