"""What report labelers say of a finding, and the policies that make a target of it.

CheXpert's labeler, which also labelled MIMIC-CXR, reads reports and writes for each finding

     1     the report affirms it        -1      it is uncertain of it ("may represent", "cannot exclude")
     0     the report denies it         blank   it does not mention it

J. Irvin et al., "CheXpert", AAAI 2019; its policies for training on uncertain labels are called U-Ignore, U-Zeros,
U-Ones and U-MultiClass there. `No Finding` is 1 where no pathology is affirmed or uncertain; `Support Devices` do not
count as one: of the 22,381 such films of CheXpert 8,808 have devices, and none has a pathology.
"""

from pathlib import Path

import numpy as np
import pandas as pd

from resload.catalog import rules
from resload.datasets import files
from resload.errors import CatalogError

FINDINGS = (
    "No Finding",
    "Enlarged Cardiomediastinum",
    "Cardiomegaly",
    "Lung Opacity",
    "Lung Lesion",
    "Edema",
    "Consolidation",
    "Pneumonia",
    "Atelectasis",
    "Pneumothorax",
    "Pleural Effusion",
    "Pleural Other",
    "Fracture",
    "Support Devices",
)
"""The 14 observations in the order of CheXpert's tables (MIMIC-CXR-JPG sorts them by name)."""

PATHOLOGIES = FINDINGS[1:-1]
"""What is absent where `No Finding` is 1."""

UNCERTAIN = ("ignore", "zeros", "ones", "multiclass")
UNMENTIONED = ("ignore", "zeros")
NO_FINDING = ("zeros", "ignore")


def check_policies(*, uncertain: str, unmentioned: str, no_finding: str) -> None:
    """Refuse policies that are none, before anything is read."""
    files.choice("uncertain", uncertain, UNCERTAIN)
    files.choice("unmentioned", unmentioned, UNMENTIONED)
    files.choice("no_finding", no_finding, NO_FINDING)


def read_mentions(raw: pd.DataFrame, csv: str | Path) -> pd.DataFrame:
    """The 14 columns as (n, 14) float32: 1, 0, -1, NaN.

    Raises CatalogError for a column that is lacking, or a value that is none of these.
    """
    table = files.renamed(raw, {name: (name,) for name in FINDINGS}, csv, "table of the 14 observations")
    found = pd.DataFrame({name: files.numbered(table[name], csv, name) for name in FINDINGS}, index=raw.index)
    strange = found.notna() & ~found.isin([1, 0, -1])
    if strange.any(axis=None):
        name = str(strange.any().idxmax())
        raise CatalogError(
            f"{csv}: {name} is 1, 0, -1 or blank; found {rules.some(found[name][strange[name]].unique())}"
        )
    return found.astype(np.float32)


def targets(found: pd.DataFrame, *, uncertain: str, unmentioned: str, no_finding: str) -> pd.DataFrame:
    """Mentions as targets, float32: the same columns, by these policies.

    uncertain: -1 becomes NaN ("ignore"), 0 ("zeros"), 1 ("ones") or 2, a class of its own ("multiclass").
    unmentioned: blank becomes NaN ("ignore") or 0 ("zeros").
    no_finding: where `No Finding` is 1, pathologies that are blank become 0 ("zeros") or are as any other blank
    ("ignore").
    """
    values = found.to_numpy(dtype=np.float32, copy=True)
    blank = np.isnan(values)
    values[values == -1] = {"ignore": np.nan, "zeros": 0, "ones": 1, "multiclass": 2}[uncertain]
    if unmentioned == "zeros":
        values[blank] = 0
    elif no_finding == "zeros":
        healthy = (found["No Finding"] == 1).to_numpy()[:, None]
        values[blank & healthy & found.columns.isin(PATHOLOGIES)] = 0
    return pd.DataFrame(values, columns=found.columns, index=found.index)


def counted(found: pd.DataFrame, notes: list[str]) -> None:
    """Say how much the policies decide."""
    uncertain, blank = (int(x.sum().sum()) for x in (found == -1, found.isna()))
    notes.append(f"of {found.size} labels {uncertain} are uncertain and {blank} not mentioned; policies decide on them")
