"""One gray 8-bit film as four pictures, for engines that are fast with four channels and slow with one.

torch's antialiased resize and pillow-simd's are vectorised for pictures of interleaved channels and scalar for gray:

    vertical pass          4 neighbouring columns taken as channels (a view: no copy)
    horizontal pass        its result cut into 4 strips of rows, interleaved as channels

Each pass does the same integer arithmetic on the same numbers as the engine's gray resize. Both engines round halves
up after both passes, which brightens a film by up to a quarter of a grey level (0.12 at exactly one half). So the
second pass sees the negative, where up is down, and the two biases cancel.
"""

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from resload.size import Size

Pixels = NDArray[Any]
Four = Callable[[Pixels, tuple[int, int]], Pixels]
"""(H, W, 4) uint8 and (h, w) -> (h, w, 4), by the triangle kernel."""

RATIOS = (1.6, 128.0)
"""Source over target sides for which two roundings to 8 bit keep the contract. Nearer to 1 fewer pixels are
averaged and the rmse passes 0.35; beyond 128 the fixed-point weights of torch and pillow-simd (at most 22 fractional
bits) are too coarse. `tests/test_resampling.py::test_uint8_bias_and_rmse...` and `test_extreme_ratios` hold both
ends."""


def suit(image: Pixels, size: Size, kernel: str) -> bool:
    """Whether this resize keeps the contract in strips."""
    ratios = (image.shape[0] / size.height, image.shape[1] / size.width)
    least, most = RATIOS
    return image.dtype == np.uint8 and kernel == "triangle" and least <= min(ratios) and max(ratios) <= most


def levels(image: Pixels, sizes: list[Size], four: Four) -> list[Pixels]:
    """(H, W) uint8, C-contiguous -> new arrays of each size, where `suit` says so."""
    width = image.shape[1]
    columns = _four_columns(image)
    loom = np.empty(-(-max(size.height for size in sizes) // 4) * 4 * width, image.dtype)  # hot from size to size
    out = []
    for size in sizes:
        down = four(columns, (size.height, columns.shape[1]))
        woven, starts = _woven_negative(down.reshape(size.height, -1)[:, :width], loom)
        across = four(woven, (len(woven), size.width)).transpose(2, 0, 1)
        level = np.empty(size, image.dtype)
        if len(woven) * 4 == size.height:
            np.invert(across, out=level.reshape(across.shape))
        else:
            for strip, start in zip(across, starts, strict=True):
                np.invert(strip, out=level[start : start + len(woven)])
        out.append(level)
    return out


def _four_columns(image: Pixels) -> Pixels:
    """(H, W) seen as (H, ceil(W / 4), 4); a copy only where W is no multiple of 4, with columns never read again."""
    height, width = image.shape
    quarter = -(-width // 4)
    if quarter * 4 != width:
        padded = np.zeros((height, quarter * 4), image.dtype)
        padded[:, :width] = image
        image = padded
    return image.reshape(height, quarter, 4)


def _woven_negative(picture: Pixels, loom: Pixels) -> tuple[Pixels, list[int]]:
    """(T, W) -> its negative as (ceil(T / 4), W, 4): four strips of rows, interleaved; and where each strip begins.

    The result lies in `loom`, which must hold as many bytes. The last strips overlap where T is no multiple of 4:
    some rows are then made twice, the same.
    """
    height, width = picture.shape
    rows = -(-height // 4)
    starts = [min(k * rows, height - rows) for k in range(4)]
    woven = loom[: rows * width * 4].reshape(rows, width, 4)
    for channel, start in enumerate(starts):  # quicker than torch.stack, and the negative costs nothing
        np.invert(picture[start : start + rows], out=woven[..., channel])
    return woven, starts
