"""Making what is damaged in a cache again, from the sources it was built from."""

import contextlib
import os
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from crc32c import crc32c
from numpy.typing import NDArray

from resload.errors import CorruptCacheError, DecodeError
from resload.pipeline.recipe import CatalogFilms
from resload.size import Size
from resload.store import layout, tables
from resload.store.cache import Cache, open_cache
from resload.store.commit import alone, explained, make_folders, put
from resload.store.job import fingerprint
from resload.store.publish import publish, write_documents
from resload.store.run import Record, film_of, integer_sums, record_of
from resload.store.shard import Shard, ShardWriter, little_endian
from resload.store.verify import Problem, Report, open_shard, record_sums, verify

if TYPE_CHECKING:
    from resload.catalog import Catalog


def repair(
    cache: Cache | str | os.PathLike[str], catalog: "Catalog", *, threads: int | None = None, progress: bool = True
) -> Report:
    """Make damaged records again from the sources, and try quarantined films again.

    Only shards with something to mend are written, each beside the old one and renamed over it; records that are
    whole are copied. A source must still be the file the cache was built from. Readers that are open keep the old
    shards: open the cache again. Returns what could not be mended, with the reason.

    catalog: must hold the radiographs in question, under the same ids.
    """
    path = cache.path if isinstance(cache, Cache) else Path(cache)
    found = verify(path, threads=threads, progress=progress)
    with alone(path):
        return _Repair(path, catalog).run(found)


class _Repair:
    def __init__(self, path: Path, catalog: "Catalog") -> None:
        self.path, self.films = path, CatalogFilms(catalog)
        self.manifest = layout.read_manifest(path)
        self.table, self.kept = tables.read_samples(path, self.manifest, levels=True)
        self.recipe = open_cache(path).pipeline
        self.scratch = path / layout.BUILD
        self.places = {name: row for row, name in enumerate(self.films.ids)}
        self.left: list[Problem] = []
        self.made = 0

    def run(self, found: Report) -> Report:
        make_folders(self.scratch, below=self.path)
        write_documents(self.path, self.manifest)
        wanted = self._damaged(found.problems)
        revived = self._revive(wanted)
        for (size, group), rows in sorted(wanted.items()):
            self._mend_shard(size, group, rows)
        if revived:
            self._publish()
        self._clear()
        return Report(found.records, tuple(self.left), self.made)

    def _damaged(self, problems: Sequence[Problem]) -> dict[tuple[Size, int], set[int]]:
        """(size, group) -> rows to make; a shard that cannot be opened at all needs every one of its rows."""
        by_name = {
            layout.shard_path(size, group): (size, group)
            for size in self.manifest.sizes
            for group in range(self.manifest.groups)
        }
        wanted: dict[tuple[Size, int], set[int]] = defaultdict(set)
        for problem in problems:
            if problem.file in by_name:
                key = by_name[problem.file]
                wanted[key] |= set(self.manifest.rows_of(key[1])) if problem.row is None else {problem.row}
        return wanted

    # -- films that could not be read when the cache was built --

    def _revive(self, wanted: dict[tuple[Size, int], set[int]]) -> bool:
        failed = np.flatnonzero((self.table["status"] == "failed").to_numpy()).tolist()
        records = {row: record for row in failed if (record := self._now_readable(row)) is not None}
        if not records:
            return False
        made = tables.results_frame(records.values(), self.manifest.sizes)
        for name in made:
            column = self.table[name].copy()
            column.iloc[list(records)] = made[name].to_numpy()
            self.table[name] = column
        for row in records:
            for size in self.manifest.sizes:
                wanted[size, row // self.manifest.per_shard].add(row)
        return True

    def _now_readable(self, row: int) -> Record | None:
        place = self.places.get(self.table["id"].iloc[row])
        if place is None:
            return None
        try:
            film, source_hash, stamp = film_of(self.films, place, self.recipe)
        except DecodeError:
            return None
        if film.bits > 8 and self.manifest.dtype == "uint8":
            return None
        levels = {
            str(size): [crc32c(little_endian(level)), *integer_sums(level)]
            for size, level in zip(self.recipe.sizes, film.levels, strict=True)
        }
        return {**record_of(film, source_hash, stamp), "levels": levels}

    # -- shards --

    def _mend_shard(self, size: Size, group: int, rows: set[int]) -> None:
        """Write one shard again: whole records copied, the others made."""
        manifest, name = self.manifest, layout.shard_path(size, group)
        try:
            old = open_shard(self.path, manifest, size, group)
        except CorruptCacheError:
            old = None
        temporary = self.scratch / f"{size}-{group}.part"
        writer = ShardWriter(temporary, size=size, dtype=manifest.dtype, per_shard=manifest.per_shard)
        try:
            for k, row in enumerate(manifest.rows_of(group)):
                level = self._record(row, size, k, old if row not in rows else None)
                if level is None:
                    return
                with explained(self.path / name):
                    writer.put(k, level)
            with explained(self.path / name):
                writer.finish(len(manifest.rows_of(group)))
                make_folders((self.path / name).parent, below=self.path)
                put(temporary, self.path / name)
            self.made += len(rows)
        finally:
            writer.close()
            temporary.unlink(missing_ok=True)

    def _record(self, row: int, size: Size, k: int, old: Shard | None) -> NDArray[Any] | None:
        """A record's pixels with the checksum that the table remembers; None, and a Problem, without them."""
        expected = int(self.table[tables.level_column("crc32c", size)].iloc[row])
        if old is not None:
            record = bytearray(old.step)
            if record_sums(old, k, record) == (expected, expected):
                stored = np.dtype(self.manifest.dtype).newbyteorder("<")
                pixels = np.frombuffer(record, stored, size.pixels).reshape(size)
                return pixels.astype(self.manifest.dtype)
        level, why = self._made_again(row, size)
        if level is not None:
            if crc32c(little_endian(level)) == expected:
                return level
            why = "made again it differs from what the table remembers: other codec or library versions?"
        name = str(self.table["id"].iloc[row])
        self.left.append(Problem(layout.shard_path(size, row // self.manifest.per_shard), why, row, name))
        return None

    def _made_again(self, row: int, size: Size) -> tuple[NDArray[Any] | None, str]:
        if self.table["status"].iloc[row] == "failed":
            return np.zeros(size, self.manifest.dtype), ""
        place = self.places.get(self.table["id"].iloc[row])
        if place is None:
            return None, "the catalog given to repair does not hold this radiograph"
        try:
            film, source_hash, _ = film_of(self.films, place, self.recipe.with_sizes([size]))
        except DecodeError as error:
            return None, f"its source cannot be read: {error}"
        if source_hash != self.table["source_hash"].iloc[row]:
            return None, "its source is no longer the file the cache was built from"
        return film.levels[0], ""

    def _publish(self) -> None:
        boxes = self.path / layout.BOXES
        files = {layout.SAMPLES: tables.as_parquet(self.table, self.kept)}
        if layout.BOXES in self.manifest.tables:
            files[layout.BOXES] = boxes.read_bytes()
        goal = fingerprint(self.manifest, self.table["id"].tolist(), self.table)
        publish(self.path, self.manifest, goal, files)

    def _clear(self) -> None:
        with contextlib.suppress(OSError):  # an unfinished build's files may be in it, and stay
            self.scratch.rmdir()
