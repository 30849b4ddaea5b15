"""torch's random functions draw from a sample's generator, on one thread, while a transform runs.

torchvision draws from torch's global generator. All threads share it, and so does the caller's model: seeding it would
make each disturb the others. A torch dispatch mode holds for one thread alone, and sees every operation that torch
comes down to, whichever function it was called by:

    takes a generator     aten.uniform_, normal_, bernoulli_, multinomial     given the sample's
    has a form that does  aten.rand, randint, randperm                        called in that form
    has none              aten.native_dropout                                 refused, with the remedy

(A torch function mode would not do: it is not in force inside functions such as nn.init.uniform_ that it has seen.)
What a library draws from numpy's or random's global generators is out of its reach.
"""

from functools import cache
from typing import Any

import torch
from torch.utils._python_dispatch import TorchDispatchMode

from resload.errors import ArgumentError

_CHANCES = ("dropout_p", "dropout", "p")
"""Arguments of operations that draw nothing where they are 0."""


class drawing_from(TorchDispatchMode):  # type: ignore[no-untyped-call]  # noqa: N801  # used as torch.no_grad is
    """`with drawing_from(generator): ...`: torch's random functions of this thread draw from it.

    generator: one on the CPU. Calls that name a generator of their own keep it. Raises ArgumentError for a random
    operation that cannot be told which generator to draw from. Of this thread alone; torch's global generator is
    neither read nor changed.
    """

    def __init__(self, generator: torch.Generator) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self._generator = generator

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        """As torch asks."""
        kwargs = kwargs or {}
        form = _form(func)
        if form is func or kwargs.get("generator") is not None or (form is None and not _draws(func, args, kwargs)):
            return func(*args, **kwargs)
        if form is None:
            raise ArgumentError(
                f"transform= draws by {func}, which takes no generator: images would differ from run to run. Draw with "
                "torch.rand or torch.bernoulli instead, or put it into the model or batch_transform="
            )
        return form(*args, **{**kwargs, "generator": self._generator})


@cache
def _form(func: Any) -> Any:
    """What to call instead of an operation, with generator=; itself where it draws nothing; None where none will do."""
    named = _names(func)
    if "generator" in named:
        return _given(func)
    if torch.Tag.nondeterministic_seeded not in func.tags:
        return func
    packet = func.overloadpacket
    for overload in packet.overloads():
        other = getattr(packet, overload)
        if _names(other) == {*named, "generator"}:
            return other
    return _REMADE.get(packet)


def _given(func: Any) -> Any:
    """An operation that has a generator among its arguments; a form of its own, since `_form` compares."""

    def call(*args: Any, **kwargs: Any) -> Any:
        return func(*args, **kwargs)

    return call


def _names(func: Any) -> set[str]:
    return {argument.name for argument in func._schema.arguments}


def _draws(func: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> bool:
    """Whether a call draws: a dropout of nothing, or one that is not training, does not."""
    asked = func._schema.arguments
    values = {one.name: one.default_value for one in asked} | {
        one.name: arg for one, arg in zip(asked, args, strict=False)
    }
    values |= kwargs
    chance = next((values[name] for name in _CHANCES if name in values), None)
    return chance not in (0, 0.0) and values.get("train", values.get("training")) is not False


# -- where this version of torch has no form that takes a generator ---------------------------------------


def _rand_like(like: torch.Tensor, *, generator: torch.Generator, **options: Any) -> torch.Tensor:
    return torch.empty_like(like, **options).uniform_(generator=generator)


def _randn_like(like: torch.Tensor, *, generator: torch.Generator, **options: Any) -> torch.Tensor:
    return torch.empty_like(like, **options).normal_(generator=generator)


def _randint_like(like: torch.Tensor, *bounds: int, generator: torch.Generator, **options: Any) -> torch.Tensor:
    low, high = (0, *bounds)[-2:]
    found = torch.empty_like(like, **options)
    return found.copy_(torch.randint(low, high, like.shape, generator=generator))


_REMADE = {
    torch.ops.aten.rand_like: _rand_like,
    torch.ops.aten.randn_like: _randn_like,
    torch.ops.aten.randint_like: _randint_like,
}
