"""Parts of a plan as text for its fingerprint: the same in every process, another when the plan is another.

`repr` alone would not do: numpy shortens long arrays, and objects without a repr of their own show an address. An
object is what pickling would keep of it, its attributes unless its class says otherwise; of what it refers to likewise.
"""

import hashlib
from collections.abc import Iterator, Mapping
from dataclasses import fields, is_dataclass
from functools import partial
from types import BuiltinFunctionType, CellType, CodeType, FunctionType, MethodType, ModuleType
from typing import Any

import numpy as np

_PLAIN = bool, int, float, complex, str, bytes
_DATA = *_PLAIN, tuple, list, dict, set, frozenset, np.ndarray, np.generic, partial
"""Of the global names in a function: values, and functions of the same file. Others are what their modules are."""


def described(value: Any) -> str:
    """Text that says what a part of a plan does: its class and its values, arrays by the sum of their bytes.

    An object may say itself what it depends on, by a method `fingerprint() -> str`. Else a dataclass is its fields and
    any other object what pickling keeps. Functions are their code, what they close over, and the values of the global
    names in them; of a class the name counts, and not the code of its methods.
    """
    return _Describer().text(value)


class _Describer:
    """Describes one value. What refers to itself is named by how deep it was met first."""

    def __init__(self) -> None:
        self._within: list[Any] = []

    def text(self, value: Any) -> str:
        if isinstance(value, np.generic):
            return f"{type(value).__name__} {value!r}"
        if value is None or isinstance(value, _PLAIN):
            return repr(value)
        for depth, outer in enumerate(self._within):
            if outer is value:
                return f"^{depth}"
        self._within.append(value)
        try:
            return self._values(value)
        finally:
            self._within.pop()

    def _values(self, value: Any) -> str:
        if isinstance(value, np.ndarray):
            return self._array(value)
        if type(value) is dict:
            return "{" + self._named(value) + "}"
        if type(value) in (set, frozenset):
            return f"{type(value).__name__}({', '.join(sorted(map(self.text, value)))})"
        if type(value) in (tuple, list):
            return f"{type(value).__name__}({self._listed(value)})"
        return self._callable(value) or self._object(value)

    def _listed(self, values: Any) -> str:
        return ", ".join(map(self.text, values))

    def _named(self, values: Mapping[Any, Any]) -> str:
        return ", ".join(f"{self.text(key)}: {self.text(item)}" for key, item in values.items())

    def _array(self, value: np.ndarray[Any, Any]) -> str:
        if value.dtype.hasobject:
            return f"array({value.dtype.str}, {value.shape}, {self.text(value.tolist())})"
        digest = hashlib.sha256(np.ascontiguousarray(value).tobytes()).hexdigest()[:16]
        return f"array({value.dtype.str}, {value.shape}, {digest})"

    # -- what can be called --

    def _callable(self, value: Any) -> str | None:
        """Of functions, methods and classes; None for anything else."""
        if isinstance(value, FunctionType):
            return self._function(value)
        if isinstance(value, MethodType) or (
            isinstance(value, BuiltinFunctionType) and not isinstance(value.__self__, ModuleType | None)
        ):
            return f"{self.text(value.__self__)}.{value.__name__}"
        if isinstance(value, np.ufunc):
            return f"numpy.{value.__name__}"
        if isinstance(value, type | BuiltinFunctionType):
            return value.__qualname__ if value.__module__ in _MAIN else f"{value.__module__}.{value.__qualname__}"
        if isinstance(value, partial):
            return f"partial({self._listed([value.func, value.args, value.keywords])})"
        return None

    def _function(self, value: FunctionType) -> str:
        closed = [_content(cell) for cell in value.__closure__ or ()]
        known = value.__globals__
        used = {
            name: known[name]
            for name in sorted(set(_names(value.__code__)) & set(known))
            if isinstance(known[name], _DATA)
            or (isinstance(known[name], FunctionType) and known[name].__globals__ is known)
        }
        parts = [value.__defaults__, value.__kwdefaults__, closed, used]
        return f"{value.__qualname__}({self._code(value.__code__)}, {self._listed(parts)})"

    def _code(self, code: CodeType) -> str:
        """Of a function: its instructions, names and constants, without where it stands."""
        constants = [self._code(one) if isinstance(one, CodeType) else self.text(one) for one in code.co_consts]
        text = repr((code.co_code, code.co_names, constants))
        return hashlib.sha256(text.encode()).hexdigest()[:16]

    # -- objects --

    def _object(self, value: Any) -> str:
        name, own = type(value).__qualname__, getattr(value, "fingerprint", None)
        if callable(own):
            return f"{name}({own()})"
        if is_dataclass(value):
            return f"{name}({self._named({one.name: getattr(value, one.name) for one in fields(value)})})"
        if hasattr(value, "detach") and hasattr(value, "tolist"):  # a tensor, of any type and on any device
            return f"{name}({value.dtype}, {tuple(value.shape)}, {self.text(value.tolist())})"
        if hasattr(value, "__wrapped__"):  # functools.cache and the like would be pickled by name
            return f"{name}({self.text(value.__wrapped__)})"
        return f"{name}({self._kept(value)})"

    def _kept(self, value: Any) -> str:
        """What pickling keeps of an object; of one that cannot be pickled its items or attributes, if it has any."""
        try:
            found = value.__reduce_ex__(4)
        except Exception:  # classes refuse in ways of their own
            return self._named(value if isinstance(value, Mapping) else _sorted(getattr(value, "__dict__", {})))
        if isinstance(found, str):
            return found
        arguments, state, items, pairs = (*found[1:5], None, None, None)[:4]
        own = [one for one in arguments if one is not type(value)]
        made_by = "" if found[0] is type(value) else getattr(found[0], "__qualname__", "")
        states = [_sorted(one) for one in (state if isinstance(state, tuple) else (state,)) if one is not None]
        parts = [own, states, None if items is None else list(items), None if pairs is None else dict(pairs)]
        return f"{made_by}, {self._listed(parts)}"


_MAIN = "__main__", "__mp_main__"
"""How a program's own file is called, in it and in the processes that it spawns."""


def _sorted(state: Any) -> Any:
    """Attributes by name, in whatever order they were set."""
    if isinstance(state, dict) and all(isinstance(name, str) for name in state):
        return dict(sorted(state.items()))
    return state


def _content(cell: CellType) -> Any:
    try:
        return cell.cell_contents
    except ValueError:  # empty until the function around has come so far
        return None


def _names(code: CodeType) -> Iterator[str]:
    """The global names in a function and in those within it, among the names of attributes."""
    yield from code.co_names
    for one in code.co_consts:
        if isinstance(one, CodeType):
            yield from _names(one)
