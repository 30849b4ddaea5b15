"""Plain torch: two processes of DDP over gloo learn what one process learns, step by step."""

import json

import pytest
import torch
from frameworks import all_told, by_processes, expected, loader_of, plan
from frameworks_training import trained

DDP = """
import torch
from frameworks import say
from frameworks_training import trained
from torch.nn.parallel import DistributedDataParallel

torch.distributed.init_process_group("gloo")
say(trained(DistributedDataParallel))
torch.distributed.destroy_process_group()
"""


@pytest.mark.slow
def test_two_processes_learn_what_one_learns(tmp_path):
    """After each of ten steps of mixed sizes at constant pixels, with the steps taken: the gradients of two processes,
    which find their places by themselves, equal those of one, to float32's accuracy."""
    alone = json.loads(json.dumps(trained()))
    sizes = {tuple(size) for _, size in alone["served"]}
    assert len(sizes) == 2
    assert len(alone["gradients"]) == 10
    for rank, said in enumerate(by_processes(DDP, tmp_path)):
        steps = [step for epoch in range(2) for step in expected(plan(), epoch, rank, 2)][:10]
        assert said["served"] == json.loads(json.dumps(steps))
        for found, right in zip(said["gradients"], alone["gradients"], strict=True):
            torch.testing.assert_close(torch.tensor(found), torch.tensor(right), rtol=1e-4, atol=1e-7)
        torch.testing.assert_close(torch.tensor(said["weights"]), torch.tensor(alone["weights"]), rtol=1e-4, atol=1e-7)
    moved = torch.tensor(alone["weights"]) - torch.tensor(alone["start"])
    assert moved.abs().max() > 1e-3


UNJOINED = """
import warnings
from frameworks import all_told, loader_of, say

with warnings.catch_warnings(record=True) as caught:
    warnings.simplefilter("always")
    served = all_told(loader_of())
say({"served": served, "warned": [str(one.message) for one in caught]})
"""


@pytest.mark.slow
def test_processes_without_a_group(tmp_path):
    """torchrun without init_process_group: each takes its part, and says aloud why."""
    for rank, said in enumerate(by_processes(UNJOINED, tmp_path)):
        assert said["served"] == json.loads(json.dumps(expected(plan(), 0, rank, 2)))
        (warning,) = said["warned"]
        assert f"loads part {rank} of every batch" in warning


def test_read_back_to_its_place_as_composer_does():
    """Composer is not installed here. It checks, sets epochs of and keeps state for instances of DataLoader only, and
    resumes others by taking one batch of each past epoch, then reading past the batches of the last."""
    loader = loader_of()
    assert not isinstance(loader, torch.utils.data.DataLoader)
    for _ in range(2):
        for _ in loader:
            break
    assert all_told(loader)[3:] == expected(plan(), 2)[3:]
    assert all_told(loader) == expected(plan(), 3)


GATHERED = """
import numpy as np, torch
from frameworks import say
from resload.interop import all_gathered

torch.distributed.init_process_group("gloo")
rank = torch.distributed.get_rank()
rows, losses = all_gathered(torch.tensor([[4, 5], [6]][rank]), np.array([[.5, .25], [2.]][rank], np.float32))
say({"rows": rows.tolist(), "losses": losses.tolist(), "types": [str(rows.dtype), str(losses.dtype)]})
torch.distributed.destroy_process_group()
"""


@pytest.mark.slow
def test_all_gathered_over_processes(tmp_path):
    """Every process gets the rows and values of all, in the order of the ranks, whatever each has."""
    for said in by_processes(GATHERED, tmp_path):
        assert said == {"rows": [4, 5, 6], "losses": [0.5, 0.25, 2.0], "types": ["int64", "float32"]}
