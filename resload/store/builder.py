"""`build`: its arguments, checked, and the job that they ask for; `build_each`: several recipes from one decode."""

from collections.abc import Mapping, Sequence
from concurrent.futures import wait
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from resload.errors import ArgumentError, CacheMismatchError
from resload.executors import Workers, open_executor
from resload.geometry import Fit, as_fit
from resload.pipeline import Pipeline
from resload.pipeline.engine import CPU, Engine, engine_of
from resload.pipeline.once import Once
from resload.size import Native, Size, as_ladder, ladder_for, largest_asked, reaches
from resload.store import layout, tables
from resload.store.alone import alone
from resload.store.cache import Cache, open_cache
from resload.store.commit import explained, is_empty, make_folders, names_in
from resload.store.job import Job
from resload.store.pseudonyms import Plain, names_of
from resload.store.remote import Given, Location, location
from resload.store.spread import crew_of
from resload.threads import ThreadPool, thread_count

if TYPE_CHECKING:
    import torch

    from resload.catalog import Catalog

CHECKS = ("stamp", "hash", "none")


def build(
    catalog: "Catalog",
    path: Given,
    sizes: object = None,
    *,
    pipeline: Pipeline | None = None,
    intensity: str = "auto",
    fit: str | Fit = "stretch",
    aspect: str = "pixel",
    kernel: str = "triangle",
    dtype: str = "auto",
    columns: Sequence[str] = (),
    identifiers: str = "number",
    pseudonymise: str | bytes | None = None,
    shard_mb: float = 512,
    shuffle_seed: int = 0,
    on_error: str = "quarantine",
    check: str = "stamp",
    decode: str = "cpu",
    device: "str | torch.device" = "cpu",
    threads: int | None = None,
    executor: object = None,
    progress: bool = True,
) -> Cache:
    """Build, finish, extend or correct the cache at `path`, and open it.

    First says how many bytes, files and minutes it takes, and refuses if the disk has less room. Running it again
    finishes what is missing, adds new sizes and rows, writes the tables again when targets or splits changed, and
    touches no complete shard. May be killed at any moment: only the row groups in flight are lost.

    Args:
        catalog: the radiographs. On a later run it must hold every radiograph the cache has; others are added.
        path: a folder that is empty, absent, or a cache; also of object storage, as "s3://bucket/nih.zarr" (`gs://`,
            `az://`): row groups are then made in the folder for temporary files (TMPDIR) and put whole.
        sizes: the ladder, for example (64, 128, 256, 512); ints, (height, width), `Spacing` in millimetres per pixel,
            "auto" (also "auto:768"): the ladder that serves every size up to 512 (768) well, with the least disk; and
            "native": the films themselves, compressed, from which every size can be served exactly.
        pipeline: the whole recipe as a value; instead of `sizes` and the five arguments after it.
        intensity, fit, aspect, kernel, dtype: the recipe's parts, see `Pipeline`.
        columns: further catalog columns to copy into the cache; nothing else is copied.
        identifiers: "number" stores patients and groups as plain numbers, "keep" as they are.
        pseudonymise: a key (at least 16 bytes, text or bytes): ids, patients and groups are stored as keyed hashes
            (HMAC-SHA256, 128 bits) and paths not at all; boxes and masks go by the same ids. The key is not stored:
            keep it, every later build, repair and `verify(sources=)` needs it. Columns that you name are copied as
            they are.
        shard_mb: upper bound of a shard file, in MiB.
        shuffle_seed: of the order in which films are stored; a cache keeps the one it began with.
        on_error: "quarantine" stores zeros and the reason for a film that cannot be read, "raise" stops.
        check: how a stored film's source is compared with the file that is there now: "stamp" by size and
            modification time, and by content when these differ; "hash" always by content; "none" not at all.
        decode: "cpu", or "dali": NVIDIA DALI decodes JPEG, JPEG 2000 and HTJ2K, also inside DICOM, on `device`. Where
            those lose nothing the cache is the same but for its column `decoder`.
        device: "cuda" resizes films there, within the same bounds of the exact resize; the cache says nothing of it.
        threads: how many films at once; as many as this process may use when None. With an executor: how many of each
            task, one when None.
        executor: who makes films: a `concurrent.futures.Executor` (threads, processes, mpi4py.futures, Dask's
            `client.get_executor()`) or a `distributed.Client`, which stay open; or "processes", "processes:4", "dask",
            "dask:tcp://host:8786", "dask:scheduler.json", "ray", "ray:auto", which are opened and closed. A task is a
            row group; workers write it straight into the cache, whose path and films they must see as this process
            does. `decode` and `device` are the workers' then. The cache is the same, byte for byte. None: threads of
            this process.
        progress: say what is done, on stderr.

    Raises:
        CacheMismatchError: the cache there has another recipe, depth or key, or its sources have changed.
        CacheError: the cache cannot be written: no permission, a read-only or failing disk. What is built is kept.
        DiskSpaceError: the disk has less room than the step needs, or was full before its end. What is built is kept.
        CatalogError: no film of the catalog can be read.
        BuildInProgressError: another process is building this cache.
        DecodeError: a film cannot be read, with on_error="raise".
        WorkerError: a worker of the executor died, or does not see the cache or the films; what is finished is kept.
        MissingPackageError: decode="dali" without DALI, or an executor without its package.
    """
    _check_choices(on_error, check, shard_mb)
    cache = location(path)
    parts = {"intensity": intensity, "fit": as_fit(fit), "aspect": aspect, "kernel": kernel, "dtype": dtype}
    names, kept = names_of(pseudonymise), tables.kept_of(catalog, columns, identifiers)
    if names.check:
        if identifiers != "number":
            raise ArgumentError(
                f"identifiers={identifiers!r} contradicts pseudonymise=, which hashes them: leave it out"
            )
        kept = replace(kept, identifiers=tables.PSEUDONYMS)
    count = thread_count(1 if threads is None and executor is not None else threads)
    engine = engine_of(decode, device, count) if executor is None else CPU
    with open_executor(executor, threads=count, gpu=str(device).startswith("cuda")) as workers:
        recipe = _recipe(_decided(sizes, catalog, cache, workers), pipeline, parts)
        job = Job(
            names.catalog(catalog),
            cache,
            recipe,
            kept,
            names,
            shard_mb,
            shuffle_seed,
            on_error,
            count,
            progress,
            engine,
            None if workers is None else crew_of(workers, decode, device, count),
        )
        return _done(job, check)


def build_each(
    catalog: "Catalog",
    recipes: Mapping[Given, Pipeline],
    *,
    columns: Sequence[str] = (),
    threads: int | None = None,
    progress: bool = True,
) -> list[Cache]:
    """A cache for each of several recipes, path -> recipe, from one decode of each film; in their order.

    What `build` would have built with each, byte for byte, and as resumable; films are decoded by the CPU, `threads`
    at a time over all caches. Raises what `build` does, of the first recipe that failed, once all have ended.
    """
    count = max(1, thread_count(threads) // len(recipes))
    once = Once(len(recipes), 4 * count * len(recipes))
    kept = tables.kept_of(catalog, columns, "number")

    def one(path: Given, recipe: Pipeline, first: bool) -> Cache:
        options = (512, 0, "quarantine", count, progress and first, Engine(once=once))
        try:
            return _done(Job(catalog, location(path), recipe, kept, Plain(), *options), "stamp")
        finally:
            once.ended()

    with ThreadPool(len(recipes), "resload-recipe") as pool:
        futures = [pool.submit(one, path, recipe, k == 0) for k, (path, recipe) in enumerate(recipes.items())]
        try:
            wait(futures)
        except BaseException:
            once.stop()
            raise
    return [future.result() for future in futures]


def _done(job: Job, check: str) -> Cache:
    with explained(job.cache):
        _claim(job.cache)
    with explained(job.cache), alone(job.cache):
        job.bring_up_to_date(check)
    return open_cache(job.cache)


def _check_choices(on_error: str, check: str, shard_mb: float) -> None:
    if on_error not in ("quarantine", "raise"):
        raise ArgumentError(f"on_error must be quarantine or raise; found {on_error!r}")
    if check not in CHECKS:
        raise ArgumentError(f"check must be one of {', '.join(CHECKS)}; found {check!r}")
    if not shard_mb > 0:
        raise ArgumentError(f"shard_mb must be positive; found {shard_mb!r}")


def _recipe(sizes: Any, pipeline: Pipeline | None, parts: dict[str, Any]) -> Pipeline:
    if pipeline is None:
        if sizes is None:
            raise ArgumentError("build needs sizes, for example sizes=(128, 256, 512), or a pipeline; found neither")
        return Pipeline(sizes, **parts)
    plain = Pipeline(as_ladder(1))
    given = [name for name, value in parts.items() if value != getattr(plain, name)]
    if sizes is not None or given:
        raise ArgumentError(f"pipeline= holds the whole recipe; do not pass {['sizes', *given]} beside it")
    return pipeline


def _decided(sizes: Any, catalog: "Catalog", cache: Location, workers: Workers | None) -> Any:
    """Sizes with "auto" replaced by the ladder it stands for: what the cache has, where that is good enough."""
    largest = None if sizes is None else largest_asked(sizes)
    if largest is None:
        return sizes
    others = [one for one in ([sizes] if isinstance(sizes, str) else sizes) if largest_asked([one]) is None]
    films = _largest_film(catalog, workers)
    wanted = ladder_for(largest, films)
    if (cache / layout.MANIFEST).exists():
        present = layout.read_manifest(cache, partial=True).sizes
        if any(isinstance(level, Native) or reaches(level, largest) or level == films for level in present):
            wanted = present
    return [*others, *wanted]


def _largest_film(catalog: "Catalog", workers: Workers | None) -> Size:
    """(height, width) that no film of the catalog exceeds, from its columns or the files' headers."""
    table = catalog.table
    if "height" not in table or table[["height", "width"]].isna().any(axis=None):
        table = catalog.scan(progress=False, executor=workers).table
    return Size(*(int(table[name].max()) for name in ("height", "width")))


def _claim(cache: Location) -> None:
    """Make the folder, unless something else is there."""
    if cache.is_file():
        raise CacheMismatchError(f"{cache}: a file is here; give the path of a new folder for the cache")
    entries = set(names_in(cache))
    if entries - {layout.BUILD} and layout.MANIFEST not in entries:  # .build alone: killed in its first instants
        raise CacheMismatchError(f"{cache}: this folder holds other files; give the path of a new one")
    if isinstance(cache, Path):
        make_folders(cache.absolute(), below=_nearest(cache))


def _nearest(folder: Path) -> Path:
    """The folder, or the nearest one above it that is there and holds something: its own name is certain."""
    return next(path for path in (folder.absolute(), *folder.absolute().parents) if not is_empty(path))
