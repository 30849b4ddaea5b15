"""What to do with intensities, as one string: a name, its numbers, its options.

    recipe  = name [ "(" part { "," part } ")" ]        percentile(1, 99, polarity=keep)
    part    = number | option "=" word

Spaces and capitals do not count. `str(Recipe.parse(text))` is the canonical spelling, which manifests and tables keep:
options that say what holds anyway are left out.
"""

import math
import re
from dataclasses import dataclass, fields
from functools import lru_cache
from typing import NamedTuple

from resload.decode import COLOURS
from resload.errors import ArgumentError

RECIPES = (
    "auto",
    "display",
    "minmax",
    "percentile(1, 99)",
    "window(2048, 4096)",
    "raw",
    "mimic-jpg",
    "chexpert-jpg",
    "none",
)
"""One spelling of each."""

POLARITIES = ("photometric", "presentation", "keep")
PREFERENCES = ("lut", "window")
FUNCTIONS = ("linear", "linear_exact", "sigmoid")


class _Form(NamedTuple):
    """What a name takes: how many numbers, and which options."""

    numbers: int
    options: tuple[str, ...]


_DISPLAY, _AS_IT_IS = _Form(0, ("polarity", "prefer", "voi", "colour")), _Form(0, ("colour",))
_FORMS = {
    "auto": _DISPLAY,
    "display": _DISPLAY,
    "minmax": _Form(0, ("polarity", "colour")),
    "percentile": _Form(2, ("polarity", "colour")),
    "window": _Form(2, ("polarity", "function", "colour")),
    "raw": _AS_IT_IS,
    "mimic-jpg": _AS_IT_IS,
    "chexpert-jpg": _AS_IT_IS,
    "none": _AS_IT_IS,
}
_WORDS = {"polarity": POLARITIES, "prefer": PREFERENCES, "function": FUNCTIONS, "colour": COLOURS}
_TEXT = re.compile(r"([a-z-]+)(?:\((.*)\))?", re.DOTALL)


@dataclass(frozen=True, slots=True)
class Recipe:
    """How stored values become pixels. Raises ArgumentError for values that are no recipe.

    >>> str(Recipe.parse("Percentile(1.0, 99, polarity=photometric)"))
    'percentile(1, 99)'
    """

    name: str
    """What the string begins with: see `resload.intensity`."""
    numbers: tuple[float, ...] = ()
    """`percentile`: p and q, 0 <= p < q <= 100. `window`: center and width, in modality values."""
    polarity: str = "photometric"
    """What decides whether small values are white: "photometric", the Photometric Interpretation; "presentation", the
    Presentation LUT Shape where there is one, else the former; "keep", nothing: never turned round."""
    prefer: str = "lut"
    """Which VOI transformations of a film count where it has both: its "lut"s or its "window"s."""
    voi: int = 0
    """Which of those, from 0. A film that lacks the one named is refused; with 0, one that has none at all is shown
    over the full range that can be stored."""
    function: str = "linear"
    """Of `window`: "linear", "linear_exact" or "sigmoid" (DICOM PS3.3 C.11.2.1.2 and C.11.2.1.3)."""
    colour: str = "luma"
    """What becomes of films in colour: their "luma", or "reject": they are no radiographs."""

    def __post_init__(self) -> None:
        object.__setattr__(self, "numbers", tuple(map(float, self.numbers)))
        form = _FORMS.get(self.name)
        if form is None or len(self.numbers) != form.numbers:
            raise _refused(str(self))
        taken = ("name", "numbers", *form.options)
        if any(getattr(self, one.name) != one.default for one in fields(self) if one.name not in taken):
            raise _refused(str(self))
        self._check_numbers()
        if self.voi < 0 or any(getattr(self, option) not in words for option, words in _WORDS.items()):
            raise _refused(str(self))

    def _check_numbers(self) -> None:
        if not all(map(math.isfinite, self.numbers)):
            raise _refused(str(self))
        if self.name == "percentile" and not 0 <= self.numbers[0] < self.numbers[1] <= 100:
            raise ArgumentError(f"intensity: percentile(p, q) needs 0 <= p < q <= 100; found {str(self)!r}")
        narrowest = 1.0 if self.function == "linear" else math.ulp(0.0)
        if self.name == "window" and self.numbers[1] < narrowest:
            least = "at least 1" if self.function == "linear" else "above 0"
            raise ArgumentError(f"intensity: the width of a {self.function} window is {least}; found {str(self)!r}")

    def __str__(self) -> str:
        options = [one for one in fields(self) if one.name not in ("name", "numbers")]
        set_ = [f"{one.name}={getattr(self, one.name)}" for one in options if getattr(self, one.name) != one.default]
        parts = [*map(_plain, self.numbers), *set_]
        return f"{self.name}({', '.join(parts)})" if parts else self.name

    @staticmethod
    def parse(text: str) -> "Recipe":
        """The recipe that a string spells. Raises ArgumentError, which lists the recipes."""
        if not isinstance(text, str):
            raise _refused(text)
        return _parsed(text)

    @property
    def measures(self) -> bool:
        """Whether it looks at all of a film's pixels."""
        return self.eight_bits or self.name in ("minmax", "percentile")

    @property
    def eight_bits(self) -> bool:
        """Whether it makes 256 gray levels of any film, so that more bits would hold nothing more."""
        return self.name in ("mimic-jpg", "chexpert-jpg")


@lru_cache(maxsize=256)
def _parsed(text: str) -> Recipe:
    found = _TEXT.fullmatch("".join(text.lower().split()))
    if found is None:
        raise _refused(text)
    name, inside = found.groups()
    parts = inside.split(",") if inside else []
    words = dict(part.split("=", 1) for part in parts if "=" in part)
    plain = [part for part in parts if "=" not in part]
    repeated = len(words) + len(plain) != len(parts) or parts[: len(plain)] != plain
    if repeated or name not in _FORMS or not set(words) <= set(_FORMS[name].options):
        raise _refused(text)
    try:
        voi = int(words.pop("voi", "0"))
        return Recipe(name, tuple(map(float, plain)), voi=voi, **words)
    except ValueError as exc:
        if isinstance(exc, ArgumentError):
            raise
        raise _refused(text) from exc


def _refused(found: object) -> ArgumentError:
    name = re.split(r"[^a-z-]", str(found).strip().lower(), maxsplit=1)[0]
    taken = _FORMS[name].options if name in _FORMS else ()
    choices = [f"{one}={'|'.join(_WORDS[one]) if one in _WORDS else '0, 1, ...'}" for one in taken]
    options = f"; options of {name}: {', '.join(choices)}" if choices else ""
    return ArgumentError(f"intensity must be one of {', '.join(RECIPES)}; found {found!r}{options}")


def _plain(number: float) -> str:
    """A number as people write it, which reads back as the same one."""
    return str(int(number)) if number.is_integer() else repr(number)
