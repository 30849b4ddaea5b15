"""The weights of a resize that are not zero: few for each output pixel, side by side."""

from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from resload import reference

STRETCH = 16
"""Terms summed in float32 at a stretch. Longer sums drift out of the contract on 16-bit data at large ratios, so they
are made of stretches whose sums are summed in turn: pairwise summation with longer arms."""


def bands(source: int, target: int, kernel: str) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """Source pixels (target, k) and their weights, float64 (target, k); each row of weights sums to 1.

    Every weight of `reference.matrix` that is not zero is among them. Pixels beyond the source, which weigh nothing,
    are too.
    """
    _, radius = reference.KERNELS[kernel]
    scale = source / target
    reach = radius * max(scale, 1.0)
    first = np.floor((np.arange(target) + 0.5) * scale - reach - 0.5).astype(np.int64)
    index = first[:, None] + np.arange(int(np.ceil(2 * reach)) + 3)
    return index, reference.weights_at(index, source, target, kernel)


@lru_cache(maxsize=256)
def taps(source: int, target: int, kernel: str) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """`bands` the other way round, (k, target): the k-th pixel of every output pixel, without the k that weigh nothing.

    Pixels beyond the source are named as those at its ends. Shared between callers: not to be written to.
    """
    index, weight = bands(source, target, kernel)
    used = weight.any(axis=0)
    return index.clip(0, source - 1).T[used], weight.T[used]
