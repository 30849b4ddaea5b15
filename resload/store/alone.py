"""One build of a cache at a time.

On a file system of this machine the folder itself is locked (`flock`): the lock goes with the process, and leaves no
file. Where that cannot be done, on object storage and some network file systems, a lease stands in `.build/`:

    lease.json     created only where there is none (storage decides who was first); {"owner": ..., "beat": n}
    a thread       counts `beat` up every `BEAT` seconds while the build runs
    another build  waits `PATIENCE` seconds for the next beat, and takes over a lease that has none

A lease whose owner was a process of this machine that is gone, or a build of this process that has ended (storage was
away when it gave its lease back), is taken over at once. Whoever lost its lease (its machine slept, the network was
gone) stops with BuildInProgressError before it commits anything more. Should storage not know conditional puts, two
builds that begin in the same moment find out at the first beat.
"""

import hashlib
import json
import os
import platform
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from resload import forks
from resload.errors import BuildInProgressError, CacheError
from resload.regular import descriptor_of
from resload.store import layout
from resload.store.commit import is_alive, make_folders, remove, write_whole
from resload.store.remote import Location, Url

BEAT = 10.0
"""Seconds between two beats."""
PATIENCE = 45.0
"""Seconds without a beat after which a build is taken to be dead: several beats, and their requests' tries."""
SETTLING = 2.0
"""Seconds after which whoever took a lease over looks whether it was not taken by another at the same time."""


@contextmanager
def alone(cache: Location) -> Iterator[None]:
    """Hold a cache against a second build. Raises BuildInProgressError."""
    process, descriptor = os.getpid(), None if isinstance(cache, Url) else _locked(cache)
    if descriptor is None:
        with leased(cache):
            yield
        return
    try:
        try:
            yield
        finally:
            if not forks.elsewhere(process):  # closing would leave the lock to processes that were forked meanwhile
                _unlock(descriptor)
    finally:
        os.close(descriptor)


def _locked(folder: Path) -> int | None:
    """A descriptor that holds the lock of a folder; None where there is no such lock."""
    try:
        import fcntl
    except ImportError:  # Windows
        return None
    descriptor = descriptor_of(folder, os.O_RDONLY)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(descriptor)
        raise _refused(folder) from None
    except OSError:  # a network file system that locks only files open for writing, or none at all
        os.close(descriptor)
        return None
    except BaseException:
        os.close(descriptor)
        raise
    return descriptor


def _unlock(descriptor: int) -> None:
    import fcntl

    fcntl.flock(descriptor, fcntl.LOCK_UN)


def _refused(cache: Location) -> BuildInProgressError:
    return BuildInProgressError(
        f"{cache}: another process, or thread of this one, is building or repairing this cache; wait for it"
    )


@contextmanager
def leased(cache: Location) -> Iterator[None]:
    """Hold a cache by a lease in its `.build/`. Raises BuildInProgressError, also at the end when it was lost."""
    lease = _Lease(cache)
    try:
        lease.take()
        _held[str(cache)] = lease
        yield
        lease.check()
    finally:
        if _held.get(str(cache)) is lease:
            del _held[str(cache)]
        lease.give_back()


_held: dict[str, "_Lease"] = {}
"""The leases of this process."""


def check(cache: Location) -> None:
    """Raise BuildInProgressError where this process held a lease on a cache and has lost it; called before commits."""
    lease = _held.get(str(cache))
    if lease is not None:
        lease.check()


def owner() -> str:
    """This process, as nobody else can read it: machine and start of the system hashed, number, start."""
    spaces = "/proc/self/ns/pid"  # containers of one machine do not see each other's processes
    space = os.readlink(spaces) if os.path.lexists(spaces) else ""  # noqa: PTH115  a name that leads to no file
    machine = hashlib.sha256(f"{platform.node()} {_first_line('/proc/sys/kernel/random/boot_id')} {space}".encode())
    return f"{machine.hexdigest()[:16]}-{os.getpid()}-{_started(os.getpid())}"


def _first_line(path: str) -> str:
    with suppress(OSError):
        return Path(path).read_text(encoding="ascii").strip()
    return ""


def _started(process: int) -> str:
    """When a process of this machine began, in ticks (proc_pid_stat(5), field 22); "" where that is not told."""
    return (_first_line(f"/proc/{process}/stat").rpartition(")")[2].split() or [""] * 20)[19]


def is_here(holder: str) -> bool | None:
    """Whether an owner's process is there; None for one of another machine, of which nobody here can know."""
    machine, _, rest = holder.partition("-")
    number, _, started = rest.partition("-")
    if machine != owner().partition("-")[0] or not number.isdecimal():
        return None
    return is_alive(int(number)) and _started(int(number)) == started


class _Lease:
    """One process's claim. `take` first; the others then may be called from any thread."""

    def __init__(self, cache: Location) -> None:
        self._cache = cache
        self._place = cache / layout.BUILD / layout.LEASE
        self._token = f"{owner()}-{time.monotonic_ns():x}"
        self._beat = 0
        self._lost = False
        self._heard = _now()
        self._ends = threading.Event()
        self._thread = threading.Thread(target=self._keep, name="resload-lease", daemon=True)

    def take(self) -> None:
        make_folders(self._place.parent, below=self._cache)
        found = _read(self._place)
        if found or not _created(self._place, self._document()):
            self._take_over(found or _read(self._place))
        self._heard = _now()
        self._thread.start()

    def _take_over(self, found: dict[str, Any]) -> None:
        holder = str(found.get("owner", ""))
        if any(holder == other._token for other in list(_held.values())):
            raise _refused(self._cache)
        ended = holder.rpartition("-")[0] == owner()  # of this process, and not held
        if not ended and is_here(holder.rpartition("-")[0]) is not False:
            self._wait_for_beat(found)
        if _read(self._place) not in (found, {}):
            raise _refused(self._cache)
        write_whole(self._document(), self._place)
        time.sleep(SETTLING)
        if _read(self._place).get("owner") != self._token:
            raise _refused(self._cache)

    def _wait_for_beat(self, found: dict[str, Any]) -> None:
        ends = time.monotonic() + PATIENCE
        while time.monotonic() < ends:
            time.sleep(min(1.0, PATIENCE / 10))
            now = _read(self._place)
            if not now:
                return
            if now != found:
                raise _refused(self._cache)

    def _document(self) -> bytes:
        return json.dumps({"owner": self._token, "beat": self._beat}).encode()

    def _keep(self) -> None:
        while not self._ends.wait(BEAT) and not self._lost:
            with suppress(CacheError, OSError):  # storage does not answer: the next beat will tell
                self._look()
                if not self._lost:
                    self._beat += 1
                    write_whole(self._document(), self._place)

    def _look(self) -> None:
        if _read(self._place).get("owner") != self._token:
            self._lost = True
        self._heard = _now()

    def check(self) -> None:
        if _now() - self._heard > PATIENCE / 2 and not self._lost:  # no beat: others may take this build for dead
            self._look()
        if self._lost:
            raise BuildInProgressError(
                f"{self._cache}: another process has taken this build over, since nothing was heard of this one for "
                f"{PATIENCE:g} seconds; wait for it"
            )

    def give_back(self) -> None:
        self._ends.set()
        if self._thread.ident is not None:
            self._thread.join()
        with suppress(CacheError, OSError):
            if _read(self._place).get("owner") == self._token:
                remove(self._place)
                if isinstance(self._place, Path):
                    self._place.parent.rmdir()  # unless an unfinished build is in it


def _now() -> float:
    """Seconds, those that the machine slept included where the system counts them."""
    return time.clock_gettime(time.CLOCK_BOOTTIME) if hasattr(time, "CLOCK_BOOTTIME") else time.monotonic()


def _created(place: Location, data: bytes) -> bool:
    if isinstance(place, Url):
        return place.create(data)
    try:
        with place.open("xb") as file:
            file.write(data)
    except FileExistsError:
        return False
    return True


def _read(place: Location) -> dict[str, Any]:
    """What a lease says; nothing where there is none, or only a part of one yet."""
    try:
        found = json.loads(place.read_bytes())
    except (FileNotFoundError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}
