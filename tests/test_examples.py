"""examples/: each script runs on a miniature and leaves what it says, and its arithmetic of a full run is true.

The scripts are imported by their path and called in this process. timm cannot be imported without torchvision, which
has no build for the torch that is tested with: its script meets a stand-in here that offers `create_model`, no more.
"""

import ast
import functools
import importlib.util
import json
import math
import re
import sys
import types
from pathlib import Path

import numpy as np
import pandas as pd
import pydicom
import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

import resload
from resload.masks.runs import encode_runs
from resload.study import Settings, grid
from resload.testing import write_synthetic

EXAMPLES = Path(__file__).parent.parent / "examples"
SCRIPTS = sorted(EXAMPLES.glob("*.py"))
THREE = sorted((EXAMPLES / "frameworks").glob("*.py"))


def script(name):
    """One of the examples as a module."""
    path = EXAMPLES / f"{name}.py"
    spec = importlib.util.spec_from_file_location(f"example_{path.stem}", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def run(name, out, *words):
    """What an example leaves in its result after a run on its miniature."""
    script(name).main(["--miniature", "--device", "cpu", "--out", str(out), *words])
    return result_of(out)


def result_of(out):
    return json.loads((out / "result.json").read_text())


@pytest.fixture(autouse=True)
def one_thread():
    """Networks of this size gain nothing from more, and wait for them where others use the machine."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


# -- each runs --


def test_alexnet(tmp_path):
    """Films of 227 px in three equal channels; AUCs where the test films have both classes, and only there."""
    found = run("alexnet_227", tmp_path)
    assert found["size"] == 227
    assert found["test_films"] == 2
    assert math.isfinite(found["losses"][0])
    known = {name for name, value in found["auc"].items() if value is not None}
    assert known == {"Infiltration", "Pleural_Thickening", "Mass", "Nodule"}
    assert all(0 <= found["auc"][name] <= 1 for name in known)
    assert resload.open_cache(tmp_path / "films.zarr").sizes == (resload.Size(227, 227),)


def test_chexnext(tmp_path):
    """The best epoch is kept beside the recipe that makes a film's tensor for it, and both can be loaded."""
    found = run("chexnext_multilabel", tmp_path)
    assert math.isfinite(found["test_loss"])
    assert found["auc"]["Nodule"] is not None
    model = script("chexnext_multilabel").network(14)
    model.load_state_dict(torch.load(tmp_path / "best.pt", weights_only=True))
    film = tmp_path / "data" / "images" / "00000001_000.png"
    tensor = resload.Pipeline.load(tmp_path / "model.json").tensor(film)
    assert tensor.shape == (1, 1, 64, 64)
    assert model.eval()(tensor).shape == (1, 14)


def test_tuberculosis(tmp_path):
    """Two sizes by one cache; Montgomery is the test set and nothing else."""
    found = run("tuberculosis", tmp_path)
    assert set(found) == {"48", "64"}
    assert all(0 <= one["test"] <= 1 for one in found.values())
    table = resload.open_cache(tmp_path / "films.zarr").table
    home = table["id"].str.partition("/")[0]
    assert set(home[table["split"] == "test"]) == {"montgomery"}
    assert set(home[table["split"] != "test"]) == {"shenzhen"}


def test_bone_age(tmp_path):
    """A mean absolute difference in months for each official part; hands keep their shape; sex moves the answer."""
    found = run("bone_age", tmp_path)
    assert 0 < found["val_months"] < 240
    assert 0 < found["test_months"] < 240
    assert type(resload.open_cache(tmp_path / "hands.zarr").pipeline.fit).__name__ == "Pad"
    model = script("bone_age").BoneAge(120, 40).eval()
    girl, boy = model(torch.zeros(2, 1, 64, 64), torch.tensor([0.0, 1.0])).tolist()
    assert girl != boy
    assert 60 < girl < 180


@pytest.mark.slow
def test_bone_age_study(tmp_path):
    """A network for each size and seed, given the sex; months at each size, hands that keep their shape, a page."""
    found = run("bone_age_study", tmp_path)
    assert set(found["months"]) == {"32x32", "64x64"}
    assert all(0 < value < 240 for value in found["months"].values())
    assert found["plateau"] in found["months"]
    assert Path(found["report"]).is_file()
    study = resload.study.opened(tmp_path / "study")
    assert {record["fit"] for record in study.runs} == {"pad"}
    assert study.settings["margin"] == 0.5
    model = script("bone_age_study").BoneAge(1, 1).eval()
    assert len(set(model(torch.zeros(2, 1, 64, 64), torch.tensor([0.0, 1.0]))[:, 0].tolist())) == 2


def test_resolution_study(tmp_path, monkeypatch):
    """Every size and the detail of the smaller ones, no patient in two parts, areas, a plateau, a ratio and a page; run
    again, it has nothing to train."""
    found = run("resolution_study", tmp_path)
    (one,) = found["results"]
    assert set(one["auc"]) == {"16x16", "32x32"}
    assert all(0 <= value <= 1 for value in one["auc"].values())
    assert one["plateau"] in one["auc"]
    assert Path(found["report"]).is_file()
    assert found["networks"] == 2 * (2 + 1)
    study = resload.study.opened(tmp_path / "study")
    assert study.settings["counts"] == {"train": 86, "val": 10, "test": 24}
    assert one["ratio"] is None
    example = script("resolution_study")
    monkeypatch.setattr(example, "RATIO", (resload.Size(16, 16), resload.Size(32, 32)))
    (ratio,) = [one["ratio"] for one in example.results(study)]
    assert ratio["value"] == pytest.approx(one["auc"]["16x16"] / one["auc"]["32x32"])
    before = (tmp_path / "study" / "results.jsonl").read_bytes()
    run("resolution_study", tmp_path)
    assert (tmp_path / "study" / "results.jsonl").read_bytes() == before


def test_the_resnet_is_resnet34():
    """Operations of torchvision's ResNet-34 at 224 px, 3.66 G multiply-adds, less its colours and classes: the first
    layer halves."""
    with torch.device("meta"), FlopCounterMode(display=False) as counted:
        script("resolution_study").resnet(1, 1)(torch.empty(1, 1, 224, 224))
    assert counted.get_total_flops() / 2e9 == pytest.approx(3.66 - 0.08, rel=0.02)


def test_segmentation(tmp_path):
    """Training passes through both sizes in turn, and a Dice between 0 and 1 comes out at each."""
    found = run("pneumothorax_segmentation", tmp_path)
    assert [one["size"] for one in found["epochs"]] == ["64x64", "128x128"]
    assert all(math.isfinite(one["loss"]) for one in found["epochs"])
    assert set(found["dice"]) == {"64", "128"}
    assert all(0 <= value <= 1 for value in found["dice"].values())


@pytest.mark.parametrize("dataset", ["vindr_mammo", "cbis_ddsm"])
def test_mammography(dataset, tmp_path):
    """Exams whole, missing views among them: one loss for each test exam."""
    found = run("mammography_exams", tmp_path, "--dataset", dataset)
    table = resload.open_cache(tmp_path / "exams.zarr").table
    assert found["test_exams"] == table.loc[table["split"] == "test", "group"].nunique() > 0
    assert math.isfinite(found["losses"][0])
    assert math.isfinite(found["test_loss"])


def test_lesions(tmp_path):
    """Boxes of each test film, in its own pixels and inside it."""
    found = run("lesion_detection", tmp_path)
    boxes = pd.read_csv(tmp_path / "boxes.csv", dtype={"id": str})
    table = resload.open_cache(tmp_path / "films.zarr").table.set_index("id")
    assert set(boxes["id"]) == set(table.index[table["split"] == "test"])
    assert len(boxes) == found["boxes"] == 5 * boxes["id"].nunique()
    films = table.loc[boxes["id"]]
    assert (boxes[["x", "y", "width", "height"]] >= 0).all(axis=None)
    assert ((boxes["x"] + boxes["width"]).to_numpy() <= films["width"].to_numpy() + 1e-6).all()
    assert ((boxes["y"] + boxes["height"]).to_numpy() <= films["height"].to_numpy() + 1e-6).all()


def test_release(tmp_path):
    """Nobody's name in what is published, the key not in it, and the files' stored values read back without resload."""
    out = tmp_path / "release"
    script("full_resolution_release").main(["--miniature", "--out", str(out)])
    found = result_of(out)
    key = (tmp_path / "release.key").read_text().strip()
    catalog = resload.Catalog.from_dicom(out / "data" / "archive", progress=False)
    published = b"".join(path.read_bytes() for path in (out / "release.zarr").rglob("*") if path.is_file())
    for secret in (key, *catalog.table["patient"].unique(), *catalog.table["id"], *catalog.table["StudyInstanceUID"]):
        assert str(secret).encode() not in published
    assert found["confidential"] == []
    assert "BurnedInAnnotation" not in found["identifying"]
    assert stored_values_of(out, key, catalog) >= 5


def stored_values_of(out, key, catalog):
    """How many films with native pixels were compared with pydicom's, every value."""
    import zarr

    table = pd.read_parquet(out / "release.zarr" / "samples.parquet")
    native = zarr.open_group(out / "release.zarr", mode="r")["images/native"]
    names = resload.open_cache(out / "release.zarr").with_table(
        catalog.table[["id"]].assign(number=np.arange(len(catalog), dtype=float)), targets=["number"], pseudonymise=key
    )
    compared = 0
    for row, number in enumerate(names.table["number"]):
        film = pydicom.dcmread(catalog.path(int(number)))
        if film.file_meta.TransferSyntaxUID == pydicom.uid.ExplicitVRLittleEndian and "NumberOfFrames" not in film:
            one = table.loc[row]
            pixels = native[row, : one["height"], : one["width"]] * one["scale"] + one["offset"]
            np.testing.assert_array_equal(np.rint(pixels), film.pixel_array)
            compared += 1
    return compared


# -- what their parts promise --


def test_the_detector_returns_the_boxes_it_is_shown(tmp_path):
    """Maps that say where the true boxes lie become these boxes, in the films' pixels, to half a cell; all are hit."""
    example = script("lesion_detection")
    run("lesion_detection", tmp_path)
    cache = resload.open_cache(tmp_path / "films.zarr")
    boxed = np.flatnonzero(cache.table["id"].isin(cache.boxes["id"]))
    cache = cache.with_table(cache.table[["id"]].assign(split=np.where(np.arange(12) == boxed[0], "test", "train")))
    loader = resload.Loader(cache, size=(84, 68), batch_size=4, split="test", boxes=True)
    (batch,) = loader
    found = example.detected(Oracle(batch, around=5.0), loader)
    true = cache.boxes[cache.boxes["id"] == batch.ids[0]]
    sure = found[found["score"] > 0.9]
    assert len(sure) == len(true)
    both = true.merge(sure, on=["id", "label"], suffixes=("", "_found"))
    cell = example.STRIDE / batch.geometry.affine[0, 0].item()
    for side in ("x", "y", "width", "height"):
        assert (both[side] - both[f"{side}_found"]).abs().max() <= cell / 2 + 1e-6
    assert example.hits(found, cache)["sensitivity"] == 1.0
    elsewhere = found.assign(x=0.0, y=0.0, width=0.1, height=0.1)
    assert example.hits(elsewhere, cache)["sensitivity"] == 0.0


class Oracle(torch.nn.Module):
    """The maps of a detector that knows the boxes of one batch, and is a little less sure `around` their centres."""

    def __init__(self, batch, around=-9.0):
        super().__init__()
        self.targets, self.around = batch.detection_targets(), around

    def forward(self, images):
        height, width = (-(-side // 8) for side in images.shape[2:])
        centres, sides = torch.full((len(images), 4, height, width), -9.0), torch.zeros(len(images), 2, height, width)
        for place, target in enumerate(self.targets):
            for (x1, y1, x2, y2), label in zip(target["boxes"].tolist(), target["labels"].tolist(), strict=True):
                y, x = int((y1 + y2) / 16), int((x1 + x2) / 16)
                centres[place, label - 1, max(y - 1, 0) : y + 2, max(x - 1, 0) : x + 2] = self.around
                centres[place, label - 1, y, x] = 9
                sides[place, :, y, x] = torch.tensor([x2 - x1, y2 - y1]).log()
        return centres, sides


def test_the_detectors_loss_falls_to_the_true_boxes(tmp_path):
    """Maps that say the boxes lose next to nothing, less than maps that say nothing or say them a cell beside."""
    loss = script("lesion_detection").detection_loss
    targets = [{"boxes": torch.tensor([[8.0, 16, 40, 32]]), "labels": torch.tensor([2])}]
    batch = types.SimpleNamespace(detection_targets=lambda: targets)
    centres, sides = Oracle(batch)(torch.zeros(1, 1, 64, 64))
    assert loss(centres, sides, targets) < 0.01
    assert loss(centres.roll(1, 3), sides, targets) > 1
    assert loss(centres, sides + 1, targets) > 0.19
    assert loss(torch.full_like(centres, -9), sides, targets) > 1
    assert loss(centres, sides, [{"boxes": torch.zeros(0, 4), "labels": torch.zeros(0, dtype=torch.int64)}]) > 1


def test_dice_is_that_of_the_films_own_pixels(tmp_path):
    """Masks of half the films' size as an answer come near 1; finding nothing is 1 where there is nothing, else 0."""
    example = script("pneumothorax_segmentation")
    made = write_synthetic(tmp_path / "films", 6, size=256, broken=0)
    there = np.zeros((256, 256), bool)
    there[40:121, 30:131] = True
    runs = [encode_runs(there), "-1", encode_runs(there), "-1", "-1", encode_runs(there)]
    masks = pd.DataFrame({"id": made.table["id"], "label": "pneumothorax", "rle": runs})
    catalog = resload.Catalog(made.table.assign(split="val"), masks=masks, root=made.root)
    cache = resload.build(catalog, tmp_path / "films.zarr", sizes=(128,), progress=False)
    stored = torch.from_numpy(cache.read_masks(cache.rows(), 128)).float() / 255

    class Answers(torch.nn.Module):
        def __init__(self, logits):
            super().__init__()
            self.logits = logits

        def forward(self, images):
            return self.logits

    def dice(logits):
        args, train = types.SimpleNamespace(batch_size=6, device="cpu"), types.SimpleNamespace(normalization=None)
        return example.dice(Answers(logits), cache, catalog, 128, args, train)

    assert dice(torch.full_like(stored, -9)) == 0.5
    assert 0.98 < dice(stored.logit(1e-4)) <= 1
    assert dice(stored.roll(30, dims=3).logit(1e-4)) < 0.9


def test_exams_are_as_suspicious_as_their_worst_view():
    """A view that is not there does not count, and another order of the views changes nothing."""
    model = script("mammography_exams").Exams().eval()
    views, there = torch.rand(4, 1, 64, 64), torch.tensor([True, True, False, True])
    with torch.no_grad():
        each = model.view(views)[:, 0]
        assert model(views, there).item() == pytest.approx(each[there].max().item())
        other = views.clone()
        other[2] = 9
        assert model(other, there).item() == pytest.approx(model(views, there).item())
        assert model(other, torch.ones(4, dtype=torch.bool)).item() != pytest.approx(model(views, there).item())


def test_an_exam_has_what_any_of_its_views_has():
    """One positive view suffices; missing and unknown views do not count, and exams of only such are unknown."""
    nan = torch.nan
    targets = torch.tensor([[0, 1, 0, 0], [nan, 0, nan, 0], [nan] * 4]).reshape(-1, 1)
    batch = types.SimpleNamespace(targets=targets, known=targets.isfinite())
    truth, known = script("mammography_exams").truth_of(batch)
    assert truth[:2].tolist() == [1, 0]
    assert known.tolist() == [True, True, False]


@pytest.mark.parametrize("name", ["alexnet_227", "chexnext_multilabel", "tuberculosis", "mammography_exams"])
def test_auc(name):
    """The share of pairs in which the positive has the higher score, ties as half."""
    auc = script(name).auc
    rng = np.random.default_rng(3)
    scores, truth = rng.integers(0, 6, 50), rng.integers(0, 2, 50)
    pairs = scores[truth == 1][:, None] - scores[truth == 0]
    expected = ((pairs > 0) + 0.5 * (pairs == 0)).mean()
    assert auc(torch.from_numpy(scores), torch.from_numpy(truth)) == pytest.approx(expected)
    assert auc(torch.tensor([0.5]), torch.tensor([1.0])) is None


# -- three lines --


PLACE = re.compile(r"^( *)# before: (.*\n(?:\1#         .*\n)*)(.*\n)", re.MULTILINE)
"""A place that was changed: what stood there, on one line or several, and the line that stands there now."""


def before(path):
    """The script as it was."""

    def old(place):
        lines = place[2].splitlines()
        return "".join(f"{place[1]}{line}\n" for line in (lines[0], *(one[len(place[1]) + 10 :] for one in lines[1:])))

    return PLACE.sub(old, path.read_text())


@pytest.mark.parametrize("path", THREE, ids=lambda path: path.stem)
def test_three_lines_are_changed(path):
    """At most three lines, whole statements of resload; with what stood there it is a script that knows no resload."""
    now = [place[3].strip() for place in PLACE.finditer(path.read_text())]
    assert 1 <= len(now) <= 3
    for line in now:
        assert "resload" in line
        assert len(ast.parse(f"def f():\n    {line}").body[0].body) == 1
    then = ast.parse(before(path))
    assert "resload" not in {node.id for node in ast.walk(then) if isinstance(node, ast.Name)}
    assert path.read_text().count("\n    return resload.Loader(") == 1


@pytest.mark.parametrize("name", ["lightning_three_lines", "monai_three_lines"])
@pytest.mark.filterwarnings("ignore:`isinstance:FutureWarning")  # Lightning's summary of the model, of torch's trees
def test_three_lines_run(name, tmp_path):
    """The changed scripts of Lightning and MONAI train and validate."""
    words = ["--device", "cpu", "--miniature", "--out", str(tmp_path)]
    script(f"frameworks/{name}").main(words)
    assert 0 < result_of(tmp_path)["val_loss"] < 5


@pytest.mark.filterwarnings("ignore:NvImgCodecPydicomReader")
def test_monai_before_and_after_see_the_same(tmp_path):
    """MONAI's script as it was runs too; both give each validation film the same class."""
    now = script("frameworks/monai_three_lines")
    then = types.ModuleType("then")
    text = before(EXAMPLES / "frameworks" / "monai_three_lines.py").replace("num_workers=2", "num_workers=0")
    exec(compile(text, "then", "exec"), then.__dict__)
    args = now.arguments(["--miniature", "--device", "cpu", "--out", str(tmp_path)])
    (batch,), (theirs,) = now.loader_of("val", args), then.loader_of("val", args)
    classes = {path.stem: path.parent.name for path in (tmp_path / "data" / "val").glob("*/*.png")}
    named = [sorted(set(classes.values()))[k] for k in batch.targets.argmax(1)]
    assert named == [classes[Path(name).stem] for name in batch.ids]
    assert sorted(theirs[1].tolist()) == sorted(batch.targets.argmax(1).tolist())
    assert theirs[0].shape == batch.images.shape


def test_timm_runs_with_a_stand_in(tmp_path, monkeypatch):
    """A module that offers `create_model` is asked for the model by name and classes, and given three channels."""
    asked = {}

    def create_model(name, *, num_classes):
        asked.update(name=name, classes=num_classes)
        layers = torch.nn.Conv2d(3, 8, 3, stride=2), torch.nn.AdaptiveAvgPool2d(1), torch.nn.Flatten()
        return torch.nn.Sequential(*layers, torch.nn.Linear(8, num_classes))

    monkeypatch.setitem(sys.modules, "timm", types.SimpleNamespace(create_model=create_model))
    found = run("frameworks/timm_three_lines", tmp_path, "--model", "resnet34")
    assert asked == {"name": "resnet34", "classes": 2}
    assert 0 < found["val_loss"] < 5


def test_timm_is_asked_for(tmp_path, monkeypatch):
    """Without timm the script says what to install."""
    monkeypatch.setitem(sys.modules, "timm", None)
    with pytest.raises(SystemExit, match="pip install timm"):
        run("frameworks/timm_three_lines", tmp_path)


# -- what they say --


@pytest.mark.parametrize("path", [*SCRIPTS, *THREE], ids=lambda path: path.stem)
def test_each_is_one_readable_file(path):
    """At most 175 lines, of resload and packages only, in the table of the README."""
    text = path.read_text()
    assert text.count("\n") <= 175
    assert "from common" not in text
    assert f"`{path.relative_to(EXAMPLES).as_posix()}`" in (EXAMPLES / "README.md").read_text()


def test_data_or_miniature(capsys):
    """Without either, an example says which it needs."""
    with pytest.raises(SystemExit):
        script("alexnet_227").main([])
    assert "--data --miniature" in capsys.readouterr().err


NEEDS = re.compile(
    r"^\| `(\w+)\.py` \| (\d+) x (\d+) \| ([\d,]+) x (\d) B \| ([\d.]+) \| "
    r"([\d,]+) \| (\d+) \| ([\d.]+) \| ([\d.]+) \|$",
    re.MULTILINE,
)


def needs():
    """The rows of the README's table of full runs, as numbers."""
    found = NEEDS.findall((EXAMPLES / "README.md").read_text())
    return [(name, *(float(one.replace(",", "")) for one in numbers)) for name, *numbers in found]


STUDIES = re.compile(
    r"^\| `(\w+)\.py` \| ([\w ]+) \| (\w+) \| (\d+) \| ([\d.]+) \| ([\d,]+) \| (\d+) \| ([\d.]+) \| ([\d.]+) \|$",
    re.MULTILINE,
)


def network_of(name):
    """An example's network."""
    from monai.networks.nets import DenseNet121

    example = script(name)
    match name:
        case "alexnet_227" | "chexnext_multilabel":
            return example.network(14)
        case "tuberculosis":
            return DenseNet121(spatial_dims=2, in_channels=1, out_channels=1)
        case "bone_age":
            return example.BoneAge(120, 40)
        case "pneumothorax_segmentation":
            return example.network()
        case "mammography_exams":
            return example.Exams()
        case "lesion_detection":
            return example.Detector(10)


def gflop(name, height, width):
    """Operations of an example's network for one film, forward and back; nothing is computed."""
    channels = 3 if name == "alexnet_227" else 1
    with torch.device("meta"):
        inputs = [torch.empty(4, channels, int(height), int(width))]
        inputs += [torch.empty(4)] * (name == "bone_age")
        inputs += [torch.ones(4, dtype=torch.bool)] * (name == "mammography_exams")
        with FlopCounterMode(display=False) as counted:
            outputs = network_of(name)(*inputs)
            sum(one.sum() for one in outputs).backward()
    return counted.get_total_flops() / 4 / 1e9


@pytest.mark.parametrize("row", needs(), ids=lambda row: f"{row[0]}-{row[1]:.0f}")
def test_the_arithmetic_of_a_full_run(row):
    """Bytes of the cache, operations of the network, hours at 10 TFLOP/s, and the epochs are those of the script."""
    name, height, width, cached, per_pixel, gigabytes, films, epochs, operations, hours = row
    assert gigabytes == pytest.approx(cached * height * width * per_pixel / 1e9, abs=0.051)
    assert operations == pytest.approx(gflop(name, height, width), rel=0.01)
    assert hours == pytest.approx(films * epochs * operations / 1e4 / 3600, abs=0.05 if hours >= 0.1 else 0.005)
    args = script(name).arguments(["--data", "."])
    assert args.epochs == epochs
    sizes = [args.size] if hasattr(args, "size") else args.sizes
    assert (int(height), int(width)) in {
        tuple(resload.Size(*one) if isinstance(one, tuple) else (one, one)) for one in sizes
    }


def studies():
    """The rows of the README's table of studies: example, network, arm, and numbers."""
    found = STUDIES.findall((EXAMPLES / "README.md").read_text())
    return [(*one[:3], *(float(number.replace(",", "")) for number in one[3:])) for one in found]


def asked(name):
    """The study that an example asks for without options, and its networks by name."""
    example = script(name)
    args = example.arguments(["--data", "."])
    common = {"sizes": args.sizes, "seeds": args.seeds, "kernels": ["triangle"], "fits": ["pad"], "epochs": args.epochs}
    if name == "bone_age_study":
        settings = Settings(targets=["boneage"], task="regression", margin=args.margin, **common)
        return settings, {"densenet121 and sex": example.BoneAge}
    settings = Settings(targets=args.labels, control=args.control, **common)
    return settings, {"resnet34": example.resnet, "densenet121": example.densenet}


@functools.cache
def forward_gflop(name, model, side):
    """Operations of a study's network on its way through one film; nothing is computed."""
    with torch.device("meta"), torch.no_grad(), FlopCounterMode(display=False) as counted:
        inputs = [torch.empty(1, 1, side, side)] + [torch.empty(1)] * (name == "bone_age_study")
        asked(name)[1][model](1, 1).eval()(*inputs)
    return counted.get_total_flops() / 1e9


def gflop_of_study(name, model, size):
    """Operations for one film of a size, forward and back.

    Back are twice those forward, but for what the first layer would tell the film: less than a hundredth. Sizes that
    can be halved five times differ by their area.
    """
    side = 256 if size.height % 32 == 0 else size.height
    return 3 * forward_gflop(name, model, side) * size.pixels / side**2


@pytest.mark.parametrize("row", studies(), ids=lambda row: "-".join(row[:3]))
def test_the_arithmetic_of_a_full_study(row):
    """How many networks the script asks for, their operations and hours at 10 TFLOP/s, and the bytes of the cache."""
    name, model, arm, networks, gigabytes, films, epochs, operations, hours = row
    settings, models = asked(name)
    sizes = [
        run.arm.size
        for run in grid.runs(settings, models)
        if run.arm.curve.model == model and run.arm.curve.control == (arm == "control")
    ]
    cached = {"resolution_study": 112_120, "bone_age_study": 14_236}[name]
    assert networks == len(sizes)
    assert epochs == settings.epochs
    assert gigabytes == pytest.approx(cached * sum(size.pixels for size in settings.ladder) / 1e9, abs=0.051)
    assert films == {"resolution_study": round(0.72 * cached), "bone_age_study": 12_611}[name]
    total = sum(gflop_of_study(name, model, size) for size in sizes)
    assert operations == pytest.approx(total / len(sizes), rel=0.01)
    assert hours == pytest.approx(films * epochs * total / 1e4 / 3600, rel=0.01)


def test_one_label_without_control():
    """The README's words of a first answer: the hours of the rows of sizes, by eight."""
    hours = sum(row[-1] for row in studies() if row[0] == "resolution_study" and row[2] == "sizes") / 8
    assert f"`--labels Nodule --no-control` about {hours:.0f} hours" in (EXAMPLES / "README.md").read_text()


def test_every_trained_example_is_in_the_table():
    """All but the release, which trains nothing."""
    trained = {path.stem for path in SCRIPTS} - {"full_resolution_release"}
    assert {row[0] for row in needs()} | {row[0] for row in studies()} == trained
    assert len(studies()) == 5


# -- on real films --


@pytest.mark.real
@pytest.mark.slow
@pytest.mark.parametrize(("name", "words"), [("alexnet_227", []), ("chexnext_multilabel", ["--size", "64"])])
def test_real_chest_films(name, words, real_data, tmp_path):
    """The real films of ChestX-ray14 that are there, one epoch: divided by patient, and finite losses."""
    common = ["--data", str(real_data / "nih"), "--out", str(tmp_path), "--epochs", "1", "--batch-size", "32"]
    script(name).main([*common, "--device", "cpu", *words])
    found = result_of(tmp_path)
    table = resload.open_cache(tmp_path / "films.zarr").table
    assert table.groupby("patient")["split"].nunique().max() == 1
    assert found["test_films"] == (table["split"] == "test").sum() > 10
    assert found["auc"]["Pneumonia"] is not None
    assert np.isfinite([found.get("test_loss", 0.0), *found.get("losses", [])]).all()
