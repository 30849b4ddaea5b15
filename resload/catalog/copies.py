"""One file for each SOP Instance UID, which is the name of one image in all the world (PS3.5 section 9).

Archives hold the same file twice (exported twice, or in two studies' folders); that costs nothing but a row. The same
name for different bytes is a fault of whoever wrote them: a re-compressed copy at best, two patients at worst.
"""

import hashlib
from collections.abc import Sequence
from pathlib import Path

from resload.catalog import rules
from resload.catalog.ledger import Entry, Ledger
from resload.catalog.objects import tag
from resload.decode.source import source_stream


def one_of_each(found: Sequence[Entry], root: Path, ledger: Ledger, notes: list[str]) -> list[Entry]:
    """The first file of each UID in the order of `found`; the others are counted, those that differ by name.

    Only files of one UID and one size are read as a whole, and once: the ledger keeps their digests.
    """
    first: dict[str, Entry] = {}
    kept: list[Entry] = []
    same: list[tuple[Entry, Entry]] = []
    other: list[tuple[Entry, Entry]] = []
    for entry in found:
        uid = tag(entry, "SOPInstanceUID")
        before = entry if uid is None else first.setdefault(uid, entry)
        if before is entry:
            kept.append(entry)
        else:
            (same if _alike(before, entry, root, ledger) else other).append((before, entry))
    if same:
        rules.say(notes, f"left out: {len(same)} identical copies, the first: {_pairs(same, 1)}")
    if other:
        rules.say(
            notes,
            f"left out: {len(other)} files whose SOP Instance UID another file has with DIFFERENT content. The first "
            f"by path was kept; look at both before you trust either: {_pairs(other, 3)}",
        )
    return kept


def _alike(before: Entry, entry: Entry, root: Path, ledger: Ledger) -> bool:
    if before.stamp[0] != entry.stamp[0]:
        return False
    return _digest(before, root, ledger) == _digest(entry, root, ledger)


def _digest(entry: Entry, root: Path, ledger: Ledger) -> str:
    known = ledger.content(entry.path, entry.stamp)
    if known is None:
        with source_stream(root / entry.path) as file:
            known = hashlib.file_digest(file, "sha256").hexdigest()
        ledger.add_content(entry.path, entry.stamp, known)
    return known


def _pairs(pairs: Sequence[tuple[Entry, Entry]], most: int) -> str:
    return ", ".join(f"{entry.path} (as {before.path})" for before, entry in pairs[:most])
