"""Sizes and budgets: published schedules against plain restatements of their sources, and what a step then holds.

The restatements are written from the sources that each names, for the numbers that they print.
"""

import itertools
import math
import random
import warnings
from fractions import Fraction

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from resload import Loader
from resload.errors import ArgumentError, SizeError
from resload.samplers import (
    Cycle,
    Fixed,
    Images,
    Mix,
    PerTarget,
    Pixels,
    Ramp,
    Sampler,
    Scales,
    Sequential,
    Shuffle,
    Stages,
    Tokens,
)  # fmt: skip
from resload.samplers.described import described
from resload.samplers.sizes import declared, of_epoch
from resload.size import Size, as_size

CHESTXRAY14 = 112_120
"""Films of the data set that samplers are sized for (Wang et al., arXiv 1705.02315)."""


def sampler(n=1000, **options):
    """Steps of 8 films of 64 x 64, unless asked otherwise."""
    return Sampler(n, **{"sizes": Fixed(64), "budget": Images(8), "seed": 3} | options)


def side(rule, epoch, step=0):
    """The side of the square that a rule gives."""
    size = as_size(rule.at(step, epoch=epoch))
    assert size.height == size.width
    return size.height


def sides(one, epoch):
    """(side, films) of each step that a sampler plans."""
    return [(step.size.height, len(step)) for step in one.steps(epoch)]


# -- published schedules ---------------------------------------------------------------------------------


def ffcv_resolution(epoch, min_res, max_res, end_ramp, start_ramp):
    """libffcv/ffcv-imagenet, train_imagenet.py, get_resolution."""
    if epoch <= start_ramp:
        return min_res
    if epoch >= end_ramp:
        return max_res
    between = np.interp([epoch], [start_ramp, end_ramp], [min_res, max_res])
    return int(np.round(between[0] / 32)) * 32


@pytest.mark.parametrize(
    ("epochs", "start", "end"), [(16, 11, 13), (24, 17, 20), (32, 23, 27), (40, 29, 34), (56, 41, 48), (88, 65, 76)]
)
def test_ffcv_ramps(epochs, start, end):
    """libffcv/ffcv-imagenet, rn50_configs/rn50_{16 .. 88}_epochs.yaml: min_res 160, max_res 192, start and end_ramp."""
    ramp = Ramp(160, 192, start=start, end=end)
    assert [side(ramp, epoch) for epoch in range(epochs)] == [
        ffcv_resolution(epoch, 160, 192, end, start) for epoch in range(epochs)
    ]
    planned = sampler(160, sizes=ramp, budget=Images(64))
    assert [sides(planned, epoch) for epoch in (0, start, end, epochs)] == [
        [(160, 64)] * 2, [(160, 64)] * 2, [(192, 64)] * 2, [(192, 64)] * 2,
    ]  # fmt: skip


@settings(max_examples=200, deadline=None)
@given(st.integers(1, 16), st.integers(0, 16), st.integers(0, 30), st.integers(1, 30), st.integers(0, 70))
def test_ramps_are_ffcvs_between_any_multiples_of_32(low, more, start, length, epoch):
    """For any configuration of FFCV's whose sizes are multiples of 32, in any epoch that falls on no tie."""
    low, high = 32 * low, 32 * (low + more)
    at = Fraction(epoch - start, length) * Fraction(high - low, 32)
    if at % 1 == Fraction(1, 2):
        return  # floats decide ties in FFCV's; whole numbers do here
    found = side(Ramp(low, high, start=start, end=start + length), epoch)
    assert found == ffcv_resolution(epoch, low, high, start + length, start)


def test_ramps_of_rectangles():
    """Each side for itself, in multiples, never beyond the ends, which stay as they are given."""
    ramp = Ramp((500, 410), (1000, 830), start=1, end=11, multiple=64)
    found = [ramp.at(0, epoch=epoch) for epoch in range(13)]
    assert found[0] == found[1] == (500, 410)
    assert found[11] == found[12] == (1000, 830)
    for epoch in range(2, 11):
        line = [a + (b - a) * (epoch - 1) / 10 for a, b in ((500, 1000), (410, 830))]
        assert all(abs(side - at) <= 32 for side, at in zip(found[epoch], line, strict=True))
        assert all(side % 64 == 0 or side in (1000, 830) for side in found[epoch])
    assert list(ramp.sizes) == list(dict.fromkeys(found))
    assert found == sorted(found)


def test_progressive_resizing():
    """fastbook, chapter 7: get_dls(128, 128), fit_one_cycle(4); then get_dls(64, 224), fine_tune(5), one epoch frozen
    and five not. The batch sizes are a table of one's own."""
    batch = {Size(128, 128): 128, Size(224, 224): 64}
    plan = sampler(1280, sizes=Stages((128, 4), (224, 6)), budget=batch.__getitem__, epoch_steps=10)
    assert [set(sides(plan, epoch)) for epoch in range(11)] == [{(128, 128)}] * 4 + [{(224, 64)}] * 7


def test_fixres():
    """Touvron et al., arXiv 1906.06423, ResNet-50: train at 128, fine-tune at the test's 224."""
    rule = Stages((128, 90), 224)
    assert [side(rule, epoch) for epoch in (0, 89, 90, 99)] == [128, 128, 224, 224]
    assert rule.epochs == 91


def efficientnetv2_size(step, steps, ibase, isize, stages=4):
    """google/automl, efficientnetv2/main.py: stage k trains to step int((k + 1) / stages * steps)."""
    for stage in range(stages):
        ratio = float(stage + 1) / float(stages)
        if step < int(ratio * steps):
            return int(ibase + (isize - ibase) * ratio)
    raise AssertionError("past the end")


@pytest.mark.parametrize(("low", "high", "multiple"), [(171, 300, 1), (192, 384, 32)], ids=["S", "M and L"])
def test_efficientnetv2_as_released(low, high, multiple):
    """google/automl: effnetv2_configs.py trains S to 300, M and L to 384, in 4 stages; hparams.py: ibase 128, 350
    epochs. A stage that begins within an epoch begins with that epoch here."""
    rule = Stages.linear(low, high, stages=4, epochs=350, multiple=multiple)
    per_epoch, straddled = 312, 0
    for epoch in range(350):
        first, last = (efficientnetv2_size(step, 350 * per_epoch, 128, high) for step in (
            epoch * per_epoch, (epoch + 1) * per_epoch - 1
        ))  # fmt: skip
        straddled += first != last
        assert side(rule, epoch) == last
    assert straddled == 2  # epochs 87 and 262


@pytest.mark.parametrize("high", [300, 380], ids=["S", "M and L"])
def test_efficientnetv2_in_the_paper(high):
    """Tan and Le, arXiv 2104.00298, algorithm 1 and table 6: 128 to 300 or 380, S_i = S_0 + (S_e - S_0) i / (M - 1)."""
    rule = Stages.linear(128, high, stages=4, epochs=348, multiple=1)
    assert [side(rule, 87 * i + k) for i in range(4) for k in (0, 86)] == [
        round(128 + (high - 128) * i / 3) for i in range(4) for _ in range(2)
    ]
    rounded = Stages.linear(128, 384, stages=5, epochs=50)
    assert [size.height for size in rounded.sizes] == [128, 192, 256, 320, 384]


def multigrid_long_cycle():
    """facebookresearch/SlowFast, slowfast/utils/multigrid.py, get_long_cycle_schedule, for SLOWFAST_8x8_R50_stepwise_
    multigrid.yaml and the defaults of defaults.py: [(crop size, epoch in which it ends)]."""
    steps, max_epoch, frames, crop = [0, 94, 154, 196], 239, 32, 224
    short, long = (0.5, 0.5**0.5), [(0.25, 0.5**0.5), (0.5, 0.5**0.5), (0.5, 1), (1, 1)]
    average, crops = [], []
    for t_factor, s_factor in long:
        base_t, base_s = round(frames * t_factor), round(crop * s_factor)
        shapes = [crop * short[0], crop * short[1], base_s]
        average.append(np.mean([round(frames * crop**2 / (base_t * s * s)) for s in shapes]))
        crops.append(base_s)
    schedule, total_iterations = [], 0.0
    for first, last in itertools.pairwise(steps):
        for base_s, mean in zip(crops, average, strict=True):
            epochs = (last - first) * mean / sum(average)
            total_iterations += epochs / mean
            schedule.append((base_s, epochs))
    saving = steps[-1] / total_iterations
    schedule.append((crops[-1], (max_epoch - steps[-1]) / saving * average[-1]))
    stretch = max_epoch * 1.5 / sum(epochs for _, epochs in schedule)
    ends = np.cumsum([epochs * stretch for _, epochs in schedule])
    return [(base_s, round(end)) for (base_s, _), end in zip(schedule, ends, strict=True)]


def multigrid_short_cycle(base_s, batch, step, crop=224):
    """SlowFast, datasets/multigrid_helper.py (batch sizes) and datasets/kinetics.py (crop sizes)."""
    factors = (0.5, 0.5**0.5)
    if step % 3 == 2:
        return base_s, batch
    times = round((base_s / (factors[step % 3] * crop)) ** 2)
    return round(factors[step % 3] * crop), batch * times


def test_multigrid():
    """Long cycle, short cycle and constant voxels of SlowFast's Kinetics recipe, their spatial part: the size and the
    number of images of every step of all 358 epochs."""
    low, full = Cycle(112, 158, 158), Cycle(112, 158, 224)
    rule = Stages((low, 110), (full, 48), (low, 70), (full, 31), (low, 49), full)
    budget, published = Pixels(64, at=224), multigrid_long_cycle()
    assert published[-1] == (224, 358)
    for epoch in range(358):
        base_s = next(size for size, end in published if epoch < end)
        batch = 64 * round((224 / base_s) ** 2)  # update_long_cycle, of images: one frame
        for step in range(7):
            found = rule.at(step, epoch=epoch)
            assert (found.height, budget(found) // 8 * 8) == multigrid_short_cycle(base_s, batch, step)
    planned = sampler(5000, sizes=rule, budget=budget, epoch_steps=9)
    assert sides(planned, 110) == [(112, 256), (158, 128), (224, 64)] * 3
    assert sides(planned, 109) == [(112, 256), (158, 128), (158, 128)] * 3


def cvnets_pairs(base, batch, smallest=160, largest=320, scales=5, divisor=32):
    """apple/ml-cvnets, data/sampler/utils.py, image_batch_pairs, and utils/math_utils.py, make_divisible."""
    sizes = set()
    for value in (*np.linspace(smallest, largest, scales), base):
        size = max(divisor, int(value + divisor / 2) // divisor * divisor)
        sizes.add(size if size >= 0.9 * value else size + divisor)
    return {size: max(1, int(round(base * base * batch / (size * size), 2))) for size in sizes}


def test_mobilevit():
    """ml-cvnets' variable batch sampler, of 256 px and 5 scales from 160 to 320: the same sizes and, with a granule of
    1, the same number of images; in an epoch each size equally often, where theirs are drawn."""
    sizes, budget = Mix((160, 192, 256, 288, 320), share_of="steps"), Pixels(128, at=256)
    plan = sampler(20_000, sizes=sizes, budget=budget, granule=1, epoch_steps=100)
    published = cvnets_pairs(256, 128)
    for epoch in range(3):
        found = sides(plan, epoch)
        assert dict(found) == published
        assert {size: found.count((size, n)) for size, n in published.items()} == dict.fromkeys(published, 20)
    whole = sampler(20_000, sizes=sizes, budget=budget, epoch_steps=100)
    assert dict(sides(whole, 0)) == {size: count // 8 * 8 for size, count in published.items()}


def batch_sync_random_resize(steps, sizes, interval=10):
    """open-mmlab/mmdetection, BatchSyncRandomResize: another size is drawn when (iteration + 1) % interval == 0."""
    size = sizes[0]
    for iteration in range(steps):
        yield size
        if (iteration + 1) % interval == 0:
            size = random.choice(sizes)


def changes(sizes):
    """The steps before which the size changes."""
    return {step for step, (one, two) in enumerate(itertools.pairwise(sizes), start=1) if one != two}


def test_a_new_size_every_ten_iterations():
    """mmdet's and YOLOX's interval: sizes change at multiples of ten, and each comes as often as the others."""
    published = list(batch_sync_random_resize(220, range(480, 801, 32)))
    assert {step % 10 for step in changes(published)} == {0}
    with pytest.warns(UserWarning, match="this plan has 11 different sizes"):
        plan = sampler(20_000, sizes=Mix(range(480, 801, 32), every=10), epoch_steps=220)
    for epoch in range(2):
        found = [size for size, _ in sides(plan, epoch)]
        assert {step % 10 for step in changes(found)} == {0}
        assert {size: found.count(size) for size in set(found)} == dict.fromkeys(range(480, 801, 32), 20)


@settings(max_examples=80, deadline=None)
@given(st.lists(st.integers(1, 9), min_size=1, max_size=5), st.integers(1, 7), st.integers(1, 90), st.booleans())
def test_runs_of_a_mix(shares, every, steps, whole_passes):
    """Runs of `every` steps leave each size as many steps as without; one run of each may be shorter."""
    mix = {64 * (k + 1): share for k, share in enumerate(shares)}
    options = {"n": steps * 8, "epoch_steps": None if whole_passes else steps}
    alone, runs = (sampler(sizes=Mix(mix, every=times), **options) for times in (1, every))
    found = [size for size, _ in sides(runs, 1)]
    assert sorted(found) == sorted(size for size, _ in sides(alone, 1))
    lengths = [(size, len(list(run))) for size, run in itertools.groupby(found)]
    assert len({size for size, length in lengths if length % every}) == sum(length % every > 0 for _, length in lengths)


# -- rules -----------------------------------------------------------------------------------------------


def test_cycles():
    """Sizes in turn, `every` steps each, from the first in every epoch; a size may come twice."""
    cycle = Cycle(32, 64, 32, every=2)
    assert [side(cycle, 5, step) for step in range(8)] == [32, 32, 64, 64, 32, 32, 32, 32]
    assert cycle.sizes == (Size(32, 32), Size(64, 64))
    for n, tail, steps in ((95, "drop", 11), (95, "exact", 12), (95, "pad", 12), (88, "drop", 11), (88, "exact", 11)):
        plan = sampler(n, sizes=cycle, tail=tail)
        assert [size for size, _ in sides(plan, 1)] == ([32, 32, 64, 64, 32, 32] * 2)[:steps]


@settings(max_examples=80, deadline=None)
@given(
    st.lists(st.sampled_from([32, 64, 128, 256]), min_size=1, max_size=4), st.integers(1, 3), st.integers(1, 4000),
    st.sampled_from(["drop", "exact", "pad"]),
)  # fmt: skip
def test_cycles_are_planned_as_any_rule_is(sizes, every, n, tail):
    """Without counting on the period, step by step, the same plan results."""
    cycle, budget = Cycle(*sizes, every=every), Pixels(32, at=128)

    class Plain:
        def at(self, step, *, epoch):
            return cycle.at(step, epoch=epoch)

    try:
        one = sampler(n, sizes=cycle, budget=budget, tail=tail)
    except ArgumentError:
        assert tail == "drop"
        assert n < budget(cycle.at(0, epoch=0))
        return
    two = sampler(n, sizes=Plain(), budget=budget, tail=tail)
    assert [(s.size, s.index.tolist()) for s in one.steps(1)] == [(s.size, s.index.tolist()) for s in two.steps(1)]


def test_stages_nest():
    """A rule counts epochs from the beginning of its stage; stages of stages, ramps and mixes."""
    rule = Stages((Ramp(64, 128, start=0, end=2), 4), (Stages((32, 1), Cycle(96, 64)), 3), Mix((160, 192)))
    assert [side(rule, epoch, 1) for epoch in range(9)] == [64, 96, 128, 128, 32, 64, 64, 160, 160]
    assert [size.height for size in rule.sizes] == [64, 96, 128, 32, 160, 192]
    assert rule.epochs == 8
    plan = sampler(80, sizes=rule)
    assert {size for size, _ in sides(plan, 7)} == {160, 192}
    assert Stages(64).epochs == 1
    assert Stages((64, 5), Ramp(64, 128, start=3, end=6)).epochs == 12


def test_stages_of_ones_own_rules():
    """Any object with `at`; sizes as Size, tuples, lists and strings; a pair of numbers is a size and its epochs."""

    class Alternating:
        def at(self, step, *, epoch):
            return 16 * (epoch + 1) + step % 2

    rule = Stages((Alternating(), 2), ((40, 30), 1), [[50, 60], 1], ("70x80", 1), Size(90, 100))
    found = [as_size(rule.at(1, epoch=epoch)) for epoch in range(7)]
    assert found == [Size(17, 17), Size(33, 33), (40, 30), (50, 60), (70, 80), (90, 100), (90, 100)]
    assert side(Stages((128, 64), (512, 416)), 64) == 512
    assert [step.size.height for step in sampler(17, sizes=rule, budget=Images(8)).steps(1)] == [32, 33]


def test_rules_say_all_their_sizes():
    """What `declared` finds is every size that steps have, and no other."""
    rules = [
        Fixed(64), Cycle(64, 32, 64), Mix((64, 96)), Ramp(64, 128, start=1, end=4), Stages((32, 2), (Mix((64, 96)), 1)),
        Stages.linear(32, 96, stages=3, epochs=6, multiple=16), PerTarget({"a": 32, "b": 64}), Scales(64, 32),
    ]  # fmt: skip
    for rule in rules:
        found = {
            size
            for epoch in range(8)
            for step in sampler(64, sizes=rule, tail="exact").steps(epoch)
            for size in (step.size, *step.scales)
        }
        assert found == set(declared(rule))
        assert of_epoch(rule, 0)[0].at(0, epoch=0) in found


def test_rules_show_what_makes_them_again():
    """A rule's repr is read as the rule."""
    rules = [
        Stages((64, 2), (Mix((64, (48, 96)), every=3), 2), 128),
        Stages((Cycle(64, 96), 3), Ramp(64, 96, start=0, end=2)),
        PerTarget({"a": 64, "b": (48, 96)}, default=32),
        Pixels(8, at=64, power=2),
        Tokens(8, at=64),
    ]
    names = {one.__name__: one for one in (Stages, Mix, Cycle, Ramp, Fixed, PerTarget, Pixels, Tokens, Size)}
    for rule in rules:
        assert described(eval(repr(rule), names)) == described(rule)


def test_many_sizes_are_said_aloud():
    """More than torch.compile specialises to, once for each sampler; eight are not many."""
    with pytest.warns(UserWarning, match=r"this plan has 9 different sizes \(128x128, .*recompile_limit") as found:
        one = sampler(sizes=Ramp(128, 384, start=0, end=20))
    assert len(found) == 1
    assert found[0].filename == __file__
    list(one.view(0, 1).steps(0))
    sampler(sizes=Ramp(128, 352, start=0, end=20))
    from torch._dynamo import config

    assert config.recompile_limit == 8


@pytest.mark.parametrize(
    ("make", "error", "message"),
    [
        (
            lambda: Ramp(256, 128, start=0, end=5),
            SizeError,
            "Ramp goes from a low to a high size in pixels; found 256x256",
        ),
        (lambda: Ramp((10, 20), (20, 10), start=0, end=5), SizeError, "Ramp goes from a low to a high size"),
        (lambda: Ramp(64, "native", start=0, end=5), SizeError, "in pixels; found 64x64 and native"),
        (lambda: Ramp(64, 128, start=5, end=5), ArgumentError, "starts before it ends; found start=5 and end=5"),
        (lambda: Ramp(64, 128, start=-1, end=5), ArgumentError, "start of a Ramp must be an int >= 0; found -1"),
        (lambda: Ramp(64, 128, start=0, end=5, multiple=0), ArgumentError, "multiple of a Ramp must be an int >= 1"),
        (Stages, ArgumentError, "Stages needs at least one stage"),
        (lambda: Stages(128, (256, 5)), ArgumentError, r"a stage is \(size or rule, epochs\).*; found 128"),
        (lambda: Stages(Size(64, 64), (256, 5)), ArgumentError, "a stage is .*found Size"),
        (lambda: Stages((128, 5, 6)), ArgumentError, r"a stage is .*found \(128, 5, 6\)"),
        (lambda: Stages((128, 0), 256), ArgumentError, "the epochs of a stage must be an int >= 1; found 0"),
        (lambda: Stages((Scales(64, 32), 5), 64), ArgumentError, "Scales holds for all of training"),
        (lambda: Stages((PerTarget({"a": 64}), 5), 64), ArgumentError, "PerTarget holds for all of training"),
        (lambda: Stages.linear(64, 128, stages=1, epochs=5), ArgumentError, "stages must be an int >= 2; found 1"),
        (lambda: Stages.linear(64, 128, stages=4, epochs=3), ArgumentError, "epochs must be an int >= 4; found 3"),
        (lambda: Stages.linear(128, 64, stages=4, epochs=8), SizeError, "Stages.linear goes from a low to a high"),
        (Cycle, SizeError, "Cycle needs at least one size"),
        (lambda: Cycle(64, every=0), ArgumentError, "every of a Cycle must be an int >= 1; found 0"),
        (lambda: Mix((64, 32), every=True), ArgumentError, "every of a Mix must be an int >= 1; found True"),
        (lambda: PerTarget({}), ArgumentError, "PerTarget needs targets and their sizes"),
        (lambda: PerTarget({"a": "large"}), SizeError, "a size is an int or"),
    ],
)
def test_impossible_rules_are_refused(make, error, message):
    """When they are made, with what was expected and found."""
    with pytest.raises(error, match=message):
        make()


def test_the_fingerprint_knows_sizes_and_budgets():
    """Anything that changes a step changes it; making the same rule again does not, nor do a last stage's epochs."""
    rules = [
        lambda: Ramp(64, 128, start=1, end=4), lambda: Ramp(64, 128, start=1, end=5), lambda: Cycle(64, 128),
        lambda: Ramp(64, 128, start=1, end=4, multiple=16), lambda: Cycle(64, 128, every=2), lambda: Cycle(128, 64),
        lambda: Mix((64, 128)), lambda: Mix((64, 128), every=2), lambda: Mix((64, 128), share_of="steps"),
        lambda: Stages((64, 2), 128), lambda: Stages((64, 3), 128), lambda: Stages((64, 2), (128, 2), 64),
        lambda: PerTarget({"a": 64, "b": 128}), lambda: PerTarget({"b": 64, "a": 128}), lambda: Scales(64, 128),
    ]  # fmt: skip
    budgets = [
        Images(8), Pixels(8, at=128), Pixels(8, at=256), Pixels(8, at=128, power=2), Tokens(8, at=128),
        Tokens(8, at=128, patch=14), {Size(64, 64): 8}.__getitem__, {Size(64, 64): 16}.__getitem__,
    ]  # fmt: skip
    prints = [sampler(sizes=rule(), epoch_steps=9).fingerprint() for rule in rules]
    assert prints == [sampler(sizes=rule(), epoch_steps=9).fingerprint() for rule in rules]
    assert len(set(prints)) == len(rules)
    assert len({sampler(budget=budget).fingerprint() for budget in budgets}) == len(budgets)
    assert sampler(sizes=Stages((64, 2), (128, 7))).fingerprint() == sampler(sizes=Stages((64, 2), 128)).fingerprint()
    assert (
        sampler(sizes=PerTarget({"b": 128, "a": 64})).fingerprint()
        == sampler(sizes=PerTarget({"a": 64, "b": 128})).fingerprint()
    )


def test_sizes_that_the_data_cannot_serve_are_refused_by_the_loader(cache):
    """A later stage's too, when the Loader is made; not in the epoch that reaches it."""
    too_large = 2 * max(cache.sizes).height
    for sizes in (Stages((32, 50), (too_large, 1)), Ramp(32, too_large, start=3, end=5), Mix((32, too_large))):
        plan = Sampler(cache, sizes=sizes, budget=Images(4), epoch_steps=3)
        with pytest.raises(SizeError, match=f"{too_large}"):
            Loader(cache, sampler=plan)
    plan = Sampler(cache, sizes=Stages((32, 1), (64, 1)), budget=Images(4), epoch_steps=3)
    loader = Loader(cache, sampler=plan)
    assert [batch.size for _ in range(2) for batch in loader] == [(32, 32)] * 3 + [(64, 64)] * 3


# -- shares ----------------------------------------------------------------------------------------------


@settings(max_examples=100, deadline=None)
@given(
    st.lists(st.integers(1, 50), min_size=1, max_size=5), st.sampled_from(["images", "steps", "pixels"]),
    st.integers(2000, 9000), st.booleans(), st.integers(0, 3),
)  # fmt: skip
def test_shares_are_exact_to_a_step(shares, share_of, n, whole_passes, epoch):
    """Of every epoch, and of images, steps or pixels, whichever the shares are of."""
    weights = {as_size(64 * (k + 2)): share for k, share in enumerate(shares)}
    plan = sampler(
        n, sizes=Mix(weights, share_of=share_of), budget=Pixels(16, at=256), granule=2,
        epoch_steps=None if whole_passes else 60,
    )  # fmt: skip
    found = [(step.size, len(step)) for step in plan.steps(epoch)]
    images = {size: Pixels(16, at=256)(size) // 2 * 2 for size in weights}
    worth = {"images": lambda s: images[s], "steps": lambda s: 1, "pixels": lambda s: images[s] * s.pixels}[share_of]
    ratio = {size: share / worth(size) for size, share in weights.items()}
    if whole_passes:
        scale = n / sum(ratio[size] * images[size] for size in weights)
        left = n - sum(count for _, count in found)
        assert 0 <= left < max(images.values())
    else:
        scale = 60 / sum(ratio.values())
        assert len(found) == 60
    for size in weights:
        assert abs(found.count((size, images[size])) - ratio[size] * scale) < 1 + 1e-6


def test_sizes_come_in_an_order_of_their_own():
    """Each epoch has as many of each size, in another order, which does not follow the rows'."""
    plan = sampler(4000, sizes=Mix((64, 96, 128)))
    orders = [[size for size, _ in sides(plan, epoch)] for epoch in range(4)]
    assert len({str(sorted(order)) for order in orders}) == 1
    assert len({str(order) for order in orders}) == 4
    rows = [np.concatenate([step.index for step in one.steps(0)]).tolist() for one in (plan, sampler(4000))]
    assert rows[0] == rows[1]


# -- budgets ---------------------------------------------------------------------------------------------

some_sizes = st.builds(Size, st.integers(1, 4000), st.integers(1, 4000))


@settings(max_examples=200, deadline=None)
@given(st.integers(1, 2000), some_sizes, st.lists(some_sizes, min_size=1, max_size=3), st.sampled_from([1, 1.0, 2, 3]))
def test_pixels_fill_their_budget(count, at, scales, power):
    """As many images as fit, and not one more: exactly, at whole powers, of one size or several at once."""
    budget, power = Pixels(count, at, power), int(power)
    cost, whole = sum(size.pixels**power for size in scales), count * at.pixels**power
    found = budget.at_once(scales)
    assert found * cost <= whole < (found + 1) * cost
    assert budget(at) == budget.reference == count
    assert budget(scales[0]) == budget.at_once(scales[:1])


@settings(max_examples=200, deadline=None)
@given(st.integers(1, 2000), some_sizes, some_sizes, st.floats(0.1, 3))
def test_powers_between(count, at, size, power):
    """Any power: within rounding of the definition, which is met exactly where it is whole."""
    ideal = count * (at.pixels / size.pixels) ** power
    assert ideal * (1 - 1e-11) - 1 < Pixels(count, at, power)(size) <= ideal * (1 + 1e-11)
    assert Pixels(count, at, power)(at) == count


@settings(max_examples=200, deadline=None)
@given(st.integers(1, 2000), some_sizes, st.lists(some_sizes, min_size=1, max_size=3), st.integers(1, 40))
def test_tokens_fill_their_budget(count, at, scales, patch):
    """As many images as have no more patches than `count` at size `at`; a started patch is one."""
    budget = Tokens(count, at, patch)

    def patches(size):
        return math.ceil(Fraction(size.height, patch)) * math.ceil(Fraction(size.width, patch))

    found, each = budget.at_once(scales), sum(map(patches, scales))
    assert found * each <= count * patches(at) < (found + 1) * each
    assert budget(at) == budget.reference == count


def test_budgets_as_their_docstrings_have_them():
    """The numbers that are shown."""
    sizes = [as_size(side) for side in (256, 512, 768)]
    assert [Pixels(256, at=512)(size) for size in sizes] == [1024, 256, 113]
    assert [Pixels(256, at=512, power=1.5)(size) for size in sizes] == [2048, 256, 75]
    tokens = Tokens(256, at=224)
    assert (256 * tokens.of(224), tokens(as_size(384))) == (50_176, 87)
    assert Tokens(64, at=(518, 1036), patch=14).of((519, 1036)) == 38 * 74


@pytest.mark.parametrize("share_of", ["images", "steps", "pixels"])
@pytest.mark.parametrize("epoch_steps", [None, 126])
def test_chestxray14_uses_its_budget(share_of, epoch_steps):
    """112,120 films at four sizes under constant pixels: at every step within the budget, and at least 98 % of it."""
    plan = Sampler(
        CHESTXRAY14, sizes=Mix((256, 384, 512, 768), share_of=share_of), budget=Pixels(256, at=512), granule=8,
        epoch_steps=epoch_steps,
    )  # fmt: skip
    budget = 256 * 512 * 512
    for epoch in (0, 5):
        steps = list(plan.steps(epoch))
        used = np.array([len(step) * step.size.pixels / budget for step in steps])
        assert len(steps) == len(plan)
        assert 0.98 <= used.min() <= used.max() <= 1
        assert {len(step) % 8 for step in steps} == {0}
        assert {step.n_ref for step in steps} == {256}


def test_scales_under_constant_pixels():
    """Images that come at several sizes cost all of them together, whichever is named first."""
    budget = Pixels(256, at=512)
    for scales in ((224, 512), (512, 224)):
        plan = sampler(5000, sizes=Scales(*scales), budget=budget)
        fitting = 256 * 512**2 // (512**2 + 224**2) // 8 * 8
        assert {(step.size.height, len(step)) for step in plan.steps(0)} == {(scales[0], fitting)}
        assert {step.n_ref for step in plan.steps(0)} == {256}


def test_a_budget_of_ones_own():
    """Any function of the size; the sizes of steps are what it is asked for."""
    plan = sampler(500, sizes=Cycle(64, (32, 96)), budget=lambda size: 1024 // size.height, granule=1)
    assert {(step.size, len(step)) for step in plan.steps(0)} == {((64, 64), 16), ((32, 96), 32)}


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Pixels(0, at=64), "a batch needs an int >= 1 of images; found 0"),
        (lambda: Pixels(8, at=64, power=0), "the power of Pixels must be a number > 0; found 0"),
        (lambda: Pixels(8, at=64, power=math.inf), "the power of Pixels must be a number > 0; found inf"),
        (lambda: Pixels(8, at="native"), "Pixels needs a size in pixels, and at native size films differ"),
        (lambda: Tokens(8, at="native"), "Tokens needs a size in pixels, and at native size films differ"),
        (lambda: Tokens(8, at=64, patch=0), "sides from 1 to"),
        (lambda: sampler(sizes=Fixed("native"), budget=Pixels(8, at=64)), "at native size films differ: count them"),
        (lambda: sampler(sizes=Fixed(1024), budget=Pixels(4, at=256)), "an int >= 1 of images at every size; found 0"),
        (
            lambda: sampler(sizes=Stages((64, 90), 512), budget=Pixels(32, at=64), epoch_steps=9),
            "found 0 at 512x512",
        ),
        (
            lambda: sampler(sizes=Stages((64, 90), 96), budget=Pixels(16, at=64), epoch_steps=9),
            "the budget gives 7 images at 96x96, less than a granule of 8 images: give more, or a smaller granule=",
        ),
    ],
)
def test_impossible_budgets_are_refused(make, message):
    """When the budget or the sampler is made, sizes of later epochs included."""
    with pytest.raises(ArgumentError, match=message):
        make()


# -- epochs of one length --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "rule",
    [
        Ramp(64, 128, start=1, end=4),
        Stages((64, 2), (Mix((64, 96)), 2), 128),
        Stages((Cycle(64, 96), 3), (Cycle(64, 96, 128), 1)),
        Stages.linear(64, 128, stages=3, epochs=5),
    ],
    ids=repr,
)
def test_epochs_of_one_length_under_constant_pixels(rule):
    """epoch_steps steps in every epoch, cut from one stream: passes over all rows follow each other without gap or
    repetition, whatever the sizes, and any epoch can be entered without those before it."""
    plan = sampler(300, sizes=rule, budget=Pixels(16, at=128), epoch_steps=7)
    epochs = [list(plan.steps(epoch)) for epoch in range(9)]
    assert {len(epoch) for epoch in epochs} == {len(plan)} == {7}
    assert len({sum(map(len, epoch)) for epoch in epochs}) > 1
    stream = np.concatenate([step.index for epoch in epochs for step in epoch])
    passes = [stream[k : k + 300].tolist() for k in range(0, len(stream) - 299, 300)]
    assert len(passes) >= 4
    assert all(sorted(one) == list(range(300)) for one in passes)
    assert len({str(one) for one in passes}) == len(passes)
    fresh = sampler(300, sizes=rule, budget=Pixels(16, at=128), epoch_steps=7)
    for epoch in (8, 3):
        assert [(step.size, step.index.tolist()) for step in fresh.steps(epoch)] == [
            (step.size, step.index.tolist()) for step in epochs[epoch]
        ]


def test_epochs_of_several_lengths_are_refused():
    """With the epoch, both lengths and the remedy; not where the number of images stays."""
    with pytest.raises(ArgumentError, match=r"epoch 2 would have 56 steps, epoch 0 has 14: .* Set epoch_steps=, for"):
        sampler(900, sizes=Stages((64, 2), 128), budget=Pixels(16, at=128))
    with pytest.raises(ArgumentError, match="epoch 1 would have"):
        sampler(900, sizes=Ramp(64, 128, start=0, end=2), budget=Pixels(16, at=128))
    assert len(sampler(900, sizes=Stages((64, 2), 128), budget=Images(16))) == 56


# -- buckets ---------------------------------------------------------------------------------------------

BUCKETS = np.repeat(["tall", "wide", "rare"], [600, 250, 5])[np.random.default_rng(0).permutation(855)]


def of_one_bucket(step):
    """The bucket of a step, which must be one."""
    (found,) = set(BUCKETS[step.index])
    return found


@pytest.mark.parametrize("tail", ["exact", "pad"])
def test_buckets(tail):
    """Steps are of one bucket; every row is served, once ("exact") or filled up from its own bucket ("pad")."""
    plan = sampler(855, buckets=BUCKETS, tail=tail)
    for epoch in range(3):
        steps = list(plan.steps(epoch))
        assert {of_one_bucket(step) for step in steps} == {"tall", "wide", "rare"}
        served = np.concatenate([step.index for step in steps])
        assert set(served.tolist()) == set(range(855))
        assert len(served) == (855 if tail == "exact" else 75 * 8 + 32 * 8 + 8)
        assert len(steps) == len(plan) == 75 + 32 + 1


def test_buckets_smaller_than_a_step_are_said_aloud():
    """Rows that no epoch would serve, when the sampler is made; the others lose less than a step of each bucket."""
    message = "1 of 3 buckets are smaller than a step: their 5 images or exams are never served"
    with pytest.warns(UserWarning, match=message) as found:
        plan = sampler(855, buckets=BUCKETS)
    assert [one.filename for one in found] == [__file__]
    for epoch in range(3):
        steps = list(plan.steps(epoch))
        assert [of_one_bucket(step) for step in steps].count("tall") == 75
        assert [of_one_bucket(step) for step in steps].count("wide") == 31
        assert len({row for step in steps for row in step.index.tolist()}) == 8 * len(steps)
    with pytest.warns(UserWarning, match="their 5 images"):
        sampler(855, buckets=BUCKETS, budget=Images(6))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        sampler(855, buckets=BUCKETS, budget=Images(5))


def test_buckets_under_a_mix_of_sizes():
    """Constant pixels need epoch_steps, and say so; each bucket is then a stream without gap or repetition, served in
    proportion to its rows, the small ones too."""
    options = {"buckets": BUCKETS, "sizes": Mix((64, 128)), "budget": Pixels(16, at=128)}
    with pytest.raises(ArgumentError, match="buckets with steps of several lengths need epoch_steps="):
        list(sampler(855, tail="exact", **options).steps(0))
    plan = sampler(855, epoch_steps=40, **options)
    streams, steps = {}, {}
    for epoch in range(60):
        for step in plan.steps(epoch):
            bucket = of_one_bucket(step)
            streams.setdefault(bucket, []).extend(step.index.tolist())
            steps[bucket] = steps.get(bucket, 0) + 1
    for bucket, stream in streams.items():
        rows = np.flatnonzero(np.equal(BUCKETS, bucket)).tolist()
        passes = [stream[k : k + len(rows)] for k in range(0, len(stream) - len(rows) + 1, len(rows))]
        assert len(passes) > 10
        assert all(sorted(one) == rows for one in passes)
        assert abs(steps[bucket] - 2400 * len(rows) / 855) < 60  # to a step of every epoch
    assert set(streams) == {"tall", "wide", "rare"}


# -- a size for each finding -----------------------------------------------------------------------------


class Films:
    """So many films, with targets."""

    def __init__(self, n, *targets):
        self.targets = targets
        self.table = pd.DataFrame({"id": [f"film {k}" for k in range(n)]})

    def __len__(self):
        return len(self.table)


TABLE = {"nodule": 512, "cardiomegaly": 256, "mass": 512}


@pytest.mark.parametrize("order", [Shuffle(), Sequential()])
def test_each_target_of_each_film_counts_once(order):
    """tail="exact": an epoch has every (film, target) once, at the target's size; every process and epoch agrees."""
    data = Films(103, "nodule", "mass", "effusion", "cardiomegaly")
    rule = PerTarget(TABLE, default=256)
    plan = Sampler(data, order=order, sizes=rule, budget=Pixels(8, at=512), tail="exact")
    for epoch in range(2):
        found = [
            (row, name, step.size.height)
            for step in plan.steps(epoch)
            for row in step.index.tolist()
            for name in plan.sizes.targets_at(step.size)
        ]
        expected = {**TABLE, "effusion": 256}
        assert sorted(found) == sorted((row, name, expected[name]) for row in range(103) for name in expected)
    assert len(plan) == math.ceil(103 / 8) + math.ceil(103 / 32)
    parts = [step.part(rank, 4) for step in plan.steps(0) for rank in range(4)]
    served = [(row, part.size) for part in parts for row in part.index.tolist() if row >= 0]
    assert len(served) == len(set(served)) == 206


def test_sizes_say_nothing_of_a_films_labels():
    """In training each film comes at each size, less than a step of each left out; other films at every epoch."""
    plan = sampler(1000, sizes=PerTarget(TABLE), budget=Pixels(32, at=512), tail="drop")
    left = []
    for epoch in range(4):
        served = {256: [], 512: []}
        for step in plan.steps(epoch):
            served[step.size.height] += step.index.tolist()
        assert {size: len(rows) for size, rows in served.items()} == {256: 896, 512: 992}
        assert all(len(set(rows)) == len(rows) for rows in served.values())
        left.append(frozenset(range(1000)) - set(served[512]))
        first = [step.size.height for step in plan.steps(epoch)][:10]
        assert set(first) == {256, 512}  # the sizes take turns
        both = set(served[256]) & set(served[512])
        assert [row for row in served[256] if row in both] != [row for row in served[512] if row in both]
    assert len(set(left)) == 4


def test_a_size_for_each_finding_in_epochs_of_any_length():
    """epoch_steps: each size is a stream of passes of its own, with as many images in the long run."""
    plan = sampler(400, sizes=PerTarget(TABLE), budget=Pixels(8, at=512), epoch_steps=30)
    served = {256: [], 512: []}
    for epoch in range(40):
        for step in plan.steps(epoch):
            served[step.size.height] += step.index.tolist()
    for rows in served.values():
        passes = [rows[k : k + 400] for k in range(0, len(rows) - 399, 400)]
        assert len(passes) >= 10
        assert all(sorted(one) == list(range(400)) for one in passes)
    assert abs(len(served[256]) / len(served[512]) - 1) < 0.1


def test_which_targets_count_where(caplog):
    """The named at their size; the others at the default, or nowhere, which is logged; none at another size."""
    data = Films(20, "nodule", "mass", "effusion", "cardiomegaly")
    options = {"budget": Images(4), "tail": "exact"}
    with caplog.at_level("INFO", "resload"):
        named = Sampler(data, sizes=PerTarget(TABLE), **options).sizes
    assert "PerTarget: 1 targets have no size and count nowhere: effusion" in caplog.text
    assert named.targets_at(512) == {"nodule", "mass"}
    assert named.targets_at(Size(256, 256)) == {"cardiomegaly"}
    assert named.targets_at(64) == frozenset()
    others = Sampler(data, sizes=PerTarget(TABLE, default=64), **options)
    assert others.sizes.targets_at(64) == {"effusion"}
    assert {step.size.height for step in others.steps(0)} == {64, 256, 512}
    all_named = Sampler(data, sizes=PerTarget(TABLE | {"effusion": 64}), **options)
    assert all_named.fingerprint() == others.fingerprint()


def test_impossible_tables_are_refused():
    """Targets that are none, a default for nobody knows whom, buckets beside it, sizes without a step."""
    rule = PerTarget(TABLE)
    with pytest.raises(ArgumentError, match=r"PerTarget names \['mass'\], which are no targets here; there are"):
        Sampler(Films(20, "nodule", "cardiomegaly"), sizes=rule, budget=Images(4))
    with pytest.raises(
        ArgumentError, match="the default= of PerTarget is for targets that are not named, and this data"
    ):
        sampler(sizes=PerTarget(TABLE, default=64))
    with pytest.raises(ArgumentError, match="buckets= does not go with PerTarget: steps have one size, or one bucket"):
        sampler(855, sizes=rule, buckets=BUCKETS, tail="exact")
    with pytest.raises(ArgumentError, match="20 rows make no full step at one of the sizes PerTarget"):
        sampler(20, sizes=rule, budget=Pixels(8, at=512))
