"""Memory for batches: re-used when nobody holds it, never while somebody does.

A batch's memory is a block from a pool. What the caller gets is a tensor over a *new* numpy view of the block;
torch's storage keeps that view alive, and every slice, reshape and numpy array made from the tensor keeps the
storage alive. So when the view dies, no tensor on the block lives, and a weak reference hands the block back:

    lend            block -> view(s), one for each batch -> tensor(s) the caller holds
    last one dies   view dies -> weakref callback -> block is free again

Where batches end up on another device, a block is memory that copies to it start from, and its views are held until the
copy is done (`devices.Crossing`): they die with the last copy, and the rest is the same.

Blocks are plain bytes, so a change of resolution between batches re-uses the same memory: after the first few batches
of a plan that mixes sizes, every block is large enough for all of them. Nothing bounds how many
batches a caller may keep: a block that is kept is simply not there to be re-used, and a new one is made.
"""

import math
import weakref
from collections import deque
from collections.abc import Callable, Sequence
from itertools import count, pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

from resload import forks
from resload.devices import Crossing
from resload.store.slot import Slot

KEPT_SLOTS = 8
"""Shapes whose slots a block keeps: as many sizes as a plan should mix."""
KEPT_BLOCKS = 8
"""Free blocks kept for re-use; beyond the prefetched batches more would be memory for nothing."""


def touched_later(size: int) -> NDArray[np.uint8]:
    """Memory that costs nothing until it is touched."""
    return np.empty(size, np.uint8)


class Block:
    """Some bytes, and the slots (views for reading into them) that were made on them."""

    def __init__(self, raw: NDArray[np.uint8]) -> None:
        self.raw = raw
        self._slots: dict[tuple[tuple[int, ...], str], Slot] = {}

    def view(self, shape: tuple[int, ...], dtype: np.dtype[Any]) -> NDArray[Any]:
        """A new array over the first bytes of the block."""
        size = math.prod(shape) * dtype.itemsize
        return self.raw[:size].view(dtype).reshape(shape)

    def slot(self, shape: tuple[int, ...], dtype: np.dtype[Any]) -> Slot:
        """The block as a slot for reading; made once for each of a few shapes.

        Thread-safe: the tasks of a batch all ask for it.
        """
        key = (shape, dtype.str)
        slot = self._slots.get(key)
        if slot is None:  # two threads may both come here: their slots are views of the same bytes
            slot = Slot(self.view(shape, dtype))
            kept = list(self._slots.items())[1 - KEPT_SLOTS :]
            self._slots = dict([*kept, (key, slot)])
        return slot


class Pool:
    """Blocks to lend, of `memory(bytes)`. Thread-safe; blocks may come back from any thread, also from inside garbage
    collection.
    """

    def __init__(self, memory: Callable[[int], NDArray[np.uint8]] = touched_later) -> None:
        self._memory = memory
        self._free: deque[Block] = deque()  # append and pop are single steps: a callback may interrupt anything
        self._crossing: deque[tuple[Crossing, list[NDArray[Any]]]] = deque()
        self._held = forks.lock()  # of what crosses; never taken by a callback
        self._lent: dict[int, weakref.ref[NDArray[Any]]] = {}
        self._largest = 0

    def block(self, size: int) -> Block:
        """A free block of at least `size` bytes, or a new one that serves whatever was asked for; smaller free ones are
        dropped.
        """
        self._largest = max(self._largest, size)
        self._let_go()
        while True:
            try:
                block = self._free.pop()  # the one that was given back last: most of it is still in the cache
            except IndexError:
                return Block(self._memory(self._largest))
            if len(block.raw) >= size:
                return block

    def lend(
        self, block: Block, shape: tuple[int, ...], dtype: np.dtype[Any], bounds: Sequence[int]
    ) -> list[NDArray[Any]]:
        """New views of the block, images bounds[i] .. bounds[i + 1] each; when they and everything made from them are
        gone, the block is free again.
        """
        whole = block.view(shape, dtype)
        views = [whole[start:stop] for start, stop in pairwise(bounds)]
        parts, gone = len(views), count(1)  # counting is a single step: callbacks of several views may come at once

        def give_back(dead: weakref.ref[NDArray[Any]]) -> None:
            self._lent.pop(id(dead), None)
            if next(gone) == parts and len(self._free) < KEPT_BLOCKS:
                self._free.append(block)

        for view in views:
            held = weakref.ref(view, give_back)
            self._lent[id(held)] = held
        return views

    def hold(self, views: list[NDArray[Any]], crossing: Crossing) -> None:
        """Keep lent views, and so their block, until a copy from it is done; waits where many are not."""
        with self._held:
            self._crossing.append((crossing, views))
            while len(self._crossing) > KEPT_BLOCKS:
                self._crossing[0][0].wait()
                self._crossing.popleft()

    def _let_go(self) -> None:
        """Of what was copied, in the order in which it was sent."""
        with self._held:
            while self._crossing and self._crossing[0][0].done():
                self._crossing.popleft()

    @property
    def free(self) -> int:
        """How many blocks wait to be re-used."""
        return len(self._free)
