"""The masks of a whole catalog, by row: what building and loading ask of them."""

import hashlib
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from resload.decode.source import source_bytes
from resload.masks.areas import Coverage, coverage
from resload.masks.read import film_masks
from resload.masks.rects import Rect
from resload.masks.runs import FORMATS, Mask, is_empty
from resload.size import Size, SizeLike


class MaskTable:
    """A catalog's masks. Thread-safe.

    table: `id`, `label`, and `path` or `rle` (with `rle_format`). ids: the id of each row. root: where relative paths
    start. labels: the order of the masks; sorted when None.
    """

    def __init__(
        self, table: pd.DataFrame, ids: Sequence[str] | range, root: Path, labels: Sequence[str] | None = None
    ) -> None:
        table = table.assign(label=table["label"].astype(str))
        self.labels: tuple[str, ...] = tuple(sorted(table["label"].unique())) if labels is None else tuple(labels)
        self._root = root
        rows = pd.Index(ids).get_indexer(pd.Index(table["id"]))
        order = np.argsort(rows, kind="stable")
        order = order[rows[order] >= 0]
        self._table = table.iloc[order]
        self._starts = np.searchsorted(rows[order], np.arange(len(ids) + 1)).tolist()
        self._parts = self._as_lists()

    def _as_lists(self) -> list[list[Any]]:
        columns = {"label": "", "path": None, "rle": "", "rle_format": FORMATS[0]}
        return [_texts(self._table, name, missing) for name, missing in columns.items()]

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_parts": None}  # the table once more

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        self._parts = self._as_lists()

    def part(self, rows: Sequence[int]) -> "MaskTable":
        """The masks of some rows, which count from 0 then; with an absolute root."""
        spans = [range(self._starts[row], self._starts[row + 1]) for row in rows]
        table = self._table.iloc[[one for span in spans for one in span]]
        numbered = table.assign(id=np.repeat(np.arange(len(rows)), list(map(len, spans))))
        return MaskTable(numbered, range(len(rows)), self._root.absolute(), self.labels)

    def of(self, row: int, size: SizeLike) -> tuple[list[Mask | None], NDArray[np.bool_]]:
        """`film_masks` of one row, for a film of this (height, width). Raises as it does."""
        return film_masks(self._rows(row), self.labels, size, self._root)

    def content_hash(self, row: int) -> str:
        """32 hex digits of all that a film's masks are made of: its rows of the table, and the bytes of their files.

        Raises OSError for a file that is not there.
        """
        return _digest(self._words(row, lambda path: hashlib.blake2b(source_bytes(path)[0]).hexdigest()), 16)

    def stamp(self, row: int) -> str:
        """16 hex digits that change when a film's rows of the table do, or the size or time of a file.

        Raises OSError for a file that is not there.
        """
        return _digest(self._words(row, _look), 8)

    def _words(self, row: int, of_file: Callable[[Path], str]) -> list[str]:
        words = []
        for one in range(self._starts[row], self._starts[row + 1]):
            label, path, runs, form = (column[one] for column in self._parts)
            what = [_text(runs), form] if path is None else [str(path), of_file(self._root / str(path))]
            words.append("\t".join([label, *what]))
        return sorted(words)

    def _rows(self, row: int) -> pd.DataFrame:
        return self._table.iloc[self._starts[row] : self._starts[row + 1]]


def _texts(table: pd.DataFrame, name: str, missing: Any = None) -> list[Any]:
    if name not in table:
        return [missing] * len(table)
    return table[name].astype(object).where(table[name].notna(), missing).tolist()


def _text(runs: Any) -> str:
    """Run-lengths as a text that is the same for all ways to write them as numbers."""
    if is_empty(runs):
        return "-1"
    return runs if isinstance(runs, str) else " ".join(map(str, runs))


def _look(path: Path) -> str:
    status = path.stat()
    return f"{status.st_size}:{status.st_mtime_ns}"


def _digest(words: list[str], size: int) -> str:
    return hashlib.blake2b("\n".join(words).encode(), digest_size=size).hexdigest()


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
