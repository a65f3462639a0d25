"""Those who watch a session, with aiortc as their browser and as its driver's."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager
from types import SimpleNamespace
from typing import Any

import pytest
from aiortc import RTCRtpSender
from prometheus_client.parser import text_string_to_metric_families

from engine.errors import InputError
from engine.types import U8
from engine.worker.interface import SourceInfo
from streaming import connection as connections
from streaming.calls import Calls
from streaming.config import ServeConfig
from streaming.doors import RefusedError
from streaming.ladder import Choice, Climber
from streaming.metrics import Metrics
from streaming.peer import Peer
from streaming.viewer import Viewer
from tests.streaming.calls import PATIENCE_S, Browser, Camera, FakeWorker, has_hue, plain, source_info
from tests.streaming.test_rtc_sound import Listener, Microphone

STILL = source_info(size=(160, 128))


class Hall:
    """A server's sessions, with those who drive them and those who watch."""

    def __init__(self, worker: FakeWorker, config: ServeConfig) -> None:
        self.worker = worker
        self.metrics = Metrics()
        sources: Any = SimpleNamespace(get={STILL.id: STILL}.get, consents=None)
        self.calls = Calls(config, worker, self.metrics, sources)
        self.browsers: list[Browser] = []

    async def drive(self, stream: str, browser: Browser | None = None) -> Peer:
        """Open a session that sends nothing back, unless another browser is given."""
        browser = browser or Browser(Camera(tinted), channel=None, direction="sendonly")
        self.browsers.append(browser)
        peer = await self.calls.open(await browser.offer(), STILL, stream)
        await browser.accept(peer.answer)
        return peer

    async def watch(self, stream: str, browser: Browser | None = None) -> tuple[Viewer, Browser]:
        """One viewer more, who has seen its first picture."""
        browser = browser or Browser(None, channel=None)
        self.browsers.append(browser)
        viewer = await self.calls.watch(stream, (await browser.offer()).sdp)
        await browser.accept(viewer.answer)
        await browser.until(lambda: browser.pictures)
        return viewer, browser

    def count(self, name: str, **labels: str) -> float:
        """A metric's value, over all the labels that are not given."""
        return sum(
            sample.value
            for family in text_string_to_metric_families(self.metrics.render().decode())
            for sample in family.samples
            if sample.name == f"marotte_{name}" and labels.items() <= sample.labels.items()
        )

    async def end(self) -> None:
        await self.calls.close_all()
        await asyncio.gather(*(browser.close() for browser in self.browsers))


def tinted(number: int = 0) -> U8:
    return plain((230, 20, 230), (160, 128))


async def until(condition: Callable[[], Any]) -> None:
    async with asyncio.timeout(PATIENCE_S):
        while not condition():
            await asyncio.sleep(0.01)


@asynccontextmanager
async def hall(config: ServeConfig, *infos: SourceInfo) -> AsyncIterator[Hall]:
    worker = FakeWorker(STILL, *infos)
    worker.start()
    opened = Hall(worker, config)
    try:
        yield opened
    finally:
        await opened.end()
        worker.close()


def run(test: Callable[[Hall], Coroutine[Any, Any, None]], **settings: Any) -> None:
    async def held() -> None:
        async with hall(ServeConfig(**settings)) as opened:
            await test(opened)
            await opened.end()
            assert (opened.count("viewers"), opened.count("encoders"), opened.count("sessions")) == (0, 0, 0)
            assert opened.count("encoder_target_bytes_per_second") == 0

    asyncio.run(held())


def test_one_encoder_serves_one_viewer_and_five(monkeypatch: pytest.MonkeyPatch) -> None:
    """By the metrics: as many pictures are encoded for five as for one, and each of the five is given every one of
    them, as long as they are on one rung. Nothing is encoded before the first comes and after the last has gone."""
    monkeypatch.setattr(Climber, "step", lambda self, *told: Choice(0, 200_000))

    async def test(hall: Hall) -> None:
        peer = await hall.drive("stage")
        await until(lambda: hall.worker.posted)
        assert (hall.count("pictures_encoded_total"), hall.count("encoders")) == (0, 0)
        viewers = [await hall.watch("stage")]
        await until(lambda: hall.count("pictures_given_total") >= 8)
        assert abs(hall.count("pictures_given_total") - hall.count("pictures_encoded_total")) <= 1
        viewers += await asyncio.gather(*(hall.watch("stage") for _ in range(4)))
        encoded, given = hall.count("pictures_encoded_total"), hall.count("pictures_given_total")
        await until(lambda: hall.count("pictures_encoded_total") >= encoded + 20)
        encoded = hall.count("pictures_encoded_total") - encoded
        given = hall.count("pictures_given_total") - given
        assert abs(given - 5 * encoded) <= 5  # one of them may be on its way
        assert (hall.count("encoders", codec="h264"), hall.count("viewers")) == (1, 5)
        assert hall.count("encode_seconds_count") == hall.count("pictures_encoded_total", rung="0")
        assert hall.count("encoders_opened_total") == 1
        assert peer.session.viewers == 5
        assert {told["codec"] for told in peer.session.report()["viewers"]} == {"h264"}
        for viewer, _ in viewers:
            await viewer.close("page")
        assert hall.count("viewers_closed_total", reason="page") == 5
        assert (hall.count("encoders"), peer.session.viewers, peer.session.over) == (0, 0, False)
        encoded, posted = hall.count("pictures_encoded_total"), len(hall.worker.posted)
        await until(lambda: len(hall.worker.posted) > posted + 5)
        assert hall.count("pictures_encoded_total") == encoded

    run(test)


def test_viewers_see_what_the_page_sees_and_end_with_it() -> None:
    """The page's own picture is one viewer more of the same encoder, and not counted among them; of the driver's
    picture nobody sees anything. When the page stops they are told, and a new viewer finds nothing."""

    async def test(hall: Hall) -> None:
        page = Browser(Camera(tinted))
        peer = await hall.drive("stage", page)
        viewer, browser = await hall.watch("stage")
        await until(lambda: len(browser.pictures) > 5 and len(page.pictures) > 5)
        assert (hall.count("encoders"), hall.count("viewers")) == (1, 1)
        report = await page.until(lambda: page.report("viewers"))
        assert report[0]["size"] == page.report("sent")["size"] == [160, 128]
        assert not any(has_hue(picture) for picture in browser.pictures)
        await page.say(stop=True)
        await until(lambda: viewer.over and peer.session.over)
        await until(lambda: hall.count("viewers") == 0)
        assert hall.count("viewers_closed_total", reason="stopped") == 1
        await browser.until(lambda: browser.connection.connectionState == "closed")
        with pytest.raises(RefusedError, match="nothing is published") as caught:
            await hall.calls.watch("stage", "")
        assert caught.value.status == 404

    run(test)


def test_a_session_that_fails_takes_nobody_else_along() -> None:
    """Of two sessions one loses its driver and its worker's pictures: the other's viewers see on."""

    async def test(hall: Hall) -> None:
        await hall.drive("falls")
        await hall.drive("stands")
        (falling, _), (standing, seen) = await hall.watch("falls"), await hall.watch("stands")
        await hall.browsers[0].close()
        await until(lambda: falling.over)
        await until(lambda: hall.count("sessions") == 1)
        pictures = len(seen.pictures)
        await until(lambda: len(seen.pictures) > pictures + 5)
        assert not standing.over
        assert hall.calls.published("falls") is None

    run(test)


def test_what_a_viewer_tells_is_heeded() -> None:
    """A lost picture is answered by a key frame, an estimate by another rung, and its reports are told."""

    async def test(hall: Hall) -> None:
        peer = await hall.drive("stage")
        viewer, browser = await hall.watch("stage")
        keys = hall.count("keyframes_total")
        receiver: Any = browser.connection.getReceivers()[0]
        (ssrc,) = receiver._RTCRtpReceiver__remote_streams
        await receiver._send_rtcp_pli(ssrc)
        await until(lambda: hall.count("keyframes_total") > keys)
        assert viewer._watch is not None
        viewer._watch.track.rates = lambda: (30.0, 500)  # type: ignore[method-assign]
        sender: Any = viewer._connection.rtc.getSenders()[0]
        sender._RTCRtpSender__encoder.target_bitrate = 40_000
        assert sender._RTCRtpSender__encoder.target_bitrate < 100_000
        await until(lambda: hall.count("pictures_encoded_total", rung="1") > 5)
        await until(lambda: peer.session.report()["viewers"][0]["loss"] is not None)
        (told,) = peer.session.report()["viewers"]
        assert (told["rung"], told["loss"], told["why"] is not None) == (1, 0.0, True)

    run(test)


def test_as_many_watch_as_the_operator_allows() -> None:
    """One session, and all together; who is refused is told why and when to come back, and a place that was left is
    free at once."""

    async def test(hall: Hall) -> None:
        await hall.drive("one")
        await hall.drive("two")
        first, _ = await hall.watch("one")
        with pytest.raises(RefusedError, match="1 of 1 viewers watch this session") as caught:
            await hall.watch("one")
        assert (caught.value.status, caught.value.wait_s) == (429, 5)
        await first.close("page")
        await hall.watch("one")
        object.__setattr__(hall.calls._config, "viewers_total", 1)
        with pytest.raises(RefusedError, match="1 of 1 viewers watch this server"):
            await hall.watch("two")

    run(test, viewers=1)


@pytest.mark.full
def test_a_viewer_who_falls_silent_is_taken_for_gone(monkeypatch: pytest.MonkeyPatch) -> None:
    """It alone: its session and the others go on."""

    async def lost(data: bytes) -> None:
        """Of what it sends as reports nothing arrives."""

    async def test(hall: Hall) -> None:
        peer = await hall.drive("stage")
        (gone, browser), (stays, _) = await hall.watch("stage"), await hall.watch("stage")
        browser.connection.getTransceivers()[0].receiver.transport._send_rtp = lost
        monkeypatch.setattr(connections, "SILENT_S", 2.5)
        await until(lambda: gone.over)
        await until(lambda: peer.session.viewers == 1)
        assert not stays.over
        assert hall.count("viewers_closed_total", reason="connection") == 1

    run(test)


@pytest.mark.full
def test_a_driver_who_falls_silent_ends_the_session(monkeypatch: pytest.MonkeyPatch) -> None:
    """Who sends alone is heard by what it sends; viewers end with it."""

    async def lost(data: bytes) -> None:
        """Nothing arrives."""

    async def test(hall: Hall) -> None:
        peer = await hall.drive("stage")
        viewer, _ = await hall.watch("stage")
        hall.browsers[0].connection.getTransceivers()[0].sender.transport._send_rtp = lost
        monkeypatch.setattr(connections, "SILENT_S", 1.5)
        await until(lambda: peer.session.over and viewer.over)
        await until(lambda: hall.count("sessions_closed_total", reason="connection") == 1)

    run(test)


def test_a_viewer_hears_the_driver() -> None:
    """Beside the picture: the very packets that the driver sent."""

    async def test(hall: Hall) -> None:
        driver = Browser(Camera(tinted), channel=None, direction="sendonly")
        microphone = Microphone()
        driver.connection.addTransceiver(microphone, "sendonly")
        await hall.drive("stage", driver)
        both = Browser(None, channel=None)
        section = both.connection.addTransceiver("audio", "recvonly")
        opus = [c for c in RTCRtpSender.getCapabilities("audio").codecs if c.mimeType == "audio/opus"]
        section.setCodecPreferences(opus)
        heard = Listener(section.receiver)
        await hall.watch("stage", both)
        await until(lambda: len(heard.payloads) >= 10)
        first = microphone.sent.index(heard.payloads[0])
        assert heard.payloads == microphone.sent[first : first + len(heard.payloads)]
        assert hall.calls.published("stage").report()["viewers"][0]["listens"]  # type: ignore[union-attr]

    run(test)


WRONG_OFFERS = [
    (("a=recvonly", "a=sendonly"), "neither picture nor sound"),
    (("a=recvonly", "a=inactive"), "neither picture nor sound"),
    (("m=video", "m=application"), "neither picture nor sound"),
    (("a=ice-ufrag", "a=nothing"), "no ICE name"),
]
OTHER_OFFERS = [("H264", "H263"), ("VP8", "VP7"), ("a=mid:0", "a=mid:0\r\na=nothing")]


def test_an_offer_to_watch_that_cannot_be_answered_is_an_input_error() -> None:
    """One line that says what; the session goes on without a trace of it. Where it can be answered after all, it is."""

    async def test(hall: Hall) -> None:
        session = (await hall.drive("stage")).session
        browser = Browser(None, channel=None)
        hall.browsers.append(browser)
        sdp = (await browser.offer()).sdp
        for change, said in WRONG_OFFERS:
            with pytest.raises(InputError, match=said) as caught:
                await hall.calls.watch("stage", sdp.replace(*change))
            assert "\n" not in str(caught.value)
            assert session.viewers == 0
        for change in OTHER_OFFERS:
            viewer = await hall.calls.watch("stage", sdp.replace(*change))
            assert session.viewers == 1
            await viewer.close("page")
        assert not session.over

    run(test)


def test_a_stream_has_one_session_and_a_name_that_can_be_written() -> None:
    """Another one by the same name is refused while it is there; so is what is no name."""

    async def test(hall: Hall) -> None:
        first = await hall.drive("stage")
        assert hall.calls.published("stage") is first.session
        with pytest.raises(RefusedError, match="published already") as caught:
            await hall.drive("stage")
        assert caught.value.status == 409
        with pytest.raises(InputError, match="a-z, 0-9"):
            await hall.drive("St/age")
        await hall.calls.close(first.session.id, "page")
        assert (await hall.drive("stage")).session is hall.calls.published("stage")
        unnamed = await hall.drive("")
        assert hall.calls.published(unnamed.session.id) is unnamed.session

    run(test)
