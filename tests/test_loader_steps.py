"""Steps of any plan as batches: padding, several sizes, and what a step says of itself."""

import gc
from itertools import pairwise

import numpy as np
import pandas as pd
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from loading import NumberReader

import resload.transfer
from resload import Loader, Pipeline, Size, masked_bce
from resload.errors import ArgumentError, SizeError, StateError
from resload.making import Order
from resload.padding import films, runs, stood_in
from resload.samplers import BlockShuffle, Fixed, Images, Mix, Sampler, Scales, Sequential, Shuffle
from resload.store.slot import Slot
from resload.testing import write_synthetic

UINT16 = torch.uint16


class Exams:
    """Rows in exams of three places, in their order; some views are missing, one exam has none but its last."""

    stride = 3
    draw_per_unit = True

    def positions(self, n, *, seed, epoch):
        units = [[0, 1, -1], [2, -1, 3], [-1, -1, 4], [5, 6, 7], [8, -1, -1], [-1, 9, 10]]
        return np.array(units, np.int64)


class FindingsReader(NumberReader):
    """Row r: also one box, one mask full of r, its exam and its view."""

    mask_names = ("a", "b")

    def __init__(self, n, **options):
        super().__init__(n, **options)
        self.table = self.table.assign(group=np.arange(n) // 2, slot=[f"view {row}" for row in range(n)], age=range(n))
        self.boxes = pd.DataFrame(
            {"id": self.table["id"], "label": "x", "x": 8.0, "y": 20.0, "width": 16.0, "height": 40.0}
        )

    def masks(self, rows, size, *, nearest=False):
        found = np.zeros((len(rows), 2, *size), np.uint8)
        found[...] = rows[:, None, None, None]
        return found, np.ones((len(rows), 2), bool)


def exams(reader, **options):
    """A loader of steps of two exams."""
    sampler = Sampler(reader, order=Exams(), sizes=Fixed(4), budget=Images(6), granule=1)
    return Loader(reader, sampler=sampler, **options)


# -- padding ---------------------------------------------------------------------------------------------


@settings(max_examples=200, deadline=None)
@given(st.lists(st.booleans(), max_size=20))
def test_runs_are_the_places_with_a_film(valid):
    """Joined they are all of them, in order; between two runs there is a place without one."""
    found = runs(np.array(valid, bool))
    assert [place for start, stop in found for place in range(start, stop)] == np.flatnonzero(valid).tolist()
    assert all(stop < start for (_, stop), (start, _) in pairwise(found))


def test_padding_is_found_and_stood_in_for():
    """None where there is none; else where films are, and rows that can be looked up."""
    assert films(np.array([3, 0])) is None
    assert films(np.array([], np.int64)) is None
    index = np.array([-1, 7, -1])
    valid = films(index)
    assert valid.tolist() == [False, True, False]
    assert stood_in(index, valid, np.array([5, 7, -1])).tolist() == [7, 7, 7]
    assert stood_in(index, valid, np.array([-1])).tolist() == [0, 7, 0]


@pytest.mark.parametrize("grain", [0, 1, 2, 100])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, UINT16])
def test_a_place_without_a_film_is_empty_in_every_field(dtype, grain):
    """Zeros also after normalisation, row -1, no name, nothing known; the reader is never asked for it. The films
    around it are what they are elsewhere."""
    normalize = None if dtype == UINT16 else (0.25, 0.5)
    reader = FindingsReader(11, grain=grain)
    options = {"dtype": dtype, "normalize": normalize, "masks": True, "boxes": True, "columns": ("age",)}
    plain = {}
    for batch in Loader(reader, size=4, batch_size=3, **options):
        for i, row in enumerate(batch.rows.tolist()):
            plain[row] = batch, i
    reader.filled.clear()
    seen = 0
    for batch in exams(reader, **options):
        assert len(batch) == 6
        assert torch.equal(batch.valid, batch.rows >= 0)
        assert batch.images.dtype == dtype
        for i, row in enumerate(batch.rows.tolist()):
            if row >= 0:
                same, j = plain[row]
                for name in ("images", "targets", "known", "spacing", "content", "masks", "masks_known"):
                    assert torch.equal(getattr(batch, name)[i], getattr(same, name)[j]), name
                for name in ("ids", "group", "slot"):
                    assert getattr(batch, name)[i] == getattr(same, name)[j]
                assert torch.equal(batch.boxes[i], same.boxes[j])
                assert torch.equal(batch.geometry.places[i], same.geometry.places[j])
                assert batch.columns["age"][i] == row
                continue
            seen += 1
            assert not batch.images[i].float().any()
            assert batch.targets[i].isnan().all()
            assert not batch.known[i].any()
            assert batch.spacing[i].isnan().all()
            assert batch.content[i].isnan().all()
            assert not batch.masks[i].any()
            assert not batch.masks_known[i].any()
            assert (batch.boxes[i].shape, batch.box_labels[i].shape) == ((0, 4), (0,))
            assert (batch.ids[i], batch.group[i], batch.slot[i], batch.columns["age"][i]) == ("", None, None, None)
            assert batch.draws[i] == 0
            assert batch.geometry.places[i].tolist() == [0, 0, 4, 4, 0, 0, 4, 4]
    assert seen == 7
    assert sorted(reader.filled) == list(range(11))
    batch.to("meta")
    assert len(batch.detection_targets()) == 6
    assert len(batch.geometry.to_source(maps=torch.ones(6, 1, 4, 4))) == 6


@pytest.mark.parametrize("rank", range(3))
def test_a_place_without_a_film_is_zeros_where_devices_finish_images(cache, monkeypatch, rank):
    """Stored levels that are resized and normalised late: films as `Cache.read` has them, nothing where none is."""
    monkeypatch.setattr("resload.making.works_late", lambda device: True)
    rows = cache.rows()[:7]
    loader = Loader(cache, size=24, batch_size=2, rows=rows, normalize=(0.5, 0.25), rank=rank, world=3)
    for batch in loader:
        for row, valid, image in zip(batch.rows.tolist(), batch.valid.tolist(), batch.images, strict=True):
            if valid:
                expected = (cache.read([row], 24) / 65535 - 0.5) / 0.25
                np.testing.assert_allclose(image.numpy(), expected, atol=1e-4)
            else:
                assert not image.any()
    assert batch.valid.tolist() == [rank == 0]


def test_padding_does_not_count_in_the_loss():
    """Whatever a model says of it."""
    batch = next(iter(exams(FindingsReader(11))))
    outputs = torch.zeros(6, 1)
    loss = masked_bce(outputs, batch)
    outputs[~batch.valid] = float("nan")
    assert masked_bce(outputs, batch) == loss > 0


def test_an_exam_shares_its_draw():
    """Where the order asks for one draw for each unit; padding has none."""
    for batch in exams(FindingsReader(11)):
        for exam in range(2):
            own = slice(exam * 3, exam * 3 + 3)
            assert len(set(batch.draws[own][batch.valid[own]].tolist())) == 1


@settings(max_examples=60, deadline=None)
@given(
    n=st.integers(1, 30), batch_size=st.integers(1, 7), world=st.integers(1, 6), grain=st.integers(0, 4),
    threads=st.integers(1, 3), shuffle=st.booleans(),
)  # fmt: skip
def test_an_evaluation_over_processes_sees_every_film_once(n, batch_size, world, grain, threads, shuffle):
    """Loader(rank=, world=): as many steps on each, equally long, every film on exactly one of them, its own pixels;
    n_global counts the films of the step. Also where there are fewer films than processes."""
    loaders = [
        Loader(
            NumberReader(n, grain=grain), size=3, batch_size=batch_size, rank=rank, world=world, threads=threads,
            shuffle=shuffle, normalize=(0.5, 1.0),
        )
        for rank in range(world)
    ]  # fmt: skip
    served = []
    for step, parts in enumerate(zip(*loaders, strict=True)):
        assert len({len(part) for part in parts}) == 1
        rows = torch.cat([part.rows[part.valid] for part in parts]).tolist()
        assert {part.n_global for part in parts} == {len(rows)}
        assert {part.n_ref for part in parts} == {batch_size * world}
        assert {part.progress for part in parts} == {step / len(loaders[0])}
        for part in parts:
            expected = torch.where(part.valid, part.rows / 65535 - 0.5, 0.0)
            torch.testing.assert_close(part.images[:, 0, 0, 0], expected.float())
            assert torch.equal(part.targets[:, 0].isnan(), ~part.valid)
        served += rows
    assert sorted(served) == list(range(n))


@pytest.fixture(scope="module")
def native(tmp_path_factory):
    """(catalog, cache) of films of three shapes, stored at 32 and at their own size."""
    root = tmp_path_factory.mktemp("native")
    shapes = {name: write_synthetic(root / name, 3, size=size, seed=k, broken=0) for k, (name, size) in
              enumerate({"a": (60, 40), "b": (50, 70), "c": (80, 30)}.items())}  # fmt: skip
    catalog = resload.Catalog.concat(shapes).scan(progress=False)
    return catalog, resload.build(catalog, root / "c.zarr", (32, "native"), progress=False)


@pytest.mark.parametrize("source", ["cache", "files"])
def test_processes_agree_on_a_canvas(native, source):
    """At the films' own sizes all parts of a step are as large as its largest film, those without a film too."""
    catalog, cache = native
    data, options = (cache, {}) if source == "cache" else (catalog, {"pipeline": cache.pipeline})
    parts = [
        list(Loader(data, size="native", batch_size=2, rank=rank, world=4, dtype=torch.uint16, **options))
        for rank in range(4)
    ]
    own = {row: tuple(shape) for batches in parts for batch in batches for row, shape in
           zip(batch.rows.tolist(), batch.geometry.shapes.tolist(), strict=True) if row >= 0}  # fmt: skip
    assert len(own) == 9
    assert len(parts[0]) == 2
    for step in zip(*parts, strict=True):
        rows = [row for part in step for row in part.rows.tolist() if row >= 0]
        largest = tuple(max(own[row][axis] for row in rows) for axis in range(2))
        assert {part.images.shape[2:] for part in step} == {largest}
    assert sum(not part.valid.any() for part in step) > 0  # the last step of nine films has one for four processes


# -- sizes that change from step to step -----------------------------------------------------------------


class Alternating:
    """A rule of one's own: it says int, tuple and Size."""

    def at(self, step, *, epoch):
        return [32, (48, 40), Size(64, 64), 24][(step + epoch) % 4]


PLANS = {
    "mix": lambda: Mix((32, (48, 40), 64)),
    "mix of steps": lambda: Mix({64: 3, 24: 1}, share_of="steps"),
    "own rule": Alternating,
    "scales": lambda: Scales(32, (48, 40), 64),
    "scales, large first": lambda: Scales(64, 24),
}


@pytest.mark.parametrize("dtype", [UINT16, torch.float32])
@pytest.mark.parametrize("threads", [1, 3])
@pytest.mark.parametrize("plan", PLANS)
def test_every_step_has_the_pixels_of_its_rows_at_its_size(cache, plan, threads, dtype):
    """Whatever the plan: each batch equals `cache.read(rows, size)`, for each size it carries, and they are those of
    the sampler's steps; all batches are kept until the end, and stay what they were."""
    sampler = Sampler(cache, order=BlockShuffle(), sizes=PLANS[plan](), budget=Images(4), granule=1)
    loader = Loader(cache, sampler=sampler, dtype=dtype, threads=threads)
    kept = [(step, batch) for epoch in range(2) for step, batch in zip(sampler.steps(epoch), loader, strict=True)]
    for step, batch in kept:
        assert batch.rows.tolist() == step.index.tolist()
        assert batch.size == step.size
        assert [*batch.scales] == [*step.scales]
        for size, images in {batch.size: batch.images, **batch.scales}.items():
            expected = cache.read(step.index, size)[:, None]
            if dtype == UINT16:
                np.testing.assert_array_equal(images.numpy(), expected)
            else:
                np.testing.assert_allclose(images.numpy(), expected / 65535, rtol=1e-6)
    assert (len({batch.size for _, batch in kept}) == 1) == ("scales" in plan)


def test_files_and_cache_agree_at_mixed_sizes(films8, cache8):
    """The same plan from the files: the same pixels."""
    readable = films8.select(~films8.table["id"].isin(cache8.quarantine["id"]).to_numpy())
    plan = {"sizes": Mix((32, (48, 40), 64)), "budget": Images(4), "order": Sequential(), "granule": 1}
    options = {"dtype": torch.uint8}
    stored = {}
    for batch in Loader(cache8, sampler=Sampler(cache8, **plan), **options):
        stored |= {(name, batch.size): image for name, image in zip(batch.ids, batch.images, strict=True)}
    for batch in Loader(readable, pipeline=cache8.pipeline, sampler=Sampler(readable, **plan), **options):
        for name, image in zip(batch.ids, batch.images, strict=True):
            if (name, batch.size) in stored:
                assert torch.equal(image, stored.pop((name, batch.size)))
    assert len(stored) < len(cache8.rows())


@pytest.mark.parametrize("dtype", [UINT16, torch.float32])
@pytest.mark.parametrize("keep", [0, 3])
def test_changing_resolution_makes_no_new_memory(dtype, keep, monkeypatch):
    """50 steps of three sizes in a drawn order: after the first few, no block and no slot is made any more."""
    made = {"blocks": [], "slots": []}

    class CountedBlock(resload.transfer.Block):
        def __init__(self, raw):
            made["blocks"].append(step)
            super().__init__(raw)

    class CountedSlot(Slot):
        def __init__(self, out):
            made["slots"].append(step)
            super().__init__(out)

    monkeypatch.setattr(resload.transfer, "Block", CountedBlock)
    for module in (resload.transfer, resload.convert):
        monkeypatch.setattr(module, "Slot", CountedSlot)
    reader = NumberReader(400, grain=2)
    sampler = Sampler(400, sizes=Mix((8, 12, 16)), budget=Images(8), seed=4)
    step, held = 0, []
    for batch in Loader(reader, sampler=sampler, dtype=dtype, threads=2, prefetch=2):
        step += 1
        held = [*held, batch][-keep:] if keep else []
        del batch
    in_use = 2 + 1 + 1 + keep  # made ahead, being taken, the caller's last, those it keeps
    assert step == len(sampler) == 50
    assert len(made["blocks"]) <= 2 * in_use
    assert max(made["blocks"]) < 25
    assert len(made["slots"]) <= 2 * 3 * len(made["blocks"])  # two threads may both make a block's first of a shape
    assert len(made["slots"]) >= 3  # one for each size at least: the count counts


def test_what_a_batch_was_made_with_goes_with_it():
    """Nothing of a batch that was handed over waits for the garbage collector: masks and targets are free at once."""
    loader = Loader(FindingsReader(40), size=4, batch_size=4, masks=True, transform=lambda sample: None)
    gc.collect()
    gc.disable()
    try:
        for count, _ in enumerate(loader):
            alive = [one for one in gc.get_objects() if type(one) is Order]
            assert len(alive) <= 3, f"after {count} batches"  # two made ahead, and one that a thread may just let go
            del alive
    finally:
        gc.enable()


def test_no_plan_puts_more_threads_to_work_than_were_asked_for():
    """Sizes that the caller's thread makes, sizes it helps with and sizes that others make, in one plan: never more at
    once than `threads`, and every film is served."""
    grains = {Size(4, 4): 0, Size(6, 6): 3, Size(8, 8): 1}
    for sizes in (Mix((4, 6)), Mix((6, 4)), Mix((4, 8)), Mix((8, 6)), Mix((4, 6, 8)), Scales(4, 6), Fixed(4), Fixed(8)):
        reader = NumberReader(60, delay=0.0005)
        reader.grain = grains.__getitem__
        loader = Loader(reader, sampler=Sampler(60, sizes=sizes, budget=Images(6), granule=1), threads=2)
        rows = [row for batch in loader for row in batch.rows.tolist()]
        assert sorted(rows) == list(range(60))
        assert reader.most_at_once <= 2


@pytest.mark.parametrize(
    ("sizes", "wrong"), [(Mix((32, 500)), "500x500"), (Scales(32, 500), "500x500"), (Alternating(), None)]
)
def test_sizes_that_cannot_be_served_are_refused_before_the_first_batch(cache, sizes, wrong):
    """Every size of a mix, not only the one that stands for it."""
    sampler = Sampler(cache, sizes=sizes, budget=Images(4))
    if wrong is None:
        assert len(Loader(cache, sampler=sampler)) == len(sampler)
        return
    with pytest.raises(SizeError, match=f"{wrong} is larger than what is stored"):
        Loader(cache, sampler=sampler)


# -- what a batch says of its step -----------------------------------------------------------------------


def test_a_batch_says_how_large_its_step_is_and_when_it_comes():
    """n_global over n_ref is what a learning rate may be scaled by; progress grows from 0 by 1 an epoch."""

    class Halved:
        reference = 8

        def __call__(self, size):
            return 8 if size == Size(4, 4) else 4

    sampler = Sampler(48, sizes=Mix((4, 6)), budget=Halved(), granule=4)
    loader = Loader(NumberReader(48), sampler=sampler)
    found = [batch for _ in range(2) for batch in loader]
    assert {(batch.size.height, len(batch), batch.n_global, batch.n_ref) for batch in found} == {
        (4, 8, 8, 8),
        (6, 4, 4, 8),
    }
    assert [batch.progress for batch in found] == pytest.approx([k / len(loader) for k in range(2 * len(loader))])
    first = Loader(NumberReader(48), sampler=sampler.view(0, 2))
    assert [(len(batch), batch.n_global) for batch in first] == [
        (batch.n_global // 2, batch.n_global) for batch in found[: len(loader)]
    ]


class ByTarget:
    """Targets by size: a duck of `PerTarget`."""

    def __init__(self, table):
        self.table = {Size(size, size): frozenset(names) for size, names in table.items()}

    def at(self, step, *, epoch):
        return [*self.table][step % len(self.table)]

    def targets_at(self, size):
        return self.table[size]


def test_targets_of_another_size_are_not_known(cache):
    """Where the size rule says which targets belong to a size, the others are NaN there and do not count."""
    one, other, *rest = cache.targets
    rule = ByTarget({32: {one}, 64: {other, *rest}, 24: ()})
    truth = cache.table[list(cache.targets)].to_numpy(np.float32)
    found = set()
    for batch in Loader(cache, sampler=Sampler(cache, sizes=rule, budget=Images(4), granule=1)):
        known = np.array([name in rule.targets_at(batch.size) for name in cache.targets])
        expected = np.where(known, truth[batch.rows], np.nan)
        np.testing.assert_array_equal(batch.targets.numpy(), expected)
        np.testing.assert_array_equal(batch.known.numpy(), ~np.isnan(expected))
        found.add((batch.size.height, int(batch.known.sum()) > 0))
    assert found == {(32, True), (64, True), (24, False)}
    wrong = Sampler(cache, sizes=ByTarget({32: {one}, 64: {"hernia"}}), budget=Images(4))
    with pytest.raises(ArgumentError, match=r"targets that this data does not have: \['hernia'\] at 64x64; there are"):
        Loader(cache, sampler=wrong)


# -- orders that remember --------------------------------------------------------------------------------


class Remembering:
    """An order with a state that no seed tells: it begins with whatever it was last told."""

    stride = 1

    def __init__(self):
        self.first = 0

    def positions(self, n, *, seed, epoch):
        return np.roll(np.arange(n), -self.first)

    def fingerprint(self):
        return "remembering"

    def state_dict(self):
        return {"first": self.first}

    def load_state_dict(self, state):
        self.first = state["first"]


def remembering():
    return Loader(
        NumberReader(12), sampler=Sampler(12, order=Remembering(), sizes=Fixed(4), budget=Images(4), granule=4)
    )


def test_what_an_order_remembers_travels_with_the_position():
    """state_dict of a Loader holds it; loaded into another, the run goes on as it would have. A state without it is
    refused."""
    loader = remembering()
    loader.sampler.order.first = 5
    batches = iter(loader)
    head = [next(batches).rows.tolist()]
    state = loader.state_dict()
    tail = [batch.rows.tolist() for batch in batches]
    assert [row for rows in head + tail for row in rows] == [*range(5, 12), *range(5)]
    other = remembering()
    other.load_state_dict(state)
    assert other.sampler.order.first == 5
    assert [batch.rows.tolist() for batch in other] == tail
    with pytest.raises(StateError, match="'order' is missing"):
        remembering().load_state_dict({name: value for name, value in state.items() if name != "order"})


def test_a_pipeline_is_that_of_the_first_size(cache):
    """Of a mix too, padding or not."""
    loader = Loader(cache, sampler=Sampler(cache, order=Shuffle(), sizes=Mix((64, 32)), budget=Images(4)))
    assert isinstance(loader.pipeline, Pipeline)
    assert loader.pipeline.model.size == Size(64, 64)
