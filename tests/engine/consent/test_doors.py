"""No file of a face comes out of the engine without a record: every command and function that makes one."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import marotte
from engine.consent import ConsentError, Kind, Store, doors
from engine.consent.bundled import bundle_hash, cover_bundle
from engine.consent.doors import permit, permit_one
from engine.consent.hashes import hash_of
from engine.consent.reading import Exported, written
from engine.imitation.run import imitate
from engine.imitation.turntable import turntable
from engine.imitation.wearing import read_wear
from engine.sample import sample_portrait
from engine.session_log.events import checked
from engine.swap import swap_pictures
from engine.sweep.asked import Ends
from engine.sweep.run import Wanted, sweep
from tests.engine.stit_files import write_stit
from tests.engine.warp_files import write_warp

pytestmark = pytest.mark.usefixtures("real_consent")

SHA = "ab" * 32
Door = Callable[[Path, Path], Any]


def _sweep(one: Path, out: Path) -> Any:
    wanted = Wanted(("AU12",), Ends("source", "source", None, None), ())
    return sweep("mesh_flow", [one], out, wanted)


DOORS: dict[str, Door] = {
    "render": lambda one, out: marotte.render(one, sample_portrait(), out),
    "render, of several": lambda one, out: marotte.render([sample_portrait(), one], sample_portrait(), out),
    "render, the edited driver": lambda one, out: marotte.render(
        None, one, out, mode="edit", bundle="ganimation_small"
    ),
    "render, a donor": lambda one, out: marotte.render(
        [one], sample_portrait(), out, mode="edit", bundle="geogan_small"
    ),
    "render, a picture in memory": lambda one, out: marotte.render(
        np.full((64, 64, 3), 7, np.uint8), sample_portrait(), out
    ),
    "render, who is worn": lambda one, out: marotte.render(
        sample_portrait(), sample_portrait(), out, wear=read_wear([f"hair={one}"])
    ),
    "puppet": lambda one, out: marotte.puppet(one),
    "puppet, a donor": lambda one, out: marotte.puppet([one], bundle="geogan_small", mode="edit"),
    "swap": lambda one, out: swap_pictures(
        one, sample_portrait(), out, out.with_suffix(".2.png"), bundle="geogan_small"
    ),
    "sweep": _sweep,
}


@pytest.fixture
def somebody(tmp_path: Path) -> Path:
    """A file that would be read as a picture only after its record was looked for."""
    path = tmp_path / "somebody.jpg"
    path.write_bytes(b"\xff\xd8 somebody's picture")
    return path


@pytest.mark.parametrize("door", DOORS)
def test_no_door_of_files_opens_without_a_record(door: str, somebody: Path, tmp_path: Path) -> None:
    """The message names the file and the next step; nothing is written, and no network is opened for it."""
    with pytest.raises(ConsentError, match="next step: marotte consent add"):
        DOORS[door](somebody, tmp_path / "out.png")
    assert os.listdir(tmp_path) == ["somebody.jpg"]


def test_a_body_and_a_turntable_need_one_too(somebody: Path, tmp_path: Path) -> None:
    """Whoever is seen from around, or moved as a whole."""
    body = write_warp(tmp_path / "body", 32, rule="box", sources=1, facts={"mesh": "smpl", "sources": 1})
    head = write_warp(tmp_path / "head", 32)
    out = tmp_path / "out.mp4"
    with pytest.raises(ConsentError, match=r"somebody\.jpg: nobody's consent"):
        imitate(somebody, sample_portrait(), tmp_path / "out.png", bundle=str(body), body="synthetic")
    with pytest.raises(ConsentError, match=r"somebody\.jpg: nobody's consent"):
        turntable(somebody, out, bundle=str(head))
    assert not out.exists()


@pytest.mark.parametrize(
    "line",
    ["render --source {S} --driver {P} --out {O}", "sweep --source {S} --out {O}"],
)
def test_a_command_ends_with_one_line(
    line: str, somebody: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    """Exit status 2, and never a question."""
    words = (
        line.format(S=somebody, P=sample_portrait(), O=tmp_path / "out").replace("/out", "/out.png").split()
    )
    assert marotte.main(words) == 2
    told = capfd.readouterr().err
    assert told.count("\n") == 1
    assert "nobody's consent is recorded for it (sha256 " in told


def test_an_option_is_enough(somebody: Path, capfd: pytest.CaptureFixture[str]) -> None:
    """It is recorded for what has none, once, and counts from then on without it; the sample needs none."""
    first = permit("render", [somebody, sample_portrait()], consent="generated")
    assert [record.kind for record in first] == [Kind.GENERATED, Kind.SAMPLE]
    assert permit("render", [somebody]) == first[:1]
    assert permit("render", [somebody], consent="written:Zoë") == first[:1]
    assert len(Store().all()) == 1


def test_no_option_gives_anew_what_has_ended(somebody: Path) -> None:
    """A script that is run again after a revocation does not undo it; `marotte consent add` does, by somebody's hand.
    Nor does it widen what is allowed."""
    from engine.consent.given import given

    store = Store()
    (record,) = permit("render", [somebody], consent="myself:Ann")
    store.revoke(record.id, "asked")
    with pytest.raises(ConsentError, match=r"revoked; next step: .* if it was given anew"):
        permit("render", [somebody], consent="myself:Ann")
    with pytest.raises(ConsentError, match="no option gives it anew"):
        given("myself:Ann").put(store, record.sources)
    assert store.all() == (record,)
    told = {"shown": "Ann", "attested_by": "Ann", "statement": "Once more."}
    anew = store.attest(record.sources, Kind.MYSELF, scope=["live"], **told)  # type: ignore[arg-type]
    assert permit("live", [somebody], consent="myself:Ann") == (anew,)
    with pytest.raises(ConsentError, match="allows live and not render"):
        permit("render", [somebody], consent="myself:Ann")


def test_a_picture_in_memory_is_bound_by_its_pixels() -> None:
    """Another pixel is another picture."""
    rgb = np.zeros((8, 8, 3), np.uint8)
    permit("live", [rgb], consent="generated")
    permit("live", [rgb.copy()])
    rgb[0, 0, 0] = 1
    with pytest.raises(ConsentError, match="the picture in memory"):
        permit("live", [rgb])


def test_a_swap_of_a_live_puppet_is_refused(somebody: Path) -> None:
    """And the old one goes on: nothing was asked of its session."""
    from engine.puppet import Puppet

    puppet = Puppet.__new__(Puppet)  # whose parts nobody touches
    with pytest.raises(ConsentError):
        puppet.swap(somebody)


def test_files_of_one_person_have_one_record(tmp_path: Path) -> None:
    """What is made of them carries it along; several records are told apart, and one for all is found."""
    photos = [tmp_path / name for name in ("a.jpg", "b.jpg")]
    for photo in photos:
        photo.write_bytes(photo.name.encode())
        permit("train", [photo], consent=f"written:{photo.stem}")
    with pytest.raises(ConsentError, match="2 records"):
        permit_one("train", photos)
    whole = permit_one("train", photos[:1])
    assert whole.shown == "a"
    hashes = [source for photo in photos for source in permit("train", [photo])[0].sources]
    both = Store().attest(hashes, Kind.WRITTEN, shown="Ann", attested_by="me", statement="Both are of her.")
    assert permit_one("train", photos) == both


# --- bundles ----------------------------------------------------------------------------------------


def _bundle(folder: Path, store: Store | None = None) -> Path:
    """A bundle that was tuned to somebody; with the record of a store where there is one."""
    import hashlib
    import json

    from engine.bundle import MANIFEST, RECORD

    write_stit(folder)
    if store is not None:
        record = store.attest([SHA], Kind.WRITTEN, shown="Zoë", attested_by="Ann", statement="She said yes.")
        data = written(Exported(record))
        (folder / RECORD).write_bytes(data)
        table = json.loads((folder / MANIFEST).read_text("utf-8"))
        table["record"] = hashlib.sha256(data).hexdigest()
        (folder / MANIFEST).write_text(json.dumps(table), "utf-8")
    return folder


def test_a_bundle_of_somebody_needs_its_record(tmp_path: Path) -> None:
    """Its own, which its manifest states; without one it is a source by its manifest's hash."""
    store = Store()
    bare = _bundle(tmp_path / "bare")
    with pytest.raises(ConsentError, match="bundle bare: nobody's consent"):
        cover_bundle(bare, "live", store)
    own = _bundle(tmp_path / "own", store)
    (record,) = cover_bundle(own, "live", store)
    assert record.shown == "Zoë"
    permit("live", [], bundle=bare, consent="generated")
    (record,) = cover_bundle(bare, "live", store)
    assert record.sources == (bundle_hash(bare),)
    with pytest.raises(ConsentError, match="bundle third"):
        marotte.puppet(bundle=str(_bundle(tmp_path / "third", Store(tmp_path / "elsewhere"))), mode="edit")


def test_a_revoked_bundle_is_refused(tmp_path: Path) -> None:
    """By this installation's list, and by the message's word."""
    store = Store()
    own = _bundle(tmp_path / "own", store)
    (record,) = cover_bundle(own, "render", store)
    store.revoke(record.id, "she asked")
    with pytest.raises(ConsentError, match="was revoked; ask for a new one"):
        cover_bundle(own, "render", store)


def test_a_bundle_from_elsewhere_has_to_be_imported(tmp_path: Path) -> None:
    """A file beside the weights proves nothing here until the operator countersigns it."""
    store = Store()
    own = _bundle(tmp_path / "own", Store(tmp_path / "elsewhere"))
    with pytest.raises(ConsentError, match="another installation; next step: marotte consent import"):
        cover_bundle(own, "live", store)
    permit("live", [], bundle=own, consent=own / "consent.json")
    assert cover_bundle(own, "live", store)[0].shown == "Zoë"


def test_a_changed_record_is_a_damaged_bundle(tmp_path: Path) -> None:
    """Its hash stands in the manifest, and nothing else may lie in the folder."""
    from engine.bundle import open_bundle
    from engine.errors import BundleError, ChecksumError

    own = _bundle(tmp_path / "own", Store())
    open_bundle(own)
    (own / "consent.json").write_bytes((own / "consent.json").read_bytes().replace(b"Ann", b"Bob"))
    with pytest.raises(ChecksumError, match=r"consent\.json"):
        open_bundle(own)
    (own / "consent.json").unlink()
    with pytest.raises(BundleError, match="not there"):
        open_bundle(own)
    bare = _bundle(tmp_path / "bare")
    (bare / "consent.json").write_bytes(b"{}")
    with pytest.raises(BundleError, match="does not belong"):
        open_bundle(bare)


@pytest.mark.parametrize(
    "bundle", ["mesh_flow", "ganimation_small", "geogan_small", "maskgan_small", "stit_small"]
)
def test_what_is_shipped_needs_nothing(bundle: str) -> None:
    """Bundles of nobody have no record, and the one of a generated face has the shipped one."""
    found = permit("live", [sample_portrait()], bundle=bundle)
    assert {record.kind for record in found} == {Kind.SAMPLE}


def test_many_records_are_noted_in_several_lines(real_consent: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A line of the log takes 32: a command by more of them goes on, and each one stands there."""
    monkeypatch.setenv("MAROTTE_STATE", str(real_consent))
    store = Store(real_consent)
    pictures = [np.full((4, 4, 3), number, np.uint8) for number in range(33)]
    records = tuple(
        store.attest([hash_of(one)], Kind.GENERATED, shown="nobody", attested_by="Ann", statement="drawn")
        for one in pictures
    )
    noted: list[dict[str, Any]] = []
    monkeypatch.setattr(doors, "note", lambda event, **fields: noted.append(checked(fields)))
    assert set(doors.permit("render", pictures, store=store)) == set(records)
    assert [len(one["consent"]) for one in noted] == [32, 1]
