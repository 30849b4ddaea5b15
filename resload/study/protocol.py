"""How a study was done, for its page: films, training, papers to name, settings, and what it ran on."""

import json
from collections.abc import Iterable, Mapping
from html import escape
from typing import TYPE_CHECKING, Any

from resload.study import words
from resload.study.elements import bullets, table

if TYPE_CHECKING:
    from resload.study.results import Study


def protocol(study: "Study") -> str:
    """Films, training, and how sizes are compared."""
    settings = study.settings
    return "\n".join(
        [_films(study), bullets(_training(study)), *([bullets(settings["notes"])] if settings.get("notes") else [])]
    )


def _films(study: "Study") -> str:
    """Films, patients and findings of each split."""
    films = study.films
    if "splits" not in films:
        return table(["split", "films"], [[name, str(count)] for name, count in study.settings["counts"].items()], (1,))
    numbers = study.metric == "mean absolute error"
    having = "films with a known {}" if numbers else "films with {}, of those known"
    head = ["split", "films", "patients", *(having.format(name) for name in films["targets"].tolist())]
    rows = []
    for k, split in enumerate(films["splits"].tolist()):
        known, positive = films["split_known"][k].tolist(), films["split_positive"][k].tolist()
        counts = [str(of) if numbers else f"{own} of {of}"
                  for own, of in zip(positive, known, strict=True)]  # fmt: skip
        rows.append([split, str(films["split_films"][k]), str(films["split_patients"][k]), *counts])
    return table(head, rows, numbers=range(1, len(head)))


def _training(study: "Study") -> list[str]:
    """How networks were trained, a sentence each."""
    settings = study.settings
    seeds = words.listed(sorted({record["seed"] for record in study.runs}))
    mean, std = settings["normalization"]
    batches = {
        "fixed": f"steps of {settings['batch_size']} films at every size",
        "pixels": f"steps of as many pixels as {settings['batch_size']} films of {settings['at']} have",
        "steps": f"steps of as many pixels as {settings['batch_size']} films of {settings['at']} have, and as many "
        "steps at every size",
    }[settings["batches"]]
    models = {record["model"]: record["parameters"] for record in study.runs}
    recipes = dict.fromkeys(f"{record['kernel']} kernel, {record['fit']}" for record in study.runs)
    together = "one network for each target" if settings["task"] == "binary" else "one network for all targets"
    return [
        f"Task: {settings['task']}, {together}. Seeds: {seeds}.",
        f"Networks: {', '.join(f'{name} ({count:,} parameters)' for name, count in models.items())}.",
        f"Films were resized directly from their own pixels ({'; '.join(recipes)}) and normalised at every size by "
        f"the mean {mean:.4g} and standard deviation {std:.4g} of the training films at {settings['normalized_at']}.",
        f"{settings['epochs']} epochs; {batches}; learning rate {settings['lr']:g} ({settings['lr_rule']} in the films "
        f"of a step), schedule {settings['schedule']}, weight decay {settings['weight_decay']:g}, "
        f"{settings['optimizer']}, {settings['precision']}.",
        "The epoch that was best on the validation films was tested; nothing was chosen on the test films.",
        f"Reference {settings['reference']}, margin {words.number(study, settings['margin'])}, at least "
        f"{settings['repeats']} resamples of patients: set before the first network was trained.",
    ]


def method(study: "Study") -> str:
    """Papers to name, for what was used."""
    classes = study.metric == "auc"
    across = len(study.across) and not (study.across["trained"] == study.across["tested"]).all()
    papers = [
        "Networks at several sizes, compared for each finding: Sabottke CF, Spieler BM. The effect of image resolution "
        "on deep learning in radiography. Radiol Artif Intell 2020;2(1):e190015.",
        "Resamples of whole patients: Rutter CM. Bootstrap estimation of diagnostic accuracy with patient-clustered "
        "data. Acad Radiol 2000;7:413-419.",
        "Intervals: Hesterberg TC. What teachers should know about the bootstrap. Am Stat 2015;69:371-386 (expanded "
        "percentiles). p-values: Davison AC, Hinkley DV. Bootstrap methods and their application. 1997, section 4.2.",
        "Correction for many comparisons: Holm S. A simple sequentially rejective multiple test procedure. Scand J "
        "Stat 1979;6:65-70.",
        "Sizes tested in an order that was fixed beforehand: Maurer W, Hothorn LA, Lehmacher W. 1995; Westfall PH, "
        "Krishen A. J Stat Plan Inference 2001;99:25-40.",
    ]
    if classes:
        papers.append("Areas under correlated curves, one film of each patient: DeLong ER, DeLong DM, Clarke-Pearson "
                      "DL. Biometrics 1988;44:837-845; Sun X, Xu W, doi:10.1109/LSP.2014.2337313.")  # fmt: skip
    if across:
        papers.append("Other test sizes than training sizes: Touvron H et al. Fixing the train-test resolution "
                      "discrepancy. 2019, arXiv 1906.06423.")  # fmt: skip
    return bullets(papers)


def settings_and_environment(study: "Study") -> str:
    """What was asked, as it was kept, and what networks ran on."""
    told = json.dumps(study.settings, indent=1, ensure_ascii=False)
    return "\n".join([table(["what", "found"], _environment(study)), f"<pre>{escape(told)}</pre>"])


def _environment(study: "Study") -> list[list[str]]:
    """What networks ran on; several values where they differ."""
    found: dict[str, dict[str, None]] = {}
    for record in study.runs:
        for name, value in _flat(record.get("environment", {})):
            found.setdefault(name, {})[value] = None
    return [[name, "; ".join(values)] for name, values in found.items()]


def _flat(environment: Mapping[str, Any], before: str = "") -> Iterable[tuple[str, str]]:
    for name, value in environment.items():
        if isinstance(value, Mapping):
            yield from _flat(value, f"{before}{name} ")
        elif value is not None:
            yield before + name, ", ".join(map(str, value)) if isinstance(value, list | tuple) else str(value)
