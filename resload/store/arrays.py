"""The arrays of a cache at work: what writes one's shards, and what opens them, whether records are packed or not."""

from pathlib import Path
from typing import Any, Protocol

from numpy.typing import NDArray

from resload.pipeline.cpu import on_canvas
from resload.size import Native, Size
from resload.store import guarded, layout
from resload.store.documents import codec_of
from resload.store.layout import Manifest
from resload.store.packed import PackedShard, PackedWriter
from resload.store.remote import Location
from resload.store.shard import Shard, ShardWriter


class Writer(Protocol):
    """A shard under construction: `ShardWriter` or `PackedWriter`."""

    path: Path

    def put(self, k: int, pixels: NDArray[Any]) -> int:
        """Write record k; returns the crc32c of its bytes."""
        ...

    def finish(self, count: int) -> None:
        """Add the index, sync, close."""
        ...

    def close(self) -> None:
        """Close the file, finished or not."""
        ...


def writer(path: Path, manifest: Manifest, size: Size) -> Writer:
    """What writes a shard of one array to a temporary file."""
    if not layout.is_packed(size):
        return ShardWriter(path, size=size, dtype=manifest.dtype, per_shard=manifest.per_shard)
    return PackedWriter(
        path,
        shape=manifest.record_shape(size),
        dtype=manifest.record_dtype(size),
        per_shard=manifest.per_shard,
        codec=codec_of(manifest, size),
    )


def packed_shard(
    cache: Location, manifest: Manifest, size: Size, group: int, *, whole: bool = False, at: Path | None = None
) -> PackedShard:
    """A shard of compressed records, opened. Arguments as for `shard_of`. Raises CorruptCacheError."""
    return PackedShard(
        at or guarded.shard(cache, layout.shard_path(size, group)),
        shape=manifest.record_shape(size),
        dtype=manifest.record_dtype(size),
        per_shard=manifest.per_shard,
        count=len(manifest.rows_of(group)),
        codec=codec_of(manifest, size),
        whole=whole,
    )


def shard_of(
    cache: Location, manifest: Manifest, size: Size, group: int, *, whole: bool = False, at: Path | None = None
) -> Shard:
    """A shard of a level, opened for itself. Raises CorruptCacheError.

    whole: all of it is to be read, see `open_file`. at: a copy of it, which is opened instead.
    """
    return Shard(
        at or guarded.shard(cache, layout.shard_path(size, group)),
        size=size,
        dtype=manifest.dtype,
        per_shard=manifest.per_shard,
        count=len(manifest.rows_of(group)),
        whole=whole,
    )


def as_record(pixels: NDArray[Any], manifest: Manifest, size: Size) -> NDArray[Any]:
    """Pixels as an array's record: a film of its own size on the canvas of all of them; else themselves."""
    return on_canvas(pixels, manifest.record_shape(size)) if isinstance(size, Native) else pixels
