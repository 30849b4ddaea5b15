"""CBIS-DDSM: 3,103 digitised screen-film mammograms of 1,566 patients, with 3,568 abnormalities proven by pathology.

:Citation: R. S. Lee et al., "A curated mammography data set for use in computer-aided detection and diagnosis
    research", Sci Data 2017;4:170177.
:Licence: CC BY 3.0.
:Obtain: https://www.cancerimagingarchive.net/collection/cbis-ddsm/ (163.6 GB), and the four CSVs from the same page;
    or, as JPEG of 8 bits, Kaggle's `awsaf49/cbis-ddsm-breast-cancer-image-dataset`.
:Layouts: the CSVs in the root or in `csv/`. The DICOM files anywhere below, in folders named as in the CSV's paths
    (`Mass-Training_P_00001_LEFT_CC/`), whatever lies between: series UIDs (`.../1-1.dcm`), descriptions
    (`.../1.000000-full mammogram images-24515/`), or the CSV's own paths. Kaggle's `jpeg/<series UID>/`.

Traps, and what is done about them:

- DICOM's PatientID is the name of a series, `Mass-Training_P_01009_RIGHT_CC_1` (6,671 of them). Patient: `P_01009`.
- The tables have a row for each abnormality, the catalog one for each film: a film's pathology is united by a policy.
- Mass and calcification tables spell `breast_density` and `breast density`; paths end in line feeds.
- A patient may be in both tables, and in both parts of the official split: it is said how many are.
- Mask and crop of an abnormality lie in one folder, in either order. The mask is the one that has its film's size, or
  the larger one where neither has.
- Some masks have another aspect than their film (fjeg/ddsm_tools#5: 4386 x 1789 for a film of 5041 x 2056). Where they
  lie is not known: the film keeps no mask of that kind, since a part of its abnormalities is not all of them.
"""

import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pandas as pd

from resload.catalog import Catalog, reading, rules
from resload.datasets import files
from resload.errors import CatalogError
from resload.masks.read import same_shape

TARGETS = ("malignant",)

PATHOLOGY = ("any", "agree")
"""What becomes of films whose abnormalities differ: malignant if one is, or unknown."""

WITHOUT_CALLBACK = ("benign", "unknown")
"""What BENIGN_WITHOUT_CALLBACK counts as: the film showed it to be benign, and no further test was made."""

SETS = [(kind, split) for kind in ("mass", "calc") for split in ("train", "test")]
SIDES = {"LEFT": "L", "RIGHT": "R"}
TYPES = ("mass", "calcification")
MEANING = {"MALIGNANT": 1.0, "BENIGN": 0.0, "BENIGN_WITHOUT_CALLBACK": 0.0}

COLUMNS = {
    "patient": ("patient_id",),
    "density": ("breast_density", "breast density"),
    "side": ("left or right breast",),
    "view": ("image view",),
    "type": ("abnormality type",),
    "mass_shape": ("mass shape",),
    "mass_margins": ("mass margins",),
    "calc_type": ("calc type",),
    "calc_distribution": ("calc distribution",),
    "assessment": ("assessment",),
    "pathology": ("pathology",),
    "subtlety": ("subtlety",),
    "film_path": ("image file path",),
    "crop_path": ("cropped image file path",),
    "mask_path": ("ROI mask file path",),
}
"""Our name -> how the tables spell it."""

DESCRIPTIONS = ("mass_shape", "mass_margins", "calc_type", "calc_distribution")
RANGES = {"density": (1, 4), "assessment": (0, 5), "subtlety": (1, 5)}
"""Smallest and largest grade that the data set's paper knows."""

Disk = Mapping[str, list[str]]
"""Name of a folder -> the pictures somewhere below it, as paths below the root."""


def cbis_ddsm(
    root: str | Path,
    *,
    pathology: Literal["any", "agree"] = "any",
    without_callback: Literal["benign", "unknown"] = "benign",
    masks: bool = True,
    missing: Literal["skip", "raise"] = "skip",
) -> Catalog:
    """The catalog of CBIS-DDSM as it lies in a folder, one row for each film.

    Args:
        root: the folder with `mass_case_description_train_set.csv` and the other three (those that are there are
            read), and the images below it.
        pathology: "any" makes a film malignant if one of its abnormalities is; "agree" makes films unknown (NaN) whose
            abnormalities differ.
        without_callback: whether BENIGN_WITHOUT_CALLBACK counts as "benign" (0.0) or "unknown" (NaN).
        masks: take the masks of abnormalities, labels `mass` and `calcification`. Reads the headers of all files.
        missing: films of the tables whose file is not there are left out and counted in `notes`, or refused.

    Returns:
        A catalog with the target `malignant`, `patient` and `group` ("P_00001"), `slot` ("L-CC", "L-MLO", "R-CC",
        "R-MLO"), `laterality`, `view`, `split` ("train" or "test", the official one), `abnormalities` (how many),
        `types` ("mass" or "calcification"), `assessment` (BI-RADS, the highest), `subtlety` (1 is subtle, 5 obvious;
        the least), `density` (1 to 4), `mass_shape`, `mass_margins`, `calc_type` and `calc_distribution` (texts, those
        of several abnormalities with a bar between). Grades are float with NaN where they are unknown. Films have 16
        bits and no spacing. A film that is in both tables is there twice, as the release has it.

    Raises:
        ArgumentError: an unknown policy.
        CatalogError: no tables, tables of another shape, values of unknown spelling, images missing.
    """
    for name, value, allowed in (
        ("missing", missing, files.MISSING),
        ("pathology", pathology, PATHOLOGY),
        ("without_callback", without_callback, WITHOUT_CALLBACK),
    ):
        files.choice(name, value, allowed)
    root = Path(root)
    notes: list[str] = []
    found = _abnormalities(root, notes)
    meaning = MEANING | {"BENIGN_WITHOUT_CALLBACK": 0.0 if without_callback == "benign" else np.nan}
    table = _films(found.assign(malignant=found["pathology"].map(meaning)), pathology, notes)
    _look_at_patients(table, notes)
    files.against_release(
        notes,
        films=(len(table), 3103),
        abnormalities=(len(found), 3568),
        patients=(table["patient"].nunique(), 1566),
    )
    disk = _disk(root)
    table["path"] = [_film_path(disk, name, uid) for name, uid in zip(table["id"], table.pop("uid"), strict=True)]
    several = [name for name in table.loc[table["path"].isna(), "id"] if len(disk.get(name, ())) > 1]
    if several:
        rules.say(notes, f"films whose folder holds several pictures, so that nobody knows: {rules.some(several, 3)}")
    looked = "its folders by the names and series of the tables"
    table = files.kept(table, table["id"], root, missing=missing, notes=notes, looked=looked)
    placed = _masks(found[rules.among(found["film"], table["id"])], table, disk, root, notes) if masks else None
    return Catalog(table, targets=TARGETS, masks=placed, root=root, notes=notes)


def _abnormalities(root: Path, notes: list[str]) -> pd.DataFrame:
    """The rows of all tables that are there, one for each abnormality."""
    names = {(kind, split): f"{kind}_case_description_{split}_set.csv" for kind, split in SETS}
    there = {one: files.find(root, [name, f"csv/{name}"]) for one, name in names.items()}
    absent = [names[one] for one, csv in there.items() if csv is None]
    if len(absent) == len(SETS):
        files.need(root, [names[one] for one in SETS])
    if absent:
        notes.append(f"tables that are not in {root}, with all their films: {', '.join(absent)}")
    parts = [parse_table(csv, notes).assign(split=split) for (_, split), csv in there.items() if csv is not None]
    return pd.concat(parts, ignore_index=True)


def parse_table(csv: str | Path, notes: list[str]) -> pd.DataFrame:
    """One of the four tables in our names, a row for each abnormality; sentences about repaired values go to `notes`.

    Columns: those of COLUMNS, `film` (the folder of its film, "Mass-Training_P_00001_LEFT_CC"), `roi` (that of its
    mask), `uid` (series of the film) and `uids` (series of mask and crop).
    """
    raw = files.read_csv(csv, dtype=str)
    table = files.renamed(raw, COLUMNS, csv, "table of abnormalities of CBIS-DDSM", optional=DESCRIPTIONS)
    table = table.apply(lambda column: column.str.strip(' \t\r\n"')).reindex(columns=list(COLUMNS))
    files.known(table["side"], SIDES, csv, "left or right breast")
    files.known(table["view"], ("CC", "MLO"), csv, "image view")
    files.known(table["type"], TYPES, csv, "abnormality type")
    files.known(table["pathology"], MEANING, csv, "pathology")
    for name, (least, most) in RANGES.items():
        grade = pd.Series(files.numbered(table[name], csv, name), index=table.index)
        table[name] = grade.where(grade.between(least, most))
        lost = int((table[name].isna() & grade.notna()).sum())
        if lost:
            notes.append(f"{Path(csv).name}: {name} that is not {least} to {most}, now unknown: {lost}")
    parts = {name: table[f"{name}_path"].fillna("").str.split("/") for name in ("film", "mask", "crop")}
    series = {name: part.str[-2].fillna("") for name, part in parts.items()}
    table = table.assign(film=parts["film"].str[0], roi=parts["mask"].str[0], uid=series["film"])
    table["uids"] = list(zip(series["mask"], series["crop"], strict=True))
    named = table["patient"] + "_" + table["side"] + "_" + table["view"]
    strange = ~table["film"].str.replace(r"^(Mass|Calc)-(Training|Test)_", "", regex=True).eq(named)
    if strange.any():
        raise CatalogError(
            f"{csv}: the path of an image begins with its set, patient, side and view, as in "
            f"Mass-Training_P_00001_LEFT_CC; {int(strange.sum())} do not: {rules.some(table.loc[strange, 'film'], 3)}"
        )
    described: pd.DataFrame = table
    return described


def _films(found: pd.DataFrame, pathology: str, notes: list[str]) -> pd.DataFrame:
    """One row for each film, of the rows of its abnormalities."""
    by_film = found.groupby("film", sort=False)
    worst, best = by_film["malignant"].max(), by_film["malignant"].min()
    unsure = found["malignant"].isna().groupby(found["film"]).any().reindex(worst.index)
    differ = worst > best
    if differ.any():
        become = "malignant" if pathology == "any" else "unknown"
        notes.append(f"films with a malignant and another abnormality, now {become}: {int(differ.sum())}")
    table = by_film[["patient", "side", "view", "split", "density", "uid"]].first()
    # One malignant abnormality decides whatever the others are; a benign one beside an unknown one does not.
    table["malignant"] = worst.mask(unsure & (worst != 1) if pathology == "any" else unsure | differ)
    table["abnormalities"] = by_film.size()
    table["types"] = by_film["type"].agg(_joined)
    table["assessment"], table["subtlety"] = by_film["assessment"].max(), by_film["subtlety"].min()
    for name in DESCRIPTIONS:
        table[name] = by_film[name].agg(_joined)
    side = table.pop("side").map(SIDES)
    return table.assign(group=table["patient"], slot=side + "-" + table["view"], laterality=side).reset_index(
        names="id"
    )


def _joined(texts: pd.Series) -> Any:
    """Different texts with a bar between, NaN for none."""
    return "|".join(sorted(set(texts.dropna()))) or np.nan


def _look_at_patients(table: pd.DataFrame, notes: list[str]) -> None:
    """Say which patients are in both parts of the split, and how many are in both tables."""
    parts = table.groupby("patient")["split"].nunique()
    both = parts.index[parts > 1]
    if len(both):
        rules.say(
            notes,
            f"patients with films in train and in test, which leak: {rules.some(both)}; "
            "catalog.split(..., by='patient') makes a split without them",
        )
    kinds = table["types"].str.contains("mass").groupby(table["patient"]).nunique()
    if (kinds > 1).any():
        notes.append(f"patients in the tables of masses and of calcifications: {int((kinds > 1).sum())}")


def _disk(root: Path) -> Disk:
    """All pictures below the root, by the folder they lie in and by the folder that is named as a film or a mask is."""
    found: dict[str, list[str]] = {}
    for folder, folders, names in os.walk(root):
        folders.sort()  # in place: it is walked in this order
        below = Path(folder).relative_to(root)
        keys = {part for part in below.parts if re.match(r"(Mass|Calc)-(Training|Test)_P_\d+_", part)} | {below.name}
        for name in sorted(names) if below.name else ():
            if name.lower().endswith((".dcm", ".jpg", ".jpeg", ".png")) and not name.startswith("."):
                for key in keys:
                    found.setdefault(key, []).append((below / name).as_posix())
    return found


def _film_path(disk: Disk, name: str, uid: str) -> str | None:
    """The picture of a film: the only one in its folder, or in that of its series; None where there is not one."""
    for key in (name, uid):
        paths = disk.get(key, [])
        if len(paths) == 1:
            return paths[0]
    return None


def _masks(found: pd.DataFrame, table: pd.DataFrame, disk: Disk, root: Path, notes: list[str]) -> pd.DataFrame | None:
    """The masks of all abnormalities of these films; those of films where one of a kind is not known are left out."""
    pictures = [_pictures_of(disk, roi, uids) for roi, uids in zip(found["roi"], found["uids"], strict=True)]
    films = dict(zip(table["id"], table["path"], strict=True))
    sizes = _sizes(root, sorted({*films.values(), *(path for paths in pictures for path in paths)}))
    rows = [
        (film, label, *mask_among({path: sizes[path] for path in paths if path in sizes}, sizes.get(films[film])))
        for film, label, paths in zip(found["film"], found["type"], pictures, strict=True)
    ]
    masks = pd.DataFrame(rows, columns=["id", "label", "path", "why"])
    for why, count in masks["why"].value_counts().items():
        notes.append(f"abnormalities {why}, their films are left without masks of that kind: {count}")
    lost = masks["path"].isna().groupby([masks["id"], masks["label"]]).transform("any")
    return None if lost.all() else masks.loc[~lost, ["id", "label", "path"]]


def _pictures_of(disk: Disk, roi: str, uids: tuple[str, str]) -> list[str]:
    """The pictures of one abnormality: in its folder, else in those of the series of its mask and its crop."""
    return disk.get(roi) or sorted({path for uid in uids for path in disk.get(uid, [])})


def _sizes(root: Path, paths: list[str]) -> dict[str, tuple[int, int]]:
    """(height, width) of the files whose header can be read."""
    headers = reading.headers([root / path for path in paths], threads=None, progress=False)
    known = headers["height"].notna().to_numpy()
    sides = headers[["height", "width"]].fillna(0).astype(np.int64).itertuples(index=False, name=None)
    return {path: size for path, size, one in zip(paths, sides, known, strict=True) if one}


def mask_among(pictures: Mapping[str, tuple[int, int]], film: tuple[int, int] | None) -> tuple[str | None, str | None]:
    """Which of an abnormality's pictures is its mask, and which its crop, by their (height, width): (path, why not).

    The mask has its film's size; where none has, it is the larger of several, if it has the film's shape. One picture
    alone of another size may be the crop.
    """
    if film is None or not pictures:
        return None, "without a picture of their mask" if film is not None else "of a film that cannot be read"
    same = [path for path, size in pictures.items() if size == film]
    if len(same) == 1:
        return same[0], None
    largest = sorted(pictures, key=lambda path: pictures[path][0] * pictures[path][1])[-2:]
    if same or len(largest) < 2 or pictures[largest[0]] == pictures[largest[1]]:
        return None, "whose mask cannot be told from their crop"
    if not same_shape(pictures[largest[1]], film):
        return None, "whose mask has another aspect than the film"
    return largest[1], None
