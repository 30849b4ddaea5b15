"""Sizes are (height, width) in pixels; an int s means (s, s). A ladder is sizes in ascending order."""

from collections.abc import Iterable
from typing import NamedTuple, TypeAlias

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


SizeLike: TypeAlias = int | tuple[int, int]
"""What every public function takes for a size: 512, or (height, width)."""


def as_size(value: object) -> Size:
    """`as_size(512)` is `Size(512, 512)`; `as_size((2100, 1700))` is 2100 high and 1700 wide.

    Strings as the command line writes them are read too: `"512"`, `"2100x1700"`.

    Raises SizeError for anything else, and for sides under 1 or over 65,536.
    """
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


def as_ladder(sizes: object) -> tuple[Size, ...]:
    """Sizes without repeats, smallest area first: the order in which levels are kept and shown.

    One int or string is a ladder of one; a sequence is a list of sizes, so a single rectangle is
    written `[(2100, 1700)]`.
    """
    if isinstance(sizes, Size | str) or not isinstance(sizes, Iterable):
        sizes = [sizes]
    found = {as_size(size) for size in sizes}
    if not found:
        raise SizeError("at least one size is needed, for example sizes=(128, 256, 512); found none")
    return tuple(sorted(found, key=lambda size: (size.pixels, size)))
