"""What an unfinished build left in `.build/`, believed only as far as it can be checked.

    plan.json        its ids are those that its key names, for the manifest that is there
    rows-<g>.json    it has the sum of itself, says the planned ids, and describes the shards that are there: their
                     length and index are whole, and their first and last records have the sums it says

A row group that does not pass counts as not finished: building goes on with it, and nothing of it is shown. The other
records of finished shards are read, and verified, when somebody wants them.
"""

from collections.abc import Sequence

from crc32c import crc32c

from resload.errors import CorruptCacheError
from resload.regular import TooLong
from resload.size import Size
from resload.store import layout
from resload.store.arrays import packed_shard, shard_of
from resload.store.identity import step_key
from resload.store.layout import Manifest
from resload.store.made import Record
from resload.store.marks import in_build, read_plan, read_rows
from resload.store.plan import Task
from resload.store.remote import Location
from resload.store.shard import Shard


def planned_ids(cache: Location, manifest: Manifest) -> list[str]:
    """The ids of an unfinished first build, in row order.

    Raises CorruptCacheError for a plan that is missing, damaged, or another build's.
    """
    path = cache / layout.BUILD / layout.PLAN
    try:
        key, ids = read_plan(cache, manifest)
        if len(ids) != manifest.count or key != step_key(manifest, ids):
            raise ValueError(f"its key is not that of its ids and of {cache / layout.MANIFEST}")
    except (FileNotFoundError, TooLong, ValueError, KeyError, TypeError) as exc:
        raise CorruptCacheError(
            f"{path}: the plan of this unfinished build is missing or damaged ({exc}); run the same build again"
        ) from exc
    return ids


def finished(cache: Location, goal: Manifest, task: Task, ids: Sequence[str]) -> list[Record] | None:
    """`read_rows` of a row group of the step to `goal`, if its shards are there and are those it describes; else None.

    ids: of every row of the step, in row order.
    """
    records = read_rows(cache, task)
    if records is None or not records:
        return records
    try:
        known = [record["id"] for record in records] == list(ids[task.rows.start + task.keep : task.rows.stop])
        return records if known and all(_described(cache, goal, task, size, records) for size in task.sizes) else None
    except CorruptCacheError:
        return None


def all_finished(cache: Location, goal: Manifest, tasks: Sequence[Task], ids: Sequence[str]) -> dict[int, list[Record]]:
    """Row group -> its records, of those tasks that are `finished`."""
    return in_build(cache, tasks, lambda task: finished(cache, goal, task, ids))


def _described(cache: Location, goal: Manifest, task: Task, size: Size, records: Sequence[Record]) -> bool:
    """Whether the first and the last record of one shard are those that were written. Raises CorruptCacheError."""
    ends = {task.keep: records[0], len(task.rows) - 1: records[-1]}
    sums = {k: int(record["levels"][str(size)][0]) for k, record in ends.items()}
    if layout.is_packed(size):
        packed = packed_shard(cache, goal, size, task.group)
        return all(len(packed.compressed(k, total)) > 0 for k, total in sums.items())
    shard = shard_of(cache, goal, size, task.group)
    return all(_sum_of(shard, k) == (total, total) for k, total in sums.items())


def _sum_of(shard: Shard, k: int) -> tuple[int, int]:
    """(the sum of record k's pixels, the sum stored behind them)."""
    record = bytearray(shard.step)
    shard.read_into(memoryview(record), k * shard.step)
    return crc32c(memoryview(record)[: -layout.CRC_BYTES]), int.from_bytes(record[-layout.CRC_BYTES :], "little")
