"""What runs inside a worker process in tests that are about processes: quick to start, and it fails on request."""

from __future__ import annotations

import hashlib
import os
import queue
import secrets
import signal
import threading
import time
from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from engine.errors import InputError, ManifestError, ModelError, NoFaceError
from engine.types import FrameReport, Outcome
from engine.worker.changes import merged, parse
from engine.worker.interface import BundleInfo, Delivery, Look, SourceInfo, Stamp, State, WorkerStatus
from engine.worker.mailbox import Mailbox

SIDE = 64


class OwnNames:
    """In place of `secrets` in the mailbox: names by which a test knows its own segments."""

    @staticmethod
    def token_hex(size: int) -> str:
        return f"{os.getpid():08x}" + secrets.token_hex(size - 4)


@dataclass(frozen=True)
class Faults:
    """Switched on by the existence of a file in `folder`: once(name) also takes it away."""

    folder: Path

    def on(self, name: str) -> bool:
        return (self.folder / name).exists()

    def once(self, name: str) -> bool:
        try:
            (self.folder / name).unlink()
        except FileNotFoundError:
            return False
        return True

    def switch(self, name: str) -> None:
        (self.folder / name).touch()


class FakeWorker:
    """Shows each frame's first value as a grey picture, whose first four bytes are this process's number, whose
    fifth is ten times the smoothing and whose next two count the painted runs; obeys its faults."""

    def __init__(self, config: Any, faults: Faults) -> None:
        self._config, self._faults = config, faults
        if faults.on("no models"):
            raise ModelError("the models are not there; run: marotte models pull")
        if faults.on("dies at start"):
            os.kill(os.getpid(), signal.SIGKILL)
        self._told: Callable[[WorkerStatus], None] | None = None
        self._sessions: dict[str, Any] = {}
        self._changes: dict[str, int] = {}
        self._sources: set[str] = set()
        self._frames: queue.SimpleQueue[Any] = queue.SimpleQueue()
        self._busy_since: float | None = None

    def start(self) -> None:
        threading.Thread(target=self._generate, daemon=True).start()
        assert self._told is not None
        self._told(WorkerStatus(State.READY, {}))

    def on_status(self, told: Callable[[WorkerStatus], None]) -> None:
        self._told = told

    def bundles(self) -> tuple[BundleInfo, ...]:
        return (BundleInfo("fake", "Fake", "fake", "CC0-1.0"),)

    def add_bundle(self, bundle: str) -> Future[BundleInfo]:
        added: Future[BundleInfo] = Future()
        if self._faults.once("dies over a bundle"):
            os.kill(os.getpid(), signal.SIGKILL)
        if self._faults.on("no such bundle"):
            added.set_exception(ManifestError(f"{bundle}: no manifest"))
        else:
            name = Path(bundle).name
            self._faults.switch(f"{name}-in-{os.getpid()}")
            added.set_result(BundleInfo(name, "One more", "fake", "CC0-1.0"))
        return added

    def drop_bundle(self, name: str) -> None:
        self._faults.switch(f"{name}-dropped-by-{os.getpid()}")

    def busy_s(self) -> float:
        since = self._busy_since
        return 0.0 if since is None else time.perf_counter() - since

    def add_source(self, data: bytes, name: str) -> Future[SourceInfo]:
        future: Future[SourceInfo] = Future()
        threading.Thread(target=self._find, args=(data, name, future), daemon=True).start()
        return future

    def _find(self, data: bytes, name: str, future: Future[SourceInfo]) -> None:
        if data.startswith(b"crash"):
            os.kill(os.getpid(), signal.SIGSEGV)
        if data.startswith(b"slow"):
            time.sleep(3600)
        if data.startswith(b"nobody"):
            future.set_exception(NoFaceError(f"{name}: no face in it; give one with a face"))
            return
        source = hashlib.sha256(data).hexdigest()
        self._sources.add(source)
        still = np.full((SIDE * 3 // 2, SIDE), len(data) % 256, np.uint8)
        if data.startswith(b"odd"):
            still = still[:10]
        future.set_result(SourceInfo(source, name, (SIDE, SIDE), 1, still))

    def drop_source(self, source: str) -> None:
        self._sources.discard(source)

    def open(self, session: str, spec: Any, deliver: Any) -> None:
        assert spec.source in self._sources
        self._sessions[session], self._changes[session] = (spec, deliver), 0

    def post(self, session: str, rgb: Any, stamp: Any) -> bool:
        self._frames.put((session, rgb, stamp))
        return False

    def change(self, session: str, change: Any) -> int:
        spec, deliver = self._sessions[session]
        spec = merged(spec, parse(change))
        assert spec.source in self._sources
        self._sessions[session] = spec, deliver
        self._changes[session] += 1  # last: what a picture says of it is in force
        return self._changes[session]

    def look(self, session: str, *, rest: bool = False) -> Future[Look]:
        """A layout as large as any may be; never an answer where that is the fault."""
        found: Future[Look] = Future()
        if session not in self._sessions:
            found.set_exception(InputError("layout: nothing was drawn yet"))
        elif not self._faults.on("no answer"):
            runs = tuple((index % 19, 1) for index in range(128 * 128))
            found.set_result(Look(b"rest" if rest else bytes(60_000), runs))
        return found

    def close_session(self, session: str) -> None:
        self._sessions.pop(session, None)

    def close(self) -> None: ...

    def _generate(self) -> None:
        while True:
            session, rgb, stamp = self._frames.get()
            self._busy_since = time.perf_counter()
            if self._faults.once("hang"):
                time.sleep(3600)
            if self._faults.once("exit"):
                os._exit(7)
            changes = self._changes.get(session, 0)
            spec, deliver = self._sessions.get(session, (None, None))
            if spec is not None:
                planes = np.full((SIDE * 3 // 2, SIDE), rgb[0, 0, 0], np.uint8)
                planes[0, :4] = np.frombuffer(np.uint32(os.getpid()).tobytes(), np.uint8)
                planes[0, 4] = round(spec.smoothing * 10)
                painted = len(spec.controls.get("painted", ()))
                planes[0, 5:7] = divmod(painted, 256)
                if self._faults.once("odd picture"):
                    planes = planes[:10]
                if self._faults.once("odd size"):
                    planes = np.zeros((1 << 13, 1 << 13), np.uint8)
                report = FrameReport(stamp.pts, Outcome.GENERATED, {"run": 0.001}, 0.0, faces=1)
                deliver(
                    Delivery(session, planes, stamp, report, changes, spec.source, spec.bundle, spec.mode)
                )
            self._busy_since = None


def quarrelsome_worker(config: Any, tools: Any) -> Any:
    raise RuntimeError("this worker cannot be made")


def fake_worker(config: Any, tools: Any) -> Any:
    return FakeWorker(config, tools)


def put_for_ever(name: str, capacity: int, size: tuple[int, ...]) -> None:
    """Pictures of one colour each, as fast as it goes."""
    mailbox = Mailbox.attach(name, capacity)
    number = 0
    picture = np.empty(size, np.uint8)
    while True:
        number += 1
        picture[:] = number % 251
        mailbox.put(picture, Stamp(number, 0.0))


def take_one(name: str, capacity: int) -> None:
    """Attach, look, and leave without a word."""
    mailbox = Mailbox.attach(name, capacity)
    assert mailbox.take() is not None
