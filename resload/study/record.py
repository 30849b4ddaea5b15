"""The record of a finished network: one line of results.jsonl."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from resload.bench.machine import machine
from resload.study.cost import flops

if TYPE_CHECKING:
    from resload.study.tasks import Values
    from resload.study.training import Training

ENVIRONMENT = ("processor", "cores", "system", "python", "resload", "numpy", "torch")
"""Of what `bench.machine` tells."""


def record_of(training: "Training", answers: "Mapping[str, Values]") -> dict[str, Any]:
    """All there is to say of a network, as plain values. answers: {test size: (test films, targets)}."""
    work, budget = training.work, training.work.budget
    arm, settings = work.run.arm, work.settings
    seconds = training.seconds
    films = budget.batch_size * budget.steps * budget.epochs
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
        "batch_size": budget.batch_size,
        "lr": budget.lr,
        "steps": budget.steps * budget.epochs,
        "epochs": budget.epochs,
        "chosen_epoch": training.chosen + 1,
        "metric": work.task.metric,
        "tests": {size: _measured(training, kept) for size, kept in answers.items()},
        "history": training.history,
        "seconds": {name: round(value, 3) for name, value in seconds.items()},
        "images_per_second": films / seconds["train"] if seconds["train"] > 0 else None,
        "peak_bytes": training.peak.bytes(),
        "peak_of": "device" if work.device.type == "cuda" else "process",
        "parameters": sum(one.numel() for one in training.network.parameters()),
        "flops_per_image": flops(training.network, (settings.channels, *arm.size), work.device),
        "bytes_per_film": _bytes_per_film(training),
        "environment": _environment(training),
    }


def _measured(training: "Training", kept: "Values") -> dict[str, float | None]:
    """The metric of each target on the test films; None where nothing is known."""
    work = training.work
    values = work.task.measured(kept, work.truth("test"))
    return {target: None if np.isnan(value) else value for target, value in zip(work.run.targets, values, strict=True)}


def _bytes_per_film(training: "Training") -> int:
    """Of the stored pixels that an image is made from."""
    cache = training.work.cache
    level = cache.serving(training.work.run.arm.shows).level
    return int(level.pixels * cache.dtype.itemsize)


def _environment(training: "Training") -> dict[str, Any]:
    """What it ran on: on another machine or build, the last digits may differ."""
    found = machine(str(training.work.device))
    decoders = sorted({str(name) for name in training.work.cache.table["decoder"] if name})
    return {**{name: found[name] for name in ENVIRONMENT}, "decoders": decoders}
