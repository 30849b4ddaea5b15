"""Everything that writes a cache, interrupted at every call and at random instants: what is lost must be nothing.

    python benchmarks/torture.py [--kills 500 --every 1 --seed 0 --workers 1 --place DIR --only NAME]

Each operation (`torture_operations.py`) meets each fault (`torture_trials.py`): calls that fail, a full disk, a power
cut after which unsynced writes are gone or torn, kills. After each, what is there is opened (and what it serves
compared with the truth), the operation is done again, and the folder is compared byte for byte with that of an
undisturbed run. `resload.testing` has the faults; `resload.testing.power` says what of a power cut is modelled.

--every N takes every N-th call only; --kills is the number of random kills, over all operations. Trial and seed decide
all that is random but the instants of kills. Ends with status 1 when anything was lost.

All of it is in folders, by threads; `kills.py` kills builds in object storage too, by processes, Dask and Ray.
"""

import argparse
import collections
import itertools
import multiprocessing
import os
import sys
import zlib
from collections.abc import Callable, Iterator, Sequence
from functools import partial

# Before torch is imported: its threads would wait by spinning, in each child.
os.environ.setdefault("OMP_NUM_THREADS", "1")

from common import save
from torture_operations import Films, operations
from torture_trials import (
    FAILURES,
    NAMING,
    ROOM,
    Outcome,
    Prepared,
    counted_to_the_end,
    failing,
    killed,
    killed_at_random,
    prepared,
    short,
    without_power,
)

import resload.interop  # noqa: F401  # before forking, so that children start at once; and the next line
from resload.store import builder, repair, verify  # noqa: F401
from resload.testing.places import Place

Trial = Callable[[Place], Outcome]


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--kills", type=int, default=500, help="at random instants")
    parser.add_argument("--every", type=int, default=1, help="only every N-th call of an operation")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--workers", type=int, default=1, help="processes, each of which forks a child at a time")
    parser.add_argument("--only", help="one operation, by its name")
    counted_to_the_end(parser, run, report)


def run(room: Place, args: argparse.Namespace) -> list[Outcome]:
    """All trials of all operations."""
    films = Films(room.path)
    chosen = [one for one in operations(films) if args.only in (None, one.name)]
    ready = [prepared(one, room / f"operation-{k}") for k, one in enumerate(chosen)]
    trials = list(itertools.chain.from_iterable(trials_of(one, args, len(ready)) for one in ready))
    global _TRIALS, _ROOM
    _TRIALS, _ROOM = trials, room
    outcomes = []
    for outcome in _each(len(trials), args.workers):
        outcomes.append(outcome)
        for problem in outcome.problems:
            print(f"{outcome.operation} / {outcome.fault} / {outcome.k}: {problem}", flush=True)
        if len(outcomes) % 200 == 0:
            print(f"{len(outcomes)} of {len(trials)}", file=sys.stderr, flush=True)
    return outcomes


_TRIALS: Sequence[Trial] = ()
_ROOM: Place | None = None


def _each(count: int, workers: int) -> Iterator[Outcome]:
    """Trials in this process, or in some that are forked from it (and fork in turn: none has other threads)."""
    if workers == 1:
        yield from map(_one, range(count))
        return
    with multiprocessing.get_context("fork").Pool(workers) as pool:
        yield from pool.imap_unordered(_one, range(count))


def _one(number: int) -> Outcome:
    assert _ROOM is not None
    room = _ROOM / f"worker-{multiprocessing.current_process().name}"
    room.path.mkdir(exist_ok=True)
    return _TRIALS[number](room)


def trials_of(one: Prepared, args: argparse.Namespace, operations: int) -> Iterator[Trial]:
    """Each fault at each call of an operation, and its share of the random kills."""
    every, calls = args.every, len(one.calls)
    steps = sum(kind != "close" for kind in one.calls)
    room, naming = (sum(kind in kinds for kind in one.calls) for kinds in (ROOM, NAMING))

    def turns(fault: str, count: int, stride: int = every) -> range:
        """Every so many-th call; where it begins is different for each fault and operation."""
        begin = zlib.crc32(f"{args.seed} {one.operation.name} {fault}".encode()) % min(stride, count)
        return range(1 + begin, count + 1, stride)

    for name in FAILURES:
        count = calls if name == "I/O error" else room if "full" in name else naming
        yield from (partial(failing, one, name, k) for k in turns(name, count, every * (4 if "short" in name else 1)))
    yield from (partial(short, one, args.seed + k) for k in range(max(1, 8 // every)))
    yield from (partial(killed, one, k) for k in turns("killed", calls))
    yield from (partial(without_power, one, k, 1) for k in (*turns("power", steps), steps + 1))
    again = partial(without_power, killed_before=True)
    yield from (partial(again, one, k, 1) for k in turns("killed before", steps, 4 * every))
    share = -(-args.kills // operations)
    yield from (partial(killed_at_random, one, args.seed * 1_000_000 + k) for k in range(share))


# -- results --


def report(outcomes: list[Outcome], args: argparse.Namespace, seconds: float) -> int:
    """Write the counts; how many problems there were."""
    counts: dict[tuple[str, str], collections.Counter[str]] = collections.defaultdict(collections.Counter)
    for one in outcomes:
        count = counts[one.operation, one.fault]
        count["trials"] += 1
        count["struck"] += one.injected
        count["refused"] += one.refused
        count["opened"] += one.opened
        count["losses"] += bool(one.problems)
    kills = sum(one.k if one.fault == "killed at random" else one.injected for one in outcomes if "killed" in one.fault)
    losses = sum(count["losses"] for count in counts.values())
    by_fault, by_operation = (_rows(counts, place) for place in (1, 0))
    head = (
        f"{len(outcomes):,} trials, {kills:,} of them kills (SIGKILL); seed {args.seed}, every call"
        f"{'' if args.every == 1 else f' (one in {args.every})'}, builds by threads in a folder. Lost: {losses}. "
        "Every other cache was opened, or refused in words, then finished, and was then byte for byte that of an "
        "undisturbed run."
    )
    columns = f"{' | '.join(COLUMNS.values())} |\n|---|{'---:|' * len(COLUMNS)}"
    table = "\n".join([head, "", f"| fault | {columns}", *by_fault, "", f"| operation | {columns}", *by_operation])
    problems = [[one.operation, one.fault, one.k, *one.problems] for one in outcomes if one.problems]
    document = {
        "seed": args.seed, "every": args.every, "seconds": round(seconds), "kills": kills,
        "losses": losses, "problems": problems,
        "counts": [{"operation": key[0], "fault": key[1], **count} for key, count in counts.items()],
    }  # fmt: skip
    save("torture", table, document, *([args.results] if args.results else []))
    return losses


def _rows(counts: dict[tuple[str, str], collections.Counter[str]], place: int) -> list[str]:
    """The counts summed over one of (operation, fault), as rows of a table."""
    totals: dict[str, collections.Counter[str]] = collections.defaultdict(collections.Counter)
    for key, count in counts.items():
        totals[key[place]].update(count)
    return [f"| {name} | {' | '.join(f'{total[column]:,}' for column in COLUMNS)} |" for name, total in totals.items()]


COLUMNS = {
    "trials": "trials",
    "struck": "fault came in time",
    "opened": "opened, all true",
    "refused": "refused, then finished",
    "losses": "losses",
}


if __name__ == "__main__":
    main()
