"""What one network is made of and given: its films, its batches in their order, what is true of them."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import Any, TypeAlias

import numpy as np
import torch
from numpy.typing import NDArray

from resload import samplers
from resload.devices import usable_device
from resload.loader import Loader
from resload.size import Size, as_size
from resload.store.cache import Cache
from resload.study import grid
from resload.study.films import Films, with_targets
from resload.study.folder import Folder
from resload.study.settings import Factory, Settings
from resload.study.tasks import Task, Values

Told: TypeAlias = Callable[[int, str], None]
"""Hears of pixels that were trained on, and how it goes."""


@dataclass
class Work:
    """One network's."""

    run: grid.Run
    name: str
    films: Films
    settings: Settings
    factory: Factory
    task: Task
    folder: Folder
    told: Told

    @cached_property
    def device(self) -> torch.device:
        """Where it is trained."""
        return usable_device(self.settings.device)

    @cached_property
    def cache(self) -> Cache:
        """The cache of its recipe, with its targets and no other."""
        curve = self.run.arm.curve
        cache = self.films.caches[curve.kernel, curve.fit]
        return cache if self.task.masks else with_targets(cache, self.run.targets)

    @cached_property
    def budget(self) -> grid.Budget:
        """How long it is trained."""
        return grid.budget(self.settings, self.run.arm.size, len(self.rows("train")))

    @property
    def columns(self) -> list[int]:
        """Places of its targets among the study's."""
        return [self.films.targets.index(target) for target in self.run.targets]

    def rows(self, split: str) -> NDArray[np.int64]:
        """Of training and validation films those of which something is known; every test film."""
        return self.films.rows["test"] if split == "test" else self.films.known(split, self.run.targets)

    def truth(self, split: str) -> Values:
        """(n, T) of these rows."""
        return self.films.values[self.rows(split)][:, self.columns]

    def test_sizes(self) -> list[Size]:
        """Its own, and others that are asked for."""
        arm = self.run.arm
        if arm.curve.control:
            return [arm.size]
        return list(dict.fromkeys([arm.size, *map(as_size, self.settings.test_sizes)]))

    def loader(self, split: str, size: Size | None = None) -> Loader:
        """Of a split: training films in the order of (seed, epoch), others in theirs."""
        settings, arm = self.settings, self.run.arm
        wanted = arm.size if size is None else size
        common: dict[str, Any] = {
            "device": self.device,
            "channels": settings.channels,
            "normalize": self.films.normalization,
            "columns": settings.columns,
            "masks": self.task.masks,
            "detail": arm.detail,
            "threads": settings.threads,
            "resident": settings.resident and arm.detail is None and not (split == "train" and settings.transform),
        }
        if split == "train":
            return Loader(self.cache, sampler=self._sampler(), transform=settings.transform, **common)
        batch = max(1, self.budget.batch_size * arm.size.pixels // wanted.pixels)  # as many pixels as a training step
        return Loader(self.cache, size=wanted, batch_size=batch, rows=self.rows(split), rank=0, world=1, **common)

    def _sampler(self) -> samplers.Sampler:
        settings = self.settings
        order = samplers.Balanced(self.run.targets[0]) if settings.balanced else samplers.Shuffle()
        own = settings.balanced or settings.batches == "steps"
        return samplers.Sampler(
            self.cache,
            rows=self.rows("train"),
            order=order,
            sizes=samplers.Fixed(self.run.arm.size),
            budget=samplers.Images(self.budget.batch_size),
            seed=self.run.seed,
            granule=1,
            epoch_steps=self.budget.steps if own else None,
            rank=0,
            world=1,
        )
