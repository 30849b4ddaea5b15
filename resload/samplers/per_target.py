"""A size for each finding, for tasks whose findings need different resolutions.

The size of a step must not depend on the labels of its films: where films with a nodule came at another size than films
without, a model would read the label off the resolution. So an epoch passes over all films at each of the sizes, and at
each size only the targets count that belong there.

    epoch    512   256   256   512   ...      steps at either size, of all films
    counts   nodule at 512, cardiomegaly at 256; the others are unknown (`Batch.known` False)
"""

import logging
from collections.abc import Mapping

from resload.errors import ArgumentError
from resload.samplers.columns import Columns
from resload.size import Size, SizeLike, as_size

_log = logging.getLogger("resload")


class PerTarget:
    """The size at which each target counts: `PerTarget({"nodule": 512, "cardiomegaly": 256}, default=256)`.

    An epoch visits every row once at each size (`len` says so), and each target of a film once, at its own size: in
    batches of another one the Loader gives it as unknown. With `tail="exact"` that is an evaluation of every target at
    its size. Under constant pixels the larger sizes have more steps.

    default: the size of the targets that are not named; when None, they count nowhere.

    Raises ArgumentError for an empty table; when a Sampler is made, for targets that its data does not have, and for a
    default where it cannot know the targets because it is made of a number of rows.
    """

    def __init__(self, sizes: Mapping[str, SizeLike], *, default: SizeLike | None = None) -> None:
        if not sizes or not all(isinstance(name, str) for name in sizes):
            raise ArgumentError(
                f"PerTarget needs targets and their sizes, for example {{'nodule': 512}}; found {sizes!r}"
            )
        self.table = {name: as_size(size) for name, size in sorted(sizes.items())}
        self.default = None if default is None else as_size(default)

    def __repr__(self) -> str:
        table = ", ".join(f"{name!r}: {str(size)!r}" for name, size in self.table.items())
        return f"PerTarget({{{table}}}, default={None if self.default is None else str(self.default)!r})"

    @property
    def lanes(self) -> tuple[Size, ...]:
        """The sizes at which an epoch passes over all rows, smallest first."""
        found = {*self.table.values(), *([] if self.default is None else [self.default])}
        return tuple(sorted(found, key=lambda size: (size.pixels, size)))

    sizes = lanes

    def at(self, step: int, *, epoch: int) -> Size:
        """The smallest size, which stands for the table where one is needed; the plan knows each step's."""
        return self.lanes[0]

    def targets_at(self, size: SizeLike) -> frozenset[str]:
        """The targets that count in batches of this size. Of a rule that a Sampler holds: those of `default` too."""
        wanted = as_size(size)
        return frozenset(name for name, own in self.table.items() if own == wanted)

    def bind(self, columns: Columns) -> "PerTarget":
        """The same for data whose targets are known: every target named."""
        if not columns.targets:
            if self.default is not None:
                raise ArgumentError(
                    "the default= of PerTarget is for targets that are not named, and this data names none: make the "
                    "Sampler of a Cache, a Catalog or a reader"
                )
            return self
        if unknown := sorted(set(self.table) - set(columns.targets)):
            raise ArgumentError(f"PerTarget names {unknown}, which are no targets here; there are {[*columns.targets]}")
        others = [name for name in columns.targets if name not in self.table]
        if self.default is None:
            if others:
                _log.info("PerTarget: %d targets have no size and count nowhere: %s", len(others), ", ".join(others))
            return self
        return PerTarget({**self.table, **dict.fromkeys(others, self.default)})
