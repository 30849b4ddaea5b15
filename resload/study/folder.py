"""A study's folder: what was asked, one line for each network, and what it said of each test film.

    study.json             what all networks have in common; the margin and the reference, set before the first
    results.jsonl          one line for each network that is finished
    predictions/RUN.npz    what it said of the test films, for each test size (test films, targets) float32
    films.npz              the test films: rows, patients, truth, sizes of findings; how many films each split has
    examples.png           some test films at each size, where the packages that draw are installed
    under-way/RUN.pt       a network in training, since its last whole epoch; RUN.lock while a process is at it
    films-KERNEL-FIT.zarr  caches, where the study was given films

Several processes may work on one study: each takes networks that no other is at.
"""

import io
import json
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from zipfile import BadZipFile

import numpy as np
import torch
from numpy.typing import NDArray

from resload.errors import ArgumentError, StudyError
from resload.regular import parsed
from resload.store import locks
from resload.store.commit import write_whole

FORMAT = 1
SET_BEFORE = ("margin", "reference", "repeats")
"""How sizes are compared, which may not follow from what is found."""


class Folder:
    """A study's folder, made if it is not there."""

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self.path = Path(path)

    # -- what was asked --

    @property
    def document(self) -> Path:
        """study.json."""
        return self.path / "study.json"

    def begin(self, common: Mapping[str, Any]) -> None:
        """Say what all networks have in common, or check that it is what was said before.

        Raises ArgumentError for a folder of other files, and for a study that was asked for otherwise.
        """
        told = json.loads(json.dumps({"format": FORMAT, **common}))
        if self.document.exists():
            self._compare(self.read(), told)
            return
        if self.path.exists() and any(one.suffix != ".zarr" for one in self.path.iterdir()):
            raise ArgumentError(f"{self.path}: this folder holds other files; give the path of a new one")
        (self.path / "predictions").mkdir(parents=True, exist_ok=True)
        (self.path / "under-way").mkdir(exist_ok=True)
        write_whole(f"{json.dumps(told, indent=1)}\n".encode(), self.document)

    def _compare(self, before: Mapping[str, Any], told: Mapping[str, Any]) -> None:
        for name in sorted({*before, *told}, key=lambda name: (name != "targets", name)):
            if before.get(name) != told.get(name):
                raise ArgumentError(f"{self.path}: {_other(name, before.get(name), told.get(name))}")

    def read(self) -> dict[str, Any]:
        """What all networks have in common. Raises StudyError where no study is."""
        try:
            found = parsed(self.document.read_bytes())
        except FileNotFoundError as exc:
            raise StudyError(f"{self.path}: there is no study here (no study.json); give films to begin one") from exc
        except ValueError as exc:
            raise StudyError(f"{self.document}: damaged ({exc})") from exc
        if not isinstance(found, dict) or found.get("format") != FORMAT:
            raise StudyError(f"{self.document}: not of format {FORMAT}, which this version of resload reads")
        return found

    # -- what is finished --

    @property
    def lines(self) -> Path:
        """results.jsonl."""
        return self.path / "results.jsonl"

    def finished(self) -> dict[str, dict[str, Any]]:
        """Every network that is finished: its record by its name. A line that a kill cut short does not count."""
        if not self.lines.exists():
            return {}
        whole, _, _ = self.lines.read_bytes().rpartition(b"\n")
        found = {}
        for number, line in enumerate(whole.splitlines(), 1):
            try:
                record = parsed(line)
                found[record["run"]] = record
            except (ValueError, KeyError, TypeError) as exc:
                raise StudyError(f"{self.lines}, line {number}: damaged ({exc}); take the line out") from exc
        return found

    def finish(self, record: Mapping[str, Any], kept: Mapping[str, NDArray[np.float32]]) -> None:
        """Keep a network's answers and then its record; what it had under way goes."""
        run = record["run"]
        self._save(self.path / "predictions" / f"{run}.npz", kept)
        with locks.held(self.path / "under-way" / "results.lock", keep=True), self.lines.open("ab+") as file:
            end = file.seek(0, os.SEEK_END)
            file.seek(0)
            if (whole := file.read().rfind(b"\n") + 1) < end:  # what a kill cut short
                file.truncate(whole)
            file.write(f"{json.dumps(record, allow_nan=False)}\n".encode())
            file.flush()
            os.fsync(file.fileno())
        self._checkpoint(run).unlink(missing_ok=True)

    def predictions(self, run: str) -> dict[str, NDArray[np.float32]]:
        """{test size: (test films, targets)}. Raises StudyError where they are missing or damaged."""
        return self._load(self.path / "predictions" / f"{run}.npz")

    # -- the test films --

    def write_films(self, **columns: NDArray[Any]) -> None:
        """Keep what is known of the test films."""
        self._save(self.path / "films.npz", columns)

    @property
    def examples(self) -> Path:
        """examples.png."""
        return self.path / "examples.png"

    def has_films(self) -> bool:
        """Whether anything was kept of them yet."""
        return (self.path / "films.npz").exists()

    def films(self) -> dict[str, NDArray[Any]]:
        """What is known of the test films."""
        return self._load(self.path / "films.npz")

    def _save(self, path: Path, arrays: Mapping[str, NDArray[Any]]) -> None:
        data = io.BytesIO()
        np.savez(data, **arrays)
        write_whole(data.getvalue(), path)

    def _load(self, path: Path) -> dict[str, NDArray[Any]]:
        try:
            with np.load(io.BytesIO(path.read_bytes()), allow_pickle=False) as found:
                return {name: found[name] for name in found.files}
        except (OSError, ValueError, KeyError, BadZipFile) as exc:
            raise StudyError(f"{path}: missing or damaged ({exc}); take its line out of {self.lines.name} and run the "
                             "study again") from exc  # fmt: skip

    # -- what is under way --

    def _checkpoint(self, run: str) -> Path:
        return self.path / "under-way" / f"{run}.pt"

    @contextmanager
    def taken(self, run: str) -> Iterator[bool]:
        """Hold a network while it is trained; False where another process does."""
        with locks.held_if_free(self.path / "under-way" / f"{run}.lock") as mine:
            yield mine

    def save(self, run: str, state: Mapping[str, Any]) -> None:
        """Keep a network that is being trained."""
        data = io.BytesIO()
        torch.save(dict(state), data)
        write_whole(data.getvalue(), self._checkpoint(run))

    def saved(self, run: str) -> dict[str, Any] | None:
        """The same network, on the CPU; None where there is none."""
        if not self._checkpoint(run).exists():
            return None
        found: dict[str, Any] = torch.load(self._checkpoint(run), map_location="cpu", weights_only=True)
        return found


def _other(name: str, before: object, told: object) -> str:
    """Why a study cannot go on with another value."""
    if name in ("films", "counts"):
        return (
            "this study was begun with other films, splits, patients or labels than those that are given now; give "
            "another folder"
        )
    why = "was set before the first network was trained" if name in SET_BEFORE else "is what networks must be alike in"
    return (
        f"this study was begun with {name}={before!r}, which {why}; found {told!r}: say it as before, or give another "
        "folder"
    )
