"""benchmarks/compare.py: who fails is reported and stops nobody, only what was delivered counts, tables are true."""

import ast
import json
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

ROOT = Path(__file__).parent.parent
BENCHMARKS = ROOT / "benchmarks"
sys.path.append(str(BENCHMARKS))  # the scripts find each other as they do when they are run

import compare  # noqa: E402
import readme_table  # noqa: E402
from peers import install, records, runner, tables, worker  # noqa: E402
from peers.figure import draw  # noqa: E402
from peers.questions import QUESTIONS, Entry, Question  # noqa: E402

COUNT, SIDE, BATCH = 10, 16, 4
READY = 'say(ready={"verifies": "no", "owns": "yes", "recipe": "", "records": "records", "version": "0"})\n'
SAY = "import json, sys, time\ndef say(**words): print(json.dumps(words), flush=True)\n"
HONEST = "images=config['count'], seconds=0.5, checksum={sum}"


@pytest.fixture
def config(tmp_path):
    """A few records, as compare.py makes them."""
    folder = records.records(tmp_path, SIDE, COUNT)
    return worker.Config(
        side=SIDE,
        dtype="uint8",
        count=COUNT,
        batch=BATCH,
        threads=2,
        normalize=(0.5, 0.25),
        records=str(folder / "images.npy"),
        cache=str(folder / "images.zarr"),
        files=str(records.pngs_of(folder)),
        work=str(tmp_path / "formats"),
    )


def asked(question, config, rounds=1):
    return {row.label: row for row in runner.run(question, config, rounds)}


# -- the protocol ------------------------------------------------------------------------------------------


FAULTS = {
    "dies at once": ("raise SystemExit('no such library')\n", "ended with exit code 1: no such library"),
    "dies at work": (READY + "input()\nsys.exit(3)\n", "ended with exit code 3"),
    "talks nonsense": ("print('hello', flush=True)\ninput()\n", "answered 'hello'"),
    "is not ready": ("say(hello=1)\ninput()\n", "did not say that it is ready"),
    "says why": ("say(error='needs a compiler')\n", "needs a compiler"),
    "delivers nothing": (
        READY + "while input(): say(images=0, seconds=1, checksum=0)\n",
        "delivered 0 images in 1 s; expected 10",
    ),
    "delivers something else": (
        READY + f"while input(): say(images={COUNT}, seconds=1, checksum=1)\n",
        "sums to 1; the records sum to",
    ),
    "forgets the time": (READY + "while input(): say(images=10)\n", "expected images, seconds, checksum"),
    "takes no time": (READY + f"while input(): say(images={COUNT}, seconds=0, checksum=1)\n", "in 0 s"),
    "is silent": (READY + "time.sleep(60)\n", "did not answer within"),
}


def test_who_fails_is_reported_and_stops_nobody(config, tmp_path, monkeypatch):
    """Ten workers fail, each in its own way and with its reason; the honest one between them is measured."""
    monkeypatch.setattr(runner, "EPOCH", 2.0)
    monkeypatch.setattr(runner, "ENDING", 0.2)
    truth = runner.expected(config, source=False)
    honest = READY + f"while input(): say(images={COUNT}, seconds=0.5, checksum={truth.checksum!r})\n"
    entries = []
    for number, (label, code) in enumerate([("honest", honest), *((name, code) for name, (code, _) in FAULTS.items())]):
        script = tmp_path / f"{number}.py"
        script.write_text(SAY + code)
        entries.append(Entry(label, str(script), "way"))
    found = asked(Question("", SIDE, "uint8", tuple(entries[1:5] + entries[:1] + entries[5:])), config, rounds=2)
    assert (found["honest"].rates, found["honest"].reason) == ([2.0 * COUNT] * 2, "")
    for label, (_, reason) in FAULTS.items():
        assert reason in found[label].reason, label
        assert not found[label].rates, label


def test_a_peer_that_is_not_installed_is_a_row(config, monkeypatch, tmp_path):
    """Its row says so."""
    monkeypatch.setattr(install, "ENVS", tmp_path)
    found = asked(Question("", SIDE, "uint8", (Entry("FFCV", "ffcv_loader.py", "stored", "ffcv"),)), config)
    assert found["FFCV"].reason == "not installed"


def test_every_entry_names_a_way_of_a_script_and_a_peer():
    """The questions ask nobody for what it does not know."""
    for question in QUESTIONS.values():
        assert question.entries[0].label == "resload"
        for entry in question.entries:
            assert f'"{entry.way}": ' in (BENCHMARKS / "peers" / entry.script).read_text(encoding="utf-8"), entry
            assert entry.peer in {"", *install.PEERS}


def test_the_protocol_needs_nothing_but_numpy():
    """worker.py runs in every peer's environment, so it imports the standard library and numpy alone."""
    tree = ast.parse((BENCHMARKS / "peers" / "worker.py").read_text(encoding="utf-8"))
    names = [alias.name for node in ast.walk(tree) if isinstance(node, ast.Import) for alias in node.names]
    names += [node.module for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)]
    assert {name.partition(".")[0] for name in names} <= sys.stdlib_module_names | {"numpy"}


# -- what is counted ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("shape", [(4, 6, 6), (4, 1, 6, 6), (4, 6, 6, 1)])
def test_a_tally_counts_what_was_delivered(shape):
    """Images, and for each the mean of its middle row, whatever axis of one the loader adds."""
    pixels = np.random.default_rng(0).integers(0, 256, (4, 6, 6), dtype=np.uint8)
    tally = worker.Tally((6, 6), "uint8")
    tally.add(pixels.reshape(shape))
    assert tally.images == 4
    assert tally.checksum == pytest.approx(pixels[:, 3].mean(1).sum())


@pytest.mark.parametrize(("dtype", "side"), [("float32", 6), ("uint8", 5)])
def test_a_tally_refuses_what_was_not_asked_for(dtype, side):
    """Another dtype or size is an error, not a fast loader."""
    with pytest.raises(ValueError, match=r"asked for uint8 images of 6 x 6, got"):
        worker.Tally((6, 6), "uint8").add(np.zeros((4, side, side), dtype))


def test_floats_are_held_to_the_records(config):
    """The sum of normalised floats follows from that of the stored values."""
    pixels = np.load(config.records)
    tally = worker.Tally((SIDE, SIDE), "float32")
    tally.add(((pixels / 255 - 0.5) / 0.25).astype(np.float32))
    truth = runner.expected(replace(config, dtype="float32"), source=False)
    answer = {"images": tally.images, "seconds": 2.0, "checksum": tally.checksum}
    assert truth.check(answer, {"records": "records"}) == COUNT / 2


def test_dropped_pages_are_gone(tmp_path):
    """After `release` and `drop` the file is not in memory, by the kernel's own word; before, it was."""
    path = tmp_path / "data"
    path.write_bytes(bytes(1 << 20))
    mapped = np.memmap(path, np.uint8, "r")
    assert mapped.sum() == 0
    before, pages = worker._resident(path)
    assert before == pages == (1 << 20) // worker.mmap.PAGESIZE
    way = worker.Way(lambda: [], (), data=[str(tmp_path)])
    worker.released(way, None)
    found = worker.dropped(way, None)["resident"]
    if found == 1.0:
        pytest.skip("the temporary folder lies in memory, where no page can be dropped")
    assert found < 0.01
    assert mapped.sum() == 0  # the mapping still works


# -- tables ------------------------------------------------------------------------------------------------


def row(label, *rates, reason=""):
    facts = {"verifies": "no", "owns": "yes", "version": "x 1", "records": "records"}
    return runner.Row(label, facts, list(rates), reason)


def document(rows, config):
    answers = {"stored256": compare.answer(QUESTIONS["stored256"], config, rows)}
    where = {"date": "2026-01-01", "processor": "P", "cores": 2, "versions": {"torch": "2"}}
    said = {"films": "88 films", "rounds": 2, "quick": False, "batch": BATCH}
    return {"environment": where, **said, "questions": answers}


ROWS = [
    row("resload", 100_000.0, 50_000.0),
    row("FFCV", 20_000.0, 30_000.0),
    row("LitData", reason="not installed"),
    row("DataLoader, 0 workers", 4_000.0, 4_000.0),
    row("DataLoader, 2 workers", 5_000.0, 5_000.0),
    row("ceiling: take", 200_000.0, 200_000.0),
]


def test_the_table_says_what_the_rows_say(config):
    """The fastest first, medians with spread, ratios round by round, and who is missing and why."""
    text = tables.document_table(document(ROWS, config))
    lines = [line for line in text.splitlines() if line.startswith("| ")][1:]
    assert [line.split(" | ")[0].strip("| ") for line in lines] == [
        "ceiling: take", "resload", "FFCV", "DataLoader, 2 workers", "DataLoader, 0 workers",
    ]  # fmt: skip
    assert lines[2].startswith("| FFCV | 25,000 (20,000 to 30,000) | 0.40 | no | yes | x 1 |")
    assert "- LitData: not installed" in text


def test_the_short_table_has_the_best_of_each(config):
    """A line for each loader that was measured, with the best of its ways; ours is not its variants."""
    rows = [*ROWS, row("resload, checks taken out", 900_000.0, 900_000.0)]
    lines = tables.short_table(document(rows, config)).splitlines()[2:]
    assert [line.split(" | ")[1].strip("| ") for line in lines] == ["**75,000**", "25,000", "5,000", "200,000"]
    assert "LitData" not in "".join(lines)


def test_what_ours_failed_is_left_empty(config):
    """No number is made up; the long table tells why."""
    made = document([row("resload", reason="it broke"), *ROWS[1:]], config)
    assert "**resload**" not in tables.short_table(made)
    assert "- resload: it broke" in tables.document_table(made)


def test_every_label_has_its_line():
    """No loader of the questions is missing from the README's lines."""
    labels = {entry.label for question in QUESTIONS.values() for entry in question.entries}
    assert all(label.startswith(tuple(tables.NAMES)) for label in labels)


@pytest.mark.parametrize(
    ("value", "text"), [(1_234_567, "1,230,000"), (999.6, "1,000"), (212.4, "212"), (60.25, "60.2")]
)
def test_numbers_have_three_digits(value, text):
    """No more than a measurement has."""
    assert tables.number(value) == text


def test_the_readme_shows_the_results():
    """README's block is what readme_table.py makes of the committed results."""
    found = json.loads((BENCHMARKS / "results" / "compare.json").read_text(encoding="utf-8"))
    page = (ROOT / "README.md").read_text(encoding="utf-8")
    assert readme_table.replaced(page, readme_table.block(found)) == page


def test_a_page_without_the_comments_is_refused():
    """Nothing is written into a page that has no place for it."""
    with pytest.raises(ValueError, match="the page must hold"):
        readme_table.replaced("# resload\n", "table")


def test_the_figure_is_drawn(config, tmp_path):
    """One picture from the results, also when somebody is missing."""
    from PIL import Image

    draw(document(ROWS, config), tmp_path / "compare.png")
    with Image.open(tmp_path / "compare.png") as image:
        assert image.width > 900


# -- installing --------------------------------------------------------------------------------------------


def test_a_peer_that_cannot_be_installed_stops_no_other(monkeypatch, tmp_path, capsys):
    """Its line says why, the next one's that it is there, and the script ends well."""

    def make(name, peer, system):
        if name == "ffcv":
            raise install.Unavailable("no compiler")
        (tmp_path / name).mkdir()
        (tmp_path / name / install.DONE).touch()

    monkeypatch.setattr(install, "ENVS", tmp_path)
    monkeypatch.setattr(install, "make", make)
    monkeypatch.setattr(sys, "argv", ["install.py", "ffcv", "monai"])
    assert install.main() == 0
    said = capsys.readouterr().out.splitlines()
    assert "ffcv: not installed: no compiler" in said
    assert said[-1] == "monai: installed"


def test_last_words_name_no_address():
    """The line that says most, without where packages came from."""
    text = "Looking in indexes: https://a.b/simple\nERROR: no match for x at https://a.b/simple/x\n\n"
    assert install.last_words(text) == "ERROR: no match for x at ..."


# -- all of it, small --------------------------------------------------------------------------------------


@pytest.mark.slow
def test_ours_torch_and_imagecodecs_from_end_to_end(config):
    """The true workers deliver the records: stored, normalised, from files, and decoding alone."""
    for name in ("stored256", "float256", "source256"):
        own = {"resload", "DataLoader, memory map by batch, 0 workers", "imagecodecs, decoding alone"}
        question = QUESTIONS[name]
        chosen = tuple(entry for entry in question.entries if entry.label in own)
        small = replace(question, side=SIDE, entries=chosen)
        found = asked(small, replace(config, dtype=question.dtype))
        assert len(found) == 2
        for row in found.values():
            assert not row.reason, row
            assert len(row.rates) == 1
