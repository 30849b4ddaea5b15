"""Google's and Azure's storage, by their packages and emulators of their servers, where these are installed.

gcsfs and gcp-storage-emulator come by pip, adlfs by pip and Azurite by `npm install azurite` (on PATH: azurite-blob).
What needs none of them is in test_remote.py.
"""

import shutil
import socket
import subprocess
import sys
import time
from importlib.util import find_spec

import fsspec
import numpy as np
import pytest
from fsspec.config import conf
from storage import build, objects
from trees import tree

import resload
from resload.errors import StorageError
from resload.store.remote import Url

AZURITES = "Eby8vdM02xNOcqFlqUwJPLlmEtlCDXJ1OUzFT50uSRZ6IFsuFq2UVErCz4I6tq/K1SZFPTOtr/KBHBeksoGMGw=="
"""The key of Azurite's only account, which its documentation gives."""
pytestmark = [
    pytest.mark.usefixtures("quick"),
    pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::ResourceWarning", "ignore::FutureWarning"),
]


@pytest.fixture(params=["gs", "az"])
def cloud(request, monkeypatch):
    """The URL of an empty bucket of an emulator."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = google(port, monkeypatch) if request.param == "gs" else azure(port, monkeypatch)
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        answers(port)
        fsspec.filesystem(request.param).mkdir("bucket")
        yield f"{request.param}://bucket"
    finally:
        process.kill()
        process.wait()


def google(port, monkeypatch):
    if not find_spec("gcsfs") or not find_spec("gcp_storage_emulator"):
        pytest.skip("gcsfs and gcp-storage-emulator are not installed")
    monkeypatch.setenv("GCSFS_EXPERIMENTAL_ZB_HNS_SUPPORT", "false")  # it asks by gRPC, which the emulator has not
    monkeypatch.setenv("STORAGE_EMULATOR_HOST", f"http://127.0.0.1:{port}")
    monkeypatch.setitem(conf, "gs", {"token": "anon", "project": "p"})
    code = "from gcp_storage_emulator.__main__ import main; main()"
    return [sys.executable, "-c", code, "start", "--host=127.0.0.1", f"--port={port}", "--in-memory"]


def azure(port, monkeypatch):
    if not find_spec("adlfs") or not shutil.which("azurite-blob"):
        pytest.skip("adlfs and Azurite are not installed")
    account = f"DefaultEndpointsProtocol=http;AccountName=devstoreaccount1;AccountKey={AZURITES};"
    place = f"BlobEndpoint=http://127.0.0.1:{port}/devstoreaccount1;"
    monkeypatch.setitem(conf, "az", {"connection_string": account + place})
    return ["azurite-blob", "--inMemoryPersistence", "--blobPort", str(port), "--silent", "--skipApiVersionCheck",
            "--disableTelemetry"]  # fmt: skip


def answers(port):
    ends = time.monotonic() + 30
    while time.monotonic() < ends:
        with socket.socket() as one:
            if not one.connect_ex(("127.0.0.1", port)):
                return
        time.sleep(0.2)
    pytest.fail("the emulator did not start")


def test_the_same_as_on_a_disk(cloud, few, tmp_path):
    """Built, appended to, widened, read, mirrored, verified: byte for byte; no bucket, said at once."""
    far = f"{cloud}/x/a.zarr"
    more = (
        24 if cloud.startswith("gs") else "native"
    )  # Google's emulator drops a CR at an object's end, as one here has
    for films, sizes in ((few.select(np.arange(20)), (16, 32)), (few, (16, 32, more))):
        here, there = build(films, tmp_path / "a.zarr", sizes), build(films, far, sizes)
    assert objects(far) == tree(tmp_path / "a.zarr")
    near = resload.open_cache(far, mirror=tmp_path / "m")
    for size in (16, 32, 20, more):
        expected = here.read(here.rows(), size)
        np.testing.assert_array_equal(there.read(here.rows(), size), expected)
        np.testing.assert_array_equal(near.read(here.rows(), size), expected)
    assert resload.verify(far, progress=False).ok
    lease = Url(f"{cloud}/new.json")
    assert not lease.exists()
    assert lease.create(b"1")
    assert lease.create(b"1")  # a request that was made again meets its own object
    if cloud.startswith("az"):  # Google's emulator puts whatever the condition
        assert not lease.create(b"2")
    with pytest.raises(StorageError, match="storage refuses to write it"):
        build(few, f"{cloud.replace('bucket', 'nobucket')}/a.zarr")
