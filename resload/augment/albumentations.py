"""Image, masks, boxes and landmarks through a composition of albumentations 2.0.8, seeded by the sample's draw.

    image      (H, W), float32 on [0, 1] or uint8       the two kinds of numbers it officially takes
    masks      (K, H, W) uint8 coverage                 by the composition's `mask_interpolation`
    bboxes     its own format, (n, 4) on [0, 1]          whatever `bbox_params` says: ours are converted, not theirs
    keypoints  "xy", centres of pixels at whole numbers  half a pixel from ours

A composition holds its generators, and parameters of the last call, so each thread has a copy of its own. All its
transforms draw from the sample's two generators (`set_random_state`). Its `set_random_seed` would give each transform a
generator with one and the same seed: two flips would then always agree.
"""

import copy
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from resload.augment import aliasing, landmarks
from resload.augment.adapters import Asked, OfEachThread, checked_dtype, given_dtype
from resload.augment.sample import Sample
from resload.augment.saying import check_image, warn
from resload.augment.trees import leaves, named
from resload.errors import ArgumentError, require

EIGHT_BIT = (
    "AutoContrast", "CLAHE", "Downscale", "Equalize", "HueSaturationValue", "ImageCompression", "MedianBlur",
    "Posterize", "RandomShadow", "RandomToneCurve", "Superpixels",
)  # fmt: skip
"""Transforms that go through 8 bits inside and give float32 back (decorated `uint8_io` in version 2.0.8; seen: 256 gray
levels left of 65,536). Those for three channels alone are not named: they refuse a radiograph."""
_LEAST_AREA = 1e-3
"""Of a box, in pixels: less is nothing, and makes the library's own checks raise."""
_BOX_PARAMS = 'bbox_params=A.BboxParams("pascal_voc", label_fields=["box_labels"])'
_POINT_PARAMS = 'keypoint_params=A.KeypointParams("xy")'


class Albumentations:
    """A composition or transform of albumentations 2.x as a loader's `transform=`. Thread-safe.

    The composition sees one gray image (H, W), not normalised, and with it masks, boxes and landmarks as far as they
    are asked for; `normalize=` and `channels=` of the loader come after it. It is never called itself, copies are.

    Args:
        compose: the composition. Boxes need its `bbox_params` (any format), landmarks its `keypoint_params`.
        dtype: of the images it is given. "uint8": as stored, for caches of 8 bits. "float32": on [0, 1]. "auto": uint8
            for caches of 8 bits, float32 for deeper ones. uint8 for deeper ones would lose depth and is refused.
        keypoints: pairs of targets that are a landmark, (x, y) in pixels of the film: `[("carina_x", "carina_y")]`.
            They are moved with the image, and in the batch in pixels of its image, NaN where the image does not show
            them. Other targets are left alone.

    Raises ArgumentError for wrong arguments.
    """

    def __init__(self, compose: Any, *, dtype: str = "auto", keypoints: Sequence[tuple[str, str]] = ()) -> None:
        self.compose, self.dtype = compose, checked_dtype(dtype)
        self.keypoints = landmarks.as_pairs(keypoints)
        self._copies = OfEachThread(_ready(compose))

    # -- once --

    def takes(self, asked: Asked) -> torch.dtype:
        """Of images: uint8 or float32. See `Adapter.takes`.

        Raises ArgumentError for a resize, for boxes or landmarks that the composition does not move, and for uint8 of
        deeper data. Warns of shrinking that aliases, and of transforms that lose depth.
        """
        aliasing.checked(self.compose, asked.sizes, aliasing.ALBUMENTATIONS)
        self._check_moved(asked)
        landmarks.check_pairs(self.keypoints, asked.targets)
        given = given_dtype(self.dtype, asked.stored)
        if asked.stored != np.uint8:
            self._warn_of_depth()
        return given

    def _check_moved(self, asked: Asked) -> None:
        processors = self._copies.original.processors
        moving = next((leaf for leaf in leaves(self.compose) if named(leaf, "DualTransform")), None)
        if asked.boxes and "bboxes" not in processors and moving is not None:
            raise ArgumentError(
                f"boxes= asked for, and transform= moves pixels ({type(moving).__name__}) without moving boxes: make "
                f"it A.Compose([...], {_BOX_PARAMS})"
            )
        if self.keypoints and "keypoints" not in processors:
            raise ArgumentError(f"keypoints= needs a composition that moves points: A.Compose([...], {_POINT_PARAMS})")

    def _warn_of_depth(self) -> None:
        names = dict.fromkeys(type(leaf).__name__ for leaf in leaves(self.compose))
        found = [name for name in names if name in EIGHT_BIT]
        if found:
            warn(
                f"transform= has {', '.join(found)}, which albumentations computes in 8 bits: what is deeper in this "
                "data is lost in the images it changes. Leave it out, or write the change as a function of a Sample"
            )

    # -- each sample --

    def __call__(self, sample: Sample) -> None:
        """Change a sample as the composition does. Raises ArgumentError for an image of another shape or dtype."""
        own = self._copies.own()
        own.set_random_state(sample.rng, sample.python_rng)
        data: dict[str, Any] = {"image": _as_given(sample.image)}
        if sample.masks is not None and len(sample.masks):
            data["masks"] = sample.masks.numpy()
        labels = _with_boxes(data, sample, own)
        self._with_landmarks(data, sample, own)
        found = own(**data)
        sample.image = _image(found["image"], sample)
        if "masks" in data:
            sample.masks = _masks(found["masks"], sample)
        if labels is not None:
            _put_boxes(sample, _table(found["bboxes"], 5), labels)
        if self.keypoints:
            points = _table(found["keypoints"], 3)
            landmarks.put(sample, self.keypoints, points[:, :2] + 0.5, points[:, 2].astype(np.int64))

    def _with_landmarks(self, data: dict[str, Any], sample: Sample, own: Any) -> None:
        """A sample's landmarks as (n, 3): centres of pixels at whole numbers, and which of the pairs they are."""
        processor = own.processors.get("keypoints")
        if processor is None:
            return
        points, which = landmarks.seen(sample, self.keypoints)
        data["keypoints"] = np.column_stack([points - 0.5, which]).astype(np.float32)
        _label(data, processor, which)


def _ready(compose: Any) -> Any:
    """A copy of a composition as it is called here; a single transform in one of its own.

    Raises ArgumentError for what is none.
    """
    if not named(compose, "BasicTransform", "BaseCompose") or not hasattr(compose, "set_random_state"):
        raise ArgumentError(
            f"Albumentations takes a transform or composition of albumentations 2.x; found {type(compose).__name__}"
        )
    made = copy.deepcopy(compose)
    if not named(made, "Compose"):
        made = require("albumentations", "albumentations", "for its transforms").Compose([made])
    boxes, points = (made.processors.get(name) for name in ("bboxes", "keypoints"))
    if boxes is not None:
        boxes.params.format = "albumentations"
        boxes.params.min_area = max(boxes.params.min_area, _LEAST_AREA)
    if points is not None:  # its own rule would drop a point without saying which
        points.params.format, points.params.remove_invisible = "xy", False
    return made


def _as_given(image: torch.Tensor) -> NDArray[Any]:
    """(C, H, W) as the library has images: (H, W), or (H, W, C)."""
    pixels: NDArray[Any] = image.numpy()
    return pixels[0] if len(pixels) == 1 else np.ascontiguousarray(pixels.transpose(1, 2, 0))


def _image(found: Any, sample: Sample) -> torch.Tensor:
    """The result as (C, H, W)."""
    if isinstance(found, torch.Tensor):  # of ToTensorV2
        pixels = found
    else:
        pixels = torch.from_numpy(np.ascontiguousarray(found))
        pixels = pixels[None] if pixels.ndim == 2 else pixels.permute(2, 0, 1)
    check_image(pixels, sample, "the albumentations composition", "A.RandomResizedCrop(size={})")
    return pixels


def _masks(found: Any, sample: Sample) -> torch.Tensor:
    """The result as (K, H, W) uint8."""
    assert sample.masks is not None
    return torch.stack([torch.as_tensor(np.asarray(one)) for one in found]).to(torch.uint8).view_as(sample.masks)


def _label(data: dict[str, Any], processor: Any, values: NDArray[Any]) -> None:
    """Whatever fields the composition asks for beside boxes or points: numbers of each."""
    for field in processor.params.label_fields or ():
        data[field] = values


def _table(found: Any, columns: int) -> NDArray[np.float64]:
    """What came back for boxes or points, (n, columns): their numbers, and which they were."""
    rows = np.asarray(found, np.float64)
    return rows[:, :columns] if rows.size else np.empty((0, columns))


# -- boxes -----------------------------------------------------------------------------------------------


def _with_boxes(data: dict[str, Any], sample: Sample, own: Any) -> torch.Tensor | None:
    """A sample's boxes as (n, 5): shares of the image, clipped to it, and which they are; the labels of these.

    None where there are none to move. A composition that moves boxes gets an empty table where none are asked for.
    """
    processor = own.processors.get("bboxes")
    if processor is None:
        return None
    boxes, labels = sample.boxes, sample.box_labels
    if boxes is None or labels is None:
        boxes, labels = torch.empty((0, 4)), torch.empty(0, dtype=torch.int64)
    height, width = sample.size
    shares = np.clip(boxes.numpy() / np.array((width, height, width, height), np.float32), 0, 1)
    kept = (shares[:, 2] > shares[:, 0]) & (shares[:, 3] > shares[:, 1])  # the library raises for boxes of no area
    labels = labels[torch.from_numpy(kept)]
    data["bboxes"] = np.column_stack([shares[kept], np.arange(len(labels))]).astype(np.float32)
    _label(data, processor, labels.numpy())
    return labels if sample.boxes is not None else None


def _put_boxes(sample: Sample, found: NDArray[np.float64], labels: torch.Tensor) -> None:
    """The boxes that are left, in pixels, and their labels."""
    height, width = sample.size
    sample.boxes = torch.from_numpy((found[:, :4] * (width, height, width, height)).astype(np.float32))
    sample.box_labels = labels[torch.from_numpy(found[:, 4].astype(np.int64))]
