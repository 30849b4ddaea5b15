"""Faults that samplers and loaders have had, each as a change to the library: `fault(patch)` puts it in, and pytest's
`monkeypatch` takes it out again. Each docstring says what would go wrong in training.

position    rules of the cursor             tails       what fills no step
randomness  who draws, and from what        budgets     how many images, at which size
processes   who serves which part           refusals    whose position and whose rows
"""

import random
from dataclasses import replace

import numpy as np
import torch

from resload import Loader, asked, making, padding, seeds
from resload.samplers import BlockShuffle, Images, Mix, Sampler, Shuffle, Step, Weighted
from resload.samplers import described as descriptions
from resload.samplers import sampler as samplers
from resload.samplers.columns import Columns
from resload.samplers.counting import Counting
from resload.samplers.cursor import Cursor
from resload.samplers.interleaved import Interleaved
from resload.samplers.plan import Epoch, Planner

PADDING = -1


# -- position --


def set_epoch_always_begins_anew(patch):
    """A resumed run repeats the steps it had: set_epoch of the loaded epoch forgets the step."""

    def set_epoch(self, epoch):
        self.epoch, self.step, self._deliberate = epoch, 0, True

    patch.setattr(Cursor, "set_epoch", set_epoch)


def set_epoch_keeps_the_step(patch):
    """After a resumed epoch the next one lacks its first steps, as Lightning would have it without rule 2."""

    def set_epoch(self, epoch):
        self.epoch, self._deliberate = epoch, True

    patch.setattr(Cursor, "set_epoch", set_epoch)


def set_epoch_is_not_heard(patch):
    """The epoch that a framework sets never reaches the plan."""
    patch.setattr(Cursor, "set_epoch", lambda self, epoch: None)


def epochs_do_not_end(patch):
    """A position saved at the end of an epoch lies behind its last step."""

    def passed(self, epoch, step, steps):
        self.epoch, self.step, self._deliberate = epoch, step + 1, False

    patch.setattr(Cursor, "passed", passed)


def epochs_end_when_asked_for_more(patch):
    """Whoever takes exactly `len` steps saves the end of the epoch, and not the beginning of the next."""

    def __iter__(self):  # noqa: N807
        epoch, start = self._cursor.begin(drawn_ahead=True)
        for step in self.parts(epoch, start=start):
            self._cursor.passed(epoch, step.number, len(self) + 1)
            yield step.keys()
        self._cursor.passed(epoch, len(self) - 1, len(self))

    patch.setattr(Sampler, "__iter__", __iter__)


def epochs_repeat(patch):
    """Without set_epoch every epoch is the first, as under torch's DistributedSampler."""

    def passed(self, epoch, step, steps):
        self.epoch, self.step, self._deliberate = epoch, (step + 1) % steps, step + 1 == steps

    patch.setattr(Cursor, "passed", passed)


def the_cursor_is_read_with_iter(patch):
    """An iterator that a framework made before it loaded a position begins at the old one."""

    def __iter__(self):  # noqa: N807
        return served(self, *self._cursor.begin(drawn_ahead=True))

    def served(self, epoch, start):
        for step in self.parts(epoch, start=start):
            self._cursor.passed(epoch, step.number, len(self))
            yield step.keys()

    patch.setattr(Sampler, "__iter__", __iter__)


def the_loaders_cursor_is_read_with_iter(patch):
    """The same of a Loader."""
    batches = Loader._batches

    def served(self, begun):
        self._cursor.begin = lambda: begun
        yield from batches(self)

    patch.setattr(Loader, "__iter__", lambda self: served(self, self._cursor.begin()))


def left_loops_go_on(patch):
    """After a loop that was left early, the next one is the rest of its epoch."""

    def begin(self, *, drawn_ahead=False):
        self._deliberate = False
        return self.epoch, self.step

    patch.setattr(Cursor, "begin", begin)


def left_loops_repeat_their_epoch(patch):
    """After a loop that was left early, the next one has the same images."""

    def begin(self, *, drawn_ahead=False):
        self.step, self._deliberate = self.step if self._deliberate else 0, False
        return self.epoch, self.step

    patch.setattr(Cursor, "begin", begin)


def resuming_forgets_the_epoch(patch):
    """The step is restored, in epoch 0's order: torchdata's and Accelerate's fault."""
    load = Cursor.load
    patch.setattr(Cursor, "load", lambda self, state, *plan: load(self, {**state, "epoch": 0}, *plan))


def resuming_forgets_the_step(patch):
    """The epoch is restored, from its beginning."""
    load = Cursor.load
    patch.setattr(Cursor, "load", lambda self, state, *plan: load(self, {**state, "step": 0}, *plan))


def _resumed_as(patch, changed):
    """Steps of an epoch that is entered later: `changed(step, first)`, first being a step from its beginning."""
    steps = Sampler.steps

    def resumed(self, epoch, *, start=0):
        whole = list(steps(self, epoch))
        yield from (changed(step, first) for step, first in zip(whole[start:], whole, strict=False))

    patch.setattr(Sampler, "steps", resumed)


def sizes_begin_anew_when_resumed(patch):
    """Sizes are counted from where the run was resumed."""
    _resumed_as(patch, lambda step, first: replace(step, size=first.size))


def draws_begin_anew_when_resumed(patch):
    """Augmentation is drawn from where the run was resumed."""
    _resumed_as(patch, lambda step, first: replace(step, draw=first.draw[: len(step)]))


def views_share_a_cursor(patch):
    """Looking at one process's view moves the sampler's own position."""
    view = Sampler.view

    def shared(self, rank, world):
        found = view(self, rank, world)
        found._cursor = self._cursor
        return found

    patch.setattr(Sampler, "view", shared)


def loaders_say_what_is_prefetched(patch):
    """A Loader saves the last batch that it has begun: a resumed run lacks those that nobody was given."""
    taken = Loader._taken

    def _taken(self, pending, *others):
        ahead = pending[-1].steps[-1]
        for batch in taken(self, pending, *others):
            self._cursor.passed(ahead.epoch, ahead.number, len(self.sampler))
            yield batch

    patch.setattr(Loader, "_taken", _taken)


# -- lengths --


def length_is_what_is_left(patch):
    """`len` shrinks while an epoch is served, and a resumed run plans a shorter training."""
    length = Sampler.__len__
    patch.setattr(Sampler, "__len__", lambda self: length(self) - self._cursor.step)


def length_counts_all_processes(patch):
    """`len` is the steps of all processes together: those that wait for one another's last step hang."""
    length = Sampler.__len__
    patch.setattr(Sampler, "__len__", lambda self: length(self) * self.place().world)


def total_is_of_images(patch):
    """A schedule is told how many images there will be, where it asked for steps."""
    patch.setattr(Sampler, "total_steps", lambda self, epochs: epochs * len(self.rows))


# -- randomness --


def the_order_is_numpys(patch):
    """The order is drawn from numpy's global generator."""
    patch.setattr(Shuffle, "positions", lambda self, n, *, seed, epoch: np.random.permutation(n))  # noqa: NPY002


def the_order_seeds_numpy(patch):
    """The order is a function of (seed, epoch), at the cost of the user's own global generator."""

    def positions(self, n, *, seed, epoch):
        np.random.seed((seed, epoch))  # noqa: NPY002
        return np.random.permutation(n)  # noqa: NPY002

    patch.setattr(Shuffle, "positions", positions)


def the_order_goes_on(patch):
    """One generator goes on from epoch to epoch, as in torch's RandomSampler: no epoch can be entered."""
    rng = np.random.default_rng(0)
    patch.setattr(Shuffle, "positions", lambda self, n, *, seed, epoch: rng.permutation(n))


def draws_are_pythons(patch):
    """Augmentation is drawn from random's global generator."""

    def draws(n, seed, epoch, index=0):
        return np.array([random.getrandbits(63) for _ in range(n)], np.uint64)

    patch.setattr(seeds, "draws", draws)


def the_order_of_sizes_is_torchs(patch):
    """The order of sizes is drawn from torch's global generator."""

    def shuffled(self, mix, times, epoch):
        which = np.repeat(np.arange(len(times)), times)
        return [mix.sizes[k] for k in which[torch.randperm(len(which)).numpy()].tolist()]

    patch.setattr(Planner, "_shuffled", shuffled)


def _keyed_by(patch, key):
    def _key(seed, epoch, purpose, index):
        return np.random.SeedSequence(key(seed, epoch, seeds.PURPOSES[purpose], index))

    patch.setattr(seeds, "_key", _key)


def seed_and_epoch_are_added(patch):
    """Epoch 1 of seed 0 is epoch 0 of seed 1: runs that should be independent share their orders."""
    _keyed_by(patch, lambda seed, epoch, purpose, index: (seed + epoch, purpose, index))


def epochs_are_alike(patch):
    """Every epoch has the same order and the same augmentation."""
    _keyed_by(patch, lambda seed, epoch, purpose, index: (seed, purpose, index))


def seeds_are_alike(patch):
    """Runs with other seeds are the same run."""
    _keyed_by(patch, lambda seed, epoch, purpose, index: (epoch, purpose, index))


def draws_repeat_with_every_step(patch):
    """The first image of every step is augmented alike."""
    draws = seeds.draws

    def repeated(n, seed, epoch, index=0):
        return np.resize(draws(16, seed, epoch, index), n)

    patch.setattr(seeds, "draws", repeated)


def scales_draw_for_themselves(patch):
    """The same film is cropped and flipped otherwise at each of its sizes."""
    keys = Step.keys

    def own(self):
        return [key._replace(draw=key.draw + max(key.size)) for key in keys(self)]

    patch.setattr(Step, "keys", own)


def transforms_draw_by_size(patch):
    """The same at a Loader: its transform crops a film otherwise at each of its sizes."""
    sample = making.Maker._sample

    def own(*about):
        made = sample(*about)
        made.draw += max(made.size)
        return made

    patch.setattr(making.Maker, "_sample", own)


# -- processes --


def _parts_changed(patch, changed):
    """What each process serves: `changed(sampler, place, part)`."""
    parts = Sampler.parts

    def own(self, epoch, *, start=0, at=None):
        place = self.place() if at is None else at
        for part in parts(self, epoch, start=start, at=at):
            yield changed(self, place, part)

    patch.setattr(Sampler, "parts", own)


def processes_bucket_for_themselves(patch):
    """Each process makes steps of its own share of the rows: some have more of them than others, and training hangs."""

    def parts(self, epoch, *, start=0, at=None):
        place = self.place() if at is None else at
        own = Sampler(
            self.n, rows=self.rows[place.rank :: place.world], buckets=self.buckets, sizes=self.sizes,
            budget=Images(self.budget.count // place.world), tail=self.tail, seed=self.seed, rank=0, world=1,
        )  # fmt: skip
        return own.steps(epoch, start=start)

    patch.setattr(Sampler, "parts", parts)


def processes_draw_sizes(patch):
    """Each process draws the size of its part: YOLOv5's fault."""

    def changed(self, place, part):
        rng = seeds.generator(self.seed + place.rank, part.epoch, "sizes", part.number)
        return replace(part, size=self.sizes.sizes[rng.integers(len(self.sizes.sizes))])

    _parts_changed(patch, changed)


def processes_draw_augmentation(patch):
    """The same plan on other processes augments otherwise."""

    def changed(self, place, part):
        return replace(part, draw=seeds.draws(len(part), self.seed + place.rank, part.epoch, part.number))

    _parts_changed(patch, changed)


def processes_augment_alike(patch):
    """Image k of every process has the same augmentation."""
    _parts_changed(patch, lambda self, place, part: replace(part, draw=seeds.draws(len(part), self.seed, part.epoch)))


def _parted_by(patch, own):
    """The places that a process serves: `own(step, rank, world)`, -1 where it has none."""

    def part(self, rank, world):
        places = np.asarray(own(self, rank, world), np.int64)
        index, draw = self.index[places], self.draw[places]
        return replace(self, index=np.where(places < 0, PADDING, index), draw=draw, everywhere=self.index)

    patch.setattr(Step, "part", part)


def parts_overlap(patch):
    """The last image of each process is also its neighbour's first, and the step's last image is nobody's."""

    def own(step, rank, world):
        width = len(step) // world
        return np.arange(width) + rank * (width - 1)

    _parted_by(patch, own)


def parts_are_strided(patch):
    """Places are dealt out in turn: another number of processes joins them to another step."""

    def own(step, rank, world):
        width = -(-len(step) // world)
        places = np.arange(width) * world + rank
        return np.where(places < len(step), places, -1)

    _parted_by(patch, own)


def parts_wrap_around(patch):
    """A short step is filled with its first images, as by DistributedSampler: an evaluation counts them twice."""

    def own(step, rank, world):
        width = -(-len(step) // world)
        return (np.arange(width) + rank * width) % len(step)

    _parted_by(patch, own)


def parts_are_uneven(patch):
    """A short step is shared out without padding: one process waits for another's images."""
    _parted_by(patch, lambda step, rank, world: np.array_split(np.arange(len(step)), world)[rank])


def parts_divide_exams(patch):
    """Films are dealt out, where exams should be: a model sees half an exam."""

    def own(step, rank, world):
        width = -(-len(step) // world)
        places = np.arange(width) + rank * width
        return np.where(places < len(step), places, -1)

    _parted_by(patch, own)


def exams_are_dealt_out_in_turn(patch):
    """Each process has as many places as whole exams have, and films of all exams."""
    _parted_by(patch, lambda step, rank, world: np.arange(len(step) // world) * world + rank)


def processes_come_one_after_another(patch):
    """The stream for wrappers is all of process 0, then all of process 1: each is dealt another's steps."""

    def __iter__(self):  # noqa: N807
        epoch, start = self._cursor.begin(drawn_ahead=True)
        steps = list(self._plan.shared(epoch, 0, self._world))
        batches = [step.part(rank, self._world).keys() for rank in range(self._world) for step in steps]
        for number, batch in enumerate(batches[start:], start):
            self._cursor.passed(epoch, number, len(self))
            yield batch

    patch.setattr(Interleaved, "__iter__", __iter__)


# -- coverage and tails --


def rows_are_drawn_with_replacement(patch):
    """In an epoch one film in three is missing."""

    def positions(self, n, *, seed, epoch):
        return seeds.generator(seed, epoch, "order").integers(n, size=n)

    patch.setattr(Shuffle, "positions", positions)


def the_last_block_is_lost(patch):
    """Rows that fill no block are never seen."""
    positions = BlockShuffle.positions
    patch.setattr(
        BlockShuffle, "positions", lambda self, n, **key: positions(self, n // self.block * self.block, **key)
    )


def the_same_rows_are_dropped(patch):
    """The last rows never fill a step: films that training never sees."""

    def positions(self, n, *, seed, epoch):
        whole = n // 16 * 16
        return np.concatenate([seeds.permutation(whole, seed, epoch, "order"), np.arange(whole, n)])

    patch.setattr(Shuffle, "positions", positions)


def exact_tails_are_dropped(patch):
    """An evaluation leaves out the films of its last step."""
    made = Planner.__init__

    def __init__(self, *parts, tail, **others):  # noqa: N807
        made(self, *parts, tail="drop" if tail == "exact" else tail, **others)

    patch.setattr(Planner, "__init__", __init__)


def tails_are_filled_with_one_image(patch):
    """The last step of training is one image many times over."""

    def _one_lane(self, units, epoch):
        sizes, counts, lacking = self._cut(len(units), epoch)
        return Epoch(sizes, np.cumsum([0, *counts]), np.concatenate([units, np.repeat(units[-1:], lacking, axis=0)]))

    patch.setattr(Planner, "_one_lane", _one_lane)


def padding_is_valid(patch):
    """What fills an evaluation's last batch counts as films."""
    patch.setattr(padding, "films", lambda index: None)


def padding_counts(patch):
    """A step's number of images is its number of places."""
    patch.setattr(
        Step, "n_global", property(lambda self: len(self) if self.everywhere is None else len(self.everywhere))
    )


def parts_count_themselves(patch):
    """A step's number of images is one process's."""
    patch.setattr(Step, "n_global", property(lambda self: int((self.index != PADDING).sum())))


# -- budgets and sizes --


def _counted_by(patch, units):
    """Units of a step: `units(counting, images)`."""
    patch.setattr(Counting, "units", lambda self, size: units(self, self._images(size)))


def the_granule_is_ignored(patch):
    """Steps are as long as the budget allows, and two processes cannot share them."""
    _counted_by(patch, lambda self, images: images // self._stride)


def budgets_are_rounded_up(patch):
    """Steps hold more than the budget, and memory runs out at one of the sizes."""
    _counted_by(patch, lambda self, images: -(-images // self._stride // self.granule) * self.granule)


def budgets_count_exams(patch):
    """A step holds as many exams as it should hold films."""
    _counted_by(patch, lambda self, images: images // self.granule * self.granule)


def several_scales_cost_one(patch):
    """Films at several sizes at once cost what the first of them costs."""
    patch.setattr(Counting, "_images", lambda self, size: self._budget(size))


def mixes_draw_each_step(patch):
    """Sizes are drawn step by step: their shares are as chance has it."""

    def shuffled(self, mix, times, epoch):
        rng = seeds.generator(self._seed, epoch, "sizes")
        return [mix.sizes[k] for k in rng.choice(len(times), int(times.sum()), p=times / times.sum()).tolist()]

    patch.setattr(Planner, "_shuffled", shuffled)


def shares_are_always_of_steps(patch):
    """Shares of images are taken for shares of steps: small sizes, with many images in a step, have most of them."""
    patch.setattr(Mix, "ratios", lambda self, counts: list(self.shares))


def buckets_are_ignored(patch):
    """Rows that may not share a step do."""
    made = Planner.__init__

    def __init__(self, *parts, buckets, **others):  # noqa: N807
        made(self, *parts, buckets=None, **others)

    patch.setattr(Planner, "__init__", __init__)


def streams_begin_anew(patch):
    """Every virtual epoch begins with the first pass: most films are never seen."""
    patch.setattr(Planner, "_taken_before", lambda self, epoch, steps: np.zeros(len(self._passes.counts(0)), np.int64))


def streams_skip_to_the_next_pass(patch):
    """Every virtual epoch begins another pass, and what was left of the last one is lost."""
    patch.setattr(Planner, "_taken_before", lambda self, epoch, steps: self._passes.counts(0) * epoch)


def steps_lack_their_scales(patch):
    """Steps do not say that their images come at several sizes."""
    patch.setattr(samplers, "scales_of", lambda sizes: ())


# -- refusals and what is saved --


def selections_are_not_checked(patch):
    """A Loader serves rows of one selection from another: validation films in training."""
    patch.setattr(asked, "refuse_unservable", lambda sampler, reader: None)


def selections_have_no_digest(patch):
    """A position of one selection is resumed in another of the same length."""
    patch.setattr(Columns, "digest", lambda self: None)


def arrays_are_described_as_printed(patch):
    """Long arrays have the same fingerprint when they differ in the middle, which numpy does not print."""
    patch.setattr(descriptions._Describer, "_array", lambda self, value: repr(value))


def loaders_forget_their_data(patch):
    """A Loader's position is resumed on other pixels."""
    patch.setattr(Loader, "_fingerprint", lambda self: self.sampler.fingerprint())


def seeds_are_not_in_the_fingerprint(patch):
    """A position is resumed in another order."""
    described = samplers.described
    patch.setattr(samplers, "described", lambda parts: described([part for part in parts if type(part) is not int]))


def updates_act_at_once(patch):
    """Weights for the next epoch change the one that is being served: what is planned twice differs."""
    patch.setattr(Weighted, "_of_epoch", lambda self, epoch: self._versions[-1][1])


def updates_are_not_resumed(patch):
    """A resumed run has the weights that it began with."""
    patch.setattr(Weighted, "load_state_dict", lambda self, state: None)
