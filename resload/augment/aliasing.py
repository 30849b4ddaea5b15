"""Resizes in a composition. The size is the loader's business, and libraries' ways to shrink alias.

refused    a resize to a size: the loader makes every size from the film, antialiased
warned of  a transform that may shrink what the image shows without smoothing it first: fine lines turn into others

albumentations samples with OpenCV's INTER_LINEAR, two pixels along each axis however much it shrinks, unless
`area_for_downscale` is set; its affine ways have no such choice. torchvision v2 and MONAI interpolate between the
neighbouring pixels too in their affine ways; their resizes smooth with `antialias=True`, and with mode "area" or
`anti_aliasing=True`.
"""

from collections.abc import Callable, Iterable, Sequence
from typing import Any

from resload.augment.saying import warn
from resload.augment.trees import leaves, named
from resload.errors import ArgumentError
from resload.size import Size

MILD = 0.9
"""Shrinking to this scale or above is not warned about: on synthetic films of 512 px linear interpolation differs there
from a resize that smooths by 0.6 of 255 (root mean square; rounding alone is 0.29), at 0.75 by 1.3 and at 0.5 by 1.8
(`tests/test_augment_albumentations.py` measures it)."""
_AREA = 3
"""cv2.INTER_AREA"""
_SAFE_DEGREES = 7.0
"""SafeRotate shrinks a square by 1 / (cos + sin) of its angle: to less than MILD from here on."""

Rule = Callable[[Any, Sequence[Size]], bool]

RESIZES = ("Resize", "Resized", "Spacing", "Spacingd")
"""Names of transforms whose only work is a size."""


def checked(transform: Any, sizes: Sequence[Size], rules: "dict[str, tuple[Rule, str]]") -> None:
    """Refuse resizes in a composition, and warn of what may alias by a library's rules, once for each kind.

    Raises ArgumentError for a resize to a size.
    """
    for leaf in leaves(transform):
        if named(leaf, *RESIZES):
            raise ArgumentError(
                f"transform= has {type(leaf).__name__}, and the size of images is the loader's: leave it out and ask "
                "for Loader(size=...), which is antialiased and moves masks, boxes and spacing with it"
            )
    for message in dict.fromkeys(_messages(leaves(transform), sizes, rules)):
        warn(message)


def _messages(found: Iterable[Any], sizes: Sequence[Size], rules: "dict[str, tuple[Rule, str]]") -> Iterable[str]:
    for leaf in found:
        for name, (may_alias, remedy) in rules.items():
            if named(leaf, name) and may_alias(leaf, sizes):
                yield (
                    f"transform= has {type(leaf).__name__}, which may shrink what it shows to less than {MILD:g} of "
                    f"its size without smoothing, so that fine detail aliases: {remedy}"
                )
                break


# -- rules -----------------------------------------------------------------------------------------------


def _numbers(value: Any) -> list[float]:
    """All numbers in a nest of tuples and dicts."""
    if isinstance(value, dict):
        value = tuple(value.values())
    if isinstance(value, list | tuple):
        return [number for one in value for number in _numbers(one)]
    return [float(value)] if isinstance(value, int | float) else []


def least(attribute: str) -> Rule:
    """A scale that may be less than MILD."""
    return lambda leaf, sizes: min(_numbers(getattr(leaf, attribute, None)), default=1.0) < MILD


def _smooths(leaf: Any) -> bool:
    """albumentations: whether it takes means over areas where it shrinks."""
    return getattr(leaf, "area_for_downscale", None) is not None or getattr(leaf, "interpolation", None) == _AREA


def _random_scale(leaf: Any, sizes: Sequence[Size]) -> bool:
    return not _smooths(leaf) and 1 + min(_numbers(leaf.scale_limit), default=0.0) < MILD


def _max_size(leaf: Any, sizes: Sequence[Size]) -> bool:
    asked = _numbers(leaf.max_size) or _numbers(leaf.max_size_hw)
    return not _smooths(leaf) and any(min(asked, default=0) < MILD * max(size) for size in sizes)


def _sized_crop(leaf: Any, sizes: Sequence[Size]) -> bool:
    """A part that is resized: shrunk only where its size is less than the image's."""
    size = getattr(leaf, "size", None) or (leaf.height, leaf.width)
    smaller = any(one < MILD * whole for whole_size in sizes for one, whole in zip(size, whole_size, strict=True))
    return smaller and not _smooths(leaf)


def _safe_rotate(leaf: Any, sizes: Sequence[Size]) -> bool:
    return max((abs(angle) for angle in _numbers(leaf.limit)), default=0.0) > _SAFE_DEGREES


def _crop_and_pad(leaf: Any, sizes: Sequence[Size]) -> bool:
    """Padding that is taken back by a resize: of pixels, or of a share of each side."""
    shares = _numbers(leaf.percent)
    shares += [pixels / min(size) for size in sizes for pixels in _numbers(leaf.px)]
    return bool(leaf.keep_size) and 1 / (1 + 2 * max(shares, default=0.0)) < MILD


_ENLARGE = "keep its scale at {0:g} or above, or enlarge (scale from 1 on) and load a larger size"
_BY_AREA = 'pass area_for_downscale="image"'

ALBUMENTATIONS: dict[str, tuple[Rule, str]] = {
    "SafeRotate": (_safe_rotate, "use Rotate, which keeps the scale, or a limit of 7 degrees"),
    "Affine": (least("scale"), _ENLARGE.format(MILD)),
    "RandomScale": (_random_scale, _BY_AREA),
    "MaxSizeTransform": (_max_size, f"{_BY_AREA}; or leave it out: the loader makes every size"),
    "_BaseRandomSizedCrop": (_sized_crop, _BY_AREA),
    "RandomSizedBBoxSafeCrop": (_sized_crop, "crop to the loader's own size"),
    "CropAndPad": (_crop_and_pad, "pad less, or pass keep_size=False and crop back"),
}
"""By the name of a class that a transform is of (albumentations 2.0.8), the first that fits."""


def _no_antialias(leaf: Any, sizes: Sequence[Size]) -> bool:
    return getattr(leaf, "antialias", True) is False


def _tv_sized_crop(leaf: Any, sizes: Sequence[Size]) -> bool:
    return _no_antialias(leaf, sizes) and _sized_crop(leaf, sizes)


_ANTIALIAS = "pass antialias=True"

TORCHVISION: dict[str, tuple[Rule, str]] = {
    "RandomAffine": (least("scale"), _ENLARGE.format(MILD)),
    "RandomResizedCrop": (_tv_sized_crop, _ANTIALIAS),
    "ScaleJitter": (_no_antialias, _ANTIALIAS),
    "RandomResize": (_no_antialias, _ANTIALIAS),
    "RandomShortestSize": (_no_antialias, _ANTIALIAS),
}


def _inner(leaf: Any, *names: str) -> Any:
    """MONAI's dictionary transforms hold the array transform that works for them."""
    for name in names:
        leaf = getattr(leaf, name, leaf)
    return leaf


def _by_area(leaf: Any) -> bool:
    """Whether the image is resized by MONAI's mode "area"; of a dictionary transform, every key."""
    modes = leaf.mode if isinstance(leaf.mode, list | tuple) else (leaf.mode,)
    return all(str(getattr(mode, "value", mode)) == "area" for mode in modes)


def _zoom(leaf: Any, sizes: Sequence[Size]) -> bool:
    inner = _inner(leaf, "rand_zoom", "zoomer")
    scales = _numbers(getattr(inner, "min_zoom", None)) + _numbers(getattr(inner, "zoom", None))
    return not _by_area(leaf) and min(scales, default=1.0) < MILD


def _grid(leaf: Any, sizes: Sequence[Size]) -> bool:
    """MONAI scales where it looks, not what it shows: a range of (a, b) around 1, or b for (-b, b)."""
    asked = _inner(leaf, "rand_affine", "rand_affine_grid").scale_range
    return 1 + max(_numbers(asked), default=0.0) > 1 / MILD


MONAI: dict[str, tuple[Rule, str]] = {
    "RandZoom": (_zoom, 'pass mode="area" for the image, or min_zoom=0.9'),
    "RandZoomd": (_zoom, 'pass mode="area" for the image, or min_zoom=0.9'),
    "Zoom": (_zoom, 'pass mode="area"'),
    "Zoomd": (_zoom, 'pass mode="area" for the image'),
    "RandAffine": (_grid, "keep scale_range within 0.1"),
    "RandAffined": (_grid, "keep scale_range within 0.1"),
}
