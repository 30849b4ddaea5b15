"""Shares as whole numbers: how many steps of an epoch are at each size, or from each bucket."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray


def of_steps(ratios: Sequence[float], steps: int) -> NDArray[np.int64]:
    """So many steps in all, each share rounded up or down: those with the largest remainders up."""
    ideal = np.asarray(ratios, float) / np.sum(ratios) * steps
    found: NDArray[np.int64] = np.floor(ideal + 1e-9).astype(np.int64)
    found[np.argsort(found - ideal, kind="stable")[: steps - int(found.sum())]] += 1
    return found


def of_rows(ratios: Sequence[float], counts: Sequence[int], rows: int) -> tuple[NDArray[np.int64], int]:
    """As many steps as the rows fill, and which size comes next: (steps of each, place of the next).

    A step of size k takes counts[k] rows. Each number of steps is its share rounded up or down; the rows that are left
    fill no step of the next size.
    """
    ratio, size = np.asarray(ratios, float), np.asarray(counts, np.int64)
    ideal = ratio * (rows / float(ratio @ size))
    found = np.floor(ideal + 1e-9).astype(np.int64)
    left = rows - int(found @ size)
    waiting = [int(k) for k in np.argsort(found - ideal, kind="stable")]
    for k in list(waiting):
        if size[k] <= left:
            found[k] += 1
            left -= int(size[k])
            waiting.remove(k)
    return found, waiting[0] if waiting else int(np.argmax(size))
