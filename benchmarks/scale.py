"""What 400,000 mammograms on 100 workers, and 1,000 GPUs on one cache, come to: measured, then simulated.

    python benchmarks/scale.py [--films 400000] [--sample 16]

Measured, each in a process of its own so that its memory is its own:

    film      one row group of drawn mammograms, 4,000 x 3,000, 12 bits in 16, DICOM in JPEG lossless, at three sizes
              and "native", built on one thread
    driver    all that the process of `build` does itself for so many films: the plan, and, when every row group is
              there, reading their `rows-<g>.json`, the tables and the manifest
    open      `open_cache` of so many rows

The rows of the films that are not there are those of one that is, with sums and hashes of their own. What object
storage and networks give is assumed, and said to be (`ASSUMED`).
"""

import argparse
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from common import RESULTS, save, summary

import resload
from resload.pipeline.recipe import CatalogFilms
from resload.store import layout, plan, publish, sealed, tables
from resload.store.identity import fingerprint, step_key
from resload.store.layout import Manifest
from resload.store.marks import in_build, read_rows, rows_file
from resload.testing import synthetic_film

SIDE = (4000, 3000)
SIZES = ((525, 425), (1050, 850), (2100, 1700), "native")
WORKERS = (1, 10, 30, 100, 300, 1000, 3000, 10000)
NODES = (1, 8, 32, 125, 500)
CORES = 8
"""Of one worker."""
ASSUMED = {
    "worker": 1.25e9,
    "total": 100e9,
    "requests": 5500.0,
    "prefixes": 4.0,
    "gpu_images": 300.0,
    "lost": 0.001,
}
"""Bytes/s of one machine (10 Gbit/s) and of one bucket together, GET requests/s of one prefix (Amazon S3 User Guide,
"Best practices design patterns: optimizing Amazon S3 performance": at least 5,500), prefixes that the service has split
a cache into, images/s that one GPU trains on at 1050 x 850, chance that a worker dies in a row group."""


# -- measured ---------------------------------------------------------------------------------------------


def films(folder: Path, count: int) -> "resload.Catalog":
    """Drawn mammograms as files, and their catalog."""
    import pandas as pd

    sys.path.insert(0, str(Path(__file__).parent.parent / "tests"))
    from dicom_files import JPEG_70, make_dicom

    folder.mkdir(parents=True, exist_ok=True)
    for k in range(count):
        path = folder / f"{k}.dcm"
        if not path.exists():
            pixels = synthetic_film(k, size=SIDE, bits=12).pixels
            path.write_bytes(make_dicom(pixels, JPEG_70, bits=12, Modality="MG"))
    rows = {"id": [f"film-{k:06d}" for k in range(count)], "path": [f"{k}.dcm" for k in range(count)]}
    table = pd.DataFrame({**rows, "patient": [f"p{k // 4}" for k in range(count)], "cancer": 0.0, "bits": 12})
    return resload.Catalog(table, targets=("cancer",), root=folder)


def measure_film(folder: Path, sample: int, _: int) -> dict[str, Any]:
    catalog = films(folder / "films", sample)
    seconds = []
    for turn in range(3):
        begun = time.perf_counter()
        cache = resload.build(catalog, folder / f"film-{turn}.zarr", SIZES, threads=1, progress=False)
        seconds.append((time.perf_counter() - begun) / sample)
    levels = {str(size): _bytes(cache.path / layout.level_folder(size)) / sample for size in cache.sizes}
    return {
        "seconds": summary(seconds),
        "source_bytes": _bytes(folder / "films") / sample,
        "level_bytes": levels,
        "per_shard": layout.read_manifest(cache.path).per_shard,
        "table_bytes": (cache.path / layout.SAMPLES).stat().st_size / sample,
    }


def large(folder: Path, count: int) -> tuple["resload.Catalog", Manifest]:
    """A catalog of so many films, and the manifest that its build would begin with."""
    import pandas as pd

    numbers = np.arange(count)
    table = pd.DataFrame(
        {
            "id": [f"1.2.840.113619.2.{k}" for k in numbers],
            "path": [f"images/{k % 1000:03d}/{k}.dcm" for k in numbers],
            "patient": numbers // 4,
            "cancer": (numbers % 7 == 0).astype(float),
            "bits": 12,
        }
    )
    small = layout.read_manifest(folder / "film-0.zarr")
    per_shard = plan.records_per_shard(count, small.sizes, small.dtype, 512)
    goal = replace(small, count=count, per_shard=per_shard, batches=(count,), tables={}, state="building")
    return resload.Catalog(table, targets=("cancer",), root=folder), goal


def write_rows(folder: Path, count: int) -> None:
    """What workers leave: a `rows-<g>.json` for each row group."""
    _, goal = large(folder, count)
    table, _ = tables.read_samples(folder / "film-0.zarr", layout.read_manifest(folder / "film-0.zarr"), levels=True)
    record = {name: _plain(table[name].iloc[0]) for name in tables.RESULTS}
    rng = np.random.default_rng(0)

    def one(row: int) -> dict[str, Any]:
        levels = {str(size): rng.integers(0, (1 << 32, 1 << 38, 1 << 54)).tolist() for size in goal.arrays}
        own = {"source_hash": rng.bytes(16).hex(), "source_stamp": rng.bytes(8).hex(), "levels": levels}
        return {"id": f"1.2.840.113619.2.{row}", **record, **own}

    for task in plan.begin(goal).tasks:
        path = rows_file(folder / "large.zarr", task.group)
        path.parent.mkdir(parents=True, exist_ok=True)
        records = [one(row) for row in task.rows]
        document = {"sizes": [str(size) for size in task.sizes], "records": records}
        path.write_text(json.dumps(sealed.sealed(document, document)))


def measure_driver(folder: Path, _: int, count: int) -> dict[str, Any]:
    write = subprocess.run([sys.executable, __file__, "--write-rows", str(folder), str(count)], check=True)
    assert write.returncode == 0
    found: dict[str, Any] = {"rss_before": _rss()}
    catalog, goal = large(folder, count)
    cache = folder / "large.zarr"

    def planned() -> tuple[CatalogFilms, list[str], plan.Step]:
        listed = CatalogFilms(catalog)
        ids = [listed.ids[i] for i in plan.row_order(count, 0, 0)]
        document = json.dumps({"key": step_key(goal, ids), "ids": ids})
        publish.write(cache, f"{layout.BUILD}/{layout.PLAN}", document.encode())
        return listed, ids, plan.begin(goal)

    found["plan_s"], (_, ids, step) = _timed(planned)
    found["groups"], found["films_in_group"] = len(step.tasks), goal.per_shard
    found["plan_bytes"] = (cache / layout.BUILD / layout.PLAN).stat().st_size
    found["rows_bytes"] = sum(rows_file(cache, task.group).stat().st_size for task in step.tasks) / count
    found["read_rows_s"], of_group = _timed(lambda: in_build(cache, step.tasks, lambda task: read_rows(cache, task)))
    records = [record for task in step.tasks for record in of_group[task.group]]
    found["frame_s"], results = _timed(lambda: tables.results_frame(records, goal.arrays))
    kept = tables.kept_of(catalog, (), "number")

    def tabled() -> Manifest:
        import pandas as pd

        frame = pd.concat([tables.from_catalog(catalog, kept, ids), results], axis=1)
        done = fingerprint(goal.with_state("complete"), ids, results)
        publish.publish(cache, goal, done, {layout.SAMPLES: tables.as_parquet(frame, kept)})
        return done

    found["tables_s"], _ = _timed(tabled)
    found["samples_bytes"] = (cache / layout.SAMPLES).stat().st_size
    return found | {"rss": _rss()}


def measure_open(folder: Path, _: int, count: int) -> dict[str, Any]:
    before = _rss()
    seconds, cache = _timed(lambda: resload.open_cache(folder / "large.zarr"))
    assert len(cache) == count
    pickled, _ = _timed(lambda: __import__("pickle").dumps(cache))
    return {"seconds": seconds, "pickle_s": pickled, "rss_before": before, "rss": _rss()}


def _timed(work: Callable[[], Any]) -> tuple[float, Any]:
    begun = time.perf_counter()
    found = work()
    return time.perf_counter() - begun, found


def _rss() -> int:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def _bytes(folder: Path) -> int:
    return sum(file.stat().st_size for file in folder.rglob("*") if file.is_file())


def _plain(value: Any) -> Any:
    value = value.item() if isinstance(value, np.generic) else value
    return None if isinstance(value, float) and np.isnan(value) else value


PARTS: Mapping[str, Callable[[Path, int, int], dict[str, Any]]] = {
    "film": measure_film,
    "driver": measure_driver,
    "open": measure_open,
}


def measured(folder: Path, sample: int, count: int) -> dict[str, Any]:
    """Each part in a process of its own."""
    found = {}
    for name in PARTS:
        asked = [sys.executable, __file__, "--part", name, str(folder), str(sample), str(count)]
        answer = subprocess.run(asked, check=True, stdout=subprocess.PIPE, env={**os.environ, "OMP_NUM_THREADS": "1"})
        found[name] = json.loads(answer.stdout.splitlines()[-1])
        found[name].setdefault("rss", None)
        print(name, json.dumps(found[name]), flush=True)
    return found


# -- simulated --------------------------------------------------------------------------------------------


def of_task(default: float) -> tuple[float, str]:
    """Seconds of the driver for one row group: what `benchmarks/executors.py` measured of Dask, if it has run."""
    try:
        found = json.loads((RESULTS / "executors.json").read_text())
        dask = found["overhead"]["dask"]
        seconds = (dask["there_s"]["median"] - dask["here_s"]["median"]) / found["groups"]
        return float(seconds), "measured by benchmarks/executors.py"
    except (OSError, KeyError, ValueError):
        return default, "assumed: benchmarks/executors.py has not run"


def simulated(found: Mapping[str, Any], count: int) -> dict[str, Any]:
    from scale_simulation import Build, Storage, build_seconds, fetch_seconds, most_workers, without_mirror

    film, driver = found["film"], found["driver"]
    driver_s, whence = of_task(0.005)
    build = Build(
        groups=driver["groups"],
        films_in_group=driver["films_in_group"],
        film_s=film["seconds"]["median"] / CORES,
        read_bytes=film["source_bytes"],
        written_bytes=sum(film["level_bytes"].values()),
        driver_s=driver_s,
        end_s=driver["read_rows_s"] + driver["frame_s"] + driver["tables_s"],
    )
    storage = Storage(ASSUMED["worker"], ASSUMED["total"])
    builds = {n: build_seconds(build, storage, n, lost=ASSUMED["lost"]) for n in WORKERS}
    levels = {name: size for name, size in film["level_bytes"].items() if name != "native"}
    reads = {}
    for name, record in levels.items():
        requests = ASSUMED["requests"] * ASSUMED["prefixes"]
        reads[name] = {
            "record_bytes": record,
            "level_bytes": record * count,
            "fetch_s": {
                n: fetch_seconds(driver["groups"], record * driver["films_in_group"], storage, n) for n in NODES
            },
            "images_per_gpu_without_mirror": without_mirror(ASSUMED["gpu_images"], 1000, requests, record, storage),
        }
    return {
        "driver_s": driver_s,
        "driver_s_is": whence,
        "build": builds,
        "most_workers": most_workers(build, storage),
        "reading": reads,
    }


def report(found: Mapping[str, Any], simulated: Mapping[str, Any], count: int) -> str:
    """The tables of the page."""
    film, driver, opened = found["film"], found["driver"], found["open"]
    levels = ", ".join(f"{name}: {size / 1e6:.2f} MB" for name, size in film["level_bytes"].items())
    lines = [
        "| measured | |",
        "|---|---|",
        f"| one film, one core: read, decode, {len(SIZES)} sizes, write | {film['seconds']['median']:.2f} s |",
        f"| its file | {film['source_bytes'] / 1e6:.1f} MB |",
        f"| its records | {levels} |",
        f"| memory of the process that builds on one thread, at most | {film['rss'] / 1e9:.2f} GB |",
        f"| row groups of {count:,} films | {driver['groups']:,} of {driver['films_in_group']} |",
        f"| driver: plan ({driver['plan_bytes'] / 1e6:.0f} MB) | {driver['plan_s']:.1f} s |",
        f"| driver: reading the row groups' records ({driver['rows_bytes']:.0f} bytes per film) "
        f"| {driver['read_rows_s']:.1f} s |",
        f"| driver: table in memory, and written ({driver['samples_bytes'] / 1e6:.0f} MB) "
        f"| {driver['frame_s']:.1f} s, {driver['tables_s']:.1f} s |",
        f"| driver: memory at most | {driver['rss'] / 1e9:.2f} GB |",
        f"| `open_cache` | {opened['seconds']:.2f} s, {opened['rss'] / 1e9:.2f} GB |",
        "",
        f"| workers of {CORES} cores | hours | driver busy | storage busy |",
        "|---|---|---|---|",
        *(
            f"| {n:,} | {one['seconds'] / 3600:.2f} | {one['driver_busy']:.1%} | {one['storage_busy']:.1%} |"
            for n, one in simulated["build"].items()
        ),
        "",
        "| shared by all workers | keeps so many at work |",
        "|---|---|",
        *(f"| {name} | {n:,.0f} |" for name, n in simulated["most_workers"].items()),
        "",
        "| level | whole level | " + " | ".join(f"{n} nodes" for n in NODES) + " | images/s and GPU without a mirror |",
        "|---|---|" + "---|" * len(NODES) + "---|",
        *(
            f"| {name} | {one['level_bytes'] / 1e12:.2f} TB | "
            + " | ".join(f"{one['fetch_s'][n] / 60:.0f} min" for n in NODES)
            + f" | {one['images_per_gpu_without_mirror']:.0f} |"
            for name, one in simulated["reading"].items()
        ),
    ]
    return "\n".join(lines)


def draw(simulated: Mapping[str, Any], path: Path) -> None:
    """Hours against workers, and minutes of the first fetch against nodes."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(9, 3.6), layout="constrained")
    left, right = figure.subplots(1, 2)
    builds = simulated["build"]
    left.loglog(list(builds), [one["seconds"] / 3600 for one in builds.values()], "o-")
    top = left.get_ylim()[1]
    for place, (name, most) in enumerate(sorted(simulated["most_workers"].items(), key=lambda one: one[1])):
        left.axvline(most, linestyle=":", color="grey")
        left.text(most, top / 1.6 ** (place + 1), f" {name}: {most:,.0f}", va="bottom", fontsize=8, clip_on=False)
    left.set_xlim(right=3e6)
    left.set_xlabel(f"workers of {CORES} cores")
    left.set_ylabel("hours of the build")
    for name, one in simulated["reading"].items():
        right.loglog(list(one["fetch_s"]), [s / 60 for s in one["fetch_s"].values()], "o-", label=name)
    right.set_xlabel("nodes, each with a mirror")
    right.set_ylabel("minutes until all have the level")
    right.legend(fontsize=8)
    for axes in (left, right):
        axes.grid(alpha=0.3)
        for axis in (axes.xaxis, axes.yaxis):
            axis.set_major_formatter(lambda value, _: f"{value:,.10g}")
            axis.set_minor_formatter(lambda value, _: "")
    figure.savefig(path, dpi=110)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--films", type=int, default=400_000)
    parser.add_argument("--sample", type=int, default=16)
    parser.add_argument("--out", type=Path, default=RESULTS)
    parser.add_argument("--part", nargs=4, help=argparse.SUPPRESS)
    parser.add_argument("--write-rows", nargs=2, help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.write_rows:
        write_rows(Path(args.write_rows[0]), int(args.write_rows[1]))
        return
    if args.part:
        name, folder, sample, count = args.part
        found = PARTS[name](Path(folder), int(sample), int(count))
        print(json.dumps({**found, "rss": _rss()}))
        return
    with tempfile.TemporaryDirectory() as folder:
        found = measured(Path(folder), args.sample, args.films)
    after = simulated(found, args.films)
    document = {"films": args.films, "assumed": ASSUMED, "measured": found, "simulated": after}
    save("scale", report(found, after, args.films), document, args.out)
    draw(after, args.out / "scale.png")


if __name__ == "__main__":
    main()
