"""Marotte's one public door: the `marotte` command and the Python API.

    import marotte

    with marotte.puppet("portrait.jpg", consent="myself") as puppet:     # who allows it: docs/consent.md
        for frame in marotte.frames("driver.mp4"):
            picture = puppet(frame.rgb, frame.time_s)    # uint8 (H, W, 3), RGB
            print(puppet.report.outcome, picture.shape)
        puppet.swap("another.jpg", "written:Ann Smith")  # a bad one is refused, and the old one goes on
        puppet.set(mouth=1.2, au_offsets={"AU12": 0.3})
        puppet.recalibrate()

    with marotte.puppet(bundle="ganimation_small", mode="edit") as edit:     # the driver's own face
        edit.set(au_offsets={"AU12": 0.6})
        picture = edit(frame.rgb, frame.time_s)          # the frame's size, grey until a face was edited

    marotte.render("portrait.jpg", "driver.mp4", "moved.mp4")    # its record is there from then on
    marotte.serve("portrait.jpg")                        # the live page, until it is interrupted

Each sub-command stands in a light module of its package, and imports what it needs only when it is called, as each
function of the API does.
"""

from __future__ import annotations

import argparse
import difflib
import io
import logging
import os
import signal
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, redirect_stdout, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn, TextIO

if TYPE_CHECKING:
    from engine.puppet import Given, Puppet
    from engine.render import Tally
    from engine.types import Frame
    from engine.worker.tools import Tools
    from streaming.serve import Served

__all__ = ["frames", "main", "puppet", "render", "serve"]
__version__ = "0.1.0"


def puppet(source: Given = None, **options: Any) -> Puppet:
    """A source ready to be moved, or the driver to be edited, frame by frame; options as engine.puppet.open_puppet."""
    from engine.puppet import open_puppet

    return open_puppet(source, **options)


def frames(path: Path | str) -> Iterator[Frame]:
    """The decoded frames of a picture or clip."""
    from engine.media import open_media

    with open_media(path) as media:
        yield from media


def render(source: Given, driver: Path | str, out: Path | str, **options: Any) -> Tally:
    """Move a source by a driver, or edit the driver, from file to file; options as engine.render.render, and with a
    `body` as engine.imitation.run.imitate."""
    if options.get("body") is not None:
        from engine.imitation.run import imitate

        return imitate(source, driver, out, **options)
    from engine.render import render as run

    return run(source, driver, out, **options)


def serve(
    source: Path | str | Sequence[Path | str] | None = None,
    *,
    ready: Callable[[Served], None] | None = None,
    tools: Tools | None = None,
    **options: Any,
) -> None:
    """Serve the live page until interrupted, or until `stop()` of what `ready` is given.

    source: portrait or clip, or several photos of one person; the sample when None. options: the fields of
    streaming.config.ServeConfig and of engine.worker.interface.WorkerConfig by name. Prints the address. The engine
    runs in threads of this process; in_process=False gives it a process of its own, as the command does, which is
    replaced when it hangs or crashes: call this below `if __name__ == "__main__":` then, because that process imports
    the calling script again. Raises MarotteError when it cannot start, KeyboardInterrupt when interrupted before it
    could be opened.
    """
    from streaming.serve import serve as run
    from streaming.serve import served_as

    run(served_as(source, {"in_process": True} | options), ready=ready, tools=tools)


# --- the command -----------------------------------------------------------------------------------


class _Parser(argparse.ArgumentParser):
    """One line and exit status 2 on a wrong command line. Options are written out: one command's --source is no short
    form of another's --sources."""

    def __init__(self, **named: Any) -> None:
        super().__init__(**(named | {"allow_abbrev": False}))

    def parse_known_args(self, args: Any = None, namespace: Any = None) -> Any:
        """As the original, but what is no option of this command is refused here, with the nearest one."""
        options, left = super().parse_known_args(args, namespace)
        if wrong := [one.partition("=")[0] for one in left if one.startswith("--") and one != "--"]:
            near = difflib.get_close_matches(wrong[0], self._option_string_actions, 1)
            self.error(f"{wrong[0]} is not an option" + (f"; did you mean {near[0]}?" if near else ""))
        return options, left

    def error(self, message: str) -> NoReturn:
        print(f"{self.prog}: {message} (try {self.prog} --help)", file=sys.stderr)
        raise SystemExit(2)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command. Returns 0, 1 (a check found faults), 2 (bad input, one line) or 130 (interrupted, also by
    SIGTERM and SIGHUP). Where the reader of its output is gone, it ends with 0 and says nothing.
    """
    options = _parser().parse_args(arguments)
    _tell_log()
    try:
        with _interrupted_by_signals(), _output():
            return int(options.run(options) or 0)
    except KeyboardInterrupt:
        print("marotte: interrupted", file=sys.stderr)
        return 130
    except MemoryError:
        print("marotte: not enough memory for this input: use a smaller one, or free some", file=sys.stderr)
        return 2
    except _OutputError as error:
        return _end_output(error.__cause__)
    except OSError as error:  # a disk that is full or read-only, where nothing more can be said about it
        print(f"marotte: {error}: name another folder, or free some space", file=sys.stderr)
        return 2
    except Exception as error:
        from engine.errors import MarotteError
        from trainers.errors import TrainerError

        if not isinstance(error, (MarotteError, TrainerError)):
            raise
        print(f"marotte: {error}", file=sys.stderr)
        return 2


@contextmanager
def _interrupted_by_signals() -> Iterator[None]:
    """What ends a process from outside is an interruption, as Ctrl+C is: what was done until then is kept.

    A signal that is ignored, as under nohup, or that the caller handles stays as it is.
    """
    older: dict[int, Any] = {}
    if threading.current_thread() is threading.main_thread():  # elsewhere no handler can be set
        numbers = [getattr(signal, name) for name in ("SIGTERM", "SIGHUP") if hasattr(signal, name)]
        older = {number: _interrupt for number in numbers if signal.getsignal(number) == signal.SIG_DFL}
        if signal.getsignal(signal.SIGINT) == signal.SIG_IGN:  # in the background of a shell
            older[signal.SIGINT] = _interrupt_unless_typed
    for number, handler in older.items():
        older[number] = signal.signal(number, handler)
    try:
        yield
    finally:
        for number, handler in older.items():
            signal.signal(number, handler)


def _interrupt(number: int, at: Any) -> None:
    handler = signal.getsignal(signal.SIGINT)
    if not callable(handler):
        raise KeyboardInterrupt
    handler(number, at)  # the one of Ctrl+C, which waits while a packet of a file is being written


def _interrupt_unless_typed(number: int, at: Any) -> None:
    if number != signal.SIGINT:
        raise KeyboardInterrupt


class _OutputError(Exception):
    """Standard output takes nothing more."""


class _Output(io.TextIOBase):
    """Standard output, whose faults can be told from those of the files that are written."""

    def __init__(self, inner: TextIO) -> None:
        self._inner = inner

    def isatty(self) -> bool:
        return self._inner.isatty()

    def write(self, text: str) -> int:
        try:
            return self._inner.write(text)
        except (OSError, ValueError) as error:
            raise _OutputError from error

    def flush(self) -> None:
        try:
            self._inner.flush()
        except (OSError, ValueError) as error:
            raise _OutputError from error


@contextmanager
def _output() -> Iterator[None]:
    if sys.stdout is None:  # closed by who started this: there is nobody to tell anything
        yield
        return
    with redirect_stdout(_Output(sys.stdout)) as output:
        yield
        output.flush()


def _end_output(error: BaseException | None) -> int:
    """Lead what is left of standard output to nowhere, so that its end is quiet. Returns the exit status."""
    with suppress(OSError, ValueError):
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, sys.stdout.fileno())
        os.close(nowhere)
    if isinstance(error, BrokenPipeError):
        return 0
    print(
        f"marotte: standard output could not be written ({getattr(error, 'strerror', error)})",
        file=sys.stderr,
    )
    return 2


class _Told(logging.Handler):
    """What the engine has to say, one line each, on standard error as it stands then: a bar may have taken it over."""

    def emit(self, record: logging.LogRecord) -> None:
        print(f"marotte: {record.getMessage()}", file=sys.stderr)


def _tell_log() -> None:
    log = logging.getLogger("marotte")
    log.setLevel(logging.INFO)
    log.handlers = [_Told()]


def _parser() -> argparse.ArgumentParser:
    from engine.annotate import command as prepare
    from engine.commands import bench, consent, deny, evaluate, log, sample, turntable, verify
    from engine.commands import render as rendering
    from engine.sweep import command as sweep
    from export import commands as exporting
    from export import models
    from export.enrol import offline
    from streaming.commands import bench_live, camera, doctor, kill, report, serving, token
    from trainers import commands as training

    parser = _Parser(prog="marotte", description="Real-time streaming face reenactment.")
    parser.add_argument("--version", action="version", version=f"marotte {__version__}")
    commands = parser.add_subparsers(title="commands", metavar="COMMAND", required=True)
    serving.add(commands, serve)
    rendering.add(commands, offline)
    for one in (
        sample, turntable, prepare, training, exporting, evaluate, sweep, bench, bench_live, models, doctor, report,
        token, camera, kill, deny, consent, log, verify,
    ):  # fmt: skip
        one.add(commands)
    return parser


if __name__ == "__main__":
    sys.exit(main())
