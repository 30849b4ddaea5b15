"""MONAI as transform=: array and dictionary transforms, the same whoever makes an image, on display values."""

import functools
import warnings

import augmenting
import monai.transforms as M  # noqa: N812
import numpy as np
import pytest
import torch
from augmenting import N, PatternReader, alike, everything_of, global_states, loader, pattern, plan, ways_of_two_flips
from hypothesis import given, settings
from hypothesis import strategies as st

from resload.augment import Monai
from resload.errors import ArgumentError

BOTH = ["image", "mask"]


def typical():
    """Flips, a rotation, noise and contrast of image and masks."""
    return M.Compose(
        [
            M.RandFlipd(BOTH, prob=0.5, spatial_axis=1),
            M.OneOf([M.RandRotate90d(BOTH, prob=0.7), M.RandZoomd(BOTH, prob=1, min_zoom=1, max_zoom=1.3)]),
            M.RandAffined(BOTH, prob=0.8, rotate_range=0.3, translate_range=2, mode=("bilinear", "nearest")),
            M.RandGaussianNoised("image", prob=0.7),
            M.RandAdjustContrastd("image", prob=0.7),
        ]
    )


def of(transform, reader=None, **options):
    """A loader with masks, without boxes."""
    return loader(reader, transform=transform, **{"boxes": False} | options)


@functools.cache
def expected():
    """Two epochs, on one thread of one process."""
    found = of(typical(), sampler=plan(), threads=1, prefetch=1)
    return everything_of([*found, *found])


@settings(max_examples=12, deadline=None)
@given(threads=st.sampled_from([1, 2, 8]), world=st.sampled_from([1, 2, 4]), grain=st.integers(0, 3))
@pytest.mark.slow
def test_a_film_is_the_same_whichever_process_or_thread_makes_it(threads, world, grain):
    """Property: any number of threads and processes and any size of task: the same images and masks, bit for bit."""
    found = {}
    for rank in range(world):
        np.random.seed(rank)  # noqa: NPY002
        torch.manual_seed(rank)
        some = of(typical(), PatternReader(N, grain=grain), sampler=plan().view(rank, world), threads=threads)
        found |= everything_of([*some, *some])
    assert alike(found, expected())


def test_generators_of_others_are_left_alone():
    """random's, numpy's, torch's and the transform's own go on as if nothing had been drawn."""
    transform = typical().set_random_state(seed=1)

    def states():
        own = transform.R.get_state()[1], transform.transforms[3].R.get_state()[1]
        return [*global_states(), *map(list, own)]

    before = states()
    list(of(transform, threads=2))
    assert states() == before


def test_a_film_is_drawn_anew_each_epoch_and_flips_each_for_themselves():
    """All four outcomes of two flips come about, in other orders the next time."""
    flips = M.Compose([M.RandFlip(prob=0.5, spatial_axis=0), M.RandFlip(prob=0.5, spatial_axis=1)])
    both = of(flips, PatternReader(100), dtype=torch.uint16, masks=False)
    seen = ways_of_two_flips([*both, *both])
    assert min(seen.count(way) for way in range(4)) > 25
    assert seen[:100] != seen[100:]


@pytest.mark.parametrize("flip", [M.Flipd(BOTH, 1), M.Compose([M.RandFlipd(BOTH, prob=1, spatial_axis=1)])])
def test_a_flip_is_numpys(flip):
    """Images and masks to the last bit, as plain tensors, unknown masks still unknown."""
    for before, after in zip(of(None, dtype=torch.uint16), of(flip, dtype=torch.uint16), strict=True):
        assert torch.equal(after.images, torch.from_numpy(before.images.numpy()[..., ::-1].copy()))
        assert torch.equal(after.masks, before.masks.flip(-1))
        assert torch.equal(after.masks_known, before.masks_known)
        assert type(after.images) is type(after.masks) is torch.Tensor


def test_what_it_sees_is_not_normalised():
    """(1, H, W) float32 on [0, 1]; normalising and repeating come after."""
    seen = []

    def halved(image):
        seen.append((image.shape, image.dtype, float(image.min()), float(image.max())))
        return image / 2

    for batch in of(M.Lambda(halved), normalize=(0.25, 0.5), channels=3, masks=False):
        for row, image in zip(batch.rows.tolist(), batch.images, strict=True):
            film = pattern(row, (20, 20), np.uint16) / 65535
            np.testing.assert_allclose(image.numpy(), np.stack([(film / 2 - 0.25) / 0.5] * 3), atol=1e-6)
    assert {one[:2] for one in seen} == {((1, 20, 20), torch.float32)}
    assert min(one[2] for one in seen) >= 0
    assert max(one[3] for one in seen) <= 1


def test_masks_come_back_as_coverage():
    """Interpolated between pixels they are rounded to whole numbers of 255, within the range."""
    turned = M.Rotated(BOTH, angle=0.4, mode="bilinear")
    for batch in of(turned):
        assert batch.masks.dtype == torch.uint8
        assert len(batch.masks[:, 0].unique()) > 10


def test_coverage_is_rounded_and_clipped():
    """To the nearest of 0 to 255, never around."""
    plain = [*of(None)]
    for before, after in zip(plain, of(M.Lambdad("mask", lambda mask: mask * 1.5 - 30.2)), strict=True):
        assert torch.equal(after.masks, (before.masks * 1.5 - 30.2).round().clamp(0, 255).to(torch.uint8))


def test_keys_may_be_called_otherwise():
    """As the transform has them."""
    flip = M.Flipd(["film", "label"], 1)
    plain = everything_of(of(M.Flipd(BOTH, 1)))
    assert alike(everything_of(of(Monai(flip, image="film", mask="label"))), plain)


def test_no_mask_is_asked_for():
    """A dictionary transform of image and mask that allows for missing keys works without masks."""
    (first, *_) = of(M.Flipd(BOTH, 1, allow_missing_keys=True), masks=False, dtype=torch.uint16)
    assert np.array_equal(first.images[2, 0].numpy(), pattern(2, (20, 20), np.uint16)[:, ::-1])


REFUSED = {
    "boxes": (M.Flipd(BOTH, 1), {"boxes": True}, "Flipd of MONAI moves pixels without moving boxes"),
    "masks, by array": (M.RandFlip(), {}, r'RandFlip moves the image alone: .* keys=\["image", "mask"\]'),
    "masks, not named": (M.RandFlipd(["image"]), {}, "RandFlipd moves the image alone"),
    "keys": (M.Flipd(["image", "label"], 1), {}, r"for the keys \['label'\], and samples have \['image', 'mask'\]"),
    "a resize": (M.Compose([M.Resized(BOTH, (10, 10))]), {}, "has Resized, and the size of images is the loader's"),
    "a spacing": (M.Spacing((1, 1)), {"masks": False}, "has Spacing, and the size of images"),
}  # fmt: skip


@pytest.mark.parametrize("case", REFUSED)
def test_what_cannot_be_done_is_refused_when_the_loader_is_made(case):
    """With the remedy in words."""
    transform, options, message = REFUSED[case]
    with pytest.raises(ArgumentError, match=message):
        of(transform, **options)


def test_changes_of_values_alone_leave_boxes_and_masks_be():
    """Noise and contrast need no key for them."""
    compose = M.Compose([M.RandGaussianNoise(prob=1), M.RandAdjustContrast(prob=1)])
    plain = [*loader()]
    for before, after in zip(plain, loader(transform=compose), strict=True):
        assert all(torch.equal(a, b) for a, b in zip(before.boxes, after.boxes, strict=True))
        assert torch.equal(before.masks, after.masks)
        assert not torch.equal(before.images, after.images)


WRONG = {
    "size": (M.CenterSpatialCrop((10, 10)), r"left an image of \(10, 10\) where the loader asked for \(20, 20\)"),
    "several": (M.RandSpatialCropSamples((20, 20), 2, random_size=False), "left a .*: one image must stay one image"),
    "type": (M.CastToType(np.float64), "given torch.float32 and left torch.float64"),
}


@pytest.mark.parametrize("case", WRONG)
def test_an_image_of_another_shape_or_type_is_refused(case):
    """With the film."""
    transform, message = WRONG[case]
    with pytest.raises(ArgumentError, match=message) as caught:
        next(iter(of(transform, masks=False)))
    assert "film 'film 0' (row 0)" in str(caught.value)


SHRINKING = {
    "Zoom": M.Zoom(0.5, mode="bilinear"),
    "Zoomd": M.Zoomd("image", 0.5, mode="nearest"),
    "RandZoom": M.RandZoom(min_zoom=0.7, mode="bicubic"),
    "RandZoomd": M.RandZoomd("image", min_zoom=0.7, mode="bilinear"),
    "RandAffine": M.RandAffine(scale_range=(0.2, 0.3)),
    "RandAffined": M.RandAffined("image", scale_range=((-0.1, 0.3), (0, 0))),
}


@pytest.mark.parametrize("name", SHRINKING)
def test_shrinking_that_aliases_is_warned_of_once(name):
    """When the loader is made, at the line of the caller."""
    with pytest.warns(UserWarning, match=f"has {name}, which may shrink what it shows") as caught:
        of(SHRINKING[name], masks=False)
    assert [warning.filename for warning in caught] == [augmenting.__file__]


def test_what_smooths_or_does_not_shrink_is_not_warned_of():
    """Means over areas, MONAI's own choice for a zoom, and scales from 0.9 on."""
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        of(M.Compose([M.RandZoom(min_zoom=0.5), M.Zoom(0.5), M.RandZoom(min_zoom=0.9, mode="bilinear"),
                      M.RandAffine(scale_range=0.1), M.RandAffine(rotate_range=1)]), masks=False)  # fmt: skip
