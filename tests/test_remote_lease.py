"""One build of a cache at a time, where there is no lock: leases, and who gets one."""

import json
import os
import signal
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import pytest
from storage import build, child, objects
from trees import tree

from resload.errors import (
    BuildInProgressError,
)
from resload.store import alone
from resload.store.remote import Url

pytestmark = pytest.mark.usefixtures("quick")


# -- one build at a time --


@pytest.fixture
def brisk(monkeypatch):
    """Leases that beat ten times a second."""
    monkeypatch.setattr(alone, "BEAT", 0.1)
    monkeypatch.setattr(alone, "PATIENCE", 1.5)


def lease_at(url):
    return Url(f"{url}/.build/lease.json")


def test_a_second_build_is_refused(url, brisk):
    """In another thread at once, in another process once a beat was seen; the first goes on, and leaves no lease."""
    with alone.leased(Url(url)):
        with pytest.raises(
            BuildInProgressError,
            match="another process, or thread of this one, is building or repairing this cache; wait",
        ):
            alone.leased(Url(url)).__enter__()
        with ThreadPoolExecutor(1) as other, pytest.raises(BuildInProgressError):
            other.submit(alone.leased(Url(url)).__enter__).result()
        with child() as number:
            if number == 0:
                alone._held.clear()  # as in a process that was not forked from this one
                with pytest.raises(BuildInProgressError):
                    alone.leased(Url(url)).__enter__()
        assert os.waitpid(number, 0)[1] == 0
        alone.check(Url(url))
    assert objects(url) == {}


def test_a_killed_builds_lease_is_taken_over_at_once(url, brisk, monkeypatch):
    """Its process was of this machine and is gone: nobody waits."""
    with child() as number:
        if number == 0:
            lease = alone.leased(Url(url))
            lease.__enter__()
            os.kill(os.getpid(), signal.SIGKILL)
    os.waitpid(number, 0)
    assert lease_at(url).exists()
    monkeypatch.setattr(alone._Lease, "_wait_for_beat", lambda *_: pytest.fail("it waited"))
    with alone.leased(Url(url)):
        pass


def test_a_lease_that_could_not_be_given_back_refuses_nobody(url, brisk, monkeypatch):
    """Storage was away when a build of this process ended: the next one does not wait for it."""
    with monkeypatch.context() as patch:
        patch.setattr(alone._Lease, "give_back", lambda self: self._ends.set())
        with alone.leased(Url(url)):
            pass
    assert lease_at(url).exists()
    monkeypatch.setattr(alone._Lease, "_wait_for_beat", lambda *_: pytest.fail("it waited"))
    with alone.leased(Url(url)):
        pass
    assert not lease_at(url).exists()


def test_another_machines_lease_is_taken_over_after_patience(url, brisk):
    """One that beats is respected; one that has stopped is taken over once nothing was heard for `PATIENCE`."""
    lease_at(url).write_bytes(json.dumps({"owner": "0123456789abcdef-1-2-3", "beat": 7}).encode())
    began = time.monotonic()
    with alone.leased(Url(url)):
        assert time.monotonic() - began >= alone.PATIENCE
    lease_at(url).write_bytes(json.dumps({"owner": "0123456789abcdef-1-2-3", "beat": 7}).encode())
    beats = threading.Timer(0.5, lambda: lease_at(url).write_bytes(b'{"owner": "0123456789abcdef-1-2-3", "beat": 8}'))
    beats.start()
    with pytest.raises(BuildInProgressError):
        alone.leased(Url(url)).__enter__()
    beats.join()


def test_whoever_lost_its_lease_commits_nothing_more(few, url, brisk, monkeypatch):
    """A build that was taken over stops before its next commit, with a sentence; the other one's lease stays."""
    from resload.store import run

    def stolen(*all_of_it):
        lease_at(url).write_bytes(b'{"owner": "somebody", "beat": 1}')
        time.sleep(0.5)
        before.update(objects(url))
        return finish(*all_of_it)

    before, finish = {}, run._finish
    monkeypatch.setattr(run, "_finish", stolen)
    with pytest.raises(BuildInProgressError, match="another process has taken this build over"):
        build(few, url)
    assert objects(url) == before


def test_a_machine_that_slept_looks_before_it_commits(url, monkeypatch):
    """No beat for half of `PATIENCE`, however that came: the lease is looked at before a commit, not after."""
    lease = alone.leased(Url(url))
    lease.__enter__()
    lease_at(url).write_bytes(b'{"owner": "somebody", "beat": 1}')
    alone.check(Url(url))
    now = alone._now()
    monkeypatch.setattr(alone, "_now", lambda: now + alone.PATIENCE)
    with pytest.raises(BuildInProgressError, match="taken this build over"):
        alone.check(Url(url))
    with pytest.raises(BuildInProgressError, match="taken this build over"):
        lease.__exit__(None, None, None)
    assert lease_at(url).exists()


def test_of_two_that_take_over_one_wins(url, brisk, monkeypatch):
    """Both see a dead lease: one holds it in the end, the other is refused."""
    monkeypatch.setattr(alone, "PATIENCE", 0.3)
    monkeypatch.setattr(alone, "SETTLING", 1.0)
    lease_at(url).write_bytes(json.dumps({"owner": "0123456789abcdef-1-2-3", "beat": 7}).encode())
    results = []

    def contend():
        try:
            with alone.leased(Url(url)):
                results.append("held")
                time.sleep(1.5)
        except BuildInProgressError:
            results.append("refused")

    threads = [threading.Thread(target=contend) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(results) == ["held", "refused"]


@pytest.mark.parametrize("number", [9, 38, 95], ids=["EBADF", "ENOSYS", "EOPNOTSUPP"])
def test_folders_that_cannot_be_locked_have_a_lease(few, local, tmp_path, monkeypatch, brisk, number):
    """A network file system without such locks: a lease file stands in their place, and is gone afterwards."""
    import fcntl

    seen = []

    def unsupported(descriptor, how):
        raise OSError(number, os.strerror(number))

    def finish(*all_of_it):
        seen.append((tmp_path / "a.zarr" / ".build" / "lease.json").exists())
        if len(seen) == 1:
            with pytest.raises(BuildInProgressError):
                build(few, tmp_path / "a.zarr")
        return whole(*all_of_it)

    from resload.store import run

    whole = run._finish
    monkeypatch.setattr(fcntl, "flock", unsupported)
    monkeypatch.setattr(run, "_finish", finish)
    build(few, tmp_path / "a.zarr")
    assert seen == [True] * 3
    assert tree(tmp_path / "a.zarr") == tree(local.path)
    assert not (tmp_path / "a.zarr" / ".build").exists()
