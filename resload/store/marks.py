"""What a build has finished so far, as it says itself in `.build/`: its plan, and a file for each row group.

`unfinished.py` believes it only as far as it can be checked.
"""

from collections.abc import Callable, Sequence
from typing import TypeVar

from resload.store import claims, guarded, layout, sealed, tables
from resload.store.commit import names_in
from resload.store.layout import Manifest
from resload.store.made import Record
from resload.store.plan import Task
from resload.store.remote import AT_ONCE, Location, Url
from resload.threads import ThreadPool

T = TypeVar("T")


def rows_file(cache: Location, group: int) -> Location:
    """`.build/rows-<g>.json`: while it exists, row group g of the unfinished step is done."""
    return cache / layout.BUILD / f"rows-{group}.json"


def read_rows(cache: Location, task: Task) -> list[Record] | None:
    """The records of a finished row group; None when it is not finished, was for other sizes, or the file is damaged.

    `unfinished.finished` also looks whether the shards are there.
    """
    try:
        name = f"{layout.BUILD}/{rows_file(cache, task.group).name}"
        document = guarded.parsed(guarded.document(cache, name, rows=len(task.rows)))
        if not isinstance(document, dict) or not sealed.holds(document, document):
            return None
        records: list[Record] = document["records"]
        same = document["sizes"] == [str(size) for size in task.sizes] and len(records) == len(task.rows) - task.keep
        same = same and all(claims.is_record(one, tables.RESULTS, document["sizes"]) for one in records)
    except (FileNotFoundError, ValueError, KeyError, TypeError):
        return None
    return records if same else None


def in_build(cache: Location, tasks: Sequence[Task], read: Callable[[Task], T | None]) -> dict[int, T]:
    """Row group -> what `read` says of it, of tasks whose `rows-<g>.json` is there and of which it says anything."""
    there = set(names_in(cache / layout.BUILD))
    asked = [task for task in tasks if rows_file(cache, task.group).name in there]
    with ThreadPool(AT_ONCE if isinstance(cache, Url) else 1, "resload-rows") as pool:
        reading = {task.group: pool.submit(read, task) for task in asked}
        return {group: found for group, future in reading.items() if (found := future.result()) is not None}


def read_plan(cache: Location, manifest: Manifest) -> tuple[str, list[str]]:
    """What a build that has not finished is about: the key of its step, and the ids in row order.

    Raises OSError, ValueError, KeyError or TypeError for a plan that is gone or damaged.
    """
    document = guarded.parsed(guarded.document(cache, f"{layout.BUILD}/{layout.PLAN}", rows=manifest.count))
    key, ids = document["key"], document["ids"]
    if not isinstance(key, str) or not isinstance(ids, list) or not all(isinstance(name, str) for name in ids):
        raise TypeError("ids are no list of texts")
    return key, ids
