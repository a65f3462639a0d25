"""The routes below /api/v1/enrolments, in front of a fake `marotte enrol`."""

from __future__ import annotations

import errno
import json
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from engine.errors import DecodeError
from streaming import enrolment, enrolment_doors
from streaming.config import ServeConfig
from streaming.enrolment import Enrolments
from streaming.enrolment_kinds import MOST_BYTES, MOST_SECONDS
from streaming.enrolment_probe import Found
from streaming.measured import NoRecorder
from tests.streaming.doorstep import Answer, Site, open_site
from tests.streaming.enrolling import FAKE, FakeOffering, write_weights

EDGE = "an-edge-of-the-tests"
FORM = {"Content-Type": f"multipart/form-data; boundary={EDGE}"}
ALL = "/api/v1/enrolments"
ASK = f"{ALL}?system=stit&name=Ann&kind=myself&attested_by=Ann&statement=It+is+me"
WAIT_S = 60.0


def form(*files: tuple[str, bytes], field: bytes = b"", **fields: bytes) -> bytes:
    """Files, and fields by name; `field` is one of a name that nobody asks for."""
    parts = [
        f'--{EDGE}\r\nContent-Disposition: form-data; name="file"; filename="{name}"\r\n'
        "Content-Type: application/octet-stream\r\n\r\n".encode()
        + data
        + b"\r\n"
        for name, data in files
    ]
    for name, value in (fields | ({"x": field} if field else {})).items():
        head = f'--{EDGE}\r\nContent-Disposition: form-data; name="{name}"\r\n\r\n'
        parts.append(head.encode() + value + b"\r\n")
    return b"".join(parts) + f"--{EDGE}--\r\n".encode()


CLIP = form(("clip.webm", b"a clip"))


@dataclass(slots=True)
class Doors:
    site: Site
    enrolments: Enrolments
    folder: Path
    weights: Path

    def send(self, body: bytes = CLIP, path: str = ASK, **options: Any) -> Answer:
        return self.site.ask("POST", path, body, **({"headers": FORM} | options))

    def status(self, number: str) -> Any:
        return self.site.ask("GET", f"{ALL}/{number}").json

    def until(self, number: str, *states: str) -> Any:
        end_s = time.monotonic() + WAIT_S
        while (status := self.status(number))["state"] not in states:
            assert time.monotonic() < end_s, status
            time.sleep(0.02)
        return status

    def left(self) -> set[str]:
        return {path.name for path in self.folder.iterdir()}


@pytest.fixture
def doors(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Doors]:
    monkeypatch.setenv("MAROTTE_STATE", str(tmp_path / "state"))
    monkeypatch.setattr(enrolment, "probe", lambda files: [Found(path.name, 5.0) for path in files])
    monkeypatch.setattr(enrolment, "NEEDS_BYTES", 0)
    weights, folder = write_weights(tmp_path / "weights"), tmp_path / "enrolments"
    config = ServeConfig(enrol={"stit": weights}, enrolments=folder, enrol_command=FAKE)
    enrolments = Enrolments(config, FakeOffering(), NoRecorder())
    enrolments.start()
    try:
        with open_site(config, enrolments=enrolments) as site:
            yield Doors(site, enrolments, folder, weights)
    finally:
        enrolments.close()


def test_a_page_is_told_what_it_can_ask_for(doors: Doors) -> None:
    """In /api/v1/info; nothing where the server enrols nobody, and then every route says so."""
    assert doors.site.ask("GET", "/api/v1/info").json["enrol"] == {
        "systems": [{"system": "stit", "title": "STIT", "clips": 1, "photos": 0}],
        "most_bytes": MOST_BYTES, "most_seconds": MOST_SECONDS,
    }  # fmt: skip
    with open_site() as other:
        for method, path in (("GET", ALL), ("POST", ASK), ("GET", f"{ALL}/x"), ("DELETE", f"{ALL}/x")):
            refused = other.ask(method, path, b"" if method == "POST" else None)
            assert refused.status == 404
            assert "--enrol" in refused.error[1]


def test_a_clip_is_sent_followed_and_removed(doors: Doors) -> None:
    """201 and how it stands; its status until it is done; 204, and nothing is left."""
    begun = doors.send()
    assert begun.status == 201
    number = begun.json["id"]
    assert set(begun.json) == {
        "id", "system", "name", "state", "reason", "progress", "bundle", "person", "keeps", "expires", "lines",
    }  # fmt: skip
    done = doors.until(number, "done")
    assert (done["bundle"], done["name"], done["keeps"]) == (f"enrolled-{number}", "Ann", False)
    assert doors.site.ask("GET", ALL).json == {"enrolments": [done]}
    assert doors.site.ask("DELETE", f"{ALL}/{number}").status == 204
    assert doors.left() == set()
    assert doors.site.ask("GET", f"{ALL}/{number}").status == 404


def test_it_is_cancelled_and_gone_on_with(doors: Doors) -> None:
    """202 each; a second one meanwhile is told who is before it, before its bytes are read."""
    (doors.weights / "steps").write_text("100000")
    number = doors.send().json["id"]
    refused = doors.send(b"x" * 100)
    assert (refused.status, refused.error[0]) == (429, "BusyError")
    assert "Ann" in refused.error[1]
    stopping = doors.site.ask("DELETE", f"{ALL}/{number}")
    assert (stopping.status, stopping.json["state"]) == (202, "stopping")
    doors.until(number, "stopped")
    (doors.weights / "steps").write_text("1")
    assert doors.site.ask("POST", f"{ALL}/{number}/resume", b"").status == 202
    doors.until(number, "done")
    assert doors.site.ask("POST", f"{ALL}/{number}/resume", b"").status == 409


@pytest.mark.parametrize("token", [None, "another"])
def test_nobody_enrols_without_the_token(doors: Doors, token: str | None) -> None:
    """Nor from another page."""
    assert doors.send(token=token).status == 401
    for method in ("GET", "DELETE"):
        assert doors.site.ask(method, f"{ALL}/x", token=token).status == 401
    assert doors.send(headers=FORM | {"Origin": "http://elsewhere.example"}).status == 403
    assert doors.left() == set()


WRONG: dict[str, tuple[bytes, str, dict[str, str], int]] = {
    "no form": (b"a clip", ASK, {"Content-Type": "video/webm"}, 400),
    "no edges": (b"a clip", ASK, {"Content-Type": "multipart/form-data"}, 400),
    "cut": (CLIP[:-30], ASK, FORM, 400),
    "cut in its head": (CLIP[: len(CLIP) // 2], ASK, FORM, 400),
    "a head of no letters": (CLIP.replace(b"Content-Disp", b"Content\xff-Disp"), ASK, FORM, 400),
    "a head without an end": (CLIP.replace(b"clip.webm", b"a" * 9000), ASK, FORM, 400),
    "heads without an end": (CLIP.replace(b"octet-stream", b"x\r\nX: y" * 400), ASK, FORM, 400),
    "packed": (CLIP, ASK, FORM | {"Content-Encoding": "gzip"}, 400),
    "a field": (form(field=b"text"), ASK, FORM, 400),
    "no file": (form(), ASK, FORM, 422),
    "two files": (form(("a.webm", b"a"), ("b.webm", b"b")), ASK, FORM, 422),
    "no kind": (CLIP, f"{ALL}?system=stit&name=Ann&statement=me", FORM, 422),
    "two lines": (CLIP, f"{ALL}?system=stit&kind=myself&attested_by=Ann&statement=a%0Ab", FORM, 422),
    "no system": (CLIP, f"{ALL}?statement=me", FORM, 422),
    "another system": (CLIP, f"{ALL}?system=geogan&statement=me", FORM, 422),
}


@pytest.mark.filterwarnings("ignore::RuntimeWarning")  # the parser's own, of a head that it cannot read
@pytest.mark.parametrize("which", WRONG)
def test_a_wrong_upload_is_refused_and_leaves_nothing(doors: Doors, which: str) -> None:
    """One line, no process, no file, and the way is free again."""
    body, path, headers, status = WRONG[which]
    refused = doors.send(body, path, headers=headers)
    assert refused.status == status, refused.body
    assert refused.error[1]
    assert doors.left() == set()
    assert doors.send().status == 201


def test_what_is_too_large_is_refused_by_its_size(doors: Doors, monkeypatch: pytest.MonkeyPatch) -> None:
    """Before a byte of it is written; a length has to be stated."""
    monkeypatch.setattr(enrolment_doors, "MOST_BYTES", 1000)
    monkeypatch.setattr("streaming.doors._FORM_OVERHEAD", 0)
    assert doors.send(form(("a.webm", bytes(2000)))).status == 413
    assert doors.send(iter([CLIP])).status == 411  # type: ignore[arg-type]
    assert doors.left() == set()
    assert doors.send().status == 201


def test_what_cannot_be_used_says_why_and_is_gone(doors: Doors, monkeypatch: pytest.MonkeyPatch) -> None:
    """In the words of whoever looked at it."""

    def refuse(files: Any) -> list[Found]:
        raise DecodeError("1-clip.webm cannot be opened")

    monkeypatch.setattr(enrolment, "probe", refuse)
    refused = doors.send()
    assert (refused.status, refused.error) == (422, ("DecodeError", "1-clip.webm cannot be opened"))
    monkeypatch.setattr(enrolment, "probe", lambda files: [Found("clip", 1.0)])
    assert doors.send().error[0] == "InputError"
    assert doors.left() == set()
    assert not (doors.weights / "started").exists()


def test_a_disk_that_fills_up_while_it_comes_in(doors: Doors, monkeypatch: pytest.MonkeyPatch) -> None:
    """507, and nothing of it stays."""

    async def full(part: Any, path: Path) -> None:
        path.write_bytes(b"a part of it")
        raise enrolment_doors._no_room(OSError(errno.ENOSPC, "No space left on device"))

    monkeypatch.setattr(enrolment_doors, "_write", full)
    refused = doors.send()
    assert (refused.status, refused.error[0]) == (507, "StorageError")
    assert doors.left() == set()


def test_a_page_that_has_not_the_files_name_is_no_way_out(doors: Doors) -> None:
    """Where it lies is decided here."""
    (doors.weights / "steps").write_text("100000")
    number = doors.send(form(("../../../evil.webm", b"a clip"))).json["id"]
    written = json.loads((doors.folder / number / "job.json").read_text())
    assert written["files"] == ["1-evil.webm"]
    doors.site.ask("DELETE", f"{ALL}/{number}")
    doors.until(number, "stopped")
