"""Long runs: memory, threads and descriptors of loaders that go on for a thousand epochs, or are made a thousand times.

    python benchmarks/long_runs.py                    all of it: a thousand turns of each case -> results/long_runs.*
    python benchmarks/long_runs.py --turns 100        shorter
    python benchmarks/long_runs.py --interrupts 300   Ctrl-C at random moments -> results/interrupts.*

Each case runs in a process of its own that may open 256 files, as on macOS; the cache has more shards than that. After
every fiftieth of its turns it says what it holds (`resload.testing.resources`), and its last third must hold what its
middle third held: the most threads and the most descriptors no more, the median of memory no more than 3 MB.
"""

import argparse
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict
from pathlib import Path
from typing import Any

import imagecodecs
import numpy as np
import pandas as pd
import torch
from common import RESULTS, save

import resload
from resload.interop import torch_dataset
from resload.samplers import Images, Mix, Sampler, Shuffle
from resload.testing.resources import Held, held, leaks

FILES = 256
"""What `ulimit -n` says on macOS."""
SAMPLES = 50
FILMS, FEW = 4128, 96
"""Of the cache, in shards of sixteen: 258 of each array. Of the catalog."""


# -- data --


def write_films(folder: Path, count: int, seed: int) -> resload.Catalog:
    """Noise of some shapes about 160 x 160, 8 bits, as PNG; a target, splits, and masks of every fourth."""
    folder.mkdir(parents=True)
    rng = np.random.default_rng(seed)
    for i in range(count):
        shape = (160 + 8 * (i % 3), 160 - 8 * (i % 2))
        pixels = rng.integers(0, 256, (shape[0] // 8, shape[1] // 8), np.uint8).repeat(8, 0).repeat(8, 1)
        (folder / f"{i:05}.png").write_bytes(imagecodecs.png_encode(pixels, level=1))
    names = [f"{i:05}" for i in range(count)]
    table = pd.DataFrame({"id": names, "path": [f"{name}.png" for name in names], "sick": rng.random(count) < 0.3})
    table["split"] = np.where(np.arange(count) % 32 == 0, "train", "rest")
    shapes = [(160 + 8 * (i % 3), 160 - 8 * (i % 2)) for i in range(0, count, 4)]
    runs = [f"{height * 20 + 1} {height * 30}" for height, _ in shapes]
    masks = pd.DataFrame({"id": names[::4], "label": "lesion", "rle": runs})
    return resload.Catalog(table, targets=["sick"], masks=masks, root=folder)


def make_data(folder: Path, seed: int, films: int = FILMS) -> None:
    """The cache and the catalog of all cases."""
    catalog = write_films(folder / "films", films, seed)
    resload.build(catalog, folder / "many.zarr", (24, 144, 156, "native"), shard_mb=0.4, progress=False)
    catalog.select(np.arange(len(catalog)) < FEW).save(folder / "few")


# -- cases: a generator whose every step is a turn --


def mixed_sizes(folder: Path) -> Iterator[None]:
    """Stored sizes, one held in memory and one in between, shuffled, with masks; one loader all the time."""
    cache = resload.open_cache(folder / "many.zarr")
    rows = cache.rows(split="train")
    sampler = Sampler(cache, rows=rows, order=Shuffle(), sizes=Mix([24, 96, 144, 156]), budget=Images(16), seed=1)
    yield from epochs(resload.Loader(cache, sampler=sampler, masks=True, threads=2))


def native(folder: Path) -> Iterator[None]:
    """Films at their own size, compressed, with masks by a rule."""
    cache = resload.open_cache(folder / "many.zarr")
    rows = cache.rows()[::32]
    yield from epochs(
        resload.Loader(cache, size="native", batch_size=16, rows=rows, masks="any", shuffle=True, threads=2)
    )


def several_sizes_at_once(folder: Path) -> Iterator[None]:
    """`Batch.scales`, three channels, normalised."""
    cache = resload.open_cache(folder / "many.zarr")
    options: dict[str, Any] = {"channels": 3, "normalize": "dataset", "shuffle": True, "threads": 2}
    yield from epochs(resload.Loader(cache, size=[144, 72], batch_size=32, split="train", **options))


def transforms(folder: Path) -> Iterator[None]:
    """A transform of each image on the loader's threads, one of each batch on the caller's."""

    def flip(sample: Any) -> None:
        if sample.rng.random() < 0.5:
            sample.image = sample.image.flip(-1)

    def brighter(batch: Any) -> Any:
        batch.images.mul_(1.01)
        return batch

    cache = resload.open_cache(folder / "many.zarr")
    options: dict[str, Any] = {"transform": flip, "batch_transform": brighter, "shuffle": True, "threads": 2}
    yield from epochs(resload.Loader(cache, size=144, batch_size=32, split="train", **options))


def in_memory(folder: Path) -> Iterator[None]:
    """access="memory": levels read once and kept."""
    cache = resload.open_cache(folder / "many.zarr", access="memory")
    yield from epochs(resload.Loader(cache, size=144, batch_size=64, split="train", shuffle=True, threads=2))


def mapped(folder: Path) -> Iterator[None]:
    """access="mmap"."""
    cache = resload.open_cache(folder / "many.zarr", access="mmap")
    yield from epochs(resload.Loader(cache, size=144, batch_size=64, split="train", shuffle=True, threads=2))


def from_files(folder: Path) -> Iterator[None]:
    """A catalog: decoded and resized anew each time."""
    catalog = resload.Catalog.load(folder / "few")
    pipeline = resload.Pipeline(64)
    yield from epochs(resload.Loader(catalog, pipeline=pipeline, size=64, batch_size=16, shuffle=True, threads=2))


def epochs(loader: resload.Loader) -> Iterator[None]:
    """One after another."""
    while True:
        for batch in loader:
            assert len(batch.images)
        yield


def dropped_loaders(folder: Path) -> Iterator[None]:
    """Made, iterated in part and dropped: without a word, closed, left by an exception, or kept by nobody but a cycle;
    every other one with a cache that is opened for it.
    """
    shared = resload.open_cache(folder / "many.zarr")
    turn = 0
    while True:
        cache = shared if turn % 2 else resload.open_cache(folder / "many.zarr")
        leave(cache, turn // 2 % 4, turn)
        del cache
        turn += 1
        yield


def leave(cache: resload.Cache, way: int, seed: int) -> None:
    """Some batches of a loader, left in one of four ways."""
    loader = resload.Loader(cache, size=144, batch_size=16, split="train", shuffle=True, seed=seed, threads=2)
    batches = iter(loader)
    for _ in range(1 + seed % 3):
        next(batches, None)
    if way == 1:
        loader.close()
    if way == 2:
        try:
            for _ in loader:
                raise LookupError
        except LookupError:
            pass
    if way == 3:
        loader.itself = loader, batches  # type: ignore[attr-defined]  # a circle: garbage collection finds it


def data_loaders(folder: Path) -> Iterator[None]:
    """`torch_dataset` in torch's DataLoader, two forked workers each time."""
    cache = resload.open_cache(folder / "many.zarr")
    dataset = torch_dataset(cache.select(cache.rows()[::32]), size=144, dtype=torch.uint8)
    while True:
        loaded = torch.utils.data.DataLoader(dataset, batch_size=32, num_workers=2, multiprocessing_context="fork")
        for images, _ in loaded:
            assert len(images)
        yield


def many_threads(folder: Path) -> Iterator[None]:
    """Eight threads that read the same cache, each now and then opening another, or closing this one."""
    cache = resload.open_cache(folder / "many.zarr")
    rows = cache.rows()

    def work(k: int, turn: int) -> None:
        mine = resload.open_cache(cache.path) if (turn + k) % 8 == 0 else cache
        some = np.random.default_rng(turn * 8 + k).choice(rows, 48)
        mine.read(some, (144, 156, 100)[k % 3])
        mine.read_masks(some[:8], 144)
        if (turn + k) % 5 == 0:
            mine.close()

    with ThreadPoolExecutor(8) as pool:
        turn = 0
        while True:
            for done in [pool.submit(work, k, turn) for k in range(8)]:
                done.result()
            turn += 1
            yield


CASES: dict[str, tuple[Callable[[Path], Iterator[None]], int]] = {
    "epochs: mixed sizes and masks": (mixed_sizes, 1),
    "epochs: native size and masks": (native, 1),
    "epochs: two sizes at once": (several_sizes_at_once, 1),
    "epochs: transforms": (transforms, 1),
    "epochs: kept in memory": (in_memory, 1),
    "epochs: memory-mapped": (mapped, 1),
    "epochs: from the files": (from_files, 1),
    "loaders: made and dropped": (dropped_loaders, 1),
    "loaders: torch's, two workers": (data_loaders, 10),
    "reads: eight threads": (many_threads, 1),
}
"""Each with what its turns are divided by: of a DataLoader with workers, a tenth."""


# -- running --


def run(case: str, folder: Path, turns: int) -> list[Held]:
    """In this process: so many turns of a case, and what it held at its beginning and after every fiftieth of them."""
    import resource

    resource.setrlimit(resource.RLIMIT_NOFILE, (FILES, resource.getrlimit(resource.RLIMIT_NOFILE)[1]))
    make, _ = CASES[case]
    samples, work = [held()], make(folder)
    every = max(1, turns // SAMPLES)
    for turn in range(1, turns + 1):
        next(work)
        if turn % every == 0:
            samples.append(settled(samples[-1]))
    work.close()  # type: ignore[attr-defined]  # it is a generator
    return samples


def settled(before: Held) -> Held:
    """What it holds; where that is more than before, once what is about to end has had a moment to."""
    for _ in range(10):
        now = held()
        if now.threads <= before.threads and now.descriptors <= before.descriptors:
            return now
        time.sleep(0.05)
    return now


def in_a_process(case: str, folder: Path, turns: int) -> list[Held]:
    """`run` in a new process."""
    turns = max(20, turns // CASES[case][1])
    command = [sys.executable, __file__, "--case", case, "--folder", str(folder), "--turns", str(turns)]
    done = subprocess.run(command, check=False, capture_output=True, text=True)
    if done.returncode:
        raise RuntimeError(f"{case}: {done.stderr}")
    return [Held(**one) for one in json.loads(done.stdout)]


def measured(turns: int, seed: int, cases: list[str], films: int = FILMS) -> dict[str, list[Held]]:
    """These cases, one after another, over new data."""
    found = {}
    with tempfile.TemporaryDirectory() as name:
        make_data(Path(name), seed, films)
        for case in cases:
            found[case] = said(case, in_a_process(case, Path(name), turns))
    return found


def said(case: str, samples: list[Held]) -> list[Held]:
    """The same, told on the way."""
    print(f"{case}: {leaks(samples) or 'flat'}; {samples[-1]}", flush=True)
    return samples


def row(case: str, samples: list[Held], turns: int) -> str:
    """Of the table: at the beginning, after a third, at the end."""
    third, told = samples[len(samples) // 3], leaks(samples)
    numbers = [
        " -> ".join(f"{getattr(one, name):.{digits}f}" for one in (samples[0], third, samples[-1]))
        for name, digits in (("memory_mb", 1), ("threads", 0), ("descriptors", 0))
    ]
    most = max(one.descriptors for one in samples)
    words = "; ".join(f"{name}: {what}" for name, what in told.items()) or "yes"
    return f"| {case} | {max(20, turns // CASES[case][1]):,} | {' | '.join(numbers)} | {most} | {words} |"


def draw(found: dict[str, list[Held]], path: Path) -> None:
    """Three panels, a line for each case."""
    import matplotlib as mpl

    mpl.use("Agg")
    import matplotlib.pyplot as plt

    figure, axes = plt.subplots(3, 1, figsize=(9, 10), sharex=True, layout="constrained")
    panels = (("memory_mb", "own memory, MB"), ("threads", "threads"), ("descriptors", f"open files (of {FILES})"))
    for axis, (name, label) in zip(axes, panels, strict=True):
        for k, (case, samples) in enumerate(found.items()):
            along = np.linspace(0, 100, len(samples))
            style = "-" if k < 7 else "--"
            axis.plot(along, [getattr(one, name) for one in samples], style, label=case, linewidth=1.2, color=f"C{k}")
        for edge in (100 / 3, 200 / 3):
            axis.axvline(edge, color="0.8", linewidth=0.8, zorder=0)
        axis.set_ylabel(label)
        axis.set_ylim(bottom=0)
    axes[-1].set_xlabel("% of a case's turns")
    axes[0].legend(fontsize=7, ncols=2)
    axes[0].set_title("What a process holds over a long run")
    figure.savefig(path, dpi=110)


def report(found: dict[str, list[Held]], turns: int, seed: int, films: int, folder: Path) -> None:
    """The table, the numbers and the picture."""
    head = [
        "# Long runs",
        "",
        f"Each case in a process that may open {FILES} files, over a cache of {films:,} films in shards of sixteen of "
        "each of its seven arrays (three sizes, their masks, the films at their own size). At the beginning -> after a "
        "third -> at the end. Flat: in the last third of the samples no more threads and no more open files than in "
        "the middle third, and a median of memory not more than 3 MB above.",
        "",
        "| case | turns | own memory, MB | threads | open files | at most | flat |",
        "| --- | ---: | ---: | ---: | ---: | ---: | --- |",
    ]
    rows = [row(case, samples, turns) for case, samples in found.items()]
    tail = ["", "![memory, threads and open files over each run](long_runs.png)"]
    document = {
        "turns": turns,
        "seed": seed,
        "films": films,
        "files": FILES,
        "cases": {case: [asdict(one) for one in samples] for case, samples in found.items()},
        "leaks": {case: leaks(samples) for case, samples in found.items()},
    }
    folder.mkdir(exist_ok=True)
    draw(found, folder / "long_runs.png")
    save("long_runs", "\n".join([*head, *rows, *tail]), document, folder)


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--turns", type=int, default=1000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--only", nargs="+", choices=CASES, default=list(CASES), help="these cases")
    parser.add_argument("--films", type=int, help=f"of the cache ({FILMS}; with --interrupts 48)")
    parser.add_argument("--interrupts", type=int, default=0, help="instead: so many times Ctrl-C")
    parser.add_argument("--results", type=Path, default=RESULTS, help="the folder of the results")
    parser.add_argument("--case", choices=CASES, help=argparse.SUPPRESS)
    parser.add_argument("--folder", type=Path, help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.case:
        json.dump([asdict(one) for one in run(args.case, args.folder, args.turns)], sys.stdout)
        return
    if args.interrupts:
        import interrupts

        interrupts.report(args.interrupts, args.seed, args.films or 48, args.results)
        return
    films = args.films or FILMS
    found = measured(args.turns, args.seed, args.only, films)
    report(found, args.turns, args.seed, films, args.results)
    if any(leaks(samples) for samples in found.values()):
        sys.exit(1)


if __name__ == "__main__":
    main()
