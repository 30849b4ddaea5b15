"""The contact sheet: every pixel of every film, enlarged alike, and all text on the sheet."""

import sys

import imagecodecs
import numpy as np
import pytest

from resload import figures
from resload.errors import ArgumentError, MissingPackageError
from resload.figures import contact_sheet
from resload.size import Size

SIZES = (Size(10, 10), Size(60, 60))


def films(sizes=SIZES, count=2, dtype=np.uint8):
    """Random levels, none of them white, so that a film can be found on the white sheet."""
    rng = np.random.default_rng(0)
    top = 200 if dtype == np.uint8 else 50000
    return {size: rng.integers(0, top, (count, *size)).astype(dtype) for size in sizes}


def spacings(sizes=SIZES, count=2):
    return {size: np.full((count, 2), 400.0 / size.height) for size in sizes}


def draw(path, images=None, titles=("one", "two"), spacing=None):
    images = films() if images is None else images
    spacing = spacings(tuple(images), len(titles)) if spacing is None else spacing
    contact_sheet(images, titles=titles, spacings=spacing, path=path)
    return imagecodecs.png_decode(path.read_bytes())


def contains(sheet, block):
    """Whether `block` stands somewhere on the sheet, value for value."""
    windows = np.lib.stride_tricks.sliding_window_view(sheet, block.shape[1], axis=1)
    first = np.argwhere((windows[:, :, :: block.shape[1] - 1] == block[0, [0, -1]]).all(axis=-1))
    return any(
        y + block.shape[0] <= sheet.shape[0]
        and np.array_equal(sheet[y : y + block.shape[0], x : x + block.shape[1]], block)
        for y, x in first
    )


def test_every_film_is_there_enlarged_by_repeating(tmp_path):
    """Each level of each film stands on the sheet with the same side, its pixels repeated and unchanged."""
    images = films()
    sheet = draw(tmp_path / "sheet.png", images)
    for size, levels in images.items():
        for level in levels:
            block = np.kron(level, np.ones((300 // size.height,) * 2, dtype=np.uint8))
            assert contains(sheet, block), f"a film at {size} is not on the sheet"


def test_deep_films_are_shown_over_their_range(tmp_path):
    """uint16 and floats in [0, 1] show as the uint8 film of the same brightness."""
    deep = films(dtype=np.uint16)
    shown = {size: np.rint(levels / 257).astype(np.uint8) for size, levels in deep.items()}
    floats = {size: (levels / 255).astype(np.float32) for size, levels in shown.items()}
    sheet = draw(tmp_path / "deep.png", deep)
    assert np.array_equal(sheet, draw(tmp_path / "bytes.png", shown))
    assert np.array_equal(sheet, draw(tmp_path / "floats.png", floats))


def test_the_same_bytes_each_time(tmp_path):
    """No date, no software name: equal images give equal files."""
    draw(tmp_path / "a.png")
    draw(tmp_path / "b.png")
    data = (tmp_path / "a.png").read_bytes()
    assert data == (tmp_path / "b.png").read_bytes()
    assert b"tEXt" not in data
    assert b"tIME" not in data


@pytest.mark.parametrize(
    ("sizes", "titles"),
    [
        ((Size(8, 8),), ["x"]),
        ((Size(8, 8),), ["1.2.826.0.1.3680043.8.498.12345678901234567890123456789012345\nnodule, effusion"]),
        ((Size(70, 50), Size(500, 357)), ["W" * 40, "a b " * 60, "$not math_$", "\n".join("abcdefghijkl")]),
    ],
)
def test_no_text_is_clipped(tmp_path, sizes, titles):
    """A white border remains around everything, whatever the labels."""
    sheet = draw(tmp_path / "sheet.png", films(sizes, len(titles)), titles)
    edge = np.concatenate([sheet[:3].ravel(), sheet[-3:].ravel(), sheet[:, :3].ravel(), sheet[:, -3:].ravel()])
    assert (edge == 255).all()


def written(monkeypatch, tmp_path, **kwargs):
    """All texts that are put on the sheet."""
    texts = []
    original = figures._Pen.write

    def write(self, x, y, text, **style):
        texts.append(text)
        return original(self, x, y, text, **style)

    monkeypatch.setattr(figures._Pen, "write", write)
    draw(tmp_path / "sheet.png", **kwargs)
    return texts


def test_headings_spacings_and_labels(monkeypatch, tmp_path):
    """Sizes in ascending order, height first; spacing as y then x, or that it is not known."""
    sizes = (Size(60, 30), Size(10, 5))
    spacing = {size: np.array([[4.0, 8.0], [np.nan, 1.0]]) / size.height for size in sizes}
    texts = written(monkeypatch, tmp_path, images=films(sizes), titles=["id one\nnodule", "b"], spacing=spacing)
    cross = "\N{MULTIPLICATION SIGN}"
    assert [text for text in texts if text in {f"10 {cross} 5", f"60 {cross} 30"}] == [
        f"10 {cross} 5",
        f"60 {cross} 30",
    ]
    assert f"0.400 {cross} 0.800 mm" in texts
    assert f"0.067 {cross} 0.133 mm" in texts
    assert texts.count("spacing not known") == 2
    assert "id one\nnodule" in texts


def test_what_is_larger_than_a_cell_is_said(monkeypatch, tmp_path):
    """A level above 1024 pixels is averaged down, and the sheet says so; below, it does not."""
    assert not any("drawn at" in text for text in written(monkeypatch, tmp_path))
    large = (Size(1100, 20),)
    assert any("1024" in text for text in written(monkeypatch, tmp_path, images=films(large), titles=["a", "b"]))


def test_wrong_arguments_are_refused(tmp_path):
    """Another format, shapes that disagree, nothing to draw."""
    with pytest.raises(ArgumentError, match=r"end in \.png"):
        draw(tmp_path / "sheet.pdf")
    with pytest.raises(ArgumentError, match=r"must have shape \(2, 10, 10\); found \(1, 10, 10\)"):
        contact_sheet(films(count=1), titles=["a", "b"], spacings=spacings(), path=tmp_path / "a.png")
    with pytest.raises(ArgumentError, match=r"\(2, 2\) mm per pixel for 10x10"):
        contact_sheet(films(), titles=["a", "b"], spacings={}, path=tmp_path / "a.png")
    with pytest.raises(ArgumentError, match="found none"):
        contact_sheet({}, titles=[], spacings={}, path=tmp_path / "a.png")


def test_without_matplotlib_the_extra_is_named(monkeypatch, tmp_path):
    """A missing optional package is a sentence with the command that brings it."""
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    with pytest.raises(MissingPackageError, match=r"pip install 'resload\[figures\]'"):
        draw(tmp_path / "sheet.png")


def test_pyplot_is_not_touched(tmp_path):
    """Drawing imports no pyplot, so it opens no window and changes no state of the caller's."""
    before = "matplotlib.pyplot" in sys.modules
    draw(tmp_path / "sheet.png")
    assert ("matplotlib.pyplot" in sys.modules) == before
