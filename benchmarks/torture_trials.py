"""One fault in one operation, and what must hold afterwards: what `torture.py` counts.

fault     in a child of this process, at the k-th call that writes, or at a random instant
open      what is there is opened: refused with the right error, or all that it serves is what it was, or will be
again     the operation is done again, undisturbed
compare   byte for byte, every name of the folder, with what an undisturbed run leaves
"""

import argparse
import errno
import gc
import os
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import TypeVar

from torture_operations import Operation

import resload
from resload import seeds
from resload.errors import CacheError, CorruptCacheError, DiskSpaceError, IncompleteCacheError, NotACacheError
from resload.store.files import Files
from resload.testing.children import in_child
from resload.testing.faults import FailsAt, KillsAt, Layer, Short, counted, faulty
from resload.testing.places import Place, Served, different, served
from resload.testing.power import EVERYTHING, NAMES, NOTHING, PowerCut, PowerLoss

T = TypeVar("T")

ROOM = ("create", "write", "truncate", "sync", "replace", "mkdir", "sync_folder")
"""Calls that a full disk may refuse."""
NAMING = ("create", "replace", "mkdir", "unlink", "rmdir")
"""Calls that need permission to write in a folder."""
FAILURES: dict[str, Callable[[int], Layer]] = {
    "disk full": lambda k: FailsAt(k, errno.ENOSPC, kinds=ROOM, onward=True),
    "read-only": lambda k: FailsAt(k, errno.EROFS, kinds=NAMING, onward=True),
    "no permission": lambda k: FailsAt(k, errno.EACCES, kinds=NAMING),
    "I/O error": lambda k: FailsAt(k, errno.EIO),
    "short writes, disk full": lambda k: FailsAt(k, errno.ENOSPC, kinds=ROOM, onward=True, below=Short(k)),
}


@dataclass
class Prepared:
    """An operation with what is there before it, what is there after it, and all that may be served on the way."""

    operation: Operation
    start: Place | None
    goal: dict[str, str] = field(default_factory=dict)
    calls: list[str] = field(default_factory=list)
    seconds: float = 0.0
    tables: set[str] = field(default_factory=set)
    boxes: set[str] = field(default_factory=set)
    pixels: dict[tuple[str, str], set[str]] = field(default_factory=dict)
    refused: frozenset[tuple[str, str]] = frozenset()
    after: str = ""
    """The table that is served in the end."""

    def serves(self, found: Served) -> None:
        """Add what one of its states serves."""
        self.tables.add(found.table)
        self.boxes.add(found.boxes)
        for key, total in found.pixels.items():
            self.pixels.setdefault(key, set()).add(total)


@dataclass(frozen=True)
class Outcome:
    """What came of one trial."""

    operation: str
    fault: str
    k: int
    injected: bool
    """Whether the fault came before the operation had ended."""
    refused: int = 0
    """How often the cache was refused at open, and finished by the next run."""
    opened: int = 0
    problems: tuple[str, ...] = ()
    """What must not be. Each is a loss, or an error without a sentence."""


def must(work: Callable[[], object]) -> object:
    """What an undisturbed child returns."""
    ended = in_child(work)
    if ended.killed or ended.error is not None:
        raise RuntimeError(f"an undisturbed run failed: {ended.trace}")
    return ended.value


def prepared(operation: Operation, room: Place) -> Prepared:
    """Run an operation undisturbed, in children."""
    start = None if operation.start is None else room / "start"
    found = Prepared(operation, start)
    if start is not None:
        must(partial(operation.start, start))  # type: ignore[arg-type]
        before = must(partial(_served, start.path))
        assert isinstance(before, Served)
        found.serves(before)
        found.refused = before.refused
    for k, act in enumerate(operation.between):
        middle = _copied(start, room / f"between-{k}")
        must(partial(act, middle))
        found.serves(must(partial(_served, middle.path)))  # type: ignore[arg-type]
    end = _copied(start, room / "end")
    found.calls, found.seconds = must(partial(_measured, operation, end))  # type: ignore[misc]
    found.goal = end.tree()
    after = must(partial(_served, end.path))
    assert isinstance(after, Served)
    if after.refused:
        raise RuntimeError(f"{operation.name}: ends with damaged records")
    found.serves(after)
    found.after = after.table
    return found


def _copied(start: Place | None, to: Place) -> Place:
    to.clear()
    if start is not None:
        start.copy_to(to)
    return to


def _served(path: Path) -> Served:
    return served(resload.open_cache(path))


def _measured(operation: Operation, place: Place) -> tuple[list[str], float]:
    begun = time.perf_counter()
    calls = counted(lambda: operation.act(place, 1))
    return calls, time.perf_counter() - begun


# -- what must hold --


def examined(one: Prepared, place: Place, threads: int) -> tuple[str, list[str]]:
    """Open, finish, compare, in a child: (the table that was served, "" where it was refused; what must not be)."""
    ended = in_child(partial(_examined, one, place, threads))
    if ended.error is not None:
        return "", [f"examining it raised {type(ended.error).__name__}: {ended.error}"]
    table, problems = ended.value
    return table, problems


def _examined(one: Prepared, place: Place, threads: int) -> tuple[str, list[str]]:
    table, problems = opened(one, place.path)
    try:
        one.operation.act(place, threads)
    except Exception as exc:
        return table, [*problems, f"cannot be finished: {type(exc).__name__}: {exc}"]
    return table, problems + [f"finished, but {what}" for what in different(place.tree(), one.goal)]


def opened(one: Prepared, path: Path | str) -> tuple[str, list[str]]:
    """(the table that a cache serves, "" where it is refused; what is wrong with that, or with all that it serves)."""
    try:
        found = served(resload.open_cache(path))
        return found.table, _wrong(one, found)
    except (NotACacheError, IncompleteCacheError) as exc:
        if one.start is not None:
            return "", [f"what was there cannot be opened any more: {exc}"]
        return "", _partly(one, path)
    except CorruptCacheError as exc:
        return "", [f"is damaged: {exc}"]


def _partly(one: Prepared, path: Path | str) -> list[str]:
    """What is wrong with an unfinished cache, opened all the same."""
    try:
        found = served(resload.open_cache(path, partial=True))
        return _wrong(one, replace(found, table=""))
    except (NotACacheError, IncompleteCacheError):
        return []


def _wrong(one: Prepared, found: Served) -> list[str]:
    problems = [f"serves wrong pixels: {key}" for key, total in found.pixels.items() if total not in one.pixels[key]]
    problems += [f"cannot serve {key}" for key in sorted(found.refused - one.refused)]
    if found.table and found.table not in one.tables:
        problems.append("serves a table that is neither that of before nor that of after")
    if found.table and found.boxes not in one.boxes:
        problems.append("serves boxes that are neither those of before nor those of after")
    return problems


# -- faults --


def failing(one: Prepared, name: str, k: int, room: Place) -> Outcome:
    """A call fails, and the operation says so, or can do without."""
    threads, place = 1 + k % 2, _copied(one.start, room / "work")
    ended = in_child(partial(_failing, one.operation, place, threads, FAILURES[name](k)))
    if ended.error is not None:
        return Outcome(one.operation.name, name, k, True, problems=(f"raised {ended.error!r}",))
    struck, error, leaked = ended.value
    problems = [f"{leaked} descriptors were left open"] if leaked else []
    if error is not None:
        problems += _without_sentence(error, name, place.path)
    table, more = examined(one, place, threads)
    return Outcome(one.operation.name, name, k, struck, int(not table), int(bool(table)), (*problems, *more))


def _failing(
    operation: Operation, place: Place, threads: int, layer: FailsAt
) -> tuple[bool, tuple[type[BaseException], str] | None, int]:
    descriptors, said = _descriptors(), None
    with faulty(layer):
        try:
            operation.act(place, threads)
        except Exception as exc:
            said = type(exc), str(exc)
    gc.collect()
    return layer.struck, said, max(0, _descriptors() - descriptors)


def _descriptors() -> int:
    return len(os.listdir("/proc/self/fd")) if Path("/proc/self/fd").exists() else 0  # noqa: PTH208


def _without_sentence(error: tuple[type[BaseException], str], fault: str, path: Path) -> list[str]:
    """What an error lacks: its class, the file, what is kept."""
    kind, said = error
    wanted = DiskSpaceError if "full" in fault else CacheError
    lacks = [] if issubclass(kind, wanted) else [f"is no {wanted.__name__}"]
    lacks += [] if str(path) in said else ["names no file"]
    lacks += [] if "kept" in said else ["does not say what is kept"]
    return [f"{kind.__name__} {' and '.join(lacks)}: {said}"] if lacks else []


def short(one: Prepared, seed: int, room: Place) -> Outcome:
    """Every write takes less than it is given: nothing else happens."""
    place = _copied(one.start, room / "work")
    ended = in_child(partial(_short, one.operation, place, seed))
    problems = [] if ended.error is None else [f"raised {ended.error!r}"]
    problems += [f"written in parts, {what}" for what in different(place.tree(), one.goal)]
    return Outcome(one.operation.name, "short writes", seed, True, 0, 1, tuple(problems))


def _short(operation: Operation, place: Place, seed: int) -> None:
    with faulty(Short(seed)):
        operation.act(place, 1 + seed % 2)


def killed(one: Prepared, k: int, room: Place) -> Outcome:
    """Killed in place of a call."""
    threads, place = 1 + k % 2, _copied(one.start, room / "work")
    ended = in_child(partial(_under, KillsAt(k), one.operation, place, threads))
    problems = [] if ended.error is None else [f"raised {ended.error!r}"]
    table, more = examined(one, place, threads)
    name = one.operation.name
    return Outcome(name, "killed at a call", k, ended.killed, int(not table), int(bool(table)), (*problems, *more))


def killed_at_random(one: Prepared, seed: int, room: Place) -> Outcome:
    """Killed at a random instant, up to three times in a row."""
    chance = seeds.generator(seed, 1, "fault")
    threads, place, kills = 1 + seed % 2, _copied(one.start, room / "work"), 0
    problems: list[str] = []
    for _ in range(int(chance.integers(1, 3, endpoint=True))):
        after = float(chance.uniform(0, 1.1 * one.seconds))
        ended = in_child(partial(one.operation.act, place, threads), kill_after=after)
        kills += ended.killed
        problems += [] if ended.error is None else [f"raised {ended.error!r}"]
    table, more = examined(one, place, threads)
    name = "killed at random"
    return Outcome(one.operation.name, name, kills, kills > 0, int(not table), int(bool(table)), (*problems, *more))


def _under(layer: Files, operation: Operation, place: Place, threads: int) -> None:
    with faulty(layer):
        operation.act(place, threads)


def without_power(one: Prepared, k: int, choices: int, room: Place, *, killed_before: bool = False) -> Outcome:
    """The power goes at the k-th call; or the program is killed there, runs again, and then it goes.

    Several of what a disk may hold are examined: nothing of what was not synced, names without contents or all of it,
    and so many choices by a seed.
    """
    keeps = [NOTHING, (NAMES, EVERYTHING)[k % 2], *(k * 100 + seed for seed in range(choices))]
    inside = room / "work"
    inside.clear()
    inside.path.mkdir(parents=True)
    place = inside / "cache.zarr"
    if one.start is not None:
        one.start.copy_to(place)
    threads = 1 + k % 2
    ended = in_child(partial(_without_power, one.operation, place, threads, k, keeps, room, killed_before))
    name = "killed, run again, power cut" if killed_before else "power cut"
    if ended.error is not None:
        return Outcome(one.operation.name, name, k, True, problems=(f"raised {ended.error!r} {ended.trace}",))
    opened, problems = 0, []
    for state, keep in enumerate(keeps):
        there = room / f"state-{state}" / "cache.zarr"
        table, more = examined(one, there, threads)
        opened += bool(table)
        problems += [f"with {keep} of the unsynced: {what}" for what in more]
        if (killed_before or not ended.value) and table != one.after:
            problems.append(f"with {keep} of the unsynced: it had been finished, and is not any more")
    injected = killed_before or bool(ended.value)
    return Outcome(one.operation.name, name, k, injected, len(keeps) - opened, opened, tuple(problems))


def _without_power(
    operation: Operation, place: Place, threads: int, k: int, keeps: list[int | str], room: Place, killed_before: bool
) -> bool:
    layer = PowerLoss(place.path.parent, k)
    gone = _until_cut(layer, operation, place, threads)
    if killed_before:
        layer.again()
        _until_cut(layer, operation, place, threads)
    for state, keep in enumerate(keeps):
        layer.restore(keep, (room / f"state-{state}").path)
    return gone


def _until_cut(layer: PowerLoss, operation: Operation, place: Place, threads: int) -> bool:
    with faulty(layer):
        try:
            operation.act(place, threads)
        except PowerCut:
            return True
    return False


def counted_to_the_end(
    parser: argparse.ArgumentParser,
    run: Callable[[Place, argparse.Namespace], list[T]],
    report: Callable[[list[T], argparse.Namespace, float], int],
) -> None:
    """Run all trials in a room of their own and report them; ends the program, with status 1 where any lost something.

    run(room, arguments) -> outcomes; report(outcomes, arguments, seconds) -> how many trials lost something.
    """
    parser.add_argument("--place", type=Path, help="a folder to work in; else one in memory, or the temporary one")
    parser.add_argument("--results", type=Path, help="where to write, instead of benchmarks/results")
    args = parser.parse_args()
    begun = time.perf_counter()
    with room_for_trials(args.place) as room:
        outcomes = run(room, args)
    losses = report(outcomes, args, time.perf_counter() - begun)
    sys.exit(1 if losses else 0)


@contextmanager
def room_for_trials(folder: Path | None) -> Iterator[Place]:
    """A place for trials: in memory where the system has such a folder, since nothing here waits for a real disk."""
    shared = Path("/dev/shm")
    with tempfile.TemporaryDirectory(dir=folder or (shared if shared.is_dir() else None), prefix="torture-") as name:
        yield Place(Path(name))
