"""The page's card of an enrolment in a real browser with a camera, before real doors and a fake `marotte enrol`.

No engine stands behind it; tests/streaming/test_live_enrol.py has one.
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Iterator
from concurrent.futures import Future
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from engine.consent import Store
from engine.media import write_picture
from engine.types import Mode
from engine.worker.interface import BundleInfo
from streaming import enrolment
from streaming.bench.clip import write_y4m
from streaming.config import ServeConfig
from streaming.enrolment import Enrolments
from streaming.measured import NoRecorder
from streaming.uploads import Upload
from tests.streaming.doorstep import TOKEN, FakeWorker, Site, open_site
from tests.streaming.enrolling import FAKE, FakeOffering, write_clip, write_weights

pytest.importorskip("playwright.sync_api", reason="Playwright is not installed (extra dev)")
pytestmark = [pytest.mark.full, pytest.mark.usefixtures("chromium")]


class Worker(FakeWorker, FakeOffering):
    """Offers what is added to it."""

    def __init__(self) -> None:
        FakeWorker.__init__(self)
        FakeOffering.__init__(self)
        self.added: list[BundleInfo] = []

    def bundles(self) -> tuple[BundleInfo, ...]:
        return (*super().bundles(), *self.added)

    def add_bundle(self, bundle: str) -> Future[BundleInfo]:
        opened = super().add_bundle(bundle)
        title = json.loads((Path(bundle) / "manifest.json").read_text())["title"]
        self.added.append(dataclasses.replace(opened.result(), title=title, modes=tuple(Mode)))
        return opened

    def drop_bundle(self, name: str) -> None:
        super().drop_bundle(name)
        self.added = [info for info in self.added if info.name != name]


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
def weights(tmp_path: Path) -> Path:
    return write_weights(tmp_path / "weights")


@pytest.fixture
def site(tmp_path: Path, weights: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Site]:
    monkeypatch.setenv("MAROTTE_STATE", str(tmp_path / "state"))
    with enrolling("stit", weights, tmp_path, monkeypatch) as opened:
        yield opened


@contextmanager
def enrolling(system: str, weights: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Site]:
    monkeypatch.setattr(enrolment, "NEEDS_BYTES", 0)
    config = ServeConfig(enrol={system: weights}, enrolments=tmp_path / "enrolments", enrol_command=FAKE)
    worker = Worker()
    enrolments = Enrolments(config, worker, NoRecorder())
    enrolments.start()
    try:
        with open_site(config, worker=worker, enrolments=enrolments) as opened:  # type: ignore[arg-type]
            yield opened
    finally:
        enrolments.close()


@pytest.fixture
def page(site: Site, browser: Any) -> Iterator[Any]:
    with complaining(site, browser) as opened:
        yield opened


@contextmanager
def complaining(site: Site, browser: Any) -> Iterator[Any]:
    """The page; fails the test when it complained in the console or against its own policy."""
    complaints: list[str] = []
    context = browser.new_context()
    context.on("console", lambda message: message.type == "error" and complaints.append(message.text))
    context.on("weberror", lambda error: complaints.append(str(error.error)))
    opened = context.new_page()
    opened.set_default_timeout(30_000)
    opened.goto(f"http://127.0.0.1:{site.port}/?token={TOKEN}")
    opened.wait_for_selector("#enrol:not([hidden])")
    yield opened
    context.close()
    assert not complaints


def test_a_person_is_recorded_enrolled_and_turned_to(page: Any, weights: Path, tmp_path: Path) -> None:
    """No picture before consent; a real recording of the camera, looked at by the server; progress, cancel, going on;
    the bundle is chosen by itself when it is there, and gone from the list when it is removed."""
    (weights / "steps").write_text("10")
    (weights / "wait").write_text("2")
    page.click("#enrol-open")
    page.fill("#enrol-name", "Ann")
    for ready in (False, False, True):
        assert page.is_enabled("#enrol-record") == page.is_enabled("#enrol-choose") == ready
        if page.input_value("#enrol-by"):
            page.check("#enrol-consent")
        else:
            page.fill("#enrol-by", "Ann")
    page.click("#enrol-record")
    page.wait_for_function("() => document.querySelector('#enrol-preview').srcObject?.active")
    page.wait_for_selector("#enrol-record:not([disabled])")  # after the shortest that makes sense
    assert page.is_disabled("#enrol-send")
    page.click("#enrol-record")
    page.click("#enrol-send")
    page.wait_for_selector("#enrolments .note:has-text('Starting')")
    assert page.locator("#enrol-dialog").is_hidden()
    page.click("#enrolments button:has-text('Cancel')")
    page.wait_for_selector("#enrolments .note:has-text('Stopping')")
    (weights / "wait").write_text("0.3")
    page.reload()  # by another page than it was begun by
    page.wait_for_selector("#enrolments .note:has-text('it was cancelled')", timeout=90_000)
    page.click("#enrolments button:has-text('Go on')")
    page.wait_for_selector("#enrolments progress[value]")
    assert "Tuning to it" in page.inner_text("#enrolments .note")
    page.wait_for_selector("#enrolments .note:has-text('its recording is gone')")
    page.click("#enrolments button:has-text('Turn to it')")
    assert page.locator("#bundle option:checked").inner_text() == "Ann (STIT)"
    started = json.loads((weights / "started").read_text().splitlines()[0])
    assert started["words"][1].endswith("1-recording.webm")
    assert not any(
        word.startswith("--consent") for word in started["words"]
    )  # the record is found by the files
    assert "Ann" in {record.shown for record in Store().all()}
    page.click("#enrolments button:has-text('Remove')")
    page.wait_for_selector("#enrolments li", state="detached")
    page.wait_for_selector("#bundle option >> nth=1", state="detached")
    assert list((tmp_path / "enrolments").iterdir()) == []


def test_it_is_turned_to_by_itself_unless_that_was_not_wished(page: Any, weights: Path) -> None:
    """The page that asked for it turns; the same from a file, which is sent without a camera."""
    clip = write_clip(weights / "clip.mp4")

    for name, wished in (("Ann", False), ("Bob", True)):
        page.click("#enrol-open")
        page.fill("#enrol-name", name)
        page.fill("#enrol-by", "Ann")
        page.fill("#enrol-statement", "A drawing")
        page.check("#enrol-consent")
        page.set_checked("#enrol-turn", wished)
        page.set_input_files("#enrol-file", clip)
        page.click("#enrol-send")
        page.wait_for_selector(f"#enrolments li:has-text('{name}'):has-text('its recording is gone')")
        page.wait_for_selector(f"#bundle option:has-text('{name}')", state="attached")
        chosen = page.locator("#bundle option:checked").inner_text()
        assert chosen == ("Bob (STIT)" if wished else "Mesh flow")


@pytest.mark.full
def test_photos_are_enrolled_and_who_they_show_is_turned_to(
    browser: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Several are one person, taken by name where that is ticked; when the bundle is there, the person whom it holds
    is a portrait of the page, and chosen."""
    monkeypatch.setenv("MAROTTE_STATE", str(tmp_path / "state"))
    monkeypatch.setattr(enrolment, "upload_of", lambda bundle, name: Upload(b"pictures", name))
    weights = write_weights(tmp_path / "weights", "liquid_warping")
    paths = [tmp_path / f"{number}.png" for number in range(2)]
    for path in paths:
        write_picture(path, np.full((160, 160, 3), 90, np.uint8))
    with (
        enrolling("liquid_warping", weights, tmp_path, monkeypatch) as site,
        complaining(site, browser) as page,
    ):
        page.click("#enrol-open")
        page.fill("#enrol-name", "Ann")
        page.fill("#enrol-by", "Ann")
        page.fill("#enrol-statement", "A drawing")
        page.check("#enrol-consent")
        page.set_input_files("#enrol-file", paths[:1])
        assert page.locator("#enrol-accept-field").is_hidden()
        page.set_input_files("#enrol-file", paths)
        page.check("#enrol-accept")
        page.click("#enrol-send")
        page.wait_for_selector(
            "#bundle option:checked:has-text('Ann (Liquid Warping GAN)')", state="attached"
        )
        page.wait_for_selector("#gallery button[title=Ann][aria-pressed=true]")
    words = json.loads((weights / "started").read_text().splitlines()[0])["words"]
    assert [word.rpartition("-")[2] for word in words[1:3]] == ["0.png", "1.png"]
    assert "--accept=different-people" in words


def test_the_section_is_hidden_where_nobody_is_enrolled(
    browser: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nothing of it is to be seen or pressed."""
    monkeypatch.setenv("MAROTTE_STATE", str(tmp_path / "state"))
    with open_site() as site:
        context = browser.new_context()
        page = context.new_page()
        page.goto(f"http://127.0.0.1:{site.port}/?token={TOKEN}")
        page.wait_for_selector("html[data-phase=idle] #welcome:not([hidden])")
        assert page.locator("#enrol").is_hidden()
        context.close()
