"""RSNA Pneumonia Detection Challenge of 2018: 26,684 chest films with boxes of opacities, and 3,000 for testing.

:Citation: G. Shih et al., "Augmenting the National Institutes of Health Chest Radiograph Dataset with Expert
    Annotations of Possible Pneumonia", Radiology: AI 2019;1(1):e180041; the films are those of ChestX-ray14.
:Licence: the competition's rules: academic research and education; the films' as ChestX-ray14's.
:Obtain: https://www.kaggle.com/c/rsna-pneumonia-detection-challenge, or
    https://www.rsna.org/rsnai/ai-image-challenge/rsna-pneumonia-detection-challenge-2018.
:Layouts: `stage_2_train_labels.csv`, `stage_2_detailed_class_info.csv`, and `stage_2_train_images/<patientId>.dcm`,
    `stage_2_test_images/`; or all of these with `stage_1`.

Traps, and what is done about them:

- There is one row for each box (30,227 for 26,684 films), blank where Target is 0, and the table of classes repeats its
  rows as often: films are made one row, boxes go beside.
- `patientId` is an identifier of the film, not of the patient. ChestX-ray14 has up to 184 films of one patient, so that
  films split one by one leak: `nih_mapping` takes the mapping that RSNA published, and gives the patients.
- `No Lung Opacity / Not Normal` (11,821 films) is negative and not normal: the class is kept as a column.
- The 3,000 test films have no labels: unknown, not negative.
- Ages are in the headers only, and some are impossible (up to 155).
- PixelSpacing is that of the film before it became 1024 x 1024: headers' spacing is not used for these files by
  decoding.
"""

import json
from pathlib import Path
from typing import Literal

import numpy as np
import pandas as pd

from resload.catalog import Catalog, rules
from resload.datasets import files, headers
from resload.errors import CatalogError

TARGET = "pneumonia"
CLASSES = ("Normal", "No Lung Opacity / Not Normal", "Lung Opacity")
"""What every film is one of; boxes are on those of the last."""

RELEASE = {"train": 26684, "test": 3000}
LABELS = ("stage_2_train_labels.csv", "stage_1_train_labels.csv")
DETAILS = ("stage_2_detailed_class_info.csv", "stage_1_detailed_class_info.csv")
FOLDERS = ("stage_2_train_images", "stage_2_test_images", "stage_1_train_images", "stage_1_test_images")

COLUMNS = {
    "id": ("patientId",),
    "x": ("x",),
    "y": ("y",),
    "width": ("width",),
    "height": ("height",),
    "target": ("Target",),
}
MAPPING = {"id": ("subset_img_id", "patientId"), "nih_image": ("img_id", "Image Index")}


def rsna_pneumonia(
    root: str | Path,
    *,
    classes: bool = False,
    nih_mapping: str | Path | None = None,
    unlabelled: Literal["keep", "skip"] = "keep",
    missing: Literal["skip", "raise"] = "skip",
    header: bool = False,
) -> Catalog:
    """The catalog of the RSNA Pneumonia Detection Challenge as it lies in a folder.

    Args:
        root: the folder with the tables and the folders of films.
        classes: the three `CLASSES` are targets too, each 1.0 or 0.0.
        nih_mapping: the mapping to ChestX-ray14 that RSNA published (`pneumonia-challenge-dataset-mappings_2018.json`),
            or a CSV with the columns `patientId` and `img_id`: then there is a `patient`.
        unlabelled: the test films are kept as unknown, or left out.
        missing: films of the table whose file is not there are left out and counted in `notes`, or refused.
        header: read `view`, `sex` and `age` of every film from its header, which takes a while.

    Returns:
        A catalog with the target `pneumonia` (1.0, 0.0; NaN for test films), and the columns `split` ("train", "test")
        and `detailed_class`; with a mapping also `patient` (int) and `nih_image`. Boxes are labelled `pneumonia`, in
        pixels of the 1024 x 1024 file.

    Raises:
        CatalogError: no table, another table, a film with two classes or two targets, a positive film without a box,
            images missing. ArgumentError: a policy that is none.
    """
    files.choice("unlabelled", unlabelled, ("keep", "skip"))
    files.choice("missing", missing, files.MISSING)
    root = Path(root)
    notes: list[str] = []
    table, boxes = parse_labels(files.need(root, LABELS))
    table = table.merge(parse_classes(files.need(root, DETAILS)), on="id", how="left")
    where = files.listed(root, [name for name in FOLDERS if (root / name).is_dir()], [".dcm"])
    table = files.with_test_films(table.assign(split="train"), where, ".dcm", ("test",), unlabelled, notes)
    looked = "its folders stage_*_images"
    table = files.with_paths(table, table["id"] + ".dcm", where, root, missing=missing, notes=notes, looked=looked)
    files.parts_against_release(notes, table, RELEASE)
    table = _with_patients(table, nih_mapping, notes)
    table = headers.described(table, root, notes) if header else table
    targets = (TARGET, *(CLASSES if classes else ()))
    known = table["detailed_class"].notna()
    for name in targets[1:]:
        table[name] = (table["detailed_class"] == name).astype(np.float32).where(known)
    boxes = boxes[rules.among(boxes["id"], table["id"])]
    return Catalog(table, targets=targets, boxes=boxes, root=root, notes=notes)


def parse_labels(csv: str | Path) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Films (`id`, `pneumonia`) in the order of their first rows, and their boxes.

    Raises CatalogError for another table, a film with two targets, or boxes where Target is 0 and none where it is 1.
    """
    table = files.renamed(files.read_csv(csv), COLUMNS, csv, "table of labels of RSNA Pneumonia")
    target, boxed = table.pop("target"), table[["x", "y", "width", "height"]].notna().all(axis=1)
    wrong = ~target.isin([0, 1]) | (boxed != (target == 1))
    if wrong.any():
        raise CatalogError(
            f"{csv}: Target is 1 in rows with a box and 0 in rows without; "
            f"not so for {rules.some(table['id'][wrong], 3)}"
        )
    films = pd.DataFrame({"id": table["id"], TARGET: target.astype(np.float32)}).drop_duplicates()
    files.once(films["id"], csv, "a film with two targets, so")
    return films, table[boxed].assign(label=TARGET)


def parse_classes(csv: str | Path) -> pd.DataFrame:
    """`id` and `detailed_class` of each film, once. Raises CatalogError for another table or a film of two classes."""
    columns = {"id": ("patientId",), "detailed_class": ("class",)}
    table = files.renamed(files.read_csv(csv), columns, csv, "table of classes of RSNA Pneumonia").drop_duplicates()
    files.known(table["detailed_class"], CLASSES, csv, "classes")
    files.once(table["id"], csv, "a film with two classes, so")
    return table


def parse_mapping(path: str | Path) -> pd.DataFrame:
    """The mapping to ChestX-ray14, JSON or CSV: `id`, `nih_image` ("00000001_000.png"), `patient` (int).

    Raises CatalogError for a file that cannot be read, or is none.
    """
    if Path(path).suffix == ".json":
        try:
            raw = pd.DataFrame(json.loads(Path(path).read_text("utf-8")))
        except (OSError, ValueError) as exc:
            raise CatalogError(f"{path} cannot be read as JSON: {exc}") from exc
    else:
        raw = files.read_csv(path, dtype=str)
    table = files.renamed(raw, MAPPING, path, "mapping to ChestX-ray14").drop_duplicates()
    files.once(table["id"], path, "a film")
    patient = table["nih_image"].astype("str").str.extract(r"^(\d{8})_\d{3}\.png$")[0]
    if patient.isna().any():
        raise CatalogError(
            f"{path}: images of ChestX-ray14 look like 00000001_000.png; "
            f"found {rules.some(table['nih_image'][patient.isna()], 3)}"
        )
    return table.assign(patient=patient.astype(np.int64))


def _with_patients(table: pd.DataFrame, mapping: str | Path | None, notes: list[str]) -> pd.DataFrame:
    """The table with ChestX-ray14's patients; without a mapping nobody knows them, and films it lacks are left out."""
    if mapping is None:
        notes.append(
            "no patient is known (patientId is a film's): films come from ChestX-ray14, up to 184 of one patient; "
            "nih_mapping= gives the patients"
        )
        return table
    table = table.merge(parse_mapping(mapping), on="id", how="left")
    lost = table["patient"].isna()
    if lost.any():
        rules.say(notes, f"films that the mapping to ChestX-ray14 has no patient of, left out: {int(lost.sum())}")
    return table[~lost].astype({"patient": np.int64})
