"""One runner for the sessions of one bundle: what they have ready at about the same time goes through it together.

    session thread -> SessionRunner.run -> [one offer per session] -> marotte-batch, one thread -> inner runner

The thread gathers as engine/gathering.py says and is the only one that touches the inner runner, from its first run
until it is closed. Every session waits for its own answers alone: another one's error, pause or end is nothing to it.
"""

from __future__ import annotations

import logging
import math
import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from engine.clock import Clock, MonotonicClock
from engine.errors import ConfigError, MarotteError, PortError, WorkerError
from engine.gathering import Gathering, Offer, Seat, Share
from engine.plug import Ports, Runner

_log = logging.getLogger("marotte.worker")

MOST = 64
"""Most entries of one batch that can be asked for."""
STALL_S = 2.0
"""Seconds after which a frame is not waited for any longer."""
_JOIN_S = 2.0
_SHARE = 0.2  # of the newest run in the smoothed time that a run takes


@dataclass(frozen=True, slots=True)
class Ran:
    """What became of one run. waited_s: until its last part began. ran_s: that the inner runner took over it, the other
    sessions' entries in it included. size: entries of the largest batch that it was part of, its own included."""

    waited_s: float = 0.0
    ran_s: float = 0.0
    size: int = 0


@dataclass(slots=True, eq=False)
class _Run:
    """One call of SessionRunner.run on its way. left: entries without an answer. over: whether nobody waits for it."""

    session: SessionRunner
    batch: Sequence[Ports]
    offer: Offer
    answers: list[Ports | Exception]
    left: int
    over: bool = False
    waited_s: float = 0.0
    ran_s: float = 0.0
    size: int = 0


class BatchingRunner:
    """A Runner over another one, for any number of sessions in threads of their own: `session` gives each its own.

    inner: is run by one thread. `inner.batches`, where it has them, are the sizes that it takes at once, rising;
    without them it takes one entry at a time, and nothing is waited for. A runner that holds nothing says so by
    `inner.concurrent = True`, and then every session runs it by itself, in its own thread. `inner.warm_up()`, where
    it has one, is called by the thread before its first run.
    most: entries of a batch, at most the largest of inner.batches; 0 takes that. wait_s: longest that a frame waits
    for those of other sessions. stall_s: a frame that got no answer by then is answered by a WorkerError, and that
    the inner runner hangs is logged once; see `busy_s`. Raises ConfigError for values out of range.
    """

    def __init__(
        self,
        inner: Runner,
        *,
        most: int = 0,
        wait_s: float = 0.0,
        clock: Clock | None = None,
        stall_s: float = STALL_S,
        name: str = "",
    ) -> None:
        check_batching(most, wait_s)
        self._inner, self._clock, self._stall_s = inner, clock or MonotonicClock(), stall_s
        self.batches: tuple[int, ...] = tuple(getattr(inner, "batches", ())) or (1,)
        self.most = min(most or self.batches[-1], self.batches[-1])
        self.wait_s = wait_s
        self._gathering = Gathering(self.most, wait_s)
        self._lock = threading.Lock()
        self._changed = threading.Condition(self._lock)
        self._runs: dict[Offer, _Run] = {}
        self._takes_s: dict[int, float] = {}
        self._since_s: float | None = None
        self._stalled = False
        self._closed = False
        self._warm = threading.Event()
        self.concurrent = bool(getattr(inner, "concurrent", False))
        self._own = SessionRunner(self)
        self._thread: threading.Thread | None = None
        if not self.concurrent:
            self._thread = threading.Thread(target=self._serve, name=f"marotte-batch-{name[:8]}", daemon=True)
            self._thread.start()

    def session(self) -> SessionRunner:
        """A runner of one session's own, to be closed with it. Raises WorkerError after `close`."""
        with self._lock:
            if self._closed:
                raise WorkerError("the runner was closed; open the bundle again")
        return SessionRunner(self)

    def run(self, batch: Sequence[Ports]) -> list[Ports | Exception]:
        """As of a session of its own, for callers with one thread."""
        return self._own.run(batch)

    def ready(self, timeout_s: float) -> bool:
        """Whether the inner runner is warmed up; waits for that, at most so long."""
        return self.concurrent or self._warm.wait(timeout_s)

    def busy_s(self) -> float:
        """How long the inner runner has been at the batch at hand, 0 while there is none. For any thread."""
        since = self._since_s
        return 0.0 if since is None else max(0.0, self._clock.now() - since)

    def close(self) -> None:
        """Answer everybody who waits, and close the inner runner when the batch at hand is done. More than once is
        allowed. A batch that hangs is waited for for two seconds; its thread is left to end with the process."""
        with self._lock:
            first, self._closed = not self._closed, True
            for run in list(self._runs.values()):
                self._answer_all(run, WorkerError("the runner was closed; the frame is not shown"))
            self._changed.notify_all()
        if self._thread is None:
            if first:
                self._inner.close()
        elif self._thread is not threading.current_thread():
            self._thread.join(_JOIN_S)

    # What a session's thread does.

    def _ask(self, session: SessionRunner, batch: Sequence[Ports], due_s: float) -> _Run:
        """Offer a batch and wait for its answers."""
        with self._lock:
            now = self._clock.now()
            if self._closed or session.closed:
                what = "runner" if self._closed else "session"
                return _failed(session, batch, WorkerError(f"the {what} was closed; the frame is not shown"))
            offer = self._gathering.offer(session.seat, len(batch), now, due_s)
            run = _Run(session, batch, offer, [_UNANSWERED] * len(batch), len(batch))
            self._runs[offer] = run
            self._changed.notify()
            until = now + self.wait_s + self._stall_s
            while not run.over:
                left = until - self._clock.now()
                if left <= 0.0:
                    self._give_up(run)
                    break
                self._clock.wait(session.answered, left)
            return run

    def _give_up(self, run: _Run) -> None:
        since = self._since_s
        busy_s = 0.0 if since is None else self._clock.now() - since
        self._answer_all(
            run,
            WorkerError(
                f"the runner has been busy for {busy_s:.1f} s with one batch; the frame is not shown"
            ),
        )
        if not self._stalled:
            self._stalled = True
            _log.warning("a batch has been running for %.1f s: the sessions that wait fall back", busy_s)

    def _answer_all(self, run: _Run, error: Exception) -> None:
        """An answer for whatever has none yet. Under the lock."""
        run.answers = [error if answer is _UNANSWERED else answer for answer in run.answers]
        self._end(run)

    def _end(self, run: _Run) -> None:
        run.over = True
        self._runs.pop(run.offer, None)
        self._gathering.withdraw(run.offer)
        run.session.answered.notify_all()

    # What the thread does.

    def _serve(self) -> None:
        try:
            self._warm_up()
            self._warm.set()
            while shares := self._gather():
                try:
                    self._serve_one(shares)
                except Exception as error:  # nothing may end this thread: the next batch may do better
                    self._fail(shares, error)
        finally:
            self._warm.set()
            self._inner.close()

    def _warm_up(self) -> None:
        warm_up = getattr(self._inner, "warm_up", None)
        if warm_up is None:
            return
        try:
            warm_up()
        except Exception as error:  # the first frame will say it again, to whom it concerns
            _log.warning("a runner could not be warmed up: %s", error, exc_info=error)

    def _gather(self) -> list[tuple[_Run, Share]]:
        """The next batch, when it is to begin; empty at the end."""
        with self._lock:
            while not self._closed:
                now = self._clock.now()
                begins = self._gathering.begins(now, self._expected_s)
                if begins <= now:
                    self._since_s = now
                    return [(self._runs[share.offer], share) for share in self._gathering.take()]
                self._clock.wait(self._changed, None if math.isinf(begins) else begins - now)
            return []

    def _expected_s(self, entries: int) -> float:
        """How long a batch takes, as measured: of its size, else of the next larger one, else of the largest known."""
        sizes = sorted(self._takes_s)
        near = next((size for size in sizes if size >= entries), sizes[-1] if sizes else 0)
        return self._takes_s.get(near, 0.0)

    def _serve_one(self, shares: Sequence[tuple[_Run, Share]]) -> None:
        entries = [
            ports for run, share in shares for ports in run.batch[share.start : share.start + share.count]
        ]
        began_s = self._clock.now()
        answers = iter(self._answers(entries))
        kept = [
            [run.session.keep(share.start + k, next(answers)) for k in range(share.count)]
            for run, share in shares
        ]
        ran_s = self._clock.now() - began_s
        with self._lock:
            self._note(len(entries), ran_s)
            for (run, share), found in zip(shares, kept):
                if not run.over:
                    run.answers[share.start : share.start + share.count] = found
                    run.waited_s = began_s - run.offer.offered_s - run.ran_s
                    run.ran_s += ran_s
                    run.size, run.left = max(run.size, len(entries)), run.left - share.count
                    if run.left == 0:
                        self._end(run)

    def _fail(self, shares: Sequence[tuple[_Run, Share]], error: Exception) -> None:
        with self._lock:
            self._since_s = None
            for run, _ in shares:
                if not run.over:
                    self._answer_all(run, error)

    def _note(self, size: int, ran_s: float) -> None:
        usual = self._takes_s.get(size, ran_s)
        self._takes_s[size] = usual + _SHARE * (ran_s - usual)
        self._since_s = None
        if self._stalled:
            self._stalled = False
            _log.warning("the batch that hung has ended after %.1f s: the sessions go on", ran_s)

    def _answers(self, entries: Sequence[Ports]) -> list[Ports | Exception]:
        """One per entry. Where a batch fails as a whole, each entry is run once more by itself: the one that is to
        blame fails again, and the others do not."""
        found = self._tried(entries)
        if isinstance(found, list):
            return found
        if len(entries) == 1:
            return [found]
        answers = list[Ports | Exception]()
        for entry in entries:
            alone = self._tried([entry])
            # The arrays of an answer last until the next run.
            answers.append(alone if isinstance(alone, Exception) else _copied(alone[0]))
        return answers

    def _tried(self, entries: Sequence[Ports]) -> list[Ports | Exception] | Exception:
        try:
            found = self._inner.run(entries)
        except Exception as error:
            return error
        if isinstance(found, list) and len(found) == len(entries):
            return found
        got = f"{len(found)} in a list" if isinstance(found, list) else type(found).__name__
        return PortError(f"runner: expected {len(entries)} answers in a list, got {got}")


@dataclass(slots=True, eq=False)
class SessionRunner:
    """The runner of one session, for one thread at a time: several take turns.

    due_s: when the answers of its next run are needed, on the clock of the shared runner; a frame is held back for
    others only as far as that leaves the time that the batch takes. last: what became of its last run. An answer's
    arrays are the session's own and last until its next run, but those of a `concurrent` runner, which are that one's.
    """

    _shared: BatchingRunner
    seat: Seat = field(default_factory=Seat, init=False)
    answered: threading.Condition = field(init=False)
    closed: bool = field(default=False, init=False)
    due_s: float = field(default=math.inf, init=False)
    last: Ran = field(default=Ran(), init=False)
    _turn: threading.Lock = field(default_factory=threading.Lock, init=False)
    _kept: dict[tuple[int, str], NDArray[Any]] = field(default_factory=dict, init=False)

    def __post_init__(self) -> None:
        self.answered = threading.Condition(self._shared._lock)

    @property
    def gathers(self) -> bool:
        """Whether its entries may go with those of other sessions."""
        return not self._shared.concurrent

    def run(self, batch: Sequence[Ports]) -> list[Ports | Exception]:
        """As Runner.run."""
        if not batch:
            return []
        with self._turn:
            if self._shared.concurrent:
                return self._alone(batch)
            run = self._shared._ask(self, batch, self.due_s)
            self.last = Ran(max(0.0, run.waited_s), run.ran_s, run.size)
            return run.answers

    def close(self) -> None:
        """Nobody waits for this session any more; a run that waits is answered by a WorkerError at once. More than once
        is allowed, from any thread."""
        shared = self._shared
        with shared._lock:
            self.closed = True
            for run in [run for run in shared._runs.values() if run.session is self]:
                shared._answer_all(run, WorkerError("the session was closed; the frame is not shown"))
            shared._gathering.leave(self.seat)
            shared._changed.notify_all()

    def keep(self, index: int, answer: Ports | Exception) -> Ports | Exception:
        """An answer in memory of the session's own, made once and used again. For the shared runner's thread."""
        if isinstance(answer, Exception):
            return answer
        try:
            return {name: self._copied(index, name, array) for name, array in answer.items()}
        except (AttributeError, TypeError, ValueError) as error:
            return PortError(f"runner: expected named arrays, got {type(answer).__name__} ({error})")

    def _copied(self, index: int, name: str, array: NDArray[Any]) -> NDArray[Any]:
        room = self._kept.get((index, name))
        if room is None or room.shape != array.shape or room.dtype != array.dtype:
            room = self._kept[index, name] = np.empty(array.shape, array.dtype)
        np.copyto(room, array)
        return room

    def _alone(self, batch: Sequence[Ports]) -> list[Ports | Exception]:
        began_s = self._shared._clock.now()
        answers = self._shared._inner.run(batch)
        self.last = Ran(0.0, self._shared._clock.now() - began_s, len(batch))
        return answers


def check_batching(most: int, wait_s: float) -> None:
    """Raises ConfigError unless a runner can be set to these."""
    if isinstance(most, bool) or not isinstance(most, int) or not 0 <= most <= MOST:
        raise ConfigError(f"batch: got {most!r}, expected 1 .. {MOST}, or 0 for what the backend gains from")
    if not (isinstance(wait_s, (int, float)) and 0.0 <= wait_s <= 1.0):
        raise ConfigError(f"batch_wait_s: got {wait_s!r}, expected 0 .. 1 seconds")


_UNANSWERED: Exception = MarotteError("no answer yet")


def _failed(session: SessionRunner, batch: Sequence[Ports], error: Exception) -> _Run:
    offer = Offer(session.seat, len(batch), 0.0)
    return _Run(session, batch, offer, [error] * len(batch), 0, over=True)


def _copied(answer: Ports | Exception) -> Ports | Exception:
    if not isinstance(answer, Mapping):
        return answer
    return {name: np.array(array) for name, array in answer.items()}
