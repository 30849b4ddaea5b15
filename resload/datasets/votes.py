"""Several readers of one film, and the policies that make one target of what they say."""

from collections.abc import Sequence

import numpy as np
import pandas as pd

VOTES = ("majority", "any", "all", "mean")
"""More than half of a film's readers, at least one, all of them; or the share of them, as a soft label."""


def decided(readings: pd.DataFrame, names: Sequence[str], votes: str) -> pd.DataFrame:
    """One row for each film, by `id`, in the order of their first readings: the targets float32, `split`, `readers`.

    readings: a row for each film and reader, with `id`, `split` and the columns `names` of 0 and 1.
    """
    films = readings.groupby("id", sort=False)
    share = films[list(names)].mean()
    found = {
        "majority": share > 0.5,
        "any": share > 0,
        "all": share == 1,
        "mean": share,
    }[votes]
    return found.astype(np.float32).assign(split=films["split"].first(), readers=films.size())


def counted(readings: pd.DataFrame, names: Sequence[str], notes: list[str]) -> None:
    """Say of how many films several readers do not agree, and which numbers of readers there are."""
    share = readings.groupby("id")[list(names)].mean()
    apart = int(((share > 0) & (share < 1)).any(axis=1).sum())
    readers = readings.groupby("id").size().value_counts().sort_index()
    held = ", ".join(f"{count} by {number}" for number, count in readers.items())
    notes.append(f"films by how many read them: {held}; of {apart} the readers do not agree in every finding")
