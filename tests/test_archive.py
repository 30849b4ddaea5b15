"""A hospital's archive as a catalog: what is taken, what is left out and counted, and what is not read twice."""

import json
import logging
import os
import re
import signal
import stat
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pydicom
import pytest
from dicom_files import make_dicom
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pydicom.charset import decode_bytes, encode_string, python_encoding
from trees import tree

from resload import Catalog, decode, regular
from resload.catalog import objects
from resload.catalog.ledger import Ledger
from resload.decode import tags, texts
from resload.errors import ArgumentError, CatalogError, DecodeError, UnknownFormatError
from resload.testing import write_archive

FILM = np.arange(48, dtype=np.uint16).reshape(6, 8)


@pytest.fixture(scope="module")
def hospital(tmp_path_factory):
    """An archive of 160 files, and what is true of it. Not to be changed."""
    return write_archive(tmp_path_factory.mktemp("hospital"), 160)


@pytest.fixture
def quiet(caplog):
    """Notes are logged as well; here they are expected."""
    caplog.set_level(logging.CRITICAL, logger="resload")


pytestmark = pytest.mark.usefixtures("quiet")


def from_dicom(root, **options):
    return Catalog.from_dicom(root, progress=False, **options)


def left_out(catalog):
    """Kind -> how many, as the notes say."""
    found = {}
    for note in catalog.notes:
        match = re.match(r"left out: (\d+) ([^,.]+?)(,| whose)", note)
        found[match[2]] = int(match[1])
    return found


def write(path, *, uid="1.2.3", **names):
    """A CR of 6 x 8 pixels with these attributes."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(make_dicom(FILM, bits=12, SOPInstanceUID=uid, **names))


# -- what is taken --


def test_one_row_for_each_radiograph_and_frame(hospital):
    """Radiographs of every kind are there, frames of one file each in a row of their own, and nothing else."""
    table = from_dicom(hospital.archive).table
    assert len(table) == hospital.radiographs == 120
    frames = table[table["id"].str.contains("#")]
    assert len(frames) == 3 * hospital.kinds["tomosynthesis"]
    assert (frames["id"] == frames["SOPInstanceUID"] + "#" + frames["frame_index"].astype(str)).all()
    others = table.drop(frames.index)
    assert (others["id"] == others["SOPInstanceUID"]).all()
    assert (others["frame_index"] == 0).all()
    assert table["path"].is_monotonic_increasing


def test_everything_left_out_is_counted(hospital):
    """By kind, with other modalities by name, reasons for what cannot be read, and a first path of each."""
    catalog = from_dicom(hospital.archive)
    kinds = hospital.kinds
    assert left_out(catalog) == {
        "files that are no DICOM": kinds["text"] + kinds["garbage"],
        "DICOM directories (DICOMDIR)": kinds["directory"],
        "structured reports": kinds["report"],
        "presentation states": kinds["presentation"],
        "key objects": kinds["key-object"],
        "images of other modalities": kinds["ct"] + kinds["ultrasound"],
        "unreadable files": kinds["cut"] + kinds["cut-pixels"] + kinds["empty"],
        "identical copies": kinds["copy"],
        "files": kinds["other-content"],
    }
    text = "\n".join(catalog.notes)
    assert "CT 8, US 4, the first: 2024" in text
    assert re.search(r"the DICOM file ends early: 4, the first: 2024\S+; Pixel Data \(7FE0,0010\) ends early: 4", text)
    assert "the file is empty: 1, the first: export119.tmp" in text
    assert re.search(r"with DIFFERENT content.*restored/\S+ \(as 2024\S+\)", text)


def test_columns_are_what_pydicom_reads(hospital):
    """Every attribute of every film, names in six character sets among them, against pydicom's reader."""
    asked = ["PatientName", "StudyDate", "BitsStored", "WindowCenter", "ViewCodeSequence.CodeMeaning", "Laterality"]
    table = from_dicom(hospital.archive, tags=asked).table
    names = set()
    for row in table.to_dict("records"):
        dataset = pydicom.dcmread(hospital.archive / row["path"], stop_before_pixels=True)
        for name in ("SOPInstanceUID", "StudyInstanceUID", "AccessionNumber", "Modality", "Manufacturer", *asked[:2]):
            assert row[name] == str(dataset.get(name)), name
        assert (row["patient"], row["group"]) == (dataset.PatientID, dataset.StudyInstanceUID)
        assert (row["height"], row["width"], row["bits"]) == (dataset.Rows, dataset.Columns, dataset.BitsStored)
        assert row["BitsStored"] == dataset.BitsStored
        assert row["photometric"] == dataset.PhotometricInterpretation
        assert row["TransferSyntaxUID"] == dataset.file_meta.TransferSyntaxUID
        assert same(row["intent"], dataset.get("PresentationIntentType"))
        assert same(row["WindowCenter"], dataset.get("WindowCenter"))
        assert same(row["Laterality"], dataset.get("Laterality"))
        code = dataset.get("ViewCodeSequence")
        assert same(row["ViewPosition"], code[0].CodeMeaning if code else dataset.get("ViewPosition"))
        assert same(row["ViewCodeSequence.CodeMeaning"], code[0].CodeMeaning if code else None)
        assert same(row["laterality"], dataset.get("ImageLaterality") or dataset.get("Laterality"))
        names.add(row["PatientName"])
    assert any("山田" in name for name in names)
    assert any("Jörg" in name for name in names)


def same(found, expected):
    return pd.isna(found) if expected is None else found == expected


def test_it_is_as_scan_would_say(hospital):
    """Sizes, depths, spacings, polarity, VOI and intent are those of Catalog.scan, which need not follow."""
    catalog = from_dicom(hospital.archive)
    scanned = catalog.scan(progress=False).table
    names = ["height", "width", "bits", "spacing_y", "spacing_x", "photometric", "voi", "intent"]
    pd.testing.assert_frame_equal(catalog.table[names], scanned[names])
    assert scanned["error"].isna().all()


@pytest.mark.parametrize("threads", [1, 3])
def test_the_table_does_not_depend_on_threads(hospital, threads):
    """Nor do the notes."""
    one, other = from_dicom(hospital.archive), from_dicom(hospital.archive, threads=threads)
    pd.testing.assert_frame_equal(one.table, other.table)
    assert one.notes == other.notes


def test_modalities_can_be_chosen(hospital):
    """CT instead of radiographs; a single text is refused, not taken for its letters."""
    assert len(from_dicom(hospital.archive, modalities=("CT",))) == hospital.kinds["ct"]
    with pytest.raises(ArgumentError, match=r"modalities=\('CT',\)"):
        from_dicom(hospital.archive, modalities="CT")


def test_a_missing_modality_is_that_of_the_class(tmp_path):
    """CR Image Storage is CR; an unknown class without a modality is left out."""
    write(tmp_path / "a", uid="1.1", Modality=None)
    write(tmp_path / "b", uid="1.2", Modality=None, SOPClassUID="1.2.840.10008.5.1.4.1.1.1.2.1")
    write(tmp_path / "c", uid="1.3", Modality=None, SOPClassUID="1.2.840.10008.5.1.4.1.1.7")
    catalog = from_dicom(tmp_path)
    assert catalog.table["Modality"].tolist() == ["CR", "MG"]
    assert "1 images of other modalities, none 1, the first: c" in catalog.notes[0]


def test_sides_are_left_right_and_both(tmp_path):
    """Image Laterality goes before Laterality; U, unpaired, is no side."""
    for number, (image, series) in enumerate([("L", "R"), (None, "R"), ("B", None), ("U", None), (None, None)]):
        names = {"ImageLaterality": image, "Laterality": series}
        write(tmp_path / str(number), uid=f"1.{number}", **{k: v for k, v in names.items() if v})
    table = from_dicom(tmp_path).table
    assert table["laterality"].tolist()[:3] == ["L", "R", "B"]
    assert table["laterality"].isna().tolist() == [False, False, False, True, True]


def test_numbers_are_floats_where_each_is_one(tmp_path):
    """KVP becomes float64 with NaN; a window of two centres keeps its column a text."""
    write(tmp_path / "a", uid="1.1", KVP="120", WindowCenter=["10", "20"], WindowWidth=["5", "6"])
    write(tmp_path / "b", uid="1.2", WindowCenter="30", WindowWidth="7")
    table = from_dicom(tmp_path, tags=["KVP", "WindowCenter", "Rows", "SamplesPerPixel"]).table
    assert table["KVP"].dtype == np.float64
    np.testing.assert_array_equal(table["KVP"], [120, np.nan])
    assert table["WindowCenter"].tolist() == ["10\\20", "30"]
    assert table["Rows"].tolist() == [6.0, 6.0]
    assert table["SamplesPerPixel"].tolist() == [1.0, 1.0]


def test_binary_numbers_are_read_in_both_byte_orders(tmp_path):
    """US, FL and FD, little and big endian, explicit and implicit."""
    syntaxes = ["1.2.840.10008.1.2", "1.2.840.10008.1.2.1", "1.2.840.10008.1.2.2"]
    for number, syntax in enumerate(syntaxes):
        names = {"ExposureControlMode": "AUTO", "TableTopLongitudinalPosition": 1.25, "RecommendedDisplayFrameRate": 7}
        names |= {"DistanceSourceToIsocenter": 0.1}
        content = make_dicom(FILM, syntax, bits=12, SOPInstanceUID=f"1.{number}", **names)
        (tmp_path / str(number)).write_bytes(content)
    table = from_dicom(tmp_path, tags=["DistanceSourceToIsocenter", "TableTopLongitudinalPosition"]).table
    np.testing.assert_allclose(table["DistanceSourceToIsocenter"], 0.1, rtol=1e-6)
    assert table["TableTopLongitudinalPosition"].tolist() == [1.25] * 3


def test_a_film_without_a_uid_is_called_by_its_path(tmp_path):
    """Said in a note; two of them are no copies of each other."""
    for name in ("a", "b"):
        write(tmp_path / name, uid=None)
    catalog = from_dicom(tmp_path)
    assert catalog.table["id"].tolist() == ["a", "b"]
    assert catalog.notes == ("2 files have no SOP Instance UID: their id is their path",)


def test_copies_in_sorted_order(tmp_path):
    """The first path is kept, whatever was written first; other sizes and other bytes are both other content."""
    write(tmp_path / "z", uid="1.9")
    write(tmp_path / "a", uid="1.9")
    write(tmp_path / "m", uid="1.9", PatientID="SOMEBODY")
    (tmp_path / "n").write_bytes((tmp_path / "a").read_bytes()[:-2] + b"\xff\xff")
    catalog = from_dicom(tmp_path)
    assert catalog.table["path"].tolist() == ["a"]
    assert catalog.notes[0] == "left out: 1 identical copies, the first: z (as a)"
    assert "2 files whose SOP Instance UID" in catalog.notes[1]
    assert "m (as a), n (as a)" in catalog.notes[1]


@pytest.mark.parametrize("syntax", ["1.2.840.10008.1.2.1", "1.2.840.10008.1.2.4.80"])
def test_a_claim_of_millions_of_frames_is_no_row(tmp_path, syntax):
    """Frames for which the file has no room are not believed; they would fill the memory."""
    write(tmp_path / "good", uid="1.1")
    (tmp_path / "bad").write_bytes(make_dicom(FILM, syntax, bits=12, SOPInstanceUID="1.2", NumberOfFrames=9_000_000))
    catalog = from_dicom(tmp_path)
    assert catalog.table["path"].tolist() == ["good"]
    assert catalog.notes == ("left out: 1 unreadable files, Pixel Data (7FE0,0010) ends early: 1, the first: bad",)


@pytest.mark.usefixtures("shut")
def test_a_folder_that_cannot_be_listed_is_said(tmp_path):
    """What is in it is missing, and nothing else is."""
    write(tmp_path / "open" / "a")
    write(tmp_path / "shut" / "b", uid="1.7")
    catalog = from_dicom(tmp_path)
    assert catalog.table["path"].tolist() == ["open/a"]
    assert re.match(r"1 FOLDERS could not be listed.*shut: Permission denied", catalog.notes[0])


def test_a_name_that_is_no_text_is_counted(tmp_path):
    """A folder named in Latin-1, as old shares have them, cannot be a path in a table."""
    write(tmp_path / "a")
    try:
        (tmp_path / os.fsdecode(b"M\xfcller")).write_bytes((tmp_path / "a").read_bytes())
    except OSError:
        pytest.skip("this file system takes UTF-8 only")
    catalog = from_dicom(tmp_path)
    assert catalog.notes == (
        "left out: 1 unreadable files, the file's name is not UTF-8: 1, the first: 'M\\udcfcller'",
    )


def test_an_archive_without_a_radiograph_is_refused(tmp_path):
    """With what was found instead."""
    (tmp_path / "a.txt").write_text("words")
    with pytest.raises(CatalogError, match=r"no radiograph among its 1 files: left out: 1 files that are no DICOM"):
        from_dicom(tmp_path)
    with pytest.raises(CatalogError, match="is not a folder"):
        from_dicom(tmp_path / "none")


# -- tags --


@pytest.mark.parametrize(
    ("keyword", "message"),
    [
        ("ViewPositon", "no keyword 'ViewPositon'.*nearest: ViewPosition"),
        ("Qqqqq", r"no keyword 'Qqqqq' \(in 'Qqqqq'\)\. See PS3.6"),
        ("ViewCodeSequence", r"is a sequence: name an attribute in it, as ViewCodeSequence\.CodeMeaning"),
        ("PatientID.CodeMeaning", "only sequences have attributes in them"),
        ("ViewCodeSequence.CodeMeanin", "no keyword 'CodeMeanin' .*nearest: .*CodeMeaning"),
        ("PixelData", r"holds neither texts nor numbers \(OB\)"),
        (0x00100010, "tags are DICOM keywords such as 'BodyPartExamined'; found 1048592"),
    ],
)
def test_wrong_keywords_are_refused(hospital, keyword, message):
    """Before a file is opened, with those that may have been meant."""
    with pytest.raises(ArgumentError, match=message):
        from_dicom(hospital.archive, tags=[keyword])


def test_tags_are_several(hospital):
    """One text is refused, not taken for its letters."""
    with pytest.raises(ArgumentError, match=r"tags=\('KVP',\)"):
        from_dicom(hospital.archive, tags="KVP")


def test_only_header_bytes_are_read(tmp_path, monkeypatch):
    """Of a film of eight megabytes a few blocks."""
    (tmp_path / "a").write_bytes(make_dicom(np.zeros((2000, 2000), np.uint16)))
    taken = []
    read = decode.FileWindow.__getitem__

    def counted(self, part):
        taken.append((self, read(self, part)))
        return taken[-1][1]

    monkeypatch.setattr(decode.FileWindow, "__getitem__", counted)
    from_dicom(tmp_path)
    window = taken[0][0]
    assert len(window) > 8e6
    assert sum(len(block) for _, block in taken) < 1e5


LETTERS = {
    **{"utf8": "Ä山а", "gb18030": "王小东", "gbk": "王小东", "gb2312": "王小东", "iso_ir_58": "王小东"},
    **{"iso2022_jp": "山田", "iso2022_jp_2": "丂", "shift_jis": "ﾔﾏﾀﾞ", "euc_kr": "홍길동", "iso_ir_166": "นาม"},
    **{"iso_ir_138": "שרו", "iso_ir_144": "Люк", "iso_ir_126": "Διον", "iso_ir_127": "قبا", "iso8859": "Adams"},
    **{"latin_1": "Jörg", "iso8859_2": "Łó", "iso8859_3": "Ħ", "iso8859_4": "Ā", "iso_ir_148": "Çğ"},
}
"""Python's codec -> letters that it has."""


@pytest.mark.parametrize("charset", sorted(set(python_encoding) - {""}))
def test_texts_of_every_character_set(charset):
    """What pydicom encodes comes back, alone and as a second character set behind ASCII."""
    codec = python_encoding[charset].lower()
    alone = texts.encodings(charset)
    assert texts.decoded(LETTERS[codec].encode(alone[0]), alone) == LETTERS[codec]
    if charset.startswith("ISO 2022 IR"):
        both = texts.encodings(f"\\{charset}")
        part = encode_string(LETTERS[codec], list(both))  # each part of a name has an escape sequence of its own
        if codec == "iso_ir_58":  # pydicom writes none for this one
            part = b"\x1b$)A" + part
        raw = b"A^B=" + part + b"^" + part
        assert texts.decoded(raw, both, name=True) == f"A^B={LETTERS[codec]}^{LETTERS[codec]}"


@pytest.mark.parametrize("spelled", ["ISO IR 100", "ISO-IR 100", "iso_ir_100", "ISO_IR 100 "])
def test_spellings_of_character_sets(spelled):
    """As files have them."""
    assert texts.encodings(spelled) == ("latin_1",)


def test_what_means_nothing_is_replaced(tmp_path):
    """Bytes that are no UTF-8 become U+FFFD; an unknown character set is read as Latin-1; nothing is raised."""
    content = make_dicom(FILM, bits=12, SpecificCharacterSet="ISO_IR 192", PatientID="P", InstitutionName="Klinik XY")
    (tmp_path / "a").write_bytes(content.replace(b"Klinik XY", b"Klinik \xff\xfe"))
    content = make_dicom(
        FILM, bits=12, SOPInstanceUID="1.4", SpecificCharacterSet="ISO_IR 101", InstitutionName="Klinik XY"
    )
    (tmp_path / "b").write_bytes(content.replace(b"Klinik XY", b"Klinik \xe4Y").replace(b"ISO_IR 101", b"NO_SUCH_ST"))
    found = from_dicom(tmp_path, tags=["InstitutionName"]).table["InstitutionName"].tolist()
    assert found == ["Klinik \ufffd\ufffd", "Klinik äY"]
    assert texts.encodings("NO_SUCH_SET") == ("iso8859",)


@given(st.binary(max_size=60), st.sampled_from(["ISO_IR 192", "\\ISO 2022 IR 87\\ISO 2022 IR 149", "GB18030", ""]))
def test_no_bytes_raise(raw, charset):
    """Whatever a value holds is a text."""
    assert isinstance(texts.decoded(b"\x1b$B" + raw, texts.encodings(charset), name=True), str)


@given(st.text(alphabet="山田ABCé홍", max_size=12))
@pytest.mark.filterwarnings("ignore::UserWarning")
def test_texts_are_pydicoms(text):
    """Where pydicom can decode what it encoded, so does this, to the same text."""
    both = texts.encodings("\\ISO 2022 IR 87\\ISO 2022 IR 149")
    raw = encode_string(text, list(both))
    assert texts.decoded(raw, both) == decode_bytes(raw, list(both), {0x5C, 0x0D, 0x0A, 0x09, 0x0C})


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=200, deadline=None)
@given(st.integers(0, 10**6), st.integers(0, 255))
def test_a_changed_byte_raises_decode_errors_only(tmp_path, at, value):
    """Files of an archive are damaged in any way; each is one that is counted."""
    asked = [tags.named(name) for name in (*objects.BASE, "ViewCodeSequence.CodeValue")]
    content = bytearray(make_dicom(FILM, bits=12, SpecificCharacterSet="ISO_IR 192"))
    content[at % len(content)] = value
    path = tmp_path / "a"
    path.write_bytes(content)
    try:
        found = len(decode.read_tags(path, asked).values)
    except DecodeError as exc:
        found = exc.path
    assert found in (path, len(asked))


def test_files_that_are_no_dicom_say_so(tmp_path):
    """Other images too."""
    (tmp_path / "a.png").write_bytes(b"\x89PNG\r\n\x1a\n" + bytes(40))
    with pytest.raises(UnknownFormatError, match=r"a\.png: the file is not DICOM"):
        decode.read_tags(tmp_path / "a.png", [])


# -- the index --


@pytest.fixture
def opened(monkeypatch):
    """Names of the files that are opened from here on, through pathlib or as films are."""
    paths = []
    before, film = Path.open, regular.opened

    def open_(self, *args, **kwargs):
        paths.append(self.name)
        return before(self, *args, **kwargs)

    def opened_(path):
        paths.append(Path(path).name)
        return film(path)

    monkeypatch.setattr(Path, "open", open_)
    monkeypatch.setattr(regular, "opened", opened_)
    return paths


def looks(patch):
    """Paths of the files that are looked into while the patch holds."""
    looked, look = [], objects.look
    patch.setattr(objects, "look", lambda root, path, tags: looked.append(path) or look(root, path, tags))
    return looked


def test_an_unchanged_archive_is_not_read_again(hospital, tmp_path, opened):
    """The second run opens the index and nothing else, and gives the same table and notes."""
    index = tmp_path / "index.jsonl"
    once = from_dicom(hospital.archive, tags=["PatientName"], index=index)
    assert len(opened) > 160
    opened.clear()
    again = from_dicom(hospital.archive, tags=["PatientName"], index=index)
    assert set(opened) == {"index.jsonl"}
    pd.testing.assert_frame_equal(again.table, once.table)
    assert again.notes == once.notes
    assert from_dicom(hospital.archive, tags=["PatientName"]).table.equals(once.table)


def test_the_index_is_its_owners(hospital, tmp_path):
    """It holds identifiers, so nobody else may read it."""
    from_dicom(hospital.archive, index=tmp_path / "deep" / "index.jsonl")
    assert stat.S_IMODE((tmp_path / "deep" / "index.jsonl").stat().st_mode) == 0o600


def test_other_tags_are_read_once(hospital, tmp_path, opened):
    """A tag that the index lacks costs another look; two sets in turn cost no third."""
    index = tmp_path / "index.jsonl"
    from_dicom(hospital.archive, tags=["KVP"], index=index)
    opened.clear()
    assert "StudyDate" in from_dicom(hospital.archive, tags=["StudyDate"], index=index).table
    assert len(opened) > 100
    opened.clear()
    first = from_dicom(hospital.archive, tags=["KVP"], index=index)
    both = from_dicom(hospital.archive, tags=["StudyDate", "KVP"], index=index)
    assert set(opened) == {"index.jsonl"}
    assert "StudyDate" not in first.table
    assert both.table["StudyDate"].str.startswith("2024").all()


def test_new_and_changed_files_are_read(tmp_path, opened):
    """And only they; what is gone is gone."""
    root, index = tmp_path / "archive", tmp_path / "index.jsonl"
    for name in "abc":
        write(root / name, uid=f"1.{ord(name)}", PatientID=name)
    from_dicom(root, index=index)
    write(root / "b", uid="1.98", PatientID="somebody else")
    write(root / "d", uid="1.100", PatientID="d")
    (root / "c").unlink()
    opened.clear()
    table = from_dicom(root, index=index).table
    assert sorted(set(opened) - {"index.jsonl"}) == ["b", "d"]
    assert table["patient"].tolist() == ["a", "somebody else", "d"]


def test_an_index_in_the_archive_is_no_file_of_it(tmp_path):
    """It is neither read nor counted."""
    write(tmp_path / "a")
    for _ in range(2):
        assert from_dicom(tmp_path, index=tmp_path / "index.jsonl").notes == ()


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=12, deadline=None)
@given(st.floats(0, 1))
def test_a_torn_index_loses_its_last_line_only(hospital, tmp_path, share):
    """Cut anywhere, as by a kill or a full disk: the next run gives the same table, and the one after reads nothing."""
    index = tmp_path / "index.jsonl"
    index.unlink(missing_ok=True)
    whole = from_dicom(hospital.archive, index=index)
    content = index.read_bytes()
    index.write_bytes(content[: int(share * len(content))])
    left = [line for line in index.read_text().split("\n")[:-1] if line.startswith("[")]
    with pytest.MonkeyPatch.context() as patch:
        looked = looks(patch)
        pd.testing.assert_frame_equal(from_dicom(hospital.archive, index=index).table, whole.table)
    assert 160 - len(left) - 1 <= len(looked) <= 160 - len(left)
    complete = index.read_bytes()
    pd.testing.assert_frame_equal(from_dicom(hospital.archive, index=index).table, whole.table)
    assert index.read_bytes() == complete


def test_a_killed_run_loses_what_was_in_flight(hospital, tmp_path):
    """Killed after 60 headers, its index has 60 of them, and the next run reads the others."""
    index = tmp_path / "index.jsonl"
    code = (
        "import os, signal, sys\n"
        "from resload import Catalog\n"
        "from resload.catalog.ledger import Ledger\n"
        "add, count = Ledger.add, []\n"
        "def counted(self, entry):\n"
        "    found = add(self, entry)\n"
        "    count.append(1)\n"
        "    if len(count) == 60:\n"
        "        os.kill(os.getpid(), signal.SIGKILL)\n"
        "    return found\n"
        "Ledger.add = counted\n"
        "Catalog.from_dicom(sys.argv[1], index=sys.argv[2], progress=False)\n"
    )
    done = subprocess.run([sys.executable, "-c", code, hospital.archive, index], check=False)
    assert done.returncode == -signal.SIGKILL
    kept = [line for line in index.read_text().splitlines() if line.startswith("[")]
    assert 60 <= len(kept) < 100
    with pytest.MonkeyPatch.context() as patch:
        looked = looks(patch)
        catalog = from_dicom(hospital.archive, index=index)
    assert len(looked) == 160 - len(kept)
    assert len(catalog) == hospital.radiographs


def test_an_interrupted_run_goes_on(hospital, tmp_path, monkeypatch):
    """Ctrl-C reaches the caller, and what was read is kept."""
    index, look, looked = tmp_path / "index.jsonl", objects.look, []

    def interrupted(root, path, tags):
        looked.append(path)
        if len(looked) == 50:
            raise KeyboardInterrupt
        return look(root, path, tags)

    monkeypatch.setattr(objects, "look", interrupted)
    with pytest.raises(KeyboardInterrupt):
        from_dicom(hospital.archive, index=index)
    before = len(looked)
    assert len(from_dicom(hospital.archive, index=index)) == hospital.radiographs
    assert len(looked) - before <= 160 - 49 + 1


def test_another_file_is_no_index(hospital, tmp_path):
    """It is refused and left as it is."""
    path = tmp_path / "reports.csv"
    path.write_text("AccessionNumber\n1\n")
    with pytest.raises(CatalogError, match=r"reports\.csv is there and is no index of an archive"):
        from_dicom(hospital.archive, index=path)
    assert path.read_text() == "AccessionNumber\n1\n"


def test_two_runs_do_not_fill_one_index(hospital, tmp_path):
    """The second is refused while the first one lives, and not after."""
    index = tmp_path / "index.jsonl"
    with Ledger(index, objects.BASE), pytest.raises(CatalogError, match="another process is filling this index"):
        from_dicom(hospital.archive, index=index)
    from_dicom(hospital.archive, index=index)


def test_an_index_of_another_version_is_read_again(tmp_path, opened):
    """Lines of a later resload are not believed, and do no harm."""
    root, index = tmp_path / "archive", tmp_path / "index.jsonl"
    write(root / "a", PatientID="P")
    from_dicom(root, index=index)
    mark, line = index.read_text().splitlines()
    index.write_text("\n".join([json.dumps(json.loads(mark) | {"resload_ledger": 99}), line.replace("P", "Q"), ""]))
    opened.clear()
    assert from_dicom(root, index=index).table["patient"].tolist() == ["P"]
    assert "a" in opened


def test_what_the_system_refuses_is_tried_again(tmp_path):
    """A file behind a dead link is counted as unreadable, and is not remembered as such."""
    root, index = tmp_path / "archive", tmp_path / "index.jsonl"
    write(root / "a")
    (root / "b").symlink_to(tmp_path / "elsewhere")
    catalog = from_dicom(root, index=index)
    assert catalog.notes == ("left out: 1 unreadable files, No such file or directory: 1, the first: b",)
    write(tmp_path / "elsewhere", uid="1.5")
    assert from_dicom(root, index=index).table["path"].tolist() == ["a", "b"]


def test_contents_of_copies_are_read_once(tmp_path, opened):
    """Digests are kept in the index, for files of one size; a changed copy is read again."""
    root, index = tmp_path / "archive", tmp_path / "index.jsonl"
    for name in "abc":
        write(root / name, PatientID=name if name == "c" else "a")
    assert left_out(from_dicom(root, index=index)) == {"identical copies": 1, "files": 1}
    opened.clear()
    assert left_out(from_dicom(root, index=index)) == {"identical copies": 1, "files": 1}
    assert set(opened) == {"index.jsonl"}
    write(root / "b", PatientID="b")
    os.utime(root / "b", ns=(1, 1))
    assert left_out(from_dicom(root, index=index)) == {"files": 2}


# -- the archive that is made up --


def test_the_same_arguments_write_the_same_bytes(tmp_path):
    """A larger archive begins with the same files; another seed writes others."""
    write_archive(tmp_path / "a", 44)
    write_archive(tmp_path / "b", 44)
    write_archive(tmp_path / "c", 48)
    write_archive(tmp_path / "d", 44, seed=1)
    first, again, more, other = (tree(tmp_path / name / "archive") for name in "abcd")
    assert first == again
    assert first.items() <= more.items()
    assert not first.items() <= other.items()


def test_its_films_decode_and_are_mixed(hospital):
    """Every radiograph decodes; about half are MONOCHROME1; depths, syntaxes, VOI and intents are all there."""
    catalog = from_dicom(hospital.archive)
    for row, frame in enumerate(catalog.table["frame_index"]):
        film = decode.decode(catalog.path(row), frame=frame)
        assert film.pixels.shape == tuple(catalog.table.loc[row, ["height", "width"]])
    table = catalog.table
    assert 0.35 < (table["photometric"] == "MONOCHROME1").mean() < 0.65
    assert set(table["bits"]) == {10, 12, 14, 15}
    assert table["TransferSyntaxUID"].nunique() == 6
    assert set(table["voi"]) == {"window", "lut", "lut+window", "none"}
    assert set(table["intent"].dropna()) == {"FOR PRESENTATION", "FOR PROCESSING"}
    assert set(table["Modality"]) == {"CR", "DX", "MG"}


def test_its_size_is_asked_for():
    """At least one file."""
    with pytest.raises(ArgumentError, match="n is how many files to write"):
        write_archive("nowhere", 0)
