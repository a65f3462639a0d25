"""From real pictures to a prepared folder, with the shipped tracker and generator."""

from __future__ import annotations

import csv
import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

import engine.annotate.work as work_module
import marotte
from engine.annotate.gates import Gates
from engine.annotate.inputs import Input
from engine.annotate.run import prepare
from engine.annotate.table import COLUMNS
from engine.annotate.work import Desk, Outcome, Settings, Stage
from engine.errors import ConfigError, InputError, StateError
from engine.sample import sample_portrait
from engine.types import AU_NAMES

SETTINGS = Settings(size=64, synthesise=3, mode="dynamic")


class Reused:
    """A stage that is open already, and stays so."""

    def __init__(self, stage: Stage) -> None:
        self._stage = stage

    def __enter__(self) -> Stage:
        return self._stage

    def __exit__(self, *_: object) -> None:
        pass


@pytest.fixture(scope="module")
def stage(models: None) -> Iterator[Any]:
    with Stage() as opened:
        yield Reused(opened)


@pytest.fixture(scope="module")
def stills(faces_root: Path) -> list[Path]:
    return [faces_root / "training" / f"{name}.jpg" for name in ("female_02", "male_03", "male_70")]


@pytest.fixture(scope="module")
def prepared(
    stage: Any, stills: list[Path], faces_root: Path, tmp_path_factory: pytest.TempPathFactory
) -> Path:
    out = tmp_path_factory.mktemp("prepared") / "out"
    clip = faces_root / "drivers" / "man_webcam_neutral_to_smile.mp4"
    prepare([*stills, clip], out, SETTINGS, licence="CC0 1.0", validation=0.3, stage=stage)
    return out


def rows_of(folder: Path) -> list[dict[str, str]]:
    with (folder / "features.csv").open(newline="") as stream:
        return list(csv.DictReader(stream))


def content_of(folder: Path) -> dict[str, bytes]:
    names = ("features.csv", "dataset.json", "report.html", "sheet.png")
    pictures = [path for place in ("images", "parsing") for path in sorted((folder / place).iterdir())]
    return {
        str(path.relative_to(folder)): path.read_bytes() for path in [*(folder / n for n in names), *pictures]
    }


def test_a_row_and_two_pictures_per_picture(prepared: Path) -> None:
    """The table has the documented columns, and every row its crop and its parsing mask at the asked size."""
    rows = rows_of(prepared)
    assert tuple(rows[0]) == COLUMNS
    for row in rows:
        rgb = cv2.imread(str(prepared / "images" / f"{row['image']}.png"), cv2.IMREAD_UNCHANGED)
        mask = cv2.imread(str(prepared / "parsing" / f"{row['image']}.png"), cv2.IMREAD_UNCHANGED)
        assert rgb is not None
        assert mask is not None
        assert rgb.shape == (64, 64, 3)
        assert mask.shape == (64, 64)
        assert mask.max() <= 18
        assert {1, 4, 5}.issubset(np.unique(mask))
    assert len({row["image"] for row in rows}) == len(rows)
    assert len(rows) == len(list((prepared / "images").iterdir()))


def test_masks_of_synthesised_pictures_follow_the_moved_face(prepared: Path) -> None:
    """Each part lies on the landmarks of its own picture, as moved, not on those of the still behind it."""
    rows = {row["image"]: row for row in rows_of(prepared)}
    parts = {"eyes": (4, 5), "lips": (10, 11, 12), "brows": (6, 7)}
    at = {"eyes": range(36, 48), "lips": range(48, 60), "brows": range(17, 27)}
    moved = 0
    for row in rows.values():
        mask = cv2.imread(str(prepared / "parsing" / f"{row['image']}.png"), cv2.IMREAD_UNCHANGED)
        assert mask is not None
        for name, classes in parts.items():
            y, x = np.nonzero(np.isin(mask, classes))
            own, other = (
                np.array([[float(one[f"{axis}{k}"]) for axis in "xy"] for k in at[name]])
                for one in (row, rows.get(row["base"], row))
            )
            heights = [(y.min(), y.max()), *((ring[:, 1].min(), ring[:, 1].max()) for ring in (own, other))]
            seen, wanted, still = (np.array(pair, float) for pair in heights)
            assert np.abs(seen - wanted).max() < 3.0, (row["image"], name)
            assert np.abs(x.mean() - own[:, 0].mean()) < 2.0, (row["image"], name)
            if np.abs(wanted - still).max() > 4.0:
                moved += 1
                assert np.abs(seen - wanted).max() < np.abs(seen - still).max(), (row["image"], name)
    assert moved


def test_labels_are_numbers_in_their_units(prepared: Path) -> None:
    """AUs in 0..1, asked offsets in -1..1 for synthesised pictures only, landmarks on the face in the crop."""
    for row in rows_of(prepared):
        assert all(0.0 <= float(row[name]) <= 1.0 for name in AU_NAMES)
        asked = [row[f"asked_{name}"] for name in AU_NAMES]
        if row["kind"] == "real":
            assert set(asked) == {""}
        else:
            assert 0.1 <= max(abs(float(cell)) for cell in asked) <= 1.0
        eyes = [float(row[f"y{k}"]) for k in (36, 45)]
        mouth = [float(row[f"y{k}"]) for k in (48, 54)]
        assert 10 < np.mean(eyes) < 32 < np.mean(mouth) < 54
        assert row["licence"] == "CC0 1.0"


def test_nobody_stands_on_both_sides(prepared: Path) -> None:
    """A person, with all that was synthesised from its pictures, is in training or held back."""
    rows = rows_of(prepared)
    sides = {
        person: {row["split"] for row in rows if row["person"] == person}
        for person in {r["person"] for r in rows}
    }
    assert all(len(found) == 1 for found in sides.values())
    assert set.union(*sides.values()) == {"train", "validation"}
    images = {row["image"]: row for row in rows}
    for row in rows:
        if row["base"]:
            assert images[row["base"]]["split"] == row["split"]
            assert images[row["base"]]["kind"] == "real"


def test_a_clip_gives_frames_of_one_person(prepared: Path) -> None:
    """About six frames per second, with their times, of the smile that the clip holds."""
    rows = [row for row in rows_of(prepared) if row["person"] == "man_webcam_neutral_to_smile"]
    times = [float(row["time_s"]) for row in rows]
    assert 10 <= len(rows) <= 16
    assert np.diff(times).min() >= 1 / 6 - 0.035
    smiles = [float(row["AU12"]) for row in rows]
    assert smiles[0] < 0.2
    assert max(smiles) > 0.5


def test_the_facts_stand_in_dataset_json(prepared: Path) -> None:
    """Format, extractor with mode, crop, counts that agree with the table, licences."""
    about = json.loads((prepared / "dataset.json").read_text())
    rows = rows_of(prepared)
    assert about["format"] == 1
    assert about["extractor"]["mode"] == "dynamic"
    assert about["crop"] == {"rule": "face", "size": 64}
    assert about["counts"]["pictures"] == len(rows)
    for side in ("train", "validation"):
        for kind in ("real", "synthesised"):
            expected = sum(row["split"] == side and row["kind"] == kind for row in rows)
            assert about["counts"][side][kind] == expected
    assert about["origins"] == [{"origin": "", "licence": "CC0 1.0", "pictures": len(rows)}]
    assert "CC0 1.0" in (prepared / "report.html").read_text()


def test_what_is_asked_is_what_is_measured(stage: Any, stills: list[Path], tmp_path: Path) -> None:
    """Over many expressions of one face, the measured change of a jaw drop, a smile and a blink follows the asked."""
    prepare(stills[2:], tmp_path / "out", Settings(size=64, synthesise=40, mode="dynamic"), stage=stage)
    rows = rows_of(tmp_path / "out")
    base = next(row for row in rows if row["kind"] == "real")
    made = [row for row in rows if row["kind"] == "synthesised"]
    assert len(made) >= 36
    for name, least in (("AU26", 0.85), ("AU12", 0.8), ("AU45", 0.6), ("AU01", 0.5)):
        asked = [float(row[f"asked_{name}"]) for row in made]
        change = [float(row[name]) - float(base[name]) for row in made]
        assert np.corrcoef(asked, change)[0, 1] > least, name


def test_a_pair_matches_outside_of_the_face(prepared: Path) -> None:
    """A synthesised picture is cut as its base: beside the head nothing has moved."""
    for row in rows_of(prepared):
        if row["base"]:
            one, other = (
                cv2.imread(str(prepared / "images" / f"{name}.png")).astype(int)
                for name in (row["image"], row["base"])
            )
            border = np.abs(one - other)[:4]
            assert border.mean() < 1.0
            assert np.abs(one - other).mean() > 0.1


def test_the_same_picture_under_two_names_stays_on_one_side(
    stage: Any, stills: list[Path], tmp_path: Path
) -> None:
    """Another size of a picture is no other person: else what is held back would be trained on."""
    picture = cv2.imread(str(stills[0]))
    for name, size in (("a", 256), ("b", 400), ("c", 200)):
        cv2.imwrite(
            str(tmp_path / f"{name}.png"), cv2.resize(picture, (size, size), interpolation=cv2.INTER_AREA)
        )
    copies = [tmp_path / f"{name}.png" for name in "abc"]
    about = prepare([*copies, *stills[1:]], tmp_path / "out", Settings(size=64), validation=0.5, stage=stage)
    assert about["persons"]["twins"] == [["a", "b", "c"]]
    assert len({row["split"] for row in rows_of(tmp_path / "out") if row["person"] in "abc"}) == 1
    assert "a, b, c" in (tmp_path / "out" / "report.html").read_text()


def test_an_interrupted_preparation_goes_on_to_the_same_result(
    prepared: Path,
    stage: Any,
    stills: list[Path],
    faces_root: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Ended in the middle of an input, the same call does only what is missing and gives the same bytes."""
    inputs = [*stills, faces_root / "drivers" / "man_webcam_neutral_to_smile.mp4"]
    done: list[str] = []
    whole = Desk.work

    def work(self: Desk, one: Input) -> Outcome:
        if len(done) == 2:
            (tmp_path / "out" / "images" / f"{one.id}.png").write_bytes(b"half")
            raise KeyboardInterrupt
        done.append(one.id)
        return whole(self, one)

    options: dict[str, Any] = {"licence": "CC0 1.0", "validation": 0.3, "stage": stage}
    with monkeypatch.context() as patch:
        patch.setattr(Desk, "work", work)
        with pytest.raises(KeyboardInterrupt):
            prepare(inputs, tmp_path / "out", SETTINGS, **options)
    assert not (tmp_path / "out" / "dataset.json").exists()
    counts: list[tuple[int, int | None]] = []
    prepare(inputs, tmp_path / "out", SETTINGS, progress=lambda *at: counts.append(at), **options)
    assert counts[0] == (2, 4)
    assert counts[-1] == (4, 4)
    assert content_of(tmp_path / "out") == content_of(prepared)


def test_pictures_that_teach_nothing_are_counted_by_reason(
    stage: Any, faces_root: Path, tmp_path: Path
) -> None:
    """Damaged, too large, too small, faceless or turned away: survived and named; 16 bits and CMYK are read."""
    expected = {
        "truncated.jpg": "unreadable",
        "empty.jpg": "unreadable",
        "huge_20000x15000.png": "too large",
        "icon_32px.jpg": "too small",
        "noise.jpg": "no face",
        "over_shoulder_in_shadow.jpg": "pose",
        "upside_down.jpg": "pose",
        "rgb16.png": "",
        "cmyk.jpg": "",
    }
    about = prepare(
        [faces_root / "hard" / name for name in expected], tmp_path / "out", Settings(), stage=stage
    )
    assert about["counts"]["pictures"] == 2
    reasons = [reason for reason in expected.values() if reason]
    assert about["counts"]["refused"] == {reason: reasons.count(reason) for reason in sorted(set(reasons))}
    report = (tmp_path / "out" / "report.html").read_text()
    assert "truncated" in report
    assert "yaw of" in report


def test_blurred_and_rivalled_faces_are_refused_by_their_gates(
    stage: Any, stills: list[Path], tmp_path: Path
) -> None:
    """The same face passes sharp and fails blurred; beside a second face it fails where one face is asked for."""
    picture = cv2.imread(str(stills[0]))
    cv2.imwrite(str(tmp_path / "blurred.png"), cv2.GaussianBlur(picture, (0, 0), 4.0))
    cv2.imwrite(str(tmp_path / "two.png"), np.concatenate([picture, picture], 1))
    shutil.copy(stills[0], tmp_path / "sharp.jpg")
    inputs = [tmp_path / name for name in ("blurred.png", "two.png", "sharp.jpg")]
    about = prepare(inputs, tmp_path / "out", Settings(gates=Gates(rivals=0.0)), stage=stage)
    assert about["counts"]["refused"] == {"blurred": 1, "several faces": 1}
    assert prepare(inputs[1:], tmp_path / "main", Settings(), stage=stage)["counts"]["refused"] == {}


def test_a_full_disk_ends_the_preparation_and_blames_no_picture(
    stage: Any, stills: list[Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """No space left: one clear error, nothing counted, and the next run goes on."""

    def full(path: Path, rgb: Any) -> None:
        raise InputError("a.png could not be written (No space left on device): free some space")

    with monkeypatch.context() as patch:
        patch.setattr(work_module, "write_picture", full)
        with pytest.raises(StateError, match=r"free some space; then run the same command again"):
            prepare(stills[:1], tmp_path / "out", Settings(size=64), stage=stage)
    assert not list((tmp_path / "out" / "parts").iterdir())
    assert prepare(stills[:1], tmp_path / "out", Settings(size=64), stage=stage)["counts"]["pictures"] == 1


def test_a_folder_of_something_else_is_left_alone(stage: Any, stills: list[Path], tmp_path: Path) -> None:
    """Foreign files, or pictures prepared with other settings: refused before anything is written."""
    (tmp_path / "notes.txt").write_text("mine")
    with pytest.raises(ConfigError, match="holds no prepared pictures"):
        prepare(stills[:1], tmp_path, Settings(), stage=stage)
    assert [path.name for path in tmp_path.iterdir()] == ["notes.txt"]
    prepare(stills[:1], tmp_path / "out", Settings(size=64), stage=stage)
    with pytest.raises(ConfigError, match="prepared with other settings"):
        prepare(stills[:1], tmp_path / "out", Settings(size=32), stage=stage)


def test_inputs_without_one_usable_picture_say_why(stage: Any, faces_root: Path, tmp_path: Path) -> None:
    """Nothing to train on is an error with the reasons counted, not an empty folder that looks whole."""
    with pytest.raises(InputError, match="1 no face, 1 unreadable"):
        prepare(
            [faces_root / "hard" / name for name in ("noise.jpg", "empty.jpg")], tmp_path / "out", stage=stage
        )
    assert not (tmp_path / "out" / "dataset.json").exists()


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["nowhere.jpg", "--out", "out"], "no such file or folder"),
        ([".", "--out", "out", "--crop", "celebra"], "did you mean 'celeba'"),
        ([".", "--out", "out", "--mode", "statik"], "did you mean 'static'"),
        ([".", "--out", "out", "--gate", "yawn=3"], "did you mean 'yaw'"),
        ([".", "--out", "out", "--gate", "yaw=wide"], "NAME=NUMBER"),
        ([".", "--out", "out", "--validation", "1.5"], "expected a share"),
        ([".", "--out", "out", "--size", "4"], "expected a whole number in 16 .. 1024"),
        (["{picture}", "--out", "out", "--backend", "openvin"], "did you mean openvino"),
        (["{picture}", "--out", "out", "--cache", "no_models"], "marotte models pull"),
    ],
)
def test_a_wrong_command_line_is_one_line(
    words: list[str],
    told: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """Exit status 2, what was wrong, and nothing written."""
    monkeypatch.chdir(tmp_path)
    assert marotte.main(["prepare", *(word.format(picture=sample_portrait()) for word in words)]) == 2
    assert told in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_synthesise_does_not_swallow_an_input(capsys: pytest.CaptureFixture[str]) -> None:
    """Its number may be left out, and what follows it then is told from one."""
    with pytest.raises(SystemExit, match="2"):
        marotte.main(["prepare", "--synthesise", "nowhere.jpg", "--out", "out"])
    assert "put INPUT before it" in capsys.readouterr().err


@pytest.mark.full
def test_two_processes_give_what_one_gives(
    prepared: Path, models: None, stills: list[Path], faces_root: Path, tmp_path: Path
) -> None:
    """Who does what does not matter."""
    clip = faces_root / "drivers" / "man_webcam_neutral_to_smile.mp4"
    prepare([*stills, clip], tmp_path / "out", SETTINGS, licence="CC0 1.0", validation=0.3, jobs=2)
    assert content_of(tmp_path / "out") == content_of(prepared)
