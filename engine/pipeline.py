"""One session: from a driver's frame to the picture that leaves, in pure steps.

    measure: track -> features -> calibrate -> smooth      (the driver)
    feed:    inputs                                        (the source's state)
    a Runner executes the graph, for one session or for several at once
    show:    patch -> paste -> picture and report, or the fallback

A session's `measure` may run in one thread while `feed`, the runner and `show` are at work on an earlier frame in
another: a frame keeps the picture that was set when it was measured, and a generator's state is touched by the second
thread alone.

The frame loop is one of the three places that catch errors: whatever fails, the session shows its fallback, the
reason stands in the report, and each kind of error is logged once.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import TypedDict

from engine.blend import paste
from engine.errors import ConfigError, InputError, MarotteError, PortError, UneditedError
from engine.fallback import Fallback, FallbackConfig
from engine.features import extract
from engine.features.action_units import with_blendshapes
from engine.measuring import BodyTracker, Expressions, Occlusion, Segmenter, Tracker
from engine.modes import check_mode, check_no_source
from engine.plug import Generator, Ports, Prepared, Runner
from engine.scene import Drawn, Scene, Slot
from engine.seating import incomplete, seated
from engine.smooth import MaskSmoother, SmoothingConfig
from engine.staged import Clock, Staged, Timed, Underway
from engine.types import (
    U8,
    Body,
    Controls,
    Drive,
    Face,
    Frame,
    FrameReport,
    Layout,
    Mode,
    Neutral,
    Outcome,
    Signal,
    Source,
)
from engine.unedited import left_as_it_was

_log = logging.getLogger("marotte.pipeline")


@dataclass(frozen=True, slots=True)
class PipelineConfig:
    """What one session is set to at its start."""

    mode: Mode = Mode.PUPPET
    smoothing: SmoothingConfig = field(default_factory=SmoothingConfig)
    fallback: FallbackConfig = field(default_factory=FallbackConfig)


class _Surroundings(TypedDict):
    """What is measured once per frame, whatever faces there are."""

    person: U8 | None
    body: Body | None


@dataclass(frozen=True, slots=True, eq=False)
class Work:
    """One frame on its way. drives: one per driven face, beside the slot that it moves. ports: the same for the graph,
    empty until they were fed. scene: the picture that was set when the frame was measured."""

    frame: Frame
    scene: Scene
    drives: tuple[tuple[Slot, Drive], ...]
    ports: tuple[Ports, ...]
    seconds: dict[str, float]
    reason: str | None
    filter_lag_s: float


class Session:
    """Moves one picture's faces (or edits one driver) frame by frame.

    sources: the faces of one picture, main face first; in an edit the donors, none where the generator takes none.
    faces: how many of the driver's faces an edit edits; a puppet has one per source. body and segmenter serve
    Signal.BODY and Signal.PARSING; a generator that needs one which is not given is refused. occlusion serves
    Signal.OCCLUSION, and a generator that needs it does without where it is not given. expressions: gives the AUs
    that geometry sees badly.
    prepared: the sources, where they were prepared before. reuse: pictures are drawn into two arrays by turns, for
    callers who have done with one when they ask for the next.
    neutral: pins the driver's resting face in place of calibration. clock: monotonic seconds, on the same clock as
    Frame.arrived_s.

    A generator may state of an edit that a change was asked for which has to be seen (`asks(state, drive)`, of the last
    `inputs`): an answer that leaves the face as it was is a fault then, and the fallback is shown.

    It may show what a brush paints on (`layout(state, rest=...)`, for any thread): see `layout`.

    It may also need less in one mode than in the other (`needs_in(mode)`, in the place of `needs`).

    controls and smoothing (see engine.smooth.FeatureSmoother.strength) may be set between two frames, by the thread
    that measures.
    """

    def __init__(
        self,
        tracker: Tracker,
        generator: Generator,
        runner: Runner,
        sources: Sequence[Source] = (),
        *,
        faces: int = 1,
        config: PipelineConfig | None = None,
        controls: Controls | None = None,
        neutral: Neutral | None = None,
        body: BodyTracker | None = None,
        segmenter: Segmenter | None = None,
        occlusion: Occlusion | None = None,
        expressions: Expressions | None = None,
        prepared: Sequence[Prepared] | None = None,
        reuse: bool = False,
        clock: Clock = time.perf_counter,
    ) -> None:
        self._tracker, self._generator, self._runner = tracker, generator, runner
        self._config = config or PipelineConfig()
        check_mode(generator.name, generator.modes, self._config.mode)
        needs_in = getattr(generator, "needs_in", None)
        self._needs = generator.needs if needs_in is None else needs_in(self._config.mode)
        for signal, server in ((Signal.BODY, body), (Signal.PARSING, segmenter)):
            if signal in self._needs and server is None:
                raise ConfigError(
                    f"{generator.name}: needs {signal.value}, and nothing was given that measures it"
                )
        self._body, self._segmenter, self._expressions = body, segmenter, expressions
        self._occlusion, self._faces = occlusion, faces
        self._mask_smoother = MaskSmoother(self._config.smoothing)
        self.controls = controls or Controls()
        self.smoothing = 1.0
        self._neutral, self._clock, self._reuse = neutral, clock, reuse
        self._logged: set[type[BaseException]] = set()
        self._scene = Scene((), Fallback(self._config.fallback, None), Drawn(reuse))
        self._notes: tuple[str, ...] = ()
        if prepared is None:
            self.swap(sources)
        else:
            self.use(prepared)

    def swap(self, sources: Sequence[Source]) -> None:
        """Other sources from the next frame on. When they cannot be used this raises, and the old ones go on."""
        mode = self._config.mode
        takes = self._generator.takes_source(mode)
        check_no_source(self._generator.name, mode, given=bool(sources), takes=takes)
        wanted = sources or ((None,) if mode is Mode.EDIT else ())
        self.use([self._generator.prepare(source, mode) for source in wanted])

    def use(self, prepared: Sequence[Prepared]) -> None:
        """As swap, with sources that were prepared before (in another thread, say)."""
        if not prepared:
            raise ConfigError("sources: got none, expected at least one face")
        edits = self._config.mode is Mode.EDIT
        each = [prepared] * self._faces if edits else [[one] for one in prepared]
        slots = [Slot(self._generator.begin(*one), self._config.smoothing, self._neutral) for one in each]
        for slot, old in zip(slots, self._slots):
            slot.succeed(old)
        notes = tuple(note for one in prepared for note in one.notes)
        if edits:  # what is held is the driver, edited: it outlasts the donor
            self._scene, self._notes = replace(self._scene, slots=tuple(slots)), notes
            return
        source = prepared[0].source
        if source is None:
            raise ConfigError(f"{self._generator.name}: got no source, expected a portrait")
        fallback = Fallback(self._config.fallback, source.rgb)
        self._scene, self._notes = Scene(tuple(slots), fallback, Drawn(self._reuse)), notes

    def follow(self, tracker: Tracker) -> None:
        """Another driver from the next frame on: nothing of the last one colours its motion."""
        self._tracker = tracker
        self._mask_smoother.reset()
        if self._occlusion is not None:
            self._occlusion.reset()
        for slot in self._slots:
            slot.forget()

    @property
    def mode(self) -> Mode:
        """Whether sources are moved or the driver is edited."""
        return self._config.mode

    @property
    def notes(self) -> tuple[str, ...]:
        """What the user should know about the sources in use, a sentence each."""
        return self._notes

    def layout(self, *, rest: bool = False) -> Layout:
        """What a brush paints on, of the main face, as it was drawn last. rest: a portrait as it lies there. For any
        thread. Raises InputError where the generator has no layouts, or has drawn none yet."""
        layout = getattr(self._generator, "layout", None)
        if layout is None:
            raise InputError(f"layout: {self._generator.name} draws by none; choose a system that does")
        found: Layout | None = layout(self._slots[0].state, rest=rest)
        if found is None:
            raise InputError("layout: nothing was drawn yet; look into the camera")
        return found

    def recalibrate(self) -> None:
        """Take the driver's next stable second as the new neutral."""
        for slot in self._slots:
            slot.calibration.restart()

    @property
    def _slots(self) -> tuple[Slot, ...]:
        return self._scene.slots

    def step(self, frame: Frame) -> tuple[Frame, FrameReport]:
        """One frame of the driver to one frame of the result, with the same pts."""
        return step_together([self], [frame], self._runner)[0]

    def observe(self, frame: Frame) -> Work:
        """Everything before the graph, for callers with one thread. Never raises for what a frame may hold."""
        return self.feed(self.measure(frame))

    def measure(self, frame: Frame, seconds: dict[str, float] | None = None) -> Work:
        """The driver's side of a frame. Never raises for what a frame may hold: see Work.reason.

        seconds: what the frame has spent before; the stages are added to it.
        """
        seconds = {} if seconds is None else seconds
        scene = self._scene
        try:
            with Timed(seconds, "track", self._clock):
                faces = self._tracker.track(frame)
            occlusion = self._covering(frame, faces, seconds)
            with Timed(seconds, "features", self._clock):
                driven = seated(faces, self._tracker.main_id, scene.slots)
                around = self._surroundings(frame)
                alone = len(scene.slots) == 1
                drives = tuple(
                    (slot, replace(self._drive(slot, face, frame, around, occlusion), alone=alone))
                    for slot, face in driven
                )
                seats, config = {slot for slot, _ in driven}, self._config
                if reason := incomplete(scene.slots, seats, frame.time_s, config.mode, config.fallback):
                    return Work(frame, scene, (), (), seconds, reason, 0.0)
            lag = max((slot.smoother.lag_s for slot, _ in driven), default=0.0)
        except Exception as error:
            return Work(frame, scene, (), (), seconds, self._reason(error), 0.0)
        return Work(frame, scene, drives, (), seconds, None, lag)

    def feed(self, work: Work) -> Work:
        """The same work with its ports. Never raises either."""
        if not work.drives:
            return work
        try:
            with Timed(work.seconds, "inputs", self._clock):
                ports = tuple(self._generator.inputs(slot.state, drive) for slot, drive in work.drives)
        except Exception as error:
            return replace(work, drives=(), reason=self._reason(error), filter_lag_s=0.0)
        return replace(work, ports=ports)

    def show(
        self, work: Work, outputs: Sequence[Ports | Exception], render_s: float
    ) -> tuple[Frame, FrameReport]:
        """From the graph's outputs to the picture that leaves, and its report."""
        seconds, reason, picture = work.seconds, work.reason, None
        if work.ports:
            seconds["render"] = render_s
            with Timed(seconds, "paste", self._clock):
                try:
                    picture = self._picture(work, outputs)
                except Exception as error:
                    reason = self._reason(error)
        time_s, fallback = work.frame.time_s, work.scene.fallback
        if picture is not None:
            fallback.generated(picture, time_s)
            outcome = Outcome.GENERATED
        else:
            picture, outcome = fallback.picture(time_s, work.frame.size)
        age_s = self._clock() - work.frame.arrived_s
        report = FrameReport(
            work.frame.pts, outcome, seconds, age_s, work.filter_lag_s, faces=len(work.ports), reason=reason
        )
        return Frame(picture, work.frame.pts, work.frame.time_base, work.frame.arrived_s), report

    def _covering(self, frame: Frame, faces: Sequence[Face], seconds: dict[str, float]) -> U8 | None:
        """The occlusion mask where the generator needs one, timed as a stage of its own."""
        if not self._occlusion or not faces or Signal.OCCLUSION not in self._needs:
            return None
        with Timed(seconds, "occlusion", self._clock):
            return self._occlusion.mask(frame, faces)

    def _surroundings(self, frame: Frame) -> _Surroundings:
        needs = self._needs
        person = None
        if self._segmenter and Signal.PARSING in needs:
            self._mask_smoother.strength = self.smoothing
            person = self._mask_smoother.smooth(self._segmenter.mask(frame.rgb), frame.time_s)
        body = self._body.track(frame) if self._body and Signal.BODY in needs else None
        return {"person": person, "body": body}

    def _drive(
        self, slot: Slot, face: Face, frame: Frame, around: _Surroundings, occlusion: U8 | None
    ) -> Drive:
        slot.follow(face)
        slot.smoother.strength = self.smoothing
        raw = extract(face, frame, self._needs, occlusion=occlusion, **around)
        neutral = slot.neutral(raw)
        features = slot.smoother.smooth(raw, neutral)
        if self._expressions is not None and features.aus is not None:
            aus = with_blendshapes(features.aus, self._expressions.measure(face.points))
            features = replace(features, aus=aus)
        return Drive(frame, face, features, neutral, self.controls)

    def _picture(self, work: Work, outputs: Sequence[Ports | Exception]) -> U8:
        picture: U8 | None = None
        for (slot, drive), output in zip(work.drives, outputs):
            if isinstance(output, Exception):
                raise output
            patch = self._generator.patch(slot.state, output)
            self._check_canvas(patch.canvas, work, slot)
            if picture is None:
                scene = work.scene
                picture = paste(patch, scene.drawn.room(patch.canvas.shape, scene.fallback.last))
            else:  # a further face goes into the picture that already holds the first
                picture = paste(replace(patch, canvas=picture), picture)
            self._check_edited(picture, slot, drive)
        if picture is None:
            raise MarotteError("the runner gave back nothing; expected one answer per face")
        return picture

    def _check_canvas(self, canvas: U8, work: Work, slot: Slot) -> None:
        """A patch of another frame's canvas would show that frame under this one's time."""
        edits = self._config.mode is Mode.EDIT
        expected = work.frame.rgb if edits else slot.state.prepared.source.rgb
        if canvas.shape != expected.shape:
            raise PortError(f"canvas: expected {expected.shape}, got {canvas.shape}")
        if edits and canvas is not expected:
            raise PortError("canvas: got another picture, expected the driver's frame that is edited")

    def _check_edited(self, picture: U8, slot: Slot, drive: Drive) -> None:
        """What shows the driver as before is no edit, and nobody would see that it is none."""
        asks = getattr(self._generator, "asks", None)
        if self._config.mode is not Mode.EDIT or asks is None or not asks(slot.state, drive):
            return
        if left_as_it_was(picture, drive.frame.rgb, drive.face, drive.features.occlusion):
            raise UneditedError(
                f"{self._generator.name}: it left the face as it is, though a change was asked for; its bundle does "
                "not edit: use another one"
            )

    def _reason(self, error: Exception) -> str:
        if type(error) not in self._logged:
            self._logged.add(type(error))
            _log.warning("a frame failed and was replaced by the fallback: %s", error, exc_info=error)
        return f"{type(error).__name__}: {error}"


def step_together(
    sessions: Sequence[Staged], frames: Sequence[Frame], runner: Runner
) -> list[tuple[Frame, FrameReport]]:
    """One frame of several sessions through one batch of the runner; a session's fault stays its own."""
    works: list[Underway] = [session.feed(session.measure(frame)) for session, frame in zip(sessions, frames)]
    batch = [ports for work in works for ports in work.ports]
    started = time.perf_counter()
    outputs = iter(run_batch(runner, batch))
    render_s = time.perf_counter() - started
    return [
        session.show(work, [next(outputs) for _ in work.ports], render_s)
        for session, work in zip(sessions, works)
    ]


def run_batch(runner: Runner, batch: Sequence[Ports]) -> list[Ports | Exception]:
    """One answer per entry; a runner that fails as a whole answers its error for each."""
    if not batch:
        return []
    try:
        outputs = runner.run(batch)
        if not isinstance(outputs, list) or len(outputs) != len(batch):
            raise PortError(f"runner: expected {len(batch)} answers in a list, got {type(outputs).__name__}")
    except Exception as error:  # the whole batch failed: every session in it falls back
        return [error] * len(batch)
    return outputs
