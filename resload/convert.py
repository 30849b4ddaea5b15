"""From stored pixels to what the model gets: widened or scaled to [0, 1], normalised, repeated along channels.

    on the CPU     a task converts its own images, some at a time, while they are near the core
    on a device    stored bytes travel (a quarter of float32's), and the same arithmetic runs there

float = stored / dtype maximum, then (x - mean) / std; both in one multiplication and one addition in float32.
"""

import math
import threading
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from resload.errors import ArgumentError
from resload.size import Size
from resload.store.gather import Slot

_NUMPY: dict[torch.dtype, np.dtype[Any]] = {
    torch.float32: np.dtype(np.float32),
    torch.uint8: np.dtype(np.uint8),
    torch.uint16: np.dtype(np.uint16),
}
_CACHED_BYTES = 1 << 20
"""Of converted images: three passes over them stay near the core, and calls are few enough that threads seldom wait
for each other. A quarter of it was slower with two threads."""
_STAGED_BYTES = 1 << 20
"""Of stored images read before they are converted; from 1 to 16 MB made no difference that could be measured."""
_STAGED_IMAGES = 64
"""At most: a slot keeps a view of each."""
_FLOATS = (torch.float32, torch.float16, torch.bfloat16)


class Converter:
    """Stored (n, H, W) uint8 or uint16 -> (n, C, H, W) of the dtype asked for. Thread-safe.

    `stored` is the numpy dtype of the blocks that batches are made in; half precisions are made from float32 at
    the end, since numpy has no bfloat16. With `late=True` floats are made at the end too, by torch, on whatever
    device the batch is by then.
    """

    def __init__(
        self,
        source: np.dtype[Any],
        dtype: torch.dtype,
        channels: int,
        normalization: tuple[Any, Any] | None,
        *,
        late: bool = False,
    ) -> None:
        if dtype not in (*_FLOATS, torch.uint8, torch.uint16):
            raise ArgumentError(f"dtype must be float32, float16, bfloat16, uint8 or uint16 of torch; found {dtype}")
        if isinstance(channels, bool) or not isinstance(channels, int) or channels < 1:
            raise ArgumentError(f"channels must be an int >= 1; found {channels!r}")
        self._source, self._dtype, self._channels = source, dtype, channels
        self._scale, self._bias = self._arithmetic(normalization)
        self._late = late and dtype in _FLOATS
        self.stored = source if self._late else _NUMPY.get(dtype, _NUMPY[torch.float32])
        self.in_place = self._late or (self.stored == source and channels == 1)
        self._local = threading.local()

    def _arithmetic(self, normalization: tuple[Any, Any] | None) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        top = float(np.iinfo(self._source).max)
        if self._dtype not in _FLOATS:
            return self._widening(normalization)
        if normalization is not None and len(normalization) != 2:
            raise ArgumentError(f"normalize must be (mean, std); found {normalization!r}")
        mean, std = (self._per_channel(part) for part in normalization or (0.0, 1.0))
        if not (std > 0).all():
            raise ArgumentError(f"normalize: std must be positive; found {std.tolist()}")
        return (1 / (top * std)).astype(np.float32), (-mean / std).astype(np.float32)

    def _widening(self, normalization: tuple[Any, Any] | None) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        if normalization is not None:
            raise ArgumentError(f"normalize needs a float dtype; found {self._dtype}")
        if self._dtype == torch.uint8 and self._source == np.uint16:
            raise ArgumentError("dtype uint8 would lose depth: this data is uint16; ask for uint16 or a float dtype")
        return np.ones(self._channels, np.float32), np.zeros(self._channels, np.float32)

    def _per_channel(self, values: Any) -> NDArray[np.float64]:
        try:
            found = np.asarray(values, np.float64).reshape(-1)
        except (TypeError, ValueError):  # no numbers
            found = np.empty(0)
        if found.size not in (1, self._channels) or not np.isfinite(found).all():
            raise ArgumentError(f"normalize: one finite number or one per channel ({self._channels}); found {values!r}")
        return np.broadcast_to(found, (self._channels,))

    # -- shapes and memory --

    def shape(self, count: int, size: Size) -> tuple[int, ...]:
        """Of the block a batch is made in."""
        return (count, 1 if self._late else self._channels, *size)

    def bytes(self, shape: tuple[int, ...]) -> int:
        """Of a batch's block."""
        return math.prod(shape) * self.stored.itemsize

    def staging(self, size: Size) -> Slot:
        """This thread's own place to read some images into before they are converted."""
        slot: Slot | None = getattr(self._local, "slot", None)
        if slot is None or slot.out.shape[1:] != tuple(size):
            count = max(1, min(_STAGED_IMAGES, _STAGED_BYTES // (size.pixels * self._source.itemsize)))
            slot = self._local.slot = Slot(np.empty((count, *size), self._source))
        return slot

    # -- arithmetic --

    def run(self, images: NDArray[Any], out: NDArray[Any]) -> None:
        """Convert (n, H, W) into `out` (n, C, H, W) of `stored`, `_CACHED_BYTES` at a time."""
        together = max(1, _CACHED_BYTES // max(1, images[0].size * self.stored.itemsize))
        for start in range(0, len(images), together):
            part = slice(start, start + together)
            for channel in range(self._channels):
                self._planes(images[part], out[part, channel], channel)

    def _planes(self, images: NDArray[Any], planes: NDArray[Any], channel: int) -> None:
        if self.stored.kind != "f":
            np.multiply(images, 257 if self.stored != self._source else 1, out=planes, dtype=self.stored)
            return
        np.copyto(planes, images)  # cast first: a mixed multiplication goes through a slow buffer
        planes *= self._scale[channel]
        if self._bias[channel]:
            planes += self._bias[channel]

    def finished(self, images: torch.Tensor) -> torch.Tensor:
        """The last step, on the whole batch and its device: half precisions, and with `late` the arithmetic."""
        if self._late:
            images = self._arithmetic_on(images)
        return images.to(self._dtype) if self._dtype in _FLOATS else images

    def _arithmetic_on(self, images: torch.Tensor) -> torch.Tensor:
        """(n, 1, H, W) as stored -> (n, C, H, W) float32: one multiplication and one addition, as on the CPU."""
        if images.dtype == torch.uint16:  # carried by torch, but hardly computed on: its bits as int16, put right
            floats = images.view(torch.int16).to(torch.int32).bitwise_and_(0xFFFF).to(torch.float32)
        else:
            floats = images.to(torch.float32)
        scale, bias = (torch.from_numpy(part).to(images.device).view(-1, 1, 1) for part in (self._scale, self._bias))
        return floats * scale + bias
