"""Tiny images of the kinds that data sets are made of."""

from pathlib import Path

import imagecodecs
import numpy as np


def write_png(path: Path, height: int = 8, width: int = 8, bits: int = 8) -> Path:
    """A gray PNG with a ramp, of any depth a PNG file has two sizes of bytes for."""
    path.parent.mkdir(parents=True, exist_ok=True)
    ramp = np.linspace(0, 2**bits - 1, height * width).reshape(height, width)
    path.write_bytes(imagecodecs.png_encode(ramp.astype(np.uint16 if bits > 8 else np.uint8)))
    return path
