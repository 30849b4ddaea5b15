"""DICOM texts -> Python's, by Specific Character Set (0008,0005): PS3.3 C.12.1.1.2, PS3.5 6.1.

The tables of names are pydicom's (`pydicom.charset`); its functions are not used, as they report what they cannot
decode through `warnings`, whose filters cannot be changed for one thread alone. Here nothing is raised and nothing
warned of: bytes that mean nothing become U+FFFD, and an unknown character set is read as Latin-1.
"""

import re
from collections.abc import Sequence
from functools import lru_cache

_DECLARED = re.compile(r"ISO[ _-]?(2022[ _-]?)?IR[ _-]?(\d+)")
"""ISO_IR 100, and the spellings that files have instead of it: `ISO IR 100`, `ISO_IR_100`, `ISO-IR 100`."""
_RESETS = b"\\\t\n\f\r"
"""At these the first character set is in force again (PS3.5 6.1.2.5.3)."""
_NAME_RESETS = _RESETS + b"^="
"""In names (VR PN) at these too."""


@lru_cache(maxsize=256)
def encodings(declared: str) -> tuple[str, ...]:
    r"""Python's codecs for a value of Specific Character Set, one for each of its parts; never empty.

    >>> encodings("ISO_IR 192"), encodings("\\ISO 2022 IR 87")
    (('UTF8',), ('iso8859', 'iso2022_jp'))
    """
    from pydicom.charset import default_encoding, python_encoding

    names = [_spelled(part.strip()) for part in declared.split("\\")]
    return tuple(python_encoding.get(name, default_encoding) for name in names)


def _spelled(name: str) -> str:
    found = _DECLARED.fullmatch(name.upper())
    if found is None:
        return name
    return f"ISO 2022 IR {found[2]}" if found[1] else f"ISO_IR {found[2]}"


def decoded(raw: bytes, codecs: Sequence[str], *, name: bool = False) -> str:
    """The text of a value; `name` says that it is one of a person (VR PN)."""
    if b"\x1b" not in raw:
        return raw.decode(codecs[0], errors="replace")
    resets = _NAME_RESETS if name else _RESETS
    first, *escaped = re.split(rb"(?=\x1b)", raw)
    return first.decode(codecs[0], errors="replace") + "".join(_escaped(part, codecs[0], resets) for part in escaped)


def _escaped(part: bytes, first: str, resets: bytes) -> str:
    """What an escape sequence starts: in its own character set up to a reset, then in the first one."""
    from pydicom.charset import CODES_TO_ENCODINGS

    length = 4 if part.startswith((b"\x1b$(", b"\x1b$)")) else 3
    codec = CODES_TO_ENCODINGS.get(part[:length])
    if codec is None:
        return part.decode(first, errors="replace")
    if codec.startswith("iso2022_jp"):
        return part.decode(codec, errors="replace")  # the codec knows the sequence, and what ends it
    rest = part[length:]
    end = next((at for at, byte in enumerate(rest) if byte in resets), len(rest))
    return rest[:end].decode(codec, errors="replace") + rest[end:].decode(first, errors="replace")
