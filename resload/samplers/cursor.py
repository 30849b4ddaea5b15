"""Where in training we are: two integers, and the rules by which they move.

the position is the next step to hand out; with the last step of an epoch it becomes the next epoch's beginning
it is read when the first step is asked for, not when the iterator is made
a loop that is left early has ended its epoch, unless a position is loaded: iterating again is the next epoch
    but of a batch sampler, the first loop after loading an epoch's beginning may be left early once: the next begins
    anew. torchdata's StatefulDataLoader, loaded where a loop had run out, begins twice, and its worker processes draw
    from the first: the rule would skip an epoch
set_epoch(e)   a position that was loaded in e, or is at its beginning, is kept; else e's beginning
"""

from collections.abc import Mapping
from typing import Any

from resload.errors import ArgumentError, StateError

VERSION = 1


class Cursor:
    """A position in the epochs of one plan. Not thread-safe."""

    def __init__(self) -> None:
        self.epoch, self.step = 0, 0
        self._deliberate = True  # set by the caller, or reached by finishing an epoch
        self._loaded = False  # at an epoch's beginning, and begun at most once since

    def begin(self, *, drawn_ahead: bool = False) -> tuple[int, int]:
        """(epoch, step) to go on from, when a pass begins; `drawn_ahead`: of a batch sampler, as said above."""
        if not self._deliberate:
            again, self._loaded = drawn_ahead and self._loaded, False
            self.epoch, self.step = self.epoch + (not again), 0
        self._deliberate = False
        return self.epoch, self.step

    def passed(self, epoch: int, step: int, steps: int) -> None:
        """This step of an epoch of `steps` has been handed out."""
        self.epoch, self.step, self._deliberate = epoch, step + 1, False
        if self.step == steps:
            self.epoch, self.step, self._deliberate, self._loaded = epoch + 1, 0, True, False

    def set_epoch(self, epoch: int) -> None:
        """Go to an epoch's beginning; a position that was loaded there is kept. Raises ArgumentError for no epoch."""
        if isinstance(epoch, bool) or not isinstance(epoch, int) or epoch < 0:
            raise ArgumentError(f"an epoch is an int >= 0; found {epoch!r}")
        if epoch != self.epoch or not self._deliberate:
            self.epoch, self.step, self._loaded = epoch, 0, False
        self._deliberate = True

    @property
    def sampler(self) -> "Cursor":
        """Itself: frameworks look for `.batch_sampler.sampler.set_epoch`."""
        return self

    def state(self, fingerprint: str) -> dict[str, Any]:
        """The position, with the plan it belongs to."""
        return {"version": VERSION, "epoch": self.epoch, "step": self.step, "fingerprint": fingerprint}

    def load(self, state: Mapping[str, Any], fingerprint: str, steps: int) -> None:
        """Go to a saved position. Raises StateError, and stays, when it belongs to another plan or is none."""
        self.epoch, self.step = checked_state(state, fingerprint, steps)
        self._deliberate, self._loaded = True, self.step == 0


def rescaled(state: Mapping[str, Any], world: int) -> dict[str, Any]:
    """A saved position as one in a stream of `world` batches to a step; a state that names no `world` has one.

    Raises StateError for a position that lies within a step, where no part of so many processes ends.
    """
    step, own = state.get("step"), state.get("world", 1)
    if isinstance(own, bool) or not isinstance(own, int) or own < 1:
        raise StateError(f"a position's world is how many processes share a step, an int >= 1; found {own!r}")
    if isinstance(step, bool) or not isinstance(step, int):
        return dict(state)  # refused with everything else that it lacks
    number, rest = divmod(step * world, own)
    if rest:
        raise StateError(
            f"this position lies within a step that {own} processes share; {world} share it otherwise: go on with as "
            "many, or save at the end of a step"
        )
    return {**state, "step": number}


def checked_state(state: Mapping[str, Any], fingerprint: str, steps: int) -> tuple[int, int]:
    """(epoch, step) of a saved position, refused when it belongs to another plan."""
    if state.get("version") != VERSION or state.get("fingerprint") != fingerprint:
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
