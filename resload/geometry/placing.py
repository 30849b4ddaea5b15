"""The two rectangles of many films at once, as arrays: a batch is placed with a few numpy calls.

films    float64 (n, 9), columns FACTS: what is known of each film; NaN where it is not
places   float64 (n, 8): source rectangle (y, x, height, width) in pixels of the film, then the target rectangle on
         the canvas of the size; whole numbers, or NaN for a film that cannot be placed (no spacing, none of its facts)
"""

from functools import lru_cache
from typing import NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from resload.geometry.affine import Affine
from resload.geometry.fits import ALIGNMENTS, CHEST_WALL, Crop, Fit, Pad, Stretch
from resload.size import Native, Size

Floats = NDArray[np.float64]

FACTS = (
    "height",
    "width",
    "spacing_y",
    "spacing_x",
    "content_y",
    "content_x",
    "content_height",
    "content_width",
    "chest_wall",
)
"""What places follow from: the film's size, its spacing in mm, its content in source pixels, and the side of the chest
wall as the share of room to the left of the film (0 left, 1 right)."""
FILM = len(FACTS)
WALLS = {"left": 0.0, "right": 1.0}
_DISTORTED = 1.1
"""Height over width, changed by more than this factor, counts as distorted."""


class Rect(NamedTuple):
    """A rectangle of whole pixels."""

    y: int
    x: int
    height: int
    width: int

    @property
    def slices(self) -> tuple[slice, slice]:
        """To index an image (H, W) with: a view."""
        return slice(self.y, self.y + self.height), slice(self.x, self.x + self.width)


def film_facts(table: pd.DataFrame) -> Floats:
    """FACTS of every row of a table, float64 (N, 9); NaN where a column or value is missing."""
    return np.stack([*(_numbers(table, name) for name in FACTS[:-1]), _walls(table)], axis=1)


def _walls(table: pd.DataFrame) -> Floats:
    """WALLS of every row; looked up once for each text, of which there are few."""
    if "chest_wall" not in table:
        return np.full(len(table), np.nan)
    codes, texts = pd.factorize(table["chest_wall"])  # -1 where missing: the last of what follows
    return np.array([*(WALLS.get(text, np.nan) for text in texts), np.nan])[codes]


def native_canvas(films: Floats) -> Native:
    """The largest height and width of these films (n, FACTS), at least 1 x 1."""
    return Native(*np.nan_to_num(films[:, :2]).max(axis=0, initial=1).astype(int).tolist())


def _numbers(table: pd.DataFrame, name: str) -> Floats:
    if name not in table:
        return np.full(len(table), np.nan)
    return np.asarray(table[name].to_numpy(np.float64, na_value=np.nan))


def places(fit: Fit, aspect: str, films: Floats, size: Size) -> Floats:
    """Where each of these films lies at this size, float64 (n, 8); at its own size, at the top left of the canvas."""
    with np.errstate(divide="ignore", invalid="ignore"):  # quarantined films have no height and width
        if isinstance(size, Native):
            found = np.concatenate([films[:, :2] * 0, films[:, :2]] * 2, axis=1)
        elif isinstance(fit, Stretch):
            found = _stretched(films, size)
        elif isinstance(fit, Crop):
            found = _cropped(fit, aspect, films, size)
        elif fit.field is None:
            found = _padded(fit, aspect, films, size)
        else:
            found = _in_field(fit, fit.field, films, size)
        found[~np.isfinite(found).all(axis=1) | (films[:, 0] < 1) | (films[:, 1] < 1)] = np.nan
    return np.asarray(found, np.float64)


def placed(fit: Fit, aspect: str, film: Floats, size: Size) -> tuple[Rect, Rect] | None:
    """`places` of one film (9,): its rectangles; None when it cannot be placed."""
    return _placed(fit, aspect, film.tobytes(), size)


@lru_cache(maxsize=1024)
def _placed(fit: Fit, aspect: str, film: bytes, size: Size) -> tuple[Rect, Rect] | None:
    """Most films of a data set are of few shapes; and natives are all equal, with one place for a film on each."""
    found = places(fit, aspect, np.frombuffer(film)[None], size)[0]
    if np.isnan(found[0]):
        return None
    values = found.astype(int).tolist()
    return Rect(*values[:4]), Rect(*values[4:])


def _stretched(films: Floats, size: Size) -> Floats:
    zero = np.zeros(len(films))
    height, width = (np.full(len(films), float(side)) for side in size)
    return np.stack([zero, zero, films[:, 0], films[:, 1], zero, zero, height, width], axis=1)


def _pixel_shape(aspect: str, films: Floats) -> Floats:
    """Height over width of a film's pixel; 1 where spacing is not known, or not asked."""
    if aspect == "pixel":
        return np.ones(len(films))
    shape = films[:, 2] / films[:, 3]
    return np.where(np.isfinite(shape), shape, 1.0)


def _rounded(values: Floats) -> Floats:
    """To the nearest whole number; halves go up, also those that float64 made a little smaller."""
    return np.asarray(np.floor(values + (0.5 + 1e-9)))


def _align(fit: Pad, films: Floats) -> tuple[Floats, Floats]:
    """Share of the room that is above, and to the left of, each film."""
    if fit.align == CHEST_WALL:
        return np.full(len(films), 0.5), np.where(np.isnan(films[:, 8]), 0.5, films[:, 8])
    y, x = ALIGNMENTS[fit.align]
    return np.full(len(films), y), np.full(len(films), x)


def _padded(fit: Pad, aspect: str, films: Floats, size: Size) -> Floats:
    shape, zero = _pixel_shape(aspect, films), np.zeros(len(films))
    high = films[:, 0] * shape
    scale = np.minimum(size.height / high, size.width / films[:, 1])
    height = np.clip(_rounded(high * scale), 1, size.height)
    width = np.clip(_rounded(films[:, 1] * scale), 1, size.width)
    above, left = _align(fit, films)
    y, x = _rounded((size.height - height) * above), _rounded((size.width - width) * left)
    return np.stack([zero, zero, films[:, 0], films[:, 1], y, x, height, width], axis=1)


def _in_field(fit: Pad, field: tuple[float, float], films: Floats, size: Size) -> Floats:
    columns = []
    for axis, share in enumerate(_align(fit, films)):
        seen = field[axis] / films[:, 2 + axis]  # source pixels that the target shows
        columns.append(_shown(films[:, axis], seen, (films[:, axis] - seen) * share, size[axis], share))
    return _woven(columns)


def _cropped(fit: Crop, aspect: str, films: Floats, size: Size) -> Floats:
    shape = _pixel_shape(aspect, films)
    box = films[:, 4:8] if fit.to == "content" else np.stack([films[:, 0] * 0, films[:, 0] * 0, *films[:, :2].T], 1)
    scales = size.height / (box[:, 2] * shape), size.width / box[:, 3]
    scale = np.minimum(*scales) if fit.to == "content" else np.maximum(*scales)
    columns = []
    for axis, seen in enumerate((size.height / (scale * shape), size.width / scale)):
        film = films[:, axis]
        start = np.clip(box[:, axis] + (box[:, 2 + axis] - seen) / 2, 0, np.maximum(film - seen, 0))
        columns.append(_shown(film, seen, start, size[axis], np.full(len(films), 0.5)))
    return _woven(columns)


def _shown(film: Floats, seen: Floats, start: Floats, side: int, share: Floats) -> tuple[Floats, ...]:
    """One axis of targets that show `seen` source pixels from `start` on: (source, source length, target, length).

    Where the film is shorter than that, all of it lies on a canvas, with `share` of the room before it.
    """
    whole = seen >= film
    length = np.where(whole, film, np.clip(_rounded(seen), 1, film))
    first = np.where(whole, 0.0, np.clip(_rounded(start), 0, film - length))
    across = np.where(whole, np.clip(_rounded(film / seen * side), 1, side), float(side))
    return first, length, _rounded((side - across) * share), across


def _woven(axes: list[tuple[Floats, ...]]) -> Floats:
    (y, height, to_y, to_height), (x, width, to_x, to_width) = axes
    return np.stack([y, x, height, width, to_y, to_x, to_height, to_width], axis=1)


# -- what follows from places ------------------------------------------------------------------------------


def affine_of(source: Rect, target: Rect) -> Affine:
    """The map of a film's source pixels to target pixels."""
    y, x = target.height / source.height, target.width / source.width
    return Affine(y, x, target.y - source.y * y, target.x - source.x * x)


def affines(found: Floats) -> Floats:
    """Places (n, 8) as maps, float64 (n, 4): scale_y, scale_x, offset_y, offset_x."""
    scale = found[:, 6:8] / found[:, 2:4]
    return np.concatenate([scale, found[:, 4:6] - found[:, :2] * scale], axis=1)


SPACING, CONTENT, PLACES, SHAPE = slice(0, 2), slice(2, 6), slice(6, 14), slice(14, 16)
"""Columns of what `facts_at` answers."""


def facts_at(films: Floats, found: Floats) -> NDArray[np.float32]:
    """What a batch says of its films at the size of these places, float32 (n, 16); NaN where it is unknown.

    Columns: mm per pixel (y, x); the part of the image that is content, in target pixels (y, x, height, width); the
    places themselves (8); the film's (height, width).
    """
    spacing = films[:, 2:4] * found[:, 2:4] / found[:, 6:8]
    first = np.maximum(films[:, 4:6], found[:, :2])
    last = np.minimum(films[:, 4:6] + films[:, 6:8], found[:, :2] + found[:, 2:4])
    maps = affines(found)
    start, stop = (side * maps[:, :2] + maps[:, 2:] for side in (first, np.maximum(first, last)))
    facts = np.concatenate([spacing, start, stop - start, found, films[:, :2]], axis=1)
    return np.asarray(facts, np.float32)


def distorted(films: Floats, found: Floats) -> NDArray[np.bool_]:
    """(n,) which films change their shape by more than a tenth at these places; the shape of the body, where spacing is
    known, else of the pixels.
    """
    shape = _pixel_shape("physical", films)
    with np.errstate(divide="ignore", invalid="ignore"):
        change = np.abs(np.log(found[:, 6] / (found[:, 2] * shape) * found[:, 3] / found[:, 7]))
    return np.asarray(change > np.log(_DISTORTED))
