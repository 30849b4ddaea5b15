"""Running one step of a build: films in, shards and `rows-<g>.json` out.

    main thread    for each film of each row group, in row order: submit; take results in order
    workers        read file, hash, decode, resample, write each level's record at its place in the temporaries
    finisher       when a group's films are all there: index, sync, rename; then rows-<g>.json

A film's pixels are gone as soon as its records are written, so memory is flat in N: threads x one film's working
set. Row groups are finished in order while the next one's films are already being decoded.
"""

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future
from contextlib import closing, suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, TypeVar
from uuid import uuid4

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from tqdm import tqdm

from resload.errors import CacheMismatchError, DecodeError
from resload.masks.table import MaskTable
from resload.pipeline import Pipeline
from resload.pipeline.engine import CPU, Engine
from resload.pipeline.recipe import CatalogFilms
from resload.size import Size
from resload.store import layout, sealed, tables
from resload.store.alone import check as check_lease
from resload.store.arrays import Writer, as_record, writer
from resload.store.commit import explained, make_folders, put, scratch_of, write_whole
from resload.store.gather import Level
from resload.store.layout import Manifest
from resload.store.made import (
    Made,
    Record,
    failed,
    film_of,
    films_of,
    levels_recipe,
    made_of,
    mask_facts,
    masks_of,
    no_masks,
    record_of,
    record_sums,
)
from resload.store.marks import rows_file
from resload.store.native import Packed
from resload.store.packed import PackedWriter
from resload.store.plan import Step, Task
from resload.store.remote import Location
from resload.store.slot import Slot
from resload.threads import ThreadPool, ordered_map

T = TypeVar("T")

ASKED = ("status", "source_hash", tables.MASKS_HASH)
"""What a film's making asks the present table for."""


@dataclass(frozen=True)
class Sources:
    """Where the films of a build come from: cache row -> catalog row, and what is known of rows already stored."""

    films: CatalogFilms
    recipe: Pipeline
    places: NDArray[np.int64]
    """Catalog row of each cache row, from `first` on."""
    on_error: str
    known: pd.DataFrame | None = None
    """The present table from `first` on, for rows that are stored already."""
    present: Mapping[Size, Level] = field(default_factory=dict)
    """The present levels, from which an append copies the last row group's old records."""
    packed: Mapping[Size, Packed] = field(default_factory=dict)
    """The present arrays of compressed records, for the same."""
    masks: MaskTable | None = None
    """Of the catalog, by its rows, in the order of the goal's labels."""
    engine: Engine = CPU
    """What decodes and resizes."""
    first: int = 0
    """The cache row that `places` and `known` begin with."""

    def place_of(self, row: int) -> int:
        """The catalog's row of a cache row."""
        return int(self.places[row - self.first])

    def known_of(self, row: int) -> "pd.Series[Any] | None":
        """The present table's row, for one that is stored already."""
        k = row - self.first
        return None if self.known is None or k >= len(self.known) else self.known.iloc[k]

    def part(self, task: Task) -> "Sources":
        """What one row group needs, for another process: nothing of other films, and no open file."""
        rows = slice(task.rows.start - self.first, task.rows.stop - self.first)
        places = self.places[rows].tolist()
        return replace(
            self,
            films=self.films.part(places),
            places=np.arange(len(places)),
            known=None if self.known is None else self.known.iloc[rows].filter(ASKED),
            present={},
            packed={},
            masks=None if self.masks is None else self.masks.part(places),
            engine=CPU,
            first=task.rows.start,
        )


def _failed_before(known: "pd.Series[Any] | None") -> bool:
    """Of a film that could not be made, and is not tried again."""
    return known is not None and known["status"] == "failed"


@dataclass(frozen=True)
class _Item:
    task: Task
    k: int
    writers: dict[Size, Writer]
    goal: Manifest

    @property
    def row(self) -> int:
        return self.task.rows.start + self.k


# -- one film --------------------------------------------------------------------------------------------


def make_records(sources: Sources, items: Sequence[_Item]) -> list[Record]:
    """`make_record` of several items of a task, films made together where the engine does so."""
    if len(items) == 1:
        return [make_record(sources, items[0])]
    wanted = [item for item in items if not _failed_before(sources.known_of(item.row))]
    rows = [sources.place_of(item.row) for item in wanted]
    recipe = levels_recipe(sources.recipe, items[0].task.sizes)
    made = films_of(sources.films, rows, recipe, sources.engine)
    records = {wanted[k].row: make_record(sources, wanted[k], one) for k, one in made}
    return [records.get(item.row) or make_record(sources, item) for item in items]


def make_record(sources: Sources, item: _Item, made: "Made | DecodeError | None" = None) -> Record:
    """Make one film, unless it is `made`, and write its records: zeros and a reason where it cannot be made."""
    catalog_row = sources.place_of(item.row)
    films, name = sources.films, sources.films.ids[catalog_row]
    known = sources.known_of(item.row)
    if _failed_before(known):
        return {"id": name, "levels": _write(item, {}), **no_masks(item.goal)}
    try:
        if made is None:
            made = film_of(films, catalog_row, levels_recipe(sources.recipe, item.task.sizes), sources.engine)
        elif isinstance(made, DecodeError):
            raise made
        film, source_hash, stamp = made
        found = masks_of(sources.masks, catalog_row, film, item.goal)
    except DecodeError as error:
        if sources.on_error == "raise" or known is not None:
            raise
        return {"id": name, **failed(error), "levels": _write(item, {}), **no_masks(item.goal)}
    if known is not None and known["source_hash"] != source_hash:
        raise CacheMismatchError(
            f"{films.paths[catalog_row]}: this file has changed since it was cached, so a new size would not "
            "match the stored ones; restore it, or build to another path"
        )
    if (
        known is not None
        and found is not None
        and known.get(tables.MASKS_HASH, found.content_hash) != found.content_hash
    ):
        raise CacheMismatchError(
            f"the masks of {name} have changed since they were cached, so those of a new size would not match the "
            "stored ones; restore them, or build to another path"
        )
    facts = record_of(film, source_hash, stamp)
    pixels = made_of(film, found, sources.recipe, item.task.sizes)
    return {"id": name, **facts, "levels": _write(item, pixels), **mask_facts(found, item.goal)}


def _write(item: _Item, made: Mapping[Size, NDArray[Any]]) -> dict[str, list[int]]:
    """Write a film's records, zeros where there is none; {array: [crc32c, sum, sumsq]}."""
    written = {}
    for size, shard in item.writers.items():
        written[str(size)] = write_record(shard, item.k, made.get(size), item.goal, size)
    return written


def write_record(shard: Writer, k: int, pixels: NDArray[Any] | None, goal: Manifest, size: Size) -> list[int]:
    """Write one record, zeros where there are no pixels; its crc32c, sum and sum of squares."""
    if pixels is None:
        pixels = np.zeros(goal.record_shape(size), goal.record_dtype(size))
    sums = record_sums(pixels)
    with explained(shard.path):
        return [shard.put(k, as_record(pixels, goal, size)), *sums]


def _copy_record(sources: Sources, item: _Item) -> None:
    """An old record of a row group that is made again: verified on its way over."""
    for size, shard in item.writers.items():
        if isinstance(shard, PackedWriter):
            record = sources.packed[size].compressed(item.row)
            with explained(shard.path):
                shard.put_compressed(item.k, record)
            continue
        slot = Slot(np.empty((1, *size), sources.recipe.dtype))
        sources.present[size].read(np.array([item.row]), slot)
        with explained(shard.path):
            shard.put(item.k, slot.out[0])


# -- one step --------------------------------------------------------------------------------------------


def run(
    step: Step,
    sources: Sources,
    cache: Location,
    *,
    threads: int,
    progress: bool,
    check: Callable[[], None] | None = None,
) -> None:
    """Make every row group of the step. What is finished stays finished, whatever happens.

    check: called before a row group's files are put in place; what it raises stops the build before that.
    """
    with scratch_of(cache) as scratch:
        _run(step, sources, cache, scratch, threads=threads, progress=progress, check=check)


def _run(
    step: Step,
    sources: Sources,
    cache: Location,
    scratch: Path,
    *,
    threads: int,
    progress: bool,
    check: Callable[[], None] | None,
) -> None:
    opened: list[Writer] = []
    finishing: list[Future[None]] = []
    finisher = ThreadPool(1, "resload-finish")
    bar = tqdm(total=step.films, unit="film", desc=cache.name, disable=None if progress else True)

    def work(items: list[_Item]) -> list[tuple[_Item, Record | None]]:
        if items[0].k < items[0].task.keep:
            for item in items:
                _copy_record(sources, item)
            return [(item, None) for item in items]
        return list(zip(items, make_records(sources, items), strict=True))

    try:
        records: list[Record] = []
        pieces = _pieces(_items(step, scratch, opened), sources.engine.together)
        with closing(ordered_map(work, pieces, threads=threads, window=4 * threads)) as made:
            for some in made:
                for item, record in some:
                    if record is not None:
                        records.append(record)
                        bar.update()
                    if item.k + 1 == len(item.task.rows):
                        finishing.append(finisher.submit(_finish, cache, item, records, check))
                        records = []
                        if len(finishing) > 1:
                            finishing.pop(0).result()
        for future in finishing:
            future.result()
    finally:
        try:
            finisher.end(finish=True)
        finally:
            for shard in opened:
                with suppress(OSError):  # of a shard that was not finished, and will not be: others must close too
                    shard.close()
            bar.close()


def _items(step: Step, scratch: Path, opened: list[Writer]) -> Iterator[_Item]:
    for task in step.tasks:
        writers: dict[Size, Writer] = {}
        for size in task.sizes:
            path = scratch / f"{size}-{task.group}-{uuid4().hex}.part"  # two workers may make one row group
            with explained(path):
                writers[size] = writer(path, step.goal, size)
            opened.append(writers[size])
        yield from (_Item(task, k, writers, step.goal) for k in range(len(task.rows)))


def _pieces(items: Iterator[_Item], most: int) -> Iterator[list[_Item]]:
    """Neighbours of one task, all to be made or all to be copied, so many at most."""
    piece: list[_Item] = []
    for item in items:
        if piece and (len(piece) == most or item.task is not piece[0].task or item.k == item.task.keep):
            yield piece
            piece = []
        piece.append(item)
    if piece:
        yield piece


def _finish(cache: Location, item: _Item, records: list[Record], check: Callable[[], None] | None) -> None:
    """Commit one row group: every shard whole and in place, then the file that says so."""
    task = item.task
    for size, shard in item.writers.items():
        target = cache / layout.shard_path(size, task.group)
        with explained(target):
            shard.finish(len(task.rows))
            _check(cache, check)
            make_folders(target.parent, below=cache)
            put(shard.path, target)
    document = {"sizes": [str(size) for size in task.sizes], "records": records}
    text = json.dumps(sealed.sealed(document, document))
    _check(cache, check)  # a shard may have been on its way to object storage for long
    write_whole(text.encode(), rows_file(cache, task.group), scratch=cache / layout.BUILD)


def _check(cache: Location, check: Callable[[], None] | None) -> None:
    """Raise where this build is not the one under way any more."""
    check_lease(cache)
    if check is not None:
        check()
