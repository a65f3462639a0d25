"""The command that enrols, and whether it could."""

from __future__ import annotations

import time
from collections.abc import Callable

from engine.errors import ConfigError
from streaming.config import ServeConfig
from streaming.enrolment_child import Child, Ended
from streaming.enrolment_kinds import KINDS
from streaming.enrolment_store import Job, Store

_TICK_S = 0.25
_CLOSE_S = 3.0
_CHECK_S = 180.0


def command_of(job: Job, config: ServeConfig, store: Store) -> list[str]:
    """The same each time: so it goes on where it was."""
    return [
        *config.enrol_command,
        job.system,
        *map(str, store.inputs(job)),
        *("--weights", str(config.enrol[job.system]), "--out", str(store.out(job))),
        *("--work", str(store.work(job)), "--progress-json"),
        f"--title={job.name} ({KINDS[job.system].title})",
        *(f"--accept={name}" for name in job.accept),
        *config.enrol_options.get(job.system, ()),
    ]


def check_command(config: ServeConfig, closing: Callable[[], bool]) -> None:
    """Ask it, once for each system. Blocks for seconds; less where the server ends. Raises ConfigError with its own
    words."""
    for system, checkpoint in config.enrol.items():
        words = [*config.enrol_command, system, "--weights", str(checkpoint), "--check"]
        try:
            child = Child([*words, *config.enrol_options.get(system, ())])
        except OSError as error:
            raise ConfigError(f"enrol {system}: {words[0]} cannot be started ({error.strerror})") from error
        ended = _checked(child, closing)
        if ended is None:
            raise ConfigError(f"enrol {system}: its check took longer than {_CHECK_S:g} s")
        if ended.status != 0:
            raise ConfigError(f"enrol {system}: {ended.message}")


def _checked(child: Child, closing: Callable[[], bool]) -> Ended | None:
    until_s = time.monotonic() + _CHECK_S
    while (ended := child.wait(_TICK_S)) is None:
        if closing() or time.monotonic() > until_s:
            child.kill()
            child.wait(_CLOSE_S)
            return None
    return ended
