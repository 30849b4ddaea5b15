"""One synthetic chest film: anatomy-like, with nodules of known size, and right to look at.

    anatomy (at most 512 px, smooth)      body - lungs + heart + spine + ribs + vessels + fluid
        -> texture                        1/f noise, as tissue and scatter have
        -> enlarged to the film's size
        -> nodules                        projected spheres, sampled at the film's own pixels
        -> detector noise, collimation    quantum noise is white; the shutter is black
        -> codes                          0 .. 2**bits - 1, brighter is denser (MONOCHROME2)

Nothing here is anatomy to learn medicine from. What is true of it: distances in mm, the boxes, that every
target can be seen in the pixels, and that a nodule has the same contrast whatever its diameter, so that it
is resolution alone that makes the small ones fade.
"""

import itertools
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch

from resload.errors import ArgumentError
from resload.seeds import generator
from resload.size import Size, SizeLike, as_size
from resload.testing.anatomy import Chest, draw_chest, in_lung, render

TARGETS = ("nodule", "effusion", "cardiomegaly")
"""What a synthetic film can show."""

DIAMETERS_MM = (2.0, 4.0, 8.0, 16.0)
"""Nodules as radiologists sort them: under 3 mm a micronodule, over 30 mm a mass (Fleischner glossary 2008)."""

NODULE_CONTRAST = 0.16
"""Peak height of a nodule, as a share of full scale: plain to see in a lung, well above the noise."""

NOISE = 0.008
"""Standard deviation of the detector noise at mid grey, as a share of full scale."""

Float = npt.NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class Nodule:
    """A round nodule: centre in pixels (half-pixel centres: the middle of pixel 0 is 0.5), diameter in mm."""

    y: float
    x: float
    diameter_mm: float

    def box(self, spacing: tuple[float, float]) -> tuple[float, float, float, float]:
        """(x, y, width, height) in source pixels of the ellipse that it covers at `spacing` (y, x)."""
        height, width = self.diameter_mm / spacing[0], self.diameter_mm / spacing[1]
        return self.x - width / 2, self.y - height / 2, width, height


@dataclass(frozen=True, slots=True)
class SyntheticFilm:
    """What `synthetic_film` returns."""

    pixels: npt.NDArray[np.uint8] | npt.NDArray[np.uint16]
    """(H, W), uint8 for 8 bits and uint16 above; brighter is denser."""
    bits: int
    """Codes are 0 .. 2**bits - 1."""
    spacing: tuple[float, float]
    """(y, x) in mm per pixel, to six decimals, as a DICOM decimal string can hold it."""
    nodules: tuple[Nodule, ...]
    """Where they are and how large."""
    targets: dict[str, float]
    """1.0 or 0.0 for each of TARGETS."""


def synthetic_film(
    index: int,
    *,
    size: SizeLike = 1024,
    seed: int = 0,
    bits: int = 8,
    nodules: Sequence[float] | None = None,
) -> SyntheticFilm:
    """Draw film number `index` of the world `seed`: the same arguments give the same film.

    `nodules` are diameters in mm to draw; None leaves them to chance (about half of the films have some,
    out of DIAMETERS_MM), and () draws none. All else in the film is the same for every choice of them.
    Thread-safe; each call owns what it returns.

    >>> film = synthetic_film(0, size=256, nodules=[8.0])
    >>> film.pixels.shape, film.targets["nodule"]
    ((256, 256), 1.0)

    Raises ArgumentError when bits is not 8 to 16, or a diameter is not positive.
    """
    if not 8 <= bits <= 16:
        raise ArgumentError(f"bits must be 8 to 16, the depths that radiographs have; found {bits}")
    if nodules is not None and min(nodules, default=1.0) <= 0:
        raise ArgumentError(f"nodules are diameters in mm and must be positive; found {list(nodules)}")
    shape = as_size(size)
    # One stream each, so that neither the size nor the nodules change anything else in the film.
    body, texture, lesions = generator(seed, 0, "synthetic", index).spawn(3)
    chest = draw_chest(body)
    spacing = _spacing(body, shape)
    drawn = _diameters(lesions)
    placed = _place(lesions, chest, shape, spacing, drawn if nodules is None else nodules)
    film = _enlarge(render(chest, texture, Size(min(512, shape.height), min(512, shape.width))), shape)
    noise = texture.standard_normal(shape, dtype=np.float32)
    for nodule in placed:
        _add_nodule(film, nodule, spacing)
    _expose(film, noise, chest)
    found = {"nodule": bool(placed), "effusion": chest.effusion > 0, "cardiomegaly": chest.cardiomegaly}
    return SyntheticFilm(
        pixels=_quantise(film, bits),
        bits=bits,
        spacing=spacing,
        nodules=placed,
        targets={name: float(found[name]) for name in TARGETS},
    )


def _spacing(rng: np.random.Generator, shape: Size) -> tuple[float, float]:
    """A plate of 350 to 430 mm, slightly anisotropic pixels: an 8-bit copy squeezed square has such."""
    height_mm = rng.uniform(350, 430)
    width_mm = height_mm * shape.width / shape.height * rng.uniform(0.93, 1.07)
    return round(height_mm / shape.height, 6), round(width_mm / shape.width, 6)


def _diameters(rng: np.random.Generator) -> list[float]:
    count = int(rng.integers(1, len(DIAMETERS_MM) + 1))
    chosen = rng.choice(DIAMETERS_MM, size=count, replace=False)
    return sorted(chosen.tolist()) if rng.random() < 0.5 else []


def _enlarge(picture: Float, shape: Size) -> Float:
    tensor = torch.from_numpy(picture)[None, None]
    if picture.shape == tuple(shape):
        return picture
    enlarged = torch.nn.functional.interpolate(tensor, size=tuple(shape), mode="bicubic", align_corners=False)
    return enlarged[0, 0].numpy()


def _place(
    rng: np.random.Generator,
    chest: Chest,
    shape: Size,
    spacing: tuple[float, float],
    diameters: Sequence[float],
) -> tuple[Nodule, ...]:
    """Centres inside the lungs and apart from each other; the largest first, while there is room."""
    placed: list[Nodule] = []
    for diameter in sorted(diameters, reverse=True):
        tries = (_try(rng, shape, diameter) for _ in range(200))
        free = (nodule for nodule in tries if _fits(nodule, chest, shape, spacing, placed))
        placed += itertools.islice(free, 1)
    return tuple(placed)


def _try(rng: np.random.Generator, shape: Size, diameter: float) -> Nodule:
    y, x = rng.uniform(0.15, 0.8) * shape.height, rng.uniform(0.1, 0.9) * shape.width
    return Nodule(round(y, 3), round(x, 3), float(diameter))


def _fits(nodule: Nodule, chest: Chest, shape: Size, spacing: tuple[float, float], others: Sequence[Nodule]) -> bool:
    apart = all(
        np.hypot((nodule.y - other.y) * spacing[0], (nodule.x - other.x) * spacing[1])
        > 0.75 * (nodule.diameter_mm + other.diameter_mm) + 8
        for other in others
    )
    return apart and in_lung(chest, nodule.y / shape.height, nodule.x / shape.width)


def _add_nodule(film: Float, nodule: Nodule, spacing: tuple[float, float]) -> None:
    """Add a sphere's projection, 2 sqrt(r^2 - d^2) scaled to NODULE_CONTRAST, averaged over each pixel."""
    left, top, width, height = nodule.box(spacing)
    rows = np.arange(max(0, int(top)), min(film.shape[0], int(top + height) + 1))
    cols = np.arange(max(0, int(left)), min(film.shape[1], int(left + width) + 1))
    inner = (np.arange(8) + 0.5) / 8  # 8 x 8 samples in each pixel: a 2 mm nodule may be one pixel wide
    dy = ((rows[:, None] + inner).ravel() - nodule.y) / (height / 2)
    dx = ((cols[:, None] + inner).ravel() - nodule.x) / (width / 2)
    depth = np.sqrt(np.maximum(0.0, 1.0 - dy[:, None] ** 2 - dx[None, :] ** 2))
    mean = depth.reshape(len(rows), 8, len(cols), 8).mean(axis=(1, 3))
    film[rows[0] : rows[-1] + 1, cols[0] : cols[-1] + 1] += (NODULE_CONTRAST * mean).astype(np.float32)


def _expose(film: Float, noise: Float, chest: Chest) -> None:
    """Noise that grows where fewer photons arrive (bright), then the shutter's black border; in place."""
    noise *= NOISE * (0.6 + 0.8 * film)
    film += noise
    height, width = film.shape
    top, bottom, left, right = chest.shutter
    film[: round(top * height)] *= 0.04
    film[height - round(bottom * height) :] *= 0.04
    film[:, : round(left * width)] *= 0.04
    film[:, width - round(right * width) :] *= 0.04


def _quantise(film: Float, bits: int) -> npt.NDArray[np.uint8] | npt.NDArray[np.uint16]:
    full = (1 << bits) - 1
    np.clip(film, 0.0, 1.0, out=film)
    film *= full
    np.rint(film, out=film)
    return film.astype(np.uint8) if bits == 8 else film.astype(np.uint16)
