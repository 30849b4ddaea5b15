"""torch's random functions draw from a sample's generator, on one thread, while a transform runs.

torchvision draws from torch's global generator. All threads share it, and so does the caller's model: seeding it would
make each disturb the others. A torch function mode holds for one thread alone, and sees each call of a torch function:

    takes generator=       torch.rand(2), tensor.uniform_()             given the sample's
    takes none             torch.rand_like(x)                           made by the one that does, of the same shape
    draws by other ways    dropout, torch.distributions of a gamma      refused, with the remedy

What a library draws from numpy's or random's global generators is out of its reach.
"""

from collections.abc import Callable
from typing import Any

import torch
from torch.nn import functional
from torch.overrides import TorchFunctionMode

from resload.errors import ArgumentError

_GIVEN = ("rand", "randn", "randint", "randperm", "normal", "bernoulli", "multinomial", "poisson", "binomial")
"""Functions of torch that take a generator; of tensors, too, where they are methods."""
_IN_PLACE = (
    "uniform_", "normal_", "bernoulli_", "exponential_", "random_", "geometric_", "cauchy_", "log_normal_",
    "bernoulli", "multinomial",
)  # fmt: skip
_REFUSED_TORCH = (
    "dropout", "dropout_", "alpha_dropout", "alpha_dropout_", "feature_dropout", "feature_dropout_", "native_dropout",
    "feature_alpha_dropout", "feature_alpha_dropout_", "rrelu", "rrelu_", "_sample_dirichlet", "_standard_gamma",
    "_fused_dropout",
)  # fmt: skip
_REFUSED_FUNCTIONAL = (
    "dropout", "alpha_dropout", "dropout1d", "dropout2d", "dropout3d", "feature_alpha_dropout", "rrelu",
)  # fmt: skip


def _named(owner: Any, names: tuple[str, ...]) -> set[Any]:
    """Those of the names that this version of torch has."""
    return {getattr(owner, name) for name in names if hasattr(owner, name)}


GIVEN = _named(torch, _GIVEN) | _named(torch.Tensor, _IN_PLACE)
REFUSED = _named(torch, _REFUSED_TORCH) | _named(functional, _REFUSED_FUNCTIONAL)


def _rand_like(generator: torch.Generator, like: torch.Tensor, **options: Any) -> torch.Tensor:
    return torch.empty_like(like, **options).uniform_(generator=generator)


def _randn_like(generator: torch.Generator, like: torch.Tensor, **options: Any) -> torch.Tensor:
    return torch.empty_like(like, **options).normal_(generator=generator)


def _randint_like(
    generator: torch.Generator, like: torch.Tensor, *bounds: int, low: int = 0, high: int | None = None, **options: Any
) -> torch.Tensor:
    if bounds and high is None:
        low, high = (low, *bounds)[-2:]
    elif bounds:
        (low,) = bounds
    found = torch.empty_like(like, **options)
    return found.copy_(torch.randint(low, high or 0, like.shape, generator=generator))


REMADE: dict[Any, Callable[..., torch.Tensor]] = {
    torch.rand_like: _rand_like,
    torch.randn_like: _randn_like,
    torch.randint_like: _randint_like,
}


class drawing_from(TorchFunctionMode):  # noqa: N801  # used as torch.no_grad is
    """`with drawing_from(generator): ...`: torch's random functions of this thread draw from it.

    generator: one on the CPU. Calls that name a generator of their own keep it. Raises ArgumentError for a random
    function that cannot be told which generator to draw from. Of this thread alone; torch's global generator is
    neither read nor changed.
    """

    def __init__(self, generator: torch.Generator) -> None:
        super().__init__()
        self._generator = generator

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        """As torch asks."""
        kwargs = dict(kwargs or {})
        if kwargs.get("generator") is None:
            if func in GIVEN:
                return func(*args, **{**kwargs, "generator": self._generator})
            if func in REMADE:
                kwargs.pop("generator", None)
                return REMADE[func](self._generator, *args, **kwargs)
        if func in REFUSED and _draws(args, kwargs):
            raise ArgumentError(
                f"transform= draws by torch.{func.__name__}, which takes no generator: images would differ from run to "
                "run. Draw with torch.rand or bernoulli instead, or put it into the model or batch_transform="
            )
        return func(*args, **kwargs)


def _draws(args: tuple[Any, ...], kwargs: dict[str, Any]) -> bool:
    """A dropout that is not training, as its third argument or by name, draws nothing."""
    return kwargs.get("training", kwargs.get("train", args[2] if len(args) > 2 else True)) is not False
