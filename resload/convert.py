"""From stored pixels to what the model gets, in the memory of batches.

    on the CPU     a task converts its own images, some at a time, while they are near the core
    on a device    stored bytes travel (a quarter of float32's), and the same arithmetic runs there; integers are made
                   before they travel, unless they stay there

The arithmetic is that of `scaling`, wherever it runs.
"""

import math
import threading
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from resload.errors import ArgumentError
from resload.scaling import FLOATS, Scaling
from resload.size import Size
from resload.store.slot import Slot

_STAGED_BYTES = 4 << 20
"""Of stored images read before they are converted; from 1 to 16 MB made no difference that could be measured."""
_STAGED_SIZES = 8
"""Places for images of so many sizes are kept by each thread."""
_STAGED_IMAGES = 64
"""At most: a slot keeps a view of each."""


class Converter:
    """Stored (n, H, W) uint8 or uint16 -> (n, C, H, W) of the dtype asked for. Thread-safe.

    `stored` is the numpy dtype of the blocks that batches are made in. With `late=True` floats are made at the end, by
    torch, on whatever device the batch is by then; with `as_stored=True` integers too. `scaling` holds dtype and
    channels; its errors are raised here.
    """

    def __init__(
        self,
        source: np.dtype[Any],
        dtype: torch.dtype,
        channels: int,
        normalization: tuple[Any, Any] | None,
        *,
        late: bool = False,
        as_stored: bool = False,
    ) -> None:
        self.scaling = Scaling(source, dtype, channels, normalization)
        self._source, self._channels = source, channels
        self.resizes_late = late and dtype in FLOATS
        """Whether sizes that are not stored are made at the end too, where the reader has a way to."""
        self.late = self.resizes_late or as_stored
        self.stored = source if self.late else self.scaling.made
        self.in_place = self.late or (self.stored == source and channels == 1)
        self._local = threading.local()

    # -- shapes and memory --

    def shape(self, count: int, size: Size) -> tuple[int, ...]:
        """Of the block a batch is made in."""
        return (count, 1 if self.late else self._channels, *size)

    def bytes(self, shape: tuple[int, ...]) -> int:
        """Of a batch's block."""
        return math.prod(shape) * self.stored.itemsize

    def staging(self, size: Size) -> Slot:
        """This thread's own place to read some images into before they are converted; one for each of a few sizes."""
        slots: dict[tuple[int, ...], Slot] = self._local.__dict__.setdefault("slots", {})
        shape = tuple(size)
        if shape not in slots:
            if len(slots) >= _STAGED_SIZES:
                slots.pop(next(iter(slots)))
            count = max(1, min(_STAGED_IMAGES, _STAGED_BYTES // (size.pixels * self._source.itemsize)))
            slots[shape] = Slot(np.empty((count, *size), self._source))
        return slots[shape]

    # -- arithmetic --

    def run(self, images: NDArray[Any], out: NDArray[Any]) -> None:
        """Convert (n, H, W) into `out` (n, C, H, W) of `stored`."""
        self.scaling.run(images, out)

    def finished(self, images: torch.Tensor) -> torch.Tensor:
        """The last step, on the whole batch and its device: half precisions, and with `late` the arithmetic."""
        return self.scaling.finished(self.scaling.on_device(images) if self.late else images)


class Detour:
    """The way of images through a transform that takes none of a model's numbers. Thread-safe.

    given      stored (n, H, W) -> (n, 1, H, W) of what it takes: float32 on [0, 1], or integers as stored
    received   what it left of them -> (n, C, H, W): normalised, widened or rounded, repeated along channels

    Raises ArgumentError where it takes neither float32 nor the stored dtype.
    """

    def __init__(
        self,
        source: np.dtype[Any],
        takes: torch.dtype,
        dtype: torch.dtype,
        channels: int,
        normalization: tuple[Any, Any] | None,
    ) -> None:
        if takes not in (torch.float32, getattr(torch, source.name)):
            raise ArgumentError(
                f"transform= may take torch.float32 on [0, 1], or this data as it is stored, torch.{source.name}; "
                f"its takes() answered {takes}"
            )
        self.given = Scaling(source, takes, 1, None)
        self.received = Scaling(self.given.made, dtype, channels, normalization)
