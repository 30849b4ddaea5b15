"""How a film comes to fill a size: frozen values that a recipe holds and a manifest remembers.

    stretch          the whole film onto the whole target, each axis by its own factor
    pad              the whole film, its shape kept, on a canvas; or a field of view in millimetres (`Spacing`)
    crop             as much of the film as fills the target, its shape kept

A fit's shape is that of the film's pixels (aspect "pixel") or, for films that were squashed before they were released,
that of the body (aspect "physical": pixels are as high and wide as their spacing says).
"""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, TypeAlias

import numpy as np

from resload.errors import ArgumentError

ASPECTS = ("pixel", "physical")
ALIGNMENTS: dict[str, tuple[float, float]] = {
    "centre": (0.5, 0.5),
    "top": (0.0, 0.5),
    "bottom": (1.0, 0.5),
    "left": (0.5, 0.0),
    "right": (0.5, 1.0),
    "top-left": (0.0, 0.0),
}
"""Name -> share of the room that is left above, and to the left of, the film."""
CHEST_WALL = "chest-wall"
"""The side of the film at which the breast begins; centred from top to bottom."""


@dataclass(frozen=True)
class Stretch:
    """The whole film onto the whole target; its shape is not kept."""

    name = "stretch"


@dataclass(frozen=True)
class Pad:
    """The whole film with its shape kept, and a canvas around it.

    Raises ArgumentError for values that are none of these.
    """

    value: float = 0.0
    """Of the canvas, on [0, 1] of the stored range."""
    align: str = "centre"
    """Where the film lies: one of ALIGNMENTS, or "chest-wall" (mammograms: at the side where the breast begins, by
    the catalog's column `laterality`, else by the film itself)."""
    field: tuple[float, float] | None = None
    """(height, width) in mm of what every target shows, whatever the film's own: smaller films get a canvas, larger
    ones lose what lies outside. None: the film, all of it. Set by sizes given as `Spacing`."""

    name = "pad"

    def __post_init__(self) -> None:
        if not 0 <= self.value <= 1:
            raise ArgumentError(f"Pad: value is a share of the stored range, 0 to 1; found {self.value!r}")
        if self.align not in (*ALIGNMENTS, CHEST_WALL):
            known = ", ".join((*ALIGNMENTS, CHEST_WALL))
            raise ArgumentError(f"Pad: align must be one of {known}; found {self.align!r}")
        if self.field is not None:
            field = tuple(float(side) for side in self.field)
            if len(field) != 2 or not all(0 < side < float("inf") for side in field):
                raise ArgumentError(f"Pad: field is (height, width) in mm, both positive; found {self.field!r}")
            object.__setattr__(self, "field", field)


@dataclass(frozen=True)
class Crop:
    """As much of the film as fills the target with its shape kept.

    Raises ArgumentError for another `to`.
    """

    to: str = "centre"
    """"centre": the largest rectangle of the target's shape in the middle of the film. "content": the smallest one
    that holds all of the foreground (see `resload.foreground`); where the film has not enough beside it, black."""

    name = "crop"

    def __post_init__(self) -> None:
        if self.to not in ("centre", "content"):
            raise ArgumentError(f"Crop: to must be centre or content; found {self.to!r}")


Fit: TypeAlias = Stretch | Pad | Crop
FITS: dict[str, type[Fit]] = {"stretch": Stretch, "pad": Pad, "crop": Crop}


def as_fit(value: object) -> Fit:
    """A fit, its name, or what `plain` made of one. Raises ArgumentError for anything else."""
    if isinstance(value, Stretch | Pad | Crop):
        return value
    if isinstance(value, str) and value in FITS:
        return FITS[value]()
    if isinstance(value, Mapping):
        parts = dict(value)
        kind = FITS.get(str(parts.pop("name", None)))
        if kind is not None:
            try:
                return kind(**parts)
            except TypeError as exc:
                raise ArgumentError(f"fit: {dict(value)!r} is not a {kind.__name__} ({exc})") from exc
    raise ArgumentError(
        f"fit must be one of {', '.join(FITS)}, or a value such as geometry.Pad(align='top'); found {value!r}"
    )


def canvas_value(fit: Fit, dtype: np.dtype[Any]) -> int:
    """What a stored pixel beside the film holds."""
    return round(fit.value * int(np.iinfo(dtype).max)) if isinstance(fit, Pad) else 0


def plain(fit: Fit) -> str | dict[str, Any]:
    """A fit as JSON has it: its name where it has no settings of its own, else all of them."""
    if fit == type(fit)():
        return fit.name
    settings = {name: list(value) if isinstance(value, tuple) else value for name, value in asdict(fit).items()}
    return {"name": fit.name, **settings}
