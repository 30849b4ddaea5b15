"""The transforms in a composition, of whichever library: what holds others says so in an attribute."""

from collections.abc import Iterator
from typing import Any

_HELD = ("transforms", "transform")
"""Attributes that hold the transforms of a composition, in albumentations, torchvision and MONAI."""


def leaves(transform: Any) -> Iterator[Any]:
    """Every transform in a composition that is none itself, in order; a single transform alone."""
    held = next((found for name in _HELD if _holds(found := getattr(transform, name, None))), None)
    if held is None:
        yield transform
        return
    for one in held if isinstance(held, list | tuple) else [held]:
        yield from leaves(one)


def _holds(found: Any) -> bool:
    """Whether an attribute's value is a transform, or several: in torch, lists of them are modules that iterate."""
    return isinstance(found, list | tuple) or (callable(found) and not hasattr(found, "__func__"))


def named(transform: Any, *names: str) -> bool:
    """Whether a transform's class, or one that it is of, has one of these names."""
    return any(one.__name__ in names for one in type(transform).__mro__)
