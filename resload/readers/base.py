"""What the loader asks of a reader. A user's own needs these attributes and methods and no base class."""

from typing import Any, Protocol

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from resload.size import Native, Size, SizeLike, Spacing
from resload.store.slot import Slot


class Reader(Protocol):
    """(rows, size) -> pixels. `fill` is called from several threads at once, on different images.

    A reader may have three methods more. `fill_sizes(slots, rows, sizes, start)` fills several sizes from one decode.
    `ahead(rows, size) -> int` hears of rows that are read soon, on the caller's thread, to have them fetched meanwhile;
    it returns at once how many bytes they are, 0 where it fetches nothing ahead. `sweep(rows, sizes)` hears of all that
    an epoch reads before it begins, and returns None or what is waited for, a moment, and closed at its end (`Sweep`).
    `waiting`, a number of threads to have beyond those asked for: `fill` waits for something else most of its time.
    """

    @property
    def table(self) -> pd.DataFrame:
        """One row per radiograph, in the reader's row order."""
        ...

    @property
    def targets(self) -> tuple[str, ...]:
        """The target columns of `table`."""
        ...

    @property
    def boxes(self) -> pd.DataFrame | None:
        """Boxes of findings: id, label, x, y, width, height in pixels of the films; None where there are none."""
        ...

    @property
    def dtype(self) -> np.dtype[Any]:
        """Of the pixels it fills in: uint8 or uint16, filling their range."""
        ...

    def __len__(self) -> int: ...

    def rows(self, *, split: str | None = None, where: object = None) -> NDArray[np.int64]:
        """Row numbers that can be read, ascending."""
        ...

    def checked_size(self, size: SizeLike | Spacing) -> Size:
        """The size, when the reader can serve it; else SizeError, with what it can."""
        ...

    def served(self, size: Size) -> tuple[Size | None, float]:
        """The stored level that serves a size (None: the files), and the expected rmse, in 1/255 of the range."""
        ...

    def native_size(self, rows: NDArray[np.int64]) -> Native:
        """The largest height and width of these rows: what a batch of them takes at the films' own size."""
        ...

    @property
    def mask_names(self) -> tuple[str, ...]:
        """The labels of the masks, in the order of their axis; none where there are no masks."""
        ...

    def masks(
        self, rows: NDArray[np.int64], size: Size, *, nearest: bool = False
    ) -> tuple[NDArray[np.uint8], NDArray[np.bool_]]:
        """Masks of these rows: uint8 (n, K, H, W) coverage, or 255 where a pixel's centre is inside; (n, K) known."""
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
        """What is known of these rows once they have been filled, float32 (n, 16), NaN where it is unknown.

        The columns of `geometry.facts_at`: spacing and content at this size, where the film lies in the image, and
        the film's own size. A new array.
        """
        ...

    def stats(self, size: Size, rows: NDArray[np.int64]) -> tuple[float, float]:
        """Mean and standard deviation of these rows' pixels, on [0, 1]."""
        ...

    def digest(self) -> str:
        """Changes when a row number comes to mean another radiograph."""
        ...
