"""Fixtures every test may use. Those of a session are shared: copy before changing."""

import gc
import os
import signal
import tempfile
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest
from hypothesis import settings

import resload
from resload.testing import FlakyProxy, S3Server, s3_at, s3_server, write_synthetic

_CI = bool(os.environ.get("CI"))
settings.register_profile("resload", settings.get_profile("ci" if _CI else "default"), deadline=None)
settings.load_profile("resload")  # no example is late on a shared machine; in CI the same examples every time

os.environ.setdefault("NO_ALBUMENTATIONS_UPDATE", "1")  # its import would ask the network for a newer version

if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:  # a shell's job in the background; its children would be deaf too
    signal.signal(signal.SIGINT, signal.default_int_handler)

SIZES = (32, 64, (48, 40))


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Tests marked `gpu` or `dali` are reported as skipped where there is no CUDA device or no DALI."""
    for marker, is_there, reason in (("gpu", _has_cuda, "no CUDA device here"), ("dali", _has_dali, "no DALI here")):
        marked = [item for item in items if item.get_closest_marker(marker)]
        if marked and not is_there():
            for item in marked:
                item.add_marker(pytest.mark.skip(reason=reason))


def pytest_collection_finish() -> None:
    """What modules and the list of tests are made of stays to the end: collecting garbage need not look at it again."""
    gc.collect()
    gc.freeze()


def _has_cuda() -> bool:
    import torch

    return torch.cuda.is_available()


def _has_dali() -> bool:
    return find_spec("nvidia") is not None and find_spec("nvidia.dali") is not None


@pytest.fixture(scope="session")
def real_data() -> Path:
    """The folder of real films; skipped when RESLOAD_DATA is unset, a failure when it points to nothing."""
    folder = os.environ.get("RESLOAD_DATA")
    if not folder:
        pytest.skip("RESLOAD_DATA is not set: no real films here")
    path = Path(folder)
    assert path.is_dir(), f"RESLOAD_DATA={folder} is not a folder"
    return path


@pytest.fixture(scope="session")
def films(tmp_path_factory: pytest.TempPathFactory) -> "resload.Catalog":
    """40 films of two shapes (26 of 200 x 160, one of them broken; 14 of 160 x 184), 23 of 8 bits, 6 of 16, 11 of 12.

    Train, val and test by patient; some targets unknown; boxes; an extra column `view`; spacing_y != spacing_x.
    """
    root = tmp_path_factory.mktemp("films")
    tall = write_synthetic(root / "a", 26, size=(200, 160), seed=1)
    wide = write_synthetic(root / "b", 14, size=(160, 184), seed=2, broken=0)
    both = resload.Catalog.concat({"a": tall, "b": wide})
    table = both.table
    rows = np.arange(len(table))
    table = table.assign(nodule=table["nodule"].mask(rows % 7 == 3), effusion=table["effusion"].mask(rows % 5 == 1))
    catalog = resload.Catalog(table, targets=both.targets, boxes=both.boxes, root=both.root)
    return catalog.split({"train": 0.6, "val": 0.2, "test": 0.2}, seed=0)


@pytest.fixture(scope="session")
def films8(films: "resload.Catalog") -> "resload.Catalog":
    """The 23 films of `films` that have 8 bits, the broken one among them."""
    return films.select((films.scan(progress=False).table["bits"] == 8).to_numpy())


@pytest.fixture(scope="session")
def cache(films: "resload.Catalog", tmp_path_factory: pytest.TempPathFactory) -> "resload.Cache":
    """`films` at SIZES, uint16."""
    path = tmp_path_factory.mktemp("cache") / "films.zarr"
    return resload.build(films, path, SIZES, columns=("view",), progress=False)


@pytest.fixture(scope="session")
def cache8(films8: "resload.Catalog", tmp_path_factory: pytest.TempPathFactory) -> "resload.Cache":
    """`films8` at SIZES, uint8."""
    path = tmp_path_factory.mktemp("cache8") / "films8.zarr"
    return resload.build(films8, path, SIZES, columns=("view",), progress=False)


@pytest.fixture
def shut(monkeypatch: pytest.MonkeyPatch) -> None:
    """Folders named `shut` cannot be listed (permissions do not stop a test that runs as root)."""
    listed = os.scandir

    def scandir(folder: str) -> object:
        if str(folder).endswith("shut"):
            raise PermissionError(13, "Permission denied", str(folder))
        return listed(folder)

    monkeypatch.setattr(os, "scandir", scandir)


@pytest.fixture(scope="module")
def s3() -> Iterator[S3Server]:
    """An S3 server on this machine, by the environment the one that s3fs speaks with."""
    with s3_server() as found:
        yield found


@pytest.fixture
def url(s3: S3Server, request: pytest.FixtureRequest) -> str:
    """A place of its own in object storage for each test."""
    return f"{s3.url}/{request.node.name.replace('[', '-').replace(']', '')}/a.zarr"


@pytest.fixture(scope="session")
def few(tmp_path_factory: pytest.TempPathFactory) -> "resload.Catalog":
    """34 films of 56 x 48, one of them broken: three row groups of 16."""
    return write_synthetic(tmp_path_factory.mktemp("few"), 34, size=(56, 48), seed=3)


@pytest.fixture(scope="session")
def local(few: "resload.Catalog", tmp_path_factory: pytest.TempPathFactory) -> "resload.Cache":
    """`few` at 16 and 32, on disk: what those in object storage are compared with."""
    return resload.build(few, tmp_path_factory.mktemp("local") / "a.zarr", (16, 32), progress=False)


@pytest.fixture(scope="module")
def there(few: "resload.Catalog", s3: S3Server) -> "resload.Cache":
    """The same as `local` in object storage: not to be changed."""
    return resload.build(few, f"{s3.url}/shared/a.zarr", (16, 32), progress=False)


@pytest.fixture
def temporaries(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """An own folder for temporary files, which must be empty at the end of the test."""
    folder = tmp_path / "tmp"
    folder.mkdir()
    monkeypatch.setenv("TMPDIR", str(folder))
    monkeypatch.setattr(tempfile, "tempdir", str(folder))
    yield folder
    assert list(folder.iterdir()) == []


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Tries of requests follow each other at once; who takes a lease over settles soon."""
    monkeypatch.setattr("resload.store.tries.FIRST_WAIT", 0.01)
    monkeypatch.setattr("resload.store.tries.LONGEST_WAIT", 0.05)
    monkeypatch.setattr("resload.store.alone.SETTLING", 0.2)


@pytest.fixture
def proxied(s3: S3Server, quick: None, monkeypatch: pytest.MonkeyPatch) -> Iterator[FlakyProxy]:
    """A proxy before the server, whose stalls are longer than clients here wait for an answer."""
    from fsspec.config import conf

    monkeypatch.setitem(conf, "s3", {"config_kwargs": {"read_timeout": 0.5, "retries": {"total_max_attempts": 1}}})
    monkeypatch.setattr("s3fs.S3FileSystem.retries", 2)  # it waits longer than we here
    with FlakyProxy(s3.endpoint, seed=11, stall=0.8) as proxy, s3_at(proxy.endpoint):
        yield proxy
