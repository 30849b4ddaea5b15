"""Weights of one axis: for each output pixel, which level pixels count how much.

    taps = M d      d: the row of Wd for this pixel, M: what undoes W1 on this window of the level (K x film pixels)
    M    = G^-1 W1 C,  G = W1 C W1' + s      under the condition that the taps sum to 1

With C = 1 and s = 0 this is Wd pinv(W1), cut to a window. C is what films are like: neighbours resemble each other
(a variogram |x|^1.5, no length in it, so that one C serves all sizes), and an outermost line may be anything, since
many films have an odd one. s is the rounding of the stored level. This is ordinary kriging (G. Matheron, Economic
Geology 58, 1963) with a film's pixels for the field and a level's for the samples.

Where a film has at least twice the level's pixels, its number of pixels hardly matters, and weights are made as if
it had four times as many: one set for films of all lengths.
"""

import math
from dataclasses import dataclass, field
from functools import lru_cache

import numpy as np
import torch
from numpy.typing import NDArray

from resload import reference
from resload.errors import ArgumentError
from resload.size import LARGEST

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

_OVERSAMPLING = 4
"""Source pixels per level pixel that stand for all films of at least `_LENGTH_FREE` times the level's length. An even
number, for what is common (halves, quarters) is even; more of them changed nothing that could be measured."""
_LENGTH_FREE = 2
_ROUGHNESS = 1.5
"""Half the mean squared difference of two film pixels grows as distance ** _ROUGHNESS; 1 to 1.8 differ little."""
_EDGE = 3.0
"""Variance of what only the outermost half level pixel has, relative to the variogram at one level pixel."""
_NOISE = {"uint8": 1e-3, "uint16": 1e-6}
"""Variance of a stored level's rounding, relative to the same."""
_LEAST_TAPS, _MORE_TAPS = 8, 4
"""Taps: at least the one, and the other more than the direct kernel covers."""
_PHASES = 64
"""Places of a film's pixels under a window that are told apart, where film and level have no common measure."""
_FAR = 32.0
"""A direct kernel that reaches this many level pixels hides the level's own: then the level is resized plainly."""


@dataclass(frozen=True, eq=False, slots=True)
class Weights:
    """One axis of a composite resize; immutable, shared by all threads. Made by `weights`."""

    level: int
    """Pixels of the axis it takes."""
    index: NDArray[np.int32]
    """(t,): the first level pixel of each output pixel's window."""
    taps: NDArray[np.float32]
    """(t, K): weights of the K level pixels from there on; each row sums to 1."""
    bags: tuple[torch.Tensor, torch.Tensor, torch.Tensor] = field(init=False, repr=False)
    """The same as `torch.embedding_bag` wants it: level pixels, where each output's begin, weights."""
    _there: dict[torch.device, tuple[torch.Tensor, torch.Tensor, torch.Tensor]] = field(
        init=False, repr=False, default_factory=dict
    )

    def __post_init__(self) -> None:
        count, width = self.taps.shape
        pixels = self.index[:, None] + np.arange(width, dtype=np.int32)
        begins = torch.arange(0, count * width, width, dtype=torch.int32, device="cpu")
        flat = torch.from_numpy(self.taps.copy().reshape(-1))
        object.__setattr__(self, "bags", (torch.from_numpy(pixels.reshape(-1)), begins, flat))
        self.index.setflags(write=False)
        self.taps.setflags(write=False)

    @property
    def target(self) -> int:
        """Pixels of the axis it makes."""
        return len(self.index)

    def on(self, device: torch.device) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """First level pixels (t,) and all (t, K), int32, and their weights (t, K) float32, brought there once."""
        found = self._there.get(device)
        if found is None:
            pixels, _, taps = self.bags
            shape = self.taps.shape
            first, pixels = torch.from_numpy(self.index.copy()), pixels.view(shape)
            found = self._there[device] = first.to(device), pixels.to(device), taps.view(shape).to(device)
        return found


# -- weights ----------------------------------------------------------------------------------------------


def weights(
    n: int,
    level: int,
    target: int,
    *,
    kernel: str = "triangle",
    begin: int = 0,
    length: int | None = None,
    depth: str = "uint8",
) -> Weights:
    """Weights that make of `level` stored pixels what a direct resize would have made of the `n` pixels of the film.

    n: pixels of the film's axis, all of which the level was made from by `kernel`. The direct resize is that of the
    film's pixels begin .. begin + length (all of them unless told otherwise) to `target` pixels; it sees nothing
    beyond them. depth: `uint8` or `uint16`, how the level is rounded.

    The same object for the same question; for a whole axis with n >= 2 * level the answer does not depend on n. A
    level that is the film itself (n == level) is resized directly, and one of `target` pixels is taken as it is.

    Raises ArgumentError for lengths below 1 or above 65,536, a crop outside the film, an unknown kernel or depth.
    """
    length = n - begin if length is None else length
    for name, value in (("n", n), ("level", level), ("target", target), ("length", length)):
        if not 1 <= value <= LARGEST:
            raise ArgumentError(f"{name} must be from 1 to {LARGEST} pixels; found {value}")
    if begin < 0 or begin + length > n:
        raise ArgumentError(f"the crop {begin} .. {begin + length} must lie within the film's {n} pixels")
    if kernel not in reference.KERNELS:
        raise ArgumentError(f"kernel must be one of {', '.join(reference.KERNELS)}; found {kernel!r}")
    if depth not in _NOISE:
        raise ArgumentError(f"depth must be one of {', '.join(_NOISE)}; found {depth!r}")
    whole = length == n
    if whole and target == level:
        return _as_it_is(level)
    if n == level:
        return _direct(n, target, kernel, begin, length)
    source = n if n < _LENGTH_FREE * level else _OVERSAMPLING * level
    if whole:
        return _whole(source, level, target, kernel, depth)
    return _region(source, level, target, kernel, depth, begin * source / n, length * source / n)


@lru_cache(maxsize=256)
def _as_it_is(level: int) -> Weights:
    return Weights(level, np.arange(level, dtype=np.int32), np.ones((level, 1), np.float32))


@lru_cache(maxsize=1024)
def _direct(n: int, target: int, kernel: str, begin: int, length: int) -> Weights:
    """Where the level is the film: the direct resize of a part of it, as its definition says."""
    scale = length / target
    reach = reference.KERNELS[kernel][1] * max(scale, 1.0)
    width = min(length, math.ceil(2 * reach) + 2)
    first = np.floor((np.arange(target) + 0.5) * scale - reach - 0.5).astype(np.int64).clip(0, length - width)
    taps = reference.weights_at(first[:, None] + np.arange(width), length, target, kernel)
    return Weights(n, (first + begin).astype(np.int32), taps.astype(np.float32))


@lru_cache(maxsize=1024)
def _whole(n: int, level: int, target: int, kernel: str, depth: str) -> Weights:
    return _made(n, level, target, kernel, depth, 0.0, float(n))


@lru_cache(maxsize=256)  # random crops seldom come again, and shall not drive out whole axes
def _region(n: int, level: int, target: int, kernel: str, depth: str, begin: float, length: float) -> Weights:
    return _made(n, level, target, kernel, depth, begin, length)


def _made(n: int, level: int, target: int, kernel: str, depth: str, begin: float, length: float) -> Weights:
    """Weights of `target` pixels for the film's pixels begin .. begin + length, which may be cut within a pixel."""
    step, radius = n / level, reference.KERNELS[kernel][1]
    scale = length / target
    reach = radius * max(scale, 1.0) / step  # of the direct kernel, in level pixels
    width = min(level, max(_LEAST_TAPS, math.ceil(2 * reach) + _MORE_TAPS))
    centre = begin + (np.arange(target) + 0.5) * scale
    first = np.rint(centre / step - width / 2).astype(np.int64).clip(0, level - width)
    if reach > _FAR:
        pixels, end = first[:, None] + np.arange(width), begin + length
        taps = _rows(pixels, centre / step, scale / step, begin / step, end / step, kernel)
        return Weights(level, first.astype(np.int32), taps.astype(np.float32))
    apron = math.ceil(max(radius * max(1 / step, 1.0), reach + 0.5 - width / 2))  # level pixels seen beyond the window
    span = np.arange(math.ceil((width + 2 * apron) * step) + 1)
    base, one, which = _kinds(first, n, level, width, apron)
    undo = _undoing(first[one], base[one], n, level, width, span, kernel, _NOISE[depth])
    seen = base[:, None] + span
    wanted = _rows(seen, centre, scale, begin, begin + length, kernel)
    taps = np.matmul(undo[which], wanted[:, :, None])[:, :, 0]
    taps /= taps.sum(axis=1, keepdims=True)
    return Weights(level, first.astype(np.int32), taps.astype(np.float32))


def _kinds(first: Ints, n: int, level: int, width: int, apron: int) -> tuple[Ints, Ints, Ints]:
    """The first film pixel that each window sees; one window of each kind; the kind of each.

    Windows that see no border are of one kind where the film's pixels lie in the same way under them, to within
    1 / _PHASES of a film pixel.
    """
    ticks = np.rint((first - apron) * (_PHASES * n / level)).astype(np.int64)
    inside = (first > apron) & (first < level - width - apron)
    _, one, which = np.unique(np.where(inside, ticks % _PHASES + level, first), return_index=True, return_inverse=True)
    return ticks // _PHASES, one, which.reshape(-1)


def _undoing(first: Ints, base: Ints, n: int, level: int, width: int, span: Ints, kernel: str, noise: float) -> Floats:
    """M of each window: (windows, width, film pixels)."""
    step = n / level
    seen = base[:, None] + span
    made = _rows(seen[:, None, :], (first[:, None] + np.arange(width) + 0.5) * step, step, 0.0, float(n), kernel)
    edge = max(1, round(step / 2))
    odd = ((seen < edge) | (seen >= n - edge)) * (_EDGE * step)
    alike = -((np.abs(span[:, None] - span) / step) ** _ROUGHNESS)
    known = made @ alike + made * odd[:, None, :]
    system = np.ones((len(first), width + 1, width + 1))
    system[:, :width, :width] = known @ made.transpose(0, 2, 1) + noise * np.eye(width)
    system[:, width, width] = 0.0  # the last row: taps sum to 1
    sums = np.ones((len(first), 1, len(span)))
    undo: Floats = np.linalg.solve(system, np.concatenate([known, sums], axis=1))[:, :width]
    return undo


def _rows(seen: Ints, centre: Floats, scale: float, begin: float, end: float, kernel: str) -> Floats:
    """`reference.weights_at` for any centres (...), of film pixels `seen` (..., m), of a film cut at begin and end.

    A pixel that is cut weighs as much as is left of it.
    """
    function, _ = reference.KERNELS[kernel]
    centre = centre[..., None]
    left = np.clip(np.minimum(seen + 1, end) - np.maximum(seen, begin), 0.0, None)
    if function is None:
        low, high = np.maximum(centre - scale / 2, begin), np.minimum(centre + scale / 2, end)
        weight = np.clip(np.minimum(high, seen + 1) - np.maximum(low, seen), 0.0, None)
    else:
        weight = function((seen + 0.5 - centre) / max(scale, 1.0)) * left
    return np.asarray(weight / weight.sum(axis=-1, keepdims=True), dtype=np.float64)
