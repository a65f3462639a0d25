"""Frame graphs on real pictures: tracked faces, through sessions, against the CPU path."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import ExitStack, closing
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from engine.generators import open_generator
from engine.generators.frame_runner import FrameGenerator
from engine.media import open_media
from engine.pipeline import PipelineConfig, Session
from engine.puppet import Opening, find_sources
from engine.types import U8, Controls, Face, Frame, Mode, Outcome, Source
from export.frame import add
from export.frame.parity import GATE, FrameReport, apart
from tests.engine.bundle_files import write_ganimation, write_geogan
from tests.engine.edit_scenes import Scripted
from tests.export.test_frame import SIZE, hill

Case = tuple[str, Mode, bool]

CASES: tuple[Case, ...] = (
    ("ganimation", Mode.PUPPET, False),
    ("ganimation", Mode.EDIT, False),
    ("geogan", Mode.EDIT, False),
    ("geogan", Mode.EDIT, True),
)
ASKED = Controls(au_offsets={"AU12": 0.33, "AU26": 0.21})

pytestmark = pytest.mark.usefixtures("models")


class Covering:
    """A mask that covers the left of the picture, softly."""

    def reset(self) -> None:
        pass

    def mask(self, frame: Frame, faces: Sequence[Face]) -> U8:
        height, width = frame.rgb.shape[:2]
        ramp = np.clip((0.52 * width - np.arange(width)) * 8 + 128, 0, 255).astype(np.uint8)
        return np.ascontiguousarray(np.broadcast_to(ramp, (height, width)))


@pytest.fixture(scope="module")
def bundles(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Closed forms with a soft mask, which change a face visibly."""
    folder = tmp_path_factory.mktemp("frames")
    plain = {
        "ganimation": write_ganimation(folder / "plain_ganimation", SIZE),
        "geogan": write_geogan(folder / "plain_geogan", SIZE, mask=hill(), flow=(0.06, -0.04)),
    }
    with pytest.MonkeyPatch.context() as patch:  # what is compared here is compared below
        patch.setattr(add, "measure_frames", lambda bundle: FrameReport(GATE, {"none": ("0", {})}))
        for name, bundle in plain.items():
            add.add_frames(bundle, folder / name)
    return {name: folder / name for name in plain}


@pytest.fixture(scope="module")
def source(faces_root: Path) -> tuple[Source, ...]:
    """A portrait, and a donor."""
    return find_sources(faces_root / "portraits" / "woman_light_skin_indoor.jpg", Opening())[:1]


def tracked(path: Path, count: int, step: int, first: int = 0) -> list[tuple[Frame, tuple[Face, ...]]]:
    """Some frames of a clip, from `first` on, and their faces; of a picture the one. The tracker sees them all."""
    opening = Opening()
    with open_media(path) as media:
        tracker = opening.detector() if media.still else opening.tracker()
        with closing(tracker):
            seen = [(frame, tracker.track(frame)) for frame in islice(media, first + count * step)]
            return seen[first::step]


def pictures(
    bundle: Path,
    backend: str,
    case: Case,
    frames: Sequence[tuple[Frame, tuple[Face, ...]]],
    sources: tuple[Source, ...],
    *,
    whole: bool,
    occlusion: Any = None,
) -> list[U8]:
    """What leaves a session, frame by frame; each has to be generated."""
    _, mode, removes = case
    with ExitStack() as opened:
        generator, runner = open_generator(bundle, backend=backend, threads=1, frames=whole)
        opened.callback(runner.close)
        assert isinstance(generator, FrameGenerator) == whole
        faces = [tuple(found[:1]) for _, found in frames]
        tracker = Scripted(*faces)
        tracker.main_id = faces[0][0].track_id
        taken = sources if generator.takes_source(mode) else ()
        controls = (
            Controls(remove=True) if removes else (ASKED if "au_offsets" in generator.heeds else Controls())
        )
        session = Session(
            tracker, generator, runner, taken, config=PipelineConfig(mode), controls=controls, occlusion=occlusion
        )  # fmt: skip
        found = []
        for frame, _ in frames:
            result, report = session.step(frame)
            assert report.outcome is Outcome.GENERATED, report.reason
            found.append(result.rgb.copy())
        return found


def compare(
    bundle: Path, backend: str, case: Case, frames: Any, sources: tuple[Source, ...], occlusion: Any = None
) -> None:
    """Every picture, and that the face in it is another than before."""
    both = [
        pictures(bundle, backend, case, frames, sources, whole=whole, occlusion=occlusion) for whole in (False, True)
    ]  # fmt: skip
    for number, (one, other) in enumerate(zip(*both)):
        found = apart(one, other)
        assert found.within_one >= 0.999, (number, found)
        untouched = sources[0].rgb if case[1] is Mode.PUPPET else frames[number][0].rgb
        assert (np.abs(other.astype(int) - untouched).max(2) > 8).mean() > 0.001


@pytest.mark.parametrize(
    "case", [CASES[0], *(pytest.param(case, marks=pytest.mark.full) for case in CASES[1:3]), CASES[3]]
)
def test_a_clip_gives_the_pictures_of_the_cpu_path(
    bundles: dict[str, Path], faces_root: Path, source: tuple[Source, ...], case: Case
) -> None:
    """A webcam's frames, half of the face covered where the driver is edited."""
    frames = tracked(faces_root / "drivers" / "man_webcam_neutral_to_smile.mp4", 2, 4)
    compare(bundles[case[0]], "onnxruntime", case, frames, source, Covering())


@pytest.mark.full
@pytest.mark.parametrize("backend", ["openvino", "onnxruntime"])
@pytest.mark.parametrize("case", CASES[1:])
@pytest.mark.parametrize(
    "picture",
    [
        "drivers/man_glasses_vertical_selfie.mp4",
        "drivers/woman_profile_to_frontal.mp4",
        "portraits/older_man_glasses_head_tilt.jpg",
        "portraits/man_very_tight_selfie_crop.jpg",
        "portraits/woman_long_hair_head_tilt.jpg",
    ],
)
def test_faces_of_all_kinds(
    bundles: dict[str, Path],
    faces_root: Path,
    source: tuple[Source, ...],
    picture: str,
    case: Case,
    backend: str,
) -> None:
    """Standing clips, turned heads, tilted ones, a face as large as its picture and beyond its edge."""
    compare(bundles[case[0]], backend, case, tracked(faces_root / picture, 5, 6), source)


@pytest.mark.full
@pytest.mark.parametrize("case", CASES[1:])
def test_a_hand_over_the_face(
    bundles: dict[str, Path], faces_root: Path, source: tuple[Source, ...], case: Case
) -> None:
    """The mask that is measured, frame after frame, as in a live session."""
    frames = tracked(faces_root / "drivers" / "woman_hand_over_face.mp4", 5, 1, first=94)  # eyes open
    masks: dict[int, U8 | None] = {}
    with closing(Opening().occlusion()) as occlusion:
        for frame, faces in frames:
            masks[frame.pts] = occlusion.mask(frame, faces[:1])

    class Measured:
        def reset(self) -> None:
            pass

        def mask(self, frame: Frame, faces: Sequence[Face]) -> U8 | None:
            return masks[frame.pts]

    assert any(mask is not None and mask.any() for mask in masks.values())
    compare(bundles[case[0]], "onnxruntime", case, frames, source, Measured())
