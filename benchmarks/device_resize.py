"""Ways to resize batches of gray images on a CUDA device, for speed and for what the pixels are worth.

    python benchmarks/device_resize.py [--device cuda --rounds 20]

64 images that are on the device already, uint8 or uint16 -> float32 in stored units, by the direct triangle kernel:

    gathered     sums of gathered rows and columns, tap by tap
    dense        two matrix products with the float64-made weights of both axes, float32 without TF32
    bf16 x 3     the same on the matrix units: pixels and weights as sums of bfloat16 parts, float32 sums
    interpolate  torch's, antialias=True: its weights are made in float32
    triton       two kernels: cast and columns, then rows; only the taps that weigh
    resload      `composite.resample_tensor`: the same kernels, compiled once for all numbers of taps
    rounded      `composite.resample_stored`: the same, rounded to the stored dtype within the second kernel
    torchvision  its `v2.functional.resize`, antialias=True: of 8 bits in 8 bits; of 16 bits the floats are given to it
    DALI         `fn.resize`, where it is there: feeding it is counted, since a pipeline of DALI is the only way in
    read         a pass over the stored pixels alone: no resize can be faster

Errors are the largest difference from the float64 definition (`resload.reference`), in 1/255 of the range.
"""

import argparse
import contextlib
import statistics
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from common import save

from resload import composite, reference
from resload.devices import usable_device

BATCH = 64
CASES = ((1024, 512), (1024, 224), (2048, 512), (512, 320))

try:
    import triton
    import triton.language as tl
except ImportError:  # the CPU builds of torch bring none
    triton = None


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--device", default="cuda")
    parser.add_argument("--rounds", type=int, default=20)
    parser.add_argument("--batch", type=int, default=BATCH)
    parser.add_argument("--out", type=Path, help="where to put the results (benchmarks/results)")
    args = parser.parse_args()
    device = usable_device(args.device)
    torch.backends.cuda.matmul.allow_tf32 = False
    rows, lines = [], []
    for source, target in CASES:
        for dtype in (np.uint8, np.uint16):
            for name, one in case(source, target, dtype, device, args).items():
                rows.append({"source": source, "target": target, "dtype": np.dtype(dtype).name, "way": name, **one})
                error = "-" if one["error"] is None else f"{one['error']:.1e}"
                lines.append(
                    f"| {source} to {target} | {np.dtype(dtype).name} | {name} | {one['ms']:.3f} | "
                    f"{args.batch / one['ms'] * 1e3:,.0f} | {error} |"
                )
    card = torch.cuda.get_device_name(device) if device.type == "cuda" else "no card: the same code on the CPU"
    table = f"{args.batch} images on {card}, medians of {args.rounds}; error in 1/255.\n\n"
    table += "| size | stored | way | ms | images/s | largest error |\n|---|---|---|---|---|---|\n" + "\n".join(lines)
    where = {} if args.out is None else {"folder": args.out}
    save("device_resize", table, {"card": card, "batch": args.batch, "ways": rows}, **where)


def case(source: int, target: int, dtype: type, device: torch.device, args: argparse.Namespace) -> dict[str, dict]:
    """Milliseconds and errors of each way."""
    top = np.iinfo(dtype).max
    pixels = np.random.default_rng(0).integers(0, top + 1, (args.batch, source, source), dtype)
    images = torch.from_numpy(pixels).to(device)
    exact = reference.resample(pixels[0], target)
    found = {"read": {"ms": clocked(lambda: images.view(torch.uint8).max(), args.rounds, device), "error": None}}
    for name, way in ways(source, target, device).items():
        error = np.abs(way(images)[0].cpu().numpy().astype(np.float64) - exact).max() * 255 / top
        found[name] = {"ms": clocked(lambda way=way: way(images), args.rounds, device), "error": float(error)}
    return found


def ways(source: int, target: int, device: torch.device) -> dict[str, Callable[[torch.Tensor], torch.Tensor]]:
    dense = torch.from_numpy(reference.matrix(source, target)).to(device)
    weights = dense.float()
    starts, taps = banded(dense)
    parts = split(dense)

    def gathered(images: torch.Tensor) -> torch.Tensor:
        index = starts[:, None] + torch.arange(taps.shape[1], device=device)
        return by_taps(by_taps(floats(images), index, taps, -2), index, taps, -1)

    def products(images: torch.Tensor) -> torch.Tensor:
        return weights @ floats(images) @ weights.T

    def by_parts(images: torch.Tensor) -> torch.Tensor:
        columns = sum_of_products(parts, split(floats(images).double(), 1 if images.dtype == torch.uint8 else 2))
        return sum_of_products(parts, split(columns.double()), turned=True)

    def interpolated(images: torch.Tensor) -> torch.Tensor:
        return torch.nn.functional.interpolate(
            floats(images)[:, None], (target, target), mode="bilinear", antialias=True
        )[:, 0]

    found = {"gathered": gathered, "dense": products, "interpolate": interpolated}
    if device.type == "cuda":
        found["bf16 x 3"] = by_parts
    found |= others(target, device)
    axis = composite.weights(source, source, target)
    found["resload"] = lambda images: composite.resample_tensor(images, axis, axis)
    found["rounded"] = lambda images: composite.resample_stored(images, axis, axis)
    if triton is not None and device.type == "cuda":
        found["triton"] = lambda images: by_kernels(images, starts.int(), taps.contiguous(), target)
    return found


def others(target: int, device: torch.device) -> dict[str, Callable[[torch.Tensor], torch.Tensor]]:
    """Resizes of torchvision and DALI, as far as they are installed."""
    found: dict[str, Callable[[torch.Tensor], torch.Tensor]] = {}
    with contextlib.suppress(ImportError, RuntimeError):
        from torchvision.transforms.v2.functional import resize

        def by_torchvision(images: torch.Tensor) -> torch.Tensor:
            given = images if images.dtype == torch.uint8 else floats(images)
            return resize(given[:, None], [target, target], antialias=True)[:, 0]

        found["torchvision"] = by_torchvision
    with contextlib.suppress(ImportError):
        from nvidia.dali import Pipeline, fn, types

        pipelines: dict[torch.dtype, Any] = {}

        def by_dali(images: torch.Tensor) -> torch.Tensor:
            if images.dtype not in pipelines:
                there = "gpu" if device.type == "cuda" else "cpu"
                made = Pipeline(
                    batch_size=len(images),
                    num_threads=4,
                    prefetch_queue_depth=1,
                    device_id=device.index if there == "gpu" else None,
                )
                with made:
                    stored = types.UINT8 if images.dtype == torch.uint8 else types.UINT16
                    given = fn.external_source(name="images", device=there, layout="HWC", dtype=stored)
                    made.set_outputs(fn.resize(given, resize_x=target, resize_y=target, dtype=types.FLOAT))
                made.build()
                pipelines[images.dtype] = made
            made = pipelines[images.dtype]
            given = images[..., None]
            made.feed_input("images", given if device.type == "cuda" else given.numpy())
            (resized,) = made.run()
            return torch.from_dlpack(resized.as_tensor())[..., 0]

        found["DALI"] = by_dali
    return found


def floats(images: torch.Tensor) -> torch.Tensor:
    if images.dtype == torch.uint16:
        return images.view(torch.int16).to(torch.int32).bitwise_and_(0xFFFF).float()
    return images.float()


def banded(dense: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """First pixel of each output, int64 (t,), and its weights, float32 (t, k)."""
    some = dense != 0
    starts = some.int().argmax(1)
    wide = int(some.sum(1).max())
    starts = starts.clamp(max=dense.shape[1] - wide)
    index = starts[:, None] + torch.arange(wide, device=dense.device)
    return starts, dense.gather(1, index).float()


def by_taps(images: torch.Tensor, index: torch.Tensor, taps: torch.Tensor, dim: int) -> torch.Tensor:
    shape = (len(index), 1) if dim == -2 else (len(index),)
    total = images.index_select(dim, index[:, 0]) * taps[:, 0].view(shape)
    for k in range(1, index.shape[1]):
        total.addcmul_(images.index_select(dim, index[:, k]), taps[:, k].view(shape))
    return total


def split(values: torch.Tensor, most: int = 3) -> list[torch.Tensor]:
    """As a sum of bfloat16 parts, largest first."""
    parts = []
    for _ in range(most):
        parts.append(values.bfloat16())
        values = values - parts[-1].to(values.dtype)
    return parts


def sum_of_products(weights: list[torch.Tensor], images: list[torch.Tensor], turned: bool = False) -> torch.Tensor:
    """Of those parts that count: weights @ images, or images @ weights' transpose."""
    total: torch.Tensor | None = None
    for i, weight in enumerate(weights):
        for j, image in enumerate(images):
            if i + j < 3:
                every = (weight.T if turned else weight).expand(len(image), -1, -1)
                one = torch.bmm(*((image, every) if turned else (every, image)), out_dtype=torch.float32)
                total = one if total is None else total.add_(one)
    assert total is not None
    return total


if triton is not None:

    @triton.jit
    def _columns(
        source, out, starts, taps, height, width, target, many: tl.constexpr, wide: tl.constexpr, signed: tl.constexpr
    ):
        row, image = tl.program_id(0), tl.program_id(1)
        across = tl.program_id(2) * wide + tl.arange(0, wide)
        inside = across < width
        start = tl.load(starts + row)
        total = tl.zeros((wide,), tl.float32)
        base = source + image.to(tl.int64) * height * width + start * width + across
        for k in range(many):
            value = tl.load(base + k * width, mask=inside, other=0).to(tl.int32)
            if signed:
                value = value & 0xFFFF
            total += tl.load(taps + row * many + k) * value.to(tl.float32)
        tl.store(out + (image.to(tl.int64) * target + row) * width + across, total, mask=inside)

    @triton.jit
    def _rows(source, out, starts, taps, width, target, many: tl.constexpr, wide: tl.constexpr):
        line = tl.program_id(0).to(tl.int64)
        across = tl.program_id(1) * wide + tl.arange(0, wide)
        inside = across < target
        start = tl.load(starts + across, mask=inside, other=0)
        total = tl.zeros((wide,), tl.float32)
        for k in range(many):
            weight = tl.load(taps + across * many + k, mask=inside, other=0)
            total += weight * tl.load(source + line * width + start + k, mask=inside, other=0)
        tl.store(out + line * target + across, total, mask=inside)


def by_kernels(images: torch.Tensor, starts: torch.Tensor, taps: torch.Tensor, target: int) -> torch.Tensor:
    count, height, width = images.shape
    columns = torch.empty(count, target, width, device=images.device)
    out = torch.empty(count, target, target, device=images.device)
    signed = images.dtype == torch.uint16
    stored = images.view(torch.int16) if signed else images
    number = taps.shape[1]
    _columns[(target, count, triton.cdiv(width, 512))](
        stored, columns, starts, taps, height, width, target, many=number, wide=512, signed=signed
    )
    _rows[(count * target, triton.cdiv(target, 256))](columns, out, starts, taps, width, target, many=number, wide=256)
    return out


def clocked(once: Callable[[], object], rounds: int, device: torch.device) -> float:
    """Median milliseconds, after some that are not counted."""
    import time

    cuda, found = device.type == "cuda", []
    for turn in range(rounds + 3):
        if cuda:
            begun, ended = (torch.cuda.Event(enable_timing=True) for _ in range(2))
            begun.record()
            once()
            ended.record()
            ended.synchronize()
            spent = begun.elapsed_time(ended)
        else:
            at = time.perf_counter()
            once()
            spent = 1e3 * (time.perf_counter() - at)
        if turn >= 3:
            found.append(spent)
    return statistics.median(found)


if __name__ == "__main__":
    main()
