"""Damage to caches at random: every byte region of every file, found, named, mended, or refused.

    python benchmarks/corruption.py [--cases 10000 --seed 0 --workers 2]

Small caches (`corruption_caches.py`) are damaged in every region and way that `resload.testing.damage` knows, then
opened, read whole, verified, repaired or built to their end; `corruption_oracle.py` says what must come of it. Each
case runs in a process that a watchdog looks after: one that takes more than twenty seconds, or ends its process, is a
failure.

Case `i` is a function of (--seed, i) alone: `--only I` runs it again.
"""

import argparse
import collections
import functools
import multiprocessing
import os
import sys
import tempfile
import time
import warnings
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import torch
from common import save
from corruption_caches import loaded, made
from corruption_oracle import WRONG, Case, Oracle
from watched import watched

LONGEST_S = 20.0
"""Of one case."""


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--cases", type=int, default=10_000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--only", type=int, help="run this one case, say what comes of it, and save nothing")
    parser.add_argument("--results", type=Path, help="where the results go, benchmarks/results/ unless told otherwise")
    args = parser.parse_args()
    fast = "/dev/shm" if os.access("/dev/shm", os.W_OK) else None  # each case writes some files, and syncs them
    with tempfile.TemporaryDirectory(prefix="corruption-", dir=fast) as folder:
        build = multiprocessing.get_context("fork").Process(target=made, args=(Path(folder),))
        build.start()  # in a process of its own: this one is forked later, and must have no threads
        build.join()
        if build.exitcode:
            sys.exit("the caches could not be built")
        begin = functools.partial(judge_of, Path(folder), args.seed)
        if args.only is not None:
            print(begin()(args.only))
            return
        begun = time.perf_counter()
        cases = run(begin, args.cases, args.workers)
        report(args, cases, time.perf_counter() - begun)


def judge_of(folder: Path, seed: int) -> Callable[[int], Case]:
    """What judges case after case, with caches of its own."""
    warnings.simplefilter("error")
    torch.set_num_threads(1)  # films are small, and there is a process for each core
    place = Path(tempfile.mkdtemp(prefix="judge-", dir=folder))
    oracles = [Oracle(subject, place) for subject in loaded(folder)]

    def judge(index: int) -> Case:
        rng = np.random.default_rng((seed, index))
        oracle = oracles[index % len(oracles)]
        return oracle.judged(oracle.subject.intact.draw(rng), rng)

    return judge


def run(begin: Callable[[], Callable[[int], Case]], count: int, workers: int) -> dict[int, Case]:
    """All cases; a crash or a hang is a case too."""
    found = {}
    for index, answer in watched(begin, range(count), workers=workers, longest_s=LONGEST_S):
        case = answer if isinstance(answer, Case) else Case("?", "?", "?", str(answer))
        found[index] = case
        if case.outcome in WRONG:
            print(f"case {index}: {case}", flush=True)
        if len(found) % 1000 == 0:
            print(f"{len(found):,} cases", flush=True)
    return dict(sorted(found.items()))


# -- results --


def report(args: argparse.Namespace, cases: dict[int, Case], taken: float) -> None:
    wrong = [(index, case) for index, case in cases.items() if case.outcome in WRONG]
    head = (
        f"{len(cases):,} corruptions, seed {args.seed}, {args.workers} processes, {taken:.0f} s: {len(wrong)} failures "
        "(served wrong, not named, not listed, not mended, another error, a crash, a hang)."
    )
    tables = [counted(list(cases.values()), lambda case: case.region, "region")]
    tables.append(counted(list(cases.values()), lambda case: case.kind, "damage"))
    counts = collections.Counter((c.subject, c.region, c.kind, c.outcome) for c in cases.values())
    document = {
        "cases": len(cases), "seed": args.seed, "seconds": taken,
        "failures": [[index, case.subject, case.region, case.kind, case.outcome, case.words] for index, case in wrong],
        "counts": [[*key, number] for key, number in sorted(counts.items())],
    }  # fmt: skip
    save("corruption", "\n\n".join([head, *tables]), document, *([args.results] if args.results else []))


def counted(cases: Sequence[Case], key: Callable[[Case], str], title: str) -> str:
    """A table of outcomes."""
    counts = collections.Counter((key(case), case.outcome) for case in cases)
    outcomes = sorted({outcome for _, outcome in counts})
    rows = [
        f"| {name} | {' | '.join(str(counts[name, outcome]) for outcome in outcomes)} |"
        for name in dict.fromkeys(key(case) for case in sorted(cases, key=key))
    ]
    return "\n".join([f"| {title} | {' | '.join(outcomes)} |", f"|---|{'---:|' * len(outcomes)}", *rows])


if __name__ == "__main__":
    main()
