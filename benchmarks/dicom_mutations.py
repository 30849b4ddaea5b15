"""Damaged DICOM files: none may end the process, hang it, eat its memory, or raise anything but a DecodeError.

    python benchmarks/dicom_mutations.py [--files 100000 --seed 0 --workers 2]

Sound files of every transfer syntax (`tests/dicom_mutants.py`: drawn films with every element that decoding reads,
crops of real CR films of 10 and 15 bits, the small files that ship with pydicom) are damaged in one to three ways
each: bits flipped, cut, bytes inserted or repeated, lengths, values, tags and VRs of elements changed, elements
dropped, numbers behind the markers of compressed streams changed, the transfer syntax exchanged. Each is decoded and
its header read, in worker processes that a watchdog looks after: a file that takes more than five seconds, or that
ends its worker, is a failure and is kept under --keep.

File `i` is a function of (--seed, i) alone: `--only I` makes it again.
"""

import argparse
import collections
import itertools
import multiprocessing
import os
import resource
import sys
import time
from collections.abc import Iterator
from multiprocessing.connection import Connection, wait
from pathlib import Path

import numpy as np
from common import save

sys.path.insert(0, str(Path(__file__).parent.parent / "tests"))
from dicom_mutants import mutate, outcome, sound_files

LONGEST_S = 5.0
"""Of one file, decoded and its header read."""
MEMORY = 4 << 30
"""Address space of a worker beyond what it has when it starts."""
BAD = ("crash", "hang", "other error")
"""Outcomes that must not be."""


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--files", type=int, default=100_000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--keep", type=Path, help="a folder for the files that fail")
    parser.add_argument("--only", type=int, help="make this one file, say what comes of it, and save nothing")
    args = parser.parse_args()
    sound = sound_files()
    if args.only is not None:
        print(*judged(sound, args.seed, args.only))
        return
    begun = time.perf_counter()
    found = list(run(sound, args.seed, args.files, args.workers))
    if args.keep:
        keep(sound, args.seed, found, args.keep)
    report(sound, args, found, time.perf_counter() - begun)


def made(sound: dict[str, list[bytes]], seed: int, index: int) -> tuple[str, bytes]:
    """Syntax and bytes of file `index`."""
    names = list(sound)
    name = names[index % len(names)]
    rng = np.random.default_rng((seed, index))
    return name, mutate(sound[name][int(rng.integers(len(sound[name])))], rng)


def judged(sound: dict[str, list[bytes]], seed: int, index: int) -> tuple[int, str, str, float]:
    """(index, syntax, outcome, seconds)."""
    name, file = made(sound, seed, index)
    begun = time.perf_counter()
    try:
        answer = outcome(file)
    except BaseException as exc:  # what must not happen is counted, and the others go on
        print(f"file {index}: {type(exc).__name__}: {exc}", flush=True)
        answer = "other error"
    return index, name, answer, time.perf_counter() - begun


# -- workers and their watchdog --


def work(pipe: Connection, sound: dict[str, list[bytes]], seed: int) -> None:
    """Judge the files whose numbers come through the pipe."""
    used = int(Path("/proc/self/statm").read_text().split()[0]) * os.sysconf("SC_PAGE_SIZE")
    resource.setrlimit(resource.RLIMIT_AS, (used + MEMORY, used + MEMORY))
    while (index := pipe.recv()) is not None:
        pipe.send(judged(sound, seed, index))


class Worker:
    """A process, and the file it has now."""

    def __init__(self, sound: dict[str, list[bytes]], seed: int) -> None:
        self.pipe, there = multiprocessing.Pipe()
        self.process = multiprocessing.get_context("fork").Process(target=work, args=(there, sound, seed))
        self.process.start()
        there.close()

    def give(self, index: int) -> None:
        """Have it judge one file."""
        self.index, self.since = index, time.monotonic()
        self.pipe.send(index)

    def stop(self) -> None:
        """End it, whatever it is doing."""
        self.process.kill()
        self.process.join()
        self.pipe.close()


def run(sound: dict[str, list[bytes]], seed: int, files: int, workers: int) -> Iterator[tuple[int, str, str, float]]:
    """Every file's judgement, in no order; a worker that dies or hangs is replaced."""
    names, left = list(sound), iter(range(files))
    busy = [started(sound, seed, index) for index in itertools.islice(left, workers)]
    while busy:
        ready = wait([one.pipe for one in busy], timeout=0.5)
        for one in list(busy):
            answer = None
            if one.pipe in ready:
                answer = received(one, names)
            elif time.monotonic() - one.since > LONGEST_S:
                answer = (one.index, names[one.index % len(names)], "hang", LONGEST_S)
            if answer is None:
                continue
            yield answer
            busy.remove(one)
            index = next(left, None)
            if answer[2] in ("crash", "hang") or index is None:
                one.stop()
                one = None if index is None else started(sound, seed, index)
            else:
                one.give(index)
            if one is not None:
                busy.append(one)


def started(sound: dict[str, list[bytes]], seed: int, index: int) -> Worker:
    one = Worker(sound, seed)
    one.give(index)
    return one


def received(one: Worker, names: list[str]) -> tuple[int, str, str, float]:
    try:
        index, name, answer, taken = one.pipe.recv()
    except EOFError:
        return one.index, names[one.index % len(names)], "crash", time.monotonic() - one.since
    return index, name, "hang" if taken > LONGEST_S else answer, taken


# -- results --


def keep(sound: dict[str, list[bytes]], seed: int, found: list[tuple[int, str, str, float]], folder: Path) -> None:
    """The files that failed, named by their numbers."""
    folder.mkdir(parents=True, exist_ok=True)
    for index, _, answer, _ in found:
        if answer in BAD:
            (folder / f"{index}.dcm").write_bytes(made(sound, seed, index)[1])


def report(
    sound: dict[str, list[bytes]], args: argparse.Namespace, found: list[tuple[int, str, str, float]], taken: float
) -> None:
    counts: dict[str, collections.Counter[str]] = {name: collections.Counter() for name in sound}
    for _, name, answer, _ in found:
        counts[name][answer] += 1
    bad = sorted((index, name, answer) for index, name, answer, _ in found if answer in BAD)
    slowest = max(found, key=lambda one: one[3])
    kinds = sorted({kind for count in counts.values() for kind in count})
    rows = [f"| {name} | {' | '.join(str(count[kind]) for kind in kinds)} |" for name, count in counts.items()]
    head = (
        f"{len(found):,} damaged files, seed {args.seed}, {args.workers} processes, {taken:.0f} s: {len(bad)} failures "
        f"(crash, hang, or an error that is no DecodeError); the slowest file took {slowest[3]:.2f} s."
    )
    table = "\n".join([f"| made from | {' | '.join(kinds)} |", f"|---|{'---:|' * len(kinds)}", *rows])
    if bad:
        print(*bad, sep="\n")
    document = {"files": len(found), "seed": args.seed, "seconds": taken, "slowest_s": slowest[3], "failures": bad}
    save("dicom_mutations", f"{head}\n\n{table}", {**document, "outcomes": counts})


if __name__ == "__main__":
    main()
