"""The worker with its real networks: the first frame is as quick as any, and no frame can upset it."""

from __future__ import annotations

import queue
import time
from collections.abc import Iterator

import cv2
import numpy as np
import pytest
from numba.core import event

from engine.acting import Acting, packed
from engine.features import openness
from engine.features.shape import fit_shape
from engine.geometry import head_pose, pose_rotation
from engine.media import read_picture
from engine.puppet import Opening
from engine.sample import sample_portrait
from engine.sample.demo import demo_face
from engine.track.face import FaceTracker
from engine.types import AU_NAMES, U8, Frame, HeadPose, Outcome
from engine.worker.acted import NOBODY
from engine.worker.interface import (
    TIME_BASE,
    Delivery,
    DriverKind,
    SessionSpec,
    SourceInfo,
    Stamp,
    WorkerConfig,
)
from engine.worker.local import LocalWorker

WAIT_S = 60.0


class Open:
    """A session whose pictures are waited for one by one."""

    def __init__(self, worker: LocalWorker, source: SourceInfo, name: str, driver: DriverKind) -> None:
        self.worker, self.name, self.source = worker, name, source
        self.left: queue.Queue[Delivery] = queue.Queue()
        self._pts = 0
        worker.open(name, SessionSpec(source.id, driver), self.left.put)

    def step(self, rgb: U8) -> Delivery:
        self._pts += 3000
        self.worker.post(self.name, rgb, Stamp(self._pts, time.perf_counter()))
        return self.left.get(timeout=WAIT_S)


@pytest.fixture(scope="module")
def worker(models: None) -> Iterator[tuple[LocalWorker, SourceInfo]]:
    one = LocalWorker(WorkerConfig(side=384, faces=2, driver_pixels=True))
    one.start()
    path = sample_portrait()
    yield one, one.add_source(path.read_bytes(), path.name).result(WAIT_S)
    one.close()


@pytest.fixture
def session(worker: tuple[LocalWorker, SourceInfo], request: pytest.FixtureRequest) -> Iterator[Open]:
    driver = getattr(request, "param", DriverKind.CAMERA)
    yield Open(*worker, request.node.name, driver)
    worker[0].close_session(request.node.name)


@pytest.fixture(scope="module")
def portrait() -> U8:
    """Somebody in front of a camera, 640 x 480."""
    rgb = read_picture(sample_portrait())
    return np.ascontiguousarray(cv2.resize(rgb[128:896], (640, 480), interpolation=cv2.INTER_AREA))


def test_the_first_frame_waits_for_nothing(
    worker: tuple[LocalWorker, SourceInfo], portrait: U8, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Everything was compiled and opened before the worker said that it is ready, read-only frames included."""
    monkeypatch.setattr(Opening, "tracker", lambda self: pytest.fail("opened for a session"))
    frozen = portrait.copy()
    frozen.setflags(write=False)
    with event.install_recorder("numba:compile") as compiled:
        session = Open(*worker, "first", DriverKind.CAMERA)
        deliveries = [session.step(rgb) for rgb in (portrait, frozen, portrait)]
        worker[0].close_session("first")
    assert {delivery.report.outcome for delivery in deliveries} == {Outcome.GENERATED}
    assert {delivery.planes.shape for delivery in deliveries} == {(384 * 3 // 2, 384)}
    assert compiled.buffer == []


def test_no_frame_upsets_it(session: Open, portrait: U8) -> None:
    """Odd, tiny, thin and changing sizes, noise and nothing: held or generated, in the source's size, without stop."""
    rng = np.random.default_rng(5)
    odd = np.ascontiguousarray(cv2.resize(portrait, (641, 479)))
    frames = [
        odd,
        portrait[:1, :1],
        portrait[:, :1],
        portrait[:1],
        portrait[::-1, ::-1],
        np.asfortranarray(portrait),
        rng.integers(0, 256, (480, 640, 3), np.uint8),
        np.zeros((480, 640, 3), np.uint8),
        np.ascontiguousarray(portrait.transpose(1, 0, 2)),
        portrait[:, :, ::-1],
        portrait[::2, ::2],
    ]
    assert session.step(portrait).report.outcome is Outcome.GENERATED
    for frame in frames:
        delivery = session.step(frame)
        assert delivery.planes.shape == (384 * 3 // 2, 384)
        assert delivery.report.outcome in (Outcome.GENERATED, Outcome.HELD, Outcome.FADED)
    for _ in range(40):  # a seat that was lost is held for half a second
        if session.step(portrait).report.outcome is Outcome.GENERATED:
            break
    assert session.step(portrait).report.outcome is Outcome.GENERATED


def test_what_stands_still_is_its_own_still(session: Open, portrait: U8) -> None:
    """With nobody in front of the camera the picture is the source's still, and each receiver gets its own copy."""
    nobody = np.full((480, 640, 3), 90, np.uint8)
    deliveries = [session.step(nobody) for _ in range(4)]
    for delivery in deliveries:
        assert delivery.report.outcome is Outcome.WAITING
        assert (delivery.planes == session.source.still).all()
        delivery.planes[:] = 0


@pytest.mark.parametrize("session", [DriverKind.DEMO], indirect=True)
def test_the_demo_moves_the_portrait(session: Open) -> None:
    """Pictures that come without a camera turn their head and open their mouth as the performance does."""
    tracker = FaceTracker()
    driver, seen = [], []
    began: int | None = None
    while True:
        delivery = session.left.get(timeout=WAIT_S)
        assert delivery.report.outcome is Outcome.GENERATED
        began = delivery.stamp.pts if began is None else began
        time_s = (delivery.stamp.pts - began) / 90_000
        if time_s > 5.2:
            break
        rgb = np.asarray(cv2.cvtColor(delivery.planes, cv2.COLOR_YUV2RGB_I420), np.uint8)
        found = tracker.track(Frame(rgb, delivery.stamp.pts, TIME_BASE, 0.0))
        if found:
            driver.append(signals(demo_face(time_s, (512, 512)).points))
            seen.append(signals(found[0].points))
    tracker.close()
    moved, wanted = np.array(seen), np.array(driver)
    for signal in range(2):
        assert np.corrcoef(moved[:, signal], wanted[:, signal])[0, 1] > 0.85


@pytest.mark.parametrize("session", [DriverKind.TRACKER], indirect=True)
def test_an_external_tracker_moves_the_portrait(session: Open, portrait: U8) -> None:
    """What a tracker told turns the head and opens the mouth; where it sees nobody the last picture is held, and a
    camera's frame is no driver of it."""
    jaw = np.array([0.8 * (name in ("AU25", "AU26")) for name in AU_NAMES], np.float32)
    turned = packed(Acting(jaw, jaw, rotation=pose_rotation(HeadPose(15.0, 0.0, 0.0))))
    deliveries = [session.step(packed(Acting())) for _ in range(20)]
    deliveries += [session.step(turned) for _ in range(10)]
    assert {delivery.report.outcome for delivery in deliveries} == {Outcome.GENERATED}
    before, after = (signals(_found(deliveries[at])) for at in (19, -1))
    assert after[0] - before[0] > 8.0
    assert after[1] - before[1] > 0.1
    assert session.step(NOBODY).report.outcome is Outcome.HELD
    assert session.worker.post(session.name, portrait, Stamp(0, time.perf_counter()))


def _found(delivery: Delivery) -> np.ndarray:
    """The face in a picture that left."""
    rgb = np.asarray(cv2.cvtColor(delivery.planes, cv2.COLOR_YUV2RGB_I420), np.uint8)
    tracker = FaceTracker()
    (face,) = tracker.track(Frame(rgb, 0, TIME_BASE, 0.0))
    tracker.close()
    return face.points


def signals(points: np.ndarray) -> tuple[float, float]:
    shape = fit_shape(points)
    return head_pose(shape.rotation).yaw, openness.measure(shape).mouth
