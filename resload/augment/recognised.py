"""Whose a transform is, told by the names of its classes: no library is imported to find out."""

from typing import Any

from resload.augment.albumentations import Albumentations
from resload.augment.monai import Monai
from resload.augment.sample import Transform
from resload.augment.torchvision import TorchVision
from resload.errors import ArgumentError

_OURS: tuple[tuple[str, frozenset[str], type[Any]], ...] = (
    ("albumentations.", frozenset({"BasicTransform", "BaseCompose"}), Albumentations),
    ("torchvision.transforms.v2.", frozenset({"Transform"}), TorchVision),
    ("monai.transforms.", frozenset({"Transform"}), Monai),
)
"""Beginning of a module's name, names of base classes in it, and the adapter of such transforms."""


def adapted(transform: Any) -> Transform:
    """A transform of albumentations, torchvision v2 or MONAI in its adapter; any other callable as it is.

    Raises ArgumentError for what is no callable, and for torchvision's first transforms.
    """
    family = type(transform).__mro__
    for module, names, adapter in _OURS:
        if any(one.__module__.startswith(module) and one.__name__ in names for one in family):
            made: Transform = adapter(transform)
            return made
    if type(transform).__module__.startswith("torchvision.transforms."):
        raise ArgumentError(
            f"transform={type(transform).__name__}(...) of torchvision.transforms moves images alone, not masks and "
            "boxes with them: use the transform of that name of torchvision.transforms.v2"
        )
    if not callable(transform):
        raise ArgumentError(
            "transform= must be a callable of an augment.Sample, or a transform of albumentations, torchvision v2 or "
            f"MONAI; found {type(transform).__name__}"
        )
    found: Transform = transform
    return found
