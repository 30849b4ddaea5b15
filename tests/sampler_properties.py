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
from resload.samplers.sizes import scales_of

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


def images_are_counted(make, epoch, world):
    """`n_global` is how many images a step has over all processes, padding left out."""
    parts = [list(make(rank=rank, world=world).parts(epoch)) for rank in range(world)]
    for shared in zip(*parts, strict=True):
        assert {part.n_global for part in shared} == {sum(len(rows_of(part)) for part in shared)}


def exams_stay_whole(make, epoch, world, exams):
    """All films of an exam that a step has are one process's. exams: the exam of each row."""
    parts = [list(make(rank=rank, world=world).parts(epoch)) for rank in range(world)]
    for shared in zip(*parts, strict=True):
        owners = Counter(exam for part in shared for exam in {exams[row] for row in rows_of(part)})
        assert set(owners.values()) == {1}


# -- 2: coverage --


def every_row_once(make, epoch, *, largest=None, lanes=1):
    """Of an order that promises each row once: "exact" visits each exactly once; "drop" none twice, and misses less
    than a step of each lane; "pad" each at least once, in full steps only, and none more often in a step than its
    lane's images must come to fill it: twice only where they are too few.

    largest: images in the largest step that the budget gives; None, that of the steps. lanes: how many buckets there
    are.
    """
    one = make()
    steps = list(one.steps(epoch))
    seen = Counter(row for step in steps for row in rows_of(step))
    expected = set(one.rows.tolist())
    assert set(seen) <= expected
    assert set(seen.values()) == {1} or one.tail == "pad"
    missing = len(expected) - len(seen)
    largest = max(len(step) for step in steps) if largest is None else largest
    assert missing < (largest * lanes if one.tail == "drop" else 1)
    if one.tail == "pad":
        assert len({(step.size, len(step)) for step in steps}) == len({step.size for step in steps})
        for step in steps:
            here = Counter(rows_of(step))
            assert max(here.values()) <= -(-len(step) // sharing(one, rows_of(step)[0]))


def sharing(one, row):
    """How many rows may share a step with this one, itself included."""
    if one.buckets is None:
        return len(one.rows)
    return int((one.buckets == one.buckets[one.rows.tolist().index(row)]).sum())


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


def loaders_count_each_row_once(make_loader, world):
    """Of all processes' batches together, each row of the data is valid exactly once; what is not valid has no row.

    make_loader(rank=, world=): a process's Loader of one plan with an exact tail.
    """
    counted = Counter()
    for rank in range(world):
        loader = make_loader(rank=rank, world=world)
        for batch in loader:
            assert batch.valid.tolist() == (batch.rows != PADDING).tolist()
            counted.update(batch.rows[batch.valid].tolist())
    assert counted == dict.fromkeys(range(len(loader.reader)), 1)


def dropped_rows_change(make, epochs):
    """Of an order that is drawn: the rows that fill no step are others in other epochs."""
    one = make()
    dropped = [frozenset(one.rows.tolist()) - set(flat(one, epoch)) for epoch in range(epochs)]
    assert all(dropped)
    assert len(set(dropped)) > 1


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
        before = global_states()
        assert epoch_of(one, epoch) == expected[epoch]
        assert global_states() == before
    assert one.fingerprint() == make().fingerprint()


def global_states():
    """Where the generators are that everybody shares."""
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
    """Epoch after epoch of a sampler, as a training loop goes on by itself; its first iterator is made at once."""
    return itertools.chain(iter(one), itertools.chain.from_iterable(itertools.repeat(one)))


def _load(one, state):
    try:
        one.load_state_dict(state)
    except StateError as exc:
        raise AssertionError("a position of the same plan is refused") from exc


def another_plan_refuses_a_position(makes):
    """No two of these samplers, or loaders, go on from each other's position, and each goes on from its own."""
    states = [json.loads(json.dumps(make().state_dict())) for make in makes]
    for (mine, make), (theirs, state) in itertools.product(enumerate(makes), enumerate(states)):
        one = make()
        if mine == theirs:
            _load(one, state)
            continue
        try:
            one.load_state_dict(state)
        except StateError:
            continue
        raise AssertionError(f"plan {mine} goes on from a position in plan {theirs}")


def updates_wait_for_their_epoch(make):
    """Weights given for the next epoch change that one, and no step of those before it; a resumed run has both.

    make: of an order `Weighted`, each sampler with one of its own.
    """
    one, untouched = make(), make()
    now = epoch_of(one, 0)
    lost = now[0][2][0]
    one.order.update([lost], 0.0, epoch=1)
    state = json.loads(json.dumps(one.state_dict()))
    again = make()
    _load(again, state)
    for found in (one, again):
        assert epoch_of(found, 0) == now
        assert lost not in flat(found, 1)
    assert lost in flat(untouched, 1)


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


def shares_are_exact(make, epoch, shares):
    """Of `shares` = {size: share of the steps}, every epoch has each to within a step: of some length, a fraction of a
    step included, all numbers of steps are shares rounded up or down."""
    sizes = Counter(step.size for step in make().steps(epoch))
    assert set(sizes) <= set(shares)
    lengths = [((sizes[size] - 1) / share, (sizes[size] + 1) / share) for size, share in shares.items()]
    assert max(least for least, _ in lengths) < min(most for _, most in lengths)


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

    make_seeded(seed): a sampler that visits all rows once each, moving them in n parts or more.
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


def scales_share_images_and_draws(make, epoch):
    """Of several sizes at once, the keys of each are the same images with the same draws."""
    for step in make().parts(epoch):
        by_size = {}
        for key in step.keys():  # noqa: SIM118  a step is no dict
            by_size.setdefault(key.size, []).append((key.index, key.draw))
        assert list(by_size) == list(step.scales)
        assert all(pairs == by_size[step.size] for pairs in by_size.values())
        assert by_size[step.size] == list(zip(step.index.tolist(), step.draw.tolist(), strict=True))


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


def loaders_go_on_from_a_position(make_loader):
    """An iterator of a Loader that was made before a position is loaded, and its epoch set, goes on from there."""
    whole = make_loader()
    whole.set_epoch(2)
    expected = [batch.rows.tolist() for batch in whole]
    loader = make_loader()
    early = iter(loader)
    loader.load_state_dict(loader.state_dict() | {"epoch": 2, "step": 3})
    loader.set_epoch(2)
    assert [batch.rows.tolist() for batch in early] == expected[3:]


def transforms_draw_as_planned(make_loader):
    """A transform sees each image at every size with the draw of its key, and so does the batch.

    make_loader(transform=): a new Loader of one plan without padding, which transforms each image once.
    """
    seen = []
    loader = make_loader(transform=lambda sample: seen.append((sample.row, sample.size, sample.draw)))
    batches = [
        (row, draw) for batch in loader for row, draw in zip(batch.rows.tolist(), batch.draws.tolist(), strict=True)
    ]
    planned = [key for step in loader.sampler.steps(0) for key in step.keys()]  # noqa: SIM118  a step is no dict
    assert sorted(seen) == sorted((key.index, key.size, key.draw) for key in planned)
    assert set(batches) == {(key.index, key.draw) for key in planned}


def another_selection_is_refused(make_loader, sampler):
    """A sampler made of one selection of radiographs is refused beside another of the same length."""
    try:
        make_loader(sampler=sampler)
    except ArgumentError as exc:
        assert "another selection of radiographs" in str(exc)  # noqa: PT017  the absence of an error is the fault
    else:
        raise AssertionError("rows of one selection would be served from another")


def scales_of_steps(make, epoch):
    """Every step says the sizes that its images are served at: those of the rule."""
    one = make()
    assert {step.scales for step in one.steps(epoch)} == {scales_of(one.sizes)}
