"""The cold half of `growth.py`: an epoch whose pages are not in memory, and the one after it.

The first is swept shard by shard, read ahead of the plan, or neither; the next finds pages where the first left them.

Before every epoch the files are synced and dropped from the page cache (posix_fadvise, POSIX_FADV_DONTNEED), which the
kernel may decline; so it is asked how much is left (mincore), and after the epoch how much was read from the disk
(read_bytes of /proc/self/io, workers that have ended included). Where the disk is one of a virtual machine, the host
may still have the bytes in its memory.
"""

import ctypes
import mmap
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from cached_loading import Mapped
from common import drained, interleaved, seconds
from curves import Curve
from growth_points import Records

import resload
from resload.readers import CacheReader
from resload.samplers import BlockShuffle, Fixed, Images, Sampler, Shuffle

SIDE = 256
DISK = "the files read in order"
SWEPT, AHEAD, NEITHER = WAYS = ("swept", "read ahead", "neither")
LEFT = 0.05
"""More than this share of the bytes left in memory is not cold."""


def cold(folder: Path, settings: Any) -> list[Curve]:
    """Images a second of one epoch from the disk."""
    if not hasattr(os, "posix_fadvise"):
        note = "Not measured: this system has no posix_fadvise to drop pages with."
        return [Curve("Cold page cache", "images/s", {}, notes=(note,))]
    data = Records(folder, settings.cold_images, SIDE)
    data.cache.close()
    trial = Trial(folder, settings.cold_images, settings.batch)
    found = interleaved(trial.arms(), settings.cold_rounds)
    lines = {name: {0.0: measured} for name, measured in found.items()}
    notes = (
        f"{len(data):,} images of {SIDE} x {SIDE} (uint8, {trial.bytes / 2**20:,.0f} MB), one epoch, two threads or "
        f"workers, batches of {settings.batch}; files dropped from the page cache before each.",
        *trial.said(),
    )
    return [Curve("Cold page cache", "images/s", lines, ceiling=DISK, notes=notes)]


class Trial:
    """One cache and one plain file of the same pixels, read in several ways, each from a cold page cache."""

    def __init__(self, folder: Path, count: int, batch: int) -> None:
        (own,) = folder.iterdir()
        self.count, self.batch = count, batch
        self.flat, self.cache = own / "flat.npy", own / "cache.zarr"
        self.shards = sorted(path for path in (self.cache / "images").rglob("c/*/0/0") if path.is_file())
        self.bytes = sum(path.stat().st_size for path in self.shards)
        self.left: list[float] = []
        self.read: dict[str, list[float]] = {}

    def arms(self) -> dict[str, Callable[[], float]]:
        """The ways, by name."""
        arms: dict[str, Callable[[], float]] = {DISK: partial(self.once, DISK, self.shards, self.in_order)}
        for name, order in (("Shuffle", Shuffle()), ("BlockShuffle", BlockShuffle())):
            for way in WAYS:
                called = f"Loader, {name}, {way}"
                arms[called] = partial(self.once, called, self.shards, partial(self.loaded, order, way))
        for way in WAYS[:2]:
            arms[f"Loader, Shuffle, {way}: the epoch after"] = partial(self.after, way)
        for workers in (0, 2):
            called = f"DataLoader, mmap, {workers} workers"
            arms[called] = partial(self.once, called, [self.flat], partial(self.mapped, workers))
        return arms

    def once(self, name: str, files: list[Path], epoch: Callable[[], None]) -> float:
        """Images/s of an epoch after its files were dropped; notes what was left of them, and what was read."""
        for path in files:
            drop(path)
        self.left.append(max(map(in_memory, files)))
        before = disk_reads()
        took = seconds(epoch)
        if before is not None:
            self.read.setdefault(name, []).append((disk_reads() or 0) - before)
        return self.count / took

    def said(self) -> list[str]:
        """Whether the reads came from the disk, as far as the system tells."""
        found = []
        if max(self.left) > LEFT:
            found.append(
                f"**Not cold**: up to {100 * max(self.left):.0f} % of the bytes stayed in memory after they were "
                "dropped (files in memory, or a file system that declines); these numbers are of a warm cache."
            )
        if not self.read:
            found.append("What was read from the disk could not be told: no /proc/self/io here.")
        else:
            least, name = min((min(values) / self.bytes, name) for name, values in self.read.items())
            found.append(
                f"At most {100 * max(self.left):.1f} % was left in memory; the disk then gave at least "
                f"{100 * least:.0f} % of the bytes in every epoch (the least: {name})."
            )
        return found

    # -- the ways --

    def in_order(self) -> None:
        """The shards one after another, as fast as one thread reads them."""
        buffer = bytearray(8 << 20)
        for path in self.shards:
            with path.open("rb", buffering=0) as file:
                while file.readinto(buffer):
                    pass

    def loaded(self, order: Any, way: str) -> None:
        """An epoch of a Loader, opened anew."""
        with opened(self.cache) as cache, only(way):
            drained(self.loader(cache, order))

    def after(self, way: str) -> float:
        """Images/s of the second epoch of a Loader, whose first was cold."""
        for path in self.shards:
            drop(path)
        with opened(self.cache) as cache, only(way):
            loader = self.loader(cache, Shuffle())
            drained(loader)
            return self.count / seconds(partial(drained, loader))

    def loader(self, cache: resload.Cache, order: Any) -> resload.Loader:
        """Stored bytes, by two threads."""
        sampler = Sampler(cache, order=order, sizes=Fixed(SIDE), budget=Images(self.batch), tail="exact")
        return resload.Loader(cache, sampler=sampler, dtype=torch.uint8, threads=2)

    def mapped(self, workers: int) -> None:
        """An epoch of a torch DataLoader over a memory map."""
        data = Mapped(np.load(self.flat, mmap_mode="r"))  # a new map each time: pages in use cannot be dropped
        drained(torch.utils.data.DataLoader(data, batch_size=self.batch, shuffle=True, num_workers=workers))


@contextmanager
def opened(path: Path) -> Iterator[resload.Cache]:
    cache = resload.open_cache(path)
    yield cache
    cache.close()


@contextmanager
def only(way: str) -> Iterator[None]:
    """Loaders as they are, or that do not sweep, or that do not read ahead either."""
    kept = CacheReader.sweep, CacheReader.ahead
    if way != SWEPT:
        CacheReader.sweep = lambda *_, **__: None  # type: ignore[method-assign]
    if way == NEITHER:
        CacheReader.ahead = lambda *_, **__: 0  # type: ignore[method-assign]
    try:
        yield
    finally:
        CacheReader.sweep, CacheReader.ahead = kept  # type: ignore[method-assign]


# -- the page cache --------------------------------------------------------------------------------------


def drop(path: Path) -> None:
    """Ask the kernel to forget a file's pages; they must be on the disk first."""
    descriptor = os.open(path, os.O_RDONLY)
    os.fsync(descriptor)
    os.posix_fadvise(descriptor, 0, 0, os.POSIX_FADV_DONTNEED)
    os.close(descriptor)


def in_memory(path: Path) -> float:
    """The share of a file's pages that are in the page cache."""
    with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as mapped:
        pages = np.zeros(-(-len(mapped) // mmap.PAGESIZE), np.uint8)
        view = np.frombuffer(mapped, np.uint8)
        system = ctypes.CDLL(None, use_errno=True)
        length = ctypes.c_size_t(len(mapped))
        failed = system.mincore(ctypes.c_void_p(view.ctypes.data), length, ctypes.c_void_p(pages.ctypes.data))
        del view
        if failed:
            raise OSError(ctypes.get_errno(), f"mincore of {path} failed")
    return float((pages & 1).mean())


def disk_reads() -> int | None:
    """Bytes that this process and its ended children had read from storage; None where the system does not tell."""
    try:
        lines = Path("/proc/self/io").read_text(encoding="ascii").splitlines()
    except OSError:
        return None
    return next(int(line.partition(":")[2]) for line in lines if line.startswith("read_bytes"))
