"""albumentations as transform=: the same whoever makes an image, moved together, on display values, at full depth."""

import functools
import itertools
import json
import random
import warnings

import albumentations as A  # noqa: N812
import augmenting
import cv2
import imagecodecs
import numpy as np
import pandas as pd
import pytest
import torch
from augmenting import N, PatternReader, alike, everything_of, global_states, loader, pattern, plan, ways_of_two_flips
from hypothesis import given, settings
from hypothesis import strategies as st

import resload
from resload import Loader, Size
from resload.augment import Albumentations, Sample
from resload.augment.aliasing import MILD
from resload.errors import ArgumentError
from resload.samplers import Fixed, Images, Sampler, Scales
from resload.testing import synthetic_film, write_synthetic

BOXES = A.BboxParams("pascal_voc", label_fields=["box_labels"])
POINT = [("point_x", "point_y")]


def composed(*transforms, **options):
    """A composition that moves boxes and points."""
    return A.Compose(list(transforms), **{"bbox_params": BOXES, "keypoint_params": A.KeypointParams("xy")} | options)


def typical():
    """Flips, a rotation, brightness and noise, which draw from both of the library's generators."""
    return Albumentations(
        composed(
            A.HorizontalFlip(p=0.5),
            A.VerticalFlip(p=0.5),
            A.Rotate(limit=20, p=0.8),
            A.OneOf([A.RandomBrightnessContrast(p=1), A.GaussNoise(p=1), A.RandomGamma(p=1)], p=0.8),
            A.CoarseDropout(p=0.3),
        ),
        keypoints=POINT,
    )


@functools.cache
def expected():
    """Two epochs, on one thread of one process."""
    found = loader(sampler=plan(), transform=typical(), threads=1, prefetch=1)
    return everything_of([*found, *found])


# -- whoever makes it ------------------------------------------------------------------------------------


@settings(max_examples=20, deadline=None)
@given(
    threads=st.sampled_from([1, 2, 8]), world=st.sampled_from([1, 2, 4]), prefetch=st.integers(1, 4),
    grain=st.integers(0, 3),
)  # fmt: skip
@pytest.mark.slow
def test_a_film_is_the_same_whichever_process_or_thread_makes_it(threads, world, prefetch, grain):
    """Property: any number of threads and processes, any prefetch and size of task: the same images, masks, boxes,
    labels and targets, bit for bit, whatever the global generators are seeded with."""
    found = {}
    for rank in range(world):
        np.random.seed(rank)  # noqa: NPY002
        random.seed(rank)
        some = loader(
            PatternReader(N, grain=grain), sampler=plan().view(rank, world), transform=typical(), threads=threads,
            prefetch=prefetch,
        )  # fmt: skip
        found |= everything_of([*some, *some])
    assert alike(found, expected())


@settings(max_examples=10, deadline=None)
@given(stop=st.integers(1, 5), before=st.sampled_from([1, 2, 8]), after=st.sampled_from([1, 2, 8]))
def test_a_run_that_is_resumed_makes_the_same_films(stop, before, after):
    """Left after any step, continued by another loader on another number of threads."""
    first = loader(sampler=plan(), transform=typical(), threads=before)
    found = everything_of(itertools.islice(first, min(stop, len(first))))
    state = json.loads(json.dumps(first.state_dict()))
    second = loader(sampler=plan(), transform=typical(), threads=after)
    second.load_state_dict(state)
    rest = [*second]
    found |= everything_of(rest + ([] if rest[0].progress >= 1 else [*second]))
    assert alike(found, expected())


class SeededOnce(Albumentations):
    """What must not be: each thread's copy goes on with its own stream."""

    def __call__(self, sample):
        own = self._copies.own()
        own.set_random_state = lambda *generators: None
        super().__call__(sample)


def test_a_seed_of_each_thread_would_be_seen():
    """The properties above can fail: with streams of threads, films depend on which thread makes them."""
    made = []
    for threads, grain in [(1, 4), (3, 1)]:
        once = SeededOnce(A.Compose([A.GaussNoise(p=1)], seed=3))
        made.append(everything_of(loader(PatternReader(N, grain=grain), transform=once, threads=threads, boxes=False)))
    assert not alike(*made)


def test_films_are_drawn_each_for_itself():
    """Two flips that are each tossed give all four outcomes, in about equal parts: one seed for every transform, which
    the library's set_random_seed gives, would have both fall alike. Another epoch draws anew."""
    flips = A.Compose([A.HorizontalFlip(p=0.5), A.VerticalFlip(p=0.5)])
    reader = PatternReader(200)
    both = Loader(reader, size=20, batch_size=50, transform=flips, dtype=torch.uint16)
    seen = ways_of_two_flips([*both, *both])
    assert min(seen.count(way) for way in range(4)) > 70
    assert seen[:200] != seen[200:]
    chosen = Loader(
        PatternReader(N), size=20, batch_size=N, transform=A.OneOf([A.HorizontalFlip(p=1), A.NoOp(p=1)], p=1)
    )
    first, second = (next(iter(chosen)).images for _ in range(2))
    alike_now = [torch.equal(a, b) for a, b in zip(first, second, strict=True)]
    assert set(alike_now) == {True, False}  # numpy's generator, which chooses, is another one too


def test_generators_of_others_are_left_alone():
    """random's, numpy's and torch's go on as if nothing had been drawn; nor is the composition itself called."""
    compose = composed(A.GaussNoise(p=1), A.HorizontalFlip(), A.ElasticTransform(p=1), seed=1)
    own = compose.random_generator.bit_generator.state
    before = global_states()
    list(loader(transform=Albumentations(compose, keypoints=POINT), threads=2))
    assert global_states() == before
    assert compose.random_generator.bit_generator.state == own
    assert compose.processors["bboxes"].params.format == "pascal_voc"
    assert compose.transforms[0].params == {}


# -- moved together --------------------------------------------------------------------------------------

FLIPS = {
    "left to right": (A.HorizontalFlip(p=1), lambda pixels: pixels[..., ::-1]),
    "top to bottom": (A.VerticalFlip(p=1), lambda pixels: pixels[..., ::-1, :]),
    "diagonal": (A.Transpose(p=1), lambda pixels: pixels.swapaxes(-1, -2)),
}


@pytest.mark.parametrize("flip", FLIPS)
@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_a_flip_is_numpys(flip, dtype):
    """Images and masks to the last bit."""
    transform, wanted = FLIPS[flip]
    made = torch.uint8 if dtype == np.uint8 else torch.uint16
    plain = [*loader(PatternReader(N, dtype=dtype), dtype=made)]
    moved = [*loader(PatternReader(N, dtype=dtype), dtype=made, transform=composed(transform))]
    for before, after in zip(plain, moved, strict=True):
        assert np.array_equal(after.images.numpy(), wanted(before.images.numpy()))
        assert np.array_equal(after.masks.numpy(), wanted(before.masks.numpy()))
        assert torch.equal(after.masks_known, before.masks_known)
        assert not after.masks[~after.masks_known].any()
        assert torch.equal(after.targets, before.targets)


@pytest.mark.parametrize("transform", [A.D4(p=1), A.RandomRotate90(p=1), A.NoOp(p=1), A.HorizontalFlip(p=0.5)])
def test_boxes_and_landmarks_move_with_the_image(transform):
    """A box stays on what it covers, and a landmark at its pixel's centre, exactly: the masks show where these went."""
    adapter = Albumentations(composed(transform), keypoints=POINT)
    ways = set()
    for batch in loader(PatternReader(N), transform=adapter):
        for i, row in enumerate(batch.rows.tolist()):
            (box,) = batch.boxes[i].tolist()
            y, x = np.nonzero(batch.masks[i, 0].numpy())
            assert box == pytest.approx([x.min(), y.min(), x.max() + 1, y.max() + 1], abs=1e-4)
            ((point_y, point_x),) = np.argwhere(batch.masks[i, 1].numpy())
            assert batch.targets[i].tolist() == pytest.approx([row, point_x + 0.5, point_y + 0.5], abs=1e-4)
            assert batch.box_labels[i].tolist() == [0]
            ways.add((x[0], y[0]))
    assert len(ways) > 3


@settings(max_examples=20, deadline=None)
@given(
    angle=st.floats(-180, 180), x=st.floats(-0.6, 0.6), y=st.floats(-0.6, 0.6), scale=st.floats(0.9, 1.5),
    each=st.booleans(), invisible=st.booleans(),
)  # fmt: skip
def test_anywhere_a_landmark_is_where_its_pixel_went_or_unknown(angle, x, y, scale, each, invisible):
    """Property: rotated, shifted and scaled by any amount, landmarks lie within a pixel of their mark or are NaN, boxes
    are in the image and have an area; whatever the composition says of invisible points and of checks."""
    compose = composed(
        A.Affine(rotate=(angle, angle), translate_percent={"x": (x, x), "y": (y, y)}, scale=(scale, scale), p=1),
        bbox_params=A.BboxParams("yolo", check_each_transform=each),
        keypoint_params=A.KeypointParams("yx", remove_invisible=invisible),
        mask_interpolation=cv2.INTER_LINEAR,
    )
    adapter = Albumentations(compose, keypoints=POINT)
    for batch in loader(PatternReader(8), transform=adapter):
        assert torch.equal(batch.known, ~batch.targets.isnan())
        for i in range(len(batch)):
            marked = batch.masks[i, 1].numpy().astype(float)
            px, py = batch.targets[i, 1:].tolist()
            assert np.isnan(px) == np.isnan(py)
            if marked.sum() > 0.97 * 255 * scale**2:  # whole in the image
                centre = (np.argwhere(marked) + 0.5).T @ marked[marked > 0] / marked.sum()
                assert [py, px] == pytest.approx(centre.tolist(), abs=0.75)
            assert np.isnan(px) or min(px, py, 20 - px, 20 - py) >= 0
            if not marked.any() and not np.isnan(px):
                assert min(px, py, 20 - px, 20 - py) < 1  # a mark of less than a pixel at the border
            boxes = batch.boxes[i]
            assert len(boxes) == len(batch.box_labels[i]) <= 1
            assert ((boxes[:, :2] >= 0) & (boxes[:, 2:] <= 20.001) & (boxes[:, 2:] > boxes[:, :2])).all()


FORMATS = {
    "pascal_voc": ["box_labels"],
    "coco": ["class_labels", "scores"],
    "yolo": [],
    "albumentations": None,
}


def test_every_format_of_boxes_gives_the_same():
    """Whatever the composition's format and fields of labels are called."""
    found = []
    for name, fields in FORMATS.items():
        compose = composed(A.HorizontalFlip(p=1), A.Rotate((30, 30), p=1), bbox_params=A.BboxParams(name, fields))
        found.append(everything_of(loader(transform=compose)))
    assert all(alike(one, found[0]) for one in found)
    assert any(len(boxes) for *_, boxes, _ in found[0].values())


def test_boxes_that_the_composition_drops_are_gone():
    """Shifted by half the image, with half of a box asked for: those that kept less have no label either; with none
    asked for, what is left is clipped."""
    shift = A.Affine(translate_percent={"x": (0.5, 0.5)}, p=1)
    plain = [box for batch in loader() for box in batch.boxes]
    for least in (0.0, 0.5):
        moved = loader(transform=composed(shift, bbox_params=A.BboxParams("coco", [], min_visibility=least)))
        for before, (after, labels) in zip(
            plain, [pair for batch in moved for pair in zip(batch.boxes, batch.box_labels, strict=True)], strict=True
        ):
            left, top, right, bottom = before[0].tolist()
            seen = max(0.0, min(right + 10, 20) - (left + 10)) / (right - left)
            kept = seen > 0 if least == 0 else seen >= least - 1e-6
            wanted = [[left + 10, top, min(right + 10, 20), bottom]] if kept else []
            assert after.tolist() == [pytest.approx(box, abs=1e-4) for box in wanted]
            assert len(labels) == len(wanted)


def test_a_box_that_leaves_the_image_is_gone():
    """Whether the composition looks after each transform or only at the end, and a box of no area is none before."""
    for each in (True, False):
        away = A.Affine(translate_percent={"x": (1, 1)}, p=1)
        gone = loader(transform=composed(away, bbox_params=A.BboxParams("coco", [], check_each_transform=each)))
        assert [len(boxes) for batch in gone for boxes in batch.boxes] == [0] * N
        part = A.RandomResizedCrop((20, 20), scale=(0.2, 0.3))
        some = loader(transform=composed(part, bbox_params=A.BboxParams("coco", [], check_each_transform=each)))
        left = [boxes for batch in some for boxes in batch.boxes]
        assert {len(boxes) for boxes in left} == {0, 1}
        assert all((boxes[:, 2:] > boxes[:, :2]).all() for boxes in left)
    sample = Sample(
        torch.zeros(1, 20, 20), torch.zeros(0), 0, "film", Size(20, 20), 0.0, 1,
        boxes=torch.tensor([[1.0, 2, 1, 9], [-5, 3, 4, 30], [2, 5, 8, 5], [30, 1, 40, 9]]),
        box_labels=torch.tensor([3, 4, 5, 6]),
    )  # fmt: skip
    Albumentations(A.Compose([A.HorizontalFlip(p=1)], bbox_params=BOXES))(sample)
    assert sample.boxes.tolist() == [pytest.approx([16, 3, 20, 20], abs=1e-4)]
    assert sample.box_labels.tolist() == [4]


class TwoBoxes(PatternReader):
    """Film r: boxes of two kinds, left and right, in an order that depends on the film."""

    def __init__(self, n):
        super().__init__(n)
        left = self.boxes.assign(label="left", x=8.0, y=20.0)
        right = self.boxes.assign(label="right", x=60.0, y=100.0)
        both = pd.concat([left, right]).sort_values("id", kind="stable").reset_index(drop=True)
        turned = both["id"].str[-1].astype(int) % 2 == 1
        both.loc[turned] = both[turned].iloc[::-1].to_numpy()
        self.boxes = both


@pytest.mark.parametrize("fields", [["box_labels"], ["a", "b"], []])
def test_a_box_keeps_its_label_when_others_are_dropped(fields):
    """Shifted to the right by half the image, the left one is left; it came first or second."""
    shift = A.Affine(translate_percent={"x": (0.5, 0.5)}, p=1)
    batches = loader(TwoBoxes(8), transform=composed(shift, bbox_params=A.BboxParams("yolo", fields)))
    for batch in batches:
        for boxes, labels in zip(batch.boxes, batch.box_labels, strict=True):
            assert boxes.tolist() == [pytest.approx([12, 2, 15, 5], abs=1e-4)]
            assert labels.tolist() == [0]
    assert batches.box_names == ("left", "right")


@pytest.mark.parametrize("invisible", [True, False])
def test_a_landmark_within_half_a_pixel_of_the_border_is_one(invisible):
    """albumentations counts from the centres of pixels, where it lies outside."""
    reader = PatternReader(4)
    reader.table = reader.table.assign(point_x=[0.4, 79.6, 0.0, -0.1], point_y=[0.1, 199.9, 0.0, 50.0])
    flip = composed(A.HorizontalFlip(p=1), keypoint_params=A.KeypointParams("xy", remove_invisible=invisible))
    (batch,) = loader(reader, transform=Albumentations(flip, keypoints=POINT))
    wanted = torch.tensor([[19.9, 0.01], [0.1, 19.99], [20, 0], [torch.nan, torch.nan]])
    torch.testing.assert_close(batch.targets[:, 1:], wanted, equal_nan=True, atol=1e-4, rtol=0)


def test_a_composition_may_be_skipped_as_a_whole():
    """Boxes, masks and landmarks are then where they were, landmarks in pixels of the image."""
    sometimes = Albumentations(composed(A.HorizontalFlip(p=1), p=0.5), keypoints=POINT)
    turned = 0
    for batch in loader(transform=sometimes):
        for i in range(len(batch)):
            y, x = np.nonzero(batch.masks[i, 0].numpy())
            assert batch.boxes[i].tolist() == [pytest.approx([x.min(), y.min(), x.max() + 1, y.max() + 1], abs=1e-4)]
            assert batch.masks[i, 1, int(batch.targets[i, 2]), int(batch.targets[i, 1])] == 255
            turned += bool(x.min() != batch.rows[i] % 10)
    assert 0 < turned < N


def test_a_composition_that_moves_boxes_works_without_them():
    """Nothing is asked for, nothing is given: boxes and points of a composition are optional."""
    for batch in loader(transform=composed(A.HorizontalFlip(p=1)), boxes=False, masks=False):
        assert batch.boxes is None
        assert torch.equal(batch.targets[:, 0], batch.rows.float())


def test_several_sizes_of_a_film_are_moved_alike():
    """Each scale draws the same; landmarks, boxes and masks come with the first."""
    sampler = Sampler(N, sizes=Scales(20, 40), budget=Images(8), seed=2)
    adapter = Albumentations(composed(A.HorizontalFlip(p=0.5)), keypoints=POINT)
    turned = 0
    for batch in loader(sampler=sampler, transform=adapter, dtype=torch.uint16):
        for i, row in enumerate(batch.rows.tolist()):
            same = [np.array_equal(images[i, 0].numpy(), pattern(row, tuple(size), np.uint16))
                    for size, images in batch.scales.items()]  # fmt: skip
            assert same in ([True, True], [False, False])
            turned += not same[0]
            assert batch.masks[i, 1, int(batch.targets[i, 2]), int(batch.targets[i, 1])] == 255
    assert 0 < turned < N


# -- values ----------------------------------------------------------------------------------------------

NOTHING = A.Compose([A.HorizontalFlip(p=0), A.RandomBrightnessContrast(p=0)])


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize(
    ("stored", "dtype"),
    [(np.uint8, torch.uint8)]
    + [(one, other) for one in (np.uint8, np.uint16) for other in (torch.float32, torch.bfloat16, torch.uint16)],
)
def test_a_composition_that_does_nothing_changes_no_bit(stored, dtype, channels):
    """In each dtype, of each depth; and normalised, where images are given as they are stored."""
    options = {"dtype": dtype, "channels": channels}
    rules = [None, (0.3, 0.17)] if dtype.is_floating_point and stored == np.uint8 else [None]
    for normalize in rules:
        plain = loader(PatternReader(N, dtype=stored), **options, normalize=normalize)
        found = loader(PatternReader(N, dtype=stored), **options, normalize=normalize, transform=NOTHING, boxes=False)
        for before, after in zip(plain, found, strict=True):
            assert torch.equal(before.images, after.images)
            assert torch.equal(before.masks, after.masks)


@pytest.mark.parametrize("stored", [np.uint8, np.uint16])
def test_normalising_after_floats_rounds_once_more(stored):
    """Where images are given as floats, scaling and normalising are two roundings instead of one: within 2 units in the
    last place of float32 of (1 + |mean|) / std."""
    mean, std = (0.5, 0.1, 0.2), (0.25, 0.3, 0.01)
    options = {"channels": 3, "normalize": (mean, std)}
    plain = loader(PatternReader(N, dtype=stored), **options)
    adapter = Albumentations(NOTHING, dtype="float32")
    found = loader(PatternReader(N, dtype=stored), **options, transform=adapter, boxes=False)
    for before, after in zip(plain, found, strict=True):
        off = (before.images - after.images).abs().amax((0, 2, 3))
        assert (off <= torch.tensor([2 * 2.0**-23 * (1 + m) / s for m, s in zip(mean, std, strict=True)])).all()
        assert off.max() > 0


@pytest.mark.parametrize("stored", [np.uint8, np.uint16])
def test_what_it_sees_is_not_normalised(stored):
    """uint8 as stored, or float32 on [0, 1], of one channel; normalising and repeating come after, on what it left."""
    seen = []

    def inverted(pixels, **params):
        seen.append((pixels.dtype, pixels.shape, pixels.copy()))
        return 255 - pixels if pixels.dtype == np.uint8 else 1 - pixels

    compose = A.Compose([A.Lambda(name="inverted", image=inverted, p=1)])
    options = {"channels": 2, "normalize": ((0.25, 0.5), (0.5, 2)), "boxes": False, "threads": 1}
    for batch in loader(PatternReader(N, dtype=stored), transform=compose, **options):
        for i, row in enumerate(batch.rows.tolist()):
            film, (dtype, shape, pixels) = pattern(row, (20, 20), stored), seen.pop(0)
            assert dtype == (np.uint8 if stored == np.uint8 else np.float32)
            assert shape == (20, 20)
            share = film / np.float32(np.iinfo(stored).max)
            np.testing.assert_allclose(pixels, film if stored == np.uint8 else share, rtol=1e-6)
            wanted = [(1 - share - 0.25) / 0.5, (1 - share - 0.5) / 2]
            np.testing.assert_allclose(batch.images[i].numpy(), wanted, atol=1e-6)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.uint16])
def test_brightness_is_a_share_of_the_whole_range(dtype):
    """0.25 more of white, and no more than white, whatever the batch's dtype and normalisation."""
    brighter = A.Compose([A.RandomBrightnessContrast((0.25, 0.25), (0, 0), p=1)])
    normalize = (0.5, 0.25) if dtype.is_floating_point else None
    for batch in loader(transform=brighter, dtype=dtype, normalize=normalize, boxes=False):
        for row, image in zip(batch.rows.tolist(), batch.images.float(), strict=True):
            share = np.minimum(pattern(row, (20, 20), np.uint16) / 65535 + 0.25, 1)
            share = (share - 0.5) / 0.25 if normalize else share * 65535
            np.testing.assert_allclose(
                image[0].numpy(), share, atol={torch.float32: 1e-5}.get(dtype, 0.51 if normalize is None else 2e-3)
            )


@pytest.mark.parametrize("dtype", [torch.uint8, torch.uint16])
def test_integers_are_clipped_and_rounded(dtype):
    """What a composition leaves outside [0, 1] is black or white; nothing wraps around."""

    def stretched(pixels, **params):
        return pixels * np.float32(3) - np.float32(1)

    stored, top = (np.uint8, 255) if dtype == torch.uint8 else (np.uint16, 65535)
    adapter = Albumentations(A.Lambda(name="stretched", image=stretched, p=1), dtype="float32")
    for batch in loader(PatternReader(N, dtype=stored), transform=adapter, dtype=dtype, boxes=False):
        for row, image in zip(batch.rows.tolist(), batch.images.numpy(), strict=True):
            film = pattern(row, (20, 20), stored).astype(int)
            assert np.array_equal(image[0].astype(int), np.clip(3 * film - top, 0, top))


def test_sixteen_bits_stay_sixteen_bits():
    """A rotation and a brightness of films of 65,536 gray levels leave thousands, also in integers."""
    compose = composed(A.Rotate((10, 10), p=1), A.RandomBrightnessContrast(p=1))
    for dtype in (torch.float32, torch.uint16):
        (batch,) = loader(PatternReader(4), size=128, transform=compose, dtype=dtype)
        assert all(len(np.unique(image)) > 4096 for image in batch.images.numpy())


def test_the_kind_of_numbers_is_chosen_by_the_cache(cache, cache8):
    """uint8 of a cache of 8 bits, floats of a deeper one; or floats of both, when asked for."""
    for data, wanted, options in [
        (cache8, "uint8", {}),
        (cache, "float32", {}),
        (cache8, "float32", {"dtype": "float32"}),
    ]:
        kinds = []

        def note(pixels, kinds=kinds, **params):
            kinds.append(pixels.dtype.name)
            return pixels

        adapter = Albumentations(A.Lambda(name="note", image=note, p=1), **options)
        next(iter(Loader(data, size=32, batch_size=1, transform=adapter)))
        assert set(kinds) == {wanted}


def test_a_single_transform_is_a_composition_of_one():
    """Also one that is chosen among several."""
    for transform in (
        A.HorizontalFlip(p=1),
        A.OneOf([A.HorizontalFlip(p=1)], p=1),
        A.Sequential([A.HorizontalFlip(p=1)], p=1),
    ):
        batch = next(iter(loader(transform=transform, dtype=torch.uint16, boxes=False)))
        assert np.array_equal(batch.images[3, 0].numpy(), pattern(3, (20, 20), np.uint16)[:, ::-1])


def test_its_own_tensors_are_taken():
    """A composition that ends in ToTensorV2, as most do, gives the same as without."""
    flip = A.HorizontalFlip(p=1)
    plain = everything_of(loader(transform=A.Compose([flip]), boxes=False))
    assert alike(everything_of(loader(transform=A.Compose([flip, A.ToTensorV2()]), boxes=False)), plain)


def test_films_read_from_their_files_are_sized_before_what_comes_with_them_is_moved(tmp_path):
    """A catalog that does not say how large its films are: boxes and masks are flipped from where they lie."""
    catalog = write_synthetic(tmp_path, 8, size=(200, 160), broken=0)
    assert "height" not in catalog.table
    (tmp_path / "mask.png").write_bytes(imagecodecs.png_encode(np.eye(200, 160, dtype=np.uint8) * 255))
    masks = pd.DataFrame({"id": catalog.table["id"].iloc[:5], "label": "line", "path": "mask.png"})
    catalog = resload.Catalog(
        catalog.table, targets=catalog.targets, boxes=catalog.boxes, masks=masks, root=catalog.root
    )
    flip = A.Compose([A.HorizontalFlip(p=1)], bbox_params=BOXES)
    options = {"pipeline": resload.Pipeline(48), "size": 48, "batch_size": 5, "boxes": True, "masks": True}
    plain = everything_of(Loader(catalog, **options))
    for key, found in everything_of(Loader(catalog, transform=flip, **options)).items():
        image, _, _, coverage, boxes, _ = plain[key]
        torch.testing.assert_close(found[0], image.flip(-1))
        assert torch.equal(found[3], coverage.flip(-1))
        x1, y1, x2, y2 = boxes.unbind(1)
        torch.testing.assert_close(found[4], torch.stack([48 - x2, y1, 48 - x1, y2], 1), rtol=0, atol=1e-3)
    assert sum(len(found[4]) for found in plain.values())
    assert sum(int(found[3].any()) for found in plain.values()) == 5


def test_padding_is_left_out():
    """Places without a film stay zeros, and are not normalised."""
    sampler = plan(10, tail="exact", budget=Images(4)).view(2, 4)
    bright = A.Compose([A.RandomBrightnessContrast((0.5, 0.5), p=1)])
    batches = [*loader(PatternReader(10), sampler=sampler, transform=bright, normalize=(0.5, 1), boxes=False)]
    assert not batches[-1].valid.any()
    assert not batches[-1].images.any()


# -- refused ---------------------------------------------------------------------------------------------

REFUSED = {
    "boxes": (A.Compose([A.RandomGamma(), A.VerticalFlip()]), r"moves pixels \(VerticalFlip\) without moving boxes: "
              r'make it A.Compose\(\[...\], bbox_params=A.BboxParams\("pascal_voc", label_fields=\["box_labels"\]\)\)'),
    "a resize": (composed(A.Resize(10, 10)), r"has Resize, and the size of images is the loader's.*Loader\(size="),
    "a resize inside": (composed(A.OneOf([A.Sequential([A.Resize(10, 10)])])), "has Resize"),
    "depth": (Albumentations(composed(A.D4()), dtype="uint8"), "would lose depth: this data is uint16"),
    "points": (Albumentations(A.Compose([A.D4()], bbox_params=BOXES), keypoints=POINT),
               r'keypoint_params=A.KeypointParams\("xy"\)'),
    "unknown points": (Albumentations(composed(A.D4()), keypoints=[("carina_x", "point_y")]),
                       r"carina_x are no targets of this data, which has \['value', 'point_x', 'point_y'\]"),
    "twice": (Albumentations(composed(A.D4()), keypoints=[("point_x", "point_x")]), "a target belongs to one landmark"),
    "no callable": ([A.HorizontalFlip()], "transform= must be a callable .* found list"),
}  # fmt: skip


@pytest.mark.parametrize("case", REFUSED)
def test_what_cannot_be_done_is_refused_when_the_loader_is_made(case):
    """With the remedy in words."""
    transform, message = REFUSED[case]
    with pytest.raises(ArgumentError, match=message):
        loader(transform=transform)


def test_wrong_options_are_refused():
    """When the adapter is made."""
    with pytest.raises(ArgumentError, match=r'dtype must be "auto", "float32" or "uint8"; found .uint16.'):
        Albumentations(composed(A.D4()), dtype="uint16")
    with pytest.raises(ArgumentError, match=r"a transform or composition of albumentations 2.x; found function"):
        Albumentations(composed)
    for wrong in (["point_x"], [("a", "b", "c")], [(1, 2)]):
        with pytest.raises(ArgumentError, match="keypoints must be pairs of targets"):
            Albumentations(composed(A.D4()), keypoints=wrong)


WRONG = {
    "size": (A.CenterCrop(10, 10), np.uint16, r"left an image of \(10, 10\) where the loader asked for \(20, 20\).*"
             r"A.RandomResizedCrop\(size=\(20, 20\)\)"),
    "colours": (A.ToRGB(), np.uint8, r"given 1 channel\(s\) and left \(3, 20, 20\).*Loader\(channels=3\)"),
    "type": (A.Normalize(0.5, 0.5), np.uint8, r"given torch.uint8 and left torch.float32.*normalize="),
}  # fmt: skip


@pytest.mark.parametrize("case", WRONG)
def test_an_image_of_another_shape_or_type_is_refused(case):
    """With the film, and how to end at the loader's size."""
    transform, dtype, message = WRONG[case]
    with pytest.raises(ArgumentError, match=message) as caught:
        next(iter(loader(PatternReader(N, dtype=dtype), transform=A.Compose([transform], p=1), boxes=False)))
    assert "film 'film 0' (row 0)" in str(caught.value)
    assert caught.value.__notes__ == ["raised by transform= on film 'film 0' (row 0)"]


# -- warned of -------------------------------------------------------------------------------------------

SHRINKING = {
    "Affine": (A.Affine(scale=(0.8, 1.2)), "keep its scale at 0.9 or above"),
    "SafeRotate": (A.SafeRotate(limit=30), "use Rotate"),
    "RandomScale": (A.RandomScale((-0.5, 0)), 'area_for_downscale="image"'),
    "LongestMaxSize": (A.LongestMaxSize(16), 'area_for_downscale="image"'),
    "SmallestMaxSize": (A.SmallestMaxSize(max_size_hw=(10, 12)), 'area_for_downscale="image"'),
    "RandomResizedCrop": (A.RandomResizedCrop((10, 20)), 'area_for_downscale="image"'),
    "RandomSizedCrop": (A.RandomSizedCrop((15, 20), (10, 10)), 'area_for_downscale="image"'),
    "RandomSizedBBoxSafeCrop": (A.RandomSizedBBoxSafeCrop(10, 10), "crop to the loader's own size"),
    "CropAndPad": (A.CropAndPad(px=(0, 4)), "pad less"),
}


@pytest.mark.parametrize("name", SHRINKING)
def test_shrinking_that_aliases_is_warned_of_once(name):
    """When the loader is made, at the line of the caller, with the remedy, however deep it stands."""
    transform, remedy = SHRINKING[name]
    with pytest.warns(UserWarning, match=rf"has {name}, which may shrink .* to less than 0.9 .*{remedy}") as caught:
        loader(transform=composed(A.OneOf([transform, A.Sequential([transform])])))
    assert [warning.filename for warning in caught] == [augmenting.__file__]


def test_what_counts_as_mild_is_measured():
    """Linear interpolation of two pixels beside a resize that smooths, in 1/255: what `aliasing.MILD` says of them."""
    found = {}
    for scale in (MILD, 0.75, 0.5):
        side, apart = round(512 * scale), []
        for seed in range(4):
            film = synthetic_film(seed, size=512).pixels
            linear = cv2.resize(film.astype(np.float32), (side, side), interpolation=cv2.INTER_LINEAR)
            apart.append(np.sqrt(np.mean((linear - resload.reference.resample(film, (side, side))) ** 2)))
        found[scale] = float(np.mean(apart))
    assert found == {
        0.9: pytest.approx(0.63, abs=0.05),
        0.75: pytest.approx(1.30, abs=0.05),
        0.5: pytest.approx(1.77, abs=0.05),
    }


def test_what_smooths_or_does_not_shrink_is_not_warned_of():
    """Means over areas, scales from 0.9 on, and crops that are enlarged to the loader's size."""
    composed_of = [
        A.Affine(scale=(0.9, 1.2)), A.Affine(rotate=(-40, 40)), A.SafeRotate(limit=5), A.RandomScale((-0.1, 0.5)),
        A.RandomScale((-0.5, 0), area_for_downscale="image"), A.LongestMaxSize(10, area_for_downscale="image_mask"),
        A.SmallestMaxSize(30), A.RandomResizedCrop((20, 20)),
        A.RandomResizedCrop((10, 10), interpolation=cv2.INTER_AREA),
        A.RandomSizedCrop((5, 10), (20, 20)), A.CropAndPad(px=(-4, 0)), A.CropAndPad(percent=0.5, keep_size=False),
        A.Perspective(), A.ElasticTransform(),
    ]  # fmt: skip
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        loader(transform=composed(*composed_of))


def test_what_is_computed_in_8_bits_is_warned_of_where_data_is_deeper():
    """Of films of 8 bits nothing is lost."""
    compose = composed(A.CLAHE(p=1), A.HorizontalFlip(), A.Equalize())
    loader(PatternReader(N, dtype=np.uint8), transform=compose)
    with pytest.warns(UserWarning, match="has CLAHE, Equalize, which albumentations computes in 8 bits") as caught:
        loader(transform=compose)
    assert [warning.filename for warning in caught] == [augmenting.__file__]


def test_the_list_of_8_bits_is_that_of_this_version():
    """Every transform that takes a gray film of floats at its defaults, and leaves no more than 256 levels of 65,536,
    is listed, and every one that is listed does; Posterize and ShotNoise mean to leave few."""
    from resload.augment.albumentations import EIGHT_BIT

    ramp = np.linspace(0, 1, 1 << 16, dtype=np.float32).reshape(256, 256)
    found = set()
    for name in dir(A):
        made = getattr(A, name)
        if not (isinstance(made, type) and issubclass(made, A.ImageOnlyTransform)) or name == "ImageOnlyTransform":
            continue
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                image = A.Compose([made(p=1)], seed=1)(image=ramp)["image"]
        except (ValueError, NotImplementedError, TypeError):  # for colours, or with arguments
            continue
        if isinstance(image, np.ndarray) and image.dtype == np.float32 and len(np.unique(image)) <= 256:
            found.add(name)
    assert found - {"ShotNoise"} == set(EIGHT_BIT)


def test_sizes_of_a_plan_are_all_looked_at():
    """A crop that is enlarged at one size of a mix, and shrunk at the other."""
    with pytest.warns(UserWarning, match="has RandomResizedCrop"):
        Loader(PatternReader(N), sampler=plan(), transform=A.RandomResizedCrop((20, 20)))
    assert plan().sizes.at(0, epoch=0) in (Size(20, 20), Size(40, 40))
    assert resload.augment.Albumentations is Albumentations


# -- in the workers of a DataLoader ----------------------------------------------------------------------


def worker_adapter():
    """What processes can be given: no function of this module."""
    compose = A.Compose(
        [A.HorizontalFlip(), A.Rotate(20, p=1), A.GaussNoise(p=1)], keypoint_params=A.KeypointParams("xy")
    )
    return Albumentations(compose, keypoints=POINT)


@pytest.mark.parametrize("dtype", [torch.float32, torch.uint16])
@pytest.mark.parametrize("workers", [0, 2])
def test_a_map_style_data_set_makes_the_same_films(workers, dtype):
    """torch_dataset with a sampler's keys: images and targets of a Loader, whichever worker makes them."""
    sampler = plan(10, tail="exact", budget=Images(4), sizes=plan().sizes)
    wanted = loader(
        PatternReader(10), sampler=sampler, transform=worker_adapter(), dtype=dtype, boxes=False, masks=False
    )
    data = resload.torch_dataset(PatternReader(10), size=20, dtype=dtype, transform=worker_adapter())
    found = torch.utils.data.DataLoader(data, batch_sampler=sampler, num_workers=workers)
    for batch, (images, targets) in zip(wanted, found, strict=True):
        assert torch.equal(batch.images, images)
        assert torch.equal(batch.targets.nan_to_num(-1), targets.nan_to_num(-1))


def test_a_film_by_its_place_is_drawn_from_torchs_generator():
    """As any transform under a DataLoader: a seed gives the same, and the next draw another."""
    data = resload.torch_dataset(PatternReader(4), size=20, transform=worker_adapter())
    torch.manual_seed(3)
    first, second = data[1][0], data[1][0]
    torch.manual_seed(3)
    assert torch.equal(data[1][0], first)
    assert not torch.equal(first, second)
    assert data[1][0].shape == (1, 20, 20)


def test_padding_of_a_data_set_is_left_out():
    """Zeros whose targets are unknown."""
    data = resload.torch_dataset(PatternReader(4), size=20, transform=Albumentations(A.InvertImg(p=1)))
    sampler = plan(3, sizes=Fixed(20), tail="exact", budget=Images(4), granule=4).view(3, 4)
    ((key,),) = list(sampler)
    image, targets = data[key]
    assert key.index == -1
    assert not image.any()
    assert targets.isnan().all()


# -- all of them -----------------------------------------------------------------------------------------

SIZED = {
    "AtLeastOneBBoxRandomCrop": {"height": 20, "width": 20},
    "CenterCrop": {"height": 20, "width": 20},
    "Crop": {"x_max": 20, "y_max": 20},
    "CropAndPad": {"px": (-2, 2)},
    "CropNonEmptyMaskIfExists": {"height": 20, "width": 20},
    "FrequencyMasking": {"freq_mask_param": 5},
    "GridElasticDeform": {"num_grid_xy": (4, 4), "magnitude": 3},
    "PadIfNeeded": {"min_height": 20, "min_width": 20},
    "RandomCrop": {"height": 20, "width": 20},
    "RandomResizedCrop": {"size": (20, 20)},
    "RandomSizedBBoxSafeCrop": {"height": 20, "width": 20},
    "RandomSizedCrop": {"min_max_height": (10, 20), "size": (20, 20)},
    "TimeMasking": {"time_mask_param": 5},
}
"""What keeps films of 20 x 20."""
OTHERS = {
    "colours": "ChannelDropout ChromaticAberration HEStain ISONoise PlanckianJitter RandomFog RandomGravel RandomRain "
    "RandomSnow RandomSunFlare Spatter ToRGB",
    "types": "FromFloat Normalize ToFloat",
    "sizes": "BBoxSafeRandomCrop LongestMaxSize RandomCropFromBorders RandomScale Resize SmallestMaxSize",
    "more than a film": "FDA HistogramMatching MaskDropout Mosaic OverlayElements PixelDistributionAdaptation "
    "RandomCropNearBBox TextImage",
}
"""What this test leaves out, by what it is for."""


def all_transforms():
    """Names of those that take a gray film and leave its size."""
    left_out = {name for names in OTHERS.values() for name in names.split()}
    bases = {"BasicTransform", "DualTransform", "ImageOnlyTransform"}
    return [
        name
        for name, made in vars(A).items()
        if isinstance(made, type) and issubclass(made, A.BasicTransform) and not issubclass(made, A.Transform3D)
        and name not in left_out | bases
    ]  # fmt: skip


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("name", sorted(all_transforms()))
def test_every_transform_is_the_same_on_any_number_of_threads(name):
    """Of bytes and of floats, with masks, boxes and landmarks: it works, and follows from the draw alone."""
    compose = composed(getattr(A, name)(p=1, **SIZED.get(name, {})))
    for stored in (np.uint8, np.uint16):
        found = [
            everything_of(
                loader(PatternReader(8, dtype=stored, grain=grain), transform=Albumentations(compose, keypoints=POINT),
                       threads=threads)
            )
            for threads, grain in [(1, 0), (3, 1)]
        ]  # fmt: skip
        assert alike(*found)
