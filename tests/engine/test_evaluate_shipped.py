"""The shipped session measured on a short real clip."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from fractions import Fraction
from itertools import islice
from pathlib import Path
from typing import Self

import pytest

from engine.evaluate import Metrics, evaluate
from engine.evaluate.clip import Clip
from engine.evaluate.metrics import landmark_error
from engine.evaluate.reenact import Played, Reenactor
from engine.evaluate.work import Settings, ShippedStage
from engine.media import VideoWriter, open_media
from engine.types import U8, Frame, Source

FRAMES = 14


@pytest.fixture(scope="module")
def folders(faces_root: Path, models: None, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """Every third frame of the first second and a half of a lively clip, and one portrait."""
    root = tmp_path_factory.mktemp("shipped")
    drivers, portraits = root / "drivers", root / "portraits"
    drivers.mkdir()
    portraits.mkdir()
    shutil.copy(faces_root / "portraits" / "man_east_asian.jpg", portraits / "portrait.jpg")
    base = Fraction(1, 10)
    with (
        open_media(faces_root / "drivers" / "woman_strong_expressions.mp4") as media,
        VideoWriter(drivers / "lively.mp4", media.size, rate=Fraction(10), time_base=base) as writer,
    ):
        for number, frame in enumerate(islice(media, 0, 3 * FRAMES, 3)):
            writer.write(Frame(frame.rgb, number, base, number / 10))
    return drivers, portraits


@pytest.fixture(scope="module")
def shipped(folders: tuple[Path, Path], tmp_path_factory: pytest.TempPathFactory) -> Metrics:
    return evaluate(*folders, tmp_path_factory.mktemp("out"), pairs=1, jobs=1)


def test_the_shipped_generator_follows_a_real_face(shipped: Metrics) -> None:
    """From clip to figures with nothing in place of anything: found everywhere, near the truth, better than 2-D."""
    clip = shipped["self"]["clips"]["lively"]
    assert clip["detected"] == 1
    assert clip["akd"] < 0.03
    assert clip["corr_mouth"] > 0.9
    assert clip["psnr_face_gain_over_similarity"] > 0
    pair = shipped["cross"]["pairs"]["lively|portrait"]
    assert pair["detected"] == 1
    assert pair["identity_shape_ratio"] < 0.7
    assert max(pair["pose_error_deg"]) < 4


class StillReenactor:
    """A regression: whatever comes out of `inner` is replaced by the source as it stands."""

    def __init__(self, inner: Reenactor) -> None:
        self._inner = inner

    def source(self, rgb: U8, name: str) -> Source:
        return self._inner.source(rgb, name)

    def play(self, source: Source, clip: Clip, *, driver_pixels: bool, pin_first: bool) -> Iterator[Played]:
        for played in self._inner.play(source, clip, driver_pixels=driver_pixels, pin_first=pin_first):
            yield Played(source.rgb, played.outcome, played.neutral)


class StillStage(ShippedStage):
    """The shipped stage with the still reenactor in it."""

    def __enter__(self) -> Self:
        super().__enter__()
        self.reenactor = StillReenactor(self.reenactor)
        return self


def test_a_generator_that_stopped_moving_is_seen(
    shipped: Metrics, folders: tuple[Path, Path], tmp_path: Path
) -> None:
    """A still picture of the same person lies far above the floor: the figures can tell a regression."""
    stage = StillStage(Settings(tmp_path, "mesh_flow", "auto", None))
    still = evaluate(*folders, tmp_path, pairs=0, stage=stage)["self"]["clips"]["lively"]
    moved = shipped["self"]["clips"]["lively"]
    assert still["akd"] > 3 * moved["akd"]
    assert still["akd"] > 2 * still["akd_floor"]
    assert abs(still["corr_mouth"]) < 0.5
    assert max(still["pose_error_deg"]) > max(moved["pose_error_deg"])


@pytest.mark.full
def test_two_processes_give_the_same_figures(
    shipped: Metrics, folders: tuple[Path, Path], tmp_path: Path
) -> None:
    """The figures do not depend on who computed them, nor on the order."""
    shutil.copy(folders[0] / "lively.mp4", tmp_path / "lively.mp4")
    shutil.copy(folders[0] / "lively.mp4", tmp_path / "again.mp4")
    out = tmp_path / "out"
    metrics = evaluate(tmp_path, folders[1], out, pairs=2, jobs=2)
    assert metrics["self"]["clips"]["lively"] == shipped["self"]["clips"]["lively"]
    assert metrics["cross"]["pairs"]["lively|portrait"] == shipped["cross"]["pairs"]["lively|portrait"]
    assert metrics["self"]["clips"]["again"] == metrics["self"]["clips"]["lively"]


def test_a_source_is_measured_as_settled_as_its_driver(folders: tuple[Path, Path], tmp_path: Path) -> None:
    """Its own picture, tracked as a video that stands still, lies on it: else the difference is taken for motion."""
    with ShippedStage(Settings(tmp_path, "mesh_flow", "auto", None)) as stage:
        with open_media(folders[0] / "lively.mp4") as media:
            frame = next(iter(media))
        source = stage.reenactor.source(frame.rgb, "first frame")
        for number in range(6):
            faces = stage.tracker.track(Frame(frame.rgb, number, Fraction(1, 10), number / 10))
    apart = landmark_error(source.face.points[None], faces[0].points[None])
    assert apart is not None
    assert apart < 0.002
