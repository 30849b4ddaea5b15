"""Which process this is, of how many; what a plan is as text; and that rows of one selection are none of another."""

import functools
import itertools
import operator
import os
import subprocess
import sys
from fractions import Fraction
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
import sampler_properties as properties
import torch
from loading import NumberReader, rows_of
from sampler_plans import MIXED, ORDERS, Area

from resload import Loader, torch_dataset
from resload.errors import ArgumentError, StateError
from resload.samplers import (
    Balanced,
    Cycle,
    Fixed,
    Images,
    Mix,
    OnePer,
    PerTarget,
    Pixels,
    Sampler,
    Sequential,
    Shuffle,
)
from resload.samplers.described import described
from resload.samplers.place import Place, place, said_aloud

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


def test_a_data_set_of_one_split_serves_no_key_of_another(cache):
    """Keys of validation rows are refused by a `torch_dataset` of the train split, and served by its own."""
    keys = next(iter(Sampler(cache, rows=cache.rows(split="val"), sizes=Fixed(32), budget=Images(2))))
    with pytest.raises(ArgumentError, match="row"):
        torch_dataset(cache, size=32, split="train").__getitems__(keys)
    assert len(torch_dataset(cache, size=32, split="val").__getitems__(keys)) == 2


def test_a_sampler_of_a_number_goes_with_anything_of_that_length(cache):
    """It knows of no selection; its rows must be readable all the same."""
    view = cache.select(cache.rows())
    sampler = Sampler(len(view), sizes=Fixed(32), budget=Images(4))
    assert len(list(Loader(view, sampler=sampler))) == len(sampler)
    with pytest.raises(ArgumentError, match=r"of the sampler's rows cannot be read"):
        Loader(cache, sampler=Sampler(len(cache), sizes=Fixed(32), budget=Images(4)))


def test_places_are_found_without_importing_torch():
    """A process group cannot exist where nothing has imported torch."""
    code = "import sys\nfrom resload.samplers.place import place\nprint(place(), 'torch' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], text=True, capture_output=True, check=True, timeout=120)
    assert done.stdout.endswith("False\n")


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


def test_a_world_known_late_may_leave_no_step(monkeypatch):
    """Four processes of 4 need 16 films: said when it is known, never an empty epoch."""
    loader = Loader(NumberReader(10), size=4, batch_size=4, drop_last=True)
    assert len(loader) == 2
    monkeypatch.setattr(torch.distributed, "is_initialized", lambda: True)
    monkeypatch.setattr(torch.distributed, "get_rank", lambda: 1)
    monkeypatch.setattr(torch.distributed, "get_world_size", lambda: 4)
    with pytest.raises(ArgumentError, match="10 rows make no full step"):
        next(iter(loader))


def test_positions_go_from_samplers_to_streams_and_back():
    """A Sampler's position in an interleaved stream and the other way round: the same step; within one it is refused,
    as are worlds and steps that are none."""
    one = Sampler(48, sizes=Fixed(4), budget=Images(8))
    list(itertools.islice(one, 3))
    stream = one.interleaved(2)
    stream.load_state_dict(one.state_dict())
    assert stream.state_dict()["step"] == 6
    batches = iter(stream)
    next(batches), next(batches)
    again = Sampler(48, sizes=Fixed(4), budget=Images(8))
    again.load_state_dict(stream.state_dict())
    assert list(again) == [step.keys() for step in one.steps(0)][4:]
    next(batches)
    with pytest.raises(StateError, match="lies within a step that 2 processes share; 1 share it otherwise"):
        again.load_state_dict(stream.state_dict())
    for wrong, message in (({"world": 0}, "found 0"), ({"world": "2"}, "found '2'"), ({"step": None}, "whole numbers")):
        with pytest.raises(StateError, match=message):
            one.interleaved(2).load_state_dict(stream.state_dict() | wrong)


def test_the_warning_points_at_the_callers_line(monkeypatch):
    """Of a Sampler and of a Loader."""
    for name, value in TORCHRUN.items():
        monkeypatch.setenv(name, value)
    one = Sampler(64, sizes=Fixed(4), budget=Images(8), order=Sequential())
    for iterator in (iter(one), iter(Loader(NumberReader(64), sampler=one))):
        with pytest.warns(UserWarning, match="has no process group") as seen:
            next(iterator)
        assert [warning.filename for warning in seen] == [__file__]


def test_tables_of_numbered_films():
    """Ids that are numbers, as a user's own table may have them."""
    table = pd.DataFrame({"id": range(8), "patient": range(8)})
    assert len(Sampler(table, order=OnePer("patient"), sizes=Fixed(4), budget=Images(4))) == 2


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


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (np.sqrt, np.log), (Fraction(1, 3), Fraction(1, 4)), (range(4), range(5)),
        (torch.tensor([1]), torch.tensor([2])), (operator.itemgetter("a"), operator.itemgetter("b")),
        (pd.Series([1, 2]), pd.Series([1, 3])),
        (np.random.default_rng(1), np.random.default_rng(2)),
    ],
)  # fmt: skip
def test_objects_of_libraries_are_told_apart(one, other):
    """What a user's order or budget may hold: by its values, and the same text each time."""
    assert described(one) != described(other)
    assert described(one) == described(one)
    assert " at 0x" not in described(one)


def test_what_refers_to_itself_is_described():
    """And by its other values."""
    found = []
    for value in (1, 2):
        rule = Rule(value)
        rule.self = rule
        found.append(described(rule))
    assert found[0] != found[1]


WIDTH = 3


def test_functions_are_described_with_the_globals_they_use(monkeypatch):
    """A constant of the module, which a budget multiplies by, is part of it."""
    before = described(lambda size: WIDTH * size[0])
    monkeypatch.setitem(globals(), "WIDTH", 4)
    assert described(lambda size: WIDTH * size[0]) != before
