"""Plans: which radiographs, in which order, at which size, how many at a time. Pure; no pixels, no threads, no devices.

order    which rows, in which order    Sequential, Shuffle, BlockShuffle
sizes    at which resolution           Fixed, Cycle, Mix, Ramp, Stages, Scales, PerTarget
budget   how many images a step holds  Images, Pixels, Tokens
Sampler composes one of each into `Step`s: one global optimiser step is a list of `Key(index, size, draw)`.

Each is a plain object with one method; a user's own needs no base class and no registration.
"""

from resload.samplers.budgets import Budget, Images, Pixels, Tokens
from resload.samplers.columns import Columns
from resload.samplers.keys import Key, Step
from resload.samplers.orders import BlockShuffle, Order, Sequential, Shuffle
from resload.samplers.per_target import PerTarget
from resload.samplers.sampler import Sampler
from resload.samplers.schedules import Ramp, Stages
from resload.samplers.sizes import Cycle, Fixed, Mix, Scales, Sizes

__all__ = [
    "BlockShuffle", "Budget", "Columns", "Cycle", "Fixed", "Images", "Key", "Mix", "Order", "PerTarget", "Pixels",
    "Ramp", "Sampler", "Scales", "Sequential", "Shuffle", "Sizes", "Stages", "Step", "Tokens",
]  # fmt: skip
