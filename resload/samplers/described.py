"""Parts of a plan as text for its fingerprint: the same in every process, another when the plan is another.

`repr` alone would not do: numpy shortens long arrays, and objects without a repr of their own show an address.
"""

import hashlib
from collections.abc import Mapping
from dataclasses import fields, is_dataclass
from functools import partial
from types import BuiltinFunctionType, CodeType, FunctionType, MethodType
from typing import Any

import numpy as np


def described(value: Any) -> str:
    """Text that says what a part of a plan does: its class and its values, arrays by the sum of their bytes.

    An object may say itself what it depends on, by a method `fingerprint() -> str`. Else a dataclass is its fields and
    any other object its attributes, those that begin with an underscore left out of neither; functions are their code
    and what they close over.
    """
    if value is None or isinstance(value, bool | int | float | complex | str | bytes | np.generic):
        return f"{type(value).__name__} {value!r}" if isinstance(value, np.generic) else repr(value)
    if isinstance(value, np.ndarray):
        if value.dtype == object:
            return described(value.tolist())
        digest = hashlib.sha256(np.ascontiguousarray(value).tobytes()).hexdigest()[:16]
        return f"array({value.dtype.str}, {value.shape}, {digest})"
    if isinstance(value, Mapping):
        return "{" + ", ".join(f"{described(key)}: {described(item)}" for key, item in value.items()) + "}"
    if isinstance(value, set | frozenset):
        return f"{type(value).__name__}({', '.join(sorted(map(described, value)))})"
    if isinstance(value, tuple | list):
        return f"{type(value).__name__}({', '.join(map(described, value))})"
    if isinstance(value, type | BuiltinFunctionType):
        return f"{value.__module__}.{value.__qualname__}"
    if isinstance(value, FunctionType):
        closed = [cell.cell_contents for cell in value.__closure__ or ()]
        return f"{value.__qualname__}({_code(value.__code__)}, {described([value.__defaults__, closed])})"
    if isinstance(value, MethodType):
        return f"{described(value.__self__)}.{value.__name__}"
    if isinstance(value, partial):
        return f"partial({described([value.func, value.args, value.keywords])})"
    return _object(value)


def _object(value: Any) -> str:
    own = getattr(value, "fingerprint", None)
    if callable(own):
        return f"{type(value).__qualname__}({own()})"
    if is_dataclass(value):
        parts = {one.name: getattr(value, one.name) for one in fields(value) if one.repr}
    else:
        parts = dict(sorted(getattr(value, "__dict__", {}).items()))
    shown = ", ".join(f"{name}={described(part)}" for name, part in parts.items())
    return f"{type(value).__qualname__}({shown})"


def _code(code: CodeType) -> str:
    """Of a function: its instructions, names and constants, without where it stands."""
    constants = [_code(one) if isinstance(one, CodeType) else described(one) for one in code.co_consts]
    text = repr((code.co_code, code.co_names, constants))
    return hashlib.sha256(text.encode()).hexdigest()[:16]
