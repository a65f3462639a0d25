"""Bodies of clips and stills: a window that stands still, the mesh in it, what is passed over, and learning from it."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace
from fractions import Fraction
from pathlib import Path
from typing import Any, Self

import numpy as np
import pytest

from engine.annotate import bodies
from engine.annotate.bodies import body_frames, joined, turn
from engine.annotate.clips import TABLE
from engine.annotate.mesh import MeshSettings, prepare_mesh
from engine.body.fitter import BodyFitter, standing
from engine.errors import NoBodyError
from engine.imitation.mesh import BodyMesh
from engine.imitation.puppet import around
from engine.mesh.cameras import on_screen
from engine.mesh.raster import rasterise
from engine.types import U8, Body, Frame
from tests.engine.imitation.scenes import (
    CAMERA,
    SIDE,
    WALL,
    Told,
    body_of,
    mesh,
    picture_of,
    raised,
)
from tests.trainers.liquid_warping.folder import recipe_table
from trainers.config import from_table
from trainers.liquid_warping.clips import open_clips
from trainers.loop import train

SIZE = 64


class Clip:
    """Frames of a body, ten a second; None is a bare wall."""

    def __init__(self, poses: Sequence[Any], still: bool = False) -> None:
        self.still, self.name, self.duration_s = still, "clip", len(poses) / 10
        wall = np.full((SIDE, SIDE, 3), WALL, np.uint8)
        shown = [wall if pose is None else picture_of(pose)[0] for pose in poses]
        self._frames = [Frame(rgb, k, Fraction(1, 10), k / 10) for k, rgb in enumerate(shown)]

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None: ...

    def __iter__(self) -> Any:
        return iter(self._frames)


class Follows(Told):
    def reset(self) -> None:
        self._next = 0


class Stage:
    """Told what there is; a person is what is no wall."""

    def __init__(self, *told: Body | None, body: BodyMesh | None = None) -> None:
        self.mesh = body or mesh()
        self.tracker, self.fitter, self.segmenter = Follows(*told), BodyFitter(self.mesh.model), self

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None: ...

    def mask(self, rgb: U8) -> U8:
        return np.where(rgb[..., 0] != WALL, 255, 0).astype(np.uint8)


@pytest.fixture
def scene(monkeypatch: pytest.MonkeyPatch) -> Stage:
    """An arm is lifted in three frames; a ghost on the wall, and nobody, in two more."""
    poses = [raised(20.0 * k) for k in range(3)]
    monkeypatch.setattr(bodies, "open_media", lambda path: Clip([*poses, None, None]))
    ghost = body_of(standing(), 0.3, replace(CAMERA, scale=0.8 * CAMERA.scale))
    return Stage(*(body_of(pose, k / 10) for k, pose in enumerate(poses)), ghost, None)


def test_the_mesh_lies_on_the_person_in_a_window_that_stands_still(scene: Stage) -> None:
    """Mask and drawn mesh are the same body, the head is in its box; who is no person is counted and passed over."""
    clip = body_frames(Path("clip"), SIZE, scene, per_second=10.0)
    made = list(clip.frames)
    assert (len(made), clip.skipped) == (3, 2)
    layout = scene.mesh.layout
    heads = []
    for frame in made:
        index = rasterise(on_screen(frame.points), layout.faces, SIZE).index
        drawn, person = index >= 0, frame.person > 127
        assert (drawn & person).sum() / (drawn | person).sum() > 0.8
        rows, columns = np.nonzero(np.isin(index, layout.groups["head"]))
        x0, x1, y0, y1 = frame.head
        assert x0 <= columns.min() <= columns.max() < x1
        assert y0 <= rows.min() <= rows.max() < y1
        assert abs(frame.yaw) < 10
        heads.append(frame.head)
    assert np.ptp(heads, axis=0).max() <= 2
    assert (made[0].person > 127).any(axis=1).sum() > 0.7 * SIZE


def test_a_clip_with_nobody_is_refused_by_its_name(scene: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    """And so is a still in which too little of somebody is seen."""
    with pytest.raises(NoBodyError, match="clip: no body found in 5 frames"):
        body_frames(Path("clip"), SIZE, Stage(None), per_second=10.0)
    monkeypatch.setattr(bodies, "open_media", lambda path: Clip([standing()], still=True))
    unseen = body_of(standing())
    unseen.points[:, 3] = 0.1
    with pytest.raises(NoBodyError, match="clip: no body found in it"):
        body_frames(Path("clip"), SIZE, Stage(unseen))
    assert len(list(body_frames(Path("clip"), SIZE, Stage(body_of(standing()))).frames)) == 1


def test_a_folder_of_bodies_is_what_a_trainer_reads(scene: Stage, tmp_path: Path) -> None:
    """Every array in its shape, the mesh's own condition; iPER's lists name the sides."""
    videos = [tmp_path / "videos" / f"00{number}_1_1.mp4" for number in (1, 2)]
    videos[0].parent.mkdir()
    for path in videos:
        path.write_bytes(path.name.encode())
    out, settings = tmp_path / "out", MeshSettings("smpl", "synthetic", size=SIZE, per_second=10.0)
    clips, left_out = prepare_mesh([videos[0].parent], out, settings, persons="name", stage=scene)
    assert [(clip.name, clip.person, clip.frames, clip.skipped) for clip in clips] == [
        ("001_1_1", "001_1", 3, 2),
        ("002_1_1", "002_1", 3, 2),
    ]
    assert not left_out
    table = json.loads((out / TABLE).read_text())
    assert (table["mesh"], table["faces"], table["crop"]["rule"]) == ("smpl", scene.mesh.layout.count, "box")
    (tmp_path / "train.txt").write_text("002/1/1\n")
    (tmp_path / "val.txt").write_text("001/1/1\n")
    read = open_clips(out, SIZE, lists=tmp_path)
    assert {clip.name: clip.side for clip in read.clips} == {"001_1_1": "validation", "002_1_1": "train"}
    for name in (
        "images",
        "filled",
        "reach",
        "masks",
        "index",
        "weights",
        "points",
        "texture",
        "seen",
        "background",
    ):
        read.clips[0].array(name)
    assert np.array_equal(read.mesh.condition, scene.mesh.layout.condition)


def test_legs_that_a_segmenter_left_out_are_the_persons() -> None:
    """But for the mesh's edge, where the fit may be off; what was the person's stays so."""
    person, drawn = np.zeros((2, 50, 50), np.uint8)
    person[5:20, 20:30], drawn[15:45, 20:30] = 255, 1
    found = joined(person, drawn)
    assert (found[5:20, 20:30] == 255).all()
    assert found[30, 25] == 255
    assert found[30, 20] == 0


def test_a_body_turns_as_a_head_does() -> None:
    """Zero ahead; a right angle shows one side, in the sign of a head's yaw."""
    pose = standing().astype(np.float32)
    assert turn(pose[0]) == pytest.approx(0.0, abs=1e-4)
    assert turn(around(pose, 90.0)[0]) == pytest.approx(-90.0, abs=1e-3)
    assert abs(turn(around(pose, 180.0)[0])) == pytest.approx(180.0, abs=1e-3)


@pytest.mark.full
def test_a_training_runs_on_a_real_clip(models: None, faces_root: Path, tmp_path: Path) -> None:
    """A dancer, prepared with the synthetic body: the mesh lies on her, and two steps are made on it."""
    given = [
        faces_root / "bodies" / name for name in ("woman_full_body_dance.mp4", "signing_woman_c_school.mkv")
    ]
    settings = MeshSettings("smpl", "synthetic", size=SIZE, most=6)
    clips, left_out = prepare_mesh(given, tmp_path / "out", settings, validation=0.5)
    assert not left_out
    assert [clip.frames for clip in clips] == [6, 6]
    for clip in open_clips(tmp_path / "out", SIZE).clips:
        drawn, person = clip.array("index") >= 0, clip.array("masks") > 127
        assert (drawn & person).sum() / (drawn | person).sum() > 0.6
    table = recipe_table(
        tmp_path / "out",
        steps=2,
        data={"size": SIZE, "time_step": 2},
        generator={"temporal": True},
        critic={"parts": ["body", "head"]},
    )
    assert train(from_table(table), tmp_path / "run").step == 2
