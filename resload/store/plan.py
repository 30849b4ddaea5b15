"""What a build has to do, as pure functions of what is there and what is wanted.

A build is a sequence of steps, each of which ends in a complete cache:

    begin    every row group at every level
    append   the row groups that new rows fall into; the last one, if it was partial, is made again whole,
             its old records copied
    widen    every row group at the new levels only

A row group is the unit of all of them: it counts as done when its `rows-<g>.json` is there.
"""

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from resload import seeds
from resload.size import Native, Size, as_ladder
from resload.store.layout import Manifest, Masks, index_bytes, is_packed, record_bytes

SMALLEST_SHARD, LARGEST_SHARD = 16, 4096
FEWEST_GROUPS = 64


def records_per_shard(count: int, sizes: tuple[Size, ...], dtype: str, shard_mb: float) -> int:
    """S: the largest power of two whose largest shard stays under `shard_mb` and that leaves 64 row groups.

    Between 16 and 4,096 whatever the rest says: fewer would make too many files, more too coarse a unit of
    resuming.
    """
    record = max(record_bytes(size, dtype) for size in sizes)
    per_shard = LARGEST_SHARD
    while per_shard > SMALLEST_SHARD and (
        per_shard * record + index_bytes(per_shard) > shard_mb * 2**20 or -(-count // per_shard) < FEWEST_GROUPS
    ):
        per_shard //= 2
    return per_shard


def row_order(count: int, seed: int, batch: int) -> NDArray[np.int64]:
    """In which order the films of one batch (0 for the first build, 1 for the first append ...) become rows.

    Images are shuffled, not patients: with patients kept together, an order that reads block by block would put several
    images of one patient into a batch.
    """
    return seeds.permutation(count, seed, 0, "store", batch)


_PACKED_SHARE = {Native: 0.6, Masks: 0.02}
"""Of their bytes that compressed records take, about: films shrink to half (`benchmarks/native_codecs.py`), masks are
mostly zeros."""


def _expected_bytes(goal: Manifest, size: Size) -> int:
    """Of one record."""
    whole = record_bytes(size, goal.record_dtype(size))
    if not is_packed(size):
        return whole
    return round(whole * _PACKED_SHARE[type(size)] * (len(goal.masks) if isinstance(size, Masks) else 1))


@dataclass(frozen=True)
class Task:
    """One row group to make: `rows`, of which the first `keep` are copied from the present shard, at `sizes`."""

    group: int
    rows: range
    sizes: tuple[Size, ...]
    keep: int = 0


@dataclass(frozen=True)
class Step:
    """One step of a build: from what is there to `goal`."""

    kind: str
    """"begin", "append" or "widen"."""
    goal: Manifest
    """The manifest when the step is complete (its fingerprint is filled in then)."""
    tasks: tuple[Task, ...]

    @property
    def films(self) -> int:
        """How many films the step decodes."""
        return sum(len(task.rows) - task.keep for task in self.tasks)

    def bytes(self) -> int:
        """How many bytes of shards the step writes; of compressed ones, about how many."""
        per_shard = self.goal.per_shard
        return sum(
            len(task.rows) * _expected_bytes(self.goal, size) + index_bytes(per_shard)
            for task in self.tasks
            for size in task.sizes
        )

    def files(self) -> int:
        """How many shards the step writes."""
        return sum(len(task.sizes) for task in self.tasks)

    def without(self, done: set[int]) -> "Step":
        """The step less the row groups that are done."""
        return replace(self, tasks=tuple(task for task in self.tasks if task.group not in done))


def begin(goal: Manifest) -> Step:
    """The first build: everything."""
    return Step("begin", goal, tuple(Task(g, goal.rows_of(g), goal.arrays) for g in range(goal.groups)))


def append(present: Manifest, added: int) -> Step:
    """New rows at the levels that are there."""
    goal = replace(present, count=present.count + added, batches=(*present.batches, added))
    tasks = []
    for group in range(present.count // present.per_shard, goal.groups):
        rows = goal.rows_of(group)
        tasks.append(Task(group, rows, goal.arrays, keep=max(0, present.count - rows.start)))
    return Step("append", goal, tuple(tasks))


def widen(present: Manifest, sizes: tuple[Size, ...], masks: tuple[str, ...] = ()) -> Step | None:
    """New levels, and masks, for the rows that are there; None when there is nothing new."""
    added = [size for size in sizes if size not in present.sizes]
    goal = replace(present, sizes=as_ladder([*present.sizes, *added]), masks=present.masks or masks)
    new = tuple(size for size in goal.arrays if size not in present.arrays)
    if not new:
        return None
    return Step("widen", goal, tuple(Task(g, goal.rows_of(g), new) for g in range(goal.groups)))
