"""What all views of one cache share: its open files, and pixels of any size from them."""

import threading
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from resload import forks
from resload.errors import ArgumentError, SizeError
from resload.geometry import Rect
from resload.masks.areas import recovered
from resload.masks.inside import nearest as nearest_of
from resload.masks.rects import Placed
from resload.pipeline import Pipeline
from resload.pipeline.cpu import levels_of
from resload.resampling import pyramid
from resload.residence import Residences
from resload.size import Native, Size
from resload.store import tables, whole
from resload.store.gather import Level
from resload.store.layout import Masks
from resload.store.mirror import Mirror
from resload.store.native import Packed
from resload.store.opened import Shards
from resload.store.serving import Serving
from resload.store.slot import Slot

_LET_GO = 1.0
"""Seconds after which copies that were removed from a mirror are looked for, which keep their bytes while open."""
_BUFFER_BYTES = 1 << 20
"""Of levels that are read before they are resized: near the core."""


class Stored:
    """A cache's files, and what the table remembers of each array's records. Thread-safe. Rows are the cache's own.

    All of it was read when the cache was opened, so that a cache stays whole in this process when another one adds
    sizes to it or corrects its tables.
    """

    def __init__(self, shards: Shards, levels: pd.DataFrame, serving: Serving) -> None:
        self.shards = shards
        self.manifest = shards.manifest
        self.path = shards.cache
        self.serving = serving
        self._levels: dict[Size, Level] = {}
        self._packed: dict[Size, Packed] = {}
        self._recipes: dict[Size, Pipeline] = {}
        self._lock = forks.lock()
        self._local = threading.local()
        self.residences = Residences(self.manifest.count, np.dtype(self.manifest.dtype))
        """Pixels that stay on devices, for loaders with resident=True."""
        self._columns = {str(name): levels[name].to_numpy() for name in levels}

    def crcs(self, size: Size) -> NDArray[np.uint32]:
        """Checksums of an array's records, uint32 (N,)."""
        return self._columns[tables.level_column("crc32c", size)]

    def sums(self, size: Size) -> tuple[NDArray[np.uint64], NDArray[np.uint64]]:
        """Sum and sum of squares of each record's pixels, uint64 (N,)."""
        return tuple(self._columns[tables.level_column(kind, size)] for kind in ("sum", "sumsq"))  # type: ignore[return-value]  # there are two

    def pixels(self, rows: NDArray[np.int64], size: Size) -> int:
        """How many pixels these rows have at a size; at their own, those of the films without the canvas."""
        if isinstance(size, Native):
            return int(self.serving.films[rows, :2].prod(axis=1).sum())
        return len(rows) * size.pixels

    def level(self, size: Size) -> Level:
        """The reader of one level; the same object until `close`."""
        level = self._levels.get(size)
        if level is None:
            with self._lock:
                level = self._levels.setdefault(size, Level(self.shards, size, self.crcs(size)))
        return level

    def packed(self, size: Size) -> Packed:
        """The reader of one array of compressed records."""
        found = self._packed.get(size)
        if found is None:
            own = next(one for one in self.manifest.arrays if one == size)  # all natives are equal: the cache's canvas
            with self._lock:
                found = self._packed.setdefault(size, Packed(self.shards, own, self.crcs(size)))
        return found

    def close(self) -> None:
        """Let go of open files and of levels held in memory."""
        with self._lock:
            self._levels.clear()
            for packed in self._packed.values():
                packed.close()
        self.shards.close()

    # -- pixels --

    def fill(
        self, slot: Slot, rows: NDArray[np.int64], size: Size, start: int, *, allow_upsample: bool = False
    ) -> None:
        """These rows at a size, into images start .. of a slot."""
        level = self.serving.level_for(size, allow_upsample=allow_upsample)
        out = slot.out[start : start + len(rows)]
        if isinstance(level, Native):
            self._from_films(out, rows, size)
        elif level == size:
            self.level(level).read(rows, slot, start)
        else:
            self._resample(out, rows, level, size, None)

    def ahead(self, rows: NDArray[np.int64], size: Size, *, allow_upsample: bool = False) -> int:
        """These rows are read soon, at this size; how many bytes that will be, 0 where the system is not told."""
        level = self.serving.served(size, allow_upsample=allow_upsample).level
        return 0 if isinstance(level, Native) else self.level(level).ahead(rows)

    def sweep(
        self, rows: NDArray[np.int64], sizes: Sequence[Size], *, allow_upsample: bool = False
    ) -> whole.Sweep | None:
        """Begin to read the shards of these rows at these sizes, as `whole` says; None where nothing is to be read."""
        levels = {self.serving.served(size, allow_upsample=allow_upsample).level for size in sizes}
        stored = sorted(level for level in levels if not isinstance(level, Native))
        files = [path for level in stored for path in self.level(level).cold(rows)]
        if not files or not whole.SWEEPS or not whole.fits(sum(path.stat().st_size for path in files if path.exists())):
            return None
        return whole.Sweep(files)

    def expecting(
        self, steps: Iterable[tuple[NDArray[np.int64], Sequence[Size]]], *, allow_upsample: bool = False
    ) -> AbstractContextManager[Callable[[int], None]] | None:
        """While these rows are read at these sizes, step by step: what comes next is fetched into the mirror.

        The context gives what is to be called with the number of each step once all before it were read; None where
        there is no mirror. A row's masks are not known to be wanted: they are fetched when they are read.
        """
        mirror, per_shard = self.shards.mirror, self.manifest.per_shard
        if mirror is None:
            return None
        levels: dict[Size, Size] = {}
        wanted = []
        for rows, sizes in steps:
            for size in sizes:
                if size not in levels:
                    levels[size] = self.serving.served(size, allow_upsample=allow_upsample).level
            groups = np.unique(rows // per_shard).tolist()
            wanted.append([(level, group) for level in {levels[size] for size in sizes} for group in groups])
        return self._followed(mirror, wanted)

    @contextmanager
    def _followed(
        self, mirror: Mirror, wanted: Sequence[Sequence[tuple[Size, int]]]
    ) -> Iterator[Callable[[int], None]]:
        looked = time.monotonic()
        with mirror.expecting(wanted) as passed:

            def at(step: int) -> None:
                nonlocal looked
                passed(step)
                if time.monotonic() - looked > _LET_GO:
                    looked = time.monotonic()
                    self.shards.let_go()
                    for packed in list(self._packed.values()):
                        packed.let_go()

            yield at

    def fill_regions(
        self,
        out: NDArray[Any],
        rows: NDArray[np.int64],
        regions: NDArray[np.int64],
        size: Size,
        *,
        allow_upsample: bool = False,
    ) -> None:
        """Parts of these rows' films, (y, x, height, width) in source pixels, resized to `size`, into (n, *size)."""
        level = self.serving.region_level(regions, rows, size, allow_upsample=allow_upsample)
        if not isinstance(level, Native):
            self._resample(out, rows, level, size, regions)
            return
        for image, row, region in zip(out, rows.tolist(), regions.tolist(), strict=True):
            image[...] = pyramid(self.film(row)[Rect(*region).slices], [size], kernel=self.serving.kernel)[0]

    def film(self, row: int) -> NDArray[Any]:
        """One film at its own size, (H, W), a new array."""
        assert self.serving.native is not None
        height, width = self.serving.films[row, :2].astype(int).tolist()
        return self.packed(self.serving.native).read(row, height=height)[:, :width]

    def _from_films(self, out: NDArray[Any], rows: NDArray[np.int64], size: Size) -> None:
        """From the films at their own size: themselves, or what the pipeline makes of them."""
        recipe = None if isinstance(size, Native) else self._recipe(size)
        for image, row, place in zip(out, rows.tolist(), self.serving.places(size, rows).tolist(), strict=True):
            film = self.film(row)
            if recipe is not None:
                image[...] = levels_of(recipe, film, [(Rect(*place[:4]), Rect(*place[4:]))])[0]
                continue
            height, width = film.shape
            image[:height, :width] = film
            image[height:] = 0
            image[:height, width:] = 0

    def _recipe(self, size: Size) -> Pipeline:
        found = self._recipes.get(size)
        if found is None:
            found = Pipeline((size,), dtype=self.manifest.dtype, **self.manifest.recipe)
            self._recipes[size] = found
        return found

    def _resample(
        self,
        out: NDArray[Any],
        rows: NDArray[np.int64],
        level: Size,
        size: Size,
        regions: NDArray[np.int64] | None,
    ) -> None:
        """Read rows at a level, a few at a time into this thread's own buffer, and resize them into `out`."""
        slot = self._buffer(level)
        for first in range(0, len(rows), len(slot.out)):
            part = slice(first, min(first + len(slot.out), len(rows)))
            self.level(level).read(rows[part], slot)
            images = slot.out[: part.stop - first]
            of_part = None if regions is None else regions[part]
            self.serving.resample(images, rows[part], level, size, out[part], of_part)

    def _buffer(self, level: Size) -> Slot:
        """This thread's place for images of a level: new memory costs a page fault for every 4 KB of it."""
        slots: dict[Size, Slot] = self._local.__dict__.setdefault("slots", {})
        if level not in slots:
            if len(slots) > 3:
                slots.clear()
            dtype = np.dtype(self.manifest.dtype)
            count = max(1, _BUFFER_BYTES // (level.pixels * dtype.itemsize))
            slots[level] = Slot(np.empty((count, *level), dtype))
        return slots[level]

    # -- masks --

    def masks(self, rows: NDArray[np.int64], size: Size, *, nearest: bool = False) -> NDArray[np.uint8]:
        """The coverage of these rows' masks at a size, uint8 (n, K, H, W), a new array.

        nearest: 255 where the centre of a pixel is inside by the largest level, else 0.
        """
        labels = self.manifest.masks
        if not labels:
            raise ArgumentError(f"{self.path}: this cache has no masks; build it from a Catalog with masks=")
        level = self._mask_level(size, largest=nearest)
        out = np.zeros((len(rows), len(labels), *size), np.uint8)
        there = self.packed(Masks(*level))
        own, wanted = (self.serving.places(one, rows).tolist() for one in (level, size))
        for image, row, stored, place in zip(out, rows.tolist(), own, wanted, strict=True):
            if level == size and not nearest:
                there.read(row, out=image)
                continue
            coverage = there.read(row)
            if not coverage.any():
                continue
            if nearest:
                image[...] = nearest_of(coverage, _placed(stored), _placed(place), size) * np.uint8(255)
            else:
                image[...] = recovered(coverage, _placed(stored), _placed(place), size)
        return out

    def _mask_level(self, size: Size, *, largest: bool) -> Size:
        """The level whose masks serve a size: itself, else the smallest that is not smaller, else the largest."""
        able = self.serving.showing(size)
        if not able:
            raise SizeError(
                f"{self.path}: no stored masks hold all of a film that {size} shows; masks are kept at sizes in "
                "pixels: add one by running resload.build again, or read masks from the files"
            )
        if size in able and not largest:
            return size
        fit = [one for one in able if one.height >= size.height and one.width >= size.width]
        return fit[0] if fit and not largest else able[-1]


def _placed(place: list[int]) -> Placed:
    y, x, height, width, *target = place
    return (y, x, height, width), (target[0], target[1], target[2], target[3])
