"""What the loader asks of a reader. A user's own needs these attributes and methods and no base class."""

from typing import Any, NamedTuple, Protocol

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from resload.size import Size, SizeLike
from resload.store.gather import Slot


class Facts(NamedTuple):
    """What is known of n films beside their pixels, in source pixels; NaN where it is unknown."""

    size: NDArray[np.float64]
    """(n, 2): height, width."""
    spacing: NDArray[np.float64]
    """(n, 2): mm per source pixel, (y, x)."""
    content: NDArray[np.float64]
    """(n, 4): the part that is image: y, x, height, width."""


class Reader(Protocol):
    """(rows, size) -> pixels. `fill` is called from several threads at once, on different images."""

    @property
    def table(self) -> pd.DataFrame:
        """One row per radiograph, in the reader's row order."""
        ...

    @property
    def targets(self) -> tuple[str, ...]:
        """The target columns of `table`."""
        ...

    @property
    def dtype(self) -> np.dtype[Any]:
        """Of the pixels it fills in: uint8 or uint16, filling their range."""
        ...

    def __len__(self) -> int: ...

    def rows(self, *, split: str | None = None, where: object = None) -> NDArray[np.int64]:
        """Row numbers that can be read, ascending."""
        ...

    def checked_size(self, size: SizeLike) -> Size:
        """The size, when the reader can serve it; else SizeError, with what it can."""
        ...

    def grain(self, size: Size) -> int:
        """How many images one task should fill: enough to make a task's cost small beside theirs."""
        ...

    def fill(self, slot: Slot, rows: NDArray[np.int64], size: Size, start: int) -> None:
        """Fill images start .. of the slot with these rows."""
        ...

    def facts(self, rows: NDArray[np.int64]) -> Facts:
        """What is known of these rows, once they have been filled."""
        ...

    def stats(self, size: Size, rows: NDArray[np.int64]) -> tuple[float, float]:
        """Mean and standard deviation of these rows' pixels, on [0, 1]."""
        ...

    def digest(self) -> str:
        """Changes when a row number comes to mean another radiograph."""
        ...


def facts_of(table: pd.DataFrame, rows: NDArray[np.int64]) -> Facts:
    """Facts from the columns that tables of caches, and scanned catalogs, have."""

    def columns(*names: str) -> NDArray[np.float64]:
        missing = np.full(len(table), np.nan)
        found = [table[name].to_numpy(np.float64, na_value=np.nan) if name in table else missing for name in names]
        stacked: NDArray[np.float64] = np.stack(found, axis=1)
        return stacked[rows]

    return Facts(
        columns("height", "width"),
        columns("spacing_y", "spacing_x"),
        columns("content_y", "content_x", "content_height", "content_width"),
    )
