"""Predictions taken back to the film's own pixels, where Dice and areas are those of the finding."""

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from resload.errors import ArgumentError
from resload.masks.rects import Rect, checked
from resload.resampling import Images, resample
from resload.size import Size, SizeLike, as_size


def to_source(maps: Images, source: Rect, target: Rect, film: SizeLike, *, fill: float = 0.0) -> Images:
    """Maps (..., h, w) of a placed film as (..., H, W) float32 at the film's own size: the placement undone.

    maps: probabilities, logits or any real numbers; a numpy array, or a tensor on the CPU (its gradient is not
    followed). source, target: the placement the film was made by. film: its (height, width). What the target
    rectangle holds is resized onto the source rectangle (kernel `triangle`, half-pixel centres, nothing taken from
    the padding around it); pixels that were not seen are `fill` (0 for probabilities, -inf for logits). Returns a new
    array of the same library. Thread-safe.

    Raises ArgumentError for other devices or shapes, and for rectangles that are not inside.
    """
    if isinstance(maps, torch.Tensor):
        if maps.device.type != "cpu":
            raise ArgumentError(f"to_source takes arrays or CPU tensors; found a tensor on {maps.device}: use .cpu()")
        return torch.from_numpy(_to_source(maps.detach().float().numpy(), source, target, as_size(film), fill))
    return _to_source(np.asarray(maps, np.float32), source, target, as_size(film), fill)


def _to_source(maps: NDArray[Any], source: Rect, target: Rect, film: Size, fill: float) -> NDArray[np.float32]:
    if maps.ndim < 2 or 0 in maps.shape[-2:]:
        raise ArgumentError(f"maps are (..., height, width); found shape {maps.shape}")
    y, x, height, width = checked(target, Size(*maps.shape[-2:]), "target")
    seen = resample(maps[..., y : y + height, x : x + width], checked(source, film, "source")[2:])
    if seen.shape[-2:] == film:
        return seen
    out = np.full((*maps.shape[:-2], *film), fill, np.float32)
    y, x, height, width = source
    out[..., y : y + height, x : x + width] = seen
    return out
