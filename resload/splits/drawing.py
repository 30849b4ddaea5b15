"""As many negatives as positives, drawn anew for every seed: what studies of single findings train on."""

import math

import numpy as np
from numpy.typing import NDArray

from resload.seeds import generator


def balanced_draw(values: NDArray[np.float32], *, ratio: float, seed: int, index: int = 0) -> NDArray[np.int64]:
    """Places of all positives and `ratio` times as many negatives, drawn at random; ascending, int64.

    values: (n,) float, 1 positive, 0 negative, NaN unknown and never drawn. Where there are too few negatives, all of
    them are taken and so many positives drawn that the ratio holds: the rarer side is always whole. `index` tells
    several draws of one seed apart. The answer depends on the order of the values.
    """
    positives, negatives = np.flatnonzero(values == 1), np.flatnonzero(values == 0)
    scarce = ratio * len(positives) > len(negatives)
    wanted = math.floor(len(negatives) / ratio + 0.5) if scarce else math.floor(ratio * len(positives) + 0.5)
    whole, many = (negatives, positives) if scarce else (positives, negatives)
    drawn = generator(seed, 0, "split", index).choice(many, size=wanted, replace=False)
    return np.sort(np.concatenate([whole, drawn])).astype(np.int64)
