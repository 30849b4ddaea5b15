"""The report on a catalog: what it holds, as plain values that can be printed, kept as JSON, or drawn."""

import os
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from resload.catalog import Catalog
from resload.errors import ArgumentError
from resload.overview import cautions, drawing, lines, mix, shortcuts
from resload.overview.mix import Spread, TargetCounts
from resload.overview.shortcuts import Shortcut
from resload.wording import counts


@dataclass(frozen=True)
class CatalogReport:
    """What a catalog holds. Plain values; nothing here changes."""

    films: int
    patients: int | None
    """How many, or None where nobody said whose the films are."""
    splits: Mapping[str, int]
    mix: Mapping[str, Mapping[str, int]]
    """Attribute (`modality`, `view`, `manufacturer`, `intent`, `photometric`, `voi`, `bits`, `formats`, `syntax`,
    `size`) -> value -> films, the most frequent first; films of which it is not known are in none. Attributes that are
    known of no film are not there."""
    spacing: Mapping[str, Spread]
    """`y` and `x` -> millimetres per pixel."""
    targets: tuple[TargetCounts, ...]
    shortcuts: tuple[Shortcut, ...]
    """How well each attribute alone separates each target, in the order of targets and attributes."""
    warnings: tuple[str, ...]
    """What to look at before training: shortcuts, mixed intents, writing in the pixels."""
    unreadable: tuple[Mapping[str, str], ...]
    """`id`, `path` and `reason` of films that could not be read."""
    notes: tuple[str, ...]
    """The catalog's own."""

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON: no NaN, what is not known is None."""
        named = {name: dict(self.mix.get(one, {})) for one, name in lines.PLURALS.items() if one != "size"}
        return {
            "films": self.films,
            "patients": self.patients,
            "targets": [one.name for one in self.targets],
            "splits": dict(self.splits),
            **named,
            "sizes": [{"size": size, "films": films} for size, films in self.mix.get("size", {}).items()],
            "spacing": {axis: asdict(one) for axis, one in self.spacing.items()},
            "findings": [{**asdict(one), "prevalence": one.prevalence} for one in self.targets],
            "shortcuts": [{**asdict(one), "nearly_separates": one.nearly_separates} for one in self.shortcuts],
            "warnings": list(self.warnings),
            "unreadable": [dict(one) for one in self.unreadable],
            "notes": list(self.notes),
        }

    def lines(self) -> list[str]:
        """The same for people, to print."""
        return lines.of(self)

    def draw(self, path: str | os.PathLike[str], *, dpi: int = 100) -> None:
        """The same as a PNG.

        Raises ArgumentError for a path that does not end in .png, MissingPackageError without matplotlib.
        """
        drawing.draw(self, path, dpi=dpi)


def catalog_report(catalog: Catalog) -> CatalogReport:
    r"""What a catalog holds: the mix of its films, its targets, and which attributes would be shortcuts to them.

        report = resload.catalog_report(catalog.scan())
        print("\n".join(report.lines()))
        report.draw("scan.png")

    Reads the table, and no file: `Catalog.scan` or `Catalog.from_dicom` have read the headers. An attribute is warned
    of when it separates a target with an AUC of 0.9 or more (see `resload.overview.Shortcut`), which needs 20
    films of either class. Several hundred thousand films take seconds.

    Raises ArgumentError for anything that is no catalog.
    """
    if not isinstance(catalog, Catalog):
        raise ArgumentError(f"catalog_report takes a Catalog; found {type(catalog).__name__}")
    table = catalog.table
    values = mix.values_of(table)
    mixed = mix.mixture(values)
    targets = {name: table[name].to_numpy(np.float32) for name in catalog.targets}
    visible = {one.name: values[one.name] for one in mix.ATTRIBUTES if one.visible and one.name in values}
    found = shortcuts.found(targets, visible, shortcuts.parts_of(table)) if targets else ()
    burned_in = int((table["BurnedInAnnotation"] == "YES").sum()) if "BurnedInAnnotation" in table else 0
    return CatalogReport(
        films=len(table),
        patients=int(table["patient"].nunique()) if "patient" in table else None,
        splits=counts(table["split"]) if "split" in table else {},
        mix=mixed,
        spacing={axis: mix.spread(table, f"spacing_{axis}") for axis in "yx"},
        targets=tuple(mix.target_counts(name, values) for name, values in targets.items()),
        shortcuts=found,
        warnings=(
            *cautions.of_shortcuts(found),
            *cautions.of_intents(mixed, len(table)),
            *cautions.of_annotations(burned_in),
        ),
        unreadable=_unreadable(catalog),
        notes=catalog.notes,
    )


def _unreadable(catalog: Catalog) -> tuple[dict[str, str], ...]:
    table = catalog.table
    if "error" not in table:
        return ()
    failed = table[table["error"].notna()]
    rows = zip(failed["id"], failed["path"], failed["error"], strict=True)
    return tuple({"id": name, "path": path, "reason": reason} for name, path, reason in rows)
