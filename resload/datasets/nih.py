"""ChestX-ray14 of the NIH Clinical Center: 112,120 frontal chest films of 30,805 patients, 14 findings.

:Citation: X. Wang et al., "ChestX-ray8: Hospital-scale Chest X-ray Database and Benchmarks", CVPR 2017.
:Licence: free to use with a link to the download and the citation (the release's README).
:Obtain: https://nihcc.app.box.com/v/ChestXray-NIHCC, or Kaggle's `nih-chest-xrays/data`.
:Layouts: images in `images/`, `images_001/images/` to `images_012/images/`, `images-224/images-224/`, or the
    root itself.

Traps, and what is done about them:

- The header's `OriginalImage[Width,Height]` and `OriginalImagePixelSpacing[x,y]` contain commas, so a CSV reader
  sees four columns (`OriginalImage[Width` and so on). The first release ends each line with another comma.
  Re-saved tables write `OriginalImageWidth`, `OriginalImagePixelSpacing_x`, `Patient Sex`, ages as `058Y`.
- The released PNGs are 1024 x 1024 whatever the film's shape was (2500 x 2048, 2992 x 2991, ...): squashed,
  not padded. A pixel of the file is therefore `spacing * original side / 1024` mm, different in y and x.
- Boxes are x, y, width, height in pixels of the 1024 px file; they spell `Infiltrate` what the labels call
  `Infiltration`; the header has three columns too many.
- The official lists came after the first papers, as `train_val_list.txt` and `test_list.txt`, in a 224 px
  mirror as `train_val_list_NIH.txt` and `test_list_NIH.txt`. They are by patient and have no validation part.
- Some images are RGBA; decoding sees to that.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import Literal

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from resload import decode
from resload.catalog import Catalog, rules
from resload.datasets import files
from resload.errors import CatalogError, DecodeError

TARGETS = (
    "Atelectasis",
    "Cardiomegaly",
    "Effusion",
    "Infiltration",
    "Mass",
    "Nodule",
    "Pneumonia",
    "Pneumothorax",
    "Consolidation",
    "Edema",
    "Emphysema",
    "Fibrosis",
    "Pleural_Thickening",
    "Hernia",
)
"""The 14 findings in the order of the paper's tables (eight of ChestX-ray8, then the six added)."""

RELEASED = 1024
"""The side of a released PNG in pixels; boxes are in these pixels."""

RELEASE = {"images": 112120, "patients": 30805}

OLDEST = 120
"""Years. The first release has ages of several hundred; ages above this one become unknown."""

ENTRIES = ("Data_Entry_2017_v2020.csv", "Data_Entry_2017.csv")
BOXES = ("BBox_List_2017.csv",)
LISTS = {
    "train": ("train_val_list.txt", "train_val_list_NIH.txt"),
    "test": ("test_list.txt", "test_list_NIH.txt"),
}

COLUMNS = {
    "image": ("Image Index",),
    "labels": ("Finding Labels",),
    "follow_up": ("Follow-up #",),
    "patient": ("Patient ID",),
    "age": ("Patient Age",),
    "sex": ("Patient Gender", "Patient Sex"),
    "view": ("View Position",),
    "original_width": ("OriginalImage[Width", "OriginalImageWidth", "OriginalImage_Width"),
    "original_height": ("Height]", "OriginalImageHeight", "OriginalImage_Height"),
    "original_spacing_x": ("OriginalImagePixelSpacing[x", "OriginalImagePixelSpacing_x"),
    "original_spacing_y": ("y]", "OriginalImagePixelSpacing_y"),
}
"""Our name -> how the table's releases and copies spell it."""


def chestxray14(
    root: str | Path,
    *,
    missing: Literal["skip", "raise"] = "skip",
    boxes: bool = True,
    images: str | None = None,
) -> Catalog:
    """The catalog of ChestX-ray14 as it lies in a folder.

    Args:
        root: the folder with `Data_Entry_2017_v2020.csv` (or `Data_Entry_2017.csv`; either may end in
            `.gz`) and the images in any layout that circulates.
        missing: films of the table whose image is not there are left out and counted in `notes`, or
            refused. None at all is always refused.
        boxes: read `BBox_List_2017.csv` if it is there.
        images: the folder below `root` to take images from, where several hold the same ones.

    Returns:
        A catalog with the 14 `TARGETS` (1.0 or 0.0) and the columns `patient` (int), `follow_up` (int),
        `age` (years; NaN above 120), `sex`, `view` ("PA" or "AP"), `original_height`, `original_width`
        (pixels of the film before release), `spacing_y`, `spacing_x` (mm per pixel of the file that is
        there), and `split` ("train" or "test") if the official lists are there. Their train part is meant
        for training *and* validation; it has to be divided by patient. Boxes are in pixels of the file.

    Raises:
        CatalogError: no table, a table of another shape, unknown labels, images missing, or found twice.
    """
    files.choice("missing", missing, files.MISSING)
    root = Path(root)
    notes: list[str] = []
    table = parse_entries(files.need(root, ENTRIES), notes)
    patients = table["patient"].nunique()
    files.against_release(notes, images=(len(table), RELEASE["images"]), patients=(patients, RELEASE["patients"]))
    where = files.listed(root, _image_folders(root, images), [".png"])
    files.unlisted(where, table["image"], notes)
    looked = "it and its folders images*"
    table = files.with_paths(
        table, table["image"], where, root / (images or ""), missing=missing, notes=notes, looked=looked
    )
    sides = _sides(root, table["path"])
    table = _spaced(table, sides)
    table = _with_official_split(table, root, notes)
    found = files.find(root, BOXES) if boxes else None
    if boxes and found is None:
        notes.append(f"no boxes: {BOXES[0]} is not in {root}")
    return Catalog(
        table.drop(columns=["image", "original_spacing_y", "original_spacing_x"]),
        targets=TARGETS,
        boxes=None if found is None else _placed(parse_boxes(found), table["id"], sides),
        root=root,
        notes=notes,
    )


def parse_entries(csv: str | Path, notes: list[str] | None = None) -> pd.DataFrame:
    """The data entry table of either release, in our names and types, in its own order.

    Columns: `id` (the image's name without extension), `image`, `patient`, `follow_up`, `age`, `sex`, `view`,
    `original_height`, `original_width`, `original_spacing_y`, `original_spacing_x` (mm per pixel of the
    film before release), and the 14 findings as float32. Sentences about repaired values go to `notes`.
    """
    # index_col=False: lines that end in a comma the header has not would else shift every column by one.
    raw = files.read_csv(csv, index_col=False, dtype=dict.fromkeys(COLUMNS["image"] + COLUMNS["labels"], str))
    table = files.renamed(raw, COLUMNS, csv, "data entry table of ChestX-ray14")
    table.insert(0, "id", table["image"].str.replace(r"\.[A-Za-z]+$", "", regex=True))
    table["age"] = files.years(table["age"], [] if notes is None else notes, oldest=OLDEST)
    return pd.concat([table.drop(columns="labels"), _findings(table["labels"], csv)], axis=1)


def parse_boxes(csv: str | Path) -> pd.DataFrame:
    """The boxes in pixels of the 1024 px file: `id`, `label` (as in TARGETS), `x`, `y`, `width`, `height`."""
    raw = files.read_csv(csv, index_col=False, header=0, usecols=range(6), names=["image", *rules.BOX_COLUMNS[1:]])
    raw.insert(0, "id", raw["image"].str.replace(r"\.[A-Za-z]+$", "", regex=True))
    raw["label"] = raw["label"].str.strip().replace("Infiltrate", "Infiltration")
    strange = sorted(set(raw["label"]) - set(TARGETS))
    if strange:
        raise CatalogError(f"{csv} has boxes of unknown findings {strange}; known: {', '.join(TARGETS)}")
    return raw.drop(columns="image")


def parse_list(path: str | Path) -> list[str]:
    """Ids of one official list: a file name in each line."""
    lines = Path(path).read_text("utf-8-sig").split()
    return [line.rpartition("/")[2].rpartition(".")[0] for line in lines]


def _findings(labels: pd.Series, csv: str | Path) -> pd.DataFrame:
    """(n, 14) float32. Labels are divided at `|`: a search for parts of words would find too much."""
    code, texts = pd.factorize(labels.fillna(""))
    known = {name: column for column, name in enumerate(TARGETS)}
    present = np.zeros((len(texts), len(TARGETS)), dtype=np.float32)
    for row, text in enumerate(texts):
        for name in (part.strip() for part in text.split("|")):
            if name in known:
                present[row, known[name]] = 1
            elif name != "No Finding":
                raise CatalogError(
                    f"{csv} has a finding {name!r} (in {text!r}); known: No Finding, {', '.join(TARGETS)}"
                )
    return pd.DataFrame(present[code], columns=list(TARGETS), index=labels.index)


def _image_folders(root: Path, images: str | None) -> Iterator[str]:
    """The folder named by the user, else the root and every folder images* below it, two levels deep."""
    files.image_folder(root, images)
    start = Path(images or "")
    yield start.as_posix()
    for pattern in ("images*", "images*/images*"):
        for folder in sorted((root / start).glob(pattern)):
            if folder.is_dir():
                yield folder.relative_to(root).as_posix()


def _sides(root: Path, paths: pd.Series) -> NDArray[np.float64]:
    """(n, 2) height and width of each file, from one header of each folder: a folder holds one size."""
    folders, names = pd.factorize(
        np.array([path.rpartition("/")[0] for path in paths.to_numpy(dtype=object)], dtype=object)
    )
    first = np.unique(folders, return_index=True)[1]
    sides = [_side(root, paths.iloc[start : start + 20]) for start in first]
    return np.array(sides, dtype=np.float64).reshape(len(names), 2)[folders]


def _side(root: Path, paths: pd.Series) -> tuple[int, int]:
    """The size of the first file that can be read, or of the release where none can."""
    for path in paths:
        try:
            header = decode.read_header(root / path)
        except DecodeError:
            continue
        return header.height, header.width
    return RELEASED, RELEASED


def _spaced(table: pd.DataFrame, sides: NDArray[np.float64]) -> pd.DataFrame:
    """Spacing in mm per pixel of the file: the film's width in mm is the same, its number of pixels is another."""
    return table.assign(
        spacing_y=table["original_spacing_y"] * table["original_height"] / sides[:, 0],
        spacing_x=table["original_spacing_x"] * table["original_width"] / sides[:, 1],
    )


def _with_official_split(table: pd.DataFrame, root: Path, notes: list[str]) -> pd.DataFrame:
    """The column `split` by the official lists, if they are there; films on no list have none."""
    paths = {split: files.find(root, names) for split, names in LISTS.items()}
    lists = {split: parse_list(path) for split, path in paths.items() if path is not None}
    both = set(lists.get("train", ())) & set(lists.get("test", ()))
    if both:
        raise CatalogError(f"films in the train and in the test list of {root}: {rules.some(sorted(both))}")
    absent = [LISTS[name][0] for name in LISTS if name not in lists]
    if absent:
        notes.append(f"no official list {' and '.join(absent)} in {root}; catalog.split makes a split")
    if not lists:
        return table
    split = {id_: name for name, ids in lists.items() for id_ in ids}
    column = rules.as_text(table["id"].map(split))
    if column.isna().any():
        rules.say(notes, f"{int(column.isna().sum())} of {len(table)} films are in no official list")
    return table.assign(split=column)


def _placed(boxes: pd.DataFrame, ids: pd.Series, sides: NDArray[np.float64]) -> pd.DataFrame:
    """The boxes of these films, in pixels of their files."""
    boxes = boxes[rules.among(boxes["id"], ids)]
    scale = sides[pd.Index(ids).get_indexer(boxes["id"])] / RELEASED
    return boxes.assign(
        x=boxes["x"] * scale[:, 1],
        y=boxes["y"] * scale[:, 0],
        width=boxes["width"] * scale[:, 1],
        height=boxes["height"] * scale[:, 0],
    )
