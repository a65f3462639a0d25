"""The border of what is pasted, over time: closed forms, where the band lies, and whole clips."""

from __future__ import annotations

import json
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest

import marotte
from engine.errors import InputError
from engine.evaluate.border import BorderJitter, band_of
from engine.media import open_writer
from engine.types import Crop, Frame
from tests.engine.stit_files import write_stit

BAND = np.zeros((12, 16), bool)
BAND[4:8, 4:12] = True


def grey(value: float) -> np.ndarray:
    return np.full((12, 16, 3), value, np.uint8)


def course(outputs: list[float], given: list[float]) -> BorderJitter:
    jitter = BorderJitter()
    for one, other in zip(outputs, given, strict=True):
        jitter.add(grey(one), grey(other), BAND)
    return jitter


def test_a_flicker_counts_four_times_its_height_and_even_change_nothing() -> None:
    """The second difference: 0 of a ramp, 2a of a t^2, 4a of +-a; the ratio is that of output and input."""
    found = course([10, 20, 30, 40], [100 + 3 * t * t for t in range(4)]).found()
    assert found is not None
    assert (found.output, found.given, found.ratio, found.frames) == (0.0, 6.0, 0.0, 2)
    flicker = course([95, 105, 95, 105], [100 + 3 * t * t for t in range(4)]).found()
    assert flicker is not None
    assert (flicker.output, flicker.ratio) == (20.0, pytest.approx(20 / 6))


def test_what_is_pasted_unchanged_has_a_ratio_of_one_and_a_still_input_none() -> None:
    """The input's own noise and motion are what the output is divided by."""
    numbers = np.random.default_rng(0).integers(0, 256, 6).tolist()
    same = course(numbers, numbers).found()
    assert same is not None
    assert same.ratio == 1.0
    still = course([1, 9, 1], [5, 5, 5]).found()
    assert still is not None
    assert (still.output, still.ratio) == (16.0, None)


def test_only_the_band_counts_and_no_gap_is_bridged() -> None:
    """Pixels beside it are left out; a frame without a paste, or of another size, begins anew."""
    jitter = BorderJitter()
    for value in (0, 200, 0):
        wild = grey(value)
        wild[BAND] = 50
        jitter.add(wild, grey(80), BAND)
    found = jitter.found()
    assert found is not None
    assert found.output == 0.0
    cut = BorderJitter()
    for value in (0, 50):
        cut.add(grey(value), grey(value), BAND)
    cut.skip()
    for value in (0, 50):
        cut.add(grey(value), grey(value), BAND)
    cut.add(grey(9)[:10], grey(9)[:10], BAND[:10])
    assert cut.found() is None
    with pytest.raises(InputError, match="one size"):
        cut.add(grey(1), grey(1)[:4], BAND)


def test_the_band_is_the_soft_edge_and_a_little_of_what_lies_inside() -> None:
    """Of a mask in its crop, in pixels of the frame; the frame's own end is no edge."""
    mask = np.zeros((40, 40), np.uint8)
    mask[10:30, 10:30] = 255
    crop = Crop(np.array([[0.5, 0, 0], [0, 0.5, 0]]), 40)  # a square of 80 pixels of the frame
    band = band_of(mask, crop, (80, 80, 3))
    assert np.flatnonzero(band[:, 40]).tolist() == [19, 20, 21, 57, 58, 59]
    assert np.flatnonzero(band[40]).tolist() == [19, 20, 21, 57, 58, 59]
    whole = band_of(None, Crop(np.array([[0.5, 0, 10], [0, 0.5, 10]]), 40), (60, 60, 3))
    assert not whole[0, :40].any(), "the paste goes on beyond the frame"
    assert whole[57:, :50].any()


def test_a_clip_is_edited_live_and_its_border_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """By the command: figures per clip, what was refused, and a second run that finds its parts."""
    from tests.engine.edit_scenes import Scripted, face_at

    monkeypatch.setattr("engine.puppet.FaceTracker", lambda **options: _Closed(Scripted((face_at(80, 60),))))
    monkeypatch.setattr("engine.puppet.open_measurers", lambda *given: {})
    monkeypatch.setattr("engine.evaluate.border_run.code_digest", lambda: "code")
    drivers, tick = tmp_path / "drivers", Fraction(1, 25)
    drivers.mkdir()
    numbers = np.random.default_rng(1)
    with open_writer(drivers / "a.mp4", (160, 120), tick, Fraction(25)) as writer:
        for k in range(5):
            writer.write(Frame(numbers.integers(90, 160, (120, 160, 3)).astype(np.uint8), k, tick, k / 25))
    (drivers / "b.mp4").write_bytes(b"no clip")
    bundle, out = write_stit(tmp_path / "person"), tmp_path / "out"
    line = ["evaluate", "--border", "--drivers", str(drivers), "--out", str(out), "--bundle", str(bundle)]
    assert marotte.main([*line, "--direction", "warm=2"]) == 0
    found = json.loads((out / "metrics.json").read_text())
    assert set(found["refused"]) == {"b"}
    row = found["clips"]["a"]
    assert (row["read"], row["edited"], row["frames"]) == (5, 5, 3)
    assert 0.0 < row["ratio"] < 1.0, "a flat picture over noise is calmer than it"
    assert found["mean"] == row["ratio"]
    assert "mean absolute second difference" in (out / "report.html").read_text()
    monkeypatch.setattr("engine.evaluate.border_run._row", lambda *given: pytest.fail("measured anew"))
    assert marotte.main([*line, "--direction", "warm=2"]) == 0
    capsys.readouterr()
    assert marotte.main([*line, "--direction", "wram=2"]) == 2
    assert "did you mean 'warm'" in capsys.readouterr().err


class _Closed:
    """A scripted tracker that can be closed."""

    def __init__(self, inner: object) -> None:
        self._inner = inner

    def __getattr__(self, name: str) -> object:
        return getattr(self._inner, name)

    def close(self) -> None:
        """Nothing is open."""


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--border", "--portraits", "p"], "a border has none"),
        (["--border", "--requests"], "no --requests"),
        (["--direction", "smile=1", "--portraits", "p"], "add --border"),
        ([], "portraits: expected"),
    ],
)
def test_options_that_do_not_go_together_are_one_line(
    words: list[str], said: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Exit status 2."""
    assert marotte.main(["evaluate", "--out", str(tmp_path / "o"), "--drivers", "d", *words]) == 2
    assert said in capsys.readouterr().err
