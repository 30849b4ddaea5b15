"""What lies where a cache is, and what that cache serves: to compare one that met a fault with one that did not."""

import hashlib
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from resload.errors import CorruptCacheError
from resload.size import Native, Size

if TYPE_CHECKING:
    from resload.store.cache import Cache

FOLDER = "folder"


class Place:
    """A folder of this machine as a place for caches. Another kind of place has the same five methods."""

    def __init__(self, path: Path) -> None:
        self.path = path
        """As `build` and `open_cache` take it."""

    def __truediv__(self, name: str) -> "Place":
        return Place(self.path / name)

    def tree(self) -> dict[str, str]:
        """Every name below it, empty folders too: the SHA-256 (hex) of a file, FOLDER of a folder."""
        return {path.relative_to(self.path).as_posix(): _sum(path) for path in sorted(self.path.rglob("*"))}

    def copy_to(self, other: "Place") -> None:
        """All of it to another place of this kind, where nothing is yet."""
        shutil.copytree(self.path, other.path)

    def change(self, name: str, data: bytes | None) -> None:
        """Replace one file below it; remove it where there is no data."""
        if data is None:
            (self.path / name).unlink()
        else:
            (self.path / name).write_bytes(data)

    def clear(self) -> None:
        """Remove all of it."""
        shutil.rmtree(self.path, ignore_errors=True)


def _sum(path: Path) -> str:
    return FOLDER if path.is_dir() else hashlib.sha256(path.read_bytes()).hexdigest()


def different(found: dict[str, str], expected: dict[str, str]) -> list[str]:
    """What two trees differ in, in words; nothing where they are the same."""
    return [
        f"{name}: {'missing' if name not in found else 'should not be' if name not in expected else 'differs'}"
        for name in sorted(found.keys() | expected.keys())
        if found.get(name) != expected.get(name)
    ]


@dataclass(frozen=True)
class Served:
    """What a cache serves, as sums."""

    table: str
    """Of the table and the names of its targets."""
    boxes: str
    """Of the boxes; "" where there are none."""
    pixels: dict[tuple[str, str], str]
    """Of the pixels, and the masks, of each (array, id) that has any."""
    refused: frozenset[tuple[str, str]]
    """(array, id) for which reading raised CorruptCacheError."""


def served(cache: "Cache") -> Served:
    """Read all that a cache serves: each readable row at each of its sizes, and its masks.

    Of a cache of which only a part is there, the table is that of the part.
    """
    pixels: dict[tuple[str, str], str] = {}
    refused = set()
    ids = cache.table["id"].astype(str).tolist()
    for row in cache.rows().tolist():
        for name, read in _reads(cache):
            try:
                pixels[name, ids[row]] = hashlib.sha256(np.ascontiguousarray(read(row)).tobytes()).hexdigest()
            except CorruptCacheError:
                refused.add((name, ids[row]))
    table = _sum_of(f"{cache.targets}\n{cache.table.to_csv()}")
    boxes = "" if cache.boxes is None else _sum_of(cache.boxes.to_csv())
    return Served(table, boxes, pixels, frozenset(refused))


def _sum_of(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


def _reads(cache: "Cache") -> list[tuple[str, Callable[[int], NDArray[Any]]]]:
    """Each array by its name, and what reads one of its rows."""
    reads: list[tuple[str, Callable[[int], NDArray[Any]]]] = []
    for size in cache.sizes:
        reads.append((str(size), partial(_image, cache, size)))
        if cache.masks and not isinstance(size, Native):
            reads.append((f"masks_{size}", partial(_masks, cache, size)))
    return reads


def _image(cache: "Cache", size: Size, row: int) -> NDArray[Any]:
    return cache.read([row], size)


def _masks(cache: "Cache", size: Size, row: int) -> NDArray[Any]:
    return cache.read_masks([row], size)
