"""Hostile input: targets fed with damaged bytes in child processes that are watched.

    targets.py    what is fuzzed: a name, sound inputs, how they are damaged, what is done with one
    mutations.py  ways to damage bytes, numbers and JSON
    guard.py      in the child: no other file, no process, no socket, no unpickling, no code
    child.py      in the child: runs inputs, by atheris (guided by coverage) or one after another
    parent.py     bounds of time and memory; counts what became of each input; keeps those that broke something

An input is *served*, or *refused* by a class of `resload.errors`; anything else is a bug: another exception, a warning,
a signal, more than the seconds or bytes that are allowed, a file outside the folder. For users who have decoders of
their own, and for `benchmarks/fuzz.py`.
"""

from resload.testing.fuzzing.child import main, replay
from resload.testing.fuzzing.parent import Bounds, Found, fuzz
from resload.testing.fuzzing.targets import Target

__all__ = ["Bounds", "Found", "Target", "fuzz", "main", "replay"]
