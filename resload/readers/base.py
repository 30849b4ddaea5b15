"""What the loader asks of a reader. A user's own needs these attributes and methods and no base class."""

from typing import Any, Protocol

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from resload.geometry import spacing_at
from resload.size import Size, SizeLike
from resload.store.gather import Slot


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
        """How many images one task should fill: enough to make a task's cost small beside theirs.

        0 says that filling is quicker than handing it to a thread: the caller's thread then does it. Above 1, where
        images are quick, the caller's thread helps while it waits, in the place of one of the others.
        """
        ...

    def fill(self, slot: Slot, rows: NDArray[np.int64], size: Size, start: int) -> None:
        """Fill images start .. of the slot with these rows."""
        ...

    def facts(self, rows: NDArray[np.int64], size: Size) -> NDArray[np.float32]:
        """What is known of these rows once they have been filled, float32 (n, 6), NaN where it is unknown.

        Columns: mm per pixel at this size (y, x), and the part of the image that is film, in pixels at this size
        (y, x, height, width). A new array.
        """
        ...

    def stats(self, size: Size, rows: NDArray[np.int64]) -> tuple[float, float]:
        """Mean and standard deviation of these rows' pixels, on [0, 1]."""
        ...

    def digest(self) -> str:
        """Changes when a row number comes to mean another radiograph."""
        ...


FACTS = (
    "height",
    "width",
    "spacing_y",
    "spacing_x",
    "content_y",
    "content_x",
    "content_height",
    "content_width",
)
"""Columns of tables that facts are made from: the film's size, its spacing in mm, its content, in source pixels."""


def source_facts(table: pd.DataFrame) -> NDArray[np.float64]:
    """FACTS of every row of a table, float64 (N, 8); NaN where a column or value is missing."""
    missing = np.full(len(table), np.nan)
    columns = [table[name].to_numpy(np.float64, na_value=np.nan) if name in table else missing for name in FACTS]
    return np.stack(columns, axis=1)


def facts_at(source: NDArray[np.float64], size: Size) -> NDArray[np.float32]:
    """What `Reader.facts` answers, from FACTS (n, 8) of films stretched to this size."""
    film, spacing, content = source[:, :2], source[:, 2:4], source[:, 4:]
    scale = np.tile(np.asarray(size) / film, (1, 2))
    facts: NDArray[np.float64] = np.concatenate([spacing_at(spacing, film, size), content * scale], axis=1)
    return facts.astype(np.float32)
