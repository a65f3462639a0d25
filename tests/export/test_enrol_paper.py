"""The paper's procedure on an enrolled clip: what is pasted, what is left out, and what never leaves."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import marotte
from engine.errors import ConfigError
from engine.marks import MarksConfig
from engine.media import open_media
from export.enrol.paper import Networks, Rendered, Rendering, masks_of, render
from export.enrol.tracking import Alignment, track
from tests.export.test_enrol import FRAMES, SIDE, clip, marks, silent  # noqa: F401 - fixtures
from trainers.stit.e4e import Inversion
from trainers.stit.generator import Generator
from trainers.stit.stitching import Stitching
from trainers.stit.tuning import Outcome

Shown = tuple[Rendered, list[np.ndarray]]
PLAIN = MarksConfig(badge=False, watermark=False)
"""Where what is generated is measured; the marks stand in tests/engine/marks."""

DIRECTIONS = {"smile": np.linspace(-1.0, 1.0, 8)}


@pytest.fixture(scope="module")
def networks() -> Networks:
    """Narrow ones; the tuned generator differs from the given one, and that of the border passes from both."""
    torch.manual_seed(5)
    generator = Generator((8, 8, 8, 8), z_dim=8, w_dim=8, mapping_layers=2).eval()
    inversion = Inversion(generator.num_ws, 8, size=32, widths=(4, 4, 8, 8), blocks=(1, 1, 1, 1)).eval()
    pivotal, last = copy.deepcopy(generator), copy.deepcopy(generator)
    for shift, one in ((0.3, pivotal), (-0.3, last)):
        with torch.no_grad():
            for name, value in one.named_parameters():
                if name.endswith("torgb.bias"):
                    value += shift
    for one in (generator, pivotal, last, inversion):
        one.requires_grad_(False)
    made = Outcome(last, pivotal, 0, 0, Path())
    return Networks(generator, inversion, made, None, torch.device("cpu"))


def rendered(film: Path, points: Path, networks: Networks, out: Path, **asked: Any) -> Shown:
    """What was told, and the frames that were written."""
    tracked = track(film, out.parent / "work", silent, points)
    wanted = Rendering(out, options=Stitching(steps=12, learning_rate=0.02), **asked, marks=PLAIN)
    told = render(film, tracked, Alignment(SIDE), networks, DIRECTIONS, wanted, silent)
    with open_media(out) as media:
        assert (media.size, media.rate) == ((96, 96), 25)
        return told, [frame.rgb for frame in media]


def test_every_frame_is_edited_or_held(clip: Path, marks: Path, networks: Networks, tmp_path: Path) -> None:  # noqa: F811
    """As many frames as the clip has; where no face was found the last edited picture stays, and before it a card."""
    told, frames = rendered(clip, marks, networks, tmp_path / "out.mp4", without=frozenset({"stitching"}))
    assert (told.frames, told.edited, len(frames)) == (FRAMES, FRAMES - 2, FRAMES)
    assert frames[0].std() < 3
    assert np.abs(frames[3].astype(int) - frames[2]).mean() < 3
    with open_media(clip) as media:
        given = [frame.rgb for frame in media]
    assert np.abs(frames[3].astype(int) - given[3])[30:70, 30:70].mean() > 10
    assert np.abs(frames[5].astype(int) - given[5])[:8].mean() < 6
    assert (
        set(told.seconds)
        == {"read", "align", "mask", "invert", "synthesise", "paste", "write"}
        == set(told.work)
    )


@pytest.mark.full
def test_stitching_brings_the_border_to_the_frame(
    clip: Path,  # noqa: F811
    marks: Path,  # noqa: F811
    networks: Networks,
    tmp_path: Path,
) -> None:
    """Tuned frame by frame the border error falls, and the generators are as they were."""
    before = {name: value.clone() for name, value in networks.made.generator.state_dict().items()}
    plain, _ = rendered(clip, marks, networks, tmp_path / "a.mp4", without=frozenset({"stitching"}))
    tuned, _ = rendered(clip, marks, networks, tmp_path / "b.mp4")
    assert tuned.border < 0.7 * plain.border
    assert tuned.seconds["stitch"] > 0
    for name, value in networks.made.generator.state_dict().items():
        assert torch.equal(value, before[name])
    assert "border error" in tuned.lines()[0]


@pytest.mark.full
def test_each_part_can_be_left_out(clip: Path, marks: Path, networks: Networks, tmp_path: Path) -> None:  # noqa: F811
    """Another generator without tuning and for border passes, the whole square without a mask, other squares without
    smoothing."""

    def shown(name: str, *without: str, **asked: Any) -> np.ndarray:
        left = frozenset({"stitching", *without})
        return rendered(clip, marks, networks, tmp_path / f"{name}.mp4", without=left, **asked)[1][4].astype(
            int
        )

    whole = shown("whole")
    middle = np.s_[40:60, 40:60]
    untuned, passed = shown("untuned", "tuning"), shown("passed", stitching="amortised")
    assert whole[middle].mean() > untuned[middle].mean() + 20 > passed[middle].mean() + 40
    square = shown("square", "mask")
    assert (np.abs(square - whole).max(-1) > 25).mean() > 0.05
    assert np.abs(shown("raw", "smoothing") - whole).max() > 25
    assert np.abs(shown("smile", strengths={"smile": 30.0}) - whole)[middle].mean() > 3


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"without": frozenset({"masks"})}, "did you mean 'mask'"),
        ({"strengths": {"smlie": 1.0}}, "did you mean 'smile'"),
        ({"out": "out.png"}, "name a video"),
        ({"out": "clip.mp4"}, "the clip itself"),
    ],
)
def test_what_cannot_be_rendered_is_told_first(
    clip: Path,  # noqa: F811
    marks: Path,  # noqa: F811
    networks: Networks,
    tmp_path: Path,
    changes: dict[str, Any],
    said: str,
) -> None:
    """By name, before anything is read."""
    asked = {name: value for name, value in changes.items() if name != "out"}
    with pytest.raises(ConfigError, match=said):
        rendered(clip, marks, networks, tmp_path / changes.get("out", "out.mp4"), **asked)


def test_a_strength_without_a_rendering_is_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """One line that names the option."""
    line = [
        "enrol",
        "stit",
        "clip.mp4",
        "--weights",
        "w",
        "--out",
        str(tmp_path / "o"),
        "--strength",
        "smile=1",
    ]
    assert marotte.main(line) == 2
    assert "add --render" in capsys.readouterr().err


def test_the_masks_are_the_official_ones_in_proportion() -> None:
    """50 pixels of 1024 around the foreground, whatever the side of the mask; content and border lie apart."""
    foreground = np.zeros((512, 512), np.uint8)
    foreground[200:300, 200:300] = 1
    masks = masks_of(foreground, 512, torch.device("cpu"))
    assert masks.full[0, 0, 250].nonzero()[[0, -1], 0].tolist() == [175, 324]
    assert not (masks.content * masks.border).any()
    small = masks_of(foreground, 128, torch.device("cpu"))
    assert small.full.shape == (1, 1, 128, 128)
    assert small.full[0, 0, 62].nonzero()[[0, -1], 0].tolist() == [44, 80]
