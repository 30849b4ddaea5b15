"""What a pixel of a radiograph holds: one nodule at five sizes, pixels across findings, and contrast against noise.

Left, a synthetic film's nodule of 8 mm, each size with its own pixels. Middle, arithmetic: how many pixels a finding of
d mm has on a plate of 390 mm. Right, measured: the peaks of nodules and the noise, after films with one of them or
with white noise alone were resized by the definition.
"""

import numpy as np
from drawing import RIGHT, WRONG, drawn, picture

import resload
from resload.seeds import generator
from resload.testing import synthetic_film

PLATE_MM = 390
"""A chest film's plate: those of `synthetic_film` have 350 to 430 mm."""
SIZES = (64, 128, 256, 512, 1024)
FEW, LEAST = 4, 2
"""Pixels below which little of a finding's shape is left, and below which none is."""


def main(words=None):
    drawn(draw, "sampling", (1045, 594), words)


def draw(figure, small):
    side = 512 if small else 2048
    sizes = tuple(size for size in SIZES if size < side)
    above, below = figure.subfigures(2, 1, height_ratios=(1, 1.5))
    one_nodule(above, side, sizes[::-1])
    pixels, signal = below.subplots(1, 2)
    pixels_across(pixels)
    contrast_and_noise(signal, side, sizes)


def one_nodule(figure, side, sizes):
    """40 mm around the nodule of 8 mm, at each size."""
    film = synthetic_film(3, size=side, nodules=[8.0])
    (nodule,) = film.nodules
    for axes, size in zip(figure.subplots(1, len(sizes)), sizes, strict=True):
        image = resload.reference.resample(film.pixels, size)
        mm = film.spacing[0] * side / size
        across = round(40 / mm / 2)
        y, x = int(nodule.y * size / side), int(nodule.x * size / side)
        around = image[max(0, y - across) : y + across + 1, max(0, x - across) : x + across + 1]
        low, high = np.percentile(image[image > 0], (2, 98))
        picture(axes, around, f"{size} px\n{mm:.2g} mm per pixel\n{8 / mm:.1f} px wide", low, high)


def pixels_across(axes):
    sizes = np.geomspace(32, 2048, 50)
    for diameter, shade in ((2, "0.15"), (4, "0.35"), (8, "0.5"), (16, "0.65"), (30, "0.75")):
        axes.plot(sizes, diameter * sizes / PLATE_MM, color=shade, linewidth=1.8)
        axes.annotate(f"{diameter} mm", (2048, diameter * 2048 / PLATE_MM), (3, 0), textcoords="offset points",
                      va="center", fontsize=8)  # fmt: skip
    axes.axhspan(1e-2, LEAST, color=WRONG, alpha=0.18, linewidth=0)
    axes.axhspan(LEAST, FEW, color=WRONG, alpha=0.08, linewidth=0)
    axes.set(xscale="log", yscale="log", xlim=(32, 2048), ylim=(0.1, 200))
    axes.set_title("pixels across a finding", loc="left")
    axes.set_xlabel(f"size of a film of {PLATE_MM} mm, pixels")
    axes.set_ylabel("pixels")
    ticks(axes)


def contrast_and_noise(axes, side, sizes):
    noise = generator(0, 0, "synthetic", 0).standard_normal((side, side))
    shown = (*sizes, side)
    left = [resload.reference.resample(noise, size).std() for size in shown]
    axes.plot(shown, left, "s-", color=WRONG, markersize=4, label="white noise")
    for diameter, line in ((2.0, ":"), (4.0, "--"), (8.0, "-")):
        peaks = [resload.reference.resample(disc(side, diameter), size).max() for size in shown]
        axes.plot(shown, peaks, f"o{line}", color=RIGHT, markersize=4, label=f"nodule of {diameter:g} mm")
    axes.set(xscale="log", yscale="log", xlim=(sizes[0] / 1.2, side * 1.2))
    axes.set_title("what is left, as a share of the film's", loc="left")
    axes.set_xlabel("size, pixels")
    axes.legend(frameon=False, fontsize=8)
    ticks(axes)


def disc(side, diameter_mm):
    """(side, side): a nodule's projection of height 1 in the middle of a plate, averaged over 4 x 4 points a pixel."""
    places = (np.arange(side * 4) + 0.5) * PLATE_MM / side / 4 - PLATE_MM / 2
    near = np.abs(places) < diameter_mm
    height = np.zeros((side * 4, side * 4), np.float32)
    squares = places[near] ** 2 / (diameter_mm / 2) ** 2
    height[np.ix_(near, near)] = np.sqrt(np.maximum(0, 1 - squares[:, None] - squares))
    return height.reshape(side, 4, side, 4).mean(axis=(1, 3))


def ticks(axes):
    """Numbers as they are, not powers of ten."""
    axes.set_xticks([32, 64, 128, 256, 512, 1024, 2048])
    axes.xaxis.set_major_formatter(lambda value, _: f"{value:g}")
    axes.yaxis.set_major_formatter(lambda value, _: f"{value:g}")
    axes.minorticks_off()


if __name__ == "__main__":
    main()
