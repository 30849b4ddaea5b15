"""Levels through two axes of weights on a CUDA device, by two kernels of Triton: cast and columns, then rows.

Each reads only the pixels that weigh, and the first reads them as they are stored. Sums in float32, of stretches of
taps that are then summed in turn: one sum of hundreds would drift by a tenth of a unit of 16 bits. No matrix product,
so that neither TF32 nor autocast can take their bits. One compiled kernel of each serves all sizes and numbers of
taps. Imported where there is a CUDA device; torch's builds for it bring Triton along.
"""

from typing import Any

import torch
import triton
import triton.language as tl

from resload.resampling.bands import STRETCH

_COLUMNS_WIDE, _ROWS_WIDE = 512, 256
"""Pixels of one program."""


@triton.jit(do_not_specialize=["taps_each"])  # type: ignore[untyped-decorator]  # Triton's own
def _columns(  # type: ignore[no-untyped-def]  # compiled by Triton, which reads types of its own
    source,
    out,
    starts,
    taps,
    taps_each,
    image_step,
    row_step,
    width,
    target,
    wide: tl.constexpr,
    stretch: tl.constexpr,
    bits: tl.constexpr,
):
    """out[image, row, x] = sum over k of taps[row, k] source[image, starts[row] + k, x]."""
    row, image = tl.program_id(0), tl.program_id(1).to(tl.int64)
    across = tl.program_id(2) * wide + tl.arange(0, wide)
    inside = across < width
    first = tl.load(starts + row).to(tl.int64)
    pixels = source + image * image_step + first * row_step + across
    total = tl.zeros((wide,), tl.float32)
    for begin in range(0, taps_each, stretch):
        some = tl.zeros((wide,), tl.float32)
        for k in range(begin, tl.minimum(begin + stretch, taps_each)):
            value = tl.load(pixels + k * row_step, mask=inside, other=0)
            if bits:  # 16 bits without a sign, carried as ones with it
                value = value.to(tl.int32) & 0xFFFF
            some += tl.load(taps + row * taps_each + k) * value.to(tl.float32)
        total += some
    tl.store(out + (image * target + row) * width + across, total, mask=inside)


@triton.jit(do_not_specialize=["taps_each"])  # type: ignore[untyped-decorator]  # Triton's own
def _rows(  # type: ignore[no-untyped-def]  # compiled by Triton, which reads types of its own
    source,
    out,
    starts,
    taps,
    taps_each,
    width,
    target,
    wide: tl.constexpr,
    stretch: tl.constexpr,
    top: tl.constexpr,
):
    """out[line, x] = sum over k of taps[x, k] source[line, starts[x] + k]; whole, up to a `top` that is not 0."""
    line = tl.program_id(0).to(tl.int64)
    across = tl.program_id(1) * wide + tl.arange(0, wide)
    inside = across < target
    pixels = source + line * width + tl.load(starts + across, mask=inside, other=0)
    weights = taps + across * taps_each
    total = tl.zeros((wide,), tl.float32)
    for begin in range(0, taps_each, stretch):
        some = tl.zeros((wide,), tl.float32)
        for k in range(begin, tl.minimum(begin + stretch, taps_each)):
            some += tl.load(weights + k, mask=inside, other=0) * tl.load(pixels + k, mask=inside, other=0)
        total += some
    if top:
        whole = tl.minimum(tl.maximum(tl.floor(total + 0.5), 0.0), top).to(tl.int32)
        tl.store(out + line * target + across, whole.to(out.dtype.element_ty), mask=inside)
    else:
        tl.store(out + line * target + across, total, mask=inside)


Axis = tuple[torch.Tensor, torch.Tensor]
"""First pixels (t,) int32, and weights (t, K) float32, on the device."""


def resample(images: torch.Tensor, vertical: Axis, horizontal: Axis, *, rounded: bool = False) -> torch.Tensor:
    """(..., H, W) uint8, uint16 or float32 on a CUDA device -> float32 there, in stored units, before rounding.

    rounded: uint8 or uint16 of `images`, rounded half up and clipped, once. Rows of `images` should be contiguous; it
    may be a part of larger images. Queued on the current stream.
    """
    shape, bits = images.shape, images.dtype == torch.uint16
    source = (images.view(torch.int16) if bits else images).reshape(-1, *shape[-2:])
    if source.stride(2) != 1:
        source = source.contiguous()
    count, _, width = source.shape
    high, wide = len(vertical[0]), len(horizontal[0])
    columns = torch.empty(count, high, width, dtype=torch.float32, device=source.device)
    out = torch.empty(count, high, wide, dtype=source.dtype if rounded else torch.float32, device=source.device)
    with torch.cuda.device(source.device):
        _launch(
            _columns,
            (high, count, triton.cdiv(width, _COLUMNS_WIDE)),
            *(source, columns, *vertical, vertical[1].shape[1], source.stride(0), source.stride(1), width, high),
            wide=_COLUMNS_WIDE,
            stretch=STRETCH,
            bits=bits,
        )
        _launch(
            _rows,
            (count * high, triton.cdiv(wide, _ROWS_WIDE)),
            *(columns, out, *horizontal, horizontal[1].shape[1], width, wide),
            wide=_ROWS_WIDE,
            stretch=STRETCH,
            top=(65535 if bits else 255) if rounded else 0,
        )
    return (out.view(torch.uint16) if rounded and bits else out).view(*shape[:-2], high, wide)


def _launch(kernel: Any, grid: tuple[int, ...], *arguments: Any, **constants: Any) -> None:
    kernel[grid](*arguments, **constants)
