"""Rows in proportion to weights that training may change between epochs: the one order with a state.

    weights of epoch   0 ......... 4 | 5 | 6 ...
    kept                             | in effect, and the next: `update(..., epoch=6)` while epoch 5 is served

An update never reaches an epoch that has been planned, so that a plan made twice is one plan.
"""

import base64
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from resload import seeds
from resload.errors import ArgumentError, StateError
from resload.samplers.balance import repeated, systematic
from resload.samplers.columns import Columns
from resload.samplers.keys import PADDING


class Weighted:
    """So many draws an epoch, each row in proportion to its weight; weights may be updated for epochs to come.

        hard = Weighted()
        sampler = Sampler(cache, order=hard, sizes=Fixed(256), budget=Images(64))
        ...
        hard.update(batch.rows, losses, epoch=epoch + 1)

    A row of weight w comes n * w / (sum of weights) times an epoch, rounded up or down by lot. torch's
    WeightedRandomSampler expects the same of each row and draws each place for itself: there a row that should come
    once is missing from an epoch in 37 % of cases, here in none.

    Where several processes train, each must make the same updates: gather rows and weights over all of them first.
    Otherwise their plans differ, and nobody is told.

    The object belongs to the rows of the sampler that it was first given to: another sampler of the same rows shares
    its weights, one of other rows is refused. Weights are saved with the sampler's position, and are not in its
    fingerprint. An epoch is a pass: the plan needs `n=` for another length, and refuses `epoch_steps=`.

    Args:
        weights: a column, or an array with one weight for each row of the data; None, all equal.
        n: images in an epoch; None, as many as there are rows.

    Raises ArgumentError for an n that is no int >= 1; when a sampler is made, for weights that are not there, negative,
    not finite or missing, and where no row has one above 0.
    """

    stride = 1

    def __init__(self, weights: "str | Sequence[float] | NDArray[Any] | None" = None, n: int | None = None) -> None:
        if n is not None and (isinstance(n, bool) or not isinstance(n, int) or n < 1):
            raise ArgumentError(f"n is how many images an epoch has, an int >= 1; found {n!r}")
        self._asked, self._n = weights, n
        self._rows: NDArray[np.int64] | None = None
        self._belongs: tuple[int, bytes, str | None] | None = None
        self._versions: list[tuple[int, NDArray[np.float32]]] = []  # (first epoch, weight of each row of the data)
        self._planned = -1  # the latest epoch whose plan was asked for

    def __repr__(self) -> str:
        return f"Weighted(n={self._n})"

    def bind(self, columns: Columns) -> "Weighted":
        """Itself, for these rows. Raises ArgumentError when it belongs to others."""
        belongs = columns.n, columns.rows.tobytes(), columns.digest()
        if self._rows is not None:
            if belongs != self._belongs:
                raise ArgumentError(
                    "this Weighted belongs to a sampler of other rows, whose weights it holds: make one for each"
                )
            return self
        weights = np.zeros(columns.n, np.float32)
        weights[columns.rows] = 1 if self._asked is None else _checked(columns.numbers(self._asked, "Weighted"))
        _refuse_nothing(weights[columns.rows])
        self._rows, self._belongs, self._versions = columns.rows, belongs, [(0, weights)]
        return self

    @property
    def count(self) -> int:
        """Images in an epoch."""
        return len(self._visited()) if self._n is None else self._n

    def weights(self, epoch: int) -> NDArray[np.float32]:
        """(n,) float32, a copy: the weights that hold in an epoch, one for each row of the data; 0 for other rows.

        Raises ArgumentError for an epoch before those whose weights are kept.
        """
        return self._of_epoch(epoch).copy()

    def positions(self, n: int, *, seed: int, epoch: int) -> NDArray[np.int64]:
        """Rows in proportion to the weights of this epoch, shuffled. Raises ArgumentError, as `weights`."""
        own = self._of_epoch(epoch)[self._visited()].astype(np.float64)
        self._planned = max(self._planned, epoch)
        rng = seeds.generator(seed, epoch, "order")
        return repeated(systematic(own * (self.count / own.sum()), rng), rng)

    def update(self, rows: Any, weights: Any, *, epoch: int) -> None:
        """Give rows new weights that hold from an epoch on.

        rows: (k,) row numbers of the reader, as `Batch.rows` has them; padding (-1) is left out, of a row that comes
        twice the last weight holds. weights: (k,), or one for all. Both as arrays, lists, or tensors on any device.
        epoch: one to come. Several updates for one epoch add up; with the first for a later epoch, the weights before
        the last ones are forgotten.

        Raises ArgumentError, and changes nothing, for rows that the sampler does not visit, weights that are negative
        or not finite, an epoch that is planned or before another update's, and where no row would have a weight above
        0.
        """
        visited = self._visited()
        self._check_epoch(epoch)
        chosen = np.asarray(_fetched(rows))
        if chosen.ndim != 1 or (chosen.size and chosen.dtype.kind not in "iu"):
            raise ArgumentError(f"rows must be whole numbers (k,); found {chosen.dtype} of shape {chosen.shape}")
        given = np.asarray(_fetched(weights), np.float64)
        if given.shape not in ((), chosen.shape):
            raise ArgumentError(f"weights must be one for each of {len(chosen)} rows; found shape {given.shape}")
        there = chosen != PADDING
        chosen, given = chosen[there].astype(np.int64), np.broadcast_to(given, there.shape)[there]
        if (others := np.setdiff1d(chosen, visited)).size:
            raise ArgumentError(f"rows that the sampler does not visit have no weight here; found row {others[0]}")
        new = self._versions[-1][1].copy()
        new[chosen] = _checked(given)
        _refuse_nothing(new[visited])
        if epoch == self._versions[-1][0]:
            self._versions[-1] = epoch, new
        else:
            self._versions = [self._versions[-1], (epoch, new)]

    def _check_epoch(self, epoch: int) -> None:
        if isinstance(epoch, bool) or not isinstance(epoch, int) or epoch < 0:
            raise ArgumentError(f"epoch must be an int >= 0; found {epoch!r}")
        if epoch <= self._planned:
            raise ArgumentError(
                f"epoch {epoch} has been planned by the weights it had: give the next one, epoch={self._planned + 1}"
            )
        if epoch < (last := self._versions[-1][0]):
            raise ArgumentError(f"weights that hold from epoch {last} on are set already; found epoch={epoch}")

    def _visited(self) -> NDArray[np.int64]:
        if self._rows is None:
            raise ArgumentError("this Weighted belongs to no sampler yet: give it to one first, Sampler(order=)")
        return self._rows

    def _of_epoch(self, epoch: int) -> NDArray[np.float32]:
        self._visited()
        for first, weights in reversed(self._versions):
            if first <= epoch:
                return weights
        raise ArgumentError(
            f"the weights of epoch {epoch} are not kept, only those from epoch {self._versions[0][0]} on: load a "
            "position that was saved then"
        )

    # -- what is saved --

    def fingerprint(self) -> str:
        """How many images an epoch has: weights are saved beside the position."""
        return str(self.count)

    def state_dict(self) -> dict[str, Any]:
        """The weights in effect and the next ones, as values for JSON: float32, little-endian, in base64."""
        self._visited()
        return {
            "weights": [
                {"epoch": first, "float32": base64.b64encode(weights.astype("<f4").tobytes()).decode()}
                for first, weights in self._versions
            ]
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on with saved weights. Raises StateError, and changes nothing, for those of other rows."""
        visited = self._visited()
        try:
            versions = [
                (int(one["epoch"]), np.frombuffer(base64.b64decode(one["float32"], validate=True), "<f4"))
                for one in state["weights"]
            ]
            firsts = [first for first, _ in versions]
            if not firsts or firsts != sorted(set(firsts)) or firsts[0] < 0:
                raise ValueError(f"epochs {firsts}")
            for _, weights in versions:
                if len(weights) != len(self._versions[0][1]):
                    raise ValueError(f"{len(weights)} weights for {len(self._versions[0][1])} rows")
                _refuse_nothing(_checked(weights)[visited])
        except (KeyError, TypeError, ValueError) as exc:
            raise StateError(f"these are no weights of a Weighted of these rows: {exc}") from exc
        self._versions, self._planned = [(first, own.astype(np.float32)) for first, own in versions], -1


def _fetched(values: Any) -> Any:
    """A tensor's values, wherever it is and whether or not it has a gradient; anything else as it is."""
    if not hasattr(values, "detach"):
        return values
    values = values.detach().cpu()
    return values.double() if values.is_floating_point() else values  # NumPy has no bfloat16


def _checked(weights: NDArray[Any]) -> NDArray[np.float32]:
    with np.errstate(over="ignore"):
        found = weights.astype(np.float32)
    bad = ~(np.isfinite(found) & (found >= 0))
    if bad.any():
        raise ArgumentError(f"weights must be finite numbers >= 0; found {weights[bad].flat[0]}")
    return found


def _refuse_nothing(weights: NDArray[np.float32]) -> None:
    if not (weights > 0).any():
        raise ArgumentError("no row has a weight above 0: there is nothing to draw")
