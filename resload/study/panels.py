"""The other figures of a study, each for one question; None where the study has nothing for it.

cost      what does a better number cost? The metric against time, memory, arithmetic and bytes
lesions   is it the pixels of a finding that count? Detectability against them: one curve, whatever the size?
training  did networks learn to the end? The metric on validation films, epoch by epoch
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from statistics import mean, median
from typing import TYPE_CHECKING, Any

from resload.errors import require
from resload.report.drawing import RAMP
from resload.size import Size, as_size
from resload.study import drawing, words
from resload.study.lesions import Octave, octaves

if TYPE_CHECKING:
    from resload.study.results import Line, Study


@dataclass(frozen=True)
class Price:
    """Something that a size costs."""

    name: str
    of: Callable[[Mapping[str, Any]], float | None]
    """Of a network's record."""


PRICES = (
    Price("training, s per network", lambda record: record["seconds"]["train"]),
    Price("peak memory, MB", lambda record: _scaled(record["peak_bytes"], 1e-6)),
    Price("GFLOP per image, forward", lambda record: _scaled(record["flops_per_image"], 1e-9)),
    Price("stored kB per film", lambda record: _scaled(record["bytes_per_film"], 1e-3)),
)


def _scaled(value: float | None, factor: float) -> float | None:
    return None if value is None else value * factor


# -- cost beside benefit --


def cost(study: "Study") -> drawing.Painted | None:
    """The mean over targets against what each size costs; None with fewer than two sizes."""
    curves = _benefits(study)
    prices = [price for price in PRICES if any(_paid(study, lines, size, price) is not None
                                               for lines, values in curves for size in values)]  # fmt: skip
    if not any(len(values) > 1 for _, values in curves):
        return None
    first = [lines[0] for lines, _ in curves]
    handles = [drawing.key(words.curve_words(study, line.curve), color=drawing.colour_of(study, line), marker="o")
               for line in first if len(first) > 1]  # fmt: skip

    def draw(figure: Any) -> None:
        shown = drawing.grid(figure, len(prices), "What each size costs, and what it brings", handles)
        for axes, price in zip(shown, prices, strict=True):
            _prices(axes, study, curves, price)
        shown[0].set_ylabel(benefit_words(study), fontsize=8.5)
        drawing.settled(figure)

    return drawing.Painted(drawing.panels(len(prices))[2], draw)


Curves = list[tuple[list["Line"], dict[Size, float]]]
"""Lines of each curve, one for each target, and what each size reaches."""


def _benefits(study: "Study") -> Curves:
    """The mean over targets; of errors in units of their own, each as a share of its reference's."""
    found: Curves = []
    for name in dict.fromkeys(words.curve_words(study, line.curve) for line in words.plain_lines(study)):
        lines = [line for line in words.plain_lines(study) if words.curve_words(study, line.curve) == name]
        every = [study.comparisons[line] for line in lines]
        shared = [size for size in every[0].arms if all(size in one.arms for one in every)]
        relative = study.metric == "mean absolute error" and len(lines) > 1
        values = {
            as_size(str(size)): mean(
                one.arms[size].value / (one.arms[one.reference].value if relative else 1) for one in every
            )
            for size in shared
        }
        found.append((lines, values))
    return found


def benefit_words(study: "Study") -> str:
    """What `cost` shows upwards."""
    several = len(study.targets) > 1
    if study.metric == "mean absolute error":
        return "error, of the reference's (mean over targets)" if several else "mean absolute error"
    return f"{words.METRICS[study.metric]}{', mean over targets' if several else ''}"


def _paid(study: "Study", lines: Sequence["Line"], size: Size, price: Price) -> float | None:
    """The median over networks, of all targets."""
    records = [record for line in lines for record in study.points(line)[size].records]
    known = [value for record in records if (value := price.of(record)) is not None]
    return median(known) if known else None


def _prices(axes: Any, study: "Study", curves: Curves, price: Price) -> None:
    for lines, values in curves:
        paid = {size: cost for size in values if (cost := _paid(study, lines, size, price)) is not None}
        colour = drawing.colour_of(study, lines[0])
        axes.plot(list(paid.values()), [values[size] for size in paid], "o-", color=colour, markersize=4, linewidth=1.2)
        for size, cost in paid.items():
            axes.annotate(drawing.short(size), (cost, values[size]), (0, 5), textcoords="offset points", fontsize=7.5,
                          ha="center", color="0.2")  # fmt: skip
    axes.set_xscale("log")
    axes.xaxis.set_major_formatter(lambda value, _: f"{value:g}")
    axes.xaxis.set_minor_formatter(lambda value, _: "")
    axes.margins(x=0.15, y=0.18)
    axes.set_xlabel(price.name, fontsize=8.5)
    drawing.quiet(axes)


# -- pixels of findings --


def lesions(study: "Study") -> drawing.Painted | None:
    """Detectability against pixels of the findings; None where no target is the name of boxes or masks."""
    every = {line: octaves(study, line) for line in first_lines(study)}
    shown = {line: found for line, found in every.items() if found}
    if not shown:
        return None
    colours = size_colours(study)
    sizes = [size for size in colours if any(size in found for found in shown.values())]
    handles = [drawing.key(drawing.short(size), color=colours[size], marker="o", markersize=4) for size in sizes]

    def draw(figure: Any) -> None:
        title = "What is seen of findings of so many pixels"
        axes_of = drawing.grid(figure, len(shown), title, handles)
        for axes, (line, found) in zip(axes_of, shown.items(), strict=True):
            axes.set_title(words.heading(study, line), loc="left", fontweight="bold", fontsize=10, parse_math=False)
            _seen(axes, found, colours)
            axes.set_ylabel("Dice coefficient" if study.metric == "dice" else "negatives outscored", fontsize=8.5)
        drawing.settled(figure)

    return drawing.Painted(drawing.panels(len(shown))[2], draw)


def first_lines(study: "Study") -> list["Line"]:
    """The first curve of each target."""
    lines = words.plain_lines(study)
    return [next(line for line in lines if line.target == name) for name in dict.fromkeys(one.target for one in lines)]


def _seen(axes: Any, found: Mapping[Size, Sequence[Octave]], colours: Mapping[Size, Any]) -> None:
    for size, bins in found.items():
        x, y = [one.middle for one in bins], [one.detectability.value for one in bins]
        axes.plot(x, y, "o-", color=colours[size], markersize=4, linewidth=1.2)
        for one in bins:
            axes.plot(
                [one.middle] * 2, [one.detectability.low, one.detectability.high], color=colours[size], linewidth=1
            )
    axes.set_xscale("log", base=2)
    axes.xaxis.set_major_formatter(lambda value, _: f"{value:g}")
    axes.set_xlabel("pixels of the film's largest finding", fontsize=8.5)
    drawing.quiet(axes)


# -- training --


def training(study: "Study") -> drawing.Painted | None:
    """The metric on the validation films after each epoch; None where all networks had one epoch."""
    groups = _groups(study)
    if all(len(record["history"]) < 2 for record in study.runs):
        return None
    colours = size_colours(study)
    handles = [drawing.key(drawing.short(size), color=colour) for size, colour in colours.items()]
    handles += [drawing.key("the epoch that was tested", color="0.3", linestyle="", marker="o", markersize=3.5)]

    def draw(figure: Any) -> None:
        axes_of = drawing.grid(figure, len(groups), "Training: the metric on validation films", handles)
        for axes, (name, records) in zip(axes_of, groups.items(), strict=True):
            axes.set_title(name, loc="left", fontweight="bold", fontsize=10, parse_math=False)
            _epochs(axes, records, colours)
        drawing.settled(figure)

    return drawing.Painted(drawing.panels(len(groups))[2], draw)


def _groups(study: "Study") -> dict[str, list[Mapping[str, Any]]]:
    """Records of the networks that learnt the same targets: those of the first curve."""
    found: dict[str, list[Mapping[str, Any]]] = {}
    for line in first_lines(study):
        for record in study.records(line):
            name = line.target if len(record["targets"]) == 1 else f"mean of {len(record['targets'])} targets"
            own = found.setdefault(name, [])
            if record not in own:
                own.append(record)
    return found


def _epochs(axes: Any, records: Sequence[Mapping[str, Any]], colours: Mapping[Size, Any]) -> None:
    for record in records:
        values = [one["metric"] for one in record["history"]]
        colour, chosen = colours[as_size(record["size"])], record["chosen_epoch"]
        axes.plot(range(1, len(values) + 1), values, color=colour, linewidth=1)
        axes.plot(chosen, values[chosen - 1], "o", color=colour, markersize=3.5)
    axes.xaxis.get_major_locator().set_params(integer=True)
    axes.set_xlabel("epoch", fontsize=8.5)
    drawing.quiet(axes)


# -- what they share --


def size_colours(study: "Study") -> dict[Size, Any]:
    """A colour for each size, from dark to light as they grow."""
    every = {as_size(record["size"]) for record in study.runs if not record["control"]}
    ascending = sorted(every, key=lambda size: (size.pixels, size))
    ramp = require("matplotlib", "figures", drawing.WHY).colormaps[RAMP]
    return {size: ramp(0.9 * number / max(len(ascending) - 1, 1)) for number, size in enumerate(ascending)}
