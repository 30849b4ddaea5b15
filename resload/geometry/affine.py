"""One film's map from source to target pixels."""

from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray


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
