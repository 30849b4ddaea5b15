"""What a table of films says: targets, patients and splits; and what a study cannot be made of.

Asked of a catalog before its caches are built, which may take hours, and of the caches afterwards.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from resload.errors import ArgumentError
from resload.splits import memberships, stratified_groups
from resload.store.tables import mask_column
from resload.study import grid
from resload.study.settings import Settings

SPLITS = ("train", "val", "test")
SHARES = {"train": 0.7, "val": 0.1, "test": 0.2}
"""Of films, where the data says nothing."""
WITHIN = {"train": 0.9, "val": 0.1}
"""Of the training films, where only those and test films are named."""


@dataclass(frozen=True)
class Told:
    """What a table says."""

    targets: tuple[str, ...]
    values: NDArray[np.float32]
    """(N, T), NaN where unknown. Of masks: how much of the film is covered, 0 where nothing is."""
    patients: NDArray[np.int64]
    """(N,): whose each film is, as numbers; films whose patient is not known are patients of their own."""
    split: NDArray[Any]
    """(N,) names."""
    rows: Mapping[str, NDArray[np.int64]]
    """Of each split: those that can be read."""
    notes: tuple[str, ...]


def told(
    table: pd.DataFrame, there: Sequence[str], settings: Settings, *, readable: NDArray[np.bool_], where: str
) -> Told:
    """What a table says of the targets that are asked for, out of those that are there. where: for errors.

    Raises ArgumentError for what a study cannot be made of.
    """
    notes: list[str] = []
    targets = _targets(tuple(there), settings, where)
    values = _values(table, targets, settings)
    patients = _patients(table, notes)
    split = _split(table, patients, values, readable, notes)
    rows = {name: np.flatnonzero((split == name) & readable) for name in SPLITS}
    _check_patients(rows, patients)
    found = Told(targets, values, patients, split, rows, tuple(notes))
    _check_known(found, settings)
    _check_steps(found, settings)
    return found


def with_masks(table: pd.DataFrame, masks: pd.DataFrame | None) -> tuple[pd.DataFrame, tuple[str, ...]]:
    """A table of films with columns like those a cache has of masks, 1 where one is there and NaN where none is said to
    be, before any was looked at; and their labels.
    """
    if masks is None:
        return table, ()
    said = {str(label): set(own["id"]) for label, own in masks.groupby("label")}
    columns = {mask_column(label): table["id"].isin(ids).where(lambda there: there) for label, ids in said.items()}
    return table.assign(**columns), tuple(columns and said)


# -- what is to be learnt --


def _targets(there: tuple[str, ...], settings: Settings, where: str) -> tuple[str, ...]:
    kind = "masks" if settings.task == "segmentation" else "targets"
    if not there:
        raise ArgumentError(f"{where} has no {kind}: nothing to learn; name their columns, or build with {kind}")
    targets = tuple(settings.targets) or there
    if missing := [name for name in targets if name not in there]:
        raise ArgumentError(f"targets={missing}: {where} has the {kind} {list(there)}")
    if settings.task == "segmentation" and targets != there:
        raise ArgumentError(f"a network of segmentation learns all masks {list(there)}; found targets={targets}")
    return targets


def _values(table: pd.DataFrame, targets: tuple[str, ...], settings: Settings) -> NDArray[np.float32]:
    """(N, T)."""
    if settings.task == "segmentation":
        return table[[mask_column(label) for label in targets]].to_numpy(np.float32)
    values = table[list(targets)].to_numpy(np.float32, na_value=np.nan)
    if settings.task != "regression":
        for name, column in zip(targets, values.T, strict=True):
            odd = np.unique(column[~np.isnan(column) & ~np.isin(column, (0, 1))])
            if len(odd):
                raise ArgumentError(
                    f"target {name!r} has the value {odd[0]:g}; task={settings.task!r} learns 0 and 1 (NaN: unknown), "
                    'task="regression" numbers'
                )
    return values


def _check_known(films: Told, settings: Settings) -> None:
    """Every split must tell something of every target."""
    for split in SPLITS:
        if not len(films.rows[split]):
            raise ArgumentError(f"there are no films in the split {split!r}; a study needs train, val and test")
        known = films.values[films.rows[split]]
        for name, column in zip(films.targets, known.T, strict=True):
            told = column[~np.isnan(column)]
            if not len(told):
                raise ArgumentError(f"target {name!r} is known of no film in the split {split!r}; leave it out")
            if settings.task in ("binary", "multilabel") and len(np.unique(told)) < 2:
                having = f"{int((told == 1).sum())} films with it and {int((told == 0).sum())} without"
                raise ArgumentError(
                    f"target {name!r} has {having} in the split {split!r}, of which no area under a curve can be "
                    "measured: leave it out with targets= (--learn), or split so that every part has both"
                )


def _check_steps(films: Told, settings: Settings) -> None:
    """There must be enough training films for a step of the largest batch that was asked for."""
    apart = settings.task == "binary"
    known = ~np.isnan(films.values[films.rows["train"]])
    for count in known.sum(axis=0).tolist() if apart else [int(known.any(axis=1).sum())]:
        grid.budget(settings, settings.largest, count)


# -- whose films, and in which part --


def _patients(table: pd.DataFrame, notes: list[str]) -> NDArray[np.int64]:
    """(N,) a number for each patient."""
    if "patient" not in table:
        notes.append("the table has no column `patient`: every film counts as a patient of its own")
        return np.arange(len(table))
    named = table["patient"].notna().to_numpy()
    codes = pd.factorize(table["patient"])[0].astype(np.int64)
    alone = int((~named).sum())
    if alone:
        notes.append(f"{alone} films have no patient: each counts as one of its own")
        codes[~named] = codes.max(initial=-1) + 1 + np.arange(alone)
    return codes


def _split(
    table: pd.DataFrame,
    patients: NDArray[np.int64],
    values: NDArray[np.float32],
    readable: NDArray[np.bool_],
    notes: list[str],
) -> NDArray[Any]:
    """(N,) names: those of the table, and what it lacks dealt out by whole patients."""
    split = np.full(len(table), "", object)
    if "split" in table:
        split[:] = table["split"].astype(object).where(table["split"].notna(), "").tolist()
    there = {name for name in SPLITS if (split == name).any()}
    if there == set(SPLITS):
        return split
    if there == {"train", "test"}:
        part, shares = split == "train", WITHIN
        notes.append("there are no validation films: a tenth of the training films, by whole patients, became them")
    elif not there:
        if named := sorted({name for name in split.tolist() if name}):
            raise ArgumentError(
                f"the split has {', '.join(map(str, named))}, and none of train, val and test: call its parts so"
            )
        part, shares = readable, SHARES
        notes.append("there is no split: films were dealt out by whole patients, " + _shares_text())
    else:
        lacking = ", ".join(sorted(set(SPLITS) - there))
        raise ArgumentError(
            f"the split has {', '.join(sorted(there))} and lacks {lacking}: the epoch is chosen on other films than "
            'the ones that are reported; split anew, as catalog.split({"train": .7, "val": .1, "test": .2})'
        )
    columns = pd.DataFrame(values[part]).add_prefix("t")
    split[part] = stratified_groups(patients[part], memberships(columns), shares, seed=0)
    return split


def _shares_text() -> str:
    return ", ".join(f"{share:.0%} {name}" for name, share in SHARES.items())


def _check_patients(rows: Mapping[str, NDArray[np.int64]], patients: NDArray[np.int64]) -> None:
    """No patient may be in two splits."""
    seen = {name: set(patients[own].tolist()) for name, own in rows.items()}
    for one, other in (("train", "val"), ("train", "test"), ("val", "test")):
        if shared := len(seen[one] & seen[other]):
            raise ArgumentError(
                f"{shared} patients have films in both {one} and {other}: networks would be tested on patients that "
                'they have seen; split by="patient"'
            )
