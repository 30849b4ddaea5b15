"""Tiny images of the kinds that data sets are made of: gray ramps as PNG, JPEG and DICOM."""

from pathlib import Path
from typing import Any

import imagecodecs
import numpy as np
from numpy.typing import NDArray

SECONDARY_CAPTURE = "1.2.840.10008.5.1.4.1.1.7"
DIGITAL_X_RAY = "1.2.840.10008.5.1.4.1.1.1.1"
MAMMOGRAM = "1.2.840.10008.5.1.4.1.1.1.2"
"""SOP classes (DICOM PS3.4 B.5): Secondary Capture, and Digital X-Ray and Mammography, both for presentation."""

EXPLICIT, JPEG_BASELINE = "1.2.840.10008.1.2.1", "1.2.840.10008.1.2.4.50"
"""Transfer syntaxes (DICOM PS3.5 A.4)."""


def ramp(height: int, width: int, bits: int) -> NDArray[Any]:
    """(height, width) uint8, or uint16 above 8 bits: from 0 in the first pixel to full scale in the last."""
    values = np.linspace(0, 2**bits - 1, height * width).reshape(height, width)
    found: NDArray[Any] = values.astype(np.uint16 if bits > 8 else np.uint8)
    return found


def write_png(path: Path, height: int = 8, width: int = 8, bits: int = 8) -> Path:
    """A gray PNG with a ramp; more than 8 bits are stored in 16, and use no more than they are."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(imagecodecs.png_encode(ramp(height, width, bits)))
    return path


def write_jpeg(path: Path, height: int = 8, width: int = 8) -> Path:
    """A gray JPEG with a ramp."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(imagecodecs.jpeg_encode(ramp(height, width, 8), level=90))
    return path


def write_dicom(
    path: Path,
    height: int = 8,
    width: int = 8,
    *,
    bits: int = 12,
    photometric: str = "MONOCHROME2",
    sop_class: str = DIGITAL_X_RAY,
    uid: str | None = None,
    jpeg: bool = False,
    pixels: NDArray[Any] | None = None,
    **elements: Any,
) -> Path:
    """A DICOM file with a ramp, uncompressed or (`jpeg`, 8 bits) JPEG baseline.

    uid: the SOP Instance UID; by default one made of the file's name. pixels: stored values to write instead of the
    ramp; they say height and width. elements: others, by pydicom's keywords, such as `PatientID="P1"`; values that the
    standard forbids are written as they are.
    """
    from pydicom.config import disable_value_validation
    from pydicom.dataset import FileDataset, FileMetaDataset  # slow to import, and needed here only
    from pydicom.encaps import encapsulate
    from pydicom.uid import UID, generate_uid

    path.parent.mkdir(parents=True, exist_ok=True)
    pixels = ramp(height, width, bits) if pixels is None else pixels
    meta = FileMetaDataset()
    meta.MediaStorageSOPClassUID = UID(sop_class)
    meta.MediaStorageSOPInstanceUID = UID(uid or generate_uid(entropy_srcs=[path.name]))
    meta.TransferSyntaxUID = UID(JPEG_BASELINE if jpeg else EXPLICIT)
    dataset = FileDataset(str(path), {}, file_meta=meta, preamble=b"\0" * 128)
    dataset.SOPClassUID, dataset.SOPInstanceUID = meta.MediaStorageSOPClassUID, meta.MediaStorageSOPInstanceUID
    dataset.StudyInstanceUID, dataset.SeriesInstanceUID = (
        generate_uid(entropy_srcs=[path.name, part]) for part in ("study", "series")
    )
    dataset.Modality = {SECONDARY_CAPTURE: "CR", MAMMOGRAM: "MG"}.get(sop_class, "DX")
    (dataset.Rows, dataset.Columns), dataset.SamplesPerPixel = pixels.shape, 1
    dataset.PhotometricInterpretation = photometric
    dataset.BitsAllocated, dataset.BitsStored, dataset.HighBit = (8 if bits <= 8 else 16), bits, bits - 1
    dataset.PixelRepresentation = 0
    with disable_value_validation():  # real files have ages such as 51, where the standard wants 051Y
        for keyword, value in elements.items():
            setattr(dataset, keyword, value)
    coded = encapsulate([bytes(imagecodecs.jpeg_encode(pixels, level=90))]) if jpeg else pixels.tobytes()
    dataset.add_new("PixelData", "OB" if jpeg or bits <= 8 else "OW", coded)
    with disable_value_validation():
        dataset.save_as(path, enforce_file_format=True)
    return path
