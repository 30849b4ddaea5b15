"""From folder and spreadsheet to a cache: the command line, and the how-to page's own commands on 2,000 files."""

import json
import logging
import re
from pathlib import Path

import pytest
from test_docs import ROOT, run_page

import resload
from resload import datasets
from resload.cli import main, source
from resload.testing import write_archive

PAGE = ROOT / "docs" / "how-to" / "dicom-archive.md"


@pytest.fixture(autouse=True)
def here(tmp_path, monkeypatch, caplog):
    """An empty working directory; notes are logged as well, and expected here."""
    caplog.set_level(logging.CRITICAL, logger="resload")
    monkeypatch.chdir(tmp_path)


@pytest.fixture
def hospital():
    """An archive of 80 files below the working directory, and what is true of it."""
    return write_archive("hospital", 80)


def answer(capsys, *words):
    """The exit code and the JSON document of a command line."""
    capsys.readouterr()
    code = main([*words, "--json"])
    return code, json.loads(capsys.readouterr().out)


def test_scan_reads_an_archive(hospital, capsys):
    """Radiographs only; what was left out is in the notes, and no reason for an exit code of 1."""
    code, found = answer(capsys, "scan", "hospital/archive", "--dicom", "--tags", "KVP", "--out", "catalog")
    assert code == 0
    assert found["films"] == hospital.radiographs
    assert set(found["modalities"]) == {"CR", "DX", "MG"}
    assert sum(found["syntaxes"].values()) == hospital.radiographs
    assert any("structured reports" in note for note in found["notes"])
    assert found["unreadable"] == []
    table = resload.Catalog.load("catalog").table
    assert len(table) == hospital.radiographs
    assert "KVP" in table


def test_scan_takes_the_modalities_asked_for(hospital, capsys):
    """Others are counted, radiographs or not."""
    code, found = answer(capsys, "scan", "hospital/archive", "--dicom", "--modalities", "MG", "CT")
    assert code == 0
    assert set(found["modalities"]) == {"MG", "CT"}
    assert any("images of other modalities" in note and "CR" in note for note in found["notes"])


def test_scan_joins_a_spreadsheet_and_draws(hospital, capsys):
    """Targets are the spreadsheet's; the figure is written, and named."""
    words = ["scan", "hospital/archive", "--dicom", "--join", "hospital/reports.csv", "--on", "AccessionNumber"]
    words += ["--targets", "Pneumothorax", "Effusion", "--split", "train=.5,test=.5", "--figure", "scan.png"]
    code, found = answer(capsys, *words)
    assert code == 0
    assert found["targets"] == ["Pneumothorax", "Effusion"]
    assert sum(found["splits"].values()) == hospital.radiographs
    assert found["figure"] == "scan.png"
    assert Path("scan.png").read_bytes()[:4] == b"\x89PNG"
    assert main(words) == 0
    assert capsys.readouterr().out.endswith("drawn to scan.png\n")


def test_an_interrupted_scan_goes_on(hospital, capsys):
    """With --index the second run reads the headers from there."""
    words = ["scan", "hospital/archive", "--dicom", "--index", "headers.jsonl"]
    once = answer(capsys, *words)
    size = Path("headers.jsonl").stat().st_size
    assert answer(capsys, *words) == once
    assert Path("headers.jsonl").stat().st_size == size


def test_any_source_is_joined(hospital, capsys):
    """A saved catalog, by columns of two names; a CSV's own targets give way to the spreadsheet's."""
    assert main(["scan", "hospital/archive", "--dicom", "--out", "catalog"]) == 0
    reports = Path("hospital/reports.csv").read_text().replace("AccessionNumber", "Acc")
    Path("other.csv").write_text(reports)
    words = ["--join", "other.csv", "--on", "AccessionNumber=Acc", "--targets", "Effusion"]
    assert answer(capsys, "scan", "catalog", *words)[1]["targets"] == ["Effusion"]
    table = resload.Catalog.load("catalog").table[["id", "path"]]
    table.assign(AccessionNumber="A1").to_csv("films.csv", index=False)
    Path("other.csv").write_text("Acc,Effusion\nA1,1\n")
    words += ["--root", "hospital/archive"]
    assert answer(capsys, "scan", "films.csv", *words)[1]["targets"] == ["Effusion"]


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("scan . --tags KVP", "--tags go with --dicom, for an archive"),
        ("scan . --index a --tags KVP", "--tags, --index go with --dicom"),
        ("scan . --on A", "--on goes with --join SPREADSHEET"),
        ("scan hospital/archive --dicom --join hospital/reports.csv", "--join needs --on"),
        ("scan . --dicom --dataset chestxray14", "--dicom and --dataset are two ways to read SOURCE"),
        ("scan . --targets A", "--targets name columns of a CSV"),
        ("scan . --figure a.pdf", "must end in .png"),
        ("scan hospital/reports.csv --dicom", "hospital/reports.csv is not a folder"),
        ("scan hospital/archive --dicom --tags KVPP", "DICOM has no keyword 'KVPP'"),
    ],
)
def test_options_that_do_not_go_together(hospital, capsys, line, message):
    """Exit code 2 and one sentence, and nothing is written."""
    assert main(line.split()) == 2
    assert message in capsys.readouterr().err


def test_help_names_every_data_set(capsys):
    """Those of resload.datasets, read without importing them."""
    assert source.dataset_names() == tuple(datasets.__all__)
    assert main(["scan", "--help"]) == 0
    shown = re.sub(r"\s+", " ", capsys.readouterr().out)
    assert f"public data set: {', '.join(datasets.__all__)} " in shown


@pytest.mark.slow
def test_the_page_holds_for_2000_files():
    """Its commands, with the number replaced: all that is skipped is counted, and the cache has every radiograph."""
    text = PAGE.read_text(encoding="utf-8")
    assert text.count('write_archive("hospital", 80)') == 1
    page = Path("page.md")
    page.write_text(text.replace('write_archive("hospital", 80)', 'write_archive("hospital", 2000)'), encoding="utf-8")
    made = run_page(page)["made"]
    notes = "\n".join(resload.Catalog.load("catalog").notes)
    kinds = made.kinds
    assert sum(kinds.values()) == 2000
    counts = {
        "files that are no DICOM": kinds["text"] + kinds["garbage"],
        r"DICOM directories \(DICOMDIR\)": kinds["directory"],
        "structured reports": kinds["report"],
        "presentation states": kinds["presentation"],
        "key objects": kinds["key-object"],
        f"images of other modalities, CT {kinds['ct']}, US {kinds['ultrasound']}": kinds["ct"] + kinds["ultrasound"],
        "unreadable files": kinds["cut"] + kinds["cut-pixels"] + kinds["empty"],
        "identical copies": kinds["copy"],
        "files whose SOP Instance UID another file has with DIFFERENT content": kinds["other-content"],
    }
    for words, count in counts.items():
        assert re.search(rf"^left out: {count} {words}", notes, re.MULTILINE), words
    assert notes.count("left out: ") == len(counts)
    assert f"{made.strangers} keys of hospital/reports.csv have no film" in notes
    assert f"{made.repeated} keys of hospital/reports.csv have several equal rows" in notes
    cache = resload.open_cache("films.zarr")
    assert len(cache) == made.radiographs
    assert not len(cache.quarantine)
    assert set(cache.table["id"]) == set(resload.Catalog.load("catalog").table["id"])
    assert cache.targets == ("Pneumothorax", "Effusion")
    report = resload.catalog_report(resload.Catalog.load("catalog"))
    assert [one.attribute for one in report.shortcuts if one.nearly_separates] == ["manufacturer"]
