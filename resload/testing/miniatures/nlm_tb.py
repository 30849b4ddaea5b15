"""Shenzhen and Montgomery in miniature: films, readings in the spellings that occur, masks of lungs."""

from pathlib import Path

import imagecodecs
import numpy as np

from resload.testing.miniatures.images import write_png

SHENZHEN = {
    "CHNCXR_0001_0": "Male, 45yrs\nnormal",
    "CHNCXR_0002_0": "female 9 months \nnormal\n",
    "CHNCXR_0327_1": "Femal 28yrs\nright PTB with\npleural effusion",
    "CHNCXR_0328_1": "male60yr\n1. bilateral PTB\n2. 3y old lesion",
    "CHNCXR_0329_1": "\ufeffFemale,  30\r\nSTB\r\n",
}
MONTGOMERY = {
    "MCUCXR_0001_0": "Patient's Sex: F\nPatient's Age: 027Y\nnormal\n\n",
    "MCUCXR_0002_0": "Patient's Sex: M\nPatient's Age: 003M\nnormal\n",
    "MCUCXR_0108_1": "Patient's Sex: M\nPatient's Age: 035Y\ncavitary infiltrate left upper lobe,\nno effusion\n",
    "MCUCXR_0113_1": "Patient's Sex: O\nPatient's Age: 411Y\nabnormal: infiltrates\n",
}


def write_shenzhen(root: Path, *, home: str = "ChinaSet_AllFiles", masks: bool = True, side: int = 12) -> Path:
    """Write the Shenzhen set, in the folder `home` below `root`; the lung masks of others have no film in two cases."""
    _write(root / home, SHENZHEN, side)
    (root / home / "CXR_png" / "Thumbs.db").write_bytes(b"not a picture")
    for name in ("CHNCXR_0001_0", "CHNCXR_0327_1", "CHNCXR_0999_1") * masks:
        _write_mask(root / home / "mask" / f"{name}_mask.png", side, 2, 10)
    return root


def write_montgomery(
    root: Path, *, home: str = "MontgomerySet", left: tuple[str, ...] = tuple(MONTGOMERY), side: int = 12
) -> Path:
    """Write the Montgomery set, in the folder `home` below `root`; `left`: films with a mask of the left lung."""
    _write(root / home, MONTGOMERY, side)
    for name in MONTGOMERY:
        _write_mask(root / home / "ManualMask" / "rightMask" / f"{name}.png", side, 1, 5)
    for name in left:
        _write_mask(root / home / "ManualMask" / "leftMask" / f"{name}.png", side, 7, 11)
    return root


def _write(home: Path, readings: dict[str, str], side: int) -> None:
    (home / "ClinicalReadings").mkdir(parents=True, exist_ok=True)
    for name, text in readings.items():
        write_png(home / "CXR_png" / f"{name}.png", side, side + 2)
        (home / "ClinicalReadings" / f"{name}.txt").write_bytes(text.encode())


def _write_mask(path: Path, side: int, first: int, last: int) -> None:
    """A block of columns, stored as 255."""
    path.parent.mkdir(parents=True, exist_ok=True)
    pixels = np.zeros((side, side + 2), np.uint8)
    pixels[2:-2, first:last] = 255
    path.write_bytes(imagecodecs.png_encode(pixels))
