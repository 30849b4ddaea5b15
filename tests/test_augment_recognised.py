"""Whose a transform is, and what is handed to torchvision: with classes of these names, where the library is not there.

`test_augment_torchvision.py` has the library itself.
"""

import enum
import sys
import types

import numpy as np
import pytest
import torch
from augmenting import N, PatternReader, alike, everything_of, global_states, loader, pattern, plan

from resload import Loader
from resload.augment import Albumentations, Monai, Sample, TorchVision, adapted
from resload.augment.trees import leaves
from resload.errors import ArgumentError


def made(module, *names):
    """A class and one below it, as if they were of another library's module."""
    base = object
    for name in names:
        base = type(name, (base,), {"__module__": module, "__call__": lambda self, sample: None})
    return base


def test_transforms_are_told_by_their_classes():
    """Of whichever class they are, as far down as they are; others are left as they are."""
    assert type(adapted(made("torchvision.transforms.v2._x", "Transform", "Flip")())) is TorchVision
    assert type(adapted(made("monai.transforms.compose", "Transform", "Compose", "Mine")())) is Monai
    import albumentations

    class Own(albumentations.NoOp):
        pass

    for one in (Own(), albumentations.Compose([]), albumentations.OneOf([Own()])):
        assert type(adapted(one)) is Albumentations
    for other in (made("mine", "Transform")(), abs, Albumentations(Own()), Loader):
        assert adapted(other) is other


def test_torchvisions_first_transforms_are_refused():
    """They would move images alone."""
    first = made("torchvision.transforms.transforms", "RandomHorizontalFlip")()
    message = "transform=RandomHorizontalFlip.* moves images alone.* use the transform of that name of .*v2"
    with pytest.raises(ArgumentError, match=message):
        loader(transform=first)


def test_leaves_are_found_in_lists_tuples_modules_and_alone():
    """In order; a method of that name is none."""

    class Held:
        def __init__(self, **held):
            vars(self).update(held)

        def __call__(self):
            """A transform."""

    class WithMethod(Held):
        def transform(self):
            """As torchvision's."""

    one, two, three = Held(), WithMethod(), torch.nn.Identity()
    nest = Held(
        transforms=[Held(transforms=(one,)), Held(transform=two), Held(transforms=torch.nn.ModuleList([three]))]
    )
    assert list(leaves(nest)) == [one, two, three]
    assert list(leaves(one)) == [one]


# -- what torchvision is handed --------------------------------------------------------------------------


class Format(enum.Enum):
    """As torchvision's."""

    XYXY = "XYXY"
    XYWH = "XYWH"


class BoundingBoxes(torch.Tensor):
    """As torchvision's, as far as is needed."""

    def __new__(cls, data, *, format, canvas_size):  # noqa: A002
        found = torch.as_tensor(data).as_subclass(cls)
        found.format, found.canvas_size = Format[format], canvas_size
        return found


def kind(name):
    """A tensor of its own class."""

    class Kind(torch.Tensor):
        def __new__(cls, data):
            return torch.as_tensor(data).as_subclass(cls)

    Kind.__name__ = name
    return Kind


@pytest.fixture
def kinds(monkeypatch):
    """torchvision.tv_tensors, as far as is needed."""
    found = types.ModuleType("torchvision.tv_tensors")
    found.Image, found.Mask, found.BoundingBoxes = kind("Image"), kind("Mask"), BoundingBoxes
    monkeypatch.setitem(sys.modules, "torchvision", types.ModuleType("torchvision"))
    monkeypatch.setitem(sys.modules, "torchvision.tv_tensors", found)
    return found


def flipping(kinds, *, noise=0.1):
    """A flip and noise, drawn from torch's global generator as torchvision draws."""

    def transform(found):
        assert type(found["image"]) is kinds.Image
        assert torch.rand(()) >= 0
        image = found["image"] + noise * torch.randn_like(found["image"])
        if torch.rand(1) < 0.5:
            image = image.flip(-1)
            if "masks" in found:
                assert type(found["masks"]) is kinds.Mask
                found["masks"] = found["masks"].flip(-1)
            if "boxes" in found:
                boxes, (_, width) = found["boxes"], found["boxes"].canvas_size
                plain = boxes.as_subclass(torch.Tensor)
                plain = torch.stack([width - plain[:, 2], plain[:, 1], width - plain[:, 0], plain[:, 3]], dim=1)
                found["boxes"] = BoundingBoxes(plain, format="XYXY", canvas_size=boxes.canvas_size)
        return {**found, "image": image}

    return TorchVision(transform)


def test_a_film_is_the_same_whichever_thread_makes_it(kinds):
    """Its draws come from the sample, and the caller's generator is left alone."""
    found = []
    for threads, grain in [(1, 0), (2, 1), (8, 2)]:
        torch.manual_seed(threads)
        before = global_states()
        some = loader(PatternReader(N, grain=grain), sampler=plan(), transform=flipping(kinds), threads=threads)
        found.append(everything_of([*some, *some]))
        assert global_states() == before
    assert alike(found[0], found[1])
    assert alike(found[0], found[2])
    images = [parts[0] for parts in found[0].values()]
    assert not any(torch.equal(images[0], image) for image in images[1:])


def test_everything_moves_together(kinds):
    """Image, masks and boxes, and what comes back are plain tensors."""
    turned = 0
    for batch in loader(transform=flipping(kinds, noise=0), dtype=torch.uint16):
        assert {type(one) for one in (batch.images, batch.masks, *batch.boxes, *batch.box_labels)} == {torch.Tensor}
        for i, row in enumerate(batch.rows.tolist()):
            y, x = np.nonzero(batch.masks[i, 0].numpy())
            assert batch.boxes[i].tolist() == [pytest.approx([x.min(), y.min(), x.max() + 1, y.max() + 1], abs=1e-4)]
            film = pattern(row, (20, 20), np.uint16)
            same = np.array_equal(batch.images[i, 0].numpy(), film)
            assert same or np.array_equal(batch.images[i, 0].numpy(), film[:, ::-1])
            turned += not same
    assert 0 < turned < N


def sample(**others):
    """A film of 10 x 20."""
    return Sample(torch.zeros(1, 10, 20), torch.zeros(0), 0, "film", (10, 20), 0.0, 1, **others)


def test_boxes_are_clipped_and_empty_ones_dropped(kinds):
    """With their labels."""
    boxes = torch.tensor([[-5.0, 2, 4, 30], [20, 1, 25, 5], [3, 3, 3, 9], [1, 2, 3, 4]])
    one = sample(boxes=boxes, box_labels=torch.tensor([5, 6, 7, 8]))
    TorchVision(lambda found: found)(one)
    assert one.boxes.tolist() == [[0, 2, 4, 10], [1, 2, 3, 4]]
    assert one.box_labels.tolist() == [5, 8]


def test_boxes_of_another_format_are_refused(kinds):
    """Rather than taken for corners."""

    def converted(found):
        return {**found, "boxes": BoundingBoxes(found["boxes"], format="XYWH", canvas_size=(10, 20))}

    with pytest.raises(ArgumentError, match=r"left boxes as Format.XYWH, for film 'film'.*leave them XYXY"):
        TorchVision(converted)(sample(boxes=torch.zeros(0, 4), box_labels=torch.zeros(0, dtype=torch.int64)))


def test_the_kind_of_numbers_is_chosen(kinds):
    """Floats unless bytes are asked for, which deeper films refuse."""
    for dtype, stored, wanted in [
        ("float32", np.uint8, torch.float32), ("auto", np.uint8, torch.uint8), ("uint8", np.uint8, torch.uint8),
        ("auto", np.uint16, torch.float32),
    ]:  # fmt: skip
        seen = set()

        def look(found, seen=seen):
            seen.add((found["image"].dtype, tuple(found["image"].shape)))
            return found

        next(iter(loader(PatternReader(4, dtype=stored), transform=TorchVision(look, dtype=dtype), channels=3)))
        assert seen == {(wanted, (1, 20, 20))}
    with pytest.raises(ArgumentError, match='dtype="uint8" would lose depth: this data is uint16'):
        loader(transform=TorchVision(look, dtype="uint8"))


def test_sanitising_and_resizing_are_refused(kinds):
    """When the loader is made."""
    sanitise = made("torchvision.transforms.v2._misc", "Transform", "SanitizeBoundingBoxes")()
    with pytest.raises(ArgumentError, match="has SanitizeBoundingBoxes, which takes masks for those of single boxes"):
        loader(transform=sanitise)
    loader(transform=sanitise, masks=False)
    with pytest.raises(ArgumentError, match="has Resize, and the size of images is the loader's"):
        loader(transform=made("torchvision.transforms.v2._geometry", "Transform", "Resize")())


def test_a_transform_of_ones_own_may_take_display_values():
    """As an adapter does: given what it answers, and normalised after; a dtype that cannot be is refused."""

    class Inverted:
        def __init__(self, takes):
            self.answer = takes

        def takes(self, asked):
            assert (asked.stored, asked.masks, asked.boxes) == (np.uint16, True, True)
            assert ([*asked.sizes], [*asked.targets]) == ([(20, 20)], ["value", "point_x", "point_y"])
            return self.answer

        def __call__(self, sample):
            assert (sample.image.dtype, sample.image.shape) == (self.answer, (1, 20, 20))
            return 1 - sample.image if self.answer == torch.float32 else None

    plain = [*loader(normalize=(0.5, 0.25), channels=2)]
    for before, after in zip(
        plain, loader(normalize=(0.5, 0.25), channels=2, transform=Inverted(torch.float32)), strict=True
    ):
        torch.testing.assert_close(after.images, -before.images)
    for before, after in zip(
        plain, loader(normalize=(0.5, 0.25), channels=2, transform=Inverted(torch.uint16)), strict=True
    ):
        assert torch.equal(after.images, before.images)
    with pytest.raises(
        ArgumentError, match=r"may take torch.float32 on .0, 1., or .* torch.uint16; its takes.. answered"
    ):
        loader(transform=Inverted(torch.uint8))


def test_a_sample_maps_points_of_the_film():
    """(y, x) to pixels of each of its sizes and back, as the batch's geometry does."""
    seen = []

    def look(sample):
        (there,) = sample.to_image([(100, 20)])
        assert there.tolist() == pytest.approx([sample.size.height / 2, sample.size.width / 4])
        assert sample.to_source([there]).tolist() == [pytest.approx([100, 20])]
        assert [*sample.target_names] == ["value", "point_x", "point_y"]
        seen.append(sample.size)

    list(Loader(PatternReader(4), sampler=plan(4, budget=lambda size: 4, granule=1), transform=look))
    assert len(seen) == 4
    with pytest.raises(ArgumentError, match=r"film 'film' .* was made without a geometry"):
        sample().to_image([(1, 2)])
