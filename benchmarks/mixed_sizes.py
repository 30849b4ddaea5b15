"""What it costs to change the resolution from batch to batch.

    python benchmarks/mixed_sizes.py [--steps 64 --rounds 9]

Three sizes of one cache (page cache warm, every record verified), as many batches at each:

    one after another    a Loader for each size, one after the other
    mixed                one Loader, its sizes drawn anew for each batch (`samplers.Mix`)
    mixed, runs of 4     the same, drawn anew for every fourth batch (`every=4`)

The same records are read and the same batches made; what differs is that memory, views and tasks change their shape
from batch to batch. Rounds are interleaved, and ratios taken round by round.
"""

import argparse
import tempfile
from collections.abc import Iterable
from functools import partial
from pathlib import Path
from typing import Any

import torch
from cached_loading import BATCH, make_cache
from common import interleaved, ratio, save, seconds, summary

import resload
from resload.samplers import Fixed, Images, Mix, Sampler

SIDES = (192, 256, 384)


def epoch(loaders: Iterable[resload.Loader]) -> None:
    """An epoch of each, batches dropped at once."""
    for loader in loaders:
        for _ in loader:
            pass


def loaders(cache: resload.Cache, sizes: Any, steps: int, dtype: torch.dtype) -> resload.Loader:
    """A loader of so many batches."""
    sampler = Sampler(cache, sizes=sizes, budget=Images(BATCH), epoch_steps=steps)
    normalize = (0.5, 0.25) if dtype == torch.float32 else None
    return resload.Loader(cache, sampler=sampler, dtype=dtype, normalize=normalize)


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--images", type=int, default=4096)
    parser.add_argument("--steps", type=int, default=64, help="batches at each size")
    parser.add_argument("--rounds", type=int, default=9)
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        cache = resload.open_cache(make_cache(Path(folder) / "cache.zarr", args.images, *SIDES))
        work = {}
        for name, dtype in (("uint8 as stored", torch.uint8), ("float32, normalised", torch.float32)):
            each = [loaders(cache, Fixed(side), args.steps, dtype) for side in SIDES]
            mixed = loaders(cache, Mix(SIDES, share_of="steps"), args.steps * len(SIDES), dtype)
            work[f"{name}, one after another"] = partial(seconds, partial(epoch, each))
            work[f"{name}, mixed"] = partial(seconds, partial(epoch, [mixed]))
            runs = loaders(cache, Mix(SIDES, share_of="steps", every=4), args.steps * len(SIDES), dtype)
            work[f"{name}, mixed, runs of 4"] = partial(seconds, partial(epoch, [runs]))
        found = interleaved(work, args.rounds)
    batches = args.steps * len(SIDES)
    rows = []
    for name in ("uint8 as stored", "float32, normalised"):
        apart, together = found[f"{name}, one after another"], found[f"{name}, mixed"]
        per_batch = [1000 * summary(values)["median"] / batches for values in (apart, together)]
        ratios = [ratio(values, apart) for values in (together, found[f"{name}, mixed, runs of 4"])]
        rows.append(f"| {name} | {per_batch[0]:.2f} | {per_batch[1]:.2f} | {ratios[0]:.3f} | {ratios[1]:.3f} |")
    table = "\n".join(
        [
            f"Batches of {BATCH} at {', '.join(map(str, SIDES))} px, {args.steps} of each; medians of {args.rounds}.",
            "",
            "| what | apart, ms a batch | mixed, ms a batch | mixed / apart | in runs of 4 / apart |",
            "|---|---|---|---|---|",
            *rows,
        ]
    )
    save("mixed_sizes", table, {"sides": SIDES, "seconds": {name: summary(values) for name, values in found.items()}})


if __name__ == "__main__":
    main()
