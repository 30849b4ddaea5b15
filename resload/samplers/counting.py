"""A budget as whole units: how many rows, or exams, a step of each size takes."""

from typing import Any

from resload.errors import ArgumentError
from resload.samplers.budgets import Budget, Images
from resload.samplers.described import described
from resload.samplers.sizes import Sizes, of_epoch, scales_of
from resload.size import Size, as_size

LARGEST_GRANULE = 8
"""Of those that are chosen: as many processes as a machine has accelerators; larger ones waste more of a budget."""


class Counting:
    """How many units of `stride` images make a step, for `world` processes where the budget is for each.

    Raises ArgumentError for budgets that give no whole number, or less than a granule.
    """

    def __init__(self, budget: Budget, sizes: Sizes, stride: int, granule: int | None, world: int) -> None:
        self._budget = Images(budget.count * world) if isinstance(budget, Images) and budget.per_process else budget
        self._scales, self._stride = scales_of(sizes), stride
        self._known: dict[Size, int] = {}
        rule, epoch = of_epoch(sizes, 0)
        said = getattr(self._budget, "reference", None)
        self.reference: int = self._images(as_size(rule.at(0, epoch=epoch))) if said is None else int(said)
        self.granule = _natural(max(1, self.reference // stride)) if granule is None else granule

    def units(self, size: Size) -> int:
        """Units in a step at this size: the budget's, rounded down to a multiple of the granule."""
        if size not in self._known:
            images = self._images(size)
            whole = images // self._stride // self.granule * self.granule
            if whole == 0:
                held = (
                    f"{self.granule} images" if self._stride == 1 else f"{self.granule} exams of {self._stride} films"
                )
                raise ArgumentError(
                    f"the budget gives {images} images at {size}, less than a granule of {held}: give more, or a "
                    "smaller granule="
                )
            self._known[size] = whole
        return self._known[size]

    def _images(self, size: Size) -> int:
        at_once: Any = getattr(self._budget, "at_once", None)
        images: Any = at_once(self._scales) if self._scales and callable(at_once) else self._budget(size)
        if isinstance(images, bool) or not isinstance(images, int) or images < 1:
            raise ArgumentError(f"a budget must give an int >= 1 of images at every size; found {images!r} at {size}")
        return images

    def fingerprint(self) -> str:
        """What steps depend on: a number of images is that number, however it was come by."""
        if isinstance(self._budget, Images):
            units = self._budget.count // self._stride // self.granule * self.granule
            return f"{units} units of {self._stride}"
        return f"{described(self._budget)}, granule {self.granule}, units of {self._stride}"


def _natural(units: int) -> int:
    """The largest power of two up to 8 that divides a step."""
    granule = LARGEST_GRANULE
    while units % granule:
        granule //= 2
    return granule
