r"""Square phantoms with nodules of known diameter, of which can be computed from which size on they can be seen.

    field        64 mm, 256 pixels, 8 bits
    background   noise of a power spectrum 1/f^2, which has as much variance in every octave, as tissue about has; a
                 little white noise of the detector; a brightness of its own, so that a mean tells nothing
    nodule       a bright core of the diameter in a dark rim, h(r) = C (1 - r^2/a^2) exp(-r^2/a^2) with a = diameter/2

                      ____
                     /    \            its integral is 0: pixels that are larger than it average it away, and
             _______/      \_______    with them goes all trace of it
                \__/        \__/

A finding is 2, 4 or 8 mm in diameter. Each is in half of the films, whichever of the others are there: 6, 2 or 1 of its
nodules, more of the small ones since there are more places to look for them.

`ideal_area` computes what the best possible observer reaches at a size. Nodule and noise being known, its answer to
each place is that of a prewhitened matched filter, whose detectability d' follows from their spectra, resized as the
films are (Barrett and Myers, Foundations of Image Science, 2004, chapter 13). Where a nodule lies is not known: the
largest of the answers at as many places as have room decides, which are taken to be independent. A network does better
only by luck, and one that is trained well comes close where the area is near 1.
"""

import math
import os
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import imagecodecs
import numpy as np
import pandas as pd
from numpy.typing import NDArray

from resload.catalog import Catalog
from resload.errors import ArgumentError
from resload.seeds import generator

PIXELS = 256
FIELD_MM = 64.0
COUNTS = {2.0: 6, 4.0: 2, 8.0: 1}
"""Diameter in mm -> how many nodules a film has that has any."""
CONTRAST = 0.25
"""C, as a share of full scale."""
TISSUE, DETECTOR = 0.05, 0.01
"""Standard deviations of the two noises, as shares of full scale."""
FILMS_OF_PATIENT = (1, 2, 1, 3)
"""In turn."""
_MARGIN_MM = 6.0
"""From a nodule's centre to the edge of the film."""

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Phantom:
    """What `phantom` returns."""

    pixels: NDArray[np.uint8]
    """(256, 256)."""
    nodules: tuple[tuple[float, float, float], ...]
    """(y, x, diameter), in mm from the upper left corner."""


def phantom(index: int, *, seed: int = 0) -> Phantom:
    """Phantom number `index` of the world `seed`: the same arguments give the same film. Thread-safe.

    >>> phantom(0).pixels.shape
    (256, 256)
    """
    noise, lesions = generator(seed, 1, "synthetic", index).spawn(2)
    film = 0.45 + 0.1 * noise.random() + _background(noise)
    nodules = []
    for diameter, count in COUNTS.items():
        there = lesions.random() < 0.5
        for y, x in lesions.uniform(_MARGIN_MM, FIELD_MM - _MARGIN_MM, (count, 2)).tolist():
            if there:
                nodules.append((y, x, diameter))
    for one in nodules:
        film += _nodule(*one)
    return Phantom(np.clip(np.rint(255 * film), 0, 255).astype(np.uint8), tuple(nodules))


def write_phantoms(folder: str | os.PathLike[str], n: int, *, seed: int = 0) -> Catalog:
    """Write `n` phantoms as PNG files to `folder` (made if it is not there), and return the catalog of them.

    Its targets are `2 mm`, `4 mm` and `8 mm`; its boxes their nodules' cores, labelled so. Patients have one to three
    films. The same arguments write the same bytes, and a larger number begins with the same films.

    Raises ArgumentError for n under 1.
    """
    if n < 1:
        raise ArgumentError(f"n is how many phantoms to write, at least 1; found {n}")
    root = Path(folder)
    root.mkdir(parents=True, exist_ok=True)
    with ThreadPoolExecutor(min(8, os.cpu_count() or 1)) as pool:
        rows = list(pool.map(lambda index: _write(root, index, seed), range(n)))
    boxes = pd.DataFrame([box for row in rows for box in row.pop("boxes")])
    table = pd.DataFrame(rows)
    patients = [patient for patient in range(n) for _ in range(FILMS_OF_PATIENT[patient % len(FILMS_OF_PATIENT)])]
    table["patient"] = [f"P{patient:05d}" for patient in patients[:n]]
    return Catalog(table, targets=[name_of(diameter) for diameter in COUNTS], boxes=boxes, root=root)


def name_of(diameter: float) -> str:
    """`"2 mm"`."""
    return f"{diameter:g} mm"


def _write(root: Path, index: int, seed: int) -> dict[str, Any]:
    found = phantom(index, seed=seed)
    name = f"phantom_{index:05d}"
    (root / f"{name}.png").write_bytes(imagecodecs.png_encode(found.pixels, level=1))
    there = {diameter for _, _, diameter in found.nodules}
    per_mm = PIXELS / FIELD_MM
    boxes = [
        {"id": name, "label": name_of(d), "x": (x - d / 2) * per_mm, "y": (y - d / 2) * per_mm,
         "width": d * per_mm, "height": d * per_mm}
        for y, x, d in found.nodules
    ]  # fmt: skip
    spacing = {"spacing_y": FIELD_MM / PIXELS, "spacing_x": FIELD_MM / PIXELS}
    targets = {name_of(diameter): float(diameter in there) for diameter in COUNTS}
    return {"id": name, "path": f"{name}.png", **spacing, **targets, "boxes": boxes}


# -- what is drawn --


def _background(rng: np.random.Generator) -> Floats:
    white = np.fft.rfft2(rng.standard_normal((PIXELS, PIXELS)))
    tissue = np.fft.irfft2(white * np.sqrt(_tissue()[:, : PIXELS // 2 + 1]) * PIXELS, (PIXELS, PIXELS))
    return np.asarray(tissue + DETECTOR * rng.standard_normal((PIXELS, PIXELS)))


def _tissue() -> Floats:
    """(256, 256): the variance of each Fourier coefficient of the tissue, divided by their number; they sum to TISSUE
    squared.
    """
    frequency = np.hypot(np.fft.fftfreq(PIXELS)[:, None], np.fft.fftfreq(PIXELS))
    frequency[0, 0] = np.inf
    power = frequency**-2.0
    return np.asarray(power * (TISSUE**2 / power.sum()))


def _nodule(y: float, x: float, diameter: float) -> Floats:
    """(256, 256): one nodule, its centre in mm."""
    centres = (np.arange(PIXELS) + 0.5) * (FIELD_MM / PIXELS)
    squares = ((centres[:, None] - y) ** 2 + (centres - x) ** 2) / (diameter / 2) ** 2
    return np.asarray(CONTRAST * (1 - squares) * np.exp(-squares))


# -- what can be seen --


def ideal_area(diameter: float, size: int) -> float:
    """The area under the ROC curve that the ideal observer of these nodules reaches at size x size pixels.

    diameter: in mm, one of `COUNTS`. size: a divisor of 256, at least 4; films are resized by the triangle kernel.

    >>> ideal_area(2.0, 64) > 0.99 > 0.7 > ideal_area(2.0, 32)
    True

    Raises ArgumentError for others.
    """
    if diameter not in COUNTS or size < 4 or PIXELS % size:
        raise ArgumentError(
            f"a diameter is one of {list(COUNTS)} and a size divides {PIXELS}; found {diameter}, {size}"
        )
    room = min(size**2, round((2 * FIELD_MM / diameter) ** 2))
    return _area(detectability(diameter, size), COUNTS[diameter], room)


def predicted(diameter: float, sizes: tuple[int, ...], margin: float) -> int:
    """The smallest of these sizes, ascending, from which on the ideal observer is within `margin` of the largest."""
    found = sizes[-1]
    for size in reversed(sizes):
        if ideal_area(diameter, size) < ideal_area(diameter, sizes[-1]) - margin:
            break
        found = size
    return found


def detectability(diameter: float, size: int) -> float:
    """The d' of one such nodule in a known place, at size x size pixels: root mean square over places in a pixel."""
    transfer = _transfer(size)
    noise = _tissue() + (DETECTOR**2 + _rounding()) / PIXELS**2
    noise_there = _folded(noise * transfer**2, size).real + _rounding() / size**2
    noise_there[0, 0] = np.inf  # its brightness is unknown
    pixel = FIELD_MM / size
    squares = []
    for dy, dx in np.ndindex(4, 4):
        centre = FIELD_MM / 2 + (np.array([dy, dx]) + 0.5) / 4 * pixel
        signal = np.fft.fft2(_nodule(centre[0], centre[1], diameter)) / PIXELS**2
        squares.append(float((np.abs(_folded(signal * transfer * _shift(size), size)) ** 2 / noise_there).sum()))
    return math.sqrt(float(np.mean(squares)))


def _rounding() -> float:
    """The variance of rounding to 8 bits, as a share of full scale."""
    return (1 / 255) ** 2 / 12


def _transfer(size: int) -> Floats:
    """(256, 256): what the triangle kernel leaves of each frequency of the film."""
    scale = PIXELS // size
    if scale == 1:
        return np.ones((PIXELS, PIXELS))
    at = np.arange(-scale, scale) + 0.5
    weights = np.maximum(0.0, 1 - np.abs(at) / scale)
    waves = np.cos(2 * np.pi * np.fft.fftfreq(PIXELS)[:, None] * at)
    one = waves @ (weights / weights.sum())
    return np.asarray(one[:, None] * one)


def _shift(size: int) -> NDArray[np.complex128]:
    """(256, 256): from the middle of the film's first pixel to that of the first larger one."""
    scale = PIXELS // size
    one = np.exp(2j * np.pi * np.fft.fftfreq(PIXELS) * (scale - 1) / 2)
    return np.asarray(one[:, None] * one)


def _folded(spectrum: NDArray[Any], size: int) -> NDArray[Any]:
    """(size, size): frequencies that larger pixels cannot tell apart, summed."""
    scale = PIXELS // size
    return np.asarray(spectrum.reshape(scale, size, scale, size).sum(axis=(0, 2)))


def _area(d: float, nodules: int, room: int) -> float:
    """P(largest answer of a film with nodules > largest of one without), answers at `room` places being independent."""
    at = np.linspace(-8.0, d + 8.0, 4001)
    below, below_nodule = _normal(at), _normal(at - d)
    with_nodules = below ** max(0, room - nodules) * below_nodule**nodules
    return float((np.diff(with_nodules) * (below[1:] ** room + below[:-1] ** room) / 2).sum())


def _normal(at: Floats) -> Floats:
    return np.array([0.5 * math.erfc(-value / math.sqrt(2)) for value in at.tolist()])
