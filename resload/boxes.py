"""Boxes of findings, taken to the images of a batch: mapped with the film, clipped by a declared rule.

A box is clipped to the part of the image that is film. It is dropped when less than `least` of its area is left, or
nothing at all.
"""

from typing import Any

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray

from resload.errors import ArgumentError
from resload.geometry.placing import affines

Floats = NDArray[np.float64]
Tensors = list[torch.Tensor]


class Boxes:
    """The boxes of a table's radiographs, by row. Thread-safe.

    table: id, label, x, y, width, height in pixels of the films. ids: the id of each row.
    Raises ArgumentError when there is no table, or `least` is not a share.
    """

    def __init__(self, table: pd.DataFrame | None, ids: "pd.Series[str]", *, least: float = 0.0) -> None:
        if table is None:
            raise ArgumentError("boxes= asked for, and this data has none; give them to the Catalog (boxes=)")
        if isinstance(least, bool) or not 0 <= least <= 1:
            raise ArgumentError(f"boxes must be True, or the least share of a box that must be seen; found {least!r}")
        self.least = least
        rows = pd.Index(ids).get_indexer(pd.Index(table["id"]))
        order = np.argsort(rows, kind="stable")
        order = order[rows[order] >= 0]
        self.names: tuple[str, ...] = tuple(sorted(table["label"].astype(str).unique()))
        labels = {name: place for place, name in enumerate(self.names)}
        self._labels = table["label"].astype(str).map(labels).to_numpy(np.int64)[order]
        x, y, width, height = table[["x", "y", "width", "height"]].to_numpy(np.float64)[order].T
        self._corners = np.stack([x, y, x + width, y + height], axis=1)
        self._starts = np.searchsorted(rows[order], np.arange(len(ids) + 1))

    def of(self, rows: NDArray[np.int64], places: NDArray[np.floating[Any]]) -> tuple[Tensors, Tensors]:
        """(boxes, labels) of these rows in images where they lie at `places` (n, 8): float32 (k, 4) and int64 (k,)."""
        boxes, labels = [], []
        places = places.astype(np.float64)
        maps = affines(places)
        for row, (scale_y, scale_x, y, x), place in zip(rows.tolist(), maps.tolist(), places.tolist(), strict=True):
            own = slice(self._starts[row], self._starts[row + 1])
            found = self._corners[own] * (scale_x, scale_y, scale_x, scale_y) + (x, y, x, y)
            seen, kept = self._clipped(found, place)
            boxes.append(torch.from_numpy(seen[kept].astype(np.float32)))
            labels.append(torch.from_numpy(self._labels[own][kept]))
        return boxes, labels

    def _clipped(self, boxes: Floats, place: list[float]) -> tuple[Floats, NDArray[np.bool_]]:
        top, left, height, width = place[4:]
        low, high = (left, top, left, top), (left + width, top + height, left + width, top + height)
        seen = np.clip(boxes, low, high)
        area, whole = _area(seen), _area(boxes)
        return seen, (area > 0) & (area >= self.least * whole)


def _area(boxes: Floats) -> Floats:
    return np.asarray(np.prod(np.maximum(boxes[:, 2:] - boxes[:, :2], 0), axis=1))
