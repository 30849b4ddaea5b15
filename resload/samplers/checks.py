"""What a sampler refuses when it is made, and what it warns of: contradictions, and plans that would fail later."""

import warnings
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from resload.errors import ArgumentError
from resload.samplers.counting import Counting
from resload.samplers.foreign import Batches
from resload.samplers.plan import Planner
from resload.samplers.sizes import declared, warn_of_many
from resload.samplers.whole import WholeCounting, refuse_beside_batches

if TYPE_CHECKING:
    from resload.samplers.sampler import Sampler

TAILS = ("drop", "pad", "exact")


def row_numbers(rows: Sequence[int] | NDArray[np.integer[Any]] | None, n: int) -> NDArray[np.int64]:
    """Rows of 0 .. n-1, all of them for None. Raises ArgumentError."""
    if rows is None:
        return np.arange(n, dtype=np.int64)
    found = np.asarray(rows)
    if found.ndim != 1 or (found.size and found.dtype.kind not in "iu"):
        raise ArgumentError(f"rows must be a list of whole numbers; found {found.dtype} of shape {found.shape}")
    if found.size and not (found.min() >= 0 and found.max() < n):
        raise ArgumentError(f"rows must lie in 0 .. {n - 1}; found {found.min()} .. {found.max()}")
    return found.astype(np.int64)


def refuse_contradictions(sampler: "Sampler") -> None:
    """Raise ArgumentError for parts that do not go together."""
    tail, sizes = sampler.tail, sampler.sizes
    if tail not in TAILS:
        raise ArgumentError(f"tail must be one of {', '.join(TAILS)}; found {tail!r}")
    if sampler.epoch_steps is not None and tail != "drop":
        raise ArgumentError(f"epoch_steps= cuts epochs from an endless stream, which has no tail; found tail={tail!r}")
    if isinstance(sampler.order, Batches):
        refuse_beside_batches(sizes, tail, budget=sampler.budget, buckets=sampler.buckets, granule=sampler.granule)
    elif sampler.budget is None:
        raise ArgumentError(
            "budget= must say how many images a step holds, for example samplers.Images(64); only an order= of whole "
            "batches (a list of lists, a torch BatchSampler) goes without"
        )
    if sampler.buckets is not None and hasattr(sizes, "lanes"):
        raise ArgumentError(f"buckets= does not go with {type(sizes).__name__}: steps have one size, or one bucket")
    if hasattr(sampler.order, "state_dict"):
        _refuse_forgetful(sampler)


def _refuse_forgetful(sampler: "Sampler") -> None:
    """Refuse plans that would ask an order with a state for passes other than the epoch's own."""
    reason = f"{type(sampler.order).__name__} changes with the epochs, and what it drew in earlier ones is not kept"
    if sampler.epoch_steps is not None:
        raise ArgumentError(f"{reason}: leave epoch_steps= out, and say how many images an epoch has with its n=")
    if sampler.buckets is not None and not getattr(sampler.order, "whole", False):
        raise ArgumentError(f"{reason}, so the steps of each of buckets= cannot be counted: leave buckets= out")
    if getattr(sampler.sizes, "lanes", ()):
        raise ArgumentError(f"{reason}: sizes that pass over the rows several times an epoch need another order")


def refuse_plan(sampler: "Sampler", planner: Planner, counting: Counting | WholeCounting) -> None:
    """Raise ArgumentError for a plan without a step, also at one of a table's sizes; with another number of steps in
    later epochs; or with sizes beyond the budget.
    """
    steps = planner.steps()
    if steps == 0:
        raise ArgumentError(
            f"{len(sampler.rows)} rows make no full step: choose more, take a smaller batch, or keep the rest "
            "(tail='exact' of a Sampler, drop_last=False of a Loader)"
        )
    for size in declared(sampler.sizes):
        counting.units(size)
    for epoch in range(1, getattr(sampler.sizes, "epochs", 1)):
        if (found := planner.steps(epoch)) != steps:
            raise ArgumentError(
                f"epoch {epoch} would have {found} steps, epoch 0 has {steps}: frameworks need one length. Set "
                f"epoch_steps=, for example {steps}"
            )
    if sampler.buckets is None and (lanes := planner.unserved()):
        raise ArgumentError(
            f"{max(lanes)} rows make no full step at one of the sizes {sampler.sizes!r}: take a smaller batch, or "
            "tail='pad' or 'exact'"
        )


def warn_of_plan(sampler: "Sampler", planner: Planner) -> None:
    """Warn of many sizes, and of buckets that fill no step; to be called where the user's call arrives."""
    warn_of_many(sampler.sizes)
    if sampler.buckets is not None and (lanes := planner.unserved()):
        warnings.warn(
            f"{len(lanes)} of {len(np.unique(sampler.buckets))} buckets are smaller than a step: their {sum(lanes)} "
            "images or exams are never served. Take a smaller batch, fewer buckets, tail='pad' or epoch_steps=",
            UserWarning,
            stacklevel=3,
        )
