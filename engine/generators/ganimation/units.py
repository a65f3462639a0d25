"""What action units the network is asked for: intensities, or changes of them, as it was trained on."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from engine.annotate.labels import EXTRACTOR
from engine.bundle import Extractor, Parameters
from engine.errors import InputError
from engine.features.action_units import OBSERVABLE
from engine.features.hidden import hidden_aus
from engine.features.still import static_aus
from engine.types import AU_NAMES, F32, Controls, Drive, FaceShape

BROWS = ("AU01", "AU02", "AU04")
EYES = ("AU05", "AU06", "AU07", "AU45")
"""AUs that the gains of brows and eyes scale; that of the mouth scales all others."""

_BROWS = np.array([name in BROWS for name in AU_NAMES])
_EYES = np.array([name in EYES for name in AU_NAMES])


def learnt_aus(parameters: Parameters) -> frozenset[str]:
    """AUs that the training can have shown a bundle: those of its port, but for those that Marotte's own measure, where
    it is by that, reads as 0 on every face."""
    extractor = parameters.extractor
    measured = OBSERVABLE if extractor is not None and extractor.name == EXTRACTOR else AU_NAMES
    return frozenset(parameters.aus) & frozenset(measured)


def gains(controls: Controls) -> F32:
    """The gain of each AU, float32 (17,)."""
    mouth, eyes, brows = controls.mouth, controls.eyes, controls.brows
    return np.where(_BROWS, brows, np.where(_EYES, eyes, mouth)).astype(np.float32)


def offsets(controls: Controls) -> F32:
    """What is added to each AU, float32 (17,)."""
    return np.array([controls.au_offsets.get(name, 0.0) for name in AU_NAMES], np.float32)


def driver_aus(drive: Drive) -> F32:
    """The driver's AUs against the driver's neutral, float32 (17,). Raises InputError when they were not measured."""
    if drive.features.aus is None:
        raise InputError("ganimation: got a drive without action units; ask for what the generator needs")
    return drive.features.aus


def puppet_change(driver: F32, controls: Controls) -> F32:
    """gain * driver + offset, float32 (17,): what is added to the portrait's own AUs. driver: against its neutral."""
    return np.asarray(gains(controls) * driver + offsets(controls))


def edit_change(own: F32, controls: Controls) -> F32:
    """(gain - 1) * own + offset, float32 (17,): what is added to the driver's own AUs."""
    return np.asarray((gains(controls) - 1.0) * own + offsets(controls))


def own_aus(drive: Drive, extractor: Extractor | None) -> F32:
    """The driver's own AUs, measured as those of the training were, float32 (17,)."""
    dynamic = extractor is not None and extractor.mode == "dynamic"
    return driver_aus(drive) if dynamic else static_aus(shape_of(drive))


def shape_of(drive: Drive) -> FaceShape:
    """The driver's fitted face. Raises InputError when it was not measured."""
    if drive.features.shape is None:
        raise InputError("ganimation: got a drive without a shape; ask for what the generator needs")
    return drive.features.shape


def unseen(drive: Drive) -> NDArray[np.bool_] | None:
    """Which of the driver's AUs something hides, bool (17,); None where none is."""
    occlusion = drive.features.occlusion
    if occlusion is None or not occlusion.any():
        return None
    return hidden_aus(drive.face.points, occlusion)
