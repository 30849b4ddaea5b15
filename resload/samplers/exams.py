"""Orders of exams and patients: films that stay together, and one film for each.

    films by exam       a a a | b | c c c c c c          Groups(max=4)
    units of an epoch   c c c c    b - - -    a a a -    "-": a place without a film (-1; `Batch.valid` is False)

The exams are ordered by another order, which sees one value for each of them. Only rows that the sampler visits are in
an exam.
"""

import logging
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from resload import seeds
from resload.errors import ArgumentError
from resload.samplers.columns import Columns, is_missing
from resload.samplers.grouped import ExamColumns, Runs
from resload.samplers.orders import Bindable, Order, Sequential, Shuffle, bound

_log = logging.getLogger("resload")

DRAWS = ("film", "exam")


@dataclass(frozen=True)
class OnePer:
    """One row for each value of a column, drawn anew each epoch: one film of each patient.

        OnePer("patient")
        OnePer("patient", order=Balanced("Nodule"))       as many patients with a nodule as without

    Rows where the column is missing count each for itself. `order` orders the patients: of a column it sees 1 where any
    film has 1, 0 where any is known and none is 1, and NaN where none is known; the film that is drawn need not be the
    one that has the finding.

    Raises ArgumentError, when a sampler is made, for a column that is not there and for orders that keep a state.
    """

    column: "str | Sequence[Any] | NDArray[Any]"
    """A column, or an array with one value for each row of the data."""
    order: "Order | Bindable" = field(default_factory=Shuffle)

    def bind(self, columns: Columns) -> "BoundOnePer":
        """The order for these rows."""
        codes = columns.codes(self.column, "OnePer")
        count = _count(codes)
        return BoundOnePer(Runs.of(codes, count), _inner(self.order, ExamColumns(columns, codes, count), "OnePer"))


@dataclass(frozen=True)
class BoundOnePer:
    """A `OnePer` that knows its rows."""

    runs: Runs
    order: Order

    stride = 1

    @property
    def stream(self) -> int:
        """Which stream of random numbers is its own: orders within it have others."""
        return _stream(self.order)

    def positions(self, n: int, *, seed: int, epoch: int) -> NDArray[np.int64]:
        """A film of each patient, in the order of patients."""
        patients = _ordered(self.order, len(self.runs.sizes), seed, epoch, "OnePer")
        return self.runs.one(patients, seeds.generator(seed, epoch, "order", self.stream))


@dataclass(frozen=True)
class Groups:
    """Exams that stay whole: no step and no process divides one. For models that see an exam, and for multiple-instance
    learning.

        Groups("group", max=4)
        Groups(slots=("L-CC", "R-CC", "L-MLO", "R-MLO"))        place k of an exam is always that view
        Groups(max=None, order=Sequential())                    for evaluation, with tail="exact"

    An exam takes `max` places of a step, whatever it has: places without a film have row -1, and `Batch.valid` is False
    there. A budget counts places: `Images(64)` is 16 exams of 4. Rows without a group are exams of one film.

    Without `slots`, an exam's films come in the order of their column `slot`, where there is one, and of their rows. Of
    an exam with more than `max`, that many are drawn anew each epoch; under `Sequential` they are the first, always.
    With `slots`, films of no named view are left out, and exams that have none of them; how many is logged. Of several
    films of one view one is drawn anew each epoch; under `Sequential` it is the first, always.

    `order` orders the exams: of a column it sees 1 where any film has 1, 0 where any is known and none is 1, and NaN
    where none is known, so that `Balanced("cancer")` balances exams.

    Raises ArgumentError for arguments that are none of these; when a sampler is made, for columns that are not there,
    views that no film has, and orders that keep a state.
    """

    by: "str | Sequence[Any] | NDArray[Any]" = "group"
    """A column, or an array with one value for each row of the data: films of equal value are one exam."""
    max: int | None = 4
    """Places of an exam; None, as many as the largest has. With `slots` there is one for each."""
    slots: Sequence[str] | None = field(default=None, kw_only=True)
    """Views, as the column `slot` names them."""
    order: "Order | Bindable" = field(default_factory=Shuffle, kw_only=True)
    draw: str = field(default="film", kw_only=True)
    """An augmentation seed for each "film", or one for all films of an "exam"."""

    def __post_init__(self) -> None:
        if self.max is not None and (isinstance(self.max, bool) or not isinstance(self.max, int) or self.max < 1):
            raise ArgumentError(f"max must be an int >= 1 of films, or None for the largest exam; found {self.max!r}")
        if self.draw not in DRAWS:
            raise ArgumentError(f"draw must be one of {', '.join(DRAWS)}; found {self.draw!r}")
        if self.slots is not None:
            slots = () if isinstance(self.slots, str) else tuple(self.slots)
            if not slots or len(set(slots)) < len(slots):
                raise ArgumentError(f'slots must be different views, such as ("L-CC", "R-CC"); found {self.slots!r}')
            object.__setattr__(self, "slots", slots)

    def bind(self, columns: Columns) -> "BoundGroups | BoundViews":
        """The order for these rows."""
        codes = columns.codes(self.by, "Groups")
        if self.slots is not None:
            return self._by_view(columns, codes, tuple(self.slots))
        count = _count(codes)
        runs = Runs.of(codes, count, _ranks(columns), columns.rows)
        most = self.max or int(runs.sizes.max(initial=1))
        if crowded := int((runs.sizes > most).sum()):
            kept = "the first" if isinstance(self.order, Sequential) else "each epoch draws"
            _log.info("Groups: %d of %d exams have more than %d films; %s %d", crowded, count, most, kept, most)
        order = _inner(self.order, ExamColumns(columns, codes, count), "Groups")
        return BoundGroups(runs, order, most, self.draw == "exam")

    def _by_view(self, columns: Columns, codes: NDArray[np.int64], slots: tuple[str, ...]) -> "BoundViews":
        found = columns.values("slot", "Groups(slots=)").tolist()
        numbers = {name: k for k, name in enumerate(slots)}
        views = np.array([-1 if is_missing(name) else numbers.get(name, -1) for name in found], np.int64)
        named = views >= 0
        if not named.any():
            there = sorted({str(name) for name in found if not is_missing(name)})
            raise ArgumentError(f"no film has one of the slots {slots}; the column slot has {there[:8]}")
        kept, exams = np.unique(codes[named], return_inverse=True)
        films, lost = int((~named).sum()), _count(codes) - len(kept)
        if films:
            _log.warning(
                "Groups: %d of %d films have none of the slots %s and are left out, and with them %d exams that have "
                "no other", films, len(codes), ", ".join(slots), lost,
            )  # fmt: skip
        of_exam, pairs = np.full((2, len(codes)), -1, np.int64)
        of_exam[named] = exams
        pairs[named] = exams * len(slots) + views[named]
        order = _inner(self.order, ExamColumns(columns, of_exam, len(kept)), "Groups")
        runs = Runs.of(pairs, len(kept) * len(slots), columns.rows)
        return BoundViews(runs, order, len(slots), self.draw == "exam")


@dataclass(frozen=True)
class BoundExams:
    """`Groups` that know their rows."""

    runs: Runs
    order: Order
    stride: int
    draw_per_unit: bool

    @property
    def stream(self) -> int:
        """Which stream of random numbers is its own: orders within it have others."""
        return _stream(self.order)


class BoundGroups(BoundExams):
    """Films in their order, as many as there is place for: run e has the films of exam e."""

    def positions(self, n: int, *, seed: int, epoch: int) -> NDArray[np.int64]:
        """(exams, stride): the films of each exam, in the order of exams."""
        sizes = self.runs.sizes
        exams = _ordered(self.order, len(sizes), seed, epoch, "Groups")
        units = self.runs.first(exams, self.stride)
        crowded = np.flatnonzero(sizes[exams] > self.stride)
        if crowded.size and not isinstance(self.order, Sequential):
            rng = seeds.generator(seed, epoch, "order", self.stream)
            units[crowded] = self.runs.some(exams[crowded], self.stride, rng)
        return units


class BoundViews(BoundExams):
    """Films by view: run `exam * stride + k` has the films of an exam's view k."""

    def positions(self, n: int, *, seed: int, epoch: int) -> NDArray[np.int64]:
        """(exams, stride): a film of each view of each exam, in the order of exams."""
        exams = _ordered(self.order, len(self.runs.sizes) // self.stride, seed, epoch, "Groups")
        pairs = exams[:, None] * self.stride + np.arange(self.stride)
        if isinstance(self.order, Sequential):
            return self.runs.first(pairs.ravel(), 1).reshape(pairs.shape)
        return self.runs.one(pairs, seeds.generator(seed, epoch, "order", self.stream))


def _count(codes: NDArray[np.int64]) -> int:
    return int(codes.max(initial=-1)) + 1


def _ranks(columns: Columns) -> NDArray[np.int64]:
    """Of each film's slot, in the order of their names, the missing last; all alike where there is no such column."""
    if "slot" not in columns:
        return np.zeros(len(columns.rows), np.int64)
    found = columns.values("slot", "Groups").tolist()
    names = sorted({str(name) for name in found if not is_missing(name)})
    ranks = {name: k for k, name in enumerate(names)}
    return np.array([len(ranks) if is_missing(name) else ranks[str(name)] for name in found], np.int64)


def _inner(order: "Order | Bindable", exams: ExamColumns, holder: str) -> Order:
    """The order of exams, once it knows them."""
    if hasattr(order, "state_dict"):
        raise ArgumentError(f"{holder} orders exams by a pure order; {type(order).__name__} keeps a state of rows")
    if not (hasattr(order, "positions") or hasattr(order, "bind")):
        raise ArgumentError(
            f"order= of {holder} must be an order of resload.samplers, or an object with its method `positions`; found "
            f"{type(order).__name__}"
        )
    found: Order = bound(order, exams)
    return found


def _stream(order: Order) -> int:
    return int(getattr(order, "stream", 0)) + 1


def _ordered(order: Order, count: int, seed: int, epoch: int, holder: str) -> NDArray[np.int64]:
    """The exams of an epoch, checked."""
    found = np.asarray(order.positions(count, seed=seed, epoch=epoch))
    if found.ndim != 1 or (found.size and (found.dtype.kind not in "iu" or found.min() < 0 or found.max() >= count)):
        raise ArgumentError(
            f"an order within {holder} must give exams 0 .. {count - 1}, one after another; "
            f"{type(order).__name__} gave {found.dtype} of shape {found.shape}"
        )
    return found.astype(np.int64, copy=False)
