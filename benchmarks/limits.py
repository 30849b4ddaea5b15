"""What each step of loading costs, and so how fast the loader could be at most: the profile behind the targets.

    python benchmarks/limits.py [--images 8192 --rounds 7]

256 x 256 uint8, random rows, batches of 64, two threads at once, each with four buffers in turn; microseconds for an
image and a thread, so that steps that follow one another add up:

    copy in memory       numpy.take from an array
    copy by the system   the same bytes by one call for each batch (`store/bulk.py`), page cache warm
    sweep of pread       the same by a call for each record
    checksum             crc32c of a batch that was just copied
    cast, scale, shift   the three passes that make normalised float32, each with those before it
    Loader               everything, with each way of opening the cache

What the loader takes beyond the sum of its steps is Python, hand-overs, and memory that two threads share.
"""

import argparse
import os
import tempfile
import threading
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from cached_loading import make_cache
from common import drained, interleaved, save, seconds, summary
from crc32c import crc32c
from numpy.typing import NDArray

import resload
from resload.size import Size
from resload.store import layout
from resload.store.gather import _pread as bulk_or_sweep
from resload.store.opened import Shards
from resload.store.slot import Slot

SIDE, BATCH, THREADS, BUFFERS = 256, 64, 2, 4
SIZE = Size(SIDE, SIDE)
PASS = 4
"""Images converted at a time, as the loader does: a megabyte of float32."""
STEPS = {
    "as stored": ("copy by the system", "checksum"),
    "as stored, kept in memory": ("copy in memory",),
    "float32": ("copy by the system", "checksum", "cast, scale, shift"),
    "float32, kept in memory": ("copy in memory", "cast, scale, shift"),
}
"""What each way of loading is made of."""


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--images", type=int, default=8192)
    parser.add_argument("--rounds", type=int, default=7)
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        path = make_cache(Path(folder) / "c.zarr", args.images // BATCH * BATCH, SIDE)
        found = interleaved(steps(path) | loaders(path), args.rounds)
    cost = {name: summary(values) for name, values in found.items()}
    rows = [f"| {name} | {one['median']:.2f} | {one['least']:.2f} to {one['most']:.2f} |" for name, one in cost.items()]
    sums = {way: sum(cost[step]["median"] for step in parts) for way, parts in STEPS.items()}
    told = [
        f"| {way} | {' + '.join(parts)} | {total:.1f} | {cost[f'Loader, {way}']['median']:.1f} | "
        f"{total / cost[f'Loader, {way}']['median']:.0%} | {1e6 * THREADS / total:,.0f} |"
        for (way, parts), total in zip(STEPS.items(), sums.values(), strict=True)
    ]
    head = "| loading | its steps | their sum | Loader | explained | images/s of the steps alone |\n"
    head += "|---|---|---|---|---|---|\n"
    table = "Microseconds for an image of 256 x 256 and a thread, two threads at once.\n\n"
    table += "| step | median | from - to |\n|---|---|---|\n" + "\n".join(rows) + f"\n\n{head}" + "\n".join(told)
    save("limits", table, {"images": args.images, "microseconds": cost, "sums": sums})


# -- the loader --


def loaders(path: Path) -> dict[str, Callable[[], float]]:
    """An epoch of each."""
    found = {}
    for way in STEPS:
        cache = resload.open_cache(path, access="memory" if "memory" in way else "pread")
        options: dict[str, Any] = {"normalize": (0.5, 0.25)} if "float32" in way else {"dtype": torch.uint8}
        loader = resload.Loader(cache, size=SIDE, batch_size=BATCH, shuffle=True, threads=THREADS, **options)
        found[f"Loader, {way}"] = partial(per_image, partial(drained, loader), len(cache))
    return found


def per_image(epoch: Callable[[], object], images: int) -> float:
    """Of the second of two epochs in a row: the first finds the processor's caches and tables full of others' data."""
    epoch()
    return seconds(epoch) * 1e6 * THREADS / images


# -- the steps --


def steps(path: Path) -> dict[str, Callable[[], float]]:
    """Each on two threads."""
    cache = resload.open_cache(path)
    flat = np.concatenate([cache.read(range(k, k + BATCH), SIDE) for k in range(0, len(cache), BATCH)])
    shards = Shards(path, layout.read_manifest(path))
    rng = np.random.default_rng(0)
    slots = [[Slot(np.ones((BATCH, SIDE, SIDE), np.uint8)) for _ in range(BUFFERS)] for _ in range(THREADS)]
    floats = [[np.ones((BATCH, SIDE, SIDE), np.float32) for _ in range(BUFFERS)] for _ in range(THREADS)]

    def take(rows: NDArray[np.int64], k: int, turn: int) -> None:
        flat.take(rows, axis=0, out=slots[k][turn].out, mode="clip")

    def by_system(rows: NDArray[np.int64], k: int, turn: int) -> None:
        groups, records = np.divmod(rows, shards.manifest.per_shard)
        bulk_or_sweep(shards.of(SIZE, groups.tolist()), records, slots[k][turn], 0)

    def sweep(rows: NDArray[np.int64], k: int, turn: int) -> None:
        groups, records = np.divmod(rows, shards.manifest.per_shard)
        held = shards.of(SIZE, groups.tolist())
        offsets = (records * held[0].step).tolist()
        for shard, pair, offset in zip(held, slots[k][turn].pairs, offsets, strict=True):
            os.preadv(shard.descriptor, pair, offset)

    def copied_and_summed(rows: NDArray[np.int64], k: int, turn: int) -> None:
        take(rows, k, turn)
        crc32c(slots[k][turn].flat, 0, True)

    def converted(passes: int, rows: NDArray[np.int64], k: int, turn: int) -> None:
        images, out = slots[k][0].out, floats[k][turn]
        for first in range(0, len(rows), PASS):
            part = out[first : first + PASS]
            np.copyto(part, images[first : first + PASS])
            if passes > 1:
                part *= np.float32(0.0157)
            if passes > 2:
                part += np.float32(-2)

    def on_threads(work: Callable[[NDArray[np.int64], int, int], None]) -> float:
        order = rng.permutation(len(flat)).reshape(-1, BATCH)

        def one(k: int) -> None:
            for turn, rows in enumerate(order[k::THREADS]):
                work(rows, k, turn % BUFFERS)

        return per_image(lambda: run_all(one), len(flat))

    def checksum() -> float:
        return on_threads(copied_and_summed) - on_threads(take)

    works: dict[str, Callable[..., None]] = {
        "copy in memory": take,
        "copy by the system": by_system,
        "sweep of pread": sweep,
        "cast": partial(converted, 1),
        "cast, scale": partial(converted, 2),
        "cast, scale, shift": partial(converted, 3),
    }
    return {name: partial(on_threads, work) for name, work in works.items()} | {"checksum": checksum}


def run_all(one: Callable[[int], None]) -> None:
    threads = [threading.Thread(target=one, args=(k,)) for k in range(THREADS)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


if __name__ == "__main__":
    main()
