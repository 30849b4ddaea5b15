"""The figures of docs/: each is drawn by a script beside it, shown by a page, and small enough to be kept here."""

import runpy
from pathlib import Path

import numpy as np
import pytest
from links import PAGES, ROOT
from PIL import Image

FOLDER = ROOT / "docs" / "figures"
SCRIPTS = sorted(path for path in FOLDER.glob("*.py") if path.name != "drawing.py")
MOST = 300_000
"""Bytes of a figure: every clone has it."""


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda script: script.stem)
def test_a_script_draws_its_figure(script, tmp_path, monkeypatch):
    """From small films: a PNG of its name, of the size of the one that is kept, with something on it."""
    monkeypatch.syspath_prepend(str(FOLDER))
    runpy.run_path(str(script), run_name="figure")["main"](["--out", str(tmp_path), "--small"])
    assert [path.name for path in tmp_path.iterdir()] == [f"{script.stem}.png"]
    with Image.open(tmp_path / f"{script.stem}.png") as drawn, Image.open(FOLDER / f"{script.stem}.png") as kept:
        assert drawn.format == "PNG"
        assert drawn.size == kept.size
        assert np.asarray(drawn.convert("L")).std() > 10


def test_what_is_kept_is_what_the_scripts_draw():
    """No figure without a script, none without a page, none too large."""
    kept = sorted(FOLDER.glob("*.png"))
    assert [path.stem for path in kept] == [script.stem for script in SCRIPTS]
    assert all(path.stat().st_size < MOST for path in kept)
    shown = "".join(page.read_text(encoding="utf-8") for page in PAGES)
    assert [path.name for path in kept if f"figures/{path.name})" not in shown] == []


def test_the_makefile_draws_them_all():
    """`make figures` runs every script: those it leaves out are shared code."""
    text = Path(ROOT / "Makefile").read_text(encoding="utf-8")
    assert "$(filter-out %/drawing.py,$(wildcard docs/figures/*.py))" in text


def test_the_figures_say_the_truth(monkeypatch):
    """What the pages say of them: without antialias a nodule comes and goes with its place, exactly it does not."""
    monkeypatch.syspath_prepend(str(FOLDER))
    names = runpy.run_path(str(FOLDER / "aliasing.py"), run_name="figure")
    peaks = {
        way: [names["seen"](names[way], shift).max() for shift in np.arange(0, 8.5, 0.5)]
        for way in ("exact", "unfiltered")
    }
    assert max(peaks["unfiltered"]) > 0.95
    assert min(peaks["unfiltered"]) < 0.01
    assert max(peaks["exact"]) < 3 * min(peaks["exact"])
    names = runpy.run_path(str(FOLDER / "kernels.py"), run_name="figure")
    beyond = np.linspace(0.5, 2, 50) / 4  # cycles per film pixel that four film pixels in one cannot hold
    left = {
        "triangle": names["response"](names["reference"].matrix(256, 64)[32], beyond),
        "unfiltered": names["response"](names["unfiltered"](256, 64), beyond),
    }
    assert left["triangle"].max() < 0.45 < 0.9 < left["unfiltered"].max()
    assert left["triangle"][beyond >= 0.25].max() < 0.05
