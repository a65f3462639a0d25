"""What runs inside the worker process: a LocalWorker, its mailboxes, and the pipe to the network's process.

The process never outlives the other one: it ends when the pipe does. Three threads beside the LocalWorker's own: the
main one reads commands, one waits for frames, one tells ten times a second that it is alive and how long its busiest
stage has been at work.
"""

from __future__ import annotations

import ctypes
import logging
import os
import signal
import sys
import threading
import time
from collections.abc import Callable
from concurrent.futures import Future
from multiprocessing.synchronize import Semaphore
from typing import TYPE_CHECKING, Any, Protocol

import cv2

from engine.coach.measures import numbers
from engine.errors import MarotteError, WorkerError
from engine.plans import policy
from engine.self_check import signs
from engine.worker import messages
from engine.worker.interface import (
    BundleInfo,
    Delivery,
    Look,
    SourceInfo,
    State,
    Worker,
    WorkerConfig,
    WorkerStatus,
)
from engine.worker.looking import look_fields
from engine.worker.mailbox import Mailbox, attach_segment, close_segment, memory
from engine.worker.messages import Message, Pipe

if TYPE_CHECKING:
    from engine.worker.tools import Tools

_log = logging.getLogger("marotte.worker")

BEAT_S = 0.1

_POSTED_KEPT = 16
_PR_SET_PDEATHSIG = 1


class Inside(Worker, Protocol):
    """A worker of this process that also tells how long its busiest stage has been at it, in seconds; 0 = idle."""

    def busy_s(self) -> float: ...


Make = Callable[[WorkerConfig, "Tools | None"], Inside]


def local_worker(config: WorkerConfig, tools: Tools | None) -> Inside:
    """Imported here: it takes a second, during which the process already tells that it is alive."""
    from engine.worker.local import LocalWorker

    return LocalWorker(config, tools)


def main(
    connection: Pipe,
    wake: Semaphore,
    config: WorkerConfig,
    tools: Tools | None,
    make: Make,
    parent: int,
) -> None:
    """The whole life of the process."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the other process hears the interruption and ends us
    if hasattr(signal, "SIGUSR2"):
        signal.signal(
            signal.SIGUSR2, signal.SIG_IGN
        )  # a kill of the whole group is the other process's to hear
    if sys.platform != "win32":
        signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGINT})
    _end_with(parent)
    cv2.setNumThreads(1)
    process = _Process(connection, wake)
    try:
        process.serve(config, tools, make)
    except (EOFError, OSError):
        _end(1)  # nobody listens any more
    except MarotteError as error:
        process.tell("failed", text=str(error), final=True)
        _end(1)
    except Exception as error:
        _log.exception("the worker process failed")
        process.tell("failed", text=f"{type(error).__name__}: {error}"[:2000], final=False)
        _end(1)


def _end_with(parent: int) -> None:
    """Where the system offers it, it ends us with the other process even when no thread of ours can run any more."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
        if os.getppid() != parent:
            _end(1)


def _end(status: int) -> None:
    """At once: nothing is worth waiting for, and threads inside a network could not be stopped anyway."""
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(status)


class _Room:
    """One session's two mailboxes."""

    def __init__(self, outbox: Mailbox) -> None:
        self.outbox = outbox
        self.inbox: Mailbox | None = None
        self._posted: dict[float, float] = {}

    def note(self, arrived_s: float, seconds: float) -> None:
        """How long a frame took from the other process to this one."""
        if len(self._posted) >= _POSTED_KEPT:
            self._posted.pop(next(iter(self._posted)))
        self._posted[arrived_s] = seconds

    def took(self, arrived_s: float) -> dict[str, float]:
        seconds = self._posted.pop(arrived_s, None)
        return {} if seconds is None else {"post": seconds}

    def close(self) -> None:
        for mailbox in (self.outbox, self.inbox):
            if mailbox is not None:
                mailbox.close()


class _Process:
    def __init__(self, connection: Pipe, wake: Semaphore) -> None:
        self._connection, self._wake = connection, wake
        self._sending = threading.Lock()
        self._rooms: dict[str, _Room] = {}
        self._worker: Inside | None = None

    def tell(self, kind: str, **fields: Any) -> None:
        """From any thread. Ends this process where the other one is gone."""
        try:
            with self._sending:
                self._connection.send_bytes(messages.pack(kind, **fields))
        except OSError:
            _end(1)

    def serve(self, config: WorkerConfig, tools: Tools | None, make: Make) -> None:
        self._thread(self._beat)
        policy.use(config.plans)
        self._worker = make(config, tools)
        self._worker.on_status(self._status)
        self._worker.start()
        self._thread(self._receive)
        while True:
            self._carry_out(messages.unpack(self._connection.recv_bytes(messages.MOST_BYTES)))

    def _thread(self, work: Callable[[], None]) -> None:
        """A thread whose failure is the process's."""

        def guarded() -> None:
            try:
                work()
            except Exception:
                _log.exception("the worker process failed")
                _end(1)

        threading.Thread(target=guarded, name=f"worker{work.__name__}", daemon=True).start()

    def _beat(self) -> None:
        while True:
            busy_s = 0.0 if self._worker is None else self._worker.busy_s()
            self.tell("beat", busy_s=busy_s)
            time.sleep(BEAT_S)

    def _status(self, status: WorkerStatus) -> None:
        if status.state is State.READY:
            bundles = () if self._worker is None else self._worker.bundles()
            self.tell("ready", text=status.detail, bundles=[messages.bundle_fields(info) for info in bundles])
        elif status.state is State.FAILED:
            self.tell("failed", text=status.detail, final=True)

    def _receive(self) -> None:
        """Hand every new frame on. Several wake-ups are one: what counts is what lies in the mailboxes."""
        assert self._worker is not None
        while self._wake.acquire():
            while self._wake.acquire(block=False):
                pass
            for session, room in list(self._rooms.items()):
                letter = room.inbox.take() if room.inbox is not None else None
                if letter is None or room.inbox is None:
                    continue
                room.note(letter.stamp.arrived_s, time.perf_counter() - letter.sent_s)
                if self._worker.post(session, letter.picture, letter.stamp):
                    room.inbox.drop()

    def _carry_out(self, message: Message) -> None:
        commands = {
            "open": self._open,
            "attach": self._attach,
            "change": self._change,
            "shut": self._shut,
            "look": self._look,
            "add": self._add,
            "drop": self._drop,
            "bundle": self._open_bundle,
            "withdraw": self._withdraw,
        }
        if message.kind == "close":
            _end(0)
        try:
            commands[message.kind](message)
        except MarotteError as error:
            self.tell("trouble", command=message.kind, **messages.error_fields(error))

    def _open(self, message: Message) -> None:
        assert self._worker is not None
        session = message.get("session", str)
        room = _Room(Mailbox.attach(message.get("outbox", str), message.get("capacity", int)))
        self._rooms[session] = room

        def deliver(delivery: Delivery) -> None:
            self._deliver(session, room, delivery)

        try:
            self._worker.open(session, messages.read_spec(message), deliver)
        except MarotteError:
            self._rooms.pop(session).close()
            raise

    def _deliver(self, session: str, room: _Room, delivery: Delivery) -> None:
        began_s = time.perf_counter()
        try:
            room.outbox.put(delivery.planes, delivery.stamp, began_s)
        except WorkerError as error:  # it does not fit: one picture less, which the viewer's side covers
            self.tell("trouble", command="deliver", **messages.error_fields(error))
            return
        report = messages.report_fields(delivery.report, delivery.stamp)
        report["seconds"] = room.took(delivery.stamp.arrived_s) | report["seconds"]
        self.tell(
            "delivered",
            session=session,
            number=room.outbox.newest(),
            changes=delivery.changes,
            source=delivery.source,
            bundle=delivery.bundle,
            mode=delivery.mode.value,
            camera=None if delivery.camera is None else numbers(delivery.camera),
            signs=None if delivery.signs is None else signs.numbers(delivery.signs),
            **report,
        )

    def _attach(self, message: Message) -> None:
        """The driver's frames come here from now on."""
        room = self._rooms.get(message.get("session", str))
        if room is None:
            return
        inbox = Mailbox.attach(message.get("inbox", str), message.get("capacity", int))
        former, room.inbox = room.inbox, inbox
        if former is not None:
            former.close()
        self._wake.release()  # one may lie in it already

    def _change(self, message: Message) -> None:
        assert self._worker is not None
        session = message.get("session", str)
        if (
            session in self._rooms
        ):  # one that ended before it could be opened was told once, and not per change
            self._worker.change(session, message.get("change", dict))

    def _shut(self, message: Message) -> None:
        assert self._worker is not None
        session = message.get("session", str)
        self._worker.close_session(session)
        room = self._rooms.pop(session, None)
        if room is not None:
            room.close()

    def _look(self, message: Message) -> None:
        assert self._worker is not None
        number = message.get("number", int)

        def done(future: Future[Look]) -> None:
            try:
                self.tell("looked", number=number, **look_fields(future.result()))
            except Exception as error:  # told to whoever asked for it
                self.tell("looked", number=number, **messages.error_fields(error))

        found = self._worker.look(message.get("session", str), rest=message.get("rest", bool))
        found.add_done_callback(done)

    def _add(self, message: Message) -> None:
        assert self._worker is not None
        source = message.get("source", str)
        still = Mailbox.attach(message.get("still", str), message.get("capacity", int))
        segment = attach_segment(message.get("segment", str))
        try:
            data = bytes(memory(segment)[: message.get("size", int)])
        finally:
            close_segment(segment, owned=False)

        def done(future: Future[SourceInfo]) -> None:
            self._added(source, still, future)

        self._worker.add_source(data, message.get("name", str)).add_done_callback(done)

    def _added(self, source: str, still: Mailbox, future: Future[SourceInfo]) -> None:
        try:
            info = future.result()
            still.put(info.still, messages.NO_STAMP)
            self.tell("added", **messages.source_fields(info))
        except Exception as error:  # told to whoever asked for it
            self.tell("refused", source=source, **messages.error_fields(error))
        finally:
            still.close()

    def _open_bundle(self, message: Message) -> None:
        assert self._worker is not None

        def done(future: Future[BundleInfo]) -> None:
            try:
                self.tell("bundle opened", bundles=[messages.bundle_fields(future.result())])
            except Exception as error:  # told to whoever asked for it
                self.tell("bundle refused", **messages.error_fields(error))

        self._worker.add_bundle(message.get("bundle", str)).add_done_callback(done)

    def _withdraw(self, message: Message) -> None:
        assert self._worker is not None
        self._worker.drop_bundle(message.get("bundle", str))

    def _drop(self, message: Message) -> None:
        assert self._worker is not None
        self._worker.drop_source(message.get("source", str))
