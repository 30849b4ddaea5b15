"""The same film twice is found, different films are not, and a split does not part what is known to be one."""

import json
import logging
import re
from pathlib import Path

import imagecodecs
import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import resload
from resload import Catalog, near_duplicates
from resload.cli import duplicates, main
from resload.decode import decode
from resload.errors import ArgumentError, CatalogError
from resload.leakage import cluster_names, overlaps, search, shared_groups
from resload.leakage.overlaps import overlap_between
from resload.resampling import resample
from resload.testing import synthetic_film, write_synthetic

HALF = {"train": 0.5, "test": 0.5}


def brute(images, threshold):
    """Every pair by numpy's own correlation."""
    varied = images.min(axis=1) != images.max(axis=1)
    with np.errstate(all="ignore"):
        found = np.corrcoef(images.astype(np.float64))
    a, b = np.nonzero(np.triu(np.abs(found) >= threshold, 1) & varied[:, None] & varied[None, :])
    return list(zip(a.tolist(), b.tolist(), strict=True)), found[a, b]


# -- the search --


def films_like(rng, n, pixels, spread):
    """Vectors around a common one, as radiographs are; some of them copies, inverted copies, or constant."""
    base = rng.normal(size=pixels)
    images = base + spread * rng.normal(size=(n, pixels)) @ np.diag(np.linspace(1, 0.1, pixels))
    for copy, of in rng.integers(0, n, (n // 4, 2)):
        noise = 0.02 * rng.normal(size=pixels)
        images[copy] = rng.choice([-1, 1]) * rng.uniform(0.3, 2) * images[of] + rng.normal() + noise
    images[rng.integers(0, n)] = 3.0
    low, high = images.min(), images.max()
    return (255 * (images - low) / (high - low)).astype(np.uint8)


@given(st.integers(0, 2**32), st.integers(2, 90), st.integers(4, 60), st.floats(0.01, 2.0), st.floats(0.5, 0.999))
def test_the_search_is_exact(seed, n, pixels, spread, threshold):
    """Against every pair by numpy's corrcoef: the same pairs and the same correlations, whatever was pruned."""
    images = films_like(np.random.default_rng(seed), n, pixels, spread)
    expected, values = brute(images, threshold)
    found = search.similar_pairs(images, threshold, threads=2)
    clear = np.abs(np.abs(values) - threshold) > 1e-12
    pairs = list(zip(found.first.tolist(), found.second.tolist(), strict=True))
    assert {pair for pair, sure in zip(expected, clear, strict=True) if sure} <= set(pairs)
    assert all(abs(value) >= threshold for value in found.correlation)
    if clear.all():
        assert pairs == expected
        assert np.allclose(found.correlation, values, atol=1e-12)


def test_the_search_is_exact_over_many_blocks():
    """Blocks of films, and blocks of blocks, miss no pair, and few pairs are left to compare in full."""
    rng = np.random.default_rng(5)
    smooth = rng.normal(size=(3000, 6, 6)).astype(np.float32)
    images = np.clip(128 + 30 * resample(smooth, (16, 16)), 0, 255).astype(np.uint8).reshape(3000, -1)
    images[2900:] = 255 - images[:100]
    expected, values = brute(images, 0.9)
    found = search.similar_pairs(images, 0.9)
    assert list(zip(found.first.tolist(), found.second.tolist(), strict=True)) == expected
    assert np.allclose(found.correlation, values, atol=1e-12)
    assert len(expected) >= 100
    assert found.compared < 20 * len(expected)


def test_what_is_pruned_depends_on_the_directions_and_the_answer_does_not(monkeypatch):
    """Two directions and two films to take them from leave more pairs, and the same ones are found."""
    rng = np.random.default_rng(6)
    images = films_like(rng, 400, 50, 0.5)
    found = search.similar_pairs(images, 0.97)
    monkeypatch.setattr(search, "DIRECTIONS", 2)
    monkeypatch.setattr(search, "SAMPLE", 2)
    other = search.similar_pairs(images, 0.97)
    assert other.compared > found.compared
    assert (found.first.tolist(), found.second.tolist()) == (other.first.tolist(), other.second.tolist())


def test_a_constant_image_is_nobodys_duplicate():
    """Two black films are no copies of each other, or of anything."""
    images = np.zeros((4, 16), np.uint8)
    images[2:] = np.arange(16)
    found = search.similar_pairs(images, 0.98)
    assert (found.first.tolist(), found.second.tolist()) == ([2], [3])
    assert search.similar_pairs(images[:2], 0.98).first.size == 0


def test_too_many_pairs_are_no_copies(monkeypatch):
    """A threshold that half of all pairs reach is refused, with what to do."""
    monkeypatch.setattr(search, "MOST_PAIRS", 10)
    with pytest.raises(ArgumentError, match=r"more than 10 pairs correlate by 0\.98 or more.*raise threshold"):
        search.similar_pairs(np.tile(np.arange(16, dtype=np.uint8), (9, 1)), 0.98)


@pytest.mark.parametrize("threshold", [0.0, 1.0, -0.5, float("nan")])
def test_a_threshold_is_a_correlation(threshold):
    """0 would find all pairs, 1 none for rounding."""
    with pytest.raises(ArgumentError, match="threshold is a correlation between 0 and 1"):
        search.similar_pairs(np.eye(4), threshold)


# -- films --


def copies(pixels):
    """One film as it circulates: JPEG, inverted, half as large, brighter; each (name, file ending, bytes)."""
    half = resample(pixels, (pixels.shape[0] // 2, pixels.shape[1] // 2))
    brighter = (40 + 0.8 * pixels).astype(np.uint8)
    return [
        ("jpeg", "jpg", imagecodecs.jpeg8_encode(pixels, level=90)),
        ("inverted", "png", imagecodecs.png_encode(255 - pixels, level=1)),
        ("half", "png", imagecodecs.png_encode(half, level=1)),
        ("brighter", "png", imagecodecs.png_encode(brighter, level=1)),
    ]


def with_copies(films, folder):
    """A catalog of (name, pixels) films and their four copies each; `film` says whose copy a row is."""
    folder.mkdir(exist_ok=True)
    rows = []
    for name, pixels in films:
        original = ("original", "png", imagecodecs.png_encode(pixels, level=1))
        for kind, ending, data in [original, *copies(pixels)]:
            path = folder / f"{name}_{kind}.{ending}"
            path.write_bytes(data)
            rows.append({"id": f"{name}_{kind}", "path": path.name, "film": name, "kind": kind, "patient": name})
    return Catalog(pd.DataFrame(rows), root=folder)


def check_all_copies_are_found(pairs, catalog):
    """Each two copies of one film, and no two of different films; inverted where exactly one of them is."""
    table = catalog.table.set_index("id")
    a, b = table.loc[pairs["id_a"]], table.loc[pairs["id_b"]]
    confirmed = pairs["confirmed"].to_numpy()
    same = a["film"].to_numpy() == b["film"].to_numpy()
    assert same[confirmed].all()
    assert confirmed.sum() == 10 * table["film"].nunique()
    one_inverted = (a["kind"] == "inverted").to_numpy() ^ (b["kind"] == "inverted").to_numpy()
    assert (pairs["inverted"].to_numpy() == one_inverted)[confirmed].all()
    assert pairs["same_patient"].astype(bool)[confirmed].all()


@pytest.mark.real
@pytest.mark.slow
def test_copies_of_real_films_are_found_and_nothing_else(real_data, tmp_path):
    """90 films of ChestX-ray14, each also as JPEG, inverted, half as large and brighter: 900 pairs, no false one."""
    paths = sorted((real_data / "nih" / "images").iterdir())
    catalog = with_copies([(path.stem, decode(path).pixels) for path in paths], tmp_path / "films")
    pairs = near_duplicates(catalog, progress=False)
    assert len(paths) == 90
    check_all_copies_are_found(pairs, catalog)
    assert pairs["confirmed"].all()
    assert pairs["correlation"].min() > 0.99


@pytest.mark.real
def test_real_dicom_copies_are_found(real_data):
    """One CR film in two transfer syntaxes, and a DX film that was made of another by exchanging black and white."""
    films = Catalog.from_folder(real_data / "dicom", classes=False, progress=False)
    pairs = near_duplicates(films, progress=False)
    assert pairs[["confirmed", "inverted"]].to_numpy().tolist() == [[True, True], [True, False]]
    assert pairs["id_a"].tolist() == ["Fake_MONOHR1", "RG2_JLSL"]
    assert pairs["id_b"].str.slice(0, 8).tolist() == ["siim_1.2", "RG2_JPLL"]
    assert pairs["fine_correlation"].min() > 0.9999


@pytest.fixture(scope="module")
def copied(tmp_path_factory):
    """Twelve synthetic films with four copies each."""
    films = [(f"film{i}", synthetic_film(i, size=192, bits=8).pixels) for i in range(12)]
    return with_copies(films, tmp_path_factory.mktemp("copied"))


def test_copies_of_synthetic_films_are_found(copied):
    """The films of `resload.testing` too, from their files."""
    check_all_copies_are_found(near_duplicates(copied, progress=False), copied)


def test_a_cache_says_the_same_from_its_levels(copied, tmp_path):
    """From stored levels, and from sizes that are made of them; a view of a cache has its own films only."""
    stored = resload.build(copied, tmp_path / "a.zarr", (32, 128), progress=False)
    check_all_copies_are_found(near_duplicates(stored, progress=False), copied)
    made = resload.build(copied, tmp_path / "b.zarr", (160,), progress=False)
    check_all_copies_are_found(near_duplicates(made, progress=False), copied)
    rows = np.flatnonzero(stored.table["id"].str.startswith("film3_"))
    assert len(near_duplicates(stored.select(rows), progress=False)) == 10


def test_a_small_cache_confirms_at_its_largest_level(copied, tmp_path):
    """64 is the most there is; the smallest size has to be there."""
    cache = resload.build(copied, tmp_path / "small.zarr", (64,), progress=False)
    pairs = near_duplicates(cache, progress=False)
    check_all_copies_are_found(pairs, copied)
    assert np.array_equal(
        pairs["fine_correlation"], near_duplicates(cache, confirm=64, progress=False)["fine_correlation"]
    )
    with pytest.raises(resload.errors.SizeError):
        near_duplicates(cache, size=100, progress=False)


def test_a_pair_that_only_looks_alike_from_afar_is_not_confirmed(tmp_path):
    """Two films with one coarse shape and different fine detail: a pair at 8 px, none at 128."""
    rng = np.random.default_rng(0)
    coarse = np.kron(rng.integers(60, 190, (4, 4)), np.ones((32, 32)))
    for name in "ab":
        detail = np.kron(rng.choice([-1, 1], (64, 64)), np.array([[40, -40], [-40, 40]]))
        (tmp_path / f"{name}.png").write_bytes(imagecodecs.png_encode((coarse + detail).clip(0, 255).astype(np.uint8)))
    catalog = Catalog(pd.DataFrame({"id": ["a", "b"], "path": ["a.png", "b.png"]}), root=tmp_path)
    pairs = near_duplicates(catalog, size=8, progress=False)
    assert pairs[["id_a", "id_b", "confirmed"]].to_numpy().tolist() == [["a", "b", False]]
    assert pairs["fine_correlation"].iloc[0] < 0.9
    assert cluster_names(catalog.table["id"], pairs).isna().all()


def test_what_is_not_known_of_a_pair_is_missing(tmp_path):
    """Without patients, splits and data sets the columns are there, and empty."""
    data = imagecodecs.png_encode(synthetic_film(0, size=64, bits=8).pixels)
    for name in "ab":
        (tmp_path / f"{name}.png").write_bytes(data)
    pairs = near_duplicates(Catalog.from_folder(tmp_path, progress=False), progress=False)
    assert len(pairs) == 1
    empty = ["same_patient", "split_a", "split_b", "data_set_a", "data_set_b", "overlap"]
    assert pairs[empty].isna().all(axis=None)


def test_no_pairs_is_an_empty_table(tmp_path):
    """With the same columns and types."""
    catalog = write_synthetic(tmp_path / "films", 4, size=64, broken=0)
    pairs = near_duplicates(catalog, progress=False)
    assert len(pairs) == 0
    assert list(pairs.columns)[:4] == ["id_a", "id_b", "correlation", "fine_correlation"]
    assert cluster_names(catalog.table["id"], pairs).isna().all()


def test_films_that_cannot_be_decoded_are_left_out_and_counted(tmp_path, caplog):
    """They are nobody's duplicate, and the log says how many they are."""
    catalog = write_synthetic(tmp_path / "films", 6, size=64, broken=2)
    with caplog.at_level(logging.WARNING, "resload"):
        assert len(near_duplicates(catalog, progress=False)) == 0
    assert "2 of 6 films cannot be decoded and are compared with none" in caplog.text
    assert len(near_duplicates(catalog.scan(progress=False), progress=False)) == 0


def test_other_things_than_films_are_refused(copied):
    """A table is no catalog; sizes have an order."""
    with pytest.raises(ArgumentError, match="in a Catalog or a Cache; found DataFrame"):
        near_duplicates(copied.table)
    with pytest.raises(ArgumentError, match="confirm at least size; found 64 and 32"):
        near_duplicates(copied, size=64, confirm=32)


# -- clusters and the split --


@settings(max_examples=50)
@given(st.integers(2, 30), st.data())
def test_clusters_are_what_pairs_link(n, data):
    """Against plain spreading: two films have one name exactly if a chain of pairs joins them."""
    numbers = st.integers(0, n - 1)
    links = data.draw(st.lists(st.tuples(numbers, numbers).filter(lambda pair: pair[0] != pair[1]), max_size=40))
    ids = pd.Series([f"f{i:02d}" for i in range(n)])
    pairs = pd.DataFrame([(ids[a], ids[b]) for a, b in links], columns=["id_a", "id_b"])
    names = cluster_names(ids, pairs)
    linked = {i: {i} for i in range(n)}
    for _ in range(n):
        for a, b in links:
            linked[a] = linked[b] = linked[a] | linked[b]
        for i in range(n):
            linked[i] = set().union(*(linked[j] for j in linked[i]))
    for i in range(n):
        assert (names[i] == ids[min(linked[i])]) if len(linked[i]) > 1 else names[i] is None


def test_a_scan_names_the_clusters(copied, tmp_path):
    """A column, a note, and both survive saving; pairs that are known need no decoding."""
    scanned = copied.scan(progress=False, duplicates=True)
    assert (scanned.table["near_duplicates"] == scanned.table["film"] + "_original").all()
    assert scanned.notes == (
        "60 films are near-duplicates of others, in 12 clusters; see the column near_duplicates and "
        "resload.near_duplicates",
    )
    scanned.save(tmp_path / "kept")
    assert Catalog.load(tmp_path / "kept").table["near_duplicates"].equals(scanned.table["near_duplicates"])
    pairs = pd.DataFrame({"id_a": ["film0_jpeg"], "id_b": ["film1_jpeg"]})
    known = copied.scan(progress=False, duplicates=pairs).table["near_duplicates"]
    assert known.dropna().to_dict() == {1: "film0_jpeg", 6: "film0_jpeg"}


def planted(**columns):
    """40 films of 20 patients, two of each; films 0 (patient 0) and 10 (patient 5) are copies of each other."""
    n = 40
    table = pd.DataFrame({"id": [f"f{i}" for i in range(n)], "path": [f"{i}.png" for i in range(n)], **columns})
    table["patient"] = np.arange(n) // 2
    table["near_duplicates"] = ["f0" if i in (0, 10) else None for i in range(n)]
    return Catalog(table)


def parting_seed(catalog, **arguments):
    """A seed whose split parts the copies."""
    for seed in range(50):
        labels = catalog.split(HALF, seed=seed, leaks="allow", **arguments).table["split"]
        if labels[0] != labels[10]:
            return seed
    raise AssertionError("no seed parts them")


def test_a_split_refuses_to_part_copies():
    """The message has the number, the films with their splits, and both remedies."""
    catalog = planted()
    seed = parting_seed(catalog)
    with pytest.raises(
        ArgumentError,
        match=r"^clusters of near-duplicate films that would lie in several splits: 1; f0 \(.*\) and f10 \(",
    ) as caught:
        catalog.split(HALF, seed=seed)
    assert re.search(r"leaks='join' keeps each cluster together.*leaks='allow' parts them", str(caught.value))


def test_joined_copies_stay_together_with_their_patients():
    """leaks="join": the two patients are one, for every seed and every order of the films; nobody else is."""
    catalog = planted()
    for seed in range(20):
        labels = catalog.split(HALF, seed=seed, leaks="join").table["split"]
        assert len(set(labels.iloc[[0, 1, 10, 11]])) == 1
        assert labels.groupby(catalog.table["patient"]).nunique().max() == 1
    assert labels.value_counts().to_dict() == {"train": 20, "test": 20}
    turned = catalog.select(np.arange(40)[::-1]).split(HALF, seed=19, leaks="join").table.set_index("id")["split"]
    assert (turned.loc[catalog.table["id"]].to_numpy() == labels.to_numpy()).all()


def test_pairs_may_be_given_and_count_when_confirmed():
    """`duplicates=` goes before the column; a pair that was not confirmed joins nothing."""
    catalog = planted()
    seed = parting_seed(catalog)
    pairs = pd.DataFrame({"id_a": ["f0"], "id_b": ["f10"], "confirmed": [True]})
    with pytest.raises(ArgumentError, match="would lie in several splits: 1; f0"):
        catalog.split(HALF, seed=seed, duplicates=pairs)
    parts = catalog.split(HALF, seed=seed, duplicates=pairs.assign(confirmed=False)).table["split"]
    assert parts[0] != parts[10]
    with pytest.raises(CatalogError, match="need the columns id_a and id_b; missing: id_a"):
        catalog.split(HALF, duplicates=pairs[["id_b"]])


def test_folds_refuse_and_join_too():
    """The folds of a cross-validation are splits."""
    catalog = planted()
    refused = []
    for seed in range(10):
        try:
            catalog.folds(4, seed=seed)
        except ArgumentError as error:
            refused.append(str(error))
        folds = catalog.folds(4, seed=seed, leaks="join").table["fold"]
        assert len(set(folds.iloc[[0, 1, 10, 11]])) == 1
    assert refused
    assert all(re.search(r"f0 \(fold \d\) and f10 \(fold \d\)", text) for text in refused)


def test_copies_across_an_official_border_are_refused_with_another_remedy():
    """No split of the train part keeps a film and its copy in the official test part together."""
    catalog = planted(split=["train"] * 10 + ["test"] * 30)
    for leaks in ("refuse", "join"):
        with pytest.raises(ArgumentError, match="1 of them reach into films that within= does not divide") as caught:
            catalog.split({"train": 0.8, "val": 0.2}, within="train", leaks=leaks)
        assert "leaks='join' keeps" not in str(caught.value)
    parts = catalog.split({"train": 0.8, "val": 0.2}, within="train", leaks="allow")
    assert parts.table["split"].value_counts().to_dict() == {"test": 30, "train": 8, "val": 2}
    there = planted(split=["train"] * 8 + ["official"] * 4 + ["test"] * 28)
    there = there.select(np.arange(1, 40))
    there.split({"train": 0.5, "val": 0.5}, within="train")  # a cluster outside is not this split's doing


def test_leaks_is_one_of_three():
    """Any other word is refused."""
    with pytest.raises(ArgumentError, match="leaks is one of refuse, join, allow; found 'ignore'"):
        planted().split(HALF, leaks="ignore")


# -- concat, overlaps, shared patients --


def test_clusters_of_two_catalogs_stay_two():
    """The names of clusters get the prefix that ids get."""
    both = Catalog.concat({"a": planted(), "b": planted()}).table
    assert both["near_duplicates"].dropna().to_dict() == {0: "a/f0", 10: "a/f0", 40: "b/f0", 50: "b/f0"}
    assert both["data_set"].tolist() == ["a"] * 40 + ["b"] * 40


def test_a_copy_in_another_data_set_is_named(copied, tmp_path, caplog):
    """One film in two data sets that are known to share films: a pair across them with the reason, and a note."""
    rsna = copied.select("film == 'film2' and kind == 'jpeg'")
    with caplog.at_level(logging.WARNING, "resload"):
        both = Catalog.concat({"NIH": copied.select("kind == 'original'"), "RSNA": rsna})
    (note,) = both.notes
    assert note.startswith("NIH and RSNA are known to share films: its films are from ChestX-ray14 (G. Shih")
    assert note in caplog.text
    pairs = near_duplicates(both, progress=False)
    columns = ["id_a", "id_b", "same_patient", "data_set_a", "data_set_b"]
    assert pairs[columns].to_numpy().tolist() == [["NIH/film2_original", "RSNA/film2_jpeg", False, "NIH", "RSNA"]]
    assert pairs["overlap"].iloc[0] in note
    cache = resload.build(both, tmp_path / "both.zarr", 64, progress=False)
    assert near_duplicates(cache, progress=False)[["data_set_a", "data_set_b"]].to_numpy().tolist() in (
        [["NIH", "RSNA"]],
        [["RSNA", "NIH"]],
    )


@pytest.mark.parametrize(
    ("first", "second", "reason"),
    [
        ("chestxray14", "rsna_pneumonia", "Shih"),
        ("SIIM-ACR", "NIH", "Filice"),
        ("siim_pneumothorax", "RSNA", "both are from ChestX-ray14"),
        ("TBX11K", "Shenzhen", "CVPR 2020"),
        ("montgomery", "tbx11k", "CVPR 2020"),
    ],
)
def test_known_overlaps(first, second, reason):
    """By any spelling, in either order, with a source."""
    assert reason in overlap_between(first, second).reason
    assert overlap_between(second, first) == overlap_between(first, second)


def test_other_data_sets_are_not_known_to_overlap():
    """Neither with others nor with themselves; every name of the table is one of its own."""
    assert overlap_between("chexpert", "nih") is None
    assert overlap_between("nih", "chestxray14") is None
    assert overlap_between("padchest", "vindr") is None
    assert {name for one in overlaps.KNOWN for name in one[:2]} == set(overlaps.NAMES)


def test_patients_in_two_splits_are_counted():
    """Each with its splits and films; a film without a patient or split is nobody's."""
    table = pd.DataFrame(
        {
            "patient": ["P1", "P1", "P2", "P2", None, None, "P3", "P3"],
            "split": ["train", "test", "train", "train", "train", "test", "test", None],
        }
    )
    assert shared_groups(table).to_dict("records") == [{"patient": "P1", "splits": "test, train", "films": 2}]
    assert len(shared_groups(table[table["patient"] != "P1"])) == 0
    with pytest.raises(ArgumentError, match="there is no column 'exam'"):
        shared_groups(table, by="exam")


# -- the command line --


@pytest.fixture
def leaking(tmp_path, monkeypatch):
    """A working directory with films/: six films of six patients, the last two of them copies of the first two."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "films").mkdir()
    for i in range(6):
        pixels = synthetic_film(i % 4, size=160, bits=8).pixels
        data = imagecodecs.png_encode(255 - pixels if i == 5 else pixels, level=1)
        (tmp_path / "films" / f"{i}.png").write_bytes(data)
    rows = [f"{i},{i}.png,P{i},{'train' if i < 4 else 'test'},{i % 2}" for i in range(6)]
    (tmp_path / "films.csv").write_text("\n".join(["id,path,patient,split,mass", *rows]) + "\n")
    return ["films.csv", "--root", "films", "--patient", "patient", "--split", "split", "--targets", "mass"]


def test_scan_tells_the_pairs_across_splits(leaking, capsys):
    """Two pairs, one inverted, both across splits and patients: something bad was found, and the column is kept."""
    assert main(["scan", *leaking, "--duplicates", "--out", "scanned"]) == 1
    shown = capsys.readouterr().out
    assert "near-duplicates: 2 pairs, 2 across splits, 2 across patients\n" in shown
    assert re.search(r"^  0 \(train\)  4 \(test\)  1\.0000 +other patient$", shown, re.MULTILINE)
    assert re.search(r"^  1 \(train\)  5 \(test\)  1\.0000  inverted  other patient$", shown, re.MULTILINE)
    assert "note: 4 films are near-duplicates of others, in 2 clusters" in shown
    kept = Catalog.load("scanned").table["near_duplicates"]
    assert kept.dropna().to_dict() == {0: "0", 1: "1", 4: "0", 5: "1"}
    assert main(["scan", *leaking, "--duplicates", "--json"]) == 1
    found = json.loads(capsys.readouterr().out)["duplicates"]
    assert found["across"] == {"splits": 2, "data sets": 0, "patients": 2}
    assert [(pair["id_a"], pair["id_b"], pair["inverted"]) for pair in found["found"]] == [
        ("0", "4", False),
        ("1", "5", True),
    ]
    assert main(["scan", *leaking]) == 0


def test_a_saved_scan_makes_a_split_refuse(leaking, capsys):
    """--leaks says what becomes of it."""
    main(["scan", *leaking, "--duplicates", "--out", "scanned"])
    capsys.readouterr()
    words = ["scan", "scanned", "--split", "a=.5,b=.5", "--json", "--seed"]
    codes = [main([*words, str(seed)]) for seed in range(6)]
    assert 2 in codes
    assert "leaks='join' keeps each cluster together" in capsys.readouterr().err
    assert [main([*words, str(seed), "--leaks", "join"]) for seed in range(6)] == [0] * 6


def test_info_tells_them_from_the_cache(leaking, capsys):
    """As scan does, without a film."""
    assert main(["build", leaking[0], "films.zarr", *leaking[1:], "--sizes", "64"]) == 0
    assert main(["info", "films.zarr"]) == 0
    capsys.readouterr()
    assert main(["info", "films.zarr", "--duplicates"]) == 1
    assert "near-duplicates: 2 pairs, 2 across splits, 2 across patients" in capsys.readouterr().out
    assert main(["info", "films.zarr", "--duplicates", "--json"]) == 1
    assert json.loads(capsys.readouterr().out)["duplicates"]["pairs"] == 2


def test_patients_in_several_splits_are_told(leaking, capsys):
    """Counted and named, and nothing is wrong with the exit code: official splits have them."""
    text = Path("films.csv").read_text().replace("P4", "P0")
    Path("films.csv").write_text(text)
    assert main(["scan", *leaking]) == 0
    assert "patients in several splits: 1\n  P0: test, train\n" in capsys.readouterr().out
    assert main(["scan", *leaking, "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["patients_in_several_splits"] == [{"patient": "P0", "splits": "test, train", "films": 2}]


def test_known_overlaps_are_told_beside_their_pairs():
    """The reason stands once below the pairs that it explains."""
    pair = {"id_a": "nih/1", "id_b": "rsna/1", "correlation": 0.9999, "fine_correlation": 0.999, "confirmed": True}
    pair |= {"inverted": False, "same_patient": pd.NA, "split_a": None, "split_b": None, "overlap": "they share films"}
    pair |= {"data_set_a": "nih", "data_set_b": "rsna"}
    doubtful = pair | {"id_a": "nih/2", "confirmed": False}
    document = duplicates.described([1, 2, 3], pd.DataFrame([doubtful, pair, pair | {"id_a": "nih/3"}]))
    assert duplicates.lines(document) == [
        "near-duplicates: 2 pairs, 2 across data sets; 1 more look alike at the smaller size only",
        "  nih/1 (no split)  rsna/1 (no split)  0.9999",
        "  nih/3 (no split)  rsna/1 (no split)  0.9999",
        "known overlap: they share films",
    ]
    assert not duplicates.leaks(document)
