"""The parts of a preparation that need no network: inputs, persons, split, expressions, sharpness."""

from __future__ import annotations

from contextlib import closing
from pathlib import Path

import cv2
import numpy as np
import pytest

from engine.annotate.alone import Alone
from engine.annotate.expressions import LEAST_SHOWN, LOWER, UPPER, expressions
from engine.annotate.inputs import gather
from engine.annotate.labels import sharpness
from engine.annotate.run import prepare
from engine.annotate.split import place, split
from engine.annotate.store import Store
from engine.annotate.twins import alike, joined
from engine.annotate.work import Settings
from engine.crop import points_in, resized
from engine.errors import ConfigError
from engine.types import AU_NAMES, Crop

LOW = [name for name in AU_NAMES if any(name in part for _, part in LOWER)]
HIGH = [name for name in AU_NAMES if any(name in part for _, part in UPPER)]
NOTHING = np.zeros(len(AU_NAMES), np.float32)


def touch(folder: Path, *names: str) -> Path:
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(b"x")
    return folder


def test_every_file_is_gathered_once_with_an_id_of_its_own(tmp_path: Path) -> None:
    """Folders to the bottom, tables and hidden files left out, equal stems told apart, odd letters replaced."""
    touch(
        tmp_path, "a.jpg", "a.png", "b/a.jpg", "b/sp ace~s001.jpg", "b/A.webp", "notes.csv", ".hidden/x.jpg"
    )
    found = gather([tmp_path, tmp_path / "a.jpg"])
    assert [one.id for one in found] == ["a", "a~2", "b__A", "b__a~2", "b__sp_ace_s001"]
    assert len({one.id.lower() for one in found}) == len(found)


@pytest.mark.parametrize(
    ("rule", "persons"),
    [
        ("file", ["anna__1", "anna__2", "ben_x"]),
        ("folder", ["anna", "anna", ""]),
        ("name", ["1", "2", "ben"]),
    ],
)
def test_persons_follow_the_rule(rule: str, persons: list[str], tmp_path: Path) -> None:
    """By file, by folder (the input's own name at its top), or by the name up to its last underscore."""
    touch(tmp_path, "anna/1.jpg", "anna/2.jpg", "ben_x.jpg")
    found = gather([tmp_path], persons=rule)
    assert [one.person for one in found] == [person or tmp_path.name for person in persons]


def test_the_origins_table_goes_before_every_rule(tmp_path: Path) -> None:
    """A path there names the file that ends so, the longest one; licence and person are taken from it."""
    touch(tmp_path, "set/p/1.jpg", "set/q/1.jpg", "set/q/2.jpg")
    table = tmp_path / "origins.csv"
    table.write_text("path,licence,origin,origin_path,person\n1.jpg,MIT,one,x/1,\nq/1.jpg,CC0,two,y/1,anna\n")
    found = {one.shown: one for one in gather([tmp_path / "set"], origins=table, licence="BSD")}
    assert (found["p/1.jpg"].licence, found["p/1.jpg"].origin) == ("MIT", "one: x/1")
    assert (found["q/1.jpg"].licence, found["q/1.jpg"].person) == ("CC0", "anna")
    assert (found["q/2.jpg"].licence, found["q/2.jpg"].origin) == ("BSD", "")


def test_a_table_without_its_columns_is_refused(tmp_path: Path) -> None:
    """Nobody's licence is guessed."""
    touch(tmp_path, "a.jpg")
    (tmp_path / "t.csv").write_text("path,license\na.jpg,MIT\n")
    with pytest.raises(ConfigError, match="lacks the column 'licence'"):
        gather([tmp_path], origins=tmp_path / "t.csv")


@pytest.mark.parametrize("content", [b"path,licence\n" + b"a" * 200_000 + b",x\n"])
def test_what_is_no_table_is_refused(content: bytes, tmp_path: Path) -> None:
    """In one line, whatever the reader of tables says of it."""
    touch(tmp_path, "a.jpg")
    (tmp_path / "t.csv").write_bytes(content)
    with pytest.raises(ConfigError, match="is no table"):
        gather([tmp_path], origins=tmp_path / "t.csv")


def test_what_was_made_inside_an_input_is_none(tmp_path: Path) -> None:
    """The same command again takes the same files, also where its folder lies among them."""
    touch(tmp_path, "a.jpg", "out/sheet.png", "out/images/a.png")
    assert [one.id for one in gather([tmp_path], out=tmp_path / "out")] == ["a"]


def test_a_damaged_mark_is_other_settings(tmp_path: Path) -> None:
    """One line, not the decoder's words."""
    Store(tmp_path / "out", Settings())
    (tmp_path / "out" / "settings.json").write_bytes(b"\xff\xfe")
    with pytest.raises(ConfigError, match="other settings"):
        Store(tmp_path / "out", Settings())


def test_only_pictures_of_no_row_are_cleared_away(tmp_path: Path) -> None:
    """What somebody else put there stays."""
    store = Store(tmp_path, Settings())
    touch(tmp_path / "images", "kept.png", "left.png", ".left.png.0a0b0c0d.part", "notes.txt", "mine.png/x")
    store.keep_only({"kept"})
    assert sorted(path.name for path in (tmp_path / "images").iterdir()) == [
        "kept.png",
        "mine.png",
        "notes.txt",
    ]


def test_a_second_preparation_leaves_the_folder_alone(tmp_path: Path) -> None:
    """Each would clear away the other's pictures."""
    touch(tmp_path, "a.jpg")
    Store(tmp_path / "out", Settings())
    with closing(Alone(tmp_path / "out")), pytest.raises(ConfigError, match="another preparation writes"):
        prepare([tmp_path / "a.jpg"], tmp_path / "out")


def test_an_unknown_rule_and_an_empty_folder_are_refused(tmp_path: Path) -> None:
    """With the nearest rule, and with what was expected."""
    with pytest.raises(ConfigError, match="did you mean 'folder'"):
        gather([tmp_path], persons="folders")
    with pytest.raises(ConfigError, match="no picture or clip"):
        gather([tmp_path])


def test_the_split_is_stable_and_near_its_share() -> None:
    """A person's side follows from the name alone: others who join move nobody."""
    persons = [f"person {k}" for k in range(1000)]
    sides = split(persons, 0.12)
    held = [person for person in persons if sides[person] == "validation"]
    assert 90 <= len(held) <= 150
    assert held == [person for person in persons if place(person) < 0.12]
    assert all(split(persons[:500], 0.12)[person] == sides[person] for person in persons[:500])


@pytest.mark.parametrize("share", [1e-9, 0.999999])
def test_neither_side_is_empty(share: float) -> None:
    """Of two persons or more one is held back, and one is not; a single one is for training."""
    assert sorted(split(["a", "b", "c"], share).values()).count("validation") in (1, 2)
    assert set(split(["a", "b"], 0.0).values()) == {"train"}
    assert split(["a"], 1e-9) == {"a": "train"}


def test_persons_who_share_a_picture_are_found_and_joined() -> None:
    """Over any number of links, whatever their order; alike is the same pattern, and not the same average."""
    assert joined("dacbe", [("c", "d"), ("a", "c"), ("b", "e")]) == {
        "d": "a",
        "a": "a",
        "c": "a",
        "b": "b",
        "e": "b",
    }
    draw = np.random.default_rng(4)
    thumbs = draw.normal(size=(4, 256)).astype(np.float32)
    thumbs[2] = thumbs[0] + 0.1 * thumbs[3]
    thumbs -= thumbs.mean(1, keepdims=True)
    thumbs /= np.linalg.norm(thumbs, axis=1, keepdims=True)
    assert alike(thumbs, ["z", "b", "a", "c"]) == {("a", "z")}
    assert alike(thumbs, ["z", "b", "z", "c"]) == set()


def test_expressions_are_the_same_for_the_same_key() -> None:
    """A preparation that is repeated asks for the same, and another picture is asked for something else."""
    one, again, other = (np.array(expressions(key, 12, NOTHING)) for key in ("a", "a", "b"))
    assert np.array_equal(one, again)
    assert not np.array_equal(one, other)
    assert np.array_equal(expressions("a", 20, NOTHING)[:12], one)


def test_the_upper_face_is_drawn_apart_from_the_lower_one() -> None:
    """Over many expressions no AU of brows and eyes tells one of nose, mouth or jaw."""
    asked = np.array(expressions("many", 4000, NOTHING))
    high = asked[:, [AU_NAMES.index(name) for name in HIGH]]
    low = asked[:, [AU_NAMES.index(name) for name in LOW]]
    between = np.corrcoef(high.T, low.T)[: len(HIGH), len(HIGH) :]
    assert np.abs(between).max() < 0.06
    assert not asked[:, [AU_NAMES.index(name) for name in ("AU06", "AU07")]].any()
    assert np.abs(asked).max() <= 1.0
    assert (np.abs(asked).max(1) >= 0.1).all()


def test_what_a_face_shows_is_also_taken_back() -> None:
    """A smiling face is asked for less of its smile as well as for more, and never for less than none."""
    shown = NOTHING.copy()
    smile = AU_NAMES.index("AU12")
    shown[smile] = 0.6
    asked = np.array(expressions("smiling", 500, shown))[:, smile]
    assert (asked < -0.1).mean() > 0.1
    assert (asked > 0.1).mean() > 0.1
    assert asked.min() >= -0.6
    shown[smile] = LEAST_SHOWN / 2
    assert np.array(expressions("hardly", 200, shown))[:, smile].min() >= 0.0


def test_sharpness_falls_with_blur_and_not_with_contrast_or_size() -> None:
    """The same texture dimmer is as sharp, blurred it is less, and at whatever size it is stored it is as sharp."""
    texture = np.random.default_rng(1).integers(0, 256, (128, 128), np.uint8)
    rgb = np.repeat(cv2.GaussianBlur(texture, (0, 0), 2.0)[..., None], 3, 2)
    square = np.array([(16, 16), (111, 16), (111, 111), (16, 111)], np.float32)
    whole = Crop(np.eye(3)[:2], 128)
    sharp = sharpness(rgb, whole, square)
    assert sharpness((rgb // 2).astype(np.uint8), whole, square) == pytest.approx(sharp, rel=0.05)
    assert sharpness(cv2.GaussianBlur(rgb, (0, 0), 4.0), whole, square) < 0.5 * sharp
    stored = resized(whole, 32)
    assert sharpness(rgb, stored, points_in(stored, square)) == pytest.approx(sharp, rel=1e-3)
