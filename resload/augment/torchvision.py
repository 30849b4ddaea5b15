"""Image, masks and boxes through torchvision v2, seeded by the sample's draw.

    image   tv_tensors.Image (1, H, W), float32 on [0, 1] or uint8
    masks   tv_tensors.Mask (K, H, W) uint8 coverage
    boxes   tv_tensors.BoundingBoxes (n, 4), XYXY; labels beside them

torchvision draws from torch's global generator: here its calls draw from the sample's (`redirected`).
"""

import importlib
from typing import Any

import torch

from resload.augment import aliasing
from resload.augment.adapters import Asked, checked_dtype, given_dtype
from resload.augment.redirected import drawing_from
from resload.augment.sample import Sample
from resload.augment.saying import check_image
from resload.augment.trees import leaves, named
from resload.errors import ArgumentError


class TorchVision:
    """A transform of torchvision.transforms.v2 as a loader's `transform=`. Thread-safe where the transform is.

    It is called with a dict of image, masks, boxes and labels, as far as they are asked for; `normalize=` and
    `channels=` of the loader come after it. Boxes are clipped to the image afterwards, and dropped where nothing is
    left; landmarks and other targets are left alone.

    Args:
        transform: a v2 transform. torchvision's own keep no state between calls; one of yours must not either.
        dtype: of the images it is given: "float32" on [0, 1]; "uint8" as stored, for caches of 8 bits; "auto": uint8
            for these, float32 for deeper ones.
    """

    def __init__(self, transform: Any, *, dtype: str = "float32") -> None:
        self.transform, self.dtype = transform, checked_dtype(dtype)

    def takes(self, asked: Asked) -> torch.dtype:
        """Of images: uint8 or float32. See `Adapter.takes`.

        Raises ArgumentError for a resize, and for SanitizeBoundingBoxes beside masks. Warns of shrinking that aliases.
        """
        aliasing.checked(self.transform, asked.sizes, aliasing.TORCHVISION)
        if asked.masks and any(named(leaf, "SanitizeBoundingBoxes") for leaf in leaves(self.transform)):
            raise ArgumentError(
                "transform= has SanitizeBoundingBoxes, which takes masks for those of single boxes: leave it out; "
                "boxes are clipped afterwards, and those of no area dropped"
            )
        return given_dtype(self.dtype, asked.stored)

    def __call__(self, sample: Sample) -> None:
        """Change a sample as the transform does. Raises ArgumentError for an image of another shape or dtype."""
        with drawing_from(sample.torch_generator):
            found = self.transform(_as_given(sample))
        image = _plain(found["image"])
        check_image(image, sample, "the torchvision transform", "v2.RandomResizedCrop(size={})")
        sample.image = image
        if "masks" in found:
            sample.masks = _plain(found["masks"])
        if "boxes" in found:
            sample.boxes, sample.box_labels = _clipped(found["boxes"], found["labels"], sample)


def _as_given(sample: Sample) -> dict[str, Any]:
    """A sample as torchvision has them."""
    kinds: Any = importlib.import_module("torchvision.tv_tensors")
    given = {"image": kinds.Image(sample.image)}
    if sample.masks is not None and len(sample.masks):
        given["masks"] = kinds.Mask(sample.masks)
    if sample.boxes is not None:
        given["boxes"] = kinds.BoundingBoxes(sample.boxes, format="XYXY", canvas_size=tuple(sample.size))
        given["labels"] = sample.box_labels
    return given


def _plain(found: torch.Tensor) -> torch.Tensor:
    return found.as_subclass(torch.Tensor)


def _clipped(boxes: Any, labels: torch.Tensor, sample: Sample) -> tuple[torch.Tensor, torch.Tensor]:
    """Boxes that are left in the image, and their labels."""
    if getattr(boxes.format, "value", boxes.format) != "XYXY":
        raise ArgumentError(f"the torchvision transform left boxes as {boxes.format}, for {sample}: leave them XYXY")
    height, width = sample.size
    seen = _plain(boxes).clamp(min=0).minimum(torch.tensor([width, height, width, height], dtype=boxes.dtype))
    kept = (seen[:, 2:] > seen[:, :2]).all(dim=1)
    return seen[kept], labels[kept]
