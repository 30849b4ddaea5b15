"""transform= and batch_transform=: what they see, and that what they make does not depend on who makes it."""

import functools
import itertools
import json

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from loading import NumberReader
from test_loader_steps import FindingsReader, exams

from resload import Loader, Size
from resload.augment import Sample, globally_seeded
from resload.errors import ArgumentError
from resload.samplers import Fixed, Images, Mix, Sampler, Scales, Sequential

N = 24


def noisy(sample):
    """Noise from both generators, a flip, and a little of whatever else may differ between images."""
    sample.image += torch.from_numpy(sample.rng.standard_normal(sample.image.shape, np.float32))
    sample.image += torch.rand(sample.image.shape, generator=sample.torch_generator)
    if sample.rng.random() < 0.5:
        return sample.image.flip(-1)
    return None


def plan(data, **options):
    """A sampler of three sizes, whose steps eight processes can share."""
    return Sampler(data, **{"sizes": Mix((4, 6, 8)), "budget": Images(8), "seed": 5} | options)


def images_of(batches):
    """{(epoch's step, row): image}: with the sizes of a mix, what is made of each film at each step."""
    return {
        (round(batch.progress, 6), row): image.clone()
        for batch in batches
        for row, image in zip(batch.rows.tolist(), batch.images, strict=True)
    }


@functools.cache
def expected():
    """Two epochs, on one thread of one process."""
    loader = Loader(NumberReader(N), sampler=plan(N), transform=noisy, threads=1, prefetch=1)
    return images_of([*loader, *loader])


def same(found, wanted):
    assert found.keys() == wanted.keys()
    assert all(torch.equal(found[key], wanted[key]) for key in wanted)


# -- whoever makes it ------------------------------------------------------------------------------------


@settings(max_examples=25, deadline=None)
@given(
    threads=st.sampled_from([1, 2, 8]), world=st.sampled_from([1, 2, 4, 8]), prefetch=st.integers(1, 4),
    grain=st.integers(0, 3),
)  # fmt: skip
def test_an_image_is_the_same_whichever_process_or_thread_makes_it(threads, world, prefetch, grain):
    """Property: any number of threads and processes, any prefetch and any size of task: the same pixels, bit for bit;
    the caller's autocast, gradients and seeding of the global generators change nothing."""
    found = {}
    for rank in range(world):
        reader = NumberReader(N, grain=grain)
        loader = Loader(reader, sampler=plan(N).view(rank, world), transform=noisy, threads=threads, prefetch=prefetch)
        torch.manual_seed(rank)
        with torch.autocast("cpu", dtype=torch.bfloat16):
            found |= images_of([*loader, *loader])
    same(found, expected())


@settings(max_examples=15, deadline=None)
@given(stop=st.integers(1, 5), threads=st.sampled_from([1, 2, 8]), worlds=st.tuples(*[st.sampled_from([1, 2, 4])] * 2))
def test_a_run_that_is_resumed_makes_the_same_images(stop, threads, worlds):
    """Left after any step, continued on another number of processes and threads: the pixels of the run that was not."""
    before, after = worlds
    found, states = {}, []
    for rank in range(before):
        loader = Loader(NumberReader(N), sampler=plan(N).view(rank, before), transform=noisy, threads=threads)
        head = list(itertools.islice(loader, min(stop, len(loader))))
        found |= images_of(head)
        states.append(json.loads(json.dumps(loader.state_dict())))
    assert len({str(state) for state in states}) == 1
    for rank in range(after):
        loader = Loader(NumberReader(N), sampler=plan(N).view(rank, after), transform=noisy, threads=threads + 1)
        loader.load_state_dict(states[0])
        rest = [*loader]
        found |= images_of(rest + ([] if rest[0].progress >= 1 else [*loader]))
    same(found, expected())


def test_another_draw_makes_another_image():
    """In another epoch the same film at the same size is another image: the property above is not vacuous."""
    loader = Loader(NumberReader(N), size=4, batch_size=8, transform=noisy)
    first, second = ({row: image for (_, row), image in images_of(loader).items()} for _ in range(2))
    assert not any(torch.equal(first[row], second[row]) for row in first)
    assert len({image.sub(row / 65535).mul(1e4).round().sum().item() for row, image in first.items()}) == N


def test_a_product_on_the_callers_thread_is_not_cast():
    """The caller's thread makes some of the images, inside its autocast and its gradients; products stay float32."""
    weight = torch.nn.Parameter(torch.full((4, 4), 1 / 3))

    def product(sample):
        sample.image = sample.image @ weight
        assert not torch.is_grad_enabled()

    options = {"size": 4, "batch_size": 8, "transform": product, "threads": 2}
    plain = [batch.images for batch in Loader(NumberReader(N, grain=2), **options)]
    with torch.autocast("cpu", dtype=torch.bfloat16):
        mixed = [batch.images for batch in Loader(NumberReader(N, grain=2), **options)]
    assert all(torch.equal(a, b) and not a.requires_grad for a, b in zip(plain, mixed, strict=True))


# -- what it sees ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.uint16])
def test_a_sample_is_what_the_batch_holds(dtype):
    """Image scaled and normalised, targets, row, id, size, progress and draw: those of the batch, for each film."""
    seen = {}

    def look(sample):
        assert isinstance(sample, Sample)
        seen[sample.draw] = (sample, sample.image.clone(), sample.targets.clone())

    normalize = (0.25, 0.5) if dtype.is_floating_point else None
    loader = Loader(NumberReader(N), sampler=plan(N), dtype=dtype, channels=3, normalize=normalize, transform=look)
    for batch in [*loader, *loader]:
        assert batch.size in (Size(4, 4), Size(6, 6), Size(8, 8))
        for i, draw in enumerate(batch.draws.tolist()):
            sample, image, targets = seen.pop(draw)
            assert torch.equal(image.to(dtype), batch.images[i])
            assert image.dtype == (torch.float32 if dtype.is_floating_point else dtype)
            assert torch.equal(targets, batch.targets[i])
            assert (sample.row, sample.id, sample.size) == (batch.rows[i], batch.ids[i], batch.size)
            assert sample.progress == batch.progress
            assert sample.masks is sample.boxes is sample.box_labels is None
            assert str(sample) == f"film 'film {sample.row}' (row {sample.row})"
    assert not seen


def test_padding_is_not_transformed():
    """An exam's missing views stay zeros; a transform is called once for each film that is there."""
    rows = []

    def brighter(sample):
        rows.append(sample.row)
        return sample.image + 1

    for batch in exams(FindingsReader(11), transform=brighter, masks=True, boxes=True):
        assert (batch.images[batch.valid] >= 1).all()
        assert not batch.images[~batch.valid].any()
        assert [len(boxes) for boxes in batch.boxes] == batch.valid.long().tolist()
    assert sorted(rows) == list(range(11))


def mirrored(sample):
    """Image, masks and boxes together, left to right; targets too."""
    sample.image = sample.image.flip(-1)
    sample.masks.copy_(sample.masks.flip(-1))
    sample.masks[0, :, : sample.row] = 9
    width = sample.size.width
    sample.boxes[:, [0, 2]] = width - sample.boxes[:, [2, 0]]
    sample.targets *= 10


@pytest.mark.parametrize("masks", [True, 0.02])
def test_image_masks_and_boxes_are_seen_together(masks):
    """What is changed in place or set anew is what the batch holds: boxes and masks moved with the image, masks by the
    loader's rule afterwards, targets and what is known of them."""
    options = {"size": (10, 8), "batch_size": 6, "masks": masks, "boxes": True}
    plain = list(Loader(FindingsReader(N), **options))
    changed = list(Loader(FindingsReader(N), **options, transform=mirrored))
    for before, after in zip(plain, changed, strict=True):
        assert torch.equal(after.targets, before.targets * 10)
        for i, row in enumerate(before.rows.tolist()):
            left, top, right, bottom = before.boxes[i][0].tolist()
            assert after.boxes[i][0].tolist() == pytest.approx([8 - right, top, 8 - left, bottom])
            assert torch.equal(after.box_labels[i], before.box_labels[i])
            expected = torch.full((2, 10, 8), row)
            expected[0, :, :row] = 9
            expected = expected if masks is True else expected >= 0.02 * 255
            assert torch.equal(after.masks[i], expected.to(after.masks.dtype))
        assert after.masks.dtype == (torch.uint8 if masks is True else torch.bool)


def test_a_transform_may_drop_boxes_and_hide_targets():
    """Fewer boxes, of any float dtype; a target set to NaN is no longer known."""

    def cropped(sample):
        if sample.row % 2:
            sample.boxes, sample.box_labels = sample.boxes[:0].double(), sample.box_labels[:0]
            sample.targets[0] = float("nan")
        return sample

    for batch in Loader(FindingsReader(N), size=4, batch_size=5, boxes=True, transform=cropped):
        odd = batch.rows % 2 == 1
        assert torch.equal(batch.known[:, 0], ~odd)
        assert [len(boxes) for boxes in batch.boxes] == (~odd).long().tolist()
        assert {boxes.dtype for boxes in batch.boxes} == {torch.float32}
        assert {labels.dtype for labels in batch.box_labels} == {torch.int64}


def test_several_sizes_of_a_film_are_drawn_alike():
    """Each scale is a sample of its own with the same draw: the same decisions. Masks and boxes come with the first;
    every one sees the targets as they are, and what the first makes of them is handed out."""

    def first_drawn(sample):
        assert sample.targets[0] == sample.row
        sample.image.fill_(sample.rng.random())
        sample.targets += 1
        if sample.boxes is not None:
            sample.boxes += 1
            assert sample.size == Size(6, 6)

    reader = FindingsReader(N)
    sampler = Sampler(N, sizes=Scales(6, 4, 8), budget=Images(8), seed=2)
    values = set()
    for batch in Loader(reader, sampler=sampler, transform=first_drawn, boxes=True, masks=True):
        assert [*batch.scales] == [(6, 6), (4, 4), (8, 8)]
        assert batch.scales[Size(6, 6)] is batch.images
        for images in batch.scales.values():
            assert torch.equal(images[:, 0, 0, 0], batch.images[:, 0, 0, 0])
            assert torch.equal(images.amax((1, 2, 3)), images.amin((1, 2, 3)))
        values |= set(batch.images[:, 0, 0, 0].tolist())
        assert torch.equal(batch.targets[:, 0], batch.rows.float() + 1)
    assert len(values) == N


def test_the_film_of_a_cache_and_of_a_file_is_transformed_alike(films8, cache8):
    """Levels that are held in memory, and films that are decoded: the same transform of the same pixels."""
    readable = films8.select(~films8.table["id"].isin(cache8.quarantine["id"]).to_numpy())

    def by_row(sample):
        return sample.image * (1 + sum(map(ord, sample.id)) % 7)

    options = {"size": 32, "batch_size": 5, "transform": by_row}
    stored, made = Loader(cache8, **options), Loader(readable, pipeline=cache8.pipeline, **options)
    stored, made = ({name: image for batch in one for name, image in zip(batch.ids, batch.images, strict=True)}
                    for one in (stored, made))  # fmt: skip
    assert stored.keys() == made.keys()
    assert all(torch.equal(stored[name], made[name]) for name in made)


def test_what_a_transform_keeps_is_its_own_to_spoil():
    """A sample's image that is kept keeps its batch's memory from being used again, as a tensor of the batch does."""
    kept = []

    def keep(sample):
        kept.append((sample.row, sample.image))

    for batch in Loader(NumberReader(64), size=8, batch_size=4, transform=keep):
        del batch
    assert len(kept) == 64
    assert all(torch.equal(image, torch.full((1, 8, 8), row) / 65535) for row, image in kept)


def test_memory_is_used_again():
    """Without such keeping, a few blocks serve a whole epoch of transformed batches."""
    loader = Loader(NumberReader(400), size=8, batch_size=4, transform=noisy, prefetch=2)
    places = set()
    for batch in loader:
        places.add(batch.images.data_ptr())
        del batch
    assert len(places) <= 8


# -- what it may not do ----------------------------------------------------------------------------------

WRONG = {
    "another shape": (lambda sample: sample.image[:, 1:], r"image a tensor of shape \(1, 4, 4\) and torch.float32"),
    "another dtype": (lambda sample: sample.image.double(), "found tensor of shape .1, 4, 4. and torch.float64"),
    "no tensor": (lambda sample: sample.image.numpy(), "found ndarray for film 'film 0'"),
    "a pair": (lambda sample: (sample.image, sample.masks), "found tuple for film"),
    "no image": (lambda sample: setattr(sample, "image", None), "found NoneType for film"),
    "masks": (lambda sample: setattr(sample, "masks", sample.masks > 0), "leave masks a tensor .* and torch.uint8"),
    "targets": (
        lambda sample: setattr(sample, "targets", sample.targets[:0]),
        r"leave targets a tensor of shape \(1,\)",
    ),
    "boxes": (lambda sample: setattr(sample, "boxes", sample.boxes[:, :3]), r"boxes a tensor \(n, 4\) and box_labels"),
    "labels": (lambda sample: setattr(sample, "box_labels", sample.box_labels[:0]), r"found tensor of shape \(1, 4\)"),
    "no labels": (lambda sample: setattr(sample, "box_labels", None), "and NoneType for film 'film 0'"),
}


@pytest.mark.parametrize("wrong", WRONG)
def test_results_of_another_kind_are_refused(wrong):
    """With what was expected, what was found and the film."""
    transform, message = WRONG[wrong]
    loader = Loader(FindingsReader(4), size=4, batch_size=1, masks=True, boxes=True, transform=transform)
    with pytest.raises(ArgumentError, match=message) as caught:
        next(iter(loader))
    assert "film 'film 0' (row 0)" in str(caught.value)


def test_a_view_of_the_image_is_put_back_whole():
    """A transposed view shares the image's memory; it is not read while it is overwritten."""

    def ramp(sample):
        sample.image[0] = torch.arange(16.0).view(4, 4)
        return sample.image.transpose(1, 2)

    for batch in Loader(NumberReader(8), size=4, batch_size=4, transform=ramp):
        assert torch.equal(batch.images[:, 0], torch.arange(16.0).view(4, 4).t().expand(4, 4, 4))


@pytest.mark.parametrize("threads", [1, 3])
@pytest.mark.parametrize("grain", [0, 1, 4])
def test_a_failure_names_the_film(threads, grain):
    """It arrives as it was raised, from whichever thread, with a note; the loader can go on."""
    failure = ZeroDivisionError("the transform's own")

    def failing(sample):
        if sample.row == 13:
            raise failure

    loader = Loader(NumberReader(N, grain=grain), size=4, batch_size=4, transform=failing, threads=threads)
    with pytest.raises(ZeroDivisionError) as caught:
        list(loader)
    assert caught.value is failure
    assert failure.__notes__ == ["raised by transform= on film 'film 13' (row 13)"]
    assert loader.state_dict()["step"] == 3


# -- batches ---------------------------------------------------------------------------------------------


def test_the_loop_gets_what_a_batch_transform_returns():
    """It sees finished batches, their size and progress, on the calling thread; what it returns is handed out."""
    seen = []

    def paired(batch):
        seen.append((batch.size, batch.progress, batch.images.shape))
        batch.images += batch.progress
        return batch.images, batch

    loader = Loader(NumberReader(N), sampler=plan(N), batch_transform=paired, transform=lambda sample: sample.image + 1)
    for (images, batch), step in zip(loader, plan(N).steps(0), strict=True):
        assert images is batch.images
        expected = (batch.rows / 65535 + 1 + step.progress).float()
        torch.testing.assert_close(images[:, 0, 0, 0], expected)
    assert [size for size, _, _ in seen] == [step.size for step in plan(N).steps(0)]


def test_a_batch_transform_that_forgets_to_return_is_refused():
    """Instead of a loop over None; the position stays before the batch."""
    loader = Loader(NumberReader(8), size=4, batch_size=4, batch_transform=lambda batch: None)
    with pytest.raises(ArgumentError, match="batch_transform= must return what the loop is to get"):
        next(iter(loader))
    assert loader.state_dict()["step"] == 0


# -- generators of others --------------------------------------------------------------------------------


def test_global_generators_are_put_back_also_after_a_failure():
    """torch's goes on as if nothing had been drawn."""
    before = torch.get_rng_state()

    def failing():
        with globally_seeded(2**63 - 1):
            torch.rand(3)
            raise KeyError("on purpose")

    with pytest.raises(KeyError, match="on purpose"):
        failing()
    assert torch.equal(torch.get_rng_state(), before)


def test_images_travel_finished_to_a_device_when_they_are_transformed(monkeypatch):
    """Where arithmetic would run on the device, transforms still see normalised floats, and padding is zeros."""
    monkeypatch.setattr("resload.making.works_late", lambda device: True)
    seen = []

    def look(sample):
        seen.append((sample.row, sample.image.dtype, sample.image[0, 0, 0].item()))

    sampler = plan(10, sizes=Fixed(4), budget=Images(4), order=Sequential(), tail="exact").view(2, 4)
    options = {"sampler": sampler, "normalize": (0.5, 1)}
    late, plain = Loader(NumberReader(10), **options), Loader(NumberReader(10), transform=look, **options)
    for one, other in zip(late, plain, strict=True):
        torch.testing.assert_close(one.images, other.images)
        assert not one.images[~one.valid].any()
    assert not one.valid.any()
    assert sorted(row for row, _, _ in seen) == [2, 6]
    assert all(dtype == torch.float32 and value == pytest.approx(row / 65535 - 0.5) for row, dtype, value in seen)
