"""What the model gets, and the loss that respects what is not known."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, fields, replace
from typing import TYPE_CHECKING, Any, Self

import torch

from resload.errors import ArgumentError
from resload.geometry import Geometry
from resload.size import Size


class _Asked:
    """Fields that are worked out when they are asked for, by `_told(name)`: most loops never ask for most of them."""

    __slots__ = ("_told",)
    _told: Callable[[str], Any]

    @classmethod
    def made(cls, told: Callable[[str], Any], **fields: Any) -> Self:
        """One with these fields, every other left to `told`."""
        found = cls.__new__(cls)
        found._told = told
        for name, value in fields.items():
            setattr(found, name, value)
        return found

    if not TYPE_CHECKING:  # which would take every misspelt name for a field

        def __getattr__(self, name: str) -> Any:
            """Of a field that nobody asked for yet; it stays."""
            if name not in type(self).__dataclass_fields__ or not hasattr(self, "_told"):
                raise AttributeError(f"{type(self).__name__!r} object has no attribute {name!r}")
            value = self._told(name)
            setattr(self, name, value)
            return value

    def __getstate__(self) -> dict[str, Any]:
        return {name: getattr(self, name) for name in type(self).__dataclass_fields__}  # type: ignore[attr-defined]  # of the dataclass below

    def __setstate__(self, state: dict[str, Any]) -> None:
        for name, value in state.items():
            setattr(self, name, value)


@dataclass(slots=True, eq=False)
class Batch(_Asked):
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
    expected_rmse: float
    """How far from the direct resize of the films the stored pixels are expected to be: root of the mean square, in
    1/255 of the range; 0 for a stored size and for pixels made from the files. See `Cache.serving`."""
    spacing: torch.Tensor
    """(B, 2) float32: mm per pixel at this size, (y, x); NaN where unknown."""
    content: torch.Tensor
    """(B, 4) float32: the part that is image, (y, x, height, width) in pixels at this size."""
    valid: torch.Tensor
    """(B,) bool: False for padding: a place without a film, because an exam lacks the view or an evaluation's last step
    has none left for this process. Its image and masks are zeros, its row -1, its id "", everything else unknown."""
    draws: torch.Tensor
    """(B,) int64: each image's augmentation seed."""
    columns: dict[str, list[Any]]
    """The further columns that were asked for, by name."""
    geometry: Geometry
    """Where each film lies in its image: takes points, boxes and maps to the films' own pixels and back."""
    n_global: int = 0
    """Images of this step over all processes together, padding left out: with `n_ref`, what a hook may scale a learning
    rate by, for example linearly, `lr * n_global / n_ref`. resload never touches one."""
    n_ref: int = 0
    """Images of a step that the sampler's budget is stated in: what the learning rate is set for."""
    progress: float = 0.0
    """Epochs of training before this batch, a fraction: 2.5 is the middle of the third."""
    scales: dict[Size, torch.Tensor] = field(default_factory=dict)
    """Every size that was asked for at once, `images` among them (the same tensor); empty when it was one. The films'
    own sizes are `scales["native"]`."""
    boxes: list[torch.Tensor] | None = None
    """With `boxes=`: for each image float32 (n, 4), (x1, y1, x2, y2) in pixels at this size, clipped to the part of the
    image that is film; else None."""
    box_labels: list[torch.Tensor] | None = None
    """With `boxes=`: for each image int64 (n,), places in `Loader.box_names`; else None."""
    masks: torch.Tensor | None = None
    """With `masks=`: (B, K, H, W), by the order of `Loader.mask_names`: uint8 coverage 0 to 255, or bool where a
    threshold was given. Zero where `masks_known` is False; None when they were not asked for."""
    masks_known: torch.Tensor | None = None
    """With `masks=`: (B, K) bool: whether anybody looked for this finding on this film."""
    group: list[Any] | None = None
    """The exam of each image, as the table has it (a cache has plain numbers unless asked otherwise); None where the
    table has no column `group`."""
    slot: list[Any] | None = None
    """Which view of its exam each image is, such as "L-CC"; None where the table has no column `slot`."""

    def __len__(self) -> int:
        return len(self.images)

    def __iter__(self) -> Iterator[torch.Tensor]:
        yield self.images
        yield self.targets

    def to(self, device: torch.device | str, *, non_blocking: bool = False) -> "Batch":
        """The same batch with every tensor on a device; tensors that are there already are shared, not copied."""

        def there(value: Any) -> Any:
            return moved(value, device, non_blocking=non_blocking)

        found = {one.name: there(getattr(self, one.name)) for one in fields(self)}
        scales = {
            size: found["images"] if images is self.images else there(images) for size, images in self.scales.items()
        }
        return replace(self, **found | {"scales": scales})

    def detection_targets(self) -> list[dict[str, torch.Tensor]]:
        """Boxes as torchvision's detectors take them: one {"boxes": (n, 4) float32, "labels": (n,) int64} per image.

        Labels are places in `Loader.box_names` plus 1, since detectors keep 0 for the background. Raises ArgumentError
        when the loader was not asked for boxes.
        """
        if self.boxes is None or self.box_labels is None:
            raise ArgumentError("this batch has no boxes; ask for them: Loader(..., boxes=True)")
        return [
            {"boxes": boxes, "labels": labels + 1} for boxes, labels in zip(self.boxes, self.box_labels, strict=True)
        ]


def moved(value: Any, device: torch.device | str, *, non_blocking: bool = False) -> Any:
    """A field of a batch with its tensors on a device; the same object where it holds none."""
    return with_tensors(value, lambda tensor: tensor.to(device, non_blocking=non_blocking))


def with_tensors(value: Any, change: Callable[[torch.Tensor], torch.Tensor]) -> Any:
    """A field of a batch with its tensors changed; the same object where it holds none."""
    if isinstance(value, torch.Tensor):
        return change(value)
    if isinstance(value, list) and value and isinstance(value[0], torch.Tensor):
        return [change(one) for one in value]
    return value


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
