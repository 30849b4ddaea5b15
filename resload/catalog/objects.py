"""What the files of an archive are: radiographs, other images, reports about them, and what is no DICOM at all.

    look(path)            one file -> ledger.Entry: what it says of itself, whatever it is
    kind(entry, ...)      an entry -> None for a radiograph, else the words under which it is counted

Words are those of DICOM's information objects (PS3.3 A, PS3.4 B.5 for the UIDs).
"""

from collections.abc import Collection, Sequence
from pathlib import Path

from resload import decode
from resload.catalog.ledger import Entry, stamp_of
from resload.decode.tags import Tag
from resload.errors import DecodeError, NotARadiographError, UnknownFormatError, UnreadableFileError

MODALITIES = ("CR", "DX", "MG", "RG", "PX", "IO")
"""Modalities that are radiographs (PS3.3 C.7.3.1.1.1): computed and digital radiography, mammography, radiographic
imaging on film, panoramic and intra-oral X-ray."""

STATES = ("image", "object", "damaged", "directory", "foreign")
"""With a header; without an image; with a header or pixels that are damaged; a DICOMDIR; no DICOM."""

HEADER = ("height", "width", "bits", "frames", "spacing_y", "spacing_x", "photometric", "voi", "intent", "syntax")
"""What is kept of a header, in this order. Whoever changes it, or what one of them means, raises `ledger.VERSION`."""

BASE = (
    "SOPClassUID",
    "SOPInstanceUID",
    "StudyInstanceUID",
    "AccessionNumber",
    "PatientID",
    "ViewPosition",
    "ViewCodeSequence.CodeMeaning",
    "ImageLaterality",
    "Laterality",
    "Modality",
    "Manufacturer",
    "BurnedInAnnotation",
    "Rows",
)
"""The tags that every catalog of an archive is made of."""
_PLACE = {keyword: place for place, keyword in enumerate(BASE)}

_CLASS = "1.2.840.10008.5.1.4.1.1."
_KEY_OBJECTS, _REPORTS, _PRESENTATIONS = f"{_CLASS}88.59", f"{_CLASS}88.", f"{_CLASS}11."
_MODALITY_OF_CLASS = {f"{_CLASS}1": "CR", f"{_CLASS}1.1": "DX", f"{_CLASS}1.2": "MG", f"{_CLASS}1.3": "IO"}
"""SOP classes that tell the modality where the file does not; those for processing have `.1` behind them."""

FOREIGN = "files that are no DICOM"
DIRECTORIES = "DICOM directories (DICOMDIR)"
REPORTS = "structured reports"
PRESENTATIONS = "presentation states"
KEY_OBJECTS = "key objects"
IMAGELESS = "objects without an image"
OTHERS = "images of other modalities"
NO_RADIOGRAPHS = "images that are no radiograph"
UNREADABLE = "unreadable files"
KINDS = (FOREIGN, DIRECTORIES, REPORTS, PRESENTATIONS, KEY_OBJECTS, IMAGELESS, OTHERS, NO_RADIOGRAPHS, UNREADABLE)
"""What is left out, in the order in which it is told."""


def look(root: Path, path: str, tags: Sequence[Tag]) -> Entry:
    """What one file says of itself. Raises OSError, UnreadableFileError where the system does not let one look."""
    stamp = stamp_of(root / path)
    try:
        found = decode.read_tags(root / path, tags)
    except UnknownFormatError:
        return Entry(path, stamp, "foreign", None, None, ())
    except UnreadableFileError:
        raise
    except DecodeError as exc:
        return Entry(path, stamp, "damaged", exc.reason, None, ())
    if found.directory:
        return Entry(path, stamp, "directory", None, None, ())
    if isinstance(found.header, DecodeError):
        state = "object" if isinstance(found.header, NotARadiographError) else "damaged"
        return Entry(path, stamp, state, found.header.reason, None, found.values)
    return Entry(path, stamp, "image", None, _kept(found.header, found.syntax), found.values)


def _kept(header: decode.Header, syntax: str) -> tuple[object, ...]:
    """The values of HEADER; what is not known is None."""
    y, x = header.spacing or (None, None)
    texts = (header.photometric, header.voi or None, header.intent or None, syntax)
    return (header.height, header.width, header.bits, header.frames, y, x, *texts)


def kind(entry: Entry, modalities: Collection[str]) -> str | None:
    """None for a radiograph, else the one of KINDS that the file is. `entry.tags` begin with those of BASE."""
    if entry.state == "foreign":
        return FOREIGN
    if entry.state == "directory":
        return DIRECTORIES
    if not entry.tags:
        return UNREADABLE
    uid, modality = tag(entry, "SOPClassUID") or "", modality_of(entry)
    if uid == _KEY_OBJECTS or modality == "KO":
        return KEY_OBJECTS
    if uid.startswith(_REPORTS) or modality == "SR":
        return REPORTS
    if uid.startswith(_PRESENTATIONS) or modality == "PR":
        return PRESENTATIONS
    if tag(entry, "Rows") is None:
        return IMAGELESS
    if modality not in modalities:
        return OTHERS
    return {"image": None, "damaged": UNREADABLE}.get(entry.state, NO_RADIOGRAPHS)


def modality_of(entry: Entry) -> str | None:
    """The modality that a file names, else the one of its SOP class."""
    uid = tag(entry, "SOPClassUID") or ""
    return tag(entry, "Modality") or _MODALITY_OF_CLASS.get(uid) or _MODALITY_OF_CLASS.get(uid.removesuffix(".1"))


def tag(entry: Entry, keyword: str) -> str | None:
    """The value of one of BASE."""
    return entry.tags[_PLACE[keyword]]
