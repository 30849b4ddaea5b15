"""Damage to a cache: of any region and kind, drawn from a generator, done, and undone.

    intact = Intact(path, {"another's": other, "older": before})      all bytes of a small cache, and of its strangers
    damage = intact.draw(rng)                                         which bytes become which; nothing is done yet
    damage.apply(path)                                                now it is
    intact.changed(path), intact.restore(path)                        which files differ; all of them as they were

    bit, random, zeros, ones    a bit flipped; a run of bytes overwritten        inside one region
    cut, longer, gone           the file ends early; bytes behind its end; removed
    records swapped             two records of one shard, each with its sum, and the index that belongs to them
    files swapped               two files of one kind: shards of one array, documents, rows of groups
    the names given             the same file of another cache, or as it was before, in its place

What is drawn always changes a byte: where it would not, it is drawn again.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import TypeVar

import numpy as np
from crc32c import crc32c

from resload.errors import ArgumentError
from resload.store import layout
from resload.testing.regions import Region, regions

__all__ = ["KINDS", "Damage", "Intact", "Region", "regions"]

INSIDE = ("bit", "random", "zeros", "ones")
OF_FILES = ("cut", "longer", "gone")
SWAPS = ("records swapped", "files swapped")
KINDS = (*INSIDE, *OF_FILES, *SWAPS)
"""Those beside the names of other caches."""
_RUN = 64
"""Bytes of a run that is overwritten, or put behind the end, at most; one run in four is longer."""
_TRIES = 50
_T = TypeVar("_T")


@dataclass(frozen=True)
class Damage:
    """One case of damage: files, relative to the cache, and the bytes that they are to have; None for one that goes."""

    region: str
    kind: str
    files: Mapping[str, bytes | None]

    def apply(self, cache: Path) -> None:
        """Do it to the cache at a path."""
        for name, data in self.files.items():
            _put(cache / name, data)


class Intact:
    """A small cache in memory, with the caches whose files may be put in place of its own.

    cache: its folder, which must be intact now. others: what damage by the files of another cache is called -> that
    cache's folder.

    Thread-safe: nothing changes once it is made.
    """

    def __init__(self, cache: Path, others: Mapping[str, Path] | None = None) -> None:
        self.files = _read(cache)
        self.others = {kind: _read(folder) for kind, folder in (others or {}).items()}
        self.regions: dict[str, list[Region]] = {}
        """Name -> the regions that are called so."""
        for region in regions(cache):
            self.regions.setdefault(region.name, []).append(region)
        self._spans: dict[str, list[Region]] = {}
        self._per_shard = layout.read_manifest(cache, partial=True).per_shard
        for region in (one for name, found in self.regions.items() if name.endswith("records") for one in found):
            self._spans.setdefault(region.file, []).append(region)

    def kinds(self, region: str) -> list[str]:
        """The kinds of damage that can be done to a region."""
        found = [*INSIDE, *OF_FILES]
        files = {one.file for one in self.regions[region]}
        able = any(len(self._spans.get(file, ())) > 1 for file in files), any(map(self._alike, files))
        found += [kind for kind, possible in zip(SWAPS, able, strict=True) if possible]
        return found + [
            kind
            for kind, other in self.others.items()
            if any(other.get(file, self.files[file]) != self.files[file] for file in files)
        ]

    def _alike(self, file: str) -> list[str]:
        """Other files of the same kind: shards of the same array, or what is called alike."""
        return [other for other in self.files if other != file and _kind(other) == _kind(file)]

    def draw(self, rng: np.random.Generator, region: str | None = None, kind: str | None = None) -> Damage:
        """A case of damage: any region's name alike, then any kind alike, then any place.

        Raises ArgumentError for a kind that never changes a byte of the region.
        """
        name = region or _one(rng, list(self.regions))
        what = kind or _one(rng, self.kinds(name))
        for _ in range(_TRIES):
            files = self._drawn(rng, _one(rng, self.regions[name]), what)
            if any(data != self.files[file] for file, data in files.items()):
                return Damage(name, what, files)
        raise ArgumentError(f"{what!r} changes no byte of {name!r}; kinds that do: {self.kinds(name)}")

    def _drawn(self, rng: np.random.Generator, region: Region, kind: str) -> dict[str, bytes | None]:
        data = self.files[region.file]
        if kind in self.others:
            return {region.file: self.others[kind].get(region.file, data)}
        if kind == "files swapped":
            return self._files_swapped(rng, region.file)
        if kind == "records swapped":
            return {region.file: self._records_swapped(rng, region.file)}
        if kind in OF_FILES:
            return {region.file: _of_file(rng, data, region, kind)}
        return {region.file: _overwritten(rng, data, region, kind)}

    def _files_swapped(self, rng: np.random.Generator, file: str) -> dict[str, bytes | None]:
        alike = self._alike(file)
        if not alike:
            return {}
        other = _one(rng, alike)
        return {file: self.files[other], other: self.files[file]}

    def _records_swapped(self, rng: np.random.Generator, file: str) -> bytes:
        """The shard with two records in each other's place, and the index that belongs to it."""
        spans, data = self._spans.get(file, []), self.files[file]
        if len(spans) < 2:
            return data
        order = list(range(len(spans)))
        first, second = rng.choice(len(order), 2, replace=False).tolist()
        order[first], order[second] = second, first
        records = [data[spans[k].start : spans[k].stop + layout.CRC_BYTES] for k in order]
        index = np.full((self._per_shard, 2), layout.MISSING, "<u8")
        lengths = np.array([len(record) for record in records], np.uint64)
        index[: len(records), 0], index[: len(records), 1] = np.cumsum(lengths) - lengths, lengths
        body = index.tobytes()
        return b"".join(records) + body + crc32c(body).to_bytes(layout.CRC_BYTES, "little")

    def changed(self, cache: Path) -> set[str]:
        """Files of the cache at a path that are not as they were, missing and new ones among them."""
        found = _read(cache)
        return {name for name in {*found, *self.files} if found.get(name) != self.files.get(name)}

    def restore(self, cache: Path) -> None:
        """Make the cache at a path what it was."""
        for name in self.changed(cache):
            _put(cache / name, self.files.get(name))


def _of_file(rng: np.random.Generator, data: bytes, region: Region, kind: str) -> bytes | None:
    if kind == "gone":
        return None
    if kind == "cut":
        return data[: int(rng.integers(region.start, region.stop))]
    return data + _run(rng, _one(rng, ["random", "zeros", "ones", "lines"]), int(rng.integers(1, _RUN + 1)))


def _overwritten(rng: np.random.Generator, data: bytes, region: Region, kind: str) -> bytes:
    at = int(rng.integers(region.start, region.stop))
    found = bytearray(data)
    if kind == "bit":
        found[at] ^= 1 << int(rng.integers(8))
        return bytes(found)
    most = region.stop - at if rng.random() < 0.25 else min(_RUN, region.stop - at)
    length = int(rng.integers(1, most + 1))
    found[at : at + length] = _run(rng, kind, length)
    return bytes(found)


def _run(rng: np.random.Generator, kind: str, length: int) -> bytes:
    if kind == "random":
        return rng.bytes(length)
    return {"zeros": b"\x00", "ones": b"\xff", "lines": b"\n"}[kind] * length


def _one(rng: np.random.Generator, choices: Sequence[_T]) -> _T:
    return choices[int(rng.integers(len(choices)))]


def _kind(file: str) -> str:
    """What files have in common that may be swapped: the array of shards, or the group of levels' documents."""
    array, inside, _ = file.partition("/c/")
    if inside:
        return f"shards of {array}"
    path = PurePosixPath(file)
    return f"{path.name.partition('-')[0]} in {path.parent if path.stem.startswith('rows-') else path.parent.parent}"


def _read(cache: Path) -> dict[str, bytes]:
    return {path.relative_to(cache).as_posix(): path.read_bytes() for path in cache.rglob("*") if path.is_file()}


def _put(path: Path, data: bytes | None) -> None:
    if data is None:
        path.unlink(missing_ok=True)
        return
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data)
