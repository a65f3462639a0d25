"""POST /api/v1/verify and its page: who may, how much, how many at once, and that nothing is kept."""

from __future__ import annotations

import re
import tempfile
import threading
from collections.abc import Iterator
from pathlib import Path

import cv2
import numpy as np
import pytest

from streaming import verify_doors
from streaming.config import ServeConfig
from streaming.rates import Rate, Rates
from tests.streaming.doorstep import TOKEN, Site, open_site

PICTURE = cv2.imencode(".png", np.full((80, 96, 3), 90, np.uint8))[1].tobytes()
OFTEN = Rates(uploads=Rate(6000, 1000), everyone=Rate(6000, 1000))
ELSEWHERE = {"Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": "navigate", "Sec-Fetch-Dest": "document"}


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("MAROTTE_STATE", str(tmp_path_factory.mktemp("state")))
        with open_site(ServeConfig(rates=OFTEN)) as opened:
            yield opened


@pytest.fixture(scope="module")
def open_to_all(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("MAROTTE_STATE", str(tmp_path_factory.mktemp("state")))
        with open_site(ServeConfig(open_verify=True, rates=Rates(uploads=Rate(0.001, 2)))) as opened:
            yield opened


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where files are kept while they are looked at."""
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    return tmp_path


def test_a_file_is_looked_at_in_a_process_and_forgotten(site: Site, folder: Path) -> None:
    """The answer is a verdict; no file is left, whatever it was called."""
    answer = site.ask("POST", "/api/v1/verify?name=..%2Fa%00b.png", PICTURE, within_s=120)
    assert answer.status == 200
    told = answer.json
    assert (told["status"], told["kind"], told["size"]) == ("none", "picture", [96, 80])
    assert told["file"] == "../a b.png"
    assert list(folder.iterdir()) == []


def test_what_is_no_picture_is_a_verdict_too(site: Site, folder: Path) -> None:
    """With why, and nothing is left either."""
    told = site.ask("POST", "/api/v1/verify", b"no picture at all", within_s=120).json
    assert (told["status"], told["file"]) == ("unreadable", "the file")
    assert told["why"]
    assert list(folder.iterdir()) == []


def test_one_file_at_a_time_of_a_bounded_size(
    site: Site, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Who comes meanwhile is told to wait; what says that it is too large is refused before it comes."""
    begun, go_on = threading.Event(), threading.Event()

    def slowly() -> Iterator[bytes]:
        yield PICTURE[:20]
        begun.set()
        go_on.wait(20)

    monkeypatch.setattr(verify_doors, "MOST_BYTES", 30)
    first: list[int] = []
    thread = threading.Thread(
        target=lambda: first.append(site.ask("POST", "/api/v1/verify", slowly(), within_s=90).status)
    )
    thread.start()
    assert begun.wait(20)
    answers = []
    while not answers or answers[-1].status == 413:  # until the first one has been let in
        answers.append(site.ask("POST", "/api/v1/verify", PICTURE))
    assert answers[-1].status == 429
    assert int(answers[-1].headers["Retry-After"]) > 0
    go_on.set()
    thread.join(100)
    assert first == [200]
    assert site.ask("POST", "/api/v1/verify", PICTURE).status == 413
    assert site.ask("POST", "/api/v1/verify", b"").status == 422
    assert list(folder.iterdir()) == []


def test_a_process_that_fails_is_a_refusal_and_frees_the_place(
    site: Site, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A decoder that takes its process along costs one answer."""
    monkeypatch.setattr(verify_doors.sys, "executable", "/bin/false")
    for _ in range(2):
        answer = site.ask("POST", "/api/v1/verify", PICTURE)
        assert (answer.status, answer.json["error"]["kind"]) == (422, "InputError")
    assert list(folder.iterdir()) == []


def test_it_needs_a_token_unless_the_operator_opens_it(site: Site, open_to_all: Site) -> None:
    """Opened, the page, its parts and its question are free, and nothing else is."""
    assert site.ask("GET", "/verify", token=None).status == 401
    assert site.ask("POST", "/api/v1/verify", PICTURE, token=None).status == 401
    for method, path in verify_doors.OPENED:
        if method == "GET":
            assert open_to_all.ask("GET", path, token=None).status == 200, path
    assert open_to_all.ask("GET", "/verify", token=None, headers=ELSEWHERE).status == 200
    assert open_to_all.ask("POST", "/api/v1/verify", b"", token=None).status == 422
    for path in ("/", "/api/v1/info", "/static/main.js"):
        assert open_to_all.ask("GET", path, token=None).status == 401
    assert open_to_all.ask("POST", "/verify", b"", token=None).status in (401, 405)
    other = {"Origin": "https://elsewhere.example"}
    assert open_to_all.ask("POST", "/api/v1/verify", b"", token=None, headers=other).status == 403


def test_the_server_s_own_token_may_stand_in_its_address(site: Site) -> None:
    """As at the page itself: a cookie instead of it, and the same address without it; no other word will do."""
    answer = site.ask("GET", f"/verify?token={TOKEN}", token=None)
    assert (answer.status, answer.headers["Location"]) == (303, "/verify")
    assert "HttpOnly" in answer.headers["Set-Cookie"]
    assert site.ask("GET", "/verify?token=another", token=None).status == 401


def test_opened_it_is_counted_by_address(open_to_all: Site) -> None:
    """Strangers get no more tries than anybody with a token."""
    statuses = [open_to_all.ask("POST", "/api/v1/verify", b"", token=None).status for _ in range(3)]
    assert statuses[-1] == 429


def test_the_page_s_parts_are_all_opened() -> None:
    """What it imports comes too, or it would stay blank for who has no token."""
    static = Path(verify_doors.__file__).parent / "static"
    page = (static / "verify.html").read_text("utf-8")
    for _, path in verify_doors.OPENED:
        if path.endswith((".js", ".css", ".svg")):
            name = path.removeprefix("/static/")
            assert (static / name).is_file()
    opened = {path for _, path in verify_doors.OPENED}
    imported = {
        f"/static/{part}"
        for name in ("verify.js", "api.js", "elements.js")
        for part in re.findall(
            r'^import .* from "\./(.+)";$', (static / name).read_text("utf-8"), re.MULTILINE
        )
    }
    named = {part.split('"')[0] for part in page.split('="/static/')[1:]}
    assert imported <= opened
    assert {f"/static/{name}" for name in named} <= opened
