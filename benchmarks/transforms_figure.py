"""The figure of `transforms.py`: images/s of each way, a panel for each transform."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

FONT = "DejaVu Sans"
THREADS, WORKERS = ("#7FB8D8", "#0072B2"), ("#F5D0B5", "#EBA070", "#D55E00")
"""Blue and vermilion, told apart with any colour vision; darker where more are at work."""
COLUMNS = 4


def draw(found: Mapping[str, Mapping[str, Any]], path: Path, *, foot: str) -> None:
    """A PNG, without pyplot; panels have axes of their own, from zero on."""
    from matplotlib import rc_context
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    lines = -(-len(found) // COLUMNS)
    with rc_context({"font.family": FONT, "font.size": 9}):
        figure = Figure(figsize=(3.6 * COLUMNS, 2.9 * lines + 0.9), dpi=120)
        canvas = FigureCanvasAgg(figure)
        panels = figure.subplots(lines, COLUMNS, squeeze=False).ravel()
        for axes, (name, one) in zip(panels, found.items(), strict=False):
            _panel(axes, name, one)
        for axes in panels[len(found) :]:
            axes.set_axis_off()
        figure.suptitle("A transform under threads, and in worker processes", fontsize=12, fontweight="bold")
        figure.text(0.5, 0.012, foot, ha="center", va="bottom", fontsize=8, color="0.3")
        figure.tight_layout(rect=(0, 0.035, 1, 0.99), w_pad=1.5, h_pad=1.8)
        canvas.print_png(path, metadata={"Software": None})


def _panel(axes: Any, name: str, one: Mapping[str, Any]) -> None:
    rates = one["images_per_second"]
    middle = [rate["median"] for rate in rates.values()]
    around = [
        [rate["median"] - rate["least"] for rate in rates.values()],
        [rate["most"] - rate["median"] for rate in rates.values()],
    ]
    places = range(len(rates))
    axes.barh(places, middle, xerr=around, color=[*THREADS, *WORKERS], ecolor="0.2", capsize=2, height=0.7)
    axes.set_yticks(places, list(rates))
    axes.invert_yaxis()
    most = max(rate["most"] for rate in rates.values())
    axes.set_xlim(0, 1.3 * most)
    for place, rate in zip(places, rates.values(), strict=True):
        offset = {"xytext": (4, 0), "textcoords": "offset points"}
        axes.annotate(f"{rate['median']:,.0f}", (rate["most"], place), va="center", fontsize=8, **offset)
    alone = f" ({one['alone_ms']:.2g} ms alone)" if one["alone_ms"] else ""
    axes.set_title(f"{name}{alone}", loc="left", fontsize=9, fontweight="bold")
    axes.locator_params(axis="x", nbins=4)
    axes.xaxis.set_major_formatter(lambda value, _: f"{value:,.10g}")
    axes.set_xlabel("images/s")
    axes.grid(axis="x", color="0.92")
    axes.set_axisbelow(True)
