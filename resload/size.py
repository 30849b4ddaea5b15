"""Sizes are (height, width) in pixels; an int s means (s, s). A ladder is sizes in ascending order.

A `Spacing` is a size that also says how many millimetres a pixel shows. All sizes of one recipe show the same part of
the body, so what a ladder of them has in common is its field of view.
"""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import NamedTuple, TypeAlias, TypeGuard

from resload.errors import SizeError

LARGEST = 1 << 16
"""No side is larger: DICOM's Rows and Columns are unsigned 16-bit (PS3.3 C.7.6.3.1), and so are indices into it."""


class Size(NamedTuple):
    """(height, width) in pixels. `str(size)` is `512x512`, height first, as levels are named on disk."""

    height: int
    width: int

    def __str__(self) -> str:
        return f"{self.height}x{self.width}"

    @property
    def pixels(self) -> int:
        """How many pixels an image of this size has."""
        return self.height * self.width


@dataclass(frozen=True)
class Spacing:
    """A target in millimetres per pixel: `Spacing(0.4, canvas=(1024, 832))` shows 409.6 x 332.8 mm of every film.

    A finding of 6 mm is then 15 pixels long on every film whose spacing is known; films without a spacing cannot be
    made. As text, on the command line: `0.4mm@1024x832`.

    Raises SizeError for a spacing that is not positive, or a canvas that is no size.
    """

    mm: float
    """Millimetres per pixel, in y and x."""
    canvas: "Size"
    """(height, width) of the image."""

    def __post_init__(self) -> None:
        if isinstance(self.mm, bool) or not isinstance(self.mm, int | float) or not 0 < self.mm < math.inf:
            raise SizeError(f"Spacing needs positive millimetres per pixel; found {self.mm!r}")
        object.__setattr__(self, "mm", float(self.mm))
        object.__setattr__(self, "canvas", as_size(self.canvas))

    def __str__(self) -> str:
        return f"{self.mm:g}mm@{self.canvas}"

    @property
    def field(self) -> tuple[float, float]:
        """(height, width) in mm of what an image shows, to a millionth of a millimetre."""
        return round(self.mm * self.canvas.height, 6), round(self.mm * self.canvas.width, 6)


NATIVE = "native"


class Native(Size):
    """The films' own sizes, on a canvas of the largest height and width: `str` is "native".

    All natives are equal, and equal to "native", so that it finds them in a dict of sizes. 0 x 0 until a catalog's
    films are known. As a size of a ladder it is the last.
    """

    __slots__ = ()

    def __str__(self) -> str:
        return NATIVE

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Native) or (isinstance(other, str) and other == NATIVE)

    def __ne__(self, other: object) -> bool:
        return not self == other

    def __hash__(self) -> int:
        return hash(NATIVE)


SizeLike: TypeAlias = int | tuple[int, int]
"""What every public function takes for a size: 512, or (height, width)."""


def as_size(value: object) -> Size:
    """`as_size(512)` is `Size(512, 512)`; `as_size((2100, 1700))` is 2100 high and 1700 wide.

    Strings as the command line writes them are read too: `"512"`, `"2100x1700"`, `"native"`.

    Raises SizeError for anything else, and for sides under 1 or over 65,536.
    """
    if isinstance(value, Native):
        return value
    if isinstance(value, str) and value.lower() == NATIVE:
        return Native(0, 0)
    sides = _sides(value)
    if any(not 1 <= side <= LARGEST for side in sides):
        raise SizeError(f"a size needs sides from 1 to {LARGEST}; found {value!r}")
    return Size(*sides)


def _sides(value: object) -> tuple[int, int]:
    if isinstance(value, str):
        parts: object = value.lower().split("x")
        if isinstance(parts, list) and len(parts) == 1:
            parts = parts * 2
    elif isinstance(value, Iterable):
        parts = list(value)
    else:
        parts = [value, value]
    if not isinstance(parts, list) or len(parts) != 2:
        raise SizeError(f"a size is an int or (height, width); found {value!r}")
    try:
        sides = (int(parts[0]), int(parts[1]))
        whole = all(isinstance(p, str) or p == s for p, s in zip(parts, sides, strict=True))
    except (TypeError, ValueError):
        whole = False
    if not whole or any(isinstance(p, bool) for p in parts):
        raise SizeError(f"a size is an int or (height, width) of whole pixels; found {value!r}")
    return sides


AUTO = "auto"
LARGEST_SERVED = 512
"""The largest size that "auto" promises when it is not told another."""
REACH = Fraction(5, 8)
"""A size is served well from a level when no side is longer than this share of the level's (see `composite`)."""


def reaches(level: Size, size: Size) -> bool:
    """Whether a level serves this size well: itself, or one of at most 5/8 of its sides."""
    return level == size or all(side <= REACH * own for side, own in zip(size, level, strict=True))


def ladder_for(largest: Size, films: Size | None = None) -> tuple[Size, ...]:
    """The ladder that serves every size up to `largest` within 5/8 of a level, with the fewest pixels.

    Sizes just below `largest` need a level of 8/5 of it, and that one serves all smaller sizes too: one level. It is
    never larger than the largest film, whose own size holds all there is.
    """
    most = films or Size(LARGEST, LARGEST)
    return (Size(*(min(own, math.ceil(side / REACH)) for side, own in zip(largest, most, strict=True))),)


def largest_asked(sizes: object) -> Size | None:
    """What "auto" among these sizes is to serve; None where there is none."""
    found = [as_size(one.partition(":")[2] or LARGEST_SERVED) for one in _listed(sizes) if _is_auto(one)]
    return Size(max(size.height for size in found), max(size.width for size in found)) if found else None


def as_ladder(sizes: object) -> tuple[Size, ...]:
    """Sizes without repeats, smallest area first: the order in which levels are kept and shown.

    One int or string is a ladder of one; a sequence is a list of sizes, so a single rectangle is
    written `[(2100, 1700)]`. "auto" is `ladder_for` 512 x 512, "auto:768" or "auto:2100x1700" for other sizes.
    A `Spacing` counts as its canvas. "native" is the films' own size, and comes last.
    """
    found = {size for one in _listed(sizes) for size in _ladder_of(one)}
    if not found:
        raise SizeError("at least one size is needed, for example sizes=(128, 256, 512); found none")
    return tuple(sorted(found, key=lambda size: (isinstance(size, Native), size.pixels, size)))


def _listed(sizes: object) -> list[object]:
    return [sizes] if isinstance(sizes, Size | str) or not isinstance(sizes, Iterable) else list(sizes)


def _is_auto(size: object) -> TypeGuard[str]:
    return isinstance(size, str) and size.lower().partition(":")[0] == AUTO


def _ladder_of(size: object) -> tuple[Size, ...]:
    if (largest := largest_asked([size])) is not None:
        return ladder_for(largest)
    spacing = as_spacing(size)
    return (as_size(size) if spacing is None else spacing.canvas,)


def as_spacing(size: object) -> Spacing | None:
    """A Spacing, or one as text (`0.4mm@1024x832`); None for sizes of other kinds."""
    if isinstance(size, str) and "mm@" in size.lower():
        mm, _, canvas = size.lower().partition("mm@")
        try:
            return Spacing(float(mm), as_size(canvas))
        except ValueError as exc:
            raise SizeError(f"a size in millimetres per pixel looks like 0.4mm@1024x832; found {size!r}") from exc
    return size if isinstance(size, Spacing) else None


def field_of(sizes: object) -> tuple[float, float] | None:
    """The field of view, (height, width) in mm, that the Spacings among these sizes share; None without any.

    Raises SizeError when they show different fields.
    """
    spacings: Sequence[Spacing] = [found for one in _listed(sizes) if (found := as_spacing(one)) is not None]
    fields = sorted({spacing.field for spacing in spacings})
    if len(fields) > 1:
        shown = "; ".join(f"{spacing} shows {spacing.field[0]:g} x {spacing.field[1]:g} mm" for spacing in spacings)
        raise SizeError(f"all sizes of a recipe show the same field of view; found {shown}")
    return fields[0] if fields else None
