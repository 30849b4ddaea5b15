"""What a size costs that is not stored: 64 images 512 -> 320 on one core, weights, a batch of 64 shapes, the Loader.

    python benchmarks/any_size.py [--rounds 15]

On one core and one thread of torch, but for the Loader's row. The plain second resize stands beside the composite one:
the same product with the weights of the direct kernel. A batch of 64 films of 64 shapes is read twice from a padded
cache: with all weights still to be made, and with all of them known.
"""

import argparse
import os
import tempfile
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from common import interleaved, ratio, save, seconds, summary

import resload
from resload import composite
from resload.composite import axis
from resload.resampling import by_torch, resample, strips
from resload.size import Size

LEVEL, TARGET, IMAGES = 512, 320, 64


def arithmetic(rounds: int) -> dict[str, list[float]]:
    """Milliseconds on one core: 64 images through both axes, and making one axis of weights."""
    rng = np.random.default_rng(0)
    smooth = rng.integers(0, 256, (IMAGES, LEVEL // 8, LEVEL // 8), np.uint8)
    levels = resample(smooth, LEVEL)
    out = np.empty((IMAGES, TARGET, TARGET), np.uint8)
    weights = composite.weights(2 * LEVEL, LEVEL, TARGET)

    def by_composite() -> None:
        for level, image in zip(levels, out, strict=True):
            composite.resample(level, weights, weights, out=image)

    def plainly() -> None:
        for level, image in zip(levels, out, strict=True):
            image[...] = by_torch.exact(level, [Size(TARGET, TARGET)], "triangle")[0]

    def in_strips() -> None:
        for level, image in zip(levels, out, strict=True):
            image[...] = strips.levels(level, [Size(TARGET, TARGET)], by_torch.four)[0]

    def make_weights() -> None:
        axis._whole.cache_clear()
        composite.weights(2 * LEVEL, LEVEL, TARGET)

    work = {
        "composite": by_composite,
        "plain, exact path": plainly,
        "plain, 8-bit path": in_strips,
        "weights": make_weights,
    }
    measured = interleaved({name: lambda once=once: seconds(once) for name, once in work.items()}, rounds)
    return {name: [1e3 * value for value in values] for name, values in measured.items()}


def shapes_and_loader(folder: Path, rounds: int) -> dict[str, list[float]]:
    """Milliseconds of a batch of 64 films of 64 shapes, first and again; of a stored size and another by the Loader."""
    import imagecodecs

    rows = []
    for index in range(IMAGES):
        height, width = 700 + 3 * index, 1000 - 5 * index
        film = resample(np.random.default_rng(index).integers(0, 256, (40, 30), np.uint8), (height, width))
        (folder / f"{index}.png").write_bytes(imagecodecs.png_encode(film))
        rows.append({"id": str(index), "path": f"{index}.png", "bits": 8})
    catalog = resload.Catalog(pd.DataFrame(rows), root=folder)
    cache = resload.build(catalog, folder / "films.zarr", (TARGET, LEVEL), fit="pad", progress=False)
    every, out = cache.rows(), np.empty((IMAGES, 288, 288), np.uint8)
    loaders = {
        f"Loader, stored {TARGET}": resload.Loader(cache, size=TARGET, batch_size=IMAGES),
        "Loader, 288 from 512": resload.Loader(cache, size=288, batch_size=IMAGES),
    }

    def first() -> None:
        axis._whole.cache_clear()
        cache.read(every, 288, out=out)

    work = {"64 shapes, first": first, "64 shapes, again": lambda: cache.read(every, 288, out=out)}
    work |= {name: lambda one=one: [None for _ in one] for name, one in loaders.items()}
    measured = interleaved({name: lambda once=once: seconds(once) for name, once in work.items()}, rounds)
    return {name: [1e3 * value for value in values] for name, values in measured.items()}


def main() -> None:
    """Measure, print, save."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=15)
    rounds = parser.parse_args().rounds
    torch.set_num_threads(1)
    every = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {min(every)})
    measured = arithmetic(rounds)
    os.sched_setaffinity(0, every)
    with tempfile.TemporaryDirectory() as folder:
        measured |= shapes_and_loader(Path(folder), rounds)
    lines = ["| 64 images, ms | median | least | most |", "|---|---|---|---|"]
    for name, values in measured.items():
        found = summary(values)
        what = f"{name} (one axis)" if name == "weights" else name
        lines.append(f"| {what} | {found['median']:.1f} | {found['least']:.1f} | {found['most']:.1f} |")
    shares = {
        "composite / plain by the exact path": ratio(measured["composite"], measured["plain, exact path"]),
        "64 shapes, first / again": ratio(measured["64 shapes, first"], measured["64 shapes, again"]),
    }
    lines += ["", *(f"{name}: {share:.2f}" for name, share in shares.items())]
    document = {"ms": {name: summary(values) for name, values in measured.items()}, "ratios": shares}
    save("any_size", "\n".join(lines), document)


if __name__ == "__main__":
    main()
