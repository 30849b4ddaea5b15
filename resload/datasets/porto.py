"""INbreast: 410 digital mammograms of 115 cases, with contours of every finding, from a hospital in Porto.

:Citation: I. C. Moreira et al., "INbreast: Toward a full-field digital mammographic database", Acad Radiol
    2012;19(2):236-248.
:Licence: research only, by agreement with the authors.
:Obtain: the authors' page is gone; copies circulate, such as Kaggle's `ramanathansp20/inbreast-dataset`.
:Layouts: the folder `INbreast Release 1.0` with `AllDICOMs/`, `AllXML/`, `PectoralMuscle/Pectoral Muscle XML/` and
    `INbreast.csv` (semicolons) or `INbreast.xls` (which needs the extra `excel`), or one that holds that folder.

Traps, and what is done about them:

- The table says `removed` for patient and age. The patient is in the file's name only:
  `22678622_61b13c59bcba149e_MG_L_CC_ANON.dcm`. A patient may come back: patient and date make an exam.
- `ML` in a file's name is `MLO` in the table: the mediolateral oblique view.
- The Excel file ends with two rows that are no films. Rows without a number for a name are left out and counted.
- `Bi-Rads` is 1 to 6 with 4a, 4b and 4c: texts, of which a number alone would lose a quarter. Above 3 is malignant, as
  in the literature; 3 by a policy.
- Contours are property lists of Apple's with names in several spellings (`Espiculated Region`, `Assymetry`), one or two
  points for the smallest calcifications, and thousands for others. They are united by label, as run-lengths.
- The muscle's contour runs from the upper border to the chest wall and leaves out the corner between: it is added.
- Films have 14 bits and two sizes, 4084 x 3328 and 3328 x 2560: contours need the size of their own film.
"""

import plistlib
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal
from xml.parsers.expat import ExpatError

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from resload.catalog import Catalog, reading, rules, spreadsheets
from resload.datasets import files
from resload.errors import CatalogError
from resload.masks.polygons import polygon_runs

TARGETS = ("malignant",)

BIRADS_3 = {"benign": 0.0, "unknown": np.nan, "malignant": 1.0}
"""What films of BI-RADS 3 ("probably benign") count as."""

UNMARKED = ("unknown", "empty")
"""What is said of findings that a film has no contour of."""

NAMES = {
    "mass": "mass",
    "calcification": "calcification",
    "calcifications": "calcification",
    "cluster": "cluster",
    "spiculated region": "spiculated region",
    "espiculated region": "spiculated region",
    "distortion": "distortion",
    "asymmetry": "asymmetry",
    "assymetry": "asymmetry",
    "unnamed": "unnamed",
    "point 1": "unnamed",
    "point 3": "unnamed",
    "pectoralmuscle": "pectoral muscle",
    "pectoral muscle": "pectoral muscle",
}
"""How contours are named, in small letters -> the label of their mask. What `Point 1` is meant to be, nobody says."""

FINDINGS = ("mass", "calcification", "cluster", "spiculated region", "distortion", "asymmetry")
"""Labels that the readers looked for on every film."""

MUSCLE = "pectoral muscle"
TABLES = ("INbreast.csv", "INbreast.xls")
COLUMNS = {
    "film": ("File Name",),
    "laterality": ("Laterality",),
    "view": ("View",),
    "date": ("Acquisition date",),
    "density": ("ACR",),
    "assessment": ("Bi-Rads",),
}
_FILE = re.compile(r"(\d+)_([0-9A-Za-z]+)_MG_([LR])_([A-Z]+)_ANON")

Contour = NDArray[np.float64]
"""(n, 2) x, y in pixels of the film."""


def inbreast(
    root: str | Path,
    *,
    birads_3: Literal["benign", "unknown", "malignant"] = "benign",
    masks: bool = True,
    unmarked: Literal["unknown", "empty"] = "unknown",
    missing: Literal["skip", "raise"] = "skip",
) -> Catalog:
    """The catalog of INbreast as it lies in a folder.

    Args:
        root: the folder `INbreast Release 1.0`, or one that holds it.
        birads_3: what BI-RADS 3 counts as; 1 and 2 are benign, 4a and above malignant.
        masks: read the contours, and the sizes of the films from their headers.
        unmarked: findings without a contour are unknown, as everywhere in resload, or known to be empty: the data set's
            paper says that all findings were marked.
        missing: films of the table whose file is not there are left out and counted in `notes`, or refused.

    Returns:
        A catalog with the target `malignant` (1.0, 0.0, or NaN by policy) and the columns `patient` (text), `group`
        (patient and date), `slot` ("L-CC", "L-MLO", "R-CC", "R-MLO"), `laterality`, `view`, `date` (year and month,
        text), `birads` (1 to 6; 4a, 4b and 4c are 4), `assessment` (as spelled, "4a") and `density` (ACR, 1 to 4; NaN
        where it is blank). Masks are run-lengths with the labels of `FINDINGS`, `pectoral muscle` and `unnamed`. Their
        points are taken to count from a pixel's corner, as everywhere in resload; nobody says whether the readers'
        program meant its centre, which is 0.035 mm further. There is no official split.

    Raises:
        ArgumentError: an unknown policy. MissingPackageError: an Excel file, and no package to read it.
        CatalogError: no table, another table, values or names of unknown spelling, contours that cannot be read,
            images missing.
    """
    files.choice("missing", missing, files.MISSING)
    files.choice("birads_3", birads_3, tuple(BIRADS_3))
    files.choice("unmarked", unmarked, UNMARKED)
    root, notes = Path(root), list[str]()
    home = files.home(root, "AllDICOMs", (".", "*", "*/*"))
    table = parse_table(files.need(root / home, TABLES), notes)
    where = files.by_stem(files.listed(root, [f"{home}/AllDICOMs"], [".dcm"]))
    found = _named(where, notes)
    paths = dict(zip(found.index, found["path"], strict=True))
    files.unlisted(paths, table["id"], notes)
    looked = f"{home}/AllDICOMs"
    table = files.with_paths(table, table["id"], paths, root, missing=missing, notes=notes, looked=looked)
    table = _with_names(table, found, notes)
    grade = table["birads"]
    table["malignant"] = (grade > 3).astype(np.float32).mask(grade == 3, BIRADS_3[birads_3])
    files.against_release(notes, films=(len(table), 410))
    placed = _masks(table, root, home, unmarked, notes) if masks else None
    return Catalog(table, targets=TARGETS, masks=placed, root=root, notes=notes)


def parse_table(path: str | Path, notes: list[str]) -> pd.DataFrame:
    """The table of films in our names: `id` (a number, as text) and what `inbreast` says of the other columns.

    Rows without a number are left out and counted in `notes`.
    """
    path = Path(path)
    raw = spreadsheets.old_sheet(path) if path.suffix == ".xls" else files.read_csv(path, sep=";", dtype=str)
    table = files.renamed(raw, COLUMNS, path, "table of INbreast").rename(columns={"film": "id"})
    table = table.apply(lambda column: column.astype("string").str.strip())
    numbered = table["id"].fillna("").str.fullmatch(r"\d+")
    if not numbered.all():
        notes.append(f"rows of {path.name} that are no films, left out: {int((~numbered).sum())}")
    table = table[numbered].reset_index(drop=True)
    table["view"] = table["view"].str.upper().replace("ML", "MLO")
    table["laterality"] = table["laterality"].str.upper()
    _known(table["laterality"], "[LR]", path, "Laterality is L or R")
    table["assessment"] = table["assessment"].str.lower()
    _known(table["assessment"], "[1-6]|4[abc]", path, "Bi-Rads is 1 to 6, 4a, 4b or 4c")
    _known(table["density"].replace("", pd.NA).fillna("1"), "[1-4]", path, "ACR is 1 to 4, or nothing")
    density = pd.to_numeric(table["density"].replace("", pd.NA)).astype("Float64").astype("float64")
    plain = {name: rules.as_text(table[name]) for name in ("id", "laterality", "view", "date", "assessment")}
    return pd.DataFrame(plain).assign(birads=table["assessment"].str[0].astype("float64"), density=density)


def _known(column: pd.Series, pattern: str, path: Path, what: str) -> None:
    strange = ~column.fillna("nothing").str.fullmatch(pattern)
    if strange.any():
        raise CatalogError(f"{path}: {what}; found {rules.some(column[strange].unique())}")


def _named(where: Mapping[str, str], notes: list[str]) -> pd.DataFrame:
    """What the files' names say, by the film's number: `path`, `patient`, `laterality`, `view`."""
    parts = {stem: _FILE.fullmatch(stem) for stem in where}
    strange = [stem for stem, found in parts.items() if found is None]
    if strange:
        some = rules.some(strange, 3)
        rules.say(notes, f"files not named as <number>_<patient>_MG_<side>_<view>_ANON.dcm, left out: {some}")
    rows = [(*found.groups(), where[stem]) for stem, found in parts.items() if found is not None]
    columns = ["id", "patient", "laterality", "view", "path"]
    table = pd.DataFrame(rows, columns=columns, dtype=object).set_index("id")
    if table.index.has_duplicates:
        raise CatalogError(f"films that are there twice: {rules.some(table.index[table.index.duplicated()])}")
    table["view"] = table["view"].replace("ML", "MLO")
    return table


def _with_names(table: pd.DataFrame, found: pd.DataFrame, notes: list[str]) -> pd.DataFrame:
    """The films with patient, exam and slot; where the file's name contradicts the table, the name counts."""
    named = found.loc[table["id"]].reset_index(drop=True)
    table = table.reset_index(drop=True)
    against = (named["laterality"] != table["laterality"]) | (named["view"] != table["view"])
    if against.any():
        films = rules.some(table["id"][against], 3)
        rules.say(notes, f"films whose side or view is another in their file's name, which counts: {films}")
    side, view = (rules.as_text(named[name]) for name in ("laterality", "view"))
    patient = rules.as_text(named["patient"])
    return table.assign(
        patient=patient,
        group=patient + "/" + table["date"].fillna(""),
        laterality=side,
        view=view,
        slot=side + "-" + view,
    )


def _masks(table: pd.DataFrame, root: Path, home: str, unmarked: str, notes: list[str]) -> pd.DataFrame | None:
    """Run-lengths of each label of each film that has contours; None where there are none at all."""
    texts = _contour_files(root, home)
    if not texts:
        notes.append(f"no contours: there is no file in AllXML of {root / home}")
        return None
    strangers = sorted({film for film, _ in texts} - set(table["id"]))
    if strangers:
        notes.append(f"files of contours without their film: {rules.some(strangers, 3)}")
    headers = reading.headers([root / path for path in table["path"]], threads=None, progress=False)
    sizes = headers[["height", "width"]].to_numpy()
    rows: list[tuple[str, str, str]] = []
    for film, side, size in zip(table["id"], table["laterality"], sizes, strict=True):
        if np.isnan(size).any():
            rules.say(notes, f"film {film} cannot be read, so its contours have no size; it has no masks")
            continue
        height, width = map(int, size)
        contours: dict[str, list[Contour]] = {}
        if unmarked == "empty":
            contours = {label: [] for label in FINDINGS}
        for label in ("", MUSCLE):
            if (film, label) in texts:
                contours |= parse_contours(root / texts[film, label], label, notes)
        if MUSCLE in contours:
            corner = (0.0 if side == "L" else float(width), 0.0)
            contours[MUSCLE] = [np.vstack([contour, corner]) for contour in contours[MUSCLE]]
        rows += [(film, label, polygon_runs(found, (height, width))) for label, found in contours.items()]
    return pd.DataFrame(rows, columns=["id", "label", "rle"]).assign(rle_format="siim") if rows else None


def _contour_files(root: Path, home: str) -> dict[tuple[str, str], str]:
    """(number of a film, label of all contours in the file or nothing) -> its path below the root."""
    folders = {"AllXML": "", "PectoralMuscle/Pectoral Muscle XML": MUSCLE}
    return {
        (_number(name), label): path
        for folder, label in folders.items()
        for name, path in files.listed(root, [f"{home}/{folder}"], [".xml"]).items()
    }


def _number(name: str) -> str:
    """`20588046` of 20588046.xml and of 20588046_muscle.xml."""
    return name.partition(".")[0].partition("_")[0]


def parse_contours(xml: str | Path, label: str, notes: list[str]) -> dict[str, list[Contour]]:
    """The contours of one file by label: those that their names mean, or all of them `label` where it is not empty.

    Raises CatalogError, naming the file, for one that is no such property list, declares entities (none does, but bombs
    do), or has a contour of unknown name.
    """
    try:
        document: Any = plistlib.loads(Path(xml).read_bytes(), fmt=plistlib.FMT_XML)
        regions = [(roi["Name"], roi["Point_px"]) for image in document["Images"] for roi in image["ROIs"]]
        points = [np.array([_point(text) for text in texts], np.float64).reshape(-1, 2) for _, texts in regions]
    except (OSError, ValueError, TypeError, KeyError, IndexError, AttributeError, ExpatError) as exc:
        raise CatalogError(f"{xml} is no list of contours as INbreast has them: {exc!r}") from exc
    found: dict[str, list[Contour]] = {}
    for (name, _), contour in zip(regions, points, strict=True):
        mine = label or NAMES.get(str(name).strip().lower(), "")
        if not mine:
            raise CatalogError(f"{xml} has a contour named {name!r}; known: {', '.join(NAMES)}")
        if len(contour):
            found.setdefault(mine, []).append(contour)
        else:
            notes.append(f"{Path(xml).name} has a contour {name!r} without points, left out")
    return found


def _point(text: str) -> tuple[float, float]:
    x, y = text.strip().strip("()").split(",")
    return float(x), float(y)
