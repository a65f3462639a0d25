"""`marotte report`: what it collects, and above all what it leaves out."""

from __future__ import annotations

import json
import zipfile
from pathlib import Path

import pytest

import marotte
from streaming import bug_report
from streaming.config import ServeConfig
from streaming.redact import Redactor
from tests.streaming.doorstep import TOKEN, FakeWorker, open_site

CLEAN = Redactor(home=Path("/home/anna"), names=("anna", "annas-machine", "root"), secrets=(TOKEN,))


@pytest.mark.parametrize(
    ("told", "left"),
    [
        (f"open http://127.0.0.1:8765/?token={TOKEN}", "open http://127.0.0.1:8765/?token=<removed>"),
        (f"bare {TOKEN}x", "bare <token>x"),
        ("GET /?code=abcDEF-123 HTTP/1.1", "GET /?code=<removed> HTTP/1.1"),
        ("Authorization: Bearer abc.def", "Authorization: Bearer <token>"),
        ("given mrt1.eyJhIjoxfQ.c2lnbg-_ twice", "given <token> twice"),
        ("--ice-server turn:me:secret@turn.example:3478", "--ice-server turn:<account>@turn.example:3478"),
        ("https://me:secret@host.example/x", "https://<account>@host.example/x"),
        ("peer 203.0.113.9 came, 127.0.0.1 and ::1 stay", "peer <address> came, 127.0.0.1 and ::1 stay"),
        ("peer 2001:db8::17 at 12:34:56", "peer <address> at 12:34:56"),
        ("/home/anna/My pictures/anna.jpg: no face", "<path>: no face"),
        ("read /srv/clips/Maria/take.bin", "read <path>.bin"),
        (r"read C:\Users\Maria\take.bin", "read <path>.bin"),
        ("source: Maria Schmidt.jpg: no face found", "source: <file>.jpg: no face found"),
        ("statement: Maria allows it", "statement: <removed>"),
        ("anna at annas-machine said root", "<name> at <name> said root"),
        ("POST /api/sessions failed", "POST /api/sessions failed"),
        (
            'File "/opt/venv/lib/python3.11/site-packages/aiortc/rtp.py", line 3',
            'File "site-packages/aiortc/rtp.py", line 3',
        ),
        ('File "/home/anna/marotte/streaming/peer.py", line 3', 'File "streaming/peer.py", line 3'),
        ("session " + "ab" * 32, "session <digest>"),
        ("version 3.11.7 of 17.1.0", "version 3.11.7 of 17.1.0"),
    ],
)
def test_what_a_stranger_needs_not_is_taken_out(told: str, left: str) -> None:
    """Whatever line it stands in; what tells where a fault is stays."""
    assert CLEAN.text(told) == left


def test_a_report_of_a_running_server(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Its settings, health and metrics, the log's last lines; no name of a source, no account, no token anywhere."""
    monkeypatch.setenv("MAROTTE_STATE", str(tmp_path / "state"))
    monkeypatch.setenv("MAROTTE_TOKEN", TOKEN)
    log = tmp_path / "log"
    log.write_text(
        "old\n" * 1000 + f"marotte: open http://127.0.0.1:1/?token={TOKEN}\nlast\n", encoding="utf-8"
    )
    config = ServeConfig(ice_servers=("stun:stun.example:1", "turn:me:secret@turn.example:2"))
    out = tmp_path / "report.txt"
    with open_site(config, worker=FakeWorker()) as site:  # type: ignore[arg-type]
        said = "kind=myself&attested_by=Maria&statement=Maria+allows+it"
        site.post(f"/api/v1/sources?name=Maria.png&{said}", b"a picture")
        words = [
            "--server",
            f"http://127.0.0.1:{site.port}",
            "--log",
            str(log),
            "--no-doctor",
            "--out",
            str(out),
        ]
        assert marotte.main(["report", *words]) == 0
        said = capsys.readouterr().out
        assert marotte.main(["report", *words]) == 2  # it is there already
    text = out.read_text("utf-8")
    for part in ("versions", "health", "settings", "metrics", "log"):
        assert f"===== {part}: " in text
        assert f"  {part}: " in said
    for secret in (TOKEN, "secret", "Maria", "turn.example", "first.png", str(tmp_path)):
        assert secret not in text
    assert "token=<removed>\nlast" in text
    assert text.count("old\n") == bug_report.LOG_LINES - 2
    settings = json.loads(text.split("===== settings: ")[1].split("\n", 1)[1].split("\n=====")[0])
    assert settings["ice_servers"] == {"stun": 1, "turn": 1}
    assert settings["bundles"][1]["name"] == "own-1"
    assert len(settings["sources"]) == 2
    assert "aiohttp 3" in text
    assert "Read it before you send it" in said


def test_a_report_is_made_where_nothing_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each part says why it is empty; as an archive it has a file for each."""
    monkeypatch.delenv("MAROTTE_TOKEN", raising=False)
    out = tmp_path / "report.zip"
    words = ["report", "--server", "http://127.0.0.1:9", "--no-doctor", "--out", str(out)]
    assert marotte.main(words) == 0
    with zipfile.ZipFile(out) as archive:
        told = {name: archive.read(name).decode() for name in archive.namelist()}
    assert set(told) == {"versions.txt", "health.txt", "settings.txt", "metrics.txt"}
    assert "no answer" in told["health.txt"]
    assert "no answer" in told["settings.txt"]
    assert not list(tmp_path.glob("*.part"))


@pytest.mark.parametrize("url", ["127.0.0.1:8765", "file:///etc/passwd", "http://", "ftp://me:secret@x"])
def test_a_server_is_asked_over_http_alone(
    url: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """One line for any other address, without an account that stands in it."""
    assert marotte.main(["report", "--server", url, "--no-doctor", "--out", str(tmp_path / "a")]) == 2
    said = capsys.readouterr().err
    assert "expected http://HOST:PORT" in said
    assert "secret" not in said


def test_a_bundles_own_name_is_a_number() -> None:
    """A folder may be called as a person is; what is shipped keeps its name, in labels too."""
    told = (
        'marotte_bundle_sessions{bundle="maria",mode="edit"} 1\nx{bundle="mesh_flow"} 0\ny{bundle="maria"} 2'
    )
    assert bug_report._metrics(told).count("own-1") == 2
    assert "maria" not in bug_report._metrics(told)
    assert 'bundle="mesh_flow"' in bug_report._metrics(told)
