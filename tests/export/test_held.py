"""A person beside weights for bodies in one bundle, which a live worker then moves."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

import marotte
from engine.bundle import PERSON, open_bundle
from engine.errors import ConfigError, InputError
from engine.generators import holds_person, moves_bodies, own_person
from engine.imitation.live import check_live, open_live
from engine.imitation.mesh import SYNTHETIC
from engine.media import write_picture
from engine.puppet import Opening
from engine.types import Mode
from export.checkpoints import load
from export.enrol.held import held_plan
from export.imports import import_files
from tests.engine.imitation.scenes import Told, body_of, picture_of, standing
from tests.export.test_liquid_warping import official_file

Make = Callable[..., Path]


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An official file's, narrow: they know SMPL's mesh."""
    folder = tmp_path_factory.mktemp("weights")
    import_files("liquid_warping", [official_file(folder)], folder / "out", size=64)
    return folder / "out"


@pytest.fixture(scope="module")
def photo(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("photos") / "dancer.png"
    write_picture(path, picture_of(standing())[0])
    return path


def test_pictures_become_a_graph_of_the_bundle(weights: Path, photo: Path) -> None:
    """With their names among its facts, the first one first."""
    plan = held_plan(load(weights), [photo, photo])
    (graph,) = [one for one in plan.graphs if one.name == PERSON]
    assert [port.shape for port in graph.outputs] == [(1, 192, 192, 3)] * 2
    assert plan.parameters.facts["pictures"] == ["dancer.png", "dancer.png"]
    assert plan.parameters.facts["mesh"] == "smpl"


def test_what_cannot_be_held_is_refused(
    weights: Path, photo: Path, liquid_warping: Make, tmp_path: Path
) -> None:
    """Weights for faces, which enrolment is for; too many pictures; one that is none."""
    with pytest.raises(ConfigError, match=r"mesh 'face'.*marotte enrol liquid_warping"):
        held_plan(load(liquid_warping()), [photo])
    with pytest.raises(ConfigError, match=r"got 9 pictures, expected 1 \.\. 8"):
        held_plan(load(weights), [photo] * 9)
    (tmp_path / "no.png").write_bytes(b"none")
    with pytest.raises(InputError, match=r"no\.png"):
        held_plan(load(weights), [tmp_path / "no.png"])


@pytest.mark.full
def test_the_bundle_is_opened_live(
    weights: Path, photo: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """From the command to a generator that has its person, to the last value."""
    out = tmp_path / "dancer"
    line = ["export", str(weights), "--out", str(out), "--person", str(photo), "--licence", "CC0-1.0"]
    assert marotte.main(line) == 0
    assert moves_bodies(out)
    assert holds_person(out)
    np.testing.assert_array_equal(own_person(out).pictures[0], picture_of(standing())[0])
    check_live(out, SYNTHETIC)
    monkeypatch.setattr(Opening, "body", lambda self: Told(body_of(standing())))
    monkeypatch.setattr(Opening, "segmenter", lambda self: Masks())
    generator, runner = open_live(out, Opening("onnxruntime", body_model=SYNTHETIC))
    runner.close()
    np.testing.assert_array_equal(generator.still, picture_of(standing())[0])
    assert generator.prepare(None, Mode.PUPPET).crop.size == 64
    assert open_bundle(out).manifest.parameters.facts["pictures"] == ["dancer.png"]


class Masks:
    def mask(self, rgb: np.ndarray) -> np.ndarray:
        return np.where(rgb[..., 0] != 30, 255, 0).astype(np.uint8)

    def close(self) -> None: ...
