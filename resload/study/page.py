"""The report of a study as a page: one HTML file with its figures inside, which asks for nothing from anywhere.

answer      which size each target needs, as a table, and what that rests on
figures     with what they show
protocol    which films, how networks were trained, how sizes are compared
numbers     all of them
method      papers to name
settings    as they were given
"""

import math
from collections.abc import Mapping, Sequence
from html import escape
from statistics import median
from typing import TYPE_CHECKING, Any

from resload.size import Size
from resload.study import words
from resload.study.elements import STYLE, Picture, bullets, figure, paragraph, table
from resload.study.lesions import FEWEST
from resload.study.panels import benefit_words
from resload.study.protocol import method, protocol, settings_and_environment

if TYPE_CHECKING:
    from resload.study.results import Line, Study


def made(study: "Study", figures: Mapping[str, Picture]) -> str:
    """The page; figures: name of each -> picture."""
    parts = {
        "answer": ("Answer", _answer(study)),
        "figures": ("Figures", _figures(study, figures)),
        "protocol": ("Protocol", protocol(study)),
        "numbers": ("All numbers", _numbers(study)),
        "method": ("Method", method(study)),
        "settings": ("Settings and environment", settings_and_environment(study)),
    }
    contents = "".join(f'<li><a href="#{name}">{title}</a></li>' for name, (title, _) in parts.items())
    body = "\n".join(
        f'<section id="{name}">\n<h2>{title}</h2>\n{content}\n</section>' for name, (title, content) in parts.items()
    )
    title = escape(f"Which size do {words.listed(study.targets)} need?" if len(study.targets) > 1 else
                   f"Which size does {study.targets[0]} need?")  # fmt: skip
    return (
        f'<!DOCTYPE html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        f'<meta name="viewport" content="width=device-width, initial-scale=1">\n<title>{title}</title>\n'
        f"<style>{STYLE}</style>\n</head>\n<body>\n<header>\n<h1>{title}</h1>\n{_lead(study)}\n</header>\n"
        f'<nav aria-label="Contents">\n<ul>{contents}</ul>\n</nav>\n<main>\n{body}\n</main>\n</body>\n</html>\n'
    )


# -- the answer --


def _lead(study: "Study") -> str:
    sizes = dict.fromkeys(record["size"] for record in sorted(study.runs, key=_area) if not record["control"])
    return paragraph(
        f"A resolution study: {len(study.runs)} networks, trained alike on the same films at {words.listed(sizes)} "
        f"pixels and compared on the same test patients by the {words.METRICS[study.metric]}."
    )


def _area(record: Mapping[str, Any]) -> int:
    height, width = map(int, record["size"].split("x"))
    return height * width


def _answer(study: "Study") -> str:
    margin = words.number(study, study.settings["margin"])
    rows = [_answer_row(study, line) for line in words.plain_lines(study)]
    head = ["target", f"smallest size as good as {study.reference}", "its difference", "test patients with it"]
    if study.metric != "auc":
        head[-1] = "test patients"
    return "\n".join(
        [
            paragraph(
                f"A size is as good as the reference, {study.reference}, where the 95 % interval of its difference "
                f"stays within the margin of {margin} and so do all sizes between the two. Margin and reference were "
                "set before the first network was trained."
            ),
            table(head, rows, numbers=(2, 3)),
            *_cautions(study),
            *_findings(study),
        ]
    )


def _answer_row(study: "Study", line: "Line") -> list[str]:
    found = study.comparisons[line]
    size = found.plateau.size
    told = size is not None and found.reference == study.reference
    difference = words.spread_words(study, found.differences[size]) if told and size is not None else ""
    having = "" if found.positive_patients is None else f"{found.positive_patients} of "
    if not told and found.reference == study.reference:
        difference = "no smaller one was shown to be as good"
    return [words.heading(study, line), words.answer(study, line), difference, f"{having}{found.patients}"]


def _cautions(study: "Study") -> list[str]:
    found = words.cautions(study)
    if not found:
        return []
    return [f'<div class="caution">\n<h3>Before this is believed</h3>\n{bullets(found)}\n</div>']


def _findings(study: "Study") -> list[str]:
    found = []
    for line in words.plain_lines(study):
        found += [f"<h3>{escape(words.heading(study, line))}</h3>", bullets(words.findings(study, line))]
    return found


# -- figures --


def _figures(study: "Study", figures: Mapping[str, Picture]) -> str:
    return "\n".join(
        figure(number, picture, *_captions(study)[name]) for number, (name, picture) in enumerate(figures.items(), 1)
    )


def _detectability(study: "Study") -> str:
    if study.metric == "dice":
        return "Upwards: the Dice coefficient of a film, mean over seeds."
    return (
        "Upwards: the share of the films without the finding that a film with it outscores, mean over seeds; its mean "
        "over all films is the area under the ROC curve."
    )


def _captions(study: "Study") -> dict[str, tuple[str, str]]:
    """Name of a figure -> (title, what it shows)."""
    metric = words.METRICS[study.metric]
    repeats = max((found.repeats for found in study.comparisons.values()), default=0)
    return {
        "size": (
            f"The {metric} at each size.",
            f"Large marks: means over seeds; bars: 95 % intervals over test patients ({repeats} resamples); small "
            "points: single seeds. Diamond: the reference. Filled marks are as good as it by the margin, which the "
            "grey band shows below it where there is one curve only; open ones were not shown to be. Dashed, with "
            "squares: the control arm, films shrunk to a size and enlarged to the largest again, which has that size's "
            "detail and the largest size's pixels. Vertical axes differ between panels.",
        ),
        "cost": (
            "What each size costs, and what it brings.",
            f"Upwards: {benefit_words(study)}. To the right, on logarithmic axes, what a network of that size took: "
            "medians over networks. Points carry the side of their size in pixels; the control arm is left out.",
        ),
        "lesions": (
            "What is seen of findings of so many pixels.",
            f"{_detectability(study)} Films are those with a box or mask of the finding, by the shorter side of the "
            "largest box (or the diameter of a disc of its mask's area) in pixels of each size, in octaves of at least "
            f"{FEWEST} films; bars: 95 % intervals over patients. Where sizes fall onto one curve, it is the pixels of "
            "a finding that count, and a size is as good as it makes them many; where they do not, it is something "
            "else of the size.",
        ),
        "training": (
            f"The {metric} on validation films, epoch by epoch.",
            "A line for each network of the first curve, coloured by its size; the mark is the epoch that was tested. "
            "Lines that still rise at their end were stopped early.",
        ),
        "examples": (
            "Test films at each size.",
            "As networks are given them, but for normalisation; pixels are repeated, not smoothed. These are patients' "
            "films: look at them before this page goes further than they may.",
        ),
    }


# -- all numbers --


def _numbers(study: "Study") -> str:
    return "\n".join([_results(study), _costs(study), *_across(study)])


def _results(study: "Study") -> str:
    delong = any(found.delong for found in study.comparisons.values())
    head = ["target", "films", "size", f"{study.metric} (95 % interval)", "SD over patients", "SD over seeds", "seeds",
            "difference (95 % interval)", "p", "p, Holm", *(["p, DeLong"] if delong else [])]  # fmt: skip
    rows, marked = [], []
    for line in words.grouped(study):
        found = study.comparisons[line]
        for size, arm in found.arms.items():
            difference = found.differences.get(size)
            cells = ["reference", "", ""]
            if difference is not None:
                cells = [_bracketed(study, difference), words.probability(difference.p),
                         words.probability(difference.p_holm)]  # fmt: skip
            if delong:
                cells.append(words.probability(found.delong[size].p) if size in found.delong else "")
            marked.append(found.plateau.size == size and found.reference == study.reference)
            rows.append(
                [
                    words.heading(study, line),
                    _arm(study, line),
                    str(size),
                    _bracketed(study, arm),
                    _known(study, arm.sd_patients),
                    _known(study, arm.sd_seeds),
                    str(len(arm.seeds)),
                    *cells,
                ]
            )
    note = "Shaded: the smallest size that is as good as the reference. Enlarged: the control arm, by the detail shown."
    return table(head, rows, range(3, len(head)), marked) + paragraph(note)


def _arm(study: "Study", line: "Line") -> str:
    return f"enlarged to {study.records(line)[0]['size']}" if line.curve.control else "at that size"


def _bracketed(study: "Study", found: Any) -> str:
    low, high = (_known(study, one) for one in (found.low, found.high))
    return f"{words.number(study, found.value)} ({low} to {high})"


def _known(study: "Study", value: float) -> str:
    return words.number(study, value) if math.isfinite(value) else "not known"


def _costs(study: "Study") -> str:
    """What networks took: medians over seeds."""
    head = ["target", "films", "size", "films of a step", "steps", "training, s", "images per s", "peak memory, MB",
            "GFLOP per image", "bytes per film"]  # fmt: skip
    rows = [
        _cost_row(study, line, point.records, size)
        for line in words.grouped(study)
        for size, point in study.points(line).items()
    ]
    whose = words.listed({f"of the {record['peak_of']}" for record in study.runs})
    note = f"Medians over seeds. Memory: the most {whose}. FLOP: forward, one image. Bytes: of the stored pixels."
    return table(head, rows, range(3, len(head))) + paragraph(note)


def _cost_row(study: "Study", line: "Line", records: Sequence[Mapping[str, Any]], size: Size) -> list[str]:
    seconds = [record["seconds"]["train"] for record in records]
    return [
        words.heading(study, line),
        _arm(study, line),
        str(size),
        str(records[0]["batch_size"]),
        str(records[0]["steps"]),
        _cost(seconds, "{:,.1f}"),
        _cost([record["images_per_second"] for record in records], "{:,.0f}"),
        _cost([record["peak_bytes"] for record in records], "{:,.0f}", 1e-6),
        _cost([records[0]["flops_per_image"]], "{:,.3g}", 1e-9),
        _cost([records[0]["bytes_per_film"]], "{:,.0f}"),
    ]


def _cost(values: Sequence[float | None], text: str, factor: float = 1.0) -> str:
    """The median of those that are known."""
    known = [value for value in values if value is not None]
    return text.format(median(known) * factor) if known else ""


def _across(study: "Study") -> list[str]:
    """Networks of each size at each test size, where they were tested at more than their own."""
    across = study.across
    if not len(across) or (across["trained"] == across["tested"]).all():
        return []
    found = [
        "<h3>Tested at other sizes than trained at</h3>",
        paragraph(
            f"The {words.METRICS[study.metric]}, mean over seeds: a row for each training size, a column for each "
            "test size."
        ),
    ]
    for names, part in across.groupby(["target", "model", "kernel", "fit"], sort=False):
        wide = part.pivot_table(index="trained", columns="tested", values="value", sort=False)
        columns = sorted(wide.columns, key=lambda name: _area({"size": name}))
        rows = [[str(size), *(_known(study, wide.loc[size, one]) for one in columns)]
                for size in sorted(wide.index, key=lambda name: _area({"size": name}))]  # fmt: skip
        found.append(table([str(names[0]), *columns], rows, range(1, len(columns) + 1)))
    return found
