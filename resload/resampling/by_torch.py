"""The contract by torch: the default engine, and the one that builds and loaders use.

* `four`: torch's uint8 antialiased resize has a SIMD path for pictures of three or four interleaved channels; see
  strips.py. The arithmetic is, bit for bit, that of torch's gray resize.
* `exact`: everything else (16 bit, floats, other kernels, ratios near 1 or extreme). Weights made in float64, kept
  as float32, summed in float32 by `torch.embedding_bag`, which is a vectorised "weighted sum of rows": the vertical
  pass as it stands, the horizontal pass on the transpose. One final rounding. torch's own float resize is not used:
  it also makes its weights in float32 and is 5.7 of 65,535 wrong.
"""

from functools import lru_cache
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from resload import forks
from resload.resampling.bands import STRETCH, bands
from resload.size import Size

Pixels = NDArray[Any]


@forks.apart
def four(interleaved: Pixels, size: tuple[int, int]) -> Pixels:
    """(H, W, 4) uint8, C-contiguous -> (*size, 4), by torch's resize of four channels that lie side by side.

    The view that torch gets has the batch axis's true stride: with another one it takes the picture for an ordinary
    one, and takes it apart and together again.
    """
    channels = torch.from_numpy(interleaved.reshape(1, *interleaved.shape).transpose(0, 3, 1, 2))
    resized = torch.nn.functional.interpolate(channels, size=size, mode="bilinear", antialias=True)
    found: Pixels = resized.numpy()[0].transpose(1, 2, 0)
    return found


@forks.apart
def exact(image: Pixels, sizes: list[Size], kernel: str) -> list[Pixels]:
    """(H, W) uint8, uint16 or float32, C-contiguous -> new arrays of each size and the same dtype."""
    source = torch.from_numpy(image.astype(np.float32))  # numpy casts uint16 much faster than torch does
    out = []
    with torch.no_grad():
        for size in sizes:
            down = _product(source, size.height, kernel)
            across = _product(_transposed(down), size.width, kernel)
            out.append(_rounded(across.numpy(), image.dtype))
    return out


def _product(rows: torch.Tensor, target: int, kernel: str) -> torch.Tensor:
    """(n, m) float32 -> (target, m): each output row is a weighted sum of neighbouring rows."""
    for index, begins, weight in _bags(rows.shape[0], target, kernel):
        rows = torch.nn.functional.embedding_bag(index, rows, begins, mode="sum", per_sample_weights=weight)
    return rows


_Bags = tuple[torch.Tensor, torch.Tensor, torch.Tensor | None]


@lru_cache(maxsize=4096)
def _bags(source: int, target: int, kernel: str) -> list[_Bags]:
    """The non-zero weights of a resize: source indices, where each bag of them begins, and the weights.

    One stage where a bag is an output pixel; where an output pixel has several bags, further stages add their sums.
    """
    index, weight = bands(source, target, kernel)
    used = weight != 0
    counts = used.sum(axis=1)
    stages = [_stage(index[used], counts, weight[used])]
    while counts.max() > STRETCH:
        counts = -(-counts // STRETCH)
        stages.append(_stage(np.arange(counts.sum()), counts, None))
    return stages


def _stage(index: NDArray[np.int64], counts: NDArray[np.int64], weight: NDArray[np.float64] | None) -> _Bags:
    """One embedding_bag: each pixel's `counts` terms in bags of at most `STRETCH`."""
    bags = -(-counts // STRETCH)
    within = np.arange(bags.sum()) - np.repeat(np.cumsum(bags) - bags, bags)
    begins = np.repeat(np.cumsum(counts) - counts, bags) + within * STRETCH
    weights = None if weight is None else torch.from_numpy(weight.astype(np.float32))
    return torch.from_numpy(index.astype(np.int32)), torch.from_numpy(begins.astype(np.int32)), weights


def _transposed(rows: torch.Tensor) -> torch.Tensor:
    return rows.t().contiguous()  # torch transposes in blocks, much faster than numpy


def _rounded(transposed: Pixels, dtype: np.dtype[Any]) -> Pixels:
    """(w, h) float32 -> (h, w) of the source's dtype: rounded half up and clipped, once."""
    if dtype.kind == "f":
        return _transposed(torch.from_numpy(transposed)).numpy()
    transposed += 0.5  # floor(x + .5): the cast below truncates
    np.clip(transposed, 0, np.iinfo(dtype).max, out=transposed)
    whole = transposed.astype(dtype)
    return _transposed(torch.from_numpy(whole.view(f"i{dtype.itemsize}"))).numpy().view(dtype)
