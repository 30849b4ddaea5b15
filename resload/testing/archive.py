"""A hospital's archive, made up: what a folder holds after years of exports, and the spreadsheet that goes with it.

    hospital/archive/20240107/1.2.826.../1.2.826...   date, study, file; named by UIDs, without an extension
    hospital/reports.csv                              AccessionNumber, findings, reader

Forty files in turn are of the kinds of `SLOTS`; what a study is, whose it is and who made its machine follows from its
number. Files and studies depend on (seed, index) alone: a larger archive begins with the same files. Images are tiny
gradients with noise; nothing in them is of a patient, and the names are those of the DICOM standard's examples.
"""

import os
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from resload.errors import ArgumentError
from resload.seeds import generator
from resload.testing import dicom, objects

SLOTS = (
    *("cr", "cr", "dx", "dx-processing"),
    *("mg", "mg", "mg", "mg"),
    *("cr", "cr", "dx", "dx-processing"),
    *("cr", "cr", "report", "copy"),
    *("mg", "mg", "mg", "mg"),
    *("dx", "dx", "cr", "presentation"),
    *("cr", "cr", "captured", "key-object"),
    *("dx", "dx", "dx-processing", "tomosynthesis"),
    *("ct", "ct", "ultrasound", "report"),
    *("cut", "cut-pixels", "other-content", "rare"),
)
"""The kinds of forty files in turn, four to a study."""
RARE = ("directory", "text", "empty", "garbage")
"""What the fortieth file is, in turn."""
RADIOGRAPHS = ("cr", "dx", "dx-processing", "mg", "captured", "tomosynthesis")
FRAMES = 3
"""Images in a file of tomosynthesis."""
MAKERS = ("Aurora Imaging", "Borealis Medical", "Cirrus X-ray")
"""The third one stands where the sick are: Pneumothorax goes with it."""


@dataclass(frozen=True, slots=True)
class SyntheticArchive:
    """What was written, and what is true of it."""

    archive: Path
    """The folder of DICOM files, for `Catalog.from_dicom`."""
    reports: Path
    """The spreadsheet, a CSV."""
    kinds: dict[str, int]
    """Files of each kind: those of SLOTS and RARE."""
    radiographs: int
    """Rows that a catalog of it has: one for each image and frame."""
    exams: int
    """Accession numbers with a radiograph."""
    unreported: int
    """How many of them have no row in the spreadsheet."""
    strangers: int
    """Rows of the spreadsheet whose accession number is not in the archive."""
    repeated: int
    """Rows of the spreadsheet that are there twice."""


def write_archive(folder: str | os.PathLike[str], n: int = 2000, *, seed: int = 0) -> SyntheticArchive:
    """Write an archive of `n` files and its spreadsheet to `folder` (made if it is not there).

    CR, DX of both intents, mammograms of four views, tomosynthesis of several frames, and a secondary capture with the
    spacing of the film it was made from; about half are MONOCHROME1, with 10 to 15 bits, VOI lookup tables or windows,
    in native, deflated, JPEG lossless, JPEG-LS, JPEG 2000 and RLE syntaxes. Between them reports, presentation states,
    key objects, CT, ultrasound, copies, files with another one's UID, cut, empty and other broken files and a DICOMDIR.
    Accession numbers begin with zeros. In the spreadsheet, one maker's machines go with Pneumothorax, which is a
    shortcut; Effusion goes with nothing.

    >>> made = write_archive("hospital", 80)
    >>> made.kinds["report"], made.radiographs
    (4, 60)

    The same arguments write the same bytes. Raises ArgumentError for an n below 1.
    """
    if n < 1:
        raise ArgumentError(f"n is how many files to write, 1 or more; found {n}")
    root = Path(folder) / "archive"
    root.mkdir(parents=True, exist_ok=True)
    kinds = [kind_of(index) for index in range(n)]
    films: list[_Film] = []
    for index, kind in enumerate(kinds):
        written = _write(root, index, kind, seed, films[-1].path if films else root)
        if kind in RADIOGRAPHS:
            films.append(written)
    reports, truth = _reports({one.study.accession: one.study for one in films}, seed)
    reports.to_csv(root.parent / "reports.csv", index=False)
    return SyntheticArchive(
        archive=root,
        reports=root.parent / "reports.csv",
        kinds=dict(Counter(kinds)),
        radiographs=sum(FRAMES if one.kind == "tomosynthesis" else 1 for one in films),
        **truth,
    )


def kind_of(index: int) -> str:
    """The kind of the file with this number."""
    slot = SLOTS[index % len(SLOTS)]
    return RARE[index // len(SLOTS) % len(RARE)] if slot == "rare" else slot


@dataclass(frozen=True, slots=True)
class _Film:
    kind: str
    path: Path
    study: objects.Study


def study_of(number: int, seed: int) -> objects.Study:
    """The study of this number: three to two patients in turn, one machine for a patient, one day for a study."""
    patient = 2 * number // 3
    maker = int(generator(seed, 0, "synthetic", _PATIENTS + patient).integers(len(MAKERS)))
    return objects.Study(number, patient, f"{number + 1:07d}", MAKERS[maker], f"{seed} study {number}")


_PATIENTS, _STUDIES = 1 << 40, 1 << 41
"""Where the random streams of patients and of reports begin: files have those below."""


def _write(root: Path, index: int, kind: str, seed: int, film: Path) -> _Film:
    """Write file `index` and say what it is; `film` is the radiograph before it, for copies."""
    study = study_of(index // 4, seed)
    rng = generator(seed, 0, "synthetic", index)
    uid = dicom.uid(f"{seed} file {index}")
    path = root / study.date / dicom.uid(study.entropy) / uid
    if kind == "copy":
        path, content = root / "restored" / film.name, film.read_bytes()
    elif kind == "other-content":
        path = root / "restored" / study.date / film.name
        content = objects.file_of("cr", study, film.name, rng)
    elif kind in RARE:
        path, content = root / _NAMES[kind].format(index), _rare(kind, rng)
    else:
        content = objects.file_of(kind.partition("-pixels")[0] if kind.startswith("cut") else kind, study, uid, rng)
        content = _cut(kind, content)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
    return _Film(kind, path, study)


_NAMES = {"directory": "disc{}/DICOMDIR", "text": "readme{}.txt", "empty": "export{}.tmp", "garbage": "export{}.bin"}


def _rare(kind: str, rng: np.random.Generator) -> bytes:
    if kind == "directory":
        return objects.directory()
    return {"text": b"Exported at night.\n", "empty": b"", "garbage": b"\xff" + rng.bytes(2000)}[kind]


def _cut(kind: str, content: bytes) -> bytes:
    """A file that ends within its Rows element, or within its pixels."""
    if kind == "cut":
        return content[: content.index(b"\x28\x00\x10\x00") + 5]
    return content[:-100] if kind == "cut-pixels" else content


def _reports(exams: dict[str, objects.Study], seed: int) -> tuple[pd.DataFrame, dict[str, int]]:
    """The spreadsheet: a row for most exams, some twice, and some of exams that are not in the archive."""
    rows = [_report(study, seed) for study in exams.values() if study.number % 17 != 5]
    twice = [row for row in rows if int(row[_KEY]) % 13 == 4]
    strangers = [{**row, _KEY: f"9{row[_KEY][1:]}"} for row in rows if int(row[_KEY]) % 11 == 3]
    table = pd.DataFrame([*rows, *twice, *strangers], columns=[_KEY, "Pneumothorax", "Effusion", "Reader"])
    truth = {"exams": len(exams), "unreported": len(exams) - len(rows)}
    return table, {**truth, "strangers": len(strangers), "repeated": len(twice)}


_KEY = "AccessionNumber"


def _report(study: objects.Study, seed: int) -> dict[str, Any]:
    """Findings of a study, each unknown in one of ten; Pneumothorax goes with the third maker."""
    rng = generator(seed, 0, "synthetic", _STUDIES + study.number)
    shares = {"Pneumothorax": 0.97 if study.maker == MAKERS[2] else 0.03, "Effusion": 0.3}
    found = {name: np.nan if rng.random() < 0.1 else int(rng.random() < share) for name, share in shares.items()}
    return {_KEY: study.accession, **found, "Reader": f"R{int(rng.integers(1, 5))}"}
