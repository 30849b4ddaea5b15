"""Plans: which radiographs, in which order, at which size. Pure; no pixels, no threads, no devices.

order   which rows     Sequential, Shuffle
sizes   which size     Fixed, Scales
budget  how many       Images
Sampler composes one of each into `Step`s: one global optimiser step is a list of `Key(index, size, draw)`.
"""

from resload.samplers.budgets import Images
from resload.samplers.orders import Sequential, Shuffle
from resload.samplers.sampler import Key, Sampler, Step
from resload.samplers.sizes import Fixed, Scales

__all__ = ["Fixed", "Images", "Key", "Sampler", "Scales", "Sequential", "Shuffle", "Step"]
