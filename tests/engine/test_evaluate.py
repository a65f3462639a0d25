"""The evaluation from folders to files: protocol, rules, exclusions, resuming; with a stage that is exactly
known.

The fake tracker reads a face out of a flat picture: blue says that there is one, red how wide its mouth is,
green how far it is turned.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Iterator
from fractions import Fraction
from pathlib import Path
from types import TracebackType
from typing import Self

import numpy as np
import pytest

from engine import canonical, processes
from engine.errors import ConfigError, TooSmallError
from engine.evaluate import evaluate, run
from engine.evaluate.clip import Clip, Cut, scored_frames, spread_pairs, window_frames
from engine.evaluate.parts import write_text
from engine.evaluate.reenact import Played, resting
from engine.evaluate.rules import counted, excluded
from engine.evaluate.scores import CROSS_KEYS, RATIOS, SELF_KEYS, mean_scores
from engine.geometry import pose_rotation
from engine.media import VideoWriter, write_picture
from engine.types import U8, Face, Frame, HeadPose, Outcome, Source

SIDE = 160
FRAMES = 40


def flat(red: float, green: float, blue: float) -> U8:
    return np.full((SIDE, SIDE, 3), (round(red), round(green), round(blue)), np.uint8)


def face_in(rgb: U8) -> tuple[Face, ...]:
    red, green, blue = rgb[::16, ::16].reshape(-1, 3).mean(0)
    if blue < 100:
        return ()
    shape = canonical.VERTICES.copy()
    shape[list(canonical.LIPS_INNER[1:10]), 1] += red / 255 * 3
    shape = shape @ pose_rotation(HeadPose(float(green) - 64, 0, 0)).T
    height, width = rgb.shape[:2]
    oval = canonical.VERTICES[list(canonical.FACE_OVAL), :2]
    scale = min(height, width) / 2.3 / float(np.ptp(oval, axis=0).max())
    points = (shape * scale + (width / 2, height / 2, 0)).astype(np.float32)
    box = np.concatenate([points[:, :2].min(0), points[:, :2].max(0)])
    return (Face(box, points, 1.0, 1),)


class FlatTracker:
    """Sees only what the flat colour says."""

    def detect(self, rgb: U8, *, thorough: bool = True, passes: int = 1) -> tuple[Face, ...]:
        return face_in(rgb)

    def track(self, frame: Frame) -> tuple[Face, ...]:
        return face_in(frame.rgb)

    def reset(self) -> None:
        """It remembers nothing."""


class FlatReenactor:
    """Gives back the driver's own frames (perfect), or the still source."""

    def __init__(self, perfect: bool) -> None:
        self.perfect = perfect
        self.played = 0

    def source(self, rgb: U8, name: str) -> Source:
        if name == "refused":
            raise TooSmallError("refused: the face is too small")
        return Source(rgb, face_in(rgb)[0], None, name, name)

    def play(self, source: Source, clip: Clip, *, driver_pixels: bool, pin_first: bool) -> Iterator[Played]:
        self.played += 1
        rest = resting(face_in(clip.frames[0].rgb)[0]).shape
        for frame in clip.frames:
            yield Played(frame.rgb if self.perfect else source.rgb, Outcome.GENERATED, rest)


class FlatStage:
    """The fake tracker and reenactor; nothing is opened."""

    def __init__(self, perfect: bool = True) -> None:
        self.tracker = FlatTracker()
        self.reenactor = FlatReenactor(perfect)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Nothing is open."""


def write_clip(path: Path, pictures: list[U8]) -> None:
    base = Fraction(1, 30)
    with VideoWriter(path, (SIDE, SIDE), rate=Fraction(30), time_base=base) as writer:
        for number, picture in enumerate(pictures):
            writer.write(Frame(picture, number, base, number / 30))


@pytest.fixture(autouse=True, scope="module")
def same_code() -> Iterator[None]:
    """The key of a result holds the engine's code: here it stands still."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(run, "code_digest", lambda: "0" * 64)
        yield


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    root = tmp_path_factory.mktemp("data")
    drivers, portraits = root / "drivers", root / "portraits"
    drivers.mkdir()
    portraits.mkdir()
    wave = [60 + 60 * np.sin(t / 3) for t in range(FRAMES)]
    write_clip(drivers / "talks.mp4", [flat(red, 64, 200) for red in wave])
    write_clip(drivers / "still.mp4", [flat(0, 64, 200)] * FRAMES)
    write_clip(drivers / "turns.mp4", [flat(0, 64 + 1.5 * t, 200) for t in range(FRAMES)])
    write_clip(drivers / "nobody.mp4", [flat(0, 64, 0)] * FRAMES)
    (drivers / "talks.json").write_text("{}")
    (drivers / "noise.mp4").write_bytes(b"no video")
    for name, blue in (("first", 200), ("refused", 210), ("second", 220), ("empty", 0)):
        write_picture(portraits / f"{name}.png", flat(10, 64, blue))
    return drivers, portraits


@pytest.fixture(scope="module")
def perfect(folders: tuple[Path, Path], tmp_path_factory: pytest.TempPathFactory) -> tuple[dict, Path]:
    out = tmp_path_factory.mktemp("perfect")
    return evaluate(*folders, out, stage=FlatStage()), out


@pytest.fixture(scope="module")
def few(
    folders: tuple[Path, Path], tmp_path_factory: pytest.TempPathFactory
) -> tuple[dict, Path, tuple[Path, Path]]:
    """One result of each kind: a clip and a pair; with the folders that they were measured from."""
    root = tmp_path_factory.mktemp("few")
    chosen = root / "drivers", root / "portraits"
    for given, folder, name in zip(folders, chosen, ("talks.mp4", "first.png")):
        folder.mkdir()
        shutil.copy(given / name, folder)
    return evaluate(*chosen, root / "out", stage=FlatStage()), root / "out", chosen


def test_a_perfect_generator_gets_perfect_figures(perfect: tuple[dict, Path]) -> None:
    """Giving back the truth: no error, full correlation, the truth's own jitter, found in every frame."""
    clip = perfect[0]["self"]["clips"]["talks"]
    assert clip["psnr_face"] == 60
    assert clip["ssim_face"] == pytest.approx(1, abs=1e-4)
    assert clip["akd"] == clip["akd_lip"] == clip["akd_floor"] == 0
    assert clip["corr_mouth"] == pytest.approx(1)
    assert clip["jitter_ratio"] == pytest.approx(1)
    assert clip["detected"] == 1
    assert clip["pose_error_deg"] == [0, 0, 0]


def test_a_generator_that_stands_still_is_seen(folders: tuple[Path, Path], tmp_path: Path) -> None:
    """The gate notices a regression: a still picture lies far above the floor and follows nothing."""
    clip = evaluate(*folders, tmp_path, pairs=0, stage=FlatStage(perfect=False))["self"]["clips"]["talks"]
    assert clip["akd"] > clip["akd_floor"] + 0.002
    assert clip["akd_lip"] > 0.01
    assert clip["corr_mouth"] == 0
    assert clip["jitter_ratio"] == 0


def test_every_object_holds_every_key(perfect: tuple[dict, Path]) -> None:
    """metrics.json has the promised shape: mean, clips or pairs, and all again under driver_pixels."""
    metrics = json.loads((perfect[1] / "metrics.json").read_text())
    assert metrics == perfect[0]
    assert set(metrics) == {"self", "cross"}
    for mode, rows, keys in (("self", "clips", SELF_KEYS), ("cross", "pairs", CROSS_KEYS)):
        assert set(metrics[mode]) == {"mean", rows}
        for scores in (metrics[mode]["mean"], *metrics[mode][rows].values()):
            assert set(scores) == {*keys, "driver_pixels"}
            assert set(scores["driver_pixels"]) == set(keys)
            assert len(scores["pose_error_deg"]) == 3


def test_what_is_left_out_is_listed_by_rule(perfect: tuple[dict, Path]) -> None:
    """A still driver has no correlation, a turning one is reported apart, a faceless file is no error."""
    metrics, out = perfect
    details = json.loads((out / "details.json").read_text())
    rules = {(one["where"], one["what"]): one["rule"] for one in details["exclusions"]}
    assert "0.000 < 0.03" in rules["self still", "corr_mouth"]
    assert "more than 45" in rules["self turns", "all"]
    assert "no face" in rules["driver nobody", "all"]
    assert "no face" in rules["portrait empty", "all"]
    assert ("driver noise", "all") in rules
    assert "too small" in rules["pair talks|refused", "all"]
    assert ("driver talks.json", "all") not in rules
    assert metrics["self"]["clips"]["still"]["corr_mouth"] is None
    assert metrics["self"]["clips"]["turns"]["akd"] is None
    assert details["before_the_rules"]["self"]["turns"]["scores"]["akd"] == 0
    assert metrics["self"]["mean"]["corr_mouth"] == metrics["self"]["clips"]["talks"]["corr_mouth"]


def test_a_pair_is_named_driver_and_portrait(perfect: tuple[dict, Path]) -> None:
    """Cross figures exist per pair; those that need a true picture are null."""
    pairs = perfect[0]["cross"]["pairs"]
    assert set(pairs) == {f"{d}|{p}" for d in ("talks", "still", "turns") for p in ("first", "second")}
    assert pairs["talks|first"]["psnr_face"] is None
    assert pairs["talks|first"]["corr_mouth"] == pytest.approx(1)
    # the driver's own frames come out, so the expression is the driver's own, and so is the identity
    assert pairs["talks|first"]["identity_shape_ratio"] == pytest.approx(1, abs=0.05)


def test_report_and_sheets_are_there(perfect: tuple[dict, Path]) -> None:
    """The report stands alone beside its pictures, and every picture that it shows exists."""
    out = perfect[1]
    html = (out / "report.html").read_text()
    shown = [part.split('"')[0] for part in html.split('src="')[1:]]
    assert {"sheets/self/talks.png", "sheets/cross/first.png"} <= set(shown)
    assert all((out / path).is_file() for path in shown)
    assert "http" not in html


def test_a_second_run_measures_nothing_again(folders: tuple[Path, Path], tmp_path: Path) -> None:
    """Interrupted after some results, the same command goes on and ends with the same files."""
    counts: list[tuple[int, int | None]] = []

    def stop_after_two(done: int, total: int | None) -> None:
        counts.append((done, total))
        if done == 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        evaluate(*folders, tmp_path, pairs=1, stage=FlatStage(), progress=stop_after_two)
    assert not (tmp_path / "metrics.json").exists()
    resumed = FlatStage()
    metrics = evaluate(*folders, tmp_path, pairs=1, stage=resumed)
    total = counts[0][1] or 0
    first = (tmp_path / "metrics.json").read_bytes()
    assert 0 < resumed.reenactor.played <= 2 * (total - 2)
    again = FlatStage()
    assert evaluate(*folders, tmp_path, pairs=1, stage=again) == metrics
    assert again.reenactor.played == 0
    assert (tmp_path / "metrics.json").read_bytes() == first


DAMAGE: dict[str, Callable[[Path], object]] = {
    "empty": lambda part: part.write_text("{}"),
    "cut off": lambda part: part.write_bytes(part.read_bytes()[:40]),
    "deep": lambda part: part.write_text("[" * 100_000),
    "wrong types": lambda part: part.write_text(
        json.dumps(dict.fromkeys(json.loads(part.read_text()), "one") | {"scores": {"akd": []}})
    ),
    "no picture": lambda part: part.with_suffix(".png").write_bytes(b"none"),
}


EVERY_TIME = ("cut off", "no picture")


@pytest.mark.parametrize(
    "damage", [pytest.param(one, marks=() if one in EVERY_TIME else pytest.mark.full) for one in DAMAGE]
)
def test_damaged_results_are_measured_again(
    damage: str, few: tuple[dict, Path, tuple[Path, Path]], tmp_path: Path
) -> None:
    """A result on disk that is not whole is made anew, and the figures are those of an undamaged run."""
    whole, out, folders = few
    shutil.copytree(out, tmp_path, dirs_exist_ok=True)
    for part in (tmp_path / "parts").glob("*.json"):
        DAMAGE[damage](part)
    stage = FlatStage()
    assert evaluate(*folders, tmp_path, stage=stage) == whole
    assert stage.reenactor.played > 0


def test_a_process_whose_parent_is_gone_ends(monkeypatch: pytest.MonkeyPatch) -> None:
    """Who measures for nobody stops before the next result; with a parent, or as it itself, it goes on."""

    class Parent:
        def __init__(self, alive: bool) -> None:
            self.is_alive = lambda: alive

    for parent in (None, Parent(True)):
        monkeypatch.setattr("multiprocessing.parent_process", lambda parent=parent: parent)
        processes.stop_alone()
    monkeypatch.setattr("multiprocessing.parent_process", lambda: Parent(False))
    with pytest.raises(SystemExit):
        processes.stop_alone()


def test_a_full_disk_leaves_nothing_unfinished(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A file is whole or not there, and the older one stays."""
    (tmp_path / "one.json").write_text("older")

    def full(path: Path, text: str, **_: object) -> None:
        path.write_bytes(text.encode()[:3])
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "write_text", full)
    with pytest.raises(OSError, match="No space"):
        write_text(tmp_path / "one.json", "newer")
    assert [path.name for path in tmp_path.iterdir()] == ["one.json"]
    assert (tmp_path / "one.json").read_text() == "older"


def test_a_folder_without_clips_is_refused(folders: tuple[Path, Path], tmp_path: Path) -> None:
    """Nothing to measure is an error of the caller, in one line."""
    with pytest.raises(ConfigError, match="no clip with a face"):
        evaluate(folders[1], folders[1], tmp_path, stage=FlatStage())
    with pytest.raises(ConfigError, match="no such folder"):
        evaluate(tmp_path / "absent", folders[1], tmp_path, stage=FlatStage())
    with pytest.raises(ConfigError, match="pairs"):
        evaluate(*folders, tmp_path, pairs=-1, stage=FlatStage())


@pytest.mark.parametrize("count", [1, 2, 10, 31, 75, 360])
def test_scored_frames_are_spread_and_leave_out_the_source(count: int) -> None:
    """At most 30, rising, from the first after the source to the last, with even steps."""
    chosen = scored_frames(count)
    assert len(chosen) == min(30, count - 1)
    assert 0 not in chosen
    steps = np.diff(chosen)
    assert not len(steps) or steps.max() - steps.min() <= 1
    assert not chosen or chosen[-1] == count - 1


def test_the_window_is_consecutive_and_in_the_middle() -> None:
    """Jitter is measured on 20 frames in a row."""
    assert window_frames(101) == tuple(range(41, 61))
    assert window_frames(6) == (1, 2, 3, 4, 5)
    assert window_frames(1) == ()


def test_pairs_are_distinct_and_use_both_folders_evenly() -> None:
    """Every driver and every portrait comes about equally often, and the choice never changes."""
    pairs = spread_pairs(17, 34, 36)
    assert len(set(pairs)) == 36
    assert pairs == spread_pairs(17, 34, 36)
    assert np.ptp(np.bincount([driver for driver, _ in pairs], minlength=17)) <= 1
    assert np.ptp(np.bincount([portrait for _, portrait in pairs], minlength=34)) <= 1
    assert len(set(spread_pairs(3, 4, 99))) == 12
    assert len(set(spread_pairs(4, 6, 24))) == 24
    assert spread_pairs(0, 5, 3) == []


def test_the_cut_is_2_3_ovals_at_512_px_and_inside_the_picture() -> None:
    """The face oval's longer side becomes 512 / 2.3 px, and nothing beyond the border is invented."""
    points = (canonical.VERTICES * 20 + (300, 300, 0)).astype(np.float32)
    cut = Cut.around(points, (600, 600, 3))
    oval = points[list(canonical.FACE_OVAL), :2]
    assert np.ptp(oval, axis=0).max() * cut.factor == pytest.approx(512 / 2.3, rel=1e-6)
    near = Cut.around(points - np.float32([250, 0, 0]), (600, 600, 3))
    assert near.left == 0
    assert near.of(np.zeros((600, 600, 3), np.uint8)).shape[1] < 512


def test_the_rules_take_out_by_spread_and_yaw() -> None:
    """At the threshold a signal counts; beyond 45 degrees nothing does; the pose keeps three places."""
    at = {"mouth": 0.03, "eye": 0.0299, "gaze": 0.04}
    assert [one.what for one in excluded("x", at, 45.0)] == ["corr_eye"]
    everything = excluded("x", at, 45.1)
    assert [one.what for one in everything] == ["all"]
    scores = {"akd": 0.1, "pose_error_deg": [1.0, 2.0, 3.0]}
    assert counted(scores, everything) == {"akd": None, "pose_error_deg": [None, None, None]}


def test_means_leave_out_what_is_null() -> None:
    """A mean is over those that count; of nothing it is null."""
    rows = [{"a": 1.0, "pose": [1.0, None, 3.0]}, {"a": None, "pose": [3.0, None, 5.0]}]
    assert mean_scores(rows, ("a", "pose")) == {"a": 1.0, "pose": [2.0, None, 4.0]}
    assert mean_scores([{"a": None}], ("a",)) == {"a": None}


def test_the_mean_of_a_ratio_is_pooled() -> None:
    """A pair whose denominator is almost nothing does not decide the mean; one that a rule took out has no say."""
    rows = [
        {"r": 0.25, RATIOS: {"r": (1.0, 4.0)}},
        {"r": 10.0, RATIOS: {"r": (0.1, 0.01)}},
        {"r": None, RATIOS: {"r": (9.0, 1.0)}},
    ]
    assert mean_scores(rows, ("r",))["r"] == pytest.approx(1.1 / 4.01)
