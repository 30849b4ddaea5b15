"""The steps of loading from a cache, each alone, on a sample of its records.

a stored size          read, sum (, convert)
small records          held in memory once read: a copy from there (, convert)
a size in between      read, sum, resize (, convert)
from the native level  read, sum, decompress, resize (, convert)
"""

from functools import cached_property
from typing import Any

import numpy as np
import torch
from crc32c import crc32c
from numpy.typing import NDArray

from resload.bench import pages
from resload.bench.clock import Rate, Work, alone, on_threads
from resload.bench.found import (
    CHECKSUM,
    COLD,
    DECOMPRESS,
    DEVICE,
    DEVICE_RESIZE,
    MEMORY,
    RESIZE,
    THREADS,
    WARM,
    Stage,
)
from resload.bench.records import sample, size_of
from resload.bench.settings import Settings
from resload.bench.stages import HOT_BYTES, settle, some
from resload.geometry import Rect
from resload.geometry.placing import PLACES, SHAPE
from resload.pipeline.cpu import levels_of
from resload.size import Native
from resload.store import layout
from resload.store.cache import Cache
from resload.store.codecs import native
from resload.store.slot import Slot


class CacheSteps:
    """Some records of a cache, and what can be done with them."""

    def __init__(self, cache: Cache, settings: Settings) -> None:
        self.cache, self.settings = cache, settings
        self.size = size_of(cache, settings)
        served = cache.serving(self.size)
        self.level, self.rmse = served.level, served.rmse
        self._manifest = layout.read_manifest(cache.path)
        self.rows, self._pieces = sample(cache, self._manifest, self.level, settings.seed)
        self.left_out: dict[str, str] = {}

    @property
    def record_bytes(self) -> float:
        """Of a record, on average."""
        return sum(piece.length for piece in self._pieces) / len(self._pieces)

    # -- the steps --

    def storage(self) -> list[Stage]:
        """Reading records with their pages dropped before, and with them in memory; the sample becomes what was read.

        A part of the loader's time is only the second, and not where the level is held in memory.
        """
        threads, seconds = self.settings.workers, self.settings.seconds
        with pages.Kept(self._pieces) as files:
            sweep = pages.swept(self._pieces, files, threads, seconds)
            self._pieces, self.rows = self._pieces[: sweep.read], self.rows[: sweep.read]
            rate = pages.warm(self._pieces, files, threads, seconds)
        found = []
        if sweep.reason:
            self.left_out[COLD] = sweep.reason
        else:
            note = f"{sweep.read} records, each once"
            found.append(Stage(COLD, sweep.rate, threads, self.record_bytes, "", note))
        return [*found, self._stage(WARM, rate, self.record_bytes, "once, then held in memory" if self._held else "")]

    def checksum(self) -> Stage:
        """crc32c of records that were just read, as many at a time as the loader sums."""
        records = self._records_read()

        def work(_: int) -> Work:
            own = [bytes(record) for record in records]
            together = b"".join(own)
            if isinstance(self.level, Native):
                return lambda: sum(1 for record in own if crc32c(record, 0, True) >= 0)
            return lambda: len(own) if crc32c(together, 0, True) >= 0 else 0

        rate = on_threads(work, self.settings.workers, self.settings.seconds)
        return self._stage(CHECKSUM, rate, self.record_bytes, "once, then held in memory" if self._held else "")

    def memory(self) -> Stage | None:
        """Of a level that is held in memory once it was read: copies from there."""
        if not self._held:
            return None
        count = some(len(self.rows), int(self.record_bytes), HOT_BYTES)

        def work(k: int) -> Work:
            slot, at = Slot(np.empty((count, *self.level), self.cache.dtype)), k * count

            def once() -> int:
                nonlocal at
                at = (at + count) % max(1, len(self.rows) - count + 1)
                self.cache.fill(slot, self.rows[at : at + count], self.level)
                return count

            return once

        rate = on_threads(work, self.settings.workers, self.settings.seconds)
        return Stage(MEMORY, rate, self.settings.workers, self.record_bytes, THREADS)

    def decompressed(self) -> Stage | None:
        """Of films at their own size: their records decompressed."""
        if not isinstance(self.level, Native):
            return None
        codec, item = native(self._manifest.dtype), self.cache.dtype.itemsize
        body, wide = self.level.pixels * item, self.level.width * item
        records = [np.frombuffer(record[: -layout.CRC_BYTES], np.uint8) for record in self._records_read()]
        heights = [len(film) for film in self._films]
        outs = [codec.span(r, body, high * wide) for r, high in zip(records, heights, strict=True)]

        def work(_: int) -> Work:
            def once() -> int:
                for record, length in zip(records, outs, strict=True):
                    codec.decode(record.copy(), np.empty(length, np.uint8))  # decoding changes a record
                return len(records)

            return once

        rate = on_threads(work, self.settings.workers, self.settings.seconds)
        return Stage(DECOMPRESS, rate, self.settings.workers, float(np.mean(outs)), THREADS)

    def resized(self) -> Stage | None:
        """Of a size that is not stored: made from its level, or from the films at their own size."""
        if self.level == self.size or self._device_resizes:
            return None
        bytes_out = float(self.size.pixels * self.cache.dtype.itemsize)
        work = self._from_films if isinstance(self.level, Native) else self._from_level
        rate = on_threads(work, self.settings.workers, self.settings.seconds)
        note = f"{self.level} to {self.size}"
        return Stage(RESIZE, rate, self.settings.workers, bytes_out, THREADS, note)

    def _from_level(self, _: int) -> Work:
        rows = self.rows[: len(self.images)]
        out = np.empty((len(rows), *self.size), self.cache.dtype)

        def once() -> int:
            self.cache.resize(self.images, rows, self.level, self.size, out)
            return len(rows)

        return once

    def _from_films(self, _: int) -> Work:
        recipe = self.cache.pipeline.with_sizes([self.size])
        rows = self.rows[: len(self._films)]
        places = self.cache.facts(rows, self.size)[:, PLACES].astype(int).tolist()
        rects = [(Rect(*place[:4]), Rect(*place[4:])) for place in places]

        def once() -> int:
            for film, both in zip(self._films, rects, strict=True):
                levels_of(recipe, film, [both])
            return len(rects)

        return once

    def resized_on_device(self, batch: int) -> Stage | None:
        """Of a size that is not stored, on a device: levels travel, and are resized there."""
        if self.level == self.size or not self._device_resizes:
            return None
        device = torch.device(self.settings.device)
        rows = np.resize(self.rows, batch)
        images = torch.from_numpy(np.resize(self.images, (batch, *self.level))[:, None]).to(device)

        def once() -> int:
            self.cache.resize_on_device(images, rows, self.level, self.size)
            settle(device)
            return batch

        rate = alone(once, self.settings.seconds)
        bytes_out = 4.0 * self.size.pixels
        return Stage(DEVICE_RESIZE, rate, 1, bytes_out, DEVICE, f"{self.level} to {self.size}")

    # -- what they work on --

    @cached_property
    def images(self) -> NDArray[Any]:
        """Images (n, H, W) of the level as the loader has them before it resizes or converts; few, near the core."""
        shape = self.level if not isinstance(self.level, Native) else self.size
        count = some(len(self.rows), shape.pixels * self.cache.dtype.itemsize, HOT_BYTES)
        return self.cache.read(self.rows[:count], shape)

    def converted(self) -> NDArray[Any]:
        """Images as they are converted, or travel: of the size, or of the level where a device resizes."""
        if self._device_resizes or self.level == self.size:
            return self.images
        return self.cache.read(self.rows[: len(self.images)], self.size)

    @cached_property
    def _films(self) -> list[NDArray[Any]]:
        """Films at their own size, few of them."""
        rows = self.rows[: self._few]
        shapes = self.cache.facts(rows, self.size)[:, SHAPE].astype(int).tolist()
        canvases = (self.cache.read([row], self.level)[0] for row in rows.tolist())
        return [canvas[:high, :wide] for canvas, (high, wide) in zip(canvases, shapes, strict=True)]

    def _records_read(self) -> list[memoryview]:
        """The bytes of a few records."""
        some_pieces = self._pieces[: self._few]
        buffers = [memoryview(bytearray(piece.length)) for piece in some_pieces]
        with pages.Kept(some_pieces) as files:
            for piece, buffer in zip(some_pieces, buffers, strict=True):
                files.read(piece, buffer)
        return buffers

    @property
    def _few(self) -> int:
        return some(len(self._pieces), int(self.record_bytes), HOT_BYTES)

    @property
    def _held(self) -> bool:
        return self.cache.holds(self.level)

    @property
    def _device_resizes(self) -> bool:
        return self.settings.late and not isinstance(self.level, Native)

    def _stage(self, name: str, rate: Rate, bytes_each: float, note: str) -> Stage:
        """A step that the loader takes with every record, unless the level is held in memory."""
        return Stage(name, rate, self.settings.workers, bytes_each, "" if self._held else THREADS, note)
