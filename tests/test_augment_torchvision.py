"""torchvision v2 as transform=: run where torchvision belongs to the torch that is installed, reported as skipped else.

It is asked for in a process of its own first: importing it beside another build of torch raises, and leaves half of
its registrations behind. Where TORCHVISION_ALONE is set (`make test-torchvision`) it is imported beside any build,
without the operators that it has compiled: its transforms use none of them.
"""

import functools
import importlib.util
import os
import subprocess
import sys
import warnings

import augmenting
import numpy as np
import pytest
import torch
from augmenting import N, PatternReader, alike, everything_of, global_states, loader, pattern, plan, ways_of_two_flips
from hypothesis import given, settings
from hypothesis import strategies as st

from resload.augment import TorchVision
from resload.errors import ArgumentError

ALONE = """
import sys, types
sys.modules["torchvision._meta_registrations"] = types.ModuleType("torchvision._meta_registrations")
"""
"""What it says of its operators is what raises where they cannot be loaded."""


def works():
    """Whether torchvision can be imported here."""
    if importlib.util.find_spec("torchvision") is None:
        return False
    alone = "TORCHVISION_ALONE" in os.environ
    code = f"{ALONE if alone else ''}\nimport torchvision.transforms.v2"
    if alone:
        exec(ALONE)
    return subprocess.run([sys.executable, "-c", code], capture_output=True, check=False).returncode == 0


if not works():
    pytest.skip("no torchvision that belongs to this torch", allow_module_level=True)

with warnings.catch_warnings():  # of its extension for images, which is not used here
    warnings.simplefilter("ignore")
    import torchvision
    from torchvision.transforms import v2


def typical():
    """Flips, a rotation, contrast and noise of image, masks and boxes."""
    return v2.Compose(
        [
            v2.RandomHorizontalFlip(0.5),
            v2.RandomVerticalFlip(0.5),
            v2.RandomApply([v2.RandomRotation(20)], p=0.7),
            v2.RandomChoice(
                [v2.ColorJitter(brightness=0.3), v2.GaussianNoise(), v2.RandomAffine(5, translate=(0.1, 0.1))]
            ),
        ]
    )


@functools.cache
def expected():
    """Two epochs, on one thread of one process."""
    found = loader(sampler=plan(), transform=typical(), threads=1, prefetch=1)
    return everything_of([*found, *found])


@settings(max_examples=15, deadline=None)
@given(threads=st.sampled_from([1, 2, 8]), world=st.sampled_from([1, 2, 4]), grain=st.integers(0, 3))
def test_a_film_is_the_same_whichever_process_or_thread_makes_it(threads, world, grain):
    """Property: any number of threads and processes and any size of task: the same images, masks, boxes and labels, bit
    for bit, whatever torch's global generator is seeded with."""
    found = {}
    for rank in range(world):
        torch.manual_seed(rank)
        reader = PatternReader(N, grain=grain)
        some = loader(reader, sampler=plan().view(rank, world), transform=typical(), threads=threads)
        found |= everything_of([*some, *some])
    assert alike(found, expected())


def test_generators_of_others_are_left_alone():
    """random's, numpy's and torch's go on as if nothing had been drawn."""
    before = global_states()
    list(loader(transform=typical(), threads=2))
    assert global_states() == before


def test_films_are_drawn_each_for_itself():
    """All four outcomes of two flips come about, in other orders the next epoch."""
    flips = v2.Compose([v2.RandomHorizontalFlip(), v2.RandomVerticalFlip()])
    both = loader(PatternReader(100), transform=flips, dtype=torch.uint16, masks=False, boxes=False)
    seen = ways_of_two_flips([*both, *both])
    assert min(seen.count(way) for way in range(4)) > 25
    assert seen[:100] != seen[100:]


@pytest.mark.parametrize("stored", [np.uint8, np.uint16])
def test_a_flip_moves_everything_together(stored):
    """Images and masks as numpy flips them, boxes with what they cover; plain tensors come back."""
    made = torch.uint8 if stored == np.uint8 else torch.uint16
    adapter = TorchVision(v2.RandomHorizontalFlip(1.0), dtype="auto")
    plain = [*loader(PatternReader(N, dtype=stored), dtype=made)]
    moved = [*loader(PatternReader(N, dtype=stored), dtype=made, transform=adapter)]
    for before, after in zip(plain, moved, strict=True):
        assert np.array_equal(after.images.numpy(), before.images.numpy()[..., ::-1])
        assert torch.equal(after.masks, before.masks.flip(-1))
        assert type(after.images) is type(after.masks) is type(after.boxes[0]) is torch.Tensor
        for i in range(len(after)):
            y, x = np.nonzero(after.masks[i, 0].numpy())
            (box,) = after.boxes[i].tolist()
            assert box == pytest.approx([x.min(), y.min(), x.max() + 1, y.max() + 1], abs=1e-4)


def test_boxes_that_leave_the_image_are_gone():
    """Those that are left are clipped, with their labels."""
    shift = v2.RandomAffine(0, translate=(0.6, 0.6))
    count = 0
    for batch in loader(PatternReader(100), transform=shift):
        for boxes, labels in zip(batch.boxes, batch.box_labels, strict=True):
            assert len(boxes) == len(labels)
            assert ((boxes >= 0) & (boxes <= 20)).all()
            assert (boxes[:, 2:] > boxes[:, :2]).all()
            count += len(boxes)
    assert 0 < count < 100


def test_what_it_sees_is_not_normalised():
    """(1, H, W) float32 on [0, 1]; normalising and repeating come after."""
    seen = []

    def halved(image):
        seen.append((tuple(image.shape), image.dtype))
        return image / 2

    transform = v2.Lambda(halved, torchvision.tv_tensors.Image)
    for batch in loader(transform=transform, normalize=(0.25, 0.5), channels=3):
        for row, image in zip(batch.rows.tolist(), batch.images, strict=True):
            film = pattern(row, (20, 20), np.uint16) / 65535
            np.testing.assert_allclose(image.numpy(), np.stack([(film / 2 - 0.25) / 0.5] * 3), atol=1e-6)
    assert set(seen) == {((1, 20, 20), torch.float32)}


REFUSED = {
    "the first transforms": (torchvision.transforms.RandomHorizontalFlip, "torchvision.transforms.v2"),
    "a resize": (lambda: v2.Compose([v2.Resize(10)]), "has Resize, and the size of images is the loader's"),
    "sanitising": (v2.SanitizeBoundingBoxes, "has SanitizeBoundingBoxes, which takes masks for those"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_cannot_be_done_is_refused_when_the_loader_is_made(case):
    """With the remedy in words."""
    make, message = REFUSED[case]
    with pytest.raises(ArgumentError, match=message):
        loader(transform=make())


WRONG = {
    "size": (lambda: v2.CenterCrop(10), r"left an image of \(10, 10\) where the loader asked for \(20, 20\)"),
    "colours": (lambda: v2.Grayscale(3), r"given 1 channel\(s\) and left \(3, 20, 20\)"),
    "type": (lambda: v2.ToDtype(torch.float64), "given torch.float32 and left torch.float64"),
}


@pytest.mark.parametrize("case", WRONG)
def test_an_image_of_another_shape_or_type_is_refused(case):
    """With the film."""
    make, message = WRONG[case]
    with pytest.raises(ArgumentError, match=message) as caught:
        next(iter(loader(transform=make())))
    assert "film 'film 0' (row 0)" in str(caught.value)


SHRINKING = {
    "RandomAffine": lambda: v2.RandomAffine(0, scale=(0.5, 1.0)),
    "RandomResizedCrop": lambda: v2.RandomResizedCrop(10, antialias=False),
    "ScaleJitter": lambda: v2.ScaleJitter((20, 20), antialias=False),
    "RandomShortestSize": lambda: v2.RandomShortestSize(10, antialias=False),
}


@pytest.mark.parametrize("name", SHRINKING)
def test_shrinking_that_aliases_is_warned_of_once(name):
    """When the loader is made, at the line of the caller."""
    with pytest.warns(UserWarning, match=f"has {name}, which may shrink what it shows") as caught:
        loader(transform=SHRINKING[name]())
    assert [warning.filename for warning in caught] == [augmenting.__file__]


def test_what_smooths_or_does_not_shrink_is_not_warned_of():
    """Its resizes smooth unless told otherwise."""
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        loader(transform=v2.Compose([v2.RandomResizedCrop(10), v2.RandomAffine(30, scale=(0.9, 1.2)),
                                     v2.RandomResizedCrop(20, antialias=False)]))  # fmt: skip
