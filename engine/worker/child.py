"""The network's side of one worker process: its pipe, its mailboxes, and its end.

A reader thread hands on what the process tells and delivers its pictures; a sender thread writes commands, so that a
process which is stopped holds nobody up. After `fence` nothing of what it left behind is read any more.
"""

from __future__ import annotations

import contextlib
import dataclasses
import logging
import multiprocessing
import os
import queue
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from dataclasses import dataclass
from multiprocessing import spawn
from multiprocessing.process import BaseProcess
from multiprocessing.shared_memory import SharedMemory
from multiprocessing.synchronize import Semaphore
from typing import TYPE_CHECKING, Any

import numpy as np

from engine.errors import WorkerError
from engine.types import U8
from engine.worker import messages, process
from engine.worker.interface import Delivery, Look, SessionSpec, Stamp, WorkerConfig
from engine.worker.looking import Asked
from engine.worker.mailbox import Letter, Mailbox, close_segment, create_segment, memory
from engine.worker.messages import Message, Pipe

if TYPE_CHECKING:
    from engine.worker.tools import Tools

_log = logging.getLogger("marotte.worker")

_FENCE_S = 1.0
_SILENT_START_S = 20.0  # it beats from its first second; imports on a busy machine may hold that up
_LONGEST_START_S = 120.0
_ADD_GRACE = 1.2
_EXIT_S = 0.2  # between the end of its pipe and its own
_preparing = threading.Lock()

Deliver = Callable[[Delivery], None]


def picture_bytes(side: int) -> int:
    """Of the largest picture that leaves, I420."""
    even = side + side % 2
    return even * even * 3 // 2


class _Door:
    """One session in one process. changes: number of the last change made before it was opened there."""

    def __init__(self, deliver: Deliver, changes: int, outbox: Mailbox) -> None:
        self.deliver, self.changes, self.outbox = deliver, changes, outbox
        self.inbox: Mailbox | None = None
        self.closed = False
        self.lock = threading.Lock()
        self._letter: Letter | None = None

    def fetch(self, number: int) -> Letter | None:
        """Picture `number`, or None where a newer one, whose message is on its way, has replaced it."""
        self._letter = letter = self.outbox.take() or self._letter
        if letter is None or letter.number != number:
            return None
        self._letter = None
        return letter

    def close(self) -> None:
        with self.lock:
            self.closed = True
            if self.inbox is not None:
                self.inbox.close()
        self.outbox.close()


@dataclass(slots=True, eq=False)
class Adding:
    """A source on its way. still: where its picture comes back. since_s: when it was sent."""

    source: str
    segment: SharedMemory
    still: Mailbox
    since_s: float

    def close(self) -> None:
        close_segment(self.segment, owned=True)
        self.still.close()


class Child:
    """One process. `told(child, message)` is called in the reader thread with everything but pictures and signs of
    life, and once with None when the process has ended or talks nonsense.

    heard_s: when its last sign of life was read. busy_s: of its busiest stage, then. sources, bundles: those that it
    has, by id and by name. opening: name of the bundle that it opens beside its sessions, or empty.
    """

    def __init__(
        self, number: int, config: WorkerConfig, told: Callable[[Child, Message | None], None]
    ) -> None:
        self.number = number
        self.ready = False
        self.sources: set[str] = set()
        self.bundles: set[str] = set()
        self.opening = ""
        self.adding: Adding | None = None
        self.started_s = self.heard_s = time.perf_counter()
        self.busy_s = 0.0
        self.nonsense = ""
        self._config, self._told = config, told
        self._doors: dict[str, _Door] = {}
        self._process: BaseProcess | None = None
        self._connection: Pipe | None = None
        self._wake: Semaphore | None = None
        self._commands: queue.SimpleQueue[bytes | None] = queue.SimpleQueue()
        self._reading = threading.RLock()
        self._asked = Asked()
        self._fenced = False
        self._threads: list[threading.Thread] = []

    def start(self, tools: Tools | None, make: process.Make) -> None:
        """Raises OSError, or what pickling the tools raises."""
        context = multiprocessing.get_context("spawn")
        ours, theirs = context.Pipe()
        wake = context.Semaphore(0)
        arguments = (theirs, wake, self._config, tools, make, os.getpid())
        child = context.Process(
            target=process.main, args=arguments, name=f"marotte-worker-{self.number}", daemon=True
        )
        try:
            with _undisturbed(whole=_in_main(tools, make)):
                child.start()
        except BaseException:
            ours.close()
            raise
        finally:
            theirs.close()
        self._process, self._connection, self._wake = child, ours, wake
        self.started_s = self.heard_s = time.perf_counter()
        for work in (self._read, self._send):
            name = f"marotte{work.__name__}-{self.number}"
            self._threads.append(threading.Thread(target=work, name=name, args=(ours,), daemon=True))
            self._threads[-1].start()

    def _silent_s(self, now_s: float) -> float:
        """For how long it has given no sign of life. What lies unread is one: it is our reader that is late then,
        after a pause of this process, or behind a receiver that is slow."""
        with contextlib.suppress(OSError):
            if self._connection is not None and self._connection.poll():
                return 0.0
        return now_s - self.heard_s

    def overdue(self, now_s: float) -> tuple[str, str] | None:
        """Reason (see WorkerStatus) and words, for people, for what has taken too long."""
        silent_s, hang_s, add_s = self._silent_s(now_s), self._config.hang_s, self._config.add_s
        if not self.ready:
            if silent_s > _SILENT_START_S or now_s - self.started_s > _LONGEST_START_S:
                return "hung", f"did not start within {now_s - self.started_s:.0f} s"
        elif silent_s > hang_s:
            return "hung", f"gave no sign of life for {silent_s:.1f} s"
        elif self.busy_s > hang_s:
            return "hung", f"was busy with one frame for {self.busy_s:.1f} s"
        elif self.adding is not None and now_s - self.adding.since_s > _ADD_GRACE * add_s:
            return "overdue", f"took more than {add_s:g} s over a source"
        return None

    @property
    def pid(self) -> int | None:
        return None if self._process is None else self._process.pid

    def send(self, kind: str, **fields: Any) -> None:
        """A command; never waits."""
        self._commands.put(messages.pack(kind, **fields))

    def open(self, session: str, spec: SessionSpec, deliver: Deliver, changes: int) -> None:
        """Raises WorkerError where there is no memory for its pictures."""
        outbox = Mailbox.create(picture_bytes(self._config.side))
        fields = messages.spec_fields(spec)
        self.send("open", session=session, outbox=outbox.name, capacity=outbox.capacity, **fields)
        # Only now: whoever posts tells of its mailbox as soon as there is a door, and that must come after.
        self._doors[session] = _Door(deliver, changes, outbox)

    def shut(self, session: str) -> None:
        door = self._doors.pop(session, None)
        if door is not None:
            door.close()
            self.send("shut", session=session)

    def look(self, session: str, *, rest: bool) -> Future[Look]:
        """Raises WorkerError where too many are asked for at once."""
        number, found = self._asked.begin()
        self.send("look", session=session, number=number, rest=rest)
        return found

    def has(self, session: str) -> bool:
        return session in self._doors

    def post(self, session: str, rgb: U8, stamp: Stamp) -> bool:
        """See Worker.post. Raises WorkerError where there is no memory for the frame."""
        door, wake = self._doors.get(session), self._wake
        if door is None or wake is None or self._fenced:
            return True
        began_s = time.perf_counter()
        inbox = door.inbox
        if inbox is None or inbox.capacity < rgb.nbytes:
            inbox = self._grown(session, door, rgb.nbytes)
        if inbox is None:
            return True
        lost = inbox.put(rgb, stamp, began_s)
        wake.release()
        return lost

    def _grown(self, session: str, door: _Door, size: int) -> Mailbox | None:
        with door.lock:
            if door.closed:
                return None
            former, door.inbox = door.inbox, Mailbox.create(size)
            if former is not None:
                former.close()
            self.send("attach", session=session, inbox=door.inbox.name, capacity=size)
            return door.inbox

    def add(self, source: str, data: bytes, name: str) -> None:
        """One at a time. Raises WorkerError where there is no memory for it."""
        segment = create_segment(max(1, len(data)))
        try:
            still = Mailbox.create(picture_bytes(self._config.side))
        except WorkerError:
            close_segment(segment, owned=True)
            raise
        np.copyto(np.ndarray(len(data), np.uint8, memory(segment)), np.frombuffer(data, np.uint8))
        self.adding = Adding(source, segment, still, time.perf_counter())
        self.send(
            "add",
            source=source,
            name=name,
            segment=segment.name,
            size=len(data),
            still=still.name,
            capacity=still.capacity,
        )

    def open_bundle(self, name: str, folder: str) -> None:
        """One at a time; it answers with "bundle opened" or "bundle refused"."""
        self.opening = name
        self.send("bundle", bundle=folder)

    def still(self) -> U8 | None:
        """Picture of the source on its way, where the process has left one. Raises WorkerError."""
        letter = None if self.adding is None else self.adding.still.take()
        return None if letter is None else letter.picture

    def added(self) -> None:
        """The source on its way, if there is one, has come to its end."""
        adding, self.adding = self.adding, None
        if adding is not None:
            adding.close()

    def _read(self, connection: Pipe) -> None:
        try:
            while not self._fenced:
                message = messages.unpack(connection.recv_bytes(messages.MOST_BYTES))
                with self._reading:
                    if not self._fenced:
                        self._handle(message)
        except (EOFError, OSError):
            pass
        except WorkerError as error:
            self.nonsense = str(error)
        self._told(self, None)

    def _handle(self, message: Message) -> None:
        self.heard_s = time.perf_counter()
        if message.kind == "beat":
            self.busy_s = message.get("busy_s", float)
        elif message.kind == "delivered":
            self._deliver(message)
        elif message.kind == "looked":
            self._asked.hear(message)
        else:
            self._told(self, message)

    def _deliver(self, message: Message) -> None:
        session = message.get("session", str)
        door = self._doors.get(session)
        letter = None if door is None else door.fetch(message.get("number", int))
        if door is None or letter is None:
            return
        planes = letter.picture
        if planes.ndim != 2 or planes.shape[0] % 3 or planes.shape[1] % 2:
            raise WorkerError(f"picture: got {planes.shape}, expected I420 planes")
        report, stamp = messages.read_report(message)
        now_s = time.perf_counter()
        seconds = dict(report.seconds) | {"fetch": now_s - letter.sent_s}
        report = dataclasses.replace(report, seconds=seconds, age_s=now_s - stamp.arrived_s)
        changes = door.changes + message.get("changes", int)
        source, (bundle, mode) = message.get("source", str), messages.read_kind(message)
        camera, signs = messages.read_measures(message, "camera"), messages.read_signs(message, "signs")
        delivery = Delivery(session, planes, stamp, report, changes, source, bundle, mode, camera, signs)
        if door.closed:
            return
        try:
            door.deliver(delivery)
        except Exception:  # the receiver's fault is not the worker's
            _log.exception("session %s: a picture could not be handed over", session)

    def _send(self, connection: Pipe) -> None:
        with contextlib.suppress(OSError):  # it is gone, as the reader sees too
            while (command := self._commands.get()) is not None:
                connection.send_bytes(command)

    def fence(self) -> None:
        """From now on nothing that it tells or leaves behind is used, whatever becomes of it."""
        # A receiver that hangs must not hold up the replacement.
        taken = self._reading.acquire(timeout=_FENCE_S)
        try:
            self._fenced = True
        finally:
            if taken:
                self._reading.release()
        for session in list(self._doors):
            self._doors.pop(session).close()
        self.added()
        self._asked.end()
        self._commands.put(None)

    def kill(self) -> None:
        """SIGKILL, which also ends a process that is stopped."""
        if self._process is not None:
            self._process.kill()

    def reap(self, timeout_s: float = 0.0) -> bool:
        """Free what is left of a process that was fenced: whether it has ended."""
        if self._process is not None:
            self._process.join(timeout_s)
            if self._process.exitcode is None:
                return False
            for thread in self._threads:
                thread.join(_FENCE_S)
            self._process.close()
        if self._connection is not None:
            self._connection.close()
        self._process, self._connection, self._wake = None, None, None
        return True

    def how_it_ended(self) -> str:
        """For people."""
        if self.nonsense:
            return f"talked nonsense ({self.nonsense})"
        if self._process is not None:
            self._process.join(_EXIT_S)
        code = None if self._process is None else self._process.exitcode
        if code is None:
            return "closed its pipe"
        return f"was ended by signal {-code}" if code < 0 else f"ended with status {code}"


def _in_main(*things: object) -> bool:
    """Whether the process needs the program's main module to know what it is given."""
    return any("__main__" in (type(thing).__module__, getattr(thing, "__module__", "")) for thing in things)


@contextlib.contextmanager
def _undisturbed(*, whole: bool) -> Iterator[None]:
    """Start a process that Ctrl-C does not reach while it imports, and that does not run the program's main module
    again, which a script of ten lines without `if __name__ == "__main__"` would not survive."""
    with _preparing:
        prepare = spawn.get_preparation_data
        if not whole:
            spawn.get_preparation_data = lambda name: {
                key: value for key, value in prepare(name).items() if not key.startswith("init_main")
            }
        if sys.platform != "win32":
            blocked = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
        try:
            yield
        finally:
            spawn.get_preparation_data = prepare
            if sys.platform != "win32":
                signal.pthread_sigmask(signal.SIG_SETMASK, blocked)
