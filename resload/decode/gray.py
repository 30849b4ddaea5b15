"""Colour to luma, by one rule.

ITU-R BT.601 in whole numbers, `(19595 R + 38470 G + 7471 B + 32768) >> 16`: the three weights add up to
65,536, so gray (R = G = B) stays exactly itself, and for 8 bits it is what Pillow's `convert("L")` does.
Alpha is ignored: a radiograph has no see-through parts, and where film archives left an alpha channel
it is constant.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from resload.decode.radiograph import Pixels, contiguous

WEIGHTS = (19595, 38470, 7471)
"""BT.601's 0.299, 0.587, 0.114 times 65,536."""

_BLOCK = 1 << 16
"""Pixels converted, or samples compared, at a time: what is made of them on the way stays in the processor's cache."""


def to_gray(pixels: NDArray[Any]) -> Pixels:
    """(H, W), (H, W, 1) or (H, W, 2) -> the first channel; (H, W, 3) or (H, W, 4) -> luma.

    uint8 or uint16 in, the same dtype out, (H, W), C-contiguous; a 2-D array is returned as it is when it
    is contiguous already.
    """
    if pixels.ndim == 2:
        return contiguous(pixels)
    if pixels.shape[2] < 3 or _is_gray(pixels):
        return contiguous(pixels[..., 0])
    return _luma(pixels)


def _is_gray(pixels: NDArray[Any]) -> bool:
    """Whether R = G = B everywhere; 64 spread rows settle it for most colour pictures."""
    probe = pixels[:: max(1, pixels.shape[0] // 64)]
    return _equal(probe) and _equal(pixels)


def _equal(pixels: NDArray[Any]) -> bool:
    """Each sample is compared with the next: steps of one are several times as fast as steps of a pixel."""
    samples, channels = pixels.reshape(-1), pixels.shape[2]
    block = _BLOCK // channels * channels
    ends = np.arange(block) % channels >= 2  # blue, and alpha: what follows may differ
    same = np.empty(block, bool)
    for start in range(0, samples.size, block):
        part = samples[start : start + block + 1]
        count = len(part) - 1
        np.equal(part[:-1], part[1:], out=same[:count])
        if not np.logical_or(same[:count], ends[:count], out=same[:count]).all():
            return False
    return True


def _luma(pixels: NDArray[Any]) -> Pixels:
    height, width = pixels.shape[:2]
    out = np.empty((height, width), pixels.dtype)
    rows = max(1, _BLOCK // width)
    for top in range(0, height, rows):
        block = pixels[top : top + rows]
        # 65,535 * 65,536 + 32,768 is below 2**32: 16-bit colour does not overflow either.
        total = np.multiply(block[..., 0], WEIGHTS[0], dtype=np.uint32)
        total += np.multiply(block[..., 1], WEIGHTS[1], dtype=np.uint32)
        total += np.multiply(block[..., 2], WEIGHTS[2], dtype=np.uint32)
        total += np.uint32(1 << 15)
        out[top : top + rows] = total >> np.uint32(16)
    return out
