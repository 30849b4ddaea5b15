"""The script that tests with one package in another's place: it says what it could not do, and proves what it did."""

import os
import subprocess
import sys
import venv
from pathlib import Path

import beside
import pytest


def test_without_a_compiler_it_says_what_was_not_run(tmp_path):
    """A bare machine ends well, and no one takes that for a pass."""
    script = [sys.executable, beside.__file__, "pillow-simd"]
    done = subprocess.run(
        script, env=os.environ | {"PATH": str(tmp_path)}, capture_output=True, text=True, cwd=tmp_path, check=True
    )
    assert "NOT RUN" in done.stdout
    assert "passed" not in done.stdout
    assert "no C compiler" in done.stdout or "SSE4" in done.stdout
    assert not list(tmp_path.iterdir())


def test_without_headers_decoding_is_left_out_and_said(monkeypatch):
    """Resizing needs neither zlib nor libjpeg: it is built without them, and only what decodes is left out."""
    monkeypatch.setattr(beside, "compiles", lambda code: "jpeglib" not in code)
    one = beside.pillow_simd()
    assert one.options[-2:] == ("-C", "jpeg=disable")
    assert "tests/test_resampling.py" in one.tests
    assert "tests/test_decode_raster.py" not in one.tests
    assert one.left_out == "tests/test_decode_raster.py: no C headers for jpeglib"


def test_every_named_test_and_script_exists():
    """But for those that are named as optional."""
    one = beside.pillow_simd()
    missing = [name for name in (*one.tests, one.after[0]) if not (beside.ROOT / name).is_file()]
    assert missing in ([], ["tests/test_augment_albumentations.py"])


def test_an_environment_without_the_stand_in_is_refused(tmp_path):
    """It sees the Pillow of .venv behind its own packages, and that must not pass for pillow-simd."""
    venv.create(tmp_path / ".venv-x", symlinks=True)
    python = tmp_path / ".venv-x" / "bin" / "python"
    beside.see_behind(python)
    import PIL

    one = beside.StandIn(f"pillow=={PIL.__version__}", ("PIL.Image",), ())
    with pytest.raises(SystemExit, match="does not stand in"):
        beside.prove(python, one)


def test_only_its_own_folders_are_made_anew(tmp_path):
    """.venv, or a link to it, is never cleared."""
    one = beside.StandIn("x==1", (), ())
    (tmp_path / ".venv").mkdir()
    (tmp_path / ".venv-x").symlink_to(".venv")
    for folder in (".venv", ".venv-x"):
        with pytest.raises(SystemExit, match="not a folder that this script makes"):
            beside.environment(tmp_path / folder, one)
    assert Path(tmp_path / ".venv").is_dir()
