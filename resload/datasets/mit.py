"""MIMIC-CXR-JPG of Beth Israel Deaconess: 377,110 chest films of 65,379 patients in 227,835 exams, labels from reports.

:Citation: A. Johnson et al., "MIMIC-CXR-JPG, a large publicly available database of labeled chest radiographs",
    arXiv:1901.07042; A. Johnson et al., "MIMIC-CXR", Scientific Data 2019;6:317; PhysioNet, doi:10.13026/jsn5-t979.
:Licence: PhysioNet Credentialed Health Data License 1.5.0.
:Obtain: https://physionet.org/content/mimic-cxr-jpg/ (credentialed access); 558 GB.
:Layouts: `files/p10/p10000032/s50414267/<dicom_id>.jpg` with the tables beside `files/`, packed (.gz) or not; the
    folder to give is the one with the tables, or `files/` itself.

Traps, and what is done about them:

- Labels are one row for each exam, films are several: they are joined by patient and exam from the films' side, so
  that the films of the 8 exams without labels stay (unknown), which an inner join drops.
- The official split calls its parts `train`, `validate` and `test`; here they are train, val and test.
- 0 is denied, blank is not mentioned, -1 is uncertain (`mentions.py`): named policies decide. Two labelers read the
  reports: `chexpert` and `negbio`. They disagree here and there.
- Release 2.1.0 adds radiologists' labels of 687 exams of the test part, without a patient column, and calls
  `Airspace Opacity` what the labelers call `Lung Opacity`.
- `ViewPosition` is AP, PA, LATERAL, LL, blank and more; they are kept as they are: choose films by the column `view`.
- Asking a network for 377,110 files one by one is slow: folders of patients are listed instead, 65,379 in ten folders.
- The JPEGs are min-max scaled, inverted if MONOCHROME1, and equalised (MIT-LCP/mimic-cxr#16): not what the DICOM files
  show. No spacing is known.
"""

from pathlib import Path
from typing import Literal

import numpy as np
import pandas as pd

from resload.catalog import Catalog, rules
from resload.datasets import files, mentions

TARGETS = mentions.FINDINGS

METADATA = ("mimic-cxr-2.0.0-metadata.csv",)
SPLIT = ("mimic-cxr-2.0.0-split.csv",)
LABELS = {"chexpert": ("mimic-cxr-2.0.0-chexpert.csv",), "negbio": ("mimic-cxr-2.0.0-negbio.csv",)}
RADIOLOGISTS = ("mimic-cxr-2.1.0-test-set-labeled.csv",)

RELEASE = {"images": 377110, "patients": 65379, "exams": 227835}

COLUMNS = {
    "id": ("dicom_id",),
    "patient": ("subject_id",),
    "group": ("study_id",),
    "view": ("ViewPosition",),
    "procedure": ("PerformedProcedureStepDescription",),
    "study_date": ("StudyDate",),
    "height": ("Rows",),
    "width": ("Columns",),
}
PARTS = {"train": "train", "validate": "val", "test": "test"}


def mimic_cxr_jpg(
    root: str | Path,
    *,
    uncertain: Literal["ignore", "zeros", "ones", "multiclass"] = "ignore",
    unmentioned: Literal["ignore", "zeros"] = "ignore",
    no_finding: Literal["zeros", "ignore"] = "zeros",
    labels: Literal["chexpert", "negbio"] = "chexpert",
    test_labels: Literal["labeler", "radiologist"] = "labeler",
    missing: Literal["skip", "raise"] = "skip",
    check: Literal["patients", "files"] = "patients",
) -> Catalog:
    """The catalog of MIMIC-CXR-JPG as it lies in a folder.

    Args:
        root: the folder with the tables and `files/`, or `files/` itself with the tables beside it.
        uncertain: what -1 becomes: unknown (NaN), 0, 1, or 2.0, a class of its own.
        unmentioned: what a blank becomes: unknown or 0. Most published results have zeros. Exams without a row of
            labels stay unknown.
        no_finding: where `No Finding` is 1, the pathologies that are blank become 0; or they are as any other blank.
        labels: whose labels: the CheXpert labeler's or NegBio's.
        test_labels: "radiologist" takes those of release 2.1.0 for the exams that have them (687 of the test part).
        missing: films of the table whose image is not there are left out and counted in `notes`, or refused.
        check: what "there" means: that the patient's folder is there (ten folders are listed), or the file (228,000
            folders are listed, which takes minutes on a network).

    Returns:
        A catalog with the 14 `TARGETS`, and `patient` (int), `group` (int, the exam), `split`, `view`, `procedure`,
        `study_date` (int, YYYYMMDD of years after 2100), `height`, `width` (pixels), and `labelled_by` ("chexpert",
        "negbio", "radiologist", or nothing).

    Raises:
        CatalogError: a table lacks or is another, labels other than 1, 0, -1 and blank, an exam labelled twice, nothing
            there. ArgumentError: a policy that is none.
    """
    mentions.check_policies(uncertain=uncertain, unmentioned=unmentioned, no_finding=no_finding)
    files.choice("labels", labels, tuple(LABELS))
    files.choice("test_labels", test_labels, ("labeler", "radiologist"))
    files.choice("missing", missing, files.MISSING)
    files.choice("check", check, ("patients", "files"))
    root = Path(root)
    notes: list[str] = []
    tables, start = _homes(root)
    table = _with_split(parse_metadata(files.need(tables, METADATA)), tables, notes)
    table = table.assign(path=_paths(table, root, start, check))
    table = files.kept(table, table["id"], root, missing=missing, notes=notes, looked=f"the folders {start}p1*/p*")
    said = _labels(tables, labels, test_labels)
    found = said.reindex(table["group"]).set_axis(table.index)
    table = table.assign(labelled_by=found.pop("labelled_by"))
    _describe(table, found, notes)
    found = mentions.targets(found, uncertain=uncertain, unmentioned=unmentioned, no_finding=no_finding)
    found = found.mask(table["labelled_by"].isna())
    return Catalog(pd.concat([table, found], axis=1), targets=TARGETS, root=root, notes=notes)


def parse_metadata(csv: str | Path) -> pd.DataFrame:
    """The table of films in our names, in its own order: `COLUMNS`. Raises CatalogError for another table."""
    raw = files.read_csv(csv, dtype={"dicom_id": str}, low_memory=False)
    return files.renamed(raw, COLUMNS, csv, "metadata table of MIMIC-CXR-JPG")


def parse_labels(csv: str | Path) -> pd.DataFrame:
    """Mentions (n, 14) float32 of each exam, by `study_id`. Raises CatalogError for another table."""
    raw = files.read_csv(csv).rename(columns={"Airspace Opacity": "Lung Opacity"})
    exams = files.renamed(raw, {"study_id": ("study_id",)}, csv, "table of labels of MIMIC-CXR-JPG")["study_id"]
    files.once(exams, csv, "an exam")
    return mentions.read_mentions(raw, csv).set_axis(exams)


def _labels(tables: Path, labels: str, test_labels: str) -> pd.DataFrame:
    """Mentions and `labelled_by` of each exam; radiologists' in the place of a labeler's where they are asked for."""
    said = parse_labels(files.need(tables, LABELS[labels])).assign(labelled_by=labels)
    if test_labels == "labeler":
        return said
    read = parse_labels(files.need(tables, RADIOLOGISTS)).assign(labelled_by="radiologist")
    return pd.concat([said.drop(index=read.index, errors="ignore"), read])


def _homes(root: Path) -> tuple[Path, str]:
    """The folder with the tables, and where films start below the root."""
    inside = root.name == "files" and not (root / "files").is_dir()
    beside = inside and files.find(root, METADATA) is None
    return (root.parent if beside else root), ("" if inside else "files/")


def _with_split(table: pd.DataFrame, tables: Path, notes: list[str]) -> pd.DataFrame:
    csv = files.need(tables, SPLIT)
    raw = files.read_csv(csv, dtype={"dicom_id": str})
    raw = files.renamed(raw, {"id": ("dicom_id",), "split": ("split",)}, csv, "split table of MIMIC-CXR-JPG")
    files.known(raw["split"], PARTS, csv, "parts of the official split")
    files.once(raw["id"], csv, "a film")
    part = raw["split"].map(PARTS).set_axis(raw["id"])
    split = rules.as_text(part.reindex(table["id"]).set_axis(table.index))
    if split.isna().any():
        rules.say(notes, f"{int(split.isna().sum())} of {len(table)} films are in no part of the official split")
    return table.assign(split=split)


def _paths(table: pd.DataFrame, root: Path, start: str, check: str) -> pd.Series:
    """Path of each film below the root; NaN where its patient's folder (or the file itself) is not there."""
    patient = table["patient"].astype("str")
    folder = start + "p" + patient.str[:2] + "/p" + patient
    code, folders = pd.factorize(folder)
    present = files.there(root, folders.tolist())[code]
    path = (folder + "/s" + table["group"].astype("str") + "/" + table["id"] + ".jpg").where(present)
    if check == "files":
        path = path.where(files.there(root, path.fillna("").tolist()))
    return path


def _describe(table: pd.DataFrame, found: pd.DataFrame, notes: list[str]) -> None:
    """What is particular here: exams without labels, how much policies decide, counts against the release."""
    unlabelled = table["labelled_by"].isna()
    if unlabelled.any():
        exams = table["group"][unlabelled].nunique()
        rules.say(notes, f"{int(unlabelled.sum())} films of {exams} exams have no labels; they are kept as unknown")
    mentions.counted(found[~unlabelled.to_numpy(dtype=np.bool_)], notes)
    here = {"images": len(table), "patients": table["patient"].nunique(), "exams": table["group"].nunique()}
    files.against_release(notes, **{what: (number, RELEASE[what]) for what, number in here.items()})
