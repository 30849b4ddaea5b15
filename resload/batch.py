"""What the model gets, and the loss that respects what is not known."""

from collections.abc import Iterator
from dataclasses import dataclass, fields, replace
from typing import Any

import torch

from resload.errors import ArgumentError
from resload.size import Size


@dataclass(slots=True, eq=False)
class Batch:
    """One batch. Unpacks as `images, targets = batch`. Owns its memory: keeping it keeps it unchanged."""

    images: torch.Tensor
    """(B, C, H, W). Floats: stored value / dtype maximum, in [0, 1], then normalised. Integers: as stored."""
    targets: torch.Tensor
    """(B, T) float32; NaN where unknown."""
    known: torch.Tensor
    """(B, T) bool: False where the target is NaN."""
    rows: torch.Tensor
    """(B,) int64: rows of the reader (the cache or catalog the loader was given)."""
    ids: list[str]
    """What people call these radiographs."""
    size: Size
    """(height, width) of the images."""
    level: Size | None
    """The stored level that served them; None when they came from the files."""
    spacing: torch.Tensor
    """(B, 2) float32: mm per pixel at this size, (y, x); NaN where unknown."""
    content: torch.Tensor
    """(B, 4) float32: the part that is image, (y, x, height, width) in pixels at this size."""
    valid: torch.Tensor
    """(B,) bool: False for padding of an evaluation's last batch."""
    draws: torch.Tensor
    """(B,) int64: each image's augmentation seed."""
    columns: dict[str, list[Any]]
    """The further columns that were asked for, by name."""

    def __len__(self) -> int:
        return len(self.images)

    def __iter__(self) -> Iterator[torch.Tensor]:
        yield self.images
        yield self.targets

    def to(self, device: torch.device | str, *, non_blocking: bool = False) -> "Batch":
        """The same batch with every tensor on a device; tensors that are there already are shared, not copied."""
        moved: dict[str, Any] = {
            field.name: value.to(device, non_blocking=non_blocking)
            for field in fields(self)
            if isinstance(value := getattr(self, field.name), torch.Tensor)
        }
        return replace(self, **moved)


def masked_bce(outputs: torch.Tensor, batch: Batch) -> torch.Tensor:
    """Mean binary cross-entropy over the targets that are known; unknown ones (NaN) neither count nor pull.

    outputs: logits (B, T). Returns a float32 scalar; 0 (with a gradient of 0) when nothing is known. Padding
    (`valid` False) does not count.

    Raises ArgumentError when the shapes differ.
    """
    if outputs.shape != batch.targets.shape:
        raise ArgumentError(
            f"outputs must be logits of shape {tuple(batch.targets.shape)}; found {tuple(outputs.shape)}"
        )
    counted = (batch.known & batch.valid[:, None]).to(outputs.device)
    targets = torch.where(counted, batch.targets.to(outputs.device), 0.0)
    losses = torch.nn.functional.binary_cross_entropy_with_logits(outputs.float(), targets, reduction="none")
    total = torch.where(counted, losses, 0.0).sum()
    return total / counted.sum().clamp(min=1)
