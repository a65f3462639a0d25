"""What a generator makes of a donor's attribute, and of taking it away, measured on pictures.

    from engine.evaluate.subjects import read_subjects
    from engine.evaluate.transfers import DonorInCrop, judge_removal, judge_transfer

    def network(target, donor):                  # crops, uint8 (S, S, 3) RGB
        ...
        return out, mask                         # (3, S, S) in -1..1 and (1, S, S) in 0..1, 1 takes the donor

    scores = judge_transfer(people, DonorInCrop(network, size=64, rule="face"), attribute="AU12")
    scores["mean"]["share"], scores["mean"]["psnr_kept"]

The attribute is an AU, measured again on the output: AU12 for a smile, AU25 for an open mouth.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import closing
from operator import itemgetter
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from engine.crop import crop_of, cut
from engine.errors import ConfigError
from engine.evaluate import effects
from engine.evaluate.changers import Changed, crop_of_subject, generated_mask, pasted, patch_of, picture_from
from engine.evaluate.metrics import oval_mask
from engine.evaluate.requests import by_person
from engine.evaluate.subjects import Detector, Subject, number_of, read
from engine.features.still import still_neutral
from engine.plug import Generator, Ports, Runner
from engine.types import U8, Controls, Mode, Patch

Scores = dict[str, Any]

HAS, HAS_NOT, LEAST_APART = 0.3, 0.12, 0.25
"""AU from which on a donor has the attribute, below which a target has it not, and by which they differ at least."""
DONORS = 3
"""Donors that each target gets, taken by turns from those who have the attribute."""
KEPT = 0.1
"""Mask below which a pixel is to stay as it was."""


class Transfer(Protocol):
    """Brings an attribute of one picture onto another's face."""

    @property
    def name(self) -> str: ...

    def bring(self, target: Subject, donor: Subject) -> Changed: ...


class Removal(Protocol):
    """Takes an attribute from a face. donor: a face without it, for systems that are shown one."""

    @property
    def name(self) -> str: ...

    def remove(self, target: Subject, donor: Subject | None) -> Changed: ...


Watch = Callable[[Changed], None]
"""Is shown the answer."""

DonorCall = Callable[[U8, U8], tuple[NDArray[Any], NDArray[Any]]]
"""(target crop, donor crop) uint8 (S, S, 3) -> picture (3, S, S) in -1..1 with the target outside the mask, and the
mask (1, S, S) in 0..1, 1 takes the donor."""


class DonorInCrop:
    """A network on crops, as it is trained: its answer is pasted back where its mask says so."""

    def __init__(self, call: DonorCall, size: int, rule: str = "face", name: str = "network") -> None:
        self._call, self._size, self._rule, self.name = call, size, rule, name

    def bring(self, target: Subject, donor: Subject) -> Changed:
        crops = [crop_of(self._rule, one.source.face.points, self._size) for one in (target, donor)]
        small = [cut(one.rgb, crop) for one, crop in zip((target, donor), crops)]
        picture, mask = self._call(*small)
        keep = 1.0 - np.asarray(mask, np.float32).reshape(self._size, self._size)
        rgb = picture_from(picture, self._size)
        # The network's picture already holds the target outside the mask, so all of it is pasted where it differs.
        wide = np.minimum(1.0, (1.0 - keep) / 0.02)
        shown = pasted(Patch(rgb, generated_mask((1.0 - wide).astype(np.float32)), crops[0], target.rgb))
        told = pasted(Patch(rgb, generated_mask(keep), crops[0], target.rgb))
        return Changed(shown.rgb, told.generated, told.patch)


class OpenedTransfer:
    """A generator that edits with a donor, or removes: the same code as live, one frame each."""

    def __init__(self, generator: Generator, runner: Runner) -> None:
        self._generator, self._runner, self.name = generator, runner, generator.name

    def bring(self, target: Subject, donor: Subject, tap: Callable[[Ports], None] | None = None) -> Changed:
        """tap: as of engine.evaluate.changers.patch_of."""
        return self._answer(target, donor, Controls(), tap)

    def remove(self, target: Subject, donor: Subject | None) -> Changed:
        return self._answer(target, donor, Controls(remove=True), None)

    def _answer(
        self,
        target: Subject,
        donor: Subject | None,
        controls: Controls,
        tap: Callable[[Ports], None] | None,
    ) -> Changed:
        prepared = self._generator.prepare(None if donor is None else donor.source, Mode.EDIT)
        state, neutral = self._generator.begin(prepared), still_neutral(target.source.face)
        patch = patch_of(self._generator, self._runner, state, target, neutral, controls, tap)
        return pasted(patch)


def couples(subjects: Sequence[Subject], attribute: str) -> list[tuple[Subject, Subject]]:
    """Targets without the attribute and donors of other persons with it, up to DONORS each."""
    place = number_of(attribute)
    donors = [one for one in subjects if one.reading.aus[place] >= HAS]
    found = []
    for turn, target in enumerate(one for one in subjects if one.reading.aus[place] < HAS_NOT):
        fitting = [
            donor
            for donor in donors
            if donor.person != target.person
            and donor.reading.aus[place] - target.reading.aus[place] >= LEAST_APART
        ]
        for k in range(min(DONORS, len(fitting))):
            found.append((target, fitting[(turn * DONORS + k) % len(fitting)]))
    return found


def judge_transfer(
    subjects: Sequence[Subject],
    transfer: Transfer,
    attribute: str = "AU12",
    *,
    detector: Detector | None = None,
) -> Scores:
    """Every couple of `couples`: {"mean": ..., "couples": {"target|donor": ...}}, see `measure_transfer`.

    The mean is over targets' persons. Raises ConfigError when there is no couple.
    """
    if detector is None:
        from engine.track.face import FaceTracker

        with closing(FaceTracker()) as opened:
            return judge_transfer(subjects, transfer, attribute, detector=opened)
    rows = {
        f"{target.name}|{donor.name}": measure_transfer(target, donor, transfer, attribute, detector)
        for target, donor in couples(subjects, attribute)
    }
    if not rows:
        raise ConfigError(
            f"{attribute}: no couple; expected somebody with {attribute} >= {HAS} and another below {HAS_NOT}"
        )
    keys = ("share", "psnr_kept", "psnr_outside", "mask")
    mean: Scores = {key: by_person(list(rows.values()), itemgetter(key)) for key in keys}
    return {"mean": mean | {"couples": len(rows)}, "couples": rows}


def measure_transfer(
    target: Subject,
    donor: Subject,
    transfer: Transfer,
    attribute: str,
    detector: Detector,
    *,
    watch: Watch | None = None,
) -> Scores:
    """One couple. before, donor, after: the attribute's AU. share: of the way from target to donor. psnr_kept: over
    the crop where the mask is below KEPT. mask: its mean over the face. Null where it cannot be measured."""
    place = number_of(attribute)
    changed = transfer.bring(target, donor)
    if watch is not None:
        watch(changed)
    found = read(changed.rgb, detector)
    before, goal = float(target.reading.aus[place]), float(donor.reading.aus[place])
    after = None if found is None else float(found.aus[place])
    return {
        "person": target.person,
        "before": before,
        "donor": goal,
        "after": after,
        "share": None if after is None else (after - before) / (goal - before),
        **_kept(target, changed),
    }


def _kept(target: Subject, changed: Changed) -> Mapping[str, float | None]:
    shape = (target.rgb.shape[0], target.rgb.shape[1])
    points, crop = target.source.face.points, crop_of_subject(target, changed)
    outside = effects.surroundings(points, crop, shape)
    scores: dict[str, float | None] = {
        "psnr_outside": effects.decibels(effects.squared_error(changed.rgb, target.rgb, outside)),
        "psnr_kept": None,
        "mask": None,
    }
    if changed.generated is not None:
        kept = effects.inside_crop(crop, shape) & (changed.generated < 255 * KEPT)
        if kept.any():
            scores["psnr_kept"] = effects.decibels(effects.squared_error(changed.rgb, target.rgb, kept))
        scores["mask"] = float(changed.generated[oval_mask(points, shape)].mean()) / 255.0
    return scores


def judge_removal(
    subjects: Sequence[Subject],
    removal: Removal,
    attribute: str = "AU12",
    *,
    donor: Subject | None = None,
    detector: Detector | None = None,
) -> Scores:
    """The attribute taken from everybody who has it: before, after, removed (share of it that is gone), psnr_outside.

    donor: a face without the attribute, for systems that are shown one.
    """
    if detector is None:
        from engine.track.face import FaceTracker

        with closing(FaceTracker()) as opened:
            return judge_removal(subjects, removal, attribute, donor=donor, detector=opened)
    rows = {
        target.name: measure_removal(target, removal, attribute, detector, donor=donor)
        for target in subjects
        if target.reading.aus[number_of(attribute)] >= HAS
    }
    keys = ("removed", "psnr_outside")
    mean: Scores = {key: by_person(list(rows.values()), itemgetter(key)) for key in keys}
    return {"mean": mean | {"people": len(rows)}, "people": rows}


def measure_removal(
    target: Subject,
    removal: Removal,
    attribute: str,
    detector: Detector,
    *,
    donor: Subject | None = None,
    watch: Watch | None = None,
) -> Scores:
    """One face: before, after, removed (the share of the AU that is gone), psnr_outside."""
    place = number_of(attribute)
    changed = removal.remove(target, donor)
    if watch is not None:
        watch(changed)
    found = read(changed.rgb, detector)
    before = float(target.reading.aus[place])
    after = None if found is None else float(found.aus[place])
    return {
        "person": target.person,
        "before": before,
        "after": after,
        "removed": None if after is None or not before else (before - after) / before,
        **_kept(target, changed),
    }
