"""What is measured along a quantity: as rows for JSON, as a table, and as a panel of a figure.

Curve   one panel: lines of points, each measured several times; or bars, where a line has no quantity to grow with
rows    what goes into the JSON: one row for each point
table   a column for each line, a row for each point
draw    all panels of one run on one page
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from common import ratio, summary

FONT = "DejaVu Sans"
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "0.35")
"""Told apart by people with any colour vision (Wong, Nature Methods 8, 441, 2011)."""
CEILING = "0.35"
MARKERS = "osD^vP"
COLUMNS, WIDTH, HEIGHT = 3, 5.0, 3.9
"""Panels in a row, and the inches of each."""

Points = Mapping[float, Sequence[float]]


@dataclass(frozen=True)
class Curve:
    """One question."""

    title: str
    unit: str
    """Of what was measured: "images/s"."""
    lines: Mapping[str, Points]
    """For each line, by its place on the horizontal axis, what each round measured. Bars have the one place 0."""
    along: str = ""
    """What grows, with its unit: "pixels of a side"; empty for bars."""
    ceiling: str = ""
    """The line that others are compared with: drawn dashed."""
    compared: bool = True
    """Whether ratios to the ceiling, taken round by round, are told."""
    linear: bool = False
    """Whether the vertical axis is: from zero on."""
    notes: tuple[str, ...] = field(default=())
    """Sentences below the table: what was done, what could not be."""

    @property
    def under(self) -> Points:
        """The points that others are compared with; none where they are not."""
        return self.lines.get(self.ceiling, {}) if self.compared else {}

    @property
    def places(self) -> list[float]:
        """Of all lines, ascending."""
        return sorted({place for points in self.lines.values() for place in points})

    def scaled(self, title: str, unit: str, factors: Mapping[str, Mapping[float, float]]) -> "Curve":
        """The same measurements in another unit: bytes a second of images a second."""
        lines = {
            name: {place: [one * factors[name][place] for one in measured] for place, measured in points.items()}
            for name, points in self.lines.items()
        }
        return Curve(title, unit, lines, along=self.along, ceiling=self.ceiling, compared=False)


def rows(curve: Curve) -> list[dict[str, Any]]:
    """One for each point: where it is, median and range, and the median of its ratios to the ceiling."""
    under = curve.under
    return [
        {
            "line": name,
            "at": place,
            **summary(measured),
            **({"of_ceiling": ratio(measured, under[place])} if place in under and name != curve.ceiling else {}),
        }
        for name, points in curve.lines.items()
        for place, measured in points.items()
    ]


def document(curves: Sequence[Curve]) -> list[dict[str, Any]]:
    """All curves, for JSON."""
    return [
        {
            "title": one.title,
            "unit": one.unit,
            "along": one.along,
            "ceiling": one.ceiling,
            "rows": rows(one),
            "notes": list(one.notes),
        }
        for one in curves
    ]


# -- as text ---------------------------------------------------------------------------------------------


def table(curve: Curve) -> str:
    """Medians, with half of the range around each."""
    parts = [f"**{curve.title}** ({curve.unit})", _grid(curve) if curve.along else _list(curve), *curve.notes]
    return "\n\n".join(parts)


def _grid(curve: Curve) -> str:
    under = curve.under
    compared = [name for name in curve.lines if under and name != curve.ceiling]
    head = [curve.along, *curve.lines, *(f"{name} / {curve.ceiling}" for name in compared)]
    body = []
    for place in curve.places:
        cells = [_cell(points.get(place)) for points in curve.lines.values()]
        for name in compared:
            there = place in curve.lines[name] and place in under
            cells.append(f"{ratio(curve.lines[name][place], under[place]):.2f}" if there else "")
        body.append([f"{place:,.0f}", *cells])
    return _piped(head, body)


def _list(curve: Curve) -> str:
    under = curve.under.get(0)
    head = ["what", curve.unit, *([f"of {curve.ceiling}"] if under else [])]
    body = [
        [name, _cell(points[0]), *([f"{ratio(points[0], under):.2f}"] if under else [])]
        for name, points in curve.lines.items()
    ]
    return _piped(head, body)


def _piped(head: Sequence[str], body: Sequence[Sequence[str]]) -> str:
    return "\n".join("| " + " | ".join(row) + " |" for row in [head, ["---"] * len(head), *body])


def _cell(measured: Sequence[float] | None) -> str:
    if not measured:
        return ""
    found = summary(measured)
    around = (found["most"] - found["least"]) / 2 / found["median"] if found["median"] else 0.0
    return f"{_number(found['median'])} ±{100 * around:.0f} %"


def _number(value: float) -> str:
    """Three digits that count, at least."""
    digits = 0 if value == 0 else max(0, 2 - math.floor(math.log10(abs(value))))
    return f"{value:,.{digits}f}"


# -- as a figure -----------------------------------------------------------------------------------------


def draw(curves: Sequence[Curve], path: Path, *, heading: str, foot: str) -> None:
    """One panel for each curve, as a PNG, bars across the page; without pyplot, so that no global state is touched."""
    from matplotlib import rc_context
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    columns = min(COLUMNS, len(curves))
    cells, place = [], 0
    for curve in curves:
        place = place if curve.along else -(-place // columns) * columns  # bars begin a line, and fill it
        cells.append(place)
        place += 1 if curve.along else columns
    lines = -(-place // columns)
    with rc_context({"font.family": FONT, "font.size": 9}):
        figure = Figure(figsize=(WIDTH * columns, HEIGHT * lines + 0.9), dpi=120)
        canvas = FigureCanvasAgg(figure)
        grid = figure.add_gridspec(lines, columns)
        for cell, curve in zip(cells, curves, strict=True):
            line, column = divmod(cell, columns)
            axes = figure.add_subplot(grid[line, column] if curve.along else grid[line, :])
            axes.set_title(curve.title, loc="left", fontweight="bold", fontsize=10)
            (_lines if curve.along else _bars)(axes, curve)
        figure.suptitle(heading, fontsize=12, fontweight="bold")
        figure.text(0.5, 0.012, foot, ha="center", va="bottom", fontsize=8, color="0.3")
        figure.tight_layout(rect=(0, 0.035, 1, 0.99), w_pad=2.0, h_pad=2.0)
        canvas.print_png(path, metadata={"Software": None})


def _lines(axes: Any, curve: Curve) -> None:
    """Medians, with the range of the rounds behind them; ticks where something was measured."""
    for number, (name, points) in enumerate(curve.lines.items()):
        is_ceiling = name == curve.ceiling
        colour, places = CEILING if is_ceiling else COLOURS[number % len(COLOURS)], sorted(points)
        found = [summary(points[place]) for place in places]
        low, middle, high = ([one[key] for one in found] for key in ("least", "median", "most"))
        style = "--" if is_ceiling else "-"
        marker = MARKERS[number % len(MARKERS)]
        axes.plot(places, middle, style, marker=marker, color=colour, markersize=4, linewidth=1.4, label=name)
        axes.fill_between(places, low, high, color=colour, alpha=0.15, linewidth=0)
    axes.set_xscale("log")
    axes.set_xticks(curve.places, [f"{place:,.0f}" for place in curve.places])
    axes.minorticks_off()
    axes.set_xlabel(curve.along)
    axes.set_ylabel(curve.unit)
    if curve.linear:
        axes.set_ylim(0, axes.get_ylim()[1] * 1.25)  # room for the names
        axes.yaxis.set_major_formatter(_plain)
    else:
        _log(axes, room=0.07 * (1 + len(curve.lines)))
    axes.grid(color="0.92")
    axes.legend(frameon=False, fontsize=8)


def _log(axes: Any, *, room: float) -> None:
    """A logarithmic axis whose ticks are plain numbers, and enough of them; so much room is left above."""
    from matplotlib.ticker import LogLocator, NullLocator

    axes.set_yscale("log")
    low, high = axes.get_ylim()
    axes.set_ylim(low, high * (high / low) ** room)  # for the names
    steps = (1,) if high / low > 3e3 else (1, 3) if high / low > 30 else (1, 2, 5)
    axes.yaxis.set_major_locator(LogLocator(base=10, subs=steps))
    axes.yaxis.set_minor_locator(NullLocator())
    axes.yaxis.set_major_formatter(_plain)


def _plain(value: float, _: int) -> str:
    return f"{value:,.10g}"


def _bars(axes: Any, curve: Curve) -> None:
    """One bar for each line, the first above, with the range of its rounds."""
    names = list(curve.lines)
    found = [summary(curve.lines[name][0]) for name in names]
    middle = [one["median"] for one in found]
    around = [
        [one["median"] - one["least"] for one in found],
        [one["most"] - one["median"] for one in found],
    ]
    colours = [CEILING if name == curve.ceiling else COLOURS["DataLoader" in name] for name in names]
    axes.barh(range(len(names)), middle, xerr=around, color=colours, alpha=0.85, ecolor="0.2", capsize=2, height=0.7)
    axes.set_yticks(range(len(names)), names)
    axes.set_ylim(len(names) - 0.5, -0.5)
    axes.set_xlim(0, max(one["most"] for one in found) * 1.1)
    for place, one in enumerate(found):
        value = _number(one["median"])
        axes.annotate(value, (one["most"], place), (4, 0), textcoords="offset points", va="center", fontsize=8)
    axes.locator_params(axis="x", nbins=5)
    axes.xaxis.set_major_formatter(_plain)
    axes.set_xlabel(curve.unit)
    axes.grid(axis="x", color="0.92")
    axes.set_axisbelow(True)
