"""What tests of frameworks share: small plans, what they must serve, and programs of several processes."""

import json
import os
import subprocess
import sys
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import torch
from loading import NumberReader

from resload import Loader, torch_dataset
from resload.samplers import Fixed, Images, Mix, Sampler
from resload.size import Size

HERE = Path(__file__).parent
N = 27
"""Films: no multiple of any batch here, so that every epoch leaves some out."""

Served = list[tuple[list[int], Size]]
"""(rows, size) of batches, in their order."""


@dataclass(frozen=True)
class ConstantPixels:
    """So many images at one size, and as many pixels at the others: a budget of a user's own."""

    reference: int
    at: int

    def __call__(self, size: Size) -> int:
        return self.reference * self.at**2 // size.pixels


PLANS = {
    "fixed": {"sizes": Fixed(4), "budget": Images(4)},
    "mixed": {"sizes": Mix({4: 2, 8: 1}), "budget": ConstantPixels(2, at=8)},
}


def plan(name: str = "mixed", n: int = N, **options) -> Sampler:
    """6 steps of 4 images of 4 x 4, or 7 of 8 images of 4 x 4 and 2 of 8 x 8."""
    return Sampler(NumberReader(n), **{"seed": 5} | PLANS[name] | options)


def loader_of(name: str = "mixed", **options) -> Loader:
    """A Loader of the plan."""
    sampler = plan(name)
    return Loader(NumberReader(sampler.n), sampler=sampler, **options)


def dataset():
    """A map-style data set of the same films; an image is full of its row."""
    return torch_dataset(NumberReader(N), size=4, dtype=torch.uint16)


def expected(sampler: Sampler, epoch: int, rank: int = 0, world: int = 1) -> Served:
    """What a process must be served in an epoch, from the global plan."""
    return [(step.part(rank, world).index.tolist(), step.size) for step in sampler.steps(epoch)]


def told(batch) -> tuple[list[int], Size]:
    """(rows, size) of a resload Batch, or of (images full of their row, targets)."""
    if hasattr(batch, "rows"):
        return batch.rows.tolist(), batch.size
    images, targets = batch
    rows = images[:, 0, 0, 0].to(torch.int64).tolist()
    assert rows == targets[:, 0].to(torch.int64).tolist()
    return rows, Size(*images.shape[-2:])


def all_told(batches: Iterable) -> Served:
    """The same of each."""
    return [told(batch) for batch in batches]


def by_processes(script: str, folder: Path, world: int = 2, **variables: str) -> list:
    """What each process of a program said by `say`, in rank order; torchrun starts them on one thread each.

    A script begins with `from frameworks import say`; a process that fails, or hangs for two minutes, fails the test.
    """
    path = folder / "script.py"
    path.write_text(script, encoding="utf-8")
    environment = os.environ | {
        "SAID": str(folder), "OMP_NUM_THREADS": "1", "PYTHONPATH": f"{HERE}:{os.environ.get('PYTHONPATH', '')}",
    } | variables  # fmt: skip
    done = subprocess.run(
        [sys.executable, "-m", "torch.distributed.run", "--standalone", f"--nproc-per-node={world}", path],
        env=environment, cwd=folder, text=True, capture_output=True, check=False, timeout=120,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return [json.loads((folder / f"{rank}.json").read_text()) for rank in range(world)]


def say(value) -> None:
    """From a process of `by_processes`: what the test is to see, as JSON."""
    Path(os.environ["SAID"], f"{os.environ['RANK']}.json").write_text(json.dumps(value))
