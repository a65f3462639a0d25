"""A denied source comes in nowhere: every command and function that makes a file of a face, the worker, a bundle; and
`marotte deny` as it is typed."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import cv2
import numpy as np
import pytest

import marotte
from engine.consent import Kind, Store
from engine.denied import Denied, DeniedError
from engine.denied.takedown import take_down
from engine.errors import ConfigError
from engine.puppet import Opening, find_sources
from engine.session_log import SessionLog
from engine.worker.pictures import Picture, with_pictures
from engine.worker.sources import Finder
from tests.engine.consent.test_doors import DOORS
from tests.engine.denied.test_hashing import coded, drawn
from tests.engine.test_worker_pictures import Detector

FILES = sorted(name for name in DOORS if "memory" not in name)


@pytest.fixture(autouse=True)
def state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("MAROTTE_STATE", str(tmp_path / "state"))
    return tmp_path / "state"


@pytest.fixture
def one(tmp_path: Path) -> Path:
    """A copy, coded anew, of a picture that is denied."""
    path = tmp_path / "one.png"
    cv2.imwrite(str(path), cv2.cvtColor(coded(drawn(1), 50), cv2.COLOR_RGB2BGR))
    Denied().add("a report", pictures=[drawn(1)])
    return path


def png(seed: int) -> bytes:
    done, data = cv2.imencode(".png", cv2.cvtColor(drawn(seed, (240, 240)), cv2.COLOR_RGB2BGR))
    assert done
    return data.tobytes()


@pytest.mark.parametrize("door", FILES)
def test_no_file_is_made_of_it(door: str, one: Path, tmp_path: Path) -> None:
    """Whatever was consented to, and before a network looks at it; nothing is left behind."""
    with pytest.raises(DeniedError, match="decision of its operator"):
        DOORS[door](one, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_pixels_in_memory_are_looked_at_too(one: Path) -> None:
    """As a program hands them to the engine."""
    with pytest.raises(DeniedError):
        marotte.puppet(drawn(1), consent="generated")


def test_the_worker_refuses_what_it_decodes() -> None:
    """A single upload, and each photo of a person's, by its look and by its own bytes."""
    finder = Finder(Detector(), None, side=240, faces=1)
    finder.find(png(1), "fine.png", lambda: None)
    Denied().add("a report", pictures=[drawn(1, (240, 240))])
    with pytest.raises(DeniedError, match=r"^bad\.png: it is not used"):
        finder.find(png(1), "bad.png", lambda: None)
    several = with_pictures([Picture("fine.png", png(2)), Picture("bad.png", png(1))])
    with pytest.raises(DeniedError, match=r"^bad\.png"):
        finder.find(several, "both", lambda: None)
    entry = take_down(Denied(), "by its bytes", sums=[hashlib.sha256(png(3)).hexdigest()]).entry
    assert not entry.hashes
    with pytest.raises(DeniedError):
        finder.find(png(3), "third.png", lambda: None)


def test_what_faces_are_looked_for_in_is_asked_for(monkeypatch: pytest.MonkeyPatch, one: Path) -> None:
    """The frame that is chosen out of a clip too: before a network sees it."""
    from engine import puppet

    class Blind:
        def close(self) -> None: ...

    monkeypatch.setattr(puppet.Opening, "detector", lambda self: Blind())
    monkeypatch.setattr(puppet.Opening, "segmenter", lambda self: Blind())
    with pytest.raises(DeniedError):
        find_sources(drawn(1), Opening())


def test_typed_it_denies_lists_checks_and_takes_out(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], state: Path
) -> None:
    """The id alone on standard output, for a script; a consent to the file is ended with it, and the log has both lines
    and no word of the report's sender."""
    path, copy = tmp_path / "a.png", tmp_path / "b.png"
    path.write_bytes(png(1))
    copy.write_bytes(cv2.imencode(".png", coded(drawn(1, (240, 240)), 60)[..., ::-1])[1].tobytes())
    sum_ = hashlib.sha256(png(1)).hexdigest()
    record = Store(state).attest(
        (sum_,), Kind.GENERATED, shown="nobody", attested_by="Ann", statement="drawn"
    )
    assert marotte.main(["deny", "add", str(path), "--why", "on the report of Bob"]) == 0
    said = capsys.readouterr()
    entry = said.out.strip()
    assert len(entry) == 12
    assert record.id[:8] in said.err
    assert Store(state).revoked(record.id) is not None
    assert marotte.main(["deny", "list", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["sha256"] == [sum_]
    assert marotte.main(["deny", "check", str(copy)]) == 1
    assert f"entry {entry}, by its picture" in capsys.readouterr().out
    assert marotte.main(["deny", "add", "ab" * 32, "--why", "gone"]) == 0
    assert "by its bytes alone" in capsys.readouterr().err
    assert marotte.main(["deny", "remove", entry]) == 0
    assert marotte.main(["deny", "remove", entry]) == 1
    assert marotte.main(["deny", "check", str(copy)]) == 0
    log = "".join(one.read_text("utf-8") for one in sorted(SessionLog().folder.glob("*.jsonl")))
    assert f'"entry":"{entry}","event":"denied"' in log
    assert '"event":"denial-lifted"' in log
    assert "Bob" not in log


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["add", "--why", "x"], "nothing to know it by"),
        (["add", "ab" * 32, "--why", ""], "why"),
        (["add", "--sha", "short", "--why", "x"], "64 hex digits"),
        (["add", "nothing.jpg", "--why", "x"], "nothing.jpg"),
        (["remove", "../../x"], "12 hex digits"),
        (["shapes", "of"], "did you mean 'off'"),
        (["shapes", "900"], "365"),
    ],
)
def test_what_is_wrong_is_one_line(
    words: list[str], says: str, capsys: pytest.CaptureFixture[str], state: Path
) -> None:
    """And nothing is denied."""
    assert marotte.main(["deny", *words]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert says in line
    assert Denied().all() == ()


def test_shapes_are_turned_on_and_off_with_a_line_in_the_log(
    capsys: pytest.CaptureFixture[str], state: Path
) -> None:
    """It lowers a protection; turned off everything is gone."""
    assert marotte.main(["deny", "shapes", "30"]) == 0
    assert Denied().keeps_shapes() == 30
    assert marotte.main(["deny", "prune"]) == 0
    assert marotte.main(["deny", "reports"]) == 0
    assert marotte.main(["deny", "shapes", "off"]) == 0
    assert Denied().keeps_shapes() == 0
    assert "0 deleted" in capsys.readouterr().err
    log = "".join(one.read_text("utf-8") for one in sorted(SessionLog().folder.glob("*.jsonl")))
    assert '"event":"protection-lowered"' in log


def test_a_takedown_that_cannot_be_read_denies_nothing(tmp_path: Path) -> None:
    """Whole or not at all."""
    with pytest.raises(ConfigError):
        take_down(Denied(), "", pictures=[np.zeros((9, 9, 3), np.uint8)])
    assert Denied().all() == ()


def test_a_takedown_tells_the_record_nothing_of_the_entry(state: Path) -> None:
    """A revocation travels with its record, to whoever it is exported to."""
    record = Store().attest(["a" * 64], Kind.MYSELF, shown="Ann", attested_by="Ann", statement="It is me.")
    take_down(Denied(), "on the report of Bob", sums=["a" * 64])
    revoked = Store().revoked(record.id)
    assert revoked is not None
    assert revoked.why == "withdrawn"
