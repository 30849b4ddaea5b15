"""A batch's maps between the films and its images: points, boxes and predicted maps, there and back."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from resload.errors import ArgumentError
from resload.geometry.placing import Rect, affines
from resload.resampling import resample
from resload.size import Size

PointsLike = torch.Tensor | NDArray[Any] | Sequence[Any]
"""(B, n, k), or a sequence of B arrays or tensors (n, k)."""


@dataclass(frozen=True, eq=False)
class Geometry:
    """Where the films of a batch lie in its images. Made by the loader; its tensors stay on the CPU. Thread-safe.

    Points are (y, x), boxes (x1, y1, x2, y2), both continuous: pixel i covers i to i + 1, so its centre is i + 0.5.
    """

    size: Size
    """(height, width) of the images."""
    facts: NDArray[np.float32]
    """(B, 10): the places of the films, and their (height, width); whole numbers."""

    def __len__(self) -> int:
        return len(self.facts)

    @property
    def places(self) -> torch.Tensor:
        """(B, 8) int64: the rectangle of the film that is shown, (y, x, height, width) in pixels of the film, and where
        on the image it lies, the same in pixels of the image. The rest of the image is canvas. A new tensor.
        """
        return torch.from_numpy(self.facts[:, :8].astype(np.int64))

    @property
    def shapes(self) -> torch.Tensor:
        """(B, 2) int64: (height, width) of each film. A new tensor."""
        return torch.from_numpy(self.facts[:, 8:].astype(np.int64))

    @property
    def affine(self) -> torch.Tensor:
        """(B, 4) float64: scale_y, scale_x, offset_y, offset_x; image = scale * film + offset. A new tensor."""
        return torch.from_numpy(affines(self.facts[:, :8].astype(np.float64)))

    def to_source(
        self, *, points: PointsLike | None = None, boxes: PointsLike | None = None, maps: torch.Tensor | None = None,
        outside: float = 0.0,
    ) -> Any:  # fmt: skip
        """From the images back to the films' own pixels: one of points, boxes, maps.

        Args:
            points: B of (n, 2); returns a list of B float64 tensors of the same shapes, not clipped.
            boxes: B of (n, 4); the same.
            maps: (B, K, h, w) of any float dtype, such as a model's probabilities; h x w may be smaller than the
                images (a stride). Returns a list of B float32 tensors (K, height, width) on the CPU: each map resized
                linearly onto the part of the film that the image shows, and `outside` elsewhere. Measure Dice on these.
            outside: what maps hold where the image does not show the film.

        Raises ArgumentError when not exactly one is given, or not one for each film.
        """
        if maps is not None and points is None and boxes is None:
            return self._native(maps, outside)
        return self._moved(points, boxes, back=True)

    def to_target(
        self, *, points: PointsLike | None = None, boxes: PointsLike | None = None,
        maps: Sequence[torch.Tensor] | None = None,
    ) -> Any:  # fmt: skip
        """From the films' own pixels to the images: one of points, boxes, maps.

        Args:
            points, boxes: as in `to_source`.
            maps: B tensors (K, height, width) of the films' sizes; returns float32 (B, K, H, W), antialiased, 0 on
                the canvas.
        """
        if maps is not None and points is None and boxes is None:
            return self._shown(maps)
        return self._moved(points, boxes, back=False)

    def _moved(self, points: PointsLike | None, boxes: PointsLike | None, *, back: bool) -> list[torch.Tensor]:
        if (points is None) == (boxes is None):
            raise ArgumentError("pass exactly one of points=, boxes= and maps=")
        given, width = (points, 2) if boxes is None else (boxes, 4)
        assert given is not None
        self._one_each(given)
        found = []
        for one, (sy, sx, oy, ox) in zip(given, self.affine.tolist(), strict=True):
            values = _float64(one).reshape(-1, width)
            scale, offset = (values.new_tensor(pair * (width // 2)) for pair in ([sy, sx], [oy, ox]))
            if width == 4:
                scale, offset = scale.flip(0), offset.flip(0)  # boxes name x first
            found.append((values - offset) / scale if back else values * scale + offset)
        return found

    def _one_each(self, given: Sequence[Any] | torch.Tensor | NDArray[Any]) -> None:
        if len(given) != len(self):
            raise ArgumentError(f"one for each of the {len(self)} films of the batch; found {len(given)}")

    def _native(self, maps: torch.Tensor, outside: float) -> list[torch.Tensor]:
        if maps.ndim != 4:
            raise ArgumentError(f"maps must be (B, K, h, w); found {tuple(maps.shape)}")
        self._one_each(maps)
        found = []
        for one, place, shape in zip(maps.detach().float().cpu().numpy(), *self._rects(), strict=True):
            whole = one if one.shape[1:] == self.size else resample(np.ascontiguousarray(one), self.size)
            film = np.full((len(one), *shape), outside, np.float32)
            source, target = place
            shown = np.ascontiguousarray(whole[(..., *target.slices)])
            film[(..., *source.slices)] = resample(shown, (source.height, source.width))
            found.append(torch.from_numpy(film))
        return found

    def _shown(self, maps: Sequence[torch.Tensor]) -> torch.Tensor:
        self._one_each(maps)
        found = []
        for one, (source, target), shape in zip(maps, *self._rects(), strict=True):
            if tuple(one.shape[-2:]) != shape or one.ndim != 3:
                raise ArgumentError(f"a map of this film is (K, {shape[0]}, {shape[1]}); found {tuple(one.shape)}")
            film = one.detach().float().cpu().numpy()
            image = np.zeros((len(one), *self.size), np.float32)
            shown = np.ascontiguousarray(film[(..., *source.slices)])
            image[(..., *target.slices)] = resample(shown, (target.height, target.width))
            found.append(torch.from_numpy(image))
        return torch.stack(found)

    def _rects(self) -> tuple[list[tuple[Rect, Rect]], list[tuple[int, ...]]]:
        pairs = [(Rect(*place[:4]), Rect(*place[4:])) for place in self.places.tolist()]
        return pairs, [tuple(shape) for shape in self.shapes.tolist()]


def _float64(values: Any) -> torch.Tensor:
    if isinstance(values, torch.Tensor):
        return values.detach().cpu().double()
    return torch.from_numpy(np.array(values, np.float64))
