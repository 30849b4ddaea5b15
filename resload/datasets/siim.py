"""SIIM-ACR Pneumothorax of 2019: 12,047 chest films with outlines of pneumothoraces, and films for testing.

2,669 films have a pneumothorax, in 3,576 annotations; 9,378 have none.

:Citation: Society for Imaging Informatics in Medicine, "SIIM-ACR Pneumothorax Segmentation", Kaggle 2019; the films are
    those of ChestX-ray14 (X. Wang et al., CVPR 2017).
:Licence: the competition's rules; the films' as ChestX-ray14's.
:Obtain: https://www.kaggle.com/c/siim-acr-pneumothorax-segmentation; the films of the first stage are no longer served
    there, copies circulate.
:Layouts: `train-rle.csv` (first stage) or `stage_2_train.csv`, and the films as
    `dicom-images-train/<study>/<series>/<ImageId>.dcm` or in any other folders below the root.

Traps, and what is done about them:

- The header is `ImageId, EncodedPixels`, with a blank, and films without pneumothorax have ` -1`, with a blank too: a
  program that compares with `-1` makes every film positive.
- Run-lengths are relative: each start counts from the end of the run before; and they run down the columns. Only so do
  all 3,576 stay inside 1024 x 1024 (`rle_format` is `siim`).
- 624 films have 2 to 10 rows, one for each annotation: they are united (in `masks`, a row each). The last alone covers
  46 % of the union in the median.
- A film with -1 has a mask that is known to be empty; a test film has none, which is unknown.
- A film is its DICOM file's name. PatientID in the header is another name of the film: nobody knows the patients here,
  and the films are those of ChestX-ray14.
- PixelSpacing is that of the film before it became 1024 x 1024 (a Secondary Capture of 172 mm would be a chest of a
  doll's size): headers' spacing is not used for these files by decoding.
"""

from pathlib import Path
from typing import Literal

import numpy as np
import pandas as pd

from resload.catalog import Catalog, rules
from resload.datasets import files, headers
from resload.errors import CatalogError

TARGET = "pneumothorax"
TABLES = ("stage_2_train.csv", "train-rle.csv", "stage_1_train.csv")
RELEASE = {"images": 12047}
COLUMNS = {"id": ("ImageId",), "rle": ("EncodedPixels",)}
TEST = ("test", "stage2", "stage_2")
"""Parts of the names of folders that hold films for testing."""


def siim_pneumothorax(
    root: str | Path,
    *,
    unlabelled: Literal["keep", "skip"] = "keep",
    missing: Literal["skip", "raise"] = "skip",
    header: bool = False,
    images: str | None = None,
) -> Catalog:
    """The catalog of SIIM-ACR Pneumothorax as it lies in a folder.

    Args:
        root: the folder with the table and, anywhere below, the films.
        unlabelled: films in folders for testing, which no row of the table names, are kept as unknown, or left out.
        missing: films of the table whose file is not there are left out and counted in `notes`, or refused.
        header: read `view`, `sex` and `age` of every film from its header, which takes a while.
        images: the folder below `root` to take films from, where several hold the same ones.

    Returns:
        A catalog with the target `pneumothorax` (1.0, 0.0; NaN for test films) and the column `split` ("train" or
        "test"). There is no `patient`. Masks are labelled `pneumothorax`, one row for each annotation, for films of
        1024 x 1024.

    Raises:
        CatalogError: no table, another table, a row without run-lengths and without -1, images missing, or found twice.
        ArgumentError: a policy that is none.
    """
    files.choice("unlabelled", unlabelled, ("keep", "skip"))
    files.choice("missing", missing, files.MISSING)
    root = Path(root)
    notes = ["no patient is known of any film (PatientID is another name of the film); films come from ChestX-ray14"]
    masks = parse_masks(files.need(root, TABLES), notes)
    files.image_folder(root, images)
    where = files.walked(root, [images or "."], [".dcm"])
    found = masks.assign(found=masks["rle"] != "-1").groupby("id", sort=False)["found"].any()
    table = found.rename(TARGET).reset_index()
    files.against_release(notes, images=(len(table), RELEASE["images"]))
    table = files.with_test_films(table.assign(split="train"), where, ".dcm", TEST, unlabelled, notes)
    looked = "all folders below it"
    table = files.with_paths(table, table["id"] + ".dcm", where, root, missing=missing, notes=notes, looked=looked)
    table = headers.described(table, root, notes) if header else table
    masks = masks[rules.among(masks["id"], table["id"])].assign(label=TARGET, rle_format="siim")
    return Catalog(table.astype({TARGET: np.float32}), targets=(TARGET,), masks=masks, root=root, notes=notes)


def parse_masks(csv: str | Path, notes: list[str] | None = None) -> pd.DataFrame:
    """The table's rows, a film and its run-lengths (or "-1") each, without blanks around them: `id`, `rle`.

    Sentences about what is odd go to `notes`. Raises CatalogError for another table or a row with neither.
    """
    notes = [] if notes is None else notes
    raw = files.read_csv(csv, dtype=str, keep_default_na=False)
    table = files.renamed(raw, COLUMNS, csv, "table of SIIM-ACR Pneumothorax")
    table = pd.DataFrame({name: column.str.strip() for name, column in table.items()})
    blank = table["rle"] == ""
    if blank.any():
        raise CatalogError(f"{csv}: films without run-lengths and without -1: {rules.some(table['id'][blank], 3)}")
    repeated = table.duplicated()
    if repeated.any():
        rules.say(notes, f"rows that repeat another one, left out: {int(repeated.sum())}")
    table = table[~repeated]
    none = table["rle"] == "-1"
    both = set(table["id"][none]) & set(table["id"][~none])
    if both:
        notes.append(f"films with an outline and with -1, taken as positive: {rules.some(sorted(both), 3)}")
    many = int((table["id"][~none].value_counts() > 1).sum())
    if many:
        notes.append(f"{many} films have several annotations, which are united")
    return table
