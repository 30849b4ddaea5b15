"""What is said to a loader's caller of a transform: warnings that name the caller's line, and wrong shapes."""

import sys
import warnings

import torch

from resload.augment.sample import Sample
from resload.errors import ArgumentError


def warn(message: str) -> None:
    """A UserWarning, at the line of the first caller that is not resload's own."""
    frame, level = sys._getframe(1), 2
    while frame.f_back is not None and frame.f_globals.get("__name__", "").startswith("resload."):
        frame, level = frame.f_back, level + 1
    warnings.warn(message, UserWarning, stacklevel=level)


def check_image(found: torch.Tensor, sample: Sample, library: str, crop: str) -> None:
    """Raises ArgumentError where a composition left an image of another shape or dtype than it was given."""
    given = sample.image
    if found.dtype != given.dtype:
        raise ArgumentError(
            f"{library} was given {given.dtype} and left {found.dtype} for {sample}: leave out what changes the type; "
            "the loader scales and normalises by itself (dtype=, normalize=), after the transform"
        )
    if found.shape[0] != given.shape[0]:
        raise ArgumentError(
            f"{library} was given {given.shape[0]} channel(s) and left {tuple(found.shape)} for {sample}: leave out "
            "what makes colours; Loader(channels=3) repeats the gray image afterwards"
        )
    if found.shape != given.shape:
        height, width = given.shape[1:]
        raise ArgumentError(
            f"{library} left an image of {tuple(found.shape[1:])} where the loader asked for {(height, width)}, for "
            f"{sample}: end it at the loader's size, for example with {crop.format(f'({height}, {width})')}, or load "
            "another size="
        )
