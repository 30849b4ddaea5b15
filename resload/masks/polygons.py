"""Contours as masks: a pixel is inside where its centre is, and no contour vanishes.

    contours      lists of points (x, y), in pixels from the upper left corner of the film: pixel i covers i to i + 1
    polygon_runs  contours -> run-lengths, for a catalog's table of masks
    polygon_mask  contours -> (H, W) bool

Everything happens along columns, as run-lengths do: where a contour crosses the line through a column's centres, a
run begins or ends. So a film's thousand contours cost their outlines, not a film of pixels each. No state;
safe in any number of threads.
"""

from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from resload.errors import ArgumentError
from resload.limits import limits, raised_by
from resload.masks.runs import Mask, decode_runs
from resload.size import Size, SizeLike, as_size

_FARTHEST = 1 << 31
"""No point is that many pixels away, in any direction: products of places stay exact enough, and finite."""


class _Edges(NamedTuple):
    """Sides of contours, each from its left end to its right end; upright ones cross no line and are left out."""

    left: NDArray[np.float64]
    """(n, 2) x, y."""
    right: NDArray[np.float64]
    contour: NDArray[np.int64]


def polygon_runs(contours: Sequence[ArrayLike], size: SizeLike) -> str:
    """Run-lengths (format `siim`) of the pixels whose centre is inside at least one contour; `-1` for none.

    Args:
        contours: each (n, 2) numbers, x before y, in pixels of the film from its upper left corner: pixel i covers
            i to i + 1, its centre is i + 0.5. The last point is joined to the first. Where a contour crosses
            itself, the parts that it goes round twice are outside (even-odd rule). Parts beyond the film are cut.
        size: the film's (height, width).

    A contour that holds no centre, because it is smaller than a pixel, a line or a single point, marks the pixels that
    its points lie in: findings of one pixel, as calcifications are, do not vanish.

    Raises ArgumentError for contours that are not (n, 2) numbers below 2**31 with n >= 1, and for more crossings with
    columns than `limits().crossings`; SizeError for a size.

    >>> polygon_runs([[(1, 0), (3, 0), (3, 2), (1, 2)]], (4, 4))
    '4 2 2 2'
    """
    size = as_size(size)
    if isinstance(contours, str | bytes) or not isinstance(contours, Iterable):
        raise ArgumentError(f"contours are a list, each a list of points (x, y); found {str(contours)[:60]!r}")
    points = [_checked(contour) for contour in contours]
    found = _spans(_edges(points), size)
    hollow = np.setdiff1d(np.arange(len(points)), found[:, 0])
    spans = np.concatenate([found[:, 1:], *(_pixels_of(points[one], size) for one in hollow.tolist())])
    return _text(_united(spans))


def polygon_mask(contours: Sequence[ArrayLike], size: SizeLike) -> Mask:
    """The same pixels as a mask: (H, W) bool, C-contiguous, a new array. Raises as `polygon_runs` does.

    >>> polygon_mask([[(1, 0), (3, 0), (3, 2), (1, 2)]], (2, 4)).astype(int)
    array([[0, 1, 1, 0],
           [0, 1, 1, 0]])
    """
    return decode_runs(polygon_runs(contours, size), size)


def _checked(contour: Any) -> NDArray[np.float64]:
    try:
        points = np.asarray(contour, dtype=np.float64)
    except (TypeError, ValueError):
        points = np.empty(0)
    if points.ndim != 2 or points.shape[1] != 2 or not len(points) or not (abs(points) < _FARTHEST).all():
        raise ArgumentError(
            f"a contour is a list of points (x, y), at least one, in pixels of a film; found {str(contour)[:60]}"
        )
    return points


def _edges(contours: Sequence[NDArray[np.float64]]) -> _Edges:
    """All sides of all contours."""
    empty = np.empty((0, 2))
    begin = np.concatenate([empty, *contours])
    end = np.concatenate([empty, *(np.roll(contour, -1, axis=0) for contour in contours)])
    number = np.repeat(np.arange(len(contours)), [len(contour) for contour in contours])
    slanted = begin[:, 0] != end[:, 0]
    begin, end, number = begin[slanted], end[slanted], number[slanted]
    forward = (begin[:, 0] < end[:, 0])[:, None]
    return _Edges(np.where(forward, begin, end), np.where(forward, end, begin), number)


def _spans(edges: _Edges, size: Size) -> NDArray[np.int64]:
    """(n, 3) contour, begin, end: the runs of pixels inside each contour, counted down the columns of the film.

    A side covers the columns whose centre is at or after its left end and before its right end, so that of two sides
    that meet on a column's centre one counts, and each column is crossed an even number of times.
    """
    first, behind = (_centres_before(side[:, 0], size.width) for side in (edges.left, edges.right))
    count = behind - first
    if count.sum() > limits().crossings:
        raise ArgumentError(
            f"contours cross columns of pixels {count.sum()} times, more than {limits().crossings}; if they are right, "
            f"raise {raised_by('crossings')}"
        )
    side = np.repeat(np.arange(len(count)), count)
    column = np.arange(len(side)) - np.repeat(np.cumsum(count) - count, count) + first[side]
    left, right = edges.left[side], edges.right[side]
    step = (column + 0.5 - left[:, 0]) * (right[:, 1] - left[:, 1]) / (right[:, 0] - left[:, 0])
    row, contour = _centres_before(left[:, 1] + step, size.height), edges.contour[side]
    order = np.lexsort((row, column, contour))
    row, column, contour = row[order], column[order], contour[order]
    begin, end = (column[::2] * size.height + row[half::2] for half in (0, 1))
    return np.asarray(np.stack([contour[::2], begin, end], axis=1)[end > begin], np.int64)


def _centres_before(at: NDArray[np.float64], most: int) -> NDArray[np.int64]:
    """How many of `most` pixels along a line have their centre before each place."""
    return np.asarray(np.clip(np.ceil(at - 0.5), 0, most), np.int64)


def _pixels_of(points: NDArray[np.float64], size: Size) -> NDArray[np.int64]:
    """(n, 2) begin, end: the pixels of the film that the points lie in."""
    x, y = np.floor(points).T
    inside = (x >= 0) & (x < size.width) & (y >= 0) & (y < size.height)
    begin = x[inside].astype(np.int64) * size.height + y[inside].astype(np.int64)
    return np.stack([begin, begin + 1], axis=1)


def _united(spans: NDArray[np.int64]) -> NDArray[np.int64]:
    """Runs that overlap or touch become one: (n, 2) begin, end, ascending and apart."""
    if not len(spans):
        return spans
    spans = spans[np.argsort(spans[:, 0], kind="stable")]
    reach = np.maximum.accumulate(spans[:, 1])
    first = np.flatnonzero(np.concatenate([[True], spans[1:, 0] > reach[:-1]]))
    return np.stack([spans[first, 0], np.maximum.reduceat(spans[:, 1], first)], axis=1)


def _text(spans: NDArray[np.int64]) -> str:
    """Runs as `siim` spells them: the gap before each, and its length."""
    flat = spans.reshape(-1)
    return " ".join(map(str, np.diff(flat, prepend=0).tolist())) or "-1"
