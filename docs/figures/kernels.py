"""What a resize lets through: the share of each frequency's amplitude that is left when a film is made four times less.

Frequencies right of the dashed line are finer than two pixels of the result, which cannot hold them: whatever is left
of one comes back as another, coarser one that is not in the film. Computed from the weights of `resload.reference`.
"""

import numpy as np
from drawing import RIGHT, WRONG, drawn

from resload import reference

FACTOR = 4
SIDE = 64
"""Pixels of the result: the weights of one in its middle are looked at."""


def main(words=None):
    drawn(draw, "kernels", (715, 352), words)


def response(weights, frequencies):
    """Amplitude that is left of waves of so many cycles per film pixel, from one pixel's weights (n,)."""
    places = np.arange(len(weights)) + 0.5 - (np.arange(len(weights)) + 0.5) @ weights
    return np.abs(np.exp(-2j * np.pi * frequencies[:, None] * places) @ weights)


def unfiltered(source, target):
    """Bilinear without antialias: the two film pixels beside the middle of the result's."""
    weights = np.zeros(source)
    weights[[source // 2 + source // target // 2 - 1, source // 2 + source // target // 2]] = 0.5
    return weights


def draw(figure, small):
    axes = figure.subplots()
    frequencies = np.linspace(0, 0.5, 40 if small else 400)
    styles = {"triangle": (RIGHT, "-"), "area": ("0.45", "-"), "cubic": ("0.45", "--"), "lanczos3": ("0.45", ":")}
    shown = frequencies * FACTOR  # cycles per pixel of the result
    for name, (colour, line) in styles.items():
        weights = reference.matrix(SIDE * FACTOR, SIDE, name)[SIDE // 2]
        width = 2.2 if name == "triangle" else 1.3
        axes.plot(shown, response(weights, frequencies), line, color=colour, linewidth=width, label=name)
    alone = response(unfiltered(SIDE * FACTOR, SIDE), frequencies)
    axes.plot(shown, alone, color=WRONG, linewidth=2.2, label="bilinear, not antialiased")
    axes.axvline(0.5, color="black", linewidth=1, linestyle=(0, (5, 3)))
    axes.annotate("two pixels of the result", (0.5, 0.99), (4, 0), textcoords="offset points", fontsize=8, va="top")
    axes.fill_between(shown, 0, alone, where=shown >= 0.5, color=WRONG, alpha=0.12, linewidth=0)
    axes.set(xlabel="cycles per pixel of the result", ylabel="amplitude that is left", xlim=(0, 2), ylim=(0, 1.08))
    axes.legend(frameon=False)


if __name__ == "__main__":
    main()
