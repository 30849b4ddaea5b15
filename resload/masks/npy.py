"""Arrays of whole numbers as numpy.save writes them (numpy.lib.format, versions 1 to 3), read without numpy.load.

    93 "NUMPY" major minor | length of the header, 2 bytes or 4 | a dict as Python's text | the values

numpy.load follows what a file says of itself: a zip becomes an archive, the header's text is given to Python's parser,
and memory for any claimed shape is taken before the values are looked for. Here the header is matched, not parsed, and
the values must be there.
"""

import math
import re
from typing import Any

import numpy as np
from numpy.typing import NDArray

from resload.errors import DecodeError, TruncatedFileError

_MAGIC = b"\x93NUMPY"
_LONGEST_HEADER = 10_000
"""Characters: numpy's own limit for headers that are not trusted."""
_DTYPE = re.compile(r"""['"]descr['"]\s*:\s*['"]([<>|=]?[bui][1248])['"]""")
_ORDER = re.compile(r"""['"]fortran_order['"]\s*:\s*(True|False)""")
_SHAPE = re.compile(r"""['"]shape['"]\s*:\s*\(\s*(\d{1,9})L?\s*,\s*(\d{1,9})L?\s*,?\s*\)""")
_NONE = "the file holds no array of numbers as numpy.save writes them"


def array(data: bytes) -> NDArray[Any]:
    """The array (height, width) of bool or whole numbers in a .npy file: a read-only view of its bytes.

    Raises DecodeError for anything else, TruncatedFileError when values are missing.
    """
    wide = 2 if data[6:7] == b"\x01" else 4
    start = 8 + wide
    length = int.from_bytes(data[8:start], "little")
    if data[:6] != _MAGIC or data[6:7] not in (b"\x01", b"\x02", b"\x03") or length > _LONGEST_HEADER:
        raise DecodeError(_NONE)
    header = data[start : start + length].decode("latin-1")
    kind, order, shape = (one.search(header) for one in (_DTYPE, _ORDER, _SHAPE))
    if kind is None or order is None or shape is None:
        raise DecodeError(_NONE, detail=header.strip()[:80])
    try:
        dtype = np.dtype(kind[1])
    except TypeError:  # b2, say
        raise DecodeError(_NONE, detail=header.strip()[:80]) from None
    height, width = int(shape[1]), int(shape[2])
    if len(data) - start - length < math.prod((height, width, dtype.itemsize)):
        raise TruncatedFileError("the array ends early", detail=f"{height} x {width} {dtype}")
    found = np.frombuffer(data, dtype, height * width, start + length)
    return found.reshape((height, width), order="F" if order[1] == "True" else "C")
