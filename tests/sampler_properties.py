"""What must hold of every plan, as plain functions, each raising AssertionError where its docstring is not kept.

Property tests call them with plans of all kinds, mutation tests with the library broken on purpose.

make    called with rank= and world=, gives a new Sampler of one plan, as each process of a training run makes its own.
"""

import itertools
import json
import random
from collections import Counter

import numpy as np
import torch

from resload.errors import ArgumentError, StateError

PADDING = -1


# -- looking at plans --


def rows_of(step):
    """The images of a step or part, padding left out."""
    return step.index[step.index != PADDING].tolist()


def told(step):
    """Everything that a step says of its images."""
    return step.number, step.size, step.index.tolist(), step.draw.tolist(), step.scales, step.n_ref


def epoch_of(one, epoch):
    """An epoch as values that can be compared."""
    return [told(step) for step in one.steps(epoch)]


def flat(one, epoch):
    """The rows of an epoch, one after another."""
    return [row for step in one.steps(epoch) for row in rows_of(step)]


def position(one):
    """(epoch, step) as it would be saved."""
    state = one.state_dict()
    return state["epoch"], state["step"]


def keys_at(one, epoch):
    """What one process is to be given in an epoch."""
    return [step.keys() for step in one.parts(epoch)]


def joined(parts, count):
    """Values of all processes' parts, one after another: `count` of them, and then nothing but padding."""
    found = [value for part in parts for value in part]
    return found[:count], set(found[count:])


# -- 1: parts --


def parts_make_up_steps(make, epoch, world):
    """Each step's parts, as so many processes compute them, are equally long, of the same size, and joined they are the
    step, with the draws of a single process; only padding follows."""
    whole = list(make().steps(epoch))
    parts = [list(make(rank=rank, world=world).parts(epoch)) for rank in range(world)]
    assert {len(part) for part in parts} == {len(whole)}
    for step, shared in zip(whole, zip(*parts, strict=True), strict=True):
        assert len({len(part) for part in shared}) == 1
        assert {(part.number, part.size, part.scales, part.n_global) for part in shared} == {
            (step.number, step.size, step.scales, step.n_global)
        }
        index, after = joined([part.index.tolist() for part in shared], len(step))
        assert (index, after <= {PADDING}) == (step.index.tolist(), True)
        draws, _ = joined([part.draw.tolist() for part in shared], len(step))
        assert draws == step.draw.tolist()
        assert all(len(part) % step.stride == 0 for part in shared)


# -- 2: coverage --


def every_row_once(make, epoch, *, largest, lanes=1):
    """Of an order that promises each row once: "exact" visits each exactly once; "drop" none twice, and misses less
    than a step of each lane; "pad" each at least once, in full steps only.

    largest: images in the largest step that the budget gives. lanes: how many buckets there are.
    """
    one = make()
    steps = list(one.steps(epoch))
    seen = Counter(row for step in steps for row in rows_of(step))
    expected = set(one.rows.tolist())
    assert set(seen) <= expected
    assert set(seen.values()) == {1} or one.tail == "pad"
    missing = len(expected) - len(seen)
    assert missing < (largest * lanes if one.tail == "drop" else 1)
    lengths = {(step.size, len(step)) for step in steps}
    assert len(lengths) == len(dict(lengths)) or one.tail == "exact"


def padding_is_others(make, epoch):
    """ "pad" fills the last step with images that it does not have yet, while there are any."""
    for step in make().steps(epoch):
        images = rows_of(step)
        assert len(set(images)) == len(images)


def evaluation_counts_each_once(make, epoch, world):
    """With tail="exact", over all processes together, each row is handed out as a valid image exactly once."""
    parts = [part for rank in range(world) for part in make(rank=rank, world=world).parts(epoch)]
    counted = Counter(row for part in parts for row in rows_of(part))
    assert counted == dict.fromkeys(make().rows.tolist(), 1)


# -- 3: purity --


def plans_are_pure(make, epochs):
    """Two samplers asked in different orders, the global generators used in between, plan the same; and leave the
    generators as they are."""
    expected = {epoch: epoch_of(make(), epoch) for epoch in epochs}
    one = make()
    for epoch in [*reversed(epochs), *epochs]:
        random.seed(epoch)
        np.random.seed(epoch)  # noqa: NPY002  polluting is the point
        torch.manual_seed(epoch)
        before = generators()
        assert epoch_of(one, epoch) == expected[epoch]
        assert generators() == before
    assert one.fingerprint() == make().fingerprint()


def generators():
    """Where the global generators are."""
    return random.getstate(), str(np.random.get_state()), torch.random.get_rng_state().tolist()  # noqa: NPY002


# -- 4: resuming --


def resumes_on_any_world(make, legs, *, epochs=2, told_epoch=False):
    """A run that is interrupted after each leg and goes on, from one process's JSON, on another number of processes, to
    the end of so many epochs, serves what an uninterrupted run does. All processes save the same.

    legs: (world, steps to take). told_epoch: set_epoch is called with the saved epoch between loading and the first
    step, and the iterators are older than both, as Lightning does it.
    """
    whole = [told(step) for epoch in range(epochs) for step in make().steps(epoch)]
    state, done = None, 0
    for world, count in [*legs, (legs[-1][0], len(whole))]:
        ranks = [make(rank=rank, world=world) for rank in range(world)]
        streams = [_endless(one) for one in ranks]
        if state is not None:
            for one in ranks:
                _load(one, state)
                if told_epoch:
                    one.set_epoch(state["epoch"])
        for _ in range(min(count, len(whole) - done)):
            parts = [next(stream) for stream in streams]
            number, size, index, draw, scales, _ = whole[done]
            times = len(scales or (size,))
            assert {key.size for part in parts for key in part} == set(scales or (size,))
            parts = [part[: len(part) // times] for part in parts]
            assert joined([[key.index for key in part] for part in parts], len(index))[0] == index, (done, number)
            assert joined([[key.draw for key in part] for part in parts], len(draw))[0] == draw
            done += 1
        states = [json.loads(json.dumps(one.state_dict())) for one in ranks]
        assert all(one == states[0] for one in states)
        state = states[-1]
    assert done == len(whole)
    assert (state["epoch"], state["step"]) == (epochs, 0)


def _endless(one):
    """Epoch after epoch of a sampler, as a training loop goes on by itself."""
    while True:
        yield from one


def _load(one, state):
    try:
        one.load_state_dict(state)
    except StateError as exc:
        raise AssertionError("a position of the same plan is refused") from exc


# -- the cursor --


def resumed_cursor_is_kept(make):
    """set_epoch with the epoch that was loaded changes nothing."""
    one = make()
    for epoch, step in itertools.product((0, 3), range(1, len(one))):
        one.load_state_dict(one.state_dict() | {"epoch": epoch, "step": step})
        one.set_epoch(epoch)
        assert position(one) == (epoch, step)
        assert list(one) == keys_at(one, epoch)[step:]


def another_epoch_begins_at_its_beginning(make):
    """set_epoch with another epoch than the one that was loaded, earlier or later, begins it."""
    one = make()
    for epoch in (0, 1, 7):
        one.load_state_dict(one.state_dict() | {"epoch": 3, "step": len(one) - 1})
        one.set_epoch(epoch)
        assert position(one) == (epoch, 0)
        assert list(one) == keys_at(one, epoch)


def epochs_follow_each_other(make):
    """With its last step an epoch becomes the next one, also when nobody asks for a step that is not there."""
    one = make()
    for epoch in range(3):
        steps = iter(one)
        for _ in range(len(one)):
            next(steps)
        assert position(one) == (epoch + 1, 0)
        assert list(steps) == []
        assert position(one) == (epoch + 1, 0)
        assert keys_at(one, epoch + 1) == list(make_at(make, epoch + 1))


def make_at(make, epoch):
    """A new sampler, told its epoch."""
    one = make()
    one.set_epoch(epoch)
    return one


def a_loop_left_early_has_ended_its_epoch(make):
    """Iterating again, with nothing said in between, is the next epoch from its beginning."""
    one = make()
    next(iter(one))
    assert position(one) == ((0, 1) if len(one) > 1 else (1, 0))
    assert list(one) == keys_at(one, 1)


def cursor_is_read_at_the_first_step(make):
    """An iterator made before a position is loaded, or an epoch set, follows them."""
    one = make()
    early = iter(one)
    one.load_state_dict(one.state_dict() | {"epoch": 2, "step": len(one) - 1})
    one.set_epoch(2)
    assert list(early) == keys_at(one, 2)[-1:]
    early = iter(one)
    one.set_epoch(5)
    assert list(early) == keys_at(one, 5)


# -- 6: lengths --


def lengths_are_constant(make, epochs, world):
    """`len` is what every process is given in every epoch, whatever the position; total_steps is their sum."""
    given = 0
    ranks = [make(rank=rank, world=world) for rank in range(world)]
    length = len(make())
    for epoch in range(epochs):
        for one in ranks:
            one.set_epoch(epoch)
            count = 0
            for _ in one:
                count += 1
                assert len(one) == length
            assert count == length, f"process {one.place().rank} has {count} steps"
        given += length
    assert given == make().total_steps(epochs)


# -- 7: budgets --


def budgets_are_kept(make, epoch, budget, granule, *, lanes=1):
    """A step holds at most what the budget gives at its size, in multiples of the granule, and less than one granule
    below it; only the last of an exact tail (of each bucket) is shorter."""
    one = make()
    short = 0
    for step in one.steps(epoch):
        units, rest = divmod(len(step), step.stride)
        allowed = budget(step.size) // step.stride
        assert rest == 0
        assert units <= allowed
        full = units % granule == 0 and units > allowed - granule
        short += not full
    assert short <= (lanes if one.tail == "exact" else 0)


def shares_are_exact(make, epoch, expected):
    """Every epoch has each size as often as its share of the steps says, rounded up or down.

    expected: {size: its steps, a fraction}; of a pass that fills no last step, as if it did.
    """
    sizes = Counter(step.size for step in make().steps(epoch))
    assert set(sizes) <= set(expected)
    for size, steps in expected.items():
        assert abs(sizes[size] - steps) < 1 + 1e-9


def steps_are_homogeneous(make, epoch, values):
    """No step has rows of two values (of the bucket's column)."""
    for step in make().steps(epoch):
        assert len({values[row] for row in rows_of(step)}) == 1


def streams_lose_nothing(make, epochs):
    """With epoch_steps, epochs one after another are whole passes one after another: after k of them each row has been
    visited k or k + 1 times."""
    one = make()
    seen = Counter(dict.fromkeys(one.rows.tolist(), 0))
    for epoch in range(epochs):
        seen.update(flat(one, epoch))
        assert max(seen.values()) - min(seen.values()) <= 1


# -- 8: independence --


def epochs_and_seeds_are_independent(make_seeded, n):
    """No two of 4 seeds x 4 epochs have the same order or a draw in common, and ranks are uncorrelated.

    make_seeded(seed): a sampler that visits n rows once each.
    """
    pairs = list(itertools.product(range(4), repeat=2))
    steps = {(seed, epoch): list(make_seeded(seed).steps(epoch)) for seed, epoch in pairs}
    orders = {pair: np.concatenate([step.index for step in found]) for pair, found in steps.items()}
    for one, two in itertools.combinations(orders.values(), 2):
        assert abs(np.corrcoef(np.argsort(one), np.argsort(two))[0, 1]) < 5 / np.sqrt(n)
    draws = np.concatenate([step.draw for found in steps.values() for step in found])
    assert len(np.unique(draws)) == len(draws)


# -- views --


def interleaved_is_what_processes_are_given(make, epoch, world):
    """Of the one stream, batch i is what process i % world is given at its step i // world; it is as long as all
    together, and a position in it resumes."""
    stream = make().interleaved(world)
    parts = [keys_at(make(rank=rank, world=world), epoch) for rank in range(world)]
    stream.set_epoch(epoch)
    batches = list(stream)
    assert len(batches) == len(stream) == world * len(make())
    for rank in range(world):
        assert batches[rank::world] == parts[rank]
    for taken in sorted({1, world, len(batches) // 2, len(batches) - 1} - {0, len(batches)}):
        first, second = make().interleaved(world), make().interleaved(world)
        first.set_epoch(epoch)
        list(itertools.islice(first, taken))
        second.load_state_dict(json.loads(json.dumps(first.state_dict())))
        assert list(second) == batches[taken:]


def views_have_cursors_of_their_own(make):
    """A view begins where the sampler is, and neither moves the other."""
    one = make()
    one.load_state_dict(one.state_dict() | {"epoch": 2, "step": len(one) - 1})
    view = one.view(0, 1)
    assert position(view) == (2, len(one) - 1)
    list(view)
    assert (position(view), position(one)) == ((3, 0), (2, len(one) - 1))


# -- loaders --


def loaders_report_the_consumers_position(make_loader, prefetch):
    """After k batches were taken the position is k, and another loader goes on with batch k + 1, whatever the prefetch.

    make_loader(prefetch=): a new Loader of one plan.
    """
    whole = [batch.rows.tolist() for batch in make_loader(prefetch=1)]
    loader = make_loader(prefetch=prefetch)
    for taken, _ in enumerate(loader, 1):
        state = json.loads(json.dumps(loader.state_dict()))
        expected = (0, taken) if taken < len(whole) else (1, 0)
        assert (state["epoch"], state["step"]) == expected
        if taken < len(whole):
            again = make_loader(prefetch=1)
            again.load_state_dict(state)
            assert [batch.rows.tolist() for batch in again] == whole[taken:]
    loader.close()


def another_selection_is_refused(make_loader, sampler):
    """A sampler made of one selection of radiographs is refused beside another of the same length."""
    try:
        make_loader(sampler=sampler)
    except ArgumentError as exc:
        assert "another selection of radiographs" in str(exc)  # noqa: PT017  the absence of an error is the fault
    else:
        raise AssertionError("rows of one selection would be served from another")
