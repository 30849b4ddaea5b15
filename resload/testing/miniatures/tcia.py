"""CBIS-DDSM in miniature: the four tables as they are spelled, films of 40 x 24 with their masks and crops."""

import zlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import imagecodecs
import numpy as np
from numpy.typing import NDArray

from resload.testing.miniatures.images import SECONDARY_CAPTURE, write_dicom

MASS_HEADER = (
    "patient_id,breast_density,left or right breast,image view,abnormality id,abnormality type,mass shape,mass margins,"
    "assessment,pathology,subtlety,image file path,cropped image file path,ROI mask file path"
)
CALC_HEADER = (
    "patient_id,breast density,left or right breast,image view,abnormality id,abnormality type,calc type,"
    "calc distribution,assessment,pathology,subtlety,image file path,cropped image file path,ROI mask file path"
)
FILM = (40, 24)
CROP = (9, 8)


class Abnormality(NamedTuple):
    """One row of a table."""

    table: str
    split: str
    patient: str
    density: int
    side: str
    view: str
    number: int
    first: str
    second: str
    assessment: int
    pathology: str
    subtlety: int
    mask: tuple[int, int] | None = FILM
    """(height, width) of the mask; None for none."""
    crop: tuple[int, int] | None = CROP
    one_series: bool = True
    """Whether mask and crop are two files of one series, as for masses, or a series each."""
    mask_first: bool = False

    @property
    def film(self) -> str:
        """The name of the film's folder."""
        kind = {"mass": "Mass", "calc": "Calc"}[self.table]
        part = {"train": "Training", "test": "Test"}[self.split]
        return f"{kind}-{part}_{self.patient}_{self.side}_{self.view}"

    @property
    def roi(self) -> str:
        """That of its mask and crop."""
        return f"{self.film}_{self.number}"


ROWS = (
    Abnormality("mass", "train", "P_00001", 3, "LEFT", "CC", 1, "IRREGULAR", "SPICULATED", 4, "MALIGNANT", 4),
    Abnormality("mass", "train", "P_00001", 3, "LEFT", "CC", 2, "OVAL", "", 2, "BENIGN", 2, mask_first=True),
    Abnormality("mass", "train", "P_00001", 3, "LEFT", "MLO", 1, "OVAL", "SPICULATED", 4, "MALIGNANT", 4, (20, 12)),
    Abnormality("mass", "train", "P_00016", 0, "RIGHT", "CC", 1, "ROUND", "CIRCUMSCRIBED", 3, "BENIGN", 5),
    Abnormality("mass", "test", "P_01009", 2, "RIGHT", "CC", 1, "OVAL", "OBSCURED", 0, "BENIGN_WITHOUT_CALLBACK", 0),
    Abnormality("calc", "train", "P_00005", 3, "RIGHT", "CC", 1, "AMORPHOUS", "CLUSTERED", 3, "MALIGNANT", 3, (35, 30)),
    Abnormality("calc", "train", "P_00005", 3, "RIGHT", "CC", 2, "PUNCTATE", "LINEAR", 3, "MALIGNANT", 3),
    Abnormality("calc", "train", "P_00005", 3, "RIGHT", "MLO", 1, "PUNCTATE", "", 3, "BENIGN", 3, CROP, None),
    Abnormality("calc", "train", "P_00005", 3, "LEFT", "MLO", 1, "PUNCTATE", "", 2, "BENIGN", 3, None, None),
    Abnormality("calc", "test", "P_00016", 4, "RIGHT", "CC", 1, "", "", 2, "BENIGN", 5, FILM, CROP, False, True),
)


def uid(*words: str) -> str:
    """A series' identifier under the release's root; the same words give the same one."""
    return f"1.3.6.1.4.1.9590.100.1.2.{zlib.crc32(' '.join(words).encode())}"


def write(
    root: Path,
    *,
    layout: str = "series",
    rows: Sequence[Abnormality] = ROWS,
    absent: Sequence[str] = (),
    tables: Sequence[tuple[str, str]] = (("mass", "train"), ("mass", "test"), ("calc", "train"), ("calc", "test")),
) -> Path:
    """Write CBIS-DDSM.

    layout: "series" and "described" (the two that the archive's program writes), "paths" (those of the tables), or
    "jpeg" (Kaggle's). absent: names of films that are not there. tables: which of the four are.
    """
    home = root / "csv" if layout == "jpeg" else root
    home.mkdir(parents=True, exist_ok=True)
    for kind, split in tables:
        mine = [row for row in rows if (row.table, row.split) == (kind, split)]
        header = MASS_HEADER if kind == "mass" else CALC_HEADER
        lines = "".join(f"{line}\n" for line in (header, *map(_line, mine)))
        (home / f"{kind}_case_description_{split}_set.csv").write_text(lines)
    for film in dict.fromkeys(row.film for row in rows):
        if film not in absent:
            _write(_place(root, layout, film, uid(film, "film"), "full mammogram images", 1), film, _ramp())
    for row in rows:
        _write_roi(root, layout, row)
    return root


def _line(row: Abnormality) -> str:
    mask, crop = _series(row)
    numbers = (0, 1) if row.mask_first else (1, 0)
    paths = (
        f"{row.film}/{uid(row.film, 'study')}/{uid(row.film, 'film')}/000000.dcm",
        f"{row.roi}/{uid(row.roi, 'study')}/{crop}/{numbers[1] * row.one_series:06d}.dcm",
        f"{row.roi}/{uid(row.roi, 'study')}/{mask}/{numbers[0] * row.one_series:06d}.dcm",
    )
    kind = {"mass": "mass", "calc": "calcification"}[row.table]
    words = (row.patient, row.density, row.side, row.view, row.number, kind, row.first, row.second)
    grades = (row.assessment, row.pathology, row.subtlety)
    # Some paths of the release are quoted and end in a line feed.
    return ",".join(map(str, (*words, *grades, paths[0], f'"{paths[1]}\n"', f'"{paths[2]}\n"')))


def _series(row: Abnormality) -> tuple[str, str]:
    """Of the mask and of the crop."""
    return uid(row.roi, "roi"), uid(row.roi, "roi" if row.one_series else "crop")


def _write_roi(root: Path, layout: str, row: Abnormality) -> None:
    """Mask and crop, in the order that the row says."""
    both = [("mask", row.mask, _series(row)[0]), ("crop", row.crop, _series(row)[1])]
    for number, (what, size, series) in enumerate(both if row.mask_first else both[::-1], start=1):
        described = "ROI mask images" if what == "mask" or row.one_series else "cropped images"
        if size is not None:
            pixels = _block(size, row.number) if what == "mask" else _ramp(size)
            file = _place(root, layout, row.roi, series, described, number if row.one_series else 1)
            _write(file, row.roi, pixels)


def _place(root: Path, layout: str, name: str, series: str, described: str, number: int) -> Path:
    """Where a file lies."""
    if layout == "jpeg":
        return root / "jpeg" / series / f"{number}-{zlib.crc32(series.encode()) % 300:03d}.jpg"
    if layout == "paths":
        return root / name / uid(name, "study") / series / f"{number - 1:06d}.dcm"
    if layout == "described":
        folder = f"1.000000-{described}-{series[-5:]}"
        return root / "CBIS-DDSM" / name / f"07-20-2016-DDSM-{series[-6:-1]}" / folder / f"1-{number}.dcm"
    return root / "CBIS-DDSM" / name / uid(name, "study") / series / f"1-{number}.dcm"


def _write(path: Path, patient: str, pixels: NDArray[Any]) -> None:
    """A secondary capture whose PatientID is the name of its series, or a JPEG of 8 bits."""
    if path.suffix == ".jpg":
        path.parent.mkdir(parents=True, exist_ok=True)
        gray = pixels if pixels.dtype == np.uint8 else (pixels >> 8).astype(np.uint8)
        path.write_bytes(imagecodecs.jpeg_encode(gray, level=95))
    else:
        bits, sop_class = 8 * pixels.dtype.itemsize, SECONDARY_CAPTURE
        write_dicom(path, pixels=pixels, bits=bits, sop_class=sop_class, PatientID=patient, Modality="MG")


def _ramp(size: tuple[int, int] = FILM) -> NDArray[np.uint16]:
    return np.linspace(0, 65535, size[0] * size[1]).reshape(size).astype(np.uint16)


def _block(size: tuple[int, int], number: int) -> NDArray[np.uint8]:
    """A mask whose quarter is inside: the upper one for the first abnormality, the lower for the second."""
    pixels = np.zeros(size, np.uint8)
    half = size[0] // 2
    pixels[(number - 1) * half : number * half, : size[1] // 2] = 255
    return pixels
