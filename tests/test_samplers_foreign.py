"""Other people's orders: lists, torch's samplers and batch samplers, as pure functions of (seed, epoch)."""

import json
import os
import random
import subprocess
import sys

import numpy as np
import pytest
import torch
from loading import NumberReader, rows_of
from torch.utils.data import (
    BatchSampler,
    DataLoader,
    DistributedSampler,
    RandomSampler,
    SequentialSampler,
    SubsetRandomSampler,
    WeightedRandomSampler,
)

from resload import Loader
from resload.errors import ArgumentError, StateError
from resload.samplers import Fixed, Images, Mix, Sampler, Scales, foreign
from resload.size import Size

N = 24


def sampler(order, n=N, **options):
    """Steps of 4, unless asked otherwise."""
    return Sampler(n, order=order, **{"sizes": Fixed(32), "budget": Images(4), "seed": 3} | options)


def whole(order, n=N, **options):
    """Of whole batches."""
    return Sampler(n, order=order, **{"sizes": Fixed(32), "seed": 3} | options)


def epoch_of(one, epoch):
    return [step.index.tolist() for step in one.steps(epoch)]


def flat(one, epoch):
    return [row for step in epoch_of(one, epoch) for row in step]


class Forty:
    """A data set that nobody may look into."""

    def __len__(self):
        return N

    def __getitem__(self, index):
        raise AssertionError("a plan read the data")


TORCH = {
    "random": lambda: RandomSampler(Forty()),
    "replacement": lambda: RandomSampler(Forty(), replacement=True, num_samples=N),
    "subset": lambda: SubsetRandomSampler(range(N)),
    "weighted": lambda: WeightedRandomSampler([1.0, 2.0, 0.5] * 8, num_samples=N),
    "own generator": lambda: RandomSampler(Forty(), generator=torch.Generator().manual_seed(7)),
    "distributed, of one": lambda: DistributedSampler(Forty(), num_replicas=1, rank=0),
}


class Drawing:
    """A sampler of a user's own, which draws from whatever generator it is told to."""

    def __init__(self, draw, **owned):
        self.__dict__.update(owned)
        self.draw = draw

    def __iter__(self):
        return iter(self.draw(self))


DRAWING = {
    "random": lambda: Drawing(lambda self: random.sample(range(N), N)),
    "numpy": lambda: Drawing(lambda self: np.random.permutation(N)),  # noqa: NPY002
    "its Random": lambda: Drawing(lambda self: self.rng.sample(range(N), N), rng=random.Random(1)),
    "its Generator": lambda: Drawing(lambda self: self.rng.permutation(N), rng=np.random.default_rng(1)),
    "its RandomState": lambda: Drawing(lambda self: self.rng.permutation(N), rng=np.random.RandomState(1)),
    "its torch.Generator": lambda: Drawing(
        lambda self: torch.randperm(N, generator=self.rng), rng=torch.Generator().manual_seed(1)
    ),
}


# -- positions -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("wrap", [list, tuple, np.array, torch.tensor, lambda values: np.array(values, np.uint8)])
def test_a_list_of_positions_is_every_epoch(wrap):
    """A list, tuple, array or tensor: these positions, in this order, in every epoch."""
    one = sampler(wrap([5, 3, 1, 0, 2, 4, 5, 3]), n=6)
    assert epoch_of(one, 0) == epoch_of(one, 7) == [[5, 3, 1, 0], [2, 4, 5, 3]]
    assert flat(sampler(range(8)), 2) == list(range(8))


def test_positions_point_into_the_visited_rows():
    """Position 0 is the first of rows=, as for every order."""
    assert flat(sampler([3, 1, 0, 2], rows=[20, 10, 5, 7]), 0) == [7, 10, 20, 5]
    assert epoch_of(whole([[3, 1], [0]], rows=[20, 10, 5, 7]), 0) == [[7, 10], [20]]


@pytest.mark.parametrize("make", [*TORCH.values(), *DRAWING.values()], ids=[*TORCH, *DRAWING])
def test_samplers_are_functions_of_seed_and_epoch(make):
    """Another instance, asked in another order, after the generators were used: the same; another epoch: another."""
    one, again = sampler(make()), sampler(make())
    orders = [flat(one, epoch) for epoch in range(4)]
    random.seed(5)
    np.random.seed(5)  # noqa: NPY002
    torch.manual_seed(5)
    assert [flat(again, epoch) for epoch in (3, 1, 0, 2)] == [orders[epoch] for epoch in (3, 1, 0, 2)]
    assert len({str(order) for order in orders}) == 4
    assert one.fingerprint() == again.fingerprint()


@pytest.mark.parametrize("make", [make for name, make in TORCH.items() if name != "distributed, of one"])
def test_the_samplers_seed_decides(make):
    """`seed=` takes the place of the global generators' and of one that the sampler brought: (0, 1) is not (1, 0)."""
    orders = {(seed, epoch): tuple(flat(sampler(make(), seed=seed), epoch)) for seed in (0, 1) for epoch in (0, 1)}
    assert len(set(orders.values())) == 4


def test_torchs_own_seed_decides_a_distributed_sampler():
    """It draws from its own seed and the epoch that it is told."""
    told = DistributedSampler(Forty(), num_replicas=1, rank=0, seed=9)
    told.set_epoch(2)
    expected = list(told)
    assert flat(sampler(DistributedSampler(Forty(), num_replicas=1, rank=0, seed=9)), 2) == expected
    batches = BatchSampler(DistributedSampler(Forty(), num_replicas=1, rank=0, seed=9), 4, drop_last=False)
    assert [row for step in epoch_of(whole(batches), 2) for row in step] == expected


def test_generators_are_as_they_were():
    """Reading an order moves no generator: neither the global ones nor the sampler's own."""
    own = torch.Generator().manual_seed(1)
    numpy_own, random_own = np.random.default_rng(2), random.Random(3)
    one = RandomSampler(Forty(), generator=own)
    one.other, one.another = numpy_own, random_own

    def states():
        return (
            random.getstate(), str(np.random.get_state()), torch.random.get_rng_state().tolist(),  # noqa: NPY002
            own.get_state().tolist(), str(numpy_own.bit_generator.state), random_own.getstate(),
        )  # fmt: skip

    before = states()
    flat(sampler(one), 1)
    assert states() == before
    broken = Drawing(lambda self: [random.random(), np.random.rand(), *torch.rand(2)])  # noqa: NPY002
    with pytest.raises(ArgumentError, match="must give whole numbers"):
        sampler(broken)
    assert states() == before


SCRIPT = """
import random, numpy, torch
from torch.utils.data import WeightedRandomSampler, BatchSampler, RandomSampler
from resload.samplers import *
torch.manual_seed(int(__import__("sys").argv[1])); random.seed(__import__("sys").argv[1])
a = Sampler(24, order=WeightedRandomSampler([1.0, 2.0, 0.5] * 8, 24), sizes=Fixed(32), budget=Images(4), seed=3)
b = Sampler(24, order=BatchSampler(RandomSampler(range(24)), 4, True), sizes=Fixed(32), seed=3)
print([[s.index.tolist() for s in one.steps(2)] for one in (a, b)], a.fingerprint(), b.fingerprint())
"""


@pytest.mark.slow
def test_every_process_reads_the_same():
    """Other seeds of the global generators and of hashes: the same plans and fingerprints."""
    printed = {
        subprocess.run(
            [sys.executable, "-c", SCRIPT, number], env=os.environ | {"PYTHONHASHSEED": number}, text=True,
            capture_output=True, check=True, timeout=120,
        ).stdout
        for number in ("1", "2")
    }  # fmt: skip
    a = sampler(TORCH["weighted"]())
    b = whole(BatchSampler(RandomSampler(range(24)), 4, True))
    assert printed == {f"{[epoch_of(a, 2), epoch_of(b, 2)]} {a.fingerprint()} {b.fingerprint()}\n"}


def test_weights_are_followed():
    """A row of weight 0 never comes; one of three times the weight comes three times as often, within 5 deviations."""
    one = sampler(WeightedRandomSampler([0.0, 1.0, 3.0] * 8, num_samples=4000), budget=Images(100))
    which = np.array(flat(one, 1)) % 3
    assert (which != 0).all()
    assert abs((which == 2).sum() - 3000) < 5 * np.sqrt(4000 * 0.75 * 0.25)


@pytest.mark.parametrize("make", [TORCH["random"], TORCH["weighted"], DRAWING["its Generator"]])
def test_positions_resume(make):
    """Saved in the middle, loaded on two processes by JSON: the rest of the epoch, and the next."""
    one = sampler(make())
    steps = iter(one)
    for _ in range(2):
        next(steps)
    state = json.loads(json.dumps(one.state_dict()))
    parts = []
    for rank in range(2):
        part = sampler(make(), rank=rank, world=2)
        part.load_state_dict(state)
        parts.append([[key.index for key in keys] for _ in range(2) for keys in part])
    joined = [a + b for a, b in zip(*parts, strict=True)]
    assert joined == epoch_of(one, 0)[2:] + epoch_of(one, 1)


def test_an_endless_stream_of_passes():
    """With epoch_steps= a foreign order is one pass after another."""
    one = sampler(TORCH["random"](), epoch_steps=4)
    passes = flat(sampler(TORCH["random"]()), 0) + flat(sampler(TORCH["random"]()), 1)
    assert flat(one, 0) + flat(one, 1) + flat(one, 2) == passes


# -- whole batches ---------------------------------------------------------------------------------------


def test_a_list_of_lists_is_steps():
    """Each batch is a step, in every epoch, at the size of the rule."""
    one = whole([[1, 2, 3], [4], (5, 6)], sizes=Fixed(48))
    assert epoch_of(one, 0) == epoch_of(one, 5) == [[1, 2, 3], [4], [5, 6]]
    assert {step.size for step in one.steps(0)} == {Size(48, 48)}
    assert len(one) == 3
    assert one.total_steps(4) == 12
    assert {step.n_ref for step in one.steps(0)} == {3}
    assert [step.n_global for step in one.steps(0)] == [3, 1, 2]
    assert epoch_of(whole(np.array([[1, 2], [3, 4]])), 0) == [[1, 2], [3, 4]]


def test_a_batch_sampler_is_steps():
    """torch's, around a shuffle: every row once, its batches kept, anew each epoch."""
    one = whole(BatchSampler(RandomSampler(Forty()), 5, drop_last=False))
    assert [len(step) for step in epoch_of(one, 0)] == [5, 5, 5, 5, 4]
    assert sorted(flat(one, 0)) == sorted(flat(one, 1)) == list(range(N))
    assert flat(one, 0) != flat(one, 1)
    again = whole(BatchSampler(RandomSampler(Forty()), 5, drop_last=False))
    assert epoch_of(again, 1) == epoch_of(one, 1)


class Reusing:
    """Yields one list again and again, as a thrifty batch sampler may."""

    def __iter__(self):
        batch = []
        for row in range(6):
            batch[:] = [row, row + 1]
            yield batch


def test_batches_are_copied_while_they_are_current():
    """A batch sampler that re-uses its list is read right."""
    assert epoch_of(whole(Reusing()), 0) == [[row, row + 1] for row in range(6)]


def test_sizes_of_whole_batches():
    """A mix by exact shares of steps; several scales at once; a rule of one's own."""
    batches = [[row, row + 1] for row in range(12)]
    mixed = [step.size for step in whole(batches, sizes=Mix({32: 3, 64: 1})).steps(1)]
    assert sorted(mixed) == [Size(32, 32)] * 9 + [Size(64, 64)] * 3
    assert mixed != [step.size for step in whole(batches, sizes=Mix({32: 3, 64: 1})).steps(2)]
    assert {step.scales for step in whole(batches, sizes=Scales(64, 32)).steps(0)} == {(Size(64, 64), Size(32, 32))}


def test_whole_batches_over_processes():
    """In training they must be shared evenly; with tail="exact" short parts are filled with padding."""
    ragged = [[0, 1, 2, 3], [4, 5, 6]]
    with pytest.raises(ArgumentError, match="step 1 of epoch 0 has 3 images or exams, which 2 processes cannot share "
                                            "evenly: make batches that are multiples of 2"):  # fmt: skip
        list(whole(ragged, rank=0, world=2))
    parts = [[[key.index for key in keys] for keys in whole(ragged, tail="exact", rank=r, world=2)] for r in range(2)]
    assert parts == [[[0, 1], [4, 5]], [[2, 3], [6, -1]]]
    even = [[0, 1, 2, 3], [4, 5]]
    parts = [[[key.index for key in keys] for keys in whole(even, rank=r, world=2)] for r in range(2)]
    assert parts == [[[0, 1], [4]], [[2, 3], [5]]]


def test_whole_batches_as_an_endless_stream():
    """epoch_steps= cuts epochs from one pass of batches after another."""
    batches = lambda: BatchSampler(RandomSampler(Forty()), 4, drop_last=True)  # noqa: E731
    one, passes = whole(batches(), epoch_steps=4), whole(batches())
    assert epoch_of(one, 0) + epoch_of(one, 1) + epoch_of(one, 2) == epoch_of(passes, 0) + epoch_of(passes, 1)


def test_a_loader_serves_whole_batches():
    """Batches of several lengths, with their draws; the position resumes."""
    batches = [[1, 2, 3], [4], [5, 6]]
    loader = Loader(NumberReader(N), sampler=whole(batches, sizes=Fixed(4)))
    assert rows_of(loader) == batches
    state = Loader(NumberReader(N), sampler=whole(batches, sizes=Fixed(4)))
    next(iter(state))
    loader.load_state_dict(json.loads(json.dumps(state.state_dict())))
    assert rows_of(loader) == batches[1:]


# -- fingerprints ----------------------------------------------------------------------------------------


def test_fingerprints_know_foreign_orders():
    """Another class, length, setting, weight or grouping is another plan; the same again is the same, after use too."""
    variants = [
        lambda: sampler(list(range(N))),
        lambda: sampler(list(range(N))[::-1]),
        lambda: sampler(SequentialSampler(Forty())),
        lambda: sampler(RandomSampler(Forty())),
        lambda: sampler(RandomSampler(Forty(), replacement=True)),
        lambda: sampler(RandomSampler(Forty()), seed=4),
        lambda: sampler(WeightedRandomSampler([1.0] * N, N)),
        lambda: sampler(WeightedRandomSampler([1.0] * 12 + [9.0] * 12, N)),
        lambda: whole(BatchSampler(SequentialSampler(Forty()), 4, True)),
        lambda: whole(BatchSampler(SequentialSampler(Forty()), 6, True)),
        lambda: whole([[row] for row in range(N)]),
    ]
    prints = [make().fingerprint() for make in variants]
    assert len(set(prints)) == len(variants)
    assert [make().fingerprint() for make in variants] == prints
    told = DistributedSampler(Forty(), num_replicas=1, rank=0)
    one = sampler(told)
    before = one.fingerprint()
    flat(one, 5)
    assert one.fingerprint() == before == sampler(told).fingerprint()


def test_a_position_of_another_foreign_order_is_refused():
    """Resuming with other weights is an error, not other films."""
    state = sampler(WeightedRandomSampler([1.0] * N, N)).state_dict()
    with pytest.raises(StateError, match="another plan"):
        sampler(WeightedRandomSampler([1.0] * 12 + [9.0] * 12, N)).load_state_dict(state)


# -- refusals --------------------------------------------------------------------------------------------


class Counting:
    """A sampler that remembers how often it was read."""

    def __init__(self):
        self._calls = 0

    def __iter__(self):
        self._calls += 1
        return iter(np.roll(np.arange(N), self._calls).tolist())


class Growing:
    """Gives more with each epoch."""

    def __init__(self, batches):
        self.batches, self.epoch = batches, 0

    def set_epoch(self, epoch):
        self.epoch = epoch

    def __iter__(self):
        rows = range(8 + 4 * self.epoch)
        return iter([[row] for row in rows] if self.batches else rows)


@pytest.mark.parametrize(
    ("order", "message"),
    [
        (7, "order must be an order of resload.samplers .* found int"),
        ("shuffle", "found str"),
        ({1: 2}, "found dict"),
        ({1, 2}, "found set"),
        (iter([1, 2]), "found list_iterator"),
        (Forty(), "found Forty"),
        (DataLoader([1, 2, 3, 4]), "found DataLoader"),
        ([], "order=list gives no position: it is empty"),
        ([[]], "order=list gives no position"),
        ([0.5, 1.0], "order=list must give whole numbers, or lists of them and nothing else; found 0.5"),
        ([True] * N, "order=list must give whole numbers.* found True, which is no position"),
        (["a", "b", "c", "d"], "order=list must give whole numbers"),
        ([0, 1, 2, 24], r"order=list must give positions 0 .. 23 into the visited rows \(rows=\), .* found 0 .. 24"),
        ([-1, 1, 2, 3], "order=list must give positions 0 .. 23 .* found -1 .. 3"),
        (SubsetRandomSampler([30, 31, 32, 33]), "order=SubsetRandomSampler must give positions 0 .. 23 .* 30 .. 33"),
        (Counting(), "order=Counting gives other positions when it is asked for the same epoch twice"),
        (DistributedSampler(Forty(), num_replicas=4, rank=1), "order=DistributedSampler deals its positions out to 4"),
        (
            BatchSampler(DistributedSampler(Forty(), num_replicas=2, rank=1), 4, False),
            "order=DistributedSampler .* 2 processes, .* num_replicas=1, rank=0",
        ),
        (Sampler(N, sizes=Fixed(32), budget=Images(4)), r"order=Sampler must give whole numbers.* found Key\("),
    ],
)  # fmt: skip
def test_what_is_no_order_is_refused(order, message):
    """When the sampler is made, with what was found and what to do."""
    with pytest.raises(ArgumentError, match=message):
        sampler(order)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"order": [[0, 1], [2, 3]], "budget": Images(4)}, "order= gives whole batches, which decide budget"),
        ({"order": [[0, 1], [2, 3]], "granule": 2}, "which decide granule: leave them out"),
        ({"order": [[0, 1], [2, 3]], "buckets": [0] * N}, "which decide buckets"),
        ({"order": [[0, 1], [2, 3]], "tail": "pad"}, "tail='pad' cannot complete: take tail='exact'"),
        ({"order": [[0, 1], []]}, "order=list gives an empty batch in epoch 0"),
        ({"order": [[0, 1], 2]}, "order=list must give whole numbers, or lists of them and nothing else"),
        ({"order": [0, 1, 2]}, r"budget= must say how many images a step holds, for example samplers.Images\(64\)"),
        ({}, "budget= must say how many images"),
        ({"order": [[0, 24]]}, "positions 0 .. 23 into the visited rows"),
    ],
)
def test_impossible_batches_are_refused(options, message):
    """What whole batches decide, and what they cannot have."""
    with pytest.raises(ArgumentError, match=message):
        Sampler(N, sizes=Fixed(32), **options)


def test_lengths_must_not_change():
    """An order that grows is refused at the epoch that differs, with what to do."""
    with pytest.raises(ArgumentError, match="epoch 1 would have 12 batches, epoch 0 has 8: frameworks need one length"):
        list(whole(Growing(batches=True)).steps(1))
    with pytest.raises(ArgumentError, match="epoch 1 would have 3 steps, epoch 0 has 2: frameworks need one length"):
        list(sampler(Growing(batches=False)).steps(1))


def test_endless_samplers_are_refused(monkeypatch):
    """One that never ends is not read for ever."""
    monkeypatch.setattr(foreign, "_ENDLESS", 1000)
    endless = Drawing(lambda self: iter(int, 1))
    with pytest.raises(ArgumentError, match=r"order=Drawing does not end .after 1,000 positions.* epoch_steps="):
        sampler(endless)
    with pytest.raises(ArgumentError, match="does not end"):
        whole(Drawing(lambda self: iter(lambda: [0, 1], None)))


def test_reading_does_not_import_torch():
    """Lists and samplers without torch need none."""
    code = (
        "import sys; from resload.samplers import *; "
        "list(Sampler(4, order=[3, 1, 0, 2], sizes=Fixed(32), budget=Images(2))); print('torch' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], text=True, capture_output=True, check=True, timeout=120)
    assert done.stdout == "False\n"
