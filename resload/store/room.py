"""The room that a mirror's folder has: how much is taken, and which copy goes when there is no more.

    <cache>/512x512-12-<sum>                  a copy: its bytes
    <cache>/512x512-12-<sum>.<length>.part    begun: the bytes that it will have, so that all who fetch at once stay
                                              within the bound; one that nobody goes on with may be removed

Other files in the folder are nobody's business here: they are neither counted nor removed.
"""

import re
import shutil
import time
from contextlib import suppress
from pathlib import Path

from resload.errors import DiskSpaceError
from resload.store.foreseen import NEVER, Plans
from resload.store.locks import held, is_held
from resload.wording import megabytes

RESERVE = 0.02
"""Of the disk: left free, whatever the bound."""
STALLED = 30.0
"""Seconds without a change after which a reader no longer waits for those who fetch, and goes beyond the bound."""
_POLL = 0.05
_COPY = re.compile(r"(?:native|(?:masks_)?\d+x\d+)-\d+-[0-9a-f]{16}(?:\.(\d+)\.part)?")
_CACHE = re.compile("[0-9a-f]{16}")


class Room:
    """The folder of a mirror, and the bytes that it may hold (None: as the disk does). Thread-safe, and so between
    processes.
    """

    def __init__(self, folder: Path, most: int | None) -> None:
        self.folder, self.most = folder, most
        self._plans = Plans(folder)
        self.removed = 0
        """Copies that this process removed for others."""

    def take(self, part: Path, length: int, before: int) -> bool:
        """Begin a copy of so many bytes, unless it is begun; False where only copies that are used within the next
        `before` steps could go for it (-1: they may, and what others fetch just now is waited for).

        Raises DiskSpaceError.
        """
        seen, changed = (0, 0), time.monotonic()
        while True:
            with held(self.folder / "lock", keep=True):
                if part.exists() or self._made(length, before):
                    part.touch()
                    return True
                if before >= 0:
                    return False
                now = self._state()
                if now != seen:
                    seen, changed = now, time.monotonic()
                if time.monotonic() - changed > STALLED:
                    part.touch()
                    return True
            time.sleep(_POLL)

    def place(self, part: Path, path: Path) -> None:
        """Give a whole copy its name; not while the folder is listed, which might then show neither name."""
        with held(self.folder / "lock", keep=True):
            part.replace(path)

    def _made(self, length: int, before: int) -> bool:
        """Remove copies until there is room; False, and none is removed, where one may not go."""
        copies = copies_in(self.folder)
        lacking = length - self._free(copies)
        if lacking <= 0:
            return True
        able = [path for path in copies if path.suffix != ".part" or not is_held(lock_of(path))]
        self._check_disk(length, bool(able))
        uses = self._plans.next_uses()
        ages = {path: (uses.get(key_of(path), NEVER), -copies[path][1]) for path in able}
        going = []
        for path in sorted(able, key=ages.__getitem__, reverse=True):
            if lacking <= 0 or (before >= 0 and ages[path][0] <= before):
                break
            going.append(path)
            lacking -= copies[path][0]
        if lacking > 0:
            return False
        for path in going:
            path.unlink(missing_ok=True)
        self.removed += len(going)
        return True

    def _check_disk(self, length: int, able: bool) -> None:
        """Raise DiskSpaceError where a disk that is full has nothing of ours that could go."""
        free = self._disk_free(0)
        if not able and length > free:
            raise DiskSpaceError(
                f"{self.folder}: the disk has no room for {megabytes(length)} more ({megabytes(max(0, free))} are "
                "free); free some space, or put the mirror on another disk"
            )

    def _free(self, copies: dict[Path, tuple[int, float]]) -> int:
        taken = sum(size for size, _ in copies.values())
        begun = sum(size - _bytes(path) for path, (size, _) in copies.items() if path.suffix == ".part")
        free = self._disk_free(begun)
        return free if self.most is None else min(free, self.most - taken)

    def _disk_free(self, begun: int) -> int:
        disk = shutil.disk_usage(self.folder)
        return disk.free - round(disk.total * RESERVE) - begun

    def _state(self) -> tuple[int, int]:
        """What changes as long as somebody fetches."""
        copies = copies_in(self.folder)
        return len(copies), sum(_bytes(path) for path in copies)


def copies_in(folder: Path) -> dict[Path, tuple[int, float]]:
    """Every copy of a mirror, begun ones too -> (its bytes once it is whole, when it was opened last)."""
    found = {}
    for path in folder.glob("*/*"):
        name = _COPY.fullmatch(path.name)
        if name and _CACHE.fullmatch(path.parent.name):
            whole = path.with_name(path.name.partition(".")[0])
            for now in (path, whole):  # one that was begun may have become whole since its name was listed
                with suppress(FileNotFoundError):
                    status = now.stat()
                    found[now] = int(name[1] or status.st_size), status.st_mtime
                    break
    return found


def key_of(path: Path) -> str:
    """The name of a copy, begun or not, in plans."""
    return f"{path.parent.name}/{path.name.partition('.')[0]}"


def lock_of(path: Path) -> Path:
    """The lock of a copy, held while it is fetched."""
    return path.with_name(f"{path.name.partition('.')[0]}.lock")


def _bytes(path: Path) -> int:
    try:
        return path.stat().st_size
    except FileNotFoundError:
        return 0
