"""Several photos of one person at the door: what of a form is read, what is handed on, and what is recorded."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from engine.consent import Record, Store
from engine.errors import DifferentPeopleError
from engine.several import ACCEPTANCE, MOST_SOURCES
from engine.worker.interface import PictureInfo
from engine.worker.pictures import Picture, Pictures, parted, with_pictures
from streaming import uploads
from streaming.config import ServeConfig
from tests.streaming.doorstep import Answer, FakeWorker, Site, open_site
from tests.streaming.test_enrolment_doors import FORM, form

ADD = "/api/v1/sources?kind=myself&attested_by=Ann&statement=It+is+me"
TWO = form(("a.jpg", b"one photo"), ("../b.jpg", b"another photo"))


class Worker(FakeWorker):
    """Keeps the bytes that it was given."""

    def __init__(self) -> None:
        super().__init__()
        self.given: list[bytes] = []

    def add_source(self, data: bytes, name: str) -> Any:
        self.given.append(data)
        return super().add_source(data, name)


@pytest.fixture
def record(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("MAROTTE_STATE", str(tmp_path))
    return tmp_path


@pytest.fixture
def site(record: Path) -> Iterator[Site]:
    with open_site(ServeConfig(), worker=Worker()) as opened:  # type: ignore[arg-type]
        yield opened


def send(site: Site, body: bytes = TWO, path: str = ADD, **options: Any) -> Answer:
    return site.ask("POST", path, body, **({"headers": FORM} | options))


def record_of(state: Path, source: str) -> Record:
    """That of the store, of which nobody says what it held before."""
    return next(one for one in Store(state).all() if source in one.sources)


def test_photos_of_a_form_are_one_source(site: Site, record: Path) -> None:
    """They are handed on together under the first one's name, and the record names each of them."""
    added = send(site)
    assert (added.status, added.json["name"]) == (201, "a.jpg and 1 more")
    data = site.worker.given[-1]
    photos = (Picture("a.jpg", b"one photo"), Picture("b.jpg", b"another photo"))
    assert parted(data, "x") == Pictures(photos, frozenset())
    assert added.json["id"] == hashlib.sha256(data).hexdigest()
    kept = record_of(record, added.json["id"])
    assert kept.sources == (added.json["id"], *(hashlib.sha256(one.data).hexdigest() for one in photos))
    assert (kept.kind, kept.attested_by, kept.statement) == ("myself", "Ann", "It is me")


def test_a_form_of_one_is_that_file(site: Site, record: Path) -> None:
    """The same id, and the same record, as the file as the body."""
    added = send(site, form(("a.jpg", b"one photo")))
    assert added.json["id"] == hashlib.sha256(b"one photo").hexdigest()
    assert record_of(record, added.json["id"]).sources == (added.json["id"],)
    assert site.ask("POST", f"{ADD}&name=a.jpg", b"one photo").json["id"] == added.json["id"]
    assert len([one for one in Store(record).all() if added.json["id"] in one.sources]) == 1


def test_an_acceptance_goes_along_by_name_and_stands_in_the_record(site: Site, record: Path) -> None:
    """Only the one that there is, word for word."""
    assert send(site, path=f"{ADD}&accept={ACCEPTANCE}").status == 201
    given = parted(site.worker.given[-1], "x")
    assert given is not None
    assert given.accept == {ACCEPTANCE}
    assert any(one.statement == f"It is me Accepted by name: {ACCEPTANCE}." for one in Store(record).all())
    refused = send(site, path=f"{ADD}&accept=different_people")
    assert (refused.status, refused.error[0]) == (422, "ConfigError")
    assert ACCEPTANCE in refused.error[1]


def test_different_people_are_told_as_such(site: Site) -> None:
    """By a kind of their own, with the worker's words: the page knows what to offer; nothing is kept."""
    words = "b.jpg: its face differs from that of a.jpg by 1.77 mm of shape"
    site.worker.prepare = lambda info, future: future.set_exception(DifferentPeopleError(words))
    refused = send(site)
    assert (refused.status, refused.error) == (422, ("DifferentPeopleError", words))
    assert len(site.ask("GET", "/api/v1/info").json["sources"]) == 1
    assert site.recorder.added == ["DifferentPeopleError"]


@pytest.mark.parametrize(
    ("body", "path", "headers", "status"),
    [
        (b"no form", ADD, FORM, 400),
        (TWO[:-20], ADD, FORM, 400),
        (form(), ADD, FORM, 422),
        (form(field=b"text"), ADD, FORM, 400),
        (form(*[("a.jpg", b"a")] * (MOST_SOURCES + 1)), ADD, FORM, 422),
        (TWO, f"{ADD}&labels=3", FORM, 400),
        (TWO, "/api/v1/sources?kind=mine", FORM, 422),
        (TWO, ADD, FORM | {"Content-Encoding": "gzip"}, 400),
        (iter([TWO]), ADD, FORM, 411),
    ],
    ids=["no form", "cut", "no file", "a field", "too many", "labels", "no kind", "packed", "no length"],
)
def test_what_is_no_form_of_photos_is_refused(
    site: Site, body: Any, path: str, headers: dict[str, str], status: int
) -> None:
    """With one line, and the worker is not asked."""
    refused = send(site, body, path, headers=headers)
    assert refused.status == status
    assert refused.error[1]
    assert len(site.worker.given) == 1


@pytest.mark.parametrize("as_form", [False, True])
def test_bytes_that_are_joined_already_are_no_file(site: Site, as_form: bool) -> None:
    """Or the record would not name the photos, nor what was accepted with them."""
    data = with_pictures([Picture("a.jpg", b"a"), Picture("b.jpg", b"b")], {ACCEPTANCE})
    refused = send(site, form(("x.jpg", data))) if as_form else site.ask("POST", ADD, data)
    assert (refused.status, refused.error[0]) == (422, "DecodeError")
    assert len(site.worker.given) == 1


def test_photos_are_limited_each_and_together(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    """By what was read of one, and by what is stated of all."""
    monkeypatch.setattr(uploads, "MOST_UPLOAD_BYTES", 10)
    refused = send(site)
    assert refused.status == 413
    assert refused.error[1].startswith("b.jpg")
    monkeypatch.setattr(uploads, "MOST_TOGETHER", 100)
    assert send(site, form(("a.jpg", bytes(20_000)))).status == 413
    assert site.recorder.turned_away == ["size", "size"]
    assert len(site.worker.given) == 1


def test_what_became_of_each_photo_is_told_with_a_small_picture(site: Site) -> None:
    """Names, places and reasons beside the source, pictures at an address of their own."""
    told = (PictureInfo("a.jpg", 0, "", b"\xff\xd8a"), PictureInfo("b.jpg", None, "blurred", b"\xff\xd8b"))
    site.worker.prepare = lambda info, future: future.set_result(replace(info, pictures=told))
    added = send(site).json
    assert added["pictures"] == [
        {"name": "a.jpg", "place": 0, "why": ""},
        {"name": "b.jpg", "place": None, "why": "blurred"},
    ]
    small = site.ask("GET", f"/api/v1/sources/{added['id']}/pictures/1.jpg")
    assert (small.status, small.headers["Content-Type"], small.body) == (200, "image/jpeg", b"\xff\xd8b")
    for missing in (f"{added['id']}/pictures/2", "unknown/pictures/0", f"{site.sources.first.id}/pictures/0"):
        assert site.ask("GET", f"/api/v1/sources/{missing}.jpg").status == 404
