"""All processes' parts in one stream, for wrappers that deal batches out themselves.

step 0 rank 0, step 0 rank 1, step 1 rank 0, step 1 rank 1, ...      batch i is for process i % world
"""

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

from resload.samplers.cursor import Cursor, rescaled
from resload.samplers.keys import Key

if TYPE_CHECKING:
    from resload.samplers.sampler import Sampler


class Interleaved:
    """Made by `Sampler.interleaved`: iterable of `list[Key]`, as long as the sampler times the number of processes.

    Epochs and positions as a Sampler's; a position may lie within a step.
    """

    def __init__(self, sampler: "Sampler", world: int) -> None:
        self._plan = sampler.view(0, world)
        self._world = world
        self._cursor = Cursor()

    def __len__(self) -> int:
        return len(self._plan) * self._world

    def __iter__(self) -> Iterator[list[Key]]:
        epoch, start = self._cursor.begin(drawn_ahead=True)
        first, rank = divmod(start, self._world)
        for step in self._plan.shared(epoch, first, self._world):
            for k in range(rank, self._world):
                self._cursor.passed(epoch, step.number * self._world + k, len(self))
                yield step.part(k, self._world).keys()
            rank = 0

    def set_epoch(self, epoch: int) -> None:
        """Begin this epoch next. A position that was loaded, or is already there, is kept."""
        self._cursor.set_epoch(epoch)

    @property
    def sampler(self) -> "Interleaved":
        """Itself: frameworks look for `.sampler.set_epoch`."""
        return self

    def state_dict(self) -> dict[str, Any]:
        """The position: plain values. `step` counts the stream's batches, `world` of them to a step of the plan."""
        return self._plan.state_at(self._cursor, self._plan.fingerprint()) | {"world": self._world}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Continue where `state_dict` was taken, or that of a Sampler of the plan: on any number of processes.

        Raises StateError when the plan is another one, or the position lies within a step, where no part ends.
        """
        own = rescaled(state, self._world)
        self._plan.load_state_at(self._cursor, own, self._plan.fingerprint(), steps=len(self))
