"""Which networks a study trains, and how long: pure functions of the settings.

Curve   what is held equal along a line of the figure: network, kernel, fit, and whether it is the control arm
Arm     a point of it: a curve, the size that is served, the size whose detail is shown
Run     one network of an arm: its targets and its seed
Budget  its films of a step, learning rate and steps
"""

import hashlib
import json
import math
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from typing import Any

from resload.errors import ArgumentError
from resload.size import Size, as_size
from resload.study.settings import Settings


@dataclass(frozen=True)
class Curve:
    """A line of the figure."""

    model: str
    kernel: str
    fit: str
    control: bool
    """Whether films were shrunk and enlarged again to the largest size."""


@dataclass(frozen=True)
class Arm:
    """A point of a curve."""

    curve: Curve
    size: Size
    """Of the images that the network is trained on."""
    shows: Size
    """Whose detail they hold: the same size, or a smaller one in the control arm."""

    @property
    def detail(self) -> Size | None:
        """`Loader(detail=)`."""
        return self.shows if self.curve.control else None


@dataclass(frozen=True)
class Budget:
    """How long a network is trained."""

    batch_size: int
    lr: float
    epochs: int
    steps: int
    """Of an epoch."""


@dataclass(frozen=True)
class Run:
    """One network."""

    arm: Arm
    targets: tuple[str, ...]
    seed: int

    def name(self, common: Mapping[str, Any]) -> str:
        """16 hex digits of all that its weights depend on: the run, and what all runs of the study have in common."""
        words = json.dumps([_plain(asdict(self)), dict(common)], sort_keys=True)
        return hashlib.sha256(words.encode()).hexdigest()[:16]

    def __str__(self) -> str:
        curve = self.arm.curve
        shows = f" from {self.arm.shows}" if curve.control else ""
        what = self.targets[0] if len(self.targets) == 1 else f"{len(self.targets)} targets"
        return f"{what}, {curve.model} at {self.arm.size}{shows}, seed {self.seed}"


def curves(settings: Settings, models: Mapping[str, Any]) -> list[Curve]:
    """The lines of the figure; `kernels` and `fits` of the settings are those of the data where none was named."""
    arms = (False, True) if settings.control else (False,)
    return [
        Curve(model, kernel, fit, control)
        for model in models
        for kernel in settings.kernels
        for fit in map(str, settings.fits)  # words, once `films.resolved`
        for control in arms
    ]


def arms(settings: Settings, curve: Curve) -> list[Arm]:
    """Its points, ascending. The control arm ends where the other begins: at the largest size, trained once."""
    if not curve.control:
        return [Arm(curve, size, size) for size in settings.ladder]
    served = settings.largest
    smaller = [size for size in settings.ladder if size != served]
    if larger := [size for size in smaller if size.height > served.height or size.width > served.width]:
        raise ArgumentError(f"control=True enlarges each size to {served}, into which {larger[0]} does not fit")
    return [Arm(curve, served, size) for size in smaller]


def runs(settings: Settings, models: Mapping[str, Any]) -> Iterator[Run]:
    """Every network: all of the first seed come first, so that a whole curve is there early."""
    apart = settings.task == "binary"
    together = [(target,) for target in settings.targets] if apart else [tuple(settings.targets)]
    for seed in settings.seed_numbers:
        for curve in curves(settings, models):
            for targets in together:
                for arm in arms(settings, curve):
                    yield Run(arm, targets, seed)


def budget(settings: Settings, size: Size, films: int) -> Budget:
    """How long a network of this size is trained on so many films.

    Raises ArgumentError where there are fewer films than one step takes at the size that the batch is meant at.
    """
    meant = settings.largest if settings.at is None else as_size(settings.at)
    if films < settings.batch_size:
        raise ArgumentError(f"batch_size={settings.batch_size} is more than the {films} training films; give less")
    share = 1.0 if settings.batches == "fixed" else meant.height * meant.width / (size.height * size.width)
    batch = min(films, max(1, round(settings.batch_size * share)))
    power = {"constant": 0.0, "sqrt": 0.5, "linear": 1.0}[settings.lr_rule]
    lr = settings.lr * (batch / settings.batch_size) ** power
    steps = films // (settings.batch_size if settings.batches == "steps" else batch)
    return Budget(batch, lr, settings.epochs, steps)


def rate(schedule: str, lr: float, step: int, steps: int) -> float:
    """The learning rate of a step of so many."""
    if schedule == "constant":
        return lr
    rise = max(1, steps // 10)
    if step < rise:
        return lr * (step + 1) / rise
    return lr * 0.5 * (1 + math.cos(math.pi * (step - rise) / max(1, steps - rise)))


def _plain(value: Any) -> Any:
    if isinstance(value, Size):
        return str(value)
    if isinstance(value, dict):
        return {name: _plain(part) for name, part in value.items()}
    return [_plain(part) for part in value] if isinstance(value, list | tuple) else value
