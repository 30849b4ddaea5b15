"""Object storage behind a bad network: what is made again, what is refused at once, and secrets that stay secret."""

import logging
import pickle
import socket
import subprocess
import sys
import time

import numpy as np
import pytest
from fsspec.config import conf
from storage import SIZES, build, objects
from trees import tree

import resload
from resload.errors import (
    ArgumentError,
    NotACacheError,
    StorageError,
)
from resload.store import remote, tries
from resload.store.remote import Url
from resload.testing import FlakyProxy, s3_at
from resload.testing.storage import FAULTS

pytestmark = pytest.mark.usefixtures("quick")


# -- the network --


@pytest.mark.parametrize("fault", [*FAULTS, "all"])
@pytest.mark.slow
def test_builds_and_reads_end_right_on_a_bad_network(few, local, url, proxied, fault, temporaries, monkeypatch):
    """A quarter of the requests fails, in each way there is: the same objects, and the same pixels."""
    monkeypatch.setitem(conf["s3"]["config_kwargs"], "read_timeout", 0.2)  # a slow answer is asked for again: no harm
    proxied.stall = 0.3
    proxied.faults = FAULTS if fault == "all" else (fault,)
    proxied.rate = 0.1 if fault == "stall" else 0.25
    some = few if fault == "all" else few.select(np.arange(17))
    far = build(some, url, SIZES if fault == "all" else (16,))
    rows = far.rows()
    found = [far.read(rows[k : k + 8], 16) for k in range(0, len(rows), 8)]
    if fault == "all":
        assert resload.verify(far, progress=False).ok
    assert sum(proxied.happened.values()) > 2
    proxied.rate = 0.0
    if fault == "all":
        assert objects(url) == tree(local.path)
    np.testing.assert_array_equal(np.concatenate(found), far.read(rows, 16))
    assert resload.verify(far, progress=False).ok


def test_ranges_that_came_are_not_asked_for_again(there, proxied):
    """Of ranges under way together only those that failed are asked for again."""
    shard = Url(f"{there.path}/images/32x32/c/0/0/0")
    data = shard.read_bytes()
    proxied.faults, proxied.rate = ("error",), 0.4
    asked = len(proxied.requests)
    parts = [(shard, k * 500, (k + 1) * 500) for k in range(12)]
    assert b"".join(remote.read_ranges(parts)) == data[:6000]
    assert len(proxied.requests) - asked == 12 + proxied.happened["error"]


def test_a_file_that_did_not_arrive_whole_is_put_again(url, tmp_path, monkeypatch):
    """Storage that took less than it was given is asked what it has."""
    from s3fs import S3FileSystem

    file, puts = tmp_path / "shard", []
    file.write_bytes(bytes(range(256)) * 4)
    put = S3FileSystem.pipe_file

    def half(self, local, path, **options):
        puts.append(path)
        put(self, path, file.read_bytes()[: 1024 if len(puts) > 2 else 500])

    monkeypatch.setattr(S3FileSystem, "put_file", half)
    Url(url).upload(file)
    assert Url(url).read_bytes() == file.read_bytes()
    assert len(puts) == 3


def test_a_range_beyond_the_end_is_short(there):
    """Where an object ends before, what there is of it; that is no fault."""
    shard = Url(f"{there.path}/images/16x16/c/0/0/0")
    assert len(remote.read_ranges([(shard, shard.size() - 5, shard.size() + 100)])[0]) == 5


@pytest.mark.parametrize("how", ["refuses connections", "fails", "stalls"])
def test_storage_that_is_down_is_said_in_bounded_time(there, s3, how, proxied, monkeypatch):
    """A server that is gone, answers errors only, or says nothing: a sentence, once `GIVE_UP` has passed."""
    monkeypatch.setattr(tries, "GIVE_UP", 0.5)
    endpoint = proxied.endpoint
    if how == "refuses connections":
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            endpoint = f"http://127.0.0.1:{free.getsockname()[1]}"
    proxied.rate, proxied.faults = 1.0, ("stall",) if how == "stalls" else ("error",)
    with s3_at(endpoint), pytest.raises(StorageError, match=r"could not .* in \d+ tries .* run the same again when"):
        resload.open_cache(there.path)


def test_a_build_goes_on_when_storage_is_back(few, local, url, proxied, monkeypatch, temporaries):
    """Storage that goes away in the middle of a build costs its last row groups; nothing refuses the next build."""
    monkeypatch.setattr(tries, "GIVE_UP", 0.3)
    from resload.store import run

    def finish(*all_of_it):
        proxied.rate = float(all_of_it[1].task.group >= 1)
        return whole(*all_of_it)

    whole = run._finish
    proxied.faults = ("error",)
    with monkeypatch.context() as patch:
        patch.setattr(run, "_finish", finish)
        with pytest.raises(StorageError, match="what is there is kept"):
            build(few, url)
    proxied.rate = 0.0
    assert {".build/rows-0.json", ".build/lease.json"} <= objects(url).keys()
    build(few, url)
    assert objects(url) == tree(local.path)


def test_a_plan_that_cannot_be_read_now_is_not_gone(few, local, url, proxied, monkeypatch):
    """Of storage that is away nobody says that the plan of a build is gone, and nothing that was built is swept."""
    monkeypatch.setattr(tries, "GIVE_UP", 0.2)
    build(few.select(np.arange(5)), url)
    asked = Url.read_bytes

    def plan_fails(self):
        if self.name == "plan.json":
            raise StorageError(f"{self}: down")
        return asked(self)

    with monkeypatch.context() as patch:
        patch.setattr(Url, "read_bytes", plan_fails)
        with pytest.raises(StorageError, match=r"plan\.json: down"):
            build(few, url)


class Refusing:
    """A file system whose requests are all refused, and counted."""

    def __init__(self, error):
        self.error, self.asked = error, 0

    def __getattr__(self, name):
        def refuse(*_, **__):
            self.asked += 1
            raise self.error

        return refuse


@pytest.mark.parametrize(
    "error",
    [
        PermissionError("Access Denied"),
        OSError(22, "The authorization header is malformed"),
        ValueError("no such option"),
        type("HttpError", (Exception,), {"code": 403})("Forbidden"),
        type("ClientAuthenticationError", (Exception,), {"status_code": 401})("Server failed to authenticate"),
        type("NoCredentialsError", (Exception,), {})("Unable to locate credentials"),
    ],
    ids=lambda error: type(error).__name__,
)
def test_what_is_refused_is_said_at_once(error, monkeypatch):
    """No right, wrong or no credentials: one request, no waiting, in a sentence."""
    refusing = Refusing(error)
    monkeypatch.setattr(remote, "file_system", lambda url: (refusing, url.text))
    with pytest.raises(StorageError, match=r"storage refuses to (read|look at) it"):
        resload.open_cache(Url("s3://bucket/a.zarr"))
    assert refusing.asked == 1


def test_no_such_bucket(few, s3):
    """Building to a bucket that is not there is refused at once; reading from it, there is no cache."""
    with pytest.raises(StorageError, match=r"nobucket/a\.zarr.* storage refuses to write it: .*bucket does not exist"):
        build(few, "s3://nobucket/a.zarr")
    with pytest.raises(NotACacheError):
        resload.open_cache("s3://nobucket/a.zarr")


def test_no_credentials(there, s3, monkeypatch):
    """Without any, that is what is said."""
    monkeypatch.delenv("AWS_ACCESS_KEY_ID")
    monkeypatch.delenv("AWS_SECRET_ACCESS_KEY")
    with s3_at(s3.endpoint), pytest.raises(StorageError, match=r"refuses to (read|look at) it: NoCredentialsError"):
        resload.open_cache(there.path)


# -- secrets --


def test_secrets_are_nowhere(few, url, s3, proxied, monkeypatch, caplog, tmp_path):
    """Keys of the environment are in no message, record of a log, object, pickle or repr, whatever goes wrong."""
    caplog.set_level(logging.DEBUG, "resload")
    monkeypatch.setattr(tries, "GIVE_UP", 0.2)
    far = build(few, url)
    mirrored = resload.open_cache(url, mirror=tmp_path / "m")
    mirrored.read([0], 32)
    said = [repr(far), str(far.path), repr(mirrored), repr(Url(url))]
    raw = [pickle.dumps(far), pickle.dumps(mirrored), *(p.read_bytes() for p in tmp_path.rglob("*") if p.is_file())]
    raw += [Url(f"{url}/{name}").read_bytes() for name in Url(url).sizes_below()]
    for error in (PermissionError, ConnectionError):
        refusing = Refusing(error(f"no: {s3.secret} of {s3.key}, Signature=abcdef0123&x, https://u:pw@host/"))
        with monkeypatch.context() as patch:
            patch.setattr(remote, "file_system", lambda url, fs=refusing: (fs, url.text))
            with pytest.raises(StorageError) as caught:
                resload.open_cache(url)
        said += [str(caught.value), repr(caught.value)]
        raw.append(pickle.dumps(caught.value))
    text = "\n".join(said) + caplog.text
    for secret in (s3.secret, s3.key, "abcdef0123", ":pw@"):
        assert secret not in text
        assert not any(secret.encode() in data for data in raw)
    assert "..." in text


@pytest.mark.parametrize(
    "text",
    ["s3://AKIAX:hunter22@bucket/a", "az://c/a?sv=1&sig=hunter22", "s3://bucket/a?secret=hunter22", "gs://b/a?token=hunter22",
     "s3://bucket/a?X-Amz-Signature=hunter22"],
)  # fmt: skip
@pytest.mark.parametrize("call", [resload.open_cache, lambda text: resload.build(None, text, 16), resload.verify])
def test_urls_with_credentials_are_refused_unprinted(text, call):
    """They would be stored and printed: refused with the remedy, and without printing them."""
    with pytest.raises(ArgumentError, match="credentials in it") as caught:
        call(text)
    assert "hunter22" not in str(caught.value)


# -- the helpers --


@pytest.mark.slow
def test_the_server_goes_with_its_starter():
    """A server whose starter was killed ends by itself; the environment is as it was."""
    code = (
        "import os, signal\nfrom resload.testing import s3_server\nwith s3_server() as server:\n"
        "    print(server.endpoint, flush=True)\n    os.kill(os.getpid(), signal.SIGKILL)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    port = int(done.stdout.rpartition(":")[2])
    ends = time.monotonic() + 20
    while time.monotonic() < ends:
        with socket.socket() as one:
            if one.connect_ex(("127.0.0.1", port)):
                return
        time.sleep(0.2)
    pytest.fail("it still listens")


def test_faults_that_are_none_are_refused():
    """A misspelt fault would be one that never happens."""
    with pytest.raises(ArgumentError, match=r"faults must be among slow, .*; found slwo"):
        FlakyProxy("http://127.0.0.1:1", faults=("slwo",))
