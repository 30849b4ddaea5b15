"""PNG, JPEG and TIFF behind one table: how each reads its header and its pixels."""

from collections.abc import Callable
from dataclasses import dataclass

from resload.decode import jpeg, png, tiff
from resload.decode.radiograph import Header, Radiograph
from resload.decode.window import Bytes


@dataclass(frozen=True, slots=True)
class Format:
    """One file format."""

    signatures: tuple[bytes, ...]
    """First bytes, any of them."""
    header: Callable[[Bytes], Header]
    """Reads what it needs of the file and decodes nothing."""
    decode: Callable[[bytes, int, int], Radiograph]
    """`(data, frame, max_pixels)` -> one radiograph."""


FORMATS = {
    "png": Format((png.SIGNATURE,), png.header, png.decode),
    "jpeg": Format((jpeg.SIGNATURE,), jpeg.header, jpeg.decode),
    "tiff": Format(tiff.SIGNATURES, tiff.header, tiff.decode),
}
"""Name -> format. Formats are told by their first bytes, so a JPEG named .png is read as the JPEG it is."""
