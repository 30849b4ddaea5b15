"""Which copies of a mirror are used when, as far as the plans of all processes tell.

    <mirror>/plans/<process>.json     {copy: [steps at which it is used, ascending]}
    <mirror>/plans/<process>.at       the step at which the process is, 8 bytes, little-endian

A plan goes with its process: one of this machine that is gone is forgotten, and one that nobody here can look for (it
is in another container) once it has been silent for `SILENT` seconds.
"""

import json
import os
import threading
import time
from collections.abc import Iterable, Sequence
from contextlib import suppress
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from resload.store.alone import is_here, owner

SILENT = 600.0
"""Seconds after which a plan is forgotten whose process cannot be looked for."""
NEVER = np.iinfo(np.int64).max
"""The next use of a copy that is in no plan."""
PLANS = "plans"


class Plan:
    """Which copies this process uses at which step, told to all who share the mirror. Thread-safe.

    Attributes:
        at: everything before this step was read.
    """

    def __init__(self, mirror: Path, steps: Iterable[Sequence[str]]) -> None:
        self.at = 0
        self._begun = 0
        self._ended = False
        self._moved = threading.Condition()
        folder = mirror / PLANS
        folder.mkdir(parents=True, exist_ok=True)
        name = f"{owner()}-{time.monotonic_ns():x}-{threading.get_ident():x}"
        self._files = folder / f"{name}.json", folder / f"{name}.at"
        uses: dict[str, list[int]] = {}
        for number, step in enumerate(steps):
            for key in step:
                uses.setdefault(key, []).append(number)
        self._files[1].write_bytes((0).to_bytes(8, "little"))
        temporary = self._files[0].with_suffix(".part")
        temporary.write_text(json.dumps(uses))
        temporary.replace(self._files[0])
        self._position = os.open(self._files[1], os.O_WRONLY)

    @property
    def ended(self) -> bool:
        """Whether it was closed."""
        return self._ended

    def passed(self, step: int) -> None:
        """Everything before this step was read."""
        with self._moved:
            if not self._ended and step > self.at:
                self.at = step
                os.pwrite(self._position, step.to_bytes(8, "little"), 0)
                self._moved.notify_all()

    def wait(self, at: int, seconds: float) -> None:
        """Until it has left step `at`, or ended; so long at most, since others move too."""
        with self._moved:
            self._moved.wait_for(lambda: self._ended or self.at != at, seconds)

    def wait_to_begin(self, number: int) -> None:
        """Until all fetches before this number, from 0 on, have begun, or the plan has ended."""
        with self._moved:
            self._moved.wait_for(lambda: self._ended or self._begun >= number)

    def begin(self, number: int) -> None:
        """The fetch of this number has begun, or will never."""
        with self._moved:
            self._begun = max(self._begun, number + 1)
            self._moved.notify_all()

    def close(self) -> None:
        """Forget it."""
        with self._moved:
            if not self._ended:
                self._ended = True
                os.close(self._position)
                self._moved.notify_all()
        for file in self._files:
            file.unlink(missing_ok=True)


class Plans:
    """The plans of all processes that share a mirror, each read once."""

    def __init__(self, mirror: Path) -> None:
        self._folder = mirror / PLANS
        self._known: dict[str, dict[str, NDArray[np.int64]]] = {}

    def next_uses(self) -> dict[str, int]:
        """Copy -> in how many steps somebody uses it next, by the plans of all processes that are alive."""
        found: dict[str, int] = {}
        names = set()
        for file in self._folder.glob("*"):
            with suppress(OSError, ValueError):  # it has just ended
                if _is_forgotten(file):
                    file.unlink(missing_ok=True)
                elif file.suffix == ".json":
                    names.add(file.name)
                    self._add(file, found)
        self._known = {name: uses for name, uses in self._known.items() if name in names}
        return found

    def _add(self, file: Path, found: dict[str, int]) -> None:
        at = int.from_bytes(file.with_suffix(".at").read_bytes(), "little")
        uses = self._known.get(file.name)
        if uses is None:
            uses = {key: np.array(steps, np.int64) for key, steps in json.loads(file.read_bytes()).items()}
            self._known[file.name] = uses
        for key, steps in uses.items():
            k = int(steps.searchsorted(at))
            if k < len(steps):
                found[key] = min(found.get(key, NEVER), int(steps[k]) - at)


def _is_forgotten(file: Path) -> bool:
    alive = is_here(file.stem.rpartition("-")[0].rpartition("-")[0])
    if alive is not None:
        return not alive
    position = file.with_suffix(".at")
    return time.time() - (position if position.exists() else file).stat().st_mtime > SILENT
