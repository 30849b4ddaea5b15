"""The study: every network is given the same, and what comes of it is kept and compared."""

import json
import os
import subprocess
import sys
import threading
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from studies import Pixelwise, Tiny, plain, records

import resload
from resload import study
from resload.cli import main
from resload.errors import ArgumentError, SizeError, StudyError
from resload.masks.runs import encode_runs
from resload.size import Size
from resload.study import training
from resload.study.folder import Folder
from resload.study.networks import Small, SmallUNet
from resload.testing import write_synthetic

QUICK = {"sizes": (16, 32), "targets": ["effusion"], "models": Tiny, "epochs": 2, "batch_size": 8, "seeds": 2,
         "repeats": 50, "progress": False}  # fmt: skip


@pytest.fixture(scope="module")
def chests(tmp_path_factory):
    """72 films, split by patient."""
    catalog = write_synthetic(tmp_path_factory.mktemp("chests"), 72, size=64, broken=1)
    return catalog.split({"train": 0.5, "val": 0.2, "test": 0.3}, by="patient", seed=3)


@pytest.fixture(scope="module")
def cached(chests, tmp_path_factory):
    """The same, in a cache."""
    return resload.build(chests, tmp_path_factory.mktemp("cache") / "c.zarr", sizes=(16, 32), progress=False)


@pytest.fixture(scope="module")
def found(cached, tmp_path_factory):
    """A small study of them, with the control arm."""
    return study.run(cached, tmp_path_factory.mktemp("study"), control=True, test_sizes=(16, 32), **QUICK)


# -- every network is given the same --


def seen(cache, folder, **changes):
    """{(size, seed): rows of every step} of a study."""
    steps = {}

    def step(network, batch):
        steps.setdefault(batch.size.height, []).append(batch.rows.tolist())
        return network(batch.images).square().mean()

    study.run(cache, folder, train_step=step, **(QUICK | {"seeds": 1} | changes))
    return steps


def test_every_size_sees_the_same_films_in_the_same_order(cached, tmp_path):
    steps = seen(cached, tmp_path / "s")
    assert steps[16] == steps[32]
    assert len(steps[16]) == 2 * (len(cached.rows(split="train")) // 8)
    assert steps[16][0] != steps[16][len(steps[16]) // 2]  # another order in the second epoch


def test_another_seed_sees_them_in_another_order(cached, tmp_path):
    assert seen(cached, tmp_path / "a")[16] != seen(cached, tmp_path / "b", seeds=[1])[16]


def test_only_training_films_are_trained_on_and_only_test_films_reported(cached, found, tmp_path):
    rows = {row for step in seen(cached, tmp_path / "s")[16] for row in step}
    assert rows <= set(cached.rows(split="train").tolist())
    assert set(found.films["rows"].tolist()) == set(cached.rows(split="test").tolist())


def test_equal_steps_are_equal_and_constant_pixels_constant(cached, tmp_path):
    steps = seen(cached, tmp_path / "s", batches="steps", batch_size=2)
    assert len(steps[16]) == len(steps[32])
    assert {len(step) for step in steps[16]} == {8}
    assert {len(step) for step in steps[32]} == {2}
    pixels = seen(cached, tmp_path / "p", batches="pixels", batch_size=2)
    assert {len(step) * 16 * 16 for step in pixels[16]} == {len(step) * 32 * 32 for step in pixels[32]}


def test_balanced_steps_hold_as_many_films_with_the_finding_as_without(cached, tmp_path):
    steps = seen(cached, tmp_path / "s", balanced=True, epochs=20)
    labels = cached.table["effusion"].to_numpy()
    assert abs(np.mean([labels[row] for step in steps[16] for row in step]) - 0.5) < 0.05
    assert labels[cached.rows(split="train")].mean() < 0.4


def test_one_declared_level_normalises_every_size(cached, tmp_path):
    means = {}

    def step(network, batch):
        means.setdefault(batch.size.height, []).append(batch.images.clone())
        return network(batch.images).square().mean()

    one = study.run(cached, tmp_path / "s", train_step=step, **(QUICK | {"seeds": 1, "normalize": 16}))
    mean, std = cached.stats(16, cached.rows(split="train"))
    assert one.settings["normalization"] == [mean, std]
    with resload.Loader(
        cached, size=32, batch_size=1, normalize=(mean, std), rows=cached.rows(split="train")
    ) as loader:
        own = {batch.images.numpy().tobytes() for batch in loader}
    assert {image.numpy().tobytes() for image in torch.cat(means[32])} <= own


def test_the_control_arm_shows_the_smaller_size_at_the_larger_one(cached, tmp_path):
    images = []

    def step(network, batch):
        images.append(batch.images.clone())
        return network(batch.images).square().mean()

    study.run(cached, tmp_path / "s", train_step=step, control=True, **(QUICK | {"seeds": 1}))
    mean, std = cached.stats(32, cached.rows(split="train"))
    common = {"size": 32, "batch_size": 1, "normalize": (mean, std), "rows": cached.rows(split="train")}
    with resload.Loader(cached, detail=16, **common) as loader:
        enlarged = {batch.images.numpy().tobytes() for batch in loader}
    shown = {one.numpy().tobytes() for batch in images if batch.shape[-1] == 32 for one in batch}
    assert enlarged & shown  # the control arm's
    assert shown - enlarged  # the plain arm's


def test_networks_begin_alike_at_every_size(cached, tmp_path):
    first = {}

    def step(network, batch):
        first.setdefault(batch.size.height, {name: one.clone() for name, one in network.state_dict().items()})
        return network(batch.images).square().mean()

    study.run(cached, tmp_path / "s", train_step=step, **(QUICK | {"seeds": 1}))
    assert all(torch.equal(first[16][name], first[32][name]) for name in first[16])


# -- splits --


def test_films_without_a_split_are_dealt_out_by_whole_patients(chests, tmp_path):
    table = chests.table.drop(columns="split")
    catalog = resload.Catalog(table, targets=chests.targets, root=chests.root)
    one = study.run(catalog, tmp_path / "s", **(QUICK | {"seeds": 1, "epochs": 1}))
    assert any("dealt out by whole patients" in note for note in one.settings["notes"])
    assert set(one.settings["counts"]) == {"train", "val", "test"}
    assert sum(one.settings["counts"].values()) == 71  # one is broken
    test = set(one.films["patients"].tolist())
    assert len(test) < len(one.films["patients"])


def test_validation_films_are_taken_out_of_the_training_films_where_none_are_named(cached, tmp_path):
    table = cached.table[["id"]].assign(split=cached.table["split"].replace("val", "train"))
    one = study.run(cached.with_table(table), tmp_path / "s", **(QUICK | {"seeds": 1, "epochs": 1}))
    assert one.settings["counts"]["test"] == len(cached.rows(split="test"))
    assert 0 < one.settings["counts"]["val"] < one.settings["counts"]["train"]
    assert any("a tenth of the training films" in note for note in one.settings["notes"])


def test_a_patient_in_two_splits_is_refused(cached, tmp_path):
    table = cached.table[["id"]].assign(split=cached.table["split"])
    several = cached.table["patient"].duplicated(keep=False) & (cached.table["split"] == "train")
    table.loc[several.idxmax(), "split"] = "test"
    with pytest.raises(ArgumentError, match="1 patients have films in both train and test"):
        study.run(cached.with_table(table), tmp_path / "s", **QUICK)


def test_a_split_without_test_films_is_refused(cached, tmp_path):
    table = cached.table[["id"]].assign(split=cached.table["split"].replace("test", "val"))
    with pytest.raises(ArgumentError, match="the split has train, val and lacks test: the epoch is chosen on other"):
        study.run(cached.with_table(table), tmp_path / "s", **QUICK)


def test_a_split_of_other_names_is_refused(cached, tmp_path):
    """And not dealt out anew, by which films that are marked for the test would be trained on."""
    table = cached.table[["id"]].assign(split=cached.table["split"] + "ing")
    with pytest.raises(ArgumentError, match="the split has testing, training, valing, and none of train, val and test"):
        study.run(cached.with_table(table), tmp_path / "s", **QUICK)


def test_films_whose_patient_is_unknown_count_as_patients_of_their_own(cached, tmp_path):
    table = cached.table[["id", "patient"]].assign(patient=np.nan)
    one = study.run(cached.with_table(table), tmp_path / "s", **(QUICK | {"seeds": 1, "epochs": 1}))
    assert len(set(one.films["patients"].tolist())) == len(one.films["patients"])
    assert any("have no patient" in note for note in one.settings["notes"])


# -- what is refused --


@pytest.mark.parametrize(
    ("changes", "error", "message"),
    [
        ({"targets": ["mass"]}, ArgumentError, r"targets=\['mass'\]: .* has the targets"),
        ({"sizes": (16, 24)}, SizeError, r"stores 16x16, 32x32, not 24x24: build that size too, or say any_size=True"),
        ({"kernels": ("cubic",)}, ArgumentError, r"kernels=\['cubic'\]: .* was built with 'triangle'; give the films"),
        ({"fits": ("pad",)}, ArgumentError, r"fits=\['pad'\]: .* was built with 'stretch'"),
        ({"models": "resnet35"}, ArgumentError, r"a network is one of small, resnet34, densenet121, timm:NAME"),
        ({"models": {}}, ArgumentError, r"models= needs at least one network"),
        ({"models": {"mine": Tiny(1)}}, ArgumentError, r"takes functions that make a network, .* 'mine' is a Tiny"),
        ({"models": lambda: "no"}, ArgumentError, r"must return a torch.nn.Module; found str"),
        ({"models": lambda: Tiny(3)}, ArgumentError, r"\(8, 1\)"),
        ({"batch_size": 100}, ArgumentError, r"batch_size=100 is more than the \d+ training films"),
        ({"task": "segmentation"}, ArgumentError, r"has no masks: nothing to learn"),
        ({"sizes": ("native",)}, SizeError, r'a study compares sizes in pixels; found "native"'),
    ],
)
def test_what_cannot_be_is_refused_before_anything_is_trained(cached, tmp_path, changes, error, message):
    with pytest.raises(error, match=message):
        study.run(cached, tmp_path / "s", **(QUICK | changes))
    assert not (tmp_path / "s" / "results.jsonl").exists()


def of_films(chests, tmp_path):
    return chests, QUICK | {"targets": ["mass"]}, r"targets=\['mass'\]: .* has the targets"


def of_few_films(chests, tmp_path):
    return chests, QUICK | {"batch_size": 100}, r"batch_size=100 is more than the \d+ training films"


def of_films_without_masks(chests, tmp_path):
    return chests, QUICK | {"task": "segmentation", "targets": ()}, "has no masks: nothing to learn"


def of_masks_that_no_test_film_has(chests, tmp_path):
    catalog = outlined(tmp_path, parts=("train", "val"))
    asked = QUICK | {"task": "segmentation", "targets": (), "models": Pixelwise, "batch_size": 4}
    return catalog, asked, "target 'box' is known of no film in the split 'test'"


@pytest.mark.parametrize(
    "asking",
    [of_films, of_few_films, of_films_without_masks, of_masks_that_no_test_film_has],
    ids=lambda one: one.__name__,
)
def test_what_a_catalog_cannot_give_is_refused_before_its_caches_are_built(chests, tmp_path, monkeypatch, asking):
    catalog, asked, message = asking(chests, tmp_path)
    monkeypatch.setattr("resload.study.running.caches_of", lambda *_: pytest.fail("built"))
    with pytest.raises(ArgumentError, match=message):
        study.run(catalog, tmp_path / "s", **asked)


def test_a_target_of_one_class_is_refused_with_its_counts(cached, tmp_path):
    table = cached.table[["id", "effusion"]].copy()
    table.loc[cached.rows(split="val"), "effusion"] = 0.0
    with pytest.raises(ArgumentError, match=r"'effusion' has 0 films with it and \d+ without in the split 'val'"):
        study.run(cached.with_table(table), tmp_path / "s", **QUICK)


def test_numbers_are_no_labels(cached, tmp_path):
    table = cached.table[["id"]].assign(age=np.arange(len(cached), dtype=float))
    view = cached.with_table(table, targets=["age"])
    with pytest.raises(ArgumentError, match=r"'age' has the value 2; task='binary' learns 0 and 1"):
        study.run(view, tmp_path / "s", **(QUICK | {"targets": ["age"]}))


def test_a_loss_that_is_no_number_stops_with_a_sentence_and_keeps_the_others(cached, tmp_path):
    def step(network, batch):
        loss = network(batch.images).square().mean()
        return loss * float("nan") if batch.size.height == 32 else loss

    with pytest.raises(StudyError, match=r"effusion, Tiny at 32x32, seed 0: the loss is nan in epoch 1"):
        study.run(cached, tmp_path / "s", train_step=step, **QUICK)
    assert [record["size"] for record in study.opened(tmp_path / "s").runs] == ["16x16"]


def test_a_folder_of_other_files_is_refused(cached, tmp_path):
    (tmp_path / "letter.txt").write_text("dear")
    with pytest.raises(ArgumentError, match="this folder holds other files"):
        study.run(cached, tmp_path, **QUICK)


def test_no_study_there(tmp_path):
    with pytest.raises(StudyError, match="there is no study here"):
        study.opened(tmp_path)


# -- interrupted, and gone on with --


def test_interrupting_and_resuming_changes_no_number(cached, tmp_path, monkeypatch):
    """Stopped in every few steps, and gone on from what was kept: bit for bit what an undisturbed run says."""
    monkeypatch.setattr(training, "KEEP_SECONDS", -1.0)
    asked = QUICK | {"epochs": 3, "seeds": 1}
    whole = study.run(cached, tmp_path / "whole", **asked)
    told, left = training.Training._words, [0]

    def interrupted(self):
        left[0] -= 1
        if left[0] == 0:
            raise KeyboardInterrupt
        return told(self)

    monkeypatch.setattr(training.Training, "_words", interrupted)
    stops = 0
    for steps in (2, 7, 6, 9, 5, 8, 11, 10, 12, 100):
        left[0] = steps
        try:
            stopped = study.run(cached, tmp_path / "stopped", **asked)
            break
        except KeyboardInterrupt:
            stops += 1
    assert stops >= 4
    assert records(stopped) == records(whole)
    for record in whole.runs:
        ours, theirs = (Folder(one.path).predictions(record["run"]) for one in (stopped, whole))
        assert all(np.array_equal(ours[size], theirs[size]) for size in theirs)
    assert list((tmp_path / "stopped" / "under-way").glob("*.pt")) == []


KILLED = """
import sys
import torch
torch.set_num_threads(1)  # what is forked below must not need its parent's threads
import resload
from resload import study
from resload.study import training
from resload.testing.children import in_child
from studies import Tiny

training.KEEP_SECONDS = -1.0
cache, whole, killed = sys.argv[1:]

def run(folder):
    study.run(resload.open_cache(cache), folder, sizes=(16, 32), targets=["effusion"], models=Tiny, epochs=4,
              batch_size=8, seeds=2, repeats=50, progress=False)

assert in_child(lambda: run(whole)).error is None
kills = 0
while in_child(lambda: run(killed), kill_after=0.5 * (1 + kills)).killed:
    kills += 1
print(kills)
"""


@pytest.mark.slow
def test_kills_change_no_number(cached, tmp_path):
    """SIGKILL at an instant of training or of writing, again and again, each time a little later."""
    words = [sys.executable, "-c", KILLED, cached.path, tmp_path / "whole", tmp_path / "killed"]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(Path(__file__).parent), *sys.path])}
    done = subprocess.run(words, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert int(done.stdout) >= 3
    whole, killed = study.opened(tmp_path / "whole"), study.opened(tmp_path / "killed")
    assert records(killed) == records(whole)
    for record in whole.runs:
        ours, theirs = (Folder(one.path).predictions(record["run"]) for one in (killed, whole))
        assert all(np.array_equal(ours[size], theirs[size]) for size in theirs)
    assert list((tmp_path / "killed" / "under-way").glob("*.pt")) == []


def test_a_study_goes_on_with_more_sizes_and_seeds_and_leaves_what_is_finished(cached, tmp_path):
    first = study.run(cached, tmp_path / "s", **(QUICK | {"seeds": 1, "sizes": (32,)}))
    stamp = (tmp_path / "s" / "predictions" / f"{first.runs[0]['run']}.npz").stat().st_mtime_ns
    more = study.run(cached, tmp_path / "s", **QUICK)
    assert len(more.runs) == 4
    assert more.runs[0] == first.runs[0]
    assert (tmp_path / "s" / "predictions" / f"{first.runs[0]['run']}.npz").stat().st_mtime_ns == stamp
    alone = study.run(cached, tmp_path / "alone", **QUICK)
    assert records(more) == records(alone)


@pytest.mark.parametrize(
    ("changes", "name"),
    [
        ({"epochs": 3}, "epochs"),
        ({"lr": 0.5}, "lr"),
        ({"margin": 0.2}, "margin"),
        ({"reference": 16}, "reference"),
        ({"targets": ["effusion", "cardiomegaly"]}, "targets"),
    ],
)
def test_a_study_is_not_gone_on_with_otherwise(cached, found, changes, name):
    with pytest.raises(ArgumentError, match=rf"this study was begun with {name}="):
        study.run(cached, found.path, control=True, test_sizes=(16, 32), **(QUICK | changes))


def test_other_films_or_labels_are_another_study(cached, found):
    flipped = cached.table[["id"]].assign(effusion=1 - cached.table["effusion"])
    with pytest.raises(ArgumentError, match="this study was begun with other films, splits, patients or labels"):
        study.run(cached.with_table(flipped), found.path, control=True, test_sizes=(16, 32), **QUICK)


def test_a_line_that_a_kill_cut_short_is_trained_again(cached, tmp_path):
    one = study.run(cached, tmp_path / "s", **(QUICK | {"seeds": 1}))
    lines = tmp_path / "s" / "results.jsonl"
    lines.write_bytes(lines.read_bytes()[:-40])
    again = study.run(cached, tmp_path / "s", **(QUICK | {"seeds": 1}))
    assert records(again) == records(one)
    assert all(json.loads(line) for line in lines.read_text().splitlines())


def test_damage_is_named(cached, tmp_path):
    one = study.run(cached, tmp_path / "s", **(QUICK | {"seeds": 1, "epochs": 1}))
    path = tmp_path / "s" / "predictions" / f"{one.runs[0]['run']}.npz"
    path.write_bytes(path.read_bytes()[:100])
    with pytest.raises(StudyError, match=r"missing or damaged .*; take its line out of results.jsonl"):
        study.opened(tmp_path / "s").table  # noqa: B018  # which reads it
    with (tmp_path / "s" / "results.jsonl").open("a") as file:
        file.write("nonsense\n")
    with pytest.raises(StudyError, match="line 3: damaged"):
        study.opened(tmp_path / "s")


def test_two_at_once_share_the_work_and_train_nothing_twice(cached, tmp_path):
    trained = []

    def step(network, batch):
        trained.append((batch.size.height, threading.get_ident()))
        return network(batch.images).square().mean()

    asked = QUICK | {"train_step": step, "seeds": 3, "epochs": 1}
    study.run(cached, tmp_path / "s", **(asked | {"seeds": 1, "sizes": (32,)}))  # torch and the folder are there
    trained.clear()
    others = [threading.Thread(target=study.run, args=(cached, tmp_path / "s"), kwargs=asked) for _ in range(2)]
    for one in others:
        one.start()
    for one in others:
        one.join()
    found = study.opened(tmp_path / "s")
    assert len(found.runs) == 6
    assert len(trained) == 5 * (len(cached.rows(split="train")) // 8)


# -- what it says --


def test_records_say_what_was_trained_and_where(found, cached):
    assert len(found.runs) == 2 * (2 + 1)
    for record in found.runs:
        assert record["batch_size"] == 8
        assert record["steps"] == 2 * (len(cached.rows(split="train")) // 8)
        assert 1 <= record["chosen_epoch"] <= record["epochs"] == 2
        best = max(record["history"], key=lambda one: (one["metric"], -one["validation_loss"]))
        assert record["history"][record["chosen_epoch"] - 1] == best
        assert record["environment"]["torch"]["version"] == torch.__version__
        assert record["parameters"] == sum(one.numel() for one in Tiny(1).parameters())
        assert record["flops_per_image"] > 1000
        assert record["seconds"]["train"] > 0
    assert {record["bytes_per_film"] for record in found.runs if record["shows"] == "16x16"} == {16 * 16 * 2}


def test_the_number_that_is_reported_is_that_of_the_kept_answers(found):
    truth = found.truth("effusion")
    for record in found.runs:
        for size, values in record["tests"].items():
            kept = Folder(found.path).predictions(record["run"])[size][:, 0]
            pairs = np.sign(kept[truth == 1][:, None] - kept[truth == 0])
            assert values["effusion"] == pytest.approx((pairs.mean() + 1) / 2)


def test_a_network_is_tested_at_every_size_that_was_asked_for(found):
    across = found.across
    assert {(row.trained, row.tested) for row in across.itertuples()} == {
        (trained, tested) for trained in ("16x16", "32x32") for tested in ("16x16", "32x32")
    }
    assert all(list(record["tests"]) == ["32x32"] for record in found.runs if record["control"])


def test_the_table_compares_with_the_reference(found):
    table = found.table
    assert list(table["arm"]) == ["size", "size", "enlarged", "enlarged"]
    small, large = table[table["arm"] == "size"].to_dict("records")
    assert small["difference"] == pytest.approx(small["value"] - large["value"])
    assert pd.isna(large["difference"])
    assert small["low"] <= small["value"] <= small["high"]
    assert small["p"] <= small["p_holm"] <= 1
    control = table[table["arm"] == "enlarged"].to_dict("records")
    assert control[1]["value"] == large["value"]  # both end with the same networks
    assert found.plateau("effusion") in (Size(16, 16), Size(32, 32))
    with pytest.raises(StudyError, match="no network was trained for 'mass'"):
        found.plateau("mass")


def test_an_unfinished_study_says_what_it_can(found, tmp_path):
    lines = (found.path / "results.jsonl").read_text().splitlines(keepends=True)
    for name in ("study.json", "films.npz", "predictions"):
        (tmp_path / name).symlink_to(found.path / name)
    (tmp_path / "results.jsonl").write_text("".join(line for line in lines if '"size": "16x16"' in line))
    part = study.opened(tmp_path)
    assert list(part.table["shows"]) == ["16x16"]
    assert part.plateau("effusion") is None


def test_any_size_is_served_where_it_is_asked_for(cached, tmp_path):
    one = study.run(cached, tmp_path / "s", **(QUICK | {"sizes": (20, 32), "any_size": True, "seeds": 1, "epochs": 1}))
    assert {record["size"] for record in one.runs} == {"20x20", "32x32"}


@pytest.mark.parametrize("precision", ["bfloat16", "float16"])
def test_mixed_precision_trains(cached, tmp_path, precision):
    one = study.run(cached, tmp_path / "s", **(QUICK | {"precision": precision, "seeds": 1, "sizes": (16,)}))
    assert np.isfinite(one.table["value"]).all()


def test_a_prediction_of_the_users_own_sees_the_batch(cached, tmp_path):
    def oracle(network, batch):
        return 4 * batch.targets - 2 + 0 * network(batch.images)

    one = study.run(cached, tmp_path / "s", predict=oracle, **(QUICK | {"seeds": 1, "epochs": 1}))
    assert set(one.table["value"]) == {1.0}


def test_a_validation_that_is_no_number_loses_no_network(cached, tmp_path):
    """Nor is it taken for the best."""
    calls = []

    def predict(network, batch):
        outputs = network(batch.images)
        if network.training:
            return outputs
        calls.append(batch.rows.tolist())
        first = len(calls) <= -(-len(cached.rows(split="val")) // 8)
        return outputs * float("nan") if first else outputs

    one = study.run(cached, tmp_path / "s", predict=predict, **(QUICK | {"seeds": 1, "sizes": (32,), "epochs": 2}))
    (record,) = one.runs
    assert record["history"][0]["validation_loss"] is None
    assert record["chosen_epoch"] == 2
    assert np.isfinite(one.table["value"]).all()


def test_what_a_factory_of_a_file_raises_names_its_line(tmp_path):
    from resload.study import models

    (tmp_path / "net.py").write_text("def make(outputs):\n    return outputs / 0\n")
    factory = models.named(f"{tmp_path}/net.py:make", "binary")
    with pytest.raises(
        ArgumentError, match=r"net.py:make raised when it was called with outputs: ZeroDivision.*line 2"
    ):
        models.made(factory, 1, 1, Size(8, 8))


# -- other tasks --


def test_several_targets_at_once(cached, tmp_path):
    asked = QUICK | {"task": "multilabel", "targets": ["effusion", "cardiomegaly"], "seeds": 1, "epochs": 1}
    one = study.run(cached, tmp_path / "s", **asked)
    assert len(one.runs) == 2
    assert set(one.table["target"]) == {"effusion", "cardiomegaly"}


def test_unknown_labels_do_not_count(cached, tmp_path):
    table = cached.table[["id", "effusion"]].copy()
    hidden = cached.rows(split="test")[::3]
    table.loc[hidden, "effusion"] = np.nan
    steps = seen(cached.with_table(table), tmp_path / "s")
    one = study.opened(tmp_path / "s")
    assert steps
    assert one.table["films"].iloc[0] == len(cached.rows(split="test")) - len(hidden)


def test_regression_is_measured_in_its_unit(cached, tmp_path):
    """A network that answers with the mean of the training films errs by the mean distance to it."""
    ages = 30.0 + 3 * (np.arange(len(cached)) % 17)
    view = cached.with_table(cached.table[["id"]].assign(age=ages), targets=["age"])
    asked = QUICK | {"task": "regression", "targets": ["age"], "margin": 1.0, "seeds": 1, "epochs": 1}
    one = study.run(view, tmp_path / "s", predict=lambda network, batch: 0 * network(batch.images), **asked)
    train, test = (ages[cached.rows(split=split)] for split in ("train", "test"))
    expected = np.abs(test - train.mean()).mean()
    assert one.table["value"].tolist() == pytest.approx([expected, expected], rel=1e-5)
    assert one.metric == "mean absolute error"
    assert not one.higher_is_better


def outlined(tmp_path, *, parts=("train", "val", "test")):
    """24 films of 48 x 40 with a bright rectangle; split film by film, and outlined by run-lengths in these parts."""
    rng = np.random.default_rng(0)
    import imagecodecs

    rows, masks = [], []
    for k in range(24):
        mask = np.zeros((48, 40), bool)
        top, left = rng.integers(4, 20, 2)
        mask[top : top + 17, left : left + 13] = k % 6 != 0
        pixels = np.where(mask, 200, 40).astype(np.uint8)
        (tmp_path / f"{k}.png").write_bytes(imagecodecs.png_encode(pixels))
        rows.append({"id": f"{k}", "path": f"{k}.png", "split": ("train", "val", "test")[k % 3]})
        if rows[-1]["split"] in parts:
            masks.append({"id": f"{k}", "label": "box", "rle": encode_runs(mask)})
    return resload.Catalog(pd.DataFrame(rows), masks=pd.DataFrame(masks), root=tmp_path)


def test_masks_are_measured_on_the_films_own_pixels(tmp_path):
    """Given the masks of the batch as its answer, a network loses what the size loses; nothing at the film's size."""
    catalog = outlined(tmp_path)
    asked = {"sizes": (8, (48, 40)), "task": "segmentation", "models": Pixelwise, "epochs": 1, "batch_size": 4}
    asked |= {"seeds": 1, "repeats": 50, "progress": False}
    answer = lambda network, batch: (batch.masks.float() / 255 - 0.5) * 20 + 0 * network(batch.images)  # noqa: E731
    one = study.run(catalog, tmp_path / "s", predict=answer, **asked)
    small, whole = one.table["value"]
    assert whole == 1.0
    assert 0.6 < small < 0.95
    assert one.metric == "dice"


@pytest.mark.slow
def test_masks_of_a_cache_are_measured_on_the_films_pixels_too(tmp_path):
    catalog = outlined(tmp_path)
    cache = resload.build(catalog, tmp_path / "c.zarr", sizes=((48, 40),), progress=False)
    asked = {"sizes": ((48, 40),), "task": "segmentation", "epochs": 40, "batch_size": 4, "seeds": 1, "lr": 0.03,
             "repeats": 50, "progress": False}  # fmt: skip
    one = study.run(cache, tmp_path / "s", **asked)
    assert one.table["value"].iloc[0] > 0.8  # which the small network does learn


# -- networks --


@pytest.mark.parametrize("size", [(4, 4), (16, 16), (33, 20)])
def test_small_networks_take_any_size(size):
    images = torch.rand(2, 3, *size)
    assert Small(5, 3)(images).shape == (2, 5)
    assert SmallUNet(4, 3)(images).shape == (2, 4, *size)


@pytest.mark.parametrize("name", ["resnet34", "densenet121"])
def test_monais_networks_are_made_by_name(name):
    from resload.study import models

    network = models.made(models.named(name, "binary"), 2, 1, Size(64, 64)).eval()
    with torch.no_grad():
        assert network(torch.rand(1, 1, 64, 64)).shape == (1, 2)


def test_a_factory_is_given_what_it_asks_for():
    from resload.study import models

    asked = {}

    def factory(outputs, size):
        asked.update(outputs=outputs, size=size)
        return Tiny(outputs)

    models.made(factory, 7, 3, Size(20, 30))
    assert asked == {"outputs": 7, "size": (20, 30)}


# -- films of several recipes --


def test_films_are_decoded_once_for_all_recipes(chests, tmp_path, monkeypatch):
    from resload.pipeline import once

    made = []
    plain_call = once.Once.__init__

    def noted(self, *args):
        plain_call(self, *args)
        made.append(self)

    monkeypatch.setattr(once.Once, "__init__", noted)
    asked = QUICK | {
        "kernels": ("triangle", "area"),
        "fits": ("stretch", "pad"),
        "seeds": 1,
        "epochs": 1,
        "sizes": (16,),
    }
    one = study.run(chests, tmp_path / "s", **asked)
    assert made[0].decoded == len(chests)
    assert len({(record["kernel"], record["fit"]) for record in one.runs}) == 4
    for kernel, fit in (("area", "pad"), ("triangle", "stretch")):
        built = resload.build(chests, tmp_path / f"{kernel}.zarr", 16, kernel=kernel, fit=fit, progress=False)
        ours = resload.open_cache(tmp_path / "s" / f"films-{kernel}-{fit}.zarr")
        assert np.array_equal(ours.read(ours.rows(), 16), built.read(built.rows(), 16))


# -- the command line --


def test_the_command_line_trains_compares_and_writes(cached, tmp_path, capsys):
    out = str(tmp_path / "s")
    line = ["study", str(cached.path), "--out", out, "--sizes", "16", "32", "--learn", "effusion", "--seeds", "2"]
    line += ["--epochs", "1", "--batch-size", "8", "--repeats", "50", "--control", "enlarged"]
    assert main(line) == 0
    said = capsys.readouterr().out
    assert "effusion" in said
    assert "32x32 from the detail of each size" in said
    assert (tmp_path / "s" / "report.html").exists()
    assert main(["study", "--out", out, "--json"]) == 0
    document = json.loads(capsys.readouterr().out)
    assert document["networks"] == 6
    assert document["plateau"]["effusion"] in ("16x16", "32x32")


def test_the_command_line_takes_a_model_by_file(cached, tmp_path, capsys):
    (tmp_path / "net.py").write_text("from studies import Tiny\n\ndef make(outputs):\n    return Tiny(outputs)\n")
    line = [
        "study",
        str(cached.path),
        "--out",
        str(tmp_path / "s"),
        "--sizes",
        "16",
        "--learn",
        "effusion",
        "--seeds",
        "1",
    ]
    line += ["--epochs", "1", "--batch-size", "8", "--repeats", "50", "--model", f"{tmp_path}/net.py:make"]
    assert main(line) == 0
    capsys.readouterr()
    assert study.opened(tmp_path / "s").runs[0]["model"] == f"{tmp_path}/net.py:make"


def test_the_command_line_says_what_is_missing(cached, tmp_path, capsys):
    assert main(["study", str(cached.path), "--out", str(tmp_path / "s")]) == 2
    assert "--sizes says at which sizes networks are trained" in capsys.readouterr().err


def test_records_compare_without_their_clocks(found):
    assert set(found.runs[0]) - set(plain(found.runs[0])) == {"seconds", "images_per_second", "peak_bytes"}
