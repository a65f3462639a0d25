"""GANimation's frames as one graph: a portrait stands still and its action units change, or the driver moves."""

from __future__ import annotations

from engine.generators.frame_runner import Shot
from engine.generators.ganimation.generator import FaceState, Ganimation
from engine.plug import Ports
from engine.types import Drive, Mode


class GanimationFrame:
    """The ports of `frame` beside those of the picture: `aus`."""

    def __init__(self, generator: Ganimation) -> None:
        self._generator = generator

    def begin(self) -> None:
        """Nothing lasts."""

    def shot(self, state: FaceState, kept: None, drive: Drive) -> Shot:
        """See engine.generators.frame_runner.System."""
        crop = self._generator.follow(state, drive)
        hidden = drive.features.occlusion if state.prepared.mode is Mode.EDIT else None
        return Shot(crop, {"aus": self._generator.wanted(state, drive)}, hidden)

    def passed_by(self, state: FaceState, kept: None) -> None:
        """Nothing lasts."""

    def shown(self, kept: None, outputs: Ports) -> None:
        """Nothing lasts."""
