"""The proof that the suite can fail: each fault, put into the library on purpose, breaks the property that names it.

Faults are those that were seen in samplers of others (a lost rank, a skipped epoch, a run that cannot be resumed), each
a few lines that replace a method. The properties are the ones that `test_samplers_plan.py` runs on plans of all kinds.
"""

import functools
import random
from contextlib import nullcontext
from dataclasses import replace

import numpy as np
import pytest
import sampler_properties as properties
from loading import NumberReader
from torch.utils.data import RandomSampler

from resload import Loader, asked, seeds
from resload.samplers import Images, Mix, Sampler, Shuffle, borrowed, foreign, quotas
from resload.samplers.counting import Counting
from resload.samplers.cursor import Cursor
from resload.samplers.interleaved import Interleaved
from resload.samplers.keys import Step
from resload.samplers.plan import Epoch, Planner
from resload.size import Size

SIZES = (Size(32, 32), Size(64, 64))
VALUES = [0] * 70 + [1] * 33


def area(size):
    """Constant pixels: 20 images of 64 x 64."""
    return 20 * 64 * 64 // size.pixels


def make(**options):
    """Mixed sizes at constant pixels over 203 rows."""
    return Sampler(203, **{"sizes": Mix(SIZES), "budget": area, "granule": 4} | options)


def bucketed(**options):
    """Two buckets of unlike size, steps of 8."""
    return Sampler(103, **{"sizes": Mix(SIZES), "budget": Images(8), "buckets": VALUES} | options)


def evaluation(**options):
    """One size, every row once: 3 steps of 4 and one of 1."""
    return Sampler(13, **{"sizes": Mix(SIZES[:1]), "budget": Images(4), "tail": "exact"} | options)


def training(**options):
    """13 rows in steps of 4, the last filled up."""
    return evaluation(**{"tail": "pad"} | options)


def streamed(**options):
    """Epochs of 5 steps, cut from endless passes."""
    return make(epoch_steps=5, **options)


def foreign_order(**options):
    """torch's shuffle."""
    return Sampler(103, order=RandomSampler(range(103)), sizes=Mix(SIZES), budget=Images(8), **options)


def seeded(seed):
    """400 rows, each once."""
    return Sampler(400, sizes=Mix(SIZES), budget=Images(20), seed=seed)


def foreign_seeded(seed):
    """400 rows in torch's shuffle."""
    return Sampler(400, order=RandomSampler(range(400)), sizes=Mix(SIZES), budget=Images(20), seed=seed)


def loader(**options):
    """6 batches, of two sizes."""
    plan = Sampler(24, sizes=Mix(SIZES[:1]), budget=Images(4))
    return Loader(NumberReader(24), sampler=plan, threads=2, **options)


def other_films(sampler):
    """A loader of as many films, which are others."""
    data = NumberReader(24)
    data.table["id"] = [f"another {row}" for row in range(24)]
    return Loader(data, sampler=sampler)


# -- faults: each takes monkeypatch and puts one fault in ------------------------------------------------


def same_epoch_resets(patch):
    """set_epoch always begins the epoch: a resumed run repeats what it had done."""

    def set_epoch(self, epoch):
        self.epoch, self.step, self._deliberate = epoch, 0, True

    patch.setattr(Cursor, "set_epoch", set_epoch)


def other_epoch_keeps_the_step(patch):
    """set_epoch moves the epoch and not the step: Lightning would skip whole epochs."""

    def set_epoch(self, epoch):
        self.epoch, self._deliberate = epoch, True

    patch.setattr(Cursor, "set_epoch", set_epoch)


def exhaustion_stays(patch):
    """The last step leaves the position behind itself: the next epoch is empty."""

    def passed(self, epoch, step, steps):
        self.epoch, self.step, self._deliberate = epoch, step + 1, True

    patch.setattr(Cursor, "passed", passed)


def exhaustion_repeats(patch):
    """The last step goes back to the beginning of its own epoch: every epoch is the first."""
    passed = Cursor.passed

    def stay(self, epoch, step, steps):
        passed(self, epoch, step, steps)
        self.epoch = epoch

    patch.setattr(Cursor, "passed", stay)


def early_end_goes_on(patch):
    """A loop that was left is continued by the next: a sanity check eats the first steps of training."""
    patch.setattr(Cursor, "begin", lambda self: (self.epoch, self.step))


def position_one_late(patch):
    """The position is the step handed out last, not the next: a resumed run repeats it."""

    def passed(self, epoch, step, steps):
        self.epoch, self.step, self._deliberate = epoch, step, False
        if step + 1 == steps:
            self.epoch, self.step, self._deliberate = epoch + 1, 0, True

    patch.setattr(Cursor, "passed", passed)


def read_at_iter(patch):
    """The cursor is read when the iterator is made: set_epoch and loading come too late."""

    def begun(self):
        epoch, start = self._cursor.begin()

        def steps():
            for step in self.parts(epoch, start=start):
                self._cursor.passed(epoch, step.number, len(self))
                yield step.keys()

        return steps()

    patch.setattr(Sampler, "__iter__", begun)


def length_follows_the_cursor(patch):
    """`len` is what is left: progress bars and schedules shrink after a resume."""
    length = Sampler.__len__

    def left(self):
        return length(self) - getattr(self, "_cursor", Cursor()).step

    patch.setattr(Sampler, "__len__", left)


def length_of_one_process(patch):
    """`len` counts as if this process had to make all images of the step."""
    length = Sampler.__len__
    patch.setattr(Sampler, "__len__", lambda self: length(self) * self.place().world)


def global_generator(patch):
    """The order is drawn from numpy's global generator."""
    patch.setattr(seeds, "permutation", lambda n, *key: np.random.permutation(n))  # noqa: NPY002


def global_reseeding(patch):
    """The order is drawn from the global generator, seeded on purpose: right, and it changes the caller's."""

    def permutation(n, seed, epoch, *purpose):
        random.seed(f"{seed} {epoch} {purpose}")
        return np.array(random.sample(range(n), n))

    patch.setattr(seeds, "permutation", permutation)


def added_keys(patch):
    """seed + epoch as the key: epoch 1 of seed 0 is epoch 0 of seed 1."""
    patch.setattr(
        seeds, "_key", lambda seed, epoch, purpose, index: np.random.SeedSequence((seed + epoch, len(purpose), index))
    )


def draws_of_the_first_epoch(patch):
    """Augmentation is the same in every epoch."""
    draws = seeds.draws
    patch.setattr(seeds, "draws", lambda n, seed, epoch, index=0: draws(n, seed, 0, index))


def order_of_the_first_epoch(patch):
    """A shuffle that forgets the epoch, as a DistributedSampler whose set_epoch is never called."""
    positions = Shuffle.positions
    patch.setattr(Shuffle, "positions", lambda self, n, *, seed, epoch: positions(self, n, seed=seed, epoch=0))


def remembered_state(patch):
    """The order goes on from one generator: what an epoch is depends on how many were asked for."""
    stream = np.random.default_rng(0)
    patch.setattr(Shuffle, "positions", lambda self, n, *, seed, epoch: stream.permutation(n))


def buckets_by_rank(patch):
    """Each process takes every n-th row and buckets those for itself: unequal numbers of steps, and a hang."""
    parts = Sampler.parts

    def own(self, epoch, *, start=0, at=None):
        at = self.place() if at is None else at
        rows = np.arange(len(self.rows)) // (len(self.rows) // at.world + 1) == at.rank
        small = Sampler(
            self.n, rows=self.rows[rows], sizes=self.sizes, budget=Images(8 // at.world), buckets=VALUES, rank=0,
            world=1, granule=1,
        )  # fmt: skip
        return parts(small, epoch, start=start)

    patch.setattr(Sampler, "parts", own)


def size_by_rank(patch):
    """Each process draws the size for itself, as YOLOv5 does."""
    part = Step.part

    def drawn(self, rank, world):
        size = random.Random(f"{rank} {self.number}").choice(SIZES)
        return replace(part(self, rank, world), size=size)

    patch.setattr(Step, "part", drawn)


def draws_by_rank(patch):
    """Augmentation depends on which process handles the image."""
    part = Step.part

    def drawn(self, rank, world):
        own = part(self, rank, world)
        return replace(own, draw=own.draw + np.uint64(rank))

    patch.setattr(Step, "part", drawn)


def order_by_world(patch):
    """The order is drawn for the number of processes: a run cannot go on with another."""
    steps = Sampler.steps

    def other(self, epoch, *, start=0):
        one = self.view(self.place().rank, self.place().world)
        one.seed += self.place().world - 1
        return steps(one, epoch, start=start)

    patch.setattr(Sampler, "steps", other)


def overlapping_parts(patch):
    """Parts that begin one image too early."""

    def part(self, rank, world):
        width = len(self.index) // world
        own = slice(max(0, rank * width - 1), max(0, rank * width - 1) + width)
        return replace(self, index=self.index[own], draw=self.draw[own], everywhere=self.index)

    patch.setattr(Step, "part", part)


def floored_parts(patch):
    """Parts that leave out what cannot be shared evenly: the last images of an evaluation are lost."""

    def part(self, rank, world):
        width = len(self.index) // world
        own = slice(rank * width, (rank + 1) * width)
        return replace(self, index=self.index[own], draw=self.draw[own], everywhere=self.index)

    patch.setattr(Step, "part", part)


def padding_with_images(patch):
    """Parts are filled with images of the step, as a DistributedSampler does: they are counted twice."""
    part = Step.part

    def filled(self, rank, world):
        own = part(self, rank, world)
        return replace(own, index=np.where(own.index < 0, self.index[0], own.index))

    patch.setattr(Step, "part", filled)


def padding_with_its_own(patch):
    """ "pad" fills the last step with its own images again."""
    one_lane = Planner._one_lane

    def lane(self, units, epoch):
        made = one_lane(self, units, epoch)
        missing = len(made.units) - len(units)
        return Epoch(made.sizes, made.bounds, np.concatenate([units, units[len(units) - missing :]]))

    patch.setattr(Planner, "_one_lane", lane)


def last_step_lost(patch):
    """A full step is dropped with the tail."""
    of_rows = quotas.of_rows
    patch.setattr(quotas, "of_rows", lambda ratios, counts, rows: of_rows(ratios, counts, rows - max(counts)))


def drawn_shares(patch):
    """Sizes are drawn by chance, step by step, as CVNets does: an epoch's length and mix depend on luck."""
    stream = np.random.default_rng(0)

    def of_steps(ratios, steps):
        ideal = np.asarray(ratios) / np.sum(ratios)
        which = stream.choice(len(ideal), steps, p=ideal)
        return np.bincount(which, minlength=len(ideal))

    patch.setattr(quotas, "of_steps", of_steps)


def no_granule(patch):
    """Steps are what the budget gives, whatever can be shared."""
    patch.setattr(Counting, "units", lambda self, size: max(1, (self._images(size) - 1) // self._stride))


def budget_of_the_first_size(patch):
    """Every size is given as many images as the smallest: memory overflows at the largest."""
    units = Counting.units
    patch.setattr(Counting, "units", lambda self, size: units(self, SIZES[0]))


def mixed_buckets(patch):
    """Buckets are counted and not kept."""

    def places(self, units):
        sizes = np.bincount(self._buckets[units[:, 0]])
        return np.split(np.arange(len(units)), np.cumsum(sizes)[:-1])

    patch.setattr(Planner, "_places", places)


def epochs_begin_anew(patch):
    """Every epoch of a stream begins at the head of its first pass: the rest is never seen."""
    patch.setattr(Planner, "_taken_before", lambda self, epoch, steps: np.zeros(len(self._lane_counts(0)), np.int64))


def rank_major(patch):
    """The stream of all processes gives each all its batches at once."""

    def stream(self):
        for rank in range(self._world):
            yield from (step.part(rank, self._world).keys() for step in self._plan.steps(self._cursor.epoch))

    patch.setattr(Interleaved, "__iter__", stream)


def shared_cursor(patch):
    """A view shares the cursor of what it is a view of."""
    view = Sampler.view

    def same(self, rank, world):
        found = view(self, rank, world)
        found._cursor = self._cursor
        return found

    patch.setattr(Sampler, "view", same)


def fingerprint_of_the_world(patch):
    """The number of processes is part of the plan's fingerprint: positions of eight are refused by four."""
    fingerprint = Sampler.fingerprint
    patch.setattr(Sampler, "fingerprint", lambda self: f"{fingerprint(self)} {self.place().world}")


def prefetchers_position(patch):
    """The loader says how far it has read ahead."""
    begun = Loader._begun

    def counted(self, epoch, step, executor):
        self._cursor.passed(epoch, step.number, len(self.sampler))
        return begun(self, epoch, step, executor)

    patch.setattr(Loader, "_begun", counted)
    taking_does_not_count(patch)


def taking_does_not_count(patch):
    """Taking a batch does not move the position."""
    taken = Loader._taken

    def late(self, pending, helping):
        before = self._cursor.epoch, self._cursor.step
        batch = taken(self, pending, helping)
        self._cursor.epoch, self._cursor.step = before
        return batch

    patch.setattr(Loader, "_taken", late)


def selections_unchecked(patch):
    """Rows are taken as row numbers of whatever data is there."""
    patch.setattr(asked, "ids_digest", lambda ids: other_digest)


def unseeded_foreign_orders(patch):
    """torch's samplers are read from generators wherever they are; and read once, so that nobody notices."""
    patch.setattr(foreign, "seeded", lambda samplers, seed, epoch: nullcontext())
    patch.setattr(foreign, "_alike", lambda one, two: True)


def foreign_orders_without_epochs(patch):
    """Their generators are seeded by the seed alone."""
    seeded_by = foreign.seeded
    patch.setattr(foreign, "seeded", lambda samplers, seed, epoch: seeded_by(samplers, seed, 0))


def foreign_generators_left(patch):
    """Generators are seeded and not put back."""
    controls = borrowed._controls
    patch.setattr(
        borrowed, "_controls", lambda one: None if (found := controls(one)) is None else (found[0], lambda: None)
    )


def mixed_over_epochs(make):
    """As many images at each size, in each of five epochs: a draw by chance may be lucky once."""
    ratios = [1 / area(size) for size in SIZES]
    for epoch in range(5):
        steps = [ratio / sum(ratios) * len(make()) for ratio in ratios]
        properties.shares_are_exact(make, epoch, dict(zip(SIZES, steps, strict=True)))


other_digest = Sampler(NumberReader(24), sizes=Mix(SIZES[:1]), budget=Images(4)).data_digest
LEGS = [(4, 3), (2, 2), (1, 4), (4, 1)]
partial = functools.partial
CHECKS = {
    "kept": partial(properties.resumed_cursor_is_kept, make),
    "begun": partial(properties.another_epoch_begins_at_its_beginning, make),
    "followed": partial(properties.epochs_follow_each_other, make),
    "left": partial(properties.a_loop_left_early_has_ended_its_epoch, make),
    "first step": partial(properties.cursor_is_read_at_the_first_step, make),
    "resumed": partial(properties.resumes_on_any_world, make, LEGS),
    "resumed, told": partial(properties.resumes_on_any_world, make, LEGS, told_epoch=True),
    "lengths": partial(properties.lengths_are_constant, make, 2, 2),
    "bucket lengths": partial(properties.lengths_are_constant, bucketed, 2, 2),
    "pure": partial(properties.plans_are_pure, make, [0, 2]),
    "foreign pure": partial(properties.plans_are_pure, foreign_order, [0, 2]),
    "independent": partial(properties.epochs_and_seeds_are_independent, seeded, 400),
    "foreign independent": partial(properties.epochs_and_seeds_are_independent, foreign_seeded, 400),
    "parts": partial(properties.parts_make_up_steps, make, 1, 4),
    "bucket parts": partial(properties.parts_make_up_steps, bucketed, 1, 2),
    "exact parts": partial(properties.parts_make_up_steps, evaluation, 1, 3),
    "counted once": partial(properties.evaluation_counts_each_once, evaluation, 1, 3),
    "every row": partial(properties.every_row_once, make, 1, largest=area(SIZES[0])),
    "every row, padded": partial(properties.every_row_once, training, 1, largest=4),
    "others": partial(properties.padding_is_others, training, 1),
    "budgets": partial(properties.budgets_are_kept, make, 1, area, 4),
    "shares": partial(mixed_over_epochs, partial(make, epoch_steps=60)),
    "homogeneous": partial(properties.steps_are_homogeneous, bucketed, 1, VALUES),
    "streams": partial(properties.streams_lose_nothing, streamed, 4),
    "interleaved": partial(properties.interleaved_is_what_processes_are_given, make, 1, 2),
    "views": partial(properties.views_have_cursors_of_their_own, make),
    "consumer": partial(properties.loaders_report_the_consumers_position, loader, 3),
    "selections": lambda: properties.another_selection_is_refused(
        other_films, Sampler(NumberReader(24), sizes=Mix(SIZES[:1]), budget=Images(4))
    ),
}
FAULTS = [
    (same_epoch_resets, "kept"),
    (same_epoch_resets, "resumed, told"),
    (other_epoch_keeps_the_step, "begun"),
    (exhaustion_stays, "followed"),
    (exhaustion_stays, "resumed"),
    (exhaustion_repeats, "followed"),
    (exhaustion_repeats, "resumed"),
    (early_end_goes_on, "left"),
    (position_one_late, "resumed"),
    (position_one_late, "consumer"),
    (read_at_iter, "first step"),
    (length_follows_the_cursor, "lengths"),
    (length_of_one_process, "lengths"),
    (global_generator, "pure"),
    (global_reseeding, "pure"),
    (added_keys, "independent"),
    (added_keys, "foreign independent"),
    (draws_of_the_first_epoch, "independent"),
    (order_of_the_first_epoch, "independent"),
    (remembered_state, "pure"),
    (remembered_state, "resumed"),
    (buckets_by_rank, "bucket lengths"),
    (buckets_by_rank, "bucket parts"),
    (size_by_rank, "parts"),
    (size_by_rank, "resumed"),
    (draws_by_rank, "parts"),
    (draws_by_rank, "resumed"),
    (order_by_world, "resumed"),
    (order_by_world, "parts"),
    (overlapping_parts, "parts"),
    (floored_parts, "exact parts"),
    (floored_parts, "counted once"),
    (padding_with_images, "exact parts"),
    (padding_with_images, "counted once"),
    (padding_with_its_own, "others"),
    (last_step_lost, "every row"),
    (drawn_shares, "shares"),
    (no_granule, "budgets"),
    (budget_of_the_first_size, "budgets"),
    (mixed_buckets, "homogeneous"),
    (epochs_begin_anew, "streams"),
    (rank_major, "interleaved"),
    (shared_cursor, "views"),
    (fingerprint_of_the_world, "resumed"),
    (prefetchers_position, "consumer"),
    (taking_does_not_count, "consumer"),
    (selections_unchecked, "selections"),
    (unseeded_foreign_orders, "foreign pure"),
    (foreign_orders_without_epochs, "foreign independent"),
    (foreign_generators_left, "foreign pure"),
]  # fmt: skip


@pytest.mark.parametrize("check", CHECKS)
def test_without_a_fault_the_property_holds(check):
    """Of the very plans that the faults are tried on."""
    CHECKS[check]()


@pytest.mark.parametrize(("fault", "check"), FAULTS, ids=[f"{fault.__name__}: {check}" for fault, check in FAULTS])
def test_the_fault_is_found(monkeypatch, fault, check):
    """By an assertion of the property that names it."""
    fault(monkeypatch)
    with pytest.raises(AssertionError):
        CHECKS[check]()


def test_every_property_is_known_to_fail():
    """Each check is broken by one fault at least, but for those that a kindred one stands for; each fault is tried."""
    broken = {check for _, check in FAULTS}
    assert set(CHECKS) - broken == {"every row, padded"}
    codes = [(value, getattr(value, "__code__", None)) for value in list(globals().values())]
    faults = {value for value, code in codes if code is not None and code.co_varnames[:1] == ("patch",)}
    assert faults == {fault for fault, _ in FAULTS}
