"""Consent given without questions."""

from __future__ import annotations

from pathlib import Path

import pytest

from engine.consent import ConsentError, Kind, Store
from engine.consent.given import STATEMENTS, WORDS, given
from engine.consent.reading import Exported, written
from engine.errors import ConfigError

SHA = "ab" * 32


@pytest.mark.parametrize(
    ("option", "kind", "shown"),
    [
        ("myself", Kind.MYSELF, "the operator"),
        ("myself:Ann", Kind.MYSELF, "Ann"),
        ("generated", Kind.GENERATED, "nobody"),
        ("artwork:Mona Lisa, Leonardo: 1503", Kind.ARTWORK, "Mona Lisa, Leonardo: 1503"),
        ("written: Zoë ", Kind.WRITTEN, "Zoë"),
    ],
)
def test_a_kind_and_who_is_shown(option: str, kind: Kind, shown: str, real_consent: Path) -> None:
    """Two words are enough for a record of the operator's; each kind has a sentence for it."""
    record = given(option).put(Store(real_consent), [SHA])
    assert (record.kind, record.shown, record.statement) == (kind, shown, STATEMENTS[kind])
    assert (
        given(option).put(Store(real_consent), ["cd" * 32], "Said in a letter.").statement
        == "Said in a letter."
    )


def test_it_is_said_how_much_was_recorded(
    real_consent: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Whichever command it is given to: all uses, and no end."""
    with caplog.at_level("INFO", "marotte.consent"):
        record = given("written:Ann").put(Store(), ["ab" * 32])
    assert record.expires is None
    (told,) = caplog.messages
    assert "Ann; for live, call, render, train, without an end" in told


def test_every_kind_but_the_sample_has_a_word() -> None:
    """What the project ships cannot be said of anything else."""
    assert set(WORDS.values()) == set(STATEMENTS) == set(Kind) - {Kind.SAMPLE}


@pytest.mark.parametrize(
    ("option", "told"),
    [
        ("mysef:Ann", "did you mean 'myself'"), ("written", "written:NAME"), ("artwork: ", "artwork:NAME"),
        ("sample", "expected one of"), ("", "empty name"), ("none.json", "not there"), ("myself:a\nb", "U+000A"),
    ],
)  # fmt: skip
def test_what_says_nothing_is_refused(option: str, told: str, real_consent: Path) -> None:
    """A wrong kind, one without its name, and a file that is not there."""
    with pytest.raises((ConfigError, ConsentError)) as raised:
        given(option).put(Store(real_consent), [SHA])
    assert told in str(raised.value)
    assert not (real_consent / "consent").exists()


def test_a_file_is_imported(real_consent: Path, tmp_path: Path) -> None:
    """Naming a record's file is the operator's word for it: it counts from then on."""
    elsewhere, here = Store(tmp_path / "elsewhere"), Store(real_consent)
    record = elsewhere.attest([SHA], Kind.WRITTEN, shown="Zoë", attested_by="Ann", statement="She said yes.")
    file = tmp_path / "zoe.json"
    file.write_bytes(written(Exported(record)))
    assert given(str(file)).put(here, []) == given(file).put(here, []) == record
    assert here.find(SHA) == record
