"""The main job, end to end, in a few minutes: films -> nine resolutions -> batches -> training steps.

    python benchmarks/demo.py                   96 synthetic chest films, one of them broken on purpose
    python benchmarks/demo.py --data FOLDER     your films: any folder, or one with the CSV of NIH ChestX-ray14

It writes to demo-out/ (or --out): the cache, table.md and table.json (what each resolution costs), and
contact_sheet.png (the same films at each resolution). Rates are from whole passes over the films with a warm
page cache: what this machine gives now, not a promise for another.
"""

import argparse
import json
import os
import platform
import shutil
import statistics
import time
from collections.abc import Iterator
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import torch

import resload
from resload.cli import main as show
from resload.testing import write_synthetic

SIZES = (32, 64, 128, 224, 256, 320, 448, 512, 600)
TRAINED = (64, 128, 256)
STEPS = 40
BATCH = 16
SECONDS = 1.0
"""How long passes over a cached level are repeated: one pass over a hundred films takes milliseconds."""


def main() -> None:
    """Run the demo as the command line says."""
    args = arguments()
    started = time.perf_counter()
    args.out.mkdir(parents=True, exist_ok=True)
    catalog = films(args)
    cache = built(catalog, args.out / "films.zarr")
    bad = set(cache.quarantine["id"])
    readable = catalog.select(~catalog.table["id"].isin(bad).to_numpy())
    rows = [measured(readable, cache, size, args.out / "films.zarr") for size in cache.sizes]
    training = [trained(cache, size) for size in TRAINED] if cache.targets else []
    table = markdown(rows)
    print("\n" + table)
    save(args.out, rows, training, table, len(readable))
    show(["show", str(args.out / "films.zarr"), "--out", str(args.out / "contact_sheet.png")])
    print(f"\nIn {args.out}/: contact_sheet.png, table.md, table.json, films.zarr")
    print(f"Done in {time.perf_counter() - started:.0f} s.")


def arguments() -> argparse.Namespace:
    """What the command line says."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--data", type=Path, metavar="FOLDER", help="films to use instead of synthetic ones")
    parser.add_argument("--out", type=Path, default=Path("demo-out"), help="where to write (default: demo-out)")
    parser.add_argument("--films", type=int, default=96, help="how many synthetic films (default: 96)")
    parser.add_argument("--size", type=int, default=1024, help="their height and width (default: 1024)")
    return parser.parse_args()


def films(args: argparse.Namespace) -> resload.Catalog:
    """The catalog, split by patient: synthetic films, ChestX-ray14 where its CSV is, or any folder."""
    if args.data is None:
        print(f"Drawing {args.films} synthetic films of {args.size} x {args.size} ...")
        folder = args.out / "films"
        shutil.rmtree(folder, ignore_errors=True)
        catalog = write_synthetic(folder, args.films, size=args.size)
    elif any(args.data.glob("Data_Entry_2017*.csv*")):
        catalog = resload.datasets.chestxray14(args.data, missing="skip")
    else:
        catalog = resload.Catalog.from_folder(args.data)
    print(f"{len(catalog)} films; targets: {', '.join(catalog.targets) or 'none'}")
    if "split" in catalog.table and (catalog.table["split"] == "train").any():
        return catalog
    by = "patient" if "patient" in catalog.table else "id"
    return catalog.split({"train": 0.7, "val": 0.1, "test": 0.2}, by=by, seed=0)


def built(catalog: resload.Catalog, path: Path) -> resload.Cache:
    """Build all sizes from scratch, then once more, which must find nothing to do; say what is quarantined."""
    shutil.rmtree(path, ignore_errors=True)
    begun = time.perf_counter()
    resload.build(catalog, path, sizes=SIZES)
    print(f"Built {len(SIZES)} sizes of {len(catalog)} films in {time.perf_counter() - begun:.1f} s; again:")
    cache = resload.build(catalog, path, sizes=SIZES)
    for row in cache.quarantine.itertuples():
        print(f"Quarantined: {row.id} ({row.path}): {row.reason}")
    return cache


def measured(catalog: resload.Catalog, cache: resload.Cache, size: resload.Size, path: Path) -> dict[str, Any]:
    """One row of the table."""
    level = path / "images" / str(size)
    with resload.Loader(cache, size=size, batch_size=BATCH) as loader:
        spacing = np.concatenate([batch.spacing.numpy() for batch in loader])
        cached = rate(loader, SECONDS)
    with resload.Loader(catalog, pipeline=resload.Pipeline(size), size=size, batch_size=BATCH) as loader:
        decoded = rate(loader, 0.0)
    row = {
        "size": str(size),
        "mm_per_pixel_y": median(spacing[:, 0]),
        "mm_per_pixel_x": median(spacing[:, 1]),
        "bytes": sum(file.stat().st_size for file in level.rglob("*") if file.is_file()),
        "images_per_second_files": decoded,
        "images_per_second_cache": cached,
    }
    print(f"{row['size']:>9}: {decoded:6.0f} images/s from files, {cached:8.0f} from the cache")
    return row


def median(values: np.ndarray) -> float | None:
    """The median of what is known; None where nothing is."""
    known = values[np.isfinite(values)]
    return float(np.median(known)) if known.size else None


def rate(loader: resload.Loader, seconds: float) -> float:
    """Images per second over whole passes, at least one and at least `seconds` long."""
    images = 0
    begun = time.perf_counter()
    while True:
        images += sum(len(batch.rows) for batch in loader)
        taken = time.perf_counter() - begun
        if taken >= seconds:
            return images / taken


def trained(cache: resload.Cache, size: int) -> dict[str, Any]:
    """A few training steps at one size; the same code for each."""
    torch.manual_seed(0)
    model = network(len(cache.targets))
    optimizer = torch.optim.Adam(model.parameters(), lr=2e-3)
    losses = []
    with resload.Loader(cache, size=size, batch_size=BATCH, split="train", shuffle=True, normalize="dataset") as loader:
        for batch in endless(loader):
            loss = resload.masked_bce(model(batch.images), batch)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            losses.append(loss.item())
            if len(losses) == STEPS:
                break
    first, last = statistics.fmean(losses[:5]), statistics.fmean(losses[-5:])
    print(f"Training at {size}: loss {first:.3f} -> {last:.3f} (first and last five of {STEPS} steps)")
    return {"size": size, "losses": losses}


def network(targets: int) -> torch.nn.Module:
    """Small enough for a laptop; it takes any size."""
    layers: list[torch.nn.Module] = []
    for before, after in ((1, 8), (8, 16), (16, 32)):
        layers += [
            torch.nn.Conv2d(before, after, 5, stride=2, padding=2, bias=False),
            torch.nn.BatchNorm2d(after),
            torch.nn.ReLU(),
        ]
    return torch.nn.Sequential(
        *layers, torch.nn.AdaptiveAvgPool2d(4), torch.nn.Flatten(), torch.nn.Linear(32 * 16, targets)
    )


def endless(loader: resload.Loader) -> Iterator[resload.Batch]:
    """Epoch after epoch, each in its own order."""
    epoch = 0
    while True:
        loader.set_epoch(epoch)
        yield from loader
        epoch += 1


def markdown(rows: list[dict[str, Any]]) -> str:
    """The table, as a README shows it."""
    lines = [
        "| size | mm per pixel (y x x) | MB on disk | images/s from files | images/s from cache |",
        "|---:|---:|---:|---:|---:|",
    ]
    for row in rows:
        mm = [row["mm_per_pixel_y"], row["mm_per_pixel_x"]]
        spacing = "not known" if None in mm else f"{mm[0]:.3f} x {mm[1]:.3f}"
        lines.append(
            f"| {row['size']} | {spacing} | {row['bytes'] / 1e6:.2f} "
            f"| {row['images_per_second_files']:.0f} | {row['images_per_second_cache']:.0f} |"
        )
    return "\n".join(lines)


def save(out: Path, rows: list[dict[str, Any]], training: list[dict[str, Any]], table: str, count: int) -> None:
    """The numbers, with what they were measured on."""
    machine = {
        "python": platform.python_version(),
        "torch": torch.__version__,
        "resload": version("resload"),
        "cpus": len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count(),
    }
    report = {"films": count, "batch_size": BATCH, "machine": machine, "levels": rows, "training": training}
    (out / "table.json").write_text(json.dumps(report, indent=2) + "\n", encoding="utf-8")
    (out / "table.md").write_text(table + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
