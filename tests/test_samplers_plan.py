"""The properties of plans, over orders, sizes, budgets, buckets, tails and lengths in all combinations."""

import functools
import json
import os
import random
import subprocess
import sys

import numpy as np
import pytest
import sampler_properties as properties
from hypothesis import assume, given
from hypothesis import strategies as st
from sampler_plans import MIXED, SIZES, STREAM, WHOLE, Area, Plan, Turns, many, plans, some
from torch.utils.data import RandomSampler

from resload.errors import ArgumentError, StateError
from resload.samplers import (
    BlockShuffle,
    Cycle,
    Fixed,
    Groups,
    Images,
    Mix,
    Pixels,
    Sampler,
    Shuffle,
)
from resload.samplers.cursor import Cursor
from resload.samplers.place import Place

# -- properties 1 to 8 -----------------------------------------------------------------------------------


@many
@given(plans(), st.integers(0, 4), st.data())
def test_parts_make_up_steps(plan, epoch, data):
    """For every number of processes that divides the granule, and any with tail="exact"."""
    properties.parts_make_up_steps(plan.make, epoch, data.draw(st.sampled_from(plan.worlds)))


@many
@given(plans(orders=WHOLE, streams=False), st.integers(0, 4))
def test_every_row_once(plan, epoch):
    """Orders that promise each row once keep it, under every tail, with buckets and without."""
    properties.every_row_once(plan.make, epoch, largest=plan.largest, lanes=plan.buckets)


@some
@given(plans(orders=WHOLE, streams=False, tails=["pad"]), st.integers(0, 4))
def test_padding_is_others(plan, epoch):
    """Where each bucket has enough for a step."""
    fewest = min(np.bincount(plan.values, minlength=plan.buckets))
    assume(fewest // 2 * 2 >= plan.largest)
    properties.padding_is_others(plan.make, epoch)


@some
@given(plans(orders=WHOLE, tails=["exact"], streams=False), st.integers(0, 2), st.integers(1, 12))
def test_evaluation_counts_each_once(plan, epoch, world):
    """Over any number of processes, more than there are images too."""
    properties.evaluation_counts_each_once(plan.make, epoch, world)


@some
@given(plans(), st.lists(st.integers(0, 6), min_size=1, max_size=3, unique=True))
def test_plans_are_pure(plan, epochs):
    """Whatever was asked before, and whatever others draw from the global generators."""
    properties.plans_are_pure(plan.make, epochs)


@many
@given(plans(), st.data())
def test_resumes_on_any_world(plan, data):
    """Any number of interruptions, at any step, each time on another number of processes."""
    legs = data.draw(st.lists(st.tuples(st.sampled_from(plan.worlds), st.integers(0, 12)), min_size=1, max_size=4))
    properties.resumes_on_any_world(plan.make, legs, told_epoch=data.draw(st.booleans()))


@pytest.mark.parametrize("plan", [MIXED, STREAM, Plan(1203, "Pairs", Mix(SIZES), Area(48), 8, "exact", None, 1, 5)])
@pytest.mark.parametrize("told_epoch", [False, True])
def test_from_eight_to_two_to_four(plan, told_epoch):
    """8 -> 2 -> 4 processes: in the middle, twice within an epoch, before and after its last step, and at its end."""
    length = len(plan.make())
    assert length > 3
    for first, second in [(1, 1), (2, length - 3), (1, length - 2), (length - 1, 1), (length, 1), (length + 1, 1)]:
        properties.resumes_on_any_world(
            plan.make, [(8, first), (2, second), (4, 1)], epochs=3, told_epoch=told_epoch
        )  # fmt: skip


@some
@given(plans(), st.data())
def test_lengths_are_constant(plan, data):
    """On every process, in every epoch, at every position."""
    properties.lengths_are_constant(plan.make, 2, data.draw(st.sampled_from(plan.worlds)))


@many
@given(plans(), st.integers(0, 4))
def test_budgets_are_kept(plan, epoch):
    """Whatever takes the sizes: never more than the budget, and less than a granule below it."""
    properties.budgets_are_kept(plan.make, epoch, plan.budget, plan.granule, lanes=plan.buckets)


@some
@given(
    st.lists(st.integers(1, 9), min_size=3, max_size=3), st.sampled_from(["steps", "images", "pixels"]),
    st.integers(100, 900), st.integers(0, 3), st.none() | st.integers(1, 40),
)  # fmt: skip
def test_shares_are_exact(weights, share_of, n, epoch, epoch_steps):
    """A mix's shares of steps, images or pixels, each size to within a step, in every epoch."""
    budget = Area(8)
    images = [budget(size) // 8 * 8 for size in SIZES]
    pixels = [count * size.pixels for count, size in zip(images, SIZES, strict=True)]
    per_step = {"steps": [1, 1, 1], "images": images, "pixels": pixels}[share_of]
    ratios = [weight / per for weight, per in zip(weights, per_step, strict=True)]
    whole = n / np.dot(ratios, images) if epoch_steps is None else epoch_steps / sum(ratios)
    each = {size: ratio * whole for size, ratio in zip(SIZES, ratios, strict=True)}
    mix = Mix(dict(zip(SIZES, weights, strict=True)), share_of=share_of)
    make = functools.partial(Sampler, n, sizes=mix, budget=budget, epoch_steps=epoch_steps)
    properties.shares_are_exact(make, epoch, each)


@some
@given(plans(buckets=(2, 3)), st.integers(0, 4))
def test_steps_are_homogeneous(plan, epoch):
    """Under every order, size and tail, and in endless streams."""
    properties.steps_are_homogeneous(plan.make, epoch, plan.values)


@some
@given(plans(orders=WHOLE, buckets=[1]), st.integers(1, 6))
def test_streams_lose_nothing(plan, epochs):
    """However epochs cut them."""
    assume(plan.epoch_steps is not None)
    properties.streams_lose_nothing(plan.make, epochs)


@pytest.mark.parametrize(
    ("order", "alone"), [(Shuffle(), 1600), (BlockShuffle(16, 4), 1600 // 16), (RandomSampler(range(1600)), 1600)]
)
def test_epochs_and_seeds_are_independent(order, alone):
    """Of plain orders (of which so many rows, or blocks, are placed independently); and of a mix's sizes."""

    def make(seed):
        return Sampler(1600, order=order, sizes=Mix(SIZES), budget=Images(40), seed=seed)

    properties.epochs_and_seeds_are_independent(make, alone)
    sizes = {tuple(step.size for step in make(seed).steps(epoch)) for seed in range(4) for epoch in range(4)}
    assert len(sizes) == 16


@some
@given(plans())
def test_the_cursors_rules(plan):
    """A resumed cursor is kept, another epoch begins at its beginning, epochs follow each other, a loop left early has
    ended its epoch, the position is read at the first step, and views have their own."""
    properties.resumed_cursor_is_kept(plan.make)
    properties.another_epoch_begins_at_its_beginning(plan.make)
    properties.epochs_follow_each_other(plan.make)
    properties.a_loop_left_early_has_ended_its_epoch(plan.make)
    properties.cursor_is_read_at_the_first_step(plan.make)
    properties.views_have_cursors_of_their_own(plan.make)


SCRIPT = """
import json, sys
sys.path.insert(0, sys.argv[1])
import sampler_plans, sampler_properties
found = {}
for name in ("MIXED", "STREAM"):
    if len(sys.argv) > 2:
        import random, numpy, torch
        random.seed(1), numpy.random.seed(1), torch.manual_seed(1)
    one = getattr(sampler_plans, name).make()
    epochs = [str(sampler_properties.epoch_of(one, epoch)) for epoch in ((2, 0) if len(sys.argv) > 2 else (0, 2))]
    found[name] = [sorted(epochs), one.fingerprint()]
print(json.dumps(found))
"""


@pytest.mark.slow
def test_plans_are_the_same_in_every_process():
    """Other hash seeds, other states of the generators, epochs asked in another order: one plan, one fingerprint."""
    expected = {}
    for name, plan in (("MIXED", MIXED), ("STREAM", STREAM)):
        here = plan.make()
        expected[name] = [sorted(str(properties.epoch_of(here, epoch)) for epoch in (0, 2)), here.fingerprint()]
    folder = os.path.dirname(__file__)  # noqa: PTH120
    for number, more in (("1", []), ("2", ["polluted"])):
        printed = subprocess.run(
            [sys.executable, "-c", SCRIPT, folder, *more], env=os.environ | {"PYTHONHASHSEED": number},
            text=True, capture_output=True, check=True, timeout=120,
        ).stdout  # fmt: skip
        assert json.loads(printed) == expected


# -- 16: degenerate plans --------------------------------------------------------------------------------


def test_fewer_rows_than_a_step():
    """Refused where nothing is left; "pad" repeats them to a full step, "exact" is one short step."""
    make = functools.partial(Sampler, 3, sizes=Fixed(32), budget=Images(8))
    with pytest.raises(ArgumentError, match="3 rows make no full step"):
        make()
    (padded,) = make(tail="pad").steps(0)
    assert len(padded) == 8
    assert set(padded.index.tolist()) == {0, 1, 2}
    (exact,) = make(tail="exact").steps(0)
    assert sorted(exact.index.tolist()) == [0, 1, 2]
    (step,) = make(epoch_steps=1).steps(4)
    assert np.bincount(step.index).min() >= 2


def test_more_processes_than_images_in_an_exact_tail():
    """Each image once, every process as many places, those without an image all padding."""
    make = functools.partial(Sampler, 2, sizes=Fixed(32), budget=Images(8), tail="exact")
    properties.evaluation_counts_each_once(make, 0, 5)
    parts = [[key.index for key in next(iter(make(rank=rank, world=5)))] for rank in range(5)]
    assert sorted(index for part in parts for index in part) == [-1, -1, -1, 0, 1]
    assert parts[4] == [-1]


def test_a_bucket_of_one_image():
    """Dropped, filled up with itself, or served alone; the others are as without it."""
    values = [7] + [1] * 8
    make = functools.partial(Sampler, 9, sizes=Fixed(32), budget=Images(4), buckets=values)
    with pytest.warns(UserWarning, match="1 of 2 buckets are smaller than a step: their 1 images or exams are never"):
        assert sorted(properties.flat(make(), 0)) == list(range(1, 9))
    padded = [step.index.tolist() for step in make(tail="pad").steps(0)]
    assert [0, 0, 0, 0] in padded
    assert len(padded) == 3
    exact = [step.index.tolist() for step in make(tail="exact").steps(0)]
    assert sorted(map(len, exact)) == [1, 4, 4]
    stream = [step.index.tolist() for epoch in range(9) for step in make(epoch_steps=3).steps(epoch)]
    assert [0, 0, 0, 0] in stream


def test_a_mix_of_one_size_is_fixed():
    """The same rows and draws as Fixed."""
    fixed, mixed = (Sampler(50, sizes=rule, budget=Images(8)) for rule in (Fixed(32), Mix((32,))))
    assert properties.epoch_of(fixed, 1) == properties.epoch_of(mixed, 1)


def test_buckets_whose_steps_differ_need_a_length():
    """Refused when the sampler is made, not at its first step."""
    options = {"sizes": Mix((32, 64)), "budget": Area(8), "buckets": [0, 1] * 50}
    with pytest.raises(ArgumentError, match="buckets with steps of several lengths need epoch_steps="):
        Sampler(100, **options)
    assert len(Sampler(100, epoch_steps=5, **options)) == 5


def test_lengths_are_not_counted_anew_with_every_step():
    """`len` is asked with every step that is served: an epoch asks its size rule as often as it has steps, not more."""
    asked = []

    class Counted(Turns):
        def at(self, step, *, epoch):
            asked.append(step)
            return super().at(step, epoch=epoch)

    one = Sampler(400, sizes=Counted(SIZES[:1], False), budget=Images(4))
    asked.clear()
    assert len(list(one)) == 100
    assert len(asked) <= 102


# -- views -----------------------------------------------------------------------------------------------


@some
@given(plans(), st.integers(0, 2), st.data())
def test_interleaved_is_what_processes_are_given(plan, epoch, data):
    """For wrappers that give batch i to process i % world: its order, length and positions."""
    properties.interleaved_is_what_processes_are_given(plan.make, epoch, data.draw(st.sampled_from(plan.worlds)))


def test_interleaved_goes_on_with_another_world():
    """At the end of a step: from there. Within one: refused, with what to do."""
    eight, two = MIXED.make().interleaved(8), MIXED.make().interleaved(2)
    steps = iter(eight)
    for _ in range(16):
        next(steps)
    two.load_state_dict(eight.state_dict())
    rest = [key.index for keys in two for key in keys]
    assert rest == [row for step in list(MIXED.make().steps(0))[2:] for row in step.index.tolist()]
    next(steps)
    with pytest.raises(StateError, match="within a step that 8 processes share; 2 share it otherwise"):
        two.load_state_dict(eight.state_dict())
    four = MIXED.make().interleaved(4)
    with pytest.raises(StateError, match="another plan"):
        four.load_state_dict(STREAM.make().interleaved(4).state_dict())
    assert four.sampler is four


def test_a_view_is_one_process():
    """The plan of `rank` of `world`, and nothing that is no place."""
    one = MIXED.make()
    assert list(one.view(1, 4)) == properties.keys_at(MIXED.make(rank=1, world=4), 0)
    assert (one.place(), one.view(1, 4).fingerprint()) == (Place(0, 1, "nobody"), one.fingerprint())
    with pytest.raises(ArgumentError, match=r"rank is one of 0 .. world - 1; found rank=4 and world=4"):
        one.view(4, 4)
    with pytest.raises(ArgumentError, match="found rank=0 and world=0"):
        one.interleaved(0)


# -- the cursor alone ------------------------------------------------------------------------------------


@some
@given(st.lists(st.sampled_from(["step", "epoch 0", "epoch 2", "save and load", "leave"]), max_size=30))
def test_the_cursor_against_its_rules(actions):
    """Any sequence of what frameworks do, against the rules written out."""
    steps, cursor = 3, Cursor()
    epoch, step, running, chosen = 0, 0, None, True  # chosen: set, loaded, or reached by finishing an epoch
    for action in actions:
        if action == "step":
            if running is None:
                if not chosen:
                    epoch, step = epoch + 1, 0
                running, chosen = cursor.begin(), False
                assert running == (epoch, step)
            cursor.passed(running[0], running[1], steps)
            running = (running[0], running[1] + 1)
            epoch, step, chosen = (*running, False)
            if step == steps:
                epoch, step, chosen, running = epoch + 1, 0, True, None
        elif action == "leave":
            running = None
        else:
            running = None
            if action == "save and load":
                state = json.loads(json.dumps(cursor.state("plan")))
                cursor = Cursor()
                cursor.load(state, "plan", steps)
            else:
                told = int(action[-1])
                cursor.set_epoch(told)
                if told != epoch or not chosen:
                    epoch, step = told, 0
            chosen = True
        assert (cursor.epoch, cursor.step) == (epoch, step)


@pytest.mark.parametrize("epoch", [-1, 1.0, True, None, "1"])
def test_no_epochs(epoch):
    """An epoch is an int >= 0; the cursor stays."""
    cursor = Cursor()
    with pytest.raises(ArgumentError, match="an epoch is an int >= 0; found"):
        cursor.set_epoch(epoch)
    assert (cursor.epoch, cursor.step) == (0, 0)


# -- exams, and an epoch of ChestX-ray14 --


def test_dropped_rows_differ_between_epochs():
    """Under a shuffle the rows that fill no step are others each epoch."""
    one = Sampler(23, sizes=Fixed(32), budget=Images(4))
    left_out = [frozenset(range(23)) - set(properties.flat(one, epoch)) for epoch in range(6)]
    assert {len(rows) for rows in left_out} == {3}
    assert len(set(left_out)) > 1


def test_chestxray14_on_eight_two_and_four_processes():
    """112,120 rows, four sizes, constant pixels: every step uses 98 % of the budget or more, less than a step is left
    over, and 8 -> 2 -> 4 processes in mid-epoch serve what one run does."""
    make = functools.partial(
        Sampler, 112_120, sizes=Mix((256, 384, 512, 768)), budget=Pixels(256, at=512), order=BlockShuffle(), seed=1
    )
    steps = list(make().steps(0))
    used = [len(step) * step.size.pixels / (256 * 512**2) for step in steps]
    assert min(used) >= 0.98
    assert max(used) <= 1
    assert 112_120 - sum(map(len, steps)) < max(map(len, steps))
    assert len({len(list(make().steps(epoch))) for epoch in range(4)}) == 1
    third = len(steps) // 3
    properties.resumes_on_any_world(make, [(8, third), (2, third), (4, 0)], epochs=1)


@many
@given(
    n=st.integers(4, 60), most=st.integers(1, 4), exams=st.integers(1, 4), epoch=st.integers(0, 2),
    tail=st.sampled_from(["drop", "pad", "exact"]), data=st.data(),
)  # fmt: skip
def test_no_process_divides_an_exam(n, most, exams, epoch, tail, data):
    """Parts are whole exams, whatever their films."""
    codes = data.draw(st.lists(st.integers(0, 9), min_size=n, max_size=n))
    make = functools.partial(
        Sampler, n, order=Groups(codes, max=most), sizes=Fixed(32), budget=Images(most * exams), tail=tail
    )
    try:
        make()
    except ArgumentError:
        assume(False)
    worlds = [k for k in range(1, 9) if make()._planned(1).counting.granule % k == 0]
    world = data.draw(st.sampled_from([1, 2, 3] if tail == "exact" else worlds))
    properties.parts_make_up_steps(make, epoch, world)
    for rank in range(world):
        for part in make(rank=rank, world=world).parts(epoch):
            for unit in part.index.reshape(-1, most).tolist():
                assert len({codes[row] for row in unit if row >= 0}) <= 1


# -- refusals --


def test_steps_that_processes_cannot_share():
    """Said when the first is asked for, with a remedy that works."""
    one = Sampler(60, sizes=Fixed(32), budget=Images(16), rank=0, world=3)
    message = r"step 0 of epoch 0 has 16 images or exams, which 3 processes cannot share evenly: choose a budget and a "
    with pytest.raises(ArgumentError, match=message + r"granule= that are multiples of 3"):
        next(iter(one))
    remedied = Sampler(60, sizes=Fixed(32), budget=Images(16), granule=3, rank=0, world=3)
    assert {len(keys) for keys in remedied} == {5}


class Unsteady:
    """An order that breaks its promise: one row fewer each epoch."""

    def positions(self, n, *, seed, epoch):
        return np.arange(n - epoch)


def test_orders_must_be_as_long_in_every_epoch():
    """A plan with another number of steps is refused where it would begin; so is a stream of such passes."""
    one = Sampler(8, order=Unsteady(), sizes=Fixed(32), budget=Images(4))
    with pytest.raises(ArgumentError, match=r"epoch 1 would have 1 steps, epoch 0 has 2: .* Set epoch_steps="):
        list(one.steps(1))
    one = Sampler(8, order=Unsteady(), sizes=Fixed(32), budget=Images(4), epoch_steps=3)
    with pytest.raises(ArgumentError, match=r"Unsteady.positions must give as many in every epoch; found 7 in pass 1"):
        list(one.steps(0))


@pytest.mark.parametrize(
    ("found", "message"),
    [
        (np.array([0, 8]), r"must give positions 0 .. 7, not row numbers; found 0 .. 8"),
        (np.array([-1, 2]), r"must give positions 0 .. 7, not row numbers; found -1 .. 2"),
        (np.array([0.5]), r"must give int64 \(m,\) or \(m, k\); found float64 \(1,\)"),
        (np.zeros((2, 2, 2), int), r"must give int64 \(m,\) or \(m, k\); found int64 \(2, 2, 2\)"),
    ],
)
def test_orders_must_give_positions(found, message):
    """An order of one's own that gives something else is named, with what was expected and found."""

    class Wrong:
        def positions(self, n, *, seed, epoch):
            return found

    with pytest.raises(ArgumentError, match=f"Wrong.positions {message}"):
        list(Sampler(8, order=Wrong(), sizes=Fixed(32), budget=Images(1)).steps(0))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"epoch_steps": 4, "tail": "exact"}, "epoch_steps= cuts epochs from an endless stream, which has no tail"),
        ({"epoch_steps": 0}, "epoch_steps must be an int >= 1; found 0"),
        ({"granule": 0}, "granule must be an int >= 1; found 0"),
        ({"granule": 16}, "the budget gives 8 images at 64x64, less than a granule of 16 images: give more"),
        ({"buckets": [0, 1]}, r"buckets= needs one value for each of 64 rows; found shape \(2,\)"),
        ({"buckets": "view"}, "buckets= needs the column 'view': make the Sampler of a Cache"),
        ({"budget": lambda size: 2.5}, r"a budget must give an int >= 1 of images at every size; found 2.5 at 64x64"),
        ({"budget": lambda size: 0}, r"a budget must give an int >= 1 of images at every size; found 0 at 64x64"),
        ({"buckets": [0, 1] * 32, "sizes": Cycle(32, 64), "budget": Pixels(4, at=64)}, "buckets with steps of several"),
        ({"rank": 0}, "rank and world go together; found rank=0 and world=None"),
        ({"rank": 2, "world": 2}, "rank is one of 0 .. world - 1; found rank=2 and world=2"),
    ],
)
def test_contradictions_are_refused(options, message):
    """When the sampler is made, with what to do."""
    with pytest.raises(ArgumentError, match=message):
        Sampler(64, **{"sizes": Fixed(64), "budget": Images(8)} | options)


def test_json_carries_a_position():
    """State is plain: what json gives back is what was saved, and names plan, seed, epoch and step."""
    one = Sampler(64, sizes=Fixed(64), budget=Images(8), seed=random.Random(1).randrange(100))
    next(iter(one))
    state = one.state_dict()
    assert json.loads(json.dumps(state)) == state
    assert {"version", "epoch", "step", "seed", "fingerprint"} == set(state)
    assert (state["epoch"], state["step"], state["seed"]) == (0, 1, one.seed)
