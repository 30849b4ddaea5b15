"""The grid: which networks, how long, and what they are called."""

import itertools

import pytest

from resload.errors import ArgumentError
from resload.size import Size
from resload.study import Settings, grid

MODELS = {"small": None}


def settings(**changes):
    common = {"sizes": (64, 32, 128), "targets": ("a", "b"), "kernels": ("triangle",), "fits": ("stretch",)}
    return Settings(**(common | changes))


def test_every_seed_target_and_size_is_trained_once_whole_curves_first():
    runs = list(grid.runs(settings(seeds=2), MODELS))
    assert len({(run.targets, run.arm.size, run.seed) for run in runs}) == len(runs) == 2 * 2 * 3
    assert [run.seed for run in runs] == [0] * 6 + [1] * 6
    assert [run.arm.size.height for run in runs[:3]] == [32, 64, 128]


def test_a_network_of_several_targets_is_trained_once():
    runs = list(grid.runs(settings(task="multilabel"), MODELS))
    assert {run.targets for run in runs} == {("a", "b")}
    assert len(runs) == 3 * 3


def test_the_control_arm_serves_the_largest_size_and_shows_each_smaller_one():
    runs = [run for run in grid.runs(settings(control=True, seeds=1), MODELS) if run.arm.curve.control]
    assert {(run.arm.size.height, run.arm.detail.height) for run in runs} == {(128, 32), (128, 64)}
    plain = [run for run in grid.runs(settings(control=True, seeds=1), MODELS) if not run.arm.curve.control]
    assert {run.arm.detail for run in plain} == {None}


def test_the_control_arm_refuses_sizes_that_do_not_fit_into_the_largest():
    with pytest.raises(ArgumentError, match=r"control=True enlarges each size to 100x100, into which 20x200"):
        list(grid.runs(settings(sizes=((20, 200), (100, 100)), control=True), MODELS))


@pytest.mark.parametrize(
    ("batches", "size", "batch", "steps"),
    [
        ("fixed", 32, 8, 12),
        ("fixed", 128, 8, 12),
        ("pixels", 128, 8, 12),
        ("pixels", 64, 32, 3),
        ("pixels", 32, 100, 1),  # 128 would be more films than there are
        ("steps", 64, 32, 12),
        ("steps", 32, 100, 12),
    ],
)
def test_batches_and_steps_follow_the_mode(batches, size, batch, steps):
    found = grid.budget(settings(batch_size=8, batches=batches, epochs=5), Size(size, size), 100)
    assert (found.batch_size, found.steps, found.epochs) == (batch, steps, 5)


@pytest.mark.parametrize(("rule", "times"), [("constant", 1), ("sqrt", 2), ("linear", 4)])
def test_the_learning_rate_follows_the_batch(rule, times):
    asked = settings(batch_size=8, batches="pixels", lr=0.01, lr_rule=rule)
    assert grid.budget(asked, Size(64, 64), 1000).lr == pytest.approx(0.01 * times)
    assert grid.budget(asked, Size(128, 128), 1000).lr == pytest.approx(0.01)


def test_more_films_to_a_step_than_there_are_is_refused():
    with pytest.raises(ArgumentError, match=r"batch_size=64 is more than the 20 training films"):
        grid.budget(settings(batch_size=64), Size(32, 32), 20)


def test_the_cosine_rises_over_a_tenth_and_falls_to_nothing():
    rates = [grid.rate("cosine", 0.5, step, 100) for step in range(100)]
    assert rates[9] == max(rates) == 0.5
    assert all(a < b for a, b in itertools.pairwise(rates[:10]))
    assert all(a > b for a, b in itertools.pairwise(rates[10:]))
    assert 0 < rates[-1] < 0.001
    assert {grid.rate("constant", 0.5, step, 100) for step in range(100)} == {0.5}


def test_names_differ_with_all_that_weights_depend_on_and_with_nothing_else():
    asked = settings(seeds=2, control=True)
    common = {"lr": 0.1, "films": "abc"}
    names = [run.name(common) for run in grid.runs(asked, MODELS)]
    assert len(set(names)) == len(names)
    assert names == [run.name(dict(reversed(common.items()))) for run in grid.runs(asked, MODELS)]
    assert not set(names) & {run.name({**common, "lr": 0.2}) for run in grid.runs(asked, MODELS)}


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"sizes": ()}, "sizes= needs at least one size"),
        ({"task": "survival"}, "task must be one of binary, multilabel"),
        ({"batches": "none"}, "batches must be one of fixed, pixels, steps"),
        ({"lr_rule": "cubic"}, "lr_rule must be one of"),
        ({"schedule": "step"}, "schedule must be one of"),
        ({"precision": "int8"}, "precision must be one of"),
        ({"epochs": 0}, "epochs must be a whole number above 0; found 0"),
        ({"batch_size": 1.5}, "batch_size must be a whole number above 0; found 1.5"),
        ({"lr": -1.0}, "lr must be a number above 0; found -1.0"),
        ({"margin": 0}, "margin must be a number above 0; found 0"),
        ({"task": "regression"}, "margin= has the unit of the target"),
        ({"task": "multilabel", "balanced": True}, "balanced=True is for"),
        ({"seeds": 0}, "seeds= needs at least one"),
    ],
)
def test_settings_that_cannot_be_are_refused(changes, message):
    with pytest.raises(ArgumentError, match=message.replace("(", r"\(")):
        settings(**changes)


def test_the_reference_must_be_one_of_the_sizes():
    assert settings().compared_with == Size(128, 128)
    assert settings(reference=64).compared_with == Size(64, 64)
    with pytest.raises(ArgumentError, match="reference=100x100 is none of the sizes: 32x32, 64x64, 128x128"):
        settings(reference=100).compared_with  # noqa: B018  # a property that checks
