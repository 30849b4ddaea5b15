"""Small batches are made together, several by one task: who loops over them cannot tell."""

import copy
import pickle
from dataclasses import fields, replace

import numpy as np
import pytest
import torch
from loading import NumberReader, rows_of

from resload import Batch, Loader, making
from resload.samplers import Images, Mix, Sampler


@pytest.fixture
def alone(monkeypatch):
    """A function that makes a loader's batches each alone."""

    def run(loader):
        with monkeypatch.context() as patch:
            patch.setattr(making, "_TOGETHER_BYTES", 0)
            return list(loader)

    return run


def same(one, other):
    for field in fields(Batch):
        mine, theirs = getattr(one, field.name), getattr(other, field.name)
        if isinstance(mine, torch.Tensor):
            assert torch.equal(mine.nan_to_num(-1), theirs.nan_to_num(-1)), field.name
        elif field.name == "geometry":
            assert np.array_equal(mine.facts, theirs.facts)
        elif field.name != "scales":
            assert mine == theirs, field.name


@pytest.mark.parametrize("dtype", [torch.uint16, torch.float32, torch.float16])
@pytest.mark.parametrize("threads", [1, 3])
def test_batches_are_those_that_are_made_alone(alone, dtype, threads):
    """Images, targets and every other field, with a last batch that is smaller; fewer tasks than batches."""
    reader, again = NumberReader(103, grain=40), NumberReader(103, grain=40)
    options = {"size": 6, "batch_size": 8, "shuffle": True, "seed": 3, "dtype": dtype, "threads": threads}
    found, expected = list(Loader(reader, **options)), alone(Loader(again, **options))
    assert len(found) == len(expected) == 13
    for one, other in zip(found, expected, strict=True):
        same(one, other)


def test_tasks_hold_several_batches(monkeypatch):
    """As many whole batches as a task has images, as long as their bytes stay small; of one size only."""
    asked = []

    class Watched(NumberReader):
        def fill(self, slot, rows, size, start):
            asked.append(len(rows))
            super().fill(slot, rows, size, start)

    def counts(**options):
        asked.clear()
        rows = [row for batch in rows_of(Loader(Watched(96, grain=40), batch_size=8, **options)) for row in batch]
        assert rows == list(range(96))
        return asked[:]

    assert counts(size=6, dtype=torch.uint16) == [40, 40, 16]
    assert counts(size=6, dtype=torch.uint16, transform=lambda sample: None) == [8] * 12
    monkeypatch.setattr(making, "_TOGETHER_BYTES", 2 * 8 * 36 * 2)
    assert counts(size=6, dtype=torch.uint16) == [16] * 6
    asked.clear()
    sampler = Sampler(96, sizes=Mix((6, 7), every=2), budget=Images(8), seed=1)
    sizes = [batch.size for batch in Loader(Watched(96, grain=40), sampler=sampler, dtype=torch.uint16)]
    assert len(set(sizes)) == 2
    assert max(asked) == 16
    assert sum(asked) == 96


@pytest.mark.parametrize("failing", [0, 20, 50, 95])
@pytest.mark.parametrize("threads", [1, 2])
def test_what_was_made_with_a_failing_film_is_handed_over_before_it(failing, threads):
    """Every batch before the one with the film arrives; the error is the film's own, and the position is before it."""
    reader = NumberReader(96, grain=40, failing=[failing])
    loader = Loader(reader, size=6, batch_size=8, threads=threads)
    found = []
    with pytest.raises(RuntimeError, match="this film is on fire"):
        found.extend(batch.rows.tolist() for batch in loader)
    assert found == [list(range(start, start + 8)) for start in range(0, failing // 8 * 8, 8)]
    assert loader.state_dict()["step"] == failing // 8


def test_a_position_within_a_task(alone):
    """Saved after any batch, it goes on with the next one."""
    loader = Loader(NumberReader(96, grain=40), size=6, batch_size=8, shuffle=True)
    whole = rows_of(alone(loader))
    for stop in range(1, 12):
        loader.set_epoch(0)
        for count, _ in enumerate(loader, 1):
            if count == stop:
                state = loader.state_dict()
                break
        other = Loader(NumberReader(96, grain=40), size=6, batch_size=8, shuffle=True)
        other.load_state_dict(state)
        assert rows_of(other) == whole[stop:]


def test_a_batch_is_its_own():
    """Writing to one changes no other that was made with it, nor what is told of either."""
    first, second, *_ = Loader(NumberReader(96, grain=96), size=6, batch_size=8, dtype=torch.uint16)
    images, targets = second.images.clone(), second.targets.clone()
    first.images.zero_()
    first.targets.fill_(torch.nan)
    first.rows.zero_()
    first.spacing.zero_()
    assert torch.equal(second.images, images)
    assert torch.equal(second.targets, targets)
    assert first.known.all()
    assert second.rows.tolist() == list(range(8, 16))
    assert (second.spacing != 0).all()
    assert first.geometry.shapes.tolist() == [[200, 80]] * 8


def test_fields_nobody_asked_for_are_there():
    """In copies, pickles and replacements, on another device, and when it is printed; a misspelt one is refused."""
    batch, expected = (next(iter(Loader(NumberReader(16), size=6, batch_size=8))) for _ in range(2))
    for field in fields(Batch):
        getattr(expected, field.name)
    for made in (
        copy.copy(batch),
        copy.deepcopy(batch),
        pickle.loads(pickle.dumps(batch)),
        replace(batch),
        batch.to("cpu"),
    ):
        same(made, expected)
    fresh = next(iter(Loader(NumberReader(16), size=6, batch_size=8)))
    assert "film 3" in repr(fresh)
    assert fresh.ids is fresh.ids
    for name in ("imagse", "_told_", "__array__"):
        with pytest.raises(AttributeError, match=f"'Batch' object has no attribute '{name}'"):
            getattr(fresh, name)
    with pytest.raises(AttributeError, match="no attribute 'ids'"):
        getattr(Batch.__new__(Batch), "ids")  # noqa: B009 -- on its own it looks like a mistake
