"""Which process this is, of how many: from arguments, torch.distributed, or the launcher's environment.

torch is asked only where a program has imported it: a process group cannot exist without it.
"""

import os
import sys
import warnings
from collections.abc import Mapping
from dataclasses import dataclass

from resload.errors import ArgumentError

LAUNCHERS = (
    ("torchrun", "RANK", "WORLD_SIZE"),
    ("SLURM", "SLURM_PROCID", "SLURM_STEP_NUM_TASKS"),
)
"""(who sets them, this process, how many), in the order in which they are believed.

torchrun: https://docs.pytorch.org/docs/stable/elastic/run.html#environment-variables. SLURM: srun's manual
(https://slurm.schedmd.com/srun.html, "OUTPUT ENVIRONMENT VARIABLES"): SLURM_PROCID is the rank of the process and
SLURM_STEP_NUM_TASKS the number of processes in the step. SLURM_NTASKS is of the job: in a batch script itself it counts
processes that run nothing of it.
"""


@dataclass(frozen=True)
class Place:
    """Process `rank` of `world`."""

    rank: int
    world: int
    source: str = "arguments"
    """Who said so."""

    def __post_init__(self) -> None:
        whole = all(isinstance(one, int) and not isinstance(one, bool) for one in (self.rank, self.world))
        if not (whole and 0 <= self.rank < self.world):
            raise ArgumentError(
                f"rank is one of 0 .. world - 1; found rank={self.rank!r} and world={self.world!r} ({self.source})"
            )


def place(rank: int | None = None, world: int | None = None, environment: Mapping[str, str] | None = None) -> Place:
    """This process's place: the arguments, else the process group's, else the launcher's, else the only one.

    Raises ArgumentError for one argument without the other, and for numbers that are no place.
    """
    if (rank is None) != (world is None):
        raise ArgumentError(f"rank and world go together; found rank={rank!r} and world={world!r}")
    if rank is not None and world is not None:
        return Place(rank, world)
    return _of_group() or _of_launcher(os.environ if environment is None else environment) or Place(0, 1, "nobody")


def said_aloud(found: Place, *, stacklevel: int = 3) -> Place:
    """The same, with a warning where several processes were started and no process group joins them."""
    if found.world > 1 and found.source not in ("arguments", "torch.distributed"):
        warnings.warn(
            f"{found.source} started {found.world} processes and torch.distributed has no process group: this one "
            f"loads part {found.rank} of every batch. Call torch.distributed.init_process_group first, or say rank= "
            "and world= (rank=0, world=1 loads whole batches in every process)",
            UserWarning,
            stacklevel=stacklevel,
        )
    return found


def refuse_dealing_twice(found: Place) -> None:
    """Raise ArgumentError where Accelerate asks a batch sampler for its first batch, and deals batches out itself.

    Its `prepare` gives batch i of a DataLoader to process i % world: of batches that are one process's part already,
    most images would be lost, silently. It leaves no trace on the sampler, so the frame that asks has to tell.
    """
    asking = sys._getframe(1).f_back  # of the sampler's generator
    if found.world > 1 and asking is not None and asking.f_globals.get("__name__") == "accelerate.data_loader":
        raise ArgumentError(
            f"Accelerate deals batches out over {found.world} processes, and this sampler's are one process's part "
            "already: pass batch_sampler=sampler.interleaved(accelerator.num_processes), or a resload.Loader"
        )


def _of_group() -> Place | None:
    torch = sys.modules.get("torch")
    group = getattr(torch, "distributed", None)
    if group is None or not group.is_available() or not group.is_initialized():
        return None
    return Place(group.get_rank(), group.get_world_size(), "torch.distributed")


def _of_launcher(environment: Mapping[str, str]) -> Place | None:
    for name, rank, world in LAUNCHERS:
        if rank in environment and world in environment:
            try:
                numbers = int(environment[rank]), int(environment[world])
            except ValueError as exc:
                found = f"{rank}={environment[rank]!r} and {world}={environment[world]!r}"
                raise ArgumentError(f"{name}'s environment must hold whole numbers; found {found}") from exc
            return Place(*numbers, name)
    return None
