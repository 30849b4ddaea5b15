"""Batches ready on a CUDA device: from a cache, from files, beside what people write today, and how long a model waits.

    python benchmarks/device_loading.py [--device cuda --sizes 224 512 1024 --threads 1 2 4 8 16 --rounds 3]

Every way ends with normalised float32 (B, 1, H, W) on the device, batches of 64 in a shuffled order, page cache warm,
images/s of an epoch after one that is not counted, the device waited for at its end:

    Loader               ours, from a cache: every record verified, stored bytes travel; by number of threads
    Loader, not stored   ours, of a size that the device makes from a stored one
    Loader resident      ours, levels in the device's memory: the epoch that is not counted fills it, the others gather
    DataLoader           torch's, over a memory map of the same bytes, workers, pinned memory, floats made on the device
    films: Loader        ours, from 1024 px JPEG files, decoded and resized on the CPU
    films: Loader, DALI  ours with decode="dali": decoded by DALI and resized by us, on the device
    films: DALI          its own pipeline: files read, decoded, resized (its way) and normalised
    films: decode_jpeg   torchvision's decoder and resize, both on the device, where torchvision is there
    films: DataLoader    torch's: decoded by imagecodecs and resized by torch in workers, floats made on the device
    bus                  copies to the device by size of copy, from pinned and from ordinary memory
    memory               a copy within the device's memory, and what the ways above move through both, at least
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
FILMS = 1024


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
        paths = films(Path(folder), args)
        for side in args.sizes:
            rates |= measured(from_films(paths, side, device, args), args.rounds, f"films 1024 to {side}: ")
        trained = model(Path(folder), device, args)
    moved, within = bus(device), memory(device)
    card = torch.cuda.get_device_name(device) if device.type == "cuda" else "no card: the same code on the CPU"
    table = f"Images/s to normalised float32 on the device ({card}).\n\n"
    table += "| what | images/s | least | most |\n|---|---|---|---|\n"
    table += "\n".join(
        f"| {name} | {one['median']:,.0f} | {one['least']:,.0f} | {one['most']:,.0f} |" for name, one in rates.items()
    )
    table += "\n\n| copies to the device | GB/s pinned | GB/s ordinary |\n|---|---|---|\n"
    table += "\n".join(f"| {one['megabytes']} MB | {one['pinned']:.1f} | {one['ordinary']:.1f} |" for one in moved)
    table += f"\n\nA copy within the device's memory moves {within:,.0f} GB/s (read and written). What must move:\n\n"
    table += "| what | GB/s over the bus | GB/s of the memory, at least | share of it |\n|---|---|---|---|\n"
    carried = loads(rates)
    table += "\n".join(
        f"| {name} | {one['bus']:.1f} | {one['memory']:.0f} | {one['memory'] / within:.0%} |"
        for name, one in carried.items()
    )
    if trained:
        table += "\n\n| ResNet-34, bfloat16, 224 px | images/s | share of time waiting |\n|---|---|---|\n"
        table += "\n".join(f"| {name} | {one['rate']:,.0f} | {one['waiting']:.1%} |" for name, one in trained.items())
    where = {} if args.out is None else {"folder": args.out}
    save(
        "device_loading",
        table,
        {"card": card, "rates": rates, "bus": moved, "memory": within, "moved": carried, "model": trained},
        **where,
    )


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
    loader = by_workers(Mapped(np.load(folder / f"{side}.npy", mmap_mode="r")), device, most)

    def theirs() -> Iterator[torch.Tensor]:
        for images in loader:
            yield normalised(images[:, None].to(device, non_blocking=True))

    found[f"DataLoader, {most} workers"] = lambda: rate(theirs, count, device)
    return found


def by_workers(data: torch.utils.data.Dataset, device: torch.device, workers: int) -> torch.utils.data.DataLoader:
    """Torch's loader, as people set it up for a GPU."""
    pinned = {"pin_memory": device.type == "cuda", "persistent_workers": True}
    return torch.utils.data.DataLoader(data, batch_size=BATCH, shuffle=True, num_workers=workers, **pinned)


def normalised(images: torch.Tensor) -> torch.Tensor:
    return (images.float() / 255 - MEAN) / STD


# -- from files --


def films(folder: Path, args: argparse.Namespace) -> list[Path]:
    """1024 px JPEG files."""
    import imagecodecs

    from resload.testing import synthetic_film

    made = [synthetic_film(seed, size=1024).pixels for seed in range(8)]
    coded = [imagecodecs.jpeg8_encode(film, level=90) for film in made]
    count = max(BATCH, int(FILMS * args.share) // BATCH * BATCH)
    paths = [folder / f"{k}.jpg" for k in range(count)]
    for k, path in enumerate(paths):
        path.write_bytes(coded[k % len(coded)])
    return paths


def from_films(
    paths: list[Path], side: int, device: torch.device, args: argparse.Namespace
) -> dict[str, Callable[[], float]]:
    """The ways from the files to one size."""
    table = pd.DataFrame({"id": [path.stem for path in paths], "path": [str(path) for path in paths], "bits": 8})
    count, most = len(paths), max(args.threads)

    def ours(threads: int, decode: str = "cpu") -> Callable[[], float]:
        options: dict[str, Any] = {"device": device, "normalize": (MEAN, STD), "threads": threads, "decode": decode}
        pipeline = resload.Pipeline(side)
        loader = resload.Loader(
            resload.Catalog(table), pipeline=pipeline, size=side, batch_size=BATCH, shuffle=True, **options
        )
        return lambda: rate(lambda: (batch.images for batch in loader), count, device)

    scaled = args.threads if side == args.sizes[len(args.sizes) // 2] else [most]
    found = {f"Loader, {threads} threads": ours(threads) for threads in scaled}
    if (theirs := dali_pipeline(paths, side, device, most)) is not None:
        found |= {f"Loader, DALI, {threads} threads": ours(threads, "dali") for threads in scaled}
        found[f"DALI, {most} threads"] = lambda: rate(theirs, count, device)
    if (torchvisions := on_device_decoder(paths, side, device)) is not None:
        found["decode_jpeg"] = lambda: rate(torchvisions, count, device)
    loader = by_workers(Decoded(paths, side), device, most)

    def plain() -> Iterator[torch.Tensor]:
        for images in loader:
            yield normalised(images.to(device, non_blocking=True))

    found[f"DataLoader, {most} workers"] = lambda: rate(plain, count, device)
    return found


class Decoded(torch.utils.data.Dataset):
    """One film at a time, decoded and resized by a worker."""

    def __init__(self, paths: list[Path], side: int) -> None:
        self._paths, self._side = paths, side

    def __len__(self) -> int:
        return len(self._paths)

    def __getitem__(self, k: int) -> torch.Tensor:
        import imagecodecs

        film = torch.from_numpy(imagecodecs.jpeg8_decode(self._paths[k].read_bytes()))[None, None]
        size = (self._side, self._side)
        return torch.nn.functional.interpolate(film, size=size, mode="bilinear", antialias=True)[0]


def dali_pipeline(
    paths: list[Path], side: int, device: torch.device, threads: int
) -> Callable[[], Iterator[torch.Tensor]] | None:
    """DALI's own way to such batches; None where it is not there."""
    try:
        from nvidia.dali import Pipeline, fn, types
        from nvidia.dali.plugin.pytorch import DALIGenericIterator, LastBatchPolicy
    except ImportError:
        return None
    on_card = device.type == "cuda"
    made = Pipeline(batch_size=BATCH, num_threads=threads, device_id=torch.cuda.current_device() if on_card else None)
    with made:
        coded, _ = fn.readers.file(files=[str(path) for path in paths], random_shuffle=True, name="films")
        film = fn.decoders.image(coded, device="mixed" if on_card else "cpu", output_type=types.GRAY)
        images = fn.resize(film, resize_x=side, resize_y=side, antialias=True)
        top = 255.0
        images = fn.crop_mirror_normalize(
            images, dtype=types.FLOAT, output_layout="CHW", mean=[MEAN * top], std=[STD * top]
        )
        made.set_outputs(images)
    batches = DALIGenericIterator(
        [made], ["images"], reader_name="films", auto_reset=True, last_batch_policy=LastBatchPolicy.PARTIAL
    )
    return lambda: (batch[0]["images"] for batch in batches)


def on_device_decoder(
    paths: list[Path], side: int, device: torch.device
) -> Callable[[], Iterator[torch.Tensor]] | None:
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
            yield normalised(torch.stack([resize(image, [side, side], antialias=True) for image in decoded]))

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


def memory(device: torch.device) -> float:
    """Bytes/s, read and written, of a copy within the device's memory."""
    size = 1 << 30 if device.type == "cuda" else 1 << 26
    held = torch.zeros(size, dtype=torch.uint8, device=device)
    there, runs = torch.empty_like(held), []
    for _ in range(10):
        begun = time.perf_counter()
        there.copy_(held)
        if device.type == "cuda":
            torch.cuda.synchronize(device)
        runs.append(2 * size / (time.perf_counter() - begun) / 1e9)
    return sorted(runs)[5]


def loads(rates: dict[str, dict[str, float]]) -> dict[str, dict[str, float]]:
    """GB/s that our ways from a cache move: stored bytes over the bus; in the device's memory these written and read,
    gathered (read and written) where they stay there, and floats of four bytes written.
    """
    found = {}
    for name, one in rates.items():
        side, _, way = name.partition(": ")
        if side.isdigit() and way.startswith("Loader") and "not stored" not in way:
            pixels, stays = one["median"] * int(side) ** 2 / 1e9, "resident" in way
            found[name] = {"bus": 0.0 if stays else pixels, "memory": pixels * (3 + 4 if stays else 2 + 4)}
    return found


if __name__ == "__main__":
    main()
