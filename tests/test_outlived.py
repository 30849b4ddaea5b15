"""Workers that outlive their driver: what they put in place late is no part of what another build makes."""

import json
from dataclasses import replace

import pytest
from trees import tree

import resload
from resload import executors
from resload.errors import CorruptCacheError, WorkerError
from resload.pipeline import Pipeline
from resload.pipeline.recipe import CatalogFilms
from resload.store import job, layout, marks, parts, plan, run, spread
from resload.store.identity import step_key


def begun(films, folder):
    """The first row group of a build of some films at 16 that has just begun."""
    recipe = Pipeline((16,), dtype="uint16")
    settings = {name: value for name, value in recipe.settings().items() if name != "dtype"}
    goal = layout.Manifest(
        sizes=recipe.sizes, dtype="uint16", count=len(films), per_shard=16, shuffle_seed=0, batches=(len(films),),
        fingerprint="", state="complete", recipe=settings,
    )  # fmt: skip
    order = plan.row_order(len(films), 0, 0)
    ids = [films.table["id"].iloc[row] for row in order]
    sources = run.Sources(CatalogFilms(films, str), recipe, order, "quarantine")
    crew = spread.Crew(executors.Workers("", len), "cpu", "cpu", 1, patience=0)
    planned(folder, step_key(goal, ids), ids)
    return next(spread.parts(plan.begin(goal), sources, folder, crew, step_key(goal, ids)))


def planned(folder, key, ids):
    (folder / layout.BUILD).mkdir(parents=True, exist_ok=True)
    (folder / layout.BUILD / layout.PLAN).write_text(json.dumps({"key": key, "ids": ids}))


def test_a_build_given_up_while_a_shard_is_on_its_way_records_no_row_group(few, tmp_path, monkeypatch):
    """Putting a large shard in object storage takes long: afterwards the worker looks again whether it is wanted."""
    part, put = begun(few, tmp_path / "c.zarr"), run.put

    def slowly(temporary, target):
        put(temporary, target)
        planned(tmp_path / "c.zarr", "another", [])

    monkeypatch.setattr(run, "put", slowly)
    with pytest.raises(WorkerError, match="given up since"):
        parts.make_part(part)
    assert [path.name for path in (tmp_path / "c.zarr" / layout.BUILD).iterdir()] == [layout.PLAN]


def test_a_row_group_of_other_films_is_made_again(few, tmp_path):
    """One that a worker of a build given up has put there late is not taken for this build's."""
    other = few.select(few.table.index[::-1][:32])
    parts.make_part(begun(other, tmp_path / "c.zarr"))
    part = begun(few.select(range(32)), tmp_path / "c.zarr")
    parts.make_part(part)
    records = marks.read_rows(part.cache, part.task)
    assert [record["id"] for record in records] == part.sources.films.ids
    parts.make_part(begun(few.select(range(32)), tmp_path / "d.zarr"))
    assert tree(tmp_path / "c.zarr") == tree(tmp_path / "d.zarr")
    stamp = marks.rows_file(part.cache, 0).stat().st_mtime_ns
    parts.make_part(replace(part))
    assert marks.rows_file(part.cache, 0).stat().st_mtime_ns == stamp, "its own is kept"


def test_a_row_group_of_other_films_gets_into_no_table(few, tmp_path, monkeypatch):
    """Put there even later, when this build's own was done: refused before a table is written, and then mended."""
    parts.make_part(begun(few.select(range(2, 34)), tmp_path / "other.zarr"))
    late = marks.rows_file(tmp_path / "other.zarr", 0).read_bytes()
    films, where, whole = few.select(range(32)), tmp_path / "c.zarr", job.run

    def then_late(*args, **options):
        whole(*args, **options)
        marks.rows_file(where, 0).write_bytes(late)

    with monkeypatch.context() as patch:
        patch.setattr(job, "run", then_late)
        with pytest.raises(CorruptCacheError, match=r"rows-0.json: missing or damaged.*build again"):
            resload.build(films, where, 16, progress=False, dtype="uint16")
    resload.build(films, where, 16, progress=False, dtype="uint16")
    resload.build(films, tmp_path / "d.zarr", 16, progress=False, dtype="uint16")
    assert tree(where) == tree(tmp_path / "d.zarr")
