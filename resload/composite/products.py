"""Levels through two axes of weights: on the CPU by `torch.embedding_bag`, on CUDA by kernels, elsewhere tap by tap."""

import logging
import threading
from functools import cache
from types import ModuleType
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from resload import carried, forks
from resload.composite.axis import Weights
from resload.errors import ArgumentError
from resload.resampling.bands import STRETCH

_log = logging.getLogger("resload")

Pixels = NDArray[Any]


class _Scratch(threading.local):
    """Memory that each thread keeps: touching new pages costs more than the arithmetic."""

    def __init__(self) -> None:
        self._held: dict[str, torch.Tensor] = {}

    def floats(self, name: str, rows: int, columns: int) -> torch.Tensor:
        held = self._held.get(name)
        if held is None or held.numel() < rows * columns:
            held = self._held[name] = torch.empty(rows * columns, dtype=torch.float32, device="cpu")
        return held[: rows * columns].view(rows, columns)


_scratch = _Scratch()


@forks.apart
def resample(image: Pixels, vertical: Weights, horizontal: Weights, out: Pixels | None = None) -> Pixels:
    """One level (H, W) uint8 or uint16 -> (vertical.target, horizontal.target) of its dtype.

    Float32 sums, rounded half up once, clipped to the dtype. `out` may be any strided view, such as a part of a
    canvas; it is filled and returned, else a new array is. Thread-safe; releases the GIL; each thread keeps two
    float32 copies of the largest image it has seen.

    Raises ArgumentError where image, weights and `out` do not fit each other.
    """
    shape = (vertical.target, horizontal.target)
    if out is None:
        out = np.empty(shape, image.dtype)
    if out.shape != shape or out.dtype != image.dtype:
        raise ArgumentError(f"out must be {image.dtype} {shape}; found {out.dtype} {out.shape}")
    across = _transposed_product(image, vertical, horizontal).numpy()
    across += 0.5  # floor(x + .5): the cast below truncates
    np.clip(across, 0, np.iinfo(image.dtype).max, out=across)
    np.copyto(out, across.T, casting="unsafe")
    return out


@forks.apart
def resample_float(image: Pixels, vertical: Weights, horizontal: Weights) -> NDArray[np.float32]:
    """The same as float32 in stored units, before rounding and clipping; a new array (vertical.target, ...)."""
    found: NDArray[np.float32] = _transposed_product(image, vertical, horizontal).t().contiguous().numpy()
    return found


def _transposed_product(image: Pixels, vertical: Weights, horizontal: Weights) -> torch.Tensor:
    """(H, W) -> (t_w, t_h) float32: weighted sums of rows, before and after a transposition."""
    if image.dtype not in (np.uint8, np.uint16) or image.shape != (vertical.level, horizontal.level):
        raise ArgumentError(
            f"these weights take uint8 or uint16 of shape {(vertical.level, horizontal.level)}; "
            f"found {image.dtype} {image.shape}"
        )
    with torch.no_grad():
        rows = _scratch.floats("rows", *image.shape)
        np.copyto(rows.numpy(), image)  # numpy casts uint16 much faster than torch does
        columns = _scratch.floats("columns", image.shape[1], vertical.target)
        columns.copy_(_summed(rows, vertical).t())
        return _summed(columns, horizontal)


def _summed(rows: torch.Tensor, axis: Weights) -> torch.Tensor:
    index, begins, taps = axis.bags
    return torch.nn.functional.embedding_bag(index, rows, begins, mode="sum", per_sample_weights=taps)


def resample_tensor(images: torch.Tensor, vertical: Weights, horizontal: Weights) -> torch.Tensor:
    """Levels (..., H, W) uint8, uint16 or float32 on any device -> float32 there, in stored units, before rounding.

    Weighted sums of rows, then of columns: no matrix product, so that neither TF32 nor autocast can take its bits.
    Within 2e-3 of 255 of `resample_float`. On CUDA by two kernels where Triton can compile them, else tap by tap.
    """
    if images.shape[-2:] != (vertical.level, horizontal.level):
        raise ArgumentError(
            f"these weights take images of shape {(vertical.level, horizontal.level)}; found {tuple(images.shape)}"
        )
    if (kernels := _kernels_for(images)) is not None:
        found: torch.Tensor = kernels.resample(images, *_axes(vertical, horizontal, images.device))
        return found
    if images.dtype == torch.uint16:
        images = carried.numbers(images)
    return _gathered(_gathered(images.to(torch.float32), vertical, -2), horizontal, -1)


def resample_stored(images: torch.Tensor, vertical: Weights, horizontal: Weights) -> torch.Tensor:
    """`resample_tensor` of uint8 or uint16, as that dtype: rounded half up and clipped, once."""
    if (kernels := _kernels_for(images)) is not None:
        found: torch.Tensor = kernels.resample(images, *_axes(vertical, horizontal, images.device), rounded=True)
        return found
    floats = resample_tensor(images, vertical, horizontal)
    whole = floats.add_(0.5).floor_().clamp_(0, 255 if images.dtype == torch.uint8 else 65535)
    if images.dtype == torch.uint8:
        return whole.to(torch.uint8)
    return whole.to(torch.int32).to(torch.int16).view(torch.uint16)  # torch hardly computes on uint16


def _axes(vertical: Weights, horizontal: Weights, device: torch.device) -> tuple[Any, Any]:
    """First pixels and weights of both axes, as the kernels take them."""
    (above, _, down), (before, _, across) = (axis.on(device) for axis in (vertical, horizontal))
    return (above, down), (before, across)


def _kernels_for(images: torch.Tensor) -> ModuleType | None:
    return _kernels(images.device) if images.device.type == "cuda" else None


@cache
def _kernels(device: torch.device) -> ModuleType | None:
    """The kernels for CUDA, once they were compiled and gave what they should; None where they cannot be had."""
    try:
        from resload.composite import kernels

        if _compute_right(kernels, device):
            return kernels
        why = "they compute something else"
    except Exception as exc:  # what a compiler that is not there, or is another, may raise
        why = f"{type(exc).__name__}: {exc}"
    _log.info("sizes that are not stored are made without Triton's kernels, more slowly: %s", why)
    return None


def _compute_right(kernels: ModuleType, device: torch.device) -> bool:
    """Whether small sums, of which every part is exact in float32, come out right: several stretches, both dtypes."""
    image = torch.arange(400, dtype=torch.int32, device=device).view(20, 20) % 251
    taps = (torch.arange(40, dtype=torch.float64, device=device).view(2, 20) % 3) / 64
    axis = torch.zeros(2, dtype=torch.int32, device=device), taps.float()
    exact = taps @ image.double() @ taps.T
    for dtype in (torch.uint8, torch.uint16):
        stored = image.to(torch.uint8) if dtype == torch.uint8 else image.to(torch.int16).view(dtype)
        floats, whole = (kernels.resample(stored, axis, axis, rounded=rounded) for rounded in (False, True))
        found = whole if dtype == torch.uint8 else whole.view(torch.int16)
        if not torch.equal(floats.double(), exact) or not torch.equal(found.double(), (exact + 0.5).floor()):
            return False
    return True


def _gathered(images: torch.Tensor, axis: Weights, dim: int) -> torch.Tensor:
    _, index, taps = axis.on(images.device)
    shape = (axis.target, 1) if dim == -2 else (axis.target,)
    total: torch.Tensor | None = None
    for begin in range(0, index.shape[1], STRETCH):
        some = images.index_select(dim, index[:, begin]) * taps[:, begin].view(shape)
        for k in range(begin + 1, min(begin + STRETCH, index.shape[1])):
            some.addcmul_(images.index_select(dim, index[:, k]), taps[:, k].view(shape))
        total = some if total is None else total.add_(some)
    assert total is not None
    return total
