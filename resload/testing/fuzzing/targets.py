"""What is fuzzed."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from resload.testing.fuzzing import mutations

Mutator = Callable[[bytes, np.random.Generator], bytes]


@dataclass(frozen=True)
class Target:
    """One way into the library."""

    name: str
    seeds: Callable[[], Sequence[bytes]]
    """Small sound inputs; made in the child."""
    run: Callable[[bytes, Path], object]
    """Does with an input what the library does with it. The folder is the child's own, and the only place where it may
    write; what is left there stays for the next input. Returns for an input that is served, and raises a ResloadError
    for one that is refused."""
    mutate: Mutator = mutations.damaged
    """One damaged input of a sound or damaged one."""
    weight: float = 1.0
    """Its share of executions, in comparison with others': slow ones take less."""
    prepare: Callable[[Path], None] = lambda folder: None
    """Makes what `run` needs in the folder, once."""
