"""Consent in tests: by default every source has a record, so that a test of something else says nothing of it.

`tests/conftest.py` switches it on for the whole run, and tests/streaming/live_server.py in its process. A test of
consent itself asks for the fixture `real_consent`: then only what the store holds counts, and the store is empty.
"""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from functools import cache

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from engine.consent import Kind, Record, Store
from engine.consent.record import attest
from engine.signing import Signer

_FROM_STORE = Store.of


class _Switch:
    on = False


def allow_all(patch: pytest.MonkeyPatch | None = None) -> None:
    """From here on a source without a record of its own has one, until `patch` is undone."""
    (patch or pytest.MonkeyPatch()).setattr(Store, "of", _of)
    _Switch.on = True


class only_recorded:  # noqa: N801 - reads as a statement
    """A context in which only what the store holds counts."""

    def __enter__(self) -> None:
        self._before, _Switch.on = _Switch.on, False

    def __exit__(self, *_: object) -> None:
        _Switch.on = self._before


class _All(tuple[str, ...]):
    """Hashes among which each is."""

    def __contains__(self, _: object) -> bool:
        return True


@cache
def record_for(source: str) -> Record:
    """The record that a source of a test has."""
    record = attest(
        _signer(), [source], Kind.GENERATED, shown="nobody", attested_by="a test", statement="It was made by a test.",
        now=datetime(2026, 1, 1, tzinfo=UTC),
    )  # fmt: skip
    return replace(record, sources=_All(record.sources))


@cache
def _signer() -> Signer:
    return Signer(Ed25519PrivateKey.generate())


def _of(store: Store, source: str) -> tuple[Record, ...]:
    return _FROM_STORE(store, source) or ((record_for(source),) if _Switch.on else ())
