"""Steps of a plan whose films the reader is told of before they are asked for.

plan    step s+9 ... step s+1   step s        the reader is told of each as it is drawn from the plan; where it
told                    made next     fetches from storage, so many bytes lie between the two
"""

from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager

import numpy as np
from numpy.typing import NDArray

from resload.readers import Reader
from resload.samplers import Step
from resload.samplers.keys import PADDING
from resload.size import Size
from resload.store.whole import Sweep

AHEAD_BYTES = 64 << 20
"""Told of and not yet read: enough requests at once for any storage, and small beside the page cache."""


@contextmanager
def swept(reader: Reader, rows: NDArray[np.int64], sizes: Sequence[Size]) -> Iterator[None]:
    """While an epoch of these rows at these sizes is read: the reader may read whole shards before."""
    begin = getattr(reader, "sweep", None)
    found: Sweep | None = None if begin is None else begin(rows, sizes)
    if found is None:
        yield
        return
    try:
        found.wait()
        yield
    finally:
        found.close()


@contextmanager
def expected(plan: Callable[[], Iterable[Step]], reader: Reader) -> Iterator[Callable[[int], None]]:
    """While the steps of a plan are read by a reader that fetches whole shards, which then knows what comes next.

    plan: its steps, drawn here only for such readers: they have `expecting`, see `Cache.expecting`. Gives what is to
    be called once so many further steps were read.
    """
    begin = getattr(reader, "expecting", None)
    found = None if begin is None else begin(_asked(step, reader) for step in plan())
    if found is None:
        yield lambda steps: None
        return
    done = 0
    with found as passed:

        def read(steps: int) -> None:
            nonlocal done
            done += steps
            passed(done)

        yield read


def _asked(step: Step, reader: Reader) -> tuple[NDArray[np.int64], list[Size]]:
    """The films of a step, padding left out, and the sizes they are read at."""
    sizes = dict.fromkeys((step.size, *step.scales))
    rows = step.index if step.full else step.index[step.index != PADDING]
    return rows, [reader.checked_size(size) for size in sizes]


def telling(steps: Iterable[Step], reader: Reader) -> Iterator[Step]:
    """The steps in their order, drawn ahead by `AHEAD_BYTES` where the reader fetches what it is told of.

    A reader may have `ahead(rows, size) -> bytes`; 0 says that it fetches nothing of this size, of which it hears no
    more.
    """
    tell = getattr(reader, "ahead", None)
    if tell is None:
        yield from steps
        return
    coming: deque[tuple[Step, int]] = deque()
    silent: set[tuple[Size, ...]] = set()
    waiting = 0
    for step in steps:
        sizes = (step.size, *step.scales)
        if sizes in silent and not coming:
            yield step
            continue
        rows, asked = _asked(step, reader)
        bytes_ = sum(tell(rows, size) for size in asked)
        if not bytes_ and len(rows):
            silent.add(sizes)
        coming.append((step, bytes_))
        waiting += bytes_
        while coming and (waiting - coming[0][1] >= AHEAD_BYTES or not bytes_):
            step, own = coming.popleft()
            waiting -= own
            yield step
    yield from (step for step, _ in coming)
