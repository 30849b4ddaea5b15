"""What it costs to have films made by the workers of an executor, and what is sent to them.

    python benchmarks/executors.py [--films 256] [--side 1024] [--groups 64] [--rounds 5] [--seed 0] [--only NAME ...]

    overhead    ms per row group: a build of many row groups of small films by one worker, beside one thread here
    films/s     a build of large films by two workers, beside two threads here
    bytes       of a task, pickled, per film: of a catalog with hospital-like ids, without masks and with

Executors are opened before they are measured; how long that takes is told beside. Writes results/executors.json and
executors.md. --short takes few and small films, to see that it runs. Every cache is compared, byte for byte.
"""

import argparse
import contextlib
import hashlib
import pickle
import shutil
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from common import RESULTS, interleaved, ratio, save, seconds, summary

import resload
from resload.executors import Workers
from resload.masks.table import MaskTable
from resload.pipeline import Pipeline
from resload.pipeline.recipe import CatalogFilms
from resload.store import plan
from resload.store.layout import Manifest
from resload.store.run import Sources
from resload.store.spread import Crew, parts
from resload.testing import write_synthetic

NAMES = ("threads", "processes", "dask", "ray")
PER_GROUP = 16
"""Films in the smallest row group."""


# -- executors --


@contextlib.contextmanager
def opened(name: str, workers: int) -> Iterator[object]:
    """An executor of so many workers, each of which has imported what it needs."""
    with contextlib.ExitStack() as stack:
        yield OPEN[name](stack, workers)


def _threads(stack: contextlib.ExitStack, workers: int) -> object:
    return stack.enter_context(ThreadPoolExecutor(workers))


def _processes(stack: contextlib.ExitStack, workers: int) -> object:
    return stack.enter_context(ProcessPoolExecutor(workers, mp_context=get_context("spawn")))


def _dask(stack: contextlib.ExitStack, workers: int) -> object:
    from distributed import Client, LocalCluster

    cluster = LocalCluster(n_workers=workers, threads_per_worker=1, dashboard_address="127.0.0.1:0")
    return stack.enter_context(Client(stack.enter_context(cluster)))


def _ray(stack: contextlib.ExitStack, workers: int) -> object:
    import ray

    ray.init(address="local", num_cpus=workers, include_dashboard=False, logging_level="error", log_to_driver=False)
    stack.callback(ray.shutdown)
    return "ray"


OPEN: dict[str, Callable[[contextlib.ExitStack, int], object]] = {
    "threads": _threads,
    "processes": _processes,
    "dask": _dask,
    "ray": _ray,
}


# -- builds --


def measured(
    catalog: resload.Catalog, sizes: Sequence[int], names: Sequence[str], workers: int, rounds: int, folder: Path
) -> dict[str, dict[str, Any]]:
    """Seconds of a build by each executor, each beside one on as many threads of this process, in the same round."""
    found = {}
    sums: set[str] = set()

    def build(**options: Any) -> float:
        path = folder / "c.zarr"
        took = seconds(lambda: resload.build(catalog, path, sizes, dtype="uint16", progress=False, **options))
        sums.add(digest(path))
        shutil.rmtree(path)
        return took

    for name in names:
        begun = time.perf_counter()
        with opened(name, workers) as executor:
            opening = time.perf_counter() - begun
            work = {"here": lambda: build(threads=workers), name: lambda executor=executor: build(executor=executor)}
            times = interleaved(work, rounds)
        found[name] = {"opening": opening, "here": times["here"], "there": times[name]}
    if len(sums) != 1:
        raise AssertionError(f"{len(sums)} different caches, 1 expected")
    return found


def digest(folder: Path) -> str:
    """Of every file of a cache, by name."""
    whole = hashlib.sha256()
    for path in sorted(folder.rglob("*")):
        if path.is_file():
            whole.update(f"{path.relative_to(folder)}\n".encode() + path.read_bytes())
    return whole.hexdigest()


# -- what is sent --


def task_bytes(masks: bool, films: int = 16_384, per_shard: int = 256, seed: int = 0) -> dict[str, float]:
    """Bytes per film of a begun build's tasks, and microseconds that making and pickling one takes."""
    rng = np.random.default_rng(seed)
    table = pd.DataFrame(
        {
            "id": [f"1.2.840.113619.2.5.1762583153.215519.978957063.{k}" for k in range(films)],
            "path": [f"images_{k % 12:03}/images/{k // 8:08}_{k % 8:03}.png" for k in range(films)],
        }
    )
    runs = [" ".join(map(str, rng.integers(1, 900, 64))) for _ in range(films)] if masks else None
    beside = pd.DataFrame({"id": table["id"], "label": "nodule", "rle": runs}) if masks else None
    catalog = resload.Catalog(table, masks=beside, root="/data/nih")
    recipe = Pipeline((64, 128, 256, 512), dtype="uint8")
    settings = {name: value for name, value in recipe.settings().items() if name != "dtype"}
    goal = Manifest(
        sizes=recipe.sizes, dtype="uint8", count=films, per_shard=per_shard, recipe=settings, shuffle_seed=0,
        batches=(films,), fingerprint="", state="complete", masks=("nodule",) if masks else (),
    )  # fmt: skip
    listed = CatalogFilms(catalog)
    about = None if catalog.masks is None else MaskTable(catalog.masks, listed.ids, catalog.root, ("nodule",))
    sources = Sources(listed, recipe, plan.row_order(films, 0, 0), "quarantine", masks=about)
    crew = Crew(Workers("", len), "cpu", "cpu", 1)
    begun = time.perf_counter()
    tasks = [pickle.dumps(one) for one in parts(plan.begin(goal), sources, Path("/data/nih.zarr"), crew, "0" * 64)]
    took = time.perf_counter() - begun
    return {"bytes_per_film": sum(map(len, tasks)) / films, "us_per_task": took / len(tasks) * 1e6, "films": per_shard}


# -- the table --


def lines(overhead: dict[str, Any], speed: dict[str, Any], groups: int, films: int, sent: dict[str, Any]) -> str:
    """What is told."""
    rows = ["| executor | opened in s | ms per row group | films/s by 2 | of 2 threads here |", "|---|---|---|---|---|"]
    for name, one in overhead.items():
        extra = statistics.median(b - a for a, b in zip(one["here"], one["there"], strict=True)) / groups * 1e3
        two = speed[name]
        rate = films / statistics.median(two["there"])
        share = ratio(two["here"], two["there"])
        rows.append(f"| {name} | {two['opening']:.1f} | {extra:.1f} | {rate:.0f} | {share:.2f} x |")
    told = ", ".join(
        f"{one['bytes_per_film']:.0f} bytes a film {name} ({one['us_per_task'] / 1e3:.1f} ms to make and pickle one of "
        f"{one['films']} films)"
        for name, one in sent.items()
    )
    return "\n".join([*rows, "", f"A task: {told}."])


def main(words: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--films", type=int, default=256, help="large films of a build")
    parser.add_argument("--side", type=int, default=1024, help="of them, in pixels")
    parser.add_argument("--groups", type=int, default=64, help="row groups of small films")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--only", nargs="+", choices=NAMES, default=list(NAMES))
    parser.add_argument("--short", action="store_true", help="few and small films, one round")
    parser.add_argument("--folder", type=Path, help="where to put films and caches (default: a temporary folder)")
    parser.add_argument("--results", type=Path, default=RESULTS, help="where to write (default: benchmarks/results)")
    args = parser.parse_args(words)
    if args.short:
        args.films, args.side, args.groups, args.rounds = 32, 128, 4, 1
    with tempfile.TemporaryDirectory(dir=args.folder) as name:
        folder = Path(name)
        small = write_synthetic(folder / "small", args.groups * PER_GROUP, size=32, seed=args.seed, broken=0)
        large = write_synthetic(folder / "large", args.films, size=args.side, seed=args.seed, broken=0)
        overhead = measured(small, (16,), args.only, 1, args.rounds, folder)
        speed = measured(large, (64, 128, 256), args.only, 2, args.rounds, folder)
    sent = {
        "without masks": task_bytes(False, seed=args.seed),
        "with a mask of 32 runs": task_bytes(True, seed=args.seed),
    }
    document = {
        "groups": args.groups,
        "films": args.films,
        "side": args.side,
        "overhead": {name: _summed(one) for name, one in overhead.items()},
        "speed": {name: _summed(one) for name, one in speed.items()},
        "task": sent,
    }
    save("executors", lines(overhead, speed, args.groups, args.films, sent), document, args.results)


def _summed(one: dict[str, Any]) -> dict[str, Any]:
    return {"opening_s": one["opening"], "here_s": summary(one["here"]), "there_s": summary(one["there"])}


if __name__ == "__main__":
    main()
