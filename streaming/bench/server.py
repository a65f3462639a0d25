"""A server in a process of its own, as a user's is: `python -m streaming.bench.server OPTIONS`.

It prints one line of JSON when it is ready, and ends when its standard input does.
"""

from __future__ import annotations

import json
import os
import queue
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import IO, Any, Self

from engine.errors import BackendError, MarotteError
from engine.worker.interface import WorkerConfig
from streaming.config import ServeConfig
from streaming.rates import rates_of

READY_S = 90.0
_END_S = 15.0


def config_of(options: Mapping[str, Any]) -> ServeConfig:
    """ServeConfig of plain data: its fields by name, those of the worker under "worker", rates in words; the port is
    a free one. A call that is measured is not turned away for what else the machine does: sessions come in by count."""
    fields: dict[str, Any] = {"port": 0, "admission": "count"} | dict(options)
    worker = dict(fields.get("worker", {}))
    if worker.get("cache") is not None:
        worker["cache"] = Path(worker["cache"])
    fields["worker"] = WorkerConfig(**worker)
    for name in ("source", "enrolments"):
        if fields.get(name) is not None:
            fields[name] = Path(fields[name])
    if "rates" in fields:
        fields["rates"] = rates_of(fields["rates"])
    return ServeConfig(**fields)


class ServerProcess:
    """A server that runs as long as the context is open.

    options: as `config_of` takes them. command: what is started, with the options as its last argument; it keeps to
    the same protocol. After entering, `url` has the token in it and `origin` has not. What it records is gone with
    it: nobody allowed anything, and the user's own record is not for measurements.
    """

    def __init__(self, options: Mapping[str, Any], command: Sequence[str] = ()) -> None:
        self._command = [
            *(command or (sys.executable, "-m", "streaming.bench.server")),
            json.dumps(dict(options), default=str),  # paths
        ]
        self._process: subprocess.Popen[str] | None = None
        self._state: tempfile.TemporaryDirectory[str] | None = None
        self._lines: queue.SimpleQueue[str | None] = queue.SimpleQueue()
        self._log: list[str] = []
        self._readers: list[threading.Thread] = []
        self.about: dict[str, Any] = {}

    @property
    def url(self) -> str:
        """The address to open, with its token."""
        return str(self.about["url"])

    @property
    def origin(self) -> str:
        return f"http://127.0.0.1:{self.about['port']}"

    @property
    def token(self) -> str:
        return str(self.about["token"])

    @property
    def pid(self) -> int:
        """Of the network's process; its workers are below it."""
        return int(self.about["pid"])

    @property
    def log(self) -> str:
        """What it wrote on standard error until now."""
        return "".join(self._log)

    def __enter__(self) -> Self:
        self._state = tempfile.TemporaryDirectory(prefix="marotte-state-", ignore_cleanup_errors=True)
        self._process = subprocess.Popen(
            self._command,
            env=os.environ | {"MAROTTE_STATE": self._state.name},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,  # Ctrl-C is ours: the server is asked to end
        )
        for stream, read in ((self._process.stdout, self._listen), (self._process.stderr, self._drain)):
            self._readers.append(threading.Thread(target=read, args=(stream,), daemon=True))
            self._readers[-1].start()
        try:
            self.about = self.read(READY_S)
        except BaseException:
            self._end()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._end()

    def close(self) -> None:
        """End it now; more than once is allowed."""
        self._end()

    def ask(self, line: str, timeout_s: float = 10.0) -> dict[str, Any]:
        """Write a line to its standard input and read its answer."""
        process = self._running()
        assert process.stdin is not None
        process.stdin.write(line + "\n")
        process.stdin.flush()
        return self.read(timeout_s)

    def read(self, timeout_s: float) -> dict[str, Any]:
        """The next line of JSON. Raises BackendError with the server's own words when there is none in time."""
        process, until = self._running(), time.monotonic() + timeout_s
        while (left := until - time.monotonic()) > 0:
            try:
                line = self._lines.get(timeout=left)
            except queue.Empty:
                break
            if line is None:
                process.wait(_END_S)
                break
            if line.startswith("{"):
                content: dict[str, Any] = json.loads(line)
                return content
        ended = f"it ended with status {process.returncode}" if process.poll() is not None else "it is silent"
        raise BackendError(f"the server gave no answer within {timeout_s:.0f} s: {ended}: {self.log[-2000:]}")

    def _running(self) -> subprocess.Popen[str]:
        if self._process is None:
            raise BackendError("the server was not started: enter its context first")
        return self._process

    def _listen(self, stream: IO[str]) -> None:
        for line in stream:
            self._lines.put(line)
        self._lines.put(None)

    def _drain(self, stream: IO[str]) -> None:
        for line in stream:
            self._log.append(line)

    def _end(self) -> None:
        process = self._running()
        if process.stdin is not None:
            with suppress(BrokenPipeError, ValueError):  # it has ended already
                process.stdin.close()
        try:
            process.wait(_END_S)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        for reader in self._readers:
            reader.join(_END_S)
        for stream in (process.stdout, process.stderr):
            if stream is not None:
                stream.close()
        if self._state is not None:
            self._state.cleanup()


def cpu_seconds(pid: int) -> float | None:
    """Processor time that a process and all below it have used until now; None where /proc does not tell."""
    if sys.platform == "win32":
        return None
    try:
        total, ticks = 0.0, os.sysconf("SC_CLK_TCK")
        for one in family(pid):
            fields = Path(f"/proc/{one}/stat").read_text(encoding="utf-8").rsplit(")", 1)[1].split()
            total += (int(fields[11]) + int(fields[12])) / ticks
    except (OSError, ValueError, IndexError):
        return None
    return total


def family(pid: int) -> list[int]:
    """A process and all below it, by /proc. Raises OSError where it is gone itself; of one below, or of a thread, that
    ends meanwhile nothing is told."""
    found = [pid]
    os.stat(f"/proc/{pid}")
    for one in found:
        with suppress(OSError):
            for task in Path(f"/proc/{one}/task").iterdir():
                with suppress(OSError):
                    found += [int(child) for child in (task / "children").read_text(encoding="ascii").split()]
    return found


def main(arguments: Sequence[str]) -> int:
    """Serve until standard input ends."""
    from streaming.serve import Served, serve

    def ready(served: Served) -> None:
        threading.Thread(target=_until_the_end, args=(served,), daemon=True).start()
        about = {"url": served.url, "token": served.token, "port": served.port, "pid": os.getpid()}
        print(json.dumps(about | {"metrics_url": served.metrics_url}), flush=True)

    def _until_the_end(served: Served) -> None:
        while sys.stdin.readline():
            pass
        served.stop()

    try:
        serve(config_of(json.loads(arguments[0])), ready=ready)
    except MarotteError as error:
        print(f"marotte: {error}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
