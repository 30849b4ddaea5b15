"""A study as it stands: its networks, the curves they lie on, and what may be said of them.

records  one for each network --by curve and target-->  scores (S seeds, N films) for each size
         --statistics.compared-->  intervals, differences, ratio, plateau, ensemble
"""

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from resload.errors import StudyError
from resload.picture import png_path
from resload.size import Size, as_size
from resload.statistics import Comparison, adjusted, compared, repeats_for
from resload.store.commit import write_whole
from resload.study.folder import Folder
from resload.study.grid import Curve
from resload.study.tasks import KINDS

METRICS = {"auc": "auc", "mean absolute error": "error", "dice": "mean"}
"""Name of a network's metric -> `statistics.METRICS`."""


class Line(NamedTuple):
    """A curve for one target."""

    curve: Curve
    target: str


@dataclass(frozen=True)
class Point:
    """The networks of one curve, target and size."""

    records: tuple[Mapping[str, Any], ...]
    """By seed, ascending."""
    values: NDArray[np.float64]
    """(S, N): what is compared: probabilities of a finding, absolute errors, Dice coefficients; NaN where unknown."""


def opened(folder: str | os.PathLike[str]) -> "Study":
    """The study in a folder, as far as it is; also while it runs. Raises StudyError where none is."""
    return Study(folder)


class Study:
    """What is known of a study so far. What it says is worked out when it is asked for, and kept.

    Attributes:
        path: its folder.
        settings: what all its networks have in common (study.json), plain values.
        runs: the record of each network that is finished, plain values, in the order they ended.
    """

    def __init__(self, folder: str | os.PathLike[str]) -> None:
        self._folder = Folder(folder)
        self.path: Path = self._folder.path
        self.settings = self._folder.read()
        self.runs: tuple[Mapping[str, Any], ...] = tuple(self._folder.finished().values())

    def __repr__(self) -> str:
        return f"<Study {self.path}: {len(self.runs)} networks, {', '.join(self.targets) or 'no target'}>"

    # -- what was tried --

    @cached_property
    def targets(self) -> tuple[str, ...]:
        """That networks were trained for."""
        return tuple(dict.fromkeys(target for record in self.runs for target in record["targets"]))

    @cached_property
    def metric(self) -> str:
        """What is reported."""
        return KINDS[self.settings["task"]].metric

    @property
    def higher_is_better(self) -> bool:
        """Of the metric."""
        return KINDS[self.settings["task"]].higher_is_better

    @cached_property
    def reference(self) -> Size:
        """The size that others are compared with."""
        return as_size(self.settings["reference"])

    @cached_property
    def films(self) -> Mapping[str, NDArray[Any]]:
        """The test films: `rows` of the cache, `ids`, `patients` (numbers), `truth` (N, T), `targets`."""
        return self._folder.films()

    @cached_property
    def lines(self) -> tuple[Line, ...]:
        """Every curve for every target, in the order they were begun."""
        found = [Line(_curve(record), target) for record in self.runs for target in record["targets"]]
        return tuple(sorted(dict.fromkeys(found), key=lambda line: (line.curve.control, found.index(line))))

    def records(self, line: Line) -> list[Mapping[str, Any]]:
        """Of every network of a curve that learnt its target, in the order they ended."""
        return [one for one in self.runs if _curve(one) == line.curve and line.target in one["targets"]]

    def points(self, line: Line) -> dict[Size, Point]:
        """Size -> its networks, ascending. Of the control arm by the detail that is shown, ending with the networks
        of the size that it is enlarged to.

        Only seeds that every size has; sizes that have none of them yet are left out.
        """
        own = self.records(line)
        if line.curve.control:
            plain = Curve(line.curve.model, line.curve.kernel, line.curve.fit, control=False)
            served = {record["size"] for record in own}
            own += [one for one in self.records(Line(plain, line.target)) if one["size"] in served]
        by_size: dict[Size, dict[int, Mapping[str, Any]]] = {}
        for record in own:
            by_size.setdefault(as_size(record["shows"]), {})[record["seed"]] = record
        shared = self._shared({size: set(seeds) for size, seeds in by_size.items()})
        found = {}
        for size in sorted(by_size, key=lambda size: (size.pixels, size)):
            if shared <= set(by_size[size]):
                records = tuple(by_size[size][seed] for seed in sorted(shared))
                found[size] = Point(records, np.stack([self._values(record, line.target) for record in records]))
        return found

    @staticmethod
    def _shared(seeds: Mapping[Size, set[int]]) -> set[int]:
        """The seeds that every size has; while there is none, the first that any has."""
        return set.intersection(*seeds.values()) or {min(min(own) for own in seeds.values())}

    def _values(self, record: Mapping[str, Any], target: str) -> NDArray[np.float64]:
        """(N,) of one network, at its own size."""
        answers = self._predictions(record["run"])[record["size"]]
        kept = answers[:, record["targets"].index(target)].astype(np.float64)
        truth = self.truth(target)
        if self.metric == "auc":
            return np.asarray(1 / (1 + np.exp(-np.clip(kept, -700, 700))))
        return np.abs(kept - truth) if self.metric == "mean absolute error" else kept

    def _predictions(self, run: str) -> Mapping[str, NDArray[np.float32]]:
        if run not in self._read:
            self._read[run] = self._folder.predictions(run)
        return self._read[run]

    @cached_property
    def _read(self) -> dict[str, Mapping[str, NDArray[np.float32]]]:
        return {}

    def truth(self, target: str) -> NDArray[np.float64]:
        """(N,) of the test films, NaN where unknown."""
        return self.films["truth"][:, self.films["targets"].tolist().index(target)].astype(np.float64)

    # -- what may be said --

    @cached_property
    def comparisons(self) -> dict[Line, Comparison]:
        """Every line with at least one size, its differences corrected together with those of all others.

        Lines whose reference is not trained yet are compared with their largest size so far.
        """
        points = {line: found for line in self.lines if (found := self.points(line))}
        family = sum(len(found) for found in points.values())
        repeats = max(self.settings["repeats"], repeats_for(family))
        return adjusted({line: self._compared(line, found, repeats) for line, found in points.items()})

    def _compared(self, line: Line, points: Mapping[Size, Point], repeats: int) -> Comparison:
        classes = self.metric == "auc"
        return compared(
            {size: point.values for size, point in points.items()},
            self.truth(line.target) if classes else None,
            self.films["patients"].tolist(),
            metric=METRICS[self.metric],
            reference=self.reference if self.reference in points else max(points, key=lambda size: size.pixels),
            margin=self.settings["margin"],
            repeats=repeats,
        )

    def plateau(self, target: str, *, model: str | None = None) -> Size | None:
        """The smallest size that is as good as the reference, by the margin; None while the reference is not trained.

        Of the first curve with this target (and model). Raises StudyError for a target that was not learnt.
        """
        for line, comparison in self.comparisons.items():
            if line.target == target and not line.curve.control and model in (None, line.curve.model):
                if comparison.reference != self.reference:
                    return None
                found = comparison.plateau.size
                return self.reference if found is None else as_size(found)
        raise StudyError(f"{self.path}: no network was trained for {target!r} yet; there are {list(self.targets)}")

    @cached_property
    def table(self) -> pd.DataFrame:
        """One row for each curve, target and size: the metric with its interval, its difference to the reference, and
        what it costs (medians over seeds). A new frame's columns are named in the reference.
        """
        rows = [
            self._row(line, size, point.records)
            for line in self.comparisons
            for size, point in self.points(line).items()
        ]
        return pd.DataFrame(rows)

    def _row(self, line: Line, size: Size, records: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
        comparison = self.comparisons[line]
        value, difference = comparison.arms[size], comparison.differences.get(size)
        first = records[0]
        return {
            "target": line.target,
            "model": line.curve.model,
            "kernel": line.curve.kernel,
            "fit": line.curve.fit,
            "arm": "enlarged" if line.curve.control else "size",
            "size": first["size"],
            "shows": str(size),
            "metric": self.metric,
            "value": value.value,
            "low": value.low,
            "high": value.high,
            "sd_patients": value.sd_patients,
            "sd_seeds": value.sd_seeds,
            "seeds": len(value.seeds),
            "difference": None if difference is None else difference.value,
            "difference_low": None if difference is None else difference.low,
            "difference_high": None if difference is None else difference.high,
            "p": None if difference is None else difference.p,
            "p_holm": None if difference is None else difference.p_holm,
            "plateau": comparison.plateau.size == size or (comparison.plateau.size is None and difference is None),
            "films": comparison.films,
            "patients": comparison.patients,
            "batch_size": first["batch_size"],
            "lr": first["lr"],
            "steps": first["steps"],
            "train_seconds": _median(record["seconds"]["train"] for record in records),
            "images_per_second": _median(record["images_per_second"] for record in records),
            "peak_bytes": _median(record["peak_bytes"] for record in records),
            "flops_per_image": first["flops_per_image"],
            "bytes_per_film": first["bytes_per_film"],
        }

    @cached_property
    def across(self) -> pd.DataFrame:
        """Networks of each size at each test size: one row for each curve, target, training and test size, with the
        mean of the metric over seeds. Nothing but tests at their own size, where `test_sizes` was not asked for.
        """
        rows = [
            {"target": target, "model": record["model"], "kernel": record["kernel"], "fit": record["fit"],
             "trained": record["size"], "tested": size, "seed": record["seed"], "value": values[target]}
            for record in self.runs if not record["control"]
            for size, values in record["tests"].items() for target in record["targets"]
        ]  # fmt: skip
        if not rows:
            return pd.DataFrame()
        keys = ["target", "model", "kernel", "fit", "trained", "tested"]
        found: pd.DataFrame = pd.DataFrame(rows).groupby(keys, sort=False, as_index=False).agg(value=("value", "mean"))
        return found

    # -- as figures and a page --

    def draw(self, path: str | os.PathLike[str], *, dpi: int = 300) -> None:
        """Write figure 1, a PNG: the metric against size for each target, with intervals, seeds and control arms.

        Raises ArgumentError when path does not end in .png, MissingPackageError without matplotlib, and StudyError
        while no network is finished.
        """
        from resload.study import drawing

        target = png_path(path, "the figure", drawing.WHY)
        self._refuse_nothing()
        write_whole(drawing.sizes(self).png(dpi), target)

    def write_report(self, folder: str | os.PathLike[str] | None = None) -> Path:
        """Write `report.html`, a page that needs nothing beside it, with `figures/`, `table.csv` and `table.tex`.

        Into a folder, made if it is not there; the study's own when None. Files of an earlier report are replaced, each
        whole. The same study gives the same bytes. Returns the path of the page.

        Raises MissingPackageError without matplotlib, and StudyError while no network is finished.
        """
        from resload.study import reporting

        self._refuse_nothing()
        return reporting.write(self, self.path if folder is None else Path(folder))

    def _refuse_nothing(self) -> None:
        if not self.runs:
            raise StudyError(f"{self.path}: no network is finished yet, so there is nothing to report; run the study")


def _curve(record: Mapping[str, Any]) -> Curve:
    return Curve(record["model"], record["kernel"], record["fit"], record["control"])


def _median(values: Any) -> float | None:
    known = [float(value) for value in values if value is not None]
    return float(np.median(known)) if known else None
