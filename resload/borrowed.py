"""Generators that belong to others, seeded for a while and put back."""

import random
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any

import numpy as np


@contextmanager
def seeded(owners: list[Any], keys: np.random.Generator) -> Iterator[None]:
    """Every generator that these objects can see, seeded by keys drawn from another; as it was before, afterwards.

    The CPU generators of torch, numpy and random, and those that are attributes of the objects. Other threads that draw
    from the global ones meanwhile are given numbers of this seed.
    """
    owned = [value for one in owners for value in getattr(one, "__dict__", {}).values()]
    torch = sys.modules.get("torch")
    # torch's last: the others' keys must not depend on whether somebody has imported it
    held = [random, np.random, *owned, *([torch.default_generator] if torch is not None else [])]
    controls = [found for one in held if (found := _controls(one)) is not None]
    drawn = keys.integers(0, 1 << 32, len(controls)).tolist()
    try:
        for (reseed, _), key in zip(controls, drawn, strict=True):
            reseed(key)
        yield
    finally:
        for _, restore in controls:
            restore()


def _controls(one: Any) -> tuple[Callable[[int], Any], Callable[[], Any]] | None:
    """How to seed a generator, and how to put it back to where it is now; None for what is no generator."""
    if one is random or (isinstance(one, random.Random) and not isinstance(one, random.SystemRandom)):
        return one.seed, partial(one.setstate, one.getstate())
    if one is np.random or isinstance(one, np.random.RandomState):
        return one.seed, partial(one.set_state, one.get_state())
    if isinstance(one, np.random.Generator):
        bits = one.bit_generator
        return partial(_reseed_bits, bits), partial(setattr, bits, "state", bits.state)
    torch = sys.modules.get("torch")
    if torch is not None and isinstance(one, torch.Generator):
        return one.manual_seed, partial(one.set_state, one.get_state())
    return None


def _reseed_bits(bits: Any, key: int) -> None:
    bits.state = type(bits)(key).state
