"""Whole epochs as arrays: which rows make which step, at which size. Pure functions of (seed, epoch).

    order    one pass over the rows, in units: single rows, or rows that stay together
    lanes    the pass dealt out by who may share a step: one lane, or one for each bucket, or one for each size of
             `PerTarget`
    sizes    how many units each step takes

Without `epoch_steps` an epoch is one pass, cut into steps; the rows left over are dropped, filled up or served as they
are. With it, each lane is an endless stream of passes, and an epoch is the next `epoch_steps` steps of it: what earlier
epochs took follows from their sizes alone, so that any epoch can be entered without the ones before.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from resload import seeds
from resload.errors import ArgumentError
from resload.samplers import quotas
from resload.samplers.orders import Order
from resload.samplers.passes import Passes, Units
from resload.samplers.sizes import Mix, Sizes, of_epoch
from resload.size import Size, as_size


@dataclass(frozen=True)
class Epoch:
    """One epoch: step k is `units[bounds[k] : bounds[k + 1]]`, at `sizes[k]`."""

    sizes: list[Size]
    bounds: NDArray[np.int64]
    units: Units


class Planner:
    """Plans epochs over n rows.

    Args:
        units_of: how many units a step of this size takes.
        buckets: (n,) codes from 0 of the rows that may share a step; None when all may.
        tail: "drop", "pad" or "exact".
        epoch_steps: steps of an epoch, where they are not what one pass gives.
    """

    def __init__(
        self,
        order: Order,
        sizes: Sizes,
        units_of: Callable[[Size], int],
        n: int,
        *,
        seed: int,
        tail: str,
        epoch_steps: int | None,
        buckets: NDArray[np.int64] | None,
    ) -> None:
        self._order, self._sizes, self._units_of, self._n = order, sizes, units_of, n
        self._seed, self._tail, self._epoch_steps = seed, tail, epoch_steps
        self._per_target: tuple[Size, ...] = tuple(as_size(size) for size in getattr(sizes, "lanes", ()))
        self._passes = Passes(order, n, seed=seed, buckets=buckets, together=len(self._per_target))
        self._lengths: dict[int, int] = {}
        self._taken: list[NDArray[np.int64]] = []  # units that earlier epochs took from each lane, by epoch

    # -- what is asked --

    def steps(self, epoch: int = 0) -> int:
        """How many steps an epoch has, from its sizes alone; remembered, for it is asked with every step.

        Raises ArgumentError where buckets would have steps of several lengths.
        """
        if self._epoch_steps is not None:
            return self._epoch_steps
        if epoch not in self._lengths:
            self._lengths[epoch] = self._length(epoch)
        return self._lengths[epoch]

    def _length(self, epoch: int) -> int:
        lanes = self._passes.counts(0)
        if len(lanes) == 1:
            return len(self._cut(int(lanes[0]), epoch)[0])
        up = self._tail != "drop"
        found = sum(-(-n // count) if up else n // count for n, count in self._lane_steps(lanes, epoch))
        if not self._per_target and len(self._several_units(epoch, found)) > 1:
            raise ArgumentError("buckets with steps of several lengths need epoch_steps=: how many steps an epoch has")
        return found

    def unserved(self) -> list[int]:
        """How many units each lane has that is smaller than a step and therefore never served."""
        if self._epoch_steps is not None or self._tail != "drop":
            return []
        lanes = self._passes.counts(0)
        return [n for n, count in self._lane_steps(lanes, 0) if 0 < n < count] if len(lanes) > 1 else []

    def epoch(self, epoch: int) -> Epoch:
        """An epoch's steps. Raises ArgumentError when it has not as many as the first."""
        if self._epoch_steps is not None:
            return self._stretch(epoch)
        lanes = self._passes.lanes(epoch)
        made = self._one_lane(lanes[0], epoch) if len(lanes) == 1 else self._several_lanes(lanes, epoch)
        if len(made.sizes) != self.steps():
            raise ArgumentError(
                f"epoch {epoch} would have {len(made.sizes)} steps, epoch 0 has {self.steps()}: frameworks need one "
                f"length. Set epoch_steps=, for example {self.steps()}"
            )
        return made

    # -- an epoch is a pass --

    def _cut(self, available: int, epoch: int) -> tuple[list[Size], list[int], int]:
        """One lane cut into steps: their sizes and units, and how many units the last one lacks ("pad")."""
        rule, own_epoch = of_epoch(self._sizes, epoch)
        if isinstance(rule, Mix):
            counts = [self._units_of(size) for size in rule.sizes]
            times, following = quotas.of_rows(rule.ratios(counts), counts, available)
            sizes = self._shuffled(rule, times, epoch)
            units, after = [self._units_of(size) for size in sizes], rule.sizes[following]
        elif period := _period(rule):
            per_step = [self._units_of(size) for size in period]
            turns, left = divmod(available, sum(per_step))
            some = int(np.searchsorted(np.cumsum(per_step), left, side="right"))
            sizes, units = [*period * turns, *period[:some]], [*per_step * turns, *per_step[:some]]
            after = period[some]
        else:
            sizes, units, left = [], [], available
            while (count := self._units_of(after := as_size(rule.at(len(sizes), epoch=own_epoch)))) <= left:
                sizes.append(after)
                units.append(count)
                left -= count
        rest = available - sum(units)
        if not rest or self._tail == "drop":
            return sizes, units, 0
        whole = self._units_of(after)
        lacking = whole - rest if self._tail == "pad" else 0
        return [*sizes, after], [*units, rest + lacking], lacking

    def _one_lane(self, units: Units, epoch: int) -> Epoch:
        sizes, counts, lacking = self._cut(len(units), epoch)
        if lacking:  # with the first of this order, which are others than the last unless there are too few
            units = np.concatenate([units, np.resize(units, (lacking, units.shape[1]))])
        return Epoch(sizes, np.cumsum([0, *counts]), units)

    def _lane_steps(self, lanes: NDArray[np.int64], epoch: int) -> list[tuple[int, int]]:
        """(units, units of a step) of each lane; one size of step for all where they are buckets."""
        if self._per_target:
            return [(int(n), self._units_of(size)) for n, size in zip(lanes, self._per_target, strict=True)]
        rule, own_epoch = of_epoch(self._sizes, epoch)
        count = self._units_of(as_size(rule.at(0, epoch=own_epoch)))
        return [(int(n), count) for n in lanes]

    def _several_units(self, epoch: int, steps: int) -> set[int]:
        """All the units that a step of this epoch may take: the lanes are cut by those of the first."""
        rule, own_epoch = of_epoch(self._sizes, epoch)
        sizes = rule.sizes if isinstance(rule, Mix) else self._of_steps(epoch, steps)
        return {self._units_of(size) for size in (as_size(rule.at(0, epoch=own_epoch)), *sizes)}

    def _several_lanes(self, lanes: list[Units], epoch: int) -> Epoch:
        """Each lane cut for itself; steps come in the order in which a pass completes them."""
        dealt = self._lane_steps(np.array([len(units) for units in lanes]), epoch)
        places = None if self._per_target else self._passes.places(epoch)
        steps: list[tuple[float, int, Units]] = []
        for lane, (units, (n, count)) in enumerate(zip(lanes, dealt, strict=True)):
            whole, rest = divmod(n, count)
            for k in range(whole + (rest > 0 and self._tail != "drop")):
                part, last = units[k * count : (k + 1) * count], min((k + 1) * count, n) - 1
                if len(part) < count and self._tail == "pad":
                    part = np.concatenate([part, np.resize(units, (count - len(part), units.shape[1]))])
                steps.append(((last + 1) / n if places is None else float(places[lane][last]), lane, part))
        steps.sort(key=lambda step: step[:2])
        if self._per_target:
            sizes = [self._per_target[lane] for _, lane, _ in steps]
        else:
            sizes = self._of_steps(epoch, len(steps))
        parts = [part for _, _, part in steps]
        bounds = np.cumsum([0, *(len(part) for part in parts)])
        return Epoch(sizes, bounds, np.concatenate(parts) if parts else np.empty((0, 1), np.int64))

    # -- an epoch is a stretch of endless streams --

    def _of_steps(self, epoch: int, steps: int) -> list[Size]:
        """The sizes of an epoch of so many steps."""
        rule, own_epoch = of_epoch(self._sizes, epoch)
        if isinstance(rule, Mix):
            ratios = rule.ratios([self._units_of(size) for size in rule.sizes])
            return self._shuffled(rule, quotas.of_steps(ratios, steps), epoch)
        if period := _period(rule):
            return [*period * (steps // len(period)), *period[: steps % len(period)]]
        return [as_size(rule.at(step, epoch=own_epoch)) for step in range(steps)]

    def _shuffled(self, mix: Mix, times: NDArray[np.int64], epoch: int) -> list[Size]:
        """Each size so many times, in runs of `every` (the last of a size with what is left), in a drawn order."""
        runs = -(-times // mix.every)
        which, length = np.repeat(np.arange(len(times)), runs), np.full(runs.sum(), mix.every)
        length[np.cumsum(runs)[runs > 0] - 1] -= (runs * mix.every - times)[runs > 0]
        drawn = seeds.permutation(len(which), self._seed, epoch, "sizes")
        return [mix.sizes[k] for k in np.repeat(which[drawn], length[drawn]).tolist()]

    def _layout(self, epoch: int, steps: int) -> tuple[list[Size], NDArray[np.int64], NDArray[np.int64]]:
        """(size, units, lane) of each step of a stretch."""
        counts = self._passes.counts(0)
        if self._per_target:
            per_step = [self._units_of(size) for size in self._per_target]
            lanes = self._drawn(counts / np.array(per_step), steps, epoch)
            return [self._per_target[lane] for lane in lanes.tolist()], np.array(per_step)[lanes], lanes
        sizes = self._of_steps(epoch, steps)
        lanes = np.zeros(steps, np.int64) if len(counts) == 1 else self._drawn(counts, steps, epoch)
        return sizes, np.array([self._units_of(size) for size in sizes], np.int64), lanes

    def _drawn(self, ratios: NDArray[np.generic], steps: int, epoch: int) -> NDArray[np.int64]:
        """The lane of each step: every lane its share of the steps, rounded by lot, in an order drawn for the epoch."""
        rng = seeds.generator(self._seed, epoch, "sizes", 1)
        edges = np.cumsum(ratios, dtype=float)
        places = (np.arange(steps) + rng.random()) * (edges[-1] / steps)
        return rng.permutation(np.minimum(np.searchsorted(edges, places, side="right"), len(edges) - 1))

    def _taken_before(self, epoch: int, steps: int) -> NDArray[np.int64]:
        """Units that the epochs before this one took from each lane."""
        if not self._taken:
            self._taken.append(np.zeros(len(self._passes.counts(0)), np.int64))
        while len(self._taken) <= epoch:
            _, units, lanes = self._layout(len(self._taken) - 1, steps)
            self._taken.append(self._taken[-1] + np.bincount(lanes, units, len(self._taken[0])).astype(np.int64))
        return self._taken[epoch]

    def _stretch(self, epoch: int) -> Epoch:
        assert self._epoch_steps is not None
        sizes, units, lanes = self._layout(epoch, self._epoch_steps)
        taken, parts = self._taken_before(epoch, self._epoch_steps), [np.empty((0, 0), np.int64)] * len(sizes)
        for lane in range(len(taken)):
            own = np.flatnonzero(lanes == lane)
            if own.size:
                found = self._from_stream(lane, int(taken[lane]), int(units[own].sum()))
                for step, part in zip(own.tolist(), np.split(found, np.cumsum(units[own])[:-1]), strict=True):
                    parts[step] = part
        return Epoch(sizes, np.concatenate([[0], np.cumsum(units)]), np.concatenate(parts))

    def _from_stream(self, lane: int, start: int, need: int) -> Units:
        """Units `start` .. of a lane's endless stream of passes."""
        number, start = self._passes.found(lane, start)
        parts = []
        while need > 0:
            units = self._passes.lanes(number)[lane]
            if len(units) != self._passes.counts(number)[lane]:
                raise ArgumentError(
                    f"{type(self._order).__name__}.positions must give as many in every epoch; found {len(units)} in "
                    f"pass {number}, {self._passes.counts(number)[lane]} in the first"
                )
            parts.append(units[start : start + need])
            need, number, start = need - len(parts[-1]), number + 1, 0
        return np.concatenate(parts)


def _period(rule: Sizes) -> tuple[Size, ...]:
    """The sizes of steps that repeat, for rules that say them."""
    return tuple(as_size(size) for size in getattr(rule, "period", ()))
