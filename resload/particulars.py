"""What a batch says of its films besides their pixels: from the table, and from the reader once they were read.

Where there is no film: id "", everything else unknown, and a film of the image's own size for its geometry.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from resload.asked import as_objects, boxes_of, known_columns, targets_of
from resload.batch import with_tensors
from resload.devices import onto
from resload.geometry import Geometry
from resload.geometry.placing import CONTENT, PLACES, SHAPE, SPACING
from resload.padding import blanked
from resload.readers import Reader
from resload.samplers import Step
from resload.size import Size

EXAM = ("group", "slot")
"""Columns that a batch hands out wherever there are any."""

Valid = NDArray[np.bool_] | None
"""(n,) where there is a film; None where there is one everywhere."""
Tensors = list[torch.Tensor]


class Particulars:
    """The words and numbers of a loader's films, by row. Thread-safe.

    Every method takes rows (n,), any row where `valid` is False. Raises ArgumentError for columns and boxes that the
    data does not have.
    """

    def __init__(self, reader: Reader, columns: Sequence[str], boxes: bool | float) -> None:
        self._reader = reader
        self._columns = known_columns(columns, reader)
        self._exam = known_columns([name for name in EXAM if name in reader.table], reader)
        self._targets, self._ids = targets_of(reader), as_objects(reader.table["id"])
        self._boxes = None if boxes is False else boxes_of(reader, boxes)
        self.box_names: tuple[str, ...] | None = None if self._boxes is None else self._boxes.names
        """Labels of boxes; None where they are not asked for."""

    def targets(self, rows: NDArray[np.int64], valid: Valid, hidden: Valid = None) -> NDArray[np.float32]:
        """(n, T), a new array; NaN where unknown. hidden: (T,) targets that nobody is to learn from here."""
        found = blanked(self._targets.take(rows, axis=0), valid, np.nan)
        if hidden is not None:
            found[:, hidden] = np.nan
        return found

    def ids(self, rows: NDArray[np.int64], valid: Valid) -> list[str]:
        """What people call them."""
        found: list[str] = blanked(self._ids[rows], valid, "").tolist()
        return found

    def columns(self, rows: NDArray[np.int64], valid: Valid) -> dict[str, list[Any]]:
        """The further columns that were asked for."""
        return {name: blanked(values[rows], valid, None).tolist() for name, values in self._columns.items()}

    def exam(self, rows: NDArray[np.int64], valid: Valid) -> dict[str, list[Any]]:
        """Exam and view, where the table has them."""
        return {name: blanked(values[rows], valid, None).tolist() for name, values in self._exam.items()}

    def facts(self, rows: NDArray[np.int64], size: Size, valid: Valid) -> NDArray[np.float32]:
        """`geometry.facts_at` at a size, float32 (n, 16), a new array."""
        found = self._reader.facts(rows, size)
        if valid is not None:
            found[~valid] = np.nan
            found[~valid, PLACES] = (0, 0, *size, 0, 0, *size)
            found[~valid, SHAPE] = tuple(size)
        return found

    def geometry(self, rows: NDArray[np.int64], size: Size, valid: Valid = None) -> Geometry:
        """Where the films lie in images of a size."""
        return Geometry(Size(*size), self.facts(rows, size, valid)[:, PLACES.start :])

    def boxes(self, rows: NDArray[np.int64], places: NDArray[np.float32], valid: Valid) -> tuple[Tensors, Tensors]:
        """(boxes, labels), where they are asked for, of films that lie at these places."""
        assert self._boxes is not None
        boxes, labels = self._boxes.of(rows, places)
        for i in [] if valid is None else np.flatnonzero(~valid).tolist():
            boxes[i], labels[i] = boxes[i][:0], labels[i][:0]
        return boxes, labels


class Told:
    """What one batch says of its films, by the name of its field, worked out when it is asked for.

    Everything comes from the table, or from what the reader knows once the films were read, and neither changes. A
    step's own arrays are copied: what a caller does to a batch stays in it.
    """

    __slots__ = ("_device", "_facts", "_hidden", "_known", "_rows", "_size", "_step", "_valid")

    def __init__(
        self,
        known: Particulars,
        step: Step,
        rows: NDArray[np.int64],
        valid: Valid,
        size: Size,
        hidden: Valid,
        device: torch.device,
    ) -> None:
        self._known, self._step, self._rows, self._valid = known, step, rows, valid
        self._size, self._hidden, self._device = size, hidden, device
        self._facts: NDArray[np.float32] | None = None

    def __call__(self, name: str) -> Any:
        """The value of a field; tensors on the batch's device."""
        return with_tensors(getattr(self, name)(), lambda tensor: onto(tensor, self._device))

    def facts(self) -> NDArray[np.float32]:
        """Looked up once."""
        if self._facts is None:
            self._facts = self._known.facts(self._rows, self._size, self._valid)
        return self._facts

    def known(self) -> torch.Tensor:
        """From the table, not from the batch's targets, which may have been written to."""
        return torch.from_numpy(~np.isnan(self._known.targets(self._rows, self._valid, self._hidden)))

    def rows(self) -> torch.Tensor:
        """-1 where there is no film."""
        return torch.from_numpy(self._step.index.copy())

    def ids(self) -> list[str]:
        """What people call them."""
        return self._known.ids(self._rows, self._valid)

    def spacing(self) -> torch.Tensor:
        """At the batch's size."""
        return torch.from_numpy(self.facts()[:, SPACING].copy())

    def content(self) -> torch.Tensor:
        """At the batch's size."""
        return torch.from_numpy(self.facts()[:, CONTENT].copy())

    def geometry(self) -> Geometry:
        """Of the batch's size."""
        return Geometry(Size(*self._size), self.facts()[:, PLACES.start :])

    def valid(self) -> torch.Tensor:
        """Everywhere, where no place is padding."""
        whole = np.ones(len(self._rows), bool) if self._valid is None else self._valid
        return torch.from_numpy(whole.copy())

    def draws(self) -> torch.Tensor:
        """0 where there is no film."""
        return torch.from_numpy(blanked(self._step.draw.astype(np.int64), self._valid, 0))

    def columns(self) -> dict[str, list[Any]]:
        """The further columns that were asked for."""
        return self._known.columns(self._rows, self._valid)

    def group(self) -> list[Any] | None:
        """None where the table has none."""
        return self._known.exam(self._rows, self._valid).get("group")

    def slot(self) -> list[Any] | None:
        """None where the table has none."""
        return self._known.exam(self._rows, self._valid).get("slot")
