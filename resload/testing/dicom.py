"""What all made-up DICOM files share: identifiers, pixels in a transfer syntax, and the file around them."""

import io
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import imagecodecs
import numpy as np
import numpy.typing as npt

if TYPE_CHECKING:
    from pydicom.dataset import Dataset

UID_ROOT = "1.2.826.0.1.3680043.8.498."
"""pydicom's root for made-up identifiers; what follows is a hash, so that files are repeatable."""
_PREFIX = "1.2.840.10008.1.2"
EXPLICIT, DEFLATED, RLE = f"{_PREFIX}.1", f"{_PREFIX}.1.99", f"{_PREFIX}.5"
JPEG, JPEG_LOSSLESS, JPEG_LS, JPEG_2000 = (f"{_PREFIX}.4.{number}" for number in (50, 70, 80, 90))
"""Transfer syntaxes (PS3.5 A.4): explicit VR little endian, the same deflated, RLE; JPEG baseline, JPEG lossless
(process 14, first-order), JPEG-LS and JPEG 2000 without loss."""


def uid(*entropy: str) -> str:
    """A UID that is a hash of texts."""
    from pydicom.uid import generate_uid

    return str(generate_uid(UID_ROOT, list(entropy)))


def put_pixels(dataset: "Dataset", frames: npt.NDArray[Any], bits: int, syntax: str) -> None:
    """The Image Pixel module of one picture (height, width), of frames (n, height, width), or of frames in colour.

    MONOCHROME2, unless the data set says something else already.
    """
    from pydicom.encaps import encapsulate

    frames = frames if frames.ndim > 2 else frames[None]
    dataset.Rows, dataset.Columns = frames.shape[1:3]
    dataset.SamplesPerPixel = 1 if frames.ndim == 3 else 3
    if "PhotometricInterpretation" not in dataset:
        dataset.PhotometricInterpretation = "MONOCHROME2"
    if len(frames) > 1:
        dataset.NumberOfFrames = len(frames)
    dataset.BitsAllocated, dataset.BitsStored, dataset.HighBit = 8 * frames.dtype.itemsize, bits, bits - 1
    dataset.PixelRepresentation = 0
    encode = ENCODERS.get(syntax)
    if encode is None:
        coded = frames.astype(frames.dtype.newbyteorder("<")).tobytes()
    else:
        coded = encapsulate([bytes(encode(frame, bits)) for frame in frames])
    dataset.add_new("PixelData", "OB" if encode is not None or frames.itemsize == 1 else "OW", coded)


def saved(dataset: "Dataset", syntax: str, *, sop_class: str = "") -> bytes:
    """The data set as a file."""
    from pydicom.dataset import FileMetaDataset
    from pydicom.uid import UID

    dataset.file_meta = FileMetaDataset()
    dataset.file_meta.TransferSyntaxUID = UID(syntax)
    dataset.file_meta.MediaStorageSOPClassUID = UID(sop_class or dataset.SOPClassUID)
    dataset.file_meta.MediaStorageSOPInstanceUID = UID(dataset.get("SOPInstanceUID", UID_ROOT + "1"))
    file = io.BytesIO()
    dataset.save_as(file, enforce_file_format=True)
    return file.getvalue()


def _rle(frame: npt.NDArray[np.uint16], bits: int) -> bytes:
    """RLE Lossless (PS3.5 annex G): the upper bytes, then the lower ones, packed row by row."""
    planes = [np.ascontiguousarray(plane) for plane in (frame >> 8, frame & 255)]
    packed = [b"".join(imagecodecs.packbits_encode(row.tobytes()) for row in p.astype(np.uint8)) for p in planes]
    packed = [part + b"\0" * (len(part) % 2) for part in packed]
    starts = [2, 64, 64 + len(packed[0]), *[0] * 13]
    return np.array(starts, "<u4").tobytes() + b"".join(packed)


ENCODERS: dict[str, Callable[[npt.NDArray[Any], int], bytes | bytearray]] = {
    JPEG: lambda frame, bits: imagecodecs.jpeg_encode(frame, level=90),
    # jpeg_encode predicts by selection value 1, as this syntax demands; ljpeg_encode uses 6.
    JPEG_LOSSLESS: lambda frame, bits: imagecodecs.jpeg_encode(frame, lossless=True, bitspersample=bits),
    JPEG_LS: lambda frame, bits: imagecodecs.jpegls_encode(frame),
    JPEG_2000: lambda frame, bits: imagecodecs.jpeg2k_encode(
        frame, codecformat="j2k", reversible=True, bitspersample=bits
    ),
    RLE: _rle,
}
"""Transfer syntax -> what compresses a frame; the others are native."""
