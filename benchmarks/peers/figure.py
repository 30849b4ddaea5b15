"""The results as bars: one panel for each question, the fastest on top, ours in a colour of its own.

matplotlib's Agg writes it, without pyplot: no global state is touched, and the same results give the same picture.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from matplotlib import rc_context
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from peers.tables import CEILING, number, ordered

OURS, VARIANT, PEER, LIMIT = "#0072B2", "#56B4E9", "#999999", "#E69F00"
"""Blue, sky blue, grey and orange: told apart by people with any colour vision (Wong, Nature Methods 8, 441, 2011)."""
BAR_INCHES, HEAD_INCHES, WIDE = 0.27, 0.75, 9.0
DECADES = 10
"""Times between the slowest and the fastest from which the axis is logarithmic."""


def draw(document: Mapping[str, Any], path: Path) -> None:
    """Write the PNG of a document of results."""
    questions = [one for one in document["questions"].values() if ordered(one["rows"])]
    heights = [HEAD_INCHES + BAR_INCHES * len(ordered(one["rows"])) for one in questions]
    with rc_context({"font.family": "DejaVu Sans", "font.size": 9}):
        figure = Figure(figsize=(WIDE, sum(heights) + 0.9), dpi=110)
        figure.set_layout_engine("constrained", w_pad=0.15, hspace=0.04)
        canvas = FigureCanvasAgg(figure)
        panels = figure.subplots(len(questions), 1, height_ratios=heights, squeeze=False)[:, 0]
        for axes, question in zip(panels, questions, strict=True):
            panel(axes, question)
        title = "Images a second" + (" (a quick run: no measurement)" if document["quick"] else "")
        figure.suptitle(f"{title}\n{machine(document)}", fontsize=10)
        canvas.print_png(str(path), metadata={"Software": None})


def machine(document: Mapping[str, Any]) -> str:
    where = document["environment"]
    return f"{where['processor']}, {where['cores']} cores, {where['date']}; lines: least to most of the rounds"


def panel(axes: Any, question: Mapping[str, Any]) -> None:
    """One question: bars with their spread and the median written beside them."""
    rows = ordered(question["rows"])[::-1]
    medians = [row["rate"]["median"] for row in rows]
    spread = [
        [row["rate"]["median"] - row["rate"]["least"] for row in rows],
        [row["rate"]["most"] - row["rate"]["median"] for row in rows],
    ]
    style = {"ecolor": "0.2", "elinewidth": 1.0, "capsize": 2.0}
    axes.barh(range(len(rows)), medians, height=0.72, color=[colour(row["label"]) for row in rows])
    axes.errorbar(medians, range(len(rows)), xerr=spread, fmt="none", **style)
    if max(medians) > DECADES * min(medians):
        axes.set_xscale("log")
        axes.set_xlim(min(medians) / 2, max(row["rate"]["most"] for row in rows) * 2.5)
    else:
        axes.set_xlim(0, max(row["rate"]["most"] for row in rows) * 1.15)
    for place, row in enumerate(rows):
        at = (row["rate"]["most"], place)
        axes.annotate(number(row["rate"]["median"]), at, (5, 0), textcoords="offset points", va="center", fontsize=8)
    axes.set_yticks(range(len(rows)), [row["label"] for row in rows])
    for text, row in zip(axes.get_yticklabels(), rows, strict=True):
        text.set_fontweight("bold" if row["label"] == "resload" else "normal")
    axes.set_ylim(-0.6, len(rows) - 0.4)
    axes.set_title(question["title"], loc="left", fontweight="bold", fontsize=10)
    axes.xaxis.set_major_formatter(lambda value, _: f"{value:,.0f}")
    axes.grid(axis="x", color="0.9")
    axes.set_axisbelow(True)
    axes.spines[["top", "right"]].set_visible(False)


def colour(label: str) -> str:
    if label.startswith(CEILING):
        return LIMIT
    return OURS if label == "resload" else VARIANT if label.startswith("resload") else PEER
