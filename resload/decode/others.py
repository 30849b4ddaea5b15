"""Decoders in the place of imagecodecs, for compressed streams of gray images: the seam where DALI comes in.

A stream is checked before it gets here (`codestream.py`), whoever decodes it. What another decoder does not take is
decoded by imagecodecs; one that took a stream and fails refuses the file: nobody else is asked then.
"""

from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from resload.decode.codecs import decoder_name, run
from resload.decode.codestream import Codestream


class Other(Protocol):
    """Decodes some streams. Called from many threads at once."""

    def takes(self, codec: str, stream: Codestream) -> bool:
        """Whether `samples` is to decode it. codec: `jpeg` (also lossless JPEG), `jpegls` or `jpeg2k` (also HTJ2K)."""

    def samples(self, codec: str, data: bytes, stream: Codestream) -> tuple[NDArray[Any], str]:
        """The samples (height, width), uint8 or uint16, neither rescaled nor clipped; and who decoded them, with the
        version.

        Raises DecodeError.
        """


def decoded(
    codec: str, data: bytes, stream: Codestream, other: Other | None, **options: Any
) -> tuple[NDArray[Any], str]:
    """The samples of a stream, and the name and version of what decoded them. options: for imagecodecs.

    Raises DecodeError.
    """
    if other is not None and stream.components == 1 and not stream.signed and other.takes(codec, stream):
        return other.samples(codec, data, stream)
    return np.asarray(run(codec, data, **options)), decoder_name(codec)
