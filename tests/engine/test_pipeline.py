"""The session and the plug, proved with a toy generator that keeps state over time."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from fractions import Fraction

import numpy as np
import pytest

from engine import canonical
from engine.errors import ConfigError, InputError, MarotteError
from engine.pipeline import PipelineConfig, Session, step_together
from engine.plug import Ports
from engine.types import AU_NAMES, Body, Crop, Drive, Face, Frame, Mode, Outcome, Patch, Signal, Source

SIZE = 160
DRIVER_HUE = (0, 255, 0)


def face_at(x: float, y: float, track_id: int = 1) -> Face:
    points = (canonical.VERTICES * 4 + np.array([x, y, 0])).astype(np.float32)
    box = np.concatenate([points[:, :2].min(0), points[:, :2].max(0)]).astype(np.float32)
    return Face(box, points, 0.9, track_id)


def frame_at(number: int, fps: int = 30) -> Frame:
    rgb = np.empty((SIZE, SIZE, 3), np.uint8)
    rgb[...] = DRIVER_HUE
    return Frame(rgb, number, Fraction(1, fps), number / fps)


def source_at(x: float = 80, y: float = 80, value: int = 30) -> Source:
    return Source(np.full((SIZE, SIZE, 3), value, np.uint8), face_at(x, y), None, f"{x},{y}", "toy")


class ScriptedTracker:
    """Gives the faces it was told, frame by frame; raises what it was told to raise."""

    def __init__(self, script: Sequence[tuple[Face, ...] | Exception]) -> None:
        self._script = iter(script)
        self.main_id = 1

    def track(self, frame: Frame) -> tuple[Face, ...]:
        faces = next(self._script)
        if isinstance(faces, Exception):
            raise faces
        return faces


@dataclass(frozen=True)
class ToyPrepared:
    source: Source
    mode: Mode
    notes: tuple[str, ...] = ()


@dataclass
class ToyState:
    prepared: ToyPrepared
    level: float = 0.0
    frame: Frame | None = None


@dataclass
class EchoGenerator:
    """A temporal toy: its grey level is a running sum of x over the frames of this face, so state must not mix."""

    name: str = "toy"
    needs: frozenset[Signal] = field(default_factory=frozenset)
    modes: frozenset[Mode] = frozenset({Mode.PUPPET, Mode.EDIT})

    def prepare(self, source: Source, mode: Mode) -> ToyPrepared:
        if source.name == "bad":
            raise InputError("bad: cannot be moved")
        return ToyPrepared(source, mode)

    def takes_source(self, mode: Mode) -> bool:
        return mode in self.modes

    def begin(self, prepared: ToyPrepared, *donors: ToyPrepared) -> ToyState:
        return ToyState(prepared)

    def inputs(self, state: ToyState, drive: Drive) -> Ports:
        state.frame = drive.frame
        x = np.float32(drive.face.points[:, 0].mean())
        return {"level": np.array([state.level], np.float32), "x": np.array([x], np.float32)}

    def patch(self, state: ToyState, outputs: Ports) -> Patch:
        level = float(outputs["level"][0])
        if not np.isfinite(level):
            raise MarotteError("toy: level is NaN")
        state.level = level
        if state.prepared.mode is Mode.EDIT:  # all of the driver's picture
            whole = Crop(np.eye(2, 3), SIZE)
            return Patch(np.full((SIZE, SIZE, 3), round(level) % 256, np.uint8), None, whole, state.frame.rgb)
        rgb = np.full((16, 16, 3), round(level) % 256, np.uint8)
        centre = state.prepared.source.face.points[:, :2].mean(0).round()
        shift = 8 - centre
        crop = Crop(np.array([[1.0, 0.0, shift[0]], [0.0, 1.0, shift[1]]]), 16)
        return Patch(rgb, None, crop, state.prepared.source.rgb)


class AddingRunner:
    """level + x for a whole batch; remembers the batch sizes it saw."""

    def __init__(self) -> None:
        self.batches: list[int] = []
        self.fault: Exception | None = None

    def run(self, batch: Sequence[Ports]) -> list[Ports | Exception]:
        self.batches.append(len(batch))
        if self.fault is not None:
            raise self.fault
        return [{"level": ports["level"] + ports["x"]} for ports in batch]

    def close(self) -> None: ...


def session_for(
    script: Sequence[tuple[Face, ...] | Exception],
    runner: AddingRunner,
    sources: Sequence[Source] | None = None,
    **kw: object,
) -> Session:
    return Session(ScriptedTracker(script), EchoGenerator(), runner, sources or [source_at()], **kw)  # type: ignore[arg-type]


def level_at(frame: Frame, x: int = 80, y: int = 80) -> int:
    return int(frame.rgb[y, x, 0])


def no_driver(frame: Frame) -> bool:
    return not (frame.rgb == np.array(DRIVER_HUE, np.uint8)).all(axis=2).any()


def test_a_frame_keeps_its_time_stamp_and_says_what_it_cost() -> None:
    """The result carries the driver's pts, and the report every stage's seconds and the frame's age."""
    runner = AddingRunner()
    session = session_for([(face_at(20, 80),)], runner, clock=lambda: 5.0)
    result, report = session.step(frame_at(30))
    assert (result.pts, result.time_base) == (30, Fraction(1, 30))
    assert list(report.seconds) == ["track", "features", "inputs", "render", "paste"]
    assert report.age_s == pytest.approx(4.0)
    assert report.outcome is Outcome.GENERATED
    assert report.faces == 1


def test_two_faces_and_two_sessions_share_one_batch_and_no_state() -> None:
    """The plug's promise: one run for everybody, each face's own past, results returned to whom they belong."""
    runner = AddingRunner()
    two = [source_at(40, 80), source_at(120, 80)]
    one = session_for([(face_at(10, 80, 1), face_at(100, 80, 2))] * 3, runner, two)
    other = session_for([(face_at(50, 80, 1),)] * 3, runner)
    for number in range(3):
        results = step_together([one, other], [frame_at(number)] * 2, runner)
    assert runner.batches == [3, 3, 3]
    (first, _), (second, _) = results
    assert [level_at(first, 40), level_at(first, 120), level_at(second)] == [30, 300 % 256, 150]


def test_the_second_face_stays_on_its_source_when_the_order_changes() -> None:
    """Faces beside the main one keep their place by track id, not by their order in the frame."""
    runner = AddingRunner()
    sources = [source_at(30, 80), source_at(80, 80), source_at(130, 80)]
    a, b, c = face_at(10, 80, 1), face_at(20, 80, 2), face_at(40, 80, 3)
    session = session_for([(a, b, c), (a, c, b)], runner, sources)
    session.step(frame_at(0))
    result, _ = session.step(frame_at(1))
    assert [level_at(result, x) for x in (30, 80, 130)] == [20, 40, 80]


def test_a_bystander_does_not_take_the_main_seat() -> None:
    """While the main face's seat is held, another face in the picture moves only its own face of the source."""
    runner = AddingRunner()
    two = [source_at(40, 80), source_at(120, 80)]
    main, other = face_at(10, 80, 1), face_at(100, 80, 2)
    session = session_for([(main, other), (other,)], runner, two)
    session.step(frame_at(0))
    result, _ = session.step(frame_at(1))
    assert level_at(result, 40) == 30
    assert level_at(result, 120) == 200


@pytest.mark.parametrize("mode", [Mode.PUPPET, Mode.EDIT])
@pytest.mark.parametrize(
    "fault",
    [(), RuntimeError("tracker broke"), MarotteError("asked and refused")],
    ids=["no face", "crash", "refused"],
)
def test_whatever_fails_the_driver_is_never_shown(mode: Mode, fault: tuple[Face, ...] | Exception) -> None:
    """Face lost or stage broken: held, then faded, the reason in the report, and motion again afterwards."""
    runner = AddingRunner()
    script = [fault, (face_at(20, 80),), *[fault] * 60, (face_at(20, 80),)]
    session = session_for(script, runner, config=PipelineConfig(mode=mode))
    outcomes = []
    for number in range(len(script)):
        result, report = session.step(frame_at(number))
        assert no_driver(result)
        assert (report.reason is None) == (report.outcome is Outcome.GENERATED)
        outcomes.append(report.outcome)
    assert outcomes[0] is Outcome.WAITING
    assert outcomes[1] is outcomes[-1] is Outcome.GENERATED
    assert outcomes[2] is Outcome.HELD
    assert outcomes[-2] is Outcome.FADED


def test_a_runner_that_fails_or_answers_nan_falls_back() -> None:
    """NaN is never pasted, and a broken batch is a reason, not a crash."""
    runner = AddingRunner()
    session = session_for([(face_at(20, 80),)] * 3, runner)
    session.step(frame_at(0))
    runner.fault = RuntimeError("device lost")
    _, report = session.step(frame_at(1))
    assert report.outcome is Outcome.HELD
    assert report.reason == "RuntimeError: device lost"
    runner.fault = None
    session._slots[0].state.level = float("nan")
    result, report = session.step(frame_at(2))
    assert report.reason == "MarotteError: toy: level is NaN"
    assert level_at(result) == 20


def test_one_sessions_fault_leaves_the_other_alone() -> None:
    """A batch mate's NaN or lost face does not reach this session's picture."""
    runner = AddingRunner()
    good, bad = (session_for([(face_at(20, 80),)] * 2, runner) for _ in range(2))
    bad._slots[0].state.level = float("nan")
    (result, report), (_, failed) = step_together([good, bad], [frame_at(0)] * 2, runner)
    assert report.outcome is Outcome.GENERATED
    assert level_at(result) == 20
    assert failed.outcome is Outcome.WAITING


def test_a_new_source_takes_over_and_a_bad_one_is_refused() -> None:
    """Swapped between two frames; when the new one cannot be used the old one goes on."""
    runner = AddingRunner()
    session = session_for([(face_at(20, 80),)] * 3, runner)
    session.step(frame_at(0))
    bad = source_at()
    with pytest.raises(InputError, match="bad: cannot be moved"):
        session.swap([Source(bad.rgb, bad.face, None, "k", "bad")])
    assert level_at(session.step(frame_at(1))[0]) == 40
    session.swap([source_at(value=77)])
    result, _ = session.step(frame_at(2))
    assert int(result.rgb[0, 0, 0]) == 77
    assert level_at(result) == 20


def test_a_new_source_keeps_what_is_known_of_the_driver() -> None:
    """The driver's neutral does not begin anew in mid-expression because the portrait was changed."""
    session = session_for([(face_at(20, 80),)] * 3, AddingRunner())
    session.step(frame_at(0))
    calibration = session._slots[0].calibration
    session.swap([source_at(value=77), source_at(20, 20)])
    session.step(frame_at(1))
    assert session._slots[0].calibration is calibration
    assert session._slots[1].calibration is not calibration


def test_a_frame_in_flight_is_finished_with_the_picture_it_began_with() -> None:
    """Observed before a swap and shown after it: its own source, its own state, its own fallback; then the new one."""
    runner = AddingRunner()
    session = session_for([(face_at(20, 80),), (), (face_at(30, 80),), ()], runner)
    moved, lost = (session.measure(frame_at(number)) for number in (0, 1))
    session.swap([source_at(value=77)])
    later, gone = (session.measure(frame_at(number)) for number in (2, 3))
    seen = []
    for work in (moved, lost, later, gone):
        fed = session.feed(work)
        frame, report = session.show(fed, runner.run(fed.ports), 0.0)
        seen.append((report.outcome, level_at(frame), int(frame.rgb[0, 0, 0])))
    assert seen == [
        (Outcome.GENERATED, 20, 30),
        (Outcome.HELD, 20, 30),
        (Outcome.GENERATED, 30, 77),
        (Outcome.HELD, 30, 77),
    ]


def test_a_temporal_generator_keeps_its_past_while_the_next_frame_is_measured() -> None:
    """State belongs to the thread that generates: what is measured ahead does not read it too early."""
    runner = AddingRunner()
    session = session_for([(face_at(20, 80),)] * 3, runner)
    ahead = [session.measure(frame_at(number)) for number in range(3)]
    levels = []
    for work in ahead:
        fed = session.feed(work)
        levels.append(level_at(session.show(fed, runner.run(fed.ports), 0.0)[0]))
    assert levels == [20, 40, 60]


def test_inputs_that_fail_fall_back() -> None:
    """The generator's own side of a frame is guarded like the driver's."""

    class Broken(EchoGenerator):
        def inputs(self, state: ToyState, drive: Drive) -> Ports:
            raise ZeroDivisionError("inputs")

    runner = AddingRunner()
    session = Session(ScriptedTracker([(face_at(20, 80),)]), Broken(), runner, [source_at()])
    _, report = session.step(frame_at(0))
    assert (report.outcome, report.reason, report.faces) == (Outcome.WAITING, "ZeroDivisionError: inputs", 0)


def test_a_picture_of_another_size_than_the_source_falls_back() -> None:
    """Encoders and receivers are set up for the source's size; a generator cannot change it in mid-stream."""

    class Grown(EchoGenerator):
        def patch(self, state: ToyState, outputs: Ports) -> Patch:
            return replace(super().patch(state, outputs), canvas=np.zeros((SIZE + 2, SIZE, 3), np.uint8))

    session = Session(ScriptedTracker([(face_at(20, 80),)]), Grown(), AddingRunner(), [source_at()])
    result, report = session.step(frame_at(0))
    assert report.reason is not None
    assert "canvas" in report.reason
    assert result.rgb.shape == (SIZE, SIZE, 3)


def test_a_new_driver_is_a_new_person() -> None:
    """Another tracker that calls its face by the same number does not inherit the last one's neutral."""
    runner = AddingRunner()
    session = session_for([(face_at(20, 80),)], runner)
    session.step(frame_at(0))
    calibration = session._slots[0].calibration
    session.follow(ScriptedTracker([(face_at(90, 80),)]))
    result, _ = session.step(frame_at(1))
    assert level_at(result) == 110
    assert session._slots[0].calibration is not calibration


def test_smoothing_is_set_live_for_every_face() -> None:
    """The strength in force is that of the session, after a swap and for a new track as well."""
    session = session_for([(face_at(20, 80),)] * 2, AddingRunner())
    session.step(frame_at(0))
    session.smoothing = 0.0
    session.swap([source_at(value=77)])
    session.step(frame_at(1))
    assert session._slots[0].smoother.strength == 0.0


def test_reused_memory_never_holds_two_pictures_at_once() -> None:
    """Drawn by turns into two arrays: what is held stays whole, also when a later face fails half-way."""
    runner = AddingRunner()
    sources = [source_at(40, 80), source_at(120, 80)]
    both = (face_at(10, 80, 1), face_at(100, 80, 2))
    session = session_for([both] * 8, runner, sources, reuse=True)
    last: np.ndarray | None = None
    arrays = set()
    for number in range(8):
        if number in (3, 4, 6):
            session._slots[1].state.level = float("nan")
        result, report = session.step(frame_at(number))
        arrays.add(id(result.rgb))
        if report.outcome is Outcome.HELD:
            assert (result.rgb == last).all()
            session._slots[1].state.level = 0.0
        last = result.rgb.copy()
    assert len(arrays) == 2


def test_a_mode_that_the_generator_does_not_have_is_refused_at_start() -> None:
    """Configuration is validated before the first frame."""
    generator = EchoGenerator(modes=frozenset({Mode.EDIT}))
    with pytest.raises(ConfigError, match="got mode 'puppet', expected one of edit"):
        Session(ScriptedTracker([]), generator, AddingRunner(), [source_at()])


def test_a_session_without_a_source_is_refused() -> None:
    """There is always a picture to fall back to."""
    with pytest.raises(ConfigError, match="at least one face"):
        session_for([], AddingRunner()).swap([])


def test_a_signal_that_nothing_measures_is_refused_at_start() -> None:
    """No silent fallback: a generator that needs the body does not run without a body tracker."""
    generator = EchoGenerator(needs=frozenset({Signal.BODY}))
    with pytest.raises(ConfigError, match="needs body"):
        Session(ScriptedTracker([]), generator, AddingRunner(), [source_at()])


def test_body_and_parsing_reach_the_generator_that_needs_them() -> None:
    """Only what is needed is computed, and it arrives in the drive's features."""
    seen: list[Drive] = []

    class Watching(EchoGenerator):
        def inputs(self, state: ToyState, drive: Drive) -> Ports:
            seen.append(drive)
            return super().inputs(state, drive)

    class Still:
        body = Body(np.zeros((33, 4), np.float32), np.zeros((33, 4), np.float32), 0.0)

        def track(self, frame: Frame) -> Body:
            return self.body

        def mask(self, rgb: np.ndarray) -> np.ndarray:
            return np.full(rgb.shape[:2], 255, np.uint8)

    generator = Watching(needs=frozenset({Signal.BODY, Signal.PARSING, Signal.AUS}))
    tracker = ScriptedTracker([(face_at(80, 80),)])
    session = Session(tracker, generator, AddingRunner(), [source_at()], body=Still(), segmenter=Still())
    session.step(frame_at(0))
    features = seen[0].features
    assert features.body is Still.body
    assert features.parsing is not None
    assert features.parsing.labels.shape == (SIZE, SIZE)
    assert features.aus is not None
    assert features.landmarks68 is None


def test_blendshapes_give_the_aus_that_geometry_cannot_see() -> None:
    """With a task file's network AU06 comes from its scores, and an AU that geometry sees well stays geometry's."""
    seen: list[Drive] = []

    class Watching(EchoGenerator):
        def inputs(self, state: ToyState, drive: Drive) -> Ports:
            seen.append(drive)
            return super().inputs(state, drive)

    class Smiling:
        def measure(self, points: np.ndarray) -> dict[str, float]:
            return {
                "cheekSquintLeft": 0.5,
                "cheekSquintRight": 0.7,
                "mouthSmileLeft": 1.0,
                "mouthSmileRight": 1.0,
            }

    generator = Watching(needs=frozenset({Signal.AUS}))
    tracker = ScriptedTracker([(face_at(80, 80),)])
    Session(tracker, generator, AddingRunner(), [source_at()], expressions=Smiling()).step(frame_at(0))
    aus = seen[0].features.aus
    assert aus is not None
    assert aus[AU_NAMES.index("AU06")] == pytest.approx(0.6)
    assert aus[AU_NAMES.index("AU12")] == 0.0


@pytest.mark.parametrize(
    "answer", [[], None, 3, [{"level": np.zeros(1)}] * 2], ids=["none", "None", "int", "two"]
)
def test_a_runner_that_answers_too_little_or_too_much_falls_back(answer: object) -> None:
    """Whatever a runner gives back, the session shows its fallback and goes on."""

    class Broken(AddingRunner):
        def run(self, batch: Sequence[Ports]) -> list[Ports | Exception]:
            return answer  # type: ignore[return-value]

    _, report = session_for([(face_at(20, 80),)], Broken()).step(frame_at(0))
    assert report.outcome is Outcome.WAITING
    assert report.reason is not None
    assert "runner" in report.reason


def test_points_that_are_no_face_fall_back() -> None:
    """Random, mirrored, enormous or far-off points move nothing."""
    face = face_at(80, 80)
    wrong = [
        np.random.default_rng(0).random((478, 3)) * SIZE,
        face.points * [-1, 1, 1] + [SIZE, 0, 0],
        face.points * 1e20,
        face.points + np.array([1e5, 0, 0]),
    ]
    script = [(Face(face.box, points.astype(np.float32), 1.0, 1),) for points in wrong]
    session = session_for(script, AddingRunner())
    for number in range(len(wrong)):
        assert session.step(frame_at(number))[1].outcome is Outcome.WAITING
