"""Whether a source may be used now, and why not."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from engine.consent import ConsentError, Kind, Store, check, cover, fault
from engine.consent.hashes import hash_of, hashes_of
from engine.consent.shipped import shipped
from engine.errors import ConfigError, InputError
from engine.sample import sample_portrait
from engine.worker.pictures import Picture, with_pictures
from engine.worker.sources import id_of, with_labels

SHA, OTHER = "ab" * 32, "cd" * 32
NOW = datetime(2026, 11, 22, 10, tzinfo=UTC)


@pytest.fixture
def store(real_consent: Path) -> Store:
    return Store(real_consent)


def attest(store: Store, *sources: str, **more: object):
    told = {"shown": "Zoë", "attested_by": "Ann", "statement": "She said yes.", "now": NOW}
    return store.attest(sources or (SHA,), Kind.WRITTEN, **(told | more))  # type: ignore[arg-type]


def test_without_a_record_nothing_is_used(store: Store) -> None:
    """And the message says which file, by its hash, and what to do next, on one line."""
    with pytest.raises(ConsentError) as raised:
        check(SHA, "live", store, name="me.jpg")
    told = str(raised.value)
    assert told.startswith("me.jpg: nobody's consent is recorded for it (sha256 abababab...); next step: ")
    assert "marotte consent add" in told
    assert "--consent FILE" in told
    assert isinstance(raised.value, InputError)


def test_a_record_that_holds_is_given_back(store: Store) -> None:
    """For each use that it allows."""
    record = attest(store)
    assert check(SHA, "live", store, NOW) == record
    with pytest.raises(ConfigError, match="did you mean 'live'"):
        check(SHA, "life", store, NOW)


@pytest.mark.parametrize("way", ["expired", "revoked", "scope"])
def test_one_that_holds_no_more_says_why(store: Store, way: str) -> None:
    """Expired (from that second on), revoked, or for something else."""
    record = attest(store, expires=NOW + timedelta(days=1), scope=["live", "call"])
    assert fault(record, "live", store, NOW + timedelta(days=1, seconds=-1)) is None
    use, now = "live", NOW
    if way == "expired":
        now += timedelta(days=1)
    elif way == "revoked":
        store.revoke(record.id, "a reason of hers")
    else:
        use = "render"
    told = {
        "expired": "expired on 2026-11-23",
        "revoked": "was revoked",
        "scope": "allows live, call and not render",
    }
    assert fault(record, use, store, now) == told[way]
    with pytest.raises(ConsentError) as raised:
        check(SHA, use, store, now)
    assert told[way] in str(raised.value)
    assert "a reason of hers" not in str(raised.value)  # that is the operator's to read


def test_another_record_of_the_same_source_may_hold(store: Store) -> None:
    """One that was revoked does not outweigh a newer one, nor an older one for another use."""
    first = attest(store, scope=["render"])
    second = attest(store, scope=["live"], now=NOW + timedelta(hours=1))
    assert check(SHA, "render", store, NOW) == first
    assert check(SHA, "live", store, NOW) == second


def test_several_photos_are_allowed_each_or_as_one(store: Store) -> None:
    """The whole's record, or one for each photo; with one missing, none."""
    whole = "ef" * 32
    with pytest.raises(ConsentError):
        cover(whole, "live", store, NOW, pictures=(SHA, OTHER))
    one = attest(store, SHA)
    with pytest.raises(ConsentError):
        cover(whole, "live", store, NOW, pictures=(SHA, OTHER))
    other = attest(store, OTHER)
    assert cover(whole, "live", store, NOW, pictures=(SHA, OTHER)) == (one, other)
    both = attest(store, whole, SHA, OTHER, now=NOW + timedelta(hours=1))
    assert cover(whole, "live", store, NOW) == (both,)
    store.revoke(one.id, "asked")
    store.revoke(both.id, "asked")
    with pytest.raises(ConsentError, match="revoked"):
        cover(whole, "live", store, NOW, pictures=(SHA, OTHER))


def test_the_sample_has_its_own_record(store: Store) -> None:
    """What is shipped works without a question, bound to the shipped file's bytes; and it can be revoked."""
    sample = hash_of(sample_portrait())
    record = check(sample, "live", store)
    assert record.kind is Kind.SAMPLE
    assert record.sound
    assert not store.folder.exists()
    store.revoke(record.id, "not here")
    with pytest.raises(ConsentError, match="revoked"):
        check(sample, "live", store)


def test_the_shipped_record_is_for_what_is_shipped() -> None:
    """The sample's bytes and the shipped bundles that hold somebody, and nothing else: `python -m engine.sample`
    writes it anew."""
    from engine.consent.bundled import shipped_bundles

    assert set(shipped()) == {hash_of(sample_portrait()), *shipped_bundles()}


def test_hashes_are_those_of_sources(tmp_path: Path) -> None:
    """A record of a file is found by what a worker calls the same bytes: one picture, several, one with labels."""
    file = tmp_path / "a.jpg"
    file.write_bytes(b"picture")
    assert hash_of(file) == hashes_of(b"picture", "a").source == id_of(b"picture")
    joined = with_pictures([Picture("a", b"one"), Picture("b", b"two")])
    assert hashes_of(joined, "a").all == (id_of(joined), id_of(b"one"), id_of(b"two"))
    labelled = with_labels(b"picture", b"labels")
    assert hashes_of(labelled, "a").all == (id_of(labelled), id_of(b"picture"))


def test_pixels_have_a_hash_too() -> None:
    """A picture in memory is bound by its pixels and its size."""
    import numpy as np

    one = np.zeros((4, 6, 3), np.uint8)
    assert hash_of(one) == hash_of(one.copy())
    assert hash_of(one) != hash_of(one.reshape(6, 4, 3))
    with pytest.raises(InputError, match="got list"):
        hash_of([1])  # type: ignore[arg-type]
