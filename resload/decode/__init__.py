"""Bytes -> one two-dimensional radiograph.

    sniff           which format, by content          radiograph.py   Header, Radiograph, Values
    read_header     what the file says of itself      gray.py         colour to luma
    decode          the pixels                        codecs.py       the door to imagecodecs, for films
    read_tags       attributes of a DICOM file        tags.py         keywords; texts.py: their character sets

    raster.py -- png.py, jpeg.py, tiff.py      dicom.py -- dictionary.py, elements.py, image.py, fragments.py,
                                               frames.py, groups.py, luts.py, meaning.py, spacing.py
        codestream.py  claims and end markers of JPEG, JPEG-LS and JPEG 2000      window.py  bytes of a file
        structure.py   passes and pieces that a codec would take time and memory for      source.py  files of films
        others.py      decoders in the place of imagecodecs

Every function here may be called from many threads at once; the codecs release the GIL. A file is refused
with a `resload.errors.DecodeError`, and no other exception: its claim is compared with a limit before
anything is allocated, its end is looked for before a codec sees it, and no second codec is tried.
"""

import os
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, TypeAlias, TypeVar

from resload.decode import jpeg
from resload.decode.dictionary import PHOTOMETRIC, named
from resload.decode.radiograph import Header, Lut, Radiograph, Values
from resload.decode.raster import FORMATS
from resload.decode.source import source_bytes, source_stream, unreadable
from resload.decode.window import Bytes, FileWindow
from resload.errors import (
    ArgumentError,
    DecodeError,
    NotARadiographError,
    TruncatedFileError,
    UnknownFormatError,
)
from resload.limits import limits

if TYPE_CHECKING:
    from resload.decode.others import Other
    from resload.decode.tags import Tag, Tagged

__all__ = [
    "COLOURS",
    "Header",
    "Lut",
    "Radiograph",
    "Source",
    "Values",
    "decode",
    "read_header",
    "read_tags",
    "sniff",
]

Source: TypeAlias = "str | os.PathLike[str] | bytes | bytearray | memoryview"
"""A path, or the bytes of a file."""

COLOURS = ("luma", "reject")
"""What becomes of images in colour: their luma, or a refusal."""

_Answer = TypeVar("_Answer")


def sniff(data: Bytes) -> str:
    """`png`, `jpeg`, `tiff` or `dicom`, by the first bytes and never by a name.

    DICOM is told by `DICM` behind its 128-byte preamble, or without preamble by starting with an element
    of group 0002 or 0008 in little endian.

    Raises TruncatedFileError for no bytes at all, UnknownFormatError for anything else.
    """
    start = data[0:132]
    if not start:
        raise TruncatedFileError("the file is empty")
    if start[128:132] == b"DICM":
        return "dicom"
    for name, form in FORMATS.items():
        if start.startswith(form.signatures):
            return name
    if _starts_as_data_set(start, len(data)):
        return "dicom"
    raise UnknownFormatError("the file is not PNG, JPEG, TIFF or DICOM", detail=f"starts with {start[:8].hex(' ')}")


def _starts_as_data_set(start: bytes, size: int) -> bool:
    if len(start) < 8 or start[:2] not in (b"\x02\x00", b"\x08\x00"):
        return False
    vr = start[4:6]
    return (vr.isalpha() and vr.isupper()) or int.from_bytes(start[4:8], "little") <= size - 8


def read_header(source: Source) -> Header:
    """What a file says about itself; reads only the bytes that tell.

    Raises DecodeError, naming the file when `source` is a path.
    """
    if isinstance(source, bytes | bytearray | memoryview):
        return _guarded(lambda: _header(bytes(source), limits().pixels), None)

    def read_path() -> Header:
        with source_stream(source) as file:
            return _header(FileWindow(file), limits().pixels)

    return _guarded(read_path, source)


def _header(data: Bytes, max_pixels: int) -> Header:
    name = sniff(data)
    if name == "dicom":
        from resload.decode import dicom

        return dicom.header(data, max_pixels)
    return FORMATS[name].header(data)


def read_tags(path: "str | os.PathLike[str]", tags: "Sequence[Tag]") -> "Tagged":
    """Attributes of a DICOM file, and its header; reads only the bytes before the pixels.

    Raises UnknownFormatError for other files, DecodeError for a data set that cannot be walked through, naming the
    file. An object without an image (a report) raises nothing: its `Tagged.header` says why there is none.
    """
    from resload.decode import tags as reader

    def read() -> "Tagged":
        with source_stream(path) as file:
            window = FileWindow(file)
            if sniff(window) != "dicom":
                raise UnknownFormatError("the file is not DICOM")
            return reader.tagged(window, tags, limits().pixels)

    return _guarded(read, path)


def decode(
    source: Source,
    *,
    frame: int = 0,
    max_pixels: int | None = None,
    colour: str = "luma",
    other: "Other | None" = None,
) -> Radiograph:
    """One radiograph: `pixels` (height, width) uint8 or uint16, owned by the caller.

    Args:
        source: a path, or the bytes of a file.
        frame: which image of a multi-page TIFF or multi-frame DICOM, from 0.
        max_pixels: refuse a header that claims more; None: `limits().pixels`.
        colour: `luma` (BT.601) of images in colour, palettes and gray images stored as RGB among them; or `reject`
            them by what the header says, whether or not their pixels happen to be gray.
        other: decodes the compressed streams that it takes (`decode.others`).

    Raises:
        ArgumentError: `colour` is neither.
        TruncatedFileError: the file is empty or ends early.
        UnknownFormatError: it is no format, or a DICOM transfer syntax, that is read.
        TooLargeError: its header claims more than `max_pixels`, or the file is larger than `limits().file_bytes`.
        NotARadiographError: it holds no image, not this frame, or a kind of image that is none.
        UnreadableFileError: it could not be opened or read, or is no regular file.
        DecodeError: it is damaged; the base of all of these.
    """
    if colour not in COLOURS:
        raise ArgumentError(f"colour is one of {', '.join(COLOURS)}; found {colour!r}")
    most = limits().pixels if max_pixels is None else max_pixels
    if isinstance(source, bytes | bytearray | memoryview):
        return _guarded(lambda: _decode(bytes(source), frame, most, colour, other), None)
    return _guarded(lambda: _decode(source_bytes(source)[0], frame, most, colour, other), source)


def _decode(data: bytes, frame: int, max_pixels: int, colour: str, other: "Other | None") -> Radiograph:
    if colour == "reject":
        _check_gray(_header(data, max_pixels))
    name = sniff(data)
    if name == "dicom":
        from resload.decode import dicom

        return dicom.decode(data, frame, max_pixels, other)
    if name == "jpeg":
        return jpeg.decode(data, frame, max_pixels, other)
    return FORMATS[name].decode(data, frame, max_pixels)


def _check_gray(header: Header) -> None:
    if header.photometric not in ("MONOCHROME1", "MONOCHROME2"):
        where = named(PHOTOMETRIC) if header.format == "dicom" else "its kind of picture"
        raise NotARadiographError(f"the image is in colour by {where}", detail=header.photometric)


def _guarded(step: Callable[[], _Answer], path: object) -> _Answer:
    """Run `step`; name the file in what it raises, and turn the system's errors into ours."""
    try:
        return step()
    except DecodeError as exc:
        if path is None:
            raise
        raise exc.at(path) from exc.__cause__
    except OSError as exc:
        raise unreadable(str(path), exc) from exc
