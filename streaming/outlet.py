"""The only way out: every picture that a viewer gets passes here, with the marks on it.

It runs in the network's process, so that a worker that hangs or dies leaves a safe picture behind.
"""

from __future__ import annotations

import logging
import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Collection, Mapping

import av
import cv2
import numpy as np

from engine.fallback import Fallback, FallbackConfig, card, grey
from engine.marks import MarksConfig, SessionMarks
from engine.media.planes import i420_of
from engine.types import U8, FrameReport, Mode, Outcome
from engine.worker.interface import NO_MARK, TICKS, TIME_BASE, Delivery, SourceInfo, held_by
from streaming import strip
from streaming.reports import Tally
from streaming.tracks import Pictures

LATEST_S = 1.0
"""A picture that is older than this when it comes out of the worker is not shown."""

EDIT_SIZE = (640, 480)
"""(width, height) of the grey that is shown before the size of the driver's pictures is known."""
MOST_SIDE = 1280
NOT_YET = "no picture"
WITHHELD = "withheld"
WITHHELD_FADE_S = 0.5
"""In which a picture that may not be shown any more turns to plain grey."""

_LEAST_SIDE = 16
_ALIVE_S = 0.5  # a picture at least this often: for a keyframe that was asked for, and a decoder that begins
_FADE_STEP_S = 0.04
_MOST_ENTRIES = 64
_log = logging.getLogger(__name__)


class Outlet:
    """Takes one session's pictures from the worker and gives frames to those who watch it.

    When nothing comes it holds the last picture, then fades to what is safe, by a thread of its own, and it shows what
    is safe before the first picture: a puppet's still portrait; where the driver is edited plain grey, and then a
    blurred card of the last edited picture. What is not certainly this session's picture, of its bundle and mode, in
    its size and in time, is refused. Whatever fails in here, the still or the grey is shown.

    info: the source that is shown first, unless its bundle holds a person of its own. sources: finds another one by id,
    and who is held by a bundle. why: in one of few words, why nothing
    comes. Both are called from any thread and do not raise. bundle, mode: what the session was opened with. side:
    longest side of an edited picture. marks: those that every picture carries, what is safe too.
    """

    def __init__(
        self,
        session: str,
        info: SourceInfo,
        pictures: Pictures,
        tally: Tally,
        sources: Callable[[str], SourceInfo | None],
        why: Callable[[], str],
        config: FallbackConfig | None = None,
        *,
        bundle: str = "",
        mode: Mode = Mode.PUPPET,
        side: int = MOST_SIDE,
        marks: MarksConfig | None = None,
    ) -> None:
        self._session = session
        self._marking = SessionMarks(session, marks or MarksConfig())
        self._pictures = pictures
        self._tally = tally
        self._sources = sources
        self._why = why
        self._config = config or FallbackConfig()
        self._lock = threading.Lock()
        self._stopped = threading.Event()
        self.paused = False
        """Set by `pause`."""
        self._told = False
        self._entered: OrderedDict[float, Mapping[str, float]] = OrderedDict()
        self._last_arrived_s = -np.inf
        self._shown_s = -np.inf
        self._begun_s = time.perf_counter()
        self._pts = -1
        self._carded: U8 | None = None
        self._sent: U8 | None = None
        self._barred: frozenset[str] = frozenset()
        self._woken = threading.Event()
        self.changes = 0
        """Number of the change that was in force in the last picture that came."""
        self._side = side
        self._edit_size = (min(EDIT_SIZE[0], side) & ~1, min(EDIT_SIZE[1], side) & ~1)
        self._size = info.size
        for size, other in ((info.size, Mode.PUPPET), (self._edit_size, Mode.EDIT)):
            self._marking.of(size, other)  # here, and not on the event loop when it turns to the other mode
        self._show_kind(bundle, mode, self._moved_by(bundle, info), 0)
        self._ticker = threading.Thread(target=self._tick_on, name=f"outlet-{session}", daemon=True)

    @property
    def size(self) -> tuple[int, int]:
        """(width, height) of what is shown."""
        return self._size

    def start(self) -> None:
        """Show the still, and begin to watch that something is shown."""
        self._ticker.start()

    def entered(self, arrived_s: float, stages: Mapping[str, float]) -> None:
        """Remember what a driver's frame cost before it was posted, in seconds by stage, for the picture it becomes."""
        with self._lock:
            self._entered[arrived_s] = stages
            if len(self._entered) > _MOST_ENTRIES:
                self._entered.popitem(last=False)
                self._tally.frame_dropped("replaced")

    def turned_away(self, arrived_s: float) -> None:
        """The worker did not take the frame that has entered."""
        with self._lock:
            self._entered.pop(arrived_s, None)

    def deliver(self, delivery: Delivery) -> None:
        """Show a picture of the worker's; called in its thread. Never raises."""
        if self._stopped.is_set():
            self._tally.frame_dropped("stopped")
            return
        with self._lock:
            try:
                self._take(delivery, time.perf_counter())
            except Exception as error:
                self._rest(error)

    def turn(self, bundle: str, mode: Mode, info: SourceInfo, changes: int) -> None:
        """From the change of this number on the session shows what another bundle or mode makes: nothing of the
        former leaves any more. info: the source of a puppet, unless the bundle holds a person of its own."""
        info = self._moved_by(bundle, info)  # before the lock: the worker may deliver under a lock of its own
        with self._lock:
            try:
                self._show_kind(bundle, mode, info, changes)
                self._tick(time.perf_counter(), NOT_YET)
            except Exception as error:
                self._rest(error)

    def withhold(self, sources: Collection[str]) -> None:
        """From now on nothing of these sources leaves, nor an edit while there is any: what is shown of them turns to
        plain grey, for the still portrait is a face that must not be shown either. None of them: all may be."""
        with self._lock:
            try:
                was, self._barred = self._withheld, frozenset(sources)
                if self._withheld and not was:
                    self._turn_grey(time.perf_counter())
                elif was and not self._withheld:
                    self._show_kind(*self._kind, self._info, self._since)
            except Exception as error:
                self._rest(error)
        self._woken.set()

    def pause(self, paused: bool) -> None:
        """Hold the picture that is shown, for as long as it takes; or go on."""
        with self._lock:
            if self.paused and not paused and self._last is not None:
                self._hold(self._last, time.perf_counter())
            self.paused = paused

    def stop(self) -> None:
        """End the output now: nothing leaves after it."""
        self._pictures.end()
        self._stopped.set()
        self._woken.set()

    def join(self) -> None:
        """Wait for the thread's end, after `stop`."""
        if self._ticker.ident is not None:
            self._ticker.join()

    def _take(self, delivery: Delivery, now: float) -> None:
        stamp = delivery.stamp
        entered = self._left_behind(stamp.arrived_s)
        if not 0.0 <= now - stamp.arrived_s <= LATEST_S or stamp.arrived_s < self._last_arrived_s:
            self._tally.frame_dropped("late")
            return
        if self.paused:
            self._tally.frame_dropped("paused")
            return
        if delivery.session == self._session and self._is_former(delivery):
            self._tally.frame_dropped("replaced")
            return
        if self._is_barred(delivery.source):
            self._tally.frame_dropped(WITHHELD)
            return
        if wrong := self._unfit(delivery):
            self._log_once(f"refused {wrong}")
            self._tally.frame_dropped("refused")
            return
        planes = np.require(delivery.planes, requirements=["C", "W"])
        self._marks.compose(planes)
        self._last_arrived_s, self.changes = stamp.arrived_s, delivery.changes
        self._hold(planes, now)
        if stamp.mark != NO_MARK:
            planes = planes.copy()
            strip.draw(planes, stamp.mark)
        self._send(planes, now, lambda: self._left(delivery.report, stamp.arrived_s, entered))

    def _left_behind(self, arrived_s: float) -> Mapping[str, float]:
        """What this picture's frame cost. The frames before it that are still waited for were replaced by newer ones,
        wherever in the worker that was: pictures come in order."""
        for earlier in [entry for entry in self._entered if entry < arrived_s]:
            del self._entered[earlier]
            self._tally.frame_dropped("replaced")
        return self._entered.pop(arrived_s, {})

    def _is_former(self, delivery: Delivery) -> bool:
        """Whether it was made before the last change of bundle or mode."""
        return (delivery.bundle, delivery.mode) != self._kind or delivery.changes < self._since

    def _unfit(self, delivery: Delivery) -> str:
        """What keeps a delivery from being shown, or nothing; then its size and its source are those shown."""
        if delivery.session != self._session:
            return "a picture of another session"
        if self._kind[1] is Mode.EDIT:
            return self._unfit_edit(delivery.planes)
        info = self._info if delivery.source == self._info.id else self._sources(delivery.source)
        if info is None:
            return "a picture of an unknown source"
        planes = delivery.planes
        if planes.shape != info.still.shape or planes.dtype != np.uint8:
            return f"a picture of {planes.dtype} {planes.shape}, expected uint8 {info.still.shape}"
        if info is not self._info:
            self._show_source(info)
        return ""

    def _unfit_edit(self, planes: U8) -> str:
        """The same of an edited picture, whose size is the driver's and may change with it."""
        if planes.ndim != 2 or planes.dtype != np.uint8 or planes.shape[0] % 3 or planes.shape[1] % 2:
            return f"a picture of {planes.dtype} {planes.shape}, expected I420 planes"
        size = (planes.shape[1], planes.shape[0] * 2 // 3)
        if not _LEAST_SIDE <= min(size) <= max(size) <= self._side or size[1] % 2:
            return f"a picture of {size}, expected even sides of {_LEAST_SIDE} .. {self._side}"
        if size != self._size:
            self._edit_size = self._size = size
            self._marks = self._marking.of(size, self._kind[1])
        return ""

    @property
    def _withheld(self) -> bool:
        """Whether grey stands in place of what would be shown."""
        return self._is_barred(self._info.id)

    def _is_barred(self, source: str) -> bool:
        return bool(self._barred) if self._kind[1] is Mode.EDIT else source in self._barred

    def _turn_grey(self, now: float) -> None:
        shown = self._sent
        self._show_ground(i420_of(grey(self._size)), self._size)
        if shown is not None and shown.shape == self._ground.shape:
            self._fallback = Fallback(FallbackConfig(0.0, WITHHELD_FADE_S), self._ground)
            self._fallback.generated(shown, now)
            self._fading_s = now

    def _moved_by(self, bundle: str, info: SourceInfo) -> SourceInfo:
        """Whom a bundle's puppet shows."""
        return self._sources(held_by(bundle)) or info

    def _show_kind(self, bundle: str, mode: Mode, info: SourceInfo, since: int) -> None:
        self._kind, self._since = (bundle, mode), since
        self._info = info
        self._shown_s = -np.inf
        if mode is Mode.EDIT:
            self._show_ground(i420_of(grey(self._edit_size)), self._edit_size)
        else:
            self._show_source(info)

    def _show_source(self, info: SourceInfo) -> None:
        self._info = info
        still = i420_of(grey(info.size)) if self._withheld else info.still.copy()
        self._show_ground(still, info.size)

    def _show_ground(self, ground: U8, size: tuple[int, int]) -> None:
        """What is safe now, before any picture. ground: planes of this size, ours."""
        marks = self._marking.of(size, self._kind[1])
        marks.compose(ground)
        self._size, self._marks = size, marks
        self._ground = self._first_ground = ground
        self._fallback = Fallback(self._config, ground)
        self._last: U8 | None = None
        self._fading_s = np.inf

    def _hold(self, planes: U8, now: float) -> None:
        """What is shown until `now` and hold_s, if nothing comes."""
        self._last = planes
        self._fading_s = now + self._config.hold_s
        self._fallback.generated(planes, now)

    def _rest(self, error: Exception) -> None:
        """Something is wrong in here: the still, until a picture passes again."""
        self._log_once(f"shows what is safe: {type(error).__name__}: {error}")
        self._ground = self._first_ground
        self._fallback = Fallback(self._config, self._ground)
        self._last, self._fading_s, self._shown_s = None, np.inf, -np.inf

    def _log_once(self, message: str) -> None:
        if not self._told:
            self._told = True
            _log.error("session %s: %s", self._session, message)

    def _left(self, report: FrameReport, arrived_s: float, entered: Mapping[str, float]) -> None:
        """In an encoder's thread: it has the picture."""
        age = time.perf_counter() - arrived_s
        stages = {**entered, **report.seconds, "deliver": max(0.0, age - report.age_s)}
        self._tally.frame_left(report, age, stages)

    def _send(self, planes: U8, now: float, left: Callable[[], None]) -> None:
        """`planes` are not copied, and not written to any more."""
        frame = _frame_of(planes)
        self._pts = max(self._pts + 1, int((now - self._begun_s) * TICKS))
        frame.pts, frame.time_base = self._pts, TIME_BASE
        self._shown_s, self._sent = now, planes
        if self._pictures.show(frame, left):
            self._tally.frame_dropped("unsent")

    def _tick_on(self) -> None:
        wait = 0.0
        while not self._stopped.is_set():
            reason = self._why()  # before the lock: the worker may deliver under a lock of its own
            with self._lock:
                try:
                    wait = self._tick(time.perf_counter(), "paused" if self.paused else reason)
                except Exception as error:
                    self._rest(error)
                    wait = _ALIVE_S
            self._woken.wait(wait)
            self._woken.clear()

    def _tick(self, now: float, reason: str) -> float:
        """Show what is due, if anything is; returns seconds until the next look."""
        if now >= self._due():
            picture, outcome = self._resting(now)
            if picture is self._ground:
                self._fading_s = np.inf  # it has arrived
            why = WITHHELD if self._withheld else reason
            self._send(picture, now, lambda: self._tally.fallback_left(outcome.value, why))
        # A picture may come meanwhile, of which nobody tells this thread: looking within hold_s is in time for it.
        return min(max(0.0, self._due() - now), max(0.01, self._config.hold_s))

    def _due(self) -> float:
        """When the next picture leaves if nothing comes: steps of the fade, or else signs of life."""
        alive = self._shown_s + _ALIVE_S
        if self.paused and not self._withheld:
            return alive
        return min(alive, max(self._fading_s, self._shown_s + _FADE_STEP_S))

    def _resting(self, now: float) -> tuple[U8, Outcome]:
        if self.paused and self._last is not None:
            return self._last, Outcome.HELD
        if self._kind[1] is Mode.EDIT and self._last is not None and now >= self._fading_s:
            self._lay_card(self._last)
        return self._fallback.picture(now, self._size)

    def _lay_card(self, last: U8) -> None:
        """An edited picture fades to a card of itself, made when it is needed."""
        if self._carded is last:
            return
        self._ground = i420_of(card(np.asarray(cv2.cvtColor(last, cv2.COLOR_YUV2RGB_I420), np.uint8)))
        self._marks.compose(self._ground)
        self._fallback = Fallback(self._config, self._ground)
        self._fallback.generated(last, self._fading_s - self._config.hold_s)
        self._carded = last


def _frame_of(planes: U8) -> av.VideoFrame:
    """A frame of I420 planes, on their memory where PyAV can: it takes the height for a multiple of 4."""
    if planes.shape[0] % 6:
        return av.VideoFrame.from_ndarray(planes, format="yuv420p")
    return av.VideoFrame.from_numpy_buffer(planes, format="yuv420p")
