"""Records: what is signed, what a file holds, and what is none."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from engine.consent import SCOPES, ConsentError, Kind, Record
from engine.consent.reading import (
    MOST_BYTES,
    Exported,
    countersign,
    line_of,
    parse,
    read_file,
    revocation,
    written,
)
from engine.consent.record import MOST_SOURCES, attest, last_day
from engine.errors import ConfigError
from engine.signing import Signer

SHA = "ab" * 32
NOW = datetime(2026, 11, 22, 10, 0, 0, tzinfo=UTC)
SIGNER = Signer(Ed25519PrivateKey.from_private_bytes(b"a key of the tests, thirty-two b"))
OTHER = Signer(Ed25519PrivateKey.from_private_bytes(b"another of them, it is as long  "))


def made(**changes: object) -> Record:
    fields = {"shown": "Zoë", "attested_by": "Ann", "statement": "She said yes.", "now": NOW}
    return attest(SIGNER, [SHA], Kind.WRITTEN, **(fields | changes))  # type: ignore[arg-type]


def test_a_record_comes_back_from_its_file() -> None:
    """Every field, letters beyond ASCII among them, the countersignature and the revocation: and the id is of what is
    signed."""
    record = made(
        expires=NOW + timedelta(days=3),
        scope=["render", "live"],
        self_check={"distance": 0.25, "passed": True},
    )
    whole = Exported(record, countersign(record, OTHER, NOW), revocation(record.id, "asked", SIGNER, NOW))
    assert record.scope == ("live", "render")
    assert parse(written(whole), "it") == whole
    assert parse(line_of(whole).encode(), "it") == whole
    assert made().id != record.id
    assert made().id == made().id


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("sources", ["cd" * 32]), ("kind", "myself"), ("shown", "Bob"), ("attested_by", "Bob"), ("statement", "No."),
        ("scope", ["train"]), ("made", "2026-11-22T10:00:01+00:00"), ("expires", None), ("key", OTHER.public),
        ("self_check", {"distance": 0.5}),
    ],
)  # fmt: skip
def test_no_field_can_be_changed(field: str, value: object) -> None:
    """Each is signed: who changes one holds a record that nobody signed."""
    told = json.loads(written(Exported(made(expires=NOW + timedelta(days=3)))))
    assert told["record"][field] != value
    told["record"][field] = value
    with pytest.raises(ConsentError, match="signature is not right"):
        parse(json.dumps(told).encode(), "it")


def test_what_goes_along_is_signed_too() -> None:
    """A countersignature or a revocation of another record counts for nothing."""
    record, other = made(), made(shown="Bob")
    strange = Exported(record, countersign(other, OTHER, NOW))
    with pytest.raises(ConsentError, match="countersignature"):
        parse(written(strange), "it")
    with pytest.raises(ConsentError, match="revocation"):
        parse(written(Exported(record, None, revocation(other.id, "asked", SIGNER, NOW))), "it")


@pytest.mark.parametrize(
    ("change", "told"),
    [
        (lambda it: it.pop("id"), "id is missing"),
        (lambda it: it["record"].pop("expires"), "expires is missing"),
        (lambda it: it.update(extra=1), "extra"),
        (lambda it: it["record"].update(statment="x"), "did you mean 'statement'"),
        (lambda it: it["record"].update(format="marotte consent 2"), "update Marotte"),
        (lambda it: it["record"].update(kind="mysef"), "did you mean 'myself'"),
        (lambda it: it["record"].update(sources=[]), "sources"),
        (lambda it: it["record"].update(sources=[SHA.upper()]), "sources"),
        (lambda it: it["record"].update(sources=[SHA, SHA]), "twice"),
        (lambda it: it["record"].update(sources=[f"{k:064x}" for k in range(MOST_SOURCES + 1)]), "sources"),
        (lambda it: it["record"].update(scope=["everything"]), "scope"),
        (lambda it: it["record"].update(scope=[]), "scope"),
        (lambda it: it["record"].update(scope=[["live"]]), "scope"),
        (lambda it: it["record"].update(statement="two\nlines"), "U+000A"),
        (lambda it: it["record"].update(statement=" x"), "spaces"),
        (lambda it: it["record"].update(shown="x" * 121), "at most"),
        (lambda it: it["record"].update(made="2026-11-22T10:00:00"), "made"),
        (lambda it: it["record"].update(made="2026-11-22T10:00:00+01:00"), "made"),
        (lambda it: it["record"].update(made=5), "made"),
        (lambda it: it["record"].update(self_check=[1]), "self_check"),
        (lambda it: it["record"].update(self_check={"a b": 1}), "self_check"),
        (lambda it: it["record"].update(self_check={"a": {"deep": 1}}), "self_check"),
        (lambda it: it.update(record=[]), "record"),
        (lambda it: it.update(signature=5), "signature"),
    ],
)  # fmt: skip
def test_a_file_is_read_strictly(change: object, told: str) -> None:
    """Unknown keys, other types and what a terminal would not show are refused by name, on one line."""
    value = json.loads(written(Exported(made())))
    change(value)  # type: ignore[operator]
    with pytest.raises(ConsentError, match="it: no consent record") as raised:
        parse(json.dumps(value).encode(), "it")
    assert told in str(raised.value)
    assert str(raised.value).isprintable()


@pytest.mark.parametrize(
    "data",
    [b"", b"\x80\x04\x95", b"null", b"[" * 5000, b'{"id": 1, "id": 2}', b"\xff\xfe", b" " * (MOST_BYTES + 1)],
)
def test_what_is_no_record_is_refused(data: bytes) -> None:
    """A pickle, too deep, twice the same key, no UTF-8, too large."""
    with pytest.raises(ConsentError):
        parse(data, "it")


def test_a_folder_or_a_pipe_is_no_file(tmp_path: Path) -> None:
    """And none is waited for."""
    with pytest.raises(ConsentError):
        read_file(tmp_path)
    with pytest.raises(ConsentError, match="cannot be read"):
        read_file(tmp_path / "none.json")


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"shown": ""}, "shown"), ({"attested_by": "a\u202eb"}, "U+202E"), ({"statement": "x" * 301}, "at most"),
        ({"scope": ["life"]}, "did you mean 'live'"), ({"scope": []}, "scope"),
        ({"expires": NOW}, "still to come"), ({"self_check": {"a": object()}}, "self_check"),
        ({"self_check": {f"a{k}": 1 for k in range(17)}}, "self_check"),
    ],
)  # fmt: skip
def test_what_nobody_may_state(changes: dict[str, object], told: str) -> None:
    """A record that could not be read back is not made."""
    with pytest.raises(ConfigError) as raised:
        made(**changes)
    assert told in str(raised.value)


def test_all_is_allowed_unless_something_is_named() -> None:
    """The scope is said in every record."""
    assert made().scope == SCOPES


def test_the_last_day_counts() -> None:
    """A record with an end on a day holds all of it, in UTC; days from now and a time are told apart."""
    assert last_day("2027-01-31") == datetime(2027, 2, 1, tzinfo=UTC)
    assert last_day("90d", NOW) == NOW + timedelta(days=90)
    assert last_day("2027-01-31T12:00:00+02:00") == datetime(2027, 1, 31, 10, tzinfo=UTC)
    for wrong in ("tomorrow", "", "d", "99999999999d", "2027-13-01"):
        with pytest.raises(ConfigError, match="expires"):
            last_day(wrong)
