"""benchmarks/demo.py, small: it ends, and leaves what it says it leaves."""

import importlib.util
import json
import sys
from pathlib import Path

import pytest
from PIL import Image

DEMO = Path(__file__).parent.parent / "benchmarks" / "demo.py"


@pytest.fixture
def demo(monkeypatch):
    """The script as a module, with few sizes, steps and seconds."""
    spec = importlib.util.spec_from_file_location("demo", DEMO)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    monkeypatch.setattr(module, "SIZES", (16, 32))
    monkeypatch.setattr(module, "TRAINED", (16, 32))
    monkeypatch.setattr(module, "STEPS", 6)
    monkeypatch.setattr(module, "SECONDS", 0.0)
    return module


def run(demo, monkeypatch, *words):
    monkeypatch.setattr(sys, "argv", ["demo.py", *map(str, words)])
    demo.main()


def left_in(out):
    with Image.open(out / "contact_sheet.png") as image:
        assert image.size[0] > 600
    assert (out / "table.md").read_text().count("\n") == 4
    return json.loads((out / "table.json").read_text())


def test_the_demo_makes_its_films(demo, tmp_path, monkeypatch, capsys):
    """Synthetic films, one broken: a table, a contact sheet, losses at each size, and a second build without work."""
    run(demo, monkeypatch, "--out", tmp_path, "--films", 20, "--size", 64)
    report = left_in(tmp_path)
    assert report["films"] == 19
    assert [row["size"] for row in report["levels"]] == ["16x16", "32x32"]
    assert [len(one["losses"]) for one in report["training"]] == [6, 6]
    shown = capsys.readouterr()
    assert "Quarantined: film_00019" in shown.out
    assert "nothing to do" in shown.err


def test_the_demo_takes_a_public_data_set(demo, tmp_path, monkeypatch):
    """A folder with the CSV of ChestX-ray14: its targets, boxes and millimetres."""
    from resload.testing.miniatures import nih

    run(demo, monkeypatch, "--out", tmp_path / "out", "--data", nih.write(tmp_path / "nih", side=64))
    report = left_in(tmp_path / "out")
    assert report["films"] == 6
    assert all(row["mm_per_pixel_y"] for row in report["levels"])


def test_the_demo_takes_any_folder(demo, tmp_path, monkeypatch, capsys):
    """Films without targets and spacing: no training, and the table says that millimetres are not known."""
    (tmp_path / "films").mkdir()
    for number in range(5):
        Image.new("L", (40, 30), 40 * number).save(tmp_path / "films" / f"{number}.png")
    run(demo, monkeypatch, "--out", tmp_path / "out", "--data", tmp_path / "films")
    assert left_in(tmp_path / "out")["training"] == []
    assert "not known" in capsys.readouterr().out
