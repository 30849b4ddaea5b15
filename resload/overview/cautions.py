"""What to look at before training, a sentence each: what was found, why it matters, what to do."""

from collections.abc import Iterable, Mapping

from resload.overview.shortcuts import Shortcut

PROCESSING = "FOR PROCESSING"
MOST = 3
"""Values that a sentence names."""


def of_shortcuts(found: Iterable[Shortcut]) -> list[str]:
    """A sentence for each shortcut that nearly separates its target, the strongest first."""
    strong = sorted((one for one in found if one.nearly_separates), key=lambda one: -one.auc)
    return [_shortcut(one) for one in strong]


def _shortcut(one: Shortcut) -> str:
    extremes = sorted(one.shares, key=lambda share: -share.positive / share.films)
    named = extremes if len(extremes) <= MOST else [extremes[0], extremes[1], extremes[-1]]
    shares = ", ".join(f"{share.value} {100 * share.positive / share.films:.0f} % of {share.films}" for share in named)
    return (
        f"{one.attribute} alone nearly separates {one.target} (AUC {one.auc:.2f}: positive are {shares}). A network "
        f"can learn the {one.attribute} instead of the finding: measure it within one {one.attribute}, balance the "
        "classes over it, or leave films out until it tells nothing"
    )


def of_intents(mix: Mapping[str, Mapping[str, int]], films: int) -> list[str]:
    """Raw films among others (Presentation Intent Type, PS3.3 C.8.11.1.1.1)."""
    raw = mix.get("intent", {}).get(PROCESSING, 0)
    if raw in (0, films):
        return []
    return [
        f"{raw} films are {PROCESSING} and {films - raw} are not: values of the first are the detector's, and need "
        "their maker's processing before they look like a radiograph. Do not mix them: "
        f"catalog.select(\"intent != '{PROCESSING}'\")"
    ]


def of_annotations(burned_in: int) -> list[str]:
    """Films that say themselves that there is writing in their pixels (PS3.3 C.7.6.1)."""
    if not burned_in:
        return []
    return [
        f"{burned_in} films have Burned In Annotation YES: writing in the pixels may name the patient, and is copied "
        "into a cache as they are. Look at them, or leave them out: catalog.select(\"BurnedInAnnotation != 'YES'\")"
    ]
