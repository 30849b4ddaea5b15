"""Plans: which radiographs, in which order, at which size, how many at a time. Pure; no pixels, no threads, no devices.

    order     which rows, in which order      Sequential, Shuffle, BlockShuffle, Balanced, RepeatFactor, Weighted,
                                              OnePer, Groups
    sizes     at which resolution             Fixed, Cycle, Mix, Ramp, Stages, Scales, PerTarget
    budget    how many images a step holds    Images, Pixels, Tokens

Sampler composes one of each into `Step`s: one global optimiser step is a list of `Key(index, size, draw)`.

Each is a plain object with one method; a user's own needs no base class and no registration. A list of positions or any
torch Sampler or BatchSampler is an order too.
"""

from resload.samplers.balance import Balanced, RepeatFactor
from resload.samplers.budgets import Budget, Images, Pixels, Tokens
from resload.samplers.columns import Columns
from resload.samplers.exams import Groups, OnePer
from resload.samplers.keys import Key, Step
from resload.samplers.orders import BlockShuffle, Order, Sequential, Shuffle
from resload.samplers.per_target import PerTarget
from resload.samplers.sampler import Sampler
from resload.samplers.schedules import Ramp, Stages
from resload.samplers.sizes import Cycle, Fixed, Mix, Scales, Sizes
from resload.samplers.weighted import Weighted

__all__ = [
    "Balanced", "BlockShuffle", "Budget", "Columns", "Cycle", "Fixed", "Groups", "Images", "Key", "Mix", "OnePer",
    "Order", "PerTarget", "Pixels", "Ramp", "RepeatFactor", "Sampler", "Scales", "Sequential", "Shuffle", "Sizes",
    "Stages", "Step", "Tokens", "Weighted",
]  # fmt: skip
