"""Workers side by side: each in its own process and environment, one at work at a time.

    start every worker of a question          (it prepares its own format, and says "ready")
    round 0, not counted:  go, go, go ...     caches, threads and compiled code get warm
    rounds 1 ... n:        go, go, go ...     or drop and go, when the page cache is to be cold

A worker that dies, says nonsense, is silent for too long, or delivers something else than the records is out: its
row says why, and the others go on.
"""

import contextlib
import json
import math
import os
import select
import signal
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from peers.install import is_there, python_of
from peers.questions import Entry, Question
from peers.worker import Config, as_json

FOLDER = Path(__file__).parent
PREPARING, EPOCH, ENDING = 600.0, 120.0, 10.0
"""Seconds that a worker has to get ready, for one epoch, and to end."""
RESIZED_ALIKE = 0.02
"""Relative: resizes differ by kernel, and the mean of a film's middle row by much less than this."""
KEPT = 0.01
"""Share of pages that may stay in the page cache in an epoch that is called cold."""


class Failed(Exception):
    """A worker is out; the message says why."""


@dataclass(slots=True)
class Row:
    """What came of one entry."""

    label: str
    facts: dict[str, Any] = field(default_factory=dict)
    rates: list[float] = field(default_factory=list)
    """Images/s, round by round."""
    reason: str = ""
    """Why there are none."""


class Worker:
    """One process, asked a line at a time."""

    def __init__(self, command: Sequence[str], log: Path) -> None:
        self._log = log
        log.parent.mkdir(parents=True, exist_ok=True)
        with log.open("wb") as errors:
            self._process = subprocess.Popen(
                command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=errors, start_new_session=True
            )
        self._unread = b""

    def ask(self, word: str, seconds: float) -> dict[str, Any]:
        """Send a word, and wait for its answer. Raises Failed."""
        assert self._process.stdin is not None
        try:
            self._process.stdin.write(f"{word}\n".encode())
            self._process.stdin.flush()
        except BrokenPipeError:
            raise Failed(self._last_words()) from None
        return self.answer(word, seconds)

    def answer(self, word: str, seconds: float) -> dict[str, Any]:
        """The next line, which must be a JSON object, {"word": ...} for "ready". Raises Failed."""
        line = self._line(seconds)
        try:
            document = json.loads(line)
        except ValueError:
            document = None
        if not isinstance(document, dict):
            raise Failed(f"it answered {line[:80].decode(errors='replace')!r} to {word!r}, which is no JSON object")
        if "error" in document:
            raise Failed(str(document["error"])[:300])
        return document

    def _line(self, seconds: float) -> bytes:
        assert self._process.stdout is not None
        output = self._process.stdout.fileno()
        until = time.monotonic() + seconds
        while b"\n" not in self._unread:
            if not select.select([output], [], [], max(until - time.monotonic(), 0))[0]:
                raise Failed(f"it did not answer within {seconds:.0f} s")
            if not (more := os.read(output, 1 << 16)):
                raise Failed(self._last_words())
            self._unread += more
        line, _, self._unread = self._unread.partition(b"\n")
        return line

    def _last_words(self) -> str:
        code = self._process.wait(timeout=EPOCH)
        lines = self._log.read_text(errors="replace").strip().splitlines()
        return f"it ended with exit code {code}" + (f": {lines[-1][:200]}" if lines else "")

    def close(self) -> None:
        """End the process, kindly first, and what it started with it."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        with contextlib.suppress(BrokenPipeError):
            self._process.stdin.close()
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._process.wait(timeout=ENDING)
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait()
        self._process.stdout.close()


@dataclass(frozen=True, slots=True)
class Expected:
    """What an epoch must have delivered, by the records themselves."""

    images: int
    checksum: float

    def check(self, answer: Mapping[str, Any], facts: Mapping[str, Any]) -> float:
        """Images/s of an epoch. Raises Failed when something else was delivered."""
        try:
            images, seconds, found = (float(answer[name]) for name in ("images", "seconds", "checksum"))
        except (KeyError, TypeError, ValueError):
            raise Failed(f"it answered {json.dumps(answer)[:80]}; expected images, seconds, checksum") from None
        if images != self.images or not seconds > 0:
            raise Failed(f"it delivered {images:.0f} images in {seconds:.3g} s; expected {self.images}")
        kind = facts["records"]
        close = {"records": 1e-5, "sources resized": RESIZED_ALIKE, "sources": RESIZED_ALIKE}.get(kind, math.inf)
        if not abs(found - self.checksum) <= close * abs(self.checksum):
            raise Failed(f"what it delivered sums to {found:.6g}; the records sum to {self.checksum:.6g}")
        return images / seconds


def expected(config: Config, source: bool) -> Expected:
    """The sum that a `Tally` of all records has: the mean of each image's middle row."""
    if source:
        import imagecodecs

        films = [imagecodecs.png_decode(path.read_bytes()) for path in sorted(Path(config.files).iterdir())]
        total = sum(float(film[len(film) // 2].mean()) for film in films)
    else:
        total = float(np.load(config.records, mmap_mode="r")[:, config.side // 2].mean(1).sum())
    if config.dtype == "float32":
        mean, std = config.normalize
        total = (total / 255 - config.count * mean) / std
    return Expected(config.count, total)


def run(question: Question, config: Config, rounds: int) -> list[Row]:
    """Every entry of a question, its rounds interleaved with the others'."""
    rows = [Row(entry.label) for entry in question.entries]
    workers: dict[int, Worker] = {}
    truth = expected(config, question.source)
    cold = workers if question.cold else {}
    try:
        for number, entry in enumerate(question.entries):
            with_reason(rows[number], lambda n=number, e=entry: begin(workers, n, rows[n], e, config))
        for turn in range(rounds + 1):
            for number in list(workers):
                row, worker = rows[number], workers[number]
                with_reason(row, lambda w=worker, r=row, t=turn: once(w, r, t, truth, cold))
                if row.reason:
                    workers.pop(number).close()
            print(f"  round {turn} of {rounds}", flush=True)
    finally:
        for worker in workers.values():
            worker.close()
    return rows


def with_reason(row: Row, work: Any) -> None:
    try:
        work()
    except Failed as reason:
        row.rates, row.reason = [], str(reason)
        print(f"  {row.label}: {reason}", flush=True)


def begin(workers: dict[int, Worker], number: int, row: Row, entry: Entry, config: Config) -> None:
    """Start a worker and wait until it is ready."""
    if entry.peer and not is_there(entry.peer):
        raise Failed("not installed")
    work = Path(config.work) / (entry.peer or "ours")
    own = Config(**{**json.loads(as_json(config)), "work": str(work)})
    python = str(python_of(entry.peer)) if entry.peer else sys.executable
    command = [python, str(FOLDER / entry.script), entry.way, as_json(own)]
    workers[number] = worker = Worker(command, work / f"{entry.way}-{config.side}-{config.dtype}.log")
    begun = time.monotonic()
    try:
        row.facts = worker.answer("start", PREPARING)["ready"]
    except (Failed, KeyError) as exc:
        workers.pop(number).close()
        raise exc if isinstance(exc, Failed) else Failed("it did not say that it is ready") from exc
    print(f"  {entry.label}: ready in {time.monotonic() - begun:.0f} s", flush=True)


def once(worker: Worker, row: Row, turn: int, truth: Expected, cold: Mapping[int, Worker]) -> None:
    """One epoch, kept unless it is the first. Cold when `cold` names the workers that may have the files mapped."""
    if cold and turn:
        for other in cold.values():
            other.ask("release", EPOCH)
        resident = worker.ask("drop", EPOCH)["resident"]
        if resident > KEPT:
            raise Failed(f"{resident:.0%} of its pages stayed in the page cache, so no epoch of it was cold")
    rate = truth.check(worker.ask("go", EPOCH), row.facts)
    if turn:
        row.rates.append(rate)
