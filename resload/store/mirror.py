"""Copies of whole shards on this machine, for caches that are far away: object storage, or a shared file system.

    <mirror>/<cache>/512x512-12-<sum>                  a copy; <sum> is of the records it must hold, so an old copy is
                                                       never taken for a new one, and copies outlive appended rows and
                                                       added sizes
    <mirror>/<cache>/512x512-12-<sum>.<length>.part    begun; whoever wants it next goes on where it ends
    <mirror>/<cache>/512x512-12-<sum>.lock             held while it is fetched: one process of the machine fetches,
                                                       others wait
    <mirror>/plans/                                    which copies are used when (`foreseen.py`)
    <mirror>/lock                                      held while room is made (`room.py`)

Every copy is compared with the cache's checksums before it gets its name. When there is no more room, the copy goes
whose next use lies furthest ahead in the plans of all processes that are alive (Belady's rule, which their known plans
allow); those in no plan go first, the one opened longest ago before others. A copy that somebody reads may go too: it
stays readable as long as it is open there.
"""

import contextlib
import errno
import hashlib
import logging
import os
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path

import numpy as np
from crc32c import crc32c
from numpy.typing import NDArray

from resload.errors import ArgumentError, CacheError, CorruptCacheError, DiskSpaceError
from resload.size import Size
from resload.store import layout
from resload.store.arrays import packed_shard, shard_of
from resload.store.foreseen import Plan
from resload.store.layout import Manifest
from resload.store.locks import held, is_held
from resload.store.plan import Step, Task
from resload.store.remote import Location, Url
from resload.store.room import Room, key_of, lock_of
from resload.store.tries import check_wanted, wanted_until
from resload.store.unreadable import REMEDY
from resload.wording import megabytes

FETCHERS = 4
"""Shards that one process fetches at once, each by ranges that are under way together."""
_PIECE = 8 << 20
_LOOKS = 1.0
"""Seconds after which somebody who waits for room looks again, though his own plan has not moved."""

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
        here = folder.absolute()
        if isinstance(cache, Path) and (_is_in(here, cache) or _is_in(cache, here)):
            raise ArgumentError(
                f"mirror={folder} and the cache {cache} are one folder in the other: choose another one"
            )
        if sys.platform == "win32":
            raise ArgumentError("mirror= needs file locks that Windows does not have (flock)")
        self._cache, self._manifest, self._crcs = cache, manifest, crcs
        self._room = Room(here, most)
        name = str(cache.resolve() if isinstance(cache, Path) else cache)
        self._own = here / hashlib.sha256(name.encode()).hexdigest()[:16]
        self._names: dict[tuple[Size, int], str] = {}
        self._lengths: dict[tuple[Size, int], int] = {}
        largest = max(Step("", manifest, (Task(0, manifest.rows_of(0), (size,)),)).bytes() for size in manifest.arrays)
        if most is not None and most < 2 * largest:
            raise ArgumentError(
                f"mirror_gb={most / 1e9:g} holds less than two shards of {cache}, which take up to "
                f"{megabytes(largest)} each: allow more"
            )
        self._own.mkdir(parents=True, exist_ok=True)

    @property
    def folder(self) -> Path:
        """Where copies of this and of other caches are."""
        return self._room.folder

    @property
    def removed(self) -> int:
        """Copies that this process removed for others."""
        return self._room.removed

    @property
    def gigabytes(self) -> float | None:
        """The bound, as `open_cache` takes it."""
        return None if self._room.most is None else self._room.most / 1e9

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
        self._own.mkdir(parents=True, exist_ok=True)
        with held(lock_of(path)):
            if not path.exists():
                self._fetch(path, size, group, -1)
        return path

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

    def _fetch(
        self, path: Path, size: Size, group: int, before: int, begun: Callable[[], object] = lambda: None
    ) -> bool:
        """Fetch a shard, and say `begun` once it has room; False where only copies that are used earlier would have
        to go (-1: they may).
        """
        source = self._cache / layout.shard_path(size, group)
        for attempt in range(2):
            length = self._length(source, size, group)
            part = path.with_name(f"{path.name}.{length}.part")
            if not self._room.take(part, length, before):
                return False
            begun()
            try:
                _append(source, part, length)
                self._check(part, size, group, source)
            except FileNotFoundError as exc:
                part.unlink(missing_ok=True)
                raise CorruptCacheError(f"{source}: this shard is missing; {REMEDY}") from exc
            except CorruptCacheError:  # torn by a power cut, or its origin is damaged or has just been replaced
                part.unlink(missing_ok=True)
                self._lengths.pop((size, group), None)
                if attempt:
                    raise
            except OSError as exc:
                if exc.errno not in (errno.ENOSPC, errno.EDQUOT):
                    raise
                raise DiskSpaceError(
                    f"{part}: the disk is full; what is fetched is kept. Free some space, or allow the mirror less"
                ) from exc
            else:
                self._room.place(part, path)
                return True
        raise AssertionError("the second attempt returns or raises")

    def _length(self, source: Location, size: Size, group: int) -> int:
        """Bytes of a shard where it comes from."""
        found = self._lengths.get((size, group))
        if found is None:
            try:
                found = source.size() if isinstance(source, Url) else source.stat().st_size
            except FileNotFoundError as exc:
                raise CorruptCacheError(f"{source}: this shard is missing; {REMEDY}") from exc
            self._lengths[size, group] = found
        return found

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
                            f"table says {int(expected[row]):08x} (crc32c); {REMEDY}"
                        )
        except CorruptCacheError as exc:
            if named is None:
                raise
            raise CorruptCacheError(str(exc).replace(str(path), str(named))) from exc

    # -- the plan --

    @contextmanager
    def expecting(self, steps: Sequence[Sequence[tuple[Size, int]]]) -> Iterator[Callable[[int], None]]:
        """While these shards, (size, group), are read at these steps: `FETCHERS` threads fetch what is used next.

        Gives what is to be called with the number of each step once all before it were read.
        """
        keys: dict[tuple[Size, int], str] = {}
        wanted: dict[tuple[Size, int], int] = {}
        for number, step in enumerate(steps):
            for one in step:
                if one not in keys:
                    keys[one], wanted[one] = key_of(self._own / self._name(*one)), number
        plan = Plan(self.folder, ([keys[one] for one in step] for step in steps))
        todo, choosing = iter(enumerate(wanted.items())), threading.Lock()

        def work() -> None:
            while not plan.ended:
                with choosing:
                    number, found = next(todo, (0, None))
                if found is None:
                    return
                self._fetch_ahead(*found, plan, number)

        threads = [threading.Thread(target=work, name="resload-mirror", daemon=True) for _ in range(FETCHERS)]
        for thread in threads:
            thread.start()
        try:
            yield plan.passed
        finally:
            plan.close()
            for thread in threads:
                thread.join()

    def _fetch_ahead(self, one: tuple[Size, int], step: int, plan: Plan, number: int) -> None:
        """Fetch a shard before it is used, once there is room that nothing used before it takes.

        Room is taken in the order of use, the `number`-th before the next: one that was late would take it from
        others, which would be fetched again.
        """
        path, begun = self._own / self._name(*one), partial(plan.begin, number)
        try:
            self._length(self._cache / layout.shard_path(*one), *one)  # asked for side by side
            plan.wait_to_begin(number)
            while not plan.ended and plan.at <= step and not path.exists():
                at = plan.at
                if is_held(lock_of(path)) and any(path.parent.glob(f"{path.name}.*.part")):
                    begun()  # by somebody else
                with held(lock_of(path)), wanted_until(lambda: plan.ended):
                    if path.exists() or self._fetch(path, *one, step - at, begun):
                        return
                plan.wait(at, _LOOKS)
        except (CacheError, OSError) as exc:  # whoever reads it gets the error, if it is still there then
            _log.debug("%s", exc)
        finally:
            plan.wait_to_begin(number)
            begun()


def _is_in(folder: Path, other: Path) -> bool:
    return folder.resolve().is_relative_to(other.resolve())


def _append(source: Location, part: Path, length: int) -> None:
    """What a begun copy lacks."""
    if isinstance(source, Url):
        source.download(part, length=length)
        return
    with source.open("rb") as origin, part.open("ab") as out:
        origin.seek(out.tell())
        while data := origin.read(_PIECE):
            check_wanted(source)
            out.write(data)
