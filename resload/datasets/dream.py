"""DREAM Digital Mammography: screening exams of four views, with the cancers found within a year, by breast.

More than 86,000 women and 640,000 mammograms of Kaiser Permanente Washington (Group Health) for the challenge of 2016.

:Citation: T. Schaffter et al., "Evaluation of combined artificial intelligence and radiologist assessment to interpret
    screening mammograms", JAMA Netw Open 2020;3(3):e200265.
:Licence: that of the challenge, https://www.synapse.org/#!Synapse:syn4224222.
:Obtain: **the pixels are not public.** Models were sent to the data, in containers that saw `/trainingData` and
    `/metadata`; a pilot set of 500 images of 58 women went to the participants. This adapter reads those layouts, and
    has been tried on a miniature of them only.
:Layouts: `exams_metadata.tsv` and `images_crosswalk.tsv` (or `*_pilot_20160906.tsv`) in the root or in `metadata/`;
    images in `trainingData/`, `pilot_images/` or the root, as `.dcm`, or as `.png` of the same name, which the
    challenge's own preprocessing (tschaffter/dm-docker) wrote.

Traps, and what is done about them:

- What is known is in one table (a row for each exam), the images are in the other: they belong together by `subjectId`
  **and** `examIndex`; joined by the woman alone, each image would get the results of all her exams.
- `cancerL` and `cancerR` are of breasts: an image gets that of its own side, not "cancer in this exam".
- `.` is a breast that was not imaged, `*` a result that was withheld. Both are unknown (NaN); public code makes 0 of
  the first, which is a negative that nobody observed.
- Exams have more than four images, and views beside CC and MLO: they keep their own names as slots.
- A woman comes back: her exams are one `patient`, and `split` keeps them together.
"""

from pathlib import Path
from typing import Literal

import numpy as np
import pandas as pd

from resload.catalog import Catalog, rules
from resload.datasets import files
from resload.errors import CatalogError

EXAM = ["subjectId", "examIndex"]
"""What an exam is known by, in both tables."""

TARGETS = {"cancer": ("cancerL", "cancerR"), "invasive": ("invL", "invR")}
"""Targets, and the columns of the exam for a left and a right breast."""

CLINICAL = (
    "daysSincePreviousExam",
    "age",
    "implantEver",
    "implantNow",
    "bcHistory",
    "yearsSincePreviousBc",
    "previousBcLaterality",
    "reduxHistory",
    "reduxLaterality",
    "hrt",
    "antiestrogen",
    "firstDegreeWithBc",
    "firstDegreeWithBc50",
    "bmi",
    "race",
)
"""Columns about the woman, under the names of the challenge's data dictionary; kept where they are there."""

FOLDERS = ("trainingData", "pilot_images", ".")
"""Where images are: in the first of these that is there."""

UNKNOWN = (".", "*", "", "NA")
"""How the tables write a breast that was not imaged (or a question that does not arise), a withheld result, nothing."""

SLOTS = ("L-CC", "L-MLO", "R-CC", "R-MLO")


def dream_dm(
    root: str | Path,
    *,
    targets: tuple[str, ...] = ("cancer",),
    missing: Literal["skip", "raise"] = "skip",
    images: str | None = None,
) -> Catalog:
    """The catalog of DREAM Digital Mammography as it lies in a folder.

    Args:
        root: the folder with the two tables, or with `metadata/` and `trainingData/`.
        targets: "cancer", or with "invasive" (columns invL and invR) as well.
        missing: images of the table whose file is not there are left out and counted in `notes`, or refused.
        images: the folder below `root` to take images from.

    Returns:
        A catalog of images with targets of *their breast* (1.0, 0.0, NaN where it is unknown), `patient` (subjectId,
        text), `group` (the exam, "subjectId/examIndex"), `slot` ("L-CC", "L-MLO", "R-CC", "R-MLO", or another view's
        name), `laterality` ("L" or "R"), `view`, `exam_index` (int), and the columns of `CLINICAL` that the table has
        (float, NaN for `.` and `*`). Rows stand in the order of exams. There is no official split.

    Raises:
        ArgumentError: an unknown policy or target.
        CatalogError: no tables, tables of another shape, exams twice, sides or results of unknown spelling, no images.
    """
    files.choice("missing", missing, files.MISSING)
    for name in targets:
        files.choice("each of targets", name, tuple(TARGETS))
    root = Path(root)
    files.image_folder(root, images)
    notes: list[str] = []
    exams = _exams(_table(root, "exams_metadata"), targets, notes)
    table = _images(_table(root, "images_crosswalk"), notes)
    folder = images or next(name for name in FOLDERS if (root / name).is_dir())
    where = files.by_stem(files.listed(root, [folder], [".dcm", ".png"]))
    table = files.with_paths(table, table["id"], where, root, missing=missing, notes=notes, looked=folder)
    files.unlisted(where, table["id"], notes)
    table = _joined(table, exams, targets, notes)
    _look_at_slots(table, notes)
    return Catalog(table, targets=targets, root=root, notes=notes)


def _table(root: Path, name: str) -> Path:
    """The table of this name, of the challenge or of its pilot."""
    found = [path for home in (root / "metadata", root) for path in sorted(home.glob(f"{name}*.tsv"))]
    if len(found) > 1:
        raise CatalogError(f"{root} has several tables {name}: {rules.some(found)}. Keep the one that is meant")
    return found[0] if found else files.need(root, [f"{name}.tsv"])


def _exams(tsv: Path, targets: tuple[str, ...], notes: list[str]) -> pd.DataFrame:
    """One row for each exam: EXAM, the targets' columns and the clinical ones, as numbers."""
    raw = files.read_csv(tsv, sep="\t", dtype=str, keep_default_na=False)
    sides = [side for name in targets for side in TARGETS[name]]
    wanted = {name: (name,) for name in (*EXAM, *sides, *CLINICAL)}
    exams = files.renamed(raw, wanted, tsv, "table of exams of DREAM Digital Mammography", optional=CLINICAL)
    exams = pd.DataFrame({name: column.str.strip() for name, column in exams.items()})
    repeated = exams.duplicated(EXAM)
    if repeated.any():
        first = "/".join(exams.loc[repeated, EXAM].iloc[0])
        raise CatalogError(f"{tsv} has exams twice, the first: {first} (subjectId/examIndex)")
    withheld = int((exams[sides] == "*").to_numpy().sum())
    if withheld:
        notes.append(f"results of a breast that were withheld (*), now unknown: {withheld}")
    for name in exams.columns.difference(EXAM):
        exams[name] = files.numbered(exams[name].mask(exams[name].isin(UNKNOWN)), tsv, name)
    for name in sides:
        if not exams[name].dropna().isin([0, 1]).all():
            raise CatalogError(f"{tsv}: {name} is 0, 1, . or *; found {rules.some(exams[name].dropna().unique())}")
    return exams


def _images(tsv: Path, notes: list[str]) -> pd.DataFrame:
    """One row for each image: `id`, EXAM, `laterality`, `view`, in the order of exams."""
    wanted = {name: (name,) for name in (*EXAM, "imageIndex", "view", "laterality", "filename")}
    raw = files.read_csv(tsv, sep="\t", dtype=str, keep_default_na=False)
    table = files.renamed(raw, wanted, tsv, "crosswalk of images of DREAM Digital Mammography", optional=["imageIndex"])
    table = pd.DataFrame({name: column.str.strip() for name, column in table.items()})
    repeated = table.duplicated()
    if repeated.any():
        rules.say(notes, f"rows of {tsv.name} that say the same again, left out: {int(repeated.sum())}")
        table = table[~repeated]
    table = table.assign(
        id=table["filename"].str.replace(r"\.(dcm|png)(\.gz)?$", "", regex=True),
        laterality=table["laterality"].str.upper(),
        view=table["view"].str.upper(),
        exam_index=files.numbered(table["examIndex"], tsv, "examIndex").astype(np.int64),
    )
    strange = ~table["laterality"].isin(["L", "R"])
    if strange.any():
        found = rules.some(table.loc[strange, "laterality"].unique())
        raise CatalogError(f"{tsv}: laterality is L or R; found {found}")
    ordered: pd.DataFrame = table.sort_values(["subjectId", "exam_index"], kind="stable", ignore_index=True)
    return ordered


def _joined(table: pd.DataFrame, exams: pd.DataFrame, targets: tuple[str, ...], notes: list[str]) -> pd.DataFrame:
    """Each image with what is known of its exam, and of its own side."""
    both = table.merge(exams, on=EXAM, how="left", indicator="_found")
    strangers = both["_found"] == "left_only"
    if strangers.any():
        rules.say(notes, f"images without a row for their exam, with unknown targets: {int(strangers.sum())}")
    unseen = len(exams) - len(both.loc[~strangers, EXAM].drop_duplicates())
    if unseen:
        notes.append(f"exams without an image here: {unseen} of {len(exams)}")
    left = both["laterality"] == "L"
    for name in targets:
        both[name] = both[TARGETS[name][0]].where(left, both[TARGETS[name][1]])
        lost = int((both[name].isna() & ~strangers).sum())
        if lost:
            notes.append(f"images of a breast whose {name} is marked as not imaged or withheld, now unknown: {lost}")
    both = both.assign(
        patient=both["subjectId"],
        group=both["subjectId"] + "/" + both["exam_index"].astype(str),
        slot=both["laterality"] + "-" + both["view"],
    )
    known = [name for name in CLINICAL if name in both.columns]
    return both[["id", "path", "patient", "group", "slot", "laterality", "view", "exam_index", *targets, *known]]


def _look_at_slots(table: pd.DataFrame, notes: list[str]) -> None:
    """Say how many exams are not four views, each once."""
    counts = table[["group", "slot"]].value_counts()
    twice = int((counts > 1).groupby("group").any().sum())
    standard = counts[counts.index.get_level_values("slot").isin(SLOTS)]
    whole = int((standard.groupby("group").size() == len(SLOTS)).sum())
    exams = table["group"].nunique()
    if whole < exams or twice:
        notes.append(f"exams with all of {', '.join(SLOTS)}: {whole} of {exams}; with a view more than once: {twice}")
