"""What the DICOM headers of a data set say of its people, where its tables do not: read only when asked for."""

from collections.abc import Sequence
from pathlib import Path

import pandas as pd

from resload.catalog import reading, rules
from resload.datasets import files
from resload.decode import elements
from resload.decode.window import FileWindow
from resload.errors import DecodeError

TAGS = {"view": 0x00185101, "sex": 0x00100040, "age": 0x00101010}
"""View Position, Patient's Sex, Patient's Age (DICOM PS3.6)."""

OLDEST = 120
"""Years; ages above become unknown (RSNA Pneumonia has some of up to 155)."""

LARGEST = 1 << 26
"""Bytes that a deflated header may have."""


def described(table: pd.DataFrame, root: Path, notes: list[str]) -> pd.DataFrame:
    """The table with `view`, `sex` ("F", "M") and `age` (years) from its films' headers.

    Threads read; a film that cannot be read has none of them, and is counted in `notes`.
    """
    paths = [root / path for path in table["path"]]
    said = reading.spread(_texts, paths, threads=None, progress=True, what="headers")
    lost = sum(texts is None for texts in said)
    if lost:
        rules.say(notes, f"films whose header cannot be read, without view, sex and age: {lost}")
    columns = zip(*(texts or ("",) * len(TAGS) for texts in said), strict=True)
    found = {
        name: pd.Series(values, index=table.index, dtype=object).replace("", None)
        for name, values in zip(TAGS, columns, strict=True)
    }
    return table.assign(
        view=rules.as_text(found["view"]),
        sex=files.sexes(found["sex"], notes),
        age=files.years(found["age"], notes, oldest=OLDEST),
    )


def _texts(path: Path) -> Sequence[str] | None:
    try:
        with path.open("rb") as file:
            dataset = elements.read(FileWindow(file), LARGEST)
            return [dataset.text(tag) for tag in TAGS.values()]
    except (DecodeError, OSError):
        return None
