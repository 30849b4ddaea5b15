"""How two public data sets turned their DICOM files into JPEGs: the code that their makers published, as tables.

`mimic-jpg`, MIMIC-CXR-JPG (the core function, by its author: MIT-LCP/mimic-cxr#16; Johnson et al., arXiv 1901.07042):

    (x - min) / (max - min) * 255, truncated  ->  turned round if MONOCHROME1  ->  cv2.equalizeHist

`chexpert-jpg`, CheXpert (by one of its authors: stanfordmlgroup/chexpert-labeler#11):

    |x| * 255 / max, rounded                  ->  turned round if MONOCHROME1  ->  cv2.equalizeHist

They are not the same: CheXpert's does not subtract the smallest value. x is the stored value, of every pixel: neither
knows of rescaling, lookup tables, windows or padding, so padding counts here, as it did there.

What is verified: each step against that published code, and OpenCV's arithmetic against its source. What is not: that
the released files came from exactly this code; and their JPEG compression (quality 95 for MIMIC-CXR-JPG, by the paper)
is not part of the recipe. Films for which that code divides by zero are black here: those of one value for `mimic-jpg`,
those without a value above 0 for `chexpert-jpg`.
"""

import numpy as np
from numpy.typing import NDArray

from resload.intensity.standard import Floats

Bytes8 = NDArray[np.uint8]


def mimic(stored: Floats, counts: NDArray[np.int64], invert: bool) -> Bytes8:
    """What each stored value becomes, uint8 (n,). counts: how often each occurs, (n,)."""
    low, high = _extremes(stored, counts)
    if low == high:
        return np.zeros(stored.shape, np.uint8)
    inside = np.clip(stored, low, high)  # values that do not occur have no meaning; keep them in range
    return _finished(((inside - low) / (high - low) * 255).astype(np.uint8), counts, invert)


def chexpert(stored: Floats, counts: NDArray[np.int64], invert: bool) -> Bytes8:
    """What each stored value becomes, uint8 (n,). counts: how often each occurs, (n,)."""
    high = _extremes(stored, counts)[1]
    if high == 0.0:
        return np.zeros(stored.shape, np.uint8)
    # cv2.convertScaleAbs works in float32, rounds halves to even and saturates (OpenCV, convert_scale.simd.hpp).
    scaled = np.abs(stored.astype(np.float32) * np.float32(255.0 / high))
    return _finished(np.minimum(np.rint(scaled), 255).astype(np.uint8), counts, invert)


def _extremes(stored: Floats, counts: NDArray[np.int64]) -> tuple[float, float]:
    there = stored[counts > 0]
    return float(there.min()), float(there.max())


def _finished(shown: Bytes8, counts: NDArray[np.int64], invert: bool) -> Bytes8:
    """Turned round, and equalised."""
    shown = np.bitwise_not(shown) if invert else shown
    gray = np.bincount(shown, weights=counts, minlength=256).astype(np.int64)
    return equalised(gray)[shown]


def equalised(counts: NDArray[np.int64]) -> Bytes8:
    """The table (256,) of `cv2.equalizeHist` for a film in which each gray level occurs so often, (256,).

    OpenCV's arithmetic (modules/imgproc/src/histogram.cpp): the first level that occurs becomes 0; sums and scale are
    float32, halves are rounded to even. A film of one level keeps it.
    """
    first, total = int(np.flatnonzero(counts)[0]), int(counts.sum())
    if counts[first] == total:
        return np.full(256, first, np.uint8)
    sums = np.cumsum(counts) - counts[first]
    sums[:first] = 0  # levels that do not occur
    scale = np.float32(255.0) / np.float32(total - int(counts[first]))
    made: Bytes8 = np.minimum(np.rint(sums.astype(np.float32) * scale), 255).astype(np.uint8)
    return made
