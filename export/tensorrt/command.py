"""`marotte plan`: its options, its bar, and what it says."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, cast

from engine.commands import add_accept

if TYPE_CHECKING:
    from engine.bundle import Bundle
    from engine.plans.request import Flavour, Precision, Progress
    from export.tensorrt.plans import Made, Wanted

_MB: Final = 1 << 20
_CALIBRATED: Final = ("int8", "fp8")


def add_plan(commands: Any) -> None:
    """Adds the parser. Nothing of TensorRT, or of ONNX, is imported."""
    text = (
        "compile a bundle's graphs by TensorRT: for this GPU, into the engine's cache, or into a folder, also portable "
        "for RTX cards without one"
    )
    parser = commands.add_parser("plan", help=text, description=text)
    parser.set_defaults(run=run_plan)
    parser.add_argument("bundle", metavar="BUNDLE", help="a name, or the folder of a bundle")
    parser.add_argument(
        "--out",
        type=Path,
        metavar="FOLDER",
        help="write a folder; without it the engine's own cache is filled, so that the next start waits for nothing",
    )
    parser.add_argument(
        "--precision", default="fp16", metavar="P", help="fp32, fp16 (default), bf16, int8 or fp8"
    )
    parser.add_argument(
        "--batches", default="1,2,4,8", metavar="N,N", help="sizes with a profile each (1,2,4,8)"
    )
    parser.add_argument(
        "--flavour",
        default="tensorrt",
        metavar="F",
        help="tensorrt: for the GPU that is here (default); rtx: for any RTX card, built without one (extra rtx)",
    )
    parser.add_argument(
        "--graph", action="append", default=[], metavar="NAME", help="only this one; can be repeated"
    )
    parser.add_argument(
        "--calibration",
        type=Path,
        metavar="FOLDER",
        help="for int8 and fp8: GRAPH/*.npz with an array per input",
    )
    parser.add_argument(
        "--workspace", type=int, default=4096, metavar="MB", help="GPU memory of a layer (4096)"
    )
    parser.add_argument(
        "--refit",
        action="store_true",
        help="its weights can be exchanged later, as always in the engine's cache",
    )
    parser.add_argument(
        "--strip", action="store_true", help="for refit, without weights of its own: a small file"
    )
    parser.add_argument(
        "--cache", type=Path, metavar="FOLDER", help="of the models: plans and timings lie in it"
    )
    add_accept(parser)


def run_plan(options: argparse.Namespace) -> None:
    """The command. Raises MarotteError."""
    from engine.bundle import open_bundle
    from engine.bundles import find
    from engine.config import known
    from engine.errors import ConfigError
    from engine.plans.policy import plans_in
    from engine.plans.request import FLAVOURS, PRECISIONS
    from export.tensorrt.plans import Wanted
    from export.tensorrt.warm import not_warm

    bundle = open_bundle(find(options.bundle), frozenset(options.accept))
    graphs = tuple(dict.fromkeys(options.graph))
    wanted = Wanted(
        precision=cast("Precision", known(options.precision, PRECISIONS, "precision")),
        batches=_batches(options.batches),
        flavour=cast("Flavour", known(options.flavour, FLAVOURS, "flavour")),
        workspace_bytes=_workspace(options.workspace),
        refit=options.refit or options.strip,
        strip=options.strip,
        calibration=options.calibration,
        graphs=tuple(known(name, bundle.manifest.graphs, "graph") for name in graphs),
    )
    if wanted.calibration is not None and wanted.precision not in _CALIBRATED:
        takes = " or ".join(_CALIBRATED)
        raise ConfigError(f"--calibration: {wanted.precision} takes none; expected --precision {takes}")
    with plans_in(options.cache):
        if options.out is not None:
            _write(options.out, bundle, wanted, options.cache)
        elif why := not_warm(wanted):
            out = Path(f"{bundle.name}.plans")
            print(f"marotte: {why}; {out} is written instead, where serve does not look", file=sys.stderr)
            _write(out, bundle, wanted, options.cache)
        else:
            _warm(options.bundle, bundle, wanted, frozenset(options.accept))


def _write(out: Path, bundle: Bundle, wanted: Wanted, cache: Path | None) -> None:
    """A folder of plans."""
    from engine.plans.cache import plans_folder
    from export.tensorrt.plans import check_out, make_plans, write_plans
    from export.tensorrt.timing import TimingCache

    check_out(out)
    timing = TimingCache(plans_folder(cache) / "timings")
    with _bars() as bar:
        made = []
        for one in make_plans(bundle, wanted, progress=bar, timing=timing):
            made.append(one)
            print(_said(one))
    write_plans(out, bundle, wanted, made)
    print(f"{out} is written: {len(made)} plan{'' if len(made) == 1 else 's'} of {bundle.manifest.title}")


def _warm(name: str, bundle: Bundle, wanted: Wanted, accept: frozenset[str]) -> None:
    """The engine's cache."""
    from export.tensorrt.warm import warm

    with _bars() as bar:
        done = warm(name, wanted, accept=accept, listen=bar)
    for graph in done.made:
        print(f"{graph}: its plan is made")
    now = f"{len(done.made)} made now" if done.made else "all were there"
    print(f"{done.folder} has the plans of {bundle.manifest.title} for {done.device}: {now}")
    if done.noticed:
        print(f"marotte: {done.noticed}", file=sys.stderr)


def _batches(text: str) -> tuple[int, ...]:
    from engine.errors import ConfigError
    from export.batch import MOST

    try:
        sizes = tuple(sorted({int(part) for part in text.split(",")}))
    except ValueError as error:
        raise ConfigError(f"--batches: got {text!r}, expected sizes such as 1,2,4,8") from error
    if not 1 <= sizes[0] <= sizes[-1] <= MOST:
        raise ConfigError(f"--batches: got {text!r}, expected sizes of 1 .. {MOST}, such as 1,2,4,8")
    return sizes


def _workspace(megabytes: int) -> int:
    from engine.errors import ConfigError

    if megabytes < 1:
        raise ConfigError(f"--workspace: got {megabytes}, expected 1 MB or more")
    return megabytes * _MB


def _said(made: Made) -> str:
    size = len(made.built.plan) / 1e6
    lines = "".join(f"\nmarotte: {made.graph.name}: {line}" for line in made.built.log)
    if lines:
        print(lines.removeprefix("\n"), file=sys.stderr)
    versions = made.built.versions
    return f"{made.graph.name}: {size:.2f} MB, built by {versions['flavour']} {versions['tensorrt']}"


@contextmanager
def _bars() -> Iterator[Callable[[str], Progress]]:
    """A bar per graph on a terminal; a line as each begins elsewhere."""
    from rich.console import Console
    from rich.progress import BarColumn, TaskProgressColumn, TextColumn, TimeElapsedColumn
    from rich.progress import Progress as Bars

    console = Console(stderr=True)
    columns = (
        TextColumn("{task.fields[graph]}"),
        BarColumn(),
        TaskProgressColumn(),
        TimeElapsedColumn(),
        TextColumn("{task.description}"),
    )
    with Bars(*columns, console=console, disable=not console.is_terminal) as bars:

        def listen(graph: str) -> Progress:
            if not console.is_terminal:
                print(f"marotte: building {graph}", file=sys.stderr, flush=True)
            task = bars.add_task("", total=None, graph=graph)

            def told(phase: str, done: int, total: int) -> None:
                bars.update(task, completed=done, total=total, description=phase)

            return told

        yield listen
