"""Tables of the results, for people: everything for compare.md, a short one for the README."""

from collections.abc import Mapping, Sequence
from typing import Any

SHORT = ("stored256", "stored64", "float256", "source256", "cold256")
"""The questions of the README, in this order."""
OURS, CEILING = "resload", "ceiling"
NAMES = {
    OURS: "**resload**, every record verified",
    'resload, access="memory"': "resload, levels kept in memory",
    "FFCV": "FFCV",
    "DataLoader": "torch DataLoader, the best of its ways",
    "DALI": "NVIDIA DALI on the CPU",
    "SPDL": "SPDL",
    "MONAI": "MONAI, the better of its data sets",
    "LitData": "LitData",
    "WebDataset": "WebDataset",
    "MosaicML": "MosaicML Streaming",
    "Hugging Face": "Hugging Face datasets",
    "imagecodecs": "imagecodecs, decoding alone",
    CEILING: "ceiling: bare numpy on two threads",
}
"""How a loader's labels begin, and what the README calls it; in this order."""


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
    """For the README: a line for each loader, the best of its ways, and a column for each question."""
    questions = [document["questions"][name] for name in SHORT if name in document["questions"]]
    lines = [
        f"| images/s | {' | '.join(question['title'] for question in questions)} |",
        f"|---|{'---|' * len(questions)}",
    ]
    for name, called in NAMES.items():
        cells = [best(question, name) for question in questions]
        if any(cells):
            lines.append(f"| {called} | {' | '.join(cells)} |")
    return "\n".join(lines)


def best(question: Mapping[str, Any], name: str) -> str:
    """The highest median of a loader's ways; nothing when none was measured. Ours is the plain one, its first row."""
    rows = question["rows"][:1] if name == OURS else question["rows"][1:]
    found = [row for row in ordered(rows) if row["label"].startswith(name)]
    if not found:
        return ""
    rate = number(found[0]["rate"]["median"])
    return f"**{rate}**" if name == OURS else rate


def ordered(rows: Sequence[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
    """Those that were measured, the fastest first."""
    return sorted((row for row in rows if not row["reason"]), key=lambda row: -row["rate"]["median"])


def share(ratio: float | None) -> str:
    return "" if ratio is None else f"{ratio:.2f}"


def number(value: float) -> str:
    """Three significant digits, with thousands set apart."""
    whole = len(f"{value:.0f}")
    step = 10 ** max(0, whole - 3)
    return f"{round(value / step) * step:,}" if whole >= 3 else f"{value:.{3 - whole}f}"
