"""JPEG files: gray and colour, sequential and progressive, 8 and 12 bits."""

from resload.decode.codestream import Codestream, ended, parse_jpeg
from resload.decode.gray import to_gray
from resload.decode.others import Other, decoded
from resload.decode.radiograph import Header, Radiograph, check_claim, check_frame
from resload.decode.structure import check_scans
from resload.decode.window import Bytes
from resload.errors import DecodeError, NotARadiographError

SIGNATURE = b"\xff\xd8\xff"


def _parse(data: Bytes) -> Codestream:
    stream = parse_jpeg(data)
    if stream.components not in (1, 3):
        raise NotARadiographError(
            "the JPEG is neither gray nor three colours (CMYK, perhaps): convert it first",
            detail=f"{stream.components} components",
        )
    if not 2 <= stream.precision <= 16:
        raise DecodeError("the JPEG data is damaged", detail=f"{stream.precision} bits per sample")
    return stream


def header(data: Bytes) -> Header:
    """The header of a JPEG; reads up to its first scan."""
    stream = _parse(data)
    photometric = "MONOCHROME2" if stream.components == 1 else "YBR_FULL_422"
    return Header("jpeg", stream.height, stream.width, max(8, stream.precision), photometric, None)


def decode(data: bytes, frame: int, max_pixels: int, other: Other | None = None) -> Radiograph:
    """Colour goes to RGB and then to luma, the one rule of `gray.py`. EXIF orientation is not applied."""
    stream = _parse(data)
    check_claim(stream.height, stream.width, max_pixels)
    check_frame(frame, 1)
    data = ended(data, stream, "JPEG")
    check_scans(data, stream)
    found = decoded("jpeg", data, stream, other)
    if found.shape[:2] != (stream.height, stream.width):
        raise DecodeError("the JPEG data is damaged", detail="two sizes in one file")
    return Radiograph(to_gray(found.values), max(8, stream.precision), None, found.decoder, held=found.held)
