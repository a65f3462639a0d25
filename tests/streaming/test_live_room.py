"""Two real browsers call each other through a real server: edited both ways, heard both ways, and again after a cut."""

from __future__ import annotations

import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from engine.verify.badges import find_badge
from tests.streaming.test_live_fail_closed import HUE, allowed, first_frame, violet

pytest.importorskip("playwright.sync_api", reason="Playwright is not installed (extra dev)")
pytestmark = [pytest.mark.alone, pytest.mark.full, pytest.mark.usefixtures("chromium")]

CUT_S = 5.0
BACK_S = 3.0
"""From the network's return until both see each other move again."""
IDLE_S = 4.0
WATCHED = """
window.peers = [];
const Real = window.RTCPeerConnection;
window.RTCPeerConnection = class extends Real {
  constructor(...given) { super(...given); window.peers.push(this); }
};
"""
HEARD = """async () => {
  const up = window.peers.filter((peer) => peer.connectionState === "connected");
  const stats = await Promise.all(up.map((peer) => peer.getStats()));
  const all = stats.flatMap((one) => [...one.values()]);
  return all.filter(({type, kind}) => type === "inbound-rtp" && kind === "audio")
    .reduce((sum, {totalAudioEnergy}) => sum + (totalAudioEnergy ?? 0), 0);
}"""


class Caller:
    """One of two people: a browser of their own, at the page of the room."""

    def __init__(self, opened: Any, url: str, person: str) -> None:
        self.opened, self.person = opened, person
        opened.context.add_init_script(WATCHED)
        self.page = opened.open(url)
        self.page.fill("#person", person)

    def join(self) -> None:
        self.page.wait_for_selector("#join:not([disabled])")
        self.page.click("#join")
        self.page.wait_for_selector("#call:not([hidden])")

    def until_live(self) -> None:
        self.page.wait_for_selector("html[data-own=live][data-other=live][data-picture=true]", timeout=60_000)

    def pictures(self, seconds: float, count: int = 3) -> list[np.ndarray]:
        """What of the other is shown meanwhile, and until there are so many."""
        self.opened.collect(self.page, video="#other")
        found: list[np.ndarray] = []
        until = time.monotonic() + seconds + 20
        while len(found) < count and time.monotonic() < until:
            self.page.wait_for_timeout(1000 * seconds)
            found += [picture.rgb for picture in self.opened.collected(self.page)]
        self.opened.stop_collecting(self.page)
        assert len(found) >= count, f"{self.person} saw {len(found)} pictures in {seconds + 20:g} s"
        return found

    def hears(self, seconds: float = 1.5) -> float:
        """Energy of what is heard of the other in so many seconds."""
        before = self.page.evaluate(HEARD)
        self.page.wait_for_timeout(1000 * seconds)
        return float(self.page.evaluate(HEARD)) - float(before)


def badge_is_on(rgb: np.ndarray) -> bool:
    """Whether it is found, wherever it stands."""
    height, width = (side & ~1 for side in rgb.shape[:2])
    planes = cv2.cvtColor(np.ascontiguousarray(rgb[:height, :width]), cv2.COLOR_RGB2YUV_I420)
    return find_badge(planes[:height].astype(np.float32)).found


@pytest.fixture(scope="module")
def clip(camera: Callable[..., Path]) -> Path:
    return camera("man_wide_mouth_frontal.mp4", seconds=6, tint=HUE)


class House:
    """A server at `origin`, with its own token; cut and join are there where it has a network of its own."""

    def __init__(self, server: Any, origin: str, space: Any) -> None:
        self.server, self.origin, self.space = server, origin, space

    def ask(self, method: str, path: str, body: bytes = b"") -> Any:
        import json

        request = urllib.request.Request(f"{self.origin}{path}", body or None, method=method)
        request.add_header("Authorization", f"Bearer {self.server.token}")
        with urllib.request.urlopen(request, timeout=20) as answer:
            return json.loads(answer.read() or b"null")

    def links(self) -> tuple[str, str]:
        one, two = self.ask("POST", "/api/v1/rooms", b"{}")["links"]
        return self.origin + one, self.origin + two


@pytest.fixture(scope="module")
def house(models: None) -> Iterator[House]:
    from streaming.bench.server import ServerProcess
    from tests.streaming.conftest import UNHURRIED, server_command
    from tests.streaming.netspace import netspace, why_none

    with ExitStack() as opened:
        space = None
        if not why_none():
            with suppress(subprocess.CalledProcessError):
                space = opened.enter_context(netspace())
        options: dict[str, Any] = {"rooms": 4, "rates": UNHURRIED, "worker": {"side": 384, "spare": False}}
        command = server_command()
        if space is not None:
            options["host"] = space.address
            command = (*space.command, *command)
        server = opened.enter_context(ServerProcess(options, command))
        address = "127.0.0.1" if space is None else space.address
        house = House(server, f"http://{address}:{server.about['port']}", space)
        until = time.monotonic() + 60
        while True:
            try:
                with urllib.request.urlopen(f"{house.origin}/readyz", timeout=5):
                    break
            except (urllib.error.URLError, OSError):
                assert time.monotonic() < until, server.log
                time.sleep(0.2)
        yield house


@pytest.fixture(scope="module")
def browsers(house: House, clip: Path) -> Iterator[Callable[[str, str], Caller]]:
    """Opens one further context at a link."""
    from streaming.bench.chromium import open_browser
    from tests.streaming.browser import Opened

    # a camera is given to http only where it is this machine's
    flags = (f"--unsafely-treat-insecure-origin-as-secure={house.origin}",)
    made: list[Any] = []
    with open_browser(clip, flags) as browser:

        def call(url: str, person: str) -> Caller:
            context = browser.new_context()
            opened = Opened(browser, context, ("status of 404", "status of 409", "ERR_", "Failed to load"))
            made.append(opened)
            return Caller(opened, url, person)

        yield call
        complaints = [complaint for opened in made for complaint in opened.complaints]
    assert not complaints


@pytest.fixture
def both(house: House, browsers: Callable[[str, str], Caller]) -> Iterator[tuple[Caller, Caller]]:
    first, second = house.links()
    ada, grace = browsers(first, "Ada"), browsers(second, "Grace")
    ada.join()
    assert "Nobody else is here" in ada.page.inner_text("#empty-text")
    grace.join()
    ada.until_live()
    grace.until_live()
    yield ada, grace
    for caller in (ada, grace):
        caller.opened.context.close()


def test_two_call_each_other(both: tuple[Caller, Caller], house: House, clip: Path, browsers: Any) -> None:
    """Each sees a portrait that moves, with the badge, and nothing of the other's camera; each hears the other, but not
    who is muted; a camera that is off leaves a portrait that idles, and who leaves is gone. There is no third seat."""
    ada, grace = both
    assert violet(first_frame(clip)) > allowed() + 10, "the driver has too little of the hue"
    for caller, other in ((ada, "Grace"), (grace, "Ada")):
        shown = caller.pictures(2.0)
        assert all(violet(picture) < allowed() for picture in shown)
        assert badge_is_on(shown[-1])
        assert caller.page.inner_text("#other-name") == other
        assert caller.hears() > 0

    third = browsers(house.links()[0], "Mallory")
    name = ada.page.url.rpartition("/")[2]
    third.page.goto(f"{house.origin}/?token={house.server.token}")
    third.page.goto(f"{house.origin}/room/{name}")
    third.page.click("#join:not([disabled])")
    third.page.wait_for_selector("#door-error:not([hidden])")
    assert "2 of 2 people are in this room" in third.page.inner_text("#door-error")
    third.opened.context.close()

    ada.page.click("#mute")
    grace.page.wait_for_selector("#other-muted:not([hidden])")
    assert any(grace.hears() < 1e-6 for _ in range(8)), "what was on its way is played out, and then nothing"
    ada.page.click("#mute")
    grace.page.wait_for_selector("#other-muted[hidden]", state="attached")
    assert grace.hears(3.0) > 0

    ada.page.click("#camera")
    grace.page.wait_for_selector("#other-camera:not([hidden])")
    grace.page.wait_for_timeout(2000)  # from wherever the face was to its rest
    idle = grace.pictures(IDLE_S, count=10)
    assert all(violet(picture) < allowed() for picture in idle)
    moved = np.mean([np.abs(picture.astype(int) - idle[0]).mean() for picture in idle])
    assert 0.1 < moved < 6.0, "it is to idle: neither frozen nor performing"
    ada.page.click("#camera")
    grace.page.wait_for_selector("#other-camera[hidden]", state="attached")
    assert all(violet(picture) < allowed() for picture in grace.pictures(1.0))

    ada.page.click("#leave")
    grace.page.wait_for_selector("#empty:not([hidden]) >> text=Nobody else is here")
    told = house.ask("GET", f"/api/v1/rooms/{name}")
    assert [member["person"] for member in told["members"]] == ["Grace"]
    ada.join()
    grace.until_live()


def test_a_cut_of_five_seconds_is_got_over(both: tuple[Caller, Caller], house: House) -> None:
    """Nothing arrives anywhere, media or requests; then both see each other move within three seconds."""
    if house.space is None:
        pytest.skip("this machine gives no network namespace: nothing can be cut")
    presented = """() => {
      window.presented ??= [];
      const other = document.querySelector("#other");
      const next = () => { window.presented.push(Date.now() / 1000); other.requestVideoFrameCallback(next); };
      other.requestVideoFrameCallback(next);
    }"""
    for caller in both:
        caller.page.evaluate(presented)
        caller.page.wait_for_function("() => window.presented.length > 5")
    house.space.cut()
    time.sleep(CUT_S)
    returned = time.time()
    house.space.join()
    for caller in both:
        caller.page.wait_for_function(
            "(since) => window.presented.filter((at) => at > since).length > 3", arg=returned, timeout=20_000
        )
    waited = [
        caller.page.evaluate(
            "(since) => window.presented.filter((at) => at > since + 0.05)[2] - since", returned
        )
        for caller in both
    ]
    print(f"seen again {waited[0]:.2f} s and {waited[1]:.2f} s after the network's return")
    assert max(waited) < BACK_S, waited
    for caller in both:
        caller.until_live()
