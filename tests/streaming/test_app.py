"""The routes, in front of a worker and peers that do what the test wants."""

from __future__ import annotations

import shutil
import threading
from collections.abc import Iterator
from concurrent.futures import Future
from pathlib import Path

import cv2
import numpy as np
import pytest

from engine.consent import Store
from engine.errors import (
    DecodeError,
    InputError,
    MarotteError,
    ModelError,
    NoFaceError,
    TooLargeError,
    TooSmallError,
    WorkerError,
)
from engine.worker import holdings, sources
from engine.worker.interface import SourceInfo, State, WorkerConfig
from streaming.config import MOST_UPLOAD_BYTES, ServeConfig
from streaming.pages import Pages
from streaming.peer import Peer
from streaming.sources import MOST_SOURCES
from streaming.tokens import Tokens, key_of, scope_of
from streaming.uploads import MOST_TOGETHER
from tests.streaming.doorstep import SDP, TOKEN, Site, open_site

ADD = "/api/v1/sources?name=me.jpg&kind=myself&attested_by=Ann&statement=It+is+me"


@pytest.fixture
def state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("MAROTTE_STATE", str(tmp_path / "state"))
    return tmp_path / "state"


@pytest.fixture
def site(state: Path) -> Iterator[Site]:
    with open_site(ServeConfig(worker=WorkerConfig(sessions=2, add_s=0.3))) as opened:
        yield opened


def _statements(state: Path) -> list[str]:
    return [record.statement for record in sorted(Store(state).all(), key=lambda one: one.made)]


def test_info_tells_what_a_page_needs(site: Site) -> None:
    """Every field of docs/live.md."""
    info = site.ask("GET", "/api/v1/info").json
    first = info["source"]
    assert first["consent"]["statement"] == "the tests allow it"
    assert info["consent_kinds"] == [
        "myself", "generated person", "public-domain artwork", "written consent",
    ]  # fmt: skip
    assert {name: value for name, value in first.items() if name != "consent"} == {
        "id": site.sources.first.id,
        "name": "first.png",
        "size": [32, 32],
        "faces": 1,
        "notes": [],
        "remarks": [],
        "pictures": [],
    }
    assert info["sources"] == [first]
    assert info["codecs"] == ["vp8", "h264"]
    assert info["drivers"] == ["camera", "demo", "tracker"]
    assert info["limits"] == {
        "upload_bytes": MOST_UPLOAD_BYTES, "pictures": 8, "pictures_bytes": MOST_TOGETHER, "statement": 300,
        "sessions": 2, "donors": 4,
    }  # fmt: skip
    assert info["bundles"][1] == {
        "name": "swap", "title": "A swap", "system": "geogan", "licence": "CC0-1.0", "aus": False,
        "directions": [], "outputs": [], "heeds": [], "pictures": 1, "own": None,
        "modes": {"edit": {"takes_source": True, "removes": True}},
    }  # fmt: skip
    assert info["expressions"]["happiness"] == {"AU06": 1.0, "AU12": 1.0}
    assert (len(info["parts"]), info["parts"][13]) == (19, {"name": "hair", "colour": [0, 0, 204]})
    assert info["edit"] is False
    assert info["enrol"] is None
    assert (info["codec"], info["pass_through"], info["driver_pixels"]) == ("auto", False, False)
    assert info["marks"] == {"on": ["badge", "watermark"], "lowered": []}
    assert (info["ice_servers"], info["worker"]) == ([], "ready")
    assert set(info) == {
        "version", "source", "sources", "codecs", "codec", "drivers", "pass_through", "sound", "driver_pixels",
        "ice_servers", "limits", "worker", "bundles", "parts", "expressions", "edit", "enrol", "mediapipe",
        "rooms", "trackers", "consent_kinds", "recordings", "marks", "admin",
    }  # fmt: skip
    assert info["admin"] is True
    guest = Tokens(key_of(TOKEN)).issue([scope_of("api")], 60.0)[0]
    assert site.ask("GET", "/api/v1/info", token=guest).json["admin"] is False


def test_a_source_is_accepted_recorded_and_shown(site: Site, state: Path) -> None:
    """201, a record of consent, a place among the sources, and its still as JPEG."""
    added = site.ask("POST", ADD, b"a picture")
    assert (added.status, added.json["name"]) == (201, "me.jpg")
    assert set(_statements(state)) == {"the tests allow it", "It is me"}
    assert added.json["consent"]["attested_by"] == "Ann"
    assert [source["id"] for source in site.ask("GET", "/api/v1/info").json["sources"]][1] == added.json["id"]
    still = site.ask("GET", f"/api/v1/sources/{added.json['id']}/still.jpg")
    assert (still.status, still.headers["Content-Type"]) == (200, "image/jpeg")
    picture = cv2.imdecode(np.frombuffer(still.body, np.uint8), cv2.IMREAD_COLOR)
    assert picture is not None
    assert picture.shape == (32, 32, 3)
    assert site.recorder.added == ["accepted"]


@pytest.mark.parametrize(
    "query",
    [
        "statement=It+is+me",
        "kind=mine&attested_by=Ann",
        "kind=myself",
        "kind=sample&attested_by=Ann",
        "kind=myself&attested_by=Ann&statement=a%0Ab",
        f"kind=myself&attested_by=Ann&statement={'x' * 301}",
        "kind=written+consent&attested_by=Ann&shown=Bob",
        "kind=public-domain+artwork&attested_by=Ann",
        "kind=myself&attested_by=Ann&scope=everything",
        "kind=myself&attested_by=Ann&expires=tomorrow",
    ],
)
def test_what_no_record_could_hold_is_refused(site: Site, query: str) -> None:
    """Before its bytes are read, and nobody prepares it."""
    refused = site.ask("POST", f"/api/v1/sources?name=a.jpg&{query}", b"a picture")
    assert refused.status == 422
    assert refused.error[0] == "ConfigError"
    assert len(site.worker.sources) == 1


def test_what_cannot_be_recorded_is_not_shown(site: Site, state: Path) -> None:
    """Fail closed: without its record a source is forgotten again."""
    shutil.rmtree(state / "consent")
    (state / "consent").write_text("")
    refused = site.ask("POST", ADD, b"a picture")
    assert refused.status == 503
    assert refused.error[0] == "StateError"
    (dropped,) = site.worker.dropped
    assert site.ask("GET", f"/api/v1/sources/{dropped}/still.jpg").status == 404
    assert site.offer({"source": dropped}).status == 422
    assert len(site.ask("GET", "/api/v1/info").json["sources"]) == 1


@pytest.mark.parametrize(
    ("error", "status"),
    [
        (NoFaceError("me.jpg: no face found"), 422),
        (DecodeError("me.jpg cannot be decoded"), 422),
        (TooSmallError("me.jpg: too small"), 422),
        (InputError("me.jpg cannot be read"), 422),
        (TooLargeError("me.jpg: scale it down first"), 413),
        (WorkerError("the worker is being replaced"), 503),
        (ModelError("a model is missing"), 503),
    ],
)
def test_a_source_that_cannot_be_used_says_why(
    site: Site, state: Path, error: MarotteError, status: int
) -> None:
    """The worker's own words, the error's kind, and nothing in the record."""
    site.worker.prepare = lambda info, future: future.set_exception(error)
    refused = site.ask("POST", ADD, b"a picture")
    assert refused.status == status
    assert refused.error == (type(error).__name__, str(error))
    assert len(_statements(state)) == 1
    assert site.recorder.added == [type(error).__name__]


def test_a_source_that_takes_too_long_is_given_up(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    """504; when it is ready after all, it is forgotten."""
    monkeypatch.setattr("streaming.sources._SLACK_S", 0.0)
    late: list[tuple[SourceInfo, Future[SourceInfo]]] = []
    site.worker.prepare = lambda info, future: late.append((info, future))
    refused = site.ask("POST", ADD, b"a picture")
    assert (refused.status, refused.error[0]) == (504, "WorkerError")
    ((info, future),) = late
    future.set_result(info)
    assert site.worker.dropped == [info.id]


def test_the_workers_own_deadline_is_a_504_too(site: Site) -> None:
    """Whoever notices first."""

    def overdue(info: SourceInfo, future: Future[SourceInfo]) -> None:
        threading.Timer(0.35, future.set_exception, [WorkerError("it took too long")]).start()

    site.worker.prepare = overdue
    assert site.ask("POST", ADD, b"a picture").status == 504


def test_one_source_is_added_at_a_time(site: Site) -> None:
    """A second upload is told to wait, so that memory is bounded; afterwards the way is free."""
    held: list[tuple[SourceInfo, Future[SourceInfo]]] = []
    came = threading.Event()

    def hold(info: SourceInfo, future: Future[SourceInfo]) -> None:
        held.append((info, future))
        came.set()

    site.worker.prepare = hold
    answers: list[int] = []
    first = threading.Thread(target=lambda: answers.append(site.ask("POST", ADD, b"a picture").status))
    first.start()
    assert came.wait(10)
    refused = site.ask("POST", ADD, b"another")
    assert (refused.status, refused.error[0]) == (429, "BusyError")
    ((info, future),) = held
    future.set_result(info)
    first.join(10)
    assert answers == [201]
    site.worker.prepare = lambda info, future: future.set_result(info)
    assert site.ask("POST", ADD, b"another").status == 201


def test_an_upload_that_is_too_large_leaves_the_way_free(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    """413 while it comes in, nothing reaches the worker, and the next one may come."""
    monkeypatch.setattr("streaming.uploads.MOST_UPLOAD_BYTES", 1000)
    assert site.ask("POST", ADD, iter([bytes(600)] * 3)).status == 413
    assert site.ask("POST", ADD, bytes(1001)).status == 413
    assert len(site.worker.sources) == 1
    assert site.ask("POST", ADD, bytes(1000)).status == 201


def test_the_oldest_unused_source_goes(site: Site) -> None:
    """Few are kept; the operator's stays, and so does what a session shows."""
    first = site.sources.first.id
    ids = [site.ask("POST", ADD, f"{n}".encode()).json["id"] for n in range(MOST_SOURCES - 1)]
    assert site.offer({"source": ids[0]}).status == 201
    assert site.ask("GET", f"/api/v1/sources/{ids[1]}/still.jpg").status == 200  # counts as used now
    new = site.ask("POST", ADD, b"one more").json["id"]
    assert site.worker.dropped == [ids[2]]
    kept = {source["id"] for source in site.ask("GET", "/api/v1/info").json["sources"]}
    assert kept == {first, new, *ids} - {ids[2]}


def test_the_worker_keeps_what_is_kept_here() -> None:
    """One more is there while it is added, and neither kind of worker then forgets one that counts here."""
    assert min(holdings.SOURCES_KEPT, sources.KEPT) > MOST_SOURCES


def test_sources_that_are_all_in_use_are_kept(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    """Rather no new one than one fewer under a session."""
    ids = [site.ask("POST", ADD, f"{n}".encode()).json["id"] for n in range(MOST_SOURCES - 1)]
    site.sources.in_use = lambda: ids
    refused = site.ask("POST", ADD, b"one more")
    assert (refused.status, refused.error[0]) == (429, "BusyError")
    assert site.worker.dropped == []


def test_a_source_that_a_session_turned_to_is_kept(site: Site) -> None:
    """What a peer looks up is what it is about to show."""
    ids = [site.ask("POST", ADD, f"{n}".encode()).json["id"] for n in range(3)]
    session = site.offer().session
    sources = site.peers.sessions[session]._sources
    assert sources("unknown") is None
    assert sources(ids[0]).id == ids[0]
    assert set(site.sources.in_use()) == {site.sources.first.id, ids[0]}
    site.ask("DELETE", f"/api/v1/sessions/{session}")
    assert set(site.sources.in_use()) == set()


def test_a_session_is_opened_and_ended(site: Site) -> None:
    """What the page asked for reaches the peer, cleaned; its end is answered when the output has ended."""
    opened = site.offer({"driver": "camera", "codec": "vp8"})
    (session,) = site.peers.sessions
    assert (opened.status, opened.session) == (201, session)
    (offer,) = site.peers.offers
    assert (offer.source, offer.driver, offer.codec) == (site.sources.first.id, "camera", "vp8")
    assert " tcp " in SDP
    assert " tcp " not in offer.sdp
    assert site.ask("DELETE", f"/api/v1/sessions/{session}").status == 204
    assert site.peers.closed == [(session, "page")]
    assert site.ask("DELETE", f"/api/v1/sessions/{session}").status == 204
    assert len(site.peers.closed) == 1


def test_too_many_sessions_are_refused_until_one_ends(site: Site) -> None:
    """By the page, by itself, or because it could not be opened: its place is free again."""
    site.peers.fails = InputError("sdp: no")
    assert [site.offer().status for _ in range(3)] == [400] * 3
    site.peers.fails = None
    assert [site.offer().status for _ in range(3)] == [201, 201, 429]
    first, second = site.peers.sessions
    assert site.ask("DELETE", f"/api/v1/sessions/{first}").status == 204
    assert [site.offer().status for _ in range(2)] == [201, 429]
    site.loop.call_soon_threadsafe(site.peers.sessions[second].end_by_itself, "connection")
    site.run(site.peers.sessions[second].close("shutdown"))
    assert site.peers.closed[-1] == (second, "connection")
    assert [site.offer().status for _ in range(2)] == [201, 429]
    assert "busy" in site.recorder.turned_away


def test_an_offer_that_takes_too_long_is_given_up(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    """504, and its place is free again."""
    monkeypatch.setattr("streaming.calls._ANSWER_S", 0.05)
    site.peers.hold = True
    assert [site.offer().status for _ in range(3)] == [504] * 3
    site.peers.hold = False
    assert site.offer().status == 201


def test_an_offer_with_a_hole_is_no_fault_of_ours(state: Path) -> None:
    """In front of real peers: without any one of the lines that matter it is answered or refused, and never a 500."""
    lines = SDP.split("\r\n")
    telling = (
        "a=group",
        "a=mid",
        "a=setup",
        "a=fingerprint",
        "a=ice-ufrag",
        "a=rtcp-mux",
        "a=sctp-port",
        "a=sendrecv",
    )
    without = [[*lines[:k], *lines[k + 1 :]] for k, line in enumerate(lines) if line.startswith(telling)]
    with open_site(ServeConfig(pass_through=True), open_peer=Peer.open) as site:
        whole = site.offer()
        assert whole.status == 201
        assert b"a=candidate:" in whole.body
        assert site.ask("DELETE", f"/api/v1/sessions/{whole.session}").status == 204
        for left in without:
            answer = site.offer({"sdp": "\r\n".join(left)})
            assert answer.status in (201, 400), answer
            if answer.status == 201:
                assert site.ask("DELETE", f"/api/v1/sessions/{answer.session}").status == 204


def test_offers_are_limited_in_their_rate(site: Site) -> None:
    """Each costs a certificate's handshake and candidates; who floods is told to wait, and how long."""
    answers = [site.offer({"sdp": "{"}) for _ in range(22)]
    assert [one.status for one in answers[:20]] == [400] * 20
    assert (answers[-1].status, answers[-1].error[0]) == (429, "BusyError")
    assert 1 <= int(answers[-1].headers["Retry-After"]) <= 6


def test_ice_servers_are_told_as_a_browser_takes_them(state: Path) -> None:
    """The account of a TURN server stands beside its address: in it a browser refuses to open any call."""
    config = ServeConfig(ice_servers=("stun:stun.example:1", "turn:me:secret@turn.example:2"))
    with open_site(config) as site:
        told = site.ask("GET", "/api/v1/info").json["ice_servers"]
    assert told == [
        {"urls": ["stun:stun.example:1"]},
        {"urls": ["turn:turn.example:2"], "username": "me", "credential": "secret"},
    ]


def test_ready_means_that_a_session_can_be_opened(site: Site) -> None:
    """Alive and ready are told apart, without a token, and the reason is one line."""
    for state, alive, ready in (
        (State.READY, 200, 200), (State.STARTING, 200, 503), (State.REPLACING, 200, 503), (State.FAILED, 503, 503),
    ):  # fmt: skip
        site.worker.state = state
        answers = [site.ask("GET", path, token=None) for path in ("/healthz", "/readyz")]
        assert [answer.status for answer in answers] == [alive, ready]
        assert all(len(answer.body.splitlines()) == 1 for answer in answers)


def test_before_the_first_source_nothing_is_ready(state: Path) -> None:
    """The server answers from its first moment on, with a 503 that says why."""
    with open_site(first=None) as site:
        assert site.ask("GET", "/healthz", token=None).status == 200
        waiting = site.ask("GET", "/readyz", token=None)
        assert (waiting.status, waiting.body) == (503, b"the first source is being prepared\n")
        for answer in (site.ask("GET", "/api/v1/info"), site.offer()):
            assert (answer.status, answer.error[0]) == (503, "WorkerError")


def test_the_end_of_the_server_ends_every_session(state: Path) -> None:
    """Each is told that it was the server."""
    with open_site() as site:
        for _ in range(3):
            assert site.offer().status == 201
    assert site.peers.closed == [(session, "shutdown") for session in site.peers.sessions]


def test_metrics_are_given(site: Site) -> None:
    """With the token, as Prometheus reads them."""
    given = site.ask("GET", "/metrics")
    assert (given.status, given.body) == (200, b"up 1\n")
    assert given.headers["Content-Type"].startswith("text/plain; version=")


def test_the_page_is_served_with_its_types(site: Site) -> None:
    """The first page, its modules and styles, each as what it is, and not again when it is known."""
    first = site.ask("GET", "/")
    assert (first.status, first.headers["Content-Type"]) == (200, "text/html; charset=utf-8")
    assert first.headers["Cache-Control"] == "no-cache"
    module = site.ask("GET", "/static/main.js")
    assert (module.status, module.headers["Content-Type"]) == (200, "text/javascript; charset=utf-8")
    again = site.ask("GET", "/static/main.js", headers={"If-None-Match": module.headers["ETag"]})
    assert (again.status, again.body) == (304, b"")
    assert site.ask("HEAD", "/static/main.js").body == b""


@pytest.mark.parametrize(
    "path",
    [
        "/static/../app.py", "/static/..%2fapp.py", "/static/%2e%2e/app.py", "/static/..\\app.py",
        "/static/a/../../app.py", "/static//etc/passwd", "/static/%2fetc/passwd", "/static/", "/static",
        "/static/main.js/", "/static/MAIN.JS", "/static/jsconfig.txt",
        "/static/%00", "/app.py", "//static/main.js", "/static/./main.js%00.html",
    ],
)  # fmt: skip
def test_no_path_leads_out_of_the_page(site: Site, path: str) -> None:
    """What is not one of the page's own files is not there."""
    answer = site.ask("GET", path)
    assert answer.status in (400, 404)
    assert b"import" not in answer.body


def test_only_the_pages_kinds_of_files_are_there(tmp_path: Path) -> None:
    """No link, no folder, no hidden note, though they lie in the folder."""
    (tmp_path / "index.html").write_text("")
    (tmp_path / "notes.txt").write_text("")
    (tmp_path / "sub.js").mkdir()
    (tmp_path / "secret").write_text("")
    (tmp_path / "linked.js").symlink_to(tmp_path / "secret")
    assert set(Pages(tmp_path)._files) == {"index.html"}
