"""Image and masks through MONAI, seeded by the sample's draw.

    image   (1, H, W) float32 on [0, 1], a tensor; for dictionary transforms under the key `image`
    mask    (K, H, W) uint8 coverage, a tensor under the key `mask`; rounded back to it

A transform of MONAI holds its generators, so each thread has a copy of its own, seeded at each sample through
`set_random_state`. Boxes: MONAI's are of another package of it and of another order of axes, and are not moved.
"""

from collections.abc import Iterator
from typing import Any

import torch

from resload import seeds
from resload.augment import aliasing
from resload.augment.adapters import Asked, OfEachThread
from resload.augment.redirected import drawing_from
from resload.augment.sample import Sample
from resload.augment.saying import check_image
from resload.augment.trees import leaves, named
from resload.errors import ArgumentError

_STILL = ("monai.transforms.intensity.", "monai.transforms.utility.")
"""Modules whose transforms move no pixel."""


class Monai:
    """A transform of MONAI as a loader's `transform=`. Thread-safe: each thread calls a copy of its own.

    Array transforms are given the image, dictionary transforms a dict of image and mask; `normalize=` and `channels=`
    of the loader come after it. Landmarks and other targets are left alone. A function in its Lambda is taken to change
    values, not to move pixels.

    Args:
        transform: a MONAI transform or Compose.
        image, mask: what the keys of dictionary transforms are called.
    """

    def __init__(self, transform: Any, *, image: str = "image", mask: str = "mask") -> None:
        self.transform, self.image, self.mask = transform, image, mask
        self._copies = OfEachThread(transform)
        self._by_key = any(named(leaf, "MapTransform") for leaf in leaves(transform))

    # -- once --

    def takes(self, asked: Asked) -> torch.dtype:
        """float32. See `Adapter.takes`.

        Raises ArgumentError for a resize, for masks and boxes that would not move with the image, and for keys that
        are not there. Warns of shrinking that aliases.
        """
        aliasing.checked(self.transform, asked.sizes, aliasing.MONAI)
        self._check_keys(asked)
        moving = [leaf for leaf in leaves(self.transform) if not type(leaf).__module__.startswith(_STILL)]
        if asked.boxes and moving:
            raise ArgumentError(
                f"boxes= asked for, and {type(moving[0]).__name__} of MONAI moves pixels without moving boxes: use a "
                "transform of albumentations or torchvision v2, or do without boxes="
            )
        still = [leaf for leaf in moving if self.mask not in _keys(leaf)]
        if asked.masks and still:
            raise ArgumentError(
                f"masks= asked for, and {type(still[0]).__name__} moves the image alone: use its dictionary form with "
                f'keys=["{self.image}", "{self.mask}"]'
            )
        return torch.float32

    def _check_keys(self, asked: Asked) -> None:
        there = {self.image, self.mask} if asked.masks else {self.image}
        for leaf in leaves(self.transform):
            missing = sorted(set(_keys(leaf)) - there) if not getattr(leaf, "allow_missing_keys", False) else []
            if missing:
                raise ArgumentError(
                    f"transform= has {type(leaf).__name__} for the keys {missing}, and samples have {sorted(there)}: "
                    "name them with augment.Monai(transform, image=..., mask=...), and ask for masks="
                )

    # -- each sample --

    def __call__(self, sample: Sample) -> None:
        """Change a sample as the transform does. Raises ArgumentError for an image of another shape or dtype."""
        own = self._copies.own()
        if hasattr(own, "set_random_state"):
            own.set_random_state(state=seeds.legacy(sample.rng))
        with drawing_from(sample.torch_generator):
            found = own(self._as_given(sample))
        _check_single(found, self._by_key, sample)
        image = _plain(found[self.image] if self._by_key else found)
        check_image(image, sample, "the MONAI transform", "CenterSpatialCrop(roi_size={})")
        sample.image = image
        if self._by_key and sample.masks is not None:
            sample.masks = _plain(found[self.mask]).float().round().clamp(0, 255).to(torch.uint8)

    def _as_given(self, sample: Sample) -> Any:
        if not self._by_key:
            return sample.image
        masks = {} if sample.masks is None else {self.mask: sample.masks}
        return {self.image: sample.image, **masks}


def _keys(leaf: Any) -> Iterator[str]:
    """Keys of a dictionary transform."""
    return iter(getattr(leaf, "keys", ()) if named(leaf, "MapTransform") else ())


def _check_single(found: Any, by_key: bool, sample: Sample) -> None:
    if isinstance(found, list | tuple) or isinstance(found, dict) != by_key:
        raise ArgumentError(
            f"the MONAI transform left a {type(found).__name__} for {sample}: one image must stay one image; leave out "
            "what makes several samples of one, and do not mix array and dictionary transforms"
        )


def _plain(found: Any) -> torch.Tensor:
    """Without MONAI's notes on it (MetaTensor)."""
    return found.as_tensor() if hasattr(found, "as_tensor") else torch.as_tensor(found)
