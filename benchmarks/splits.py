"""How evenly splits share out findings, with whole patients: by films and targets, or by films alone.

    python benchmarks/splits.py [--table FILE.csv.gz] [--seeds 5]

The table is that of ChestX-ray14 (112,120 films, 30,805 patients, 14 findings), as `RESLOAD_DATA` has it, or --table;
without one, a made-up table of as many films, patients and findings of the same prevalences. An error is that of a
split's prevalence, relative to that of all films; the worst of train, val and test.
"""

import argparse
import os
from pathlib import Path

import numpy as np
import pandas as pd
from common import save, seconds, summary

from resload import Catalog

FRACTIONS = {"train": 0.7, "val": 0.1, "test": 0.2}
RARE = "Hernia"
"""Its 227 films do not divide more finely than by a film."""


def whole(table: Path | None) -> Catalog:
    """All films with their findings."""
    if table is None:
        return made_up()
    raw = pd.read_csv(table)
    labels = raw["Finding Labels"].str.get_dummies("|").drop(columns="No Finding").astype(np.float32)
    films = pd.DataFrame({"id": raw["Image Index"], "path": raw["Image Index"], "patient": raw["Patient ID"]})
    return Catalog(films.join(labels), targets=list(labels))


def made_up() -> Catalog:
    """Films that are as many, and findings that are as frequent, with patients of one to some ten films."""
    rng = np.random.default_rng(0)
    counts = np.array([19894, 13317, 11559, 6331, 5782, 5302, 4667, 3385, 2776, 2516, 2303, 1686, 1431, 227])
    number = 112_120
    labels = {f"finding {i:02d}": (rng.random(number) < count / number) for i, count in enumerate(counts[:-1])}
    labels[RARE] = rng.permutation(number) < counts[-1]
    names = [f"film{i}" for i in range(number)]
    films = pd.DataFrame({"id": names, "path": names, "patient": rng.integers(0, 30_805, number)})
    return Catalog(films.assign(**{name: one.astype(np.float32) for name, one in labels.items()}), targets=list(labels))


def errors(catalog: Catalog, seed: int, stratify: bool) -> tuple[float, float, float]:
    """Worst relative error of a prevalence, of RARE, and of the number of films."""
    table = catalog.split(FRACTIONS, seed=seed, stratify=stratify).table
    parts = table.groupby("split")[list(catalog.targets)].mean()
    apart = (parts / table[list(catalog.targets)].mean() - 1).abs().max()
    films = (table["split"].value_counts() / len(table) / pd.Series(FRACTIONS) - 1).abs().max()
    return float(apart.drop(RARE).max()), float(apart[RARE]), float(films)


def main() -> None:
    """Measure, print and keep."""
    data = os.environ.get("RESLOAD_DATA")
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    known = Path(data) / "nih" / "Data_Entry_2017_v2020.csv.gz" if data else None
    parser.add_argument("--table", type=Path, default=known)
    parser.add_argument("--seeds", type=int, default=5)
    args = parser.parse_args()
    catalog = whole(args.table)
    names, rows, results = ("a finding", RARE, "films"), [], {}
    for how, stratify in (("films and targets", True), ("films alone", False)):
        found = np.array([errors(catalog, seed, stratify) for seed in range(args.seeds)])
        times = [seconds(lambda flag=stratify: catalog.split(FRACTIONS, stratify=flag)) for _ in range(3)]
        results[how] = {name: found[:, i].tolist() for i, name in enumerate(names)} | {"seconds": summary(times)}
        spans = " | ".join(f"{100 * one.min():.2f} to {100 * one.max():.2f} %" for one in found.T)
        rows.append(f"| {how} | {spans} | {np.median(times):.1f} |")
    of = "ChestX-ray14's table" if args.table else "A made-up table"
    head = f"{of}: {len(catalog):,} films, {catalog.table['patient'].nunique():,} patients; {args.seeds} seeds."
    lines = [
        head,
        "",
        f"| shared out by | worst finding but {RARE} | {RARE} | films | s |",
        "|---|---|---|---|---|",
        *rows,
    ]
    save("splits", "\n".join(lines), {"fractions": FRACTIONS, "results": results})


if __name__ == "__main__":
    main()
