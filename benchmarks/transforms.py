"""Transforms in Python: under resload's threads, and in the workers of a torch DataLoader.

    python benchmarks/transforms.py [--images 1024 --rounds 5 --quick --only none Python]

The same transform of one image, of float32 from the same cache, in batches of 32:

    1, 2 threads       resload.Loader(transform=, threads=)
    0, 1, 2 workers    torch DataLoader(resload.torch_dataset(transform=), num_workers=), workers kept between epochs

    none                    nothing, for comparison: what moving the images costs
    Python, 0.05 ms ...     a loop in Python, which holds the GIL for so long; its length is found on this machine
    numpy, 512 px           a gamma curve and a blur by shifted sums: operations on large arrays let the GIL go
    torch, affine           affine_grid and grid_sample
    torch, blur             a Gaussian blur as two convolutions
    albumentations          rotation, scaling and contrast, where it is installed

torch has one thread for its own operations in every case, as DataLoader's workers have. Images/s are of whole epochs,
medians of interleaved rounds; starting the workers, which `persistent_workers` pays once, is measured apart.
"""

import argparse
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import torch
from cached_loading import make_cache
from common import RESULTS, drained, environment, interleaved, ratio, save, seconds, summary
from torch.nn.functional import affine_grid, conv2d, grid_sample
from transforms_figure import draw

import resload

BATCH = 32
LENGTHS_MS = (0.05, 0.5, 5.0)
ALIKE = ("2 threads", "2 workers")
"""Those that may use as many cores."""

Image = torch.Tensor
Transform = Callable[[Image], Image]


# -- transforms: (1, H, W) float32 -> the same -----------------------------------------------------------


@dataclass(frozen=True)
class Looped:
    """Python that never lets the GIL go: a sum over so many numbers, which the image is shifted by."""

    turns: int

    def __call__(self, image: Image) -> Image:
        """The loop."""
        total = 0
        for turn in range(self.turns):
            total += turn & 7
        return image.add_(total * 1e-12)


def turns_of(milliseconds: float) -> int:
    """How many turns of that loop take so long here, when nothing else runs."""
    image, turns = torch.zeros(1, 1, 1), 20_000
    took = min(seconds(partial(Looped(turns), image)) for _ in range(5))
    return max(1, round(turns * milliseconds / 1e3 / took))


def arrays(image: Image) -> Image:
    """A gamma curve and a blur, in numpy."""
    pixels = np.power(np.abs(image.numpy()[0]), np.float32(0.8))
    blurred = pixels.copy()
    for axis in (0, 1):
        for shift in (-1, 1):
            blurred += np.roll(pixels, shift, axis)
    return torch.from_numpy(blurred[None] * np.float32(0.2))


THETA = torch.tensor([[[0.98, -0.17, 0.02], [0.17, 0.98, -0.03]]])
"""A rotation by ten degrees and a small shift."""
BELL = torch.softmax(-(torch.arange(-4.0, 5.0) ** 2) / 4.5, 0)


def affine(image: Image) -> Image:
    """Rotated and shifted, bilinear."""
    grid = affine_grid(THETA, [1, *image.shape], align_corners=False)
    return grid_sample(image[None], grid, align_corners=False)[0]


def blur(image: Image) -> Image:
    """A Gaussian blur of nine taps, axis by axis."""
    once = conv2d(image[None], BELL.view(1, 1, 9, 1), padding="same")
    return conv2d(once, BELL.view(1, 1, 1, 9), padding="same")[0]


class Albumentations:
    """A usual augmentation of that library, of a (H, W) float32 image."""

    def __init__(self) -> None:
        import albumentations

        self._made = albumentations.Compose(
            [
                albumentations.Affine(rotate=(-10, 10), scale=(0.9, 1.1), p=1.0),
                albumentations.RandomBrightnessContrast(p=1.0),
            ]
        )

    def __call__(self, image: Image) -> Image:
        """Another draw each time."""
        return torch.from_numpy(np.ascontiguousarray(self._made(image=image.numpy()[0])["image"]))[None]


@dataclass(frozen=True)
class OfSample:
    """The same for a Loader, whose transforms see a sample."""

    transform: Transform

    def __call__(self, sample: Any) -> Image:
        """The image alone."""
        return self.transform(sample.image)


def cases() -> tuple[dict[str, tuple[int, Transform | None]], list[str]]:
    """Side of the image and transform by name, and what is left out."""
    found: dict[str, tuple[int, Transform | None]] = {"none, 256 px": (256, None), "none, 512 px": (512, None)}
    found |= {f"Python, {length:g} ms": (256, Looped(turns_of(length))) for length in LENGTHS_MS}
    found |= {
        "numpy, 512 px": (512, arrays),
        "torch, affine, 512 px": (512, affine),
        "torch, blur, 512 px": (512, blur),
    }
    if find_spec("albumentations") is None:
        return found, ["albumentations is not installed here and was left out."]
    return found | {"albumentations, 512 px": (512, Albumentations())}, []


# -- the two ways ----------------------------------------------------------------------------------------


@contextmanager
def ways(cache: resload.Cache, side: int, transform: Transform | None) -> Iterator[dict[str, Any]]:
    """What to iterate, by name; the workers end with it."""
    of_sample = None if transform is None else OfSample(transform)
    found: dict[str, Any] = {}
    for count in (1, 2):
        found[name_of(count, "thread")] = resload.Loader(
            cache, size=side, batch_size=BATCH, shuffle=True, transform=of_sample, threads=count
        )
    for count in (0, 1, 2):
        found[name_of(count, "worker")] = torch.utils.data.DataLoader(
            resload.torch_dataset(cache, size=side, transform=transform),
            batch_size=BATCH,
            shuffle=True,
            num_workers=count,
            persistent_workers=count > 0,
        )
    yield found
    found.clear()


def name_of(count: int, what: str) -> str:
    return f"{count} {what}" if count == 1 else f"{count} {what}s"


def compared(folder: Path, side: int, transform: Transform | None, images: int, rounds: int) -> dict[str, Any]:
    """One transform: milliseconds of it alone, images/s of each way, seconds to start two workers."""
    cache = resload.open_cache(folder / f"{side}.zarr")
    alone = alone_ms(transform, side)
    with ways(cache.select(np.arange(images)), side, transform) as found:
        started = seconds(partial(first_of, found["2 workers"]))
        work = {name: partial(rate, way, images) for name, way in found.items()}
        rates = interleaved(work, rounds)
    cache.close()
    return {
        "alone_ms": alone,
        "images": images,
        "workers_start_seconds": started,
        "images_per_second": {name: summary(values) for name, values in rates.items()},
        "threads_over_workers": ratio(*(rates[name] for name in ALIKE)),
    }


def rate(batches: Any, count: int) -> float:
    return count / seconds(partial(drained, batches))


def first_of(batches: Any) -> None:
    next(iter(batches))


def alone_ms(transform: Transform | None, side: int) -> float:
    """Milliseconds of one image, on this thread, in memory that is there."""
    if transform is None:
        return 0.0
    image = torch.rand(1, side, side)
    transform(image)
    return 1e3 * statistics.median(seconds(partial(transform, image)) for _ in range(9))


def images_for(transform: Transform | None, side: int, most: int) -> int:
    """So many images that the slowest way takes about a second, in eight batches at least, and not more than `most`."""
    fit = 1e3 / max(alone_ms(transform, side), 1e-3)
    return int(min(most, max(fit, 8 * BATCH))) // BATCH * BATCH


# -- what it says ----------------------------------------------------------------------------------------


MARGIN = 0.95
"""Workers count as ahead where threads make fewer images than this share of theirs."""


def rule(found: Mapping[str, Mapping[str, Any]]) -> str:
    """From which length of a loop in Python two workers are ahead of two threads, and for what else they are."""
    ahead = {name: one["threads_over_workers"] < MARGIN for name, one in found.items()}
    loops = [name for name in ahead if name.startswith("Python")]
    from_here = [name for place, name in enumerate(loops) if all(ahead[later] for later in loops[place:])]
    others = [name for name in ahead if name not in loops and ahead[name]]
    first = f"from {from_here[0].partition(', ')[2]} an image on" if from_here else "at none of these lengths"
    rest = f"Also for: {'; '.join(others)}." if others else "For none of the others."
    by = f"by more than {100 * (1 - MARGIN):.0f} %"
    return f"Two workers are ahead of two threads ({by}) {first} where Python holds the GIL. {rest}"


def as_table(found: Mapping[str, Mapping[str, Any]]) -> str:
    """Images/s of every way, and the ratio of the two that use two cores."""
    names = list(next(iter(found.values()))["images_per_second"])
    head = ["transform", "ms alone", *names, f"{ALIKE[0]} / {ALIKE[1]}", "2 workers start, s"]
    rows = [
        [
            name,
            f"{one['alone_ms']:.2f}",
            *(_cell(one["images_per_second"][way]) for way in names),
            f"{one['threads_over_workers']:.2f}",
            f"{one['workers_start_seconds']:.2f}",
        ]
        for name, one in found.items()
    ]
    return "\n".join("| " + " | ".join(row) + " |" for row in [head, ["---"] * len(head), *rows])


def _cell(found: Mapping[str, float]) -> str:
    around = (found["most"] - found["least"]) / 2 / found["median"]
    return f"{found['median']:,.0f} ±{100 * around:.0f} %"


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--images", type=int, default=1024, help="in an epoch, at most")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--quick", action="store_true", help="few images, one round: to see that it runs")
    parser.add_argument("--only", nargs="+", default=[""], metavar="BEGINNING", help="of the names of transforms")
    parser.add_argument("--results", type=Path, default=RESULTS, help="where to write (default: benchmarks/results)")
    args = parser.parse_args()
    images, rounds = (2 * BATCH, 1) if args.quick else (args.images, args.rounds)
    torch.set_num_threads(1)
    named, left_out = cases()
    named = {name: case for name, case in named.items() if name.startswith(tuple(args.only))}
    if not named:
        parser.error(f"--only: no transform begins with {', '.join(args.only)}")
    found: dict[str, dict[str, Any]] = {}
    with tempfile.TemporaryDirectory() as folder:
        for side in {side for side, _ in named.values()}:
            make_cache(Path(folder) / f"{side}.zarr", images, side)
        for name, (side, transform) in named.items():
            begun = time.perf_counter()
            found[name] = compared(Path(folder), side, transform, images_for(transform, side, images), rounds)
            print(f"{name}: {time.perf_counter() - begun:.0f} s", flush=True)
    sentences = [rule(found), *left_out]
    notes = (
        f"Images/s, medians of {rounds} rounds with half of their range; batches of {BATCH}, float32; torch's own "
        "operations on one thread. The last column is the time from a DataLoader to its first batch, paid once."
    )
    where = environment()
    foot = f"{where['date']}, {where['processor']}, {where['cores']} cores; whiskers: range of the rounds."
    args.results.mkdir(exist_ok=True)
    draw(found, args.results / "transforms.png", foot=foot)
    table = "\n\n".join([as_table(found), *sentences, notes])
    save("transforms", table, {"cases": found, "said": sentences}, args.results)


if __name__ == "__main__":
    main()
