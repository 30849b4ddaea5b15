"""The control arm of a resolution study: images shrunk to a size and enlarged again to the one that is served.

They cost the model what images of the served size cost and hold the detail of the smaller one, which tells the value
of detail from the value of computation.
"""

from collections.abc import Callable, Iterable, Sequence
from contextlib import AbstractContextManager

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from resload.errors import ArgumentError
from resload.geometry import Rect
from resload.geometry.placing import PLACES
from resload.pipeline import Pipeline
from resload.pipeline.cpu import enlarged
from resload.readers.base import Reader
from resload.size import Native, Size, SizeLike, Spacing, as_size
from resload.store.slot import Slot
from resload.store.whole import Sweep


class DetailReader:
    """Another reader's radiographs, at any size with the detail of `detail`. Thread-safe as that reader is.

    The enlargement uses the recipe's kernel. Raises SizeError when the reader cannot serve `detail`; `checked_size`
    raises ArgumentError for a size smaller than it.
    """

    def __init__(self, reader: Reader, detail: SizeLike | Spacing, pipeline: Pipeline) -> None:
        self.inner = reader
        self.detail = reader.checked_size(detail)
        self.targets, self.dtype = reader.targets, reader.dtype
        self._recipe = pipeline

    @property
    def table(self) -> pd.DataFrame:
        """That of the reader."""
        return self.inner.table

    def __len__(self) -> int:
        return len(self.inner)

    def rows(self, *, split: str | None = None, where: object = None) -> NDArray[np.int64]:
        """Those of the reader."""
        return self.inner.rows(split=split, where=where)

    def checked_size(self, size: SizeLike | Spacing) -> Size:
        """Any size with sides of at least those of `detail`."""
        wanted = size.canvas if isinstance(size, Spacing) else as_size(size)
        if isinstance(wanted, Native) or isinstance(self.detail, Native):
            raise ArgumentError("detail= is a size in pixels, enlarged to another; found 'native'")
        if wanted.height < self.detail.height or wanted.width < self.detail.width:
            raise ArgumentError(f"detail={self.detail} is enlarged to the size that is served; found size={wanted}")
        return wanted

    def grain(self, size: Size) -> int:
        """A few: enlarging takes longer than reading."""
        return min(4, max(1, self.inner.grain(self.detail)))

    def fill(self, slot: Slot, rows: NDArray[np.int64], size: Size, start: int) -> None:
        """Read at `detail`, enlarge."""
        small = Slot(np.empty((len(rows), *self.detail), self.dtype))
        self.inner.fill(small, rows, self.detail, 0)
        own, wanted = (self.inner.facts(rows, one)[:, PLACES].astype(int) for one in (self.detail, size))
        for image, source, target, out in zip(small.out, own.tolist(), wanted.tolist(), slot.out[start:], strict=False):
            out[...] = enlarged(image, Rect(*source[4:]), Rect(*target[4:]), size, self._recipe)

    def ahead(self, rows: NDArray[np.int64], size: Size) -> int:
        """At `detail`, where the reader fetches what it is told of."""
        tell = getattr(self.inner, "ahead", None)
        return 0 if tell is None else int(tell(rows, self.detail))

    def sweep(self, rows: NDArray[np.int64], sizes: Sequence[Size]) -> Sweep | None:
        """At `detail`, where the reader reads whole shards."""
        begin = getattr(self.inner, "sweep", None)
        return None if begin is None else begin(rows, [self.detail])

    def expecting(
        self, steps: Iterable[tuple[NDArray[np.int64], Sequence[Size]]]
    ) -> AbstractContextManager[Callable[[int], None]] | None:
        """At `detail`, where the reader fetches whole shards."""
        begin = getattr(self.inner, "expecting", None)
        return None if begin is None else begin((rows, [self.detail]) for rows, _ in steps)

    def facts(self, rows: NDArray[np.int64], size: Size) -> NDArray[np.float32]:
        """Those of the served size: that is where things lie."""
        return self.inner.facts(rows, size)

    def stats(self, size: Size, rows: NDArray[np.int64]) -> tuple[float, float]:
        """Those of `detail`."""
        return self.inner.stats(self.detail, rows)

    def digest(self) -> str:
        """Of the ids in row order, and the detail."""
        return f"{self.inner.digest()}-{self.detail}"

    def served(self, size: Size) -> tuple[Size | None, float]:
        """How `detail` is served."""
        return self.inner.served(self.detail)

    def native_size(self, rows: NDArray[np.int64]) -> Native:
        """That of the reader."""
        return self.inner.native_size(rows)

    @property
    def mask_names(self) -> tuple[str, ...]:
        """Those of the reader."""
        return self.inner.mask_names

    def masks(
        self, rows: NDArray[np.int64], size: Size, *, nearest: bool = False
    ) -> tuple[NDArray[np.uint8], NDArray[np.bool_]]:
        """Those of the reader, at the served size: detail is a matter of images."""
        return self.inner.masks(rows, size, nearest=nearest)

    @property
    def boxes(self) -> pd.DataFrame | None:
        """Those of the reader."""
        return self.inner.boxes
