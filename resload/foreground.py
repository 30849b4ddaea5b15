"""Which part of a film is body, and on which side of a mammogram the chest wall is.

    film (H, W) -> means of square cells, at most 160 a side
        -> white frames off           white lines along the border that end in a step: shutters shown white
        -> above the background       its level is the most frequent dark value along the border
        -> scanner edges, labels off  thin lines along the border, small pieces
        -> box                        one cell wider all around, in pixels of the film

The rule behind every number here: background that is kept costs a few pixels, body that is cut is lost. So the
threshold lies at the foot of the background, far below where two classes part best (Otsu 1979, which cuts the thin
tissue under the skin), and a film that does not show what its background is stays whole.

Small values are dark, and body is brighter than air, as `resload.intensity` shows films. Pure functions of the
pixels, for any number of threads; the sums over all pixels release the GIL.
"""

from typing import Any, NamedTuple, TypeAlias

import numpy as np
from numpy.typing import NDArray

from resload.errors import ArgumentError

Box: TypeAlias = tuple[int, int, int, int]
"""(y, x, height, width) in pixels of the film."""

CELLS = 160
"""Most cells along a side: the letters of a label are then a few cells, a breast is thousands."""

SMALLEST = 16
"""Films with a side under so many pixels stay whole."""

EDGE_PIXELS, EDGE_SHARE = 32, 0.03
"""Thickest line along the border that is the scanner's and not the body's: pixels, but no more of a side than this."""

FOOT = 0.05
"""Background reaches so far above its most frequent value, as a share of the film's range; twice where noisy."""

WHITE, FRAME_STEP = 0.75, 0.15
"""A frame's lines are white throughout, from this share of the film's range on, and behind them the mean falls by this
share of it within 6 cells; tissue fades over more. Real frames are neither uniform nor sharp."""

WHITE_BORDER = 0.4
"""With more of the border white, frames taken off, the film is inverted: its dark parts are no background."""

DARKER_INSIDE = 0.02
"""With more of the inside darker than the dark along the border, that dark is tissue: nothing is darker than air."""

NOISE = 10
"""A film's range is more than so many times the usual difference of neighbours, or it shows nothing but noise."""

LABEL_SHARE, LABEL_RATIO, BODY_SHARE = 0.02, 0.25, 0.005
"""A piece under this share of the film and this ratio to the largest piece is a label or dirt; the largest is body
only if it has this share of the film."""

_Cells = NDArray[np.float32]
_Mask = NDArray[np.bool_]


class _Seen(NamedTuple):
    """What a film shows: a cell of `mask` is `side` x `side` pixels; all of it is set where nothing can be told."""

    mask: _Mask
    side: int


def box(pixels: NDArray[Any]) -> Box:
    """(y, x, height, width) in pixels: the smallest box that holds the foreground, and one cell (1/160 of the longer
    side) around it. Never empty.

    pixels: (H, W) uint8 or uint16 display values, body bright on dark; they are read only.

    Cut off are dark background (air, collimation), white frames parallel to the border, lines of a scanner along
    it, and labels. The whole film, less such frames, is the answer where nothing else can be told: no dark
    background along the border, tissue darker than it inside, most of the border white (an inverted film), no
    contrast beyond noise, a side under 16 pixels. A part that is separate, under 2 % of the film and under a quarter
    of the largest part counts as a label. Thread-safe.

    Raises ArgumentError for another shape or dtype.

    >>> film = np.zeros((320, 320), np.uint8)
    >>> film[100:200, :120] = 150
    >>> box(film)
    (98, 0, 104, 122)
    """
    return _boxed(_see(_checked(pixels)), pixels.shape)


def chest_wall(pixels: NDArray[Any], found: Box | None = None) -> str:
    """`left` or `right`: the side of the film where a mammogram's breast meets its edge; empty if it cannot be told.

    pixels: as for `box`; found: what `box(pixels)` answered, where that is known already (the answer is the same,
    and sooner).

    Where the foreground meets one side, it is that one. Where it meets both (a breast may reach across the film),
    it is the one with at least twice as much foreground along it. The sides are the film's, not the patient's;
    for films other than mammograms the answer means no more than that. Thread-safe.

    Raises ArgumentError for another shape or dtype.

    >>> film = np.zeros((320, 320), np.uint8)
    >>> film[100:200, 200:] = 150
    >>> chest_wall(film)
    'right'
    """
    pixels, width = _checked(pixels), pixels.shape[1]
    seen = None if found else _see(pixels)
    _, x, _, breadth = found or _boxed(seen or _see(pixels), pixels.shape)
    reach = _edge_pixels(width) + 2 * _side(pixels)
    meets = (x <= reach, x + breadth >= width - reach)
    if all(meets):
        seen = seen or _see(pixels)
        edge = min(_edge_cells(width, seen.side), seen.mask.shape[1] - 1)
        left, right = int(seen.mask[:, edge].sum()), int(seen.mask[:, -1 - edge].sum())
        meets = (left >= 2 * right > 0 or right == 0, right >= 2 * left > 0 or left == 0)
    return {(True, False): "left", (False, True): "right"}.get(meets, "")


def _checked(pixels: NDArray[Any]) -> NDArray[Any]:
    if pixels.ndim != 2 or 0 in pixels.shape or pixels.dtype not in (np.uint8, np.uint16):
        raise ArgumentError(
            f"pixels must be one film, (height, width) uint8 or uint16; found {pixels.dtype} {pixels.shape}"
        )
    return pixels


def _boxed(seen: _Seen, shape: tuple[int, ...]) -> Box:
    """The cells that are set and one around them, in pixels, clipped to the film."""
    ends = []
    for axis in (0, 1):
        (hits,) = seen.mask.any(axis=1 - axis).nonzero()
        ends.append((max(0, int(hits[0]) - 1) * seen.side, min(shape[axis], (int(hits[-1]) + 2) * seen.side)))
    (top, bottom), (left, right) = ends
    return top, left, bottom - top, right - left


def _see(pixels: NDArray[Any]) -> _Seen:
    side = _side(pixels)
    cells = _means(_means(pixels, side).T, side).T
    mask = np.ones(cells.shape, np.bool_)
    low, high = np.percentile(cells, (1, 99))
    if min(cells.shape) < 2 or min(pixels.shape) < SMALLEST:
        return _Seen(mask, side)
    if high - low <= NOISE * np.median(np.abs(np.diff(cells, axis=1))):
        return _Seen(mask, side)
    window = _unframed(cells, float(low), float(high - low))
    border = cells[window][_border(cells[window].shape, (0, 0))]
    if (border >= high - FOOT * (high - low)).mean() > WHITE_BORDER:
        return _Seen(mask, side)
    height, width = pixels.shape
    edges = _edge_cells(height, side), _edge_cells(width, side)
    mask[:] = False
    mask[window] = _foreground(cells[window], edges)
    return _Seen(mask, side)


# -- cells ----------------------------------------------------------------------------------------------


def _side(pixels: NDArray[Any]) -> int:
    """Pixels along a cell."""
    return -(-int(max(pixels.shape)) // CELLS)


def _means(lines: NDArray[Any], count: int) -> _Cells:
    """(n, m) -> (ceil(n / count), m) float32, contiguous: the mean of each `count` lines, the last of what is left."""
    lines = np.ascontiguousarray(lines)
    whole = len(lines) // count
    kind = np.float32 if lines.dtype == np.float32 else np.uint32  # 65,535 x 410 lines fit
    sums = lines[: whole * count].reshape(whole, count, lines.shape[1]).sum(axis=1, dtype=kind)
    rest = lines[whole * count :]
    out = np.empty((whole + bool(len(rest)), lines.shape[1]), np.float32)
    out[:whole] = sums / np.float32(count)
    if len(rest):
        out[-1] = rest.mean(axis=0, dtype=np.float32)
    return out


def _edge_pixels(length: int) -> int:
    """How thick a scanner's line may be beside an axis of so many pixels."""
    return min(EDGE_PIXELS, int(EDGE_SHARE * length))


def _edge_cells(length: int, side: int) -> int:
    """How many cells such a line touches at most, wherever it begins in the first."""
    return max(1, -(-_edge_pixels(length) // side) + (side > 1))


# -- frames, background, pieces --------------------------------------------------------------------------


def _unframed(cells: _Cells, low: float, span: float) -> tuple[slice, slice]:
    """The window inside white frames; each side's is less than a third of the film, and only if a step ends it."""
    window = [[0, length] for length in cells.shape]
    for _ in range(2):  # a line is white from end to end only when what is across its ends is off
        for axis in (0, 1):
            part = cells[slice(*window[0]), slice(*window[1])]
            lines = part if axis == 0 else part.T
            window[axis][0] += _frame(lines, low, span)
            window[axis][1] -= _frame(lines[::-1], low, span)
    return slice(*window[0]), slice(*window[1])


def _frame(lines: _Cells, low: float, span: float) -> int:
    """How many lines, from the first on, are a white frame."""
    white = lines[: len(lines) // 3].min(axis=1, initial=np.inf) >= low + WHITE * span
    if not white.size or white.all() or not white[0]:
        return 0
    count = int(white.argmin())
    step = float(lines[count - 1].mean() - lines[count : count + 6].mean(axis=1).min())
    return count if step >= FRAME_STEP * span else 0


def _foreground(cells: _Cells, edges: tuple[int, int]) -> _Mask:
    whole = np.ones(cells.shape, np.bool_)
    level = _background(cells, edges)
    if level is None:
        return whole
    above = cells > level
    kept = _pieces(_without_edges(above, edges))
    if kept.sum() < BODY_SHARE * kept.size:
        return whole
    for _ in range(max(edges) + 1):  # thin ends of the body, which were taken for a scanner's line, come back
        kept = _wider(kept) & above
    return kept


def _background(cells: _Cells, edges: tuple[int, int]) -> float | None:
    """The value up to which cells are background; None where the border does not tell.

    Behind a scanner's black lines is told best, where most of the border agrees; else all of the border is asked.
    """
    low, high = np.percentile(cells, (1, 99))
    foot, parting = FOOT * float(high - low), _parting(cells)
    if foot <= 0:
        return None
    behind = _border(cells.shape, edges)
    level, share = _level(cells, behind, parting, foot)
    if level is not None and share >= 0.5:
        return level
    return _level(cells, _border(cells.shape, (0, 0)), parting, foot)[0]


def _border(shape: tuple[int, ...], skipped: tuple[int, int]) -> _Mask:
    """The outermost twentieth of the cells on all sides, behind as many lines as are skipped."""
    border = np.zeros(shape, np.bool_)
    outer, inner = [], []
    for length, skip in zip(shape, skipped, strict=True):
        skip = min(skip, length // 4)
        margin = skip + max(1, length // 20)
        outer.append(slice(skip, length - skip))
        inner.append(slice(margin, length - margin))
    border[tuple(outer)] = True
    border[tuple(inner)] = False
    return border


def _level(cells: _Cells, where: _Mask, parting: float, foot: float) -> tuple[float | None, float]:
    """The foot of the most frequent dark value of some border, and which share of that border it explains."""
    border = cells[where]
    dark = border[border <= parting]
    if not dark.size:
        return None, 0.0
    often, values = np.histogram(dark, bins=64)
    most = int(often.argmax())
    level = float(values[most] + values[most + 1]) / 2
    margin_y, margin_x = (max(1, length // 20) for length in cells.shape)
    if (cells[margin_y:-margin_y, margin_x:-margin_x] < level - foot).mean() > DARKER_INSIDE:
        return None, 0.0
    spread = 1.4826 * (level - float(np.median(dark[dark <= level]))) if (dark <= level).any() else 0.0
    return level + min(max(foot, 4 * spread), 2 * foot), float((np.abs(border - level) <= foot).mean())


def _parting(cells: _Cells) -> float:
    """Otsu's threshold: the value that parts the cells into the two classes whose means are furthest apart."""
    often, values = np.histogram(cells, bins=256)
    share = np.cumsum(often)[:-1] / cells.size
    sums = np.cumsum(often * (values[:-1] + values[1:]) / 2) / cells.size
    with np.errstate(invalid="ignore", divide="ignore"):  # a class may be empty
        apart = np.square(sums[-1] * share - sums[:-1]) / (share * (1 - share))
    return float(values[1 + int(np.nan_to_num(apart).argmax())])


def _without_edges(mask: _Mask, edges: tuple[int, int]) -> _Mask:
    """Foreground within a scanner's line of the border counts only where there is more behind it."""
    mask = mask.copy()
    for lines, edge in zip((mask, mask.T), edges, strict=True):
        if len(lines) > 2 * edge:
            lines[:edge] &= lines[edge]
            lines[-edge:] &= lines[-edge - 1]
    return mask


def _pieces(mask: _Mask) -> _Mask:
    """`mask` without pieces as small as labels."""
    piece = _labelled(mask)
    areas = np.bincount(piece[mask], minlength=1)
    small = (areas < LABEL_SHARE * mask.size) & (areas < LABEL_RATIO * areas.max())
    kept: _Mask = mask & ~small[piece]
    return kept


def _labelled(mask: _Mask) -> NDArray[np.intp]:
    """A number for each cell, the same for cells of `mask` that hang together (corners count); 0 outside of it too.

    Runs along rows are numbered first; then each takes the smallest number of those it touches in the next row, and
    the number that this one has taken, until nothing changes.
    """
    starts = mask.copy()
    starts[:, 1:] &= ~mask[:, :-1]
    run: NDArray[np.intp] = np.where(mask, np.cumsum(starts).reshape(mask.shape) - 1, 0)
    pairs = [_touching(mask, run, shift) for shift in (-1, 0, 1)]
    above, below = np.concatenate(pairs, axis=1)
    root = np.arange(max(1, int(starts.sum())))
    while True:
        least = np.minimum(root[above], root[below])
        taken = root.copy()
        for ends in (root[above], root[below]):
            np.minimum.at(taken, ends, least)
        taken = taken[taken]
        if np.array_equal(taken, root):
            found: NDArray[np.intp] = root[run]
            return found
        root = taken


def _touching(mask: _Mask, run: NDArray[np.intp], shift: int) -> NDArray[np.intp]:
    """(2, n): the runs of cells (y, x) and (y + 1, x + shift), where both are set; few are named twice."""
    width = mask.shape[1]
    upper = slice(None, -1), slice(max(0, -shift), width - max(0, shift))
    lower = slice(1, None), slice(max(0, shift), width - max(0, -shift))
    both = mask[upper] & mask[lower]
    found = np.stack([run[upper][both], run[lower][both]])
    again = (found[:, 1:] == found[:, :-1]).all(axis=0)
    return np.concatenate([found[:, :1], found[:, 1:][:, ~again]], axis=1)


def _wider(mask: _Mask) -> _Mask:
    """`mask` and the four neighbours of its cells."""
    out = mask.copy()
    out[1:] |= mask[:-1]
    out[:-1] |= mask[1:]
    out[:, 1:] |= mask[:, :-1]
    out[:, :-1] |= mask[:, 1:]
    return out
