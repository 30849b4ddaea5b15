"""The command line: every verb by `main([...])`, what it prints, and how it ends."""

import io
import json
import re
import shlex
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import resload
from resload import cli, reference
from resload.cli import main, source
from resload.cli.answer import columns, counted, first_of, megabytes, millimetres
from resload.errors import ArgumentError, CorruptCacheError
from resload.pipeline.recipe import DTYPES
from resload.store.builder import CHECKS
from resload.store.tables import IDENTIFIERS
from resload.testing import write_synthetic


@pytest.fixture
def here(tmp_path, monkeypatch):
    """An empty working directory."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """A folder with films/ (12 of them), labels.csv of another's spelling, and films.zarr."""
    folder = tmp_path_factory.mktemp("made")
    catalog = write_synthetic(folder / "films", 12, size=96, broken=0)
    table = catalog.table.rename(columns={"path": "File", "patient": "PatientID", "nodule": "Nodule"})
    table["Set"] = ["train", "test"] * 6
    table["Age"] = 40.0 + np.arange(12)
    table[["id", "File", "PatientID", "Nodule", "Set", "Age"]].to_csv(folder / "labels.csv", index=False)
    resload.build(catalog, folder / "films.zarr", (32, (48, 40)), progress=False)
    return folder


@pytest.fixture
def copy(made, here):
    """A copy of `made` as the working directory."""
    import shutil

    shutil.copytree(made, here, dirs_exist_ok=True)
    return here


def answer(capsys, *words):
    """The exit code and the JSON document of a command line."""
    capsys.readouterr()
    code = main([*words, "--json"])
    return code, json.loads(capsys.readouterr().out)


def damage(path: Path, offset: int = 100):
    """Flip one bit."""
    data = bytearray(path.read_bytes())
    data[offset] ^= 1
    path.write_bytes(data)


# -- scan --


def test_scan_counts_what_there_is(copy, capsys):
    """Formats, sizes, depths and spacings of a folder; nothing is wrong with it."""
    code, found = answer(capsys, "scan", "films")
    assert code == 0
    assert found["films"] == 12
    assert found["formats"] == {"png": 9, "dicom": 3}
    assert found["bits"] == {"8": 7, "12": 3, "16": 2}
    assert found["photometric"] == {"MONOCHROME2": 11, "MONOCHROME1": 1}
    assert found["sizes"] == [{"size": "96x96", "films": 12}]
    assert found["spacing"]["y"]["known"] == 3
    assert found["unreadable"] == []


def test_scan_tells_people_the_same(copy, capsys):
    """The text has the numbers of the document."""
    assert main(["scan", "films"]) == 0
    shown = capsys.readouterr()
    assert re.search(r"^formats +png \(9\), dicom \(3\)$", shown.out, re.MULTILINE)
    assert re.search(r"^ +96x96 +12$", shown.out, re.MULTILINE)
    assert shown.err == ""


def test_scan_finds_what_cannot_be_read(copy, capsys):
    """Exit code 1, and a reason for each file, in the text and in the document."""
    Path("films/film_00000.png").write_text("no film")
    Path("films/film_00001.png").write_bytes(b"")
    words = ["scan", "labels.csv", "--root", "films", "--path", "File"]
    code, found = answer(capsys, *words)
    assert code == 1
    assert [(one["id"], one["path"]) for one in found["unreadable"]] == [
        ("film_00000", "film_00000.png"),
        ("film_00001", "film_00001.png"),
    ]
    assert main(words) == 1
    assert "  film_00001.png: the file is empty" in capsys.readouterr().out


def test_scan_saves_a_catalog_that_build_takes(copy, capsys):
    """--out makes a SOURCE: with sizes and depths known, and paths that lead to the same films."""
    assert main(["scan", "films", "--split", "train=.5,test=.5", "--by", "id", "--out", "scanned"]) == 0
    assert resload.Catalog.load("scanned").table["width"].eq(96).all()
    code, found = answer(capsys, "build", "scanned", "again.zarr", "--sizes", "16")
    assert code == 0
    assert found["splits"] == {"train": 6, "test": 6}


def test_many_sizes_are_cut_short(here, capsys):
    """Ten sizes are shown, the document has all."""
    for side in range(20, 33):
        Image.new("L", (side, side)).save(here / f"{side}.png")
    assert main(["scan", "."]) == 0
    assert "... and 3 other sizes" in capsys.readouterr().out
    assert len(answer(capsys, "scan", ".")[1]["sizes"]) == 13


def test_notes_are_told_once(copy, capfd):
    """Files that are no films are named in the text, and not by the log as well."""
    Path("films/readme.txt").write_text("words")
    assert main(["scan", "films"]) == 0
    shown = capfd.readouterr()
    assert shown.out.count("readme.txt") == 1
    assert shown.err == ""


# -- SOURCE --


def test_a_csv_with_its_own_words(copy, capsys):
    """Columns by their names in the CSV; paths start from the CSV's folder unless --root says otherwise."""
    words = ["--path", "File", "--patient", "PatientID", "--targets", "Nodule", "Age", "--split", "Set"]
    code, found = answer(capsys, "scan", "labels.csv", "--root", "films", *words)
    assert code == 0
    assert found["targets"] == ["Nodule", "Age"]
    assert found["splits"] == {"train": 6, "test": 6}
    assert found["patients"] == 8
    Path("labels.csv").rename("films/labels.csv")
    assert answer(capsys, "scan", "films/labels.csv", *words) == (0, found | {"source": "films/labels.csv"})


def test_shares_make_a_split_by_patient(copy, capsys):
    """train=.5,test=.5 keeps patients together, and is the same every time for one seed."""
    words = ["scan", "labels.csv", "--root", "films", "--path", "File", "--patient", "PatientID", "--out", "kept"]
    splits = []
    for seed in ("3", "3", "4"):
        assert main([*words, "--split", "train=.5,test=.5", "--seed", seed]) == 0
        table = resload.Catalog.load("kept").table
        assert table.groupby("patient")["split"].nunique().max() == 1
        splits.append(table["split"].tolist())
    assert splits[0] == splits[1] != splits[2]


def test_folders_are_classes_unless_told_otherwise(here, capsys):
    """The class folders of a folder are targets; with --no-classes they are not."""
    for name in ("mass", "normal"):
        Path(name).mkdir()
        Image.new("L", (20, 20)).save(here / name / "a.png")
    assert answer(capsys, "scan", ".")[1]["targets"] == ["mass", "normal"]
    assert answer(capsys, "scan", ".", "--no-classes")[1]["targets"] == []


def test_a_public_data_set(tmp_path, capsys):
    """--dataset reads the folder as that data set lies there, and says what is missing of it."""
    from resload.testing.miniatures import nih

    code, found = answer(capsys, "scan", str(nih.write(tmp_path / "nih", lists="")), "--dataset", "chestxray14")
    assert code == 0
    assert len(found["targets"]) == 14
    assert found["splits"] == {"train": 4, "test": 2}
    assert found["spacing"]["y"]["known"] == 6


@pytest.mark.parametrize(
    ("text", "expected"), [("a=1", {"a": 1.0}), ("train=.7, val=.1,test=0.2", {"train": 0.7, "val": 0.1, "test": 0.2})]
)
def test_shares_are_read(text, expected):
    """Names and numbers, with or without spaces."""
    assert source.shares(text) == expected


# -- build and info --


def test_build_finishes_and_says_when_there_is_nothing_to_do(copy, capfd):
    """The second run of one command does nothing and says so; a new size is added."""
    words = ["build", "films", "new.zarr", "--sizes", "16", "24x20"]
    assert main(words) == 0
    assert "complete: 12 radiographs at 16, 24x20" in capfd.readouterr().err
    assert main(words) == 0
    assert "nothing to do" in capfd.readouterr().err
    assert main(["build", "films", "new.zarr", "--sizes", "16", "32"]) == 0
    assert [str(size) for size in resload.open_cache("new.zarr").sizes] == ["16x16", "24x20", "32x32"]


def test_build_passes_on_every_option(copy, capsys):
    """Recipe, columns, identifiers, shards, seed: what the cache has is what was asked for."""
    words = ["labels.csv", "all.zarr", "--root", "films", "--path", "File", "--patient", "PatientID"]
    words += ["--targets", "Nodule", "--split", "Set", "--sizes", "40", "--columns", "Age", "--identifiers", "keep"]
    words += ["--intensity", "none", "--kernel", "area", "--dtype", "uint16", "--shard-mb", "1", "--seed", "7"]
    code, found = answer(capsys, "build", *words, "--on-error", "raise", "--check", "hash", "--threads", "2")
    assert code == 0
    assert found["recipe"] == {"intensity": "none", "fit": "stretch", "aspect": "pixel", "kernel": "area"}
    assert found["dtype"] == "uint16"
    assert found["identifying"] == ["id", "path", "patient", "Age"]
    cache = resload.open_cache("all.zarr")
    assert cache.table["patient"].str.startswith("P").all()
    catalog = resload.Catalog.from_csv("labels.csv", root="films", path="File", patient="PatientID")
    other = resload.build(catalog, "seven.zarr", 40, shuffle_seed=7, progress=False)
    assert cache.table["id"].tolist() == other.table["id"].tolist()


def test_build_says_nothing_to_a_machine(copy, capfd):
    """With --json standard error stays empty, and standard output is one document."""
    assert main(["build", "films", "quiet.zarr", "--sizes", "16", "--json"]) == 0
    shown = capfd.readouterr()
    assert shown.err == ""
    assert json.loads(shown.out)["films"] == 12


def test_a_quarantine_is_told_and_no_failure(copy, capsys):
    """A build around a broken film ends with 0, names the film, and what tries it again."""
    broken = Path("films/film_00001.png")
    broken.write_bytes(broken.read_bytes()[:2000])
    code, found = answer(capsys, "build", "films", "bad.zarr", "--sizes", "16")
    assert code == 0
    assert found["readable"] == 11
    assert [one["id"] for one in found["quarantine"]] == ["film_00001"]
    assert main(["build", "films", "bad.zarr", "--sizes", "16"]) == 0
    assert "quarantined: 1 (resload repair bad.zarr tries them again)" in capsys.readouterr().out
    assert main(["build", "films", "worse.zarr", "--sizes", "16", "--on-error", "raise"]) == 1
    assert "film_00001.png: the PNG data ends early" in capsys.readouterr().err


def test_info_tells_what_the_cache_holds(copy, capsys):
    """Films, sizes with bytes and millimetres, recipe, targets with prevalence, fingerprint and digest."""
    cache = resload.open_cache("films.zarr")
    code, found = answer(capsys, "info", "films.zarr")
    assert code == 0
    assert (found["films"], found["readable"], found["dtype"]) == (12, 12, "uint16")
    small, large = found["sizes"]
    assert [small["size"], large["size"]] == ["32x32", "48x40"]
    assert small["bytes"] == sum(f.stat().st_size for f in Path("films.zarr/images/32x32").rglob("*") if f.is_file())
    np.testing.assert_allclose(large["mm_per_pixel"][1], small["mm_per_pixel"][1] * 32 / 40)
    np.testing.assert_allclose(small["mm_per_pixel"][0], cache.table["spacing_y"].median() * 3)
    nodule = next(one for one in found["targets"] if one["name"] == "nodule")
    assert nodule["positive"] == int(cache.table["nodule"].sum())
    assert nodule["prevalence"] == pytest.approx(cache.table["nodule"].mean())
    assert found["digest"] == cache.digest
    assert found["identifying"] == ["id", "path"]  # patients are numbers
    main(["info", "films.zarr"])
    assert cache.digest in capsys.readouterr().out


def test_info_of_targets_that_are_no_yes_or_no(copy, capsys):
    """Ages have a range and no prevalence; unknown ones are counted; a target nobody knows has no share."""
    text = Path("labels.csv").read_text().replace("41.0", "")
    Path("labels.csv").write_text(re.sub(r"\n(\S+,\S+,\S+),[01]\.0,", r"\n\1,,", text))
    words = ["--root", "films", "--path", "File", "--targets", "Age", "Nodule", "--sizes", "16"]
    code, found = answer(capsys, "build", "labels.csv", "ages.zarr", *words)
    assert code == 0
    age, nodule = found["targets"]
    assert age == {"name": "Age", "known": 11, "unknown": 1, "min": 40.0, "median": 46.0, "max": 51.0}
    assert nodule == {"name": "Nodule", "known": 0, "unknown": 12, "positive": 0, "prevalence": None}
    assert main(["info", "ages.zarr"]) == 0
    assert re.search(r"^ +Age +11 +1 +40 to 51$", capsys.readouterr().out, re.MULTILINE)


# -- verify and repair --


def test_verify_and_repair_a_flipped_bit(copy, capsys):
    """A sound cache is 0; a damaged one is 1 and names file, record and id; repair mends it, and it is 0 again."""
    assert answer(capsys, "verify", "films.zarr") == (0, {"cache": "films.zarr", "records": 24, "problems": []})
    damage(Path("films.zarr/images/32x32/c/0/0/0"))
    code, found = answer(capsys, "verify", "films.zarr")
    assert code == 1
    (problem,) = found["problems"]
    assert problem["file"] == "images/32x32/c/0/0/0"
    assert problem["row"] == 0
    assert problem["id"] == resload.open_cache("films.zarr").table["id"][0]
    assert main(["verify", "films.zarr"]) == 1
    assert "resload repair films.zarr SOURCE" in capsys.readouterr().out
    code, found = answer(capsys, "repair", "films.zarr", "films")
    assert (code, found["repaired"], found["problems"]) == (0, 1, [])
    assert main(["verify", "films.zarr"]) == 0


def test_repair_says_what_it_could_not_mend(copy, capsys):
    """A damaged record whose film is gone stays: exit code 1, with the reason."""
    damage(Path("films.zarr/images/32x32/c/0/0/0"))
    gone = resload.open_cache("films.zarr").table["path"][0]
    Path("films", gone).unlink()
    code, found = answer(capsys, "repair", "films.zarr", "films")
    assert code == 1
    assert found["problems"][0]["file"] == "images/32x32/c/0/0/0"
    assert main(["repair", "films.zarr", "films"]) == 1
    assert "1 problems left" in capsys.readouterr().out


def test_repair_tries_quarantined_films_again(copy, capsys):
    """They are named while they stay broken, and join the cache when they are whole."""
    film = Path("films/film_00001.png")
    whole = film.read_bytes()
    film.write_bytes(whole[:2000])
    assert main(["build", "films", "late.zarr", "--sizes", "16"]) == 0
    code, found = answer(capsys, "repair", "late.zarr", "films")
    assert code == 0
    assert [one["id"] for one in found["quarantine"]] == ["film_00001"]
    film.write_bytes(whole)
    assert answer(capsys, "repair", "late.zarr", "films")[1]["quarantine"] == []
    assert len(resload.open_cache("late.zarr").rows()) == 12


# -- show --


def test_show_draws_a_picture(copy, capsys):
    """A PNG of the declared density with a column for each size; the films are named."""
    code, found = answer(capsys, "show", "films.zarr", "--out", "a.png", "--count", "3", "--dpi", "200")
    assert code == 0
    assert len(found["ids"]) == 3
    with Image.open("a.png") as image:
        assert round(image.info["dpi"][0]) == 200
        wide = image.size
    assert main(["show", "films.zarr", "--out", "b.png", "--count", "3", "--sizes", "32"]) == 0
    with Image.open("b.png") as image:
        assert image.size[0] < wide[0] - 300


def test_show_takes_rows_and_ids(copy, capsys):
    """In the order given; unknown ids are refused with some that are there."""
    ids = resload.open_cache("films.zarr").table["id"]
    assert answer(capsys, "show", "films.zarr", "--out", "a.png", "--rows", "5", "2")[1]["ids"] == [ids[5], ids[2]]
    wanted = ["film_00003", "film_00001"]
    assert answer(capsys, "show", "films.zarr", "--out", "b.png", "--ids", *wanted)[1]["ids"] == wanted
    assert main(["show", "films.zarr", "--out", "c.png", "--ids", "film_99999"]) == 2
    assert re.search(r"film_99999 not in films.zarr; there are film_\d+,", capsys.readouterr().err)
    assert not Path("c.png").exists()


def test_show_prefers_films_that_show_something(copy, capsys):
    """Most boxes first, then most findings."""
    cache = resload.open_cache("films.zarr")
    boxes = cache.boxes["id"].value_counts()
    found = answer(capsys, "show", "films.zarr", "--out", "a.png", "--count", "12")[1]["ids"]
    counts = [boxes.get(name, 0) for name in found]
    assert counts == sorted(counts, reverse=True)


def test_titles_name_findings():
    """The id, what is positive, and values that are not yes or no; unknown and negative ones are left out."""
    import pandas as pd

    from resload.cli.show import title

    class Cache:
        targets = ("mass", "age", "edema", "hernia")
        table = pd.DataFrame({"id": ["x", "y"], "mass": [1, 0], "age": [94.0, 0], "edema": [0, np.nan], "hernia": 0.0})

    assert title(Cache(), 0) == "x\nmass, age 94"
    assert title(Cache(), 1) == "y"


# -- how a command ends --


@pytest.mark.parametrize(
    ("words", "code", "sentence"),
    [
        ("", 2, "the following arguments are required: VERB"),
        ("scann films", 2, "invalid choice"),
        ("scan", 2, "the following arguments are required: SOURCE"),
        ("scan films --bogus", 2, "unrecognized arguments: --bogus"),
        ("scan nowhere", 2, "resload: nowhere: there is no such file or folder"),
        ("scan films --path File", 2, "--path name columns of a CSV, and films is not one"),
        ("scan films --split Set", 2, "--split COLUMN name columns of a CSV"),
        ("scan films --dataset nih", 2, "; found 'nih'"),
        ("scan films --split train=half", 2, "shares look like train=.7,val=.1,test=.2; found 'train=half'"),
        ("scan films --split a=.5,b=.5", 2, "no column 'patient' to keep together"),
        ("scan films --threads 0", 2, "threads must be an int >= 1"),
        ("scan labels.csv --path Nowhere", 2, "has no column 'Nowhere'"),
        ("build films x.zarr --sizes 0", 2, "a size needs sides from 1 to 65536; found '0'"),
        ("build films x.zarr --sizes 64 --kernel box", 2, "kernel must be one of"),
        ("build films films --sizes 64", 1, "this folder holds other files"),
        ("build films films.zarr --sizes 32 --kernel area", 1, "built with kernel='triangle', asked for 'area'"),
        ("info films", 1, "no resload cache is here"),
        ("verify nowhere.zarr", 1, "no resload cache is here"),
        ("show films.zarr --out a.jpg", 2, "must end in .png"),
        ("show films.zarr --out no/where/a.png", 1, "resload: no/where/a.png: No such file or directory"),
        (
            "show films.zarr --out a.png --sizes 99",
            2,
            "99x99 is larger than what is stored in films.zarr (32x32",
        ),
        ("show films.zarr --out a.png --rows 99", 2, "rows must lie in 0 .. 11; found 99"),
        ("show films.zarr --out a.png --count 0", 2, "--count must be >= 1; found 0"),
        ("show films.zarr --out a.png --rows 1 --count 2", 2, "not allowed with"),
    ],
)
def test_what_is_wrong_is_said_in_a_sentence(copy, capsys, words, code, sentence):
    """Usage and arguments end with 2, states of the world with 1; no traceback, nothing on standard output."""
    assert main(shlex.split(words)) == code
    shown = capsys.readouterr()
    assert sentence in shown.err
    assert "Traceback" not in shown.err
    assert shown.out == ""


def test_an_error_is_one_line(copy, capsys):
    """So that a log has a line for each."""
    assert main(["info", "films"]) == 1
    assert capsys.readouterr().err.count("\n") == 1


def test_a_damaged_table_is_said(copy, capsys):
    """What cannot be opened for damage ends with 1 and names the file."""
    damage(Path("films.zarr/samples.parquet"))
    for verb in ("info", "verify"):
        assert main([verb, "films.zarr"]) == 1
        assert "samples.parquet" in capsys.readouterr().err
    with pytest.raises(CorruptCacheError):
        resload.open_cache("films.zarr")


def test_ctrl_c_ends_with_a_sentence(copy, capsys, monkeypatch):
    """130, as shells expect; build says that it can go on."""

    def interrupted(*_, **__):
        raise KeyboardInterrupt

    monkeypatch.setattr("resload.store.builder.build", interrupted)
    assert main(["build", "films", "x.zarr", "--sizes", "16"]) == 130
    assert capsys.readouterr().err == (
        "resload: interrupted; what is finished is kept, and the same command goes on from there\n"
    )
    monkeypatch.setattr("resload.store.verify.verify", interrupted)
    assert main(["verify", "films.zarr"]) == 130
    assert capsys.readouterr().err == "resload: interrupted\n"


def test_other_errors_are_not_hidden(copy, monkeypatch):
    """A mistake in resload itself shows its traceback."""
    monkeypatch.setattr(cli.info, "described", lambda cache: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        main(["info", "films.zarr"])


@pytest.mark.slow
def test_the_console_script_is_main(copy):
    """`resload` as installed: its exit code, and a pipe that is closed early is no traceback."""
    run = [sys.executable, "-c", "import sys; from resload.cli import main; sys.exit(main())"]
    done = subprocess.run([*run, "info", "nowhere"], capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert done.stderr == "resload: nowhere: no resload cache is here (no zarr.json); build one with resload.build\n"
    with subprocess.Popen([*run, "info", "films.zarr"], stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        process.stdout.close()
        assert process.stderr.read() == b""
        assert process.wait() == 1


def test_the_version(capsys):
    """Of the package."""
    assert main(["--version"]) == 0
    assert capsys.readouterr().out == f"resload {resload.__version__}\n"


# -- bars --


class Terminal(io.StringIO):
    """A standard error that says it is a terminal."""

    def isatty(self):
        return True


def test_bars_are_for_terminals(copy, capsys, monkeypatch):
    """On a terminal there is one, with a rate; in a log file there is none."""
    assert main(["verify", "films.zarr"]) == 0
    assert capsys.readouterr().err == ""
    screen = Terminal()
    monkeypatch.setattr(sys, "stderr", screen)
    assert main(["verify", "films.zarr"]) == 0
    assert "shard/s" in screen.getvalue()


# -- help --


def parsers():
    (verbs,) = [action for action in cli.make_parser()._actions if action.dest == "verb"]
    return verbs.choices


def test_the_verbs_are_those_of_the_design():
    """One verb each, in the order one uses them."""
    assert list(parsers()) == ["scan", "build", "info", "verify", "repair", "show", "report", "bench", "study"]


@pytest.mark.parametrize("verb", list(parsers()))
def test_help_says_what_it_does_and_shows_an_example(verb, capsys):
    """One line about the verb, a word about each argument, and an example."""
    assert main([verb, "--help"]) == 0
    shown = capsys.readouterr().out
    lines = parsers()[verb].description.splitlines()
    assert len(lines) == 1
    assert lines[0].endswith(".")
    assert f"example:\n  $ resload {verb} " in shown
    assert all(action.help for action in parsers()[verb]._actions)


def test_the_command_itself_shows_an_example_of_what_it_takes(capsys):
    """`resload --help` has lines that the real parser takes, and says where each verb's own are."""
    assert main(["--help"]) == 0
    lines = [line.strip()[2:] for line in capsys.readouterr().out.splitlines() if line.strip().startswith("$ ")]
    asked = [cli.make_parser().parse_args(shlex.split(line)[1:]) for line in lines]
    assert [one.verb for one in asked] == ["scan", "build", "info"]
    assert all(line.startswith("resload ") for line in lines)


def examples():
    for verb, parser in parsers().items():
        text = parser.epilog.replace("\\\n", " ")
        yield from ((verb, line.strip()[2:]) for line in text.splitlines() if line.strip().startswith("$ "))


@pytest.mark.parametrize(("verb", "line"), list(examples()), ids=lambda value: value if " " not in value else "")
def test_examples_run_as_they_are_written(copy, verb, line):
    """In a folder that has films/, labels.csv and films.zarr."""
    program, *words = shlex.split(line)
    assert (program, words[0]) == ("resload", verb)
    if verb == "show" and "--sizes" in words:  # those that the example of build has made
        assert main(["build", "films", "films.zarr", "--sizes", "64", "256"]) == 0
    if verb == "study":  # minutes: here its grammar; `test_study` runs the verb
        assert cli.make_parser().parse_args(words).verb == verb
        return
    if verb == "bench":  # as it is written it takes some seconds
        model = "torch.nn.Sequential(torch.nn.Flatten(), torch.nn.LazyLinear(1))"
        Path("train.py").write_text(f"import torch\n\n\ndef make_model():\n    return {model}\n")
        words += ["--seconds", "0.02"]
    assert main(words) == 0


@pytest.mark.parametrize(
    ("option", "values"),
    [
        ("--kernel", reference.KERNELS),
        ("--dtype", DTYPES),
        ("--check", CHECKS),
        ("--identifiers", IDENTIFIERS),
        ("--on-error", ("quarantine", "raise")),
    ],
)
def test_help_names_every_value(option, values):
    """What may be written there is what the code takes: no more and no less."""
    (action,) = [action for action in parsers()["build"]._actions if option in action.option_strings]
    words = re.findall(r"\w+", re.sub(r"\(.*\)|^.*: ", "", action.help))
    assert set(words) - {"or"} == set(values)


@pytest.mark.parametrize("name", ["intensity", "kernel", "dtype", "identifiers", "shard_mb", "on_error", "check"])
def test_help_tells_the_true_default(name):
    """Defaults live in `resload.build`; help repeats them."""
    import inspect

    default = inspect.signature(resload.build).parameters[name].default
    (action,) = [action for action in parsers()["build"]._actions if action.dest == name]
    assert action.default is None
    assert re.search(rf"\({default:}\b", action.help)


# -- words --


def test_numbers_as_words():
    """Bytes, millimetres, counts and tables as people read them."""
    assert [megabytes(n) for n in (420_000, 29_400_000_000, 1_234_000_000)] == ["0.42 MB", "29.4 GB", "1.23 GB"]
    assert millimetres(0.139, 0.1432) == "0.139 x 0.143"
    assert millimetres(None, 1.0) == "not known"
    assert counted({"png": 2}) == "png (2)"
    assert counted({}) == "none"
    assert columns([["size", "MB"], ["64x64", "0.4"]], indent="") == ["size    MB", "64x64  0.4"]


def test_long_lists_are_cut_short():
    """Twenty lines, and where the others are."""
    assert first_of(["a", "b"], "there") == ["a", "b"]
    cut = first_of([str(n) for n in range(25)], "--json has them")
    assert len(cut) == 21
    assert cut[-1] == "  ... 5 more: --json has them"


def test_a_share_must_be_a_number():
    """`train` alone is a column, `train=` is a mistake."""
    with pytest.raises(ArgumentError, match="shares look like"):
        source.shares("train=")
