"""Copies of whole shards on this machine, for caches that are far away: object storage, or a shared file system.

    <mirror>/<cache>/512x512-12-<sum>         a copy; <sum> is of the records it must hold, so an old copy is never
                                              taken for a new one, and copies outlive appended rows and added sizes
    <mirror>/<cache>/512x512-12-<sum>.part    begun; whoever wants it next goes on where it ends
    <mirror>/<cache>/512x512-12-<sum>.lock    held while it is fetched: one process of the machine fetches, others wait
    <mirror>/plans/<process>.json, .at        which copies a process will use at which step, and where it is
    <mirror>/lock                             held while room is made

Every copy is compared with the cache's checksums before it gets its name. When there is no more room, the copy goes
whose next use lies furthest ahead in the plans of all processes that are alive (Belady's rule, which their known plans
allow); those in no plan go first, the one opened longest ago before others. A copy that somebody reads may go too: it
stays readable as long as it is open there.
"""

import contextlib
import hashlib
import json
import logging
import os
import shutil
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import numpy as np
from crc32c import crc32c
from numpy.typing import NDArray

from resload.errors import ArgumentError, CacheError, CorruptCacheError
from resload.size import Size
from resload.store import layout
from resload.store.alone import is_here, owner
from resload.store.arrays import packed_shard, shard_of
from resload.store.layout import Manifest
from resload.store.plan import Step, Task
from resload.store.remote import Location, Url
from resload.wording import megabytes

FETCHERS = 4
"""Shards that one process fetches at once, each by ranges that are under way together."""
RESERVE = 0.02
"""Of the disk: left free, whatever the bound."""
SILENT = 600.0
"""Seconds after which a plan is forgotten whose process cannot be looked for (it is in another container)."""
_PIECE = 8 << 20
_NEVER = np.iinfo(np.int64).max

_log = logging.getLogger("resload")


class Mirror:
    """The copies of one cache. Thread-safe; any number of processes may share the folder.

    crcs: of an array, the checksums that the table of samples remembers, uint32 (N,).
    most: bytes of all that is in the folder, of other caches too; None for as much as the disk holds.
    """

    def __init__(
        self,
        folder: Path,
        cache: Location,
        manifest: Manifest,
        crcs: Callable[[Size], NDArray[np.uint32]],
        most: int | None,
    ) -> None:
        self._cache, self._manifest, self._crcs, self._most = cache, manifest, crcs, most
        self.folder = folder
        self._own = folder / hashlib.sha256(str(cache).encode()).hexdigest()[:16]
        self._names: dict[tuple[Size, int], str] = {}
        self.removed = 0
        """Copies that this process removed for others."""
        largest = max(Step("", manifest, (Task(0, manifest.rows_of(0), (size,)),)).bytes() for size in manifest.arrays)
        if most is not None and most < 2 * largest:
            raise ArgumentError(
                f"mirror_gb={most / 1e9:g} holds less than two shards of {cache}, which take up to "
                f"{megabytes(largest)} each: allow more"
            )
        if sys.platform == "win32":
            raise ArgumentError("mirror= needs file locks that Windows does not have (flock)")
        self._own.mkdir(parents=True, exist_ok=True)

    @property
    def gigabytes(self) -> float | None:
        """The bound, as `open_cache` takes it."""
        return None if self._most is None else self._most / 1e9

    # -- one copy --

    def path(self, size: Size, group: int) -> Path:
        """The copy of a shard, fetched where it is not here; it may be gone soon: open it at once.

        Raises CorruptCacheError for a shard that is damaged or missing where it comes from, StorageError, OSError.
        """
        path = self._own / self._name(size, group)
        if path.exists():
            with contextlib.suppress(OSError):
                os.utime(path)
            return path
        with _held(path.with_name(f"{path.name}.lock")):
            if not path.exists():
                self._fetch(path, size, group, -1)
        return path

    def has(self, size: Size, group: int) -> bool:
        """Whether a copy is here."""
        return (self._own / self._name(size, group)).exists()

    def renewed(self, size: Size, group: int) -> bool:
        """Look at a copy that somebody found damaged: whether it is, and was removed, so that it is fetched again."""
        path = self._own / self._name(size, group)
        try:
            self._check(path, size, group)
        except CorruptCacheError as exc:
            _log.warning("%s; this copy is fetched again", str(exc).rpartition(";")[0])
            path.unlink(missing_ok=True)
            return True
        except FileNotFoundError:
            return True
        return False

    def _name(self, size: Size, group: int) -> str:
        name = self._names.get((size, group))
        if name is None:
            rows = self._manifest.rows_of(group)
            held = np.ascontiguousarray(self._crcs(size)[rows.start : rows.stop], "<u4")
            name = f"{size}-{group}-{hashlib.sha256(held.tobytes()).hexdigest()[:16]}"
            self._names[size, group] = name
        return name

    def _fetch(self, path: Path, size: Size, group: int, before: int) -> bool:
        """Fetch a shard; False where only copies that are used earlier would have to go (-1: they may)."""
        source, part = self._cache / layout.shard_path(size, group), path.with_name(f"{path.name}.part")
        for attempt in range(2):
            try:
                length = source.size() if isinstance(source, Url) else source.stat().st_size
                begun = part.stat().st_size if part.exists() else 0
                if not self._room(length - begun, before):
                    return False
                if begun > length:
                    part.unlink()
                _append(source, part, length)
                self._check(part, size, group, source)
            except FileNotFoundError as exc:
                raise CorruptCacheError(f"{source}: this shard is missing; see resload.verify") from exc
            except CorruptCacheError:
                part.unlink(missing_ok=True)
                if attempt:
                    raise
            else:
                part.replace(path)
                return True
        raise AssertionError("the second attempt returns or raises")

    def _check(self, path: Path, size: Size, group: int, named: Location | None = None) -> None:
        """Compare all of a copy with the cache's checksums. Raises CorruptCacheError, FileNotFoundError."""
        if not path.exists():
            raise FileNotFoundError(path)
        rows, expected = self._manifest.rows_of(group), self._crcs(size)
        try:
            if layout.is_packed(size):
                packed = packed_shard(self._cache, self._manifest, size, group, at=path)
                for k, row in enumerate(rows):
                    packed.compressed(k, int(expected[row]))
                return
            shard = shard_of(self._cache, self._manifest, size, group, at=path)
            together = max(1, _PIECE // shard.step)
            for first in range(0, len(rows), together):
                some = rows[first : first + together]
                records = np.empty((len(some), shard.step), np.uint8)
                shard.read_into(records.reshape(-1).data, first * shard.step)
                for k, row in enumerate(some):
                    body, behind = records[k, : -layout.CRC_BYTES], records[k, -layout.CRC_BYTES :]
                    found = int(crc32c(body.data))
                    if not found == int.from_bytes(behind.tobytes(), "little") == int(expected[row]):
                        raise CorruptCacheError(
                            f"{path}: record {first + k} (row {row}) is damaged: its pixels sum to {found:08x}, the "
                            f"table says {int(expected[row]):08x} (crc32c); it is fetched again"
                        )
        except CorruptCacheError as exc:
            if named is None:
                raise
            raise CorruptCacheError(str(exc).replace(str(path), str(named))) from exc

    # -- room --

    def _room(self, need: int, before: int) -> bool:
        """Make room for so many bytes; False where only copies used sooner than step `before` could go."""
        with _held(self.folder / "lock"):
            while True:
                copies = _copies(self.folder)
                disk = shutil.disk_usage(self.folder)
                free = disk.free - round(disk.total * RESERVE)
                if self._most is not None:
                    free = min(free, self._most - sum(size for size, _ in copies.values()))
                if need <= free:
                    return True
                whole = [path for path in copies if path.suffix not in (".part", ".lock")]
                if not whole:
                    if need <= shutil.disk_usage(self.folder).free:
                        return True  # what is begun elsewhere fills the bound: one shard more than it
                    raise CacheError(f"{self.folder}: no room for {megabytes(need)} more; free some space")
                uses = next_uses(self.folder)
                last = max(whole, key=lambda path: (uses.get(_key(path), _NEVER), -copies[path][1]))
                if before >= 0 and uses.get(_key(last), _NEVER) <= before:
                    return False
                last.unlink(missing_ok=True)
                self.removed += 1

    # -- the plan --

    @contextmanager
    def expecting(self, steps: Sequence[Sequence[tuple[Size, int]]]) -> Iterator[Callable[[int], None]]:
        """While these shards, (size, group), are read at these steps: `FETCHERS` threads fetch what is used next.

        Gives what is to be called with the number of each step once all before it were read.
        """
        plan = Plan(self, [[_key(self._own / self._name(*one)) for one in step] for step in steps])
        wanted: dict[tuple[Size, int], int] = {}
        for number, step in enumerate(steps):
            for one in step:
                wanted.setdefault(one, number)
        todo = iter(wanted.items())
        turn = threading.Lock()

        def work() -> None:
            while not plan.ended.is_set():
                with turn:
                    found = next(todo, None)
                if found is None:
                    return
                self._fetch_ahead(*found, plan)

        threads = [threading.Thread(target=work, name="resload-mirror", daemon=True) for _ in range(FETCHERS)]
        for thread in threads:
            thread.start()
        try:
            yield plan.passed
        finally:
            plan.close()
            for thread in threads:
                thread.join()

    def _fetch_ahead(self, one: tuple[Size, int], step: int, plan: "Plan") -> None:
        """Fetch a shard before it is used, once there is room that nothing used before it takes."""
        path = self._own / self._name(*one)
        while not plan.ended.is_set() and plan.at <= step:
            if path.exists():
                return
            try:
                with _held(path.with_name(f"{path.name}.lock")):
                    if path.exists() or self._fetch(path, *one, before=step - plan.at):
                        return
            except (CacheError, OSError) as exc:  # whoever reads it gets the error, if it is still there then
                _log.debug("%s", exc)
                return
            plan.ended.wait(0.05)


class Plan:
    """Which copies this process uses at which step, told to all who share the mirror; `passed` says where it is."""

    def __init__(self, mirror: Mirror, steps: Sequence[Sequence[str]]) -> None:
        self.at = 0
        self.ended = threading.Event()
        folder = mirror.folder / "plans"
        folder.mkdir(exist_ok=True)
        name = f"{owner()}-{time.monotonic_ns():x}"
        self._files = folder / f"{name}.json", folder / f"{name}.at"
        uses: dict[str, list[int]] = {}
        for number, step in enumerate(steps):
            for key in step:
                uses.setdefault(key, []).append(number)
        self._files[1].write_bytes((0).to_bytes(8, "little"))
        temporary = folder / f"{name}.part"
        temporary.write_text(json.dumps(uses))
        temporary.replace(self._files[0])
        self._position = os.open(self._files[1], os.O_WRONLY)

    def passed(self, step: int) -> None:
        """Everything before this step was read."""
        self.at = step
        if self._position >= 0:
            os.pwrite(self._position, step.to_bytes(8, "little"), 0)

    def close(self) -> None:
        """Forget it."""
        self.ended.set()
        if self._position >= 0:
            descriptor, self._position = self._position, -1
            os.close(descriptor)
        for file in self._files:
            file.unlink(missing_ok=True)


def next_uses(folder: Path) -> dict[str, int]:
    """Copy -> in how many steps somebody uses it next, by the plans of all processes that are alive."""
    found: dict[str, int] = {}
    for file in (folder / "plans").glob("*.json"):
        position = file.with_suffix(".at")
        try:
            if _forgotten(file, position):
                file.unlink(missing_ok=True)
                position.unlink(missing_ok=True)
                continue
            at = int.from_bytes(position.read_bytes(), "little")
            uses = json.loads(file.read_bytes())
        except (OSError, ValueError):  # it has just ended
            continue
        for key, steps in uses.items():
            k = int(np.searchsorted(steps, at))
            if k < len(steps):
                found[key] = min(found.get(key, _NEVER), steps[k] - at)
    return found


def _forgotten(file: Path, position: Path) -> bool:
    alive = is_here(file.stem.rpartition("-")[0])
    return not alive if alive is not None else time.time() - position.stat().st_mtime > SILENT


def _key(path: Path) -> str:
    return f"{path.parent.name}/{path.name}"


def _copies(folder: Path) -> dict[Path, tuple[int, float]]:
    """Every copy, begun ones too -> (bytes, when it was opened last)."""
    found = {}
    for path in folder.glob("*/*-*-*"):
        with contextlib.suppress(OSError):  # it has just gone
            status = path.stat()
            if path.parent.name != "plans":
                found[path] = status.st_size, status.st_mtime
    return found


def _append(source: Location, part: Path, length: int) -> None:
    """What a begun copy lacks."""
    if isinstance(source, Url):
        source.download(part, length=length)
        return
    with source.open("rb") as origin, part.open("ab") as out:
        origin.seek(out.tell())
        shutil.copyfileobj(origin, out, _PIECE)


@contextmanager
def _held(path: Path) -> Iterator[None]:
    """A lock between threads and processes of this machine; it goes with whoever holds it."""
    import fcntl

    while True:
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o666)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX)
            with contextlib.suppress(FileNotFoundError):
                if os.fstat(descriptor).st_ino == path.stat().st_ino:
                    break
        except BaseException:
            os.close(descriptor)
            raise
        os.close(descriptor)  # it was removed by whoever held it before: the next one counts
    try:
        yield
    finally:
        if path.suffix == ".lock":
            path.unlink(missing_ok=True)
        os.close(descriptor)
