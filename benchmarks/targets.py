"""The targets of the design, line by line, against the committed results: reached, or by how much not.

    python benchmarks/targets.py

Run it after compare.py, cached_loading.py, build_cost.py, any_size.py and mixed_sizes.py. Nothing is measured here:
each line is computed from benchmarks/results/*.json, and says from which. Why a line is not reached is seen in
limits.md and png_routes.md.
"""

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from common import RESULTS

Results = Mapping[str, Any]
FFCV = "FFCV"
MEMORY = 'resload, access="memory"'
CEILING = "ceiling"


@dataclass(frozen=True)
class Target:
    """One number that the design asks for."""

    work: str
    asked: str
    limit: float
    found: Callable[[Results], float]
    source: str
    """The results it is computed from."""
    at_most: bool = False
    unit: str = ""

    def line(self, results: Results) -> str:
        """Of the table."""
        value = self.found(results)
        reached = value <= self.limit if self.at_most else value >= self.limit
        told = "yes" if reached else f"{100 * abs(value / self.limit - 1):.0f} % {'over' if self.at_most else 'short'}"
        return f"| {self.work} | {self.asked} | {value:.3g}{self.unit} | {told} | {self.source} |"


def rate(results: Results, question: str, label: str) -> float:
    """Median images/s of a row of the comparison; 0 where it was not measured."""
    rows = results["compare"]["questions"][question]["rows"]
    return next((row["rate"]["median"] for row in rows if row["label"] == label and not row["reason"]), 0.0)


def best_other(results: Results, question: str) -> float:
    """The fastest that is neither ours nor a ceiling."""
    rows = results["compare"]["questions"][question]["rows"]
    others = [row for row in rows if not row["reason"] and not row["label"].startswith(("resload", CEILING))]
    return max((row["rate"]["median"] for row in others), default=float("nan"))


def against(question: str, label: str, other: str) -> Callable[[Results], float]:
    return lambda results: rate(results, question, label) / (rate(results, question, other) or float("nan"))


def cached(side: int, name: str, ceiling: str) -> Callable[[Results], float]:
    return lambda results: results["cached_loading"]["levels"][str(side)]["ratios"][name][ceiling]


def beside_next(label: str) -> Callable[[Results], float]:
    return lambda results: rate(results, "float256", label) / best_other(results, "float256")


def slowdown(dtype: str) -> Callable[[Results], float]:
    """How much longer an epoch takes whose size changes with every batch."""

    def found(results: Results) -> float:
        times = results["mixed_sizes"]["seconds"]
        return times[f"{dtype}, mixed"]["median"] / times[f"{dtype}, one after another"]["median"]

    return found


def cost(case: str, what: str) -> Callable[[Results], float]:
    return lambda results: results["build_cost"]["cases"][case]["ratios"][what]


GATHER = ">= 0.5 of a two-thread gather"
DALI = ">= 2 of DALI on the CPU"
CACHED = "cached 256 x 256 uint8, verified"
FLOATS = "cached 256 x 256 float32, normalised"
TARGETS = (
    Target(CACHED, ">= 1.5 of FFCV", 1.5, against("stored256", "resload", FFCV), "compare"),
    Target(f"{CACHED}, levels kept in memory", ">= 1.5 of FFCV", 1.5, against("stored256", MEMORY, FFCV), "compare"),
    Target(CACHED, GATHER, 0.5, cached(256, "Loader", "take 2"), "cached_loading"),
    Target(f"{CACHED}, buffers alike", ">= 0.5", 0.5, cached(256, "Loader", "take 2 kept"), "cached_loading"),
    Target(f"{CACHED}, kept in memory", ">= 0.5", 0.5, cached(256, "Loader memory", "take 2"), "cached_loading"),
    Target("cached 64 x 64 uint8", GATHER, 0.5, cached(64, "Loader", "take 2"), "cached_loading"),
    Target(FLOATS, ">= 0.5 of writing floats", 0.5, cached(256, "Loader f32", "write f32 2"), "cached_loading"),
    Target(f"{FLOATS}, buffers alike", ">= 0.5", 0.5, cached(256, "Loader f32", "write f32 2 kept"), "cached_loading"),
    Target(
        f"{FLOATS}, kept in memory, buffers alike", ">= 0.5", 0.5, cached(256, "Loader memory f32", "write f32 2 kept"),
        "cached_loading",
    ),
    Target(FLOATS, ">= 1.5 of the next best", 1.5, beside_next("resload"), "compare"),
    Target(f"{FLOATS}, kept in memory", ">= 1.5 of the next best", 1.5, beside_next(MEMORY), "compare"),
    Target(
        "1024 px PNG to 256 px", ">= 0.95 of imagecodecs alone", 0.95,
        against("source256", "resload", "imagecodecs, decoding alone"), "compare",
    ),
    Target(
        "1024 px PNG to 256 px", ">= 1.2 of DataLoader + Pillow", 1.2,
        against("source256", "resload", "DataLoader + Pillow, 2 workers"), "compare",
    ),
    Target("1024 px PNG to 256 px", DALI, 2.0, against("source256", "resload", "DALI CPU"), "compare"),
    Target(
        "nine levels, 1024 px PNG", "<= 1.4 of decoding alone", 1.4, cost("1024 x 1024", "pipeline"), "build_cost",
        at_most=True,
    ),
    Target(
        "nine levels, PNG of mixed shapes", "<= 1.4 of decoding alone", 1.4, cost("mixed shapes", "pipeline"),
        "build_cost", at_most=True,
    ),
    Target(
        "nine levels of 2048 x 2048, 16 bit", "<= 45 ms", 45, lambda found: found["build_cost"]["deep"]["median"],
        "build_cost", at_most=True, unit=" ms",
    ),
    Target(
        "64 images 512 -> 320 by composite, one core", "<= 40 ms", 40,
        lambda found: found["any_size"]["ms"]["composite"]["median"], "any_size", at_most=True, unit=" ms",
    ),
    Target(
        "memory of a build with two threads", "< 1 GB", 1000, lambda found: found["build_cost"]["peak_mb"]["256"],
        "build_cost", at_most=True, unit=" MB",
    ),
    Target(
        "the same, 256 films against 64", "flat", 1.1,
        lambda found: found["build_cost"]["peak_mb"]["256"] / found["build_cost"]["peak_mb"]["64"], "build_cost",
        at_most=True,
    ),
    Target(
        "opening a cache of 112,120", "< 1 s", 1, lambda found: found["cached_loading"]["opening"]["open"],
        "cached_loading", at_most=True, unit=" s",
    ),
    Target(
        "import resload", "< 0.3 s", 0.3, lambda found: found["cached_loading"]["opening"]["import"], "cached_loading",
        at_most=True, unit=" s",
    ),
    Target(
        "changing the size with every batch, uint8", "no cost", 1.01, slowdown("uint8 as stored"), "mixed_sizes",
        at_most=True,
    ),
    Target(
        "changing the size with every batch, float32", "no cost", 1.01, slowdown("float32, normalised"), "mixed_sizes",
        at_most=True,
    ),
)  # fmt: skip


def main() -> None:
    names = sorted({target.source for target in TARGETS})
    results = {name: json.loads((RESULTS / f"{name}.json").read_text()) for name in names}
    table = "| work | asked for | found | reached | from |\n|---|---|---|---|---|\n"
    table += "\n".join(target.line(results) for target in TARGETS)
    dates = "; ".join(
        f"{name}: {one['environment']['date']}, {one['environment']['processor']}, {one['environment']['cores']} cores"
        for name, one in results.items()
    )
    text = f"{table}\n\n{dates}.\n"
    (RESULTS / "targets.md").write_text(text)
    print(text)


if __name__ == "__main__":
    main()
