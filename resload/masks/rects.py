"""Where the pixels of one size begin and end in pixels of another, in whole numbers.

A *placement* is a pair (source, target): an integer rectangle of the film, in its own pixels, resized onto an integer
rectangle of a canvas. Two sizes of one film are two placements, so a border between pixels of one lies at a fraction
of the other whose denominator is known: nothing is rounded, and a pixel that is touched is told from one that is not.

    film      0 ----[sy ======== source ======== sy + sh]---- H
    size      0 --[ty === target === ty + th]-- h                 pixel i of target: sy + i * sh / th, and on
    level     0 -----[ty' ===== target' ===== ty' + th']----- h'  the same point: ty' + (... - sy') * th' / sh'
"""

from math import gcd
from typing import NamedTuple, TypeAlias

import numpy as np
from numpy.typing import NDArray

from resload.errors import ArgumentError
from resload.size import Size

Rect: TypeAlias = tuple[int, int, int, int]
"""(y, x, height, width) in whole pixels."""

Placed: TypeAlias = tuple[Rect, Rect]
"""(source, target): the rectangle of the film in its own pixels, and the one it fills on the canvas."""

_FINEST = 1 << 27
"""Most units in a pixel wanted and two of the level, so that areas in units, times 255 and 2, fit in 64 bits. Exact
fractions need more only where two placements of a huge film see different parts of it."""


class Edges(NamedTuple):
    """Where pixels begin and end along one axis: pixel i covers marks[i] to marks[i + 1]."""

    marks: NDArray[np.int64]
    """(t + 1,) ascending, in units from the canvas's border."""
    unit: int
    """How many units make a pixel of that canvas."""


def checked(rect: Rect, within: Size, name: str) -> Rect:
    """Four ints that lie inside `within`; raises ArgumentError for anything else."""
    try:
        y, x, height, width = (int(side) for side in rect)
        whole = all(int(side) == side for side in rect)
    except (TypeError, ValueError):
        whole = False
    if not whole:
        raise ArgumentError(f"{name} must be (y, x, height, width) in whole pixels; found {rect!r}")
    if min(y, x) < 0 or min(height, width) < 1 or y + height > within.height or x + width > within.width:
        raise ArgumentError(f"{name} must lie within {within} and have an area; found (y, x, height, width) {rect!r}")
    return y, x, height, width


def whole(size: Size) -> Placed:
    """The placement of a film at its own size."""
    rect = (0, 0, *size)
    return rect, rect


def edges(level: Placed, wanted: Placed, axis: int) -> Edges:
    """The borders of the pixels in `wanted`'s target, on `level`'s canvas; those beyond its target are put on its rim.

    axis: 0 down, 1 across.
    """
    (seen, length), (at, span) = ((rect[axis], rect[axis + 2]) for rect in level)
    (begin, extent), (_, count) = ((rect[axis], rect[axis + 2]) for rect in wanted)
    start, step, unit = (at * length + (begin - seen) * span) * count, extent * span, length * count
    common = gcd(start, step, unit)
    start, step, unit = start // common, step // common, unit // common
    marks = start + np.arange(count + 1, dtype=np.int64) * step
    if step + 2 * unit > _FINEST:
        coarse = _FINEST * unit // (step + 2 * unit)
        marks, unit = np.rint(marks * (coarse / unit)).astype(np.int64), coarse
    return Edges(np.clip(marks, at * unit, (at + span) * unit), unit)


def centres(level: Placed, wanted: Placed, axis: int) -> NDArray[np.int64]:
    """(t,) which pixel of `level`'s canvas holds the centre of each pixel of `wanted`'s target.

    A centre on a border counts to the pixel after it, as Pillow's NEAREST means it (its floats decide either way).
    """
    marks, unit = edges(level, wanted, axis)
    last = level[1][axis] + level[1][axis + 2] - 1
    return np.minimum((marks[:-1] + marks[1:]) // (2 * unit), last)
