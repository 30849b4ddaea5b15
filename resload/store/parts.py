"""One row group as a task: what is sent to a worker of an executor, and what the worker does with it.

    Part         the films of one row group: paths, what the catalog knows of them, the recipe, the cache's path
    make_part    films in; shards and rows-<g>.json straight into the cache, as `run` does on one machine
    Answer       that it is done; or, before one is made, which films are not there: a machine that lacks their disk
                 would quarantine them all, so the driver has to say that they are not there for it either

Two workers may make one row group at a time, when one only seemed dead: their temporaries have names of their own, and
what they put into place is the same, byte for byte.

A worker may outlive its driver. Before it puts anything into place it looks whether the build is still the one that
sent it the work: `.build/plan.json` names it. The next build writes its own plan and then removes all temporaries, so
that on a disk nothing which a worker began before can be put into place after. In object storage a shard can, that was
on its way there when the next build began: where that is another one's, its records have not the sums that the table
says, so that they are refused, and `repair` makes them again.
"""

import functools
import os
import platform
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from resload.errors import StorageError, WorkerError
from resload.limits import NAMES, Limits, limits, raised_by
from resload.pipeline.engine import engine_of
from resload.store import layout, tables
from resload.store.marks import read_rows
from resload.store.plan import Step, Task
from resload.store.present import levels, packed
from resload.store.remote import Location, Url
from resload.store.run import Sources, run

PACKAGES = ("resload", "torch", "numpy", "imagecodecs")
"""What makes pixels: with two versions of them a cache would be two caches in one."""
SHARED = "the cache must be on storage that this machine and all workers share, under the same path"


@dataclass(frozen=True, repr=False)
class Part:
    """One row group for a worker: the key of pseudonyms is in it, where there is one, and no pixel."""

    cache: Location
    """Absolute."""
    step: Step
    """Of one task."""
    key: str
    """Of the step, in `.build/plan.json`."""
    sources: Sources
    """Of its rows alone."""
    decode: str
    device: str
    """Of the worker."""
    threads: int
    patience: float
    """Seconds in which what one machine has written becomes visible on another."""
    versions: tuple[str, ...]
    """`PACKAGES` of the driver."""
    limits: Limits
    """Of the driver."""
    missed: frozenset[Path] = frozenset()
    """Films that the driver does not find either: they are quarantined."""

    def __repr__(self) -> str:  # executors log the arguments of what failed, and no id belongs there
        return f"<row group {self.task.group} of {self.cache.name}>"

    @property
    def task(self) -> Task:
        """The row group."""
        return self.step.tasks[0]


@dataclass(frozen=True)
class Answer:
    """What a worker says of a row group."""

    missing: tuple[Path, ...]
    """Films that are not there for it; the row group is done when there is none."""
    machine: str


def make_part(part: Part) -> Answer:
    """Make a row group, unless it is there or films are missing. Runs on a worker, and raises as `run` does.

    Raises WorkerError on a worker that does not see the build, or has other versions or limits than the driver.
    """
    _refuse_other(part)
    if not seen(lambda: is_planned(part.cache, part.key), part.patience):
        _refuse(part)
    missing = _missing(part)
    if not missing and not _is_made(part):
        engine = engine_of(part.decode, part.device, part.threads)
        sources = replace(part.sources, engine=engine, **_present(part))
        threads = part.threads + engine.waiting
        run(part.step, sources, part.cache, threads=threads, progress=False, check=partial(_check, part))
    return Answer(missing, platform.node())


def _is_made(part: Part) -> bool:
    """Whether the row group is there; not one of other films, which a worker that outlived its driver put there."""
    records = read_rows(part.cache, part.task)
    return records is not None and [record["id"] for record in records] == part.sources.films.ids[part.task.keep :]


def _refuse_other(part: Part) -> None:
    """What a film becomes, or whether it is quarantined, must not depend on who makes it."""
    if part.versions != versions():
        raise WorkerError(
            f"the worker on {platform.node()} has {', '.join(versions())}, and the build was begun with "
            f"{', '.join(part.versions)}; install the same versions everywhere: pixels may depend on them"
        )
    own = limits()
    for name in NAMES:
        if getattr(own, name) != getattr(part.limits, name):
            raise WorkerError(
                f"the worker on {platform.node()} has {raised_by(name)}={getattr(own, name)}, and the build was begun "
                f"with {getattr(part.limits, name)}; set the same for all workers: it says which films are refused"
            )


def seen(look: Callable[[], bool], patience: float) -> bool:
    """Whether what is looked for is there, or comes to be within so many seconds."""
    ends, pause = time.monotonic() + patience, 0.05
    while not look():
        if time.monotonic() > ends:
            return False
        time.sleep(pause)
        pause = min(2 * pause, 5.0)
    return True


def is_planned(cache: Location, key: str) -> bool:
    """Whether the build under way in a cache is this step. The key is the first thing in the plan, the ids follow."""
    start = f'{{"key": "{key}"'.encode()
    plan = cache / layout.BUILD / layout.PLAN
    try:
        if isinstance(plan, Url):
            return plan.read_ranges([(0, len(start))]) == [start]
        with plan.open("rb") as file:
            return file.read(len(start)) == start
    except StorageError:
        raise
    except OSError:
        return False


def _check(part: Part) -> None:
    if not is_planned(part.cache, part.key):
        _refuse(part)


def _refuse(part: Part) -> None:
    raise WorkerError(
        f"{part.cache}: the worker on {platform.node()} does not see the build that sent it work there: {SHARED}. "
        "(Or that build was given up since, and another one has begun)"
    )


def _present(part: Part) -> dict[str, Any]:
    """What is stored already, for a row group of which a part is copied."""
    if not part.task.keep:
        return {}
    manifest = layout.read_manifest(part.cache)
    sums = [tables.level_column("crc32c", size) for size in manifest.arrays]
    known = tables.read_samples(part.cache, manifest, sums)[0]
    return {"present": levels(part.cache, known), "packed": packed(part.cache, known)}


def _missing(part: Part) -> tuple[Path, ...]:
    if part.step.kind == "widen":  # a film that was there and is not any more stops the build, and is named
        return ()
    films = part.sources.films.paths[part.task.keep :]
    return tuple(path for path in films if path not in part.missed and not is_readable(path))


def is_readable(path: Path) -> bool:
    """Whether a file is there for this process."""
    return os.access(path, os.R_OK)


@functools.cache
def versions() -> tuple[str, ...]:
    """`PACKAGES` of this process."""
    found = []
    for package in PACKAGES:
        try:
            found.append(f"{package} {version(package)}")
        except PackageNotFoundError:  # imported from a folder that was not installed
            found.append(package)
    return tuple(found)
