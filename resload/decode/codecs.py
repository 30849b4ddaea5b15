"""The door to imagecodecs for films: a table of codecs, and their errors turned into ours.

The only other one is `store/codecs.py`, for a cache's compressed records.

A codec is chosen by the format or the transfer syntax and by nothing else. When it fails the file is
refused; no second codec is tried, since two decoders that disagree would make the pixels depend on luck.
All of these release the GIL while they decode.

Facts that callers must know (imagecodecs 2026.3.6), each with a test:

- `png` without `out=` drops a reference to None at every damaged file, and on Python 3.11, where None can
  be freed, some thousands of damaged files end the process. With `out=` it keeps a reference to `out`
  instead, so the array is emptied in place here and what stays behind is a few bytes.
- `jpeg` and `jpegls` do not notice by themselves that a stream ends early: the first returns gray pixels,
  the second never returns. `codestream.py` looks for the end marker first.
- `dicomrle` follows segment offsets out of the data and ends the process: `frames.py` checks them first.
- `jpeg2k` leaves tiles black that a stream lacks: `codestream.py` counts them first.
- `htj2k` (OpenJPH) ends the process on some damaged streams and takes truncated ones for whole, so HTJ2K is
  given to `jpeg2k` (OpenJPEG, same pixels), which refuses both.
"""

from functools import cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from resload.errors import DecodeError

NAMES = {
    "png": ("png_decode", "PNG"),
    "jpeg": ("jpeg8_decode", "JPEG"),
    "jpegls": ("jpegls_decode", "JPEG-LS"),
    "jpeg2k": ("jpeg2k_decode", "JPEG 2000"),
    "tiff": ("tiff_decode", "TIFF"),
    "dicomrle": ("dicomrle_decode", "RLE"),
    "deflate": ("deflate_decode", "DEFLATE"),
}
"""Codec -> (imagecodecs function, what people call it)."""


def run(codec: str, data: bytes, *args: Any, **options: Any) -> Any:
    """What imagecodecs returns for `data`: an array, for `dicomrle` and `deflate` bytes.

    Raises DecodeError when it refuses; its own words are the `detail`.
    """
    import imagecodecs

    function, label = NAMES[codec]
    try:
        return getattr(imagecodecs, function)(data, *args, **options)
    except MemoryError:
        raise  # this machine's trouble, not the file's
    except Exception as exc:
        _give_back(options.get("out"))
        raise DecodeError(f"the {label} data is damaged", detail=str(exc)) from None


def _give_back(out: NDArray[Any] | None) -> None:
    """Free the memory of an array that a failed codec may still hold a reference to."""
    if isinstance(out, np.ndarray) and out.flags.owndata:
        out.resize(0, refcheck=False)


def crc32(data: Any, before: int = 0) -> int:
    """The CRC-32 of any buffer, continued from `before`; by libdeflate, several times as fast as zlib's."""
    import imagecodecs

    return int(imagecodecs.deflate_crc32(data, before))


def adler32(data: Any) -> int:
    """The Adler-32 of any buffer, by libdeflate."""
    import imagecodecs

    return int(imagecodecs.deflate_adler32(data))


@cache
def decoder_name(codec: str) -> str:
    """`imagecodecs.png 2026.3.6`: what a cache records about who made the pixels."""
    import imagecodecs

    return f"imagecodecs.{codec} {imagecodecs.__version__}"
