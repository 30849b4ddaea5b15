"""The report on a catalog as lines for a terminal."""

from typing import TYPE_CHECKING

from resload.wording import columns, counted, first_of, millimetres

if TYPE_CHECKING:
    from resload.overview.document import CatalogReport

PLURALS = {
    "formats": "formats",
    "syntax": "syntaxes",
    "bits": "bits",
    "photometric": "photometric",
    "voi": "voi",
    "intent": "intents",
    "modality": "modalities",
    "manufacturer": "manufacturers",
    "view": "views",
    "size": "sizes",
}
"""Attribute -> its line, and its key in documents."""
SHAPES = 10
"""How many sizes are listed; archives have thousands."""
VALUES = 8
"""How many values of another attribute are."""
_WIDTH = 14


def of(report: "CatalogReport") -> list[str]:
    """All of it: facts, sizes, targets, and what to look at."""
    patients = "" if report.patients is None else f" of {report.patients} patients"
    facts = [
        ["films", f"{report.films}{patients}"],
        ["targets", ", ".join(one.name for one in report.targets) or "none"],
        ["splits", counted(dict(report.splits))],
        *([name, _values(report, one)] for one, name in PLURALS.items() if one != "size" and report.mix.get(one)),
        ["mm per pixel", _spacing(report)],
    ]
    shown = [f"{name:<{_WIDTH}}{value}" for name, value in facts] + _sizes(report) + _targets(report)
    shown += [f"warning: {warning}" for warning in report.warnings]
    if report.unreadable:
        bad = [f"  {one['path']}: {one['reason']}" for one in report.unreadable]
        shown += [f"cannot be read: {len(bad)}", *first_of(bad, "--json has all of them")]
    return shown + [f"note: {note}" for note in report.notes]


def _values(report: "CatalogReport", attribute: str) -> str:
    """`CR (450), DX (150), 3 others (20), not known (5)`."""
    found = dict(report.mix[attribute])
    first = dict(list(found.items())[:VALUES])
    rest, unknown = sum(found.values()) - sum(first.values()), report.films - sum(found.values())
    more = {f"{len(found) - len(first)} others": rest, "not known": unknown - len(report.unreadable)}
    return counted(first | {name: films for name, films in more.items() if films > 0})


def _spacing(report: "CatalogReport") -> str:
    y, x = report.spacing["y"], report.spacing["x"]
    if not y.known:
        return "not known"
    pairs = ((y.min, x.min), (y.median, x.median), (y.max, x.max))
    between = " to ".join(dict.fromkeys(millimetres(*pair) for pair in pairs))
    return f"{between} (y x x; of {y.known} films)"


def _sizes(report: "CatalogReport") -> list[str]:
    """The most frequent sizes, height first."""
    found = list(report.mix.get("size", {}).items())
    rows = [[size, str(films)] for size, films in found[:SHAPES]]
    more = [f"  ... and {len(found) - SHAPES} other sizes"] if len(found) > SHAPES else []
    return [*columns([["size", "films"], *rows]), *more] if rows else []


def _targets(report: "CatalogReport") -> list[str]:
    """What is known of each target, and the attribute that tells most of it."""
    if not report.targets:
        return []
    rows = [["target", "known", "positive", "prevalence", "told best by"]]
    for one in report.targets:
        prevalence = "-" if one.prevalence is None else f"{100 * one.prevalence:.1f} %"
        rows.append([one.name, str(one.known), "-" if one.positive is None else str(one.positive), prevalence])
        best = max((s for s in report.shortcuts if s.target == one.name), key=lambda s: s.auc, default=None)
        rows[-1].append("-" if best is None else f"{best.attribute} (AUC {best.auc:.2f})")
    return columns(rows)
