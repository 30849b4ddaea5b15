"""The report on a catalog as a figure.

    what the films are                 sizes
    modality  [ CR      | DX  | MG ]     |   o  O       one circle for each size, its area the number of films
    view      [ PA  | LL  |  CC    ]     | o            targets           told by
    bits      [ 12      | 14  |  ? ]     +---------     mass [##----|?]   0.5 0.6 0.97   AUC of each attribute alone

matplotlib's Agg writes it, without pyplot: no global state is touched, and the same report gives the same bytes.
"""

import os
import textwrap
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from resload.errors import require
from resload.overview.lines import PLURALS
from resload.overview.mix import ATTRIBUTES, TargetCounts
from resload.overview.shortcuts import Shortcut
from resload.picture import png_path

if TYPE_CHECKING:
    from resload.overview.document import CatalogReport

FONT = "DejaVu Sans"
"""The font matplotlib carries with it."""
COLOURS = ("#0072B2", "#E69F00", "#009E73", "#CC79A7", "#56B4E9")
"""Of the most frequent values: told apart by people with any colour vision (Wong, Nature Methods 8, 441, 2011)."""
REST, UNKNOWN, POSITIVE, NEGATIVE = "0.72", "0.92", "#D55E00", "#A6CBE3"
WHY = "to draw what a catalog holds"
INCHES = (13.0, 7.6)
ROWS = 12
"""Targets that are drawn; those that an attribute tells best come first where there are more."""
LABELS = 8
"""Sizes that are named in the picture, at most."""
FEWEST_BARS, FEWEST_TARGETS = 8, 2
"""Room for so many: fewer are not drawn thicker."""
NARROW = 0.014
"""Width of a letter as a share of a bar: what is narrower than its words stays without them."""


def checked(path: str | os.PathLike[str]) -> Path:
    """The path, when a figure can be written there; before long work.

    Raises ArgumentError for one that does not end in .png, MissingPackageError without matplotlib.
    """
    return png_path(path, "the figure", WHY)


def draw(report: "CatalogReport", path: str | os.PathLike[str], *, dpi: int) -> None:
    """Write the figure; raises as `checked` does."""
    target = checked(path)
    figure = require("matplotlib.figure", "figures", WHY).Figure(figsize=INCHES, dpi=dpi)
    canvas = require("matplotlib.backends.backend_agg", "figures", WHY).FigureCanvasAgg(figure)
    settings = {"font.family": FONT, "font.size": 9, "text.parse_math": False}
    with require("matplotlib", "figures", WHY).rc_context(settings):
        warned = _warnings(report)
        bottom = 0.075 + 0.024 * warned.count("\n") + 0.03 * bool(warned)
        left = figure.add_gridspec(1, 1, left=0.085, right=0.52, top=0.89, bottom=bottom)
        above = figure.add_gridspec(1, 1, left=0.60, right=0.975, top=0.89, bottom=0.57)
        below = figure.add_gridspec(1, 2, left=0.68, right=0.975, top=0.455, bottom=bottom + 0.085, wspace=0.06)
        _mix(figure.add_subplot(left[0, 0]), report)
        _sizes(figure.add_subplot(above[0, 0]), report.mix.get("size", {}))
        _targets(figure.add_subplot(below[0, 0]), figure.add_subplot(below[0, 1]), report)
        figure.suptitle(_title(report), fontsize=13, fontweight="bold", x=0.02, y=0.975, ha="left")
        figure.text(0.02, 0.02, warned, fontsize=8.5, color=POSITIVE, va="bottom", linespacing=1.4)
        canvas.print_png(target, metadata={"Software": None})


def _title(report: "CatalogReport") -> str:
    patients = "" if report.patients is None else f" of {report.patients:,} patients"
    splits = ", ".join(f"{name} {films:,}" for name, films in report.splits.items())
    return f"{report.films:,} radiographs{patients}{': ' if splits else ''}{splits}"


def _warnings(report: "CatalogReport") -> str:
    """The first warnings, each on one line."""
    first = [textwrap.shorten(f"! {one}", 195, placeholder=" ...") for one in report.warnings[:4]]
    more = len(report.warnings) - len(first)
    return "\n".join([*first, *([f"... and {more} more warnings"] if more else [])])


def _mix(axes: Any, report: "CatalogReport") -> None:
    """A bar of all films for each attribute, divided by its values."""
    axes.set_title("What the films are", **_TITLE)
    shown = [(PLURALS[one.name], report.mix[one.name]) for one in ATTRIBUTES if report.mix.get(one.name)]
    shown.append(("mm per pixel", {"known": report.spacing["y"].known}))
    for row, (_, found) in enumerate(shown):
        _bar(axes, row, found, report.films)
    axes.set_yticks(range(len(shown)), [name for name, _ in shown])
    axes.set_ylim(max(len(shown), FEWEST_BARS) - 0.5, -0.5)
    _bare(axes)


def _bar(axes: Any, row: int, found: Mapping[str, int], films: int) -> None:
    """The first values in colours, the others in grey, and what is not known in the lightest one."""
    shown = len(COLOURS) if len(found) != len(COLOURS) + 1 else len(found)  # not "1 others"
    first = dict(list(found.items())[:shown])
    rest, unknown = sum(found.values()) - sum(first.values()), films - sum(found.values())
    parts = [(name, count, colour) for (name, count), colour in zip(first.items(), (*COLOURS, REST), strict=False)]
    parts += [(f"{len(found) - len(first)} others", rest, REST), ("not known", unknown, UNKNOWN)]
    start = 0.0
    for name, count, colour in parts:
        width = count / films
        if count:
            axes.barh(row, width, left=start, height=0.72, color=colour, edgecolor="white", linewidth=1)
            _inside(axes, start, width, row, name, colour)
        start += width


def _inside(axes: Any, start: float, width: float, row: int, name: str, colour: str) -> None:
    """A value and its share, on as many lines as fit; nothing where its first letters would not."""
    letters = int(width / NARROW)
    if letters < 4:
        return
    percent = f"{100 * width:.0f} %"
    word = name if len(name) <= letters else f"{name[: letters - 1]}\u2026"
    text = f"{word} {percent}" if len(word) + len(percent) < letters else f"{word}\n{percent}"
    dark = colour in (COLOURS[0], COLOURS[2])
    axes.text(start + width / 2, row, text, ha="center", va="center", fontsize=8, color="white" if dark else "black")


def _sizes(axes: Any, found: Mapping[str, int]) -> None:
    """A circle for each size: where it is, how wide and high; its area, how many films."""
    axes.set_title("Sizes in pixels; areas are numbers of films", **_TITLE)
    if not found:
        _nothing(axes, "sizes not known")
        return
    sides = [tuple(map(int, size.split("x"))) for size in found]
    areas = [max(2.0, 500 * films / max(found.values())) for films in found.values()]
    # The frequent ones last, and so on top.
    heights, widths = zip(*reversed(sides), strict=True)
    axes.scatter(widths, heights, s=areas[::-1], color=COLOURS[0], alpha=0.5, edgecolor="white", linewidth=0.3)
    largest = max(max(pair) for pair in sides) * 1.2
    axes.set_xlim(0, largest * 1.25)
    axes.set_ylim(0, largest)
    _name_sizes(axes, found, largest)
    axes.set_xlabel("width")
    axes.set_ylabel("height")
    axes.grid(color="0.9")
    axes.set_axisbelow(True)
    axes.spines[["top", "right"]].set_visible(False)


def _name_sizes(axes: Any, found: Mapping[str, int], largest: float) -> None:
    """The most frequent sizes by name, as far as they do not stand in each other's way."""
    named: list[tuple[int, int]] = []
    least = 0.02 * sum(found.values())
    for size, films in list(found.items())[:LABELS]:
        height, width = map(int, size.split("x"))
        if films < least:
            break
        if all(abs(height - y) > largest / 10 or abs(width - x) > largest / 3 for y, x in named):
            axes.annotate(f"{size} ({films:,})", (width, height), (9, 8), **_POINTS)
            named.append((height, width))


def _targets(bars: Any, table: Any, report: "CatalogReport") -> None:
    """How many films are positive, negative and not known, and which attribute alone would tell."""
    bars.set_title("Targets", **_TITLE)
    if not report.targets:
        _nothing(bars, "no targets")
        _nothing(table, "")
        return
    shown = _first_targets(report.targets, report.shortcuts)
    for row, one in enumerate(shown):
        positive = (one.positive or 0) / one.films
        known = one.known / one.films
        for start, width, colour in ((0, positive, POSITIVE), (positive, known - positive, NEGATIVE)):
            bars.barh(row, width, left=start, height=0.72, color=colour)
        bars.barh(row, 1 - known, left=known, height=0.72, color=UNKNOWN)
        words = "a number" if one.prevalence is None else f"{100 * one.prevalence:.1f} % of {one.known:,}"
        bars.text(0.98, row, words, ha="right", va="center", fontsize=8)
    bars.set_yticks(range(len(shown)), [textwrap.shorten(one.name, 20, placeholder="\u2026") for one in shown])
    bars.set_xlabel("positive, negative, not known", fontsize=8)
    if len(shown) < len(report.targets):
        bars.set_title(f"Targets ({len(shown)} of {len(report.targets)})", **_TITLE)
    for axes in (bars, table):
        axes.set_ylim(max(len(shown), FEWEST_TARGETS) - 0.5, -0.5)
    _bare(bars)
    _aucs(table, [one.name for one in shown], report.shortcuts)


def _first_targets(targets: Sequence[TargetCounts], found: Sequence[Shortcut]) -> list[TargetCounts]:
    best = {one.name: max((s.auc for s in found if s.target == one.name), default=0.0) for one in targets}
    kept = sorted(range(len(targets)), key=lambda at: -best[targets[at].name])[:ROWS]
    return [targets[at] for at in sorted(kept)]


def _aucs(axes: Any, targets: Sequence[str], found: Sequence[Shortcut]) -> None:
    """Target x attribute: shaded from 0.5 to 1, vermilion where it is a shortcut."""
    axes.set_title("AUC by one attribute", **_TITLE)
    names = list(dict.fromkeys(one.attribute for one in found))
    if not names:
        _nothing(axes, "too few films of a class,\nor all films alike")
        return
    for one in found:
        if one.target in targets:
            row, column = targets.index(one.target), names.index(one.attribute)
            shade = min(max(2 * one.auc - 1, 0.0), 1.0)
            colour = POSITIVE if one.nearly_separates else (1 - 0.45 * shade,) * 3
            axes.barh(row, 0.94, left=column - 0.47, height=0.72, color=colour)
            style = {"color": "white", "fontweight": "bold"} if one.nearly_separates else {"color": "black"}
            axes.text(column, row, f"{one.auc:.2f}", ha="center", va="center", fontsize=7.5, **style)
    axes.set_xticks(range(len(names)), [PLURALS[name] for name in names], rotation=45, ha="right", fontsize=8)
    axes.set_xlim(-0.5, len(names) - 0.5)
    axes.set_yticks([])
    axes.spines[:].set_visible(False)
    axes.tick_params(length=0)


_TITLE: dict[str, Any] = {"loc": "left", "fontweight": "bold", "fontsize": 10, "pad": 8}
_POINTS: dict[str, Any] = {"textcoords": "offset points", "fontsize": 8}


def _bare(axes: Any) -> None:
    axes.set_xlim(0, 1)
    axes.set_xticks([])
    axes.spines[:].set_visible(False)
    axes.tick_params(length=0)


def _nothing(axes: Any, words: str) -> None:
    axes.text(0.5, 0.5, words, transform=axes.transAxes, ha="center", va="center", color="0.3")
    axes.set_xticks([])
    axes.set_yticks([])
    axes.spines[:].set_visible(False)
