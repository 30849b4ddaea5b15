"""Which bytes of a cache are what: every file of it cut into named regions.

    manifest                     the root's zarr.json
    group document               of images, of masks                level document     of one size, of its masks
    <array> records              pixels; of native and masks,       <array> sums       the four bytes behind each
                                 which are compressed, their bytes
    <array> index                of a shard                         <array> index sum  the four bytes behind it
    <table> magic                the first and last four bytes      <table> columns    all before the footer
    <table> footer               Parquet's metadata and its length
    plan, rows                   of an unfinished build

<array> is level, native or masks, <table> is samples or boxes.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from resload.size import Native, Size
from resload.store import layout
from resload.store.arrays import packed_shard
from resload.store.layout import Manifest, Masks

_MAGIC, _LENGTH = 4, 4
"""Bytes of Parquet's `PAR1` at both ends, and of the footer's length before the last one (parquet-format)."""


@dataclass(frozen=True)
class Region:
    """Bytes start .. stop of one file."""

    name: str
    file: str
    """Relative to the cache, with slashes."""
    start: int
    stop: int


def regions(cache: Path) -> list[Region]:
    """Every byte of every file of an intact cache, finished or not, each in one region. Reads the cache's metadata.

    Raises CacheError where there is no intact cache.
    """
    manifest = layout.read_manifest(cache, partial=True)
    found = [*_documents(cache, manifest), *_unfinished(cache)]
    for size in manifest.arrays:
        for group in range(manifest.groups):
            if (cache / layout.shard_path(size, group)).exists():
                found += _shard(cache, manifest, size, group)
    for name in (layout.SAMPLES, layout.BOXES):
        if (cache / name).exists():
            found += _table(cache, name)
    return found


def _documents(cache: Path, manifest: Manifest) -> Iterator[Region]:
    yield _whole(cache, "manifest", layout.MANIFEST)
    folders = [layout.level_folder(size) for size in manifest.arrays]
    for folder in dict.fromkeys([*(one.split("/")[0] for one in folders), *folders]):
        name = f"{folder}/{layout.MANIFEST}"
        if (cache / name).exists():
            yield _whole(cache, "level document" if "/" in folder else "group document", name)


def _unfinished(cache: Path) -> Iterator[Region]:
    for path in sorted((cache / layout.BUILD).glob("*.json")):
        yield _whole(cache, path.stem.partition("-")[0], f"{layout.BUILD}/{path.name}")


def _whole(cache: Path, name: str, file: str) -> Region:
    return Region(name, file, 0, (cache / file).stat().st_size)


def _shard(cache: Path, manifest: Manifest, size: Size, group: int) -> Iterator[Region]:
    file = layout.shard_path(size, group)
    array = "masks" if isinstance(size, Masks) else "native" if isinstance(size, Native) else "level"
    for offset, length in spans(cache, manifest, size, group):
        body = offset + length - layout.CRC_BYTES
        yield Region(f"{array} records", file, offset, body)
        yield Region(f"{array} sums", file, body, offset + length)
    end = (cache / file).stat().st_size
    start = end - layout.index_bytes(manifest.per_shard)
    yield Region(f"{array} index", file, start, end - layout.CRC_BYTES)
    yield Region(f"{array} index sum", file, end - layout.CRC_BYTES, end)


def spans(cache: Path, manifest: Manifest, size: Size, group: int) -> list[tuple[int, int]]:
    """(offset, length) of each record of a shard, its checksum included."""
    if layout.is_packed(size):
        shard = packed_shard(cache, manifest, size, group)
        return [shard.span(k) for k in range(shard.present)]
    step = layout.record_bytes(size, manifest.dtype)
    length = (cache / layout.shard_path(size, group)).stat().st_size - layout.index_bytes(manifest.per_shard)
    return [(offset, step) for offset in range(0, length, step)]


def _table(cache: Path, file: str) -> Iterator[Region]:
    name = file.partition(".")[0]
    data = (cache / file).read_bytes()
    end = len(data) - _MAGIC
    start = end - _LENGTH - int.from_bytes(data[end - _LENGTH : end], "little")
    yield Region(f"{name} magic", file, 0, _MAGIC)
    yield Region(f"{name} columns", file, _MAGIC, start)
    yield Region(f"{name} footer", file, start, end)
    yield Region(f"{name} magic", file, end, len(data))
