"""Enrolments of photos, and the person that their bundle holds becoming a source."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from engine.consent import Store
from engine.errors import BundleError, InputError
from engine.worker.pictures import parted
from streaming import enrolment, own_person, serve
from streaming.config import ServeConfig
from streaming.enrolment import Enrolments
from streaming.enrolment_kinds import KINDS
from streaming.enrolment_probe import Found, check_kind
from streaming.measured import NoRecorder
from streaming.own_person import packed
from streaming.uploads import Upload
from tests.streaming.doorstep import Site, open_site
from tests.streaming.enrolling import FAKE, FakeOffering, write_weights

ALL = "/api/v1/enrolments"
EDGE = "edge"
WAIT_S = 60.0


def photos(count: int) -> bytes:
    head = 'Content-Disposition: form-data; name="file"; filename="{}.jpg"\r\n\r\nphoto\r\n'
    parts = [f"--{EDGE}\r\n{head.format(number)}" for number in range(count)]
    return ("".join(parts) + f"--{EDGE}--\r\n").encode()


@pytest.fixture
def weights(tmp_path: Path) -> Path:
    return write_weights(tmp_path / "weights", "liquid_warping")


@pytest.fixture
def site(tmp_path: Path, weights: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Site]:
    monkeypatch.setenv("MAROTTE_STATE", str(tmp_path / "state"))
    monkeypatch.setattr(enrolment, "probe", lambda files: [Found(path.name, None) for path in files])
    monkeypatch.setattr(enrolment, "NEEDS_BYTES", 0)
    config = ServeConfig(
        enrol={"liquid_warping": weights}, enrolments=tmp_path / "enrolments", enrol_command=FAKE
    )
    enrolments = Enrolments(config, FakeOffering(), NoRecorder())
    enrolments.start()
    try:
        with open_site(config, enrolments=enrolments) as opened:
            yield opened
    finally:
        enrolments.close()


def send(site: Site, count: int, query: str = "") -> Any:
    headers = {"Content-Type": f"multipart/form-data; boundary={EDGE}"}
    path = f"{ALL}?system=liquid_warping&name=Ann&kind=myself&attested_by=Ann&statement=It+is+me{query}"
    return site.ask("POST", path, photos(count), headers=headers)


def until_done(site: Site, number: str) -> Any:
    end_s = time.monotonic() + WAIT_S
    while (status := site.ask("GET", f"{ALL}/{number}").json)["state"] != "done" or not status["bundle"]:
        assert time.monotonic() < end_s, status
        time.sleep(0.02)
    return status


def test_photos_are_enrolled_and_who_they_show_is_a_source(
    site: Site, weights: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """All files go to one process, with what was accepted by name, which is on record; the bundle's person is shown
    by the statement that was given, and is one source however often it is asked for."""
    begun = send(site, 3, "&accept=different-people")
    assert begun.status == 201, begun.body
    status = until_done(site, begun.json["id"])
    assert status["person"]
    words = json.loads((weights / "started").read_text().splitlines()[0])["words"]
    assert [word.rpartition("-")[2] for word in words[1:4]] == ["0.jpg", "1.jpg", "2.jpg"]
    assert "--accept=different-people" in words
    (recorded,) = [one for one in Store(tmp_path / "state").all() if one.attested_by == "Ann"]
    assert recorded.statement == "It is me Accepted by name: different-people."
    assert len(recorded.sources) == 2  # the three photos together, and the one that all of them are

    asked: list[str] = []

    def upload(bundle: Path, name: str) -> Upload:
        asked.append(bundle.name)
        return Upload(b"pictures", name)

    monkeypatch.setattr(enrolment, "upload_of", upload)
    path = f"{ALL}/{status['id']}/source"
    first, again = site.ask("POST", path, b""), site.ask("POST", path, b"")
    assert (first.status, first.json["name"]) == (201, "Ann")
    assert again.json["id"] == first.json["id"]
    assert asked == [status["bundle"]] * 2
    assert first.json["id"] in [source["id"] for source in site.ask("GET", "/api/v1/info").json["sources"]]
    assert site.ask("POST", f"{ALL}/none/source", b"").status == 404


def test_what_is_no_acceptance_is_refused(site: Site) -> None:
    """And more photos than make one person."""
    assert send(site, 2, "&accept=anything").status == 422
    assert send(site, 9).status == 422


def test_a_kind_takes_photos_or_a_clip() -> None:
    """Never both."""
    kind = KINDS["liquid_warping"]
    check_kind(kind, [Found(f"{number}.jpg", None) for number in range(8)])
    check_kind(kind, [Found("a.mp4", 5.0)])
    with pytest.raises(InputError, match="takes 1 clip or up to 8 photos"):
        check_kind(kind, [Found("a.mp4", 5.0), Found("a.jpg", None)])


def test_a_bundles_person_passes_as_pictures(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Packed without loss, by name; of a bundle that cannot be read the reason is told."""
    rgb = np.random.default_rng(0).integers(0, 256, (8, 12, 3), np.uint8)
    data = packed([rgb, rgb[:6]], ["a.jpg", "b.jpg"], frozenset({"different-people"}))
    found = parted(data, "Ann")
    assert found is not None
    assert [one.name for one in found.pictures] == ["a.jpg", "b.jpg"]
    assert found.accept == {"different-people"}
    decoded = cv2.imdecode(np.frombuffer(found.pictures[0].data, np.uint8), cv2.IMREAD_COLOR)
    assert decoded is not None
    np.testing.assert_array_equal(decoded[..., ::-1], rgb)

    class Done:
        returncode, stdout, stderr = 2, b"", b"a warning\nbundle x: expected the folder of a bundle\n"

    monkeypatch.setattr(own_person.subprocess, "run", lambda *given, **named: Done())
    with pytest.raises(BundleError, match=r"its person cannot be read .bundle x: expected the folder"):
        own_person.upload_of(tmp_path, "Ann")


def test_a_server_begins_with_whom_its_bundle_holds(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Where no source is named; one that is named goes before it."""
    monkeypatch.setattr(serve, "person_folder", lambda bundle: tmp_path / "ann")
    monkeypatch.setattr(serve, "upload_of", lambda folder, name, accept: Upload(b"held", name))
    assert serve.read_source(ServeConfig()) == Upload(b"held", "ann")
    (tmp_path / "a.png").write_bytes(b"named")
    assert serve.read_source(ServeConfig(source=tmp_path / "a.png")).data == b"named"
