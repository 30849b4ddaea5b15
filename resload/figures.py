"""Pictures for people: the same radiographs at each resolution.

             32 x 32      64 x 64      128 x 128     ...
    id     [ film ]     [ film ]     [ film ]             every cell has the same side in pixels; a film's
    labels  12.8 x 12.4   6.4 x 6.2   3.2 x 3.1           pixels are repeated, never smoothed
    ...

The films are placed in numpy, pixel for pixel, and matplotlib's Agg writes the text, without pyplot: no global
state is touched, no window is opened, and the same images give the same bytes.
"""

import os
import textwrap
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from resload.errors import ArgumentError, require
from resload.size import Native, Size

SMALLEST_CELL, LARGEST_CELL = 300, 1024
"""Sides of a cell in pixels: room for its text below, and a file that a journal accepts above."""

FONT = "DejaVu Sans"
"""The font matplotlib carries with it, so that the sheet is the same on every machine."""

TIMES = "\N{MULTIPLICATION SIGN}"

NOTE = f"Below each film: height {TIMES} width of one pixel in mm. Pixels are repeated, not smoothed."
"""What the numbers and the blocks mean, for a reader who has the picture alone."""

LABEL_CHARACTERS = 18
"""Row labels are broken after so many characters; identifiers of DICOM have up to 64."""


def _font(cell: int) -> int:
    """Pixels: a cell holds the longest spacing, "12.7 x 12.6 mm", also when nine columns fill a page."""
    return round(cell * 0.085)


@dataclass(frozen=True, slots=True)
class _Layout:
    """Where things are, in pixels from the top left."""

    sizes: tuple[Size, ...]
    rows: int
    cell: int
    left: int

    @property
    def font(self) -> int:
        return _font(self.cell)

    @property
    def gap(self) -> int:
        return round(self.cell * 0.06)

    @property
    def head(self) -> int:
        return round(self.font * 3.2)

    @property
    def pitch(self) -> int:
        """From one row of films to the next: film, its spacing below, a gap."""
        return self.cell + round(self.font * 1.6) + self.gap

    @property
    def shape(self) -> tuple[int, int]:
        height = self.head + self.rows * self.pitch + round(self.font * (1 + 1.1 * len(self.note)))
        return height, self.left + len(self.sizes) * (self.cell + self.gap) + self.gap

    @property
    def note(self) -> list[str]:
        """The line at the bottom, broken to the width of the films; a character is under 0.6 of the font."""
        width = len(self.sizes) * (self.cell + self.gap)
        note = NOTE
        if any(max(size) > self.cell for size in self.sizes):
            note += f" Sizes over {self.cell} are drawn at {self.cell}."
        return textwrap.wrap(note, int(width / (0.8 * 0.6 * self.font)))

    def corner(self, row: int, column: int) -> tuple[int, int]:
        return self.head + row * self.pitch, self.left + column * (self.cell + self.gap) + self.gap


def contact_sheet(
    images: Mapping[Size, npt.NDArray[Any]],
    *,
    titles: Sequence[str],
    spacings: Mapping[Size, npt.NDArray[Any]],
    path: str | os.PathLike[str],
    dpi: int = 300,
    most: int = LARGEST_CELL,
) -> None:
    """Draw the same radiographs at each size as a PNG: one row for each, one column for each size.

    `images` holds, for each size, an array (B, H, W): uint8 or uint16 over their full range, or floats in
    [0, 1]. `titles` are B row labels (an id, the positive targets); line breaks in them are kept. `spacings`
    holds (B, 2) millimetres per pixel (y, x) for each size; NaN where it is not known. All films are enlarged
    to the side of the largest one (300 to 1024 pixels) by repeating pixels; what is larger than 1024 is
    averaged down, and a line at the bottom says so; `most` sets another limit, of at least 300. `dpi` is what the
    file declares; it changes no pixel.

    Raises ArgumentError when shapes do not agree or path does not end in .png, and MissingPackageError
    without matplotlib.
    """
    target = Path(path)
    _check(images, titles, spacings, target)
    sizes = tuple(sorted(images, key=lambda size: (size[0] * size[1], size)))
    cell = min(max(*map(max, sizes), SMALLEST_CELL), max(most, SMALLEST_CELL))
    labels = [_wrap(title, lines=8) for title in titles]
    layout = _Layout(sizes, len(labels), cell, _label_width(labels, cell, dpi))
    pen = _Pen(layout.shape, layout.font, dpi)
    _write_text(pen, layout, labels, spacings)
    sheet = np.minimum(_canvas(images, layout), pen.pixels())
    image = require("PIL.Image", "figures", "to write a contact sheet")
    image.fromarray(sheet).save(target, format="PNG", dpi=(dpi, dpi))


def _check(
    images: Mapping[Size, npt.NDArray[Any]],
    titles: Sequence[str],
    spacings: Mapping[Size, npt.NDArray[Any]],
    path: Path,
) -> None:
    if path.suffix.lower() != ".png":
        raise ArgumentError(f"a contact sheet is a PNG, so its path must end in .png; found {str(path)!r}")
    if not images or not titles:
        raise ArgumentError("a contact sheet needs at least one size and one radiograph; found none")
    for size, array in images.items():
        expected = (len(titles), *size)
        if array.shape != expected:
            raise ArgumentError(f"images at {Size(*size)} must have shape {expected}; found {array.shape}")
        if size not in spacings or np.shape(spacings[size]) != (len(titles), 2):
            raise ArgumentError(f"spacings must hold ({len(titles)}, 2) mm per pixel for {Size(*size)}")


def _wrap(title: str, *, lines: int) -> str:
    broken = [part for line in title.split("\n") for part in textwrap.wrap(line, LABEL_CHARACTERS) or [""]]
    if len(broken) > lines:
        broken = [*broken[: lines - 1], "..."]
    return "\n".join(broken)


class _Pen:
    """A sheet of text in pixels, on a figure of its own (not one of pyplot's)."""

    def __init__(self, shape: tuple[int, int], font: int, dpi: int) -> None:
        figure = require("matplotlib.figure", "figures", "to draw a contact sheet")
        agg = require("matplotlib.backends.backend_agg", "figures", "to draw a contact sheet")
        # Half a pixel more: the canvas takes the whole part of inches times dpi, which may fall just short.
        inches = ((shape[1] + 0.5) / dpi, (shape[0] + 0.5) / dpi)
        self.canvas = agg.FigureCanvasAgg(figure.Figure(figsize=inches, dpi=dpi))
        self.shape = shape
        self.points = font * 72 / dpi

    def write(self, x: float, y: float, text: str, *, larger: float = 1.0, **style: Any) -> Any:
        """Put `text` with its anchor at (x, y) pixels from the top left; returns matplotlib's Text."""
        # parse_math off: a dollar sign in an identifier is a dollar sign.
        style = {"family": FONT, "color": "black", "parse_math": False, "fontsize": self.points * larger} | style
        return self.canvas.figure.text(x / self.shape[1], 1 - y / self.shape[0], text, **style)

    def width(self, text: str) -> float:
        """How many pixels wide `text` is when written."""
        extent = self.write(0, 0, text).get_window_extent(self.canvas.get_renderer())
        return float(extent.width)

    def pixels(self) -> npt.NDArray[np.uint8]:
        """What is written, (H, W) grey levels: all text is black, so one channel says it all."""
        self.canvas.draw()
        rgba: npt.NDArray[np.uint8] = np.asarray(self.canvas.buffer_rgba())
        return rgba[..., 0]


def _label_width(labels: Sequence[str], cell: int, dpi: int) -> int:
    """The left margin in pixels, from the labels as they will be drawn: nothing is clipped."""
    font = _font(cell)
    pen = _Pen((10, 10), font, dpi)
    return round(max(pen.width(label) for label in labels) + 1.5 * font)


def _canvas(images: Mapping[Size, npt.NDArray[Any]], layout: _Layout) -> npt.NDArray[np.uint8]:
    canvas = np.full(layout.shape, 255, dtype=np.uint8)
    for column, size in enumerate(layout.sizes):
        for row in range(layout.rows):
            film = _enlarge(_as_bytes(images[size][row]), layout.cell)
            y, x = layout.corner(row, column)
            y += (layout.cell - film.shape[0]) // 2
            x += (layout.cell - film.shape[1]) // 2
            canvas[y : y + film.shape[0], x : x + film.shape[1]] = film
    return canvas


def _as_bytes(film: npt.NDArray[Any]) -> npt.NDArray[np.uint8]:
    full = np.iinfo(film.dtype).max if film.dtype.kind == "u" else 1.0
    grey: npt.NDArray[np.uint8] = np.clip(np.rint(film.astype(np.float32) * (255.0 / full)), 0, 255).astype(np.uint8)
    return grey


def _enlarge(film: npt.NDArray[np.uint8], cell: int) -> npt.NDArray[np.uint8]:
    """The longer side becomes `cell`, by repeating pixels; a film that is larger is averaged down."""
    longer = max(film.shape)
    height, width = (max(1, round(side * cell / longer)) for side in film.shape)
    if longer > cell:
        tensor = torch.from_numpy(np.ascontiguousarray(film))[None, None]
        smaller = torch.nn.functional.interpolate(tensor, size=(height, width), mode="bilinear", antialias=True)
        small: npt.NDArray[np.uint8] = smaller[0, 0].numpy()
        return small
    rows = np.arange(height) * film.shape[0] // height
    columns = np.arange(width) * film.shape[1] // width
    repeated: npt.NDArray[np.uint8] = film[rows[:, None], columns]
    return repeated


def _write_text(pen: _Pen, layout: _Layout, labels: Sequence[str], spacings: Mapping[Size, npt.NDArray[Any]]) -> None:
    font = layout.font
    middle: dict[str, Any] = {"ha": "center", "va": "center"}
    for column, size in enumerate(layout.sizes):
        y, x = layout.corner(0, column)
        x += layout.cell // 2
        heading = str(size) if isinstance(size, Native) else f"{size[0]} {TIMES} {size[1]}"
        pen.write(x, y - 1.3 * font, heading, larger=1.15, weight="bold", **middle)
        for row, spacing in enumerate(spacings[size]):
            below = layout.corner(row, column)[0] + layout.cell + 0.75 * font
            pen.write(x, below, _millimetres(spacing), **middle)
    for row, label in enumerate(labels):
        y = layout.corner(row, 0)[0] + layout.cell // 2
        pen.write(layout.left - 0.3 * font, y, label, ha="right", va="center", linespacing=1.3)
    bottom = layout.shape[0] - 0.5 * font
    pen.write(layout.left + layout.gap, bottom, "\n".join(layout.note), larger=0.8, va="bottom")


def _millimetres(spacing: npt.NDArray[Any]) -> str:
    if not np.isfinite(spacing).all():
        return "spacing not known"
    return f"{_three_digits(spacing[0])} {TIMES} {_three_digits(spacing[1])} mm"


def _three_digits(value: float) -> str:
    """Three significant digits without an exponent: 0.139, 1.39, 13.9."""
    decimals = 3 if value < 1 else 2 if value < 10 else 1
    return f"{value:.{decimals}f}"
