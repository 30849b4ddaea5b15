"""The resolution study: which size does this finding need? A network for every size, compared as the field accepts it.

settings   what is asked for: the grid, and how each network is trained
grid       which networks that makes, and for how long: pure functions
films      the films they are given: caches, splits, patients, the numbers that normalise
recipes    caches of several kernels and fits from one decode
models     the networks, by name or the user's;  networks: small ones of our own
tasks      what is learnt: its loss, what is kept of the answers, the number that is reported
training   one network, from its first weights to its answers;  cost: what it took
folder     what is kept on disk, at any moment whole
running    all of it: `run`
results    what a study says so far: `opened`

The report, `Study.write_report`:

reporting  its files;  page: all of it in one;  protocol: how it was done;  elements: of HTML, escaped
words      what was found, in sentences, and what must be known before it is believed
drawing    figure 1, the metric against size;  panels: the other figures;  tables: CSV and LaTeX
lesions    pixels of findings, measured when a study begins;  examples: films, drawn then

    found = resload.study.run(cache, "nodules", sizes=(64, 128, 256, 512), targets=["nodule"], control=True)
    found.plateau("nodule")
    found.write_report()
"""

from resload.study.grid import Curve
from resload.study.results import Line, Point, Study, opened
from resload.study.running import run
from resload.study.settings import Settings

__all__ = ["Curve", "Line", "Point", "Settings", "Study", "opened", "run"]
