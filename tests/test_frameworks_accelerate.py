"""Accelerate with two processes: the bare Loader, and a DataLoader whose batches `prepare` deals out."""

import json

import pytest
from frameworks import by_processes, expected, plan

pytest.importorskip("accelerate")

pytestmark = pytest.mark.slow


def plain(steps):
    return json.loads(json.dumps(steps))


BARE = """
from accelerate import Accelerator
from frameworks import all_told, loader_of, say, told

accelerator = Accelerator(cpu=True)
loader = loader_of()
accelerator.register_for_checkpointing(loader)
same = accelerator.prepare(loader) is loader
found = all_told(loader)
for batch in loader:
    found.append(told(batch))
    if len(found) == 10:
        accelerator.save_state("saved")
        break
accelerator.wait_for_everyone()

again = loader_of(prefetch=1)
other = Accelerator(cpu=True)
other.register_for_checkpointing(again)
other.load_state("saved")
resumed = all_told(again)
resumed += all_told(again)
again.set_epoch(5)
say({"same": same, "found": found, "resumed": resumed, "fifth": all_told(again)})
accelerator.end_training()
"""


def test_a_loader(tmp_path):
    """`prepare` leaves it alone; it finds its place, advances its own epoch, and its position is saved and loaded with
    the accelerator's state, within an epoch."""
    for rank, said in enumerate(by_processes(BARE, tmp_path)):
        steps = [step for epoch in range(3) for step in expected(plan(), epoch, rank, 2)]
        assert said["same"]
        assert said["found"] == plain(steps[:10])
        assert said["resumed"] == plain(steps[10:])
        assert said["fifth"] == plain(expected(plan(), 5, rank, 2))


PREPARED = """
from accelerate import Accelerator
from accelerate.utils import DataLoaderConfiguration
from frameworks import all_told, dataset, plan, say
from torch.utils.data import DataLoader

def prepared(batch_sampler, workers=0, **settings):
    accelerator = Accelerator(cpu=True, dataloader_config=DataLoaderConfiguration(**settings))
    loader = DataLoader(dataset(), batch_sampler=batch_sampler, num_workers=workers)
    return accelerator.prepare(loader)

said = {}
for name, options in {"plain": {}, "workers": {"workers": 2}, "uneven": {"even_batches": False}}.items():
    loader = prepared(plan().interleaved(2), **options)
    said[name] = [all_told(loader) for _ in range(2)]
    loader.set_epoch(5)
    said[name].append(all_told(loader))
    said[name + " length"] = len(loader)

loader = prepared(plan().interleaved(2), use_stateful_dataloader=True)
loader.set_epoch(1)
for number, batch in enumerate(loader, start=1):
    if number == 3:
        state = loader.state_dict()
        break
again = prepared(plan().interleaved(2), use_stateful_dataloader=True)
again.load_state_dict(state)
again.set_epoch(1)
said["resumed"] = all_told(again)

try:
    all_told(prepared(plan()))
    said["error"] = None
except ValueError as error:
    said["error"] = str(error)
say(said)
"""


def test_a_prepared_dataloader(tmp_path):
    """With `interleaved` each process gets its own part of each step, at the step's size, nothing lost or moved; epochs
    follow by themselves or by set_epoch; Accelerate's stateful DataLoader goes on within an epoch that it is told. A
    plain Sampler, which `prepare` would divide twice, is refused."""
    for rank, said in enumerate(by_processes(PREPARED, tmp_path)):
        right = {epoch: plain(expected(plan(), epoch, rank, 2)) for epoch in (0, 1, 5)}
        for name in ("plain", "workers", "uneven"):
            assert said[name] == [right[0], right[1], right[5]]
            assert said[name + " length"] == len(plan())
        assert said["resumed"] == right[1][3:]
        assert "Accelerate deals batches out over 2 processes" in said["error"]
        assert "batch_sampler=sampler.interleaved(accelerator.num_processes)" in said["error"]
