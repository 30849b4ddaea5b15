"""An object of the user's, by its name, and what its code raises, as a sentence.

train.py:make_model        a file, and a name in it
package.module:make_model  a module that can be imported from here
"""

import importlib.util
import os
import pkgutil
import sys
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from resload.errors import ArgumentError

_HERE = str(Path(__file__).parent)
_LIBRARIES = ("site-packages", "dist-packages", "<frozen", f"python{sys.version_info.major}.{sys.version_info.minor}/")


def found(name: str, option: str) -> Any:
    """The object of a name, which `option` gave. Raises ArgumentError, naming the user's line where it is theirs."""
    place, colon, attribute = name.rpartition(":")
    if not colon or not place or not attribute:
        raise ArgumentError(f"{option} is PATH.py:NAME or package.module:NAME; found {name!r}")
    label = f"{option} {name}"
    with _importing(label, place):
        module = _from_file(label, Path(place)) if place.endswith(".py") else pkgutil.resolve_name(place)
    one = module
    for part in attribute.split("."):
        if not hasattr(one, part):
            there = ", ".join(sorted(known for known in vars(module) if not known.startswith("_"))) or "nothing"
            raise ArgumentError(f"{option} {name}: {place} has no {attribute!r}; it has {there}")
        one = getattr(one, part)
    return one


def _from_file(label: str, path: Path) -> Any:
    if not path.is_file():
        raise ArgumentError(f"{label}: there is no file {path}")
    spec = importlib.util.spec_from_file_location(f"resload_user_{path.stem}", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module  # where dataclasses look their module up
    spec.loader.exec_module(module)
    return module


@contextmanager
def _importing(label: str, place: str) -> Iterator[None]:
    """Imports as `python` would: from the file's folder, or from here."""
    folder = str(Path(place).resolve().parent) if place.endswith(".py") else str(Path.cwd())
    sys.path.insert(0, folder)
    try:
        with blamed(label, f"while {place} was imported"):
            yield
    finally:
        sys.path.remove(folder)


@contextmanager
def blamed(label: str, when: str) -> Iterator[None]:
    """What the user's code raises, as an ArgumentError that says which code, when, and the line it came from."""
    try:
        yield
    except ArgumentError:
        raise
    except (Exception, SystemExit) as exc:  # a script that parses a command line, when it is imported
        where = _line(exc)
        raise ArgumentError(f"{label} raised {when}: {type(exc).__name__}: {_one_line(exc)}{where}") from exc


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
