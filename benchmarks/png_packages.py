"""Packages that decode PNG, one function each, and resload's own routes: what `png_routes.py` compares.

Each function imports its package and returns what decodes bytes to an array. None of them is needed by resload.
"""

import io
from collections.abc import Callable
from importlib import import_module
from importlib.metadata import PackageNotFoundError, version

import imagecodecs
import numpy as np

from resload.decode import decode, png
from resload.decode.inflated import inflated

Route = Callable[[bytes], np.ndarray]


def opencv() -> Route:
    cv2 = import_module("cv2")
    cv2.setNumThreads(1)
    return lambda data: cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_UNCHANGED)


def pillow() -> Route:
    image = import_module("PIL.Image")
    return lambda data: np.asarray(image.open(io.BytesIO(data)))


def kornia() -> Route:
    module = import_module("kornia_rs").io

    def once(data: bytes) -> np.ndarray:
        told = png.parse(data)
        undo = module.decode_image_png_u8 if told.depth == 8 else module.decode_image_png_u16
        return undo(data, told.shape[:2], {2: "mono", 3: "rgb"}[len(told.shape)])

    return once


def inflated_first() -> Route:
    """What resload hands to libpng, handed to kornia-rs, only row filters to undo; libpng has what either leaves."""
    whole = kornia()

    def once(data: bytes) -> np.ndarray:
        told = png.parse(data)
        ready = inflated(data, told.pixels_at, told.filtered_bytes)
        try:
            return imagecodecs.png_decode(data) if ready is None else whole(ready)
        except Exception:
            return imagecodecs.png_decode(data)

    return once


def imgrs() -> Route:
    image = import_module("imgrs").Image

    def once(data: bytes) -> np.ndarray:
        told = png.parse(data)
        return np.frombuffer(image.open(data).to_bytes(), np.uint8 if told.depth == 8 else np.uint16).reshape(
            told.shape
        )

    return once


def skia() -> Route:
    module = import_module("skia")

    def once(data: bytes) -> np.ndarray:
        image = module.Image.MakeFromEncoded(module.Data.MakeWithoutCopy(data))
        out = np.empty((image.height(), image.width()), np.uint8)
        info = module.ImageInfo.Make(image.width(), image.height(), module.kGray_8_ColorType, module.kOpaque_AlphaType)
        assert image.readPixels(info, out, image.width(), 0, 0)
        return out

    return once


def vips() -> Route:
    module = import_module("pyvips")
    return lambda data: module.Image.new_from_buffer(data, "").numpy()


PACKAGES = {
    "OpenCV (libpng)": "opencv-python-headless",
    "Pillow": "pillow",
    "kornia-rs (png crate)": "kornia-rs",
    "libdeflate, then kornia-rs": "kornia-rs",
    "imgrs (png crate)": "imgrs",
    "pyspng (libspng)": "pyspng",
    "Skia (libpng)": "skia-python",
    "libvips": "pyvips",
}
_MADE = (opencv, pillow, kornia, inflated_first, imgrs, lambda: import_module("pyspng").load, skia, vips)


def available() -> tuple[dict[str, Route], dict[str, str]]:
    """What can be imported here; and what cannot, with the reason."""
    routes: dict[str, Route] = {
        "imagecodecs (libpng)": imagecodecs.png_decode,
        "imagecodecs (libspng)": imagecodecs.spng_decode,
        "resload": lambda data: decode(data).pixels,
    }
    missing = {}
    for (name, package), make_route in zip(PACKAGES.items(), _MADE, strict=True):
        try:
            routes[name] = make_route()
        except Exception as exc:  # broken installations fail in many ways
            missing[name] = f"{package}: {type(exc).__name__}"
    return routes, missing


def version_of(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None


def matches(found: np.ndarray, expected: np.ndarray) -> bool:
    """Of the first channel: films in colour are gray here, and some packages return that channel only."""
    first, other = (one if one.ndim == 2 else one[..., 0] for one in (np.asarray(found), expected))
    return first.dtype == other.dtype and np.array_equal(first, other)
