"""`marotte consent`: from a record to its end, by words alone."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

import marotte
from engine.consent import Kind, Store
from engine.errors import ConsentError

pytestmark = pytest.mark.usefixtures("real_consent")


@pytest.fixture
def photo(tmp_path: Path) -> Path:
    path = tmp_path / "zoe.jpg"
    path.write_bytes(b"a picture")
    return path


def run(*words: object) -> int:
    return marotte.main(["consent", *map(str, words)])


def test_a_record_is_added_shown_and_ended(photo: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """By the file it is for; what ends it is told from then on, and is no fault of the record."""
    words = (
        "--shown",
        "Zoë",
        "--by",
        "Ann",
        "--statement",
        "Letter of May.",
        "--scope",
        "render, live",
        "--expires",
        "9d",
    )
    assert run("add", photo, "--kind", "written", *words) == 0
    (record,) = Store().all()
    assert (record.kind, record.shown, record.attested_by) == (Kind.WRITTEN, "Zoë", "Ann")
    assert record.scope == ("live", "render")
    assert record.expires is not None
    assert round((record.expires - record.made).total_seconds() / 86400) == 9
    assert record.id in capsys.readouterr().out
    assert run("show", photo) == run("show", record.id[:8]) == 0
    shown = capsys.readouterr().out
    for said in ("Zoë", "Letter of May.", record.sources[0], "holds        holds"):
        assert said in shown
    assert run("verify") == run("verify", photo) == 0
    assert run("revoke", photo, "--why", "She asked.") == 0
    capsys.readouterr()
    assert run("verify") == run("verify", photo) == 0  # it is as it should be
    assert capsys.readouterr().out.count("sound, and was revoked") == 2
    assert run("list", "--json") == 0
    (told,) = json.loads(capsys.readouterr().out)
    assert (told["id"], told["revoked"]["why"]) == (record.id, "She asked.")


def test_a_file_of_it_counts_elsewhere(
    photo: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Exported, looked at, imported; a file that was changed is told as such."""
    file = tmp_path / "given.json"
    assert run("add", photo, "--kind", "generated") == 0
    assert run("export", photo, "--out", file) == 0
    monkeypatch.setenv("MAROTTE_STATE", str(tmp_path / "elsewhere"))
    assert run("verify", file) == 1
    assert "another installation" in capsys.readouterr().out
    assert run("import", file) == 0
    assert run("verify", file) == 0
    assert run("list") == 0
    assert "generated person: nobody" in capsys.readouterr().out
    file.write_text(file.read_text("utf-8").replace("nobody", "anybody"), "utf-8")
    assert run("verify", file) == 1
    assert run("import", file) == 2


def test_a_revocation_is_taken_over(
    photo: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Importing it is done, and told, though no source may be used by it; as an option it is refused."""
    given, ended = tmp_path / "given.json", tmp_path / "ended.json"
    assert run("add", photo, "--kind", "generated") == run("export", photo, "--out", given) == 0
    assert run("revoke", photo, "--why", "A mistake.") == run("export", photo, "--out", ended) == 0
    monkeypatch.setenv("MAROTTE_STATE", str(tmp_path / "elsewhere"))
    assert run("import", given) == run("import", ended) == 0
    assert "was revoked (A mistake.), and from now on here too" in capsys.readouterr().out
    (record,) = Store().all()
    assert Store().revoked(record.id) is not None
    with pytest.raises(ConsentError, match="was revoked"):
        Store().take(ended)


def test_several_records_are_one_array(photo: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """And none an empty one."""
    for count in range(3):
        assert run("list", "--json") == 0
        assert len(json.loads(capsys.readouterr().out)) == count
        assert run("add", photo, "--kind", "artwork", "--shown", f"Work {count}") == 0
        capsys.readouterr()


def test_a_bundle_is_a_source_too(tmp_path: Path) -> None:
    """By its folder."""
    from engine.consent.bundled import cover_bundle
    from tests.engine.stit_files import write_stit

    bundle = write_stit(tmp_path / "own")
    assert run("add", bundle, "--kind", "generated") == 0
    assert cover_bundle(bundle, "live", Store())


@pytest.mark.parametrize(
    "words",
    [
        ("add", "{P}", "--kind", "writen:Zoë"),
        ("add", "{P}", "--kind", "written"), ("add", "no.jpg", "--kind", "myself"),
        ("add", "{P}", "--kind", "myself", "--expires", "1999-01-01"),
        ("add", "{P}", "--kind", "myself", "--scope", "all"),
        ("add", "{P}", "--kind", "sample"), ("show", "{P}"), ("revoke", "abc", "--why", "x"), ("import", "{P}"),
        ("export", "{P}", "--out", "x.json"),
    ],
)  # fmt: skip
def test_wrong_words_are_one_line(
    words: tuple[str, ...], photo: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    """And nothing is recorded."""
    assert run(*(word.format(P=photo) for word in words)) == 2
    assert capfd.readouterr().err.count("\n") == 1
    assert Store().all() == ()
