"""Tiny images of the kinds that data sets are made of: gray ramps as PNG, JPEG and DICOM."""

from pathlib import Path
from typing import Any

import imagecodecs
import numpy as np
from numpy.typing import NDArray

from resload.testing.dicom import EXPLICIT, JPEG, put_pixels, saved

SECONDARY_CAPTURE = "1.2.840.10008.5.1.4.1.1.7"
DIGITAL_X_RAY = "1.2.840.10008.5.1.4.1.1.1.1"
MAMMOGRAM = "1.2.840.10008.5.1.4.1.1.1.2"
"""SOP classes (DICOM PS3.4 B.5): Secondary Capture, and Digital X-Ray and Mammography, both for presentation."""


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
    from pydicom.dataset import Dataset  # slow to import, and needed here only
    from pydicom.uid import generate_uid

    path.parent.mkdir(parents=True, exist_ok=True)
    dataset = Dataset()
    dataset.SOPClassUID, dataset.SOPInstanceUID = sop_class, uid or generate_uid(entropy_srcs=[path.name])
    dataset.StudyInstanceUID, dataset.SeriesInstanceUID = (
        generate_uid(entropy_srcs=[path.name, part]) for part in ("study", "series")
    )
    dataset.Modality = {SECONDARY_CAPTURE: "CR", MAMMOGRAM: "MG"}.get(sop_class, "DX")
    dataset.PhotometricInterpretation = photometric
    syntax = JPEG if jpeg else EXPLICIT
    put_pixels(dataset, ramp(height, width, bits) if pixels is None else pixels, bits, syntax)
    with disable_value_validation():  # real files have ages such as 51, where the standard wants 051Y
        for keyword, value in elements.items():
            setattr(dataset, keyword, value)
        path.write_bytes(saved(dataset, syntax))
    return path
