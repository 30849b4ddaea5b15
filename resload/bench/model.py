"""The user's model: found by name, made by calling it, and turned into a step that takes a batch.

What the name (see `byname`) stands for is called without arguments and returns a torch Module, of which a step is
forward and backward of the mean of its outputs, or a function `step(batch)`, which is used as it is.
"""

from collections.abc import Callable, Iterator, Mapping
from typing import Any

import torch

from resload import byname
from resload.batch import Batch
from resload.errors import ArgumentError

Step = Callable[[Batch], Any]


def step_of(name: str, device: torch.device) -> Step:
    """The step that a name means. Raises ArgumentError, naming the user's line where it is the user's code."""
    factory = byname.found(name, "--model")
    if not callable(factory):
        raise ArgumentError(f"--model {name}: expected a callable without arguments; found {type(factory).__name__}")
    with byname.blamed(f"--model {name}", "when it was called without arguments"):
        made = factory()
    if isinstance(made, torch.nn.Module):
        with byname.blamed(f"--model {name}", f"when it was moved to {device}"):
            made = made.to(device).train()
        return _guarded(name, _training_step(made))
    if callable(made):
        return _guarded(name, made)
    raise ArgumentError(
        f"--model {name} must return a torch.nn.Module or a function step(batch); found {type(made).__name__}"
    )


def _guarded(name: str, step: Step) -> Step:
    """The same step; what it raises names the user's line."""

    def one(batch: Batch) -> None:
        given = f"images {tuple(batch.images.shape)} {batch.images.dtype}"
        with byname.blamed(f"--model {name}", f"in its step, with {given}"):
            step(batch)

    return one


def _training_step(model: torch.nn.Module) -> Step:
    """Forward and backward on a batch's images, in the model's own floating dtype; no optimiser."""
    dtype = next((one.dtype for one in model.parameters() if one.is_floating_point()), torch.float32)

    def step(batch: Batch) -> None:
        model.zero_grad(set_to_none=True)
        loss = _first(model(batch.images.to(dtype))).float().mean()
        if loss.requires_grad:
            loss.backward()  # type: ignore[no-untyped-call]

    return step


def _first(outputs: Any) -> torch.Tensor:
    """The first tensor of floats among what a model returns: itself, or in a tuple or mapping."""
    for one in _flat(outputs):
        if isinstance(one, torch.Tensor) and one.is_floating_point():
            return one
    raise TypeError(f"the model returned no tensor of floats: {type(outputs).__name__}; give a function step(batch)")


def _flat(outputs: Any) -> Iterator[Any]:
    if isinstance(outputs, Mapping):
        outputs = tuple(outputs.values())
    if isinstance(outputs, tuple | list):
        for one in outputs:
            yield from _flat(one)
    else:
        yield outputs
