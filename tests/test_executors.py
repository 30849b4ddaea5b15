"""Builds on executors: the bytes that one thread makes, whoever makes them, whoever dies; and nothing left behind."""

import contextlib
import json
import os
import pickle
import shutil
import signal
import subprocess
import sys
from concurrent.futures import Executor, Future, ProcessPoolExecutor, ThreadPoolExecutor
from dataclasses import replace
from hashlib import sha256
from multiprocessing import get_context

import numpy as np
import pandas as pd
import pytest
from clusters import Stopped, children, dask_client, gone, killing, local_ray
from trees import stamps, tree

import resload
from resload import executors
from resload.cli import main
from resload.errors import (
    ArgumentError,
    CacheError,
    DecodeError,
    IncompleteCacheError,
    MissingPackageError,
    WorkerError,
)
from resload.executors import open_executor
from resload.pipeline import Pipeline
from resload.pipeline.recipe import CatalogFilms
from resload.store import layout, parts, plan, run, spread
from resload.store.identity import step_key
from resload.store.pseudonyms import Pseudonyms
from resload.testing import write_synthetic

pytestmark = pytest.mark.slow

SIZES = (32, (48, 40))
KEY = "a key that nobody will guess"
CLUSTERS = ("threads", "processes", "dask", "ray")


@pytest.fixture(scope="module")
def cluster(tmp_path_factory):
    """Name -> an executor of two workers, opened once and closed at the end."""
    opened = {}
    with contextlib.ExitStack() as stack:

        def of(name):
            if name not in opened:
                opened[name] = made(name)
            return opened[name]

        def made(name):
            if name == "threads":
                return stack.enter_context(ThreadPoolExecutor(2))
            if name == "processes":
                return stack.enter_context(ProcessPoolExecutor(2, mp_context=get_context("spawn")))
            if name == "dask":
                return stack.enter_context(dask_client())
            stack.enter_context(local_ray(tmp_path_factory.mktemp("ray")))
            return "ray"

        yield of


@pytest.fixture(scope="module")
def masked(films):
    """The 40 films, with masks of the first ten."""
    rows = [{"id": name, "label": "nodule", "rle": f"{100 + k} 50"} for k, name in enumerate(films.table["id"][:10])]
    return resload.Catalog(
        films.table, targets=films.targets, boxes=films.boxes, masks=pd.DataFrame(rows), root=films.root
    )


def build(catalog, path, sizes=SIZES, **options):
    return resload.build(catalog, path, sizes, progress=False, **options)


@pytest.fixture(scope="module")
def whole(films, tmp_path_factory):
    """`films` as one thread builds them."""
    path = tmp_path_factory.mktemp("whole") / "c.zarr"
    build(films, path, threads=1)
    return path


# -- the same bytes --


def in_steps(catalog, path, **options):
    """A cache that is begun, appended to (within a row group) and widened: with masks, films at their own size,
    pseudonyms."""
    sizes, options = (*SIZES, "native"), {"pseudonymise": KEY, "columns": ("view",), **options}
    build(catalog.select(np.arange(30)), path, sizes, **options)
    build(catalog, path, sizes, **options)
    return build(catalog, path, (*sizes, 56), **options)


@pytest.fixture(scope="module")
def large_first(masked):
    """`masked`, ordered so that the canvas of the first films holds all."""
    known = masked.scan(progress=False)
    return known.select(np.argsort(-known.table["height"].fillna(0).to_numpy(), kind="stable"))


@pytest.fixture(scope="module")
def stepwise(large_first, tmp_path_factory):
    path = tmp_path_factory.mktemp("stepwise") / "c.zarr"
    cache = in_steps(large_first, path, threads=1)
    assert (len(cache.quarantine), cache.masks, len(cache)) == (1, ("nodule",), 40)
    return tree(path)


@pytest.mark.parametrize("name", CLUSTERS)
def test_every_executor_makes_the_same_bytes(cluster, large_first, stepwise, tmp_path, name):
    """Two workers of each kind make what one thread makes, byte for byte, in each kind of step and of array."""
    in_steps(large_first, tmp_path / "c.zarr", executor=cluster(name))
    assert tree(tmp_path / "c.zarr") == stepwise


@pytest.fixture
def server():
    from resload.testing.storage import s3_server

    with s3_server() as found:
        yield found


def test_workers_write_to_object_storage(large_first, stepwise, tmp_path, server):
    """Straight to S3, in each kind of step: the objects are the files that one thread writes to a disk."""
    from resload.store.remote import location

    where = f"{server.url}/c.zarr"
    with ProcessPoolExecutor(2, mp_context=get_context("spawn")) as pool:  # they find the server in their environment
        in_steps(large_first, where, executor=pool)
    objects = location(where)
    found = {name: sha256((objects / name).read_bytes()).hexdigest() for name in objects.sizes_below()}
    assert found == stepwise


@pytest.mark.parametrize("name", ["executor of Dask", "address of Dask", "file of Dask", "one thread, two at once"])
def test_other_ways_to_name_an_executor(cluster, films, whole, tmp_path, name):
    """Dask by its executor, the scheduler's address or its file; and several threads in each task."""
    if name == "one thread, two at once":
        build(films, tmp_path / "c.zarr", executor=cluster("threads"), threads=2)
    else:
        client = cluster("dask")
        if name == "executor of Dask":
            executor = client.get_executor()
        elif name == "address of Dask":
            executor = f"dask:{client.scheduler.address}"
        else:
            (tmp_path / "scheduler.json").write_text(json.dumps({"address": client.scheduler.address}))
            executor = f"dask:{tmp_path / 'scheduler.json'}"
        for _ in range(2):  # the second time Dask would answer from memory, were the tasks not told apart
            shutil.rmtree(tmp_path / "c.zarr", ignore_errors=True)
            build(films, tmp_path / "c.zarr", executor=executor)
    assert tree(tmp_path / "c.zarr") == tree(whole)


def test_what_was_given_stays_open(cluster, films, tmp_path):
    """An executor of the user's is used, and goes on."""
    pool = cluster("threads")
    build(films, tmp_path / "c.zarr", executor=pool)
    assert pool.submit(len, "abc").result() == 3


# -- workers that die --


@pytest.fixture(scope="module")
def slow(tmp_path_factory):
    """48 films that take some ms each, and their cache by one thread."""
    folder = tmp_path_factory.mktemp("slow")
    catalog = write_synthetic(folder / "films", 48, size=400, seed=3)
    build(catalog, folder / "c.zarr", threads=1)
    return catalog, folder / "c.zarr"


@pytest.mark.parametrize("name", ["dask", "ray"])
def test_a_killed_worker_of_a_cluster_is_no_matter(cluster, slow, tmp_path, name):
    """SIGKILL in the middle of a row group: another worker makes it again, and the bytes are the same."""
    catalog, whole = slow
    executor = cluster(name)
    with killing(tmp_path / "c.zarr") as killed:
        build(catalog, tmp_path / "c.zarr", executor=executor)
    assert len(killed) == 1
    assert tree(tmp_path / "c.zarr") == tree(whole)


def moved(films, folder):
    """The same catalog with its films in a folder of the test's own."""
    shutil.copytree(films.root, folder / "films")  # with their times
    return resload.Catalog(films.table, targets=films.targets, boxes=films.boxes, root=folder / "films")


def test_a_pool_that_lost_a_worker_says_so_and_the_next_goes_on(slow, tmp_path):
    """A pool of processes does not outlive one of its workers: a sentence says what to do, and what was finished is
    kept."""
    catalog, whole = slow
    with (
        ProcessPoolExecutor(1, mp_context=get_context("spawn")) as pool,
        killing(tmp_path / "c.zarr", group=1),
        pytest.raises(WorkerError, match=r"a worker died, .* of 1.*run the same again"),
    ):
        build(catalog, tmp_path / "c.zarr", executor=pool)
    with pytest.raises(IncompleteCacheError):
        resload.open_cache(tmp_path / "c.zarr")
    kept = stamps(tmp_path / "c.zarr/images")
    assert set(kept) == {"32x32/c/0/0/0", "48x40/c/0/0/0"}
    build(catalog, tmp_path / "c.zarr", threads=1)
    assert kept.items() <= stamps(tmp_path / "c.zarr/images").items()
    assert tree(tmp_path / "c.zarr") == tree(whole)
    with pytest.raises(WorkerError, match="a worker died"):  # and a pool that was broken before
        build(catalog, tmp_path / "d.zarr", executor=pool_that_broke())


def pool_that_broke():
    pool = ProcessPoolExecutor(1, mp_context=get_context("spawn"))
    with contextlib.suppress(Exception):
        pool.submit(os._exit, 1).result()
    return pool


DRIVER = """
import sys, resload
if __name__ == "__main__":
    catalog = resload.Catalog.load(sys.argv[1])
    resload.build(catalog, sys.argv[2], (32, (48, 40)), progress=False, executor="processes:2")
"""


def test_workers_end_with_a_killed_driver_and_the_next_goes_on(cluster, slow, tmp_path):
    """SIGKILL of the process that builds: its workers end too, and the same build goes on to the same bytes."""
    catalog, whole = slow
    catalog.save(tmp_path / "catalog")
    (tmp_path / "driver.py").write_text(DRIVER)
    command = [sys.executable, str(tmp_path / "driver.py"), str(tmp_path / "catalog"), str(tmp_path / "c.zarr")]
    driver = subprocess.Popen(command)
    worker = Stopped(tmp_path / "c.zarr", of=driver.pid).wait()
    workers = children(driver.pid)
    driver.send_signal(signal.SIGKILL)
    driver.wait()
    os.kill(worker, signal.SIGCONT)
    assert {worker} < workers
    assert gone(workers), "the workers of a killed driver still run"
    build(catalog, tmp_path / "c.zarr", executor=cluster("processes"))
    assert tree(tmp_path / "c.zarr") == tree(whole)


# -- what goes wrong with films, and what workers do not see --


@pytest.mark.parametrize("name", ["threads", "processes", "dask", "ray"])
def test_an_error_of_a_film_comes_home_and_stops_the_build(cluster, films, whole, tmp_path, name):
    """on_error="raise": the DecodeError itself, which names the file, whoever met it; the next build goes on."""
    bad = films.table["path"].iloc[25]
    with pytest.raises(DecodeError, match="ends") as caught:
        build(films, tmp_path / "c.zarr", executor=cluster(name), on_error="raise")
    assert str(caught.value.path) == str(films.root / bad)
    build(films, tmp_path / "c.zarr", executor=cluster(name))
    assert tree(tmp_path / "c.zarr") == tree(whole)


class Elsewhere(Executor):
    """Tasks run at once, in this process, but between two calls."""

    def __init__(self, before, after):
        self.before, self.after = before, after

    def submit(self, function, /, *args):
        future = Future()
        self.before()
        try:
            future.set_result(function(*args))
        except Exception as error:
            future.set_exception(error)
        finally:
            self.after()
        return future


def test_a_film_that_only_the_worker_does_not_see_is_not_quarantined(films, tmp_path):
    """A machine without the films' disk must not turn them into zeros without a word: the build stops."""
    catalog = moved(films, tmp_path)
    there, away = tmp_path / "films", tmp_path / "unmounted"
    blind = Elsewhere(lambda: there.rename(away), lambda: away.rename(there))
    with pytest.raises(WorkerError, match=r"films/.*cannot read this film, and this machine can"):
        build(catalog, tmp_path / "c.zarr", executor=blind, dtype="uint16")
    assert not list((tmp_path / "c.zarr/.build").glob("rows-*.json"))
    build(catalog, tmp_path / "c.zarr", threads=1)
    assert len(resload.open_cache(tmp_path / "c.zarr").quarantine) == 1


def test_headers_that_only_the_worker_does_not_see_are_read_here(films, whole, tmp_path):
    """The depth of a cache is decided by the headers, so none may be missed because one machine does not see it."""
    catalog = moved(films, tmp_path)
    there, away = tmp_path / "films", tmp_path / "unmounted"
    blind = Elsewhere(lambda: there.rename(away), lambda: away.rename(there))
    scanned = catalog.scan(executor=blind, progress=False)
    pd.testing.assert_frame_equal(scanned.table, catalog.scan(progress=False).table)


def test_films_that_nobody_can_read_are_quarantined(cluster, films, tmp_path):
    """A missing file is a quarantined film, as without an executor."""
    catalog = moved(films, tmp_path)
    (tmp_path / "films" / films.table["path"].iloc[3]).unlink()
    cache = build(catalog, tmp_path / "c.zarr", executor=cluster("threads"))
    assert set(cache.quarantine["id"]) == {films.table["id"].iloc[3], films.table["id"].iloc[25]}


def part_of(films, folder, **changes):
    """The first row group of a build that has just begun."""
    recipe = Pipeline(SIZES, dtype="uint16")
    goal = layout.Manifest(
        sizes=recipe.sizes, dtype="uint16", count=40, per_shard=16, shuffle_seed=0, batches=(40,), fingerprint="",
        state="complete", recipe={name: value for name, value in recipe.settings().items() if name != "dtype"},
    )  # fmt: skip
    order = plan.row_order(40, 0, 0)
    ids = [films.table["id"].iloc[row] for row in order]
    sources = run.Sources(CatalogFilms(films, changes.pop("seal", str)), recipe, order, "quarantine")
    crew = spread.Crew(executors.Workers("", len), "cpu", "cpu", 1, patience=0)
    key = step_key(goal, ids)
    (folder / layout.BUILD).mkdir(parents=True)
    (folder / layout.BUILD / layout.PLAN).write_text(json.dumps({"key": key, "ids": ids}))
    return replace(next(spread.parts(plan.begin(goal), sources, folder, crew, key)), **changes)


def test_a_worker_that_does_not_see_the_cache_says_so(films, tmp_path):
    """The commonest mistake with a cluster is a path that is not shared: refused before a film is read."""
    part = part_of(films, tmp_path / "c.zarr", cache=tmp_path / "elsewhere.zarr")
    with pytest.raises(
        WorkerError, match=r"elsewhere.zarr: the worker on .* does not see .* storage that this machine"
    ):
        parts.make_part(part)
    assert not (tmp_path / "elsewhere.zarr").exists()


def test_a_driver_that_does_not_see_what_a_worker_finished_says_so(films, tmp_path):
    """And the other way round, before a table is written."""
    part = part_of(films, tmp_path / "c.zarr")
    with pytest.raises(WorkerError, match="finished row group 0, and this machine does not see it"):
        spread._await(part)


@pytest.mark.parametrize("when", ["before", "while"])
def test_a_worker_of_a_build_that_was_given_up_puts_nothing_in_place(films, tmp_path, when, monkeypatch):
    """A worker that outlived its driver writes nothing into what another build makes of the cache."""
    cache = tmp_path / "c.zarr"
    part = part_of(films, cache)

    def another_begins():
        (cache / layout.BUILD / layout.PLAN).write_text(json.dumps({"key": "another", "ids": []}))

    if when == "before":
        another_begins()
    else:
        made = run.make_record
        monkeypatch.setattr(run, "make_record", lambda *args: (another_begins(), made(*args))[1])
    with pytest.raises(WorkerError, match="given up since"):
        parts.make_part(part)
    assert not (cache / "images").exists()


def test_temporaries_that_a_new_build_removed_do_not_come_back(films, tmp_path, monkeypatch):
    """Between a worker's last look at the plan and its rename another build may begin: it has removed the file."""
    cache = tmp_path / "c.zarr"
    part = part_of(films, cache)
    looked = parts._check

    def then_another_begins(part):
        looked(part)
        for left in (cache / layout.BUILD).glob("*.part"):
            left.unlink()

    monkeypatch.setattr(parts, "_check", then_another_begins)
    with pytest.raises(CacheError, match="No such file"):
        parts.make_part(part)
    assert not [path for path in cache.rglob("*") if path.is_file() and path.name != layout.PLAN]


def test_two_workers_on_one_row_group_disturb_each_other_in_nothing(films, whole, tmp_path):
    """When a worker only seemed dead, two make the same group at once: the same file, whoever is last."""
    part = part_of(films, tmp_path / "c.zarr")
    first = tree_of_part(part, tmp_path)
    with ThreadPoolExecutor(3) as pool:
        answers = [future.result() for future in [pool.submit(parts.make_part, part) for _ in range(3)]]
    assert tree_of_part(part, tmp_path) != first
    assert tree_of_part(part, tmp_path) == {name: tree(whole)[name] for name in tree_of_part(part, tmp_path)}
    assert not list((tmp_path / "c.zarr/.build").glob("*.part"))
    assert [answer.missing for answer in answers] == [()] * 3


def tree_of_part(part, folder):
    return {name: one for name, one in tree(folder / "c.zarr").items() if name.startswith("images")}


def test_a_worker_with_other_versions_is_refused(films, tmp_path):
    """Half a cache by another decoder is refused, and both versions are named."""
    part = part_of(films, tmp_path / "c.zarr", versions=("resload 9.9", "torch 1"))
    with pytest.raises(
        WorkerError, match=r"has resload .*, torch .* begun with resload 9.9, torch 1; install the same"
    ):
        parts.make_part(part)


def test_a_worker_with_other_limits_is_refused(films, tmp_path, monkeypatch):
    """A limit that was raised for the driver alone would have workers quarantine what it asked for."""
    part = part_of(films, tmp_path / "c.zarr")
    monkeypatch.setenv("RESLOAD_MAX_PIXELS", "1000")
    with pytest.raises(WorkerError, match=r"has RESLOAD_MAX_PIXELS=1000, .* with 134217728; set the same for all"):
        parts.make_part(part)


# -- what is sent --


def test_a_task_holds_its_own_films_alone_and_no_pixel(films, tmp_path):
    """A few hundred bytes for each film; no other film's name; and no name at all in what executors log."""
    part = part_of(films, tmp_path / "c.zarr", seal=Pseudonyms(KEY).seal)
    sent = pickle.dumps(part)
    own = {films.table["id"].iloc[row] for row in plan.row_order(40, 0, 0)[:16]}
    assert {name for name in films.table["id"] if name.encode() in sent} == own
    assert len(sent) < 16 * 400 + 2000
    assert repr(part) == "<row group 0 of c.zarr>"
    again = pickle.loads(sent)
    assert again.sources.films.paths == [path.absolute() for path in again.sources.films.paths]
    assert again.sources.films.seal("f00d") == Pseudonyms(KEY).seal("f00d")


def test_the_driver_decodes_nothing(cluster, films, whole, tmp_path, monkeypatch):
    """Not for the depth, not for the largest film, not for an estimate: all of it is the workers' work."""
    from resload import decode

    pool = cluster("processes")
    pool.submit(len, "").result()

    def refused(*args, **kwargs):
        raise AssertionError("the driver read a film")

    with monkeypatch.context() as patch:
        for name in ("decode", "read_header"):
            patch.setattr(decode, name, refused)
        cache = resload.build(films, tmp_path / "auto.zarr", ("auto:64", "native"), executor=pool)
        build(films, tmp_path / "c.zarr", executor=pool)
    assert (cache.pipeline.dtype, tuple(cache.sizes[-1])) == ("uint16", (200, 184))
    assert tree(tmp_path / "c.zarr") == tree(whole)


def test_a_build_says_who_makes_it(cluster, films, tmp_path, capsys):
    """With an executor the announcement names it in the place of an estimate, for which films would be decoded."""
    resload.build(films, tmp_path / "c.zarr", SIZES, executor=cluster("threads"))
    assert "in 6 files, by ThreadPoolExecutor of 2" in capsys.readouterr().err


def test_the_device_is_that_of_the_workers(cluster, films, tmp_path):
    """A driver without a GPU may send work to workers that have one: they are asked, not the driver."""
    import torch

    if torch.cuda.is_available():
        pytest.skip("a GPU is here, so that no worker lacks one")
    with pytest.raises(ArgumentError, match="torch finds no CUDA device here") as caught:
        build(films, tmp_path / "c.zarr", executor=cluster("processes"), device="cuda")
    assert "make_part" in str(caught.value.__cause__), "it was a worker that was asked"
    with pytest.raises(ArgumentError, match="not a device that torch knows"):
        build(films, tmp_path / "c.zarr", executor=cluster("threads"), device="tpu")
    with pytest.raises(ArgumentError, match="decode must be one of cpu, dali"):
        build(films, tmp_path / "c.zarr", executor=cluster("threads"), decode="gpu")


# -- executors by themselves --


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        ("mpi", "executor must be one of 'processes', 'dask', 'ray', .*; found 'mpi'"),
        ("processes:none", "expected processes:N with N >= 1"),
        ("processes:0", "expected processes:N with N >= 1"),
        (3, r"a concurrent.futures.Executor, a distributed.Client, or a text \('processes', .*\); found int"),
        ("dask:nowhere.json", "no file nowhere.json of a Dask scheduler is here"),
    ],
)
def test_what_is_no_executor_is_refused(films, tmp_path, spec, message):
    """With the list of what there is, and before anything is written."""
    with pytest.raises(ArgumentError, match=message):
        build(films, tmp_path / "c.zarr", executor=spec)
    assert not (tmp_path / "c.zarr").exists()


@pytest.mark.parametrize(("spec", "package"), [("dask", "distributed"), ("ray", "ray")])
def test_a_missing_package_names_its_extra(films, tmp_path, monkeypatch, spec, package):
    """`pip install 'resload[dask]'`, `pip install 'resload[ray]'`."""
    monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(MissingPackageError, match=rf"{package} is needed for executor='{spec}'.*resload\[{spec}\]"):
        build(films, tmp_path / "c.zarr", executor=spec)


class Counted(Executor):
    """Tasks wait until they are let go; counts those that are under way."""

    def __init__(self):
        self.futures = []

    def submit(self, function, /, *args):
        future = Future()
        self.futures.append((future, function, args))
        return future

    def finish(self, count):
        for future, function, args in self.futures[:count]:
            if future.set_running_or_notify_cancel():
                future.set_result(function(*args))
        del self.futures[:count]


def test_tasks_are_handed_over_a_bounded_number_at_a_time(monkeypatch):
    """A million row groups are not a million tasks in a scheduler's memory; each is made when there is room for it."""
    monkeypatch.setattr(executors, "MOST", 4)
    pool, taken = Counted(), []
    with open_executor(pool) as workers:
        answers = workers.each(abs, (taken.append(k) or -k for k in range(10)))
        monkeypatch.setattr(executors, "wait", lambda running, **how: (pool.finish(2), real_wait(running, **how))[1])
        first = next(answers)
        assert first[1] == -first[0]
        assert len(taken) == 4
        assert sorted(answer for _, answer in answers) == sorted(set(range(10)) - {first[1]})


real_wait = executors.wait


def test_what_has_not_begun_is_dropped_when_one_fails():
    """An error is raised at once, and the tasks behind it are cancelled."""
    pool = Counted()
    with open_executor(pool) as workers:
        answers = workers.each(int, ["x", "2", "3"])
        with ThreadPoolExecutor(1) as other:
            raised = other.submit(next, answers)
            while len(pool.futures) < 3:
                pass
            pool.futures[0][0].set_exception(ValueError("of the task"))
            with pytest.raises(ValueError, match="of the task"):
                raised.result()
    assert [future.cancelled() for future, _, _ in pool.futures[1:]] == [True, True]


def test_a_task_that_the_executor_gave_up_is_a_lost_worker():
    """Dask cancels what it cannot run any more, for one when its scheduler is gone."""
    pool = Counted()
    with open_executor(pool) as workers, ThreadPoolExecutor(1) as other:
        raised = other.submit(next, workers.each(int, ["1"]))
        while not pool.futures:
            pass
        pool.futures[0][0].cancel()
        pool.futures[0][0].set_running_or_notify_cancel()
        with pytest.raises(WorkerError, match="a worker died"):
            raised.result()


# -- the command line, and what is opened by name --


def test_the_command_builds_on_an_executor(films, whole, tmp_path, capsys):
    """`resload build --executor processes:2` makes the same cache."""
    films.save(tmp_path / "catalog")
    words = ["build", str(tmp_path / "catalog"), str(tmp_path / "c.zarr"), "--sizes", "32", "48x40", "--executor"]
    assert main([*words, "processes:2"]) == 0
    assert "by 2 processes" in capsys.readouterr().err
    assert tree(tmp_path / "c.zarr") == tree(whole)


@pytest.mark.parametrize("name", ["processes:2", "dask", "ray"])
def test_what_was_opened_is_closed(films, whole, tmp_path, name, monkeypatch):
    """New workers by name: gone after the build, and after one that was interrupted, whose groups are kept."""
    if name == "ray":
        import ray

        if ray.is_initialized():  # the one of the other tests
            ray.shutdown()
    before = children()
    with monkeypatch.context() as patch:
        patch.setattr(spread, "_await", interrupted)
        with pytest.raises(KeyboardInterrupt):
            build(films, tmp_path / "c.zarr", executor=name)
    assert gone(children() - before)
    kept = stamps(tmp_path / "c.zarr/images")
    assert kept
    build(films, tmp_path / "c.zarr", threads=1)
    assert kept.items() <= stamps(tmp_path / "c.zarr/images").items()
    assert tree(tmp_path / "c.zarr") == tree(whole)


def interrupted(part):
    raise KeyboardInterrupt
