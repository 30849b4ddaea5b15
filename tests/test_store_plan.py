"""What a build decides before it touches a pixel."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from resload.size import as_ladder
from resload.store import plan
from resload.store.layout import Manifest, index_bytes, record_bytes

LADDER = as_ladder((32, 64, 256, 512))


def manifest(count, per_shard=16, sizes=LADDER):
    return Manifest(sizes, "uint8", count, per_shard, {}, 0, (count,), "", "complete")


@given(st.integers(1, 500_000), st.sampled_from(["uint8", "uint16"]), st.sampled_from([1, 8, 64, 512, 4096]))
def test_records_per_shard_is_the_largest_that_fits(count, dtype, shard_mb):
    """S: a power of two in 16 .. 4,096, under shard_mb, leaving 64 row groups; doubling it breaks one of these."""
    per_shard = plan.records_per_shard(count, LADDER, dtype, shard_mb)
    record = record_bytes(LADDER[-1], dtype)

    def fits(n):
        return n * record + index_bytes(n) <= shard_mb * 2**20 and -(-count // n) >= 64

    assert per_shard & (per_shard - 1) == 0
    assert 16 <= per_shard <= 4096
    assert per_shard == 16 or fits(per_shard)
    assert per_shard == 4096 or not fits(2 * per_shard)


@pytest.mark.parametrize("batch", [0, 1, 7])
def test_row_order_is_a_shuffle_of_the_batch(batch):
    """Rows are a seeded permutation, another one for each batch of rows."""
    order = plan.row_order(1000, 3, batch)
    assert sorted(order) == list(range(1000))
    assert not np.array_equal(order, plan.row_order(1000, 3, batch + 1))
    assert np.array_equal(order, plan.row_order(1000, 3, batch))
    assert abs(np.corrcoef(order, np.arange(1000))[0, 1]) < 0.15


@given(st.integers(1, 200), st.integers(1, 100))
def test_begin_and_append_cover_every_row_once(first, added):
    """A first build makes every row; an append makes the new ones and copies only the last group's old ones."""
    begun = plan.begin(manifest(first))
    assert [row for task in begun.tasks for row in task.rows] == list(range(first))
    assert begun.films == first
    grown = plan.append(begun.goal, added)
    made = [row for task in grown.tasks for row in list(task.rows)[task.keep :]]
    assert made == list(range(first, first + added))
    assert grown.goal.count == first + added
    assert grown.goal.batches == (first, added)
    assert sum(task.keep for task in grown.tasks) == first % 16
    assert all(task.keep == 0 for task in grown.tasks[1:])


def test_widen_makes_only_new_levels():
    """Adding sizes names the new ones alone; nothing new is no step."""
    step = plan.widen(manifest(40), as_ladder((64, 128, 384)))
    assert {size for task in step.tasks for size in task.sizes} == set(as_ladder((128, 384)))
    assert step.goal.sizes == as_ladder((32, 64, 128, 256, 384, 512))
    assert plan.widen(manifest(40), as_ladder((64, 512))) is None


def test_bytes_and_files_are_what_a_build_writes(tmp_path, films):
    """The estimate that is shown before a build is exact for shards."""
    import resload

    cache = resload.build(films, tmp_path / "c.zarr", (24, (30, 20)), progress=False)
    shards = [path for path in (tmp_path / "c.zarr/images").rglob("c/*/0/0") if path.is_file()]
    held = Manifest(cache.sizes, cache.dtype.name, len(cache), 16, {}, 0, (len(cache),), "", "complete")
    step = plan.begin(held)
    assert step.files() == len(shards)
    assert step.bytes() == sum(path.stat().st_size for path in shards)
    assert step.without({0}).films == len(cache) - 16
