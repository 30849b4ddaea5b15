"""`open_cache` and `Cache`: pixels of any size, and the table beside them.

A Cache is a view: an array of stored rows and a table in the same order. `select` and `with_table` make other
views over the same open files, so folds, corrected targets and new columns touch no pixel.
"""

import hashlib
import os
from collections.abc import Callable, Iterable, Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from numpy.typing import ArrayLike, NDArray

from resload.errors import ArgumentError, CacheMismatchError, CorruptCacheError, SizeError
from resload.geometry import Pad
from resload.geometry.placing import native_canvas
from resload.pipeline import Pipeline
from resload.residence import Residences
from resload.size import Native, Size, SizeLike, Spacing, as_size, as_spacing
from resload.store import claims, layout, tables
from resload.store.asopened import AsOpened
from resload.store.layout import Manifest
from resload.store.made import no_masks
from resload.store.matching import with_columns
from resload.store.mirror import Mirror
from resload.store.opened import Shards
from resload.store.plan import begin
from resload.store.pseudonyms import Plain, names_in
from resload.store.remote import Given, Location, location
from resload.store.rows import numeric_targets, rows_in
from resload.store.serving import Served, Serving
from resload.store.slot import Slot
from resload.store.stored import Stored
from resload.store.unfinished import all_finished, planned_ids
from resload.store.whole import Sweep


def open_cache(
    path: Given,
    *,
    mirror: str | os.PathLike[str] | None = None,
    mirror_gb: float | None = None,
    partial: bool = False,
    access: str = "pread",
) -> "Cache":
    """Open the cache at a path; reads its manifest and table, no pixels.

    Args:
        path: the folder that `resload.build` made, also in object storage: "s3://bucket/nih.zarr", "gs://", "az://".
        mirror: a folder of this machine for copies of whole shards, of a cache in object storage or on a shared file
            system: each is fetched once for all processes of the machine, compared with its checksums, and read from
            there. A `Loader` has the shards of its plan fetched ahead. Without one, records in object storage are
            read by a request each, which suits a few of them.
        mirror_gb: how many GB (1e9 bytes) the folder may hold, also of other caches; None: as the disk holds. The copy
            that is used last in the plans of all loaders goes first.
        partial: also open a cache whose first build has not finished; rows that are not there yet have the status
            "pending", and there are no targets.
        access: "pread": from the files, through the system's page cache. "memory": levels in use are read once, whole
            shards at a time, verified, and kept in this process's memory; loading is then a copy, the fastest there
            is, at N * height * width * itemsize bytes for each level in each process. "mmap", for local disks: from
            mapped files, without a system call, which some machines reward; but a file that is truncated while mapped
            kills the process.

    Raises:
        NotACacheError, IncompleteCacheError, NewerFormatError, CorruptCacheError; CacheError for files that cannot be
        read now, for want of permission for example; StorageError where storage does not answer or refuses;
        ArgumentError for a bound that is too small for two shards.
    """
    folder = location(path)
    manifest = layout.read_manifest(folder, partial=partial)
    _check_recipe(folder, manifest)
    if manifest.state != "complete":
        table, kept, boxes = _unfinished(folder, manifest), tables.Kept((), (), ""), None
    else:
        table, kept = tables.read_samples(folder, manifest, levels=True)
        boxes = tables.read_boxes(folder, manifest, table["id"])
    of_level = [tables.is_level_column(str(name)) for name in table]
    own = table.loc[:, [not flag for flag in of_level]]
    levels = table.loc[:, of_level]
    copies = None if mirror is None else _mirror(Path(mirror), mirror_gb, folder, manifest, levels)
    shards = Shards(folder, manifest, access=access, mirror=copies)
    stored = Stored(shards, levels, Serving(str(folder), manifest, own))
    cache = Cache(stored, np.arange(manifest.count), own, kept.targets, boxes)
    if manifest.state == "complete":
        cache._as_opened = AsOpened(manifest, own, kept.targets, boxes)
    return cache


def _check_recipe(folder: Location, manifest: Manifest) -> None:
    try:
        claims.check_recipe(manifest.sizes, manifest.dtype, manifest.recipe)
    except ValueError as exc:
        raise CorruptCacheError(f"{folder / layout.MANIFEST}: the manifest is damaged ({exc}); {layout.COPY}") from exc


def _mirror(
    mirror: Path, gigabytes: float | None, folder: Location, manifest: Manifest, levels: pd.DataFrame
) -> Mirror:
    if gigabytes is not None and not gigabytes > 0:
        raise ArgumentError(f"mirror_gb must be positive; found {gigabytes!r}")

    def crcs(size: Size) -> NDArray[np.uint32]:
        return levels[tables.level_column("crc32c", size)].to_numpy(np.uint32)

    return Mirror(mirror, folder, manifest, crcs, None if gigabytes is None else round(gigabytes * 1e9))


def _unfinished(folder: Location, manifest: Manifest) -> pd.DataFrame:
    """The rows that a first build has finished so far; the others are pending."""
    ids = planned_ids(folder, manifest)
    pending: dict[str, Any] = {name: None if kind == "float64" else "" if kind == "str" else 0
                               for name, kind in tables.RESULTS.items()}  # fmt: skip
    pending |= {"status": "pending", "levels": {str(size): [0, 0, 0] for size in manifest.arrays}}
    if manifest.masks:
        pending |= no_masks(manifest)
    records = [pending] * manifest.count
    for group, found in all_finished(folder, manifest, begin(manifest).tasks, ids).items():
        rows = manifest.rows_of(group)
        records[rows.start : rows.stop] = found
    try:
        frame = tables.results_frame(records, manifest.arrays)
        frame.insert(0, "id", pd.Series(ids, dtype="str"))
        claims.check_samples(frame, {**tables.RESULTS, "id": "str"}, ())
    except Exception as exc:  # a record of another build, or of any types
        raise CorruptCacheError(
            f"{folder / layout.BUILD}: what this build has left is damaged ({type(exc).__name__}: {exc}); run it again"
        ) from exc
    return frame


class Cache:
    """An open cache, or a view of one. Made by `open_cache` and `build`.

    `len(cache)` counts every row, quarantined ones included; `rows()` leaves those out. Reading is thread-safe, and
    works in forked processes. A Cache pickles as its path, some hundred bytes, and is opened again where it is
    unpickled: CacheMismatchError where the files are not those that it was opened from. A view, and a cache whose
    table, targets or boxes were changed, take their rows and tables along; so does one that is not complete.

    Attributes:
        table: pandas, one row per radiograph in row order: the catalog's columns, then what was found in the
            films (height, width, bits, spacing_y, spacing_x in mm per source pixel, status, ...). Yours to change:
            it is only looked at again by methods of this view.
        targets: names of the target columns (float32, NaN = unknown).
        boxes: pandas, or None: id, label, x, y, width, height in source pixels.
    """

    def __init__(
        self,
        stored: Stored,
        rows: NDArray[np.int64],
        table: pd.DataFrame,
        targets: tuple[str, ...],
        boxes: pd.DataFrame | None,
    ) -> None:
        self._stored = stored
        self._rows = rows
        self.table = table
        self.targets = targets
        self.boxes = boxes
        self._readable = (table["status"] == "ok").to_numpy()
        self._as_opened: AsOpened | None = None
        """Of a whole cache, not of a view of one."""

    def __len__(self) -> int:
        return len(self._rows)

    def __repr__(self) -> str:
        sizes = ", ".join(str(size) for size in self.sizes)
        return f"<Cache {self.path}: {len(self)} radiographs at {sizes}, {self.dtype}>"

    def __reduce__(self) -> tuple[Any, ...]:
        shards, mirror = self._stored.shards, self._stored.shards.mirror
        path = str(self.path.absolute() if isinstance(self.path, Path) else self.path)
        copies = None if mirror is None else (str(mirror.folder), mirror.gigabytes)
        where = path, shards.access, copies
        if self._as_opened is not None and self._as_opened.still(self.table, self.targets, self.boxes):
            return _opened_again, (*where, self._as_opened.files)
        digest = self.digest if self._stored.manifest.state == "complete" else ""
        return _seen_again, (*where, digest, self._rows, self.table, self.targets, self.boxes)

    # -- what is there --

    @property
    def path(self) -> Location:
        """The cache's folder: a `Path`, or for object storage what has its `str`, `name` and `/`."""
        return self._stored.path

    @property
    def sizes(self) -> tuple[Size, ...]:
        """The ladder, ascending."""
        return self._stored.manifest.sizes

    @property
    def dtype(self) -> np.dtype[Any]:
        """Of the stored pixels: uint8 or uint16, filling their range."""
        return np.dtype(self._stored.manifest.dtype)

    @property
    def pipeline(self) -> Pipeline:
        """The recipe the cache was built with, resolved: run it on one film to get the same pixels."""
        manifest = self._stored.manifest
        return Pipeline(manifest.sizes, dtype=manifest.dtype, **manifest.recipe)

    @property
    def quarantine(self) -> pd.DataFrame:
        """The radiographs that could not be read: id, path (where it is known), reason."""
        bad = self.table[self.table["status"] == "failed"]
        return bad[[name for name in ("id", "path", "reason") if name in bad]].reset_index(drop=True)

    @property
    def digest(self) -> str:
        """SHA-256 (hex) of the whole cache's content: recipe, ids, sources, and every record of every level."""
        manifest = self._stored.manifest
        total = hashlib.sha256(manifest.fingerprint.encode())
        for size in manifest.arrays:
            total.update(str(size).encode() + self._stored.crcs(size).astype("<u4").tobytes())
        return total.hexdigest()

    def rows(self, *, split: str | None = None, where: object = None) -> NDArray[np.int64]:
        """Row numbers, ascending, int64: of a split, of those that fit a condition, never quarantined ones.

        where: a pandas query ("view == 'PA' and age > 18") or a boolean mask over `table`.

        Raises ArgumentError for an unknown split, query or mask.
        """
        return rows_in(self.table, self._readable, split=split, where=where)

    # -- pixels --

    def read(
        self,
        rows: ArrayLike,
        size: SizeLike | Spacing | str,
        *,
        out: NDArray[Any] | None = None,
        region: ArrayLike | None = None,
        allow_upsample: bool = False,
    ) -> NDArray[Any]:
        """The pixels of these rows at a size: (B, H, W) in the stored dtype, every record verified.

        A stored size comes exactly as it was built. Any other is made from a level, by a second resize that undoes the
        level's kernel: `serving(size)` says from which one, and how far from the film's direct resize to expect it.

        Args:
            rows: row numbers of this view.
            size: int, (height, width), a `Spacing` that shows what this cache shows, or "native": the films at their
                own size, at the top left of zeros as large as the largest of them.
            out: a C-contiguous array of that shape and dtype to read into; returned. Otherwise freshly allocated.
            region: (y, x, height, width) in pixels of the film, one for all rows or (B, 4): only this part of each
                film, cropped and then resized to `size`, from the smallest level with enough pixels of it.
            allow_upsample: also serve sizes larger than every level, and more pixels than a region has, by enlarging.

        Raises SizeError for a size that cannot be served, ArgumentError for rows that are out of range or quarantined
        and for a region outside a film, CorruptCacheError for bytes that differ from their checksum. Releases the GIL
        while reading, summing and resizing.
        """
        chosen, wanted = self._checked(rows), self._canvas(size)
        if isinstance(wanted, Native):
            if region is not None:
                raise ArgumentError("a region is resized to a size in pixels; found size='native': say how large")
            self.serving(wanted)
            wanted = self.native_size(chosen)
        shape = (len(chosen), *wanted)
        if out is None:
            out = np.empty(shape, self.dtype)
        elif out.shape != shape or out.dtype != self.dtype or not out.flags.c_contiguous:
            raise ArgumentError(f"out must be C-contiguous {self.dtype} {shape}; found {out.dtype} {out.shape}")
        if region is not None:
            parts = _regions(region, len(chosen))
            self._stored.fill_regions(out, self._rows[chosen], parts, wanted, allow_upsample=allow_upsample)
            return out
        self.serving(wanted, allow_upsample=allow_upsample)
        self.fill(Slot(out), chosen, wanted, allow_upsample=allow_upsample)
        return out

    def fill(
        self, slot: Slot, rows: NDArray[np.int64], size: Size, start: int = 0, *, allow_upsample: bool = False
    ) -> None:
        """`read` for those who keep their buffers: into images start .. of a slot, arguments not checked again."""
        self._stored.fill(slot, self._rows[rows], size, start, allow_upsample=allow_upsample)

    def ahead(self, rows: NDArray[np.int64], size: Size, *, allow_upsample: bool = False) -> int:
        """Say which rows are read soon, at a size: what of them is not in memory is fetched from storage meanwhile.

        Returns at once, how many bytes they are in the cache's files; 0 where nothing is fetched ahead: levels that
        stay in memory once they were read, films at their own size, systems without posix_fadvise. `Loader` calls it
        for the steps that come next. Arguments are not checked again, and damage is left to `read`. Thread-safe.
        """
        return self._stored.ahead(self._rows[rows], size, allow_upsample=allow_upsample)

    def sweep(self, rows: NDArray[np.int64], sizes: Sequence[Size], *, allow_upsample: bool = False) -> Sweep | None:
        """Say that these rows are all read soon, at these sizes: most of a level that is not in memory, and fits into
        it, is read there from beginning to end, which makes this and every later read faster.

        Returns at once: a thread reads, until the `Sweep` is closed; None where nothing is to be read. `Loader` calls
        it for each epoch. Arguments are not checked again, and damage is left to `read`. Thread-safe.
        """
        return self._stored.sweep(self._rows[rows], sizes, allow_upsample=allow_upsample)

    def expecting(
        self, steps: Iterable[tuple[NDArray[np.int64], Sequence[Size]]], *, allow_upsample: bool = False
    ) -> AbstractContextManager[Callable[[int], None]] | None:
        """Say what is read from now on, step by step: (rows of this view, sizes). None for a cache without a mirror,
        in which case no step is looked at.

        While the context lasts, threads fetch what comes next into the mirror, and all processes that share it know
        which copies are needed soonest. It gives a function: call it with the number of each step once everything
        before that step was read. `Loader` does all this for each epoch. Thread-safe.
        """
        return self._stored.expecting(
            ((self._rows[rows], sizes) for rows, sizes in steps), allow_upsample=allow_upsample
        )

    def read_masks(
        self, rows: ArrayLike, size: SizeLike | Spacing | str, *, allow_upsample: bool = False
    ) -> NDArray[np.uint8]:
        """The coverage of these rows' masks at a size: (B, K, H, W) uint8, 0 (outside) to 255 (all of a pixel inside).

        K as in `masks`. What nobody looked for is 0 too: `masks_known` tells it from what is known to be empty. A
        stored size comes as it was built, any other from the next larger level: areas of areas ("native" from the
        largest, whose pixels are taken to be covered evenly). What counts as inside is for the caller to say:
        `masks >= 128` is half of a pixel, `masks > 0` any of it.

        Raises ArgumentError in a cache without masks and as `read` does, CorruptCacheError for damaged records.
        """
        chosen, wanted = self._checked(rows), self._canvas(size)
        self._stored.serving.level_for(wanted, allow_upsample=allow_upsample)
        if isinstance(wanted, Native):
            wanted = self.native_size(chosen)
        return self._stored.masks(self._rows[chosen], wanted)

    def fill_masks(self, rows: NDArray[np.int64], size: Size, *, nearest: bool = False) -> NDArray[np.uint8]:
        """`read_masks`, arguments not checked again; `nearest`: 255 where a pixel's centre is inside, else 0."""
        return self._stored.masks(self._rows[rows], size, nearest=nearest)

    @property
    def masks(self) -> tuple[str, ...]:
        """The labels of the masks, in the order of the second axis of `read_masks`; none in a cache without masks."""
        return self._stored.manifest.masks

    def masks_known(self, rows: NDArray[np.int64]) -> NDArray[np.bool_]:
        """(B, K) bool, a new array: whether anybody looked for this finding on these rows."""
        names = [tables.mask_column(label) for label in self.masks]
        return self.table[names].iloc[rows].notna().to_numpy()

    def native_size(self, rows: NDArray[np.int64]) -> Native:
        """The largest height and width of these rows' films: how large a batch of them is at their own size."""
        return native_canvas(self._stored.serving.films[self._rows[rows]])

    def serving(self, size: SizeLike | Spacing | str, *, allow_upsample: bool = False) -> Served:
        """Which level serves a size, and how far from the direct resize of the films its pixels are expected to be.

        Raises SizeError for a size that cannot be served; logs one warning for a size that is more than 5/8 of every
        level, since it is further from exact than it need be.
        """
        return self._stored.serving.served(self._canvas(size), allow_upsample=allow_upsample)

    def resize(self, images: NDArray[Any], rows: NDArray[np.int64], level: Size, size: Size, out: NDArray[Any]) -> None:
        """Levels (n, *level) of these rows, as they are stored -> `out` (n, *size), of the stored dtype."""
        self._stored.serving.resample(images, self._rows[rows], level, size, out)

    def resize_on_device(self, images: torch.Tensor, rows: NDArray[np.int64], level: Size, size: Size) -> torch.Tensor:
        """Levels (B, 1, *level) of these rows, on any device -> (B, 1, *size) float32 there, in whole stored units."""
        return self._stored.serving.resample_on_device(images, self._rows[rows], level, size)

    def facts(self, rows: NDArray[np.int64], size: Size) -> NDArray[np.float32]:
        """`geometry.facts_at` of these rows at a size, float32 (n, 16), a new array."""
        return self._stored.serving.facts(self._rows[rows], size)

    def holds(self, size: Size) -> bool:
        """Whether this size is a stored level that is kept in memory once read, because its records are small."""
        return size in self.sizes and not isinstance(size, Native) and self._stored.level(size).held

    @property
    def residences(self) -> Residences:
        """What loaders with `resident=True` keep of this cache on devices: one for all of its views, in the rows of
        `stored_rows`. `Loader.close` gives it back.
        """
        return self._stored.residences

    def stored_rows(self, rows: NDArray[np.int64]) -> NDArray[np.int64]:
        """The rows of the whole cache that these rows of this view are, (n,), a new array."""
        return self._rows[rows]

    def _canvas(self, size: SizeLike | Spacing | str) -> Size:
        """The size in pixels. Raises SizeError for a Spacing that shows another field than this cache."""
        if isinstance(size, Size):
            return size
        spacing = as_spacing(size)
        if spacing is None:
            return as_size(size)
        fit = self._stored.serving.fit
        field = fit.field if isinstance(fit, Pad) else None
        if field != spacing.field:
            shown = "films whole or cropped, not a field in millimetres"
            raise SizeError(
                f"{spacing} shows {spacing.field[0]:g} x {spacing.field[1]:g} mm of a film; {self.path} shows "
                f"{shown if field is None else f'{field[0]:g} x {field[1]:g} mm'}; build to another path with this size"
            )
        return spacing.canvas

    def _checked(self, rows: ArrayLike) -> NDArray[np.int64]:
        chosen = np.asarray(rows)
        if chosen.ndim != 1 or (chosen.size and chosen.dtype.kind not in "iu"):
            raise ArgumentError(f"rows must be a list of row numbers; found {chosen.dtype} of shape {chosen.shape}")
        chosen = chosen.astype(np.int64)
        if chosen.size and not (chosen.min() >= 0 and chosen.max() < len(self)):
            raise ArgumentError(f"rows must lie in 0 .. {len(self) - 1}; found {chosen.min()} .. {chosen.max()}")
        bad = chosen[~self._readable[chosen]]
        if bad.size:
            row = self.table.iloc[int(bad[0])]
            raise ArgumentError(
                f"row {bad[0]} ({row['id']!r}) has no pixels: {row['status']} {row['reason']}; "
                "cache.rows() leaves such rows out"
            )
        return chosen

    def stats(self, size: SizeLike | Spacing, rows: ArrayLike | None = None) -> tuple[float, float]:
        """Mean and standard deviation of the pixels of these rows (all readable ones) at a size, on [0, 1].

        From integer sums that the build recorded; no pixel is read. Exact for a stored size; for another they are
        those of the level that serves it, whose standard deviation is a little larger.
        """
        level = self.serving(size).level
        chosen = self._rows[self.rows() if rows is None else self._checked(rows)]
        if chosen.size == 0:
            raise ArgumentError("stats of no rows: choose at least one")
        total, squares = (sum(column[chosen].tolist()) for column in self._stored.sums(level))
        count, top = self._stored.pixels(chosen, level), int(np.iinfo(self.dtype).max)
        variance = (squares * count - total * total) / (count * count)
        return total / count / top, float(np.sqrt(variance)) / top

    # -- views --

    def select(self, rows: ArrayLike | None = None, *, split: str | None = None, where: object = None) -> "Cache":
        """A view of some rows, in the order given; `split` and `where` as in `rows`. No pixel is touched."""
        if rows is None:
            chosen = self.rows(split=split, where=where)
        elif split is not None or where is not None:
            raise ArgumentError("select takes rows, or split and where; found both")
        else:
            chosen = self._checked(rows)
        table = self.table.iloc[chosen].reset_index(drop=True)
        boxes = None if self.boxes is None else self.boxes[self.boxes["id"].isin(table["id"])].reset_index(drop=True)
        return Cache(self._stored, self._rows[chosen], table, self.targets, boxes)

    def with_table(
        self,
        table: pd.DataFrame,
        on: str = "id",
        targets: Sequence[str] | None = None,
        *,
        pseudonymise: str | bytes | None = None,
    ) -> "Cache":
        """A view with other targets, splits or columns: `table`'s columns replace or join those that are here.

        Args:
            table: one row per value of the column `on`; rows here without a match get NaN (logged with their number).
            on: a column of both tables.
            targets: which columns are the targets now; the ones that were, when None.
            pseudonymise: the key of a cache that was built with one, where `table` has the identifiers as they were
                before; not for a table that has those of this cache.

        Raises ArgumentError when `on` is missing or repeats, when nothing matches, or a target is not numeric;
        CacheMismatchError for another key than the cache's.
        """
        names = Plain() if pseudonymise is None else names_in(self.path, self._stored.manifest, pseudonymise)
        hashed = bool(self._stored.manifest.pseudonyms)
        joined = with_columns(self.table, table, on, names, hashed=hashed)
        return Cache(self._stored, self._rows, joined, numeric_targets(joined, targets or self.targets), self.boxes)

    def close(self) -> None:
        """Let go of open files and held memory, for every view of this cache; the next read opens them again.

        What loaders keep on devices is theirs: see `Loader.close`.
        """
        self._stored.close()


def _regions(region: ArrayLike, count: int) -> NDArray[np.int64]:
    found = np.asarray(region)
    if found.shape not in ((4,), (count, 4)) or found.dtype.kind not in "iu":
        raise ArgumentError(
            f"region must be whole numbers (y, x, height, width), one for all or ({count}, 4); found {found.dtype} "
            f"{found.shape}"
        )
    return np.broadcast_to(found.astype(np.int64), (count, 4))


def _opened_again(path: str, access: str, mirror: tuple[str, float | None] | None, files: str) -> Cache:
    """A whole cache, in another process."""
    folder, gigabytes = mirror or (None, None)
    cache = open_cache(path, mirror=folder, mirror_gb=gigabytes, access=access)
    if cache._as_opened is None or cache._as_opened.files != files:
        raise CacheMismatchError(
            f"{path}: its films, sizes or tables have changed since the cache that was pickled was opened; open it "
            "again, and pickle that"
        )
    return cache


def _seen_again(
    path: str,
    access: str,
    mirror: tuple[str, float | None] | None,
    digest: str,
    rows: NDArray[np.int64],
    table: pd.DataFrame,
    targets: tuple[str, ...],
    boxes: pd.DataFrame | None,
) -> Cache:
    """A view, in another process. digest: of the cache; "" of one that was not complete."""
    folder, gigabytes = mirror or (None, None)
    whole = open_cache(path, mirror=folder, mirror_gb=gigabytes, partial=not digest, access=access)
    if (digest and whole.digest != digest) or (len(rows) and int(rows.max()) >= len(whole)):
        raise CacheMismatchError(
            f"{path}: its films or sizes have changed since the cache was opened that this view of it was pickled "
            "from; open it again, make the view again, and pickle that"
        )
    return Cache(whole._stored, rows, table, targets, boxes)
