"""Samples out of prepared clips are what the engine would give the network live."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from engine.mesh.flow import flow
from engine.mesh.views import known_background, target_of, texture_of, view_of
from tests.trainers.liquid_warping.folder import SIZE, frames, square, write_folder
from trainers.errors import DataError, PictureError
from trainers.liquid_warping.clips import open_clips
from trainers.liquid_warping.recipe import Data
from trainers.liquid_warping.samples import Many, One, held_frames, sample_of, sources_of
from trainers.system import Draw

GREY = 2.1 / 255
"""A step of a stored picture, in -1..1, and rounding."""


def test_a_sample_is_what_the_engine_makes_of_the_frames(tmp_path: Path) -> None:
    """Flow, condition, source input, texture at the target and known background, of two sources and two targets."""
    folder = write_folder(tmp_path / "data", a=6)
    clip = open_clips(folder, SIZE).clips[0]
    sample = sample_of(clip, [0, 3], [1, 2], 3)
    layout = square()
    views = [view_of(one.rgb, one.person, one.points, layout) for one in frames(6)]
    sources = [views[0], views[3]]
    texture = texture_of(sources, layout.drawn(SIZE))
    for place, view in enumerate((views[1], views[2])):
        for number, source in enumerate(sources):
            expected = flow(view.raster, source.corners)
            np.testing.assert_allclose(sample["flow"][place, number], expected, atol=2e-3)
        target = target_of(view.raster, texture, layout)
        np.testing.assert_allclose(sample["targets"][place], target, atol=3 * GREY)
    back = flow(views[2].raster, views[1].corners)
    np.testing.assert_allclose(sample["flow_back"][0], back, atol=2e-3)
    for number, source in enumerate(sources):
        np.testing.assert_allclose(sample["sources"][number, :3], source.filled, atol=GREY)
        assert np.array_equal(sample["sources"][number, 3:], source.condition)
    np.testing.assert_allclose(sample["known"][0], known_background(views[0], 3), atol=GREY)
    assert sample["masks"].shape == (4, 1, SIZE, SIZE)
    assert set(sample["masks"].unique().tolist()) == {0.0, 1.0}
    assert float(sample["masks"][0, 0, 8, 6]) == 0.0  # the person's


def test_the_background_is_what_was_seen_behind(tmp_path: Path) -> None:
    """Every place that some frame shows has that frame's colour, to the last grey level."""
    folder = write_folder(tmp_path / "data", a=5)
    clip = open_clips(folder, SIZE).clips[0]
    images, masks = clip.array("images"), clip.array("masks")
    seen = (masks == 0).any(0)
    first = images[(masks == 0).argmax(0), np.arange(SIZE)[:, None], np.arange(SIZE)]
    assert np.array_equal(np.asarray(clip.array("background"))[seen], first[seen])


def test_sources_are_other_frames_than_the_target(tmp_path: Path) -> None:
    """And by the recipe's rule the most frontal one comes first."""
    folder = write_folder(tmp_path / "data", a=6, b=6)
    clips = open_clips(folder, SIZE)
    data = Data(folder=str(folder), size=SIZE, sources=2, time_step=2, frontal=3, background_erosion=1)
    many = Many(clips.of("train"), data)
    assert len(many) == 5
    sample = many[Draw(2, 7)]
    pictures = torch.as_tensor(np.array(clips.clips[0].array("images"))).permute(0, 3, 1, 2) / 127.5 - 1
    assert torch.equal(sample["real_sources"][0], pictures[1].float())  # yaw 0
    assert torch.equal(sample["real_targets"], pictures[2:4].float())
    assert not any(torch.equal(sample["real_sources"][1], one) for one in sample["real_targets"])
    again = many[Draw(2, 7)]
    assert all(torch.equal(sample[name], again[name]) for name in sample)


def test_held_back_frames_are_nowhere_else(tmp_path: Path) -> None:
    """Neither sources nor targets; the sources lie far apart in yaw, and a missing one is the first again."""
    folder = write_folder(tmp_path / "data", a=8)
    clip = open_clips(folder, SIZE).clips[0]
    data = Data(folder=str(folder), size=SIZE, sources=2, held=0.25)
    held = held_frames(clip, data)
    assert len(held) == 2
    training, views = One(clip, data, held_back=False), One(clip, data, held_back=True)
    assert (len(training), len(views)) == (6, 2)
    assert not set(held) & {*training.sources, *training._targets}
    yaws = np.asarray(clip.array("yaw"))
    assert abs(yaws[training.sources[0]]) == min(abs(yaws[frame]) for frame in training._targets)
    assert training.sources[1] == max(training._targets)  # the most turned one
    assert sources_of(clip, [4], 2) == [4, 4]
    alone = One(clip, replace(data, held=0.0), held_back=True)
    assert len(alone) == 0


def test_frames_may_be_named(tmp_path: Path) -> None:
    """Held-back frames and sources are those that the recipe names, given in turn where there are more places; what is
    not there, is both, or leaves nothing to learn from is refused."""
    (clip,) = open_clips(write_folder(tmp_path / "data", one=5), SIZE).clips
    data = Data(size=SIZE, sources=4, held_frames=(1, 3), source_frames=(4, 0))
    training, views = One(clip, data, held_back=False), One(clip, data, held_back=True)
    assert (views.held, len(training), training.sources) == ((1, 3), 3, [4, 0, 4, 0])
    for wrong, told in (
        ({"held_frames": (5,)}, r"held_frames: got frame 5, expected 0 \.\. 4"),
        ({"held_frames": tuple(range(5)), "source_frames": ()}, "all 5 frames"),
    ):
        with pytest.raises(DataError, match=told):
            One(clip, replace(data, **wrong), held_back=True)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="frame 4 is held back"):
        replace(data, held_frames=(4,))


def test_lists_name_the_sides(tmp_path: Path) -> None:
    """As iPER's train.txt and val.txt; a clip of neither is left out, one of both refused."""
    folder = write_folder(tmp_path / "data", a=2, b=2, c=2)
    (tmp_path / "train.txt").write_text("c\n\n")
    (tmp_path / "val.txt").write_text("a\n")
    clips = open_clips(folder, SIZE, lists=tmp_path)
    assert [(clip.name, clip.side) for clip in clips.clips] == [("a", "validation"), ("c", "train")]
    (tmp_path / "val.txt").write_text("c\n")
    with pytest.raises(DataError, match="c stands on both sides"):
        open_clips(folder, SIZE, lists=tmp_path)


def test_what_is_wrong_with_a_folder_is_told(tmp_path: Path) -> None:
    """Another size, a clip outside of it, a damaged array: one line, with what to do."""
    folder = write_folder(tmp_path / "data", a=2)
    with pytest.raises(DataError, match="its size is 16, expected 32"):
        open_clips(folder, 32)
    clip = open_clips(folder, SIZE).clips[0]
    np.save(clip.folder / "masks.npy", np.zeros((2, 4, 4), np.uint8))
    with pytest.raises(
        PictureError, match=r"masks.npy: holds uint8 \(2, 4, 4\), expected uint8 \(2, 16, 16\)"
    ):
        clip.array("masks")
    table = json.loads((folder / "mesh_clips.json").read_text())
    table["clips"][0]["name"] = "../a"
    (folder / "mesh_clips.json").write_text(json.dumps(table))
    with pytest.raises(DataError, match="inside of the folder"):
        open_clips(folder, SIZE)
    (folder / "mesh_clips.json").unlink()
    with pytest.raises(DataError, match="marotte prepare CLIPS --mesh face"):
        open_clips(folder, SIZE)


@pytest.mark.parametrize(
    ("changed", "words"),
    [
        ({"texture": "x"}, "its texture is 'x'"),
        ({"clips": [1]}, "lists 1 as a clip"),
        ({"clips": [{"name": "a", "person": "a", "split": "train", "frames": None}]}, "its frames is None"),
    ],
)
def test_a_table_of_another_make_is_refused(changed: dict[str, object], words: str, tmp_path: Path) -> None:
    """What it states is looked at before anything is counted by it."""
    table = write_folder(tmp_path / "data", a=2) / "mesh_clips.json"
    table.write_text(json.dumps(json.loads(table.read_text()) | changed))
    with pytest.raises(DataError, match=words):
        open_clips(table.parent, SIZE)
    table.write_text("[" * 100_000)
    with pytest.raises(DataError, match="cannot be read"):
        open_clips(table.parent, SIZE)


def test_arrays_that_state_a_shape_beyond_memory_are_refused(tmp_path: Path) -> None:
    """Whatever NumPy makes of them."""
    folder = write_folder(tmp_path / "data", a=2)
    header = {"descr": "<f4", "fortran_order": False, "shape": (10**40, 3)}
    with (folder / "condition.npy").open("wb") as file:
        np.lib.format.write_array_header_1_0(file, header)
    with pytest.raises(DataError, match="missing or damaged"):
        open_clips(folder, SIZE)
