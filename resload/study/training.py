"""One network: trained, its best epoch chosen on the validation films, and tested.

    for each epoch    seeded by (seed, epoch)    train on the plan of (seed, epoch)    validate    keep the best
    every so often    the network, its optimiser and the best one so far are kept in the study's folder
    at the end        the best one answers for every test film, at every test size

Everything random is a function of (seed, epoch), so a network that goes on from what was kept is the one that it would
have become.
"""

import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
import torch
from numpy.typing import NDArray

from resload import samplers, seeds
from resload.batch import Batch
from resload.bench.machine import machine
from resload.borrowed import seeded
from resload.devices import usable_device
from resload.errors import StudyError
from resload.loader import Loader
from resload.size import Size, as_size
from resload.store.cache import Cache
from resload.study import grid, models
from resload.study.cost import Peak, flops
from resload.study.films import Films, with_targets
from resload.study.folder import Folder
from resload.study.settings import PRECISIONS, Factory, Settings
from resload.study.tasks import Task, Values

KEEP_SECONDS = 20.0
"""A network is kept at the end of an epoch when it was not for so long: what a kill can lose."""

Told: TypeAlias = Callable[[int, str], None]
"""Hears of pixels that were trained on, and how it goes."""


@dataclass
class Work:
    """What one network is made of and from."""

    run: grid.Run
    name: str
    films: Films
    settings: Settings
    factory: Factory
    task: Task
    folder: Folder
    told: Told


class Training:
    """A network in training."""

    def __init__(self, work: Work) -> None:
        self._work, self._settings = work, work.settings
        self._device = usable_device(work.settings.device)
        arm = work.run.arm
        self._cache = with_targets_of(work)
        self._rows = work.films.known("train", work.run.targets)
        self.budget = grid.budget(work.settings, arm.size, len(self._rows))
        with self._random(0):
            size, channels = arm.size, work.settings.channels
            network = models.made(work.factory, len(work.run.targets), channels, size)
        self.network = network.to(self._device)
        self._optimizer = work.settings.optimizer(
            self.network.parameters(), lr=self.budget.lr, weight_decay=work.settings.weight_decay
        )
        self._scaler = torch.amp.GradScaler(self._device.type, enabled=work.settings.precision == "float16")
        self.epoch = 0
        self.best: dict[str, torch.Tensor] = {}
        self.chosen = -1
        self.history: list[dict[str, float | None]] = []
        self.seconds = {"train": 0.0, "validate": 0.0, "test": 0.0}
        self.peak = Peak(self._device)
        self._go_on()

    # -- what is kept while it is under way --

    def _go_on(self) -> None:
        """From where an earlier process was, if one was."""
        state = self._work.folder.saved(self._work.name)
        if state is None:
            return
        self.network.load_state_dict(state["network"])
        self._optimizer.load_state_dict(state["optimizer"])
        self._scaler.load_state_dict(state["scaler"])
        self.best, self.chosen = state["best"], state["chosen"]
        self.epoch, self.history, self.seconds = state["epoch"], state["history"], state["seconds"]
        self._work.told(self.epoch * self._pixels_of_epoch, self._words())

    def _keep(self) -> None:
        state = {
            "network": self.network.state_dict(),
            "optimizer": self._optimizer.state_dict(),
            "scaler": self._scaler.state_dict(),
            "best": self.best,
            "chosen": self.chosen,
            "epoch": self.epoch,
            "history": self.history,
            "seconds": self.seconds,
        }
        self._work.folder.save(self._work.name, state)

    # -- training --

    @property
    def _pixels_of_epoch(self) -> int:
        return self.budget.steps * self.budget.batch_size * self._work.run.arm.size.pixels

    def finish(self) -> tuple[dict[str, Any], dict[str, Values]]:
        """Train to the end, and test: its record, and {test size: answers (test films, targets)}.

        Raises StudyError when its loss is not a number any more.
        """
        kept = time.monotonic()
        with self._loader("train") as training, self._loader("val") as validation:
            while self.epoch < self.budget.epochs:
                with self._random(self.epoch + 1), self._timed("train"):
                    loss = self._trained(training)
                with self._timed("validate"):
                    self._choose(validation, loss)
                self.epoch += 1
                if time.monotonic() - kept > KEEP_SECONDS and self.epoch < self.budget.epochs:
                    self._keep()
                    kept = time.monotonic()
        self.network.load_state_dict(self.best)
        with self._timed("test"):
            answers = {str(size): self._tested(size) for size in self._test_sizes()}
        return self._record(answers), answers

    def _trained(self, loader: Loader) -> float:
        """One epoch; its mean loss."""
        self.network.train()
        loader.set_epoch(self.epoch)
        total, count = 0.0, 0
        for number, batch in enumerate(loader):
            step = self.epoch * self.budget.steps + number
            for group in self._optimizer.param_groups:
                group["lr"] = grid.rate(
                    self._settings.schedule, self.budget.lr, step, self.budget.epochs * self.budget.steps
                )
            loss = self._loss(batch)
            self._optimizer.zero_grad(set_to_none=True)
            self._scaler.scale(loss).backward()  # type: ignore[no-untyped-call]
            self._scaler.step(self._optimizer)
            self._scaler.update()
            total, count = total + float(loss.detach()), count + 1
            self._check(total)
            self._work.told(len(batch) * self._work.run.arm.size.pixels, self._words())
        return total / max(1, count)

    def _loss(self, batch: Batch) -> torch.Tensor:
        with self._autocast():
            if self._settings.train_step is not None:
                return self._settings.train_step(self.network, batch)
            outputs = self._outputs(batch)
        return self._work.task.loss(outputs, batch)

    def _outputs(self, batch: Batch) -> torch.Tensor:
        predict = self._settings.predict
        outputs: torch.Tensor = self.network(batch.images) if predict is None else predict(self.network, batch)
        return outputs

    def _check(self, total: float) -> None:
        if not np.isfinite(total):
            raise StudyError(
                f"{self._work.run}: the loss is {total} in epoch {self.epoch + 1}; a smaller lr= "
                "(or another precision=) may help. Networks that are finished are kept"
            )

    # -- validation and test --

    def _choose(self, loader: Loader, loss: float) -> None:
        """Validate, and keep the network if it is the best so far: by the metric, among equals by the loss."""
        kept, validation = self._answers(loader, self._work.films.known("val", self._work.run.targets))
        truth = self._truth("val")
        value = float(np.mean(self._work.task.measured(kept, truth)))
        self.history.append({"train_loss": loss, "validation_loss": validation, "metric": value})
        if self.chosen < 0 or self._rank(-1) > self._rank(self.chosen):
            self.chosen = self.epoch
            self.best = {name: one.detach().cpu().clone() for name, one in self.network.state_dict().items()}

    def _rank(self, epoch: int) -> tuple[float, float]:
        """Larger is better."""
        told = self.history[epoch]
        metric, loss = told["metric"] or 0.0, told["validation_loss"]
        return (metric if self._work.task.higher_is_better else -metric), -(loss or 0.0)

    def _tested(self, size: Size) -> Values:
        with self._loader("test", size) as loader:
            answers, _ = self._answers(loader, self._work.films.rows["test"])
        return answers

    def _answers(self, loader: Loader, rows: NDArray[np.int64]) -> tuple[Values, float]:
        """What the network says of these rows, in their order, (n, T); and its mean loss on their batches."""
        self.network.eval()
        place = {row: k for k, row in enumerate(rows.tolist())}
        found = np.full((len(rows), len(self._work.run.targets)), np.nan, np.float32)
        losses = []
        loader.set_epoch(0)
        with torch.no_grad():
            for batch in loader:
                with self._autocast():
                    outputs = self._outputs(batch)
                kept = self._work.task.kept(outputs, batch)
                found[[place[row] for row in batch.rows.tolist()]] = kept
                losses.append(float(self._work.task.loss(outputs, batch)))
        return found, float(np.mean(losses))

    def _truth(self, split: str) -> Values:
        films, targets = self._work.films, self._work.run.targets
        columns = [films.targets.index(target) for target in targets]
        return films.values[films.known(split, targets)][:, columns]

    def _test_sizes(self) -> list[Size]:
        arm = self._work.run.arm
        if arm.curve.control:
            return [arm.size]
        return list(dict.fromkeys([arm.size, *map(as_size, self._settings.test_sizes)]))

    # -- loaders --

    def _loader(self, split: str, size: Size | None = None) -> Loader:
        """Of a split: training films in the order of (seed, epoch), others in theirs."""
        settings, arm = self._settings, self._work.run.arm
        wanted = arm.size if size is None else size
        common: dict[str, Any] = {
            "device": self._device,
            "channels": settings.channels,
            "normalize": self._work.films.normalization,
            "columns": settings.columns,
            "masks": self._work.task.masks,
            "detail": arm.detail,
            "threads": settings.threads,
            "resident": settings.resident and arm.detail is None and not (split == "train" and settings.transform),
        }
        if split == "train":
            return Loader(self._cache, sampler=self._sampler(), transform=settings.transform, **common)
        rows = (
            self._work.films.rows["test"] if split == "test" else self._work.films.known(split, self._work.run.targets)
        )
        return Loader(
            self._cache, size=wanted, batch_size=self._evaluated_at(wanted), rows=rows, rank=0, world=1, **common
        )

    def _sampler(self) -> samplers.Sampler:
        settings = self._settings
        order = samplers.Balanced(self._work.run.targets[0]) if settings.balanced else samplers.Shuffle()
        own = settings.balanced or settings.batches == "steps"
        return samplers.Sampler(
            self._cache,
            rows=self._rows,
            order=order,
            sizes=samplers.Fixed(self._work.run.arm.size),
            budget=samplers.Images(self.budget.batch_size),
            seed=self._work.run.seed,
            granule=1,
            epoch_steps=self.budget.steps if own else None,
            rank=0,
            world=1,
        )

    def _evaluated_at(self, size: Size) -> int:
        """Films of a batch that is not trained on: as many pixels as a training step has, and one at least."""
        return max(1, self.budget.batch_size * self._work.run.arm.size.pixels // size.pixels)

    # -- around --

    @contextmanager
    def _random(self, part: int) -> Iterator[None]:
        """Generators of torch, numpy and random seeded by (seed, part), and put back afterwards."""
        keys = seeds.generator(self._work.run.seed, part, "study")
        with torch.random.fork_rng([self._device] if self._device.type == "cuda" else []), seeded([], keys):
            if self._device.type == "cuda":
                torch.cuda.manual_seed(int(keys.integers(1 << 62)))
            yield

    @contextmanager
    def _timed(self, what: str) -> Iterator[None]:
        begun = time.perf_counter()
        yield
        if self._device.type == "cuda":
            torch.cuda.synchronize(self._device)
        self.seconds[what] += time.perf_counter() - begun

    def _autocast(self) -> torch.autocast:
        dtype = PRECISIONS[self._settings.precision]
        return torch.autocast(self._device.type, dtype, enabled=dtype is not None)

    def _words(self) -> str:
        best = "" if self.chosen < 0 else f", best {self.history[self.chosen]['metric']:.3f}"
        return f"{self._work.run}, epoch {self.epoch + 1}/{self.budget.epochs}{best}"

    def _record(self, answers: Mapping[str, Values]) -> dict[str, Any]:
        """All there is to say of this network, as plain values."""
        work, arm = self._work, self._work.run.arm
        films = self.budget.batch_size * self.budget.steps * self.budget.epochs
        columns = [work.films.targets.index(target) for target in work.run.targets]
        truth = work.films.values[work.films.rows["test"]][:, columns]
        tests = {
            size: {
                target: None if np.isnan(value) else value
                for target, value in zip(work.run.targets, work.task.measured(kept, truth), strict=True)
            }
            for size, kept in answers.items()
        }
        return {
            "run": work.name,
            "targets": list(work.run.targets),
            "model": arm.curve.model,
            "kernel": arm.curve.kernel,
            "fit": arm.curve.fit,
            "control": arm.curve.control,
            "size": str(arm.size),
            "shows": str(arm.shows),
            "seed": work.run.seed,
            "batch_size": self.budget.batch_size,
            "lr": self.budget.lr,
            "steps": self.budget.steps * self.budget.epochs,
            "epochs": self.budget.epochs,
            "chosen_epoch": self.chosen + 1,
            "metric": work.task.metric,
            "tests": tests,
            "history": self.history,
            "seconds": {name: round(value, 3) for name, value in self.seconds.items()},
            "images_per_second": films / self.seconds["train"] if self.seconds["train"] > 0 else None,
            "peak_bytes": self.peak.bytes(),
            "peak_of": "device" if self._device.type == "cuda" else "process",
            "parameters": sum(one.numel() for one in self.network.parameters()),
            "flops_per_image": flops(self.network, (self._settings.channels, *arm.size), self._device),
            "bytes_per_film": bytes_per_film(self._cache, arm.shows),
            "environment": self._environment(),
        }

    def _environment(self) -> dict[str, Any]:
        """What it ran on: of another machine or build, the last digits may differ."""
        found = machine(str(self._device))
        names = ("processor", "cores", "system", "python", "resload", "numpy", "torch")
        return {**{name: found[name] for name in names}, "decoders": list(decoders_of_rows(self._cache))}


def with_targets_of(work: Work) -> Cache:
    """The cache of a run's recipe, with its targets and no other."""
    curve = work.run.arm.curve
    cache = work.films.caches[curve.kernel, curve.fit]
    return cache if work.task.masks else with_targets(cache, work.run.targets)


def decoders_of_rows(cache: Cache) -> tuple[str, ...]:
    """What decoded the films that a cache holds."""
    return tuple(sorted({str(name) for name in cache.table["decoder"] if name}))


def bytes_per_film(cache: Cache, size: Size) -> int:
    """Of the stored pixels that a film of this size is made from."""
    level = cache.serving(size).level
    return int(level.pixels * cache.dtype.itemsize)
