"""How much of each pixel a mask covers: the area, exact, as a byte.

0 is nothing at all and 255 is all of it; whatever lies between is rounded to 1 ... 254, halves up. So `> 0` is "any
overlap" and `== 255` is "all of it" as if the fractions had been kept, and so is `>= 128` for "at least half".

Areas are sums of whole numbers: the pixels from one border to the next, with the shares of those that the borders cut,
whose denominator is known (`rects.py`). Only the box around what is inside is looked at: masks are mostly empty. The
kernel is `area` of `resload.reference`, in both directions.
"""

from itertools import pairwise
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from resload.errors import ArgumentError
from resload.masks.rects import Edges, Placed, Rect, checked, edges, whole
from resload.masks.runs import Mask
from resload.size import Size, SizeLike, as_size

Coverage: TypeAlias = NDArray[np.uint8]
"""(..., H, W): how much of each pixel is inside, 0 (nothing) to 255 (all)."""


def coverage(mask: Mask, source: Rect, target: Rect, size: SizeLike) -> Coverage:
    """How much of each pixel of `size` a mask covers, under its film's placement.

    mask: (H, W) bool, in the film's pixels. source: the rectangle of the film that is seen. target: the rectangle of
    `size` that it fills; outside it nothing is covered. Returns uint8 `size`, C-contiguous, a new array: the exact
    area times 255, rounded halves up, with 0 and 255 for exactly nothing and exactly all. Thread-safe.

    Raises ArgumentError for another kind of array and for rectangles that are not inside, SizeError for a size.

    >>> coverage(np.eye(4, dtype=bool), (0, 0, 4, 4), (0, 0, 2, 2), 2)
    array([[128,   0],
           [  0, 128]], dtype=uint8)
    """
    size = as_size(size)
    if mask.ndim != 2 or mask.dtype != np.bool_ or 0 in mask.shape:
        raise ArgumentError(f"a mask is (height, width) of bool; found {mask.dtype} {mask.shape}")
    film = Size(*mask.shape)
    wanted = checked(source, film, "source"), checked(target, size, "target")
    out = np.zeros(size, np.uint8)
    _add_area(mask.view(np.uint8), 1, whole(film), wanted, out)
    return out


def recovered(stored: Coverage, level: Placed, wanted: Placed, size: SizeLike) -> Coverage:
    """The coverage at one size from that at another: areas of areas.

    stored: (..., h, w) uint8 from `coverage`. level: its (source, target). wanted: (source, target) at `size`.
    Returns (..., *size) uint8, a new array. Thread-safe.

    Where each wanted pixel is made of whole pixels of the level, this is what `coverage` gives from the mask, to the
    two roundings (1.5 of 255). Elsewhere a pixel's inside is taken to be spread evenly over it, which is all that is
    known. What comes from nothing but 0 is 0 and what comes from nothing but 255 is 255; a pixel that only touches a
    partly covered one is at least 1, so "any overlap" errs to the side of inside.

    Raises ArgumentError where the level does not see a pixel that is wanted at all (a crop cannot answer for all of
    the film).
    """
    size, canvas = as_size(size), canvas_of(stored)
    level = (level[0], checked(level[1], canvas, "the level's target"))
    wanted = (wanted[0], checked(wanted[1], size, "the wanted target"))
    out = np.zeros((*stored.shape[:-2], *size), np.uint8)
    for index in np.ndindex(*stored.shape[:-2]):
        _add_area(stored[index], 255, level, wanted, out[index])
    return out


def canvas_of(stored: Coverage) -> Size:
    """The size that a coverage (..., H, W) uint8 is of; raises ArgumentError for another kind of array."""
    if stored.dtype != np.uint8 or stored.ndim < 2 or 0 in stored.shape[-2:]:
        raise ArgumentError(f"coverage is (..., height, width) of uint8; found {stored.dtype} {stored.shape}")
    return Size(*stored.shape[-2:])


def _add_area(values: Coverage, top: int, level: Placed, wanted: Placed, out: Coverage) -> None:
    """Write the share of `top` in each pixel of `wanted`'s target into `out`, which is zero."""
    down, across = edges(level, wanted, 0), edges(level, wanted, 1)
    for marks in (down.marks, across.marks):
        if (np.diff(marks) == 0).any():
            raise ArgumentError(
                f"the stored size sees the film's rectangle {level[0]} (y, x, height, width) and cannot answer for "
                f"{wanted[0]}: build masks at the size that is wanted, or with its fit"
            )
    rows, columns = _box(values)
    y, x = _touched(down, rows), _touched(across, columns)
    if y.start == y.stop or x.start == x.stop:
        return
    strip = _swept(values[rows, columns], _ends(down, y, rows), down.unit)
    share = _swept(np.ascontiguousarray(strip.T), _ends(across, x, columns), across.unit).T
    every = np.multiply.outer(_lengths(down, y), _lengths(across, x))
    upper, left = wanted[1][:2]
    out[upper + y.start : upper + y.stop, left + x.start : left + x.stop] = _rounded(share, every, top)


def _box(values: NDArray[np.uint8]) -> tuple[slice, slice]:
    """Rows and columns from the first to the last that hold anything."""
    rows = _first_to_last(values.any(axis=1))
    return rows, _first_to_last(values[rows].any(axis=0))


def _first_to_last(flags: NDArray[np.bool_]) -> slice:
    found = np.flatnonzero(flags)
    return slice(int(found[0]), int(found[-1]) + 1) if found.size else slice(0, 0)


def _touched(axis: Edges, pixels: slice) -> slice:
    """Which wanted pixels reach into the level's `pixels`."""
    marks = np.clip(axis.marks, pixels.start * axis.unit, pixels.stop * axis.unit)
    return _first_to_last(np.diff(marks) > 0)


def _ends(axis: Edges, some: slice, pixels: slice) -> NDArray[np.int64]:
    """Where the pixels `some` begin and end, from the start of the level's `pixels` on and not beyond them."""
    marks = axis.marks[some.start : some.stop + 1] - pixels.start * axis.unit
    return np.asarray(np.clip(marks, 0, (pixels.stop - pixels.start) * axis.unit), np.int64)


def _lengths(axis: Edges, some: slice) -> NDArray[np.int64]:
    lengths: NDArray[np.int64] = np.diff(axis.marks[some.start : some.stop + 1])
    return lengths


def _swept(values: NDArray[Any], ends: NDArray[np.int64], unit: int) -> NDArray[np.int64]:
    """(n, m) -> (t, m): the sums of rows from one end to the next, in units, with the shares of rows that are cut."""
    row, part = np.divmod(ends, unit)
    sums = np.empty((len(ends) - 1, values.shape[1]), np.int64)
    narrow = np.int32 if values.dtype == np.uint8 else np.int64  # 65,536 bytes add up to less than 2**24
    for out, (begin, end) in zip(sums, pairwise(row.tolist()), strict=True):
        out[:] = values[begin:end].sum(axis=0, dtype=narrow)
    sums *= unit
    if part.any():
        sums += np.diff(part[:, None] * values[np.minimum(row, len(values) - 1)], axis=0)
    return sums


def _rounded(share: NDArray[np.int64], every: NDArray[np.int64], top: int) -> Coverage:
    """A share / (top * every) as a byte: 0 and 255 only where it is exactly 0 and 1."""
    # Where half is decided it is exact: 255 * every stays below 2**53 for every mask (top 1).
    level = np.floor(share * (255 // top) / every + 0.5)
    np.clip(level, 1, 254, out=level)
    level[share == 0] = 0
    level[share == every * top] = 255
    return np.asarray(level, np.uint8)
