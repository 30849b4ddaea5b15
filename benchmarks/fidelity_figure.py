"""The picture of the fidelity study, drawn from benchmarks/results/fidelity.json and one real film.

    python benchmarks/fidelity_figure.py [--data FOLDER]

Above: rmse over the size asked for, for levels of 512, 256 and 128 px made from 1024 px films. Below: a part of one
film served at 320 px from a level of 512 px: the direct resize, and how far plain and composite are from it.
"""

import argparse
import json
import os
from pathlib import Path

import matplotlib as mpl
import numpy as np
from common import RESULTS
from fidelity import composed, directly, real_films, source

from resload import composite

mpl.use("Agg")
from matplotlib import pyplot as plt

N, LEVEL, TARGET = 1024, 512, 320
LEVELS = ((512, "tab:blue"), (256, "tab:orange"), (128, "tab:green"))
PART = 110
RANGE = 6.0


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--data", type=Path, default=os.environ.get("RESLOAD_DATA"), help="a folder of real films")
    args = parser.parse_args()
    if args.data is None:
        parser.error("--data is needed, or RESLOAD_DATA: the picture shows a real film")
    cells = json.loads((RESULTS / "fidelity.json").read_text())["cells"]
    film = next(film for film in real_films(args.data, 1) if film.shape == (N, N))
    figure = plt.figure(figsize=(10, 8.2), layout="constrained")
    upper, lower = figure.subfigures(2, 1, height_ratios=(1, 0.95))
    curves(upper, [cell for cell in cells if cell["n"] == N])
    part(lower, film)
    figure.savefig(RESULTS / "fidelity.png", dpi=110)


def curves(figure, cells) -> None:
    axes = figure.subplots()
    for level, colour in LEVELS:
        ours = [cell for cell in cells if cell["level"] == level and cell["target_over_level"] < 1]
        share = [cell["target_over_level"] for cell in ours]
        for what, line in (("plain", "--o"), ("composite", "-o")):
            rmse = [cell[what]["rmse"] for cell in ours]
            axes.plot(share, rmse, line, color=colour, markersize=4, label=f"{level} px level, {what}")
    axes.axhline(12**-0.5, color="gray", linewidth=0.8, linestyle=":")
    axes.annotate(
        "rounding to 8 bits", (0.085, 12**-0.5), xytext=(0, 3), textcoords="offset points", color="gray", fontsize=8
    )
    axes.set_yscale("log")
    axes.set_yticks([0.05, 0.1, 0.2, 0.5, 1, 2], ["0.05", "0.1", "0.2", "0.5", "1", "2"])
    axes.set_xlabel("size asked for / size of the level")
    axes.set_ylabel("rmse before rounding (grey levels of 255)")
    axes.set_title(f"Distance from the direct resize: {cells[0]['films']} films of {N} x {N} px")
    axes.legend(ncols=3, loc="lower right", fontsize=9)
    axes.grid(alpha=0.3, which="major")


def part(figure, film: np.ndarray) -> None:
    level, direct = source(film, LEVEL), directly([film], TARGET)[0]
    plain = directly([level], TARGET)[0]
    better = composed([level], composite.weights(N, LEVEL, TARGET))[0]
    where = liveliest(plain - direct)
    axes = figure.subplots(1, 3)
    axes[0].imshow(direct[where], cmap="gray", interpolation="nearest")
    axes[0].set_title(f"direct resize, {N} -> {TARGET}")
    for axis, what, made in ((axes[1], "plain", plain), (axes[2], "composite", better)):
        error = made - direct
        shown = axis.imshow(error[where], cmap="RdBu", vmin=-RANGE, vmax=RANGE, interpolation="nearest")
        rmse = np.sqrt((error[where] ** 2).mean())
        axis.set_title(f"{what} minus direct: rmse {rmse:.2f}")
    for axis in axes:
        axis.set_xlabel("pixels")
        axis.set_xticks([0, 50, 100])
        axis.set_yticks([0, 50, 100])
    axes[0].set_ylabel("pixels")
    figure.colorbar(shown, ax=axes, label="grey levels of 255", shrink=0.85)
    figure.suptitle(f"{TARGET} px from a level of {LEVEL} px: the part of a film where plain resizing errs most")


def liveliest(error: np.ndarray) -> tuple[slice, slice]:
    """The square of PART pixels with the most error, of those that do not touch the border."""
    sums = np.pad((error**2).cumsum(0).cumsum(1), ((1, 0), (1, 0)))
    inside = sums[PART:, PART:] - sums[:-PART, PART:] - sums[PART:, :-PART] + sums[:-PART, :-PART]
    top, left = np.unravel_index(inside[8:-8, 8:-8].argmax(), inside[8:-8, 8:-8].shape)
    return slice(top + 8, top + 8 + PART), slice(left + 8, left + 8 + PART)


if __name__ == "__main__":
    main()
