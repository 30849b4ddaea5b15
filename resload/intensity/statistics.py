"""What a film's own pixels say of its range: a histogram of its codes, and from it extremes and percentiles, exactly.

A film has at most 65,536 different codes, so a histogram tells all that statistics of single pixels need, and costs one
pass over the film.
"""

import numpy as np
from numpy.typing import NDArray

from resload.decode.radiograph import Pixels
from resload.intensity.standard import Ends, Floats

_BLOCK = 1 << 18
"""Pixels counted at a time: numpy widens them to 64 bits, and a block of those stays in cache."""


def histogram(pixels: Pixels) -> NDArray[np.int64]:
    """How often each code occurs: (256,) for uint8 pixels, (65536,) for uint16."""
    size = int(np.iinfo(pixels.dtype).max) + 1
    total, flat = np.zeros(size, np.int64), pixels.reshape(-1)
    for start in range(0, flat.size, _BLOCK):
        total += np.bincount(flat[start : start + _BLOCK], minlength=size)
    return total


def stretched(values: Floats, ends: Ends) -> Floats:
    """Values between two ends -> [0, 1]; where the ends are the same, what lies above them is white."""
    low, high = ends
    if low == high:
        return np.where(values > low, 1.0, 0.0)
    return (values - low) / (high - low)


def percentiles(values: Floats, counts: NDArray[np.int64], shares: tuple[float, ...]) -> Ends:
    """Two percentiles of pixels whose values occur so often, as `numpy.percentile` defines them (linear).

    values, counts: (n,), of each code; at least one of them occurs. shares: two numbers from 0 to 100.
    """
    order = np.argsort(values, kind="stable")
    ranked, last = values[order], np.cumsum(counts[order]) - 1  # rank of each value's last pixel
    low, high = (_at(ranked, last, share / 100 * int(last[-1])) for share in shares)
    return low, high


def _at(ranked: Floats, last: NDArray[np.int64], rank: float) -> float:
    """The value at a rank, between two pixels by linear interpolation."""
    below = int(rank)
    first, second = (float(ranked[np.searchsorted(last, one)]) for one in (below, min(below + 1, int(last[-1]))))
    return first + (second - first) * (rank - below)
