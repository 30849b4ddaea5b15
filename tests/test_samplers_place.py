"""Which process this is, of how many; and what a plan's fingerprint knows of it: nothing."""

import functools
import itertools
import subprocess
import sys
import types
import warnings

import numpy as np
import pytest
import torch
from loading import NumberReader, rows_of

from resload import Loader, torch_dataset
from resload.errors import ArgumentError, StateError
from resload.samplers import Balanced, Cycle, Fixed, Images, Mix, PerTarget, Pixels, Sampler, Sequential, Shuffle
from resload.samplers.described import described
from resload.samplers.place import Place, place, said_aloud

TORCHRUN = {"RANK": "3", "WORLD_SIZE": "4"}
SRUN = {"SLURM_PROCID": "1", "SLURM_STEP_NUM_TASKS": "2", "SLURM_NTASKS": "8"}


@pytest.fixture
def group(monkeypatch):
    """A process group of rank 2 of 4, as torch.distributed would report it."""
    monkeypatch.setattr(torch.distributed, "is_initialized", lambda: True)
    monkeypatch.setattr(torch.distributed, "get_rank", lambda: 2)
    monkeypatch.setattr(torch.distributed, "get_world_size", lambda: 4)


# -- who says it --


def test_arguments_come_first(group):
    """They are believed whatever else says otherwise, also that there is one process."""
    assert place(0, 1, TORCHRUN) == Place(0, 1)
    assert place(1, 3, SRUN) == Place(1, 3)


def test_the_process_group_comes_before_the_launcher(group):
    """A group of four within a launch of more: what trains together is the group."""
    found = place(environment=TORCHRUN | {"WORLD_SIZE": "16"})
    assert (found.rank, found.world, found.source) == (2, 4, "torch.distributed")


@pytest.mark.parametrize(
    ("environment", "expected"),
    [
        (TORCHRUN, (3, 4, "torchrun")),
        (SRUN, (1, 2, "SLURM")),
        (TORCHRUN | SRUN, (3, 4, "torchrun")),
        ({}, (0, 1, "nobody")),
        ({"RANK": "3"}, (0, 1, "nobody")),
        ({"SLURM_PROCID": "0", "SLURM_NTASKS": "8"}, (0, 1, "nobody")),  # a batch script, not a step of srun
    ],
)
def test_the_launchers_environment(environment, expected):
    """torchrun's, then srun's; half of one says nothing, and neither does a job's number of tasks."""
    found = place(environment=environment)
    assert (found.rank, found.world, found.source) == expected


def test_the_environment_is_this_processs(monkeypatch):
    """By default; a Sampler that is given no rank asks the same."""
    for name, value in TORCHRUN.items():
        monkeypatch.setenv(name, value)
    assert place().source == "torchrun"
    assert Sampler(16, sizes=Fixed(32), budget=Images(4)).place() == place()


def test_impossible_places_are_refused():
    """One argument without the other, ranks outside, and an environment of other than numbers."""
    with pytest.raises(ArgumentError, match="rank and world go together; found rank=None and world=2"):
        place(world=2)
    for rank, world in ((2, 2), (-1, 2), (0, 0), ("0", 1)):
        with pytest.raises(
            ArgumentError, match=f"rank is one of 0 .. world - 1; found rank={rank!r} and world={world!r}"
        ):
            place(rank, world)
    with pytest.raises(ArgumentError, match=r"torchrun's environment must hold whole numbers; found RANK='x'"):
        place(environment={"RANK": "x", "WORLD_SIZE": "2"})
    with pytest.raises(ArgumentError, match=r"found rank=4 and world=4 \(torchrun\)"):
        place(environment={"RANK": "4", "WORLD_SIZE": "4"})


def test_places_are_found_without_importing_torch():
    """A process group cannot exist where nothing has imported torch."""
    code = "import sys\nfrom resload.samplers.place import place\nprint(place(), 'torch' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], text=True, capture_output=True, check=True, timeout=120)
    assert done.stdout.endswith("False\n")


def test_several_processes_without_a_group_are_said_aloud(monkeypatch):
    """Once an epoch, when its first step is asked for, by Sampler and Loader; not where rank= is given."""
    for name, value in TORCHRUN.items():
        monkeypatch.setenv(name, value)
    one = Sampler(16, sizes=Fixed(4), budget=Images(8), order=Sequential())
    loader = Loader(NumberReader(16), sampler=one)
    iterators = iter(one), iter(loader)
    for iterator in iterators:
        with pytest.warns(
            UserWarning, match=r"torchrun started 4 processes .* loads part 3 of every batch.*rank="
        ) as seen:
            next(iterator)
        assert len(seen) == 1
        assert len(list(iterator)) == 1
    loader.close()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        list(Sampler(16, sizes=Fixed(4), budget=Images(8), rank=0, world=1))


def test_a_group_is_not_said_aloud(group):
    """Nor is a single process."""
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert said_aloud(place()).world == 4
        assert said_aloud(Place(0, 1, "nobody")).world == 1


# -- when it is asked --


def test_a_group_may_come_after_the_loader(monkeypatch):
    """init_process_group between construction and the first batch: the part is that of the group, and so is the length
    where batch_size is per process."""
    loader = Loader(NumberReader(32), size=4, batch_size=4, shuffle=True, drop_last=True)
    assert len(loader) == 8
    plan = [step.index.tolist() for step in Sampler(32, sizes=Fixed(4), budget=Images(16)).steps(0)]
    monkeypatch.setattr(torch.distributed, "is_initialized", lambda: True)
    monkeypatch.setattr(torch.distributed, "get_rank", lambda: 1)
    monkeypatch.setattr(torch.distributed, "get_world_size", lambda: 4)
    assert len(loader) == 2
    assert rows_of(loader) == [rows[4:8] for rows in plan]


def test_batch_size_is_per_process_and_a_run_goes_on_with_other_numbers():
    """8 processes of 4, 2 of 16 and 1 of 32 are one plan: the same steps, and each other's positions."""
    options = {"size": 4, "shuffle": True, "drop_last": True, "seed": 3}
    reader = NumberReader(200)

    def loaders(world, batch_size):
        return [Loader(reader, batch_size=batch_size, rank=r, world=world, **options) for r in range(world)]

    (single,) = loaders(1, 32)
    whole = rows_of(single)
    eight = loaders(8, 4)
    streams = [iter(loader) for loader in eight]
    seen = [[row for stream in streams for row in next(stream).rows.tolist()] for _ in range(2)]
    states = [loader.state_dict() for loader in eight]
    assert all(state == states[0] for state in states)
    two = loaders(2, 16)
    for loader in two:
        loader.load_state_dict(states[5])
    seen += [[row for batch in batches for row in batch.rows.tolist()] for batches in zip(*two, strict=True)]
    assert seen == whole
    for loader in eight:
        loader.close()
    (other,) = loaders(1, 16)
    with pytest.raises(StateError, match="another plan"):
        other.load_state_dict(states[0])


def test_interleaved_counts_per_process_budgets_for_all():
    """`Images(4, per_process=True)` of two processes: every batch of the stream has 4."""
    one = Sampler(32, sizes=Fixed(4), budget=Images(4, per_process=True))
    stream = one.interleaved(2)
    assert len(stream) == 8
    assert [len(keys) for keys in stream] == [4] * 8
    first = one.interleaved(2)
    next(iter(first))
    with pytest.raises(StateError, match="another plan"):  # 4 x 4 is another batch than 2 x 4
        one.interleaved(4).load_state_dict(first.state_dict())


def test_an_interleaved_position_goes_on_with_other_numbers():
    """Where a part ends for both; else it is refused, since others share the step otherwise."""
    one = Sampler(48, sizes=Fixed(4), budget=Images(8))
    whole = [row for step in one.steps(0) for row in step.index.tolist()]
    for taken, world in ((8, 2), (10, 2), (9, 8), (5, 4)):
        first, other = one.interleaved(4), one.interleaved(world)
        seen = [key.index for keys in itertools.islice(first, taken) for key in keys]
        other.load_state_dict(first.state_dict())
        assert seen + [key.index for keys in other for key in keys] == whole
    first = one.interleaved(4)
    list(itertools.islice(first, 5))
    with pytest.raises(StateError, match="lies within a step that 4 processes share; 2 share it otherwise"):
        one.interleaved(2).load_state_dict(first.state_dict())


# -- fingerprints --


def plan(**options):
    return Sampler(40, **{"sizes": Fixed(32), "budget": Images(8)} | options)


def scaled(size, by=1):
    return by * 8


class Rule:
    """A user's own, with an attribute and no repr."""

    def __init__(self, values):
        self.values = values

    def at(self, step, *, epoch):
        return 32

    def __call__(self, size):
        return 8

    def positions(self, n, *, seed, epoch):
        return np.arange(n)


LONG = np.arange(5000)
OTHER = np.where(LONG == 2500, 0, LONG)
"""Numpy prints both alike."""


def test_everything_that_changes_a_plan_changes_its_fingerprint():
    """Orders, sizes, budgets by their values, whoever wrote them; making the same again does not."""
    base = {"nodule": np.arange(40) % 2}
    variants = [
        lambda: {},
        lambda: {"order": Sequential()},
        lambda: {"order": Rule(LONG)},
        lambda: {"order": Rule(OTHER)},
        lambda: {"order": Balanced(base["nodule"])},
        lambda: {"order": Balanced(1 - base["nodule"])},
        lambda: {"sizes": Rule(1)},
        lambda: {"sizes": Rule(2)},
        lambda: {"sizes": Cycle(32, 64)},
        lambda: {"sizes": Mix((32, 64))},
        lambda: {"sizes": PerTarget({"a": 32})},
        lambda: {"budget": Images(4)},
        lambda: {"budget": Pixels(8, at=64)},
        lambda: {"budget": Pixels(8, at=64), "granule": 2},
        lambda: {"budget": scaled},
        lambda: {"budget": functools.partial(scaled, by=2)},
        lambda: {"budget": functools.partial(scaled, by=1)},
        lambda: {"budget": lambda size: 8},
        lambda: {"budget": lambda size: 4},
        lambda: {"budget": Rule({1, 2}).__call__},
        lambda: {"budget": Rule({1, 3}).__call__},
        lambda: {"buckets": base["nodule"]},
        lambda: {"epoch_steps": 5},
        lambda: {"tail": "exact"},
        lambda: {"tail": "pad"},
        lambda: {"seed": 1},
        lambda: {"rows": range(39)},
    ]
    prints = [plan(**variant()).fingerprint() for variant in variants]
    assert len(set(prints)) == len(variants)
    assert prints == [plan(**variant()).fingerprint() for variant in variants]


def test_nothing_else_does():
    """Number of processes, position, a granule that divides the batch anyway, how the seed is written."""
    expected = plan().fingerprint()
    moved = plan(rank=1, world=2)
    list(moved)
    assert moved.fingerprint() == expected
    others = [
        plan(granule=4),
        plan(seed=np.int64(0)),
        plan(order=Shuffle()),
        plan(rows=np.arange(40)),
        moved.view(0, 8),
    ]
    assert {other.fingerprint() for other in others} == {expected}


def test_descriptions_are_of_values():
    """Closures, bound methods of builtins, modules' functions, object arrays, nested parts; never an address."""
    by = 3
    values = [
        lambda size: by, {"a": 1}.__getitem__, {"a": 2}.__getitem__, len, np.array(["a", None], object), Rule(Rule(1)),
        types.SimpleNamespace(a=[1, {2: 3}]), frozenset("ab"), np.float32(1.5), 1.5, None, Rule, (1, [2]),
    ]  # fmt: skip
    found = [described(value) for value in values]
    assert len(set(found)) == len(found)
    assert not [text for text in found if " at 0x" in text]


SETS = "from resload.samplers.described import described\nprint(described({'a', 'b', 'c', ('d', 1)}))"


def test_descriptions_do_not_depend_on_hashing():
    """Sets are described alike under every hash seed."""
    printed = {
        subprocess.run(
            [sys.executable, "-c", SETS], env={"PYTHONHASHSEED": seed}, text=True, capture_output=True, check=True
        ).stdout
        for seed in ("1", "2", "3", "4")
    }
    assert len(printed) == 1


# -- selections --


def test_no_film_of_the_validation_set_is_served_in_training(cache):
    """Samplers of another selection are refused by a Loader, rows of another split by a data set, whatever is equal in
    length."""
    train, val = (cache.rows(split=split) for split in ("train", "val"))
    count = min(len(train), len(val))
    for_train, for_val = cache.select(train[:count]), cache.select(val[:count])
    sampler = Sampler(for_val, sizes=Fixed(32), budget=Images(2))
    with pytest.raises(ArgumentError, match="the sampler was made for another selection of radiographs"):
        Loader(for_train, sampler=sampler)
    assert len(list(Loader(for_val, sampler=sampler))) == len(sampler)
    keys = next(iter(Sampler(cache, rows=val, sizes=Fixed(32), budget=Images(2))))
    with pytest.raises(ArgumentError, match="row"):
        torch_dataset(cache, size=32, split="train").__getitems__(keys)
    assert len(torch_dataset(cache, size=32, split="val").__getitems__(keys)) == 2
    served = [row for batch in Loader(cache, sampler=Sampler(cache, rows=train, sizes=Fixed(32), budget=Images(4)))
              for row in batch.rows.tolist()]  # fmt: skip
    assert set(served) <= set(train.tolist())


def test_a_sampler_of_a_number_goes_with_anything_of_that_length(cache):
    """It knows of no selection; its rows must be readable all the same."""
    view = cache.select(cache.rows())
    sampler = Sampler(len(view), sizes=Fixed(32), budget=Images(4))
    assert len(list(Loader(view, sampler=sampler))) == len(sampler)
    with pytest.raises(ArgumentError, match=r"of the sampler's rows cannot be read"):
        Loader(cache, sampler=Sampler(len(cache), sizes=Fixed(32), budget=Images(4)))
