"""Memory for batches: free again when nothing on it lives, and not a moment sooner."""

import gc
import threading

import numpy as np
import pytest
import torch

from resload.transfer import KEPT_BLOCKS, Block, Pool

UINT8 = np.dtype(np.uint8)


def lent(pool, size=100):
    block = pool.block(size)
    return block, pool.lend(block, (size,), UINT8, (0, size))[0]


def test_a_block_comes_back_when_its_view_dies():
    """While the view lives the block is not free; afterwards the next request gets that very block."""
    pool = Pool()
    block, view = lent(pool)
    assert pool.free == 0
    assert pool.block(100) is not block
    del view
    assert pool.free == 1
    assert pool.block(100) is block
    assert pool.free == 0


@pytest.mark.parametrize(
    "held",
    [
        torch.from_numpy,
        lambda view: torch.from_numpy(view)[10:20],
        lambda view: torch.from_numpy(view).view(10, 10).t(),
        lambda view: torch.from_numpy(view).numpy(),
        lambda view: torch.from_numpy(view).view(torch.int16),
        lambda view: torch.from_numpy(view).untyped_storage(),
        lambda view: [torch.from_numpy(view)[3]],
        memoryview,
        lambda view: np.from_dlpack(torch.from_numpy(view))[3:],
    ],
)
def test_whatever_was_made_from_a_view_holds_the_block(held):
    """Tensors, slices, storages, arrays and buffers made of the view keep the block away from others."""
    pool = Pool()
    block, view = lent(pool)
    part = held(view)
    del view
    gc.collect()
    assert pool.free == 0
    assert pool.block(100) is not block
    del part
    gc.collect()
    assert pool.free == 1


def test_a_cycle_gives_back_when_it_is_collected():
    """A view in a reference cycle comes back from inside the garbage collector."""
    pool = Pool()
    _, view = lent(pool)
    cycle = [torch.from_numpy(view)]
    cycle.append(cycle)
    del view, cycle
    gc.collect()
    assert pool.free == 1


def test_sizes():
    """A block serves requests up to its size; one that is too small is dropped for a larger one."""
    pool = Pool()
    block, view = lent(pool, 100)
    assert len(block.raw) == 100
    del view
    assert pool.block(60) is block
    (view,) = pool.lend(block, (3, 20), UINT8, (0, 3))
    assert view.shape == (3, 20)
    del view
    assert len(pool.block(101).raw) == 101
    assert pool.free == 0


def test_views_start_at_the_blocks_first_byte():
    """What was written through the block's slot is what the lent view shows, in any dtype and shape."""
    pool = Pool()
    block = pool.block(4 * 6 * 2)
    slot = block.slot((4, 3, 2), np.dtype(np.uint16))
    slot.out[:] = np.arange(24).reshape(4, 3, 2)
    (view,) = pool.lend(block, (4, 1, 3, 2), np.dtype(np.uint16), (0, 4))
    assert np.array_equal(view.ravel(), np.arange(24))
    assert np.shares_memory(view, slot.out)


def test_a_slot_is_made_once_for_a_shape():
    """The same shape: the same slot; another shape: another, over the same memory."""
    block = Block(np.empty(1000, np.uint8))
    slot = block.slot((5, 10, 10), UINT8)
    assert block.slot((5, 10, 10), UINT8) is slot
    other = block.slot((2, 10, 10), UINT8)
    assert other is not slot
    assert np.shares_memory(other.out, slot.out)
    assert block.slot((5, 10, 10), UINT8).out.shape == (5, 10, 10)


def test_only_a_few_free_blocks_are_kept():
    """Many batches dropped at once do not stay in memory for ever."""
    pool = Pool()
    views = [lent(pool)[1] for _ in range(3 * KEPT_BLOCKS)]
    views.clear()
    assert pool.free == KEPT_BLOCKS


def test_lending_the_same_block_twice_in_a_row():
    """Each loan ends on its own: bookkeeping by the identity of a view survives that identity being used again."""
    pool = Pool()
    seen = set()
    for _ in range(200):
        block, view = lent(pool)
        seen.add(id(block))
        del block, view
    assert len(seen) == 1
    assert pool.free == 1


def test_a_block_of_several_batches_comes_back_with_the_last_of_them():
    """Each view is its own images, in whatever order they die; one that is kept keeps the others' memory away too."""
    for order in ((0, 1, 2), (2, 0, 1), (1, 2, 0)):
        pool = Pool()
        block = pool.block(60)
        views = dict(enumerate(pool.lend(block, (6, 10), UINT8, (0, 1, 4, 6))))
        block.raw[:60] = np.arange(60)
        assert [view.shape for view in views.values()] == [(1, 10), (3, 10), (2, 10)]
        assert np.array_equal(np.concatenate([view.ravel() for view in views.values()]), np.arange(60))
        tensors = {k: torch.from_numpy(views.pop(k)) for k in order}
        for k in order:
            assert pool.free == 0
            assert tensors[k].untyped_storage().nbytes() == tensors[k].numel()  # what is saved of it is its own
            del tensors[k]
        assert pool.free == 1


def test_threads_never_share_a_block():
    """Threads that take, fill, check and drop blocks: none ever sees another's bytes."""
    pool = Pool()
    wrong = []

    def work(value):
        rng = np.random.default_rng(value)
        kept = []
        for _ in range(300):
            _, view = lent(pool, 64)
            view[:] = value
            kept.append(torch.from_numpy(view))
            del view
            while len(kept) > rng.integers(0, 6):
                tensor = kept.pop(0)
                if not bool((tensor == value).all()):
                    wrong.append(value)

    threads = [threading.Thread(target=work, args=(value,)) for value in range(1, 7)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert wrong == []
