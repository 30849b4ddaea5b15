"""A hospital's archive as a table: one row per radiograph and frame, from the headers of whatever lies in a folder.

    folder -> paths, sorted -> ledger.Entry each (from the file, or as the ledger kept it)
           -> objects.kind: radiographs, and what is left out, counted
           -> copies.py: one file for each SOP Instance UID
           -> columns

The rows' order is that of the paths, whatever order the files were read in.
"""

from collections import Counter
from collections.abc import Collection, Sequence
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from resload.catalog import copies, folders, objects, reading, rules
from resload.catalog.ledger import Entry, Ledger, stamp_of
from resload.catalog.objects import BASE, HEADER, tag
from resload.decode.tags import Tag, named
from resload.errors import ArgumentError, CatalogError, UnreadableFileError

TEXTS = ("SOPInstanceUID", "StudyInstanceUID", "AccessionNumber", "Manufacturer", "BurnedInAnnotation")
"""Columns that are an attribute as it stands."""
SIDES = ("L", "R", "B")
"""What `laterality` may be: left, right, both (PS3.3 C.7.3.1 and C.8.11.2; U, unpaired, is none of them)."""


def table_of(
    root: Path,
    tags: Sequence[str],
    modalities: Collection[str],
    index: Path | None,
    *,
    threads: int | None,
    progress: bool,
) -> tuple[pd.DataFrame, list[str]]:
    """The table of an archive, and notes on what is not in it."""
    if not root.is_dir():
        raise CatalogError(f"{root} is not a folder: a catalog is made of the files in one")
    wanted = {name: named(name) for name in dict.fromkeys([*BASE, *_checked(tags, "tags")])}
    notes: list[str] = []
    with Ledger(index, list(wanted)) as ledger:
        paths = _paths(root, index, notes)
        entries = _entries(root, paths, ledger, threads=threads, progress=progress)
        found = _radiographs(entries, set(_checked(modalities, "modalities")), notes)
        found = copies.one_of_each(found, root, ledger, notes)
    if not found:
        raise CatalogError(
            f"{root} has no radiograph among its {len(entries)} files: {'; '.join(notes) or 'it is empty'}. "
            "Images of other modalities are taken by modalities=(...)"
        )
    return _columns(found, {name: wanted[name] for name in tags}, notes), notes


def _checked(names: Collection[str], argument: str) -> Collection[str]:
    if isinstance(names, str):
        raise ArgumentError(f"{argument} are several names: {argument}=({names!r},); found one text")
    return names


def _paths(root: Path, index: Path | None, notes: list[str]) -> list[str]:
    """Every file below the root but the index, sorted; folders that cannot be listed are noted."""
    own = _below(root, index)
    return [path for path in folders.files_below(root, notes) if path != own]


def _entries(root: Path, paths: Sequence[str], ledger: Ledger, *, threads: int | None, progress: bool) -> list[Entry]:
    """What each file is, in the order of the paths; read where the ledger does not know it."""
    tags = [named(keyword) for keyword in ledger.tags]

    def look(path: str) -> Entry:
        if not _is_text(path):
            return Entry(repr(path), (0, 0), "damaged", "the file's name is not UTF-8", None, ())
        try:
            known = ledger.known(path, stamp_of(root / path))
            return ledger.add(objects.look(root, path, tags)) if known is None else known
        except UnreadableFileError as exc:
            reason = exc.detail or exc.reason
        except OSError as exc:
            reason = exc.strerror or "the file could not be read"
        return Entry(path, (0, 0), "damaged", reason, None, ())  # not kept: it may be readable tomorrow

    return reading.spread(look, paths, threads=threads, progress=progress, what="headers")


def _below(root: Path, index: Path | None) -> str | None:
    """The index's path below the root, if it is there: it is no file of the archive."""
    if index is None or not index.resolve().is_relative_to(root.resolve()):
        return None
    return index.resolve().relative_to(root.resolve()).as_posix()


def _is_text(path: str) -> bool:
    """Whether a path can be kept: one of other bytes than UTF-8 has half characters in Python."""
    try:
        path.encode()
    except UnicodeEncodeError:
        return False
    return True


def _radiographs(entries: Sequence[Entry], modalities: Collection[str], notes: list[str]) -> list[Entry]:
    """The radiographs; all others are counted by kind, with what is known of them and the first paths."""
    left: dict[str, list[Entry]] = {kind: [] for kind in objects.KINDS}
    found: list[Entry] = []
    for entry in entries:
        kind = objects.kind(entry, modalities)
        (found if kind is None else left[kind]).append(entry)
    for kind, some in left.items():
        if some:
            rules.say(notes, f"left out: {len(some)} {kind}, {_about(kind, some)}")
    return found


def _about(kind: str, entries: Sequence[Entry]) -> str:
    """`CT 12, US 5, the first: a/b`; of what cannot be read, the first path for each reason."""
    if kind in (objects.UNREADABLE, objects.NO_RADIOGRAPHS):
        first = {entry.reason: entry.path for entry in reversed(entries)}
        reasons = Counter(entry.reason for entry in entries)
        return "; ".join(f"{reason}: {count}, the first: {first[reason]}" for reason, count in reasons.most_common())
    words = Counter(objects.modality_of(entry) or "none" for entry in entries if kind == objects.OTHERS)
    return ", ".join([*(f"{word} {count}" for word, count in words.most_common()), f"the first: {entries[0].path}"])


def _columns(found: Sequence[Entry], tags: dict[str, Tag], notes: list[str]) -> pd.DataFrame:
    """The table: a row for each frame of each file."""
    header = dict(zip(HEADER, zip(*(entry.header for entry in found if entry.header), strict=True), strict=True))
    texts = {name: [tag(entry, name) for entry in found] for name in BASE}
    columns = {
        "path": rules.as_text([entry.path for entry in found]),
        "patient": rules.as_text(texts["PatientID"]),
        "group": rules.as_text(texts["StudyInstanceUID"]),
        **{name: rules.as_text(texts[name]) for name in TEXTS[:3]},
        "ViewPosition": _first(texts["ViewPosition"], texts["ViewCodeSequence.CodeMeaning"]),
        "laterality": _sides(_first(texts["ImageLaterality"], texts["Laterality"])),
        "Modality": rules.as_text([objects.modality_of(entry) for entry in found]),
        "intent": rules.as_text(header["intent"]),
        **{name: rules.as_text(texts[name]) for name in TEXTS[3:]},
        "TransferSyntaxUID": rules.as_text(header["syntax"]),
        **{name: pd.Series(header[name], dtype=np.float64) for name in HEADER[:6] if name != "frames"},
        **{name: rules.as_text(header[name]) for name in ("photometric", "voi")},
    }
    for place, (name, one) in enumerate((name, one) for name, one in tags.items() if name not in BASE):
        columns[name] = _values([entry.tags[len(BASE) + place] for entry in found], one)
    for name in (name for name in tags if name in BASE and name not in columns):
        columns[name] = _values(texts[name], tags[name])
    return _framed(pd.DataFrame(columns), np.array(header["frames"], dtype=np.int64), notes)


def _first(values: Sequence[str | None], others: Sequence[str | None]) -> pd.Series:
    return rules.as_text([value or other for value, other in zip(values, others, strict=True)])


def _sides(column: pd.Series) -> pd.Series:
    upper = column.str.upper()
    return upper.where(upper.isin(SIDES))


def _values(values: Sequence[str | None], one: Tag) -> pd.Series:
    """A column: numbers where the attribute is numeric and every value is a single number, else texts."""
    texts = rules.as_text(values)
    if not one.numeric:
        return texts
    numbers = pd.to_numeric(texts, errors="coerce")
    return numbers.astype(np.float64) if (numbers.isna() == texts.isna()).all() else texts


def _framed(table: pd.DataFrame, frames: NDArray[np.int64], notes: list[str]) -> pd.DataFrame:
    """A row for each frame, and what it is called: the SOP Instance UID, and `UID#3` for frame 3 of several."""
    lost = table["SOPInstanceUID"].isna()
    if lost.any():
        rules.say(notes, f"{int(lost.sum())} files have no SOP Instance UID: their id is their path")
    names = table["SOPInstanceUID"].where(~lost, table["path"])
    rows = np.repeat(np.arange(len(table)), frames)
    number = np.arange(len(rows)) - np.repeat(np.cumsum(frames) - frames, frames)
    table, several = table.iloc[rows].reset_index(drop=True), frames[rows] > 1
    ids = names.to_numpy(dtype=object)[rows]
    for row in np.flatnonzero(several):
        ids[row] = f"{ids[row]}#{number[row]}"
    table.insert(0, "id", rules.as_text(ids))
    table.insert(2, "frame_index", number)
    return table
