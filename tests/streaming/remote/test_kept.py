"""A push or pull is made again whenever it ends, and not when that cannot help; with transports that a test makes."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from types import SimpleNamespace
from typing import Any

import pytest

from engine.errors import WorkerError
from streaming.doors import busy
from streaming.measured import NoRecorder
from streaming.remote import kept
from streaming.remote.kept import Kept, wait_after
from streaming.remote.places import Place
from streaming.transport import LostError

PLACE = Place("https://far.example/whip?key=1", "a-secret-token")


class Transport:
    """Connects, fails or hangs as its script says; `end` ends it from outside."""

    def __init__(self, script: Any, log: list[str]) -> None:
        self._script, self._log = script, log
        self._end: asyncio.Future[LostError] = asyncio.get_running_loop().create_future()

    async def connect(self, session: Any) -> None:
        self._log.append("connect")
        if isinstance(self._script, BaseException):
            raise self._script
        if self._script == "hang":
            await asyncio.Event().wait()
        await session()

    async def lost(self) -> LostError:
        return await self._end

    async def close(self) -> None:
        self._log.append("close")

    def report(self) -> dict[str, Any]:
        return {"fps": 1.0}

    def end(self, error: LostError) -> None:
        self._end.set_result(error)


class Seat:
    def __init__(self, log: list[str]) -> None:
        self._log = log
        self.fails: Exception | None = None

    async def there(self) -> None:
        return None

    async def open(self) -> Any:
        if self.fails is not None:
            raise self.fails
        return SimpleNamespace()

    def lost(self) -> None:
        self._log.append("lost")

    async def close(self) -> None:
        self._log.append("left")


class Counting(NoRecorder):
    def __init__(self) -> None:
        self.states: list[tuple[str | None, str | None]] = []
        self.reasons: list[str] = []

    def remote(self, kind: str, former: str | None, state: str | None) -> None:
        self.states.append((former, state))

    def remote_lost(self, kind: str, reason: str) -> None:
        self.reasons.append(reason)


class Hold:
    """What one test sees of one push."""

    def __init__(self, scripts: list[Any]) -> None:
        self.log: list[str] = []
        self.made: list[Transport] = []
        self.seat, self.recorder = Seat(self.log), Counting()
        self._scripts = scripts
        self.kept = Kept("push", PLACE, self._make, self.seat, self.recorder)

    def _make(self) -> Transport:
        self.made.append(Transport(self._scripts[min(len(self.made), len(self._scripts) - 1)], self.log))
        return self.made[-1]

    async def until(self, state: str) -> None:
        async with asyncio.timeout(10):
            while self.kept.state != state:
                await asyncio.sleep(0.005)


def run(test: Callable[[Hold], Coroutine[Any, Any, None]], *scripts: Any) -> Hold:
    async def held() -> Hold:
        hold = Hold(list(scripts))
        hold.kept.start()
        await test(hold)
        await hold.kept.close()
        await hold.kept.close()
        return hold

    return asyncio.run(held())


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(kept, "FIRST_S", 0.01)


def test_what_is_lost_is_made_again() -> None:
    """Until it is removed; each attempt is freed before the next one, and each cause is counted."""

    async def test(hold: Hold) -> None:
        await hold.until("up")
        assert hold.kept.report()["sent"] == {"fps": 1.0}
        hold.made[2].end(LostError("lost", "it hung up"))
        await hold.until("waiting")
        assert hold.kept.report()["why"] == "it hung up"
        await hold.until("up")

    hold = run(test, LostError("unreachable", "nobody"), LostError("busy", "full"), "up")
    assert hold.log == ["connect", "close", "lost"] * 3 + ["connect", "close", "left"]
    assert hold.recorder.reasons == ["unreachable", "busy", "lost"]
    assert (hold.recorder.states[0], hold.recorder.states[-1]) == ((None, "waiting"), ("up", None))
    assert hold.kept.report()["connects"] == 2
    assert "secret" not in str(hold.kept.report()) + repr(PLACE)
    assert hold.kept.report()["url"] == "https://far.example/whip"


def test_what_cannot_be_mended_is_not_tried_again() -> None:
    """A token that is not taken: it says why, and gives its session back."""

    async def test(hold: Hold) -> None:
        await hold.until("stopped")
        await asyncio.sleep(0.05)

    hold = run(test, LostError("token", "it does not take the token", again=False))
    assert hold.log[:4] == ["connect", "close", "lost", "left"]
    assert hold.log.count("connect") == 1
    assert hold.kept.report()["why"] == "it does not take the token"


def test_the_far_server_may_ask_for_time() -> None:
    """No attempt comes before that is over."""

    async def test(hold: Hold) -> None:
        await hold.until("waiting")
        await asyncio.sleep(0.2)

    assert run(test, LostError("busy", "full", wait_s=30)).log == ["connect", "close", "lost", "left"]


def test_attempts_come_further_and_further_apart() -> None:
    """Up to half a minute, and never in step with others."""
    kept.FIRST_S = 0.5
    waits = [wait_after(failures) for failures in (0, 1, 2, 3, 20, 10_000)]
    assert all(most / 2 <= wait <= most for wait, most in zip(waits, (0.5, 1, 2, 4, 30, 30)))
    assert len({wait_after(5) for _ in range(20)}) > 10


def test_a_connection_that_was_steady_counts_anew(monkeypatch: pytest.MonkeyPatch) -> None:
    """After hours of a good one the next attempt comes at once."""
    monkeypatch.setattr(kept, "STEADY_S", 0.0)

    async def test(hold: Hold) -> None:
        await hold.until("up")
        hold.kept._failures = 12
        hold.made[-1].end(LostError("lost", "it hung up"))
        await hold.until("waiting")
        await hold.until("up")
        assert hold.kept._failures == 1

    run(test, "up")


@pytest.mark.parametrize(
    "error", [busy("4 of 4 sessions are open", wait_s=0), WorkerError("worker: it is away")]
)
def test_a_session_that_cannot_be_had_is_tried_again(error: Exception) -> None:
    """As when every place is taken: that may change."""

    async def test(hold: Hold) -> None:
        hold.seat.fails = error
        async with asyncio.timeout(10):
            while not hold.recorder.reasons:
                await asyncio.sleep(0.005)
        assert str(error) in hold.kept.report()["why"]
        hold.seat.fails = None
        await hold.until("up")

    assert set(run(test, "up").recorder.reasons) == {"session"}


def test_an_attempt_that_hangs_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever step of it does, and a removal does not wait for it either."""
    monkeypatch.setattr(kept, "CONNECT_S", 0.05)

    async def test(hold: Hold) -> None:
        async with asyncio.timeout(10):
            while "unreachable" not in hold.recorder.reasons:
                await asyncio.sleep(0.01)

    run(test, "hang")


def test_what_fails_here_is_said_and_stops(caplog: pytest.LogCaptureFixture) -> None:
    """An error of our own is no reason to ask a far server again and again."""

    async def test(hold: Hold) -> None:
        await hold.until("stopped")

    run(test, KeyError("ours"))
    assert "KeyError" in caplog.text
