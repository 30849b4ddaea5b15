"""Running one step of a build on the workers of an executor: one task for each row group, and no pixel here.

    a Part of each row group   ->  workers.each(make_part)  ->  an Answer
      done                     rows-<g>.json is there
      films are missing        for this machine too: the part once more, to quarantine them; else a WorkerError

What is said of films, and the manifest, the driver writes when all are done, as after `run`.
"""

from collections.abc import Iterable, Iterator
from contextlib import closing
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from tqdm import tqdm

from resload.errors import WorkerError
from resload.executors import Workers
from resload.limits import limits
from resload.pipeline.engine import check_names
from resload.store.marks import rows_file
from resload.store.parts import SHARED, Answer, Part, is_readable, make_part, seen, versions
from resload.store.plan import Step
from resload.store.remote import Location
from resload.store.run import Sources

PATIENCE = 90.0
"""Seconds in which what one machine has written becomes visible on another: NFS may remember for 60 that a file was not
there (nfs(5): acdirmax)."""


@dataclass(frozen=True)
class Crew:
    """Who makes the row groups of a build, and how."""

    workers: Workers
    decode: str
    device: str
    """Of a worker."""
    threads: int
    """Of each task."""
    patience: float = PATIENCE


def crew_of(workers: Workers, decode: str, device: object, threads: int) -> Crew:
    """The crew that is asked for. Raises ArgumentError for another decoder or a device that torch does not know."""
    check_names(decode, device)
    return Crew(workers, decode, str(device), threads)


def spread(step: Step, sources: Sources, cache: Location, crew: Crew, *, key: str, progress: bool) -> None:
    """Make every row group of the step. What is finished stays finished, whatever happens.

    key: of the step. Raises WorkerError when a worker died, or does not see the cache or the films that this process
    sees; and what a worker raised.
    """
    left: Iterable[Part] = parts(step, sources, cache, crew, key)
    with tqdm(total=step.films, unit="film", desc=cache.name, disable=None if progress else True) as bar:
        while left:
            left = list(_round(left, crew, bar))


def _round(parts: Iterable[Part], crew: Crew, bar: Any) -> Iterator[Part]:
    """Have these made; those that came back since films are missing, with what is missed here too."""
    with closing(crew.workers.each(make_part, parts)) as answers:
        for part, answer in answers:
            if answer.missing:
                _refuse_blind(answer)
                yield replace(part, missed=part.missed.union(answer.missing))
            else:
                _await(part)
                bar.update(part.step.films)


def parts(step: Step, sources: Sources, cache: Location, crew: Crew, key: str) -> Iterator[Part]:
    """The tasks, each made when it is taken."""
    for task in step.tasks:
        yield Part(
            cache=cache.absolute() if isinstance(cache, Path) else cache,
            step=replace(step, tasks=(task,)),
            key=key,
            sources=sources.part(task),
            decode=crew.decode,
            device=crew.device,
            threads=crew.threads,
            patience=crew.patience,
            versions=versions(),
            limits=limits(),
        )


def _await(part: Part) -> None:
    """Until the row group is seen here too: tables are made of what `rows-<g>.json` says."""
    if not seen(rows_file(part.cache, part.task.group).exists, part.patience):
        raise WorkerError(
            f"{part.cache}: a worker has finished row group {part.task.group}, and this machine does not see it: "
            f"{SHARED}"
        )


def _refuse_blind(answer: Answer) -> None:
    """A film that is quarantined since one machine does not see it would be lost without a word."""
    for path in answer.missing:
        if is_readable(path):
            raise WorkerError(
                f"{path}: the worker on {answer.machine} cannot read this film, and this machine can. Make the films "
                "visible to all workers under the same path, and run the same build again: what is finished is kept"
            )
