"""Builds that are killed (SIGKILL), wherever they write and whoever makes the films: what is lost must be nothing.

    python benchmarks/kills.py [--kills 400 --seed 0 --only s3 --only dask --within SECONDS --results DIR]

    where       a folder; a bucket of an S3 server of this machine
    by          threads, two processes, two workers of Dask, two workers of Ray
    who dies    the driver, up to twice in a row; one of the workers
    operation   a build of three row groups; films appended; a size added

Each of these in turn, once at least, until so many processes were killed. Three kills of four come at a random instant
after the first film was begun, one of four at one of the whole operation. `kills_trials.py` says what must hold
afterwards. The seed decides all that is random but the instants, which depend on the machine. --only takes names of
the table's first four columns; --within says in how many seconds kills come, instead of measuring how long operations
take. Ends with status 1 when anything was lost. Linux only.
"""

import argparse
import collections
import contextlib
import os
import sys
import tempfile
from collections.abc import Iterator
from functools import partial

# Before torch is imported: its threads would wait by spinning, in each child.
os.environ.setdefault("OMP_NUM_THREADS", "1")

from common import save
from kills_crews import NAMES, Crew, crews
from kills_trials import Cell, Outcome, Pace, Trials
from torture_operations import Films, operations
from torture_trials import Prepared, counted_to_the_end, must, prepared

import resload.interop  # noqa: F401  # before forking, so that children start at once; and the next line
from resload.store import alone, builder, repair, verify  # noqa: F401
from resload.testing import Place, s3_server
from resload.testing.bucket import Bucket

PLACES = ("folder", "s3")
OPERATIONS = ("build", "append", "add level")
VICTIMS = ("driver", "worker")
SETTLING = 0.2
"""Seconds in which two that take over one lease find out about each other; all are of this machine here."""


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--kills", type=int, default=400)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--only", action="append", default=[], choices=(*PLACES, *NAMES, *VICTIMS, *OPERATIONS))
    parser.add_argument("--within", type=float, help="seconds; measured for each unless given")
    counted_to_the_end(parser, run, report)


def run(room: Place, args: argparse.Namespace) -> list[Outcome]:
    """All trials."""
    alone.SETTLING = SETTLING
    scratch = room.path / "temporary"
    scratch.mkdir()
    os.environ["TMPDIR"] = tempfile.tempdir = str(scratch)
    films = must(partial(Films, room.path))
    assert isinstance(films, Films)
    ready = [prepared(one, room / one.name) for one in operations(films) if one.name in _chosen(OPERATIONS, args)]
    with contextlib.ExitStack() as stack:
        new_bucket = None
        if "s3" in _chosen(PLACES, args):
            import s3fs  # noqa: F401  # before forking

            new_bucket = partial(Bucket, stack.enter_context(s3_server()))
        there = stack.enter_context(crews(_chosen(NAMES, args), room.path))
        if any(crew.name == "dask" for crew in there):
            import distributed  # noqa: F401
        if any(crew.name == "ray" for crew in there):
            import ray  # noqa: F401
        trials = Trials(films.all, room.path, scratch, new_bucket, args.within and Pace(0.0, args.within))
        return list(_each(trials, there, ready, args))


def _chosen(names: tuple[str, ...], args: argparse.Namespace) -> tuple[str, ...]:
    """Those of one column that are asked for: all where none of it is named."""
    return tuple(name for name in names if name in args.only) or names


def combinations(there: list[Crew], args: argparse.Namespace) -> list[tuple[str, Crew, str]]:
    """(where, by whom, who dies)."""
    return [
        (where, crew, victim)
        for where in _chosen(PLACES, args)
        for crew in there
        for victim in _chosen(VICTIMS, args)
        if victim in crew.victims
    ]


def _each(trials: Trials, there: list[Crew], ready: list[Prepared], args: argparse.Namespace) -> Iterator[Outcome]:
    """Each combination in turn, each time with the next operation: once at least, until there were enough kills."""
    some, threads = combinations(there, args), Crew("threads")
    kills, told = 0, 0
    for k in range(len(some) + 4 * args.kills):
        where, crew, victim = some[k % len(some)]
        cell = Cell(where, crew, victim, ready[(k // len(some) + k % len(some)) % len(ready)])
        seed = args.seed * 1_000_000 + k
        outcome = trials.trial(cell, crew if seed % 2 else threads, seed)
        for problem in outcome.problems:
            print(f"{' / '.join(cell.key)} / {seed}: {problem}", flush=True)
        yield outcome
        kills += outcome.kills
        if kills >= args.kills and k + 1 >= len(some):
            return
        if kills >= told + 50:
            told = kills
            print(f"{kills} of {args.kills}", file=sys.stderr, flush=True)


# -- results --

COLUMNS = {
    "trials": "trials",
    "kills": "killed",
    "in_time": "in time",
    "went_on": "went on",
    "refused": "refused, then finished",
    "opened": "opened",
    "losses": "lost",
}


def report(outcomes: list[Outcome], args: argparse.Namespace, seconds: float) -> int:
    """Write the counts; how many trials lost something."""
    counts: dict[tuple[str, str, str, str], collections.Counter[str]] = collections.defaultdict(collections.Counter)
    for one in outcomes:
        counts[one.key].update(
            trials=1, kills=one.kills, in_time=one.in_time, refused=one.refused, opened=one.opened,
            went_on=one.went_on, losses=int(bool(one.problems)),
        )  # fmt: skip
    total = sum(counts.values(), collections.Counter())
    head = (
        f"{total['kills']} kills (SIGKILL) in {total['trials']} trials, seed {args.seed}; lost: {total['losses']}. "
        "In time: a driver that left neither what was before nor what is at the end, or a worker that was writing "
        "records. Went on: a worker died, and its build ended well without it. Every other cache was opened, or "
        "refused in words, then finished; and all were then byte for byte that of an undisturbed build by one thread "
        "in a folder, with no lease and no temporary file left."
    )
    rows = [
        f"| {' | '.join(key)} | {' | '.join(str(count[name]) for name in COLUMNS)} |"
        for key, count in sorted(counts.items())
    ]
    columns = f"| where | by | killed | operation | {' | '.join(COLUMNS.values())} |\n|{'---|' * 4}"
    table = "\n".join([head, "", f"{columns}{'---:|' * len(COLUMNS)}", *rows])
    document = {
        "seed": args.seed, "within": args.within, "seconds": round(seconds), **{name: total[name] for name in COLUMNS},
        "problems": [[*one.key, one.seed, *one.problems] for one in outcomes if one.problems],
        "counts": [
            {"where": key[0], "by": key[1], "victim": key[2], "operation": key[3], **count}
            for key, count in sorted(counts.items())
        ],
    }  # fmt: skip
    save("kills", table, document, *([args.results] if args.results else []))
    return total["losses"]


if __name__ == "__main__":
    main()
