"""Signing as the last step of writing: nothing unsigned has the name, and nothing that was made is lost."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path

import cv2
import numpy as np
import pytest

import marotte
from engine.bundle import MANIFEST
from engine.bundles import SHIPPED
from engine.errors import ProvenanceError
from engine.media import VideoWriter, read_picture, write_picture
from engine.provenance import Ingredient, Made, read, sign
from engine.provenance.sealing import ingredients_of, made_by, origin_of, sealing
from engine.types import Frame

SAMPLE = Path(marotte.__file__).parent / "engine" / "data" / "sample_portrait.webp"
RGB = np.full((64, 64, 3), 90, np.uint8)


def _write(path: Path, seal) -> VideoWriter:
    with VideoWriter(path, (64, 64), Fraction(1, 25), Fraction(25), seal=seal) as writer:
        for number in range(3):
            writer.write(Frame(RGB, number, Fraction(1, 25), 0.0))
    return writer


def test_the_file_is_signed_before_it_has_its_name(tmp_path: Path, portrait: Path) -> None:
    """Whoever watches the folder never sees it unsigned under its name."""
    out, seen = tmp_path / "out.mp4", []
    notes: list[str] = []
    seal = sealing(out, Made("render", "b", "l"), [Ingredient(portrait)], notes)
    assert seal is not None

    def watched(whole: Path) -> None:
        seen.append(out.exists())
        seal(whole)

    _write(out, watched)
    found = read(out)
    assert (seen, notes) == ([False], [])
    assert found is not None
    assert (found.state, found.title, len(found.made["ingredients"][0]["sha256"])) == ("valid", "out.mp4", 64)
    assert [path.name for path in tmp_path.glob(".*")] == []


@pytest.mark.parametrize("failure", [ProvenanceError("the key is gone"), RuntimeError("a bug")])
def test_what_cannot_be_signed_is_kept_beside_its_name(tmp_path: Path, failure: Exception) -> None:
    """An older file of the name stays; the error says where the result is; a second one does not replace the first."""
    out = tmp_path / "out.mp4"
    out.write_bytes(b"an older one")

    def fails(_: Path) -> None:
        raise failure

    for _ in range(2):
        with pytest.raises(type(failure)) as error:
            _write(out, fails)
    kept = sorted(path.name for path in tmp_path.glob("out.unsigned*.mp4"))
    assert len(kept) == 2
    assert out.read_bytes() == b"an older one"
    assert isinstance(failure, RuntimeError) or "what was made is kept as" in str(error.value)
    with pytest.raises(type(failure)):
        write_picture(tmp_path / "out.png", RGB, fails)
    assert np.array_equal(read_picture(tmp_path / "out.unsigned.png"), RGB)


def test_what_holds_no_manifest_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """WebM holds none; and where the library is missing, how to install it."""
    notes: list[str] = []
    made = Made("render", "b", "l")
    assert sealing(tmp_path / "a.webm", made, [], notes) is None
    assert notes.pop() == "a.webm is unsigned: a .webm holds no C2PA manifest; an .mp4 does"
    monkeypatch.setattr("engine.provenance.sealing.available", lambda: False)
    assert sealing(tmp_path / "a.mp4", made, [], notes) is None
    assert notes == ["a.mp4 is unsigned, as C2PA is not installed: pip install 'marotte[c2pa]'"]


def test_a_certificate_that_will_not_do_is_told_before_the_work(tmp_path: Path, state: Path) -> None:
    """An hour's render does not end with it."""
    state.mkdir()
    (state / "signer.toml").write_text("certificate = 'no.pem'\nkey = 'no.pem'\n")
    with pytest.raises(ProvenanceError, match=r"the certificate .*no\.pem cannot be read"):
        sealing(tmp_path / "a.mp4", Made("render", "b", "l"), [], [])


def test_an_ingredient_that_went_away_costs_the_signature_and_not_the_file(
    tmp_path: Path, portrait: Path
) -> None:
    """A driver that was deleted meanwhile."""
    out = tmp_path / "out.mp4"
    seal = sealing(out, Made("render", "b", "l"), [Ingredient(portrait, "driver")], [])
    portrait.unlink()
    with pytest.raises(ProvenanceError, match="what it was made of cannot be read any more"):
        _write(out, seal)
    assert (tmp_path / "out.unsigned.mp4").exists()
    assert not out.exists()


def test_the_source_type_tells_a_network_from_geometry() -> None:
    """mesh_flow was trained on nobody; a bundle's manifest has the licence and is named by its hash."""
    plain = made_by("mesh_flow")
    assert (plain.source_type, plain.bundle_sha256, plain.licence) == (
        "compositeSynthetic",
        None,
        "Apache-2.0",
    )
    for folder in sorted(path.parent for path in SHIPPED.glob(f"*/{MANIFEST}"))[:1]:
        made = made_by(folder.name, edits=True)
        assert made.source_type == "compositeWithTrainedAlgorithmicMedia"
        assert made.licence == origin_of(folder).licence
        assert len(made.bundle_sha256 or "") == 64


def test_a_driver_whose_sound_or_pixels_are_in_the_result_is_a_part_of_it(
    portrait: Path, plain_clip: Path
) -> None:
    """One that gives its motion alone is an input."""
    still = ingredients_of(RGB, portrait, still=True)
    assert [(one.role, one.seen) for one in still] == [("driver", False)]
    assert [one.seen for one in ingredients_of(portrait, plain_clip)] == [True, False]
    assert [one.seen for one in ingredients_of(portrait, plain_clip, pixels=True)] == [True, True]
    assert [one.role for one in ingredients_of(portrait, plain_clip, edits=True)] == ["donor", "driver"]


@pytest.mark.usefixtures("models")
def test_a_manifest_survives_a_render_from_input_to_output(tmp_path: Path) -> None:
    """The driver's own is an ingredient of the result, and the result has the sample's consent."""
    driver, out = tmp_path / "driver.png", tmp_path / "out.png"
    driver.write_bytes(cv2.imencode(".png", cv2.imread(str(SAMPLE)))[1].tobytes())
    sign(driver, Made("render", "An earlier bundle", "CC0-1.0"))
    tally = marotte.render(SAMPLE, driver, out)
    found = read(out)
    assert found is not None
    assert (found.state, found.source_type) == ("valid", "compositeSynthetic")
    assert [(one.title, one.relation, one.state) for one in found.parts] == [
        ("source", "componentOf", None),
        ("driver", "inputTo", "valid"),
    ]
    assert list(found.consent) == tally.about["consent"]
    assert found.made["marks"] == ["badge", "watermark"]
    assert not any("unsigned" in note for note in tally.notes)
