"""`marotte prepare --mesh`: a clip per input, whole or not at all, made once."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from engine.annotate import mesh
from engine.annotate.clips import TABLE, background_of
from engine.annotate.mesh import MeshSettings
from engine.body.synthetic import synthetic_body
from engine.errors import ConfigError, InputError, ModelError, NoFaceError
from engine.imitation import mesh as meshes
from tests.trainers.liquid_warping.folder import frames, square

STAGE: Any = nullcontext()


@pytest.fixture
def made(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Names of the inputs that were worked off; in place of faces a drawn square, and nobody in `empty`."""
    names: list[str] = []

    def found(path: Path, size: int, stage: Any, **how: Any) -> Iterator[Any]:
        names.append(path.name)
        if "empty" in path.name:
            raise NoFaceError(f"{path.name}: no face found")
        yield from frames(3, len(names))

    monkeypatch.setattr(mesh, "bust_frames", found)
    monkeypatch.setattr(mesh, "layout", square)
    monkeypatch.setattr(mesh, "_SMALLEST", 16)
    return names


def inputs(folder: Path, *names: str) -> list[Path]:
    folder.mkdir(exist_ok=True)
    for name in names:
        (folder / name).write_bytes(name.encode())
    return [folder / name for name in names]


def test_a_clip_is_made_once(made: list[str], tmp_path: Path) -> None:
    """The same command again makes what is missing or has changed, and lists all; what cannot be used is told."""
    given = inputs(tmp_path / "in", "a.mp4", "b.mp4", "empty.mp4")
    out = tmp_path / "out"
    clips, left_out = mesh.prepare_mesh(given, out, MeshSettings(size=16), validation=0.5, stage=STAGE)
    assert [(clip.name, clip.frames) for clip in clips] == [("a", 3), ("b", 3)]
    assert {clip.split for clip in clips} == {"train", "validation"}
    assert list(left_out) == ["empty.mp4"]
    table = json.loads((out / TABLE).read_text())
    assert (table["mesh"], table["size"], table["faces"], table["crop"]["rule"]) == ("face", 16, 2, "bust")
    assert np.load(out / "clips" / "a" / "index.npy").shape == (3, 16, 16)
    made.clear()
    given[1].write_bytes(b"another one")
    more = inputs(tmp_path / "in", "c.mp4")
    mesh.prepare_mesh([*given[:2], *more], out, MeshSettings(size=16), stage=STAGE)
    assert made == ["b.mp4", "c.mp4"]
    assert [clip["name"] for clip in json.loads((out / TABLE).read_text())["clips"]] == ["a", "b", "c"]


@pytest.mark.parametrize(
    ("stated", "told"),
    [
        ({"size": 100}, "size: got 100"),
        ({"size": 64, "texture": 12}, "texture: got 12, expected 16"),
        ({"mesh": "faces"}, "mesh"),
        ({"most": 0}, "most: got 0"),
        ({"per_second": 0.0}, "per-second: got 0.0"),
        ({"mesh": "smpl"}, "needs a body; expected --body FILE, your own SMPL file, or --body synthetic"),
        ({"mesh": "smpl", "body": "synthetic", "expressions": 2}, "expressions are made of faces"),
        ({"body": "synthetic"}, "body: it belongs to --mesh smpl"),
    ],
)
def test_settings_that_cannot_be_are_refused(made: list[str], stated: dict[str, Any], told: str) -> None:
    """Other meshes, sides that no generator takes, a body without its mesh and the other way round."""
    with pytest.raises(ConfigError, match=told):
        MeshSettings(**stated)


def test_nobody_to_be_seen_is_refused(made: list[str], tmp_path: Path) -> None:
    """With the first reason."""
    given = inputs(tmp_path / "in", "empty.mp4")
    with pytest.raises(InputError, match=r"none of 1 inputs could be used \(empty.mp4: no face found\)"):
        mesh.prepare_mesh(given, tmp_path / "out", MeshSettings(size=16), stage=STAGE)


def test_a_body_whose_files_are_missing_begins_no_folder(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """The model first, then the official maps that have to lie beside it."""
    given, out = inputs(tmp_path / "in", "a.mp4"), tmp_path / "out"
    body = tmp_path / "smpl.npz"
    with pytest.raises(ModelError, match="there is no body model"):
        mesh.prepare_mesh(given, out, MeshSettings(mesh="smpl", body=body))
    monkeypatch.setattr(meshes, "read_body", lambda path: synthetic_body())
    with pytest.raises(InputError, match=r"missing smpl_faces\.npy, .*head\.json"):
        mesh.prepare_mesh(given, out, MeshSettings(mesh="smpl", body=body))
    assert not out.exists()


def test_a_background_that_was_never_seen_is_continued() -> None:
    """From around it; and is grey where a person fills every frame."""
    images = np.full((2, 8, 8, 3), 200, np.uint8)
    masks = np.zeros((2, 8, 8), np.uint8)
    masks[:, 3:5, 3:5] = 255
    images[:, 3:5, 3:5] = 0
    assert np.ptp(background_of(images, masks)) <= 3
    assert np.unique(background_of(images, np.full_like(masks, 255))).tolist() == [127]
