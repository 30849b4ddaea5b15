r"""The chest behind a synthetic film: where each organ ends, and how bright it is.

Coordinates: y from 0 (top) to 1 (bottom); x from -1 to 1 across the film, 0 at the spine; the patient's left
is at the right, as films are hung. Brightness is a sum over the beam's way, as log exposure is: each organ
adds its own, a lung takes away.

            neck
       .-----||-----.        shoulders, clavicles
      /  _   ||   _  \
     |  / \  ||  / \  |      lungs between mediastinum, chest wall and diaphragm
     | |   | ()|   | |       heart to the patient's left
     |_/```\_||_/```\_|      domes of the diaphragm; fluid blunts the angle beside them
"""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch

from resload.size import Size

Float = npt.NDArray[np.float32]
"""A picture (H, W), a column of y (H, 1) or a row of x (1, W); sums of them broadcast."""


@dataclass(frozen=True, slots=True)
class Chest:
    """The numbers that make one chest differ from the next."""

    shift: float
    tilt: float
    breadth: float
    lung_top: float
    domes: tuple[float, float]
    wall: float
    heart: tuple[float, float, float, float]
    """Centre y and x, half height and half width."""
    cardiomegaly: bool
    effusion: float
    """How far fluid reaches above the dome, in film heights; 0 for none."""
    effusion_side: int
    """-1 is the patient's right."""
    rib_gap: float
    rib_phase: float
    penetration: float
    shutter: tuple[float, float, float, float]
    """Top, bottom, left and right borders that the collimator leaves black, as shares of the film."""


def draw_chest(rng: np.random.Generator) -> Chest:
    """Draw a plausible chest; a third has an enlarged heart and a third has fluid."""
    big = bool(rng.random() < 1 / 3)
    fluid = bool(rng.random() < 1 / 3)
    wide = rng.uniform(0.40, 0.46) if big else rng.uniform(0.25, 0.30)
    return Chest(
        shift=rng.uniform(-0.05, 0.05),
        tilt=rng.uniform(-0.03, 0.03),
        breadth=rng.uniform(0.93, 1.04),
        lung_top=rng.uniform(0.10, 0.14),
        domes=(rng.uniform(0.70, 0.75), rng.uniform(0.73, 0.78)),
        wall=rng.uniform(0.70, 0.77),
        heart=(rng.uniform(0.60, 0.64), rng.uniform(0.10, 0.14), rng.uniform(0.155, 0.18), wide),
        cardiomegaly=big,
        effusion=rng.uniform(0.05, 0.15) * fluid,
        effusion_side=-1 if rng.random() < 0.5 else 1,
        rib_gap=rng.uniform(0.070, 0.080),
        rib_phase=rng.uniform(0.0, 0.03),
        penetration=rng.uniform(0.9, 1.1),
        shutter=tuple(np.maximum(0.0, rng.uniform(-0.03, 0.05, size=4)).tolist()),
    )


def render(chest: Chest, rng: np.random.Generator, size: Size) -> Float:
    """The film without nodules and detector noise: float32 (H, W), about 0 to 1."""
    y, x = _grid(chest, size)
    ax = np.abs(x)
    body = _step(_outline(y, chest) - ax, 0.015)
    lung = _lungs(y, x, chest)
    film = 0.50 + 0.22 * _step(y - 0.80, 0.06) + 0.10 * np.exp(-((ax / 0.5) ** 2))  # soft tissue
    film += 0.10 * _step(0.14 + 0.05 * y - ax, 0.03) * _step(0.85 - y, 0.05)  # mediastinum
    film += _spine(y, x)
    heart = _heart(y, x, chest)
    film -= 0.42 * chest.penetration * lung * (0.85 + 0.3 * (y - 0.4)) * (1 - 0.72 * heart)
    film += 0.04 * heart
    film -= 0.16 * _stomach_air(y, x, chest)
    film += _bones(y, x, ax, lung, chest)
    film += lung * _vessels(y, x, rng)
    film -= 0.13 * _trachea(y, x)
    film += 0.035 * _pink_noise(rng, size) * (0.4 + 0.6 * film)
    film = 0.03 + body * np.clip(film, 0.02, None)
    film += _marker(y, x)
    picture: Float = film.astype(np.float32)
    return picture


def in_lung(chest: Chest, y: float, x: float) -> bool:
    """Whether a point (shares of height and width) lies well inside aerated lung, clear of heart and fluid."""
    py = np.array([[y]], dtype=np.float32)
    px = _upright(np.array([[2 * x - 1]], dtype=np.float32), py, chest)
    clear = (_heart(py, px, chest) < 0.05) & (np.abs(px) > 0.2)
    return bool((clear & (_lungs(py, px, chest) > 0.97)).all())


def _grid(chest: Chest, size: Size) -> tuple[Float, Float]:
    y = ((np.arange(size.height, dtype=np.float32) + 0.5) / size.height)[:, None]
    x = ((np.arange(size.width, dtype=np.float32) + 0.5) / size.width * 2 - 1)[None, :]
    return y, _upright(x, y, chest)


def _upright(x: Float, y: Float, chest: Chest) -> Float:
    """The film's x as the body's: patients stand a little off the middle, and not quite straight."""
    upright: Float = ((x - chest.shift - chest.tilt * (y - 0.5)) / chest.breadth).astype(np.float32)
    return upright


def _step(distance: Float, softness: float) -> Float:
    """0 far outside, 1 far inside, an edge about 4 x `softness` wide (penumbra and curvature blur edges)."""
    inside: Float = 0.5 + 0.5 * np.tanh(distance / (2 * softness))
    return inside


def _outline(y: Float, chest: Chest) -> Float:
    """Half width of the body: neck, shoulders, chest."""
    shoulder = _step(y - 0.075 - 0.02 * chest.wall, 0.022)
    return 0.26 + shoulder * (0.78 - 0.10 * _step(y - 0.45, 0.08) + 0.05 * _step(y - 0.8, 0.05))


def _lungs(y: Float, x: Float, chest: Chest) -> Float:
    """1 in aerated lung: outside the mediastinum, inside the wall, above diaphragm and fluid."""
    ax, side = np.abs(x), np.sign(x)
    depth = np.maximum(y - chest.lung_top, 0.0)
    outer = chest.wall * (1 - np.exp(-depth / 0.07)) * (0.84 + 0.2 * np.minimum(depth, 0.75) / 0.75)
    dome = np.where(side < 0, np.float32(chest.domes[0]), np.float32(chest.domes[1]))
    floor = dome + 0.9 * np.maximum(ax - 0.36, 0.0) ** 2 + 0.25 * np.minimum(ax - 0.36, 0.0) ** 2
    meniscus = dome + 0.02 - chest.effusion * (1 + 6 * np.maximum(ax - 0.35, 0.0) ** 2)
    wet = (side == chest.effusion_side) & (chest.effusion > 0)
    floor = np.where(wet, np.minimum(floor, meniscus), floor)
    inner = 0.13 + 0.14 * np.exp(-depth / 0.03) + 0.05 * np.exp(-(((y - 0.42) / 0.08) ** 2))
    return _step(ax - inner, 0.012) * _step(outer - ax, 0.010) * _step(floor - y, 0.005)


def _heart(y: Float, x: Float, chest: Chest) -> Float:
    cy, cx, half_height, half_width = chest.heart
    u, v = (x - cx) / half_width, (y - cy) / half_height
    turned = np.sqrt((u - 0.25 * v) ** 2 + (v - 0.15 * u) ** 2)
    knob = np.sqrt(((x - 0.13) / 0.09) ** 2 + ((y - 0.31) / 0.045) ** 2)
    shadow: Float = np.maximum(_step(1.0 - turned, 0.035), 0.8 * _step(1.0 - knob, 0.06))
    return shadow


def _trachea(y: Float, x: Float) -> Float:
    return _step(0.042 - np.abs(x - 0.01), 0.008) * _step(0.28 - y, 0.02) * _step(y - 0.02, 0.02)


def _stomach_air(y: Float, x: Float, chest: Chest) -> Float:
    away: Float = np.hypot((x - 0.36) / 0.17, (y - chest.domes[1] - 0.085) / 0.035)
    return _step(1.0 - away, 0.12)


def _spine(y: Float, x: Float) -> Float:
    discs: Float = 0.7 + 0.3 * np.cos(2 * np.pi * y / 0.062)
    column: Float = _step(0.075 + 0.01 * y - np.abs(x), 0.008) * (0.8 + 0.2 * discs)
    return 0.09 * column


def _bones(y: Float, x: Float, ax: Float, lung: Float, chest: Chest) -> Float:
    """Ribs behind (bright, falling outward), ribs in front (faint, falling inward), clavicles."""
    inside = _step(chest.wall + 0.05 - ax, 0.02) * _step(0.86 - y, 0.03)
    inside = inside * _step(y - chest.lung_top - 0.01, 0.01)
    arch = 0.10 * np.sin(np.pi * np.minimum(ax / 0.7, 1))
    behind = y - 0.9 * np.maximum(ax - 0.28, 0.0) ** 2 * (0.3 + y) + arch
    front = y - 0.35 * (0.72 - ax) + 0.10 * ax**2
    bones = 0.075 * _rib_profile(behind, chest, 0.0) * _step(ax - 0.06, 0.02)
    bones += 0.035 * _rib_profile(front, chest, 0.5) * _step(ax - 0.30, 0.04)
    bones *= inside * (0.5 + 0.5 * lung)
    return bones + 0.12 * _clavicles(y, ax)


def _clavicles(y: Float, ax: Float) -> Float:
    along = y - (0.185 - 0.11 * ax + 0.02 * np.sin(5 * ax))
    tube: Float = np.exp(-np.square(np.square(along / 0.012)))
    return tube * _step(ax - 0.10, 0.02) * _step(0.78 - ax, 0.03)


def _rib_profile(position: Float, chest: Chest, offset: float) -> Float:
    """A periodic band with brighter rims, as cortex around marrow projects."""
    phase = (position - chest.rib_phase) / chest.rib_gap + offset
    away = np.abs(phase - np.rint(phase)) / 0.21
    rims: Float = 0.62 + 0.38 * np.square(np.square(np.minimum(away, 1.0)))
    return _step(1.0 - away, 0.05) * rims


def _vessels(y: Float, x: Float, rng: np.random.Generator) -> Float:
    """Branching shadows that leave each hilum and thin out: ridges of a noise that is drawn in polar form."""
    total = np.zeros(np.broadcast_shapes(y.shape, x.shape), dtype=np.float32)
    for side in (-1, 1):
        dy, dx = (y - 0.43) * 1.15, (x - 0.20 * side) / 2
        radius = np.sqrt(dy**2 + dx**2).astype(np.float32)
        angle = np.arctan2(dy, side * dx + 1e-6).astype(np.float32)
        ridges = _polar_ridges(radius, angle, rng)
        near = np.exp(-radius / 0.11) * (1 - np.exp(-((radius / 0.03) ** 2))) * (x * side > 0)
        total += 0.26 * near * ridges + 0.16 * np.exp(-((radius / 0.05) ** 2))
    return total


def _polar_ridges(radius: Float, angle: Float, rng: np.random.Generator) -> Float:
    noise = torch.from_numpy(rng.standard_normal((1, 1, 9, 30), dtype=np.float32))
    where = torch.from_numpy(np.stack([angle / np.pi, np.sqrt(radius) * 2.2 - 1], axis=-1))[None]
    waves = torch.nn.functional.grid_sample(
        noise, where, mode="bicubic", padding_mode="reflection", align_corners=True
    )[0, 0].numpy()
    ridges: Float = np.exp(-((waves / 0.22) ** 2))
    return ridges


def _pink_noise(rng: np.random.Generator, size: Size) -> Float:
    """Noise whose amplitude falls as 1/f, standard deviation 1: the spectrum tissue has on films."""
    white = rng.standard_normal(size, dtype=np.float32)
    fy = np.fft.fftfreq(size.height)[:, None]
    fx = np.fft.rfftfreq(size.width)[None, :]
    falling = (1 / np.maximum(np.hypot(fy, fx), 2 / max(size))).astype(np.float32)
    noise = np.fft.irfft2(np.fft.rfft2(white) * falling, s=tuple(size)).astype(np.float32)
    return noise / max(float(noise.std()), 1e-6)


def _marker(y: Float, x: Float) -> Float:
    """The lead letter L that a radiographer lays beside the patient's left shoulder."""
    u, v = (x - 0.80) / 0.035, (y - 0.055) / 0.025
    stem = (np.abs(u + 0.7) < 0.3) & (np.abs(v) < 1)
    foot = (np.abs(u) < 1) & (np.abs(v - 0.75) < 0.25)
    letter: Float = (stem | foot).astype(np.float32)
    return 0.85 * letter
