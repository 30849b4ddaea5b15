"""Plans: what an epoch visits, as a pure function; and the cursor's rules."""

import itertools
import json
import os
import random
import subprocess
import sys

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from resload.errors import ArgumentError, SizeError, StateError
from resload.samplers import Fixed, Images, Key, Sampler, Sequential, Shuffle, Step
from resload.size import Size


def sampler(n=23, **options):
    """6 steps of 4, the last of 3, unless asked otherwise."""
    return Sampler(n, **{"sizes": Fixed(32), "budget": Images(4), "tail": "exact"} | options)


plans = st.builds(
    dict,
    n=st.integers(1, 60),
    order=st.sampled_from([Shuffle(), Sequential()]),
    budget=st.integers(1, 70).map(Images),
    tail=st.sampled_from(["drop", "exact"]),
    seed=st.integers(0, 2**40),
)


# -- the plan --------------------------------------------------------------------------------------------


@settings(max_examples=150, deadline=None)
@given(plans, st.integers(0, 5), st.data())
def test_steps_part_the_rows(plan, epoch, data):
    """The steps of an epoch are disjoint, full but for an exact tail, numbered from 0, `len` of them; together they
    are every row once ("exact"), or all but less than a step ("drop")."""
    rows = data.draw(st.none() | st.lists(st.integers(0, plan["n"] - 1), min_size=1, unique=True))
    count = plan["n"] if rows is None else len(rows)
    per_step = plan["budget"].count
    if plan["tail"] == "drop" and count < per_step:
        with pytest.raises(ArgumentError, match=f"{count} rows make no full step"):
            sampler(rows=rows, **plan)
        return
    one = sampler(rows=rows, **plan)
    steps = list(one.steps(epoch))
    assert [step.number for step in steps] == list(range(len(one)))
    assert {len(step) for step in steps[:-1]} <= {per_step}
    visited = np.concatenate([step.index for step in steps])
    assert len(set(visited.tolist())) == len(visited)
    assert set(visited.tolist()) <= set(range(plan["n"]) if rows is None else rows)
    assert count - len(visited) < (1 if plan["tail"] == "exact" else per_step)
    assert len(steps[-1]) == per_step or plan["tail"] == "exact"
    assert all(step.size == Size(32, 32) and len(step.draw) == len(step) for step in steps)
    if plan["order"] == Sequential():
        assert visited.tolist() == list(range(plan["n"]) if rows is None else rows)[: len(visited)]


@settings(max_examples=60, deadline=None)
@given(plans, st.integers(0, 5), st.integers(0, 70))
def test_an_epoch_may_be_entered_anywhere(plan, epoch, start):
    """steps(epoch, start=k) are the steps from k on, the same as without; asking in any order changes nothing."""
    if plan["tail"] == "drop" and plan["n"] < plan["budget"].count:
        return
    one = sampler(**plan)
    tail = [(step.number, step.index.tolist(), step.draw.tolist()) for step in one.steps(epoch, start=start)]
    list(one.steps(epoch + 1))
    whole = [(step.number, step.index.tolist(), step.draw.tolist()) for step in one.steps(epoch)]
    assert tail == whole[start:]


SCRIPT = """
from resload.samplers import *
s = Sampler(500, sizes=Fixed((40, 30)), budget=Images(7), seed=11)
print([(step.index.tolist(), step.draw.tolist()) for e in range(2) for step in s.steps(e)], s.fingerprint())
"""


def test_plans_are_the_same_in_every_process():
    """Other processes, hash seeds and polluted global generators compute the same plan and fingerprint."""
    random.seed(1)
    np.random.seed(1)  # noqa: NPY002
    torch.manual_seed(1)
    here = Sampler(500, sizes=Fixed((40, 30)), budget=Images(7), seed=11)
    steps = [(step.index.tolist(), step.draw.tolist()) for epoch in range(2) for step in here.steps(epoch)]
    for hash_seed in ("1", "2"):
        printed = subprocess.run(
            [sys.executable, "-c", SCRIPT], env=os.environ | {"PYTHONHASHSEED": hash_seed}, text=True,
            capture_output=True, check=True, timeout=120,
        ).stdout  # fmt: skip
        assert printed == f"{steps} {here.fingerprint()}\n"


def test_planning_needs_neither_torch_nor_pandas():
    """Plans are pure: importing the samplers loads no device library and no table library."""
    code = "import sys, resload.samplers; print(sorted({'torch', 'pandas', 'zarr'} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], text=True, capture_output=True, check=True, timeout=120)
    assert done.stdout == "[]\n"


def test_epochs_and_seeds_are_independent():
    """No two of 5 seeds x 5 epochs have the same order, (0, 1) is not (1, 0), and ranks are uncorrelated."""
    n = 2000
    orders = {
        (seed, epoch): np.concatenate([step.index for step in sampler(n, seed=seed, budget=Images(100)).steps(epoch)])
        for seed, epoch in itertools.product(range(5), repeat=2)
    }
    for one, two in itertools.combinations(orders.values(), 2):
        assert abs(np.corrcoef(np.argsort(one), np.argsort(two))[0, 1]) < 0.12  # 5 standard errors
    draws = [step.draw for seed, epoch in orders for step in sampler(n, seed=seed).steps(epoch)]
    assert len(np.unique(np.concatenate(draws))) == 25 * n


def test_the_global_generators_are_untouched():
    """Planning reads and moves none of them."""
    before = random.getstate(), str(np.random.get_state()), torch.random.get_rng_state()  # noqa: NPY002
    list(sampler())
    assert (random.getstate(), str(np.random.get_state())) == before[:2]  # noqa: NPY002
    assert torch.equal(torch.random.get_rng_state(), before[2])


def test_keys_carry_row_size_and_draw():
    """A step as keys: plain ints and a Size, a list that pickles and slices."""
    (step,) = sampler(3).steps(0)
    keys = step.keys()
    assert type(keys) is list
    assert all(type(key) is Key and type(key.index) is int and type(key.draw) is int for key in keys)
    assert [key.index for key in keys] == step.index.tolist()
    assert [key.draw for key in keys] == step.draw.tolist()
    assert {key.size for key in keys} == {Size(32, 32)}


class Growing:
    """A size rule of a user's own: larger with the epoch, alternating with the step."""

    def at(self, step, *, epoch):
        return Size(16 * (epoch + 1), 16 + step % 2)


class Backwards:
    """An order of a user's own: backwards."""

    def positions(self, n, *, seed, epoch):
        return np.arange(n)[::-1]

    def __repr__(self):
        return "Backwards()"


def test_parts_of_ones_own():
    """Any size rule and order with the one method each needs; rows= are what the order's positions point into."""
    one = sampler(9, rows=[2, 4, 6, 8], order=Backwards(), sizes=Growing(), budget=Images(2))
    steps = list(one.steps(2))
    assert [step.index.tolist() for step in steps] == [[8, 6], [4, 2]]
    assert [step.size for step in steps] == [Size(48, 16), Size(48, 17)]


def test_data_that_knows_what_can_be_read(cache):
    """A Cache as data: its length, and by default the rows that can be read; rows= and plain lengths as given."""
    one = Sampler(cache, sizes=Fixed(32), budget=Images(4))
    assert (one.n, one.rows.tolist()) == (len(cache), cache.rows().tolist())
    assert Sampler(cache, rows=[1, 2], sizes=Fixed(32), budget=Images(2)).rows.tolist() == [1, 2]
    assert Sampler(["a", "b"], sizes=Fixed(32), budget=Images(2)).rows.tolist() == [0, 1]


# -- the cursor ------------------------------------------------------------------------------------------


def keys_of(one, epoch):
    return [step.keys() for step in one.steps(epoch)]


def position(one):
    state = one.state_dict()
    return state["epoch"], state["step"]


def test_the_cursor_is_the_next_step_to_yield():
    """After k steps it says k; nothing is drawn ahead."""
    one = sampler()
    steps = iter(one)
    assert position(one) == (0, 0)
    for k in range(1, 6):
        assert next(steps) == keys_of(one, 0)[k - 1]
        assert position(one) == (0, k)


def test_set_epoch_keeps_a_resumed_cursor():
    """The same epoch: no change. Another: its beginning."""
    one = sampler()
    one.load_state_dict(one.state_dict() | {"epoch": 3, "step": 4})
    one.set_epoch(3)
    assert position(one) == (3, 4)
    assert list(one) == keys_of(one, 3)[4:]
    one.load_state_dict(one.state_dict() | {"epoch": 3, "step": 4})
    one.set_epoch(2)
    assert position(one) == (2, 0)
    assert list(one) == keys_of(one, 2)


def test_an_epoch_that_ends_is_followed_by_the_next():
    """By itself, with the last step, for frameworks that never call set_epoch."""
    one = sampler()
    for epoch in range(3):
        assert list(one) == keys_of(one, epoch)
        assert position(one) == (epoch + 1, 0)
    steps = iter(one)
    for _ in range(len(one)):
        next(steps)
    assert position(one) == (4, 0)
    assert list(steps) == []
    assert position(one) == (4, 0)


def test_the_cursor_is_read_at_the_first_step():
    """An iterator that was made before set_epoch or load_state_dict follows them."""
    one = sampler()
    early = iter(one)
    iter(one)
    one.load_state_dict(one.state_dict() | {"epoch": 1, "step": 2})
    one.set_epoch(1)
    assert list(early) == keys_of(one, 1)[2:]


def test_a_loaded_beginning_may_be_begun_twice():
    """A wrapper that draws ahead from the loaded epoch, drops that and begins again skips no epoch; leaving a loop
    again ends its epoch, as does leaving one of a loaded position within an epoch."""
    one = sampler()
    one.load_state_dict(one.state_dict() | {"epoch": 2})
    for epoch in (2, 2, 3, 4):
        assert next(iter(one)) == keys_of(one, epoch)[0]
    one.load_state_dict(one.state_dict() | {"epoch": 2, "step": 3})
    assert next(iter(one)) == keys_of(one, 2)[3]
    assert next(iter(one)) == keys_of(one, 3)[0]
    one.load_state_dict(one.state_dict() | {"epoch": 2, "step": 0})
    for epoch in (2, 3, 4):
        assert list(one) == keys_of(one, epoch)


def test_length_does_not_depend_on_the_cursor():
    """Nor on the epoch; and it is what a whole epoch has."""
    one = sampler()
    lengths = {len(one)}
    for _ in one:
        lengths.add(len(one))
    one.set_epoch(9)
    assert lengths | {len(one)} == {6}
    assert len(list(one)) == 6


@settings(max_examples=60, deadline=None)
@given(plans, st.integers(0, 3), st.lists(st.integers(0, 70), max_size=3))
def test_positions_resume_anywhere(plan, epoch, stops):
    """Interrupted any number of times, also in one epoch, and continued from JSON: the uninterrupted plan."""
    if plan["tail"] == "drop" and plan["n"] < plan["budget"].count:
        return
    one = sampler(**plan)
    one.set_epoch(epoch)
    whole, found = keys_of(one, epoch), []
    for stop in sorted(stops):
        found += list(itertools.islice(one, max(0, min(stop, len(one) - 1) - len(found))))
        state = json.loads(json.dumps(one.state_dict()))
        one = sampler(**plan)
        one.load_state_dict(state)
    assert found + list(one) == whole
    assert position(one) == (epoch + 1, 0)


def test_frameworks_find_what_they_look_for():
    """`.sampler.set_epoch` is there; nothing is that would make them rebuild it: no batch_size, no BatchSampler."""
    one = sampler()
    assert one.sampler is one
    assert not hasattr(one, "batch_size")
    assert not hasattr(one, "drop_last")
    assert not isinstance(one, torch.utils.data.Sampler)


# -- the fingerprint -------------------------------------------------------------------------------------


def test_the_fingerprint_knows_the_plan():
    """Anything that changes a step changes it; making the same sampler again does not."""
    variants = [
        {}, {"n": 24, "rows": range(23)}, {"rows": range(22)}, {"rows": list(range(23))[::-1]}, {"order": Sequential()},
        {"order": Backwards()}, {"sizes": Fixed((32, 33))}, {"budget": Images(5)}, {"seed": 1}, {"tail": "drop"},
    ]  # fmt: skip
    prints = [sampler(**variant).fingerprint() for variant in variants]
    assert len(set(prints)) == len(variants)
    assert prints == [sampler(**variant).fingerprint() for variant in variants]
    assert sampler(rows=range(23), order=Shuffle(), seed=np.int64(0)).fingerprint() == prints[0]
    one = sampler()
    list(itertools.islice(one, 3))
    assert one.fingerprint() == prints[0]


def test_a_position_of_another_plan_is_refused():
    """StateError with both fingerprints; the cursor stays; a damaged position is refused too."""
    state = sampler(seed=1).state_dict()
    one = sampler()
    with pytest.raises(StateError, match=f"expected fingerprint {one.fingerprint()}, found '{state['fingerprint']}'"):
        one.load_state_dict(state)
    good = one.state_dict()
    for wrong in ({}, good | {"version": 2}, good | {"step": -1}, good | {"epoch": "1"}, good | {"step": None}):
        with pytest.raises(StateError):
            one.load_state_dict(wrong)
    assert position(one) == (0, 0)


# -- refusals --------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"tail": "keep"}, "tail must be one of drop, pad, exact; found 'keep'"),
        ({"n": 3, "tail": "drop"}, r"3 rows make no full step: choose more, take a smaller batch, or keep the rest"),
        ({"rows": []}, "0 rows make no full step"),
        ({"n": 0}, "0 rows make no full step"),
        ({"rows": [0, 23]}, "rows must lie in 0 .. 22; found 0 .. 23"),
        ({"rows": [-1, 2]}, "rows must lie in 0 .. 22; found -1 .. 2"),
        ({"rows": [[1, 2]]}, r"rows must be a list of whole numbers; found int64 of shape \(1, 2\)"),
        ({"rows": [0.5]}, "rows must be a list of whole numbers; found float64"),
        ({"rows": [True] * 23}, "rows must be a list of whole numbers; found bool"),
        ({"seed": -1}, "seed must be an int >= 0; found -1"),
        ({"seed": True}, "seed must be an int >= 0; found True"),
        ({"seed": "0"}, "seed must be an int >= 0; found '0'"),
    ],
)
def test_impossible_plans_are_refused(options, message):
    """When the sampler is made, with what was expected and found."""
    with pytest.raises(ArgumentError, match=message):
        sampler(**options)


def test_impossible_parts_are_refused():
    """Budgets of nothing, sizes that are none."""
    for wrong in (0, -1, 2.0, True, None):
        with pytest.raises(ArgumentError, match=f"a batch needs an int >= 1 of images; found {wrong!r}"):
            Images(wrong)
    with pytest.raises(SizeError, match="found 0"):
        Fixed(0)
    assert Fixed((40, 30)).at(7, epoch=2) == Size(40, 30)
    assert Images(9)(Size(1, 1)) == Images(9)(Size(5000, 5000)) == 9


def test_steps_compare_by_identity():
    """Arrays inside make equality ambiguous, so a step is equal only to itself."""
    one, two = (Step(0, Size(1, 1), np.arange(2), np.arange(2, dtype=np.uint64)) for _ in range(2))
    assert one == one
    assert one != two
