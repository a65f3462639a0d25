"""The official folders, on small files of our own making; nothing that a pickle names is ever run."""

from __future__ import annotations

import collections
import io
import json
import os
import pickle
import struct
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import cv2
import numpy as np
import pytest
import torch

from trainers.errors import DataError, PictureError
from trainers.faces import AU_NAMES
from trainers.ganimation.data import open_data
from trainers.ganimation.recipe import Data
from trainers.layouts.celeba import (
    normalise_landmarks,
    open_celeba,
    open_celeba_hq,
    read_attributes,
    read_image_list,
    read_partition,
)
from trainers.layouts.ganimation import open_aus_folder, read_aus, read_ids
from trainers.layouts.openface import read_openface
from trainers.layouts.pickles import read_pickle

SMILE = AU_NAMES.index("AU12")


class Trap:
    """A pickle that would make a folder when it is loaded."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def __reduce__(self) -> Any:
        return os.mkdir, (str(self.folder),)


def pickled(path: Path, value: Any, protocol: int = 4) -> Path:
    path.write_bytes(pickle.dumps(value, protocol))
    return path


@pytest.mark.parametrize("protocol", range(6))
def test_plain_data_and_arrays_come_out_of_every_protocol(protocol: int, tmp_path: Path) -> None:
    """What NumPy and Python write is read without loading it, whatever the protocol."""
    array = np.arange(6, dtype=np.float64).reshape(2, 3)
    value = {
        "a": array,
        "turned": np.asfortranarray(array.astype(np.float32)),
        "big": array.astype(">f8"),
        "whole": np.arange(3, dtype=np.int16),
        "one": np.float64(2.5),
        "rest": [1, -7, 2**40, 2**80, 1.5, None, True, ("x", b"\xff\x00"), {"ä": "\n'"}, [], ()],
        "order": collections.OrderedDict([("b", 1), ("a", 2)]),
        "again": [array, array],
    }
    found = read_pickle(pickled(tmp_path / "x.pkl", value, protocol))
    for name in ("a", "turned", "big", "whole"):
        assert np.array_equal(found[name], value[name])
    assert np.array_equal(found["again"][1], array)
    for name in ("one", "rest"):
        assert found[name] == value[name]
    assert list(found["order"].items()) == [("b", 1), ("a", 2)]


def python2_pickle(entries: dict[str, np.ndarray]) -> bytes:
    """As Python 2 writes a dictionary of arrays: text and raw data both as byte strings, protocol 2."""

    def text(value: bytes) -> bytes:
        return (
            b"U" + bytes([len(value)]) + value
            if len(value) < 256
            else b"T" + struct.pack("<i", len(value)) + value
        )

    out = io.BytesIO()
    out.write(b"\x80\x02}(")
    for key, array in entries.items():
        out.write(text(key.encode()))
        out.write(b"cnumpy.core.multiarray\n_reconstruct\ncnumpy\nndarray\nK\x00\x85U\x01b\x87R(K\x01")
        out.write(b"K" + bytes([len(array)]) + b"\x85cnumpy\ndtype\nU\x02f8K\x00K\x01\x87R(K\x03U\x01<NNN")
        out.write(
            b"J\xff\xff\xff\xffJ\xff\xff\xff\xffK\x00tb\x89" + text(array.astype("<f8").tobytes()) + b"tb"
        )
    out.write(b"u.")
    return out.getvalue()


def test_a_pickle_of_python_2_is_read(tmp_path: Path) -> None:
    """Its byte strings are text where they are keys, and numbers where they are an array's content."""
    aus = np.linspace(0, 5, 17)
    (tmp_path / "aus.pkl").write_bytes(python2_pickle({"N_1": aus, "N_2": aus[::-1].copy()}))
    found = read_aus(tmp_path / "aus.pkl")
    assert list(found) == ["N_1", "N_2"]
    assert found["N_2"] == pytest.approx(aus[::-1] / 5, abs=1e-6)


@pytest.mark.parametrize("protocol", [0, 2, 4])
def test_a_pickle_with_code_is_refused_and_not_run(protocol: int, tmp_path: Path) -> None:
    """Neither at its top nor inside an entry: the call is named, and does not happen."""
    for value in (Trap(tmp_path / "made"), {"a": [Trap(tmp_path / "made")]}):
        path = pickled(tmp_path / "trap.pkl", value, protocol)
        with pytest.raises(DataError, match=r"a reference to (posix|nt)\.mkdir.*nothing of it was run"):
            read_aus(path)
    assert not (tmp_path / "made").exists()
    pickle.loads(path.read_bytes())  # it would have worked
    assert (tmp_path / "made").exists()


@pytest.mark.parametrize(
    "code",
    [
        b"cbuiltins\neval\n(V1\ntR.",
        b"c__builtin__\ngetattr\n(tR.",
        b"\x80\x04\x8c\x08builtins\x8c\x04exec\x93\x8c\x01x\x85R.",
        b"(S'ls'\nios\nsystem\n.",
        b"\x80\x02cnumpy.core.multiarray\nexec\n.",
        b"\x80\x02cnumpy\nload\n(S'x'\ntR.",
        b"\x80\x02ccollections\nOrderedDict\n)\x81.",
        b"P1\n.",
        b"\x82\x01.",
    ],
)
def test_every_way_of_naming_code_is_refused(code: bytes, tmp_path: Path) -> None:
    """Global, instance, stack global, new object, persistent and extension references alike."""
    (tmp_path / "x.pkl").write_bytes(code)
    before = set(sys.modules)
    with pytest.raises(DataError, match="nothing of it was run"):
        read_pickle(tmp_path / "x.pkl")
    assert set(sys.modules) == before


def test_arrays_of_objects_and_records_are_refused(tmp_path: Path) -> None:
    """Only numbers: an object array would hold further pickles."""
    for array in (np.array([object], dtype=object), np.zeros(2, [("a", "f8")]), np.array(["x"])):
        with pytest.raises(DataError, match="holds"):
            read_pickle(pickled(tmp_path / "x.pkl", array))


def test_damaged_pickles_are_one_clear_error(tmp_path: Path) -> None:
    """Cut anywhere, or no pickle at all."""
    whole = pickle.dumps({"a": np.arange(17.0), "b": [1, 2, (3,)]}, 4)
    for end in range(len(whole)):
        (tmp_path / "x.pkl").write_bytes(whole[:end])
        with pytest.raises(DataError):
            read_pickle(tmp_path / "x.pkl")
    for noise in (b"\x00" * 40, b"text, no pickle", b".", b"e.", b"}s.", b"R.", b"b.", b"K\x01b."):
        (tmp_path / "x.pkl").write_bytes(noise)
        with pytest.raises(DataError):
            read_pickle(tmp_path / "x.pkl")


def doubled(innermost: bytes, times: int = 200) -> bytes:
    """Opcodes of a value that holds itself twice, over and over: a few bytes each."""
    return innermost + b"2\x86" * times


@pytest.mark.parametrize(
    ("code", "told"),
    [
        (doubled(b"K\x01"), "the same ones again and again"),
        (b"K\x01" + b"](h\x00h\x00e".join([b"q\x00"] * 60), "the same ones again and again"),
        (b"}" + doubled(b"K\x01") + b"K\x01s", "a key that is tuple"),
        (b"cnumpy\ndtype\n" + doubled(b"K\x01") + b"\x85R", "an array of type tuple"),
        (b"c_codecs\nencode\nU\x01x" + doubled(b"K\x01") + b"\x86R", "text in tuple"),
        (doubled(b"K\x01") + b"U\x01x\x93", "something without a name"),
        (
            b"ccollections\nOrderedDict\n((" + b"K\x01" * 9000 + b"tq\x000(" + b"h\x00" * 9000 + b"ltR",
            "entries of something that is no dictionary",
        ),
        (doubled(pickle.dumps(np.zeros(1 << 12), 2)[2:-1], 20), "the same ones again and again"),
    ],
    ids=["tuples", "lists", "key", "dtype", "codec", "name", "entries", "arrays"],
)
def test_a_pickle_that_doubles_its_parts_is_refused_at_once(code: bytes, told: str, tmp_path: Path) -> None:
    """A few hundred bytes that stand for more values than there are atoms are never gone through one by one."""
    (tmp_path / "x.pkl").write_bytes(b"\x80\x02" + code + b".")
    with pytest.raises(DataError, match=told):
        read_pickle(tmp_path / "x.pkl")


def test_what_a_pickle_shares_is_read_once(tmp_path: Path) -> None:
    """One list in two places is one list; one that holds itself is told."""
    row = [1.0, 2.0]
    found = read_pickle(pickled(tmp_path / "x.pkl", {"a": row, "b": (row, row)}))
    assert found == {"a": row, "b": (row, row)}
    assert found["a"] is found["b"][0] is found["b"][1]
    row.append(row)  # type: ignore[arg-type]
    with pytest.raises(DataError, match="a value contains itself"):
        read_pickle(pickled(tmp_path / "x.pkl", row))


def aus_folder(folder: Path, aus: dict[str, np.ndarray], size: int = 32) -> Path:
    (folder / "imgs").mkdir(parents=True)
    for number, name in enumerate(aus):
        rgb = np.full((size, size, 3), (40 * number, 100, 200), np.uint8)
        cv2.imwrite(str(folder / "imgs" / f"{name}.jpg"), rgb[..., ::-1])
    names = [f"{name}.jpg" for name in aus]
    (folder / "train_ids.csv").write_text("\n".join(names[:-1]) + "\n")
    (folder / "test_ids.csv").write_text("\n".join([names[-1], "nobody.jpg"]) + "\n")
    pickled(folder / "aus_openface.pkl", {name: 5 * values for name, values in aus.items()})
    return folder


@pytest.fixture
def aus() -> dict[str, np.ndarray]:
    draw = np.random.default_rng(0)
    return {f"N_{k}": draw.uniform(0, 1, 17) for k in range(5)}


def test_the_official_folder_becomes_faces(tmp_path: Path, aus: dict[str, np.ndarray]) -> None:
    """Sides by the id lists, AUs over 5, pictures in -1..1; ids without AUs are left out, and told."""
    found = open_aus_folder(aus_folder(tmp_path / "data", aus), 16)
    assert found.train.names == ("N_0", "N_1", "N_2", "N_3")
    assert found.validation.names == ("N_4",)
    assert found.left_out == {"train": (), "validation": ("nobody",)}
    assert found.train.aus is not None
    assert found.train.aus[2].numpy() == pytest.approx(aus["N_2"], abs=1e-6)
    assert found.train.image(2)[:, 3, 3].tolist() == pytest.approx(
        [80 / 127.5 - 1, 100 / 127.5 - 1, 200 / 127.5 - 1], abs=0.03
    )
    assert found.statistics is not None
    assert found.train.persons == found.train.names


def test_a_recipe_opens_the_official_folder(tmp_path: Path, aus: dict[str, np.ndarray]) -> None:
    """Both sides with one kind of labels, and what a checkpoint has to say of the data."""
    opened = open_data(Data(aus_folder(tmp_path / "data", aus), layout="official", size=16, mode="static"))
    train = opened.sides["train"]
    assert torch.equal(train.asked, train.measured)
    assert not train.relative.any()
    assert opened.about["pictures"] == {"train": 4, "validation": 1}
    assert opened.about["left_out"] == {"train": 0, "validation": 1}
    assert opened.about["crop"] == {"rule": "box", "size": 16}


def test_the_parity_folder_is_read_to_the_last_digit(parity_root: Path) -> None:
    """AUs and every eighth pixel of every usable id, as the official reader gives them."""
    folder = parity_root / "ganimation" / "dataset"
    if not folder.is_dir():
        pytest.skip("no GANimation data set among the reference outputs")
    found, expected = open_aus_folder(folder, 128, check=False), np.load(folder / "expected.npz")
    seen = set()
    for side, faces in (("train", found.train), ("test", found.validation)):
        for place, name in enumerate(faces.names):
            assert faces.aus is not None
            assert faces.aus[place].numpy() == pytest.approx(expected[f"{side}.{name}.cond"], abs=1e-6)
            picture = faces.image(place).numpy()[:, ::8, ::8]
            assert np.abs(picture - expected[f"{side}.{name}.img_8th"]).max() <= 0.02
            seen |= {f"{side}.{name}.cond", f"{side}.{name}.img_8th"}
    assert seen == set(expected.files)
    tables = read_aus(folder / "openface_csv")
    assert all(
        np.array_equal(tables[name], one) for name, one in read_aus(folder / "aus_openface.pkl").items()
    )


def test_the_file_of_the_official_converter_is_found_too(tmp_path: Path, aus: dict[str, np.ndarray]) -> None:
    """It writes aus.pkl while the trainer looks for aus_openface.pkl; a folder of OpenFace tables will also do."""
    folder = aus_folder(tmp_path / "data", aus)
    (folder / "aus_openface.pkl").rename(folder / "aus.pkl")
    assert len(open_aus_folder(folder, 16).train) == 4
    (folder / "aus.pkl").unlink()
    with pytest.raises(DataError, match="holds no AUs"):
        open_aus_folder(folder, 16)
    (folder / "openface_csv").mkdir()
    for name, values in aus.items():
        openface(folder / "openface_csv" / f"{name}.csv", [(0.9, 5 * values)])
    found = open_aus_folder(folder, 16).train
    assert found.aus is not None
    assert found.aus[0].numpy() == pytest.approx(aus["N_0"], abs=2e-3)


@pytest.mark.parametrize(
    ("entry", "told"),
    [
        (np.full(17, 5.5), "an intensity of 5.5, expected 0 .. 5"),
        (np.linspace(-0.4, 2, 17), "gaze and pose: read it by name"),
        (np.full(17, np.nan), "expected 0 .. 5"),
        (np.zeros((2, 17)), r"an array \(2, 17\), expected 17 intensities; a picture with several faces"),
        (np.zeros(16), r"an array \(16,\)"),
        ("0 1 2", "has str"),
        (["a"] * 17, "has list"),
    ],
)
def test_entries_that_are_no_intensities_are_refused(entry: Any, told: str, tmp_path: Path) -> None:
    """What a full table read by position leaves: gaze and pose, or the rows of a second face."""
    with pytest.raises(DataError, match=told):
        read_aus(pickled(tmp_path / "aus.pkl", {"N_1": np.ones(17), "N_2": entry}))


def test_ids_are_file_names_without_their_ending(tmp_path: Path) -> None:
    """Each once, in order; a line that is no file name is refused rather than cut."""
    (tmp_path / "ids.csv").write_text("b.jpg\na.jpg\n\nb.jpg\n")
    assert read_ids(tmp_path / "ids.csv") == ["b", "a"]
    (tmp_path / "ids.csv").write_text("b.jpg\nno_ending\n")
    with pytest.raises(DataError, match="'no_ending' is no file name"):
        read_ids(tmp_path / "ids.csv")
    folder = aus_folder(tmp_path / "data", {"x": np.ones(17), "y": np.zeros(17)})
    (folder / "train_ids.csv").write_text("other.jpg\n")
    with pytest.raises(DataError, match="none of the 1 ids"):
        open_aus_folder(folder, 16)


def test_constant_aus_are_refused_before_training(tmp_path: Path) -> None:
    """One row for every picture teaches a network to do nothing."""
    folder = aus_folder(tmp_path / "data", {f"N_{k}": np.full(17, 0.5) for k in range(4)})
    with pytest.raises(DataError, match="the same in all 3 pictures"):
        open_aus_folder(folder, 16)


def openface(
    path: Path, faces: list[tuple[float, np.ndarray]], *, full: bool = False, shuffled: bool = False
) -> Path:
    """A table as OpenFace writes it: `full` puts gaze and pose before the AUs."""
    names = ["face", "confidence"]
    names += [f"gaze_0_{axis}" for axis in "xyz"] + ["pose_Tx", "pose_Rx"] if full else []
    units = [f"{name}_r" for name in AU_NAMES] + [f"{name}_c" for name in (*AU_NAMES, "AU28")]
    names += units[::-1] if shuffled else units
    lines = [", ".join(names)]
    for number, (confidence, aus) in enumerate(faces):
        known = dict(zip((f"{name}_r" for name in AU_NAMES), aus))
        known |= {"face": number, "confidence": confidence, "pose_Tx": -31.0, "pose_Rx": 0.2}
        lines.append(", ".join(f"{float(known.get(name, 1.0)):.3f}" for name in names))
    path.write_text("\n".join(lines) + "\n")
    return path


@pytest.mark.parametrize("full", [False, True])
@pytest.mark.parametrize("shuffled", [False, True])
def test_openface_is_read_by_column_name(full: bool, shuffled: bool, tmp_path: Path) -> None:
    """Whatever stands before the AUs, and in whatever order; of two faces the surer one."""
    aus = np.linspace(0, 5, 17)
    faces = [(0.4, np.zeros(17)), (0.97, aus), (0.9, np.ones(17))]
    found = read_openface(openface(tmp_path / "a.csv", faces, full=full, shuffled=shuffled))
    assert found.dtype == np.float32
    assert found == pytest.approx(aus / 5, abs=1e-3)


def test_tables_that_are_not_one_picture_are_refused(tmp_path: Path) -> None:
    """Presence only, nobody there, a clip's rows, a cut line, a number beyond 0..5."""
    path = openface(tmp_path / "a.csv", [(0.9, np.ones(17))])
    header, row = path.read_text().splitlines()
    cases = {
        header.replace("AU12_r", "AU12_x") + "\n" + row: "lacks the column 'AU12_r'",
        header: "lists no face",
        f"frame, {header}\n1, {row}\n2, {row}": "rows of 2 frames",
        f"{header}\n{row[:-10]}": "cells, the header",
        f"{header}\n{row.replace('1.000', '7.1', 1)}": "expected 0 .. 5",
        f"{header}\n{row.replace('1.000', 'high', 1)}": "is 'high', expected a number",
        "": "is empty",
    }
    for text, told in cases.items():
        path.write_text(text)
        with pytest.raises(DataError, match=told):
            read_openface(path)


ATTRIBUTES = ("Bald", "Mouth_Slightly_Open", "Smiling")
FILES = [f"{k:06d}.jpg" for k in range(1, 9)]
TABLE = np.random.default_rng(2).random((8, 3)) < 0.5
TABLE[0], TABLE[1] = (False, True, True), (True, False, False)
PARTITION = [0, 0, 0, 0, 0, 1, 1, 2]


def celeba(folder: Path, partition: str = "Eval") -> Path:
    draw = np.random.default_rng(3)
    for name in ("Anno", "Eval", "img_align_celeba"):
        (folder / name).mkdir(parents=True, exist_ok=True)
    lines = ["8", " ".join(ATTRIBUTES)]
    lines += [f"{name} " + "  ".join("1" if one else "-1" for one in row) for name, row in zip(FILES, TABLE)]
    (folder / "Anno" / "list_attr_celeba.txt").write_text("\n".join(lines) + "\n")
    (folder / partition / "list_eval_partition.txt").write_text(
        "".join(f"{name} {side}\n" for name, side in zip(FILES, PARTITION))
    )
    points = {name: draw.integers(20, 150, (68, 2)).tolist() for name in FILES[:-1]}
    (folder / "all_landmark.json").write_text(json.dumps(points))
    for number, name in enumerate(FILES):
        rgb = np.zeros((218, 178, 3), np.uint8)
        rgb[20:198] = (10 * number, 50, 200)
        cv2.imwrite(str(folder / "img_align_celeba" / name), rgb[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, 100])
    return folder


@pytest.mark.parametrize("partition", ["Anno", "Eval"])
def test_celeba_is_split_by_its_own_partition(partition: str, tmp_path: Path) -> None:
    """Wherever the list stands; nothing is shared between splits, and pictures without landmarks are left out."""
    splits = open_celeba(celeba(tmp_path, partition), 32, ["Smiling", "Bald"])
    assert {side: len(one.faces) for side, one in splits.items()} == {"train": 5, "validation": 2, "test": 0}
    assert len(open_celeba(tmp_path, 32, ["Smiling"], landmarks=False)["test"].faces) == 1
    train = splits["train"]
    assert train.names == ("Smiling", "Bald")
    assert np.array_equal(train.attributes, TABLE[:5][:, [2, 0]])


def test_celebas_pictures_are_the_central_square(tmp_path: Path) -> None:
    """Rows 20 to 197 of 218, at the asked size, and the landmarks in the pixels of that."""
    train = open_celeba(celeba(tmp_path), 89, ["Smiling"])["train"].faces
    image = train.image(3)
    assert image.shape == (3, 89, 89)
    assert torch.allclose(image[2, 2:-2], torch.full((85, 89), 200 / 127.5 - 1), atol=0.03)
    assert image[2].min() > 0.3  # what lies beyond is black, and only blurs in by the JPEG
    points = np.array(json.loads((tmp_path / "all_landmark.json").read_text())[FILES[3]])
    assert train.points(3).numpy() == pytest.approx((points - (0, 20) + 0.5) / 2 - 0.5, abs=1e-4)


def test_pairing_shares_no_list_between_attributes(tmp_path: Path) -> None:
    """With and without each attribute, whole and disjoint, whatever is done to another one's list."""
    train = open_celeba(celeba(tmp_path), 16, ATTRIBUTES)["train"]
    without, having = train.split_by("Smiling")
    assert sorted([*without, *having]) == [0, 1, 2, 3, 4]
    assert train.attributes[having, 2].all()
    assert not train.attributes[without, 2].any()
    having[:] = -1
    assert not (train.split_by("Mouth_Slightly_Open")[1] < 0).any()
    assert not (train.split_by("Smiling")[1] < 0).any()
    with pytest.raises(DataError, match="'Young' is not read"):
        train.split_by("Young")


def test_landmarks_are_normalised_as_officially(parity_root: Path) -> None:
    """(x - 88) / 88 and (y - 20 - 88) / 88; other centres and scales by argument."""
    points = np.array([[88.0, 108.0], [176.0, 20.0], [0.0, 196.0]])
    assert normalise_landmarks(points).tolist() == [[0, 0], [1, -1], [-1, 1]]
    centred = normalise_landmarks(np.array([[0.0, 20.0], [177.0, 197.0]]), (88.5, 108.5), 88.5)
    assert centred.tolist() == [[-1, -1], [1, 1]]
    folder = parity_root / "geogan" / "landmarks"
    if folder.is_dir():
        expected = np.load(folder / "expected.npz")
        for name, places in json.loads((folder / "all_landmark.json").read_text()).items():
            assert normalise_landmarks(np.array(places)) == pytest.approx(expected[name], abs=1e-6)


def test_broken_lists_of_celeba_are_refused(tmp_path: Path) -> None:
    """Cut off, announcing another number, with a third value, without the list, with an unknown attribute."""
    folder = celeba(tmp_path)
    path = folder / "Anno" / "list_attr_celeba.txt"
    text = path.read_text()
    with pytest.raises(DataError, match="has no attribute 'Smile'"):
        read_attributes(path, ["Smile"])
    for broken, told in (
        (text[: len(text) - 8], "line 10 is no file name with 3"),
        (text.replace("8\n", "9\n", 1), "lists 8 files and announces 9"),
        (text.replace("-1", "0", 1), "is no file name with 3 of 1 and -1"),
        ("", "is empty"),
    ):
        path.write_text(broken)
        with pytest.raises(DataError, match=told):
            read_attributes(path, ["Smiling"])
    path.write_text(text)
    (folder / "all_landmark.json").write_text('{"000001.jpg": [[1, 2]]}')
    with pytest.raises(DataError, match="has no 68 points"):
        open_celeba(folder, 16, ["Smiling"])
    (folder / "Eval" / "list_eval_partition.txt").write_text("000001.jpg 3\n")
    with pytest.raises(DataError, match="no file name with 0, 1 or 2"):
        read_partition(folder)
    (folder / "Eval" / "list_eval_partition.txt").unlink()
    with pytest.raises(DataError, match="nor under Eval"):
        read_partition(folder)


def test_a_picture_of_another_size_fails_alone(tmp_path: Path) -> None:
    """It is told when it is taken."""
    folder = celeba(tmp_path)
    cv2.imwrite(str(folder / "img_align_celeba" / FILES[1]), np.zeros((60, 60, 3), np.uint8))
    train = open_celeba(folder, 16, ["Smiling"])["train"].faces
    with pytest.raises(PictureError, match="is 60x60, expected at least 178"):
        train.image(1)
    assert train.image(0).shape == (3, 16, 16)


class FakeFile(dict):  # type: ignore[type-arg]
    """What h5py.File gives, as far as it is used."""

    def __init__(self, path: Path, mode: str) -> None:
        assert mode == "r"
        super().__init__({"data1024x1024": np.load(path)} if Path(path).exists() else {})
        if not Path(path).exists():
            raise OSError("no such file")


def hq(folder: Path) -> Path:
    celeba(folder)
    rows = np.zeros((4, 3, 64, 64), np.uint8)
    rows[:, 0] = np.arange(4)[:, None, None] * 40
    with (folder / "CelebA-HQ").open("wb") as stream:
        np.save(stream, rows)
    lines = ["idx orig_idx orig_file md5"]
    lines += [f"{row} 7 {name} abc" for row, name in enumerate((FILES[5], FILES[2], FILES[0], FILES[4]))]
    (folder / "image_list.txt").write_text("\n".join(lines) + "\n")
    return folder


def test_celeba_hq_follows_the_pictures_it_was_made_from(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Row, attributes and split of each picture by its original file, so that no split leaks into another."""
    monkeypatch.setitem(sys.modules, "h5py", SimpleNamespace(File=FakeFile))
    splits = open_celeba_hq(hq(tmp_path), 32, ["Smiling"])
    assert splits["train"].faces.names == (FILES[2], FILES[0], FILES[4])
    assert splits["validation"].faces.names == (FILES[5],)
    assert splits["train"].attributes[:, 0].tolist() == TABLE[[2, 0, 4], 2].tolist()
    assert float(splits["train"].faces.image(1)[0, 0, 0]) == pytest.approx(80 / 127.5 - 1)
    assert read_image_list(tmp_path / "image_list.txt")[1] == FILES[2]


def test_celeba_hq_without_h5py_says_what_to_install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is an optional extra."""
    monkeypatch.setitem(sys.modules, "h5py", None)
    with pytest.raises(DataError, match="pip install h5py"):
        open_celeba_hq(hq(tmp_path), 32, ["Smiling"])


def test_a_list_that_does_not_fit_the_hdf5_file_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A row beyond its end, columns without names, no file."""
    monkeypatch.setitem(sys.modules, "h5py", SimpleNamespace(File=FakeFile))
    folder = hq(tmp_path)
    text = (folder / "image_list.txt").read_text()
    (folder / "image_list.txt").write_text(text + f"9 7 {FILES[1]} abc\n")
    with pytest.raises(DataError, match="names row 9, CelebA-HQ has 4"):
        open_celeba_hq(folder, 32, ["Smiling"])
    (folder / "image_list.txt").write_text(text.replace("orig_file", "file"))
    with pytest.raises(DataError, match="lacks idx or orig_file"):
        open_celeba_hq(folder, 32, ["Smiling"])
    (folder / "image_list.txt").write_text(text)
    (folder / "CelebA-HQ").unlink()
    with pytest.raises(DataError, match="is no HDF5 file"):
        open_celeba_hq(folder, 32, ["Smiling"])
