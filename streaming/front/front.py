"""`marotte serve --gpus 0,1` or `--workers N`, from the start of the servers to their end."""

from __future__ import annotations

import asyncio
import logging
import os
import secrets
import signal
import sys
from collections.abc import Callable, Sequence
from contextlib import closing, suppress
from dataclasses import replace
from typing import Final
from urllib.parse import quote

from engine.errors import ConfigError
from engine.session_log import SessionLog
from engine.state import state_folder
from streaming.config import ServeConfig
from streaming.doors import EVERY_ADDRESS, in_url
from streaming.front.choosing import servers_of
from streaming.front.door import Front
from streaming.front.fleet import Fleet, own_command
from streaming.kill import KillSwitch
from streaming.listen import bind, listening
from streaming.signals import killed_by_signal

_log = logging.getLogger("marotte.front")
MOST_WORKERS: Final = 16


def check_alone(config: ServeConfig) -> None:
    """Raises ConfigError for what one server would have to know of the other."""
    given = {
        "--enrol": bool(config.enrol), "--rooms": bool(config.rooms), "--tracker": bool(config.trackers),
        "--push": bool(config.pushes), "--pull": bool(config.pulls),
        "--recordings": config.recordings is not None,
    }  # fmt: skip
    if wrong := next((name for name, is_there in given.items() if is_there), None):
        raise ConfigError(f"{wrong}: not with --gpus or --workers; serve it by a server of its own")


def serve_many(
    config: ServeConfig,
    arguments: Sequence[str],
    *,
    gpus: Sequence[str] = (),
    workers: int = 0,
    ready: Callable[[str], None] | None = None,
) -> None:
    """Serve until SIGINT, SIGTERM or SIGHUP. arguments: of `marotte`, from which each server's are made. ready: called
    with the address. Raises ConfigError or WorkerError where it cannot be begun."""
    count = len(gpus) or workers
    if not 1 <= count <= MOST_WORKERS:
        raise ConfigError(f"workers: got {count}, expected 1 .. {MOST_WORKERS}")
    check_alone(config)
    token = config.token or secrets.token_urlsafe(32)
    environments = [{"MAROTTE_TOKEN": token} | own for own in servers_of(gpus, workers)]
    with closing(bind(config.host, config.port)) as opened:
        config = replace(config, port=opened.getsockname()[1], token=token)
        fleet = Fleet(own_command(arguments), environments)
        with (
            KillSwitch(state_folder(), what="front", log=SessionLog()) as switch,
            killed_by_signal(switch),
        ):
            asyncio.run(_serve(config, opened, fleet, switch, ready))


async def _serve(
    config: ServeConfig,
    opened: object,
    fleet: Fleet,
    switch: KillSwitch,
    ready: Callable[[str], None] | None,
) -> None:
    loop, ending, over = asyncio.get_running_loop(), asyncio.Event(), asyncio.Event()

    def end(gently: bool) -> None:
        if ending.is_set() or not gently:
            over.set()
        ending.set()

    for name in ("SIGINT", "SIGTERM", "SIGHUP"):
        if (number := getattr(signal, name, None)) is not None:
            with suppress(NotImplementedError):  # on Windows Ctrl-C interrupts the loop
                loop.add_signal_handler(number, end, name == "SIGTERM")
    front = Front(fleet, config, config.token, switch)
    try:
        starting = asyncio.create_task(fleet.start())
        stopping = asyncio.create_task(ending.wait())
        await asyncio.wait({starting, stopping}, return_when=asyncio.FIRST_COMPLETED)
        stopping.cancel()
        if not starting.done():
            starting.cancel()
            raise KeyboardInterrupt
        starting.result()
        async with listening(front.app(), opened):  # type: ignore[arg-type]
            _tell(config, len(fleet.servers), ready)
            await ending.wait()
            front.draining = True
            fleet.drain()
            if over.is_set():
                fleet.drain()
            else:
                ended = asyncio.create_task(fleet.end(config.drain_s))
                again = asyncio.create_task(over.wait())
                await asyncio.wait({ended, again}, return_when=asyncio.FIRST_COMPLETED)
                again.cancel()
                if not ended.done():
                    fleet.drain()
                    await ended
    finally:
        await fleet.end(0.0)


def _tell(config: ServeConfig, count: int, ready: Callable[[str], None] | None) -> None:
    host = in_url("127.0.0.1" if config.host in EVERY_ADDRESS else config.host)
    page = f"http://{host}:{config.port}/"
    url = f"{page}?token={quote(config.token, safe='')}"
    told = f"{page}?token=TOKEN with the token of {config.token_place}" if config.token_place else url
    print(f"marotte: {count} workers behind one door (process {os.getpid()})", file=sys.stderr, flush=True)
    print(f"marotte: open {told}", flush=True)
    if ready is not None:
        ready(url)
