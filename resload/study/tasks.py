"""What a network learns, by kind: its loss, what is kept of its answers, and the number that is reported.

    binary, multilabel   logits             binary cross-entropy of what is known     area under the ROC curve
    regression           numbers            L1 in standard deviations                 mean absolute error
    segmentation         logits of pixels   cross-entropy and soft Dice               Dice on the film's own pixels

What is kept is one number for each test film and target: a logit, a value in the target's unit, a Dice coefficient.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch.nn import functional

from resload.batch import Batch, masked_bce
from resload.errors import ArgumentError
from resload.statistics import auc
from resload.study.films import Films
from resload.study.settings import Settings

Values = NDArray[np.float32]
"""(n, T)."""


class Task(Protocol):
    """One kind."""

    metric: str
    """Name of what is reported."""
    higher_is_better: bool
    masks: bool
    """Whether batches carry masks."""

    def loss(self, outputs: torch.Tensor, batch: Batch) -> torch.Tensor:
        """A scalar."""

    def kept(self, outputs: torch.Tensor, batch: Batch) -> Values:
        """What is kept of the answers to a batch, (B, T); NaN where there is nothing to compare with."""

    def measured(self, kept: Values, truth: Values) -> list[float]:
        """The metric of each target over films."""


def task_of(settings: Settings, films: Films, targets: tuple[str, ...], truth: "Truth | None") -> Task:
    """The kind that is asked for."""
    if settings.task == "regression":
        columns = [films.targets.index(name) for name in targets]
        values = films.values[films.rows["train"]][:, columns].astype(np.float64)
        mean, std = np.nanmean(values, axis=0), np.nanstd(values, axis=0)
        if not (std > 0).all():
            raise ArgumentError("a target has one value in all training films: there is nothing to learn")
        return Regression(torch.from_numpy(mean.astype(np.float32)), torch.from_numpy(std.astype(np.float32)))
    if settings.task == "segmentation":
        assert truth is not None
        return Segmentation(truth)
    return Classification()


@dataclass(frozen=True)
class Classification:
    """Findings that are there or not."""

    metric = "auc"
    higher_is_better = True
    masks = False

    def loss(self, outputs: torch.Tensor, batch: Batch) -> torch.Tensor:
        """Mean binary cross-entropy of what is known."""
        return masked_bce(outputs, batch)

    def kept(self, outputs: torch.Tensor, batch: Batch) -> Values:
        """Logits."""
        _check_shape(outputs, tuple(batch.targets.shape))
        return outputs.float().cpu().numpy()

    def measured(self, kept: Values, truth: Values) -> list[float]:
        """Areas under ROC curves, over films whose label is known."""
        known = ~np.isnan(truth)
        return [auc(one[own], label[own]) for one, label, own in zip(kept.T, truth.T, known.T, strict=True)]


@dataclass(frozen=True)
class Regression:
    """Numbers, such as a bone age."""

    mean: torch.Tensor
    std: torch.Tensor
    """(T,): of the training films."""
    metric = "mean absolute error"
    higher_is_better = False
    masks = False

    def loss(self, outputs: torch.Tensor, batch: Batch) -> torch.Tensor:
        """Mean absolute error in standard deviations."""
        _check_shape(outputs, tuple(batch.targets.shape))
        mean, std = (part.to(outputs.device) for part in (self.mean, self.std))
        known = (batch.known & batch.valid[:, None]).to(outputs.device)
        wanted = torch.where(known, (batch.targets.to(outputs.device) - mean) / std, 0.0)
        wrong = torch.where(known, (outputs.float() - wanted).abs(), 0.0)
        return wrong.sum() / known.sum().clamp(min=1)

    def kept(self, outputs: torch.Tensor, batch: Batch) -> Values:
        """Values in the target's unit."""
        _check_shape(outputs, tuple(batch.targets.shape))
        return (outputs.float().cpu() * self.std + self.mean).numpy()

    def measured(self, kept: Values, truth: Values) -> list[float]:
        """Mean absolute errors."""
        return [float(one) for one in np.nanmean(np.abs(kept - truth), axis=0)]


Truth = Callable[[int], tuple[NDArray[np.bool_], NDArray[np.bool_]]]
"""Of a row: masks (K, height, width) on the film's own pixels, and which of them are known, (K,)."""


@dataclass(frozen=True)
class Segmentation:
    """Masks, measured where they were drawn: on the film's own pixels, whatever the network's size."""

    truth: Truth
    metric = "dice"
    higher_is_better = True
    masks = True

    def loss(self, outputs: torch.Tensor, batch: Batch) -> torch.Tensor:
        """Cross-entropy of each pixel against its coverage, and one minus the soft Dice coefficient."""
        assert batch.masks is not None
        assert batch.masks_known is not None
        logits = self._sized(outputs, batch).float()
        wanted = batch.masks.to(logits.device).float() / 255
        known = (batch.masks_known & batch.valid[:, None]).to(logits.device)[:, :, None, None].expand_as(wanted)
        pixels = functional.binary_cross_entropy_with_logits(logits, wanted, weight=known.float(), reduction="sum")
        inside = torch.sigmoid(logits) * known
        both, all_of = 2 * (inside * wanted).sum(), inside.sum() + (wanted * known).sum()
        return pixels / known.sum().clamp(min=1) + 1 - (both + 1) / (all_of + 1)

    def kept(self, outputs: torch.Tensor, batch: Batch) -> Values:
        """Dice coefficients of probabilities of at least 1/2; 1 where neither shows anything; NaN where unknown."""
        maps = torch.sigmoid(self._sized(outputs, batch).float())
        found = np.full((len(batch), outputs.shape[1]), np.nan, np.float32)
        for k, one in enumerate(batch.geometry.to_source(maps=maps)):
            if not batch.valid[k]:
                continue
            masks, known = self.truth(int(batch.rows[k]))
            inside = one.numpy() >= 0.5
            both = 2 * (inside & masks).sum(axis=(1, 2))
            all_of = inside.sum(axis=(1, 2)) + masks.sum(axis=(1, 2))
            found[k] = np.where(known, np.where(all_of == 0, 1.0, both / np.maximum(all_of, 1)), np.nan)
        return found

    def measured(self, kept: Values, truth: Values) -> list[float]:
        """Mean Dice coefficients over films."""
        return [float(one) for one in np.nanmean(kept, axis=0)]

    def _sized(self, outputs: torch.Tensor, batch: Batch) -> torch.Tensor:
        """Logits at the size of the batch."""
        assert batch.masks is not None
        if outputs.ndim != 4 or outputs.shape[:2] != batch.masks.shape[:2]:
            raise ArgumentError(
                f"a network of segmentation must answer with logits ({', '.join(map(str, batch.masks.shape[:2]))}, "
                f"h, w); found {tuple(outputs.shape)}"
            )
        if outputs.shape[2:] == batch.masks.shape[2:]:
            return outputs
        return functional.interpolate(outputs, batch.masks.shape[2:], mode="bilinear", align_corners=False)


KINDS: dict[str, type[Classification] | type[Regression] | type[Segmentation]] = {
    "binary": Classification,
    "multilabel": Classification,
    "regression": Regression,
    "segmentation": Segmentation,
}
"""`Settings.task` -> the kind."""


def _check_shape(outputs: torch.Tensor, wanted: tuple[int, ...]) -> None:
    if tuple(outputs.shape) != wanted:
        raise ArgumentError(f"a network must answer with one number for each film and target, {wanted}; found "
                            f"{tuple(outputs.shape)}")  # fmt: skip
