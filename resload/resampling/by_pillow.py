"""The contract by Pillow, or by pillow-simd where that is installed in its place. Never imports torch.

* 8 bit, triangle: strips.py, each four pictures as one of mode CMYK. Not RGBA, whose channels Pillow multiplies by
  the fourth (31 to 56 grey levels wrong); not L, which pillow-simd leaves to scalar code.
* other kernels and depths: mode F, float32 pixels and sums in double. Not I;16, which is rounded between the passes.
* `area`: numpy, since Pillow's BOX takes whole pixels or none and is no exact overlap.

Pillow sees a film where it lies, without a copy: CMYK by its buffer, F by Arrow, since Pillow copies F from a buffer
and holds the GIL meanwhile. Pillow 11.2.1 is the first that takes Arrow.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from resload.errors import MissingPackageError, require
from resload.resampling.bands import taps
from resload.size import Size

Pixels = NDArray[Any]

_FILTERS = {"triangle": "BILINEAR", "lanczos3": "LANCZOS", "cubic": "BICUBIC"}


def four(interleaved: Pixels, size: tuple[int, int]) -> Pixels:
    """(H, W, 4) uint8, C-contiguous -> (*size, 4), by Pillow's resize of four channels that lie side by side."""
    image = _pillow()
    height, width, _ = interleaved.shape
    picture = image.frombuffer("CMYK", (width, height), interleaved, "raw", "CMYK", 0, 1)
    return np.asarray(picture.resize((size[1], size[0]), image.Resampling.BILINEAR))


def exact(image: Pixels, sizes: list[Size], kernel: str) -> list[Pixels]:
    """(H, W) uint8, uint16 or float32, C-contiguous -> new arrays of each size and the same dtype."""
    if kernel == "area":
        return [_rounded(_area(image, size), image.dtype) for size in sizes]
    picture = _floats(image.astype(np.float32, copy=False))
    resampling = _pillow().Resampling[_FILTERS[kernel]]
    return [_rounded(np.array(picture.resize((size.width, size.height), resampling)), image.dtype) for size in sizes]


def _pillow() -> Any:
    image = require("PIL.Image", "pillow", 'for engine="pillow"')
    if not hasattr(image, "fromarrow"):
        raise MissingPackageError(
            f'Pillow 11.2.1 or later is needed for engine="pillow"; found {image.__version__}: '
            "pip install 'resload[pillow]'",
            name="PIL",
        )
    return image


def _floats(pixels: NDArray[np.float32]) -> Any:
    """(H, W) float32 as a picture of mode F in the same memory, which it keeps alive."""
    import pyarrow as pa

    height, width = pixels.shape
    return _pillow().fromarrow(pa.array(pixels.reshape(-1)), "F", (width, height))


def _area(image: Pixels, size: Size) -> NDArray[np.float64]:
    down = _summed(image, size.height)
    return _summed(np.ascontiguousarray(down.T), size.width).T


def _summed(rows: Pixels, target: int) -> NDArray[np.float64]:
    """(n, m) -> (target, m): each output row is the sum of the rows under it, weighted by overlap."""
    out = np.zeros((target, rows.shape[1]))
    for index, weight in zip(*taps(len(rows), target, "area"), strict=True):
        out += rows[index] * weight[:, None]
    return out


def _rounded(values: NDArray[Any], dtype: np.dtype[Any]) -> Pixels:
    """Floats -> a C-contiguous array of the source's dtype: integers rounded half up and clipped, once."""
    if dtype.kind != "f":
        values = np.clip(values + 0.5, 0, np.iinfo(dtype).max)  # floor(x + .5): the cast truncates
    return np.ascontiguousarray(values, dtype)
