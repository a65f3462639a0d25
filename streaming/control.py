"""The page's messages: read with distrust, answered at once. docs/live.md states them."""

from __future__ import annotations

import difflib
import json
import logging
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from typing import Any, Protocol

from engine.errors import MarotteError

MOST_BYTES = 4096
MOST_PER_S = 60
"""Messages; of what comes faster only a stop is heard."""

_MESSAGES = (
    "seq",
    "change",
    "measure",
    "pause",
    "mute",
    "camera",
    "mirror",
    "face",
    "stop",
    "ping",
    "self_check",
)
_MOST_SEQ = 2**53
_log = logging.getLogger(__name__)


class Call(Protocol):
    """What a message can do to its call; on the event loop."""

    def change(self, change: object) -> int:
        """Raises a MarotteError for a wrong one, whatever JSON it is."""
        ...

    def measure(self, on: bool) -> None: ...

    def pause(self, on: bool) -> None: ...

    def mute(self, on: bool) -> None: ...

    def camera(self, on: bool) -> None:
        """Raises a MarotteError where the worker does not follow."""
        ...

    def mirror(self, on: bool) -> None: ...

    def self_check(self, on: bool) -> None:
        """Raises a MarotteError where there is nothing to check."""
        ...

    def face(self, told: object) -> None:
        """Raises a MarotteError for a wrong one, whatever JSON it is."""
        ...

    def stop(self) -> None: ...


class _WrongError(Exception):
    """A message that cannot be followed; says why on one line."""


class Control:
    """Reads the messages of one channel."""

    def __init__(self, call: Call, clock: Callable[[], float] = time.monotonic) -> None:
        self._call = call
        self._clock = clock
        self._allowed = float(MOST_PER_S)
        self._refilled_s = clock()
        self._flooded = False

    def answer(self, message: str | bytes) -> str | None:
        """Follow one message; returns the answer to send, if there is one. Never raises."""
        seq = None
        try:
            if not self._within_rate():
                return self._flood(message)
            said = _parsed(message)
            seq = _seq(said)
            return self._follow(said, seq)
        except (_WrongError, MarotteError) as error:
            return _json({"ack": seq, "error": str(error)})
        except Exception:
            _log.exception("a control message could not be followed")
            return _json({"ack": seq, "error": "change: the server could not follow it"})

    def _follow(self, said: Mapping[str, Any], seq: int | None) -> str | None:
        if said.get("stop") is True:  # before anything else in the message can be wrong
            self._call.stop()
            return None
        _check_names(said)
        if "ping" in said:
            return _pong(said["ping"])
        if "measure" in said:
            self._call.measure(_switch("measure", said))
        if "pause" in said:
            self._call.pause(_switch("pause", said))
        if "mute" in said:
            self._call.mute(_switch("mute", said))
        if "camera" in said:
            self._call.camera(_switch("camera", said))
        if "mirror" in said:
            self._call.mirror(_switch("mirror", said))
        if "self_check" in said:
            self._call.self_check(_switch("self_check", said))
        if "face" in said:
            self._call.face(said["face"])
        if "change" in said:
            return _json({"ack": seq, "changes": self._call.change(said["change"])})
        return None

    def _within_rate(self) -> bool:
        now = self._clock()
        self._allowed = min(float(MOST_PER_S), self._allowed + (now - self._refilled_s) * MOST_PER_S)
        self._refilled_s = now
        if self._allowed < 1.0:
            return False
        self._allowed -= 1.0
        self._flooded = False
        return True

    def _flood(self, message: str | bytes) -> str | None:
        if isinstance(message, str) and len(message) <= MOST_BYTES and '"stop"' in message:
            with suppress(_WrongError):
                if _parsed(message).get("stop") is True:
                    self._call.stop()
                    return None
        if self._flooded:
            return None
        self._flooded = True
        return _json({"ack": None, "error": f"messages: expected at most {MOST_PER_S} a second"})


def _parsed(message: str | bytes) -> Mapping[str, Any]:
    if not isinstance(message, str):
        raise _WrongError("message: got bytes, expected text")
    if len(message) > MOST_BYTES or len(message.encode("utf-8", "replace")) > MOST_BYTES:
        raise _WrongError(f"message: expected at most {MOST_BYTES} bytes")
    try:
        said = json.loads(message, parse_constant=_no_constant)
    except (ValueError, RecursionError):
        raise _WrongError("message: expected JSON") from None
    if not isinstance(said, dict):
        raise _WrongError("message: expected a JSON object")
    return said


def _no_constant(name: str) -> None:
    raise ValueError(name)


def _seq(said: Mapping[str, Any]) -> int | None:
    seq = said.get("seq")
    if seq is None or (type(seq) is int and 0 <= seq <= _MOST_SEQ):
        return seq
    raise _WrongError("seq: expected a whole number")


def _check_names(said: Mapping[str, Any]) -> None:
    for name in said:
        if name in _MESSAGES:
            continue
        near = difflib.get_close_matches(name[:40], _MESSAGES, n=1)
        hint = f"; did you mean {near[0]}?" if near else f", expected one of {', '.join(_MESSAGES)}"
        raise _WrongError(f"message: unknown name {name[:40]!r}{hint}")


def _switch(name: str, said: Mapping[str, Any]) -> bool:
    if not isinstance(said[name], bool):
        raise _WrongError(f"{name}: expected true or false")
    return bool(said[name])


def _pong(told: object) -> str:
    if isinstance(told, bool) or not isinstance(told, (int, float)) or not abs(told) <= _MOST_SEQ:
        raise _WrongError("ping: expected a number")
    return _json({"pong": told})


def _json(answer: Mapping[str, Any]) -> str:
    return json.dumps(answer, allow_nan=False, separators=(",", ":"))
