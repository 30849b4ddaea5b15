"""How large a pixel is, by the order of trust, and when the header is not to be believed.

    Pixel Spacing                  in the patient, where it was calibrated or corrected (PS3.3 10.7.1)
    Imager Pixel Spacing           at the detector (C.8.11.4); divided by Estimated Radiographic Magnification Factor
                                   (C.8.7.5), where there is one, it is that of the patient
    Nominal Scanned Pixel Spacing  of a digitized film (C.8.6.3)

Each is the first of them that is there.
"""

from resload.decode import dictionary
from resload.decode.elements import DataSet
from resload.decode.radiograph import Spacing

SECONDARY_CAPTURE = "1.2.840.10008.5.1.4.1.1.7"
"""Secondary Capture Image Storage; the multi-frame ones are `.1` to `.4` of it (PS3.4 B.5)."""


def spacing_of(dataset: DataSet) -> Spacing | None:
    """(y, x) millimetres per pixel, or None.

    Pixel Spacing that equals Imager Pixel Spacing and tells no calibration is the detector's (PS3.3 10.7.1.1: an image
    that was not corrected has the same value in both), so the magnification is still to be undone. Values that are no
    positive number count as absent.

    None too for secondary captures of a workstation (Conversion Type WSD) without Pixel Spacing Calibration Type. Such
    files (PS3.3 C.8.6.1) are made by software of other images, often resized, with their headers: those of SIIM-ACR
    and of the RSNA Pneumonia Challenge are 1024 x 1024 with the spacing of the ChestX-ray14 originals (0.168 mm of
    2500 x 2048, so that a chest would be 172 mm wide). PS3.3 10.7.1.1 says of them that it cannot be determined
    whether the value was calibrated. Captures of digitized films (DF), of video or of a digital interface keep theirs.
    """
    if _copied(dataset):
        return None
    at_detector = _pair(dataset, dictionary.IMAGER_SPACING)
    in_patient = _pair(dataset, dictionary.PIXEL_SPACING)
    if in_patient is not None and (in_patient != at_detector or dataset.text(dictionary.CALIBRATION)):
        return in_patient
    if at_detector is not None:
        factor = _magnification(dataset)
        return at_detector[0] / factor, at_detector[1] / factor
    return _pair(dataset, dictionary.SCANNED_SPACING)


def aspect_of(dataset: DataSet, spacing: Spacing | None) -> float | None:
    """Height over width of a pixel by Pixel Aspect Ratio (PS3.3 C.7.6.3.1.7), where there is no spacing that tells it.

    None when it is absent, no two positive numbers, or 1.
    """
    found = _pair(dataset, dictionary.ASPECT)
    if spacing is not None or found is None or found[0] == found[1]:
        return None
    return found[0] / found[1]


def _copied(dataset: DataSet) -> bool:
    kind = dataset.text(dictionary.SOP_CLASS)
    captured = kind == SECONDARY_CAPTURE or kind.startswith(f"{SECONDARY_CAPTURE}.")
    return (
        captured and dataset.text(dictionary.CONVERSION).upper() == "WSD" and not dataset.text(dictionary.CALIBRATION)
    )


def _pair(dataset: DataSet, tag: int) -> tuple[float, float] | None:
    """Two positive numbers, or None."""
    found = dataset.numbers(tag)
    return (found[0], found[1]) if len(found) == 2 and min(found) > 0 else None


def _magnification(dataset: DataSet) -> float:
    factor = next(iter(dataset.numbers(dictionary.MAGNIFICATION)), 1.0)
    return factor if factor > 0 else 1.0
