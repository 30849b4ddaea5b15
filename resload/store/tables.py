"""samples.parquet and boxes.parquet: what a cache knows about its films beside their pixels.

samples.parquet holds three kinds of columns, in row order:

    from the catalog   id, path (relative to the catalog's root; none where ids are pseudonyms), patient and group (as
                       plain numbers unless asked otherwise), slot, split, frame_index, the targets, and the extra
                       columns the user named
    from the film      RESULTS below: source shape, spacing, depth, decoder, hash, status, reason
    from each level    crc32c_512x512, sum_512x512, sumsq_512x512: each record's checksum and the integer sums
                       from which statistics are exact whatever the order they are added in

Nothing else is copied: no other column of the catalog, no absolute path, no time, no host. The parquet schema's
metadata says which columns are targets, so that the file explains itself. The manifest holds the sum of each
table's bytes, which is verified whenever the table is read.
"""

import errno
import hashlib
import json
import os
import re
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path, PurePath
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from resload import parquet
from resload.errors import ArgumentError, CacheError, CacheMismatchError, CorruptCacheError
from resload.regular import TooLong
from resload.size import Native, Size
from resload.store import claims, guarded
from resload.store.layout import BOXES, MANIFEST, SAMPLES, Manifest
from resload.store.remote import Location
from resload.store.unreadable import unreadable

if TYPE_CHECKING:
    from resload.catalog import Catalog

CARRIED = ("id", "path", "patient", "group", "slot", "split", "frame_index")
"""Catalog columns that are always copied when they are there."""
NUMBERED = ("patient", "group")
"""Those that name people or exams: stored as plain numbers unless asked otherwise."""
RESULTS: dict[str, str] = {
    "height": "int32",
    "width": "int32",
    "bits": "int8",
    "scale": "float64",
    "offset": "float64",
    "intensity": "str",
    "spacing_y": "float64",
    "spacing_x": "float64",
    "content_y": "int32",
    "content_x": "int32",
    "content_height": "int32",
    "content_width": "int32",
    "chest_wall": "str",
    "decoder": "str",
    "source_hash": "str",
    "source_stamp": "str",
    "status": "str",
    "reason": "str",
}
"""Columns that making a film fills; a failed film has zeros, NaN and empty strings but for status and reason."""
LEVEL_COLUMNS = {"crc32c": "uint32", "sum": "uint64", "sumsq": "uint64"}
IDENTIFIERS = ("number", "keep")
PSEUDONYMS = "pseudonyms"
"""What a table says of its identifiers where they are hashed under a key."""
_REMEDY = {
    SAMPLES: "it cannot be made again without decoding: restore it and zarr.json from one copy of the cache, or build "
    "the cache anew",
    BOXES: "resload.repair writes it again from a catalog with the same boxes; else restore it and zarr.json from one "
    "copy of the cache",
}
_METADATA = b"resload"
_ARRAY = re.compile(r"native|(masks_)?\d+x\d+")


MASKS_HASH, MASKS_STAMP = "masks_hash", "masks_stamp"


def mask_column(label: str) -> str:
    """`mask_area_nodule`."""
    return f"mask_area_{label}"


def is_mask_column(name: str) -> bool:
    """Whether a column says what is known of masks."""
    return name in (MASKS_HASH, MASKS_STAMP) or name.startswith(mask_column(""))


def level_column(kind: str, size: Size) -> str:
    """`crc32c_512x512`."""
    return f"{kind}_{size}"


@dataclass(frozen=True)
class Kept:
    """Which parts of a catalog a cache keeps."""

    targets: tuple[str, ...]
    columns: tuple[str, ...]
    identifiers: str


def kept_of(catalog: "Catalog", columns: Sequence[str], identifiers: str) -> Kept:
    """What to keep of a catalog; refuses columns that are not there or that would hide one of ours."""
    if identifiers not in IDENTIFIERS:
        raise ArgumentError(f"identifiers must be one of {', '.join(IDENTIFIERS)}; found {identifiers!r}")
    missing = [name for name in columns if name not in catalog.table]
    if missing:
        raise ArgumentError(f"columns={missing}: not in the catalog, which has {list(catalog.table.columns)}")
    named = tuple(name for name in columns if name not in CARRIED and name not in RESULTS)
    extra = tuple(name for name in named if name not in catalog.targets)
    hidden = [name for name in (*catalog.targets, *extra) if name in RESULTS or is_ours(name)]
    if hidden:
        raise ArgumentError(f"{hidden}: these names are used by the cache itself; rename the columns")
    return Kept(tuple(catalog.targets), extra, identifiers)


def from_catalog(catalog: "Catalog", kept: Kept, ids: Sequence[str]) -> pd.DataFrame:
    """The catalog's part of the table for these ids, in this order.

    Raises CacheMismatchError when the catalog lacks some of them.
    """
    table = catalog.table
    places = pd.Index(table["id"]).get_indexer(pd.Index(ids))
    missing = np.flatnonzero(places < 0)
    if missing.size:
        raise CacheMismatchError(
            f"the catalog lacks {missing.size} of the {len(ids)} radiographs in the cache (first: "
            f"{ids[missing[0]]!r}); pass a catalog that holds them all, or build to another path"
        )
    names = [n for n in CARRIED if n in table] + [*kept.targets, *kept.columns]
    chosen = table[names].copy()
    if kept.identifiers == "number":
        for name in NUMBERED:
            if name in chosen:
                chosen[name] = _numbers(chosen[name])
    for name in kept.targets:
        chosen[name] = chosen[name].astype("float32")
    if kept.identifiers == PSEUDONYMS:
        chosen = chosen.drop(columns="path")
    else:
        chosen["path"] = chosen["path"].map(lambda path: _relative(path, catalog.root))
    return chosen.take(places).reset_index(drop=True)


def _relative(path: str, root: Path) -> str:
    """A path below the root without it, of any other absolute path the file's name: no cache tells of a machine."""
    if not os.path.isabs(path):  # noqa: PTH117  a hundred thousand of them
        return path
    found = PurePath(path)
    return found.relative_to(root).as_posix() if root.is_absolute() and found.is_relative_to(root) else found.name


def _numbers(values: "pd.Series[Any]") -> "pd.Series[Any]":
    """0, 1, 2 ... in order of first appearance in the catalog; missing stays missing."""
    codes, _ = pd.factorize(values)
    return pd.Series(codes, index=values.index, dtype="Int64").mask(codes < 0)


def results_frame(records: Iterable[dict[str, Any]], sizes: Sequence[Size]) -> pd.DataFrame:
    """The films' and levels' part of the table, from what each film's making recorded."""
    records = list(records)
    frame = pd.DataFrame(index=range(len(records)))
    for name, dtype in RESULTS.items():
        values = [_unplain(record[name], dtype) for record in records]
        frame[name] = pd.Series(values, dtype=dtype)
    return pd.concat([frame, masks_frame(records), levels_frame(records, sizes)], axis=1)


def masks_frame(records: Iterable[dict[str, Any]]) -> pd.DataFrame:
    """What is known of the films' masks.

    Columns `mask_area_<label>`, in pixels of the film, 0 where somebody looked and found
    nothing, NaN where nobody looked; `masks_hash` and `masks_stamp`. Nothing in a cache without masks.
    """
    records = list(records)
    if not records or "masks" not in records[0]:
        return pd.DataFrame(index=range(len(records)))
    columns: dict[str, Any] = {
        mask_column(label): np.array([record["masks"][label] for record in records], np.float32)
        for label in records[0]["masks"]
    }
    for name in (MASKS_HASH, MASKS_STAMP):
        columns[name] = pd.Series([record[name] for record in records], dtype="str")
    return pd.DataFrame(columns, index=range(len(records)))


def levels_frame(records: Iterable[dict[str, Any]], sizes: Sequence[Size]) -> pd.DataFrame:
    """The levels' part alone."""
    records = list(records)
    columns = {
        level_column(kind, size): np.array([record["levels"][str(size)][i] for record in records], dtype)
        for size in sizes
        for i, (kind, dtype) in enumerate(LEVEL_COLUMNS.items())
    }
    return pd.DataFrame(columns, index=range(len(records)))


def _unplain(value: Any, dtype: str) -> Any:
    return np.nan if value is None and dtype == "float64" else value


def boxes_of(catalog: "Catalog", ids: Sequence[str]) -> pd.DataFrame | None:
    """The boxes of the films in the cache, in row order; None when the catalog has no boxes."""
    if catalog.boxes is None:
        return None
    place = {name: i for i, name in enumerate(ids)}
    boxes = catalog.boxes[catalog.boxes["id"].isin(place)]
    order = boxes["id"].map(place).to_numpy()
    return boxes.iloc[np.argsort(order, kind="stable")].reset_index(drop=True)


# -- parquet ---------------------------------------------------------------------------------------------


def as_parquet(frame: pd.DataFrame, kept: Kept | None = None) -> bytes:
    """A table as bytes that depend on nothing but its values and the library versions."""
    table = pa.Table.from_pandas(frame, preserve_index=False)
    if kept is not None:
        note = {"targets": kept.targets, "columns": kept.columns, "identifiers": kept.identifiers}
        table = table.replace_schema_metadata({**(table.schema.metadata or {}), _METADATA: json.dumps(note).encode()})
    sink = pa.BufferOutputStream()
    pq.write_table(table, sink, compression="zstd")
    return bytes(sink.getvalue())


def sum_of(data: bytes) -> str:
    """What the manifest remembers of a table: the first 128 bits of SHA-256, as hex."""
    return hashlib.sha256(data).hexdigest()[:32]


def read_samples(
    cache: Location, manifest: Manifest, columns: Sequence[str] | None = None, *, levels: bool = False
) -> tuple[pd.DataFrame, Kept]:
    """samples.parquet, verified: the named columns, or all (the levels' own only if asked for).

    Rows beyond the manifest's count, and levels that it does not name, belong to an update that was interrupted
    between the table and the manifest: they are left out. Raises CorruptCacheError.
    """
    with _verified(cache, manifest, SAMPLES) as data:
        ours = {level_column(kind, size): dtype for size in manifest.arrays for kind, dtype in LEVEL_COLUMNS.items()}
        ours = ours if levels else {}
        frame, about = parquet.read(data, columns, lambda name: name in ours or not is_level_column(name))
        kept = _kept(guarded.parsed(about[_METADATA]))
        if columns is None:
            numbers = dict.fromkeys([*kept.targets, *map(mask_column, manifest.masks)], "float32")
            claims.check_samples(
                frame, {**RESULTS, **ours, **numbers, "id": "str"}, [*ours, *numbers], _canvas(manifest)
            )
        if columns is None and "offset" not in frame:  # an older cache: it knew a scale only where the offset is 0
            frame.insert(list(frame).index("scale") + 1, "offset", frame["scale"] * 0.0)
        if len(frame) < manifest.count:
            raise ValueError(f"{len(frame)} rows, {manifest.count} expected")
    return frame.iloc[: manifest.count].reset_index(drop=True), kept


def read_boxes(cache: Location, manifest: Manifest, ids: "pd.Series[Any]") -> pd.DataFrame | None:
    """boxes.parquet, verified, or None when the cache has none; only boxes of these films.

    There are others where an update was interrupted between this table and the manifest.
    """
    if BOXES not in manifest.tables:
        return None
    with _verified(cache, manifest, BOXES) as data:
        frame, _ = parquet.read(data)
        claims.check_boxes(frame)
    if len(manifest.tables[BOXES]) > 1:
        frame = frame[frame["id"].isin(ids)].reset_index(drop=True)
    return frame


def _canvas(manifest: Manifest) -> Size | None:
    return next((size for size in manifest.sizes if isinstance(size, Native)), None)


def _kept(note: Any) -> Kept:
    names = (note["targets"], note["columns"], [note["identifiers"]])
    if not all(isinstance(some, list) and all(isinstance(name, str) for name in some) for some in names):
        raise TypeError("what it says of its columns is damaged")
    return Kept(tuple(note["targets"]), tuple(note["columns"]), note["identifiers"])


@contextmanager
def _verified(cache: Location, manifest: Manifest, name: str) -> Iterator[bytes]:
    """A table's bytes, once they were compared with the manifest; what goes wrong then names it too."""
    try:
        data = _bytes(cache, name)
        if sum_of(data) not in manifest.tables[name]:
            raise ValueError(f"its bytes differ from their sum in {cache / MANIFEST}")
        yield data
    except (pa.ArrowException, OSError, ValueError, KeyError, TypeError) as exc:
        if isinstance(exc, CacheError):
            raise
        raise CorruptCacheError(f"{cache / name}: this table is missing or damaged ({exc}); {_REMEDY[name]}") from exc


def _bytes(cache: Location, name: str) -> bytes:
    """Raises OSError for a table that is missing or cannot be one; CacheError for one that cannot be read now."""
    try:
        return guarded.table(cache, name)
    except (FileNotFoundError, CacheError, TooLong):
        raise
    except OSError as exc:
        if exc.errno in (errno.EIO, errno.EINVAL):
            raise
        raise unreadable(cache / name, exc) from exc


def is_level_column(name: str) -> bool:
    """Whether a column belongs to a level, as `crc32c_512x512` does."""
    kind, _, size = name.partition("_")
    return kind in LEVEL_COLUMNS and bool(_ARRAY.fullmatch(size))


def is_ours(name: str) -> bool:
    """Whether a column is one that the cache makes beside RESULTS."""
    return is_level_column(name) or is_mask_column(name)
