"""Checking a cache record by record: every level, every record, both of its checksums, every document.

Where its films are at hand, a sample of them is decoded again and compared with what is stored (proof.py).
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from crc32c import crc32c
from numpy.typing import NDArray
from tqdm import tqdm

from resload.errors import ArgumentError, CorruptCacheError, StorageError
from resload.pipeline.recipe import CatalogFilms
from resload.seeds import permutation
from resload.size import Size
from resload.store import documents, guarded, layout, tables
from resload.store.arrays import packed_shard, shard_of
from resload.store.cache import Cache, open_cache
from resload.store.identity import fingerprint
from resload.store.layout import Manifest
from resload.store.proof import Finding, LevelError, Proof
from resload.store.pseudonyms import Plain, names_in
from resload.store.remote import Given, Location, location
from resload.store.shard import Shard
from resload.threads import ordered_map, thread_count

if TYPE_CHECKING:
    from resload.catalog import Catalog


@dataclass(frozen=True)
class Problem:
    """One thing that is wrong."""

    file: str
    """Relative to the cache; for a source that is missing or has changed, the source's own path."""
    what: str
    """In words."""
    row: int | None = None
    """The row whose record it is; None when the whole file is meant."""
    id: str | None = None
    repairable: bool = True
    """Whether it is damage, which `repair` looks for. False for what only a film decoded again can show."""


@dataclass(frozen=True)
class Report:
    """What `verify` or `repair` found."""

    records: int
    """How many records were read."""
    problems: tuple[Problem, ...]
    repaired: int = 0
    """How many records `repair` made again."""
    sources: int = 0
    """How many films were decoded again and compared."""
    readable: int = 0
    """How many films the cache holds, quarantined ones not counted; 0 from `repair`."""
    levels: tuple[LevelError, ...] = ()
    """How far their records are from the float64 reference, for each size."""
    digest: str = ""
    """`Cache.digest`: SHA-256 (hex) of recipe, ids, sources and every record of every level; "" from `repair`. It says
    which pixels these are only when `ok`."""

    @property
    def ok(self) -> bool:
        """True when nothing is wrong."""
        return not self.problems


def verify(
    cache: Cache | Given,
    *,
    sources: int = 0,
    catalog: "Catalog | None" = None,
    seed: int = 0,
    pseudonymise: str | bytes | None = None,
    threads: int | None = None,
    progress: bool = True,
) -> Report:
    """Read every record of every level and compare it with both of its checksums.

    With `sources`, also decode so many films again and compare all that is stored of them with the float64 reference
    (`resload.reference`): the proof that the cache holds these films and not only that it is as it was written.
    Everything that is wrong is listed; nothing is changed. The tables' own sums are verified by opening the cache.

    Args:
        cache: an open cache (all of it is checked, also when this is a view) or its path. Quarantined rows are
            checked too: theirs are zeros.
        sources: how many films to decode again, chosen at random among the readable ones; all when there are fewer.
            A source that is missing, or is not the file it was (by its hash), is a problem.
        catalog: where the films are, under the same ids; a cache itself does not know where its films lie.
        seed: of the choice. More films with the same seed are the same ones and others.
        pseudonymise: the key of a cache that was built with one, to find its films in the catalog.
        threads: how many shards, then films, at once; all cores when None.
        progress: whether to show bars.

    Raises ArgumentError for `sources` below 0 or without a catalog; CacheMismatchError for a key that is not
    the cache's; CorruptCacheError, NotACacheError, IncompleteCacheError and NewerFormatError as `open_cache` does.
    """
    if isinstance(sources, bool) or not isinstance(sources, int) or sources < 0:
        raise ArgumentError(f"sources must be an int >= 0: how many films to decode again; found {sources!r}")
    if sources and catalog is None:
        raise ArgumentError(
            f"sources={sources} needs the films: give catalog=..., the catalog that the cache was built from"
        )
    path, count = cache.path if isinstance(cache, Cache) else location(cache), thread_count(threads)
    opened = open_cache(path)
    manifest = layout.read_manifest(path)
    names = names_in(path, manifest, pseudonymise) if sources or pseudonymise is not None else Plain()
    table, _ = tables.read_samples(path, manifest, levels=True)
    problems = _check_documents(path, manifest) + check_fingerprint(manifest, table)
    problems += _check_shards(path, manifest, table, threads=count, progress=progress)
    readable = np.flatnonzero((table["status"] == "ok").to_numpy())
    done, levels = 0, tuple[LevelError, ...]()
    if sources and catalog is not None:
        rows = np.sort(readable[permutation(len(readable), seed, 0, "verify")[:sources]])
        films = CatalogFilms(names.catalog(catalog), names.seal)
        proof = Proof(opened.pipeline, table, films, lambda row, size: _whole(path, manifest, table, row, size))
        done, levels, found = _check_sources(proof, rows.tolist(), threads=count, progress=progress)
        problems += [_as_problem(manifest, table, one) for one in found]
    records = manifest.count * len(manifest.arrays)
    return Report(records, tuple(problems), 0, done, len(readable), levels, opened.digest)


def _check_documents(cache: Location, manifest: Manifest) -> list[Problem]:
    """Every metadata document must be what the manifest implies, or other Zarr readers see something else."""
    problems = []
    for name, document in documents.all_documents(manifest).items():
        try:
            same = guarded.document(cache, name) == document
        except StorageError:
            raise
        except (OSError, ValueError):
            same = False
        if not same:
            problems.append(Problem(name, "missing, or not what the manifest implies"))
    return problems


def check_fingerprint(manifest: Manifest, table: pd.DataFrame) -> list[Problem]:
    """The digest that one cites holds the fingerprint, so it must be that of what is here."""
    if fingerprint(manifest, table["id"].tolist(), table).fingerprint == manifest.fingerprint:
        return []
    return [Problem(layout.MANIFEST, "its fingerprint is not that of its recipe and of the table's ids and sources")]


def _check_shards(
    path: Location, manifest: Manifest, table: pd.DataFrame, *, threads: int, progress: bool
) -> list[Problem]:
    shards = [(size, group) for size in manifest.arrays for group in range(manifest.groups)]
    sums = {size: table[tables.level_column("crc32c", size)].to_numpy(np.uint32) for size in manifest.arrays}
    ids = table["id"].tolist()

    def check(one: tuple[Size, int]) -> list[Problem]:
        rows = manifest.rows_of(one[1])
        return _check_shard(path, manifest, *one, sums[one[0]][rows.start : rows.stop], ids)

    problems = []
    with tqdm(total=len(shards), unit="shard", desc=f"verify {path.name}", disable=None if progress else True) as bar:
        for found in ordered_map(check, shards, threads=threads, window=4 * threads):
            problems += found
            bar.update()
    return problems


def _check_shard(
    cache: Location, manifest: Manifest, size: Size, group: int, expected: NDArray[np.uint32], ids: Sequence[str]
) -> list[Problem]:
    name = layout.shard_path(size, group)
    rows = manifest.rows_of(group)
    if layout.is_packed(size):
        return _check_packed(cache, manifest, size, group, expected, ids)
    try:
        shard = shard_of(cache, manifest, size, group, whole=True)
    except CorruptCacheError as exc:
        return [Problem(name, str(exc).partition(": ")[2].partition(";")[0])]
    problems: list[Problem] = []
    record = bytearray(shard.step)
    for k, row in enumerate(rows):
        try:
            body_sum, stored = record_sums(shard, k, record)
        except CorruptCacheError as exc:
            problems.append(Problem(name, f"record {k}: {_words(exc)}", row, ids[row]))
            continue
        if not body_sum == stored == int(expected[k]):
            what = (
                f"record {k}: its pixels sum to {body_sum:08x}, the shard says {stored:08x}, "
                f"the table says {int(expected[k]):08x} (crc32c)"
            )
            problems.append(Problem(name, what, row, ids[row]))
    return problems


def _check_packed(
    cache: Location, manifest: Manifest, size: Size, group: int, expected: NDArray[np.uint32], ids: Sequence[str]
) -> list[Problem]:
    """Compressed records: both sums of each, and that it decodes to its shape."""
    name, rows = layout.shard_path(size, group), manifest.rows_of(group)
    try:
        shard = packed_shard(cache, manifest, size, group, whole=True)
    except CorruptCacheError as exc:
        return [Problem(name, _words(exc))]
    problems = []
    for k, row in enumerate(rows):
        try:
            shard.read(k, int(expected[k]))
        except CorruptCacheError as exc:
            problems.append(Problem(name, _words(exc), row, ids[row]))
    return problems


def _words(error: CorruptCacheError) -> str:
    """What is wrong, without the file's name and the remedy."""
    return str(error).partition(": ")[2].rpartition(";")[0]


# -- films decoded again --


def _check_sources(
    proof: Proof, rows: list[int], *, threads: int, progress: bool
) -> tuple[int, tuple[LevelError, ...], list[Finding]]:
    """(how many films were compared, their errors by level, what is wrong)."""
    errors, problems = [], []
    with tqdm(total=len(rows), unit="film", desc="sources", disable=None if progress else True) as bar:
        for of_film, found in proof.of(rows, threads=threads):
            errors.append(of_film)
            problems += found
            bar.update()
    return sum(1 for one in errors if one), proof.summed(errors), problems


def _as_problem(manifest: Manifest, table: pd.DataFrame, found: Finding) -> Problem:
    if found.size is not None:
        file = layout.shard_path(found.size, found.row // manifest.per_shard)
        what = f"{found.size}: {found.what}"
    else:
        file = layout.SAMPLES if found.source is None else str(found.source)
        what = found.what
    return Problem(file, what, found.row, str(table["id"].iloc[found.row]), repairable=False)


def _whole(path: Location, manifest: Manifest, table: pd.DataFrame, row: int, size: Size) -> NDArray[Any] | None:
    """A record's pixels; None where it is damaged, which the checksums have told already."""
    group, k = divmod(row, manifest.per_shard)
    expected = int(table[tables.level_column("crc32c", size)].iloc[row])
    try:
        if layout.is_packed(size):
            height, width = table[["height", "width"]].iloc[row].astype(int)
            return packed_shard(path, manifest, size, group).read(k, expected, rows=height)[:, :width]
        shard = shard_of(path, manifest, size, group)
        record = bytearray(shard.step)
        if record_sums(shard, k, record) != (expected, expected):
            return None
    except CorruptCacheError:
        return None
    return np.frombuffer(record, np.dtype(manifest.dtype).newbyteorder("<"), size.pixels).reshape(size)


# -- one shard, one record --


def record_sums(shard: Shard, k: int, record: bytearray) -> tuple[int, int]:
    """(the sum of record k's pixels, the sum stored behind them); the record is left in the buffer."""
    shard.read_into(memoryview(record), k * shard.step)
    body = memoryview(record)[: -layout.CRC_BYTES]
    return crc32c(body), int.from_bytes(record[-layout.CRC_BYTES :], "little")
