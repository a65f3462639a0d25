"""The operator's kill switch: one flag that every way out looks at, and a file that outlives the process.

    who may turn it     POST /api/v1/kill, SIGUSR2, `marotte kill`, the page's button
    what it is          a file of the state's folder: it is killed while that is there, whatever is in it
    who looks           a thread of every process that sends anything, 50 times a second, on any state of its event loop
    what looks at it    an outlet, an echo, a screen, a sound line, and the last place before a socket

Turned in this process it holds at once, before anything is written. What cannot be looked at counts as killed, and who
was killed is released by one thing alone: the file missing from its folder. Where that folder is gone, it is put back.
"""

from __future__ import annotations

import json
import logging
import os
import secrets
import threading
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final, Self

from engine.errors import ConfigError, StateError
from engine.media.wording import one_line
from engine.session_log import Event, SessionLog
from engine.state import sync_folder
from streaming.refusals import RefusedError

FOLDER: Final = "stop"
FILE: Final = "killed.json"
LOOK_S: Final = 0.02
"""How often a process looks whether another one was asked."""
BEAT_S: Final = 1.0
GONE_S: Final = 5.0
"""A process that has not said for so long that it looks is none any more."""
MOST_WHY: Final = 300
REFUSED: Final = (
    "the operator has stopped all output here; nothing is shown until the operator releases it by name"
)

BY: Final = "the API"
UNSAID: Final = "no reason was given"

_UNKNOWN: Final = "unknown"
_MOST_BYTES: Final = 4096
_log = logging.getLogger("marotte.kill")


@dataclass(frozen=True, slots=True)
class Killed:
    """why, by: one line each. at: ISO 8601, UTC; empty where the file does not say."""

    why: str
    by: str
    at: str = ""


@dataclass(frozen=True, slots=True)
class Watching:
    """A process that looks. what: "serve", "camera" or "front". killed: whether it has seen that it is to be silent."""

    pid: int
    what: str
    killed: bool


def checked_why(why: object) -> str:
    """One printable line. Raises ConfigError."""
    text = why.strip() if isinstance(why, str) else ""
    if not text or len(text) > MOST_WHY or not text.isprintable():
        raise ConfigError(f"why: expected one printable line of 1 .. {MOST_WHY} characters")
    return text


class KillSwitch:
    """One process's view of it. folder: of the state; None: of this object alone, as tests and a caller's own program
    have it. what: as Watching has it. log: gets a line of each change that is seen here.

    `start` before anything is sent, `close` after; or use it as a context.
    """

    def __init__(
        self, folder: Path | None = None, *, what: str = "serve", log: SessionLog | None = None
    ) -> None:
        self._folder = None if folder is None else folder / FOLDER
        self._what, self._log = what, log
        self._lock = threading.RLock()
        self._by_hand = self._by_signal = self._on_disk = False
        self._gone = False  # the folder, under one who is killed
        self._on_disk = self._there()
        self._wanted: Killed | None = None
        self._told = False
        self._released: tuple[str, str] | None = None
        self._killed = Killed("", "") if not self._on_disk else self._read()
        self._callbacks: list[Callable[[bool], None]] = []
        self._beat = _Beat(self._folder, what)
        self._stopped = threading.Event()
        self._thread: threading.Thread | None = None

    @property
    def killed(self) -> bool:
        """Whether nothing may leave. Any thread; it costs nothing."""
        return self._by_hand or self._by_signal or self._on_disk

    @property
    def told(self) -> Killed | None:
        """Who killed it and why; None while it is not."""
        return self._killed if self.killed else None

    def start(self) -> Self:
        """Look from now on, in a thread."""
        self._look()
        if self._folder is not None:
            self._thread = threading.Thread(target=self._look_on, name="marotte-kill", daemon=True)
            self._thread.start()
        return self

    def close(self) -> None:
        """Look no more; what is killed stays so. More than once is allowed."""
        self._stopped.set()
        if self._thread is not None:
            self._thread.join()
            self._thread = None
            self._beat.end()

    __enter__ = start

    def __exit__(self, *_: object) -> None:
        self.close()

    def watch(self, callback: Callable[[bool], None]) -> Callable[[], None]:
        """Have it called with whether it is killed, at every change from now on, from any thread, and at once where it
        is killed already. What it raises is logged: the others are called all the same. Returns what ends it."""
        with self._lock:
            self._callbacks.append(callback)
            called = self._told
        if called:
            _call(callback, True)

        def end() -> None:
            with self._lock, suppress(ValueError):
                self._callbacks.remove(callback)

        return end

    def kill(self, why: str, by: str = "operator") -> None:
        """Let nothing out any more, here at once, and wherever else this folder is looked at. Any thread.

        Raises StateError where it could not be kept for a restart and for the others: what leaves here has ended all
        the same, and it is tried again as long as this process runs.
        """
        self.hold()  # the gate first: nothing below is waited for
        wanted = Killed(why, by, datetime.now(UTC).isoformat(timespec="seconds"))
        with self._lock:
            self._killed = self._wanted = wanted
        self._look()
        if self._folder is not None and self._wanted is not None:
            raise StateError(
                f"killed, but {one_line(self._folder / FILE)} could not be written: another process of this folder "
                "goes on, and so would this one after a restart; free some space, or end them"
            )

    def hold(self) -> None:
        """Let nothing out any more, here; for who must not wait, before `kill`."""
        self._by_hand = True

    def signalled(self) -> None:
        """The same for a signal's handler, which must take no lock: the thread does the rest."""
        self._by_signal = True

    def release(self, why: str = "", by: str = "") -> None:
        """Let sessions be opened again, everywhere. Raises StateError where the file cannot be removed: it stays
        killed then."""
        with self._lock:
            if self._folder is not None:
                try:
                    with suppress(FileNotFoundError):
                        (self._folder / FILE).unlink()
                    self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)  # by which others know it
                    sync_folder(self._folder)
                except OSError as error:
                    raise StateError(
                        f"{one_line(self._folder / FILE)} could not be removed ({error.strerror or error}), so it "
                        "stays killed: remove it by hand"
                    ) from error
            self._wanted, self._released = None, (why, by) if why else None
            self._by_hand = self._by_signal = self._on_disk = False
        self._look()

    def check(self) -> None:
        """Raises RefusedError (503) while it is killed: nothing new begins then."""
        if self.killed:
            raise RefusedError(503, "KilledError", REFUSED, "killed", 10)

    def _look_on(self) -> None:
        while not self._stopped.wait(LOOK_S):
            try:
                self._look()
            except Exception:  # whatever it is: who cannot look lets nothing out
                self._by_hand = True
                _log.exception("the kill switch cannot be looked at: nothing leaves")

    def _look(self) -> None:
        with self._lock:
            if self._by_signal and self._wanted is None and not self._on_disk:
                at = datetime.now(UTC).isoformat(timespec="seconds")
                self._killed = self._wanted = Killed("by a signal (SIGUSR2)", "operator", at)
            self._keep()
            seen = self._there()
            unread = not self._on_disk or self._killed.by == _UNKNOWN
            if seen and unread and self._wanted is None and not self._by_hand:
                self._killed = self._read()
            self._on_disk = seen
            if self._gone and self._wanted is None:
                self._wanted = self._killed
                self._keep()
            if seen and self._wanted is None:
                self._by_hand = self._by_signal = False  # from here on the file says it
            now, changed = self.killed, self.killed != self._told
            self._told = now
            if changed and now:
                self._released = None  # of the former one
            callbacks = tuple(self._callbacks) if changed else ()
        if changed:
            self._tell(now)
        if self._thread is not None:  # who only turns it does not look
            self._beat.beat(now, anew=changed)
        for callback in callbacks:
            _call(callback, now)
        if changed and self._log is not None:
            _call(self._record, now)

    def _record(self, killed: bool) -> None:
        assert self._log is not None
        if killed:
            self._log.write(Event.KILLED, what=self._what, why=self._killed.why, by=self._killed.by)
            return
        why, by = self._released or ("", "")
        said = {"why": why, "by": by} if why else {}  # who only sees it does not know
        self._log.write(Event.RELEASED, what=self._what, **said)

    def _tell(self, killed: bool) -> None:
        if killed:
            _log.warning(
                "killed (%s): nothing leaves until it is released: marotte kill --release",
                one_line(self._killed.why),
            )
        else:
            _log.warning("released: sessions may be opened again")

    def _there(self) -> bool:
        if self._folder is None:
            return False
        self._gone = False
        try:
            os.lstat(self._folder / FILE)
        except FileNotFoundError:
            if not self._on_disk:
                return False
            try:
                self._gone = not self._folder.is_dir()
            except OSError:
                return True
            return self._gone
        except OSError:
            return True
        return True

    def _keep(self) -> None:
        """What was asked for here and does not stand there yet."""
        if self._wanted is None or self._folder is None:
            return
        try:
            write(self._folder, self._wanted)
        except OSError:
            return  # asked again at the next look
        self._wanted = None

    def _read(self) -> Killed:
        if self._folder is None:
            return self._killed
        return read(self._folder)


def told(switch: KillSwitch) -> dict[str, Any]:
    """As the API tells it."""
    killed = switch.told
    if killed is None:
        return {"killed": False}
    return {"killed": True, "why": killed.why, "by": killed.by, "since": killed.at or None}


def why_of(query: Mapping[str, str]) -> str:
    """The reason that a request gives. Raises RefusedError."""
    try:
        return checked_why(query.get("why"))
    except ConfigError as error:
        raise RefusedError(422, "ConfigError", str(error)) from error


def why_killed(query: Mapping[str, str]) -> str:
    """The same of who kills, which no reason is too bad for: UNSAID stands for one that cannot be kept."""
    try:
        return checked_why(query.get("why"))
    except ConfigError:
        return UNSAID


def write(folder: Path, killed: Killed) -> None:
    """Put it into the folder of the switch; one that is there already stays as it is. Its name is there at once, which
    is what counts, and what it says a moment later: a busy disk keeps nobody sending. Raises OSError."""
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_BINARY", 0)
    try:
        file = os.open(folder / FILE, flags, 0o600)
    except FileExistsError:
        return
    line = json.dumps({"time": killed.at, "why": killed.why, "by": killed.by}, ensure_ascii=False)
    try:
        with suppress(OSError):  # an empty one kills as well
            os.write(file, line.encode() + b"\n")
            os.fsync(file)
    finally:
        os.close(file)
    sync_folder(folder)


def read(folder: Path) -> Killed:
    """What stands there, as far as it can be read: that it is there is all that counts."""
    try:
        with (folder / FILE).open("rb") as file:
            told = json.loads(file.read(_MOST_BYTES))
        if not isinstance(told, dict):
            raise ValueError
    except (OSError, ValueError, RecursionError):
        return Killed("its file cannot be read", _UNKNOWN)
    why, by, at = (one_line(str(told.get(name, ""))[:MOST_WHY])[:MOST_WHY] for name in ("why", "by", "time"))
    return Killed(why, by, at)


def watching(folder: Path, now_s: float | None = None) -> list[Watching]:
    """The processes that look at the switch of this state's folder."""
    now_s = time.time() if now_s is None else now_s
    found = []
    for path in sorted((folder / FOLDER).glob("*.watching")):
        with suppress(OSError, ValueError, KeyError, TypeError, RecursionError):
            if now_s - path.stat().st_mtime > GONE_S:
                continue
            with path.open("rb") as file:
                told = json.loads(file.read(_MOST_BYTES))
            found.append(Watching(int(told["pid"]), str(told["what"]), told["killed"] is True))
    return found


class _Beat:
    """Says in a file that this process looks, and what it has seen."""

    def __init__(self, folder: Path | None, what: str) -> None:
        self._what = what
        self._path = None if folder is None else folder / f"{os.getpid()}-{secrets.token_hex(4)}.watching"
        self._beaten_s = -BEAT_S
        self._there = False

    def beat(self, killed: bool, *, anew: bool) -> None:
        """That nobody can be told is no reason to stop looking."""
        now = time.monotonic()
        if self._path is None or not (anew or now - self._beaten_s >= BEAT_S):
            return
        self._beaten_s = now
        with suppress(OSError):
            if self._there and not anew and self._path.exists():
                os.utime(self._path)
                return
            self._path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            part = self._path.with_suffix(".part")
            told = {"pid": os.getpid(), "what": self._what, "killed": killed}
            part.write_text(json.dumps(told), encoding="utf-8")
            part.replace(self._path)
            self._there = True

    def end(self) -> None:
        if self._path is not None:
            with suppress(OSError):
                self._path.unlink(missing_ok=True)


def _call(callback: Callable[[bool], None], killed: bool) -> None:
    try:
        callback(killed)
    except Exception:
        _log.exception("what was to end with the kill switch failed")
