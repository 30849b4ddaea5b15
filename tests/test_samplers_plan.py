"""The properties of plans, over orders, sizes, budgets, buckets, tails and lengths in all combinations."""

import functools
import json
import os
import subprocess
import sys
from dataclasses import dataclass
from types import SimpleNamespace

import numpy as np
import pytest
import sampler_properties as properties
import torch
from hypothesis import assume, event, given, settings
from hypothesis import strategies as st
from loading import NumberReader, rows_of
from torch.utils.data import RandomSampler

from resload import Loader
from resload.errors import ArgumentError, StateError
from resload.samplers import BlockShuffle, Fixed, Images, Mix, Sampler, Scales, Sequential, Shuffle
from resload.samplers.cursor import Cursor
from resload.samplers.described import described
from resload.samplers.place import Place, place, said_aloud
from resload.size import Size

GRANULES = (1, 2, 4, 8)
SIZES = (Size(32, 32), Size(64, 64), Size(48, 40))


# -- plans of all kinds ----------------------------------------------------------------------------------


@dataclass(frozen=True)
class Area:
    """Constant pixels: so many images of 64 x 64, more of smaller ones."""

    images: int

    def __call__(self, size):
        return max(1, self.images * 64 * 64 // size.pixels)


@dataclass(frozen=True)
class Turns:
    """Sizes in turn, as a user writes it; beginning with another in each epoch if asked."""

    sizes: tuple
    by_epoch: bool

    def at(self, step, *, epoch):
        return self.sizes[(step + epoch * self.by_epoch) % len(self.sizes)]


@dataclass(frozen=True)
class Pairs:
    """Two neighbours stay together, the last one alone when they are odd; in a shuffled order."""

    whole = True

    def positions(self, n, *, seed, epoch):
        units = np.append(np.arange(n), -1)[: n + n % 2].reshape(-1, 2)
        return units[Shuffle().positions(len(units), seed=seed, epoch=epoch)]


@dataclass(frozen=True)
class Oftener:
    """Every second row twice: an order that promises no row once."""

    def positions(self, n, *, seed, epoch):
        twice = np.repeat(np.arange(n), 1 + np.arange(n) % 2)
        return twice[Shuffle().positions(len(twice), seed=seed, epoch=epoch)]


ORDERS = {
    "Shuffle": lambda n: Shuffle(),
    "Sequential": lambda n: Sequential(),
    "BlockShuffle": lambda n: BlockShuffle(4, 2),
    "Pairs": lambda n: Pairs(),
    "Oftener": lambda n: Oftener(),
    "a list": lambda n: list(range(n))[::-1],
    "RandomSampler": lambda n: RandomSampler(range(n)),
}
WHOLE = ("Shuffle", "Sequential", "BlockShuffle", "Pairs")


@dataclass(frozen=True)
class Plan:
    """A plan in numbers, so that hypothesis prints and shrinks it."""

    n: int
    order: str
    sizes: object
    budget: object
    granule: int
    tail: str
    epoch_steps: int | None
    buckets: int
    seed: int

    def make(self, **place):
        """A new sampler, as a process makes it."""
        return Sampler(
            self.n, order=ORDERS[self.order](self.n), sizes=self.sizes, budget=self.budget, granule=self.granule,
            tail=self.tail, epoch_steps=self.epoch_steps, seed=self.seed,
            buckets=self.values if self.buckets > 1 else None, **place,
        )  # fmt: skip

    @property
    def values(self):
        """Each row's bucket: pairs are of one kind."""
        return (np.arange(self.n) // 2 * 7919 % self.buckets).tolist()

    @property
    def largest(self):
        """Images in the largest step."""
        return max(self.budget(size) for size in SIZES)

    @property
    def worlds(self):
        """How many processes may share it."""
        return [world for world in (1, 2, 3, 4, 8) if self.granule % world == 0 or self.tail == "exact"]


@st.composite
def plans(draw, orders=tuple(ORDERS), tails=("drop", "pad", "exact"), streams=True, buckets=(1, 1, 2, 3)):
    """Plans that have at least a step."""
    granule = draw(st.sampled_from(GRANULES))
    kinds = draw(st.sampled_from([(0,), (0, 1), (0, 1, 2)]))
    sizes = tuple(SIZES[kind] for kind in kinds)
    stream = draw(st.booleans()) if streams else False
    mixes = [Mix(sizes), Mix(sizes, share_of="steps")]
    rule = draw(st.sampled_from([Fixed(sizes[-1]), *mixes, Turns(sizes, stream), Scales(*sizes)]))
    images = granule * draw(st.integers(2, 3)) + draw(st.integers(0, 5))
    plan = Plan(
        n=draw(st.integers(1, 300)),
        order=draw(st.sampled_from(orders)),
        sizes=rule,
        budget=draw(st.sampled_from([Images(images), Area(images)])),
        granule=granule,
        tail="drop" if stream else draw(st.sampled_from(tails)),
        epoch_steps=draw(st.integers(1, 9)) if stream else None,
        buckets=draw(st.sampled_from(buckets)),
        seed=draw(st.integers(0, 2**40)),
    )
    try:
        plan.make()
    except ArgumentError as exc:
        # which plans are refused, and how, is tested apart; anything else is a finding
        if "make no full step" not in str(exc) and "need epoch_steps" not in str(exc):
            raise
        assume(False)
    event(f"{plan.order}, {type(rule).__name__}, tail {plan.tail}, {'stream' if stream else 'passes'}")
    return plan


many = settings(max_examples=80, deadline=None)
some = settings(max_examples=40, deadline=None)


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


MIXED = Plan(203, "Shuffle", Mix(SIZES), Area(16), 8, "drop", None, 1, 5)
STREAM = Plan(203, "Shuffle", Turns(SIZES, True), Area(16), 8, "drop", 7, 2, 5)


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
import test_samplers_plan as tests
plan = getattr(tests, sys.argv[2])
if len(sys.argv) > 3:
    import random, numpy, torch
    random.seed(1), numpy.random.seed(1), torch.manual_seed(1)
one = plan.make()
epochs = [str(tests.properties.epoch_of(one, epoch)) for epoch in ((2, 0) if len(sys.argv) > 3 else (0, 2))]
print(json.dumps([sorted(epochs), one.fingerprint()]))
"""


@pytest.mark.parametrize("name", ["MIXED", "STREAM"])
def test_plans_are_the_same_in_every_process(name):
    """Other hash seeds, other states of the generators, epochs asked in another order: one plan, one fingerprint."""
    here = globals()[name].make()
    expected = [sorted(str(properties.epoch_of(here, epoch)) for epoch in (0, 2)), here.fingerprint()]
    folder = os.path.dirname(__file__)  # noqa: PTH120
    for number, more in (("1", []), ("2", ["polluted"])):
        printed = subprocess.run(
            [sys.executable, "-c", SCRIPT, folder, name, *more], env=os.environ | {"PYTHONHASHSEED": number},
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


# -- which process ---------------------------------------------------------------------------------------

TORCHRUN = {"RANK": "3", "WORLD_SIZE": "8"}
SRUN = {"SLURM_PROCID": "1", "SLURM_STEP_NUM_TASKS": "4", "SLURM_NTASKS": "4"}
SBATCH = {"SLURM_PROCID": "0", "SLURM_NTASKS": "4", "SLURM_JOB_ID": "7"}


@pytest.fixture
def nobody(monkeypatch):
    """A machine on which no launcher and no process group says anything."""
    for name in (*TORCHRUN, *SRUN):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setitem(sys.modules, "torch", None)
    return monkeypatch


def group(rank, world, *, available=True, initialized=True):
    """What torch says of its process group."""
    return SimpleNamespace(
        distributed=SimpleNamespace(
            is_available=lambda: available, is_initialized=lambda: initialized, get_rank=lambda: rank,
            get_world_size=lambda: world,
        )
    )  # fmt: skip


def test_places_from_launchers(nobody):
    """torchrun's and srun's variables, torchrun's first; without any, the only process there is."""
    assert place(environment=TORCHRUN) == Place(3, 8, "torchrun")
    assert place(environment=SRUN) == Place(1, 4, "SLURM")
    assert place(environment=SRUN | TORCHRUN) == Place(3, 8, "torchrun")
    assert place(environment={}) == Place(0, 1, "nobody")
    assert place() == Place(0, 1, "nobody")
    for name, value in SRUN.items():
        nobody.setenv(name, value)
    assert place() == Place(1, 4, "SLURM")


def test_a_batch_script_is_one_process(nobody):
    """SLURM_NTASKS in a script that sbatch started counts processes that srun would start: it is one by itself."""
    assert place(environment=SBATCH) == Place(0, 1, "nobody")
    assert place(environment={"WORLD_SIZE": "8"}) == Place(0, 1, "nobody")
    assert place(environment={"RANK": "1"}) == Place(0, 1, "nobody")


def test_who_is_believed(nobody):
    """Arguments before the process group before launchers; a group that is not there says nothing."""
    nobody.setitem(sys.modules, "torch", group(1, 2))
    assert place(0, 5, TORCHRUN) == Place(0, 5, "arguments")
    assert place(environment=TORCHRUN) == Place(1, 2, "torch.distributed")
    nobody.setitem(sys.modules, "torch", group(1, 2, initialized=False))
    assert place(environment=TORCHRUN) == Place(3, 8, "torchrun")
    nobody.setitem(sys.modules, "torch", group(1, 2, available=False))
    assert place(environment=TORCHRUN) == Place(3, 8, "torchrun")


def test_a_real_process_group(tmp_path):
    """gloo with one process: the group's word holds over the environment's, and the loader is not shared out."""
    torch.distributed.init_process_group("gloo", init_method=f"file://{tmp_path}/group", rank=0, world_size=1)
    try:
        assert place(environment=TORCHRUN) == Place(0, 1, "torch.distributed")
        assert len(next(iter(MIXED.make()))) == len(next(MIXED.make().steps(0)))
    finally:
        torch.distributed.destroy_process_group()


def test_the_place_is_asked_at_the_first_step(nobody):
    """A sampler made, and an iterator made, before the process group was begun follow it."""
    one = Sampler(16, sizes=Fixed(32), budget=Images(8), order=Sequential())
    steps = iter(one)
    nobody.setitem(sys.modules, "torch", group(1, 2))
    assert [key.index for key in next(steps)] == [4, 5, 6, 7]


@pytest.mark.parametrize(
    ("arguments", "environment", "message"),
    [
        ((0, None), {}, "rank and world go together; found rank=0 and world=None"),
        ((None, 2), {}, "rank and world go together; found rank=None and world=2"),
        ((2, 2), {}, r"rank is one of 0 .. world - 1; found rank=2 and world=2 \(arguments\)"),
        ((-1, 2), {}, "found rank=-1 and world=2"),
        (("0", "2"), {}, "found rank='0' and world='2'"),
        ((None, None), {"RANK": "8", "WORLD_SIZE": "8"}, r"found rank=8 and world=8 \(torchrun\)"),
        (
            (None, None), {"RANK": "x", "WORLD_SIZE": "8"},
            "torchrun's environment must hold whole numbers; found RANK='x' and WORLD_SIZE='8'",
        ),
        (
            (None, None), {"SLURM_PROCID": "", "SLURM_STEP_NUM_TASKS": "2"},
            "SLURM's environment must hold whole numbers; found SLURM_PROCID='' and SLURM_STEP_NUM_TASKS='2'",
        ),
    ],
)  # fmt: skip
def test_what_is_no_place(nobody, arguments, environment, message):
    """Named, with who said it."""
    with pytest.raises(ArgumentError, match=message):
        place(*arguments, environment)


def test_a_world_without_a_group_is_said_aloud(nobody):
    """Processes that a launcher started and that no group joins: a warning, from samplers and loaders alike."""
    make = functools.partial(Sampler, 16, sizes=Fixed(4), budget=Images(8))
    for name, value in {"RANK": "1", "WORLD_SIZE": "2"}.items():
        nobody.setenv(name, value)
    expected = "torchrun started 2 processes and torch.distributed has no process group: this one loads part 1"
    with pytest.warns(UserWarning, match=expected):
        assert len(next(iter(make()))) == 4
    nobody.setitem(sys.modules, "torch", torch)
    with pytest.warns(UserWarning, match=expected):
        assert len(next(iter(Loader(NumberReader(16), sampler=make())))) == 4


def test_otherwise_nothing_is_said(nobody):
    """No warning with a group, with arguments, with a single process, and none for a plan that is only looked at."""
    make = functools.partial(Sampler, 16, sizes=Fixed(4), budget=Images(8))
    for quiet in (Place(0, 1, "torchrun"), Place(0, 2, "arguments"), Place(1, 2, "torch.distributed"), Place(0, 1)):
        assert said_aloud(quiet) is quiet
    list(make())
    for name, value in {"RANK": "1", "WORLD_SIZE": "2"}.items():
        nobody.setenv(name, value)
    assert (len(make()), len(list(make().steps(0)))) == (2, 2)
    list(make(rank=0, world=2))
    nobody.setitem(sys.modules, "torch", group(0, 2))
    list(make())


# -- parts as text ---------------------------------------------------------------------------------------


def halved(size, by=2):
    """A budget as a function."""
    return max(4, 64 // by)


def closing_over(number):
    return lambda size: number


class Plain:
    """Without a repr of its own."""

    def __init__(self, value):
        self.value = value

    def method(self, size):
        return self.value


LONG = np.arange(5000)
CHANGED = np.where(LONG == 2500, 0, LONG)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (closing_over(1), closing_over(2)),
        (lambda size: 8, lambda size: 9),
        (lambda size: size.height, lambda size: size.width),
        (lambda size, by=2: by, lambda size, by=3: by),
        (halved, closing_over(1)),
        (functools.partial(halved, by=2), functools.partial(halved, by=3)),
        (functools.partial(halved, by=2), halved),
        (Plain(1), Plain(2)),
        (Plain(1).method, Plain(2).method),
        (Plain(LONG), Plain(CHANGED)),
        (LONG, CHANGED),
        (LONG, LONG.astype(np.int32)),
        (LONG, LONG.reshape(2, -1)),
        (np.array(["a", "b"], object), np.array(["a", "c"], object)),
        ({"a", "b"}, {"a", "c"}),
        ({"a": 1}, {"a": 2}),
        ([1, 2], (1, 2)),
        (1, 1.0),
        (1, True),
        (np.float32(1), np.float64(1)),
        ("1", 1),
        (Area(1), Area(2)),
        (len, max),
        (Fixed, Mix),
        (Fixed(32), Fixed((32, 33))),
        (None, "None"),
    ],
)
def test_descriptions_tell_parts_apart(one, other):
    """What would make another plan is another text, without addresses."""
    assert described(one) != described(other)
    assert " at 0x" not in described(one) + described(other)


@pytest.mark.parametrize(
    "make",
    [
        lambda: closing_over(3),
        lambda: functools.partial(halved, by=2),
        lambda: Plain({"b": Plain(1), "a": LONG.copy()}),
        lambda: Plain(2).method,
        LONG.copy,
        lambda: np.asfortranarray(LONG.reshape(50, 100)),
        lambda: {"x", "y", "z"},
    ],
)
def test_the_same_part_is_the_same_text(make):
    """However often it is made."""
    assert described(make()) == described(make())


def test_descriptions_do_not_depend_on_hashes():
    """Sets and objects are the same text under every hash seed."""
    code = (
        "from resload.samplers.described import described\n"
        "class Plain: pass\n"
        "one = Plain(); one.b, one.a = {'x', 'y', 'z', 'w'}, frozenset(range(9))\n"
        "print(described([one, lambda size: 'x' in {'x', 'y', 'z'}]))"
    )
    printed = {
        subprocess.run(
            [sys.executable, "-c", code], env=os.environ | {"PYTHONHASHSEED": seed}, text=True, capture_output=True,
            check=True, timeout=60,
        ).stdout
        for seed in ("1", "2", "3")
    }  # fmt: skip
    assert len(printed) == 1


def test_parts_without_a_repr_resume():
    """A budget and a size rule of a user's own class, made anew after a crash, are the plan they were."""

    class Rule:
        def at(self, step, *, epoch):
            return 32

    make = lambda number: Sampler(64, sizes=Rule(), budget=closing_over(number))  # noqa: E731
    one, again = make(8), make(8)
    again.load_state_dict(one.state_dict())
    with pytest.raises(StateError, match="another plan"):
        make(16).load_state_dict(one.state_dict())


# -- one selection is not another ------------------------------------------------------------------------


def test_a_sampler_of_another_selection_is_refused(cache):
    """Row numbers of one `select` are other films in another of the same length."""
    one, other = cache.select(cache.rows()[:8]), cache.select(cache.rows()[8:16])
    sampler = Sampler(one, sizes=Fixed(32), budget=Images(4))
    properties.another_selection_is_refused(functools.partial(Loader, other), sampler)
    assert sorted(row for rows in rows_of(Loader(one, sampler=sampler)) for row in rows) == one.rows().tolist()
    with pytest.raises(ArgumentError, match="the sampler was made for 8 rows, the data has"):
        Loader(cache, sampler=sampler)
    reordered = cache.select(cache.rows()[:8][::-1])
    properties.another_selection_is_refused(functools.partial(Loader, reordered), sampler)


def test_no_film_of_validation_is_ever_trained_on(cache):
    """Rows of the train split, under every order and tail, over epochs and processes: never a film of another split."""
    train = set(cache.table["id"].iloc[cache.rows(split="train")])
    val = set(cache.table["id"].iloc[cache.rows(split="val")])
    assert train
    assert val
    chosen = cache.rows(split="train")
    for order, tail in [("Shuffle", "pad"), ("BlockShuffle", "drop"), ("RandomSampler", "exact"), ("Pairs", "exact")]:
        make = functools.partial(
            Sampler, cache, rows=chosen, order=ORDERS[order](len(chosen)), sizes=Fixed(32), budget=Images(8), tail=tail
        )
        served = set()
        for rank in range(2):
            loader = Loader(cache, sampler=make(rank=rank, world=2))
            rows = {row for _ in range(2) for batch in rows_of(loader) for row in batch if row >= 0}
            served |= set(cache.table["id"].iloc[sorted(rows)])
        assert served <= train
        assert not served & val
        assert len(served) == len(train) or tail == "drop"


def test_a_position_of_another_selection_is_refused(cache):
    """Of train and val with as many rows each: a saved position of one is none of the other."""
    half = min(len(cache.rows(split="train")), len(cache.rows(split="val"))) // 2 * 2
    make = lambda split: Sampler(cache, rows=cache.rows(split=split)[:half], sizes=Fixed(32), budget=Images(2))  # noqa: E731
    with pytest.raises(StateError, match="another plan"):
        make("val").load_state_dict(make("train").state_dict())


@pytest.mark.parametrize("prefetch", [1, 2, 8])
def test_loaders_report_the_consumers_position(prefetch):
    """Property 5: whatever was made ahead, a saved position is the batch after the one last handed out."""

    def make(prefetch):
        sampler = Sampler(40, sizes=Mix((4, 8)), budget=Area(8), epoch_steps=6)
        return Loader(NumberReader(40), sampler=sampler, prefetch=prefetch, threads=2)

    properties.loaders_report_the_consumers_position(make, prefetch)
