"""VinDr-Mammo: 5,000 mammography exams of four views, 20,000 images, from two hospitals in Hanoi.

:Citation: H. T. Nguyen et al., "VinDr-Mammo: A large-scale benchmark dataset for computer-aided diagnosis in full-field
    digital mammography", Sci Data 2023;10:277.
:Licence: PhysioNet Restricted Health Data License 1.5.0, after signing its agreement.
:Obtain: https://physionet.org/content/vindr-mammo/1.0.0/.
:Layouts: the tables in the root, `images/<study_id>/<image_id>.dicom` as released; the images may end in `.dcm`.

Traps, and what is done about them:

- `breast_birads` and `breast_density` are of a breast: both views of it have the same. They are spelled `BI-RADS 4`
  and `DENSITY C`, and are ordinal: 4 and 3.
- `finding_annotations.csv` has a row for each finding, `No Finding` without a box for the other images; its categories
  are a *list as text* (`['Mass', 'Skin Thickening']`), read as such and not searched for parts of words: `Asymmetry` is
  also in `Focal Asymmetry`. Only findings that are not benign were marked: 0 means none of those.
- Boxes are xmin, ymin, xmax, ymax in pixels of the file, some a little outside of it: they are cut and counted.
- The split is spelled `training` and `test`. There is no part for validation: `catalog.split(..., within=)` makes one.
- There is no patient number. An exam is taken for a patient, as the official split takes it.
- Manufacturers differ, and with them the pixels: they and the ages come from `metadata.csv`, if it is there.
"""

import ast
from pathlib import Path
from typing import Literal

import numpy as np
import pandas as pd

from resload.catalog import Catalog, rules
from resload.datasets import files
from resload.errors import CatalogError

FINDINGS = (
    "Mass",
    "Suspicious Calcification",
    "Asymmetry",
    "Focal Asymmetry",
    "Global Asymmetry",
    "Architectural Distortion",
    "Skin Thickening",
    "Skin Retraction",
    "Nipple Retraction",
    "Suspicious Lymph Node",
)
"""The categories of findings, in the order of the paper's table."""

TARGETS = ("suspicious", "birads", "density", *FINDINGS)
"""Columns that may be learned: `suspicious` is BI-RADS 4 or 5."""

IMAGES = ("breast-level_annotations.csv", "breast_level_annotations.csv")
BOXES = ("finding_annotations.csv",)
METADATA = ("metadata.csv",)
GRADES = [(number, str(number)) for number in range(1, 6)] + list(enumerate("ABCD", start=1))
SPLITS = {"training": "train", "test": "test"}
OLDEST = 120

COLUMNS = {
    name: (name,)
    for name in ("study_id", "series_id", "image_id", "laterality", "view_position", "height", "width", "breast_birads")
} | {"breast_density": ("breast_density",), "split": ("split",)}
FINDING_COLUMNS = {
    name: (name,) for name in ("image_id", "finding_categories", "finding_birads", "xmin", "ymin", "xmax", "ymax")
}
SEEN_COLUMNS = {
    "image_id": ("SOP Instance UID", "SOPInstanceUID", "image_id"),
    "age": ("Patient's Age", "PatientAge", "Patient Age"),
    "manufacturer": ("Manufacturer",),
    "model": ("Manufacturer's Model Name", "ManufacturerModelName"),
}


def vindr_mammo(
    root: str | Path,
    *,
    targets: tuple[str, ...] = ("suspicious",),
    boxes: bool = True,
    missing: Literal["skip", "raise"] = "skip",
    images: str = "images",
) -> Catalog:
    """The catalog of VinDr-Mammo as it lies in a folder.

    Args:
        root: the folder with `breast-level_annotations.csv`.
        targets: which of `TARGETS` are to be learned: `suspicious` (1.0 for BI-RADS 4 and 5, 0.0 for 1 to 3), `birads`
            (1 to 5) and `density` (1 for A to 4 for D) of the breast, and the ten categories of findings (1.0 or 0.0,
            of the image). All are columns of the table in any case.
        boxes: take the boxes of findings; one of several categories becomes a box of each.
        missing: images of the table whose file is not there are left out and counted in `notes`, or refused.
        images: the folder below `root` with a folder for each exam.

    Returns:
        A catalog with `patient` and `group` (the exam, text), `slot` ("L-CC", "L-MLO", "R-CC", "R-MLO"), `laterality`,
        `view`, `split` ("train" or "test"), `height` and `width` (pixels of the file), and, where `metadata.csv` is
        there, `age` (years), `manufacturer` and `model`. Boxes have another column, `birads`, of the finding. Findings
        are unknown (NaN) for images that are not in `finding_annotations.csv`, and for all if it is not there.

    Raises:
        ArgumentError: an unknown policy or target.
        CatalogError: no table, another table, values or categories of unknown spelling, images missing.
    """
    files.choice("missing", missing, files.MISSING)
    for name in targets:
        files.choice("each of targets", name, TARGETS)
    root = Path(root)
    notes: list[str] = []
    table = parse_images(files.need(root, IMAGES), notes)
    files.against_release(notes, images=(len(table), 20_000), exams=(table["group"].nunique(), 5_000))
    files.image_folder(root, images)
    where = files.by_stem(files.walked(root, [images], [".dicom", ".dcm"]))
    looked = f"{images}/<study_id>"
    table = files.with_paths(table, table["id"], where, root, missing=missing, notes=notes, looked=looked)
    files.unlisted(where, table["id"], notes)
    findings = _findings(root, notes)
    table = _with_findings(table, findings)
    placed = None if findings is None or not boxes else _boxes(findings, table, notes)
    return Catalog(_with_metadata(table, root, notes), targets=targets, boxes=placed, root=root, notes=notes)


def parse_images(csv: str | Path, notes: list[str]) -> pd.DataFrame:
    """The table of breasts in our names, a row for each image in its own order; rows that are there twice count once.

    Columns: `id` (image_id), `patient` and `group` (study_id), `slot`, `laterality`, `view`, `split`, `height` and
    `width`, and `birads` (1 to 5), `density` (1 to 4) and `suspicious`, as float32 with NaN where nothing is said.
    """
    raw = files.read_csv(csv, dtype=str).rename(
        columns=lambda name: str(name).strip().replace("positition", "position")
    )
    table = files.renamed(raw, COLUMNS, csv, "table of breasts of VinDr-Mammo")
    repeated = table.duplicated()
    if repeated.any():
        rules.say(notes, f"rows of {Path(csv).name} that say the same again, left out: {int(repeated.sum())}")
        table = table[~repeated]
    side, view = (table[name].str.strip().str.upper() for name in ("laterality", "view_position"))
    files.known(side, ("L", "R"), csv, "laterality")
    files.known(view, ("CC", "MLO"), csv, "view_position")
    files.known(table["split"], tuple(SPLITS), csv, "split")
    birads = _graded(table["breast_birads"], r"BI-?RADS\s*([1-5])", csv, "breast_birads")
    density = _graded(table["breast_density"], r"DENSITY\s*([A-D])", csv, "breast_density")
    return pd.DataFrame(
        {
            "id": table["image_id"],
            "patient": table["study_id"],
            "group": table["study_id"],
            "slot": side + "-" + view,
            "laterality": side,
            "view": view,
            "split": table["split"].map(SPLITS),
            "height": files.numbered(table["height"], csv, "height"),
            "width": files.numbered(table["width"], csv, "width"),
            "birads": birads,
            "density": density,
            "suspicious": (birads >= 4).astype(np.float32).where(birads.notna()),
        }
    )


def parse_categories(texts: pd.Series, csv: str | Path) -> pd.Series:
    """Lists of findings from their texts, `["No Finding"]` as an empty one; no code in them is run.

    Raises CatalogError for a text that is no list, or a category that is none of FINDINGS.
    """
    found = {}
    for text in texts.unique():
        try:
            names = ast.literal_eval(str(text).strip())
        except (ValueError, SyntaxError, MemoryError, RecursionError):
            names = None
        if not isinstance(names, list) or not names or not set(map(str, names)) <= {*FINDINGS, "No Finding"}:
            raise CatalogError(
                f"{csv}: finding_categories is a list of {', '.join(FINDINGS)}, or No Finding; found {text!r}"
            )
        found[text] = [name for name in FINDINGS if name in names]
    return texts.map(found)


def _graded(column: pd.Series, pattern: str, csv: str | Path, name: str) -> pd.Series:
    """The grade in texts such as `BI-RADS 4` or `DENSITY C`, as float32 from 1; another spelling is refused."""
    plain = column.str.strip().str.upper()
    strange = column.notna() & ~plain.str.fullmatch(pattern).fillna(False).astype(bool)
    if strange.any():
        found = rules.some(column[strange].unique())
        raise CatalogError(f"{csv}: {name} is spelled as BI-RADS 1 to 5, DENSITY A to D; found {found}")
    return plain.str[-1].map({grade: number for number, grade in GRADES}).astype(np.float32)


def _findings(root: Path, notes: list[str]) -> pd.DataFrame | None:
    """The table of findings, with `names` (a list) for the text; None where the file is not there."""
    csv = files.find(root, BOXES)
    if csv is None:
        notes.append(f"no findings and no boxes: {BOXES[0]} is not in {root}")
        return None
    raw = files.read_csv(csv, dtype=dict.fromkeys(("image_id", "finding_categories", "finding_birads"), str))
    found = files.renamed(raw, FINDING_COLUMNS, csv, "table of findings of VinDr-Mammo")
    found["names"] = parse_categories(found["finding_categories"], csv)
    for name in ("xmin", "ymin", "xmax", "ymax"):
        found[name] = files.numbered(found[name], csv, name)
    found["birads"] = _graded(found["finding_birads"], r"BI-?RADS\s*([1-5])", csv, "finding_birads")
    return found


def _with_findings(table: pd.DataFrame, findings: pd.DataFrame | None) -> pd.DataFrame:
    """A column for each category: 1.0 where an image has one such finding, 0.0 where it has others or none."""
    if findings is None:
        return table.assign(**dict.fromkeys(FINDINGS, np.float32(np.nan)))
    present = {name: findings["names"].map(lambda names, name=name: name in names) for name in FINDINGS}
    by_image = pd.DataFrame(present).groupby(findings["image_id"]).any().astype(np.float32)
    return table.join(by_image, on="id")


def _boxes(findings: pd.DataFrame, table: pd.DataFrame, notes: list[str]) -> pd.DataFrame:
    """A box for each category of each finding of these images, cut at the borders of the file."""
    found = findings[rules.among(findings["image_id"], table["id"])].explode("names").dropna(subset=["names"])
    sides = table.set_index("id").loc[found["image_id"], ["width", "height"]].to_numpy()
    corners = found[["xmin", "ymin", "xmax", "ymax"]].to_numpy()
    inside = np.clip(corners, 0, np.concatenate([sides, sides], axis=1))
    cut = int((np.abs(inside - corners) > 0).any(axis=1).sum())  # a corner that is missing is not beyond anything
    if cut:
        notes.append(f"boxes that reached beyond their file, cut at its border: {cut}")
    whole = (inside[:, 2:] > inside[:, :2]).all(axis=1)
    if not whole.all():
        rules.say(notes, f"findings whose box has no area, left out: {int((~whole).sum())}")
    placed = pd.DataFrame({"id": found["image_id"].to_numpy(), "label": found["names"].to_numpy()})
    placed["x"], placed["y"] = inside[:, 0], inside[:, 1]
    placed["width"], placed["height"] = (inside[:, 2:] - inside[:, :2]).T
    placed["birads"] = found["birads"].to_numpy()
    kept: pd.DataFrame = placed[whole]
    return kept


def _with_metadata(table: pd.DataFrame, root: Path, notes: list[str]) -> pd.DataFrame:
    """Age, manufacturer and model, where the table of headers is there."""
    csv = files.find(root, METADATA)
    if csv is None:
        notes.append(f"no ages and manufacturers: {METADATA[0]} is not in {root}")
        return table
    raw = files.read_csv(csv, dtype=str)
    optional = [name for name in SEEN_COLUMNS if name != "image_id"]
    seen = files.renamed(raw, SEEN_COLUMNS, csv, "table of headers of VinDr-Mammo", optional=optional)
    seen = seen.drop_duplicates("image_id").set_index("image_id")
    if "age" in seen:
        seen["age"] = files.years(seen["age"], notes, oldest=OLDEST)
    return table.join(seen, on="id")
