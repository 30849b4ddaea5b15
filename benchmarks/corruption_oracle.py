"""What must hold after damage to a cache, decided by one who knows what the intact cache serves.

    open        refused, naming the file; or opened
    served      tables, statistics, digest, every row at every size, masks: as the intact cache does, or refused, naming
                the file
    verify      names every file that differs, and no other; or refuses as open does
    repair      with the films: the intact cache again, byte for byte, or refused as open does, changing nothing.
                Without the films: what is left is listed, and stays refused
    build       of one that was interrupted: goes on to the bytes of an uninterrupted build; or refuses, naming the
                file; or what damage is left is served, listed and mended as above

"Naming the file" is its path in the message; where a file belongs to another cache, that of either of the two that
contradict each other. Nothing else may be raised.
"""

import contextlib
import io
import traceback
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from corruption_caches import Subject
from corruption_served import Reads, Refused, same, served

import resload
from resload.cli import main
from resload.errors import CorruptCacheError, ResloadError
from resload.store import layout
from resload.testing.damage import Damage, Intact

WRONG = ("missed", "not named", "not listed", "not mended", "other error", "crash", "hang")
"""Outcomes that must not be."""
REFUSED = "refused at open; copy needed"
RESTORED = "refused at open; mended"
MENDED = "refused when read, listed, mended"
QUIET = "served whole, listed, mended"
RESUMED = "built to its end as without damage"
LEFT = "built to its end; refused when read, listed, mended"
STOPPED = "build refuses; mended, then built to its end"
HARMLESS = "served whole: the rows it has are there, others behind them"
ACCESS = ("pread", "mmap", "memory")


@dataclass(frozen=True)
class Case:
    """One case and what came of it."""

    subject: str
    region: str
    kind: str
    outcome: str
    words: str = ""


class Wrong(Exception):
    """Something that must not be: one of WRONG, and what was seen."""


class Oracle:
    """Judges damage to one cache, in a folder of its own. Not thread-safe."""

    def __init__(self, subject: Subject, place: Path) -> None:
        self.subject, self.place = subject, place / f"{subject.name}.zarr"
        self.place.mkdir(parents=True)
        subject.intact.restore(self.place)
        self._partial = layout.read_manifest(self.place, partial=True).state != "complete"
        self._known = dict(served(self._opened("pread")))
        self._whole = subject.whole and Intact(subject.whole)
        self._later = dict(served(resload.open_cache(subject.whole))) if subject.whole else {}
        self._judge = self._unfinished if self._partial else self._appending if subject.whole else self._finished
        self._lost = resload.Catalog(
            subject.catalog.table, targets=subject.catalog.targets, boxes=subject.catalog.boxes,
            masks=subject.catalog.masks, root=place / "nowhere",
        )  # fmt: skip

    def judged(self, damage: Damage, rng: np.random.Generator) -> Case:
        """Do the damage, look, and undo it."""
        try:
            damage.apply(self.place)
            outcome, words = self._judge(damage, rng), ""
        except Wrong as wrong:
            outcome, words = wrong.args
        except Exception:  # what must not happen is counted, and the others go on
            outcome, words = "other error", traceback.format_exc()
        finally:
            self.subject.intact.restore(self.place)
        return Case(self.subject.name, damage.region, damage.kind, outcome, words)

    # -- a cache that was complete --

    def _finished(self, damage: Damage, rng: np.random.Generator) -> str:
        files = set(damage.files)
        try:
            cache = self._opened(str(rng.choice(ACCESS)))
        except ResloadError as error:
            self._named(error, files)
            return RESTORED if self._repairs_closed(files) else REFUSED
        refused = self._as_known(cache, files)
        self._info(rng)
        if not self._lists(files):
            if refused or not _holds_more(damage, self.subject):
                raise Wrong("not listed", f"verify found nothing; refused when read: {refused}")
            return HARMLESS
        if rng.random() < 0.1:
            self._without_films(files, refused)
        self._mends(self.subject.intact)
        return MENDED if refused else QUIET

    def _repairs_closed(self, files: set[str]) -> bool:
        """Where open refuses, verify must, and repair too, changing nothing; or it makes the cache what it was."""
        try:
            found = self._verify()
        except ResloadError as error:
            self._named(error, files)
        else:
            raise Wrong("not listed", f"open refuses, and verify says {found}")
        try:
            report = self._repair()
        except ResloadError as error:
            self._named(error, files)
            self._only_changed(files)
            return False
        if not report.ok or self.subject.intact.changed(self.place):
            raise Wrong("not mended", f"open refuses, and repair says {report}")
        return True

    def _lists(self, files: set[str]) -> bool:
        """Whether verify lists damage: of these files, all and no others."""
        found = {problem.file for problem in self._verify().problems}
        if found and found != files:
            raise Wrong("not listed", f"damaged {sorted(files)}, listed {sorted(found)}")
        return bool(found)

    def _without_films(self, files: set[str], refused: bool) -> None:
        """Repair without films says what it cannot mend, and makes nothing worse."""
        report = self._repair(self._lost)
        left = self.subject.intact.changed(self.place)
        if bool(left) == report.ok or not left <= files:
            raise Wrong("not mended", f"without films {sorted(left)} are left, and repair lists {report.problems}")
        if left and refused:
            self._as_known(self._opened("pread"), left)

    def _mends(self, intact: Any) -> None:
        report = self._repair()
        left = intact.changed(self.place)
        if left or not report.ok:
            raise Wrong("not mended", f"{sorted(left)} differ after repair, which lists {report.problems}")

    # -- one whose build was interrupted --

    def _unfinished(self, damage: Damage, rng: np.random.Generator) -> str:
        """A first build: only what it has finished can be shown."""
        files = set(damage.files)
        try:
            self._as_known(self._opened(str(rng.choice(ACCESS))), files)
        except ResloadError as error:
            self._named(error, files)
        with contextlib.suppress(ResloadError):
            resload.open_cache(self.place)
            raise Wrong("missed", "an unfinished cache was opened as a finished one")
        return self._builds(files) or REFUSED

    def _appending(self, damage: Damage, rng: np.random.Generator) -> str:
        """A complete cache that films were being appended to: it is served as before, and repaired or not."""
        files = set(damage.files)
        try:
            cache = self._opened(str(rng.choice(ACCESS)))
        except ResloadError as error:
            self._named(error, files)
            mended = rng.random() < 0.5 and self._repairs_closed(files)
            outcome = self._builds(files)
            if outcome not in ("", RESUMED) or (mended and not outcome):
                raise Wrong("not mended", f"open refuses; repaired: {mended}; build: {outcome}") from error
            return RESTORED if outcome else REFUSED
        refused = self._as_known(cache, files)
        listed = {problem.file for problem in self._verify().problems}
        if not listed <= files or (refused and not listed):
            raise Wrong("not listed", f"damaged {sorted(files)}, listed {sorted(listed)}")
        if listed and rng.random() < 0.5 and not self._repair().ok:
            raise Wrong("not mended", "repair before the build went on left something")
        outcome = self._builds(files)
        if outcome:
            return outcome
        if not self._repair().ok or not (outcome := self._builds(files)):
            raise Wrong("not mended", "build refuses, and repair is no help")
        return STOPPED

    def _builds(self, files: set[str]) -> str:
        """What comes of going on; nothing where that is refused."""
        assert self._whole is not None
        try:
            resload.build(self.subject.catalog, self.place, **self.subject.settings)
        except ResloadError as error:
            self._named(error, files)
            return ""
        left = self._whole.changed(self.place)
        if not left:
            return RESUMED
        self._as_known(resload.open_cache(self.place), left, self._later)
        if not left <= files or not self._lists(left):
            raise Wrong("not listed", f"{sorted(left)} differ from an uninterrupted build's")
        self._mends(self._whole)
        return LEFT

    # -- what is served --

    def _opened(self, access: str) -> resload.Cache:
        return resload.open_cache(self.place, access=access, partial=self._partial)

    def _as_known(self, cache: resload.Cache, files: set[str], known: Mapping[str, Any] | None = None) -> bool:
        """Whether anything was refused; raises Wrong where something else is served."""
        refused, known = False, known or self._known
        gone = self._pending(cache)
        try:
            for name, found in served(cache, self._reads(cache, files)):
                refused |= isinstance(found, tuple) and len(found) == 2 and isinstance(found[1], Refused)
                if not same(found, known[name], gone):
                    raise Wrong("missed", f"{name} is not what the intact cache serves")
        finally:
            cache.close()
        return refused

    def _pending(self, cache: resload.Cache) -> Any:
        """Rows that an interrupted build does not show any more, in whole row groups."""
        if not self._partial:
            return np.zeros(0, np.int64)
        before = self._known["table"]["status"].to_numpy()
        return np.flatnonzero((cache.table["status"].to_numpy() == "pending") & (before != "pending"))

    def _reads(self, cache: resload.Cache, files: set[str]) -> "Reads":
        def read(of: Callable[[Any], Any], rows: Any) -> Any:
            try:
                return of(rows)
            except CorruptCacheError as error:
                self._named(error, files)
            return Refused({int(row): found for row in rows if (found := self._one(of, row, files)) is not None})

        return read

    def _one(self, of: Callable[[Any], Any], row: Any, files: set[str]) -> Any:
        try:
            return of([row])[0]
        except CorruptCacheError as error:
            self._named(error, files)
            return None

    # -- what is said --

    def _named(self, error: ResloadError, files: set[str]) -> None:
        """The error must name a damaged file: by its path, or, of the manifest, also by the cache's."""
        text = str(error)
        names = [str(self.place / file) for file in files]
        if layout.MANIFEST in files and not isinstance(error, CorruptCacheError):
            names.append(str(self.place))
        if not any(name in text for name in names):
            raise Wrong("not named", f"damaged {sorted(files)}: {type(error).__name__}: {text}")

    def _info(self, rng: np.random.Generator) -> None:
        """The command line ends with an answer or one sentence."""
        if rng.random() < 0.05:
            with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
                main(["info", str(self.place)])

    def _only_changed(self, files: set[str]) -> None:
        found = self.subject.intact.changed(self.place)
        if not found <= files:
            raise Wrong("not mended", f"a refusal changed {sorted(found - files)}")

    def _verify(self) -> Any:
        return resload.verify(self.place, threads=1, progress=False)

    def _repair(self, catalog: resload.Catalog | None = None) -> Any:
        return resload.repair(self.place, catalog or self.subject.catalog, threads=1, progress=False)


def _holds_more(damage: Damage, subject: Subject) -> bool:
    """Whether what is there now begins with the records that were, and goes on: a shard to which rows were added."""
    return all(data is not None and "/c/" in file and _records(data, subject).startswith(
        _records(subject.intact.files[file], subject)) for file, data in damage.files.items())  # fmt: skip


def _records(data: bytes, subject: Subject) -> bytes:
    return data[: -layout.index_bytes(layout.read_manifest(subject.folder, partial=True).per_shard)]
