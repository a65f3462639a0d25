"""Sound and picture through a real browser and a real server: flashes and beeps."""

from __future__ import annotations

from typing import Any

import pytest

pytest.importorskip("playwright.sync_api", reason="Playwright is not installed (extra dev)")
pytestmark = [pytest.mark.alone, pytest.mark.full, pytest.mark.usefixtures("chromium")]

LEAST_FPS = 10.0


@pytest.fixture(scope="module")
def measured(models: None, tmp_path_factory: pytest.TempPathFactory) -> Any:
    """A browser's own call, and those through a server, one after the other on this machine."""
    from streaming.bench.skew import run_skew_bench

    bench = run_skew_bench(tmp_path_factory.mktemp("sound"), seconds=20, worker={"spare": False})
    return bench.content["ways"]


def _fps(part: Any) -> float:
    return min(window["shown_fps"] for window in part["windows"])


def _unless_starved(measured: Any, way: str) -> Any:
    """A machine on which a browser's own call is out of step, or pictures hardly come, says nothing of a server."""
    own = measured["browser"]
    if not own["by_number"]["kept"] or _fps(own) < LEAST_FPS or _fps(measured[way]) < LEAST_FPS:
        pytest.skip(
            f"this machine is too busy to measure it: {own['by_number']}, {_fps(measured[way]):.1f} fps"
        )
    return measured[way]


@pytest.mark.parametrize("way", ["echo", "engine"])
def test_sound_and_picture_are_less_than_40_ms_apart(measured: Any, way: str) -> None:
    """The aim at p95, of pictures known by their numbers: those that come back and those that are generated."""
    part = _unless_starved(measured, way)
    assert part["by_number"]["beeps"] >= 15
    assert part["by_number"]["kept"], part["by_number"]


def test_the_flash_that_is_seen_says_the_same(measured: Any) -> None:
    """Not by numbers but by brightness, as an eye would."""
    part = _unless_starved(measured, "echo")
    assert part["by_flash"]["beeps"] >= 15
    assert part["by_flash"]["kept"], part["by_flash"]


def test_sound_is_held_back_by_what_the_engine_takes(measured: Any) -> None:
    """Pictures that take a while to be made delay it, and hardly so those that are only sent back."""
    part = _unless_starved(measured, "engine")

    def held(way: str) -> float:
        return max(window["held_back_ms"] or 0.0 for window in measured[way]["windows"])

    assert held("engine") > held("echo") or part["windows"][0]["g2g_p50_ms"] < 100
    assert all(abs(window["server_skew_ms"]) < 100 for window in part["windows"] if window["server_skew_ms"])
