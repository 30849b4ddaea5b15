"""Making what is damaged in a cache again, from the sources it was built from."""

from collections import defaultdict
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from crc32c import crc32c
from numpy.typing import NDArray

from resload.errors import CorruptCacheError, DecodeError
from resload.intensity import Recipe
from resload.masks.table import MaskTable
from resload.pipeline.recipe import CatalogFilms
from resload.size import Size
from resload.store import documents, layout, tables
from resload.store.alone import alone, check
from resload.store.arrays import Writer, as_record, packed_shard, shard_of, writer
from resload.store.cache import Cache, open_cache
from resload.store.commit import explained, make_folders, put, remove, remove_empty, scratch_of
from resload.store.commit import names_in as names_in_folder
from resload.store.files import disk
from resload.store.identity import fingerprint
from resload.store.made import Record, film_of, levels_recipe, made_of, mask_facts, masks_of, record_of
from resload.store.made import record_sums as sums_of
from resload.store.marks import rows_file
from resload.store.packed import PackedShard, PackedWriter
from resload.store.pseudonyms import names_in
from resload.store.publish import publish, write
from resload.store.remote import Given, Location, location
from resload.store.shard import Shard, little_endian
from resload.store.verify import Problem, Report, check_fingerprint, record_sums, verify

if TYPE_CHECKING:
    from resload.catalog import Catalog


def repair(
    cache: Cache | Given,
    catalog: "Catalog",
    *,
    pseudonymise: str | bytes | None = None,
    threads: int | None = None,
    progress: bool = True,
) -> Report:
    """Make damaged records again from the sources, boxes from the catalog, and try quarantined films again.

    Only shards with something to mend are written, each beside the old one and renamed over it; records that are
    whole are copied. A source must still be the file the cache was built from. Readers that are open keep the old
    shards: open the cache again. Returns what could not be mended, with the reason.

    catalog: must hold the radiographs in question, under the same ids. pseudonymise: the key of a cache that was built
    with one; CacheMismatchError for another key. Raises BuildInProgressError while the cache is built or repaired
    elsewhere, DiskSpaceError and CacheError where it cannot be written.
    """
    path = cache.path if isinstance(cache, Cache) else location(cache)
    manifest = layout.read_manifest(path)
    names = names_in(path, manifest, pseudonymise)
    with explained(path), alone(path):
        _mend_boxes(path, manifest, names.catalog(catalog))
    found = verify(path, threads=threads, progress=progress)
    with explained(path), alone(path), scratch_of(path) as scratch:
        return _Repair(path, scratch, names.catalog(catalog), names.seal).run(found)


def _mend_boxes(path: Location, manifest: layout.Manifest, catalog: "Catalog") -> None:
    """Write boxes that are damaged again where the catalog has those that the manifest knows; else leave them."""
    ids = tables.read_samples(path, manifest, ["id"])[0]["id"]
    try:
        tables.read_boxes(path, manifest, ids)
    except CorruptCacheError:
        boxes = tables.boxes_of(catalog, ids.tolist())
        data = b"" if boxes is None else tables.as_parquet(boxes)
        if tables.sum_of(data) in manifest.tables[layout.BOXES]:
            write(path, layout.BOXES, data)
            remove_empty(path / layout.BUILD)


class _Repair:
    def __init__(self, path: Location, scratch: Path, catalog: "Catalog", seal: Callable[[str], str]) -> None:
        self.path, self.scratch, self.films = path, scratch, CatalogFilms(catalog, seal)
        self.manifest = layout.read_manifest(path)
        self.table, self.kept = tables.read_samples(path, self.manifest, levels=True)
        self.recipe = open_cache(path).pipeline
        self.places = {name: row for row, name in enumerate(self.films.ids)}
        self.masks = _masks(catalog, self.films, self.manifest)
        self.left: list[Problem] = []
        self.made = 0

    def run(self, found: Report) -> Report:
        for name in names_in_folder(self.path / layout.BUILD):
            if name.endswith(".part"):
                remove(self.path / layout.BUILD / name)
        for name, document in documents.all_documents(self.manifest).items():
            write(self.path, name, document)
        wanted = self._damaged(found.problems)
        revived = self._revive(wanted)
        for (size, group), rows in sorted(wanted.items()):
            self._mend_shard(size, group, rows)
        goal = fingerprint(self.manifest, self.table["id"].tolist(), self.table)
        interrupted = any(len(sums) > 1 for sums in self.manifest.tables.values())
        if revived or (interrupted and goal != self.manifest):  # a repair ended between the table and the manifest
            self._publish(goal)
        else:
            self.left += check_fingerprint(self.manifest, self.table)
        remove_empty(self.path / layout.BUILD)  # an unfinished build's files may be in it, and stay
        return Report(found.records, tuple(self.left), self.made)

    def _damaged(self, problems: Sequence[Problem]) -> dict[tuple[Size, int], set[int]]:
        """(size, group) -> rows to make; a shard that cannot be opened at all needs every one of its rows."""
        by_name = {
            layout.shard_path(size, group): (size, group)
            for size in self.manifest.arrays
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
        made = tables.results_frame(records.values(), self.manifest.arrays)
        for name in made:
            column = self.table[name].copy()
            column.iloc[list(records)] = made[name].to_numpy()
            self.table[name] = column
        for row in records:
            for size in self.manifest.arrays:
                wanted[size, row // self.manifest.per_shard].add(row)
        return True

    def _now_readable(self, row: int) -> Record | None:
        place = self.places.get(self.table["id"].iloc[row])
        if place is None:
            return None
        try:
            film, source_hash, stamp = film_of(self.films, place, self.recipe)
            found = masks_of(self.masks, place, film, self.manifest)
        except DecodeError:
            return None
        if film.bits > 8 and self.manifest.dtype == "uint8" and not Recipe.parse(film.intensity).eight_bits:
            return None
        levels = {
            str(size): [crc32c(self._stored(size, pixels)), *sums_of(pixels)]
            for size, pixels in made_of(film, found, self.recipe, self.manifest.arrays).items()
        }
        return {**record_of(film, source_hash, stamp), "levels": levels, **mask_facts(found, self.manifest)}

    def _stored(self, size: Size, pixels: NDArray[Any]) -> Any:
        """The bytes of a record, as its checksum is of."""
        if not layout.is_packed(size):
            return little_endian(pixels)
        return documents.codec_of(self.manifest, size).encode(as_record(pixels, self.manifest, size))

    # -- shards --

    def _mend_shard(self, size: Size, group: int, rows: set[int]) -> None:
        """Write one shard again: whole records copied, the others made."""
        manifest, name = self.manifest, layout.shard_path(size, group)
        old = self._present(size, group)
        temporary = self.scratch / f"{size}-{group}.part"
        shard = writer(temporary, manifest, size)
        try:
            for k, row in enumerate(manifest.rows_of(group)):
                record = self._record(row, size, k, old if row not in rows else None)
                if record is None:
                    return
                with explained(self.path / name):
                    self._put(shard, k, record, size)
            with explained(self.path / name):
                shard.finish(len(manifest.rows_of(group)))
                check(self.path)
                make_folders((self.path / name).parent, below=self.path)
                self._forget(group)
                put(temporary, self.path / name)
            self.made += len(rows)
        finally:
            shard.close()
            disk().unlink(temporary)

    def _forget(self, group: int) -> None:
        """An unfinished update that made this row group has to make it again, of the shard that is put there now."""
        if rows_file(self.path, group).exists():
            remove(rows_file(self.path, group))
            if isinstance(self.path, Path):
                disk().sync_folder(self.scratch)

    def _present(self, size: Size, group: int) -> Shard | PackedShard | None:
        try:
            opened = packed_shard if layout.is_packed(size) else shard_of
            return opened(self.path, self.manifest, size, group, whole=True)
        except CorruptCacheError:
            return None

    def _put(self, shard: Writer, k: int, record: bytes, size: Size) -> None:
        if isinstance(shard, PackedWriter):
            shard.put_compressed(k, record)
            return
        stored = np.dtype(self.manifest.dtype).newbyteorder("<")
        shard.put(k, np.frombuffer(record, stored).reshape(size).astype(self.manifest.dtype))

    def _record(self, row: int, size: Size, k: int, old: Shard | PackedShard | None) -> bytes | None:
        """A record's bytes, with the checksum that the table remembers; None, and a Problem, without them."""
        expected = int(self.table[tables.level_column("crc32c", size)].iloc[row])
        found = _copied(old, k, expected)
        if found is not None:
            return found
        pixels, why = self._made_again(row, size)
        if pixels is not None:
            made = bytes(self._stored(size, pixels))
            if crc32c(made) == expected:
                return made
            why = "made again it differs from what the table remembers: other codec or library versions?"
        name = str(self.table["id"].iloc[row])
        self.left.append(Problem(layout.shard_path(size, row // self.manifest.per_shard), why, row, name))
        return None

    def _made_again(self, row: int, size: Size) -> tuple[NDArray[Any] | None, str]:
        if self.table["status"].iloc[row] == "failed":
            return np.zeros(self.manifest.record_shape(size), self.manifest.record_dtype(size)), ""
        place = self.places.get(self.table["id"].iloc[row])
        if place is None:
            return None, "the catalog given to repair does not hold this radiograph"
        try:
            film, source_hash, _ = film_of(self.films, place, levels_recipe(self.recipe, [size]))
            found = masks_of(self.masks, place, film, self.manifest) if isinstance(size, layout.Masks) else None
        except DecodeError as error:
            return None, f"its source cannot be read: {error}"
        if source_hash != self.table["source_hash"].iloc[row]:
            return None, "its source is no longer the file the cache was built from"
        if found is not None and found.content_hash != self.table[tables.MASKS_HASH].iloc[row]:
            return None, "its masks are no longer those the cache was built from"
        return made_of(film, found, self.recipe, [size])[size], ""

    def _publish(self, goal: layout.Manifest) -> None:
        files = {layout.SAMPLES: tables.as_parquet(self.table, self.kept)}
        boxes = tables.read_boxes(self.path, self.manifest, self.table["id"])
        if boxes is not None:
            files[layout.BOXES] = tables.as_parquet(boxes)
        publish(self.path, self.manifest, goal, files)


def _copied(old: Shard | PackedShard | None, k: int, expected: int) -> bytes | None:
    """The bytes of a record that is whole; None for one that is not."""
    if old is None:
        return None
    try:
        if isinstance(old, PackedShard):
            return old.compressed(k, expected)
        record = bytearray(old.step)
        sums = record_sums(old, k, record)
    except CorruptCacheError:
        return None
    return bytes(record[: -layout.CRC_BYTES]) if sums == (expected, expected) else None


def _masks(catalog: "Catalog", films: CatalogFilms, manifest: layout.Manifest) -> MaskTable | None:
    """The catalog's masks in the order of the cache's labels; without a row where the catalog has none."""
    if not manifest.masks:
        return None
    rows = pd.DataFrame({"id": [], "label": [], "rle": []}) if catalog.masks is None else catalog.masks
    return MaskTable(rows, films.ids, catalog.root, manifest.masks)
