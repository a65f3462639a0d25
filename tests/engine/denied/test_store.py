"""The deny-list: found again by bytes and by pictures, in doubt everything is denied, and nothing of it leaks."""

from __future__ import annotations

import os
import stat
from datetime import UTC, datetime, timedelta
from fractions import Fraction
from pathlib import Path

import cv2
import numpy as np
import pytest

from engine import canonical
from engine.denied import REFUSED, Denied, DeniedError, refuse, report, store
from engine.denied.reading import matches_of, read, refuse_files, spaced
from engine.errors import ConfigError, StateError
from engine.features.shape import fit_shape
from engine.types import U8, Face, FaceShape, Frame
from tests.engine.denied.test_hashing import coded, drawn

SUM = "ab" * 32


@pytest.fixture
def denied(tmp_path: Path) -> Denied:
    return Denied(tmp_path / "state")


def face_of(seed: int, noise: float = 0.0) -> FaceShape:
    """A face whose parts stand elsewhere than another one's; noise: of its measurement, in centimetres."""
    random = np.random.default_rng(seed)
    offset = random.normal(0.0, 0.25, canonical.VERTICES.shape)
    measured = canonical.VERTICES + offset + np.random.default_rng(seed + 99).normal(0.0, noise, offset.shape)
    return fit_shape((20.0 * measured + (300.0, 200.0, 0.0)).astype(np.float32))


def test_no_bytes_are_left_out_silently(denied: Denied) -> None:
    """A photo that is not on the list would be shown: too many at once are refused with what to do."""
    sums = [f"{number:064x}" for number in range(65)]
    with pytest.raises(ConfigError, match="several entries"):
        denied.add("a report", sums=sums)
    assert denied.add("a report", sums=sums[:64]).sha256s == tuple(sums[:64])


def test_an_empty_list_denies_nothing_and_makes_nothing(
    denied: Denied, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where nobody was ever denied no picture is hashed and no folder made."""
    monkeypatch.setattr(store.hashing, "hashes_of", lambda rgb: pytest.fail("it was looked at"))
    assert denied.why(drawn(1), sums=(SUM,)) is None
    assert not denied.folder.exists()


def test_what_is_denied_is_known_by_its_bytes_and_by_its_look(denied: Denied) -> None:
    """By either, in another process too, until it is taken out; others are not."""
    entry = denied.add("on a report", pictures=[drawn(1)], sums=[SUM.upper()])
    other = Denied(denied.state)
    assert other.why(None, sums=("00" * 32, SUM)) == REFUSED
    assert other.why(coded(drawn(1), 40)) == REFUSED
    assert other.why(drawn(2), sums=("00" * 32,)) is None
    match = other.match(drawn(1))
    assert match is not None
    assert (match.entry.id, match.how, match.apart) == (entry.id, "picture", 0)
    assert denied.remove(entry.id)
    assert other.why(drawn(1), sums=(SUM,)) is None
    assert not denied.remove(entry.id)


def test_who_is_refused_learns_nothing_of_the_list(denied: Denied) -> None:
    """Neither why, nor by which entry, nor how near it came: the message is the same for all."""
    entry = denied.add("the report of Ann", pictures=[drawn(1)], sums=[SUM])
    for given in ({"picture": drawn(1)}, {"picture": None, "sums": (SUM,)}):
        with pytest.raises(DeniedError) as error:
            refuse(name="bob.jpg", denied=denied, **given)  # type: ignore[arg-type]
        assert str(error.value) == f"bob.jpg: {REFUSED}"
        assert "Ann" not in str(error.value)
        assert entry.id not in str(error.value)
        assert "operator" in str(error.value)


def test_its_files_are_the_operators_alone(denied: Denied) -> None:
    """They hold what people reported."""
    denied.add("on a report", sums=[SUM])
    denied.keep_shapes(3)
    if os.name == "posix":
        assert stat.S_IMODE(denied.folder.stat().st_mode) == 0o700
        assert {stat.S_IMODE(path.stat().st_mode) for path in denied.folder.iterdir()} == {0o600}


def test_what_could_not_be_known_again_is_no_entry(denied: Denied) -> None:
    """A grey picture, or nothing at all."""
    for pictures in ([], [np.full((60, 60, 3), 128, np.uint8)]):
        with pytest.raises(ConfigError, match="nothing to know it by"):
            denied.add("on a report", pictures=pictures)
    assert denied.all() == ()


def test_a_list_that_cannot_be_read_denies_everything(denied: Denied) -> None:
    """Fail closed, with the way out; taking the damaged file out helps."""
    denied.add("on a report", sums=[SUM])
    (denied.folder / "000000000000.json").write_text("{")
    with pytest.raises(StateError, match="no source is used"):
        denied.why(drawn(2))
    assert denied.remove("000000000000")
    assert denied.why(drawn(2)) is None


def test_entries_that_come_and_go_at_once_are_seen(denied: Denied) -> None:
    """What was changed within one tick of the file system's clock is not missed."""
    other = Denied(denied.state)
    for number in range(12):
        entry = denied.add("on a report", sums=[f"{number:064x}"])
        assert other.why(None, sums=(f"{number:064x}",)) == REFUSED
        denied.remove(entry.id)
        assert other.why(None, sums=(f"{number:064x}",)) is None


def test_no_shape_is_kept_unless_it_was_turned_on(denied: Denied) -> None:
    """Biometric data: off by default, and then neither a template nor a salt is there."""
    entry = denied.add("on a report", sums=[SUM], shape=face_of(1))
    assert entry.template is None
    assert not (denied.folder / "salt").exists()
    assert denied.like(face_of(1)) is None


def test_a_shape_is_found_again_and_refuses_nobody(denied: Denied) -> None:
    """Where it is on, a face with nearly the shape of a denied one is put down for the operator; by itself it is no
    reason to refuse."""
    denied.keep_shapes(30)
    entry = denied.add("on a report", sums=[SUM], shape=face_of(1))
    assert entry.template is not None
    match = denied.report("bob", face_of(1, noise=0.002))
    assert match is not None
    assert (match.entry.id, match.how) == (entry.id, "shape")
    assert denied.report("ann", face_of(2)) is None
    (told,) = denied.reports()
    assert (told.source, told.entry) == ("bob", entry.id)
    assert denied.why(drawn(5), face_of(1)) is None


def test_templates_go_with_their_time_and_with_the_salt(denied: Denied) -> None:
    """What is over is not compared and is deleted by prune; turned off, everything biometric is gone at once. What was
    denied stays denied."""
    now = datetime(2026, 5, 1, tzinfo=UTC)
    denied.keep_shapes(2)
    denied.add("on a report", sums=[SUM], shape=face_of(1), now=now)
    later = now + timedelta(days=3)
    assert denied.like(face_of(1), now) is not None
    assert denied.like(face_of(1), later) is None
    denied.report("bob", face_of(1), now)
    assert denied.prune(now) == 0
    assert denied.prune(later) == 1
    assert denied.reports() == ()
    denied.add("on a report", sums=["cd" * 32], shape=face_of(2), now=now)
    assert denied.keep_shapes(0) == 1
    assert [path.name for path in denied.folder.iterdir() if path.suffix != ".json"] == []
    assert all(entry.template is None for entry in denied.all())
    assert denied.why(None, sums=(SUM,)) == REFUSED


def test_another_installations_templates_say_nothing(denied: Denied, tmp_path: Path) -> None:
    """Without the salt that it was made with a template is compared with nothing."""
    denied.keep_shapes(30)
    denied.add("on a report", sums=[SUM], shape=face_of(1))
    (denied.folder / "salt").write_bytes(bytes(32))
    assert denied.like(face_of(1)) is None


def test_a_face_is_measured_only_where_shapes_are_kept(
    denied: Denied, monkeypatch: pytest.MonkeyPatch
) -> None:
    """No biometric reading is made by the way; and a report that cannot be written stops nobody."""
    points = face_of(1).points()
    face = Face(np.array([0, 0, 1, 1], np.float32), points, 1.0, 0)
    report(face, "bob", denied)
    assert not denied.folder.exists()
    denied.keep_shapes(5)
    denied.add("on a report", sums=[SUM], shape=face_of(1))
    monkeypatch.setattr(store, "append_line", lambda path, line: (_ for _ in ()).throw(OSError(28, "full")))
    report(face, "bob", denied)


@pytest.mark.parametrize("days", [-1, 366])
def test_a_retention_is_a_number_of_days(denied: Denied, days: int) -> None:
    """No template is kept for good."""
    with pytest.raises(ConfigError, match="days"):
        denied.keep_shapes(days)


def test_files_are_denied_and_asked_for(denied: Denied, tmp_path: Path) -> None:
    """A photo by its bytes and its look; what cannot be read is left to whoever reads it; a folder is no file."""
    path, again, other = tmp_path / "a.png", tmp_path / "b.jpg", tmp_path / "c.png"
    for where, rgb in ((path, drawn(1)), (again, drawn(1)), (other, drawn(2))):
        cv2.imwrite(str(where), cv2.cvtColor(rgb, cv2.COLOR_RGB2BGR))
    given = read([path])
    denied.add("on a report", pictures=given.pictures, frames=given.frames, sums=given.sums)
    found = [matches_of(one, denied) for one in (path, again, other)]
    assert [None if one is None else one.how for one in found] == ["file", "picture", None]
    refuse_files([other, tmp_path / "nothing.png", drawn(3)], denied)
    for wrong in (again, str(path), drawn(1)):
        with pytest.raises(DeniedError):
            refuse_files([wrong], denied)
    with pytest.raises(ConfigError, match="at most"):
        read([path] * 9)


def test_a_clip_is_looked_at_as_a_source_is(denied: Denied) -> None:
    """Its first minute, five frames a second."""
    pixel: U8 = np.zeros((8, 8, 3), np.uint8)
    frames = [Frame(pixel, number, Fraction(1, 25), 0.0) for number in range(25 * 70)]
    assert 280 <= len(list(spaced(frames, 0.2))) <= 301
    assert len(list(spaced(frames, 1.0))) == 61


@pytest.mark.parametrize("harm", ["unreadable", "no folder", "dangling"])
def test_a_list_that_cannot_be_listed_denies_everything(
    denied: Denied, harm: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A folder that may not be read, that is none, or that leads nowhere is no empty list."""
    denied.add("on a report", sums=[SUM])
    if harm == "unreadable":
        monkeypatch.setattr(os, "scandir", lambda path: (_ for _ in ()).throw(PermissionError(13, "denied")))
    else:
        denied.folder.rename(denied.state / "away")
        if harm == "no folder":
            denied.folder.write_text("")
        else:
            denied.folder.symlink_to(denied.state / "nowhere")
    other = Denied(denied.state)
    for ask in (
        other.all,
        lambda: other.why(None, sums=("00" * 32,)),
        lambda: refuse_files([drawn(1)], other),
    ):
        with pytest.raises(StateError, match="cannot be read, so no source is used"):
            ask()
