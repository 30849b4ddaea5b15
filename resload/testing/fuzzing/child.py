"""In the child: inputs one after another, each noted where the parent sees it before it is run.

state file    JSON lines: what became of inputs        current file    the input that is running
"""

import argparse
import json
import mmap
import os
import sys
import time
import traceback
import warnings
from collections import Counter
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from resload import seeds
from resload.errors import ResloadError, require
from resload.testing.fuzzing.guard import Escape, Guard
from resload.testing.fuzzing.mutations import LONGEST, one_of
from resload.testing.fuzzing.targets import Target

SERVED = "served"
BUG = "bug: "
ROOM = 32 + 4 * LONGEST
"""Bytes of the current file: number of the execution, its length, when it began, then the input."""
_HARD = 4
"""Address space that a child may have, by the memory that an input may: codecs are refused what is beyond it."""
_EVERY = 200
"""Executions after which counts are written down."""
_POOL = 256
"""Inputs that further damage starts from, besides the sound ones."""


def judged(target: Target, data: bytes, folder: Path, guard: Guard | None = None) -> str:
    """What becomes of an input: SERVED, the class of the refusal, or BUG and what it is."""
    try:
        if guard is not None:
            guard.armed = True
        target.run(data, folder)
        answer = SERVED
    except ResloadError as exc:
        answer = type(exc).__name__
    except (KeyboardInterrupt, SystemExit):
        raise
    except BaseException as exc:  # what must not happen is counted, and the others go on
        if guard is not None:
            guard.armed = False  # tracebacks read sources and parse lines of them
        answer = f"{BUG}{type(exc).__name__}: {str(exc)[:120]}"
        judged.trace = traceback.format_exc()  # type: ignore[attr-defined]
    finally:
        if guard is not None:
            guard.armed = False
    if guard is not None and guard.escaped:
        answer = f"{BUG}{Escape.__name__}: {guard.escaped.pop()}"
    return answer


def replay(target: Target, data: bytes, folder: Path) -> str:
    """`judged` of one input in this process, without a guard: for a corpus of inputs that broke something once."""
    target.prepare(folder)
    return judged(target, data, folder)


@dataclass
class _Run:
    """One target's executions in this process."""

    target: Target
    folder: Path
    guard: Guard
    current: mmap.mmap
    out: Any
    done: int
    memory: int
    base: int = 0
    counts: Counter[str] = field(default_factory=Counter)
    slowest: float = 0.0

    def one(self, data: bytes) -> str:
        """Run one input, noted before; what became of it."""
        data = data[: 4 * LONGEST]
        self.current[32 : 32 + len(data)] = data
        head = np.array([self.done, len(data), time.monotonic_ns(), 1], "<u8").tobytes()
        self.current[:32] = head
        begun = time.thread_time()
        answer = judged(self.target, data, self.folder, self.guard)
        self.slowest = max(self.slowest, time.thread_time() - begun)
        if _peak() - self.base > self.memory:
            answer, self.base = f"{BUG}memory: {_peak() - self.base} bytes more than before", _peak()
        self.current[24:32] = bytes(8)
        self.done += 1
        self.counts[answer.split(": ")[0] if answer.startswith(BUG) else answer] += 1
        if answer.startswith(BUG):
            self._say({"bug": answer, "input": data.hex(), "trace": getattr(judged, "trace", "")[-1500:]})
        if self.done % _EVERY == 0:
            self.flush()
        return answer

    def flush(self) -> None:
        """Write down the counts since the last time."""
        self._say({"done": self.done, "counts": self.counts, "slowest": self.slowest})
        self.counts = Counter()

    def _say(self, what: dict[str, Any]) -> None:
        self.out.write(json.dumps({"target": self.target.name, **what}) + "\n")
        self.out.flush()


def main(targets: Sequence[Target], argv: Sequence[str] | None = None) -> None:
    """Run in a child, as `parent.fuzz` starts it."""
    parser = argparse.ArgumentParser()
    for name in ("--target", "--folder", "--state", "--current", "--engine"):
        parser.add_argument(name, required=True)
    for name in ("--seed", "--start", "--runs", "--memory"):
        parser.add_argument(name, type=int, required=True)
    args = parser.parse_args(argv)
    warnings.simplefilter("error")
    target = next(one for one in targets if one.name == args.target)
    folder = Path(args.folder)
    target.prepare(folder)
    sound = list(target.seeds())
    for data in sound:  # imports what it needs, before anything is watched
        with suppress(ResloadError):
            target.run(data, folder)
    guard = Guard(folder)
    with Path(args.current).open("r+b") as file, Path(args.state).open("a") as out:
        run = _Run(target, folder, guard, mmap.mmap(file.fileno(), ROOM), out, args.start, args.memory, _peak())
        _bounded(_HARD * args.memory)
        if args.engine == "atheris":
            _guided(run, sound, args.seed, args.runs)
        else:
            _blind(run, sound, args.seed, args.runs)
        run.flush()


def _peak() -> int:
    """Most bytes of memory (resident) that this program has had; 0 where the system does not say.

    Not `ru_maxrss`, which a program that was started by a larger one begins with that one's.
    """
    try:
        lines = Path("/proc/self/status").read_text(encoding="ascii").splitlines()
    except OSError:
        return 0
    return next(int(line.split()[1]) << 10 for line in lines if line.startswith("VmHWM:"))


def _bounded(memory: int) -> None:
    """No more address space than there is now and `memory` bytes."""
    if sys.platform != "win32" and memory:
        import resource

        used = int(Path("/proc/self/statm").read_text().split()[0]) * os.sysconf("SC_PAGE_SIZE")
        resource.setrlimit(resource.RLIMIT_AS, (used + memory, used + memory))


def _blind(run: _Run, sound: list[bytes], seed: int, runs: int) -> None:
    """Execution i is a function of (seed, i) and of the pool, which refusals of a new class and bugs grow."""
    pool, seen = list(sound), set[str]()
    for i in range(run.done, runs):
        rng = seeds.generator(seed, i, "synthetic", sum(run.target.name.encode()))
        data = run.target.mutate(one_of(pool if rng.random() < 0.5 else sound, rng), rng)
        answer = run.one(data)
        if answer not in seen or rng.random() < 0.01:
            seen.add(answer)
            pool = [*sound, *pool[len(sound) :][1 - _POOL :], data]


def _guided(run: _Run, sound: list[bytes], seed: int, runs: int) -> None:
    """LibFuzzer decides which inputs are worth going on from, by the branches of Python code that they reach."""
    atheris: Any = require("atheris", "dev", "to be guided by coverage")
    left = runs - run.done

    def mutate(data: bytes, most: int, number: int) -> bytes:
        rng = seeds.generator(seed, number, "synthetic")
        if rng.random() < 0.2:
            return bytes(atheris.Mutate(data, most))
        start = data if data and rng.random() < 0.6 else one_of(sound, rng)
        return run.target.mutate(start, rng)[:most]

    def once(data: bytes) -> None:
        run.one(data)
        if run.done >= runs:
            run.flush()
            os._exit(0)

    corpus = run.folder / ".corpus"
    corpus.mkdir(exist_ok=True)
    for k, data in enumerate(sound):
        (corpus / f"{k}").write_bytes(data)
    options = [
        f"-seed={seed % (1 << 31) + 1}",
        f"-runs={4 * left}",
        "-rss_limit_mb=0",
        "-timeout=100000",
        "-verbosity=0",
    ]
    options += [f"-max_len={LONGEST}", "-len_control=0", "-reload=0"]
    atheris.Setup([sys.argv[0], *options, str(corpus)], once, custom_mutator=mutate)
    atheris.Fuzz()
