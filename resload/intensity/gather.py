"""Tables applied to pixels: in numpy, and where a tensor is.

A table of 256 or 65,536 entries is exact whatever it holds, and one gather is all that a film costs, on a CPU or a GPU.
"""

from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from resload.errors import ArgumentError

if TYPE_CHECKING:
    import torch

    Images = TypeVar("Images", NDArray[Any], torch.Tensor)

_BLOCK = 1 << 16


def mapped(table: "NDArray[Any] | torch.Tensor", pixels: "Images") -> "Images":
    """Each pixel's entry in a table, where the pixels are; a new array or tensor. Thread-safe.

    >>> mapped(np.arange(255, -1, -1, np.uint8), np.array([[0, 200]], np.uint8)).tolist()
    [[255, 55]]

    Args:
        table: (n,), or (B, n) with one table for each image of a batch; n is 256 for uint8 pixels and 65,536 for
            uint16. Entries of any dtype; numpy or torch, on any device.
        pixels: uint8 or uint16, numpy or torch; (B, ...) where there are B tables, else of any shape.

    Returns:
        the entries, in the shape of `pixels`, of the table's dtype, and on the device of `pixels`.

    Raises ArgumentError where table and pixels do not fit. The results of numpy, CPU and CUDA are the same.
    """
    if isinstance(pixels, np.ndarray):
        found = table if isinstance(table, np.ndarray) else table.cpu().numpy()
        _check(found.shape, str(pixels.dtype), pixels.shape)
        return _in_numpy(found, pixels)
    return _in_torch(table, pixels)


def _check(table: tuple[int, ...], dtype: str, pixels: tuple[int, ...]) -> None:
    entries = {"uint8": 256, "uint16": 65536}.get(dtype)
    if entries is None:
        raise ArgumentError(f"pixels must be uint8 or uint16; found {dtype}")
    if table != (entries,) and table != (*pixels[:1], entries):
        raise ArgumentError(
            f"a table for {dtype} pixels is ({entries},), or (B, {entries}) for B images; found {table} for {pixels}"
        )


def _in_numpy(table: NDArray[Any], pixels: NDArray[Any]) -> NDArray[Any]:
    if table.ndim == 1:
        return looked_up(table, pixels)
    out = np.empty(pixels.shape, table.dtype)
    for own, image, place in zip(table, pixels, out, strict=True):
        place[...] = looked_up(own, image)
    return out


def looked_up(table: NDArray[Any], pixels: NDArray[Any]) -> NDArray[Any]:
    """`table[pixels]`, a block at a time: numpy widens indices to 64 bits, and a block of those stays in cache."""
    out: NDArray[Any] = np.empty(pixels.shape, table.dtype)
    flat_in, flat_out = pixels.reshape(-1), out.reshape(-1)
    for start in range(0, flat_in.size, _BLOCK):
        part = flat_in[start : start + _BLOCK]
        np.take(table, part, out=flat_out[start : start + _BLOCK], mode="clip")
    return out


def _in_torch(table: "NDArray[Any] | torch.Tensor", pixels: "torch.Tensor") -> "torch.Tensor":
    import torch

    from resload import carried

    found = torch.from_numpy(np.require(table, requirements="W")) if isinstance(table, np.ndarray) else table
    _check(tuple(found.shape), str(pixels.dtype).removeprefix("torch."), tuple(pixels.shape))
    entries = found.to(pixels.device)
    index = carried.numbers(pixels)
    if found.ndim == 2:
        starts = torch.arange(len(found), device=pixels.device) * found.shape[1]
        index = index + starts.view(-1, *[1] * (pixels.ndim - 1))
    return carried.bits(entries).reshape(-1).index_select(0, index.reshape(-1)).view(pixels.shape).view(entries.dtype)
