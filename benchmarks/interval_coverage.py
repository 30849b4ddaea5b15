"""How often 95 % intervals hold the truth when few patients have the finding: a simulation.

    python benchmarks/interval_coverage.py            1,000 trials of each row, some minutes
    python benchmarks/interval_coverage.py --trials 50 --out FOLDER

Patients have one film each. Two networks of three seeds score them alike well; of their scores, which are Gaussian,
half is the patient's. The intervals are those of `resload.statistics`, and beside them plain percentiles of the same
resamples.
"""

import argparse
import json
import math
import time
from collections.abc import Callable
from pathlib import Path
from statistics import NormalDist
from typing import Any

import numpy as np

from resload.bench.machine import machine
from resload.statistics import Resampling
from resload.statistics.estimates import difference, estimate
from resload.statistics.metrics import Areas, measure

RESULTS = Path(__file__).parent / "results"
POSITIVES = (13, 32, 64)
AREAS = (0.80, 0.90, 0.97)
PATIENTS = 200
SEEDS = 3
REPEATS = 1000


def main() -> None:
    """Simulate every row, and write them."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--trials", type=int, default=1000, help="of each row (1000)")
    parser.add_argument("--out", type=Path, default=RESULTS, help="where to write (results/)")
    args = parser.parse_args()
    rows = [row(positives, area, args.trials) for positives in POSITIVES for area in AREAS]
    document = {"trials": args.trials, "patients": PATIENTS, "seeds": SEEDS, "repeats": REPEATS, "rows": rows}
    document |= {"machine": machine("cpu"), "date": time.strftime("%Y-%m-%d")}
    args.out.mkdir(parents=True, exist_ok=True)
    (args.out / "interval_coverage.json").write_text(json.dumps(document, indent=1) + "\n", encoding="utf-8")
    (args.out / "interval_coverage.md").write_text(markdown(document), encoding="utf-8")
    print(markdown(document))


def row(positives: int, area: float, trials: int) -> dict[str, Any]:
    """How often each kind of interval held the truth."""
    held = [trial(positives, area, number) for number in range(trials)]
    shares = {name: float(np.mean([one[name] for one in held])) for name in held[0]}
    return {"positives": positives, "area": area, **shares}


def trial(positives: int, area: float, number: int) -> dict[str, bool]:
    """Whether the intervals of one set of patients hold the true area, and the true difference, which is 0."""
    rng = np.random.default_rng((positives, round(1000 * area), number))
    labels = np.arange(PATIENTS) < positives
    shift = math.sqrt(2) * NormalDist().inv_cdf(area)
    shared = math.sqrt(0.5) * rng.normal(size=PATIENTS)
    arms = [shared + math.sqrt(0.5) * rng.normal(size=(SEEDS, PATIENTS)) + shift * labels for _ in range(2)]
    resampling = Resampling(np.arange(PATIENTS), repeats=REPEATS, seed=number)
    one, other = measure([Areas(arm, labels) for arm in arms], resampling, min(positives, PATIENTS - positives))
    return {
        "area_held": holds(estimate(one), area),
        "area_plain": inside(one.means(), area),
        "difference": holds(difference(one, other), 0.0),
        "difference_plain": inside(one.means() - other.means(), 0.0),
    }


def holds(found: Any, truth: float) -> bool:
    """Whether its interval does."""
    return bool(found.low <= truth <= found.high)


def inside(drawn: np.ndarray, truth: float) -> bool:
    """Whether plain percentiles do."""
    low, high = np.nanpercentile(drawn, (2.5, 97.5))
    return bool(low <= truth <= high)


def markdown(document: dict[str, Any]) -> str:
    """The rows as a table."""
    percent: Callable[[float], str] = lambda share: f"{100 * share:.1f} %"  # noqa: E731  # said four times below
    lines = [
        "| patients with the finding | true area | area | plain percentiles | difference | plain percentiles |",
        "|---:|---:|---:|---:|---:|---:|",
    ]
    lines += [
        f"| {one['positives']} of {document['patients']} | {one['area']:.2f} | {percent(one['area_held'])} "
        f"| {percent(one['area_plain'])} | {percent(one['difference'])} | {percent(one['difference_plain'])} |"
        for one in document["rows"]
    ]
    error = 100 * math.sqrt(0.95 * 0.05 / document["trials"])
    lines += [
        "",
        f"Intervals of 95 % that held the truth, of {document['trials']:,} simulated sets of patients each (standard "
        f"error {error:.1f} %), {document['seeds']} seeds, {document['repeats']:,} resamples; {document['date']}.",
    ]
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    main()
