"""VinDr-CXR of two hospitals in Hanoi: 18,000 frontal chest films, read for 28 findings by 17 radiologists.

15,000 films for training, each read by three radiologists, and 3,000 for testing, with a consensus of five.

:Citation: H. Q. Nguyen et al., "VinDr-CXR: An open dataset of chest X-rays with radiologist's annotations", Scientific
    Data 2022;9:429, doi:10.1038/s41597-022-01498-w.
:Licence: PhysioNet Credentialed Health Data License 1.5.0; on Kaggle, the competition's rules.
:Obtain: https://physionet.org/content/vindr-cxr/ (credentialed access), or Kaggle's
    `vinbigdata-chest-xray-abnormalities-detection`, which has 14 of the findings and no labels of the test films.
:Layouts: PhysioNet's `train/<image_id>.dicom`, `test/<image_id>.dicom`, `annotations/*.csv`; Kaggle's `train.csv`
    beside `train/` and `test/`.

Traps, and what is done about them:

- A training film has three rows, one for each reader (`rad_id`), and these differ: `votes` says what becomes of them.
  A test film has one row of consensus and no `rad_id`.
- The label that is `Other diseases` in the training table is `Other disease` in the test table.
- A reader who finds nothing gives `No finding` (class_id 14 on Kaggle) with a box that is blank: not a box.
- Boxes are corners in pixels of the DICOM file, one for each reader and finding: they stay apart, with the reader's
  name in the column `reader`. They belong to the `.dicom` files only, not to the resized copies that circulate.
- Kaggle's table has boxes only: a reader has a finding if he drew a box of it. The 14 findings and `No finding` are
  targets there, not 28.
- Files end in `.dicom`.
- Nobody knows the patients: headers were emptied. Films can only be split one by one (`by="id"`).
"""

from pathlib import Path
from typing import Literal

import numpy as np
import pandas as pd

from resload.catalog import Catalog, rules
from resload.datasets import files
from resload.datasets.votes import VOTES, counted, decided
from resload.errors import CatalogError

LOCAL = (
    "Aortic enlargement",
    "Atelectasis",
    "Calcification",
    "Cardiomegaly",
    "Consolidation",
    "ILD",
    "Infiltration",
    "Lung Opacity",
    "Nodule/Mass",
    "Other lesion",
    "Pleural effusion",
    "Pleural thickening",
    "Pneumothorax",
    "Pulmonary fibrosis",
)
"""The 14 findings of the Kaggle release, in the order of its class_id."""

MORE_LOCAL = (
    "Clavicle fracture",
    "Edema",
    "Emphysema",
    "Enlarged PA",
    "Lung cavity",
    "Lung cyst",
    "Mediastinal shift",
    "Rib fracture",
)
"""The other findings that are drawn as boxes on PhysioNet."""

GLOBAL = ("COPD", "Lung tumor", "Pneumonia", "Tuberculosis", "Other diseases")
"""Diagnoses of the whole film."""

NOTHING = "No finding"
TARGETS = (*LOCAL, *MORE_LOCAL, *GLOBAL, NOTHING)
"""The 28 labels of PhysioNet; Kaggle has `LOCAL` and `No finding`."""

RELEASE = {"train": 15000, "test": 3000}
KAGGLE = ("train.csv",)
LABELS = {split: (f"annotations/image_labels_{split}.csv", f"image_labels_{split}.csv") for split in RELEASE}
BOXES = {split: (f"annotations/annotations_{split}.csv", f"annotations_{split}.csv") for split in RELEASE}

BOX_COLUMNS = {
    "id": ("image_id",),
    "label": ("class_name",),
    "reader": ("rad_id", "rad_ID"),
    **{name: (name,) for name in ("x_min", "y_min", "x_max", "y_max")},
}
CONSENSUS = "consensus"


def vindr_cxr(
    root: str | Path,
    *,
    votes: Literal["majority", "any", "all", "mean"] = "majority",
    unlabelled: Literal["keep", "skip"] = "keep",
    missing: Literal["skip", "raise"] = "skip",
) -> Catalog:
    """The catalog of VinDr-CXR as it lies in a folder, in the layout of PhysioNet or of Kaggle.

    Args:
        root: the folder with `train/`, `test/` and `annotations/`, or with `train.csv` of Kaggle.
        votes: what several readers of a film say together: "majority" (more than half), "any", "all", or "mean", the
            share of them as a soft label. A consensus counts as one reader.
        unlabelled: test films that no table labels, as all of Kaggle's, are kept as unknown, or left out.
        missing: films of the tables whose image is not there are left out and counted in `notes`, or refused.

    Returns:
        A catalog with the 28 `TARGETS` (of Kaggle 15), and the columns `split` ("train", "test") and `readers` (how
        many read the film; 0 where it has no labels). There is no `patient`. Boxes are in pixels of the file, with the
        column `reader` ("R1" to "R17", or "consensus").

    Raises:
        CatalogError: no table, another table, unknown labels, images missing. ArgumentError: a policy that is none.
    """
    files.choice("votes", votes, VOTES)
    files.choice("unlabelled", unlabelled, ("keep", "skip"))
    files.choice("missing", missing, files.MISSING)
    root = Path(root)
    notes = ["no patient is known of any film; catalog.split(..., by='id') splits film by film"]
    kaggle = files.find(root, KAGGLE)
    readings, boxes = _of_kaggle(kaggle) if kaggle is not None else _of_physionet(root, notes)
    names = tuple(name for name in TARGETS if name in readings)
    counted(readings, names, notes)
    where = files.listed(root, list(RELEASE), [".dicom"])
    table = decided(readings, names, votes).reset_index()
    table = files.with_test_films(table, where, ".dicom", ("test",), unlabelled, notes).fillna({"readers": 0})
    table = table.astype({"readers": np.int64})
    looked = "its folders train and test"
    table = files.with_paths(table, table["id"] + ".dicom", where, root, missing=missing, notes=notes, looked=looked)
    files.parts_against_release(notes, table, RELEASE)
    return Catalog(table, targets=names, boxes=_placed(boxes, table["id"], notes), root=root, notes=notes)


def parse_labels(csv: str | Path, split: str) -> pd.DataFrame:
    """PhysioNet's labels of whole films, a row for each film and reader: `id`, `split`, `reader`, 28 columns float32.

    Raises CatalogError for another table, labels other than 0 and 1, or a reader who read a film twice.
    """
    raw = files.read_csv(csv).rename(columns={"Other disease": "Other diseases"})
    columns = {"id": ("image_id",), "reader": ("rad_id", "rad_ID"), **{name: (name,) for name in TARGETS}}
    table = files.renamed(raw, columns, csv, "table of labels of VinDr-CXR", optional=("reader",))
    table = table.assign(split=split, reader=table.get("reader", CONSENSUS))
    files.once(table["id"] + " by " + table["reader"], csv, "a reading")
    strange = [name for name in TARGETS if not table[name].isin([0, 1]).all()]
    if strange:
        raise CatalogError(f"{csv}: {strange[0]} is 0 or 1; found {rules.some(table[strange[0]].unique())}")
    return table.astype(dict.fromkeys(TARGETS, np.float32))


def parse_boxes(csv: str | Path) -> pd.DataFrame:
    """Boxes of either release: `id`, `label`, `reader`, `x`, `y`, `width`, `height`; all NaN where nothing was found.

    Raises CatalogError for another table or unknown labels.
    """
    raw = files.read_csv(csv, dtype={"image_id": str})
    table = files.renamed(raw, BOX_COLUMNS, csv, "table of boxes of VinDr-CXR", optional=("reader",))
    table = table.assign(label=table["label"].replace("Other disease", "Other diseases"))
    files.known(table["label"], TARGETS, csv, "findings")
    return pd.DataFrame(
        {
            "id": table["id"],
            "label": table["label"],
            "reader": table.get("reader", pd.Series(CONSENSUS, index=table.index)),
            "x": table["x_min"],
            "y": table["y_min"],
            "width": table["x_max"] - table["x_min"],
            "height": table["y_max"] - table["y_min"],
        }
    )


def _of_physionet(root: Path, notes: list[str]) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Readings and boxes of PhysioNet's tables; those of the training films are needed."""
    readings, boxes = [parse_labels(files.need(root, LABELS["train"]), "train")], []
    test = files.find(root, LABELS["test"])
    if test is not None:
        readings.append(parse_labels(test, "test"))
    for split, names in BOXES.items():
        csv = files.find(root, names)
        if csv is not None:
            boxes.append(parse_boxes(csv))
        else:
            notes.append(f"no boxes of the films for {split}: {names[0]} is not in {root}")
    none = pd.DataFrame(columns=["id", "label", "reader", "x", "y", "width", "height"])
    return pd.concat(readings, ignore_index=True), pd.concat(boxes, ignore_index=True) if boxes else none


def _of_kaggle(csv: Path) -> tuple[pd.DataFrame, pd.DataFrame]:
    """The same of Kaggle's one table: a reader has a finding if he drew a box of it, or said that there is nothing."""
    boxes = parse_boxes(csv)
    said = pd.crosstab([boxes["id"], boxes["reader"]], boxes["label"]).clip(upper=1)
    said = said.reindex(columns=[*LOCAL, NOTHING], fill_value=0).astype(np.float32).rename_axis(columns=None)
    return said.reset_index().assign(split="train"), boxes


def _placed(boxes: pd.DataFrame, ids: pd.Series, notes: list[str]) -> pd.DataFrame:
    """The boxes of these films; blank ones are none, and empty ones are left out and counted."""
    boxes = boxes[boxes["x"].notna() & rules.among(boxes["id"], ids)]
    empty = (boxes["width"] <= 0) | (boxes["height"] <= 0)
    if empty.any():
        rules.say(notes, f"boxes without an area, left out: {int(empty.sum())}")
    return boxes[~empty]
