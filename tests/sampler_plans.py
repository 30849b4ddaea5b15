"""Plans of all kinds, for hypothesis: orders, sizes, budgets, buckets, tails and lengths in all combinations."""

import warnings
from dataclasses import dataclass

import numpy as np
from hypothesis import assume, event, settings
from hypothesis import strategies as st
from torch.utils.data import RandomSampler

from resload.errors import ArgumentError
from resload.samplers import BlockShuffle, Fixed, Images, Mix, Sampler, Scales, Sequential, Shuffle
from resload.size import Size

GRANULES = (1, 2, 4, 8)
SIZES = (Size(32, 32), Size(64, 64), Size(48, 40))


# -- plans of all kinds ----------------------------------------------------------------------------------


@dataclass(frozen=True)
class Area:
    """Constant pixels: so many images of 64 x 64, more of smaller ones."""

    images: int

    def __call__(self, size):
        return max(1, self.images * 64 * 64 // size.pixels)


@dataclass(frozen=True)
class Turns:
    """Sizes in turn, as a user writes it; beginning with another in each epoch if asked."""

    sizes: tuple
    by_epoch: bool

    def at(self, step, *, epoch):
        return self.sizes[(step + epoch * self.by_epoch) % len(self.sizes)]


@dataclass(frozen=True)
class Pairs:
    """Two neighbours stay together, the last one alone when they are odd; in a shuffled order."""

    whole = True

    def positions(self, n, *, seed, epoch):
        units = np.append(np.arange(n), -1)[: n + n % 2].reshape(-1, 2)
        return units[Shuffle().positions(len(units), seed=seed, epoch=epoch)]


@dataclass(frozen=True)
class Oftener:
    """Every second row twice: an order that promises no row once."""

    def positions(self, n, *, seed, epoch):
        twice = np.repeat(np.arange(n), 1 + np.arange(n) % 2)
        return twice[Shuffle().positions(len(twice), seed=seed, epoch=epoch)]


ORDERS = {
    "Shuffle": lambda n: Shuffle(),
    "Sequential": lambda n: Sequential(),
    "BlockShuffle": lambda n: BlockShuffle(4, 2),
    "Pairs": lambda n: Pairs(),
    "Oftener": lambda n: Oftener(),
    "a list": lambda n: list(range(n))[::-1],
    "RandomSampler": lambda n: RandomSampler(range(n)),
}
WHOLE = ("Shuffle", "Sequential", "BlockShuffle", "Pairs")


@dataclass(frozen=True)
class Plan:
    """A plan in numbers, so that hypothesis prints and shrinks it."""

    n: int
    order: str
    sizes: object
    budget: object
    granule: int
    tail: str
    epoch_steps: int | None
    buckets: int
    seed: int

    def make(self, **place):
        """A new sampler, as a process makes it; of buckets that fill no step, a test of its own is warned."""
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", "[0-9]+ of [0-9]+ buckets are smaller than a step", UserWarning)
            return Sampler(
                self.n, order=ORDERS[self.order](self.n), sizes=self.sizes, budget=self.budget, granule=self.granule,
                tail=self.tail, epoch_steps=self.epoch_steps, seed=self.seed,
                buckets=self.values if self.buckets > 1 else None, **place,
            )  # fmt: skip

    @property
    def values(self):
        """Each row's bucket: pairs are of one kind."""
        return (np.arange(self.n) // 2 * 7919 % self.buckets).tolist()

    @property
    def largest(self):
        """Images in the largest step."""
        return max(self.budget(size) for size in SIZES)

    @property
    def worlds(self):
        """How many processes may share it."""
        return [world for world in (1, 2, 3, 4, 8) if self.granule % world == 0 or self.tail == "exact"]


@st.composite
def plans(draw, orders=tuple(ORDERS), tails=("drop", "pad", "exact"), streams=True, buckets=(1, 1, 2, 3)):
    """Plans that have at least a step."""
    granule = draw(st.sampled_from(GRANULES))
    kinds = draw(st.sampled_from([(0,), (0, 1), (0, 1, 2)]))
    sizes = tuple(SIZES[kind] for kind in kinds)
    stream = draw(st.booleans()) if streams else False
    mixes = [Mix(sizes), Mix(sizes, share_of="steps")]
    rule = draw(st.sampled_from([Fixed(sizes[-1]), *mixes, Turns(sizes, stream), Scales(*sizes)]))
    images = granule * draw(st.integers(2, 3)) + draw(st.integers(0, 5))
    plan = Plan(
        n=draw(st.integers(1, 300)),
        order=draw(st.sampled_from(orders)),
        sizes=rule,
        budget=draw(st.sampled_from([Images(images), Area(images)])),
        granule=granule,
        tail="drop" if stream else draw(st.sampled_from(tails)),
        epoch_steps=draw(st.integers(1, 9)) if stream else None,
        buckets=draw(st.sampled_from(buckets)),
        seed=draw(st.integers(0, 2**40)),
    )
    try:
        plan.make()
    except ArgumentError as exc:
        # which plans are refused, and how, is tested apart; anything else is a finding
        if "make no full step" not in str(exc) and "need epoch_steps" not in str(exc):
            raise
        assume(False)
    event(f"{plan.order}, {type(rule).__name__}, tail {plan.tail}, {'stream' if stream else 'passes'}")
    return plan


many = settings(max_examples=80, deadline=None)
some = settings(max_examples=40, deadline=None)

MIXED = Plan(203, "Shuffle", Mix(SIZES), Area(16), 8, "drop", None, 1, 5)
STREAM = Plan(203, "Shuffle", Turns(SIZES, True), Area(16), 8, "drop", 7, 2, 5)
