"""The deny-list at the doors of a server: nobody on it comes in, and who is shown turns grey."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Iterator
from concurrent.futures import Future
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from engine.consent import Kind, Store
from engine.denied import REFUSED, Denied
from engine.denied.hashing import hashes_of
from engine.errors import DeniedError, NoFaceError
from engine.media.planes import i420_of
from engine.session_log import Event, SessionLog
from engine.worker.interface import PictureInfo, SourceInfo
from streaming.consent_watch import ConsentWatch
from streaming.consents import Consents
from streaming.denials import Denials, picture_of
from streaming.tokens import Tokens, key_of, scope_of
from tests.consent_fixture import only_recorded
from tests.engine.denied.test_hashing import coded, drawn
from tests.streaming.doorstep import TOKEN, Site, open_site

DENIED = "/api/v1/denied"
SAID = "kind=written+consent&attested_by=Ann&shown=Bob&statement=in+the+archive"


def info_of(seed: int, name: str, quality: int = 90) -> SourceInfo:
    rgb = coded(drawn(seed), quality)
    return SourceInfo(name, name, (rgb.shape[1], rgb.shape[0]), 1, i420_of(rgb))


@pytest.fixture
def state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("MAROTTE_STATE", str(tmp_path))
    return tmp_path


@pytest.fixture
def site(state: Path) -> Iterator[Site]:
    """Whose worker sees in every upload what its first letter says: pictures 1 to 9."""
    with open_site() as opened:

        def look(info: SourceInfo, future: Future[SourceInfo]) -> None:
            seed = int(info.name[0]) if info.name[:1].isdigit() else 9
            seen = info_of(seed, info.id, 90 - 40 * info.name.endswith("low.jpg"))
            opened.worker.sources[info.id] = replace(seen, name=info.name)
            future.set_result(opened.worker.sources[info.id])

        opened.worker.prepare = look
        yield opened


def add(site: Site, name: str, body: bytes | None = None) -> Any:
    return site.ask("POST", f"/api/v1/sources?name={name}&{SAID}", body or name.encode())


def deny(site: Site, query: str, body: bytes | None = None, why: str = "a+report") -> Any:
    return site.ask("POST", f"{DENIED}?why={why}&{query}", body)


def test_a_source_that_is_taken_down_does_not_come_in_again(site: Site) -> None:
    """By the source that a report names: the same bytes, and the same picture coded anew, are refused with whom to ask;
    another picture is not. Taken out, it may come back."""
    source = add(site, "1.jpg").json["id"]
    taken = deny(site, f"source={source}")
    assert taken.status == 201, taken.body
    assert (taken.json["sha256"], taken.json["pictures"]) == ([source], 1)
    for name, body in (("9.jpg", b"1.jpg"), ("1low.jpg", b"coded anew")):
        refused = add(site, name, body)
        assert refused.status == 422, name
        assert refused.error == ("DeniedError", f"{name}: {REFUSED}")
        assert "report" not in refused.error[1]
    assert add(site, "2.jpg").status == 201
    assert site.recorder.added.count("DeniedError") == 2
    (entry,) = site.ask("GET", DENIED).json["denied"]
    assert entry["why"] == "a report"
    assert site.ask("DELETE", f"{DENIED}/{entry['id']}").status == 204
    assert site.ask("DELETE", f"{DENIED}/{entry['id']}").status == 404
    assert add(site, "1low.jpg", b"coded anew").status == 201


def test_the_consent_to_it_is_ended_and_the_log_has_a_line(site: Site, state: Path) -> None:
    """A takedown revokes every record that names it."""
    source = add(site, "1.jpg").json["id"]
    store = Store(state)
    with only_recorded():
        (record,) = store.of(source)
        taken = deny(site, f"source={source}")
    assert taken.json["revoked"] == [record.id]
    assert store.revoked(record.id) is not None
    lines = "".join(path.read_text("utf-8") for path in sorted(SessionLog().folder.glob("*.jsonl")))
    assert f'"event":"{Event.DENIED.value}"' in lines
    assert taken.json["id"] in lines


def test_what_shows_it_live_is_barred_by_the_same_look_as_consent(state: Path) -> None:
    """Whatever was consented to: the watch of a session finds it at fault, by its bytes or by its look, a bundle's own
    person too, and it may be shown again when it is taken out."""
    store = Store(state)
    store.attest(("ab" * 32,), Kind.GENERATED, shown="nobody", attested_by="Ann", statement="drawn")
    consents, shown = Consents(store), replace(info_of(1, "ab" * 32), name="x")
    consents.denials.find = {shown.id: shown}.get
    assert consents.faults([shown.id], "live") == {}
    entry = Denied(state).add("a report", pictures=[drawn(1)])
    assert consents.faults([shown.id], "live") == {shown.id: REFUSED}
    assert not consents.visible(shown.id)

    barred: list[dict[str, str]] = []

    class Showing:
        in_use, over, stream = frozenset((shown.id,)), False, "stream"

        def withhold(self, asked: Any, faults: dict[str, str]) -> None:
            barred.append(dict(faults))

    watch = ConsentWatch(lambda: [Showing()], consents)  # type: ignore[list-item]
    asyncio.run(watch.look())
    Denied(state).remove(entry.id)
    asyncio.run(watch.look())
    assert barred == [{shown.id: REFUSED}, {}]


def test_in_doubt_everything_is_denied(state: Path) -> None:
    """A list that cannot be read shows nobody."""
    denials, shown = Denials(Denied(state)), info_of(1, "a")
    assert denials.why_not(shown) is None
    Denied(state).add("a report", sums=["00" * 32])
    (denials.denied.folder / "000000000000.json").write_text("{")
    assert "cannot be read" in (denials.why_not(shown) or "")


def test_what_was_found_is_kept_until_the_list_changes(state: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A session is looked at four times a second: its picture is hashed once."""
    denials, shown = Denials(Denied(state)), info_of(1, "a")
    Denied(state).add("a report", pictures=[drawn(2)])
    assert denials.why_not(shown) is None
    monkeypatch.setattr("streaming.denials.hashes_of", lambda rgb: pytest.fail("hashed again"))
    assert denials.why_not(shown) is None
    Denied(state).add("a report", pictures=[drawn(1)])
    assert denials.why_not(shown) == REFUSED
    with pytest.raises(DeniedError):
        denials.check(shown)


def test_by_a_picture_nobody_has_sent_yet_and_by_its_sum(site: Site) -> None:
    """The operator has the picture and not the server: it is looked at by the worker, kept by nobody, and denied; one
    without a face by its bytes."""
    taken = deny(site, "", b"7 of them")
    assert (taken.status, taken.json["sha256"]) == (201, [hashlib.sha256(b"7 of them").hexdigest()])
    assert taken.json["pictures"] == 1
    assert site.worker.dropped == [hashlib.sha256(b"7 of them").hexdigest()]
    assert add(site, "9.jpg").status == 422  # the worker saw picture 9 in what is named "denied"

    site.worker.prepare = lambda info, future: future.set_exception(
        NoFaceError(f"{info.name}: no face found")
    )
    faceless = deny(site, "", b"a landscape")
    assert (faceless.status, faceless.json["pictures"]) == (201, 0)
    assert deny(site, f"sha256={'AB' * 32}").json["sha256"] == ["ab" * 32]
    site.worker.prepare = lambda info, future: future.set_exception(DeniedError("x: denied"))
    assert deny(site, "", b"again").status == 409


@pytest.mark.parametrize(
    ("query", "body", "why"),
    [
        ("", None, "x"),
        ("source=a&sha256=b", None, "x"),
        ("sha256=short", None, "x"),
        (f"sha256={'ab' * 32}", None, ""),
    ],
)
def test_a_wrong_wish_denies_nothing(site: Site, query: str, body: bytes | None, why: str) -> None:
    """One line, and an empty list."""
    assert deny(site, query, body, why).status == 422
    assert site.ask("GET", DENIED).json == {"denied": [], "shape_days": 0, "like": []}


def test_an_unknown_source_is_asked_for_by_its_picture(site: Site) -> None:
    """What is called by no sum and is not here any more."""
    assert deny(site, "source=nobody").status == 404
    assert deny(site, f"source={'cd' * 32}").status == 201


def test_who_may_deny(site: Site) -> None:
    """The scope admin alone: the list says who was reported."""
    made = Tokens(key_of(TOKEN)).issue([scope_of("api")], 60.0)[0]
    for method, path in (
        ("GET", DENIED),
        ("POST", f"{DENIED}?why=x&sha256={'ab' * 32}"),
        ("DELETE", f"{DENIED}/a"),
    ):
        assert site.ask(method, path, token=made).status == 403


def test_a_still_is_read_back_as_it_is_shown() -> None:
    """Planes to RGB, for the hash."""
    rgb = picture_of(info_of(1, "a"))
    assert rgb.shape == (*drawn(1).shape[:2], 3)


def test_one_of_several_photos_denies_all_of_them(state: Path) -> None:
    """Of a source of several each photo is asked for, by its bytes and by its look, where it comes in and while it is
    shown; that it was told of without them later forgets none."""
    first, second = "01" * 32, "02" * 32
    looks = hashes_of(drawn(2)).tobytes()
    shown = replace(
        info_of(1, "ab" * 32),
        pictures=(PictureInfo("a", 0, "", b""), PictureInfo("b", None, "shows nothing new", b"", looks)),
    )
    consents = Consents(Store(state))
    consents.know(shown.id, (first, second))
    consents.know(shown.id, ())
    assert consents.denials.why_not(shown) is None
    for how in ({"sums": [second]}, {"pictures": [coded(drawn(2), 50)]}):
        entry = Denied(state).add("a report", **how)  # type: ignore[arg-type]
        assert consents.denials.why_not(shown) == REFUSED, how
        with pytest.raises(DeniedError):
            consents.denials.check(shown, (first, second))
        Denied(state).remove(entry.id)
    assert consents.denials.why_not(shown) is None


def test_a_list_that_cannot_be_read_refuses_a_source(site: Site, state: Path) -> None:
    """With the reason, at the door."""
    (state / "denied").write_text("")
    refused = add(site, "1.jpg")
    assert refused.status >= 400
    assert "the deny-list cannot be read" in refused.error[1]
