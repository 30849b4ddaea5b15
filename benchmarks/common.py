"""What the benchmarks share: interleaved rounds, medians, and results that say where they come from."""

import datetime
import json
import os
import platform
import statistics
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from resload.bench.machine import processor

RESULTS = Path(__file__).parent / "results"
PACKAGES = ("resload", "torch", "numpy", "imagecodecs", "crc32c", "pyarrow", "zarr", "pydicom")


def interleaved(work: Mapping[str, Callable[[], float]], rounds: int) -> dict[str, list[float]]:
    """Each thing measured once a round, in turn, so that a machine that slows down slows all of them alike.

    A callable does its work and returns what it measured (seconds, or images/s). One round goes before and is not
    counted: it warms caches and threads.
    """
    measured: dict[str, list[float]] = {name: [] for name in work}
    for turn in range(rounds + 1):
        for name, once in work.items():
            value = once()
            if turn:
                measured[name].append(value)
    return measured


def seconds(once: Callable[[], object]) -> float:
    """How long one call takes."""
    begun = time.perf_counter()
    once()
    return time.perf_counter() - begun


def drained(batches: Iterable[object]) -> None:
    """Take everything and keep nothing."""
    for _ in batches:
        pass


def summary(values: Sequence[float]) -> dict[str, float]:
    """Median with the range it came from."""
    return {"median": statistics.median(values), "least": min(values), "most": max(values), "runs": len(values)}


def ratio(over: Sequence[float], under: Sequence[float]) -> float:
    """Median of the ratios round by round: what stays when the machine's speed drifts."""
    return statistics.median(a / b for a, b in zip(over, under, strict=True))


def environment() -> dict[str, object]:
    """Date, machine and versions."""
    versions = {}
    for name in PACKAGES:
        try:
            versions[name] = version(name)
        except PackageNotFoundError:
            continue
    return {
        "date": datetime.datetime.now(datetime.UTC).date().isoformat(),
        "processor": processor(),
        "cores": len(os.sched_getaffinity(0)),
        "system": f"{platform.system()} {platform.machine()}",
        "python": platform.python_version(),
        "versions": versions,
    }


def save(name: str, table: str, document: Mapping[str, object], folder: Path = RESULTS) -> None:
    """Print the table, and keep it and the numbers in a folder, benchmarks/results/ unless told otherwise."""
    where = environment()
    versions = ", ".join(f"{package} {number}" for package, number in where["versions"].items())  # type: ignore[attr-defined]
    head = f"{where['date']}, {where['processor']}, {where['cores']} cores, Python {where['python']}; {versions}."
    folder.mkdir(exist_ok=True)
    (folder / f"{name}.json").write_text(json.dumps({"environment": where, **document}, indent=1) + "\n")
    (folder / f"{name}.md").write_text(f"{table}\n\n{head}\n")
    print(f"{table}\n\n{head}")
