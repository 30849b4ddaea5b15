"""What is to be measured: the loader that is meant, and for how long."""

import math
from dataclasses import dataclass
from typing import Any

import torch

from resload.devices import usable_device
from resload.errors import ArgumentError
from resload.scaling import DTYPES, FLOATS
from resload.size import Native, Size, SizeLike, Spacing, as_size
from resload.threads import thread_count


@dataclass(frozen=True)
class Settings:
    """The loader's arguments that its speed depends on. Raises ArgumentError for impossible ones."""

    size: SizeLike | Spacing | str | None = None
    """None: the largest size a cache stores in pixels; 256 for films."""
    batch_size: int | None = None
    """None: 64; fewer for films that take long, so that there are several batches within `seconds`."""
    dtype: str = "float32"
    channels: int = 1
    normalize: tuple[float, float] | None = None
    """(mean, std) on [0, 1]."""
    device: str = "cpu"
    threads: int | None = None
    """None: one for each core that this process may use."""
    seconds: float = 1.0
    """For each measurement."""
    seed: int = 0
    """Of which films are used, and of the model's random input."""

    def __post_init__(self) -> None:
        if self.dtype not in DTYPES:
            raise ArgumentError(f"dtype must be one of {', '.join(DTYPES)}; found {self.dtype!r}")
        if isinstance(self.seconds, bool) or not 0 < self.seconds < math.inf:
            raise ArgumentError(f"seconds for each measurement must be above 0; found {self.seconds!r}")
        if self.batch_size is not None and self.batch_size < 1:
            raise ArgumentError(f"batch_size must be >= 1; found {self.batch_size!r}")
        thread_count(self.threads)
        usable_device(self.device)

    @property
    def workers(self) -> int:
        """How many threads."""
        return thread_count(self.threads)

    @property
    def torch_dtype(self) -> torch.dtype:
        """Of the images."""
        return DTYPES[self.dtype]

    @property
    def late(self) -> bool:
        """Whether stored bytes travel and floats are made on the device."""
        return self.on_device and self.torch_dtype in FLOATS

    @property
    def on_device(self) -> bool:
        """Whether batches end up on another device than the CPU."""
        return torch.device(self.device).type != "cpu"

    def loader(self) -> dict[str, Any]:
        """The arguments of a `Loader` besides data, rows, size, batch size and threads."""
        return {
            "dtype": self.torch_dtype,
            "channels": self.channels,
            "normalize": self.normalize,
            "device": self.device,
            "shuffle": True,
            "seed": self.seed,
        }

    def image_bytes(self, size: Size) -> int:
        """Of one image in a batch."""
        return self.channels * size.pixels * self.torch_dtype.itemsize


def in_pixels(size: object) -> Size:
    """One size in pixels. Raises ArgumentError for "native", whose images differ in size."""
    found = as_size(size)
    if isinstance(found, Native):
        raise ArgumentError("a size in pixels is measured, for example 512; found 'native'")
    return found
