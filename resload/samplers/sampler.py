"""The sampler: a plan is data, randomness is a function, the cursor is two integers.

    order     which rows, in which order          Shuffle()
    sizes     at which resolution                 Mix((256, 512))
    budget    how many, over all processes        Pixels(256, at=512)
    buckets   who may share a step                "shape"

`steps(epoch)` computes the whole epoch from (seed, epoch) alone, the same in every process; a process serves its part
of each step. Size and augmentation seed ride in the key, never in shared state, so that worker copies of a data set
cannot go stale.
"""

import hashlib
from collections.abc import Iterator, Mapping, Sequence, Sized
from copy import copy
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from resload import seeds
from resload.errors import ArgumentError, StateError
from resload.samplers import checks
from resload.samplers.budgets import Budget
from resload.samplers.columns import Columns
from resload.samplers.counting import Counting
from resload.samplers.cursor import Cursor, checked_state, rescaled
from resload.samplers.described import described
from resload.samplers.foreign import Batches, adapted
from resload.samplers.interleaved import Interleaved
from resload.samplers.keys import PADDING, Key, Step
from resload.samplers.orders import Order, Shuffle, bound
from resload.samplers.place import Place, place, refuse_dealing_twice, said_aloud
from resload.samplers.plan import Planner
from resload.samplers.sizes import Sizes, at_least, scales_of
from resload.samplers.whole import BatchPlanner, WholeCounting


class Sampler:
    """Plans epochs over rows. Iterable of `list[Key]`: give it to a Loader, or to any DataLoader as batch_sampler.

    Args:
        data: anything with a length (a Cache, a Catalog, a reader, a table), or how many rows there are. Orders and
            buckets that name a column find it there; a sampler made of one selection of films is refused by another.
        rows: the rows to visit (of 0 .. n-1); when None, all that `data.rows()` says can be read, or all.
        order: which comes when (`Shuffle()`, `BlockShuffle()`, `Balanced("nodule")`, ..., or your own); or a list of
            positions, or any torch Sampler, read anew for each epoch with its generators seeded by (seed, epoch); or
            whole batches: a list of lists, or a torch BatchSampler, each of whose batches is a step. A position is a
            place among the visited rows.
        sizes: at which size (`Fixed(256)`, `Mix((256, 512))`, `Ramp`, `Stages`, ..., or your own).
        budget: how many images a step holds over all processes together (`Images(64)`, `Pixels(64, at=512)`, or any
            function of the size). Rounded down to a multiple of the granule. Left out beside whole batches.
        buckets: a column, or an array with one value for each row of the data: only rows of equal value share a step.
            Steps are formed for all processes together, so that none has more of them than another. A bucket smaller
            than a step is never served where tails are dropped (a warning says so), and with `epoch_steps=` its rows
            come more than once in a step.
        seed: with the epoch, the only source of randomness.
        tail: of the images that do not fill a last step, "drop" leaves them out (others each epoch, under a shuffle),
            "pad" completes the step with other images of the epoch, and "exact" visits every row once and ends with a
            shorter step, in which processes that have no image left are given padding (`Batch.valid` False): for
            evaluation.
        granule: every step is a multiple of so many images, so that any number of processes that divides it can take
            over another's run. When None, the largest power of two up to 8 that divides the budget.
        epoch_steps: how many steps an epoch has, when it is not a pass over the rows: epochs are then cut from one
            endless stream of passes. Needed where the number of steps would change from epoch to epoch, as it does
            when sizes grow under constant pixels; frameworks ask for a length once.
        rank, world: which process this is, of how many. When None, torch.distributed says so, or the environment of
            torchrun or SLURM's srun, when the first step is asked for.

    `len` is the number of steps, the same on every process and for every epoch, and unaffected by the cursor. Iterating
    again is the next epoch, also after a loop that was left early; `set_epoch` and `load_state_dict` say otherwise. Not
    thread-safe: a sampler is a cursor. Deliberately not a torch BatchSampler and without `batch_size`, so that
    frameworks that rebuild samplers fail loudly instead of losing the sizes.

    Raises ArgumentError for parts that contradict each other or the data.
    """

    def __init__(
        self,
        data: int | Sized,
        *,
        sizes: Sizes,
        budget: Budget | None = None,
        rows: Sequence[int] | NDArray[np.integer[Any]] | None = None,
        order: Any = None,
        buckets: str | Sequence[Any] | NDArray[Any] | None = None,
        seed: int = 0,
        tail: str = "drop",
        granule: int | None = None,
        epoch_steps: int | None = None,
        rank: int | None = None,
        world: int | None = None,
    ) -> None:
        self.n = data if isinstance(data, int) else len(data)
        readable = getattr(data, "rows", None)  # caches and readers have it: quarantined rows are not planned
        self.rows = checks.row_numbers(readable() if rows is None and callable(readable) else rows, self.n)
        columns = Columns(data, self.n, self.rows)
        self.data_digest = columns.digest()
        """Of the ids in row order, where the data has any: the selection that the rows are rows of."""
        self.seed = at_least(seed, "seed", 0)
        self.order: Order = Shuffle() if order is None else bound(adapted(order, self.seed), columns)
        self.sizes: Sizes = bound(sizes, columns)
        self.budget = budget
        self.buckets = None if buckets is None else columns.codes(buckets, "buckets=")
        self.tail = tail
        self.granule = None if granule is None else at_least(granule, "granule", 1)
        self.epoch_steps = None if epoch_steps is None else at_least(epoch_steps, "epoch_steps", 1)
        checks.refuse_contradictions(self)
        self._asked = rank, world
        self._stride = _stride(self.order, len(self.rows), self.seed)
        self._plans: dict[int, _Plans] = {}
        self._cursor = Cursor()
        checks.warn_of_plan(self, self._planned(self.place().world).planner)

    # -- the plan: pure functions of (seed, epoch) --

    def __len__(self) -> int:
        return self._planned(self.place().world).planner.steps()

    def total_steps(self, epochs: int) -> int:
        """Steps of so many whole epochs: what a learning-rate schedule asks for."""
        return epochs * len(self)

    def steps(self, epoch: int, *, start: int = 0) -> Iterator[Step]:
        """The global steps of an epoch from number `start` on. Pure: any process, at any time, computes the same."""
        plans = self._planned(self.place().world)
        planned, length = plans.planner.epoch(epoch), plans.planner.steps()
        stride, scales = planned.units.shape[1], scales_of(self.sizes)
        index = _rows_at(self.rows, planned.units.ravel())
        if getattr(self.order, "draw_per_unit", False):
            draw = seeds.draws(len(planned.units), self.seed, epoch).repeat(stride)
        else:
            draw = seeds.draws(len(index), self.seed, epoch)
        full = bool(planned.units.min(initial=0) >= 0)
        for number in range(start, length):
            part = slice(int(planned.bounds[number]) * stride, int(planned.bounds[number + 1]) * stride)
            yield Step(
                number,
                planned.sizes[number],
                index[part],
                draw[part],
                epoch=epoch,
                progress=epoch + number / length,
                scales=scales,
                stride=stride,
                n_ref=plans.counting.reference,
                full=full,
            )

    def parts(self, epoch: int, *, start: int = 0, at: Place | None = None) -> Iterator[Step]:
        """This process's part of each step.

        Raises ArgumentError for steps of training that so many processes cannot share evenly.
        """
        found = self.place() if at is None else at
        if found.world == 1:
            return self.steps(epoch, start=start)
        return (step.part(found.rank, found.world) for step in self.shared(epoch, start, found.world))

    def shared(self, epoch: int, start: int, world: int) -> Iterator[Step]:
        """Global steps that `world` processes can share. Raises ArgumentError, as `parts`."""
        for step in self.steps(epoch, start=start):
            units = len(step) // step.stride
            if units % world and self.tail != "exact":
                whole = isinstance(self.order, Batches)
                remedy = "make batches" if whole else "choose a budget and a granule="
                raise ArgumentError(
                    f"step {step.number} of epoch {epoch} has {units} images or exams, which {world} processes cannot "
                    f"share evenly: {remedy} that are multiples of {world}"
                )
            yield step

    def fingerprint(self) -> str:
        """16 hex digits that change when the plan does: data, rows, order, sizes, budget, buckets, granule, seed, tail.

        The number of processes is not in it.
        """
        return self._planned(self.place().world).fingerprint

    # -- processes --

    def place(self) -> Place:
        """Which process this is, of how many, as far as is known now."""
        return place(*self._asked)

    def view(self, rank: int, world: int) -> "Sampler":
        """The same plan as process `rank` of `world` iterates it; a copy with a cursor of its own, at its place."""
        Place(rank, world)
        found = copy(self)
        found._asked, found._cursor, found._plans = (rank, world), copy(self._cursor), dict(self._plans)
        return found

    def interleaved(self, world: int) -> "Interleaved":
        """All processes' parts in one stream, step by step: for wrappers that deal batches out themselves.

        Accelerate's `prepare` gives batch i to process i % world; of this stream that is the process's own part.
        """
        Place(0, world)
        return Interleaved(self, world)

    def _planned(self, world: int) -> "_Plans":
        key = world if getattr(self.budget, "per_process", False) else 1
        if key not in self._plans:
            plans = self._plans_for(key)
            checks.refuse_plan(self, plans.planner, plans.counting)  # of a world that is known late, then
            self._plans[key] = plans
        return self._plans[key]

    def _plans_for(self, world: int) -> "_Plans":
        planner: Planner
        counting: Counting | WholeCounting
        if isinstance(self.order, Batches):
            planner = whole = BatchPlanner(
                self.order, self.sizes, len(self.rows), seed=self.seed, tail=self.tail, epoch_steps=self.epoch_steps
            )
            counting = whole.counting
        else:
            assert self.budget is not None
            counting = Counting(self.budget, self.sizes, self._stride, self.granule, world)
            planner = Planner(
                self.order, self.sizes, counting.units, len(self.rows), seed=self.seed, tail=self.tail,
                epoch_steps=self.epoch_steps, buckets=self.buckets,
            )  # fmt: skip
        parts = (self.order, self.sizes, self.buckets, self.epoch_steps, self.seed, self.tail)
        text = described([self.n, self.data_digest, counting.fingerprint(), *parts, self.rows])
        return _Plans(counting, planner, hashlib.sha256(text.encode()).hexdigest()[:16])

    # -- the cursor --

    def __iter__(self) -> Iterator[list[Key]]:
        epoch, start = self._cursor.begin(drawn_ahead=True)
        found = said_aloud(self.place())
        refuse_dealing_twice(found)
        steps = len(self)
        for step in self.parts(epoch, start=start, at=found):
            self._cursor.passed(epoch, step.number, steps)
            yield step.keys()

    def set_epoch(self, epoch: int) -> None:
        """Begin this epoch next. A position that was loaded, or is already there, is kept."""
        self._cursor.set_epoch(epoch)

    @property
    def sampler(self) -> "Sampler":
        """Itself: frameworks look for `.sampler.set_epoch`."""
        return self

    def state_dict(self) -> dict[str, Any]:
        """The position: plain values with the plan's fingerprint, for JSON or torch.save; the same on every process."""
        return self.state_at(self._cursor, self.fingerprint())

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Continue where `state_dict` was taken, on any number of processes.

        Raises StateError when the plan is another one.
        """
        self.load_state_at(self._cursor, rescaled(state, 1), self.fingerprint())

    def state_at(self, cursor: Cursor, fingerprint: str) -> dict[str, Any]:
        """A position in this plan, wherever it is kept, with what the order remembers."""
        state = cursor.state(fingerprint) | {"seed": self.seed}
        remembered = getattr(self.order, "state_dict", None)
        return state | ({"order": remembered()} if callable(remembered) else {})

    def load_state_at(
        self, cursor: Cursor, state: Mapping[str, Any], fingerprint: str, *, steps: int | None = None
    ) -> None:
        """Load such a state. Raises StateError, and changes nothing, when it belongs to another plan."""
        load = getattr(self.order, "load_state_dict", None)
        if callable(load) and "order" not in state and state.get("fingerprint") == fingerprint:
            raise StateError("this position lacks what its order remembers: 'order' is missing")
        steps = len(self) if steps is None else steps
        checked_state(state, fingerprint, steps)  # before the order changes
        if callable(load):
            load(state["order"])
        cursor.load(state, fingerprint, steps)


@dataclass(frozen=True)
class _Plans:
    """A sampler's plan, for a number of processes where the budget is for each."""

    counting: Counting | WholeCounting
    planner: Planner
    fingerprint: str


def _rows_at(rows: NDArray[np.int64], positions: NDArray[np.int64]) -> NDArray[np.int64]:
    """Row numbers at positions; padding stays what it is."""
    found = rows[positions]
    missing = positions < 0
    if missing.any():
        found[missing] = PADDING
    return found


def _stride(order: Order, n: int, seed: int) -> int:
    """How many rows a unit of this order has: as it says, or as its first epoch shows."""
    said = getattr(order, "stride", None)
    if said is not None:
        return int(said)
    shape = np.shape(order.positions(n, seed=seed, epoch=0))
    return shape[1] if len(shape) == 2 else 1
