"""The transforms in a composition, of whichever library: what holds others says so in an attribute."""

from collections.abc import Iterable, Iterator
from typing import Any

_HELD = ("transforms", "transform")
"""Attributes that hold the transforms of a composition, in albumentations, torchvision and MONAI."""


def leaves(transform: Any) -> Iterator[Any]:
    """Every transform in a composition that is none itself, in order; a single transform alone."""
    held = next((found for name in _HELD if (found := _held(getattr(transform, name, None))) is not None), None)
    if held is None:
        yield transform
        return
    for one in held:
        yield from leaves(one)


def _held(found: Any) -> Iterable[Any] | None:
    """What an attribute holds: a list of transforms (in torch, also a module that iterates), or a single one; None for
    a method.
    """
    if isinstance(found, Iterable):
        return found
    return [found] if callable(found) and not hasattr(found, "__func__") else None


def named(transform: Any, *names: str) -> bool:
    """Whether a transform's class, or one that it is of, has one of these names."""
    return any(one.__name__ in names for one in type(transform).__mro__)
