"""What tests of loading share: a reader without files, and ways to look at batches and threads."""

import threading
import time
from collections.abc import Iterable

import numpy as np
import pandas as pd

from resload.geometry import Stretch, facts_at, places
from resload.size import Size, as_size
from resload.store import layout


def damaged(cache, size, record=3):
    """One bit of a stored record flipped, in the file; the cache has to be opened again."""
    shard = cache.path / layout.shard_path(Size(*size), 0)
    data = bytearray(shard.read_bytes())
    data[record * layout.record_bytes(Size(*size), cache.dtype.name) + 100] ^= 4
    shard.write_bytes(data)
    return shard


class NumberReader:
    """Row r is an image full of r, at any size, of a film of 200 x 80 pixels. Records what it was asked.

    delay: seconds each image takes.    failing: rows that raise `error`.    grain: images per task.
    """

    targets = ("value",)
    boxes = None
    dtype = np.dtype(np.uint16)

    def __init__(self, n, *, delay=0.0, failing=(), grain=1):
        self.table = pd.DataFrame({"id": [f"film {row}" for row in range(n)], "value": np.arange(n, dtype=float)})
        self.delay, self.failing, self.per_task = delay, set(failing), grain
        self.error = RuntimeError("this film is on fire")
        self.filled, self.at_once, self.most_at_once = [], 0, 0
        self._lock = threading.Lock()

    def __len__(self):
        return len(self.table)

    def rows(self, *, split=None, where=None):
        return np.arange(len(self))

    def checked_size(self, size):
        return as_size(size)

    def grain(self, size):
        return self.per_task

    def fill(self, slot, rows, size, start):
        with self._lock:
            self.at_once += 1
            self.most_at_once = max(self.most_at_once, self.at_once)
            self.filled += rows.tolist()
        time.sleep(self.delay * len(rows))
        if self.failing & set(rows.tolist()):
            raise self.error
        slot.out[start : start + len(rows)] = rows[:, None, None]
        with self._lock:
            self.at_once -= 1

    def facts(self, rows, size):
        film = np.array([(200.0, 80.0, 0.2, 0.3, 10.0, 20.0, 100.0, 40.0, np.nan)] * len(rows))
        return facts_at(film, places(Stretch(), "pixel", film, size))

    def served(self, size):
        return None, 0.0

    def stats(self, size, rows):
        return 0.25, 0.5

    def digest(self):
        return f"numbers {len(self)}"


def by_id(batches: Iterable) -> dict:
    """{id: image as numpy} of every batch, copied."""
    return {
        name: image.numpy().copy() for batch in batches for name, image in zip(batch.ids, batch.images, strict=True)
    }


def rows_of(batches: Iterable) -> list[list[int]]:
    """The rows of each batch."""
    return [batch.rows.tolist() for batch in batches]


def workers() -> list[str]:
    """Names of resload's threads that live now."""
    return [thread.name for thread in threading.enumerate() if thread.name.startswith("resload")]


def all_rows(batches: Iterable) -> list[int]:
    """The rows of all batches, one after another."""
    return [row for batch in batches for row in batch.rows.tolist()]
