"""How even splits are, as `scan` tells it: a line for each target, and the patients that are in several splits."""

from typing import TYPE_CHECKING, Any

from resload.cli.answer import columns, first_of

if TYPE_CHECKING:
    from resload.catalog import Catalog


def described(catalog: "Catalog") -> dict[str, list[dict[str, Any]]]:
    """`Catalog.balance` as plain values, a record for each split and target, and the patients; none without splits."""
    import pandas as pd

    if "split" not in catalog.table:
        return {"balance": [], "patients_in_several_splits": []}
    records = catalog.balance().to_dict("records")
    even = [{str(name): None if pd.isna(value) else value for name, value in one.items()} for one in records]
    return {"balance": even, "patients_in_several_splits": _shared(catalog)}


def _shared(catalog: "Catalog") -> list[dict[str, Any]]:
    """The patients that are in several splits, with their splits and how many films they have."""
    from resload.leakage import shared_groups

    if "patient" not in catalog.table:
        return []
    found = shared_groups(catalog.table).astype({"patient": str})
    return [{str(name): value for name, value in one.items()} for one in found.to_dict("records")]


def lines(document: dict[str, list[dict[str, Any]]]) -> list[str]:
    """The same for people; nothing where there is nothing to tell."""
    several = [f"  {one['patient']}: {one['splits']}" for one in document["patients_in_several_splits"]]
    head = [f"patients in several splits: {len(several)}"] if several else []
    return _even(document["balance"]) + head + first_of(several, "--json has all of them")


def _even(found: list[dict[str, Any]]) -> list[str]:
    """A line for each target; nothing where there are no splits or no targets."""
    if not found or found[0]["target"] is None:
        return []
    splits = list(dict.fromkeys(one["split"] for one in found))
    cell = {(one["target"], one["split"]): _told(one) for one in found}
    targets = dict.fromkeys(one["target"] for one in found)
    rows = [[target, *(cell[target, split] for split in splits)] for target in targets]
    return columns([["target: positive of known, or mean (sd)", *splits], *rows])


def _told(one: dict[str, Any]) -> str:
    """`63 of 900, 7.00 %`, or `127.3 (41.2)`."""
    if one["positives"] is None:
        return "unknown" if one["mean"] is None else f"{one['mean']:.4g} ({one['sd'] or 0:.3g})"
    share = "" if one["prevalence"] is None else f", {100 * one['prevalence']:.2f} %"
    return f"{one['positives']} of {one['known']}{share}"
