"""What a cache claims of itself, before memory or time is spent on it: numbers, names and types of manifest and tables.

A manifest is a text that anybody can write, sum included. What follows from its numbers (shapes of arrays, lengths of
indices, rows of tables) is compared with the limits here, so that nothing later needs to doubt them.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from resload.limits import limits, raised_by
from resload.size import LARGEST

LARGEST_SHARD = 1 << 20
"""Records in a shard; builds make at most 4,096."""
CANVAS = 8
"""A native canvas is as high as the highest film and as wide as the widest, and a level's masks are several: together
so many times the pixels that one image may have."""
_TYPES: dict[str, type | tuple[type, ...]] = {
    "format": int, "count": int, "per_shard": int, "shuffle_seed": int, "state": str, "dtype": str, "fingerprint": str,
    "sizes": list, "batches": list, "recipe": dict, "tables": dict, "masks": list, "native": list, "pseudonyms": str,
}  # fmt: skip
_OPTIONAL = frozenset(("masks", "native", "pseudonyms"))


def check_manifest(found: Any) -> None:
    """Refuse `attributes["resload"]` whose numbers and types cannot be. Raises ValueError, KeyError, TypeError."""
    if not isinstance(found, dict):
        raise TypeError("it is no object")
    for name, kind in _TYPES.items():
        if name not in found and name in _OPTIONAL:
            continue
        value = found[name]
        if not isinstance(value, kind) or isinstance(value, bool):
            raise TypeError(f"{name} is {type(value).__name__}")
    if found["state"] not in ("complete", "building"):
        raise ValueError(f"state is {found['state']!r}")
    _check_counts(found)
    _check_shapes(found)
    for name, sums in found["tables"].items():
        _all(sums, str, f"tables[{name!r}]")


def _check_counts(found: Mapping[str, Any]) -> None:
    count, per_shard = found["count"], found["per_shard"]
    if not 0 <= count <= limits().table_rows:
        raise ValueError(f"count is {count}, the limit {limits().table_rows} ({raised_by('table_rows')})")
    if not 1 <= per_shard <= LARGEST_SHARD:
        raise ValueError(f"per_shard is {per_shard}")
    _all(found["batches"], int, "batches")
    if min(found["batches"], default=0) < 0 or sum(found["batches"]) != count:
        raise ValueError(f"batches do not add up to {count}")


def _check_shapes(found: Mapping[str, Any]) -> None:
    """Levels, the canvas and masks by their pixels."""
    if found["dtype"] not in ("uint8", "uint16"):
        raise ValueError(f"dtype is {found['dtype']}")
    _all(found.get("masks", []), str, "masks")
    most, masks = limits().pixels, len(found.get("masks", ()))
    for size in found["sizes"]:
        pixels = _pixels(size)
        if pixels > most or pixels * masks > CANVAS * most:
            raise ValueError(f"the level {size} with {masks} masks is above the limit ({raised_by('pixels')})")
    if "native" in found and _pixels(found["native"]) > CANVAS * most:
        raise ValueError(f"the native canvas {found['native']} is above the limit ({raised_by('pixels')})")


def _pixels(size: Any) -> int:
    _all(size, int, "a size")
    if len(size) != 2 or not all(1 <= side <= LARGEST for side in size):
        raise ValueError(f"a size is {size!r}")
    return int(size[0] * size[1])


def _all(values: Any, kind: type, what: str) -> None:
    if not isinstance(values, list) or any(type(value) is not kind for value in values):
        raise TypeError(f"{what} is no list of {kind.__name__}")


def check_recipe(sizes: Sequence[Any], dtype: str, recipe: Mapping[str, Any]) -> None:
    """Refuse a recipe that is none, or is not resolved. Raises ValueError."""
    from resload.pipeline import Pipeline

    try:
        if not {"fit", "kernel", "aspect"} <= set(recipe):
            raise ValueError("its recipe is not complete")
        Pipeline(tuple(sizes), dtype=dtype, **recipe)
    except ValueError:
        raise
    except Exception as exc:  # a value of any type in any place
        raise ValueError(f"its recipe is none ({type(exc).__name__}: {exc})") from exc


_FILM = ("height", "width")
_LARGEST_REAL = 1e300
_NEEDED = ("id", "status", "reason", "source_hash", *_FILM)


def check_samples(
    frame: pd.DataFrame, kinds: Mapping[str, str], needed: Sequence[str], canvas: Sequence[int] | None = None
) -> None:
    """Refuse a table whose columns are missing or of other types than a build writes, and films of impossible sizes.

    kinds: columns -> the pandas types that they have where they are there. needed: columns that must be, too. canvas:
    (height, width) that holds every film at its own size, where the cache has one.
    Raises ValueError.
    """
    missing = [name for name in (*_NEEDED, *needed) if name not in frame]
    if missing:
        raise ValueError(f"it has no column {', '.join(missing[:5])}")
    for name, kind in kinds.items():
        if name in frame and not _is_of(frame[name], kind):
            raise ValueError(f"its column {name} is {frame[name].dtype}, {kind} expected")
    sides = frame[list(_FILM)].to_numpy(np.float64)
    if len(sides) and not (sides.min() >= 0 and sides.max() <= LARGEST and sides.prod(axis=1).max() <= limits().pixels):
        raise ValueError(f"films of its rows are above the limit ({raised_by('pixels')})")
    if canvas is not None and (sides > np.asarray(canvas)).any():
        raise ValueError(f"films of its rows are larger than the native canvas of {canvas[0]} x {canvas[1]}")


def is_record(found: Any, kinds: Mapping[str, str], levels: Sequence[str]) -> bool:
    """Whether this is what making a film records: its results by their pandas types, and numbers for each level.

    A film that could not be made before has no results when levels are added.
    """
    if not isinstance(found, dict) or not isinstance(found.get("id"), str):
        return False
    if any(name in found for name in kinds) and not all(_fits(found.get(name), kind) for name, kind in kinds.items()):
        return False
    sums, masks = found.get("levels"), found.get("masks", {})
    if not isinstance(sums, dict) or not isinstance(masks, dict):
        return False
    words = (found.get(name, "") for name in ("masks_hash", "masks_stamp"))
    return (
        all(_are_sums(sums.get(name)) for name in levels)
        and all(_fits(area, "float64") for area in masks.values())
        and all(isinstance(word, str) for word in words)
    )


def _fits(value: Any, kind: str) -> bool:
    if kind == "str":
        return isinstance(value, str) and value.isprintable()
    if isinstance(value, bool):
        return False
    if kind.startswith("float"):
        return value is None or (isinstance(value, int | float) and abs(value) <= _LARGEST_REAL)
    return isinstance(value, int) and np.iinfo(kind).min <= value <= np.iinfo(kind).max


def _are_sums(found: Any) -> bool:
    """A checksum, a sum and a sum of squares."""
    if not isinstance(found, list) or len(found) != 3:
        return False
    return all(_fits(value, kind) for value, kind in zip(found, ("uint32", "uint64", "uint64"), strict=True))


def check_boxes(frame: pd.DataFrame) -> None:
    """Refuse a table that is none of boxes. Raises ValueError."""
    for name in ("id", "label", "x", "y", "width", "height"):
        if name not in frame:
            raise ValueError(f"it has no column {name}")
        if name == "id" and not _is_of(frame[name], "str"):
            raise ValueError(f"its column {name} is {frame[name].dtype}")
        if name not in ("id", "label") and frame[name].dtype.kind not in "iuf":
            raise ValueError(f"its column {name} is {frame[name].dtype}")


def _is_of(column: "pd.Series[Any]", kind: str) -> bool:
    if kind == "str":
        return isinstance(column.dtype, pd.StringDtype) or _are_texts(column) or bool(column.isna().all())
    dtype = np.dtype(kind)
    return isinstance(column.dtype, np.dtype) and column.dtype.kind == dtype.kind


def _are_texts(column: "pd.Series[Any]") -> bool:
    """Of a column of another type: "object" says nothing of what is in it, which may be lists."""
    return pd.api.types.infer_dtype(column, skipna=True) in ("string", "empty")
