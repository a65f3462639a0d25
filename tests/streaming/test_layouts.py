"""The doors of a brush: what a session draws, what is painted on it, and label pictures."""

from __future__ import annotations

import base64
import json
from collections.abc import Iterator
from concurrent.futures import Future
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from engine.errors import ConfigError, InputError, WorkerError
from engine.marks.badge import Badge
from engine.media import decode_picture
from engine.parsing.classes import CELEBAMASK
from engine.parsing.runs import MOST_RUNS, decode
from engine.worker.changes import parse
from engine.worker.interface import Look
from engine.worker.sources import with_labels
from streaming import layouts
from tests.streaming.doorstep import FakePeers, FakeWorker, Site, open_site

ADD = "/api/v1/sources?name=me.png&kind=myself&attested_by=Ann&statement=It+is+me"


PICTURE = cv2.imencode(".jpg", np.full((256, 256, 3), 180, np.uint8))[1].tobytes()


class Painter(FakeWorker):
    """Tells a layout of its own, and keeps the bytes of the sources that it was given."""

    def __init__(self) -> None:
        super().__init__()
        self.asked: list[tuple[str, bool]] = []
        self.given: list[bytes] = []
        self.fails: Exception | None = None

    def look(self, session: str, *, rest: bool = False) -> Future[Look]:
        self.asked.append((session, rest))
        found: Future[Look] = Future()
        if self.fails is not None:
            found.set_exception(self.fails)
        else:
            found.set_result(Look(PICTURE, ((13, 256),)))
        return found

    def add_source(self, data: bytes, name: str) -> Any:
        self.given.append(data)
        return super().add_source(data, name)


class Peers(FakePeers):
    """Whose calls take changes."""

    def __init__(self) -> None:
        super().__init__()
        self.changes: list[Any] = []

    async def __call__(self, *given: Any, **named: Any) -> Any:
        peer = await super().__call__(*given, **named)

        def change(what: Any) -> int:
            parse(what)
            self.changes.append(what)
            return len(self.changes)

        peer.session.change = change
        return peer


@pytest.fixture
def peers() -> Peers:
    return Peers()


@pytest.fixture
def site(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, peers: Peers) -> Iterator[Site]:
    monkeypatch.setenv("MAROTTE_STATE", str(tmp_path))
    with open_site(worker=Painter(), open_peer=peers) as opened:
        yield opened


def session(site: Site) -> str:
    return str(site.offer().session)


def test_a_layout_is_given_with_its_picture(site: Site) -> None:
    """As it is now, or as the portrait lies there, with the marks on what was generated; what has drawn nothing yet
    says so, and so does a worker away."""
    name = session(site)
    told = site.ask("GET", f"/api/v1/sessions/{name}/layout").json
    assert told["labels"] == [[13, 256]]
    given, shown = (decode_picture(one, "layout") for one in (PICTURE, base64.b64decode(told["picture"])))
    x0, y0, x1, y1 = Badge((256, 256)).box
    changed = np.abs(shown.astype(int) - given)
    assert changed[y0:y1, x0:x1].mean() > 40
    assert 0 < changed[100:].mean() < 6
    site.ask("GET", "/api/v1/sessions/any/layout?rest=1")
    assert site.worker.asked == [(name, False), ("any", True)]
    site.worker.fails = InputError("layout: nothing was drawn yet")
    refused = site.ask("GET", "/api/v1/sessions/any/layout")
    assert (refused.status, refused.error) == (409, ("InputError", "layout: nothing was drawn yet"))
    site.worker.fails = WorkerError("layout: away")
    assert site.ask("GET", "/api/v1/sessions/any/layout").status == 503


def test_a_painting_is_a_change_of_its_session(site: Site, peers: Peers) -> None:
    """As many runs as there may be; none take it away."""
    name = session(site)
    runs = [[index % 19, 1] for index in range(MOST_RUNS - 1)] + [[255, 512 * 512 - MOST_RUNS + 1]]
    for number, painted in enumerate((runs, []), 1):
        answer = site.ask("PUT", f"/api/v1/sessions/{name}/painting", json.dumps(painted).encode())
        assert (answer.status, answer.json) == (200, {"changes": number})
        assert peers.changes[-1] == {"controls": {"painted": painted}}


@pytest.mark.parametrize(
    ("body", "status", "told"),
    [
        (b"[[1,", 400, "expected JSON"),
        (b'{"painted": 1}', 400, "a list of runs"),
        (b"[[19, 256]]", 400, "expected classes 0 .. 18"),
        (b"[[1, 255]]", 400, "square"),
        (b"[" * 100_000, 400, "expected JSON"),
        (b"[1, 2]", 400, "pairs"),
        (b"x" * (layouts.MOST_PAINTED_BYTES + 1), 413, "bytes are read"),
    ],
)
def test_what_is_no_painting_changes_nothing(
    site: Site, peers: Peers, body: bytes, status: int, told: str
) -> None:
    """Told in one line; the session goes on as it was."""
    answer = site.ask("PUT", f"/api/v1/sessions/{session(site)}/painting", body)
    assert answer.status == status
    assert told in answer.error[1]
    assert not peers.changes


def test_a_session_that_is_gone_is_not_painted_on(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    """404; and what its call refuses is a 422."""
    assert site.ask("PUT", "/api/v1/sessions/gone/painting", b"[]").status == 404

    def refuse(self: Any, session: str, change: object) -> int:
        raise ConfigError("change: nothing is generated in pass-through")

    monkeypatch.setattr("streaming.calls.Calls.change", refuse)
    refused = site.ask("PUT", "/api/v1/sessions/any/painting", b"[]")
    assert (refused.status, refused.error[0]) == (422, "ConfigError")


def test_paintings_are_limited_in_their_rate(site: Site) -> None:
    """Twenty at once, then some of them every second."""
    statuses = [site.ask("PUT", "/api/v1/sessions/gone/painting", b"[]").status for _ in range(40)]
    assert 429 in statuses
    assert statuses[:15] == [404] * 15


def test_a_label_picture_is_read(site: Site) -> None:
    """Its colours or numbers as runs; what is no class says where."""
    labels = np.zeros((32, 32), np.uint8)
    labels[4:9, 4:9] = 13
    for picture in (labels, CELEBAMASK.palette[labels][..., ::-1]):
        body = cv2.imencode(".png", picture)[1].tobytes()
        assert (decode(site.ask("POST", "/api/v1/labels?name=a.png", body).json["labels"]) == labels).all()
    body = cv2.imencode(".png", labels * 2)[1].tobytes()
    refused = site.ask("POST", "/api/v1/labels?name=a.png", body)
    assert refused.status == 422
    assert "a.png: got 26 at x=4, y=4" in refused.error[1]


def test_a_source_comes_with_its_labels(site: Site) -> None:
    """The last bytes, as many as are told; a number that cannot be is refused."""
    assert site.ask("POST", f"{ADD}&labels=6", b"a picturelabels").status == 201
    assert site.worker.given[-1] == with_labels(b"a picture", b"labels")
    for count in ("0", "15", "-1", "six", "99999999999"):
        refused = site.ask("POST", f"{ADD}&labels={count}", b"a picturelabels")
        assert (refused.status, refused.error[0]) == (400, "RequestError")
    assert len(site.worker.given) == 2  # the operator's own, and the one above


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", "/api/v1/sessions/0/layout"),
        ("PUT", "/api/v1/sessions/0/painting"),
        ("POST", "/api/v1/labels"),
    ],
)
def test_without_the_token_nothing_is_told_or_taken(site: Site, method: str, path: str) -> None:
    """Whether a session is there or not."""
    assert site.ask(method, path, token=None).status == 401
    assert not site.worker.asked
