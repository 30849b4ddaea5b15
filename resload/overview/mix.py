"""Which values there are, and of how many films: the attributes that differ within archives, and the targets."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from resload.wording import counts


@dataclass(frozen=True, slots=True)
class Attribute:
    """One thing in which films differ."""

    name: str
    """What a report calls it."""
    columns: tuple[str, ...]
    """What catalogs call it: the first that is there counts."""
    visible: bool = True
    """Whether a network may see it in the pixels, so that it can be a shortcut."""


ATTRIBUTES = (
    Attribute("modality", ("Modality", "modality")),
    Attribute("view", ("ViewPosition", "view")),
    Attribute("manufacturer", ("Manufacturer", "manufacturer")),
    Attribute("intent", ("intent",)),
    Attribute("photometric", ("photometric",)),
    Attribute("voi", ("voi",), visible=False),
    Attribute("bits", ("bits",)),
    Attribute("formats", ("format",)),
    Attribute("syntax", ("TransferSyntaxUID",), visible=False),
    Attribute("size", ("height", "width")),
)
"""In the order in which the figure shows them. A network does not see how pixels were packed, or which of two ways led
to the same display; it does see bits (as noise), sizes (as the sharpness that a resize leaves) and the data set that
a format stands for."""


def values_of(table: pd.DataFrame) -> dict[str, "pd.Series[Any]"]:
    """Attribute -> (n,) its value as a text for each film, missing where it is not known; those that are there."""
    found = {}
    for one in ATTRIBUTES:
        if one.name == "size":
            if {"height", "width"} <= set(table.columns):
                found[one.name] = _whole(table["height"]) + "x" + _whole(table["width"])
            continue
        column = next((name for name in one.columns if name in table.columns), None)
        if column is not None and table[column].notna().any():
            found[one.name] = _texts(table[column])
    if "syntax" in found:
        found["syntax"] = found["syntax"].map(_syntax)
    return found


def _texts(column: "pd.Series[Any]") -> "pd.Series[Any]":
    return _whole(column) if pd.api.types.is_float_dtype(column) else column.astype("string")


def _whole(column: "pd.Series[Any]") -> "pd.Series[Any]":
    """Whole numbers as texts; missing stays missing."""
    return column.astype("Int64").astype("string")


def _syntax(uid: Any) -> Any:
    """`JPEG 2000 lossless` and so on; a UID that is not read here stays as it is."""
    return SYNTAXES.get(uid, uid)


_PREFIX = "1.2.840.10008.1.2"
SYNTAXES = {
    _PREFIX: "native, implicit",
    f"{_PREFIX}.1": "native",
    f"{_PREFIX}.1.99": "deflated",
    f"{_PREFIX}.2": "native, big endian",
    f"{_PREFIX}.5": "RLE",
    f"{_PREFIX}.4.50": "JPEG",
    f"{_PREFIX}.4.51": "JPEG 12 bit",
    f"{_PREFIX}.4.57": "JPEG lossless",
    f"{_PREFIX}.4.70": "JPEG lossless",
    f"{_PREFIX}.4.80": "JPEG-LS",
    f"{_PREFIX}.4.81": "JPEG-LS, near-lossless",
    f"{_PREFIX}.4.90": "JPEG 2000 lossless",
    f"{_PREFIX}.4.91": "JPEG 2000",
    f"{_PREFIX}.4.201": "HTJ2K lossless",
    f"{_PREFIX}.4.202": "HTJ2K lossless",
    f"{_PREFIX}.4.203": "HTJ2K",
}
"""Transfer Syntax UID (PS3.5 annex A) -> a short name."""


def mixture(values: Mapping[str, "pd.Series[Any]"]) -> dict[str, dict[str, int]]:
    """Attribute -> value -> films, the most frequent first, equally frequent ones by name."""
    return {
        name: dict(sorted(counts(one).items(), key=lambda pair: (-pair[1], pair[0]))) for name, one in values.items()
    }


@dataclass(frozen=True, slots=True)
class Spread:
    """Of the values that are known."""

    known: int
    min: float | None
    median: float | None
    max: float | None


def spread(table: pd.DataFrame, name: str) -> Spread:
    """How many values of a column are known, and the smallest, middle and largest of them."""
    known = table[name].dropna().to_numpy(dtype=np.float64) if name in table.columns else np.empty(0)
    if not len(known):
        return Spread(0, None, None, None)
    return Spread(len(known), float(known.min()), float(np.median(known)), float(known.max()))


@dataclass(frozen=True, slots=True)
class TargetCounts:
    """What is known of one target."""

    name: str
    films: int
    known: int
    """Films of which it is known."""
    positive: int | None
    """Films above one half; None for a target whose values are not all from 0 to 1, such as an age."""

    @property
    def prevalence(self) -> float | None:
        """The share of positive films among the known ones; None without any."""
        return None if self.positive is None or not self.known else self.positive / self.known


def is_share(known: NDArray[np.float32]) -> bool:
    """Whether known values are findings or shares of readers, 0 to 1, rather than numbers such as an age."""
    return bool(((known >= 0) & (known <= 1)).all())


def target_counts(name: str, values: NDArray[np.float32]) -> TargetCounts:
    """Count one target: (n,) float32, NaN is unknown."""
    known = values[~np.isnan(values)]
    return TargetCounts(name, len(values), len(known), int((known > 0.5).sum()) if is_share(known) else None)
