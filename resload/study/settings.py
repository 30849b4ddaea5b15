"""What a study is asked for: the grid, and how each of its networks is trained."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch

from resload.batch import Batch
from resload.errors import ArgumentError
from resload.geometry import Fit
from resload.size import Size, SizeLike, as_size

TASKS = ("binary", "multilabel", "regression", "segmentation")
BATCHES = ("fixed", "pixels", "steps")
LR_RULES = ("constant", "sqrt", "linear")
SCHEDULES = ("cosine", "constant")
PRECISIONS: dict[str, torch.dtype | None] = {
    "float32": None,
    "bfloat16": torch.bfloat16,
    "float16": torch.float16,
}

Factory = Callable[..., torch.nn.Module]
TrainStep = Callable[[torch.nn.Module, Batch], torch.Tensor]
Predict = Callable[[torch.nn.Module, Batch], torch.Tensor]


@dataclass(frozen=True, kw_only=True)
class Settings:
    """What a study is asked for. Raises ArgumentError for what cannot be."""

    # -- the grid --

    sizes: Sequence[SizeLike]
    """At which networks are trained, and tested too unless `test_sizes` says otherwise."""
    targets: Sequence[str] = ()
    """Columns to learn; all of the data's when empty. In segmentation the labels of its masks."""
    seeds: int | Sequence[int] = 3
    """How many, or which: of a network's first weights and of its films' order. At least two are needed to see how much
    they matter, and three are what the field's reviewers ask for."""
    models: Mapping[str, Factory] | str | Factory = "small"
    """Name -> factory; or one factory; or the name of a network (see `models.named`)."""
    kernels: Sequence[str] = ()
    """Of the resize: one recipe for each kernel and fit. Empty: that of the cache, or "triangle"."""
    fits: Sequence[str | Fit] = ()
    """"stretch", "pad", "crop", or `geometry.Pad(align="top")` and such. Empty: that of the cache, or "stretch"."""
    test_sizes: Sequence[SizeLike] = ()
    """Test every network at all of these, whatever size it was trained at (Touvron et al. 2019, arXiv 1906.06423)."""
    control: bool = False
    """The control arm too: networks of the largest size whose films were shrunk to each smaller one before. They cost
    what the largest size costs, and see what the smaller one shows: what is left of a difference is detail's."""

    # -- how networks are trained --

    task: str = "binary"
    """"binary": a network for each target (as Sabottke & Spieler, Radiology: AI 2020;2(1):e190015); "multilabel": one
    for all; "regression": one for all, standardised by the training films; "segmentation": one for all masks."""
    epochs: int = 10
    """Between two of them a network is validated; the best one is tested."""
    batch_size: int = 32
    """Films of a step; with batches="pixels" or "steps", at the size `at`."""
    batches: str = "fixed"
    """"fixed": so many films at every size. "pixels": so many pixels at every size, that is more films of smaller ones,
    as memory allows, and as many fewer steps. "steps": so many pixels, and the steps that "fixed" takes."""
    at: SizeLike | None = None
    """The size at which `batch_size` and `lr` are meant; the largest when None."""
    lr: float = 1e-3
    lr_rule: str = "constant"
    """How the learning rate follows the number of films of a step: "constant", "sqrt", "linear"."""
    schedule: str = "cosine"
    """"cosine": up over the first tenth of all steps, and down to 0 by half a cosine; "constant"."""
    weight_decay: float = 1e-2
    optimizer: Callable[..., torch.optim.Optimizer] = torch.optim.AdamW
    """Called with the network's parameters, `lr=` and `weight_decay=`."""
    precision: str = "float32"
    """"bfloat16" or "float16" train and predict under autocast; float16 with a scaled loss."""
    balanced: bool = False
    """With task="binary": as many films with the finding as without it, in expectation (`samplers.Balanced`)."""
    channels: int = 1
    """Copies of the gray image."""
    normalize: SizeLike | None = None
    """The stored size whose mean and standard deviation over the training films normalise every size, so that a
    network's input means the same at each; the largest when None."""
    transform: Any = None
    """Of training films: see `Loader(transform=)`."""
    columns: Sequence[str] = ()
    """Of the table, for `train_step` and `predict`: see `Batch.columns`."""
    train_step: TrainStep | None = None
    """(network, batch) -> loss, a scalar to be minimised; the task's own when None."""
    predict: Predict | None = None
    """(network, batch) -> outputs: logits (B, T), of regression values (B, T) in standard deviations from the mean, of
    segmentation logits (B, K, h, w). `network(batch.images)` when None."""
    any_size: bool = False
    """Also sizes that the cache does not store, made from those that it does (see `Cache.serving`)."""

    # -- how sizes are compared: set before the first network is trained --

    reference: SizeLike | None = None
    """The size that others are compared with; the largest when None. Never the best: that is known afterwards."""
    margin: float | None = None
    """How much worse than the reference is as good: 0.01 of an AUC or a Dice coefficient when None; of a regression in
    the target's unit, where it must be given."""
    repeats: int = 2000
    """Resamples of patients that intervals are made of."""

    # -- where it runs --

    device: str | torch.device = "cpu"
    threads: int | None = None
    resident: bool = False
    """Keep pixels in the device's memory: see `Loader(resident=)`."""

    def __post_init__(self) -> None:
        if not self.sizes:
            raise ArgumentError("sizes= needs at least one size, for example sizes=(64, 128, 256); found none")
        _one_of("task", self.task, TASKS)
        _one_of("batches", self.batches, BATCHES)
        _one_of("lr_rule", self.lr_rule, LR_RULES)
        _one_of("schedule", self.schedule, SCHEDULES)
        _one_of("precision", self.precision, tuple(PRECISIONS))
        for name in ("epochs", "batch_size", "channels", "repeats"):
            _positive(name, getattr(self, name), whole=True)
        _positive("lr", self.lr)
        if self.margin is not None:
            _positive("margin", self.margin)
        if self.margin is None and self.task == "regression":
            raise ArgumentError(
                "margin= has the unit of the target where a number is learnt: give it (margin=0.5, --margin 0.5)"
            )
        if self.balanced and self.task != "binary":
            raise ArgumentError(f'balanced=True is for task="binary", one target to a network; found {self.task!r}')
        if not self.seed_numbers:
            raise ArgumentError("seeds= needs at least one; found none")

    @property
    def ladder(self) -> tuple[Size, ...]:
        """The sizes, ascending, each once."""
        return tuple(sorted({as_size(size) for size in self.sizes}, key=_area))

    @property
    def seed_numbers(self) -> tuple[int, ...]:
        """The seeds, each once."""
        if isinstance(self.seeds, int):
            return tuple(range(self.seeds))
        return tuple(dict.fromkeys(int(seed) for seed in self.seeds))

    @property
    def largest(self) -> Size:
        """The last of the ladder."""
        return self.ladder[-1]

    @property
    def compared_with(self) -> Size:
        """The reference. Raises ArgumentError where it is none of the sizes."""
        found = self.largest if self.reference is None else as_size(self.reference)
        if found not in self.ladder:
            raise ArgumentError(f"reference={found} is none of the sizes: {', '.join(map(str, self.ladder))}")
        return found

    @property
    def allowed(self) -> float:
        """The margin."""
        return 0.01 if self.margin is None else self.margin


def _area(size: Size) -> tuple[int, Size]:
    return size.height * size.width, size


def _one_of(name: str, value: str, names: Sequence[str]) -> None:
    if value not in names:
        raise ArgumentError(f"{name} must be one of {', '.join(names)}; found {value!r}")


def _positive(name: str, value: float, *, whole: bool = False) -> None:
    if isinstance(value, bool) or not value > 0 or (whole and int(value) != value):
        raise ArgumentError(f"{name} must be {'a whole number' if whole else 'a number'} above 0; found {value!r}")
