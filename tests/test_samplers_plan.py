"""Plans of all kinds keep their promises: the properties of `sampler_properties`, over orders, sizes, budgets, buckets,
tails and streams, for any number of processes.
"""

import functools
import json
import os
import random
import subprocess
import sys
import warnings

import numpy as np
import pytest
import sampler_properties as properties
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st
from loading import NumberReader

from resload import Loader
from resload.errors import ArgumentError
from resload.samplers import (
    BlockShuffle,
    Cycle,
    Fixed,
    Groups,
    Images,
    Mix,
    Pixels,
    Sampler,
    Scales,
    Sequential,
    Shuffle,
)

many = settings(max_examples=120, deadline=None, suppress_health_check=[HealthCheck.filter_too_much])


class Alternating:
    """A size rule of a user's own, with the one method that it needs."""

    def at(self, step, *, epoch):
        return (32, 64, 32, 48)[(step + epoch) % 4]


ORDERS = [Shuffle(), Sequential(), BlockShuffle(block=4, mix=2)]
SIZES = [
    Fixed(64), Mix((32, 64)), Mix({32: 3, 64: 1}, share_of="steps"), Mix((32, 48, 64), share_of="pixels", every=2),
    Cycle(32, 64), Alternating(), Scales(64, 32),
]  # fmt: skip


@st.composite
def plans(draw, *, tails=("drop", "pad", "exact"), streams=True, bucketed=True, sizes=SIZES, orders=ORDERS):
    """(make, options): `make(rank=, world=)` gives a new Sampler of one plan each time."""
    n = draw(st.integers(1, 90))
    count = draw(st.integers(1, 24))
    options = {
        "rows": draw(st.none() | st.lists(st.integers(0, n - 1), min_size=1, unique=True)),
        "order": draw(st.sampled_from(orders)),
        "sizes": draw(st.sampled_from(sizes)),
        "budget": draw(st.sampled_from([Images(count), Pixels(count, at=64), lambda size: 1 + 64 * count // size[0]])),
        "granule": draw(st.sampled_from([None, 1, 2, 4])),
        "seed": draw(st.integers(0, 2**40)),
        "tail": draw(st.sampled_from(tails)),
    }
    if bucketed and draw(st.booleans()):
        options["buckets"] = draw(st.lists(st.integers(0, 2), min_size=n, max_size=n))
    if streams and options["tail"] == "drop" and draw(st.booleans()):
        options["epoch_steps"] = draw(st.integers(1, 8))
    make = functools.partial(quietly, n, **options)
    try:
        one = make()
        for epoch in range(4):  # `Alternating` repeats itself after four
            list(one.steps(epoch))
    except ArgumentError:  # nothing fills a step, or lengths would change: refusals have tests of their own
        assume(False)
    return make, options


def quietly(*args, **options):
    """A sampler, whatever it warns of: buckets that are never served are tested elsewhere."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)
        return Sampler(*args, **options)


def granule_of(make):
    return make()._planned(1).counting.granule


def divisors(number):
    return [k for k in range(1, number + 1) if number % k == 0]


# -- 1: parts --


@many
@given(plans(), st.integers(0, 3), st.data())
def test_parts_make_up_steps(plan, epoch, data):
    """For every number of processes that divides the granule; of an exact tail, for any at all."""
    make, options = plan
    exact = options["tail"] == "exact"
    world = data.draw(st.integers(1, 9) if exact else st.sampled_from(divisors(granule_of(make))))
    properties.parts_make_up_steps(make, epoch, world)
    properties.scales_of_steps(make, epoch)


# -- 2: coverage --


@many
@given(plans(streams=False), st.integers(0, 3))
def test_every_row_once_an_epoch(plan, epoch):
    """Under every tail, with and without buckets."""
    make, options = plan
    lanes = len(set(options["buckets"])) if "buckets" in options else 1
    properties.every_row_once(make, epoch, lanes=lanes)


@many
@given(plans(tails=("pad",), bucketed=False), st.integers(0, 3))
def test_a_step_is_filled_with_other_images(plan, epoch):
    """Where the rows are enough for a step of its size, no image is twice in it."""
    make, _ = plan
    assume(len(make().rows) >= max(len(step) for step in make().steps(epoch)))
    properties.padding_is_others(make, epoch)


@many
@given(plans(tails=("exact",)), st.integers(0, 3), st.integers(1, 12))
def test_evaluation_counts_each_film_once(plan, epoch, world):
    """Over any number of processes, also more than there are films."""
    make, _ = plan
    properties.evaluation_counts_each_once(make, epoch, world)


def test_dropped_rows_differ_between_epochs():
    """Under a shuffle the rows that fill no step are others each epoch."""
    one = Sampler(23, sizes=Fixed(32), budget=Images(4))
    left_out = [frozenset(range(23)) - set(properties.flat(one, epoch)) for epoch in range(6)]
    assert {len(rows) for rows in left_out} == {3}
    assert len(set(left_out)) > 1


# -- 3: purity --


@many
@given(plans())
def test_plans_are_pure(plan):
    """Whatever was planned before, and whatever the global generators do."""
    make, _ = plan
    properties.plans_are_pure(make, range(3))


SCRIPT = """
import random, numpy as np
random.seed(); np.random.seed()
from resload.samplers import *
rows = range(240)
table = __import__("pandas").DataFrame({"patient": [k // 3 for k in rows], "nodule": [k % 7 == 0 for k in rows]})
for options in (
    {"order": BlockShuffle(8, 2), "sizes": Mix((32, 64)), "budget": Pixels(8, at=64)},
    {"order": Balanced("nodule"), "sizes": Fixed(32), "budget": Images(8)},
    {"order": RepeatFactor("nodule", 0.5), "sizes": Cycle(32, 64), "budget": Images(8)},
    {"order": OnePer("patient"), "sizes": Fixed(32), "budget": Images(8), "tail": "exact"},
    {"order": Groups("patient", max=4), "sizes": Fixed(32), "budget": Images(16), "tail": "pad"},
    {"order": Weighted(), "sizes": PerTarget({"nodule": 64}), "budget": Images(8)},
    {"buckets": "nodule", "sizes": Ramp(32, 64, start=1, end=2), "budget": Pixels(8, at=64), "epoch_steps": 9},
):
    try:
        s = Sampler(table, **options)
    except resload.errors.ArgumentError:
        continue
    print([(t.size, t.index.tolist(), t.draw.tolist()) for e in range(3) for t in s.steps(e)], s.fingerprint())
""".replace("from resload", "import resload.errors\nfrom resload", 1)


def test_plans_are_the_same_in_every_process():
    """Other processes and hash seeds, globals seeded at random: the same steps and fingerprints, of all kinds."""
    printed = {
        subprocess.run(
            [sys.executable, "-c", SCRIPT], env=os.environ | {"PYTHONHASHSEED": hash_seed}, text=True,
            capture_output=True, check=True, timeout=120,
        ).stdout
        for hash_seed in ("1", "2", "3")
    }  # fmt: skip
    (one,) = printed
    assert len(one.splitlines()) >= 6


# -- 4: resuming --


@many
@given(plans(), st.data(), st.booleans())
def test_resumes_on_any_number_of_processes(plan, data, told_epoch):
    """Interrupted anywhere, any number of times, each time on another number of processes: the uninterrupted run."""
    make, options = plan
    worlds = [1, 2, 3, 5] if options["tail"] == "exact" else divisors(granule_of(make))
    legs = data.draw(st.lists(st.tuples(st.sampled_from(worlds), st.integers(0, 9)), min_size=1, max_size=4))
    properties.resumes_on_any_world(make, legs, told_epoch=told_epoch)


@pytest.mark.parametrize("told_epoch", [False, True])
@pytest.mark.parametrize("stops", [(3, 2), (5, 5), (9, 1), (0, 10), (9, 11), (19, 1)])
def test_eight_then_two_then_four_processes(stops, told_epoch):
    """Of mixed sizes at constant pixels: mid-epoch, twice, before the first step, at the last one, at the end."""
    make = functools.partial(Sampler, 530, sizes=Mix((32, 48, 64)), budget=Pixels(32, at=64), seed=5)
    assert len(make()) == 10
    legs = [(8, stops[0]), (2, stops[1]), (4, 0)]
    properties.resumes_on_any_world(make, legs, epochs=3, told_epoch=told_epoch)


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


@settings(max_examples=60, deadline=None)
@given(plans(streams=False))
def test_the_cursor_keeps_its_rules(plan):
    """What frameworks rely on, for plans of all kinds."""
    make, _ = plan
    properties.resumed_cursor_is_kept(make)
    properties.another_epoch_begins_at_its_beginning(make)
    properties.epochs_follow_each_other(make)
    properties.a_loop_left_early_has_ended_its_epoch(make)
    properties.cursor_is_read_at_the_first_step(make)
    properties.views_have_cursors_of_their_own(make)


@many
@given(plans(), st.data())
def test_one_stream_of_all_processes(plan, data):
    """`interleaved(world)`: batch i is that of process i % world."""
    make, _ = plan
    world = data.draw(st.sampled_from(divisors(granule_of(make))))
    properties.interleaved_is_what_processes_are_given(make, 1, world)


# -- 5: prefetching --


@pytest.mark.parametrize("prefetch", [1, 2, 8])
@pytest.mark.parametrize("sizes", [Fixed(8), Mix((4, 8))])
def test_positions_do_not_depend_on_prefetching(prefetch, sizes):
    """After k batches a Loader says k, and goes on with batch k + 1."""

    def make_loader(prefetch):
        sampler = Sampler(40, sizes=sizes, budget=Pixels(4, at=8), granule=1)
        return Loader(NumberReader(40), sampler=sampler, prefetch=prefetch, threads=2)

    properties.loaders_report_the_consumers_position(make_loader, prefetch)


# -- 6 and 7: lengths and budgets --


@many
@given(plans(), st.data())
def test_lengths_are_constant(plan, data):
    """`len` on every process in every epoch, and total_steps."""
    make, _ = plan
    world = data.draw(st.sampled_from(divisors(granule_of(make))))
    properties.lengths_are_constant(make, 3, world)


@many
@given(plans(sizes=SIZES[:-1]), st.integers(0, 3))
def test_budgets_are_kept(plan, epoch):
    """At most the budget, in multiples of the granule, and less than a granule below it."""
    make, options = plan
    properties.budgets_are_kept(make, epoch, options["budget"], granule_of(make))


@many
@given(
    n=st.integers(60, 3000), shares=st.dictionaries(st.sampled_from([32, 48, 64, 96]), st.integers(1, 9), min_size=1),
    stream=st.booleans(), epoch=st.integers(0, 3),
)  # fmt: skip
def test_shares_of_steps_are_exact(n, shares, stream, epoch):
    """Each size as often as its share of the steps says, to a step."""
    steps = {"epoch_steps": 1 + n // 60} if stream else {}
    make = functools.partial(
        Sampler, n, sizes=Mix(shares, share_of="steps"), budget=Pixels(12, at=64), granule=1, **steps
    )
    sizes = {(side, side): share for side, share in shares.items()}
    assume(len(make()) > 0)
    properties.shares_are_exact(make, epoch, sizes)


@many
@given(plans(orders=[Shuffle(), Sequential()]), st.integers(0, 2))
def test_buckets_are_homogeneous(plan, epoch):
    """No step has rows of two buckets."""
    make, options = plan
    assume("buckets" in options)
    properties.steps_are_homogeneous(make, epoch, options["buckets"])


@many
@given(
    n=st.integers(3, 60), count=st.integers(1, 30), steps=st.integers(1, 12), sizes=st.sampled_from(SIZES),
    order=st.sampled_from(ORDERS),
)  # fmt: skip
def test_streams_lose_nothing(n, count, steps, sizes, order):
    """Virtual epochs are cut from whole passes: no row is visited twice more often than another."""
    make = functools.partial(
        Sampler, n, order=order, sizes=sizes, budget=Pixels(count, at=128), granule=1, epoch_steps=steps
    )
    properties.streams_lose_nothing(make, 6)


# -- 8: independence --


@pytest.mark.parametrize(("order", "parts"), [(Shuffle(), 2000), (BlockShuffle(block=1, mix=8), 250)])
def test_epochs_and_seeds_are_independent(order, parts):
    """(0, 1) is not (1, 0), and no order says anything of another; of blocks as far as so many parts can tell."""

    def make(seed):
        return Sampler(2000, order=order, sizes=Mix((32, 64)), budget=Images(100), seed=seed, tail="exact")

    properties.epochs_and_seeds_are_independent(make, parts)


# -- 15 and 16: exams, and the smallest plans --


@many
@given(
    n=st.integers(4, 60), most=st.integers(1, 4), exams=st.integers(1, 4), epoch=st.integers(0, 2),
    tail=st.sampled_from(["drop", "pad", "exact"]), data=st.data(),
)  # fmt: skip
def test_no_process_divides_an_exam(n, most, exams, epoch, tail, data):
    """Parts are whole exams, whatever their films."""
    codes = data.draw(st.lists(st.integers(0, 9), min_size=n, max_size=n))
    make = functools.partial(
        quietly, n, order=Groups(codes, max=most), sizes=Fixed(32), budget=Images(most * exams), tail=tail
    )
    try:
        make()
    except ArgumentError:
        assume(False)
    worlds = divisors(granule_of(make))
    world = data.draw(st.sampled_from([1, 2, 3] if tail == "exact" else worlds))
    properties.parts_make_up_steps(make, epoch, world)
    for rank in range(world):
        for part in make(rank=rank, world=world).parts(epoch):
            for unit in part.index.reshape(-1, most).tolist():
                assert len({codes[row] for row in unit if row >= 0}) <= 1


def test_fewer_rows_than_a_step():
    """Dropped: refused, with what to do. Filled: the images come again, with other draws. Exact: one short step."""
    with pytest.raises(ArgumentError, match="3 rows make no full step"):
        Sampler(3, sizes=Fixed(32), budget=Images(8))
    (step,) = Sampler(3, sizes=Fixed(32), budget=Images(8), tail="pad").steps(0)
    assert sorted(np.bincount(step.index).tolist()) == [2, 3, 3]
    assert len(set(step.draw.tolist())) == 8
    (step,) = Sampler(3, sizes=Fixed(32), budget=Images(8), tail="exact").steps(0)
    assert sorted(step.index.tolist()) == [0, 1, 2]


def test_a_bucket_of_one_image():
    """Dropped: warned of, and never served. Filled or exact: served. Streams: served as often as the others."""
    buckets = [0] * 16 + [1]
    with pytest.warns(UserWarning, match="1 of 2 buckets are smaller than a step: their 1 images or exams are never"):
        one = Sampler(17, sizes=Fixed(32), budget=Images(4), buckets=buckets)
    assert 16 not in properties.flat(one, 0)
    for tail, copies in (("pad", 4), ("exact", 1)):
        one = Sampler(17, sizes=Fixed(32), budget=Images(4), buckets=buckets, tail=tail)
        assert properties.flat(one, 0).count(16) == copies
    one = Sampler(17, sizes=Fixed(32), budget=Images(1), buckets=buckets, epoch_steps=17, granule=1)
    assert sum(properties.flat(one, epoch).count(16) for epoch in range(100)) == pytest.approx(100, abs=10)


def test_more_processes_than_images():
    """In an exact tail: those without an image are given padding, as many places as the others."""
    parts = [
        list(Sampler(5, sizes=Fixed(32), budget=Images(4), tail="exact", rank=r, world=8).parts(0)) for r in range(8)
    ]
    assert {len(part) for part in parts} == {2}
    assert [part[1].index.tolist() for part in parts].count([-1]) == 7
    assert all(part[1].draw.tolist() == [0] for part in parts if part[1].index.tolist() == [-1])


def test_a_single_process_without_a_group():
    """Nothing is asked of torch.distributed, and nothing is warned of."""
    one = Sampler(8, sizes=Fixed(32), budget=Images(4))
    assert (one.place().rank, one.place().world) == (0, 1)
    assert len(list(one)) == 2


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
