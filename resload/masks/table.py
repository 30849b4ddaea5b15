"""The masks of a whole catalog, by row: what building and loading ask of them."""

import hashlib
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from resload.masks.areas import Coverage, coverage
from resload.masks.read import film_masks
from resload.masks.rects import Rect
from resload.masks.runs import Mask
from resload.size import Size, SizeLike


class MaskTable:
    """A catalog's masks. Thread-safe.

    table: `id`, `label`, and `path` or `rle` (with `rle_format`). ids: the id of each row. root: where relative paths
    start. labels: the order of the masks; sorted when None.
    """

    def __init__(
        self, table: pd.DataFrame, ids: Sequence[str], root: Path, labels: Sequence[str] | None = None
    ) -> None:
        table = table.assign(label=table["label"].astype(str))
        self.labels: tuple[str, ...] = tuple(sorted(table["label"].unique())) if labels is None else tuple(labels)
        self._root = root
        rows = pd.Index(ids).get_indexer(pd.Index(table["id"]))
        order = np.argsort(rows, kind="stable")
        order = order[rows[order] >= 0]
        self._table = table.iloc[order]
        self._starts = np.searchsorted(rows[order], np.arange(len(ids) + 1))

    def of(self, row: int, size: SizeLike) -> tuple[list[Mask | None], NDArray[np.bool_]]:
        """`film_masks` of one row, for a film of this (height, width). Raises as it does."""
        return film_masks(self._rows(row), self.labels, size, self._root)

    def stamp(self, row: int) -> str:
        """16 hex digits that change when a film's rows of the table do, or the size or time of a mask's file."""
        parts = []
        for one in self._rows(row).fillna("").to_dict("records"):
            words = [str(one.get(name, "")) for name in ("label", "rle", "rle_format", "path")]
            if words[-1]:
                words.append(_stamp_of(self._root / words[-1]))
            parts.append("\t".join(words))
        return hashlib.blake2b("\n".join(sorted(parts)).encode(), digest_size=8).hexdigest()

    def _rows(self, row: int) -> pd.DataFrame:
        return self._table.iloc[self._starts[row] : self._starts[row + 1]]


def _stamp_of(path: Path) -> str:
    try:
        status = path.stat()
    except OSError:
        return "missing"
    return f"{status.st_size}:{status.st_mtime_ns}"


def coverages(masks: Sequence[Mask | None], place: tuple[Rect, Rect], size: Size) -> Coverage:
    """(K, H, W) uint8: the coverage of each of a film's masks at a size where it lies at `place`; 0 where unknown."""
    out = np.zeros((len(masks), *size), np.uint8)
    for mask, one in zip(masks, out, strict=True):
        if mask is not None and mask.any():
            one[:] = coverage(mask, *place, size)
    return out


def areas(masks: Sequence[Mask | None]) -> NDArray[np.float32]:
    """(K,) float32: how many pixels of the film each mask covers; NaN where it is unknown."""
    return np.array([np.nan if mask is None else np.count_nonzero(mask) for mask in masks], np.float32)
