"""Checking a cache record by record: every level, every record, both of its checksums, every document."""

import json
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from crc32c import crc32c
from numpy.typing import NDArray
from tqdm import tqdm

from resload.errors import CorruptCacheError
from resload.size import Size
from resload.store import documents, layout, tables
from resload.store.arrays import packed_shard
from resload.store.cache import Cache
from resload.store.layout import Manifest
from resload.store.shard import Shard
from resload.threads import ordered_map, thread_count

if TYPE_CHECKING:
    pass


@dataclass(frozen=True)
class Problem:
    """One thing that is wrong."""

    file: str
    """Relative to the cache."""
    what: str
    """In words."""
    row: int | None = None
    """The row whose record it is; None when the whole file is meant."""
    id: str | None = None


@dataclass(frozen=True)
class Report:
    """What `verify` or `repair` found."""

    records: int
    """How many records were read."""
    problems: tuple[Problem, ...]
    repaired: int = 0
    """How many records `repair` made again."""

    @property
    def ok(self) -> bool:
        """True when nothing is wrong."""
        return not self.problems


def verify(cache: Cache | str | os.PathLike[str], *, threads: int | None = None, progress: bool = True) -> Report:
    """Read every record of every level and compare it with both of its checksums.

    cache: an open cache (all of it is checked, also when this is a view) or its path. Quarantined rows are checked
    too: theirs are zeros. Everything that is wrong is listed; nothing is changed. The tables' own sums are verified
    by opening the cache, which raises CorruptCacheError.
    """
    path = cache.path if isinstance(cache, Cache) else Path(cache)
    manifest = layout.read_manifest(path)
    shards = [(size, group) for size in manifest.arrays for group in range(manifest.groups)]
    table, _ = tables.read_samples(path, manifest, levels=True)
    sums = {size: table[tables.level_column("crc32c", size)].to_numpy(np.uint32) for size in manifest.arrays}
    ids = table["id"].tolist()
    bar = tqdm(total=len(shards), unit="shard", desc=f"verify {path.name}", disable=None if progress else True)

    def check(one: tuple[Size, int]) -> list[Problem]:
        rows = manifest.rows_of(one[1])
        return _check_shard(path, manifest, *one, sums[one[0]][rows.start : rows.stop], ids)

    problems = _check_documents(path, manifest)
    count = thread_count(threads)
    for found in ordered_map(check, shards, threads=count, window=4 * count):
        problems += found
        bar.update()
    bar.close()
    return Report(manifest.count * len(manifest.arrays), tuple(problems))


def _check_documents(cache: Path, manifest: Manifest) -> list[Problem]:
    """Every metadata document must say what the manifest implies, or other Zarr readers see something else."""
    expected = {
        layout.MANIFEST: documents.root_document(manifest),
        **{f"{name}/{layout.MANIFEST}": one for name, one in documents.group_documents(manifest).items()},
    }
    for size in manifest.arrays:
        expected[f"{layout.level_folder(size)}/{layout.MANIFEST}"] = documents.array_document(manifest, size)
    problems = []
    for name, document in expected.items():
        try:
            same = json.loads((cache / name).read_bytes()) == json.loads(documents.as_json(document))
        except (OSError, ValueError):
            same = False
        if not same:
            problems.append(Problem(name, "missing, or not what the manifest implies"))
    return problems


def _check_shard(
    cache: Path, manifest: Manifest, size: Size, group: int, expected: NDArray[np.uint32], ids: Sequence[str]
) -> list[Problem]:
    name = layout.shard_path(size, group)
    rows = manifest.rows_of(group)
    if layout.is_packed(size):
        return _check_packed(cache, manifest, size, group, expected, ids)
    try:
        shard = open_shard(cache, manifest, size, group)
    except CorruptCacheError as exc:
        return [Problem(name, str(exc).partition(": ")[2].partition(";")[0])]
    problems: list[Problem] = []
    record = bytearray(shard.step)
    for k, row in enumerate(rows):
        try:
            body_sum, stored = record_sums(shard, k, record)
        except CorruptCacheError as exc:
            return [*problems, Problem(name, str(exc).partition(": ")[2].partition(";")[0])]
        if not body_sum == stored == int(expected[k]):
            what = (
                f"record {k}: its pixels sum to {body_sum:08x}, the shard says {stored:08x}, "
                f"the table says {int(expected[k]):08x} (crc32c)"
            )
            problems.append(Problem(name, what, row, ids[row]))
    return problems


def _check_packed(
    cache: Path, manifest: Manifest, size: Size, group: int, expected: NDArray[np.uint32], ids: Sequence[str]
) -> list[Problem]:
    """Compressed records: both sums of each, and that it decodes to its shape."""
    name, rows = layout.shard_path(size, group), manifest.rows_of(group)
    try:
        shard = packed_shard(cache, manifest, size, group)
    except CorruptCacheError as exc:
        return [Problem(name, _words(exc))]
    problems = []
    for k, row in enumerate(rows):
        try:
            shard.read(k, int(expected[k]))
        except CorruptCacheError as exc:
            problems.append(Problem(name, _words(exc), row, ids[row]))
    return problems


def _words(error: CorruptCacheError) -> str:
    """What is wrong, without the file's name and the remedy."""
    return str(error).partition(": ")[2].rpartition(";")[0]


def open_shard(cache: Path, manifest: Manifest, size: Size, group: int) -> Shard:
    """A shard, opened for itself. Raises CorruptCacheError."""
    return Shard(
        cache / layout.shard_path(size, group),
        size=size,
        dtype=manifest.dtype,
        per_shard=manifest.per_shard,
        count=len(manifest.rows_of(group)),
    )


def record_sums(shard: Shard, k: int, record: bytearray) -> tuple[int, int]:
    """(the sum of record k's pixels, the sum stored behind them); the record is left in the buffer."""
    shard.read_into(memoryview(record), k * shard.step)
    body = memoryview(record)[: -layout.CRC_BYTES]
    return crc32c(body), int.from_bytes(record[-layout.CRC_BYTES :], "little")
