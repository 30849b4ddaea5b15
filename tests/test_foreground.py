"""`resload.foreground`: the body is inside the box, the background is not, and what cannot be told stays whole."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from resload import foreground, intensity
from resload.decode import decode
from resload.errors import ArgumentError
from resload.foreground import box, chest_wall
from resload.seeds import generator
from resload.size import Size
from resload.testing import anatomy, synthetic_film

BORDERS = ("top", "bottom", "near", "far")


def whole(film):
    return (0, 0, *film.shape)


def ends(found):
    """(top, left, bottom, right)."""
    y, x, height, width = found
    return np.array([y, x, y + height, x + width])


def outgrown(inner, outer):
    """By how many pixels `inner` sticks out of `outer`, at the worst side; negative where all sides have room."""
    (top, left, bottom, right), (y1, x1, y2, x2) = ends(inner), ends(outer)
    return max(y1 - top, x1 - left, bottom - y2, right - x2)


def bounds(mask):
    """The true box of a mask of pixels."""
    rows, columns = mask.any(axis=1).nonzero()[0], mask.any(axis=0).nonzero()[0]
    return int(rows[0]), int(columns[0]), int(np.ptp(rows)) + 1, int(np.ptp(columns)) + 1


def cell(film):
    return -(-max(film.shape) // 160)


def mammogram(size, *, side="left", reach=0.6, top=0.2, bottom=0.9, edges=(), label=True, dtype=np.uint8, seed=0):
    """(film, box of the breast): a half ellipse at one side that thins towards its skin, a label far from it, noise.

    `edges` are lines along a border, as thick as a scanner's may be: (one of BORDERS, value). `near` is where the
    chest wall is. What such a line hides is not part of the breast's box.
    """
    rng = np.random.default_rng(seed)
    height, width = size
    y, x = (np.arange(height)[:, None] + 0.5) / height, (np.arange(width)[None] + 0.5) / width
    depth = 1 - np.hypot((y - (top + bottom) / 2) / ((bottom - top) / 2), x / reach)
    breast = depth > 0
    film = 20 + rng.normal(0, 2, size) + breast * (20 + 120 * np.sqrt(np.clip(depth / 0.2, 0, 1)))
    if label:
        film[int(0.05 * height) : int(0.1 * height), int(0.8 * width) : int(0.92 * width)] = 250
    for border, value in edges:
        lines, length = (film, height) if border in ("top", "bottom") else (film.T, width)
        thick = max(1, min(30, int(0.03 * length)))
        hidden = slice(0, thick) if border in ("top", "near") else slice(length - thick, None)
        lines[hidden] = value
        (breast if lines is film else breast.T)[hidden] = False
    if side == "right":
        film, breast = film[:, ::-1], breast[:, ::-1]
    codes = np.clip(film, 0, 255).astype(np.uint8)
    return codes.astype(dtype) * dtype(257 if dtype is np.uint16 else 1), bounds(breast)


# -- mammograms --


@settings(deadline=None, max_examples=60)
@given(
    width=st.integers(200, 600),
    aspect=st.floats(0.9, 2.6),
    side=st.sampled_from(["left", "right"]),
    reach=st.floats(0.25, 0.9),
    top=st.floats(0.18, 0.4),
    bottom=st.floats(0.65, 0.9),
    edges=st.lists(st.tuples(st.sampled_from(BORDERS), st.sampled_from([0, 255])), unique_by=lambda edge: edge[0]),
    label=st.booleans(),
    dtype=st.sampled_from([np.uint8, np.uint16]),
)
@example(700, 1.3, "left", 0.5, 0.2, 0.8, [(border, 255) for border in BORDERS], True, np.uint16)
@example(700, 1.3, "right", 0.5, 0.2, 0.8, [(border, 0) for border in BORDERS], True, np.uint8)
def test_the_box_of_a_mammogram_is_that_of_the_breast(width, aspect, side, reach, top, bottom, edges, label, dtype):
    """No side of the breast sticks out by more than a cell; around it is little more than the lines' thickness.

    Films have the shapes of mammograms.
    """
    size = (round(width * aspect), width)
    film, breast = mammogram(
        size, side=side, reach=reach, top=top, bottom=bottom, edges=edges, label=label, dtype=dtype
    )
    found = box(film)
    assert outgrown(breast, found) <= cell(film)
    assert outgrown(found, breast) <= 0.03 * max(film.shape) + 6 * cell(film)
    assert chest_wall(film) == side
    assert chest_wall(film, found) == side


def test_a_breast_that_crosses_the_film_has_its_chest_wall_where_it_is_broad():
    film, _ = mammogram((640, 400), reach=1.05, top=0.1, bottom=0.95, label=False)
    assert outgrown(whole(film), box(film)) > 0  # rows are cut, columns are not
    assert box(film)[3] == 400
    assert chest_wall(film) == chest_wall(film, box(film)) == "left"
    assert chest_wall(np.ascontiguousarray(film[:, ::-1])) == "right"


def test_the_faint_margin_under_the_skin_is_kept():
    """Otsu's threshold would cut it: that lies far above."""
    film = np.full((480, 480), 10, np.uint8)
    film[80:400, :300] = 25  # a margin only 15 above the background
    film[120:360, :200] = 200
    assert outgrown((80, 0, 320, 300), box(film)) <= 0


# -- chests and others --


@pytest.mark.parametrize("bits", [8, 16])
@pytest.mark.parametrize("index", range(6))
def test_a_synthetic_chest_is_kept_and_its_shutters_are_not(index, bits):
    """The truth is the model's: its outline inside the shutters."""
    size = Size(512, 448)
    film = synthetic_film(index, size=size, bits=bits).pixels
    chest = anatomy.draw_chest(generator(0, 0, "synthetic", index).spawn(3)[0])
    y, x = anatomy._grid(chest, size)
    body = np.abs(x) < anatomy._outline(y, chest)
    lit = np.zeros(size, bool)
    top, bottom, left, right = (round(s * n) for s, n in zip(chest.shutter, (512, 512, 448, 448), strict=True))
    lit[top : 512 - bottom, left : 448 - right] = True
    found = box(film)
    assert outgrown(bounds(body & lit), found) <= cell(film)
    assert outgrown(found, bounds(lit)) <= 2 * cell(film)


def test_both_hands_stay_and_labels_go():
    film = np.zeros((600, 800), np.uint8)
    film[200:500, 100:300] = 150
    film[250:450, 500:650] = 120
    film[20:50, 700:780] = 250
    found = box(film)
    assert outgrown((200, 100, 300, 550), found) <= 0
    assert outgrown(found, (200, 100, 300, 550)) <= 2 * cell(film)
    assert chest_wall(film) == ""


def test_white_frames_go_and_white_tissue_stays():
    """A frame ends in a step; a white abdomen at the lower border fades."""
    film = np.full((480, 480), 100, np.uint8)
    film[:, :40] = film[:, -40:] = film[:30] = 250
    film[100:220, 100:200] = film[100:220, 280:380] = 20  # darker than all of the border
    film[240:, 40:-40] = np.linspace(100, 250, 240)[:, None]
    assert outgrown((30, 40, 450, 400), box(film)) <= 0
    assert outgrown(box(film), (30, 40, 450, 400)) <= 2 * cell(film)


def test_dark_tissue_at_the_border_is_no_background():
    """Lungs darker than it say so: the film stays whole, though whole columns are as dark as its border."""
    film = np.full((480, 480), 90, np.uint8)
    film[100:380, 100:380] = 200
    film[150:330, 150:330] = 20
    assert box(film) == whole(film)
    film[150:330, 150:330] = 220
    assert box(film) != whole(film)


# -- what cannot be told --


def test_inverted_mammograms_stay_whole():
    film, _ = mammogram((640, 512))
    assert box(film) != whole(film)
    assert box(255 - film) == whole(film)
    assert chest_wall(255 - film) == ""


@pytest.mark.parametrize("shape", [(1, 1), (3, 5), (1, 900), (900, 1), (15, 400), (300, 300)])
@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_uniform_noisy_and_tiny_films_stay_whole(shape, dtype):
    top = np.iinfo(dtype).max
    noise = np.random.default_rng(0).integers(0, top, shape, dtype, endpoint=True)
    for film in (np.zeros(shape, dtype), np.full(shape, top, dtype), noise):
        assert box(film) == whole(film)
        assert chest_wall(film) == ""


def test_a_film_with_nothing_but_a_label_stays_whole():
    film = np.random.default_rng(0).integers(0, 3, (640, 640)).astype(np.uint8)
    film[20:50, 500:560] = 250
    assert box(film) == whole(film)


@settings(deadline=None, max_examples=60)
@given(height=st.integers(1, 400), width=st.integers(1, 400), blocks=st.integers(1, 9), seed=st.integers(0, 2**32 - 1))
def test_any_film_has_a_box_inside_it(height, width, blocks, seed):
    """Never empty, never outside, the same again; `found` and the depth change no answer; the film is as it was."""
    rng = np.random.default_rng(seed)
    coarse = rng.integers(0, 256, (blocks, blocks)) * rng.integers(0, 2, (blocks, blocks))
    film = coarse[np.ix_(np.arange(height) * blocks // height, np.arange(width) * blocks // width)].astype(np.uint8)
    film.flags.writeable = False
    found = box(film)
    y, x, tall, wide = found
    assert all(type(number) is int for number in found)
    assert 0 <= y < y + tall <= height
    assert 0 <= x < x + wide <= width
    assert box(film) == found
    assert box(film.astype(np.uint16) * np.uint16(256)) == found
    assert chest_wall(film, found) == chest_wall(film) in ("left", "right", "")


@pytest.mark.parametrize(
    "wrong", [np.zeros((4, 4), np.float32), np.zeros((1, 4, 4), np.uint8), np.zeros((0, 4), np.uint8)]
)
def test_other_arrays_are_refused(wrong):
    for function in (box, chest_wall):
        with pytest.raises(ArgumentError, match=r"height, width.*found"):
            function(wrong)


# -- cells and pieces, against plain definitions --


@settings(deadline=None)
@given(st.integers(1, 40), st.integers(1, 40), st.integers(1, 12), st.sampled_from([np.uint8, np.uint16]))
def test_cells_are_means(height, width, count, dtype):
    film = np.random.default_rng(height).integers(0, np.iinfo(dtype).max, (height, width), dtype)
    expected = [film[start : start + count].mean(axis=0) for start in range(0, height, count)]
    np.testing.assert_allclose(foreground._means(film, count), expected, rtol=1e-6)


@settings(deadline=None)
@given(st.integers(1, 14), st.integers(1, 14), st.floats(0, 1), st.integers(0, 2**32 - 1))
def test_pieces_are_what_a_flood_fill_finds(height, width, share, seed):
    mask = np.random.default_rng(seed).random((height, width)) < share
    found = foreground._labelled(mask)
    left = {(int(y), int(x)) for y, x in np.argwhere(mask)}
    numbers = []
    while left:
        piece, front = set(), {left.pop()}
        while front:
            piece |= front
            near = {(y + j, x + i) for y, x in front for j in (-1, 0, 1) for i in (-1, 0, 1)}
            front = near & left
            left -= front
        numbers.append({int(found[place]) for place in piece})
    assert all(len(number) == 1 for number in numbers)
    assert len(set.union(set(), *numbers)) == len(numbers)


# -- real films --


@pytest.mark.real
def test_real_chests_keep_their_findings(real_data: Path):
    """90 films of ChestX-ray14: no side loses more than a fifth, and every annotated box is inside."""
    paths = sorted((real_data / "nih" / "images").glob("*.png"))
    findings = pd.read_csv(real_data / "nih" / "BBox_List_2017.csv")
    cut = annotated = 0
    for path in paths:
        film = decode(path).pixels
        found = box(film)
        assert min(found[2] / film.shape[0], found[3] / film.shape[1]) >= 0.8, path.name
        for x, y, width, height in findings.loc[findings["Image Index"] == path.name].iloc[:, 2:6].to_numpy():
            assert outgrown((y, x, height, width), found) <= 1, path.name
            annotated += 1
        cut += found != whole(film)
    assert len(paths) >= 90
    assert annotated >= 3
    assert cut >= 15  # films with shutters or frames are among them


@pytest.mark.real
@pytest.mark.parametrize(("name", "left_cut"), [("Fake_MONOHR1.dcm", 0), ("RG2_JLSL.dcm", 168), ("RG2_JPLL.dcm", 168)])
def test_real_dicom_films(real_data: Path, name, left_cut):
    """An inverted chest stays whole; a hip loses the white frame at its left and nothing else."""
    film = intensity.apply(decode(real_data / "dicom" / name), dtype=np.uint16).pixels
    height, width = film.shape
    assert outgrown((0, left_cut, height, width - left_cut), box(film)) <= 0
    assert outgrown(box(film), (0, left_cut, height, width - left_cut)) <= cell(film)
