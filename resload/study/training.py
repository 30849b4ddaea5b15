"""One network: trained, its best epoch chosen on the validation films, and tested.

    for each epoch    seeded by (seed, epoch)    train on the plan of (seed, epoch)    validate    keep the best
    every so often    the network, its optimiser and the best one so far are kept in the study's folder
    at the end        the best one answers for every test film, at every test size

Everything random is a function of (seed, epoch), so a network that goes on from what was kept is the one that it would
have become.
"""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from resload import seeds
from resload.batch import Batch
from resload.borrowed import seeded
from resload.errors import StudyError
from resload.loader import Loader
from resload.size import Size
from resload.study import grid, models
from resload.study.cost import Peak
from resload.study.record import record_of
from resload.study.settings import PRECISIONS
from resload.study.tasks import Values
from resload.study.work import Work

KEEP_SECONDS = 20.0
"""A network is kept at the end of an epoch when it was not for so long: what a kill can lose."""


class Training:
    """A network in training."""

    def __init__(self, work: Work) -> None:
        self.work, self._settings, self._device = work, work.settings, work.device
        with self._random(0):
            network = models.made(work.factory, len(work.run.targets), work.settings.channels, work.run.arm.size)
        self.network = network.to(self._device)
        self._optimizer = work.settings.optimizer(
            self.network.parameters(), lr=self.work.budget.lr, weight_decay=work.settings.weight_decay
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
        state = self.work.folder.saved(self.work.name)
        if state is None:
            return
        self.network.load_state_dict(state["network"])
        self._optimizer.load_state_dict(state["optimizer"])
        self._scaler.load_state_dict(state["scaler"])
        self.best, self.chosen = state["best"], state["chosen"]
        self.epoch, self.history, self.seconds = state["epoch"], state["history"], state["seconds"]
        self.work.told(self.epoch * self._pixels_of_epoch, self._words())

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
        self.work.folder.save(self.work.name, state)

    # -- training --

    @property
    def _pixels_of_epoch(self) -> int:
        return self.work.budget.steps * self.work.budget.batch_size * self.work.run.arm.size.pixels

    def finish(self) -> tuple[dict[str, Any], dict[str, Values]]:
        """Train to the end, and test: its record, and {test size: answers (test films, targets)}.

        Raises StudyError when its loss is not a number any more.
        """
        kept = time.monotonic()
        with self._repeatable(), self.work.loader("train") as training, self.work.loader("val") as validation:
            while self.epoch < self.work.budget.epochs:
                with self._random(self.epoch + 1), self._timed("train"):
                    loss = self._trained(training)
                with self._timed("validate"):
                    self._choose(validation, loss)
                self.epoch += 1
                if time.monotonic() - kept > KEEP_SECONDS and self.epoch < self.work.budget.epochs:
                    self._keep()
                    kept = time.monotonic()
        self.network.load_state_dict(self.best)
        with self._repeatable(), self._timed("test"):
            answers = {str(size): self._tested(size) for size in self.work.test_sizes()}
        return record_of(self, answers), answers

    def _trained(self, loader: Loader) -> float:
        """One epoch; its mean loss."""
        self.network.train()
        loader.set_epoch(self.epoch)
        total, count = torch.zeros((), device=self._device), 0
        for number, batch in enumerate(loader):
            step = self.epoch * self.work.budget.steps + number
            for group in self._optimizer.param_groups:
                group["lr"] = grid.rate(
                    self._settings.schedule, self.work.budget.lr, step, self.work.budget.epochs * self.work.budget.steps
                )
            loss = self._loss(batch)
            self._optimizer.zero_grad(set_to_none=True)
            self._scaler.scale(loss).backward()  # type: ignore[no-untyped-call]
            self._scaler.step(self._optimizer)
            self._scaler.update()
            total = total + loss.detach().float()  # not looked at: each step would wait for the device
            count += 1
            self.work.told(len(batch) * self.work.run.arm.size.pixels, self._words())
        return self._checked(float(total) / count)

    def _loss(self, batch: Batch) -> torch.Tensor:
        with self._autocast():
            if self._settings.train_step is not None:
                return self._settings.train_step(self.network, batch)
            outputs = self._outputs(batch)
        return self.work.task.loss(outputs, batch)

    def _outputs(self, batch: Batch) -> torch.Tensor:
        predict = self._settings.predict
        outputs: torch.Tensor = self.network(batch.images) if predict is None else predict(self.network, batch)
        return outputs

    def _checked(self, loss: float) -> float:
        if not np.isfinite(loss):
            raise StudyError(
                f"{self.work.run}: the loss is {loss} in epoch {self.epoch + 1}; a smaller lr= "
                "(or another precision=) may help. Networks that are finished are kept"
            )
        return loss

    # -- validation and test --

    def _choose(self, loader: Loader, loss: float) -> None:
        """Validate, and keep the network if it is the best so far: by the metric, among equals by the loss."""
        kept, validation = self._answers(loader, self.work.rows("val"))
        truth = self.work.truth("val")
        value = float(np.mean(self.work.task.measured(kept, truth)))
        told = {"train_loss": loss, "validation_loss": validation, "metric": value}
        self.history.append({name: one if np.isfinite(one) else None for name, one in told.items()})
        if self.chosen < 0 or self._rank(-1) > self._rank(self.chosen):
            self.chosen = self.epoch
            self.best = {name: one.detach().cpu().clone() for name, one in self.network.state_dict().items()}

    def _rank(self, epoch: int) -> tuple[float, float]:
        """Larger is better; what is no number is worst."""
        metric, loss = self.history[epoch]["metric"], self.history[epoch]["validation_loss"]
        sign = 1 if self.work.task.higher_is_better else -1
        return -np.inf if metric is None else sign * metric, -np.inf if loss is None else -loss

    def _tested(self, size: Size) -> Values:
        with self.work.loader("test", size) as loader:
            answers, _ = self._answers(loader, self.work.rows("test"))
        return answers

    def _answers(self, loader: Loader, rows: NDArray[np.int64]) -> tuple[Values, float]:
        """What the network says of these rows, in their order, (n, T); and its mean loss on their batches."""
        self.network.eval()
        place = {row: k for k, row in enumerate(rows.tolist())}
        found = np.full((len(rows), len(self.work.run.targets)), np.nan, np.float32)
        losses = []
        loader.set_epoch(0)
        with torch.no_grad():
            for batch in loader:
                with self._autocast():
                    outputs = self._outputs(batch)
                kept = self.work.task.kept(outputs, batch)
                found[[place[row] for row in batch.rows.tolist()]] = kept
                losses.append(float(self.work.task.loss(outputs, batch)))
        return found, float(np.mean(losses))

    # -- around --

    @contextmanager
    def _random(self, part: int) -> Iterator[None]:
        """Generators of torch, numpy and random seeded by (seed, part), and put back afterwards."""
        keys = seeds.generator(self.work.run.seed, part, "study")
        with torch.random.fork_rng([self._device] if self._device.type == "cuda" else []), seeded([], keys):
            if self._device.type == "cuda":
                torch.cuda.manual_seed(int(keys.integers(1 << 62)))
            yield

    @contextmanager
    def _repeatable(self) -> Iterator[None]:
        """On CUDA, cuDNN's convolutions are those that repeat; what else does not is the network's own affair."""
        if self._device.type != "cuda":
            yield
            return
        before = torch.backends.cudnn.deterministic, torch.backends.cudnn.benchmark
        torch.backends.cudnn.deterministic, torch.backends.cudnn.benchmark = True, False
        try:
            yield
        finally:
            torch.backends.cudnn.deterministic, torch.backends.cudnn.benchmark = before

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
        return f"{self.work.run}, epoch {self.epoch + 1}/{self.work.budget.epochs}{best}"
