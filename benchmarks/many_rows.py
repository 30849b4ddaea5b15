"""A cache of as many rows as one likes, on little disk: its shards are one file under many names (hard links).

    images/256x256/c/0/0/0   ─┐
    images/256x256/c/1/0/0   ─┼──  one file of S records of noise, and their index
    ...                      ─┘
    images/256x256/c/<last>/0/0    a file of its own, of as many records as are left

Everything else is as a build leaves it: each row has an id, a hash and a checksum of its own record, and every shard
is opened, checked and read as any other. What such a cache cannot show is a storage that is larger than the memory.
"""

import os
from pathlib import Path

import numpy as np
import pandas as pd
from cached_loading import publish

import resload
from resload.size import Size, as_ladder
from resload.store import layout, tables
from resload.store.layout import Manifest
from resload.store.plan import records_per_shard
from resload.store.shard import ShardWriter

SHARD_MB = 512
"""As `resload.build` has it."""
FIELDS = {"str": "some text", "float64": 1.0}
"""What a row's columns hold; whole numbers are 1."""


def make(path: Path, count: int, side: int, *, beside: tuple[int, ...] = ()) -> Path:
    """A cache of `count` rows at side x side, uint8.

    beside: further sizes that the ladder is meant to have; they are not written, and only make its shards as long as
    they would then be.
    """
    (size,) = as_ladder([side])
    per_shard = records_per_shard(count, as_ladder([side, *beside]), "uint8", SHARD_MB)
    recipe = {name: value for name, value in resload.Pipeline(1).settings().items() if name != "dtype"}
    manifest = Manifest((size,), "uint8", count, per_shard, recipe, 0, (count,), "0" * 64, "building")
    whole, last = divmod(count, per_shard)
    sums = np.empty(0, np.uint32)
    for group in range(manifest.groups):
        target = path / layout.shard_path(size, group)
        target.parent.mkdir(parents=True)
        if 0 < group < whole:
            os.link(path / layout.shard_path(size, 0), target)
        else:
            made = written(target, size, per_shard, len(manifest.rows_of(group)))
            sums = made if group == 0 else sums
    return publish(path, manifest, rows(count, size, np.resize(sums, count) if whole else sums[:last]))


def written(target: Path, size: Size, per_shard: int, count: int) -> np.ndarray:
    """A shard of noise; returns the checksum of each record, uint32 (count,)."""
    noise = np.random.default_rng(0).integers(0, 256, (64, *size), dtype=np.uint8)
    writer = ShardWriter(target, size=size, dtype="uint8", per_shard=per_shard)
    sums = [writer.put(k, noise[k % 64]) for k in range(count)]
    writer.finish(count)
    return np.array(sums, np.uint32)


def rows(count: int, size: Size, sums: np.ndarray) -> pd.DataFrame:
    """What the table says of the films: hashes that differ, as they do in a real one, and the records' checksums."""
    record = {name: FIELDS.get(kind, 1) for name, kind in tables.RESULTS.items()}
    record |= {"status": "ok", "levels": {str(size): [0, 1, 2]}}
    one = tables.results_frame([record], (size,))
    found = one.loc[one.index.repeat(count)].reset_index(drop=True)
    found[tables.level_column("crc32c", size)] = sums
    numbers = np.random.default_rng(0).integers(0, 2**62, count)
    found["source_hash"] = [f"{number:032x}" for number in numbers]
    return found


def disk_bytes(folder: Path) -> int:
    """What a folder takes on disk, a file of many names counted once."""
    found = {one.st_ino: one.st_blocks * 512 for one in map(os.stat, filter(Path.is_file, folder.rglob("*")))}
    return sum(found.values())
