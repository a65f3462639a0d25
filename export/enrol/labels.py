"""What the bundle of an enrolled person says of its licence, its origin, and of who allowed it."""

from __future__ import annotations

import argparse

from engine.consent.doors import permit_one
from engine.consent.reading import Exported, written
from export.pack import Label


def person_label(options: argparse.Namespace, weights: str, data: str) -> Label:
    """Its record is the one by which these files may be enrolled. Raises ConsentError where there is none."""
    record = permit_one("train", options.files, options.consent)
    consent = f"{record.kind}: {record.shown}. {record.statement} Record {record.id}."
    return Label(options.licence, weights, data, consent, options.title, record=written(Exported(record)))
