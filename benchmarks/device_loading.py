"""Batches ready on a CUDA device: from a cache, from files, beside what people write today, and how long a model waits.

    python benchmarks/device_loading.py [--device cuda --sizes 224 512 1024 --threads 1 2 4 8 16 --rounds 3]

Every way ends with normalised float32 (B, 1, H, W) on the device, batches of 64 in a shuffled order, page cache warm,
images/s of an epoch after one that is not counted, the device waited for at its end:

    Loader               ours, from a cache: every record verified, stored bytes travel; by number of threads
    Loader, not stored   ours, of a size that the device makes from a stored one
    Loader resident      ours, levels in the device's memory: the epoch that is not counted fills it, the others gather
    DataLoader           torch's, over a memory map of the same bytes, workers, pinned memory, floats made on the device
    films: Loader        ours, from 1024 px JPEG files, decoded and resized on the CPU
    films: decode_jpeg   torchvision's decoder and resize, both on the device, where torchvision is there
    bus                  copies to the device by size of copy, from pinned and from ordinary memory
    model                ResNet-34 (torchvision's), bfloat16, 224 px, batches of 256, training: images/s with one batch
                         again and again, with the Loader, and the share of time that the loop waits for a batch
"""

import argparse
import functools
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from cached_loading import Mapped, make_cache
from common import interleaved, save, seconds, summary

import resload
from resload.threads import thread_count

BATCH, MODEL_BATCH = 64, 256
MEAN, STD = 0.5, 0.25
CACHE_BYTES = 1 << 30
"""Of each level."""
FILMS = 512


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--device", default="cuda")
    parser.add_argument("--sizes", type=int, nargs="+", default=[224, 512, 1024])
    parser.add_argument("--threads", type=int, nargs="+", default=[1, 2, 4, 8, 16])
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--share", type=float, default=1.0, help="of the records and films: less for a first look")
    parser.add_argument("--out", type=Path, help="where to put the results (benchmarks/results)")
    args = parser.parse_args()
    device = torch.device(args.device)
    rates: dict[str, dict[str, float]] = {}
    with tempfile.TemporaryDirectory() as folder:
        for side in args.sizes:
            rates |= measured(cached(Path(folder), side, device, args), args.rounds, f"{side}: ")
        rates |= measured(films(Path(folder), device, args), args.rounds, "films 1024 to 512: ")
        trained = model(Path(folder), device, args)
    moved = bus(device)
    card = torch.cuda.get_device_name(device) if device.type == "cuda" else "no card: the same code on the CPU"
    table = f"Images/s to normalised float32 on the device ({card}).\n\n"
    table += "| what | images/s | least | most |\n|---|---|---|---|\n"
    table += "\n".join(
        f"| {name} | {one['median']:,.0f} | {one['least']:,.0f} | {one['most']:,.0f} |" for name, one in rates.items()
    )
    table += "\n\n| copies to the device | GB/s pinned | GB/s ordinary |\n|---|---|---|\n"
    table += "\n".join(f"| {one['megabytes']} MB | {one['pinned']:.1f} | {one['ordinary']:.1f} |" for one in moved)
    if trained:
        table += "\n\n| ResNet-34, bfloat16, 224 px | images/s | share of time waiting |\n|---|---|---|\n"
        table += "\n".join(f"| {name} | {one['rate']:,.0f} | {one['waiting']:.1%} |" for name, one in trained.items())
    where = {} if args.out is None else {"folder": args.out}
    save("device_loading", table, {"card": card, "rates": rates, "bus": moved, "model": trained}, **where)


def measured(work: dict[str, Callable[[], float]], rounds: int, prefix: str) -> dict[str, dict[str, float]]:
    return {prefix + name: summary(values) for name, values in interleaved(work, rounds).items()}


def rate(epoch: Callable[[], Iterator[torch.Tensor]], count: int, device: torch.device) -> float:
    """Images/s of an epoch; every batch is looked at on the device, as a model would."""
    begun, total = time.perf_counter(), torch.zeros((), device=device)
    for images in epoch():
        total += images[:, 0, 0, 0].sum()
    assert torch.isfinite(total)  # which waits for the device
    return count / (time.perf_counter() - begun)


# -- from a cache --


def cached(folder: Path, side: int, device: torch.device, args: argparse.Namespace) -> dict[str, Callable[[], float]]:
    """The ways at one size."""
    count = int(CACHE_BYTES * args.share / side**2) // BATCH * BATCH
    path = make_cache(folder / f"{side}.zarr", count, side)
    cache = resload.open_cache(path)
    flat = np.lib.format.open_memmap(folder / f"{side}.npy", "w+", np.uint8, (count, side, side))
    for start in range(0, count, BATCH):
        flat[start : start + BATCH] = cache.read(np.arange(start, start + BATCH), side)

    def ours(size: int, threads: int, access: str = "pread", resident: bool = False) -> Callable[[], float]:
        data = cache if access == "pread" else resload.open_cache(path, access=access)
        options: dict[str, Any] = {"device": device, "normalize": (MEAN, STD), "threads": threads, "resident": resident}
        loader = resload.Loader(data, size=size, batch_size=BATCH, shuffle=True, **options)
        return lambda: rate(lambda: (batch.images for batch in loader), count, device)

    most = max(args.threads)
    found = {f"Loader, {threads} threads": ours(side, threads) for threads in args.threads}
    found[f"Loader kept in memory, {most} threads"] = ours(side, most, "memory")
    if device.type != "cpu":
        for threads in sorted({1, most}):
            found[f"Loader resident, {threads} threads"] = ours(side, threads, resident=True)
    smaller = side * 5 // 8
    found[f"Loader, not stored: {smaller} from {side}, {most} threads"] = ours(smaller, most)
    loader = torch.utils.data.DataLoader(
        Mapped(np.load(folder / f"{side}.npy", mmap_mode="r")),
        batch_size=BATCH,
        shuffle=True,
        num_workers=most,
        pin_memory=device.type == "cuda",
        persistent_workers=True,
    )

    def theirs() -> Iterator[torch.Tensor]:
        for images in loader:
            yield normalised(images[:, None].to(device, non_blocking=True))

    found[f"DataLoader, {most} workers"] = lambda: rate(theirs, count, device)
    return found


def normalised(images: torch.Tensor) -> torch.Tensor:
    return (images.float() / 255 - MEAN) / STD


# -- from files --


def films(folder: Path, device: torch.device, args: argparse.Namespace) -> dict[str, Callable[[], float]]:
    """1024 px JPEG files to 512 px."""
    import imagecodecs

    from resload.testing import synthetic_film

    made = [synthetic_film(seed, size=1024).pixels for seed in range(8)]
    coded = [imagecodecs.jpeg8_encode(film, level=90) for film in made]
    count = max(BATCH, int(FILMS * args.share) // BATCH * BATCH)
    paths = [folder / f"{k}.jpg" for k in range(count)]
    for k, path in enumerate(paths):
        path.write_bytes(coded[k % len(coded)])
    table = pd.DataFrame({"id": [path.stem for path in paths], "path": [str(path) for path in paths], "bits": 8})

    def ours(threads: int) -> Callable[[], float]:
        options: dict[str, Any] = {"device": device, "normalize": (MEAN, STD), "threads": threads}
        pipeline = resload.Pipeline(512)
        loader = resload.Loader(
            resload.Catalog(table), pipeline=pipeline, size=512, batch_size=BATCH, shuffle=True, **options
        )
        return lambda: rate(lambda: (batch.images for batch in loader), count, device)

    found = {f"Loader, {threads} threads": ours(threads) for threads in args.threads}
    theirs = on_device_decoder(paths, device)
    return found if theirs is None else found | {"decode_jpeg": lambda: rate(theirs, count, device)}


def on_device_decoder(paths: list[Path], device: torch.device) -> Callable[[], Iterator[torch.Tensor]] | None:
    """torchvision's; None where it is not there."""
    try:
        from torchvision.io import ImageReadMode, decode_jpeg
        from torchvision.transforms.v2.functional import resize
    except (ImportError, RuntimeError):
        return None

    def batches() -> Iterator[torch.Tensor]:
        order = np.random.default_rng(0).permutation(len(paths))
        for start in range(0, len(order), BATCH):
            coded = [torch.from_numpy(np.fromfile(paths[k], np.uint8)) for k in order[start : start + BATCH]]
            decoded = decode_jpeg(coded, mode=ImageReadMode.GRAY, device=device)
            yield normalised(torch.stack([resize(image, [512, 512], antialias=True) for image in decoded]))

    return batches


# -- the model --


def model(folder: Path, device: torch.device, args: argparse.Namespace) -> dict[str, dict[str, float]]:
    """Training steps with one batch again and again, and with the Loader."""
    try:
        from torchvision.models import resnet34
    except (ImportError, RuntimeError):
        return {}
    count = int(64 * MODEL_BATCH * args.share) // MODEL_BATCH * MODEL_BATCH
    cache = resload.open_cache(make_cache(folder / "model.zarr", count, 224))
    net = resnet34(num_classes=14).to(device).to(memory_format=torch.channels_last)
    optimizer = torch.optim.SGD(net.parameters(), lr=1e-3)
    targets = torch.zeros(MODEL_BATCH, 14, device=device)

    def step(images: torch.Tensor) -> None:
        with torch.autocast(device.type, dtype=torch.bfloat16):
            loss = torch.nn.functional.binary_cross_entropy_with_logits(
                net(images.contiguous(memory_format=torch.channels_last)), targets
            )
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        optimizer.step()

    options: dict[str, Any] = {"channels": 3, "normalize": (MEAN, STD), "device": device, "drop_last": True}
    loader = resload.Loader(cache, size=224, batch_size=MODEL_BATCH, shuffle=True, **options)
    wait = functools.partial(torch.cuda.synchronize, device) if device.type == "cuda" else (lambda: None)
    fixed = next(iter(loader)).images

    def again() -> None:
        for _ in range(count // MODEL_BATCH):
            step(fixed)
        wait()

    def loaded() -> None:
        for batch in loader:
            step(batch.images)
        wait()

    times = interleaved({"again": lambda: seconds(again), "loaded": lambda: seconds(loaded)}, args.rounds)
    again_s, loaded_s = (summary(times[name])["median"] for name in ("again", "loaded"))
    return {
        "one batch again and again": {"rate": count / again_s, "waiting": 0.0},
        f"Loader, {thread_count(None)} threads": {"rate": count / loaded_s, "waiting": 1 - again_s / loaded_s},
    }


# -- the bus --


def bus(device: torch.device) -> list[dict[str, float]]:
    """Bytes/s of copies to the device."""
    found = []
    for megabytes in (1, 4, 16, 64):
        row: dict[str, float] = {"megabytes": megabytes}
        for name, pinned in (("pinned", True), ("ordinary", False)):
            size = megabytes << 20
            held = torch.randint(0, 255, (size,), dtype=torch.uint8)
            held = held.pin_memory() if pinned and device.type == "cuda" else held
            there = torch.empty(size, dtype=torch.uint8, device=device)
            runs = []
            for _ in range(10):
                begun = time.perf_counter()
                there.copy_(held, non_blocking=True)
                if device.type == "cuda":
                    torch.cuda.synchronize(device)
                runs.append(size / (time.perf_counter() - begun) / 1e9)
            row[name] = sorted(runs)[5]
        found.append(row)
    return found


if __name__ == "__main__":
    main()
