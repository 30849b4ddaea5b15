"""Masks that follow a film to any size, with no offset. The way back is `geometry.Geometry.to_source`.

    runs.py     run-lengths, as competitions and COCO write them, to and from (H, W) bool
    polygons.py contours, as annotation programs write them, to run-lengths and (H, W) bool
    read.py     the masks of one film: several annotations of a label united, unknown told from empty
    rects.py    where a pixel of one size begins and ends in pixels of another, in whole numbers
    areas.py    how much of each pixel of a size a mask covers, 0 to 255: what is stored
    inside.py   which pixels count as inside, by a rule that is named
    table.py    the masks of a whole catalog, by row

A mask is made at a size by its film's *placement*: an integer rectangle (y, x, height, width) of the film, resized
onto an integer rectangle of a canvas. Coverage is kept instead of a yes or no because the rule that makes one of the
other (any overlap, at least half, the centre) decides which small findings are left at a small size: it is chosen
when masks are used, not when they are stored.

Import from the files themselves: `catalog` needs `runs.py` alone.
"""
