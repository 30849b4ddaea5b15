"""Stored pixels as a model's numbers: scaled to [0, 1] or widened, normalised, repeated along channels.

float = stored / dtype maximum, then (x - mean) / std; both in one multiplication and one addition in float32, half
precisions from it. Loading and serving both come here, which is what makes their tensors the same bits.
"""

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from resload import carried, forks
from resload.errors import ArgumentError

DTYPES: dict[str, torch.dtype] = {
    "float32": torch.float32,
    "float16": torch.float16,
    "bfloat16": torch.bfloat16,
    "uint8": torch.uint8,
    "uint16": torch.uint16,
}
"""What images can be."""
FLOATS = (torch.float32, torch.float16, torch.bfloat16)
_NUMPY: dict[torch.dtype, np.dtype[Any]] = {
    torch.float32: np.dtype(np.float32),
    torch.uint8: np.dtype(np.uint8),
    torch.uint16: np.dtype(np.uint16),
}
_CACHED_BYTES = 1 << 20
"""Of converted images: three passes over them stay near the core, and calls are few enough that threads seldom wait
for each other. A quarter of it was slower with two threads."""


class Scaling:
    """Images (n, H, W) -> (n, C, H, W) of a dtype: `run`, then `finished`. Thread-safe.

    source: uint8 or uint16 as stored; or float32 on [0, 1], which a transform left: integers are made of it by one
    rounding to nearest, of values clipped to [0, 1]. `made` is the numpy dtype that `run` writes; half precisions are
    made from its float32 by `finished`, since numpy has no bfloat16. Raises ArgumentError for a dtype, channels or
    normalization (mean, std) that cannot be.
    """

    def __init__(
        self, source: np.dtype[Any], dtype: torch.dtype, channels: int, normalization: tuple[Any, Any] | None
    ) -> None:
        if dtype not in DTYPES.values():
            raise ArgumentError(f"dtype must be float32, float16, bfloat16, uint8 or uint16 of torch; found {dtype}")
        if isinstance(channels, bool) or not isinstance(channels, int) or channels < 1:
            raise ArgumentError(f"channels must be an int >= 1; found {channels!r}")
        self.source, self.dtype, self.channels = source, dtype, channels
        self._scale, self._bias = self._arithmetic(normalization)
        self.made = _NUMPY.get(dtype, _NUMPY[torch.float32])
        self._there: dict[torch.device, tuple[torch.Tensor, ...]] = {}

    def _arithmetic(self, normalization: tuple[Any, Any] | None) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        top = 1.0 if self.source.kind == "f" else float(np.iinfo(self.source).max)
        if self.dtype not in FLOATS:
            return self._widening(normalization)
        if normalization is not None and len(normalization) != 2:
            raise ArgumentError(f"normalize must be (mean, std); found {normalization!r}")
        mean, std = (self._per_channel(part) for part in normalization or (0.0, 1.0))
        if not (std > 0).all():
            raise ArgumentError(f"normalize: std must be positive; found {std.tolist()}")
        return (1 / (top * std)).astype(np.float32), (-mean / std).astype(np.float32)

    def _widening(self, normalization: tuple[Any, Any] | None) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        if normalization is not None:
            raise ArgumentError(f"normalize needs a float dtype; found {self.dtype}")
        if self.dtype == torch.uint8 and self.source == np.uint16:
            raise ArgumentError("dtype uint8 would lose depth: this data is uint16; ask for uint16 or a float dtype")
        return np.ones(self.channels, np.float32), np.zeros(self.channels, np.float32)

    def _per_channel(self, values: Any) -> NDArray[np.float64]:
        try:
            found = np.asarray(values, np.float64).reshape(-1)
        except (TypeError, ValueError):  # no numbers
            found = np.empty(0)
        if found.size not in (1, self.channels) or not np.isfinite(found).all():
            raise ArgumentError(f"normalize: one finite number or one per channel ({self.channels}); found {values!r}")
        return np.broadcast_to(found, (self.channels,))

    def run(self, images: NDArray[Any], out: NDArray[Any]) -> None:
        """Convert (n, H, W) into `out` (n, C, H, W) of `made`, `_CACHED_BYTES` at a time."""
        together = max(1, _CACHED_BYTES // max(1, images[0].size * self.made.itemsize))
        for start in range(0, len(images), together):
            part = slice(start, start + together)
            for channel in range(self.channels):
                self._planes(images[part], out[part, channel], channel)

    def _planes(self, images: NDArray[Any], planes: NDArray[Any], channel: int) -> None:
        if self.made.kind != "f" and self.source.kind == "f":
            planes[...] = np.rint(np.clip(images, 0, 1) * np.float32(np.iinfo(self.made).max))
            return
        if self.made.kind != "f":
            np.multiply(images, 257 if self.made != self.source else 1, out=planes, dtype=self.made)
            return
        np.copyto(planes, images)  # cast first: a mixed multiplication goes through a slow buffer
        planes *= self._scale[channel]
        if self._bias[channel]:
            planes += self._bias[channel]

    def on_device(self, images: torch.Tensor) -> torch.Tensor:
        """`run` where the pixels are: (n, 1, H, W) as stored -> (n, C, H, W) float32, a new tensor; of integer dtypes
        (n, C, H, W) of `dtype`, the same tensor where it is that already.
        """
        if self.dtype not in FLOATS:
            return self._repeated(self._widened(images))
        floats = (carried.numbers(images) if images.dtype == torch.uint16 else images).to(torch.float32)
        scale, bias = self._on(images.device)
        return floats * scale + bias

    def _widened(self, images: torch.Tensor) -> torch.Tensor:
        """As `dtype`: uint8 as uint16 is 257 times itself, which is its byte twice."""
        if images.dtype == self.dtype:
            return images
        return torch.stack((images, images), -1).view(torch.uint16).squeeze(-1)

    def _repeated(self, images: torch.Tensor) -> torch.Tensor:
        """Along channels."""
        if self.channels == 1:
            return images
        return carried.bits(images).expand(-1, self.channels, -1, -1).contiguous().view(images.dtype)

    def _on(self, device: torch.device) -> tuple[torch.Tensor, ...]:
        """Scale and bias there, brought once."""
        found = self._there.get(device)
        if found is None:
            found = self._there[device] = tuple(
                torch.from_numpy(part).to(device).view(-1, 1, 1) for part in (self._scale, self._bias)
            )
        return found

    def finished(self, images: torch.Tensor) -> torch.Tensor:
        """What was made, as `dtype`: half precisions rounded to nearest; `images` itself where it is that already."""
        if self.dtype not in FLOATS or images.dtype == self.dtype:
            return images
        return images.to(self.dtype) if images.device.type != "cpu" else _rounded(images, self.dtype)


@forks.apart
def _rounded(images: torch.Tensor, dtype: torch.dtype) -> torch.Tensor:
    return images.to(dtype)
