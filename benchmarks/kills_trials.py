"""One kill, and what must hold afterwards: what `kills.py` counts.

kill      the driver, or a worker, at a random instant of an operation that runs in a child of this process
open      what is there is opened: refused with the right error, or all that it serves is what it was, or will be
again     the operation is done again, undisturbed; unless it was a worker that died, and the work went on without it
compare   every file or object with what an undisturbed build by one thread leaves on a disk, byte for byte; and no
          lease, no temporary file of resload and no worker of a killed driver may be left
"""

import faulthandler
import os
import signal
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

import numpy as np
import psutil
from kills_crews import Crew
from torture_operations import SIZES
from torture_trials import Prepared, must, opened

import resload
from resload import seeds
from resload.errors import WorkerError
from resload.testing.bucket import Bucket
from resload.testing.children import PATIENCE_S, Ended, has_ended, in_child
from resload.testing.places import FOLDER, Place, different

SETTLES = 20.0
"""Seconds in which workers end with their driver, or finish what a killed driver sent them."""
READY_TRIES = 6
"""Waits for workers, see `kills_crews.COMES_BACK`."""
EARLY = 4
"""One kill of so many comes at an instant of the whole operation; the others after the first film was begun."""


@dataclass(frozen=True)
class Cell:
    """One combination of what is killed where."""

    where: str
    crew: Crew
    victim: str
    one: Prepared
    """The operation."""

    @property
    def key(self) -> tuple[str, str, str, str]:
        """Its name."""
        return self.where, self.crew.name, self.victim, self.one.operation.name

    @property
    def goal(self) -> dict[str, str]:
        """What is there in the end."""
        return _of(self.where, self.one.goal)

    @property
    def before(self) -> dict[str, str]:
        """What is there at the beginning."""
        return {} if self.one.start is None else _of(self.where, self.one.start.tree())


def _of(where: str, tree: dict[str, str]) -> dict[str, str]:
    """A folder's tree as it is in such a place: object storage has no folders."""
    return tree if where == "folder" else {name: total for name, total in tree.items() if total != FOLDER}


@dataclass
class Pace:
    """How long an operation takes, in seconds."""

    first: float
    """Until the first film is begun."""
    whole: float


@dataclass
class Outcome:
    """What came of one trial."""

    key: tuple[str, str, str, str]
    seed: int
    kills: int = 0
    """Processes that were killed before the operation had ended."""
    in_time: int = 0
    """Of these, kills of a driver that left neither what was before nor what is at the end; of a worker at work."""
    went_on: int = 0
    """Operations that ended well though a worker had died."""
    refused: int = 0
    """Caches that were refused at open, and finished by the next run."""
    opened: int = 0
    problems: list[str] = field(default_factory=list)
    """What must not be. Each is a loss, or an error without a sentence."""


class Trials:
    """Runs trials, each in a place of its own.

    room: a folder. new_bucket: makes a folder in object storage of a name. scratch: where temporaries of resload go.
    pace: of every operation; measured when None.
    """

    def __init__(
        self,
        catalog: resload.Catalog,
        room: Path,
        scratch: Path,
        new_bucket: Callable[[str], Bucket] | None,
        pace: "Pace | None" = None,
    ) -> None:
        self._catalog, self._room, self._scratch, self._new_bucket = catalog, room, scratch, new_bucket
        self._given = pace
        self._said = room / "said.txt"
        self._number = 0
        self._paces: dict[tuple[str, str], Pace] = {}

    # -- places --

    def _fresh(self, cell: Cell) -> Place | Bucket:
        """A place with what the operation starts from."""
        self._number += 1
        name = f"trial-{self._number}"
        if cell.where == "folder":
            (self._room / name).mkdir()
            place = Place(self._room / name / "cache.zarr")
            if cell.one.start is not None:
                cell.one.start.copy_to(place)
            return place
        assert self._new_bucket is not None
        bucket = self._new_bucket(f"{name}/cache.zarr")
        if cell.one.start is not None:
            bucket.fill(cell.one.start)
        return bucket

    def _temporaries(self, place: Place | Bucket) -> set[str]:
        """Files and folders where records are written that are not in place yet."""
        found = {path.name for path in self._scratch.glob("resload-*")}
        if isinstance(place, Place):
            found |= {path.name for path in place.path.glob(".build/*.part")}
        return found

    # -- the operation --

    def _build(self, place: Place | Bucket, crew: Crew, threads: int) -> None:
        """All operations are the same call: what they do follows from what is there."""
        with self._said.open("wb") as said:
            os.dup2(said.fileno(), 1)
            os.dup2(said.fileno(), 2)
        faulthandler.dump_traceback_later(0.8 * PATIENCE_S, file=2)
        threads = threads if crew.executor is None else 1
        resload.build(self._catalog, place.path, SIZES, executor=crew.executor, threads=threads, progress=False)

    def pace(self, cell: Cell) -> Pace:
        """How long an operation takes undisturbed, there and by this crew; measured once. Raises RuntimeError if it
        makes other bytes.
        """
        if self._given is not None:
            return self._given
        key = (cell.where, cell.crew.name)
        if key not in self._paces:
            self._paces[key] = self._measured(cell)
        return self._paces[key]

    def _measured(self, cell: Cell) -> Pace:
        _ready(cell.crew)
        place = self._fresh(cell)
        waiting = _Waiting(time.monotonic(), partial(self._temporaries, place))
        ended = in_child(partial(self._build, place, cell.crew, 1), meanwhile=waiting.until_begun)
        pace = Pace(waiting.first, waiting.now())
        if ended.error is not None or different(place.tree(), cell.goal):
            raise RuntimeError(f"{cell.key}, undisturbed: {different(place.tree(), cell.goal)} {self._told(ended)}")
        place.clear()
        return pace

    def _told(self, ended: Ended) -> str:
        return f"{ended.trace} {self._said.read_text(errors='replace')[-1000:]}"

    # -- one trial --

    def trial(self, cell: Cell, crew_again: Crew, seed: int) -> Outcome:
        """Kill, and see what is left. crew_again: who finishes it."""
        pace, chance = self.pace(cell), seeds.generator(seed, 1, "fault")
        found, place = Outcome(cell.key, seed), self._fresh(cell)
        try:
            self._tried(cell, place, crew_again, pace, chance, found)
        except RuntimeError as exc:  # a child that hangs
            found.problems.append(f"{exc} {self._said.read_text(errors='replace')[-4000:]}")
        place.clear()
        return found

    def _tried(
        self,
        cell: Cell,
        place: Place | Bucket,
        crew_again: Crew,
        pace: Pace,
        chance: np.random.Generator,
        found: Outcome,
    ) -> None:
        times = int(chance.integers(1, 2, endpoint=True)) if cell.victim == "driver" else 1
        for _ in range(times):
            ended = self._killed(cell, place, pace, chance, found)
            if not ended.killed:
                break
        finished = cell.victim == "worker" and ended.error is None
        if not finished:
            self._examine(cell, place, crew_again, 1 + found.seed % 2, found)
        found.problems += self._left(place)
        found.problems += [f"finished, but {what}" for what in different(place.tree(), cell.goal)]

    def _killed(
        self, cell: Cell, place: Place | Bucket, pace: Pace, chance: np.random.Generator, found: Outcome
    ) -> Ended:
        strike = _Strike(cell, _ready(cell.crew), pace, chance, partial(self._temporaries, place))
        ended = in_child(partial(self._build, place, cell.crew, 1 + found.seed % 2), meanwhile=strike)
        found.kills += strike.killed
        if cell.victim == "driver":
            found.in_time += strike.killed and place.tree() not in (cell.before, cell.goal)
            found.problems += _survivors([] if cell.crew.of else strike.workers)
        else:
            found.in_time += strike.at_work
            found.went_on += strike.killed and ended.error is None
        if ended.error is not None and not _may_be(ended.error, cell, strike):
            found.problems.append(f"raised {type(ended.error).__name__}: {ended.error} {self._told(ended)}")
        return ended

    def _examine(self, cell: Cell, place: Place | Bucket, crew: Crew, threads: int, found: Outcome) -> None:
        """Open, then finish, in a child."""
        ended = in_child(partial(self._examined, cell.one, place, crew, threads))
        if ended.error is not None:
            found.problems.append(f"examining it raised {type(ended.error).__name__}: {self._told(ended)}")
            return
        table, problems = ended.value
        found.refused += not table
        found.opened += bool(table)
        found.problems += problems

    def _examined(self, one: Prepared, place: Place | Bucket, crew: Crew, threads: int) -> tuple[str, list[str]]:
        table, problems = opened(one, place.path)
        try:
            self._build(place, crew, threads)
        except Exception as exc:
            problems.append(f"cannot be finished by {crew.name}: {type(exc).__name__}: {exc}")
        return table, problems

    def _left(self, place: Place | Bucket) -> list[str]:
        """Temporaries that are still there when all that a killed driver began has had time to end."""
        ends = time.monotonic() + SETTLES
        while (left := self._temporaries(place)) and time.monotonic() < ends:
            time.sleep(0.05)
        return [f"{name} was left" for name in sorted(left)]


def _ready(crew: Crew) -> list[int] | None:
    """The workers of a crew that can be asked for them; in a child, since it starts threads."""
    if crew.ready is None:
        return None
    for _ in range(READY_TRIES):
        with suppress(RuntimeError):  # a worker that is there may end while it is asked
            found = must(crew.ready)
            assert isinstance(found, list)
            if found:
                return found
    raise RuntimeError(f"{crew.name} has lost workers, and none came back")


def _may_be(error: BaseException, cell: Cell, strike: "_Strike") -> bool:
    """A pool of processes does not outlive one of its workers, and says so; Dask and Ray go on."""
    lost = isinstance(error, WorkerError) and "a worker died" in str(error) and "kept" in str(error)
    return lost and cell.crew.of is None and cell.victim == "worker" and strike.killed


def _survivors(workers: Sequence[int]) -> list[str]:
    """Workers that outlive their driver. Raised to be seen, then ended."""
    left = []
    for pid in workers:
        try:
            left.append(psutil.Process(pid))
        except psutil.NoSuchProcess:
            continue
    _, late = psutil.wait_procs(left, timeout=SETTLES)
    for one in late:
        one.kill()
    return [f"worker {one.pid} outlived its driver" for one in late]


# -- instants --


class _Waiting:
    """Looks at an operation from outside while it runs."""

    def __init__(self, begun: float, temporaries: Callable[[], set[str]]) -> None:
        self._begun, self._temporaries, self._there = begun, temporaries, temporaries()
        self.first = 0.0

    def until_begun(self, child: int) -> None:
        """Until its first film is begun, or it has ended."""
        while not has_ended(child) and self._temporaries() <= self._there:
            time.sleep(0.001)
        self.first = self.now()

    def now(self) -> float:
        """Seconds since it was begun."""
        return time.monotonic() - self._begun


class _Strike:
    """Kills the driver or a worker at a random instant; rather a worker that is at work."""

    def __init__(
        self,
        cell: Cell,
        ready: Sequence[int] | None,
        pace: Pace,
        chance: np.random.Generator,
        temporaries: Callable[[], set[str]],
    ) -> None:
        self._cell, self._ready, self._waiting = cell, ready, _Waiting(time.monotonic(), temporaries)
        early = not chance.integers(EARLY)
        self._begins = None if early else self._waiting.until_begun
        length = 1.1 * (pace.whole if early else pace.whole - pace.first)
        self._after = length * float(chance.uniform()) ** (1 if early else 2)  # pools of processes take long to end
        self._which = float(chance.uniform())
        self.killed = self.at_work = False
        self.workers: list[int] = []

    def __call__(self, child: int) -> None:
        """Wait, and kill. The child is not waited for yet, so that its number is nobody else's."""
        if self._begins is not None:
            self._begins(child)
        ends = time.monotonic() + self._after
        while not has_ended(child) and time.monotonic() < ends:
            time.sleep(0.001)
        if has_ended(child):
            return
        self.workers = self._cell.crew.workers(child) if self._ready is None else [*self._ready]
        if self._cell.victim == "driver":
            self._kill(child)
        elif self.workers:
            busy = [] if self._begins is None else [pid for pid in self.workers if _is_at_work(pid)]
            some = busy or self.workers
            victim = some[int(self._which * len(some))]
            self.at_work = _is_at_work(victim)
            self._kill(victim)

    def _kill(self, pid: int) -> None:
        try:
            os.kill(pid, signal.SIGKILL)
        except ProcessLookupError:
            self.at_work = False
        else:
            self.killed = True


def _is_at_work(pid: int) -> bool:
    """Whether a worker has records open that are not in place yet."""
    try:
        return any(Path(file.path).suffix == ".part" for file in psutil.Process(pid).open_files())
    except psutil.Error:
        return False
