"""Where a film lies in an image: every fit is a rectangle of the film resized onto a rectangle of the target.

fits     which rectangles: stretch, pad, crop, and a field of view in millimetres
placing  the two rectangles of many films at once, and what follows from them: spacing, content, distortion
affine   one film's map, for points and boxes, and back
aligned  a whole batch's maps, for points, boxes and predicted maps, and back

Coordinates are continuous and measured from the top left corner: pixel i covers i to i + 1, so its centre is i + 0.5.
That is the half-pixel-centre convention of `reference.py`; nothing here has an offset of its own. Both rectangles are
whole pixels, so a film is always resized exactly and pasted, and its map is exact, not rounded.
"""

from resload.geometry.affine import Affine
from resload.geometry.aligned import Geometry
from resload.geometry.fits import ASPECTS, FITS, Crop, Fit, Pad, Stretch, as_fit, canvas_value
from resload.geometry.placing import FACTS, FILM, Rect, facts_at, film_facts, places

__all__ = [
    "ASPECTS",
    "FACTS",
    "FILM",
    "FITS",
    "Affine",
    "Crop",
    "Fit",
    "Geometry",
    "Pad",
    "Rect",
    "Stretch",
    "as_fit",
    "canvas_value",
    "facts_at",
    "film_facts",
    "places",
]
