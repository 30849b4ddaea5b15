"""`resload report`: what each size of a cache loses, before one is chosen."""

import argparse
from typing import TYPE_CHECKING, Any

from resload.cli import source
from resload.cli.answer import Answer, columns, first_of, millimetres

if TYPE_CHECKING:
    from resload.report import Report

HELP = "say what each size loses: bytes, mm per pixel, pixels of the findings, error and detail against the films"
EXAMPLE = """  $ resload report films.zarr films --out report.png
  $ resload report films.zarr --films 8"""

FEW = 4
"""Pixels: the table counts the findings that are shorter."""


def arguments(parser: argparse.ArgumentParser) -> None:
    """Add this verb's arguments."""
    parser.add_argument("cache", metavar="CACHE", help="the folder of the cache")
    source.arguments(parser, required=False)
    source.key_argument(parser)
    parser.add_argument("--films", type=int, default=64, metavar="N", help="how many films to compare (%(default)s)")
    parser.add_argument("--out", metavar="PNG", help="also draw the report here")
    parser.add_argument("--threads", type=int, metavar="N", help="how many films at once (default: at most 4)")


def run(args: argparse.Namespace) -> Answer:
    """Report, print, draw."""
    from resload.report import drawing, resolution_report

    if args.out is not None:
        drawing.checked(args.out)
    catalog = None if args.source is None else source.catalog(args, progress=True)
    report = resolution_report(
        args.cache,
        catalog,
        films=args.films,
        seed=args.seed,
        pseudonymise=source.key(args),
        threads=args.threads,
    )
    if args.out is not None:
        report.draw(args.out)
    document = {"cache": args.cache, "source": args.source, "out": args.out, **report.to_dict()}
    return Answer(document, lines(report), bad=bool(report.skipped))


def lines(report: "Report") -> list[str]:
    """The report for people."""
    found = [f"{report.name}: {report.films} films; {_compared(report)}", *sizes(report), *energy(report)]
    found += findings(report)
    if report.skipped:
        reasons = [f"  {name}: {reason}" for name, reason in report.skipped.items()]
        found += [f"could not be compared: {len(reasons)}", *first_of(reasons, "--json has all of them")]
    return found


def _compared(report: "Report") -> str:
    others = sorted({one.against for one in report.sizes})
    boxed = max((one.boxes.films for one in report.sizes if one.boxes is not None), default=0)
    against = "with their own pixels" if others == ["film"] else f"with {', '.join(others)} (SOURCE: with the films)"
    return f"{report.measured} compared ({boxed} with boxes), {against}"


def sizes(report: "Report") -> list[str]:
    """A line for each size."""
    head = ["size", "MB per 1,000 films", "mm per pixel", "findings, px (5-95 %)", f"under {FEW} px"]
    rows = [[*head, "PSNR, dB", "in boxes"]]
    for one in report.sizes:
        spacing = [None if axis is None else axis.median for axis in (one.spacing_y, one.spacing_x)]
        pixels, under = _pixels(one.lesions[0]) if one.lesions else ("", "")
        inside = "" if one.boxes is None else _decibel(one.boxes.psnr.median)
        megabytes = f"{one.bytes_per_film / 1000:,.1f}"
        whole = _decibel(one.whole.psnr.median)
        rows.append([str(one.size), megabytes, millimetres(*spacing), pixels, under, whole, inside])
    return columns(rows)


def energy(report: "Report") -> list[str]:
    """How much of the films' energy is left in each octave."""
    unit = "line pairs per mm" if report.unit == "cycles/mm" else "cycles per pixel of what sizes are compared with"
    rows = [["size", *(f"{one.low:.2g}-{one.high:.2g}" for one in report.octaves)]]
    for one in report.sizes:
        rows.append([str(one.size), *map(_percent, one.whole.kept)])
        if one.boxes is not None:
            rows.append(["  in boxes", *map(_percent, one.boxes.kept)])
    return [f"energy kept, by spatial frequency ({unit}; fine detail first)", *columns(rows)]


def findings(report: "Report") -> list[str]:
    """Pixels of the findings of each label: nothing when there are none, or only one label."""
    names = list(dict.fromkeys(found.label for one in report.sizes for found in one.lesions if found.label is not None))
    if len(names) < 2:
        return []
    rows = [["finding", "boxes", *(str(one.size) for one in report.sizes)]]
    for name in names:
        own = [next((found for found in one.lesions if found.label == name), None) for one in report.sizes]
        cells = ["" if found is None else " ".join(_pixels(found)) for found in own]
        rows.append([name, str(max(found.count for found in own if found is not None)), *cells])
    return [f"shorter side of the boxes: median in pixels (5-95 %), share under {FEW} px", *columns(rows)]


def _pixels(found: Any) -> tuple[str, str]:
    pixels = found.pixels
    middle = f"{_three(pixels.median)} ({_three(pixels.p5)}-{_three(pixels.p95)})"
    return middle, f"{100 * found.under[FEW]:.0f} %"


def _three(value: float) -> str:
    return f"{value:.1f}" if value < 100 else f"{value:.0f}"


def _decibel(value: float) -> str:
    return "same" if value == float("inf") else f"{value:.1f}"


def _percent(share: float | None) -> str:
    return "" if share is None else f"{max(0.0, 100 * share):.0f} %"
