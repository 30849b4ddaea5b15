"""Shenzhen and Montgomery: two sets of chest films for tuberculosis, of the National Library of Medicine.

Shenzhen: 662 frontal films, 336 with tuberculosis and 326 normal. Montgomery: 138, 58 with and 80 normal.

:Citation: S. Jaeger et al., "Two public chest X-ray datasets for computer-aided screening of pulmonary diseases",
    Quant Imaging Med Surg 2014;4(6):475-477. Lung masks of Shenzhen: S. Stirenko et al., "Chest X-ray analysis of
    tuberculosis by deep learning with segmentation and augmentation", ELNANO 2018.
:Licence: free for research, with the citation (the readme in each set).
:Obtain: https://data.lhncbc.nlm.nih.gov/public/Tuberculosis-Chest-X-ray-Datasets/ (two archives); the lung masks of
    Shenzhen as Kaggle's `yoctoman/shcxr-lung-mask`.
:Layouts: the folder `ChinaSet_AllFiles` or `MontgomerySet` itself, or one that holds it (also nested twice), with
    `CXR_png/`, `ClinicalReadings/`, and for masks `ManualMask/leftMask/`, `ManualMask/rightMask/` or `mask/`.

Traps, and what is done about them:

- No table says what a film shows: the last digit of its name does, 1 for tuberculosis (`MCUCXR_0108_1.png`).
- Sex, age and finding are text files written by hand: `Patient's Age: 035Y`, `male 45yrs`, `Femal, 9 months`. What
  cannot be read is missing and counted; so are readings that contradict the digit.
- Montgomery's masks are a file for each lung. `lungs="united"` gives one mask of both, and none where one is missing:
  half of the lungs is not the lungs. `lungs="sides"` gives two.
- Shenzhen has no masks of its own. Those of others, `CHNCXR_0001_0_mask.png`, cover 566 of its films.
- There are no numbers of patients: a film's number is taken for one.
- Folders hold other files too (`Thumbs.db`); what has no film's name is left out, pictures are counted.
- **TBX11K contains films of both sets**: a model trained on it has seen them. Test on one of the three only.
"""

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Literal

import numpy as np
import pandas as pd

from resload.catalog import Catalog, reading, rules
from resload.datasets import files
from resload.errors import CatalogError

TARGETS = ("tuberculosis",)

LUNGS = ("united", "sides")
"""How Montgomery's masks of a left and a right lung become a catalog's."""

OLDEST = 120
"""Years; ages above become unknown."""

SPACING = 0.0875
"""Millimetres per pixel of Montgomery's films of SIDES pixels (Jaeger 2014)."""

SIDES = ((4020, 4892), (4892, 4020))
"""(height, width) of Montgomery's films as released; copies of another size have another spacing."""

OVERLAP = "TBX11K contains films of this data set: models trained on it have seen them"
ONE_EACH = "there are no numbers of patients: each film is taken for a patient of its own"

_ABOUT = re.compile(r"\W*(patient|sex|age|(fe)?male?(?![a-z])|\d+\s*[ymwd][a-z]*\W*$)", re.IGNORECASE)
"""How a line begins that tells of the patient, not of the film."""

_SEX = re.compile(r"sex\W+([fm])(?:e?male?)?\b|\b(f)emale?(?![a-z])|\b(m)ale?(?![a-z])", re.IGNORECASE)
_AGE = re.compile(r"(\d+(?:\.\d+)?)\s*([ymwd]?)", re.IGNORECASE)


def shenzhen(root: str | Path, *, masks: bool = True, missing: Literal["skip", "raise"] = "skip") -> Catalog:
    """The catalog of the Shenzhen set as it lies in a folder.

    Args:
        root: `ChinaSet_AllFiles`, or a folder that holds it.
        masks: take the lung masks of others, label `lungs`, where they are there.
        missing: films with a reading and no picture are left out and counted in `notes`, or refused.

    Returns:
        A catalog with the target `tuberculosis` (1.0 or 0.0) and the columns `patient` (text; each film is taken for
        a patient of its own), `age` (years, NaN where unknown), `sex` ("F" or "M") and `reading` (text). No spacing
        is known, and there is no official split.

    Raises:
        CatalogError: no such folder, no films, or films missing and `missing="raise"`.
    """
    notes = [OVERLAP, ONE_EACH]
    home, table = _films(Path(root), "ChinaSet_AllFiles", "CHNCXR", missing, notes)
    files.against_release(notes, films=(len(table), 662), with_tuberculosis=(int(table["tuberculosis"].sum()), 336))
    found = _masks(Path(root), home, {"lungs": ["mask", "masks"]}, table["id"]) if masks else None
    if found is not None:
        notes.append(f"lung masks of others (yoctoman/shcxr-lung-mask): of {len(found)} of {len(table)} films")
    return Catalog(table, targets=TARGETS, masks=found, root=root, notes=notes)


def montgomery(
    root: str | Path,
    *,
    masks: bool = True,
    lungs: Literal["united", "sides"] = "united",
    missing: Literal["skip", "raise"] = "skip",
) -> Catalog:
    """The catalog of the Montgomery County set as it lies in a folder.

    Args:
        root: `MontgomerySet`, or a folder that holds it.
        masks: take the lung masks of `ManualMask/` where they are there.
        lungs: "united" for one mask `lungs` of both; "sides" for `left lung` and `right lung`, as the folders say.
        missing: films with a reading and no picture are left out and counted in `notes`, or refused.

    Returns:
        As `shenzhen`, with `spacing_y` and `spacing_x` (mm per pixel) of films in the released size.

    Raises:
        ArgumentError: an unknown policy. CatalogError as `shenzhen`.
    """
    files.choice("lungs", lungs, LUNGS)
    notes = [OVERLAP, ONE_EACH]
    home, table = _films(Path(root), "MontgomerySet", "MCUCXR", missing, notes)
    files.against_release(notes, films=(len(table), 138), with_tuberculosis=(int(table["tuberculosis"].sum()), 58))
    sides = {f"{side} lung": [f"ManualMask/{side}Mask"] for side in ("left", "right")}
    found = _masks(Path(root), home, sides, table["id"]) if masks else None
    if found is not None and lungs == "united":
        found = _both_lungs(found, notes)
    return Catalog(_spaced(table, Path(root)), targets=TARGETS, masks=found, root=root, notes=notes)


def _films(root: Path, name: str, prefix: str, missing: str, notes: list[str]) -> tuple[str, pd.DataFrame]:
    """Where the set is below the root, and its films: all that have a picture or a reading."""
    files.choice("missing", missing, files.MISSING)
    home = files.home(root, "CXR_png", (".", name, f"*/{name}", "*"))
    where = files.by_stem(files.listed(root, [f"{home}/CXR_png"], [".png", ".PNG"]))
    texts = files.by_stem(files.listed(root, [f"{home}/ClinicalReadings"], [".txt"]))
    readings = {stem: path for stem, path in texts.items() if _number(stem, prefix)}
    stems = pd.Series(sorted({*(stem for stem in where if _number(stem, prefix)), *readings}), dtype=object)
    files.unlisted(where, stems, notes)
    if stems.empty:
        raise CatalogError(f"{root / home / 'CXR_png'} has no film named {prefix}_<number>_<0 or 1>.png")
    table = pd.DataFrame({"id": stems, "patient": stems.str[: len(prefix) + 5]})
    table["tuberculosis"] = stems.str[-1].astype(np.float32)
    table = table.join(_read(stems, readings, root, notes))
    looked = f"{home}/CXR_png"
    return home, files.with_paths(table, table["id"], where, root, missing=missing, notes=notes, looked=looked)


def _number(stem: str, prefix: str) -> bool:
    return re.fullmatch(rf"{prefix}_\d{{4}}_[01]", stem) is not None


def _read(stems: pd.Series, readings: Mapping[str, str], root: Path, notes: list[str]) -> pd.DataFrame:
    """`sex`, `age` and `reading` of each film; what is missing or contradicts the film's name goes to `notes`."""
    texts = [_text(root / readings[stem]) if stem in readings else "" for stem in stems]
    if len(readings) < len(stems):
        notes.append(f"films without a file in ClinicalReadings: {len(stems) - len(readings)}")
    found = pd.DataFrame([parse_reading(text) for text in texts], columns=["sex", "age", "reading"], index=stems.index)
    lost = {name: int(found[name].isna().sum()) for name in ("sex", "age")}
    if any(lost.values()):
        notes.append("readings without " + ", ".join(f"{name}: {count}" for name, count in lost.items() if count))
    found["age"] = files.years(found["age"], notes, oldest=OLDEST)
    normal = found["reading"].str.contains(r"\bnormal", case=False)
    against = (normal == stems.str.endswith("1")) & (found["reading"] != "")
    if against.any():
        names = rules.some(stems[against], 3)
        rules.say(notes, f"films whose reading contradicts the last digit of their name, which counts: {names}")
    return found.assign(sex=rules.as_text(found["sex"]), reading=rules.as_text(found["reading"]))


def _text(path: Path) -> str:
    return path.read_bytes().decode("utf-8-sig", "replace")


def parse_reading(text: str) -> tuple[str | None, str | None, str]:
    """A file of ClinicalReadings: sex ("F", "M", None), age (as `45Y`, `9M`; None), and what is said of the film."""
    lines = [line.strip() for line in text.splitlines()]
    about = " ".join(line for line in lines if _ABOUT.match(line))
    of_sex, of_age = _SEX.search(about), _AGE.search(about)
    sex = None if of_sex is None else next(letter for letter in of_sex.groups() if letter).upper()
    age = None if of_age is None else f"{of_age[1]}{of_age[2].upper() or 'Y'}"
    return sex, age, "; ".join(line for line in lines if line and not _ABOUT.match(line))


def _masks(root: Path, home: str, labels: Mapping[str, list[str]], ids: pd.Series) -> pd.DataFrame | None:
    """The pictures in the folders of each label, of films in the catalog; None where there is no such folder."""
    rows = []
    for label, folders in labels.items():
        where = files.listed(root, [f"{home}/{folder}" for folder in folders], [".png"])
        rows += [(re.sub(r"_mask$", "", stem), label, path) for stem, path in files.by_stem(where).items()]
    found = pd.DataFrame(rows, columns=["id", "label", "path"], dtype=object)
    return found[found["id"].isin(ids)].sort_values(["id", "label"]) if rows else None


def _both_lungs(masks: pd.DataFrame, notes: list[str]) -> pd.DataFrame:
    """One label for both lungs; films with one of them have no mask."""
    both = masks.groupby("id")["label"].transform("size") == 2
    if not both.all():
        rules.say(notes, f"films with a mask of one lung only, left without: {rules.some(masks['id'][~both], 3)}")
    return masks[both].assign(label="lungs")


def _spaced(table: pd.DataFrame, root: Path) -> pd.DataFrame:
    """Spacing where a file has the released size."""
    headers = reading.headers([root / path for path in table["path"]], threads=None, progress=False)
    released = np.array([size in SIDES for size in zip(headers["height"], headers["width"], strict=True)], np.bool_)
    spacing = np.where(released, SPACING, np.nan)
    return table.assign(spacing_y=spacing, spacing_x=spacing)
