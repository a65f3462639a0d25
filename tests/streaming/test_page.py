"""The page before a stubbed server: what it says, what it sends, and how it gets up again."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

import numpy as np
import pytest

from engine.sample import sample_portrait
from streaming.bench.clip import write_y4m
from streaming.doors import HEADERS
from streaming.pages import STATIC

pytest.importorskip("playwright.sync_api", reason="Playwright is not installed (extra dev)")
pytestmark = pytest.mark.usefixtures("chromium")

ORIGIN = "http://localhost:1"
STUB = Path(__file__).with_name("page_stub.js")
TYPES = {".html": "text/html", ".js": "text/javascript", ".css": "text/css", ".svg": "image/svg+xml"}
SAMPLE = {"id": "a" * 64, "name": "sample.webp", "size": [720, 720], "faces": 1}
OTHER = {"id": "b" * 64, "name": "other.png", "size": [600, 800], "faces": 1}
INFO = {
    "version": "9.9", "source": SAMPLE, "sources": [SAMPLE], "codecs": ["vp8", "h264"], "codec": "auto",
    "drivers": ["camera", "demo"], "pass_through": False, "driver_pixels": False, "ice_servers": [],
    "limits": {"upload_bytes": 1 << 20, "statement": 300, "sessions": 4}, "worker": "ready",
}  # fmt: skip


@pytest.fixture(scope="module")
def browser(chromium: None, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    """One browser for all tests of this file, before whose camera a square moves."""
    from streaming.bench.chromium import open_browser

    clip = tmp_path_factory.mktemp("camera") / "square.y4m"
    pictures = []
    for step in range(30):
        planes = np.full((360, 320), 128, np.uint8)
        planes[100:160, 8 * step : 8 * step + 60] = 220
        pictures.append(planes)
    write_y4m(clip, pictures)
    with open_browser(clip) as opened:
        yield opened


@pytest.fixture
def served(browser: Any) -> Iterator[Callable[..., Any]]:
    """Opens the page; fails the test when it complained in the console or against its own policy."""
    contexts, complaints = [], []

    @contextmanager
    def serve(
        info: dict[str, Any] | None = None,
        upload: tuple[int, Any] | None = None,
        before: str = "",
        allow: tuple[int, ...] = (),
        **options: Any,
    ) -> Iterator[Any]:
        context = browser.new_context(**options)
        contexts.append(context)
        uploads: list[Any] = []
        kept = {source["id"]: source for source in (info or INFO).get("sources", INFO["sources"])}
        doors, allowed, withdrawn = {"open": True}, set[str](), list[str]()

        def answer(route: Any) -> None:
            address = urlsplit(route.request.url)
            if address.path.startswith("/api/") and not doors["open"]:
                route.fulfill(status=401, json={"error": {"kind": "TokenError", "message": "no"}})
            elif address.path == "/api/v1/info":
                now = INFO | (info or {}) | {"sources": list(kept.values())}
                route.fulfill(json=now, headers=HEADERS)
            elif address.path == "/api/v1/kill":
                route.fulfill(json={"killed": False}, headers=HEADERS)
            elif address.path == "/api/v1/consents":
                asked = parse_qs(address.query)["source"]
                records = [{"id": f"of {source[:4]}", "state": "valid"} for source in asked]
                route.fulfill(json={"consents": records, "holds": set(asked) <= allowed}, headers=HEADERS)
            elif address.path.startswith("/api/v1/consents/"):
                withdrawn.append(f"{route.request.method} {unquote(address.path).rpartition('/')[2]}")
                route.fulfill(json={}, headers=HEADERS)
            elif address.path == "/api/v1/sources":
                uploads.append(
                    parse_qs(address.query) | {"bytes": len(route.request.post_data_buffer or b"")}
                )
                status, body = upload or (500, {})
                if status == 201:
                    kept[body["id"]] = body
                route.fulfill(status=status, json=body, headers=HEADERS)
            elif address.path.endswith("/still.jpg") and address.path.split("/")[4] not in kept:
                message = "that source is not there any more; add it again"
                route.fulfill(status=404, json={"error": {"kind": "RequestError", "message": message}})
            elif address.path.endswith("/still.jpg") or "/pictures/" in address.path:
                route.fulfill(path=sample_portrait(), content_type="image/webp", headers=HEADERS)
            else:
                path = STATIC / (
                    address.path.removeprefix("/static/") if address.path != "/" else "index.html"
                )
                kind = TYPES[path.suffix]
                route.fulfill(path=path, headers=HEADERS | {"content-type": f"{kind}; charset=utf-8"})

        def heard_error(message: Any) -> None:
            # the browser's own lines about answers that a test asked for
            statuses = ([upload[0]] if upload else []) + ([404] if len(kept) < len(INFO["sources"]) else [])
            statuses += [] if doors["open"] else [401]
            expected = any(f"status of {status}" in message.text for status in [*statuses, *allow])
            if message.type == "error" and not expected:
                complaints.append(message.text)

        context.route("**/*", answer)
        context.add_init_script(path=STUB)
        if before:
            context.add_init_script(before)
        context.on("console", heard_error)
        context.on("weberror", lambda error: complaints.append(str(error.error)))
        page = context.new_page()
        page.set_default_timeout(15_000)
        page.uploads, page.kept, page.doors = uploads, kept, doors
        page.allowed, page.withdrawn = allowed, withdrawn
        page.goto(ORIGIN)
        page.wait_for_selector("html[data-phase=idle] #welcome:not([hidden])")
        yield page
        context.close()

    yield serve
    for context in contexts:
        context.close()
    assert not complaints


def live(page: Any, with_button: str = "#start") -> None:
    page.click(with_button)
    page.wait_for_selector("html[data-phase=live][data-picture=true]")
    page.wait_for_selector("#state[data-tone=good]")


def state(page: Any, text: str) -> None:
    """Waits until the state line says it."""
    page.wait_for_function(
        "text => document.querySelector('#state-text').textContent.includes(text)", arg=text
    )


def heard(page: Any, name: str) -> list[dict[str, Any]]:
    return page.evaluate("name => stub.of(name)", name)


def test_the_first_screen_offers_camera_demo_and_portrait(served) -> None:
    """The portrait, one primary button and the demo are there at once, and a quiet server brings no warning."""
    with served() as page:
        page.wait_for_selector("#still:not([hidden])")
        assert page.locator("button.primary:visible").all_inner_texts() == ["Start camera"]
        assert page.locator("#demo").is_visible()
        assert page.locator("#banner").is_hidden()
        assert "127.0.0.1" in page.inner_text("#privacy") or "localhost" in page.inner_text("#privacy")
        assert page.evaluate("document.querySelector('#camera').srcObject") is None


@pytest.mark.parametrize(
    ("allowed", "word"),
    [("pass_through", "your own camera picture"), ("driver_pixels", "inside of your mouth")],
)
def test_what_the_operator_allowed_is_shown(served, allowed: str, word: str) -> None:
    """Whoever stands before the camera reads it when driver's pixels may leave."""
    with served({allowed: True}) as page:
        assert word in page.inner_text("#banner")


def test_a_mark_that_is_off_is_shown(served) -> None:
    """Whoever is shown sees what the operator has taken off the picture."""
    with served({"marks": {"on": ["watermark"], "lowered": ["badge"]}}) as page:
        assert "has taken the badge off" in page.inner_text("#banner")


def test_every_cause_of_a_missing_camera_is_told_and_the_demo_is_the_way_out(served) -> None:
    """Each refusal has its own words, and nobody is left before a dead page."""
    causes = {
        "NotAllowedError": "refused", "NotFoundError": "absent", "NotReadableError": "taken",
        "OverconstrainedError": "unfit", "insecure": "insecure",
    }  # fmt: skip
    titles = set()
    with served() as page:
        for cause, kind in causes.items():
            page.evaluate(
                """cause => {
                    const media = Object.getPrototypeOf(navigator.mediaDevices);
                    media.getUserMedia = async () => { throw new DOMException("no", cause); };
                    if (cause === "insecure") Object.defineProperty(window, "isSecureContext", { value: false });
                }""",
                cause,
            )
            page.click("#retry" if titles else "#start")
            page.wait_for_selector(f"html[data-phase=blocked][data-trouble={kind}]")
            titles.add(page.inner_text("#trouble-title"))
            assert page.locator("#trouble-steps li").count() >= 1
        assert len(titles) == len(causes)
        live(page, "#trouble-demo")
        state(page, "demo")
        assert page.locator("#trouble").is_hidden()
        assert page.evaluate("stub.offers.at(-1).driver") == "demo"


def test_each_situation_has_its_own_words(served) -> None:
    """Waiting, held, faded, replaced and paused are told apart, on the picture too."""
    with served() as page:
        live(page)
        for report, words, chip in (
            ({"outcome": "waiting"}, "Looking for your face", True),
            ({"outcome": "held", "reason": "no face"}, "Face lost: the last picture is held", True),
            ({"outcome": "faded", "reason": "no face"}, "Face lost: the still portrait is shown", True),
            ({"outcome": "held", "reason": "no frames"}, "your camera sends nothing", True),
            ({"outcome": "held", "reason": "ValueError: points"}, "ValueError: points", True),
            ({"worker": "replacing"}, "being replaced", True),
            ({"paused": True}, "Paused", True),
            ({"outcome": "generated"}, "Live", False),
        ):
            page.evaluate("report => stub.tell(report)", report)
            state(page, words)
            assert page.locator("#chip").is_visible() == chip


def test_the_panel_shows_what_the_report_says(served) -> None:
    """Stages, age, drops and the browser's own figures are on the page."""
    with served() as page:
        live(page)
        page.click("#tab-latency")
        page.evaluate("stub.tell({})")
        page.wait_for_function("() => document.querySelector('#legend').textContent.includes('track')")
        assert page.inner_text("#age") == "22 · 33 ms"
        assert page.inner_text("#lag") == "14 ms"
        assert "9.3 ms" in page.inner_text("#legend") or "9.2 ms" in page.inner_text("#legend")
        assert "3 gave way to newer ones" in page.inner_text("#server-figures")
        widths = page.evaluate("[...document.querySelectorAll('#stack span')].map(it => it.offsetWidth)")
        assert widths[0] < widths[1] < widths[2]
        page.wait_for_function(
            "() => document.querySelector('#browser-figures').textContent.includes('Jitter buffer')"
        )
        page.wait_for_function("() => document.querySelector('#trip').textContent.includes('ms')")


def test_a_dropped_connection_comes_back_by_itself(served) -> None:
    """A lost link is replaced by another one, and what was set is said again."""
    with served() as page:
        live(page)
        page.click("#tab-motion")
        page.locator("#gains input").first.fill("2")
        page.wait_for_function("() => stub.of('change').length === 1")
        page.evaluate("stub.heard.length = 0; stub.drop()")
        page.wait_for_selector("html[data-phase=reconnecting] #veil:not([hidden])")
        page.wait_for_selector("html[data-phase=live] #state[data-tone=good]")
        assert page.evaluate("stub.offers.length") == 2
        page.wait_for_function("() => stub.of('change').length >= 1")
        assert heard(page, "change")[0]["change"]["controls"]["pose"] == 2
        assert page.evaluate("document.querySelector('#camera').srcObject.active")


def test_a_busy_server_is_asked_again_and_a_closed_door_is_not(served) -> None:
    """Busy passes; a wrong token does not, and one card says where to go: nothing under it can be used."""
    with served() as page:
        page.evaluate("stub.refuse = { status: 429, kind: 'BusyError', message: 'all places are taken' }")
        page.click("#demo")
        page.wait_for_selector("html[data-phase=reconnecting]")
        assert "all places are taken" in page.inner_text("#veil")
        page.evaluate("stub.refuse.status = 401")
        page.wait_for_selector("html[data-phase=locked] #locked[open]")
        assert "address that marotte printed" in page.inner_text("#locked")
        only_the_card_is_left(page)


def only_the_card_is_left(page: Any) -> None:
    assert page.locator("button:visible").all_inner_texts()[-1].startswith("I have opened it")
    reached = set()
    for _ in range(6):
        page.keyboard.press("Tab")
        reached.add(page.evaluate("document.activeElement.closest('main, header, footer')?.className ?? ''"))
    assert reached == {""}
    page.keyboard.press("Escape")
    page.keyboard.press("Escape")
    page.wait_for_selector("#locked[open]")
    assert page.evaluate("document.querySelector('#result').srcObject") is None
    page.wait_for_selector("#still:not([hidden])")
    assert page.locator("#start, #demo, #stop").locator("visible=true").count() == 0


def test_a_server_with_another_token_leaves_one_card(served) -> None:
    """Whatever is asked of a restarted server with a new token, a refused answer closes the page, until the printed
    address was opened: then the page loads anew."""
    with served() as page:
        page.doors["open"] = False
        drop_file(page, "other.png", b"bytes of a portrait")
        page.fill("#attest-by", "Ann")
        page.fill("#statement", "It is me")
        page.click("#attest-send")
        page.wait_for_selector("html[data-phase=locked] #locked[open]")
        assert page.locator("#attest").is_hidden()
        only_the_card_is_left(page)
        page.click("#unlock")
        page.wait_for_function(
            "() => document.querySelector('#locked-answer').textContent.includes('Not yet')"
        )
        page.doors["open"] = True
        page.click("#unlock")
        page.wait_for_selector("html[data-phase=idle] #welcome:not([hidden])")
        assert page.locator("#locked").is_hidden()


def test_a_reload_keeps_what_was_set_and_no_token(served) -> None:
    """Portrait, codec, size, mirror, view and controls stay with the tab."""
    with served({"sources": [SAMPLE, OTHER]}, allow=(404,)) as page:
        page.get_by_role("button", name=OTHER["name"]).click()
        page.select_option("#codec", "vp8")
        page.select_option("#size", "320x240")
        page.check("#mirror")
        page.click("#tab-motion")
        page.locator("#slider-mouth").fill("1.5")
        page.click("#tab-expression")
        page.locator("#slider-AU12").fill("0.5")
        live(page)
        page.check("[value=side]", force=True)
        assert page.evaluate("stub.offers.at(-1).codec") == "vp8"
        page.reload()
        page.wait_for_selector("html[data-phase=idle] #welcome:not([hidden])")
        assert page.locator("#gallery [aria-pressed=true]").get_attribute("title") == OTHER["name"]
        assert [page.input_value(name) for name in ("#codec", "#size")] == ["vp8", "320x240"]
        assert page.locator("#stage").get_attribute("data-view") == "side"
        live(page)
        page.wait_for_function("() => stub.of('change').length && stub.of('mirror').length")
        assert page.evaluate("stub.offers.at(-1)")["source"] == OTHER["id"]
        assert heard(page, "mirror") == [{"mirror": True}]
        controls = heard(page, "change")[0]["change"]["controls"]
        assert (controls["mouth"], controls["pose"], controls["au_offsets"]["AU12"]) == (1.5, 1, 0.5)
        stored = page.evaluate("JSON.stringify({...sessionStorage}) + JSON.stringify({...localStorage})")
        assert "token" not in stored.lower()
        del page.kept[OTHER["id"]]
        page.reload()
        page.wait_for_function("() => document.querySelector('#notices').textContent.includes('no longer')")
        assert page.locator("#gallery [aria-pressed=true]").get_attribute("title") == SAMPLE["name"]


@pytest.mark.full
def test_spoilt_memories_do_no_harm(served) -> None:
    """What stands in the tab's storage is checked before it is used."""
    spoilt = {
        "source": {"id": OTHER["id"]},
        "codec": "av9",
        "view": "x",
        "mirror": 1,
        "controls": {"pose": 9, "au_offsets": 1},
    }
    written = f"if (location.protocol === 'http:') sessionStorage.marotte = {json.dumps(json.dumps(spoilt))};"
    with served(before=written) as page:
        assert page.input_value("#codec") == "auto"
        assert page.locator("#stage").get_attribute("data-view") == "corner"
        assert page.input_value("#slider-pose") == "1"
        assert not page.is_checked("#mirror")


@pytest.mark.full
def test_a_portrait_that_the_server_lost_leaves_the_gallery(served) -> None:
    """Its tile goes with a word, and the server's first portrait stands in, in a call and after a restart."""
    with served({"sources": [SAMPLE, OTHER]}, allow=(404,)) as page:
        page.get_by_role("button", name=OTHER["name"]).click()
        live(page)
        del page.kept[OTHER["id"]]
        page.evaluate(
            "stub.say({ack: 1, error: 'source: not one that was accepted; send the picture first'})"
        )
        page.wait_for_function("id => stub.of('change').at(-1)?.change.source === id", arg=SAMPLE["id"])
        assert page.locator("#gallery button").count() == 1
        assert OTHER["name"] in page.inner_text("#notices")
        page.kept[OTHER["id"]] = OTHER
        page.reload()
        page.wait_for_selector("html[data-phase=idle] #welcome:not([hidden])")
        page.get_by_role("button", name=OTHER["name"]).click()
        live(page)
        del page.kept[OTHER["id"]]
        message = "that source is not there any more; add it again"
        refused = {"status": 422, "kind": "ConfigError", "only": OTHER["id"], "message": message}
        page.evaluate("refused => { stub.refuse = refused; stub.drop(); }", refused)
        page.wait_for_selector("html[data-phase=reconnecting]")
        page.wait_for_selector("html[data-phase=live] #state[data-tone=good]")
        assert page.evaluate("stub.offers.at(-1).source") == SAMPLE["id"]
        assert page.locator("#gallery button").count() == 1


@pytest.mark.full
def test_the_mirror_turns_both_or_none(served) -> None:
    """Off at first; on, the camera is mirrored in every view and the server is told, in this call and the next."""
    with served() as page:
        live(page)
        page.wait_for_function("() => stub.of('mirror').at(-1)?.mirror === false")
        mirrored = "getComputedStyle(document.querySelector('#camera')).scale"
        for on, scale in ((False, "none"), (True, "-1 1")):
            page.set_checked("#mirror", on)
            for view in ("corner", "side", "split"):
                page.check(f"[value={view}]", force=True)
                assert page.evaluate(mirrored) == scale, view
                assert page.locator(".code").is_hidden()
        page.wait_for_function("() => stub.of('mirror').at(-1).mirror === true")
        page.evaluate("stub.heard.length = 0; stub.drop()")
        page.wait_for_function("() => stub.of('mirror').at(-1)?.mirror === true")
        assert page.evaluate("getComputedStyle(document.querySelector('#result')).scale") == "none"


@pytest.mark.full
def test_notices_leave_the_privacy_line_and_go(served) -> None:
    """They lie on the picture, and end by themselves; what restarts a call says so."""
    with served() as page:
        live(page)
        page.select_option("#codec", "vp8")
        page.wait_for_function(
            "() => document.querySelector('#notices').textContent.includes('the call starts again')"
        )
        page.select_option("#size", "320x240")
        page.wait_for_function(
            "() => document.querySelector('#notices').textContent.includes('the camera starts')"
        )
        box = "id => { const b = document.querySelector(id).getBoundingClientRect(); return [b.top, b.bottom]; }"
        assert page.evaluate(box, ".notice")[1] < page.evaluate(box, "#stage")[1]
        assert page.evaluate(box, "#stage")[1] <= page.evaluate(box, "#privacy")[0]
        page.wait_for_selector(".notice", state="detached")


def test_after_a_stop_the_figures_are_old_ones(served) -> None:
    """The latency sheet says that it is stopped, and begins anew with the next call."""
    with served() as page:
        page.click("#tab-latency")
        assert page.locator("#stale").is_hidden()
        live(page)
        page.wait_for_function("() => document.querySelector('#age').textContent.includes('ms')")
        assert page.locator("#stale").is_hidden()
        page.click("#stop")
        assert page.inner_text("#stale").startswith("Stopped")
        assert page.locator("#sheet-latency").get_attribute("data-stale") == "true"
        live(page)
        assert page.locator("#stale").is_hidden()


def test_keys_begin_and_end_a_call_without_losing_their_place(served) -> None:
    """Start by key leads to Stop, and Stop back to Start."""
    with served() as page:
        focused = "document.activeElement.id"
        for begin in ("start", "demo"):
            page.focus(f"#{begin}")
            page.keyboard.press("Enter")
            page.wait_for_selector("html[data-phase=live]")
            assert page.evaluate(focused) == "stop"
            page.keyboard.press("Enter")
            page.wait_for_selector("html[data-phase=stopped]")
            assert page.evaluate(focused) == "start"


def test_what_cannot_be_used_in_the_demo_says_why(served) -> None:
    """Grey views and a grey Recalibrate have a reason; with a camera they say what they do."""
    with served(viewport={"width": 1100, "height": 800}) as page:
        live(page, "#demo")
        assert "demo" in (page.locator("#recalibrate").get_attribute("title") or "")
        assert "demo" in (page.locator("#views label").first.get_attribute("title") or "")
        page.click("#stop")
        live(page)
        assert "resting face" in (page.locator("#recalibrate").get_attribute("title") or "")
        assert page.locator("#views label span").first.is_visible()
        assert page.get_by_role("radio", name="Camera and portrait side by side").count() == 1


@pytest.mark.full
def test_unusual_words_are_explained(served) -> None:
    """Each has a tooltip, a description, and stands in a list of words; no label is a code."""
    with served() as page:
        live(page)
        page.click("#tab-latency")
        page.wait_for_function("() => document.querySelector('#legend').textContent.includes('track face')")
        page.click(".glossary summary")
        for word in page.locator("[data-word]").all():
            assert page.inner_text("#" + word.get_attribute("aria-describedby")) == word.get_attribute(
                "title"
            )
        shown = page.evaluate("document.querySelector('#panel').textContent.replace(/\\(p\\d+\\)/g, '')")
        for jargon in ("p50", "p95", "Filter lag", "AU12", "as tuned", "Taken as they stand"):
            assert jargon not in shown


def test_gains_end_where_a_face_still_holds(served) -> None:
    """Two is the most that the page offers."""
    with served() as page:
        most = page.evaluate("[...document.querySelectorAll('#gains input')].map((it) => it.max)")
        assert most
        assert set(most) == {"2"}


def test_sliders_send_one_change_per_frame_and_the_last_value(served) -> None:
    """A dragged slider does not flood the channel, and where it stops is what counts."""
    with served() as page:
        live(page)
        page.click("#tab-expression")
        page.evaluate(
            """async () => {
                const slider = document.querySelector("#slider-AU12");
                for (let step = 1; step <= 100; step++) {
                    slider.value = String(step / 100);
                    slider.dispatchEvent(new Event("input"));
                    if (step % 20 === 0) await new Promise(requestAnimationFrame);
                }
            }"""
        )
        page.wait_for_function("() => stub.of('change').at(-1)?.change.controls.au_offsets.AU12 === 1")
        changes = heard(page, "change")
        assert len(changes) <= 7
        assert all(len(json.dumps(change)) < 4096 for change in changes)
        assert len(changes[-1]["change"]["controls"]["au_offsets"]) == 17
        page.click("#reset-expression")
        page.wait_for_function("() => stub.of('change').at(-1).change.controls.au_offsets.AU12 === 0")


def test_buttons_say_what_they_do(served) -> None:
    """Recalibrate, pause and stop reach the server; a stop leaves nothing on the page and no camera light on."""
    with served() as page:
        live(page)
        page.click("#recalibrate")
        page.wait_for_function("() => stub.of('change').at(-1)?.change.recalibrate === true")
        page.click("#pause")
        page.wait_for_function("() => stub.of('pause').at(-1)?.pause === true")
        page.click("#pause")
        page.wait_for_function("() => stub.of('pause').at(-1)?.pause === false")
        page.evaluate("window.track = document.querySelector('#camera').srcObject.getTracks()[0]")
        page.click("#stop")
        assert page.evaluate("document.querySelector('#result').srcObject") is None
        assert page.evaluate("document.querySelector('#camera').srcObject") is None
        assert page.evaluate("window.track.readyState") == "ended"
        page.wait_for_function("() => stub.of('stop').length === 1 && stub.ended.length === 1")
        state(page, "Stopped")
        assert page.locator("#start").is_visible()


def drop_file(page: Any, name: str, data: bytes) -> None:
    page.locator("#file").set_input_files({"name": name, "mimeType": "image/png", "buffer": data})


def test_a_refused_portrait_says_why_and_the_running_one_goes_on(served) -> None:
    """The server's own words stand in the dialog, and no change was sent."""
    refused = (422, {"error": {"kind": "NoFaceError", "message": "no face was found in wall.png"}})
    with served(upload=refused) as page:
        live(page)
        drop_file(page, "wall.png", b"nothing that a browser shows")
        page.click("#attest-send")
        assert "Your name is needed" in page.inner_text("#attest-error")
        assert not page.uploads
        page.fill("#attest-by", "Ann")
        page.fill("#statement", "It is my wall")
        page.click("#attest-send")
        page.wait_for_function(
            "() => document.querySelector('#attest-error').textContent.includes('no face was found')"
        )
        said = {"kind": ["myself"], "attested_by": ["Ann"], "statement": ["It is my wall"]}
        assert page.uploads == [{"name": ["wall.png"], "bytes": 28} | said]
        page.click("#attest-cancel")
        assert page.locator("#attest").is_hidden()
        assert not heard(page, "change")
        state(page, "Live")
        drop_file(page, "giant.png", bytes(2 << 20))
        field, dialog = (page.locator(name).bounding_box() for name in ("#statement", "#attest"))
        assert field["width"] > 0.8 * dialog["width"], "without a preview its column is not kept free"
        page.wait_for_function("() => document.querySelector('#attest-error').textContent.includes('2.0 MB')")


def test_an_accepted_portrait_is_shown_and_asked_for_once(served) -> None:
    """Its statement goes with it; the same bytes again change the portrait without a question."""
    data = b"bytes of a portrait"
    accepted = OTHER | {"id": hashlib.sha256(data).hexdigest()}
    with served(upload=(201, accepted)) as page:
        live(page)
        drop_file(page, "other.png", data)
        page.fill("#attest-by", "Ann")
        page.click("#attest-send")
        page.wait_for_function("id => stub.of('change').at(-1)?.change.source === id", arg=accepted["id"])
        assert page.locator("#attest").is_hidden()
        page.locator("#gallery button").first.click()
        page.wait_for_function("id => stub.of('change').at(-1).change.source === id", arg=SAMPLE["id"])
        drop_file(page, "other.png", data)
        page.wait_for_function("id => stub.of('change').at(-1).change.source === id", arg=accepted["id"])
        assert page.locator("#attest").is_hidden()
        assert len(page.uploads) == 1


def test_glass_to_glass_is_measured_on_real_pictures(served) -> None:
    """The strip goes out on the camera's frames, comes back and is read; then the plain camera is sent again."""
    with served() as page:
        live(page)
        page.click("#tab-latency")
        page.click("#measure")
        page.wait_for_function("() => stub.of('measure').at(-1)?.measure === true")
        page.wait_for_function("() => parseInt(document.querySelector('#measure-count').textContent) > 10")
        assert page.locator("#measure-progress").is_visible()
        assert page.locator(".code").is_visible()
        assert "bar code" in page.inner_text("#measure-code")
        page.click("#measure")
        page.wait_for_function("() => stub.of('measure').at(-1).measure === false")
        assert re.match(r"\d+ of \d+ frames came back", page.inner_text("#measure-count"))
        assert page.locator("#measure-progress").is_hidden()
        p50, p95 = (float(page.inner_text(f"#measure-{p}").split()[0]) for p in ("p50", "p95"))
        assert 0 < p50 <= p95
        assert page.evaluate("document.querySelector('#camera').srcObject.active")
        page.click("#stop")
        assert page.locator("#measure").is_disabled()


def test_a_recording_becomes_a_file(served) -> None:
    """What was recorded is handed over as a video named after the portrait."""
    with served() as page:
        live(page, "#demo")
        page.click("#record")
        page.wait_for_function("() => /0:0[1-9]/.test(document.querySelector('#record-text').textContent)")
        assert page.locator("#record").get_attribute("aria-label") == "Stop recording"
        assert "Stop recording" in (page.locator("#record").get_attribute("title") or "")
        with page.expect_download() as download:
            page.click("#record")
        assert download.value.suggested_filename.startswith("marotte-sample-")
        head = Path(download.value.path()).read_bytes()[:16]
        assert head[:4] == b"\x1a\x45\xdf\xa3" or head[4:8] == b"ftyp"


def test_everything_is_reached_by_keyboard(served) -> None:
    """Tab walks in the order of reading, each stop is seen, and arrows walk along the tabs."""
    with served() as page:
        seen = []
        for _ in range(9):
            page.keyboard.press("Tab")
            seen.append(page.evaluate("document.activeElement.id || document.activeElement.className"))
            outline = page.evaluate("getComputedStyle(document.activeElement).outlineWidth")
            assert outline == "3px", seen[-1]
        assert seen[:6] == ["skip", "start", "demo", "link", "tab-setup", ""]
        page.focus("#tab-setup")
        page.keyboard.press("ArrowLeft")
        assert page.locator("#sheet-latency").is_visible()
        page.keyboard.press("Home")
        page.keyboard.press("ArrowRight")
        assert page.evaluate("document.activeElement.id") == "tab-motion"
        assert page.locator("#sheet-motion").is_visible()
        unnamed = page.evaluate(
            """() => [...document.querySelectorAll("button, input, select")].filter((it) =>
                !it.labels?.length && !it.getAttribute("aria-label") && !it.textContent.trim()
                && !it.querySelector("img[alt]")).map((it) => it.outerHTML)"""
        )
        assert unnamed == []


@pytest.mark.parametrize("width", [320, 390])
def test_a_phone_scrolls_in_one_direction_only(served, width: int) -> None:
    """Nothing is wider than the screen, before and in a call, on any tab; and motion is reduced where it is asked."""
    phone = {"viewport": {"width": width, "height": 700}, "has_touch": True, "is_mobile": True}
    with served(**phone, reduced_motion="reduce") as page:
        wide = "document.documentElement.scrollWidth > document.documentElement.clientWidth"
        assert not page.evaluate(wide)
        live(page)
        for tab in ("setup", "motion", "expression", "latency"):
            page.click(f"#tab-{tab}")
            assert not page.evaluate(wide), tab
            assert page.evaluate("visualViewport.scale") == 1
        page.evaluate("stub.tell({outcome: 'held', reason: 'no face', worker: 'ready'})")
        state(page, "Face lost")
        assert not page.evaluate(wide)
        page.evaluate("window.scrollTo(0, 400)")
        top = page.evaluate("document.querySelector('#stage').getBoundingClientRect().top")
        assert top >= 0, "the picture stays in sight while the sheet is scrolled"
        page.evaluate("stub.drop()")
        page.wait_for_selector("#veil:not([hidden])")
        assert (
            page.evaluate(
                "parseFloat(getComputedStyle(document.querySelector('.spinner')).animationDuration)"
            )
            < 0.01
        )


def test_the_views_show_what_they_say(served) -> None:
    """Corner, side by side, before / after and portrait alone."""
    with served(viewport={"width": 1280, "height": 800}) as page:
        live(page)
        box = "id => { const b = document.querySelector(id).getBoundingClientRect(); return [b.x, b.width]; }"
        page.check("[value=side]", force=True)
        (driver_x, driver_w), (result_x, result_w) = (
            page.evaluate(box, name) for name in (".driver", ".result")
        )
        assert driver_x < result_x
        assert abs(driver_w - result_w) < 4
        page.check("[value=split]", force=True)
        page.fill("#divider", "20")
        clip = page.evaluate("getComputedStyle(document.querySelector('.driver')).clipPath")
        assert "80%" in clip
        page.check("[value=result]", force=True)
        assert page.locator("#camera").is_hidden()
        page.check("[value=corner]", force=True)
        assert page.evaluate(box, ".driver")[1] < 0.4 * page.evaluate(box, "#stage")[1]
