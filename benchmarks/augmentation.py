"""A composition of albumentations: under resload's threads, and in the workers of a torch DataLoader.

    python benchmarks/augmentation.py [--images 512 --rounds 5 --quick --results FOLDER]

A horizontal flip, a rotation by up to ten degrees and a change of brightness and contrast, of each image, from one
cache of 8 bits, in batches of 32 of float32. For 256 and 512 px, given to the composition as uint8 and as float32:

    plain, 1 and 2 threads       resload.Loader without a transform: what moving the images costs
    1, 2 threads                 resload.Loader(transform=augment.Albumentations(...)): each film seeded by its draw
    2 threads, no cv2 threads    the same after cv2.setNumThreads(0), which is a setting of the whole process
    0, 1, 2 workers              torch DataLoader(resload.torch_dataset(transform=)) as albumentations is used there:
                                 unseeded, and floats made of what it leaves; workers kept between epochs

torch has one thread for its own operations in every case, as DataLoader's workers have. Images/s are of whole epochs,
medians of interleaved rounds; the workers are started in the round that is not counted. The last lines say what seeding
one film costs: `set_random_state` as the adapter does, and `set_random_seed`, which it does not.
"""

import argparse
import os
import random
import tempfile
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

os.environ.setdefault("NO_ALBUMENTATIONS_UPDATE", "1")

import albumentations
import cv2
import numpy as np
import torch
from cached_loading import make_cache
from common import RESULTS, drained, environment, interleaved, ratio, save, seconds, summary

import resload
from resload.augment import Albumentations

BATCH = 32
CASES = [(side, dtype) for side in (256, 512) for dtype in ("uint8", "float32")]


def composition() -> Any:
    """What a training script has, of a gray image."""
    return albumentations.Compose(
        [
            albumentations.HorizontalFlip(p=0.5),
            albumentations.Rotate(limit=10, p=1.0),
            albumentations.RandomBrightnessContrast(p=1.0),
        ]
    )


@dataclass(frozen=True)
class OfTensor:
    """The composition as it is used in a map-style data set: a tensor in, a float32 tensor out."""

    compose: Any

    def __call__(self, image: torch.Tensor) -> torch.Tensor:
        """Another draw each time, of the worker's own."""
        found = torch.from_numpy(np.ascontiguousarray(self.compose(image=image.numpy()[0])["image"]))[None]
        return found if found.dtype == torch.float32 else found.to(torch.float32).div_(255)


@contextmanager
def cv2_threads(count: int | None) -> Iterator[None]:
    """OpenCV's own pool at this size; None leaves it."""
    before = cv2.getNumThreads()
    if count is not None:
        cv2.setNumThreads(count)
    yield
    cv2.setNumThreads(before)


def ways(cache: resload.Cache, side: int, dtype: str) -> dict[str, tuple[Iterable[Any], int | None]]:
    """What to iterate by name, and how many threads OpenCV has then."""
    loading = partial(resload.Loader, cache, size=side, batch_size=BATCH, shuffle=True)
    adapter = Albumentations(composition(), dtype=dtype)
    found: dict[str, tuple[Iterable[Any], int | None]] = {}
    for count in (1, 2):
        found[f"plain, {count} thread{'s' * (count > 1)}"] = loading(threads=count), None
    for count in (1, 2):
        found[f"{count} thread{'s' * (count > 1)}"] = loading(threads=count, transform=adapter), None
    found["2 threads, no cv2 threads"] = loading(threads=2, transform=adapter), 0
    data = resload.torch_dataset(cache, size=side, dtype=getattr(torch, dtype), transform=OfTensor(composition()))
    for count in (0, 1, 2):
        found[f"{count} worker{'s' * (count != 1)}"] = (
            torch.utils.data.DataLoader(
                data, batch_size=BATCH, shuffle=True, num_workers=count, persistent_workers=count > 0
            ),
            None,
        )
    return found


def rate(batches: Iterable[Any], threads: int | None, count: int) -> float:
    """Images/s of an epoch."""
    with cv2_threads(threads):
        return count / seconds(partial(drained, batches))


def compared(folder: Path, side: int, dtype: str, images: int, rounds: int) -> dict[str, Any]:
    """Images/s of every way, and of two threads over two workers."""
    cache = resload.open_cache(folder / f"{side}.zarr")
    work: Mapping[str, Callable[[], float]] = {
        name: partial(rate, batches, threads, images) for name, (batches, threads) in ways(cache, side, dtype).items()
    }
    rates = interleaved(work, rounds)
    cache.close()
    return {
        "images_per_second": {name: summary(values) for name, values in rates.items()},
        "threads_over_workers": ratio(rates["2 threads"], rates["2 workers"]),
        "threads_over_one": ratio(rates["2 threads"], rates["1 thread"]),
    }


def seeding_us(times: int) -> dict[str, float]:
    """Microseconds to seed the composition for one film, and to copy it for one thread."""
    import copy

    compose, rng = composition(), np.random.default_rng(0)
    state = partial(compose.set_random_state, rng, random.Random(0))
    fresh = [lambda: compose.set_random_state(np.random.default_rng(1), random.Random(1)), state]
    named = {
        "set_random_state, generators made": fresh[0],
        "set_random_state alone": fresh[1],
        "set_random_seed": partial(compose.set_random_seed, 1),
        "a copy for a thread": partial(copy.deepcopy, compose),
    }
    return {name: 1e6 * min(seconds(once) for _ in range(times)) for name, once in named.items()}


def as_table(found: Mapping[str, Mapping[str, Any]]) -> str:
    """A row for each case."""
    names = list(next(iter(found.values()))["images_per_second"])
    head = ["images", *names, "2 threads / 2 workers", "2 threads / 1"]
    rows = [
        [
            name,
            *(f"{one['images_per_second'][way]['median']:,.0f}" for way in names),
            f"{one['threads_over_workers']:.2f}",
            f"{one['threads_over_one']:.2f}",
        ]
        for name, one in found.items()
    ]
    return "\n".join("| " + " | ".join(row) + " |" for row in [head, ["---"] * len(head), *rows])


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--images", type=int, default=512, help="in an epoch")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--quick", action="store_true", help="few images, one round: to see that it runs")
    parser.add_argument("--results", type=Path, default=RESULTS, help="where to write (default: benchmarks/results)")
    args = parser.parse_args()
    images, rounds = (2 * BATCH, 1) if args.quick else (args.images // BATCH * BATCH, args.rounds)
    torch.set_num_threads(1)
    found = {}
    with tempfile.TemporaryDirectory() as folder:
        for side in {side: None for side, _ in CASES}:
            make_cache(Path(folder) / f"{side}.zarr", images, side)
        for side, dtype in CASES:
            found[f"{side} px, {dtype}"] = compared(Path(folder), side, dtype, images, rounds)
    seeding = seeding_us(20 if args.quick else 500)
    versions = f"albumentations {albumentations.__version__}, OpenCV {cv2.__version__}"
    notes = [
        f"Images/s, medians of {rounds} rounds; batches of {BATCH}, float32 out; {environment()['cores']} cores; "
        f"{versions}; OpenCV's own pool has {cv2.getNumThreads()} threads unless the column says otherwise.",
        "Microseconds, the least of many: " + "; ".join(f"{name} {took:.0f}" for name, took in seeding.items()) + ".",
    ]
    save("augmentation", "\n\n".join([as_table(found), *notes]), {"cases": found, "seeding_us": seeding}, args.results)


if __name__ == "__main__":
    main()
