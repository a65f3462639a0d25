"""Official-shaped weights to a bundle for bodies, and by it a real clip's body to a real picture's."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from engine.imitation.mesh import SYNTHETIC
from engine.imitation.run import imitate
from engine.imitation.turntable import turntable
from engine.imitation.wearing import read_wear
from engine.media import open_media
from export.checkpoints import load
from export.imports import import_files
from export.pack import Label, pack
from export.systems import plan_of
from tests.engine.imitation.scenes import write_smpl
from tests.export.test_liquid_warping import official_file

SIZE = 64


@pytest.mark.full
def test_official_weights_move_real_bodies(models: None, faces_root: Path, tmp_path: Path) -> None:
    """Import, export, imitation of every frame in which somebody is seen with parts of another, all round, with a body
    model out of files: frames, times and size are as they should be, and the graph's own numbers are shown."""
    import_files("liquid_warping", [official_file(tmp_path)], tmp_path / "weights", size=SIZE)
    bundle = tmp_path / "bundle"
    pack(
        plan_of(load(tmp_path / "weights")), Label("CC0-1.0", "by chance", "none", "nobody is shown"), bundle
    )
    bodies = faces_root / "bodies"
    pictures = sorted(path for path in bodies.iterdir() if path.suffix == ".jpg")
    clip = next(path for path in sorted(bodies.iterdir()) if path.suffix == ".mkv")
    own = tmp_path / "files"
    own.mkdir()
    for body in (SYNTHETIC, write_smpl(own)):
        out = tmp_path / "out.mp4"
        tally = imitate(
            pictures[0],
            clip,
            out,
            bundle=str(bundle),
            body=body,
            wear=read_wear([f"torso={pictures[1]}"]),
        )
        with open_media(clip) as driver, open_media(out) as made:
            times = [frame.time_s for frame in driver]
            frames = [(frame.time_s, frame.rgb.astype(int)) for frame in made]
            assert float(made.rate) == pytest.approx(
                float(driver.rate), rel=0.01
            )  # stamps are whole milliseconds
        assert len(frames) == len(times) == tally.frames
        np.testing.assert_allclose(np.diff([at for at, _ in frames]), np.diff(times), atol=2e-3)
        told = set(tally.outcomes) - {"generated"}
        assert not told, (tally.outcomes, tally.reasons)
        assert np.abs(frames[0][1] - frames[-1][1]).max() > 20
    made = turntable(pictures[0], tmp_path / "turn.mp4", bundle=str(bundle), body=SYNTHETIC, frames=4)
    assert made.frames == 4
