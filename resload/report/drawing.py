r"""The report as a figure: what is left of findings, of the picture, and of its detail, at each size.

    findings in pixels          error                        energy kept
      |        |                      o                      1 --------___
      |   |    |              o   o                                 \  \  \      one curve for each size
    --+---+----+-- 4 px   o                                  0 _______\__\__\_
     64  128  256           64  128  256                       coarse ... fine

matplotlib's Agg writes it, without pyplot: no global state is touched, and the same report gives the same bytes.
"""

import math
import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from resload.errors import require
from resload.picture import png_path
from resload.report.films import FILM
from resload.report.numbers import Spread
from resload.size import Size

if TYPE_CHECKING:
    from resload.report.document import Detail, Report

FONT = "DejaVu Sans"
"""The font matplotlib carries with it."""
WHOLE, INSIDE = "#0072B2", "#D55E00"
"""Blue and vermilion: told apart by people with any colour vision (Wong, Nature Methods 8, 441, 2011)."""
RAMP = "viridis"
"""Of the sizes: ordered by lightness, so also in grey."""
FEW = 4
"""Pixels: the line below which little of a finding's shape is left."""
INCHES = (12.0, 4.2)


def checked(path: str | os.PathLike[str]) -> Path:
    """The path, when a figure can be written there; before long work.

    Raises ArgumentError for one that does not end in .png, MissingPackageError without matplotlib.
    """
    return png_path(path, "the figure", "to draw a report")


def draw(report: "Report", path: str | os.PathLike[str], *, dpi: int) -> None:
    """Write the figure; raises as `checked` does."""
    target = checked(path)
    figure = require("matplotlib.figure", "figures", "to draw a report").Figure(figsize=INCHES, dpi=dpi)
    canvas = require("matplotlib.backends.backend_agg", "figures", "to draw a report").FigureCanvasAgg(figure)
    with require("matplotlib", "figures", "to draw a report").rc_context({"font.family": FONT, "font.size": 9}):
        findings, error, energy = figure.subplots(1, 3, width_ratios=(1, 1, 1.25))
        _findings(findings, report)
        _error(error, report)
        _energy(energy, report)
        figure.suptitle(f"What each size of {report.name} loses", fontsize=12, fontweight="bold", parse_math=False)
        figure.text(0.5, 0.012, _note(report), ha="center", va="bottom", fontsize=8, color="0.3")
        figure.tight_layout(rect=(0, 0.045, 1, 1), w_pad=2.0)
        canvas.print_png(target, metadata={"Software": None})


def _findings(axes: Any, report: "Report") -> None:
    """Medians, quartiles and 5th to 95th percentiles of the findings' shorter sides."""
    _sides(axes, report, "Findings: shorter side of boxes, or diameter of masks", "pixels of the size")
    shown = [(x, one.lesions[0]) for x, one in enumerate(report.sizes) if one.lesions]
    if not shown:
        _nothing(axes, "no boxes")
        return
    for x, found in shown:
        _whiskers(axes, x, found.pixels, WHOLE)
        axes.plot([x, x], [found.pixels.p25, found.pixels.p75], color=WHOLE, linewidth=7, solid_capstyle="butt")
        axes.plot(x, found.pixels.median, "o", color="white", markeredgecolor=WHOLE, markersize=5, zorder=3)
        share = f"{100 * found.under[FEW]:.0f}"
        axes.annotate(share, (x, 1.0), (0, -3), **_TOP, xycoords=("data", "axes fraction"), color="0.3")
    axes.axhline(FEW, color="black", linewidth=1, linestyle=(0, (5, 3)))
    axes.set_yscale("log", base=2)
    axes.yaxis.set_major_formatter(lambda value, _: f"{value:g}")
    low, high = axes.get_ylim()
    axes.set_ylim(min(low, FEW / 2), high * 2)  # room for the shares
    axes.annotate(f"{FEW} px", (1.0, FEW), (3, 0), xycoords=("axes fraction", "data"), va="center", **_POINTS)
    above = f"% of {shown[0][1].count} findings that are under {FEW} px:"
    axes.annotate(above, (0, 1), (0, 3), xycoords="axes fraction", color="0.3", **_POINTS)


def _error(axes: Any, report: "Report") -> None:
    """PSNR of whole films and inside the boxes."""
    _sides(axes, report, "Error", "PSNR, dB (more is better)")
    parts: list[tuple[str, float, str, Callable[[Any], Detail | None]]] = [
        ("whole film", -0.08, WHOLE, lambda one: one.whole),
        ("inside boxes", 0.08, INSIDE, lambda one: one.boxes),
    ]
    for name, shift, colour, part in parts:
        found = [(x + shift, detail.psnr) for x, one in enumerate(report.sizes) if (detail := part(one)) is not None]
        finite = [(x, psnr) for x, psnr in found if math.isfinite(psnr.median)]
        if finite:
            axes.plot(*zip(*((x, psnr.median) for x, psnr in finite), strict=True), "o-", color=colour, label=name)
        for x, psnr in finite:
            _whiskers(axes, x, psnr, colour)
    for x, one in enumerate(report.sizes):
        if math.isinf(one.whole.psnr.median):
            axes.annotate("nothing lost", (x, 0.97), xycoords=("data", "axes fraction"), rotation=90, **_UNDER)
    if axes.get_legend_handles_labels()[0]:
        axes.legend(loc="lower right", frameon=False)


def _energy(axes: Any, report: "Report") -> None:
    """The share of the films' energy that is left in each octave, from coarse to fine."""
    axes.set_title("Energy kept in each octave", **_TITLE)
    octaves = report.octaves[::-1]
    edges = [octaves[0].low, *(one.high for one in octaves)]
    places = [place - 0.5 for place in range(len(edges))]
    axes.set_xticks(places, [_two(edge) for edge in edges])
    axes.set_xlim(places[0], places[-1])
    if report.unit == "cycles/mm":
        axes.set_xlabel("spatial frequency, line pairs per mm")
        above = axes.twiny()
        above.set_xlim(axes.get_xlim())
        above.set_xticks(places, [_two(0.5 / edge) for edge in edges])
        above.tick_params(labelsize=8, labelcolor="0.3", pad=1)
        above.set_xlabel("width of a line, mm", fontsize=8, color="0.3", labelpad=3)
    else:
        axes.set_xlabel(f"spatial frequency, cycles per pixel of {_against(report)}")
    axes.set_ylabel("% kept (more is better)")
    axes.set_ylim(-3, 105)
    axes.grid(axis="both", color="0.9")
    colours = require("matplotlib", "figures", "to draw a report").colormaps[RAMP]
    for number, one in enumerate(report.sizes):
        colour = colours(0.9 * number / max(len(report.sizes) - 1, 1))
        _curve(axes, one.whole.kept, color=colour, linestyle="-", marker="o", label=_short(one.size))
        if one.boxes is not None:
            _curve(axes, one.boxes.kept, color=colour, linestyle="--", marker="s", label="_")
    if any(one.boxes is not None for one in report.sizes):
        axes.plot([], [], color="0.4", linestyle="--", marker="s", markersize=4, label="inside\nboxes")
    axes.legend(title="size", loc="upper left", bbox_to_anchor=(1.0, 1.0), frameon=False, fontsize=8, title_fontsize=8)


_TITLE: dict[str, Any] = {"loc": "left", "fontweight": "bold", "fontsize": 10, "pad": 30}
_POINTS: dict[str, Any] = {"textcoords": "offset points", "fontsize": 8}
_TOP: dict[str, Any] = {"ha": "center", "va": "top", **_POINTS}
_UNDER: dict[str, Any] = {"ha": "center", "va": "top", "fontsize": 8, "color": "0.3"}


def _sides(axes: Any, report: "Report", title: str, ylabel: str) -> None:
    """What panels have in common whose horizontal axis is the sizes."""
    names = [_short(one.size) for one in report.sizes]
    axes.set_title(title, **_TITLE)
    axes.set_xticks(range(len(names)), names)
    if sum(map(len, names)) > 24:
        for text in axes.get_xticklabels():
            text.set(rotation=45, rotation_mode="anchor", ha="right")
    axes.set_xlim(-0.5, len(names) - 0.5)
    axes.set_xlabel("size, pixels")
    axes.set_ylabel(ylabel)
    axes.grid(axis="y", color="0.9")
    axes.set_axisbelow(True)


def _whiskers(axes: Any, x: float, found: Spread, colour: str) -> None:
    """The 5th to the 95th percentile."""
    if math.isfinite(found.p95):
        axes.plot([x, x], [found.p5, found.p95], color=colour, linewidth=1.2, solid_capstyle="butt")


def _curve(axes: Any, kept: Sequence[float | None], **style: Any) -> None:
    """A size's shares, coarse to fine, where they are known."""
    known = [(x, 100 * share) for x, share in enumerate(kept[::-1]) if share is not None]
    axes.plot([x for x, _ in known], [share for _, share in known], markersize=4, **style)


def _nothing(axes: Any, words: str) -> None:
    axes.text(0.5, 0.5, words, transform=axes.transAxes, ha="center", va="center", color="0.3")
    axes.set_yticks([])


def _note(report: "Report") -> str:
    boxed = max((one.boxes.films for one in report.sizes if one.boxes is not None), default=0)
    how = f"each size enlarged by the {report.returned_by} kernel and compared with {_against(report)}"
    return (
        f"Error and energy: {report.measured} of {report.films} films ({boxed} with boxes), {how}. "
        "Points: medians; lines: 5th to 95th percentile."
    )


def _against(report: "Report") -> str:
    others = sorted({one.against for one in report.sizes}, key=len)
    return "the films themselves" if others == [FILM] else f"size {', '.join(others)}"


def _short(size: Size) -> str:
    return str(size.height) if str(size) == f"{size.height}x{size.height}" else str(size)


def _two(value: float) -> str:
    """Two significant digits, without an exponent."""
    return f"{value:#.2g}".rstrip(".") if value < 10 else f"{value:.0f}"
