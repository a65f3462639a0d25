"""What the bundle of an enrolled person says of its licence, its origin, and of who allowed it."""

from __future__ import annotations

import argparse

from engine.consent.reading import Exported, written
from export.pack import Label


def person_label(options: argparse.Namespace, weights: str, data: str) -> Label:
    """options.record: the engine.consent.Record by which the person is enrolled, which goes into the bundle."""
    record = options.record
    consent = f"{record.kind}: {record.shown}. {record.statement} Record {record.id}."
    return Label(options.licence, weights, data, consent, options.title, record=written(Exported(record)))
