"""What the bundle of an enrolled person says of who allowed it."""

from __future__ import annotations

import argparse
from pathlib import Path

import pytest

from engine.consent import ConsentError, Store
from engine.consent.reading import parse
from export.enrol.labels import person_label


def _asked(files: list[Path], consent: str | None = None) -> argparse.Namespace:
    return argparse.Namespace(files=files, consent=consent, licence="CC0-1.0", title="Zoë")


@pytest.mark.usefixtures("real_consent")
def test_nobody_is_enrolled_without_a_record(tmp_path: Path) -> None:
    """And the record goes into the bundle, with its words in the manifest."""
    photos = [tmp_path / "a.jpg", tmp_path / "b.jpg"]
    for photo in photos:
        photo.write_bytes(photo.name.encode())
    with pytest.raises(ConsentError, match=r"a\.jpg: nobody's consent"):
        person_label(_asked(photos), "weights", "photos")
    label = person_label(_asked(photos, "written:Zoë"), "weights", "photos")
    assert label.record is not None
    record = parse(label.record, "it").record
    assert Store().all() == (record,)
    assert label.consent.startswith("written consent: Zoë. I hold the written consent")
    assert record.id in label.consent
    again = person_label(_asked(photos), "weights", "photos")
    assert again.record == label.record


@pytest.mark.usefixtures("real_consent")
def test_a_record_for_renders_enrols_nobody(tmp_path: Path) -> None:
    """To be shown and to be made a bundle of are two things to allow."""
    from engine.consent import Kind
    from engine.consent.hashes import hash_of

    clip = tmp_path / "clip.mp4"
    clip.write_bytes(b"clip")
    Store().attest(
        [hash_of(clip)],
        Kind.MYSELF,
        shown="Ann",
        attested_by="Ann",
        statement="It is me.",
        scope=["render", "live"],
    )
    with pytest.raises(ConsentError, match="allows live, render and not train"):
        person_label(_asked([clip]), "weights", "the clip")
