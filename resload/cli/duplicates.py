"""The same film twice, as `scan` and `info` tell it: how often, and the pairs that matter."""

from typing import TYPE_CHECKING, Any

from resload.cli.answer import columns, first_of

if TYPE_CHECKING:
    import pandas as pd

    from resload.catalog import Catalog
    from resload.store.cache import Cache

HELP = "look for films that show the same, and list the pairs across splits, patients and data sets"

ACROSS = ("splits", "data sets", "patients")
"""What a pair may lie across, the worst first."""


def described(data: "Catalog | Cache", pairs: "pd.DataFrame") -> dict[str, Any]:
    """Pairs of near-duplicates as plain values, those across splits first."""
    found = [_plain(pair) for pair in pairs.to_dict("records")]
    sure = [pair for pair in found if pair["confirmed"]]
    return {
        "films": len(data),
        "pairs": len(sure),
        "unconfirmed": len(found) - len(sure),
        "across": {what: sum(what in pair["across"] for pair in sure) for what in ACROSS},
        "found": sorted(found, key=_rank),
    }


def _plain(pair: dict[Any, Any]) -> dict[str, Any]:
    """One pair, with what it lies across; what is not known is None."""
    import pandas as pd

    facts: dict[str, Any] = {str(name): None if pd.isna(value) else value for name, value in pair.items()}
    across = [what for what, name in (("splits", "split"), ("data sets", "data_set")) if _differ(facts, name)]
    return facts | {"across": [*across, "patients"] if facts["same_patient"] is False else across}


def _differ(facts: dict[str, Any], name: str) -> bool:
    a, b = facts[f"{name}_a"], facts[f"{name}_b"]
    return a is not None and b is not None and a != b


def _rank(pair: dict[str, Any]) -> tuple[bool, ...]:
    return (not pair["confirmed"], *(what not in pair["across"] for what in ACROSS))


def leaks(document: dict[str, Any]) -> bool:
    """Whether a film is in two splits."""
    return bool(document["across"]["splits"])


def lines(document: dict[str, Any]) -> list[str]:
    """The same for people: numbers, the pairs across something, and why data sets share films."""
    across = ", ".join(f"{count} across {what}" for what, count in document["across"].items() if count)
    doubtful = (
        f"; {document['unconfirmed']} more look alike at the smaller size only" if document["unconfirmed"] else ""
    )
    head = f"near-duplicates: {document['pairs']} pairs{f', {across}' if across else ''}{doubtful}"
    shown = [pair for pair in document["found"] if pair["confirmed"] and pair["across"]]
    listed = columns([_cells(pair) for pair in shown]) if shown else []
    reasons = dict.fromkeys(pair["overlap"] for pair in shown if pair["overlap"])
    return [head, *first_of(listed, "--json has all of them"), *(f"known overlap: {reason}" for reason in reasons)]


def _cells(pair: dict[str, Any]) -> list[str]:
    one, other = (f"{pair[f'id_{x}']} ({pair[f'split_{x}'] or 'no split'})" for x in "ab")
    patient = {True: "same patient", False: "other patient", None: ""}[pair["same_patient"]]
    return [one, other, f"{pair['correlation']:.4f}", "inverted" if pair["inverted"] else "", patient]
