"""The user's model: found by name, made by calling it, and turned into a step that takes a batch.

    train.py:make_model        a file, and a name in it
    package.module:make_model  a module that can be imported from here

What the name stands for is called without arguments and returns a torch Module, of which a step is forward and
backward of the mean of its outputs, or a function `step(batch)`, which is used as it is.
"""

import importlib.util
import os
import pkgutil
import sys
import traceback
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch

from resload.batch import Batch
from resload.errors import ArgumentError

Step = Callable[[Batch], Any]
_HERE = str(Path(__file__).parent.parent)
_LIBRARIES = ("site-packages", "dist-packages", "<frozen", f"python{sys.version_info.major}.{sys.version_info.minor}/")


def step_of(name: str, device: torch.device) -> Step:
    """The step that a name means. Raises ArgumentError, naming the user's line where it is the user's code."""
    factory = _found(name)
    if not callable(factory):
        raise ArgumentError(f"--model {name}: expected a callable without arguments; found {type(factory).__name__}")
    with _blamed(name, "when it was called without arguments"):
        made = factory()
    if isinstance(made, torch.nn.Module):
        with _blamed(name, f"when it was moved to {device}"):
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
        with _blamed(name, f"in its step, with images {tuple(batch.images.shape)} {batch.images.dtype}"):
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


# -- by name --


def _found(name: str) -> Any:
    """The object of a name. Raises ArgumentError."""
    place, colon, attribute = name.rpartition(":")
    if not colon or not place or not attribute:
        raise ArgumentError(f"--model is PATH.py:NAME or package.module:NAME; found {name!r}")
    with _importing(name, place):
        module = _from_file(name, Path(place)) if place.endswith(".py") else pkgutil.resolve_name(place)
    found = module
    for part in attribute.split("."):
        if not hasattr(found, part):
            there = ", ".join(sorted(one for one in vars(module) if not one.startswith("_"))) or "nothing"
            raise ArgumentError(f"--model {name}: {place} has no {attribute!r}; it has {there}")
        found = getattr(found, part)
    return found


def _from_file(name: str, path: Path) -> Any:
    if not path.is_file():
        raise ArgumentError(f"--model {name}: there is no file {path}")
    spec = importlib.util.spec_from_file_location(f"resload_bench_{path.stem}", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module  # where dataclasses look their module up
    spec.loader.exec_module(module)
    return module


@contextmanager
def _importing(name: str, place: str) -> Iterator[None]:
    """Imports as `python` would: from the file's folder, or from here."""
    folder = str(Path(place).resolve().parent) if place.endswith(".py") else str(Path.cwd())
    sys.path.insert(0, folder)
    try:
        with _blamed(name, f"while {place} was imported"):
            yield
    finally:
        sys.path.remove(folder)


@contextmanager
def _blamed(name: str, when: str) -> Iterator[None]:
    """What the user's code raises, as an ArgumentError that names the line it came from."""
    try:
        yield
    except ArgumentError:
        raise
    except (Exception, SystemExit) as exc:  # a script that parses a command line, when it is imported
        where = _line(exc)
        raise ArgumentError(f"--model {name} raised {when}: {type(exc).__name__}: {_one_line(exc)}{where}") from exc


def _one_line(exc: BaseException) -> str:
    return " ".join(str(exc).split())


def _line(exc: BaseException) -> str:
    """` (train.py, line 12)`: the last line of the traceback that is neither ours nor a library's."""
    if isinstance(exc, SyntaxError):
        return ""  # which says where by itself
    frames = [frame for frame in traceback.extract_tb(exc.__traceback__) if not _library(frame.filename)]
    return f" ({os.path.relpath(frames[-1].filename)}, line {frames[-1].lineno})" if frames else ""


def _library(filename: str) -> bool:
    return filename.startswith((_HERE, "<")) or any(part in filename for part in _LIBRARIES)
