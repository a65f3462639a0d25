"""What this installation keeps: records, whole, and revocations, for good."""

from __future__ import annotations

import json
import os
import stat
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from engine.consent import ConsentError, Kind, Record, Store
from engine.consent.reading import Exported, line_of, read_file, written
from engine.consent.store import REVOKED
from engine.errors import ConfigError, StateError

SHA, OTHER = "ab" * 32, "cd" * 32


def attest(store: Store, *sources: str, shown: str = "Zoë", **more: object) -> Record:
    told = {"attested_by": "Ann", "statement": "She said yes."}
    return store.attest(sources or (SHA,), Kind.WRITTEN, shown=shown, **(told | more))  # type: ignore[arg-type]


@pytest.fixture
def store(real_consent: Path) -> Store:
    return Store(real_consent)


def test_a_record_is_found_by_each_of_its_hashes(store: Store) -> None:
    """Of several photos the whole and each one; by others it is not found, and other processes see it at once."""
    record = attest(store, SHA, OTHER)
    for source in (SHA, OTHER):
        assert store.find(source) == record
        assert Store(store.state).find(source) == record
    assert store.find("ef" * 32) is None
    assert store.get(record.id) == record
    assert store.all() == (record,)


def test_what_is_kept_is_the_owners_alone(store: Store) -> None:
    """Who said what of whom is nobody else's to read, and no half file is left."""
    record = attest(store)
    assert sorted(os.listdir(store.folder)) == [f"{record.id}.json"]
    if os.name == "posix":
        assert stat.S_IMODE(store.folder.stat().st_mode) == 0o700
        assert stat.S_IMODE((store.folder / f"{record.id}.json").stat().st_mode) == 0o600


def test_the_same_said_again_is_the_same_record(store: Store) -> None:
    """An option that is given at every render leaves one record; another statement, or a revoked one, a new one."""
    now = datetime.now(UTC)
    first = attest(store)
    assert attest(store, now=now + timedelta(days=1)) == first
    assert attest(store, statement="She said yes twice.") != first
    store.revoke(first.id, "asked")
    assert attest(store, now=now + timedelta(days=2)).id != first.id


def test_nobody_attests_a_sample(store: Store) -> None:
    """That kind is the project's own, and counts where it is shipped."""
    with pytest.raises(ConsentError, match="sample"):
        store.attest([SHA], Kind.SAMPLE, shown="nobody", attested_by="me", statement="It is one.")


def test_a_revocation_is_seen_at_once_and_stays(store: Store) -> None:
    """By whichever process it was made; it is signed, and a newer record is found before the revoked one."""
    record, other = attest(store), Store(store.state)
    assert other.revoked(record.id) is None
    before = other.stamp()
    told = store.revoke(record.id, "she asked")
    assert other.revoked(record.id) == told
    assert other.stamp() != before
    assert told.sound
    assert other.find(SHA) == record
    newer = attest(store, statement="She changed her mind.")
    assert other.find(SHA) == newer
    assert store.exported(record.id).revoked == told


def test_revocations_are_only_added_to(store: Store) -> None:
    """A second one leaves the first line as it was."""
    first = attest(store)
    store.revoke(first.id, "one")
    before = (store.folder / REVOKED).read_bytes()
    store.revoke("00" * 16, "of a bundle from elsewhere")
    assert (store.folder / REVOKED).read_bytes().startswith(before)
    assert store.revoked("00" * 16) is not None
    with pytest.raises(ConfigError, match="32 hex digits"):
        store.revoke("nonsense", "why")


@pytest.mark.parametrize("harm", ["signature", "torn"])
def test_in_doubt_a_record_is_revoked(store: Store, harm: str) -> None:
    """A line that was changed, or broke off behind the name, revokes all the same, and is remarked on."""
    record = attest(store)
    store.revoke(record.id, "she asked")
    (store.folder / f"{record.id}.revoked.json").unlink()
    line = (store.folder / REVOKED).read_text("utf-8")
    broken = (
        line.replace("she asked", "he asked") if harm == "signature" else line[: line.index(record.id) + 33]
    )
    (store.folder / REVOKED).write_text(broken, "utf-8")
    other = Store(store.state)
    assert other.revoked(record.id) is not None
    assert any("line 1" in remark for remark in other.remarks())
    assert other.exported(record.id).revoked is None  # there is no proof to hand on


def test_a_line_of_nobody_is_only_remarked_on(store: Store) -> None:
    """What names no record cannot revoke one."""
    record = attest(store)
    (store.folder / REVOKED).write_bytes(b"\x00\xff nonsense\n\n[[[[\n")
    assert store.revoked(record.id) is None
    assert len(store.remarks()) == 2


@pytest.mark.skipif(os.name != "posix", reason="a folder in the place of a file is told apart there")
def test_a_list_that_cannot_be_read_stops_all(store: Store) -> None:
    """It might revoke anything."""
    record = attest(store)
    (store.folder / REVOKED).mkdir()
    with pytest.raises(StateError, match="no source is used"):
        store.revoked(record.id)


def test_what_was_changed_counts_for_nothing(store: Store) -> None:
    """By an editor, by another name, or by no JSON: the source has no record, and the store says why."""
    record = attest(store)
    path = store.folder / f"{record.id}.json"
    whole = path.read_text("utf-8")
    path.write_text(whole.replace("Zoë", "Bob"), "utf-8")
    assert store.find(SHA) is None
    assert "signature" in store.remarks()[0]
    path.write_text("{}", "utf-8")
    assert store.find(SHA) is None
    path.unlink()
    (store.folder / f"{'0' * 32}.json").write_text(whole, "utf-8")
    assert store.find(SHA) is None
    assert record.id in store.remarks()[0]


def test_a_record_from_elsewhere_counts_when_it_was_imported(store: Store, tmp_path: Path) -> None:
    """Its own signature is not enough: the operator here countersigns it, and a copied file is none of ours."""
    elsewhere = Store(tmp_path / "elsewhere")
    record = attest(elsewhere)
    file = tmp_path / "given.json"
    file.write_bytes(written(elsewhere.exported(record.id)))
    attest(store, OTHER)
    (store.folder / f"{record.id}.json").write_bytes(file.read_bytes())
    assert store.find(SHA) is None
    assert "another installation" in store.remarks()[0]
    assert not store.vouches(record)
    with pytest.raises(ConsentError, match="not signed here"):
        store.add(record)
    assert store.take(file) == record
    assert store.find(SHA) == record
    assert store.vouches(record)
    # And it goes on to a third one with both signatures.
    assert read_file(store.folder / f"{record.id}.json").countersigned is not None


def test_a_revocation_travels_with_its_record(store: Store, tmp_path: Path) -> None:
    """Who made the record may end it elsewhere too; a stranger's word ends nothing."""
    elsewhere, stranger = Store(tmp_path / "elsewhere"), Store(tmp_path / "stranger")
    record = attest(elsewhere)
    file = tmp_path / "given.json"
    file.write_bytes(written(elsewhere.exported(record.id)))
    store.take(file)
    file.write_bytes(written(Exported(record, None, stranger.revoke(record.id, "to harm"))))
    with pytest.raises(ConsentError, match="stranger"):
        store.take(file)
    assert store.revoked(record.id) is None
    elsewhere.revoke(record.id, "she asked")
    file.write_bytes(written(elsewhere.exported(record.id)))
    with pytest.raises(ConsentError, match="she asked"):
        store.take(file)
    assert store.revoked(record.id) is not None


def test_a_sample_cannot_be_imported(store: Store, tmp_path: Path) -> None:
    """A file that says sample is no way round."""
    from engine.consent.shipped import write_shipped

    write_shipped([SHA], tmp_path / "given.json")
    with pytest.raises(ConsentError, match="sample"):
        store.take(tmp_path / "given.json")


def test_what_cannot_be_kept_is_an_error(real_consent: Path) -> None:
    """Fail closed: a record that is not on the disk allows nothing."""
    store = Store(real_consent)
    real_consent.mkdir(parents=True)
    (real_consent / "consent").write_text("in the way")
    with pytest.raises(StateError, match="cannot be read"):
        attest(store)
    with pytest.raises(StateError, match="MAROTTE_STATE"):
        store.revoke("0" * 32, "asked")
    with pytest.raises(StateError):
        store.find(SHA)


def test_nothing_is_written_by_looking(real_consent: Path) -> None:
    """Who asks on a machine without records makes no key and no folder."""
    store = Store(real_consent)
    assert store.find(SHA) is None
    assert store.revoked("0" * 32) is None
    assert store.remarks() == ()
    assert not real_consent.exists()


def test_a_line_of_the_list_is_plain_json(store: Store) -> None:
    """What other programs read: one object a line."""
    record = attest(store)
    store.revoke(record.id, "asked")
    line = json.loads((store.folder / REVOKED).read_text("utf-8"))
    assert line["revoked"] == record.id
    assert json.loads(line_of(Exported(record)))["id"] == record.id


@pytest.mark.parametrize("gone", [REVOKED, ".revoked.json"])
def test_either_of_its_two_places_revokes(store: Store, gone: str) -> None:
    """A revocation stands in the list and beside its record: when one was deleted the other one holds."""
    record = attest(store)
    told = store.revoke(record.id, "she asked")
    (store.folder / (gone if gone == REVOKED else record.id + gone)).unlink()
    assert Store(store.state).revoked(record.id) == told


@pytest.mark.parametrize("harm", ["deleted", "dangling"])
def test_a_list_that_is_gone_stops_all(store: Store, harm: str) -> None:
    """For a process that saw it, and as a link that leads nowhere for every one: who else was in it is not known."""
    record, other = attest(store), attest(store, OTHER)
    store.revoke(record.id, "she asked")
    assert store.revoked(other.id) is None
    (store.folder / REVOKED).unlink()
    asked = store
    if harm == "dangling":
        (store.folder / REVOKED).symlink_to(store.folder / "nowhere")
        asked = Store(store.state)
    for ask in (lambda: asked.revoked(other.id), asked.stamp):
        with pytest.raises(StateError, match="gone"):
            ask()
    assert asked.revoked(record.id) is not None


def test_a_full_list_stops_nobody_and_one_past_it_is_said(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A revocation that has no room in it holds beside its record; a list that is too long is told of, and those hold
    all the same."""
    first, second, third = attest(store), attest(store, OTHER), attest(store, "ef" * 32)
    store.revoke(first.id, "one")
    size = (store.folder / REVOKED).stat().st_size
    monkeypatch.setattr("engine.consent.store.MOST_REVOKED", size + 10)
    store.revoke(second.id, "two")
    assert (store.folder / REVOKED).stat().st_size == size
    other = Store(store.state)
    assert other.revoked(second.id) is not None
    assert other.revoked(third.id) is None
    assert any("at most" in remark for remark in other.remarks())
    (store.folder / REVOKED).write_bytes(b"x" * (size + 11))
    with pytest.raises(StateError, match="over"):
        other.remarks()
    assert other.revoked(second.id) is not None
    assert other.revoke(third.id, "three") == other.revoked(third.id)


def test_ended_by_many_at_once_it_stands_there_once(store: Store) -> None:
    """Looked at and written under one lock; the first reason stays, and one over 300 characters is refused."""
    record = attest(store)
    with ThreadPoolExecutor(8) as pool:
        told = list(pool.map(lambda n: store.revoke(record.id, f"asked by {n}"), range(16)))
    assert len(set(told)) == 1
    assert len((store.folder / REVOKED).read_bytes().splitlines()) == 1
    with pytest.raises(ConfigError, match="300"):
        store.revoke(record.id, "x" * 301)
