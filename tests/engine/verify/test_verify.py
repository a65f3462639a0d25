"""What is found in files: each mark by itself, all of them, none, and what is broken."""

from __future__ import annotations

import json
from fractions import Fraction
from pathlib import Path
from types import SimpleNamespace

import cv2
import numpy as np
import pytest

import marotte
from engine.errors import ConfigError
from engine.marks import Marks, MarksConfig
from engine.media import VideoWriter, write_picture
from engine.provenance import Made, available, sign
from engine.types import Frame
from engine.verify import Asked, Status, verify
from engine.verify.looking import _watermark
from engine.verify.verdict import BadgeSeen
from engine.verify.wording import lines
from engine.watermark import ENGINE, Found, Payload

SESSION = "a session of the tests"
MADE = Made(
    "render", "Mesh flow", "Apache-2.0", trained=False, consent=("0f" * 16,), marks=("badge", "watermark")
)
needs_c2pa = pytest.mark.skipif(not available(), reason="the extra c2pa is not installed")


def _picture(shift: int = 0) -> np.ndarray:
    """Something soft that moves."""
    rng = np.random.default_rng(3)
    large = cv2.resize(
        rng.integers(30, 220, (16, 24, 3), np.uint8), (400, 264), interpolation=cv2.INTER_CUBIC
    )
    return np.ascontiguousarray(large[:240, shift : shift + 320])


def _write(path: Path, marks: Marks | None, frames: int = 30) -> Path:
    with VideoWriter(path, (320, 240), Fraction(1, 25), Fraction(25), marks=marks) as writer:
        for number in range(frames):
            writer.write(Frame(_picture(number % 60), number, Fraction(1, 25), 0.0))
    return path


@pytest.fixture(scope="module")
def marked(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("marked") / "marked.mp4"
    return _write(path, Marks.of((320, 240), MarksConfig(), SESSION))


@pytest.fixture(scope="module")
def plain(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return _write(tmp_path_factory.mktemp("plain") / "plain.mp4", None, frames=8)


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """The picture is not what the test is about: neither mark is looked for in it."""
    none = Found(False, 1.0, None, 0.5, 1, 2.0, (0.0, 0.0))
    monkeypatch.setattr(
        "engine.verify.looking.open_detector",
        lambda: SimpleNamespace(add=lambda _: None, result=lambda: none),
    )
    missed = BadgeSeen(False, 0.1, "AI", (0.0, 0.0, 0.1, 0.1), "top-left")
    monkeypatch.setattr("engine.verify.looking.find_badge", lambda _: missed)


def test_badge_and_watermark_of_a_clip_are_found(marked: Path) -> None:
    """With what they say: the label and its corner, the engine, the session and the day."""
    told: list[tuple[int, int | None]] = []
    verdict = verify(marked, progress=lambda done, total: told.append((done, total)))
    assert verdict.status is Status.MARKED
    assert verdict.badge is not None
    assert (verdict.badge.found, verdict.badge.text, verdict.badge.place) == (True, "AI", "top-right")
    seen = verdict.watermark
    assert seen is not None
    assert seen.present
    assert seen.probability_of_chance < 1e-7
    payload = Payload.of(SESSION)
    assert (seen.engine, seen.ours) == (ENGINE, True)
    assert (seen.session, seen.day) == (f"{payload.session:08x}", payload.date.isoformat())
    assert told[-1] == (30, 30)


def test_a_plain_clip_has_no_mark(plain: Path) -> None:
    """Status 1 of the command, and words that do not call it genuine."""
    verdict = verify(plain)
    assert verdict.status is Status.NONE
    assert verdict.badge is not None
    assert not verdict.badge.found
    assert verdict.watermark is not None
    assert not verdict.watermark.present
    assert any("does not prove" in line for line in lines(verdict))


@pytest.mark.full
def test_a_badge_is_found_on_a_picture_in_another_language(tmp_path: Path) -> None:
    """One frame is enough for it, and it may stand at any corner."""
    config = MarksConfig(watermark=False, language="de", place="bottom-left")
    picture = tmp_path / "picture.jpg"
    write_picture(picture, Marks.of((320, 240), config, SESSION).compose_rgb(_picture()))
    verdict = verify(picture)
    assert verdict.kind == "picture"
    assert verdict.badge is not None
    assert (verdict.badge.found, verdict.badge.text, verdict.badge.place) == (True, "KI", "bottom-left")


@needs_c2pa
@pytest.mark.usefixtures("quick")
def test_a_manifest_is_told_with_its_consent(plain: Path, tmp_path: Path) -> None:
    """A record that the manifest names is looked for among those that lie here."""
    path = tmp_path / "signed.mp4"
    path.write_bytes(plain.read_bytes())
    sign(path, MADE)
    verdict = verify(path)
    assert (verdict.status, verdict.c2pa) == (Status.MARKED, "valid")
    (consent,) = verdict.consent
    assert (consent.id, consent.record) == ("0f" * 16, "no record of it lies here")
    told = json.loads(json.dumps(verdict.as_dict()))
    assert told["manifest"]["source_type"] == "compositeSynthetic"
    assert told["manifest"]["made"]["bundle"]["title"] == "Mesh flow"
    text = "\n".join(lines(verdict))
    assert "valid; its signer is on no trust list" in text
    assert "0f" * 16 in text


@needs_c2pa
@pytest.mark.usefixtures("quick")
def test_a_changed_file_is_broken_whatever_else_it_has(marked: Path, tmp_path: Path) -> None:
    """A manifest that does not hold outweighs the other marks."""
    path = tmp_path / "changed.mp4"
    path.write_bytes(marked.read_bytes())
    sign(path, MADE)
    data = bytearray(path.read_bytes())
    data[data.rindex(b"mdat") + 900] ^= 1
    path.write_bytes(data)
    verdict = verify(path, Asked(windows=1))
    assert (verdict.status, verdict.c2pa) == (Status.BROKEN, "broken")
    assert "do not rely" in "\n".join(lines(verdict))


@needs_c2pa
@pytest.mark.usefixtures("quick")
def test_words_of_a_manifest_cannot_write_to_a_terminal(plain: Path, tmp_path: Path) -> None:
    """Its title, its generator and its bundle are anybody's text."""
    path = tmp_path / "signed.mp4"
    path.write_bytes(plain.read_bytes())
    sign(path, Made("render", "\x1b[31mred\nline", "x\x1b]0;t", software="1\x1b[2J"))
    for line in lines(verify(path, Asked(windows=1))):
        assert line.isprintable(), repr(line)


@pytest.mark.usefixtures("quick")
def test_without_the_library_the_other_marks_are_read(plain: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """And it says how to install it, and not that there is no manifest."""
    monkeypatch.setattr("engine.provenance.available", lambda: False)
    verdict = verify(plain)
    assert verdict.c2pa == "not read"
    assert any("pip install 'marotte[c2pa]'" in line for line in lines(verdict))


def test_a_file_that_cannot_be_read_is_told(tmp_path: Path) -> None:
    """In one line, as its own status."""
    path = tmp_path / "no.mp4"
    path.write_bytes(b"no video")
    verdict = verify(path)
    assert verdict.status is Status.UNREADABLE
    (line,) = lines(verdict)
    assert line.startswith("no.mp4: not read: ")
    assert verify(tmp_path / "nowhere.mp4").status is Status.UNREADABLE


@pytest.mark.parametrize("windows", [-1, 1_000_000])
def test_a_wrong_number_of_windows_is_refused(windows: int) -> None:
    """With what is expected."""
    with pytest.raises(ConfigError, match=r"windows: got .*, expected 0"):
        Asked(windows=windows)


@pytest.mark.usefixtures("quick")
def test_the_command_s_status_is_that_of_the_worst_file(
    plain: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A script can go by it; --json is one array."""
    bad = tmp_path / "bad.mp4"
    bad.write_bytes(b"no video")
    assert marotte.main(["verify", str(plain), "--windows", "1"]) == 1
    capsys.readouterr()
    assert marotte.main(["verify", str(plain), str(bad), "--json", "--windows", "1"]) == 2
    told = json.loads(capsys.readouterr().out)
    assert [one["status"] for one in told] == ["none", "unreadable"]


def test_a_wrong_trust_file_is_told(plain: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Before anything is read."""
    (tmp_path / "no.pem").write_text("nothing")
    assert marotte.main(["verify", str(plain), "--trust", str(tmp_path / "no.pem")]) == 2
    assert "holds no certificate; expected PEM" in capsys.readouterr().err


def test_what_many_windows_make_likely_is_no_mark() -> None:
    """The chance of all windows together is what is tested, not that of the luckiest one."""
    none = Found(False, 1.0, None, 0.5, 1, 2.0, (0.0, 0.0))
    lucky = Found(True, 5e-7, Payload.of(SESSION), 0.6, 1, 2.0, (0.0, 0.0))
    alone, among = _watermark([lucky]), _watermark([lucky, none, none])
    assert (alone.present, alone.marked) == (True, 1)
    assert (among.present, among.marked, among.engine) == (False, 0, None)
    assert among.probability_of_chance == pytest.approx(1.5e-6)
