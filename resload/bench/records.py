"""Which records of a cache are used: a random sample of a few of its shards, and where they lie."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from resload import seeds
from resload.bench.pages import Piece
from resload.bench.settings import Settings, in_pixels
from resload.errors import ArgumentError
from resload.size import Native, Size, as_spacing
from resload.store import layout
from resload.store.arrays import packed_shard
from resload.store.cache import Cache
from resload.store.layout import Manifest

SAMPLE_BYTES = 256 << 20
"""Of records: more than processors cache, little enough to be read within a second from most disks."""
MOST_SHARDS = 8
MOST_ROWS = 1 << 14


def sample(cache: Cache, manifest: Manifest, level: Size, seed: int) -> tuple[NDArray[np.int64], list[Piece]]:
    """Readable rows of a few shards in a random order, int64 (n,), and the records of the level that they have.

    Each of the shards gives the same share of `SAMPLE_BYTES` and `MOST_ROWS`. Raises ArgumentError when no row can be
    read, CorruptCacheError for a damaged index.
    """
    readable = cache.rows()
    if not len(readable):
        raise ArgumentError(f"{cache.path}: there is no readable radiograph here")
    groups = np.unique(readable // manifest.per_shard)
    groups = groups[seeds.permutation(len(groups), seed, 0, "bench")[:MOST_SHARDS]]
    rows: list[int] = []
    pieces: list[Piece] = []
    for number, group in enumerate(groups.tolist(), 1):
        own = readable[readable // manifest.per_shard == group]
        own = own[seeds.permutation(len(own), seed, 0, "bench", number)][: MOST_ROWS // len(groups)]
        found = records_of(cache, manifest, level, group, own.tolist())
        most = int(np.searchsorted(np.cumsum([piece.length for piece in found]), SAMPLE_BYTES // len(groups))) + 1
        rows += own[:most].tolist()
        pieces += found[:most]
    order = seeds.permutation(len(rows), seed, 0, "bench")
    return np.array(rows)[order], [pieces[i] for i in order.tolist()]


def records_of(cache: Cache, manifest: Manifest, level: Size, group: int, rows: Sequence[int]) -> list[Piece]:
    """Where these rows of one row group lie: pixels, compressed or not, and checksum."""
    path = cache.path / layout.shard_path(level, group)
    if not isinstance(path, Path):
        raise ArgumentError(f"{cache.path}: bench measures files of this machine; copy the cache here")
    numbers = [row % manifest.per_shard for row in rows]
    if isinstance(level, Native):
        shard = packed_shard(cache.path, manifest, level, group)
        return [Piece(path, *shard.span(k)) for k in numbers]
    step = layout.record_bytes(level, manifest.dtype)
    return [Piece(path, k * step, step) for k in numbers]


def size_of(cache: Cache, settings: Settings) -> Size:
    """The size asked for, in pixels; the largest stored one where none was."""
    if settings.size is None:
        pixels = [size for size in cache.sizes if not isinstance(size, Native)]
        if not pixels:
            raise ArgumentError(f"{cache.path} stores films at their own size alone: say which size to load, --size S")
        return pixels[-1]
    return in_pixels(settings.size if as_spacing(settings.size) is None else cache.serving(settings.size).size)
