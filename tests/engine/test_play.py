"""The moving sample: a clip of the shipped portrait, performed by the demo driver."""

from __future__ import annotations

from itertools import islice
from pathlib import Path

import numpy as np
import pytest

from engine.errors import ConfigError
from engine.media import open_media, read_picture
from engine.sample import play, sample_portrait
from engine.sample.play import play_sample

pytestmark = pytest.mark.usefixtures("opened_once")


def test_the_sample_moves(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every frame is generated, the folder is made, and by its greeting the portrait has moved."""
    frames = play.demo_frames
    monkeypatch.setattr(play, "demo_frames", lambda rate: islice(frames(rate=rate), 0, None, 20))
    told: list[tuple[int, int | None]] = []
    out = tmp_path / "new" / "sample.mp4"
    tally = play_sample(out, progress=lambda done, total: told.append((done, total)))
    assert tally.outcomes == {"generated": 18}
    assert told[-1] == (18, 360)
    still = read_picture(sample_portrait()).astype(np.int16)
    with open_media(out) as media:
        moved = [float(np.abs(frame.rgb - still).mean()) for frame in media]
    assert len(moved) == 18
    assert max(moved) > 3 * moved[0]


def test_a_place_that_cannot_be_is_refused(tmp_path: Path) -> None:
    """A file in place of the folder is one line that names it."""
    (tmp_path / "out").write_text("a file")
    with pytest.raises(ConfigError, match="cannot be made"):
        play_sample(tmp_path / "out" / "sample.mp4")


@pytest.mark.full
def test_the_whole_performance_is_generated(tmp_path: Path) -> None:
    """Twelve seconds at thirty frames a second, without one frame that falls back."""
    assert play_sample(tmp_path / "sample.mp4").outcomes == {"generated": 360}
