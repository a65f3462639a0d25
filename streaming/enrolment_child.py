"""One enrolment's process: behind everything else, in a group of its own, told apart from its grave.

It tells its progress as JSON on standard output (export/enrol/progress.py, docs/enrolment.md). The end of its standard
input asks it to end, which also comes to it when this process is killed.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
from collections import deque
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, Final

_NICE: Final = 19
_LONGEST_LINE = 1 << 16
_LAST_LINES = 20
_READ_S = 5.0
_SECRETS = frozenset({"MAROTTE_TOKEN"})


@dataclass(frozen=True, slots=True)
class Progress:
    """stage: its name, the `number`-th of `stages`. total: None where it is not known. left_s: seconds until the end of
    the stage, None where nothing is known."""

    stage: str
    number: int
    stages: int
    done: int
    total: int | None
    left_s: float | None


@dataclass(frozen=True, slots=True)
class Ended:
    """status: of the process, negative where a signal ended it. kind, message: of the failure that it told, or what can
    be said without. lines: what it told at a good end, None without one."""

    status: int
    kind: str
    message: str
    lines: tuple[str, ...] | None


class Child:
    """Every call but `wait` is quick; for one thread, but for `progress`."""

    def __init__(self, command: Sequence[str]) -> None:
        """Raises OSError where it cannot be started."""
        self.progress: Progress | None = None
        self._failed: tuple[str, str] | None = None
        self._lines: tuple[str, ...] | None = None
        self._said: deque[str] = deque(maxlen=_LAST_LINES)
        self._process = subprocess.Popen(
            list(command),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            env=without_secrets() | {"PYTHONUTF8": "1"},
            **_apart(),
        )
        _put_behind(self._process.pid)
        self._readers = [
            threading.Thread(target=work, args=(stream,), name="marotte-enrol-read", daemon=True)
            for work, stream in ((self._listen, self._process.stdout), (self._overhear, self._process.stderr))
        ]
        for reader in self._readers:
            reader.start()

    @property
    def pid(self) -> int:
        return self._process.pid

    def ask_to_end(self) -> None:
        """It saves what it has and ends; how long that takes is its own business."""
        if self._process.stdin is not None:
            with suppress(OSError):
                self._process.stdin.close()

    def kill(self) -> None:
        """It and what it started, now."""
        _kill_group(self._process)

    def wait(self, seconds: float) -> Ended | None:
        """How it ended; None while it runs. Nothing of its group is left then."""
        try:
            status = self._process.wait(seconds)
        except subprocess.TimeoutExpired:
            return None
        _kill_group(self._process)
        for reader in self._readers:
            reader.join(_READ_S)
        self.ask_to_end()
        for stream, reader in zip((self._process.stdout, self._process.stderr), self._readers):
            if stream is not None and not reader.is_alive():
                stream.close()
        kind, message = self._failed or ("", self._last_words(status))
        return Ended(status, kind, message, self._lines)

    def _last_words(self, status: int) -> str:
        if status < 0:
            name = next((one.name for one in signal.Signals if one == -status), str(-status))
            hint = " (out of memory, perhaps)" if name == "SIGKILL" else ""
            return f"its process was ended by {name}{hint}"
        told = [line for line in self._said if line.startswith("marotte: ")] or list(self._said)
        return told[-1].removeprefix("marotte: ") if told else f"its process ended with status {status}"

    def _listen(self, stream: IO[bytes]) -> None:
        for line in iter(lambda: stream.readline(_LONGEST_LINE), b""):
            with suppress(
                ValueError, TypeError, KeyError, RecursionError
            ):  # what else it prints is no progress
                self._hear(json.loads(line))

    def _hear(self, told: Any) -> None:
        if "progress" in told:
            self.progress = _progress(told["progress"])
        elif "failed" in told:
            self._failed = _text(told["failed"]["kind"]), _text(told["failed"]["message"])
        elif "finished" in told:
            self._lines = tuple(map(_text, told["finished"]["lines"][:_LAST_LINES]))

    def _overhear(self, stream: IO[bytes]) -> None:
        for line in iter(lambda: stream.readline(_LONGEST_LINE), b""):
            if words := line.decode(errors="replace").strip():
                self._said.append(words[:500])


def without_secrets() -> dict[str, str]:
    """This process's environment, for one that reads what others sent."""
    return {name: value for name, value in os.environ.items() if name not in _SECRETS}


def _progress(told: Mapping[str, Any]) -> Progress:
    total, left_s = told["total"], told["left_s"]
    return Progress(
        _text(told["stage"])[:40],
        int(told["number"]),
        int(told["stages"]),
        int(told["done"]),
        None if total is None else int(total),
        None if left_s is None else max(0.0, float(left_s)),
    )


def _text(value: object) -> str:
    """One line of it."""
    return " ".join(str(value).split())[:1000]


if sys.platform == "win32":

    def _apart() -> dict[str, Any]:
        flags = subprocess.CREATE_NEW_PROCESS_GROUP | subprocess.CREATE_NO_WINDOW
        return {"creationflags": flags | subprocess.IDLE_PRIORITY_CLASS}

    def _put_behind(pid: int) -> None:
        """It was started so."""

    def _kill_group(process: subprocess.Popen[bytes]) -> None:
        process.kill()

else:

    def _apart() -> dict[str, Any]:
        return {"start_new_session": True}

    def _put_behind(pid: int) -> None:
        """Its first thread is its only one yet; those to come take after it. Memory that runs out is taken from it."""
        with suppress(OSError):
            os.setpriority(os.PRIO_PROCESS, pid, _NICE)
        with suppress(OSError):
            Path(f"/proc/{pid}/oom_score_adj").write_text("1000", encoding="ascii")

    def _kill_group(process: subprocess.Popen[bytes]) -> None:
        with suppress(ProcessLookupError, PermissionError):
            os.killpg(process.pid, signal.SIGKILL)
