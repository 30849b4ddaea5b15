"""Attributes of DICOM files by keyword: which there are, and their values as texts.

    named("ViewCodeSequence.CodeMeaning")   -> Tag: where to look      (PS3.6, the data dictionary, as pydicom has it)
    tagged(data, tags, max_pixels)          -> Tagged: the values, the header, the transfer syntax

A value is a text whatever its representation is, with the parts of one that has several joined by a backslash, as
DICOM writes them. Missing and empty is None.
"""

import difflib
import struct
from collections.abc import Sequence
from dataclasses import dataclass

from resload.decode import dicom, texts
from resload.decode.dictionary import CHARACTER_SET, DIRECTORY, PIXEL_DATA
from resload.decode.elements import UNDEFINED, DataSet, Element
from resload.decode.fragments import TRUNCATED
from resload.decode.radiograph import Header
from resload.decode.window import Bytes
from resload.errors import ArgumentError, DecodeError, TruncatedFileError

_ITEM_HEAD = 8
"""Bytes in front of each fragment of encapsulated pixels, of which each frame has one at least (PS3.5 A.4)."""
_PLAIN = frozenset(("AE", "AS", "CS", "DA", "DS", "DT", "IS", "TM", "UI", "UR"))
"""Texts that Specific Character Set does not change (PS3.5 6.1.2.3)."""
_TEXTS = frozenset(("LO", "LT", "PN", "SH", "ST", "UC", "UT"))
"""Those that it does."""
_BINARY = {"US": "H", "SS": "h", "UL": "I", "SL": "i", "FL": "f", "FD": "d", "UV": "Q", "SV": "q"}
_NUMBERS = frozenset((*_BINARY, "DS", "IS"))


@dataclass(frozen=True, slots=True)
class Tag:
    """One attribute, or one of the first item of a sequence."""

    keyword: str
    """As it was asked for: `Manufacturer`, `ViewCodeSequence.CodeMeaning`."""
    path: tuple[int, ...]
    """Tags from the outermost sequence to the attribute; its last is the attribute's own."""
    vr: str
    """The value representation that the data dictionary gives it (PS3.5 6.2)."""

    @property
    def numeric(self) -> bool:
        """Whether its values are numbers by the dictionary."""
        return self.vr in _NUMBERS


@dataclass(frozen=True, slots=True)
class Tagged:
    """What a DICOM file says beside its pixels."""

    header: Header | DecodeError
    """Its image's header, or why it has none: NotARadiographError for an object without a radiograph."""
    values: tuple[str | None, ...]
    """One for each of the tags that were asked for."""
    syntax: str
    """Transfer Syntax UID."""
    directory: bool
    """Whether it is a DICOMDIR, which lists other files (PS3.3 F.3.2.2)."""


def named(keyword: str) -> Tag:
    """The tag of a keyword, or of sequences and a keyword with dots between.

    >>> named("ViewPosition").vr
    'CS'

    Raises ArgumentError for a keyword that the data dictionary lacks, with those nearest to it; for a sequence without
    an attribute in it; and for attributes that are no texts or numbers, such as PixelData.
    """
    if not isinstance(keyword, str):
        raise ArgumentError(f"tags are DICOM keywords such as 'BodyPartExamined'; found {keyword!r}")
    path = tuple(_known(part, keyword) for part in keyword.split("."))
    *sequences, own = (_representation(tag) for tag in path)
    if any(vr != "SQ" for vr in sequences):
        raise ArgumentError(f"tags: only sequences have attributes in them; {keyword!r} looks into another")
    if own == "SQ":
        raise ArgumentError(f"tags: {keyword} is a sequence: name an attribute in it, as {keyword}.CodeMeaning")
    if own not in _PLAIN | _TEXTS | set(_BINARY):
        raise ArgumentError(f"tags: {keyword} holds neither texts nor numbers ({own}), so it cannot become a column")
    return Tag(keyword, path, own)


def _known(part: str, keyword: str) -> int:
    from pydicom.datadict import keyword_dict

    if part not in keyword_dict:
        near = difflib.get_close_matches(part, keyword_dict, n=3, cutoff=0.7)
        meant = f"; nearest: {', '.join(near)}" if near else ""
        raise ArgumentError(f"tags: DICOM has no keyword {part!r} (in {keyword!r}){meant}. See PS3.6 chapter 6")
    return keyword_dict[part]


def _representation(tag: int) -> str:
    from pydicom.datadict import dictionary_VR

    return dictionary_VR(tag).partition(" or ")[0]


def tagged(data: Bytes, tags: Sequence[Tag], max_pixels: int) -> Tagged:
    """The values of these tags and the header. Raises DecodeError for a data set that cannot be walked through."""
    dataset = dicom.data_set(data, max_pixels)
    codecs = texts.encodings(dataset.text(CHARACTER_SET))
    values = tuple(_value(dataset, tag, codecs) for tag in tags)
    return Tagged(_header(dataset), values, dataset.syntax, DIRECTORY in dataset.elements)


def _header(dataset: DataSet) -> Header | DecodeError:
    """The header of a data set whose pixels may all be there, by their number and the length of their element."""
    try:
        header = dicom.header_of(dataset)
    except DecodeError as exc:
        return exc
    pixels = dataset.elements[PIXEL_DATA]
    return header if _may_hold(pixels, len(dataset.data), header) else TruncatedFileError(TRUNCATED)


def _may_hold(pixels: Element, end: int, header: Header) -> bool:
    """Whether there is room for so many frames: a damaged header may claim millions of them."""
    if pixels.length == UNDEFINED:
        return header.frames * _ITEM_HEAD <= end - pixels.start
    deep = header.bits > 8 and not header.photometric.startswith(
        "PALETTE"
    )  # of a palette, bits are those of its colours
    needed = header.frames * header.height * header.width * (2 if deep else 1)
    return needed <= pixels.length and pixels.start + pixels.length <= end


def _value(dataset: DataSet, tag: Tag, codecs: Sequence[str]) -> str | None:
    here: DataSet | None = dataset
    for sequence in tag.path[:-1]:
        here = here.first_item(sequence) if here is not None else None
    raw = b"" if here is None else here.raw(tag.path[-1])
    if here is None or not raw:
        return None
    if tag.vr in _BINARY:
        return _numbers(raw, tag.vr, here.little) or None
    codecs = ("latin-1",) if tag.vr in _PLAIN else codecs
    text = texts.decoded(raw, codecs, name=tag.vr == "PN")
    return "\\".join(part.strip(" \0\t\r\n") for part in text.split("\\")).rstrip("\\") or None


def _numbers(raw: bytes, vr: str, little: bool) -> str:
    one = struct.Struct(("<" if little else ">") + _BINARY[vr])
    whole = raw[: len(raw) // one.size * one.size]
    # Nine digits tell any two single-precision numbers apart.
    return "\\".join(f"{number:.9g}" if vr == "FL" else repr(number) for (number,) in one.iter_unpack(whole))
