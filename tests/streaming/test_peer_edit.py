"""A call in which bundle, mode and donors are chosen: what reaches the worker, and what leaves around a switch."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from engine.errors import ConfigError
from engine.media.planes import i420_of
from engine.types import U8, Mode
from engine.worker.interface import BundleInfo, SessionSpec, Stamp, WorkerConfig
from streaming.app import MOST_DONORS
from streaming.config import ServeConfig
from streaming.measured import NoRecorder
from streaming.sources import MOST_SOURCES
from tests.streaming.calls import (
    MAGENTA,
    Browser,
    Camera,
    FakeWorker,
    call,
    has_hue,
    open_peer,
    plain,
    source_info,
)
from tests.streaming.doorstep import Site, open_site

STILL = source_info()
EDITS = ServeConfig(worker=WorkerConfig(edit=True))
OFFERED = (
    BundleInfo("mesh_flow", "", "", "", (Mode.PUPPET,)),
    BundleInfo("small", "", "", "", (Mode.PUPPET, Mode.EDIT)),
    BundleInfo("swap", "", "", "", (Mode.EDIT,), frozenset({Mode.EDIT})),
)


class EditWorker(FakeWorker):
    """In an edit it gives back the driver's own frame, as the worst of workers would."""

    def bundles(self) -> tuple[BundleInfo, ...]:
        return OFFERED

    def picture_of(self, session: str, rgb: U8, stamp: Stamp) -> U8:
        spec = self.specs[session]
        return i420_of(rgb) if spec.mode is Mode.EDIT else self.picture(session)


@pytest.fixture
def worker() -> Iterator[EditWorker]:
    worker = EditWorker(STILL)
    worker.making = worker.picture_of
    worker.start()
    yield worker
    worker.close()


class Counted(NoRecorder):
    def __init__(self) -> None:
        self.shown: list[tuple[str, str]] = []

    def showing(self, session: str, bundle: str, mode: str) -> None:
        self.shown.append((bundle, mode))


def driver(number: int = 0) -> U8:
    return plain(MAGENTA, (360, 240))


def test_a_call_begins_with_what_its_offer_asks_for(worker: EditWorker) -> None:
    """Grey first, then the edited picture in the driver's size; reports and figures name bundle and mode."""
    counted = Counted()

    async def test() -> None:
        asked = {"bundle": "swap", "mode": "edit", "donors": ("still",)}
        async with call(worker, STILL, Camera(driver), config=EDITS, recorder=counted, **asked) as made:
            browser = made.browser
            spec = worker.specs[made.peer.session.id]
            assert (spec.bundle, spec.mode, spec.donors) == ("swap", Mode.EDIT, ("still",))
            await browser.until(lambda: browser.pictures[-1].shape == (360, 360))
            await browser.until(lambda: browser.report("size") == [360, 240])
            assert (browser.report("bundle"), browser.report("mode")) == ("swap", "edit")
        assert counted.shown == [("swap", "edit"), ("", "")]

    asyncio.run(test())


def test_after_the_answer_to_a_switch_nothing_of_the_former_leaves(worker: EditWorker) -> None:
    """The worker goes on with the driver's own picture: the viewer sees the portrait from then on."""

    async def test() -> None:
        async with call(
            worker, STILL, Camera(driver), config=EDITS, bundle="small", mode="edit", codec="vp8"
        ) as made:
            browser, session = made.browser, made.peer.session.id
            await browser.until(lambda: has_hue(browser.pictures[-1]))
            await browser.say(seq=1, change={"mode": "puppet"})
            await browser.until(lambda: browser.heard("ack"))
            await browser.until(lambda: browser.pictures[-1].shape == (360, 320))
            since = len(browser.pictures)
            await browser.until(lambda: len(browser.pictures) >= since + 3)
            assert not any(has_hue(picture) for picture in browser.pictures[since:])
            assert browser.report("dropped")["replaced"] > 0
            worker.specs[session] = SessionSpec("still", bundle="small", mode=Mode.PUPPET)
            await browser.until(lambda: browser.report("outcome") == "generated")
            assert browser.report("mode") == "puppet"
            await browser.say(seq=2, change={"bundle": "swap", "mode": "edit"})
            await browser.until(lambda: browser.pictures[-1].shape == (360, 360))
            grey = browser.pictures[-1][:240].astype(int)
            assert np.abs(grey[120:, :300] - 98).max() < 12
            assert not has_hue(browser.pictures[-1])

    asyncio.run(test())


@pytest.mark.parametrize(
    ("asked", "said"),
    [
        ({"bundle": "smal"}, "did you mean 'small'"),
        ({"mode": "edti"}, "did you mean 'edit'"),
        ({"bundle": "mesh_flow", "mode": "edit"}, "mesh_flow offers puppet"),
        ({"bundle": "small", "mode": "edit", "driver": "demo"}, "demo has no picture"),
        ({"donors": ("gone",)}, "donors: not all of them"),
        ({"donors": tuple("abcde")}, "at most 4"),
    ],
)
def test_an_offer_that_cannot_be_followed_opens_nothing(
    worker: EditWorker, asked: dict[str, Any], said: str
) -> None:
    """One line says which part of it is wrong."""

    async def test() -> None:
        browser = Browser(Camera(driver))
        with pytest.raises(ConfigError, match=said):
            await open_peer(
                await browser.offer(**asked),
                worker,
                STILL,
                config=EDITS,
                donors=lambda ids: set(ids) <= {"still"},
            )
        assert not worker.specs
        await browser.close()

    asyncio.run(test())


def test_an_edit_without_the_operators_word_is_refused(worker: EditWorker) -> None:
    """In an offer."""

    async def test() -> None:
        with pytest.raises(ConfigError, match="operator has not allowed edits"):
            async with call(worker, STILL, Camera(driver), bundle="small", mode="edit"):
                pass

    asyncio.run(test())


@pytest.fixture
def site(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Site]:
    monkeypatch.setenv("MAROTTE_STATE", str(tmp_path))
    with open_site(EDITS) as opened:
        yield opened


def test_donors_of_a_call_are_not_forgotten(site: Site) -> None:
    """However many pictures come after them; those that are none any more may go."""
    ids = [_added(site, name) for name in "abc"]
    answer = site.offer({"bundle": "swap", "mode": "edit", "donors": ids})
    (offer,) = site.peers.offers
    assert (offer.bundle, offer.mode, offer.donors) == ("swap", "edit", tuple(ids))
    hold = site.peers.sessions[answer.session]._showing._donors
    assert hold(ids[:2])
    assert not hold(["unheard of"])
    for number in range(MOST_SOURCES):
        _added(site, f"more {number}")
    kept = {source["id"] for source in site.ask("GET", "/api/v1/info").json["sources"]}
    assert set(ids[:2]) <= kept
    assert ids[2] not in kept
    assert hold([])
    for number in range(MOST_SOURCES):
        _added(site, f"even more {number}")
    assert kept.isdisjoint(
        {source["id"] for source in site.ask("GET", "/api/v1/info").json["sources"]} - {site.sources.first.id}
    )
    assert MOST_DONORS < MOST_SOURCES


def _added(site: Site, content: str) -> str:
    answer = site.ask(
        "POST", "/api/v1/sources?name=a.jpg&kind=generated+person&attested_by=a+test", content.encode()
    )
    assert answer.status == 201
    return str(answer.json["id"])
