"""What a model was fed in training, beside the recipe of the pixels: enough to make the same tensor of one film.

A recipe says how a film becomes stored pixels; this says at which size a model saw them, as which numbers, and how they
came to be. `Loader.pipeline` fills it in, `Pipeline.save` keeps it, `Pipeline.tensor` follows it.
"""

import logging
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np

from resload import forks
from resload.decode.codecs import NAMES, decoder_name
from resload.errors import ArgumentError
from resload.scaling import DTYPES
from resload.size import Size, as_size

_log = logging.getLogger("resload")
_warned: set[tuple[str, tuple[str, ...]]] = set()
"""Differences between decoders that this process has been told of."""
_lock = forks.lock()


@dataclass(frozen=True)
class ModelInput:
    """The tensor a model was trained on. Made by `Loader.pipeline`.

    Raises ArgumentError for values that are none of these.
    """

    size: Size
    """(height, width) of the images; where a batch carried several, that of `Batch.images`."""
    dtype: str = "float32"
    """"float32", "float16", "bfloat16", "uint8" or "uint16"."""
    channels: int = 1
    """Copies of the gray image."""
    mean: tuple[float, ...] | None = None
    """Subtracted on [0, 1]: one number, or one for each channel; None: nothing was normalised."""
    std: tuple[float, ...] | None = None
    """What the difference was divided by."""
    detail: Size | None = None
    """The size that films were shrunk to before they were enlarged to `size` (`Loader(detail=)`)."""
    level: Size | None = None
    """The stored size that training's pixels came from; None: the files themselves."""
    expected_rmse: float = 0.0
    """How far training's pixels are expected to be from those of `Pipeline.tensor`, which come from the film itself:
    `Batch.expected_rmse`, in 1/255 of the range, 0 where the size was stored."""
    decoders: tuple[str, ...] = ()
    """Codecs with their versions, such as "imagecodecs.png 2026.3.6": those that decoded the films of a cache, or for
    training from files those of the machine it ran on."""

    def __post_init__(self) -> None:
        object.__setattr__(self, "size", as_size(self.size))
        for name in ("detail", "level"):
            value = getattr(self, name)
            object.__setattr__(self, name, None if value is None else as_size(value))
        for name in ("mean", "std"):
            object.__setattr__(self, name, _numbers(name, getattr(self, name)))
        if (self.mean is None) != (self.std is None):
            raise ArgumentError(f"model: mean and std go together; found mean={self.mean}, std={self.std}")
        if self.dtype not in DTYPES:
            raise ArgumentError(f"model: dtype must be one of {', '.join(DTYPES)}; found {self.dtype!r}")
        object.__setattr__(self, "decoders", tuple(str(one) for one in self.decoders))

    @property
    def normalization(self) -> tuple[tuple[float, ...], tuple[float, ...]] | None:
        """(mean, std), or None."""
        return None if self.mean is None or self.std is None else (self.mean, self.std)

    def warn_of_others(self, decoders: Iterable[str]) -> None:
        """Log a warning for each of these decoders that training had in another version; once per process."""
        for found in sorted(set(decoders)):
            name = found.partition(" ")[0]
            recorded = tuple(one for one in self.decoders if one.partition(" ")[0] == name)
            if not recorded or found in recorded:
                continue
            with _lock:
                new = (found, recorded) not in _warned
                _warned.add((found, recorded))
            if new:
                _log.warning(
                    "films are decoded by %s here, and were by %s for training: pixels may differ; install that "
                    "version, or compare some films",
                    found,
                    " and ".join(recorded),
                )


def decoders_here() -> tuple[str, ...]:
    """The codecs that this machine decodes films with, and their versions."""
    return tuple(sorted(decoder_name(codec) for codec in NAMES if codec != "deflate"))  # which decodes no film


def _numbers(name: str, values: Any) -> tuple[float, ...] | None:
    if values is None:
        return None
    try:
        return tuple(np.asarray(values, np.float64).reshape(-1).tolist())
    except (TypeError, ValueError) as exc:
        raise ArgumentError(f"model: {name} is one number or one per channel; found {values!r}") from exc
