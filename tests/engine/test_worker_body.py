"""Bodies in the worker: a bundle's own person moved by the driver's whole body, with a network of closed forms and the
synthetic body. The driver's frames say by their first value what the follower sees in them.
"""

from __future__ import annotations

import queue
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from engine.body import skeleton as s
from engine.body.fitter import standing
from engine.body.synthetic import synthetic_body
from engine.errors import ConfigError, ModelError
from engine.imitation.mesh import SYNTHETIC
from engine.media.planes import i420_of
from engine.mesh import rotations as forms
from engine.puppet import Opening
from engine.types import U8, Body, Frame, Outcome
from engine.worker import messages
from engine.worker.interface import Delivery, DriverKind, WorkerConfig, held_by
from engine.worker.local import LocalWorker
from engine.worker.tools import Tools
from tests.engine.imitation.scenes import CAMERA, SIDE, WALL, Told, body_of, picture_of, raised
from tests.engine.warp_files import write_warp
from tests.engine.worker_tools import WAIT_S, Desk, FakeTools

NOBODY, STANDS, LIFTS, STRIDES, HALF, FAR, BROKEN, TURNED_AWAY = range(8)
SIZE = 96
NAME = "body"
STEP = 3000  # of the clock of 90 kHz: thirty frames a second
ARM = round(16 + 140 * 219 / 255)


def striding() -> np.ndarray:
    """The legs apart."""
    pose = standing()
    for hip, side in zip(s.HIPS, s.SIDES):
        pose[hip] = pose[hip] @ forms.from_vectors(np.array([0.0, 0.0, 0.6 * side]))
    return pose


def seen(what: int, time_s: float) -> Body | None:
    if what == NOBODY:
        return None
    pose = {LIFTS: raised(), STRIDES: striding(), HALF: striding()}.get(what, standing())
    camera = replace(CAMERA, scale=0.7 * CAMERA.scale) if what == FAR else CAMERA
    body = body_of(pose, time_s, camera)
    if what == HALF:
        body.points[s.POINT_KNEES[0] :, 3] = 0.1
    if what == BROKEN:
        body.points[s.NOSE] = np.nan
    if what == TURNED_AWAY:
        body.points[list(s.POINT_SHOULDERS), 3] = 0.1
    return body


class Follower:
    """Sees what a frame's first value says."""

    resets = 0

    def track(self, frame: Frame) -> Body | None:
        return seen(int(frame.rgb[0, 0, 0]), frame.time_s)

    def reset(self) -> None:
        self.resets += 1

    def close(self) -> None: ...


class Masks:
    def mask(self, rgb: U8) -> U8:
        return np.where(rgb[..., 0] != WALL, 255, 0).astype(np.uint8)

    def close(self) -> None: ...


class BodyTools(FakeTools):
    """Those of the worker for bundles in folders, fakes for the others."""

    def check(self, config: WorkerConfig) -> None:
        Tools.check(self, config)

    def open_generator(self, bundle: str, opening: Opening, accept: frozenset[str]) -> Any:
        kind = Tools if "/" in bundle else FakeTools
        return kind.open_generator(self, bundle, opening, accept)

    def offer(self, bundle: str, generator: Any, *, edit: bool) -> Any:
        kind = Tools if "/" in bundle else FakeTools
        return kind.offer(self, bundle, generator, edit=edit)

    def follower(self, opening: Opening) -> Any:
        return Follower()


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> str:
    """Holds the synthetic person, standing."""
    person, _ = picture_of(standing())
    folder = tmp_path_factory.mktemp("bundles") / NAME
    return str(write_warp(folder, SIZE, rule="box", facts={"mesh": "smpl"}, person=[person]))


@pytest.fixture(scope="module", autouse=True)
def looked_at() -> Iterator[None]:
    """What reads the bundle's person."""
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(Opening, "body", lambda self: Told(body_of(standing())))
        patched.setattr(Opening, "segmenter", lambda self: Masks())
        yield


@contextmanager
def desk(*bundles: str, **config: Any) -> Iterator[Stage]:
    config = {"body": SYNTHETIC, "backend": "onnxruntime", **config}
    tools = BodyTools()
    worker = LocalWorker(WorkerConfig(bundles, **config), tools)
    worker.start()
    try:
        yield Stage(worker, tools.faults)
    finally:
        worker.close()


class Stage(Desk):
    """Its driver does what is asked for."""

    pts = 0

    def does(self, what: int, frames: int = 1, step: int = STEP) -> Delivery:
        """The picture of the last of some frames, each of them waited for."""
        for _ in range(frames):
            self.pts += step
            delivery = self.step(what, pts=self.pts, rgb=frame_of(what))
        return delivery


@pytest.fixture(scope="module")
def worker(bundle: str) -> Iterator[Stage]:
    """It begins with a system for faces, and offers the body."""
    with desk("fake", bundle) as stage:
        yield stage


@pytest.fixture
def stage(worker: Stage) -> Iterator[Stage]:
    """The same worker for a session of the test's own."""
    worker.left = queue.Queue()
    yield worker
    worker.worker.close_session("one")


def frame_of(what: int) -> U8:
    """In a green that nothing else has."""
    rgb = np.zeros((SIDE, SIDE, 3), np.uint8)
    rgb[..., 1] = 255
    rgb[0, 0, 0] = what
    return rgb


def luma(delivery: Delivery) -> np.ndarray:
    return delivery.planes[:SIDE].astype(int)


def place_of(joint: int, pose: np.ndarray) -> tuple[int, int]:
    x, y = CAMERA.seen(synthetic_body().shaped().posed(pose.astype(np.float32)).joints)[joint]
    return round(float(y)), round(float(x))


def shown(delivery: Delivery) -> np.ndarray:
    """As RGB."""
    return cv2.cvtColor(delivery.planes, cv2.COLOR_YUV2RGB_I420).astype(int)


def silhouette(delivery: Delivery) -> np.ndarray:
    """Where somebody is, who has no blue; walls and what a network makes of them are grey."""
    rgb = shown(delivery)
    return rgb[..., 0] - rgb[..., 2] > 50


def legs(delivery: Delivery) -> np.ndarray:
    """The silhouette from a standing person's knees down."""
    row, _ = place_of(s.KNEES[0], standing())
    return silhouette(delivery)[row:]


def test_the_drivers_body_moves_the_person_that_the_bundle_holds(stage: Stage) -> None:
    """Whatever source the session names: the bundle's own person, in their size, lifts the arm that the driver lifts;
    the stages are those of every session, and nothing of the driver is in the picture."""
    info = stage.worker.bundles()[1]
    assert (info.takes_source, info.heeds, info.aus) == (frozenset(), (), False)
    assert info.own is not None
    assert (info.own.id, info.own.size) == (held_by(NAME), (SIDE, SIDE))
    np.testing.assert_array_equal(info.own.still, i420_of(picture_of(standing())[0]))
    stage.open(bundle=NAME)
    delivery = stage.does(LIFTS, frames=3)
    assert delivery.report.outcome is Outcome.GENERATED
    assert (delivery.source, delivery.bundle) == (held_by(NAME), NAME)
    assert {"track", "features", "inputs", "render", "paste", "planes"} <= set(delivery.report.seconds)
    assert abs(luma(delivery)[place_of(s.ELBOWS[0], raised())] - ARM) < 14
    rgb = shown(delivery)
    assert (rgb[..., 1] - rgb[..., 0]).max() < 60  # the person is as red as green, the driver green alone
    stage.change({"smoothing": 0.0})
    lowered = stage.does(STANDS)
    assert abs(luma(lowered)[place_of(s.ELBOWS[0], standing())] - ARM) < 20


@pytest.mark.parametrize("lost", [NOBODY, BROKEN, TURNED_AWAY])
def test_a_body_that_is_lost_or_not_to_be_trusted_is_held_and_fades(stage: Stage, lost: int) -> None:
    """As with faces: held for half a second, faded to the person's own picture within another, generated again when
    the body is there again; a number that is not finite and hidden shoulders are no body."""
    stage.open(bundle=NAME)
    last = stage.does(LIFTS, frames=2)
    held = stage.does(lost)
    assert held.report.outcome is Outcome.HELD
    assert held.report.reason is not None
    assert held.report.reason.startswith("no body")
    np.testing.assert_array_equal(held.planes, last.planes)
    faded = stage.does(lost, frames=2, step=30 * STEP)
    assert faded.report.outcome is Outcome.FADED
    np.testing.assert_array_equal(faded.planes, i420_of(picture_of(standing())[0]))
    assert stage.does(STANDS, frames=3).report.outcome is Outcome.GENERATED


def test_a_half_length_view_freezes_the_legs(stage: Stage) -> None:
    """Legs that the tracker invents below the picture move nobody's: they stay where they stood, while the arm goes
    on. With the same legs in sight they move."""
    stage.open(bundle=NAME, smoothing=0.0)
    stood = stage.does(STANDS, frames=2)
    half = stage.does(HALF, frames=2)
    assert half.report.outcome is Outcome.GENERATED
    assert (legs(half) ^ legs(stood)).mean() < 0.03
    strides = stage.does(STRIDES, frames=2)
    assert (legs(strides) ^ legs(stood)).mean() > 0.1


def test_recalibration_puts_the_driver_where_the_person_stands(stage: Stage) -> None:
    """Who has stepped back makes the person smaller, until where they stand now is taken for the rest."""
    stage.open(bundle=NAME, smoothing=0.0)
    near = silhouette(stage.does(STANDS, frames=2)).any(1).sum()
    assert silhouette(stage.does(FAR, frames=2)).any(1).sum() < 0.85 * near
    stage.change({"recalibrate": True})
    assert silhouette(stage.does(FAR, frames=2)).any(1).sum() == pytest.approx(near, rel=0.05)


def test_the_smoothing_is_the_pages(stage: Stage) -> None:
    """None arrives at once, the calmest is late, and the report says by how much."""
    stage.open(bundle=NAME, smoothing=0.0)
    stage.does(STANDS)
    sharp = stage.does(LIFTS)
    assert sharp.report.filter_lag_s == 0.0
    assert abs(luma(sharp)[place_of(s.ELBOWS[0], raised())] - ARM) < 14
    stage.change({"smoothing": 4.0})
    stage.does(STANDS)
    assert stage.does(LIFTS).report.filter_lag_s > 0.002


def test_a_session_turns_to_a_body_and_back(stage: Stage) -> None:
    """Mid-call, with its tracker changed for a follower: a face's frames go to the tracker, a body's to the follower,
    another portrait changes nothing of a body, and afterwards that portrait moves."""
    stage.open()
    assert stage.step(50).bundle == "fake"
    stage.change({"bundle": NAME})
    delivery = stage.does(LIFTS, frames=2)
    assert (delivery.bundle, delivery.source) == (NAME, held_by(NAME))
    assert delivery.report.outcome is Outcome.GENERATED
    other = stage.add(150)
    number = stage.change({"source": other.id})
    delivery = stage.does(LIFTS)
    assert (delivery.source, delivery.changes) == (held_by(NAME), number)
    assert delivery.report.outcome is Outcome.GENERATED
    stage.change({"bundle": "fake"})
    delivery = stage.step(60)
    assert (delivery.bundle, delivery.source) == ("fake", other.id)


def test_the_demo_performs_with_a_body(stage: Stage) -> None:
    """Without a camera the performer's body moves the person."""
    stage.open(bundle=NAME, driver=DriverKind.DEMO)
    found = [stage.next() for _ in range(8)]
    assert {one.report.outcome for one in found} == {Outcome.GENERATED}
    assert np.abs(luma(found[-1]) - luma(found[0])).mean() > 0.3


def bare(folder: Path) -> str:
    return str(write_warp(folder / "bare", 64, rule="box", facts={"mesh": "smpl"}))


@pytest.mark.parametrize(
    ("body", "error", "words"),
    [
        (None, ConfigError, "expected --body FILE"),
        ("smpl_model.pkl", ModelError, r"smpl_model\.pkl: there is no body model; .* get them from smpl"),
    ],
)
def test_a_body_model_that_is_not_there_is_named(
    bundle: str, body: str | None, error: type[Exception], words: str
) -> None:
    """Before anything is opened, and for a bundle that is added to a worker at work: its session goes on."""
    with pytest.raises(error, match=words):
        BodyTools().check(WorkerConfig((bundle,), body=body))
    with desk("fake", body=body) as stage:
        stage.open()
        stage.step(50)
        with pytest.raises(error, match=words):
            stage.worker.add_bundle(bundle).result(WAIT_S)
        assert stage.step(60).report.outcome is Outcome.GENERATED
        assert [info.name for info in stage.worker.bundles()] == ["fake"]


def test_a_bundle_that_holds_nobody_is_refused(tmp_path: Path) -> None:
    """With what to do instead."""
    with pytest.raises(ConfigError, match=r"it holds no person.*marotte export --person"):
        BodyTools().check(WorkerConfig((bare(tmp_path),), body=SYNTHETIC))


def test_a_body_bundle_is_added_to_a_worker_at_work(bundle: str) -> None:
    """Hot swap: opened beside the session, which then turns to it."""
    with desk("fake") as stage:
        stage.open()
        info = stage.worker.add_bundle(bundle).result(WAIT_S)
        assert info.own is not None
        stage.change({"bundle": info.name})
        assert stage.does(STANDS, frames=2).report.outcome is Outcome.GENERATED


def test_the_person_crosses_between_processes(stage: Stage) -> None:
    """Id, size and every value of the still; planes of another size are no picture."""
    info = stage.worker.bundles()[1]
    sent = messages.unpack(messages.pack("ready", bundles=[messages.bundle_fields(info)]))
    (come,) = messages.read_bundles(sent)
    assert come.own is not None
    assert info.own is not None
    assert (come.own.id, come.own.size, come.name) == (info.own.id, info.own.size, info.name)
    np.testing.assert_array_equal(come.own.still, info.own.still)
    sent.fields["bundles"][0]["own"]["size"] = [SIDE, SIDE + 2]
    with pytest.raises(Exception, match="bundles"):
        messages.read_bundles(sent)
