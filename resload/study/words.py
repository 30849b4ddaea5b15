"""What a study found, in sentences, and what must be known before they are believed.

answer    "256x256": the table that a reader looks for first
findings  the plateau, what larger sizes add, the control arm, the ratio, the ensemble: of one curve and target
cautions  few patients, few seeds, what is not trained yet
"""

import math
from collections.abc import Iterable
from typing import TYPE_CHECKING

from resload.size import Size, as_size
from resload.statistics import Comparison, Difference, Estimate

if TYPE_CHECKING:
    from resload.study.grid import Curve
    from resload.study.results import Line, Study

METRICS = {"auc": "area under the ROC curve", "mean absolute error": "mean absolute error", "dice": "Dice coefficient"}
"""A metric in full."""
SHORT = {"auc": "AUC", "mean absolute error": "error", "dice": "Dice"}
FEW_PATIENTS = 30
"""With the finding: below so many, large areas under curves are flattered (see `statistics.estimates`)."""
FEW_SEEDS = 3


# -- what things are called --


def plain_lines(study: "Study") -> "list[Line]":
    """The curves of films at their sizes that were compared, without control arms."""
    return [line for line in study.comparisons if not line.curve.control]


def grouped(study: "Study") -> "list[Line]":
    """Every curve that was compared, those of a target together."""
    return sorted(study.comparisons, key=lambda line: study.targets.index(line.target))


def control_of(study: "Study", line: "Line") -> "Line | None":
    """The control arm beside a curve; None where there is none."""
    found = [one for one in study.comparisons if one.curve.control and one.target == line.target]
    return next((one for one in found if curve_words(study, one.curve) == curve_words(study, line.curve)), None)


def own_arms(study: "Study", line: "Line") -> dict[Size, Estimate]:
    """Its sizes; of a control arm those it shows, without the end that it shares with the other curve."""
    arms = {as_size(str(size)): arm for size, arm in study.comparisons[line].arms.items()}
    served = as_size(study.records(line)[0]["size"])
    return {size: arm for size, arm in arms.items() if not (line.curve.control and size == served)}


def curve_words(study: "Study", curve: "Curve") -> str:
    """What tells a curve from the study's others, its control arm aside: `small, cubic`; "" where there is one."""
    every = [line.curve for line in study.lines]
    parts = [(curve.model, {one.model for one in every}), (curve.kernel, {one.kernel for one in every}),
             (curve.fit, {one.fit for one in every})]  # fmt: skip
    return ", ".join(part for part, found in parts if len(found) > 1)


def heading(study: "Study", line: "Line") -> str:
    """A curve's target, and what tells it from others: `nodule (small, cubic)`."""
    words = curve_words(study, line.curve)
    return f"{line.target} ({words})" if words else line.target


# -- numbers --


def digits(study: "Study") -> int:
    """Decimals of a metric: one more than its margin has."""
    by_margin = max(0, 1 - math.floor(math.log10(study.settings["margin"])))
    return by_margin if study.metric == "mean absolute error" else max(3, by_margin)


def number(study: "Study", value: float) -> str:
    """A value of the metric; never -0.000."""
    text = f"{value:.{digits(study)}f}"
    return text.removeprefix("-") if not float(text) else text


def spread_words(study: "Study", found: Estimate) -> str:
    """`-0.003, 95 % interval -0.008 to 0.002`."""
    if not math.isfinite(found.low):
        return f"{number(study, found.value)}, without an interval"
    return f"{number(study, found.value)}, 95 % interval {number(study, found.low)} to {number(study, found.high)}"


def probability(p: float) -> str:
    """A p-value: `0.012`, `< 0.001`."""
    if not math.isfinite(p):
        return "not known"
    return "< 0.001" if p < 0.001 else f"{p:.3f}"


def losses(study: "Study", found: Difference) -> tuple[float, float, float]:
    """A difference as what is lost: value, low and high, above 0 where the reference is better."""
    if study.higher_is_better:
        return -found.value, -found.high, -found.low
    return found.value, found.low, found.high


# -- what was found --


def plateau_of(study: "Study", line: "Line") -> Size | None:
    """The smallest size that is as good as the reference, if one is smaller and the reference is trained."""
    found = study.comparisons[line]
    if found.reference != study.reference or found.plateau.size is None:
        return None
    return as_size(str(found.plateau.size))


def answer(study: "Study", line: "Line") -> str:
    """The smallest size that is as good as the reference, or why it is not said."""
    found = study.comparisons[line]
    if found.reference != study.reference:
        return "not said yet"
    return str(study.reference if found.plateau.size is None else found.plateau.size)


def findings(study: "Study", line: "Line") -> list[str]:
    """Everything that is said of a curve and target, a sentence each."""
    found = study.comparisons[line]
    if found.reference != study.reference:
        return [
            f"Nothing is said yet of a plateau: the reference {study.reference} is not trained. Until it is, sizes are "
            f"compared with {found.reference}."
        ]
    said = [_plateau(study, found), *_larger(study, found)]
    control = control_of(study, line)
    if control is not None:
        said += _control(study, found, study.comparisons[control])
    return [*said, *_ratio(found), *_ensemble(study, found), *_spreads(study, found)]


def _plateau(study: "Study", found: Comparison) -> str:
    reference, tested = found.reference, found.plateau.tested
    if not tested:
        return f"No size smaller than {reference} is trained, so there is nothing to compare it with."
    margin = f"the margin of {number(study, found.plateau.margin)} that was set beforehand"
    first = tested[0].size
    if found.plateau.size is None:
        begun = f"No smaller size was shown to be as good as {reference} by {margin}"
        return f"{begun}: {_verdict(study, found, first)}."
    size = found.plateau.size
    difference = spread_words(study, found.differences[size])
    told = f"As good as {reference} from {size} on, by {margin} (difference {difference})"
    failed = [one.size for one in tested if not one.passed]
    return f"{told}; {_verdict(study, found, failed[0])}." if failed else f"{told}. No smaller size is trained."


def _verdict(study: "Study", found: Comparison, size: object) -> str:
    """Of a size that was not shown to be as good."""
    difference = found.differences[size]
    _, low, _ = losses(study, difference)
    if not math.isfinite(low):
        judged = "cannot be judged"
    elif low > found.plateau.margin:
        judged = "is worse by more than the margin"
    elif low > 0:
        judged = "is worse, perhaps by more than the margin"
    else:
        judged = "may be worse by more than the margin"
    return f"{size} {judged} (difference {spread_words(study, difference)})"


def _larger(study: "Study", found: Comparison) -> list[str]:
    """Sizes beyond the reference: what they add."""
    reference = as_size(str(found.reference))
    above = [size for size in found.differences if isinstance(size, Size) and size.pixels > reference.pixels]
    return [f"Beyond the reference: {size} {_more_or_less(study, found.differences[size])}." for size in above]


def _more_or_less(study: "Study", difference: Difference) -> str:
    value, low, high = losses(study, difference)
    if low > 0 or high < 0:
        return f"is {'worse' if value > 0 else 'better'} (difference {spread_words(study, difference)})"
    return f"makes no difference that could be shown ({spread_words(study, difference)})"


def _control(study: "Study", found: Comparison, control: Comparison) -> list[str]:
    """How much of what the smallest size loses is lost with its detail alone."""
    if control.reference != found.reference:
        return []
    shared = [size for size in found.differences if size in control.differences]
    if not shared:
        return []
    size = shared[0]
    whole, low, _ = losses(study, found.differences[size])
    detail, least, most = losses(study, control.differences[size])
    between = f"95 % interval {number(study, least)} to {number(study, most)}"
    how = f"films shrunk to {size} and enlarged to {control.reference} again"
    if low > 0 and detail >= whole:
        return [
            f"The control arm: {size} loses {number(study, whole)}, and its detail alone ({how}) as much, "
            f"{number(study, detail)} ({between})."
        ]
    if low > 0:
        return [
            f"The control arm: of the {number(study, whole)} that {size} loses, {number(study, detail)} are lost with "
            f"the detail alone ({how}; {between}); what is left goes with the number of pixels that the network is "
            "given."
        ]
    return [
        f"The control arm: no loss of {size} was shown that could be divided; with its detail alone ({how}) the "
        f"difference is {spread_words(study, control.differences[size])}."
    ]


def _ratio(found: Comparison) -> list[str]:
    if found.ratio is None or found.ratio_of is None:
        return []
    low, high = found.ratio_of
    seeds = "" if math.isnan(found.ratio.sd_seeds) else f" and {100 * found.ratio.sd_seeds:.1f} over seeds"
    return [
        f"The ratio of {low} to {high} is {100 * found.ratio.value:.1f} % (standard deviation "
        f"{100 * found.ratio.sd_patients:.1f} over patients{seeds})."
    ]


def _ensemble(study: "Study", found: Comparison) -> list[str]:
    if found.ensemble is None or found.ensemble_difference is None:
        return []
    gain = found.ensemble_difference
    rival = " Any ensemble gains something; one of as many networks of one size is the fair rival."
    return [
        f"The mean of what all {len(found.arms)} sizes say reaches {number(study, found.ensemble.value)}: a difference "
        f"to {found.reference} of {spread_words(study, gain)} (p after Holm's correction {probability(gain.p_holm)})."
        f"{rival if losses(study, gain)[0] < 0 else ''}"
    ]


def _spreads(study: "Study", found: Comparison) -> list[str]:
    """Over seeds and over patients, apart."""
    reference = found.arms[found.reference]
    if math.isnan(reference.sd_seeds) or math.isnan(reference.sd_patients):
        return []
    return [
        f"At {found.reference} other patients would move the number by {number(study, reference.sd_patients)} and "
        f"other seeds by {number(study, reference.sd_seeds)} (standard deviations)."
    ]


# -- what must be known before that is believed --


def cautions(study: "Study") -> list[str]:
    """A sentence each; none where nothing is amiss."""
    if not study.runs:
        return ["No network is finished yet: there is nothing to report."]
    return [
        *_incomplete(study),
        *_few_patients(study),
        *_few_seeds(study),
        *_unsteady(study),
        *_unfinished_training(study),
        *study.settings.get("notes", []),
    ]


def _incomplete(study: "Study") -> list[str]:
    absent = missing(study)
    waiting = [line for line, found in study.comparisons.items() if found.reference != study.reference]
    said = []
    if absent:
        told = "; ".join(absent[:4]) + (f"; and {len(absent) - 4} more" if len(absent) > 4 else "")
        said.append(
            f"The study is not complete: {len(absent)} networks are missing that its other sizes and seeds call for "
            f"({told}). What is said is of the seeds that all sizes have, and may change."
        )
    if waiting:
        names = listed(dict.fromkeys(line.target for line in waiting))
        said.append(f"The reference {study.reference} is not trained yet for {names}: no plateau is said.")
    return said


def missing(study: "Study") -> list[str]:
    """Networks that the whole grid of the sizes and seeds seen so far has, and this study has not yet, in words."""
    seeds = sorted({record["seed"] for record in study.runs})
    sizes = {
        control: dict.fromkeys(record["shows"] for record in study.runs if record["control"] == control)
        for control in (False, True)
    }
    found = []
    for line in study.lines:
        own = {(record["shows"], record["seed"]) for record in study.records(line)}
        what = "showing" if line.curve.control else "at"
        found += [
            f"{heading(study, line)} {what} {size}, seed {seed}"
            for seed in seeds
            for size in sizes[line.curve.control]
            if (size, seed) not in own
        ]
    return found


def _few_patients(study: "Study") -> list[str]:
    few = {}
    for line in plain_lines(study):
        found = study.comparisons[line]
        count = found.patients if found.positive_patients is None else found.positive_patients
        count = count if found.positive_patients is None else min(count, found.patients)
        if count < FEW_PATIENTS:
            few[line.target] = count
    if not few:
        return []
    classes = study.metric == "auc"
    having = " with the finding" if classes else ""
    flattered = ", and large areas from few patients are flattered" if classes else ""
    told = ", ".join(f"{target}: {count}" for target, count in few.items())
    return [f"Few test patients{having} ({told}): intervals are wide, and rest on Student's t{flattered}."]


def _few_seeds(study: "Study") -> list[str]:
    fewest = min(len(one.arms[one.reference].seeds) for one in study.comparisons.values())
    if fewest >= FEW_SEEDS:
        return []
    return [
        f"{'One seed' if fewest == 1 else f'{fewest} seeds'} only: how much networks that are trained again differ is "
        f"{'not known' if fewest == 1 else 'hardly known'}; {FEW_SEEDS} are what reviewers ask for."
    ]


def _unsteady(study: "Study") -> list[str]:
    """Where training again moves the number by more than what is being asked about."""
    wide = {}
    for line in plain_lines(study):
        found = study.comparisons[line]
        sizes = [str(size) for size, arm in found.arms.items() if arm.sd_seeds > found.plateau.margin]
        if sizes:
            wide[heading(study, line)] = sizes
    if not wide:
        return []
    told = "; ".join(f"{name} at {listed(sizes)}" for name, sizes in wide.items())
    return [f"Networks trained again differ by more than the margin ({told}): more seeds, or longer training, are due."]


def _unfinished_training(study: "Study") -> list[str]:
    last = sum(record["chosen_epoch"] == record["epochs"] for record in study.runs)
    if 2 * last <= len(study.runs) or all(record["epochs"] == 1 for record in study.runs):
        return []
    return [
        f"{last} of {len(study.runs)} networks were best in their last epoch: with more epochs sizes may compare "
        "otherwise."
    ]


def listed(words: Iterable[object]) -> str:
    """`a, b and c`."""
    *first, last = map(str, words)
    return f"{', '.join(first)} and {last}" if first else last
