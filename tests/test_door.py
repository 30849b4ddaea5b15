"""The door: `import resload` is light, and every public name is there, documented and of one place."""

import ast
import inspect
import json
import subprocess
import sys
from pathlib import Path

import pytest

import resload

HEAVY = ("torch", "pandas", "pyarrow", "zarr", "pydicom", "imagecodecs", "matplotlib", "numpy", "tqdm", "crc32c")
"""What a program that only mentions resload must not wait for."""


def imported_by(code: str) -> set[str]:
    """The heavy packages that a fresh interpreter has imported after running this code."""
    script = f"import sys, json\n{code}\nprint(json.dumps([name for name in {HEAVY!r} if name in sys.modules]))"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    return set(json.loads(done.stdout.splitlines()[-1]))


def test_importing_resload_imports_nothing_heavy():
    """Neither torch, pandas, pyarrow, zarr, pydicom nor any other package of weight."""
    assert imported_by("import resload") == set()


def test_the_errors_are_as_light():
    """`except resload.ResloadError` costs nothing where nothing of resload is used."""
    assert imported_by("import resload\nresload.ResloadError, resload.errors, resload.Size, dir(resload)") == set()


def test_the_command_line_explains_itself_without_waiting():
    """`resload --help`, and that of each verb, wait for none of them either."""
    verbs = ("scan", "build", "info", "verify", "repair", "show", "report", "bench")
    code = "from resload.cli import main\n" + "".join(f"main(['{verb}', '--help'])\n" for verb in verbs)
    assert imported_by(code) == set()


def test_the_check_can_fail():
    """A name that needs pandas and torch is seen to import them."""
    assert {"pandas", "numpy"} <= imported_by("import resload\nresload.Catalog")
    assert {"torch", "pandas"} <= imported_by("import resload\nresload.Loader")


# -- the names --


def test_there_are_few_names():
    """About 25: what a user has to know of resload fits a page."""
    assert len(resload.__all__) == len(set(resload.__all__)) <= 30


@pytest.mark.parametrize("name", resload.__all__)
def test_every_name_is_there_and_says_what_it_is(name):
    """It resolves, has a docstring, and is the object of its home, not another of the same name."""
    found = getattr(resload, name)
    assert len(inspect.getdoc(found) or "") > 20
    if not inspect.ismodule(found):
        assert found.__name__ == name
        assert found.__module__.startswith(resload._HOMES[name])


def test_star_import_and_dir_show_the_same_names():
    """`dir(resload)` completes in an editor before anything was imported."""
    assert set(dir(resload)) == {*resload.__all__, "__version__"}


def test_mypy_sees_the_same_names():
    """The imports under TYPE_CHECKING name what `__all__` does, from the same places."""
    tree = ast.parse(Path(resload.__file__).read_text(encoding="utf-8"))
    (block,) = [node for node in tree.body if isinstance(node, ast.If)]
    seen = {alias.asname: node.module for node in block.body for alias in node.names}
    homes = {**resload._HOMES, **dict.fromkeys(resload._ROOMS, "resload")}
    assert seen == homes


def test_an_unknown_name_is_an_attribute_error():
    """As for any module."""
    with pytest.raises(AttributeError, match="module 'resload' has no attribute 'lader'"):
        resload.lader  # noqa: B018


def test_the_version_is_that_of_the_package():
    """`resload.__version__` and what pip shows are one number."""
    from importlib.metadata import version

    assert resload.__version__ == version("resload")
