"""Fixtures every test may use."""

import os
from pathlib import Path

import pytest


@pytest.fixture(scope="session")
def real_data() -> Path:
    """The folder of real films; skipped when RESLOAD_DATA is unset, a failure when it points to nothing."""
    folder = os.environ.get("RESLOAD_DATA")
    if not folder:
        pytest.skip("RESLOAD_DATA is not set: no real films here")
    path = Path(folder)
    assert path.is_dir(), f"RESLOAD_DATA={folder} is not a folder"
    return path
