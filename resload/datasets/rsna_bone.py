"""RSNA Pediatric Bone Age Challenge of 2017: 14,236 films of left hands with the bone age in months.

12,611 films for training, 1,425 for validation and 200 for testing; the challenge's measure is the mean absolute
difference in months.

:Citation: S. S. Halabi et al., "The RSNA Pediatric Bone Age Machine Learning Challenge", Radiology 2019;290(2):498-503.
:Licence: free for non-commercial and academic use, with the citation (the challenge's terms of use).
:Obtain: https://www.rsna.org/rsnai/ai-image-challenge/rsna-pediatric-bone-age-challenge-2017, or Kaggle's
    `kmader/rsna-bone-age` (training films, and the test films without ages).
:Layouts: Kaggle's `boneage-training-dataset.csv` with `boneage-training-dataset/boneage-training-dataset/<id>.png`, and
    the same of `boneage-test-dataset`; RSNA's `train.csv`, `Validation Dataset.csv` and `Bone age ground truth.csv`
    with the films in `boneage-training-dataset/`, `boneage-validation-dataset-1/`, `boneage-validation-dataset-2/`,
    `Test Set Images/`; tables and folders in the root or in folders below it.

Traps, and what is done about them:

- The folders of Kaggle's archive are in a folder of the same name, once more; the validation films are in two parts.
- Three tables have three headers: `id,boneage,male`, `Image ID,male,Bone Age (months)` and
  `Case ID,Sex,Ground truth bone age (months)`. Sex is `True`/`False` (or `TRUE`/`FALSE`) in two of them, `M`/`F` in
  the third. Read by position the second swaps age and sex.
- RSNA gives the test ages as an Excel file: save it as CSV, or the test films are unknown. Kaggle has none.
- Some PNGs are not of one channel, and sizes vary; decoding sees to the first.
- Ids are numbers of films; nobody knows the patients.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import Literal

import numpy as np
import pandas as pd

from resload.catalog import Catalog, rules
from resload.datasets import files
from resload.errors import CatalogError

TARGET = "boneage"

TABLES = {
    "train": ("boneage-training-dataset.csv", "train.csv"),
    "val": ("Validation Dataset.csv", "boneage-validation-dataset.csv"),
    "test": ("Bone age ground truth.csv", "boneage-test-dataset.csv"),
}
"""The table of each official part, under the names that RSNA and Kaggle give it."""

RELEASE = {"train": 12611, "val": 1425, "test": 200}

COLUMNS = {
    "id": ("id", "Image ID", "Case ID"),
    "sex": ("male", "Sex"),
    TARGET: ("boneage", "Bone Age (months)", "Ground truth bone age (months)"),
}
SEXES = {"true": "M", "false": "F", "m": "M", "f": "F"}

OLDEST = 240
"""Months. Bones are grown by then; an age above is no bone age in months."""


def rsna_bone_age(
    root: str | Path,
    *,
    missing: Literal["skip", "raise"] = "skip",
    images: str | None = None,
) -> Catalog:
    """The catalog of the RSNA Bone Age Challenge as it lies in a folder.

    Args:
        root: the folder with the tables and films, in the layout of Kaggle or of RSNA.
        missing: films of the tables whose file is not there are left out and counted in `notes`, or refused.
        images: the folder below `root` to take films from, where several hold the same ones.

    Returns:
        A catalog with the target `boneage` (months; NaN for test films whose ages are not there), and the columns `sex`
        ("F", "M") and `split` ("train", "val", "test"). There is no `patient`.

    Raises:
        CatalogError: no table of training films, another table, a film in two tables, a sex that is none, ages that are
            no months, films missing, or found twice. ArgumentError: a policy that is none.
    """
    files.choice("missing", missing, files.MISSING)
    root = Path(root)
    notes = ["no patient is known of any film; catalog.split(..., by='id') splits film by film"]
    table = pd.concat([parse_table(csv).assign(split=split) for split, csv in _tables(root, notes)], ignore_index=True)
    files.once(table["id"], root, "a film")
    files.image_folder(root, images)
    where = files.walked(root, [images or "."], [".png"])
    files.unlisted(where, table["id"] + ".png", notes)
    looked = "all folders below it"
    table = files.with_paths(table, table["id"] + ".png", where, root, missing=missing, notes=notes, looked=looked)
    files.parts_against_release(notes, table, RELEASE)
    unknown = int(table[TARGET].isna().sum())
    if unknown:
        notes.append(f"films without a bone age, kept as unknown: {unknown}")
    return Catalog(table, targets=(TARGET,), root=root, notes=notes)


def parse_table(csv: str | Path) -> pd.DataFrame:
    """One of the tables in our names: `id` (text), `sex`, `boneage` (float64 months; NaN where there are none).

    Raises CatalogError for another table, a sex that is none, or ages that are no months.
    """
    raw = files.read_csv(csv, dtype=str)
    table = files.renamed(raw, COLUMNS, csv, "table of RSNA Bone Age", optional=(TARGET,))
    sex = table["sex"].str.strip().str.lower()
    files.known(sex, SEXES, csv, "sexes")
    months = files.numbered(table[TARGET], csv, TARGET) if TARGET in table else np.full(len(table), np.nan)
    wrong = (months <= 0) | (months > OLDEST)
    if wrong.any():
        raise CatalogError(
            f"{csv}: bone ages are months from 1 to {OLDEST}; found {rules.some(months[wrong], 3)} of films "
            f"{rules.some(table['id'][wrong], 3)}"
        )
    ids = table["id"].str.strip().str.removesuffix(".png")
    return pd.DataFrame({"id": ids, "sex": rules.as_text(sex.map(SEXES)), TARGET: months})


def _tables(root: Path, notes: list[str]) -> Iterator[tuple[str, Path]]:
    """The table of each part that is there; that of the training films is needed."""
    folders = ["", *(f"{name}/" for name in files.names_in(root) if (root / name).is_dir())]
    for split, names in TABLES.items():
        spelled = [f"{folder}{name}" for name in names for folder in folders]
        csv = files.find(root, spelled)
        if csv is not None:
            yield split, csv
        elif split == "train":
            files.need(root, names)
        else:
            notes.append(f"no films for {split}: {' or '.join(names)} is not there")
