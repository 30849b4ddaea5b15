"""Loading from a cache beside the plainest ways to read the same bytes, in one run.

    python benchmarks/cached_loading.py [--images 4096 --rounds 7 --sizes 64 256 512]

Measured at each size, images/s over one epoch in a shuffled order, page cache warm:

    take 1, take 2         numpy.take of batches from a memory map into one re-used buffer, on 1 and 2 threads: no
                           checksum, no batch object, and the buffer stays in the cache. The ceiling for uint8.
    take 2 kept            the same into four buffers in turn, as many as a loader that prefetches two batches and
                           lends one has in use
    write f32 2, 2 kept    2 threads converting a cached image to float32 into one, or four, re-used batches: the
                           ceiling for float32
    DataLoader 0, 2        torch DataLoader over the same memory map, with 0 and 2 workers
    Loader                 ours: every record verified, uint8 as stored
    Loader f32             ours: float32, normalised
    Loader mmap, memory    ours with open_cache(access="mmap") and "memory"

Rounds are interleaved and ratios are taken round by round, so a machine that slows down slows all alike. At the end,
the time to open a cache of 112,120 radiographs, and to import resload.
"""

import argparse
import functools
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from common import interleaved, ratio, save, summary

import resload
from resload.size import as_ladder
from resload.store import layout, tables
from resload.store.layout import Manifest
from resload.store.shard import ShardWriter

BATCH = 64
CEILINGS = ("take 2", "take 2 kept", "write f32 2", "write f32 2 kept", "DataLoader 0")


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--images", type=int, default=16384, help="records at 256 px; 64 px has 8 times as many")
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--sizes", type=int, nargs="+", default=[64, 256, 512])
    parser.add_argument("--folder", type=Path, help="where to put the records (default: a temporary folder)")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory(dir=args.folder) as folder:
        levels = {str(side): at_size(Path(folder), side, args) for side in args.sizes}
        opening = opening_seconds(Path(folder))
    rows = [row for level in levels.values() for row in level["rows"]]
    head = f"| size | what | images/s | {' | '.join(f'of {ceiling}' for ceiling in CEILINGS)} |\n"
    table = head + "|---|---|---|" + "---|" * len(CEILINGS) + "\n" + "\n".join(rows)
    table += (
        f"\n\nOpening a cache of {opening['rows']:,} radiographs: {opening['open']:.2f} s; "
        f"import resload: {opening['import']:.2f} s (medians of {opening['runs']})."
    )
    save("cached_loading", table, {"batch": BATCH, "levels": levels, "opening": opening})


def at_size(folder: Path, side: int, args: argparse.Namespace) -> dict[str, object]:
    """One size: the same random records as a cache and as a plain file, and every way of reading them."""
    count = min(int(args.images * (256 / side) ** 2), 8 * args.images) // BATCH * BATCH
    path = make_cache(folder / f"{side}.zarr", count, side)
    flat = np.lib.format.open_memmap(folder / f"{side}.npy", "w+", np.uint8, (count, side, side))
    cache = resload.open_cache(path)
    for start in range(0, count, 1024):
        flat[start : start + 1024] = cache.read(np.arange(start, min(start + 1024, count)), side)
    flat.flush()
    mapped = np.load(folder / f"{side}.npy", mmap_mode="r")
    normal = (0.5, 0.25)
    work = {
        "take 1": lambda: rate(count, take, mapped, 1),
        "take 2": lambda: rate(count, take, mapped, 2),
        "take 2 kept": lambda: rate(count, take, mapped, 2, 4),
        "write f32 2": lambda: rate(count, write_floats, count, side, 1),
        "write f32 2 kept": lambda: rate(count, write_floats, count, side, 4),
        "DataLoader 0": lambda: rate(count, drained, torch_loader(mapped, 0)),
        "DataLoader 2": lambda: rate(count, drained, torch_loader(mapped, 2)),
        "Loader": lambda: rate(count, drained, loader(cache, side, dtype=torch.uint8)),
        "Loader f32": lambda: rate(count, drained, loader(cache, side, normalize=normal)),
    }
    others = {access: resload.open_cache(path, access=access) for access in ("mmap", "memory")}
    for access, other in others.items():
        work[f"Loader {access}"] = functools.partial(measured, count, other, side, dtype=torch.uint8)
        work[f"Loader {access} f32"] = functools.partial(measured, count, other, side, normalize=normal)
    rates = interleaved(work, args.rounds)
    against = {name: {ceiling: ratio(values, rates[ceiling]) for ceiling in CEILINGS} for name, values in rates.items()}
    rows = [
        f"| {side} | {name} | {statistics.median(values):,.0f} | "
        + " | ".join(f"{against[name][ceiling]:.2f}" for ceiling in CEILINGS)
        + " |"
        for name, values in rates.items()
    ]
    cache.close()
    for other in others.values():
        other.close()
    LOADERS.clear()
    rates_summary = {name: summary(values) for name, values in rates.items()}
    return {"images": count, "rates": rates_summary, "ratios": against, "rows": rows}


def rate(count: int, once, *arguments) -> float:
    begun = time.perf_counter()
    once(*arguments)
    return count / (time.perf_counter() - begun)


# -- the ways of reading ---------------------------------------------------------------------------------


def on_threads(number: int, one) -> None:
    threads = [threading.Thread(target=one, args=(k,)) for k in range(number)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


def batches(count: int) -> np.ndarray:
    return np.random.default_rng().permutation(count).reshape(-1, BATCH)


def take(mapped: np.ndarray, threads: int, buffers: int = 1) -> None:
    order = batches(len(mapped))
    outs = [[kept(k, i, np.uint8, mapped.shape[1:]) for i in range(buffers)] for k in range(threads)]

    def one(k: int) -> None:
        for turn, rows in enumerate(order[k::threads]):
            np.take(mapped, rows, axis=0, out=outs[k][turn % buffers], mode="clip")

    on_threads(threads, one)


def write_floats(count: int, side: int, buffers: int) -> None:
    """Two threads filling re-used float32 batches from one cached uint8 image: as fast as floats can be written."""
    outs = [[kept(k, i, np.float32, (side, side)) for i in range(buffers)] for k in range(2)]

    def one(k: int) -> None:
        image = np.full((side, side), 7, np.uint8)
        for turn in range(count // BATCH // 2):
            for plane in outs[k][turn % buffers]:
                np.copyto(plane, image)

    on_threads(2, one)


@functools.cache
def kept(thread: int, number: int, dtype: type, shape: tuple[int, ...]) -> np.ndarray:
    """A batch's buffer, made and touched once."""
    return np.zeros((BATCH, *shape), dtype) + dtype(1)


class Mapped(torch.utils.data.Dataset):
    """One record of the memory map after another, as people write it."""

    def __init__(self, mapped: np.ndarray) -> None:
        self.mapped = mapped

    def __len__(self) -> int:
        return len(self.mapped)

    def __getitem__(self, index: int) -> torch.Tensor:
        return torch.from_numpy(np.array(self.mapped[index]))


def torch_loader(mapped: np.ndarray, workers: int) -> torch.utils.data.DataLoader:
    return torch.utils.data.DataLoader(Mapped(mapped), batch_size=BATCH, shuffle=True, num_workers=workers)


LOADERS: dict[tuple, resload.Loader] = {}


def loader(cache: resload.Cache, side: int, **options) -> resload.Loader:
    """One loader per way, iterated again and again as a training run would: each pass is another epoch."""
    key = (id(cache), side, *map(str, options.items()))
    if key not in LOADERS:
        LOADERS[key] = resload.Loader(cache, size=side, batch_size=BATCH, shuffle=True, **options)
    return LOADERS[key]


def measured(count: int, cache: resload.Cache, side: int, **options) -> float:
    return rate(count, drained, loader(cache, side, **options))


def drained(batches) -> None:
    for _ in batches:
        pass


# -- records ---------------------------------------------------------------------------------------------


def make_cache(path: Path, count: int, *sides: int) -> Path:
    """A cache of random records at these sizes, written through the very code that a build uses."""
    sizes, film = as_ladder(sides), 2 * max(sides)
    per_shard = 1024 if max(sides) <= 256 else 256
    recipe = {name: value for name, value in resload.Pipeline(1).settings().items() if name != "dtype"}
    manifest = Manifest(sizes, "uint8", count, per_shard, recipe, 0, (count,), "0" * 64, "building")
    record = {
        **{name: 1.0 if kind == "float64" else "" if kind == "str" else 1 for name, kind in tables.RESULTS.items()},
        "status": "ok",
        "levels": {str(size): [0, 0, 0] for size in sizes},
        **{"height": film, "width": film, "content_y": 0, "content_x": 0},
        **{"content_height": film, "content_width": film},
    }
    results = tables.results_frame([record], sizes)
    results = results.loc[results.index.repeat(count)].reset_index(drop=True)
    for size in sizes:
        noise = np.random.default_rng(0).integers(0, 256, (64, *size), dtype=np.uint8)
        for group in range(manifest.groups):
            target = path / layout.shard_path(size, group)
            target.parent.mkdir(parents=True)
            writer = ShardWriter(target, size=size, dtype="uint8", per_shard=per_shard)
            rows = manifest.rows_of(group)
            sums = [writer.put(row - rows.start, noise[row % 64]) for row in rows]
            writer.finish(len(rows))
            results.loc[rows.start : rows.stop - 1, tables.level_column("crc32c", size)] = np.array(sums, np.uint32)
    return publish(path, manifest, results)


def publish(path: Path, manifest: Manifest, results: pd.DataFrame) -> Path:
    from resload.store.publish import publish as put

    frame = pd.DataFrame({"id": [f"{row:08d}" for row in range(manifest.count)]})
    frame["label"] = np.float32(1)
    data = tables.as_parquet(pd.concat([frame, results], axis=1), tables.Kept(("label",), (), "number"))
    path.mkdir(exist_ok=True)
    put(path, manifest, manifest.with_state("complete"), {layout.SAMPLES: data})
    return path


def opening_seconds(folder: Path, rows: int = 112_120, runs: int = 7) -> dict[str, float]:
    """How long it takes to open a cache of ChestX-ray14's size with nine levels, and to import resload."""
    sizes = as_ladder((32, 64, 128, 224, 256, 320, 448, 512, 600))
    recipe = {name: value for name, value in resload.Pipeline(1).settings().items() if name != "dtype"}
    manifest = Manifest(sizes, "uint8", rows, 512, recipe, 0, (rows,), "0" * 64, "building")
    record = {
        **{name: 1.0 if kind == "float64" else "some text" if kind == "str" else 1 for name, kind in
           tables.RESULTS.items()},
        "status": "ok",
        "levels": {str(size): [1, 2, 3] for size in sizes},
    }  # fmt: skip
    results = tables.results_frame([record], sizes)
    results = results.loc[results.index.repeat(rows)].reset_index(drop=True)
    rng = np.random.default_rng(0)
    for name in results:
        if tables.is_level_column(str(name)):
            results[name] = rng.integers(0, 2**31, rows).astype(results[name].dtype)
    results["source_hash"] = [f"{value:032x}" for value in rng.integers(0, 2**62, rows)]
    path = publish(folder / "large.zarr", manifest, results)
    opened, imported = [], []
    for _ in range(runs):
        begun = time.perf_counter()
        resload.open_cache(path)
        opened.append(time.perf_counter() - begun)
        program = "import time; b = time.perf_counter(); import resload; print(time.perf_counter() - b)"
        done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
        imported.append(float(done.stdout))
    return {"rows": rows, "open": statistics.median(opened), "import": statistics.median(imported), "runs": runs}


if __name__ == "__main__":
    main()
