"""Functional groups: what enhanced multi-frame images (breast tomosynthesis, enhanced XA) say of single frames.

Shared Functional Groups Sequence      one item: true of all frames       PS3.3 C.7.6.16
Per-frame Functional Groups Sequence   an item for each frame
    Pixel Measures Sequence                spacing                        C.7.6.16.2.1
    Pixel Value Transformation Sequence    rescale                        C.7.6.16.2.9
    Frame VOI LUT Sequence                 windows                        C.7.6.16.2.10
"""

from dataclasses import replace
from itertools import islice

from resload.decode import tags
from resload.decode.elements import DataSet


def of_frame(dataset: DataSet, frame: int) -> DataSet:
    """The data set with what its functional groups say of one frame, as if it stood outermost.

    The frame's own group goes before the shared one, and both before an outermost element, which is none of such an
    image. The data set itself where it has no groups.
    """
    shared = dataset.first_item(tags.SHARED_GROUPS)
    own = next(islice(dataset.items(tags.FRAME_GROUPS), frame, None), None)
    found = {}
    for item in (shared, own):
        for tag in tags.GROUPS if item is not None else ():
            group = item.first_item(tag) if item is not None else None
            found.update(group.elements if group is not None else {})
    return replace(dataset, elements=dataset.elements | found) if found else dataset
