"""The servers behind a front door: started, watched, started again when one ends by itself, and ended together."""

from __future__ import annotations

import asyncio
import logging
import os
import re
import signal
import sys
from collections.abc import Mapping, Sequence
from contextlib import suppress
from typing import Final

from engine.errors import WorkerError

_log = logging.getLogger("marotte.front")

_OPENED: Final = re.compile(rb"^marotte: open http://127\.0\.0\.1:(\d+)/")
_READY_S: Final = 180.0
_AGAIN_S: Final = (1.0, 2.0, 5.0, 10.0, 30.0)
_END_S: Final = 15.0


class Server:
    """One of them. number: its place. environment: what is its own of it. origin: where it is reached, empty
    while it is not."""

    def __init__(self, number: int, command: Sequence[str], environment: Mapping[str, str]) -> None:
        self.number = number
        self.origin = ""
        self._command, self._environment = command, environment
        self._process: asyncio.subprocess.Process | None = None
        self._ending = False
        self.opened = asyncio.Event()
        """It could be reached once."""

    @property
    def pid(self) -> int | None:
        return None if self._process is None else self._process.pid

    async def keep(self) -> None:
        """Run it, again and again, until it is told to end. Raises WorkerError where it never could be opened."""
        tries = 0
        while not self._ending:
            await self._run()
            if self._ending:
                return
            if not self.opened.is_set():
                raise WorkerError(f"worker {self.number}: it could not be opened; what it says stands above")
            wait_s = _AGAIN_S[min(tries, len(_AGAIN_S) - 1)]
            tries += 1
            _log.warning("worker %d has ended; it is started again in %g s", self.number, wait_s)
            await asyncio.sleep(wait_s)

    async def _run(self) -> None:
        self._process = process = await asyncio.create_subprocess_exec(
            *self._command,
            env={**os.environ, **self._environment},
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            start_new_session=True,  # Ctrl-C is the front door's, which ends them
        )
        try:
            if process.stdout is not None:
                await self._listen(process.stdout)
            await process.wait()
        except BaseException:
            with suppress(ProcessLookupError):
                process.kill()
            raise
        finally:
            self.origin = ""

    async def _listen(self, lines: asyncio.StreamReader) -> None:
        async with asyncio.timeout(_READY_S) as limit:
            while line := await lines.readline():
                if found := _OPENED.match(line):
                    self.origin = f"http://127.0.0.1:{int(found[1])}"
                    self.opened.set()
                    limit.reschedule(None)

    def ask_to_end(self) -> None:
        """It drains; a second time it ends."""
        self._ending = True
        if self._process is not None and self._process.returncode is None:
            with suppress(ProcessLookupError):
                self._process.send_signal(signal.SIGTERM)

    async def ended(self, within_s: float) -> None:
        """Wait for it, and kill it where it takes longer."""
        process = self._process
        if process is None or process.returncode is not None:
            return
        try:
            async with asyncio.timeout(within_s):
                await process.wait()
        except TimeoutError:
            _log.warning("worker %d did not end within %g s; it is killed", self.number, within_s)
            with suppress(ProcessLookupError):
                process.kill()


class Fleet:
    """All of them. command: what starts one."""

    def __init__(self, command: Sequence[str], environments: Sequence[Mapping[str, str]]) -> None:
        self.servers = [Server(number, command, own) for number, own in enumerate(environments)]
        self._keeping: list[asyncio.Task[None]] = []

    async def start(self) -> None:
        """Until each can be reached. Raises WorkerError, and then none is left."""
        self._keeping = [asyncio.create_task(server.keep()) for server in self.servers]
        opened = asyncio.create_task(self._all_opened())
        await asyncio.wait([opened, *self._keeping], return_when=asyncio.FIRST_COMPLETED)
        failed = next((task for task in self._keeping if task.done()), None)
        if failed is not None:
            opened.cancel()
            await self.end(0.0)
            raise failed.exception() or WorkerError("a worker ended before it could be opened")

    async def _all_opened(self) -> None:
        for server in self.servers:
            await server.opened.wait()

    def drain(self) -> None:
        for server in self.servers:
            server.ask_to_end()

    async def end(self, drain_s: float) -> None:
        """End them all, draining first for so long; more than once is allowed."""
        self.drain()
        await asyncio.gather(*(server.ended(drain_s + _END_S) for server in self.servers))
        for task in self._keeping:
            task.cancel()
        await asyncio.gather(*self._keeping, return_exceptions=True)


def own_command(arguments: Sequence[str]) -> list[str]:
    """What starts one server, from the arguments of `marotte serve`: without those that are the front door's."""
    kept, skip = [], False
    for word in arguments:
        if skip:
            skip = False
        elif word in FRONTS:
            skip = True
        elif word != "--open" and not word.startswith(tuple(f"{name}=" for name in FRONTS)):
            kept.append(word)
    inside = ["--host", "127.0.0.1", "--port", "0", "--behind-proxy", "127.0.0.1"]
    return [sys.executable, "-m", "marotte", *kept, *inside]


FRONTS: Final = ("--gpus", "--workers", "--host", "--port", "--metrics-port", "--token-file")
"""Options that the front door takes for itself, each with a value."""
