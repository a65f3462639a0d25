"""A MaskGAN bundle of the project's own exporter, live."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from engine.generators import open_generator
from engine.pipeline import PipelineConfig, Session
from engine.types import Controls, Mode, Outcome
from export.checkpoints import load
from export.pack import pack
from export.systems import plan_of
from tests.engine.edit_scenes import HUE, Scripted, face_at, frame_at, rest
from tests.engine.test_maskgan import portrait
from tests.export.tiny_plan import LABEL


@pytest.mark.full
def test_an_exported_bundle_moves_a_portrait_and_edits_a_driver(
    maskgan: Callable[..., Path], tmp_path: Path
) -> None:
    """With its own parser and MaskVAE, in both modes; another style gives another picture, another layout too."""
    pack(plan_of(load(maskgan())), LABEL, tmp_path / "bundle")
    generator, runner = open_generator(str(tmp_path / "bundle"))
    assert generator.modes == {Mode.PUPPET, Mode.EDIT}
    faces = [(face_at(100, 80, AU26=0.4 * k),) for k in range(3)]
    for mode, sources in ((Mode.PUPPET, [portrait()]), (Mode.EDIT, [])):
        one = Session(
            Scripted(*faces), generator, runner, sources, config=PipelineConfig(mode=mode), neutral=rest()
        )
        shown = []
        for number in range(3):
            one.controls = Controls(project=number == 2)
            result, report = one.step(frame_at(number, seed=number))
            assert report.outcome is Outcome.GENERATED, report.reason
            shown.append(result.rgb)
        assert shown[0].shape == ((128, 128, 3) if mode is Mode.PUPPET else (157, 201, 3))
        assert mode is Mode.EDIT or not (shown[0] == HUE).all(2).any()
    state = generator.begin(generator.prepare(portrait(), Mode.PUPPET))
    assert state.prepared.style["gamma"].shape == state.prepared.style["beta"].shape
    with pytest.raises(ValueError, match="read-only"):
        state.prepared.style["gamma"][...] = np.nan
    runner.close()
