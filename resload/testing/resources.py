"""What a process holds, sampled while it works for long: memory, threads, descriptors; and whether they stay.

    samples = [held()]
    for epoch in range(1000):
        ...
        if epoch % 20 == 19: samples.append(held())
    leaks(samples)    # {} or {"descriptors": "41 in the middle third, 87 in the last"}

Linux: it reads /proc.
"""

import ctypes
import gc
import statistics
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

MEMORY_MB = 3.0
"""How much more the last third may hold than the middle third: 9 KB for each of a thousand epochs, which is less than
one small image. What an allocator keeps goes up and down by about one."""


@dataclass(frozen=True)
class Held:
    """What this process holds at one moment."""

    memory_mb: float
    """Its own memory (RssAnon: without pages of files), once what can be given back was."""
    threads: int
    """Of the system, so those of C libraries too."""
    descriptors: int


def held() -> Held:
    """Now. Collects garbage, and has the C library give free memory back, so that only what is in use counts."""
    gc.collect()
    _give_back()
    status = Path("/proc/self/status").read_text(encoding="ascii")
    lines = dict(line.split(":", 1) for line in status.splitlines())
    descriptors = sum(1 for _ in Path("/proc/self/fd").iterdir()) - 1  # the one that lists them
    return Held(int(lines["RssAnon"].split()[0]) / 1024, int(lines["Threads"]), descriptors)


def _give_back() -> None:
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None)  # of glibc alone
    if trim is not None:
        trim(0)


def leaks(samples: Sequence[Held], *, memory_mb: float = MEMORY_MB) -> dict[str, str]:
    """What grew: {name: in words}; empty where all stayed flat.

    The first third is left out: caches fill, pools of threads start. Of the last third against the middle third: the
    most threads and the most descriptors may not be more, the median of memory not by more than `memory_mb`.

    Raises ValueError for fewer than nine samples, of which thirds say little.
    """
    if len(samples) < 9:
        raise ValueError(f"leaks needs at least nine samples, evenly spaced; found {len(samples)}")
    third = len(samples) // 3
    middle, last = samples[third : 2 * third], samples[2 * third :]
    rules: dict[str, tuple[Callable[[Sequence[float]], float], float]] = {
        "memory_mb": (statistics.median, memory_mb),
        "threads": (max, 0),
        "descriptors": (max, 0),
    }
    found = {}
    for name, (of, more) in rules.items():
        before, after = (of([float(getattr(one, name)) for one in part]) for part in (middle, last))
        if after > before + more:
            found[name] = f"{before:.10g} in the middle third, {after:.10g} in the last"
    return found
