"""A study's report: what it says of results that are known, and that its files can be read by others."""

import base64
import html
import re
import sys
from html.parser import HTMLParser

import numpy as np
import pandas as pd
import pytest
import study_folders as folders
from PIL import Image

import resload
from resload.errors import ArgumentError, StudyError
from resload.size import Size, as_size
from resload.study import Line, drawing, opened, page, panels, reporting, tables, words
from resload.study.folder import Folder
from resload.study.grid import Curve
from resload.study.lesions import octaves
from resload.testing import write_synthetic

PLAIN, CONTROL = (Curve("small", "triangle", "stretch", control) for control in (False, True))
ODD = "<b>&_50%</b>$x$"


@pytest.fixture(scope="module")
def study(tmp_path_factory):
    """Four sizes, three seeds, two targets, and the control arm."""
    return opened(folders.write(tmp_path_factory.mktemp("known") / "study"))


@pytest.fixture(scope="module")
def report(study, tmp_path_factory):
    """The folder it was written to."""
    return study.write_report(tmp_path_factory.mktemp("report")).parent


class Page(HTMLParser):
    """A page's elements, texts, and what it points at."""

    def __init__(self, text):
        super().__init__(convert_charrefs=True)
        self.open, self.texts, self.points, self.alts, self.ids, self.tags = [], [], [], [], [], []
        self.feed(text)
        self.close()

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        if tag not in ("meta", "img", "br"):
            self.open.append(tag)
        for name, value in attrs:
            if name in ("src", "href"):
                self.points.append(value)
            if name in ("alt", "id"):
                (self.alts if name == "alt" else self.ids).append(value)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.texts.append(data)


def read(folder):
    found = Page((folder / "report.html").read_text(encoding="utf-8"))
    assert not found.open
    return found


# -- what is said --


def test_the_plateau_is_the_size_from_which_nothing_is_gained(study):
    """Nodules from 256 on, effusions from the smallest."""
    assert (study.plateau("nodule"), study.plateau("effusion")) == (Size(256, 256), Size(64, 64))
    assert [words.answer(study, Line(PLAIN, name)) for name in ("nodule", "effusion")] == ["256x256", "64x64"]


def test_findings_say_the_difference_the_margin_and_the_size_that_failed(study):
    found = words.findings(study, Line(PLAIN, "nodule"))
    assert re.match(
        r"As good as 512x512 from 256x256 on, by the margin of 0\.030 that was set beforehand \(difference -?0\.0\d\d, "
        r"95 % interval -0\.0\d\d to 0\.0\d\d\); 128x128 is worse by more than the margin \(difference -0\.1\d\d,",
        found[0],
    )
    assert "No smaller size is trained" in words.findings(study, Line(PLAIN, "effusion"))[0]


def test_the_control_arm_divides_what_the_smallest_size_loses(study):
    """As much is lost with the detail alone, for it was made so."""
    told = words.findings(study, Line(PLAIN, "nodule"))[1]
    whole, detail = map(
        float, re.match(r"The control arm: of the ([\d.]+) that 64x64 loses, ([\d.]+) are", told).groups()
    )
    assert whole > 0.2
    assert detail == pytest.approx(whole, abs=0.05)
    assert "no loss of 64x64 was shown" in words.findings(study, Line(PLAIN, "effusion"))[1]


def test_the_ratio_has_both_deviations_and_the_ensemble_its_rival(study):
    said = " ".join(words.findings(study, Line(PLAIN, "nodule")))
    ratio = r"The ratio of 64x64 to 512x512 is [67]\d\.\d % \(standard deviation \d\.\d over patients and \d\.\d over"
    assert re.search(ratio, said)
    assert "The mean of what all 4 sizes say reaches 0." in said
    effusion = " ".join(words.findings(study, Line(PLAIN, "effusion")))
    assert "one of as many networks of one size is the fair rival" in effusion


def test_nothing_to_caution_of_is_no_caution(study):
    assert words.cautions(study) == []


def test_cautions_name_few_patients_few_seeds_and_notes(tmp_path):
    path = folders.write(tmp_path / "study", n_seeds=1, control=False, margin=0.001, notes=["odd <films>"])
    folder = Folder(path)
    films = folder.films()
    folder.write_films(**{**films, "patients": np.where(films["truth"][:, 0] == 1, films["rows"] % 12, films["rows"])})
    said = " ".join(words.cautions(opened(path)))
    assert "Few test patients with the finding (nodule: 12)" in said
    assert "One seed only" in said
    assert "odd <films>" in said


def test_a_spread_over_seeds_above_the_margin_is_told(tmp_path):
    said = words.cautions(opened(folders.write(tmp_path / "study", margin=1e-4, control=False)))
    assert any(text.startswith("Networks trained again differ by more than the margin (nodule at") for text in said)


def test_an_incomplete_study_says_what_is_missing_and_no_plateau(tmp_path):
    """The reference of one target is not trained, and a seed of the other: a report all the same."""

    def skip(target, shows, seed, **_):
        return (target == "effusion" and shows == 512) or (target == "nodule" and (shows, seed) == (128, 2))

    found = opened(folders.write(tmp_path / "study", skip=skip, control=False))
    assert words.answer(found, Line(PLAIN, "effusion")) == "not said yet"
    assert "nodule at 128x128, seed 2" in words.missing(found)
    text = " ".join(Page(page.made(found, {})).texts)
    assert "The study is not complete: 4 networks are missing" in text
    assert "The reference 512x512 is not trained yet for effusion" in text
    assert "the reference 512x512 is not trained" in text
    assert r"$^\ast$" not in tables.latex(found).split(r"\caption{effusion")[1]
    assert words.plateau_of(found, Line(PLAIN, "effusion")) is None


def test_a_study_without_a_network_has_no_report(tmp_path):
    found = opened(folders.write(tmp_path / "study", skip=lambda **_: True))
    with pytest.raises(StudyError, match="no network is finished yet, so there is nothing to report"):
        found.write_report()
    with pytest.raises(StudyError, match="nothing to report"):
        found.draw(tmp_path / "a.png")


def test_numbers_have_one_decimal_more_than_the_margin_and_no_negative_zero(study):
    assert words.number(study, -0.0001) == "0.000"
    assert words.number(study, -0.0126) == "-0.013"


def test_of_errors_less_is_better(tmp_path):
    """The same answers as numbers: smaller sizes are nearer to 0 and 1, so that none of them loses anything."""
    found = opened(folders.write(tmp_path / "study", task="regression", margin=0.5))
    assert words.answer(found, Line(PLAIN, "nodule")) == "64x64"
    said = words.findings(found, Line(PLAIN, "nodule"))
    assert re.match(r"As good as 512x512 from 64x64 on, by the margin of 0\.50 .*\(difference -0\.\d\d, 95 % ", said[0])
    assert "no loss of 64x64 was shown" in said[1]
    assert "Mean absolute error" not in tables.latex(found)
    assert "error (95 % interval)" in page.made(found, {})


# -- the page --


def test_the_page_stands_alone(report):
    """It points at nothing but its own parts: no scripts, no style sheets, no pictures from elsewhere."""
    found = read(report)
    assert {point[:5] for point in found.points} == {"data:", *(point[:5] for point in found.points if point[0] == "#")}
    assert {point[1:] for point in found.points if point[0] == "#"} == set(found.ids)
    assert not {"script", "link", "iframe", "object"} & set(found.tags)
    assert "url(" not in (report / "report.html").read_text(encoding="utf-8")
    assert "@import" not in (report / "report.html").read_text(encoding="utf-8")


def test_the_page_has_every_target_size_figure_and_setting(report, study):
    found = read(report)
    text = " ".join(found.texts)
    positive = int((study.truth("nodule") == 1).sum())
    words_of = ("nodule", "effusion", "64x64", "128x128", "256x256", "512x512", "enlarged to 512x512", "Sabottke",
                "margin of 0.030", f"{positive} of 400", '"batch_size": 16', "of some kind", "Seeds: 0, 1")  # fmt: skip
    assert [word for word in words_of if word not in text] == []
    assert len(found.alts) == 4
    assert all(found.alts)


def test_names_are_escaped(tmp_path):
    """A target, a model and a note that look like markup are shown as they are written, in the tables too."""
    path = folders.write(tmp_path / "study", targets=(ODD, "effusion"), models=("<i>net</i>", "other"), control=False,
                         notes=["<script>no</script>"])  # fmt: skip
    found = opened(path)
    text = page.made(found, {})
    assert not re.search(r"<b>&_|<script>|<i>", text)
    assert html.escape(ODD) in text
    assert ODD in " ".join(Page(text).texts)
    latex = tables.latex(found)
    assert r"\textless{}b\textgreater{}\&\_50\%\textless{}/b\textgreater{}\$x\$" in latex
    assert r"\textless{}i\textgreater{}net" in latex
    assert not re.search(r"(?<!\\)[%&_](?=50)", latex)


def test_the_same_study_gives_the_same_bytes(report, study):
    """Read anew, laid out anew."""
    again, figure = opened(study.path), drawing.sizes(study)
    assert (report / "figures" / "size.png").read_bytes() == figure.png()
    assert base64.b64encode(figure.svg()).decode() in (report / "report.html").read_text(encoding="utf-8")
    assert page.made(again, {}) == page.made(study, {})
    assert tables.csv(again).encode() == (report / "table.csv").read_bytes()
    assert tables.latex(again).encode() == (report / "table.tex").read_bytes()


# -- tables --


def test_the_csv_is_the_table(report, study):
    found = pd.read_csv(report / "table.csv")
    pd.testing.assert_frame_equal(found, study.table, check_dtype=False)


def test_latex_has_a_table_for_each_target_with_as_many_cells_as_columns(report):
    text = (report / "table.tex").read_text(encoding="utf-8")
    assert text.count(r"\begin{table}") == text.count(r"\end{table}") == 2
    columns = len(re.search(r"\\begin\{tabular\}\{(\w+)\}", text)[1])
    rows = [line for line in text.splitlines() if line.endswith(r"\\")]
    assert len(rows) == 2 * (1 + 4 + 3)
    assert all(len(re.findall(r"(?<!\\)&", row)) == columns - 1 for row in rows)
    assert r"256$\times$256$^\ast$" in text


# -- figures --


def test_figures_are_written_at_print_size(report):
    for name in ("size", "cost", "lesions", "training"):
        with Image.open(report / "figures" / f"{name}.png") as picture:
            assert picture.width >= 1800
            assert len(np.unique(np.asarray(picture.convert("L")))) > 20


def test_a_figure_that_a_study_has_no_more_goes(study, tmp_path, monkeypatch):
    """Of an earlier report into the same folder."""
    figure = drawing.sizes(study)
    monkeypatch.setattr(reporting, "drawn", lambda _: {"size": figure, "cost": None, "lesions": None, "training": None})
    (tmp_path / "figures").mkdir()
    (tmp_path / "figures" / "lesions.png").write_bytes(b"of before")
    study.write_report(tmp_path)
    assert [path.name for path in (tmp_path / "figures").iterdir()] == ["size.png"]


def test_without_boxes_or_epochs_there_is_no_figure_of_them(tmp_path):
    found = opened(folders.write(tmp_path / "study", targets=("nodule",), sizes=(64,), control=False, kept=False))
    assert panels.lesions(found) is None
    assert panels.cost(found) is None


def test_draw_writes_figure_one_and_refuses_what_is_no_png(study, report, tmp_path):
    study.draw(tmp_path / "one.png")
    assert (tmp_path / "one.png").read_bytes() == (report / "figures" / "size.png").read_bytes()
    with pytest.raises(ArgumentError, match=r"must end in \.png"):
        study.draw(tmp_path / "one.pdf")


def test_detectability_is_the_area_under_the_curve_by_pixels(study):
    """The films' mean over octaves is the area, and an octave's pixels are its own."""
    line = Line(PLAIN, "nodule")
    for size, bins in octaves(study, line).items():
        whole = sum(one.films * one.detectability.value for one in bins) / sum(one.films for one in bins)
        assert sum(one.films for one in bins) == (study.truth("nodule") == 1).sum()
        assert whole == pytest.approx(study.comparisons[line].arms[size].value)
        assert all(one.low <= one.middle < 2 * one.low for one in bins)
        assert all(one.detectability.low <= one.detectability.value <= one.detectability.high for one in bins)


def test_several_models_are_told_apart(tmp_path):
    """Each curve is named by what differs, and costs are drawn for each."""
    found = opened(folders.write(tmp_path / "study", models=("small", "large"), targets=("nodule",)))
    assert [words.heading(found, line) for line in words.plain_lines(found)] == ["nodule (small)", "nodule (large)"]
    assert words.control_of(found, Line(PLAIN, "nodule")) == Line(CONTROL, "nodule")
    assert panels.cost(found) is not None
    assert "nodule (large)" in " ".join(Page(page.made(found, {})).texts)


# -- what a study keeps for its report --


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """A study of synthetic films with boxes, one epoch at two small sizes, then at one of them and a third."""
    folder = tmp_path_factory.mktemp("trained")
    catalog = write_synthetic(folder / "films", 40, size=64, seed=3).split({"train": 0.5, "val": 0.2, "test": 0.3})
    cache = resload.build(catalog, folder / "films.zarr", (8, 16, 32), progress=False)
    asked = {"targets": ["nodule"], "seeds": 1, "epochs": 1, "batch_size": 4, "progress": False, "reference": 16}
    resload.study.run(cache, folder / "study", sizes=(8, 16), at=16, normalize=16, **asked)
    pictures = [(folder / "study" / "examples.png").read_bytes()]
    found = resload.study.run(cache, folder / "study", sizes=(16, 32), at=16, normalize=16, **asked)
    pictures.append((folder / "study" / "examples.png").read_bytes())
    return cache, found, pictures


def test_the_largest_box_of_each_test_film_is_kept_in_pixels_of_each_size(trained):
    cache, study, _ = trained
    films = study.films
    assert list(zip(films["shown_fits"], films["shown_sizes"], strict=True)) == [
        ("stretch", "8x8"), ("stretch", "16x16"), ("stretch", "32x32")]  # fmt: skip
    boxes = cache.boxes.groupby("id")
    for place, row in enumerate(films["rows"].tolist()):
        film = cache.table.iloc[row]
        if film["nodule"] != 1:
            assert np.isnan(films["lesion_pixels"][:, place, 0]).all()
            continue
        own = boxes.get_group(film["id"])
        shorter = np.minimum(own["width"] / film["width"], own["height"] / film["height"]).max()
        assert films["lesion_pixels"][:, place, 0] == pytest.approx(shorter * np.array([8, 16, 32]), rel=1e-4)


def test_splits_are_counted_and_spacing_is_the_median(trained):
    cache, study, _ = trained
    films, own = study.films, cache.table.iloc[study.films["rows"]]
    assert films["split_films"][2] == len(own)
    assert films["split_patients"][2] == own["patient"].nunique()
    assert films["split_positive"][2, 0] == (own["nodule"] == 1).sum()
    facts = cache.facts(films["rows"], as_size(16))[:, :2]
    assert films["spacings"][1] == pytest.approx(np.median(facts, axis=0))


def test_examples_are_drawn_at_the_start_again_for_new_sizes_and_shown(trained, tmp_path, monkeypatch):
    _, study, (before, after) = trained
    assert before != after
    monkeypatch.setattr(reporting, "drawn", lambda _: {})
    folder = study.write_report(tmp_path).parent
    assert (folder / "figures" / "examples.png").read_bytes() == after
    assert read(folder).alts == ["Test films at each size."]


def test_a_missing_package_costs_the_picture_only(trained, tmp_path, monkeypatch):
    """Films are trained on where nothing can be drawn."""
    cache, _, _ = trained
    monkeypatch.setitem(sys.modules, "PIL.Image", None)
    found = resload.study.run(cache, tmp_path / "study", sizes=(8,), targets=["nodule"], seeds=1, epochs=1,
                              batch_size=4, progress=False)  # fmt: skip
    assert len(found.runs) == 1
    assert not (tmp_path / "study" / "examples.png").exists()
