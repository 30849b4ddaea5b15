"""The rooms: every import in resload/ against the drawing in resload/README.md, and no circles between files.

Imports under `if TYPE_CHECKING:` are for readers and mypy and do not run; all others count, in functions too.
"""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

import resload

PACKAGE = Path(resload.__file__).parent
DRAWING = PACKAGE / "README.md"


# -- reading the drawing and the code --


def drawn_rooms(text: str) -> list[str]:
    """The first column of the fenced block, in its order: a file's name, or a folder's with a slash."""
    (block,) = re.findall(r"^```\n(.*?)^```$", text, re.MULTILINE | re.DOTALL)
    return [line.split()[0] for line in block.splitlines()]


def sources(package: Path) -> dict[str, Path]:
    """Module name -> file. A package is called by its folder: `resload.decode`."""
    found = {}
    for path in sorted(package.rglob("*.py")):
        parts = path.relative_to(package.parent).with_suffix("").parts
        found[".".join(parts).removesuffix(".__init__")] = path
    return found


def room_of(path: Path, package: Path) -> str:
    """The room a file belongs to, as it is drawn."""
    parts = path.relative_to(package).parts
    return parts[0] if len(parts) == 1 else f"{parts[0]}/"


def imports_of(module: str, path: Path, known: dict[str, Path]) -> Iterator[str]:
    """The modules of this package that a file imports when it runs, wherever the import stands."""
    base = module if path.name == "__init__.py" else module.rpartition(".")[0]
    for node in running(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names if alias.name in known)
        if isinstance(node, ast.ImportFrom):
            up = base.split(".")[: len(base.split(".")) - node.level + 1] if node.level else []
            source = ".".join([*up, *([node.module] if node.module else [])])
            for alias in node.names:
                name = f"{source}.{alias.name}"
                if name in known or source in known:
                    yield name if name in known else source


def running(tree: ast.AST) -> Iterator[ast.AST]:
    """Every node except what stands under `if TYPE_CHECKING:`."""
    for node in ast.iter_child_nodes(tree):
        if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test):
            yield from (part for other in node.orelse for part in [other, *running(other)])
        else:
            yield node
            yield from running(node)


def graph(package: Path) -> dict[str, set[str]]:
    """Module -> the modules of the package that it imports."""
    known = sources(package)
    return {module: set(imports_of(module, path, known)) - {module} for module, path in known.items()}


# -- the two rules --


def broken_rules(package: Path) -> list[str]:
    """Imports of a room from one that is drawn below it, and files and rooms without each other."""
    rooms = drawn_rooms((package / "README.md").read_text(encoding="utf-8"))
    known = sources(package)
    lived_in = {room_of(path, package) for path in known.values()}
    wrong = [f"{room} is drawn and not there" for room in rooms if room not in lived_in]
    wrong += [f"{room} is there and not drawn" for room in sorted(lived_in - set(rooms))]
    if wrong:
        return wrong
    for module, imported in graph(package).items():
        here = rooms.index(room_of(known[module], package))
        for other in sorted(imported):
            if rooms.index(room_of(known[other], package)) > here:
                wrong.append(f"{module} imports {other}, which is drawn below it")
    return wrong


def circles(edges: dict[str, set[str]]) -> list[str]:
    """Modules that reach themselves, each with the way it takes."""

    def way(start: str) -> list[str] | None:
        paths, seen = [[start]], set()
        while paths:
            path = paths.pop()
            for other in sorted(edges[path[-1]]):
                if other == start:
                    return [*path, start]
                if other not in seen:
                    seen.add(other)
                    paths.append([*path, other])
        return None

    return [" -> ".join(found) for module in edges if (found := way(module))]


def test_every_room_imports_only_from_rooms_above():
    """The drawing is true: each file has its room, each room exists, and imports run upward only."""
    assert broken_rules(PACKAGE) == []


def test_no_files_import_each_other_in_a_circle():
    """Any file can be understood after those it imports."""
    assert circles(graph(PACKAGE)) == []


def test_every_room_is_drawn_once_with_a_word_about_it():
    """One line for each room, which says what it is."""
    (block,) = re.findall(r"^```\n(.*?)^```$", DRAWING.read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL)
    rooms = drawn_rooms(DRAWING.read_text(encoding="utf-8"))
    assert len(set(rooms)) == len(rooms)
    assert all(len(line.split()) > 2 for line in block.splitlines())


def hidden_imports(package: Path) -> list[str]:
    """Files with an import by name that may be one of this package: of a computed name, or of its own."""
    found = []
    for path in sorted(package.rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Call) and ast.unparse(node.func).endswith(("import_module", "__import__")):
                name = node.args[0].value if isinstance(node.args[0], ast.Constant) else "resload"
                found += [path.relative_to(package).as_posix()] if name.startswith("resload") else []
    return found


def test_no_import_is_hidden_in_a_string():
    """The door and `errors.require` import what they are told to; elsewhere an import is one these tests see."""
    assert set(hidden_imports(PACKAGE)) == {"__init__.py", "errors.py"}


def clashes(package: Path) -> list[str]:
    """Names in a package's `__init__.py` that a module beside it has too: one of the two would hide the other."""
    found = []
    for init in sorted(package.rglob("__init__.py")):
        inside = ".".join(init.parent.relative_to(package.parent).parts)
        beside = {path.stem for path in init.parent.iterdir()}
        found += [f"{inside}.{name}" for name in sorted(names_in(init, inside) & beside)]
    return found


def names_in(init: Path, inside: str) -> set[str]:
    """Functions, classes and imported names of a package, but not its own modules."""
    names = set()
    for node in ast.parse(init.read_text(encoding="utf-8")).body:
        if isinstance(node, ast.FunctionDef | ast.ClassDef):
            names.add(node.name)
        elif isinstance(node, ast.ImportFrom):
            own = node.module == inside
            names |= {alias.asname or alias.name for alias in node.names if alias.asname or not own}
    return names


def test_no_public_name_is_that_of_a_module_beside_it():
    """`resload.build` is a function; were there a resload/build.py, importing it would replace the function."""
    assert clashes(PACKAGE) == []
    beside = {path.stem for path in PACKAGE.iterdir()}
    assert [name for name in resload._HOMES if name in beside] == []


# -- the rules can be broken --


@pytest.fixture
def small(tmp_path):
    """A package of two rooms that keeps the rules."""
    package = tmp_path / "resload"
    (package / "upper").mkdir(parents=True)
    (package / "README.md").write_text("```\nbase.py   numbers\nupper/    words, of numbers\n```\n")
    (package / "base.py").write_text("import os\n")
    (package / "upper" / "__init__.py").write_text("from resload.upper.words import say\n")
    (package / "upper" / "words.py").write_text("from resload import base\n\n\ndef say(): ...\n")
    return package


def test_the_small_package_is_clean(small):
    """So that what the next tests find is what they planted."""
    assert broken_rules(small) == []
    assert circles(graph(small)) == []
    assert clashes(small) == []


@pytest.mark.parametrize(
    "planted",
    [
        "from resload.upper import words\n",
        "from resload.upper.words import say\n",
        "import resload.upper.words\n",
        "from .upper import words\n",
        "def f():\n    from resload.upper import words\n",
        "class C:\n    def f(self):\n        try:\n            import resload.upper\n        except ImportError: ...\n",
        "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    import os\nelse:\n    import resload.upper\n",
    ],
)
def test_a_planted_import_is_caught(small, planted):
    """Whatever way an import downward is spelled and wherever it stands."""
    (small / "base.py").write_text(planted)
    assert any("resload.base imports resload.upper" in rule for rule in broken_rules(small))


def test_an_import_for_types_only_is_none(small):
    """It does not run, so it makes no order."""
    (small / "base.py").write_text("from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    import resload.upper\n")
    assert broken_rules(small) == []
    assert circles(graph(small)) == []


def test_an_undrawn_and_an_empty_room_are_caught(small):
    """A file without a room, and a room without a file."""
    (small / "lost.py").write_text("")
    assert broken_rules(small) == ["lost.py is there and not drawn"]
    (small / "lost.py").rename(small / "base.py")
    (small / "base.py").unlink()
    assert broken_rules(small) == ["base.py is drawn and not there"]


def test_a_planted_circle_is_caught(small):
    """Within a room too, where no drawing forbids it."""
    (small / "upper" / "more.py").write_text("from resload.upper.words import say\n")
    (small / "upper" / "words.py").write_text("def say():\n    from resload.upper import more\n")
    assert "resload.upper.more -> resload.upper.words -> resload.upper.more" in circles(graph(small))


def test_a_planted_name_clash_is_caught(small):
    """A function `words` in a package that has words.py."""
    (small / "upper" / "__init__.py").write_text("from resload.upper.words import say as words\n")
    assert clashes(small) == ["resload.upper.words"]


def test_a_planted_hidden_import_is_caught(small):
    """By a name that is computed, or that is ours; other packages' names are no matter."""
    (small / "base.py").write_text("import importlib\nimportlib.import_module('json')\n")
    assert hidden_imports(small) == []
    (small / "base.py").write_text("import importlib\nimportlib.import_module('resload.upper')\n")
    assert hidden_imports(small) == ["base.py"]
    (small / "base.py").write_text("from importlib import import_module\nimport_module('resload' + '.upper')\n")
    assert hidden_imports(small) == ["base.py"]
