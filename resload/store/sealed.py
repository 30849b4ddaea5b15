"""Documents that hold the sum of themselves, so that damage to them is found when they are read.

    {..., "sum": "32 hex digits"}    the first 128 bits of SHA-256 over the document in canonical form, "sum" empty

Canonical form: JSON with the keys of every object sorted, no spaces, ASCII. What stands between the tokens of the file
is therefore not part of the sum, and neither is the order of keys.
"""

import hashlib
import json
from typing import Any

SUM = "sum"


def sealed(document: dict[str, Any], place: dict[str, Any]) -> dict[str, Any]:
    """The document with its sum in `place`, an object within it or itself; changed in place and returned."""
    place[SUM] = ""
    place[SUM] = _total(document)
    return document


def holds(document: dict[str, Any], place: dict[str, Any]) -> bool:
    """Whether the sum in `place` is that of the document."""
    found = place.get(SUM)
    place[SUM] = ""
    expected = _total(document)
    place[SUM] = found
    return bool(found == expected)


def _total(document: dict[str, Any]) -> str:
    text = json.dumps(document, sort_keys=True, separators=(",", ":"), ensure_ascii=True)
    return hashlib.sha256(text.encode()).hexdigest()[:32]
