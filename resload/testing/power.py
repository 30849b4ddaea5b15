"""What a disk holds after the power went: what was synced, and of the rest whatever it likes.

What is modelled, at its worst of what POSIX promises and of what ext4, XFS and their kin have been seen to do:

    contents   A write is certain once its file was synced. Until then it may be there, be missing, or be there in some
               of its 512-byte sectors; with one write kept and an earlier one lost, zeros lie between. So may a
               change of length.
    names      A name that was made, renamed over or removed is certain once its folder was synced: not by a sync of
               the file, and not by a sync of a folder above or below. Until then each change of a folder is kept or
               lost for itself, in no order, that of a new folder with all that is below it.
    renames    From one folder to another they are two changes, and the old name may stay beside the new one; but it is
               never gone without it.

Not modelled: a disk that says it synced and did not, bytes that rot, a file system that has to be repaired.
"""

import shutil
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeVar, Union

import numpy as np
from numpy.typing import NDArray

from resload import seeds
from resload.store.files import Files
from resload.testing.faults import Layer

SECTOR = 512
"""Bytes that a disk writes whole or not at all."""
NOTHING, NAMES, EVERYTHING = "nothing", "names", "everything"
"""What of the unsynced may survive, besides a choice by a seed: NAMES is every name with none of the contents."""

T = TypeVar("T")
Sectors = NDArray[np.bool_]


class PowerCut(BaseException):  # no error that code should handle: the program is gone
    """Raised in place of the call at which the power goes, and of each one after it."""


@dataclass
class _File:
    """The bytes that are certain, and the writes and changes of length since."""

    certain: bytes = b""
    pending: list[tuple[int, bytes | None]] = field(default_factory=list)
    """(offset, bytes), or (length, None)."""


@dataclass
class _Folder:
    certain: dict[str, "_Node"] = field(default_factory=dict)
    now: dict[str, "_Node"] = field(default_factory=dict)
    pending: list["_Change"] = field(default_factory=list)


_Node = Union[_File, _Folder]  # noqa: UP007  # each is a name that the other comes before


@dataclass(eq=False)
class _Change:
    """A name of a folder that was made or replaced; removed where `node` is None."""

    folder: _Folder
    name: str
    node: _Node | None
    needs: "_Change | None" = None
    """The new name of what this one removes the old name of."""
    certain: bool = False


class PowerLoss(Layer):
    """Keeps a journal of a folder, and ends every call from the k-th on with `PowerCut`.

    The folder (all of what is below it counts as synced when this is made) is written for real meanwhile. `restore`
    then makes it what a disk might hold.

    k: from 1 on, closes not counted; None: the power does not go by itself. Thread-safe. Keeps in memory what the
    folder holds and every write that was not synced: for small caches.
    """

    def __init__(self, folder: Path, k: int | None = None, below: Files | None = None) -> None:
        super().__init__(below)
        self._path, self._root = folder.absolute(), _read(folder)
        self._open: dict[int, _File] = {}
        self._k, self.steps, self.gone = k, 0, False

    def again(self, k: int | None = None) -> None:
        """The program, not the machine, was ended: what is pending stays so, and another program begins."""
        with self._lock:
            self._open.clear()
            self._k, self.steps, self.gone = k, 0, False

    def around(self, number: int, kind: str, path: Path | None, call: Callable[[], T]) -> T:
        """One call at a time, in the order of the journal."""
        with self._lock:
            if kind != "close":
                self.steps += 1
                self.gone = self.gone or self.steps == self._k
                if self.gone:
                    raise PowerCut(f"the power went at call {self.steps}, {kind}")
            return call()

    # -- the journal --

    def create(self, path: Path) -> int:
        """Make or empty a file."""
        with self._lock:
            descriptor = super().create(path)
            folder, name = self._place(path)
            old = folder.now.get(name) if folder else None
            if isinstance(old, _File):
                old.pending.append((0, None))
                self._open[descriptor] = old
            elif folder:
                self._open[descriptor] = new = _File()
                self._change(folder, name, new)
            return descriptor

    def write(self, descriptor: int, data: memoryview, offset: int) -> int:
        """Write, and remember it."""
        with self._lock:
            written = super().write(descriptor, data, offset)
            if descriptor in self._open:
                self._open[descriptor].pending.append((offset, bytes(data[:written])))
            return written

    def truncate(self, descriptor: int, length: int) -> None:
        """Set the length, and remember it."""
        with self._lock:
            super().truncate(descriptor, length)
            if descriptor in self._open:
                self._open[descriptor].pending.append((length, None))

    def sync(self, descriptor: int) -> None:
        """Make a file's contents certain."""
        with self._lock:
            super().sync(descriptor)
            if descriptor in self._open:
                file = self._open[descriptor]
                file.certain, file.pending = _contents(file, _every), []

    def close(self, descriptor: int) -> None:
        """Close; nothing becomes certain by it."""
        with self._lock:
            super().close(descriptor)
            self._open.pop(descriptor, None)

    def replace(self, path: Path, target: Path) -> None:
        """Give a file another name."""
        with self._lock:
            super().replace(path, target)
            (source, old), (folder, new) = self._place(path), self._place(target)
            if source and folder and path != target:
                made = self._change(folder, new, source.now[old])
                self._change(source, old, None, made)

    def mkdir(self, path: Path) -> None:
        """Make a folder."""
        with self._lock:
            super().mkdir(path)
            folder, name = self._place(path)
            if folder and name not in folder.now:
                self._change(folder, name, _Folder())

    def unlink(self, path: Path) -> None:
        """Remove a file's name."""
        with self._lock:
            super().unlink(path)
            self._forget(path)

    def rmdir(self, path: Path) -> None:
        """Remove a folder."""
        with self._lock:
            super().rmdir(path)
            self._forget(path)

    def sync_folder(self, path: Path) -> None:
        """Make the names in a folder certain."""
        with self._lock:
            super().sync_folder(path)
            folder = self._folder(path)
            for change in [] if folder is None else list(folder.pending):
                _settle(change)

    def _forget(self, path: Path) -> None:
        folder, name = self._place(path)
        if folder and name in folder.now:
            self._change(folder, name, None)

    def _change(self, folder: _Folder, name: str, node: _Node | None, needs: _Change | None = None) -> _Change:
        change = _Change(folder, name, node, needs)
        folder.pending.append(change)
        if node is None:
            del folder.now[name]
        else:
            folder.now[name] = node
        return change

    def _place(self, path: Path) -> tuple[_Folder | None, str]:
        return self._folder(path.parent), path.name

    def _folder(self, path: Path) -> _Folder | None:
        """The folder at a path; None for one that is not there, or not below the journal's."""
        path, found = path.absolute(), self._root
        if not path.is_relative_to(self._path):
            return None
        for name in path.relative_to(self._path).parts:
            below = found.now.get(name)
            if not isinstance(below, _Folder):
                return None
            found = below
        return found

    # -- after the power came back --

    def restore(self, keep: int | str, folder: Path | None = None) -> None:
        """Make the folder (or another one, of which nothing stays) what the disk might hold now.

        keep: NOTHING of what was not synced, NAMES, EVERYTHING, or a choice by this seed: the same for the same
            journal.
        """
        target = self._path if folder is None else folder
        with self._lock:
            choice = _Choice(keep)
            shutil.rmtree(target, ignore_errors=True)
            _lay(target, self._root, choice)


def _settle(change: _Change) -> None:
    """Make a change certain, whatever came before it under this name, and the new name of what it removes."""
    if change.certain:
        return
    change.certain = True
    if change.needs is not None:
        _settle(change.needs)
    folder, at = change.folder, change.folder.pending.index(change)
    before = [one for one in folder.pending[:at] if one.name != change.name]
    folder.pending[: at + 1] = before
    if change.node is None:
        folder.certain.pop(change.name, None)
    else:
        folder.certain[change.name] = change.node


class _Choice:
    """Decides what survives; once for every change and file."""

    def __init__(self, keep: int | str) -> None:
        self._keep = keep
        self._chance = seeds.generator(keep if isinstance(keep, int) else 0, 0, "fault")
        self._kept: dict[_Change, bool] = {}
        self._made: dict[int, bytes] = {}

    def keeps(self, change: _Change) -> bool:
        """Whether a change of a folder survives."""
        if change.certain:
            return True
        if change not in self._kept:
            there = change.needs is None or self.keeps(change.needs)
            own = self._chance.random() < 0.5 if isinstance(self._keep, int) else self._keep != NOTHING
            self._kept[change] = there and own
        return self._kept[change]

    def contents(self, file: _File) -> bytes:
        """The bytes that a file is left with, under each of its names."""
        if id(file) not in self._made:
            self._made[id(file)] = _contents(file, self._part)
        return self._made[id(file)]

    def _part(self, length: int) -> Sectors:
        """Which of so many sectors of a write survive."""
        if not isinstance(self._keep, int):
            return np.full(length, self._keep == EVERYTHING)
        chance = self._chance.random()
        return self._chance.random(length) < (0.5 if chance < 1 / 3 else float(chance < 2 / 3))


def _contents(file: _File, survivors: Callable[[int], Sectors]) -> bytes:
    """A file's bytes, with those sectors of each pending write, in their order, that survive."""
    data = bytearray(file.certain)
    for offset, written in file.pending:
        if written is None:
            if survivors(1).all():
                data[offset:] = bytes(max(0, offset - len(data)))
            continue
        first = offset // SECTOR
        kept = survivors((offset + len(written) - 1) // SECTOR - first + 1)
        for k in np.flatnonzero(kept).tolist():
            begin, end = max(offset, (first + k) * SECTOR), min(offset + len(written), (first + k + 1) * SECTOR)
            data.extend(bytes(max(0, begin - len(data))))
            data[begin:end] = written[begin - offset : end - offset]
    return bytes(data)


def _every(count: int) -> Sectors:
    return np.ones(count, bool)


def _read(folder: Path) -> _Folder:
    """What is there now, all of it certain."""
    there: dict[str, _Node] = {
        path.name: _read(path) if path.is_dir() else _File(path.read_bytes()) for path in sorted(folder.iterdir())
    }
    return _Folder(there, dict(there))


def _lay(target: Path, folder: _Folder, choice: _Choice) -> None:
    """Write a folder as it survives."""
    target.mkdir()
    there = dict(folder.certain)
    for change in folder.pending:
        if choice.keeps(change):
            if change.node is None:
                there.pop(change.name, None)
            else:
                there[change.name] = change.node
    for name, node in sorted(there.items()):
        if isinstance(node, _Folder):
            _lay(target / name, node, choice)
        else:
            (target / name).write_bytes(choice.contents(node))
