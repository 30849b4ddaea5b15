"""Replacing a cache's small files so that an open, a kill or a power cut at any moment finds a whole cache.

A document or table appears by a rename. Tables and manifest belong together, and two renames are two moments, so
a table is replaced in three steps, each of which leaves a cache that opens:

    manifest accepts the old sum and the new one  ->  the table  ->  the manifest accepts the new one alone
"""

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

from resload.store import documents, layout, tables
from resload.store.alone import check
from resload.store.commit import explained, make_folders, remove, write_whole
from resload.store.files import disk
from resload.store.layout import Manifest
from resload.store.remote import Location


def write(cache: Location, name: str, data: bytes) -> bool:
    """Write one file whole unless it already holds these bytes; True when it was written."""
    target, scratch = cache / name, cache / layout.BUILD
    check(cache)
    with explained(target):
        if _holds(target, data):
            if isinstance(target, Path):
                disk().sync_folder(target.parent)  # who renamed it there may have been ended before this
            return False
        make_folders(scratch, below=cache)
        make_folders(target.parent, below=cache)
        write_whole(data, target, scratch=scratch)
    return True


def _holds(target: Location, data: bytes) -> bool:
    try:
        return target.read_bytes() == data
    except (FileNotFoundError, IsADirectoryError):
        return False


def write_manifest(cache: Location, manifest: Manifest) -> bool:
    """Write the root document, with its sum; True when it changed."""
    document = documents.root_document(replace(manifest, summed=True))
    return write(cache, layout.MANIFEST, documents.as_json(document))


def write_documents(cache: Location, manifest: Manifest) -> None:
    """Write what is below the root document: the groups of levels and masks, and each of them."""
    for size in manifest.arrays:
        name = f"{layout.level_folder(size)}/{layout.MANIFEST}"
        write(cache, name, documents.as_json(documents.array_document(manifest, size)))
    for group, document in documents.group_documents(manifest).items():
        write(cache, f"{group}/{layout.MANIFEST}", documents.as_json(document))


def publish(cache: Location, present: Manifest, goal: Manifest, files: Mapping[str, bytes]) -> bool:
    """Make these tables, and the manifest `goal` with their sums, the cache; True when anything changed.

    present: the manifest that is there now. A table that is not among `files` any more is removed last, one that the
    manifest does not name yet is written before it is named, and one that is damaged is written again.
    """
    sums = {name: (tables.sum_of(data),) for name, data in files.items()}
    goal = replace(goal, tables=sums)
    changed = present != goal
    if changed:
        if present.state == "complete":
            both = {name: tuple(dict.fromkeys((*old, *sums.get(name, ())))) for name, old in present.tables.items()}
            write_manifest(cache, replace(present, tables=both))
        for name, data in files.items():
            write(cache, name, data)
        write_documents(cache, goal)
        write_manifest(cache, goal)
    else:
        written = [write(cache, name, data) for name, data in files.items()]
        changed = any(written)
    _settle(cache, set(files))
    return changed


def _settle(cache: Location, tables_there: set[str]) -> None:
    """Remove tables that the manifest does not name; what was renamed in the cache's folder survives a power cut."""
    with explained(cache):
        for name in {layout.SAMPLES, layout.BOXES} - tables_there:
            if (cache / name).exists():
                remove(cache / name)
        if isinstance(cache, Path):
            disk().sync_folder(cache)
