"""PadChest of the Hospital San Juan de Alicante: 160,861 chest films of 67,625 patients, 193 findings in their reports.

:Citation: A. Bustos et al., "PadChest: A large chest x-ray image dataset with multi-label annotated reports", Medical
    Image Analysis 2020;66:101797, arXiv:1901.07441.
:Licence: the PadChest Dataset Research Use Agreement of its page.
:Obtain: https://bimcv.cipf.es/bimcv-projects/padchest/ (registration); 1 TB in the folders 0 to 54.
:Layouts: `PADCHEST_chest_x_ray_images_labels_160K_01.02.19.csv` (or .gz) in the root, images as
    `<ImageDir>/<ImageID>`, as `images/<ImageDir>/<ImageID>`, or all in the root or in `images/`.

Traps, and what is done about them:

- The 16-bit PNGs hold 12 bits (144,051) or 10 bits (16,810): the column `bits` says which. A loader that divides by
  65,535 sees films that are nearly black.
- Labels are Python lists as text. 41,824 of them have blanks around (350 spellings become 193), 3,041 are empty, and
  103 films have no list.
- A label is a whole word: `nodule` is not `pseudonodule` (of 3,748 and 2,241 films), `emphysema` not
  `subcutaneous emphysema`, `pleural effusion` not `pericardial effusion`. torchxrayvision looks for parts of words.
- `exclude`, `unchanged` and `suboptimal study` say nothing about findings. A film that has no other label is unknown,
  and so is one with none: 6,302 in all.
- Missing values are the texts `nan` and `None`.
- 11 films have the projection EXCLUDE and 8 have UNK: a policy keeps them out or in.
- 39,053 reports were labelled by physicians, 121,808 by a recurrent network trained on those: a policy chooses.
- 21 files are missing or damaged in the release that circulates (torchxrayvision lists them); they are counted, and a
  build puts those that are there in quarantine.
- One exam of 109,931 has films of two patients (both aged 88 that day): the notes name it.
- There is no official split, and no pixel spacing: SpatialResolution_DICOM (0018,1050) is the limiting resolution
  of the equipment, and is there for 40 % only.
"""

import ast
import difflib
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Literal

import numpy as np
import pandas as pd

from resload.catalog import Catalog, rules
from resload.datasets import files
from resload.errors import ArgumentError, CatalogError

TARGETS = (
    "normal",
    "atelectasis",
    "laminar atelectasis",
    "consolidation",
    "infiltrates",
    "interstitial pattern",
    "alveolar pattern",
    "pulmonary edema",
    "pneumonia",
    "pleural effusion",
    "pneumothorax",
    "emphysema",
    "COPD signs",
    "pulmonary fibrosis",
    "bronchiectasis",
    "nodule",
    "pulmonary mass",
    "granuloma",
    "calcified granuloma",
    "tuberculosis",
    "pleural thickening",
    "costophrenic angle blunting",
    "air trapping",
    "hemidiaphragm elevation",
    "hilar enlargement",
    "cardiomegaly",
    "aortic elongation",
    "hiatal hernia",
    "rib fracture",
    "scoliosis",
)
"""What is learned unless `findings` says something else: `normal`, and 29 findings of at least 300 films that other
chest data sets label too or that resolution studies ask for."""

SAY_NOTHING = frozenset({"exclude", "unchanged", "suboptimal study"})
"""Labels about the report or the film (the paper's section on labels), not about findings."""

DAMAGED = frozenset(
    (
        "216840111366964012819207061112010307142602253_04-014-084.png",
        "216840111366964012989926673512011074122523403_00-163-058.png",
        "216840111366964012959786098432011033083840143_00-176-115.png",
        "216840111366964012558082906712009327122220177_00-102-064.png",
        "216840111366964012339356563862009072111404053_00-043-192.png",
        "216840111366964013076187734852011291090445391_00-196-188.png",
        "216840111366964012373310883942009117084022290_00-064-025.png",
        "216840111366964012283393834152009033102258826_00-059-087.png",
        "216840111366964012373310883942009170084120009_00-097-074.png",
        "216840111366964012819207061112010315104455352_04-024-184.png",
        "216840111366964012819207061112010306085429121_04-020-102.png",
        "216840111366964012989926673512011083134050913_00-168-009.png",
        "216840111366964012373310883942009152114636712_00-102-045.png",
        "216840111366964012819207061112010281134410801_00-129-131.png",
        "216840111366964012487858717522009280135853083_00-075-001.png",
        "216840111366964012989926673512011151082430686_00-157-045.png",
        "216840111366964013686042548532013208193054515_02-026-007.png",
        "216840111366964013590140476722013058110301622_02-056-111.png",
        "216840111366964013590140476722013043111952381_02-065-198.png",
        "216840111366964013829543166512013353113303615_02-092-190.png",
        "216840111366964013962490064942014134093945580_01-178-104.png",
    )
)
"""Files that are missing, cut short or broken in the release (torchxrayvision, `PC_Dataset.missing`)."""

TABLE = ("PADCHEST_chest_x_ray_images_labels_160K_01.02.19.csv",)
RELEASE = {"images": 160861, "patients": 67625}
LABELLERS = {"all": ("Physician", "RNN_model"), "physician": ("Physician",), "rnn": ("RNN_model",)}
UNUSABLE = ("EXCLUDE", "UNK")

COLUMNS = {
    "image": ("ImageID",),
    "patient": ("PatientID",),
    "group": ("StudyID",),
    "study_date": ("StudyDate_DICOM",),
    "birth_year": ("PatientBirth",),
    "sex": ("PatientSex_DICOM",),
    "view": ("Projection",),
    "pediatric": ("Pediatric",),
    "modality": ("Modality_DICOM",),
    "manufacturer": ("Manufacturer_DICOM",),
    "bits": ("BitsStored_DICOM",),
    "labelled_by": ("MethodLabel",),
    "labels": ("Labels",),
}


def padchest(
    root: str | Path,
    *,
    findings: Sequence[str] | None = None,
    labelled_by: Literal["all", "physician", "rnn"] = "all",
    unusable: Literal["skip", "keep"] = "skip",
    missing: Literal["skip", "raise"] = "skip",
    images: str | None = None,
) -> Catalog:
    """The catalog of PadChest as it lies in a folder.

    Args:
        root: the folder with the table and the images in any layout that circulates.
        findings: the labels to learn, as PadChest spells them; `TARGETS` by default. A label that no film of the table
            has is refused, with those that are spelled alike.
        labelled_by: films of reports labelled by physicians, by the network trained on these, or all.
        unusable: films of the projections EXCLUDE and UNK are left out and counted, or kept.
        missing: films of the table whose image is not there are left out and counted in `notes`, or refused.
        images: the folder below `root` to take images from, where several hold the same ones.

    Returns:
        A catalog with a target for each finding (1.0, 0.0; NaN where the report says nothing), and the columns
        `patient`, `group` (texts: the numbers are too long), `bits` (10 or 12), `view` (PA, L, AP_horizontal, AP,
        COSTAL), `sex`, `age` (years; the study's year less that of birth), `study_date` (YYYYMMDD), `pediatric`
        ("PED" or "No"), `modality` (CR, DX), `manufacturer`, `labelled_by` ("Physician" or "RNN_model") and `labels`
        (all of the film's, "|" between them).

    Raises:
        CatalogError: no table, another table, lists that are none, images missing, or found twice.
        ArgumentError: a policy or a finding that is none.
    """
    files.choice("labelled_by", labelled_by, tuple(LABELLERS))
    files.choice("unusable", unusable, ("skip", "keep"))
    files.choice("missing", missing, files.MISSING)
    root = Path(root)
    notes: list[str] = []
    csv = files.need(root, TABLE)
    table = parse_table(csv, notes)
    patients = table["patient"].nunique()
    files.against_release(notes, images=(len(table), RELEASE["images"]), patients=(patients, RELEASE["patients"]))
    chosen = TARGETS if findings is None else _checked(findings, table["labels"], csv)
    where = files.listed(root, _image_folders(root, images), [".png"])
    files.unlisted(where, table["image"], notes)
    table = _selected(table, labelled_by, unusable, notes)
    looked = "it, images/ and the folders 0 to 54 of both"
    table = files.with_paths(table, table["image"], where, root, missing=missing, notes=notes, looked=looked)
    targets = _targets(table["labels"], chosen)
    unknown = int(targets.isna().all(axis=1).sum())
    if unknown:
        notes.append(f"{unknown} films have no label about findings (none, or only {sorted(SAY_NOTHING)}): unknown")
    return Catalog(pd.concat([table.drop(columns="image"), targets], axis=1), targets=chosen, root=root, notes=notes)


def parse_table(csv: str | Path, notes: list[str] | None = None) -> pd.DataFrame:
    """The table in our names and types, in its own order, with `labels` as one text, "|" between the labels.

    Sentences about what is odd go to `notes`. Raises CatalogError for another table, an image twice, or labels that
    are no list.
    """
    notes = [] if notes is None else notes
    spelled = [name for names in COLUMNS.values() for name in names]
    raw = files.read_csv(
        csv, dtype=str, usecols=lambda name: name.strip() in spelled
    )  # pandas reads None and nan as missing
    table = files.renamed(raw, COLUMNS, csv, "table of PadChest")
    files.once(table["image"], csv, "an image")
    files.known(table["labelled_by"], LABELLERS["all"], csv, "methods of labelling")
    table.insert(0, "id", table["image"].str.replace(r"\.png$", "", regex=True))
    shared = table.groupby("group")["patient"].nunique()
    if (shared > 1).any():
        notes.append(f"exams of more than one patient, kept as they are: {rules.some(shared.index[shared > 1], 3)}")
    damaged = int(table["image"].isin(DAMAGED).sum())
    if damaged:
        notes.append(f"{damaged} files of this table are known to be missing or damaged in the release")
    birth = files.numbered(table.pop("birth_year"), csv, "PatientBirth")
    return table.assign(
        sex=files.sexes(table["sex"], notes),
        bits=files.numbered(table["bits"], csv, "BitsStored_DICOM"),
        age=files.numbered(table["study_date"].str[:4], csv, "StudyDate_DICOM") - birth,
        labels=_stripped(table["labels"], csv),
    )


def _stripped(labels: pd.Series, csv: Path | str) -> pd.Series:
    """Lists as text -> labels without blanks around them, "|" between; missing where there is no list.

    160,861 films have 28,809 different lists, and only these are parsed.
    """
    code, texts = pd.factorize(labels)
    parsed = np.array(["|".join(_parsed(text, csv)) for text in texts] + [None], dtype=object)
    return rules.as_text(parsed[code]).set_axis(labels.index)


def _parsed(text: str, csv: Path | str) -> list[str]:
    try:
        found = ast.literal_eval(text)
    except (ValueError, SyntaxError):
        found = None
    if not isinstance(found, list) or not all(isinstance(label, str) for label in found):
        raise CatalogError(f"{csv}: Labels are lists of texts, such as \"['normal']\"; found {text!r}")
    return list(dict.fromkeys(label.strip() for label in found if label.strip()))


def _checked(findings: Sequence[str], labels: pd.Series, csv: Path) -> tuple[str, ...]:
    """The findings, each of which a film of the table has."""
    there = {label for text in labels.dropna().unique() for label in text.split("|")}
    for finding in findings:
        if finding not in there or finding in SAY_NOTHING:
            near = difflib.get_close_matches(finding, there - SAY_NOTHING, n=3, cutoff=0.5)
            raise ArgumentError(
                f"findings: no film of {csv} has the finding {finding!r}; "
                f"spelled alike: {', '.join(near) or 'none'} ({len(there)} in all)"
            )
    return tuple(findings)


def _targets(labels: pd.Series, findings: Sequence[str]) -> pd.DataFrame:
    """(n, k) float32 by whole labels; NaN for films whose labels say nothing about findings."""
    code, texts = pd.factorize(labels.fillna(""))
    place = {name: column for column, name in enumerate(findings)}
    present = np.zeros((len(texts), len(findings)), dtype=np.float32)
    for row, text in enumerate(texts):
        said = set(text.split("|")) - {""}
        if said <= SAY_NOTHING:
            present[row] = np.nan
        present[row, [place[label] for label in said if label in place]] = 1
    return pd.DataFrame(present[code], columns=list(findings), index=labels.index)


def _selected(table: pd.DataFrame, labelled_by: str, unusable: str, notes: list[str]) -> pd.DataFrame:
    """The films that the policies keep; the others are counted."""
    if unusable == "skip":
        bad = table["view"].isin(UNUSABLE)
        if bad.any():
            rules.say(notes, f"films of the projections {' and '.join(UNUSABLE)}, left out: {int(bad.sum())}")
        table = table[~bad]
    read = table["labelled_by"].isin(LABELLERS[labelled_by])
    if not read.all():
        notes.append(f"films whose labels are not by {labelled_by!r}, left out: {int((~read).sum())}")
    return table[read]


def _image_folders(root: Path, images: str | None) -> Iterator[str]:
    """The folder named by the user, or the root and `images`; and the numbered folders of each."""
    files.image_folder(root, images)
    for start in [images] if images is not None else [".", *["images"] * (root / "images").is_dir()]:
        yield start
        for name in files.names_in(root / start):
            if name.isdigit() and (root / start / name).is_dir():
                yield name if start == "." else f"{start}/{name}"
