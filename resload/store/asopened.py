"""Whether a cache's tables are still what was read from its files: what need not travel with a pickled cache."""

import json
from collections.abc import Sequence
from hashlib import sha256

import pandas as pd

from resload.store.layout import Manifest

_LAZY = int(pd.__version__.partition(".")[0]) >= 3
"""Copies of pandas 3 share memory until one of the two is written to; those of pandas 2 must be made at once."""


class AsOpened:
    """Tables as they were read, and which files they were read from.

    Keeps copies, which cost memory only for columns that are changed afterwards (with pandas 2: of all columns).
    """

    def __init__(
        self, manifest: Manifest, table: pd.DataFrame, targets: Sequence[str], boxes: pd.DataFrame | None
    ) -> None:
        self.files = identity(manifest)
        self._table, self._boxes, self._targets = _copy(table), _copy(boxes), tuple(targets)

    def still(self, table: pd.DataFrame, targets: Sequence[str], boxes: pd.DataFrame | None) -> bool:
        """Whether these are the same: columns, their order and types, and every value."""
        return self._targets == tuple(targets) and _same(self._table, table) and _same(self._boxes, boxes)


def identity(manifest: Manifest) -> str:
    """Of everything that opening a complete cache reads: its sizes, its pixels' fingerprint, the sums of its tables."""
    tables = {name: list(sums) for name, sums in sorted(manifest.tables.items())}
    told = [manifest.fingerprint, [str(size) for size in manifest.arrays], tables]
    return sha256(json.dumps(told).encode()).hexdigest()[:32]


def _copy(frame: pd.DataFrame | None) -> pd.DataFrame | None:
    return None if frame is None else frame.copy(deep=not _LAZY)


def _same(one: pd.DataFrame | None, other: pd.DataFrame | None) -> bool:
    if one is None or other is None:
        return one is other
    return one.equals(other)
