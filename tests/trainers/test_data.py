"""The reader of a prepared folder, on small folders of our own making."""

from __future__ import annotations

import csv
import json
import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import torch

from trainers.data import Expected, open_prepared
from trainers.errors import DataError, PictureError
from trainers.faces import (
    AU_NAMES,
    LANDMARK_MIRROR,
    PARSING_MIRROR,
    Faces,
    mirror_landmarks,
    scale_landmarks,
)
from trainers.statistics import au_statistics, check_aus

SIZE = 16
SMILE = AU_NAMES.index("AU12")
Table = list[dict[str, str]]


def table() -> Table:
    """Two persons in training and one held back; each a real picture and two synthesised from it."""
    draw = np.random.default_rng(0)
    rows = []
    for place, person in enumerate(("ann", "ben", "cat")):
        for number in range(3):
            row = {
                "image": f"{person}~s{number}" if number else person,
                "person": person,
                "split": "validation" if person == "cat" else "train",
                "kind": "synthesised" if number else "real",
                "base": person if number else "",
                "origin": "",
                "licence": "CC0 1.0",
            }
            row |= {name: f"{value:.4f}" for name, value in zip(AU_NAMES, draw.uniform(0, 1, 17))}
            asked = draw.uniform(-1, 1, 17)
            row |= {f"asked_{name}": f"{value:.4f}" if number else "" for name, value in zip(AU_NAMES, asked)}
            row |= {f"{axis}{k}": f"{draw.uniform(0, SIZE):.2f}" for axis in "xy" for k in range(68)}
            rows.append(row | {"place": str(3 * place + number)})
    return rows


def write(folder: Path, rows: Table, about: dict[str, Any] | None = None) -> Path:
    for place in ("images", "parsing"):
        (folder / place).mkdir(parents=True)
    for row in rows:
        number = int(row.pop("place"))
        rgb = np.zeros((SIZE, SIZE, 3), np.uint8)
        rgb[:, : SIZE // 2] = (200, 10 * number, 30)  # RGB, left half
        cv2.imwrite(str(folder / "images" / f"{row['image']}.png"), rgb[..., ::-1])
        mask = np.full((SIZE, SIZE), 4, np.uint8)
        mask[:, SIZE // 2 :] = 5
        cv2.imwrite(str(folder / "parsing" / f"{row['image']}.png"), mask)
    with (folder / "features.csv").open("w", newline="") as stream:
        writer = csv.DictWriter(stream, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)
    facts = {
        "format": 1,
        "extractor": {"name": "marotte-geometry", "version": 1, "mode": "static"},
        "crop": {"rule": "face", "size": SIZE},
        "origins": [{"origin": "", "licence": "CC0 1.0", "pictures": len(rows)}],
    }
    (folder / "dataset.json").write_text(json.dumps(facts | (about or {})))
    return folder


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return write(tmp_path / "data", table())


def test_pictures_come_in_their_range_and_order(folder: Path) -> None:
    """float32 (3, S, S), RGB, -1..1, rows of the table in order, the validation side apart."""
    data = open_prepared(folder, SIZE)
    assert data.train.names == ("ann", "ann~s1", "ann~s2", "ben", "ben~s1", "ben~s2")
    assert data.validation.names == ("cat", "cat~s1", "cat~s2")
    image = data.train.image(4)
    assert image.shape == (3, SIZE, SIZE)
    assert image.dtype == torch.float32
    assert image[:, 0, 0].tolist() == pytest.approx(
        [200 / 127.5 - 1, 40 / 127.5 - 1, 30 / 127.5 - 1], abs=1e-6
    )
    assert image[:, 0, -1].tolist() == [-1.0, -1.0, -1.0]


def test_pairs_and_persons(folder: Path) -> None:
    """Every synthesised picture beside its base; persons with their pictures."""
    train = open_prepared(folder, SIZE).train
    assert train.pairs().tolist() == [[0, 1], [0, 2], [3, 4], [3, 5]]
    assert train.real().tolist() == [0, 3]
    assert train.persons == ("ann", "ben")
    assert [one.tolist() for one in train.of_person()] == [[0, 1, 2], [3, 4, 5]]


def test_a_smaller_size_averages_and_takes_the_landmarks_along(folder: Path) -> None:
    """Half the size: the mean of four pixels, and landmarks at the same place of the same square."""
    whole, half = open_prepared(folder, SIZE).train, open_prepared(folder, SIZE // 2).train
    pooled = torch.nn.functional.avg_pool2d(whole.image(5)[None], 2)[0]
    assert torch.allclose(half.image(5), pooled, atol=1 / 127.5)
    assert torch.allclose(half.points(5), (whole.points(5) + 0.5) / 2 - 0.5)
    assert scale_landmarks(np.array([[7.5, 0.0]], np.float32), 16, 16).tolist() == [[7.5, 0.0]]


def test_asked_labels_are_the_base_and_what_was_asked(folder: Path) -> None:
    """In 0..1; real pictures keep what was measured."""
    measured, asked = open_prepared(folder, SIZE).train, open_prepared(folder, SIZE, labels="asked").train
    assert measured.aus is not None
    assert asked.aus is not None
    assert torch.equal(asked.aus[[0, 3]], measured.aus[[0, 3]])
    with (folder / "features.csv").open(newline="") as stream:
        offset = float(list(csv.DictReader(stream))[4]["asked_AU12"])
    wanted = min(1.0, max(0.0, float(measured.aus[3, SMILE]) + offset))
    assert float(asked.aus[4, SMILE]) == pytest.approx(wanted, abs=1e-6)


def test_relative_labels_are_what_was_asked_alone(folder: Path) -> None:
    """Not cut to 0..1; nothing was asked of real pictures."""
    relative = open_prepared(folder, SIZE, labels="relative").train
    assert relative.aus is not None
    assert not relative.aus[[0, 3]].any()
    with (folder / "features.csv").open(newline="") as stream:
        rows = list(csv.DictReader(stream))
    assert float(relative.aus[4, SMILE]) == pytest.approx(float(rows[4]["asked_AU12"]), abs=1e-6)


def test_a_flip_swaps_the_sides_of_everything(folder: Path) -> None:
    """Picture, landmarks and parsing classes of the mirrored face: its right eye is where the left one was."""
    train = open_prepared(folder, SIZE, parsing=True).train
    assert torch.equal(train.image(1, flip=True), train.image(1).flip(-1))
    points, flipped = train.points(1), train.points(1, flip=True)
    assert torch.allclose(flipped[45], torch.stack([SIZE - 1 - points[36, 0], points[36, 1]]))
    mask = train.classes(1, flip=True)
    assert mask.dtype == torch.int64
    assert mask[0, 0] == 4  # the mirrored picture's left half shows what is its left eye
    assert mask[0, -1] == 5


def test_mirroring_twice_changes_nothing() -> None:
    """Both permutations are their own inverse, and only paired landmarks and classes move."""
    assert [LANDMARK_MIRROR[LANDMARK_MIRROR[k]] for k in range(68)] == list(range(68))
    assert [PARSING_MIRROR[PARSING_MIRROR[k]] for k in range(19)] == list(range(19))
    points = torch.rand(68, 2)
    assert torch.allclose(mirror_landmarks(mirror_landmarks(points, 64), 64), points, atol=1e-5)
    assert [k for k in range(68) if LANDMARK_MIRROR[k] == k] == [8, 27, 28, 29, 30, 33, 51, 57, 62, 66]


def test_a_mirrored_symmetric_face_is_the_same() -> None:
    """On a face that is symmetric about the middle, each landmark lands on its partner."""
    from engine.canonical import VERTICES
    from engine.features.landmarks68 import from_points

    face = torch.from_numpy(from_points(VERTICES * 2 + 31.5))
    assert torch.allclose(mirror_landmarks(face, 64), face, atol=0.05)


def test_pictures_in_memory_are_those_on_disk(folder: Path) -> None:
    """The cache changes the speed and nothing else; without room for it pictures are read each time."""
    kept, read = open_prepared(folder, 8).train, open_prepared(folder, 8, cache_bytes=0).train
    assert all(torch.equal(kept.image(k), read.image(k)) for k in range(len(kept)))
    (folder / "images" / "ann.png").unlink()
    assert kept.image(0).shape == (3, 8, 8)
    with pytest.raises(PictureError, match="missing or damaged"):
        read.image(0)


def test_a_picture_that_cannot_be_read_fails_alone(folder: Path) -> None:
    """The others are trained on; the broken one says what it is, with or without a cache."""
    (folder / "images" / "ben.png").write_bytes(b"no picture")
    cv2.imwrite(str(folder / "images" / "ann~s1.png"), np.zeros((4, 4, 3), np.uint8))
    for cache_bytes in (0, 1 << 20):
        train = open_prepared(folder, SIZE, cache_bytes=cache_bytes).train
        assert train.image(0).shape == (3, SIZE, SIZE)
        with pytest.raises(PictureError, match=r"ben\.png"):
            train.image(3)
        with pytest.raises(PictureError, match="is 4x4, expected 16x16"):
            train.image(1)


def test_items_stack_to_a_batch_and_travel_to_a_worker(folder: Path) -> None:
    """A worker process that is started anew gets the same items."""
    train = open_prepared(folder, SIZE).train
    item = train.item(2, flip=True)
    assert {name: tuple(value.shape) for name, value in item.items()} == {
        "image": (3, SIZE, SIZE),
        "index": (),
        "person": (),
        "aus": (17,),
        "landmarks": (68, 2),
    }
    with pytest.raises(IndexError):
        train.item(6)


def test_the_facts_for_the_checkpoint(folder: Path) -> None:
    """What the data was, as JSON."""
    data = open_prepared(folder, 8, labels="asked")
    assert json.loads(json.dumps(data.about)) == data.about
    assert data.about["mode"] == "static"
    assert data.about["crop"] == {"rule": "face", "size": SIZE}
    assert data.about["pictures"] == {"train": 6, "validation": 3}
    assert data.about["licences"] == ["CC0 1.0"]
    assert data.about["size"] == 8


@pytest.mark.parametrize(
    ("expected", "told"),
    [
        (
            Expected(mode="dynamic"),
            "mode is 'static', the recipe expects 'dynamic'; prepare it so \\(--mode dynamic\\)",
        ),
        (Expected(extractor="openface"), "extractor is 'marotte-geometry'"),
        (Expected(crop="celeba"), "crop is 'face'"),
    ],
)
def test_data_of_another_kind_than_the_recipe_names_is_refused(
    folder: Path, expected: Expected, told: str
) -> None:
    """AUs of another extractor or mode are other numbers under the same names."""
    with pytest.raises(DataError, match=told):
        open_prepared(folder, SIZE, expected=expected)


@pytest.mark.parametrize(
    ("about", "told"),
    [
        ({"format": 2}, "format 2, expected 1"),
        ({"extractor": None}, "lacks extractor or crop"),
        ({"extractor": {"name": "x"}}, "states no mode"),
        ({"crop": {"rule": "face", "size": "large"}}, "crop.size is 'large'"),
        ({"origins": "CC0"}, "states no licences"),
    ],
)
def test_a_folder_of_another_format_is_refused(tmp_path: Path, about: dict[str, Any], told: str) -> None:
    """With what was found and what was expected."""
    with pytest.raises(DataError, match=told):
        open_prepared(write(tmp_path / "data", table(), about), SIZE)


def test_an_unfinished_folder_is_refused(folder: Path) -> None:
    """dataset.json is written last."""
    (folder / "dataset.json").unlink()
    with pytest.raises(DataError, match="run it \\(again\\) to the end"):
        open_prepared(folder, SIZE)
    with pytest.raises(DataError, match="no such folder"):
        open_prepared(folder / "nowhere", SIZE)


def _drop(name: str) -> Callable[[Table], None]:
    return lambda rows: [row.pop(name) for row in rows] and None


def _set(name: str, value: str, place: int = 1) -> Callable[[Table], None]:
    return lambda rows: rows[place].update({name: value})


@pytest.mark.parametrize(
    ("change", "told"),
    [
        (_drop("AU12"), "lacks the column 'AU12'"),
        (_drop("x67"), "lacks the column 'x67'"),
        (_set("AU12", "much"), "could not convert string to float: 'much'"),
        (_set("AU12", "2.5"), "AU12 is 2.5 in picture 1, expected 0 .. 1; they look like OpenFace's 0..5"),
        (_set("AU12", "-31"), "AU12 is -31 in picture 1, expected 0 .. 1; these are no intensities"),
        (_set("AU12", "nan"), "are not finite"),
        (_set("base", "cat"), "has a base that is not in its split"),
        (_set("base", ""), "is 'synthesised' with base ''"),
        (_set("image", "ann"), "a picture twice"),
        (_set("split", "holdout"), "of a split 'holdout'"),
        (_set("split", "validation"), "'ann' is in training and held back too"),
        (_set("x3", "nan"), "landmarks that are not finite"),
        (_set("AU12", "1.5", 8), "AU12 is 1.5 in picture 8"),
        (_set("image", "../ann"), "is no id of a picture"),
        (_set("asked_AU12", ""), "could not convert"),
    ],
)
def test_a_wrong_table_is_refused(tmp_path: Path, change: Callable[[Table], None], told: str) -> None:
    """Before the first step, with the column and the picture."""
    rows = table()
    change(rows)
    with pytest.raises(DataError, match=told):
        open_prepared(write(tmp_path / "data", rows), SIZE)


def test_columns_are_found_by_name(tmp_path: Path, folder: Path) -> None:
    """Their order does not matter; one that nobody knows, or that stands twice, is refused."""
    shuffled = [dict(reversed(row.items())) for row in table()]
    one, other = (
        open_prepared(folder, SIZE).train,
        open_prepared(write(tmp_path / "other", shuffled), SIZE).train,
    )
    assert one.aus is not None
    assert other.aus is not None
    assert torch.equal(one.aus, other.aus)
    strange = [row | {"AU_12": "0"} for row in table()]
    with pytest.raises(DataError, match="'AU_12' too many"):
        open_prepared(write(tmp_path / "strange", strange), SIZE)


def test_a_table_that_was_cut_off_is_refused(folder: Path) -> None:
    """A row with too few cells is no row."""
    text = (folder / "features.csv").read_text()
    (folder / "features.csv").write_text(text[: len(text) - 200])
    with pytest.raises(DataError, match=r"line 10 has \d+ cells, the header"):
        open_prepared(folder, SIZE)


def test_statistics_say_what_the_table_looks_like() -> None:
    """Mean, spread, range and share of zeros per AU."""
    aus = np.zeros((4, 17), np.float32)
    aus[:2, SMILE] = (0.2, 0.6)
    found = au_statistics(aus)
    assert found.mean[SMILE] == pytest.approx(0.2)
    assert found.spread[SMILE] == pytest.approx(np.std([0.2, 0.6, 0, 0]))
    assert (found.least[SMILE], found.zeros[SMILE], found.zeros[0]) == (0.0, 0.5, 1.0)
    assert found.alive == ("AU12",)
    assert len(found.lines()) == 18


@pytest.mark.parametrize(
    ("aus", "told"),
    [
        (np.zeros((9, 17)), "every AU is 0 in all 9 pictures"),
        (np.tile(np.linspace(0, 1, 17), (9, 1)), "the same in all 9 pictures"),
        (np.eye(9, 17)[:, [SMILE] * 17] * np.eye(17)[SMILE], "only AU12 varies"),
        (np.zeros((0, 17)), "at least one picture"),
        (np.zeros((3, 16)), r"expected \(pictures, 17\)"),
    ],
)
def test_aus_from_which_nothing_can_be_learnt_are_refused(aus: np.ndarray, told: str) -> None:
    """All zero, all alike, one AU only, none: with the reason."""
    with pytest.raises(DataError, match=told):
        check_aus(aus.astype(np.float32), "table")


def test_faces_without_labels_say_what_is_missing() -> None:
    """A folder of plain pictures has no landmarks and no masks."""
    faces = Faces(["a"], lambda index: np.zeros((4, 4, 3), np.uint8), size=4)
    assert set(faces.item(0)) == {"image", "index", "person"}
    with pytest.raises(PictureError, match="has no landmarks"):
        faces.points(0)
    with pytest.raises(PictureError, match="has no parsing mask"):
        faces.classes(0)


def test_a_reader_can_be_sent_to_another_process(folder: Path) -> None:
    """DataLoader's workers are started anew on some systems, and get the dataset by pickle."""
    train = open_prepared(folder, SIZE).train
    again = pickle.loads(pickle.dumps(train))
    assert torch.equal(again.image(2), train.image(2))
    lazy = pickle.loads(pickle.dumps(open_prepared(folder, SIZE, cache_bytes=0).train))
    assert torch.equal(lazy.image(2), train.image(2))
