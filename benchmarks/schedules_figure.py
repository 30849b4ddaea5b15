"""The picture of size rules: what a model sees under the published schedules, drawn from the plans themselves.

    python benchmarks/schedules_figure.py

Left: the size of each epoch (of rules that change within an epoch, all of its sizes). Right: one epoch of a mix at
constant pixels, and how many images each size has in it, by what `share_of` counts.
"""

import matplotlib as mpl
import numpy as np
from common import RESULTS

from resload.samplers import Cycle, Mix, Pixels, Ramp, Sampler, Stages

mpl.use("Agg")
from matplotlib import pyplot as plt

EPOCHS = 90
FILMS = 8_000
STEPS = 60
RULES = {
    "Stages((128, 30), (192, 30), 256)": Stages((128, 30), (192, 30), 256),
    "Ramp(160, 192, start=65, end=76)": Ramp(160, 192, start=65, end=76),
    "Stages.linear(128, 300, stages=4, epochs=90)": Stages.linear(128, 300, stages=4, epochs=EPOCHS),
    "Stages((Cycle(112, 160), 45), Cycle(112, 160, 224))": Stages((Cycle(112, 160), 45), Cycle(112, 160, 224)),
}
MIX = (160, 192, 256, 320)


def main() -> None:
    figure = plt.figure(figsize=(11, 6.4), layout="constrained")
    left, right = figure.subfigures(1, 2, width_ratios=(1.15, 1))
    over_epochs(left)
    within_an_epoch(right)
    figure.savefig(RESULTS / "schedules.png", dpi=110)


def over_epochs(figure) -> None:
    for axes, (name, rule), colour in zip(
        figure.subplots(len(RULES), 1, sharex=True), RULES.items(), plt.cm.tab10.colors, strict=False
    ):
        sampler = Sampler(FILMS, sizes=rule, budget=Pixels(64, at=224), epoch_steps=STEPS)
        points = {(epoch, step.size.height) for epoch in range(EPOCHS) for step in sampler.steps(epoch)}
        axes.plot(*zip(*sorted(points), strict=True), "s", markersize=2.5, color=colour)
        axes.set_title(name, fontsize=9, loc="left")
        axes.set_yticks(sorted({size for _, size in points}))
        axes.tick_params(labelsize=8)
        axes.margins(y=0.2)
    axes.set_xlabel("epoch")
    figure.supylabel("size, px", fontsize=9)


def within_an_epoch(figure) -> None:
    above, below = figure.subplots(2, 1, height_ratios=(1.2, 1))
    steps = list(Sampler(FILMS, sizes=Mix(MIX), budget=Pixels(64, at=256)).steps(0))
    above.bar([step.number for step in steps], [len(step) for step in steps], width=1.0,
              color=[plt.cm.viridis(MIX.index(step.size.height) / (len(MIX) - 0.7)) for step in steps])  # fmt: skip
    for k, size in enumerate(MIX):
        above.bar([0], [0], color=plt.cm.viridis(k / (len(MIX) - 0.7)), label=f"{size} px")
    above.set_title("Mix((160, 192, 256, 320)), Pixels(64, at=256)", fontsize=9, loc="left")
    above.set_xlabel("step of an epoch")
    above.set_ylabel("images")
    above.set_ylim(0, 1.25 * max(len(step) for step in steps))
    above.legend(fontsize=8, ncols=4, loc="upper center")
    for k, share_of in enumerate(("images", "steps", "pixels")):
        sampler = Sampler(FILMS, sizes=Mix(MIX, share_of=share_of), budget=Pixels(64, at=256))
        counts = dict.fromkeys(MIX, 0)
        for step in sampler.steps(0):
            counts[step.size.height] += len(step)
        below.bar(
            np.arange(len(MIX)) + 0.27 * (k - 1), list(counts.values()), width=0.25, label=f'share_of="{share_of}"'
        )
    below.set_xticks(range(len(MIX)), [f"{size} px" for size in MIX])
    below.set_ylabel("images in an epoch")
    below.legend(fontsize=8)
    for axes in (above, below):
        axes.tick_params(labelsize=8)


if __name__ == "__main__":
    main()
