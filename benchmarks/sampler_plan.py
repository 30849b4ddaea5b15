"""How long the plan of an epoch takes, and how much of a pixel budget its steps use.

    python benchmarks/sampler_plan.py [--films 112120 400000] [--rounds 9]

A plan is made once an epoch, on every process, before its first batch. Each row is one plan: its order, its sizes, and
what else changes the work. "epoch" is the time of an epoch's steps after the sampler was made; "resume" makes a fresh
sampler and enters epoch 100 at its middle, as a run that goes on does. Films are as many as ChestX-ray14 has, and about
as many as MIMIC-CXR; steps are those of `Pixels(256, at=512)`, 256 films of 512 x 512 or as many pixels of others.
"""

import argparse
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

import numpy as np
from common import interleaved, save, seconds, summary

from resload.samplers import BlockShuffle, Fixed, Mix, PerTarget, Pixels, Ramp, Sampler, Shuffle

BUDGET = Pixels(256, at=512)
MIX = Mix((256, 384, 512, 768))
LATE = 100
"""The epoch that a run goes on in."""


def plans(films: int) -> dict[str, Mapping[str, Any]]:
    """What is planned, by the name of its row."""
    steps = len(Sampler(films, sizes=MIX, budget=BUDGET))
    shapes = np.random.default_rng(0).integers(0, 8, films)
    return {
        "Shuffle, Fixed": {"order": Shuffle(), "sizes": Fixed(512)},
        "BlockShuffle, Fixed": {"order": BlockShuffle(), "sizes": Fixed(512)},
        "Shuffle, Mix of four": {"order": Shuffle(), "sizes": MIX},
        "BlockShuffle, Mix of four": {"order": BlockShuffle(), "sizes": MIX},
        "Shuffle, Fixed, eight buckets": {"order": Shuffle(), "sizes": Fixed(512), "buckets": shapes},
        "Shuffle, Mix of four, epoch_steps": {"order": Shuffle(), "sizes": MIX, "epoch_steps": steps},
        "Shuffle, Mix, eight buckets, epoch_steps": {"sizes": MIX, "buckets": shapes, "epoch_steps": steps},
        "Shuffle, Ramp, epoch_steps": {"sizes": Ramp(256, 480, start=5, end=50), "epoch_steps": steps},
        "Shuffle, a size for each finding": {"sizes": PerTarget({"nodule": 768, "cardiomegaly": 256})},
    }


def epoch_time(films: int, options: Mapping[str, Any]) -> Callable[[], float]:
    """Measures an epoch's steps, another epoch each time."""
    sampler, epochs = Sampler(films, budget=BUDGET, **options), iter(range(1_000_000))
    return lambda: seconds(lambda: list(sampler.steps(next(epochs))))


def resume_time(films: int, options: Mapping[str, Any]) -> float:
    """Seconds from a new sampler to the first step of the second half of a late epoch."""

    def resumed() -> object:
        sampler = Sampler(films, budget=BUDGET, **options)
        return next(sampler.steps(LATE, start=len(sampler) // 2))

    return seconds(resumed)


def budget_use(films: int, options: Mapping[str, Any]) -> tuple[float, float]:
    """The least and the mean share of the pixel budget that a step of the first epoch uses."""
    most = BUDGET.count * BUDGET.at.pixels
    used = [len(step) * step.size.pixels / most for step in Sampler(films, budget=BUDGET, **options).steps(0)]
    return min(used), float(np.mean(used))


def measured(films: int, rounds: int) -> dict[str, dict[str, object]]:
    """Every plan of so many films: times in seconds, and what it uses."""
    asked = plans(films)
    epochs = interleaved({name: epoch_time(films, options) for name, options in asked.items()}, rounds)
    resumes = interleaved({name: partial(resume_time, films, options) for name, options in asked.items()}, rounds)
    found: dict[str, dict[str, object]] = {}
    for name, options in asked.items():
        least, mean = budget_use(films, options)
        found[name] = {
            "steps": len(Sampler(films, budget=BUDGET, **options)),
            "epoch_seconds": summary(epochs[name]),
            "resume_seconds": summary(resumes[name]),
            "budget_use": {"least": least, "mean": mean},
        }
    return found


def lines(films: int, found: Mapping[str, Mapping[str, Any]]) -> list[str]:
    """The table of so many films."""
    head = [f"{films:,} films:", "", "| plan | steps | epoch, ms | resume, ms | budget used, least | mean |"]
    rows = [
        f"| {name} | {one['steps']:,} | {1000 * one['epoch_seconds']['median']:.1f} | "
        f"{1000 * one['resume_seconds']['median']:.1f} | {100 * one['budget_use']['least']:.1f} % | "
        f"{100 * one['budget_use']['mean']:.1f} % |"
        for name, one in found.items()
    ]
    return [*head, "|---|---|---|---|---|---|", *rows, ""]


def main() -> None:
    """Measure, print and keep."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--films", type=int, nargs="+", default=[112_120, 400_000])
    parser.add_argument("--rounds", type=int, default=9)
    args = parser.parse_args()
    results = {films: measured(films, args.rounds) for films in args.films}
    table = [line for films, found in results.items() for line in lines(films, found)]
    ends = f"Medians of {args.rounds} rounds; resume: a fresh sampler, to the middle of epoch {LATE}."
    save("sampler_plan", "\n".join([*table, ends]), {"rounds": args.rounds, "films": results})


if __name__ == "__main__":
    main()
