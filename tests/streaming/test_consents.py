"""Consent at the doors of a server: nobody is shown without a record, and nobody stays when it has ended."""

from __future__ import annotations

import asyncio
import hashlib
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from engine.consent import Kind, Store
from engine.errors import ConfigError, ConsentError
from engine.types import Mode
from engine.worker.interface import WorkerConfig, held_by
from streaming import consents
from streaming.config import ServeConfig
from streaming.consent_watch import ConsentWatch
from streaming.consents import Consents, Given, read_given
from streaming.serve import add_first
from streaming.uploads import Upload
from streaming.withholding import Needs
from tests.streaming.doorstep import FakeWorker, Site, open_site
from tests.streaming.test_enrolment_doors import FORM, form

PICTURE = b"a picture"
SOURCE = hashlib.sha256(PICTURE).hexdigest()
SAID = "kind=written+consent&attested_by=Ann&shown=Bob&statement=in+the+archive"
ME = Given(Kind.MYSELF, "Ann", "Ann", "It is me.")


@pytest.fixture
def site(real_consent: Path) -> Iterator[Site]:
    with open_site(ServeConfig(worker=WorkerConfig(sessions=3), rooms=1)) as opened:
        yield opened


def add(site: Site, query: str = "", body: bytes = PICTURE) -> Any:
    return site.ask("POST", f"/api/v1/sources?name=bob.jpg&{query}", body)


def revoke(site: Site, source: str = SOURCE) -> Any:
    (record,) = site.ask("GET", f"/api/v1/consents?source={source}").json["consents"]
    return site.ask("DELETE", f"/api/v1/consents/{record['id']}?why=Bob+asked+for+it")


def until(condition: Any) -> None:
    end_s = time.monotonic() + 20
    while not condition():
        assert time.monotonic() < end_s
        time.sleep(0.02)


def test_a_source_without_a_record_is_refused_with_the_next_step(site: Site) -> None:
    """By the API, before anybody looks at the picture; 403, and what to do."""
    refused = add(site)
    assert "?kind=KIND&attested_by=WHO" in refused.json["error"]["message"]
    assert (refused.status, refused.error[0]) == (403, "ConsentError")
    assert "next step" in refused.error[1]
    assert len(site.worker.sources) == 1
    assert site.recorder.added == ["ConsentError"]


def test_what_is_said_once_is_not_asked_again(site: Site) -> None:
    """The record is of the picture's bytes: it counts for every later upload of them, on this server and the next."""
    assert add(site, SAID).status == 201
    told = add(site).json["consent"]
    assert (told["kind"], told["shown"], told["state"]) == ("written consent", "Bob", "valid")
    with open_site(ServeConfig()) as next_site:
        assert add(next_site).status == 201


def test_the_fields_may_be_parts_of_a_form(site: Site) -> None:
    """Beside the files of it, as a page or curl sends them."""
    body = form(("bob.jpg", PICTURE), kind=b"myself", attested_by=b"Bob", expires=b"2999-12-31")
    added = site.ask("POST", "/api/v1/sources", body, headers=FORM)
    assert added.status == 201, added.body
    assert added.json["consent"]["expires"] == "3000-01-01T00:00:00+00:00"


def test_records_are_listed_and_looked_at(site: Site) -> None:
    """The newest first, each by its id; of a source also whether it may be shown."""
    add(site, SAID)
    listed = site.ask("GET", "/api/v1/consents").json["consents"]
    assert {one["shown"] for one in listed} >= {"Bob"}
    found = site.ask("GET", f"/api/v1/consents?source={SOURCE}").json
    assert (found["holds"], [one["shown"] for one in found["consents"]]) == (True, ["Bob"])
    one = site.ask("GET", f"/api/v1/consents/{found['consents'][0]['id']}")
    assert one.json == found["consents"][0]
    nobody = site.ask("GET", f"/api/v1/consents?source={'0' * 64}").json
    assert nobody == {"consents": [], "holds": False}
    assert site.ask("GET", "/api/v1/consents?source=x").status == 422
    assert site.ask("GET", f"/api/v1/consents/{'0' * 32}").status == 404


def test_a_revoked_source_is_refused_at_every_door(site: Site) -> None:
    """Its still, a second upload, WHIP, a hot swap, donors; and whoever says it anew is let in again."""
    add(site, SAID)
    session = site.offer().session
    revoked = revoke(site)
    assert (revoked.status, revoked.json["state"]) == (200, "revoked")
    assert revoked.json["revoked"]["why"] == "Bob asked for it"
    assert site.ask("GET", f"/api/v1/sources/{SOURCE}/still.jpg").status == 403
    assert add(site).status == 403
    refused = site.offer({"source": SOURCE})
    assert (refused.status, refused.error[0]) == (403, "ConsentError")
    assert "was revoked" in refused.error[1]
    with pytest.raises(ConsentError, match="was revoked"):
        site.peers.sessions[session]._showing._withholding.check(Needs("mesh_flow", Mode.PUPPET, SOURCE))
    again = site.ask("DELETE", f"/api/v1/consents/{revoked.json['id']}?why=another")
    assert again.json["revoked"]["why"] == "Bob asked for it"  # the first word stays
    assert site.offer({"source": SOURCE, "kind": "myself", "attested_by": "Bob"}).status == 201
    assert site.ask("GET", f"/api/v1/sources/{SOURCE}/still.jpg").status == 200


def test_a_record_for_something_else_does_not_count(site: Site) -> None:
    """Consent to files is none to a live session, and consent to broadcasts none to a call of two."""
    add(site, f"{SAID}&scope=render")
    refused = site.offer({"source": SOURCE})
    assert (refused.status, refused.error[0]) == (403, "ConsentError")
    assert "allows render and not live" in refused.error[1]
    room = site.post("/api/v1/rooms", {}).json["name"]
    seat = site.post(f"/api/v1/rooms/{room}/members", {"person": "A"}).json["publish"]
    other = b"another picture"
    add(site, f"{SAID}&scope=live", other)
    headers = {"Content-Type": "application/sdp"}
    query = f"source={hashlib.sha256(other).hexdigest()}"
    from tests.streaming.doorstep import SDP

    refused = site.ask("POST", f"{seat}?{query}", SDP.encode(), headers=headers)
    assert (refused.status, refused.error[0]) == (403, "ConsentError")
    assert "and not call" in refused.error[1]


def test_a_running_session_learns_of_a_revocation(site: Site, real_consent: Path) -> None:
    """From another process, which leaves no more than a line in a file: its report says why, and what to do."""
    add(site, SAID)
    session = site.peers.sessions[site.offer({"source": SOURCE}).session]
    assert session.report()["withheld"] is None
    store = Store(real_consent)
    record = next(one for one in store.of(SOURCE))
    store.revoke(record.id, "by the command line")
    until(lambda: session.withheld)
    assert "was revoked" in session.report()["withheld"]
    assert "next step" in session.report()["withheld"]
    assert site.ask("GET", f"/api/v1/sessions/{session.id}/layout").status == 403
    store.attest([SOURCE], Kind.MYSELF, shown="Bob", attested_by="Bob", statement="It is me after all.")
    until(lambda: not session.withheld)


def test_a_record_ends_at_its_time(real_consent: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Also while somebody is shown by it, and though no file has changed since it was looked at."""
    found = Consents()
    now = [datetime.now(UTC)]
    monkeypatch.setattr(consents, "datetime", SimpleNamespace(now=lambda zone: now[0]))
    found.store.attest(
        [SOURCE], Kind.MYSELF, shown="Ann", attested_by="Ann", statement="It is me.",
        expires=now[0] + timedelta(hours=1),
    )  # fmt: skip
    assert found.faults([SOURCE], "live") == {}
    now[0] += timedelta(hours=2)
    monkeypatch.setattr("engine.consent.checking.datetime", SimpleNamespace(now=lambda zone: now[0]))
    assert "expired" in found.faults([SOURCE], "live")[SOURCE]


def test_what_cannot_be_looked_at_is_not_shown(real_consent: Path) -> None:
    """In doubt everybody is withheld, with the reason."""
    found = Consents()
    found.store.attest([SOURCE], Kind.MYSELF, shown="Ann", attested_by="Ann", statement="It is me.")
    assert found.faults([SOURCE], "live") == {}
    (real_consent / "consent" / "revoked.jsonl").mkdir()
    assert set(found.faults([SOURCE], "live")) == {SOURCE}


def test_a_watch_that_fails_withholds(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    """A fault of ours is no reason to go on showing somebody."""
    session = site.peers.sessions[site.offer().session]
    monkeypatch.setattr(ConsentWatch, "look", _fails)
    until(lambda: session.withheld)
    assert "could not be looked at" in session.withheld


async def _fails(self: ConsentWatch) -> None:
    raise RuntimeError("a fault")


def test_photos_of_which_each_is_allowed_are_allowed_together(real_consent: Path) -> None:
    """Whoever may use each of them needs no record of the bundle of bytes that they are sent as."""
    found = Consents()
    for photo in ("1" * 64, "2" * 64):
        found.store.attest([photo], Kind.MYSELF, shown="Ann", attested_by="Ann", statement="It is me.")
    found.know("3" * 64, ["1" * 64, "2" * 64])
    assert len(found.check("3" * 64, "live")) == 2
    found.know("4" * 64, ["1" * 64, "5" * 64])
    assert set(found.faults(["4" * 64], "live")) == {"4" * 64}


def test_the_person_of_a_bundle_is_asked_for_too(
    real_consent: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """What a session needs is its source and whoever its bundle was tuned to."""

    def nobody(folder: Path, use: str, store: Store) -> None:
        raise ConsentError(f"bundle {folder.name}: was revoked")

    monkeypatch.setattr(consents, "cover_bundle", nobody)
    found = Consents()
    assert found.faults([held_by("ann")], "live") == {}  # it is not known to hold anybody
    found.know_bundle("ann", tmp_path / "ann")
    found.store._revoked_stamp = None
    found._found.clear()
    assert found.faults([held_by("ann")], "live") == {held_by("ann"): "bundle ann: was revoked"}


def test_who_attests_is_asked_by_kind() -> None:
    """Defaults where a kind leaves nothing to say, one clear line where it does."""
    assert read_given({}) is None
    me = read_given({"kind": "myself", "attested_by": "Ann"})
    assert me is not None
    assert (me.shown, me.statement) == ("Ann", "It shows me, and I allow its use.")
    art = {
        "kind": "public-domain artwork",
        "attested_by": "Ann",
        "shown": "La Gioconda",
        "scope": "render,live",
    }
    given = read_given(art)
    assert given is not None
    assert given.scope == ("live", "render")
    day = read_given({"kind": "myself", "attested_by": "Ann", "expires": "2999-01-31"})
    assert day is not None
    assert day.expires == datetime(2999, 2, 1, tzinfo=UTC)
    with pytest.raises(ConfigError, match="where the written consent is kept"):
        read_given({"kind": "written consent", "attested_by": "Ann", "shown": "Bob"})
    assert ME.accepting(["different-people"]).statement == "It is me. Accepted by name: different-people."


def test_a_server_that_shows_only_nobody_asks_for_nothing(real_consent: Path) -> None:
    """The built-in sample has a record of its own, which is shipped with it."""
    from engine.sample import sample_portrait

    with open_site(ServeConfig(), first=sample_portrait().read_bytes(), worker=FakeWorker()) as site:  # type: ignore[arg-type]
        assert site.ask("GET", "/api/v1/info").json["source"]["consent"]["kind"] == "sample"
        assert site.offer().status == 201


@pytest.mark.parametrize(
    ("consent", "statement", "said"),
    [
        (None, None, None),
        (None, "She signed it.", (Kind.WRITTEN, "as stated", "She signed it.")),
        ("myself:Ann", "It is me.", (Kind.MYSELF, "Ann", "It is me.")),
    ],
)
def test_the_operators_options_are_a_record(
    consent: str | None, statement: str | None, said: Any, real_consent: Path
) -> None:
    """A statement alone says that written consent is held; with nothing said, only a record that is there counts."""
    given: list[Any] = []

    class Kept:
        async def add(self, upload: object, says: object) -> None:
            given.append(says)

    config = ServeConfig(consent=consent, statement=statement)
    asyncio.run(add_first(Kept(), config, Upload(b"", "a.jpg")))  # type: ignore[arg-type]
    if said is None:
        assert given == [None]
    else:
        record = given[0].put(Store(real_consent), [SOURCE])
        assert (record.kind, record.shown, record.statement) == said


def test_who_knows_fewer_photos_takes_none_away(real_consent: Path) -> None:
    """A takedown of a source of several denies each of its photos, whoever has said meanwhile who allows it."""
    found, photos = Consents(), ("1" * 64, "2" * 64)
    found.know(SOURCE, photos)
    record = found.attest(SOURCE, (), ME)
    assert found.pictures_of(SOURCE) == photos
    assert record.sources == (SOURCE, *photos)


def test_by_whose_word_is_the_operators_to_know(site: Site) -> None:
    """A room link and a publish token learn whether a source may be shown, and not why not."""
    add(site, SAID)
    revoke(site)
    room = site.post("/api/v1/rooms", {"name": "tea"}).json["links"][0].partition("token=")[2]
    publisher = site.post("/api/v1/tokens", {"scopes": ["publish:demo"], "for_s": 60}).json["token"]
    for token in (room, publisher):
        answer = site.ask("GET", "/api/v1/info", token=token)
        assert [one["consent"] for one in answer.json["sources"]] == [
            {"state": "valid"},
            {"state": "withdrawn"},
        ]
        assert b"Bob" not in answer.body
    api = site.post("/api/v1/tokens", {"scopes": ["api"], "for_s": 60}).json["token"]
    told = site.ask("GET", "/api/v1/info", token=api).json["sources"][1]["consent"]
    assert (told["shown"], told["revoked"]["why"]) == ("Bob", "Bob asked for it")
