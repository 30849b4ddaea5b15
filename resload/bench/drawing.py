r"""What was measured as a picture: a bar for each step's ceiling, the loader, the model, and what the model needs.

    storage, cold    #######                 |
    storage, warm    ################################
    convert          ####################    |
    Loader           ###############         |
                                             | what the model needs

On a logarithmic axis, since steps differ by orders of magnitude. matplotlib's Agg writes it, without pyplot.
"""

import os
from pathlib import Path
from typing import Any

from resload.bench.clock import Rate
from resload.bench.found import Found, bottleneck
from resload.errors import require
from resload.picture import png_path

FONT = "DejaVu Sans"
STEP, CEILING, LOADER, NEED = "#56B4E9", "#BBBBBB", "#0072B2", "#D55E00"
"""Told apart by people with any colour vision (Wong, Nature Methods 8, 441, 2011)."""
WIDE, HIGH, BAR = 8.4, 2.0, 0.34
"""Inches: of the picture, of what is around the bars, and of a bar."""


def checked(path: str | os.PathLike[str]) -> Path:
    """The path, when a picture can be written there; before long work.

    Raises ArgumentError for one that does not end in .png, MissingPackageError without matplotlib.
    """
    return png_path(path, "the picture", "to draw what was measured")


def draw(found: Found, path: str | os.PathLike[str], *, dpi: int = 200) -> None:
    """Write the picture; raises as `checked` does."""
    target = checked(path)
    bars = _bars(found)
    size = (WIDE, HIGH + BAR * len(bars))
    figure = require("matplotlib.figure", "figures", "to draw").Figure(figsize=size, dpi=dpi)
    canvas = require("matplotlib.backends.backend_agg", "figures", "to draw").FigureCanvasAgg(figure)
    with require("matplotlib", "figures", "to draw").rc_context({"font.family": FONT, "font.size": 9}):
        axes = figure.subplots()
        _drawn(axes, bars)
        _need(axes, found)
        axes.set_xlabel("images per second (logarithmic; longer is better)")
        figure.suptitle(f"Loading {found.source} here", fontsize=11, fontweight="bold", parse_math=False)
        axes.set_title(_asked(found), fontsize=8.5, color="0.3", loc="left", parse_math=False)
        figure.tight_layout()
        canvas.print_png(target, metadata={"Software": None})


def _bars(found: Found) -> list[tuple[str, Rate, str]]:
    """(name, rate, colour), from the top down."""
    steps = [(one.name, one.rate, STEP if one.lane else CEILING) for one in found.stages]
    one = [("Loader, 1 thread", found.one_thread, LOADER)] if found.one_thread is not None else []
    loader = [(f"Loader, {found.threads} thread{'s' * (found.threads > 1)}", found.loader, LOADER)]
    model = [("the model", found.model, NEED)] if found.model is not None else []
    both = [("loader and model", found.together, NEED)] if found.together is not None else []
    return [*steps, *one, *loader, *model, *both]


def _drawn(axes: Any, bars: list[tuple[str, Rate, str]]) -> None:
    places = range(len(bars))
    axes.set_xscale("log")
    least, most = min(rate.least for _, rate, _ in bars), max(rate.most for _, rate, _ in bars)
    low = least / 3
    axes.set_xlim(low, most * (most / low) ** 0.22)  # room for the numbers
    for place, (_, rate, colour) in zip(places, bars, strict=True):
        axes.barh(place, rate.median - low, left=low, height=0.68, color=colour)
        axes.plot([rate.least, rate.most], [place, place], color="0.15", linewidth=1.2)
        text = f"{rate.median:,.0f}" if rate.median >= 100 else f"{rate.median:.3g}"
        behind = {"facecolor": "white", "edgecolor": "none", "pad": 1.0}  # the model's line may run through it
        offset = {"xytext": (5, 0), "textcoords": "offset points", "va": "center", "zorder": 4}
        axes.annotate(text, (rate.most, place), bbox=behind, fontsize=8.5, **offset)
    axes.set_yticks(places, [name for name, _, _ in bars])
    axes.invert_yaxis()
    axes.xaxis.set_major_formatter(lambda value, _: f"{value:,.0f}" if value >= 1 else f"{value:g}")
    axes.grid(axis="x", color="0.92")
    axes.set_axisbelow(True)
    for side in ("top", "right"):
        axes.spines[side].set_visible(False)


def _need(axes: Any, found: Found) -> None:
    """A line at what the model needs."""
    if found.need is None:
        return
    low, high = axes.get_xlim()
    axes.set_xlim(min(low, found.need / 2), max(high, found.need * 2))
    axes.axvline(found.need, color=NEED, linewidth=1.4, linestyle=(0, (5, 3)))
    text = f"the model takes {found.need:,.0f}" if found.need >= 100 else f"the model takes {found.need:.3g}"
    axes.annotate(text, (found.need, 0), (4, 2), xycoords=("data", "axes fraction"), textcoords="offset points",
                  fontsize=8.5, color=NEED)  # fmt: skip


def _asked(found: Found) -> str:
    origin = f" from {found.level}" if found.level not in (None, found.size) else ""
    threads = f"{found.threads} thread{'s' * (found.threads > 1)}"
    model = "" if found.model is None else " Orange: the model."
    return (
        f"{found.size}{origin}, {found.dtype}, batches of {found.batch_size}, {found.device}, {threads}. "
        f"Bottleneck: {bottleneck(found)}.\n"
        f"Light blue: its steps, each alone. Dark blue: the loader. Grey: no part of it once warm.{model}"
    )
