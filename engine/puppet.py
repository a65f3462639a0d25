"""A ready puppet: everything opened and joined for one source, usable frame by frame."""

from __future__ import annotations

import dataclasses
import logging
import secrets
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import ExitStack, closing
from fractions import Fraction
from pathlib import Path
from types import TracebackType
from typing import Any, Self, cast

import numpy as np

from engine import backends, blend, several
from engine.backends import Choice
from engine.config import file_path, from_mapping, known
from engine.consent.doors import Consent, permit
from engine.denied import refuse, report
from engine.errors import ConfigError, InputError
from engine.features.blendshapes import MODEL as EXPRESSIONS
from engine.features.blendshapes import Blendshapes
from engine.generators import check_asked, holds_person, open_generator, own_person, takes_several
from engine.marks import Marks, MarksConfig, SessionMarks
from engine.marks.lowering import note_lowered
from engine.measuring import Measurers, Tracker
from engine.media import open_media, resize_within
from engine.models import Condition, inspect, model
from engine.occlusion import FaceOcclusion
from engine.pipeline import PipelineConfig, Session
from engine.plug import Generator, Runner
from engine.source import MAX_SIDE, source_picture, sources_from_picture
from engine.track.body import BodyTracker
from engine.track.face import FaceTracker
from engine.track.mediapipe_tasks import TaskTracker
from engine.track.person import PersonSegmenter
from engine.types import AU_NAMES, U8, Controls, Frame, FrameReport, Mode, Neutral, Signal, Source

_log = logging.getLogger("marotte.puppet")

FACES_LOOKED_AT = 32
"""Faces of a still picture among which the most prominent are chosen."""

_TICKS = 90000
_LONGEST_S = 1e9


@dataclasses.dataclass(frozen=True, slots=True)
class Opening:
    """How networks are opened. backend: as in engine.backends. faces: how many are moved. cache: root of the models.
    task: a face_landmarker.task with which MediaPipe itself tracks the driver, for comparison. batch: faces
    that a generator's graph is to take at once; 0 is as many as the backend gains from (docs/batching.md). frames:
    whether whole frames go through a bundle's frame graph, as in engine.generators.open_generator. body_model: for the
    bundles that move whole bodies, as in engine.imitation.mesh.open_mesh. side: longest side in pixels of the pictures
    of a person that a bundle for bodies holds.
    """

    backend: str = "auto"
    faces: int = 1
    cache: Path | None = None
    task: Path | None = None
    batch: int = 1
    frames: bool | None = None
    body_model: Path | str | None = None
    side: int = MAX_SIDE

    def __post_init__(self) -> None:
        if not isinstance(self.backend, str):
            raise ConfigError(f"backend: got {self.backend!r}, expected a name, as text")
        if not isinstance(self.faces, int) or isinstance(self.faces, bool) or self.faces < 1:
            raise ConfigError(f"faces: got {self.faces!r}, expected 1 or more, as a whole number")
        for role in ("cache", "task"):
            if (named := getattr(self, role)) is not None:
                object.__setattr__(self, role, file_path(role, named))

    def tracker(self) -> FaceTracker | TaskTracker:
        """For a driver's frames."""
        if self.task is not None:
            return TaskTracker(self.task, max_faces=self.faces)
        return FaceTracker(backend=self.backend, max_faces=self.faces, cache=self.cache)

    def detector(self) -> FaceTracker:
        """For single pictures."""
        looked_at = max(self.faces, FACES_LOOKED_AT)
        return FaceTracker(backend=self.backend, max_faces=looked_at, cache=self.cache)

    def segmenter(self) -> PersonSegmenter:
        return PersonSegmenter(backend=self.backend, cache=self.cache)

    def body(self) -> BodyTracker:
        return BodyTracker(backend=self.backend, cache=self.cache)

    def follower(self) -> BodyTracker:
        """For a driver whose body moves another one: it looks at every frame, as `tracker` does."""
        return BodyTracker(backend=self.backend, cache=self.cache, every_frame=True)

    def occlusion(self) -> FaceOcclusion:
        return FaceOcclusion(self.backend, self.cache)

    def expressions(self) -> Blendshapes | None:
        """Where the user has added the network for them: it sees action units that geometry sees badly."""
        if inspect(model(EXPRESSIONS), self.cache, full=False).condition is not Condition.READY:
            return None
        return Blendshapes(backend=self.backend, cache=self.cache)


Picture = Path | str | U8
"""A picture or clip by its path, or decoded pixels (H, W, 3) in RGB."""

Given = Picture | Sequence[Picture] | None
"""What is moved, or whose attribute an edit takes: one picture, several donors, or nothing."""


@dataclasses.dataclass(frozen=True, slots=True, eq=False)
class Loaded:
    """What is needed before a session can begin. sources: the faces of a puppet, or the donors of an edit."""

    generator: Generator
    runner: Runner
    sources: tuple[Source, ...]
    choice: Choice
    """What runs the networks, and why."""
    mode: Mode = Mode.PUPPET

    def announce(self) -> None:
        """Tell the choice, once nothing stands in the way any more."""
        _log.info("the networks run on %s: %s", self.choice.name, self.choice.reason)


def find_sources(source: Path | str | U8, opening: Opening) -> tuple[Source, ...]:
    """The faces of a picture, of the best frame of a clip, or of a decoded picture, main face first.

    Raises InputError (not readable, too large or small, nobody in it), ModelError or BackendError.
    """
    if not isinstance(source, (str, Path)):
        rgb = _checked(source)
        return _faces(lambda detector: rgb, "picture", opening)
    # A picture is read here, or refused by its size, before any network takes its time and memory.
    with open_media(source) as media:
        return _faces(lambda detector: source_picture(media, detector), media.name, opening)


def find_given(
    given: Given, opening: Opening, mode: Mode, *, several: bool = False, accept: Iterable[str] = ()
) -> tuple[Source, ...]:
    """The faces of a puppet's one source, or the main faces of an edit's donors, as find_sources finds them.

    several: a puppet is one person, made of all pictures that are given, or of several frames of a clip. accept: names
    of acceptances, see engine.several.joined.
    """
    if mode is Mode.EDIT:
        one_each = dataclasses.replace(opening, faces=1)
        return tuple(find_sources(one, one_each)[0] for one in pictures_of(given))
    if several and given is not None:
        return (_one_person(pictures_of(given), opening, frozenset(accept)),)
    if given is None or isinstance(given, (list, tuple)):
        got = "none" if given is None else f"{len(given)} of them"
        raise ConfigError(f"source: got {got}, expected one portrait or clip; this bundle takes no more")
    return find_sources(cast(Picture, given), opening)


def _one_person(given: Sequence[Picture], opening: Opening, accept: frozenset[str]) -> Source:
    """One source of several pictures, or of a clip."""
    alone = dataclasses.replace(opening, faces=1)
    if len(given) == 1 and isinstance(given[0], (str, Path)):
        with open_media(given[0]) as media:
            if not media.still:
                with closing(alone.detector()) as detector, closing(alone.segmenter()) as segmenter:
                    return several.from_clip(media, media.duration_s, detector, segmenter, name=media.name)
    return several.joined([find_sources(one, alone)[0] for one in given], accept=accept)


def _own_person(bundle: str, opening: Opening, accept: frozenset[str]) -> Source:
    """One source of the pictures that a bundle holds."""
    own = own_person(bundle, backend=opening.backend, accept=accept)
    for rgb, name in zip(own.pictures, own.names):
        refuse(rgb, name)
    alone = dataclasses.replace(opening, faces=1)
    with closing(alone.detector()) as detector, closing(alone.segmenter()) as segmenter:
        found = [
            sources_from_picture(rgb, detector, segmenter, name=name)[0]
            for rgb, name in zip(own.pictures, own.names)
        ]
    return several.joined(found, accept=accept | own.accept | {several.ENROLLED})


def pictures_of(given: Given) -> tuple[Picture, ...]:
    """One, several or none as a tuple."""
    if given is None:
        return ()
    if isinstance(given, (str, Path, np.ndarray)):
        return (given,)
    return tuple(given)


def _faces(picture: Callable[[FaceTracker], U8], name: str, opening: Opening) -> tuple[Source, ...]:
    with closing(opening.detector()) as detector, closing(opening.segmenter()) as segmenter:
        rgb = resize_within(picture(detector), MAX_SIDE)
        refuse(rgb, name)
        found = sources_from_picture(rgb, detector, segmenter, name=name, faces=opening.faces)
        report(found[0].face, name)
        return found


def mode_of(mode: Mode | str) -> Mode:
    """A mode by its name. Raises ConfigError."""
    return mode if isinstance(mode, Mode) else Mode(known(mode, [one.value for one in Mode], "mode"))


def load(
    source: Given,
    opening: Opening | None = None,
    *,
    bundle: str = "mesh_flow",
    mode: Mode = Mode.PUPPET,
    accept: Iterable[str] = (),
) -> Loaded:
    """Find the faces of a source, or of donors, and open what moves or edits. accept: as in open_generator. Without a
    source a bundle that holds its person moves that.

    Raises MarotteError when any of it cannot be used.
    """
    opening = opening or Opening()
    accept, choice = frozenset(accept), backends.choose(opening.backend)
    check_asked(bundle, mode, donors=bool(pictures_of(source)))
    if source is None and mode is Mode.PUPPET and holds_person(bundle):
        sources: tuple[Source, ...] = (_own_person(bundle, opening, accept),)
    else:
        sources = find_given(source, opening, mode, several=takes_several(bundle), accept=accept)
    generator, runner = open_generator(bundle, backend=opening.backend, accept=accept, frames=opening.frames)
    blend.warm_up()
    return Loaded(generator, runner, sources, choice, mode)


def open_session(
    loaded: Loaded,
    opening: Opening,
    tracker: Tracker,
    opened: ExitStack,
    *,
    config: PipelineConfig | None = None,
    controls: Controls | None = None,
    neutral: Neutral | None = None,
) -> Session:
    """A session with all that its generator needs beside the face, in the mode that was loaded for.

    What is opened for it closes with `opened`.
    """
    config = dataclasses.replace(config or PipelineConfig(), mode=loaded.mode)
    return Session(
        tracker,
        loaded.generator,
        loaded.runner,
        loaded.sources,
        faces=opening.faces,
        config=config,
        controls=controls,
        neutral=neutral,
        **open_measurers(loaded.generator, opening, opened),
    )


def open_measurers(generator: Generator, opening: Opening, opened: ExitStack) -> Measurers:
    """Those that the generator needs, as live; they close with `opened`."""
    needs = generator.needs
    found: Measurers = {}
    if Signal.BODY in needs:
        found["body"] = opened.enter_context(closing(opening.body()))
    if Signal.PARSING in needs:
        found["segmenter"] = opened.enter_context(closing(opening.segmenter()))
    if Signal.OCCLUSION in needs:
        found["occlusion"] = opened.enter_context(closing(opening.occlusion()))
    if Signal.AUS in needs and (expressions := opening.expressions()) is not None:
        found["expressions"] = opened.enter_context(closing(expressions))
    return found


class Puppet:
    """Give it a picture of the driver, get back the picture of the moved source, or the driver's picture edited.

    Frames come in order; rgb is uint8 (H, W, 3). Use as a context manager, or call close(). choice: the backend
    and why it was taken. report: what happened to the last frame, None before the first. Not for several threads
    at once.
    """

    def __init__(
        self,
        session: Session,
        choice: Choice,
        opening: Opening,
        opened: ExitStack,
        *,
        several: bool = False,
        accept: frozenset[str] = frozenset(),
        marks: MarksConfig | None = None,
    ) -> None:
        self.session, self.choice = session, choice
        self._marking = SessionMarks(secrets.token_hex(12), marks or MarksConfig())
        self._marks: Marks | None = None
        self._opening, self._opened, self._several, self._accept = opening, opened, several, accept
        self.report: FrameReport | None = None

    def __call__(self, rgb: U8, time_s: float | None = None) -> U8:
        """The source moved by the face in `rgb`, or `rgb` edited; seen at `time_s` (seconds, rising; default: now).

        The picture given back has the marks on and is the caller's own. Raises InputError when rgb is no uint8
        (H, W, 3) picture; whatever else fails shows the fallback, and the report says why.
        """
        now = time.perf_counter()
        media_s = now if time_s is None else time_s
        if not (isinstance(media_s, (int, float)) and abs(media_s) < _LONGEST_S):
            raise InputError(f"time_s: got {time_s!r}, expected seconds")
        pts = round(media_s * _TICKS)
        frame, self.report = self.session.step(Frame(_checked(rgb), pts, Fraction(1, _TICKS), now))
        return self._marked(frame.rgb)

    def _marked(self, rgb: U8) -> U8:
        size = rgb.shape[1], rgb.shape[0]
        if self._marks is None or self._marks.size != size:
            self._marks = self._marking.of(size, self.session.mode)
        return self._marks.compose_rgb(rgb)

    @property
    def notes(self) -> tuple[str, ...]:
        """What is to be known about the source or the donors in use, a sentence each."""
        return self.session.notes

    def swap(self, source: Given, consent: Consent = None) -> None:
        """Another source, or other donors, from the next frame on. consent: as for open_puppet. Raises InputError for a
        bad one or one without consent, and the old one goes on."""
        permit("live", pictures_of(source), consent=consent)
        self.session.swap(
            find_given(source, self._opening, self.session.mode, several=self._several, accept=self._accept)
        )

    def recalibrate(self) -> None:
        """Take the driver's next stable second as the resting face."""
        self.session.recalibrate()

    def set(self, **controls: Any) -> None:
        """Change live controls by name, the fields of engine.types.Controls. Raises ConfigError for a wrong one."""
        offsets = controls.get("au_offsets", {})
        for name in offsets if isinstance(offsets, Mapping) else ():
            known(name, AU_NAMES, "au_offsets")
        current = {
            field.name: getattr(self.session.controls, field.name) for field in dataclasses.fields(Controls)
        }
        self.session.controls = from_mapping(Controls, current | controls, "controls")

    def close(self) -> None:
        """Free the networks; more than once is allowed."""
        self._opened.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def open_puppet(
    source: Given = None,
    *,
    bundle: str = "mesh_flow",
    mode: Mode | str | None = None,
    accept: Iterable[str] = (),
    backend: str = "auto",
    faces: int = 1,
    config: PipelineConfig | None = None,
    controls: Controls | None = None,
    neutral: Neutral | None = None,
    cache: Path | None = None,
    task: Path | None = None,
    consent: Consent = None,
    marks: MarksConfig | None = None,
) -> Puppet:
    """Open everything for one source, or to edit the driver; options as in Opening, load and open_session.

    mode: "puppet" moves the source; "edit" edits the driver's own picture, and the source is a donor, a list of donors,
    or left out. Default: what `config` says, a puppet without one. consent: as in engine.consent.doors.permit, for the
    use "live"; for frames of a driver that are edited it is the caller's to have. marks: those that every
    picture carries, all of them by default; one that is off is written into the session log.
    Raises MarotteError when the source, a bundle, a model or a backend cannot be used.
    """
    opening, accept = Opening(backend, faces, cache, task), frozenset(accept)
    wanted = (config or PipelineConfig()).mode if mode is None else mode_of(mode)
    permit("live", pictures_of(source), bundle=bundle, consent=consent)
    note_lowered(marks or MarksConfig(), "live")
    loaded = load(source, opening, bundle=bundle, mode=wanted, accept=accept)
    with ExitStack() as opened:
        opened.callback(loaded.runner.close)
        tracker = opened.enter_context(closing(opening.tracker()))
        session = open_session(
            loaded, opening, tracker, opened, config=config, controls=controls, neutral=neutral
        )
        loaded.announce()
        return Puppet(
            session,
            loaded.choice,
            opening,
            opened.pop_all(),
            several=takes_several(bundle),
            accept=accept,
            marks=marks,
        )


def _checked(rgb: object) -> U8:
    if (
        not isinstance(rgb, np.ndarray)
        or rgb.dtype != np.uint8
        or rgb.ndim != 3
        or rgb.shape[2] != 3
        or not rgb.size
    ):
        got = f"{rgb.dtype} {rgb.shape}" if isinstance(rgb, np.ndarray) else type(rgb).__name__
        raise InputError(f"picture: got {got}, expected uint8 (height, width, 3) in RGB order")
    return rgb
