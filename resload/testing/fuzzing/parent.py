"""In the parent: children that run a target's inputs, their time and memory bounded, replaced when they die."""

import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from resload.testing.fuzzing.child import BUG, ROOM

_LOOK = 0.1
"""Seconds between two looks at a child."""
_BUSY_FACTOR = 12
"""A machine that is busy gives a child little time: one that works counts as hanging after so many times the bound."""
_MOST_BUGS = 50
"""Of one target: then it is given up."""


@dataclass(frozen=True)
class Bounds:
    """Of one execution."""

    seconds: float = 5.0
    """Of its processor's time; and of the clock, if it waits."""
    memory: int = 1 << 30
    """Bytes that an input may make the child grow by."""
    variables: Mapping[str, str] = field(default_factory=dict)
    """Of the child's environment: limits that inputs run into sooner."""


@dataclass
class Found:
    """What became of a target's inputs."""

    target: str
    counts: Counter[str] = field(default_factory=Counter)
    """SERVED, classes of refusals, and `bug: ...` by kind."""
    bugs: list[tuple[str, bytes, str]] = field(default_factory=list)
    """What it was, the input, where."""
    slowest: float = 0.0
    """Seconds of the processor that the slowest input took."""
    peak: int = 0
    """Most bytes of memory (resident) that a child had."""

    @property
    def executions(self) -> int:
        """All of them."""
        return sum(self.counts.values())


def fuzz(script: Sequence[str], target: str, *, runs: int, seed: int, bounds: Bounds, engine: str = "blind") -> Found:
    """Run a target's inputs in children and count what becomes of them.

    script: the command of the children, that calls `child.main` with the targets. engine: "atheris" or "blind".
    """
    found = Found(target)
    with tempfile.TemporaryDirectory(prefix="fuzz-") as scratch:
        done, turn = 0, 0
        while done < runs and len(found.bugs) < _MOST_BUGS:
            child = _Child(script, target, Path(scratch) / f"{turn}", bounds)
            done = child.followed(found, start=done, runs=runs, seed=seed + 7919 * turn, engine=engine)
            turn += 1
    return found


class _Child:
    """One child, from its start to its end."""

    def __init__(self, script: Sequence[str], target: str, folder: Path, bounds: Bounds) -> None:
        self._script, self._target, self._bounds = script, target, bounds
        folder.mkdir()
        self._own, self._state, self._current = folder / "own", folder / "state", folder / "current"
        self._own.mkdir()
        self._state.touch()
        self._current.write_bytes(bytes(ROOM))

    def followed(self, found: Found, *, start: int, runs: int, seed: int, engine: str) -> int:
        """Start it and wait for its end; how many executions there were by then."""
        words = {"target": self._target, "folder": self._own, "state": self._state, "current": self._current}
        words |= {"engine": engine, "seed": seed, "start": start, "runs": runs, "memory": self._bounds.memory}
        options = [part for name, value in words.items() for part in (f"--{name}", str(value))]
        environment = {**os.environ, **self._bounds.variables, "PYTHONFAULTHANDLER": "1"}
        with (self._state.parent / "said").open("wb") as said:
            command = [*self._script, *options]
            process = subprocess.Popen(command, env=environment, stdout=said, stderr=said)  # noqa: S603  the caller's
            why = self._watched(process, found)
        return self._counted(found, start, why, process.returncode)

    def _watched(self, process: "subprocess.Popen[bytes]", found: Found) -> str:
        """Wait; what it was killed for, if it was."""
        number, worked = -1, 0.0
        while process.poll() is None:
            time.sleep(_LOOK)
            found.peak = max(found.peak, _peak(process.pid))
            execution, _, begun, running = self._head()
            if not running or execution != number:
                number, worked = execution, _worked(process.pid)
                continue
            clock, mine = time.monotonic() - begun / 1e9, _worked(process.pid) - worked
            waits = clock > self._bounds.seconds and mine < clock / 50
            if mine > self._bounds.seconds or waits or clock > _BUSY_FACTOR * self._bounds.seconds:
                process.send_signal(signal.SIGKILL)
                process.wait()
                return f"{BUG}hang: {mine:.1f} s of the processor in {clock:.1f} s"
        return ""

    def _head(self) -> list[int]:
        with self._current.open("rb") as file:
            return [int(value) for value in np.frombuffer(file.read(32), "<u8")]

    def _counted(self, found: Found, start: int, why: str, code: int) -> int:
        counts = Counter[str]()
        done = start
        for one in _lines(self._state):
            done = max(done, one.get("done", 0))
            counts.update(one.get("counts", {}))
            found.slowest = max(found.slowest, one.get("slowest", 0.0))
            if "bug" in one:
                found.bugs.append((one["bug"], bytes.fromhex(one["input"]), one["trace"]))
        execution, length, _, running = self._head()
        if code and not why and not running:
            said = (self._state.parent / "said").read_text(errors="replace")
            raise RuntimeError(f"the child of {self._target} ended with {code} between two inputs: {said[-3000:]}")
        if code and running:  # counts since the last line are lost with the child: they count as what they were not
            data = self._current.read_bytes()[32 : 32 + length]
            said = (self._state.parent / "said").read_text(errors="replace")[-1500:]
            answer = why or f"{BUG}{signal.Signals(-code).name}: the process died" if code < 0 else f"{BUG}exit: {code}"
            found.bugs.append((answer, data, said))
            counts[": ".join(answer.split(": ")[:2])] += 1
            counts["lost with a child"] += execution - done
            done = execution + 1
        found.counts.update({name: count for name, count in counts.items() if count})
        return done


def _lines(path: Path) -> Iterator[dict[str, Any]]:
    for line in path.read_text().splitlines():
        try:
            yield json.loads(line)
        except ValueError:  # the child was killed while it wrote
            return


def _worked(pid: int) -> float:
    """Seconds of the processor that a process has had."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return 0.0
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def _peak(pid: int) -> int:
    try:
        lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    except OSError:
        return 0
    return next((int(line.split()[1]) << 10 for line in lines if line.startswith("VmHWM")), 0)


def python(script: Path) -> list[str]:
    """The command of a Python script by this interpreter."""
    return [sys.executable, str(script)]
