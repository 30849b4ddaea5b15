"""A catalog divided: into splits, into folds, into as many negatives as positives; and how even they are."""

from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Literal, Protocol

import numpy as np
import pandas as pd

from resload.catalog import parting, rules
from resload.catalog.shares import share_table
from resload.errors import ArgumentError

if TYPE_CHECKING:
    from resload.catalog.films import Catalog

Leaks = Literal["refuse", "join", "allow"]


class _Films(Protocol):
    """What dividing needs of a catalog."""

    _table: pd.DataFrame
    _targets: tuple[str, ...]

    def _with(self, table: pd.DataFrame, *, notes: Iterable[str] | None = None) -> "Catalog": ...


class Divided:
    """The methods of `Catalog` that divide it."""

    def split(
        self: _Films,
        fractions: Mapping[str, float],
        *,
        by: str = "patient",
        seed: int = 0,
        stratify: bool | Sequence[str] = True,
        within: str | None = None,
        leaks: Leaks = "refuse",
        duplicates: pd.DataFrame | None = None,
    ) -> "Catalog":
        """A new column `split` that keeps whole patients together and shares out films and targets alike.

            catalog.split({"train": .7, "val": .1, "test": .2}, by="patient", seed=0)
            catalog.split({"train": .9, "val": .1}, within="train")      # the official test films stay

        Fractions are met by number of films as closely as whole groups allow, and in each split every target has
        nearly the prevalence (or distribution) that it has in all: `balance` shows them. How it is done, and how well:
        `resload.splits.stratified_groups`. The same arguments give the same split, whatever the order of the films.

        Args:
            fractions: name -> share, each > 0, summing to 1.
            by: the column whose equal values stay together. `"id"` splits film by film, for data with one film of each
                patient.
            seed: another seed deals other groups.
            stratify: True, by all targets: yes or no, few values, or numbers in ten bins; unknown (NaN) is a stratum of
                its own. A list of columns (targets or others, such as sex and view): by those. False: by number of
                films only.
            within: only the films of this split are divided, all others keep theirs. Without it, every film gets a
                new split.
            leaks: what becomes of near-duplicates that this split would part. "refuse" is an error that names them;
                "join" keeps a cluster of them, and so the patients that it touches, together as if one patient;
                "allow" parts them.
            duplicates: their pairs, as `resload.near_duplicates` finds them; those it confirmed count. By default they
                are known from the column `near_duplicates`, which `scan(duplicates=True)` makes.

        Raises ArgumentError for wrong fractions, a missing column, films whose group is missing, a split `within`
        that is not there, names that films outside it have already, and near-duplicates that would be parted.
        """
        part = parting.Part.of(self._table, within, names=fractions)
        rule = parting.Rule(by, seed, parting.columns(self._table, self._targets, stratify), leaks, duplicates)
        labels = parting.dealt(part, rule, fractions)
        return self._with(self._table.assign(split=rules.as_text(labels)))

    def folds(
        self: _Films,
        k: int = 5,
        *,
        by: str = "patient",
        seed: int = 0,
        stratify: bool | Sequence[str] = True,
        within: str | None = None,
        leaks: Leaks = "refuse",
        duplicates: pd.DataFrame | None = None,
    ) -> "Catalog":
        """A new column `fold`, 0 to k - 1, of whole patients: k equal parts, alike in films and targets.

            catalog = catalog.folds(5)
            for i in range(5):
                one = catalog.fold(i)          # split "val" is fold i, "train" are the others
                view = cache.with_table(one.table[["id", "split"]], on="id")      # of one cache: no pixel is touched

        Arguments and errors are those of `split`. The column is int64; where `within` leaves films without a
        fold, it is pandas' Int64.
        """
        if isinstance(k, bool) or not isinstance(k, int) or k < 2:
            raise ArgumentError(f"k is a whole number of folds, at least 2; found {k!r}")
        part = parting.Part.of(self._table, within, names=())
        rule = parting.Rule(by, seed, parting.columns(self._table, self._targets, stratify), leaks, duplicates)
        names = {f"fold {number}": number for number in range(k)}
        labels = parting.dealt(part, rule, dict.fromkeys(names, 1 / k))
        numbers = pd.Series(labels).map(names).where(part.rows)
        return self._with(self._table.assign(fold=numbers.astype("int64" if part.rows.all() else "Int64")))

    def fold(self: _Films, number: int, *, names: tuple[str, str] = ("train", "val")) -> "Catalog":
        """The catalog with a `split` made of its folds: this one is "val", the others are "train".

        Films without a fold keep the split that they have (an official test part stays what it is).

        Raises ArgumentError without a column `fold`, for a fold that is not there, and for names that films without a
        fold have already.
        """
        if "fold" not in self._table:
            raise ArgumentError("this catalog has no folds; make them: catalog.folds(5)")
        folds = self._table["fold"]
        if not pd.api.types.is_numeric_dtype(folds):
            raise ArgumentError(f"the column fold holds numbers from 0; found {rules.some(folds.dropna().unique())}")
        there = sorted(int(one) for one in folds.dropna().unique())
        if number not in there:
            raise ArgumentError(f"there is no fold {number!r}; found: {rules.some(there, 20)}")
        outside = folds.isna().to_numpy(dtype=bool)
        labels = parting.old_labels(self._table)
        parting.refuse_taken(labels[outside], names)
        labels[~outside] = np.where((folds[~outside] == number).to_numpy(dtype=bool), names[1], names[0])
        return self._with(self._table.assign(split=rules.as_text(labels)))

    def balanced(
        self: _Films, target: str, *, ratio: float = 1.0, seed: int = 0, within: str | None = None
    ) -> "Catalog":
        """The films with one finding, and as many without it, drawn at random: for one network for one finding.

            catalog.balanced("Emphysema", within="train")      # train is balanced, val and test are as they were

        Studies of resolution train so, one network for each label (Sabottke and Spieler, Radiology: Artificial
        Intelligence 2020;2(1):e190015). Each split is balanced for itself. All positives stay and `ratio` times as many
        negatives are drawn; where there are too few negatives, all of them stay and positives are drawn. Films whose
        target is unknown are left out. Films are drawn, not patients: of a patient some may stay and others go, but
        none changes its split, so what a split kept together does not come apart.

        Args:
            target: a target, or another column, of 1 (yes), 0 (no) and NaN.
            ratio: negatives for each positive.
            seed: another seed draws other films. The order of the films does not matter.
            within: only this split is balanced; the films of others stay as they are.

        Raises ArgumentError for a column that is not there or not yes and no, a ratio that is not > 0, a split that is
        not there, or one without positives or without negatives.
        """
        return self._with(self._table.iloc[parting.balanced_rows(self._table, target, ratio, seed, within)])

    def balance(self: _Films, *, by: str = "patient") -> pd.DataFrame:
        """How even the splits are: one row for each split and target.

        Columns: `split`, `films`, `groups` (different values of the column `by`; missing without one), `target`, and of
        it `known`, `unknown`, `positives` and `prevalence` (positives of known) where it is yes or no, `mean` and `sd`
        where it is another number. Without a column `split`, all films are the split "all"; those without one are
        "none". Without targets, one row for each split, its target missing.
        """
        return share_table(self._table, self._targets, by)
