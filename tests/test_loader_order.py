"""Order and position: a pure function of (seed, epoch), and two integers that continue it anywhere."""

import functools
import json
import random

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from loading import NumberReader, all_rows, rows_of

from resload import Loader, open_cache
from resload.errors import StateError
from resload.samplers import Fixed, Images, Sampler

STEPS = 6


def numbers(n=23, **options):
    """A loader of 6 batches of 4 (the last of 3) unless asked otherwise."""
    return Loader(NumberReader(n), **{"size": 4, "batch_size": 4, "shuffle": True} | options)


def told(batches):
    """What a batch says of order: its rows, their draws, and its pixels, which are their rows."""
    found = []
    for batch in batches:
        assert batch.images[:, 0, 0, 0].mul(65535).round().tolist() == batch.rows.tolist()
        found.append((batch.rows.tolist(), batch.draws.tolist()))
    return found


# -- order -----------------------------------------------------------------------------------------------


def test_without_shuffle_rows_come_in_their_order(cache):
    """Row order, in every epoch, quarantined rows left out."""
    loader = Loader(cache, size=32, batch_size=8)
    assert all_rows(loader) == all_rows(loader) == cache.rows().tolist()


def test_a_shuffle_is_a_function_of_seed_and_epoch():
    """The same (seed, epoch): the same order and draws. Another epoch or seed: another. (0, 1) is not (1, 0)."""
    orders = {}
    for seed in range(3):
        loader = numbers(seed=seed)
        for epoch in range(3):
            orders[seed, epoch] = told(loader)
    for (seed, epoch), order in orders.items():
        again = numbers(seed=seed, threads=1, prefetch=4)
        again.set_epoch(epoch)
        assert told(again) == order
    assert len({str(rows) for order in orders.values() for rows in [[rows for rows, _ in order]]}) == 9
    draws = [draw for order in orders.values() for _, batch in order for draw in batch]
    assert len(set(draws)) == len(draws) == 9 * 23
    assert all(sorted(row for rows, _ in order for row in rows) == list(range(23)) for order in orders.values())
    assert all([row for rows, _ in order for row in rows] != list(range(23)) for order in orders.values())


def test_the_global_generators_are_neither_read_nor_changed():
    """Seeding or drawing from random, numpy and torch changes no order; loading changes none of their states."""
    expected = told(numbers())
    loader = numbers()
    found = []
    for seed, batch in enumerate(loader):
        random.seed(seed)
        np.random.seed(seed)  # noqa: NPY002  polluting is the point
        torch.manual_seed(seed)
        found += told([batch])
    assert found == expected
    before = random.getstate(), str(np.random.get_state()), torch.random.get_rng_state()  # noqa: NPY002
    told(numbers(seed=5))
    assert (random.getstate(), str(np.random.get_state())) == before[:2]  # noqa: NPY002
    assert torch.equal(torch.random.get_rng_state(), before[2])


@settings(max_examples=60, deadline=None)
@given(
    n=st.integers(1, 40), batch_size=st.integers(1, 12), drop_last=st.booleans(), shuffle=st.booleans(),
    prefetch=st.integers(1, 5), threads=st.integers(1, 4), grain=st.integers(1, 5), data=st.data(),
)  # fmt: skip
def test_every_row_once_an_epoch(n, batch_size, drop_last, shuffle, prefetch, threads, grain, data):
    """Each chosen row comes exactly once an epoch; drop_last leaves out less than a batch and serves only full ones."""
    rows = data.draw(st.lists(st.integers(0, n - 1), min_size=1, unique=True))
    if drop_last and len(rows) < batch_size:
        return
    loader = Loader(
        NumberReader(n, grain=grain), size=3, batch_size=batch_size, rows=rows, drop_last=drop_last, shuffle=shuffle,
        prefetch=prefetch, threads=threads,
    )  # fmt: skip
    for _ in range(2):
        found = [rows for rows, _ in told(loader)]
        assert len(found) == len(loader) == (len(rows) // batch_size if drop_last else -(-len(rows) // batch_size))
        assert {len(batch) for batch in found[:-1]} <= {batch_size}
        served = [row for batch in found for row in batch]
        assert len(served) == (len(loader) * batch_size if drop_last else len(rows))
        assert len(set(served)) == len(served)
        assert set(served) <= set(rows)
        assert shuffle or served == rows[: len(served)]


def test_dropped_rows_differ_between_epochs():
    """Under a shuffle the images that fill no batch are others each epoch."""
    loader = numbers(drop_last=True)
    left_out = [frozenset(range(23)) - set(all_rows(loader)) for _ in range(6)]
    assert {len(rows) for rows in left_out} == {3}
    assert len(set(left_out)) > 1


# -- position --------------------------------------------------------------------------------------------


@functools.cache
def uninterrupted(epoch, shuffle=True):
    """This epoch and the one after it, batch by batch."""
    loader = numbers(shuffle=shuffle)
    loader.set_epoch(epoch)
    return told(loader) + told(loader)


def consumed(loader, count, *, exhaust):
    """The first batches of an epoch, from a loop that is then left (or, after the last, runs out)."""
    head = []
    for batch in loader:
        head += told([batch])
        if len(head) == count and not exhaust:
            break
    return head


@settings(max_examples=80, deadline=None)
@given(
    step=st.integers(1, STEPS), epoch=st.integers(0, 2), exhaust=st.booleans(), shuffle=st.booleans(),
    before=st.tuples(st.integers(1, 5), st.integers(1, 4)), after=st.tuples(st.integers(1, 5), st.integers(1, 4)),
)  # fmt: skip
def test_a_saved_position_continues_anywhere(step, epoch, exhaust, shuffle, before, after):
    """Left after any batch, saved as JSON, loaded with another prefetch and number of threads: nothing is lost,
    repeated or moved, to the end of the next epoch. Also after the last batch, whether or not the loop ran out."""
    whole = uninterrupted(epoch, shuffle)
    first = numbers(shuffle=shuffle, prefetch=before[0], threads=before[1])
    first.set_epoch(epoch)
    exhaust = exhaust and step == STEPS
    head = consumed(first, step, exhaust=exhaust)
    assert len(head) == step
    state = json.loads(json.dumps(first.state_dict()))
    second = numbers(shuffle=shuffle, prefetch=after[0], threads=after[1])
    second.load_state_dict(state)
    tail = told(second)
    if step < STEPS:
        tail += told(second)
    assert head + tail == whole


@pytest.mark.parametrize("step", range(STEPS))
def test_a_position_may_be_saved_twice_in_an_epoch(step):
    """Resumed, left again and resumed again within one epoch, also at the very first batch."""
    whole = uninterrupted(1)
    loader = numbers()
    loader.set_epoch(1)
    found = []
    for stop in (step, step + 1, STEPS):
        if stop > len(found):
            found += consumed(loader, stop - len(found), exhaust=stop == STEPS)
        state = loader.state_dict()
        loader = numbers()
        loader.load_state_dict(state)
    assert found == whole[:STEPS]


def test_the_position_is_the_callers_not_the_prefetchers():
    """After k batches state_dict says k, whatever was made ahead; after the last, the next epoch's beginning."""
    for prefetch in (1, 2, 5):
        loader = numbers(prefetch=prefetch)
        assert (loader.state_dict()["epoch"], loader.state_dict()["step"]) == (0, 0)
        for k, _ in enumerate(loader, start=1):
            state = loader.state_dict()
            assert (state["epoch"], state["step"]) == ((0, k) if k < STEPS else (1, 0))
        assert (loader.state_dict()["epoch"], loader.state_dict()["step"]) == (1, 0)


def test_loading_a_position_of_another_plan_is_refused():
    """Another seed, order, batch size, tail, rows or data; and what is no position at all."""
    state = numbers().state_dict()
    others = [
        numbers(seed=1),
        numbers(shuffle=False),
        numbers(batch_size=5),
        numbers(drop_last=True),
        numbers(rows=range(20)),
        numbers(n=24, rows=range(23)),
        numbers(size=5),
    ]
    for other in others:
        with pytest.raises(StateError, match=r"saved for another plan .* expected fingerprint .* found"):
            other.load_state_dict(state)
        assert other.state_dict()["step"] == 0
    for broken in ({}, state | {"version": 2}, {k: v for k, v in state.items() if k != "step"}, state | {"step": -1}):
        with pytest.raises(StateError):
            numbers().load_state_dict(broken)
    numbers(prefetch=4, threads=1, channels=3, dtype=torch.bfloat16).load_state_dict(state)  # none of this is the plan


def test_a_position_belongs_to_the_data(cache):
    """The same row numbers of other radiographs are another plan; a reopened cache is the same."""
    rows = cache.rows()
    states = [
        Loader(view, size=32, batch_size=4).state_dict() for view in (cache.select(rows), cache.select(rows[::-1]))
    ]
    again = Loader(open_cache(cache.path).select(rows), size=32, batch_size=4)
    again.load_state_dict(states[0])
    with pytest.raises(StateError, match="another plan"):
        again.load_state_dict(states[1])


# -- epochs ----------------------------------------------------------------------------------------------


def test_iterating_again_is_the_next_epoch():
    """Also after a loop that was left early; len stays what it is."""
    whole = [told(loader) for loader in [numbers()] for _ in range(4)]
    loader = numbers()
    assert told(loader) == whole[0]
    assert consumed(loader, 2, exhaust=False) == whole[1][:2]
    assert told(loader) == whole[2]
    assert len(loader) == STEPS
    assert told(loader) == whole[3]


def test_set_epoch():
    """Goes to the beginning of an epoch; keeps a position just loaded there; restarts an epoch that was begun."""
    whole = [told(loader) for loader in [numbers()] for _ in range(8)]
    loader = numbers()
    loader.set_epoch(5)
    assert told(loader) == whole[5]
    loader.set_epoch(6)  # already there
    assert told(loader) == whole[6]
    loader.set_epoch(2)
    consumed(loader, 3, exhaust=False)
    state = loader.state_dict()
    loader.set_epoch(2)
    assert told(loader) == whole[2]
    for epoch, expected in ((2, whole[2][3:]), (3, whole[3]), (0, whole[0])):
        loaded = numbers()
        loaded.load_state_dict(state)
        loaded.set_epoch(epoch)
        assert told(loaded) == expected


def test_frameworks_may_ask_for_iterators_before_the_epoch():
    """load_state_dict, then iter() twice, then set_epoch, then next(): the order in which Lightning resumes."""
    whole = uninterrupted(3)
    first = numbers()
    first.set_epoch(3)
    consumed(first, 2, exhaust=False)
    second = numbers()
    second.load_state_dict(first.state_dict())
    iter(second)
    batches = iter(second)
    second.set_epoch(3)
    assert told(batches) == whole[2:STEPS]
    assert told(second) == whole[STEPS:]


def test_frameworks_reach_the_loaders_position():
    """Lightning sets the epoch of `.sampler` and of `.batch_sampler.sampler`: the second is the loader's own."""
    loader = numbers()
    loader.sampler.set_epoch(5)
    assert loader.state_dict()["epoch"] == 0
    loader.batch_sampler.sampler.set_epoch(2)
    assert loader.state_dict()["epoch"] == 2
    assert rows_of(loader) == [step.index.tolist() for step in loader.sampler.steps(2)]


def test_two_iterations_of_one_loader_at_once():
    """Each is an epoch of its own; the position is that of the batch handed out last."""
    whole = [told(loader) for loader in [numbers()] for _ in range(3)]
    loader = numbers()
    first, second = iter(loader), iter(loader)
    found = [], []
    for _ in range(STEPS):
        found[0].extend(told([next(first)]))
        assert loader.state_dict()["epoch"] == (0 if len(found[0]) < STEPS else 1)
        found[1].extend(told([next(second)]))
        assert loader.state_dict()["epoch"] == (1 if len(found[1]) < STEPS else 2)
    assert found == (whole[0], whole[1])
    assert told(loader) == whole[2]


def test_set_epoch_within_a_loop():
    """Holds when the loop is then left; a loop that goes on keeps its own epoch and is followed by the next."""
    whole = [told(loader) for loader in [numbers()] for _ in range(6)]
    loader = numbers()
    for _ in loader:
        loader.set_epoch(5)
        break
    assert told(loader) == whole[5]
    loader.set_epoch(2)
    found = []
    for k, batch in enumerate(loader):
        found += told([batch])
        if k == 1:
            loader.set_epoch(5)
    assert found == whole[2]
    for k, _ in enumerate(loader):
        if k == 1:
            loader.set_epoch(5)
        if k == 2:
            break
    assert told(loader) == whole[4]


def test_two_loaders_of_one_cache_at_once(cache):
    """Interleaved, each sees its own order."""
    one = Loader(cache, size=32, batch_size=4, shuffle=True, seed=1)
    two = Loader(cache, size=64, batch_size=4, shuffle=True, seed=2)
    alone = rows_of(one), rows_of(two)
    one.set_epoch(0)
    two.set_epoch(0)
    pairs = list(zip(one, two, strict=True))
    assert (rows_of(pair[0] for pair in pairs), rows_of(pair[1] for pair in pairs)) == alone
    for pair in pairs:
        for batch in pair:
            expected = cache.read(batch.rows.numpy(), batch.size) / 65535
            np.testing.assert_allclose(batch.images[:, 0].numpy(), expected, rtol=1e-6)


def test_a_sampler_of_ones_own_keeps_its_cursor():
    """The loader has its own position: iterating it neither reads nor moves the sampler's."""
    sampler = Sampler(23, sizes=Fixed(4), budget=Images(4), tail="exact")
    loader = Loader(NumberReader(23), sampler=sampler)
    next(iter(sampler))
    assert sampler.state_dict()["step"] == 1
    assert rows_of(loader) == [step.index.tolist() for step in sampler.steps(0)]
    assert sampler.state_dict()["step"] == 1
