"""Which pixels count as inside: the rule is chosen when masks are used, and is named.

    "any"          something of the pixel is covered: no finding vanishes, outlines grow by up to a pixel
    t in (0, 1]    at least this share is: 0.5 keeps areas, and loses what is thinner than half a pixel
    nearest        the pixel's centre is: what most image libraries do; keeps areas on the average

The first two follow from coverage alone. `nearest` does not: it is sampled from the largest size that is stored.
All functions return new arrays and are safe in any number of threads.
"""

import math
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from resload.errors import ArgumentError
from resload.masks.areas import Coverage, canvas_of
from resload.masks.rects import Placed, centres, checked
from resload.masks.runs import Mask
from resload.size import SizeLike, as_size

if TYPE_CHECKING:
    import torch

Bytes = TypeVar("Bytes", NDArray[Any], "torch.Tensor")
"""A numpy array, or a tensor on any device."""


def thresholded(stored: Bytes, rule: str | float) -> Bytes:
    """Coverage (..., H, W) uint8, array or tensor, as bool of the same shape and library.

    rule: "any" (coverage > 0) or a share t in (0, 1] (area >= t). "any", 0.5 and 1 decide as the exact area would;
    other shares to within the rounding of a byte, 1/510 of a pixel.

    Raises ArgumentError for another rule.
    """
    return stored >= _least(rule)


def vanished(stored: Bytes, rule: str | float) -> Bytes:
    """Which masks have something at this size and nothing left by the rule: (..., H, W) -> (...) bool.

    A mask of which nothing was there, or nothing seen (by a crop), has not vanished.
    """
    flat = stored.reshape(*stored.shape[:-2], -1)
    gone: Bytes = (flat > 0).any(-1) & ~(flat >= _least(rule)).any(-1)
    return gone


def nearest(largest: Coverage, level: Placed, wanted: Placed, size: SizeLike) -> Mask:
    """Whether the centre of each pixel of `size` is inside, by the largest size stored: (..., *size) bool.

    largest: (..., h, w) uint8. level: its (source, target). wanted: (source, target) at `size`; outside the target
    nothing is inside. A centre is inside where at least half of the largest size's pixel that holds it is covered;
    where the largest size is the film's own, that is the mask itself.

    Raises ArgumentError for another kind of array, or rectangles that are not inside.
    """
    size, canvas = as_size(size), canvas_of(largest)
    level = (level[0], checked(level[1], canvas, "the level's target"))
    y, x, height, width = checked(wanted[1], size, "the wanted target")
    rows, columns = centres(level, wanted, 0), centres(level, wanted, 1)
    out = np.zeros((*largest.shape[:-2], *size), np.bool_)
    out[..., y : y + height, x : x + width] = largest[..., rows[:, None], columns] >= _least(0.5)
    return out


def _least(rule: str | float) -> int:
    """The smallest byte that the rule lets in."""
    if rule == "any":
        return 1
    if isinstance(rule, str) or not 0 < rule <= 1:
        raise ArgumentError(
            f"rule must be 'any' or a share in (0, 1] such as 0.5; found {rule!r}"
            + ("; the centres of pixels are not in a coverage: use resload.masks.inside.nearest" * (rule == "nearest"))
        )
    return math.ceil(255 * rule)
