"""Sound DICOM files of every transfer syntax, and the ways in which they are damaged: for tests and for
`benchmarks/dicom_mutations.py`.
"""

import contextlib
import struct
import warnings
import zlib
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pydicom
from dicom_files import (
    BIG,
    DEFLATED,
    EXPLICIT,
    HTJ2K,
    IMPLICIT,
    J2K,
    J2K_LOSSY,
    JLS,
    JLS_NEAR,
    JPEG,
    JPEG_12,
    JPEG_57,
    JPEG_70,
    RLE,
    known,
    make_dicom,
    smooth,
)
from pydicom.dataset import Dataset
from pydicom.sequence import Sequence

from resload.decode import decode, read_header
from resload.decode.elements import Element, read
from resload.errors import DecodeError

SYNTAXES = {
    "implicit": IMPLICIT,
    "explicit": EXPLICIT,
    "deflated": DEFLATED,
    "big endian": BIG,
    "RLE": RLE,
    "JPEG": JPEG,
    "JPEG extended": JPEG_12,
    "JPEG lossless": JPEG_57,
    "JPEG lossless SV1": JPEG_70,
    "JPEG-LS": JLS,
    "JPEG-LS near": JLS_NEAR,
    "JPEG 2000": J2K,
    "JPEG 2000 lossy": J2K_LOSSY,
    "HTJ2K": HTJ2K[0],
    "HTJ2K RPCL": HTJ2K[1],
    "HTJ2K lossy": HTJ2K[2],
}
_LARGEST_BYTES = 40_000
"""Of bundled files that are mutated: thousands of them are decoded."""


def sound_files(crop: int = 96) -> dict[str, list[bytes]]:
    """By transfer syntax: a drawn film with every element that decoding reads, crops of real CR films of 10 and 15
    bits, colour, two frames, and the small files that ship with pydicom."""
    found: dict[str, list[bytes]] = {name: drawn(syntax) for name, syntax in SYNTAXES.items()}
    for film in ("RG1_UNCR.dcm", "RG3_UNCR.dcm"):
        dataset = pydicom.dcmread(known(film))
        pixels = dataset.pixel_array[600 : 600 + crop, 700 : 700 + crop]
        for name, syntax in SYNTAXES.items():
            part, bits = fitted(pixels, syntax, dataset.BitsStored)
            found[name].append(make_dicom(part, syntax, bits=bits, PhotometricInterpretation="MONOCHROME1"))
    names = {syntax: name for name, syntax in SYNTAXES.items()}
    for path in sorted(Path(known("CT_small.dcm")).parent.rglob("*")):
        if path.is_file() and path.stat().st_size < _LARGEST_BYTES:
            syntax = syntax_of(path)
            if syntax is not None:
                found[names.get(syntax, "explicit")].append(path.read_bytes())
    return found


def syntax_of(path: Path) -> str | None:
    """The transfer syntax that pydicom reads, or None for what is no DICOM file."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            dataset = pydicom.dcmread(path, stop_before_pixels=True)
        except Exception:  # whatever pydicom thinks of it: it is no sound file then
            return None
    return str(dataset.file_meta.get("TransferSyntaxUID", EXPLICIT))


def fitted(pixels: np.ndarray, syntax: str, bits: int) -> tuple[np.ndarray, int]:
    """Pixels of as many bits as the syntax holds."""
    most = {JPEG: 8, JPEG_12: 12}.get(syntax, 16)
    if bits <= most:
        return pixels, bits
    return (pixels >> (bits - most)).astype(np.uint8 if most == 8 else np.uint16), most


def drawn(syntax: str) -> list[bytes]:
    """A gray film with lookup tables, windows and padding; two frames of one; colour where the syntax has it."""
    bits = 8 if syntax == JPEG else 12
    item, second = Dataset(), Dataset()
    for one in (item, second):
        one.add_new(0x00283002, "US", [16, 0, 12])
        one.add_new(0x00283006, "US", list(range(0, 4096, 256)))
    pages = [smooth(bits), smooth(bits)[::-1].copy()]
    tags = {
        "VOILUTSequence": Sequence([item, second]),
        "WindowCenter": [100, 200],
        "WindowWidth": [50, 60],
        "RescaleSlope": "2",
        "RescaleIntercept": "-10",
        "PixelSpacing": [0.1, 0.2],
        "ImagerPixelSpacing": [0.1, 0.2],
    }
    films = [make_dicom(pages[0], syntax, bits=bits, **tags), make_dicom(pages, syntax, bits=bits, offsets="basic")]
    if syntax not in (JPEG, JPEG_12, JLS_NEAR, J2K_LOSSY, HTJ2K[2]):
        colour = np.dstack([smooth(8), smooth(8)[::-1], smooth(8)])
        films.append(make_dicom(colour, syntax))
    return films


# -- damage --


def mutate(file: bytes, rng: np.random.Generator) -> bytes:
    """The file damaged in one to three ways; a deflated one sometimes inside."""
    start = inflated_at(file)
    if start is not None and rng.random() < 0.5:
        squeeze = zlib.compressobj(1, zlib.DEFLATED, -15)
        body = damaged(zlib.decompress(file[start:], -15), rng)
        return file[:start] + squeeze.compress(body) + squeeze.flush()
    return damaged(file, rng)


def inflated_at(file: bytes) -> int | None:
    """Where the deflated data set of a file starts, or None."""
    if f"{DEFLATED}\0".encode() not in file[:400]:
        return None
    return 144 + int(struct.unpack("<I", file[140:144])[0])


def damaged(file: bytes, rng: np.random.Generator) -> bytes:
    places = elements_of(file)
    for _ in range(int(rng.choice([1, 1, 1, 2, 3]))):
        way = WAYS[int(rng.integers(len(WAYS)))]
        changed = way(bytearray(file), places, rng)
        file = bytes(changed) or file
    return file


def elements_of(file: bytes) -> list[tuple[int, Element]]:
    """(where its tag starts, element) of the outermost elements, those of the file meta group left out."""
    try:
        found = read(file, 1 << 26)
    except DecodeError:
        return []
    if found.data is not file:
        return []
    return [(one.start - head(one, found.implicit), one) for one in found.elements.values()]


def head(one: Element, implicit: bool) -> int:
    """Bytes of an element before its value."""
    return 12 if not implicit and one.vr in ("OB", "OW", "SQ", "UN", "UT", "OF", "OD", "OL", "OV", "UC", "UR") else 8


Places = list[tuple[int, Element]]
Way = Callable[[bytearray, Places, np.random.Generator], bytearray]


def somewhere(file: bytearray, places: Places, rng: np.random.Generator) -> int:
    """A byte of the file: in the header, at the start of the pixels, or anywhere."""
    pixels = places[-1][0] if places else len(file)
    low, high = [(0, len(file)), (132, pixels), (pixels, pixels + 160), (pixels, len(file))][int(rng.integers(4))]
    high = min(high, len(file))
    return int(rng.integers(min(low, high - 1), high)) if high > 0 else 0


def pick(places: Places, rng: np.random.Generator) -> tuple[int, Element] | None:
    return places[int(rng.integers(len(places)))] if places else None


def flip(file: bytearray, places: Places, rng: np.random.Generator) -> bytearray:
    for _ in range(int(rng.integers(1, 9))):
        file[somewhere(file, places, rng)] ^= 1 << int(rng.integers(8))
    return file


def cut(file: bytearray, places: Places, rng: np.random.Generator) -> bytearray:
    return file[: max(1, somewhere(file, places, rng))]


def insert(file: bytearray, places: Places, rng: np.random.Generator) -> bytearray:
    at = somewhere(file, places, rng)
    file[at:at] = rng.bytes(int(rng.integers(1, 33)))
    return file


def duplicate(file: bytearray, places: Places, rng: np.random.Generator) -> bytearray:
    start, at = somewhere(file, places, rng), somewhere(file, places, rng)
    file[at:at] = file[start : start + int(rng.integers(1, 257))]
    return file


def change_length(file: bytearray, places: Places, rng: np.random.Generator) -> bytearray:
    found = pick(places, rng)
    if found is not None:
        at, one = found
        wide = one.start - at == 12 or not one.vr
        number = [0, 1, 3, 0xFFFE, 0xFFFF, 0x7FFFFFFF, 0xFFFFFFFE, 0xFFFFFFFF, int(rng.integers(1 << 16))]
        value = number[int(rng.integers(len(number)))]
        size = 4 if wide else 2
        file[one.start - size : one.start] = (value & ((1 << 8 * size) - 1)).to_bytes(size, "little")
    return file


def change_value(file: bytearray, places: Places, rng: np.random.Generator) -> bytearray:
    found = pick(places, rng)
    if found is not None and found[1].length == 2:
        edges = [0, 1, 2, 3, 7, 8, 12, 15, 16, 17, 32, 255, 32767, 32768, 65535]
        file[found[1].start : found[1].start + 2] = edges[int(rng.integers(len(edges)))].to_bytes(2, "little")
    return file


def swap_tags(file: bytearray, places: Places, rng: np.random.Generator) -> bytearray:
    one, other = pick(places, rng), pick(places, rng)
    if one is not None and other is not None and max(one[0], other[0]) + 4 <= len(file):
        a, b = one[0], other[0]
        file[a : a + 4], file[b : b + 4] = file[b : b + 4], file[a : a + 4]
    return file


def change_vr(file: bytearray, places: Places, rng: np.random.Generator) -> bytearray:
    found = pick(places, rng)
    if found is not None:
        kinds = [b"US", b"SS", b"UL", b"DS", b"IS", b"OB", b"OW", b"SQ", b"UN", b"UT", b"\0\0", b"ZZ"]
        file[found[0] + 4 : found[0] + 6] = kinds[int(rng.integers(len(kinds)))]
    return file


def drop(file: bytearray, places: Places, rng: np.random.Generator) -> bytearray:
    found = pick(places, rng)
    if found is not None and found[1].length < len(file):
        del file[found[0] : found[1].start + found[1].length]
    return file


def change_marker(file: bytearray, places: Places, rng: np.random.Generator) -> bytearray:
    """A byte or a number behind a marker of the compressed stream: sizes, depths, tables, tiles."""
    start = places[-1][0] if places else 0
    marks = [at for at in range(start, min(len(file) - 2, start + 600)) if file[at] == 0xFF and file[at + 1] >= 0x4F]
    if marks:
        at = marks[int(rng.integers(len(marks)))] + 2 + int(rng.integers(40))
        edges = [b"\0", b"\x01", b"\x7f", b"\xff", b"\0\0", b"\xff\xff", b"\0\0\0\x01", b"\0\0\xff\xff", rng.bytes(1)]
        new = edges[int(rng.integers(len(edges)))]
        file[at : at + len(new)] = new
    return file


def change_syntax(file: bytearray, places: Places, rng: np.random.Generator) -> bytearray:
    """Another transfer syntax of the same length: the pixels are no longer what it says."""
    uids = [uid.ljust(len(uid) + len(uid) % 2, "\0").encode() for uid in SYNTAXES.values()]
    for old in sorted(uids, key=len, reverse=True):
        at = bytes(file[:400]).find(old)
        if at >= 0:
            same = [uid for uid in uids if len(uid) == len(old) and uid != old]
            if same:
                file[at : at + len(old)] = same[int(rng.integers(len(same)))]
            break
    return file


WAYS: list[Way] = [
    flip,
    flip,
    cut,
    insert,
    duplicate,
    change_length,
    change_value,
    swap_tags,
    change_vr,
    drop,
    change_marker,
    change_marker,
    change_marker,
    change_value,
    change_syntax,
]


# -- judgement --


def outcome(file: bytes) -> str:
    """What decoding answers, after the header was read: `pixels`, or the class of the refusal."""
    found = refusal(file)
    return "pixels" if found is None else type(found).__name__


def refusal(file: bytes) -> DecodeError | None:
    """Why it is not decoded, after its header was read; None when there are pixels.

    Raises AssertionError for codes beyond their bits, and lets whatever is no DecodeError through.
    """
    with contextlib.suppress(DecodeError):
        read_header(file)
    try:
        film = decode(file)
    except DecodeError as exc:
        return exc
    assert int(film.pixels.max()) < 1 << film.bits, "codes beyond their bits"
    return None
