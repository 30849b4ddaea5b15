"""Functional groups: what enhanced multi-frame images (breast tomosynthesis, enhanced XA) say of single frames.

    Shared Functional Groups Sequence         one item, true of all frames       PS3.3 C.7.6.16
    Per-frame Functional Groups Sequence      an item for each frame
        Pixel Measures Sequence               spacing                            C.7.6.16.2.1
        Pixel Value Transformation Sequence   rescale                            C.7.6.16.2.9
        Frame VOI LUT Sequence                windows                            C.7.6.16.2.10

Such an image has none of these elements outermost.
"""

from dataclasses import replace
from itertools import islice

from resload.decode import dictionary
from resload.decode.elements import DataSet, Element


def of_frame(dataset: DataSet, frame: int) -> DataSet:
    """The data set with what its functional groups say of one frame, as if it stood outermost.

    The frame's own group goes before the shared one. The data set itself where it has no groups.
    """
    shared = dataset.first_item(dictionary.SHARED_GROUPS)
    own = next(islice(dataset.items(dictionary.FRAME_GROUPS), frame, None), None)
    found: dict[int, Element] = {}
    for item in (shared, own):
        groups = () if item is None else (item.first_item(tag) for tag in dictionary.GROUPS)
        for group in groups:
            found |= {} if group is None else group.elements
    return replace(dataset, elements=dataset.elements | found) if found else dataset
