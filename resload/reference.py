"""What a resize means, in float64 and without tricks: the definition that every fast path is held to.

Separable weights with half-pixel centres. Pixel i of t is centred at source coordinate `c = (i + .5) * n / t`;
source pixel x, centred at x + .5, weighs `kernel((x + .5 - c) / s)` with `s = max(n / t, 1)`, so that a kernel
widens when it shrinks an image (that is the antialiasing) and keeps its width when it enlarges one. Weights of
each output pixel are divided by their sum, which renormalises them at the border instead of inventing pixels
beyond it: the convention of Pillow and of torch's `antialias=True`.

`area` is the exact overlap of an output pixel with the source pixels under it, the convention of OpenCV's
INTER_AREA. `lanczos3` is sinc(x) sinc(x/3) for |x| < 3 and `cubic` is Keys' cubic with a = -0.5 (R. Keys,
IEEE Trans. ASSP 29(6), 1981), as in Pillow.
"""

from collections.abc import Callable

import numpy as np
from numpy.typing import ArrayLike, NDArray

from resload.errors import ArgumentError
from resload.size import SizeLike, as_size

Floats = NDArray[np.float64]


def _triangle(x: Floats) -> Floats:
    return np.maximum(0.0, 1.0 - np.abs(x))


def _lanczos3(x: Floats) -> Floats:
    return np.where(np.abs(x) < 3.0, np.sinc(x) * np.sinc(x / 3.0), 0.0)


def _cubic(x: Floats) -> Floats:
    a, x = -0.5, np.abs(x)
    near = ((a + 2) * x - (a + 3)) * x * x + 1
    far = (((x - 5) * x + 8) * x - 4) * a
    return np.where(x < 1, near, np.where(x < 2, far, 0.0))


KERNELS: dict[str, tuple[Callable[[Floats], Floats] | None, float]] = {
    "triangle": (_triangle, 1.0),
    "area": (None, 0.5),
    "lanczos3": (_lanczos3, 3.0),
    "cubic": (_cubic, 2.0),
}
"""name -> (weight as a function of distance, its radius); `area` is no function of the distance alone."""


def weights_at(index: NDArray[np.int64], source: int, target: int, kernel: str) -> Floats:
    """Weights of the source pixels `index` (t, k) in each of `target` output pixels, float64 (t, k).

    Pixels outside 0 .. source-1 weigh nothing; every row sums to 1 where `index` covers the kernel.
    """
    if kernel not in KERNELS:
        raise ArgumentError(f"kernel must be one of {', '.join(KERNELS)}; found {kernel!r}")
    scale = source / target
    centre = ((np.arange(target) + 0.5) * scale)[:, None]
    function, _ = KERNELS[kernel]
    if function is None:
        low, high = centre - scale / 2, centre + scale / 2
        weight = np.clip(np.minimum(high, index + 1) - np.maximum(low, index), 0.0, None)
    else:
        weight = function((index + 0.5 - centre) / max(scale, 1.0))
    weight = np.where((index >= 0) & (index < source), weight, 0.0)
    return np.asarray(weight / weight.sum(axis=1, keepdims=True), dtype=np.float64)


def matrix(source: int, target: int, kernel: str = "triangle") -> Floats:
    """The resize of one axis as a dense matrix, float64 (target, source)."""
    index = np.broadcast_to(np.arange(source, dtype=np.int64), (target, source))
    return weights_at(index, source, target, kernel)


def resample(image: ArrayLike, size: SizeLike, *, kernel: str = "triangle") -> Floats:
    """The exact resize of one image (H, W) of any real dtype to float64 `size`, before any rounding."""
    pixels = np.asarray(image, dtype=np.float64)
    if pixels.ndim != 2:
        raise ArgumentError(f"reference.resample takes one image (height, width); found shape {pixels.shape}")
    height, width = as_size(size)
    down, across = matrix(pixels.shape[0], height, kernel), matrix(pixels.shape[1], width, kernel)
    return np.asarray(down @ pixels @ across.T, dtype=np.float64)
