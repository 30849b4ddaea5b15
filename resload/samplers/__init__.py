"""Plans: which radiographs, in which order, at which size, how many at a time. Pure; no pixels, no threads, no devices.

order    which rows, in which order    Sequential, Shuffle, BlockShuffle
sizes    at which resolution           Fixed, Mix, Scales
budget   how many images a step holds  Images
Sampler composes one of each into `Step`s: one global optimiser step is a list of `Key(index, size, draw)`.

Each is a plain object with one method; a user's own needs no base class and no registration. A list of positions or any
torch Sampler or BatchSampler is an order too.
"""

from resload.samplers.budgets import Budget, Images
from resload.samplers.columns import Columns
from resload.samplers.keys import Key, Step
from resload.samplers.orders import BlockShuffle, Order, Sequential, Shuffle
from resload.samplers.sampler import Sampler
from resload.samplers.sizes import Fixed, Mix, Scales, Sizes

__all__ = [
    "BlockShuffle", "Budget", "Columns", "Fixed", "Images", "Key", "Mix", "Order", "Sampler", "Scales", "Sequential",
    "Shuffle", "Sizes", "Step",
]  # fmt: skip
