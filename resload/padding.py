"""Places of a batch that hold no film: views that an exam lacks, and what fills an evaluation's last step.

    index   7  3 -1 -1  9  4      runs: 0 .. 2 and 4 .. 6
    rows    7  3  9  9  9  4      to look things up with, before what was found for nobody is put right

No reader is asked for row -1. A step without padding pays one check for all of this.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from resload.samplers.keys import PADDING


def films(index: NDArray[np.int64]) -> NDArray[np.bool_] | None:
    """(n,) where there is a film; None where there is one everywhere."""
    return index != PADDING if index.size and index.min() == PADDING else None


def runs(valid: NDArray[np.bool_]) -> list[tuple[int, int]]:
    """(start, stop) of each run of places with a film."""
    edges = np.flatnonzero(np.diff(valid, prepend=False, append=False)).tolist()
    return list(zip(edges[::2], edges[1::2], strict=True))


def stood_in(index: NDArray[np.int64], valid: NDArray[np.bool_], everywhere: NDArray[np.int64]) -> NDArray[np.int64]:
    """The rows with one of the whole step's in the place of padding; 0 for a step of padding alone."""
    return np.where(valid, index, max(0, int(everywhere.max())))


def blanked(found: NDArray[Any], valid: NDArray[np.bool_] | None, missing: object) -> NDArray[Any]:
    """The same array, with `missing` where there is no film."""
    if valid is not None:
        found[~valid] = missing
    return found
