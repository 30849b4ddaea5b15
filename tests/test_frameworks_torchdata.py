"""torchdata's StatefulDataLoader with a Sampler: its state at any point, with and without worker processes."""

import copy

import pytest
import torch
from frameworks import all_told, dataset, expected, plan

stateful = pytest.importorskip("torchdata.stateful_dataloader")

pytestmark = [
    # torchdata 0.11 marks its use for torch's telemetry in a way that torch 2.13 deprecates
    pytest.mark.filterwarnings("ignore:'set_vital' is deprecated"),
    pytest.mark.filterwarnings("ignore:This DataLoader will create"),  # machines of one core
]
STEPS = 7
KINDS = {"here": {}, "workers": {"num_workers": 2}, "kept workers": {"num_workers": 2, "persistent_workers": True}}


def fresh(kind, state=None):
    """A loader as a new process makes it, and its sampler."""
    sampler = plan("mixed")
    loader = stateful.StatefulDataLoader(dataset(), batch_sampler=sampler, **KINDS[kind])
    if state is not None:
        loader.load_state_dict(state)
    return loader, sampler


def some(loader, count):
    """Batches of an epoch from a loop that is left after so many, with the loader's state then; or all of them."""
    found = []
    for batch in loader:
        found += all_told([batch])
        if len(found) == count:
            state = copy.deepcopy(loader.state_dict())
            break
    end(loader)
    return found, state


def end(loader):
    """Stop worker processes now: left to the garbage collector, torch waits seconds for them."""
    if getattr(loader._iterator, "_workers", None):
        loader._iterator._shutdown_workers()


@pytest.mark.parametrize("set_epoch", [True, False])
@pytest.mark.parametrize("kind", KINDS)
def test_epochs(kind, set_epoch):
    """Three epochs are the plan's, whether or not somebody says which."""
    loader, sampler = fresh(kind)
    for epoch in range(3):
        if set_epoch:
            sampler.set_epoch(epoch)
        assert all_told(loader) == expected(sampler, epoch)
    assert len(loader) == STEPS
    end(loader)


@pytest.mark.parametrize("set_epoch", [True, False])
@pytest.mark.parametrize("step", range(1, STEPS + 1))
@pytest.mark.parametrize("kind", KINDS)
def test_resume(kind, step, set_epoch):
    """Saved after any batch of the second epoch: the rest of it and the third follow, nothing lost or repeated."""
    loader, sampler = fresh(kind)
    sampler.set_epoch(1)
    head, state = some(loader, step)
    loader, sampler = fresh(kind, state)
    if set_epoch and step < STEPS:
        sampler.set_epoch(1)
    tail = all_told(loader)
    if step < STEPS:
        if set_epoch:
            sampler.set_epoch(2)
        tail += all_told(loader)
    end(loader)
    assert head + tail == expected(sampler, 1) + expected(sampler, 2)


@pytest.mark.parametrize("kind", KINDS)
def test_resume_between_epochs(kind):
    """Saved when a loop has run out, and before anything was asked for."""
    loader, sampler = fresh(kind)
    first = copy.deepcopy(loader.state_dict())
    assert all_told(loader) == expected(sampler, 0)
    state = loader.state_dict()
    end(loader)
    for saved, epoch in ((first, 0), (state, 1)):
        loader, sampler = fresh(kind, saved)
        assert all_told(loader) == expected(sampler, epoch)
        end(loader)


@pytest.mark.parametrize("kind", KINDS)
def test_two_resumes_in_one_epoch(kind):
    """Saved, loaded, saved again within the same epoch and loaded again."""
    loader, sampler = fresh(kind)
    sampler.set_epoch(1)
    found, state = some(loader, 2)
    loader, sampler = fresh(kind, state)
    more, state = some(loader, 3)
    loader, sampler = fresh(kind, state)
    rest = all_told(loader)
    end(loader)
    assert found + more + rest == expected(sampler, 1)


def test_the_state_is_plain():
    """It passes through torch.save and torch.load with weights_only, as checkpoints do."""
    import io

    loader, _ = fresh("here")
    _, state = some(loader, 3)
    file = io.BytesIO()
    torch.save(state, file)
    file.seek(0)
    loader, sampler = fresh("here", torch.load(file, weights_only=True))
    assert all_told(loader) == expected(sampler, 0)[3:]
