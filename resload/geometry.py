"""A film fitted to a size is one affine map per image: where each source point lands, and back.

Coordinates are continuous and measured from the top left corner of the image: pixel i covers i to i + 1, so its
centre is i + 0.5. That is the half-pixel-centre convention of `reference.py`; a box (x, y, width, height) in
source pixels and a spacing in mm follow the image with no offset of their own.

`stretch` is the fit whose axes are scaled independently to fill the target.
"""

from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from resload.size import Size

FITS = ("stretch",)
ASPECTS = ("pixel",)


class Affine(NamedTuple):
    """target = scale * source + offset, per axis, in pixels of either image."""

    scale_y: float
    scale_x: float
    offset_y: float = 0.0
    offset_x: float = 0.0

    def points(self, points: ArrayLike) -> NDArray[np.float64]:
        """Source points (n, 2) as (y, x) -> target points, float64 (n, 2), a new array."""
        return np.asarray(points, np.float64) * (self.scale_y, self.scale_x) + (self.offset_y, self.offset_x)

    def boxes(self, boxes: ArrayLike) -> NDArray[np.float64]:
        """Source boxes (n, 4) as (x1, y1, x2, y2) -> target boxes, float64 (n, 4), not clipped, a new array."""
        scale = (self.scale_x, self.scale_y) * 2
        return np.asarray(boxes, np.float64) * scale + (self.offset_x, self.offset_y) * 2

    def inverse(self) -> "Affine":
        """The map back: target coordinates -> source coordinates."""
        y, x = 1 / self.scale_y, 1 / self.scale_x
        return Affine(y, x, -self.offset_y * y, -self.offset_x * x)


def stretch(source: Size, target: Size) -> Affine:
    """The whole of `source` onto the whole of `target`, each axis by its own factor."""
    return Affine(target.height / source.height, target.width / source.width)


def spacing_at(spacing: NDArray[np.float64], source: NDArray[np.float64], target: Size) -> NDArray[np.float64]:
    """Spacing in mm per pixel (n, 2) as (y, x) of films stretched from `source` (n, 2) to `target`; NaN stays NaN.

    The field of view does not change, so spacing * side is the same before and after.
    """
    return spacing * source / np.asarray(target, np.float64)
