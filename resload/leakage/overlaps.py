"""Public data sets that are known to share films, and with whom.

A model trained on one of them and tested on the other has seen the test. The table names the overlap; which films
they are, `near_duplicates` finds.
"""

import itertools
import re
from collections.abc import Iterable
from typing import NamedTuple


class Overlap(NamedTuple):
    """Two data sets that share films, by the names of their functions in `resload.datasets`."""

    first: str
    second: str
    reason: str
    """Why, and who says so."""


_RSNA = (
    "its films are from ChestX-ray14 (G. Shih et al., Augmenting the National Institutes of Health Chest Radiograph "
    "Dataset with Expert Annotations of Possible Pneumonia, Radiology: AI 2019;1(1):e180041)"
)
_SIIM = (
    "its films are from ChestX-ray14 (R. W. Filice et al., Crowdsourcing pneumothorax annotations using machine "
    "learning annotations on the NIH chest X-ray dataset, J Digit Imaging 2020;33:490-496)"
)
_TBX = (
    "TBX11K is distributed and trained together with the Shenzhen and Montgomery sets (Y. Liu et al., Rethinking "
    "Computer-Aided Tuberculosis Diagnosis, CVPR 2020)"
)

KNOWN = (
    Overlap("rsna_pneumonia", "chestxray14", _RSNA),
    Overlap("siim_pneumothorax", "chestxray14", _SIIM),
    Overlap("rsna_pneumonia", "siim_pneumothorax", "the films of both are from ChestX-ray14"),
    Overlap("tbx11k", "shenzhen", _TBX),
    Overlap("tbx11k", "montgomery", _TBX),
)

NAMES = {
    "chestxray14": ("chestxray8", "nih", "nihcxr", "nihcxr14", "nihchestxray", "nihchestxray14", "cxr14"),
    "rsna_pneumonia": ("rsna", "rsnapneumoniadetection", "rsnapneumoniachallenge"),
    "siim_pneumothorax": ("siim", "siimacr", "siimacrpneumothorax", "siimacrpneumothoraxsegmentation"),
    "tbx11k": ("tbx", "tbx11"),
    "shenzhen": ("shenzhencxr", "chinaset", "chinasetallfiles", "nlmshenzhen"),
    "montgomery": ("montgomerycounty", "montgomerycxr", "montgomeryset", "nlmmontgomery"),
}
"""What else people call them, in small letters and digits only."""

_MEANT = {re.sub("[^a-z0-9]", "", word): name for name, others in NAMES.items() for word in (name, *others)}


def overlap_between(first: str, second: str) -> Overlap | None:
    """The known overlap of two data sets by their names, in any spelling: `NIH`, `chest-xray14`; None for none."""
    meant = {_MEANT.get(re.sub("[^a-z0-9]", "", name.lower())) for name in (first, second)}
    return next((one for one in KNOWN if meant == {one.first, one.second}), None)


def overlap_notes(names: Iterable[str]) -> list[str]:
    """A sentence for each two of these data sets that are known to share films."""
    pairs = [(a, b, overlap_between(a, b)) for a, b in itertools.combinations(dict.fromkeys(names), 2)]
    return [
        f"{a} and {b} are known to share films: {found.reason}. Find them: resload.near_duplicates(catalog)"
        for a, b, found in pairs
        if found is not None
    ]
