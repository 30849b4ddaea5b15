"""What the DICOM headers of a data set say of its people, where its tables do not: read only when asked for."""

from collections.abc import Sequence
from functools import partial
from pathlib import Path

import pandas as pd

from resload.catalog import reading, rules
from resload.datasets import files
from resload.decode import read_tags
from resload.decode.tags import Tag, named
from resload.errors import DecodeError

TAGS = {"view": "ViewPosition", "sex": "PatientSex", "age": "PatientAge"}
"""Our name -> DICOM's keyword (PS3.6)."""

OLDEST = 120
"""Years; ages above become unknown (RSNA Pneumonia has some of up to 155)."""


def described(table: pd.DataFrame, root: Path, notes: list[str]) -> pd.DataFrame:
    """The table with `view`, `sex` ("F", "M") and `age` (years) from its films' headers.

    Threads read; a film that cannot be read has none of them, and is counted in `notes`.
    """
    tags = [named(keyword) for keyword in TAGS.values()]
    paths = [root / path for path in table["path"]]
    said = reading.spread(partial(_texts, tags), paths, threads=None, progress=True, what="headers")
    lost = sum(texts is None for texts in said)
    if lost:
        rules.say(notes, f"films whose header cannot be read, without view, sex and age: {lost}")
    columns = zip(*(texts or (None,) * len(TAGS) for texts in said), strict=True)
    found = {
        name: pd.Series(values, index=table.index, dtype=object) for name, values in zip(TAGS, columns, strict=True)
    }
    return table.assign(
        view=rules.as_text(found["view"]),
        sex=files.sexes(found["sex"], notes),
        age=files.years(found["age"], notes, oldest=OLDEST),
    )


def _texts(tags: Sequence[Tag], path: Path) -> tuple[str | None, ...] | None:
    try:
        return read_tags(path, tags).values
    except DecodeError:
        return None
