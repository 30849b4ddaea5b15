"""Identifiers as keyed hashes: a cache that tells nobody whose films it holds, and that its owner can still extend.

    id, patient, group   HMAC-SHA256 under the key, of the column's name and the value: 128 bits, as hex
    path                 not stored
    source_hash          of the file, hashed again under the key: lists of a data set's checksums are public
    manifest             a check value of the key, by which a wrong key is refused

The key itself is stored nowhere. Whoever has it makes the same names again, so the cache is matched with its catalog by
them: a catalog is renamed first, and all that follows works with the names alone. Equal values of different columns
have different names. What the pixels show, such as burnt-in text, is for the owner to look at.
"""

import hmac
from typing import TYPE_CHECKING, Any

import pandas as pd

from resload.errors import ArgumentError, CacheMismatchError
from resload.store.layout import Manifest
from resload.store.remote import Location

if TYPE_CHECKING:
    from resload.catalog import Catalog

NAMED = ("id", "patient", "group")
"""Columns of identifiers."""
SHORTEST = 16
"""Bytes of a key: names can be guessed by trying keys, so a key must be too many to try."""
_BOXES = ("id", "label", "x", "y", "width", "height")
_MASKS = ("id", "label", "path", "rle", "rle_format")


class Plain:
    """Identifiers as they are: what holds without a key."""

    check = ""
    """Of the key, for the manifest."""

    def catalog(self, catalog: "Catalog") -> "Catalog":
        """The catalog, under the names that a cache has."""
        return catalog

    def seal(self, source_hash: str) -> str:
        """What a cache stores of a file's hash."""
        return source_hash

    def named(self, column: str, values: "pd.Series[Any]") -> "pd.Series[Any]":
        """Values of a column as a cache has them."""
        return values


class Pseudonyms(Plain):
    """Identifiers under a key, text or at least 16 bytes. Shows its key to nobody. Thread-safe.

    Raises ArgumentError for a key that is too short, or none.
    """

    def __init__(self, key: str | bytes) -> None:
        secret = key.encode() if isinstance(key, str) else key
        if not isinstance(secret, bytes) or len(secret) < SHORTEST:
            raise ArgumentError(
                f"pseudonymise must be a key of at least {SHORTEST} bytes, text or bytes; found "
                f"{f'{len(secret)} bytes' if isinstance(secret, bytes) else type(key).__name__}; "
                "secrets.token_hex(32) makes one"
            )
        self._key = secret
        self.check = self._name("resload key check", "")

    def __repr__(self) -> str:
        return "<Pseudonyms>"

    def catalog(self, catalog: "Catalog") -> "Catalog":
        """The catalog under pseudonyms: a new one, whose paths still say where the films are."""
        table = catalog.table.copy()
        for column in NAMED:
            if column in table:
                table[column] = self.named(column, table[column])
        return type(catalog)(
            table,
            targets=catalog.targets,
            boxes=self._beside(catalog.boxes, _BOXES),
            masks=self._beside(catalog.masks, _MASKS),
            root=catalog.root,
            notes=catalog.notes,
        )

    def seal(self, source_hash: str) -> str:
        """What a cache stores of a file's hash."""
        return self._name("source_hash", source_hash)

    def named(self, column: str, values: "pd.Series[Any]") -> "pd.Series[Any]":
        """Pseudonyms of a column's values; missing stays missing, and a column that names nobody stays as it is."""
        if column not in NAMED:
            return values
        names = {value: self._name(column, str(value)) for value in values.dropna().unique()}
        return values.map(names).astype("str").where(values.notna(), None)

    def _beside(self, table: pd.DataFrame | None, columns: tuple[str, ...]) -> pd.DataFrame | None:
        """Boxes or masks under the same ids, without columns that nobody asked for."""
        if table is None:
            return None
        kept = table[[name for name in columns if name in table]]
        return kept.assign(id=self.named("id", table["id"]))

    def _name(self, column: str, value: str) -> str:
        return hmac.digest(self._key, f"{column}\0{value}".encode(), "sha256")[:16].hex()


def names_of(key: str | bytes | None) -> Plain:
    """How a key names identifiers; None leaves them as they are."""
    return Plain() if key is None else Pseudonyms(key)


def names_in(cache: Location, manifest: Manifest, key: str | bytes | None) -> Plain:
    """The same, for a cache that is there. Raises CacheMismatchError for a key that it was not built with."""
    names = names_of(key)
    check(cache, manifest, names)
    return names


def check(cache: Location, manifest: Manifest, names: Plain) -> None:
    """Raises CacheMismatchError where a cache has other names than these."""
    if names.check == manifest.pseudonyms:
        return
    if not manifest.pseudonyms:
        wrong = "built without pseudonymise, and a key was given; leave it out, or build to another path"
    elif not names.check:
        wrong = "its identifiers are pseudonyms; give pseudonymise=, the key it was built with"
    else:
        wrong = "its identifiers are pseudonyms under another key; give the key it was built with"
    raise CacheMismatchError(f"{cache}: {wrong}")
