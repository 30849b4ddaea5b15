"""All that a cache serves, and whether it is what the intact one serves: for `corruption_oracle.py`."""

from collections.abc import Callable, Iterator, Mapping
from typing import Any

import numpy as np
import pandas as pd

import resload

Reads = Callable[[Callable[[Any], Any], Any], Any]


class Refused:
    """Of some rows that were asked for together: those that came one by one."""

    def __init__(self, served: Mapping[int, Any]) -> None:
        self.served = served


def plainly(of: Callable[[Any], Any], rows: Any) -> Any:
    return of(rows)


def served(cache: resload.Cache, read: Reads = plainly) -> Iterator[tuple[str, Any]]:
    """Name -> all that a cache serves."""
    yield from {"table": cache.table, "boxes": cache.boxes, "quarantine": cache.quarantine}.items()
    yield from {"targets": cache.targets, "masks": cache.masks, "sizes": cache.sizes, "dtype": cache.dtype}.items()
    yield from {"recipe": cache.pipeline.settings()}.items()
    rows = cache.rows()
    if not len(cache.table[cache.table["status"] == "pending"]):
        yield "digest", cache.digest
        yield from ((f"statistics of {size}", cache.stats(size)) for size in cache.sizes)
    for size in (*cache.sizes, 20):
        of_size = _reader(cache.read, size)
        yield f"pixels {size}", (rows, read(of_size, rows))
        if cache.masks:
            yield f"masks {size}", (rows, read(_reader(cache.read_masks, size), rows))


def _reader(read: Callable[..., Any], size: Any) -> Callable[[Any], Any]:
    return lambda rows: read(rows, size)


def same(found: Any, known: Any, gone: Any) -> bool:
    """Whether an answer is the known one; of rows that were asked for, also if the others are."""
    if isinstance(known, pd.DataFrame):
        return _same_table(found, known, gone)
    if isinstance(known, tuple) and len(known) == 2 and isinstance(known[0], np.ndarray):
        return _same_rows(*found, *known, gone)
    return bool(found == known) if known is not None else found is None


def _same_table(found: pd.DataFrame, known: pd.DataFrame, gone: Any) -> bool:
    if "id" in known and "status" in known and len(gone):
        if not found["id"].equals(known["id"]):
            return False
        found, known = found.drop(index=gone), known.drop(index=gone)
    elif len(gone):
        return len(found) <= len(known)  # the quarantine of fewer rows
    return found.equals(known) and bool((found.dtypes == known.dtypes).all())


def _same_rows(rows: Any, found: Any, known_rows: Any, known: Any, gone: Any) -> bool:
    place = {int(row): number for number, row in enumerate(known_rows)}
    if set(map(int, rows)) != set(place) - set(map(int, gone)):
        return False
    one_by_one = found.served if isinstance(found, Refused) else dict(zip(map(int, rows), found, strict=True))
    return all(_same_image(image, known[place[row]]) for row, image in one_by_one.items())


def _same_image(image: Any, known: Any) -> bool:
    """A film of its own size has the canvas of those that were asked for with it."""
    height, width = image.shape[-2:]
    cut = known[..., :height, :width]
    return cut.dtype == image.dtype and np.array_equal(cut, image) and int(known.sum()) == int(image.sum())
