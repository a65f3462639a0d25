"""How far sound and picture are apart: the arithmetic of flashes and beeps."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import marotte
from engine.errors import ConfigError
from streaming.bench import skew


def measured(
    sound_ms: float, picture_ms: float, *, lost: tuple[int, ...] = (), flash_ms: float | None = None
) -> dict[str, Any]:
    """Ten seconds of pictures at 30 a second and of tones at half past each, each with its way's time."""
    drawn = [100.0 + 1000 * n / 30 for n in range(300)]
    beeped = [510.0 + 1000 * n for n in range(10)]
    flash_ms = picture_ms if flash_ms is None else flash_ms
    return {
        "rows": [[n, at, at + picture_ms, at + picture_ms + 5] for n, at in enumerate(drawn) if n % 3],
        "beeped": beeped,
        "beeps": [at + sound_ms for n, at in enumerate(beeped) if n not in lost],
        "flashed": [at + 4 for at in beeped],
        "flashes": [at + 4 + flash_ms for at in beeped],
    }


@pytest.mark.parametrize(("sound_ms", "picture_ms"), [(180, 150), (90.5, 150), (700, 650), (120, 120)])
def test_the_skew_is_what_the_sound_took_longer(sound_ms: float, picture_ms: float) -> None:
    """By number and by flash alike: positive where sound is late, negative where it is early."""
    found = measured(sound_ms, picture_ms)
    for skews in (skew.skews_ms(found), skew.flash_skews_ms(found)):
        assert skews.tolist() == pytest.approx([sound_ms - picture_ms] * 10)


def test_the_flash_is_judged_by_when_it_was_seen() -> None:
    """A flash whose frame came later than others is what is seen."""
    found = measured(150, 100, flash_ms=133)
    assert skew.flash_skews_ms(found).tolist() == pytest.approx([17] * 10)


def test_tones_that_never_came_back_count_for_nothing() -> None:
    """A lost one is not taken for the next one's."""
    found = measured(200, 100, lost=(2, 3, 9))
    assert skew.skews_ms(found).tolist() == pytest.approx([100] * 7)


def test_a_tone_without_a_picture_near_it_counts_for_nothing() -> None:
    """While no picture comes there is nothing that it could be apart from."""
    found = measured(200, 100)
    found["rows"] = [row for row in found["rows"] if not 4000 < row[1] < 6000]
    assert len(skew.skews_ms(found)) == 8
    assert len(skew.skews_ms(found | {"rows": []})) == 0


def test_the_summary_has_a_sign_for_the_middle_and_none_for_the_far_end() -> None:
    """p50 tells which is late, p95 how far either way, and the aim is held against that."""
    skews = np.array([-10.0] * 19 + [-60.0])
    assert skew.summary(skews) == {
        "beeps": 20,
        "p50_ms": -10.0,
        "p95_ms": pytest.approx(12.5),
        "kept": True,
    }
    assert skew.summary(np.array([50.0]))["kept"] is False
    assert skew.summary(np.empty(0))["kept"] is None


def test_the_table_names_each_way_and_the_aim() -> None:
    """For people: sign and distance, and how loaded the machine was."""
    found = skew.summary(np.array([12.0, 14.0]))
    part = {"by_number": found, "by_flash": found, "sound_buffer_ms": 41.0, "load": 0.5}
    text = str(skew.SkewBench({"ways": {"echo": part, "engine": part | {"by_flash": {}}}}))
    assert text.count("13.0") == 3
    assert "by the flash seen" in text
    assert "at most 40 ms" in text


def test_a_wrong_length_is_refused(tmp_path: Any) -> None:
    """Before anything is opened."""
    with pytest.raises(ConfigError, match="seconds: got 3"):
        skew.run_skew_bench(tmp_path, seconds=3)


def test_the_command_takes_it(monkeypatch: pytest.MonkeyPatch, tmp_path: Any, capsys: Any) -> None:
    """`marotte bench-live --sound` measures this and not the delay."""
    asked: dict[str, Any] = {}

    def run(out: Any, **options: Any) -> str:
        asked.update(options, out=out)
        return "the table"

    monkeypatch.setattr(skew, "run_skew_bench", run)
    assert marotte.main(["bench-live", "--sound", "--out", str(tmp_path), "--seconds", "20"]) == 0
    assert (asked["out"], asked["seconds"], asked["codec"]) == (tmp_path, 20.0, "h264")
    assert "the table" in capsys.readouterr().out
