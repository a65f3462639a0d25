from __future__ import annotations

import asyncio
import gc
import os
import threading
import time
from collections.abc import Callable, Coroutine
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from aioice import ice

from engine.acting import PACKED_BYTES
from engine.errors import InputError, WorkerError
from engine.marks.badge import Badge
from engine.types import U8
from engine.worker.acted import NOBODY
from engine.worker.interface import NO_MARK, DriverKind, SessionSpec, Stamp, State
from streaming import connection as connections
from streaming import strip
from streaming.config import ServeConfig
from streaming.measured import NoRecorder
from streaming.offer import Offer, ice_server
from tests.streaming.calls import (
    MAGENTA,
    PATIENCE_S,
    Browser,
    Camera,
    FakeWorker,
    call,
    has_hue,
    now_stamp,
    open_peer,
    plain,
    source_info,
)

STILL = source_info()
FDS = Path("/proc/self/fd")


@contextmanager
def working(*others: Any) -> Any:
    worker = FakeWorker(STILL, *others)
    worker.start()
    try:
        yield worker
    finally:
        worker.close()


def run(test: Callable[[FakeWorker], Coroutine[Any, Any, None]], *others: Any) -> None:
    with working(*others) as worker:
        asyncio.run(test(worker))


def tinted(number: int = 0) -> U8:
    """A driver's frame in the hue that no portrait has."""
    return plain(MAGENTA)


def luma(planes: U8) -> int:
    """In the middle of the picture, far from badge and strip."""
    return int(planes[planes.shape[0] // 3, planes.shape[1] // 2])


@pytest.mark.parametrize("codec", ["vp8", "h264"])
def test_a_call_brings_frames_in_and_pictures_out(codec: str) -> None:
    """The driver's frames reach the worker as they are, its pictures reach the browser with the badge, reports tell."""

    async def test(worker: FakeWorker) -> None:
        async with call(worker, STILL, Camera(tinted), codec=codec) as made:
            browser = made.browser
            await browser.until(lambda: luma(browser.pictures[-1]) in range(55, 66))
            shape, stamp = worker.posted[-1]
            assert shape == (240, 320, 3)
            assert 0 <= time.perf_counter() - stamp.arrived_s < 10
            assert stamp.mark == NO_MARK
            x0, y0, x1, y1 = Badge((320, 240)).box
            assert int(browser.pictures[-1][y0:y1, x0:x1].max()) > 180
            report = (await browser.until(lambda: browser.heard("report")[3:]))[0]["report"]
            assert report["codec"] == codec
            assert (report["size"], report["worker"], report["restarts"]) == ([320, 240], "ready", 2)
            assert list(report["stages"]) == ["decode", "convert", "post", "track", "deliver"]
            assert not any(report[switch] for switch in ("paused", "measuring", "mirror", "pass_through"))

    run(test)


def test_it_runs_on_uvloop_too() -> None:
    """The loop that the server runs on carries a call, its channel and its end."""
    uvloop = pytest.importorskip("uvloop")

    async def test(worker: FakeWorker) -> None:
        async with call(worker, STILL, Camera(tinted)) as made:
            await made.browser.say(seq=1, change={"smoothing": 1.5})
            await made.browser.until(lambda: made.browser.heard("ack"))
            await made.browser.say(stop=True)
            await made.browser.until(lambda: made.ended)

    with working() as worker:
        uvloop.run(test(worker))


def _raises(worker: FakeWorker, session: str, rgb: U8, stamp: Stamp) -> None:
    """As a generator that raises: no picture."""


def _goes_away(worker: FakeWorker, session: str, rgb: U8, stamp: Stamp) -> None:
    worker.state = State.REPLACING


def _is_late(worker: FakeWorker, session: str, rgb: U8, stamp: Stamp) -> None:
    worker.deliver(session, raw(rgb), Stamp(stamp.pts, stamp.arrived_s - 5.0))


def _sends_rgb(worker: FakeWorker, session: str, rgb: U8, stamp: Stamp) -> None:
    worker.deliver(session, rgb, stamp)


def _sends_floats(worker: FakeWorker, session: str, rgb: U8, stamp: Stamp) -> None:
    worker.deliver(session, raw(rgb).astype(np.float32), stamp)


def _mistakes_the_session(worker: FakeWorker, session: str, rgb: U8, stamp: Stamp) -> None:
    worker.deliver(session, raw(rgb), stamp, named="another")


def _mistakes_the_source(worker: FakeWorker, session: str, rgb: U8, stamp: Stamp) -> None:
    worker.deliver(session, raw(rgb), stamp, source="another")


def raw(rgb: U8) -> U8:
    """The driver's frame as a picture that could leave: what must not happen."""
    from engine.media.planes import i420_of

    return i420_of(np.ascontiguousarray(rgb))


@pytest.mark.parametrize(
    "fault",
    [_raises, _goes_away, _is_late, _sends_rgb, _sends_floats, _mistakes_the_session, _mistakes_the_source],
)
def test_no_fault_of_the_worker_shows_the_driver(fault: Callable[..., None]) -> None:
    """Frames in a hue that the portrait lacks go in, a fault begins in the middle of the call: no picture ever has the
    hue, the call stays up, and the pictures go on when the fault has passed."""

    async def test(worker: FakeWorker) -> None:
        good = worker.making
        async with call(worker, STILL, Camera(tinted), codec="vp8") as made:
            browser = made.browser
            await browser.until(lambda: luma(browser.pictures[-1]) in range(55, 66))
            posted = len(worker.posted)
            worker.making = lambda session, rgb, stamp: fault(worker, session, rgb, stamp)
            await browser.until(lambda: len(worker.posted) > posted + 10)
            await browser.until(lambda: browser.report("outcome") in ("held", "faded"))
            worker.making, worker.state = good, State.READY
            since = len(browser.heard("report"))
            await browser.until(
                lambda: any(r["report"]["outcome"] == "generated" for r in browser.heard("report")[since:])
            )
            assert not any(has_hue(picture) for picture in browser.pictures)
            assert made.ended == []

    run(test)


def test_the_hue_would_be_seen() -> None:
    """The test above can fail: in pass-through, asked for by name, the driver's picture comes back, and is said to.
    There is no session of the worker behind it and nothing to change."""

    async def test(worker: FakeWorker) -> None:
        config = ServeConfig(pass_through=True)
        async with call(worker, STILL, Camera(tinted), config=config, codec="vp8") as made:
            browser = made.browser
            await browser.until(lambda: has_hue(browser.pictures[-1]))
            report = (await browser.until(lambda: browser.heard("report")[2:]))[-1]["report"]
            assert report["pass_through"] is True
            assert report["outcome"] == "pass_through"
            assert report["size"] == [320, 240]
            await browser.say(seq=1, change={"smoothing": 1})
            assert "pass-through" in (await browser.until(lambda: browser.heard("ack")))[0]["error"]
            await browser.say(stop=True)
            await browser.until(lambda: made.ended)
        assert not worker.specs
        assert not worker.closed

    run(test)


@pytest.mark.parametrize("codec", ["vp8", "h264"])
def test_a_control_reaches_a_frame_within_three_intervals(codec: str) -> None:
    """Of the pictures that arrive after the answer to a change, the third at the latest shows it."""

    async def test(worker: FakeWorker) -> None:
        async with call(worker, STILL, Camera(tinted), codec=codec) as made:
            browser = made.browser
            await browser.until(lambda: luma(browser.pictures[-1]) in range(55, 66))
            for number in (1, 2, 3):
                level = 60 + 20 * number
                await browser.say(seq=number, change={"controls": {"mouth": float(number)}})
                await browser.until(lambda: len(browser.heard("ack")) == number)  # noqa: B023
                assert browser.heard("ack")[-1] == {"ack": number, "changes": number}
                at = len(browser.pictures)
                await browser.until(lambda: len(browser.pictures) >= at + 3)  # noqa: B023
                assert any(abs(luma(picture) - level) < 6 for picture in browser.pictures[: at + 3])
            await browser.until(lambda: browser.report("changes") == 3)

    run(test)


def test_stop_ends_the_output_within_a_frame() -> None:
    """When the page is told that it has stopped, at most the picture comes that was being encoded; all is freed."""

    async def test(worker: FakeWorker) -> None:
        async with call(worker, STILL, Camera(tinted)) as made:
            browser = made.browser
            await browser.until(lambda: len(browser.pictures) > 5)
            await browser.say(stop=True)
            await browser.until(lambda: browser.heard("stopped") or made.ended)
            at = len(browser.pictures)
            await browser.until(lambda: made.ended)
            assert len(browser.pictures) <= at + 1
            assert browser.heard("stopped") == [{"stopped": "stopped"}]
            assert made.ended == [(made.peer.session.id, "stopped")]
            assert worker.closed == [made.peer.session.id]

    run(test)


def test_pause_holds_and_goes_on() -> None:
    """Paused, no frame goes to the worker and the last picture stays; then it goes on."""

    async def test(worker: FakeWorker) -> None:
        async with call(worker, STILL, Camera(tinted)) as made:
            browser = made.browser
            await browser.until(lambda: luma(browser.pictures[-1]) in range(55, 66))
            await browser.say(pause=True)
            await browser.until(lambda: browser.report("paused"))
            posted, worker.making = len(worker.posted), lambda session, rgb, stamp: None
            await browser.until(lambda: browser.report("reason") == "paused")
            assert len(worker.posted) <= posted
            assert luma(browser.pictures[-1]) in range(55, 66)
            await browser.say(pause=False)
            await browser.until(lambda: len(worker.posted) > posted)

    run(test)


def test_a_number_in_the_drivers_frame_is_on_the_picture_made_from_it() -> None:
    """While measuring, and only then, the strip goes with its frame through the worker and back."""

    def numbered(number: int) -> U8:
        from engine.media.planes import i420_of

        planes = i420_of(plain((90, 90, 90)))
        strip.draw(planes, number)
        return np.repeat(planes[:240, :, None], 3, axis=2)

    async def test(worker: FakeWorker) -> None:
        async with call(worker, STILL, Camera(numbered)) as made:
            browser = made.browser
            await browser.until(lambda: len(browser.pictures) > 5)
            assert all(strip.read(picture[:240]) == NO_MARK for picture in browser.pictures)
            await browser.say(measure=True)
            await browser.until(lambda: sum(strip.read(p[:240]) != NO_MARK for p in browser.pictures) > 5)
            marks = [stamp.mark for _, stamp in worker.posted if stamp.mark != NO_MARK]
            returned = [strip.read(picture[:240]) for picture in browser.pictures]
            assert {number for number in returned if number != NO_MARK} <= set(marks)

    run(test)


def test_the_demo_needs_no_camera() -> None:
    """The page sends nothing, the worker performs; a camera cannot be switched to in that call."""

    async def test(worker: FakeWorker) -> None:
        async with call(worker, STILL, None, driver="demo") as made:
            browser, session = made.browser, made.peer.session.id
            assert worker.specs[session].driver is DriverKind.DEMO
            worker.deliver(session, worker.picture(session), now_stamp())
            await browser.until(lambda: luma(browser.pictures[-1]) in range(55, 66))
            await browser.say(seq=1, change={"driver": "camera"})
            assert "without a camera" in (await browser.until(lambda: browser.heard("ack")))[0]["error"]
            assert not worker.changes

    run(test)


def test_the_driver_may_change_in_a_call_with_a_camera() -> None:
    """On the demo the camera's frames stay outside; on the camera they come again."""

    async def test(worker: FakeWorker) -> None:
        async with call(worker, STILL, Camera(tinted)) as made:
            browser = made.browser
            await browser.until(lambda: worker.posted)
            await browser.say(seq=1, change={"driver": "demo"})
            await browser.until(lambda: browser.heard("ack"))
            posted, reports = len(worker.posted), len(browser.heard("report"))
            await browser.until(lambda: len(browser.heard("report")) > reports + 3)
            assert len(worker.posted) <= posted + 1
            await browser.say(seq=2, change={"driver": "camera"})
            await browser.until(lambda: len(worker.posted) > posted + 3)

    run(test)


def test_a_face_tracked_in_the_page_drives_without_a_camera() -> None:
    """Numbers come over the channel and go on as a tracker's; nobody in the page is nobody for the worker."""

    async def test(worker: FakeWorker) -> None:
        async with call(worker, STILL, None, driver="tracker") as made:
            browser = made.browser
            assert worker.specs[made.peer.session.id].driver is DriverKind.TRACKER
            await browser.say(face={"blendshapes": {"jawOpen": 0.5}})
            await browser.until(lambda: len(worker.posted) == 1)
            await browser.say(face=None)
            await browser.until(lambda: len(worker.posted) == 2)
            assert [shape for shape, _ in worker.posted] == [(PACKED_BYTES,), NOBODY.shape]

    run(test)


def test_a_source_may_change_to_one_that_was_accepted() -> None:
    """Pictures of the new one come in its size; one that nobody sent is refused by name."""
    other = source_info("other", (200, 40, 40), size=(200, 160))
    found = {STILL.id: STILL, "other": other}

    async def test(worker: FakeWorker) -> None:
        async with call(worker, STILL, Camera(tinted), sources=found.get) as made:
            browser = made.browser
            await browser.say(seq=1, change={"source": "unheard of"})
            assert "source" in (await browser.until(lambda: browser.heard("ack")))[0]["error"]
            await browser.say(seq=2, change={"source": "other"})
            await browser.until(lambda: len(browser.heard("ack")) == 2)
            worker.specs[made.peer.session.id] = SessionSpec("other")
            await browser.until(lambda: browser.pictures[-1].shape == (240, 200))
            await browser.until(lambda: browser.report("size") == [200, 160])

    run(test, other)


def test_a_worker_that_takes_no_session_leaves_nothing_open() -> None:
    """The error goes to who asked; no task, thread or socket is left, and no session is counted."""
    opened: list[str] = []

    class Counted(NoRecorder):
        def session_opened(self, driver: str) -> None:
            opened.append(driver)

    async def test(worker: FakeWorker) -> None:
        worker.full = True
        browser = Browser(Camera(tinted))
        offer = await browser.offer()
        before = await _settled()
        with pytest.raises(WorkerError, match="sessions"):
            await open_peer(offer, worker, STILL, recorder=Counted())
        assert await _settled(before) == before
        await browser.close()
        assert not opened
        assert not worker.closed

    run(test)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"sdp": ""}, "sdp"),
        ({"sdp": "v=0\r\nnonsense"}, "sdp"),
        ({"sdp": "\0" * 1000}, "sdp"),
        ({"type": "answer"}, "type"),
        ({"driver": "nobody"}, "driver"),
        ({"codec": "av1"}, "codec"),
        ({"sdp": ("sendrecv", "sendonly")}, None),
        ({"sdp": ("sendrecv", "recvonly")}, "camera"),
        ({"sdp": ("sendrecv", "inactive")}, "inactive"),
        ({"sdp": ("m=video", "m=audio")}, "video"),
        ({"sdp": ("H264", "H263"), "codec": "h264"}, None),
        ({"sdp": ("a=ice-ufrag", "a=nothing")}, "sdp"),
        ({"sdp": ("a=fingerprint:sha-256", "a=fingerprint:md4")}, None),
        ({"sdp": ("a=rtcp-mux", "a=nothing")}, "sdp"),
    ],
)
def test_an_offer_that_cannot_be_answered_is_an_input_error(change: dict[str, Any], said: str | None) -> None:
    """One line that says what; nothing of the call is left. Where it can be answered after all, it is."""

    async def test(worker: FakeWorker) -> None:
        browser = Browser(Camera(tinted))
        given = await browser.offer()
        fields = {"sdp": given.sdp, "type": given.type, "source": given.source} | change
        if isinstance(fields["sdp"], tuple):
            fields["sdp"] = given.sdp.replace(*fields["sdp"])
        before = await _settled()
        if said is None:
            await (await open_peer(Offer(**fields), worker, STILL)).close("shutdown")
        else:
            with pytest.raises(InputError, match=said) as caught:
                await open_peer(Offer(**fields), worker, STILL)
            assert "\n" not in str(caught.value)
        assert await _settled(before) == before
        await browser.close()

    run(test)


def test_opening_that_is_given_up_half_way_leaves_nothing() -> None:
    """Whoever asked has gone while candidates are gathered: the session that was opened is closed, and all else too."""

    async def test(worker: FakeWorker) -> None:
        browser = Browser(Camera(tinted))
        offer = await browser.offer()
        before = await _settled()
        take = worker.open

        def taken_while_they_leave(*told: Any) -> None:
            take(*told)
            opening.cancel()

        worker.open = taken_while_they_leave
        opening = asyncio.create_task(open_peer(offer, worker, STILL))
        with pytest.raises(asyncio.CancelledError):
            await opening
        assert worker.closed == list(worker.specs)
        assert await _settled(before) == before
        await browser.close()

    run(test)


def test_a_call_that_never_connects_is_closed(monkeypatch: pytest.MonkeyPatch) -> None:
    """An answer that nobody takes up holds its session for a while only."""
    monkeypatch.setattr(connections, "CONNECT_S", 0.1)

    async def test(worker: FakeWorker) -> None:
        browser = Browser(Camera(tinted))
        offer = await browser.offer()
        before = await _settled()
        ended = asyncio.get_running_loop().create_future()
        peer = await open_peer(offer, worker, STILL, closed=lambda *told: ended.set_result(told))
        async with asyncio.timeout(20):
            assert await ended == (peer.session.id, "connection")
        assert worker.closed == [peer.session.id]
        assert await _settled(before) == before
        await browser.close()

    run(test)


def test_a_browser_that_leaves_ends_its_call() -> None:
    """A closed page is noticed by its farewell, and told once."""

    async def test(worker: FakeWorker) -> None:
        async with call(worker, STILL, Camera(tinted)) as made:
            await made.browser.close()
            await made.browser.until(lambda: made.ended)
            assert made.ended == [(made.peer.session.id, "connection")]
            await made.peer.close("shutdown")
            assert made.ended == [(made.peer.session.id, "connection")]

    run(test)


def test_a_viewer_who_falls_silent_is_taken_for_gone(monkeypatch: pytest.MonkeyPatch) -> None:
    """A browser that was killed says no farewell: the missing receiver reports do."""
    monkeypatch.setattr(connections, "SILENT_S", 2.5)

    async def test(worker: FakeWorker) -> None:
        async with call(worker, STILL, Camera(tinted)) as made:
            browser = made.browser
            await browser.until(lambda: browser.report("round_trip_ms") is not None)

            async def lost(data: bytes) -> None:
                """Of what the browser sends as media and reports, nothing arrives."""

            browser.connection.getTransceivers()[0].receiver.transport._send_rtp = lost
            await browser.until(lambda: made.ended)
            assert made.ended == [(made.peer.session.id, "connection")]

    run(test)


def test_a_viewer_without_a_channel_is_watched_too(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever opens none, or has reports fail, holds a session no longer than others."""
    monkeypatch.setattr(connections, "SILENT_S", 2.5)

    async def lost(data: bytes) -> None:
        """Of what the browser sends as media and reports, nothing arrives."""

    async def test(worker: FakeWorker) -> None:
        browser, ended = Browser(Camera(tinted), channel="another"), []
        peer = await open_peer(await browser.offer(), worker, STILL, closed=lambda *told: ended.append(told))
        await browser.accept(peer.answer)
        await browser.until(lambda: browser.pictures)
        browser.connection.getTransceivers()[0].receiver.transport._send_rtp = lost
        await browser.until(lambda: ended)
        assert ended == [(peer.session.id, "connection")]
        await browser.close()

    run(test)


def test_the_watch_outlives_the_reports(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """An error in a report ends the reports alone: a viewer who goes then is missed as ever."""
    monkeypatch.setattr(connections, "SILENT_S", 2.5)

    async def test(worker: FakeWorker) -> None:
        async with call(worker, STILL, Camera(tinted)) as made:
            browser = made.browser
            await browser.until(lambda: browser.heard("report"))
            made.peer.session.report = lambda: 1 / 0
            await browser.until(lambda: "its reports ended" in caplog.text)

            async def lost(data: bytes) -> None:
                """Nothing arrives."""

            browser.connection.getTransceivers()[0].receiver.transport._send_rtp = lost
            await browser.until(lambda: made.ended)
            assert made.ended == [(made.peer.session.id, "connection")]

    run(test)


def test_a_connection_that_hangs_while_it_closes_leaves_no_socket(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """A part that never ends is left behind alone: sockets, threads and the other tasks go."""
    monkeypatch.setattr(connections, "_CLOSE_S", 0.2)
    monkeypatch.setattr("streaming.rtc._PART_S", 0.2)

    async def hangs() -> None:
        await asyncio.Event().wait()

    async def test(worker: FakeWorker) -> None:
        await _fill_executor()
        before: Any = None
        for hung in (False, True):
            async with call(worker, STILL, Camera(tinted)) as made:
                receiver = made.peer._connection.rtc.getReceivers()[0]
                if hung:
                    stop, receiver.stop = receiver.stop, hangs
            if hung:
                await stop()
            else:
                before = await _settled()
        assert await _settled(before) == before
        assert "RTCRtpReceiver did not close" in caplog.text

    run(test)


def test_a_way_that_is_lost_ends_the_call(monkeypatch: pytest.MonkeyPatch) -> None:
    """When ICE's consent checks are no longer answered the connection has failed, and its session is freed."""
    monkeypatch.setattr(ice, "CONSENT_INTERVAL", 0.1)
    monkeypatch.setattr(ice, "CONSENT_FAILURES", 2)

    async def test(worker: FakeWorker) -> None:
        async with call(worker, STILL, Camera(tinted)) as made:
            receiver = made.browser.connection.getTransceivers()[0].receiver
            for protocol in receiver.transport.transport._connection._protocols:
                protocol.transport.close()
            await made.browser.until(lambda: made.ended)
            assert made.ended == [(made.peer.session.id, "connection")]
            assert worker.closed == [made.peer.session.id]

    run(test)


def test_closing_is_told_to_nobody_and_may_be_done_twice() -> None:
    """Who closes knows; the recorder hears of it once, with the reason."""
    told: list[str] = []

    class Counted(NoRecorder):
        def session_opened(self, driver: str) -> None:
            told.append(driver)

        def session_closed(self, reason: str) -> None:
            told.append(reason)

    async def test(worker: FakeWorker) -> None:
        async with call(worker, STILL, Camera(tinted), recorder=Counted()) as made:
            await made.browser.until(lambda: made.browser.heard("report"))
            await asyncio.gather(made.peer.close("replaced"), made.peer.close("page"))
            await made.peer.close("shutdown")
            await made.browser.until(lambda: made.browser.heard("stopped"))
            assert made.browser.heard("stopped") == [{"stopped": "replaced"}]
            assert made.ended == []
            assert worker.closed == [made.peer.session.id]
        assert told == ["camera", "replaced"]

    run(test)


def test_a_channel_by_another_name_is_not_listened_to() -> None:
    """Nothing is taken from it and nothing is told on it."""

    async def test(worker: FakeWorker) -> None:
        browser = Browser(Camera(tinted), channel="another")
        peer = await open_peer(await browser.offer(), worker, STILL)
        await browser.accept(peer.answer)
        await browser.until(lambda: browser.pictures)
        await browser.until(lambda: browser.channel.readyState == "closed")
        assert not browser.said
        await peer.close("shutdown")
        await browser.close()

    run(test)


def test_a_channel_that_was_closed_may_be_opened_again() -> None:
    """Reports, answers and the stop go on over the new one; a second one beside it is refused."""

    async def test(worker: FakeWorker) -> None:
        async with call(worker, STILL, Camera(tinted)) as made:
            browser = made.browser
            await browser.until(lambda: browser.heard("report"))
            browser.channel.close()
            await browser.until(lambda: browser.channel.readyState == "closed")
            browser.channel, first = browser.connection.createDataChannel("marotte"), len(browser.said)
            browser.channel.on("message", browser._heard)
            await browser.say(seq=4, change={"smoothing": 1.5})
            await browser.until(lambda: [said["ack"] for said in browser.heard("ack")] == [4])
            await browser.until(lambda: [said for said in browser.said[first:] if "report" in said][3:])
            beside = browser.connection.createDataChannel("marotte")
            await browser.until(lambda: beside.readyState == "closed")
            assert len(made.peer._connection._tasks) == 2
            await browser.say(stop=True)
            await browser.until(lambda: made.ended)
            assert made.ended == [(made.peer.session.id, "stopped")]

    run(test)


def test_what_no_channel_may_say_ends_no_call(caplog: pytest.LogCaptureFixture) -> None:
    """Text that is none and an open channel opened again are let fall, and the channel is heard as before."""
    text, opening = 51, 50  # what the messages of a channel are numbered by

    async def test(worker: FakeWorker) -> None:
        async with call(worker, STILL, Camera(tinted)) as made:
            browser = made.browser
            await browser.until(lambda: browser.heard("report"))
            sctp, number = browser.connection.sctp, browser.channel.id
            await sctp._send(number, text, b"\xff\xfe{}")
            await sctp._send(number, opening, b"\x03\0\0\0\0\0\0\0\0\x07\0\0marotte")
            await browser.say(seq=4, change={"smoothing": 1.5})
            await browser.until(lambda: browser.heard("ack"))
            assert caplog.text.count("cannot be read") == 1
            assert made.ended == []

    run(test)


def test_a_mirrored_driver_is_asked_for_by_the_page() -> None:
    """The frames that reach the worker are turned over, it recalibrates, and the report says so."""

    def half(number: int) -> U8:
        made = plain((20, 20, 20))
        made[:, :100] = 230
        return made

    async def test(worker: FakeWorker) -> None:
        sides: list[str] = []

        def making(session: str, rgb: U8, stamp: Stamp) -> U8:
            sides.append("left" if rgb[120, 50].mean() > rgb[120, 270].mean() else "right")
            return worker.picture(session)

        worker.making = making
        async with call(worker, STILL, Camera(half)) as made:
            browser = made.browser
            await browser.until(lambda: sides)
            assert sides[-1] == "left"
            assert not worker.changes
            await browser.say(mirror=True)
            await browser.until(lambda: browser.report("mirror"))
            await browser.until(lambda: sides[-1] == "right")
            await browser.until(lambda: worker.changes)
            await browser.say(mirror=False)
            await browser.until(lambda: browser.report("mirror") is False)
            await browser.until(lambda: len(worker.changes) == 2 and sides[-1] == "left")
            assert worker.changes == [{"recalibrate": True}] * 2

    run(test)


def test_twenty_calls_leave_nothing_behind() -> None:
    """Tasks, threads and file descriptors are as before the first one."""

    async def test(worker: FakeWorker) -> None:
        before: Any = None
        for number in range(21):
            async with call(worker, STILL, Camera(tinted), codec=("vp8", "h264")[number % 2]) as made:
                if number % 3 == 0:
                    await made.browser.say(stop=True)
                    await made.browser.until(lambda: made.ended)
                elif number % 3 == 1:
                    await made.browser.close()
            if number == 0:
                await _fill_executor()
                before = _open_things()
        assert await _settled(before) == before
        assert sorted(worker.closed) == sorted(worker.specs)

    run(test)


def test_turn_servers_are_given_with_their_account() -> None:
    """The name and the password stand in the url, as people write them."""
    server = ice_server("turn:me:secret@turn.example:3478?transport=tcp")
    assert (server.urls, server.username, server.credential) == (
        "turn:turn.example:3478?transport=tcp",
        "me",
        "secret",
    )
    assert ice_server("stun:stun.example:19302").username is None


def _open_things() -> tuple[list[str], list[str], int]:
    """Names of tasks (of what they run) and threads, and the number of file descriptors where it can be had."""
    tasks = sorted(task.get_coro().__qualname__ for task in asyncio.all_tasks())
    threads = sorted(t.name for t in threading.enumerate() if not t.name.startswith("asyncio_"))
    return tasks, threads, len(os.listdir(FDS)) if FDS.is_dir() else 0


async def _settled(before: Any = None) -> Any:
    """What is open when nothing changes any more; or as soon as it is what it was before."""
    async with asyncio.timeout(PATIENCE_S):
        last: Any = None
        for _ in range(20):
            gc.collect()
            now = _open_things()
            if now == (last if before is None else before):
                break
            last = now
            await asyncio.sleep(0.05)
    return now


async def _fill_executor() -> None:
    """Let the loop's executor start what threads it will."""
    await asyncio.gather(*(asyncio.to_thread(time.sleep, 0.01) for _ in range(32)))
