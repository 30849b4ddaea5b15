"""What the scripts of these figures share: a figure without pyplot, pictures whose pixels stay pixels, where it goes.

    python docs/figures/aliasing.py                       writes docs/figures/aliasing.png; so does `make figures`
    python docs/figures/aliasing.py --out FOLDER --small  the same from small films, quickly: for tests

matplotlib's Agg writes, without pyplot: the same script on the same versions gives the same bytes.
"""

import argparse
from pathlib import Path

import matplotlib as mpl
import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from resload.figures import FONT
from resload.report.drawing import INSIDE, WHOLE

RIGHT, WRONG = WHOLE, INSIDE
"""Blue for what is right and vermilion for what is not: told apart with any colour vision."""
HERE = Path(__file__).parent
DPI = 110
STYLE = {"font.family": FONT, "font.size": 9, "axes.titlesize": 9, "axes.spines.top": False, "axes.spines.right": False}


def drawn(draw, name, pixels, words=None, *, layout="constrained"):
    """Have `draw(figure, small)` fill a figure of (width, height) pixels, and write it as `name`.png.

    `words` are those of the command line; None takes the process's.
    """
    parser = argparse.ArgumentParser(description="Draw one figure of the documentation.")
    parser.add_argument("--out", type=Path, default=HERE, help="the folder to write to")
    parser.add_argument("--small", action="store_true", help="from small films, quickly")
    asked = parser.parse_args(words)
    with mpl.rc_context(STYLE):
        figure = Figure(figsize=(pixels[0] / DPI, pixels[1] / DPI), dpi=DPI, layout=layout)
        canvas = FigureCanvasAgg(figure)
        draw(figure, asked.small)
        canvas.print_png(asked.out / f"{name}.png", metadata={"Software": None})


def picture(axes, pixels, title="", low=0, high=255):
    """(H, W) as it is: every pixel one square of one gray."""
    axes.imshow(np.asarray(pixels), cmap="gray", vmin=low, vmax=high, interpolation="nearest")
    axes.set_title(title, loc="left")
    axes.set_xticks([])
    axes.set_yticks([])
    for spine in axes.spines.values():
        spine.set_visible(False)
