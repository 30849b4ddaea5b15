"""Curves of `growth.py` on a warm page cache: against the resolution, the threads, and the images of a batch.

Lines are measured in interleaved rounds over all points of a curve, so that a machine that slows down slows all alike.
The ceiling is `numpy.take` of the same batches from a memory map into re-used buffers, four for each thread: no
checksum, and no batch object.
"""

import threading
from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any

import imagecodecs
import numpy as np
import pandas as pd
import torch
from cached_loading import make_cache
from common import drained, interleaved, seconds
from curves import Curve

import resload
from resload.samplers import Fixed, Images, Sampler
from resload.testing import synthetic_film

NORMAL = (0.5, 0.25)
KEPT = 4
"""Buffers of each thread: as many batches as a loader that prefetches two, and lends one, has in use."""
UINT8, FLOAT = "Loader, uint8", "Loader, float32 normalised"
BYTES = {UINT8: 1, FLOAT: 4}
"""Of a pixel that is handed over."""


def resolution(folder: Path, settings: Any) -> list[Curve]:
    """Images and bytes a second against the side of the image, at two threads."""
    take = "numpy.take, 2 threads"
    work: dict[Any, Callable[[], float]] = {}
    for side in settings.sides:
        data = Records(folder, settings.images(side), side)
        steps = len(data) // settings.batch
        work[take, side] = partial(data.take_rate, settings.batch, steps, 2)
        work[UINT8, side] = data.loader_rate(settings.batch, steps, dtype=torch.uint8, threads=2)
        work[FLOAT, side] = data.loader_rate(settings.batch, steps, normalize=NORMAL, threads=2)
    along = "pixels of a side"
    note = f"Two threads, batches of {settings.batch}, one shuffled epoch a round; bytes are those of the tensors."
    found = Curve("Resolution", "images/s", measured(work, settings.rounds), along=along, ceiling=take, notes=(note,))
    factors = {name: {side: side * side * BYTES.get(name, 1) / 1e6 for side in settings.sides} for name in found.lines}
    return [found, found.scaled("Resolution, in bytes", "MB/s", factors)]


def threads(folder: Path, settings: Any) -> list[Curve]:
    """Images a second against threads, from a cache and from files."""
    take, decode = "numpy.take", "imagecodecs alone"
    data = Records(folder, settings.images(256), 256)
    steps = len(data) // settings.batch
    cached: dict[Any, Callable[[], float]] = {}
    source: dict[Any, Callable[[], float]] = {}
    files = films(folder / "films", settings.films, settings.film_side)
    pixels = [path.read_bytes() for path in files]
    for count in settings.threads:
        cached[take, count] = partial(data.take_rate, settings.batch, steps, count)
        cached[UINT8, count] = data.loader_rate(settings.batch, steps, dtype=torch.uint8, threads=count)
        cached[FLOAT, count] = data.loader_rate(settings.batch, steps, normalize=NORMAL, threads=count)
        source[decode, count] = partial(decode_rate, pixels, count)
        source["Loader, decode and resize", count] = source_rate(files, count)
    along = "threads"
    note = f"256 x 256, batches of {settings.batch}."
    side = settings.film_side
    note_source = (
        f"{len(files)} synthetic films of {side} x {side} as PNG, resized to 256 x 256; imagecodecs decodes them from "
        "memory and does nothing else."
    )
    return [
        Curve("Threads, cached", "images/s", measured(cached, settings.rounds), along=along, ceiling=take,
              notes=(note,), linear=True),
        Curve("Threads, from PNG", "images/s", measured(source, settings.rounds), along=along, ceiling=decode,
              notes=(note_source,), linear=True),
    ]  # fmt: skip


def batch_size(folder: Path, settings: Any) -> list[Curve]:
    """Images a second against the images of a batch, at two threads."""
    return [_batches(folder, settings, side) for side in settings.batch_sides]


def _batches(folder: Path, settings: Any, side: int) -> Curve:
    take = "numpy.take, 2 threads"
    data = Records(folder, max(settings.images(side), 2 * max(settings.batches)), side)
    work: dict[Any, Callable[[], float]] = {}
    for batch in settings.batches:
        steps = max(4, min(len(data), max(settings.most_steps * batch, settings.least_images)) // batch)
        work[take, batch] = partial(data.take_rate, batch, steps, 2)
        work[UINT8, batch] = data.loader_rate(batch, steps, dtype=torch.uint8, threads=2)
        work[FLOAT, batch] = data.loader_rate(batch, steps, normalize=NORMAL, threads=2)
    note = (
        f"{side} x {side}, two threads; a round has at most {settings.most_steps:,} batches, but at least "
        f"{settings.least_images:,} images."
    )
    lines = measured(work, settings.rounds)
    title = f"Batch size, {side} px"
    return Curve(title, "images/s", lines, along="images of a batch", ceiling=take, notes=(note,))


def measured(work: Mapping[Any, Callable[[], float]], rounds: int) -> dict[str, dict[float, list[float]]]:
    """Interleaved rounds of (line, place) -> what is measured there, by line."""
    lines: dict[str, dict[float, list[float]]] = {}
    for (name, place), values in interleaved(work, rounds).items():
        lines.setdefault(name, {})[place] = values
    return lines


# -- the same records, as a cache and as a plain file ----------------------------------------------------


class Records:
    """Random records of one size: `resload.Cache`, and a memory map."""

    def __init__(self, folder: Path, count: int, side: int) -> None:
        own = folder / f"{count}x{side}"
        if not own.exists():
            own.mkdir(parents=True)
            _copied(resload.open_cache(make_cache(own / "cache.zarr", count, side)), own / "flat.npy", count, side)
        self.cache = resload.open_cache(own / "cache.zarr")
        self.mapped = np.load(own / "flat.npy", mmap_mode="r")

    def __len__(self) -> int:
        return len(self.mapped)

    def take_rate(self, batch: int, steps: int, count: int) -> float:
        """Images/s of bare gathers on so many threads."""
        rows = np.random.default_rng().permuted(np.resize(np.arange(len(self)), (steps, batch)).ravel())
        order = rows.reshape(steps, batch)
        outs = [[np.ones((batch, *self.mapped.shape[1:]), np.uint8) for _ in range(KEPT)] for _ in range(count)]

        def one(k: int) -> None:
            for turn, chosen in enumerate(order[k::count]):
                np.take(self.mapped, chosen, axis=0, out=outs[k][turn % KEPT], mode="clip")

        return steps * batch / seconds(partial(on_threads, count, one))

    def loader_rate(self, batch: int, steps: int, **options: Any) -> Callable[[], float]:
        """Images/s of a loader that is iterated again and again, an epoch of so many steps each time."""
        side = self.mapped.shape[1]
        sampler = Sampler(self.cache, sizes=Fixed(side), budget=Images(batch), granule=1, epoch_steps=steps)
        loader = resload.Loader(self.cache, sampler=sampler, **options)
        return lambda: steps * batch / seconds(partial(drained, loader))


def _copied(cache: resload.Cache, path: Path, count: int, side: int) -> None:
    """The cache's pixels as one plain file."""
    flat = np.lib.format.open_memmap(path, "w+", np.uint8, (count, side, side))
    for part in _chunks(count, 512):
        flat[part[0] : part[-1] + 1] = cache.read(np.array(part), side)
    flat.flush()
    cache.close()


def _chunks(count: int, length: int) -> Iterable[range]:
    return (range(start, min(start + length, count)) for start in range(0, count, length))


def on_threads(count: int, one: Callable[[int], None]) -> None:
    threads = [threading.Thread(target=one, args=(k,)) for k in range(count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


# -- films as files --------------------------------------------------------------------------------------


def films(folder: Path, count: int, side: int) -> list[Path]:
    """Synthetic films as PNG of 8 bit."""
    folder.mkdir()
    paths = [folder / f"{index:03d}.png" for index in range(count)]
    for index, path in enumerate(paths):
        path.write_bytes(imagecodecs.png_encode(synthetic_film(index, size=side).pixels))
    return paths


def decode_rate(pixels: list[bytes], count: int) -> float:
    """Images/s of decoding alone, on so many threads."""
    with ThreadPoolExecutor(count) as pool:
        return len(pixels) / seconds(lambda: drained(pool.map(_decoded, pixels)))


def _decoded(one: bytes) -> None:
    imagecodecs.png_decode(one)  # let go of at once, as a loader does


def source_rate(files: list[Path], count: int) -> Callable[[], float]:
    """Images/s of loading these films from their files at 256 x 256."""
    table = pd.DataFrame({"id": [path.stem for path in files], "path": [str(path.resolve()) for path in files]})
    loader = resload.Loader(
        resload.Catalog(table.assign(bits=8)),
        pipeline=resload.Pipeline(256),
        size=256,
        batch_size=8,
        dtype=torch.uint8,
        threads=count,
    )
    return lambda: len(files) / seconds(partial(drained, loader))
