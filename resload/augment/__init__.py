"""What a loader's `transform=` is given, and the transforms of other libraries as it takes them.

sample          one radiograph as a transform sees it, with its own randomness
adapters        what a transform that takes display values has to be
saying          what is said to a loader's caller of a transform
trees           the transforms in a composition
aliasing        resizes in a composition: which are refused, and which are warned of
landmarks       targets that are a point of the film, and back
albumentations  image, masks, boxes and landmarks through a composition of that library
redirected      torch's random operations draw from a sample's generator, on one thread
torchvision     image, masks and boxes through torchvision v2
monai           image and masks through MONAI
recognised      whose a transform is
"""

from resload.augment.adapters import Adapter, Asked
from resload.augment.albumentations import Albumentations
from resload.augment.monai import Monai
from resload.augment.recognised import adapted
from resload.augment.redirected import drawing_from
from resload.augment.sample import Sample, Transform, applied, globally_seeded, undisturbed
from resload.augment.torchvision import TorchVision

__all__ = [
    "Adapter",
    "Albumentations",
    "Asked",
    "Monai",
    "Sample",
    "TorchVision",
    "Transform",
    "adapted",
    "applied",
    "drawing_from",
    "globally_seeded",
    "undisturbed",
]
