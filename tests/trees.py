"""Comparing caches byte for byte, and manifests that say other things."""

import hashlib
import json
from pathlib import Path

from resload.store.documents import as_json
from resload.store.sealed import sealed


def tree(folder: Path) -> dict[str, str]:
    """Every file below a folder and the hash of its bytes."""
    return {
        str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


def stamps(folder: Path) -> dict[str, tuple[int, int]]:
    """Every file's inode and modification time: what changes when it is written or replaced."""
    return {
        str(path.relative_to(folder)): (path.stat().st_ino, path.stat().st_mtime_ns)
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


def reworded(cache: Path, **attributes: object) -> None:
    """Change what a manifest says, as if it had been written so: with the sum that belongs to it."""
    path = cache / "zarr.json"
    document = json.loads(path.read_text())
    document["attributes"]["resload"].update(attributes)
    path.write_bytes(as_json(sealed(document, document["attributes"]["resload"])))
