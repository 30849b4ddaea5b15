"""Synthetic films as files, in the mixture that archives have, and the catalog of them.

    film    kind                                    how it is chosen
    PNG     8 bits; every fourth 16 bits            all that is not DICOM
    DICOM   CR, 12 bits stored in 16, a window;     every 1 / dicom_share-th
            uncompressed, JPEG lossless, JPEG 2000  in turn
            MONOCHROME2, MONOCHROME1                in turn
    broken  an 8-bit PNG that ends too early        the last ones

What film i looks like and how it is stored depends on (seed, i) and the arguments, not on n: a larger
collection begins with the same files.
"""

import importlib
import os
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import imagecodecs
import pandas as pd

from resload.catalog import Catalog
from resload.errors import ArgumentError
from resload.size import SizeLike
from resload.testing import dicom
from resload.testing.film import TARGETS, SyntheticFilm, synthetic_film

SYNTAXES = (dicom.EXPLICIT, dicom.JPEG_LOSSLESS, dicom.JPEG_2000)
"""Of the DICOM films, in turn."""

FILMS_OF_PATIENT = (1, 2, 1, 3)
"""How many films the patients have, in turn: splits that forget the patient are then caught."""

WINDOW = (1850, 3300)
"""Centre and width of the DICOM films' window, in stored values of the 12-bit range: a little clipped."""


@dataclass(frozen=True, slots=True)
class _Kind:
    name: str
    bits: int
    syntax: str = ""
    photometric: str = "MONOCHROME2"
    broken: bool = False

    @property
    def suffix(self) -> str:
        return ".dcm" if self.syntax else ".png"


def write_synthetic(
    folder: str | os.PathLike[str],
    n: int,
    *,
    seed: int = 0,
    size: SizeLike = 1024,
    broken: int = 1,
    dicom_share: float = 0.3,
) -> Catalog:
    """Write `n` films to `folder` (made if it is not there) and return the catalog of them.

    Of the `n`, the last `broken` are PNG files that end too early; the catalog lists them like the others,
    as a real one would. Its table has id, path (relative to `folder`), patient, view, spacing_y and spacing_x
    (mm per pixel) and the targets nodule, effusion and cardiomegaly; its boxes are the nodules, in source
    pixels. The same arguments write the same bytes.

    >>> catalog = write_synthetic("films", 24, size=256)
    >>> len(catalog), catalog.targets
    (24, ('nodule', 'effusion', 'cardiomegaly'))

    Raises ArgumentError when broken is not 0 to n, or dicom_share is not 0 to 1.
    """
    if not 0 <= broken <= n:
        raise ArgumentError(f"broken is how many of the n={n} films are cut short; found {broken}")
    if not 0 <= dicom_share <= 1:
        raise ArgumentError(f"dicom_share is a share of the films, 0 to 1; found {dicom_share}")
    root = Path(folder)
    root.mkdir(parents=True, exist_ok=True)
    kinds = [_kind(index, dicom_share, broken=index >= n - broken) for index in range(n)]

    def one(index: int) -> dict[str, Any]:
        return _write(root, index, kinds[index], size, seed)

    importlib.import_module("pydicom")  # once, here: several threads at once would see it half imported
    with ThreadPoolExecutor(min(8, os.cpu_count() or 1)) as pool:
        rows = list(pool.map(one, range(n)))
    boxes = [box for row in rows for box in row.pop("boxes")]
    table = pd.DataFrame(rows)
    table["patient"] = _patients(n)
    return Catalog(table, targets=TARGETS, boxes=_box_table(boxes), root=root)


def _kind(index: int, share: float, *, broken: bool) -> _Kind:
    if broken:
        return _Kind("png", 8, broken=True)
    before, after = int(index * share + 1e-9), int((index + 1) * share + 1e-9)
    if after == before:
        return _Kind("png", 16 if (index - before) % 4 == 3 else 8)
    photometric = "MONOCHROME1" if before % 2 else "MONOCHROME2"
    return _Kind("dicom", 12, SYNTAXES[before % 3], photometric)


def _patients(n: int) -> list[str]:
    names: list[str] = []
    patient = 0
    while len(names) < n:
        names += [f"P{patient:05d}"] * FILMS_OF_PATIENT[patient % len(FILMS_OF_PATIENT)]
        patient += 1
    return names[:n]


def _box_table(boxes: list[dict[str, Any]]) -> pd.DataFrame:
    columns = {"id": str, "label": str, "x": float, "y": float, "width": float, "height": float}
    return pd.DataFrame(boxes, columns=list(columns)).astype(columns)


def _write(root: Path, index: int, kind: _Kind, size: SizeLike, seed: int) -> dict[str, Any]:
    film = synthetic_film(index, size=size, seed=seed, bits=kind.bits)
    name = f"film_{index:05d}"
    view = "AP" if index % 5 == 4 else "PA"
    path = root / (name + kind.suffix)
    if kind.syntax:
        _write_dicom(path, film, kind, view, f"{seed} {index}")
    else:
        data = imagecodecs.png_encode(film.pixels, level=1)
        path.write_bytes(data[: len(data) * 3 // 5] if kind.broken else data)
    boxes = [
        dict(zip(("id", "label", "x", "y", "width", "height"), (name, "nodule", *n.box(film.spacing)), strict=True))
        for n in film.nodules
    ]
    return {
        "id": name,
        "path": path.name,
        "view": view,
        "spacing_y": film.spacing[0],
        "spacing_x": film.spacing[1],
        **film.targets,
        "boxes": boxes,
    }


def _write_dicom(path: Path, film: SyntheticFilm, kind: _Kind, view: str, entropy: str) -> None:
    from pydicom.dataset import Dataset  # slow to import, and needed here only
    from pydicom.uid import ComputedRadiographyImageStorage

    full = (1 << film.bits) - 1
    stored = (full - film.pixels if kind.photometric == "MONOCHROME1" else film.pixels).astype("<u2")
    dataset = Dataset()
    dataset.SOPClassUID, dataset.SOPInstanceUID = ComputedRadiographyImageStorage, dicom.uid(entropy)
    dataset.StudyInstanceUID = dicom.uid(entropy, "study")
    dataset.SeriesInstanceUID = dicom.uid(entropy, "series")
    dataset.Modality, dataset.BodyPartExamined, dataset.ViewPosition = "CR", "CHEST", view
    dataset.PixelSpacing = [f"{mm:.6f}" for mm in film.spacing]
    centre = full - WINDOW[0] if kind.photometric == "MONOCHROME1" else WINDOW[0]
    dataset.WindowCenter, dataset.WindowWidth = str(centre), str(WINDOW[1])
    dataset.RescaleIntercept, dataset.RescaleSlope = "0", "1"
    dataset.PhotometricInterpretation = kind.photometric
    dicom.put_pixels(dataset, stored, film.bits, kind.syntax)
    path.write_bytes(dicom.saved(dataset, kind.syntax))
