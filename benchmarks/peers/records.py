"""The shared records: the same radiograph-like images as a cache, a memory map, and PNG files.

    WORK/records-256-8192/   images.npy   uint8 (N, 256, 256)
                             images.zarr  the same as a cache, written through the very code that a build uses
                             png/         the same as PNG files, when they are asked for
    WORK/sources-256/png/    films of 1024 x 1024: real ones where RESLOAD_DATA has them, else synthetic ones

A record is a square cut out of a film that was resized to a little more, turned or mirrored: there are fewer films
than records, and no two records are alike, while they compress and look like radiographs.
"""

import os
import shutil
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import imagecodecs
import numpy as np
import pandas as pd
from cached_loading import publish

import resload
from resload.resampling import resample
from resload.size import as_size
from resload.store import layout, tables
from resload.store.layout import Manifest
from resload.store.shard import ShardWriter
from resload.testing import synthetic_film

FILMS = 88
"""Films that records are cut from: as many as the real ones that we have."""
MARGIN = 1.25
"""A film's side in those of a record."""


def whole(folder: Path, make: Callable[[Path], None]) -> Path:
    """The folder, made now unless it is there; it has its name only when it is whole."""
    if not folder.exists():
        part = folder.with_name(f"part-{folder.name}")
        shutil.rmtree(part, ignore_errors=True)
        part.mkdir(parents=True)
        make(part)
        part.rename(folder)
    return folder


def records(work: Path, side: int, count: int) -> Path:
    """A folder with images.npy and images.zarr."""

    def make(folder: Path) -> None:
        made = np.lib.format.open_memmap(folder / "images.npy", "w+", np.uint8, (count, side, side))
        films = [resample(film, round(side * MARGIN)) for film in films_of(min(FILMS, count))]
        for index in range(count):
            made[index] = cut(films[index % len(films)], side, index)
        made.flush()
        cache_of(folder / "images.zarr", made)

    return whole(work / f"records-{side}-{count}{kind()}", make)


def pngs_of(folder: Path) -> Path:
    """The records of a folder as PNG files beside them."""

    def make(target: Path) -> None:
        images = np.load(folder / "images.npy", mmap_mode="r")

        def one(index: int) -> None:
            (target / f"{index:06d}.png").write_bytes(imagecodecs.png_encode(np.array(images[index])))

        with ThreadPoolExecutor(2) as pool:
            list(pool.map(one, range(len(images))))

    return whole(folder / "png", make)


def sources(work: Path, count: int) -> Path:
    """A folder of `count` gray PNG files of 1024 x 1024; films are repeated, as files of their own, when too few."""

    def make(folder: Path) -> None:
        (folder / "png").mkdir()
        real = real_films()
        for index in range(count):
            if real:
                data = real[index % len(real)].read_bytes()
            else:
                data = imagecodecs.png_encode(synthetic_film(index % FILMS, size=1024).pixels)
            (folder / "png" / f"{index:04d}.png").write_bytes(data)

    return whole(work / f"sources-{count}{kind()}", make) / "png"


# -- films -------------------------------------------------------------------------------------------------


def described() -> str:
    """Which films they are, for the results."""
    real = real_films()
    return f"{len(real)} films of NIH ChestX-ray14" if real else f"{FILMS} synthetic films (no RESLOAD_DATA)"


def kind() -> str:
    return "" if real_films() else "-synthetic"


def real_films() -> list[Path]:
    """The gray 8-bit films of 1024 x 1024 among NIH's images, where RESLOAD_DATA points to them."""
    if "RESLOAD_DATA" not in os.environ:
        return []
    found = sorted((Path(os.environ["RESLOAD_DATA"]) / "nih" / "images").glob("*.png"))
    return [path for path in found if gray_1024(path)]


def gray_1024(path: Path) -> bool:
    """By the header chunk of a PNG: width, height, 8 bits, no colour (PNG specification, 11.2.2)."""
    with path.open("rb") as file:
        return file.read(26)[16:] == (1024).to_bytes(4, "big") * 2 + bytes([8, 0])


def films_of(count: int) -> Sequence[np.ndarray]:
    real = real_films()[:count]
    if real:
        return [imagecodecs.png_decode(path.read_bytes()) for path in real]
    return [np.asarray(synthetic_film(index, size=512).pixels) for index in range(count)]


def cut(film: np.ndarray, side: int, index: int) -> np.ndarray:
    """Record number `index` of a film: uint8 (side, side)."""
    rng = np.random.default_rng((0, index))
    y, x = rng.integers(0, len(film) - side + 1, 2)
    part = np.rot90(film[y : y + side, x : x + side], rng.integers(4))
    return part if rng.random() < 0.5 else part[:, ::-1]


# -- the cache ---------------------------------------------------------------------------------------------


def cache_of(path: Path, images: np.ndarray) -> None:
    """A complete cache of these images, row for row, as a build writes it."""
    size = as_size(images.shape[1])
    count = len(images)
    recipe = {name: value for name, value in resload.Pipeline(1).settings().items() if name != "dtype"}
    manifest = Manifest((size,), "uint8", count, 1024, recipe, 0, (count,), "0" * 64, "building")
    sums = np.zeros(count, np.uint32)
    for group in range(manifest.groups):
        rows = manifest.rows_of(group)
        target = path / layout.shard_path(size, group)
        target.parent.mkdir(parents=True, exist_ok=True)
        writer = ShardWriter(target, size=size, dtype="uint8", per_shard=manifest.per_shard)
        sums[rows.start : rows.stop] = [writer.put(row - rows.start, np.ascontiguousarray(images[row])) for row in rows]
        writer.finish(len(rows))
    publish(path, manifest, frame(count, size, sums))


def frame(count: int, size: "resload.size.Size", sums: np.ndarray) -> pd.DataFrame:
    """What a build knows of each record."""
    record = {
        **{name: 1.0 if kind == "float64" else "" if kind == "str" else 1 for name, kind in tables.RESULTS.items()},
        "status": "ok",
        "levels": {str(size): [0, 0, 0]},
    }
    results = tables.results_frame([record], (size,))
    results = results.loc[results.index.repeat(count)].reset_index(drop=True)
    results[tables.level_column("crc32c", size)] = sums
    return results
