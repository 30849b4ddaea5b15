r"""Figure 1 of a study: the metric against size, a panel for each target; and what its other figures share with it.

    nodule, 38 of 200 patients
    |            as good from 256 on
    |                 |
    |            ,----*------<>     <> the reference; * as good, o not shown to be; points: single seeds
    |======o====/=====|========     the band: the reference's value, down to the margin
    |    /  .-- []- - []            [] the control arm: what is lost with the detail alone
    |  o  []
    +--64--128-----256------512

matplotlib's Agg writes it, without pyplot: no global state is touched, and the same study gives the same bytes.
"""

import io
import math
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from resload.errors import require
from resload.report.drawing import FONT, INSIDE, WHOLE
from resload.size import Size, as_size
from resload.statistics import Comparison
from resload.study import words
from resload.study.lesions import spacing

if TYPE_CHECKING:
    from resload.study.results import Line, Study

WHY = "to draw a study"
COLOURS = (WHOLE, "#E69F00", "#009E73", "#CC79A7", "#56B4E9", "#000000")
"""Of curves: told apart by people with any colour vision (Wong, Nature Methods 8, 441, 2011)."""
CONTROL = INSIDE
"""The control arm of the only curve; of several each has the colour of its own."""
WIDEST = 4
"""Panels side by side."""
PANELS = {1: (6.0, 3.9), 2: (4.3, 3.3), 3: (3.5, 2.9), 4: (3.1, 2.6)}
"""Inches of a panel, by how many stand side by side."""
LABEL_INCHES = 0.24
"""That the label of a size takes: of sizes nearer than that some have a tick only."""
APART, SEEDS = 0.09, 0.035
"""Octaves between the marks of a size's curves, and from a mark to the points of its seeds."""
FOOT, HEAD = 0.55, 0.42
"""Inches below and above all panels: for the legend and the title."""


class Painted:
    """A figure that is laid out, to be written as pixels or as lines. Raises MissingPackageError without matplotlib."""

    def __init__(self, inches: tuple[float, float], draw: Callable[[Any], None]) -> None:
        self._figure = require("matplotlib.figure", "figures", WHY).Figure(figsize=inches, dpi=100)
        self._agg = require("matplotlib.backends.backend_agg", "figures", WHY).FigureCanvasAgg(self._figure)
        with self._settings():
            draw(self._figure)

    def png(self, dpi: int = 300) -> bytes:
        """As a PNG, for print."""
        data = io.BytesIO()
        self._figure.set_dpi(dpi)
        with self._settings():
            self._agg.print_png(data, metadata={"Software": None})
        return data.getvalue()

    def svg(self) -> bytes:
        """As SVG, letters as outlines: sharp at any size, and smaller than pixels."""
        data = io.StringIO()
        canvas = require("matplotlib.backends.backend_svg", "figures", WHY).FigureCanvasSVG(self._figure)
        with self._settings():
            canvas.print_svg(data, metadata={"Date": None, "Creator": None})
        return data.getvalue().encode()

    @staticmethod
    def _settings() -> Any:
        fixed = {"font.family": FONT, "font.size": 9, "svg.fonttype": "path", "svg.hashsalt": "resload"}
        return require("matplotlib", "figures", WHY).rc_context(fixed)


def panels(count: int) -> tuple[int, int, tuple[float, float]]:
    """Rows, columns and inches of a figure of so many panels."""
    columns = min(WIDEST, count) if count != 4 else 2
    rows = math.ceil(count / columns)
    width, height = PANELS[columns]
    return rows, columns, (columns * width, rows * height + FOOT + HEAD)


def grid(figure: Any, count: int, title: str, handles: Sequence[Any]) -> list[Any]:
    """Axes of so many panels under a title, with a legend below them; call `settled` when they are drawn."""
    rows, columns, (width, height) = panels(count)
    axes = figure.subplots(rows, columns, squeeze=False).ravel().tolist()
    for spare in axes[count:]:
        spare.set_axis_off()
    figure.suptitle(
        title, fontsize=12, fontweight="bold", y=1 - 0.12 / height, va="top", parse_math=False
    ).set_in_layout(False)
    if handles:
        most = max(1, int(width / 2.1))
        legend = figure.legend(handles=list(handles), loc="lower center", ncols=min(len(handles), most), frameon=False,
                               fontsize=8, bbox_to_anchor=(0.5, 0.06 / height), borderaxespad=0)  # fmt: skip
        legend.set_in_layout(False)
        for text in legend.get_texts():
            text.set_parse_math(False)
    shown: list[Any] = axes[:count]
    return shown


def settled(figure: Any) -> None:
    """Room for what stands around the panels."""
    _, height = figure.get_size_inches()
    figure.tight_layout(rect=(0, FOOT / height, 1, 1 - HEAD / height), w_pad=1.5, h_pad=1.2)


def place(size: Size) -> float:
    """Where a size stands on an axis of octaves: the binary logarithm of its side."""
    return 0.5 * math.log2(size.pixels)


def short(size: Size) -> str:
    """`256`, or `96x80`."""
    return str(size.height) if size.height == size.width else str(size)


def size_axis(axes: Any, sizes: Sequence[Size], first: Sequence[Size], labels: Sequence[str], name: str) -> None:
    """An axis of octaves with a tick at each size. Where labels would touch, those of `first` and of larger sizes stay.

    sizes: ascending; labels: one for each.
    """
    places = [place(size) for size in sizes]
    edge = max(0.25, 0.08 * (places[-1] - places[0]))
    axes.set_xlim(places[0] - edge, places[-1] + edge)
    inches = axes.get_figure().get_size_inches()[0] * axes.get_position().width
    apart = (
        LABEL_INCHES
        * (places[-1] - places[0] + 2 * edge)
        / inches
        * (1 + 0.06 * max(len(line) for label in labels for line in label.split("\n")))
    )
    shown: list[Size] = []
    for size in [*first, sizes[0], *reversed(sizes)]:
        if all(abs(place(size) - place(other)) >= apart for other in shown):
            shown.append(size)
    axes.set_xticks(places, [label if size in shown else "" for size, label in zip(sizes, labels, strict=True)])
    axes.set_xlabel(name, fontsize=8.5)
    quiet(axes)


def quiet(axes: Any) -> None:
    """Small numbers, lines across, and no frame."""
    axes.tick_params(labelsize=8)
    axes.grid(axis="y", color="0.92")
    axes.set_axisbelow(True)
    for side in ("top", "right"):
        axes.spines[side].set_visible(False)


def colour_of(study: "Study", line: "Line") -> str:
    """Of its curve; of a control arm beside the only curve its own."""
    names = list(dict.fromkeys(words.curve_words(study, one.curve) for one in study.lines))
    if line.curve.control and len(names) == 1:
        return CONTROL
    return COLOURS[names.index(words.curve_words(study, line.curve)) % len(COLOURS)]


def key(label: str, **style: Any) -> Any:
    """A line of the legend."""
    return require("matplotlib.lines", "figures", WHY).Line2D([], [], label=label, **style)


# -- the metric against size --


def sizes(study: "Study") -> Painted:
    """Figure 1."""
    targets = list(dict.fromkeys(line.target for line in study.comparisons))

    def draw(figure: Any) -> None:
        title = f"{words.METRICS[study.metric][0].upper()}{words.METRICS[study.metric][1:]} at each size"
        for axes, target in zip(grid(figure, len(targets), title, _keys(study)), targets, strict=True):
            _panel(axes, study, target)
        settled(figure)
        for axes, target in zip(figure.axes, targets, strict=False):
            _sides(axes, study, target)  # which labels have room is known now
        settled(figure)

    return Painted(panels(len(targets))[2], draw)


def _panel(axes: Any, study: "Study", target: str) -> None:
    """One target: its curves, and the control arms beside them."""
    lines = [line for line in study.comparisons if line.target == target]
    plain = [line for line in lines if not line.curve.control]
    found = study.comparisons[lines[0]]
    axes.set_title(f"{target}\n", loc="left", fontweight="bold", fontsize=10, pad=4, parse_math=False)
    axes.annotate(_how_many(found), (0, 1), (0, 5), xycoords="axes fraction", textcoords="offset points", fontsize=8,
                  color="0.3")  # fmt: skip
    _sides(axes, study, target)
    if len(plain) == 1:
        _margin(axes, study, study.comparisons[plain[0]])
    for number, line in enumerate(lines):
        _line(axes, study, line, APART * (number - (len(lines) - 1) / 2))
    axes.margins(y=0.12)


def _how_many(found: Comparison) -> str:
    having = "" if found.positive_patients is None else f"{found.positive_patients} of "
    return f"{having}{found.patients} patients"


def _sides(axes: Any, study: "Study", target: str) -> None:
    lines = [line for line in study.comparisons if line.target == target]
    every = {as_size(str(size)) for line in lines for size in study.comparisons[line].arms}
    ascending = sorted(every, key=lambda size: (size.pixels, size))
    plain = [study.comparisons[line] for line in lines if not line.curve.control]
    marked = [as_size(str(size)) for found in plain for size in (found.reference, found.plateau.size) if size]
    pixels = [spacing(study, lines[0].curve.fit, size) for size in ascending]
    if all(one is not None for one in pixels):
        labels = [f"{short(size)}\n{mm:.2g}" for size, mm in zip(ascending, pixels, strict=True)]
        name = "size, pixels; below it mm per pixel"
    else:
        labels, name = list(map(short, ascending)), "size, pixels"
    size_axis(axes, ascending, marked, labels, name)


def _margin(axes: Any, study: "Study", found: Comparison) -> None:
    """A band from the reference's value to what is as good, and where that begins."""
    value = found.arms[found.reference].value
    end = value - found.plateau.margin if found.higher_is_better else value + found.plateau.margin
    axes.axhspan(min(value, end), max(value, end), color="0.88", zorder=0.5)
    if found.reference != study.reference or found.plateau.size is None:
        return
    begins = as_size(str(found.plateau.size))
    axes.axvline(place(begins), color="0.35", linewidth=1, linestyle=(0, (1, 2)))
    label = f"as good from {short(begins)}"
    axes.annotate(label, (1, 1), (0, 5), xycoords="axes fraction", textcoords="offset points", fontsize=8, ha="right")


def _line(axes: Any, study: "Study", line: "Line", shift: float) -> None:
    """Means with their intervals over patients, and single seeds."""
    found, colour, control = study.comparisons[line], colour_of(study, line), line.curve.control
    arms = {as_size(str(size)): arm for size, arm in found.arms.items()}
    x = [place(size) + shift for size in arms]
    style = {"color": colour, "linestyle": (0, (4, 2)) if control else "-", "linewidth": 1.3, "zorder": 3}
    axes.plot(x, [arm.value for arm in arms.values()], **style)
    for at, (size, arm) in zip(x, arms.items(), strict=True):
        if control and size == as_size(study.records(line)[0]["size"]):
            continue  # the same networks as the other curve's
        axes.plot([at, at], [arm.low, arm.high], color=colour, linewidth=1, solid_capstyle="butt", zorder=2)
        axes.plot([at + SEEDS] * len(arm.seeds), arm.seeds, ".", color=colour, markersize=3.5, alpha=0.6,
                  markeredgewidth=0, zorder=2.5)  # fmt: skip
        axes.plot(at, arm.value, **_mark(found, size, colour, control), markeredgecolor=colour, zorder=4)


def _mark(found: Comparison, size: Size, colour: str, control: bool) -> dict[str, Any]:
    """Of a mean."""
    if control:
        return {"marker": "s", "markersize": 4.5, "color": "white"}
    if size == found.reference:
        return {"marker": "D", "markersize": 5.5, "color": colour}
    return {"marker": "o", "markersize": 5.5, "color": colour if size in _as_good(found) else "white"}


def _as_good(found: Comparison) -> list[object]:
    """Sizes that passed, all between the plateau and the reference."""
    return [one.size for one in found.plateau.tested if one.passed]


def _keys(study: "Study") -> list[Any]:
    """What the signs of the figure mean."""
    lines = {(words.curve_words(study, line.curve), line.curve.control): line for line in study.comparisons}
    several = len({name for name, _ in lines}) > 1
    found = []
    for (name, control), line in lines.items():
        arm = "control: that size's detail, enlarged" if control else "films at that size"
        style: dict[str, Any] = {"color": colour_of(study, line), "linewidth": 1.3}
        style |= (
            {"linestyle": (0, (4, 2)), "marker": "s", "markerfacecolor": "white", "markersize": 4.5} if control else {}
        )
        found.append(key((f"{name}, control" if control else name) if several else arm, **style))
    sign: dict[str, Any] = {"color": "0.25", "linestyle": "", "markeredgecolor": "0.25", "markersize": 5.5}
    found += [
        key("the reference", marker="D", **sign),
        key("as good, by the margin", marker="o", **sign),
        key("not shown to be as good", marker="o", markerfacecolor="white", **sign),
        key("single seeds", marker=".", **{**sign, "color": "0.5", "markeredgecolor": "0.5"}),
    ]
    if not several:
        found.append(key("reference and margin", color="0.85", linewidth=7))
    return found
