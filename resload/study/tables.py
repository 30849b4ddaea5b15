"""A study's table for other programs: CSV with all digits, and LaTeX (booktabs) as a paper prints it."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

from resload.size import Size
from resload.statistics import Comparison, Estimate
from resload.study import words

if TYPE_CHECKING:
    from resload.study.results import Line, Study

SIGNS = {
    "\\": r"\textbackslash{}",
    "&": r"\&",
    "%": r"\%",
    "$": r"\$",
    "#": r"\#",
    "_": r"\_",
    "{": r"\{",
    "}": r"\}",
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    "<": r"\textless{}",
    ">": r"\textgreater{}",
}
"""What LaTeX would take for its own."""
PLATEAU = r"$^\ast$"


def csv(study: "Study") -> str:
    """`Study.table` with a header, numbers with all their digits, empty where there is none."""
    return study.table.to_csv(index=False, lineterminator="\n")


def latex(study: "Study") -> str:
    """A table for each target, for a document with the package booktabs."""
    targets = dict.fromkeys(line.target for line in study.comparisons)
    return "\n".join([r"% needs \usepackage{booktabs}", *(_table(study, target) for target in targets)])


def escaped(text: str) -> str:
    """Text as LaTeX prints it."""
    return "".join(SIGNS.get(sign, sign) for sign in text)


def _table(study: "Study", target: str) -> str:
    lines = [line for line in study.comparisons if line.target == target]
    several = any(words.curve_words(study, line.curve) for line in lines)
    head = ["Films", "Size", f"{_title(study)} (95\\,\\% interval)", "SD", "SD seeds",
            "Difference (95\\,\\% interval)", "$p$"]  # fmt: skip
    rows = [row for line in lines for row in [r"\midrule", *_rows(study, line, several)]]
    return "\n".join(
        [
            r"\begin{table}",
            r"\centering",
            rf"\caption{{{_caption(study, target, study.comparisons[lines[0]])}}}",
            rf"\begin{{tabular}}{{{'l' * (2 + several)}rrrrr}}",
            r"\toprule",
            _row([*(["Networks"] if several else []), *head]),
            *rows,
            r"\bottomrule",
            r"\end{tabular}",
            r"\end{table}",
            "",
        ]
    )


def _title(study: "Study") -> str:
    return {"auc": "AUC", "dice": "Dice"}.get(study.metric, "Error")


def _rows(study: "Study", line: "Line", several: bool) -> list[str]:
    found = study.comparisons[line]
    own = [escaped(words.curve_words(study, line.curve))] if several else []
    films = "enlarged" if line.curve.control else "at size"
    return [
        _row([*own, films, _size(size, found), _estimate(study, arm), _signed(study, arm.sd_patients),
              _signed(study, arm.sd_seeds), *_difference(study, found, size)])
        for size, arm in found.arms.items()
    ]  # fmt: skip


def _size(size: object, found: Comparison) -> str:
    text = escaped(str(size)).replace("x", r"$\times$")
    return text + PLATEAU if size == found.plateau.size else text


def _difference(study: "Study", found: Comparison, size: object) -> list[str]:
    if size not in found.differences:
        return ["reference", ""]
    difference = found.differences[size]
    p = words.probability(difference.p_holm)
    return [_estimate(study, difference), f"${p}$" if p[-1].isdigit() else "--"]


def _estimate(study: "Study", found: Estimate) -> str:
    """`0.854 (0.841 to 0.866)`."""
    value, low, high = (_signed(study, one) for one in (found.value, found.low, found.high))
    return f"{value} ({low} to {high})"


def _signed(study: "Study", value: float) -> str:
    if value != value:  # noqa: PLR0124  # NaN
        return "--"
    text = words.number(study, value)
    return f"${text}$" if text.startswith("-") else text


def _row(cells: Sequence[str]) -> str:
    return " & ".join(cells) + r" \\"


def _caption(study: "Study", target: str, found: Comparison) -> str:
    seeds = len(found.arms[found.reference].seeds)
    means = "One network of each size" if seeds == 1 else f"Means over {seeds} seeds"
    having = "" if found.positive_patients is None else f", {found.positive_patients} of whom have the finding"
    told = (
        f"{target}: {words.METRICS[study.metric]} at each size. {means}; intervals and SD over {found.repeats} "
        f"resamples of {found.patients} test patients ({found.films} films){having}. SD seeds: over networks trained "
        f"again. Differences are to {found.reference}; p after Holm's correction over all comparisons of the study."
    )
    mark = f" {PLATEAU}: the smallest size that is as good as {escaped(str(found.reference))} by a margin of "
    plateau = mark + f"{words.number(study, found.plateau.margin)} that was set beforehand."
    sizes = isinstance(found.plateau.size, Size) and found.reference == study.reference
    return escaped(told) + (plateau if sizes else "")
