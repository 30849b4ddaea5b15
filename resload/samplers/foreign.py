"""Other people's orders: a list, an array, any torch Sampler or BatchSampler.

    7 3 9 1 ...               positions      sizes and budget make steps of them
    [7, 3] [9, 1] ...         whole batches  each is a step; only its size is decided here

torch's samplers draw from a generator that goes on from epoch to epoch. Here they are read with every generator that
they can see seeded by (seed, epoch), and put back afterwards, so that they too are functions of (seed, epoch): the same
in every process, and resumable. torch itself is not imported: whoever made a sampler of it has done so.
"""

import hashlib
import operator
from collections.abc import Iterable, Iterator, Mapping, Sequence, Set
from typing import Any

import numpy as np
from numpy.typing import NDArray

from resload import seeds
from resload.borrowed import seeded
from resload.errors import ArgumentError

_STREAM = 99  # apart from the streams that resload's own orders draw from
_ENDLESS = 10_000_000  # positions: far beyond MIMIC-CXR's 377,110 films; detectron2's TrainingSampler never ends

Batch = NDArray[np.int64]


class Positions:
    """A foreign order that gives positions, one by one."""

    stride = 1

    def __init__(self, source: "_Source") -> None:
        self._source = source

    def positions(self, n: int, *, seed: int, epoch: int) -> NDArray[np.int64]:
        """What the source gives in this epoch, int64 (m,). Raises ArgumentError for what are no positions below n."""
        (found,) = self._source.read(seed, epoch)
        return self._source.checked(found, n)

    def fingerprint(self) -> str:
        """What is known of the source without asking its data, and what it gives first."""
        return self._source.fingerprint


class Batches:
    """A foreign order that gives whole batches: each is a step."""

    stride = 1

    def __init__(self, source: "_Source") -> None:
        self._source = source

    def batches(self, n: int, *, seed: int, epoch: int) -> list[Batch]:
        """The batches of this epoch, each int64 (m,), m >= 1. Raises ArgumentError, as `Positions.positions`."""
        found = [self._source.checked(batch, n) for batch in self._source.read(seed, epoch)]
        if not all(map(len, found)):
            raise ArgumentError(f"order={self._source.name} gives an empty batch in epoch {epoch}: leave it out")
        return found

    def positions(self, n: int, *, seed: int, epoch: int) -> NDArray[np.int64]:
        """The batches joined."""
        return np.concatenate([np.empty(0, np.int64), *self.batches(n, seed=seed, epoch=epoch)])

    def fingerprint(self) -> str:
        """As `Positions.fingerprint`."""
        return self._source.fingerprint


def adapted(order: Any, seed: int) -> Any:
    """An order as it is; anything else that gives positions, or batches of them, as `Positions` or `Batches`.

    order: a list, tuple, range, array or tensor of positions, or of lists of them; or anything that can be iterated
    once an epoch, such as torch's samplers. Its `set_epoch`, where it has one, is called before each reading.

    Raises ArgumentError for what is none of these, gives something else when it is asked twice, or deals its positions
    out to several processes itself.
    """
    if hasattr(order, "positions") or hasattr(order, "bind"):
        return order
    source = _Source(order, seed)
    return Batches(source) if source.whole_batches else Positions(source)


class _Source:
    """What a foreign order gives, as a function of (seed, epoch)."""

    def __init__(self, order: Any, seed: int) -> None:
        self.name = type(order).__name__
        if not _iterable(order):
            raise ArgumentError(
                "order must be an order of resload.samplers (or an object with its method `positions`), a list of "
                f"positions or of batches, or a torch Sampler or BatchSampler; found {self.name}"
            )
        # An array or tensor is its values; a class may have `__array__` and still be iterated (no sampler has).
        self._order = np.asarray(order).tolist() if hasattr(order, "__array__") else order
        self._inner = list(_chain(order))
        for one in self._inner:
            _refuse_sharding(one)
        self.whole_batches = False
        first = self.read(seed, 0, first=True)
        if not any(map(len, first)):
            raise ArgumentError(f"order={self.name} gives no position: it is empty")
        if not _alike(first, self.read(seed, 0)):
            raise ArgumentError(
                f"order={self.name} gives other positions when it is asked for the same epoch twice, so no run could "
                "be resumed and processes would differ: draw from torch's, numpy's or random's global generator, from "
                "one that is an attribute, or from one made of the epoch given to set_epoch"
            )
        self.fingerprint = self._described(first)

    def read(self, seed: int, epoch: int, *, first: bool = False) -> list[Batch]:
        """The batches of this epoch; of positions that come one by one, all of them as the only one."""
        for one in self._inner:
            if callable(set_epoch := getattr(one, "set_epoch", None)):
                set_epoch(epoch)
        with seeded(self._inner, seeds.generator(seed, epoch, "order", _STREAM)):
            found = list(self._values())
        if first:
            self.whole_batches = any(map(_several, found))
        return [self._numbers(batch) for batch in found] if self.whole_batches else [self._numbers(found)]

    def checked(self, numbers: Batch, n: int) -> Batch:
        """Positions as they are. Raises ArgumentError for others than 0 .. n-1."""
        if numbers.size and not (numbers.min() >= 0 and numbers.max() < n):
            raise ArgumentError(
                f"order={self.name} must give positions 0 .. {n - 1} into the visited rows (rows=), not row numbers; "
                f"found {numbers.min()} .. {numbers.max()}"
            )
        return numbers

    def _values(self) -> Iterator[Any]:
        """What iterating gives; batches copied while they are current, for some samplers re-use one list."""
        count = 0
        for value in self._order:
            several = _several(value)
            count += len(value) if several else 1
            if count > _ENDLESS:
                raise ArgumentError(
                    f"order={self.name} does not end (after {_ENDLESS:,} positions): resload makes endless streams "
                    "itself, by epoch_steps=; give it one pass"
                )
            yield self._numbers(value) if several else value

    def _numbers(self, found: Iterable[Any]) -> Batch:
        if isinstance(found, np.ndarray) and found.dtype == np.int64:
            return found
        try:
            return np.array([_index(value) for value in found], np.int64)
        except TypeError as exc:
            raise ArgumentError(
                f"order={self.name} must give whole numbers, or lists of them and nothing else; {exc}"
            ) from exc

    def _described(self, first: list[Batch]) -> str:
        """Names and plain settings, and the sum of what the first epoch is: a data set is never walked."""
        given = hashlib.sha256(f"{self.whole_batches} {[len(batch) for batch in first]}".encode())
        given.update(np.concatenate([np.empty(0, np.int64), *first]).tobytes())
        kinds = [f"{type(one).__name__}({_settings(one)})" for one in self._inner]
        return f"{' of '.join(kinds)}, {given.hexdigest()[:16]}"


def _iterable(order: Any) -> bool:
    """Something that can be read again for each epoch, in an order that is its own."""
    if isinstance(order, Iterator | str | bytes | Mapping | Set) or hasattr(order, "collate_fn"):
        return False  # an iterator is read once; a DataLoader would load the data
    return hasattr(order, "__iter__")


def _several(value: Any) -> bool:
    """Whether a value is a batch."""
    return isinstance(value, Sequence) or getattr(value, "ndim", 0) == 1


def _index(value: Any) -> int:
    if isinstance(value, bool | np.bool_):
        raise TypeError(f"found {value!r}, which is no position")
    try:
        return operator.index(value)
    except TypeError as exc:
        raise TypeError(f"found {value!r}") from exc


def _alike(one: list[Batch], two: list[Batch]) -> bool:
    return len(one) == len(two) and all(map(np.array_equal, one, two))


def _chain(order: Any) -> Iterator[Any]:
    """A sampler, and those that it is made of: `BatchSampler(RandomSampler(...))`."""
    seen: list[Any] = []
    while order is not None and not any(order is one for one in seen):
        seen.append(order)
        yield order
        order = getattr(order, "batch_sampler", None) or getattr(order, "sampler", None)


def _refuse_sharding(one: Any) -> None:
    replicas = getattr(one, "num_replicas", 1)
    if isinstance(replicas, int) and replicas > 1:
        raise ArgumentError(
            f"order={type(one).__name__} deals its positions out to {replicas} processes, and so does resload: each "
            f"would be given a part of a part. Make it with num_replicas=1, rank=0, or take samplers.Shuffle()"
        )


def _settings(one: Any) -> str:
    plain = {
        name: value
        for name, value in sorted(getattr(one, "__dict__", {}).items())
        if not name.startswith("_") and isinstance(value, bool | int | float | str | None)
    }
    return ", ".join(f"{name}={value!r}" for name, value in plain.items())
