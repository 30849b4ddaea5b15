"""Decoders in the place of imagecodecs, for compressed streams of gray images: the seam where DALI comes in.

A stream is checked before it gets here (`codestream.py`), whoever decodes it. What another decoder does not take is
decoded by imagecodecs.
"""

from typing import Any, NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from resload.decode.codecs import decoder_name, run
from resload.decode.codestream import Codestream


class Samples(NamedTuple):
    """What a stream was decoded to."""

    values: NDArray[Any]
    """Whole numbers (height, width) or (height, width, samples). Where the samples are `held`: (1, n), the value that
    each number 0 .. n - 1 that is held there stands for; what is done to every sample alike is then done to these.
    """
    decoder: str
    """Who decoded it, and the version."""
    held: Any = None
    """A tensor (height, width) uint8 or uint16 on another device."""

    @property
    def shape(self) -> tuple[int, ...]:
        """Of the image."""
        return tuple(self.values.shape if self.held is None else self.held.shape)


class Other(Protocol):
    """Decodes some streams. Called from many threads at once."""

    def takes(self, codec: str, stream: Codestream) -> bool:
        """Whether `samples` is to decode it. codec: `jpeg` (also lossless JPEG), `jpegls` or `jpeg2k` (also HTJ2K)."""

    def samples(self, codec: str, data: bytes, stream: Codestream) -> Samples:
        """The samples (height, width), neither rescaled nor clipped. Raises DecodeError."""


def decoded(codec: str, data: bytes, stream: Codestream, other: Other | None, **options: Any) -> Samples:
    """The samples of a stream. options: for imagecodecs.

    Raises DecodeError.
    """
    if other is not None and stream.components == 1 and not stream.signed and other.takes(codec, stream):
        return other.samples(codec, data, stream)
    return Samples(np.asarray(run(codec, data, **options)), decoder_name(codec))
