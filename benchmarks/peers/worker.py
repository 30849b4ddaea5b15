"""What the runner and every loader's process say to each other, and how one epoch is measured.

    runner                                worker: python NAME.py WAY CONFIG
      | ............................ {"ready": {"version", "verifies", "owns", "recipe", "records"}}
      | go ......................... {"images", "seconds", "checksum"}     one epoch, delivered as CPU tensors
      | release .................... {}                                    it lets its mappings of files go
      | drop ....................... {"resident"}                          its files' pages leave the page cache
      | (end of input)                                                     the worker ends

One JSON document a line, on the standard output that the process was started with; what libraries print goes to
the standard error. Instead of any answer, {"error": "..."}. Only the worker that was asked works.

It runs in the environment of every peer, so it imports the standard library and numpy and nothing else.
"""

import ctypes
import json
import mmap
import os
import shutil
import sys
import time
import traceback
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np

MADV_DONTNEED = 4
"""Linux's number, <asm-generic/mman-common.h>."""


@dataclass(frozen=True, slots=True)
class Config:
    """What a worker is asked for."""

    side: int
    """Of the images delivered, in pixels."""
    dtype: str
    """Of the images delivered: uint8 as stored, or float32: value / 255, minus the mean, by the standard deviation."""
    count: int
    """Images in an epoch."""
    batch: int
    threads: int
    """Or worker processes."""
    normalize: tuple[float, float]
    records: str
    """A .npy file, uint8 (count, side, side)."""
    cache: str
    """The same records as a resload cache."""
    files: str
    """A folder of PNG files: the same records, or the 1024 px sources."""
    work: str
    """A folder of the worker's own, kept from one run to the next."""
    stay: bool = True
    """Whether worker processes stay from epoch to epoch. What they have mapped cannot leave the page cache."""


@dataclass(slots=True)
class Way:
    """One way of loading, ready to go."""

    epoch: "Callable[[], Iterable[Any]] | Callable[[Tally], None]"
    """Batches, or with `tallies` a function that adds what it delivers to a Tally."""
    packages: Sequence[str]
    """Whose versions tell what was measured."""
    verifies: str = "no"
    """What is checked of the bytes that are read. PNG files were tried with a wrong CRC-32 in an IDAT chunk: libpng
    (imagecodecs, DALI) refuses them, Pillow and FFmpeg do not."""
    owns: str = "yes"
    """Whether a batch has memory of its own, or what else."""
    recipe: str = ""
    """Where the way of using the loader comes from."""
    records: str = "records"
    """What is delivered: the records, sources resized, sources, or nothing that depends on them."""
    data: Sequence[str] = ()
    """Files or folders that are read."""
    tallies: bool = False
    facts: dict[str, Any] = field(default_factory=dict)


class Unavailable(Exception):
    """This way cannot be measured here; the message says why."""


class Tally:
    """What was delivered: images, and for each the mean of the pixels of its middle row.

    So little is read of each image that the sum costs next to nothing, and so much that it knows the records.
    """

    def __init__(self, shape: tuple[int, int] | None, dtype: str | None) -> None:
        self.shape, self.dtype = shape, dtype
        self.images = 0
        self.checksum = 0.0

    def add(self, batch: Any) -> None:
        """Count a batch, array or CPU tensor: (B, H, W), (B, 1, H, W) or (B, H, W, 1), or a list of images (H, W).

        Raises ValueError when it is not of the shape and dtype that were asked for.
        """
        if isinstance(batch, list):
            for image in batch:
                self.add(image[None])
            return
        pixels = batch.numpy() if hasattr(batch, "numpy") else batch  # np.asarray of a tensor takes three times as long
        height, width = self.shape or pixels.shape[-2:]
        if pixels.size != len(pixels) * height * width or (self.dtype and pixels.dtype != self.dtype):
            raise ValueError(f"asked for {self.dtype} images of {height} x {width}, got {pixels.dtype} {pixels.shape}")
        row = pixels.reshape(len(pixels), height, width)[:, height // 2]
        self.checksum += float(row.sum(dtype=np.float64 if pixels.dtype.kind == "f" else np.int64)) / width
        self.images += len(pixels)

    def join(self, other: "Tally") -> None:
        """Add what another one counted."""
        self.images += other.images
        self.checksum += other.checksum


def serve(ways: Mapping[str, Callable[[Config], Way]]) -> None:
    """Be the worker that the command line asks for, until the input ends."""
    answers = _private_output()
    name, told = sys.argv[1], json.loads(sys.argv[2])
    config = Config(**{**told, "normalize": tuple(told["normalize"])})
    try:
        Path(config.work).mkdir(parents=True, exist_ok=True)
        way = ways[name](config)
        _say(answers, {"ready": _described(way)})
        for line in sys.stdin:
            _say(answers, {"go": measured, "release": released, "drop": dropped}[line.strip()](way, config))
    except Unavailable as reason:
        _say(answers, {"error": str(reason)})
    except Exception as exc:
        traceback.print_exc()
        _say(answers, {"error": f"{type(exc).__name__}: {exc}"})


def _private_output() -> int:
    """Keep the output for answers, and let everything that is printed go to the standard error."""
    answers = os.dup(1)
    os.dup2(2, 1)
    return answers


def _say(answers: int, document: Mapping[str, Any]) -> None:
    os.write(answers, (json.dumps(document) + "\n").encode())


def _described(way: Way) -> dict[str, Any]:
    told = {name: getattr(way, name) for name in ("verifies", "owns", "recipe", "records")}
    return {**told, "version": ", ".join(f"{one} {version(one)}" for one in way.packages)}


def measured(way: Way, config: Config) -> dict[str, Any]:
    """One epoch."""
    exact = way.records in ("records", "sources resized")
    tally = Tally((config.side, config.side) if exact else None, config.dtype if exact else None)
    begun = time.perf_counter()
    if way.tallies:
        way.epoch(tally)  # type: ignore[call-arg]
    else:
        for batch in way.epoch():  # type: ignore[call-arg]
            tally.add(batch)
    return {"images": tally.images, "seconds": time.perf_counter() - begun, "checksum": tally.checksum}


# -- a cold page cache -------------------------------------------------------------------------------------


def released(way: Way, _: Config) -> dict[str, Any]:
    """Let go of the pages that this process has mapped of its data; the next access maps them again."""
    files = {str(path.resolve()) for one in way.data for path in _files(Path(one))}
    libc = ctypes.CDLL(None, use_errno=True)
    for line in Path("/proc/self/maps").read_text().splitlines():
        span, *_, path = line.split(maxsplit=5)
        if path in files:
            start, end = (int(one, 16) for one in span.split("-"))
            libc.madvise(ctypes.c_void_p(start), ctypes.c_size_t(end - start), MADV_DONTNEED)
    return {}


def dropped(way: Way, _: Config) -> dict[str, Any]:
    """Take the data's pages out of the page cache; the share that the kernel kept all the same, by mincore(2).

    posix_fadvise(DONTNEED) leaves pages that are dirty or mapped: files are synced here, and every process that has
    mapped them must have been asked to release them.
    """
    files = [path for one in way.data for path in _files(Path(one))]
    for path in files:
        with path.open("rb") as file:
            os.fsync(file.fileno())
            os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
    resident, pages = np.sum([_resident(path) for path in files], axis=0)
    return {"resident": float(resident / pages)}


def _files(path: Path) -> Iterator[Path]:
    if path.is_dir():
        yield from (one for one in sorted(path.rglob("*")) if one.is_file() and one.stat().st_size)
    else:
        yield path


def _resident(path: Path) -> tuple[int, int]:
    """Pages of a file that are in memory, and all its pages."""
    size = path.stat().st_size
    pages = -(-size // mmap.PAGESIZE)
    found = np.zeros(pages, np.uint8)
    with path.open("rb") as file, mmap.mmap(file.fileno(), size, access=mmap.ACCESS_COPY) as mapped:
        start = ctypes.addressof(whole := ctypes.c_char.from_buffer(mapped))
        libc = ctypes.CDLL(None, use_errno=True)
        failed = libc.mincore(ctypes.c_void_p(start), ctypes.c_size_t(size), found.ctypes.data_as(ctypes.c_void_p))
        del whole
    if failed:
        raise OSError(ctypes.get_errno(), f"mincore of {path}")
    return int((found & 1).sum()), pages


# -- what several workers need -----------------------------------------------------------------------------


def prepared(config: Config, name: str, make: Callable[[Path], None]) -> Path:
    """A file or folder in the worker's own format: made the first time, found again later.

    It gets its name when it is whole, so that a worker that dies leaves nothing that looks finished.
    """
    target = Path(config.work) / name
    if not target.exists():
        part = target.with_name(f"part-{target.name}")
        _remove(part)
        make(part)
        part.rename(target)
    return target


def _remove(path: Path) -> None:
    if path.is_dir():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


def files_of(config: Config) -> list[str]:
    """The PNG files, in the order of their names."""
    return sorted(str(path) for path in Path(config.files).iterdir())


def as_json(config: Config) -> str:
    """What `serve` reads."""
    return json.dumps(asdict(config))
