"""Running one step of a build: films in, shards and `rows-<g>.json` out.

    main thread    for each film of each row group, in row order: submit; take results in order
    workers        read file, hash, decode, resample, write each level's record at its place in the temporaries
    finisher       when a group's films are all there: index, sync, rename; then rows-<g>.json

A film's pixels are gone as soon as its records are written, so memory is flat in N: threads x one film's working
set. Row groups are finished in order while the next one's films are already being decoded.
"""

import hashlib
import json
import os
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

from resload.decode.source import source_bytes
from resload.errors import CacheMismatchError, DecodeError
from resload.masks.runs import Mask
from resload.masks.table import MaskTable, areas, coverages
from resload.pipeline import Film, Pipeline
from resload.pipeline.cpu import Known, plain_number
from resload.pipeline.engine import CPU, Engine
from resload.pipeline.recipe import CatalogFilms
from resload.pipeline.together import made_together
from resload.size import Size
from resload.store import claims, guarded, layout, sealed, tables
from resload.store.alone import check as check_lease
from resload.store.arrays import Writer, as_record, writer
from resload.store.commit import explained, make_folders, names_in, put, scratch_of, write_whole
from resload.store.gather import Level
from resload.store.layout import Manifest
from resload.store.native import Packed
from resload.store.packed import PackedWriter
from resload.store.plan import Step, Task
from resload.store.remote import AT_ONCE, Location, Url
from resload.store.slot import Slot
from resload.threads import Workers, ordered_map

T = TypeVar("T")

ASKED = ("status", "source_hash", tables.MASKS_HASH)
"""What a film's making asks the present table for."""

Record = dict[str, Any]
"""What making one film recorded: the columns of tables.RESULTS, its id, and {size: [crc32c, sum, sumsq]}."""


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


Made = tuple[Film, str, str]
"""A film at every size of a recipe, the (sealed) hash of its file, and the file's stamp."""


def film_of(films: CatalogFilms, row: int, recipe: Pipeline, engine: Engine = CPU) -> Made:
    """One film of a catalog. Raises DecodeError, naming its file."""
    ((_, made),) = films_of(films, [row], recipe, engine)
    if isinstance(made, DecodeError):
        raise made
    return made


def films_of(
    films: CatalogFilms, rows: Sequence[int], recipe: Pipeline, engine: Engine
) -> Iterator[tuple[int, Made | DecodeError]]:
    """Films of a catalog in any order, each with its place in `rows`; or why it cannot be made, naming its file."""
    files = [_File(films, row) for row in rows]
    for k, film in made_together(recipe, files, engine):
        file = files[k]
        yield k, film.at(file.path) if isinstance(film, DecodeError) else (film, file.source_hash, file.stamp)


class _File:
    """A film's file: the film as `made_together` takes it; and, once it was read, what is recorded of the file."""

    def __init__(self, films: CatalogFilms, row: int) -> None:
        self._seal = films.seal
        self.path, self._known = films.source(row)
        self.source_hash = self.stamp = ""

    def __call__(self) -> tuple[bytes, Known]:
        data, self.stamp = read_file(self.path)
        self.source_hash = self._seal(content_hash(data))
        return data, self._known


def read_file(path: Path) -> tuple[bytes, str]:
    """A source's bytes and its stamp. Raises UnreadableFileError or TooLargeError, naming it."""
    data, status = source_bytes(path)
    return data, stamp_of(status)


def content_hash(data: bytes) -> str:
    """The first 128 bits of SHA-256, as hex."""
    return hashlib.sha256(data).hexdigest()[:32]


def stamp_of(status: os.stat_result) -> str:
    """Size and modification time folded into 16 hex digits: enough to notice a change, and no date to read."""
    return hashlib.blake2b(f"{status.st_size}:{status.st_mtime_ns}".encode(), digest_size=8).hexdigest()


def record_of(film: Film, source_hash: str, stamp: str) -> Record:
    """The columns of tables.RESULTS for a film."""
    content = dict(zip(("y", "x", "height", "width"), film.content, strict=True))
    return {
        "height": film.size.height,
        "width": film.size.width,
        "bits": film.bits,
        "scale": plain_number(film.scale),
        "offset": plain_number(film.offset),
        "intensity": film.intensity,
        "spacing_y": plain_number(film.spacing[0]),
        "spacing_x": plain_number(film.spacing[1]),
        **{f"content_{name}": value for name, value in content.items()},
        "chest_wall": film.chest_wall,
        "decoder": film.decoder,
        "source_hash": source_hash,
        "source_stamp": stamp,
        "status": "ok",
        "reason": "",
    }


def failed(error: DecodeError) -> Record:
    """The columns of tables.RESULTS for a film that could not be made: a class and a fixed sentence."""
    shape = dict.fromkeys(("height", "width", "bits", "content_y", "content_x", "content_height", "content_width"), 0)
    numbers = dict.fromkeys(("scale", "offset", "spacing_y", "spacing_x"))
    words = dict.fromkeys(("intensity", "chest_wall", "decoder", "source_hash", "source_stamp"), "")
    return {**shape, **numbers, **words, "status": "failed", "reason": f"{type(error).__name__}: {error.reason}"}


# -- its masks --


@dataclass(frozen=True)
class FilmMasks:
    """What is known of one film's masks, in the order of a cache's labels."""

    masks: list[Mask | None]
    """(H, W) bool in the film's pixels; None where nobody looked."""
    content_hash: str
    """Of the rows of the catalog's table and the files that they name."""
    stamp: str
    """Of the rows, and the files' sizes and times."""


def masks_of(table: MaskTable | None, row: int, film: Film, goal: Manifest) -> FilmMasks | None:
    """The masks of a catalog's film; None in a cache without masks. Raises DecodeError."""
    if not goal.masks:
        return None
    assert table is not None
    return FilmMasks(table.of(row, film.size)[0], table.content_hash(row), table.stamp(row))


def mask_facts(found: FilmMasks | None, goal: Manifest) -> Record:
    """What the table keeps of masks: their areas in pixels of the film (None: unknown), their hash and stamp."""
    if found is None:
        return {}
    known = {label: plain_number(float(area)) for label, area in zip(goal.masks, areas(found.masks), strict=True)}
    return {"masks": known, tables.MASKS_HASH: found.content_hash, tables.MASKS_STAMP: found.stamp}


def no_masks(goal: Manifest) -> Record:
    """`mask_facts` of a film that could not be made."""
    if not goal.masks:
        return {}
    return {"masks": dict.fromkeys(goal.masks), tables.MASKS_HASH: "", tables.MASKS_STAMP: ""}


# -- its records --


def levels_recipe(recipe: Pipeline, arrays: Sequence[Size]) -> Pipeline:
    """The recipe that makes all that these arrays need of a film."""
    return recipe.with_sizes([one.level if isinstance(one, layout.Masks) else one for one in arrays])


def made_of(film: Film, found: FilmMasks | None, recipe: Pipeline, arrays: Sequence[Size]) -> dict[Size, NDArray[Any]]:
    """The records of a film: its pixels at each level, the coverage of its masks."""
    sizes = levels_recipe(recipe, arrays).sizes
    levels, places = dict(zip(sizes, film.levels, strict=True)), dict(zip(sizes, film.places, strict=True))
    made = {}
    for one in arrays:
        if not isinstance(one, layout.Masks):
            made[one] = levels[one]
        elif found is not None:
            made[one] = coverages(found.masks, places[one.level], one.level)
    return made


def integer_sums(pixels: NDArray[Any]) -> tuple[int, int]:
    """Sum and sum of squares of (H, W) uint8 or uint16, exact."""
    if pixels.dtype == np.uint8:
        square = pixels.astype(np.uint16)
        square *= square  # at most 65,025; a column of 65,536 of them stays below 2**32
        return int(pixels.sum(dtype=np.uint64)), int(
            np.add.reduce(square, axis=0, dtype=np.uint32).sum(dtype=np.uint64)
        )
    wide = pixels.astype(np.float64)  # a row of 65,536 squares of 65,535 stays below 2**53: exact
    return int(pixels.sum(dtype=np.uint64)), sum(int(row) for row in np.einsum("ij,ij->i", wide, wide))


def record_sums(pixels: NDArray[Any]) -> tuple[int, int]:
    """`integer_sums` of a record, (H, W) or (K, H, W); mask by mask, as many of them would not fit its bounds."""
    if pixels.ndim == 2:
        return integer_sums(pixels)
    sums = [integer_sums(one) for one in pixels]
    return sum(total for total, _ in sums), sum(squares for _, squares in sums)


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
    finisher = Workers(1, "resload-finish")
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
    with Workers(AT_ONCE if isinstance(cache, Url) else 1, "resload-rows") as pool:
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
