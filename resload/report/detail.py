"""Two images of one film, compared: what the film holds, and what is left of it after it was made small.

Error    root mean square difference, as a share of the full range.
Energy   both images under a Hann window, Fourier transforms F (the film) and G (what came back), and in each octave of
         spatial frequency the share `sum Re(G conj F) / sum |F|^2`: what is left of the film's own structure there. An
         image that is all there has 1, one without detail 0; structure that the film does not hold (aliases, noise)
         counts for nothing, and what is merely weakened counts by as much as it was.
"""

from dataclasses import dataclass
from functools import cached_property
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

Image: TypeAlias = NDArray[np.float32]
"""(H, W), full range 0 to 1."""
Floats: TypeAlias = NDArray[np.float64]

SMALLEST_BOX = 8
"""Pixels: smaller boxes are grown to this side before their error is taken, so that a finding's rim counts."""
SMALLEST_CROP = 32
"""Pixels: smaller boxes are grown to this side before their energy is taken; a window needs some pixels to fade."""
_LEAST_WAVES = 2.0
"""A Hann window tells frequencies apart from two waves across the image on (its main lobe's half width)."""


@dataclass(frozen=True)
class Loss:
    """What one image lost; NaN where there was nothing to measure."""

    rmse: float
    kept: Floats
    """Share of the energy left in each octave, (k,)."""
    box_rmse: float
    """The same within the film's boxes."""
    box_kept: Floats


class Compared:
    """One film's own pixels, to which others are compared.

    step: mm (or pixels) from one pixel to the next, (y, x); edges: (k + 1,) frequencies, ascending, between which the
    octaves lie, in waves per unit of step. boxes: (n, 4) corners (x1, y1, x2, y2) in pixels.
    """

    def __init__(self, pixels: Image, step: tuple[float, float], edges: Floats, boxes: Floats) -> None:
        self._pixels, self._step, self._edges, self._boxes = pixels, step, edges, boxes

    @property
    def shape(self) -> tuple[int, int]:
        """Height and width."""
        return self._pixels.shape[0], self._pixels.shape[1]

    @cached_property
    def _whole(self) -> "_Spectrum":
        return _Spectrum(self._pixels, self._step, self._edges)

    @cached_property
    def _crops(self) -> list[tuple[tuple[slice, slice], "_Spectrum"]]:
        parts = [grown(box, SMALLEST_CROP, self._pixels.shape) for box in self._boxes]
        return [(part, _Spectrum(self._pixels[part], self._step, self._edges)) for part in parts]

    @cached_property
    def _inside(self) -> NDArray[np.bool_]:
        inside = np.zeros(self._pixels.shape, bool)
        for box in self._boxes:
            inside[grown(box, SMALLEST_BOX, self._pixels.shape)] = True
        return inside

    def energy(self) -> Floats:
        """Share of the film's energy (its mean set aside) that lies in each octave, (k,); NaN where not measured."""
        return np.where(self._whole.energy > 0, self._whole.energy / max(self._whole.total, 1e-30), np.nan)

    def lost(self, returned: Image) -> Loss:
        """What an image of the same shape lost."""
        squares = np.square(returned - self._pixels)
        kept = _share(self._whole.common(returned), self._whole.energy)
        if not self._crops:
            return Loss(_root_mean(squares), kept, np.nan, np.full(kept.shape, np.nan))
        own = np.sum([crop.energy for _, crop in self._crops], axis=0)
        left = np.sum([crop.common(returned[part]) for part, crop in self._crops], axis=0)
        return Loss(_root_mean(squares), kept, _root_mean(squares[self._inside]), _share(left, own))


class _Spectrum:
    """The energy of one image in each octave, and what another has in common with it."""

    def __init__(self, pixels: Image, step: tuple[float, float], edges: Floats) -> None:
        height, width = pixels.shape
        self._mean = pixels.mean(dtype=np.float64).astype(np.float32)
        self._window = _hann(height)[:, None] * _hann(width)
        self._count = len(edges) - 1
        self._octave = self._octaves(pixels.shape, step, edges)
        self._twice = np.full(width // 2 + 1, 2.0, np.float32)  # a real image's spectrum is stored by half
        self._twice[0] = 1
        if width % 2 == 0:
            self._twice[-1] = 1
        self._own = self._transformed(pixels)
        sums = self._summed(self._own)
        self._told = self._tells(pixels.shape, step, edges)
        self.energy: Floats = np.where(self._told, sums[:-1], 0.0)
        self.total = float(sums.sum())

    @staticmethod
    def _octaves(shape: tuple[int, ...], step: tuple[float, float], edges: Floats) -> NDArray[np.int8]:
        """The number of each coefficient's octave; k for those outside all."""
        down = np.fft.fftfreq(shape[0], step[0])[:, None]
        across = np.fft.rfftfreq(shape[1], step[1])
        found = np.searchsorted(edges, np.hypot(down, across)) - 1
        return np.where(found < 0, len(edges) - 1, found).astype(np.int8)

    @staticmethod
    def _tells(shape: tuple[int, ...], step: tuple[float, float], edges: Floats) -> NDArray[np.bool_]:
        """Which octaves an image of this shape has: long enough for its waves, and sampled to its middle at least."""
        across = min(side * one for side, one in zip(shape, step, strict=True))
        finest = 0.5 / max(step)
        return np.asarray((edges[:-1] * across >= _LEAST_WAVES) & (np.sqrt(edges[:-1] * edges[1:]) <= finest))

    def _transformed(self, pixels: Image) -> NDArray[np.complex64]:
        return np.fft.rfft2((pixels - self._mean) * self._window).astype(np.complex64, copy=False)

    def _summed(self, other: NDArray[np.complex64]) -> Floats:
        """Sum of Re(other conj own) in each octave, and outside all, (k + 1,)."""
        common = self._own.real * other.real
        common += self._own.imag * other.imag
        common *= self._twice
        return np.asarray(np.bincount(self._octave.ravel(), common.ravel(), minlength=self._count + 1), np.float64)

    def common(self, pixels: Image) -> Floats:
        """How much of this image's energy another one has, in each octave (k,)."""
        return np.where(self._told, self._summed(self._transformed(pixels))[:-1], 0.0)


def grown(box: Floats, least: int, shape: tuple[int, ...]) -> tuple[slice, slice]:
    """Whole pixels around a box, at least `least` a side, moved into the image; all of it where that is smaller."""
    (top, bottom), (left, right) = ((int(np.floor(box[i])), int(np.ceil(box[i + 2]))) for i in (1, 0))
    return _side(top, bottom, least, shape[0]), _side(left, right, least, shape[1])


def _side(first: int, stop: int, least: int, end: int) -> slice:
    length = min(end, max(least, stop - first))
    start = min(max(0, first - (length - (stop - first)) // 2), end - length)
    return slice(start, start + length)


def _hann(length: int) -> Image:
    return np.asarray(0.5 - 0.5 * np.cos(2 * np.pi * (np.arange(length) + 0.5) / length), np.float32)


def _root_mean(squares: Image) -> float:
    return float(np.sqrt(squares.mean(dtype=np.float64)))


def _share(part: Floats, whole: Floats) -> Floats:
    return np.divide(part, whole, out=np.full(whole.shape, np.nan), where=whole > 0)
