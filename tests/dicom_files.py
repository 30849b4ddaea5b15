"""DICOM files made for tests: pydicom writes the data set, imagecodecs the compressed frames."""

import io
import struct

import imagecodecs
import numpy as np
from pydicom.data import get_testdata_file
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.encaps import encapsulate, encapsulate_extended
from pydicom.uid import UID

from resload.decode import Radiograph

PREFIX = "1.2.840.10008.1.2"
IMPLICIT, EXPLICIT, DEFLATED, BIG = PREFIX, f"{PREFIX}.1", f"{PREFIX}.1.99", f"{PREFIX}.2"
RLE = f"{PREFIX}.5"
JPEG, JPEG_12, JPEG_57, JPEG_70 = (f"{PREFIX}.4.{n}" for n in (50, 51, 57, 70))
JLS, JLS_NEAR, J2K, J2K_LOSSY = (f"{PREFIX}.4.{n}" for n in (80, 81, 90, 91))
HTJ2K = tuple(f"{PREFIX}.4.{n}" for n in (201, 202, 203))
NATIVE = (IMPLICIT, EXPLICIT, DEFLATED, BIG)
CR = "1.2.840.10008.5.1.4.1.1.1"


def known(name: str) -> str:
    """A file that ships with pydicom or pydicom-data; never the network."""
    path = get_testdata_file(name, download=False)
    assert path is not None, f"{name} is missing: install pydicom-data"
    return str(path)


def stored(film: Radiograph) -> np.ndarray:
    """The stored values a film was decoded from."""
    assert film.values is not None
    return film.pixels.astype(np.int64) - film.values.offset


def noise(shape: tuple[int, ...], bits: int, signed: bool = False, seed: int = 0) -> np.ndarray:
    low, high = (-(1 << (bits - 1)), 1 << (bits - 1)) if signed else (0, 1 << bits)
    dtype = np.dtype(f"{'i' if signed else 'u'}{1 if bits <= 8 else 2}")
    return np.random.default_rng(seed).integers(low, high, shape).astype(dtype)


def smooth(bits: int = 12, shape: tuple[int, int] = (61, 47)) -> np.ndarray:
    y, x = np.mgrid[: shape[0], : shape[1]]
    top = (1 << bits) - 1
    return ((0.5 + 0.25 * np.sin(x / 7) + 0.24 * np.cos(y / 11)) * top).astype(np.uint8 if bits <= 8 else np.uint16)


def frame_bytes(pixels: np.ndarray, syntax: str, bits: int) -> bytes:
    """One frame compressed as its transfer syntax says."""
    if syntax == RLE:
        return rle(pixels)
    if syntax in (JPEG, JPEG_12):
        return imagecodecs.jpeg8_encode(pixels, level=100, bitspersample=8 if syntax == JPEG else 12)
    if syntax in (JPEG_57, JPEG_70):
        predictor = 1 if syntax == JPEG_70 else 4
        return imagecodecs.jpeg8_encode(pixels, lossless=True, predictor=predictor, bitspersample=bits)
    if syntax in (JLS, JLS_NEAR):
        return imagecodecs.jpegls_encode(pixels, level=2 if syntax == JLS_NEAR else 0)
    if syntax in (J2K, J2K_LOSSY):
        return imagecodecs.jpeg2k_encode(
            pixels, level=0 if syntax == J2K else 60, reversible=syntax == J2K, bitspersample=bits, codecformat="j2k"
        )
    return imagecodecs.htj2k_encode(pixels)


def rle(pixels: np.ndarray) -> bytes:
    """RLE Lossless: byte planes, most significant first, each packed by itself."""
    planes = pixels.reshape(*pixels.shape[:2], -1)
    packed = []
    for channel in range(planes.shape[2]):
        raw = np.ascontiguousarray(planes[..., channel])
        words = raw.astype(raw.dtype.newbyteorder(">")).view(np.uint8).reshape(raw.size, -1)
        for byte in range(words.shape[1]):
            segment = imagecodecs.packbits_encode(words[:, byte].tobytes())
            packed.append(segment + b"\0" * (len(segment) % 2))
    starts = np.cumsum([64] + [len(part) for part in packed[:-1]])
    head = struct.pack("<16I", len(packed), *starts, *[0] * (15 - len(packed)))
    return head + b"".join(packed)


def make_dicom(
    frames: np.ndarray | list[np.ndarray],
    syntax: str = EXPLICIT,
    *,
    bits: int | None = None,
    high_bit: int | None = None,
    fragments: int = 1,
    offsets: str = "none",
    **tags: object,
) -> bytes:
    """A data set around stored samples; `tags` are pydicom keywords, None removes one.

    `offsets`: "none", "basic" or "extended" offset table.
    """
    frames = frames if isinstance(frames, list) else [frames]
    first = frames[0]
    signed = first.dtype.kind == "i"
    bits = bits or first.dtype.itemsize * 8
    dataset = Dataset()
    dataset.SOPClassUID, dataset.SOPInstanceUID, dataset.Modality = CR, "1.2.3", "CR"
    dataset.Rows, dataset.Columns = first.shape[:2]
    dataset.SamplesPerPixel = 1 if first.ndim == 2 else first.shape[2]
    dataset.PhotometricInterpretation = "MONOCHROME2" if first.ndim == 2 else "RGB"
    if first.ndim == 3:
        dataset.PlanarConfiguration = 0
    dataset.BitsAllocated, dataset.BitsStored = first.dtype.itemsize * 8, bits
    dataset.HighBit = bits - 1 if high_bit is None else high_bit
    dataset.PixelRepresentation = int(signed)
    if len(frames) > 1:
        dataset.NumberOfFrames = len(frames)
    put_pixels(dataset, frames, syntax, bits, fragments, offsets)
    for name, value in tags.items():
        if value is None:
            delattr(dataset, name)
        else:
            setattr(dataset, name, value)
    return saved(dataset, syntax)


def put_pixels(
    dataset: Dataset, frames: list[np.ndarray], syntax: str, bits: int, fragments: int, offsets: str
) -> None:
    if syntax in NATIVE:
        order = ">" if syntax == BIG else "<"
        raw = b"".join(part.astype(part.dtype.newbyteorder(order)).tobytes() for part in frames)
        dataset.PixelData = raw + b"\0" * (len(raw) % 2)
        dataset["PixelData"].VR = "OB" if frames[0].dtype.itemsize == 1 else "OW"
        return
    coded = [frame_bytes(part, syntax, bits) for part in frames]
    if offsets == "extended":
        dataset.PixelData, dataset.ExtendedOffsetTable, dataset.ExtendedOffsetTableLengths = encapsulate_extended(coded)
    else:
        dataset.PixelData = encapsulate(coded, fragments_per_frame=fragments, has_bot=offsets == "basic")
    dataset["PixelData"].VR = "OB"
    dataset["PixelData"].is_undefined_length = True


def saved(dataset: Dataset, syntax: str) -> bytes:
    """The data set as a DICOM file."""
    dataset.file_meta = FileMetaDataset()
    dataset.file_meta.TransferSyntaxUID = UID(syntax)
    dataset.file_meta.MediaStorageSOPClassUID = CR
    dataset.file_meta.MediaStorageSOPInstanceUID = "1.2.3"
    file = io.BytesIO()
    dataset.save_as(file, enforce_file_format=True)
    return file.getvalue()


def with_raw(file: bytes, *elements: tuple[int, str, bytes]) -> bytes:
    """An explicit little-endian file with elements of any VR and bytes, put first in the data set."""
    start = 144 + struct.unpack("<I", file[140:144])[0]
    parts = [file[:start]]
    for tag, vr, value in elements:
        parts.append(struct.pack("<HH2s", tag >> 16, tag & 0xFFFF, vr.encode()))
        long = vr in ("OB", "OW", "UN", "SQ", "UT")
        parts.append(struct.pack("<HI", 0, len(value)) if long else struct.pack("<H", len(value)))
        parts.append(value)
    return b"".join([*parts, file[start:]])
