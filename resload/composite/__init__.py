"""A size that is not stored, from a level that is: a resize that undoes the level's own kernel.

A level was made from its film by antialiasing weights W1 (level x n); wanted is what the direct resize Wd
(target x n) makes of the film. Resizing the level with a plain kernel antialiases twice, which blurs. Here every
output pixel is the best linear estimate, from the few level pixels around it, of what Wd would have made of the
film. What that costs and how near it comes: docs/explanation/resampling.md, measured by `benchmarks/fidelity.py`.

    axis.py       the weights of one axis          products.py   levels through them, on CPU or device
    fidelity.py   what error to expect, from the table in fidelity.json
"""

from resload.composite.axis import Weights, weights
from resload.composite.fidelity import Error, expected
from resload.composite.products import resample, resample_float, resample_stored, resample_tensor

__all__ = [
    "Error",
    "Weights",
    "expected",
    "resample",
    "resample_float",
    "resample_stored",
    "resample_tensor",
    "weights",
]
