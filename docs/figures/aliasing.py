"""Why others alias: one zone plate and one nodule, made small with and without a kernel that grows with the factor.

Above, a zone plate (rings that get finer outwards) from 256 to 64 pixels. What is finer than two pixels of the result
should fade to gray; where the kernel does not grow, it comes back as rings that are not there. Below, a nodule of 3 mm
on a film of 0.38 mm per pixel, resized from 1,024 to 128 pixels, where it is one pixel wide: what is left of it,
wherever it lies within that pixel.
"""

import numpy as np
import torch
from drawing import RIGHT, WRONG, drawn, picture

import resload

SIDE, FACTOR = 256, 4
"""Of the zone plate: pixels, and how many of them are one of the result along each axis."""
FILM_FACTOR, DIAMETER = 8, 8
"""Of the nodule: film pixels in one of the result, and its width in film pixels."""
GAP, LEFT, TOP = 12, 4, 26
"""Pixels between the pictures, and beside and above them: each is drawn at its own pixels, or it would alias here."""
PIXELS = (2 * LEFT + 4 * SIDE + 3 * GAP, 590)


def main(words=None):
    drawn(draw, "aliasing", PIXELS, words, layout=None)


def exact(image, size):
    """By the definition, in float64."""
    return resload.reference.resample(image, size)


def unfiltered(image, size):
    """Bilinear without antialias, as `cv2.resize(INTER_LINEAR)` and `interpolate(antialias=False)` do it."""
    pixels = torch.from_numpy(np.asarray(image, np.float64))[None, None]
    return torch.nn.functional.interpolate(pixels, size, mode="bilinear", align_corners=False)[0, 0].numpy()


def nearest(image, size):
    """The pixel in the middle of each block."""
    step = image.shape[0] // size
    return image[step // 2 :: step, step // 2 :: step]


def zone_plate(side):
    """(side, side) of 0 to 255: rings whose frequency grows outwards, to 0.4 cycles per pixel at the edges' middle."""
    y, x = np.mgrid[:side, :side] + 0.5 - side / 2
    return 127.5 + 127.5 * np.cos(0.8 * np.pi * (y**2 + x**2) / side)


def nodule(side, y, x):
    """(side, side): the projection of a sphere of height 1, averaged over each pixel."""
    inner = (np.arange(side * 8) + 0.5) / 8
    dy, dx = (inner - y)[:, None] / (DIAMETER / 2), (inner - x)[None] / (DIAMETER / 2)
    return np.sqrt(np.maximum(0, 1 - dy**2 - dx**2)).reshape(side, 8, side, 8).mean(axis=(1, 3))


def seen(way, shift):
    """(9, 9) of the result around a nodule `shift` film pixels from the middle of a pixel, both ways."""
    side = 9 * FILM_FACTOR
    middle = side / 2 + shift
    return way(nodule(side, middle, middle), 9)


def draw(figure, small):
    rings(figure)
    positions(figure)
    contrast(figure, np.arange(0, FILM_FACTOR + 0.1, 2 if small else 0.25))


def rings(figure):
    plate, size = zone_plate(SIDE), SIDE // FACTOR
    ways = {
        f"a zone plate of {SIDE} pixels": plate,
        f"exact, {size} pixels": exact(plate, size),
        f"bilinear, not antialiased, {size} pixels": unfiltered(plate, size),
        f"nearest, {size} pixels": nearest(plate, size),
    }
    for place, (title, pixels) in enumerate(ways.items()):
        picture(placed(figure, LEFT + place * (SIDE + GAP), TOP, SIDE, SIDE), pixels, title)


def positions(figure):
    """Six places of the nodule, resized in two ways."""
    for row, (name, way) in enumerate({"exact": exact, "not antialiased": unfiltered}.items()):
        for column in range(6):
            axes = placed(figure, LEFT + 22 + column * 93, TOP + SIDE + 62 + row * 116, 81, 81)
            picture(axes, seen(way, column * FILM_FACTOR / 10), high=0.5)
            axes.set_xlabel(f"{column / 10:g}", fontsize=8)
            if column == 0:
                axes.set_ylabel(name)
            if row == 0 and column == 0:
                axes.set_title("a nodule one pixel wide, and how far it lies from a pixel's middle", loc="left")


def contrast(figure, shifts):
    axes = placed(figure, LEFT + 660, TOP + SIDE + 62, PIXELS[0] - LEFT - 680, 197)
    beside = shifts / FILM_FACTOR
    axes.plot(beside, [seen(unfiltered, shift).max() for shift in shifts], color=WRONG, label="not antialiased")
    axes.plot(beside, [seen(exact, shift).max() for shift in shifts], color=RIGHT, label="exact")
    axes.set(xlabel="pixels from a pixel's middle", ylabel="share of the peak", ylim=(0, 1.02), xlim=(0, 1))
    axes.set_title("what is left of it", loc="left")
    axes.legend(frameon=False, loc="upper center")


def placed(figure, left, top, width, height):
    """Axes at these pixels of the figure, from its upper left corner."""
    return figure.add_axes(
        (left / PIXELS[0], 1 - (top + height) / PIXELS[1], width / PIXELS[0], height / PIXELS[1]),
    )


if __name__ == "__main__":
    main()
