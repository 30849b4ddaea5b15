"""CheXpert of Stanford Hospital: 224,316 chest films of 65,240 patients, 14 observations read from reports.

The public part has 223,414 films of 64,540 patients for training and 234 films of 200 patients for validation; the
500 studies of the test set came with CheXlocalize.

:Citation: J. Irvin, P. Rajpurkar et al., "CheXpert: A Large Chest Radiograph Dataset with Uncertainty Labels and Expert
    Comparison", AAAI 2019.
:Licence: Stanford University Dataset Research Use Agreement: research, no redistribution.
:Obtain: https://stanfordmlgroup.github.io/competitions/chexpert (registration); 439 GB, or 11 GB as `-small`.
:Layouts: `train.csv`, `valid.csv` (`test.csv`, `test_labels.csv`) and the folders `train/`, `valid/` (`test/`) in the
    root, in `CheXpert-v1.0/` or `CheXpert-v1.0-small/`; or the four zips unpacked side by side:
    `CheXpert-v1.0 batch 1 (validate & csv)/valid/patient64541/`, `CheXpert-v1.0 batch 2 (train 1)/patient00001/` and
    so on.

Traps, and what is done about them:

- Paths in the tables begin with `CheXpert-v1.0/` or `CheXpert-v1.0-small/`, whatever the folders are called, and the
  training films lie in three batches: only what follows `train/` counts, and each patient's folder is looked for.
- The patient is only in the path (`patient00001`), the exam too (`study1`).
- 0 is denied, blank is not mentioned, -1 is uncertain, and there is much of that: of Atelectasis 33,739 are uncertain
  and 33,376 positive. Named policies decide (`mentions.py`); nothing becomes negative unless one says so.
- `No Finding` = 1 denies the pathologies that are blank beside it (torchxrayvision does so, too), but not
  `Support Devices`.
- `AP/PA` has `LL` 16 times and `RL` once among the frontal films, and is blank for lateral ones. `Sex` is `Unknown`
  once. Three films have age 0, in a data set of adults. Ages end at 90.
- The labels of `valid.csv` and of the test set are radiologists'; those of `train.csv` a labeler's. Two other labelers'
  are in `train_cheXbert.csv` and `train_visualCheXbert.csv` (A. Smit et al., EMNLP 2020; S. Jain et al., CHIL 2021).
- JPEGs hold equalised histograms (code in stanfordmlgroup/chexpert-labeler#11): no exposure can be read from them, and
  no spacing is known.
"""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Literal

import numpy as np
import pandas as pd

from resload.catalog import Catalog, rules
from resload.datasets import files, mentions
from resload.errors import CatalogError

TARGETS = mentions.FINDINGS

TABLES = {
    "chexpert": "train.csv",
    "chexbert": "train_cheXbert.csv",
    "visualchexbert": "train_visualCheXbert.csv",
}
"""Which labeler's table the training films are read from."""

EVALUATED = {"val": ("valid.csv",), "test": ("test.csv", "test_labels.csv")}
FOLDERS = {"train": "train", "valid": "val", "val": "val", "test": "test"}
"""What a folder of films is called in the paths -> the split."""

RELEASE = {"train": 223414, "val": 234}
PATIENTS = 64740
"""Films and patients of the public release; the test set is none of it."""

COLUMNS = {
    "listed": ("Path",),
    "sex": ("Sex",),
    "age": ("Age",),
    "orientation": ("Frontal/Lateral",),
    "view": ("AP/PA",),
}
OPTIONAL = ("sex", "age", "orientation", "view")
"""The tables of the test set have only paths and labels."""

SHAPE = re.compile(r"(?:.*/)?(train|valid|val|test)/(patient\d+)/(study\d+)/([^/]+)\.jpg")


def chexpert(
    root: str | Path,
    *,
    uncertain: Literal["ignore", "zeros", "ones", "multiclass"] = "ignore",
    unmentioned: Literal["ignore", "zeros"] = "ignore",
    no_finding: Literal["zeros", "ignore"] = "zeros",
    labels: Literal["chexpert", "chexbert", "visualchexbert"] = "chexpert",
    missing: Literal["skip", "raise"] = "skip",
    check: Literal["patients", "files"] = "patients",
    images: str | None = None,
) -> Catalog:
    """The catalog of CheXpert as it lies in a folder.

    Args:
        root: the folder with the tables and films, or with the folders of the four batches.
        uncertain: what -1 becomes: unknown (NaN), 0, 1, or 2.0, a class of its own.
        unmentioned: what a blank becomes: unknown or 0. Most published results have zeros.
        no_finding: where `No Finding` is 1, the pathologies that are blank become 0; or they are as any other blank.
        labels: whose labels the training films have: the CheXpert labeler's, CheXbert's or VisualCheXbert's.
        missing: films of the tables whose image is not there are left out and counted in `notes`, or refused.
        check: what "there" means: that the patient's folder is there (two or three folders are listed), or the file
            (187,000 folders are listed, which takes minutes on a network).
        images: the folder below `root` to take films from, where several hold the same ones.

    Returns:
        A catalog with the 14 `TARGETS`, and `patient` ("patient00001"), `group` ("patient00001/study1"), `split`
        ("train", "val", and "test" where its table is there), `orientation` ("Frontal" or "Lateral"), `view` ("AP",
        "PA", "LATERAL", and "LL", "RL" as they are), `sex` ("F", "M"), `age` (years; 90 is 90 or more).

    Raises:
        CatalogError: no table, another table, labels other than 1, 0, -1 and blank, patients in two folders, nothing
            there. ArgumentError: a policy that is none.
    """
    mentions.check_policies(uncertain=uncertain, unmentioned=unmentioned, no_finding=no_finding)
    files.choice("labels", labels, tuple(TABLES))
    files.choice("missing", missing, files.MISSING)
    files.choice("check", check, ("patients", "files"))
    root = Path(root)
    notes: list[str] = []
    table = pd.concat([parse_table(csv, notes) for csv in _tables(root, TABLES[labels])], ignore_index=True)
    table = _placed(table, root, images, check)
    table = files.kept(table, table["id"], root, missing=missing, notes=notes, looked="the folders patient*")
    mentions.counted(table[list(TARGETS)], notes)
    files.parts_against_release(notes, table, RELEASE)
    files.against_release(notes, patients=(table["patient"][table["split"] != "test"].nunique(), PATIENTS))
    policy = {"uncertain": uncertain, "unmentioned": unmentioned, "no_finding": no_finding}
    table = table.assign(**mentions.targets(table[list(TARGETS)], **policy))
    return Catalog(table, targets=TARGETS, root=root, notes=notes)


def parse_table(csv: str | Path, notes: list[str] | None = None) -> pd.DataFrame:
    """One table in our names and types, in its own order.

    Columns: `id` (the path from `train`, `valid` or `test` on, without extension), `patient`, `group`, `split`,
    `orientation`, `view`, `sex`, `age` where the table has them, and the 14 observations as float32: 1, 0, -1, NaN.
    Sentences about repaired values go to `notes`. Raises CatalogError for another table.
    """
    notes = [] if notes is None else notes
    raw = files.read_csv(csv)
    table = files.renamed(raw, COLUMNS, csv, "table of CheXpert", optional=OPTIONAL)
    parts = table.pop("listed").astype("str").str.extract(f"^{SHAPE.pattern}$")
    if parts[0].isna().any():
        row = int(parts[0].isna().to_numpy().argmax())
        raise CatalogError(
            f"{csv}: paths look like CheXpert-v1.0/train/patient00001/study1/view1_frontal.jpg; "
            f"found {raw['Path'].iloc[row]!r} in row {row}"
        )
    about = pd.DataFrame(
        {
            "id": parts[0] + "/" + parts[1] + "/" + parts[2] + "/" + parts[3],
            "patient": parts[1],
            "group": parts[1] + "/" + parts[2],
            "split": parts[0].map(FOLDERS),
        }
    )
    return pd.concat([about, _described(table, notes), mentions.read_mentions(raw, csv)], axis=1)


def _described(table: pd.DataFrame, notes: list[str]) -> pd.DataFrame:
    """The columns about the patient and the film, repaired, where the table has them."""
    columns = {name: table[name] for name in ("orientation", "view") if name in table}
    if {"orientation", "view"} <= set(columns):
        view, lateral = columns["view"], columns["orientation"] == "Lateral"
        columns["view"] = rules.as_text(view.where(view.notna() | ~lateral, "LATERAL"))
        stray = view.notna() & ~view.isin(["AP", "PA"])
        if stray.any():
            notes.append(f"views of frontal films that are neither AP nor PA, kept: {rules.some(view[stray], 3)}")
    if "sex" in table:
        columns["sex"] = files.sexes(table["sex"], notes)
    if "age" in table:
        columns["age"] = table["age"].astype(np.float64).mask(table["age"] == 0)
        if (table["age"] == 0).any():
            notes.append(f"ages of 0 in a data set of adults, now unknown: {int((table['age'] == 0).sum())}")
    return pd.DataFrame(columns, index=table.index)


def _homes(root: Path) -> list[str]:
    """The root, and what it holds of the release's folders: tables and films are in some of them."""
    inside = [name for name in files.names_in(root) if name.startswith("CheXpert") and (root / name).is_dir()]
    return ["", *inside]


def _tables(root: Path, train: str) -> Iterator[Path]:
    """The tables that are there; one of training or validation films is needed."""
    places = [*_homes(root)]
    for names in ((train,), *EVALUATED.values()):
        found = files.find(root, [f"{place}/{name}".lstrip("/") for name in names for place in places])
        if found is not None:
            yield found
        elif names == (train,):
            files.need(root, (train,))


def _placed(table: pd.DataFrame, root: Path, images: str | None, check: str) -> pd.DataFrame:
    """`path` of each film below the root: the folder its patient is in, and the end of its id; NaN where not there."""
    files.image_folder(root, images)
    homes = _patients(root, _homes(root) if images is None else [images])
    path = table["patient"].map(homes).astype(object) + table["id"].str.replace(r"^\w+/", "", regex=True) + ".jpg"
    if check == "files":
        path = path.where(files.there(root, path.fillna("").tolist()))
    return table.assign(path=path)


def _patients(root: Path, places: list[str]) -> dict[str, str]:
    """Patient -> the beginning of its films' paths below the root; "" or ending in "/".

    No patient is in two parts of the release, so that its number is enough, also in a batch without a folder `train`.
    """
    found: dict[str, str] = {}
    for place in places:
        for part in ("", *FOLDERS):
            start = "".join(f"{one}/" for one in (place, part) if one)
            for name in files.names_in(root / start):
                if re.fullmatch(r"patient\d+", name) and found.setdefault(name, start) != start:
                    raise CatalogError(
                        f"{name} is both in {found[name] or '.'} and {start or '.'} of {root}: "
                        f"say which is meant, for example images={place!r}"
                    )
    return found
