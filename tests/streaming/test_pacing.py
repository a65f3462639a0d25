from __future__ import annotations

import asyncio
import itertools
from dataclasses import replace
from typing import Any

import pytest

from engine.errors import ConfigError
from engine.worker.interface import BundleInfo
from streaming import pacing
from streaming.config import ServeConfig
from streaming.ladder import PACES
from streaming.pacing import Pacing, Thinning
from tests.streaming.calls import Camera, FakeWorker, call, plain, source_info

STILL = source_info()


def slowed(target_s: float, paces: int) -> Pacing:
    """After ages that were too long for so many looks, far enough from each other."""
    pacing = Pacing(target_s)
    for number in range(paces):
        assert pacing.look(10 * target_s, 10.0 * number)
    return pacing


def test_too_old_pictures_are_fewer_and_then_smaller() -> None:
    """Never larger than whoever drives wants them; where the bundle has one size only the rate alone goes down."""
    outputs = (512, 256, 128)
    assert [slowed(0.1, 0).output_size(outputs, asked) for asked in (0, 256)] == [0, 256]
    assert slowed(0.1, 1).report() == {"fps": PACES[1].fps, "side_share": 1.0}
    smaller = slowed(0.1, next(number for number, pace in enumerate(PACES) if pace.side_share == 0.75))
    assert [smaller.output_size(outputs, asked) for asked in (0, 512, 256, 128)] == [256, 256, 256, 128]
    least = slowed(0.1, len(PACES) - 1)
    assert not least.look(9.0, 1000.0)
    assert [least.output_size(outputs, asked) for asked in (0, 128)] == [256, 128]
    assert [least.output_size((), asked) for asked in (0, 128)] == [0, 128]
    assert least.output_size((512, 400), 0) == 400


def test_without_a_target_all_is_asked_for() -> None:
    """As without ages: nothing is known then."""
    assert not Pacing(0.0).look(100.0, 5.0)
    assert not Pacing(0.1).look(None, 5.0)
    assert Pacing(0.0).report() is None


@pytest.mark.parametrize(("fps", "taken"), [(30, 60), (20, 40), (15, 30), (10, 20)])
def test_frames_are_thinned_evenly(fps: float, taken: int) -> None:
    """Of two seconds' frames that come a little unevenly, as many as are asked for, none far from its turn."""
    thinning = Thinning()
    thinning.fps = fps
    times = [(number + 0.2 * (number % 3)) / 30 for number in range(60)]
    used = [at for at in times if thinning.takes(at)]
    assert abs(len(used) - taken) <= 1
    assert max(b - a for a, b in itertools.pairwise(used)) < 1.7 / fps


@pytest.mark.parametrize("latency_s", [-1.0, 0.001, 5.0])
def test_a_target_is_one_that_can_be_held(latency_s: float) -> None:
    """A picture older than a second is not shown at all."""
    with pytest.raises(ConfigError, match="latency_s"):
        ServeConfig(latency_s=latency_s)


class Sized(FakeWorker):
    """Offers a bundle of several sizes."""

    def bundles(self) -> tuple[BundleInfo, ...]:
        return tuple(replace(bundle, outputs=(512, 256)) for bundle in super().bundles())


def test_a_session_keeps_its_pace(monkeypatch: pytest.MonkeyPatch) -> None:
    """Ages that are too long thin its frames and make its pictures smaller, also after whoever drives asks for the
    finest; the report says so, and the size that was asked for is back when ages allow it."""
    monkeypatch.setattr(pacing, "STEP_S", 0.02)
    worker = Sized(STILL)
    worker.start()
    clock = iter(range(0, 100_000, 20))
    monkeypatch.setattr(pacing, "time", type("Time", (), {"monotonic": lambda: float(next(clock))}))

    async def test() -> None:
        async with call(worker, STILL, Camera(lambda number: plain((90, 20, 20)))) as made:
            browser, tally = made.browser, made.peer.session.tally
            age: list[float | None] = [5.0]
            monkeypatch.setattr(tally, "age_s", lambda: age[0])
            await browser.until(lambda: browser.report("pace") == {"fps": 10, "side_share": 0.5})
            assert worker.changes == [{"controls": {"output_size": 256}}]
            await browser.until(lambda: browser.report("dropped").get("paced", 0) > 5)
            await browser.say(seq=1, change={"controls": {"output_size": 0}})
            await browser.until(lambda: len(worker.changes) == 3)
            assert worker.changes[1:] == [{"controls": {"output_size": size}} for size in (0, 256)]
            age[0] = 0.001
            await browser.until(lambda: browser.heard("report")[-1]["report"]["pace"] is None)
            assert worker.changes[3:] == [{"controls": {"output_size": 0}}]

    def held(test: Any) -> None:
        try:
            asyncio.run(test())
        finally:
            worker.close()

    held(test)
