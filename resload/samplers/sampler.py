"""The sampler: a plan is data, randomness is a function, the cursor is two integers.

`steps(epoch)` computes the whole epoch from (seed, epoch) alone; iterating yields the same steps as lists of
keys from the cursor on. Size and augmentation seed ride in the key, never in shared state, so that worker
copies of a data set cannot go stale.
"""

import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence, Sized
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from resload import seeds
from resload.errors import ArgumentError, StateError
from resload.samplers.budgets import Images
from resload.samplers.orders import Order, Shuffle
from resload.samplers.sizes import Sizes
from resload.size import Size

TAILS = ("drop", "exact")


class Key(NamedTuple):
    """One image of one step: the reader's row, the size to serve it at, the seed of its augmentation.

    `region` is kept for samplers of patches: (y, x, height, width) in pixels of the film. None is all of it, and the
    only value that is served so far; `Cache.read(region=)` reads parts of films.
    """

    index: int  # type: ignore[assignment]  # hides tuple.index on purpose: the field's name is the contract
    size: Size
    draw: int
    region: tuple[int, int, int, int] | None = None


@dataclass(frozen=True, eq=False)
class Step:
    """One global optimiser step: `index` int64 (n,), `draw` uint64 (n,), all at one `size`."""

    number: int
    size: Size
    index: NDArray[np.int64]
    draw: NDArray[np.uint64]

    def __len__(self) -> int:
        return len(self.index)

    def keys(self) -> list[Key]:
        """The step as the plain list that a torch batch sampler yields."""
        pairs = zip(self.index.tolist(), self.draw.tolist(), strict=True)
        return [Key(index, self.size, draw) for index, draw in pairs]


class Sampler:
    """Plans epochs over rows. Iterable of `list[Key]`: give it to a Loader, or to any DataLoader as batch_sampler.

    Args:
        data: how many rows there are, or anything with a length (a Cache, a Catalog, a reader).
        rows: the rows to visit (of 0 .. n-1); when None, all that `data.rows()` says can be read, or all.
        order: which comes when (`Shuffle()`, `Sequential()`, or your own).
        sizes: at which size (`Fixed(256)`).
        budget: how many images a step holds (`Images(64)`).
        seed: with the epoch, the only source of randomness.
        tail: "drop" leaves out the images that do not fill a last step (others each epoch, under a shuffle);
            "exact" visits every row once and ends with a shorter step.

    `len` is the number of steps, the same for every epoch and unaffected by the cursor. Not thread-safe: a
    sampler is a cursor. Deliberately not a torch BatchSampler and without `batch_size`, so that frameworks that
    rebuild samplers fail loudly instead of losing the sizes.
    """

    def __init__(
        self,
        data: int | Sized,
        *,
        sizes: Sizes,
        rows: Sequence[int] | NDArray[np.integer[Any]] | None = None,
        order: Order | None = None,
        budget: Images,
        seed: int = 0,
        tail: str = "drop",
    ) -> None:
        self.n = data if isinstance(data, int) else len(data)
        readable = getattr(data, "rows", None)  # caches and readers have it: quarantined rows are not planned
        self.rows = _checked_rows(readable() if rows is None and callable(readable) else rows, self.n)
        self.order: Order = Shuffle() if order is None else order
        self.sizes = sizes
        self.budget = budget
        self.seed = _checked_seed(seed)
        self.tail = tail
        if tail not in TAILS:
            raise ArgumentError(f"tail must be one of {', '.join(TAILS)}; found {tail!r}")
        if len(self) == 0:
            raise ArgumentError(
                f"{len(self.rows)} rows make no full step: choose more, take a smaller batch, or keep the rest "
                "(tail='exact' of a Sampler, drop_last=False of a Loader)"
            )
        self._epoch = 0
        self._step = 0

    # -- the plan: pure functions of (seed, epoch) --

    def __len__(self) -> int:
        per_step = self.budget(self.sizes.at(0, epoch=0))
        whole, rest = divmod(len(self.rows), per_step)
        return whole + (1 if rest and self.tail == "exact" else 0)

    def steps(self, epoch: int, *, start: int = 0) -> Iterator[Step]:
        """The steps of an epoch from number `start` on. Pure: any process, at any time, computes the same."""
        index = self.rows[self.order.positions(len(self.rows), seed=self.seed, epoch=epoch)]
        draw = seeds.draws(len(index), self.seed, epoch)
        for number in range(start, len(self)):
            size = self.sizes.at(number, epoch=epoch)
            count = self.budget(size)
            part = slice(number * count, (number + 1) * count)
            yield Step(number, size, index[part], draw[part])

    def fingerprint(self) -> str:
        """16 hex digits that change when the plan does: rows, order, sizes, budget, seed or tail."""
        plan = json.dumps([self.n, repr(self.order), repr(self.sizes), repr(self.budget), self.seed, self.tail])
        return hashlib.sha256(plan.encode() + self.rows.tobytes()).hexdigest()[:16]

    # -- the cursor --

    def __iter__(self) -> Iterator[list[Key]]:
        for step in self.steps(self._epoch, start=self._step):
            self._step = step.number + 1
            if self._step == len(self):  # the last step is out: the position is the next epoch's beginning
                self._epoch, self._step = self._epoch + 1, 0
            yield step.keys()

    def set_epoch(self, epoch: int) -> None:
        """Go to the beginning of an epoch; the epoch the cursor is in already keeps its position."""
        if epoch != self._epoch:
            self._epoch, self._step = epoch, 0

    @property
    def sampler(self) -> "Sampler":
        """Itself: frameworks look for `.sampler.set_epoch`."""
        return self

    def state_dict(self) -> dict[str, Any]:
        """The position: plain integers and the plan's fingerprint, for JSON or torch.save."""
        return {"version": 1, "epoch": self._epoch, "step": self._step, "fingerprint": self.fingerprint()}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Continue where `state_dict` was taken. Raises StateError when the plan is another one."""
        self._epoch, self._step = checked_state(state, self.fingerprint(), len(self))


def checked_state(state: Mapping[str, Any], fingerprint: str, steps: int) -> tuple[int, int]:
    """(epoch, step) of a saved position, refused when it belongs to another plan."""
    if state.get("version") != 1 or state.get("fingerprint") != fingerprint:
        raise StateError(
            "this position was saved for another plan (other rows, order, size, batch or seed): "
            f"expected fingerprint {fingerprint}, found {state.get('fingerprint')!r}"
        )
    epoch, step = state.get("epoch"), state.get("step")
    if not (isinstance(epoch, int) and isinstance(step, int) and epoch >= 0 and 0 <= step < steps):
        raise StateError(
            f"a position is an epoch >= 0 and a step in 0 .. {steps - 1}, whole numbers; found {epoch!r} and {step!r}"
        )
    return epoch, step


def _checked_rows(rows: Sequence[int] | NDArray[np.integer[Any]] | None, n: int) -> NDArray[np.int64]:
    if rows is None:
        return np.arange(n, dtype=np.int64)
    found = np.asarray(rows)
    if found.ndim != 1 or (found.size and found.dtype.kind not in "iu"):
        raise ArgumentError(f"rows must be a list of whole numbers; found {found.dtype} of shape {found.shape}")
    if found.size and not (found.min() >= 0 and found.max() < n):
        raise ArgumentError(f"rows must lie in 0 .. {n - 1}; found {found.min()} .. {found.max()}")
    return found.astype(np.int64)


def _checked_seed(seed: int) -> int:
    if isinstance(seed, bool) or not isinstance(seed, int | np.integer) or seed < 0:
        raise ArgumentError(f"seed must be an int >= 0; found {seed!r}")
    return int(seed)
