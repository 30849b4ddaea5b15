"""Tables of the results, for people: everything for compare.md, a short one for the README."""

from collections.abc import Mapping, Sequence
from typing import Any

SHORT = ("stored256", "stored64", "float256", "source256", "cold256")
"""The questions of the README, in this order."""
CEILING = "ceiling"


def document_table(document: Mapping[str, Any]) -> str:
    """One section for each question: name, images/s, ratio to ours, what is verified, versions; and who is missing."""
    head = (
        f"Batches of {document['batch']}, shuffled, 2 threads or workers, CPU tensors out; {document['films']}; "
        f"medians of {document['rounds']} rounds (least to most), ratios round by round."
    )
    if document["quick"]:
        head += " A quick run, on few images: its numbers are no measurement."
    sections = [section(question) for question in document["questions"].values()]
    return "\n\n".join([head, *sections])


def section(question: Mapping[str, Any]) -> str:
    """One question as a table, the fastest first, and a line for each that is not in it."""
    lines = [
        f"### {question['title']}",
        "",
        f"{question['images']:,} images an epoch"
        + (", every page dropped from the page cache before it." if question["cold"] else ", page cache warm."),
        "",
        "| | images/s | of resload | verifies | memory of its own | versions |",
        "|---|---|---|---|---|---|",
        *(line(row) for row in ordered(question["rows"])),
    ]
    missing = [f"- {row['label']}: {row['reason']}" for row in question["rows"] if row["reason"]]
    return "\n".join([*lines, *(["", "Not measured:", "", *missing] if missing else [])])


def line(row: Mapping[str, Any]) -> str:
    rate = row["rate"]
    spread = f"{number(rate['median'])} ({number(rate['least'])} to {number(rate['most'])})"
    cells = [row["label"], spread, share(row["to_ours"]), row["verifies"], row["owns"], row["version"]]
    return f"| {' | '.join(cells)} |"


def short_table(document: Mapping[str, Any]) -> str:
    """For the README: of each question ours, the best of the others, the others, and the highest ceiling."""
    rows = [short_row(document["questions"][name]) for name in SHORT if name in document["questions"]]
    head = ["| images/s | resload | best other | others | ceiling |", "|---|---|---|---|---|"]
    return "\n".join([*head, *filter(None, rows)])


def short_row(question: Mapping[str, Any]) -> str:
    """Empty when ours was not measured."""
    ours = question["rows"][0]
    if ours["reason"]:
        return ""
    others = [row for row in ordered(question["rows"]) if not row["label"].startswith("resload")]
    ceilings = [row for row in others if row["label"].startswith(CEILING)]
    peers = [row for row in others if row not in ceilings]
    cells = [
        question["title"],
        f"**{number(ours['rate']['median'])}**",
        named(peers[0]) if peers else "",
        "; ".join(named(row) for row in one_each(peers[1:])),
        named(ceilings[0]).removeprefix(f"{CEILING}: ") if ceilings else "",
    ]
    return f"| {' | '.join(cells)} |"


def one_each(rows: Sequence[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
    """The best row of each peer: a label's part before the first comma."""
    best = {row["label"].partition(",")[0]: row for row in reversed(rows)}
    return [row for row in rows if row in best.values()]


def ordered(rows: Sequence[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
    """Those that were measured, the fastest first."""
    return sorted((row for row in rows if not row["reason"]), key=lambda row: -row["rate"]["median"])


def named(row: Mapping[str, Any]) -> str:
    return f"{row['label']} {number(row['rate']['median'])}"


def share(ratio: float | None) -> str:
    return "" if ratio is None else f"{ratio:.2f}"


def number(value: float) -> str:
    """Three significant digits, with thousands set apart."""
    whole = len(f"{value:.0f}")
    step = 10 ** max(0, whole - 3)
    return f"{round(value / step) * step:,}" if whole >= 3 else f"{value:.{3 - whole}f}"
