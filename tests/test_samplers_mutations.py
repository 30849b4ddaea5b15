"""The properties of plans can fail: each of `sampler_faults`, put into the library, is found by one of them."""

import functools
import inspect

import numpy as np
import pytest
import sampler_faults as faults
import sampler_properties as properties
from loading import NumberReader

from resload import Loader
from resload.samplers import BlockShuffle, Cycle, Fixed, Groups, Images, Mix, Pixels, Sampler, Scales, Weighted


def plan(n=103, **options):
    """Makes samplers of one plan: unless asked otherwise, 6 steps of 16 images, and 7 images left over."""
    return functools.partial(Sampler, n, **{"sizes": Fixed(32), "budget": Images(16)} | options)


EXAMS = [row // 3 for row in range(103)]
BUCKETS = [int(row % 4 == 0) for row in range(103)]
BUDGET, TWO_SCALES = Pixels(20, at=64), (64, 32)

PLAIN = plan()
EXACT = plan(tail="exact")
PADDED = plan(tail="pad")
BLOCKS = plan(tail="exact", order=BlockShuffle(8, 2))
BUCKETED = plan(tail="exact", buckets=BUCKETS)
MIXED = plan(600, sizes=Mix((32, 48, 64)), budget=BUDGET)
CYCLED = plan(sizes=Cycle(32, 64))
THREE_TO_ONE = Mix({32: 3, 64: 1}, share_of="steps")
OF_STEPS = plan(800, sizes=THREE_TO_ONE)
OF_IMAGES = plan(2000, sizes=Mix((32, 64)), budget=BUDGET)
STREAM = plan(sizes=THREE_TO_ONE, budget=BUDGET, granule=1, epoch_steps=5)
LONG_STREAM = plan(sizes=THREE_TO_ONE, budget=BUDGET, granule=1, epoch_steps=80)
SCALES = plan(sizes=Scales(*TWO_SCALES), budget=Pixels(20, at=64))
WHOLE_EXAMS = plan(tail="exact", order=Groups(EXAMS, max=3), budget=Images(15))
FULL_EXAMS = plan(order=Groups(EXAMS, max=3), budget=Images(18))


def seeded(seed):
    return Sampler(600, sizes=Fixed(32), budget=Images(100), seed=seed)


def weighted(**place):
    return Sampler(48, order=Weighted(), sizes=Fixed(32), budget=Images(16), **place)


def other_rows(middle):
    """A plan over 3,000 rows, one of which numpy does not print."""
    rows = np.arange(3000)
    rows[1500] = middle
    return plan(4000, rows=rows, budget=Images(1000))


class OtherNumbers(NumberReader):
    """The same films with other pixels."""

    def digest(self):
        return "other numbers"


def other_films(n):
    """As many films with other ids."""
    reader = NumberReader(n)
    reader.table["id"] = [f"other {name}" for name in reader.table["id"]]
    return reader


def loads(reader=None, **options):
    """A loader of 7 batches of 4 over all processes, the last of 2."""
    reader = NumberReader(26) if reader is None else reader
    sampler = Sampler(reader, sizes=Fixed(4), budget=Images(4), tail="exact", **options)
    return Loader(reader, sampler=sampler, threads=2)


def prefetching(prefetch=2):
    return Loader(NumberReader(24), size=4, batch_size=4, shuffle=True, prefetch=prefetch, threads=2)


def transforming(transform):
    return Loader(NumberReader(24), size=[4, 8], batch_size=4, shuffle=True, transform=transform, threads=2)


def beside_others(sampler):
    return Loader(NumberReader(24), sampler=sampler)


def of_ids(reader):
    return functools.partial(Sampler, reader, sizes=Fixed(4), budget=Images(4))


OTHERS = Sampler(other_films(24), sizes=Fixed(4), budget=Images(4))
NUMPY_PRINTS = [other_rows(1500), other_rows(3999)]
SELECTIONS = [of_ids(NumberReader(24)), of_ids(other_films(24))]
PIXELS = [functools.partial(loads, NumberReader(26)), functools.partial(loads, OtherNumbers(26))]
SEEDS = [plan(seed=1), plan(seed=2)]

FAULTS = [
    # position
    (faults.set_epoch_always_begins_anew, properties.resumed_cursor_is_kept, PLAIN),
    (faults.set_epoch_always_begins_anew, properties.resumes_on_any_world, PLAIN, [(2, 3)], {"told_epoch": True}),
    (faults.set_epoch_keeps_the_step, properties.another_epoch_begins_at_its_beginning, PLAIN),
    (faults.set_epoch_is_not_heard, properties.another_epoch_begins_at_its_beginning, PLAIN),
    (faults.epochs_do_not_end, properties.epochs_follow_each_other, PLAIN),
    (faults.epochs_do_not_end, properties.resumes_on_any_world, PLAIN, [(2, 6)]),
    (faults.epochs_end_when_asked_for_more, properties.epochs_follow_each_other, PLAIN),
    (faults.epochs_repeat, properties.epochs_follow_each_other, PLAIN),
    (faults.the_cursor_is_read_with_iter, properties.cursor_is_read_at_the_first_step, PLAIN),
    (faults.the_cursor_is_read_with_iter, properties.resumes_on_any_world, PLAIN, [(2, 8)], {"told_epoch": True}),
    (faults.the_loaders_cursor_is_read_with_iter, properties.loaders_go_on_from_a_position, prefetching),
    (faults.left_loops_go_on, properties.a_loop_left_early_has_ended_its_epoch, PLAIN),
    (faults.left_loops_repeat_their_epoch, properties.a_loop_left_early_has_ended_its_epoch, PLAIN),
    (faults.resuming_forgets_the_epoch, properties.resumes_on_any_world, PLAIN, [(2, 8)]),
    (faults.resuming_forgets_the_step, properties.resumes_on_any_world, PLAIN, [(2, 3)]),
    (faults.sizes_begin_anew_when_resumed, properties.resumes_on_any_world, CYCLED, [(2, 1)]),
    (faults.draws_begin_anew_when_resumed, properties.resumes_on_any_world, PLAIN, [(2, 3)]),
    (faults.views_share_a_cursor, properties.views_have_cursors_of_their_own, PLAIN),
    (faults.loaders_say_what_is_prefetched, properties.loaders_report_the_consumers_position, prefetching, 2),
    # lengths
    (faults.length_is_what_is_left, properties.lengths_are_constant, PLAIN, 2, 2),
    (faults.length_counts_all_processes, properties.lengths_are_constant, PLAIN, 2, 2),
    (faults.total_is_of_images, properties.lengths_are_constant, PLAIN, 2, 2),
    # randomness
    (faults.the_order_is_numpys, properties.plans_are_pure, PLAIN, range(3)),
    (faults.the_order_seeds_numpy, properties.plans_are_pure, PLAIN, range(3)),
    (faults.the_order_goes_on, properties.plans_are_pure, PLAIN, range(3)),
    (faults.draws_are_pythons, properties.plans_are_pure, PLAIN, range(3)),
    (faults.the_order_of_sizes_is_torchs, properties.plans_are_pure, OF_STEPS, range(3)),
    (faults.seed_and_epoch_are_added, properties.epochs_and_seeds_are_independent, seeded, 600),
    (faults.epochs_are_alike, properties.epochs_and_seeds_are_independent, seeded, 600),
    (faults.seeds_are_alike, properties.epochs_and_seeds_are_independent, seeded, 600),
    (faults.draws_repeat_with_every_step, properties.epochs_and_seeds_are_independent, seeded, 600),
    (faults.scales_draw_for_themselves, properties.scales_share_images_and_draws, SCALES, 1),
    (faults.transforms_draw_by_size, properties.transforms_draw_as_planned, transforming),
    # processes
    (faults.processes_bucket_for_themselves, properties.parts_make_up_steps, BUCKETED, 1, 2),
    (faults.processes_bucket_for_themselves, properties.lengths_are_constant, BUCKETED, 2, 2),
    (faults.processes_draw_sizes, properties.parts_make_up_steps, MIXED, 1, 2),
    (faults.processes_draw_sizes, properties.resumes_on_any_world, MIXED, [(4, 3)]),
    (faults.processes_draw_augmentation, properties.parts_make_up_steps, PLAIN, 1, 2),
    (faults.processes_draw_augmentation, properties.resumes_on_any_world, PLAIN, [(2, 3)]),
    (faults.processes_augment_alike, properties.parts_make_up_steps, PLAIN, 1, 2),
    (faults.parts_overlap, properties.parts_make_up_steps, PLAIN, 1, 2),
    (faults.parts_overlap, properties.evaluation_counts_each_once, EXACT, 1, 8),
    (faults.parts_are_strided, properties.parts_make_up_steps, EXACT, 1, 3),
    (faults.parts_wrap_around, properties.evaluation_counts_each_once, EXACT, 1, 3),
    (faults.parts_wrap_around, properties.parts_make_up_steps, EXACT, 1, 3),
    (faults.parts_are_uneven, properties.parts_make_up_steps, EXACT, 1, 2),
    (faults.parts_divide_exams, properties.parts_make_up_steps, WHOLE_EXAMS, 1, 2),
    (faults.parts_divide_exams, properties.exams_stay_whole, WHOLE_EXAMS, 1, 2, EXAMS),
    (faults.exams_are_dealt_out_in_turn, properties.exams_stay_whole, FULL_EXAMS, 1, 2, EXAMS),
    (faults.processes_come_one_after_another, properties.interleaved_is_what_processes_are_given, PLAIN, 1, 2),
    # coverage and tails
    (faults.rows_are_drawn_with_replacement, properties.every_row_once, PLAIN, 1),
    (faults.the_last_block_is_lost, properties.every_row_once, BLOCKS, 1),
    (faults.the_same_rows_are_dropped, properties.dropped_rows_change, PLAIN, 6),
    (faults.exact_tails_are_dropped, properties.every_row_once, EXACT, 1),
    (faults.exact_tails_are_dropped, properties.every_row_once, BUCKETED, 1, {"lanes": 2}),
    (faults.exact_tails_are_dropped, properties.evaluation_counts_each_once, EXACT, 1, 2),
    (faults.tails_are_filled_with_one_image, properties.padding_is_others, PADDED, 1),
    (faults.tails_are_filled_with_one_image, properties.every_row_once, PADDED, 1),
    (faults.padding_is_valid, properties.loaders_count_each_row_once, loads, 4),
    (faults.parts_wrap_around, properties.loaders_count_each_row_once, loads, 4),
    (faults.padding_counts, properties.images_are_counted, WHOLE_EXAMS, 1, 2),
    (faults.parts_count_themselves, properties.images_are_counted, EXACT, 1, 2),
    # budgets and sizes
    (faults.the_granule_is_ignored, properties.budgets_are_kept, MIXED, 1, BUDGET, 4),
    (faults.budgets_are_rounded_up, properties.budgets_are_kept, MIXED, 1, BUDGET, 4),
    (faults.budgets_count_exams, properties.budgets_are_kept, FULL_EXAMS, 1, Images(18), 2),
    (faults.several_scales_cost_one, properties.budgets_are_kept, SCALES, 1, lambda _: 16, 4),
    (faults.mixes_draw_each_step, properties.shares_are_exact, OF_STEPS, 1, {(32, 32): 3, (64, 64): 1}),
    (faults.mixes_draw_each_step, properties.shares_are_exact, LONG_STREAM, 1, {(32, 32): 3, (64, 64): 1}),
    (faults.shares_are_always_of_steps, properties.shares_are_exact, OF_IMAGES, 1, {(32, 32): 1, (64, 64): 4}),
    (faults.buckets_are_ignored, properties.steps_are_homogeneous, BUCKETED, 1, BUCKETS),
    (faults.streams_begin_anew, properties.streams_lose_nothing, STREAM, 6),
    (faults.streams_skip_to_the_next_pass, properties.streams_lose_nothing, STREAM, 6),
    (faults.steps_lack_their_scales, properties.scales_of_steps, SCALES, 1),
    # refusals and what is saved
    (faults.selections_are_not_checked, properties.another_selection_is_refused, beside_others, OTHERS),
    (faults.selections_have_no_digest, properties.another_plan_refuses_a_position, SELECTIONS),
    (faults.arrays_are_described_as_printed, properties.another_plan_refuses_a_position, NUMPY_PRINTS),
    (faults.loaders_forget_their_data, properties.another_plan_refuses_a_position, PIXELS),
    (faults.seeds_are_not_in_the_fingerprint, properties.another_plan_refuses_a_position, SEEDS),
    (faults.updates_act_at_once, properties.updates_wait_for_their_epoch, weighted),
    (faults.updates_are_not_resumed, properties.updates_wait_for_their_epoch, weighted),
]  # fmt: skip
"""(fault, the property that finds it, what the property is asked with); a mapping at the end holds keywords."""


def name_of(row):
    return f"{row[0].__name__}-{row[1].__name__}"


def hold(check, *asked):
    """Ask whether a property holds."""
    named = asked[-1] if isinstance(asked[-1], dict) and all(isinstance(key, str) for key in asked[-1]) else {}
    check(*(asked[:-1] if named else asked), **named)


@pytest.mark.parametrize(("fault", "check", "asked"), [(*row[:2], row[2:]) for row in FAULTS], ids=map(name_of, FAULTS))
def test_faults_are_found(fault, check, asked, monkeypatch):
    """Without the fault the property holds; with it, the property itself says that it does not."""
    hold(check, *asked)
    fault(monkeypatch)
    with pytest.raises(AssertionError) as found:
        hold(check, *asked)
    frames = [entry.frame.code.name for entry in found.traceback if entry.path.name == "sampler_properties.py"]
    assert frames[0] == check.__name__
    assert found.traceback[-1].path.name == "sampler_properties.py"  # no assertion of the library's own
    monkeypatch.undo()
    hold(check, *asked)


def functions_of(module, first):
    """A module's own public functions whose first argument begins like this."""
    found = inspect.getmembers(module, inspect.isfunction)
    return {
        name
        for name, function in found
        if function.__module__ == module.__name__ and not name.startswith("_")
        if next(iter(inspect.signature(function).parameters), "").startswith(first)
    }


def test_every_property_finds_a_fault():
    """A property that no fault breaks may be one that cannot fail: give each at least one."""
    found = {check.__name__ for _, check, *_ in FAULTS}
    assert functions_of(properties, "make") - {"make_at"} == found


def test_every_fault_is_put_in():
    """None is written and then forgotten."""
    assert functions_of(faults, "patch") == {fault.__name__ for fault, *_ in FAULTS}
