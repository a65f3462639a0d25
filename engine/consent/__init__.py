"""Consent: no source is used for which nobody's valid record says that it may be (docs/consent.md)."""

from engine.consent.checking import check, cover, fault
from engine.consent.record import SCOPES, Kind, Record
from engine.consent.store import Store
from engine.errors import ConsentError

__all__ = ["SCOPES", "ConsentError", "Kind", "Record", "Store", "check", "cover", "fault"]
