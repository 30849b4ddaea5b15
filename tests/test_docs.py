"""The pages are true: every Python block runs, every command of ours works, every public name has its place.

The blocks of a page run in order, in one namespace and one empty folder, so a page must make what it uses.
A `console` block that calls `resload` runs too, in the same folder; other programs' lines do not.
"""

import importlib
import importlib.util
import json
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest
from links import CHECKED, FENCE, PAGES, ROOT, amiss, anchors, wrong

RUNS = {"python", "console"}
SHOWN = {"text", "json", "{toctree}", "{eval-rst}", "{include}"}


def blocks(page):
    """(language, code, line number) for each fenced block, in order."""
    text = page.read_text(encoding="utf-8")
    return [(m[1], m[2], text.count("\n", 0, m.start()) + 2) for m in FENCE.finditer(text)]


def commands(code):
    """The resload lines of a console block, split as a shell would; a backslash goes on in the next line."""
    lines = [line[2:] for line in code.replace("\\\n", " ").splitlines() if line.startswith("$ ")]
    return [shlex.split(line, comments=True)[1:] for line in lines if line.startswith("resload ")]


def run_page(page):
    """Run what a page shows, and give its names; an error names the page and the line in it."""
    namespace = {"__name__": "__main__"}
    for language, code, line in blocks(page):
        if language == "python":
            source = "\n" * (line - 1) + code  # tracebacks then point into the page
            exec(compile(source, str(page), "exec"), namespace)
        elif language == "console":
            for words in commands(code):
                status = run_command(words)
                assert status == 0, f"{page}:{line}: resload {shlex.join(words)} ended with {status}"
    return namespace


def run_command(words):
    """The exit code of `resload words...`, as the console script gives it."""
    from resload.cli import main

    try:
        return main(words) or 0
    except SystemExit as stop:
        return stop.code or 0


RUNNABLE = [page for page in PAGES if any(language in RUNS for language, _, _ in blocks(page))]


@pytest.mark.parametrize("page", RUNNABLE, ids=lambda page: str(page.relative_to(ROOT)))
@pytest.mark.slow
def test_every_block_runs(page, tmp_path, monkeypatch):
    """A page's blocks run from its first to its last in an empty folder, without a warning."""
    monkeypatch.chdir(tmp_path)
    run_page(page)


def test_a_wrong_block_fails(tmp_path, monkeypatch):
    """The check above can fail, and names the page and line."""
    page = tmp_path / "page.md"
    page.write_text("# Page\n\n```python\nx = 1\n```\n\n```python\nassert x == 2\n```\n", encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    with pytest.raises(AssertionError) as caught:
        run_page(page)
    last = caught.traceback[-1]
    assert (Path(str(last.path)).name, last.lineno + 1) == ("page.md", 8)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_no_block_escapes(page):
    """Each block has a language that is run or is known to be no code: none is left out by a spelling."""
    unknown = {language for language, _, _ in blocks(page)} - RUNS - SHOWN
    assert not unknown, f"{page}: blocks in {unknown} are neither run nor known as text"
    assert page.read_text(encoding="utf-8").count("```") == 2 * len(blocks(page))


@pytest.mark.parametrize("page", CHECKED, ids=lambda page: str(page.relative_to(ROOT)))
def test_links_lead_somewhere(page):
    """Every relative link points to a file or heading of the repository, every other one has the form of an address."""
    assert wrong(page) == []


@pytest.mark.parametrize(
    ("target", "why"),
    [
        ("other.md", ""),
        ("other.md#a-b-c", ""),
        ("#here", ""),
        ("https://doi.org/10.1148/ryai.2019190015", ""),
        ("none.md", "no such file"),
        ("other.md#a-b", "no heading there has the anchor #a-b"),
        ("#there", "no heading"),
        ("http://example.org", "begin with https://"),
        ("https://example", "no name of a host"),
        ("https://example.org/a.", "ends in a mark"),
    ],
)
def test_a_wrong_link_is_told(tmp_path, target, why):
    """The check above can fail, and says what is wrong."""
    page, other = tmp_path / "page.md", tmp_path / "other.md"
    page.write_text(f"# Here\n\n`[code](none.md)`\n\n[text]({target})\n", encoding="utf-8")
    other.write_text("# A `b`, C\n\n## Twice\n\n## Twice\n", encoding="utf-8")
    assert anchors(other) == {"a-b-c", "twice", "twice-1"}
    assert why in amiss(page, target)
    assert wrong(page) == ([f"{page}:5: {target}: {amiss(page, target)}"] if why else [])


@pytest.mark.parametrize("word", ["recieve", "behavior"])  # codespell:ignore recieve,behavior
def test_a_wrong_spelling_is_told(tmp_path, word):
    """The command of `make lint`, on a page with a slip of the pen, or with an American word: it ends with an error."""
    (line,) = re.findall(r"\$\(BIN\)/codespell (.*) README.md", (ROOT / "Makefile").read_text(encoding="utf-8"))
    spelled = [sys.executable, "-m", "codespell_lib", *shlex.split(line)]
    page = tmp_path / "page.md"
    for text, code in ((word, 65), ("receive behaviour", 0)):
        page.write_text(f"# Page\n\nWords: {text}.\n", encoding="utf-8")
        done = subprocess.run([*spelled, page], cwd=ROOT, capture_output=True, text=True, check=False)
        assert done.returncode == code, done.stderr
        assert (f"{word} ==>" in done.stdout) == bool(code)


def test_every_page_is_in_a_contents_list():
    """A page that no toctree names is a page nobody finds."""
    listed = {ROOT / "README.md", ROOT / "docs" / "index.md"}
    for page in PAGES:
        for language, code, _ in blocks(page):
            if language == "{toctree}":
                names = [line for line in code.splitlines() if line and not line.startswith(":")]
                listed |= {page.parent / f"{name}.md" for name in names}
    assert set(PAGES) == listed


def test_the_format_page_shows_a_real_manifest(tmp_path, monkeypatch):
    """The page's three documents are those of the cache that it builds; sums and hashes in form, as they differ
    from one version of a codec to the next."""
    page = ROOT / "docs" / "reference" / "format.md"
    monkeypatch.chdir(tmp_path)
    run_page(page)
    manifest, array, native = (json.loads(code) for language, code, _ in blocks(page) if language == "json")
    found = json.loads(Path("films.zarr/zarr.json").read_text(encoding="utf-8"))["attributes"]["resload"]
    assert with_hashes_masked(manifest) == with_hashes_masked(found)
    assert list(manifest) == list(found)
    for document, size in ((array, "64x64"), (native, "native")):
        assert document == json.loads(Path(f"films.zarr/images/{size}/zarr.json").read_text(encoding="utf-8"))


def test_the_study_page_shows_a_real_folder(tmp_path, monkeypatch):
    """The page's files, records, arrays and columns are those of the study that it makes; numbers that differ from
    one machine to the next in their kind."""
    page = ROOT / "docs" / "reference" / "study-folder.md"
    monkeypatch.chdir(tmp_path)
    found = run_page(page)["found"]
    asked, record = (json.loads(code) for language, code, _ in blocks(page) if language == "json")
    assert form(asked) == form(dict(found.settings))
    assert form(record) == form(dict(found.runs[0]))
    numbers = {"normalization", "films"}
    assert [asked[name] for name in asked if name not in numbers] == [
        value for name, value in found.settings.items() if name not in numbers
    ]
    text = page.read_text(encoding="utf-8")
    assert told(text, "| array |") == set(found.films)
    assert told(text, "| column |") == set(found.table.columns)
    assert told(text, "| field |") < set(record)
    named = {name.split("/")[0] for name in told(text, "| file |")} - {"films-KERNEL-FIT.zarr"}
    assert {path.name for path in found.path.iterdir()} == named | {"films-triangle-stretch.zarr"}
    figures = {path.stem for path in (found.path / "figures").iterdir()}
    assert figures <= set(re.findall(r"`(\w+)`", re.search(r"^\| `figures/` .*", text, re.MULTILINE)[0]))


def form(value):
    """A document's keys in their order, and what kind of value each has; of lists only the first, if any."""
    if isinstance(value, dict):
        return {name: form(part) for name, part in value.items()}
    if isinstance(value, list):
        return [form(part) for part in value[:1]]
    return type(value)


def told(text, head):
    """The names in the first column of the table that begins so."""
    rows = text.split(head, 1)[1].split("\n\n")[0].splitlines()[2:]
    return {name for row in rows for name in re.findall(r"`([^`]+)`", row.split("|")[1])}


def with_hashes_masked(value):
    """The same with every hexadecimal digit of a long hash as a `#`."""
    if isinstance(value, dict):
        return {name: with_hashes_masked(part) for name, part in value.items()}
    if isinstance(value, list):
        return [with_hashes_masked(part) for part in value]
    hashed = isinstance(value, str) and re.fullmatch("[0-9a-f]{32,}", value)
    return "#" * len(value) if hashed else value


def test_the_command_line_page_has_every_verb_and_option():
    """docs/reference/cli.md names each verb and each option of `resload --help`, and no other."""
    from resload.cli import make_parser

    text = (ROOT / "docs" / "reference" / "cli.md").read_text(encoding="utf-8")
    (verbs,) = [action for action in make_parser()._actions if action.dest == "verb"]
    options = {
        option for verb in verbs.choices.values() for action in verb._actions for option in action.option_strings
    }
    assert set(re.findall(r"--[a-z][a-z-]+", text)) == {option for option in options if option.startswith("--")}
    assert re.findall(r"^\| `(\w+)` \| [a-z]", text, re.MULTILINE) == list(verbs.choices)


def test_the_command_line_page_lists_each_option_with_its_verb():
    """The table of verbs has the options of each and no others; what SOURCE takes stands once, for all of them."""
    from resload.cli import make_parser

    text = (ROOT / "docs" / "reference" / "cli.md").read_text(encoding="utf-8")
    source, table = (
        text.split(head, 1)[1].split("\n\n")[0] for head in ("| option | says |", "| verb | option | says |")
    )
    shared = set(re.findall(r"--[a-z][a-z-]+", "".join(re.findall(r"^\| (.*?) \|", source, re.MULTILINE)))) | {"--json"}
    listed, verb = {}, ""
    for name, options in re.findall(r"^\| (?:`(\w+)` )?\|? ?(`--.*?) \|", table, re.MULTILINE):
        verb = name or verb
        listed.setdefault(verb, set()).update(re.findall(r"--[a-z][a-z-]+", options))
    (verbs,) = [action for action in make_parser()._actions if action.dest == "verb"]
    for name, parser in verbs.choices.items():
        own = {option for action in parser._actions for option in action.option_strings if option.startswith("--")}
        assert listed[name] == own - shared - {"--help"}, name


DOCUMENTED = (
    "augment", "bench", "datasets", "errors", "figures", "intensity", "interop", "overview", "reference", "report",
    "samplers", "statistics", "study", "testing",
)  # fmt: skip
"""Rooms whose names users may rely on, beside the door's."""


def entries():
    """The names that docs/reference/api.md has an entry for; of modules whose members are shown, these too."""
    text = (ROOT / "docs" / "reference" / "api.md").read_text(encoding="utf-8")
    named = set(re.findall(r"^\.\. auto\w+:: (resload\S*)$", text, re.MULTILINE))
    for module in re.findall(r"^\.\. automodule:: (\S+)\n   :members:", text, re.MULTILINE):
        named |= {f"{module}.{name}" for name in public(importlib.import_module(module))}
    return named


def public(module):
    """What `__all__` of a module says, or else what is defined there without an underscore."""
    own = [
        name
        for name, value in vars(module).items()
        if not name.startswith("_") and getattr(value, "__module__", None) == module.__name__
    ]
    return list(getattr(module, "__all__", own))


def undocumented(room, found):
    """Public names of a room without an entry, by their name there or by another home's of the same thing."""
    module = importlib.import_module(room)
    return [name for name in public(module) if not any(shows(entry, name, getattr(module, name)) for entry in found)]


def shows(entry, name, value):
    """Whether an entry is of this thing under this name."""
    parent, _, last = entry.rpartition(".")
    return last == name and getattr(importlib.import_module(parent), last) is value


def test_every_public_name_is_in_the_reference():
    """The names of `resload.__all__` and of the rooms for users each have an entry, and each entry exists."""
    import resload

    found = entries()
    missing = {name for name in resload.__all__ if not any(_documents(entry, name) for entry in found)}
    assert missing <= {"__version__"}, f"not in docs/reference/api.md: {sorted(missing)}"
    for entry in sorted(found):
        assert _exists(entry), f"docs/reference/api.md names {entry}, which is not there"


@pytest.mark.parametrize("room", DOCUMENTED)
def test_every_name_of_a_room_is_in_the_reference(room):
    """By its name in the room, or by the door's for the same thing."""
    assert undocumented(f"resload.{room}", entries()) == []


def test_an_undocumented_name_is_told():
    """The check above can fail: without the entry of `Mix`, or with one of another thing of that name."""
    found = entries() - {"resload.samplers.Mix"}
    assert undocumented("resload.samplers", found) == ["Mix"]
    assert undocumented("resload.report", entries() - {"resload.report.Spread"} | {"resload.overview.mix.Spread"}) == [
        "Spread"
    ]


def test_every_data_set_is_read_on_its_page():
    """docs/how-to/data-sets.md reads each of `resload.datasets`, in blocks that run."""
    from resload import datasets

    page = ROOT / "docs" / "how-to" / "data-sets.md"
    code = "".join(code for language, code, _ in blocks(page) if language == "python")
    assert [name for name in datasets.__all__ if f"datasets.{name}(" not in code] == []


def _documents(entry, name):
    return entry == f"resload.{name}" or entry.startswith(f"resload.{name}.")


def _exists(entry):
    """A module by its import, anything else as an attribute of its parent."""
    parent, _, name = entry.rpartition(".")
    return hasattr(importlib.import_module(parent), name) or importlib.util.find_spec(entry) is not None


@pytest.mark.skipif(importlib.util.find_spec("sphinx") is None, reason="the docs extra is not installed")
@pytest.mark.slow
def test_the_pages_render(tmp_path):
    """Sphinx builds the pages with warnings as errors, docstrings of all public names included."""
    done = subprocess.run(
        [sys.executable, "-m", "sphinx", "-W", "--keep-going", "-q", "-b", "html", ROOT / "docs", tmp_path / "html"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
